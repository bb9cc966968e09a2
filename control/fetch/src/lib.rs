//! One call over HTTP of a server that is somebody else's: a public authority, a registry, a place where lists are put.
//!
//! ```text
//! URL ─► Fetch: dialled as an origin is, each address judged ─► TLS ─► HTTP/1.1, a connection for this call alone ─► answer
//!          └─ all of it in a time, the answer in so many octets, redirections so often and never from https:// to http:// ─┘
//! ```
//! Who says where it goes need not be who runs the edge, so nothing of the network is taken on trust: whatever name or
//! redirection led to an address, it is judged when it is dialled.
//!
//! Not here: what is asked for and what the answer means, and when to ask again.

mod url;

use std::sync::Arc;
use std::time::Duration;

use bartizan_dial::{Failure, OriginDialer, Question, Reach, TTL_MIN};
use bartizan_names::{DnsKind, OriginHost};
use bartizan_tls::{ClientConfig, Now, Roots, TlsError, client_config_by};
use bytes::Bytes;
use http::header::{HOST, LOCATION, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub use self::url::{URL_MAX, Url};

/// What a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// All of it: names, connections, redirections and the answer.
    pub time: Duration,
    /// Octets of an answer.
    pub answer: usize,
    /// Other places that an answer may send us to, one after the other. Without any such an answer is one like others.
    pub redirects: usize,
}

/// Whose certificates are believed.
#[derive(Clone)]
pub enum Trust {
    /// Read once.
    Kept(Arc<ClientConfig>),
    /// Those that the system has when a call is made, judged by this time: for who calls seldom.
    OfSystem(Now),
}

impl Trust {
    /// What of these roots is read now.
    pub fn kept(now: &Now, roots: &Roots) -> Result<Trust, TlsError> {
        client_config_by(now, roots, &[b"http/1.1"]).map(Trust::Kept)
    }

    fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        match self {
            Trust::Kept(config) => Ok(Arc::clone(config)),
            Trust::OfSystem(now) => client_config_by(now, &Roots::System, &[b"http/1.1"]),
        }
    }
}

/// To whom it may go without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// What is fetched proves itself.
    Anybody,
    /// Nobody listens on the way.
    ThisMachine,
    Nobody,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("it is no URL that begins with http:// or https:// and names a host")]
    Url,
    #[error("the URL is longer than {URL_MAX} octets")]
    UrlLong,
    #[error("its URL does not begin with https://")]
    Clear,
    #[error("{host} cannot be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("there was no answer in {} s", .0.as_secs())]
    Late(Duration),
    #[error("what it answers is longer than {}", octets(*.0))]
    Long(usize),
    #[error("it sends us on to another place more than {0} times")]
    Redirected(usize),
    #[error("it sends us on from https:// to http://")]
    Downgraded,
    #[error("TLS: {0}")]
    Tls(String),
}

/// As people read it.
fn octets(count: usize) -> String {
    if count < 1 << 20 { format!("{} KB", count >> 10) } else { format!("{} MB", count >> 20) }
}

/// How calls of one kind are made. Clones share what is known of addresses.
#[derive(Clone)]
pub struct Fetch {
    dialer: Arc<OriginDialer>,
    trust: Trust,
    clear: Clear,
    bounds: Bounds,
}

impl Fetch {
    /// Dials where `reach` lets anybody.
    pub fn new(reach: Reach, trust: Trust, clear: Clear, bounds: Bounds) -> Fetch {
        Fetch { dialer: Arc::new(OriginDialer::new(reach)), trust, clear, bounds }
    }

    /// Asks for what is at a URL, with the method, the fields and the body of `request`; the host and who asks are added.
    pub async fn call(&self, url: &Url, request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        let called = tokio::time::timeout(self.bounds.time, self.follow(url, request));
        called.await.map_err(|_| FetchError::Late(self.bounds.time))?
    }

    async fn follow(&self, url: &Url, request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        let (mut url, mut left) = (url.clone(), self.bounds.redirects);
        loop {
            let response = self.ask(&url, request.clone()).await?;
            match response.headers().get(LOCATION) {
                Some(location) if response.status().is_redirection() && self.bounds.redirects > 0 => {
                    left = left.checked_sub(1).ok_or(FetchError::Redirected(self.bounds.redirects))?;
                    url = url.on_to(location.to_str().map_err(|_| FetchError::Url)?)?;
                }
                _ => return Ok(response),
            }
        }
    }

    async fn ask(&self, url: &Url, mut request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        if self.clear == Clear::Nobody && !url.is_secret {
            return Err(FetchError::Clear);
        }
        *request.uri_mut() = Uri::from(url.path.clone());
        let agent = concat!("bartizan/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        request.headers_mut().insert(HOST, HeaderValue::try_from(&url.authority).map_err(|_| FetchError::Url)?);
        let request = request.map(Full::new);
        let unreachable = |reason: String| FetchError::Unreachable { host: url.host(), reason };
        let socket = self.dial(url).await.map_err(|failure| unreachable(failure.to_string()))?;
        if url.is_secret {
            let config = self.trust.config().map_err(|error| FetchError::Tls(error.to_string()))?;
            let stream = bartizan_tls::connect(&config, &url.host(), socket).await;
            let stream = stream.map_err(|error| FetchError::Tls(error.to_string()))?;
            return self.send(TokioIo::new(stream), request, unreachable).await;
        }
        let is_here = socket.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
        if self.clear == Clear::ThisMachine && !is_here {
            return Err(FetchError::Clear);
        }
        self.send(TokioIo::new(socket), request, unreachable).await
    }

    /// A connection to whichever address of a host answers first.
    async fn dial(&self, url: &Url) -> Result<TcpStream, Failure> {
        let groups = match &url.host {
            OriginHost::Address(address) => vec![vec![(*address, url.port).into()]],
            OriginHost::Name(name) => {
                let question = Question { name, kind: DnsKind::Any, ttl_min: TTL_MIN, zone: None };
                self.dialer.find(question, url.port).await?
            }
        };
        self.dialer.connect(groups).await
    }

    async fn send<IO>(
        &self,
        io: IO,
        request: Request<Full<Bytes>>,
        unreachable: impl Fn(String) -> FetchError,
    ) -> Result<Response<Bytes>, FetchError>
    where
        IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let failed = |error: hyper::Error| unreachable(error.to_string());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(failed)?;
        // It ends when the answer is read or dropped: there is no second request.
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, self.bounds.answer).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => FetchError::Long(self.bounds.answer),
            false => unreachable(error.to_string()),
        })?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    use bartizan_dial::{Destinations, NameServers, Own, Private};

    use super::*;

    /// A server that says this to whoever asks, as often as they do, and holds the connection; what was asked of it is what its last
    /// caller gets to read.
    fn server(says: impl Fn(SocketAddr, &str) -> String + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut head, mut length) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
                for line in head.lines().filter_map(|line| line.split_once(": ")) {
                    if line.0.eq_ignore_ascii_case("content-length") {
                        length = line.1.parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                head.push_str(&String::from_utf8(body).unwrap());
                // They may have had enough.
                let _ = stream.get_mut().write_all(says(here, &head).as_bytes());
            }
        });
        here
    }

    fn fetch(clear: Clear, bounds: Bounds) -> Fetch {
        let now: Now = Arc::new(|| bartizan_names::Timestamp::from_unix_micros(0));
        let reach = Reach::new(NameServers::default(), Destinations::new(Own::default(), Private::Allowed));
        Fetch::new(reach, Trust::OfSystem(now), clear, bounds)
    }

    const BOUNDS: Bounds = Bounds { time: Duration::from_secs(20), answer: 1 << 10, redirects: 2 };

    fn get() -> Request<Bytes> {
        Request::new(Bytes::new())
    }

    fn at(server: SocketAddr, path: &str) -> Url {
        Url::parse(&format!("http://{server}{path}")).unwrap()
    }

    #[tokio::test]
    async fn a_call_says_what_it_is_to_say() {
        let echo = server(|_, asked| format!("HTTP/1.1 201 Made\r\nContent-Length: {}\r\n\r\n{asked}", asked.len()));
        let request = Request::post("/").header("X-Own", "1").body(Bytes::from_static(b"a=b")).unwrap();
        let answer = fetch(Clear::ThisMachine, BOUNDS).call(&at(echo, "/path?query"), request).await.unwrap();
        assert_eq!(answer.status(), 201);
        let asked = String::from_utf8(answer.into_body().to_vec()).unwrap().to_lowercase();
        assert!(asked.starts_with("post /path?query http/1.1\r\n") && asked.ends_with("\r\n\r\na=b"), "{asked}");
        for field in [&*format!("host: {echo}"), "user-agent: bartizan/", "x-own: 1", "content-length: 3"] {
            assert!(asked.contains(field), "{field}: {asked}");
        }
    }

    #[tokio::test]
    async fn a_call_is_bounded() {
        let server = server(|here, asked| {
            let to = |place: &str| format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
            match asked.split(' ').nth(1).unwrap() {
                "/once" => to("/twice"),
                "/twice" => to(&format!("http://{here}/here")),
                "/thrice" => to("/once"),
                "/for-ever" => to("/for-ever"),
                "/elsewhere" => to("ftp://a.example/"),
                "/here" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
                "/long" => format!("HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n{}", "x".repeat(1_025)),
                "/chunked" => format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                    format!("64\r\n{}\r\n", "x".repeat(100)).repeat(11)
                ),
                _ => String::new(),
            }
        });
        let (any, quick) = (fetch(Clear::Anybody, BOUNDS), Bounds { time: Duration::from_millis(200), ..BOUNDS });
        for (path, expect) in [
            ("/here", "hi"),
            ("/once", "hi"),
            ("/thrice", "more than 2 times"),
            ("/for-ever", "more than 2 times"),
            ("/elsewhere", "no URL"),
            ("/long", "longer than 1 KB"),
            ("/chunked", "longer than 1 KB"),
        ] {
            let told = match any.call(&at(server, path), get()).await {
                Ok(answer) => String::from_utf8(answer.into_body().to_vec()).unwrap(),
                Err(error) => error.to_string(),
            };
            assert!(told.contains(expect), "{path}: {told}");
        }
        // It takes connections and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = fetch(Clear::Anybody, quick).call(&at(silent.local_addr().unwrap(), "/"), get()).await.unwrap_err();
        assert!(matches!(error, FetchError::Late(_)), "{error}");
        // Who follows nothing gets what sends them on.
        let none = fetch(Clear::Anybody, Bounds { redirects: 0, ..BOUNDS });
        assert_eq!(none.call(&at(server, "/once"), get()).await.unwrap().status(), 302);
    }

    #[tokio::test]
    async fn who_may_be_called_without_tls_and_who_at_all() {
        let server = server(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned());
        let url = at(server, "/");
        let refused = fetch(Clear::Nobody, BOUNDS).call(&url, get()).await.unwrap_err();
        assert!(matches!(refused, FetchError::Clear), "{refused}");
        assert!(fetch(Clear::ThisMachine, BOUNDS).call(&url, get()).await.is_ok());
        let closed = Reach::new(NameServers::default(), Destinations::new(Own::default(), Private::Refused));
        let closed = Fetch { dialer: Arc::new(OriginDialer::new(closed)), ..fetch(Clear::Anybody, BOUNDS) };
        let refused = closed.call(&url, get()).await.unwrap_err().to_string();
        assert!(refused.contains("loopback or private"), "{refused}");
    }
}
