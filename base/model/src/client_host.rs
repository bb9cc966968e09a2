//! What a host wants to know of its clients by their certificates.

use bartizan_names::{
    ClientField, ClientMode, ClientPolicy, ClientRefusal, ClientRootId, Name, RefusalForm, ToldField, ZoneName,
};
use bartizan_v4::client_auth as v4;

/// Fields that an origin is told beside those that it is always told.
const TOLD_MAX: usize = 16;

/// Octets of a field's name, and of what is answered to who is refused.
const NAME_MAX: usize = 64;
const BODY_MAX: usize = 16 * 1024;

/// A host that asks its clients for a certificate, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHost {
    /// The first label may be `*`.
    pub name: Name,
    /// None: off.
    pub policy: Option<ClientPolicy>,
    pub authorities: Vec<ClientRootId>,
    /// Whether it believes the authority of its zone.
    pub managed: bool,
}

/// Why a host cannot want that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientHostError {
    #[error("{0:?} is no name of a host")]
    Name(String),
    #[error("{0} does not lie in the zone {1}")]
    Elsewhere(String, ZoneName),
    #[error("mode is off, report or enforce")]
    Mode,
    #[error("refusal: content_type is application/json or text/html")]
    RefusalForm,
    #[error("refusal: body is longer than {} KB", BODY_MAX / 1024)]
    RefusalLong,
    #[error("refusal: body is not JSON")]
    RefusalJson,
    #[error("there may be {TOLD_MAX} fields at most")]
    ManyFields,
    #[error("{0:?} is no name that a field of a client's certificate can have")]
    FieldName(String),
    #[error("{0:?} is there twice")]
    FieldTwice(String),
    #[error("{0:?} is nothing that a certificate says")]
    FieldValue(String),
}

impl ClientHostError {
    /// The field at fault.
    pub fn pointer(&self) -> &'static str {
        match self {
            ClientHostError::Name(_) | ClientHostError::Elsewhere(..) => "/hostname",
            ClientHostError::Mode => "/mode",
            ClientHostError::RefusalForm => "/refusal/content_type",
            ClientHostError::RefusalLong | ClientHostError::RefusalJson => "/refusal/body",
            ClientHostError::ManyFields
            | ClientHostError::FieldName(_)
            | ClientHostError::FieldTwice(_)
            | ClientHostError::FieldValue(_) => "/headers",
        }
    }
}

impl ClientHost {
    pub fn parse(document: &v4::ClientHost) -> Result<ClientHost, ClientHostError> {
        let name = Name::parse(&document.hostname).map_err(|_| ClientHostError::Name(document.hostname.clone()))?;
        let mode = match document.mode.as_str() {
            "off" => None,
            word => Some(word.parse().map_err(|_| ClientHostError::Mode)?),
        };
        let refusal = document.refusal.as_ref().map(parse_refusal).transpose()?;
        let told = parse_told(&document.headers)?;
        let forwards = document.client_certificate_forwarding;
        let policy = mode.map(|mode| ClientPolicy { mode, refusal, told, forwards });
        Ok(ClientHost { name, policy, authorities: document.authorities.clone(), managed: document.managed })
    }

    /// A host of a zone as somebody writes it.
    pub fn parse_name(text: &str, zone: &ZoneName) -> Result<Name, ClientHostError> {
        let refused = || ClientHostError::Name(text.to_owned());
        let name = Name::typed(text.trim()).map_err(|_| refused())?;
        let host = if name.is_wildcard() { name.parent().ok_or_else(refused)? } else { name.clone() };
        if !host.is_host() || host.is_wildcard() {
            return Err(refused());
        }
        if !zone.contains(&name) {
            return Err(ClientHostError::Elsewhere(name.to_string(), zone.clone()));
        }
        Ok(name)
    }

    /// One that lets nobody in: of a document that cannot be read.
    pub fn closed(name: Name) -> ClientHost {
        let policy = ClientPolicy { mode: ClientMode::Enforce, refusal: None, told: Box::default(), forwards: false };
        ClientHost { name, policy: Some(policy), authorities: Vec::new(), managed: false }
    }
}

fn parse_refusal(refusal: &v4::ClientRefusal) -> Result<ClientRefusal, ClientHostError> {
    let form = refusal.content_type.parse().map_err(|_| ClientHostError::RefusalForm)?;
    if refusal.body.len() > BODY_MAX {
        return Err(ClientHostError::RefusalLong);
    }
    if form == RefusalForm::Json && serde_json::from_str::<serde_json::Value>(&refusal.body).is_err() {
        return Err(ClientHostError::RefusalJson);
    }
    Ok(ClientRefusal { form, body: refusal.body.as_str().into() })
}

fn parse_told(headers: &[v4::ToldHeader]) -> Result<Box<[ToldField]>, ClientHostError> {
    if headers.len() > TOLD_MAX {
        return Err(ClientHostError::ManyFields);
    }
    let mut told: Vec<ToldField> = Vec::new();
    for v4::ToldHeader { name, value } in headers {
        if !is_free(name) {
            return Err(ClientHostError::FieldName(name.clone()));
        }
        if told.iter().any(|other| is_same(&other.name, name)) {
            return Err(ClientHostError::FieldTwice(name.clone()));
        }
        let value: ClientField = value.parse().map_err(|_| ClientHostError::FieldValue(value.clone()))?;
        told.push(ToldField { name: name.as_str().into(), value });
    }
    Ok(told.into())
}

/// Letters, digits, `-` and `_`, and no name that means something to the edge or to framing: under that a client's own words
/// would never reach the origin.
fn is_free(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["bartizan-", "cf-", "x-forwarded-", "sec-", "proxy-"];
    const NAMES: [&str; 33] = [
        "accept",
        "accept-encoding",
        "age",
        "authorization",
        "cache-control",
        "cdn-loop",
        "client-cert",
        "client-cert-chain",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "early-data",
        "expect",
        "forwarded",
        "host",
        "if-match",
        "keep-alive",
        "max-forwards",
        "origin",
        "range",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "true-client-ip",
        "upgrade",
        "user-agent",
        "vary",
        "via",
        "x-real-ip",
    ];
    let spelled = name.to_ascii_lowercase().replace('_', "-");
    let is_sign = |sign: u8| sign.is_ascii_alphanumeric() || matches!(sign, b'-' | b'_');
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(is_sign)
        && name.bytes().any(|sign| sign.is_ascii_alphanumeric())
        && !PREFIXES.iter().any(|prefix| spelled.starts_with(prefix))
        && !NAMES.contains(&spelled.as_str())
}

/// Whether some server would take one for the other.
fn is_same(one: &str, other: &str) -> bool {
    one.replace('_', "-").eq_ignore_ascii_case(&other.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use bartizan_names::Timestamp;

    use super::*;

    fn document() -> v4::ClientHost {
        v4::ClientHost {
            hostname: "iot.a.test".to_owned(),
            mode: "enforce".to_owned(),
            authorities: Vec::new(),
            managed: true,
            refusal: None,
            headers: Vec::new(),
            client_certificate_forwarding: false,
            modified_on: Timestamp::from_unix_micros(0),
        }
    }

    fn told(pairs: &[(&str, &str)]) -> Vec<v4::ToldHeader> {
        pairs.iter().map(|(name, value)| v4::ToldHeader { name: (*name).into(), value: (*value).into() }).collect()
    }

    #[test]
    fn hosts_of_a_zone() {
        let zone = ZoneName::new(Name::parse("a.test").unwrap()).unwrap();
        for (text, expect) in [
            ("iot.a.test", Some("iot.a.test")),
            (" IoT.A.test. ", Some("iot.a.test")),
            ("a.test", Some("a.test")),
            ("*.a.test", Some("*.a.test")),
            ("*.*.a.test", None),
            ("b.test", None),
            ("*", None),
            ("i t.a.test", None),
            ("", None),
        ] {
            assert_eq!(
                ClientHost::parse_name(text, &zone).ok().map(|name| name.to_string()).as_deref(),
                expect,
                "{text}"
            );
        }
    }

    #[test]
    fn fields_of_the_owners_choice() {
        for (headers, expect) in [
            (told(&[("X-Device", "common_name"), ("X-Device-Serial", "serial")]), None),
            (told(&[("X-Device", "colour")]), Some(ClientHostError::FieldValue("colour".into()))),
            (told(&[("X_Device", "ski"), ("x-device", "ski")]), Some(ClientHostError::FieldTwice("x-device".into()))),
            (told(&[("Content_Length", "ski")]), Some(ClientHostError::FieldName("Content_Length".into()))),
            (told(&[("CF-Device", "ski")]), Some(ClientHostError::FieldName("CF-Device".into()))),
            (told(&[("X-Device: a\r\nB", "ski")]), Some(ClientHostError::FieldName("X-Device: a\r\nB".into()))),
            (told(&[("", "ski")]), Some(ClientHostError::FieldName(String::new()))),
            (told(&[("X-A", "ski"); TOLD_MAX + 1]), Some(ClientHostError::ManyFields)),
        ] {
            let document = v4::ClientHost { headers: headers.clone(), ..document() };
            assert_eq!(ClientHost::parse(&document).err(), expect, "{headers:?}");
        }
    }

    #[test]
    fn refusals() {
        let refusal = |form: &str, body: &str| v4::ClientRefusal { content_type: form.into(), body: body.into() };
        for (refusal, expect) in [
            (refusal("application/json", r#"{"error":"who are you?"}"#), None),
            (refusal("application/json", "{"), Some(ClientHostError::RefusalJson)),
            (refusal("text/html", "<h1>No"), None),
            (refusal("text/plain", "no"), Some(ClientHostError::RefusalForm)),
            (refusal("text/html", &"x".repeat(BODY_MAX + 1)), Some(ClientHostError::RefusalLong)),
        ] {
            let document = v4::ClientHost { refusal: Some(refusal.clone()), ..document() };
            assert_eq!(ClientHost::parse(&document).err(), expect, "{}", refusal.content_type);
        }
        let off = ClientHost::parse(&v4::ClientHost { mode: "off".to_owned(), ..document() }).unwrap();
        assert_eq!(off.policy, None);
        assert_eq!(
            ClientHost::parse(&v4::ClientHost { mode: "on".to_owned(), ..document() }).err(),
            Some(ClientHostError::Mode)
        );
    }
}
