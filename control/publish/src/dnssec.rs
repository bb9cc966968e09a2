//! DNSSEC of a zone: from what is kept of it to the keys that are in force.

use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{Timestamp, ZoneId, ZoneName};
use bartizan_signer::rollover::{Delegation, KEYS_MAX, Life, Stage};
use bartizan_signer::{
    Algorithm, Announcement, Denial, Ds, Duties, PrivateKey, PublicKey, Role, Unseal, Validity, ZoneKey, ZoneKeys,
    ZoneKeysError,
};
use bartizan_v4::dnssec::{
    DnssecDenial, DnssecRole, DnssecStage, DnssecState, StoredDnssec, StoredDnssecKey, StoredParent,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A day, which lifetimes of keys are counted in.
const DAY: Duration = Duration::from_secs(86_400);

/// How this edge signs.
pub(crate) struct Signing {
    /// Opens the keys of zones when they are first needed, which is long after.
    pub(crate) unseal: Arc<Unseal>,
    pub(crate) validity: Validity,
}

/// DNSSEC of a zone, such as it can be put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneDnssec {
    pub state: DnssecState,
    pub denial: Denial,
    pub keys: Vec<HeldKey>,
    /// After how long the keys are exchanged by themselves.
    pub ksk_max: Option<Duration>,
    pub zsk_max: Option<Duration>,
    pub parent: ParentSeen,
}

/// A key of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    pub id: String,
    pub public: PublicKey,
    pub stage: Stage,
    pub since: Timestamp,
    sealed: Vec<u8>,
}

/// What the parent's servers were seen to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentSeen {
    /// DS records that any of them has, and that all have.
    pub any: Vec<Ds>,
    pub all: Vec<Ds>,
    /// None: nobody was asked yet.
    pub since: Option<Timestamp>,
    /// Of the DS records, the longest.
    pub ttl: Duration,
    pub had_ds: bool,
}

/// Why what is kept of a zone's DNSSEC cannot be put in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnssecError {
    #[error("key {id} is damaged")]
    Key { id: String },
    #[error("it has {0} keys")]
    Count(usize),
    #[error("a DS record of the parent is damaged")]
    Parent,
    #[error(transparent)]
    Keys(#[from] ZoneKeysError),
}

fn denial(stored: DnssecDenial) -> Denial {
    match stored {
        DnssecDenial::Compact => Denial::Compact,
        DnssecDenial::BlackLies => Denial::BlackLies,
        DnssecDenial::Shotgun => Denial::Shotgun,
    }
}

/// As documents have it.
pub fn stored_role(role: Role) -> DnssecRole {
    match role {
        Role::Csk => DnssecRole::Csk,
        Role::Ksk => DnssecRole::Ksk,
        Role::Zsk => DnssecRole::Zsk,
    }
}

fn role(stored: DnssecRole) -> Role {
    match stored {
        DnssecRole::Csk => Role::Csk,
        DnssecRole::Ksk => Role::Ksk,
        DnssecRole::Zsk => Role::Zsk,
    }
}

/// As documents have it.
pub fn stored_stage(stage: Stage) -> DnssecStage {
    match stage {
        Stage::Incoming => DnssecStage::Incoming,
        Stage::Active => DnssecStage::Active,
        Stage::Outgoing => DnssecStage::Outgoing,
    }
}

fn stage(stored: DnssecStage) -> Stage {
    match stored {
        DnssecStage::Incoming => Stage::Incoming,
        DnssecStage::Active => Stage::Active,
        DnssecStage::Outgoing => Stage::Outgoing,
    }
}

impl ZoneDnssec {
    /// Reads a stored document.
    pub fn parse(document: &StoredDnssec) -> Result<ZoneDnssec, DnssecError> {
        let state = document.state;
        let keys = document.keys.iter().map(|key| HeldKey::parse(key, document)).collect::<Result<Vec<_>, _>>()?;
        let fits = match state {
            DnssecState::On | DnssecState::Ending => !keys.is_empty(),
            DnssecState::Off => true,
        };
        if !fits || keys.len() > KEYS_MAX {
            return Err(DnssecError::Count(keys.len()));
        }
        let max = |days: u32| (days > 0).then(|| DAY * days);
        Ok(ZoneDnssec {
            state,
            denial: denial(document.denial),
            keys,
            ksk_max: max(document.ksk_days),
            zsk_max: max(document.zsk_days),
            parent: ParentSeen::parse(&document.parent)?,
        })
    }

    /// The keys as far as their exchange goes.
    pub fn lives(&self) -> Vec<Life> {
        self.keys.iter().map(HeldKey::life).collect()
    }

    /// What the parent says of these keys.
    pub fn delegation(&self, apex: &ZoneName) -> Delegation {
        let ParentSeen { any, all, since, .. } = &self.parent;
        let Some(since) = since.filter(|_| any == all) else { return Delegation::Unknown };
        if any.is_empty() {
            return Delegation::Unsigned { since };
        }
        Delegation::Signed { since, of: self.led_to(all, apex) }
    }

    /// Whether all servers of the parent lead to a key by which the zone is signed: whoever validates finds it.
    pub fn is_secure(&self, apex: &ZoneName) -> bool {
        self.state != DnssecState::Off && !self.led_to(&self.parent.all, apex).is_empty()
    }

    /// Whether there are DS records at the parent, and none leads to a key by which the zone is signed: whoever validates
    /// does not find the zone.
    pub fn is_broken(&self, apex: &ZoneName) -> bool {
        let any = &self.parent.any;
        any.iter().any(Ds::is_followed) && (self.state == DnssecState::Off || self.led_to(any, apex).is_empty())
    }

    /// Whether a DS record is of one of its keys.
    pub fn is_led_to(&self, ds: &Ds, apex: &ZoneName) -> bool {
        self.keys.iter().any(|key| key.public.role().signs_keys() && ds.is_of(&key.public, apex))
    }

    /// The keys that DS records lead to.
    fn led_to(&self, ds: &[Ds], apex: &ZoneName) -> Vec<usize> {
        let leads = |key: &HeldKey| key.public.role().signs_keys() && ds.iter().any(|ds| ds.is_of(&key.public, apex));
        (0..self.keys.len()).filter(|at| leads(&self.keys[*at])).collect()
    }

    /// The key that the parent shall have a DS record of.
    pub fn announced(&self) -> Option<&HeldKey> {
        self.keys.iter().find(|key| key.stage == Stage::Active && key.public.role().signs_keys())
    }

    /// What signs the zone; none of one that is not signed.
    pub(crate) fn zone_keys(&self, zone: ZoneId, signing: &Signing) -> Result<Option<ZoneKeys>, DnssecError> {
        let announcement = match self.state {
            DnssecState::On => Announcement::Keys,
            DnssecState::Ending => Announcement::Delete,
            DnssecState::Off => return Ok(None),
        };
        let keys = self.keys.iter().map(|key| key.in_force(zone, &signing.unseal)).collect();
        Ok(Some(ZoneKeys::new(keys, self.denial, announcement, signing.validity)?))
    }
}

impl HeldKey {
    fn parse(key: &StoredDnssecKey, document: &StoredDnssec) -> Result<HeldKey, DnssecError> {
        let damaged = || DnssecError::Key { id: key.id.clone() };
        let role = role(key.role);
        let algorithm = Algorithm::of_number(key.algorithm).ok_or_else(damaged)?;
        let bytes = BASE64.decode(&key.public_key).map_err(|_| damaged())?;
        let public = PublicKey::new(role, algorithm, &bytes).ok_or_else(damaged)?;
        let sealed =
            document.sealed_keys.get(&key.id).and_then(|sealed| BASE64.decode(sealed).ok()).ok_or_else(damaged)?;
        Ok(HeldKey { id: key.id.clone(), public, stage: stage(key.stage), since: key.since, sealed })
    }

    fn life(&self) -> Life {
        Life { role: self.public.role(), stage: self.stage, since: self.since }
    }

    /// A CSK that comes or goes signs the zone's keys alone, as a KSK does; its record is the same.
    fn in_force(&self, zone: ZoneId, unseal: &Arc<Unseal>) -> ZoneKey {
        let (role, is_active) = (self.public.role(), self.stage == Stage::Active);
        let shown = if is_active || role == Role::Zsk { role } else { Role::Ksk };
        let duties = Duties {
            published: true,
            signs: is_active || role != Role::Zsk,
            announced: is_active && role.signs_keys(),
        };
        let public = PublicKey::new(shown, self.public.algorithm(), self.public.as_bytes()).unwrap_or(self.public);
        let private = PrivateKey::sealed(&seal_context(zone, &self.id), &self.sealed, Arc::clone(unseal));
        ZoneKey { public, duties, private: Some(private) }
    }

    /// The sealed half, for who looks whether it opens.
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }
}

impl ParentSeen {
    fn parse(document: &StoredParent) -> Result<ParentSeen, DnssecError> {
        let read = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<Ds>, _>>();
        let read = |texts| read(texts).map_err(|_| DnssecError::Parent);
        Ok(ParentSeen {
            any: read(&document.any)?,
            all: read(&document.all)?,
            since: document.since,
            ttl: Duration::from_secs(document.ttl.into()),
            had_ds: document.had_ds,
        })
    }
}

/// A sealed key opens for its own zone, and as itself, only.
pub fn seal_context(zone: ZoneId, key: &str) -> Vec<u8> {
    format!("dnssec/{zone}/{key}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bartizan_signer::generate;

    use super::*;

    /// A hundred thousand signed zones start as fast as unsigned ones: no key is opened before something is to be signed.
    #[test]
    fn keys_are_not_opened_to_be_put_in_force() {
        let made = generate(Role::Csk, Algorithm::EcdsaP256Sha256).unwrap();
        let at = Timestamp::from_unix_micros(1);
        let key = StoredDnssecKey {
            id: "7".to_owned(),
            role: DnssecRole::Csk,
            algorithm: 13,
            public_key: BASE64.encode(made.public.as_bytes()),
            stage: DnssecStage::Active,
            since: at,
        };
        let document = StoredDnssec {
            state: DnssecState::On,
            denial: DnssecDenial::Compact,
            ksk_days: 0,
            zsk_days: 0,
            keys: vec![key],
            sealed_keys: [("7".to_owned(), BASE64.encode(&made.pkcs8))].into(),
            parent: StoredParent::default(),
            due_on: None,
            created_on: at,
            modified_on: at,
        };
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&opened);
        let unseal: Arc<Unseal> = Arc::new(move |_, sealed| {
            counted.fetch_add(1, Ordering::Relaxed);
            Some(sealed.to_vec())
        });
        let signing = Signing { unseal, validity: Validity::default() };
        let parsed = ZoneDnssec::parse(&document).unwrap();
        let keys = parsed.zone_keys(ZoneId::from_bytes([1; 16]), &signing).unwrap().unwrap();
        assert_eq!(opened.load(Ordering::Relaxed), 0);
        assert!(keys.all_open() && keys.all_open());
        assert_eq!(opened.load(Ordering::Relaxed), 1);
    }
}
