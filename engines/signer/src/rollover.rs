//! How keys are exchanged (RFC 6781 §4.1, RFC 7583): which stage each is at, what it does there, and when the next step is
//! safe. No clock: times and what the parent says are handed in, and the answer is the next step or when it will be one.
//!
//! ```text
//!       begin            DNSKEY sets without it have expired          nobody can need it any more
//! ─ ─ ─ ─ ─ ─ ► Incoming ───────────────────────────────► Active ─ ─► Outgoing ───────────────────► gone
//!                                                           └ when the next of its role becomes Active
//! ```
//!
//! | stage | published | signs DNSKEY, CDS and CDNSKEY (KSK, CSK) | signs the rest (ZSK, CSK) | the parent shall have its DS (KSK, CSK) |
//! | --- | --- | --- | --- | --- |
//! | Incoming | yes | yes | no | not yet |
//! | Active | yes | yes | yes | yes |
//! | Outgoing | yes | yes | no | no longer |
//!
//! So the keys that a DS leads to are exchanged by double signature (RFC 7583 §3.3.1), and those that sign the rest by
//! publication ahead (§3.2.1). A double signature of the rest would be as safe, and each answer would carry a signature more
//! for a day: denials would not fit where they fit before, and cost twice as much to make. A CSK does both at once.
//!
//! Not here: making keys, and asking the parent (`control/registry`).

use std::time::Duration;

use bartizan_names::Timestamp;

use crate::public_key::Role;

/// Keys that a zone has at once: both of a split pair while each is exchanged, and no more.
pub const KEYS_MAX: usize = 4;

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Incoming,
    Active,
    Outgoing,
}

/// A key as far as its exchange goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub role: Role,
    pub stage: Stage,
    /// When it came to this stage.
    pub since: Timestamp,
}

/// What the parent's servers say, all of them alike, and since when they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delegation {
    /// They were not asked yet, do not answer, or differ.
    Unknown,
    /// There is no DS record.
    Unsigned { since: Timestamp },
    /// There are DS records: of these of the zone's keys, by their places in the list; it may be of none.
    Signed { since: Timestamp, of: Vec<usize> },
}

/// How long what has changed may be seen as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// In the caches of resolvers: a DNSKEY set, whatever else the zone has, and the parent's DS set, by their longest TTLs.
    pub dnskey: Duration,
    pub data: Duration,
    pub ds: Duration,
    /// Until all servers of the zone answer by a change.
    pub servers: Duration,
}

/// What is to be done to the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The key at this place becomes active, and the active one of its role outgoing.
    Activate(usize),
    /// The key at this place goes.
    Remove(usize),
}

/// Why no new key can come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    #[error("the zone has no such key")]
    NoSuchRole,
    #[error("one is being exchanged already")]
    UnderWay,
}

impl Life {
    fn signs_keys(&self) -> bool {
        self.role.signs_keys()
    }

    fn signs_data(&self) -> bool {
        self.role.signs_data()
    }
}

/// Whether a new key of a role may come now.
pub fn may_begin(keys: &[Life], role: Role) -> Result<(), BeginError> {
    let mut of_role = keys.iter().filter(|key| key.role == role).peekable();
    if of_role.peek().is_none() {
        return Err(BeginError::NoSuchRole);
    }
    if of_role.all(|key| key.stage == Stage::Active) { Ok(()) } else { Err(BeginError::UnderWay) }
}

/// The step to take now, if there is one. To be asked again after each: there may be several.
pub fn step(keys: &[Life], parent: &Delegation, holds: &Holds, now: Timestamp) -> Option<Step> {
    steps(keys, parent, holds).filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at).map(|(_, step)| step)
}

/// When the next step is due, if the parent goes on to say what it says; none if nothing is under way, or it is the
/// parent's turn.
pub fn due(keys: &[Life], parent: &Delegation, holds: &Holds) -> Option<Timestamp> {
    steps(keys, parent, holds).map(|(at, _)| at).min()
}

/// Takes a step.
pub fn take(keys: &mut Vec<Life>, step: Step, now: Timestamp) {
    match step {
        Step::Activate(at) => {
            let Some(role) = keys.get(at).map(|key| key.role) else { return };
            for key in keys.iter_mut().filter(|key| key.role == role && key.stage == Stage::Active) {
                (key.stage, key.since) = (Stage::Outgoing, now);
            }
            (keys[at].stage, keys[at].since) = (Stage::Active, now);
        }
        Step::Remove(at) => {
            if at < keys.len() {
                keys.remove(at);
            }
        }
    }
}

/// When the active key of a role is as old as `max`; none while it is being exchanged, or where there is none.
pub fn old_at(keys: &[Life], role: Role, max: Duration) -> Option<Timestamp> {
    let active = keys.iter().find(|key| key.role == role && key.stage == Stage::Active)?;
    may_begin(keys, role).ok()?;
    Some(after(active.since, max))
}

/// Whether the parent sends validating resolvers to keys that the zone does not have: then nobody behind them finds it.
pub fn is_broken(keys: &[Life], parent: &Delegation) -> bool {
    let Delegation::Signed { of, .. } = parent else { return false };
    !of.iter().any(|at| keys.get(*at).is_some_and(Life::signs_keys))
}

/// Whether the parent has the DS of the key that it shall have.
pub fn is_delegated(keys: &[Life], parent: &Delegation) -> bool {
    delegated_since(keys, parent).is_some()
}

/// From when on the zone may go without signatures; none while the parent has a DS, or nobody knows. `had_ds` says whether
/// the parent has ever been seen with one.
pub fn unsigned_at(parent: &Delegation, had_ds: bool, holds: &Holds) -> Option<Timestamp> {
    let Delegation::Unsigned { since } = parent else { return None };
    Some(if had_ds { after(*since, holds.ds + holds.servers) } else { *since })
}

fn steps(keys: &[Life], parent: &Delegation, holds: &Holds) -> impl Iterator<Item = (Timestamp, Step)> {
    keys.iter().enumerate().filter_map(|(at, key)| match key.stage {
        Stage::Incoming => Some((after(key.since, holds.dnskey + holds.servers), Step::Activate(at))),
        Stage::Active => None,
        Stage::Outgoing => removable_at(key, keys, parent, holds).map(|when| (when, Step::Remove(at))),
    })
}

/// When no cache can have anything for which the outgoing key is needed: a signature by it, or a DS that leads to it alone.
fn removable_at(key: &Life, keys: &[Life], parent: &Delegation, holds: &Holds) -> Option<Timestamp> {
    let mut when = key.since;
    if key.signs_data() {
        when = when.max(after(key.since, holds.data + holds.servers));
    }
    if key.signs_keys() {
        let since = match parent {
            Delegation::Unknown => return None,
            Delegation::Unsigned { since } => *since,
            Delegation::Signed { .. } => delegated_since(keys, parent)?,
        };
        when = when.max(after(since.max(key.since), holds.ds + holds.servers));
    }
    Some(when)
}

/// Since when the parent has had the DS of an active key.
fn delegated_since(keys: &[Life], parent: &Delegation) -> Option<Timestamp> {
    let Delegation::Signed { since, of } = parent else { return None };
    let is_of_active = |at: &usize| keys.get(*at).is_some_and(|key| key.signs_keys() && key.stage == Stage::Active);
    of.iter().any(is_of_active).then_some(*since)
}

/// So long after a time.
pub fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let wait = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
    Timestamp::from_unix_micros(at.unix_micros().saturating_add(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;

    const HOLDS: Holds = Holds {
        dnskey: Duration::from_secs(HOUR),
        data: Duration::from_secs(DAY),
        ds: Duration::from_secs(DAY),
        servers: Duration::from_secs(300),
    };

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    /// The name of a key, which it keeps: places in the list change.
    type Tag = u8;

    /// The world from a moment on.
    #[derive(Clone, Debug, PartialEq)]
    struct World {
        from: u64,
        keys: Vec<(Tag, Life)>,
        /// Of which keys the parent has the DS.
        ds: Vec<Tag>,
    }

    impl World {
        fn signers(&self, which: fn(&Life) -> bool) -> impl Iterator<Item = Tag> {
            self.keys.iter().filter(move |(_, key)| which(key)).map(|(tag, _)| *tag)
        }

        /// Those that sign the DNSKEY set.
        fn key_signers(&self) -> Vec<Tag> {
            self.signers(|key| key.signs_keys()).collect()
        }

        fn data_signers(&self) -> Vec<Tag> {
            self.signers(|key| key.signs_data() && key.stage == Stage::Active).collect()
        }
    }

    /// A zone, its parent, and all that caches may have of them.
    struct Run {
        now: u64,
        past: Vec<World>,
        lives: Vec<Life>,
        tags: Vec<Tag>,
        next: Tag,
        ds: Vec<Tag>,
        ds_since: u64,
        /// What the machine waits for, and what caches really do.
        machine: Holds,
        truth: Holds,
        broken: Option<String>,
        log: Vec<String>,
    }

    impl Run {
        fn new(roles: &[Role], is_delegated: bool, machine: Holds) -> Run {
            let lives: Vec<Life> =
                roles.iter().map(|role| Life { role: *role, stage: Stage::Active, since: at(0) }).collect();
            let tags: Vec<Tag> = (1..).take(roles.len()).collect();
            let ds = tags.iter().zip(&lives).filter(|(_, life)| life.signs_keys() && is_delegated);
            let ds = ds.map(|(tag, _)| *tag).collect();
            let next = tags.len() as Tag + 1;
            let mut run = Run {
                now: 0,
                past: Vec::new(),
                lives,
                tags,
                next,
                ds,
                ds_since: 0,
                machine,
                truth: HOLDS,
                broken: None,
                log: Vec::new(),
            };
            run.note();
            run
        }

        fn delegation(&self) -> Delegation {
            let since = at(self.ds_since);
            if self.ds.is_empty() {
                return Delegation::Unsigned { since };
            }
            let of = (0..self.tags.len()).filter(|place| self.ds.contains(&self.tags[*place])).collect();
            Delegation::Signed { since, of }
        }

        fn begin(&mut self, role: Role) {
            assert_eq!(may_begin(&self.lives, role), Ok(()));
            self.lives.push(Life { role, stage: Stage::Incoming, since: at(self.now) });
            self.tags.push(self.next);
            self.next += 1;
            assert!(self.lives.len() <= KEYS_MAX);
            self.note();
            assert_eq!(may_begin(&self.lives, role), Err(BeginError::UnderWay));
        }

        /// The parent takes what the zone's CDS says, or keeps the old beside it.
        fn follow_cds(&mut self, keep: bool) {
            let active = |place: &usize| self.lives[*place].stage == Stage::Active && self.lives[*place].signs_keys();
            let mut ds: Vec<Tag> = (0..self.tags.len()).filter(active).map(|place| self.tags[place]).collect();
            if keep {
                ds.extend(self.ds.iter().filter(|tag| !ds.contains(tag)).copied().collect::<Vec<_>>());
            }
            if ds != self.ds {
                (self.ds, self.ds_since) = (ds, self.now);
                self.note();
            }
        }

        /// Takes all steps until then, each as soon as it is due.
        fn run_until(&mut self, end: u64) {
            loop {
                let due = due(&self.lives, &self.delegation(), &self.machine);
                let due = due.map(|due| due.unix_micros().div_ceil(1_000_000)).filter(|due| *due <= end);
                self.now = due.unwrap_or(end).max(self.now);
                let Some(step) = step(&self.lives, &self.delegation(), &self.machine, at(self.now)) else { break };
                if let Step::Remove(place) = step {
                    self.tags.remove(place);
                }
                take(&mut self.lives, step, at(self.now));
                self.note();
            }
            self.check();
        }

        fn note(&mut self) {
            let keys: Vec<(Tag, Life)> = self.tags.iter().copied().zip(self.lives.iter().copied()).collect();
            let stages: Vec<String> = keys.iter().map(|(tag, key)| format!("{tag}:{:?}", key.stage)).collect();
            self.log.push(format!("{}h {} DS {:?}", self.now / HOUR, stages.join(" "), self.ds));
            // What was until now ends; a resolver may have asked in the last moment, and asks again now.
            self.check();
            self.past.push(World { from: self.now, keys, ds: self.ds.clone() });
            self.check();
        }

        /// What a cache may have now of what is kept for so long.
        fn seen(&self, ttl: Duration, servers: bool) -> impl Iterator<Item = &World> {
            let back = ttl.as_secs() + if servers { self.truth.servers.as_secs() } else { 0 };
            let from = self.now.saturating_sub(back);
            let ends = self.past.iter().skip(1).map(|world| world.from).chain([u64::MAX]);
            self.past.iter().zip(ends).filter(move |(_, end)| *end > from).map(|(world, _)| world)
        }

        /// Whether any resolver, whatever it has kept, believes the zone: RFC 4035 §5.
        fn check(&mut self) {
            let mut failed = None;
            for parent in self.seen(self.truth.ds, false) {
                if parent.ds.is_empty() {
                    continue;
                }
                for keys in self.seen(self.truth.dnskey, true) {
                    let signers = keys.key_signers();
                    if !parent.ds.iter().any(|tag| signers.contains(tag)) {
                        failed = Some(format!("DS {:?}, and DNSKEY signed by {signers:?}", parent.ds));
                    }
                    for data in self.seen(self.truth.data, true) {
                        let signers = data.data_signers();
                        if !signers.iter().any(|tag| keys.keys.iter().any(|(key, _)| key == tag)) {
                            let published: Vec<Tag> = keys.keys.iter().map(|(tag, _)| *tag).collect();
                            failed = Some(format!("DNSKEY {published:?}, and data signed by {signers:?}"));
                        }
                    }
                }
            }
            if let Some(failed) = failed {
                self.broken.get_or_insert(format!("{}h: {failed}\n{}", self.now / HOUR, self.log.join("\n")));
            }
        }

        fn tags_of(&self, stage: Stage) -> Vec<Tag> {
            let of_stage = |(tag, life): (&Tag, &Life)| (life.stage == stage).then_some(*tag);
            self.tags.iter().zip(&self.lives).filter_map(of_stage).collect()
        }
    }

    const SPLIT: [Role; 2] = [Role::Ksk, Role::Zsk];

    /// Every form of a zone, and every exchange in it, with a parent that is prompt, slow, or keeps the old DS for a while.
    #[test]
    fn every_cache_validates_at_every_step() {
        let rows: [(&[Role], &[Role]); 5] = [
            (&[Role::Csk], &[Role::Csk]),
            (&SPLIT, &[Role::Ksk]),
            (&SPLIT, &[Role::Zsk]),
            (&SPLIT, &[Role::Ksk, Role::Zsk]),
            (&SPLIT, &[Role::Zsk, Role::Ksk]),
        ];
        for (roles, rolled) in rows {
            for is_delegated in [true, false] {
                for wait in [0, HOUR, 3 * HOUR, 2 * DAY, 30 * DAY] {
                    for keep in [None, Some(0), Some(DAY), Some(5 * DAY)] {
                        for apart in [0, HOUR, 26 * HOUR] {
                            let row = format!("{roles:?} {rolled:?} {is_delegated} {wait} {keep:?} {apart}");
                            let mut run = Run::new(roles, is_delegated, HOLDS);
                            run.run_until(100 * DAY);
                            for role in rolled {
                                run.run_until(run.now + apart);
                                run.begin(*role);
                            }
                            // The parent looks at the CDS now and then, until it has taken it.
                            for _ in 0..3 {
                                run.run_until(run.now + 2 * HOUR + wait);
                                if is_delegated {
                                    run.follow_cds(keep.is_some());
                                }
                                if let Some(keep) = keep {
                                    run.run_until(run.now + keep);
                                    if is_delegated {
                                        run.follow_cds(false);
                                    }
                                }
                            }
                            run.run_until(run.now + 100 * DAY);
                            assert_eq!(run.broken, None, "{row}");
                            // And it comes to its end.
                            assert_eq!(run.lives.len(), roles.len(), "{row}\n{}", run.log.join("\n"));
                            assert!(run.lives.iter().all(|life| life.stage == Stage::Active), "{row}");
                            for role in rolled {
                                assert_eq!(may_begin(&run.lives, *role), Ok(()), "{row}");
                            }
                        }
                    }
                }
            }
        }
    }

    /// The same test notices each wait that is too short.
    #[test]
    fn a_shorter_wait_breaks_somebody() {
        let none = Duration::ZERO;
        for (roles, rolled, machine) in [
            (&[Role::Csk][..], Role::Csk, Holds { dnskey: none, ..HOLDS }),
            (&[Role::Csk], Role::Csk, Holds { data: none, ds: none, ..HOLDS }),
            (&SPLIT, Role::Ksk, Holds { dnskey: none, ..HOLDS }),
            (&SPLIT, Role::Ksk, Holds { ds: none, ..HOLDS }),
            (&SPLIT, Role::Zsk, Holds { dnskey: none, ..HOLDS }),
            (&SPLIT, Role::Zsk, Holds { data: none, ..HOLDS }),
        ] {
            let mut run = Run::new(roles, true, machine);
            run.run_until(100 * DAY);
            run.begin(rolled);
            // The parent is prompt.
            for _ in 0..12 {
                run.run_until(run.now + 600);
                run.follow_cds(false);
            }
            run.run_until(run.now + 10 * DAY);
            assert!(run.broken.is_some(), "{roles:?} {rolled:?} {machine:?}\n{}", run.log.join("\n"));
        }
    }

    /// The old key stays for as long as the parent has its DS alone, and for a TTL longer.
    #[test]
    fn the_parent_is_waited_for() {
        let mut run = Run::new(&[Role::Csk], true, HOLDS);
        run.run_until(DAY);
        run.begin(Role::Csk);
        assert_eq!((run.tags_of(Stage::Active), run.tags_of(Stage::Incoming)), (vec![1], vec![2]));
        run.run_until(DAY + HOUR);
        assert_eq!(run.tags_of(Stage::Active), [1]);
        run.run_until(DAY + 2 * HOUR);
        assert_eq!((run.tags_of(Stage::Active), run.tags_of(Stage::Outgoing)), (vec![2], vec![1]));
        let parent = run.delegation();
        assert_eq!(due(&run.lives, &parent, &HOLDS), None);
        assert!(!is_delegated(&run.lives, &parent) && !is_broken(&run.lives, &parent));
        run.run_until(400 * DAY);
        assert_eq!(run.tags_of(Stage::Outgoing), [1]);
        assert_eq!(step(&run.lives, &Delegation::Unknown, &HOLDS, at(run.now)), None);
        run.follow_cds(false);
        assert!(is_delegated(&run.lives, &run.delegation()));
        run.run_until(401 * DAY);
        assert_eq!(run.tags_of(Stage::Outgoing), [1]);
        run.run_until(402 * DAY);
        assert_eq!((run.tags_of(Stage::Active), run.tags_of(Stage::Outgoing)), (vec![2], vec![]));
        assert_eq!(run.broken, None);
    }

    #[test]
    fn a_ds_of_no_key_is_told() {
        let since = at(5);
        let life = |role, stage| Life { role, stage, since };
        let csk = [life(Role::Csk, Stage::Active), life(Role::Csk, Stage::Outgoing)];
        let split = [life(Role::Ksk, Stage::Active), life(Role::Zsk, Stage::Active)];
        let signed = |of: &[usize]| Delegation::Signed { since, of: of.to_vec() };
        for (keys, parent, broken, delegated) in [
            (&csk[..], Delegation::Unknown, false, false),
            (&csk, Delegation::Unsigned { since }, false, false),
            (&csk, signed(&[0]), false, true),
            (&csk, signed(&[1]), false, false),
            (&csk, signed(&[1, 0]), false, true),
            (&csk, signed(&[]), true, false),
            (&csk, signed(&[7]), true, false),
            (&split, signed(&[0]), false, true),
            // No DS may lead to a ZSK.
            (&split, signed(&[1]), true, false),
        ] {
            assert_eq!(
                (is_broken(keys, &parent), is_delegated(keys, &parent)),
                (broken, delegated),
                "{keys:?} {parent:?}"
            );
        }
    }

    #[test]
    fn a_zone_goes_unsigned_when_no_cache_has_a_ds() {
        let since = at(10 * DAY);
        for (parent, had_ds, expect) in [
            (Delegation::Unknown, false, None),
            (Delegation::Signed { since, of: vec![0] }, true, None),
            (Delegation::Signed { since, of: vec![] }, false, None),
            (Delegation::Unsigned { since }, false, Some(since)),
            (Delegation::Unsigned { since }, true, Some(at(11 * DAY + 300))),
        ] {
            assert_eq!(unsigned_at(&parent, had_ds, &HOLDS), expect, "{parent:?} {had_ds}");
        }
    }

    #[test]
    fn keys_grow_old() {
        let life = |stage| Life { role: Role::Zsk, stage, since: at(DAY) };
        let max = Duration::from_secs(90 * DAY);
        for (keys, role, expect) in [
            (&[life(Stage::Active)][..], Role::Zsk, Some(at(91 * DAY))),
            (&[life(Stage::Active)], Role::Ksk, None),
            (&[life(Stage::Active), life(Stage::Incoming)], Role::Zsk, None),
            (&[life(Stage::Active), life(Stage::Outgoing)], Role::Zsk, None),
            (&[], Role::Zsk, None),
        ] {
            assert_eq!(old_at(keys, role, max), expect, "{keys:?}");
        }
    }
}
