//! Whether there is room for one more connection, and whose place it may take.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::quotas::{Ceiling, Over, Quotas, SourcePermit};
use crate::source::SourceKey;

/// Sources that are counted in one shard of the quotas: with 64 shards a quarter of a million, in some 15 MB.
const COUNTED_MAX: usize = 4_096;

/// Of one worker. Those of a plane share the counts of sources; each has its own part of the plane's share, so that no
/// worker looks at what another writes.
pub struct Gate {
    inside: Arc<AtomicUsize>,
    room: usize,
    workers: usize,
    sources: Quotas<SourceKey>,
    ceiling: Ceiling,
}

/// Stands for a connection that was let in. Dropping it makes room for another.
pub struct Pass {
    _permit: SourcePermit,
    source: SourceKey,
    inside: Arc<AtomicUsize>,
}

/// Whose connection goes to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// One of the newcomer's own: it has some already, or as many as it may.
    Own(SourceKey),
    Anyones,
}

impl Whose {
    /// Whether this one's may go.
    pub fn includes(self, source: SourceKey) -> bool {
        match self {
            Whose::Own(own) => own == source,
            Whose::Anyones => true,
        }
    }
}

impl Gate {
    /// Gates for so many workers, which divide a share of connections; no worker has more than `worker_max`.
    pub fn divided(share: usize, workers: usize, worker_max: usize, ceiling: Ceiling, now: Instant) -> Vec<Gate> {
        let sources = Quotas::new(COUNTED_MAX, now);
        let room = (share / workers.max(1)).clamp(1, worker_max.max(1));
        let gate = || Gate { inside: Arc::default(), room, workers, sources: sources.clone(), ceiling };
        (0..workers).map(|_| gate()).collect()
    }

    /// One for a share that is not divided.
    pub fn single(share: usize, ceiling: Ceiling, now: Instant) -> Gate {
        let sources = Quotas::new(COUNTED_MAX, now);
        Gate { inside: Arc::default(), room: share.max(1), workers: 1, sources, ceiling }
    }

    /// Lets a connection in. Where there is no room for it, `displace` is asked to end one that is idle and to drop its
    /// pass; it says whether there was one.
    // Hot: once a connection. One shard of the quotas is locked twice, by nobody else for long.
    pub fn enter(&self, from: IpAddr, now: Instant, displace: impl FnOnce(Whose) -> bool) -> Result<Pass, Over> {
        // What the other workers have free is about what this one has: the kernel spreads connections evenly.
        let free = self.room.saturating_sub(self.inside()) * self.workers;
        let over = match self.sources.admit(from, self.ceiling, free, now) {
            Ok(permit) => return Ok(self.pass(from, permit)),
            Err(over @ (Over::Open | Over::Crowded | Over::Full)) => over,
            Err(over) => return Err(over),
        };
        let own = SourceKey::widest(from);
        let held = self.sources.open(own) as usize;
        // Who has as many as it may takes no other's place for one more.
        let whose = if over == Over::Full && held == 0 { Whose::Anyones } else { Whose::Own(own) };
        if !displace(whose) {
            return Err(over);
        }
        // One of its own went, so it has no more than before; or it is its first.
        self.sources.admit(from, self.ceiling, held.max(1), now).map(|permit| self.pass(from, permit))
    }

    /// A permit for the handshake of a connection that is in. They take a quarter of the room at most.
    pub fn shake_hands(&self, from: IpAddr, now: Instant) -> Result<SourcePermit, Over> {
        let most = u32::try_from((self.room * self.workers / 4).max(1)).unwrap_or(u32::MAX);
        let ceiling = Ceiling { handshakes: self.ceiling.handshakes.min(most), ..self.ceiling };
        self.sources.shake_hands_with(from, ceiling, now)
    }

    /// Connections that are in.
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    /// For how many there is room.
    pub fn room(&self) -> usize {
        self.room
    }

    fn pass(&self, from: IpAddr, permit: SourcePermit) -> Pass {
        self.inside.fetch_add(1, Ordering::Relaxed);
        Pass { _permit: permit, source: SourceKey::widest(from), inside: Arc::clone(&self.inside) }
    }
}

impl Pass {
    /// Who it was given to.
    pub fn source(&self) -> SourceKey {
        self.source
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const CEILING: Ceiling = Ceiling { open: 1_000, per_second: 1_000, handshakes: 100 };

    fn from(number: usize) -> IpAddr {
        IpAddr::from([192, 0, 2, number as u8])
    }

    fn nothing(_: Whose) -> bool {
        false
    }

    /// So many sources, each of which takes all it gets, in turn: what each has in the end.
    fn greedy(gate: &Gate, sources: usize) -> Vec<usize> {
        let mut passes: Vec<Vec<Pass>> = (0..sources).map(|_| Vec::new()).collect();
        loop {
            let mut entered = false;
            for (source, passes) in passes.iter_mut().enumerate() {
                if let Ok(pass) = gate.enter(from(source), Instant::now(), nothing) {
                    passes.push(pass);
                    entered = true;
                }
            }
            if !entered {
                return passes.iter().map(Vec::len).collect();
            }
        }
    }

    #[test]
    fn a_source_gets_no_more_than_is_left_for_others() {
        for (room, sources, each) in
            [(64, 1, 32), (64, 2, 21), (64, 3, 16), (64, 7, 8), (64, 63, 1), (64, 64, 1), (1, 1, 1)]
        {
            let gate = Gate::single(room, CEILING, Instant::now());
            let has = greedy(&gate, sources);
            let about = |has: &usize| has.abs_diff(each) <= 1;
            assert!(has.iter().all(about), "{sources} in {room}: {has:?}");
            assert_eq!(gate.inside(), 0, "all passes were dropped");
        }
        let gate = Gate::single(64, Ceiling { open: 5, ..CEILING }, Instant::now());
        assert_eq!(greedy(&gate, 2), [5, 5]);
    }

    #[test]
    fn a_share_is_divided() {
        let now = Instant::now();
        for (share, workers, worker_max, room) in [(64, 2, 100, 32), (64, 2, 20, 20), (1, 4, 9, 1), (0, 1, 9, 1)] {
            let gates = Gate::divided(share, workers, worker_max, CEILING, now);
            assert_eq!((gates.len(), gates[0].room()), (workers, room), "{share} {workers} {worker_max}");
        }
        // A source is counted over all workers.
        let gates = Gate::divided(64, 2, 100, Ceiling { open: 3, ..CEILING }, now);
        let passes: Vec<Pass> = (0..3).map(|at| gates[at % 2].enter(from(1), now, nothing).unwrap()).collect();
        assert_eq!(gates[1].enter(from(1), now, nothing).err(), Some(Over::Open));
        drop(passes);
    }

    /// Who has a place gives up one of its own; who has none takes one of another, if one is idle.
    #[test]
    fn whose_place_it_is() {
        let now = Instant::now();
        let gate = Gate::single(4, CEILING, now);
        let inside = RefCell::new(Vec::new());
        for source in [1, 1, 2, 3] {
            inside.borrow_mut().push((source, gate.enter(from(source), now, nothing).unwrap()));
        }
        let asked = RefCell::new(None);
        let displace = |whose: Whose| {
            *asked.borrow_mut() = Some(whose);
            let mut inside = inside.borrow_mut();
            let at = inside.iter().position(|(source, _)| match whose {
                Whose::Own(key) => key == SourceKey::widest(from(*source)),
                Whose::Anyones => true,
            });
            at.map(|at| inside.remove(at)).is_some()
        };
        for (source, whose, left) in [
            (1, Whose::Own(SourceKey::widest(from(1))), &[1, 2, 3, 1][..]),
            (9, Whose::Anyones, &[2, 3, 1, 9]),
            (2, Whose::Own(SourceKey::widest(from(2))), &[3, 1, 9, 2]),
        ] {
            let pass = gate.enter(from(source), now, displace).unwrap_or_else(|over| panic!("{source}: {over:?}"));
            inside.borrow_mut().push((source, pass));
            assert_eq!(asked.borrow_mut().take(), Some(whose));
            let has: Vec<usize> = inside.borrow().iter().map(|(source, _)| *source).collect();
            assert_eq!((has.as_slice(), gate.inside()), (left, 4));
        }
        assert_eq!(gate.enter(from(7), now, nothing).err(), Some(Over::Full));
    }

    /// Who comes too often does not even get to take a place.
    #[test]
    fn a_hurry_displaces_nobody() {
        let now = Instant::now();
        let gate = Gate::single(1, Ceiling { per_second: 2, ..CEILING }, now);
        for _ in 0..2 {
            drop(gate.enter(from(1), now, nothing).unwrap());
        }
        let _inside = gate.enter(from(2), now, nothing).unwrap();
        let over = gate.enter(from(1), now, |_| panic!("nobody has to go")).err();
        assert_eq!(over, Some(Over::Rate));
    }

    #[test]
    fn handshakes_take_a_quarter() {
        let now = Instant::now();
        let gate = Gate::single(16, CEILING, now);
        let shaking: Vec<_> = (0..9).map_while(|_| gate.shake_hands(from(1), now).ok()).collect();
        assert_eq!(shaking.len(), 4);
        assert!(gate.shake_hands(from(2), now).is_ok());
    }
}
