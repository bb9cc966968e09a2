//! Rations of new signatures in the pipeline, without sockets.

use bartizan_plane_dns::{CookieSecret, CookieSecrets, Limits, Now, Transport, Worker};
use bartizan_signer::Budget;
use bartizan_wire::dns::{Class, Edns, Message, Options, Rcode, write_query};

use crate::name;
use crate::pipeline::Pipeline;

/// Extended errors (RFC 8914 §4), and cookies (RFC 7873 §4).
const EDE: u16 = 15;
const COOKIE: u16 = 10;

const RESOLVER: &str = "192.0.2.9:53000";

/// In which time stands still: no ration is filled up again.
fn pipeline(budget: Budget) -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline.config.cookies = Some(CookieSecrets::new(CookieSecret::new([7; 16]), None));
    pipeline.config.limits = "off".parse().unwrap();
    pipeline.worker = Worker::new(Limits { budget, ..Limits::default() });
    pipeline.now = Some(Now::read());
    pipeline
}

/// Asks for a signed A record, and shows a cookie if there is one.
fn ask(pipeline: &mut Pipeline, transport: Transport, owner: &str, cookie: &[u8]) -> Message {
    let options = if cookie.is_empty() { Vec::new() } else { [&[0, 10, 0, cookie.len() as u8][..], cookie].concat() };
    let edns = Edns { dnssec_ok: true, options: Options::parse(&options).unwrap(), ..Edns::of_size(1232) };
    let query = write_query(9, &name(owner), "A".parse().unwrap(), Class::IN, Some(edns));
    let (_, reply) = pipeline.serve(RESOLVER, transport, &query);
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

/// Who asks by a connection, as it was told to, is answered for as long as there is anything for anybody.
#[test]
fn a_connection_has_what_is_left_for_all() {
    // A denial takes the signatures of the SOA record, which is kept, and of the name.
    for transport in [Transport::Tcp, Transport::Tls, Transport::Https] {
        let mut pipeline = pipeline(Budget { lasting: 1_000, passing: 8, source: 3 });
        let mut words = |transport, sort: &str, count: usize| {
            let one = |number| word(&ask(&mut pipeline, transport, &format!("{sort}{number}.signed"), b""));
            (0..count).map(one).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(Transport::Udp, "x", 5), "signed signed signed tc tc");
        assert_eq!(
            words(transport, "x", 8),
            "signed signed signed signed signed signed signed signed",
            "{transport:?}"
        );
        assert_eq!(words(transport, "y", 1), "SERVFAIL Some(14)", "{transport:?}: nothing is left for anybody");
        assert_eq!(
            words(transport, "x", 8),
            "signed signed signed signed signed signed signed signed",
            "{transport:?}"
        );
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
