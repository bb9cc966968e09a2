//! A certificate that a public authority is to issue: what it is for, how far that is, and the newest that came of it.

use bartizan_names::{CertificateId, Name, RecordId, Timestamp, ZoneId, ZoneName};
use bartizan_seal::sha256;
use bartizan_store::{Entry, Key, Kind, Op, Prefix, ReadError, Scope, Snapshot, Value};
use serde::{Deserialize, Serialize};

use crate::error::CertsError;
use crate::sealed::SealedKey;

/// Objects that are looked at in one go.
const KEYS: usize = 500;

/// How it is shown to the authority that a name is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A TXT record of the zone, which our DNS answers (RFC 8555 §8.4). The only one for wildcards.
    #[default]
    Txt,
    /// A page of the name itself, which our HTTP answers (§8.3): for names whose DNS is elsewhere.
    Http,
}

impl Method {
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Txt => "txt",
            Method::Http => "http",
        }
    }
}

/// How far a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcmeState {
    /// There is none yet, and nothing has failed.
    Pending,
    Active,
    /// The last try failed. One that is there is still used.
    Failing,
    /// Nobody wants it.
    Off,
}

impl AcmeState {
    pub const fn as_str(self) -> &'static str {
        match self {
            AcmeState::Pending => "pending",
            AcmeState::Active => "active",
            AcmeState::Failing => "failing",
            AcmeState::Off => "off",
        }
    }
}

/// What is done for a certificate at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeStage {
    /// It is to be asked for, and waits for its turn.
    Waiting,
    /// The authority is asked.
    Asking,
    /// Nothing, until it is looked at again.
    Resting,
    /// Nothing at all.
    None,
}

impl AcmeStage {
    pub const fn as_str(self) -> &'static str {
        match self {
            AcmeStage::Waiting => "waiting",
            AcmeStage::Asking => "asking",
            AcmeStage::Resting => "resting",
            AcmeStage::None => "none",
        }
    }
}

/// A certificate that was issued, and its private key as sealed text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// For which of its wish's names it was issued: the wish may be for others since. None are said by one that was issued
    /// before this was noted.
    #[serde(default)]
    pub names: Vec<String>,
    /// The directory of who issued it, as far as that was noted.
    #[serde(default)]
    pub directory: String,
    pub chain_pem: String,
    pub sealed_key: SealedKey,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub issuer: String,
    pub signature: String,
    pub issued_on: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeCertificate {
    pub id: CertificateId,
    pub zone_id: ZoneId,
    /// In lower case, the first label may be `*`.
    pub names: Vec<String>,
    pub method: Method,
    /// Somebody asked for these very names; the others follow from what the zone has.
    #[serde(default)]
    pub is_ordered: bool,
    pub state: AcmeState,
    pub held: Option<Held>,
    /// When it is renewed; none: as soon as can be.
    pub renew_on: Option<Timestamp>,
    /// When somebody looks at it again. None: never.
    pub next_on: Option<Timestamp>,
    /// Before then it is not asked for, whoever wants it: the authority says so, or its zone has had enough for now.
    #[serde(default)]
    pub rests_until: Option<Timestamp>,
    /// Whose directory was asked last; empty if none was, or that was not noted.
    #[serde(default)]
    pub directory: String,
    /// Whether the end of the one that is there was seen: then it is used where there is no other.
    #[serde(default)]
    pub has_ended: bool,
    /// Tries that failed one after the other.
    #[serde(default)]
    pub failures: u32,
    pub last_error: Option<String>,
    pub last_try_on: Option<Timestamp>,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}

impl AcmeCertificate {
    /// For the apex of a zone and everything one label below.
    pub fn for_zone(zone: ZoneId, name: &ZoneName, now: Timestamp) -> AcmeCertificate {
        let names = vec![name.to_string(), format!("*.{name}")];
        AcmeCertificate::wanted(AcmeCertificate::zone_id_of(zone), zone, names, Method::Txt, now)
    }

    /// For one deeper name.
    pub fn for_host(zone: ZoneId, host: &Name, now: Timestamp) -> AcmeCertificate {
        let host = host.to_string();
        AcmeCertificate::wanted(AcmeCertificate::host_id_of(zone, &host), zone, vec![host], Method::Txt, now)
    }

    /// For names that somebody asks for.
    pub fn ordered(zone: ZoneId, names: Vec<String>, method: Method, now: Timestamp) -> AcmeCertificate {
        let id = CertificateId::from_bytes(bartizan_seal::random());
        AcmeCertificate { is_ordered: true, ..AcmeCertificate::wanted(id, zone, names, method, now) }
    }

    fn wanted(
        id: CertificateId,
        zone_id: ZoneId,
        names: Vec<String>,
        method: Method,
        now: Timestamp,
    ) -> AcmeCertificate {
        AcmeCertificate {
            id,
            zone_id,
            names,
            method,
            is_ordered: false,
            state: AcmeState::Pending,
            held: None,
            renew_on: None,
            next_on: Some(now),
            rests_until: None,
            directory: String::new(),
            has_ended: false,
            failures: 0,
            last_error: None,
            last_try_on: None,
            created_on: now,
            modified_on: now,
        }
    }

    /// The id of the one for a zone: always the same, so that it is found by its key and never doubled.
    pub fn zone_id_of(zone: ZoneId) -> CertificateId {
        id(&format!("acme/{zone}/"))
    }

    pub fn host_id_of(zone: ZoneId, host: &str) -> CertificateId {
        id(&format!("acme/{zone}/{host}"))
    }

    pub fn is_of_zone(&self) -> bool {
        self.id == AcmeCertificate::zone_id_of(self.zone_id)
    }

    /// Tried as soon as can be, whatever was before. What is there stays. An error: not before then.
    pub fn asked_again(self, now: Timestamp) -> Result<AcmeCertificate, Timestamp> {
        match self.rests_until {
            Some(until) if until > now => Err(until),
            _ => {
                let state = if self.held.is_some() { AcmeState::Active } else { AcmeState::Pending };
                Ok(AcmeCertificate { state, renew_on: None, next_on: Some(now), modified_on: now, ..self })
            }
        }
    }

    /// What is done for it now.
    pub fn stage(&self, now: Timestamp) -> AcmeStage {
        match self.next_on {
            None => AcmeStage::None,
            Some(next) if next <= now => AcmeStage::Waiting,
            // A try notes when it began, and nothing else.
            Some(_) if self.last_try_on >= Some(self.modified_on) => AcmeStage::Asking,
            Some(_) => AcmeStage::Resting,
        }
    }

    /// Wanted again, as `usual` is, after it was switched off. How long it is to rest was said of its names, and holds on.
    #[must_use]
    pub fn switched_on(self, usual: AcmeCertificate) -> AcmeCertificate {
        let next_on = self.rests_until.max(usual.next_on);
        AcmeCertificate { next_on, rests_until: self.rests_until, ..usual }
    }

    /// The names that the one that is there was issued for: those that it is served for.
    pub fn held_names<'c>(&'c self, held: &'c Held) -> &'c [String] {
        if held.names.is_empty() { &self.names } else { &held.names }
    }

    /// Wanted by nobody any more, and not served.
    #[must_use]
    pub fn switched_off(self, now: Timestamp) -> AcmeCertificate {
        AcmeCertificate {
            state: AcmeState::Off,
            held: None,
            renew_on: None,
            next_on: None,
            has_ended: false,
            failures: 0,
            last_error: None,
            modified_on: now,
            ..self
        }
    }

    /// Whether somebody asked for it, or the zone has what it is for: a name that is proxied, has an application, or is a
    /// load balancer's.
    pub fn is_needed(&self, snapshot: &Snapshot) -> Result<bool, ReadError> {
        if self.is_ordered || self.is_of_zone() {
            return Ok(true);
        }
        let Some(host) = self.names.first().and_then(|name| Name::parse(name).ok()) else { return Ok(true) };
        let is = |entry: &Entry, pointer: &str, expect: &dyn Fn(&serde_json::Value) -> bool| {
            // One that cannot be read may need it.
            serde_json::from_str(&entry.value.json)
                .map_or(true, |document: serde_json::Value| document.pointer(pointer).is_some_and(expect))
        };
        let is_true = |value: &serde_json::Value| value.as_bool() == Some(true);
        if snapshot.records_at(self.zone_id, &host)?.iter().any(|entry| is(entry, "/proxied", &is_true)) {
            return Ok(true);
        }
        let is_host = |value: &serde_json::Value| {
            value.as_str().and_then(|name| Name::parse(name).ok()).is_some_and(|name| name == host)
        };
        let has = |kind, is_it: &dyn Fn(&Entry) -> bool| -> Result<bool, ReadError> {
            let (all, mut after) = (Prefix::of(Scope::Zone(self.zone_id), kind), None);
            loop {
                let keys = snapshot.keys(&all, after.as_ref(), KEYS)?;
                for key in &keys {
                    if snapshot.get(key)?.is_some_and(|entry| is_it(&entry)) {
                        return Ok(true);
                    }
                }
                match keys.into_iter().next_back() {
                    Some(last) => after = Some(last),
                    None => return Ok(false),
                }
            }
        };
        let is_proxied = |entry: &Entry| is(entry, "/name", &is_host) && is(entry, "/proxied", &is_true);
        Ok(has(Kind::App, &|entry| is(entry, "/dns/name", &is_host))? || has(Kind::LoadBalancer, &is_proxied)?)
    }

    pub fn from_entry(entry: &Entry) -> Result<AcmeCertificate, CertsError> {
        serde_json::from_str(&entry.value.json)
            .map_err(|error| CertsError::Document { key: entry.key.clone(), reason: error.to_string() })
    }

    pub fn store_key(&self) -> Key {
        Key::acme_certificate(self.zone_id, self.id)
    }

    pub fn to_op(&self) -> Op {
        let json = serde_json::to_string(self).expect("a struct of texts and times always has a JSON form");
        Op::Put { key: self.store_key(), value: Value::of(Kind::AcmeCertificate, json) }
    }

    /// The private key of the one that is there, in DER.
    pub fn key(&self, held: &Held, seal: &bartizan_seal::Key) -> Result<Vec<u8>, CertsError> {
        held.sealed_key.open(&context(self.id), seal, || self.store_key())
    }

    pub(crate) fn seal_key(&self, key_der: &[u8], seal: &bartizan_seal::Key) -> SealedKey {
        SealedKey::seal(key_der, &context(self.id), seal)
    }
}

/// What shows to a public authority, while it looks, that a name is ours; by the token that it asks with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeToken {
    pub zone_id: ZoneId,
    /// Without the `*` of a wildcard.
    pub host: String,
    pub method: Method,
    /// The text of the record, or of the page.
    pub answer: String,
    /// The record, if it is one.
    #[serde(default)]
    pub record_id: Option<RecordId>,
    /// How many orders show it beside the first: an authority gives several for a name one token.
    #[serde(default)]
    pub others: u32,
    pub created_on: Timestamp,
}

impl AcmeToken {
    pub fn from_entry(entry: &Entry) -> Result<AcmeToken, CertsError> {
        serde_json::from_str(&entry.value.json)
            .map_err(|error| CertsError::Document { key: entry.key.clone(), reason: error.to_string() })
    }
}

fn id(text: &str) -> CertificateId {
    let hash = sha256(text.as_bytes());
    CertificateId::from_bytes(std::array::from_fn(|index| hash[index]))
}

fn context(id: CertificateId) -> Vec<u8> {
    format!("acme_certificate/{id}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_for_a_certificate() {
        let at = |second: u64| Timestamp::from_unix_micros(second * 1_000_000);
        let names = vec!["a.test".to_owned()];
        let wish = AcmeCertificate::ordered(ZoneId::from_bytes([1; 16]), names, Method::Txt, at(10));
        for (next, tried, modified, now, expect) in [
            (Some(10), None, 10, 10, AcmeStage::Waiting),
            (Some(10), None, 10, 9, AcmeStage::Resting),
            // Claimed by who asks, and given up by them when they were killed.
            (Some(900), Some(11), 10, 12, AcmeStage::Asking),
            (Some(900), Some(11), 10, 900, AcmeStage::Waiting),
            // Something came of it.
            (Some(900), Some(11), 12, 12, AcmeStage::Resting),
            (None, Some(11), 12, 12, AcmeStage::None),
        ] {
            let (next_on, last_try_on, modified_on) = (next.map(at), tried.map(at), at(modified));
            let certificate = AcmeCertificate { next_on, last_try_on, modified_on, ..wish.clone() };
            assert_eq!(certificate.stage(at(now)), expect, "{next:?} {tried:?} {modified} {now}");
        }
    }
}
