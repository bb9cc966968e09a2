//! Keys of zones: what is in the store signs, and what cannot be read is not taken for a zone without signatures.

use bartizan_names::{Name, RecordType, ZoneId, ZoneName};
use bartizan_publish::seal_context;
use bartizan_signer::{Algorithm, Digest, Ds, Role, Validity, generate};
use bartizan_store::{Key, Op};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value as Json, json};

use crate::answers::{ask, ask_signed};
use crate::lab::{AT, Lab, ZONE, add, put, zone};

const WWW: &str = "www.example.com";

/// DNSSEC of a zone with one key, which may be sealed for another zone; and the key's DS record.
pub(crate) fn dnssec(lab: &Lab, sealed_for: ZoneId, state: &str) -> (Json, Ds) {
    let made = generate(Role::Csk, Algorithm::EcdsaP256Sha256).unwrap();
    let sealed = lab.seal.seal(&seal_context(sealed_for, "7"), &made.pkcs8);
    let apex = ZoneName::new(Name::parse("example.com").unwrap()).unwrap();
    let document = json!({
        "state": state,
        "denial": "compact",
        "ksk_days": 0,
        "zsk_days": 0,
        "keys": [{
            "id": "7",
            "role": "csk",
            "algorithm": 13,
            "public_key": BASE64.encode(made.public.as_bytes()),
            "stage": "active",
            "since": AT,
        }],
        "sealed_keys": {"7": BASE64.encode(sealed)},
        "created_on": AT,
        "modified_on": AT,
    });
    (document, Ds::of(&made.public, &apex, Digest::Sha256))
}

pub(crate) fn put_keys(document: &Json) -> Vec<Op> {
    vec![put(Key::dnssec(ZONE), document)]
}

/// What a zone says to who asks for signatures, and to who does not.
fn told(publisher: &bartizan_publish::Publisher) -> String {
    let bundle = publisher.bundle();
    let signed = ask_signed(bundle, WWW, RecordType::A);
    let signatures = signed.answers.iter().filter(|record| record.rtype == RecordType::RRSIG).count();
    let plain = ask(bundle, WWW, RecordType::A);
    let keys = ask(bundle, "example.com", RecordType::DNSKEY).answers.len();
    format!("{:?} {signatures}, {:?} {}, {keys}", signed.rcode, plain.rcode, plain.answers.len())
}

const UNSIGNED: &str = "NOERROR 0, NOERROR 1, 0";
const SIGNED: &str = "NOERROR 1, NOERROR 1, 1";
const HELD: &str = "SERVFAIL 0, NOERROR 1, 0";

#[test]
fn what_is_in_the_store_signs() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1")].concat());
    let mut publisher = lab.publisher();
    assert_eq!(told(&publisher), UNSIGNED);
    let (document, ds) = dnssec(&lab, ZONE, "on");
    lab.commit(put_keys(&document));
    publisher.follow().unwrap();
    assert_eq!(told(&publisher), SIGNED);
    let cds = |publisher: &bartizan_publish::Publisher| {
        let message = ask(publisher.bundle(), "example.com", RecordType::CDS);
        message.answers.iter().map(|record| Ds::from_rdata(&record.rdata)).collect::<Vec<_>>()
    };
    assert_eq!(cds(&publisher), [Some(ds)]);
    // And at a start.
    assert_eq!(told(&lab.publisher()), SIGNED);
    let ending = Json::Object({
        let mut members = document.as_object().unwrap().clone();
        members.insert("state".to_owned(), json!("ending"));
        members
    });
    lab.commit(put_keys(&ending));
    publisher.follow().unwrap();
    assert_eq!((told(&publisher).as_str(), cds(&publisher)), (SIGNED, vec![None]));
    let (off, _) = dnssec(&lab, ZONE, "off");
    lab.commit(put_keys(&off));
    publisher.follow().unwrap();
    assert_eq!(told(&publisher), UNSIGNED);
    lab.commit(vec![Op::Del { key: Key::dnssec(ZONE) }]);
    publisher.follow().unwrap();
    assert_eq!((told(&publisher).as_str(), told(&lab.publisher()).as_str()), (UNSIGNED, UNSIGNED));
}

/// Requirement DNS-4: how long signatures are valid is the operator's choice, and how far they reach back is not.
#[test]
fn signatures_are_valid_as_long_as_is_said() {
    let mut lab = Lab::new();
    let (document, _) = dnssec(&lab, ZONE, "on");
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1"), put_keys(&document)].concat());
    for hours in [50, 48, 720] {
        let publisher = lab.publisher_signing_for(Validity::of_hours(hours));
        let signed = ask_signed(publisher.bundle(), WWW, RecordType::A);
        let signature = signed.answers.iter().find(|record| record.rtype == RecordType::RRSIG).unwrap();
        let time = |at: usize| u32::from_be_bytes(signature.rdata[at..at + 4].try_into().unwrap());
        assert_eq!(time(8).wrapping_sub(time(12)), hours * 3_600, "{hours}");
    }
    assert_eq!(Validity::default(), Validity::of_hours(50));
}

#[test]
fn what_cannot_be_read_is_held() {
    let mut lab = Lab::new();
    let (good, _) = dnssec(&lab, ZONE, "on");
    let (foreign, _) = dnssec(&lab, ZoneId::from_bytes([9; 16]), "on");
    let changed = |change: fn(&mut Json)| {
        let mut document = good.clone();
        change(&mut document);
        document
    };
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1"), put_keys(&good)].concat());
    let mut publisher = lab.publisher();
    for (document, at_a_start) in [
        (changed(|document| document["state"] = json!("later")), HELD),
        (changed(|document| document["denial"] = json!("nsec3")), HELD),
        (changed(|document| document["keys"] = json!([])), HELD),
        (changed(|document| document["keys"][0]["algorithm"] = json!(8)), HELD),
        (changed(|document| document["keys"][0]["public_key"] = json!("AAAA")), HELD),
        (changed(|document| document["keys"][0]["stage"] = json!("outgoing")), HELD),
        (changed(|document| document["sealed_keys"] = json!({})), HELD),
        (json!({}), HELD),
        // The key is told, and signs nothing.
        (foreign, "SERVFAIL 0, NOERROR 1, 1"),
    ] {
        lab.commit(put_keys(&document));
        assert_eq!(told(&lab.publisher()), at_a_start, "{document}");
        publisher.follow().unwrap();
        let is_foreign = at_a_start != HELD;
        // A running edge keeps the last good keys.
        assert_eq!(told(&publisher), if is_foreign { at_a_start } else { SIGNED }, "{document}");
        assert_eq!(publisher.problems().is_empty(), is_foreign, "{document}");
        lab.commit(put_keys(&good));
        publisher.follow().unwrap();
        assert!(publisher.problems().is_empty());
    }
    lab.damage(&Key::dnssec(ZONE));
    assert_eq!(told(&lab.publisher()), HELD);
    lab.lose_and_tell(&Key::dnssec(ZONE));
    assert_eq!(told(&lab.publisher()), HELD);
    // Somebody says what it is.
    let mut publisher = lab.publisher();
    lab.commit(vec![Op::Del { key: Key::dnssec(ZONE) }]);
    publisher.follow().unwrap();
    assert_eq!(told(&publisher), UNSIGNED);
}
