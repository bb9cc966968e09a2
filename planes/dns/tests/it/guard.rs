//! Cookies and limits in the pipeline, without sockets.

use bartizan_plane_dns::{CookieSecret, CookieSecrets, End, Silence, Transport};
use bartizan_signer::Budget;
use bartizan_wire::dns::{Message, Rcode};

use crate::pipeline::{Pipeline, query};
use crate::rations;

/// The option of cookies (RFC 7873 §4).
const COOKIE: u16 = 10;

const RESOLVER: &str = "192.0.2.9:53000";

fn pipeline(limits: &str) -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline.config.cookies = Some(CookieSecrets::new(CookieSecret::new([7; 16]), None));
    pipeline.config.limits = limits.parse().unwrap();
    pipeline
}

fn with_cookie(question: &str, cookie: &[u8]) -> Vec<u8> {
    query(question, &[&[0, 10, 0, cookie.len() as u8][..], cookie].concat())
}

fn cookie_of(message: &Message) -> Option<&[u8]> {
    message.options.iter().find(|(code, _)| *code == COOKIE).map(|(_, data)| data.as_slice())
}

/// What became of a query, in a word: `answer`, `tc`, `-` for nothing, else the response code.
fn word(end: End, reply: &[u8]) -> String {
    match end {
        End::Silent(Silence::Rate) => "-".to_owned(),
        End::Silent(silence) => format!("{silence:?}"),
        End::Reply { .. } => {
            let message = Message::parse(reply).unwrap();
            match (message.rcode, message.truncated) {
                (Rcode::NOERROR, true) => {
                    assert_eq!(message.answers.len() + message.authority.len(), 0);
                    "tc".to_owned()
                }
                (Rcode::NOERROR, false) => "answer".to_owned(),
                (rcode, _) => format!("{rcode:?}"),
            }
        }
    }
}

#[test]
fn a_client_gets_its_cookie_and_a_server_s() {
    let mut pipeline = pipeline("off");
    let mut ask = |client: &str, transport, cookie: &[u8]| {
        let (_, reply) = pipeline.serve(client, transport, &with_cookie("www.example A", cookie));
        let message = Message::parse(&reply).unwrap();
        assert_eq!((message.rcode, message.answers.len()), (Rcode::NOERROR, 1));
        cookie_of(&message).expect("a cookie").to_vec()
    };
    let given = ask(RESOLVER, Transport::Udp, b"a client");
    assert_eq!((given.len(), &given[..8]), (24, &b"a client"[..]));
    for (client, transport, cookie, same) in [
        (RESOLVER, Transport::Udp, given.clone(), true),
        ("192.0.2.9:53001", Transport::Tcp, given.clone(), true),
        // One of another address, or spoilt, is as good as none: another is made, and the question is answered.
        ("192.0.2.8:53000", Transport::Udp, given.clone(), false),
        (RESOLVER, Transport::Udp, [&given[..23], b"!"].concat(), true),
        (RESOLVER, Transport::Udp, [&given[..8], &[9; 32]].concat(), true),
    ] {
        assert_eq!(ask(client, transport, &cookie) == given, same, "{client} {transport:?} {cookie:?}");
    }
}

#[test]
fn cookies_of_a_wrong_length_are_an_error() {
    let mut pipeline = pipeline("off");
    let whole = query("www.example A", b"\0\x0a\0\x08a client");
    let at = whole.len() - 12;
    for length in [0, 7, 9, 15, 41] {
        let mut packet = whole[..at].to_vec();
        let rdlength = (4 + length as u16).to_be_bytes();
        packet[at - 2..].copy_from_slice(&rdlength);
        packet.extend_from_slice(&[0, 10, 0, length]);
        packet.extend_from_slice(&vec![7; length.into()]);
        let (end, reply) = pipeline.serve(RESOLVER, Transport::Udp, &packet);
        assert_eq!(word(end, &reply), "FORMERR", "{length}");
    }
}

#[test]
fn without_a_secret_there_are_no_cookies() {
    let mut pipeline = Pipeline::new();
    let (_, reply) = pipeline.serve(RESOLVER, Transport::Udp, &with_cookie("www.example A", b"a client"));
    assert_eq!(cookie_of(&Message::parse(&reply).unwrap()), None);
}

/// What a client that asks the same again and again gets.
#[test]
fn too_many_answers_are_short_or_none() {
    let limits = "answers=2,wildcards=3,denials=1,referrals=1,errors=2,slip=2";
    let malformed = &query("www.example A", b"")[..20];
    for (packet, expect) in [
        (query("www.example A", b""), "answer answer tc - tc -"),
        (query("www.example AAAA", b""), "answer tc - tc - tc"),
        (query("nope.example A", b""), "NXDOMAIN tc - tc - tc"),
        (query("elsewhere.test A", b""), "REFUSED REFUSED tc - tc -"),
        // It has nothing that could be left out.
        (malformed.to_vec(), "FORMERR FORMERR FORMERR - FORMERR -"),
        // Whoever sends a cookie is told to use the one that it gets.
        (with_cookie("www.example A", b"a client"), "answer answer BADCOOKIE - BADCOOKIE -"),
    ] {
        let mut pipeline = pipeline(limits);
        let mut ask = |client, transport| {
            let (end, reply) = pipeline.serve(client, transport, &packet);
            word(end, &reply)
        };
        let got: Vec<String> = (0..6).map(|_| ask(RESOLVER, Transport::Udp)).collect();
        assert_eq!(got.join(" "), expect);
        let first = expect.split(' ').next().unwrap();
        // Connections prove the address, this machine is nobody's victim, and other networks have their own limits.
        for (client, transport) in [
            (RESOLVER, Transport::Tcp),
            (RESOLVER, Transport::Tls),
            (RESOLVER, Transport::Https),
            ("127.0.0.1:53000", Transport::Udp),
            ("[::1]:53000", Transport::Udp),
            ("198.51.100.1:53000", Transport::Udp),
        ] {
            assert_eq!(ask(client, transport), first, "{client} {transport:?}");
        }
    }
}

/// One for a name does not count for another, but what is denied counts for its zone.
#[test]
fn what_counts_together() {
    let mut pipeline = pipeline("answers=1,denials=1,slip=0");
    for (question, expect) in [
        ("www.example A", "answer"),
        ("WWW.example A", "-"),
        ("example NS", "answer"),
        ("long.example TXT", "tc"),
        ("nope.example A", "NXDOMAIN"),
        ("nope-too.example A", "-"),
        ("www.example AAAA", "-"),
    ] {
        let (end, reply) = pipeline.serve(RESOLVER, Transport::Udp, &query(question, b""));
        assert_eq!(word(end, &reply), expect, "{question}");
    }
}

/// Names that are not there count as denials, however that is said; those that something stands for do not.
#[test]
fn what_is_no_name_is_a_denial() {
    for (what, names, rtype, passing, expect) in [
        ("a denial with its proof", "signed", "A", 1_000, "answer answer - -"),
        ("without room in the ration of signatures", "signed", "A", 1, "answer tc - -"),
        ("the proof itself", "signed", "NSEC", 1_000, "answer answer - -"),
        ("signatures of what is not there", "signed", "RRSIG", 1, "answer tc - -"),
        ("not signed", "example", "A", 1, "NXDOMAIN NXDOMAIN - -"),
        ("a wildcard without such records", "wild.signed", "MX", 1, "answer tc - -"),
        ("a wildcard", "wild.signed", "A", 1_000, "answer answer answer -"),
        ("a tree that is elsewhere", "tree.example", "A", 1, "answer answer answer -"),
    ] {
        let mut pipeline = rations::pipeline(Budget { passing, ..Budget::default() });
        pipeline.config.limits = "answers=1,wildcards=3,denials=2,slip=0".parse().unwrap();
        let mut ask = |number| {
            let query = rations::query(&format!("x{number}.{names}"), rtype, b"");
            let (end, reply) = pipeline.serve(RESOLVER, Transport::Udp, &query);
            word(end, &reply)
        };
        assert_eq!((0..4).map(&mut ask).collect::<Vec<_>>().join(" "), expect, "{what}");
    }
}

#[test]
fn whoever_proves_its_address_is_answered() {
    let mut pipeline = pipeline("answers=1,slip=1");
    let mut cookie = b"a client".to_vec();
    let mut got = Vec::new();
    for _ in 0..4 {
        let (end, reply) = pipeline.serve(RESOLVER, Transport::Udp, &with_cookie("www.example A", &cookie));
        got.push(word(end, &reply));
        if got.len() > 1 {
            cookie = cookie_of(&Message::parse(&reply).unwrap()).unwrap().to_vec();
        }
    }
    assert_eq!(got, ["answer", "BADCOOKIE", "answer", "answer"]);
}
