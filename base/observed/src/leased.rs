//! A table whose rows are true for as long as somebody stands by them.

use std::collections::BTreeMap;
use std::time::Instant;

/// How long a row may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Until who put it takes it back: for what lives and dies with this process.
    Held,
    /// Until then, unless it is put again: for what comes from somebody who may fall silent.
    Until(Instant),
}

impl Lease {
    fn is_over(self, now: Instant) -> bool {
        match self {
            Lease::Held => false,
            Lease::Until(end) => end <= now,
        }
    }
}

/// Rows with a lease each. The clock is the caller's.
#[derive(Clone, Debug)]
pub struct Leased<K, V>(BTreeMap<K, (V, Lease)>);

impl<K, V> Default for Leased<K, V> {
    fn default() -> Leased<K, V> {
        Leased(BTreeMap::new())
    }
}

impl<K: Ord, V> Leased<K, V> {
    /// Puts a row, or renews it.
    pub fn put(&mut self, key: K, value: V, lease: Lease) {
        self.0.insert(key, (value, lease));
    }

    pub fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.0.get(key).filter(|(_, lease)| !lease.is_over(now)).map(|(value, _)| value)
    }

    /// The rows that hold, by their keys.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().filter(move |(_, (_, lease))| !lease.is_over(now)).map(|(key, (value, _))| (key, value))
    }

    /// Keeps the rows for which it is said, among those whose lease has not run out.
    pub fn retain(&mut self, now: Instant, mut keep: impl FnMut(&K, &V) -> bool) {
        self.0.retain(|key, (value, lease)| !lease.is_over(now) && keep(key, value));
    }

    /// Drops what nobody stands by any more.
    pub fn prune(&mut self, now: Instant) {
        self.retain(now, |_, _| true);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_row_is_gone_when_its_lease_is_over() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut table = Leased::default();
        table.put("held", 1, Lease::Held);
        table.put("leased", 2, Lease::Until(after(10)));
        for (now, expect) in [(0, &["held", "leased"][..]), (9, &["held", "leased"]), (10, &["held"])] {
            assert_eq!(table.iter(after(now)).map(|(key, _)| *key).collect::<Vec<_>>(), expect, "{now}");
            assert_eq!(table.get(&"leased", after(now)).is_some(), expect.len() == 2);
        }
        table.put("leased", 3, Lease::Until(after(20)));
        assert_eq!(table.get(&"leased", after(10)), Some(&3), "renewed");
        table.prune(after(20));
        assert_eq!(table.get(&"leased", after(0)), None, "it does not come back");
    }
}
