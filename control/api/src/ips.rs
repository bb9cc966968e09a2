//! `/ips`: the addresses of this edge. Needs no login: origins' own firewalls fetch it.

use std::net::IpAddr;

use axum::extract::State;
use bartizan_v4::Ips;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::open;
use crate::reply::Reply;
use crate::state::Api;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(open(routes!(ips)))
}

/// The prefixes that proxied names answer with.
#[utoipa::path(get, path = "/ips", tag = "Edge", responses((status = 200, body = bartizan_v4::Envelope<Ips>)))]
async fn ips(State(api): State<Api>) -> Reply<Ips> {
    Reply::of(list(&api.facts().pop.addresses))
}

fn list(addresses: &[IpAddr]) -> Ips {
    let cidrs = |wanted: fn(&IpAddr) -> bool, length: u8| -> Vec<String> {
        addresses.iter().filter(|address| wanted(address)).map(|address| format!("{address}/{length}")).collect()
    };
    let (ipv4_cidrs, ipv6_cidrs) = (cidrs(IpAddr::is_ipv4, 32), cidrs(IpAddr::is_ipv6, 128));
    let all = [ipv4_cidrs.join(","), ipv6_cidrs.join(",")].join(";");
    // 16 bytes, as long as the digests that clients are used to.
    let etag = hex::encode(&bartizan_seal::sha256(all.as_bytes())[..16]);
    Ips { ipv4_cidrs, ipv6_cidrs, etag }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_prefixes() {
        let ips = list(&["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(ips.ipv4_cidrs, ["127.0.0.1/32"]);
        assert_eq!(ips.ipv6_cidrs, ["::1/128"]);
        assert_eq!(ips.etag.len(), 32);
        assert_ne!(ips.etag, list(&[]).etag);
    }
}
