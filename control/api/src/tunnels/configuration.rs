//! The configuration that connectors of a tunnel are given, when it is kept here; when it is kept beside them, what they
//! say that it is.

use axum::extract::State;
use bartizan_model::TunnelConfig;
use bartizan_names::{AccountId, TunnelId};
use bartizan_store::Key;
use bartizan_v4::{StoredTunnel, TunnelConfiguration, TunnelConfigurationBody};

use super::{LOCAL, REMOTE};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::path::AccountScope;
use crate::reply::Reply;
use crate::state::Api;
use crate::transaction::View;

impl View {
    pub(super) fn tunnel_configuration(
        &self,
        account: AccountId,
        id: TunnelId,
    ) -> Result<Option<TunnelConfiguration>, Error> {
        self.find(&Key::tunnel_config(account, id))
    }
}

/// The configuration that connectors of this tunnel are given, or the one that they brought: it is shown for as long as
/// one of those that brought it is connected.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/configurations",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<TunnelConfiguration>))
)]
pub(super) async fn configuration(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
) -> Result<Reply<TunnelConfiguration>, Error> {
    let account = scope.of(&caller)?;
    let (stored, config) =
        api.read(move |view| Ok((view.tunnel(account, id)?, view.tunnel_configuration(account, id)?))).await?;
    let connected = api.observed().connections.snapshot();
    let brought = connected.value.uploaded(id).filter(|_| stored.config_src == LOCAL);
    Ok(Reply::of(config.unwrap_or_else(|| TunnelConfiguration {
        tunnel_id: id,
        version: 0,
        // What is no JSON was not said.
        config: brought.and_then(|brought| serde_json::from_str(&brought.json).ok()).unwrap_or_default(),
        source: stored.config_src,
        created_at: brought.map_or(stored.created_at, |brought| brought.at),
        account_id: account,
    })))
}

/// Gives connectors of this tunnel a configuration; from now on it is kept here.
#[utoipa::path(
    put,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/configurations",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path)),
    request_body = TunnelConfigurationBody,
    responses((status = 200, body = bartizan_v4::Envelope<TunnelConfiguration>))
)]
pub(super) async fn put_configuration(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
    Body(body): Body<TunnelConfigurationBody>,
) -> Result<Reply<TunnelConfiguration>, Error> {
    let account = scope.of(&caller)?;
    let asked = body.config.clone();
    // Patterns take time to be read, during which others may write.
    api.read(move |_| Ok(TunnelConfig::check(&asked)?)).await?;
    let config = api
        .change(&caller, move |change| {
            let stored = change.tunnel_in_force(account, id)?;
            let version = change.tunnel_configuration(account, id)?.map_or(0, |config| config.version);
            let config = TunnelConfiguration {
                tunnel_id: id,
                version: version.checked_add(1).ok_or(Fault::TunnelConfig)?,
                config: body.config.clone(),
                source: REMOTE.to_owned(),
                created_at: change.now(),
                account_id: account,
            };
            TunnelConfig::parse(&config)?;
            change.put(Key::tunnel_config(account, id), &config)?;
            change.put_tunnel(&StoredTunnel { config_src: REMOTE.to_owned(), ..stored })?;
            Ok(config)
        })
        .await?;
    Ok(Reply::of(config))
}
