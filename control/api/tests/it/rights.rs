//! What tokens may do: every route with tokens of every kind, and how tokens are made.

use bartizan_api::{declared_pop, read_token};
use bartizan_publish::{Publisher, Review};
use serde_json::{Value, json};

use crate::edge::{Answer, Edge, TOKEN};

const ZONES: &str = "com.cloudflare.api.account.zone";
const ACCOUNTS: &str = "com.cloudflare.api.account";

fn policy(groups: &[&str], resources: Value) -> Value {
    let groups: Vec<Value> = groups.iter().map(|name| json!({"name": name})).collect();
    json!({"effect": "allow", "permission_groups": groups, "resources": resources})
}

fn of_zone(groups: &[&str], zone: &str) -> Value {
    policy(groups, json!({format!("{ZONES}.{zone}"): "*"}))
}

/// A token that the administrator makes: its id and its text.
fn token(edge: &Edge, body: &Value) -> (String, String) {
    let made = edge.post("/user/tokens", &body.to_string()).result();
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("id"), text("value"))
}

/// A token that has ended: one like it cannot be made, but one that is there can be changed so.
fn expired(edge: &Edge, body: &Value) -> String {
    let (id, text) = token(edge, body);
    let mut body = body.clone();
    body["expires_on"] = json!("2001-01-01T00:00:00Z");
    assert_eq!(edge.call("PUT", &format!("/user/tokens/{id}"), &body.to_string()).verdict(), "200");
    text
}

fn call_as(edge: &Edge, token: &str, from: &str, method: &str, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    edge.send_from(from, &[("authorization", &bearer)], method, &format!("/client/v4{path}"), body)
}

const HERE: &str = "127.0.0.1:50000";

/// Each operation of the document, which is made from the router: its method, its path, and the permission that it needs.
pub(crate) fn operations(edge: &Edge) -> Vec<(String, String, Option<String>)> {
    let document = edge.send_as(&[], "GET", "/client/v4/openapi.json", "").json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            let Some(operation) = item.get(method) else { continue };
            let note = operation["description"].as_str().unwrap_or_default();
            let needs = note.split_once("Needs the permission \"").and_then(|(_, rest)| rest.split_once('"'));
            operations.push((method.to_uppercase(), path.clone(), needs.map(|(group, _)| group.to_owned())));
        }
    }
    operations
}

/// A path of the document with ids of things that are there as far as its owner goes, and not as far as the thing itself.
pub(crate) fn concrete(path: &str, zone: &str, account: &str) -> String {
    let path = path.replace("{zone_id}", zone).replace("{account_id}", account).replace("{setting_id}", "http2");
    let uuid = "00000000-0000-4000-8000-000000000000";
    let path = ["{tunnel_id}", "{certificate_id}", "{mtls_certificate_id}"]
        .iter()
        .fold(path, |path, name| path.replace(name, uuid));
    let parts = path.split('/').map(|part| if part.starts_with('{') { "0".repeat(32) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("/")
}

/// Whether a verdict means that the guard let the call in.
fn is_in(verdict: &str) -> bool {
    !["403 9109", "403 1009", "404 1001", "400 9106", "401 1000"].contains(&verdict)
}

#[test]
fn every_route_with_every_kind_of_token() {
    let edge = Edge::new();
    let (zone, account) = (edge.zone(), edge.account());
    let other = edge.new_zone("other.example");
    let of_all = json!({format!("{ACCOUNTS}.*"): "*", format!("{ZONES}.*"): "*"});
    let all_reads =
        ["DNS Read", "Zone Settings Read", "Firewall Services Read", "Cloudflare Tunnel Read", "Account Settings Read"];
    let dns = of_zone(&["DNS Write"], &zone);
    let tokens = [
        ("dns of one zone", token(&edge, &json!({"name": "dns", "policies": [dns]})).1),
        ("reads", token(&edge, &json!({"name": "reads", "policies": [policy(&all_reads, of_all)]})).1),
        ("expired", expired(&edge, &json!({"name": "e", "policies": [dns]}))),
        (
            "from elsewhere",
            token(
                &edge,
                &json!({"name": "f", "policies": [dns], "condition": {"request.ip": {"in": ["192.0.2.0/24"]}}}),
            )
            .1,
        ),
        // The last, because the zone is gone then.
        ("all", TOKEN.to_owned()),
    ];
    let mut operations = operations(&edge);
    operations.sort_by_key(|(method, path, _)| method == "DELETE" && path == "/zones/{zone_id}");
    assert!(operations.len() > 50, "{}", operations.len());
    for (method, path, needs) in &operations {
        let verify = path.ends_with("/verify");
        for (kind, text) in &tokens {
            let implied = |held: &[&str], wanted: &str| {
                held.contains(&wanted)
                    || held.contains(&wanted.replace(" Read", " Write").as_str())
                    || wanted == "Zone Read"
            };
            let may = match (*kind, needs.as_deref()) {
                ("expired" | "from elsewhere", needs) => {
                    needs.is_none()
                        && ["/ips", "/bartizan/sessions", "/bartizan/sessions/codes/owner"].contains(&path.as_str())
                }
                (_, None) => true,
                ("all", _) => true,
                ("dns of one zone", Some(group)) => path.contains("{zone_id}") && implied(&["DNS Write"], group),
                (_, Some(group)) => implied(&all_reads, group),
            };
            // The token of an expired or a distant one says what is the matter to whoever asks for just that.
            if verify && *kind != "all" {
                continue;
            }
            let here = concrete(path, &zone, &account);
            let verdict = call_as(&edge, text, HERE, method, &here, "").verdict();
            assert_eq!(is_in(&verdict), may, "{kind}: {method} {here}: {verdict}");
            let is_operators = needs.as_deref() == Some("Edge Zones Write");
            if *kind == "dns of one zone" && path.contains("{zone_id}") && !is_operators {
                // Another zone is not told from none.
                let there = concrete(path, &other, &account);
                let verdict = call_as(&edge, text, HERE, method, &there, "").verdict();
                assert_eq!(verdict, "404 1001", "{method} {there}");
            }
        }
    }
    let (kind, far) = &tokens[3];
    assert_eq!(call_as(&edge, far, "192.0.2.7:9", "GET", "/zones", "").verdict(), "200", "{kind}");
}

#[test]
fn lists_show_what_may_be_seen() {
    let edge = Edge::new();
    let (zone, other) = (edge.zone(), edge.new_zone("other.example"));
    let one = token(&edge, &json!({"name": "one", "policies": [of_zone(&["DNS Write"], &zone)]})).1;
    let mut deny = of_zone(&["Zone Read"], &zone);
    deny["effect"] = json!("deny");
    let every = policy(&["DNS Read"], json!({format!("{ZONES}.*"): "*"}));
    let but_one = token(&edge, &json!({"name": "but one", "policies": [every, deny]})).1;
    let inside = json!({format!("{ACCOUNTS}.{}", edge.account()): {format!("{ZONES}.*"): "*"}});
    let inside = token(&edge, &json!({"name": "inside", "policies": [policy(&["DNS Read"], inside)]})).1;
    let none = policy(&["Account Settings Read"], json!({format!("{ACCOUNTS}.*"): "*"}));
    let none = token(&edge, &json!({"name": "none", "policies": [none]})).1;
    for (token, zones, accounts) in [
        (TOKEN, vec![&zone, &other], 1),
        (&one, vec![&zone], 0),
        (&but_one, vec![&other], 0),
        (&inside, vec![&zone, &other], 0),
        (&none, vec![], 1),
    ] {
        let list = call_as(&edge, token, HERE, "GET", "/zones", "").json();
        let mut ids: Vec<&str> =
            list["result"].as_array().unwrap().iter().map(|zone| zone["id"].as_str().unwrap()).collect();
        let mut expect: Vec<&str> = zones.iter().map(|id| id.as_str()).collect();
        ids.sort_unstable();
        expect.sort_unstable();
        assert_eq!((ids, &list["result_info"]["total_count"]), (expect, &json!(zones.len())));
        let list = call_as(&edge, token, HERE, "GET", "/accounts", "").json();
        assert_eq!(list["result_info"]["total_count"], accounts);
    }
    // A zone says what the caller may do in it.
    let seen = call_as(&edge, &one, HERE, "GET", &format!("/zones/{zone}"), "").result();
    assert_eq!(seen["permissions"], json!(["#dns_records:read", "#dns_records:edit", "#zone:read"]));
    assert_eq!(call_as(&edge, &one, HERE, "GET", "/zones?name=other.example", "").result(), json!([]));
    // Zones are made by who may write all zones of the account, to come.
    let write = |resources: Value| policy(&["Zone Write"], resources);
    for (resources, expect) in
        [(json!({format!("{ZONES}.{zone}"): "*"}), "403 9109"), (json!({format!("{ZONES}.*"): "*"}), "200")]
    {
        let token = token(&edge, &json!({"name": "maker", "policies": [write(resources)]})).1;
        assert_eq!(call_as(&edge, &token, HERE, "POST", "/zones", r#"{"name":"new.example"}"#).verdict(), expect);
    }
    let metrics =
        |token: &str| edge.send_as(&[("authorization", &format!("Bearer {token}"))], "GET", "/metrics", "").status;
    assert_eq!((metrics(&one).as_u16(), metrics(&none).as_u16()), (403, 200));
}

#[test]
fn a_token_lives_and_ends() {
    let edge = Edge::new();
    let records = edge.records();
    for place in ["/user/tokens".to_owned(), format!("/accounts/{}/tokens", edge.account())] {
        let body = json!({"name": "ci", "policies": [of_zone(&["DNS Edit"], &edge.zone())]});
        let made = edge.post(&place, &body.to_string()).result();
        let (id, value) = (made["id"].as_str().unwrap(), made["value"].as_str().unwrap());
        assert!(value.len() >= 40, "{value}");
        assert_eq!(made["policies"][0]["permission_groups"][0]["name"], "DNS Write");
        let one = format!("{place}/{id}");
        let get = |token: &str| call_as(&edge, token, HERE, "GET", &records, "").verdict();
        assert_eq!(get(value), "200");
        // It is shown without its text, and known by its hash alone.
        let shown = edge.get(&one).result();
        assert_eq!((shown.get("value"), &shown["name"], &shown["status"]), (None, &json!("ci"), &json!("active")));
        assert!(edge.get(&place).result().as_array().unwrap().contains(&shown));
        let verify = format!("{place}/verify");
        assert_eq!(call_as(&edge, value, HERE, "GET", &verify, "").result(), json!({"id": id, "status": "active"}));

        // What is sent back as it was read changes nothing.
        let before = edge.revision();
        assert_eq!(edge.call("PUT", &one, &shown.to_string()).result(), shown);
        assert_eq!(edge.revision(), before);
        // Disabled, it is refused at once; enabled, it works again.
        let set = |status: &str| {
            let mut body = shown.clone();
            body["status"] = json!(status);
            edge.call("PUT", &one, &body.to_string()).result()
        };
        assert_eq!(set("disabled")["status"], "disabled");
        assert_eq!(get(value), "403 9109");
        assert_eq!(call_as(&edge, value, HERE, "GET", &verify, "").result()["status"], "disabled");
        // So is one that does not work yet, and it says from when.
        let mut early = shown.clone();
        early["not_before"] = json!("2100-01-01T00:00:00Z");
        assert_eq!(edge.call("PUT", &one, &early.to_string()).verdict(), "200");
        let answer = call_as(&edge, value, HERE, "GET", &verify, "").result();
        assert_eq!(answer, json!({"id": id, "status": "disabled", "not_before": "2100-01-01T00:00:00.000000Z"}));
        assert_eq!(get(value), "403 9109");
        set("active");
        assert_eq!(get(value), "200");

        // A new text ends the old one.
        let rolled = edge.call("PUT", &format!("{one}/value"), "{}").result();
        let rolled = rolled.as_str().unwrap();
        assert_eq!((get(value), get(rolled)), ("403 9109".to_owned(), "200".to_owned()));
        assert_eq!(edge.call("DELETE", &one, "").result(), json!({"id": id}));
        assert_eq!(get(rolled), "403 9109");
        for (method, path) in [("GET", &one), ("DELETE", &one), ("PUT", &format!("{one}/value"))] {
            assert_eq!(edge.call(method, path, "{}").verdict(), "404 1003", "{method} {path}");
        }
    }
    let hashes = bartizan_store::Prefix::unique(bartizan_store::Scope::Edge, bartizan_store::Index::TokenHash);
    assert_eq!(edge.store.read().unwrap().count(&hashes).unwrap(), 1, "only the administrator's");
}

#[test]
fn what_a_token_cannot_be() {
    let edge = Edge::new();
    let before = edge.revision();
    let (zone, account) = (edge.zone(), edge.account());
    let good = of_zone(&["DNS Write"], &zone);
    let unknown = "0".repeat(32);
    for (body, expect) in [
        (json!({"policies": [good]}), "400 1001 /name"),
        (json!({"name": "x".repeat(121), "policies": [good]}), "400 1001 /name"),
        (json!({"name": "t"}), "400 1001 /policies"),
        (json!({"name": "t", "policies": []}), "400 1001 /policies"),
        (json!({"name": "t", "policies": vec![good.clone(); 51]}), "400 1001 /policies"),
        (
            json!({"name": "t", "policies": [{"permission_groups": [], "resources": {}}]}),
            "400 1001 /policies/0/permission_groups",
        ),
        (
            json!({"name": "t", "policies": [good, of_zone(&["Time Travel"], &zone)]}),
            "400 1001 /policies/1/permission_groups/0",
        ),
        (json!({"name": "t", "policies": [policy(&["DNS Read"], json!({}))]}), "400 1001 /policies/0/resources"),
        (
            json!({"name": "t", "policies": [policy(&["DNS Read"], json!({"everything": "*"}))]}),
            "400 1001 /policies/0/resources",
        ),
        (json!({"name": "t", "policies": [of_zone(&["DNS Read"], &unknown)]}), "400 1001 /policies/0/resources"),
        // A permission without a thing of its kind would be none.
        (
            json!({"name": "t", "policies": [policy(&["DNS Read"], json!({format!("{ACCOUNTS}.{account}"): "*"}))]}),
            "400 1001 /policies/0/resources",
        ),
        (json!({"name": "t", "policies": [good], "expires_on": "tomorrow"}), "400 1001 /expires_on"),
        (json!({"name": "t", "policies": [good], "expires_on": "2001-01-01T00:00:00Z"}), "400 1001 /expires_on"),
        (
            json!({"name": "t", "policies": [good], "not_before": "2030-01-02T00:00:00Z", "expires_on": "2030-01-01T00:00:00Z"}),
            "400 1001 /expires_on",
        ),
        (
            json!({"name": "t", "policies": [good], "condition": {"request_ip": {"in": ["x"]}}}),
            "400 1001 /condition/request_ip/in/0",
        ),
        (json!({"name": "t", "policies": [good], "status": "perhaps"}), "400 1001 /status"),
        (json!({"name": 7}), "400 6007 /name"),
    ] {
        assert_eq!(edge.post("/user/tokens", &body.to_string()).verdict(), expect, "{body}");
    }
    // What is a user's cannot be an account's.
    let mine =
        policy(&["User Details Read"], json!({format!("com.cloudflare.api.user.{}", edge.administrator.user_id): "*"}));
    let body = json!({"name": "t", "policies": [mine]}).to_string();
    assert_eq!(
        edge.post(&format!("/accounts/{account}/tokens"), &body).verdict(),
        "400 1001 /policies/0/permission_groups"
    );
    assert_eq!(edge.revision(), before);
    assert_eq!(edge.post("/user/tokens", &body).verdict(), "200");
}

/// Without a write to the store for it.
#[test]
fn a_token_shows_when_it_was_last_used() {
    let edge = Edge::new();
    let (id, text) = token(&edge, &json!({"name": "t", "policies": [of_zone(&["DNS Read"], &edge.zone())]}));
    let path = format!("/user/tokens/{id}");
    assert!(edge.get(&path).result().get("last_used_on").is_none());
    let before = edge.revision();
    assert_eq!(call_as(&edge, &text, HERE, "GET", "/zones", "").verdict(), "200");
    let shown = edge.get(&path).result();
    let first = shown["last_used_on"].as_str().unwrap().to_owned();
    assert!(first.as_str() > shown["issued_on"].as_str().unwrap(), "{shown}");
    // A call that it may not make is a use as well, and one with another text is none.
    assert_eq!(call_as(&edge, &text, HERE, "GET", "/user", "").verdict(), "403 9109");
    let second = edge.get(&path).result()["last_used_on"].as_str().unwrap().to_owned();
    assert!(second > first, "{second} {first}");
    assert_eq!(call_as(&edge, &"0".repeat(40), HERE, "GET", "/zones", "").verdict(), "403 9109");
    assert_eq!(edge.get(&path).result()["last_used_on"], second);
    assert_eq!(edge.revision(), before);
}

/// Whoever may make tokens makes none that may do more than they may.
#[test]
fn nobody_gives_what_they_have_not() {
    let edge = Edge::new();
    let (zone, other, user) = (edge.zone(), edge.new_zone("other.example"), edge.administrator.user_id);
    let may_make = policy(&["API Tokens Write"], json!({format!("com.cloudflare.api.user.{user}"): "*"}));
    let dns = of_zone(&["DNS Write"], &zone);
    let bounds = json!({"request_ip": {"in": ["127.0.0.0/8"], "not_in": ["127.0.0.9/32"]}});
    let end = "2100-01-01T00:00:00.000000Z";
    let maker = json!({"name": "maker", "policies": [may_make, dns], "condition": bounds, "expires_on": end});
    let (maker_id, maker) = token(&edge, &maker);
    let administrator = edge
        .get("/user/tokens")
        .result()
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["name"] == "administrator")
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let make = |body: &Value| call_as(&edge, &maker, HERE, "POST", "/user/tokens", &body.to_string());
    for (body, expect) in [
        (json!({"name": "t", "policies": [of_zone(&["DNS Read"], &zone)]}), "200"),
        (json!({"name": "t", "policies": [of_zone(&["Zone Write"], &zone)]}), "403 9109 /policies"),
        (
            json!({"name": "t", "policies": [policy(&["DNS Read"], json!({format!("{ZONES}.*"): "*"}))]}),
            "403 9109 /policies",
        ),
        // A zone that they do not see is not told from none.
        (json!({"name": "t", "policies": [of_zone(&["DNS Read"], &other)]}), "400 1001 /policies/0/resources"),
        (json!({"name": "t", "policies": [dns], "expires_on": "2100-01-02T00:00:00Z"}), "403 9109 /expires_on"),
        (json!({"name": "t", "policies": [dns], "condition": {"request_ip": {"in": ["127.0.0.1"]}}}), "200"),
        (
            json!({"name": "t", "policies": [dns], "condition": {"request_ip": {"in": ["0.0.0.0/0"]}}}),
            "403 9109 /condition",
        ),
    ] {
        assert_eq!(make(&body).verdict(), expect, "{body}");
    }
    let made = make(&json!({"name": "t", "policies": [dns]})).result();
    assert_eq!(
        (&made["expires_on"], &made["condition"]),
        (&json!(end), &bounds),
        "it ends and works as its maker does"
    );
    // Nor do they get at one that may do more, be it to end it; what they made, and their own, they may end.
    let call = |method: &str, path: &str, body: &Value| {
        call_as(&edge, &maker, HERE, method, &format!("/user/tokens/{path}"), &body.to_string()).verdict()
    };
    let weak = json!({"name": "t", "policies": [dns]});
    let made = made["id"].as_str().unwrap();
    assert_eq!(call("PUT", &format!("{administrator}/value"), &json!({})), "403 9109 /policies");
    assert_eq!(call("PUT", &administrator, &weak), "403 9109 /policies");
    assert_eq!(call("DELETE", &administrator, &json!({})), "403 9109");
    assert_eq!(edge.get("/user/tokens/verify").verdict(), "200", "it works as before");
    // One that nobody can read may be one that may do everything.
    let key = bartizan_store::Key::token(bartizan_store::Scope::User(user), made.parse().unwrap());
    let document = edge.store.read().unwrap().get(&key).unwrap().unwrap().value.json;
    let put = |json: &str| bartizan_store::Op::Put {
        key: key.clone(),
        value: bartizan_store::Value::of(bartizan_store::Kind::Token, json.to_owned()),
    };
    for odd in [document.replace("\"allow\"", "\"perhaps\""), "7".to_owned()] {
        crate::edge::commit(&edge.store, vec![put(&odd)]);
        assert_eq!(call("DELETE", made, &json!({})), "403 9109", "{odd}");
    }
    crate::edge::commit(&edge.store, vec![put(&document)]);
    assert_eq!((call("PUT", made, &weak), call("DELETE", made, &json!({}))), ("200".to_owned(), "200".to_owned()));
    assert_eq!(call("DELETE", &maker_id, &json!({})), "200");
}

#[test]
fn permission_groups_are_found_by_name() {
    let edge = Edge::new();
    let all = edge.get("/user/tokens/permission_groups").result();
    let find = |name: &str| all.as_array().unwrap().iter().find(|group| group["name"] == name).cloned().unwrap();
    assert_eq!(find("DNS Write")["scopes"], json!([ZONES]));
    for query in ["name=DNS%20Write", "name=dns%20edit"] {
        assert_eq!(edge.get(&format!("/user/tokens/permission_groups?{query}")).result(), json!([find("DNS Write")]));
    }
    let of_account = format!("/accounts/{}/tokens/permission_groups", edge.account());
    assert!(
        edge.get(&of_account)
            .result()
            .as_array()
            .unwrap()
            .iter()
            .all(|group| group["scopes"][0] != "com.cloudflare.api.user")
    );
    // By id, as tools send what they found.
    let body = json!({"name": "t", "policies": [{"effect": "allow", "permission_groups": [{"id": find("DNS Read")["id"]}], "resources": {format!("{ZONES}.*"): "*"}}]});
    assert_eq!(
        edge.post("/user/tokens", &body.to_string()).result()["policies"][0]["permission_groups"][0]["name"],
        "DNS Read"
    );
    // Each is needed somewhere: one that nothing needs would promise what is not there.
    let needed: Vec<String> = operations(&edge).into_iter().filter_map(|(.., needs)| needs).collect();
    for group in all.as_array().unwrap() {
        assert!(needed.iter().any(|needs| group["name"] == **needs), "{group}");
    }
}

/// A token of which nobody can read what it may deny may do nothing, and takes no other with it.
#[test]
fn policies_that_cannot_be_read() {
    use bartizan_store::{Key, Kind, Op, Scope, Value as Stored};
    let edge = Edge::new();
    let (id, value) = token(&edge, &json!({"name": "t", "policies": [of_zone(&["DNS Write"], &edge.zone())]}));
    let key = Key::token(Scope::User(edge.administrator.user_id), id.parse().unwrap());
    let document = edge.store.read().unwrap().get(&key).unwrap().unwrap().value.json;
    let call = || call_as(&edge, &value, HERE, "GET", &edge.records(), "").verdict();
    assert_eq!(call(), "200");
    let (_, seal) = crate::edge::certs(edge.directory.path());
    let pop = declared_pop(&edge.store).unwrap().unwrap().id;
    let mut publisher =
        Publisher::load(edge.store.clone(), edge.published(seal, pop)).unwrap().with_tokens_read_by(read_token);
    while publisher.review() == Review::More {}
    assert_eq!(publisher.unreadable().count(), 0);
    for (from, to) in [
        (r#""effect":"allow""#, r#""effect":"perhaps""#),
        (r#""effect":"allow","permissions":["DNS Write"]"#, r#""effect":"deny","permissions":["Time Travel Write"]"#),
        ("com.cloudflare.api.account.zone.", "com.cloudflare.api.galaxy."),
        (r#""policies":["#, r#""policies":[7,"#),
    ] {
        assert!(document.contains(from), "{document}");
        let odd = document.replace(from, to);
        let put = Op::Put { key: key.clone(), value: Stored::of(Kind::Token, odd) };
        crate::edge::commit(&edge.store, vec![put]);
        assert_eq!(call(), "500 10501", "{to}");
        assert_eq!(edge.get("/zones").verdict(), "200");
        // It is shown after the change, and by a look at all of them.
        publisher.follow().unwrap();
        assert_eq!(publisher.unreadable().count(), 1, "{to}");
        publisher.review_anew();
        while publisher.review() == Review::More {}
        assert_eq!(publisher.unreadable().count(), 1, "{to}");
    }
    // It is written anew, or deleted.
    assert_eq!(edge.call("DELETE", &format!("/user/tokens/{id}"), "").verdict(), "200");
    assert_eq!(call(), "403 9109");
}

/// Whoever is bound to addresses gives no text to a token of which nobody can tell from where it works.
#[test]
fn a_condition_that_cannot_be_read_is_no_bound() {
    use bartizan_store::{Key, Kind, Op, Scope, Value as Stored};
    let edge = Edge::new();
    let user = edge.administrator.user_id;
    let may_make = policy(&["API Tokens Write"], json!({format!("com.cloudflare.api.user.{user}"): "*"}));
    let dns = of_zone(&["DNS Write"], &edge.zone());
    let bounds = json!({"request_ip": {"in": ["127.0.0.0/8"], "not_in": ["127.0.0.9/32"]}});
    let maker = token(&edge, &json!({"name": "maker", "policies": [may_make, dns], "condition": bounds})).1;
    let id = token(&edge, &json!({"name": "t", "policies": [dns], "condition": bounds})).0;
    let key = Key::token(Scope::User(user), id.parse().unwrap());
    let document = edge.store.read().unwrap().get(&key).unwrap().unwrap().value.json;
    let roll = || call_as(&edge, &maker, HERE, "PUT", &format!("/user/tokens/{id}/value"), "{}").verdict();
    assert_eq!(roll(), "200");
    for (from, to) in [
        (r#""in":["#, r#""in":["everywhere","#),
        (r#""not_in":["#, r#""not_in":["nowhere","#),
        (r#""in":["127.0.0.0/8"]"#, r#""in":["everywhere"]"#),
    ] {
        assert!(document.contains(from), "{document}");
        let odd = document.replacen(from, to, 1);
        crate::edge::commit(&edge.store, vec![Op::Put { key: key.clone(), value: Stored::of(Kind::Token, odd) }]);
        assert_eq!(roll(), "403 9109 /condition", "{to}");
    }
}

/// A zone that was deleted since does not keep a token that names it from being changed.
#[test]
fn a_token_outlives_a_zone_that_it_names() {
    let edge = Edge::new();
    let gone = edge.new_zone("gone.example");
    let resources = json!({format!("{ZONES}.{gone}"): "*", format!("{ZONES}.{}", edge.zone()): "*"});
    let (id, value) = token(&edge, &json!({"name": "t", "policies": [policy(&["DNS Write"], resources)]}));
    assert_eq!(edge.call("DELETE", &format!("/zones/{gone}"), "").verdict(), "200");
    let one = format!("/user/tokens/{id}");
    let mut body = edge.get(&one).result();
    body["name"] = json!("of less");
    assert_eq!(edge.call("PUT", &one, &body.to_string()).verdict(), "200");
    assert_eq!(edge.get(&one).result()["policies"], body["policies"]);
    assert_eq!(call_as(&edge, &value, HERE, "GET", &edge.records(), "").verdict(), "200");
    // No other token gets it.
    assert_eq!(edge.post("/user/tokens", &body.to_string()).verdict(), "400 1001 /policies/0/resources");
}
