//! Signed answers before real judges: a chain of trust from a root of our own, and validators that believe nothing else.
//!
//! ```text
//! dig, delv ─► unbound (validates) ─┬─► "." and "test.", signed by ldns, as files
//!                                   └─► our DNS plane: a zone for each form of denial, signed as it answers
//! ```

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bartizan_authority::{Addresses, NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_e2e::dns::{Reply, dig};
use bartizan_e2e::{Program, finish, wait};
use bartizan_live::Live;
use bartizan_names::{Name, Phishing, RecordType, ZoneName};
use bartizan_plane_dns::{Config, Counters, Plane, Sockets, start};
use bartizan_signer::{
    Algorithm, Announcement, Denial, Digest, Duties, PrivateKey, PublicKey, Role, Validity, ZoneKey, ZoneKeys, generate,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::judges::nsd_of;

/// A zone of ours: its denial, and the keys it has.
struct Signed {
    apex: &'static str,
    denial: Denial,
    keys: &'static [(Role, Algorithm)],
}

const P256: Algorithm = Algorithm::EcdsaP256Sha256;
const ED25519: Algorithm = Algorithm::Ed25519;

const ZONES: [Signed; 4] = [
    Signed { apex: "compact.test", denial: Denial::Compact, keys: &[(Role::Csk, P256)] },
    Signed { apex: "lies.test", denial: Denial::BlackLies, keys: &[(Role::Csk, ED25519)] },
    Signed { apex: "shotgun.test", denial: Denial::Shotgun, keys: &[(Role::Ksk, P256), (Role::Zsk, P256)] },
    // A key that is on its way out still signs beside the one that follows it (RFC 6781 §4.1.1.2).
    Signed { apex: "rolling.test", denial: Denial::Compact, keys: &[(Role::Csk, P256), (Role::Csk, P256)] },
];

/// Zones whose mail is to be rejected, in each form of denial; by their names what becomes of other texts of the apex.
const WITHOUT_MAIL: [(Signed, Phishing); 6] = {
    const fn csk(apex: &'static str, denial: Denial) -> Signed {
        Signed { apex, denial, keys: &[(Role::Csk, P256)] }
    }
    [
        (csk("flagged-compact.test", Denial::Compact), Phishing::Flagged),
        (csk("flagged-lies.test", Denial::BlackLies), Phishing::Flagged),
        (csk("flagged-shotgun.test", Denial::Shotgun), Phishing::Flagged),
        (csk("strict-compact.test", Denial::Compact), Phishing::Strict),
        (csk("strict-lies.test", Denial::BlackLies), Phishing::Strict),
        (csk("strict-shotgun.test", Denial::Shotgun), Phishing::Strict),
    ]
};

/// Every zone that a DS record leads to from `test.`
fn all_signed() -> impl Iterator<Item = &'static Signed> {
    ZONES.iter().chain(WITHOUT_MAIL.iter().map(|(zone, _)| zone))
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn apex(text: &str) -> ZoneName {
    ZoneName::new(name(text)).unwrap()
}

fn keys(zone: &Signed) -> Arc<ZoneKeys> {
    let duties = Duties { published: true, signs: true, announced: true };
    let key = |(role, algorithm): &(Role, Algorithm)| {
        let made = generate(*role, *algorithm).unwrap();
        let private = PrivateKey::sealed(b"", &made.pkcs8, Arc::new(|_, bytes| Some(bytes.to_vec())));
        ZoneKey { public: made.public, duties, private: Some(private) }
    };
    let keys = zone.keys.iter().map(key).collect();
    Arc::new(ZoneKeys::new(keys, zone.denial, Announcement::Keys, Validity::default()).unwrap())
}

fn facts(zone: &str, dnssec: Option<Arc<ZoneKeys>>) -> ZoneFacts {
    ZoneFacts {
        serial: 2_026_351_035,
        nameservers: vec![name("ns1.test"), name("ns2.test")],
        soa_rname: name("dns.test"),
        dnssec,
        ..ZoneFacts::new(apex(zone))
    }
}

/// What every zone has, and the question of which it is the answer.
fn contents(zone: &str, kept: &PublicKey) -> Vec<(String, RecordType, Vec<Vec<u8>>, Proxied)> {
    let at = |owner: &str| if owner.is_empty() { zone.to_owned() } else { format!("{owner}.{zone}") };
    let wire = |owner: &str| name(&at(owner)).as_wire().to_vec();
    let set = |owner: &str, rtype: RecordType, data: Vec<Vec<u8>>| (at(owner), rtype, data, Proxied::Never);
    let text = |text: &str, count: usize| [&[text.len() as u8], text.as_bytes()].concat().repeat(count);
    vec![
        set("", RecordType::A, vec![vec![192, 0, 2, 1]]),
        set("", RecordType::TXT, vec![text("v=spf1 -all", 1)]),
        set("www", RecordType::A, vec![vec![192, 0, 2, 9], vec![192, 0, 2, 1]]),
        set("www", RecordType::TXT, vec![text("b", 1), text("a", 2), text("a", 1)]),
        set("mail", RecordType::MX, vec![[&[0, 10], &wire("www")[..]].concat(), [&[0, 5], &wire("two")[..]].concat()]),
        set("two", RecordType::A, vec![vec![192, 0, 2, 2]]),
        set("two", RecordType::AAAA, vec![[0x20; 16].to_vec()]),
        set("_http._tcp", RecordType::SRV, vec![[&[0, 1, 0, 1, 0, 80], &wire("www")[..]].concat()]),
        set("caa", RecordType::CAA, vec![b"\0\x05issueca.test".to_vec()]),
        set("odd", RecordType(65_280), vec![b"anything".to_vec()]),
        set("long", RecordType::TXT, vec![text(&"x".repeat(200), 9)]),
        set("*.wild", RecordType::A, vec![vec![192, 0, 2, 3]]),
        set("below.ent", RecordType::A, vec![vec![192, 0, 2, 4]]),
        set("alias", RecordType::CNAME, vec![wire("www")]),
        set("alias-of-wild", RecordType::CNAME, vec![wire("x.y.wild")]),
        set("alias-of-nothing", RecordType::CNAME, vec![wire("nothing")]),
        set("alias-abroad", RecordType::CNAME, vec![name("www.compact.test").as_wire().to_vec()]),
        set("alias-of-plain", RecordType::CNAME, vec![name("www.plain.test").as_wire().to_vec()]),
        set("*.alias", RecordType::CNAME, vec![wire("www")]),
        set("tree", RecordType::DNAME, vec![wire("wild")]),
        // Delegations: one to a zone of strangers without keys, and one with; their servers are in them.
        set("away", RecordType::NS, vec![wire("ns.away")]),
        set("ns.away", RecordType::A, vec![vec![192, 0, 2, 5]]),
        set("far", RecordType::NS, vec![wire("ns.far")]),
        set("far", RecordType::DS, vec![[&[1, 2, 13, 2], &[7; 32][..]].concat()]),
        // And two to zones of ours, one without keys and one with.
        set("open", RecordType::NS, vec![name("ns1.test").as_wire().to_vec()]),
        set("kept", RecordType::NS, vec![name("ns1.test").as_wire().to_vec()]),
        set("kept", RecordType::DS, vec![kept.ds(&apex(&at("kept")), Digest::Sha256).as_ref().to_vec()]),
        (at("proxied"), RecordType::TXT, vec![text("mine", 1)], Proxied::UnlessPaused),
    ]
}

fn zones() -> (Zones, Vec<(&'static str, Arc<ZoneKeys>)>) {
    let mut edit = Zones::empty().edit();
    let mut all = Vec::new();
    let mut put = |zone: &str, dnssec: Option<Arc<ZoneKeys>>, kept: &ZoneKeys| {
        edit.put_zone(facts(zone, dnssec));
        let mut names: Vec<(String, NameContent)> = Vec::new();
        for (owner, rtype, rdata, proxied) in contents(zone, &kept.keys()[0].public) {
            let set = RecordSet { rtype, ttl: 300, rdata };
            match names.iter_mut().find(|(known, _)| *known == owner) {
                Some((_, content)) => content.sets.push(set),
                None => names.push((owner, NameContent { sets: vec![set], proxied })),
            }
        }
        for (owner, content) in names {
            edit.put_name(&apex(zone), &name(&owner), content);
        }
    };
    let mut kept = Vec::new();
    for zone in &ZONES {
        let (keys, inner) = (keys(zone), keys(&Signed { apex: "kept", keys: &[(Role::Csk, P256)], ..*zone }));
        put(zone.apex, Some(Arc::clone(&keys)), &inner);
        all.push((zone.apex, keys));
        kept.push(inner);
    }
    put("plain.test", None, &kept[0]);
    for (zone, inner) in ZONES.iter().zip(kept) {
        // Zones of ours inside of ours.
        for (label, dnssec) in [("open", None), ("kept", Some(inner))] {
            let child = format!("{label}.{}", zone.apex);
            edit.put_zone(facts(&child, dnssec));
            let www = NameContent {
                sets: vec![RecordSet { rtype: RecordType::A, ttl: 300, rdata: vec![vec![192, 0, 2, 6]] }],
                proxied: Proxied::Never,
            };
            edit.put_name(&apex(&child), &name(&format!("www.{child}")), www);
        }
    }
    for (zone, phishing) in &WITHOUT_MAIL {
        let keys = keys(zone);
        let dnssec = Some(Arc::clone(&keys));
        edit.put_zone(ZoneFacts { phishing: *phishing, ..facts(zone.apex, dnssec) });
        all.push((zone.apex, keys));
        let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        let set = |rtype, rdata| RecordSet { rtype, ttl: 300, rdata };
        for (owner, sets) in [
            ("", vec![set(RecordType::TXT, vec![text("v=spf1 -all"), text("site-verification")])]),
            (
                "www.",
                vec![set(RecordType::A, vec![vec![192, 0, 2, 9]]), set(RecordType::TXT, vec![text("v=spf1 -all")])],
            ),
            ("_dmarc.", vec![set(RecordType::CNAME, vec![name("vendor.test").as_wire().to_vec()])]),
            ("sel._domainkey.", vec![set(RecordType::TXT, vec![text("v=DKIM1")])]),
        ] {
            let content = NameContent { sets, proxied: Proxied::Never };
            edit.put_name(&apex(zone.apex), &name(&format!("{owner}{}", zone.apex)), content);
        }
    }
    (edit.finish(), all)
}

fn serve(zones: Zones) -> (Plane, SocketAddr) {
    let (udp, tcp) = both_ports();
    let address = udp.local_addr().unwrap();
    let live = Live::new(Config {
        zones,
        addresses: Addresses {
            v4: vec![Ipv4Addr::new(203, 0, 113, 1)],
            v6: vec!["2001:db8::1".parse().unwrap()],
            http3: true,
            https_port: None,
        },
        ..Config::default()
    });
    (start(Sockets { udp: vec![udp], tcp: vec![tcp], tls: Vec::new() }, &live, &Counters::default()).unwrap(), address)
}

fn both_ports() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

/// Signs a zone file by a new key; gives the DS record.
fn sign(folder: &Path, zone: &str, text: &str) -> String {
    sign_with(folder, zone, text, &[])
}

/// The same; `words` are more for ldns-signzone.
fn sign_with(folder: &Path, zone: &str, text: &str, words: &[&str]) -> String {
    let file = if zone == "." { "root.zone".to_owned() } else { format!("{zone}zone") };
    fs::write(folder.join(&file), text).unwrap();
    let mut keygen = Command::new("ldns-keygen");
    let key = finish(keygen.current_dir(folder).args(["-k", "-a", "ECDSAP256SHA256", zone])).ok();
    finish(Command::new("ldns-signzone").current_dir(folder).args(words).args([
        "-f",
        &format!("{file}.signed"),
        &file,
        key.trim(),
    ]))
    .ok();
    fs::read_to_string(folder.join(format!("{}.ds", key.trim()))).unwrap()
}

struct World {
    folder: TempDir,
    _plane: Plane,
    server: SocketAddr,
    resolver: SocketAddr,
    _unbound: Program,
}

impl World {
    fn begin() -> World {
        let folder = tempfile::Builder::new().prefix("bartizan-signed-").tempdir().unwrap();
        let path = folder.path();
        let (zones, keys) = zones();
        let (plane, server) = serve(zones);
        let mut tld = "test. 3600 IN SOA ns1.test. host.test. 1 1800 900 604800 3600\ntest. 3600 IN NS ns1.test.\n\
                       ns1.test. 3600 IN A 127.0.0.1\nns2.test. 3600 IN A 127.0.0.1\nplain.test. 3600 IN NS ns1.test.\n"
            .to_owned();
        for (zone, keys) in &keys {
            tld += &format!("{zone}. 3600 IN NS ns1.test.\n");
            for key in keys.keys().iter().filter(|key| key.public.role().signs_keys()) {
                let ds = key.public.ds(&apex(zone), Digest::Sha256);
                let [high, low, algorithm, digest, hash @ ..] = ds.as_ref() else { panic!("a DS is longer") };
                let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                tld +=
                    &format!("{zone}. 3600 IN DS {} {algorithm} {digest} {hash}\n", u16::from_be_bytes([*high, *low]));
            }
        }
        let ds = sign(path, "test.", &tld);
        let root = format!(
            ". 86400 IN SOA a.root. host.root. 1 1800 900 604800 86400\n. 86400 IN NS a.root.\na.root. 86400 IN A 127.0.0.1\n\
             test. 86400 IN NS ns1.test.\nns1.test. 86400 IN A 127.0.0.1\n{ds}"
        );
        let anchor = sign(path, ".", &root);
        fs::write(path.join("anchor"), anchor).unwrap();
        let (unbound, resolver) = unbound(path, server);
        World { folder, _plane: plane, server, resolver, _unbound: unbound }
    }

    fn ask(&self, question: &str) -> Reply {
        let words: Vec<&str> = question.split(' ').collect();
        dig(self.resolver, &[&["+dnssec", "+recurse"], &words[..]].concat())
    }

    /// What is wrong with an answer, if anything: whether it is secure, its status, and its records beside signatures.
    fn judge(&self, (question, secure, status, count): &(String, bool, &str, usize)) -> Option<String> {
        let reply = self.ask(question);
        let found = reply.answer.iter().filter(|record| record.kind != "RRSIG").count();
        let expect = (*status, *secure, *count);
        let is_right = (reply.status.as_str(), reply.has_flag("ad"), found) == expect;
        (!is_right).then(|| format!("{question}: wanted {expect:?}\n{}", reply.text))
    }

    /// What another validator makes of a question about a zone: it asks for every key itself.
    fn delv(&self, question: &str, zone: &Signed) -> String {
        let anchor = fs::read_to_string(self.folder.path().join("anchor")).unwrap();
        let words: Vec<&str> = anchor.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "DS").unwrap();
        let anchors = format!(
            "trust-anchors {{ \".\" static-ds {} {} {} \"{}\"; }};\n",
            words[at + 1],
            words[at + 2],
            words[at + 3],
            words[at + 4..].concat()
        );
        let file = self.folder.path().join("delv.keys");
        fs::write(&file, anchors).unwrap();
        let (owner, rtype) = question.split_once(' ').unwrap();
        let (port, owner) = (self.resolver.port().to_string(), format!("{owner}.{}", zone.apex));
        let mut delv = Command::new("delv");
        delv.args(["@127.0.0.1", "-p", &port, "-a"]).arg(&file).args(["+root=.", &owner, rtype]);
        let finished = finish(&mut delv);
        format!("{}{}", finished.out, finished.err)
    }
}

/// A resolver that believes the root's key alone, and uses what denials prove (RFC 8198).
fn unbound(folder: &Path, server: SocketAddr) -> (Program, SocketAddr) {
    let (udp, tcp) = both_ports();
    let resolver = udp.local_addr().unwrap();
    drop((udp, tcp));
    let here = folder.display();
    let mut text = format!(
        "server:\n directory: \"{here}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n verbosity: 1\n \
         val-log-level: 2\n interface: 127.0.0.1\n port: {}\n do-not-query-localhost: no\n do-ip6: no\n \
         module-config: \"validator iterator\"\n trust-anchor-file: \"{here}/anchor\"\n aggressive-nsec: yes\n \
         local-zone: \"test.\" nodefault\n num-threads: 1\n\
         remote-control:\n control-enable: no\n",
        resolver.port()
    );
    for (zone, file) in [(".", "root.zone"), ("test.", "test.zone")] {
        text += &format!(
            "auth-zone:\n name: \"{zone}\"\n zonefile: \"{here}/{file}.signed\"\n for-downstream: no\n for-upstream: yes\n"
        );
    }
    for zone in all_signed().map(|zone| zone.apex).chain(["plain.test"]) {
        text += &format!("stub-zone:\n name: \"{zone}\"\n stub-addr: 127.0.0.1@{}\n", server.port());
    }
    fs::write(folder.join("unbound.conf"), text).unwrap();
    let program =
        Program::start("unbound", Command::new("unbound").args(["-d", "-c"]).arg(folder.join("unbound.conf")));
    wait::until("unbound answers", || (dig(resolver, &["+recurse", "test.", "SOA"]).status == "NOERROR").then_some(()));
    (program, resolver)
}

/// Questions about a zone, whether the answer is secure, its status, and how many records the answer has beside signatures.
/// What is not there comes first, so that a denial that says too much spoils what follows.
fn questions(zone: &str) -> Vec<(String, bool, &'static str, usize)> {
    let q = |owner: &str, rtype: &str, secure, status, count| {
        let owner = if owner.is_empty() { zone.to_owned() } else { format!("{owner}.{zone}") };
        (format!("{owner} {rtype}"), secure, status, count)
    };
    // A validator that does not know NXNAME takes a name that is not there for one without types.
    let nothing = "NOERROR";
    vec![
        q("nothing", "A", true, nothing, 0),
        q("nothing", "TXT", true, nothing, 0),
        q("a.b.c.nothing", "AAAA", true, nothing, 0),
        q("www", "AAAA", true, "NOERROR", 0),
        q("www", "MX", true, "NOERROR", 0),
        q("www", "TYPE1234", true, "NOERROR", 0),
        q("", "AAAA", true, "NOERROR", 0),
        q("", "DS", true, "NOERROR", 1),
        q("ent", "A", true, "NOERROR", 0),
        q("ent", "TXT", true, "NOERROR", 0),
        q("x.wild", "AAAA", true, "NOERROR", 0),
        q("wild", "A", true, "NOERROR", 0),
        q("alias-of-nothing", "A", true, nothing, 1),
        q("alias", "AAAA", true, "NOERROR", 1),
        q("away", "DS", true, "NOERROR", 0),
        q("open", "DS", true, "NOERROR", 0),
        q("proxied", "MX", true, "NOERROR", 0),
        q("proxied", "CNAME", true, "NOERROR", 0),
        q("nothing", "ANY", true, "NOERROR", 0),
        q("", "A", true, "NOERROR", 1),
        q("", "TXT", true, "NOERROR", 1),
        q("", "SOA", true, "NOERROR", 1),
        q("", "NS", true, "NOERROR", 2),
        q("mail", "ANY", true, "NOERROR", 1),
        q("www", "A", true, "NOERROR", 2),
        q("www", "TXT", true, "NOERROR", 3),
        q("WwW", "a", true, "NOERROR", 2),
        q("mail", "MX", true, "NOERROR", 2),
        q("two", "AAAA", true, "NOERROR", 1),
        q("_http._tcp", "SRV", true, "NOERROR", 1),
        q("caa", "CAA", true, "NOERROR", 1),
        q("odd", "TYPE65280", true, "NOERROR", 1),
        q("long", "TXT", true, "NOERROR", 1),
        q("x.wild", "A", true, "NOERROR", 1),
        q("x.y.wild", "A", true, "NOERROR", 1),
        q("*.wild", "A", true, "NOERROR", 1),
        q("below.ent", "A", true, "NOERROR", 1),
        q("alias", "A", true, "NOERROR", 3),
        q("alias", "CNAME", true, "NOERROR", 1),
        q("alias-of-wild", "A", true, "NOERROR", 2),
        q("alias-abroad", "A", true, "NOERROR", 3),
        q("x.alias", "A", true, "NOERROR", 3),
        q("far", "DS", true, "NOERROR", 1),
        q("nothing.kept", "A", true, nothing, 0),
        q("www.kept", "A", true, "NOERROR", 1),
        q("www.kept", "AAAA", true, "NOERROR", 0),
        q("kept", "DS", true, "NOERROR", 1),
        q("kept", "SOA", true, "NOERROR", 1),
        q("tree", "A", true, "NOERROR", 0),
        q("tree", "DNAME", true, "NOERROR", 1),
        q("x.tree", "TXT", true, "NOERROR", 2),
        q("x.y.tree", "A", true, "NOERROR", 3),
        q("proxied", "HTTPS", true, "NOERROR", 1),
        q("proxied", "A", true, "NOERROR", 1),
        q("proxied", "AAAA", true, "NOERROR", 1),
        q("proxied", "TXT", true, "NOERROR", 1),
        q("www", "NSEC", true, "NOERROR", 1),
        q("nothing", "NSEC", true, "NOERROR", 1),
        // What leads out of what is signed is not secure, and is answered.
        q("alias-of-plain", "A", false, "NOERROR", 3),
        q("www.open", "A", false, "NOERROR", 1),
        q("nothing.open", "A", false, "NXDOMAIN", 0),
        q("open", "SOA", false, "NOERROR", 1),
    ]
}

#[test]
fn a_validator_finds_every_answer_secure() {
    let world = World::begin();
    let mut wrong = Vec::new();
    for zone in &ZONES {
        let mut all = questions(zone.apex);
        let keys = zone.keys.iter().filter(|(role, _)| role.signs_keys()).count();
        all.push((format!("{} DNSKEY", zone.apex), true, "NOERROR", zone.keys.len()));
        all.push((format!("{} CDS", zone.apex), true, "NOERROR", keys));
        all.push((format!("{} CDNSKEY", zone.apex), true, "NOERROR", keys));
        // There are as many DS records as keys that they are of.
        all.iter_mut().filter(|(question, ..)| *question == format!("{} DS", zone.apex)).for_each(|row| row.3 = keys);
        wrong.extend(all.iter().filter_map(|row| world.judge(row)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Requirement PHISH-8: what DNS says of mail that is to be rejected, and what it does not say of it, is as secure as all else,
/// in every form of denial.
#[test]
fn a_zone_without_mail_is_secure_in_every_form() {
    let world = World::begin();
    let mut wrong = Vec::new();
    for (zone, phishing) in &WITHOUT_MAIL {
        let texts = usize::from(*phishing == Phishing::Flagged);
        for (owner, rtype, count) in [
            ("_dmarc.nothing.", "TXT", 0),
            ("_dmarc.", "A", 0),
            ("_dmarc.", "CNAME", 0),
            ("sel._domainkey.", "TXT", 0),
            ("nothing._domainkey.", "TXT", 0),
            ("www.", "TXT", 0),
            ("", "TYPE99", 0),
            ("", "TXT", texts),
            ("_dmarc.", "TXT", 1),
            ("_dmarc.www.", "TXT", 1),
            ("www.", "A", 1),
        ] {
            wrong.extend(world.judge(&(format!("{owner}{} {rtype}", zone.apex), true, "NOERROR", count)));
        }
        for (question, expect) in [
            ("_dmarc TXT", "; fully validated"),
            ("_dmarc.www TXT", "; fully validated"),
            ("sel._domainkey TXT", "; negative response, fully validated"),
            ("www TXT", "; negative response, fully validated"),
        ] {
            let said = world.delv(question, zone);
            if !said.contains(expect) {
                wrong.push(format!("{question} of {}: {said}", zone.apex));
            }
        }
        let policy = world.ask(&format!("_dmarc.{} TXT", zone.apex));
        assert!(policy.answer.iter().any(|record| record.data.contains("p=reject")), "{}", policy.text);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All addresses by one question (TYPE65535): no validator takes a set of another type than it asked for, so its members are held
/// beside what it does take, by the same signatures.
#[test]
fn members_of_the_question_for_all_addresses_are_secure() {
    let world = World::begin();
    for zone in &ZONES {
        for (owner, families) in [("two", &["A", "AAAA"][..]), ("www", &["A"]), ("proxied", &["A", "AAAA"])] {
            let owner = format!("{owner}.{}", zone.apex);
            let records = |reply: &Reply| -> Vec<String> {
                let mut lines: Vec<String> =
                    reply.answer.iter().map(|one| format!("{} {} {}", one.name, one.kind, one.data)).collect();
                lines.sort();
                lines
            };
            let mut singly = Vec::new();
            for family in families {
                let secure = world.ask(&format!("{owner} {family}"));
                assert!(secure.has_flag("ad"), "{}", secure.text);
                singly.extend(records(&dig(world.server, &["+dnssec", &owner, family])));
                assert!(records(&secure).iter().all(|line| singly.contains(line)), "{singly:#?}\n{}", secure.text);
            }
            singly.sort();
            let at_once = dig(world.server, &["+dnssec", &owner, "TYPE65535"]);
            assert_eq!(records(&at_once), singly, "{}", at_once.text);
        }
    }
}

/// Another validator's opinion.
#[test]
fn delv_validates_it_too() {
    let world = World::begin();
    for zone in &ZONES {
        for (question, expect) in [
            ("www A", "; fully validated"),
            ("x.wild A", "; fully validated"),
            ("alias A", "; fully validated"),
            ("nothing A", "; negative response, fully validated"),
            ("www MX", "; negative response, fully validated"),
            ("ent A", "; negative response, fully validated"),
            ("open DS", "; negative response, fully validated"),
            ("www.open A", "; unsigned answer"),
        ] {
            let said = world.delv(question, zone);
            assert!(said.contains(expect), "{question} of {}: {said}", zone.apex);
        }
    }
}

/// `dnsviz grok`. Debian's asks which release of pygraphviz there is in a way that Debian's pygraphviz does not know any more.
const GROK: &str = "import sys, types, pygraphviz; \
                    pygraphviz.release = types.SimpleNamespace(version=pygraphviz.__version__); \
                    from dnsviz.commands.grok import main; main(['grok', *sys.argv[1:]])";

/// A third opinion, of each message and of the whole chain: dnsviz asks the servers of every zone, and says what is odd.
#[test]
fn dnsviz_finds_no_fault_in_any_form_of_denial() {
    let world = World::begin();
    let folder = world.folder.path();
    let (_nsd, above) = nsd_of(folder, [(".", "root.zone.signed".to_owned()), ("test", "test.zone.signed".to_owned())]);
    wait::until("NSD answers", || (dig(above, &["test.", "SOA"]).status == "NOERROR").then_some(()));
    let root = fs::read_to_string(folder.join("root.zone.signed")).unwrap();
    let keys: Vec<&str> = root.lines().filter(|line| line.contains("\tDNSKEY\t")).collect();
    fs::write(folder.join("trusted"), keys.join("\n") + "\n").unwrap();
    let mut probe = Command::new("dnsviz");
    probe.args(["probe", "-A", "-4", "-t", "4"]);
    let mut servers = |zone: &str, at: SocketAddr| {
        probe.args(["-x", &format!("{zone}:ns1.test={at}")]);
    };
    servers(".", above);
    servers("test", above);
    let inner = ZONES.iter().map(|zone| format!("kept.{}", zone.apex));
    let zones: Vec<String> = all_signed().map(|zone| zone.apex.to_owned()).chain(inner).collect();
    zones.iter().for_each(|zone| servers(zone, world.server));
    let (probed, judged) = (folder.join("probed"), folder.join("judged"));
    probe.arg("-o").arg(&probed).args(&zones);
    for zone in all_signed() {
        let owners = ["www", "nothing", "a.b.nothing", "ent", "x.wild", "alias", "alias-of-nothing", "tree", "two"];
        probe.args(owners.map(|owner| format!("{owner}.{}", zone.apex)));
    }
    finish(&mut probe).ok();
    let mut seen: Value = serde_json::from_str(&fs::read_to_string(&probed).unwrap()).unwrap();
    let grok = |seen: &Value| -> Value {
        fs::write(&probed, seen.to_string()).unwrap();
        let mut grok = Command::new("/usr/bin/python3");
        grok.args(["-c", GROK, "-P", "-t"]).arg(folder.join("trusted")).arg("-r").arg(&probed).arg("-o").arg(&judged);
        finish(&mut grok).ok();
        serde_json::from_str(&fs::read_to_string(&judged).unwrap()).unwrap()
    };
    let complaints = |judged: &Value| {
        let mut complaints = Vec::new();
        complain(judged, "", &mut complaints);
        complaints
    };
    let judged = grok(&seen);
    let found = complaints(&judged);
    assert!(found.is_empty(), "{}", found.join("\n"));
    for zone in &zones {
        let status = &judged[format!("{zone}.")]["delegation"]["status"];
        assert_eq!(status, "SECURE", "{zone}: {judged:#}");
    }
    // And it does look: of what is spoilt it complains.
    spoil(&mut seen["www.compact.test."]);
    let found = complaints(&grok(&seen));
    assert!(found.iter().all(|one| one.starts_with("/www.compact.test.")) && !found.is_empty(), "{found:#?}");
}

/// Changes a bit of each message that dnsviz has kept, which is in base64: of the signature that is the last record but OPT.
fn spoil(seen: &mut Value) {
    match seen {
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| match value {
            Value::String(text) if name == "message" && text.len() > 200 => {
                let at = text.len() - 80;
                let other = if text[at..].starts_with('A') { "B" } else { "A" };
                text.replace_range(at..=at, other);
            }
            value => spoil(value),
        }),
        Value::Array(values) => values.iter_mut().for_each(spoil),
        _ => {}
    }
}

/// What dnsviz complains of, and where.
fn complain(judged: &Value, place: &str, complaints: &mut Vec<String>) {
    match judged {
        Value::Object(members) => members.iter().for_each(|(name, value)| match name.as_str() {
            "errors" | "warnings" => complaints.push(format!("{place}: {name} {value}")),
            name => complain(value, &format!("{place}/{name}"), complaints),
        }),
        Value::Array(values) => values.iter().for_each(|value| complain(value, place, complaints)),
        _ => {}
    }
}

/// Requirement NEG-4: what it takes to deny a name, by records and by octets, beside zones that are signed ahead, of the same
/// records and by an algorithm with keys as long: two more records with NSEC, four with NSEC3.
#[test]
fn a_denial_is_short_beside_those_of_zones_signed_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (_plane, ours) = serve(zones().0);
    let names = ["ns1", "www", "below.ent", "mail"].map(|owner| format!("{owner}.compact.test. 300 IN A 192.0.2.1\n"));
    let text = format!(
        "compact.test. 86400 IN SOA ns1.test. dns.test. 2026351035 10000 2400 604800 3600\n\
         compact.test. 86400 IN NS ns1.test.\ncompact.test. 86400 IN NS ns2.test.\n{}",
        names.concat()
    );
    let denial = |server: SocketAddr| {
        let reply = dig(server, &["+dnssec", "+nocookie", "nothing.compact.test.", "A"]);
        let size = reply.text.split("MSG SIZE  rcvd: ").nth(1)?.trim();
        Some((reply.authority.len(), size.parse::<usize>().expect("a number")))
    };
    let compact = denial(ours).expect("dig says it");
    assert_eq!(compact.0, 4, "SOA, NSEC, and a signature of each");
    for (form, records) in [(&[][..], 6), (&["-n"][..], 8)] {
        sign_with(path, "compact.test.", &text, form);
        let (_nsd, ahead) = nsd_of(path, [("compact.test", "compact.test.zone.signed".to_owned())]);
        let theirs = wait::until("NSD answers", || denial(ahead).filter(|(count, _)| *count > 1));
        assert_eq!(theirs.0, records, "{form:?}");
        let spared = theirs.1 - compact.1;
        assert!(spared > 100 * (records - 4) / 2, "{form:?}: {} octets beside {}", compact.1, theirs.1);
    }
}

/// Whoever walks from name to name finds none but the one that was asked for.
#[test]
fn a_zone_cannot_be_walked() {
    let world = World::begin();
    for zone in &ZONES {
        // The apex's own NSEC record leads to a name that is not there, and so on: the walk finds no name of the zone.
        let (mut next, mut names) = (zone.apex.to_owned(), Vec::new());
        for _ in 0..20 {
            let reply = dig(world.server, &["+dnssec", &next, "NSEC"]);
            let Some(nsec) = reply.answer.iter().chain(&reply.authority).find(|record| record.kind == "NSEC") else {
                break;
            };
            assert_eq!(nsec.name.trim_end_matches('.'), next.trim_end_matches('.'), "an NSEC of another name");
            next = nsec.data.split(' ').next().unwrap().to_owned();
            names.push(next.clone());
        }
        assert_eq!(names.len(), 20);
        let apex = zone.apex;
        for (at, name) in names.iter().enumerate() {
            assert_eq!(*name, format!("{}{apex}.", "\\000.".repeat(at + 1)));
        }
    }
}
