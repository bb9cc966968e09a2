//! Pools, monitors and load balancers with real servers: one dies, and nobody notices.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use bartizan_e2e::origin::{Origin, free, here};
use bartizan_e2e::{Edge, finish, wait};
use serde_json::{Value, json};

use crate::ports::{Echo, create, some_port, through};

/// nginx that says who it is, and is well as long as it says so.
fn server(name: &str) -> Origin {
    server_on("127.0.0.1", name)
}

fn server_on(ip: &str, name: &str) -> Origin {
    Origin::nginx(ip, &format!("location /health {{ return 200 alive; }} location / {{ return 200 \"{name}\"; }}"))
}

fn node(address: SocketAddr) -> Value {
    json!({"name": format!("node-{}", address.port()), "address": address.ip().to_string(), "port": address.port()})
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// A pool of these servers, with a monitor that looks as often as may be.
fn pool(edge: &Edge, name: &str, servers: &[&Origin], fields: Value) -> String {
    let monitor = json!({
        "type": "http", "path": "/health", "expected_codes": "2xx", "expected_body": "alive", "interval": 5, "timeout": 2,
        "retries": 0,
    });
    let monitor = id(&edge.post("/user/load_balancers/monitors", &monitor));
    let origins: Vec<Value> = servers.iter().map(|server| node(server.address)).collect();
    let mut body = json!({"name": name, "monitor": monitor, "origins": origins});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    id(&edge.post("/user/load_balancers/pools", &body))
}

/// A load balancer in the default zone; gives its host.
fn balancer(edge: &Edge, label: &str, pools: &[&str], fields: Value) -> String {
    let host = format!("{label}.{}", edge.domain());
    let mut body = json!({"name": host, "fallback_pool": pools[pools.len() - 1], "default_pools": pools});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    edge.post(&format!("/zones/{}/load_balancers", edge.zone()), &body);
    if body["proxied"] == true {
        announced(edge, &host);
    }
    host
}

/// Waits until DNS has a name: then HTTP does.
fn announced(edge: &Edge, host: &str) {
    wait::until_eq("the name is announced", &vec!["AAAA ::1".to_owned()], || edge.dig(&[host, "AAAA"]).answers());
}

fn who(edge: &Edge, host: &str) -> String {
    let page = edge.http_get(host, "/", &[]);
    assert_eq!(page.status, 200, "{}", page.text());
    page.text()
}

fn counted(edge: &Edge, host: &str, times: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        *counts.entry(who(edge, host)).or_default() += 1;
    }
    counts
}

/// How many servers of a pool are well.
fn well(edge: &Edge, pool: &str) -> usize {
    let health = edge.get(&format!("/user/load_balancers/pools/{pool}/health"));
    let places = health["pop_health"].as_object().unwrap();
    let origins = places.values().next().unwrap()["origins"].as_array().unwrap();
    origins.iter().flat_map(|one| one.as_object().unwrap().values()).filter(|one| one["healthy"] == true).count()
}

#[test]
fn a_server_dies_and_the_next_request_goes_to_the_other() {
    let edge = Edge::start();
    let (one, two) = (server("one"), server("two"));
    let pool = pool(&edge, "web", &[&one, &two], json!({}));
    let host = balancer(&edge, "lb", &[&pool], json!({"proxied": true}));
    let both = wait::until("both servers answer", || {
        let counts = counted(&edge, &host, 20);
        (counts.len() == 2).then_some(counts)
    });
    assert_eq!(both.keys().collect::<Vec<_>>(), ["one", "two"]);
    one.program.kill();
    // Nobody has looked yet: what could not be sent goes to the other one.
    assert_eq!(counted(&edge, &host, 30), BTreeMap::from([("two".to_owned(), 30)]));
    wait::until_eq("the monitor finds one server", &1, || well(&edge, &pool));
    let health = edge.get(&format!("/user/load_balancers/pools/{pool}/health"));
    let turn = &health["bartizan"]["transitions"][0];
    assert_eq!(turn["healthy"], json!(false), "{health}");
    assert_eq!(counted(&edge, &host, 10), BTreeMap::from([("two".to_owned(), 10)]));
}

/// A server that answers something else than it should is taken out, and back in when it answers right.
#[test]
fn the_answer_decides_and_a_server_comes_back() {
    let edge = Edge::start();
    let (one, two) = (Origin::files(), Origin::files());
    for (server, name) in [(&one, "one"), (&two, "two")] {
        std::fs::write(server.folder().join("health"), "alive").unwrap();
        std::fs::write(server.folder().join("index.html"), name).unwrap();
    }
    let pool = pool(&edge, "web", &[&one, &two], json!({}));
    let host = balancer(&edge, "lb", &[&pool], json!({"proxied": true}));
    wait::until_eq("both are well", &2, || counted(&edge, &host, 20).len());
    std::fs::write(one.folder().join("health"), "dying").unwrap();
    wait::until_eq("one is out", &1, || well(&edge, &pool));
    assert_eq!(counted(&edge, &host, 20), BTreeMap::from([("two".to_owned(), 20)]));
    std::fs::write(one.folder().join("health"), "alive").unwrap();
    wait::until_eq("it is back", &2, || well(&edge, &pool));
    assert_eq!(counted(&edge, &host, 40).len(), 2);
}

#[test]
fn pools_in_their_order_and_a_switch() {
    let edge = Edge::start();
    let (one, two) = (server("one"), server("two"));
    let (first, second) = (pool(&edge, "first", &[&one], json!({})), pool(&edge, "second", &[&two], json!({})));
    let host = balancer(&edge, "lb", &[&first, &second], json!({"proxied": true}));
    wait::until_eq("the first pool", &"one".to_owned(), || edge.http_get(&host, "/", &[]).text());
    edge.ask("PATCH", &format!("/user/load_balancers/pools/{first}"), Some(&json!({"enabled": false}))).result();
    wait::until_eq("the second pool", &"two".to_owned(), || edge.http_get(&host, "/", &[]).text());
    edge.ask("PATCH", &format!("/user/load_balancers/pools/{first}"), Some(&json!({"enabled": true}))).result();
    wait::until_eq("the first pool again", &"one".to_owned(), || edge.http_get(&host, "/", &[]).text());
    // No address of a server is in an answer.
    let page = edge.http_get(&host, "/", &["--include"]);
    assert!(!page.text().contains("127.0.0.1"), "{}", page.text());
}

#[test]
fn a_cookie_keeps_a_visitor_with_a_server() {
    let edge = Edge::start();
    let (one, two) = (server("one"), server("two"));
    let pool = pool(&edge, "web", &[&one, &two], json!({}));
    let host = balancer(&edge, "lb", &[&pool], json!({"proxied": true, "session_affinity": "cookie"}));
    let first = wait::until("an answer", || {
        let page = edge.http_get(&host, "/", &[]);
        (page.status == 200).then_some(page)
    });
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("__cflb="), "{cookie}");
    let with = format!("Cookie: {cookie}");
    for _ in 0..20 {
        assert_eq!(edge.http_get(&host, "/", &["--header", &with]).text(), first.text());
    }
    assert_eq!(counted(&edge, &host, 40).len(), 2, "others go anywhere");
    let (gone, left) = if first.text() == "one" { (one, "two") } else { (two, "one") };
    gone.program.kill();
    wait::until_eq("the monitor finds one server", &1, || well(&edge, &pool));
    let page = edge.http_get(&host, "/", &["--header", &with]);
    assert_eq!(page.text(), left);
    assert_ne!(page.header("set-cookie").split(';').next(), Some(cookie.as_str()));
}

/// The values of a field decide, and who has none of it goes anywhere.
#[test]
fn a_field_keeps_a_visitor_with_a_server() {
    let edge = Edge::start();
    let (one, two) = (server("one"), server("two"));
    let pool = pool(&edge, "web", &[&one, &two], json!({}));
    let fields = json!({
        "proxied": true, "session_affinity": "header", "session_affinity_attributes": {"headers": ["X-User"]}
    });
    let host = balancer(&edge, "lb", &[&pool], fields);
    wait::until_eq("both servers answer", &2, || counted(&edge, &host, 20).len());
    let mut servers = BTreeMap::new();
    for user in 0..20 {
        let with = format!("x-user: {user}");
        let ask = || edge.http_get(&host, "/", &["--header", &with]).text();
        let first = ask();
        (0..5).for_each(|_| assert_eq!(ask(), first, "{user}"));
        *servers.entry(first).or_insert(0) += 1;
    }
    assert_eq!(servers.len(), 2, "{servers:?}");
}

/// A server that is switched off keeps those who were with it for a while, and gets nobody else.
#[test]
fn a_server_is_drained() {
    let edge = Edge::start();
    let (one, two) = (server("one"), server("two"));
    let pool = pool(&edge, "web", &[&one, &two], json!({}));
    let fields = json!({
        "proxied": true, "session_affinity": "cookie", "session_affinity_attributes": {"drain_duration": 3600}
    });
    let host = balancer(&edge, "lb", &[&pool], fields);
    let first = wait::until("an answer of the first", || {
        let page = edge.http_get(&host, "/", &[]);
        (page.status == 200 && page.text() == "one").then_some(page)
    });
    let with = format!("Cookie: {}", first.header("set-cookie").split(';').next().unwrap());
    let off = |enabled: bool| {
        let mut origins = [node(one.address), node(two.address)];
        origins[0]["enabled"] = json!(enabled);
        edge.ask("PATCH", &format!("/user/load_balancers/pools/{pool}"), Some(&json!({"origins": origins}))).result()
    };
    let origin = off(false)["origins"][0].clone();
    assert!(origin["disabled_at"].is_string(), "{origin}");
    assert_eq!(off(false)["origins"][0], origin, "it is off since then");
    wait::until_eq("others go elsewhere", &BTreeMap::from([("two".to_owned(), 20)]), || counted(&edge, &host, 20));
    assert_eq!(edge.http_get(&host, "/", &["--header", &with]).text(), "one");
    one.program.kill();
    // It died while it was drained: nobody is left with it.
    assert_eq!(edge.http_get(&host, "/", &["--header", &with]).text(), "two");
}

/// Not proxied: DNS tells the servers that are well, and each first as often as the other.
#[test]
fn dns_tells_servers_that_are_well() {
    let edge = Edge::start();
    let (one, two) = (server_on("127.0.0.1", "one"), server_on("127.0.0.2", "two"));
    let six = server_on("::1", "six");
    let pool = pool(&edge, "web", &[&one, &two, &six], json!({}));
    let host = balancer(&edge, "lb", &[&pool], json!({"ttl": 10}));
    let told = |kind: &str| edge.dig(&[&host, kind]).answers();
    wait::until_eq("both IPv4 addresses", &vec!["A 127.0.0.1".to_owned(), "A 127.0.0.2".to_owned()], || told("A"));
    assert_eq!(told("AAAA"), ["AAAA ::1"]);
    assert_eq!((edge.dig(&[&host, "TXT"]).status, edge.dig(&[&host, "A"]).answer[0].ttl), ("NOERROR".to_owned(), 10));
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..200 {
        *first.entry(edge.dig(&[&host, "A"]).answer[0].data.clone()).or_default() += 1;
    }
    // 200 throws of a coin: 60 to 140 but once in 10^7 times.
    assert!(first.len() == 2 && first.values().all(|count| (60..=140).contains(count)), "{first:?}");
    two.program.kill();
    wait::until_eq("one is out", &vec!["A 127.0.0.1".to_owned()], || told("A"));
    one.program.kill();
    six.program.kill();
    // Nobody is well: all are told, since one of them may be by now.
    wait::until_eq("the last resort", &2, || told("A").len());
}

/// A name of a service tells names and ports of servers that are well, in a signed zone too.
#[test]
fn dns_tells_services() {
    let edge = Edge::start();
    let (one, two) = (server("one"), server("two"));
    let zone = edge.domain();
    let monitor = json!({"type": "http", "path": "/health", "interval": 5, "timeout": 2, "retries": 0});
    let monitor = id(&edge.post("/user/load_balancers/monitors", &monitor));
    let origin = |name: &str, server: &Origin| json!({"name": format!("{name}.{zone}"), "address": "127.0.0.1", "port": server.address.port()});
    let body = json!({"name": "api", "monitor": monitor, "origins": [origin("one", &one), origin("two", &two)]});
    edge.post("/user/load_balancers/pools", &body);
    finish(&mut edge.command(["dnssec", "enable", zone])).ok();
    finish(&mut edge.command(["lb", "create", &format!("www.{zone}"), "api", "--srv", "_http._tcp", "--ttl", "10"]))
        .ok();
    let name = format!("_http._tcp.www.{zone}");
    let record = |name: &str, server: &Origin| format!("SRV 0 10000 {} {name}.{zone}.", server.address.port());
    let told = || edge.dig(&[&name, "SRV"]).answers();
    let mut both = vec![record("one", &one), record("two", &two)];
    both.sort();
    wait::until_eq("both servers", &both, told);
    wait::until("signatures", || {
        let signed = edge.dig(&[&name, "SRV", "+dnssec"]).answers();
        signed.iter().any(|line| line.starts_with("RRSIG SRV ")).then_some(())
    });
    let none = edge.dig(&[&name, "A", "+dnssec"]);
    assert_eq!((none.status.as_str(), none.answers()), ("NOERROR", Vec::new()));
    two.program.kill();
    wait::until_eq("one is out", &vec![record("one", &one)], told);
    one.program.kill();
    // Nobody is well: all are told, since one of them may be by now.
    wait::until_eq("the last resort", &both, told);
    finish(&mut edge.command(["lb", "create", zone, "api", "--srv", "http"])).failed_with(2);
}

/// A monitor goes nowhere where a record could not lead: not to the edge itself, and not to what a machine tells its own.
#[test]
fn a_monitor_reaches_nothing_that_a_record_does_not() {
    let edge = Edge::start();
    let api: SocketAddr = edge.api_url().split('/').nth(2).unwrap().parse().unwrap();
    let monitor = json!({"type": "tcp", "port": api.port(), "interval": 5, "timeout": 2, "retries": 0});
    let monitor = id(&edge.post("/user/load_balancers/monitors", &monitor));
    let metadata = json!({"type": "http", "interval": 5, "timeout": 2, "retries": 0, "follow_redirects": true});
    let metadata = id(&edge.post("/user/load_balancers/monitors", &metadata));
    let pool = |name: &str, monitor: &str, address: &str| {
        let body = json!({"name": name, "monitor": monitor, "origins": [{"address": address}]});
        id(&edge.post("/user/load_balancers/pools", &body))
    };
    let pools = [pool("own", &monitor, &api.ip().to_string()), pool("metadata", &metadata, "169.254.169.254")];
    for pool in &pools {
        let reason = wait::until("it was looked at", || {
            let health = edge.get(&format!("/user/load_balancers/pools/{pool}/health"));
            let place = health["pop_health"].as_object()?.values().next()?.clone();
            let origin = place["origins"][0].as_object()?.values().next()?.clone();
            (origin["healthy"] == false).then(|| origin["failure_reason"].as_str().unwrap_or_default().to_owned())
        });
        assert!(reason.contains("must not be dialled"), "{reason}");
    }
}

/// The commands of `docs/load-balancing.md`.
#[test]
fn by_commands() {
    let edge = Edge::start();
    let (one, two) = (server("one"), server("two"));
    let ok = |words: &[&str]| finish(&mut edge.command(words)).ok();
    ok(&["monitor", "create", "health", "--path", "/health", "--body", "alive", "--interval", "5", "--timeout", "2"]);
    let servers = [one.address.to_string(), two.address.to_string()];
    ok(&["pool", "create", "web", &servers[0], &servers[1], "--monitor", "health"]);
    let host = format!("www.{}", edge.domain());
    ok(&["lb", "create", &host, "web"]);
    announced(&edge, &host);
    wait::until_eq("both servers answer", &2, || counted(&edge, &host, 20).len());
    let health = wait::until("somebody has looked", || {
        let health = ok(&["pool", "health", "web"]);
        health.contains("ms").then_some(health)
    });
    assert!(servers.iter().all(|server| health.contains(server.as_str())), "{health}");
    for (words, expect) in [
        (&["pool", "list"][..], "web"),
        (&["pool", "show", "web"], "127.0.0.1"),
        (&["monitor", "list"], "health"),
        (&["lb", "list"], host.as_str()),
        (&["lb", "show", &host], "this edge"),
    ] {
        let shown = ok(words);
        assert!(shown.contains(expect), "{words:?}: {shown}");
    }
    // What something leads to stays.
    finish(&mut edge.command(["pool", "delete", "web", "--yes"])).failed_with(1);
    ok(&["lb", "delete", &host, "--yes"]);
    ok(&["pool", "delete", "web", "--yes"]);
    ok(&["monitor", "delete", "health", "--yes"]);
    finish(&mut edge.command(["pool", "show", "web"])).failed_with(3);
}

/// Nodes that come and go by `contrib/service-registration.sh`, with curl alone.
#[test]
fn nodes_register_themselves() {
    let edge = Edge::start();
    let pool =
        id(&edge.post("/user/load_balancers/pools", &json!({"name": "web", "origins": [{"address": "192.0.2.1"}]})));
    let script = here("../../contrib/service-registration.sh");
    let run = |address: &str, action: &str| {
        let mut command = Command::new("sh");
        command.arg(&script).arg(action).env("API", edge.api_url()).env("TOKEN", edge.token());
        command.env("POOL", &pool).env("ADDRESS", address).env("PORT", "8080").env("CACERT", edge.ca());
        finish(&mut command).ok();
    };
    let nodes = || {
        let pool = edge.get(&format!("/user/load_balancers/pools/{pool}"));
        let origins = pool["origins"].as_array().unwrap().iter();
        origins.map(|one| format!("{} {}", one["address"].as_str().unwrap(), one["enabled"])).collect::<Vec<_>>()
    };
    run("192.0.2.2", "start");
    run("192.0.2.3", "start");
    run("192.0.2.2", "start");
    assert_eq!(nodes(), ["192.0.2.1 true", "192.0.2.3 true", "192.0.2.2 true"]);
    run("192.0.2.2", "stop");
    run("192.0.2.3", "stop");
    assert_eq!(nodes(), ["192.0.2.1 true"]);
}

/// By the network that asks: each region has its pool, and goes to no other but the fallback. Signed zones too.
#[test]
fn places_are_told_their_own_servers() {
    let edge = Edge::start();
    let pool = |name: &str, address: &str| {
        let body = json!({"name": name, "origins": [{"address": address}]});
        id(&edge.post("/user/load_balancers/pools", &body))
    };
    let (europe, world) = (pool("europe", "192.0.2.1"), pool("world", "192.0.2.2"));
    let host = balancer(&edge, "geo", &[&world], json!({"region_pools": {"WEU": [europe]}, "fallback_pool": world}));
    let told = |words: &[&str]| {
        let reply = edge.dig(&[&[host.as_str(), "A"], words].concat());
        let addresses = reply.answer.iter().filter(|record| record.kind == "A").map(|record| record.data.clone());
        (addresses.collect::<Vec<_>>(), reply)
    };
    wait::until_eq("the name answers", &vec!["192.0.2.2".to_owned()], || told(&[]).0);
    let (addresses, reply) = told(&["+subnet=193.0.6.0/24"]);
    assert_eq!(addresses, ["192.0.2.1"], "{reply:?}");
    assert!(reply.text.contains("193.0.6.0/24/24"), "{reply:?}");
    edge.ask("PATCH", &format!("/zones/{}/dnssec", edge.zone()), Some(&json!({"status": "active"}))).result();
    wait::until("the answer is signed", || {
        let reply = edge.dig(&[&host, "A", "+dnssec", "+subnet=193.0.6.0/24"]);
        let answers = reply.answers();
        (answers.len() == 2 && answers.iter().any(|answer| answer.contains("RRSIG"))).then_some(())
    });
    edge.ask("PATCH", &format!("/user/load_balancers/pools/{europe}"), Some(&json!({"enabled": false}))).result();
    wait::until_eq("the fallback", &vec!["192.0.2.2".to_owned()], || told(&["+subnet=193.0.6.0/24"]).0);
}

/// A port of the edge leads to a pool: a server that is gone loses no client, and the pool stays as long as something leads there.
#[test]
fn a_port_leads_to_a_pool() {
    let edge = Edge::start_with(&["--pool", "127.121.0.0/16"]);
    let (one, gone) = (Echo::start(), free("127.0.0.1".parse().unwrap()));
    let ok = |words: &[&str]| finish(&mut edge.command(words)).ok();
    ok(&["pool", "create", "echo", &one.address.to_string(), &gone.to_string()]);
    let (name, port) = (format!("echo.{}", edge.domain()), some_port());
    let address = create(&edge, &[&name, &format!("tcp/{port}"), "--pool", "echo"]);
    let shown = ok(&["app", "show", &name]);
    assert!(shown.contains("pool "), "{shown}");
    wait::until_eq("the port is open", &Some(b"hello".to_vec()), || through((address, port).into(), b"hello"));
    for _ in 0..20 {
        assert_eq!(through((address, port).into(), b"hello").as_deref(), Some(&b"hello"[..]));
    }
    finish(&mut edge.command(["pool", "delete", "echo", "--yes"])).failed_with(1);
    ok(&["app", "delete", &name, "--yes"]);
    ok(&["pool", "delete", "echo", "--yes"]);
}

/// What a monitor would find, of a server that is well and one that is not.
#[test]
fn a_preview_tells_before_it_counts() {
    let edge = Edge::start();
    let (one, gone) = (server("one"), free("127.0.0.1".parse().unwrap()));
    let ok = |words: &[&str]| finish(&mut edge.command(words)).ok();
    ok(&["monitor", "create", "health", "--path", "/health", "--body", "alive", "--interval", "3600"]);
    ok(&["pool", "create", "web", &one.address.to_string(), &gone.to_string(), "--monitor", "health"]);
    for words in [["pool", "preview", "web"], ["monitor", "preview", "health"]] {
        let found = ok(&words);
        let line = |address: SocketAddr| {
            let address = address.to_string();
            found.lines().find(|line| line.contains(&address)).unwrap_or_else(|| panic!("{found}")).to_owned()
        };
        assert!(line(one.address).contains("well") && line(gone).contains("refuses connections"), "{found}");
    }
}
