//! curl as the HTTP client.

use std::process::Command;

/// How long curl may take for one request.
const SECONDS_MAX: &str = "60";

/// What curl got.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    /// As they came, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Page {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first field of that name, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

/// Runs curl; fails with its message if it got no response.
#[track_caller]
pub fn get(words: &[&str]) -> Page {
    try_get(words).unwrap_or_else(|error| panic!("curl {}: {error}", words.join(" ")))
}

/// Runs curl; its message if it got no response.
#[track_caller]
pub fn try_get(words: &[&str]) -> Result<Page, String> {
    let head = tempfile::NamedTempFile::new().expect("a temporary file");
    let output = Command::new("curl")
        .args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", SECONDS_MAX, "--dump-header"])
        .arg(head.path())
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("cannot start curl: {error} (run `cargo xtask test` once: it installs)"));
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let head = std::fs::read(head.path()).expect("curl wrote the head");
    let page = parse(&String::from_utf8_lossy(&head), output.stdout);
    page.ok_or_else(|| format!("curl got no head: {:?}", String::from_utf8_lossy(&head)))
}

/// The last head of the dump: interim responses (100, 103) stand before it, and trailers behind it.
fn parse(dump: &str, body: Vec<u8>) -> Option<Page> {
    let head = dump.rsplit("\r\n\r\n").find(|head| head.starts_with("HTTP/"))?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let version = first.next()?.strip_prefix("HTTP/")?.to_owned();
    let status = first.next()?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Page { status, version, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_curl_dumps() {
        for (dump, status, version, header) in [
            ("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", 200, "1.1", "x"),
            ("HTTP/2 404 \r\nserver: y\r\n\r\n", 404, "2", "y"),
            ("HTTP/2 200 \r\nserver: y\r\n\r\nx-sum: 7\r\n", 200, "2", "y"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nSERVER: z\r\n\r\n", 204, "1.1", "z"),
        ] {
            let page = parse(dump, Vec::new()).expect(dump);
            assert_eq!((page.status, page.version.as_str(), page.header("server")), (status, version, header));
        }
    }
}
