//! Clients that are known by a certificate: what each is to the host that it asks, and what that host's origin is told.
//!
//! ```text
//! handshake ─► Shown (certificate, proven) ─┐
//! Hosts: what the host wants ───────────────┴─► Standing ─► stage: go on, 403, or 421 ─► fields to the origin
//! ```
//! It is judged for each request, by the configuration of that request: a session that was taken up again, and a connection
//! that was open when a certificate was revoked, are no ways around it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bartizan_names::{ClientField, ClientMode, ClientStatus, Span, ToldField};
use bartizan_routes::Scheme;
use bartizan_tls::{Client, ClientAuth, ClientCertificate, ClientFacts, Hosts};
use bartizan_wire::http1::is_or_passes_for;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::arrived::Arrived;
use crate::ingress::Connection;

/// Octets of a field that tells of a certificate; of what has all of a certificate in it, or all of a chain. What is longer
/// is left out: most origins take no longer heads.
const VALUE_MAX: usize = 4 * 1024;
const WHOLE_MAX: usize = 14 * 1024;

const STATUS: &str = "Bartizan-Cert-Status";
const REASON: &str = "Bartizan-Cert-Reason";
const SKI: &str = "Bartizan-Cert-SKI";

/// The client of a connection that was asked for a certificate.
pub(crate) struct Shown {
    client: Client,
    /// What an origin was told last, of what.
    told: RefCell<Option<ToldOf>>,
}

type ToldOf = (Arc<ClientAuth>, ClientStatus, Rc<Told>);

impl From<Client> for Shown {
    fn from(client: Client) -> Shown {
        Shown { client, told: RefCell::default() }
    }
}

/// Whether a host would not let in a client any more: what it has under way there ends. Asked of what any client has, also of
/// one that nobody asked who it is, since the host may ask now.
pub(crate) fn is_over(host: &str, shown: Option<&Shown>, hosts: &Hosts, span: Span) -> bool {
    let Some(auth) = hosts.client_auth(host) else { return false };
    let status = || shown.map_or(ClientStatus::None, |shown| shown.client.standing(hosts, &auth.trust, span));
    auth.policy.mode == ClientMode::Enforce && status() != ClientStatus::Valid
}

/// What a client is to the host that a request is for.
pub(crate) enum Standing {
    /// The connection was made for a host that wants something else of its clients.
    Elsewhere,
    Known {
        auth: Arc<ClientAuth>,
        status: ClientStatus,
        told: Rc<Told>,
    },
}

impl Standing {
    /// What the origin is to hear of it.
    pub(crate) fn told(&self) -> Option<&Rc<Told>> {
        match self {
            Standing::Elsewhere => None,
            Standing::Known { told, .. } => Some(told),
        }
    }
}

impl Standing {
    /// None if the host does not ask who its clients are. `asks` is whether any host of its zone does.
    // Hot: once a request. No allocation, but for what is told when that is new.
    pub(crate) fn of(
        arrived: &Arrived,
        connection: &Connection,
        asks: bool,
        hosts: &Hosts,
        now: impl FnOnce() -> Span,
    ) -> Option<Standing> {
        let shown = connection.shown();
        if !asks && shown.is_none() {
            return None;
        }
        let host = arrived.host.name();
        let auth = asks.then(|| hosts.client_auth(host)).flatten();
        if arrived.scheme == Scheme::Https && !is_at_home(host, auth, shown, hosts) {
            return Some(Standing::Elsewhere);
        }
        let auth = auth?;
        let status = shown.map_or(ClientStatus::None, |shown| shown.client.standing(hosts, &auth.trust, now()));
        let told = match shown {
            Some(shown) => shown.told(auth, status),
            None => Rc::new(Told::new(auth, status, None)),
        };
        Some(Standing::Known { auth: Arc::clone(auth), status, told })
    }
}

/// Whether the handshake of a connection asked what the host of a request would have asked.
fn is_at_home(host: &str, auth: Option<&Arc<ClientAuth>>, shown: Option<&Shown>, hosts: &Hosts) -> bool {
    match shown {
        None => auth.is_none(),
        Some(shown) if shown.client.host() == host => true,
        Some(shown) => {
            let other = hosts.client_auth(shown.client.host());
            match (auth, other) {
                (None, None) => true,
                // Whoever is believed by both is believed for both, as both of them want it.
                (Some(auth), Some(other)) => {
                    Arc::ptr_eq(&auth.trust, &other.trust) && auth.policy.mode == other.policy.mode
                }
                _ => false,
            }
        }
    }
}

impl Shown {
    fn told(&self, auth: &Arc<ClientAuth>, status: ClientStatus) -> Rc<Told> {
        let mut told = self.told.borrow_mut();
        match &*told {
            Some((of, was, told)) if Arc::ptr_eq(of, auth) && *was == status => Rc::clone(told),
            _ => {
                let new = Rc::new(Told::new(auth, status, self.client.certificate()));
                *told = Some((Arc::clone(auth), status, Rc::clone(&new)));
                new
            }
        }
    }
}

/// What an origin is told of a client.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Names and values of fields.
    pub(crate) fields: Vec<(Box<str>, Vec<u8>)>,
    /// Names that are the owner's choice, in lower case and with `-` alone: nobody else may say anything under them.
    chosen: Vec<String>,
}

impl Told {
    fn new(auth: &ClientAuth, status: ClientStatus, certificate: Option<&ClientCertificate>) -> Told {
        let facts = certificate.and_then(ClientCertificate::facts);
        let plain = |field: &ToldField| field.name.to_ascii_lowercase().replace('_', "-");
        let chosen = auth.policy.told.iter().map(plain).collect();
        let mut told = Told { fields: Vec::new(), chosen };
        told.add(STATUS, status.as_str());
        if let Some(reason) = status.reason() {
            told.add(REASON, reason.as_str());
        }
        if let Some(ski) = facts.as_ref().and_then(|facts| facts.ski.as_deref()) {
            told.add(SKI, ski);
        }
        for field in &auth.policy.told {
            if let Some(value) = value(field.value, status, certificate, facts.as_ref()) {
                told.add(&field.name, &value);
            }
        }
        // Whoever gets it takes it for proven (RFC 9440 §2.2).
        if let (true, ClientStatus::Valid, Some(certificate)) = (auth.policy.forwards, status, certificate) {
            told.add_certificate(certificate, facts.as_ref());
        }
        told
    }

    fn add_certificate(&mut self, certificate: &ClientCertificate, facts: Option<&ClientFacts>) {
        let bytes = |der: &[u8]| format!(":{}:", BASE64.encode(der));
        self.add_whole("Client-Cert", bytes(certificate.leaf()));
        let above: Vec<String> = certificate.above().map(bytes).collect();
        if !above.is_empty() {
            self.add_whole("Client-Cert-Chain", above.join(", "));
        }
        // For software that reads these.
        self.add_whole("Cf-Client-Cert-Der-Base64", BASE64.encode(certificate.leaf()));
        if let Some(facts) = facts {
            self.add_whole("Cf-Client-Cert-Sha256", facts.fingerprint.clone());
        }
    }

    /// With all signs that a field cannot have written as parts of URLs have them (RFC 3986 §2.1).
    fn add(&mut self, name: &str, value: &str) {
        let value = safe(value);
        if value.len() <= if value.starts_with("-----BEGIN") { WHOLE_MAX } else { VALUE_MAX } {
            self.fields.push((name.into(), value.into_bytes()));
        }
    }

    fn add_whole(&mut self, name: &str, value: String) {
        if value.len() <= WHOLE_MAX {
            self.fields.push((name.into(), value.into_bytes()));
        }
    }

    /// Whether a field that came is one that nobody but the edge may send, under whichever spelling an origin may take for it.
    pub(crate) fn is_chosen(&self, name: &[u8]) -> bool {
        self.chosen.iter().any(|chosen| is_or_passes_for(name, chosen))
    }
}

/// Nothing of a certificate that is not believed but what tells it from others: an origin that reads who it is for would
/// take anybody for them.
fn value(
    field: ClientField,
    status: ClientStatus,
    certificate: Option<&ClientCertificate>,
    facts: Option<&ClientFacts>,
) -> Option<String> {
    match field {
        ClientField::Status => return Some(status.as_str().to_owned()),
        ClientField::Reason => return Some(status.reason()?.as_str().to_owned()),
        ClientField::Ski => return facts?.ski.clone(),
        ClientField::Fingerprint => return Some(facts?.fingerprint.clone()),
        _ if status != ClientStatus::Valid => return None,
        _ => {}
    }
    let facts = facts?;
    match field {
        ClientField::Serial => Some(facts.serial.clone()),
        ClientField::Subject => Some(facts.subject.clone()),
        ClientField::Issuer => Some(facts.issuer.clone()),
        ClientField::CommonName => facts.common_name.clone(),
        ClientField::Organization => facts.organization.clone(),
        ClientField::OrganizationalUnit => facts.organizational_unit.clone(),
        ClientField::Country => facts.country.clone(),
        ClientField::San => facts.san.clone(),
        ClientField::NotBefore => Some(facts.not_before.to_string()),
        ClientField::NotAfter => Some(facts.not_after.to_string()),
        ClientField::Pem => Some(pem(certificate?.leaf())),
        ClientField::Status | ClientField::Reason | ClientField::Ski | ClientField::Fingerprint => None,
    }
}

/// RFC 7468 §3.
fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}

fn safe(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, octet) in value.bytes().enumerate() {
        match octet {
            b'%' => text.push_str("%25"),
            b' ' if at > 0 && at < last => text.push(' '),
            0x21..=0x7e => text.push(char::from(octet)),
            _ => text.push_str(&format!("%{octet:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_field_can_have() {
        for (value, expect) in [
            ("CN=sensor 7,O=Wind", "CN=sensor 7,O=Wind"),
            (" a\r\nX-Forged: yes ", "%20a%0D%0AX-Forged: yes%20"),
            ("100%", "100%25"),
            ("Müller\0", "M%C3%BCller%00"),
            ("", ""),
            (" ", "%20"),
        ] {
            assert_eq!(safe(value), expect);
        }
    }

    #[test]
    fn names_of_the_owners_choice_in_any_spelling() {
        let told = Told { fields: Vec::new(), chosen: vec!["x-device-id".to_owned()] };
        for (name, chosen) in [
            ("x-device-id", true),
            ("X_DEVICE_ID", true),
            ("x.device~id", true),
            ("x-device-i", false),
            ("x-device-id2", false),
            ("xx-device-id", false),
        ] {
            assert_eq!(told.is_chosen(name.as_bytes()), chosen, "{name}");
        }
    }
}
