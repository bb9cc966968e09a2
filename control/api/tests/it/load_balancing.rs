//! Pools, monitors and load balancers: one object by three spellings of its path, and what refers to what.

use bartizan_names::PoolId;
use bartizan_store::Key;
use serde_json::{Value, json};

use crate::edge::{Answer, Edge, commit, put};

fn path(edge: &Edge, what: &str) -> String {
    format!("/accounts/{}/load_balancers/{what}", edge.account())
}

fn balancers(edge: &Edge) -> String {
    format!("/zones/{}/load_balancers", edge.zone())
}

fn pool(edge: &Edge, name: &str, fields: Value) -> Value {
    let mut body = json!({"name": name, "origins": [{"name": "one", "address": "192.0.2.1"}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    edge.post(&path(edge, "pools"), &body.to_string()).result()
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_pool_has_the_defaults_of_the_dialect() {
    let edge = Edge::new();
    let answer = edge.post(&path(&edge, "pools"), r#"{"name":"one","origins":[{"name":"a","address":"192.0.2.1"}]}"#);
    let made = answer.result();
    let (id, at) = (id(&made), made["created_on"].as_str().unwrap());
    let pool = format!(
        r#"{{"id":"{id}","name":"one","description":"","enabled":true,"minimum_origins":1,"check_regions":null,"notification_email":"","load_shedding":{{"default_percent":0.0,"default_policy":"random","session_percent":0.0,"session_policy":"hash"}},"origin_steering":{{"policy":"random"}},"origins":[{{"name":"a","address":"192.0.2.1","enabled":true,"weight":1.0}}],"created_on":"{at}","modified_on":"{at}"}}"#
    );
    assert_eq!(answer.text, format!(r#"{{"result":{pool},"success":true,"errors":[],"messages":[]}}"#));
    assert_eq!(edge.get(&format!("{}/{id}", path(&edge, "pools"))).result(), made);
}

#[test]
fn one_object_has_three_spellings() {
    let edge = Edge::new();
    let account = edge.account();
    let made = edge.post("/user/load_balancers/monitors", "{}").result();
    let id = id(&made);
    for path in [
        format!("/accounts/{account}/load_balancers/monitors/{id}"),
        format!("/organizations/{account}/load_balancers/monitors/{id}"),
        format!("/user/load_balancers/monitors/{id}"),
    ] {
        assert_eq!(edge.get(&path).result(), made, "{path}");
    }
    assert_eq!(edge.get("/user/load_balancers/monitors").result(), json!([made]));
}

/// The printed calls of the post about service discovery: the ids are those that there are, the rest is as printed.
#[test]
fn the_printed_calls() {
    let edge = Edge::new();
    let zone = edge.post("/zones", r#"{"name":"example.com"}"#).result();
    let zone = id(&zone);
    let monitor = r#"{"type":"https","description":"Login page monitor","method":"GET","path":"/health","header":{"Host":["example.com"],"X-App-ID":["abc123"]},"timeout":3,"retries":0,"interval":90,"expected_body":"alive","expected_codes":"2xx"}"#;
    let monitor = edge.post(&format!("/organizations/{}/load_balancers/monitors", edge.account()), monitor).result();
    for (field, value) in [
        ("type", json!("https")),
        ("header", json!({"Host": ["example.com"], "X-App-ID": ["abc123"]})),
        ("interval", json!(90)),
        ("retries", json!(0)),
        ("expected_codes", json!("2xx")),
        ("port", json!(0)),
        ("allow_insecure", json!(false)),
    ] {
        assert_eq!(monitor[field], value, "{field}");
    }
    // The pools are there by the ids that were printed, which no call makes.
    let account = edge.account().parse().unwrap();
    let printed = ["17b5962d775c646f3f9725cbc7a53df4", "de90f38ced07c2e2f4df50b1f61d4194"];
    let printed = printed.into_iter().chain(["9290f38c5d07c2e2f4df57b1f61d4196", "00920f38ce07c2e2f4df50b1f61d4194"]);
    let template = pool(&edge, "template", json!({}));
    for (index, id) in printed.enumerate() {
        let mut document = template.clone();
        document["id"] = json!(id);
        document["name"] = json!(format!("pool-{index}"));
        let key = Key::pool(account, id.parse::<PoolId>().unwrap());
        commit(&edge.store, vec![put(key, &document.to_string())]);
    }
    let body = format!(
        r#"{{"description":"Primary data center - Provider XYZ","name":"primary-dc-1","enabled":true,"monitor":"{}","origins":[{{"name":"app-server-1","address":"1.2.3.4","enabled":true}}],"notification_email":"someone@example.com"}}"#,
        id(&monitor)
    );
    let put = edge.call("PUT", "/user/load_balancers/pools/17b5962d775c646f3f9725cbc7a53df4", &body).result();
    assert_eq!((&put["name"], &put["notification_email"]), (&json!("primary-dc-1"), &json!("someone@example.com")));
    let printed = r#"{"description":"Load Balancer for www.example.com","name":"www.example.com","ttl":30,"fallback_pool":"17b5962d775c646f3f9725cbc7a53df4","default_pools":["de90f38ced07c2e2f4df50b1f61d4194","9290f38c5d07c2e2f4df57b1f61d4196","00920f38ce07c2e2f4df50b1f61d4194"],"region_pools":{"WNAM":["de90f38ced07c2e2f4df50b1f61d4194","9290f38c5d07c2e2f4df57b1f61d4196"],"ENAM":["00920f38ce07c2e2f4df50b1f61d4194"]},"pop_pools":{"LAX":["de90f38ced07c2e2f4df50b1f61d4194","9290f38c5d07c2e2f4df57b1f61d4196"],"LHR":["abd90f38ced07c2e2f4df50b1f61d4194","f9138c5d07c2e2f4df57b1f61d4196"],"SJC":["00920f38ce07c2e2f4df50b1f61d4194"]},"proxied":true}"#;
    // Two of the printed ids have 33 and 30 digits.
    let refused = edge.post(&format!("/zones/{zone}/load_balancers"), printed);
    assert_eq!(refused.verdict(), "400 1002 /pop_pools/LHR/0");
    let error = &refused.json()["errors"][0];
    assert!(error["message"].as_str().unwrap().contains("abd90f38ced07c2e2f4df50b1f61d4194"), "{error}");
    let there = printed
        .replace("abd90f38ced07c2e2f4df50b1f61d4194", "de90f38ced07c2e2f4df50b1f61d4194")
        .replace("f9138c5d07c2e2f4df57b1f61d4196", "9290f38c5d07c2e2f4df57b1f61d4196")
        .replace("99290f38c5d07c2e2f4df57b1f61d4196", "9290f38c5d07c2e2f4df57b1f61d4196");
    let made = edge.post(&format!("/zones/{zone}/load_balancers"), &there).result();
    assert_eq!((&made["ttl"], &made["session_affinity"], &made["proxied"]), (&json!(30), &json!("none"), &json!(true)));
    // It is printed twice: the second time it is there already. Another one with the name is refused.
    let before = edge.revision();
    assert_eq!(edge.post(&format!("/zones/{zone}/load_balancers"), &there).result(), made);
    assert_eq!(edge.revision(), before);
    let other = there.replace(r#""ttl":30"#, r#""ttl":60"#);
    assert_eq!(edge.post(&format!("/zones/{zone}/load_balancers"), &other).verdict(), "400 10605 /name");
}

#[test]
fn what_is_referred_to_stays() {
    let edge = Edge::new();
    let monitor = id(&edge.post(&path(&edge, "monitors"), "{}").result());
    let pool = id(&pool(&edge, "one", json!({"monitor": monitor})));
    let body = json!({"name": "lb.bartizan.localhost", "fallback_pool": pool, "default_pools": [pool]}).to_string();
    let balancer = id(&edge.post(&balancers(&edge), &body).result());
    let (monitors, pools) = (path(&edge, "monitors"), path(&edge, "pools"));
    let of_monitor = edge.get(&format!("{monitors}/{monitor}/references")).result();
    assert_eq!(
        of_monitor,
        json!([{"reference_type": "referrer", "resource_id": pool, "resource_name": "one", "resource_type": "pool"}])
    );
    let of_pool = edge.get(&format!("{pools}/{pool}/references")).result();
    assert_eq!(of_pool[0]["resource_name"], json!("lb.bartizan.localhost"));
    for (path, expect) in [
        (format!("{monitors}/{monitor}"), "400 1005"),
        (format!("{pools}/{pool}"), "400 1005"),
        (format!("{}/{balancer}", balancers(&edge)), "200"),
        (format!("{monitors}/{monitor}"), "400 1005"),
        (format!("{pools}/{pool}"), "200"),
        (format!("{monitors}/{monitor}"), "200"),
        (format!("{monitors}/{monitor}"), "404 10602"),
        (format!("{pools}/{pool}"), "404 10601"),
        (format!("{}/{balancer}", balancers(&edge)), "404 10603"),
    ] {
        let answer = edge.call("DELETE", &path, "");
        let verdict = if answer.status == 200 { "200".to_owned() } else { answer.verdict() };
        assert_eq!(verdict, expect, "{path}");
    }
}

/// An application keeps the pool that it leads to, in its own account, from being deleted.
#[test]
fn an_application_leads_to_a_pool() {
    let edge = Edge::new();
    let one = id(&pool(&edge, "one", json!({})));
    let two = id(&pool(&edge, "two", json!({})));
    let other = id(&edge.post("/accounts", r#"{"name":"other"}"#).result());
    let body = r#"{"name":"theirs","origins":[{"name":"a","address":"192.0.2.1"}]}"#;
    let theirs = id(&edge.post(&format!("/accounts/{other}/load_balancers/pools"), body).result());
    let apps = format!("/zones/{}/spectrum/apps", edge.zone());
    let app = |pool: &str| json!({"protocol": "tcp/22", "dns": {"name": "ssh"}, "bartizan": {"origin_pool": pool}});
    for refused in [theirs.as_str(), &"0".repeat(32), "web"] {
        assert_eq!(
            edge.post(&apps, &app(refused).to_string()).verdict(),
            "400 11001 /bartizan/origin_pool",
            "{refused}"
        );
    }
    let made = edge.post(&apps, &app(&one).to_string()).result();
    assert_eq!((&made["bartizan"]["origin_pool"], &made["origin_port"]), (&json!(one), &Value::Null));
    let of_pool = |pool: &str| edge.get(&format!("{}/{pool}/references", path(&edge, "pools"))).result();
    assert_eq!(
        of_pool(&one),
        json!([{"reference_type": "referrer", "resource_id": id(&made), "resource_name": "ssh.bartizan.localhost", "resource_type": "spectrum_app"}])
    );
    let delete = |pool: &str| edge.call("DELETE", &format!("{}/{pool}", path(&edge, "pools")), "");
    assert_eq!(delete(&one).verdict(), "400 1005");
    // Elsewhere from now on, and by a port.
    let mut body = app(&two);
    body["origin_port"] = json!(2222);
    let changed = edge.call("PUT", &format!("{apps}/{}", id(&made)), &body.to_string()).result();
    assert_eq!((&changed["bartizan"]["origin_pool"], &changed["origin_port"]), (&json!(two), &json!(2222)));
    delete(&one).result();
    assert_eq!(delete(&two).verdict(), "400 1005");
    edge.call("DELETE", &format!("{apps}/{}", id(&made)), "").result();
    assert_eq!(of_pool(&two), json!([]));
    delete(&two).result();
}

/// What another account has is none of ours to lead to, also where its id is known.
#[test]
fn what_is_not_there_is_refused() {
    let edge = Edge::new();
    let none = "0".repeat(32);
    let other = id(&edge.post("/accounts", r#"{"name":"other"}"#).result());
    let body = r#"{"name":"theirs","origins":[{"name":"a","address":"192.0.2.1"}]}"#;
    let theirs = id(&edge.post(&format!("/accounts/{other}/load_balancers/pools"), body).result());
    let ours = id(&pool(&edge, "ours", json!({})));
    let balancer = |fallback: &str, default: &str| json!({"name": "lb.bartizan.localhost", "fallback_pool": fallback, "default_pools": [default]});
    for (path, body, pointer) in [
        (balancers(&edge), balancer(&ours, &theirs), "/default_pools/0"),
        (balancers(&edge), balancer(&none, &ours), "/fallback_pool"),
        (balancers(&edge), json!({"fallback_pool": ours, "default_pools": [ours]}), "/name"),
        (
            path(&edge, "pools"),
            json!({"name": "x", "origins": [{"address": "a.example"}], "monitor": none}),
            "/monitor",
        ),
        (
            path(&edge, "pools"),
            json!({"name": "x", "origins": [{"address": "07070707-0707-4707-8707-070707070707.cfargotunnel.com"}]}),
            "/origins/0/address",
        ),
    ] {
        let answer = edge.post(&path, &body.to_string());
        assert_eq!(answer.verdict(), format!("400 1002 {pointer}"), "{path} {body}");
    }
    assert_eq!(edge.get(&format!("/accounts/{}/load_balancers/pools/{theirs}", edge.account())).verdict(), "404 10601");
}

/// A service is told by names and ports, which each of its servers has, and keeps.
#[test]
fn servers_of_a_service_have_names_and_ports() {
    let edge = Edge::new();
    let origins = |fields: Value| json!({"origins": [fields]});
    let whole = json!({"name": "one.example.com", "address": "192.0.2.1", "port": 80});
    let good = id(&pool(&edge, "good", origins(whole.clone())));
    let bad = [
        json!({"name": "one", "address": "192.0.2.1", "port": 80}),
        json!({"name": "one.example.com", "address": "192.0.2.1"}),
    ];
    let balancer = |pool: &str, proxied: bool| {
        let name = "_http._tcp.www.bartizan.localhost";
        json!({"name": name, "fallback_pool": good, "default_pools": [pool], "proxied": proxied}).to_string()
    };
    for (at, bad) in bad.iter().enumerate() {
        let pool = id(&pool(&edge, &format!("bad-{at}"), origins(bad.clone())));
        let refused = edge.post(&balancers(&edge), &balancer(&pool, false));
        assert_eq!(refused.verdict(), "400 1002 /default_pools/0", "{bad}");
        let said = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(said.contains(&format!("bad-{at}")) && said.contains("port"), "{said}");
    }
    assert_eq!(edge.post(&balancers(&edge), &balancer(&good, true)).verdict(), "400 1002 /proxied");
    let made = id(&edge.post(&balancers(&edge), &balancer(&good, false)).result());
    let edit = |fields: &Value| edge.call("PATCH", &format!("{}/{good}", path(&edge, "pools")), &fields.to_string());
    for bad in &bad {
        assert_eq!(edit(&origins(bad.clone())).verdict(), "400 1002 /origins/0", "{bad}");
    }
    edit(&json!({"origins": [whole, {"address": "two.example.com", "port": 81}]})).result();
    edge.call("DELETE", &format!("{}/{made}", balancers(&edge)), "").result();
    edit(&origins(bad[0].clone())).result();
}

/// Of a name, an application or a load balancer: each tells DNS something else.
#[test]
fn a_name_has_an_application_or_a_load_balancer() {
    let edge = Edge::new();
    let pool = id(&pool(&edge, "one", json!({})));
    let apps = format!("/zones/{}/spectrum/apps", edge.zone());
    let app = |name: &str| {
        json!({"protocol": "tcp/22", "dns": {"type": "CNAME", "name": name}, "origin_direct": ["tcp://192.0.2.1:22"]})
            .to_string()
    };
    let balancer = |name: &str| json!({"name": name, "fallback_pool": pool, "default_pools": [pool]}).to_string();
    edge.post(&apps, &app("ssh.bartizan.localhost")).result();
    assert_eq!(edge.post(&balancers(&edge), &balancer("ssh.bartizan.localhost")).verdict(), "400 1002 /name");
    edge.post(&balancers(&edge), &balancer("lb.bartizan.localhost")).result();
    assert_eq!(edge.post(&apps, &app("lb.bartizan.localhost")).verdict(), "400 81053 /dns/name");
}

#[test]
fn edits() {
    let edge = Edge::new();
    let made = pool(&edge, "one", json!({"description": "first"}));
    let one = format!("{}/{}", path(&edge, "pools"), id(&made));
    let patched = edge.call("PATCH", &one, r#"{"enabled":false}"#).result();
    assert_eq!((&patched["description"], &patched["enabled"]), (&json!("first"), &json!(false)));
    let body = r#"{"name":"one","origins":[{"name":"one","address":"192.0.2.1"}]}"#;
    let replaced = edge.call("PUT", &one, body).result();
    assert_eq!((&replaced["description"], &replaced["enabled"]), (&json!(""), &json!(true)));
    assert_eq!(replaced["created_on"], made["created_on"]);
    let before = edge.revision();
    edge.call("PUT", &one, body).result();
    assert_eq!(edge.revision(), before);
}

/// On the day that a tunnel is gone its pool can be switched off, and its other servers changed; it leads to no other such tunnel.
#[test]
fn a_deleted_tunnel_does_not_freeze_its_pool() {
    let edge = Edge::new();
    let tunnels = format!("/accounts/{}/cfd_tunnel", edge.account());
    let tunnel = |name: &str| id(&edge.post(&tunnels, &json!({"name": name}).to_string()).result());
    let (one, two) = (tunnel("one"), tunnel("two"));
    let origin = |tunnel: &str| json!({"name": tunnel, "address": format!("{tunnel}.cfargotunnel.com")});
    let made = pool(&edge, "one", json!({"origins": [origin(&one), {"name": "b", "address": "192.0.2.2"}]}));
    for tunnel in [&one, &two] {
        edge.call("DELETE", &format!("{tunnels}/{tunnel}"), "").result();
    }
    let path = format!("{}/{}", path(&edge, "pools"), id(&made));
    let patched = edge.call("PATCH", &path, r#"{"enabled":false}"#).result();
    assert_eq!((&patched["enabled"], &patched["origins"]), (&json!(false), &made["origins"]));
    let weighted =
        json!({"name": "one", "origins": [origin(&one), {"name": "b", "address": "192.0.2.2", "weight": 0.5}]});
    assert_eq!(edge.call("PUT", &path, &weighted.to_string()).result()["origins"][1]["weight"], json!(0.5));
    let other = json!({"origins": [origin(&one), origin(&two)]}).to_string();
    assert_eq!(edge.call("PATCH", &path, &other).verdict(), "400 1002 /origins/1/address");
}

/// What a monitor would find: by its own words, with those of the call before them, and for the account alone.
#[test]
fn previews() {
    let edge = Edge::new();
    let monitor = id(&edge.post(&path(&edge, "monitors"), r#"{"timeout": 3}"#).result());
    let of = |name: &str, monitor: Option<&str>| id(&pool(&edge, name, json!({"monitor": monitor})));
    let (one, two, alone) = (of("one", Some(&monitor)), of("two", Some(&monitor)), of("alone", None));
    let preview = |what: &str, id: &str, body: Value| {
        edge.post(&format!("{}/{id}/preview", path(&edge, what)), &body.to_string())
    };
    let found = |preview: &Value| {
        edge.get(&path(&edge, &format!("preview/{}", preview["preview_id"].as_str().unwrap()))).result()
    };
    let begun = preview("monitors", &monitor, json!({})).result();
    assert_eq!(begun["pools"], json!({one.clone(): "one", two.clone(): "two"}));
    let reason = |seen: &Value| {
        let origins = seen["origins"][0].as_object().unwrap();
        origins.values().next().unwrap()["failure_reason"].as_str().unwrap().to_owned()
    };
    let seen = found(&begun);
    assert_eq!((seen.as_object().unwrap().len(), &seen[&one]["healthy"]), (2, &json!(false)), "{seen}");
    assert_eq!(reason(&seen[&one]), "nobody is there after 3s");
    let changed = preview("monitors", &monitor, json!({"timeout": 2})).result();
    assert_eq!(reason(&found(&changed)[&one]), "nobody is there after 2s");
    for (id, body, expect) in [
        (&two, json!({}), "nobody is there after 3s"),
        (&two, json!({"timeout": 4}), "nobody is there after 4s"),
        (&alone, json!({}), "nobody is there after 5s"),
    ] {
        let begun = preview("pools", id, body).result();
        assert_eq!(reason(&found(&begun)[id]), expect);
    }
    assert_eq!(edge.get(&format!("{}/{monitor}", path(&edge, "monitors"))).result()["timeout"], json!(3));
    for (answer, expect) in [
        (preview("monitors", &monitor, json!({"type": "smtp"})), "400 1002 /type"),
        (preview("monitors", &"0".repeat(32), json!({})), "404 10602"),
        (preview("pools", &"0".repeat(32), json!({})), "404 10601"),
        (edge.get(&path(&edge, "preview/none")), "404 10605"),
    ] {
        assert_eq!(answer.verdict(), expect);
    }
    // Another account has no business there.
    let other = id(&edge.post("/accounts", r#"{"name":"other"}"#).result());
    let of_other = format!("/accounts/{other}/load_balancers/preview/{}", begun["preview_id"].as_str().unwrap());
    assert_eq!(edge.get(&of_other).verdict(), "404 10605");
    let crowd = of("crowd", None);
    let refused = |answer: Answer, seconds: std::ops::RangeInclusive<u64>| {
        assert_eq!(answer.verdict(), "503 10606");
        let after = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(seconds.contains(&after), "{after}");
    };
    // However often there is no place, nothing stays of it.
    (0..9).for_each(|_| refused(preview("pools", &crowd, json!({})), 10..=11));
    // Five were made above. Of two that never end a third one waits, and another account's does not.
    let never = of("never", None);
    for _ in 5..7 {
        assert_eq!(found(&preview("pools", &never, json!({})).result()), json!({}));
    }
    refused(preview("pools", &alone, json!({})), 10..=11);
    let foreign = format!("/accounts/{other}/load_balancers/pools");
    let body = json!({"name": "theirs", "origins": [{"name": "one", "address": "192.0.2.1"}]}).to_string();
    let theirs = id(&edge.post(&foreign, &body).result());
    for _ in 0..8 {
        edge.post(&format!("{foreign}/{theirs}/preview"), "{}").result();
    }
    // So many are kept.
    refused(edge.post(&format!("{foreign}/{theirs}/preview"), "{}"), 500..=601);
}

#[test]
fn regions() {
    let edge = Edge::new();
    let all = edge.get(&path(&edge, "regions")).result();
    assert_eq!(all.as_array().unwrap().len(), 13);
    let weu = edge.get("/user/load_balancers/regions/WEU").result();
    assert!(weu["countries"].as_array().unwrap().contains(&json!({"country_code_a2": "DE"})), "{weu}");
    assert_eq!(edge.get(&path(&edge, "regions/EU")).verdict(), "404 10604");
}

/// Whoever made a mistake takes it back, as long as nothing rests on it.
#[test]
fn what_was_done_is_undone() {
    let edge = Edge::new();
    let undo = |revision: u64| edge.post("/bartizan/undo", &json!({"revision": revision}).to_string());
    let pool = id(&pool(&edge, "one", json!({"description": "first"})));
    let made = edge.revision();
    let one = format!("{}/{pool}", path(&edge, "pools"));
    edge.call("PATCH", &one, r#"{"description":"second"}"#).result();
    undo(edge.revision()).result();
    assert_eq!(edge.get(&one).result()["description"], json!("first"));
    edge.call("DELETE", &one, "").result();
    undo(edge.revision()).result();
    assert_eq!(edge.get(&one).result()["description"], json!("first"));
    let body = json!({"name": "lb.bartizan.localhost", "fallback_pool": pool, "default_pools": [pool]}).to_string();
    let balancer = format!("{}/{}", balancers(&edge), id(&edge.post(&balancers(&edge), &body).result()));
    assert_ne!(undo(made).verdict(), "200", "a load balancer leads to it");
    edge.call("DELETE", &balancer, "").result();
    undo(edge.revision()).result();
    assert_eq!(edge.get(&balancer).result()["fallback_pool"], json!(pool));
}
