//! What the vendor's posts print of DNS, asked with dig as they print it.

use std::process::Command;

use bartizan_e2e::{Edge, finish, wait};
use serde_json::{Value, json};

fn zone(edge: &Edge, name: &str, records: &[Value]) -> String {
    let zone = edge.post("/zones", &json!({"name": name, "account": {"id": edge.account()}}));
    let path = format!("/zones/{}/dns_records", zone["id"].as_str().expect("an id"));
    for record in records {
        edge.post(&path, record);
    }
    path
}

fn record(name: &str, kind: &str, content: &str) -> Value {
    json!({"name": name, "type": kind, "content": content})
}

/// `dig +short`, line by line as it is printed.
fn short(edge: &Edge, words: &[&str]) -> Vec<String> {
    let (at, port) = (format!("@{}", edge.dns().ip()), edge.dns().port().to_string());
    let printed = finish(Command::new("dig").args(["-r", &at, "-p", &port, "+short"]).args(words)).ok();
    printed.lines().map(str::to_owned).collect()
}

/// "Phishing e-mails mysteriously disappear": a zone that has SPF, DKIM, and a DMARC policy that accepts all.
#[test]
fn the_mail_of_a_phishing_zone_disappears() {
    const ZONE: &str = "astronautrentals.com";
    let edge = Edge::start();
    let spf = "v=spf1 ip4:199.15.212.0/22 ip4:173.245.48.0/20 include:_spf.google.com include:spf1.mcsv.net \
               include:spf.mandrillapp.com include:mail.zendesk.com include:customeriomail.com include:stspg-customer.com \
               -all";
    let dkim = "k=rsa; t=s; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDPtW5iwpXVPiH5FzJ7Nrl8USzuY9zqqzjE0D1r04xDN6qwziDnmgcFNNfMewVKN2D1O+2J9N14hRprzByFwfQW76yojh54Xu3uSbQ3JP0A7k8o8GutRF8zbFUA8n0ZH2y0cIEjMliXY4W4LwPA7m4q0ObmvSjhd63O9d8z1XkUBwIDAQAB";
    let dmarc = "v=DMARC1; p=quarantine; pct=100; rua=mailto:rua@cloudflare.com, mailto:gjqhulld@ag.dmarcian.com";
    let records = zone(
        &edge,
        ZONE,
        &[
            record("@", "TXT", spf),
            record("_domainkey", "TXT", "o=~"),
            record("smtpapi._domainkey", "TXT", dkim),
            record("_dmarc", "TXT", dmarc),
            json!({"name": "@", "type": "MX", "content": "mx.example.net", "priority": 10}),
        ],
    );
    let names = [ZONE, "_domainkey.astronautrentals.com", "smtpapi._domainkey.astronautrentals.com"];
    let texts = |name: &str| {
        let printed: Vec<String> = edge.dig(&[name, "TXT"]).answer.into_iter().map(|record| record.data).collect();
        printed.join(" / ").replace("\\;", ";").replace("\" \"", "")
    };
    // What they are as long as nobody flags the zone: long ones in pieces, and whole.
    let policy = format!("_dmarc.{ZONE}");
    wait::until_eq("all of the zone is served", &format!("\"{dmarc}\""), || texts(&policy));
    for (name, text) in names.iter().zip([spf, "o=~", dkim]) {
        assert_eq!(texts(name), format!("\"{text}\""));
    }
    let stored = edge.get(&records);

    finish(&mut edge.command(["zone", "flag-phishing", ZONE, "on"])).ok();
    wait::until_eq("the policy is another one", &"\"v=DMARC1; p=reject\"".to_owned(), || texts(&policy));
    let servers = edge.dig(&[ZONE, "NS"]).answers();
    for name in names {
        let reply = edge.dig(&[name, "TXT"]);
        assert_eq!((reply.status.as_str(), reply.answer.len()), ("NOERROR", 0), "{}", reply.text);
        let [soa] = &reply.authority[..] else { panic!("one SOA, and not\n{}", reply.text) };
        assert_eq!((soa.name.as_str(), soa.ttl, soa.kind.as_str()), ("astronautrentals.com.", 3600, "SOA"));
        let words: Vec<&str> = soa.data.split(' ').collect();
        assert!(servers.contains(&format!("NS {}", words[0])) && words[1].starts_with("dns."), "{}", soa.data);
        assert_eq!(words[3..], ["10000", "2400", "604800", "3600"], "{}", soa.data);
    }
    assert_eq!(short(&edge, &[ZONE, "MX"]), ["10 mx.example.net."]);
    // The owner sees what was put in, and it comes back as it was.
    assert_eq!(edge.get(&records), stored);
    finish(&mut edge.command(["zone", "flag-phishing", ZONE, "off"])).ok();
    wait::until_eq("the policy is the owner's", &format!("\"{dmarc}\""), || texts(&policy));
    assert_eq!(texts(ZONE), format!("\"{spf}\""));
}

/// "All addresses in one query": IPv4 first, whatever the name is in which zone.
#[test]
fn all_addresses_come_in_one_answer() {
    let edge = Edge::start();
    zone(
        &edge,
        "example.test",
        &[
            record("both", "A", "198.41.214.162"),
            record("both", "A", "198.41.215.162"),
            record("both", "AAAA", "2400:cb00:2048:1::c629:d6a2"),
            record("both", "AAAA", "2400:cb00:2048:1::c629:d7a2"),
            record("alias", "CNAME", "both.example.test"),
            record("text", "TXT", "none"),
            json!({"name": "edge", "type": "A", "content": "192.0.2.1", "proxied": true}),
            record("@", "CNAME", "both.example.test"),
            record("tree", "DNAME", "example.test"),
        ],
    );
    let all = ["198.41.214.162", "198.41.215.162", "2400:cb00:2048:1::c629:d6a2", "2400:cb00:2048:1::c629:d7a2"];
    let asked = |name: &str| {
        let mut printed = short(&edge, &[name, "-t", "TYPE65535"]);
        // dig turns the records of a set, and no set with another.
        let v6 = printed.iter().position(|line| line.contains(':')).unwrap_or(printed.len());
        printed[..v6].sort();
        printed[v6..].sort();
        printed
    };
    wait::until_eq("the zone is served", &all.map(str::to_owned).to_vec(), || asked("example.test"));
    assert_eq!(asked("both.example.test"), all);
    assert_eq!(asked("edge.example.test"), ["127.0.0.1", "::1"]);
    assert!(asked("text.example.test").is_empty());
    let by_alias = short(&edge, &["alias.example.test", "-t", "TYPE65535"]);
    assert_eq!((by_alias[0].as_str(), by_alias.len()), ("both.example.test.", 5));
    let redirected = edge.dig(&["both.tree.example.test", "AAAA"]);
    assert_eq!(redirected.answer.len(), 4, "{}", redirected.text);
    // What browsers ask beside the addresses.
    let service = edge.dig(&["edge.example.test", "HTTPS"]).answers();
    assert_eq!(service, ["HTTPS 1 . alpn=\"h2\" ipv4hint=127.0.0.1 ipv6hint=::1"]);
}
