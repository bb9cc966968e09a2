//! A client of the library's own parts, whose every wait for an answer is counted: round trips without a clock.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bartizan_tls::{AcceptError, Acceptor, ClientConfig, Hosts, ServerStream};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::{Ca, PIPE_BYTES};

/// So often it is looked whether more comes: on one thread, everybody else has done all that could be done by then.
const LOOKS: usize = 64;

/// Any zone.
pub(crate) const ZONE: bartizan_names::ZoneId = bartizan_names::ZoneId::from_bytes([1; 16]);

pub(crate) fn zone(apex: &str) -> bartizan_names::ZoneName {
    bartizan_names::ZoneName::new(apex.parse().unwrap()).unwrap()
}

/// Runs it on one thread, with all that it spawns.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// A client that speaks these versions, takes sessions up again and sends early data.
pub(crate) fn client(
    ca: &Ca,
    versions: &[&'static SupportedProtocolVersion],
    suite: Option<&str>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
    let mut provider = default_provider();
    if let Some(suite) = suite {
        provider.cipher_suites.retain(|it| format!("{:?}", it.suite()) == suite);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.enable_early_data = true;
    Arc::new(config)
}

/// What the server saw of one connection.
pub(crate) type Seen = JoinHandle<Result<String, AcceptError>>;

pub(crate) struct Client {
    pub(crate) tls: ClientConnection,
    io: DuplexStream,
    /// How often it had to wait.
    pub(crate) waits: usize,
    /// All that it has sent, and got.
    pub(crate) sent: Vec<u8>,
    pub(crate) got: Vec<u8>,
    pub(crate) answer: String,
}

impl Client {
    /// The other end is for an acceptor.
    pub(crate) fn dial(config: &Arc<ClientConfig>, name: &str) -> (Client, DuplexStream) {
        let (io, far) = duplex(PIPE_BYTES);
        let tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        let (sent, got) = (Vec::new(), Vec::new());
        (Client { tls, io, waits: 0, sent, got, answer: String::new() }, far)
    }

    /// Sends what there is to send, and takes what comes for it. Fails when the server ends the handshake.
    pub(crate) async fn wait(&mut self) -> Result<(), rustls::Error> {
        self.waits += 1;
        self.send().await;
        let mut looks = 0;
        while looks < LOOKS {
            let mut bytes = [0; 4096];
            let read = poll_fn(|cx| {
                let mut buffer = ReadBuf::new(&mut bytes);
                let polled = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
                Poll::Ready(polled.is_ready().then(|| buffer.filled().len()))
            })
            .await;
            match read {
                Some(0) => return Ok(()),
                Some(read) => {
                    looks = 0;
                    self.got.extend(&bytes[..read]);
                    let mut rest = &bytes[..read];
                    while !rest.is_empty() {
                        self.tls.read_tls(&mut rest).unwrap();
                        self.tls.process_new_packets()?;
                    }
                    let mut plain = Vec::new();
                    let _ = self.tls.reader().read_to_end(&mut plain);
                    self.answer.push_str(&String::from_utf8(plain).unwrap());
                }
                None => looks += 1,
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Sends what there is to send.
    pub(crate) async fn send(&mut self) {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        self.io.write_all(&bytes).await.unwrap();
        self.sent.extend(bytes);
    }

    /// Asks, as early as it may, and waits for the answer, as often as it takes.
    pub(crate) async fn ask(&mut self, line: &str) -> Result<(), rustls::Error> {
        let early = self.tls.early_data().map(|mut early| early.write(line.as_bytes()).unwrap());
        if let Some(written) = early {
            assert_eq!(written, line.len());
            self.wait().await?;
            if self.tls.is_early_data_accepted() {
                return Ok(());
            }
        }
        self.tls.writer().write_all(line.as_bytes()).unwrap();
        while self.answer.is_empty() {
            assert!(self.waits < 8, "no answer");
            self.wait().await?;
        }
        Ok(())
    }
}

/// Accepts a client, answers its lines, and tells what it was told of the connection.
pub(crate) fn serve(acceptor: &Acceptor, far: DuplexStream, hosts: &Hosts) -> Seen {
    let (acceptor, hosts) = (acceptor.clone(), hosts.clone());
    spawn_local(async move {
        let mut stream = acceptor.accept(far, &hosts).await?;
        let mut seen = String::new();
        loop {
            let Ok(line) = read_line(&mut stream).await else { break };
            let when = if stream.handshake_end().is_some() { "early" } else { "late" };
            let how = if stream.resumed() { "resumed" } else { "full" };
            seen += &format!("{}{line} {when} {how}", if seen.is_empty() { "" } else { ", " });
            stream.write_all(format!("{line}!\n").as_bytes()).await?;
            stream.flush().await?;
        }
        Ok(seen)
    })
}

async fn read_line(stream: &mut ServerStream<DuplexStream>) -> std::io::Result<String> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(String::from_utf8(line).unwrap()),
            byte => line.push(byte),
        }
    }
}

/// TLS 1.3 saves a round trip, and early data one more (a connection of TCP is one in front of each). Middleboxes see what
/// looks like TLS 1.2 (RFC 8446 §D.4).
#[test]
fn round_trips() {
    let ca = Ca::new();
    let mut edit = ca.hosts(&[&["a.test", "early.test"]]).edit();
    let settings = bartizan_names::ZoneSettings { early_data: true, ..Default::default() };
    edit.put_zone(&zone("early.test"), ZONE, bartizan_tls::TlsPolicy::of(&settings));
    let hosts = edit.finish();
    let acceptor = Acceptor::with_early_data(&[]);
    run(async {
        for (version, name, first, again) in [
            (&rustls::version::TLS12, "a.test", (3, "x late full"), (2, "x late resumed")),
            (&rustls::version::TLS13, "a.test", (2, "x late full"), (2, "x late resumed")),
            (&rustls::version::TLS13, "early.test", (2, "x late full"), (1, "x early resumed")),
        ] {
            let config = client(&ca, &[version], None);
            for (waits, expect) in [first, again] {
                let (mut client, far) = Client::dial(&config, name);
                let seen = serve(&acceptor, far, &hosts);
                client.ask("x\n").await.unwrap();
                assert_eq!((client.waits, client.answer.as_str()), (waits, "x!\n"), "{version:?} {expect}");
                let looks_old = client.got.windows(6).any(|record| record == [20, 3, 3, 0, 1, 1]);
                assert!(looks_old, "{version:?} shows no ChangeCipherSpec");
                // The end of the handshake is on its way, and brings new sessions.
                client.wait().await.unwrap();
                drop(client);
                assert_eq!(seen.await.unwrap().unwrap(), expect, "{version:?} {name}");
            }
        }
    });
}
