//! `/bartizan/zones/{zone_id}/client_hosts`: what hosts want to know of their clients by certificates, and
//! `/zones/{zone_id}/certificate_authorities/hostname_associations`: which of them believe which authority.
//!
//! A host is kept with all that holds for it, the authorities that it believes included, so that a handshake needs nothing
//! else. One that is put by its authorities alone reports: nothing breaks, and the origin is told.

use std::collections::BTreeSet;

use axum::extract::State;
use bartizan_model::{ClientHost as Parsed, Zone};
use bartizan_names::{ClientRootId, Name, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::client_auth::{
    AccessHostSettings, AccessHostSettingsBody, ClientHost, ClientHostBody, HostnameAssociations,
    HostnameAssociationsBody,
};
use bartizan_v4::{Deleted, Envelope, Patch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::state::Api;
use crate::transaction::{Change, View};

/// Hosts of a zone that ask their clients for a certificate. A wildcard is one.
const HOSTS_MAX: usize = 1_000;

/// Authorities that a host believes. Each is a name that its clients are told.
const AUTHORITIES_MAX: usize = 20;

const SIZES: PageSizes = PageSizes { min: 1, default: 100, max: 1_000 };

/// What is not said otherwise.
const MODE: &str = "report";

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::SslRead, api, routes!(list)))
        .routes(needs(Permission::SslRead, api, routes!(get)))
        .routes(needs(Permission::SslWrite, api, routes!(put)))
        .routes(needs(Permission::SslWrite, api, routes!(patch)))
        .routes(needs(Permission::SslWrite, api, routes!(delete)))
        .routes(needs(Permission::SslRead, api, routes!(associations)))
        .routes(needs(Permission::SslWrite, api, routes!(associate)))
        .routes(needs(Permission::SslRead, api, routes!(settings)))
        .routes(needs(Permission::SslWrite, api, routes!(set)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Paging {
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The hosts of a zone that ask their clients for a certificate, or may.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/client_hosts",
    tag = "Client certificates",
    params(("zone_id" = String, Path), Paging),
    responses((status = 200, body = Envelope<Vec<ClientHost>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(paging): Query<Paging>,
) -> Result<Reply<Vec<ClientHost>>, Error> {
    let page = SIZES.page(paging.page, paging.per_page);
    let listed = api
        .read_list(move |view| {
            view.zone(&caller, zone)?;
            view.page(&prefix(zone), page)
        })
        .await?;
    Ok(Reply::page(listed.documents, page, listed.total).without(listed.left_out))
}

/// What a host wants to know of its clients.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/client_hosts/{hostname}",
    tag = "Client certificates",
    params(("zone_id" = String, Path), ("hostname" = String, Path)),
    responses((status = 200, body = Envelope<ClientHost>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, host)): Ids<(ZoneId, String)>,
) -> Result<Reply<ClientHost>, Error> {
    let found: Option<ClientHost> = api
        .read(move |view| {
            let zone = view.zone_of(&caller, zone)?;
            view.find(&Key::client_host(zone.id, &Parsed::parse_name(&host, &zone.name)?))
        })
        .await?;
    Ok(Reply::of(found.ok_or(Fault::ClientHostUnknown)?))
}

/// Says what a host wants to know of its clients. What the body leaves out goes back to its default, but for the mode: that
/// stays as it is.
#[utoipa::path(
    put,
    path = "/bartizan/zones/{zone_id}/client_hosts/{hostname}",
    tag = "Client certificates",
    params(("zone_id" = String, Path), ("hostname" = String, Path)),
    request_body = ClientHostBody,
    responses((status = 200, body = Envelope<ClientHost>))
)]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, host)): Ids<(ZoneId, String)>,
    Body(body): Body<ClientHostBody>,
) -> Result<Reply<ClientHost>, Error> {
    edit(api, caller, (zone, host), body, How::Replace).await
}

/// Changes what a host wants to know of its clients. What the body leaves out stays.
#[utoipa::path(
    patch,
    path = "/bartizan/zones/{zone_id}/client_hosts/{hostname}",
    tag = "Client certificates",
    params(("zone_id" = String, Path), ("hostname" = String, Path)),
    request_body = ClientHostBody,
    responses((status = 200, body = Envelope<ClientHost>))
)]
async fn patch(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, host)): Ids<(ZoneId, String)>,
    Body(body): Body<ClientHostBody>,
) -> Result<Reply<ClientHost>, Error> {
    edit(api, caller, (zone, host), body, How::Patch).await
}

/// Lets a host ask its clients for nothing any more, and believe no authority.
#[utoipa::path(
    delete,
    path = "/bartizan/zones/{zone_id}/client_hosts/{hostname}",
    tag = "Client certificates",
    params(("zone_id" = String, Path), ("hostname" = String, Path)),
    responses((status = 200, body = Envelope<Deleted>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, host)): Ids<(ZoneId, String)>,
) -> Result<Reply<Deleted>, Error> {
    let actor = caller.clone();
    let name = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            let name = Parsed::parse_name(&host, &zone.name)?;
            let key = Key::client_host(zone.id, &name);
            if !change.has(&key)? {
                return Err(Fault::ClientHostUnknown.into());
            }
            if let Some(host) = change.if_readable::<ClientHost>(&key)? {
                for id in host.authorities {
                    change.forget_host(&zone, id, &name)?;
                }
            }
            change.delete(key)?;
            Ok(name)
        })
        .await?;
    Ok(Reply::of(Deleted { id: name.to_string() }))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Authority {
    /// None: the zone's own authority.
    mtls_certificate_id: Option<String>,
}

/// The hosts of a zone that believe an authority.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/certificate_authorities/hostname_associations",
    tag = "Client certificates",
    params(("zone_id" = String, Path), Authority),
    responses((status = 200, body = Envelope<HostnameAssociations>))
)]
async fn associations(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(authority): Query<Authority>,
) -> Result<Reply<HostnameAssociations>, Error> {
    let believed = Believed::read(authority.mtls_certificate_id.as_deref())?;
    let hostnames = api
        .read(move |view| {
            view.zone(&caller, zone)?;
            let hosts = view.client_hosts(zone)?.into_iter().filter(|host| believed.is_by(host));
            Ok(hosts.map(|host| host.hostname).collect())
        })
        .await?;
    Ok(Reply::of(HostnameAssociations { hostnames }))
}

/// Says which hosts of a zone believe an authority, and no others.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/certificate_authorities/hostname_associations",
    tag = "Client certificates",
    params(("zone_id" = String, Path)),
    request_body = HostnameAssociationsBody,
    responses((status = 200, body = Envelope<HostnameAssociations>))
)]
async fn associate(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<HostnameAssociationsBody>,
) -> Result<Reply<HostnameAssociations>, Error> {
    let believed = Believed::read(body.mtls_certificate_id.value().map(String::as_str))?;
    let Some(hostnames) = body.hostnames.value().cloned() else {
        // Whoever forgets it would shut out all.
        return Err(Fault::ClientHostInvalid
            .because("there must be a list of all hosts that believe it")
            .at("/hostnames"));
    };
    let actor = caller.clone();
    let seal = api.seal().clone();
    let hostnames = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            let hosts = hosts_in(&hostnames, &zone, "/hostnames")?;
            change.refuse_hosts_of_others(&zone, &hosts, "/hostnames")?;
            match believed {
                Believed::Own => drop(change.client_authority(&zone, &seal)?),
                Believed::Root(id) => change.keep_hosts(&zone, id, &hosts)?,
            }
            change.associate(&zone, believed, &hosts)?;
            Ok(hosts.iter().map(Name::to_string).collect())
        })
        .await?;
    Ok(Reply::of(HostnameAssociations { hostnames }))
}

/// Which hosts send the certificates of their clients to their origins.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/access/certificates/settings",
    tag = "Client certificates",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<AccessHostSettings>>))
)]
async fn settings(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
) -> Result<Reply<Vec<AccessHostSettings>>, Error> {
    let hosts = api
        .read(move |view| {
            view.zone(&caller, zone)?;
            view.client_hosts(zone)
        })
        .await?;
    let shown: Vec<AccessHostSettings> = hosts.iter().map(settings_of).collect();
    let (page, total) = (Page { number: 1, size: HOSTS_MAX as u32 }, shown.len() as u64);
    Ok(Reply::page(shown, page, total))
}

/// Says which hosts send the certificates of their clients to their origins. Hosts that are not named stay as they are.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/access/certificates/settings",
    tag = "Client certificates",
    params(("zone_id" = String, Path)),
    request_body = AccessHostSettingsBody,
    responses((status = 200, body = Envelope<Vec<AccessHostSettings>>))
)]
async fn set(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<AccessHostSettingsBody>,
) -> Result<Reply<Vec<AccessHostSettings>>, Error> {
    if body.settings.len() > HOSTS_MAX {
        return Err(Fault::ClientHostInvalid.because(format!("{HOSTS_MAX} at most")).at("/settings"));
    }
    let actor = caller.clone();
    let shown: Vec<AccessHostSettings> = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            let mut shown = Vec::new();
            for (index, wanted) in body.settings.iter().enumerate() {
                let at = format!("/settings/{index}/hostname");
                let name = Parsed::parse_name(&wanted.hostname, &zone.name)
                    .map_err(|error| Error::from(error).nowhere().at(at.clone()))?;
                let key = Key::client_host(zone.id, &name);
                let found: Option<ClientHost> = change.find(&key)?;
                let old = found.ok_or_else(|| Error::from(Fault::ClientHostUnknown).at(at))?;
                let client_certificate_forwarding = wanted.client_certificate_forwarding;
                let mut new = ClientHost { client_certificate_forwarding, ..old.clone() };
                if new != old {
                    new.modified_on = change.now();
                    change.put(key, &new)?;
                }
                shown.push(settings_of(&new));
            }
            Ok(shown)
        })
        .await?;
    let (page, total) = (Page { number: 1, size: HOSTS_MAX as u32 }, shown.len() as u64);
    Ok(Reply::page(shown, page, total))
}

fn settings_of(host: &ClientHost) -> AccessHostSettings {
    let client_certificate_forwarding = host.client_certificate_forwarding;
    AccessHostSettings { hostname: host.hostname.clone(), china_network: false, client_certificate_forwarding }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Replace,
    Patch,
}

async fn edit(
    api: Api,
    caller: Caller,
    (zone, host): (ZoneId, String),
    body: ClientHostBody,
    how: How,
) -> Result<Reply<ClientHost>, Error> {
    if matches!(body.mode, Patch::Null) {
        // There is none that could be meant by nothing: the usual one lets everybody in.
        return Err(Fault::ClientHostInvalid.because("mode is off, report or enforce").at("/mode"));
    }
    let actor = caller.clone();
    let host = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            let name = Parsed::parse_name(&host, &zone.name)?;
            change.refuse_hosts_of_others(&zone, [&name], "/hostname")?;
            let key = Key::client_host(zone.id, &name);
            // What cannot be read is written anew.
            let old: Option<ClientHost> = change.if_readable(&key)?;
            if old.is_none() && how == How::Patch {
                return Err(Fault::ClientHostUnknown.into());
            }
            let mut new = edited(old.clone().unwrap_or_else(|| fresh(&name, change)), &body, how);
            Parsed::parse(&new)?;
            if old.as_ref() != Some(&new) {
                if old.is_none() {
                    change.make_room_for_hosts(zone.id, 1)?;
                }
                new.modified_on = change.now();
                change.put(key, &new)?;
            }
            Ok(new)
        })
        .await?;
    let reply = Reply::of(host.clone());
    Ok(if host.mode == "enforce" && host.authorities.is_empty() && !host.managed {
        let why = "this host believes no authority, so nobody is let in: associate one with it";
        reply.with_message(Fault::ClientHostInvalid.code(), why)
    } else {
        reply
    })
}

fn fresh(name: &Name, change: &Change) -> ClientHost {
    ClientHost {
        hostname: name.to_string(),
        mode: MODE.to_owned(),
        authorities: Vec::new(),
        managed: false,
        refusal: None,
        headers: Vec::new(),
        client_certificate_forwarding: false,
        modified_on: change.now(),
    }
}

fn edited(old: ClientHost, body: &ClientHostBody, how: How) -> ClientHost {
    fn pick<T: Clone>(said: &Patch<T>, old: T, usual: T, how: How) -> T {
        match (said, how) {
            (Patch::Value(value), _) => value.clone(),
            (Patch::Absent, How::Patch) => old,
            (Patch::Absent, How::Replace) | (Patch::Null, _) => usual,
        }
    }
    let refusal = match &body.refusal {
        Patch::Value(refusal) => Patch::Value(Some(refusal.clone())),
        Patch::Null => Patch::Null,
        Patch::Absent => Patch::Absent,
    };
    ClientHost {
        // Whoever says something else of a host does not open it.
        mode: pick(&body.mode, old.mode, MODE.to_owned(), How::Patch),
        refusal: pick(&refusal, old.refusal, None, how),
        headers: pick(&body.headers, old.headers, Vec::new(), how),
        client_certificate_forwarding: pick(
            &body.client_certificate_forwarding,
            old.client_certificate_forwarding,
            false,
            how,
        ),
        hostname: old.hostname,
        authorities: old.authorities,
        managed: old.managed,
        modified_on: old.modified_on,
    }
}

/// Whom hosts believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Believed {
    /// The zone's own authority.
    Own,
    Root(ClientRootId),
}

impl Believed {
    fn read(id: Option<&str>) -> Result<Believed, Error> {
        let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(Believed::Own) };
        let id = id.parse().map_err(|_| Error::from(Fault::ClientRootUnknown).at("/mtls_certificate_id"))?;
        Ok(Believed::Root(id))
    }

    fn is_by(self, host: &ClientHost) -> bool {
        match self {
            Believed::Own => host.managed,
            Believed::Root(id) => host.authorities.contains(&id),
        }
    }

    fn set(self, host: &mut ClientHost, believed: bool) {
        match self {
            Believed::Own => host.managed = believed,
            Believed::Root(id) => {
                host.authorities.retain(|other| *other != id);
                if believed {
                    host.authorities.push(id);
                }
            }
        }
    }
}

/// Hosts of a zone as somebody lists them.
pub(crate) fn hosts_in(texts: &[String], zone: &Zone, at: &str) -> Result<BTreeSet<Name>, Error> {
    if texts.len() > HOSTS_MAX {
        return Err(Fault::ClientHostInvalid.because(format!("{HOSTS_MAX} hosts at most")).at(at));
    }
    let read = |(index, text): (usize, &String)| {
        let read = Parsed::parse_name(text, &zone.name);
        read.map_err(|error| Error::from(error).nowhere().at(format!("{at}/{index}")))
    };
    texts.iter().enumerate().map(read).collect()
}

impl View {
    /// A host belongs to the innermost zone that it lies in: what is said of it elsewhere would hold for nobody.
    pub(crate) fn refuse_hosts_of_others<'n>(
        &self,
        zone: &Zone,
        hosts: impl IntoIterator<Item = &'n Name>,
        at: &str,
    ) -> Result<(), Error> {
        for host in hosts {
            let inside = if host.is_wildcard() { host.parent() } else { Some(host.clone()) };
            let around = inside.map(|name| self.zone_around(&name)).transpose()?.flatten();
            if let Some((apex, _)) = around.filter(|(_, id)| *id != zone.id) {
                let why = format!("{host} lies in the zone {apex} of this edge: it is said there");
                return Err(Fault::ClientHostInvalid.because(why).at(at));
            }
        }
        Ok(())
    }

    /// All hosts of a zone that can be read.
    pub(crate) fn client_hosts(&self, zone: ZoneId) -> Result<Vec<ClientHost>, Error> {
        Ok(self.page(&prefix(zone), Page { number: 1, size: HOSTS_MAX as u32 })?.documents)
    }
}

impl Change {
    /// Lets exactly these hosts of a zone believe somebody.
    pub(crate) fn associate(&mut self, zone: &Zone, believed: Believed, wanted: &BTreeSet<Name>) -> Result<(), Error> {
        let mut missing = wanted.clone();
        for host in self.client_hosts(zone.id)? {
            let Ok(name) = Name::parse(&host.hostname) else { continue };
            let is_wanted = missing.remove(&name);
            if is_wanted != believed.is_by(&host) {
                self.put_believed(zone, &name, host, believed, is_wanted)?;
            }
        }
        self.make_room_for_hosts(zone.id, missing.len())?;
        for name in missing {
            let host = fresh(&name, self);
            self.put_believed(zone, &name, host, believed, true)?;
        }
        Ok(())
    }

    fn put_believed(
        &mut self,
        zone: &Zone,
        name: &Name,
        mut host: ClientHost,
        believed: Believed,
        is_wanted: bool,
    ) -> Result<(), Error> {
        let key = Key::client_host(zone.id, name);
        believed.set(&mut host, is_wanted);
        if host.authorities.len() > AUTHORITIES_MAX {
            let why = format!("{name} believes {AUTHORITIES_MAX} authorities already, which is the most");
            return Err(Fault::ClientHostInvalid.because(why));
        }
        host.modified_on = self.now();
        let is_of_no_use = ClientHost { modified_on: host.modified_on, ..fresh(name, self) } == host;
        // One that nobody said anything of goes with its last authority.
        if !is_wanted && is_of_no_use { self.delete(key) } else { self.put(key, &host) }
    }

    pub(crate) fn make_room_for_hosts(&self, zone: ZoneId, more: usize) -> Result<(), Error> {
        if more > 0 && self.0.count(&prefix(zone))? + more as u64 > HOSTS_MAX as u64 {
            let why = format!("a zone has {HOSTS_MAX} hosts that ask for certificates at most; a wildcard is one");
            return Err(Fault::ClientHostInvalid.because(why));
        }
        Ok(())
    }
}

fn prefix(zone: ZoneId) -> Prefix {
    Prefix::of(Scope::Zone(zone), Kind::ClientHost)
}
