//! Which name is asked for next: those that are due, in the order in which they became so. Names of which nothing comes back
//! hold their places for long, so each kind of names and each domain has its share of them.
//!
//! It reads no clock and asks nobody.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Names that are followed: some 400 bytes each. Those that are too many stay unknown.
const NAMES_MAX: usize = 10_000;

/// How many of them may lie in one domain. What has been answered is then never too much: the room is not let go of.
const DOMAIN_NAMES_MAX: usize = NAMES_MAX / 2;

/// Names that are asked for at the same time. Each may hold two sockets, for ten seconds where nobody answers.
const ASKED_AT_ONCE: usize = 64;

/// How many of those have no answer yet: the others are for names that have one, which must not grow old.
const ASKED_WITHOUT_ANSWER: usize = 48;

/// And how many of these were asked for in vain before.
const ASKED_IN_VAIN: usize = 16;

/// How soon a name is asked for again after nobody answered: each time after twice as long, up to the second figure. One
/// with a good answer can wait longer at first; whoever waits for one that comes to life does so for minutes at most.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(240));
const AGAIN_AFTER_NOTHING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(600));

/// The names that are followed.
#[derive(Default)]
pub(super) struct Turns {
    names: HashMap<Arc<[u8]>, Followed>,
    lanes: [Lane; 3],
}

#[derive(Clone, Copy)]
struct Followed {
    /// When it is to be asked for. None while it is.
    due: Option<Instant>,
    has_answer: bool,
    /// How often nobody answered in a row.
    tries: u32,
}

/// Names of a kind that wait, and those that are being asked for.
#[derive(Default)]
struct Lane {
    due: BTreeSet<(Instant, Arc<[u8]>)>,
    asked: usize,
    /// By the domain of the name.
    asked_in: HashMap<Box<[u8]>, usize>,
}

/// Kinds of names, the most urgent first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Answered,
    New,
    InVain,
}

/// A name whose turn it is. It goes back by [`Turns::answered`] or [`Turns::failed`].
pub(super) struct Turn {
    pub(super) name: Arc<[u8]>,
    kind: Kind,
}

/// What became of the names that are wanted.
pub(super) struct Chosen {
    /// Followed until now.
    pub(super) gone: Vec<Arc<[u8]>>,
    pub(super) left_out: usize,
}

impl Turns {
    /// Takes up the names that are needed now (wire bytes), and forgets the others.
    pub(super) fn choose(&mut self, wanted: HashSet<&[u8]>, now: Instant) -> Chosen {
        let wanted_count = wanted.len();
        let wanted = self.fitting(wanted);
        let gone: Vec<Arc<[u8]>> = self.names.keys().filter(|name| !wanted.contains(&***name)).cloned().collect();
        for name in &gone {
            self.forget(name);
        }
        for &name in &wanted {
            if !self.names.contains_key(name) {
                self.put(name.into(), Followed { due: Some(now), has_answer: false, tries: 0 });
            }
        }
        Chosen { gone, left_out: wanted_count - wanted.len() }
    }

    /// As many as there is room for: those with an answer, then one of each domain after the other.
    fn fitting<'n>(&self, wanted: HashSet<&'n [u8]>) -> HashSet<&'n [u8]> {
        if wanted.len() <= DOMAIN_NAMES_MAX {
            return wanted;
        }
        let standing = |name: &[u8]| match self.names.get(name) {
            Some(followed) if followed.has_answer => 0,
            Some(_) => 1,
            None => 2,
        };
        let mut ordered: Vec<(u8, &[u8])> = wanted.into_iter().map(|name| (standing(name), name)).collect();
        ordered.sort_unstable();
        let mut in_domain: HashMap<&[u8], usize> = HashMap::new();
        let ranked = ordered.into_iter().map(|(standing, name)| {
            let count = in_domain.entry(domain(name)).or_default();
            *count += 1;
            (standing != 0, *count, name)
        });
        let mut ranked: Vec<(bool, usize, &[u8])> = ranked.filter(|(_, rank, _)| *rank <= DOMAIN_NAMES_MAX).collect();
        ranked.sort_unstable();
        ranked.into_iter().take(NAMES_MAX).map(|(_, _, name)| name).collect()
    }

    /// The name whose turn it is, if there is a place for one.
    pub(super) fn next(&mut self, now: Instant) -> Option<Turn> {
        let (kind, name) = Kind::ALL.into_iter().find_map(|kind| Some((kind, self.first(kind, now)?)))?;
        if let Some(followed) = self.names.get_mut(&name) {
            let due = followed.due.take();
            due.map(|due| self.lanes[kind as usize].due.remove(&(due, Arc::clone(&name))));
        }
        let lane = &mut self.lanes[kind as usize];
        lane.asked += 1;
        *lane.asked_in.entry(domain(&name).into()).or_default() += 1;
        Some(Turn { name, kind })
    }

    /// The first name of a kind that is due. No domain has more places than it leaves free for others.
    fn first(&self, kind: Kind, now: Instant) -> Option<Arc<[u8]>> {
        let asked = |kinds: &[Kind]| kinds.iter().map(|kind| self.lanes[*kind as usize].asked).sum::<usize>();
        let free = Kind::ALL.iter().enumerate().take(kind as usize + 1).map(|(at, outer)| {
            let all = [ASKED_AT_ONCE, ASKED_WITHOUT_ANSWER, ASKED_IN_VAIN][*outer as usize];
            all.saturating_sub(asked(&Kind::ALL[at..]))
        });
        let free = free.min().unwrap_or_default();
        let lane = &self.lanes[kind as usize];
        let has_place = |name: &[u8]| lane.asked_in.get(domain(name)).is_none_or(|asked| *asked < free);
        // No more steps than there are names, and only while a domain with many that are due waits for a place.
        let due = lane.due.iter().take_while(|(due, _)| free > 0 && *due <= now);
        due.map(|(_, name)| name).find(|name| has_place(name)).cloned()
    }

    /// There is an answer, which is kept for so long. Whether it is the name's first one; None if nobody needs it any more.
    pub(super) fn answered(&mut self, turn: &Turn, kept: Duration, now: Instant) -> Option<bool> {
        self.leave(turn);
        let is_first = !self.names.get(&turn.name)?.has_answer;
        self.put(Arc::clone(&turn.name), Followed { due: Some(now + kept), has_answer: true, tries: 0 });
        Some(is_first)
    }

    /// Nobody answered. What was known stays.
    pub(super) fn failed(&mut self, turn: &Turn, now: Instant) {
        self.leave(turn);
        let Some(&Followed { has_answer, tries, .. }) = self.names.get(&turn.name) else { return };
        let (first, most) = if has_answer { AGAIN_AFTER } else { AGAIN_AFTER_NOTHING };
        let wait = first.saturating_mul(1 << tries.min(16)).min(most);
        self.put(
            Arc::clone(&turn.name),
            Followed { due: Some(now + wait), has_answer, tries: tries.saturating_add(1) },
        );
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Names that have an answer.
    pub(super) fn answered_count(&self) -> usize {
        self.names.values().filter(|followed| followed.has_answer).count()
    }

    fn put(&mut self, name: Arc<[u8]>, followed: Followed) {
        self.forget(&name);
        if let Some(due) = followed.due {
            self.lanes[followed.kind() as usize].due.insert((due, Arc::clone(&name)));
        }
        self.names.insert(name, followed);
    }

    fn forget(&mut self, name: &Arc<[u8]>) {
        if let Some(followed) = self.names.remove(name)
            && let Some(due) = followed.due
        {
            self.lanes[followed.kind() as usize].due.remove(&(due, Arc::clone(name)));
        }
    }

    /// Its place is free again, whether or not the name is needed.
    fn leave(&mut self, turn: &Turn) {
        let lane = &mut self.lanes[turn.kind as usize];
        lane.asked = lane.asked.saturating_sub(1);
        let domain = domain(&turn.name);
        if let Some(asked) = lane.asked_in.get_mut(domain) {
            *asked = asked.saturating_sub(1);
            if *asked == 0 {
                lane.asked_in.remove(domain);
            }
        }
    }
}

impl Followed {
    fn kind(&self) -> Kind {
        match (self.has_answer, self.tries) {
            (true, _) => Kind::Answered,
            (false, 0) => Kind::New,
            (false, _) => Kind::InVain,
        }
    }
}

impl Kind {
    /// In their order; each is counted among those before it.
    const ALL: [Kind; 3] = [Kind::Answered, Kind::New, Kind::InVain];
}

/// The last two labels of a name in wire form: who has one seldom has the other.
fn domain(name: &[u8]) -> &[u8] {
    let (mut last, mut at) = ([0; 2], 0);
    while let Some(len) = name.get(at).copied().filter(|len| *len > 0) {
        last = [last[1], at];
        at += 1 + usize::from(len);
    }
    name.get(last[0]..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bartizan_names::Name;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn name(text: &str) -> Box<[u8]> {
        Name::parse(text).unwrap().as_wire().into()
    }

    fn choose(turns: &mut Turns, names: &[Box<[u8]>], now: Instant) -> Chosen {
        turns.choose(names.iter().map(|name| &**name).collect(), now)
    }

    /// The names that are asked for in so many seconds, in their order. Those in `alive` answer at once and for 30 s; each of
    /// the others holds its place for 10 s.
    fn asked(turns: &mut Turns, alive: &[Box<[u8]>], from: Instant, seconds: u32) -> Vec<Box<[u8]>> {
        let mut asked: Vec<Box<[u8]>> = Vec::new();
        let mut held: Vec<(Instant, Turn)> = Vec::new();
        for now in (0..seconds).map(|second| from + SECOND * second) {
            for (_, turn) in held.extract_if(.., |(until, _)| *until <= now).collect::<Vec<_>>() {
                turns.failed(&turn, now);
            }
            while let Some(turn) = turns.next(now) {
                asked.push((*turn.name).into());
                if alive.iter().any(|alive| **alive == *turn.name) {
                    turns.answered(&turn, SECOND * 30, now);
                } else {
                    held.push((now + SECOND * 10, turn));
                }
            }
            assert!(held.len() <= ASKED_AT_ONCE);
        }
        for (_, turn) in held {
            turns.failed(&turn, from + SECOND * seconds);
        }
        asked
    }

    #[test]
    fn silent_names_hold_nobody_up() {
        for (what, domains) in [("of one domain", 1), ("of many", 80)] {
            let begun = Instant::now();
            let mut turns = Turns::default();
            let silent: Vec<_> = (0..80).map(|at| name(&format!("n{at}.dead{}.test", at % domains))).collect();
            choose(&mut turns, &silent, begun);
            let before = asked(&mut turns, &[], begun, 600);
            // Ever more seldom: after 2 s they would be asked for 50 times each.
            assert!((80 * 3..80 * 10).contains(&before.len()), "{what}: {}", before.len());

            // Two that answer, while all the others are due at once.
            let late = begun + SECOND * 4_000;
            let good = [name("good.example"), name("good.dead0.test")];
            let all: Vec<_> = silent.iter().chain(&good).cloned().collect();
            assert_eq!(choose(&mut turns, &all, late).left_out, 0);
            let after = asked(&mut turns, &good, late, 600);
            for good in &good {
                assert!(after.iter().take(2).any(|name| name == good), "{what}");
                // And again whenever the answer ends.
                assert_eq!(after.iter().filter(|name| *name == good).count(), 20, "{what}");
            }
        }
    }

    #[test]
    fn a_new_name_waits_for_no_other_domain() {
        let begun = Instant::now();
        let mut turns = Turns::default();
        let silent: Vec<_> = (0..2_000).map(|at| name(&format!("n{at}.dead.test"))).collect();
        choose(&mut turns, &silent, begun);
        asked(&mut turns, &[], begun, 1);
        let good = name("good.example");
        let all: Vec<_> = silent.iter().chain([&good]).cloned().collect();
        choose(&mut turns, &all, begun + SECOND);
        let asked = asked(&mut turns, std::slice::from_ref(&good), begun + SECOND, 1);
        assert!(asked.iter().take(ASKED_AT_ONCE).any(|name| *name == good));
    }

    #[test]
    fn no_domain_has_all_names() {
        let now = Instant::now();
        let mut turns = Turns::default();
        let many: Vec<_> = (0..3 * NAMES_MAX).map(|at| name(&format!("n{at}.many.test"))).collect();
        let left_out = choose(&mut turns, &many, now).left_out;
        assert_eq!((turns.len(), left_out), (DOMAIN_NAMES_MAX, 3 * NAMES_MAX - DOMAIN_NAMES_MAX));
        let few: Vec<_> = (0..9).map(|at| name(&format!("a.few{at}.test"))).collect();
        let answered = asked(&mut turns, &many, now, 1).len();
        assert_eq!((answered, turns.answered_count()), (DOMAIN_NAMES_MAX, DOMAIN_NAMES_MAX));

        // Many domains with a few names each: what has an answer stays, and each has some.
        let others: Vec<_> = (0..20_000).map(|at| name(&format!("n{at}.d{}.test", at % 4_000))).collect();
        let all: Vec<_> = others.iter().chain(&many).chain(&few).cloned().collect();
        let chosen = choose(&mut turns, &all, now + SECOND);
        assert!(chosen.gone.is_empty());
        assert_eq!((turns.len(), turns.answered_count()), (NAMES_MAX, DOMAIN_NAMES_MAX));
        assert!(few.iter().all(|few| turns.names.contains_key(&**few)));

        // What is needed no more goes, also while it is asked for.
        let turn = turns.next(now + SECOND).unwrap();
        assert_eq!(choose(&mut turns, &[], now).gone.len(), NAMES_MAX);
        assert_eq!(turns.answered(&turn, SECOND, now), None);
        assert!(turns.lanes.iter().all(|lane| lane.due.is_empty() && lane.asked == 0 && lane.asked_in.is_empty()));
    }

    #[test]
    fn domains() {
        for (of, expect) in [("a.b.c.d", "c.d"), ("c.d", "c.d"), ("d", "d"), (".", ".")] {
            assert_eq!(domain(&name(of)), &*name(expect), "{of}");
        }
    }
}
