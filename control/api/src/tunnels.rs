//! `/accounts/{account_id}/cfd_tunnel`: tunnels, their tokens, connections and configurations.
//!
//! The stock client reads these replies strictly: status 200 always, `messages` always empty, 409 for a name that is taken.

mod configuration;
mod connections;
mod secret;

use axum::extract::State;
use bartizan_names::{AccountId, Timestamp, TunnelId};
use bartizan_observed::{Command, Connections, Health};
use bartizan_store::{Index, Key, Kind, Scope, TunnelQuery};
use bartizan_v4::tunnel::{TunnelExtension, TunnelMetadata};
use bartizan_v4::{Connection, StoredTunnel, Tunnel, TunnelBody};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::connections::connection;
use self::secret::{SECRET_MIN, keep_secret, secret, token_of};
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::path::{AccountScope, BASE};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::resource::{self, Call, Edit, Editable, Here, Owner, Place, Resource};
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
    resource::routes::<Tunnels>(api)
        .routes(needs(Permission::TunnelWrite, api, routes!(delete)))
        .routes(needs(Permission::TunnelWrite, api, routes!(secret::token)))
        .routes(needs(Permission::TunnelRead, api, routes!(connections::connections)))
        .routes(needs(Permission::TunnelWrite, api, routes!(connections::drop_connections)))
        .routes(needs(Permission::TunnelRead, api, routes!(configuration::configuration)))
        .routes(needs(Permission::TunnelWrite, api, routes!(configuration::put_configuration)))
}

struct Tunnels;

impl Resource for Tunnels {
    const KIND: Kind = Kind::Tunnel;
    const PLACES: &'static [Place] = &[Place::changed(Owner::Account, Permission::TunnelRead, Permission::TunnelWrite)];
    const PATH: &'static str = "cfd_tunnel";
    const ID: &'static str = "tunnel_id";
    const ONE: &'static str = "a tunnel";
    const MANY: &'static str = "Tunnels";
    const CALLS: &'static [Call] = &[Call::List, Call::Get, Call::Create, Call::Edit(Edit::Patch)];
    const SIZES: PageSizes = PageSizes { min: 1, default: 100, max: 1_000 };
    const UNKNOWN: Fault = Fault::TunnelUnknown;
    const TAGGED: bool = false;

    type Id = TunnelId;
    type Params = Params;
    type Document = StoredTunnel;
    type Sent = Tunnel;

    fn sent(here: &Here<'_>, _: &View, tunnel: StoredTunnel) -> Result<Tunnel, Error> {
        Ok(sent(tunnel, &here.api.observed().connections.snapshot().value))
    }

    fn list(here: &Here<'_>, view: &View, params: Params, page: Page) -> Result<Listed<StoredTunnel>, Error> {
        let account = here.account_id()?;
        let listed = match params.status.clone() {
            None => view.tunnels(&params.query(account, page))?,
            Some(status) => {
                let connected = here.api.observed().connections.snapshot();
                let query = params.query(account, Page { number: 1, size: READ_PAGE });
                view.tunnels_that_are(&status, query, &connected.value, page)?
            }
        };
        // The stock client reads no messages here, so what is left out shows in the counts alone.
        Ok(Listed { left_out: 0, ..listed })
    }
}

impl Editable for Tunnels {
    type Body = TunnelBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &TunnelBody) -> Result<StoredTunnel, Error> {
        let mut tunnel = StoredTunnel {
            id: TunnelId::from_random(bartizan_seal::random()),
            name: name(body.name.value())?,
            account_tag: here.account_id()?,
            created_at: change.now(),
            deleted_at: None,
            config_src: config_src(body.config_src.value())?.to_owned(),
            secret_sha256: String::new(),
            sealed_secret: String::new(),
        };
        let secret = match body.tunnel_secret.value() {
            Some(text) => secret(text)?,
            None => bartizan_seal::random::<SECRET_MIN>().to_vec(),
        };
        keep_secret(here.api, &mut tunnel, &secret);
        Ok(tunnel)
    }

    /// With another secret, connectors with the old one are cut off.
    fn edit(
        here: &Here<'_>,
        change: &mut Change,
        old: &StoredTunnel,
        body: &TunnelBody,
        _: Edit,
    ) -> Result<StoredTunnel, Error> {
        let mut tunnel = in_force(old.clone())?;
        if let Some(text) = body.name.value() {
            tunnel.name = name(Some(text))?;
        }
        if let Some(text) = body.tunnel_secret.value() {
            keep_secret(here.api, &mut tunnel, &secret(text)?);
            let (api, id) = (here.api.clone(), tunnel.id);
            change.afterwards(move || cut_off(&api, id));
        }
        Ok(tunnel)
    }

    fn id(tunnel: &StoredTunnel) -> TunnelId {
        tunnel.id
    }

    /// The dialect has no such time.
    fn stamp(_: &mut StoredTunnel, _: Timestamp) {}

    fn put(_: &Here<'_>, change: &mut Change, old: Option<&StoredTunnel>, new: &StoredTunnel) -> Result<(), Error> {
        let taken = Error::from(Fault::TunnelExists).at("/name");
        change.move_name(old.map(name_key), name_key(new), new.id, taken)?;
        change.put_tunnel(new)
    }

    /// The reply holds its token.
    fn made(here: &Here<'_>, view: &View, tunnel: StoredTunnel) -> Result<Tunnel, Error> {
        let token = Some(token_of(here.api, &tunnel)?);
        Ok(Tunnel { token, ..Tunnels::sent(here, view, tunnel)? })
    }
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
pub(crate) struct Params {
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
}

impl Params {
    fn query(self, account: AccountId, page: Page) -> TunnelQuery {
        TunnelQuery {
            account,
            name: self.name,
            include_prefix: self.include_prefix.or(self.name_prefix),
            exclude_prefix: self.exclude_prefix,
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
        self.tunnel(account, id).and_then(in_force)
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
    ) -> Result<Listed<StoredTunnel>, Error> {
        let (first, mut found) = (page.before(), Listed::none());
        loop {
            let some = self.tunnels(&query)?;
            for tunnel in some.documents.into_iter().filter(|tunnel| status_of(tunnel, connected).as_str() == status) {
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
        let name = self.if_readable::<Remains>(&key)?.map(|remains| remains.name).unwrap_or_default();
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

    fn free_tunnel_name(&mut self, tunnel: &StoredTunnel) -> Result<(), Error> {
        self.delete(name_key(tunnel))
    }
}

/// Puts a tunnel back under the name that it had.
pub(crate) fn put_back(change: &mut Change, now: &StoredTunnel, new: &StoredTunnel) -> Result<(), Error> {
    change.move_name(Some(name_key(now)), name_key(new), new.id, Fault::TunnelExists)?;
    change.put_tunnel(new)
}

/// A deleted tunnel as it was, under the name that it had: its connectors are let in again.
pub(crate) fn bring_back(change: &mut Change, tunnel: &StoredTunnel) -> Result<(), Error> {
    change.move_name(None, name_key(tunnel), tunnel.id, Error::from(Fault::TunnelExists).at("/name"))?;
    change.guard(&Key::tunnel(tunnel.account_tag, tunnel.id))?;
    change.put_tunnel(tunnel)
}

/// What the document of a tunnel still tells when the rest cannot be read.
#[derive(serde::Deserialize)]
struct Remains {
    name: String,
}

fn name_key(tunnel: &StoredTunnel) -> Key {
    Key::unique(Scope::Account(tunnel.account_tag), Index::TunnelName, &tunnel.name)
}

/// Why there is nothing at a path for which the stock client has commands.
pub(crate) fn not_served(path: &str) -> Option<Fault> {
    let mut words = path.strip_prefix(BASE)?.strip_prefix("/accounts/")?.split('/').skip(1);
    match (words.next()?, words.nth(1)) {
        ("teamnet", _) => Some(Fault::PrivateNetworks),
        ("cfd_tunnel", Some("management")) => Some(Fault::ConnectorLogs),
        _ => None,
    }
}

/// A deleted one is as none where something is done to it.
fn in_force(tunnel: StoredTunnel) -> Result<StoredTunnel, Error> {
    if tunnel.deleted_at.is_some() { Err(Fault::TunnelUnknown.into()) } else { Ok(tunnel) }
}

fn cut_off(api: &Api, tunnel: TunnelId) {
    api.observed().commands.command(Command::DropConnections { tunnel, connector: None });
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
    if !caller.only_tries() {
        cut_off(&api, id);
    }
    Ok(Reply::of(sent(stored, &api.observed().connections.snapshot().value)))
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

fn status_of(tunnel: &StoredTunnel, connected: &Connections) -> Health {
    if tunnel.deleted_at.is_some() { Health::Inactive } else { connected.health(tunnel.id) }
}

fn sent(stored: StoredTunnel, connected: &Connections) -> Tunnel {
    let deleted = stored.deleted_at.is_some();
    let fault = connected.service_fault(stored.id).filter(|_| !deleted);
    let connections: Vec<Connection> = connected.of(stored.id).filter(|_| !deleted).map(connection).collect();
    Tunnel {
        id: stored.id,
        status: status_of(&stored, connected).as_str().to_owned(),
        name: stored.name,
        account_tag: stored.account_tag,
        created_at: stored.created_at,
        deleted_at: stored.deleted_at,
        conns_active_at: connections.iter().map(|connection| connection.opened_at).min(),
        conns_inactive_at: None,
        connections,
        tun_type: "cfd_tunnel".to_owned(),
        metadata: TunnelMetadata {},
        remote_config: stored.config_src == REMOTE,
        config_src: stored.config_src,
        token: None,
        bartizan: fault.map(|fault| TunnelExtension { service_fault: fault.as_str().to_owned() }),
    }
}
