//! A mail on its way to the operator's mail server (RFC 5321), who hands it on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_dial::OriginDialer;
use bartizan_names::OriginHost;
use bartizan_tls::{ClientConfig, ClientStream};
use bartizan_wire::smtp::{self, REPLY_MAX, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::queue::Mail;
use crate::{Secrecy, Settings};

/// All of one connection, whatever is told on it, but for the answer to the last dot. In its second half no mail is begun, so
/// that none is cut that a server may have taken.
const TIME: Duration = Duration::from_secs(120);

/// Until it is connected, and until each answer is there. Servers think about a mail for a while.
const CONNECT_TIME: Duration = Duration::from_secs(15);
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Until the answer to the dot, behind which a server does all that it has to: whoever does not
/// wait for it sends twice what was taken (RFC 5321 §4.5.3.2.6).
const DOT_TIME: Duration = Duration::from_secs(600);

/// Why a mail was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// For ever.
    #[error("{0}")]
    Refused(String),
    /// This mail alone, this time.
    #[error("{0}")]
    Later(String),
    /// No mail gets through.
    #[error("{0}")]
    Server(String),
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// By which mails go.
pub(crate) struct Way {
    pub(crate) settings: Settings,
    pub(crate) dialer: OriginDialer,
    pub(crate) tls: Arc<ClientConfig>,
}

struct Connection {
    io: Box<dyn Io>,
    unread: Vec<u8>,
    /// Our own end of it.
    from: SocketAddr,
}

/// What a connection has of time.
struct Span {
    /// The first mail is begun later too.
    last_begins: Instant,
    ends: Instant,
}

impl Way {
    /// Hands over these mails, one after the other, and tells of each what came of it. What is not told of was not tried. An
    /// error is the server's, and not of a mail.
    pub(crate) async fn send(
        &self,
        mails: &[(String, Mail)],
        told: impl FnMut(&str, Result<(), SendError>) + Send,
    ) -> Option<SendError> {
        let began = Instant::now();
        let opened = tokio::time::timeout(TIME, self.open()).await;
        let mut connection = match opened.unwrap_or_else(|_| Err(server("it takes too long"))) {
            Ok(connection) => connection,
            Err(error) => return Some(error),
        };
        let span = Span { last_begins: began + TIME / 2, ends: began + TIME };
        connection.send(&self.settings, mails, span, told).await
    }

    async fn open(&self) -> Result<Connection, SendError> {
        let Settings { host, port, secrecy, credentials, .. } = &self.settings;
        let dialling = self.dialer.connect_to(None, std::slice::from_ref(host), *port);
        let stream =
            tokio::time::timeout(CONNECT_TIME, dialling).await.map_err(|_| server("it does not answer in time"))?;
        let stream = stream.map_err(|failure| server(&failure.to_string()))?;
        let from = stream.local_addr().map_err(|error| broken(&error))?;
        let io: Box<dyn Io> = match secrecy {
            Secrecy::Tls => Box::new(self.shake_hands(stream).await?),
            Secrecy::StartTls | Secrecy::None => Box::new(stream),
        };
        let mut connection = Connection { io, unread: Vec::new(), from };
        let greeting = connection.reply().await?;
        expect(&greeting, 220, "its greeting")?;
        let mut offers = connection.greet().await?;
        if *secrecy == Secrecy::StartTls {
            if !offers.offers("STARTTLS", None) {
                return Err(server("it does not offer STARTTLS"));
            }
            let ready = connection.ask("STARTTLS").await?;
            expect(&ready, 220, "STARTTLS")?;
            // What came in clear must not be taken for what comes now (RFC 3207 §5).
            if !connection.unread.is_empty() {
                return Err(server("it goes on in clear behind STARTTLS"));
            }
            connection.io = Box::new(self.shake_hands(connection.io).await?);
            offers = connection.greet().await?;
        }
        if let Some((user, password)) = credentials {
            if !offers.offers("AUTH", Some("PLAIN")) {
                return Err(server("it does not offer AUTH PLAIN"));
            }
            // RFC 4616.
            let proof = BASE64.encode(format!("\0{user}\0{password}"));
            let answer = connection.ask(&format!("AUTH PLAIN {proof}")).await?;
            expect(&answer, 235, "the user's name and password")?;
        }
        Ok(connection)
    }

    async fn shake_hands<IO: Io>(&self, io: IO) -> Result<ClientStream<IO>, SendError> {
        let name = match &self.settings.host {
            OriginHost::Address(address) => address.to_string(),
            OriginHost::Name(name) => name.to_string().trim_end_matches('.').to_owned(),
        };
        let shaking = bartizan_tls::connect(&self.tls, &name, io);
        let shaken = tokio::time::timeout(ANSWER_TIME, shaking).await.map_err(|_| server("no TLS in time"))?;
        shaken.map_err(|error| server(&format!("no TLS: {error}")))
    }
}

impl Connection {
    async fn send(
        &mut self,
        settings: &Settings,
        mails: &[(String, Mail)],
        span: Span,
        mut told: impl FnMut(&str, Result<(), SendError>) + Send,
    ) -> Option<SendError> {
        for (index, (name, mail)) in mails.iter().enumerate() {
            if index > 0 && Instant::now() > span.last_begins {
                break;
            }
            let offering = tokio::time::timeout_at(span.ends, self.offer(settings, mail)).await;
            let result = match offering.unwrap_or_else(|_| Err(server("it takes too long"))) {
                Ok(()) => self.hand_over(settings, mail).await,
                Err(error) => Err(error),
            };
            match result {
                Err(error @ SendError::Server(_)) => {
                    // It may be this one's fault: the others go first next time.
                    told(name, Err(SendError::Later(error.to_string())));
                    return Some(error);
                }
                Ok(()) => told(name, Ok(())),
                Err(error) => {
                    told(name, Err(error));
                    // The next one begins anew: on another connection where the server ends this one, as some do with whoever
                    // names somebody they do not know.
                    if self.ask("RSET").await.is_err() {
                        return None;
                    }
                }
            }
        }
        // Whatever it answers.
        let _ = self.ask("QUIT").await;
        None
    }

    async fn greet(&mut self) -> Result<Reply, SendError> {
        let reply = self.ask(&format!("EHLO {}", literal(self.from))).await?;
        expect(&reply, 250, "EHLO")?;
        Ok(reply)
    }

    /// All that comes before the mail itself.
    async fn offer(&mut self, settings: &Settings, mail: &Mail) -> Result<(), SendError> {
        // An address is never more than one (it was read as such; the file may have been written by anybody).
        if !is_address(&mail.to) {
            return Err(SendError::Refused(format!("{:?} is no address that a mail goes to", mail.to)));
        }
        let steps = [(format!("MAIL FROM:<{}>", settings.from), 250), (format!("RCPT TO:<{}>", mail.to), 250)];
        for (command, code) in steps.into_iter().chain([("DATA".to_owned(), 354)]) {
            let reply = self.ask(&command).await?;
            if reply.code != code && !(code == 250 && reply.code == 251) {
                return Err(refusal(&reply));
            }
        }
        Ok(())
    }

    /// The mail, behind what [`Connection::offer`] says.
    async fn hand_over(&mut self, settings: &Settings, mail: &Mail) -> Result<(), SendError> {
        self.say(&format!("{}.\r\n", message(settings, mail))).await?;
        let reply = self.reply_within(DOT_TIME).await?;
        if reply.code == 250 { Ok(()) } else { Err(refusal(&reply)) }
    }

    async fn ask(&mut self, command: &str) -> Result<Reply, SendError> {
        self.say(&format!("{command}\r\n")).await?;
        self.reply().await
    }

    async fn say(&mut self, text: &str) -> Result<(), SendError> {
        let writing = async {
            self.io.write_all(text.as_bytes()).await?;
            self.io.flush().await
        };
        let written = tokio::time::timeout(ANSWER_TIME, writing).await.map_err(|_| server("it does not read"))?;
        written.map_err(|error| broken(&error))
    }

    async fn reply(&mut self) -> Result<Reply, SendError> {
        self.reply_within(ANSWER_TIME).await
    }

    async fn reply_within(&mut self, time: Duration) -> Result<Reply, SendError> {
        let reading = async {
            loop {
                if let Some((reply, length)) = smtp::read(&self.unread).map_err(|error| server(&error.to_string()))? {
                    self.unread.drain(..length);
                    return Ok(reply);
                }
                let mut bytes = [0; 1_024];
                match self.io.read(&mut bytes).await.map_err(|error| broken(&error))? {
                    0 => return Err(server("it closed the connection")),
                    read => self.unread.extend_from_slice(&bytes[..read]),
                }
                debug_assert!(self.unread.len() <= REPLY_MAX + bytes.len());
            }
        };
        tokio::time::timeout(time, reading).await.unwrap_or_else(|_| Err(server("it does not answer in time")))
    }
}

/// What we call ourselves: a name that is ours need not be known here, the address is (RFC 5321 §4.1.3 and §4.1.4).
fn literal(from: SocketAddr) -> String {
    match from.ip().to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

fn server(reason: &str) -> SendError {
    SendError::Server(reason.to_owned())
}

fn broken(error: &io::Error) -> SendError {
    server(&format!("the connection broke: {error}"))
}

/// Of a step that every mail needs.
fn expect(reply: &Reply, code: u16, what: &str) -> Result<(), SendError> {
    if reply.code == code { Ok(()) } else { Err(server(&format!("it refuses {what}: {}", said(reply)))) }
}

/// Of a step of one mail.
fn refusal(reply: &Reply) -> SendError {
    match reply.code {
        421 => server(&said(reply)),
        _ if reply.is_passing() => SendError::Later(said(reply)),
        _ => SendError::Refused(said(reply)),
    }
}

fn said(reply: &Reply) -> String {
    let text: String = reply.lines.join(" ").chars().take(200).collect();
    format!("{} {text}", reply.code)
}

/// Whether it may stand between the brackets of a command: ASCII, and nothing that ends them.
pub(crate) fn is_address(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b',' | b';'));
    let parts = text.rsplit_once('@');
    is_plain && text.len() <= 254 && parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

/// What comes between DATA and the dot (RFC 5322). In base64: no line is too long, begins with a dot, or has a letter in it that
/// is not everywhere.
fn message(settings: &Settings, mail: &Mail) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(mail.made)).unwrap_or(SystemTime::UNIX_EPOCH);
    let date = httpdate::fmt_http_date(at).replace("GMT", "+0000");
    let domain = settings.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let subject: String = mail.subject.chars().filter(|char| matches!(char, ' '..='~')).take(150).collect();
    let mut text = format!(
        "From: <{}>\r\nTo: <{}>\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{:016x}.{}@{domain}>\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n",
        settings.from,
        mail.to,
        id_of(mail),
        mail.made,
    );
    let body = BASE64.encode(mail.text.replace('\n', "\r\n"));
    for line in body.as_bytes().chunks(76) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text += "\r\n";
    }
    text
}

/// The same each time that it is sent, so that whoever gets it twice can tell.
fn id_of(mail: &Mail) -> u64 {
    // FNV-1a.
    let all = [&mail.to, &mail.subject, &mail.text].into_iter().flat_map(|text| text.bytes());
    all.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    /// A server thinks for longer than a connection has: the mail that it took is told as sent, and the next one is not begun.
    #[tokio::test]
    async fn a_slow_server_gets_no_mail_twice() {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let time = Duration::from_secs(2);
        let server = tokio::spawn(async move {
            let (theirs, mut answers) = tokio::io::split(theirs);
            let (mut lines, mut in_data, mut told) = (BufReader::new(theirs).lines(), false, Vec::new());
            while let Some(line) = lines.next_line().await.unwrap() {
                if in_data && line != "." {
                    continue;
                }
                if line == "." {
                    tokio::time::sleep(time + time / 4).await;
                }
                in_data = line == "DATA";
                answers.write_all(if in_data { b"354 go on\r\n" } else { b"250 ok\r\n" }).await.unwrap();
                told.push(line);
            }
            told
        });
        let mut connection =
            Connection { io: Box::new(ours), unread: Vec::new(), from: "192.0.2.1:9".parse().unwrap() };
        let settings = Settings {
            host: OriginHost::Address([192, 0, 2, 2].into()),
            port: 25,
            secrecy: Secrecy::None,
            from: "edge@example.com".to_owned(),
            credentials: None,
            roots: None,
        };
        let mail = Mail {
            account: None,
            to: "ops@example.com".to_owned(),
            subject: "one".to_owned(),
            text: "one".to_owned(),
            made: 1,
        };
        let mails = ["1", "2"].map(|name| (name.to_owned(), mail.clone()));
        let mut results = Vec::new();
        let began = Instant::now();
        let span = Span { last_begins: began + time / 2, ends: began + time };
        let failed =
            connection.send(&settings, &mails, span, |name, result| results.push((name.to_owned(), result))).await;
        assert_eq!((failed, results), (None, vec![("1".to_owned(), Ok(()))]));
        drop(connection);
        let told = server.await.unwrap();
        assert_eq!(told, ["MAIL FROM:<edge@example.com>", "RCPT TO:<ops@example.com>", "DATA", ".", "QUIT"]);
    }

    #[test]
    fn literals() {
        for (address, expect) in [
            ("192.0.2.1:9", "[192.0.2.1]"),
            ("[::ffff:192.0.2.1]:9", "[192.0.2.1]"),
            ("[2001:db8::1]:9", "[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(literal(address.parse().unwrap()), expect);
        }
    }

    #[test]
    fn addresses() {
        for (text, expect) in [
            ("a@example.com", true),
            ("a+b@example.com", true),
            ("a@example.com>\r\nRCPT TO:<b@example.com", false),
            ("a b@example.com", false),
            ("@example.com", false),
            ("a@", false),
            ("a", false),
            ("ä@example.com", false),
        ] {
            assert_eq!(is_address(text), expect, "{text:?}");
        }
    }
}
