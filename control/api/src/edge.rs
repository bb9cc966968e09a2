//! `/bartizan/edge`: what a connector or a command-line client must know about this edge.

use axum::extract::State;
use bartizan_v4::{Edge, EdgePorts, EdgeProcess};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs_somewhere;
use crate::caller::Caller;
use crate::error::Error;
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::{Api, Process};

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs_somewhere(Permission::TunnelRead, api, routes!(edge)))
}

/// Addresses, ports and the local authority's certificate.
#[utoipa::path(
    get,
    path = "/bartizan/edge",
    tag = "Edge",
    responses((status = 200, body = bartizan_v4::Envelope<Edge>))
)]
async fn edge(State(api): State<Api>, caller: Caller) -> Result<Reply<Edge>, Error> {
    let facts = api.facts();
    let text = |list: &[std::net::SocketAddr]| list.iter().map(ToString::to_string).collect();
    Ok(Reply::of(Edge {
        version: facts.version.clone(),
        account_id: caller.account.to_string(),
        domain: facts.domain.to_string(),
        addresses: facts.pop.addresses.iter().map(ToString::to_string).collect(),
        name_servers: facts.nameservers.iter().map(ToString::to_string).collect(),
        tunnel: text(&facts.tunnel_edges),
        dns: text(&facts.dns),
        dns_tls: text(&facts.dns_tls),
        http: text(&facts.http),
        https: text(&facts.https),
        http3: text(&facts.http3),
        public_http: facts.public_http,
        public_https: facts.public_https,
        ports: EdgePorts {
            pools: facts.pop.pools.iter().map(ToString::to_string).collect(),
            tier: facts.ports.tier.to_owned(),
            max: facts.ports.max.map(|max| max as u64),
            reason: facts.ports.why.clone(),
        },
        private_origins: facts.private_origins,
        ca: api.ca_pem().to_owned(),
        process: facts.process.clone().map(|Process { uid, capabilities, no_new_privileges }| EdgeProcess {
            uid,
            capabilities,
            no_new_privileges,
        }),
    }))
}
