//! Types that the edge makes and nobody stores, as master files have them: SOA (RFC 1035 §3.3.13), RRSIG (RFC 4034 §3.2) and
//! NSEC (§4.2).

use bartizan_names::{Name, RecordType, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::text::Style;

pub(super) fn told(rtype: RecordType, wire: &[u8]) -> Option<String> {
    match rtype {
        RecordType::SOA => soa(wire),
        RecordType::RRSIG => rrsig(wire),
        RecordType::NSEC => nsec(wire),
        _ => None,
    }
}

fn soa(mut wire: &[u8]) -> Option<String> {
    let (primary, mailbox) = (name(&mut wire)?, name(&mut wire)?);
    let (numbers, []) = wire.as_chunks::<4>() else { return None };
    let numbers: Vec<String> = numbers.iter().map(|number| u32::from_be_bytes(*number).to_string()).collect();
    (numbers.len() == 5).then(|| format!("{primary} {mailbox} {}", numbers.join(" ")))
}

fn rrsig(wire: &[u8]) -> Option<String> {
    let ([type_high, type_low, algorithm, labels, rest @ ..], mut wire) = wire.split_first_chunk::<18>()?;
    let number = |at: usize| rest.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (ttl, expiration, inception) = (number(0)?, number(4)?, number(8)?);
    let (covered, tag) = (u16::from_be_bytes([*type_high, *type_low]), u16::from_be_bytes([rest[12], rest[13]]));
    let signer = name(&mut wire)?;
    let (covered, signature) = (RecordType(covered), BASE64.encode(wire));
    let (expiration, inception) = (moment(expiration), moment(inception));
    Some(format!("{covered} {algorithm} {labels} {ttl} {expiration} {inception} {tag} {signer} {signature}"))
}

fn nsec(mut wire: &[u8]) -> Option<String> {
    let mut words = vec![name(&mut wire)?];
    while let [window, length, rest @ ..] = wire {
        let (bits, after) = rest.split_at_checked(usize::from(*length))?;
        let types = (0..bits.len() * 8).filter(|bit| bits[bit / 8] & (0x80 >> (bit % 8)) != 0);
        words.extend(types.map(|bit| RecordType(u16::from(*window) << 8 | bit as u16).to_string()));
        wire = after;
    }
    wire.is_empty().then(|| words.join(" "))
}

/// A whole name from the front of what is left.
fn name(wire: &mut &[u8]) -> Option<String> {
    let mut end = 0;
    while let length @ 1.. = usize::from(*wire.get(end)?) {
        end += length + 1;
    }
    let (name, rest) = wire.split_at_checked(end + 1)?;
    *wire = rest;
    Some(Style::Master.name(&Name::from_wire(name).ok()?))
}

/// YYYYMMDDHHmmSS in UTC (RFC 4034 §3.2), of seconds since 1970.
fn moment(seconds: u32) -> String {
    let text = Timestamp::from_unix_micros(u64::from(seconds) * 1_000_000).to_string();
    text.chars().take_while(|char| *char != '.').filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_served_is_told() {
        let soa = b"\x02ns\x01a\0\x03dns\x01a\0\0\0\0\x07\0\0\x27\x10\0\0\x09\x60\0\x09\x3a\x80\0\0\x0e\x10";
        let rrsig = b"\0\x01\x0d\x02\0\0\x01\x2c\x56\xe2\xe1\xeb\x56\xe0\x1e\xcb\x86\x0b\x01a\0\x01\x02\x03";
        let nsec = b"\x01\0\x01a\0\0\x06\0\0\0\0\0\x03\x01\x01\x40";
        for (rtype, wire, expect) in [
            (RecordType::SOA, &soa[..], Some("ns.a. dns.a. 7 10000 2400 604800 3600")),
            (RecordType::SOA, &soa[..30], None),
            (RecordType::RRSIG, rrsig, Some("A 13 2 300 20160311151907 20160309130203 34315 a. AQID")),
            (RecordType::RRSIG, &rrsig[..18], None),
            (RecordType::NSEC, nsec, Some("\\000.a. RRSIG NSEC CAA")),
            (RecordType::NSEC, &nsec[..10], None),
            (RecordType::NSEC, b"", None),
            (RecordType::A, b"", None),
        ] {
            assert_eq!(told(rtype, wire).as_deref(), expect, "{rtype}");
        }
    }
}
