//! Rations of new signatures in the pipeline, without sockets.

use bartizan_live::Live;
use bartizan_plane_dns::{CookieSecret, CookieSecrets, Counters, Limits, Now, Transport, Worker, answerers_with};
use bartizan_signer::Budget;
use bartizan_wire::dns::{Class, Edns, Message, Options, Rcode, write_query};

use crate::pipeline::Pipeline;
use crate::{config, count, name};

/// Extended errors (RFC 8914 §4), and cookies (RFC 7873 §4).
const EDE: u16 = 15;
const COOKIE: u16 = 10;

const RESOLVER: &str = "192.0.2.9:53000";

/// In which time stands still: no ration is filled up again.
pub(crate) fn pipeline(budget: Budget) -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline.config.cookies = Some(CookieSecrets::new(CookieSecret::new([7; 16]), None));
    pipeline.config.limits = "off".parse().unwrap();
    pipeline.worker = Worker::new(Limits { budget, ..Limits::default() });
    pipeline.now = Some(Now::read(&pipeline.config.clock));
    pipeline
}

/// For records with their signatures; it shows a cookie if there is one.
pub(crate) fn query(owner: &str, rtype: &str, cookie: &[u8]) -> Vec<u8> {
    let options = if cookie.is_empty() { Vec::new() } else { [&[0, 10, 0, cookie.len() as u8][..], cookie].concat() };
    let edns = Edns { dnssec_ok: true, options: Options::parse(&options).unwrap(), ..Edns::of_size(1232) };
    write_query(9, &name(owner), rtype.parse().unwrap(), Class::IN, Some(edns))
}

fn ask(pipeline: &mut Pipeline, transport: Transport, owner: &str, cookie: &[u8]) -> Message {
    ask_from(RESOLVER, pipeline, transport, owner, cookie)
}

fn ask_from(client: &str, pipeline: &mut Pipeline, transport: Transport, owner: &str, cookie: &[u8]) -> Message {
    let (_, reply) = pipeline.serve(client, transport, &query(owner, "A", cookie));
    Message::parse(&reply).unwrap()
}

/// `signed`, `tc`, or the error as it is explained.
fn word(message: &Message) -> String {
    match (message.rcode, message.truncated) {
        (Rcode::NOERROR, false) => "signed".to_owned(),
        (Rcode::NOERROR, true) => "tc".to_owned(),
        (rcode, _) => {
            let error = message.options.iter().find(|(code, _)| *code == EDE).map(|(_, data)| data[1]);
            format!("{rcode:?} {error:?}")
        }
    }
}

/// Who asks by a connection, as it was told to, has a quarter of what there is, and leaves the rest to others.
#[test]
fn a_connection_has_a_large_ration() {
    // A denial takes the signatures of the SOA record, which is kept, and of the name.
    for transport in [Transport::Tcp, Transport::Tls, Transport::Https] {
        let mut pipeline = pipeline(Budget { lasting: 1_000, passing: 40, source: 3 });
        let mut words = |client, transport, sort: &str, count: usize| {
            let mut one =
                |number| word(&ask_from(client, &mut pipeline, transport, &format!("{sort}{number}.signed"), b""));
            (0..count).map(&mut one).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(RESOLVER, Transport::Udp, "x", 5), "signed signed signed tc tc");
        // Three are kept.
        assert_eq!(words(RESOLVER, transport, "x", 13), ["signed"; 13].join(" "), "{transport:?}");
        assert_eq!(words(RESOLVER, transport, "y", 1), "SERVFAIL Some(14)", "{transport:?}: that was its part");
        for (other, sort) in [("198.51.100.1:53000", "v"), ("203.0.113.1:53000", "w")] {
            assert_eq!(words(other, transport, sort, 5), ["signed"; 5].join(" "), "{transport:?}: of another");
        }
        assert_eq!(words(RESOLVER, transport, "x", 13), ["signed"; 13].join(" "), "{transport:?}: what is kept");
        assert_eq!(
            word(&ask(&mut pipeline, transport, "www.signed", b"")),
            "signed",
            "{transport:?}: names that exist"
        );
    }
}

/// Whoever forges the address of a resolver does not take what it needs.
#[test]
fn a_forged_source_takes_no_other_s_ration() {
    let mut pipeline = pipeline(Budget { lasting: 1_000, passing: 1_000, source: 3 });
    let given = ask(&mut pipeline, Transport::Udp, "signed", b"a client");
    let (_, cookie) = given.options.iter().find(|(code, _)| *code == COOKIE).expect("a cookie").clone();
    let forged = [&cookie[..23], &[!cookie[23]]].concat();
    for number in 0..20 {
        ask(&mut pipeline, Transport::Udp, &format!("x{number}.signed"), b"");
        ask(&mut pipeline, Transport::Udp, &format!("y{number}.signed"), &forged);
    }
    for (what, owner, cookie, expect) in [
        ("the ration is used up", "z1.signed", &b""[..], "tc"),
        ("a name that exists", "www.signed", b"", "signed"),
        ("a cookie that proves nothing", "z1.signed", &forged, "tc"),
        ("whom a cookie proves", "z1.signed", &cookie, "signed"),
        ("again", "z2.signed", &cookie, "signed"),
    ] {
        assert_eq!(word(&ask(&mut pipeline, Transport::Udp, owner, cookie)), expect, "{what}");
    }
}

/// Over HTTPS within the same limits, and counted as elsewhere.
#[test]
fn signatures_over_https_are_counted() {
    let counters = Counters::default();
    let limits = Limits { budget: Budget { passing: 1, ..Budget::default() }, ..Limits::default() };
    let answerers = answerers_with(&Live::new(config(1)), &counters, limits);
    let mut answerer = answerers.answerer();
    let mut ask = |owner| {
        let answer = answerer.answer("192.0.2.9".parse().unwrap(), &query(owner, "A", b"")).unwrap();
        word(&Message::parse(&answer.message).unwrap())
    };
    assert_eq!(["www.signed", "www.signed"].map(&mut ask), ["signed", "signed"]);
    let denials = ["x1.signed", "x2.signed", "x3.signed"].map(&mut ask);
    assert!(denials.contains(&"SERVFAIL Some(14)".to_owned()), "{denials:?}");
    let of = |outcome| count(&counters, "bartizan_dns_signatures", &[("outcome", outcome)]);
    // Of the address, and of the SOA record and the name of a denial.
    assert!(
        of("made") >= 3 && of("kept") >= 1 && of("over_budget") >= 1,
        "{:?}",
        ["made", "kept", "over_budget"].map(of)
    );
    assert_eq!(count(&counters, "bartizan_dns_queries", &[("transport", "https"), ("family", "ipv4")]), 5);
}
