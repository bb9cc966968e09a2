//! What people were told last: who is down. It outlives a start, behind which each server that is down turns anew.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bartizan_names::{AccountId, PoolId, Timestamp};
use bartizan_observed::{NodeTurn, PoolQuery, PoolTurn};
use serde::{Deserialize, Serialize};

/// Servers that are remembered to be down. Of more people may be told twice.
const SERVERS_MAX: usize = 4_096;

/// Octets of the file: what is longer is none of ours.
const FILE_MAX: u64 = 8 << 20;

/// By then after a start all pools are known: one that is not is gone.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);

const FILE: &str = "told.json";

pub(crate) struct Told {
    dir: PathBuf,
    /// Said to be down by a mail that was sent, or waits on disk.
    down: BTreeSet<Server>,
    /// Those of them that were so before the start, and of which nothing was heard since.
    before: BTreeSet<Server>,
    since: Instant,
    is_saved: bool,
}

/// By its name, which may be that of several of the pool: then people are rather told twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    account: AccountId,
    pool: PoolId,
    node: String,
}

/// The same in the file.
#[derive(Deserialize, Serialize)]
struct Kept {
    account: String,
    pool: String,
    node: String,
}

impl Server {
    fn of(turn: &PoolTurn) -> Server {
        Server { account: turn.account, pool: turn.pool, node: turn.turn.node.clone() }
    }
}

impl Told {
    /// With what is there from before. Where that cannot be read people are told again.
    pub(crate) fn open(dir: &Path, now: Instant) -> Told {
        let down = read(&dir.join(FILE)).unwrap_or_else(|error| {
            tracing::warn!(%error, "what people were told of servers cannot be read: they are told again");
            BTreeSet::new()
        });
        Told { dir: dir.to_owned(), before: down.clone(), down, since: now, is_saved: true }
    }

    /// Whether people know of this turn: it was told before the start.
    pub(crate) fn knows(&mut self, turn: &PoolTurn) -> bool {
        self.before.remove(&Server::of(turn)) && !turn.turn.healthy
    }

    /// Something is left of which it is not known yet how it is now.
    pub(crate) fn waits(&self) -> bool {
        !self.before.is_empty()
    }

    /// Servers that were said to be down before the start, and are well: since they did not turn, nobody else tells of them.
    pub(crate) fn came_back(&mut self, pools: &dyn PoolQuery, at: Timestamp, now: Instant) -> Vec<PoolTurn> {
        let is_late = now.saturating_duration_since(self.since) > KNOWN_WITHIN;
        let (mut back, mut gone) = (Vec::new(), Vec::new());
        for server in &self.before {
            let Some(seen) = pools.pool(server.pool) else {
                gone.extend(is_late.then(|| server.clone()));
                continue;
            };
            let mut named = seen.nodes.iter().filter(|node| node.name == server.node).peekable();
            if named.peek().is_none() {
                gone.push(server.clone());
            } else if named.all(|node| node.took.is_some() && node.healthy) {
                let turn = NodeTurn { at, node: server.node.clone(), healthy: true, reason: String::new() };
                let (well, nodes) = (seen.nodes.iter().filter(|node| node.healthy).count(), seen.nodes.len());
                back.push(PoolTurn { account: server.account, pool: server.pool, turn, well, nodes });
            }
        }
        for turn in &back {
            self.before.remove(&Server::of(turn));
        }
        for server in gone {
            self.before.remove(&server);
            self.is_saved &= !self.down.remove(&server);
        }
        back
    }

    /// A mail tells of a turn, and is on disk.
    pub(crate) fn note(&mut self, turn: &PoolTurn) {
        let server = Server::of(turn);
        let changes = match turn.turn.healthy {
            true => self.down.remove(&server),
            false => (self.down.len() < SERVERS_MAX || self.down.contains(&server)) && self.down.insert(server),
        };
        self.is_saved &= !changes;
    }

    /// On disk from here on.
    pub(crate) fn save(&mut self) {
        if self.is_saved {
            return;
        }
        match self.write() {
            Ok(()) => self.is_saved = true,
            Err(error) => {
                tracing::warn!(%error, "what people were told of servers is not kept: after a start they are told again")
            }
        }
    }

    fn write(&self) -> io::Result<()> {
        let kept = |Server { account, pool, node }: &Server| Kept {
            account: account.to_string(),
            pool: pool.to_string(),
            node: node.clone(),
        };
        let all: Vec<Kept> = self.down.iter().map(kept).collect();
        let partial = self.dir.join("told.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(&serde_json::to_vec(&all).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&partial, self.dir.join(FILE))?;
        File::open(&self.dir)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<BTreeSet<Server>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() > FILE_MAX {
        return Err(io::Error::other("it is too long"));
    }
    let all: Vec<Kept> = serde_json::from_reader(io::BufReader::new(file)).map_err(io::Error::other)?;
    let server = |Kept { account, pool, node }: Kept| {
        Some(Server { account: account.parse().ok()?, pool: pool.parse().ok()?, node })
    };
    all.into_iter()
        .take(SERVERS_MAX)
        .map(|kept| server(kept).ok_or_else(|| io::Error::other("an id is none")))
        .collect()
}

#[cfg(test)]
mod tests {
    use bartizan_observed::{NodeSeen, PoolSeen};

    use super::*;

    struct Pools(Option<Vec<(&'static str, bool, bool)>>);

    impl PoolQuery for Pools {
        fn pool(&self, _: PoolId) -> Option<PoolSeen> {
            let node = |(name, healthy, looked): &(&str, bool, bool)| NodeSeen {
                name: (*name).to_owned(),
                healthy: *healthy,
                took: looked.then_some(Duration::from_millis(1)),
                ..NodeSeen::default()
            };
            let nodes = self.0.as_ref()?.iter().map(node).collect();
            Some(PoolSeen { healthy: true, nodes, turns: Vec::new() })
        }
    }

    fn turn(node: &str, healthy: bool) -> PoolTurn {
        let at = Timestamp::from_unix_micros(1);
        let turn = NodeTurn { at, node: node.to_owned(), healthy, reason: String::new() };
        PoolTurn { account: AccountId::from_bytes([1; 16]), pool: PoolId::from_bytes([2; 16]), turn, well: 1, nodes: 2 }
    }

    #[test]
    fn what_was_told_outlives_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let (at, now) = (Timestamp::from_unix_micros(1), Instant::now());
        let mut told = Told::open(dir.path(), now);
        for node in ["one", "two", "three", "four"] {
            assert!(!told.knows(&turn(node, false)), "{node} is new");
            told.note(&turn(node, false));
        }
        told.note(&turn("four", true));
        told.save();
        assert!(!told.knows(&turn("one", false)), "it went down twice");
        let mut told = Told::open(dir.path(), now);
        assert!(told.knows(&turn("one", false)), "it still is");
        assert!(!told.knows(&turn("one", false)), "it went down again");
        assert!(!told.knows(&turn("four", false)), "it was well at last");
        // Nobody has looked; then one is well, and another is no server of the pool any more.
        let back = |told: &mut Told, pools| told.came_back(&Pools(pools), at, now);
        assert!(back(&mut told, None).is_empty());
        assert!(back(&mut told, Some(vec![("two", true, false), ("three", false, true)])).is_empty());
        let found = back(&mut told, Some(vec![("two", true, true), ("two", false, true)]));
        assert!(found.is_empty(), "one of that name is down, and three is gone");
        let found = back(&mut told, Some(vec![("two", true, true), ("one", false, true)]));
        assert_eq!(found, [PoolTurn { well: 1, nodes: 2, ..turn("two", true) }]);
        assert!(!told.waits());
        told.note(&found[0]);
        told.save();
        let mut told = Told::open(dir.path(), now);
        assert_eq!(["one", "two", "three"].map(|node| told.knows(&turn(node, false))), [true, false, false]);
    }

    /// A pool that is gone, and a file that is none, keep nothing.
    #[test]
    fn what_is_gone_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (at, now) = (Timestamp::from_unix_micros(1), Instant::now());
        let mut told = Told::open(dir.path(), now);
        told.note(&turn("one", false));
        told.save();
        let mut told = Told::open(dir.path(), now);
        assert!(told.came_back(&Pools(None), at, now + KNOWN_WITHIN * 2).is_empty() && !told.waits());
        told.save();
        assert!(!Told::open(dir.path(), now).waits());
        for text in ["[", r#"[{"account":"x","pool":"x","node":"x"}]"#] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert!(!Told::open(dir.path(), now).waits());
        }
        let mut told = Told::open(dir.path(), now);
        (0..SERVERS_MAX + 5).for_each(|number| told.note(&turn(&number.to_string(), false)));
        assert_eq!(told.down.len(), SERVERS_MAX);
    }
}
