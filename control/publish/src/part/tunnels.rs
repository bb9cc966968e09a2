//! Tunnels, and the configurations that their connectors are told.

use std::collections::BTreeSet;
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
}

impl TunnelsPart {
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

    type Patch = Vec<(TunnelId, Option<Arc<Tunnel>>)>;

    fn empty(_: &Edge) -> TunnelsPart {
        TunnelsPart { tunnels: Generation { number: 0, value: Tunnels::with_seed(secret_seed()) } }
    }

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let keys = Self::KINDS.iter().flat_map(|kind| touched.of(*kind));
        let ids = keys.filter_map(|key| match key.scope() {
            Scope::Account(account) => Some((account, key.id_as()?)),
            _ => None,
        });
        let ids: BTreeSet<(AccountId, TunnelId)> = ids.collect();
        ids.into_iter().map(|(account, id)| Ok((id, self.read_one(reading, account, id)?))).collect()
    }

    fn apply(&mut self, patch: Self::Patch, at: u64) {
        if patch.is_empty() {
            return;
        }
        for (id, tunnel) in patch {
            match tunnel {
                Some(tunnel) => drop(self.tunnels.value.insert(id, tunnel)),
                None => drop(self.tunnels.value.remove(&id)),
            }
        }
        self.tunnels.number = at;
    }
}
