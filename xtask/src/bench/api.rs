//! HTTP/1.1 to the API of a server that we know, ours or a peer's, over one connection that is kept where the server keeps
//! it: just enough to load a zone of a million records in minutes. It is no client for others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the API of a server is, and what it wants to be told with each call.
#[derive(Clone)]
pub(super) struct Door {
    address: SocketAddr,
    /// In front of every path.
    prefix: &'static str,
    head: String,
    patience: Duration,
}

impl Door {
    pub(super) fn ours(address: SocketAddr, token: &str) -> Door {
        Door::new(address, "/client/v4", &format!("Authorization: Bearer {token}"))
    }

    pub(super) fn new(address: SocketAddr, prefix: &'static str, credentials: &str) -> Door {
        let head = format!("Host: {address}\r\n{credentials}\r\n");
        Door { address, prefix, head, patience: PATIENCE }
    }

    /// The same for calls that may take longer.
    pub(super) fn patient(&self, patience: Duration) -> Door {
        Door { patience, ..self.clone() }
    }
}

/// What is sent: a type that the server knows, and the bytes.
pub(super) struct Sent<'b> {
    pub(super) kind: &'b str,
    pub(super) body: &'b [u8],
}

impl<'b> Sent<'b> {
    pub(super) fn json(body: &'b str) -> Sent<'b> {
        Sent { kind: "application/json", body: body.as_bytes() }
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

pub(super) struct Api {
    door: Door,
    /// None before the first call, and after an answer that ended the connection.
    stream: Option<BufReader<TcpStream>>,
}

impl Api {
    pub(super) fn connect(server: SocketAddr, token: &str) -> Result<Api> {
        let mut api = Api::at(Door::ours(server, token));
        api.open()?;
        Ok(api)
    }

    /// Connects with the first call.
    pub(super) fn at(door: Door) -> Api {
        Api { door, stream: None }
    }

    /// Calls a path; gives `result` and fails on anything but success.
    pub(super) fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut json = self.ask(method, path, body)?;
        if json["success"] != true {
            bail!("{method} {path}: {json}");
        }
        Ok(json["result"].take())
    }

    /// Calls a path; gives the whole envelope, whatever it says.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = self.send(method, path, &Sent::json(&body.to_string()))?;
        serde_json::from_slice(&answer.body).with_context(|| format!("{method} {path}"))
    }

    /// Calls a path; gives what came back as it came.
    pub(super) fn send(&mut self, method: &str, path: &str, sent: &Sent<'_>) -> Result<Answer> {
        let Door { prefix, head, .. } = &self.door;
        let Sent { kind, body } = sent;
        let length = body.len();
        let head = format!(
            "{method} {prefix}{path} HTTP/1.1\r\n{head}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        let request = [head.as_bytes(), body].concat();
        self.open()?.get_mut().write_all(&request).with_context(|| format!("{method} {path}"))?;
        let (answer, is_last) = read(self.open()?).with_context(|| format!("{method} {path}"))?;
        if is_last {
            self.stream = None;
        }
        Ok(answer)
    }

    fn open(&mut self) -> Result<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let Door { address, patience, .. } = self.door;
            let stream = TcpStream::connect(address).with_context(|| format!("cannot reach the API at {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            self.stream = Some(BufReader::new(stream));
        }
        self.stream.as_mut().context("a connection")
    }
}

/// One answer, and whether the connection ends with it.
fn read(stream: &mut BufReader<TcpStream>) -> Result<(Answer, bool)> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        bail!("the API hung up");
    }
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status: u16 = status.with_context(|| format!("not an answer: {line:?}"))?;
    // RFC 9110 §6.4.1.
    let mut length = (status == 204).then_some(0);
    let mut is_last = false;
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            bail!("the API hung up");
        }
        let Some((name, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().context("a length that is no number")?);
        }
        if name.eq_ignore_ascii_case("connection") {
            is_last = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body.resize(length, 0);
            stream.read_exact(&mut body)?;
        }
        None if is_last => drop(stream.read_to_end(&mut body)?),
        None => bail!("a reply without a length"),
    }
    Ok((Answer { status, body }, is_last))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn answers() {
        for (text, status, body, is_last) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", 200, "{}", true),
            ("HTTP/1.1 422 No\r\nConnection: close\r\n\r\nno", 422, "no", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
            let (mut server, _) = listener.accept().expect("the client");
            server.write_all(text.as_bytes()).expect("room for a line");
            drop(server);
            let (answer, last) = read(&mut BufReader::new(client)).expect("an answer");
            assert_eq!(
                (answer.status, &*String::from_utf8_lossy(&answer.body), last),
                (status, body, is_last),
                "{text}"
            );
        }
    }
}
