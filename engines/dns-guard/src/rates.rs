//! Who was answered how often, within memory that does not grow.
//!
//! An account is one number: the moment from which on it owes nothing. Each answer moves that on by its price, and is
//! sent if the account is then no more than a second ahead of now. That is a bucket that holds a second's worth and
//! fills all the time (known as GCRA), in eight bytes and without a division. An answer that is held back costs nothing:
//! whoever asks too often gets what is allowed, and no less.
//!
//! Accounts lie in lines of four, a cache line each. In a full line a new account takes the place of the one that owes least:
//! mostly nothing, and then nothing is forgotten.

use std::fmt;
use std::hint::black_box;
use std::net::IpAddr;

use bartizan_names::Prefix;

use crate::limits::{Limits, Rate, SECOND};

/// What an answer is, for its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name has what was asked for. Counted for each name.
    Answer,
    /// A wildcard has, for a name that anybody can make up. Counted for each zone.
    Wildcard,
    /// The name or the type is not there. Counted for each zone, as these names are made up too.
    Denial,
    /// The zone is served elsewhere. Counted for each delegation.
    Referral,
    /// Anything else, counted together.
    Error,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Answer, Kind::Wildcard, Kind::Denial, Kind::Referral, Kind::Error];
}

/// An answer that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    pub kind: Kind,
    /// Which name, zone or delegation it is counted by (see [`Kind`]): any number that no other of its kind has.
    pub subject: u64,
    /// Bytes of the answer beyond those of its query.
    pub excess: usize,
}

/// What an account is of: the limits by their names, in the order of [`Held::by_limit`].
pub(crate) const LIMIT_NAMES: [&str; LIMITS] = ["answers", "wildcards", "denials", "referrals", "errors", "bytes"];

const LIMITS: usize = Kind::ALL.len() + 1;
pub(crate) const BYTES: usize = LIMITS - 1;

/// How many answers were held back since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    limits: [[u64; 2]; LIMITS],
    /// Accounts that lost their place while they owed something: a sign that the table is too small for what comes.
    pub displaced: u64,
}

impl Held {
    /// How many limits there are.
    pub const LIMITS: usize = LIMITS;

    /// Each limit with how many answers over it were short ones, and how many were dropped.
    pub fn by_limit(&self) -> impl Iterator<Item = (&'static str, [u64; 2])> {
        LIMIT_NAMES.into_iter().zip(self.limits)
    }
}

/// What is to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// A short one in its place: truncated, or BADCOOKIE for whoever showed a cookie that proves nothing.
    Slip,
    Drop,
}

/// 1 MB: 65,536 accounts. That many networks and names at once are a flood, of which only the busiest matter.
const LINES: usize = 16_384;
const LINE_ACCOUNTS: usize = 4;

/// Above the bits of a network.
const LIMIT_SHIFT: u32 = 57;

/// The accounts of one worker.
pub struct Rates {
    lines: Box<[Line]>,
    keys: [u64; 2],
    held: Held,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([Account; LINE_ACCOUNTS]);

#[derive(Clone, Copy)]
struct Account {
    /// The upper half of its hash. An account that nobody has owes nothing, so it needs no mark.
    tag: u32,
    /// How many of its answers were over the limit.
    over: u32,
    /// Nanoseconds of the caller's clock.
    owes_until: u64,
}

const UNUSED: Account = Account { tag: 0, over: 0, owes_until: 0 };

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Rates {
    /// `keys` are random: whoever knew them could make accounts of others fall together.
    pub fn new(keys: [u64; 2]) -> Rates {
        Rates { lines: vec![Line([UNUSED; LINE_ACCOUNTS]); LINES].into(), keys, held: Held::default() }
    }

    /// Whether an answer may go to `source`. `now` is in nanoseconds of any clock that does not go back; one look a batch is
    /// enough.
    ///
    /// Hot: once an answer over UDP without a valid cookie. No allocation; two cache lines.
    pub fn judge(&mut self, limits: &Limits, source: IpAddr, answer: Answered, now: u64) -> Verdict {
        if limits.spare(source) {
            return Verdict::Send;
        }
        let network = network(source);
        let subject = if answer.kind == Kind::Error { 0 } else { answer.subject };
        let one = self.take(limits, answer.kind as usize, (network, subject), 1, now);
        if one != Verdict::Send || answer.excess == 0 {
            return one;
        }
        self.take(limits, BYTES, (network, 0), answer.excess as u64, now)
    }

    /// Loads the accounts that answers to these sources will be counted in, if each has the name with that number: the waits
    /// for memory overlap, unlike in [`Rates::judge`].
    ///
    /// Hot: once a batch. No allocation.
    pub fn load(&self, limits: &Limits, asked: impl Iterator<Item = (IpAddr, u64)>) {
        for (source, name) in asked.filter(|(source, _)| !limits.spare(*source)) {
            let network = network(source);
            for (limit, subject) in [(Kind::Answer as usize, name), (BYTES, 0)] {
                let Line([Account { owes_until, .. }, ..]) =
                    self.lines[self.key(limit, network, subject) as usize % LINES];
                black_box(owes_until);
            }
        }
    }

    /// What was held back so far.
    pub fn held(&self) -> &Held {
        &self.held
    }

    fn take(&mut self, limits: &Limits, limit: usize, (network, subject): (u64, u64), price: u64, now: u64) -> Verdict {
        let rate = limits.rate(limit);
        if rate.is_none() {
            return Verdict::Send;
        }
        let key = self.key(limit, network, subject);
        let verdict = self.account(key, now).take(rate, price, now, limits.slip());
        match verdict {
            Verdict::Send => {}
            Verdict::Slip => self.held.limits[limit][0] += 1,
            Verdict::Drop => self.held.limits[limit][1] += 1,
        }
        verdict
    }

    fn key(&self, limit: usize, network: u64, subject: u64) -> u64 {
        // A network has bits to spare for the limit.
        self.hash(network | (limit as u64) << LIMIT_SHIFT, subject)
    }

    fn hash(&self, network: u64, subject: u64) -> u64 {
        let [one, other] = self.keys;
        let product = u128::from(network ^ one) * u128::from(subject ^ other);
        let folded = (product as u64) ^ (product >> 64) as u64;
        // Line and tag are taken from both ends.
        folded ^ (folded >> 29).wrapping_mul(one | 1)
    }

    fn account(&mut self, key: u64, now: u64) -> &mut Account {
        let Line(accounts) = &mut self.lines[key as usize % LINES];
        let tag = (key >> 32) as u32;
        let mut place = 0;
        for (at, account) in accounts.iter().enumerate() {
            if account.tag == tag {
                return &mut accounts[at];
            }
            if account.owes_until < accounts[place].owes_until {
                place = at;
            }
        }
        self.held.displaced += u64::from(accounts[place].owes_until > now);
        accounts[place] = Account { tag, ..UNUSED };
        &mut accounts[place]
    }
}

impl Account {
    fn take(&mut self, rate: Rate, price: u64, now: u64, slip: u32) -> Verdict {
        let owes_until = self.owes_until.max(now).saturating_add(rate.each.saturating_mul(price));
        if owes_until <= now.saturating_add(SECOND) {
            self.owes_until = owes_until;
            return Verdict::Send;
        }
        let over = self.over;
        self.over = over.wrapping_add(1);
        // The first is a short one: an honest client that is a little over has lost no time.
        if slip != 0 && over.is_multiple_of(slip) { Verdict::Slip } else { Verdict::Drop }
    }
}

/// What is counted as one: an IPv4 /24, an IPv6 /56, as all the other servers have it. 57 bits are used.
const V4_BITS: u8 = 24;
const V6_BITS: u8 = 56;

fn network(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(address) => 1 << V6_BITS | u64::from(address.to_bits() >> (32 - V4_BITS)),
        IpAddr::V6(address) => (address.to_bits() >> (128 - V6_BITS)) as u64,
    }
}

/// The same, as people write it.
pub(crate) fn prefix(source: IpAddr) -> Option<Prefix> {
    let source = source.to_canonical();
    Prefix::new(source, if source.is_ipv4() { V4_BITS } else { V6_BITS }).ok()
}
