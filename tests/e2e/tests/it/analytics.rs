//! What is asked is counted, exactly, by what it means: from the wire to the API and the command line.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Edge, Program, finish, wait};
use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{Class, Edns, write_query};
use serde_json::{Value, json};

/// Nobody waits so long but where something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

fn query(name: &str, rtype: RecordType, dnssec_ok: bool) -> Vec<u8> {
    let edns = Edns { dnssec_ok, ..Edns::of_size(1232) };
    write_query(7, &Name::parse(name).expect("a name"), rtype, Class::IN, Some(edns))
}

/// Asks once, whatever happens; gives what the header says of the answer.
fn over_udp(server: SocketAddr, packet: &[u8]) -> Said {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.connect(server).expect("loopback");
    socket.send(packet).expect("loopback");
    let mut reply = vec![0; 65_535];
    let length = socket.recv(&mut reply).expect("an answer");
    Said::read(&reply[..length])
}

/// The same for many, on one connection.
fn over_tcp(server: SocketAddr, packets: &[Vec<u8>]) {
    let mut stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    for packet in packets {
        stream.write_all(&(packet.len() as u16).to_be_bytes()).expect("it takes it");
        stream.write_all(packet).expect("it takes it");
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("an answer");
        stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes(length))]).expect("an answer");
    }
}

#[derive(Debug, PartialEq)]
struct Said {
    truncated: bool,
    rcode: u8,
}

impl Said {
    fn read(reply: &[u8]) -> Said {
        Said { truncated: reply[2] & 2 != 0, rcode: reply[3] & 15 }
    }
}

/// A zone with what is asked for below; gives its id.
fn zone(edge: &Edge, name: &str, signed: bool) -> String {
    let zone = edge.post("/zones", &json!({"name": name, "account": {"id": edge.account()}}));
    let id = zone["id"].as_str().expect("an id").to_owned();
    let path = format!("/zones/{id}/dns_records");
    for number in 0..15 {
        edge.post(&path, &json!({"name": format!("n{number}"), "type": "A", "content": "192.0.2.1"}));
    }
    for number in 0..8 {
        let text = format!("\"number {number} {}\"", "y".repeat(230));
        edge.post(&path, &json!({"name": "many", "type": "TXT", "content": text}));
    }
    if signed {
        edge.ask("PATCH", &format!("/zones/{id}/dnssec"), Some(&json!({"status": "active"}))).result();
        wait::until("the zone is signed", || edge.dig(&[name, "DNSKEY", "+dnssec", "+tcp"]).answer.first().map(|_| ()));
    }
    wait::until("all of the zone is served", || {
        (edge.dig(&[&format!("many.{name}"), "TXT", "+tcp"]).answer.len() >= 8).then_some(())
    });
    id
}

struct Asked<'e> {
    edge: &'e Edge,
    zone: String,
}

impl Asked<'_> {
    fn get(&self, what: &str) -> Value {
        self.edge.get(&format!("/zones/{}/dns_analytics/{what}", self.zone))
    }

    /// Counts by dimensions.
    fn counts(&self, what: &str) -> BTreeMap<String, u64> {
        let report = self.get(&format!("report?{what}"));
        let row = |row: &Value| {
            let dimensions = row["dimensions"].as_array().expect("a list").iter();
            let dimensions: Vec<_> = dimensions.map(|one| one.as_str().expect("text")).collect();
            (dimensions.join(" "), row["metrics"][0].as_f64().expect("a number") as u64)
        };
        report["data"].as_array().expect("a list").iter().map(row).collect()
    }

    fn all(&self) -> u64 {
        self.get("report")["totals"]["queryCount"].as_f64().expect("a number") as u64
    }
}

fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
}

/// A known mix over UDP and TCP: every count is exact, and the ten names that are asked for most are those.
#[test]
fn a_known_mix_is_counted_exactly() {
    let edge = Edge::start();
    let asked = Asked { edge: &edge, zone: zone(&edge, "mix.test", false) };
    // What was asked while the zone was made is counted too.
    let before = wait::until("it is counted", || Some(asked.all()).filter(|all| *all > 0));
    wait::until("no more is being counted", || {
        std::thread::sleep(Duration::from_millis(1_500));
        (asked.all() == before).then_some(())
    });
    let base = |what: &str| asked.counts(what);
    let (names, codes) = (base("dimensions=queryName"), base("dimensions=responseCode,tcp"));
    let types = base("dimensions=queryType");

    let mut sent = 0;
    let mut tcp = Vec::new();
    for number in 0..15_u64 {
        for turn in 0..2 * number + 1 {
            let packet = query(&format!("n{number}.MIX.test"), RecordType::A, false);
            if turn % 3 == 0 {
                tcp.push(packet)
            } else {
                over_udp(edge.dns(), &packet);
            }
            sent += 1;
        }
    }
    for number in 0..5_u64 {
        for _ in 0..=number {
            let said = over_udp(edge.dns(), &query(&format!("gone{number}.mix.test"), RecordType::AAAA, false));
            assert_eq!(said.rcode, 3);
            sent += 1;
        }
    }
    over_tcp(edge.dns(), &tcp);
    // Too long for a datagram: asked again over TCP.
    let long = query("many.mix.test", RecordType::TXT, false);
    assert!(over_udp(edge.dns(), &long).truncated);
    over_tcp(edge.dns(), &[long]);
    sent += 2;
    // No zone of ours.
    over_udp(edge.dns(), &query("else.where", RecordType::A, false));

    wait::until("all is counted", || (asked.all() == before + sent).then_some(()));
    let more = |now: BTreeMap<String, u64>, then: &BTreeMap<String, u64>| -> BTreeMap<String, u64> {
        let grown = now.into_iter().map(|(what, count)| (what.clone(), count - then.get(&what).copied().unwrap_or(0)));
        grown.filter(|(_, count)| *count > 0).collect()
    };
    let mut expect: BTreeMap<String, u64> =
        (0..15).map(|number| (format!("n{number}.mix.test"), 2 * number + 1)).collect();
    expect.extend((0..5).map(|number| (format!("gone{number}.mix.test"), number + 1)));
    expect.insert("many.mix.test".to_owned(), 2);
    assert_eq!(more(base("dimensions=queryName"), &names), expect);
    let streamed = tcp.len() as u64;
    assert_eq!(
        more(base("dimensions=responseCode,tcp"), &codes),
        counts(&[("NOERROR 0", 225 - streamed + 1), ("NOERROR 1", streamed + 1), ("NXDOMAIN 0", 15)])
    );
    assert_eq!(more(base("dimensions=queryType"), &types), counts(&[("A", 225), ("AAAA", 15), ("TXT", 2)]));

    // The ten that are asked for most, in order; and those that are not there.
    let names = |what: &str| -> Vec<String> {
        let report = asked.get(&format!("report?dimensions=queryName&{what}"));
        assert_eq!((&report["estimated"], &report["other_count"]), (&json!(false), &json!(0)));
        let rows = report["data"].as_array().expect("a list").iter();
        rows.map(|row| row["dimensions"][0].as_str().expect("a name").to_owned()).collect()
    };
    let top: Vec<_> = (5..15).rev().map(|number| format!("n{number}.mix.test")).collect();
    assert_eq!(names("sort=-queryCount&limit=10&filters=queryType==A"), top);
    let gone: Vec<_> = (0..5).rev().map(|number| format!("gone{number}.mix.test")).collect();
    assert_eq!(names("filters=responseCode==NXDOMAIN"), gone);
    // One name, also one that is not there.
    let of_gone = asked.counts("dimensions=queryType&filters=queryName==gone4.mix.test");
    assert_eq!(of_gone, counts(&[("AAAA", 5)]));
    // From which size on it is asked again over TCP.
    let sizes =
        asked.counts("dimensions=tcp,responseSizeBucket&filters=queryName==many.mix.test;responseSizeBucket%3E1232");
    assert!(sizes.keys().all(|what| what.starts_with("1 ")) && !sizes.is_empty(), "{sizes:?}");

    // By time: the same sum.
    let by_time = asked.get("report/bytime?dimensions=responseCode&time_delta=minute");
    let sum: f64 = (by_time["data"].as_array().expect("a list").iter())
        .flat_map(|row| row["metrics"][0].as_array().expect("a list"))
        .map(|count| count.as_f64().unwrap_or_default())
        .sum();
    assert_eq!(sum as u64, before + sent);
    assert_eq!(by_time["query"]["time_delta"], "minute");

    // What cannot be answered says why; and nobody sees a zone that they may not.
    let path = format!("/zones/{}/dns_analytics/report?dimensions=origin", asked.zone);
    let refused = edge.ask("GET", &path, None);
    assert!(refused.status == 422 && refused.json.to_string().contains("origin is not kept"), "{}", refused.json);
    let wrong = edge.ask("GET", &path.replace("=origin", "=colour"), None);
    assert!(wrong.status == 400 && wrong.json.to_string().contains("there is no dimension"), "{}", wrong.json);
    let nowhere = edge.ask("GET", "/zones/00000000000000000000000000000001/dns_analytics/report", None);
    assert_eq!(nowhere.status, 404);

    // For people, and for scripts.
    let told = finish(&mut edge.command(["analytics", "dns", "mix.test"])).ok();
    for what in ["NXDOMAIN", "n14.mix.test", "gone4.mix.test", "names that are not there"] {
        assert!(told.contains(what), "{what}: {told}");
    }
    let scripted =
        finish(&mut edge.command(["--json", "analytics", "dns", "mix.test", "--name", "gone4.mix.test"])).ok();
    let scripted: Value = serde_json::from_str(&scripted).expect("a document");
    assert_eq!(scripted["codes"]["data"][0]["dimensions"][0], "NXDOMAIN");

    // Nothing is lost with the process but the last second.
    let all = asked.all();
    let (zone, edge) = (asked.zone, edge.restart_after_kill());
    let asked = Asked { edge: &edge, zone };
    assert_eq!(asked.all(), all);
    over_udp(edge.dns(), &query("n1.mix.test", RecordType::A, false));
    wait::until("it goes on", || (asked.all() == all + 1).then_some(()));
}

/// A signed zone says NOERROR of names that are not there, and proves it otherwise: it is counted as what it means.
#[test]
fn a_signed_denial_is_a_name_that_is_not_there() {
    let edge = Edge::start_with(&["--resolver", "127.0.0.1:9"]);
    let asked = Asked { edge: &edge, zone: zone(&edge, "signed.test", true) };
    for number in 0..4 {
        let said = over_udp(edge.dns(), &query(&format!("gone{number}.signed.test"), RecordType::A, true));
        assert_eq!((said.rcode, said.truncated), (0, false), "NOERROR on the wire");
    }
    over_tcp(edge.dns(), &[query("gone0.signed.test", RecordType::NSEC, true)]);
    // It is there, and has no such record.
    assert_eq!(over_udp(edge.dns(), &query("n1.signed.test", RecordType::MX, true)).rcode, 0);
    let missing = || asked.counts("dimensions=queryName,queryType&filters=responseCode==NXDOMAIN");
    let mut expect: BTreeMap<String, u64> = (0..4).map(|number| (format!("gone{number}.signed.test A"), 1)).collect();
    expect.insert("gone0.signed.test NSEC".to_owned(), 1);
    wait::until("they are counted", || (missing().len() == expect.len()).then_some(()));
    assert_eq!(missing(), expect);
    let there = "dimensions=responseCode&filters=queryName==n1.signed.test;queryType==MX";
    wait::until("it is counted", || (!asked.counts(there).is_empty()).then_some(()));
    assert_eq!(asked.counts(there), counts(&[("NOERROR", 1)]));
}

/// A file that is no file of ours is set aside, and a new one begun; what is served does not notice.
#[test]
fn damage_is_set_aside() {
    let mut edge = Edge::start();
    let folder = edge.data();
    let zone_id = zone(&edge, "hurt.test", false);
    wait::until("it is counted", || {
        let asked = Asked { edge: &edge, zone: zone_id.clone() };
        (asked.all() > 0).then_some(())
    });
    edge.program().terminate();
    edge.program().ended();
    std::fs::write(folder.join("stats.db"), vec![b'x'; 9_000]).expect("it is there");
    let edge = edge.restart_after_kill();
    let asked = Asked { edge: &edge, zone: zone_id };
    over_udp(edge.dns(), &query("n1.hurt.test", RecordType::A, false));
    wait::until("it goes on", || {
        let answer = edge.ask("GET", &format!("/zones/{}/dns_analytics/report", asked.zone), None);
        (answer.status == 200 && asked.all() >= 1).then_some(())
    });
    assert!(folder.join("stats.db.damaged").exists());
    let status = finish(&mut edge.command(["status"])).out;
    assert!(status.contains("the statistics"), "{status}");
}

/// Requests over HTTP are counted by what became of them, and who looks on sees each as it happens.
#[test]
fn requests_are_counted_and_seen_as_they_happen() {
    let edge = Edge::start();
    let origin = Origin::files();
    let host = edge.proxied("web", "A", "127.0.0.1", origin.port());
    let gone = edge.proxied("gone", "A", "127.0.0.1", 9);
    let words = ["--json", "tail", edge.domain(), "--http", "--name", &host, "--code", "4xx"];
    let tail = Program::start("tail", &mut edge.command(words));
    // Once it listens it sees the next.
    let seen = wait::until("it is seen", || {
        edge.http_get(&host, "/not-there?secret=1", &[]);
        let output = tail.output();
        output.lines().find(|line| line.contains("\"status\"")).map(str::to_owned)
    });
    tail.kill();
    let seen: Value = serde_json::from_str(&seen).expect("an object a line");
    let expect =
        [("kind", json!("http")), ("host", json!(host)), ("path", json!("/not-there")), ("status", json!(404))];
    for (member, expect) in expect {
        assert_eq!(seen[member], expect, "{seen}");
    }
    assert_eq!(seen["answered_by"], "origin", "{seen}");

    let path = format!("/bartizan/zones/{}/http_analytics/report", edge.zone());
    let counts = |filters: &str| {
        let report = edge.get(&format!("{path}?dimensions=status,protocol,answeredBy&filters={filters}"));
        let row = |row: &Value| {
            let dimensions = row["dimensions"].as_array().expect("a list").iter();
            let dimensions: Vec<_> = dimensions.map(|one| one.as_str().expect("text")).collect();
            (dimensions.join(" "), row["metrics"][0].as_f64().expect("a number") as u64)
        };
        report["data"].as_array().expect("a list").iter().map(row).collect::<BTreeMap<_, _>>()
    };
    // More than those until it was seen.
    for _ in 0..3 {
        edge.http_get(&gone, "/", &[]);
        edge.https_get(&gone, "/", &[]);
    }
    let failed = counts_until(|| counts(&format!("host=={gone}")), 6);
    assert!(failed.keys().all(|what| what.ends_with(" unreached") && what.starts_with('5')), "{failed:?}");
    assert!(failed.keys().any(|what| what.contains("HTTP/2")), "{failed:?}");
    let missing = counts(&format!("host=={host};status==404"));
    assert!(missing.keys().all(|what| what.starts_with("404 ") && what.ends_with(" origin")), "{missing:?}");

    let dashboard = edge.get(&format!("/zones/{}/analytics/dashboard?since=-60", edge.zone()));
    let requests = &dashboard["totals"]["requests"];
    assert_eq!(requests["all"], requests["uncached"], "{dashboard}");
    assert_eq!(requests["ssl"]["encrypted"], 3, "{dashboard}");
    assert!(requests["http_status"]["404"].as_u64() >= Some(1), "{dashboard}");
    let told = finish(&mut edge.command(["analytics", "http", edge.domain()])).ok();
    for what in ["requests", &host, &gone, "unreached", "hosts that fail most"] {
        assert!(told.contains(what), "{what}: {told}");
    }
}

/// What is counted, when it is so many.
fn counts_until(counts: impl Fn() -> BTreeMap<String, u64>, all: u64) -> BTreeMap<String, u64> {
    wait::until("all is counted", || Some(counts()).filter(|counts| counts.values().sum::<u64>() == all))
}
