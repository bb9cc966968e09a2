//! The official SDKs, unmodified: round trips, and every reply against the models of one.

use std::process::Command;

use bartizan_e2e::origin::here;
use bartizan_e2e::{Edge, finish, python_with_sdk, rust_client};

#[test]
fn the_python_sdk_does_its_round_trip() {
    let edge = Edge::start();
    let email = edge.ready()["email"].as_str().expect("an e-mail");
    let key = edge.ready()["key"].as_str().expect("a key");
    for (style, credentials) in [
        ("token", vec![("CLOUDFLARE_API_TOKEN", edge.token())]),
        ("e-mail and key", vec![("CLOUDFLARE_EMAIL", email), ("CLOUDFLARE_API_KEY", key)]),
    ] {
        let out = finish(
            Command::new(python_with_sdk())
                .arg(here("clients/sdk_round_trip.py"))
                .arg(edge.account())
                .env("CLOUDFLARE_BASE_URL", edge.api_url())
                .envs(credentials),
        )
        .ok();
        assert_eq!(out.trim(), "round trip done", "{style}");
    }
}

/// It fails when a reply is not as its models are: a field of another type, or one that is missing.
#[test]
fn every_reply_is_as_the_models_of_the_sdk_say() {
    let edge = Edge::start_with(&["--pool", "127.100.0.0/16"]);
    let zone = edge.post("/zones", &serde_json::json!({"name": "strict.example"}));
    let out = finish(
        Command::new(python_with_sdk())
            .arg(here("clients/sdk_strict.py"))
            .args([edge.account(), zone["id"].as_str().expect("an id")])
            .env("CLOUDFLARE_BASE_URL", edge.api_url())
            .env("CLOUDFLARE_API_TOKEN", edge.token()),
    )
    .ok();
    assert_eq!(out.trim(), "every reply is as the models say");
}

#[test]
fn the_sdk_for_javascript_does_its_round_trip() {
    let edge = Edge::start();
    let out = finish(
        Command::new(python_with_sdk().with_file_name("node"))
            .arg(here("clients/sdk_round_trip.mjs"))
            .arg(python_with_sdk().with_file_name("../js/node_modules/cloudflare"))
            .arg(edge.account())
            .env("CLOUDFLARE_BASE_URL", edge.api_url())
            .env("CLOUDFLARE_API_TOKEN", edge.token()),
    )
    .ok();
    assert_eq!(out.trim(), "round trip done");
}

/// The crate reads each reply as its own types: user details, accounts, zones, records, tunnels and routes.
#[test]
fn the_crate_for_rust_does_its_round_trip() {
    let edge = Edge::start();
    let words = [edge.api_url(), edge.token(), edge.account(), edge.domain()];
    assert_eq!(finish(Command::new(rust_client()).args(words)).ok().trim(), "round trip done");
}
