//! `/accounts/{account_id}/cfd_tunnel`: tunnels, their tokens, connections and configurations.
//!
//! The stock client reads these replies strictly: status 200 always, `messages` always empty, 409 for a name that is taken.

mod configuration;
mod connections;
mod secret;

use axum::extract::State;
use bartizan_names::{AccountId, Timestamp, TunnelId};
use bartizan_observed::{Command, Connections, Health};
use bartizan_store::{Index, Key, Scope, TunnelQuery};
use bartizan_v4::tunnel::TunnelMetadata;
use bartizan_v4::{Connection, StoredTunnel, Tunnel, TunnelBody};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::connections::connection;
use self::secret::{SECRET_MIN, keep_secret, secret, token_text};
use crate::accounts::AccountScope;
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};

/// Characters of a tunnel's name.
const NAME_MAX: usize = 100;

/// Tunnels that are read in one go for a filter by health.
const READ_PAGE: u32 = 1_000;

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
        .routes(needs(Permission::TunnelWrite, api, routes!(secret::token)))
        .routes(needs(Permission::TunnelRead, api, routes!(connections::connections)))
        .routes(needs(Permission::TunnelWrite, api, routes!(connections::drop_connections)))
        .routes(needs(Permission::TunnelRead, api, routes!(configuration::configuration)))
        .routes(needs(Permission::TunnelWrite, api, routes!(configuration::put_configuration)))
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

impl View {
    /// A tunnel of the account, deleted or not.
    pub(crate) fn tunnel(&self, account: AccountId, id: TunnelId) -> Result<StoredTunnel, Error> {
        self.find(&Key::tunnel(account, id))?.ok_or_else(|| Fault::TunnelUnknown.into())
    }

    fn tunnel_in_force(&self, account: AccountId, id: TunnelId) -> Result<StoredTunnel, Error> {
        let tunnel = self.tunnel(account, id)?;
        if tunnel.deleted_at.is_some() { Err(Fault::TunnelUnknown.into()) } else { Ok(tunnel) }
    }

    pub(crate) fn tunnels(&self, query: &TunnelQuery) -> Result<Listed<StoredTunnel>, Error> {
        Listed::page(&self.0.tunnels(query)?)
    }

    /// A page of those of `query` with this status. Health is not in the store, so this goes over all of them, some at a
    /// time.
    fn tunnels_that_are(
        &self,
        status: &str,
        mut query: TunnelQuery,
        connected: &Connections,
        page: Page,
    ) -> Result<Listed<Tunnel>, Error> {
        let (first, mut found) = (page.before(), Listed::none());
        loop {
            let some = self.tunnels(&query)?;
            for tunnel in some.documents.iter().map(|stored| sent(stored, connected)) {
                if tunnel.status != status {
                    continue;
                }
                if found.total >= first && found.documents.len() < page.size as usize {
                    found.documents.push(tunnel);
                }
                found.total += 1;
            }
            found.left_out += some.left_out;
            if u64::from(query.page) * u64::from(query.per_page) >= some.total {
                return Ok(found);
            }
            query.page += 1;
        }
    }
}

impl Change {
    /// A tunnel that is not deleted, neither now nor when the change lands.
    pub(crate) fn tunnel_in_force(&mut self, account: AccountId, id: TunnelId) -> Result<StoredTunnel, Error> {
        self.guard(&Key::tunnel(account, id))?;
        View::tunnel_in_force(self, account, id)
    }

    /// None if it is there and cannot be read.
    fn tunnel_if_readable(&mut self, account: AccountId, id: TunnelId) -> Result<Option<StoredTunnel>, Error> {
        match self.tunnel_in_force(account, id) {
            Ok(tunnel) => Ok(Some(tunnel)),
            Err(error) if error.fault == Fault::Damaged => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a tunnel that cannot be read, and frees its name if that much can be told. Nothing of it stays.
    fn delete_damaged_tunnel(&mut self, account: AccountId, id: TunnelId) -> Result<StoredTunnel, Error> {
        let key = Key::tunnel(account, id);
        let name = self.find::<Remains>(&key).ok().flatten().map(|remains| remains.name).unwrap_or_default();
        let gone = StoredTunnel {
            id,
            name,
            account_tag: account,
            created_at: self.now(),
            deleted_at: Some(self.now()),
            config_src: LOCAL.to_owned(),
            secret_sha256: String::new(),
            sealed_secret: String::new(),
        };
        // A deleted tunnel has no name any more, which may be another one's by now.
        if self.holder(&name_key(&gone))? == Some(id.to_string()) {
            self.free_tunnel_name(&gone)?;
        }
        self.delete(Key::tunnel_config(account, id))?;
        self.delete(key)?;
        Ok(gone)
    }

    fn put_tunnel(&mut self, tunnel: &StoredTunnel) -> Result<(), Error> {
        self.put(Key::tunnel(tunnel.account_tag, tunnel.id), tunnel)
    }

    fn take_tunnel_name(&mut self, tunnel: &StoredTunnel) -> Result<(), Error> {
        self.take_name(name_key(tunnel), tunnel.id, Error::from(Fault::TunnelExists).at("/name"))
    }

    fn free_tunnel_name(&mut self, tunnel: &StoredTunnel) -> Result<(), Error> {
        self.delete(name_key(tunnel))
    }
}

/// What the document of a tunnel still tells when the rest cannot be read.
#[derive(serde::Deserialize)]
struct Remains {
    name: String,
}

fn name_key(tunnel: &StoredTunnel) -> Key {
    Key::unique(Scope::Account(tunnel.account_tag), Index::TunnelName, &tunnel.name)
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
    let connected = api.observed().connections.snapshot();
    let Some(status) = params.status.clone().filter(|status| !status.is_empty()) else {
        let listed = api.read_list(move |view| view.tunnels(&params.query(account, page))).await?;
        // The stock client reads no messages here, so what is left out shows in the counts alone.
        let total = listed.total;
        return Ok(Reply::page(listed.map(|stored| sent(&stored, &connected.value)).documents, page, total));
    };
    let query = params.query(account, Page { number: 1, size: READ_PAGE });
    let listed = api.read_list(move |view| view.tunnels_that_are(&status, query, &connected.value, page)).await?;
    Ok(Reply::page(listed.documents, page, listed.total))
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
            change.require(Key::account(account));
            change.take_tunnel_name(&stored)?;
            change.put_tunnel(&stored)?;
            let token = token_text(&sealing, &stored, &secret)?;
            Ok((stored, token))
        })
        .await?;
    Ok(Reply::of(Tunnel { token: Some(token), ..sent(&stored, &api.observed().connections.snapshot().value) }))
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
    Ok(Reply::of(sent(&stored, &api.observed().connections.snapshot().value)))
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
        api.observed().commands.command(Command::DropConnections { tunnel: id, connector: None });
    }
    Ok(Reply::of(sent(&stored, &api.observed().connections.snapshot().value)))
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
    let in_use = api.observed().connections.snapshot().value.of(id).next().is_some();
    let stored = api
        .change(&caller, move |change| {
            let found = change.tunnel_if_readable(account, id)?;
            if in_use && params.cascade != Some(true) {
                return Err(Fault::TunnelInUse.into());
            }
            let Some(mut stored) = found else {
                return change.delete_damaged_tunnel(account, id);
            };
            change.free_tunnel_name(&stored)?;
            stored.deleted_at = Some(change.now());
            // Nobody may connect any more, so nobody needs the secret.
            stored.sealed_secret = String::new();
            change.put_tunnel(&stored)?;
            change.delete(Key::tunnel_config(account, id))?;
            Ok(stored)
        })
        .await?;
    api.observed().commands.command(Command::DropConnections { tunnel: id, connector: None });
    Ok(Reply::of(sent(&stored, &api.observed().connections.snapshot().value)))
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

fn sent(stored: &StoredTunnel, connected: &Connections) -> Tunnel {
    let deleted = stored.deleted_at.is_some();
    let connections: Vec<Connection> = connected.of(stored.id).filter(|_| !deleted).map(connection).collect();
    let health = connected.health(stored.id);
    Tunnel {
        id: stored.id,
        name: stored.name.clone(),
        account_tag: stored.account_tag,
        created_at: stored.created_at,
        deleted_at: stored.deleted_at,
        status: if deleted { Health::Inactive } else { health }.as_str().to_owned(),
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
