//! Several accounts on one edge, and who belongs to them.

use bartizan_store::{Index, Key, Kind, Prefix, Scope};
use serde_json::{Value, json};

use crate::edge::{Answer, EMAIL, Edge};
use crate::rights::{concrete, operations};

const ADMINISTRATOR: &str = "Super Administrator - All Privileges";

/// A user with a global key, made by the administrator.
struct User<'e> {
    edge: &'e Edge,
    id: String,
    email: String,
    key: String,
}

impl<'e> User<'e> {
    fn new(edge: &'e Edge, name: &str) -> User<'e> {
        let email = format!("{name}@example.com");
        let made = edge.post("/bartizan/users", &json!({"email": email}).to_string()).result();
        let id = made["id"].as_str().unwrap().to_owned();
        // What a login and a roll would set.
        let key = Key::user(id.parse().unwrap());
        let mut document: Value =
            serde_json::from_str(&edge.store.read().unwrap().get(&key).unwrap().unwrap().value.json).unwrap();
        document["key_sha256"] = json!(bartizan_seal::hash_token(&email).to_string());
        crate::edge::commit(&edge.store, vec![crate::edge::put(key, &document.to_string())]);
        User { edge, id, key: email.clone(), email }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = [("x-auth-email", self.email.as_str()), ("x-auth-key", self.key.as_str())];
        self.edge.send_as(&headers, method, &format!("/client/v4{path}"), body)
    }

    fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "")
    }

    /// Makes them a member, by the administrator; the member's id.
    fn join(&self, account: &str, roles: &[&str]) -> String {
        let body = json!({"email": self.email, "roles": roles}).to_string();
        let made = self.edge.post(&format!("/accounts/{account}/members"), &body).result();
        assert_eq!(made["status"], "accepted");
        made["id"].as_str().unwrap().to_owned()
    }

    fn zones(&self) -> Vec<String> {
        let zones = self.get("/zones").result();
        zones.as_array().unwrap().iter().map(|zone| zone["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// An account that the administrator makes.
fn account(edge: &Edge, name: &str) -> String {
    edge.post("/accounts", &json!({"name": name}).to_string()).result()["id"].as_str().unwrap().to_owned()
}

/// An account of somebody else's, whose administrator of before has left.
fn account_of(user: &User<'_>, name: &str) -> String {
    let edge = user.edge;
    let id = account(edge, name);
    user.join(&id, &[ADMINISTRATOR]);
    let members = edge.get(&format!("/accounts/{id}/members")).result();
    let mine = members.as_array().unwrap().iter().find(|member| member["user"]["email"] == EMAIL).unwrap();
    let mine = mine["id"].as_str().unwrap();
    assert_eq!(edge.call("DELETE", &format!("/memberships/{mine}"), "").verdict(), "200");
    id
}

fn zone(user: &User<'_>, account: &str, name: &str) -> Answer {
    user.call("POST", "/zones", &json!({"name": name, "account": {"id": account}}).to_string())
}

#[test]
fn an_account_lives_and_ends() {
    let edge = Edge::new();
    let own = edge.account();
    for body in [json!({}), json!({"name": " "}), json!({"name": "x".repeat(101)})] {
        assert_eq!(edge.post("/accounts", &body.to_string()).verdict(), "400 1001 /name");
    }
    let id = account(&edge, "Others");
    let one = format!("/accounts/{id}");
    assert_eq!(edge.get(&one).result()["name"], "Others");
    assert_eq!(edge.get("/accounts").json()["result_info"]["total_count"], 2);
    assert_eq!(edge.get("/accounts?name=Others").result()[0]["id"], id);
    let memberships = edge.get("/memberships").result();
    let names: Vec<&str> =
        memberships.as_array().unwrap().iter().map(|one| one["account"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Main account", "Others"], "the one first that was first");
    assert_eq!(edge.get("/user").result()["organizations"].as_array().unwrap().len(), 2);

    // Zones say whose they are, by the name of today.
    let made = edge.post("/zones", &json!({"name": "others.example", "account": {"id": id}}).to_string()).result();
    let zone = format!("/zones/{}", made["id"].as_str().unwrap());
    assert_eq!(made["account"]["name"], "Others");
    assert_eq!(edge.call("PUT", &one, r#"{"name":"Somebody"}"#).result()["name"], "Somebody");
    let shown = edge.get(&zone).result();
    assert_eq!((&shown["account"]["name"], &shown["owner"]["name"]), (&json!("Somebody"), &json!("Somebody")));
    for (query, count) in [
        (format!("account.id={id}"), 1),
        (format!("account.id={own}"), 1),
        ("account.name=Somebody".to_owned(), 1),
        ("name=others.example".to_owned(), 1),
        (String::new(), 2),
    ] {
        let list = edge.get(&format!("/zones?{query}")).json();
        assert_eq!(list["result_info"]["total_count"], count, "{query}");
    }

    let token = json!({"name": "t", "policies": [{"permission_groups": [{"name": "DNS Read"}],
        "resources": {"com.cloudflare.api.account.zone.*": "*"}}]});
    let token = edge.post(&format!("{one}/tokens"), &token.to_string()).result();
    let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
    let by_token = |path: &str| edge.send_as(&[("authorization", &bearer)], "GET", &format!("/client/v4{path}"), "");
    // A token of an account has all zones of that account, and no others.
    assert_eq!(by_token("/zones").result().as_array().unwrap().len(), 1);
    assert_eq!(by_token(&format!("/zones/{}", edge.zone())).verdict(), "404 1001");

    assert_eq!(edge.call("DELETE", &format!("/accounts/{own}"), "").verdict(), "400 1022");
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "400 1022", "there is a zone");
    assert_eq!(edge.call("DELETE", &zone, "").verdict(), "200");
    let tunnel = edge.post(&format!("{one}/cfd_tunnel"), r#"{"name":"office"}"#).result();
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "400 1022", "there is a tunnel");
    let tunnel = format!("{one}/cfd_tunnel/{}", tunnel["id"].as_str().unwrap());
    assert_eq!(edge.call("DELETE", &tunnel, "").verdict(), "200");
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "200");
    assert_eq!(
        (edge.get(&one).verdict(), by_token("/zones").verdict()),
        ("403 9109".to_owned(), "403 9109".to_owned())
    );
    assert_eq!(edge.get("/memberships").result().as_array().unwrap().len(), 1);
    let scope = Scope::Account(id.parse().unwrap());
    let snapshot = edge.store.read().unwrap();
    assert_eq!(snapshot.count(&Prefix::scope(scope)).unwrap(), 0);
    assert_eq!(snapshot.count(&Prefix::unique(Scope::Edge, Index::TokenHash)).unwrap(), 1);
}

/// Every call on what is another account's, by somebody who may do everything in their own.
#[test]
fn nobody_reaches_what_is_in_other_accounts() {
    let edge = Edge::new();
    let ann = User::new(&edge, "ann");
    let theirs = account_of(&ann, "Ann's");
    let made = zone(&ann, &theirs, "ann.example");
    let their_zone = made.result()["id"].as_str().unwrap().to_owned();
    let (own, own_zone) = (edge.account(), edge.zone());
    // Both ways, and by a token that says "all".
    let everywhere = json!({"com.cloudflare.api.account.*": "*", "com.cloudflare.api.account.zone.*": "*"});
    let groups = ["DNS Write", "Zone Write", "Account Settings Write", "Cloudflare Tunnel Write", "Edge Users Write"];
    let groups: Vec<Value> = groups.iter().map(|name| json!({"name": name})).collect();
    let body = json!({"name": "all", "policies": [{"permission_groups": groups, "resources": everywhere}]});
    let token = ann.call("POST", "/user/tokens", &body.to_string()).result()["value"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let by_token = |method: &str, path: &str| {
        edge.send_as(&[("authorization", &bearer)], method, &format!("/client/v4{path}"), "").verdict()
    };
    let operations = operations(&edge);
    let mut of_others = 0;
    for (method, path, needs) in operations.iter().filter(|(.., needs)| needs.is_some()) {
        let needs = needs.as_deref().unwrap();
        let is_of_user = ["User Details", "API Tokens", "Memberships"].iter().any(|what| needs.starts_with(what));
        let is_named = path.contains("{zone_id}") || path.contains("{account_id}");
        // What anybody may call who has it somewhere: what is found there is of their own accounts.
        if (is_of_user && !is_named) || ["/zones", "/bartizan/edge", "/bartizan/undo"].contains(&path.as_str()) {
            continue;
        }
        // The operator's, in whose zone ever it is.
        if path == "/bartizan/zones/{zone_id}/phishing" {
            continue;
        }
        of_others += 1;
        let expect = if path.contains("{zone_id}") { "404 1001" } else { "403 9109" };
        let here = concrete(path, &own_zone, &own);
        assert_eq!(ann.call(method, &here, "").verdict(), expect, "{method} {here}");
        assert_eq!(by_token(method, &here), expect, "{method} {here}");
        if is_named {
            let there = concrete(path, &their_zone, &theirs);
            assert_eq!(edge.call(method, &there, "").verdict(), expect, "{method} {there}");
        }
    }
    assert!(of_others > 40, "{of_others}");
    // Their own they reach.
    assert_eq!(ann.zones(), ["ann.example"]);
    assert_eq!(ann.get(&format!("/zones/{their_zone}")).verdict(), "200");
    assert_eq!(ann.get("/accounts").result()[0]["id"], theirs);
    assert_eq!(edge.get("/zones?name=ann.example").result(), json!([]));
    assert_eq!(ann.get("/zones?name=bartizan.localhost").result(), json!([]));
    assert_eq!(zone(&ann, &own, "more.example").verdict(), "403 9109 /account/id");
    assert_eq!(ann.get("/bartizan/edge").result()["account_id"], theirs);
    // Nor is it in their log.
    let log = ann.get(&format!("/accounts/{theirs}/audit_logs")).text;
    assert!(log.contains("ann.example") && !log.contains(&own_zone) && !log.contains("Main account"), "{log}");
    // No token is made for it.
    let one = |zone: &str| {
        let resources = json!({format!("com.cloudflare.api.account.zone.{zone}"): "*"});
        json!({"name": "t", "policies": [{"permission_groups": [{"name": "DNS Read"}], "resources": resources}]})
            .to_string()
    };
    assert_eq!(ann.call("POST", "/user/tokens", &one(&own_zone)).verdict(), "400 1001 /policies/0/resources");
    assert_eq!(ann.call("POST", "/user/tokens", &one(&their_zone)).verdict(), "200");
    let of_account = format!("/accounts/{theirs}/tokens");
    assert_eq!(ann.call("POST", &of_account, &one(&own_zone)).verdict(), "400 1001 /policies/0/resources");
    // What holds for all visitors of the edge is not theirs to say; what holds in their own zones is.
    let rule = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#;
    for (place, expect) in [
        ("/user".to_owned(), "403 9109"),
        (format!("/accounts/{theirs}"), "200"),
        (format!("/accounts/{own}"), "403 9109"),
        (format!("/zones/{their_zone}"), "200"),
    ] {
        assert_eq!(
            ann.call("POST", &format!("{place}/firewall/access_rules/rules"), rule).verdict(),
            expect,
            "{place}"
        );
    }
    // A tunnel's id leads nobody but those of its account; one that is nowhere may be another edge's.
    let mine = edge.post(&format!("/accounts/{own}/cfd_tunnel"), r#"{"name":"mine"}"#).result();
    let leads = |id: &str, name: &str| {
        let target = format!("{id}.cfargotunnel.com");
        json!({"type": "CNAME", "name": name, "content": target, "proxied": true}).to_string()
    };
    let (mine, records) = (mine["id"].as_str().unwrap(), format!("/zones/{their_zone}/dns_records"));
    let refused = ann.call("POST", &records, &leads(mine, "tunnel"));
    assert_eq!(refused.verdict(), "400 1004 /content", "{}", refused.text);
    let nowhere = "07070707-0707-4707-8707-070707070707";
    let made = ann.call("POST", &records, &leads(nowhere, "tunnel")).result();
    let one = format!("{records}/{}", made["id"].as_str().unwrap());
    let moved = json!({"content": format!("{mine}.cfargotunnel.com")}).to_string();
    assert_eq!(ann.call("PATCH", &one, &moved).verdict(), "400 1004 /content");
    let batch = format!(r#"{{"posts":[{}]}}"#, leads(mine, "batch"));
    assert_eq!(ann.call("POST", &format!("{records}/batch"), &batch).verdict(), "400 1004 /posts/0/content");
    assert_eq!(edge.post(&edge.records(), &leads(mine, "tunnel")).verdict(), "200");
    // A name in a zone is for its account to give away.
    let inside = zone(&ann, &theirs, "sub.bartizan.localhost");
    assert_eq!(inside.verdict(), "400 1116 /name");
    assert_eq!(zone(&ann, &theirs, "sub.ann.example").verdict(), "200");
    assert_eq!(edge.post("/zones", r#"{"name":"sub.bartizan.localhost"}"#).verdict(), "200");
    // Nor does an account get a name below which strangers have theirs; the edge's own may have any.
    for name in ["com", "co.uk", "github.io", "xn--p1ai", "lan", "localhost", "internal", "corp"] {
        assert_eq!(zone(&ann, &theirs, name).verdict(), "400 1099 /name", "{name}");
    }
    for name in ["ann.co.uk", "ann.github.io"] {
        assert_eq!(zone(&ann, &theirs, name).verdict(), "200", "{name}");
    }
    for name in ["home.arpa", "lan", "deep.down.example"] {
        assert_eq!(edge.post("/zones", &json!({"name": name}).to_string()).verdict(), "200", "{name}");
    }
    // Nor what is around a zone of another account, nor what the edge is called.
    for name in ["down.example", "edge.example.com", "example.com"] {
        assert_eq!(zone(&ann, &theirs, name).verdict(), "400 1116 /name", "{name}");
    }
    for name in ["own.example", "deeper.edge.example.com", "p.down-example.test", "down-example.test"] {
        assert_eq!(zone(&ann, &theirs, name).verdict(), "200", "{name}");
    }
    // Also where the edge's own zone is gone.
    edge.call("DELETE", &format!("/zones/{own_zone}"), "").result();
    for name in ["bartizan.localhost", "www.bartizan.localhost"] {
        assert_eq!(zone(&ann, &theirs, name).verdict(), "400 1116 /name", "{name}");
    }
}

/// Whoever is in several accounts undoes what was done in any of them, by what they may do there.
#[test]
fn an_undo_is_judged_where_the_change_was_made() {
    let edge = Edge::new();
    let ann = User::new(&edge, "ann");
    let [first, second] = ["First", "Second"].map(|name| account(&edge, name));
    ann.join(&first, &[ADMINISTRATOR]);
    ann.join(&second, &["Administrator Read Only"]);
    let undo = || {
        let body = json!({"revision": edge.revision()}).to_string();
        ann.call("POST", "/bartizan/undo", &body).verdict()
    };
    let make = |account: &str, name: &str| {
        let body = json!({"name": name, "account": {"id": account}}).to_string();
        edge.post("/zones", &body).result();
    };
    make(&second, "second.example");
    assert_eq!(undo(), "403 9109");
    let third = account(&edge, "Third");
    make(&third, "third.example");
    assert_eq!(undo(), "404 10404");
    ann.join(&third, &[ADMINISTRATOR]);
    make(&third, "other.example");
    assert_eq!(undo(), "200");
    assert_eq!(ann.zones(), ["second.example", "third.example"]);
}

/// An undo brings no zone back that could not be made.
#[test]
fn a_zone_comes_back_by_the_rules_by_which_it_was_made() {
    let edge = Edge::new();
    let (theirs, ann) = (account(&edge, "Ann's"), User::new(&edge, "ann"));
    ann.join(&theirs, &[ADMINISTRATOR]);
    let zone = |name: &str| json!({"name": name, "account": {"id": theirs}}).to_string();
    let made = ann.call("POST", "/zones", &zone("www.victim.test")).result();
    edge.settle();
    // What was in the zone goes by revisions of its own.
    let undo = json!({"revision": edge.revision() + 1}).to_string();
    ann.call("DELETE", &format!("/zones/{}", made["id"].as_str().unwrap()), "").result();
    edge.settle();
    let victim = edge.new_zone("victim.test");
    let refused = ann.call("POST", "/bartizan/undo", &undo);
    assert_eq!(refused.verdict(), "400 1116 /name", "{}", refused.text);
    edge.call("DELETE", &format!("/zones/{victim}"), "").result();
    assert_eq!(ann.call("POST", "/bartizan/undo", &undo).verdict(), "200");
    assert_eq!(ann.zones(), ["www.victim.test"]);
}

/// The same accounts under their old name.
#[test]
fn organizations_are_accounts_and_invitations() {
    let edge = Edge::new();
    let (ann, bob) = (User::new(&edge, "ann"), User::new(&edge, "bob"));
    let (theirs, own) = (account_of(&ann, "Ann's"), account_of(&bob, "Bob's"));
    let one = format!("/user/organizations/{theirs}");
    assert_eq!(bob.get(&one).verdict(), "404 1003");
    let invite = json!({"email": bob.email, "roles": ["DNS"]}).to_string();
    ann.call("POST", &format!("/accounts/{theirs}/members"), &invite).result();
    let listed = |query: &str| -> Vec<String> {
        let all = bob.get(&format!("/user/organizations{query}")).result();
        let told = |one: &Value| format!("{} {}", one["name"].as_str().unwrap(), one["status"].as_str().unwrap());
        all.as_array().unwrap().iter().map(told).collect()
    };
    for (query, expect) in [
        ("?order=name", &["Ann's invited", "Bob's member"][..]),
        ("?order=name&direction=desc", &["Bob's member", "Ann's invited"]),
        ("?status=invited", &["Ann's invited"]),
        ("?name=Bob%27s", &["Bob's member"]),
        ("?order=name&status=member&name=Ann%27s", &[]),
        ("?order=name&status=member&name=Ann%27s&match=any", &["Ann's invited", "Bob's member"]),
        ("?order=status&per_page=5&page=2", &[]),
    ] {
        assert_eq!(listed(query), expect, "{query}");
    }
    let invited = bob.get(&one).result();
    assert_eq!((&invited["permissions"], &invited["roles"]), (&json!([]), &json!(["DNS"])), "it gives nothing yet");
    let mine = bob.get("/memberships?status=pending").result()[0]["id"].as_str().unwrap().to_owned();
    bob.call("PUT", &format!("/memberships/{mine}"), r#"{"status":"accepted"}"#).result();
    let of_user = bob.get("/user").result()["organizations"].clone();
    assert!(of_user.as_array().unwrap().contains(&bob.get(&one).result()), "{of_user}");
    assert_eq!(ann.call("DELETE", &format!("/user/organizations/{own}"), "").verdict(), "404 1003", "it is bob's");
    assert_eq!(bob.call("DELETE", &one, "").result()["id"], json!(theirs));
    assert_eq!((listed(""), bob.get(&one).verdict()), (vec!["Bob's member".to_owned()], "404 1003".to_owned()));
    let last = bob.call("DELETE", &format!("/user/organizations/{own}"), "").verdict();
    assert!(last.starts_with('4'), "nobody would decide there any more: {last}");
}

/// What members may do follows from their roles, at once.
#[test]
fn members_may_what_their_roles_say() {
    let edge = Edge::new();
    let (own, zone_id, records) = (edge.account(), edge.zone(), edge.records());
    let ann = User::new(&edge, "ann");
    let members = format!("/accounts/{own}/members");
    let record = r#"{"type":"A","name":"www","content":"192.0.2.1"}"#;
    let (zone_path, tunnels) = (format!("/zones/{zone_id}"), format!("/accounts/{own}/cfd_tunnel"));
    let calls = |user: &User<'_>| {
        [
            user.get("/zones").json()["result_info"]["total_count"].to_string(),
            user.get(&records).verdict(),
            user.call("POST", &records, record).verdict(),
            user.call("PATCH", &zone_path, "{}").verdict(),
            user.get(&tunnels).verdict(),
            user.get(&members).verdict(),
            user.call("POST", &members, "{}").verdict(),
            user.get("/bartizan/users").verdict(),
        ]
    };
    let nothing = ["0", "404 1001", "404 1001", "404 1001", "403 9109", "403 9109", "403 9109", "403 9109"];
    assert_eq!(calls(&ann), nothing);
    let one = format!("{members}/{}", ann.join(&own, &["Minimal Account Access"]));
    for (role, expect) in [
        (
            "Minimal Account Access",
            ["0", "404 1001", "404 1001", "404 1001", "403 9109", "200", "403 9109", "403 9109"],
        ),
        ("DNS", ["1", "200", "200", "403 9109", "403 9109", "200", "403 9109", "403 9109"]),
        ("Administrator Read Only", ["1", "200", "403 1009", "403 9109", "200", "200", "403 9109", "403 9109"]),
        ("Administrator", ["1", "200", "400 81058 /name", "200", "200", "200", "403 9109", "403 9109"]),
        (ADMINISTRATOR, ["1", "200", "400 81058 /name", "200", "200", "200", "400 1001 /email", "200"]),
    ] {
        let body = json!({"roles": [{"name": role}]}).to_string();
        let changed = edge.call("PUT", &one, &body).result();
        assert_eq!(changed["roles"][0]["name"], role);
        assert_eq!(calls(&ann), expect, "{role}");
        assert_eq!(ann.get("/memberships").result()[0]["roles"], json!([role]));
    }
    // As policies say, in this account alone.
    let other = edge.new_zone("other.example");
    let resources = json!({format!("com.cloudflare.api.account.zone.{other}"): "*"});
    let policies = json!([{"permission_groups": [{"name": "DNS Read"}], "resources": resources}]);
    let changed = edge.call("PUT", &one, &json!({"roles": [], "policies": policies}).to_string()).result();
    assert_eq!((&changed["roles"], &changed["policies"][0]["resources"]), (&json!([]), &resources));
    assert_eq!(ann.zones(), ["other.example"]);
    assert_eq!(calls(&ann)[1..3], ["404 1001", "404 1001"]);
    assert_eq!(ann.call("POST", &format!("/zones/{other}/dns_records"), record).verdict(), "403 1009");
    for (body, expect) in [
        (json!({"roles": [], "policies": []}), "400 1001 /roles"),
        (json!({"roles": ["Time Traveller"]}), "400 1001 /roles/0"),
        (json!({"policies": [{"permission_groups": [], "resources": {}}]}), "400 1001 /policies/0/permission_groups"),
    ] {
        assert_eq!(edge.call("PUT", &one, &body.to_string()).verdict(), expect, "{body}");
    }
    // Out, they may nothing, whatever tokens they have made.
    assert_eq!(edge.call("PUT", &one, r#"{"roles":["DNS"]}"#).verdict(), "200");
    let token = json!({"name": "t", "policies": [{"permission_groups": [{"name": "DNS Write"}],
        "resources": {"com.cloudflare.api.account.zone.*": "*"}}]});
    let token = ann.call("POST", "/user/tokens", &token.to_string()).result();
    let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
    let by_token = || edge.send_as(&[("authorization", &bearer)], "GET", &format!("/client/v4{records}"), "").verdict();
    assert_eq!(by_token(), "200");
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "200");
    assert_eq!((by_token(), edge.get(&one).verdict()), ("404 1001".to_owned(), "404 1003".to_owned()));
    assert_eq!(calls(&ann), nothing);
}

#[test]
fn members_are_invited_and_go() {
    let edge = Edge::new();
    let (ann, bob) = (User::new(&edge, "ann"), User::new(&edge, "bob"));
    let theirs = account_of(&ann, "Ann's");
    let members = format!("/accounts/{theirs}/members");
    zone(&ann, &theirs, "ann.example").result();
    for (body, expect) in [
        (json!({"roles": ["DNS"]}), "400 1001 /email"),
        (json!({"email": "nobody@example.com", "roles": ["DNS"]}), "400 1001 /email"),
        (json!({"email": "", "roles": ["DNS"]}), "400 1001 /email"),
        (json!({"email": " ", "roles": ["DNS"]}), "400 1001 /email"),
        (json!({"email": bob.email}), "400 1001 /roles"),
        (json!({"email": bob.email, "roles": ["DNS"], "status": "accepted"}), "403 9109 /status"),
        (json!({"email": bob.email, "roles": ["DNS"], "status": "asked"}), "400 1001 /status"),
    ] {
        assert_eq!(ann.call("POST", &members, &body.to_string()).verdict(), expect, "{body}");
    }
    let invite = json!({"email": "BOB@example.com", "roles": ["DNS"]}).to_string();
    let invited = ann.call("POST", &members, &invite).result();
    assert_eq!((&invited["status"], &invited["user"]["email"]), (&json!("pending"), &json!("bob@example.com")));
    assert_eq!(ann.call("POST", &members, &invite).verdict(), "400 1061 /email");
    // An invitation gives nothing yet.
    assert_eq!((bob.zones(), bob.get(&members).verdict()), (vec![], "403 9109".to_owned()));
    let mine = bob.get("/memberships?status=pending").result()[0].clone();
    assert_eq!((&mine["id"], &mine["account"]["name"]), (&invited["id"], &json!("Ann's")));
    let mine = format!("/memberships/{}", mine["id"].as_str().unwrap());
    assert_eq!(ann.get(&mine).verdict(), "404 1003", "it is bob's");
    assert_eq!(bob.call("PUT", &mine, r#"{"status":"perhaps"}"#).verdict(), "400 1001 /status");
    assert_eq!(bob.call("PUT", &mine, r#"{"status":"rejected"}"#).result()["status"], "rejected");
    assert_eq!((bob.get(&mine).verdict(), bob.get("/memberships").result()), ("404 1003".to_owned(), json!([])));
    ann.call("POST", &members, &invite).result();
    // The same in the older words.
    let invites = bob.get("/user/invites").result();
    let invite =
        |user: &User<'_>| format!("/user/invites/{}", user.get("/user/invites").result()[0]["id"].as_str().unwrap());
    let open = invite(&bob);
    assert_eq!(bob.get(&open).result(), invites[0]);
    let told = ["status", "invited_member_email", "organization_name"].map(|member| invites[0][member].clone());
    assert_eq!(told, [json!("pending"), json!("bob@example.com"), json!("Ann's")]);
    assert_eq!((&invites[0]["organization_id"], &invites[0]["roles"][0]["name"]), (&json!(theirs), &json!("DNS")));
    assert_eq!(ann.get(&open).verdict(), "404 1003", "it is bob's");
    assert_eq!(bob.call("PATCH", &open, r#"{"status":"perhaps"}"#).verdict(), "400 1001 /status");
    assert_eq!(bob.call("PATCH", &open, r#"{"status":"rejected"}"#).result()["status"], "rejected");
    assert_eq!((bob.get("/user/invites").result(), bob.get(&open).verdict()), (json!([]), "404 1003".to_owned()));
    let again = json!({"email": "bob@example.com", "roles": ["DNS"]}).to_string();
    ann.call("POST", &members, &again).result();
    assert_eq!(bob.call("PATCH", &invite(&bob), r#"{"status":"accepted"}"#).result()["status"], "accepted");
    assert_eq!(bob.get("/user/invites").result(), json!([]));
    // Who decides about the account sees who came and went, and who did it; nobody else's administrator does.
    let logs = format!("/accounts/{theirs}/audit_logs?resource.type=membership&direction=asc");
    let seen = ann.get(&logs).result();
    let seen: Vec<String> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            format!("{} {}", entry["action"]["type"].as_str().unwrap(), entry["actor"]["email"].as_str().unwrap())
        })
        .collect();
    let [a, b] = ["ann@example.com", "bob@example.com"];
    let expect = [
        format!("add {a}"),
        format!("delete {b}"),
        format!("add {a}"),
        format!("delete {b}"),
        format!("add {a}"),
        format!("change {b}"),
    ];
    assert_eq!(seen[seen.len() - 6..], expect);
    let elsewhere = format!("/accounts/{}/audit_logs?resource.type=membership&actor.email={b}", edge.account());
    assert_eq!(ann.get(&elsewhere).verdict(), "403 9109");
    assert_eq!(bob.zones(), ["ann.example"]);
    assert_eq!(bob.get(&mine).result()["permissions"]["dns_records"], json!({"read": true, "write": true}));

    // Nobody gives what they have not, nor takes it from those who have more.
    let of = |user: &User<'_>| {
        let all = ann.get(&members).result();
        let found = all.as_array().unwrap().iter().find(|member| member["user"]["id"] == user.id).unwrap();
        format!("{members}/{}", found["id"].as_str().unwrap())
    };
    let (of_ann, of_bob) = (of(&ann), of(&bob));
    let settings = json!([{"permission_groups": [{"name": "Account Settings Write"}],
        "resources": {format!("com.cloudflare.api.account.{theirs}"): "*"}}]);
    assert_eq!(ann.call("PUT", &of_bob, &json!({"policies": settings}).to_string()).verdict(), "200");
    for (method, path, body, expect) in [
        ("PUT", &of_bob, json!({"roles": [ADMINISTRATOR]}), "403 9109"),
        ("PUT", &of_ann, json!({"roles": ["DNS"]}), "403 9109"),
        ("DELETE", &of_ann, json!({}), "403 9109"),
        ("PUT", &of_bob, json!({"roles": ["Minimal Account Access"]}), "200"),
    ] {
        assert_eq!(bob.call(method, path, &body.to_string()).verdict(), expect, "{method} {path} {body}");
    }
    // An account keeps somebody who decides about it.
    let mine = format!("/memberships/{}", of_ann.rsplit_once('/').unwrap().1);
    for (method, path, body) in [
        ("PUT", &of_ann, r#"{"roles":["Administrator"]}"#),
        ("DELETE", &of_ann, ""),
        ("DELETE", &mine, ""),
        ("PUT", &mine, r#"{"status":"rejected"}"#),
    ] {
        assert_eq!(ann.call(method, path, body).verdict(), "400 1022", "{method} {path}");
    }
    let user = format!("/bartizan/users/{}", ann.id);
    // Whoever looks after the users may do less in this account than ann.
    assert_eq!(edge.call("DELETE", &user, "").verdict(), "403 9109");
    assert_eq!(ann.call("PUT", &of_bob, &json!({"roles": [ADMINISTRATOR]}).to_string()).verdict(), "200");
    assert_eq!(ann.call("DELETE", &mine, "").verdict(), "200");
    assert_eq!((ann.zones(), bob.zones()), (vec![], vec!["ann.example".to_owned()]));
    assert_eq!(edge.call("DELETE", &user, "").verdict(), "200", "she is in no account any more");
    let snapshot = edge.store.read().unwrap();
    let index = Prefix::unique(Scope::Account(theirs.parse().unwrap()), Index::Member);
    assert_eq!(snapshot.count(&index).unwrap(), 1);
    assert_eq!(snapshot.count(&Prefix::of(Scope::User(ann.id.parse().unwrap()), Kind::Membership)).unwrap(), 0);
}

/// Builds before this one had one account, to which every user belonged.
#[test]
fn memberships_of_an_older_build() {
    let edge = Edge::new();
    let user = edge.administrator.user_id;
    let membership = Key::membership(user, edge.administrator.account_id);
    let index = Key::unique(Scope::Account(edge.administrator.account_id), Index::Member, user);
    let del = |key: Key| bartizan_store::Op::Del { key };
    let before = edge.get("/memberships").result();
    // Of one who was taken out since nothing comes back.
    crate::edge::commit(&edge.store, vec![del(membership.clone()), del(index)]);
    assert_eq!(edge.get("/zones").result(), json!([]));
    let start = || {
        let domain = bartizan_model::Zone::parse_name("bartizan.localhost").unwrap();
        let (certs, _) = crate::edge::certs(edge.directory.path());
        let preset = bartizan_api::Preset::default();
        bartizan_api::bootstrap(&edge.store, &certs, edge.directory.path(), &preset, &domain, &[]).unwrap();
    };
    start();
    assert_eq!(edge.get("/zones").result(), json!([]));
    // As before this build; then as a start with it leaves it.
    crate::edge::commit(&edge.store, vec![del(Key::meta("memberships"))]);
    let (memberships, members) = (edge.get("/memberships").result(), format!("/accounts/{}/members", edge.account()));
    assert_eq!((&memberships[0]["id"], &memberships[0]["roles"]), (&before[0]["id"], &json!([ADMINISTRATOR])));
    assert_eq!(edge.get(&members).result().as_array().unwrap().len(), 1);
    start();
    assert!(edge.store.read().unwrap().get(&membership).unwrap().is_some());
    assert_eq!(edge.get(&members).result().as_array().unwrap().len(), 1);
    let head = edge.revision();
    start();
    assert_eq!(edge.revision(), head, "nothing to do");
    // Who owns the data directory has a way in.
    assert_eq!(edge.get("/zones").result().as_array().unwrap().len(), 1);
}

/// What a zone is found to be is for the operator to say, of every account's, and for nobody else.
#[test]
fn the_operator_flags_zones_of_others() {
    let edge = Edge::new();
    let ann = User::new(&edge, "ann");
    let theirs = account_of(&ann, "Ann's");
    let zone = zone(&ann, &theirs, "ann.example").result()["id"].as_str().unwrap().to_owned();
    let path = format!("/bartizan/zones/{zone}/phishing");
    let flag = |value: &str| edge.call("PATCH", &path, &json!({"value": value}).to_string());
    let meta = || ann.get(&format!("/zones/{zone}")).result()["meta"].clone();
    let records = format!("/zones/{zone}/dns_records");
    let spf = r#"{"type":"TXT","name":"@","content":"v=spf1 +all"}"#;
    assert_eq!(ann.call("POST", &records, spf).verdict(), "200");
    let stored = ann.get(&records).result();

    assert_eq!(ann.call("PATCH", &path, r#"{"value":"off"}"#).verdict(), "403 9109");
    assert_eq!(ann.get(&path).verdict(), "403 9109");
    assert_eq!(edge.get(&path).result()["value"], "off");
    assert_eq!(flag("on").result()["value"], "on");
    let flagged = edge.revision();
    assert_eq!((&meta()["phishing_detected"], &meta()["phishing_strict"]), (&json!(true), &Value::Null));
    // It is in the log, the owner cannot take it back, and what was stored is shown as it was.
    let log = ann.get(&format!("/accounts/{theirs}/audit_logs")).text;
    assert!(log.contains("PATCH /bartizan/zones/{zone_id}/phishing"), "{log}");
    let undo = |revision: u64| json!({"revision": revision, "force": true}).to_string();
    let refused = ann.call("POST", "/bartizan/undo", &undo(flagged));
    assert_eq!(refused.verdict(), "403 9109");
    assert!(refused.text.contains("zone ann.example was flagged") && refused.text.contains("Edge Zones Write"));
    // Nor by making the zone again, which only who flags it lets go.
    let zone_path = format!("/zones/{zone}");
    let kept = ann.call("DELETE", &zone_path, "");
    assert_eq!(kept.verdict(), "403 9109");
    assert!(kept.text.contains("phishing") && kept.text.contains("Edge Zones Write"), "{}", kept.text);
    ann.call("PATCH", &format!("/zones/{zone}"), r#"{"paused":true}"#).result();
    assert_eq!(edge.get(&path).result()["value"], "on");
    assert_eq!(ann.get(&records).result(), stored);
    // Saying it again changes nothing.
    let before = edge.revision();
    assert_eq!(flag("on").verdict(), "200");
    assert_eq!(edge.revision(), before);
    assert_eq!(flag("strict").result()["value"], "strict");
    assert_eq!(meta()["phishing_strict"], true);
    assert_eq!(flag("off").result()["value"], "off");
    assert_eq!((&meta()["phishing_detected"], &meta()["phishing_strict"]), (&json!(false), &Value::Null));

    for (body, expect) in [(r#"{"value":"maybe"}"#, "400 1007 /value"), ("{}", "400 1007 /value")] {
        assert_eq!(edge.call("PATCH", &path, body).verdict(), expect, "{body}");
    }
    // Who flags zones undoes it where the zone is theirs too.
    let own = format!("/bartizan/zones/{}/phishing", edge.zone());
    edge.call("PATCH", &own, r#"{"value":"strict"}"#).result();
    let undone = edge.call("POST", "/bartizan/undo", &undo(edge.revision()));
    assert_eq!((&undone.result()["done"], &edge.get(&own).result()["value"]), (&json!(true), &json!("off")));
    // Where nothing is flagged any more the zone goes.
    assert_eq!(ann.call("DELETE", &zone_path, "").verdict(), "200");
    let nowhere = format!("/bartizan/zones/{}/phishing", "0".repeat(32));
    assert_eq!(edge.get(&nowhere).verdict(), "404 1001");
}
