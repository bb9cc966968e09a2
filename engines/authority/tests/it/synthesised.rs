//! Answers that are no record as it was put: redirected trees, services of the edge, all addresses at once, apexes that
//! stand for other names, and the mail of zones that send phishing.

use bartizan_authority::{OutsideName, Ways, ZoneFacts};
use bartizan_names::{Phishing, Speaks};

use crate::zone_text::{Server, Transport, facts, name, zone_name, zones};

/// A name of 250 octets below `grows.example`, in whose place nothing much longer can stand.
fn long() -> String {
    let label = "x".repeat(57);
    format!("{label}.{label}.{label}.{label}.grows.example")
}

#[test]
fn redirected_trees() {
    let server = Server::new(zones(
        &["example", "other", "all"],
        &[
            ("example", "dname.example", &["DNAME target.other", "A 192.0.2.1", "MX 10 mail.example"]),
            // What lies below is not answered with.
            ("example", "www.dname.example", &["A 192.0.2.66"]),
            ("example", "cut.dname.example", &["NS ns.elsewhere.test"]),
            ("example", "grows.example", &["DNAME a-target-that-is-longer.other"]),
            ("example", "outside.example", &["60 DNAME elsewhere.test"]),
            ("example", "twice.example", &["DNAME dname.example"]),
            ("example", "round.example", &["DNAME x.back.other"]),
            ("example", "alias.example", &["CNAME www.dname.example"]),
            ("example", "gone.example", &["NS ns.elsewhere.test"]),
            ("example", "d.gone.example", &["DNAME hidden.test"]),
            ("example", "cutter.example", &["DNAME gone.example"]),
            ("other", "www.target.other", &["A 192.0.2.2"]),
            ("other", "*.wild.target.other", &["TXT wild"]),
            ("other", "back.other", &["DNAME round.example"]),
            ("all", "all", &["DNAME other", "TXT apex"]),
        ],
    ));
    let www = "dname.example 300 DNAME target.other, www.dname.example 300 CNAME www.target.other";
    for (question, expect) in [
        ("www.dname.example A", &*format!("NOERROR aa {www}, www.target.other 300 A 192.0.2.2")),
        ("www.dname.example AAAA", &format!("NOERROR aa {www} / other 3600 SOA …")),
        // Whoever asks for the CNAME has it.
        ("www.dname.example CNAME", &format!("NOERROR aa {www}")),
        (
            "nope.dname.example A",
            "NXDOMAIN aa dname.example 300 DNAME target.other, nope.dname.example 300 CNAME nope.target.other \
             / other 3600 SOA …",
        ),
        (
            "a.b.wild.dname.example TXT",
            "NOERROR aa dname.example 300 DNAME target.other, a.b.wild.dname.example 300 CNAME a.b.wild.target.other, \
             a.b.wild.target.other 300 TXT wild",
        ),
        // The owner itself is not redirected.
        ("dname.example A", "NOERROR aa dname.example 300 A 192.0.2.1"),
        ("dname.example DNAME", "NOERROR aa dname.example 300 DNAME target.other"),
        ("dname.example AAAA", "NOERROR aa / example 3600 SOA …"),
        (
            "x.cut.dname.example A",
            "NXDOMAIN aa dname.example 300 DNAME target.other, x.cut.dname.example 300 CNAME x.cut.target.other \
             / other 3600 SOA …",
        ),
        (
            "a.outside.example A",
            "NOERROR aa outside.example 60 DNAME elsewhere.test, a.outside.example 60 CNAME a.elsewhere.test",
        ),
        (
            "www.twice.example A",
            &format!(
                "NOERROR aa twice.example 300 DNAME dname.example, www.twice.example 300 CNAME www.dname.example, {www}, \
                 www.target.other 300 A 192.0.2.2"
            ),
        ),
        (
            "alias.example A",
            &format!("NOERROR aa alias.example 300 CNAME www.dname.example, {www}, www.target.other 300 A 192.0.2.2"),
        ),
        // RFC 6672 §2.4 with §3.2: the first on the way down wins.
        ("x.d.gone.example A", "NOERROR / gone.example 300 NS ns.elsewhere.test"),
        (
            "x.cutter.example A",
            "NOERROR aa cutter.example 300 DNAME gone.example, x.cutter.example 300 CNAME x.gone.example",
        ),
        // At an apex all below is elsewhere, and the apex itself is not.
        ("all TXT", "NOERROR aa all 300 TXT apex"),
        (
            "www.target.all A",
            "NOERROR aa all 300 DNAME other, www.target.all 300 CNAME www.target.other, www.target.other 300 A 192.0.2.2",
        ),
        ("nope.all NS", "NXDOMAIN aa all 300 DNAME other, nope.all 300 CNAME nope.other / other 3600 SOA …"),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
    }
    // Names that grow with each turn end where the chain does, or when they are too long.
    assert!(server.ask("a.round.example A").starts_with("NOERROR aa round.example"));
    let long = long();
    assert_eq!(server.ask(&format!("{long} A")), "YXDOMAIN aa grows.example 300 DNAME a-target-that-is-longer.other");
    assert!(server.zones.proxied(name("www.dname.example").as_wire()).is_none());
}

#[test]
fn what_a_client_needs_next() {
    let server = Server::new(zones(
        &["example", "other"],
        &[
            ("example", "mail.example", &["A 192.0.2.3", "60 AAAA 2001:db8::3"]),
            ("example", "alias.example", &["CNAME mail.example"]),
            ("example", "pop.example", &["A 192.0.2.5", "proxied"]),
            ("example", "cut.example", &["NS ns.cut.example"]),
            ("example", "ns.cut.example", &["A 192.0.2.10"]),
            (
                "example",
                "mx.example",
                &["MX 10 mail.example", "MX 20 mail.example", "MX 30 nope.example", "MX 40 elsewhere.test"],
            ),
            ("example", "to-alias.example", &["MX 10 alias.example"]),
            ("example", "to-cut.example", &["MX 10 ns.cut.example"]),
            ("example", "_s._tcp.example", &["SRV 1 1 80 pop.example"]),
            ("example", "svc.example", &["HTTPS 1 .", "A 192.0.2.6"]),
            ("example", "named.example", &["SVCB 1 mail.example"]),
            ("example", "none.example", &["HTTPS 0 ."]),
            ("example", "a1.example", &["HTTPS 0 a2.other"]),
            ("other", "a2.other", &["HTTPS 0 svc.example"]),
            ("example", "a3.example", &["HTTPS 0 pop.example"]),
            ("example", "a4.example", &["SVCB 0 mail.example"]),
            ("example", "loop.example", &["HTTPS 0 loop.example"]),
        ],
    ));
    let mail = "mail.example 300 A 192.0.2.3, mail.example 60 AAAA 2001:db8::3";
    let pop = "pop.example 300 A 203.0.113.1, pop.example 300 A 203.0.113.2, pop.example 300 AAAA 2001:db8::1";
    let told = |question: &str| server.ask(question).split_once(" + ").map(|(_, told)| told.to_owned());
    for (question, expect) in [
        ("mx.example MX", Some(mail)),
        ("to-alias.example MX", None),
        ("to-cut.example MX", None),
        ("_s._tcp.example SRV", Some(pop)),
        ("svc.example HTTPS", Some("svc.example 300 A 192.0.2.6")),
        ("named.example SVCB", Some(mail)),
        ("none.example HTTPS", None),
        (
            "a1.example HTTPS",
            Some("a2.other 300 HTTPS 0 svc.example, svc.example 300 HTTPS 1 ., svc.example 300 A 192.0.2.6"),
        ),
        ("a3.example HTTPS", Some(&format!("pop.example 300 HTTPS 1 . {SERVICE}, {pop}"))),
        ("a4.example SVCB", Some(mail)),
        ("mail.example A", None),
    ] {
        assert_eq!(told(question).as_deref(), expect, "{question}");
    }
    // It goes round as often as a chain may be long, and no more.
    assert_eq!(told("loop.example HTTPS").unwrap().matches("HTTPS").count(), 8);
}

/// Of the PoP of [`Server`]: HTTP/2, and all addresses.
const SERVICE: &str = "0001000602683302683200040008cb007101cb0071020006001020010db8000000000000000000000001";

#[test]
fn proxied_names_have_a_service() {
    let names: &[(&str, &str, &[&str])] = &[
        ("example", "www.example", &["A 192.0.2.5", "proxied"]),
        ("example", "*.wild.example", &["CNAME elsewhere.test", "proxied"]),
        ("example", "own.example", &["A 192.0.2.5", "HTTPS 1 svc.test", "proxied"]),
        ("example", "ns.example", &["always proxied"]),
        ("example", "plain.example", &["A 192.0.2.5"]),
    ];
    let zones = zones(&["example"], names);
    let with = |facts: ZoneFacts| {
        let mut edit = zones.edit();
        edit.put_zone(facts);
        Server::new(edit.finish())
    };
    let running = with(facts("example", 8));
    let (denied, http1) = ("NOERROR aa / example 3600 SOA …", &SERVICE[20..]);
    for (question, expect) in [
        ("www.example HTTPS", &*format!("NOERROR aa www.example 300 HTTPS 1 . {SERVICE}")),
        ("x.wild.example HTTPS", &format!("NOERROR aa x.wild.example 300 HTTPS 1 . {SERVICE}")),
        ("own.example HTTPS", "NOERROR aa own.example 300 HTTPS 1 svc.test"),
        ("ns.example HTTPS", denied),
        ("plain.example HTTPS", denied),
        ("www.example SVCB", denied),
    ] {
        assert_eq!(running.ask(question), expect, "{question}");
    }
    let paused = with(ZoneFacts { paused: true, ..facts("example", 8) });
    assert_eq!(paused.ask("www.example HTTPS"), denied);
    assert_eq!(paused.ask("own.example HTTPS"), "NOERROR aa own.example 300 HTTPS 1 svc.test");
    for (http2, http3, expect) in [
        (false, false, http1.to_owned()),
        (true, false, format!("00010003026832{http1}")),
        (false, true, format!("00010003026833{http1}")),
    ] {
        let zone = with(ZoneFacts { speaks: Speaks { tls: true, http2, http3 }, ..facts("example", 8) });
        assert_eq!(zone.ask("www.example HTTPS"), format!("NOERROR aa www.example 300 HTTPS 1 . {expect}"));
    }
    // Who came by HTTPS would be sent back to HTTP.
    let in_the_clear = Speaks { tls: false, http2: false, http3: false };
    let clear = with(ZoneFacts { speaks: in_the_clear, ..facts("example", 8) });
    assert_eq!(clear.ask("www.example HTTPS"), denied);
    assert_eq!(clear.ask("own.example HTTPS"), "NOERROR aa own.example 300 HTTPS 1 svc.test");
    // A PoP that has no such socket says nothing of it, whatever its zones want.
    let mut deaf = with(facts("example", 8));
    deaf.addresses.http3 = false;
    assert_eq!(deaf.ask("www.example HTTPS"), format!("NOERROR aa www.example 300 HTTPS 1 . 00010003026832{http1}"));
    // Another port than that of `https` is named (RFC 9460 §7.2).
    deaf.addresses.https_port = Some(8443);
    let expect = format!("NOERROR aa www.example 300 HTTPS 1 . 000100030268320003000220fb{http1}");
    assert_eq!(deaf.ask("www.example HTTPS"), expect);
}

/// As the post printed it: IPv4 first, each record set in its own order.
#[test]
fn all_addresses_at_once() {
    let mut server = Server::new(zones(
        &["example", "elsewhere"],
        &[
            ("example", "both.example", &["A 192.0.2.1", "A 192.0.2.2", "60 AAAA 2001:db8::1", "60 AAAA 2001:db8::2"]),
            ("example", "v4.example", &["A 192.0.2.1"]),
            ("example", "v6.example", &["AAAA 2001:db8::1"]),
            ("example", "none.example", &["TXT text"]),
            ("example", "alias.example", &["CNAME both.example"]),
            ("example", "outside.example", &["CNAME x.test"]),
            ("example", "*.wild.example", &["AAAA 2001:db8::9", "A 192.0.2.9"]),
            ("example", "pop.example", &["CNAME both.example", "proxied"]),
            ("elsewhere", "elsewhere", &["CNAME both.example"]),
        ],
    ));
    let both = |owner: &str| {
        format!(
            "{owner} 300 A 192.0.2.1, {owner} 300 A 192.0.2.2, {owner} 60 AAAA 2001:db8::1, {owner} 60 AAAA 2001:db8::2"
        )
    };
    let pop = "pop.example 300 A 203.0.113.1, pop.example 300 A 203.0.113.2, pop.example 300 AAAA 2001:db8::1";
    for (question, expect) in [
        ("both.example TYPE65535", format!("NOERROR aa {}", both("both.example"))),
        ("v4.example TYPE65535", "NOERROR aa v4.example 300 A 192.0.2.1".to_owned()),
        ("v6.example TYPE65535", "NOERROR aa v6.example 300 AAAA 2001:db8::1".to_owned()),
        ("none.example TYPE65535", "NOERROR aa / example 3600 SOA …".to_owned()),
        ("nope.example TYPE65535", "NXDOMAIN aa / example 3600 SOA …".to_owned()),
        (
            "alias.example TYPE65535",
            format!("NOERROR aa alias.example 300 CNAME both.example, {}", both("both.example")),
        ),
        ("outside.example TYPE65535", "NOERROR aa outside.example 300 CNAME x.test".to_owned()),
        (
            "x.wild.example TYPE65535",
            "NOERROR aa x.wild.example 300 A 192.0.2.9, x.wild.example 300 AAAA 2001:db8::9".to_owned(),
        ),
        ("pop.example TYPE65535", format!("NOERROR aa {pop}")),
        ("elsewhere TYPE65535", format!("NOERROR aa {}", both("elsewhere"))),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
    }
    server.addresses.v4.clear();
    assert_eq!(server.ask("pop.example TYPE65535"), "NOERROR aa pop.example 300 AAAA 2001:db8::1");
    server.addresses.v6.clear();
    assert_eq!(server.ask("pop.example TYPE65535"), "NOERROR aa / example 3600 SOA …");
}

#[test]
fn apexes_stand_for_other_names() {
    let zones = zones(
        &["near", "far", "hop", "loop", "mixed", "gone", "cut", "outer"],
        &[
            ("near", "near", &["CNAME www.outer", "MX 10 mail.near", "TXT text"]),
            ("far", "far", &["CNAME cdn.test", "TXT text"]),
            ("hop", "hop", &["CNAME a.outer"]),
            ("loop", "loop", &["CNAME back.outer"]),
            ("mixed", "mixed", &["CNAME pop.outer", "TXT text", "proxied"]),
            ("gone", "gone", &["CNAME nothing.outer"]),
            ("cut", "cut", &["CNAME x.sub.outer"]),
            ("outer", "www.outer", &["A 192.0.2.1", "60 AAAA 2001:db8::1", "TXT other"]),
            ("outer", "a.outer", &["60 CNAME b.outer"]),
            ("outer", "b.outer", &["CNAME cdn.test"]),
            ("outer", "back.outer", &["CNAME loop"]),
            ("outer", "pop.outer", &["A 192.0.2.7"]),
            ("outer", "sub.outer", &["NS ns.test"]),
            ("outer", "to-far.outer", &["CNAME far"]),
        ],
    );
    let mut server = Server::new(zones);
    let denied = |zone: &str| format!("NOERROR aa / {zone} 3600 SOA …");
    let known = |ttl| OutsideName { v4: vec![[198, 51, 100, 7].into()], v6: Vec::new(), ttl };
    // Nothing is said as long as nobody has told; whoever comes by way of another name asks again.
    assert_eq!(server.ask("far A"), "SERVFAIL");
    assert_eq!(server.ask("far TYPE65535"), "SERVFAIL");
    assert_eq!(server.ask("to-far.outer A"), "NOERROR aa to-far.outer 300 CNAME far");
    server.outside.put(name("cdn.test").as_wire(), known(200));
    server.outside.put(name("x.sub.outer").as_wire(), OutsideName::default());
    for (question, expect) in [
        ("near A", "NOERROR aa near 300 A 192.0.2.1".to_owned()),
        ("near AAAA", "NOERROR aa near 60 AAAA 2001:db8::1".to_owned()),
        ("near TYPE65535", "NOERROR aa near 300 A 192.0.2.1, near 60 AAAA 2001:db8::1".to_owned()),
        ("near CNAME", denied("near")),
        ("near TXT", "NOERROR aa near 300 TXT text".to_owned()),
        ("near SRV", denied("near")),
        ("near MX", "NOERROR aa near 300 MX 10 mail.near".to_owned()),
        ("near NS", "NOERROR aa near 86400 NS ns1.net, near 86400 NS ns2.net".to_owned()),
        ("far A", "NOERROR aa far 200 A 198.51.100.7".to_owned()),
        ("far AAAA", denied("far")),
        ("hop A", "NOERROR aa hop 60 A 198.51.100.7".to_owned()),
        ("loop A", denied("loop")),
        ("mixed A", "NOERROR aa mixed 300 A 203.0.113.1, mixed 300 A 203.0.113.2".to_owned()),
        ("gone A", denied("gone")),
        ("cut A", denied("cut")),
        ("to-far.outer A", "NOERROR aa to-far.outer 300 CNAME far, far 200 A 198.51.100.7".to_owned()),
        ("to-far.outer TXT", "NOERROR aa to-far.outer 300 CNAME far, far 300 TXT text".to_owned()),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
    }
    let wanted = |ways: &Ways| {
        let mut wanted: Vec<String> =
            ways.outside_names().map(|wire| bartizan_names::Name::from_wire(wire).unwrap().to_string()).collect();
        wanted.sort();
        wanted
    };
    let mut ways = Ways::default();
    assert!(ways.follow(&server.zones) && !ways.follow(&server.zones));
    assert_eq!(wanted(&ways), ["cdn.test", "x.sub.outer"]);
    // A pause shows what is behind the proxy; a change and the end of a zone change what is needed.
    let mut edit = server.zones.edit();
    edit.put_zone(ZoneFacts { paused: true, ..facts("mixed", 8) });
    edit.put_name(&zone_name("cut"), &name("cut"), crate::zone_text::content(&["CNAME other.test"]));
    edit.remove_zone(&zone_name("hop"));
    edit.remove_zone(&zone_name("far"));
    server.zones = edit.finish();
    assert_eq!(server.ask("mixed A"), "NOERROR aa mixed 300 A 192.0.2.7");
    assert!(ways.follow(&server.zones));
    assert_eq!(wanted(&ways), ["other.test"]);
}

/// What the post printed of a zone that has SPF, DKIM and a DMARC policy that lets all through.
#[test]
fn phishing_zones_have_no_mail() {
    const TEXTS: &[(&str, &str, &[&str])] = &[
        ("phish", "phish", &["TXT v=spf1", "TXT site-verification", "MX 10 mail.phish"]),
        ("phish", "mail.phish", &["A 192.0.2.1", "TXT V=SPF1"]),
        ("phish", "site.phish", &["TXT v=spf1", "TXT site-verification"]),
        ("phish", "spf10.phish", &["TXT v=spf10"]),
        ("phish", "old.phish", &["TXT spf2.0/pra"]),
        ("phish", "_domainkey.phish", &["TXT o=~"]),
        ("phish", "sel._domainkey.phish", &["TXT v=DKIM1"]),
        ("phish", "alias._domainkey.phish", &["CNAME key.test"]),
        ("phish", "_dmarc.phish", &["TXT v=DMARC1;p=none"]),
        ("phish", "sub.phish", &["CNAME elsewhere.test"]),
        ("phish", "_dmarc.sub.phish", &["CNAME vendor.test"]),
        ("phish", "_bimi.phish", &["TXT v=BIMI1"]),
        ("phish", "_mta-sts.phish", &["TXT v=STSv1"]),
        ("phish", "_domainkey.cut.phish", &["NS ns.test"]),
        ("phish", "far.phish", &["NS ns.test"]),
        ("phish", "tree.phish", &["DNAME tree.test"]),
        ("phish", "*.wild.phish", &["TXT v=spf1"]),
        ("clean", "_dmarc.clean", &["TXT v=DMARC1;p=none"]),
    ];
    let zones = zones(&["phish", "clean"], TEXTS);
    let with = |phishing| {
        let mut edit = zones.edit();
        edit.put_zone(ZoneFacts { phishing, ..facts("phish", 8) });
        Server::new(edit.finish())
    };
    let server = with(Phishing::Flagged);
    let nodata = "NOERROR aa / phish 3600 SOA …";
    let nothing = "NXDOMAIN aa / phish 3600 SOA …";
    let reject = |owner: &str| format!("NOERROR aa {owner} 300 TXT v=DMARC1; p=reject");
    for (question, expect) in [
        // Only what is about mail goes, unless no text is to stay.
        ("phish TXT", "NOERROR aa phish 300 TXT site-verification".to_owned()),
        ("phish TYPE99", nodata.to_owned()),
        ("phish MX", "NOERROR aa phish 300 MX 10 mail.phish + mail.phish 300 A 192.0.2.1".to_owned()),
        ("mail.phish TXT", nodata.to_owned()),
        ("mail.phish A", "NOERROR aa mail.phish 300 A 192.0.2.1".to_owned()),
        ("site.phish TXT", "NOERROR aa site.phish 300 TXT site-verification".to_owned()),
        ("spf10.phish TXT", "NOERROR aa spf10.phish 300 TXT v=spf10".to_owned()),
        ("old.phish TXT", nodata.to_owned()),
        ("x.wild.phish TXT", nodata.to_owned()),
        ("_domainkey.phish TXT", nodata.to_owned()),
        ("sel._domainkey.phish TXT", nodata.to_owned()),
        ("alias._domainkey.phish TXT", nodata.to_owned()),
        ("alias._domainkey.phish CNAME", nodata.to_owned()),
        ("nope._domainkey.phish TXT", nothing.to_owned()),
        ("_bimi.phish TXT", nodata.to_owned()),
        ("_mta-sts.phish TXT", nodata.to_owned()),
        ("_dmarc.phish TXT", reject("_dmarc.phish")),
        ("_dmarc.phish A", nodata.to_owned()),
        // Whether or not there was one: wherever the name is that it is about.
        ("_dmarc.sub.phish TXT", reject("_dmarc.sub.phish")),
        ("_dmarc.sub.phish CNAME", nodata.to_owned()),
        ("_dmarc.mail.phish TXT", reject("_dmarc.mail.phish")),
        ("_dmarc.mail.phish A", nodata.to_owned()),
        ("_dmarc.x.wild.phish TXT", reject("_dmarc.x.wild.phish")),
        ("_dmarc.nope.phish TXT", nothing.to_owned()),
        ("_dmarc.tree.phish TXT", reject("_dmarc.tree.phish")),
        // Who answers for a name of its own does; who answers for its mail does not.
        ("_domainkey.cut.phish TXT", nodata.to_owned()),
        ("sel._domainkey.cut.phish TXT", nothing.to_owned()),
        ("_dmarc.far.phish TXT", "NOERROR / far.phish 300 NS ns.test".to_owned()),
        (
            "www.tree.phish A",
            "NOERROR aa tree.phish 300 DNAME tree.test, www.tree.phish 300 CNAME www.tree.test".to_owned(),
        ),
        ("_dmarc.clean TXT", "NOERROR aa _dmarc.clean 300 TXT v=DMARC1;p=none".to_owned()),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
        assert_eq!(server.ask_plain(Transport::Tcp, question), expect, "{question}");
    }
    let strict = with(Phishing::Strict);
    for question in ["phish TXT", "phish TYPE99"] {
        assert_eq!(strict.ask(question), nodata, "{question}");
    }
    assert_eq!(strict.ask("site.phish TXT"), "NOERROR aa site.phish 300 TXT site-verification");
    // Nothing was changed.
    let before = Server::new(zones.clone());
    let after = with(Phishing::No);
    for (_, owner, _) in TEXTS {
        assert_eq!(after.ask(&format!("{owner} TXT")), before.ask(&format!("{owner} TXT")), "{owner}");
        let content = |server: &Server| server.zones.content(&zone_name("phish"), &name(owner));
        assert_eq!(content(&server), content(&before), "{owner}");
    }
    assert_eq!(after.ask("phish TXT"), "NOERROR aa phish 300 TXT v=spf1, phish 300 TXT site-verification");
}
