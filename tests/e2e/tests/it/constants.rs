//! Clients that know one URL only, unmodified: lexicon, Ansible's module, ddclient and inadyn. They run where the vendor's
//! name leads to the edge ([`Vendor`]).

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use bartizan_e2e::{Edge, Finished, Vendor, finish, python_with_sdk};

/// An edge with the zone `home.example`, under the vendor's name at an address of its own.
fn edge(address: &str) -> (Edge, Vendor) {
    let edge = Edge::start_with(&["--dns", &format!("{address}:53")]);
    finish(&mut edge.command(["zone", "create", "home.example"])).ok();
    let vendor = Vendor::start(&edge, address);
    (edge, vendor)
}

/// A token that may change the records of the zone, and nothing else.
fn token(edge: &Edge) -> String {
    let words = ["token", "create", "home", "--can", "dns", "--zone", "home.example"];
    finish(&mut edge.command(words)).ok().trim().to_owned()
}

/// A file for one of the clients, which only its owner reads: some look.
fn write(edge: &Edge, name: &str, text: &str) -> std::path::PathBuf {
    let file = edge.folder().join(name);
    std::fs::write(&file, text).expect("a file of the test");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a file of the test");
    file
}

/// A program that says something.
fn script(edge: &Edge, name: &str, line: &str) -> String {
    let file = write(edge, name, &format!("#!/bin/sh\n{line}\n"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).expect("a file of the test");
    file.to_string_lossy().into_owned()
}

fn answers(edge: &Edge, name: &str, kind: &str) -> Vec<String> {
    edge.dig(&[name, kind]).answers()
}

#[test]
fn lexicon_makes_lists_changes_and_deletes() {
    let (edge, vendor) = edge("127.0.71.1");
    let token = token(&edge);
    let lexicon = |line: &[&str]| -> Finished {
        let mut command = Command::new(python_with_sdk().with_file_name("lexicon"));
        command.args(["cloudflare", "--auth-token", &token]).args(line);
        finish(&mut vendor.lead(&command))
    };
    for line in [
        &["create", "home.example", "TXT", "--name", "_acme-challenge.www", "--content", "one", "--ttl", "120"][..],
        // A second time is as good as done.
        &["create", "home.example", "TXT", "--name", "_acme-challenge.www", "--content", "one", "--ttl", "120"],
        &["create", "home.example", "TXT", "--name", "_acme-challenge.www.home.example.", "--content", "two"],
        &["create", "home.example", "MX", "--name", "@", "--content", "mail.home.example", "--priority", "10"],
        &["create", "home.example", "SRV", "--name", "_sip._tcp", "--content", "1 2 5060 sip.home.example"],
    ] {
        assert!(lexicon(line).ok().contains("True"), "{line:?}");
    }
    assert_eq!(answers(&edge, "_sip._tcp.home.example", "SRV"), ["SRV 1 2 5060 sip.home.example."]);
    let listed = lexicon(&["list", "home.example", "TXT"]).ok();
    assert_eq!(listed.matches("_acme-challenge.www.home.example").count(), 2, "{listed}");
    let line = ["update", "home.example", "SRV", "--name", "_sip._tcp", "--content", "1 2 5061 sip.home.example"];
    assert!(lexicon(&line).ok().contains("True"));
    assert_eq!(answers(&edge, "_sip._tcp.home.example", "SRV"), ["SRV 1 2 5061 sip.home.example."]);
    lexicon(&["delete", "home.example", "TXT", "--name", "_acme-challenge.www", "--content", "one"]).ok();
    assert_eq!(answers(&edge, "_acme-challenge.www.home.example", "TXT"), ["TXT \"two\""]);
}

#[test]
fn ddclient_and_inadyn_keep_addresses_up_to_date() {
    let (edge, vendor) = edge("127.0.71.2");
    let (token, certificate) = (token(&edge), vendor.certificate().to_string_lossy().into_owned());
    for (kind, content) in [("A", "192.0.2.1"), ("AAAA", "2001:db8::1")] {
        finish(&mut edge.command(["record", "create", "at.home.example", kind, content])).ok();
    }
    let file = |name: &str| edge.folder().join(name).to_string_lossy().into_owned();

    let (ours4, ours6) = (script(&edge, "ours4", "echo 192.0.2.7"), script(&edge, "ours6", "echo 2001:db8::7"));
    let config = format!(
        "ssl=yes\nssl_ca_file={certificate}\nuse=no\nusev4=cmdv4, cmdv4={ours4}\nusev6=cmdv6, cmdv6={ours6}\n\
         protocol=cloudflare, zone=home.example, server=api.cloudflare.com/client/v4, login=token, password={token} \
         at.home.example\n"
    );
    let mut ddclient = Command::new("ddclient");
    ddclient.args(["-foreground", "-daemon=0", "-verbose", "-noquiet", "-file"]);
    ddclient.arg(write(&edge, "ddclient.conf", &config)).args(["-cache", &file("ddclient.cache")]);
    let finished = finish(&mut vendor.lead(&ddclient));
    let said = format!("{}{}", finished.out, finished.err);
    assert_eq!(said.matches("SUCCESS:").count(), 2, "{said}");
    assert_eq!(answers(&edge, "at.home.example", "A"), ["A 192.0.2.7"], "{said}");
    assert_eq!(answers(&edge, "at.home.example", "AAAA"), ["AAAA 2001:db8::7"], "{said}");

    // It changes what is there, and makes what is not.
    let config = format!(
        "ca-trust-file = {certificate}\nprovider cloudflare.com {{\n  username = home.example\n  password = {token}\n  \
         hostname = {{ \"at.home.example\", \"new.home.example\" }}\n  checkip-command = \"echo 198.51.100.9\"\n  ttl = 120\n}}\n"
    );
    let mut inadyn = Command::new("inadyn");
    inadyn.args(["--once", "--force", "--foreground", "--no-pidfile", "--cache-dir", &file(""), "--config"]);
    finish(&mut vendor.lead(inadyn.arg(write(&edge, "inadyn.conf", &config)))).ok();
    for name in ["at.home.example", "new.home.example"] {
        assert_eq!(answers(&edge, name, "A"), ["A 198.51.100.9"]);
    }
}

const PLAY: &str = "\
- hosts: localhost
  gather_facts: false
  module_defaults:
    community.general.cloudflare_dns: {zone: home.example, api_token: \"{{ lookup('env', 'EDGE_TOKEN') }}\"}
  tasks:
    - community.general.cloudflare_dns: {record: www, type: A, value: 192.0.2.1, proxied: true}
    - community.general.cloudflare_dns: {record: www, type: AAAA, value: '2001:DB8::1', proxied: true}
    - community.general.cloudflare_dns: {record: '@', type: TXT, value: v=spf1 -all, ttl: 300}
    - community.general.cloudflare_dns:
        {service: sip, proto: tcp, port: 5060, priority: 1, weight: 2, type: SRV, value: sip.home.example}
    - community.general.cloudflare_dns: {record: '@', type: CAA, flag: 0, tag: issue, value: ca.example}
    - community.general.cloudflare_dns: {record: gone, type: A, value: 192.0.2.9, state: absent}
";

/// A play that is run twice changes something once.
#[test]
fn ansible_changes_what_differs() {
    let (edge, vendor) = edge("127.0.71.3");
    let token = token(&edge);
    finish(&mut edge.command(["record", "create", "gone.home.example", "A", "192.0.2.9"])).ok();
    let play = write(&edge, "play.yaml", PLAY);
    let run = || {
        let mut ansible = Command::new(python_with_sdk().with_file_name("ansible-playbook"));
        ansible.args(["--connection", "local", "--inventory", "localhost,"]).arg(&play);
        let python = format!("ansible_python_interpreter={}", python_with_sdk().display());
        ansible.args(["--extra-vars", &python]).env("EDGE_TOKEN", &token).env("LC_ALL", "C.UTF-8");
        ansible.env("ANSIBLE_COLLECTIONS_PATH", python_with_sdk().with_file_name("../collections"));
        finish(&mut vendor.lead(&ansible)).ok()
    };
    let first = run();
    assert!(first.contains("ok=6") && first.contains("changed=6"), "{first}");
    assert_eq!(answers(&edge, "_sip._tcp.home.example", "SRV"), ["SRV 1 2 5060 sip.home.example."]);
    assert_eq!(edge.dig(&["gone.home.example", "A"]).status, "NXDOMAIN");
    let second = run();
    assert!(second.contains("ok=6") && second.contains("changed=0"), "{second}");
}
