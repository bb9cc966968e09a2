//! Keys, DNSKEY and DS.

use bartizan_names::{RecordType, ZoneName};
use bartizan_signer::{
    Algorithm, Announcement, Data, Denial, Digest, Duties, KeyPair, PublicKey, Role, Validity, ZoneKey, ZoneKeys,
    ZoneKeysError, generate,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::lab::{SIGNS, apex, closed, name, new_key, of_seed, private};

fn base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}

fn data(records: impl Iterator<Item = Data>) -> Vec<Vec<u8>> {
    records.map(|record| record.as_ref().to_vec()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn keys_as_the_rfcs_print_them() {
    for (what, zone, algorithm, key, tag, ds) in [
        (
            "RFC 6605 §6.1",
            "example.net",
            Algorithm::EcdsaP256Sha256,
            "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==",
            55_648,
            "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17",
        ),
        (
            "RFC 8080 §6.1",
            "example.com",
            Algorithm::Ed25519,
            "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
            3_613,
            "3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b",
        ),
    ] {
        let public = PublicKey::new(Role::Csk, algorithm, &base64(key)).unwrap();
        assert_eq!(public.tag(), tag, "{what}");
        let zone = ZoneName::new(name(zone)).unwrap();
        let expect = [&tag.to_be_bytes()[..], &[algorithm.number(), 2]].concat();
        assert_eq!(hex(public.ds(&zone, Digest::Sha256).as_ref()), hex(&expect) + ds, "{what}");
        assert_eq!(public.ds(&zone, Digest::Sha384).as_ref().len(), 4 + 48, "{what}");
        assert_eq!(public.dnskey(), [&[1, 1, 3, algorithm.number()], &base64(key)[..]].concat(), "{what}");
    }
}

#[test]
fn new_keys_read_as_they_were_made() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::of_number(algorithm.number()), Some(algorithm));
        for (role, flags) in [(Role::Csk, 257), (Role::Ksk, 257), (Role::Zsk, 256)] {
            let made = generate(role, algorithm).unwrap();
            let read = KeyPair::from_pkcs8(algorithm, &made.pkcs8).unwrap();
            assert_eq!(read.public(role), Some(made.public));
            assert_eq!(made.public.dnskey()[..2], u16::to_be_bytes(flags));
            assert!(!format!("{made:?}").contains("pkcs8"));
        }
    }
    assert_eq!(Algorithm::of_number(8), None);
    assert_eq!(PublicKey::new(Role::Csk, Algorithm::Ed25519, &[1; 31]), None);
}

#[test]
fn bytes_that_are_no_private_key() {
    let of = |algorithm| generate(Role::Csk, algorithm).unwrap().pkcs8;
    for (what, algorithm, bytes) in [
        ("nothing", Algorithm::Ed25519, vec![]),
        ("a key of the other algorithm", Algorithm::Ed25519, of(Algorithm::EcdsaP256Sha256)),
        ("and the other way round", Algorithm::EcdsaP256Sha256, of(Algorithm::Ed25519)),
        ("half a key", Algorithm::EcdsaP256Sha256, of(Algorithm::EcdsaP256Sha256)[..60].to_vec()),
    ] {
        assert!(KeyPair::from_pkcs8(algorithm, &bytes).is_err(), "{what}");
    }
}

fn with(duties: Duties, role: Role) -> ZoneKey {
    ZoneKey { duties, ..new_key(role, Algorithm::Ed25519) }
}

#[test]
fn keys_that_cannot_sign_a_zone() {
    let quiet = Duties { signs: false, ..SIGNS };
    let hidden = Duties { published: false, ..SIGNS };
    for (what, keys, expect) in [
        ("none", vec![], Some(ZoneKeysError::NoKeySigner)),
        ("one for everything", vec![with(SIGNS, Role::Csk)], None),
        ("one for each", vec![with(SIGNS, Role::Ksk), with(SIGNS, Role::Zsk)], None),
        ("a KSK", vec![with(SIGNS, Role::Ksk)], Some(ZoneKeysError::NoDataSigner)),
        ("a ZSK", vec![with(SIGNS, Role::Zsk)], Some(ZoneKeysError::NoKeySigner)),
        ("one that does not sign", vec![with(quiet, Role::Csk)], Some(ZoneKeysError::NoKeySigner)),
        ("one that nobody sees", vec![with(hidden, Role::Csk)], Some(ZoneKeysError::NoKeySigner)),
        (
            "somebody else's",
            vec![ZoneKey { private: None, ..with(SIGNS, Role::Csk) }],
            Some(ZoneKeysError::NoKeySigner),
        ),
    ] {
        let keys = ZoneKeys::new(keys, Denial::Compact, Announcement::None, Validity::default());
        assert_eq!(keys.err(), expect, "{what}");
    }
}

#[test]
fn which_key_does_what() {
    let quiet = Duties { signs: false, announced: false, ..SIGNS };
    let keys = vec![with(SIGNS, Role::Ksk), with(SIGNS, Role::Zsk), with(quiet, Role::Ksk), with(quiet, Role::Zsk)];
    let tags: Vec<u16> = keys.iter().map(|key| key.public.tag()).collect();
    let keys = ZoneKeys::new(keys, Denial::Compact, Announcement::Keys, Validity::default()).unwrap();
    let signers = |rtype| keys.signers(rtype).map(|key| key.public.tag()).collect::<Vec<_>>();
    for rtype in [RecordType::DNSKEY, RecordType::CDS, RecordType::CDNSKEY] {
        assert_eq!(signers(rtype), [tags[0]], "{rtype}");
    }
    assert_eq!(signers(RecordType::SOA), [tags[1]]);
    assert_eq!(keys.dnskeys().count(), 4);
    let first = keys.keys()[0].public;
    assert_eq!(keys.cds(&apex()).collect::<Vec<_>>(), [first.ds(&apex(), Digest::Sha256)]);
    assert_eq!(data(keys.cdnskeys()), [first.dnskey()]);
}

#[test]
fn what_the_parent_is_told() {
    for (announcement, cds, cdnskeys) in
        [(Announcement::None, vec![], vec![]), (Announcement::Delete, vec![vec![0; 5]], vec![vec![0, 0, 3, 0, 0]])]
    {
        let keys = vec![with(SIGNS, Role::Csk)];
        let keys = ZoneKeys::new(keys, Denial::Compact, announcement, Validity::default()).unwrap();
        assert_eq!((data(keys.cds(&apex())), data(keys.cdnskeys())), (cds, cdnskeys), "{announcement:?}");
    }
}

#[test]
fn keys_open_if_they_are_what_they_say() {
    let seeds = [of_seed(Role::Csk, &[1; 32]), of_seed(Role::Csk, &[2; 32])];
    let other = generate(Role::Csk, Algorithm::Ed25519).unwrap();
    for (what, half, expect) in [
        ("its own", None, true),
        ("sealed by another", Some(closed()), false),
        ("of another key", Some(private(&other.pkcs8)), false),
        ("no key", Some(private(b"no key")), false),
    ] {
        let mut key = of_seed(Role::Csk, &[1; 32]);
        if half.is_some() {
            key.private = half;
        }
        let keys = ZoneKeys::new(vec![key], Denial::Compact, Announcement::None, Validity::default()).unwrap();
        assert_eq!(keys.all_open(), expect, "{what}");
    }
    assert_eq!(seeds[0], of_seed(Role::Csk, &[1; 32]));
    assert_ne!(seeds[0], seeds[1]);
    assert!(!format!("{:?}", seeds[0]).contains("lab"), "no secret is shown");
}
