//! What is signed, by which time, and how often.

use bartizan_names::RecordType;
use bartizan_signer::{Algorithm, Budget, Lasting, RecordSet, Role, Tally, Unsigned, Validity};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use crate::lab::{START, Worker, apex, closed, is_valid, name, new_key, of_seed, time_at};

const HOUR: u64 = 3_600;

/// RFC 8080 §6.1: the algorithm has no randomness, so the signature is the printed one.
#[test]
fn a_signature_as_the_rfc_prints_it() {
    let key = of_seed(Role::Csk, b"82260384628080122645190204142262");
    assert_eq!(key.public.tag(), 3_613);
    let mut worker = Worker::new(Budget::default());
    let owner = name("example.com");
    let data = [&b"\0\x0a"[..], name("mail.example.com").as_wire()].concat();
    let data = std::iter::once(&data[..]);
    let set = RecordSet { owner: owner.as_wire(), rtype: RecordType::MX, ttl: 3_600, data, lasting: Lasting::Yes };
    let validity = Validity { backdate: 3_600, span: 1_814_400 };
    worker.set_clock(1_438_207_200 + HOUR, HOUR);
    let signature = worker.signer.signature(owner.as_wire(), &key, validity, &set).unwrap();
    let printed = "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==";
    assert_eq!(BASE64_STANDARD.encode(signature.signature), printed);
}

#[test]
fn signatures_are_valid_for_what_they_are_of() {
    for algorithm in Algorithm::ALL {
        let key = new_key(Role::Csk, algorithm);
        let signature = Worker::new(Budget::default()).sign(&key, "www.example.com", 1, Lasting::Yes).unwrap();
        let valid = |signature: &_, owner, octet| {
            is_valid(signature, &key.public, apex().as_name(), &name(owner), &[&[192, 0, 2, octet]])
        };
        assert!(valid(&signature, "www.example.com", 1), "{algorithm:?}");
        assert!(!valid(&signature, "www.example.com", 2), "{algorithm:?}");
        assert!(!valid(&signature, "ww.example.com", 1), "{algorithm:?}");
        assert_eq!(time_at(&signature, 8) - time_at(&signature, 12), 50 * HOUR);
        assert_eq!(time_at(&signature, 12), START - HOUR);
        assert_eq!(time_at(&signature, 4), 300);
    }
}

#[test]
fn labels_that_count() {
    let key = new_key(Role::Csk, Algorithm::Ed25519);
    for (owner, labels) in [
        ("example.com", 2),
        ("www.example.com", 3),
        ("*.example.com", 2),
        ("*.*.example.com", 3),
        ("a.*.example.com", 4),
    ] {
        let signature = Worker::new(Budget::default()).sign(&key, owner, 1, Lasting::Yes).unwrap();
        assert_eq!(signature.head[3], labels, "{owner}");
    }
}

#[test]
fn signatures_are_kept_and_renewed() {
    let key = new_key(Role::Csk, Algorithm::EcdsaP256Sha256);
    let mut worker = Worker::new(Budget::default());
    let first = worker.sign(&key, "www.example.com", 1, Lasting::Yes).unwrap();
    for (what, at, octet, expect) in [
        ("at once", 0, 1, "kept"),
        ("a day later", 23 * HOUR, 1, "kept"),
        ("when half of its time is over", 25 * HOUR, 1, "made"),
        ("the new one", 25 * HOUR, 1, "kept"),
        ("another content", 25 * HOUR, 2, "made"),
        ("the first content again", 25 * HOUR, 1, "kept"),
        ("after it ran out", 500 * HOUR, 1, "made"),
    ] {
        worker.signer.take_tally();
        worker.wait_until(at);
        let signature = worker.sign(&key, "www.example.com", octet, Lasting::Yes).unwrap();
        let tally = worker.signer.take_tally();
        assert_eq!(if tally.made > 0 { "made" } else { "kept" }, expect, "{what}: {tally:?}");
        assert!(time_at(&signature, 8) >= START + at + 25 * HOUR - 1, "{what}: it is valid for long enough");
        assert!(is_valid(&signature, &key.public, apex().as_name(), &name("www.example.com"), &[&[192, 0, 2, octet]]));
    }
    let other = new_key(Role::Csk, Algorithm::EcdsaP256Sha256);
    let signature = worker.sign(&other, "www.example.com", 1, Lasting::Yes).unwrap();
    assert_ne!(signature.signature, first.signature);
    assert!(is_valid(&signature, &other.public, apex().as_name(), &name("www.example.com"), &[&[192, 0, 2, 1]]));
}

#[test]
fn a_key_that_does_not_open_leaves_what_was_signed() {
    let mut key = new_key(Role::Csk, Algorithm::Ed25519);
    let mut worker = Worker::new(Budget::default());
    worker.sign(&key, "www.example.com", 1, Lasting::Yes).unwrap();
    key.private = Some(closed());
    for (what, at, octet, expect) in [
        ("what was signed", 0, 1, None),
        ("what was not", 0, 2, Some(Unsigned::NoKey)),
        ("while it is valid", 48 * HOUR, 1, None),
        ("and not longer", 49 * HOUR, 1, Some(Unsigned::NoKey)),
    ] {
        worker.wait_until(at);
        assert_eq!(worker.sign(&key, "www.example.com", octet, Lasting::Yes).err(), expect, "{what}");
    }
    let expect = Tally { made: 1, kept: 1, late: 1, no_key: 2, ..Tally::default() };
    assert_eq!(worker.signer.take_tally(), expect);
}

#[test]
fn a_flood_takes_nothing_from_what_is_kept() {
    let key = new_key(Role::Csk, Algorithm::Ed25519);
    let mut worker = Worker::new(Budget { lasting: 1_000, passing: 50, source: 40 });
    worker.sign(&key, "www.example.com", 1, Lasting::Yes).unwrap();
    for number in 0..100 {
        worker.ask_from(if number < 50 { "192.0.2.1" } else { "198.51.100.1" });
        let signed = worker.sign(&key, &format!("x{number}.example.com"), 1, Lasting::No);
        // Each may have forty, and all sources together fifty.
        let expect = if number < 40 || (50..60).contains(&number) { None } else { Some(Unsigned::OverBudget) };
        assert_eq!(signed.err(), expect, "{number}");
    }
    worker.ask_from("192.0.2.1");
    assert!(worker.sign(&key, "www.example.com", 1, Lasting::Yes).is_ok(), "what is kept costs nothing");
    worker.ask_from("198.51.100.2");
    assert!(
        worker.sign(&key, "mail.example.com", 1, Lasting::Yes).is_ok(),
        "names that exist have a ration of their own"
    );
    worker.wait_until(26 * HOUR);
    worker.ask_from("192.0.2.1");
    (0..40).for_each(|number| drop(worker.sign(&key, &format!("y{number}.example.com"), 1, Lasting::Yes)));
    worker.signer.take_tally();
    assert!(worker.sign(&key, "www.example.com", 1, Lasting::Yes).is_ok(), "what is to be renewed is valid still");
    assert_eq!(worker.signer.take_tally().late, 1);
}

/// What was signed when another time was believed is signed anew, as far as it is not valid now.
#[test]
fn a_time_that_was_wrong_spoils_nothing() {
    const YEAR: u64 = 8_766 * HOUR;
    let key = new_key(Role::Csk, Algorithm::Ed25519);
    let mut worker = Worker::new(Budget::default());
    let first = worker.sign(&key, "www.example.com", 1, Lasting::Yes).unwrap();
    for (what, time, after, begins) in [
        ("an hour later", START + HOUR, HOUR, START - HOUR),
        ("back by days", START - 99 * HOUR, 2 * HOUR, START - 100 * HOUR),
        ("ahead by years", START + 10 * YEAR + HOUR, 3 * HOUR, START + 10 * YEAR),
        // What was signed in ten years is not valid yet.
        ("it was wrong", START - 97 * HOUR, 4 * HOUR, START - 98 * HOUR),
    ] {
        worker.signer.take_tally();
        worker.set_clock(time, after);
        let signature = worker.sign(&key, "www.example.com", 1, Lasting::Yes).unwrap();
        assert_eq!(time_at(&signature, 12), begins, "{what}");
        assert_eq!(signature.signature == first.signature, begins == START - HOUR, "{what}");
    }
}

proptest! {
    /// Whatever the records are and in which order they come: a validator, which orders them itself, is content.
    #[test]
    fn any_set_is_signed(mut data in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..8), algorithm in 0..2_usize) {
        let key = new_key(Role::Zsk, Algorithm::ALL[algorithm]);
        let owner = name("a.b.example.com");
        let mut worker = Worker::new(Budget::default());
        let set = RecordSet {
            owner: owner.as_wire(), rtype: RecordType::TXT, ttl: 60, data: data.iter().map(Vec::as_slice), lasting: Lasting::Yes
        };
        let signature = worker.signer.signature(apex().as_name().as_wire(), &key, Validity::default(), &set).unwrap().clone();
        data.sort_unstable();
        data.dedup();
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        prop_assert!(is_valid(&signature, &key.public, apex().as_name(), &owner, &data));
    }
}
