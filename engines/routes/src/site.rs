//! A zone, as its hosts refer to it.

use std::sync::Arc;

use bartizan_names::{ZoneId, ZoneName};

/// A zone that has hosts: what finding one of them needs to know, and what is to be done with the requests for all of
/// them. The second, `P`, is not for this crate to know: it has values of other engines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site<P> {
    pub zone: ZoneId,
    /// Of two zones that one lies inside the other, the inner one answers for all that lies in it.
    pub apex: ZoneName,
    pub policy: Arc<P>,
}

/// By which hosts refer to their site. Given by [`Edit::add_site`](crate::Edit::add_site).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SiteNumber(pub(crate) u32);
