//! How many signatures are made, and for whom.
//!
//! A signature costs as much as fifty answers. Whoever asks for random names makes us sign each time, so this work is
//! rationed by source and in all, and what is over the ration is not signed. Signatures that are kept already cost no
//! ration, and those of names that exist have one of their own: a flood of random names takes nothing from them.
//!
//! A source whose address may be forged has another ration than the same one with a proof, so that nobody can use up
//! what belongs to somebody else. One that is at the other end of a connection has a large one, for whoever was told to come
//! back by a connection must get an answer there: a part of what there is for all, so that one alone cannot take everything.

use std::net::IpAddr;
use std::time::Duration;

use crate::fingerprint::Fingerprint;
use crate::signer::Lasting;

/// Signatures that one worker makes in a second. A burst may have as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// For all sources, of names that exist.
    pub lasting: u32,
    /// For all sources, of names that only the question made.
    pub passing: u32,
    /// For one source, of each, and as much again for who proves that it is this source. By connections it has a quarter of
    /// what is for all, if that is more.
    pub source: u32,
}

/// It takes so many sources with real addresses to use up what is there for all.
const CONNECTED_SOURCES: u32 = 4;

impl Default for Budget {
    /// About half of a core at some twenty microseconds a signature, a fifth of it for random names, and a tenth of that for
    /// one source.
    fn default() -> Budget {
        Budget { lasting: 20_000, passing: 10_000, source: 1_000 }
    }
}

impl Budget {
    /// No bound: for measurements.
    pub const UNLIMITED: Budget = Budget { lasting: u32::MAX, passing: u32::MAX, source: u32::MAX };
}

/// What says that a query came from the address that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: it may be forged.
    Claimed,
    /// A cookie that was sent there before.
    Proven,
    /// The connection by which it came.
    Connected,
}

/// Who asks: one network, as far as we can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    network: u64,
    origin: Origin,
}

impl Source {
    /// A network of 256 IPv4 addresses or an IPv6 site of 256 networks: who has one address of it may use the others.
    pub fn of(address: IpAddr, origin: Origin) -> Source {
        let network = match address.to_canonical() {
            IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
            IpAddr::V6(v6) => (v6.to_bits() >> 72) as u64 | 1 << 63,
        };
        Source { network, origin }
    }
}

/// Slots for sources. Two that meet in one share a ration, which with some thousand active sources is seldom.
const SOURCES: usize = 1 << 14;

const SECOND: u64 = 1_000_000_000;

/// The rations of one worker.
#[derive(Debug)]
pub(crate) struct Rations {
    budget: Budget,
    seed: u64,
    /// Nanoseconds.
    now: u64,
    lasting: Meter,
    passing: Meter,
    sources: Box<[Meter]>,
}

impl Rations {
    pub(crate) fn new(budget: Budget, seed: u64) -> Rations {
        Rations {
            budget,
            seed,
            now: 0,
            lasting: Meter::default(),
            passing: Meter::default(),
            sources: vec![Meter::default(); SOURCES].into(),
        }
    }

    /// `now` is the time since any moment, which never goes back.
    pub(crate) fn advance(&mut self, now: Duration) {
        // A century is enough.
        self.now = now.min(Duration::from_secs(u32::MAX.into())).as_nanos() as u64;
    }

    /// Whether one more signature may be made; if so it counts.
    pub(crate) fn take(&mut self, source: Source, lasting: Lasting) -> bool {
        let (all, rate) = match lasting {
            Lasting::Yes => (&mut self.lasting, self.budget.lasting),
            Lasting::No => (&mut self.passing, self.budget.passing),
        };
        if !all.has_room(self.now) {
            return false;
        }
        let own_rate = match source.origin {
            Origin::Claimed | Origin::Proven => self.budget.source,
            Origin::Connected => self.budget.source.max(rate / CONNECTED_SOURCES),
        };
        let sort = (source.origin as u64) << 1 | u64::from(lasting == Lasting::Yes);
        let slot = Fingerprint::begin(self.seed, source.network).number(sort).0[0] as usize % SOURCES;
        let own = &mut self.sources[slot];
        if !own.has_room(self.now) {
            return false;
        }
        own.count(self.now, own_rate);
        all.count(self.now, rate);
        true
    }
}

/// When all that was taken would be paid for, in nanoseconds: the leaky bucket as a meter (ITU-T I.371, the virtual
/// scheduling form). Zero is an empty one.
#[derive(Clone, Copy, Debug, Default)]
struct Meter(u64);

impl Meter {
    /// A second's worth may be taken ahead.
    fn has_room(self, now: u64) -> bool {
        self.0 < now + SECOND
    }

    fn count(&mut self, now: u64, per_second: u32) {
        self.0 = self.0.max(now) + SECOND.div_ceil(u64::from(per_second.max(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address, with `cookie` or `connection` behind it if that proves it.
    fn source(text: &str) -> Source {
        let (address, proof) = text.split_once(' ').unwrap_or((text, ""));
        let origin = match proof {
            "cookie" => Origin::Proven,
            "connection" => Origin::Connected,
            _ => Origin::Claimed,
        };
        Source::of(address.parse().unwrap(), origin)
    }

    /// How many of so many tries are granted.
    fn granted(rations: &mut Rations, who: &str, lasting: Lasting, tries: usize) -> usize {
        (0..tries).filter(|_| rations.take(source(who), lasting)).count()
    }

    #[test]
    fn rations_by_source_and_in_all() {
        let mut rations = Rations::new(Budget { lasting: 100, passing: 17, source: 10 }, 7);
        rations.advance(Duration::from_secs(9));
        for (what, who, lasting, expect) in [
            ("one source", "192.0.2.1", Lasting::No, 10),
            ("its neighbour has the same ration", "192.0.2.200", Lasting::No, 0),
            ("another for names that exist", "192.0.2.1", Lasting::Yes, 10),
            ("one that it proves to be is another source", "192.0.2.1 cookie", Lasting::No, 7),
            ("nothing is left for random names", "2001:db8::1", Lasting::No, 0),
            ("not even by a connection", "2001:db8::1 connection", Lasting::No, 0),
            ("but for names that exist", "2001:db8::1", Lasting::Yes, 10),
            ("a site is one source", "2001:db8:0:ff::1", Lasting::Yes, 0),
            ("another site", "2001:db8:0:100::1", Lasting::Yes, 10),
            ("an IPv4 address in disguise", "::ffff:192.0.2.9", Lasting::Yes, 0),
            ("whom a cookie proves", "192.0.2.1 cookie", Lasting::Yes, 10),
            ("and no more than others", "192.0.2.1 cookie", Lasting::Yes, 0),
            ("a connection has more", "192.0.2.1 connection", Lasting::Yes, 25),
            ("and no more than its part", "192.0.2.200 connection", Lasting::Yes, 0),
            ("so that others have theirs", "198.51.100.1 connection", Lasting::Yes, 25),
            ("of what is left for all", "203.0.113.1 connection", Lasting::Yes, 10),
        ] {
            assert_eq!(granted(&mut rations, who, lasting, 50), expect, "{what}");
        }
        rations.advance(Duration::from_millis(9_500));
        assert_eq!(granted(&mut rations, "192.0.2.1", Lasting::No, 50), 5, "half a second later");
        rations.advance(Duration::from_secs(1_000_000));
        assert_eq!(granted(&mut rations, "192.0.2.1", Lasting::No, 50), 10, "long after");
    }

    #[test]
    fn no_bound() {
        let mut rations = Rations::new(Budget::UNLIMITED, 7);
        assert_eq!(granted(&mut rations, "192.0.2.1", Lasting::No, 100_000), 100_000);
    }
}
