//! Tunnels, and the configurations that their connectors are told.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bartizan_live::Generation;
use bartizan_model as model;
use bartizan_names::{AccountId, TunnelId};
use bartizan_routes::{Tunnel, TunnelConfiguration, Tunnels};
use bartizan_store::{Key, Kind, ReadError, Scope};

use crate::part::{Edge, Part, secret_seed};
use crate::reading::{Found, Reading, Touched, document};

pub(super) struct TunnelsPart {
    pub(super) tunnels: Generation<Tunnels>,
    /// Whose each is, be it deleted or not to be read.
    owners: HashMap<TunnelId, AccountId>,
}

/// What becomes of tunnels.
#[derive(Default)]
pub(super) struct TunnelsPatch {
    tunnels: Vec<(TunnelId, Option<Arc<Tunnel>>)>,
    owners: Vec<(TunnelId, AccountId, Presence)>,
}

/// Whether an account has a tunnel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    Gone,
}

impl TunnelsPatch {
    /// Those that come or go.
    pub(super) fn moved(&self) -> impl Iterator<Item = TunnelId> {
        self.owners.iter().map(|(tunnel, ..)| *tunnel)
    }
}

impl TunnelsPart {
    pub(super) fn owner(&self, tunnel: TunnelId) -> Option<AccountId> {
        self.owners.get(&tunnel).copied()
    }

    /// A tunnel and its configuration are one unit. If one of the two cannot be read it keeps its last value.
    fn read_one(
        &self,
        reading: &mut Reading<'_>,
        account: AccountId,
        id: TunnelId,
    ) -> Result<Option<Arc<Tunnel>>, ReadError> {
        let before = self.tunnels.value.get(&id);
        let tunnel =
            match reading.get(&Key::tunnel(account, id), |entry| Ok(model::Tunnel::parse(&document(entry)?)?))? {
                Found::Value(tunnel) if !tunnel.deleted => tunnel,
                Found::Value(_) | Found::Nothing => return Ok(None),
                Found::Bad => return Ok(before.cloned()),
            };
        let key = Key::tunnel_config(account, id);
        let configuration = match reading.get(&key, |entry| Ok(model::TunnelConfig::parse(&document(entry)?)?))? {
            Found::Value(config) => Some(TunnelConfiguration { version: config.version, json: config.json.into() }),
            Found::Nothing => None,
            Found::Bad => before.and_then(|before| before.configuration.clone()),
        };
        Ok(Some(Arc::new(Tunnel {
            account: tunnel.account,
            secret_sha256: tunnel.secret_sha256,
            remotely_managed: tunnel.remotely_managed,
            configuration,
        })))
    }
}

impl Part for TunnelsPart {
    const KINDS: &'static [Kind] = &[Kind::Tunnel, Kind::TunnelConfig];

    type Patch = TunnelsPatch;

    fn empty(_: &Edge) -> TunnelsPart {
        TunnelsPart {
            tunnels: Generation { number: 0, value: Tunnels::with_seed(secret_seed()) },
            owners: HashMap::new(),
        }
    }

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let keys = Self::KINDS.iter().flat_map(|kind| touched.of(*kind));
        let ids = keys.filter_map(|key| match key.scope() {
            Scope::Account(account) => Some((account, key.id_as()?)),
            _ => None,
        });
        let ids: BTreeSet<(AccountId, TunnelId)> = ids.collect();
        let mut patch = TunnelsPatch::default();
        for (account, id) in ids {
            // One of which the row cannot be read is there all the same.
            let is_there = reading.snapshot.rev(&Key::tunnel(account, id)).is_ok_and(|rev| rev.is_some());
            if is_there != (self.owner(id) == Some(account)) {
                patch.owners.push((id, account, if is_there { Presence::There } else { Presence::Gone }));
            }
            patch.tunnels.push((id, self.read_one(reading, account, id)?));
        }
        Ok(patch)
    }

    fn apply(&mut self, patch: Self::Patch, at: u64) {
        for (id, account, presence) in patch.owners {
            if presence == Presence::There {
                self.owners.insert(id, account);
            } else if self.owner(id) == Some(account) {
                self.owners.remove(&id);
            }
        }
        if patch.tunnels.is_empty() {
            return;
        }
        for (id, tunnel) in patch.tunnels {
            match tunnel {
                Some(tunnel) => drop(self.tunnels.value.insert(id, tunnel)),
                None => drop(self.tunnels.value.remove(&id)),
            }
        }
        self.tunnels.number = at;
    }
}
