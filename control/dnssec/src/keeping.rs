//! What is kept of a zone's DNSSEC, and each thing that is done to it: from one document to the next, by the time that is
//! handed in.

use std::time::Duration;

use bartizan_model::{TTL_MAX, Zone};
use bartizan_names::Timestamp;
use bartizan_publish::{HeldKey, ZoneDnssec, seal_context, stored_role, stored_stage, times};
use bartizan_registry::{DS_MAX, DsSeen, Source};
use bartizan_seal as seal;
use bartizan_signer::rollover::{self, BeginError, Delegation, Holds, KEYS_MAX, Life, Stage, Step, after};
use bartizan_signer::{Algorithm, Digest, Ds, Role, Validity};
use bartizan_store::Key;
use bartizan_v4::StoredDnssec;
use bartizan_v4::dnssec::{DnssecDenial, DnssecState, StoredDnssecKey, StoredParent};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{KeepError, RollRefused};
use crate::status::all_open;
use crate::time::{Moment, Time, Trust};

/// How long resolvers keep what a zone says of its keys, and whatever else is in it: the longest TTLs that there are here.
const DNSKEY_HOLD: Duration = Duration::from_secs(times::KEYS_TTL as u64);
const DATA_HOLD: Duration = Duration::from_secs(TTL_MAX as u64);

/// A signature that goes out now is valid for longer than it is kept, whatever is set.
const _: () = {
    let least = Validity::of_hours(*Validity::HOURS.start());
    assert!(least.least_left() as u64 >= DATA_HOLD.as_secs() && DATA_HOLD.as_secs() >= DNSKEY_HOLD.as_secs());
};

/// How long they keep a DS record where its TTL was not seen, and the most that is believed of one.
const DS_HOLD: Duration = Duration::from_secs(86_400);
const DS_HOLD_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Until all servers of a zone answer by a change. They do within a second; a PoP that is cut off, within this or not at all.
const SERVERS_HOLD: Duration = Duration::from_secs(300);

/// However much that is divided: a change takes its time, and resolvers count in whole seconds.
const SERVERS_HOLD_LEAST: Duration = Duration::from_secs(2);

/// Steps that can be due at once: each key has two.
const STEPS_MAX: usize = 2 * KEYS_MAX + 1;

/// How long a zone with a key that does not open is left alone.
const SEALED_REST: Duration = Duration::from_secs(3_600);

/// Days after which the keys of a new zone are exchanged by themselves. A ZSK can be, with nobody's help; the others need
/// the parent, so somebody must want it.
const ZSK_DAYS: u32 = 90;
const KSK_DAYS: u32 = 0;

/// Which keys a zone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Csk,
    /// A KSK and a ZSK.
    Split,
}

/// How a zone that is not signed yet is to be.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    pub algorithm: Algorithm,
    pub form: Form,
    pub denial: DnssecDenial,
}

/// Who does something to a zone's DNSSEC, and when.
#[derive(Clone, Copy)]
pub struct Keeping<'k> {
    pub(crate) zone: &'k Zone,
    pub(crate) seal: &'k seal::Key,
    /// All waits are divided by it.
    pub(crate) pace: u32,
    pub(crate) moment: Moment,
}

/// What all zones are kept by.
pub(crate) struct Care {
    pub(crate) seal: seal::Key,
    /// All waits are divided by it.
    pub(crate) pace: u32,
    pub(crate) time: Time,
}

impl Care {
    pub(crate) fn keeping<'k>(&'k self, zone: &'k Zone) -> Keeping<'k> {
        Keeping { zone, seal: &self.seal, pace: self.pace, moment: self.time.now() }
    }
}

/// Reads a document.
pub fn parse(zone: &Zone, document: &StoredDnssec) -> Result<ZoneDnssec, KeepError> {
    let damaged = |reason| KeepError::Damaged { key: Key::dnssec(zone.id), reason };
    ZoneDnssec::parse(document).map_err(|error| damaged(error.to_string()))
}

/// A zone that is signed is to go without signatures, and nobody could ask its parent. What that was seen to have before does
/// not count any more: a DS record may have come since.
pub fn end_unasked(document: &mut StoredDnssec) {
    if document.state == DnssecState::On {
        document.state = DnssecState::Ending;
        document.parent.since = None;
    }
}

impl<'k> Keeping<'k> {
    pub fn zone(&self) -> &'k Zone {
        self.zone
    }

    /// Signs a zone that is not signed.
    pub fn begin(&self, beginning: Beginning, parent: StoredParent) -> Result<StoredDnssec, KeepError> {
        let Beginning { algorithm, form, denial } = beginning;
        let mut document = StoredDnssec {
            state: DnssecState::On,
            denial,
            ksk_days: KSK_DAYS,
            zsk_days: ZSK_DAYS,
            keys: Vec::new(),
            sealed_keys: Default::default(),
            parent,
            due_on: None,
            created_on: self.moment.at,
            modified_on: self.moment.at,
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
    pub fn roll(&self, document: &mut StoredDnssec, role: Role) -> Result<(), KeepError> {
        let dnssec = parse(self.zone, document)?;
        if dnssec.state != DnssecState::On {
            return Err(RollRefused::NotOn.into());
        }
        if !all_open(self.zone, &dnssec, self.seal) {
            return Err(RollRefused::Sealed.into());
        }
        rollover::may_begin(&dnssec.lives(), role).map_err(RollRefused::Begin)?;
        let old = dnssec.keys.iter().find(|key| key.public.role() == role);
        let old = old.ok_or(RollRefused::Begin(BeginError::NoSuchRole))?;
        self.add_key(document, role, old.public.algorithm(), Stage::Incoming)
    }

    /// Takes all steps whose time has come, and notes when the next one's does; while the clock is doubted, that it is looked
    /// at as soon as it is not. None: nothing is left to be kept.
    pub fn settle(&self, mut document: StoredDnssec) -> Result<Option<StoredDnssec>, KeepError> {
        let now = self.moment.at;
        if self.moment.trust == Trust::Doubted {
            document.due_on = Some(now);
            return Ok(Some(document));
        }
        self.correct(&mut document);
        let mut due = None;
        for _ in 0..STEPS_MAX {
            let dnssec = parse(self.zone, &document)?;
            let (parent, holds) = (self.delegation(&dnssec), self.holds(&dnssec));
            let ends_at = match dnssec.state {
                DnssecState::On => None,
                DnssecState::Ending => rollover::unsigned_at(&parent, dnssec.parent.had_ds, &holds),
                DnssecState::Off if matches!(parent, Delegation::Unsigned { .. }) => Some(now),
                DnssecState::Off => None,
            };
            if ends_at.is_some_and(|at| at <= now) {
                return Ok(None);
            }
            // No key takes over from one that does not open, nor does such a one take over.
            if !all_open(self.zone, &dnssec, self.seal) {
                due = [ends_at, Some(after(now, SEALED_REST))].into_iter().flatten().min();
                break;
            }
            let lives = self.lives(&dnssec);
            if let Some(step) = rollover::step(&lives, &parent, &holds, now) {
                self.take(&mut document, lives, step);
                continue;
            }
            let old = self.grows_old(&dnssec);
            if let Some((_, role)) = old.filter(|(at, _)| *at <= now) {
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

    /// What was noted by a clock that ran ahead began now at the latest: else it would be waited for that time to come.
    fn correct(&self, document: &mut StoredDnssec) {
        let times = document.keys.iter_mut().map(|key| &mut key.since).chain(&mut document.parent.since);
        times.for_each(|since| *since = self.moment.at.min(*since));
    }

    /// When a wait began that was noted to have begun then.
    fn begun(&self, since: Timestamp) -> Timestamp {
        self.moment.epoch.map_or(since, |epoch| since.max(epoch))
    }

    fn lives(&self, dnssec: &ZoneDnssec) -> Vec<Life> {
        let mut lives = dnssec.lives();
        for life in lives.iter_mut().filter(|life| life.stage != Stage::Active) {
            life.since = self.begun(life.since);
        }
        lives
    }

    fn delegation(&self, dnssec: &ZoneDnssec) -> Delegation {
        let mut delegation = dnssec.delegation(&self.zone.name);
        if let Delegation::Unsigned { since } | Delegation::Signed { since, .. } = &mut delegation {
            *since = self.begun(*since);
        }
        delegation
    }

    /// The DS records that the parent shall have now, for who can put them there: none of a zone that is to go without
    /// signatures. Nothing is said as long as a resolver may not know the key yet.
    pub fn wanted(&self, dnssec: &ZoneDnssec) -> Option<Vec<Ds>> {
        let of = |key: &HeldKey| {
            let holds = self.holds(dnssec);
            let is_known = after(self.begun(key.since), holds.dnskey + holds.servers) <= self.moment.at;
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
    pub fn observe(&self, document: &mut StoredDnssec, seen: &DsSeen) -> bool {
        let texts = |ds: &[Ds]| ds.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (mut any, mut all) = (texts(&seen.any), texts(&seen.all));
        let old = &document.parent;
        if seen.source == Source::HereAtLeast {
            // What others were seen to have is not gone because nobody can be asked.
            any.retain(|ds| !old.any.contains(ds));
            any = old.any.iter().cloned().chain(any).collect();
            any.truncate(DS_MAX);
            all.clone_from(&old.all);
        }
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
        let since = if is_same { old.since } else { Some(self.moment.at) };
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
        rollover::take(&mut lives, step, self.moment.at);
        if let Step::Remove(at) = step {
            let gone = document.keys.remove(at);
            document.sealed_keys.remove(&gone.id);
        }
        for (key, life) in document.keys.iter_mut().zip(lives) {
            (key.stage, key.since) = (stored_stage(life.stage), life.since);
        }
    }

    fn add_key(
        &self,
        document: &mut StoredDnssec,
        role: Role,
        algorithm: Algorithm,
        stage: Stage,
    ) -> Result<(), KeepError> {
        let new = bartizan_signer::generate(role, algorithm)?;
        let id = hex::encode(seal::random::<8>());
        let sealed = self.seal.seal(&seal_context(self.zone.id, &id), &new.pkcs8);
        document.sealed_keys.insert(id.clone(), BASE64.encode(sealed));
        document.keys.push(StoredDnssecKey {
            id,
            role: stored_role(role),
            algorithm: algorithm.number(),
            public_key: BASE64.encode(new.public.as_bytes()),
            stage: stored_stage(stage),
            since: self.moment.at,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::{AccountId, Phishing, ZoneId};
    use bartizan_v4::dnssec::DnssecStage;

    use super::*;

    const HOUR: u64 = 3_600;

    fn at(hours: u64) -> Timestamp {
        Timestamp::from_unix_micros(hours * HOUR * 1_000_000)
    }

    fn moment(hours: u64) -> Moment {
        Moment { at: at(hours), age: Duration::ZERO, epoch: None, trust: Trust::Believed }
    }

    const BEGINNING: Beginning =
        Beginning { algorithm: Algorithm::Ed25519, form: Form::Csk, denial: DnssecDenial::Compact };

    fn zone() -> Zone {
        Zone {
            id: ZoneId::from_bytes([1; 16]),
            account: AccountId::from_bytes([2; 16]),
            name: Zone::parse_name("example.test").unwrap(),
            nameservers: Vec::new(),
            paused: false,
            phishing: Phishing::No,
        }
    }

    /// The new one would never be believed: it is made known by signatures of the old one.
    #[test]
    fn no_key_comes_in_place_of_one_that_does_not_open() {
        let (zone, right, wrong) = (zone(), seal::Key::unkept(), seal::Key::unkept());
        let keeping = |seal, hours| Keeping { zone: &zone, seal, pace: 1, moment: moment(hours) };
        let mut document = keeping(&right, 0).begin(BEGINNING, StoredParent::default()).unwrap();
        let refused = keeping(&wrong, 1).roll(&mut document, Role::Csk).unwrap_err();
        assert!(matches!(refused, KeepError::Roll(RollRefused::Sealed)), "{refused}");
        // Nor by its age, and one that waits does not take over.
        document.ksk_days = 1;
        keeping(&right, 1).roll(&mut document, Role::Csk).unwrap();
        let later = |seal| keeping(seal, 10_000).settle(document.clone()).unwrap().unwrap();
        let stages = |document: &StoredDnssec| document.keys.iter().map(|key| key.stage).collect::<Vec<_>>();
        assert_eq!(stages(&later(&wrong)), stages(&document));
        assert_eq!(later(&wrong).due_on, Some(after(at(10_000), SEALED_REST)));
        assert_ne!(stages(&later(&right)), stages(&document));
    }

    /// What was known of others is not lost when nobody can be asked, and nothing follows from what they are not known to have.
    #[test]
    fn what_is_seen_here_alone_is_added() {
        let (zone, seal) = (zone(), seal::Key::unkept());
        let keeping = |hours| Keeping { zone: &zone, seal: &seal, pace: 1, moment: moment(hours) };
        let mut document = keeping(0).begin(BEGINNING, StoredParent::default()).unwrap();
        let own = Ds::of(&parse(&zone, &document).unwrap().keys[0].public, &zone.name, Digest::Sha256);
        let other: Ds = "5 13 2 AABB".parse().unwrap();
        let seen = |any: &[&Ds], all: &[&Ds], source| {
            let [any, all] = [any, all].map(|ds| ds.iter().map(|ds| (*ds).clone()).collect());
            DsSeen { any, all, ttl: 60, source }
        };
        let known = |document: &StoredDnssec| (document.parent.any.len(), document.parent.all.len());
        let delegation = |document: &StoredDnssec| parse(&zone, document).unwrap().delegation(&zone.name);
        assert!(keeping(1).observe(&mut document, &seen(&[&own], &[], Source::HereAtLeast)));
        assert_eq!((known(&document), delegation(&document)), ((1, 0), Delegation::Unknown));
        assert!(document.parent.had_ds);
        assert!(!keeping(2).observe(&mut document, &seen(&[&own], &[], Source::HereAtLeast)));
        // All of it is known, and then nobody answers any more.
        keeping(3).observe(&mut document, &seen(&[&own], &[&own], Source::Here));
        assert!(matches!(delegation(&document), Delegation::Signed { .. }));
        assert!(!keeping(4).observe(&mut document, &seen(&[&own], &[], Source::HereAtLeast)));
        assert!(matches!(delegation(&document), Delegation::Signed { .. }));
        assert!(keeping(5).observe(&mut document, &seen(&[&other], &[], Source::HereAtLeast)));
        assert_eq!((known(&document), delegation(&document)), ((2, 1), Delegation::Unknown));
    }

    /// A clock that was wrong when a key came ends no wait too early, and makes none that does not end.
    #[test]
    fn waits_of_a_clock_that_was_wrong() {
        let (zone, seal) = (zone(), seal::Key::unkept());
        let keeping = |moment: Moment| Keeping { zone: &zone, seal: &seal, pace: 1, moment };
        // When the new key came, by the clock of then, and what time it is; what becomes of the key, and when it has its turn.
        let wait = DNSKEY_HOLD + SERVERS_HOLD;
        let doubted = Moment { trust: Trust::Doubted, ..moment(100) };
        let set_right = |epoch: u64| Moment { epoch: Some(at(epoch)), ..moment(100) };
        for (came, now, stage, due) in [
            (100, moment(100), DnssecStage::Incoming, Some(after(at(100), wait))),
            (90, moment(100), DnssecStage::Active, None),
            // It ran ahead by years.
            (90_000, moment(100), DnssecStage::Incoming, Some(after(at(100), wait))),
            // It jumped, and nobody knows which is right.
            (90, doubted, DnssecStage::Incoming, Some(at(100))),
            // It was behind, and was set since.
            (10, set_right(100), DnssecStage::Incoming, Some(after(at(100), wait))),
            (10, set_right(90), DnssecStage::Active, None),
        ] {
            let mut document = keeping(moment(came)).begin(BEGINNING, StoredParent::default()).unwrap();
            document.zsk_days = 0;
            keeping(moment(came)).roll(&mut document, Role::Csk).unwrap();
            let document = keeping(now).settle(document).unwrap().unwrap();
            assert_eq!((document.keys[1].stage, document.due_on), (stage, due), "{came} {now:?}");
            assert!(now.trust == Trust::Doubted || document.keys.iter().all(|key| key.since <= now.at));
        }
    }
}
