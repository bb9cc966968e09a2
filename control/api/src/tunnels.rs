//! `/accounts/{account_id}/cfd_tunnel`: tunnels, their tokens, connections and configurations.
//!
//! The stock client reads these replies strictly: status 200 always, `messages` always empty, 409 for a name that is taken.

use axum::extract::State;
use bartizan_model::TunnelConfig;
use bartizan_names::{AccountId, ConnectorId, Timestamp, TunnelId};
use bartizan_store::TunnelQuery;
use bartizan_v4::tunnel::TunnelMetadata;
use bartizan_v4::{
    Connection, Connector, StoredTunnel, Tunnel, TunnelBody, TunnelConfiguration, TunnelConfigurationBody,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Api;
use crate::access::{Caller, needs};
use crate::accounts::AccountScope;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::hex::hex;
use crate::permission::Permission;
use crate::presence::{self, Command, Presence};
use crate::reply::{Page, PageSizes, Reply};

/// Characters of a tunnel's name.
const NAME_MAX: usize = 100;

/// Bytes of a secret: the least that is accepted, how many are made here, and the most.
const SECRET_MIN: usize = 32;
const SECRET_MAX: usize = 1_024;

/// Tunnels that are looked at for a filter by health.
const LISTED_MAX: u32 = 10_000;

/// The configuration that connectors bring, and the one that is kept here.
const LOCAL: &str = "local";
const REMOTE: &str = "cloudflare";

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::TunnelRead, api, routes!(list)))
        .routes(needs(Permission::TunnelWrite, api, routes!(create)))
        .routes(needs(Permission::TunnelRead, api, routes!(get)))
        .routes(needs(Permission::TunnelWrite, api, routes!(change)))
        .routes(needs(Permission::TunnelWrite, api, routes!(delete)))
        .routes(needs(Permission::TunnelWrite, api, routes!(token)))
        .routes(needs(Permission::TunnelRead, api, routes!(connections)))
        .routes(needs(Permission::TunnelWrite, api, routes!(drop_connections)))
        .routes(needs(Permission::TunnelRead, api, routes!(configuration)))
        .routes(needs(Permission::TunnelWrite, api, routes!(put_configuration)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    name: Option<String>,
    is_deleted: Option<bool>,
    /// Tunnels that were there at this time.
    #[param(value_type = Option<String>)]
    existed_at: Option<Timestamp>,
    #[param(value_type = Option<String>)]
    uuid: Option<TunnelId>,
    include_prefix: Option<String>,
    /// The stock client's word for `include_prefix`.
    name_prefix: Option<String>,
    exclude_prefix: Option<String>,
    status: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

impl Params {
    fn query(self, account: AccountId, page: Page) -> TunnelQuery {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        TunnelQuery {
            account,
            name: given(self.name),
            include_prefix: given(self.include_prefix).or(given(self.name_prefix)),
            exclude_prefix: given(self.exclude_prefix),
            is_deleted: self.is_deleted,
            existed_at: self.existed_at,
            uuid: self.uuid,
            page: page.number,
            per_page: page.size,
        }
    }
}

/// The tunnels of an account.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/cfd_tunnel",
    tag = "Tunnels",
    params(("account_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Tunnel>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope,)): Ids<(AccountScope,)>,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<Tunnel>>, Error> {
    let account = scope.of(&caller)?;
    let page = PageSizes { min: 1, default: 100, max: 1_000 }.page(params.page, params.per_page);
    let presence = api.presence();
    let Some(status) = params.status.clone().filter(|status| !status.is_empty()) else {
        let (tunnels, total) = api.read(move |view| view.tunnels(&params.query(account, page))).await?;
        return Ok(Reply::page(tunnels.iter().map(|stored| sent(stored, &presence)).collect(), page, total));
    };
    // Health is not in the store, so this filter goes over all that the others left.
    let all = Page { number: 1, size: LISTED_MAX };
    let (tunnels, _) = api.read(move |view| view.tunnels(&params.query(account, all))).await?;
    let matching: Vec<Tunnel> =
        tunnels.iter().map(|stored| sent(stored, &presence)).filter(|tunnel| tunnel.status == status).collect();
    let total = matching.len() as u64;
    Ok(Reply::page(page.cut(matching), page, total))
}

/// Makes a tunnel. The reply holds its token.
#[utoipa::path(
    post,
    path = "/accounts/{account_id}/cfd_tunnel",
    tag = "Tunnels",
    params(("account_id" = String, Path)),
    request_body = TunnelBody,
    responses((status = 200, body = bartizan_v4::Envelope<Tunnel>))
)]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope,)): Ids<(AccountScope,)>,
    Body(body): Body<TunnelBody>,
) -> Result<Reply<Tunnel>, Error> {
    let account = scope.of(&caller)?;
    let name = name(body.name.value())?;
    let config_src = config_src(body.config_src.value())?;
    let given = body.tunnel_secret.value().map(|text| secret(text)).transpose()?;
    let sealing = api.clone();
    let (stored, token) = api
        .change(&caller, move |change| {
            let secret = given.clone().unwrap_or_else(|| bartizan_seal::random::<SECRET_MIN>().to_vec());
            let mut stored = StoredTunnel {
                id: TunnelId::from_random(bartizan_seal::random()),
                name: name.clone(),
                account_tag: account,
                created_at: change.now(),
                deleted_at: None,
                config_src: config_src.to_owned(),
                secret_sha256: String::new(),
                sealed_secret: String::new(),
            };
            keep_secret(&sealing, &mut stored, &secret);
            change.take_tunnel_name(&stored)?;
            change.put_tunnel(&stored)?;
            let token = token_text(&sealing, &stored, &secret)?;
            Ok((stored, token))
        })
        .await?;
    Ok(Reply::of(Tunnel { token: Some(token), ..sent(&stored, &api.presence()) }))
}

/// One tunnel; a deleted one too.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Tunnel>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
) -> Result<Reply<Tunnel>, Error> {
    let account = scope.of(&caller)?;
    let stored = api.read(move |view| view.tunnel(account, id)).await?;
    Ok(Reply::of(sent(&stored, &api.presence())))
}

/// Renames a tunnel, or changes its secret; connectors with the old secret are cut off.
#[utoipa::path(
    patch,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path)),
    request_body = TunnelBody,
    responses((status = 200, body = bartizan_v4::Envelope<Tunnel>))
)]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
    Body(body): Body<TunnelBody>,
) -> Result<Reply<Tunnel>, Error> {
    let account = scope.of(&caller)?;
    let new_name = body.name.value().map(|text| name(Some(text))).transpose()?;
    let new_secret = body.tunnel_secret.value().map(|text| secret(text)).transpose()?;
    let cut_off = new_secret.is_some();
    let sealing = api.clone();
    let stored = api
        .change(&caller, move |change| {
            let mut stored = change.tunnel_in_force(account, id)?;
            if let Some(name) = new_name.as_ref().filter(|name| **name != stored.name) {
                change.free_tunnel_name(&stored)?;
                stored.name.clone_from(name);
                change.take_tunnel_name(&stored)?;
            }
            if let Some(secret) = &new_secret {
                keep_secret(&sealing, &mut stored, secret);
            }
            change.put_tunnel(&stored)?;
            Ok(stored)
        })
        .await?;
    if cut_off {
        api.command(Command::DropConnections { tunnel: id, connector: None });
    }
    Ok(Reply::of(sent(&stored, &api.presence())))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct DeleteParams {
    /// Also when connectors are connected: they are cut off.
    cascade: Option<bool>,
}

/// Deletes a tunnel. Its document stays, with the time of its deletion.
#[utoipa::path(
    delete,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path), DeleteParams),
    responses((status = 200, body = bartizan_v4::Envelope<Tunnel>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
    Query(params): Query<DeleteParams>,
) -> Result<Reply<Tunnel>, Error> {
    let account = scope.of(&caller)?;
    let in_use = api.presence().of(id).next().is_some();
    let stored = api
        .change(&caller, move |change| {
            let mut stored = change.tunnel_in_force(account, id)?;
            if in_use && params.cascade != Some(true) {
                return Err(Fault::TunnelInUse.into());
            }
            change.free_tunnel_name(&stored)?;
            stored.deleted_at = Some(change.now());
            // Nobody may connect any more, so nobody needs the secret.
            stored.sealed_secret = String::new();
            change.put_tunnel(&stored)?;
            change.delete_tunnel_configuration(id)?;
            Ok(stored)
        })
        .await?;
    api.command(Command::DropConnections { tunnel: id, connector: None });
    Ok(Reply::of(sent(&stored, &api.presence())))
}

/// The token with which a connector runs.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/token",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<String>))
)]
async fn token(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
) -> Result<Reply<String>, Error> {
    let account = scope.of(&caller)?;
    let stored = api.read(move |view| view.tunnel_in_force(account, id)).await?;
    let secret = api.unseal(&stored)?;
    Ok(Reply::of(token_text(&api, &stored, &secret)?))
}

/// The connectors that are connected now.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/connections",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Connector>>))
)]
async fn connections(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
) -> Result<Reply<Vec<Connector>>, Error> {
    let account = scope.of(&caller)?;
    let config = api
        .read(move |view| {
            view.tunnel(account, id)?;
            view.tunnel_configuration(id)
        })
        .await?;
    Ok(Reply::of(connectors(&api.presence(), id, config.map_or(0, |config| config.version))))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct DropParams {
    /// Only this connector's.
    #[param(value_type = Option<String>)]
    client_id: Option<ConnectorId>,
}

/// Nothing to say.
#[derive(Serialize, utoipa::ToSchema)]
struct Nothing {}

/// Closes the connections of a tunnel. Connectors that still run come back.
#[utoipa::path(
    delete,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/connections",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path), DropParams),
    responses((status = 200, body = bartizan_v4::Envelope<Nothing>))
)]
async fn drop_connections(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
    Query(params): Query<DropParams>,
) -> Result<Reply<Nothing>, Error> {
    let account = scope.of(&caller)?;
    api.read(move |view| view.tunnel(account, id)).await?;
    api.command(Command::DropConnections { tunnel: id, connector: params.client_id });
    Ok(Reply::of(Nothing {}))
}

/// The configuration that connectors of this tunnel are given.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/configurations",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<TunnelConfiguration>))
)]
async fn configuration(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
) -> Result<Reply<TunnelConfiguration>, Error> {
    let account = scope.of(&caller)?;
    let (stored, config) =
        api.read(move |view| Ok((view.tunnel(account, id)?, view.tunnel_configuration(id)?))).await?;
    Ok(Reply::of(config.unwrap_or(TunnelConfiguration {
        tunnel_id: id,
        version: 0,
        config: serde_json::Value::Null,
        source: stored.config_src,
        created_at: stored.created_at,
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
async fn put_configuration(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
    Body(body): Body<TunnelConfigurationBody>,
) -> Result<Reply<TunnelConfiguration>, Error> {
    let account = scope.of(&caller)?;
    let config = api
        .change(&caller, move |change| {
            let stored = change.tunnel_in_force(account, id)?;
            let version = change.tunnel_configuration(id)?.map_or(0, |config| config.version);
            let config = TunnelConfiguration {
                tunnel_id: id,
                version: version.checked_add(1).ok_or(Fault::TunnelConfig)?,
                config: body.config.clone(),
                source: REMOTE.to_owned(),
                created_at: change.now(),
                account_id: account,
            };
            TunnelConfig::parse(&config)?;
            change.put_tunnel_configuration(&config)?;
            // Also when nothing changes: it guards the tunnel against being deleted meanwhile.
            change.put_tunnel(&StoredTunnel { config_src: REMOTE.to_owned(), ..stored })?;
            Ok(config)
        })
        .await?;
    Ok(Reply::of(config))
}

fn name(given: Option<&String>) -> Result<String, Error> {
    let name = given.map(|text| text.trim()).unwrap_or_default();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        let form = format!("1 to {NAME_MAX} characters");
        return Err(Fault::TunnelName.because(form).at("/name"));
    }
    Ok(name.to_owned())
}

fn config_src(given: Option<&String>) -> Result<&'static str, Error> {
    match given.map(String::as_str) {
        None | Some(LOCAL) => Ok(LOCAL),
        Some(REMOTE) => Ok(REMOTE),
        Some(_) => Err(Fault::TunnelConfig.because("config_src must be local or cloudflare").at("/config_src")),
    }
}

fn secret(text: &str) -> Result<Vec<u8>, Error> {
    let secret = BASE64.decode(text.trim()).ok().filter(|secret| (SECRET_MIN..=SECRET_MAX).contains(&secret.len()));
    secret.ok_or_else(|| Error::from(Fault::TunnelSecret).at("/tunnel_secret"))
}

/// Seals the secret into the document, with the hash by which connectors are checked.
fn keep_secret(api: &Api, stored: &mut StoredTunnel, secret: &[u8]) {
    stored.secret_sha256 = hex(&bartizan_seal::sha256(secret));
    stored.sealed_secret = api.seal(stored.id, secret);
}

/// What a token holds: the stock keys, and where the edge is and how its authority's certificate is known, so that our
/// connector needs nothing else.
#[derive(Serialize)]
struct Token<'t> {
    a: String,
    t: String,
    s: String,
    edge: Vec<String>,
    ca_pin: &'t str,
}

fn token_text(api: &Api, stored: &StoredTunnel, secret: &[u8]) -> Result<String, Error> {
    let token = Token {
        a: stored.account_tag.to_string(),
        t: stored.id.to_string(),
        s: BASE64.encode(secret),
        edge: api.facts().tunnel_edges.iter().map(ToString::to_string).collect(),
        ca_pin: api.ca_pin(),
    };
    let json = serde_json::to_vec(&token).map_err(|error| Error::internal(&error))?;
    Ok(BASE64.encode(json))
}

fn sent(stored: &StoredTunnel, presence: &Presence) -> Tunnel {
    let deleted = stored.deleted_at.is_some();
    let connections: Vec<Connection> = presence.of(stored.id).filter(|_| !deleted).map(connection).collect();
    let health = presence.health(stored.id);
    Tunnel {
        id: stored.id,
        name: stored.name.clone(),
        account_tag: stored.account_tag,
        created_at: stored.created_at,
        deleted_at: stored.deleted_at,
        status: if deleted { presence::Health::Inactive } else { health }.as_str().to_owned(),
        conns_active_at: connections.iter().map(|connection| connection.opened_at).min(),
        conns_inactive_at: None,
        connections,
        tun_type: "cfd_tunnel".to_owned(),
        metadata: TunnelMetadata {},
        remote_config: stored.config_src == REMOTE,
        config_src: stored.config_src.clone(),
        token: None,
    }
}

fn connection(connection: &presence::Connection) -> Connection {
    Connection {
        id: connection.connection.to_string(),
        uuid: connection.connection.to_string(),
        colo_name: connection.location.clone(),
        is_pending_reconnect: false,
        origin_ip: connection.origin_ip.to_string(),
        opened_at: connection.opened_at,
        client_id: connection.connector,
        client_version: connection.version.clone(),
    }
}

/// The connections of a tunnel, gathered by the process that made them.
fn connectors(presence: &Presence, tunnel: TunnelId, config_version: i32) -> Vec<Connector> {
    let mut connectors: Vec<Connector> = Vec::new();
    for one in presence.of(tunnel) {
        match connectors.iter_mut().find(|connector| connector.id == one.connector) {
            Some(connector) => {
                connector.run_at = connector.run_at.min(one.opened_at);
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
            }),
        }
    }
    connectors
}
