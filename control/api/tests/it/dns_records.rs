//! DNS records.

use bartizan_names::{RecordId, ZoneId};
use bartizan_store::Key;
use serde_json::{Value, json};

use crate::edge::{EMAIL, Edge, KEY, commit, put};

/// As printed in the post about service discovery, with the ids of this edge.
#[test]
fn the_printed_calls() {
    let edge = Edge::new();
    let headers = [("X-Auth-Email", EMAIL), ("X-Auth-Key", KEY), ("Content-Type", "application/json")];
    let path = format!("/client/v4{}", edge.records());
    let body = r#"{"type":"SRV","data":{"service":"_http","proto":"_tcp","name":"name","priority":1,"weight":1,"port":80,"target":"staging.badtortilla.com"},"ttl":1,"zone_name":"badtortilla.com","name":"_http._tcp.name.","content":"SRV 1 1 80 staging.badtortilla.com.","proxied":false,"proxiable":false,"priority":1}"#;
    let answer = edge.send_as(&headers, "POST", &path, body);
    let record = answer.result();
    let (id, at) = (record["id"].as_str().unwrap(), record["created_on"].as_str().unwrap());
    assert_eq!(
        answer.text,
        format!(
            r#"{{"result":{{"id":"{id}","zone_id":"{}","zone_name":"bartizan.localhost","name":"_http._tcp.name.bartizan.localhost","type":"SRV","content":"1 1 80 staging.badtortilla.com","priority":1,"data":{{"priority":1,"weight":1,"port":80,"target":"staging.badtortilla.com"}},"proxiable":false,"proxied":false,"ttl":1,"settings":{{}},"meta":{{"auto_added":false,"managed_by_apps":false,"managed_by_argo_tunnel":false}},"comment":null,"tags":[],"created_on":"{at}","modified_on":"{at}"}},"success":true,"errors":[],"messages":[]}}"#,
            edge.zone()
        )
    );
    // Twice is once: an identical record.
    assert_eq!(edge.send_as(&headers, "POST", &path, body).verdict(), "400 81058 /name");
    // The deletion has a JSON type and no body.
    let gone = edge.send_as(&headers, "DELETE", &format!("{path}/{id}"), "");
    assert_eq!(gone.result(), json!({"id": id}));
    assert_eq!(edge.send_as(&headers, "DELETE", &format!("{path}/{id}"), "").verdict(), "404 81044");
}

#[test]
fn what_is_refused_changes_nothing() {
    let edge = Edge::new();
    let records = edge.records();
    edge.new_zone("other.example");
    for body in [
        r#"{"type":"A","name":"a","content":"192.0.2.1"}"#,
        r#"{"type":"CNAME","name":"c","content":"a.example"}"#,
        r#"{"type":"NS","name":"n","content":"ns.example"}"#,
        r#"{"type":"TXT","name":"t","content":"\"x\""}"#,
        r#"{"type":"A","name":"p","content":"192.0.2.1","proxied":true}"#,
    ] {
        edge.post(&records, body).result();
    }
    let before = edge.revision();
    let long = format!(r#"{{"type":"A","name":"{}","content":"192.0.2.1"}}"#, "x.".repeat(120));
    let oversize = format!(r#"{{"type":"TXT","name":"x","content":"{}"}}"#, "x".repeat(1 << 20));
    for (body, expect) in [
        // Conflicts.
        (r#"{"type":"A","name":"A","content":"192.0.2.1","ttl":60}"#, "400 81058 /name"),
        (r#"{"type":"TXT","name":"t","content":"x"}"#, "400 81058 /name"),
        (r#"{"type":"CNAME","name":"a","content":"b.example"}"#, "400 81053 /name"),
        (r#"{"type":"CNAME","name":"c","content":"b.example"}"#, "400 81053 /name"),
        (r#"{"type":"A","name":"c","content":"192.0.2.1"}"#, "400 81053 /name"),
        (r#"{"type":"TXT","name":"c","content":"x"}"#, "400 81054 /name"),
        (r#"{"type":"CNAME","name":"n","content":"b.example"}"#, "400 81055 /name"),
        (r#"{"type":"CNAME","name":"t","content":"b.example"}"#, "400 81056"),
        (r#"{"type":"A","name":"p","content":"192.0.2.2"}"#, "400 1004"),
        // Fields.
        (r#"{"type":"A","name":"x","content":"x"}"#, "400 9005 /content"),
        (r#"{"type":"AAAA","name":"x","content":"192.0.2.1"}"#, "400 9006 /content"),
        (r#"{"type":"CNAME","name":"x","content":"a b"}"#, "400 9007 /content"),
        (r#"{"type":"MX","name":"x","content":"a b","priority":1}"#, "400 9009 /content"),
        (r#"{"type":"MX","name":"x","content":"a"}"#, "400 9101 /priority"),
        (r#"{"type":"A","name":"x","content":"192.0.2.1","ttl":5}"#, "400 9021 /ttl"),
        (r#"{"type":"TXT","name":"x","content":"x","proxied":true}"#, "400 9004 /proxied"),
        (
            r#"{"type":"SRV","name":"x","data":{"priority":1,"weight":1,"port":99999,"target":"a"}}"#,
            "400 9101 /data/port",
        ),
        (
            r#"{"type":"SRV","name":"x","data":{"priority":1,"weight":1,"port":"p","target":"a"}}"#,
            "400 9101 /data/port",
        ),
        (r#"{"type":"SOA","name":"x","content":"x"}"#, "400 1004 /type"),
        (r#"{"type":"SPF","name":"x","content":"x"}"#, "400 1004 /type"),
        (r#"{"type":"LOC","name":"x","content":"x"}"#, "400 9007 /content"),
        (
            r#"{"type":"TLSA","name":"x","data":{"usage":3,"selector":1,"matching_type":1,"certificate":"zz"}}"#,
            "400 9101 /data/certificate",
        ),
        (r#"{"type":"URI","name":"x","data":{"weight":1,"target":"x"}}"#, "400 9101 /priority"),
        (r#"{"type":"DS","name":"x","content":"1 13 99 ab"}"#, "400 1004 /name"),
        (r#"{"type":"DS","name":"@","content":"1 13 99 ab"}"#, "400 1004 /name"),
        (r#"{"name":"x","content":"192.0.2.1"}"#, "400 1004 /type"),
        (r#"{"type":"A","content":"192.0.2.1"}"#, "400 9000 /name"),
        (r#"{"type":"A","name":"x..y","content":"192.0.2.1"}"#, "400 9000 /name"),
        // Whole, and in another zone of ours: not meant to be relative.
        (r#"{"type":"A","name":"x.other.example.","content":"192.0.2.1"}"#, "400 9000 /name"),
        (&long, "400 9000 /name"),
        // What is no body.
        (r#"{"type":7,"name":"x"}"#, "400 6007 /type"),
        (r#"{"type":"A","name":"x","content":"192.0.2.1","proxied":"yes"}"#, "400 6007 /proxied"),
        (r#"{"type":"A","name":"x","tags":"a"}"#, "400 6007 /tags"),
        (r#"{"type":"A""#, "400 6007"),
        ("[]", "400 6007"),
        ("{}", "400 9000 /name"),
        ("", "400 6007"),
        (&oversize, "413 10413"),
    ] {
        assert_eq!(edge.post(&records, body).verdict(), expect, "{}", &body[..body.len().min(200)]);
    }
    let good = r#"{"type":"A","name":"x","content":"192.0.2.1"}"#;
    let unknown = format!("/zones/{}/dns_records", "0".repeat(32));
    assert_eq!(edge.post(&unknown, good).verdict(), "404 1001");
    assert_eq!(edge.call("PUT", &format!("{records}/{}", "0".repeat(32)), good).verdict(), "404 81044");
    assert_eq!(edge.revision(), before);
}

/// A proxied CNAME is answered with addresses: beside it may stand what may stand beside addresses, at the apex and
/// below it, whichever comes first.
#[test]
fn what_stands_beside_a_proxied_cname() {
    const CNAME: &str = r#""type":"CNAME","content":"shop.example.net","proxied":true"#;
    for (other, below, at_apex) in [
        (r#""type":"MX","content":"mail.example.net","priority":10"#, ["200", "200"], ["200", "200"]),
        (r#""type":"TXT","content":"v=spf1 -all""#, ["200", "200"], ["200", "200"]),
        (r#""type":"CAA","data":{"flags":0,"tag":"issue","value":"ca.example"}"#, ["200", "200"], ["200", "200"]),
        (
            r#""type":"SRV","data":{"priority":1,"weight":1,"port":80,"target":"a.example"}"#,
            ["200", "200"],
            ["200", "200"],
        ),
        (r#""type":"NS","content":"ns.example.net""#, ["400 81054 /name", "400 81055 /name"], ["400 1004 /type"; 2]),
        (r#""type":"A","content":"192.0.2.1","proxied":true"#, ["400 81053 /name"; 2], ["400 81053 /name"; 2]),
        (
            r#""type":"CNAME","content":"other.example.net","proxied":true"#,
            ["400 81053 /name"; 2],
            ["400 81053 /name"; 2],
        ),
    ] {
        for (name, expect) in [("below", below), ("@", at_apex)] {
            for ((first, second), expect) in [(CNAME, other), (other, CNAME)].into_iter().zip(expect) {
                let edge = Edge::new();
                let put = |fields: &str| edge.post(&edge.records(), &format!(r#"{{"name":"{name}",{fields}}}"#));
                // One that is refused at the apex is so whichever comes first.
                let answers = [put(first).verdict(), put(second).verdict()];
                let verdict = answers.into_iter().find(|verdict| verdict != "200").unwrap_or("200".to_owned());
                assert_eq!(verdict, expect, "{name}: {first}, then {second}");
            }
        }
    }
    // And it stays so: a CNAME that others stand beside cannot cease to be proxied.
    let edge = Edge::new();
    let cname = edge.post(&edge.records(), &format!(r#"{{"name":"x",{CNAME}}}"#)).result();
    edge.post(&edge.records(), r#"{"name":"x","type":"TXT","content":"x"}"#).result();
    let path = format!("{}/{}", edge.records(), cname["id"].as_str().unwrap());
    assert_eq!(edge.call("PATCH", &path, r#"{"proxied":false}"#).verdict(), "400 81056");
}

/// A DS record needs an NS record beside it (RFC 4035 §2.4), on whichever way the last one would go.
#[test]
fn a_ds_record_is_never_alone() {
    let edge = Edge::new();
    let (records, batch) = (edge.records(), format!("{}/batch", edge.records()));
    let ds = r#"{"type":"DS","name":"s","content":"1 13 99 ab"}"#;
    let ns = r#"{"type":"NS","name":"s","content":"ns.example.net"}"#;
    assert_eq!(edge.post(&records, ds).verdict(), "400 1004 /name");
    let id = |answer: &crate::edge::Answer| answer.result()["id"].as_str().unwrap().to_owned();
    let ns = id(&edge.post(&records, ns));
    let ds = id(&edge.post(&records, ds));
    let before = edge.revision();
    let one = format!("{records}/{ns}");
    for (method, path, body) in [
        ("DELETE", &one, String::new()),
        ("PATCH", &one, r#"{"name":"t"}"#.to_owned()),
        ("PUT", &one, r#"{"type":"TXT","name":"s","content":"x"}"#.to_owned()),
        ("POST", &batch, format!(r#"{{"deletes":[{{"id":"{ns}"}}]}}"#)),
    ] {
        let answer = edge.call(method, path, &body);
        assert!(answer.verdict().starts_with("400 1004"), "{method}: {}", answer.text);
        assert!(answer.text.contains("delete the DS records first"), "{}", answer.text);
    }
    assert_eq!(edge.revision(), before);
    edge.post(&batch, &format!(r#"{{"deletes":[{{"id":"{ns}"}},{{"id":"{ds}"}}]}}"#)).result();
}

/// A zone of another account is not told from none.
#[test]
fn a_foreign_zone() {
    let edge = Edge::new();
    let zone = edge.zone();
    let entry = edge.store.read().unwrap().get(&Key::zone(zone.parse().unwrap())).unwrap().unwrap();
    let json = entry.value.json.replace(&edge.account(), &"f".repeat(32));
    let foreign = bartizan_store::ChangeSet {
        guards: vec![],
        ops: vec![bartizan_store::Op::Put {
            key: entry.key,
            value: bartizan_store::Value { format: 1, json: json.into() },
        }],
        meta: bartizan_store::Meta {
            at: std::time::SystemTime::now().into(),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [1; 16],
        },
    };
    edge.store.commit(foreign).unwrap();
    let before = edge.revision();
    for (method, path) in [
        ("GET", format!("/zones/{zone}")),
        ("DELETE", format!("/zones/{zone}")),
        ("GET", edge.records()),
        ("POST", edge.records()),
        ("GET", format!("/zones/{zone}/settings")),
    ] {
        let body = r#"{"type":"A","name":"x","content":"192.0.2.1"}"#;
        assert_eq!(edge.call(method, &path, body).verdict(), "404 1001", "{method} {path}");
    }
    assert_eq!(edge.get("/zones").json()["result_info"]["total_count"], 0);
    assert_eq!(edge.revision(), before);
}

#[test]
fn put_replaces_and_patch_keeps() {
    let edge = Edge::new();
    let made = edge
        .post(
            &edge.records(),
            r#"{"type":"A","name":"w","content":"192.0.2.1","ttl":300,"comment":"c","tags":["a:b"]}"#,
        )
        .result();
    let path = format!("{}/{}", edge.records(), made["id"].as_str().unwrap());
    let patched = edge.call("PATCH", &path, r#"{"content":"192.0.2.2"}"#).result();
    for field in ["id", "created_on", "ttl", "comment", "tags", "name"] {
        assert_eq!(patched[field], made[field], "{field}");
    }
    assert_eq!(patched["content"], "192.0.2.2");
    let put = edge.call("PUT", &path, r#"{"type":"A","name":"w","content":"192.0.2.2"}"#).result();
    assert_eq!((&put["ttl"], &put["comment"], &put["tags"]), (&json!(1), &json!(null), &json!([])));
    assert_eq!(put["created_on"], made["created_on"]);
    // Its own former self is no conflict; another record is.
    edge.post(&edge.records(), r#"{"type":"A","name":"v","content":"192.0.2.2"}"#).result();
    assert_eq!(edge.call("PATCH", &path, r#"{"name":"w"}"#).verdict(), "200");
    assert_eq!(edge.call("PATCH", &path, r#"{"name":"v"}"#).verdict(), "400 81058 /name");
    let proxied = edge.call("PATCH", &path, r#"{"proxied":true,"ttl":300,"bartizan":{"origin_port":8000}}"#).result();
    assert_eq!((&proxied["ttl"], &proxied["bartizan"]["origin_port"]), (&json!(1), &json!(8000)));
    assert_eq!(edge.get(&path).result(), proxied);
}

/// The unit that is published: how many records an owner name has, and none when there are none.
#[test]
fn owner_names_are_counted() {
    let edge = Edge::new();
    let zone = edge.zone().parse().unwrap();
    let count = |owner: &str| {
        let key = Key::name(zone, &format!("{owner}.bartizan.localhost").parse().unwrap());
        edge.store.read().unwrap().get(&key).unwrap().map(|entry| (entry.rev.0, entry.value.json.to_string()))
    };
    let id = |body: &str| edge.post(&edge.records(), body).result()["id"].as_str().unwrap().to_owned();
    let first = id(r#"{"type":"A","name":"a","content":"192.0.2.1"}"#);
    let second = id(r#"{"type":"A","name":"a","content":"192.0.2.2"}"#);
    assert_eq!(count("a"), Some((edge.revision(), r#"{"records":2}"#.to_owned())));
    let path = |id: &str| format!("{}/{id}", edge.records());
    edge.call("PATCH", &path(&first), r#"{"ttl":60}"#).result();
    assert_eq!(count("a"), Some((edge.revision(), r#"{"records":2}"#.to_owned())), "touched");
    edge.call("PATCH", &path(&first), r#"{"name":"b"}"#).result();
    assert_eq!(count("a"), Some((edge.revision(), r#"{"records":1}"#.to_owned())));
    assert_eq!(count("b"), Some((edge.revision(), r#"{"records":1}"#.to_owned())));
    edge.call("DELETE", &path(&second), "").result();
    assert_eq!(count("a"), None);
}

#[test]
fn deep_proxied_names_get_a_certificate() {
    let edge = Edge::new();
    let certificates = || {
        let view = edge.store.read().unwrap();
        view.list_kind(bartizan_store::Kind::Certificate, 100).unwrap().len()
    };
    let before = certificates();
    for (body, expect) in [
        (r#"{"type":"A","name":"a","content":"192.0.2.1","proxied":true}"#, 0),
        (r#"{"type":"A","name":"a.b","content":"192.0.2.1"}"#, 0),
        (r#"{"type":"A","name":"c.b","content":"192.0.2.1","proxied":true}"#, 1),
        (r#"{"type":"AAAA","name":"c.b","content":"2001:db8::1","proxied":true}"#, 1),
    ] {
        edge.post(&edge.records(), body).result();
        assert_eq!(certificates() - before, expect, "{body}");
    }
}

#[test]
fn lists_of_records() {
    let edge = Edge::new();
    for body in [
        r#"{"type":"A","name":"a","content":"192.0.2.1","ttl":300,"comment":"First","tags":["env:prod"]}"#,
        r#"{"type":"A","name":"b","content":"192.0.2.2","proxied":true}"#,
        r#"{"type":"AAAA","name":"a","content":"2001:DB8::1"}"#,
        r#"{"type":"TXT","name":"q","content":"\"quoted\""}"#,
        r#"{"type":"TXT","name":"u","content":"bare"}"#,
        r#"{"type":"SRV","name":"s","data":{"priority":"1","weight":"2","port":"3","target":"t.example."},"content":null}"#,
        r#"{"type":"CNAME","name":"c","content":"target.example."}"#,
    ] {
        edge.post(&edge.records(), body).result();
    }
    for (query, expect, total) in [
        ("", "A/a A/b AAAA/a CNAME/c SRV/s TXT/q TXT/u", 7),
        ("?order=name&direction=desc&type=A", "A/b A/a", 2),
        ("?per_page=2&page=2&order=type", "AAAA/a CNAME/c", 7),
        ("?per_page=2&page=9", "", 7),
        ("?name=a.bartizan.localhost&type=a", "A/a", 1),
        ("?name.exact=a.bartizan.localhost", "A/a AAAA/a", 2),
        ("?name=a", "A/a AAAA/a", 2),
        ("?name=A.bartizan.localhost.", "A/a AAAA/a", 2),
        ("?name.startswith=a.", "A/a AAAA/a", 2),
        ("?name.contains=NOTHING", "", 0),
        ("?proxied=true", "A/b", 1),
        ("?content=192.0.2.1", "A/a", 1),
        ("?content=2001:db8:0::1", "AAAA/a", 1),
        ("?content=quoted", "TXT/q", 1),
        ("?content.exact=%22quoted%22", "TXT/q", 1),
        ("?type=TXT&content=%22bare%22", "TXT/u", 1),
        ("?type=SRV&content=1%092%093%09t.example", "SRV/s", 1),
        ("?type=SRV&content=2+3+t.example.", "SRV/s", 1),
        ("?content=target.example.", "CNAME/c", 1),
        ("?content.endswith=example", "CNAME/c SRV/s", 2),
        ("?name.endswith=.localhost&type=A", "A/a A/b", 2),
        ("?name.endswith=.example", "", 0),
        ("?name.startswith=b.&type=A", "A/b", 1),
        ("?content.contains=0.2.1", "A/a", 1),
        ("?content.contains=nothing", "", 0),
        ("?content.startswith=192.", "A/a A/b", 2),
        ("?content.startswith=.2", "", 0),
        ("?content.endswith=.2", "A/b", 1),
        ("?comment=first", "A/a", 1),
        ("?comment=fir", "", 0),
        ("?comment.exact=first", "A/a", 1),
        ("?comment.exact=fir", "", 0),
        ("?comment.contains=irs", "A/a", 1),
        ("?comment.contains=second", "", 0),
        ("?comment.startswith=fir", "A/a", 1),
        ("?comment.startswith=irst", "", 0),
        ("?comment.endswith=rst", "A/a", 1),
        ("?comment.endswith=fir", "", 0),
        ("?comment.present", "A/a", 1),
        ("?comment.absent=true&type=A", "A/b", 1),
        ("?tag=env:prod", "A/a", 1),
        ("?tag.present=env&tag.absent=env", "", 0),
        ("?tag=env:test", "", 0),
        ("?tag.exact=env:prod", "A/a", 1),
        ("?tag.exact=env:pro", "", 0),
        ("?tag.contains=env:ro", "A/a", 1),
        ("?tag.contains=env:test", "", 0),
        ("?tag.startswith=env:p", "A/a", 1),
        ("?tag.startswith=env:rod", "", 0),
        ("?tag.endswith=env:rod", "A/a", 1),
        ("?tag.endswith=env:pro", "", 0),
        ("?tag.present=other", "", 0),
        ("?search=EXAMPLE", "CNAME/c SRV/s", 2),
        ("?type=CNAME&proxied=true&match=any&order=name", "A/b CNAME/c", 2),
        ("?include_shadow_metadata=true&type=CNAME", "CNAME/c", 1),
    ] {
        let json = edge.get(&format!("{}{query}", edge.records())).json();
        let mut found: Vec<String> = json["result"]
            .as_array()
            .unwrap_or_else(|| panic!("{query}: {json}"))
            .iter()
            .map(|record| {
                let name = record["name"].as_str().unwrap().trim_end_matches(".bartizan.localhost");
                format!("{}/{name}", record["type"].as_str().unwrap())
            })
            .collect();
        // Records of one type stand in the order of their ids, which are random.
        if !query.contains("order=name") {
            found.sort_unstable();
        }
        assert_eq!(found.join(" "), expect, "{query}");
        assert_eq!(json["result_info"]["total_count"], total, "{query}");
    }
}

/// What a client that searches the text of replies does to prove a domain.
/// In rows, and in bytes: what is left off would be missed by whoever asks for the next page.
#[test]
fn a_page_has_an_end() {
    let edge = Edge::new();
    let zone: ZoneId = edge.zone().parse().unwrap();
    let mut document = edge.post(&edge.records(), r#"{"type":"A","name":"a","content":"192.0.2.1"}"#).result();
    document["comment"] = Value::String("x".repeat(900_000));
    for number in 1..=12 {
        let id = RecordId::from_bytes([number; 16]);
        document["id"] = json!(id.to_string());
        commit(&edge.store, vec![put(Key::record(zone, id), &document.to_string())]);
    }
    for (query, expect) in [("", "400 10414"), ("?per_page=12", "400 10414"), ("?per_page=12&page=2", "200")] {
        let answer = edge.get(&format!("{}{query}", edge.records()));
        assert_eq!(answer.verdict(), expect, "{query}");
        assert_eq!(answer.text.contains("smaller per_page"), expect != "200", "{query}");
    }
    let info = edge.get(&format!("{}?per_page=5", edge.records())).json()["result_info"].take();
    assert_eq!(info, json!({"page": 1, "per_page": 5, "count": 5, "total_count": 13, "total_pages": 3}));
    let info = edge.get(&format!("{}?per_page=5000000&name=none", edge.records())).json()["result_info"].take();
    assert_eq!(info["per_page"], 10_000, "what the page may have, not what was asked for");
}

#[test]
fn a_challenge_as_a_shell_script_sets_it() {
    let edge = Edge::new();
    let zones = edge.get("/zones?name=bartizan.localhost").text;
    assert!(zones.contains(r#""total_count":1"#));
    let id = zones.split(r#"[{"id":""#).nth(1).unwrap().split('"').next().unwrap();
    let records = format!("/zones/{id}/dns_records");
    let name = "_acme-challenge.bartizan.localhost";
    let body = format!(r#"{{"type":"TXT","name":"{name}","content":"proof","ttl":120}}"#);
    assert!(edge.post(&records, &body).text.contains("proof"));
    assert!(edge.post(&records, &body).text.contains("An identical record already exists."));
    let found = edge.get(&format!("{records}?type=TXT&name={name}&content=proof")).text;
    assert!(found.contains(r#""success":true"#) && found.contains(r#""count":1,"#), "{found}");
    let record = found.split(r#""id":""#).nth(1).unwrap().split('"').next().unwrap();
    assert!(edge.call("DELETE", &format!("{records}/{record}"), "").text.contains(r#""success":true"#));
}

/// All that may go wrong when many change one name at once does not: they queue up.
#[test]
fn many_at_once() {
    let edge = Edge::new();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let edge = &edge;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                for number in 0..8 {
                    let body = format!(r#"{{"type":"A","name":"same","content":"192.0.2.{}"}}"#, 8 * client + number);
                    let request = http::Request::post(format!("/client/v4{}", edge.records()))
                        .header("authorization", format!("Bearer {}", crate::edge::TOKEN))
                        .body(axum::body::Body::from(body))
                        .unwrap();
                    let response = runtime.block_on(tower::ServiceExt::oneshot(edge.router.clone(), request)).unwrap();
                    assert_eq!(response.status(), 200);
                }
            });
        }
    });
    assert_eq!(edge.get(&format!("{}?name=same", edge.records())).json()["result_info"]["total_count"], 64);
}

/// Nothing is below a DNAME (RFC 6672 §2.4), whichever of both comes first.
#[test]
fn a_dname_is_alone_with_what_is_below_it() {
    let edge = Edge::new();
    let dname = |name: &str| format!(r#"{{"type":"DNAME","name":"{name}","content":"elsewhere.test"}}"#);
    let a = |name: &str| format!(r#"{{"type":"A","name":"{name}","content":"192.0.2.1"}}"#);
    for (body, expect) in [
        (dname("tree"), "200"),
        (a("tree"), "200"),
        (a("x.tree"), "400 1004 /name"),
        (a("y.x.tree"), "400 1004 /name"),
        (a("xtree"), "200"),
        (dname("x.tree"), "400 1004 /name"),
        (a("a.above"), "200"),
        (dname("above"), "400 1004 /name"),
        (dname("a.above"), "200"),
        (dname("@"), "400 1004 /name"),
        (dname("*.w"), "400 1004 /name"),
    ] {
        assert_eq!(edge.post(&edge.records(), &body).verdict(), expect, "{body}");
    }
    let id = |name: &str, kind: &str| {
        let found = edge.get(&format!("{}?name={name}.bartizan.localhost&type={kind}", edge.records())).result();
        found[0]["id"].as_str().unwrap().to_owned()
    };
    // What goes in the same change is not in the way, and what moves counts where it comes to.
    let gone = [id("a.above", "A"), id("a.above", "DNAME")].map(|id| json!({"id": id}));
    let batch = json!({"deletes": gone, "posts": [serde_json::from_str::<Value>(&dname("above")).unwrap()]});
    let path = format!("{}/batch", edge.records());
    assert_eq!(edge.post(&path, &batch.to_string()).verdict(), "200");
    let moved = format!("{}/{}", edge.records(), id("xtree", "A"));
    assert_eq!(edge.call("PATCH", &moved, r#"{"name":"x.above"}"#).verdict(), "400 1004 /name");
    let batch = json!({"posts": [{"type": "A", "name": "z.above", "content": "192.0.2.1"}]});
    assert_eq!(edge.post(&path, &batch.to_string()).verdict(), "400 1004 /name");
}

/// The zone's own name may stand for another one, and not for itself.
#[test]
fn an_apex_stands_for_no_loop() {
    let edge = Edge::new();
    let other = edge.new_zone("other.example");
    let other = format!("/zones/{other}/dns_records");
    let cname = |name: &str, target: &str| format!(r#"{{"type":"CNAME","name":"{name}","content":"{target}"}}"#);
    for (path, body, expect) in [
        (&other, cname("@", "www.bartizan.localhost"), "200"),
        (&edge.records(), cname("www", "b.other.example"), "200"),
        (&other, cname("b", "other.example"), "400 9007 /content"),
        (&other, cname("c", "b.other.example"), "200"),
        (&other, cname("b", "c.other.example"), "200"),
        (&edge.records(), cname("free", "cdn.test"), "200"),
    ] {
        assert_eq!(edge.post(path, &body).verdict(), expect, "{body}");
    }
}

/// Types that are not known are kept as their octets (RFC 3597), and the question for all addresses is no type.
#[test]
fn types_by_their_number() {
    let edge = Edge::new();
    for (body, expect) in [
        (r#"{"type":"TYPE65280","name":"n","content":"\\# 2 ABcd"}"#, "200"),
        (r#"{"type":"TYPE65280","name":"n","content":"\\# 2 abcd"}"#, "400 81058"),
        (r#"{"type":"TYPE65280","name":"n","content":"\\# 3 abcd"}"#, "400 9007 /content"),
        (r#"{"type":"TYPE65535","name":"n","content":"\\# 2 abcd"}"#, "400 1004 /type"),
        (r#"{"type":"TYPE255","name":"n","content":"\\# 2 abcd"}"#, "400 1004 /type"),
        (r#"{"type":"CDS","name":"@","content":"0 0 0 00"}"#, "400 1004 /type"),
    ] {
        let verdict = edge.post(&edge.records(), body).verdict();
        assert!(verdict.starts_with(expect), "{body}: {verdict}");
    }
    let kept = edge.get(&format!("{}?type=TYPE65280", edge.records())).result();
    assert_eq!(kept[0]["content"], r"\# 2 abcd");
}

/// Records that together do not fit an answer, however they came to be, can be taken away one by one, and none be added.
#[test]
fn a_set_that_is_too_large_gets_smaller() {
    use bartizan_names::RecordId;
    use bartizan_store::Key;
    let edge = Edge::new();
    let body = |number: usize| {
        let content = format!("\"{number:05}{}\"", "x".repeat(250));
        serde_json::json!({"type": "TXT", "name": "large", "content": content}).to_string()
    };
    let made = edge.post(&edge.records(), &body(0)).result();
    let zone = edge.zone().parse().unwrap();
    let of = |id: RecordId| Key::record(zone, id);
    let document = edge.store.read().unwrap().get(&of(made["id"].as_str().unwrap().parse().unwrap())).unwrap().unwrap();
    let ops = (1..=400_u128).map(|number| {
        let id = RecordId::from_bytes(number.to_be_bytes());
        let json = document.value.json.replace(made["id"].as_str().unwrap(), &id.to_string());
        crate::edge::put(of(id), &json.replace("\\\"00000", &format!("\\\"{number:05}")))
    });
    crate::edge::commit(&edge.store, ops.collect());
    assert_eq!(edge.post(&edge.records(), &body(999)).verdict(), "400 1004");
    for number in 1..=3_u128 {
        let one = format!("{}/{}", edge.records(), RecordId::from_bytes(number.to_be_bytes()));
        assert_eq!(edge.call("DELETE", &one, "").verdict(), "200");
    }
    assert_eq!(edge.post(&edge.records(), &body(999)).verdict(), "400 1004");
}
