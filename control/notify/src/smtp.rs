//! A mail on its way to the operator's mail server (RFC 5321), who hands it on.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_dial::OriginDialer;
use bartizan_names::OriginHost;
use bartizan_tls::{ClientConfig, ClientStream};
use bartizan_wire::smtp::{self, REPLY_MAX, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::queue::Mail;
use crate::{Secrecy, Settings};

/// From the first octet to the last word of one connection, whatever is told on it.
const TIME: Duration = Duration::from_secs(120);

/// Until it is connected, and until each answer is there. Servers think about a mail for a while.
const CONNECT_TIME: Duration = Duration::from_secs(15);
const ANSWER_TIME: Duration = Duration::from_secs(60);

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
}

impl Way {
    /// Hands over these mails, one after the other, and tells of each what came of it. What is not told of was not tried.
    pub(crate) async fn send(
        &self,
        mails: &[(String, Mail)],
        mut told: impl FnMut(&str, Result<(), SendError>) + Send,
    ) -> Option<SendError> {
        let began = tokio::time::Instant::now();
        let opened = tokio::time::timeout(TIME, self.open()).await;
        let mut connection = match opened.unwrap_or_else(|_| Err(server("it takes too long"))) {
            Ok(connection) => connection,
            Err(error) => return Some(error),
        };
        for (name, mail) in mails {
            let handing = connection.hand_over(&self.settings, mail);
            let result = tokio::time::timeout_at(began + TIME, handing).await;
            match result.unwrap_or_else(|_| Err(server("it takes too long"))) {
                Err(error @ SendError::Server(_)) => {
                    // It may be this one's fault: the others go first next time.
                    told(name, Err(SendError::Later(error.to_string())));
                    return Some(error);
                }
                result => told(name, result),
            }
        }
        // Whatever it answers.
        let _ = connection.ask("QUIT").await;
        None
    }

    async fn open(&self) -> Result<Connection, SendError> {
        let Settings { host, port, secrecy, credentials, .. } = &self.settings;
        let dialling = self.dialer.connect_to(None, std::slice::from_ref(host), *port);
        let stream =
            tokio::time::timeout(CONNECT_TIME, dialling).await.map_err(|_| server("it does not answer in time"))?;
        let stream = stream.map_err(|failure| server(&failure.to_string()))?;
        let mut connection = match secrecy {
            Secrecy::Tls => Connection { io: Box::new(self.shake_hands(stream).await?), unread: Vec::new() },
            Secrecy::StartTls | Secrecy::None => Connection { io: Box::new(stream), unread: Vec::new() },
        };
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
    async fn greet(&mut self) -> Result<Reply, SendError> {
        // What we are called is nobody's business here, and a literal is always right (RFC 5321 §4.1.3).
        let reply = self.ask("EHLO [127.0.0.1]").await?;
        expect(&reply, 250, "EHLO")?;
        Ok(reply)
    }

    async fn hand_over(&mut self, settings: &Settings, mail: &Mail) -> Result<(), SendError> {
        // An address is never more than one (it was read as such; the file may have been written by anybody).
        if !is_address(&mail.to) {
            return Err(SendError::Refused(format!("{:?} is no address that a mail goes to", mail.to)));
        }
        let steps = [(format!("MAIL FROM:<{}>", settings.from), 250), (format!("RCPT TO:<{}>", mail.to), 250)];
        for (command, code) in steps.into_iter().chain([("DATA".to_owned(), 354)]) {
            let reply = self.ask(&command).await?;
            if reply.code != code && !(code == 250 && reply.code == 251) {
                // The next one begins anew.
                self.ask("RSET").await?;
                return Err(refusal(&reply));
            }
        }
        self.io.write_all(message(settings, mail).as_bytes()).await.map_err(|error| broken(&error))?;
        let reply = self.ask(".").await?;
        if reply.code == 250 { Ok(()) } else { Err(refusal(&reply)) }
    }

    async fn ask(&mut self, command: &str) -> Result<Reply, SendError> {
        let writing = async {
            self.io.write_all(format!("{command}\r\n").as_bytes()).await?;
            self.io.flush().await
        };
        let written = tokio::time::timeout(ANSWER_TIME, writing).await.map_err(|_| server("it does not read"))?;
        written.map_err(|error| broken(&error))?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, SendError> {
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
        tokio::time::timeout(ANSWER_TIME, reading).await.unwrap_or_else(|_| Err(server("it does not answer in time")))
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
    use super::is_address;

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
