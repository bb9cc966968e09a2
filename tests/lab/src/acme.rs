//! An authority that issues certificates (RFC 8555), up to where it asks what shows that a name is somebody's; and it may lie.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

/// What it says.
#[derive(Clone)]
pub struct Manner {
    /// Where nonces are to be had; none: from itself.
    pub nonces: Option<String>,
    /// The name that it asks about, whatever was ordered.
    pub name: String,
    pub token: String,
}

/// It runs as long as the test.
pub struct Authority {
    pub address: SocketAddr,
    asked: mpsc::Receiver<String>,
    go_on: mpsc::Sender<()>,
}

impl Authority {
    /// One that answers at once.
    pub fn start(manner: Manner) -> Authority {
        Authority::listen(manner, "")
    }

    /// One that answers calls of paths that begin so when it is told to.
    pub fn waiting_at(manner: Manner, path: &'static str) -> Authority {
        Authority::listen(manner, path)
    }

    fn listen(manner: Manner, waits_at: &'static str) -> Authority {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let ((tell, asked), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let Some((method, path)) = read(&mut stream) else { continue };
                let is_told = tell.send(path.clone()).is_ok();
                if !waits_at.is_empty() && path.starts_with(waits_at) && may_go_on.recv().is_err() {
                    return;
                }
                // Whoever asks may have left.
                let _ = stream.write_all(answer(&manner, address, &method, &path).as_bytes());
                if !is_told {
                    return;
                }
            }
        });
        Authority { address, asked, go_on }
    }

    pub fn directory(&self) -> String {
        format!("http://{}/dir", self.address)
    }

    /// Waits until it is asked for a path that begins so.
    pub fn is_asked(&self, path: &str) {
        while !self.asked.recv().expect("it runs as long as the test").starts_with(path) {}
    }

    pub fn go_on(&self) {
        self.go_on.send(()).expect("it runs as long as the test");
    }
}

/// A call: its method and its path.
fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    Some((words.next()?, words.next()?))
}

fn answer(manner: &Manner, address: SocketAddr, method: &str, path: &str) -> String {
    let at = |path: &str| format!("http://{address}{path}");
    let (status, location, body) = match path {
        "/dir" => {
            let nonces = manner.nonces.clone().unwrap_or_else(|| at("/nonce"));
            let (account, order) = (at("/account"), at("/order"));
            ("200 OK", None, format!(r#"{{"newNonce":"{nonces}","newAccount":"{account}","newOrder":"{order}"}}"#))
        }
        "/account" => ("201 Created", Some(at("/account/1")), r#"{"status":"valid"}"#.to_owned()),
        "/order" => {
            let (name, authorization, last) = (&manner.name, at("/authorization/1"), at("/last/1"));
            let body = format!(
                r#"{{"status":"pending","identifiers":[{{"type":"dns","value":"{name}"}}],"authorizations":["{authorization}"],"finalize":"{last}"}}"#
            );
            ("201 Created", Some(at("/order/1")), body)
        }
        "/authorization/1" => {
            let Manner { name, token, .. } = manner;
            let ways: Vec<String> = ["dns-01", "http-01"]
                .iter()
                .map(|way| {
                    let at = at("/challenge/1");
                    format!(r#"{{"type":"{way}","url":"{at}","token":"{token}","status":"pending"}}"#)
                })
                .collect();
            let ways = ways.join(",");
            let body = format!(
                r#"{{"identifier":{{"type":"dns","value":"{name}"}},"status":"pending","challenges":[{ways}]}}"#
            );
            ("200 OK", None, body)
        }
        "/nonce" => ("200 OK", None, String::new()),
        _ => ("404 Not Found", None, "{}".to_owned()),
    };
    let location = location.map(|location| format!("Location: {location}\r\n")).unwrap_or_default();
    let length = body.len();
    let body = if method == "HEAD" { "" } else { &body };
    format!(
        "HTTP/1.1 {status}\r\nReplay-Nonce: bm9uY2U\r\nContent-Type: application/json\r\n{location}Content-Length: \
         {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
