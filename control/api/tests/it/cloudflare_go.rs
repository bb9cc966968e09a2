//! What version 6 of the vendor's Go client sends: its paths, fields and heads, written by us from its public source.
//!
//! - Parameters of a list are sorted by name, nested ones joined by dots, and whole numbers have no fraction.
//! - What has no body has no type of content either, also a POST.
//! - Lists are read page after page until one is empty; it does not look at how many there are.

use serde_json::{Value, json};

use crate::edge::{Answer, EMAIL, Edge, KEY, TOKEN};

/// Who calls, beside what the client sends with every call.
enum As {
    Token(String),
    Key,
}

fn send(edge: &Edge, who: &As, more: &[(&str, &str)], (method, path): (&str, &str), body: &str) -> Answer {
    let mut headers = vec![
        ("user-agent", "Cloudflare/Go 6.6.0"),
        ("accept-encoding", "gzip"),
        ("x-stainless-retry-count", "0"),
        ("x-stainless-lang", "go"),
        ("x-stainless-package-version", "6.6.0"),
        ("x-stainless-os", "Linux"),
        ("x-stainless-arch", "x64"),
        ("x-stainless-runtime", "go"),
        ("x-stainless-runtime-version", "go1.25.0"),
    ];
    let bearer;
    match who {
        As::Token(token) => {
            bearer = format!("Bearer {token}");
            headers.push(("authorization", &bearer));
        }
        As::Key => headers.extend([("x-auth-key", KEY), ("x-auth-email", EMAIL)]),
    }
    headers.extend(more);
    edge.send_as(&headers, method, &format!("/client/v4/{path}"), body)
}

fn call(edge: &Edge, who: &As, method: &str, path: &str, body: &Value) -> Answer {
    let accept = ("accept", "application/json");
    match body {
        Value::Null => send(edge, who, &[accept], (method, path), ""),
        body => send(edge, who, &[accept, ("content-type", "application/json")], (method, path), &body.to_string()),
    }
}

/// All that a list has, as its pager reads it.
fn all(edge: &Edge, who: &As, path: &str, query: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for page in 1..100 {
        let list = call(edge, who, "GET", &format!("{path}?page={page}{query}"), &Value::Null).result();
        match list.as_array().unwrap() {
            list if list.is_empty() => return found,
            list => found.extend_from_slice(list),
        }
    }
    panic!("{path} has no end");
}

fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap_or_else(|| panic!("no id in {object}"))
}

#[test]
fn records() {
    let (edge, who) = (Edge::new(), As::Key);
    let path = format!("zones/{}/dns_records", edge.zone());
    let record = json!({
        "comment": "Domain verification record", "content": "198.51.100.4", "name": "www.bartizan.localhost", "proxied": true,
        "settings": {"ipv4_only": false, "ipv6_only": false}, "tags": ["owner:dns-team"], "ttl": 1, "type": "A"
    });
    let made = call(&edge, &who, "POST", &path, &record).result();
    let one = format!("{path}/{}", id(&made));
    assert_eq!(call(&edge, &who, "GET", &one, &Value::Null).result(), made);
    // Every filter of a list at once, as the generated tests of the client send them.
    let every = "comment.contains=verif&comment.endswith=record&comment.exact=Domain+verification+record&comment.present=present\
        &comment.startswith=Domain&content.contains=1.100.&content.endswith=.4&content.exact=198.51.100.4\
        &content.startswith=198.&direction=asc&match=all&name.contains=w.barti&name.endswith=.localhost\
        &name.exact=www.bartizan.localhost&name.startswith=www.&order=type&page=1&per_page=5&proxied=true&search=www\
        &tag.contains=owner%3Adns&tag.endswith=owner%3Ateam&tag.exact=owner%3Adns-team&tag.present=owner\
        &tag.startswith=owner%3Adns&tag_match=all&type=A";
    let found = call(&edge, &who, "GET", &format!("{path}?{every}"), &Value::Null).result();
    assert_eq!(found, json!([made]));

    let put = json!({"content": "198.51.100.5", "name": "www.bartizan.localhost", "ttl": 3600, "type": "A"});
    let put = call(&edge, &who, "PUT", &one, &put).result();
    assert_eq!(
        (&put["content"], &put["comment"], &put["proxied"]),
        (&json!("198.51.100.5"), &Value::Null, &json!(false))
    );
    let patched = json!({"comment": "kept", "name": "www.bartizan.localhost", "ttl": 3600, "type": "A"});
    let patched = call(&edge, &who, "PATCH", &one, &patched).result();
    assert_eq!((&patched["content"], &patched["comment"]), (&json!("198.51.100.5"), &json!("kept")));

    let posts: Vec<Value> = (0..7)
        .map(|number| json!({"content": "\"text\"", "name": format!("t{number}.bartizan.localhost"), "ttl": 1, "type": "TXT"}))
        .collect();
    let batch = json!({"deletes": [{"id": id(&made)}], "patches": [], "posts": posts, "puts": []});
    let batch = call(&edge, &who, "POST", &format!("{path}/batch"), &batch).result();
    assert_eq!((batch["deletes"].as_array().unwrap().len(), batch["posts"].as_array().unwrap().len()), (1, 7));
    assert_eq!(all(&edge, &who, &path, "&per_page=3&type=TXT").len(), 7);
    assert_eq!(call(&edge, &who, "DELETE", &one, &Value::Null).verdict(), "404 81044");

    let export = send(&edge, &who, &[("accept", "text/plain")], ("GET", &format!("{path}/export")), "");
    assert!(export.text.contains("t3.bartizan.localhost.") && export.verdict() == "200", "{}", export.text);
    // A field of a form, and no file: it has no name.
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nfrom-go 300 IN A 192.0.2.9\n\r\n\
        --b\r\nContent-Disposition: form-data; name=\"proxied\"\r\n\r\ntrue\r\n--b--\r\n";
    let kind = ("content-type", "multipart/form-data; boundary=b");
    let imported =
        send(&edge, &who, &[("accept", "application/json"), kind], ("POST", &format!("{path}/import")), form).result();
    assert_eq!(imported["recs_added"], 1);
    let found =
        call(&edge, &who, "GET", &format!("{path}?name.exact=from-go.bartizan.localhost"), &Value::Null).result();
    assert_eq!(found[0]["proxied"], true);
    // The body of a call that takes none is none, and not an empty object.
    assert_eq!(call(&edge, &who, "POST", &format!("{path}/scan/trigger"), &Value::Null).status.as_u16() / 100, 4);
}

#[test]
fn zones_with_their_settings() {
    let (edge, who) = (Edge::new(), As::Token(TOKEN.to_owned()));
    let account = edge.account();
    let wanted = json!({"account": {"id": account}, "name": "go.example", "type": "full"});
    let zone = call(&edge, &who, "POST", "zones", &wanted).result();
    let path = format!("zones/{}", id(&zone));
    let query = format!(
        "account.id={account}&account.name=Main+account&direction=desc&match=all&name=go.example&order=status&page=1&per_page=5\
         &status=active"
    );
    let found = call(&edge, &who, "GET", &format!("zones?{query}"), &Value::Null).result();
    assert_eq!(found, json!([zone]));
    assert_eq!(all(&edge, &who, "zones", "").len(), 2);
    assert_eq!(call(&edge, &who, "PATCH", &path, &json!({"paused": true})).result()["paused"], true);
    assert_eq!(call(&edge, &who, "GET", &path, &Value::Null).result()["paused"], true);

    let setting = format!("{path}/settings/always_use_https");
    assert_eq!(call(&edge, &who, "PATCH", &setting, &json!({"value": "on"})).result()["value"], "on");
    assert_eq!(call(&edge, &who, "GET", &setting, &Value::Null).result()["id"], "always_use_https");
    let hold = format!("{path}/hold");
    assert_eq!(call(&edge, &who, "GET", &hold, &Value::Null).result()["hold"], false);
    assert_eq!(call(&edge, &who, "PUT", &format!("{path}/activation_check"), &Value::Null).result()["id"], zone["id"]);
    let plans = call(&edge, &who, "GET", &format!("{path}/available_plans"), &Value::Null).result();
    assert_eq!(plans.as_array().unwrap().len(), 1);
    let dnssec = format!("{path}/dnssec");
    assert_eq!(call(&edge, &who, "GET", &dnssec, &Value::Null).result()["status"], "disabled");
    let signed =
        json!({"dnssec_multi_signer": false, "dnssec_presigned": false, "dnssec_use_nsec3": false, "status": "active"});
    assert_eq!(call(&edge, &who, "PATCH", &dnssec, &signed).result()["status"], "pending");
    // Nobody answers for its parent here.
    assert_eq!(call(&edge, &who, "DELETE", &path, &Value::Null).verdict(), "400 1153");
    let forced = format!("{path}?force=true");
    assert_eq!(call(&edge, &who, "DELETE", &forced, &Value::Null).result(), json!({"id": zone["id"]}));
    assert_eq!(call(&edge, &who, "GET", &path, &Value::Null).status, 404);
}

/// A token is made with the ids of groups that are looked up first, and may then do what it says.
#[test]
fn tokens() {
    let (edge, who) = (Edge::new(), As::Key);
    let groups = call(&edge, &who, "GET", "user/tokens/permission_groups?name=DNS+Write", &Value::Null).result();
    let group = groups.as_array().unwrap().iter().find(|group| group["name"] == "DNS Write").unwrap();
    let zone = format!("com.cloudflare.api.account.zone.{}", edge.zone());
    let policies = json!([{
        "effect": "allow", "permission_groups": [{"id": id(group), "meta": {"key": "key", "value": "value"}}],
        "resources": {zone: "*"}
    }]);
    let wanted = json!({
        "name": "writes", "policies": policies, "not_before": "2020-01-01T00:00:00Z", "expires_on": "2099-01-01T00:00:00Z",
        "condition": {"request_ip": {"in": ["127.0.0.0/8", "2606:4700::/32"], "not_in": ["127.0.0.128/25"]}}
    });
    let token = call(&edge, &who, "POST", "user/tokens", &wanted).result();
    let one = format!("user/tokens/{}", id(&token));
    assert_eq!(call(&edge, &who, "GET", &one, &Value::Null).result()["condition"], wanted["condition"]);
    let bearer = As::Token(token["value"].as_str().unwrap().to_owned());
    assert_eq!(call(&edge, &bearer, "GET", "user/tokens/verify", &Value::Null).result()["status"], "active");
    let record = json!({"content": "192.0.2.1", "name": "by-token", "ttl": 1, "type": "A"});
    let records = format!("zones/{}/dns_records", edge.zone());
    assert_eq!(call(&edge, &bearer, "POST", &records, &record).verdict(), "200");
    assert_eq!(call(&edge, &bearer, "GET", "user/tokens", &Value::Null).status, 403);
    assert!(all(&edge, &who, "user/tokens", "&per_page=5").iter().any(|other| other["id"] == token["id"]));

    let rolled = call(&edge, &who, "PUT", &format!("{one}/value"), &json!({})).result();
    assert_eq!(call(&edge, &bearer, "GET", "user/tokens/verify", &Value::Null).status.as_u16() / 100, 4);
    let bearer = As::Token(rolled.as_str().unwrap().to_owned());
    assert_eq!(call(&edge, &bearer, "GET", "user/tokens/verify", &Value::Null).verdict(), "200");
    let renamed = json!({"name": "renamed", "policies": policies, "status": "disabled"});
    assert_eq!(call(&edge, &who, "PUT", &one, &renamed).result()["name"], "renamed");
    assert_ne!(call(&edge, &bearer, "POST", &records, &record).verdict(), "200");
    assert_eq!(call(&edge, &who, "DELETE", &one, &Value::Null).result(), json!({"id": token["id"]}));
}

#[test]
fn what_an_account_has() {
    let (edge, who) = (Edge::new(), As::Key);
    let account = format!("accounts/{}", edge.account());
    assert_eq!(call(&edge, &who, "GET", "user", &Value::Null).result()["email"], EMAIL);
    assert_eq!(all(&edge, &who, "memberships", "&per_page=20")[0]["account"]["id"], edge.account());
    assert_eq!(all(&edge, &who, "accounts", "").len(), 1);
    assert!(call(&edge, &who, "GET", "ips", &Value::Null).result()["ipv4_cidrs"].is_array());

    for place in [account.clone(), format!("zones/{}", edge.zone())] {
        let rules = format!("{place}/firewall/access_rules/rules");
        let rule = json!({
            "configuration": {"target": "ip", "value": "198.51.100.4"}, "mode": "challenge", "notes": "because of an event"
        });
        let rule = call(&edge, &who, "POST", &rules, &rule).result();
        let query = "configuration.target=ip&configuration.value=198.51.100.4&direction=desc&match=all&mode=challenge\
            &notes=event&order=mode&page=1&per_page=20";
        assert_eq!(call(&edge, &who, "GET", &format!("{rules}?{query}"), &Value::Null).result()[0]["id"], rule["id"]);
        let one = format!("{rules}/{}", id(&rule));
        let edited = json!({"configuration": {"target": "ip", "value": "198.51.100.4"}, "mode": "block", "notes": "n"});
        assert_eq!(call(&edge, &who, "PATCH", &one, &edited).result()["mode"], "block");
        assert_eq!(call(&edge, &who, "DELETE", &one, &Value::Null).result()["id"], rule["id"]);
    }

    let tunnels = format!("{account}/cfd_tunnel");
    let tunnel = json!({
        "config_src": "cloudflare", "name": "blog", "tunnel_secret": "AQIDBAUGBwgBAgMEBQYHCAECAwQFBgcIAQIDBAUGBwg="
    });
    let tunnel = call(&edge, &who, "POST", &tunnels, &tunnel).result();
    let one = format!("{tunnels}/{}", id(&tunnel));
    let query = format!("is_deleted=false&name=blog&page=1&per_page=1&status=inactive&uuid={}", id(&tunnel));
    assert_eq!(call(&edge, &who, "GET", &format!("{tunnels}?{query}"), &Value::Null).result()[0]["id"], tunnel["id"]);
    let config = json!({"config": {"ingress": [
        {"hostname": "go.bartizan.localhost", "originRequest": {"connectTimeout": 10, "noTLSVerify": false}, "path": "sub",
         "service": "http://localhost:8001"},
        {"service": "http_status:404"}
    ]}});
    let put = call(&edge, &who, "PUT", &format!("{one}/configurations"), &config).result();
    assert_eq!(put["config"]["ingress"][0]["hostname"], "go.bartizan.localhost");
    assert!(call(&edge, &who, "GET", &format!("{one}/token"), &Value::Null).result().is_string());
    assert_eq!(call(&edge, &who, "GET", &format!("{one}/connections"), &Value::Null).result(), json!([]));
    assert_eq!(call(&edge, &who, "PATCH", &one, &json!({"name": "blog-2"})).result()["name"], "blog-2");
    assert_eq!(call(&edge, &who, "DELETE", &one, &Value::Null).result()["id"], tunnel["id"]);

    let apps = format!("zones/{}/spectrum/apps", edge.zone());
    let app = json!({
        "argo_smart_routing": false, "dns": {"name": "ssh.bartizan.localhost", "type": "CNAME"},
        "edge_ips": {"connectivity": "all", "type": "dynamic"}, "ip_firewall": false,
        "origin_direct": ["tcp://192.0.2.1:22"], "protocol": "tcp/22", "proxy_protocol": "off", "tls": "off",
        "traffic_type": "direct"
    });
    let made = call(&edge, &who, "POST", &apps, &app).result();
    let one = format!("{apps}/{}", id(&made));
    let mut changed = app.clone();
    changed["ip_firewall"] = json!(true);
    assert_eq!(call(&edge, &who, "PUT", &one, &changed).result()["ip_firewall"], true);
    let listed =
        call(&edge, &who, "GET", &format!("{apps}?direction=desc&order=protocol&page=1&per_page=1"), &Value::Null);
    assert_eq!(listed.result()[0]["id"], made["id"]);
    assert_eq!(call(&edge, &who, "DELETE", &one, &Value::Null).result()["id"], made["id"]);

    let query = format!(
        "action.type=add&actor.email={}&before=2099-01-01T00%3A00%3A00Z&direction=desc&export=false&hide_user_logs=false\
         &page=1&per_page=25&since=2020-01-01T00%3A00%3A00Z&zone.name=bartizan.localhost",
        EMAIL.replace('@', "%40")
    );
    let audit = call(&edge, &who, "GET", &format!("{account}/audit_logs?{query}"), &Value::Null).result();
    let resources: Vec<&Value> = audit.as_array().unwrap().iter().map(|entry| &entry["resource"]["type"]).collect();
    assert!(resources.len() >= 2, "{audit}");
}
