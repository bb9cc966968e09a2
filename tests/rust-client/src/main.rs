//! `bartizan-rust-client URL TOKEN ACCOUNT ZONE`: calls of the crate `cloudflare`, each reply read as its own types.

use std::error::Error;

use cloudflare::endpoints::account::ListAccounts;
use cloudflare::endpoints::account::user::{GetUserDetails, GetUserTokenStatus};
use cloudflare::endpoints::cfd_tunnel::create_tunnel::{self, CreateTunnel};
use cloudflare::endpoints::cfd_tunnel::delete_tunnel::{self, DeleteTunnel};
use cloudflare::endpoints::cfd_tunnel::list_tunnels::{self, ListTunnels};
use cloudflare::endpoints::cfd_tunnel::route_dns::{self, RouteTunnel};
use cloudflare::endpoints::cfd_tunnel::update_tunnel::{self, UpdateTunnel};
use cloudflare::endpoints::cfd_tunnel::{Change, ConfigurationSrc, RouteResult};
use cloudflare::endpoints::dns::dns::{
    CreateDnsRecord, CreateDnsRecordParams, DeleteDnsRecord, DnsContent, ListDnsRecords, ListDnsRecordsParams,
    UpdateDnsRecord, UpdateDnsRecordParams,
};
use cloudflare::endpoints::zones::zone::{ListZones, ListZonesParams, ZoneDetails};
use cloudflare::framework::Environment;
use cloudflare::framework::auth::Credentials;
use cloudflare::framework::client::ClientConfig;
use cloudflare::framework::client::async_api::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, token, account, zone] = words.as_slice() else { return Err("URL TOKEN ACCOUNT ZONE".into()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let credentials = Credentials::UserAuthToken { token: token.clone() };
    let environment = Environment::Custom(format!("{url}/"));
    let client = Client::new(credentials, ClientConfig::default(), environment)?;
    runtime.block_on(async {
        who(&client, account).await?;
        let id = zone_id(&client, zone).await?;
        records(&client, &id, zone).await?;
        tunnels(&client, account, &id, zone).await
    })?;
    println!("round trip done");
    Ok(())
}

async fn who(client: &Client, account: &str) -> Result<(), Box<dyn Error>> {
    let user = client.request(&GetUserDetails {}).await?.result;
    assert_eq!((user.organizations.len(), user.suspended), (1, false));
    assert_eq!(client.request(&GetUserTokenStatus {}).await?.result.status, "active");
    let accounts = client.request(&ListAccounts { params: None }).await?.result;
    assert!(accounts.iter().any(|one| one.id == account), "{accounts:?}");
    Ok(())
}

async fn zone_id(client: &Client, zone: &str) -> Result<String, Box<dyn Error>> {
    let params = ListZonesParams { name: Some(zone.to_owned()), ..ListZonesParams::default() };
    let zones = client.request(&ListZones { params }).await?.result;
    assert_eq!(zones.len(), 1);
    let found = client.request(&ZoneDetails { identifier: &zones[0].id }).await?.result;
    assert_eq!((found.name.as_str(), found.paused), (zone, false));
    Ok(found.id)
}

async fn records(client: &Client, zone: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let texts = |text: &str| text.to_owned();
    for (number, content) in [
        DnsContent::A { content: "192.0.2.1".parse()? },
        DnsContent::AAAA { content: "2001:db8::1".parse()? },
        DnsContent::CNAME { content: texts("x.example") },
        DnsContent::NS { content: texts("ns.example") },
        DnsContent::MX { content: texts("mail.example"), priority: 10 },
        DnsContent::TXT { content: texts("a text") },
        DnsContent::SRV { content: texts("1 2 80 host.example") },
    ]
    .into_iter()
    .enumerate()
    {
        let owner = format!("r{number}.{name}");
        let params = CreateDnsRecordParams {
            ttl: Some(60),
            priority: None,
            proxied: Some(false),
            name: &owner,
            content: content.clone(),
        };
        let made = client.request(&CreateDnsRecord { zone_identifier: zone, params }).await?.result;
        assert_eq!((made.name.as_str(), made.ttl), (owner.as_str(), 60), "{made:?}");
        let params = ListDnsRecordsParams { name: Some(owner.clone()), ..ListDnsRecordsParams::default() };
        let found = client.request(&ListDnsRecords { zone_identifier: zone, params }).await?.result;
        assert_eq!(found.len(), 1);
        let params = UpdateDnsRecordParams { ttl: Some(120), proxied: None, name: &owner, content };
        let update = UpdateDnsRecord { zone_identifier: zone, identifier: &made.id, params };
        assert_eq!(client.request(&update).await?.result.ttl, 120);
        let delete = DeleteDnsRecord { zone_identifier: zone, identifier: &made.id };
        assert_eq!(client.request(&delete).await?.result.id, made.id);
    }
    Ok(())
}

async fn tunnels(client: &Client, account: &str, zone: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let secret = vec![7; 32];
    let params = create_tunnel::Params {
        name: "of-rust",
        tunnel_secret: &secret,
        config_src: &ConfigurationSrc::Cloudflare,
        metadata: None,
    };
    let made = client.request(&CreateTunnel { account_identifier: account, params }).await?.result;
    let id = made.id.to_string();
    let params = list_tunnels::Params { is_deleted: Some(false), ..list_tunnels::Params::default() };
    let found = client.request(&ListTunnels { account_identifier: account, params }).await?.result;
    assert!(found.contains(&made), "{found:?}");
    let host = format!("app.{name}");
    let params = route_dns::Params::Dns { user_hostname: &host };
    let routed = client.request(&RouteTunnel { zone_tag: zone, tunnel_id: made.id, params }).await?.result;
    let RouteResult::Dns(routed) = routed else { return Err("it is no route by DNS".into()) };
    assert_eq!((routed.cname, routed.name), (Change::New, host));
    let params = update_tunnel::Params { name: "renamed", tunnel_secret: &secret, metadata: None };
    let update = UpdateTunnel { account_identifier: account, tunnel_id: &id, params };
    assert_eq!(client.request(&update).await?.result.name, "renamed");
    let params = delete_tunnel::Params { cascade: true };
    let delete = DeleteTunnel { account_identifier: account, tunnel_id: &id, params };
    assert!(client.request(&delete).await?.result.deleted_at.is_some());
    Ok(())
}
