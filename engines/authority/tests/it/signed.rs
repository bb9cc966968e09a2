//! What a signed zone answers, and that every signature is of what the answer says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bartizan_authority::{ZoneFacts, Zones};
use bartizan_names::{Name, Phishing, RecordType};
use bartizan_signer::{
    Algorithm, Announcement, Budget, Denial, Duties, Lasting, Limits, PrivateKey, RecordSet, Role, Signer, Validity,
    ZoneKey, ZoneKeys, generate,
};
use bartizan_wire::dns::{Edns, Message, Rcode, Record};

use crate::zone_text::{Server, Transport, content, facts, name, print, query, zone_name};

/// Keys of a zone. Ed25519, so that what is signed twice is the same.
fn keys(roles: &[Role], denial: Denial, announcement: Announcement) -> Arc<ZoneKeys> {
    let key = |role: &Role| {
        let made = generate(*role, Algorithm::Ed25519).unwrap();
        let private = PrivateKey::sealed(b"", &made.pkcs8, Arc::new(|_, bytes| Some(bytes.to_vec())));
        let duties = Duties { published: true, signs: true, announced: true };
        ZoneKey { public: made.public, duties, private: Some(private) }
    };
    Arc::new(ZoneKeys::new(roles.iter().map(key).collect(), denial, announcement, Validity::default()).unwrap())
}

fn one_key(denial: Denial) -> Arc<ZoneKeys> {
    keys(&[Role::Csk], denial, Announcement::None)
}

/// `example` and `sub.example` with keys, if any, `inner.example` inside without, `other` with keys of its own.
fn zones(example: &Arc<ZoneKeys>, other: &Arc<ZoneKeys>) -> Zones {
    let mut edit = Zones::empty().edit();
    for (apex, dnssec) in [("example", Some(example)), ("inner.example", None), ("other", Some(other)), ("plain", None)]
    {
        edit.put_zone(ZoneFacts { dnssec: dnssec.cloned(), ..facts(apex, 7) });
    }
    for (zone, owner, lines) in [
        ("example", "example", &["MX 10 mail.example", "TXT apex"][..]),
        ("example", "www.example", &["A 192.0.2.1", "A 192.0.2.2", "TXT hello"]),
        ("example", "mail.example", &["A 192.0.2.3", "AAAA 2001:db8::3"]),
        ("example", "below.ent.example", &["A 192.0.2.4"]),
        ("example", "proxied.example", &["A 192.0.2.5", "CNAME www.example", "TXT kept", "proxied"]),
        ("example", "*.wild.example", &["A 192.0.2.6"]),
        ("example", "alias.example", &["CNAME www.example"]),
        ("example", "to-nothing.example", &["CNAME nothing.example"]),
        ("example", "to-wild.example", &["CNAME x.wild.example"]),
        ("example", "to-other.example", &["CNAME www.other"]),
        ("example", "to-plain.example", &["CNAME nothing.plain"]),
        ("other", "www.other", &["A 192.0.2.7"]),
        ("plain", "from.plain", &["CNAME nothing.other"]),
        // Delegations without keys and with, their servers in them; and what lies below.
        ("example", "away.example", &["NS ns.away.example", "TXT hidden"]),
        ("example", "ns.away.example", &["A 192.0.2.8"]),
        ("example", "far.example", &["NS ns.elsewhere.test", "DS 1"]),
        ("example", "long.example", &["TXT xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx 28"]),
        ("inner.example", "www.inner.example", &["A 192.0.2.9"]),
    ] {
        edit.put_name(&zone_name(zone), &name(owner), content(lines));
    }
    edit.finish()
}

fn dnssec_ok() -> Edns<'static> {
    Edns { dnssec_ok: true, ..Edns::of_size(1232) }
}

/// Asks with DO; checks the signatures of the answer.
fn ask(server: &Server, question: &str) -> String {
    let message = server.message(Transport::Udp, &query(question, Some(dnssec_ok())));
    check(server, &message);
    print(&message)
}

/// Every RRSIG record must be what a signer that never signed before makes of the records that stand before it.
fn check(server: &Server, message: &Message) {
    for section in [&message.answers, &message.authority, &message.additional] {
        for (at, signature) in section.iter().enumerate().filter(|(_, record)| record.rtype == RecordType::RRSIG) {
            let covered = RecordType(u16::from_be_bytes([signature.rdata[0], signature.rdata[1]]));
            let set: Vec<&Record> =
                section[..at].iter().filter(|one| one.owner == signature.owner && one.rtype == covered).collect();
            assert!(!set.is_empty(), "a signature of nothing: {signature:?}");
            assert!(set.iter().all(|record| record.ttl == signature.ttl), "{set:?}");
            let original = u32::from_be_bytes(signature.rdata[4..8].try_into().unwrap());
            // As the nineteenth post has it (requirement DNS-4), also where its TTL is that of a denial.
            assert_eq!(original, if covered == RecordType::SOA { 86_400 } else { signature.ttl }, "{covered}");
            let keys = server.keys(&signature.owner);
            let made = keys.iter().any(|(apex, zone_keys)| {
                zone_keys.signers(covered).any(|key| {
                    let set = RecordSet {
                        owner: signature.owner.as_wire(),
                        rtype: covered,
                        ttl: original,
                        data: set.iter().map(|record| &record.rdata),
                        lasting: Lasting::Yes,
                    };
                    let apex = apex.as_wire();
                    let mut signer = Signer::new(1, Limits::default());
                    let made = signer.signature(apex, key, zone_keys.validity, &set).unwrap();
                    [&made.head, apex, &made.signature].concat() == signature.rdata
                })
            });
            assert!(made, "{covered} of {:?} is not signed as a validator wants it", signature.owner);
        }
    }
}

impl Server {
    /// The keys of the zones around a name, with their apexes.
    fn keys(&self, owner: &Name) -> Vec<(Name, Arc<ZoneKeys>)> {
        let apexes = ["example", "inner.example", "other", "cloudflare.com"].map(name);
        let inside = apexes.into_iter().filter(|apex| owner.is_at_or_below(apex));
        inside.filter_map(|apex| Some((apex.clone(), self.signed.get(&apex.to_string())?.clone()))).collect()
    }
}

fn server(keys: Arc<ZoneKeys>) -> Server {
    let other = one_key(Denial::Compact);
    let mut server = Server::new(zones(&keys, &other));
    server.signed = [("example".to_owned(), keys), ("other".to_owned(), other)].into();
    server
}

const SOA: &str = "example 3600 SOA …, example 3600 RRSIG SOA";

#[test]
fn what_is_there() {
    let server = server(one_key(Denial::Compact));
    for (question, expect) in [
        (
            "www.example A",
            "NOERROR aa www.example 300 A 192.0.2.1, www.example 300 A 192.0.2.2, www.example 300 RRSIG A",
        ),
        ("example SOA", "NOERROR aa example 86400 SOA …, example 86400 RRSIG SOA"),
        ("example NS", "NOERROR aa example 86400 NS ns1.net, example 86400 NS ns2.net, example 86400 RRSIG NS"),
        ("example ANY", "NOERROR aa example 3600 HINFO RFC8482\0, example 3600 RRSIG HINFO"),
        ("example DNSKEY", "NOERROR aa example 3600 DNSKEY 257 15, example 3600 RRSIG DNSKEY"),
        // A wildcard's records are signed as those of the name that was asked for (RFC 9824 §3.3).
        ("x.wild.example A", "NOERROR aa x.wild.example 300 A 192.0.2.6, x.wild.example 300 RRSIG A"),
        ("proxied.example AAAA", "NOERROR aa proxied.example 300 AAAA 2001:db8::1, proxied.example 300 RRSIG AAAA"),
        (
            "alias.example TXT",
            "NOERROR aa alias.example 300 CNAME www.example, alias.example 300 RRSIG CNAME, www.example 300 TXT hello, www.example 300 RRSIG TXT",
        ),
        (
            "to-wild.example A",
            "NOERROR aa to-wild.example 300 CNAME x.wild.example, to-wild.example 300 RRSIG CNAME, x.wild.example 300 A 192.0.2.6, x.wild.example 300 RRSIG A",
        ),
        // By the keys of each zone.
        (
            "to-other.example A",
            "NOERROR aa to-other.example 300 CNAME www.other, to-other.example 300 RRSIG CNAME, www.other 300 A 192.0.2.7, www.other 300 RRSIG A",
        ),
        ("www.inner.example A", "NOERROR aa www.inner.example 300 A 192.0.2.9"),
        ("far.example DS", "NOERROR aa far.example 300 DS …, far.example 300 RRSIG DS"),
        (
            "www.example NSEC",
            "NOERROR aa www.example 3600 NSEC \\000.www.example A TXT RRSIG NSEC, www.example 3600 RRSIG NSEC",
        ),
    ] {
        assert_eq!(ask(&server, question), expect, "{question}");
    }
}

#[test]
fn what_is_not_there() {
    for (denial, nothing) in [
        (Denial::Compact, "\\000.nothing.example RRSIG NSEC TYPE128"),
        (Denial::BlackLies, "\\000.nothing.example RRSIG NSEC"),
    ] {
        let server = server(one_key(denial));
        let denied = |owner: &str, types: &str| {
            format!("NOERROR aa / {SOA}, {owner} 3600 NSEC \\000.{owner} {types}, {owner} 3600 RRSIG NSEC")
        };
        for (question, expect) in [
            (
                "nothing.example A",
                format!("NOERROR aa / {SOA}, nothing.example 3600 NSEC {nothing}, nothing.example 3600 RRSIG NSEC"),
            ),
            ("www.example MX", denied("www.example", "A TXT RRSIG NSEC")),
            ("www.example TYPE1234", denied("www.example", "A TXT RRSIG NSEC")),
            // All addresses of what has none.
            ("long.example TYPE65535", denied("long.example", "TXT RRSIG NSEC")),
            ("ent.example TYPE65535", denied("ent.example", "RRSIG NSEC")),
            (
                "nothing.example TYPE65535",
                format!("NOERROR aa / {SOA}, nothing.example 3600 NSEC {nothing}, nothing.example 3600 RRSIG NSEC"),
            ),
            ("ent.example A", denied("ent.example", "RRSIG NSEC")),
            ("wild.example A", denied("wild.example", "RRSIG NSEC")),
            ("x.wild.example MX", denied("x.wild.example", "A RRSIG NSEC")),
            ("example AAAA", denied("example", "NS SOA MX TXT RRSIG NSEC DNSKEY")),
            ("proxied.example MX", denied("proxied.example", "A TXT AAAA RRSIG NSEC HTTPS")),
            ("proxied.example CNAME", denied("proxied.example", "A TXT AAAA RRSIG NSEC HTTPS")),
            ("away.example DS", denied("away.example", "NS RRSIG NSEC")),
            // To the zone around it, a zone of ours is a delegation.
            ("inner.example DS", denied("inner.example", "NS RRSIG NSEC")),
            (
                "alias.example AAAA",
                format!(
                    "NOERROR aa alias.example 300 CNAME www.example, alias.example 300 RRSIG CNAME / {SOA}, www.example 3600 NSEC \\000.www.example A TXT RRSIG NSEC, www.example 3600 RRSIG NSEC"
                ),
            ),
            (
                "to-nothing.example A",
                format!(
                    "NOERROR aa to-nothing.example 300 CNAME nothing.example, to-nothing.example 300 RRSIG CNAME / {SOA}, nothing.example 3600 NSEC {nothing}, nothing.example 3600 RRSIG NSEC"
                ),
            ),
            // The last zone of a chain denies by its own means.
            (
                "to-plain.example A",
                "NXDOMAIN aa to-plain.example 300 CNAME nothing.plain, to-plain.example 300 RRSIG CNAME / plain 3600 SOA …".to_owned(),
            ),
            (
                "from.plain A",
                "NOERROR aa from.plain 300 CNAME nothing.other / other 3600 SOA …, other 3600 RRSIG SOA, nothing.other 3600 NSEC \\000.nothing.other RRSIG NSEC TYPE128, nothing.other 3600 RRSIG NSEC".to_owned(),
            ),
            ("nothing.inner.example A", "NXDOMAIN aa / inner.example 3600 SOA …".to_owned()),
            (
                "nothing.example NSEC",
                format!("NOERROR aa nothing.example 3600 NSEC {nothing}, nothing.example 3600 RRSIG NSEC"),
            ),
        ] {
            assert_eq!(ask(&server, question), expect, "{question} {denial:?}");
        }
    }
}

/// The lists of the nineteenth post, and where they must not lie (requirement NEG-6).
#[test]
fn the_shotgun() {
    let server = server(one_key(Denial::Shotgun));
    let types = |text: &str| {
        text.replace("WKS", "TYPE11").replace("IPSECKEY", "TYPE45").replace("HIP", "TYPE55").replace("SPF", "TYPE99")
    };
    for (question, owner, expect) in [
        (
            "www.example MX",
            "www.example",
            "A WKS HINFO TXT AAAA LOC SRV CERT SSHFP IPSECKEY RRSIG NSEC TLSA HIP OPENPGPKEY SPF",
        ),
        (
            "mail.example TXT",
            "mail.example",
            "A WKS HINFO MX AAAA LOC SRV CERT SSHFP IPSECKEY RRSIG NSEC TLSA HIP OPENPGPKEY SPF",
        ),
        (
            "www.example CAA",
            "www.example",
            "A WKS HINFO MX TXT AAAA LOC SRV CERT SSHFP IPSECKEY RRSIG NSEC TLSA HIP OPENPGPKEY SPF",
        ),
        ("nothing.example A", "nothing.example", "RRSIG NSEC"),
        // Every type but the one that was asked for: also those that this one stands for.
        (
            "long.example TYPE65535",
            "long.example",
            "A WKS HINFO MX TXT AAAA LOC SRV CERT SSHFP IPSECKEY RRSIG NSEC TLSA HIP OPENPGPKEY SPF",
        ),
        ("nothing.example TYPE65535", "nothing.example", "RRSIG NSEC"),
        (
            "example AAAA",
            "example",
            "A NS SOA WKS HINFO MX TXT LOC SRV CERT SSHFP IPSECKEY RRSIG NSEC DNSKEY TLSA HIP OPENPGPKEY SPF",
        ),
        ("away.example DS", "away.example", "NS RRSIG NSEC"),
        ("inner.example DS", "inner.example", "NS RRSIG NSEC"),
    ] {
        let expect = types(expect);
        let expect = format!("NOERROR aa / {SOA}, {owner} 3600 NSEC \\000.{owner} {expect}, {owner} 3600 RRSIG NSEC");
        assert_eq!(ask(&server, question), expect, "{question}");
    }
    // What an alias is stays so beside all that it seems to be.
    assert!(ask(&server, "alias.example NSEC").contains(" A CNAME TYPE11 "));
}

#[test]
fn delegations() {
    let server = server(one_key(Denial::Compact));
    for (question, expect) in [
        (
            "www.away.example A",
            "NOERROR / away.example 300 NS ns.away.example, away.example 3600 NSEC \\000.away.example NS RRSIG NSEC, away.example 3600 RRSIG NSEC + ns.away.example 300 A 192.0.2.8",
        ),
        (
            "far.example A",
            "NOERROR / far.example 300 NS ns.elsewhere.test, far.example 300 DS …, far.example 300 RRSIG DS",
        ),
    ] {
        assert_eq!(ask(&server, question), expect, "{question}");
    }
}

#[test]
fn who_does_not_ask_for_signatures_gets_none() {
    let server = server(one_key(Denial::Compact));
    for (question, expect) in [
        ("www.example TXT", "NOERROR aa www.example 300 TXT hello"),
        ("nothing.example A", "NXDOMAIN aa / example 3600 SOA …"),
        ("www.example MX", "NOERROR aa / example 3600 SOA …"),
        ("example DNSKEY", "NOERROR aa example 3600 DNSKEY 257 15"),
        ("away.example A", "NOERROR / away.example 300 NS ns.away.example + ns.away.example 300 A 192.0.2.8"),
    ] {
        assert_eq!(server.ask(question), expect, "{question}");
        assert_eq!(server.ask_plain(Transport::Udp, question), expect, "{question}");
    }
}

/// RFC 9824 §5.1.
#[test]
fn who_knows_compact_denial_is_told_in_the_header() {
    for (denial, question, expect) in [
        (Denial::Compact, "nothing.example A", Rcode::NXDOMAIN),
        (Denial::Compact, "to-nothing.example A", Rcode::NXDOMAIN),
        (Denial::Compact, "ent.example A", Rcode::NOERROR),
        (Denial::Compact, "www.example MX", Rcode::NOERROR),
        (Denial::BlackLies, "nothing.example A", Rcode::NOERROR),
    ] {
        let edns = Edns { compact_ok: true, ..dnssec_ok() };
        let message = server(one_key(denial)).message(Transport::Udp, &query(question, Some(edns)));
        assert_eq!(message.rcode, expect, "{question} {denial:?}");
    }
}

/// Requirement NEG-12: RFC 9824, section by section. What is asked is said to whom: with DO, with CO too, or with neither.
#[test]
fn compact_denial_as_the_rfc_has_it() {
    let server = server(one_key(Denial::Compact));
    let plain = Edns::of_size(1232);
    let compact_ok = Edns { compact_ok: true, ..dnssec_ok() };
    let denied = |rcode: &str, owner: &str, types: &str| {
        format!("{rcode} aa / {SOA}, {owner} 3600 NSEC \\000.{owner} {types}, {owner} 3600 RRSIG NSEC")
    };
    for (section, edns, question, expect) in [
        // A name that is not there: its own NSEC record, the next name right behind it, and NXNAME (§2) in the list.
        ("3.1", dnssec_ok(), "nothing.example A", denied("NOERROR", "nothing.example", "RRSIG NSEC TYPE128")),
        ("3.1", dnssec_ok(), "a.b.nothing.example MX", denied("NOERROR", "a.b.nothing.example", "RRSIG NSEC TYPE128")),
        // A type that is not there: all that are, and of a name with others below it alone none.
        ("3.2", dnssec_ok(), "www.example MX", denied("NOERROR", "www.example", "A TXT RRSIG NSEC")),
        ("3.2", dnssec_ok(), "ent.example A", denied("NOERROR", "ent.example", "RRSIG NSEC")),
        ("3.2", compact_ok, "ent.example A", denied("NOERROR", "ent.example", "RRSIG NSEC")),
        // What a wildcard stands for is there, and no record says that it does not stand by itself.
        (
            "3.3",
            dnssec_ok(),
            "x.wild.example A",
            "NOERROR aa x.wild.example 300 A 192.0.2.6, x.wild.example 300 RRSIG A".to_owned(),
        ),
        ("3.3", dnssec_ok(), "x.wild.example MX", denied("NOERROR", "x.wild.example", "A RRSIG NSEC")),
        // A delegation without keys: the name and its servers alone.
        ("3.4", dnssec_ok(), "away.example DS", denied("NOERROR", "away.example", "NS RRSIG NSEC")),
        // NXNAME is no type of records, whoever asks for it, where there is a name and where there is none.
        ("3.5", dnssec_ok(), "nothing.example TYPE128", "FORMERR".to_owned()),
        ("3.5", compact_ok, "www.example TYPE128", "FORMERR".to_owned()),
        ("3.5", plain, "www.example TYPE128", "FORMERR".to_owned()),
        // The header says it to whom does not look at signatures, and to whom asks for that.
        ("5", plain, "nothing.example A", "NXDOMAIN aa / example 3600 SOA …".to_owned()),
        ("5.1", compact_ok, "nothing.example A", denied("NXDOMAIN", "nothing.example", "RRSIG NSEC TYPE128")),
        ("5.1", Edns { compact_ok: true, ..plain }, "nothing.example A", "NXDOMAIN aa / example 3600 SOA …".to_owned()),
        ("5.1", compact_ok, "www.example MX", denied("NOERROR", "www.example", "A TXT RRSIG NSEC")),
    ] {
        let message = server.message(Transport::Udp, &query(question, Some(edns)));
        check(&server, &message);
        assert_eq!(print(&message), expect, "§{section}, {question}");
        // A name that is made up by a wildcard has as many labels as was asked for (§3.3).
        for signature in message.answers.iter().chain(&message.authority).filter(|one| one.rtype == RecordType::RRSIG) {
            let labels = signature.owner.labels().count();
            assert_eq!(usize::from(signature.rdata[3]), labels, "§{section}, {question}");
        }
    }
}

/// Requirements NEG-3 and NEG-5: the post's own example, to the byte.
#[test]
fn denials_are_as_short_as_they_can_be() {
    for (denial, question, bytes) in [
        (Denial::BlackLies, "blog.cloudflare.com A", 355),
        (Denial::Compact, "blog.cloudflare.com A", 366),
        (Denial::Shotgun, "www.cloudflare.com TXT", 360),
        (Denial::Shotgun, "webs.cloudflare.com TXT", 362),
    ] {
        let mut edit = Zones::empty().edit();
        edit.put_zone(ZoneFacts {
            nameservers: vec![name("ns3.cloudflare.com")],
            soa_rname: name("dns.cloudflare.com"),
            dnssec: Some(one_key(denial)),
            ..facts("cloudflare.com", 2_020_742_566)
        });
        for owner in ["www.cloudflare.com", "webs.cloudflare.com"] {
            edit.put_name(&zone_name("cloudflare.com"), &name(owner), content(&["A 192.0.2.1"]));
        }
        let server = Server::new(edit.finish());
        let packet = server.raw(Transport::Udp, &query(question, Some(dnssec_ok()))).unwrap();
        assert_eq!(packet.len(), bytes, "{question} {denial:?}");
        let message = Message::parse(&packet).unwrap();
        assert_eq!((message.answers.len(), message.authority.len()), (0, 4));
        let nsec = message.authority.iter().find(|record| record.rtype == RecordType::NSEC).unwrap();
        let expect = match denial {
            Denial::BlackLies => 31,
            Denial::Compact => 42,
            Denial::Shotgun => nsec.owner.as_wire().len() + 2 + 15,
        };
        assert_eq!(nsec.rdata.len(), expect, "{denial:?}");
    }
}

#[test]
fn keys_and_what_the_parent_is_told() {
    for (roles, announcement, expect) in [
        (
            &[Role::Ksk, Role::Zsk][..],
            Announcement::Keys,
            [
                "NOERROR aa example 3600 DNSKEY 257 15, example 3600 DNSKEY 256 15, example 3600 RRSIG DNSKEY",
                "NOERROR aa example 3600 CDS 15 2, example 3600 RRSIG CDS",
                "NOERROR aa example 3600 CDNSKEY 257 15, example 3600 RRSIG CDNSKEY",
            ],
        ),
        (
            // While one key follows another, both sign.
            &[Role::Csk, Role::Csk],
            Announcement::Keys,
            [
                "NOERROR aa example 3600 DNSKEY 257 15, example 3600 DNSKEY 257 15, example 3600 RRSIG DNSKEY, example 3600 RRSIG DNSKEY",
                "NOERROR aa example 3600 CDS 15 2, example 3600 CDS 15 2, example 3600 RRSIG CDS, example 3600 RRSIG CDS",
                "NOERROR aa example 3600 CDNSKEY 257 15, example 3600 CDNSKEY 257 15, example 3600 RRSIG CDNSKEY, example 3600 RRSIG CDNSKEY",
            ],
        ),
        (
            &[Role::Csk],
            Announcement::Delete,
            [
                "NOERROR aa example 3600 DNSKEY 257 15, example 3600 RRSIG DNSKEY",
                "NOERROR aa example 3600 CDS 0 0, example 3600 RRSIG CDS",
                "NOERROR aa example 3600 CDNSKEY 0 0, example 3600 RRSIG CDNSKEY",
            ],
        ),
    ] {
        let server = server(keys(roles, Denial::Compact, announcement));
        for (rtype, expect) in ["DNSKEY", "CDS", "CDNSKEY"].into_iter().zip(expect) {
            assert_eq!(ask(&server, &format!("example {rtype}")), expect);
        }
        let types = ask(&server, "example AAAA");
        assert!(types.contains("NS SOA MX TXT RRSIG NSEC DNSKEY CDS CDNSKEY,"), "{types}");
    }
    // Requirement DNS-6: of two keys that follow each other, one signs records.
    let server = server(keys(&[Role::Csk, Role::Ksk], Denial::Compact, Announcement::None));
    let packet = server.raw(Transport::Udp, &query("nothing.example A", Some(dnssec_ok()))).unwrap();
    assert!(packet.len() <= 512, "{} bytes with two keys", packet.len());
}

#[test]
fn a_set_goes_with_its_signature_or_not_at_all() {
    let server = server(one_key(Denial::Compact));
    // 28 strings of 40 bytes leave no room for a signature in 1,232 bytes.
    for (question, transport, expect) in [
        ("long.example TXT", Transport::Udp, "NOERROR aa tc"),
        ("long.example TXT", Transport::Tcp, "NOERROR aa long.example 300 TXT 1148 bytes, long.example 300 RRSIG TXT"),
    ] {
        let message = server.message(transport, &query(question, Some(dnssec_ok())));
        assert_eq!(print(&message), expect);
    }
    assert_eq!(server.ask("long.example TXT"), "NOERROR aa long.example 300 TXT 1148 bytes");
}

#[test]
fn a_key_that_does_not_open_is_no_reason_to_answer_unsigned() {
    let made = generate(Role::Csk, Algorithm::Ed25519).unwrap();
    let private = PrivateKey::sealed(b"", b"", Arc::new(|_, _| None));
    let duties = Duties { published: true, signs: true, announced: true };
    let key = ZoneKey { public: made.public, duties, private: Some(private) };
    let keys = ZoneKeys::new(vec![key], Denial::Compact, Announcement::None, Validity::default()).unwrap();
    // And keys of which nobody knows anything.
    for keys in [keys, ZoneKeys::unreadable()] {
        let server = server(Arc::new(keys));
        for question in ["www.example A", "nothing.example A", "www.example MX", "away.example A", "example DNSKEY"] {
            assert_eq!(ask(&server, question), "SERVFAIL", "{question}");
        }
        assert_eq!(server.ask("www.example TXT"), "NOERROR aa www.example 300 TXT hello");
        assert_eq!(ask(&server, "www.inner.example A"), "NOERROR aa www.inner.example 300 A 192.0.2.9");
    }
}

/// Requirement NEG-10: of the two sets of a denial one is always the same.
#[test]
fn the_soa_is_signed_once_a_revision() {
    let keys = one_key(Denial::Compact);
    let mut server = server(Arc::clone(&keys));
    let made = |server: &Server, question: &str| {
        let message = server.message(Transport::Udp, &query(question, Some(dnssec_ok())));
        assert_eq!(message.authority.len(), 4, "{question}");
        server.signing.borrow_mut().signer.take_tally().made
    };
    for (question, expect) in [("n1.example A", 2), ("n2.example A", 1), ("n3.example A", 1), ("n1.example A", 0)] {
        assert_eq!(made(&server, question), expect, "{question}");
    }
    let mut edit = server.zones.edit();
    edit.put_zone(ZoneFacts { dnssec: Some(keys), ..facts("example", 8) });
    server.zones = edit.finish();
    for (question, expect) in [("n4.example A", 2), ("n5.example A", 1)] {
        assert_eq!(made(&server, question), expect, "{question}");
    }
}

/// A hundred thousand signed zones start as fast as unsigned ones: a key is opened by the first signature, once.
#[test]
fn keys_are_opened_when_they_are_needed() {
    let opened = Arc::new(AtomicUsize::new(0));
    let made = generate(Role::Csk, Algorithm::Ed25519).unwrap();
    let counted = Arc::clone(&opened);
    let unseal = move |_: &[u8], bytes: &[u8]| {
        counted.fetch_add(1, Ordering::Relaxed);
        Some(bytes.to_vec())
    };
    let private = PrivateKey::sealed(b"", &made.pkcs8, Arc::new(unseal));
    let duties = Duties { published: true, signs: true, announced: true };
    let key = ZoneKey { public: made.public, duties, private: Some(private) };
    let keys = ZoneKeys::new(vec![key], Denial::Compact, Announcement::Keys, Validity::default()).unwrap();
    let server = server(Arc::new(keys));
    for question in ["www.example A", "nothing.example A", "example DNSKEY", "example CDS"] {
        server.ask(question);
    }
    assert_eq!(opened.load(Ordering::Relaxed), 0);
    for question in ["www.example A", "nothing.example A", "example DNSKEY"] {
        server.message(Transport::Udp, &query(question, Some(dnssec_ok())));
        assert_eq!(opened.load(Ordering::Relaxed), 1, "{question}");
    }
}

/// What would need a new signature is asked for again over TCP, where it is known who asks; all else goes on.
#[test]
fn over_budget() {
    let server = server(one_key(Denial::Compact));
    let budget = Budget { lasting: 1_000, passing: 3, source: 1_000 };
    server.signing.replace(bartizan_authority::Signing::new(Signer::new(7, Limits { budget, ..Limits::default() })));
    for (question, expect) in [
        ("n1.example A", "NOERROR aa / example"),
        ("n2.example A", "NOERROR aa / example"),
        ("x.wild.example A", "NOERROR aa x.wild.example"),
        ("n3.example A", "NOERROR aa tc"),
        ("y.wild.example A", "NOERROR aa tc"),
        ("n1.example A", "NOERROR aa / example"),
        ("www.example A", "NOERROR aa www.example"),
        ("www.example MX", "NOERROR aa / example"),
    ] {
        let answer = ask(&server, question);
        assert!(answer.starts_with(expect), "{question}: {answer}");
    }
    assert_eq!(server.ask("n4.example A"), "NXDOMAIN aa / example 3600 SOA …");
}

/// What is no record as it was put is signed as what it is, and denials say of a name what answers do.
#[test]
fn what_the_edge_makes_is_signed() {
    let keys = one_key(Denial::Compact);
    let mut edit = zones(&keys, &one_key(Denial::Compact)).edit();
    for (owner, lines) in [
        ("example", &["CNAME mail.example", "TXT v=spf1"][..]),
        ("tree.example", &["DNAME other.test"]),
        ("_dmarc.example", &["CNAME vendor.test"]),
        ("sel._domainkey.example", &["TXT v=DKIM1"]),
    ] {
        edit.put_name(&zone_name("example"), &name(owner), content(lines));
    }
    let example = ZoneFacts { dnssec: Some(Arc::clone(&keys)), phishing: Phishing::Flagged, ..facts("example", 8) };
    edit.put_zone(example);
    let mut server = Server::new(edit.finish());
    server.signed = [("example".to_owned(), keys)].into();
    let nsec = |owner: &str, types: &str| format!("{owner} 3600 NSEC \\000.{owner} {types}, {owner} 3600 RRSIG NSEC");
    let apex = nsec("example", "A NS SOA AAAA RRSIG NSEC DNSKEY");
    for (question, expect) in [
        // Both record sets of the question for all addresses have signatures of their own.
        (
            "mail.example TYPE65535",
            "NOERROR aa mail.example 300 A 192.0.2.3, mail.example 300 RRSIG A, mail.example 300 AAAA 2001:db8::3, \
             mail.example 300 RRSIG AAAA"
                .to_owned(),
        ),
        ("proxied.example HTTPS", "RRSIG HTTPS".to_owned()),
        ("example A", "NOERROR aa example 300 A 192.0.2.3, example 300 RRSIG A".to_owned()),
        ("example CNAME", format!("NOERROR aa / {SOA}, {apex}")),
        ("example TXT", format!("NOERROR aa / {SOA}, {apex}")),
        // The CNAME follows from the DNAME, which is signed (RFC 6672 §5.3.1).
        (
            "x.tree.example A",
            "NOERROR aa tree.example 300 DNAME other.test, tree.example 300 RRSIG DNAME, x.tree.example 300 CNAME \
             x.other.test"
                .to_owned(),
        ),
        (
            "_dmarc.example TXT",
            "NOERROR aa _dmarc.example 300 TXT v=DMARC1; p=reject, _dmarc.example 300 RRSIG TXT".to_owned(),
        ),
        ("_dmarc.example A", format!("NOERROR aa / {SOA}, {}", nsec("_dmarc.example", "TXT RRSIG NSEC"))),
        ("_dmarc.www.example A", format!("NOERROR aa / {SOA}, {}", nsec("_dmarc.www.example", "TXT RRSIG NSEC"))),
        ("sel._domainkey.example TXT", format!("NOERROR aa / {SOA}, {}", nsec("sel._domainkey.example", "RRSIG NSEC"))),
    ] {
        let said = ask(&server, question);
        assert!(said.contains(&expect), "{question}: {said}\nand not {expect}");
    }
}
