//! The certificate that a client has shown, and what it says (RFC 5280 §4.1).
//!
//! Nothing of it is believed here. That its key is the client's was proven by the handshake.

use std::borrow::Cow;
use std::ops::Range;

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_names::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// Names of a certificate that are told. One with more is for no client, and none of them is.
const NAMES_MAX: usize = 100;

/// A chain as a client showed it, its own certificate first.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    chain: Box<[CertificateDer<'static>]>,
}

/// What a certificate says of itself. Texts have whatever signs its authority let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFacts {
    /// In the form of RFC 4514.
    pub subject: String,
    pub issuer: String,
    pub common_name: Option<String>,
    pub organization: Option<String>,
    pub organizational_unit: Option<String>,
    pub country: Option<String>,
    /// `DNS:a.example, URI:urn:device:7`.
    pub san: Option<String>,
    /// In hexadecimal digits, as are the others.
    pub serial: String,
    pub ski: Option<String>,
    pub fingerprint: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl ClientCertificate {
    /// None of an empty chain.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
        let chain: Box<[_]> = chain.iter().map(|one| one.clone().into_owned()).collect();
        (!chain.is_empty()).then_some(ClientCertificate { chain })
    }

    /// In DER.
    pub fn leaf(&self) -> &[u8] {
        // `of` refuses an empty chain.
        &self.chain[0]
    }

    /// What the client sent to lead from its own certificate to an authority, in DER.
    pub fn above(&self) -> impl Iterator<Item = &[u8]> {
        self.chain[1..].iter().map(|one| &**one)
    }

    pub(crate) fn chain(&self) -> (&CertificateDer<'static>, &[CertificateDer<'static>]) {
        (&self.chain[0], &self.chain[1..])
    }

    /// None of what is no certificate.
    pub fn facts(&self) -> Option<ClientFacts> {
        let (_, leaf) = X509Certificate::from_der(self.leaf()).ok()?;
        let first = |oid: &Oid<'static>| {
            let value = leaf.subject().iter_by_oid(oid).next()?;
            Some(String::from_utf8_lossy(value.as_slice()).into_owned())
        };
        use x509_parser::oid_registry as known;
        let (not_before, not_after) = validity(&leaf);
        Some(ClientFacts {
            subject: written(leaf.subject()),
            issuer: written(leaf.issuer()),
            common_name: first(&known::OID_X509_COMMON_NAME),
            organization: first(&known::OID_X509_ORGANIZATION_NAME),
            organizational_unit: first(&known::OID_X509_ORGANIZATIONAL_UNIT),
            country: first(&known::OID_X509_COUNTRY_NAME),
            san: san(&leaf),
            serial: hex::encode_upper(leaf.raw_serial()),
            ski: ski(&leaf),
            fingerprint: hex::encode(digest(&SHA256, self.leaf())),
            not_before,
            not_after,
        })
    }

    /// Who issued it, as DER, and by what number: by that it is revoked.
    pub(crate) fn issuer_and_serial(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let (_, leaf) = X509Certificate::from_der(self.leaf()).ok()?;
        Some((leaf.issuer().as_raw().to_vec(), leaf.raw_serial().to_vec()))
    }

    /// The times around `now` (in seconds of Unix) at which one of them begins or ceases to be valid: what is found of the
    /// chain now holds between the two.
    pub(crate) fn steady_around(&self, now: u64) -> Range<u64> {
        let all = self.chain.iter().map(|der| steady_around(der, now));
        all.fold(0..u64::MAX, |all, one| all.start.max(one.start)..all.end.min(one.end))
    }
}

/// The same of one certificate.
pub(crate) fn steady_around(der: &CertificateDer<'_>, now: u64) -> Range<u64> {
    let (mut from, mut until) = (0, u64::MAX);
    if let Ok((_, certificate)) = X509Certificate::from_der(der) {
        let (begins, ends) = validity(&certificate);
        // It is valid in the last second too.
        for edge in [begins.unix_seconds(), ends.unix_seconds().saturating_add(1)] {
            if edge <= now { from = from.max(edge) } else { until = until.min(edge) }
        }
    }
    from..until
}

fn validity(certificate: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let at = |seconds: i64| Timestamp::from_unix_micros(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000));
    let validity = certificate.validity();
    (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()))
}

fn ski(leaf: &X509Certificate<'_>) -> Option<String> {
    let extension = leaf.get_extension_unique(&OID_X509_EXT_SUBJECT_KEY_IDENTIFIER).ok()??;
    match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(hex::encode_upper(id.0)),
        _ => None,
    }
}

/// A value that could be taken for several is in quotes, as JSON has it: who asks for a certificate chooses what is in there.
fn san(leaf: &X509Certificate<'_>) -> Option<String> {
    let names = leaf.subject_alternative_name().ok()??;
    // Half of them would be another certificate's.
    if names.value.general_names.len() > NAMES_MAX {
        return None;
    }
    let told = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", quoted(name))),
        GeneralName::RFC822Name(name) => Some(format!("email:{}", quoted(name))),
        GeneralName::URI(name) => Some(format!("URI:{}", quoted(name))),
        GeneralName::IPAddress(octets) => Some(format!("IP:{}", address(octets)?)),
        _ => None,
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join(", "))
}

fn quoted(value: &str) -> Cow<'_, str> {
    let is_plain = |sign: char| !matches!(sign, ',' | '"' | '\\' | '\'') && !sign.is_whitespace() && !sign.is_control();
    if !value.is_empty() && value.chars().all(is_plain) {
        return Cow::Borrowed(value);
    }
    let mut text = String::from('"');
    for sign in value.chars() {
        match sign {
            '"' | '\\' => text.extend(['\\', sign]),
            sign if sign.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(sign))),
            sign => text.push(sign),
        }
    }
    Cow::Owned(text + "\"")
}

fn address(octets: &[u8]) -> Option<std::net::IpAddr> {
    <[u8; 4]>::try_from(octets).map(Into::into).or_else(|_| <[u8; 16]>::try_from(octets).map(Into::into)).ok()
}

/// The most specific part first (RFC 4514 §2).
fn written(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let rdn = |rdn: &x509_parser::x509::RelativeDistinguishedName<'_>| {
        let pairs = rdn.iter().map(|pair| {
            let kind = kind_of(pair.attr_type());
            format!("{kind}={}", escaped(&String::from_utf8_lossy(pair.as_slice())))
        });
        pairs.collect::<Vec<_>>().join("+")
    };
    parts.iter().rev().map(|part| rdn(part)).collect::<Vec<_>>().join(",")
}

fn kind_of(oid: &Oid<'_>) -> String {
    let text = oid.to_id_string();
    let short = match text.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return text,
    };
    short.to_owned()
}

/// RFC 4514 §2.4.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, sign) in value.chars().enumerate() {
        let is_special = matches!(sign, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=')
            || (at == 0 && matches!(sign, '#' | ' '))
            || (at == last && sign == ' ');
        if is_special {
            text.push('\\');
        }
        text.push(sign);
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(params: &CertificateParams) -> ClientCertificate {
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::of(&[der.der().clone()]).unwrap()
    }

    #[test]
    fn what_a_certificate_says() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "AT");
        params.distinguished_name.push(DnType::OrganizationName, "Wind, Sons & Co");
        params.distinguished_name.push(DnType::CommonName, " sensor #7\r\nX-Forged: yes");
        params.subject_alt_names = vec![
            SanType::DnsName("seven.devices.test".try_into().unwrap()),
            SanType::URI("urn:device:7".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
        ];
        params.serial_number = Some(vec![0x0a, 0xbc].into());
        let facts = certificate(&params).facts().unwrap();
        assert_eq!(facts.subject, "CN=\\ sensor #7\r\nX-Forged: yes,O=Wind\\, Sons & Co,C=AT");
        assert_eq!(facts.issuer, facts.subject);
        assert_eq!(facts.common_name.as_deref(), Some(" sensor #7\r\nX-Forged: yes"));
        assert_eq!(facts.san.as_deref(), Some("DNS:seven.devices.test, URI:urn:device:7, IP:192.0.2.7"));
        assert_eq!((facts.serial.as_str(), facts.fingerprint.len()), ("0ABC", 64));
    }

    /// Nobody gets another name by what stands in one of theirs.
    #[test]
    fn names_that_look_like_several() {
        for (uri, told) in [
            ("urn:device:7", "URI:urn:device:7"),
            ("urn:x, DNS:admin.example.com", r#"URI:"urn:x, DNS:admin.example.com""#),
            ("urn:x,DNS:admin", r#"URI:"urn:x,DNS:admin""#),
            (r#"urn:"x", DNS:y"#, r#"URI:"urn:\"x\", DNS:y""#),
            ("urn:\r\nX-Role: admin", r#"URI:"urn:\u000d\u000aX-Role: admin""#),
            (r"urn:\", r#"URI:"urn:\\""#),
            ("", r#"URI:"""#),
        ] {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
            assert_eq!(certificate(&params).facts().unwrap().san.as_deref(), Some(told), "{uri}");
        }
        let many = |count: usize| {
            let names = (0..count).map(|number| SanType::DnsName(format!("n{number}.test").try_into().unwrap()));
            let mut params = CertificateParams::default();
            params.subject_alt_names = names.collect();
            params
        };
        assert!(certificate(&many(NAMES_MAX)).facts().unwrap().san.is_some());
        assert_eq!(certificate(&many(NAMES_MAX + 1)).facts().unwrap().san, None);
    }

    /// What is found of a chain holds until the next of its dates.
    #[test]
    fn a_chain_is_steady_between_its_dates() {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let (begin, end) = (1_577_836_800, 1_893_456_000);
        let certificate = certificate(&params);
        for (now, expect) in [
            (begin - 1, (0, begin)),
            (begin, (begin, end + 1)),
            (end, (begin, end + 1)),
            (end + 1, (end + 1, u64::MAX)),
        ] {
            assert_eq!(certificate.steady_around(now), expect.0..expect.1, "{now}");
        }
    }

    #[test]
    fn what_is_none_says_nothing() {
        for der in [&b""[..], b"\x30\x03\x02\x01", &[0xff; 40]] {
            let certificate = ClientCertificate::of(&[der.to_vec().into()]).unwrap();
            assert_eq!(certificate.facts(), None);
            assert_eq!(certificate.steady_around(7), 0..u64::MAX);
        }
        assert!(ClientCertificate::of(&[]).is_none());
    }
}
