//! Certificates of the public authority: `/zones/{zone_id}/ssl/…` as the dialect has them, and `/bartizan/certificates`, all
//! of them. What is to be issued is a wish in the store; who fulfils it is `acme_worker`.

use std::time::Duration;

use axum::extract::State;
use bartizan_certs::{AcmeAccount, AcmeCertificate, AcmeState, Document, Method, Purpose};
use bartizan_model::Zone;
use bartizan_names::{CertificateId, Name, Timestamp, ZoneId};
use bartizan_store::{AcmeQuery, InZones, Key, Kind, Prefix, Scope};
use bartizan_v4::Patch;
use bartizan_v4::certificate::{
    CertificatePack, OrderBody, PackCertificate, PackQuota, PackQuotaCount, UniversalSettings, UniversalSettingsBody,
    Verification, VerificationBody,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{needs, shows};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Paging, Reply};
use crate::rights::{Target, ZonesSeen};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};

const SIZES: PageSizes = PageSizes { min: 1, default: 50, max: 500 };

/// Names that somebody may ask for: in one certificate, as public authorities have it, and certificates in a zone.
const HOSTS_MAX: usize = 100;
const ORDERED_MAX: u64 = 100;

/// Objects that are read, or put, in one go.
const PIECE: usize = 500;

/// Certificates of all zones that are looked at for one page: whoever has not seen a page of them by then sees few zones, and
/// these alone are gone through.
const LOOKED_AT: usize = 2 * PIECE;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::SslRead, api, routes!(settings)))
        .routes(needs(Permission::SslWrite, api, routes!(change_settings)))
        .routes(needs(Permission::SslRead, api, routes!(list)))
        .routes(needs(Permission::SslRead, api, routes!(quota)))
        .routes(needs(Permission::SslWrite, api, routes!(order)))
        .routes(needs(Permission::SslRead, api, routes!(get)))
        .routes(needs(Permission::SslWrite, api, routes!(restart)))
        .routes(needs(Permission::SslWrite, api, routes!(delete)))
        .routes(needs(Permission::SslRead, api, routes!(verification)))
        .routes(needs(Permission::SslWrite, api, routes!(change_verification)))
        .routes(shows(Permission::SslRead, api, routes!(all)))
}

/// Whether a zone gets certificates from the public authority.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/ssl/universal/settings",
    tag = "Certificates",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<UniversalSettings>))
)]
async fn settings(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
) -> Result<Reply<UniversalSettings>, Error> {
    let settings = api
        .read(move |view| {
            view.zone(&caller, id)?;
            view.universal(id)
        })
        .await?;
    Ok(Reply::of(settings))
}

/// Has the public authority issue for a zone, or not. Off, what it issued is not served any more; the local authority's
/// certificates are.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/ssl/universal/settings",
    tag = "Certificates",
    params(("zone_id" = String, Path)),
    request_body = UniversalSettingsBody,
    responses((status = 200, body = bartizan_v4::Envelope<UniversalSettings>))
)]
async fn change_settings(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Body(body): Body<UniversalSettingsBody>,
) -> Result<Reply<UniversalSettings>, Error> {
    let Some(wanted) = body.enabled.value().copied() else {
        return Err(Fault::SettingValue.because("it must be true or false").at("/enabled"));
    };
    let (actor, zone_of) = (caller.clone(), caller.clone());
    let mut after = None;
    let shared = api.clone();
    // The zone's own first: by it the others are wanted or not.
    let settings = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&zone_of, id)?;
            change.require(Key::zone(id));
            change.switch_universal(&zone, wanted)?;
            change.wake_acme(&shared);
            Ok(UniversalSettings { enabled: wanted, certificate_authority: change.authority_word()? })
        })
        .await?;
    loop {
        let (behind, caller) = (after.clone(), caller.clone());
        let last = api
            .change(&actor, move |change| {
                let zone = change.zone_of(&caller, id)?;
                change.require(Key::zone(id));
                if wanted { change.wish_again(&zone, behind.as_ref()) } else { change.unwish(&zone, behind.as_ref()) }
            })
            .await?;
        match last {
            Some(key) => after = Some(key),
            None => break,
        }
    }
    Ok(Reply::of(settings))
}

/// The certificates that the public authority issues, or is to issue, for a zone.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/ssl/certificate_packs",
    tag = "Certificates",
    params(("zone_id" = String, Path), Paging),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<CertificatePack>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Query(paging): Query<Paging>,
) -> Result<Reply<Vec<CertificatePack>>, Error> {
    let (page, now) = (paging.of(SIZES), api.clock().now());
    let listed = api
        .read_list(move |view| {
            let zone = view.zone_of(&caller, id)?;
            let issuer = view.authority_word()?;
            let listed: Listed<AcmeCertificate> = view.page(&prefix(id), page)?;
            listed.try_map(|certificate| Ok(pack(certificate, &zone.name.to_string(), &issuer, now)))
        })
        .await?;
    Ok(Reply::page(listed.documents, page, listed.total).without(listed.left_out))
}

/// How many certificates can be asked for by name.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/ssl/certificate_packs/quota",
    tag = "Certificates",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<PackQuota>))
)]
async fn quota(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<PackQuota>, Error> {
    let used = api
        .read_list(move |view| {
            view.zone(&caller, id)?;
            view.ordered(id)
        })
        .await?;
    Ok(Reply::of(PackQuota { advanced: PackQuotaCount { allocated: ORDERED_MAX, used } }))
}

/// Asks for a certificate for names in a zone.
#[utoipa::path(
    post,
    path = "/zones/{zone_id}/ssl/certificate_packs/order",
    tag = "Certificates",
    params(("zone_id" = String, Path)),
    request_body = OrderBody,
    responses((status = 200, body = bartizan_v4::Envelope<CertificatePack>))
)]
async fn order(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Body(body): Body<OrderBody>,
) -> Result<Reply<CertificatePack>, Error> {
    let (shared, actor) = (api.clone(), caller.clone());
    let pack = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, id)?;
            change.require(Key::zone(id));
            let account = change.acme_account()?.ok_or_else(no_account)?;
            change.guard(&Key::acme_account())?;
            let method = method(&body.validation_method)?.unwrap_or_default();
            let names = hosts(&zone, &body.hosts)?;
            change.refuse_in_other_zones(&zone, &names)?;
            may_be_had(&account, &names, method)?;
            if change.ordered(id)? >= ORDERED_MAX {
                let why = format!("the zone has {ORDERED_MAX} that were asked for; delete one");
                return Err(Fault::CertificateOrder.because(why));
            }
            let wish = AcmeCertificate::ordered(id, names, method, change.now());
            change.count_certificate(&zone, wish.id)?;
            change.put(wish.store_key(), &wish)?;
            change.wake_acme(&shared);
            Ok(pack(wish, &zone.name.to_string(), &word_of(&account), change.now()))
        })
        .await?;
    Ok(Reply::of(pack))
}

/// One certificate of the public authority, with its chain.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/ssl/certificate_packs/{certificate_pack_id}",
    tag = "Certificates",
    params(("zone_id" = String, Path), ("certificate_pack_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<CertificatePack>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, CertificateId)>,
) -> Result<Reply<CertificatePack>, Error> {
    let now = api.clock().now();
    let pack = api
        .read(move |view| {
            let zone = view.zone_of(&caller, zone)?;
            let certificate = view.acme_certificate(zone.id, id)?;
            let chain = certificate.held.as_ref().map(|held| held.chain_pem.clone());
            let mut pack = pack(certificate, &zone.name.to_string(), &view.authority_word()?, now);
            pack.certificates.iter_mut().for_each(|shown| shown.certificate.clone_from(&chain));
            Ok(pack)
        })
        .await?;
    Ok(Reply::of(pack))
}

/// Tries again at once: has it issued, or issued anew.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/ssl/certificate_packs/{certificate_pack_id}",
    tag = "Certificates",
    params(("zone_id" = String, Path), ("certificate_pack_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<CertificatePack>))
)]
async fn restart(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, CertificateId)>,
) -> Result<Reply<CertificatePack>, Error> {
    change_one(api, caller, zone, id, |_, _| Ok(())).await
}

/// Gives up a certificate that somebody asked for.
#[utoipa::path(
    delete,
    path = "/zones/{zone_id}/ssl/certificate_packs/{certificate_pack_id}",
    tag = "Certificates",
    params(("zone_id" = String, Path), ("certificate_pack_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Deleted>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, CertificateId)>,
) -> Result<Reply<bartizan_v4::Deleted>, Error> {
    let actor = caller.clone();
    api.change(&actor, move |change| {
        change.zone(&caller, zone)?;
        let key = Key::acme_certificate(zone, id);
        let found: Option<AcmeCertificate> = change.if_readable(&key)?;
        match found {
            Some(found) if found.is_needed(&change.0)? && !found.is_ordered => Err(Fault::CertificateOrder
                .because("it follows from what the zone has; PATCH ssl/universal/settings switches all of them off")),
            None if !change.has(&key)? => Err(Fault::CertificateUnknown.into()),
            _ => change.delete(key),
        }
    })
    .await?;
    Ok(Reply::of(bartizan_v4::Deleted { id: id.to_string() }))
}

/// How it is shown to the public authority that the names of a zone are ours.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/ssl/verification",
    tag = "Certificates",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Verification>>))
)]
async fn verification(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
) -> Result<Reply<Vec<Verification>>, Error> {
    let page = Page { number: 1, size: SIZES.max };
    let listed = api
        .read_list(move |view| {
            view.zone(&caller, id)?;
            view.page::<AcmeCertificate>(&prefix(id), page)
        })
        .await?;
    let shown =
        listed.documents.into_iter().filter(|one| one.state != AcmeState::Off).flat_map(verifications).collect();
    Ok(Reply::of(shown).without(listed.left_out))
}

/// Has it shown another way, and tries again at once.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/ssl/verification/{certificate_pack_id}",
    tag = "Certificates",
    params(("zone_id" = String, Path), ("certificate_pack_id" = String, Path)),
    request_body = VerificationBody,
    responses((status = 200, body = bartizan_v4::Envelope<CertificatePack>))
)]
async fn change_verification(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, CertificateId)>,
    Body(body): Body<VerificationBody>,
) -> Result<Reply<CertificatePack>, Error> {
    let wanted = method(&body.validation_method)?;
    change_one(api, caller, zone, id, move |certificate, account| {
        let Some(wanted) = wanted else { return Ok(()) };
        if wanted == Method::Http && certificate.is_of_zone() {
            // A page of the edge shows nothing of a wildcard: what is left is the name itself.
            certificate.names.retain(|name| !name.starts_with("*."));
        }
        if wanted == Method::Txt && certificate.is_of_zone() && certificate.names.len() == 1 {
            certificate.names.push(format!("*.{}", certificate.names[0]));
        }
        may_be_had(account, &certificate.names, wanted)?;
        certificate.method = wanted;
        Ok(())
    })
    .await
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct AllParams {
    /// `pending`, `active`, `failing` or `off`.
    state: Option<String>,
    /// Those behind this one, in the order of their zones and ids: `ZONE_ID/ID`.
    after: Option<String>,
    /// How many at most: 1 to 500, and 100 if nothing is said.
    limit: Option<u32>,
}

/// The certificates of the public authority in all zones, a piece of them: the last says where the next piece begins.
#[utoipa::path(
    get,
    path = "/bartizan/certificates",
    tag = "Certificates",
    params(AllParams),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<CertificatePack>>))
)]
async fn all(
    State(api): State<Api>,
    caller: Caller,
    Query(AllParams { state, after, limit }): Query<AllParams>,
) -> Result<Reply<Vec<CertificatePack>>, Error> {
    let limit = limit.unwrap_or(100).clamp(1, PIECE as u32) as usize;
    let place = |text: String| {
        let place = text.split_once('/').and_then(|(zone, id)| Some((zone.parse().ok()?, id.parse().ok()?)));
        place.ok_or_else(|| Fault::BadQuery.because("after: no ids of a zone and a certificate"))
    };
    let mut after = after.map(place).transpose()?;
    let now = api.clock().now();
    let found = api
        .read_list(move |view| {
            let issuer = view.authority_word()?;
            let mut found = Vec::new();
            let mut last: Option<(ZoneId, Option<Zone>)> = None;
            let (mut looked_at, mut zones) = (0, None);
            loop {
                let query = AcmeQuery { state: state.clone(), after, limit: PIECE };
                let keys = match &zones {
                    None => view.0.acme_certificates(&query)?,
                    Some(zones) => view.0.acme_certificates_in(&query, zones)?,
                };
                for key in &keys {
                    let (Some(zone), Some(id)) = (key.zone_id(), key.id_as::<CertificateId>()) else { continue };
                    after = Some((zone, id));
                    if last.as_ref().is_none_or(|(id, _)| *id != zone) {
                        last = Some((zone, view.seen_zone(&caller, zone)?));
                    }
                    let Some((_, Some(zone))) = &last else { continue };
                    // What cannot be read is told elsewhere.
                    let Ok(Some(certificate)) = view.if_readable::<AcmeCertificate>(key) else { continue };
                    found.push(pack(certificate, &zone.name.to_string(), &issuer, now));
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
                looked_at += keys.len();
                if keys.is_empty() {
                    return Ok(found);
                }
                if looked_at >= LOOKED_AT && zones.is_none() {
                    let account_of = |zone| view.account_of_zone(zone);
                    let ZonesSeen { only, except } =
                        caller.rights.zones(Permission::SslRead, &caller.accounts, account_of)?;
                    zones = Some(InZones { only, except });
                }
            }
        })
        .await?;
    Ok(Reply::of(found))
}

/// Has one tried again at once, after a change to it.
async fn change_one(
    api: Api,
    caller: Caller,
    zone: ZoneId,
    id: CertificateId,
    work: impl Fn(&mut AcmeCertificate, &AcmeAccount) -> Result<(), Error> + Send + 'static,
) -> Result<Reply<CertificatePack>, Error> {
    let (shared, actor) = (api.clone(), caller.clone());
    let pack = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            change.require(Key::zone(zone.id));
            let account = change.acme_account()?.ok_or_else(no_account)?;
            let mut certificate = change.acme_certificate(zone.id, id)?;
            if certificate.state == AcmeState::Off {
                let why = "the zone is set to have none; PATCH ssl/universal/settings with enabled: true";
                return Err(Fault::CertificateOrder.because(why));
            }
            work(&mut certificate, &account)?;
            let rests = |until: Timestamp| {
                let why = certificate.last_error.as_deref().unwrap_or_default();
                let wait = Duration::from_micros(until.unix_micros().saturating_sub(change.now().unix_micros()));
                Fault::CertificateTooSoon.because(format!("not before {until}: {why}")).after(wait)
            };
            let certificate = certificate.clone().asked_again(change.now()).map_err(rests)?;
            change.put(certificate.store_key(), &certificate)?;
            change.wake_acme(&shared);
            Ok(pack(certificate, &zone.name.to_string(), &word_of(&account), change.now()))
        })
        .await?;
    Ok(Reply::of(pack))
}

impl View {
    fn acme_certificate(&self, zone: ZoneId, id: CertificateId) -> Result<AcmeCertificate, Error> {
        self.find(&Key::acme_certificate(zone, id))?.ok_or_else(|| Fault::CertificateUnknown.into())
    }

    fn universal(&self, zone: ZoneId) -> Result<UniversalSettings, Error> {
        let key = Key::acme_certificate(zone, AcmeCertificate::zone_id_of(zone));
        let own: Option<AcmeCertificate> = self.if_readable(&key)?;
        let enabled = self.acme_account()?.is_some() && own.is_some_and(|own| own.state != AcmeState::Off);
        Ok(UniversalSettings { enabled, certificate_authority: self.authority_word()? })
    }

    /// The dialect's word for the public authority.
    fn authority_word(&self) -> Result<String, Error> {
        Ok(self.acme_account()?.map_or_else(|| "none".to_owned(), |account| word_of(&account)))
    }

    /// How many certificates were asked for by name in a zone.
    fn ordered(&self, zone: ZoneId) -> Result<u64, Error> {
        Ok(self.0.acme_ordered(zone)?)
    }

    /// A zone whose certificates the caller sees.
    fn seen_zone(&self, caller: &Caller, zone: ZoneId) -> Result<Option<Zone>, Error> {
        let may = caller.may(Permission::SslRead, &Target::Zone(zone, self.account_of_zone(zone)?));
        Ok(if may { self.zone_of(caller, zone).ok() } else { None })
    }
}

impl Change {
    fn wake_acme(&mut self, api: &Api) {
        let api = api.clone();
        self.afterwards(move || api.background().acme.wake());
    }

    /// Names in a zone of this edge that lies in this one are for that zone to ask for, whoever has it.
    pub(crate) fn refuse_in_other_zones(&self, zone: &Zone, names: &[String]) -> Result<(), Error> {
        for text in names {
            let host = Name::parse(text.strip_prefix("*.").unwrap_or(text)).ok();
            let around = host.map(|host| self.zone_around(&host)).transpose()?.flatten();
            if let Some((apex, _)) = around.filter(|(_, id)| *id != zone.id) {
                let why = format!("{text:?} lies in the zone {apex} of this edge, which asks for it itself");
                return Err(Fault::CertificateOrder.because(why).at("/hosts"));
            }
        }
        Ok(())
    }

    /// The zone's own certificate is wanted, or none of the zone is.
    fn switch_universal(&mut self, zone: &Zone, wanted: bool) -> Result<(), Error> {
        let usual = AcmeCertificate::for_zone(zone.id, &zone.name, self.now());
        let old: Option<AcmeCertificate> = self.if_readable(&usual.store_key())?;
        if !wanted {
            let off = old.unwrap_or(usual).switched_off(self.now());
            return self.put(off.store_key(), &off);
        }
        let account = self.acme_account()?.ok_or_else(no_account)?;
        self.guard(&Key::acme_account())?;
        match old {
            Some(old) if old.state != AcmeState::Off => Ok(()),
            old => {
                may_be_had(&account, &usual.names, usual.method)?;
                let wanted = old.map_or_else(|| usual.clone(), |old| old.switched_on(usual.clone()));
                self.put(wanted.store_key(), &wanted)
            }
        }
    }

    /// Takes a piece of what else is wanted of a zone away; the last of it, if there may be more.
    fn unwish(&mut self, zone: &Zone, after: Option<&Key>) -> Result<Option<Key>, Error> {
        let own = Key::acme_certificate(zone.id, AcmeCertificate::zone_id_of(zone.id));
        let keys = self.keys(&prefix(zone.id), after, PIECE)?;
        for key in keys.iter().filter(|key| **key != own) {
            let found: Option<AcmeCertificate> = self.if_readable(key)?;
            if found.is_none_or(|found| !found.is_ordered) {
                self.delete(key.clone())?;
            }
        }
        Ok(keys.into_iter().next_back())
    }

    /// Asks for a piece of what else a zone needs: what the local authority issued for it.
    fn wish_again(&mut self, zone: &Zone, after: Option<&Key>) -> Result<Option<Key>, Error> {
        let keys = self.keys(&Prefix::of(Scope::Zone(zone.id), Kind::Certificate), after, PIECE)?;
        for key in &keys {
            let Some(document) = self.if_readable::<Document>(key)? else { continue };
            let host = document.names.first().and_then(|name| Name::parse(name).ok());
            if let (Purpose::Host, Some(host)) = (document.purpose, host) {
                let wish = AcmeCertificate::for_host(zone.id, &host, self.now());
                self.put_wish(&wish)?;
            }
        }
        Ok(keys.into_iter().next_back())
    }
}

fn prefix(zone: ZoneId) -> Prefix {
    Prefix::of(Scope::Zone(zone), Kind::AcmeCertificate)
}

fn no_account() -> Error {
    Fault::CertificateOrder.because(
        "this edge has no account at a public authority: `bartizan cert account set --email ME@… --agree-terms`, or \
         `bartizan up --acme-email ME@… --acme-agree-terms`",
    )
}

fn method(said: &Patch<String>) -> Result<Option<Method>, Error> {
    match said.value().map(String::as_str) {
        None => Ok(None),
        Some("txt") => Ok(Some(Method::Txt)),
        Some("http") => Ok(Some(Method::Http)),
        Some(_) => Err(Fault::CertificateOrder.because("it is txt or http").at("/validation_method")),
    }
}

/// The names that somebody asks for, as certificates have them.
fn hosts(zone: &Zone, asked: &[String]) -> Result<Vec<String>, Error> {
    let refused = |why: String| Fault::CertificateOrder.because(why).at("/hosts");
    if asked.is_empty() || asked.len() > HOSTS_MAX {
        return Err(refused(format!("there must be 1 to {HOSTS_MAX} names")));
    }
    let mut names = Vec::new();
    for text in asked {
        let name = Name::typed(text).map_err(|error| refused(format!("{text:?}: {error}")))?;
        if !zone.name.contains(&name) || !name.is_host() {
            return Err(refused(format!("{text:?} is not the name of a host in {}", zone.name)));
        }
        let name = name.to_string().to_ascii_lowercase();
        if name.contains('_') {
            return Err(refused(format!("{text:?} has an underscore, and no public authority issues for such a name")));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether the authority can issue for names at all, when it is shown so that they are ours.
fn may_be_had(account: &AcmeAccount, names: &[String], method: Method) -> Result<(), Error> {
    if let Some(name) = names.iter().find(|name| !account.may_issue(name)) {
        let why = format!("{name} lies below no suffix that the world knows, so no public authority issues for it");
        return Err(Fault::CertificateOrder.because(why).at("/hosts"));
    }
    if method == Method::Http && names.iter().any(|name| name.starts_with("*.")) {
        let why = "a wildcard is shown to be ours by DNS alone (RFC 8555 §7.1.3): txt";
        return Err(Fault::CertificateOrder.because(why).at("/validation_method"));
    }
    Ok(())
}

fn word_of(account: &AcmeAccount) -> String {
    word_of_directory(&account.directory)
}

fn word_of_directory(directory: &str) -> String {
    let host = directory.split("//").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.ends_with(".letsencrypt.org") { "lets_encrypt".to_owned() } else { host.to_owned() }
}

fn status(certificate: &AcmeCertificate) -> &'static str {
    match (&certificate.held, certificate.state) {
        (_, AcmeState::Off) => "deleted",
        (Some(_), _) if certificate.has_ended => "expired",
        (Some(_), _) => "active",
        (None, _) => "pending_validation",
    }
}

fn pack(certificate: AcmeCertificate, zone_name: &str, issuer: &str, now: Timestamp) -> CertificatePack {
    let stage = certificate.stage(now).as_str().to_owned();
    let status = status(&certificate).to_owned();
    let issuer = match certificate.held.as_ref().map(|held| &held.directory).filter(|directory| !directory.is_empty()) {
        // Another one may be asked by now.
        Some(directory) => word_of_directory(directory),
        None => issuer.to_owned(),
    };
    let shown = |held: &bartizan_certs::Held| PackCertificate {
        id: certificate.id,
        hosts: certificate.held_names(held).to_vec(),
        issuer: held.issuer.clone(),
        signature: held.signature.clone(),
        status: status.clone(),
        not_before: held.not_before,
        expires_on: held.not_after,
        uploaded_on: held.issued_on,
        certificate: None,
    };
    CertificatePack {
        id: certificate.id,
        kind: if certificate.is_ordered { "advanced" } else { "universal" }.to_owned(),
        certificates: certificate.held.iter().map(shown).collect(),
        status,
        validation_method: certificate.method.as_str().to_owned(),
        certificate_authority: issuer,
        zone_id: certificate.zone_id,
        zone_name: zone_name.to_owned(),
        state: certificate.state.as_str().to_owned(),
        stage,
        renew_on: certificate.renew_on,
        next_try_on: certificate.next_on,
        last_try_on: certificate.last_try_on,
        failures: certificate.failures,
        last_error: certificate.last_error,
        created_on: certificate.created_on,
        modified_on: certificate.modified_on,
        hosts: certificate.names,
    }
}

fn verifications(certificate: AcmeCertificate) -> Vec<Verification> {
    let status = status(&certificate).to_owned();
    let shown = |hostname: &String| Verification {
        cert_pack_uuid: certificate.id,
        hostname: hostname.clone(),
        certificate_status: status.clone(),
        validation_method: certificate.method.as_str().to_owned(),
        verification_status: certificate.held.is_some(),
        verification_type: match certificate.method {
            Method::Txt => "cname",
            Method::Http => "meta tag",
        }
        .to_owned(),
        last_error: certificate.last_error.clone(),
    };
    certificate.names.iter().map(shown).collect()
}
