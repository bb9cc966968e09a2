//! Which kinds of statistics there are.

use bartizan_analytics::{Catalogue, DNS};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Queries.
    Dns = 0,
}

impl Kind {
    pub(crate) const ALL: [Kind; 1] = [Kind::Dns];

    pub fn catalogue(self) -> &'static Catalogue {
        match self {
            Kind::Dns => &DNS,
        }
    }
}
