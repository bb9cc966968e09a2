//! The API against its own document: schemathesis makes calls of it, valid ones and others, and judges the answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use bartizan_e2e::{Edge, finish, python_with_sdk};
use serde_json::{Value, json};

/// What an answer must be. Left out are those that ask for more than the dialect has: it takes what is not in its
/// document, refuses what its document does not know to be wrong (the zone of a name, say), and answers calls without
/// credentials with 400.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,allow_header_conformance,unsupported_method";

/// The same calls in every run, one after the other: of each operation so many that are made up, beside those at the limits of its schema.
const SEED: &str = "7";
const MADE_UP: &str = "4";

/// One of each thing that paths name, by the name of the parameter; those of access rules and tokens by their places.
fn things(edge: &Edge, name: &str, port: u16) -> BTreeMap<String, String> {
    let zone = edge.post("/zones", &json!({"name": format!("{name}.example")}));
    let zone_path = format!("/zones/{}", zone["id"].as_str().expect("an id"));
    let account_path = format!("/accounts/{}", edge.account());
    let rule = json!({"mode": "block", "configuration": {"target": "ip", "value": format!("192.0.2.{port}")}});
    let policy = json!({
        "effect": "allow", "permission_groups": [{"name": "DNS Write"}],
        "resources": {format!("com.cloudflare.api.account.zone.{}", zone["id"].as_str().expect("an id")): "*"}
    });
    let token = json!({"name": name, "policies": [policy]});
    let mut things = BTreeMap::new();
    let mut keep = |what: &str, thing: &Value| {
        let id = thing["id"].as_str().expect("an id").to_owned();
        things.insert(what.to_owned(), id);
    };
    keep("zone_id", &zone);
    for (what, path, body) in [
        (
            "dns_record_id",
            format!("{zone_path}/dns_records"),
            json!({"type": "A", "name": "a", "content": "192.0.2.1"}),
        ),
        ("tunnel_id", format!("{account_path}/cfd_tunnel"), json!({"name": name})),
        (
            "app_id",
            format!("{zone_path}/spectrum/apps"),
            json!({
                "protocol": format!("tcp/{port}"), "dns": {"name": format!("app.{name}.example")},
                "origin_direct": ["tcp://192.0.2.1:22"]
            }),
        ),
        ("zones rule_id", format!("{zone_path}/firewall/access_rules/rules"), rule.clone()),
        ("accounts rule_id", format!("{account_path}/firewall/access_rules/rules"), rule.clone()),
        ("user rule_id", "/user/firewall/access_rules/rules".to_owned(), rule),
        ("accounts token_id", format!("{account_path}/tokens"), token.clone()),
        ("user token_id", "/user/tokens".to_owned(), token),
    ] {
        keep(what, &edge.post(&path, &body));
    }
    let balancing = |what: &str| format!("{account_path}/load_balancers/{what}");
    let pool = |name: &str| {
        edge.post(&balancing("pools"), &json!({"name": name, "origins": [{"name": "a", "address": "192.0.2.1"}]}))
    };
    keep("monitor_id", &edge.post(&balancing("monitors"), &json!({})));
    let kept_pool = pool(name);
    keep("pool_id", &kept_pool);
    let begun =
        edge.post(&balancing(&format!("pools/{}/preview", kept_pool["id"].as_str().expect("an id"))), &json!({}));
    keep("preview_id", &json!({"id": begun["preview_id"]}));
    let led_to = pool(&format!("{name}-led-to"))["id"].clone();
    let balancer = json!({"name": format!("lb.{name}.example"), "fallback_pool": led_to, "default_pools": [led_to]});
    keep("load_balancer_id", &edge.post(&format!("{zone_path}/load_balancers"), &balancer));
    for (what, path) in [("member_id", "/members"), ("role_id", "/roles")] {
        keep(what, &edge.get(&format!("{account_path}{path}"))[0]);
    }
    keep("pop_id", &edge.get("/bartizan/pops")[0]);
    things.insert("account_id".to_owned(), edge.account().to_owned());
    things.insert("setting_id".to_owned(), "ssl".to_owned());
    things.insert("region_id".to_owned(), "WEU".to_owned());
    things
}

/// Its configuration: credentials, and for each operation ids of things that are there; where we have none, it makes one up.
/// What is deleted is not what the others are about.
fn configuration(edge: &Edge, document: &Value) -> String {
    let (kept, given) = (things(edge, "kept", 22), things(edge, "given", 23));
    let mut text = format!("seed = {SEED}\n[headers]\nAuthorization = \"Bearer {}\"\n", edge.token());
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            let things = if method == "delete" { &given } else { &kept };
            let place = path.split('/').nth(1).unwrap_or_default();
            let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
            let parameters: Vec<String> = names
                .filter_map(|name| {
                    let id = things.get(name).or_else(|| things.get(&format!("{place} {name}")))?;
                    Some(format!("\"path.{name}\" = \"{id}\""))
                })
                .collect();
            let method = method.to_uppercase();
            // An answer that goes on for minutes: the tests of the API look at it.
            if path.ends_with("/live") {
                let _ = write!(text, "[[operations]]\ninclude-name = \"{method} {path}\"\nenabled = false\n");
                continue;
            }
            let _ = write!(
                text,
                "[[operations]]\ninclude-name = \"{method} {path}\"\nparameters = {{ {} }}\n",
                parameters.join(", ")
            );
        }
    }
    text
}

#[test]
fn every_answer_is_as_the_document_says() {
    let mut edge = Edge::start();
    let page = bartizan_e2e::curl::get(&[&format!("{}/openapi.json", edge.api_url())]);
    let document: Value = serde_json::from_slice(&page.body).expect("a document");
    let (file, config) = (edge.folder().join("openapi.json"), edge.folder().join("schemathesis.toml"));
    std::fs::write(&file, &page.body).expect("a file of the test");
    std::fs::write(&config, configuration(&edge, &document)).expect("a file of the test");
    let finished = finish(
        Command::new(python_with_sdk().with_file_name("schemathesis"))
            .current_dir(edge.folder())
            .arg("--config-file")
            .arg(&config)
            .arg("run")
            .arg(&file)
            .args(["--url", edge.api_url(), "--phases", "coverage,fuzzing", "--checks", CHECKS])
            .args(["--max-examples", MADE_UP, "--workers", "1", "--generation-database", "none", "--no-shrink"])
            .args(["--continue-on-failure", "--warnings", "off"]),
    );
    assert!(finished.status.success(), "{}\n{}", finished.out, finished.err);
    let count = |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<u32>().ok());
    let cases = finished.out.lines().map(str::trim).filter(|line| line.contains("generated")).find_map(count);
    assert!(cases.is_some_and(|cases| cases > 1_000), "{}", finished.out);
    assert!(edge.program().is_running());
    let log = edge.program().output();
    assert!(!log.contains("panicked") && !log.contains("an API call failed"), "{log}");
}
