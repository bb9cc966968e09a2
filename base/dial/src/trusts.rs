//! TLS towards origins of zones that have authorities or certificates of their own, ready to be used.

use std::cell::RefCell;
use std::collections::HashMap;

use bartizan_tls::{Identity, TlsError};

use crate::OriginTls;

/// Sets of authorities and certificates that a worker has ready: some 300 KB each beside many authorities of the machine. One more
/// takes the place of the one that has been unused for longest, which is made again when it is asked for.
const READY_MAX: usize = 64;

/// What a zone has of its own for its origins.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnTls<'z> {
    /// Authorities, as PEM, and what tells them from others.
    pub roots: Option<(&'z str, [u8; 32])>,
    /// What origins are shown.
    pub identity: Option<&'z Identity>,
}

/// What tells it from what another zone has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnSums {
    roots: Option<[u8; 32]>,
    identity: Option<[u8; 32]>,
}

impl OwnTls<'_> {
    pub fn sums(&self) -> OwnSums {
        OwnSums { roots: self.roots.map(|(_, sum)| sum), identity: self.identity.map(|identity| *identity.sum()) }
    }

    fn is_nothing(&self) -> bool {
        self.roots.is_none() && self.identity.is_none()
    }
}

/// For one worker: what it takes to speak TLS, made of what zones have, while their origins are asked. What the machine trusts is
/// read once for all of them.
pub struct Trusts<T> {
    machine: OriginTls,
    make: fn(OriginTls) -> T,
    of_machine: T,
    by_sums: RefCell<HashMap<OwnSums, Kept<T>>>,
}

struct Kept<T> {
    made: T,
    /// How many looks have seen it unused.
    sweeps: u64,
}

impl<T: Clone> Trusts<T> {
    pub fn new(machine: OriginTls, make: fn(OriginTls) -> T) -> Trusts<T> {
        Trusts { of_machine: make(machine.clone()), machine, make, by_sums: RefCell::default() }
    }

    /// For an origin of a zone that has this of its own.
    pub fn of(&self, own: OwnTls<'_>) -> Result<T, TlsError> {
        if own.is_nothing() {
            return Ok(self.of_machine.clone());
        }
        let sums = own.sums();
        let mut by_sums = self.by_sums.borrow_mut();
        if let Some(kept) = by_sums.get_mut(&sums) {
            kept.sweeps = 0;
            return Ok(kept.made.clone());
        }
        if by_sums.len() >= READY_MAX {
            // Its sessions are lost, and nothing else.
            let unused = by_sums.iter().max_by_key(|(_, kept)| kept.sweeps).map(|(sums, _)| *sums);
            unused.into_iter().for_each(|sums| drop(by_sums.remove(&sums)));
        }
        let trusting = own.roots.map(|(pem, _)| self.machine.trusting(pem)).transpose()?;
        let tls = trusting.as_ref().unwrap_or(&self.machine);
        let showing = own.identity.map(|identity| tls.showing(identity)).transpose()?;
        let made = (self.make)(showing.or(trusting).unwrap_or_else(|| self.machine.clone()));
        by_sums.insert(sums, Kept { made: made.clone(), sweeps: 0 });
        Ok(made)
    }

    /// To be called now and then: what so many calls have seen unused is forgotten.
    pub fn sweep(&self, sweeps_max: u64) {
        self.by_sums.borrow_mut().retain(|_, kept| {
            kept.sweeps += 1;
            kept.sweeps < sweeps_max
        });
    }
}
