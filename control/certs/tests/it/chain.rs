//! Certificates that people bring: put in order, or refused with the reason.

use bartizan_certs::{Anchor, At, Chain};
use bartizan_names::{Name, Timestamp, ZoneName};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};

use crate::{day, openssl};

/// A root, two authorities below it, and a leaf of the lower one.
struct Lab {
    root: String,
    upper: String,
    lower: String,
    issuer: Issuer<'static, KeyPair>,
    leaf: String,
    key: KeyPair,
}

fn authority(name: &str, days: (u64, u64)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, format!("{name} & Co"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    within(&mut params, days);
    params
}

fn within(params: &mut CertificateParams, (from, until): (u64, u64)) {
    let at = |number| time::OffsetDateTime::from_unix_timestamp(day(number).unix_seconds() as i64).unwrap();
    (params.not_before, params.not_after) = (at(from), at(until));
}

fn leaf(names: &[&str], days: (u64, u64)) -> CertificateParams {
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut params = CertificateParams::new(names).unwrap();
    within(&mut params, days);
    params
}

const NAMES: [&str; 3] = ["example.test", "*.Example.test", "other.test"];

impl Lab {
    fn new() -> Lab {
        Lab::ending(1_000)
    }

    /// The upper authority ends on that day.
    fn ending(day: u64) -> Lab {
        let keys = [(); 3].map(|()| KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
        let [root_key, upper_key, lower_key] = keys;
        let root_params = authority("Root", (0, 1_000));
        let root = root_params.self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(root_params, root_key);
        let upper_params = authority("Upper", (0, day));
        let upper = upper_params.signed_by(&upper_key, &root_issuer).unwrap();
        let upper_issuer = Issuer::new(upper_params, upper_key);
        let lower_params = authority("Lower", (0, 1_000));
        let lower = lower_params.signed_by(&lower_key, &upper_issuer).unwrap();
        let issuer = Issuer::new(lower_params, lower_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let leaf = leaf(&NAMES, (0, 90)).signed_by(&key, &issuer).unwrap();
        Lab { root: root.pem(), upper: upper.pem(), lower: lower.pem(), issuer, leaf: leaf.pem(), key }
    }

    /// Another certificate for the key.
    fn of(&self, params: &CertificateParams) -> String {
        params.signed_by(&self.key, &self.issuer).unwrap().pem()
    }

    fn read(&self, certificate: &str, key: &str) -> Result<Chain, String> {
        Chain::read(certificate, key, day(10)).map_err(|error| {
            let at = if error.at() == At::Key { "key" } else { "certificate" };
            format!("{at}: {error}")
        })
    }
}

#[test]
fn a_chain_is_put_in_order_and_the_root_left_out() {
    let lab = Lab::new();
    let Lab { root, upper, lower, leaf, .. } = &lab;
    let key = lab.key.serialize_pem();
    let expect = [leaf.as_str(), lower, upper].concat().replace('\r', "");
    for given in [
        [leaf.as_str(), lower, upper].concat(),
        [root.as_str(), upper, lower, leaf].concat(),
        [upper.as_str(), leaf, root, lower, leaf].concat(),
        format!("for people\r\n{}\n{}{}", leaf.replace('\n', "\r\n"), upper, lower),
    ] {
        let chain = lab.read(&given, &key).unwrap();
        assert_eq!(chain.chain_pem, expect);
        assert_eq!(chain.names, ["example.test", "*.example.test", "other.test"]);
        assert_eq!((chain.not_before, chain.not_after), (day(0), day(90)));
        assert_eq!((&*chain.issuer, chain.signature), ("Lower & Co", "ECDSAWithSHA256"));
    }
    // As clients ask for them.
    let dotted = lab.of(&self::leaf(&["example.test.", "*.example.test.", "*.*.example.test"], (0, 90)));
    assert_eq!(lab.read(&dotted, &key).unwrap().names, ["example.test", "*.example.test"]);
    // One alone is as much as somebody has.
    assert_eq!(lab.read(leaf, &key).unwrap().chain_pem, leaf.replace('\r', ""));
}

#[test]
fn keys_are_taken_in_all_forms_that_tools_write() {
    let lab = Lab::new();
    let key = lab.key.serialize_pem();
    let sec1 = openssl::stdin(&["ec"], key.as_bytes()).text();
    assert!(sec1.contains("BEGIN EC PRIVATE KEY"), "{sec1}");
    let with_parameters =
        format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{sec1}");
    for key in [&key, &sec1, &with_parameters] {
        let chain = lab.read(&lab.leaf, key).unwrap();
        bartizan_tls::CertifiedKey::from_pem(&chain.chain_pem, &chain.key_der).unwrap();
    }
    let rsa = openssl::stdin(&["genrsa", "-traditional", "2048"], b"").text();
    assert!(rsa.contains("BEGIN RSA PRIVATE KEY"), "{rsa}");
    let rsa_key = KeyPair::from_pem(&openssl::stdin(&["pkey"], rsa.as_bytes()).text()).unwrap();
    let params = leaf(&["rsa.test"], (0, 90));
    let certificate = params.signed_by(&rsa_key, &lab.issuer).unwrap().pem();
    assert_eq!(lab.read(&certificate, &rsa).unwrap().names, ["rsa.test"]);
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = params.self_signed(&ed25519).unwrap().pem();
    let chain = lab.read(&certificate, &ed25519.serialize_pem()).unwrap();
    assert_eq!(
        (chain.signature, chain.chain_pem),
        ("Ed25519", certificate.replace('\r', "")),
        "one that is its own root"
    );
}

#[test]
fn what_cannot_be_served_is_refused_with_the_reason() {
    let lab = Lab::new();
    let Lab { upper, lower, leaf: good, .. } = &lab;
    let key = lab.key.serialize_pem();
    let encrypted = openssl::stdin(&["pkcs8", "-topk8", "-passout", "pass:word"], key.as_bytes()).text();
    let old = openssl::stdin(&["ec", "-aes128", "-passout", "pass:word"], key.as_bytes()).text();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let rsa_small = openssl::stdin(&["genrsa", "1024"], b"").text();
    let stray = Lab::new().upper;
    let late = lab.of(&leaf(&NAMES, (20, 90)));
    let ended = lab.of(&leaf(&NAMES, (0, 9)));
    let nameless = lab.of(&leaf(&[], (0, 90)));
    let address = lab.of(&leaf(&["192.0.2.1"], (0, 90)));
    let mut for_clients = leaf(&NAMES, (0, 90));
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let for_clients = lab.of(&for_clients);
    let mut for_issuing = leaf(&NAMES, (0, 90));
    for_issuing.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let for_issuing = lab.of(&for_issuing);
    let nobodys = lab.of(&leaf(&["*.*.example.test", "a..test", "*"], (0, 90)));
    let many = good.repeat(11);
    let cut = good.replace("-----END CERTIFICATE-----", "");
    let not_base64 = good.replacen("M", "!", 1);
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let with_key = format!("{good}{key}");
    let long = "x".repeat(200 << 10);
    for (certificate, key, expect) in [
        ("", &*key, "certificate: there is none in the text: it begins with -----BEGIN CERTIFICATE-----"),
        ("text", &key, "certificate: there is none in the text"),
        (&long, &key, "certificate: the text is longer than 128 KB"),
        (good, "", "key: there is none in the text: it begins with -----BEGIN PRIVATE KEY-----"),
        (good, good, "key: \"CERTIFICATE\" is no private key"),
        (&with_key, &key, "certificate: block 2 of the text is \"PRIVATE KEY\""),
        (&cut, &key, "certificate: block 1 of the text is damaged: it has no end"),
        (&not_base64, &key, "certificate: block 1 of the text is damaged: what is in it is not base64"),
        (not_der, &key, "certificate: certificate 1 of the text cannot be read"),
        (&many, &key, "certificate: there are more than 10 certificates"),
        (good, &encrypted, "key: it is encrypted; take the passphrase away first: openssl pkey"),
        (good, &old, "key: it is encrypted"),
        (good, &other, "key: it belongs to none of the certificates in the text"),
        (&[lower.as_str(), upper].concat(), &key, "key: it belongs to none of the certificates"),
        (good, &format!("{key}{other}"), "key: there are several in the text"),
        (
            good,
            &rsa_small,
            "key: it is of no kind that is taken, which are RSA of 2,048 to 8,192 bits, P-256, P-384, P-521 and Ed25519: ",
        ),
        (
            good,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "key: it is of no kind that is taken, which are RSA of 2,048 to 8,192 bits, P-256, P-384, P-521 and Ed25519: ",
        ),
        (&format!("{good}{stray}"), &key, "certificate: Upper is no part of the chain"),
        (&ended, &key, "certificate: it ran out on 2027-01-24T08:00:00.000000Z"),
        (&late, &key, "certificate: it is not valid before 2027-02-04T08:00:00.000000Z"),
        (&for_clients, &key, "certificate: it is not for servers"),
        (&for_issuing, &key, "certificate: its key may not sign"),
        (&nameless, &key, "certificate: it has no DNS name"),
        (&nobodys, &key, "certificate: it has no DNS name"),
        (&address, &key, "certificate: it has no DNS name"),
    ] {
        let refused = lab.read(certificate, key).map(|chain| chain.names);
        let refused = refused.expect_err(expect);
        assert!(refused.starts_with(expect), "{refused}\nwanted: {expect}");
    }
    let ending = Lab::ending(9);
    let whole = [ending.leaf.as_str(), &ending.lower, &ending.upper].concat();
    let refused = ending.read(&whole, &ending.key.serialize_pem()).unwrap_err();
    assert!(refused.contains("its chain ends sooner than it does: Upper ran out on"), "{refused}");
}

#[test]
fn a_certificate_is_for_names_of_its_zone_alone() {
    let lab = Lab::new();
    let chain = lab.read(&lab.leaf, &lab.key.serialize_pem()).unwrap();
    let zone = |name: &str| ZoneName::new(Name::parse(name).unwrap()).unwrap();
    for (name, expect) in [
        ("example.test", Ok(vec!["example.test", "*.example.test"])),
        ("test", Ok(vec!["example.test", "*.example.test", "other.test"])),
        ("other.test", Ok(vec!["other.test"])),
        (
            "sub.example.test",
            Err("none of its names lies in the zone sub.example.test: example.test, *.example.test, other.test"),
        ),
    ] {
        let found = chain.names_in(&zone(name)).map_err(|error| error.to_string());
        assert_eq!(found, expect.map(|names| names.into_iter().map(str::to_owned).collect()).map_err(str::to_owned));
    }
}

#[test]
fn what_a_machine_is_to_trust_is_one_certificate_of_a_ca() {
    let Lab { root, upper, leaf, key, .. } = Lab::new();
    let anchor = Anchor::read(&format!("for people\n{root}")).unwrap();
    assert_eq!(anchor.pem, root.replace('\r', ""));
    let told = openssl::stdin(&["x509", "-noout", "-fingerprint", "-sha256"], root.as_bytes()).text();
    let told = told.trim().rsplit('=').next().unwrap().replace(':', "").to_ascii_lowercase();
    assert_eq!(anchor.fingerprint, told);
    for (text, expect) in [
        (format!("{root}{upper}"), "there are 2 certificates in the text"),
        (leaf, "it is the certificate of no CA"),
        (format!("{root}{}", key.serialize_pem()), "block 2 of the text is \"PRIVATE KEY\""),
        (String::new(), "there is none in the text"),
    ] {
        let refused = Anchor::read(&text).unwrap_err().to_string();
        assert!(refused.starts_with(expect), "{refused}");
    }
}

/// Bytes of strangers: whatever they are, they are read or refused.
#[test]
fn damaged_texts_are_refused_and_nothing_else() {
    let lab = Lab::new();
    let (whole, key) = ([lab.leaf.as_str(), &lab.lower].concat(), lab.key.serialize_pem());
    let mut seed = 1_u64;
    for _ in 0..2_000 {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        let mut text = whole.clone().into_bytes();
        for _ in 0..=next() % 3 {
            let at = next() % text.len();
            text[at] = b"AZaz09+/=\n-"[next() % 11];
        }
        text.truncate(text.len() - next() % 40);
        let _ = Chain::read(&String::from_utf8_lossy(&text), &key, Timestamp::from_unix_micros(day(10).unix_micros()));
    }
}
