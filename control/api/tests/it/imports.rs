//! Master files into a zone and out of it.

use axum::body::Body;
use bartizan_api::router;
use bartizan_names::{Name, RecordId, ZoneId};
use bartizan_store::{Key, Kind};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::edge::{Answer, Edge, TOKEN, commit, put};

const TYPE: &str = "multipart/form-data; boundary=b";

fn form(file: &str, proxied: Option<&str>) -> String {
    let proxied =
        proxied.map(|proxied| format!("--b\r\nContent-Disposition: form-data; name=\"proxied\"\r\n\r\n{proxied}\r\n"));
    // The file comes first, as curl sends it.
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"zone.txt\"\r\nContent-Type: text/plain\r\n\r\n\
         {file}\r\n{}--b--\r\n",
        proxied.unwrap_or_default()
    )
}

fn send(edge: &Edge, content_type: &str, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder()
        .method("POST")
        .uri(format!("/client/v4{path}"))
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", content_type);
    edge.send(request.body(body.into()).unwrap())
}

fn import(edge: &Edge, file: &str) -> Answer {
    send(edge, TYPE, &format!("{}/import", edge.records()), form(file, None))
}

/// Puts the records of a file into any zone.
pub(crate) fn import_into(edge: &Edge, zone: &str, file: &str) -> Answer {
    send(edge, TYPE, &format!("/zones/{zone}/dns_records/import"), form(file, None))
}

fn export(edge: &Edge) -> String {
    let answer = edge.get(&format!("{}/export", edge.records()));
    assert_eq!((answer.status.as_u16(), &answer.headers["content-type"]), (200, &"text/plain".parse().unwrap()));
    answer.text
}

/// Without what is a comment or the zone's own.
fn lines(text: &str) -> Vec<String> {
    let of_zone = ["SOA", "NS"].map(|kind| format!("bartizan.localhost.\t86400\tIN\t{kind}\t"));
    let is_record =
        |line: &&str| !line.starts_with(";;") && !of_zone.iter().any(|start| line.starts_with(start.as_str()));
    text.lines().filter(is_record).map(|line| line.replace('\t', " ")).collect()
}

/// `added parsed`, then what was said of lines; or the errors.
fn said(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item["message"].as_str().unwrap().to_owned()).collect()
    };
    if json["success"] == true {
        let head = format!("{} {}", json["result"]["recs_added"], json["result"]["total_records_parsed"]);
        assert!(json["timing"]["process_time"].as_f64().unwrap() >= 0.0, "{json}");
        return [vec![head], texts(&json["messages"])].concat();
    }
    assert_eq!(json["result"], Value::Null);
    let codes = json["errors"].as_array().unwrap().iter().map(|error| error["code"].to_string());
    codes.zip(texts(&json["errors"])).map(|(code, text)| format!("{} {code} {text}", answer.status.as_u16())).collect()
}

#[test]
fn what_goes_out_comes_in_again() {
    let edge = Edge::new();
    let own = lines(&export(&edge));
    let file = r#"
$TTL 1h
@ IN SOA ns.old.example. root.old.example. (1 2 3 4 5)
  NS ns.old.example.
  MX 10 mail
  A 192.0.2.1 ; cf_tags=cf-proxied:true
  CAA 0 issue "ca.example"
a.b 60 TXT "one;" two ; a comment cf_tags=team:dns,"odd,name:x"
_s._tcp 1 SRV 1 2 3 www.example.
www CNAME @ ; cf_tags=cf-proxied:false
deep.er 300 AAAA 2001:DB8::1
p A 192.0.2.7 ; cf_tags=cf-proxied:true,bartizan-origin-port:8000
sub 300 DS 1 13 2 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    NS ns.sub
    NS a\;b\".
h HTTPS 1 . alpn="h2,h3" port=8443
n NAPTR 1 2 S "SIP+D2U" "" _sip._udp
l LOC 52 22 23 N 4 53 32 E -2m 0m 10000m 10m
x TYPE28 \# 16 20010db8 000000000000000000000009
"#;
    let answer = import(&edge, file);
    assert_eq!(
        said(&answer),
        [
            "15 17",
            "line 3: left out: the SOA is the edge's own",
            "line 4: left out: the name servers of the zone itself are the edge's own",
        ]
    );
    assert_eq!(answer.text.find(r#"{"result":{"recs_added":15,"total_records_parsed":17},"success":true"#), Some(0));
    let mut expect = [
        own,
        [
            "bartizan.localhost. 1 IN A 192.0.2.1 ; cf_tags=cf-proxied:true",
            "bartizan.localhost. 3600 IN CAA 0 issue \"ca.example\"",
            "bartizan.localhost. 3600 IN MX 10 mail.bartizan.localhost.",
            "_s._tcp.bartizan.localhost. 1 IN SRV 1 2 3 www.example.",
            "a.b.bartizan.localhost. 60 IN TXT \"one;\" \"two\" ; a comment cf_tags=team:dns,\"odd,name:x\"",
            "deep.er.bartizan.localhost. 300 IN AAAA 2001:db8::1 ; cf_tags=cf-proxied:false",
            "p.bartizan.localhost. 1 IN A 192.0.2.7 ; cf_tags=cf-proxied:true,bartizan-origin-port:8000",
            "www.bartizan.localhost. 3600 IN CNAME bartizan.localhost. ; cf_tags=cf-proxied:false",
            "sub.bartizan.localhost. 300 IN DS 1 13 2 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sub.bartizan.localhost. 3600 IN NS ns.sub.bartizan.localhost.",
            "sub.bartizan.localhost. 3600 IN NS a\\;b\\\".",
            "h.bartizan.localhost. 3600 IN HTTPS 1 . alpn=\"h2,h3\" port=\"8443\"",
            "n.bartizan.localhost. 3600 IN NAPTR 1 2 \"S\" \"SIP+D2U\" \"\" _sip._udp.bartizan.localhost.",
            "l.bartizan.localhost. 3600 IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000.00m 10.00m",
            "x.bartizan.localhost. 3600 IN AAAA 2001:db8::9 ; cf_tags=cf-proxied:false",
        ]
        .map(str::to_owned)
        .to_vec(),
    ]
    .concat();
    let exported = export(&edge);
    let mut out = lines(&exported);
    out.sort();
    expect.sort();
    assert_eq!(out, expect);
    assert!(exported.contains(&format!(";; Records:    {}\n", out.len())), "{exported}");
    assert!(!exported.contains("changed while"), "{exported}");

    // Once more it is all there already.
    let again = said(&import(&edge, &exported));
    assert_eq!(again[0], format!("0 {}", out.len() + 2));
    // Without them it comes again.
    for record in edge.get(&edge.records()).result().as_array().unwrap() {
        edge.call("DELETE", &format!("{}/{}", edge.records(), record["id"].as_str().unwrap()), "").result();
    }
    assert!(lines(&export(&edge)).is_empty());
    let again = said(&import(&edge, &exported));
    assert_eq!(again[0], format!("{} {}", out.len(), out.len() + 2));
    assert_eq!(lines(&exported), lines(&export(&edge)));
}

#[test]
fn a_file_with_a_fault_changes_nothing() {
    let edge = Edge::new();
    let post = |body: &str| edge.post(&edge.records(), body).result();
    post(r#"{"type":"A","name":"there","content":"192.0.2.1"}"#);
    post(r#"{"type":"A","name":"proxied","content":"192.0.2.1","proxied":true}"#);
    let before = edge.revision();
    for (file, expect) in [
        // All faults of the file, line by line.
        (
            "a A 192.0.2.300\nb FROB x\nc A 192.0.2.1\n$INCLUDE x\nd.example. A 192.0.2.1\n",
            &[
                "400 9005 line 1: Content for A record",
                "400 1004 line 2: DNS Validation Error",
                "400 9208 line 4: The master file has a fault: $INCLUDE is not allowed",
                "400 9000 line 5: DNS name is invalid: d.example lies outside the zone bartizan.localhost",
            ][..],
        ),
        ("a A 192.0.2.1\nb TXT \"x\n", &["400 9208 line 2: The master file has a fault: a quoted string must end"]),
        ("a MX x y", &["400 90"]),
        // Against what is there, and against each other.
        ("new A 192.0.2.1\nthere CNAME x.example.\n", &["400 81053 line 2: An A, AAAA, or CNAME record"]),
        ("x CNAME a.example.\nx CNAME b.example.\n", &["400 81053 line 2"]),
        ("x CNAME a.example.\nnew A 192.0.2.1\nx TXT t\n", &["400 81054 line 3"]),
        ("x A 192.0.2.1 ; cf_tags=cf-proxied:true\nx A 192.0.2.2\n", &["400 1004 line 1"]),
        ("proxied A 192.0.2.2\n", &["400 1004 line 1"]),
        ("x A 0.0.0.0 ; cf_tags=cf-proxied:true\n", &["400 9007 line 1"]),
        ("@ CNAME x.example.\n@ A 192.0.2.1\n", &["400 81053 line 2"]),
        ("d DNAME x.example.\nx.d A 192.0.2.1\n", &["400 1004 line 2"]),
        ("x DS 1 13 2 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n", &["400 1004 line 1"]),
        ("x SOA a. b. 1 2 3 4 5\n", &["400 1004 line 1"]),
    ] {
        let said = said(&import(&edge, file));
        assert_eq!(said.len(), expect.len(), "{file}: {said:#?}");
        for (said, expect) in said.iter().zip(expect) {
            assert!(said.starts_with(expect), "{file}: {said}");
        }
    }
    // No more are told than a person reads.
    let many: String = (0..250).map(|number| format!("a{number} A x\n")).collect();
    let said = said(&import(&edge, &many));
    assert_eq!(said.len(), 100);
    assert!(said[99].starts_with("400 9005 line 100:") && said[99].ends_with("(and 150 more lines are refused)"));
    assert_eq!(edge.revision(), before);
}

#[test]
fn what_a_file_leaves_open() {
    let edge = Edge::new();
    edge.post(&edge.records(), r#"{"type":"TXT","name":"t","content":"v=1"}"#).result();
    let file = "t 60 TXT \"v=1\"\na A 192.0.2.1\nA A 192.0.2.1\nb 1w A 192.0.2.1 ; cf_tags=cf-proxied:false\n\
                c 5 A 192.0.2.1\n_d!x 60 A 192.0.2.1\n* CNAME x.example.\nm 1d MX 1 x\n@ DNSKEY 256 3 13 AAAA\n";
    let path = format!("{}/import", edge.records());
    let preview = send(&edge, TYPE, &format!("{path}?dry_run=true"), form(file, Some("true")));
    let before = edge.revision();
    let answer = send(&edge, TYPE, &path, form(file, Some("true")));
    assert_eq!(
        said(&answer),
        [
            "6 9",
            "line 1: left out: an identical record is there",
            "line 3: left out: an identical record is there",
            "line 4: a time to live of 604800 s is kept as 86400 s",
            "line 5: a time to live of 5 s is kept as 30 s",
            "line 9: left out: keys and signatures are the edge's own",
        ]
    );
    // One revision; it is what was foretold, and that changed nothing.
    assert_eq!(edge.revision(), before + 1);
    assert_eq!(said(&preview), said(&answer));
    let mut foretold: Vec<String> = preview.json()["result"]["bartizan"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap().strip_prefix("+ ").unwrap().replace('\t', " "))
        .collect();
    let mut new: Vec<String> = lines(&export(&edge)).into_iter().filter(|line| foretold.contains(line)).collect();
    foretold.sort();
    new.sort();
    assert_eq!(
        new,
        [
            "*.bartizan.localhost. 1 IN CNAME x.example. ; cf_tags=cf-proxied:true",
            "_d!x.bartizan.localhost. 60 IN A 192.0.2.1 ; cf_tags=cf-proxied:false",
            "a.bartizan.localhost. 1 IN A 192.0.2.1 ; cf_tags=cf-proxied:true",
            "b.bartizan.localhost. 86400 IN A 192.0.2.1 ; cf_tags=cf-proxied:false",
            "c.bartizan.localhost. 1 IN A 192.0.2.1 ; cf_tags=cf-proxied:true",
            "m.bartizan.localhost. 86400 IN MX 1 x.bartizan.localhost.",
        ]
    );
    assert_eq!(new, foretold);
}

#[test]
fn forms() {
    let edge = Edge::new();
    let path = format!("{}/import", edge.records());
    let file = "a A 192.0.2.1";
    let before = edge.revision();
    let other = form(file, None).replace("\"file\"", "\"fill\"");
    let cut = form(file, None).replace("--b--\r\n", "");
    for (content_type, body, expect) in [
        ("application/json", form(file, None), "400 9207"),
        ("multipart/form-data", form(file, None), "400 9207"),
        (TYPE, String::new(), "400 9207"),
        (TYPE, other, "400 9207"),
        (TYPE, cut, "400 9207"),
        (TYPE, form(file, Some("maybe")), "400 9207 /proxied"),
        ("multipart/form-data; boundary=c", form(file, None), "400 9207"),
    ] {
        assert_eq!(send(&edge, content_type, &path, body.clone()).verdict(), expect, "{content_type} {body}");
    }
    let unknown = format!("/zones/{}/dns_records/import", "0".repeat(32));
    assert_eq!(send(&edge, TYPE, &unknown, form(file, None)).verdict(), "404 1001");
    assert_eq!(edge.get(&path).verdict(), "405 10405");
    assert_eq!(edge.revision(), before);
    assert_eq!(send(&edge, TYPE, &path, form("", None)).result()["recs_added"], 0);
}

/// An import whose file is still being sent, by whoever has this.
type OnItsWay = (
    tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>,
    tokio::task::JoinHandle<Result<http::Response<Body>, std::convert::Infallible>>,
);

/// As many as there may be.
pub(crate) fn on_their_way(edge: &Edge) -> Vec<OnItsWay> {
    let whole = form("a A 192.0.2.1", None);
    let begin = async || {
        let (piece, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let body =
            futures_util::stream::unfold(body, |mut body| async { body.recv().await.map(|piece| (piece, body)) });
        let request = Request::builder()
            .method("POST")
            .uri(format!("/client/v4{}/import", edge.records()))
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", TYPE);
        let request = request.body(Body::from_stream(body)).unwrap();
        let answer = tokio::spawn(edge.router.clone().oneshot(request));
        // A channel of one: when the second piece is in it, the first was taken.
        piece.send(Ok(Bytes::copy_from_slice(&whole.as_bytes()[..whole.len() / 2]))).await.unwrap();
        piece.send(Ok(Bytes::from_static(b"\nb A 192.0.2.2"))).await.unwrap();
        (piece, answer)
    };
    edge.runtime.block_on(async { vec![begin().await, begin().await] })
}

/// What the next one is told. The files of those are begun on other threads: sooner or later there are two.
pub(crate) fn one_too_many(edge: &Edge) -> Answer {
    let mut tries = (0..200).map(|number| {
        std::thread::sleep(std::time::Duration::from_millis(if number == 0 { 0 } else { 20 }));
        import(edge, "")
    });
    tries.find(|answer| answer.status != 200).expect("there are too many some time")
}

/// Who sends a file slowly is in nobody's way, and has no more than their part of what is read at once; what breaks off on
/// the way is no file.
#[test]
fn a_file_on_its_way_holds_up_nobody() {
    let edge = Edge::new();
    let path = format!("{}/import", edge.records());
    let before = edge.revision();
    let request = |body: Body| {
        let request = Request::builder()
            .method("POST")
            .uri(format!("/client/v4{path}"))
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", TYPE);
        request.body(body).unwrap()
    };
    let whole = form("a A 192.0.2.1", None);
    let verdict = |json: &Value| json["errors"][0]["code"].to_string();
    let mut slow = on_their_way(&edge);
    let last = one_too_many(&edge);
    assert_eq!(last.verdict(), "503 10505", "{}", last.text);
    edge.runtime.block_on(async {
        let read = |answer: http::Response<Body>| async {
            let status = answer.status().as_u16();
            let json: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
            (status, json)
        };
        let (piece, answer) = slow.pop().unwrap();
        piece.send(Err(std::io::Error::other("the client is gone"))).await.unwrap();
        let (status, json) = read(answer.await.unwrap().unwrap()).await;
        assert_eq!((status, verdict(&json)), (400, "9207".to_owned()));
        // The other one is still on its way.
        let (status, json) = read(edge.router.clone().oneshot(request(Body::from(whole.clone()))).await.unwrap()).await;
        assert_eq!((status, &json["result"]["recs_added"]), (200, &json!(1)), "{json}");
        drop(slow);
    });
    assert_eq!(edge.revision(), before + 1);
}

/// More than one revision takes: all of it is there when it is answered, and nothing says that it is not done.
#[test]
fn a_large_file() {
    let edge = Edge::new();
    let before = edge.get(&edge.records()).json()["result_info"]["total_count"].as_u64().unwrap();
    let revision = edge.revision();
    let file: String = (0..6_000).map(|number| format!("n{} TXT {number}\n", number % 4_000)).collect();
    assert_eq!(said(&import(&edge, &file)), ["6000 6000"]);
    assert_eq!(edge.get(&edge.records()).json()["result_info"]["total_count"], before + 6_000);
    // The import itself, as many pieces as it takes for others to have their turns, its end.
    assert!((4..=122).contains(&(edge.revision() - revision)), "{}", edge.revision() - revision);
    let view = edge.store.read().unwrap();
    assert!(view.list_kind(Kind::Import, 1).unwrap().is_empty());
    let zone: ZoneId = edge.zone().parse().unwrap();
    let name = view.get(&Key::name(zone, &Name::parse("n7.bartizan.localhost").unwrap())).unwrap().unwrap();
    assert_eq!(&*name.value.json, r#"{"records":2}"#);
    drop(view);
    assert_eq!(export(&edge).lines().filter(|line| line.starts_with('n')).count(), 6_000);

    // A fault in its last line is found before anything is done.
    let revision = edge.revision();
    let file: String = (0..6_000).map(|number| format!("m{number} TXT x\n")).collect();
    assert_eq!(said(&import(&edge, &format!("{file}n1 CNAME x.example.\n")))[0].get(..14), Some("400 81056 line"));
    assert_eq!(edge.revision(), revision);
}

/// What becomes of a file, of whose last name somebody else makes this while its other records land.
fn meanwhile(other: &Value) -> (Edge, Vec<String>, Answer) {
    // More than a revision takes: all of it is looked at before the first piece lands.
    let file: String = (1..=5_001).map(|number| format!("n{number} TXT {number}\n")).collect();
    for _ in 0..20 {
        let edge = Edge::new();
        let request = |path: &str, kind: &str, body: String| {
            let request = Request::post(format!("/client/v4{path}")).header("authorization", format!("Bearer {TOKEN}"));
            edge.answer(request.header("content-type", kind).body(Body::from(body)).unwrap())
        };
        let begun = || edge.store.read().unwrap().list_kind(Kind::Import, 1).unwrap().len() == 1;
        let (import, records) = (format!("{}/import", edge.records()), edge.records());
        let beside = async {
            let mut head = edge.store.watch();
            while !begun() {
                head.changed().await.unwrap();
            }
            request(&records, "application/json", other.to_string()).await
        };
        let landing = request(&import, TYPE, form(&file, None));
        let (imported, made) = edge.runtime.block_on(async { tokio::join!(landing, beside) });
        // Where the last piece was faster, its name is busy, or the import is over.
        if made.status == 200 && is_before_last_piece(&edge, &made) {
            return (edge, said(&imported), made);
        }
    }
    panic!("nobody was faster than an import");
}

fn is_before_last_piece(edge: &Edge, made: &Answer) -> bool {
    let zone: ZoneId = edge.zone().parse().unwrap();
    let rev = |key: Key| edge.store.read().unwrap().get(&key).unwrap().map(|entry| entry.rev);
    let made = rev(Key::record(zone, made.result()["id"].as_str().unwrap().parse().unwrap()));
    // None if it was taken back.
    let last_piece = rev(Key::name(zone, &Name::parse("n5000.bartizan.localhost").unwrap()));
    last_piece.is_none_or(|last_piece| made.unwrap() < last_piece)
}

/// A file is looked at once, before its pieces land. What somebody else makes at one of its names after that is met all the same.
#[test]
fn what_others_make_while_a_file_lands() {
    let other = |kind: &str, content: &str| json!({"type": kind, "name": "n5001", "content": content, "ttl": 60});
    let at_last_name = |edge: &Edge| {
        let name = Name::parse("n5001.bartizan.localhost").unwrap();
        let stored = edge.store.read().unwrap().get(&Key::name(edge.zone().parse().unwrap(), &name)).unwrap();
        let listed = edge.get(&format!("{}?name={name}", edge.records())).result().as_array().unwrap().len();
        (stored.unwrap().value.json.to_string(), listed)
    };
    for (other, expect, records) in [
        (other("TXT", "theirs"), &["5001 5001"][..], 2),
        (other("TXT", "5001"), &["5000 5001", "line 5001: left out: an identical record is there"], 1),
    ] {
        let (edge, said, _) = meanwhile(&other);
        assert_eq!(said, expect);
        assert_eq!(at_last_name(&edge), (format!(r#"{{"records":{records}}}"#), records));
    }
    // What does not go together with it stays, and nothing else does.
    let (edge, said, made) = meanwhile(&other("CNAME", "x.example"));
    assert!(matches!(&said[..], [one] if one.starts_with("400 8105") && one.contains("line 5001")), "{said:?}");
    assert_eq!(at_last_name(&edge), (r#"{"records":1}"#.to_owned(), 1));
    assert!(edge.store.read().unwrap().list_kind(Kind::Import, 1).unwrap().is_empty());
    let listed = edge.get(&edge.records()).result();
    let txt: Vec<&Value> = listed.as_array().unwrap().iter().filter(|record| record["type"] == "TXT").collect();
    assert_eq!(txt, Vec::<&Value>::new());
    assert_eq!(edge.get(&format!("{}/{}", edge.records(), made.result()["id"].as_str().unwrap())).verdict(), "200");
}

/// What an import has put into a zone may go again until it is done: no change of it is acknowledged before that.
#[test]
fn names_of_an_import_that_goes_on_are_busy() {
    let edge = Edge::new();
    let zone: ZoneId = edge.zone().parse().unwrap();
    let post = |name: &str| json!({"type": "TXT", "name": name, "content": "v"}).to_string();
    let made = edge.post(&edge.records(), &post("a")).result();
    let (id, other) = (made["id"].as_str().unwrap(), edge.post(&edge.records(), &post("b")).result());
    let (one, other) =
        (format!("{}/{id}", edge.records()), format!("{}/{}", edge.records(), other["id"].as_str().unwrap()));
    let mut ids_from = id.parse::<RecordId>().unwrap().as_bytes()[..8].to_vec();
    ids_from.extend([0; 8]);
    let ids_from = RecordId::from_bytes(ids_from.try_into().unwrap());
    let import = json!({"ids_from": ids_from, "begun_on": "2030-01-01T00:00:00Z"});
    commit(&edge.store, vec![put(Key::import(zone), &import.to_string())]);
    let batch = format!("{}/batch", edge.records());
    for (method, path, body) in [
        ("PATCH", &one, r#"{"content":"other"}"#.to_owned()),
        ("PUT", &one, post("c")),
        ("DELETE", &one, String::new()),
        // Not told that it is there already: it may go again.
        ("POST", &edge.records(), post("a")),
        ("POST", &edge.records(), json!({"type": "A", "name": "a", "content": "192.0.2.1"}).to_string()),
        ("PATCH", &other, r#"{"name":"a"}"#.to_owned()),
        ("POST", &batch, json!({"deletes": [{"id": id}]}).to_string()),
        ("POST", &batch, json!({"patches": [{"id": id, "content": "other"}]}).to_string()),
    ] {
        let answer = edge.call(method, path, &body);
        assert!(answer.verdict().starts_with("503 10505"), "{method} {path} {body}: {}", answer.text);
        assert!(answer.text.contains("a.bartizan.localhost has records of it"), "{}", answer.text);
    }
    // All else can be changed.
    edge.call("PATCH", &other, r#"{"content":"other"}"#).result();
}

/// A process ended in the middle: what it had put there goes, and all else stays.
#[test]
fn an_import_that_was_not_finished() {
    let (mut edge, given) = Edge::without_router();
    let zone: ZoneId = edge.zone().parse().unwrap();
    let id = |start: u8, end: u8| RecordId::from_bytes([[start; 8], [end; 8]].concat().try_into().unwrap());
    let record = |id: RecordId, name: &str, data: &str| {
        let document = json!({
            "id": id, "zone_id": zone, "zone_name": "bartizan.localhost", "name": format!("{name}.bartizan.localhost"),
            "type": "TXT", "content": data, "proxiable": false, "proxied": false, "ttl": 1, "settings": {},
            "meta": {"auto_added": false, "managed_by_apps": false, "managed_by_argo_tunnel": false},
            "comment": null, "tags": [], "created_on": "2030-01-01T00:00:00Z", "modified_on": "2030-01-01T00:00:00Z",
        });
        put(Key::record(zone, id), &document.to_string())
    };
    let name = |name: &str, records: u64| {
        let owner = Name::parse(&format!("{name}.bartizan.localhost")).unwrap();
        put(Key::name(zone, &owner), &json!({ "records": records }).to_string())
    };
    let import = json!({"ids_from": id(7, 0), "begun_on": "2030-01-01T00:00:00Z"});
    commit(
        &edge.store,
        vec![
            put(Key::import(zone), &import.to_string()),
            record(id(7, 1), "a", "one"),
            record(id(7, 255), "b", "two"),
            record(id(6, 255), "a", "before"),
            record(id(8, 0), "c", "behind"),
            // One that nobody can read.
            put(
                Key::record(zone, id(7, 9)),
                "{\"name\":\"a.bartizan.localhost\",\"type\":\"TXT\",\"content\":\"x\",\"ttl\":1,\"proxied\":false,\"comment\":null,\"tags\":[]}",
            ),
            name("a", 3),
            name("b", 1),
            name("c", 1),
        ],
    );
    edge.router = router(given);
    edge.settle_until(|store| store.read().unwrap().list_kind(Kind::Import, 1).unwrap().is_empty());
    let left = lines(&export(&edge));
    let left: Vec<&String> = left.iter().filter(|line| line.contains("TXT")).collect();
    assert_eq!(left, ["a.bartizan.localhost. 1 IN TXT \"before\"", "c.bartizan.localhost. 1 IN TXT \"behind\""],);
    let view = edge.store.read().unwrap();
    let name =
        |name: &str| view.get(&Key::name(zone, &Name::parse(&format!("{name}.bartizan.localhost")).unwrap())).unwrap();
    assert_eq!(name("a").map(|name| name.value.json.to_string()), Some(r#"{"records":1}"#.to_owned()));
    assert_eq!(name("b"), None);
    drop(view);
    // That it is gone is told to whoever looks for it.
    let history = edge.get(&format!("/accounts/{}/audit_logs", edge.account())).text;
    assert!(history.contains(&id(7, 1).to_string()) && history.contains("delete"), "{history}");
    assert!(!history.contains(&id(6, 255).to_string()), "{history}");
}

/// An import that took many revisions is undone as one, by whichever of them is named, and nothing that is not its own goes.
#[test]
fn an_import_is_taken_back_whole() {
    let edge = Edge::new();
    let total = |edge: &Edge| edge.get(&edge.records()).json()["result_info"]["total_count"].as_u64().unwrap();
    let own = json!({"type": "TXT", "name": "n7", "content": "\"own\""}).to_string();
    edge.post(&edge.records(), &own).result();
    let (before, first) = (total(&edge), edge.revision());
    let file: String = (0..6_000).map(|number| format!("n{} TXT {number}\n", number % 4_000)).collect();
    assert_eq!(said(&import(&edge, &format!("{file}sub NS ns.example.\n")))[0], "6001 6001");
    let last = edge.revision();
    let log = format!("/accounts/{}/audit_logs", edge.account());
    let entry = edge.get(&format!("{log}?revision={}&per_page=1", last - 1)).result()[0].clone();
    let metadata = &entry["metadata"];
    assert_eq!(metadata["route"], "POST /zones/{zone_id}/dns_records/import");
    assert_eq!(entry["resource"]["id"].as_str().unwrap()[..16], *metadata["import"].as_str().unwrap(), "{entry}");
    let undo = |revision: u64, words: Value| {
        let mut body = json!({ "revision": revision });
        body.as_object_mut().unwrap().extend(words.as_object().unwrap().clone());
        edge.post("/bartizan/undo", &body.to_string())
    };

    let would = undo(first + 2, json!({"dry_run": true})).result();
    let shown = would["changes"].as_array().unwrap();
    assert_eq!((&would["objects"], shown.len(), &would["done"]), (&json!(6_001), 1_000, &json!(false)));
    assert_eq!((&shown[0]["action"]["type"], &shown[0]["newValueJson"]), (&json!("delete"), &Value::Null));
    // What somebody changed since, or put beside what could not be without it, stops all of it.
    let found = edge.get(&format!("{}?name=n1.bartizan.localhost", edge.records())).result();
    let one = format!("{}/{}", edge.records(), found[0]["id"].as_str().unwrap());
    edge.call("PATCH", &one, r#"{"comment":"mine"}"#).result();
    let changed = edge.revision();
    let refused = undo(last - 1, json!({}));
    assert_eq!(refused.verdict(), "400 10424");
    let named = format!("record n1.bartizan.localhost TXT was changed by revision {changed}");
    assert!(refused.text.contains(&named), "{}", refused.text);
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let ds = json!({"type": "DS", "name": "sub", "data": {"key_tag": 1, "algorithm": 13, "digest_type": 2, "digest": digest}});
    let ds = edge.post(&edge.records(), &ds.to_string()).result()["id"].as_str().unwrap().to_owned();
    let refused = undo(last - 1, json!({"force": true}));
    assert!(refused.verdict().starts_with("400"), "{}", refused.text);
    assert_eq!(total(&edge), before + 6_002);
    edge.call("DELETE", &format!("{}/{ds}", edge.records()), "").result();
    let gone = edge.get(&format!("{}?name=n2.bartizan.localhost", edge.records())).result();
    edge.call("DELETE", &format!("{}/{}", edge.records(), gone[0]["id"].as_str().unwrap()), "").result();

    let done = undo(last - 1, json!({"force": true})).result();
    assert_eq!((&done["objects"], &done["done"], total(&edge)), (&json!(6_000), &json!(true), before));
    let left = edge.get(&format!("{}?name=n7.bartizan.localhost", edge.records())).result();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["content"]), (1, &json!("\"own\"")));
    assert!(edge.store.read().unwrap().list_kind(Kind::Import, 1).unwrap().is_empty());
    // It is somebody's change, and there is nothing left to undo.
    let entry = edge.get(&format!("{log}?revision={}&per_page=1", edge.revision() - 1)).result()[0].clone();
    assert_eq!(
        (&entry["action"]["type"], &entry["metadata"]["route"]),
        (&json!("delete"), &json!("POST /bartizan/undo"))
    );
    let again = undo(first + 2, json!({})).result();
    assert_eq!(again["changes"], json!([]));
}
