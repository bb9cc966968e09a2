//! Whose turn it is: all have one account at the authority, and nobody has all of it.
//!
//! Accounts take turns, and in each its zones. A zone has few calls under way, and an account not all that there are. What
//! is asked for is counted over time, by zone and by account; renewals that come by themselves are not.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use bartizan_names::{AccountId, Timestamp, ZoneId};

use crate::ca::later;

/// Calls that are under way at once for one zone.
const OF_ZONE_MAX: usize = 2;

/// And for one account, where there are others: some of all are left for who comes next, however slow these names are.
const OF_ACCOUNT_MAX: usize = 6;

/// What a zone may have ordered: so many at once, and one more each ten minutes. Enough for who tries things out, and
/// nothing for who does it in a loop.
const ZONE_ORDERS: (u32, Duration) = (20, Duration::from_secs(600));

/// What an account may have ordered of a public authority where there are other accounts: half of what Let's Encrypt takes
/// of all of us together (300 in three hours).
const ACCOUNT_ORDERS: (u32, Duration) = (150, Duration::from_secs(72));

/// Whose last turn is known. When there are more it begins anew.
const KNOWN_MAX: usize = 10_000;

/// Somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) account: AccountId,
    pub(super) zone: ZoneId,
}

/// Who else there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// There is more than one account.
    pub(super) by_accounts: bool,
    /// The authority is one that counts.
    pub(super) is_public: bool,
}

pub(super) struct Line {
    turn: u64,
    accounts: HashMap<AccountId, u64>,
    zones: HashMap<ZoneId, u64>,
    under_way: Vec<Waiting>,
    of_zones: Allowance<ZoneId>,
    of_accounts: Allowance<AccountId>,
}

impl Line {
    pub(super) fn new() -> Line {
        Line {
            turn: 0,
            accounts: HashMap::new(),
            zones: HashMap::new(),
            under_way: Vec::new(),
            of_zones: Allowance::new(ZONE_ORDERS),
            of_accounts: Allowance::new(ACCOUNT_ORDERS),
        }
    }

    /// Whose turn it is among those who wait: who had none for the longest time.
    pub(super) fn next(&mut self, waiting: &[Waiting], shared: Shared) -> Option<Waiting> {
        let has_room = |one: &&Waiting| {
            let of_zone = self.under_way.iter().filter(|other| other.zone == one.zone).count();
            let of_account = self.under_way.iter().filter(|other| other.account == one.account).count();
            of_zone < OF_ZONE_MAX && (!shared.by_accounts || of_account < OF_ACCOUNT_MAX)
        };
        let last = |one: &&Waiting| {
            let (account, zone) = (self.accounts.get(&one.account), self.zones.get(&one.zone));
            (account.copied().unwrap_or(0), zone.copied().unwrap_or(0))
        };
        let next = *waiting.iter().filter(has_room).min_by_key(last)?;
        self.turn += 1;
        if self.accounts.len() >= KNOWN_MAX || self.zones.len() >= KNOWN_MAX {
            self.accounts.clear();
            self.zones.clear();
        }
        self.accounts.insert(next.account, self.turn);
        self.zones.insert(next.zone, self.turn);
        Some(next)
    }

    /// An order is to be made; an error says when it may be, and why not now.
    pub(super) fn order(&mut self, who: Waiting, shared: Shared, now: Timestamp) -> Result<(), (Timestamp, String)> {
        let counts_accounts = shared.by_accounts && shared.is_public;
        if let Some(at) = self.of_zones.waits(who.zone, now) {
            return Err((at, told("zone", ZONE_ORDERS)));
        }
        if let Some(at) = self.of_accounts.waits(who.account, now).filter(|_| counts_accounts) {
            return Err((at, told("account", ACCOUNT_ORDERS)));
        }
        self.of_zones.take(who.zone, now);
        if counts_accounts {
            self.of_accounts.take(who.account, now);
        }
        Ok(())
    }

    pub(super) fn begun(&mut self, who: Waiting) {
        self.under_way.push(who);
    }

    pub(super) fn done(&mut self, who: Waiting) {
        if let Some(at) = self.under_way.iter().position(|other| *other == who) {
            self.under_way.swap_remove(at);
        }
    }
}

fn told(whose: &str, (most, each): (u32, Duration)) -> String {
    format!(
        "the {whose} has had its certificates for now: {most} at once, and one more each {} s, besides renewals",
        each.as_secs()
    )
}

/// So many at once, and one more after each time.
struct Allowance<K> {
    most: u32,
    each: Duration,
    /// When each has all of it again. Who is not here has.
    whole: HashMap<K, Timestamp>,
    /// When there are so many, those that have all again are forgotten. There are no more than were ordered meanwhile.
    forgets_at: usize,
}

impl<K: Eq + Hash> Allowance<K> {
    fn new((most, each): (u32, Duration)) -> Allowance<K> {
        Allowance { most, each, whole: HashMap::new(), forgets_at: KNOWN_MAX }
    }

    /// Until when there is none.
    fn waits(&self, key: K, now: Timestamp) -> Option<Timestamp> {
        let full = later(now, self.each * self.most);
        // A clock may have been ahead.
        let whole = self.whole.get(&key).copied().unwrap_or(now).clamp(now, full);
        let after = later(whole, self.each);
        let over = after.unix_micros().checked_sub(full.unix_micros()).filter(|over| *over > 0)?;
        Some(later(now, Duration::from_micros(over)))
    }

    fn take(&mut self, key: K, now: Timestamp) {
        if self.whole.len() >= self.forgets_at {
            self.whole.retain(|_, whole| *whole > now);
            self.forgets_at = KNOWN_MAX.max(2 * self.whole.len());
        }
        let full = later(now, self.each * self.most);
        let whole = self.whole.entry(key).or_insert(now);
        *whole = later((*whole).clamp(now, full), self.each).min(full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_micros((1_800_000_000 + seconds) * 1_000_000)
    }

    fn who(account: u8, zone: u8) -> Waiting {
        Waiting { account: AccountId::from_bytes([account; 16]), zone: ZoneId::from_bytes([zone; 16]) }
    }

    const MANY: Shared = Shared { by_accounts: true, is_public: true };
    const ALONE: Shared = Shared { by_accounts: false, is_public: true };

    #[test]
    fn accounts_and_zones_take_turns() {
        let mut line = Line::new();
        let waiting = [who(1, 1), who(1, 2), who(1, 3), who(2, 9)];
        let turns: Vec<Waiting> = (0..8).filter_map(|_| line.next(&waiting, MANY)).collect();
        let (one, other) = (|zone| who(1, zone), who(2, 9));
        assert_eq!(turns, [one(1), other, one(2), other, one(3), other, one(1), other]);
    }

    #[test]
    fn nobody_has_all_that_is_under_way() {
        let mut line = Line::new();
        let all: Vec<Waiting> = (1..=9).map(|zone| who(1, zone)).collect();
        let begin = |line: &mut Line, waiting: &[Waiting], shared| {
            std::iter::from_fn(|| line.next(waiting, shared).inspect(|next| line.begun(*next))).count()
        };
        assert_eq!(begin(&mut line, &all[..1], MANY), 2, "of one zone");
        assert_eq!(begin(&mut line, &all, MANY), 4, "of one account");
        assert_eq!(begin(&mut line, &[who(2, 20)], MANY), 2);
        assert_eq!(begin(&mut line, &all, ALONE), 12, "where there is no other");
        line.done(who(2, 20));
        assert_eq!(begin(&mut line, &[who(2, 20)], MANY), 1);
    }

    #[test]
    fn what_is_ordered_is_counted_over_time() {
        let mut line = Line::new();
        for _ in 0..20 {
            line.order(who(1, 1), MANY, at(0)).unwrap();
        }
        let (until, why) = line.order(who(1, 1), MANY, at(0)).unwrap_err();
        assert_eq!(until, at(600));
        assert!(why.starts_with("the zone has had its certificates for now: 20 at once"), "{why}");
        assert_eq!(line.order(who(1, 1), MANY, at(599)).unwrap_err().0, at(600));
        line.order(who(1, 1), MANY, at(600)).unwrap();
        assert_eq!(line.order(who(1, 1), MANY, at(600)).unwrap_err().0, at(1_200));
        // Another zone of the account goes on, until the account has had enough.
        let more = (2..=200).map_while(|zone| line.order(who(1, zone), MANY, at(600)).ok()).count();
        assert_eq!(more, 150 - 21 + 8, "and 8 that came again in ten minutes");
        line.order(who(2, 250), MANY, at(600)).unwrap();
        line.order(who(1, 201), ALONE, at(600)).unwrap();
        line.order(who(1, 202), Shared { is_public: false, ..MANY }, at(600)).unwrap();
        // A clock that was ahead holds nobody up for longer.
        for _ in 0..20 {
            line.order(who(3, 3), MANY, at(9_000_000)).unwrap();
        }
        assert_eq!(line.order(who(3, 3), MANY, at(0)).unwrap_err().0, at(600));
    }
}
