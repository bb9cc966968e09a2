//! `tunnel --lb-pool`: the tunnel is a server of a pool, and the name leads to the pool. Several machines may do this at once.

use serde_json::{Value, json};

use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::output::quoted;
use crate::url::with_query;
use crate::zone::text;

const POOLS: &str = "/user/load_balancers/pools";

/// The API's error for what was not as it was seen.
const CHANGED_SINCE: u64 = 10_412;

/// Other machines may be faster so often.
const LOOKS: usize = 20;

/// What a tunnel is called that is one of many behind a name: after its pool and this machine.
pub fn tunnel_name(pool: &str) -> anyhow::Result<String> {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = named.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    match named.as_deref().map(str::trim) {
        Some(machine) if !machine.is_empty() => Ok(format!("{pool}-{machine}")),
        _ => Err(Failure::new(Cause::Usage, "this machine has no name to call its tunnel by")
            .remedy("--name NAME, another one on each machine")
            .into()),
    }
}

/// Whether the name is free for the pool: no record leads it elsewhere, or a load balancer has it already.
pub async fn check_name(api: &Api, zone: &Value, hostname: &str) -> anyhow::Result<()> {
    if balancer(api, zone, hostname).await?.is_some() {
        return Ok(());
    }
    let path = format!("/zones/{}/dns_records", text(zone, "id"));
    let records = api.get(&with_query(&path, &[("name", hostname)])).await?;
    let leads = |record: &Value| {
        let is_address = matches!(text(record, "type"), "A" | "AAAA" | "CNAME");
        is_address && !text(record, "content").trim_end_matches('.').ends_with(".cfargotunnel.com")
    };
    if records.as_array().is_some_and(|records| records.iter().any(leads)) {
        let message = format!("{hostname} has a record already that leads elsewhere");
        return Err(Failure::new(Cause::Conflict, message)
            .remedy(format!("delete it first, `bartizan record delete {hostname}`, or serve another name"))
            .into());
    }
    Ok(())
}

/// Makes the tunnel a server of the pool, which is made if there is none of this name. Gives the pool.
pub async fn join(api: &Api, pool: &str, tunnel: &Value) -> anyhow::Result<Value> {
    let address = format!("{}.cfargotunnel.com", text(tunnel, "id"));
    let own = json!({ "name": text(tunnel, "name"), "address": address, "enabled": true });
    for look in 1..=LOOKS {
        let Some(known) = named(api, pool).await?.into_iter().next() else {
            let made = api.post(POOLS, &json!({ "name": pool, "origins": [own] })).await?;
            // Of several that were made at once the first is kept, and all see the same one.
            let first = named(api, pool).await?.into_iter().next();
            if first.as_ref().is_none_or(|first| text(first, "id") == text(&made, "id")) {
                return Ok(made);
            }
            api.delete(&format!("{POOLS}/{}", text(&made, "id"))).await?;
            continue;
        };
        let path = format!("{POOLS}/{}", text(&known, "id"));
        let Some((known, tag)) = api.find_tagged(&path).await? else { continue };
        let mut servers = known["origins"].as_array().cloned().unwrap_or_default();
        if servers.iter().any(|server| text(server, "address").trim_end_matches('.') == address) {
            return Ok(known);
        }
        servers.push(own.clone());
        match api.clone().if_still(tag).patch(&path, &json!({ "origins": servers })).await {
            Ok(extended) => return Ok(extended),
            Err(error) => match error.downcast_ref::<Failure>() {
                Some(Failure { code: Some(CHANGED_SINCE), .. }) if look < LOOKS => {}
                _ => return Err(error),
            },
        }
    }
    Err(raced(&format!("the pool {}", quoted(pool))))
}

/// Makes the name lead to the pool, beside those that it leads to already.
pub async fn lead(api: &Api, zone: &Value, hostname: &str, pool: &Value) -> anyhow::Result<()> {
    let base = format!("/zones/{}/load_balancers", text(zone, "id"));
    let id = &pool["id"];
    let made = match balancer(api, zone, hostname).await? {
        Some(known) => Ok(known),
        None => {
            let body = json!({ "name": hostname, "default_pools": [id], "fallback_pool": id, "proxied": true });
            api.post(&base, &body).await
        }
    };
    for look in 1..=LOOKS {
        // Another machine may have made it meanwhile.
        let known = match (&made, balancer(api, zone, hostname).await?) {
            (_, Some(known)) => known,
            (Ok(_), None) if look < LOOKS => continue,
            (Ok(made), None) => made.clone(),
            (Err(_), None) => return made.map(drop),
        };
        let path = format!("{base}/{}", text(&known, "id"));
        let Some((known, tag)) = api.find_tagged(&path).await? else { continue };
        let mut pools = known["default_pools"].as_array().cloned().unwrap_or_default();
        if pools.contains(id) {
            return Ok(());
        }
        pools.push(id.clone());
        match api.clone().if_still(tag).patch(&path, &json!({ "default_pools": pools })).await {
            Ok(_) => return Ok(()),
            Err(error) => match error.downcast_ref::<Failure>() {
                Some(Failure { code: Some(CHANGED_SINCE), .. }) if look < LOOKS => {}
                _ => return Err(error),
            },
        }
    }
    Err(raced(&format!("the load balancer of {hostname}")))
}

/// Others are always faster.
fn raced(what: &str) -> anyhow::Error {
    let message = format!("{what} was changed or deleted by others each of {LOOKS} times that it was looked at");
    Failure::new(Cause::Conflict, message).remedy("run the command again").into()
}

/// The pools of this name, the oldest first.
async fn named(api: &Api, pool: &str) -> anyhow::Result<Vec<Value>> {
    let mut found = api.list(POOLS).await?;
    found.retain(|known| text(known, "name") == pool);
    found.sort_by(|one, other| {
        (text(one, "created_on"), text(one, "id")).cmp(&(text(other, "created_on"), text(other, "id")))
    });
    Ok(found)
}

async fn balancer(api: &Api, zone: &Value, hostname: &str) -> anyhow::Result<Option<Value>> {
    let all = api.list(&format!("/zones/{}/load_balancers", text(zone, "id"))).await?;
    Ok(all.into_iter().find(|known| text(known, "name").trim_end_matches('.').eq_ignore_ascii_case(hostname)))
}

/// What is said when the tunnel is in the pool.
pub fn told(pool: &Value) -> String {
    let servers = pool["origins"].as_array().map_or(0, Vec::len);
    let name = quoted(text(pool, "name"));
    format!("pool {name}, which has {servers} server{}", if servers == 1 { "" } else { "s" })
}
