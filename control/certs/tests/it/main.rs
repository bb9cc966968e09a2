//! The CA and its certificates, judged by the real `openssl`, and kept in a real store.

mod certs;
mod chain;
mod keeper;
mod liars;
mod openssl;

use bartizan_certs::{Ca, CertsError};
use bartizan_names::Timestamp;
use bartizan_seal::Key;
use openssl::openssl;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const DAY: u64 = 86_400;

/// 2027-01-15, and some days later.
fn day(number: u64) -> Timestamp {
    Timestamp::from_unix_micros((1_800_000_000 + number * DAY) * 1_000_000)
}

fn seal_key(dir: &Path) -> Key {
    Key::load_or_create(&dir.join("seal.key")).unwrap()
}

fn ca(dir: &Path) -> Ca {
    Ca::load_or_create(dir, &seal_key(dir), day(0)).unwrap()
}

#[test]
fn the_ca_is_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ca(dir.path());
    let path = dir.path().join("ca.pem");
    assert_eq!(fs::read_to_string(&path).unwrap(), ca.certificate_pem());
    let text = openssl(&["x509", "-noout", "-text", "-in", path.to_str().unwrap()]).text();
    for line in [
        "Subject: CN = Bartizan local CA ",
        "Issuer: CN = Bartizan local CA ",
        "Not Before: Jan 15 07:00:00 2027 GMT",
        "Not After : Jan 14 08:00:00 2037 GMT",
        "ASN1 OID: prime256v1",
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
        "Signature Algorithm: ecdsa-with-SHA256",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    for (file, mode) in [("ca.pem", 0o644), ("ca.key.sealed", 0o600)] {
        let found = fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}");
    }
    let sealed = fs::read(dir.path().join("ca.key.sealed")).unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("PRIVATE"));
}

#[test]
fn the_ca_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let first = ca(dir.path());
    let path = dir.path().join("ca.pem");
    let again = [None, Some("another one's certificate")].map(|there| {
        match there {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => fs::write(&path, text).unwrap(),
        }
        ca(dir.path())
    });
    for again in again {
        assert_eq!(again.certificate_pem(), first.certificate_pem());
        assert_eq!(again.fingerprint(), first.fingerprint());
        assert_eq!(fs::read_to_string(&path).unwrap(), first.certificate_pem());
        let issued = again.issue(&["a.test".to_owned()], day(1), Duration::from_secs(DAY)).unwrap();
        assert!(openssl::verify(&path, &issued.chain_pem, day(1), &["-verify_hostname", "a.test"]));
    }
}

#[test]
fn a_ca_that_does_not_open_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    ca(dir.path());
    let sealed = dir.path().join("ca.key.sealed");
    let before = fs::read(&sealed).unwrap();
    let other = tempfile::tempdir().unwrap();
    let refused = Ca::load_or_create(dir.path(), &seal_key(other.path()), day(0)).err();
    assert!(matches!(refused, Some(CertsError::SealedCa { .. })), "{refused:?}");
    assert_eq!(fs::read(&sealed).unwrap(), before);
    let seal = seal_key(dir.path());
    for (bytes, damaged) in [(vec![], false), (vec![1, 2, 3], false), (seal.seal(b"ca.key", b"{}"), true)] {
        fs::write(&sealed, &bytes).unwrap();
        let refused = Ca::load_or_create(dir.path(), &seal, day(0)).err();
        assert_eq!(matches!(refused, Some(CertsError::DamagedCa { .. })), damaged, "{refused:?}");
        assert!(refused.is_some());
        assert_eq!(fs::read(&sealed).unwrap(), bytes);
    }
}

/// Everybody would have to trust the new one, and would be told by their browsers alone.
#[test]
fn a_ca_whose_key_went_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    ca(dir.path());
    let sealed = dir.path().join("ca.key.sealed");
    let published = dir.path().join("ca.pem");
    let before = fs::read(&published).unwrap();
    fs::remove_file(&sealed).unwrap();
    let refused = Ca::load_or_create(dir.path(), &seal_key(dir.path()), day(0)).err().unwrap();
    assert!(matches!(refused, CertsError::LostCa { .. }), "{refused:?}");
    assert!(refused.to_string().contains("put it back from a backup, or move ca.pem away"), "{refused}");
    assert!(matches!(Ca::validity_in(dir.path(), &seal_key(dir.path())), Err(CertsError::LostCa { .. })));
    assert!(!sealed.exists() && fs::read(&published).unwrap() == before);
    // As the remedy says.
    fs::remove_file(&published).unwrap();
    ca(dir.path());
}

#[test]
fn a_ca_that_is_not_valid_or_ends_soon_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ca(dir.path());
    assert_eq!(Ca::validity_in(dir.path(), &seal_key(dir.path())).unwrap(), Some(ca.validity()));
    let ends = 10 * 365 + 2;
    for (at, reason, remedy) in [
        (
            -1,
            "it is not valid before 2027-01-15T07:00:00.000000Z: the clock was ahead",
            "set this machine's clock right; if it is",
        ),
        (0, "", ""),
        (ends - 31, "", ""),
        (ends - 29, "it runs out on 2037-01-14T08:00:00.000000Z", "move ca.key.sealed and ca.pem away"),
        (ends, "it ran out on 2037-01-14T08:00:00.000000Z", "move ca.key.sealed and ca.pem away"),
    ] {
        let now = Timestamp::from_unix_micros(day(0).unix_micros().wrapping_add_signed(at * DAY as i64 * 1_000_000));
        let (found, advice) = ca.validity().warning(now).map_or((String::new(), ""), |told| (told.reason, told.remedy));
        assert!(found.starts_with(reason) && advice.starts_with(remedy), "{at}: {found}; {advice}");
        assert_eq!(found.is_empty(), reason.is_empty(), "{at}: {found}");
    }
}

#[test]
fn issued_certificates_prove_their_names_for_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ca(dir.path());
    let path = dir.path().join("ca.pem");
    let names = ["example.test", "*.example.test", "192.0.2.1", "2001:db8::1"].map(str::to_owned);
    let issued = ca.issue(&names, day(10), Duration::from_secs(90 * DAY)).unwrap();
    for (at, asked, good) in [
        (10, &["-verify_hostname", "example.test"], true),
        (10, &["-verify_hostname", "WWW.example.test"], true),
        (10, &["-verify_hostname", "a.b.example.test"], false),
        (10, &["-verify_hostname", "example.com"], false),
        (10, &["-verify_ip", "192.0.2.1"], true),
        (10, &["-verify_ip", "2001:db8::1"], true),
        (10, &["-verify_ip", "192.0.2.2"], false),
        (10, &["-purpose", "sslserver"], true),
        (10, &["-purpose", "sslclient"], false),
        (99, &["-purpose", "sslserver"], true),
        (101, &["-purpose", "sslserver"], false),
        (9, &["-purpose", "sslserver"], false),
    ] {
        assert_eq!(openssl::verify(&path, &issued.chain_pem, day(at), asked), good, "{asked:?} on day {at}");
    }
    let text = openssl::stdin(&["x509", "-noout", "-text"], issued.chain_pem.as_bytes()).text();
    for line in ["CN = example.test", "CA:FALSE", "Digital Signature", "TLS Web Server Authentication", "prime256v1"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let of_certificate = openssl::stdin(&["x509", "-noout", "-pubkey"], issued.chain_pem.as_bytes()).text();
    let of_key = openssl::stdin(&["pkey", "-inform", "DER", "-pubout"], &issued.key_pkcs8_der).text();
    assert_eq!(of_certificate, of_key);
}

#[test]
fn no_certificate_outlives_the_ca() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ca(dir.path());
    let validity = Duration::from_secs(90 * DAY);
    let names = ["a.test".to_owned()];
    // The CA ends on day 3652.
    for (today, end) in [(3500, 3590), (3562, 3652), (3600, 3652)] {
        assert_eq!(ca.issue(&names, day(today), validity).unwrap().not_after, day(end), "day {today}");
    }
    for today in [3652, 3653, 4000] {
        let refused = ca.issue(&names, day(today), validity).err();
        assert!(matches!(refused, Some(CertsError::ExpiredCa)), "day {today}: {refused:?}");
    }
}

#[test]
fn what_no_certificate_can_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = ca(dir.path()).issue(&["ä.test".to_owned()], day(0), Duration::from_secs(DAY));
    assert!(matches!(refused.err(), Some(CertsError::Issue { .. })));
}
