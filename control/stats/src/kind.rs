//! Which kinds of statistics there are.

use bartizan_analytics::{Catalogue, DNS, HTTP};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Queries.
    Dns = 0,
    /// Requests.
    Http = 1,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Dns, Kind::Http];

    pub fn catalogue(self) -> &'static Catalogue {
        match self {
            Kind::Dns => &DNS,
            Kind::Http => &HTTP,
        }
    }
}
