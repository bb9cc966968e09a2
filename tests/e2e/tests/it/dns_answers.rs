//! DNS as resolvers see it: dig, kdig, and packets that neither would send.

use std::net::SocketAddr;
use std::process::Command;

use bartizan_e2e::dns::{datagram, dig, kdig};
use bartizan_e2e::{Edge, finish, wait};
use serde_json::{Value, json};

/// An edge with the zone `example.test`, and everything in it served.
fn edge() -> Edge {
    let edge = Edge::start();
    let zone = edge.post("/zones", &json!({"name": "example.test", "account": {"id": edge.account()}}));
    let path = format!("/zones/{}/dns_records", zone["id"].as_str().expect("an id"));
    let text = |name: &str, kind: &str, content: &str| json!({"name": name, "type": kind, "content": content});
    let long = format!("\"{}\"", "x".repeat(300));
    let records: Vec<Value> = vec![
        text("@", "A", "192.0.2.1"),
        text("@", "AAAA", "2001:db8::1"),
        json!({"name": "@", "type": "MX", "content": "mail.example.test", "priority": 10}),
        text("two", "A", "192.0.2.1"),
        text("two", "A", "192.0.2.2"),
        text("*.wild", "TXT", "\"from the wild\""),
        text("here.wild", "A", "192.0.2.3"),
        text("alias", "CNAME", "two.example.test"),
        text("alias-of-alias", "CNAME", "alias.example.test"),
        text("away", "CNAME", "www.example.org"),
        text("broken", "CNAME", "missing.example.test"),
        text("round", "CNAME", "trip.example.test"),
        text("trip", "CNAME", "round.example.test"),
        text("text", "TXT", "\"one\" \"two\""),
        text("long", "TXT", &long),
        text("deep.empty.between", "A", "192.0.2.4"),
        text("mixed", "NS", "ns1.example.org"),
        json!({"name": "_sip._udp", "type": "SRV", "data": {"priority": 1, "weight": 2, "port": 5060, "target": "sip.example.test"}}),
        json!({"name": "@", "type": "CAA", "data": {"flags": 0, "tag": "issue", "value": "ca.example.net"}}),
        json!({"name": "edge", "type": "A", "content": "198.51.100.1", "proxied": true}),
        json!({"name": "crowd", "type": "TXT", "content": "\"the last one\""}),
    ];
    for record in &records {
        edge.post(&path, record);
    }
    for number in 0..40 {
        edge.post(&path, &text("many", "TXT", &format!("\"number {number} {}\"", "y".repeat(60))));
    }
    wait::until("all of the zone is served", || {
        (dig(edge.dns(), &["many.example.test", "TXT", "+tcp"]).answer.len() == 40).then_some(())
    });
    edge
}

#[test]
fn answers() {
    let edge = edge();
    let long = format!("TXT \"{}\" \"{}\"", "x".repeat(255), "x".repeat(45));
    for (query, status, expect) in [
        ("example.test A", "NOERROR", &["A 192.0.2.1"][..]),
        ("EXAMPLE.tEST A", "NOERROR", &["A 192.0.2.1"]),
        ("example.test AAAA", "NOERROR", &["AAAA 2001:db8::1"]),
        ("example.test MX", "NOERROR", &["MX 10 mail.example.test."]),
        ("example.test CAA", "NOERROR", &["CAA 0 issue \"ca.example.net\""]),
        ("two.example.test A", "NOERROR", &["A 192.0.2.1", "A 192.0.2.2"]),
        ("_sip._udp.example.test SRV", "NOERROR", &["SRV 1 2 5060 sip.example.test."]),
        ("text.example.test TXT", "NOERROR", &["TXT \"one\" \"two\""]),
        ("long.example.test TXT", "NOERROR", &[&long]),
        // RFC 4592: what exists hides the wildcard; below it, any depth.
        ("a.wild.example.test TXT", "NOERROR", &["TXT \"from the wild\""]),
        ("b.a.wild.example.test TXT", "NOERROR", &["TXT \"from the wild\""]),
        ("here.wild.example.test A", "NOERROR", &["A 192.0.2.3"]),
        ("here.wild.example.test TXT", "NOERROR", &[]),
        ("a.wild.example.test A", "NOERROR", &[]),
        ("x.here.wild.example.test TXT", "NXDOMAIN", &[]),
        ("alias.example.test A", "NOERROR", &["A 192.0.2.1", "A 192.0.2.2", "CNAME two.example.test."]),
        ("alias.example.test CNAME", "NOERROR", &["CNAME two.example.test."]),
        (
            "alias-of-alias.example.test A",
            "NOERROR",
            &["A 192.0.2.1", "A 192.0.2.2", "CNAME alias.example.test.", "CNAME two.example.test."],
        ),
        ("alias.example.test MX", "NOERROR", &["CNAME two.example.test."]),
        ("away.example.test A", "NOERROR", &["CNAME www.example.org."]),
        // RFC 6604 §3: the status is that of the end of the chain.
        ("broken.example.test A", "NXDOMAIN", &["CNAME missing.example.test."]),
        ("edge.example.test A", "NOERROR", &["A 127.0.0.1"]),
        ("edge.example.test AAAA", "NOERROR", &["AAAA ::1"]),
        ("edge.example.test MX", "NOERROR", &[]),
        ("missing.example.test A", "NXDOMAIN", &[]),
        ("example.test SRV", "NOERROR", &[]),
        // An empty non-terminal is there, and has nothing.
        ("between.example.test A", "NOERROR", &[]),
        ("empty.between.example.test A", "NOERROR", &[]),
        ("deep.empty.between.example.test A", "NOERROR", &["A 192.0.2.4"]),
        ("example.org A", "REFUSED", &[]),
        ("test A", "REFUSED", &[]),
        (". NS", "REFUSED", &[]),
    ] {
        let words: Vec<&str> = query.split(' ').collect();
        for transport in ["+notcp", "+tcp"] {
            let reply = edge.dig(&[&words[..], &[transport]].concat());
            assert_eq!(
                (reply.status.as_str(), reply.answers()),
                (status, expect.iter().map(|a| (*a).to_owned()).collect()),
                "{query} {transport}\n{}",
                reply.text
            );
            assert!(!reply.has_flag("ra"), "never recursive: {query}");
            assert_eq!(reply.has_flag("aa"), status != "REFUSED", "{query}\n{}", reply.text);
        }
    }
}

#[test]
fn negative_answers_carry_the_soa_with_the_negative_ttl() {
    let edge = edge();
    for query in ["missing.example.test A", "example.test SRV", "broken.example.test A", "between.example.test TXT"] {
        let reply = edge.dig(&query.split(' ').collect::<Vec<_>>());
        let [soa] = &reply.authority[..] else { panic!("{query}: one SOA, and not\n{}", reply.text) };
        assert_eq!((soa.name.as_str(), soa.kind.as_str()), ("example.test.", "SOA"), "{query}");
        // RFC 2308 §3: no longer than the SOA's own minimum.
        let minimum: u32 = soa.data.split(' ').nth(6).expect("seven fields").parse().expect("a number");
        assert!(soa.ttl <= minimum, "{query}\n{}", reply.text);
    }
    assert!(edge.dig(&["example.org", "A"]).authority.is_empty(), "REFUSED carries nothing");
}

#[test]
fn a_loop_of_aliases_ends() {
    let edge = edge();
    let reply = edge.dig(&["round.example.test", "A"]);
    assert!(!reply.status.is_empty(), "{}", reply.text);
    assert!(reply.answer.iter().all(|record| record.kind == "CNAME"), "{}", reply.text);
    assert!((1..=20).contains(&reply.answer.len()), "{}", reply.text);
}

#[test]
fn the_apex_has_name_servers_and_a_start_of_authority() {
    let edge = edge();
    assert!(!edge.dig(&["example.test", "NS"]).answer.is_empty());
    let soa = edge.dig(&["example.test", "SOA"]);
    assert_eq!(soa.answer.len(), 1, "{}", soa.text);
    assert_eq!(soa.answer[0].data.split(' ').count(), 7, "{}", soa.text);
}

#[test]
fn sizes() {
    let edge = edge();
    for (words, truncated) in [
        // RFC 6891 §6.2.3 and the 1232 bytes that pass everywhere.
        (&["+noedns", "+ignore"][..], true),
        (&["+bufsize=512", "+ignore"], true),
        (&["+bufsize=4096", "+ignore"], true),
        (&["+tcp"], false),
    ] {
        let reply = edge.dig(&[&["many.example.test", "TXT"][..], words].concat());
        assert_eq!(reply.has_flag("tc"), truncated, "{words:?}\n{}", reply.text);
        let size: usize =
            reply.text.split("MSG SIZE  rcvd: ").nth(1).expect("dig says the size").trim().parse().expect("a number");
        assert!(!truncated || size <= 1232, "{words:?}: {size} bytes");
    }
    let retried = edge.dig(&["many.example.test", "TXT"]);
    assert_eq!(retried.answer.len(), 40, "dig asks again over TCP");
}

#[test]
fn edns() {
    let edge = edge();
    let with = edge.dig(&["example.test", "A", "+bufsize=4096"]);
    assert!(with.text.contains("udp: 1232"), "{}", with.text);
    let without = edge.dig(&["example.test", "A", "+noedns"]);
    assert!(!without.text.contains("EDNS:"), "{}", without.text);
    let later = edge.dig(&["example.test", "A", "+edns=1", "+noednsnegotiation"]);
    assert_eq!(later.status, "BADVERS", "{}", later.text);
    let unknown = edge.dig(&["example.test", "A", "+ednsopt=65001:00"]);
    assert_eq!(unknown.answers(), ["A 192.0.2.1"], "an option that we do not know is ignored");
}

#[test]
fn questions_about_the_server() {
    let edge = edge();
    let version = edge.dig(&["version.bind", "TXT", "CH"]);
    assert!(version.text.to_lowercase().contains("bartizan"), "{}", version.text);
    let id = edge.dig(&["id.server", "TXT", "CH"]);
    assert_eq!((id.status.as_str(), id.answer.len()), ("NOERROR", 1), "{}", id.text);
    assert_eq!(edge.dig(&["authors.bind", "TXT", "CH"]).status, "REFUSED");
}

/// RFC 8482: a short answer instead of everything.
#[test]
fn any_is_answered_with_little() {
    let edge = edge();
    for transport in ["+notcp", "+tcp"] {
        let reply = edge.dig(&["example.test", "ANY", transport]);
        assert_eq!((reply.status.as_str(), reply.answer.len()), ("NOERROR", 1), "{}", reply.text);
    }
    let text = kdig(edge.dns(), &["example.test", "ANY", "+notcp"]);
    assert!(text.contains("HINFO"), "{text}");
    assert_eq!(edge.dig(&["missing.example.test", "ANY"]).status, "NXDOMAIN");
}

#[test]
fn another_implementation_agrees() {
    let edge = edge();
    for (words, part) in [
        (&["example.test", "MX", "+short"][..], "10 mail.example.test."),
        (&["two.example.test", "A", "+short", "+tcp"], "192.0.2.2"),
        (&["alias.example.test", "AAAA"], "status: NOERROR"),
        (&["missing.example.test", "A"], "status: NXDOMAIN"),
        // Several queries over one TCP connection, each answered.
        (&["+tcp", "+keepopen", "example.test", "A", "two.example.test", "A"], "192.0.2.2"),
    ] {
        let text = kdig(edge.dns(), words);
        assert!(text.contains(part), "{words:?}\n{text}");
    }
}

/// What is asked for beside the question, and what is told beside the answer.
#[test]
fn options() {
    let edge = edge();
    let identity = dig(edge.dns(), &["id.server", "CH", "TXT"]).answer[0].data.clone();
    let name = format!("({identity})");
    for (words, expect) in [
        (&["example.test", "A", "+nsid"][..], &["NSID", &name][..]),
        (&["example.test", "A", "+subnet=192.0.2.0/24"], &["CLIENT-SUBNET: 192.0.2.0/24/0"]),
        (&["example.test", "A", "+tcp", "+keepalive"], &["TCP KEEPALIVE: 30.0 secs"]),
        (&["example.test", "A", "+dnssec", "+coflag"], &["flags: do co"]),
        (&["example.test", "A", "+ednsopt=65280:0102"], &["status: NOERROR"]),
        (&["elsewhere.test", "A"], &["status: REFUSED", "EDE: 20 (Not Authoritative)"]),
        (&["example.test", "AXFR", "+tcp", "+noall", "+comments"], &["Transfer failed"]),
        // A client cookie of seven bytes.
        (&["example.test", "A", "+nocookie", "+ednsopt=10:01020304050607"], &["status: FORMERR"]),
        (&["example.test", "SOA", "+opcode=notify"], &["opcode: NOTIFY, status: REFUSED", "EDE: 18 (Prohibited)"]),
        (&["elsewhere.test", "SOA", "+opcode=notify"], &["opcode: NOTIFY, status: NOTAUTH"]),
        (&["elsewhere.test", "SOA", "+opcode=update"], &["opcode: UPDATE, status: NOTAUTH"]),
        // A signature by a key that is not known here.
        (&["-y", "hmac-sha256:key:AAAA", "example.test", "A"], &["status: NOTAUTH", "BADKEY"]),
    ] {
        let text = dig(edge.dns(), words).text;
        assert!(expect.iter().all(|part| text.contains(part)), "{words:?}: {expect:?}\n{text}");
    }
    let told = dig(edge.dns(), &["example.test", "A", "+nocookie"]).text;
    assert!(!told.contains("NSID") && !told.contains("CLIENT-SUBNET"), "only who asks is told: {told}");
    // A whole client of RFC 2136.
    let script = edge.folder().join("update");
    let server = format!("server {} {}", edge.dns().ip(), edge.dns().port());
    let lines = [&server, "zone example.test", "update add new.example.test 60 A 192.0.2.1", "send", ""];
    std::fs::write(&script, lines.join("\n")).expect("a file");
    let update = finish(Command::new("nsupdate").arg(&script));
    assert!(!update.status.success() && update.err.contains("update failed: REFUSED"), "{} {}", update.out, update.err);
}

/// Header, then whatever: `bytes("0001 0100 0001 0000 0000 0000")`.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hex")).collect()
}

#[test]
fn packets_that_no_resolver_sends() {
    let edge = edge();
    let question = "07 6578616d706c65 04 74657374 00 0001 0001"; // example.test A IN
    let zone = "07 6578616d706c65 04 74657374 00 0006 0001"; // example.test SOA IN
    for (packet, expect, why) in [
        ("".to_owned(), None, "nothing"),
        ("0001 0100 0001".to_owned(), None, "half a header"),
        (format!("0001 8000 0001 0000 0000 0000 {question}"), None, "a reply: an answer would begin a loop"),
        ("0001 0000 0001 0000 0000 0000".to_owned(), Some(1), "a question that is not there"),
        ("0001 0000 0001 0000 0000 0000 07 6578".to_owned(), Some(1), "a name that ends early"),
        (format!("0001 0000 0000 0000 0000 0000 {question}"), Some(1), "no question"),
        (format!("0001 0000 0002 0000 0000 0000 {question} {question}"), Some(1), "two questions"),
        ("0001 0000 0001 0000 0000 0000 c00c 0001 0001".to_owned(), Some(1), "a name that points at itself"),
        ("0001 0000 0001 0000 0000 0000 40 00 0001 0001".to_owned(), Some(1), "a label of a kind that is not used"),
        (
            format!("0001 0000 0001 0000 0000 0000 {} 00 0001 0001", "3f".to_owned() + &"61".repeat(63))
                .replace("3f", &("3f".to_owned() + &"61".repeat(63)).repeat(4)),
            Some(1),
            "a name of more than 255 bytes",
        ),
        (format!("0001 1000 0001 0000 0000 0000 {question}"), Some(4), "opcode STATUS"),
        (format!("0001 3000 0001 0000 0000 0000 {question}"), Some(4), "opcode DSO"),
        (
            format!("0001 2000 0001 0000 0000 0000 {question}"),
            Some(1),
            "opcode NOTIFY, of something that no zone begins with",
        ),
        (format!("0001 2800 0001 0000 0000 0000 {question}"), Some(1), "opcode UPDATE, of the same"),
        (format!("0001 2000 0001 0000 0000 0000 {zone}"), Some(5), "opcode NOTIFY"),
        (format!("0001 2800 0001 0000 0000 0000 {zone}"), Some(5), "opcode UPDATE"),
        (
            format!("0001 0000 0001 0000 0000 0000 {question}"),
            Some(0),
            "a good one, so that the rows above mean something",
        ),
    ] {
        let reply = datagram(edge.dns(), &bytes(&packet));
        let code = reply.as_ref().map(|reply| reply[3] & 0x0f);
        assert_eq!(code, expect, "{why}: {packet}");
        if let Some(reply) = reply {
            assert_eq!(&reply[..2], &[0, 1], "the id comes back: {why}");
        }
    }
}

/// The edge still works, and nothing in it panicked.
pub(crate) fn is_well(edge: &mut Edge, server: SocketAddr) {
    assert_eq!(dig(server, &[edge.domain(), "SOA"]).status, "NOERROR");
    assert!(edge.program().is_running());
    let output = edge.program().output();
    assert!(!output.contains("panicked"), "{output}");
}
