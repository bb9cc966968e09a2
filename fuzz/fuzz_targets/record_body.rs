//! Any text as the content, and any object as the data, of a record of any type in a request: what is taken is kept as a
//! document, which reads back as the same record.

#![no_main]

use bartizan_model::{Record, Stamp, Zone};
use bartizan_names::{AccountId, Phishing, RecordId, Timestamp, ZoneId};
use bartizan_v4::RecordBody;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const KINDS: [&str; 25] = [
    "A",
    "AAAA",
    "CAA",
    "CDNSKEY",
    "CDS",
    "CERT",
    "CNAME",
    "DNAME",
    "DNSKEY",
    "DS",
    "HTTPS",
    "LOC",
    "MX",
    "NAPTR",
    "NS",
    "OPENPGPKEY",
    "PTR",
    "SMIMEA",
    "SRV",
    "SSHFP",
    "SVCB",
    "TLSA",
    "TXT",
    "URI",
    "TYPE65280",
];

fuzz_target!(|input: &[u8]| {
    let [kind, priority, rest @ ..] = input else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let mut body = json!({"type": kind, "name": "n", "priority": priority});
    match serde_json::from_str::<Value>(text) {
        Ok(data @ Value::Object(_)) => body["data"] = data,
        _ => body["content"] = text.into(),
    }
    let Ok(body) = serde_json::from_value::<RecordBody>(body) else { return };
    let zone = Zone {
        id: ZoneId::from_bytes([1; 16]),
        account: AccountId::from_bytes([2; 16]),
        name: Zone::parse_name("example.com").expect("a zone of ours"),
        nameservers: Vec::new(),
        paused: false,
        phishing: Phishing::No,
    };
    let at = Timestamp::from_unix_micros(0);
    let stamp = Stamp { id: RecordId::from_bytes([3; 16]), created_on: at, modified_on: at };
    if let Ok((record, document)) = Record::parse_body(&zone, stamp, &body) {
        assert_eq!(Record::parse(&document), Ok(record), "{document:?}");
    }
});
