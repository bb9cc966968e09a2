//! The PoP that this edge is: what it is called, and the addresses of proxied names and of applications.
//!
//! Others are in the store too, and mean nothing here.

use std::net::IpAddr;

use bartizan_authority::Addresses;
use bartizan_live::Generation;
use bartizan_model::Pop;
use bartizan_names::PopId;
use bartizan_routes::Pools;
use bartizan_store::{Key, Kind, ReadError};

use crate::bundle::ServedPop;
use crate::part::{Edge, Part};
use crate::reading::{Found, Reading, Touched, document};

pub(super) struct PopsPart {
    id: PopId,
    pub(super) pop: Generation<ServedPop>,
}

impl Part for PopsPart {
    const KINDS: &'static [Kind] = &[Kind::Pop];

    type Patch = Option<ServedPop>;

    fn empty(edge: &Edge) -> PopsPart {
        PopsPart { id: edge.pop, pop: Generation { number: 0, value: ServedPop::default() } }
    }

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Option<ServedPop>, ReadError> {
        if !touched.has(PopsPart::KINDS) {
            return Ok(None);
        }
        let found = reading.get(&Key::pop(self.id), |entry| Ok(served(Pop::parse(&document(entry)?)?)))?;
        Ok(Some(match found {
            Found::Value(pop) => pop,
            Found::Nothing => ServedPop::default(),
            Found::Bad => self.pop.value.clone(),
        }))
    }

    fn apply(&mut self, patch: Option<ServedPop>, at: u64) {
        // Other PoPs are of this kind too.
        if let Some(pop) = patch.filter(|pop| *pop != self.pop.value) {
            self.pop = Generation { number: at, value: pop };
        }
    }
}

fn served(pop: Pop) -> ServedPop {
    let mut addresses = Addresses::default();
    for address in pop.addresses {
        match address {
            IpAddr::V4(v4) => addresses.v4.push(v4),
            IpAddr::V6(v6) => addresses.v6.push(v6),
        }
    }
    ServedPop { name: pop.name, addresses, pools: Pools::new(pop.pools) }
}
