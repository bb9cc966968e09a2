//! What is answered to what.

use bartizan_authority::{ZoneFacts, Zones};
use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{Edns, Rcode};

use crate::zone_text::{Server, Transport, content, facts, name, query, zone_name, zones};

const CUT: &str = "NOERROR / cut.example 300 NS ns.cut.example, cut.example 300 NS ns.elsewhere.test + ns.cut.example 300 A 192.0.2.10, ns.cut.example 300 AAAA 2001:db8::10";

const MAIL: &str = "mail.example 300 A 192.0.2.3, mail.example 300 AAAA 2001:db8::3";

const DENIED: &str = "/ example 3600 SOA …";

fn server() -> Server {
    Server::new(zones(
        &["example", "other", "sub.example"],
        &[
            ("example", "example", &["MX 10 mail.example", "TXT apex"]),
            ("example", "www.example", &["A 192.0.2.1", "A 192.0.2.2", "60 TXT hello"]),
            ("example", "mail.example", &["A 192.0.2.3", "AAAA 2001:db8::3"]),
            ("example", "_http._tcp.example", &["SRV 1 1 80 www.example"]),
            ("example", "deep.er.example", &["A 192.0.2.4"]),
            ("example", "proxied.example", &["A 192.0.2.5", "TXT kept", "proxied"]),
            ("example", "proxied-alias.example", &["CNAME www.example", "proxied"]),
            ("example", "proxied-mail.example", &["CNAME www.example", "MX 10 mail.example", "TXT mine", "proxied"]),
            // RFC 4592 §2.2.1, more or less.
            ("example", "*.wild.example", &["A 192.0.2.6", "MX 10 host1.example"]),
            ("example", "host1.wild.example", &["TXT host"]),
            ("example", "a.ent.wild.example", &["A 192.0.2.7"]),
            ("example", "*.alias.example", &["CNAME www.example"]),
            ("example", "a.*.odd.example", &["A 192.0.2.8"]),
            // A chain through two zones, and its ends.
            ("example", "c1.example", &["CNAME c2.other"]),
            ("other", "c2.other", &["60 CNAME www.example"]),
            ("example", "to-nothing.example", &["CNAME nothing.other"]),
            ("example", "to-wild.example", &["CNAME x.wild.example"]),
            ("example", "to-proxied.example", &["CNAME proxied.example"]),
            ("example", "to-elsewhere.example", &["CNAME elsewhere.test"]),
            ("example", "loop1.example", &["CNAME loop2.example"]),
            ("example", "loop2.example", &["CNAME loop1.example"]),
            ("example", "self.example", &["CNAME self.example"]),
            // What the outer zone has below the inner zone's apex is not served.
            ("example", "www.sub.example", &["A 192.0.2.66"]),
            ("example", "only-outer.sub.example", &["A 192.0.2.66"]),
            ("sub.example", "www.sub.example", &["A 192.0.2.9"]),
            // Delegations: to servers elsewhere, and to some below the cut itself, with what only they may answer.
            ("example", "ns.example", &["NS ns.elsewhere.test"]),
            ("example", "cut.example", &["NS ns.cut.example", "60 NS ns.elsewhere.test", "DS 1", "TXT hidden"]),
            ("example", "ns.cut.example", &["A 192.0.2.10", "AAAA 2001:db8::10", "NS deeper.example"]),
            ("example", "own.example", &["NS ns.elsewhere.test", "always proxied"]),
            ("example", "*.cut.example", &["A 192.0.2.11"]),
            ("example", "to-cut.example", &["CNAME www.cut.example"]),
        ],
    ))
}

#[test]
fn answers() {
    let server = server();
    for (question, expect) in [
        ("www.example A", "NOERROR aa www.example 300 A 192.0.2.1, www.example 300 A 192.0.2.2"),
        ("www.example TXT", "NOERROR aa www.example 60 TXT hello"),
        ("example MX", &format!("NOERROR aa example 300 MX 10 mail.example + {MAIL}")),
        (
            "_http._tcp.example SRV",
            "NOERROR aa _http._tcp.example 300 SRV 1 1 80 www.example + www.example 300 A 192.0.2.1, www.example 300 A 192.0.2.2",
        ),
        ("ns.example NS", "NOERROR / ns.example 300 NS ns.elsewhere.test"),
        ("x.y.ns.example A", "NOERROR / ns.example 300 NS ns.elsewhere.test"),
        ("ns.example DS", "NOERROR aa / example 3600 SOA …"),
        ("cut.example DS", "NOERROR aa cut.example 300 DS …"),
        ("cut.example TXT", CUT),
        ("cut.example SOA", CUT),
        ("cut.example ANY", CUT),
        ("ns.cut.example A", CUT),
        ("ns.cut.example DS", CUT),
        ("absent.cut.example AAAA", CUT),
        ("own.example AAAA", "NOERROR aa own.example 300 AAAA 2001:db8::1"),
        ("to-cut.example A", "NOERROR aa to-cut.example 300 CNAME www.cut.example"),
        ("example SOA", "NOERROR aa example 86400 SOA …"),
        ("example NS", "NOERROR aa example 86400 NS ns1.net, example 86400 NS ns2.net"),
        ("sub.example NS", "NOERROR aa sub.example 86400 NS ns1.net, sub.example 86400 NS ns2.net"),
        // NODATA, also at an empty non-terminal and at the apex.
        ("www.example AAAA", &format!("NOERROR aa {DENIED}")),
        ("www.example SOA", &format!("NOERROR aa {DENIED}")),
        ("er.example A", &format!("NOERROR aa {DENIED}")),
        ("_tcp.example A", &format!("NOERROR aa {DENIED}")),
        ("example A", &format!("NOERROR aa {DENIED}")),
        // NXDOMAIN.
        ("nope.example A", &format!("NXDOMAIN aa {DENIED}")),
        ("a.b.c.www.example A", &format!("NXDOMAIN aa {DENIED}")),
        ("x.er.example ANY", &format!("NXDOMAIN aa {DENIED}")),
        // Not ours.
        ("example.test A", "REFUSED"),
        ("anexample A", "REFUSED"),
        ("test A", "REFUSED"),
        (". NS", "REFUSED"),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
    }
}

#[test]
fn wildcards() {
    let server = server();
    for (question, expect) in [
        ("x.wild.example A", "NOERROR aa x.wild.example 300 A 192.0.2.6"),
        ("x.y.wild.example MX", "NOERROR aa x.y.wild.example 300 MX 10 host1.example"),
        ("*.wild.example A", "NOERROR aa *.wild.example 300 A 192.0.2.6"),
        ("x.wild.example AAAA", &format!("NOERROR aa {DENIED}")),
        // A name that exists is not covered, nor what lies below it: also if it is an empty non-terminal.
        ("host1.wild.example A", &format!("NOERROR aa {DENIED}")),
        ("x.host1.wild.example A", &format!("NXDOMAIN aa {DENIED}")),
        ("ent.wild.example A", &format!("NOERROR aa {DENIED}")),
        ("b.ent.wild.example A", &format!("NXDOMAIN aa {DENIED}")),
        ("x.*.wild.example A", &format!("NXDOMAIN aa {DENIED}")),
        ("wild.example A", &format!("NOERROR aa {DENIED}")),
        // A wildcard that is an empty non-terminal covers, with nothing.
        ("x.odd.example A", &format!("NOERROR aa {DENIED}")),
        ("a.*.odd.example A", "NOERROR aa a.*.odd.example 300 A 192.0.2.8"),
        ("x.alias.example TXT", "NOERROR aa x.alias.example 300 CNAME www.example, www.example 60 TXT hello"),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
    }
}

#[test]
fn chains() {
    let server = server();
    let first = "c1.example 300 CNAME c2.other, c2.other 60 CNAME www.example";
    for (question, expect) in [
        ("c1.example A", &*format!("NOERROR aa {first}, www.example 300 A 192.0.2.1, www.example 300 A 192.0.2.2")),
        ("c1.example AAAA", &format!("NOERROR aa {first} {DENIED}")),
        ("c1.example CNAME", "NOERROR aa c1.example 300 CNAME c2.other"),
        ("to-nothing.example A", "NXDOMAIN aa to-nothing.example 300 CNAME nothing.other / other 3600 SOA …"),
        ("to-wild.example A", "NOERROR aa to-wild.example 300 CNAME x.wild.example, x.wild.example 300 A 192.0.2.6"),
        (
            "to-proxied.example AAAA",
            "NOERROR aa to-proxied.example 300 CNAME proxied.example, proxied.example 300 AAAA 2001:db8::1",
        ),
        ("to-elsewhere.example A", "NOERROR aa to-elsewhere.example 300 CNAME elsewhere.test"),
        ("loop1.example A", "NOERROR aa loop1.example 300 CNAME loop2.example, loop2.example 300 CNAME loop1.example"),
        ("self.example A", "NOERROR aa self.example 300 CNAME self.example"),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
    }
}

#[test]
fn a_chain_is_cut_short() {
    let owners: Vec<(String, String)> =
        (0..20).map(|hop| (format!("h{hop}.example"), format!("CNAME h{}.example", hop + 1))).collect();
    let mut edit = Zones::empty().edit();
    edit.put_zone(facts("example", 1));
    for (owner, line) in &owners {
        edit.put_name(&zone_name("example"), &name(owner), content(&[line]));
    }
    let server = Server::new(edit.finish());
    let message = server.message(Transport::Udp, &query("h0.example A", None));
    assert_eq!((message.rcode, message.answers.len()), (Rcode::NOERROR, 9));
}

/// A pause is undone as fast as it is done: no name is touched by either.
#[test]
fn a_paused_zone_answers_with_its_records_as_they_are() {
    let names: &[(&str, &str, &[&str])] = &[
        ("example", "proxied.example", &["A 192.0.2.5", "TXT kept", "proxied"]),
        ("example", "alias.example", &["CNAME proxied.example", "proxied"]),
        ("example", "pop.example", &["always proxied"]),
        ("other", "proxied.other", &["A 192.0.2.6", "proxied"]),
    ];
    let running = zones(&["example", "other"], names);
    let mut edit = running.edit();
    edit.put_zone(ZoneFacts { paused: true, ..facts("example", 8) });
    let paused = edit.finish();
    let mut edit = paused.edit();
    edit.put_zone(facts("example", 9));
    let resumed = edit.finish();
    const POP: &str = "203.0.113.1";
    for (question, as_proxied, as_is) in [
        ("proxied.example A", POP, "NOERROR aa proxied.example 300 A 192.0.2.5"),
        ("proxied.example AAAA", "2001:db8::1", "NOERROR aa / example 3600 SOA"),
        ("proxied.example TXT", "kept", "NOERROR aa proxied.example 300 TXT kept"),
        ("alias.example CNAME", "SOA", "NOERROR aa alias.example 300 CNAME proxied.example"),
        ("alias.example A", POP, "NOERROR aa alias.example 300 CNAME proxied.example, proxied.example 300 A 192.0.2.5"),
        (
            "alias.example TXT",
            "SOA",
            "NOERROR aa alias.example 300 CNAME proxied.example, proxied.example 300 TXT kept",
        ),
        ("pop.example A", POP, "NOERROR aa pop.example 300 A 203.0.113.1"),
        ("proxied.other A", POP, "NOERROR aa proxied.other 300 A 203.0.113.1"),
    ] {
        for zones in [&running, &resumed] {
            let answer = Server::new(zones.clone()).ask(question);
            assert!(answer.contains(as_proxied), "{question}: {answer}");
        }
        let answer = Server::new(paused.clone()).ask(question);
        assert!(answer.starts_with(as_is), "{question}: {answer}");
    }
}

#[test]
fn proxied_names_have_the_addresses_of_the_pop() {
    let mut server = server();
    let rows = [
        ("proxied.example A", "NOERROR aa proxied.example 300 A 203.0.113.1, proxied.example 300 A 203.0.113.2"),
        ("proxied.example AAAA", "NOERROR aa proxied.example 300 AAAA 2001:db8::1"),
        ("proxied-alias.example AAAA", "NOERROR aa proxied-alias.example 300 AAAA 2001:db8::1"),
        ("proxied-alias.example CNAME", &format!("NOERROR aa {DENIED}")),
        ("proxied.example TXT", "NOERROR aa proxied.example 300 TXT kept"),
        ("proxied-alias.example TXT", &format!("NOERROR aa {DENIED}")),
        (
            "proxied-mail.example A",
            "NOERROR aa proxied-mail.example 300 A 203.0.113.1, proxied-mail.example 300 A 203.0.113.2",
        ),
        ("proxied-mail.example MX", &format!("NOERROR aa proxied-mail.example 300 MX 10 mail.example + {MAIL}")),
        ("proxied-mail.example TXT", "NOERROR aa proxied-mail.example 300 TXT mine"),
        ("proxied-mail.example CNAME", &format!("NOERROR aa {DENIED}")),
        ("proxied-alias.example ANY", "NOERROR aa proxied-alias.example 3600 HINFO RFC8482\0"),
    ];
    for (question, expect) in rows {
        assert_eq!(server.ask(question), expect, "{question}");
    }
    server.addresses.v6.clear();
    assert_eq!(server.ask("proxied.example AAAA"), format!("NOERROR aa {DENIED}"));
}

#[test]
fn zones_inside_zones() {
    let server = server();
    for (question, expect) in [
        ("www.sub.example A", "NOERROR aa www.sub.example 300 A 192.0.2.9"),
        ("only-outer.sub.example A", "NXDOMAIN aa / sub.example 3600 SOA …"),
        ("sub.example A", "NOERROR aa / sub.example 3600 SOA …"),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
    }
    // With the inner zone gone the outer one speaks again.
    let mut edit = server.zones.edit();
    edit.remove_zone(&zone_name("sub.example"));
    let server = Server::new(edit.finish());
    assert_eq!(server.ask("www.sub.example A"), "NOERROR aa www.sub.example 300 A 192.0.2.66");
    assert_eq!(server.ask("sub.example A"), format!("NOERROR aa {DENIED}"));
}

/// Of a zone that cannot be read nobody may say anything, not even a zone around it.
#[test]
fn held_zones() {
    let (outer, held) = (zone_name("example"), zone_name("held.example"));
    let all = zones(
        &["example", "in.held.example"],
        &[
            ("example", "*.example", &["A 192.0.2.1"]),
            ("example", "www.held.example", &["A 192.0.2.2"]),
            ("example", "to.example", &["CNAME www.held.example"]),
            ("example", "example", &["NS ns.held.example"]),
            ("in.held.example", "www.in.held.example", &["A 192.0.2.3"]),
        ],
    );
    let mut edit = all.edit();
    edit.hold_zone(&held);
    let held_now = edit.finish();
    let mut edit = held_now.edit();
    edit.remove_zone(&held);
    edit.put_zone(facts("held.example", 7));
    let served = edit.finish();
    let mut edit = held_now.edit();
    edit.remove_zone(&held);
    let gone = edit.finish();
    for (question, expect_held, expect_served, expect_gone) in [
        ("held.example SOA", "SERVFAIL", "NOERROR aa held.example 86400 SOA …", "NOERROR aa / example 3600 SOA …"),
        ("held.example A", "SERVFAIL", "NOERROR aa / held.example 3600 SOA …", "NOERROR aa / example 3600 SOA …"),
        (
            "www.held.example A",
            "SERVFAIL",
            "NXDOMAIN aa / held.example 3600 SOA …",
            "NOERROR aa www.held.example 300 A 192.0.2.2",
        ),
        (
            "a.b.held.example MX",
            "SERVFAIL",
            "NXDOMAIN aa / held.example 3600 SOA …",
            "NXDOMAIN aa / example 3600 SOA …",
        ),
        (
            "to.example A",
            "NOERROR aa to.example 300 CNAME www.held.example",
            "NXDOMAIN aa to.example 300 CNAME www.held.example / held.example 3600 SOA …",
            "NOERROR aa to.example 300 CNAME www.held.example, www.held.example 300 A 192.0.2.2",
        ),
    ] {
        let asked = [&held_now, &served, &gone].map(|zones| Server::new(zones.clone()).ask(question));
        assert_eq!(asked, [expect_held, expect_served, expect_gone], "{question}");
    }
    let server = Server::new(held_now);
    assert_eq!(server.ask("www.in.held.example A"), "NOERROR aa www.in.held.example 300 A 192.0.2.3");
    assert_eq!(server.ask("x.example A"), "NOERROR aa x.example 300 A 192.0.2.1");
    let servers = server.ask(&format!("{outer} NS"));
    assert!(servers.contains("ns.held.example") && !servers.contains('+'), "{servers}");
}

#[test]
fn questions_about_us_and_odd_questions() {
    let server = server();
    for (question, expect) in [
        ("www.example ANY", "NOERROR aa www.example 3600 HINFO RFC8482\0"),
        ("example ANY", "NOERROR aa example 3600 HINFO RFC8482\0"),
        ("er.example ANY", &*format!("NOERROR aa {DENIED}")),
        ("example AXFR", "REFUSED"),
        ("example IXFR", "REFUSED"),
        ("example TYPE41", "FORMERR"),
        ("example TYPE128", "FORMERR"),
        ("example TYPE250", "FORMERR"),
        ("example TYPE253", "NOTIMP"),
        ("example TYPE65280", &format!("NOERROR aa {DENIED}")),
        ("id.server TXT CH", "NOERROR aa id.server 0 TXT pop-1"),
        ("HOSTNAME.bind TXT CH", "NOERROR aa hostname.bind 0 TXT pop-1"),
        ("version.bind TXT CH", "NOERROR aa version.bind 0 TXT bartizan 0"),
        ("version.server ANY CH", "NOERROR aa version.server 0 TXT bartizan 0"),
        ("version.bind A CH", "NOERROR aa"),
        ("authors.bind TXT CH", "REFUSED"),
        ("www.example A CH", "REFUSED"),
        ("www.example A 4", "REFUSED"),
        ("www.example A 255", "REFUSED"),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
    }
}

#[test]
fn long_answers() {
    let txt = |count: usize| format!("TXT {} {count}", "x".repeat(99));
    let rows: &[(&str, &[&str])] = &[
        ("fits.example", &[&txt(4)]),
        ("plain-does-not-fit.example", &[&txt(5)]),
        ("fits-edns.example", &[&txt(11)]),
        ("does-not-fit.example", &[&txt(12)]),
        ("fits-tcp.example", &[&txt(650)]),
        ("never-fits.example", &[&txt(600), &txt(600)]),
    ];
    let names: Vec<_> = rows.iter().map(|(owner, lines)| ("example", *owner, *lines)).collect();
    let server = Server::new(zones(&["example"], &names));
    let (fits, cut) = ("NOERROR aa OWNER 300 TXT SIZE bytes", "NOERROR aa tc");
    for (owner, bytes, plain, edns, tcp) in [
        ("fits.example", 400, fits, fits, fits),
        ("plain-does-not-fit.example", 500, cut, fits, fits),
        ("fits-edns.example", 1100, cut, fits, fits),
        ("does-not-fit.example", 1200, cut, cut, fits),
        ("fits-tcp.example", 65_000, cut, cut, fits),
        ("never-fits.example", 0, cut, cut, cut),
    ] {
        let question = format!("{owner} TXT");
        let expect = |text: &str| text.replace("OWNER", owner).replace("SIZE", &bytes.to_string());
        assert_eq!(server.ask_plain(Transport::Udp, &question), expect(plain), "{owner} plain");
        assert_eq!(server.ask(&question), expect(edns), "{owner} EDNS");
        assert_eq!(server.ask_plain(Transport::Tcp, &question), expect(tcp), "{owner} TCP");
    }
}

#[test]
fn the_question_comes_back_as_it_was_written() {
    let server = server();
    let edns = Edns { dnssec_ok: true, ..Edns::of_size(4096) };
    let mut asked = query("www.example TXT", Some(edns));
    asked[13] = b'W';
    asked[17] = b'E';
    let answer = server.raw(Transport::Udp, &asked).unwrap();
    assert_eq!(answer[12..29], asked[12..29]);
    assert_eq!(answer[29..31], [0xc0, 0x0c]);
    // OPT: root, 41, 1232, version 0, DO.
    assert_eq!(answer[answer.len() - 11..], *b"\0\0\x29\x04\xd0\0\0\x80\0\0\0");
}

#[test]
fn apex_name_servers_are_one_set() {
    let server = Server::new(zones(
        &["example"],
        &[("example", "example", &["600 NS ns2.net", "600 NS ns3.example", "TXT apex"])],
    ));
    let ns = "example 600 NS ns1.net, example 600 NS ns2.net, example 600 NS ns3.example";
    assert_eq!(server.ask("example NS"), format!("NOERROR aa {ns}"));
    assert_eq!(server.ask("example TXT"), "NOERROR aa example 300 TXT apex");
    // A new serial leaves them alone; new content of the apex without NS records takes them away.
    let mut edit = server.zones.edit();
    edit.put_zone(facts("example", 8));
    let server = Server::new(edit.finish());
    assert_eq!(server.ask("example NS"), format!("NOERROR aa {ns}"));
    let mut edit = server.zones.edit();
    edit.put_name(&zone_name("example"), &name("example"), content(&["TXT apex"]));
    let server = Server::new(edit.finish());
    assert_eq!(server.ask("example NS"), "NOERROR aa example 86400 NS ns1.net, example 86400 NS ns2.net");
}

/// Those in our zones are told with the answer; what has no room is left out without a word.
#[test]
fn addresses_of_name_servers() {
    let long = "n".repeat(60);
    let many: Vec<String> = (0..14).map(|number| format!("NS {number:02}.{long}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let crowd: Vec<String> = (0..14).map(|number| format!("{number:02}.{long}.example")).collect();
    let mut names: Vec<(&str, &str, &[&str])> = vec![
        ("example", "example", &["NS ns3.example", "NS absent.example", "NS pop.other"]),
        ("example", "ns3.example", &["A 192.0.2.3", "60 AAAA 2001:db8::3", "TXT none"]),
        ("other", "pop.other", &["proxied"]),
        ("crowd", "crowd", &many),
    ];
    names.extend(crowd.iter().map(|name| ("example", name.as_str(), &["A 192.0.2.9"][..])));
    let server = Server::new(zones(&["example", "other", "crowd"], &names));
    let told = |question: &str, transport| {
        let text = server.ask_plain(transport, question);
        text.split_once(" + ").map(|(_, told)| told.to_owned())
    };
    let expect = "ns3.example 300 A 192.0.2.3, ns3.example 60 AAAA 2001:db8::3, pop.other 300 A 203.0.113.1, \
                  pop.other 300 A 203.0.113.2, pop.other 300 AAAA 2001:db8::1";
    assert_eq!(told("example NS", Transport::Udp).as_deref(), Some(expect));
    assert!(server.ask("example NS").ends_with(expect), "beside EDNS");
    assert_eq!(told("example SOA", Transport::Udp), None);
    assert_eq!(told("other NS", Transport::Udp), None, "not in our zones");

    // Two and fourteen names, of which the first thirteen are looked for: eleven have addresses here.
    assert_eq!(told("crowd NS", Transport::Tcp).unwrap().matches(" A 192.0.2.9").count(), 11);
    let cut = server.ask_plain(Transport::Udp, "crowd NS");
    let told_in_part = cut.matches(" A 192.0.2.9").count();
    assert!(cut.starts_with("NOERROR aa crowd") && (1..11).contains(&told_in_part), "{cut}");
}

#[test]
fn the_soa_has_the_hosted_form() {
    let server = Server::new(zones(&["example"], &[]));
    let message = server.message(Transport::Udp, &query("example SOA", None));
    let expect = [
        name("ns1.net").as_wire(),
        name("dns.net").as_wire(),
        &[7, 10_000, 2_400, 604_800, 3_600].map(u32::to_be_bytes).concat(),
    ]
    .concat();
    assert_eq!(message.answers[0].rdata, expect);
}

#[test]
fn a_batch_is_answered_as_its_queries_are() {
    let server = server();
    let questions = ["www.example A", "nope.example A", "c1.example AAAA", "test A", "version.bind TXT CH"];
    let mut packets: Vec<Vec<u8>> = (0..70).map(|at| query(questions[at % questions.len()], None)).collect();
    packets[3] = b"short".to_vec();
    packets[40][2] |= 0x80;
    packets[41][2] |= 0x10;
    let answers = server.answer(Transport::Udp, &packets);
    for (packet, answer) in packets.iter().zip(&answers) {
        assert_eq!(*answer, server.raw(Transport::Udp, packet));
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 2);
}

/// The longest names there are: 127 labels, and 255 octets.
#[test]
fn longest_names() {
    let many_labels = format!("{}example", "a.".repeat(123)); // 246 + 9 octets
    let long_labels = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(53), "example".to_owned()].join(".");
    let wild = format!("*.{}", &long_labels[2..]);
    let server = Server::new(zones(
        &["example"],
        &[("example", &many_labels, &["A 192.0.2.1"]), ("example", &wild, &["A 192.0.2.2"])],
    ));
    assert_eq!(name(&many_labels).as_wire().len(), 255);
    assert_eq!(name(&long_labels).as_wire().len(), 255);
    assert_eq!(server.ask(&format!("{many_labels} A")), format!("NOERROR aa {many_labels} 300 A 192.0.2.1"));
    assert_eq!(server.ask(&format!("{} A", &many_labels[2..])), format!("NOERROR aa {DENIED}"));
    assert_eq!(server.ask(&format!("b{} A", &many_labels[1..])), format!("NXDOMAIN aa {DENIED}"));
    assert_eq!(server.ask(&format!("{long_labels} A")), format!("NXDOMAIN aa {DENIED}"));
    assert_eq!(server.ask(&format!("{wild} A")), format!("NOERROR aa {wild} 300 A 192.0.2.2"));
    // All of it in 512 bytes, with a negative answer's SOA.
    let message = server.message(Transport::Udp, &query(&format!("{many_labels} TXT"), None));
    assert_eq!((message.authority.len(), message.truncated), (1, false));
    assert_eq!(message.question.map(|(asked, rtype, _)| (asked, rtype)), Some((name(&many_labels), RecordType::TXT)));
    assert_eq!(message.authority[0].owner, Name::parse("example").unwrap());
}

/// What lies below a cut is the other server's to answer while the cut is there, and ours before and after.
#[test]
fn a_delegation_comes_and_goes() {
    let mut server = Server::new(zones(&["example"], &[("example", "www.sub.example", &["A 192.0.2.1"])]));
    let own = "NOERROR aa www.sub.example 300 A 192.0.2.1";
    let referral = "NOERROR / sub.example 300 NS ns.test";
    for (lines, expect) in
        [(&[][..], own), (&["NS ns.test"], referral), (&["TXT text"], own), (&["NS ns.test"], referral)]
    {
        let mut edit = server.zones.edit();
        edit.put_name(&zone_name("example"), &name("sub.example"), content(lines));
        server.zones = edit.finish();
        assert_eq!(server.ask("www.sub.example A"), expect, "{lines:?}");
    }
    // The apex's own NS records are no cut, and a zone that takes the number of one with a cut has none.
    let mut edit = server.zones.edit();
    edit.remove_zone(&zone_name("example"));
    server.zones = edit.finish();
    let mut edit = server.zones.edit();
    edit.put_zone(facts("example", 8));
    edit.put_name(&zone_name("example"), &name("example"), content(&["NS ns.test"]));
    edit.put_name(&zone_name("example"), &name("www.example"), content(&["A 192.0.2.2"]));
    server.zones = edit.finish();
    assert_eq!(server.ask("www.example A"), "NOERROR aa www.example 300 A 192.0.2.2");
}
