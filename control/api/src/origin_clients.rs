//! `/zones/{zone_id}/origin_tls_client_auth`: certificates by which the edge is known to origins, of a zone and of some of its
//! hosts (authenticated origin pulls). Keys are sealed, and shown to nobody.
//!
//! Whether the zone's certificate is shown is its setting `tls_client_auth`, which `…/settings` changes too. Of several the one
//! that was brought last is used, so that the next one takes over at once and its deletion brings the last one back.

use std::marker::PhantomData;

use axum::extract::State;
use bartizan_certs::{At, Chain, ChainError, OriginClient as Stored};
use bartizan_model::{ClientHost as Parsed, change_setting, show_setting};
use bartizan_names::{CertificateId, SettingId, Timestamp, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::Envelope;
use bartizan_v4::Patch;
use bartizan_v4::origin_client::{
    OriginClient, OriginClientBody, OriginClientHost, OriginClientHostsBody, OriginClientSwitch, StoredOriginClientHost,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::resource::{self, All, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, View};

/// Certificates of a zone, and as many of its hosts.
const CERTIFICATES_MAX: u64 = 100;

/// Hosts that have their own.
const HOSTS_MAX: u64 = 1_000;

/// Hosts of one call.
const CONFIG_MAX: usize = 100;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<OriginClients<OfZone>>(api)
        .merge(resource::routes::<OriginClients<OfHosts>>(api))
        .routes(needs(Permission::SslRead, api, routes!(settings)))
        .routes(needs(Permission::SslWrite, api, routes!(set)))
        .routes(needs(Permission::SslRead, api, routes!(host)))
        .routes(needs(Permission::SslWrite, api, routes!(set_hosts)))
}

/// For which names of a zone.
trait Level: Send + Sync + 'static {
    const KIND: Kind;
    const PATH: &'static str;
    const ID: &'static str;
    const MANY: &'static str;
}

struct OfZone;

impl Level for OfZone {
    const KIND: Kind = Kind::OriginClient;
    const PATH: &'static str = "origin_tls_client_auth";
    const ID: &'static str = "origin_certificate_id";
    const MANY: &'static str = "Certificates for origins";
}

struct OfHosts;

impl Level for OfHosts {
    const KIND: Kind = Kind::OriginHostClient;
    const PATH: &'static str = "origin_tls_client_auth/hostnames/certificates";
    const ID: &'static str = "origin_host_certificate_id";
    const MANY: &'static str = "Certificates for origins of hosts";
}

struct OriginClients<L>(PhantomData<L>);

impl<L: Level> Resource for OriginClients<L> {
    const KIND: Kind = L::KIND;
    const PLACES: &'static [Place] = &[Place::changed(Owner::Zone, Permission::SslRead, Permission::SslWrite)];
    const PATH: &'static str = L::PATH;
    const ID: &'static str = L::ID;
    const ONE: &'static str = "a certificate for origins";
    const MANY: &'static str = L::MANY;
    const CALLS: &'static [Call] = &[Call::List, Call::Get, Call::Create, Call::Delete];
    const SIZES: PageSizes = PageSizes { min: 1, default: 20, max: CERTIFICATES_MAX as u32 };
    const UNKNOWN: Fault = Fault::CertificateUnknown;
    const TAGGED: bool = false;

    type Id = CertificateId;
    type Params = All;
    type Document = Stored;
    type Sent = OriginClient;

    fn sent(_: &Here<'_>, _: &View, stored: Stored) -> Result<OriginClient, Error> {
        let Stored { id, certificate, sealed_key: _, issuer, signature, serial_number, expires_on, uploaded_on } =
            stored;
        let status = "active".to_owned();
        Ok(OriginClient { id, certificate, expires_on, issuer, serial_number, signature, status, uploaded_on })
    }
}

impl<L: Level> Editable for OriginClients<L> {
    type Body = OriginClientBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &OriginClientBody) -> Result<Stored, Error> {
        if change.0.count(&Prefix::of(here.scope, L::KIND))? >= CERTIFICATES_MAX {
            let why = format!("the zone has {CERTIFICATES_MAX} of them, which is the most; delete one");
            return Err(Fault::CertificateInvalid.because(why));
        }
        let certificate = body.certificate.value().ok_or(ChainError::Missing(At::Certificate))?;
        let key = body.private_key.value().ok_or(ChainError::Missing(At::Key))?;
        let chain = Chain::read_for_client(certificate, key, change.now())?;
        Ok(Stored::new(CertificateId::from_bytes(bartizan_seal::random()), &chain, here.api.seal(), change.now()))
    }

    fn edit(_: &Here<'_>, _: &mut Change, old: &Stored, _: &OriginClientBody, _: Edit) -> Result<Stored, Error> {
        Ok(old.clone())
    }

    fn id(stored: &Stored) -> CertificateId {
        stored.id
    }

    fn stamp(_: &mut Stored, _: Timestamp) {}
}

/// Whether origins of a zone are shown its certificate.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/origin_tls_client_auth/settings",
    tag = "Certificates for origins",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = Envelope<OriginClientSwitch>))
)]
async fn settings(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
) -> Result<Reply<OriginClientSwitch>, Error> {
    let switch = api
        .read(move |view| {
            view.zone(&caller, zone)?;
            let shown = show_setting(SettingId::TlsClientAuth, &view.settings(zone)?);
            Ok(OriginClientSwitch { enabled: shown.value == "on" })
        })
        .await?;
    Ok(Reply::of(switch))
}

/// Says whether origins of a zone are shown its certificate.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/origin_tls_client_auth/settings",
    tag = "Certificates for origins",
    params(("zone_id" = String, Path)),
    request_body = OriginClientSwitch,
    responses((status = 200, body = Envelope<OriginClientSwitch>))
)]
async fn set(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(switch): Body<OriginClientSwitch>,
) -> Result<Reply<OriginClientSwitch>, Error> {
    let actor = caller.clone();
    api.change(&actor, move |change| {
        change.zone(&caller, zone)?;
        let mut stored = change.settings(zone)?;
        let value = serde_json::Value::Bool(switch.enabled);
        change_setting(SettingId::TlsClientAuth, &mut stored, &value, change.now())?;
        change.put_settings(zone, &stored)
    })
    .await?;
    Ok(Reply::of(switch))
}

/// What is shown to the origin of a host, if that is its own.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/origin_tls_client_auth/hostnames/{hostname}",
    tag = "Certificates for origins",
    params(("zone_id" = String, Path), ("hostname" = String, Path)),
    responses((status = 200, body = Envelope<OriginClientHost>))
)]
async fn host(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, host)): Ids<(ZoneId, String)>,
) -> Result<Reply<OriginClientHost>, Error> {
    let host = api
        .read(move |view| {
            let zone = view.zone_of(&caller, zone)?;
            let name = Parsed::parse_name(&host, &zone.name)?;
            let found: Option<StoredOriginClientHost> = view.find(&Key::origin_client_host(zone.id, &name))?;
            view.shown(zone.id, found.ok_or(Fault::CertificateUnknown)?)
        })
        .await?;
    Ok(Reply::of(host))
}

/// Says what is shown to the origins of some hosts. Hosts that are not named stay as they are.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/origin_tls_client_auth/hostnames",
    tag = "Certificates for origins",
    params(("zone_id" = String, Path)),
    request_body = OriginClientHostsBody,
    responses((status = 200, body = Envelope<Vec<OriginClientHost>>))
)]
async fn set_hosts(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<OriginClientHostsBody>,
) -> Result<Reply<Vec<OriginClientHost>>, Error> {
    if body.config.len() > CONFIG_MAX {
        return Err(Fault::CertificateInvalid.because(format!("{CONFIG_MAX} hosts at most")).at("/config"));
    }
    let actor = caller.clone();
    let shown: Vec<OriginClientHost> = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            let mut all = Vec::new();
            for (index, wanted) in body.config.iter().enumerate() {
                let at = |member: &str| format!("/config/{index}/{member}");
                let name = Parsed::parse_name(&wanted.hostname, &zone.name)
                    .map_err(|error| Error::from(error).nowhere().at(at("hostname")))?;
                let key = Key::origin_client_host(zone.id, &name);
                if wanted.enabled == Patch::Null {
                    if change.has(&key)? {
                        change.delete(key)?;
                    }
                    continue;
                }
                if name.is_wildcard() {
                    let why = "an origin is asked for one name: say which";
                    return Err(Fault::CertificateInvalid.because(why).at(at("hostname")));
                }
                let old: Option<StoredOriginClientHost> = change.find(&key)?;
                if old.is_none() {
                    change.refuse_hosts_of_others(&zone, [&name], &at("hostname"))?;
                    if change.0.count(&Prefix::of(Scope::Zone(zone.id), Kind::OriginClientHost))? >= HOSTS_MAX {
                        let why = format!("{HOSTS_MAX} hosts of a zone at most have their own");
                        return Err(Fault::CertificateInvalid.because(why).at("/config"));
                    }
                }
                let id = match (wanted.cert_id.value(), &old) {
                    (Some(id), _) => id.parse().ok(),
                    (None, Some(old)) => Some(old.cert_id),
                    (None, None) => None,
                };
                let is_there = |id: &CertificateId| change.has(&Key::origin_host_client(zone.id, *id));
                let id = match id {
                    Some(id) if is_there(&id)? => id,
                    _ => return Err(Error::from(Fault::CertificateUnknown).at(at("cert_id"))),
                };
                let created_at = old.as_ref().map_or_else(|| change.now(), |old| old.created_at);
                let enabled = wanted.enabled.value().copied().unwrap_or(true);
                let hostname = name.to_string();
                let new =
                    StoredOriginClientHost { hostname, cert_id: id, enabled, created_at, updated_at: change.now() };
                change.put(key, &new)?;
                all.push(new);
            }
            all.into_iter().map(|host| change.shown(zone.id, host)).collect()
        })
        .await?;
    let total = shown.len() as u64;
    Ok(Reply::page(shown, Page { number: 1, size: CONFIG_MAX as u32 }, total))
}

impl View {
    fn shown(&self, zone: ZoneId, host: StoredOriginClientHost) -> Result<OriginClientHost, Error> {
        let StoredOriginClientHost { hostname, cert_id, enabled, created_at, updated_at } = host;
        let own: Option<Stored> = self.find(&Key::origin_host_client(zone, cert_id))?;
        let cert_status = if own.is_some() { "active" } else { "deleted" }.to_owned();
        Ok(OriginClientHost {
            hostname,
            cert_id,
            enabled,
            status: "active".to_owned(),
            cert_status,
            created_at,
            updated_at,
            certificate: own.as_ref().map(|own| own.certificate.clone()),
            issuer: own.as_ref().map(|own| own.issuer.clone()),
            serial_number: own.as_ref().map(|own| own.serial_number.clone()),
            signature: own.as_ref().map(|own| own.signature.clone()),
            expires_on: own.as_ref().map(|own| own.expires_on),
            cert_uploaded_on: own.as_ref().map(|own| own.uploaded_on),
        })
    }
}
