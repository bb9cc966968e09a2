//! TLS towards origins of zones that trust authorities of their own.

use std::cell::RefCell;
use std::collections::HashMap;

use bartizan_dial::OriginTls;
use bartizan_policy::OriginRoots;
use bartizan_tls::TlsError;

use super::http2;
use crate::limits::{SWEEPS_MAX, TRUSTS_MAX};

/// The other version that origins are offered (RFC 7301).
pub(super) const HTTP1: &[u8] = b"http/1.1";

/// What an origin is offered, and how it is judged.
#[derive(Clone)]
pub(super) struct Offers {
    pub(super) http1: OriginTls,
    /// The same, with an offer of HTTP/2.
    pub(super) both: OriginTls,
}

impl Offers {
    /// `http1` offers HTTP/1.1 alone.
    pub(super) fn new(http1: OriginTls) -> Offers {
        let both = http1.offering(&[http2::ALPN, HTTP1]);
        Offers { http1, both }
    }
}

/// Those of the zones whose origins are asked, by their authorities. What the machine trusts is read once for all of them.
pub(super) struct Trusts {
    machine: Offers,
    by_sum: RefCell<HashMap<[u8; 32], Kept>>,
}

struct Kept {
    offers: Offers,
    /// How many looks have seen it unused.
    sweeps: u64,
}

impl Trusts {
    pub(super) fn new(tls: OriginTls) -> Trusts {
        Trusts { machine: Offers::new(tls), by_sum: RefCell::default() }
    }

    /// For an origin of a zone with these authorities of its own.
    pub(super) fn of(&self, roots: Option<&OriginRoots>) -> Result<Offers, TlsError> {
        let Some(roots) = roots else { return Ok(self.machine.clone()) };
        let mut by_sum = self.by_sum.borrow_mut();
        if let Some(kept) = by_sum.get_mut(&roots.sum) {
            kept.sweeps = 0;
            return Ok(kept.offers.clone());
        }
        if by_sum.len() >= TRUSTS_MAX {
            // Sessions are lost, and nothing else.
            by_sum.clear();
        }
        let offers = Offers::new(self.machine.http1.trusting(&roots.certificates)?);
        by_sum.insert(roots.sum, Kept { offers: offers.clone(), sweeps: 0 });
        Ok(offers)
    }

    pub(super) fn sweep(&self) {
        self.by_sum.borrow_mut().retain(|_, kept| {
            kept.sweeps += 1;
            kept.sweeps < SWEEPS_MAX
        });
    }
}
