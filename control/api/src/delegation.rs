//! `/bartizan/zones/Z/delegation`: where the parent of a zone sends whoever asks for it, looked up now.

use std::net::IpAddr;

use axum::extract::State;
use bartizan_names::{Name, RecordType, ZoneId};
use bartizan_observed::DnsQuestion;
use bartizan_registry::{NamedServer, Serves, Source};
use bartizan_v4::delegation::{Delegation, DelegationServer};
use bartizan_wire::dns::Message;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::Error;
use crate::extract::Ids;
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::DnsRead, api, routes!(delegation)))
}

/// Asks the servers of the parent zone where the zone is, and those that they name whether they answer for it.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/delegation",
    tag = "DNS records",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Delegation>))
)]
async fn delegation(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
) -> Result<Reply<Delegation>, Error> {
    let zone = api.read(move |view| view.zone_of(&caller, id)).await?;
    let told = match api.dnssec().delegation(&zone).await {
        Ok((seen, ds)) => Delegation {
            zone_name: zone.name.to_string(),
            source: Some(word(seen.source).to_owned()),
            agrees: seen.agrees,
            name_servers: seen.servers.into_iter().map(|server| told(&api, server)).collect(),
            ds: ds.any.iter().map(ToString::to_string).collect(),
            failure: seen.source.doubt().or(ds.doubt()).map(str::to_owned),
        },
        Err(error) => Delegation {
            zone_name: zone.name.to_string(),
            source: None,
            agrees: false,
            name_servers: Vec::new(),
            ds: Vec::new(),
            failure: Some(error.to_string()),
        },
    };
    Ok(Reply::of(told))
}

const fn word(source: Source) -> &'static str {
    match source {
        Source::Servers { .. } => "servers",
        Source::Resolver => "resolver",
        Source::Here | Source::HereAtLeast => "here",
        Source::Nowhere => "nowhere",
    }
}

fn told(api: &Api, server: NamedServer) -> DelegationServer {
    let (serves, failure) = match server.serves {
        Serves::Yes => (Some(true), None),
        Serves::No(reason) | Serves::Silent(reason) => (Some(false), Some(reason)),
        Serves::NotAsked => (None, None),
    };
    let texts = |addresses: Vec<IpAddr>| addresses.iter().map(ToString::to_string).collect();
    DelegationServer {
        here: texts(addresses_here(api, &server.name)),
        name: server.name.to_string(),
        glue: texts(server.glue),
        serves,
        failure,
    }
}

/// The addresses of a name as the DNS in force answers, in order.
fn addresses_here(api: &Api, name: &Name) -> Vec<IpAddr> {
    let answers = [RecordType::A, RecordType::AAAA].into_iter().flat_map(|rtype| {
        let question = DnsQuestion { name: name.clone(), rtype, dnssec_ok: false, tcp: true, from: None };
        let message = Message::parse(&api.observed().dns.trace(&question).message);
        message.map(|message| message.answers).unwrap_or_default()
    });
    let mut addresses: Vec<IpAddr> = answers.filter_map(|record| record.address()).collect();
    addresses.sort_unstable();
    addresses
}
