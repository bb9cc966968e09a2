//! Who changed what.

use std::collections::BTreeSet;
use std::time::SystemTime;

use bartizan_names::{AccountId, TunnelId};
use bartizan_store::{ChangeSet, Key, Meta, Op};
use serde_json::{Value, json};

use crate::edge::{EMAIL, Edge, KEY, put};

fn shown(list: &Value) -> Vec<String> {
    let entries = list["result"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
    entries
        .map(|one| format!("{} {}", one["action"]["type"].as_str().unwrap(), one["resource"]["type"].as_str().unwrap()))
        .collect()
}

#[test]
fn who_changed_what() {
    let edge = Edge::new();
    let logs = format!("/accounts/{}/audit_logs", edge.account());
    assert_eq!(edge.get(&logs).result(), json!([]), "what the edge did by itself is nobody's");
    let zone = edge.new_zone("audit.example");
    let records = format!("/zones/{zone}/dns_records");
    let record = edge.post(&records, r#"{"type":"A","name":"www","content":"192.0.2.1"}"#).result();
    let one = format!("{records}/{}", record["id"].as_str().unwrap());
    edge.call("PATCH", &one, r#"{"content":"192.0.2.2"}"#).result();
    let key = [("x-auth-email", EMAIL), ("x-auth-key", KEY)];
    assert_eq!(edge.send_from("192.0.2.9:1", &key, "DELETE", &format!("/client/v4{one}"), "").verdict(), "200");
    let policy = json!({
        "permission_groups": [{"name": "DNS Write"}, {"name": "Account Settings Read"}],
        "resources": {format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*", "com.cloudflare.api.account.*": "*"},
    });
    let made = edge.post("/user/tokens", &json!({"name": "other", "policies": [policy]}).to_string()).result();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();

    let list = edge.get(&logs).json();
    let expect = ["add tunnel", "add token", "delete record", "change record", "add record", "add zone"];
    assert_eq!((shown(&list), &list["result_info"]["total_count"]), (expect.map(str::to_owned).to_vec(), &json!(6)));
    assert_eq!(edge.get("/user/audit_logs").result(), list["result"]);
    let entry = |index: usize| list["result"][index].clone();
    let changed = entry(3);
    assert_eq!(changed["resource"]["id"], record["id"]);
    assert_eq!(changed["newValueJson"]["content"], "192.0.2.2");
    assert_eq!(
        (&changed["actor"]["email"], &changed["bartizan"]["token_name"]),
        (&json!(EMAIL), &json!("administrator"))
    );
    let deleted = entry(2);
    assert_eq!((&deleted["actor"]["ip"], &deleted["newValueJson"]), (&json!("192.0.2.9"), &Value::Null));
    assert_eq!(deleted["oldValueJson"]["content"], "192.0.2.2");
    assert_eq!((&changed["oldValueJson"]["content"], &changed["interface"]), (&json!("192.0.2.1"), &json!("api")));
    let text: Value = serde_json::from_str(changed["newValue"].as_str().unwrap()).unwrap();
    assert_eq!(text, changed["newValueJson"]);
    let metadata = json!({"name": "www.audit.example", "zone_id": zone, "zone_name": "audit.example",
        "route": "PATCH /zones/{zone_id}/dns_records/{dns_record_id}"});
    assert_eq!(changed["metadata"], metadata);
    assert_eq!((&deleted["actor"]["email"], &deleted["bartizan"]["token"]), (&json!(EMAIL), &Value::Null));
    // No secret, nor what it could be told by.
    let text = edge.get(&logs).text;
    for secret in ["sha256", "sealed_secret", made["value"].as_str().unwrap(), tunnel["token"].as_str().unwrap()] {
        assert!(!text.contains(secret), "{secret}");
    }

    let id = changed["id"].as_str().unwrap();
    for (query, count) in [
        ("action.type=delete".to_owned(), 1),
        ("actor.ip=192.0.2.9".to_owned(), 1),
        (format!("actor.email={EMAIL}"), 6),
        ("actor.email=nobody@example.com".to_owned(), 0),
        ("zone.name=audit.example".to_owned(), 4),
        ("zone.name=nowhere.example".to_owned(), 0),
        (format!("id={id}"), 1),
        ("id=nonsense".to_owned(), 0),
        (format!("revision={}", changed["bartizan"]["revision"]), 1),
        (format!("resource.id={}", record["id"].as_str().unwrap()), 3),
        ("resource.name=www.audit.example".to_owned(), 3),
        ("resource.name=www.audit.example&action.type=add&actor.email=nobody@example.com".to_owned(), 0),
        ("resource.type=tunnel".to_owned(), 1),
        ("actor.ip=192.0.2.0/24".to_owned(), 1),
        ("hide_user_logs=true".to_owned(), 5),
        ("since=2100-01-01".to_owned(), 0),
        ("before=2001-01-01".to_owned(), 0),
        ("since=2001-01-01T00:00:00Z&before=2100-01-01".to_owned(), 6),
    ] {
        assert_eq!(edge.get(&format!("{logs}?{query}")).json()["result_info"]["total_count"], count, "{query}");
    }
    for (page, expect) in [(1, 4), (2, 2), (3, 0)] {
        let list = edge.get(&format!("{logs}?per_page=4&page={page}")).json();
        assert_eq!(list["result_info"]["count"], expect, "{page}");
    }
    for bad in ["since=then", "actor.ip=here"] {
        assert_eq!(edge.get(&format!("{logs}?{bad}")).verdict(), "400 6008", "{bad}");
    }
    let upwards = edge.get(&format!("{logs}?direction=asc")).result();
    assert_eq!(upwards[0]["action"]["type"], "add");
    assert_eq!(upwards[5], list["result"][0]);
    // Who does not see a zone does not see what is changed in it.
    let bearer = format!("Bearer {}", made["value"].as_str().unwrap());
    let limited = edge.send_as(&[("authorization", &bearer)], "GET", &format!("/client/v4{logs}"), "").json();
    assert_eq!(shown(&limited), [""; 0]);
}

/// All that lists would tell, page by page, as one file of more than one piece.
#[test]
fn the_audit_as_a_file() {
    let edge = Edge::new();
    let logs = format!("/accounts/{}/audit_logs", edge.account());
    let zone = edge.new_zone("csv.example");
    let record = |number: usize| json!({"type": "TXT", "name": format!("n{number}"), "content": "\"a,b\""});
    let batch = json!({"posts": (0..2_500).map(record).collect::<Vec<_>>()});
    edge.post(&format!("/zones/{zone}/dns_records/batch"), &batch.to_string()).result();
    edge.post("/user/tunnels", r#"{"name":"=1+1"}"#).result();
    let total = 2_502;
    for (query, lines) in [
        ("export=true".to_owned(), total),
        ("format=csv&direction=asc".to_owned(), total),
        ("format=csv&per_page=1&page=7".to_owned(), total),
        ("format=csv&action.type=delete".to_owned(), 0),
        ("format=csv&zone.name=nowhere.example".to_owned(), 0),
        ("format=csv&resource.type=tunnel".to_owned(), 1),
        ("format=csv&resource.name=n7.csv.example".to_owned(), 1),
    ] {
        let answer = edge.get(&format!("{logs}?{query}"));
        assert_eq!(answer.headers["content-type"], "text/csv", "{query}");
        let (head, rest) = answer.text.split_once("\r\n").unwrap();
        assert!(head.starts_with("id,when,action,actor_email,"), "{head}");
        assert_eq!(rest.matches("\r\n").count(), lines, "{query}");
        let ids: BTreeSet<&str> = rest.split("\r\n").filter_map(|line| line.split(',').next()).collect();
        assert_eq!(ids.len(), lines + 1, "each once: {query}");
    }
    let text = edge.get(&format!("{logs}?format=csv&resource.name=n7.csv.example")).text;
    assert!(text.contains(r#",record,"#) && text.contains(r#"\""a,b\"""#), "{text}");
    let text = edge.get(&format!("{logs}?format=csv&resource.type=tunnel")).text;
    assert!(text.contains(r#""'=1+1""#), "{text}");
    assert!(edge.get("/user/audit_logs?export=true").text.contains("n7.csv.example"));
    for (query, expect) in [("format=xml", "400 6008"), ("format=csv&since=then", "400 6008")] {
        assert_eq!(edge.get(&format!("{logs}?{query}")).verdict(), expect, "{query}");
    }
    assert_eq!(edge.get(&format!("{logs}?export=false&per_page=1")).json()["result_info"]["count"], 1);
}

/// What is the edge's own is in the log of the edge's own account: for who may read it, and without its password.
#[test]
fn a_registry_is_in_the_log_of_the_edge() {
    let edge = Edge::new();
    let path = "/bartizan/registries/dk";
    let dsu = |password: &str| {
        json!({"way": "dsu", "url": "https://dsu.example.net/1.0", "userid": "REG-1", "password": password}).to_string()
    };
    edge.call("PUT", path, &dsu("hush-one")).result();
    edge.call("PUT", path, &dsu("hush-two")).result();
    edge.call("DELETE", path, "").result();
    let reads = [("Account Settings Read", format!("com.cloudflare.api.account.{}", edge.account()))];
    let reads = reads.each_ref().map(|(group, resource)| (*group, resource.as_str()));
    let expect = ["delete registry", "change registry", "add registry"];
    let logs = format!("/accounts/{}/audit_logs", edge.account());
    for list in [edge.get(&format!("{logs}?resource.type=registry")).json(), seen_with(&edge, &reads)] {
        assert_eq!(shown(&list), expect);
        let (changed, added) = (&list["result"][1], &list["result"][2]);
        assert_eq!((&added["resource"]["id"], &added["metadata"]["name"]), (&json!("dk"), &json!("dk")));
        assert_eq!((&added["newValueJson"]["userid"], &added["actor"]["email"]), (&json!("REG-1"), &json!(EMAIL)));
        assert_eq!(changed["oldValueJson"]["url"], "https://dsu.example.net/1.0");
        assert!(!list.to_string().contains("hush") && !list.to_string().contains("sealed"), "{list}");
    }
    assert_eq!(shown(&edge.get(&format!("{logs}?resource.type=registry&hide_user_logs=true")).json()), expect);
    // Nor does another account see what is the edge's.
    let other = edge.post("/accounts", r#"{"name":"Other"}"#).result()["id"].as_str().unwrap().to_owned();
    let list = edge.get(&format!("/accounts/{other}/audit_logs?resource.type=registry")).json();
    assert_eq!(shown(&list), [""; 0]);
}

/// What a token with these permission groups, each on the resource that it is over, finds in the log of the account.
fn seen_with(edge: &Edge, groups: &[(&str, &str)]) -> Value {
    let policies: Vec<_> = groups
        .iter()
        .map(|(group, resource)| json!({"permission_groups": [{"name": group}], "resources": {*resource: "*"}}))
        .collect();
    let made = edge.post("/user/tokens", &json!({"name": "narrow", "policies": policies}).to_string()).result();
    let bearer = format!("Bearer {}", made["value"].as_str().unwrap());
    let logs = format!("/client/v4/accounts/{}/audit_logs", edge.account());
    edge.send_as(&[("authorization", &bearer)], "GET", &logs, "").json()
}

/// The log shows of an object what the object's own route would: nobody reads there what they are refused elsewhere.
#[test]
fn who_may_not_read_an_object_does_not_read_it_in_the_log() {
    let edge = Edge::new();
    let (zone, account, user) = (edge.zone(), edge.account(), edge.administrator.user_id);
    edge.post(&edge.records(), r#"{"type":"TXT","name":"hidden","content":"proof"}"#).result();
    edge.call("PATCH", &format!("/zones/{zone}/settings/http2"), r#"{"value":"off"}"#).result();
    let rule = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#;
    for place in ["/user".to_owned(), format!("/accounts/{account}"), format!("/zones/{zone}")] {
        edge.post(&format!("{place}/firewall/access_rules/rules"), rule).result();
    }
    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let config = format!("/accounts/{account}/cfd_tunnel/{}/configurations", tunnel["id"].as_str().unwrap());
    edge.call("PUT", &config, r#"{"config":{"ingress":[{"service":"http_status:404"}]}}"#).result();
    let other = json!({"permission_groups": [{"name": "DNS Read"}], "resources": {format!("com.cloudflare.api.account.zone.{zone}"): "*"}});
    edge.post(&format!("/accounts/{account}/tokens"), &json!({"name": "ours", "policies": [other]}).to_string())
        .result();

    let (of_zone, of_account, of_user) = (
        format!("com.cloudflare.api.account.zone.{zone}"),
        format!("com.cloudflare.api.account.{account}"),
        format!("com.cloudflare.api.user.{user}"),
    );
    for (group, resource, expect) in [
        ("Zone Read", &of_zone, &[][..]),
        ("DNS Read", &of_zone, &["record"]),
        ("Zone Settings Read", &of_zone, &["settings"]),
        ("Firewall Services Read", &of_zone, &["access_rule"]),
        ("Account Firewall Access Rules Read", &of_account, &["access_rule"]),
        ("Cloudflare Tunnel Read", &of_account, &["tunnel", "tunnel_config"]),
        ("Account API Tokens Read", &of_account, &["token"]),
        ("API Tokens Read", &of_user, &["token"]),
        ("User Details Read", &of_user, &[]),
    ] {
        let list = seen_with(&edge, &[("Account Settings Read", &of_account), (group, resource)]);
        let kinds: BTreeSet<_> = shown(&list).iter().map(|one| one.rsplit(' ').next().unwrap().to_owned()).collect();
        assert_eq!(kinds, expect.iter().map(|kind| (*kind).to_owned()).collect(), "{group}: {list}");
    }
    // An empty page that would be empty whatever was changed says so.
    for (groups, code) in [
        (&[("Account Settings Read", of_account.as_str())][..], json!(10427)),
        (&[("Account Settings Read", &of_account), ("Zone Read", &of_zone)], Value::Null),
    ] {
        let list = seen_with(&edge, groups);
        assert_eq!((shown(&list).len(), &list["messages"][0]["code"]), (0, &code), "{list}");
    }
    // Whose tokens they are, and where a rule is, matters as much.
    let names = |list: Value| -> Vec<_> {
        let entries = list["result"].as_array().unwrap().clone();
        entries.iter().map(|entry| entry["newValueJson"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let settings = ("Account Settings Read", of_account.as_str());
    assert_eq!(names(seen_with(&edge, &[settings, ("Account API Tokens Read", &of_account)])), ["ours"]);
    assert!(!names(seen_with(&edge, &[settings, ("API Tokens Read", &of_user)])).contains(&"ours".to_owned()));
    assert_eq!(shown(&seen_with(&edge, &[settings, ("Firewall Services Read", &of_zone)])).len(), 1);
    assert_eq!(shown(&seen_with(&edge, &[settings, ("Account Firewall Access Rules Read", &of_account)])).len(), 2);
}

/// A document in the log may be older, newer or stranger than the shapes of today: only what is known is shown.
#[test]
fn only_fields_that_are_known_are_shown() {
    let edge = Edge::new();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let account: AccountId = edge.account().parse().unwrap();
    let key = Key::tunnel(account, tunnel["id"].as_str().unwrap().parse().unwrap());
    let stored = edge.store.read().unwrap().get(&key).unwrap().unwrap().value.json;
    let mut stored: Value = serde_json::from_str(&stored).unwrap();
    stored["next_secret"] = "unheard-of".into();
    commit_by_api(&edge, vec![put(key.clone(), &stored.to_string())]);
    let config = Key::tunnel_config(account, key.id().parse().unwrap());
    commit_by_api(&edge, vec![put(config, r#"{"tunnel": "unheard-of"}"#)]);
    let logs = edge.get(&format!("/accounts/{}/audit_logs", edge.account()));
    assert!(!logs.text.contains("unheard-of"), "{}", logs.text);
    let list = logs.json();
    assert_eq!(
        (&list["result"][0]["newValueJson"], &list["result"][1]["newValueJson"]["name"]),
        (&Value::Null, &json!("office"))
    );
}

/// As if somebody had asked for it.
fn commit_by_api(edge: &Edge, ops: Vec<Op>) {
    let meta = Meta {
        at: SystemTime::now().into(),
        actor: format!("user:{}", edge.administrator.user_id),
        interface: "api".to_owned(),
        client: None,
        request_id: bartizan_seal::random(),
    };
    edge.store.commit(ChangeSet { guards: vec![], ops, meta }).unwrap();
}

#[test]
fn a_change_is_called_what_it_was() {
    let edge = Edge::new();
    let account = edge.account();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let tunnel = format!("/accounts/{account}/cfd_tunnel/{}", tunnel["id"].as_str().unwrap());
    edge.call("PATCH", &tunnel, r#"{"name":"workshop"}"#).result();
    for _ in 0..2 {
        let config = r#"{"config":{"ingress":[{"service":"http_status:404"}]}}"#;
        edge.call("PUT", &format!("{tunnel}/configurations"), config).result();
    }
    edge.call("DELETE", &tunnel, "").result();
    let setting = format!("/zones/{}/settings/http2", edge.zone());
    edge.call("PATCH", &setting, r#"{"value":"off"}"#).result();
    let list = edge.get(&format!("/accounts/{account}/audit_logs")).json();
    let expect = [
        "change settings",
        "delete tunnel_config",
        "delete tunnel",
        "change tunnel_config",
        "change tunnel",
        "add tunnel_config",
        "change tunnel",
        "change tunnel",
        "add tunnel",
    ];
    assert_eq!(sorted(shown(&list)), sorted(expect.map(str::to_owned).to_vec()), "{list}");
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

/// A token that is gone is named, and so is whose it was: also one that deletes itself.
#[test]
fn who_deletes_their_token_is_known() {
    let edge = Edge::new();
    let of_user = format!("com.cloudflare.api.user.{}", edge.administrator.user_id);
    let policy = json!({"permission_groups": [{"name": "API Tokens Write"}], "resources": {of_user: "*"}});
    let made = edge.post("/user/tokens", &json!({"name": "gone", "policies": [policy]}).to_string()).result();
    let (id, bearer) = (made["id"].as_str().unwrap(), format!("Bearer {}", made["value"].as_str().unwrap()));
    let path = format!("/client/v4/user/tokens/{id}");
    assert_eq!(edge.send_as(&[("authorization", &bearer)], "DELETE", &path, "").verdict(), "200");
    for logs in ["/user/audit_logs".to_owned(), format!("/accounts/{}/audit_logs", edge.account())] {
        let entry = edge.get(&logs).result()[0].clone();
        assert_eq!(entry["action"]["type"], "delete");
        assert_eq!((&entry["actor"]["email"], &entry["bartizan"]["token"]), (&json!(EMAIL), &json!(id)), "{entry}");
    }
}

/// A page has all its rows, and no more of their documents than fit; one row always fits.
#[test]
fn a_page_of_long_documents_is_short() {
    let edge = Edge::new();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let account: AccountId = edge.account().parse().unwrap();
    let id: TunnelId = tunnel["id"].as_str().unwrap().parse().unwrap();
    let config = |note: &str| {
        json!({"tunnel_id": id.to_string(), "version": 2, "config": {"note": note}, "source": "cloudflare",
            "created_at": "2030-01-01T00:00:00Z", "account_id": account.to_string()})
    };
    let key = Key::tunnel_config(account, id);
    let long = |number: usize| number.to_string().repeat(900_000);
    for number in 0..8 {
        commit_by_api(&edge, vec![put(key.clone(), &config(&long(number)).to_string())]);
    }
    let logs = format!("/accounts/{}/audit_logs", edge.account());
    let answer = edge.get(&format!("{logs}?per_page=1000"));
    assert!(answer.text.len() < 5 << 20, "{}", answer.text.len());
    let list = answer.json();
    let whole = list["result"].as_array().unwrap().iter().filter(|entry| !entry["newValueJson"].is_null()).count();
    assert_eq!((list["result"].as_array().unwrap().len(), whole), (9, 2), "the short one fits");
    assert_eq!(list["messages"][0]["code"], 10_414, "{}", list["messages"]);
    // What the message advises.
    let one = list["result"][6]["id"].as_str().unwrap();
    let one = edge.get(&format!("{logs}?id={one}")).json();
    let notes = ["oldValueJson", "newValueJson"].map(|which| &one["result"][0][which]["config"]["note"]);
    assert_eq!((notes, &one["messages"]), ([&json!(long(0)), &json!(long(1))], &json!([])));
}

/// The rest of the audit is shown.
#[test]
fn a_document_that_cannot_be_read_takes_only_itself() {
    let edge = Edge::new();
    for name in ["one", "two", "three"] {
        edge.post("/user/tunnels", &json!({"name": name}).to_string()).result();
    }
    let file = rusqlite::Connection::open(edge.directory.path().join("store.sqlite")).unwrap();
    assert_eq!(file.execute("UPDATE audit SET after = '{' WHERE name = 'two'", ()), Ok(1));
    let list = edge.get(&format!("/accounts/{}/audit_logs", edge.account())).json();
    let entries = list["result"].as_array().unwrap().iter();
    let names: Vec<_> = entries.clone().map(|entry| &entry["newValueJson"]["name"]).collect();
    assert_eq!(names, [&json!("three"), &Value::Null, &json!("one")]);
    assert_eq!(entries.map(|entry| &entry["metadata"]["name"]).collect::<Vec<_>>(), ["three", "two", "one"]);
}

/// A deleted zone is asked for by its name, with what went with it, and who deleted it did all of it.
#[test]
fn a_deleted_zone_is_found_by_its_name() {
    let edge = Edge::new();
    let zone = edge.new_zone("gone.example");
    edge.post(&format!("/zones/{zone}/dns_records"), r#"{"type":"A","name":"www","content":"192.0.2.1"}"#).result();
    edge.call("DELETE", &format!("/zones/{zone}"), "").result();
    let logs = format!("/accounts/{}/audit_logs?zone.name=gone.example", edge.account());
    edge.settle();
    let list = edge.get(&logs).json();
    assert_eq!(shown(&list), ["delete record", "delete zone", "add record", "add zone"]);
    let last = &list["result"][0];
    assert_eq!(last["oldValueJson"]["content"], "192.0.2.1");
    assert_eq!((&last["interface"], &last["metadata"]["zone_name"]), (&json!("deletion"), &json!("gone.example")));
    let who = |entry: &Value| (entry["actor"].clone(), entry["bartizan"]["request"].clone());
    assert_eq!(who(last), who(&list["result"][1]));
    // Another one of the same name is another zone, and both are found.
    edge.new_zone("gone.example");
    assert_eq!(shown(&edge.get(&logs).json()).len(), 5);
}

/// A look that ends early and found nothing does not look like the end of the audit, and its advice is good.
#[test]
fn a_look_that_finds_nothing_says_where_to_go_on() {
    let edge = Edge::new();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let account = edge.account();
    edge.call("DELETE", &format!("/accounts/{account}/cfd_tunnel/{}", tunnel["id"].as_str().unwrap()), "").result();
    // As if each of 20,050 changes had changed a configuration since.
    let file = rusqlite::Connection::open(edge.directory.path().join("store.sqlite")).unwrap();
    let many = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20050)
         INSERT INTO audit (id, at, owner, writer, kind, object, action, count, bytes, key, request_id, interface)
         SELECT ({} + i) << 18, 1, x'{account}', x'{account}', 10, 'one', 1, 1, 0,
             'account/{account}/tunnel_config/00000000-0000-4000-8000-000000000000', randomblob(16), 'api' FROM n",
        edge.revision(),
    );
    assert_eq!(file.execute(&many, ()), Ok(20_050));
    let logs = format!("/accounts/{account}/audit_logs?action.type=delete");
    let nothing = edge.get(&logs);
    assert_eq!(nothing.verdict(), "503 10504");
    let advice = nothing.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    let said = advice.split_whitespace().find(|word| word.starts_with("before_revision=")).unwrap();
    assert_eq!(shown(&edge.get(&format!("{logs}&{said}&page=1")).json()), ["delete tunnel"], "{advice}");
}
