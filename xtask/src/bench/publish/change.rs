//! The kinds of changes that are measured: how each is made, and by what it is seen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::super::api::Api;
use super::super::edge::Edge;
use super::super::{ZONE, load};
use super::probe::{NO_ERROR, Origin, Resolver, shows_certificate, status};

/// After this long a change counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a proxied name answers with: the edge's default address.
const EDGE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The origin of proxied names that are not asked over HTTP (RFC 5737).
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Applications listen on this port, each on an address of its own.
const PORT: u16 = 9_000;

/// Makes the change number `n` and waits for its effect.
type Make = fn(&mut Site, usize) -> Result<Took>;

pub(super) const CHANGES: [(&str, Make); 7] = [
    ("record", record),
    ("setting", setting),
    ("pause", pause),
    ("zone", zone),
    ("deep-name", deep_name),
    ("certificate", certificate),
    ("application", application),
];

/// How long one change took.
pub(super) struct Took {
    /// To the API's answer.
    pub(super) call: Duration,
    /// From there to the effect.
    pub(super) effect: Duration,
}

/// Where changes are made and looked for.
pub(super) struct Site {
    api: Api,
    resolver: Resolver,
    origin: Origin,
    account: String,
    http: SocketAddr,
    https: SocketAddr,
    zone: String,
    names: usize,
    /// Tells what this run makes from what another one left.
    run: u64,
    /// Paths of what was made and is to be deleted.
    made: Vec<String>,
}

impl Site {
    /// The names that settings and pauses are seen by, and everything as it is by default.
    pub(super) fn prepare(edge: &Edge, zone: String, names: usize) -> Result<Site> {
        let origin = Origin::start()?;
        let run = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let mut site = Site {
            api: edge.connect()?,
            resolver: Resolver::new(edge.dns)?,
            account: edge.account.clone(),
            http: edge.http,
            https: edge.https,
            made: Vec::new(),
            origin,
            zone,
            names,
            run,
        };
        site.api.call("PATCH", &site.path(""), &json!({"paused": false}))?;
        site.api.call("PATCH", &site.path("/settings/always_use_https"), &json!({"value": "off"}))?;
        let port = site.origin.address.port();
        site.proxied(&site.secure_name(), EDGE, json!({"origin_port": port}))?;
        site.proxied(&site.paused_name(), ELSEWHERE, json!({}))?;
        Ok(site)
    }

    /// Deletes what the last kind of change has made.
    pub(super) fn clean(&mut self) -> Result<()> {
        for path in std::mem::take(&mut self.made) {
            self.api.call("DELETE", &path, &Value::Null)?;
        }
        Ok(())
    }

    fn path(&self, rest: &str) -> String {
        format!("/zones/{}{rest}", self.zone)
    }

    fn secure_name(&self) -> String {
        format!("secure-{}.{ZONE}", self.run)
    }

    fn paused_name(&self) -> String {
        format!("paused-{}.{ZONE}", self.run)
    }

    /// A proxied name that stays until the data of the bench is thrown away.
    fn proxied(&mut self, name: &str, content: Ipv4Addr, bartizan: Value) -> Result<Value> {
        let body = json!({"type": "A", "name": name, "content": content, "proxied": true, "bartizan": bartizan});
        self.api.call("POST", &self.path("/dns_records"), &body)
    }

    /// Makes one change; `seen` asks whether it is in force, given the API's answer.
    fn time(
        &mut self,
        (method, path, body): (&str, &str, Value),
        mut seen: impl FnMut(&mut Site, &Value) -> Result<bool>,
    ) -> Result<(Value, Took)> {
        let start = Instant::now();
        let result = self.api.call(method, path, &body)?;
        let answered = Instant::now();
        while !seen(self, &result)? {
            if answered.elapsed() > PATIENCE {
                bail!("{method} {path} {body}: not in force within {} s", PATIENCE.as_secs());
            }
        }
        Ok((result, Took { call: answered - start, effect: answered.elapsed() }))
    }

    fn is_made(&mut self, folder: &str, result: &Value) -> Result<()> {
        let id = result["id"].as_str().with_context(|| format!("no id in {result}"))?;
        self.made.push(format!("{folder}/{id}"));
        Ok(())
    }
}

/// Another address for a name, seen by DNS.
fn record(site: &mut Site, number: usize) -> Result<Took> {
    // All over the zone, so that no part of it is always warm.
    let name = load::owner(number.wrapping_mul(7919) % site.names);
    let found = site.api.call("GET", &site.path(&format!("/dns_records?name={name}")), &Value::Null)?;
    let id = found[0]["id"].as_str().with_context(|| format!("no record {name}"))?.to_owned();
    let before = site.resolver.ask(&name)?.address.with_context(|| format!("no address of {name}"))?;
    let next = Ipv4Addr::from(u32::from(before) ^ 0x0080_0000);
    let change = ("PATCH", &*site.path(&format!("/dns_records/{id}")), json!({"content": next}));
    Ok(site.time(change, |site, _| Ok(site.resolver.ask(&name)?.address == Some(next)))?.1)
}

/// `always_use_https` of the zone on or off, seen by a redirect or the origin's answer.
fn setting(site: &mut Site, number: usize) -> Result<Took> {
    let (value, expect) = if number.is_multiple_of(2) { ("on", 301) } else { ("off", 200) };
    let name = site.secure_name();
    let change = ("PATCH", &*site.path("/settings/always_use_https"), json!({"value": value}));
    Ok(site.time(change, |site, _| Ok(status(site.http, &name) == Some(expect)))?.1)
}

/// The zone paused or not, seen by what a proxied name answers with.
fn pause(site: &mut Site, number: usize) -> Result<Took> {
    let (paused, expect) = if number.is_multiple_of(2) { (true, ELSEWHERE) } else { (false, EDGE) };
    let name = site.paused_name();
    let change = ("PATCH", &*site.path(""), json!({"paused": paused}));
    Ok(site.time(change, |site, _| Ok(site.resolver.ask(&name)?.address == Some(expect)))?.1)
}

/// A new zone, seen by DNS, which refused it before.
fn zone(site: &mut Site, number: usize) -> Result<Took> {
    let name = format!("new-{}-{number}.example", site.run);
    let change = ("POST", "/zones", json!({"name": name, "account": {"id": site.account}}));
    let (made, took) = site.time(change, |site, _| Ok(site.resolver.ask(&name)?.rcode == NO_ERROR))?;
    site.is_made("/zones", &made)?;
    Ok(took)
}

/// A proxied name below no certificate that there is yet, seen by DNS.
fn deep_name(site: &mut Site, number: usize) -> Result<Took> {
    let name = format!("n{number}.deep-{}.{ZONE}", site.run);
    deep(site, &name, |site, name| Ok(site.resolver.ask(name)?.address == Some(EDGE)))
}

/// The same, seen by the certificate of a TLS handshake.
fn certificate(site: &mut Site, number: usize) -> Result<Took> {
    let name = format!("c{number}.deep-{}.{ZONE}", site.run);
    deep(site, &name, |site, name| Ok(shows_certificate(site.https, name)))
}

fn deep(site: &mut Site, name: &str, seen: impl Fn(&mut Site, &str) -> Result<bool>) -> Result<Took> {
    let body = json!({"type": "A", "name": name, "content": ELSEWHERE, "proxied": true});
    let folder = site.path("/dns_records");
    let (made, took) = site.time(("POST", &folder, body), |site, _| seen(site, name))?;
    site.is_made(&folder, &made)?;
    Ok(took)
}

/// A new application, seen by its origin's answer on an address of the pool.
fn application(site: &mut Site, number: usize) -> Result<Took> {
    let name = format!("app-{}-{number}.{ZONE}", site.run);
    let origin = format!("tcp://{}", site.origin.address);
    let dns = json!({"type": "CNAME", "name": name});
    let body = json!({"protocol": format!("tcp/{PORT}"), "dns": dns, "origin_direct": [origin]});
    let folder = site.path("/spectrum/apps");
    let (made, took) = site.time(("POST", &folder, body), |_, made| {
        let address: IpAddr = made["bartizan"]["addresses"][0].as_str().context("no address")?.parse()?;
        Ok(status(SocketAddr::new(address, PORT), &name) == Some(200))
    })?;
    site.is_made(&folder, &made)?;
    Ok(took)
}
