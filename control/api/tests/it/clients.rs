//! Calls as real clients make them, where they differ from what one would write by hand.

use serde_json::{Value, json};

use crate::edge::Edge;

const NOBODY_FILLED_IN: &str = r#""scope":{},"created_on":"0001-01-01T00:00:00Z","modified_on":"0001-01-01T00:00:00Z""#;

fn ids(list: &Value) -> Vec<&str> {
    list["result"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

/// cloudflare-go v0 sends every struct of a body, also those that nobody filled in.
#[test]
fn an_empty_object_is_as_good_as_none() {
    let edge = Edge::new();
    let rules = "/user/firewall/access_rules/rules";
    let rule = edge
        .post(rules, r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"},"notes":"n"}"#)
        .result();
    let patch = format!(r#"{{"mode":"whitelist","notes":"m","configuration":{{}},{NOBODY_FILLED_IN}}}"#);
    let patched = edge.call("PATCH", &format!("{rules}/{}", rule["id"].as_str().unwrap()), &patch).result();
    assert_eq!((&patched["mode"], &patched["configuration"]), (&json!("whitelist"), &rule["configuration"]));

    let records = edge.records();
    let srv = r#"{"type":"SRV","name":"_s._tcp","content":"1 2 3 a.example","data":{},"meta":{},"settings":{}}"#;
    let record = edge.post(&records, srv).result();
    assert_eq!(record["data"]["port"], 3);
    let one = format!("{records}/{}", record["id"].as_str().unwrap());
    let patched = edge.call("PATCH", &one, r#"{"content":"1 2 4 a.example","data":{},"bartizan":{}}"#).result();
    assert_eq!(patched["data"]["port"], 4);

    let apps = format!("/zones/{}/spectrum/apps", edge.zone());
    let app = r#"{"protocol":"tcp/22","dns":{"name":"ssh"},"origin_direct":["tcp://192.0.2.1:22"],"origin_dns":{},"edge_ips":{}}"#;
    assert_eq!(edge.post(&apps, app).result()["edge_ips"]["type"], "dynamic");
    assert_eq!(edge.post("/zones", r#"{"name":"a.example","account":{}}"#).verdict(), "200");
    assert_eq!(edge.call("PATCH", &format!("/zones/{}", edge.zone()), r#"{"plan":{}}"#).verdict(), "200");
    // What an object leaves out is still missed where it is needed.
    assert_eq!(edge.post(rules, r#"{"mode":"block","configuration":{}}"#).verdict(), "400 10007 /configuration/target");
}

#[test]
fn parameters_are_read_forgivingly() {
    let edge = Edge::new();
    let records = edge.records();
    for (name, tags, proxied) in
        [("a", json!(["env:prod", "team:web"]), true), ("b", json!(["env:test"]), false), ("c", json!([]), false)]
    {
        let body = json!({"type": "A", "name": name, "content": "192.0.2.1", "tags": tags, "proxied": proxied});
        edge.post(&records, &body.to_string()).result();
    }
    for (query, expect) in [
        // cloudflare-go v0 repeats a parameter for each tag, and spells the last name with a dash.
        ("tag=env:prod&tag=env:test&tag-match=any", "a b"),
        ("tag=env:prod&tag=team:web&tag-match=all", "a"),
        ("tag=env:prod&tag=env:test", ""),
        ("tag.present=env&tag.absent=team", "b"),
        ("type=TXT&type=A&name=b", "b"),
        ("name=&type=A&page=&per_page=&proxied=", "a b c"),
        ("proxied=1", "a"),
        ("proxied=False", "b c"),
        ("per_page=2.0&page=2", "c"),
        ("comment.absent", "a b c"),
        ("comment.present=", ""),
        ("&&type=A&&", "a b c"),
    ] {
        let list = edge.get(&format!("{records}?order=name&{query}")).json();
        let names: Vec<&str> =
            list["result"].as_array().unwrap().iter().map(|one| &one["name"].as_str().unwrap()[..1]).collect();
        assert_eq!(names.join(" "), expect, "{query}");
    }
    let many = "tag=a:b&".repeat(21);
    for (query, expect) in [
        ("page=first", "400 6008"),
        ("proxied=maybe", "400 6008"),
        ("per_page=1.5", "400 6008"),
        (many.as_str(), "400 6008"),
    ] {
        assert_eq!(edge.get(&format!("{records}?{query}")).verdict(), expect, "{query}");
    }
    assert_eq!(edge.get("/zones?name=a&name=bartizan.localhost").json()["result_info"]["total_count"], 1);
}

/// certbot and acme.sh look for a TXT record in one spelling, whoever wrote it in which.
#[test]
fn a_text_is_found_in_every_spelling() {
    let edge = Edge::new();
    let records = edge.records();
    let (long, quoted) = ("k".repeat(300), format!("\"{}\" \"{}\"", "k".repeat(255), "k".repeat(45)));
    for (name, content) in [
        ("bare", "v=1"),
        ("quoted", "\"v=1\""),
        ("other", "v=2"),
        ("long", &long),
        ("cut", &quoted),
        ("letters", "\"ü \\\"x\\\"\""),
    ] {
        edge.post(&records, &json!({"type": "TXT", "name": name, "content": content}).to_string()).result();
    }
    for (content, expect) in [
        ("v%3D1", "bare quoted"),
        ("%22v%3D1%22", "bare quoted"),
        ("v%3D2", "other"),
        ("%22v%3D2%22", "other"),
        ("v%3D3", ""),
        (long.as_str(), "cut long"),
        ("%C3%BC%20%22x%22", "letters"),
    ] {
        for parameter in ["content", "content.exact"] {
            for kind in ["", "&type=TXT"] {
                let list = edge.get(&format!("{records}?order=name&{parameter}={content}{kind}")).json();
                let found = list["result"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap());
                let names: Vec<&str> = found.map(|name| name.split('.').next().unwrap()).collect();
                assert_eq!(names.join(" "), expect, "{parameter}={content}{kind}");
            }
        }
    }
}

/// What may be quoted, or written in another way, is one content.
#[test]
fn data_is_found_in_every_spelling() {
    let edge = Edge::new();
    let records = edge.records();
    let rows = [
        ("CAA", r#"0 issue "ca.example""#, "0 issue ca.example"),
        ("HTTPS", r#"1 . alpn="h2""#, "1 . alpn=h2"),
        ("SVCB", "1 svc.example. alpn=h2,h3", r#"1 SVC.example. alpn="h2,h3""#),
        ("NAPTR", r#"1 2 "S" "SIP+D2U" "" b.example."#, r#"1 2 S SIP+D2U "" b.example."#),
        ("URI", r#"5 "https://a.example/""#, "5 https://a.example/"),
        ("LOC", "52 22 23 N 4 53 32 E -2m", "52 22 23.000 N 4 53 32.000 E -2.00m"),
    ];
    for (kind, content, _) in rows {
        let body = json!({"type": kind, "name": kind, "content": content, "priority": 1});
        edge.post(&records, &body.to_string()).result();
    }
    for (kind, one, other) in rows {
        for content in [one, other] {
            let content = content.replace('+', "%2B").replace(' ', "+").replace('"', "%22");
            for query in [format!("content={content}"), format!("content.exact={content}&type={kind}")] {
                let list = edge.get(&format!("{records}?{query}")).json();
                assert_eq!(list["result_info"]["total_count"], 1, "{query}");
                assert_eq!(list["result"][0]["type"], kind, "{query}");
            }
        }
    }
    let elsewhere = format!("{records}?type=CAA&content=0+issue+other.example");
    assert_eq!(edge.get(&elsewhere).json()["result_info"]["total_count"], 0);
}

/// The Python SDK reads every number of a setting as a fraction, and sends it back so.
#[test]
fn whole_numbers_may_be_written_as_fractions() {
    let edge = Edge::new();
    let settings = format!("/zones/{}/settings", edge.zone());
    let one = format!("{settings}/proxy_read_timeout");
    assert_eq!(edge.call("PATCH", &one, r#"{"value":90.0}"#).result()["value"], 90);
    assert_eq!(edge.call("PATCH", &one, r#"{"value":90.5}"#).verdict(), "400 1007 /value");
    let several = r#"{"items":[{"id":"proxy_read_timeout","value":80.0}]}"#;
    assert_eq!(edge.call("PATCH", &settings, several).result()[0]["value"], 80);

    let records = edge.records();
    for body in [
        r#"{"type":"A","name":"f","content":"192.0.2.1","ttl":300.0}"#,
        r#"{"type":"MX","name":"f","content":"mx.example","priority":10.0}"#,
        r#"{"type":"SRV","name":"f","data":{"priority":1.0,"weight":"2.0","port":3.0,"target":"a"}}"#,
        r#"{"type":"CAA","name":"f","data":{"flags":0.0,"tag":"issue","value":"ca.example"}}"#,
        r#"{"type":"A","name":"g","content":"192.0.2.1","proxied":true,"bartizan":{"origin_port":8080.0}}"#,
    ] {
        assert_eq!(edge.post(&records, body).verdict(), "200", "{body}");
    }
    let app = r#"{"protocol":"tcp/22","dns":{"name":"ssh"},"origin_dns":{"name":"o.example","ttl":600.0},"origin_port":22.0}"#;
    let app = edge.post(&format!("/zones/{}/spectrum/apps", edge.zone()), app).result();
    assert_eq!((&app["origin_port"], &app["origin_dns"]["ttl"]), (&json!(22), &json!(600)));
}

/// Which fields a record's data have is for its type to say, so that is told first.
#[test]
fn the_type_is_looked_at_before_the_data() {
    let edge = Edge::new();
    let naptr = r#"{"type":"NAPTR","name":"n","data":{"order":1,"preference":1,"flags":"S","service":"SIP+D2U","regex":"","replacement":"b.example"}}"#;
    assert_eq!(edge.post(&edge.records(), naptr).verdict(), "200");
    let answer = edge.post(&edge.records(), &naptr.replace("NAPTR", "RP"));
    assert_eq!(answer.verdict(), "400 1004 /type");
    assert!(answer.text.contains("RP"), "{}", answer.text);
    for (body, expect) in [
        (r#"{"type":"LOC","name":"n","data":{"port":[],"target":7}}"#, "400 9101 /data/lat_direction"),
        (r#"{"type":"CAA","name":"n","data":{"flags":"S","tag":"issue","value":"x"}}"#, "400 9101 /data/flags"),
        (r#"{"type":"CAA","name":"n","data":{"flags":0,"tag":7,"value":"x"}}"#, "400 9101 /data/tag"),
        (r#"{"type":"A","name":"n","content":"192.0.2.1","data":{"flags":[]}}"#, "200"),
        (r#"{"type":"A","name":"m","content":"192.0.2.1","data":7}"#, "400 6007 /data"),
    ] {
        assert_eq!(edge.post(&edge.records(), body).verdict(), expect, "{body}");
    }
}

#[test]
fn who_i_am_in_the_shape_that_clients_read() {
    let edge = Edge::new();
    let membership = edge.get("/memberships").result()[0].clone();
    assert_eq!(membership["account"]["type"], "standard");
    assert_eq!(membership["account"], edge.get(&format!("/accounts/{}", edge.account())).result());
    let all = json!({"read": true, "write": true});
    for (what, grant) in [
        ("dns_records", &all),
        ("zones", &all),
        ("zone_settings", &all),
        ("waf", &all),
        ("billing", &json!({"read": false, "write": false})),
    ] {
        assert_eq!(&membership["permissions"][what], grant, "{what}");
    }
    for (query, count) in [("name=Main%20account", 1), ("account.name=Other", 0), ("status=pending", 0)] {
        assert_eq!(edge.get(&format!("/memberships?{query}")).json()["result_info"]["total_count"], count, "{query}");
    }
    let organization = edge.get("/user").result()["organizations"][0].clone();
    assert_eq!((&organization["id"], &organization["status"]), (&json!(edge.account()), &json!("member")));
    assert!(organization["permissions"].as_array().unwrap().contains(&json!("#dns_records:edit")), "{organization}");
    assert!(organization["roles"][0].is_string(), "{organization}");
}

#[test]
fn the_scope_of_a_rule_tells_whose_it_is() {
    let edge = Edge::new();
    let body = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#;
    let (zone, account) = (edge.zone(), edge.account());
    for (place, scope) in [
        (format!("/zones/{zone}"), json!({"id": zone, "name": "bartizan.localhost", "type": "zone"})),
        (format!("/accounts/{account}"), json!({"id": account, "name": "Main account", "type": "organization"})),
    ] {
        let rules = format!("{place}/firewall/access_rules/rules");
        let rule = edge.post(&rules, body).result();
        assert_eq!(rule["scope"], scope);
        assert_eq!(edge.get(&rules).result()[0]["scope"], scope);
    }
}

/// octoDNS asks for page rules before it does anything else.
#[test]
fn lists_of_what_is_not_here_are_empty() {
    let edge = Edge::new();
    let zone = format!("/zones/{}", edge.zone());
    assert_eq!(edge.get(&format!("{zone}/pagerules?status=active")).result(), json!([]));
    assert_eq!(edge.post(&format!("{zone}/pagerules"), "{}").verdict(), "405 10405");
    let plans = edge.get(&format!("{zone}/available_plans")).result();
    assert_eq!(plans, json!([edge.get(&zone).result()["plan"]]));
    let unknown = format!("/zones/{}", "0".repeat(32));
    for path in ["pagerules", "available_plans"] {
        assert_eq!(edge.get(&format!("{unknown}/{path}")).verdict(), "404 1001");
    }
    assert!(ids(&edge.get("/zones").json()).contains(&edge.zone().as_str()));
}

/// Names are typed in the letters of their script, and kept as DNS has them.
#[test]
fn names_in_any_script() {
    let edge = Edge::new();
    let zone = edge.post("/zones", r#"{"name":"Bücher.example"}"#).result();
    assert_eq!(zone["name"], "xn--bcher-kva.example");
    for spelling in ["b%C3%BCcher.example", "xn--bcher-kva.example", "equal:B%C3%9CCHER.example."] {
        let found = edge.get(&format!("/zones?name={spelling}")).json();
        assert_eq!(ids(&found), [zone["id"].as_str().unwrap()], "{spelling}");
    }
    assert_eq!(edge.post("/zones", r#"{"name":"bücher.example"}"#).verdict(), "400 1061 /name");
    let records = format!("/zones/{}/dns_records", zone["id"].as_str().unwrap());
    for (body, name, content) in [
        (r#"{"type":"A","name":"größe","content":"192.0.2.1"}"#, "xn--gre-6ka8i", "192.0.2.1"),
        (r#"{"type":"CNAME","name":"a.bücher.example.","content":"straße.example"}"#, "a", "xn--strae-oqa.example"),
        (r#"{"type":"TXT","name":"_x.*.ü","content":"straße"}"#, "_x.*.xn--tda", "straße"),
    ] {
        let record = edge.post(&records, body).result();
        assert_eq!(record["name"], format!("{name}.xn--bcher-kva.example"), "{body}");
        assert_eq!(record["content"], content, "{body}");
    }
    for query in ["name=gr%C3%B6%C3%9Fe", "name.exact=gr%C3%B6%C3%9Fe.b%C3%BCcher.example", "name=xn--gre-6ka8i"] {
        assert_eq!(edge.get(&format!("{records}?{query}")).json()["result_info"]["total_count"], 1, "{query}");
    }
    for (body, expect) in [
        (r#"{"type":"A","name":"ü..a","content":"192.0.2.1"}"#, "400 9000 /name"),
        ("{\"type\":\"A\",\"name\":\"\u{202e}ü\",\"content\":\"192.0.2.1\"}", "400 9000 /name"),
        ("{\"type\":\"CNAME\",\"name\":\"b\",\"content\":\"\u{202e}ü.example\"}", "400 9007 /content"),
    ] {
        assert_eq!(edge.post(&records, body).verdict(), expect, "{body}");
    }
}

#[test]
fn members_and_roles() {
    let edge = Edge::new();
    let account = format!("/accounts/{}", edge.account());
    let list = edge.get(&format!("{account}/members")).json();
    let member = &list["result"][0];
    assert_eq!(
        (&list["result_info"]["total_count"], &member["user"]["email"]),
        (&json!(1), &json!(crate::edge::EMAIL))
    );
    let one = format!("{account}/members/{}", member["id"].as_str().unwrap());
    assert_eq!(edge.get(&one).result(), *member);
    assert_eq!(edge.get("/memberships").result()[0]["id"], member["id"]);
    let roles = edge.get(&format!("{account}/roles")).result();
    assert_eq!((&roles[0], &roles[0]["permissions"]["dns_records"]["write"]), (&member["roles"][0], &json!(true)));
    assert!(roles.as_array().unwrap().iter().any(|role| role["name"] == "Administrator Read Only"));
    let role = format!("{account}/roles/{}", roles[0]["id"].as_str().unwrap());
    assert_eq!(edge.get(&role).result(), roles[0]);
    for path in ["members", "roles"] {
        assert_eq!(edge.get(&format!("{account}/{path}/{}", "0".repeat(32))).verdict(), "404 1003");
    }
    assert_eq!(edge.post(&format!("{account}/roles"), "{}").verdict(), "405 10405");
}

/// certbot tells its user by the code that the token lacks the right to change records.
#[test]
fn a_token_that_may_not_change_records_is_told_so() {
    let edge = Edge::new();
    let policy = json!({
        "effect": "allow", "permission_groups": [{"name": "DNS Read"}],
        "resources": {format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*"}
    });
    let token = edge.post("/user/tokens", &json!({"name": "reads", "policies": [policy]}).to_string()).result();
    let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
    let call = |method: &str, path: &str, body: &str| {
        edge.send_as(&[("authorization", bearer.as_str())], method, &format!("/client/v4{path}"), body)
    };
    assert_eq!(call("GET", &edge.records(), "").verdict(), "200");
    let refused = call("POST", &edge.records(), r#"{"type":"TXT","name":"_acme-challenge","content":"x"}"#);
    assert_eq!(refused.verdict(), "403 1009");
    assert!(refused.text.contains("DNS Write"), "{}", refused.text);
    // What else it may not do is told in another way.
    assert_eq!(call("GET", &format!("/zones/{}/settings", edge.zone()), "").verdict(), "403 9109");
}

#[test]
fn a_comment_has_an_end() {
    let edge = Edge::new();
    for (length, expect) in [(500, "200"), (501, "400 9300 /comment")] {
        let body = json!({"type": "A", "name": "c", "content": "192.0.2.1", "comment": "x".repeat(length)});
        assert_eq!(edge.post(&edge.records(), &body.to_string()).verdict(), expect, "{length}");
    }
}

/// Who reads is not told of changes.
#[test]
fn too_many_reads_are_told_as_such() {
    let edge = Edge::new();
    let held: Vec<_> = (0..100).map_while(|_| edge.store.read().ok()).collect();
    let answer = edge.get("/zones");
    assert_eq!(answer.verdict(), "503 10505");
    assert!(
        answer.text.contains("Too many reads at once; try again") && answer.headers.contains_key("retry-after"),
        "{}",
        answer.text
    );
    drop(held);
    assert_eq!(edge.get("/zones").verdict(), "200");
}
