//! Who is connected to a tunnel. Soft state of the tunnel plane; nothing of it is in the store.

use axum::extract::State;
use bartizan_names::{ConnectorId, TunnelId};
use bartizan_observed::{self as observed, Command, Connections};
use bartizan_v4::tunnel::{ConnectionExtension, ConnectorExtension};
use bartizan_v4::{Connection, Connector};
use serde::Serialize;

use crate::caller::Caller;
use crate::error::Error;
use crate::extract::{Ids, Query};
use crate::path::AccountScope;
use crate::reply::Reply;
use crate::state::Api;

/// The connectors that are connected now.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/connections",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Connector>>))
)]
pub(super) async fn connections(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
) -> Result<Reply<Vec<Connector>>, Error> {
    let account = scope.of(&caller)?;
    api.read(move |view| view.tunnel(account, id)).await?;
    let connected = api.observed().connections.snapshot();
    Ok(Reply::of(connectors(&connected.value, id)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
pub(super) struct DropParams {
    /// Only this connector's.
    #[param(value_type = Option<String>)]
    client_id: Option<ConnectorId>,
}

/// Nothing to say.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Nothing {}

/// Closes the connections of a tunnel. Connectors that still run come back.
#[utoipa::path(
    delete,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/connections",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path), DropParams),
    responses((status = 200, body = bartizan_v4::Envelope<Nothing>))
)]
pub(super) async fn drop_connections(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
    Query(params): Query<DropParams>,
) -> Result<Reply<Nothing>, Error> {
    let account = scope.of(&caller)?;
    api.read(move |view| view.tunnel(account, id)).await?;
    if !caller.only_tries() {
        api.observed().commands.command(Command::DropConnections { tunnel: id, connector: params.client_id });
    }
    Ok(Reply::of(Nothing {}))
}

pub(super) fn connection(connection: &observed::Connection) -> Connection {
    let traffic = connection.meter.read();
    Connection {
        id: connection.connection.to_string(),
        uuid: connection.connection.to_string(),
        colo_name: connection.location.clone(),
        is_pending_reconnect: false,
        origin_ip: connection.origin_ip.to_string(),
        opened_at: connection.opened_at,
        client_id: connection.connector,
        client_version: connection.version.clone(),
        bartizan: Some(ConnectionExtension {
            transport: connection.transport.as_str().to_owned(),
            rtt_us: traffic.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            requests: traffic.requests,
            bytes_sent: traffic.bytes_sent,
            bytes_received: traffic.bytes_received,
            tags: connection.tags.clone(),
        }),
    }
}

/// The connections of a tunnel, gathered by the process that made them.
fn connectors(connected: &Connections, tunnel: TunnelId) -> Vec<Connector> {
    let mut connectors: Vec<Connector> = Vec::new();
    for one in connected.of(tunnel) {
        // A connector has the same in force on all of its connections, but while it is told.
        let config_version = one.configured.as_ref().map_or(0, |configured| configured.version.max(0));
        let error = one.configured.as_ref().and_then(|configured| configured.error.as_deref());
        let bartizan = error.map(|why| ConnectorExtension { configuration_error: why.to_owned() });
        match connectors.iter_mut().find(|connector| connector.id == one.connector) {
            Some(connector) => {
                connector.run_at = connector.run_at.min(one.opened_at);
                connector.config_version = connector.config_version.max(config_version);
                connector.bartizan = connector.bartizan.take().or(bartizan);
                connector.conns.push(connection(one));
            }
            None => connectors.push(Connector {
                id: one.connector,
                features: one.features.clone(),
                version: one.version.clone(),
                arch: one.arch.clone(),
                run_at: one.opened_at,
                config_version,
                conns: vec![connection(one)],
                bartizan,
            }),
        }
    }
    connectors
}
