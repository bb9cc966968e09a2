//! What `up` prints when everything is ready (design §2.1): a link for a person, one JSON object for a tool.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::output::{bold, faint, link};

/// The first line of stdout under `--json`. Tools rely on its members and on their order.
#[derive(Serialize)]
pub struct Ready {
    pub version: &'static str,
    pub data: PathBuf,
    pub api: String,
    pub dashboard: String,
    /// None where the administrator's file has none that works. The next two as well where it cannot be read.
    pub token: Option<String>,
    pub email: Option<String>,
    pub key: Option<String>,
    pub account_id: String,
    /// The default zone, which is not made anew when it was deleted.
    pub zone: Option<ZoneRef>,
    pub addresses: Vec<String>,
    pub dns: Vec<SocketAddr>,
    pub dns_tls: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub http3: Vec<SocketAddr>,
    pub tunnel: Vec<SocketAddr>,
    pub ca: PathBuf,
    #[serde(skip)]
    pub domain: String,
}

#[derive(Serialize)]
pub struct ZoneRef {
    pub id: String,
    pub name: String,
}

/// A URL with its port where the port is not the scheme's own.
pub fn url(scheme: &str, host: &str, port: u16) -> String {
    match (scheme, port) {
        ("https", 443) | ("http", 80) => format!("{scheme}://{host}/"),
        _ => format!("{scheme}://{host}:{port}/"),
    }
}

impl Ready {
    /// The text for a person. It ends with what can be clicked.
    /// With the link that logs a browser in, if it may be shown.
    pub fn text(&self, hello: Option<&str>, login: Option<&str>) -> String {
        let mut lines =
            vec![format!("{} is ready; data in {}", bold(&format!("bartizan {}", self.version)), self.data.display())];
        let host = hello.unwrap_or(&self.domain);
        if let Some(dns) = self.dns.first() {
            lines.push(faint(&format!("  dig @{} -p {} {host} AAAA", dns.ip(), dns.port())));
        }
        lines.push(faint(&format!(
            "  bartizan tunnel --hostname app.{} http://localhost:9000     put a service of yours on the edge",
            self.domain
        )));
        lines.push(match login {
            Some(login) => format!("  dashboard        {}", link(login)),
            None => format!("  dashboard        {}   `bartizan dashboard` lets you in", link(&self.dashboard)),
        });
        if let Some(hello) = hello {
            if let Some(http) = self.http.first() {
                lines.push(format!("  without TLS      {}", link(&url("http", hello, http.port()))));
            }
            if let Some(https) = self.https.first() {
                lines.push(faint(&format!(
                    "  the browser does not know this edge's CA yet: curl --cacert {} …",
                    self.ca.display()
                )));
                lines.push(format!("  your edge        {}", link(&url("https", hello, https.port()))));
            }
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::{Ready, ZoneRef, url};

    /// What a service prints is kept in a journal that others read.
    #[test]
    fn a_service_prints_no_secret() {
        let address = |port| vec![([127, 0, 0, 1], port).into()];
        let ready = Ready {
            version: "0",
            data: "/data".into(),
            api: "http://127.0.0.1:8787/client/v4".to_owned(),
            dashboard: "http://127.0.0.1:8787/".to_owned(),
            token: Some("the token".to_owned()),
            email: Some("admin@example".to_owned()),
            key: Some("the key".to_owned()),
            account_id: "account".to_owned(),
            zone: Some(ZoneRef { id: "zone".to_owned(), name: "example".to_owned() }),
            addresses: vec!["127.0.0.1".to_owned()],
            dns: address(53),
            dns_tls: address(853),
            http: address(80),
            https: address(443),
            http3: address(443),
            tunnel: address(7844),
            ca: "/data/ca.pem".into(),
            domain: "example".to_owned(),
        };
        let json = serde_json::to_string(&ready).unwrap();
        let text = ready.text(None, None) + &ready.text(Some("hello.example"), None);
        for secret in [&ready.token, &ready.key].into_iter().flatten() {
            assert!(json.contains(secret) && !text.contains(secret), "{text}");
        }
        let unit = include_str!("../../../contrib/bartizan.service");
        let start = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert!(start.contains("bartizan up") && !start.contains("--json"), "{start}");
    }

    /// By systemd's own limit five starts that fail within ten seconds were the last.
    #[test]
    fn units_are_started_for_as_long_as_it_takes() {
        for unit in [
            include_str!("../../../contrib/bartizan.service"),
            include_str!("../../../contrib/bartizan-tunnel.service"),
        ] {
            let of_unit = unit.split("[Service]").next().unwrap();
            assert!(of_unit.lines().any(|line| line == "StartLimitIntervalSec=0"), "{of_unit}");
            assert!(unit.lines().any(|line| line == "Restart=always"));
        }
    }

    #[test]
    fn ports_are_named_where_they_must() {
        for (scheme, port, expect) in [
            ("https", 443, "https://a/"),
            ("https", 8443, "https://a:8443/"),
            ("http", 80, "http://a/"),
            ("http", 443, "http://a:443/"),
        ] {
            assert_eq!(url(scheme, "a", port), expect);
        }
    }
}
