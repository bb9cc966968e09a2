//! Which kinds of statistics there are.

use bartizan_analytics::{Catalogue, DNS, HTTP, L4};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Queries.
    Dns = 0,
    /// Requests.
    Http = 1,
    /// Connections and flows of applications.
    L4 = 2,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Dns, Kind::Http, Kind::L4];

    pub fn catalogue(self) -> &'static Catalogue {
        match self {
            Kind::Dns => &DNS,
            Kind::Http => &HTTP,
            Kind::L4 => &L4,
        }
    }
}
