//! Tools that people have already, unmodified and as they come: octoDNS, and certbot's plugin with a token for one zone.

use std::process::Command;

use bartizan_e2e::origin::here;
use bartizan_e2e::{Edge, finish, python_with_sdk};

const CONFIG: &str = "\
providers:
  files:
    class: octodns.provider.yaml.YamlProvider
    directory: FOLDER
    default_ttl: 300
    enforce_order: false
  edge:
    class: octodns_cloudflare.CloudflareProvider
    token: env/EDGE_TOKEN
    account_id: env/EDGE_ACCOUNT
    api_url: env/EDGE_API
zones:
  octodns.example.:
    sources: [files]
    targets: [edge]
";

const ZONE: &str = r#"
'':
  - {type: MX, value: {preference: 10, exchange: mail.octodns.example.}}
  - {type: TXT, values: [v=spf1 -all, 'a text\; and more']}
  - {type: CAA, value: {flags: 0, tag: issue, value: ca.example.net}}
www:
  - {type: A, values: [192.0.2.1, 192.0.2.2]}
  - {type: AAAA, value: '2001:db8::1'}
alias: {type: CNAME, value: www.octodns.example.}
sub: {type: NS, values: [ns1.example.net., ns2.example.net.]}
_sip._tcp: {type: SRV, value: {priority: 1, weight: 2, port: 5060, target: sip.octodns.example.}}
"#;

/// Plan, apply, and a second plan without anything in it, with the provider's defaults.
#[test]
fn octodns_with_its_default_configuration() {
    let edge = Edge::start();
    let (config, zone) = (edge.folder().join("octodns.yaml"), edge.folder().join("octodns.example.yaml"));
    std::fs::write(&config, CONFIG.replace("FOLDER", &edge.folder().to_string_lossy())).expect("a file of the test");
    std::fs::write(&zone, ZONE).expect("a file of the test");
    // It tells what it does on stderr.
    let sync = |words: &[&str]| {
        let finished = finish(
            Command::new(python_with_sdk())
                .args(["-m", "octodns.cmds.sync", "--config-file"])
                .arg(&config)
                .args(words)
                .env("EDGE_TOKEN", edge.token())
                .env("EDGE_ACCOUNT", edge.account())
                .env("EDGE_API", edge.api_url()),
        );
        assert!(finished.status.success(), "{}{}", finished.out, finished.err);
        finished.err
    };
    let plan = sync(&[]);
    assert!(plan.contains("Create"), "{plan}");
    sync(&["--doit"]);
    assert_eq!(edge.dig(&["www.octodns.example", "AAAA"]).answers(), ["AAAA 2001:db8::1"]);
    let plan = sync(&[]);
    assert!(plan.contains("No changes were planned"), "{plan}");
    std::fs::write(&zone, ZONE.replace("192.0.2.2", "192.0.2.3")).expect("a file of the test");
    assert!(sync(&["--doit"]).contains("Update"));
    let plan = sync(&[]);
    assert!(plan.contains("No changes were planned"), "{plan}");
}

/// A token for one zone's records, made by the command line as a person makes it: certbot's plugin works with it, and
/// nobody can do anything else with it.
#[test]
fn certbot_with_a_token_for_one_zone() {
    let edge = Edge::start();
    for zone in ["certbot.example", "other.example"] {
        finish(&mut edge.command(["zone", "create", zone])).ok();
    }
    let words = ["token", "create", "certbot", "--can", "dns", "--zone", "certbot.example", "--from", "127.0.0.0/8"];
    let made = finish(&mut edge.command(words));
    let token = made.ok();
    let out = finish(
        Command::new(python_with_sdk())
            .arg(here("clients/certbot_plugin.py"))
            .args(["certbot.example", "other.example"])
            .env("CLOUDFLARE_BASE_URL", edge.api_url())
            .env("EDGE_TOKEN", token.trim()),
    )
    .ok();
    assert_eq!(out.trim(), "certbot done");

    let as_limited = |line: &str| {
        let mut command = edge.command(line.split(' '));
        finish(command.env("BARTIZAN_API_TOKEN", token.trim()))
    };
    for (line, code) in [
        ("record create www.certbot.example A 192.0.2.1", 0),
        ("record create www.other.example A 192.0.2.1", 3),
        ("zone show other.example", 3),
        ("zone delete certbot.example", 5),
        ("tunnel list", 5),
        ("token list", 5),
        ("status", 5),
    ] {
        let finished = as_limited(line);
        assert_eq!(finished.status.code(), Some(code), "{line}\n{}\n{}", finished.out, finished.err);
    }
    let zones = as_limited("zone list").ok();
    assert!(zones.contains("certbot.example") && !zones.contains("other.example"), "{zones}");

    let shown = finish(&mut edge.command(["token", "show", "certbot"])).ok();
    assert!(shown.contains("DNS Write") && shown.contains("only from 127.0.0.0/8"), "{shown}");
    assert!(!shown.contains(token.trim()), "its text is shown once");
    let rolled = finish(&mut edge.command(["token", "roll", "certbot"])).ok();
    assert_eq!(as_limited("zone list").status.code(), Some(5), "the old text has ended");
    let with_new = |line: &str| finish(edge.command(line.split(' ')).env("BARTIZAN_API_TOKEN", rolled.trim()));
    with_new("zone show certbot.example").ok();
    assert!(finish(&mut edge.command(["token", "list"])).ok().contains("certbot"));
    let history = finish(&mut edge.command(["history", "--zone", "certbot.example"])).ok();
    let did =
        |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ").contains("certbot 127.0.0.1 delete record");
    assert!(history.lines().any(did), "{history}");
    finish(&mut edge.command(["token", "delete", "certbot"])).ok();
    assert_eq!(with_new("zone list").status.code(), Some(5));
    finish(&mut edge.command(["token", "show", "certbot"])).failed_with(3);
}
