//! What the vendor's posts print of DNS, asked with dig as they print it.

use std::process::Command;

use bartizan_e2e::dns::{Reply, kdig};
use bartizan_e2e::{Edge, binary, finish, wait};
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
    // As it is printed, but for a backslash that dig puts before semicolons no more.
    assert_eq!(short(&edge, &[&policy, "TXT"]), ["\"v=DMARC1; p=reject\""]);
    assert_eq!(short(&edge, &[ZONE, "MX"]), ["10 mx.example.net."]);
    // The owner sees what was put in, and it comes back as it was.
    assert_eq!(edge.get(&records), stored);
    finish(&mut edge.command(["zone", "flag-phishing", ZONE, "off"])).ok();
    wait::until_eq("the policy is the owner's", &format!("\"{dmarc}\""), || texts(&policy));
    assert_eq!(texts(ZONE), format!("\"{spf}\""));
}

/// Requirement PHISH-7: a server that receives mail takes it, by SPF, DKIM and DMARC, and refuses it as soon as its domain is flagged.
#[test]
fn a_receiving_server_rejects_the_mail_of_a_phishing_zone() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("unshare");
    // Debian's own Python has its modules.
    command.args(["--net", "--mount", "/usr/bin/python3", "-W", "ignore", "-c", include_str!("receiving.py")]);
    let said = finish(command.arg(binary()).arg(folder.path())).ok();
    let said: Value = serde_json::from_str(said.trim()).expect("what was said");
    let taken = json!([250, "spf=pass", "dkim=pass", "dmarc=pass"]);
    assert_eq!(said, json!([taken, [550, "dmarc=fail"], taken]));
}

/// "Less is more": the two questions of the post, line by line, and what they save (requirement V6-8).
#[test]
fn both_families_in_half_of_the_round_trips() {
    let edge = Edge::start();
    for (name, v4, v6, octets) in [
        (
            "cloudflare.com",
            &["198.41.215.162", "198.41.214.162"][..],
            &["2400:cb00:2048:1::c629:d6a2", "2400:cb00:2048:1::c629:d7a2"][..],
            174,
        ),
        (
            "taylorswift.com",
            &["104.16.193.61", "104.16.194.61", "104.16.191.61", "104.16.192.61", "104.16.195.61"],
            &[
                "2400:cb00:2048:1::6810:c33d",
                "2400:cb00:2048:1::6810:c13d",
                "2400:cb00:2048:1::6810:bf3d",
                "2400:cb00:2048:1::6810:c23d",
                "2400:cb00:2048:1::6810:c03d",
            ],
            308,
        ),
    ] {
        let records = v4.iter().map(|ip| record("@", "A", ip)).chain(v6.iter().map(|ip| record("@", "AAAA", ip)));
        let path = zone(&edge, name, &records.collect::<Vec<_>>());
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        let expect = [v4, v6].map(|family| sorted(family.iter().map(|ip| (*ip).to_owned()).collect())).concat();
        // dig turns the records of a set, and no set with another.
        let asked = || {
            let mut lines = short(&edge, &[name, "-t", "TYPE65535"]);
            let second = lines.split_off(v4.len().min(lines.len()));
            [sorted(lines), sorted(second)].concat()
        };
        wait::until_eq(name, &expect, asked);
        let text = edge.dig(&[name, "-t", "TYPE65535", "+nocookie"]).text;
        let answer: usize =
            text.split("MSG SIZE  rcvd: ").nth(1).expect("dig says it").trim().parse().expect("a number");
        let question = 12 + name.len() + 2 + 4 + 11;
        assert_eq!(question + answer, octets, "{text}");
        // Nobody has a record of that type.
        let body = json!({"name": "@", "type": "TYPE65535", "content": "\\# 4 01020304"});
        let refused = edge.ask("POST", &path, Some(&body));
        assert_eq!(refused.status, 400, "{}", refused.json);
    }
}

/// "Economical with the truth": a live-signed answer, a black lie and the shotgun with all fields that are printed.
#[test]
fn signed_answers_as_they_are_printed() {
    const ZONE: &str = "cloudflare.com";
    // Nobody is asked for its parent.
    let edge = Edge::start_with(&["--domain", ZONE, "--resolver", "127.0.0.1:9"]);
    for ip in ["198.41.214.162", "198.41.215.162"] {
        edge.record(&record("@", "A", ip));
    }
    edge.record(&record("mail", "A", "192.0.2.1"));
    finish(&mut edge.command(["dnssec", "enable", ZONE, "--denial", "black-lies"])).ok();
    let ask = |name: &str, kind: &str| edge.dig(&[name, kind, "+dnssec", "+nocookie"]);
    wait::until_eq("it is signed", &3, || ask(ZONE, "A").answer.len());
    let signer = edge.dig(&[ZONE, "DNSKEY", "+multiline"]).text;
    let tag =
        signer.split("key id = ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("dig computes it");
    // "RRSIG A 13 2 300 20160311145051 20160309125051 35273 cloudflare.com." and the signature, in the pieces of dig.
    let signature = |reply: &Reply, name: &str, covered: &str, labels: &str, original: &str| {
        let records = reply.answer.iter().chain(&reply.authority);
        let mut found = records.filter(|one| one.kind == "RRSIG" && one.data.starts_with(&format!("{covered} ")));
        let rrsig = found.next().unwrap_or_else(|| panic!("no signature of {covered}\n{}", reply.text));
        let words: Vec<&str> = rrsig.data.split(' ').collect();
        assert_eq!(words[..4], [covered, "13", labels, original], "{}", reply.text);
        assert_eq!((words[6], words[7], rrsig.name.as_str()), (tag, "cloudflare.com.", name), "{}", reply.text);
        assert_eq!(seconds(words[4]) - seconds(words[5]), 50 * 3600, "fifty hours: {}", reply.text);
        let octets: usize = words[8..].iter().map(|piece| piece.trim_end_matches('=').len()).sum();
        assert_eq!(octets * 6 / 8, 64, "{}", reply.text);
        assert!(found.next().is_none(), "{}", reply.text);
    };
    let answer = ask(ZONE, "A");
    let addresses: Vec<_> = answer.answer.iter().filter(|one| one.kind == "A").map(|one| one.ttl).collect();
    assert_eq!(addresses, [300, 300], "{}", answer.text);
    signature(&answer, "cloudflare.com.", "A", "2", "300");

    let denial = |name: &str, kind: &str, types: &str, octets: usize| {
        let reply = ask(name, kind);
        assert_eq!(
            (reply.status.as_str(), reply.answer.len(), reply.authority.len()),
            ("NOERROR", 0, 4),
            "{}",
            reply.text
        );
        let soa = reply.authority.iter().find(|one| one.kind == "SOA").expect("one SOA");
        let words: Vec<&str> = soa.data.split(' ').collect();
        assert_eq!(words[..2], ["ns1.cloudflare.com.", "dns.cloudflare.com."], "{}", reply.text);
        assert_eq!(words[3..], ["10000", "2400", "604800", "3600"], "{}", reply.text);
        let nsec = reply.authority.iter().find(|one| one.kind == "NSEC").expect("one NSEC");
        let owner = format!("{name}.");
        assert_eq!((nsec.name.as_str(), nsec.ttl), (owner.as_str(), 3600), "{}", reply.text);
        assert_eq!(nsec.data, format!("\\000.{owner} {types}"), "{}", reply.text);
        signature(&reply, "cloudflare.com.", "SOA", "2", "86400");
        signature(&reply, &owner, "NSEC", "3", "3600");
        assert!(reply.text.contains(&format!("MSG SIZE  rcvd: {octets}\n")), "{octets}: {}", reply.text);
    };
    // Printed as 357; with all names compressed it is two less (requirement NEG-3).
    denial("blog.cloudflare.com", "A", "RRSIG NSEC", 355);
    finish(&mut edge.command(["dnssec", "enable", ZONE, "--denial", "shotgun"])).ok();
    edge.record(&record("blog", "A", "192.0.2.1"));
    let shotgun = |kind| ask("blog.cloudflare.com", kind).text.contains("HINFO");
    wait::until_eq("the shotgun", &true, || shotgun("TXT"));
    let but_txt = "A WKS HINFO MX AAAA LOC SRV CERT SSHFP IPSECKEY RRSIG NSEC TLSA HIP OPENPGPKEY SPF";
    denial("blog.cloudflare.com", "TXT", but_txt, 362);
    let but_mx = "A WKS HINFO TXT AAAA LOC SRV CERT SSHFP IPSECKEY RRSIG NSEC TLSA HIP OPENPGPKEY SPF";
    denial("blog.cloudflare.com", "MX", but_mx, 362);
}

/// `20160311145051` as seconds of some day before.
fn seconds(text: &str) -> i64 {
    let part = |from: usize, to: usize| text[from..to].parse::<i64>().expect("a number");
    let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
    // Days of the civil calendar, with March as the first month of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    ((days * 24 + part(8, 10)) * 60 + part(10, 12)) * 60 + part(12, 14)
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
    // kdig prints them in the order in which they come.
    let printed = kdig(edge.dns(), &["both.example.test", "-t", "TYPE65535", "+short"]);
    assert_eq!(printed.lines().collect::<Vec<_>>(), all);
    assert_eq!(asked("edge.example.test"), ["127.0.0.1", "::1"]);
    assert!(asked("text.example.test").is_empty());
    let by_alias = short(&edge, &["alias.example.test", "-t", "TYPE65535"]);
    assert_eq!((by_alias[0].as_str(), by_alias.len()), ("both.example.test.", 5));
    let redirected = edge.dig(&["both.tree.example.test", "AAAA"]);
    assert_eq!(redirected.answer.len(), 4, "{}", redirected.text);
    // What browsers ask beside the addresses.
    let service = edge.dig(&["edge.example.test", "HTTPS"]).answers();
    assert_eq!(service, ["HTTPS 1 . alpn=\"h3,h2\" ipv4hint=127.0.0.1 ipv6hint=::1"]);
}
