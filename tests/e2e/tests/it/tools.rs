//! Tools that people have already, unmodified and as they come: octoDNS, and certbot's plugin with a token for one zone.

use std::path::Path;
use std::process::Command;

use bartizan_e2e::origin::here;
use bartizan_e2e::{Edge, finish, python_with_sdk, wait};
use serde_json::json;

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
sub:
  - {type: NS, values: [ns1.example.net., ns2.example.net.]}
  - {type: DS, value: {key_tag: 60485, algorithm: 13, digest_type: 2, digest: DIGEST}}
_sip._tcp: {type: SRV, value: {priority: 1, weight: 2, port: 5060, target: sip.octodns.example.}}
_443._tcp.www:
  type: TLSA
  value: {certificate_usage: 3, selector: 1, matching_type: 1, certificate_association_data: DIGEST}
host:
  - {type: SSHFP, value: {algorithm: 4, fingerprint_type: 2, fingerprint: DIGEST}}
  - type: LOC
    value:
      lat_degrees: 31
      lat_minutes: 58
      lat_seconds: 52.1
      lat_direction: S
      long_degrees: 115
      long_minutes: 49
      long_seconds: 11.7
      long_direction: E
      altitude: 20
      size: 10
      precision_horz: 10
      precision_vert: 2
number:
  type: NAPTR
  value: {order: 100, preference: 10, flags: U, service: E2U+sip, regexp: '!^.*$!sip:a@b.example!', replacement: .}
pointer: {type: PTR, values: [host.octodns.example.]}
shop: {type: HTTPS, value: {svcpriority: 1, targetname: ., svcparams: {alpn: [h3, h2], ipv4hint: [192.0.2.1]}}}
_dns: {type: SVCB, value: {svcpriority: 1, targetname: host.octodns.example., svcparams: {alpn: [dot]}}}
"#;

/// What `dig` shows for each type that only lately has a name in its answers.
const SHOWN: [(&str, &str, &str); 8] = [
    ("sub.octodns.example", "DS", "DS 60485 13 2 DIGEST"),
    ("_443._tcp.www.octodns.example", "TLSA", "TLSA 3 1 1 DIGEST"),
    ("host.octodns.example", "SSHFP", "SSHFP 4 2 DIGEST"),
    ("host.octodns.example", "LOC", "LOC 31 58 52.100 S 115 49 11.700 E 20.00m 10m 10m 2m"),
    ("number.octodns.example", "NAPTR", r#"NAPTR 100 10 "U" "E2U+sip" "!^.*$!sip:a@b.example!" ."#),
    ("pointer.octodns.example", "PTR", "PTR host.octodns.example."),
    ("shop.octodns.example", "HTTPS", r#"HTTPS 1 . alpn="h3,h2" ipv4hint=192.0.2.1"#),
    ("_dns.octodns.example", "SVCB", r#"SVCB 1 host.octodns.example. alpn="dot""#),
];

/// SHA-256 of nothing.
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Runs octoDNS, which tells what it does on stderr.
fn octodns_sync(edge: &Edge, config: &Path, words: &[&str]) -> String {
    let finished = finish(
        Command::new(python_with_sdk())
            .args(["-m", "octodns.cmds.sync", "--config-file"])
            .arg(config)
            .args(words)
            .env("EDGE_TOKEN", edge.token())
            .env("EDGE_ACCOUNT", edge.account())
            .env("EDGE_API", edge.api_url()),
    );
    assert!(finished.status.success(), "{}{}", finished.out, finished.err);
    finished.err
}

/// Plan, apply, and a second plan without anything in it, with the provider's defaults and all types that it has.
#[test]
fn octodns_with_its_default_configuration() {
    let edge = Edge::start();
    let (config, zone) = (edge.folder().join("octodns.yaml"), edge.folder().join("octodns.example.yaml"));
    std::fs::write(&config, CONFIG.replace("FOLDER", &edge.folder().to_string_lossy())).expect("a file of the test");
    let records = ZONE.replace("DIGEST", DIGEST);
    std::fs::write(&zone, &records).expect("a file of the test");
    let sync = |words: &[&str]| octodns_sync(&edge, &config, words);
    let plan = sync(&[]);
    assert!(plan.contains("Create"), "{plan}");
    sync(&["--doit"]);
    assert_eq!(edge.dig(&["www.octodns.example", "AAAA"]).answers(), ["AAAA 2001:db8::1"]);
    for (name, kind, answer) in SHOWN {
        // Long values come in pieces.
        let shown = edge.dig(&["+nosplit", name, kind]).answers().join("|").to_lowercase();
        assert_eq!(shown, answer.replace("DIGEST", DIGEST).to_lowercase());
    }
    let plan = sync(&[]);
    assert!(plan.contains("No changes were planned"), "{plan}");
    std::fs::write(&zone, records.replace("192.0.2.2", "192.0.2.3")).expect("a file of the test");
    assert!(sync(&["--doit"]).contains("Update"));
    let plan = sync(&[]);
    assert!(plan.contains("No changes were planned"), "{plan}");

    // What we write for it is what it reads, in the order that it insists on.
    let records = &format!("/zones/{}/dns_records", edge.get("/zones?name=octodns.example")[0]["id"].as_str().unwrap());
    for record in [
        json!({"type": "A", "name": "n10", "content": "192.0.2.10", "proxied": true, "comment": "a comment", "tags": ["a:b"]}),
        json!({"type": "A", "name": "n2", "content": "192.0.2.2", "ttl": 1}),
        json!({"type": "TXT", "name": "n2", "content": "a;b \"c\""}),
    ] {
        edge.post(records, &record);
    }
    finish(edge.command(["zone", "export", "octodns.example", "--format", "octodns", "--to"]).arg(&zone)).ok();
    std::fs::write(
        &config,
        CONFIG
            .replace("FOLDER", &edge.folder().to_string_lossy())
            .replace("enforce_order: false", "enforce_order: true"),
    )
    .expect("a file of the test");
    let plan = sync(&[]);
    assert!(plan.contains("No changes were planned"), "{plan}\n{}", std::fs::read_to_string(&zone).unwrap());

    // The way back: what our own import makes of the file is what octoDNS would make of it.
    // But for quotes inside of a text: those of a master file are another text to octoDNS.
    let plain = std::fs::read_to_string(&zone).expect("a file of the test").replace(r#" \"c\""#, " c");
    std::fs::write(&zone, plain).expect("a file of the test");
    finish(&mut edge.command(["zone", "delete", "octodns.example", "--yes"])).ok();
    let import = |words: &[&str]| finish(edge.command(["import", "octodns"]).arg(&zone).args(words));
    let nowhere = import(&[]);
    assert!(nowhere.out.contains("bartizan zone create octodns.example"), "{}{}", nowhere.out, nowhere.err);
    // Names come in no order of their own.
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join("\n")
    };
    let foretold = sorted(import(&["--dry-run"]).ok());
    finish(&mut edge.command(["zone", "create", "octodns.example"])).ok();
    assert_eq!(sorted(import(&["--dry-run"]).ok()), foretold);
    assert!(foretold.contains("22 of 22 records would come into octodns.example"), "{foretold}");
    import(&[]).ok();
    let plan = sync(&[]);
    assert!(plan.contains("No changes were planned"), "{plan}");
    // What is no record refuses its file.
    let records = std::fs::read_to_string(&zone).expect("a file of the test");
    std::fs::write(&zone, format!("{records}geo: {{type: A, value: 192.0.2.1, dynamic: {{pools: {{}}}}}}\n"))
        .expect("a file of the test");
    let refused = import(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.out.contains("its dynamic has no counterpart here"), "{}{}", refused.out, refused.err);
}

/// A zone's own name that stands for another one: what octoDNS calls ALIAS is a CNAME in the dialect.
#[test]
fn octodns_with_an_alias() {
    let edge = Edge::start();
    let folder = edge.folder().to_string_lossy().into_owned();
    let (config, zone) = (edge.folder().join("octodns.yaml"), edge.folder().join("octodns.example.yaml"));
    std::fs::write(&config, CONFIG.replace("FOLDER", &folder)).expect("a file of the test");
    let sync = |words: &[&str]| octodns_sync(&edge, &config, words);
    let www = "www: {type: A, value: 192.0.2.1}\n";
    for (target, octodns) in [
        ("www.octodns.example", ""),
        ("target.octodns.example", ", octodns: {cloudflare: {auto-ttl: true}}"),
        ("www.octodns.example", ", octodns: {cloudflare: {proxied: true}}"),
    ] {
        let records = format!("'': {{type: ALIAS, value: {target}.{octodns}}}\n{www}");
        let records = records + "target: {type: A, value: 192.0.2.2}\n";
        std::fs::write(&zone, &records).expect("a file of the test");
        sync(&["--doit"]);
        let plan = sync(&[]);
        assert!(plan.contains("No changes were planned"), "{records}{plan}");
        let address = match (octodns.contains("proxied"), target.starts_with("www")) {
            (true, _) => "A 127.0.0.1",
            (false, true) => "A 192.0.2.1",
            (false, false) => "A 192.0.2.2",
        };
        wait::until_eq("the alias is served", &vec![address.to_owned()], || {
            edge.dig(&["octodns.example", "A"]).answers()
        });
        // Out in its own words, and in again.
        finish(edge.command(["export", "octodns", "octodns.example", "--to"]).arg(&zone)).ok();
        let exported = std::fs::read_to_string(&zone).expect("a file of the test");
        assert!(exported.contains(r#""type":"ALIAS""#) && !exported.contains("CNAME"), "{exported}");
        let plan = sync(&[]);
        assert!(plan.contains("No changes were planned"), "{exported}{plan}");
    }
    finish(&mut edge.command(["zone", "delete", "octodns.example", "--yes"])).ok();
    finish(&mut edge.command(["zone", "create", "octodns.example"])).ok();
    finish(edge.command(["import", "octodns"]).arg(&zone)).ok();
    let plan = sync(&[]);
    assert!(plan.contains("No changes were planned"), "{plan}");
}

/// The types that octoDNS does not have, made by the command line, and a delegation, as another program reads them.
#[test]
fn types_by_hand() {
    let edge = Edge::start();
    finish(&mut edge.command(["zone", "create", "types.example"])).ok();
    let key = "bDts/tc=";
    for (name, kind, content, shown) in [
        ("k", "CERT", format!("PKIX 1 RSASHA256 {key}"), format!("CERT PKIX 1 RSASHA256 {key}")),
        ("k", "DNSKEY", format!("256 3 15 {key}"), format!("DNSKEY 256 3 15 {key}")),
        ("k", "OPENPGPKEY", key.to_owned(), format!("OPENPGPKEY {key}")),
        ("k", "SMIMEA", format!("3 1 1 {DIGEST}"), format!("SMIMEA 3 1 1 {}", DIGEST.to_uppercase())),
        ("k", "URI", "10 1 ftp://example.com/".to_owned(), r#"URI 10 1 "ftp://example.com/""#.to_owned()),
    ] {
        let name = format!("{name}.types.example");
        finish(&mut edge.command(["record", "create", &name, kind, &content])).ok();
        assert_eq!(edge.dig(&["+nosplit", &name, kind]).answers(), [shown]);
    }
    for (name, kind, content) in [("cut", "NS", "ns.cut.types.example"), ("ns.cut", "A", "192.0.2.1")] {
        finish(&mut edge.command(["record", "create", &format!("{name}.types.example"), kind, content])).ok();
    }
    let referral = edge.dig(&["www.cut.types.example", "A"]);
    assert!(referral.answers().is_empty() && !referral.has_flag("aa"), "{referral:?}");
    let refused = finish(&mut edge.command(["record", "create", "types.example", "SOA", "a b 1 2 3 4 5"]));
    assert!(refused.err.contains("made by the edge"), "{}", refused.err);
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
        ("zone delete certbot.example --yes", 5),
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
    let did = |line: &str| line.contains("delete record") && line.contains("certbot from 127.0.0.1");
    assert!(history.lines().any(did), "{history}");
    finish(&mut edge.command(["token", "delete", "certbot", "--yes"])).ok();
    assert_eq!(with_new("zone list").status.code(), Some(5));
    finish(&mut edge.command(["token", "show", "certbot"])).failed_with(3);
}
