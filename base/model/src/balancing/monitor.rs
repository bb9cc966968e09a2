//! Monitors: what is asked of a server, and which answer says that it is well.

use std::collections::BTreeMap;
use std::time::Duration;

use bartizan_names::{MonitorId, Timestamp};
use bartizan_v4::load_balancing as v4;

use super::{Refused, check_description, number, told};

/// Octets of a path and of a part of a body; fields of a request and octets of all of them.
const PATH_MAX: usize = 1_024;
const BODY_MAX: usize = 10_240;
const FIELDS_MAX: usize = 32;
const FIELD_BYTES_MAX: usize = 1_024;

/// Seconds.
const INTERVAL: (u32, u32) = (5, 3_600);
const TIMEOUT: (u32, u32) = (1, 60);

const RETRIES_MAX: u32 = 5;
const CONSECUTIVE_MAX: u32 = 100;

/// A monitor that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    pub id: MonitorId,
    pub kind: MonitorKind,
    pub port: Option<u16>,
    pub timeout: Duration,
    pub interval: Duration,
    pub retries: u32,
    /// At least 1.
    pub down_after: u32,
    pub up_after: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitorKind {
    /// A connection.
    Tcp,
    /// An answer.
    Http {
        tls: bool,
        /// Whether the certificate need not be a good one.
        insecure: bool,
        head: bool,
        path: String,
        /// Without `Host`.
        fields: Vec<(String, String)>,
        host: Option<String>,
        codes: Codes,
        /// A part of the body; empty: any.
        body: String,
        redirects: bool,
    },
}

/// Which codes of an answer are good: ranges, both ends within.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes(Vec<(u16, u16)>);

impl Codes {
    fn parse(text: &str) -> Result<Codes, Refused> {
        let refused = || Refused::Codes { given: text.chars().take(80).collect() };
        let one = |text: &str| -> Option<(u16, u16)> {
            match text.as_bytes() {
                [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                    let first = u16::from(class - b'0') * 100;
                    Some((first, first + 99))
                }
                [first @ b'1'..=b'5', rest @ ..] if rest.len() == 2 && rest.iter().all(u8::is_ascii_digit) => {
                    let code =
                        rest.iter().fold(u16::from(first - b'0'), |code, digit| code * 10 + u16::from(digit - b'0'));
                    Some((code, code))
                }
                _ => None,
            }
        };
        let ranges: Vec<_> =
            text.split(',').map(|text| one(text.trim()).ok_or_else(refused)).collect::<Result<_, _>>()?;
        if ranges.len() > FIELDS_MAX { Err(refused()) } else { Ok(Codes(ranges)) }
    }

    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    pub fn has(&self, code: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }
}

impl Monitor {
    /// What is kept of what was sent, beside what was `before`.
    pub fn document(
        id: MonitorId,
        before: Option<&v4::Monitor>,
        body: &v4::MonitorBody,
        now: Timestamp,
    ) -> Result<v4::Monitor, Refused> {
        let was = |field: fn(&v4::Monitor) -> &String| before.map(|before| field(before).clone());
        let count = |field, pointer, was: fn(&v4::Monitor) -> u32, default, range| {
            number((field, pointer), before.map(was), default, range)
        };
        let kind = told(&body.kind, was(|monitor| &monitor.kind), "http".to_owned()).to_ascii_lowercase();
        let is_tcp = kind == "tcp";
        let usual = |word: &str| if is_tcp { String::new() } else { word.to_owned() };
        let method = if is_tcp { "connection_established" } else { "GET" };
        let document = v4::Monitor {
            id,
            description: told(&body.description, was(|monitor| &monitor.description), String::new()),
            method: told(&body.method, was(|monitor| &monitor.method), method.to_owned()),
            path: told(&body.path, was(|monitor| &monitor.path), usual("/")),
            header: told(&body.header, before.map(|before| before.header.clone()), BTreeMap::new()),
            port: number((&body.port, "/port"), before.map(|before| before.port), 0, (0, u16::MAX))?,
            timeout: count(&body.timeout, "/timeout", |monitor| monitor.timeout, 5, TIMEOUT)?,
            retries: count(&body.retries, "/retries", |monitor| monitor.retries, 2, (0, RETRIES_MAX))?,
            interval: count(&body.interval, "/interval", |monitor| monitor.interval, 60, INTERVAL)?,
            consecutive_down: count(
                &body.consecutive_down,
                "/consecutive_down",
                |monitor| monitor.consecutive_down,
                0,
                (0, CONSECUTIVE_MAX),
            )?,
            consecutive_up: count(
                &body.consecutive_up,
                "/consecutive_up",
                |monitor| monitor.consecutive_up,
                0,
                (0, CONSECUTIVE_MAX),
            )?,
            expected_body: told(&body.expected_body, was(|monitor| &monitor.expected_body), String::new()),
            expected_codes: told(&body.expected_codes, was(|monitor| &monitor.expected_codes), usual("200")),
            follow_redirects: told(&body.follow_redirects, before.map(|before| before.follow_redirects), false),
            allow_insecure: told(&body.allow_insecure, before.map(|before| before.allow_insecure), false),
            probe_zone: told(&body.probe_zone, was(|monitor| &monitor.probe_zone), String::new()),
            kind,
            created_on: before.map_or(now, |before| before.created_on),
            modified_on: before.map_or(now, |before| before.modified_on),
        };
        Monitor::parse(&document)?;
        Ok(document)
    }

    pub fn parse(document: &v4::Monitor) -> Result<Monitor, Refused> {
        check_description(&document.description)?;
        let within = |number: u32, (least, most): (u32, u32), pointer| {
            let (least, most) = (i64::from(least), i64::from(most));
            if (least..=most).contains(&number.into()) { Ok(()) } else { Err(Refused::Range { pointer, least, most }) }
        };
        within(document.interval, INTERVAL, "/interval")?;
        within(document.timeout, TIMEOUT, "/timeout")?;
        within(document.retries, (0, RETRIES_MAX), "/retries")?;
        if document.timeout >= document.interval {
            return Err(Refused::Interval);
        }
        if !document.probe_zone.is_empty() {
            return Err(Refused::NotOffered { pointer: "/probe_zone".to_owned() });
        }
        let port = (document.port != 0).then_some(document.port);
        let kind = match document.kind.as_str() {
            "tcp" if port.is_none() => return Err(Refused::PortOfTcp),
            "tcp" => MonitorKind::Tcp,
            "http" => http(document, false)?,
            "https" => http(document, true)?,
            "udp_icmp" | "icmp_ping" | "smtp" => return Err(Refused::NotOffered { pointer: "/type".to_owned() }),
            given => {
                let known = &["http", "https", "tcp"];
                return Err(Refused::Word { pointer: "/type", given: given.to_owned(), known });
            }
        };
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Ok(Monitor {
            id: document.id,
            kind,
            port,
            timeout: seconds(document.timeout),
            interval: seconds(document.interval),
            retries: document.retries,
            down_after: document.consecutive_down.max(1),
            up_after: document.consecutive_up.max(1),
        })
    }
}

fn http(document: &v4::Monitor, tls: bool) -> Result<MonitorKind, Refused> {
    let head = match document.method.as_str() {
        "GET" => false,
        "HEAD" => true,
        given => {
            let known = &["GET", "HEAD"];
            return Err(Refused::Word { pointer: "/method", given: given.to_owned(), known });
        }
    };
    let path = &document.path;
    let is_target = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if !path.starts_with('/') || path.len() > PATH_MAX || !path.bytes().all(is_target) {
        return Err(Refused::Path);
    }
    if document.expected_body.len() > BODY_MAX {
        return Err(Refused::Text { pointer: "/expected_body", max: BODY_MAX });
    }
    if head && !document.expected_body.is_empty() {
        return Err(Refused::BodyOfHead);
    }
    let (mut fields, mut host) = (Vec::new(), None);
    for (name, values) in &document.header {
        for value in values {
            let refused = || Refused::Header { given: name.chars().take(80).collect() };
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let is_value = |byte: u8| byte == b'\t' || (0x20..0x7f).contains(&byte);
            let is_ours = ["connection", "content-length", "transfer-encoding", "upgrade", "te", "expect"];
            let fits = (1..=64).contains(&name.len()) && value.len() <= FIELD_BYTES_MAX && fields.len() < FIELDS_MAX;
            if !fits
                || !name.bytes().all(is_token)
                || !value.bytes().all(is_value)
                || is_ours.contains(&name.to_ascii_lowercase().as_str())
            {
                return Err(refused());
            }
            if !name.eq_ignore_ascii_case("host") {
                fields.push((name.clone(), value.clone()));
            } else if host.replace(value.clone()).is_some() || value.is_empty() || value.contains([' ', '/', '\t']) {
                return Err(refused());
            }
        }
    }
    Ok(MonitorKind::Http {
        tls,
        insecure: document.allow_insecure,
        head,
        path: path.clone(),
        fields,
        host,
        codes: Codes::parse(&document.expected_codes)?,
        body: document.expected_body.clone(),
        redirects: document.follow_redirects,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document(body: &Value) -> Result<v4::Monitor, Refused> {
        let body = serde_json::from_value(body.clone()).unwrap();
        Monitor::document(MonitorId::from_bytes([1; 16]), None, &body, Timestamp::from_unix_micros(0))
    }

    #[test]
    fn what_a_monitor_can_be() {
        for (body, expect) in [
            (json!({}), ""),
            (json!({"type": "https", "header": {"Host": ["example.com"], "X-App-ID": ["abc123"]}}), ""),
            (json!({"type": "tcp"}), "/port"),
            (json!({"type": "tcp", "port": 22}), ""),
            (json!({"type": "smtp"}), "/type"),
            (json!({"type": "gopher"}), "/type"),
            (json!({"method": "POST"}), "/method"),
            (json!({"method": "HEAD", "expected_body": "ok"}), "/expected_body"),
            (json!({"path": "health"}), "/path"),
            (json!({"path": "/a b"}), "/path"),
            (json!({"interval": 4}), "/interval"),
            (json!({"interval": 5, "timeout": 5}), "/interval"),
            (json!({"timeout": 0}), "/timeout"),
            (json!({"retries": 6}), "/retries"),
            (json!({"port": 65536}), "/port"),
            (json!({"expected_codes": "2xx, 301"}), ""),
            (json!({"expected_codes": "6xx"}), "/expected_codes"),
            (json!({"expected_codes": ""}), "/expected_codes"),
            (json!({"header": {"X y": ["1"]}}), "/header"),
            (json!({"header": {"X": ["1\r\nY: 2"]}}), "/header"),
            (json!({"header": {"Host": ["a", "b"]}}), "/header"),
            (json!({"header": {"Content-Length": ["1"]}}), "/header"),
        ] {
            let refused = document(&body).err().map(|error| error.pointer());
            assert_eq!(refused.unwrap_or_default(), expect, "{body}");
        }
    }

    #[test]
    fn codes() {
        let codes = Codes::parse("2xx,301").unwrap();
        for (code, expect) in [(199, false), (200, true), (299, true), (300, false), (301, true), (302, false)] {
            assert_eq!(codes.has(code), expect, "{code}");
        }
    }
}
