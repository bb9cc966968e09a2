//! Names outside our zones that names in them stand for, as somebody looked them up. Who does, and when, is not said here.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bartizan_live::PersistentMap;

/// What is known of names outside. A clone costs little.
#[derive(Clone, Debug, Default)]
pub struct Outside(PersistentMap<Box<[u8]>, Arc<OutsideName>>);

/// The addresses of one name; none in either family says that it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutsideName {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
    /// Seconds that an answer with them may be kept.
    pub ttl: u32,
}

impl Outside {
    /// `name` is lower-case wire bytes.
    pub fn get(&self, name: &[u8]) -> Option<&OutsideName> {
        self.0.get(name).map(|known| &**known)
    }

    pub fn put(&mut self, name: &[u8], known: OutsideName) {
        self.0.insert(name.into(), Arc::new(known));
    }

    pub fn remove(&mut self, name: &[u8]) {
        self.0.remove(name);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
