//! The official Python SDK, unmodified, does a round trip.

use std::process::Command;

use bartizan_e2e::origin::here;
use bartizan_e2e::{Edge, finish, python_with_sdk};

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
