//! Which kinds of statistics there are.

use bartizan_analytics::{Catalogue, DNS, HTTP, L4};

/// Their numbers are in the file.
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

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Kind::Dns => "dns",
            Kind::Http => "http",
            Kind::L4 => "l4",
        }
    }

    pub fn catalogue(self) -> &'static Catalogue {
        match self {
            Kind::Dns => &DNS,
            Kind::Http => &HTTP,
            Kind::L4 => &L4,
        }
    }
}
