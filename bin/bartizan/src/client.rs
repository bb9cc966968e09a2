//! The API's client: what every command but `up` and `doctor` works through. Nothing here cannot be done by curl.

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bartizan_api::NEW_CREDENTIALS;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::api_token::permissions::words_for;
use crate::failure::{Cause, Failure};
use crate::output::one_line;

mod transfer;

pub use transfer::{Download, Feed, Sent, Upload};

/// How long a connection to the API may take to be there.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long the API may take to begin an answer. It gives up a change after 10 s itself; what is longer is no API, or one
/// that does not answer any more.
const HEAD_MAX: Duration = Duration::from_secs(20);

/// How long the rest of an answer may take: a page may be large, and the way slow.
const BODY_MAX: Duration = Duration::from_secs(60);

/// How long an answer that goes on may say nothing: the API says so more often than that.
const LINE_MAX: Duration = Duration::from_secs(60);

/// After so long a person is told what is waited for.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// An answer's size. A page of 5,000 records is some 3 MB.
const ANSWER_MAX: usize = 64 << 20;

/// Items of a list on a page: what every list of the API gives.
const PAGE_ITEMS: usize = 50;

/// The same of records, of which a zone may have a million.
pub const PAGE_RECORDS: usize = 5_000;

/// What a request carries.
type Payload = BoxBody<Bytes, io::Error>;

/// By what a command is let in.
#[derive(Clone)]
pub enum Pass {
    Token(String),
    /// The cookie of a session, as `name=secret`.
    Session(String),
}

/// Where the API is and how to be let in.
#[derive(Clone)]
pub struct Api {
    /// With `/client/v4`, without a final slash.
    base: String,
    /// None for the call that asks for one.
    pass: Option<Pass>,
    /// Our own CA, where the API is reached by https.
    ca: Option<String>,
    /// What helps whoever is not let in.
    when_refused: &'static str,
    /// The command that works through it, as `--can` knows it.
    command: &'static str,
    /// How long the head of an answer may take.
    head_max: Duration,
    /// The tag that what is changed must still have.
    if_match: Option<String>,
    /// What calls said that were only tried; none if calls are meant.
    tried: Option<Arc<Mutex<Vec<Value>>>>,
}

impl Api {
    pub fn new(base: &str, token: &str, ca: Option<String>) -> Api {
        Api::with(base, Pass::Token(token.trim().to_owned()), ca)
    }

    pub fn with(base: &str, pass: Pass, ca: Option<String>) -> Api {
        let when_refused = match &pass {
            Pass::Token(_) => "check the token: `bartizan login` stores one, --api-token gives one",
            Pass::Session(_) => "the session may have ended: `bartizan login --user EMAIL` begins another one",
        };
        Api { pass: Some(pass), when_refused, ..Api::without_pass(base, ca) }
    }

    fn without_pass(base: &str, ca: Option<String>) -> Api {
        let base = base.trim_end_matches('/').to_owned();
        Api { base, pass: None, ca, when_refused: "", command: "", head_max: HEAD_MAX, if_match: None, tried: None }
    }

    /// Begins a session.
    pub async fn log_in(base: &str, ca: Option<String>, email: &str, password: &str) -> anyhow::Result<Api> {
        let when_refused = "check the address and the password; `bartizan user passwd` gives another one, by who may";
        let api = Api { when_refused, ..Api::without_pass(base, ca.clone()) };
        let url = format!("{}/bartizan/sessions", api.base);
        let payload = Bytes::from(serde_json::to_vec(&json!({"email": email, "password": password}))?);
        let payload = Full::new(payload).map_err(|never| match never {}).boxed();
        let response = api.ask(Method::POST, &url, Some("application/json"), payload, HEAD_MAX).await?;
        let cookie = response.headers().get(header::SET_COOKIE).and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
        let (status, answer) = whole(&url, response).await?;
        check_envelope(&url, status, &answer, api.when_refused, "")?;
        let cookie = cookie.ok_or_else(|| Failure::new(Cause::Failed, format!("{url} began no session")))?;
        Ok(Api::with(base, Pass::Session(cookie), ca))
    }

    /// For calls whose work may take so long.
    pub fn waiting(self, head_max: Duration) -> Api {
        Api { head_max, ..self }
    }

    /// For a change of what must still be as it was seen; whatever it is like, if it has no tag.
    pub fn if_still(self, tag: Option<String>) -> Api {
        Api { if_match: tag, ..self }
    }

    /// With the token of the administrator's file.
    pub fn with_local_token(self) -> Api {
        Api { when_refused: NEW_CREDENTIALS, ..self }
    }

    /// For a command: a right that is missing is told by its word.
    pub fn running(self, command: &'static str) -> Api {
        Api { command, ..self }
    }

    /// With a token that nobody typed.
    pub fn with_token_of_the_environment(self) -> Api {
        let when_refused = "the token is the one in BARTIZAN_API_TOKEN: put a new one there; or unset it, and commands take \
                            that of this machine's edge, or what `bartizan login` stored";
        Api { when_refused, ..self }
    }

    /// Changes nothing any more: what a call would do is kept for [`Api::tried`].
    pub fn trying(self) -> Api {
        Api { tried: Some(Arc::default()), ..self }
    }

    pub fn only_tries(&self) -> bool {
        self.tried.is_some()
    }

    /// What calls that were only tried have answered.
    pub fn tried(&self) -> Vec<Value> {
        let tried = self.tried.as_ref().map(|tried| tried.lock().unwrap_or_else(PoisonError::into_inner).clone());
        tried.unwrap_or_default()
    }

    /// For what would be done next, and cannot be tried before what is in front of it is done.
    pub fn foretell(&self, message: &str) {
        if let Some(tried) = &self.tried {
            let answer = json!({"messages": [{"message": message}]});
            tried.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// By what it is let in.
    pub fn pass(&self) -> Option<&Pass> {
        self.pass.as_ref()
    }

    pub fn is_session(&self) -> bool {
        matches!(self.pass, Some(Pass::Session(_)))
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// The same; none if there is nothing.
    pub async fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        if_there(self.get(path).await)
    }

    /// The same, with the tag of the state that was seen, for [`Api::if_still`].
    pub async fn find_tagged(&self, path: &str) -> anyhow::Result<Option<(Value, Option<String>)>> {
        let found = self.exchange(Method::GET, &format!("{}{path}", self.base), None).await;
        Ok(if_there(found)?.map(|(envelope, tag)| (with_messages(envelope).0, tag)))
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, None).await
    }

    /// The result, and what else the API says about it: that something is not in it.
    pub async fn get_with_messages(&self, path: &str) -> anyhow::Result<(Value, Vec<String>)> {
        self.envelope(Method::GET, path, None).await.map(with_messages)
    }

    pub async fn post_with_messages(&self, path: &str, body: &Value) -> anyhow::Result<(Value, Vec<String>)> {
        self.envelope(Method::POST, path, Some(body)).await.map(with_messages)
    }

    /// How many items a list has.
    pub async fn count(&self, path: &str) -> anyhow::Result<u64> {
        let envelope = self.envelope(Method::GET, &format!("{path}?per_page=1"), None).await?;
        envelope["result_info"]["total_count"].as_u64().ok_or_else(|| anyhow!("{path} did not say how many there are"))
    }

    /// Every item of a list.
    pub async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        self.each(path, PAGE_ITEMS, |found| items.push(found)).await?;
        Ok(items)
    }

    /// The items of a list one by one: so many are here at a time.
    pub async fn each(&self, path: &str, page_items: usize, mut take: impl FnMut(Value)) -> anyhow::Result<()> {
        let separator = if path.contains('?') { '&' } else { '?' };
        for page in 1.. {
            let url = format!("{path}{separator}page={page}&per_page={page_items}");
            let Value::Array(found) = self.call(Method::GET, &url, None).await? else {
                return Err(anyhow!("{path} did not answer with a list"));
            };
            if found.is_empty() {
                break;
            }
            found.into_iter().for_each(&mut take);
        }
        Ok(())
    }

    /// The `result` of one call. What the API says beside it of a change is passed on: that a host lets nobody in, for example; but
    /// not what the result says itself, which is shown.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let is_safe = method.is_safe();
        let (result, messages) = with_messages(self.envelope(method, path, body).await?);
        if !is_safe && self.tried.is_none() {
            let others = messages.iter().filter(|message| !is_said(&result, message));
            others.for_each(|message| tracing::info!("{}", one_line(message)));
        }
        Ok(result)
    }

    /// The answer to one call that went well. `path` begins with a slash and is relative to the base.
    async fn envelope(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let tried = self.tried.as_ref().filter(|_| !method.is_safe());
        let url = match tried {
            Some(_) => format!("{}{}", self.base, and_tried(path)),
            None => format!("{}{path}", self.base),
        };
        let exchange = self.exchange(method, &url, body);
        tokio::pin!(exchange);
        let answer = match tokio::time::timeout(QUIET_MAX, &mut exchange).await {
            Ok(answer) => answer?.0,
            Err(_) => {
                tracing::info!("waiting for {url} to answer");
                exchange.await?.0
            }
        };
        if let Some(tried) = tried {
            tried.lock().unwrap_or_else(PoisonError::into_inner).push(answer.clone());
        }
        Ok(answer)
    }

    /// An answer that went well, and the tag of what it shows.
    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(Value, Option<String>)> {
        let (content_type, payload) = match body {
            Some(body) => (Some("application/json"), Bytes::from(serde_json::to_vec(body)?)),
            None => (None, Bytes::new()),
        };
        let payload = Full::new(payload).map_err(|never| match never {}).boxed();
        let response = self.ask(method, url, content_type, payload, self.head_max).await?;
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let (status, answer) = whole(url, response).await?;
        Ok((check_envelope(url, status, &answer, self.when_refused, self.command)?, tag))
    }

    /// The lines of an answer that goes on, until it ends or `take` has enough.
    pub async fn lines(
        &self,
        path: &str,
        mut take: impl FnMut(&str) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<ControlFlow<()>> {
        let url = format!("{}{path}", self.base);
        let payload = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
        let response = self.ask(Method::GET, &url, None, payload, self.head_max).await?;
        if !response.status().is_success() {
            let (status, answer) = whole(&url, response).await?;
            check_envelope(&url, status, &answer, self.when_refused, self.command)?;
            return Err(anyhow!("{url} answered {status}"));
        }
        let mut body = response.into_body();
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let frame = within(LINE_MAX, body.frame()).await.ok_or_else(|| mute(&url, LINE_MAX))?;
            let Some(frame) = frame else { return Ok(ControlFlow::Continue(())) };
            let frame = frame.map_err(|error| anyhow!(error).context(format!("{url} broke off")))?;
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if take(String::from_utf8_lossy(&line).trim_end())?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if rest.len() > ANSWER_MAX {
                return Err(anyhow!("{url} sends lines without an end"));
            }
        }
    }

    /// One request on a connection of its own; the head of its answer, which may take so long to come.
    async fn ask(
        &self,
        method: Method,
        url: &str,
        content_type: Option<&str>,
        body: Payload,
        head_max: Duration,
    ) -> anyhow::Result<Response<Incoming>> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        let host = uri.host().ok_or_else(|| anyhow!("{url:?} has no host"))?.to_owned();
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let bare_host = host.trim_start_matches('[').trim_end_matches(']');

        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &authority)
            .header(header::USER_AGENT, concat!("bartizan/", env!("CARGO_PKG_VERSION")));
        request = match &self.pass {
            Some(Pass::Token(token)) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            // What a session changes must be asked for from the edge's own origin.
            pass => {
                let origin = format!("{}://{authority}", if secure { "https" } else { "http" });
                let request = request.header(header::ORIGIN, origin);
                match pass {
                    Some(Pass::Session(cookie)) => request.header(header::COOKIE, cookie),
                    _ => request,
                }
            }
        };
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(tag) = &self.if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        let request = request.body(body)?;

        let socket = within(CONNECT_MAX, TcpStream::connect((bare_host, port))).await;
        let socket =
            socket.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())).map_err(|error| unreachable(url, &error))?;
        // A name may lead anywhere, `localhost` too.
        if !secure && !socket.peer_addr()?.ip().to_canonical().is_loopback() {
            return Err(in_clear_text(&self.base).into());
        }
        let sent = if secure {
            let roots = match &self.ca {
                Some(ca) => bartizan_tls::Roots::SystemAnd(ca.clone()),
                None => bartizan_tls::Roots::System,
            };
            let config = bartizan_tls::client_config(&roots, &[b"http/1.1"])?;
            let stream = within(CONNECT_MAX, bartizan_tls::connect(&config, bare_host, socket)).await;
            let stream = stream.ok_or_else(|| mute(url, CONNECT_MAX))?.map_err(|error| untrusted(&host, &error))?;
            within(head_max, send(TokioIo::new(stream), request)).await
        } else {
            within(head_max, send(TokioIo::new(socket), request)).await
        };
        sent.ok_or_else(|| mute(url, head_max))?
    }
}

/// None where the API says that there is nothing.
fn if_there<T>(found: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match found.as_ref().err().and_then(|error| error.downcast_ref::<Failure>()) {
        Some(Failure { cause: Cause::NotFound, .. }) => Ok(None),
        _ => found.map(Some),
    }
}

/// The same call, only tried.
fn and_tried(path: &str) -> String {
    format!("{path}{}dry_run=true", if path.contains('?') { '&' } else { '?' })
}

/// Whether a result has in it, as its state and what comes next, all that a message says.
fn is_said(result: &Value, message: &str) -> bool {
    let (status, next) = (result["status"].as_str(), result["next"].as_str());
    status.zip(next).is_some_and(|(status, next)| message == format!("{status}: {next}"))
}

fn with_messages(mut envelope: Value) -> (Value, Vec<String>) {
    let messages = envelope["messages"].as_array().into_iter().flatten();
    let messages = messages.filter_map(|message| message["message"].as_str().map(str::to_owned)).collect();
    (envelope["result"].take(), messages)
}

fn untrusted(host: &str, error: &std::io::Error) -> Failure {
    Failure::new(Cause::Failed, format!("TLS with {host} failed: {error}")).remedy(
        "if it is your edge, give its CA with --cacert FILE (ca.pem of its data directory), and call it by an address it \
         listens on or by a name that it was started with",
    )
}

fn unreachable(url: &str, error: &std::io::Error) -> Failure {
    Failure::new(Cause::Failed, format!("no API answers at {url}: {error}"))
        .remedy("start one with `bartizan up`, or name yours with --api URL (or BARTIZAN_API)")
}

/// Something listens there and says nothing.
fn mute(url: &str, waited: Duration) -> Failure {
    Failure::new(Cause::Failed, format!("{url} did not answer within {} s", waited.as_secs())).remedy(
        "is it the edge's API that listens there? If so its log says what it is at; `bartizan doctor` looks at it",
    )
}

/// The outcome, or none after so long.
async fn within<T>(most: Duration, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(most, what).await.ok()
}

async fn send<IO>(io: IO, request: Request<Payload>) -> anyhow::Result<Response<Incoming>>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    // It ends when the answer has come whole or is dropped: there is no second request.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

async fn whole(url: &str, response: Response<Incoming>) -> anyhow::Result<(StatusCode, Bytes)> {
    let status = response.status();
    let body = within(BODY_MAX, Limited::new(response.into_body(), ANSWER_MAX).collect()).await;
    let body = body.ok_or_else(|| mute(url, BODY_MAX))?.map_err(|error| anyhow!(error))?;
    Ok((status, body.to_bytes()))
}

/// With what the URL of every API of this dialect ends.
pub const BASE_PATH: &str = "/client/v4";

/// The API's error for a path that it does not know, or with an id in it that is none.
const NO_ROUTE: u64 = 7003;

/// A good answer, or the first error of a bad one with the exit code that fits it.
fn check_envelope(
    url: &str,
    status: StatusCode,
    answer: &[u8],
    when_refused: &str,
    command: &str,
) -> anyhow::Result<Value> {
    let envelope: Value = serde_json::from_slice(answer).map_err(|_| {
        Failure::new(Cause::Failed, format!("{url} answered {status} and no v4 document: is it this API?"))
    })?;
    if status.is_success() && envelope["success"] == Value::Bool(true) {
        return Ok(envelope);
    }
    let error = &envelope["errors"][0];
    let code = error["code"].as_u64().unwrap_or(0);
    let message = one_line(error["message"].as_str().unwrap_or("unknown error"));
    let cause = cause_of(status, code);
    let failure = Failure::new(cause, format!("{message} (error {code}, HTTP {})", status.as_u16())).code(code);
    Err(match (cause, code) {
        (Cause::Refused, _) => match lacking(code, &message, command) {
            Some(remedy) => failure.remedy(remedy),
            None => failure.remedy(when_refused),
        },
        (Cause::NotFound, NO_ROUTE) if !url.contains(BASE_PATH) => {
            failure.remedy(format!("the API's URL ends in {BASE_PATH}: --api http://HOST:8787{BASE_PATH}"))
        }
        (Cause::NotFound, NO_ROUTE) => {
            failure.remedy("is this the edge's API (--api URL), and the edge no older than this program?")
        }
        (_, NO_ROUTE) => {
            failure.remedy("an id of the command is none; the `list` of its kind shows the ids that there are")
        }
        _ => failure,
    }
    .into())
}

/// Whether a URL is of plain HTTP and leads off this machine. No edge answers that there.
pub fn is_plain_elsewhere(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_here = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    uri.scheme_str() == Some("http") && !is_here
}

/// What is said instead of telling a password or a token to everybody on the way.
pub fn in_clear_text(url: &str) -> Failure {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    Failure::new(
        Cause::Usage,
        format!("{url} leads off this machine in clear text, which no edge answers; nothing was sent"),
    )
    .remedy(format!("by https: https://{rest}"))
}

/// The API's text, and that of its kin, for credentials that are good and do not reach so far. Wrong ones have the same
/// code.
const NOT_ALLOWED: &str = "Unauthorized to access requested resource";

/// Authentication error: of the same meaning, elsewhere in the dialect.
const NOT_ALLOWED_CODE: u64 = 10_000;

/// What helps whoever is let in, and may not do this; none if it is the credentials that are wrong.
fn lacking(code: u64, message: &str, command: &str) -> Option<String> {
    let why = message.strip_prefix(NOT_ALLOWED);
    if why.is_none() && code != NOT_ALLOWED_CODE {
        return None;
    }
    let permission = why.and_then(|why| Some(why.split_once("needs the permission ")?.1));
    Some(match permission {
        Some(permission) => format!(
            "this token is good, and lacks the right {permission:?}. With one that may make tokens: `bartizan token create \
             NAME {}",
            words_for(command, permission)
        ),
        None => {
            "this token is good, and has no right to this; `bartizan token list` shows, to one that may see them, what \
                 each token may do"
                .to_owned()
        }
    })
}

fn cause_of(status: StatusCode, code: u64) -> Cause {
    match (status.as_u16(), code) {
        // And what cannot be a token: its header is refused before anybody is asked.
        (401 | 403, _) | (_, 6003) => Cause::Refused,
        (404, _) => Cause::NotFound,
        // Zone exists, record conflicts, identical record, tunnel name taken, address and port in use, rule exists.
        (409, _) | (_, 1061 | 81053..=81058 | 11033 | 10009) => Cause::Conflict,
        _ => Cause::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_results_or_exit_codes() {
        for (status, answer, expect) in [
            (200, r#"{"success":true,"result":7}"#, Ok(7)),
            (404, r#"{"success":false,"errors":[{"code":81044,"message":"gone"}]}"#, Err(Cause::NotFound)),
            (400, r#"{"success":false,"errors":[{"code":81058,"message":"same"}]}"#, Err(Cause::Conflict)),
            (409, r#"{"success":false,"errors":[{"code":1013,"message":"taken"}]}"#, Err(Cause::Conflict)),
            (403, r#"{"success":false,"errors":[{"code":9109,"message":"no"}]}"#, Err(Cause::Refused)),
            (400, r#"{"success":false,"errors":[{"code":6003,"message":"bad"}]}"#, Err(Cause::Refused)),
            (400, r#"{"success":false,"errors":[{"code":1004,"message":"bad"}]}"#, Err(Cause::Failed)),
            (200, "<html>", Err(Cause::Failed)),
        ] {
            let got = check_envelope("http://x", StatusCode::from_u16(status).unwrap(), answer.as_bytes(), "", "")
                .map(|envelope| envelope["result"].as_u64().unwrap())
                .map_err(|error| error.downcast::<Failure>().unwrap().cause);
            assert_eq!(got, expect, "{answer}");
        }
    }

    /// What a result shows is not told a second time; what it does not is.
    #[test]
    fn messages_repeat_no_result() {
        let zone = json!({"status": "pending", "next": "give the parent the DS record"});
        for (result, message, expect) in [
            (&zone, "pending: give the parent the DS record", true),
            (&zone, "pending: give the parent the DS record (the parent cannot be asked)", false),
            (&zone, "give the parent the DS record", false),
            (&json!({"status": "active"}), "pending: give the parent the DS record", false),
            (&json!([]), "", false),
        ] {
            assert_eq!(is_said(result, message), expect, "{message}");
        }
    }

    /// Wrong credentials and missing rights have one code, and want different things.
    #[test]
    fn missing_rights_are_told_from_a_bad_token() {
        const NEEDS: &str = "Unauthorized to access requested resource: it needs the permission";
        for (code, message, expect) in [
            (9109, "Invalid access token", "give a token"),
            (9109, "Invalid access token: it has expired", "give a token"),
            (9103, "Unknown X-Auth-Key or X-Auth-Email", "give a token"),
            (9109, &*format!("{NEEDS} DNS Write"), "--can dns`"),
            (
                9109,
                &*format!("{NEEDS} Account Firewall Access Rules Read"),
                "--can account-firewall-access-rules:read`",
            ),
            (9109, "Unauthorized to access requested resource", "has no right to this"),
            (10_000, "Authentication error", "has no right to this"),
        ] {
            let answer =
                serde_json::json!({"success": false, "errors": [{"code": code, "message": message}]}).to_string();
            let error =
                check_envelope("http://x", StatusCode::FORBIDDEN, answer.as_bytes(), "give a token", "").unwrap_err();
            assert!(error.to_string().contains(expect), "{message}: {error}");
            assert_eq!(error.to_string().contains("give a token"), expect == "give a token", "{error}");
        }
    }

    #[test]
    fn clear_text_stays_on_this_machine() {
        for (url, expect) in [
            ("http://127.0.0.1:8787/client/v4", false),
            ("http://127.9.9.9/client/v4", false),
            ("http://[::1]:8787/client/v4", false),
            ("http://[::ffff:127.0.0.1]:8787", false),
            ("http://localhost:8787/client/v4", false),
            ("HTTP://LocalHost:8787", false),
            ("http://edge.localhost:8787", false),
            ("https://192.0.2.1:8787/client/v4", false),
            ("http://192.0.2.1:8787/client/v4", true),
            ("http://[2001:db8::1]/client/v4", true),
            ("http://edge.example/client/v4", true),
            ("http://localhost.example/client/v4", true),
            ("http://localhost@edge.example/client/v4", true),
            ("http://127.0.0.1@192.0.2.1:8787/client/v4", true),
        ] {
            assert_eq!(is_plain_elsewhere(url), expect, "{url}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_says_where_to_look() {
        let answer = br#"{"success":false,"errors":[{"code":7003,"message":"no route"}]}"#;
        for (url, status, expect) in [
            ("http://127.0.0.1:8787/user/tokens/verify", 404, "ends in /client/v4"),
            ("http://127.0.0.1:8787/client/v4/frobs", 404, "no older than"),
            ("http://127.0.0.1:8787/client/v4/zones/x", 400, "an id of the command"),
        ] {
            let error = check_envelope(url, StatusCode::from_u16(status).unwrap(), answer, "", "").unwrap_err();
            assert!(error.to_string().contains(expect), "{url}: {error}");
        }
    }
}
