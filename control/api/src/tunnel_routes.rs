//! `/zones/{zone_id}/tunnels/{tunnel_id}/routes`: a host leads to a tunnel by a proxied CNAME. The stock client calls it;
//! the same record made by hand does the same. And `/bartizan/tunnels/{tunnel_id}/records`, ours: all of these records.

use axum::extract::State;
use bartizan_model::{Record, Stamp, Zone, tunnel_name};
use bartizan_names::{Name, RecordId, RecordType, TunnelId, ZoneId};
use bartizan_store::TunnelRecordQuery;
use bartizan_v4::{Patch, RecordBody, RouteBody, RouteResult};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{needs, shows};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::owner_names;
use crate::permission::Permission;
use crate::reply::Reply;
use crate::rights::Target;
use crate::state::Api;
use crate::transaction::Change;

/// Records that are looked for at once, and the most of one answer.
const PIECE: u32 = 500;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::DnsWrite, api, routes!(put))).routes(shows(
        Permission::DnsRead,
        api,
        routes!(list),
    ))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// Those behind this one, in the order of their zones and ids: `ZONE_ID/ID`.
    after: Option<String>,
    /// How many at most: 1 to 500, and 100 if nothing is said.
    limit: Option<u32>,
}

/// The records of all zones that lead to a tunnel, a piece of them: the last says where the next piece begins.
#[utoipa::path(
    get,
    path = "/bartizan/tunnels/{tunnel_id}/records",
    tag = "Tunnels",
    params(("tunnel_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<bartizan_v4::Record>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((tunnel,)): Ids<(TunnelId,)>,
    Query(Params { after, limit }): Query<Params>,
) -> Result<Reply<Vec<bartizan_v4::Record>>, Error> {
    let limit = limit.unwrap_or(100).clamp(1, PIECE) as usize;
    let place = |text: String| {
        let place = text.split_once('/').and_then(|(zone, id)| Some((zone.parse().ok()?, id.parse().ok()?)));
        place.ok_or_else(|| Fault::BadQuery.because("after: no ids of a zone and a record"))
    };
    let mut after: Option<(ZoneId, RecordId)> = after.map(place).transpose()?;
    let (found, left_out) = api
        .read_list(move |view| {
            let (mut found, mut left_out) = (Vec::new(), 0);
            let mut seen = None;
            loop {
                let target = tunnel_name(tunnel);
                let keys = view.0.tunnel_records(&TunnelRecordQuery { target, after, limit: PIECE as usize })?;
                if keys.is_empty() {
                    return Ok((found, left_out));
                }
                for key in &keys {
                    let (Some(zone), Some(id)) = (key.zone_id(), key.id_as::<RecordId>()) else { continue };
                    if seen != Some(zone) {
                        let target = Target::Zone(zone, view.account_of_zone(zone)?);
                        let is_seen = match view.zone_of(&caller, zone) {
                            Ok(_) => caller.may(Permission::DnsRead, &target),
                            Err(error) if matches!(error.fault, Fault::ZoneUnknown | Fault::Damaged) => {
                                left_out += u64::from(error.fault == Fault::Damaged);
                                false
                            }
                            Err(error) => return Err(error),
                        };
                        if !is_seen {
                            // Whoever may see the tunnels of its account learns that there is more, and not what.
                            let of_account = view.account_of_zone(zone)?;
                            let is_near = of_account
                                .is_some_and(|account| caller.may(Permission::TunnelRead, &Target::Account(account)));
                            left_out += u64::from(is_near);
                            // What is in the zones of others costs one look for each of these.
                            after = Some((zone, LAST));
                            break;
                        }
                        seen = Some(zone);
                    }
                    after = Some((zone, id));
                    match view.if_readable::<bartizan_v4::Record>(key)? {
                        Some(record) => found.push(record),
                        None => left_out += 1,
                    }
                    if found.len() == limit {
                        return Ok((found, left_out));
                    }
                }
            }
        })
        .await?;
    Ok(Reply::of(found).without(left_out))
}

/// Behind every record of a zone.
const LAST: RecordId = RecordId::from_bytes([0xff; 16]);

/// Lets a host lead to a tunnel.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/tunnels/{tunnel_id}/routes",
    tag = "Tunnels",
    params(("zone_id" = String, Path), ("tunnel_id" = String, Path)),
    request_body = RouteBody,
    responses((status = 200, body = bartizan_v4::Envelope<RouteResult>))
)]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, tunnel)): Ids<(ZoneId, TunnelId)>,
    Body(body): Body<RouteBody>,
) -> Result<Reply<RouteResult>, Error> {
    if body.kind.value().is_some_and(|kind| kind != "dns") {
        return Err(Fault::RouteInvalid.because("type must be dns").at("/type"));
    }
    let overwrite = body.overwrite_existing.value() == Some(&true);
    let actor = caller.clone();
    let result = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            change.tunnel_in_force(zone.account, tunnel)?;
            let host = host(&zone, body.user_hostname.value())?;
            lead(change, &zone, &host, tunnel, overwrite)
        })
        .await?;
    Ok(Reply::of(result))
}

/// The host (RFC 1123 §2.1): whole, or one label of the zone. Anything else with a dot was meant for another zone.
fn host(zone: &Zone, given: Option<&String>) -> Result<Name, Error> {
    let text = given.map(|text| text.trim()).unwrap_or_default();
    let invalid = |detail: String| Fault::RouteInvalid.because(detail).at("/user_hostname");
    let name = Name::typed(text).ok().filter(Name::is_host);
    let name = name.ok_or_else(|| invalid(format!("user_hostname must be a host name in {}", zone.name)))?;
    match (zone.name.contains(&name), name.labels().next(), name.labels().count()) {
        (true, _, _) => Ok(name),
        (false, Some(label), 1) => zone.name.as_name().child(label).map_err(|error| invalid(error.to_string())),
        _ => Err(invalid(format!("{name} is not in the zone {}", zone.name))),
    }
}

fn lead(
    change: &mut Change,
    zone: &Zone,
    host: &Name,
    tunnel: TunnelId,
    overwrite: bool,
) -> Result<RouteResult, Error> {
    let documents = change.records_at(zone.id, host)?;
    let records: Vec<Record> = documents.iter().map(owner_names::parse).collect::<Result<_, _>>()?;
    let result = |cname: &str, id: RecordId| RouteResult {
        cname: cname.to_owned(),
        name: host.to_string(),
        dns_tag: id.to_string(),
    };
    if let Some(same) = records.iter().find(|record| record.tunnel_target() == Some(tunnel)) {
        return Ok(result("unchanged", same.id));
    }
    let in_the_way: Vec<bartizan_v4::Record> = records
        .iter()
        .zip(&documents)
        .filter(|(record, _)| matches!(record.data.rtype(), RecordType::A | RecordType::AAAA | RecordType::CNAME))
        .map(|(_, document)| document.clone())
        .collect();
    if !in_the_way.is_empty() && !overwrite {
        return Err(Fault::HostTaken
            .because(format!("{host}; set overwrite_existing to replace it"))
            .at("/user_hostname"));
    }
    // The first record in the way becomes the route, so that its id lives on.
    let (id, created_on) = match in_the_way.first() {
        Some(old) => (old.id, old.created_on),
        None => (owner_names::new_id(change.now()), change.now()),
    };
    let stamp = Stamp { id, created_on, modified_on: change.now() };
    let (record, mut document) = Record::parse_body(zone, stamp, &body(host, tunnel))?;
    document.meta.managed_by_argo_tunnel = true;
    // Of the body's fields this one names the record.
    change.put_records(zone, &in_the_way, &[(record, document)]).map_err(|error| match error.fault {
        Fault::HostTaken => error.at("/user_hostname"),
        _ => error,
    })?;
    Ok(result(if in_the_way.is_empty() { "new" } else { "updated" }, id))
}

fn body(host: &Name, tunnel: TunnelId) -> RecordBody {
    RecordBody {
        name: Patch::Value(host.to_string()),
        kind: Patch::Value(RecordType::CNAME.to_string()),
        content: Patch::Value(tunnel_name(tunnel)),
        proxied: Patch::Value(true),
        ..RecordBody::default()
    }
}
