//! What clients ask of a zone beside the zone itself: whether it is active, held, of which plan, and how its DNS is set. All
//! of it follows from what this edge is, so it can be read, and a call that would change it is refused with the reason.

use axum::extract::State;
use bartizan_model::Zone;
use bartizan_names::ZoneId;
use bartizan_publish::{soa_rname, times};
use bartizan_v4::Patch;
use bartizan_v4::zone::Plan;
use bartizan_v4::zone_facts::{
    ActivationCheck, DnsSettings, DnsSettingsBody, Hold, InternalDns, Nameservers, RatePlan, Soa,
};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;
use crate::zones;

/// Months for which a plan that costs nothing is taken.
const PLAN_MONTHS: u32 = 1;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::ZoneWrite, api, routes!(activation_check)))
        .routes(needs(Permission::ZoneRead, api, routes!(hold)))
        .routes(needs(Permission::ZoneWrite, api, routes!(make_hold)))
        .routes(needs(Permission::ZoneWrite, api, routes!(change_hold)))
        .routes(needs(Permission::ZoneWrite, api, routes!(end_hold)))
        .routes(needs(Permission::ZoneRead, api, routes!(plan)))
        .routes(needs(Permission::ZoneRead, api, routes!(rate_plans)))
        .routes(needs(Permission::DnsRead, api, routes!(dns_settings)))
        .routes(needs(Permission::DnsWrite, api, routes!(change_dns_settings)))
        .routes(needs(Permission::DnsWrite, api, routes!(scan)))
        .routes(needs(Permission::DnsWrite, api, routes!(start_scan)))
        .routes(needs(Permission::DnsWrite, api, routes!(scanned, review_scan)))
        .routes(needs(Permission::ZoneWrite, api, routes!(custom_hostnames, make_custom_hostname)))
}

/// Looks whether a zone is active: it is, from the moment it exists.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/activation_check",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<ActivationCheck>))
)]
async fn activation_check(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
) -> Result<Reply<ActivationCheck>, Error> {
    of_zone(&api, &caller, id, |zone| Ok(ActivationCheck { id: zone.id })).await
}

/// Whether a zone is held: no zone is.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/hold",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Hold>))
)]
async fn hold(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<Hold>, Error> {
    of_zone(&api, &caller, id, |_| Ok(no_hold())).await
}

/// Refused: a zone needs no hold.
#[utoipa::path(
    post,
    path = "/zones/{zone_id}/hold",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Hold>))
)]
async fn make_hold(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<Hold>, Error> {
    of_zone(&api, &caller, id, |zone| Err(needless(zone))).await
}

/// Refused: a zone needs no hold.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/hold",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Hold>))
)]
async fn change_hold(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<Hold>, Error> {
    of_zone(&api, &caller, id, |zone| Err(needless(zone))).await
}

/// Ends a hold, which no zone has.
#[utoipa::path(
    delete,
    path = "/zones/{zone_id}/hold",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Hold>))
)]
async fn end_hold(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<Hold>, Error> {
    of_zone(&api, &caller, id, |_| Ok(no_hold())).await
}

fn no_hold() -> Hold {
    Hold { hold: false, include_subdomains: "false".to_owned() }
}

fn needless(zone: &Zone) -> Error {
    let reason =
        format!("{} is its account's while it is here, and nobody can make a second zone of that name", zone.name);
    Fault::HoldNeedless.because(reason)
}

/// One of the plans that a zone can have.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/available_plans/{plan_id}",
    tag = "Zones",
    params(("zone_id" = String, Path), ("plan_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Plan>))
)]
async fn plan(
    State(api): State<Api>,
    caller: Caller,
    Ids((id, plan)): Ids<(ZoneId, String)>,
) -> Result<Reply<Plan>, Error> {
    let zone = api.read(move |view| view.zone(&caller, id)).await?;
    if zone.plan.id == plan { Ok(Reply::of(zone.plan)) } else { Err(Fault::PlanUnknown.into()) }
}

/// The plans that a zone can have, with what they cost.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/available_rate_plans",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<RatePlan>>))
)]
async fn rate_plans(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
) -> Result<Reply<Vec<RatePlan>>, Error> {
    let plan = api.read(move |view| view.zone(&caller, id)).await?.plan;
    let plan = RatePlan {
        id: plan.legacy_id,
        name: plan.name,
        currency: plan.currency,
        duration: PLAN_MONTHS,
        frequency: "monthly".to_owned(),
        components: Vec::new(),
    };
    Ok(Reply::of(vec![plan]))
}

/// How the DNS of a zone is set.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dns_settings",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<DnsSettings>))
)]
async fn dns_settings(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
) -> Result<Reply<DnsSettings>, Error> {
    of_zone(&api, &caller, id, |zone| Ok(settings_of(zone))).await
}

/// Takes settings that a zone's DNS has; others are refused.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/dns_settings",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    request_body = DnsSettingsBody,
    responses((status = 200, body = bartizan_v4::Envelope<DnsSettings>))
)]
async fn change_dns_settings(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Body(body): Body<DnsSettingsBody>,
) -> Result<Reply<DnsSettings>, Error> {
    of_zone(&api, &caller, id, move |zone| {
        let settings = settings_of(zone);
        unchanged(&settings, &body)?;
        Ok(settings)
    })
    .await
}

fn settings_of(zone: &Zone) -> DnsSettings {
    let primary = zone.nameservers.first().unwrap_or(zone.name.as_name());
    DnsSettings {
        flatten_all_cnames: false,
        foundation_dns: false,
        multi_provider: false,
        nameservers: Nameservers { kind: "cloudflare.standard".to_owned() },
        ns_ttl: times::NS_TTL,
        secondary_overrides: false,
        soa: Soa {
            mname: primary.to_string(),
            rname: soa_rname(zone).to_string(),
            refresh: times::REFRESH,
            retry: times::RETRY,
            expire: times::EXPIRE,
            min_ttl: times::MINIMUM,
            ttl: times::SOA_TTL,
        },
        zone_mode: "standard".to_owned(),
        internal_dns: InternalDns { reference_zone_id: None },
    }
}

/// Whether `body` says only what is so: a field of a field that it leaves out stays, and `null` is "as it is by itself".
fn unchanged(settings: &DnsSettings, body: &DnsSettingsBody) -> Result<(), Error> {
    let is = json(settings)?;
    for (field, asked) in [
        ("flatten_all_cnames", &body.flatten_all_cnames),
        ("foundation_dns", &body.foundation_dns),
        ("multi_provider", &body.multi_provider),
        ("nameservers", &body.nameservers),
        ("ns_ttl", &body.ns_ttl),
        ("secondary_overrides", &body.secondary_overrides),
        ("soa", &body.soa),
        ("zone_mode", &body.zone_mode),
        ("internal_dns", &body.internal_dns),
    ] {
        if let Patch::Value(asked) = asked
            && let Some(at) = difference(&is[field], asked, format!("/{field}"))
        {
            let reason = "every zone of this edge is served with the same name servers and times; GET shows them";
            return Err(Fault::DnsSettingFixed.because(reason).at(at));
        }
    }
    Ok(())
}

/// Where `asked` wants something else.
fn difference(is: &Value, asked: &Value, at: String) -> Option<String> {
    match (is, asked) {
        (_, Value::Null) => None,
        (Value::Object(is), Value::Object(asked)) => asked.iter().find_map(|(field, asked)| {
            let at = format!("{at}/{}", field.replace('~', "~0").replace('/', "~1"));
            // Unknown fields are ignored everywhere.
            difference(is.get(field)?, asked, at)
        }),
        (Value::Number(is), Value::Number(asked)) if is.as_f64() == asked.as_f64() => None,
        (Value::String(is), Value::String(asked)) if is.eq_ignore_ascii_case(asked.trim_end_matches('.')) => None,
        (is, asked) => (is != asked).then_some(at),
    }
}

fn json(value: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|error| Error::internal(&error))
}

/// Refused: looking for records elsewhere. `import` takes them from a file.
#[utoipa::path(post, path = "/zones/{zone_id}/dns_records/scan", tag = "DNS records",
    params(("zone_id" = String, Path)), responses((status = 400, body = bartizan_v4::Failure)))]
async fn scan() -> Error {
    not_scanned()
}

/// Refused, as `scan`.
#[utoipa::path(post, path = "/zones/{zone_id}/dns_records/scan/trigger", tag = "DNS records",
    params(("zone_id" = String, Path)), responses((status = 400, body = bartizan_v4::Failure)))]
async fn start_scan() -> Error {
    not_scanned()
}

/// Refused, as `scan`.
#[utoipa::path(get, path = "/zones/{zone_id}/dns_records/scan/review", tag = "DNS records",
    params(("zone_id" = String, Path)), responses((status = 400, body = bartizan_v4::Failure)))]
async fn scanned() -> Error {
    not_scanned()
}

/// Refused, as `scan`.
#[utoipa::path(post, path = "/zones/{zone_id}/dns_records/scan/review", tag = "DNS records",
    params(("zone_id" = String, Path)), responses((status = 400, body = bartizan_v4::Failure)))]
async fn review_scan() -> Error {
    not_scanned()
}

fn not_scanned() -> Error {
    Fault::NotOffered.because("`scan` would guess names at other servers; put the records in by `batch`")
}

/// Refused: names of others' zones.
#[utoipa::path(get, path = "/zones/{zone_id}/custom_hostnames", tag = "Zones",
    params(("zone_id" = String, Path)), responses((status = 400, body = bartizan_v4::Failure)))]
async fn custom_hostnames() -> Error {
    no_custom_hostnames()
}

/// Refused: names of others' zones.
#[utoipa::path(post, path = "/zones/{zone_id}/custom_hostnames", tag = "Zones",
    params(("zone_id" = String, Path)), responses((status = 400, body = bartizan_v4::Failure)))]
async fn make_custom_hostname() -> Error {
    no_custom_hostnames()
}

fn no_custom_hostnames() -> Error {
    Fault::NotOffered
        .because("`custom_hostnames` are names of zones that are not here; make the zone here and proxy the name")
}

/// What follows from a zone of the caller.
async fn of_zone<T: Send + 'static>(
    api: &Api,
    caller: &Caller,
    id: ZoneId,
    what: impl FnOnce(&Zone) -> Result<T, Error> + Send + 'static,
) -> Result<Reply<T>, Error> {
    let caller = caller.clone();
    api.read(move |view| what(&zones::parse(&view.zone(&caller, id)?)?)).await.map(Reply::of)
}
