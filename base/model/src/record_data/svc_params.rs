//! The parameters of SVCB and HTTPS records: text and wire.
//!
//! RFC 9460 §2.1 and appendix A (text), §2.2 (wire), §7 and §8 (what the keys mean), RFC 9461 §5 (`dohpath`), RFC 9540 §4
//! (`ohttp`). On the wire keys ascend, so equal parameters are equal octets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::field::counted;
use super::text::{Words, string};
use crate::txt;

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;

const KEYS: [(&str, u16); 9] = [
    ("mandatory", MANDATORY),
    ("alpn", ALPN),
    ("no-default-alpn", NO_DEFAULT_ALPN),
    ("port", PORT),
    ("ipv4hint", IPV4HINT),
    ("ech", ECH),
    ("ipv6hint", IPV6HINT),
    ("dohpath", DOHPATH),
    ("ohttp", OHTTP),
];

/// "Invalid key" (RFC 9460 §14.3.2).
const INVALID: u16 = 65_535;

/// Octets of all parameters of a record; larger ones only serve those who amplify.
const PARAMS_MAX: usize = 4096;

/// Reads all words that are left, in any order.
pub(super) fn read(words: &mut Words<'_>) -> Option<Vec<u8>> {
    let mut params = BTreeMap::new();
    while let Some(word) = words.next() {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, string(value)?),
            None => (word, Vec::new()),
        };
        let key = key_of(key)?;
        if params.insert(key, value_wire(key, &value)?).is_some() {
            return None;
        }
    }
    let mut wire = Vec::new();
    for (key, value) in &params {
        wire.extend(key.to_be_bytes());
        wire.extend(u16::try_from(value.len()).ok()?.to_be_bytes());
        wire.extend(value);
    }
    are_valid(&wire).then_some(wire)
}

/// The first key that stands twice among words.
pub(super) fn doubled<'t>(words: impl Iterator<Item = &'t str>) -> Option<String> {
    let mut keys = BTreeSet::new();
    let mut named = words.filter_map(|word| key_of(word.split_once('=').map_or(word, |(key, _)| key)));
    named.find(|key| !keys.insert(*key)).map(key_name)
}

/// Whether a client may believe what the wire says.
pub(super) fn are_valid(wire: &[u8]) -> bool {
    let Some(params) = params(wire) else { return false };
    let ascend = params.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let has = |key: u16| params.iter().any(|(other, _)| *other == key);
    let is_valid = |(key, value): &(u16, &[u8])| match *key {
        // Each is there, and is not this one (RFC 9460 §8).
        MANDATORY => {
            let keys: Option<Vec<u16>> = numbers(value);
            keys.is_some_and(|keys| {
                keys.windows(2).all(|pair| pair[0] < pair[1]) && keys.iter().all(|key| *key != MANDATORY && has(*key))
            })
        }
        ALPN => strings(value).is_some_and(|alpn| !alpn.is_empty() && alpn.iter().all(|one| !one.is_empty())),
        NO_DEFAULT_ALPN => value.is_empty() && has(ALPN),
        PORT => value.len() == 2,
        IPV4HINT => !value.is_empty() && value.len().is_multiple_of(4),
        IPV6HINT => !value.is_empty() && value.len().is_multiple_of(16),
        ECH => !value.is_empty(),
        DOHPATH => !value.is_empty() && std::str::from_utf8(value).is_ok(),
        OHTTP => value.is_empty(),
        key => key != INVALID,
    };
    wire.len() <= PARAMS_MAX && ascend && params.iter().all(is_valid)
}

/// `key="value"`, a space between two; a key alone where it has no value. `wire` is valid.
pub(super) fn text(wire: &[u8]) -> String {
    let shown = params(wire).unwrap_or_default().into_iter().map(|(key, value)| match value {
        [] => key_name(key),
        value => format!("{}={}", key_name(key), txt::quote(&value_text(key, value))),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn params(mut wire: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut params = Vec::new();
    while !wire.is_empty() {
        let (head, rest) = wire.split_first_chunk::<4>()?;
        let key = u16::from_be_bytes([head[0], head[1]]);
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes([head[2], head[3]]).into())?;
        params.push((key, value));
        wire = rest;
    }
    Some(params)
}

fn key_of(text: &str) -> Option<u16> {
    let text = text.to_ascii_lowercase();
    if let Some((_, key)) = KEYS.iter().find(|(name, _)| *name == text) {
        return Some(*key);
    }
    let digits = text.strip_prefix("key")?;
    let key: u16 = digits.parse().ok()?;
    (key.to_string() == digits).then_some(key)
}

fn key_name(key: u16) -> String {
    KEYS.iter().find(|(_, known)| *known == key).map_or_else(|| format!("key{key}"), |(name, _)| (*name).to_owned())
}

fn value_wire(key: u16, value: &[u8]) -> Option<Vec<u8>> {
    let text = || std::str::from_utf8(value).ok();
    Some(match key {
        MANDATORY => {
            let mut keys = text()?.split(',').map(|key| key_of(key.trim())).collect::<Option<Vec<u16>>>()?;
            keys.sort_unstable();
            keys.into_iter().flat_map(u16::to_be_bytes).collect()
        }
        ALPN => {
            let mut wire = Vec::new();
            for one in list(value) {
                wire.push(u8::try_from(one.len()).ok()?);
                wire.extend(one);
            }
            wire
        }
        PORT => text()?.parse::<u16>().ok()?.to_be_bytes().to_vec(),
        IPV4HINT => addresses(text()?, |address: Ipv4Addr| address.octets())?,
        IPV6HINT => addresses(text()?, |address: Ipv6Addr| address.octets())?,
        ECH => BASE64.decode(value).ok()?,
        _ => value.to_vec(),
    })
}

fn value_text(key: u16, value: &[u8]) -> Vec<u8> {
    let joined = |texts: Vec<String>| texts.join(",").into_bytes();
    match key {
        MANDATORY => joined(numbers(value).unwrap_or_default().into_iter().map(key_name).collect()),
        ALPN => {
            strings(value).unwrap_or_default().iter().map(|one| escaped(one)).collect::<Vec<_>>().join(&b',' as &u8)
        }
        PORT => joined(numbers(value).unwrap_or_default().iter().map(u16::to_string).collect()),
        IPV4HINT => joined(value.as_chunks().0.iter().map(|it: &[u8; 4]| Ipv4Addr::from(*it).to_string()).collect()),
        IPV6HINT => joined(value.as_chunks().0.iter().map(|it: &[u8; 16]| Ipv6Addr::from(*it).to_string()).collect()),
        ECH => BASE64.encode(value).into_bytes(),
        _ => value.to_vec(),
    }
}

fn numbers(value: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = value.as_chunks::<2>();
    (rest.is_empty() && !pairs.is_empty()).then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

fn strings(mut value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut strings = Vec::new();
    while !value.is_empty() {
        strings.push(counted(&mut value)?);
    }
    Some(strings)
}

fn addresses<A: std::str::FromStr, const N: usize>(text: &str, octets: fn(A) -> [u8; N]) -> Option<Vec<u8>> {
    let read = |text: &str| text.trim().parse().ok().map(octets);
    Some(text.split(',').map(read).collect::<Option<Vec<_>>>()?.concat())
}

/// The members of a list, in which a backslash takes the meaning from a comma and from itself (RFC 9460 appendix A.1).
fn list(value: &[u8]) -> Vec<Vec<u8>> {
    let mut members = vec![Vec::new()];
    let mut octets = value.iter().copied();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b',' => {
                members.push(Vec::new());
                continue;
            }
            b'\\' => octets.next().unwrap_or(octet),
            octet => octet,
        };
        if let Some(member) = members.last_mut() {
            member.push(octet);
        }
    }
    members
}

fn escaped(member: &[u8]) -> Vec<u8> {
    let escape = |octet: &u8| matches!(octet, b',' | b'\\').then_some(b'\\').into_iter().chain([*octet]);
    member.iter().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Option<String> {
        let wire = read(&mut Words::of(value))?;
        assert!(are_valid(&wire));
        Some(text(&wire))
    }

    #[test]
    fn parameters_have_one_form() {
        for (value, expect) in [
            ("", Some("")),
            (r#" alpn="h2,h3" port="443""#, Some(r#"alpn="h2,h3" port="443""#)),
            ("port=8443 alpn=h3", Some(r#"alpn="h3" port="8443""#)),
            (
                "ipv6hint=2001:DB8::1 ipv4hint=192.0.2.1,192.0.2.2",
                Some(r#"ipv4hint="192.0.2.1,192.0.2.2" ipv6hint="2001:db8::1""#),
            ),
            ("alpn=h2 no-default-alpn mandatory=alpn", Some(r#"mandatory="alpn" alpn="h2" no-default-alpn"#)),
            (r#"alpn="f\\\\oo\\,bar,h2""#, Some(r#"alpn="f\\\\oo\\,bar,h2""#)),
            (r#"key667="hello\210qoo""#, Some(r#"key667="hello\210qoo""#)),
            ("dohpath=/dns-query{?dns} ohttp", Some(r#"dohpath="/dns-query{?dns}" ohttp"#)),
            ("ech=AEX+DQ==", Some(r#"ech="AEX+DQ==""#)),
            ("port=1 port=1", None),
            ("port", None),
            ("port=65536", None),
            ("alpn=", None),
            ("alpn=a,,b", None),
            ("no-default-alpn", None),
            ("mandatory=port", None),
            ("mandatory=mandatory", None),
            ("mandatory=alpn,alpn alpn=h2", None),
            ("ipv4hint=2001:db8::1", None),
            ("ech=!", None),
            ("key00", None),
            ("key65535=x", None),
            ("something=x", None),
        ] {
            assert_eq!(shown(value).as_deref(), expect, "{value}");
        }
    }

    /// RFC 9460 appendix D.2.
    #[test]
    fn vectors_of_the_standard() {
        for (value, wire) in [
            ("port=53", "000300020035"),
            ("key667=hello", "029b000568656c6c6f"),
            (r#"key667="hello\210qoo""#, "029b000968656c6c6fd2716f6f"),
            (
                "mandatory=ipv4hint,alpn alpn=\"h2,h3-19\" ipv4hint=192.0.2.1",
                "0000000400010004000100090268320568332d313900040004c0000201",
            ),
            (r#"alpn="f\\\\oo\\,bar,h2""#, "0001000c08665c6f6f2c626172026832"),
        ] {
            assert_eq!(read(&mut Words::of(value)).map(hex::encode).as_deref(), Some(wire), "{value}");
        }
    }
}
