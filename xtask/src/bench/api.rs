//! HTTP/1.1 to our own API over one kept connection: just enough to load a zone of a million records in minutes.
//! It is a client of one server that we know, not a client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Api {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Api {
    pub(super) fn connect(server: SocketAddr, token: &str) -> Result<Api> {
        let stream = TcpStream::connect(server).with_context(|| format!("cannot reach the API at {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!("Host: {server}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        Ok(Api { stream: BufReader::new(stream), head })
    }

    /// Calls `/client/v4/PATH`; gives `result` and fails on anything but success.
    pub(super) fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut json = self.ask(method, path, body)?;
        if json["success"] != true {
            bail!("{method} {path}: {json}");
        }
        Ok(json["result"].take())
    }

    /// Calls `/client/v4/PATH`; gives the whole envelope, whatever it says.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let request =
            format!("{method} /client/v4{path} HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream.get_mut().write_all(request.as_bytes()).with_context(|| format!("{method} {path}"))?;
        serde_json::from_slice(&self.body()?).with_context(|| format!("{method} {path}"))
    }

    fn body(&mut self) -> Result<Vec<u8>> {
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
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
        }
        let mut body = vec![0; length.context("a reply without a length")?];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}
