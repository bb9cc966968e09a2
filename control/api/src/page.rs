//! What is at `/`: the dashboard for browsers, and for all else one page of its own for the person at this machine: what runs
//! here, the zones, the names behind the edge, the tunnels, and what to try next. That one has no script and no login, and so is
//! only for those who sit at the machine; a browser finds it at [`PLAIN_PATH`].
//!
//! It shows names without asking who reads, so [`crate::here`] must say that he sits here. Secrets are never on it. The
//! dashboard shows nothing by itself: it asks the API, and who logs in is known by a session.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bartizan_observed::Connections;
use bartizan_store::{RecordQuery, TunnelQuery, ZoneQuery};
use bartizan_v4::{Record, StoredTunnel, Zone};
use http::{HeaderMap, StatusCode, Uri, header};

use crate::error::{Error, Fault};
use crate::here;
use crate::state::{Api, Facts};
use crate::transaction::{Listed, View};

/// Where the stylesheet is.
pub(crate) const STYLE_PATH: &str = "/page.css";

/// The page without a script.
pub(crate) const PLAIN_PATH: &str = "/here";

/// Files of the dashboard.
pub(crate) const ASSETS_PATH: &str = "/assets/{file}";
pub(crate) const ICON_PATH: &str = "/favicon.svg";

/// Rows of each table; the page says how many there are in all.
const ROWS_MAX: u32 = 50;

/// Nothing but our own stylesheet; no frame around the page, no form out of it.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("page.css")).into_response()
}

/// For a browser the dashboard, for curl the plain page.
pub(crate) async fn page(api: State<Api>, request: Request) -> Response {
    match reads_html(request.headers()) {
        true => asset(request.uri().clone(), request.headers().clone()).await,
        false => plain(api, request).await,
    }
}

/// One of the dashboard's files.
pub(crate) async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    match bartizan_dashboard::answer(uri.path(), &headers) {
        Some(file) => file.map(Body::from).into_response(),
        None => Error::from(Fault::NoRoute).into_response(),
    }
}

/// Browsers name HTML among what they read; clients in a terminal say nothing, or that they read anything.
fn reads_html(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    all.flat_map(|accept| accept.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}

pub(crate) async fn plain(State(api): State<Api>, request: Request) -> Response {
    if !here::asks(&request) {
        return html(StatusCode::FORBIDDEN, elsewhere(&api));
    }
    let account = api.facts().account;
    let state = api.read_list(move |view| Content::read(view, account)).await;
    match state {
        Ok(content) => html(StatusCode::OK, content.page(api.facts(), &api.observed().connections.snapshot().value)),
        Err(error) => error.into_response(),
    }
}

fn html(status: StatusCode, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, text).into_response()
}

/// What the page shows of the store.
struct Content {
    zones: Listed<Zone>,
    /// Proxied records, of the zones that are shown.
    hosts: Vec<Record>,
    tunnels: Listed<StoredTunnel>,
}

impl Content {
    fn read(view: &View, account: bartizan_names::AccountId) -> Result<Content, Error> {
        let zones = view.zones(&ZoneQuery { account: Some(account), per_page: ROWS_MAX, ..ZoneQuery::default() })?;
        let mut hosts: Vec<Record> = Vec::new();
        for zone in &zones.documents {
            let left = ROWS_MAX.saturating_sub(u32::try_from(hosts.len()).unwrap_or(ROWS_MAX));
            let proxied = RecordQuery { proxied: Some(true), per_page: left, ..RecordQuery::all(zone.id) };
            hosts.extend(if left == 0 { Vec::new() } else { view.records(&proxied)?.documents });
        }
        let tunnels =
            view.tunnels(&TunnelQuery { is_deleted: Some(false), per_page: ROWS_MAX, ..TunnelQuery::all(account) })?;
        Ok(Content { zones, hosts, tunnels })
    }

    fn page(&self, facts: &Facts, connections: &Connections) -> String {
        let mut body = format!(
            "<h1>Bartizan</h1><p class=\"soft\">An edge of your own, version {}. This page shows what runs on this machine, to this machine.</p>",
            text(&facts.version)
        );
        body += &self.running(facts);
        body += &self.zones();
        body += &self.hosts(facts);
        body += &self.tunnels(connections);
        body += &next(facts);
        document(&body)
    }

    fn running(&self, facts: &Facts) -> String {
        let list = |sockets: &[SocketAddr]| sockets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let addresses = facts.pop.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let rows = [
            ("API", list(&facts.api)),
            ("DNS", list(&facts.dns)),
            ("HTTP", list(&facts.http)),
            ("HTTPS", list(&facts.https)),
            ("Connectors", list(&facts.tunnel_edges)),
            ("Names answer with", addresses),
            ("Data", facts.data.display().to_string()),
            ("Authority", facts.data.join("ca.pem").display().to_string()),
        ];
        let rows: String =
            rows.iter().map(|(what, value)| format!("<tr><th>{what}</th><td>{}</td></tr>", text(value))).collect();
        format!("<h2>Running</h2><div class=\"wide\"><table><tbody>{rows}</tbody></table></div>")
    }

    fn zones(&self) -> String {
        let rows = self.zones.documents.iter().map(|zone| {
            let state = if zone.paused { "paused" } else { zone.status.as_str() };
            let servers = zone.name_servers.join(", ");
            [text(&zone.name), text(state), format!("<code>{}</code>", zone.id), text(&servers)]
        });
        table("Zones", ["Name", "State", "Id", "Name servers"], rows.collect(), self.zones.total, "No zone yet.")
    }

    fn hosts(&self, facts: &Facts) -> String {
        let port = facts.https.first().map_or(443, SocketAddr::port);
        let rows = self.hosts.iter().map(|record| {
            let link = if port == 443 {
                format!("https://{}/", record.name)
            } else {
                format!("https://{}:{port}/", record.name)
            };
            let name = match record.name.starts_with('*') {
                true => text(&record.name),
                false => format!("<a href=\"{}\">{}</a>", text(&link), text(&record.name)),
            };
            [name, text(&record.kind), self.target(record)]
        });
        let total = self.hosts.len() as u64;
        table("Names behind this edge", ["Name", "Type", "Leads to"], rows.collect(), total, "No proxied name yet.")
    }

    /// A tunnel by its name, anything else as it is.
    fn target(&self, record: &Record) -> String {
        let tunnel =
            self.tunnels.documents.iter().find(|tunnel| record.content == bartizan_model::tunnel_name(tunnel.id));
        tunnel.map_or_else(|| text(&record.content), |tunnel| format!("tunnel {}", text(&tunnel.name)))
    }

    fn tunnels(&self, connections: &Connections) -> String {
        let rows = self.tunnels.documents.iter().map(|tunnel| {
            let health = connections.health(tunnel.id).as_str();
            let origins = connections.of(tunnel.id).map(|one| {
                let since = one.opened_at.to_string().replace('T', " ");
                let since = since.split_once('.').map_or(since.as_str(), |(seconds, _)| seconds);
                format!("{} from {} since {since} UTC<br>", text(&one.version), one.origin_ip)
            });
            [
                text(&tunnel.name),
                format!("<span class=\"{health}\">{health}</span>"),
                format!("<code>{}</code>", tunnel.id),
                origins.collect(),
            ]
        });
        table("Tunnels", ["Name", "State", "Id", "Connections"], rows.collect(), self.tunnels.total, "No tunnel yet.")
    }
}

fn table<const N: usize>(title: &str, heads: [&str; N], rows: Vec<[String; N]>, total: u64, none: &str) -> String {
    if rows.is_empty() {
        return format!("<h2>{title}</h2><p class=\"soft\">{none}</p>");
    }
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    let shown = rows.len() as u64;
    let rows: String = rows
        .into_iter()
        .map(|cells| format!("<tr>{}</tr>", cells.map(|cell| format!("<td>{cell}</td>")).concat()))
        .collect();
    let more = match total.saturating_sub(shown) {
        0 => String::new(),
        more => format!("<p class=\"soft\">and {more} more</p>"),
    };
    format!(
        "<h2>{title}</h2><div class=\"wide\"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )
}

/// Lines to copy, in the order in which a newcomer wants them.
fn next(facts: &Facts) -> String {
    let api = facts.api.first().map_or_else(|| "127.0.0.1:8787".to_owned(), ToString::to_string);
    let dns = facts.dns.first().copied();
    let admin = quoted(&facts.data.join(crate::ADMIN_FILE).display().to_string());
    let domain = &facts.domain;
    let https = facts.https.first().map_or(443, SocketAddr::port);
    let (dns_ip, dns_port) = dns.map_or(("127.0.0.1".to_owned(), 53), |dns| (dns.ip().to_string(), dns.port()));
    let ca = quoted(&facts.data.join("ca.pem").display().to_string());
    let data = quoted(&facts.data.display().to_string());
    let blocks = [
        ("Once in a shell, so that the commands find this edge", format!("export BARTIZAN_DATA={data}")),
        (
            "Serve something that runs on this machine",
            format!(
                "bartizan tunnel --hostname app.{domain} http://localhost:9000\ncurl --cacert {ca} https://app.{domain}:{https}/"
            ),
        ),
        (
            "Ask the API",
            format!(
                "TOKEN=$(sed -n 's/.*\"token\": \"\\(.*\\)\".*/\\1/p' {admin})\ncurl -H \"Authorization: Bearer $TOKEN\" http://{api}/client/v4/zones"
            ),
        ),
        (
            "Make a record, and ask DNS for it",
            format!("bartizan record create www.{domain} A 192.0.2.1\ndig @{dns_ip} -p {dns_port} www.{domain} A"),
        ),
        ("See what is wrong", "bartizan status\nbartizan doctor".to_owned()),
    ];
    let blocks: String =
        blocks.iter().map(|(what, lines)| format!("<p>{what}</p><pre>{}</pre>", text(lines))).collect();
    format!(
        "<h2>Try next</h2>{blocks}<p class=\"soft\">All calls of the API: <a href=\"/client/v4/openapi.json\">OpenAPI document</a>. Counters: <a href=\"/metrics\">metrics</a>.</p>"
    )
}

fn elsewhere(api: &Api) -> String {
    let port = api.facts().api.first().map_or(8787, SocketAddr::port);
    document(&format!(
        "<h1>Bartizan</h1><p>An edge runs here. Its page is shown on the machine itself only, because it asks for no login: \
         open <code>http://localhost:{port}/</code> there, or from elsewhere through <code>ssh -L {port}:localhost:{port} HOST</code>.</p>\
         <p>The API answers everybody who has a token: <code>/client/v4</code>, described in \
         <a href=\"/client/v4/openapi.json\">its OpenAPI document</a>.</p>"
    ))
}

fn document(body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Bartizan</title><link rel=\"stylesheet\" href=\"{STYLE_PATH}\"></head><body><main>{body}</main></body></html>\n"
    )
}

/// For the inside of elements and of quoted attributes.
fn text(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    for character in raw.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// For a shell.
fn quoted(raw: &str) -> String {
    let plain = raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if plain { raw.to_owned() } else { format!("'{}'", raw.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_texts() {
        assert_eq!(text(r#"<a href="x">&'"#), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
        assert_eq!(quoted("/var/lib/b"), "/var/lib/b");
        assert_eq!(quoted("/it's here"), r"'/it'\''s here'");
    }
}
