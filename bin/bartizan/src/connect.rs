//! The running connector of `bartizan tunnel`: where it dials, what it serves, and one line for each thing that
//! happens.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::Context;
use bartizan_connector::{
    Credentials, Event, Ingress, Options, OriginRequest, Protocol, TAGS_MAX, Token, Transport, plain_text,
};
use bartizan_dial::Reach;
use bartizan_names::ConnectorId;
use bartizan_quotas::Rarely;
use bartizan_tls::{Now, Roots};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::output::Output;
use crate::tunnel::Connector;
use crate::{report, status, text_file, up};

/// Events that wait to be printed; more are dropped, so that a slow terminal stops no request.
const EVENTS_MAX: usize = 256;
/// Origins that have a line a minute of their own when they do not answer. The others share one.
const ORIGINS_MAX: usize = 8;
/// The longest line. What is in it may be anybody's.
const LINE_BYTES_MAX: usize = 500;

/// How long a local service may take to accept a connection before it is said to be away.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Says so if nothing listens at a service (`http://localhost:8080`, `tcp://127.0.0.1:22`): its tunnel is healthy all the
/// same. Nothing waits for it, and the service may come later.
fn look_at(service: String) {
    let Some((host, port)) = host_and_port(&service) else { return };
    tokio::spawn(async move {
        let away = match tokio::time::timeout(LOOK_MAX, TcpStream::connect((host.as_str(), port))).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", LOOK_MAX.as_secs()),
        };
        tracing::warn!("nothing listens at {service} yet ({away}): visitors get an error until something does");
    });
}

/// Where a service is, if it is spoken to over TCP.
fn host_and_port(service: &str) -> Option<(String, u16)> {
    let (scheme, rest) = service.split_once("://")?;
    let default = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "tcp" => None,
        _ => return None,
    };
    let authority = rest.split('/').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, default?),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

/// A connector that only waits for its start.
pub struct Plan {
    options: Options,
    /// The edge's HTTPS port, where it is known.
    https_port: Option<u16>,
    /// What is looked at when it starts.
    service: Option<String>,
}

impl Plan {
    /// What the flags say, else what the token says, else what the API says.
    pub async fn from_token(token: &str, flags: &Connector, api: Option<Api>) -> anyhow::Result<Plan> {
        check_tags(flags)?;
        let token: Token = token.parse().map_err(|error| {
            Failure::new(Cause::Usage, format!("{error}")).remedy("`bartizan tunnel token NAME` prints one")
        })?;
        let facts = match api {
            Some(api) => status::facts(&api).await.ok(),
            None => None,
        };
        let edges = if !flags.edges.is_empty() {
            resolve(&flags.edges)?
        } else if !token.edges.is_empty() {
            resolve(&token.edges)?
        } else if let Some(facts) = &facts {
            resolve(&facts.tunnel)?
        } else {
            return Err(Failure::new(Cause::Usage, "where is the edge? Neither the token nor an API says it")
                .remedy("--edge HOST:7844, and --cacert FILE with its ca.pem")
                .into());
        };
        let roots = match (&flags.cacert, &token.ca_pin, &facts) {
            (Some(path), _, _) => Roots::Pem(text_file::read(path)?),
            (None, Some(pin), _) => Roots::Pinned(
                bartizan_tls::Pin::parse(pin)
                    .with_context(|| "the token's ca_pin cannot be read; was all of it copied?")?,
            ),
            (None, None, Some(facts)) => Roots::Pem(facts.ca.clone()),
            (None, None, None) => Roots::System,
        };
        let https_port =
            facts.and_then(|facts| facts.https.first()?.parse::<SocketAddr>().ok()).map(|https| https.port());
        let mut plan = Plan { options: options(token, edges, roots)?, https_port, service: None };
        plan.options.connections = usize::from(flags.connections);
        plan.options.protocol = flags.protocol.into();
        plan.options.tags.clone_from(&flags.tags);
        plan.options.grace = Duration::from_secs(flags.grace_period);
        if let Some(url) = &flags.url {
            let mut origin = OriginRequest::default();
            origin.no_tls_verify = flags.no_tls_verify.then_some(true);
            origin.origin_server_name.clone_from(&flags.origin_server_name);
            origin.http2_origin = flags.http2_origin.then_some(true);
            plan.options.ingress = Ingress::single(url, origin)
                .map_err(|error| Failure::new(Cause::Usage, format!("--url {url}: {error}")))?;
            plan.look_at(url.clone());
        }
        Ok(plan)
    }

    /// A connector inside the edge's own process, which reaches no more than the edge does: its rules can be changed by
    /// whoever may change the tunnel, and believes the edge's time.
    pub fn local(token: &str, edges: Vec<SocketAddr>, ca: &str, (reach, now): (Reach, Now)) -> anyhow::Result<Plan> {
        let protocol = Protocol::Only(Transport::Quic);
        let options =
            Options { protocol, reach, now: Some(now), ..options(token.parse()?, edges, Roots::Pem(ca.to_owned()))? };
        Ok(Plan { options, https_port: None, service: None })
    }

    /// Serves by these rules until the edge sends others.
    pub fn serve(&mut self, rules: &Value) -> anyhow::Result<()> {
        self.options.ingress = Ingress::parse_by(self.options.now.as_ref(), rules.to_string().as_bytes())
            .map_err(|error| Failure::new(Cause::Usage, format!("this service cannot be served: {error}")))?;
        Ok(())
    }

    /// What it serves, to look at when it starts.
    pub fn look_at(&mut self, service: String) {
        self.service = Some(service);
    }

    /// The link to a host behind this edge.
    pub fn visit(&self, host: &str) -> String {
        report::url("https", host, self.https_port.unwrap_or(443))
    }
}

fn options(token: Token, edges: Vec<SocketAddr>, roots: Roots) -> anyhow::Result<Options> {
    let credentials = Credentials { account: token.account, tunnel: token.tunnel, secret: token.secret };
    // Until rules come it answers 503, and not with whatever listens on port 80.
    let ingress = Ingress::single("http_status:503", OriginRequest::default())?;
    Ok(Options::new(edges, roots, credentials, ingress, ConnectorId::from_random(bartizan_seal::random())))
}

fn resolve(edges: &[String]) -> anyhow::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for edge in edges {
        let found = edge
            .to_socket_addrs()
            .map_err(|error| Failure::new(Cause::Failed, format!("the edge {edge} cannot be found: {error}")))?;
        addresses.extend(found.map(up::reachable));
    }
    Ok(addresses)
}

/// Whether the way to the edge that the flags name can be: asked before anything is made for it.
pub fn check(flags: &Connector) -> anyhow::Result<()> {
    check_tags(flags)?;
    resolve(&flags.edges)?;
    flags.cacert.as_deref().map(text_file::read).transpose().map(drop)
}

fn check_tags(flags: &Connector) -> anyhow::Result<()> {
    if flags.tags.len() > TAGS_MAX {
        let message = format!("a connector has {TAGS_MAX} labels at most, and here are {}", flags.tags.len());
        return Err(Failure::new(Cause::Usage, message).remedy("give fewer --tag").into());
    }
    Ok(())
}

/// Runs until a signal, then ends gracefully.
pub async fn run(plan: Plan, output: Output) -> anyhow::Result<()> {
    plan.service.clone().into_iter().for_each(look_at);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let signal = up::signal().await;
        output.progress(format!("{signal}: letting requests finish"));
        stop.send_replace(true);
        // A second one means: at once.
        up::signal().await;
        std::process::exit(1);
    });
    drive(plan, stopped, move |_, line| output.progress(line)).await
}

/// The same inside an edge: what happens goes to the log.
pub async fn run_quietly(plan: Plan, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    drive(plan, stopped, |event, line| match event {
        Event::Connected { .. } | Event::FellBack { .. } | Event::ConfigurationApplied { .. } | Event::Stopped => {
            tracing::debug!("{line}")
        }
        _ => tracing::warn!("hello page: {line}"),
    })
    .await
}

async fn drive(
    plan: Plan,
    stopped: watch::Receiver<bool>,
    print: impl Fn(&Event, String) + Send + 'static,
) -> anyhow::Result<()> {
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    let printing = tokio::spawn(async move {
        let mut lines = Lines::default();
        while let Some(event) = happened.recv().await {
            if let Some(line) = lines.of(&event) {
                print(&event, line);
            }
        }
    });
    let ended = bartizan_connector::run(plan.options, events, stopped).await;
    printing.await.ok();
    ended.context("the connector")
}

/// Makes lines of events, and none of every request that failed.
#[derive(Default)]
struct Lines {
    failed: Vec<(String, Rarely)>,
    others_failed: Rarely,
    streams: Rarely,
}

impl Lines {
    fn of(&mut self, event: &Event) -> Option<String> {
        let times = match event {
            Event::RequestFailed { origin, .. } => self.failures_of(origin).turn()?,
            Event::StreamGivenUp { .. } => self.streams.turn()?,
            _ => 1,
        };
        let times = if times > 1 { format!(" ({times} times since the last such line)") } else { String::new() };
        // What peers and origins say is on one line, and short.
        Some(plain_text(line(event).as_bytes(), LINE_BYTES_MAX) + &times)
    }

    fn failures_of(&mut self, origin: &str) -> &Rarely {
        let known = self.failed.iter().position(|(name, _)| name == origin);
        let at = known.unwrap_or_else(|| {
            if self.failed.len() < ORIGINS_MAX {
                self.failed.push((origin.to_owned(), Rarely::new()));
                return self.failed.len() - 1;
            }
            usize::MAX
        });
        self.failed.get(at).map_or(&self.others_failed, |(_, rarely)| rarely)
    }
}

/// What happened and why, in one line.
fn line(event: &Event) -> String {
    match event {
        Event::Connected { index, edge, location, transport } => {
            format!("connection {index} is up: {edge} ({location}), over {transport}")
        }
        Event::FellBack { index, why } => format!(
            "connection {index} is over HTTP/2, since nothing came back over QUIC ({why}); UDP services get nothing until QUIC, \
             which is tried again once a minute, passes"
        ),
        Event::Lost { index, why, retry_in } => {
            format!("connection {index} is down: {why}; next try in {:.1} s", retry_in.as_secs_f64())
        }
        Event::Silent { index } => format!("connection {index} is silent; making another one beside it"),
        Event::Heard { index } => format!("connection {index} is heard again"),
        Event::Refused { index, cause } => format!("connection {index} was refused by the edge: {cause}"),
        Event::ConfigurationApplied { version, unserved: None } => format!("configuration {version} is in force"),
        Event::ConfigurationApplied { version, unserved: Some(why) } => {
            format!("configuration {version} is in force, but for what this connector does not serve (502): {why}")
        }
        Event::ConfigurationRejected { why } => {
            format!("the edge's configuration was rejected, the old one stays: {why}")
        }
        Event::RequestFailed { origin, why } => format!("{origin} did not answer: {why}"),
        Event::StreamGivenUp { why } => format!("the edge began a stream and did not go on: {why}"),
        Event::Stopped => "stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_can_be_looked_at() {
        for (service, expect) in [
            ("http://localhost:9000", Some(("localhost", 9000))),
            ("http://localhost", Some(("localhost", 80))),
            ("https://[::1]/x", Some(("::1", 443))),
            ("tcp://[::1]:22", Some(("::1", 22))),
            ("tcp://10.0.0.1", None),
            ("udp://10.0.0.1:53", None),
            ("hello_world", None),
        ] {
            let expect = expect.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_and_port(service), expect, "{service}");
        }
    }

    #[test]
    fn requests_that_fail_make_some_lines_a_minute() {
        let mut lines = Lines::default();
        let mut printed = Vec::new();
        for number in 0..10_000 {
            let origin = format!("http://10.0.0.{}", number % 100);
            printed.extend(lines.of(&Event::RequestFailed { origin, why: "it refuses connections".to_owned() }));
        }
        assert_eq!(printed.len(), ORIGINS_MAX + 1);
        assert_eq!(printed[0], "http://10.0.0.0 did not answer: it refuses connections");
        assert!(lines.of(&Event::Silent { index: 0 }).is_some(), "other events have a line each");
    }

    #[test]
    fn what_others_say_is_one_short_line() {
        let mut lines = Lines::default();
        let why = "\x1b[2Jone\ntwo ".repeat(1_000);
        let retry_in = Duration::from_secs(1);
        for event in [
            Event::Lost { index: 1, why: why.clone(), retry_in },
            Event::Refused { index: 1, cause: why.clone() },
            Event::ConfigurationRejected { why: why.clone() },
            Event::ConfigurationApplied { version: 1, unserved: Some(why.clone()) },
            Event::RequestFailed { origin: "tcp".to_owned(), why },
        ] {
            let line = lines.of(&event).unwrap();
            assert!(line.len() <= LINE_BYTES_MAX && !line.contains(char::is_control), "{line:?}");
        }
    }
}
