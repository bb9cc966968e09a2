//! Certificates for names in a zone of ours, by ACME: certbot, unmodified, with a token for that zone, from Debian's pebble,
//! which asks our DNS for the challenges.

use std::process::Command;

use bartizan_e2e::origin::free;
use bartizan_e2e::{Edge, Program, finish, python_with_sdk};
use serde_json::json;

#[test]
fn certbot_gets_a_certificate_for_a_zone_and_all_below() {
    let edge = Edge::start();
    finish(&mut edge.command(["zone", "create", "acme.example"])).ok();
    let words = ["token", "create", "certbot", "--can", "dns", "--zone", "acme.example"];
    let token = finish(&mut edge.command(words)).ok();
    certbot(&edge, "acme.example", token.trim());
}

/// A certificate for a zone and all below, with this token.
pub(crate) fn certbot(edge: &Edge, zone: &str, token: &str) {
    let file = |name: &str| edge.folder().join(name).to_string_lossy().into_owned();
    let write = |name: &str, text: &str| std::fs::write(file(name), text).expect("a file of the test");

    let (certificate, key) = (file("pebble.pem"), file("pebble.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    finish(openssl.args(["-keyout", &key, "-out", &certificate])).ok();
    let (acme, management) = (free([127, 0, 0, 1].into()), free([127, 0, 0, 1].into()));
    let config = json!({"pebble": {
        "listenAddress": acme, "managementListenAddress": management, "certificate": certificate, "privateKey": key,
        "httpPort": 1, "tlsPort": 1, "ocspResponderURL": "", "externalAccountBindingRequired": false
    }});
    write("pebble.json", &config.to_string());
    let mut pebble = Command::new("pebble");
    pebble.args(["-config", &file("pebble.json"), "-dnsserver", &edge.dns().to_string()]);
    // Nothing is left to chance: it neither waits for a while nor refuses every other call.
    pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0").env("PEBBLE_AUTHZREUSE", "0");
    let mut pebble = Program::start("pebble", &mut pebble);
    pebble.line("where it listens", |line| line.contains("ACME directory available").then_some(()));

    write("token.ini", &format!("dns_cloudflare_api_token = {}\n", token));
    let mut certbot = Command::new(python_with_sdk().with_file_name("certbot"));
    certbot.args(["certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email"]);
    certbot.args(["--server", &format!("https://localhost:{}/dir", acme.port())]);
    certbot.args(["--dns-cloudflare", "--dns-cloudflare-credentials", &file("token.ini")]);
    certbot.args(["--dns-cloudflare-propagation-seconds", "0", "-d", zone, "-d", &format!("*.{zone}")]);
    for folder in ["config", "work", "logs"] {
        certbot.args([&format!("--{folder}-dir"), &file(folder)]);
    }
    certbot.env("CLOUDFLARE_BASE_URL", edge.api_url()).env("REQUESTS_CA_BUNDLE", &certificate);
    finish(&mut certbot).ok();

    let chain = file(&format!("config/live/{zone}/fullchain.pem"));
    let names = finish(Command::new("openssl").args(["x509", "-noout", "-ext", "subjectAltName", "-in", &chain])).ok();
    assert!(names.contains(&format!("DNS:*.{zone}")) && names.contains(&format!("DNS:{zone}")), "{names}");
    // The challenges are gone.
    assert!(edge.dig(&[&format!("_acme-challenge.{zone}"), "TXT"]).answers().is_empty());
}
