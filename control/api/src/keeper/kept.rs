//! What is kept of a zone's DNSSEC, and each thing that is done to it: from one document to the next, by the time that is
//! handed in.

use std::time::Duration;

use bartizan_model::Zone;
use bartizan_names::Timestamp;
use bartizan_publish::{
    DnssecState, HeldKey, ZoneDnssec, denial_text, role_text, seal_context, stage_text, state_text, times,
};
use bartizan_registry::{Seen, Source};
use bartizan_seal as seal;
use bartizan_signer::rollover::{self, Delegation, Holds, KEYS_MAX, Life, Stage, Step};
use bartizan_signer::{Algorithm, Denial, Digest, Ds, Role};
use bartizan_store::Key;
use bartizan_v4::StoredDnssec;
use bartizan_v4::dnssec::{StoredDnssecKey, StoredParent};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{Error, Fault};
use crate::transaction::damaged;

/// How long resolvers keep what a zone says of its keys, and whatever else is in it: the longest TTLs that there are here.
const DNSKEY_HOLD: Duration = Duration::from_secs(times::KEYS_TTL as u64);
const DATA_HOLD: Duration = Duration::from_secs(86_400);

/// How long they keep a DS record where its TTL was not seen, and the most that is believed of one.
const DS_HOLD: Duration = Duration::from_secs(86_400);
const DS_HOLD_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Until all servers of a zone answer by a change. They do within a second; a PoP that is cut off, within this or not at all.
const SERVERS_HOLD: Duration = Duration::from_secs(300);

/// However much that is divided: a change takes its time, and resolvers count in whole seconds.
const SERVERS_HOLD_LEAST: Duration = Duration::from_secs(2);

/// Steps that can be due at once: each key has two.
const STEPS_MAX: usize = 2 * KEYS_MAX + 1;

/// Days after which the keys of a new zone are exchanged by themselves. A ZSK can be, with nobody's help; the others need
/// the parent, so somebody must want it.
const ZSK_DAYS: u32 = 90;
const KSK_DAYS: u32 = 0;

/// Which keys a zone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Csk,
    /// A KSK and a ZSK.
    Split,
}

/// How a zone that is not signed yet is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    pub(crate) algorithm: Algorithm,
    pub(crate) form: Form,
    pub(crate) denial: Denial,
}

/// Who does something to a zone's DNSSEC, and when.
#[derive(Clone, Copy)]
pub(crate) struct Keeping<'k> {
    pub(crate) zone: &'k Zone,
    pub(crate) seal: &'k seal::Key,
    /// All waits are divided by it.
    pub(crate) pace: u32,
    pub(crate) now: Timestamp,
}

/// Reads a document.
pub(crate) fn parse(zone: &Zone, document: &StoredDnssec) -> Result<ZoneDnssec, Error> {
    ZoneDnssec::parse(document).map_err(|error| damaged(&Key::dnssec(zone.id), &error))
}

/// A zone that is signed is to go without signatures, and nobody could ask its parent. What that was seen to have before does
/// not count any more: a DS record may have come since.
pub(crate) fn end_unasked(document: &mut StoredDnssec) {
    if document.state == state_text(DnssecState::On) {
        document.state = state_text(DnssecState::Ending).to_owned();
        document.parent.since = None;
    }
}

impl Keeping<'_> {
    /// Signs a zone that is not signed.
    pub(crate) fn begin(&self, beginning: Beginning, parent: StoredParent) -> Result<StoredDnssec, Error> {
        let Beginning { algorithm, form, denial } = beginning;
        let mut document = StoredDnssec {
            state: state_text(DnssecState::On).to_owned(),
            denial: denial_text(denial).to_owned(),
            ksk_days: KSK_DAYS,
            zsk_days: ZSK_DAYS,
            keys: Vec::new(),
            sealed_keys: Default::default(),
            parent,
            due_on: None,
            created_on: self.now,
            modified_on: self.now,
        };
        let roles: &[Role] = match form {
            Form::Csk => &[Role::Csk],
            Form::Split => &[Role::Ksk, Role::Zsk],
        };
        for role in roles {
            self.add_key(&mut document, *role, algorithm, Stage::Active)?;
        }
        Ok(document)
    }

    /// Begins to exchange a key.
    pub(crate) fn roll(&self, document: &mut StoredDnssec, role: Role) -> Result<(), Error> {
        let dnssec = parse(self.zone, document)?;
        let refused = |reason: &str| Fault::DnssecRoll.because(reason);
        if dnssec.state != DnssecState::On {
            return Err(refused("the zone is about to go without signatures"));
        }
        rollover::may_begin(&dnssec.lives(), role).map_err(|error| Fault::DnssecRoll.because(error))?;
        let old = dnssec.keys.iter().find(|key| key.public.role() == role).ok_or_else(|| refused("there is none"))?;
        self.add_key(document, role, old.public.algorithm(), Stage::Incoming)
    }

    /// Takes all steps whose time has come, and notes when the next one's does. None: nothing is left to be kept.
    pub(crate) fn settle(&self, mut document: StoredDnssec) -> Result<Option<StoredDnssec>, Error> {
        let mut due = None;
        for _ in 0..STEPS_MAX {
            let dnssec = parse(self.zone, &document)?;
            let (parent, holds) = (dnssec.delegation(&self.zone.name), self.holds(&dnssec));
            let ends_at = match dnssec.state {
                DnssecState::On => None,
                DnssecState::Ending => rollover::unsigned_at(&parent, dnssec.parent.had_ds, &holds),
                DnssecState::Off if matches!(parent, Delegation::Unsigned { .. }) => Some(self.now),
                DnssecState::Off => None,
            };
            if ends_at.is_some_and(|at| at <= self.now) {
                return Ok(None);
            }
            let lives = dnssec.lives();
            if let Some(step) = rollover::step(&lives, &parent, &holds, self.now) {
                self.take(&mut document, lives, step);
                continue;
            }
            let old = self.grows_old(&dnssec);
            if let Some((_, role)) = old.filter(|(at, _)| *at <= self.now) {
                self.roll(&mut document, role)?;
                continue;
            }
            let all = [ends_at, rollover::due(&lives, &parent, &holds), old.map(|(at, _)| at)];
            due = all.into_iter().flatten().min();
            break;
        }
        document.due_on = due;
        Ok(Some(document))
    }

    /// The DS records that the parent shall have now, for who can put them there: none of a zone that is to go without
    /// signatures. Nothing is said as long as a resolver may not know the key yet.
    pub(crate) fn wanted(&self, dnssec: &ZoneDnssec) -> Option<Vec<Ds>> {
        let of = |key: &HeldKey| {
            let holds = self.holds(dnssec);
            let is_known = rollover::after(key.since, holds.dnskey + holds.servers) <= self.now;
            // One that took over was made known before.
            let leaves = |other: &HeldKey| other.stage == Stage::Outgoing && other.public.role().signs_keys();
            let took_over = dnssec.keys.iter().any(leaves);
            (is_known || took_over).then(|| vec![Ds::of(&key.public, &self.zone.name, Digest::Sha256)])
        };
        match dnssec.state {
            DnssecState::On => dnssec.announced().and_then(of),
            DnssecState::Ending => Some(Vec::new()),
            DnssecState::Off => None,
        }
    }

    /// Notes what the parent was seen to have. Whether that is news.
    pub(crate) fn observe(&self, document: &mut StoredDnssec, seen: &Seen) -> bool {
        let texts = |ds: &[Ds]| ds.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (any, all) = (texts(&seen.any), texts(&seen.all));
        let old = &document.parent;
        // A cache tells what is left of a TTL.
        let ttl = match seen.source {
            Source::Resolver if !any.is_empty() => seen.ttl.max(DS_HOLD.as_secs() as u32),
            _ => seen.ttl,
        };
        let ttl = ttl.max(old.ttl);
        let is_same = old.since.is_some() && (&old.any, &old.all) == (&any, &all);
        if is_same && old.ttl == ttl {
            return false;
        }
        let since = if is_same { old.since } else { Some(self.now) };
        let had_ds = old.had_ds || !any.is_empty();
        document.parent = StoredParent { any, all, since, ttl, had_ds };
        true
    }

    /// What the zone waits for, in which it is divided like all else.
    fn holds(&self, dnssec: &ZoneDnssec) -> Holds {
        let ds = if dnssec.parent.ttl.is_zero() { DS_HOLD } else { dnssec.parent.ttl.min(DS_HOLD_MAX) };
        let paced = |wait: Duration| wait / self.pace.max(1);
        let servers = paced(SERVERS_HOLD).max(SERVERS_HOLD_LEAST);
        Holds { dnskey: paced(DNSKEY_HOLD), data: paced(DATA_HOLD), ds: paced(ds), servers }
    }

    /// When the first of a zone's keys is so old that a new one shall come, and of which role.
    fn grows_old(&self, dnssec: &ZoneDnssec) -> Option<(Timestamp, Role)> {
        if dnssec.state != DnssecState::On {
            return None;
        }
        let lives = dnssec.lives();
        let of = |(role, max): (Role, Option<Duration>)| {
            Some((rollover::old_at(&lives, role, max? / self.pace.max(1))?, role))
        };
        let all = [(Role::Csk, dnssec.ksk_max), (Role::Ksk, dnssec.ksk_max), (Role::Zsk, dnssec.zsk_max)];
        all.into_iter().filter_map(of).min_by_key(|(at, _)| *at)
    }

    fn take(&self, document: &mut StoredDnssec, mut lives: Vec<Life>, step: Step) {
        rollover::take(&mut lives, step, self.now);
        if let Step::Remove(at) = step {
            let gone = document.keys.remove(at);
            document.sealed_keys.remove(&gone.id);
        }
        for (key, life) in document.keys.iter_mut().zip(lives) {
            (key.stage, key.since) = (stage_text(life.stage).to_owned(), life.since);
        }
    }

    fn add_key(
        &self,
        document: &mut StoredDnssec,
        role: Role,
        algorithm: Algorithm,
        stage: Stage,
    ) -> Result<(), Error> {
        let new = bartizan_signer::generate(role, algorithm).map_err(|error| Error::internal(&error))?;
        let id = hex::encode(seal::random::<8>());
        let sealed = self.seal.seal(&seal_context(self.zone.id, &id), &new.pkcs8);
        document.sealed_keys.insert(id.clone(), BASE64.encode(sealed));
        document.keys.push(StoredDnssecKey {
            id,
            role: role_text(role).to_owned(),
            algorithm: algorithm.number(),
            public_key: BASE64.encode(new.public.as_bytes()),
            stage: stage_text(stage).to_owned(),
            since: self.now,
        });
        Ok(())
    }
}

/// Whether all keys of a zone open.
pub(crate) fn all_open(zone: &Zone, dnssec: &ZoneDnssec, seal: &seal::Key) -> bool {
    let opens = |key: &HeldKey| seal.open(&seal_context(zone.id, &key.id), key.sealed()).is_ok();
    dnssec.keys.iter().all(opens)
}

/// How DNSSEC of a zone is, in the dialect's word.
pub(crate) fn status(zone: &Zone, dnssec: Option<&ZoneDnssec>, seal: &seal::Key) -> &'static str {
    let Some(dnssec) = dnssec else { return "disabled" };
    let apex = &zone.name;
    match dnssec.state {
        _ if dnssec.is_broken(apex) || !all_open(zone, dnssec, seal) => "error",
        DnssecState::Off => "disabled",
        DnssecState::Ending => "pending-disabled",
        DnssecState::On if dnssec.is_secure(apex) => "active",
        DnssecState::On => "pending",
    }
}

/// What is waited for, or to be done by a person.
pub(crate) fn next(zone: &Zone, dnssec: Option<&ZoneDnssec>, seal: &seal::Key) -> &'static str {
    const LEADS_NOWHERE: &str = "the parent zone has a DS record that leads to no key of this zone, so nobody who validates \
                                 finds it: have the registrar put the one in ds in its place, or remove it";
    let Some(dnssec) = dnssec else { return "the zone is not signed" };
    let apex = &zone.name;
    let parent = dnssec.delegation(apex);
    let lives = dnssec.lives();
    let stage = |stage| lives.iter().any(|life| life.stage == stage);
    match (dnssec.state, parent) {
        (DnssecState::Off, _) => {
            "the zone is not signed and the parent zone has a DS record, so nobody who validates finds it: have the \
             registrar remove that, or switch DNSSEC on again and have it replaced"
        }
        _ if dnssec.is_broken(apex) => LEADS_NOWHERE,
        _ if !all_open(zone, dnssec, seal) => {
            "a private key does not open, so nothing can be signed by it: put back the seal.key of the data directory, or \
             restore a backup"
        }
        (DnssecState::Ending, Delegation::Unknown) => {
            "it is not known yet what the parent zone has; the zone stays signed until its DS record is gone"
        }
        (DnssecState::Ending, Delegation::Signed { .. }) => {
            "have the registrar remove the DS record; the zone stays signed until it is gone, so that everybody finds it"
        }
        (DnssecState::Ending, Delegation::Unsigned { .. }) => {
            "the DS record is gone; the zone stays signed until nobody has it in memory any more"
        }
        (DnssecState::On, parent) if !rollover::is_delegated(&lives, &parent) => {
            if dnssec.is_secure(apex) {
                "a new key has come: have the registrar put the DS record in ds in the place of the old one"
            } else {
                "give the DS record in ds to the registrar, who puts it into the parent zone"
            }
        }
        (DnssecState::On, _) if stage(Stage::Incoming) => "a new key is being made known, and takes over by itself",
        (DnssecState::On, _) if stage(Stage::Outgoing) => "an old key stays until nobody needs it any more",
        (DnssecState::On, _) => "nothing is to be done",
    }
}
