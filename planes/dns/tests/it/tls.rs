//! DNS over TLS (RFC 7858).

use bartizan_names::{CertificateId, Timestamp};
use bartizan_tls::{Certificate, CertifiedKey, ClientStream, Hosts, Roots, client_config, connect};
use bartizan_wire::dns::{Message, Rcode};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::pipeline::query;
use crate::{PATIENCE, Server, count};

const NAME: &str = "ns1.example";

/// A certificate for the name server, which clients without a name get too, and its authority.
pub(crate) fn hosts() -> (Hosts, String) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&authority).unwrap().pem();
    let (issuer, key) = (Issuer::new(params, authority), KeyPair::generate().unwrap());
    let issued = CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = CertifiedKey::from_pem(&issued.pem(), &key.serialize_der()).unwrap();
    let (id, not_after) = (CertificateId::from_bytes([1; 16]), Timestamp::from_unix_micros(0));
    let names = vec![NAME.to_owned()];
    let mut hosts = Hosts::from_iter([Certificate { id, zone: None, preference: 0, not_after, names, key }]);
    hosts.set_default(NAME);
    (hosts, pem)
}

async fn dial(server: &Server, name: &str, alpn: &[&[u8]]) -> std::io::Result<ClientStream<TcpStream>> {
    let config = client_config(&Roots::Pem(server.ca.clone()), alpn).unwrap();
    connect(&config, name, TcpStream::connect(server.tls).await?).await
}

async fn ask(stream: &mut ClientStream<TcpStream>, query: &[u8]) -> Vec<u8> {
    stream.write_all(&[&(query.len() as u16).to_be_bytes(), query].concat()).await.unwrap();
    stream.flush().await.unwrap();
    read(stream).await
}

async fn read(stream: &mut ClientStream<TcpStream>) -> Vec<u8> {
    let length = stream.read_u16().await.unwrap();
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, client).await.expect("the client is stuck") })
}

#[test]
fn queries_are_answered_over_tls() {
    let server = Server::start();
    run(async {
        for alpn in [&[&b"dot"[..]][..], &[b"h2", b"dot"], &[]] {
            let mut stream = dial(&server, NAME, alpn).await.unwrap();
            assert_eq!(stream.alpn(), (!alpn.is_empty()).then_some(&b"dot"[..]));
            let answer = Message::parse(&ask(&mut stream, &query("www.example A", b"")).await).unwrap();
            assert_eq!((answer.rcode, answer.answers.len()), (Rcode::NOERROR, 1));
            // Longer than a datagram, and longer than a record of TLS.
            for long in ["long.example TXT", "longest.example TXT"] {
                let answer = Message::parse(&ask(&mut stream, &query(long, b"")).await).unwrap();
                assert_eq!((answer.answers.len(), answer.truncated), (1, false), "{long}");
            }
            // Several at once come back in their order.
            let one = |number: u8| {
                let mut query = query("www.example A", b"");
                query[1] = number;
                [&(query.len() as u16).to_be_bytes()[..], &query].concat()
            };
            stream.write_all(&(1..40).map(one).collect::<Vec<_>>().concat()).await.unwrap();
            stream.flush().await.unwrap();
            for number in 1..40 {
                assert_eq!(read(&mut stream).await[1], number);
            }
        }
        // What speaks only something else is not let in, nor who wants somebody else.
        assert!(dial(&server, NAME, &[b"h2"]).await.is_err());
        assert!(dial(&server, "www.elsewhere", &[]).await.is_err());
    });
    let counters = server.stop();
    assert_eq!(count(&counters, "bartizan_dns_queries", &[("transport", "tls"), ("family", "ipv4")]), 3 * 42);
    assert_eq!(count(&counters, "bartizan_dns_connections", &[("outcome", "handshake_failed")]), 2);
}

/// RFC 8467 §4.1: in blocks of 468 bytes, for who pads its query.
#[test]
fn answers_are_padded_for_who_asks() {
    let server = Server::start();
    run(async {
        let mut stream = dial(&server, NAME, &[b"dot"]).await.unwrap();
        for (question, option, padded) in [
            ("www.example A", &b"\0\x0c\0\x04\0\0\0\0"[..], true),
            ("long.example TXT", b"\0\x0c\0\0", true),
            ("nope.example A", b"\0\x0c\0\0", true),
            ("www.example A", b"", false),
        ] {
            let answer = ask(&mut stream, &query(question, option)).await;
            assert_eq!(answer.len().is_multiple_of(468), padded, "{question}: {}", answer.len());
        }
    });
    server.stop();
}
