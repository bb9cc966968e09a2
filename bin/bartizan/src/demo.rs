//! The hello page of `up`: a service that listens on no port, put behind a tunnel by the API that everything uses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bartizan_dial::Reach;
use bartizan_names::ZoneName;
use bartizan_observed::{Lease, Problem, Problems, Reporter, What};
use bartizan_tls::Now;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::client::Api;
use crate::connect::Plan;
use crate::failure::{Cause, Failure};
use crate::listen::Addresses;
use crate::zone::text;
use crate::{clock, connect, tunnel, up};

/// The tunnel's name, and the page's below the domain.
const NAME: &str = "hello";

/// How long a start may take from here on. It takes well under a second; a machine that needs this is stuck.
const START_MAX: Duration = Duration::from_secs(30);

/// Between two looks at something that is about to be there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The same when it is not there yet, for as long as the edge runs.
const LOOK_ON: Duration = Duration::from_secs(1);

/// Before the page is put up again: a disk that had no room, for example, has some by then.
const PUT_UP_AGAIN: Duration = Duration::from_secs(60);

/// The running connector.
pub struct Hello {
    /// Where the page is. None as long as it could not be put up.
    pub host: Option<String>,
    task: Connector,
}

impl Hello {
    /// Waits for the connector's graceful end.
    pub async fn stopped(self) {
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the hello page's connector ended"),
            Err(error) => tracing::warn!(%error, "the hello page's connector ended"),
        }
    }
}

/// Waits until the API answers its own administrator.
pub async fn api_answers(api: &Api) -> anyhow::Result<()> {
    within("the API", async {
        loop {
            match api.get("/user/tokens/verify").await {
                Ok(_) => return Ok(()),
                Err(error)
                    if error.downcast_ref::<Failure>().is_some_and(|failure| failure.cause == Cause::Refused) =>
                {
                    return Err(error);
                }
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    })
    .await
}

/// Makes what is missing, connects, and sees the page come back through DNS name, TLS, HTTP and tunnel. What fails of it
/// is a problem: the edge serves without.
pub async fn start(
    api: &Api,
    addresses: &Addresses,
    domain: &ZoneName,
    ca: &str,
    (reach, now): (&Reach, Now),
    problems: &Problems,
    stopped: watch::Receiver<bool>,
) -> Hello {
    let page = Page {
        api: api.clone(),
        addresses: addresses.clone(),
        domain: domain.clone(),
        ca: ca.to_owned(),
        reach: reach.clone(),
        now: Arc::clone(&now),
    };
    let (connector, host, zone) = match page.put_up(stopped.clone()).await {
        Ok(put_up) => put_up,
        Err(error) => {
            fails(problems, &error);
            return Hello { host: None, task: tokio::spawn(page.put_up_again(problems.clone(), stopped)) };
        }
    };
    if let Err(error) = page_seen(addresses, &host, ca, &now, &zone).await {
        fails(problems, &error);
        let (host, problems) = (host.clone(), problems.clone());
        tokio::spawn(async move { page.clear_when_seen(&host, &problems).await });
    }
    Hello { host: Some(host), task: connector }
}

/// What the page needs.
struct Page {
    api: Api,
    addresses: Addresses,
    domain: ZoneName,
    ca: String,
    reach: Reach,
    /// By which certificates are judged.
    now: Now,
}

type Connector = tokio::task::JoinHandle<anyhow::Result<()>>;

impl Page {
    /// Until it is there; then as long as its connector runs.
    async fn put_up_again(self, problems: Problems, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PUT_UP_AGAIN) => {}
                () = up::until(stopped.clone()) => return Ok(()),
            }
            match self.put_up(stopped.clone()).await {
                Ok((mut connector, host, _)) => {
                    tokio::select! {
                        () = self.clear_when_seen(&host, &problems) => {}
                        ended = &mut connector => return ended?,
                    }
                    return connector.await?;
                }
                Err(error) => fails(&problems, &error),
            }
        }
    }

    async fn clear_when_seen(&self, host: &str, problems: &Problems) {
        if page_answers(&self.addresses, host, &self.ca, &self.now, LOOK_ON).await.is_ok() {
            problems.clear(Reporter::Demo, Instant::now());
        }
    }

    /// The connector with the page, where the page is, and the zone that leads to it.
    async fn put_up(&self, stopped: watch::Receiver<bool>) -> anyhow::Result<(Connector, String, Value)> {
        let Page { api, addresses, domain, ca, reach, now } = self;
        let host = domain.as_name().child(NAME.as_bytes())?.to_string();
        let account = tunnel::account(api).await?;
        let made = tunnel::find_or_create(api, &account, NAME).await?;
        let token = tunnel::token(api, &account, &made).await?;
        let edges = addresses.tunnel.iter().copied().map(up::reachable).collect();
        let mut plan = Plan::local(&token, edges, ca, (reach.clone(), Arc::clone(now)))?;
        plan.serve(&json!({ "ingress": [{ "service": "hello_world" }] }))?;
        let zone = crate::zone::of_name(api, &host).await?;
        tunnel::route_dns(api, &zone, text(&made, "id"), &host, false).await?;
        Ok((tokio::spawn(connect::run_quietly(plan, stopped)), host, zone))
    }
}

/// Shows that there is no hello page.
pub fn fails(problems: &Problems, error: &anyhow::Error) {
    let problem = Problem {
        what: What::Demo,
        count: 1,
        reason: format!("{error:#}"),
        since: clock::now(),
        remedy: "see to what the reason names: it is put up again within a minute; or start the edge with --no-demo",
    };
    for problem in problems.report(Reporter::Demo, vec![problem], Lease::Held, Instant::now()) {
        tracing::error!(%problem, "degraded");
    }
}

async fn page_seen(addresses: &Addresses, host: &str, ca: &str, now: &Now, zone: &Value) -> anyhow::Result<()> {
    if zone["paused"] == true {
        return Err(anyhow!("its zone {} is paused", text(zone, "name")));
    }
    within("the hello page", page_answers(addresses, host, ca, now, LOOK_AGAIN)).await
}

async fn within(what: &str, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::time::timeout(START_MAX, work)
        .await
        .map_err(|_| Failure::new(Cause::Failed, format!("{what} did not answer within {START_MAX:?}")))?
}

async fn page_answers(addresses: &Addresses, host: &str, ca: &str, now: &Now, every: Duration) -> anyhow::Result<()> {
    let https = addresses.https.first().copied().map(up::reachable).ok_or_else(|| anyhow!("no HTTPS address"))?;
    let config = bartizan_tls::client_config_by(now, &bartizan_tls::Roots::Pem(ca.to_owned()), &[b"http/1.1"])?;
    loop {
        if let Ok(200) = page_status(https, host, &config).await {
            return Ok(());
        }
        tokio::time::sleep(every).await;
    }
}

/// One request over TLS, as a visitor makes it: its status.
async fn page_status(
    https: std::net::SocketAddr,
    host: &str,
    config: &Arc<bartizan_tls::ClientConfig>,
) -> anyhow::Result<u16> {
    let stream = bartizan_tls::connect(config, host, TcpStream::connect(https).await?).await?;
    let request =
        http::Request::get("/").header(http::header::HOST, host).body(http_body_util::Empty::<bytes::Bytes>::new())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let status = sender.send_request(request).await?.status().as_u16();
    driver.abort();
    Ok(status)
}
