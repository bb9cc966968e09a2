//! `/bartizan/zones/Z/live`: what happens in a zone, as it happens: events sent by the server, as browsers read them. Addresses of
//! visitors and whole paths are in it, which statistics do not have: it takes a permission of its own.
//!
//! What is told lies with the listener until it is taken, four times a second; what it has no room for is counted and told. The
//! stream ends by itself after a while, so that who looks on shows again who it is.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bartizan_analytics::Catalogue;
use bartizan_names::ZoneId;
use bartizan_stats::Kind;
use bartizan_tail::{Code, Crowded, DnsSeen, HttpSeen, LISTENERS_MAX, Listener, Taken, Wish, ZONE_LISTENERS_MAX};
use bartizan_v4::live::{LiveEvent, LiveQuery, LiveRequest, LiveSkipped};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Patience, Query, Stopping};
use crate::permission::Permission;
use crate::shares::Place;
use crate::state::{Api, LOOKERS_OF_ACCOUNT_MAX};

/// How often what was told is taken.
const TURN: Duration = Duration::from_millis(250);

/// How long nothing is said, so that everybody on the way knows that it goes on.
const QUIET_MAX: Duration = Duration::from_secs(15);

/// How long a stream lasts: for so long somebody sees it whose rights are taken back.
const LASTS: Duration = Duration::from_secs(300);

/// What it begins with: after how many milliseconds a browser asks again when it has ended.
const BEGIN: &str = "retry: 1000\n\n";

/// A line that says nothing.
const NOTHING: &str = ":\n\n";

/// When to try again where there are as many as may be.
const AGAIN: Duration = Duration::from_secs(10);

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::LogsRead, api, routes!(live)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// `dns` or `http`.
    #[param(example = "http")]
    kind: String,
    /// Only of this name or host.
    #[param(example = "www.example.com")]
    name: Option<String>,
    /// Only of answers with this code: `NXDOMAIN`; `404`, `4xx`, `none`.
    #[param(example = "404")]
    code: Option<String>,
}

/// Queries or requests of a zone as they happen, a line `data:` with an object for each; `event: skipped` says how many more there
/// were. It ends after five minutes.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/live",
    tag = "Analytics",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = String, content_type = "text/event-stream"))
)]
async fn live(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
    request: Request,
) -> Result<Response, Error> {
    let (kind, is_dns) = match params.kind.as_str() {
        "dns" => (Kind::Dns, true),
        "http" => (Kind::Http, false),
        _ => return Err(Fault::BadQuery.because("kind is dns or http")),
    };
    let catalogue = kind.catalogue();
    let name = params.name.as_deref().map(|name| {
        (catalogue.name_of)(name).ok_or_else(|| Fault::BadQuery.because("name is none that could be asked for"))
    });
    let code = params.code.as_deref().map_or(Ok(Code::Any), |text| code(is_dns, catalogue, text));
    let wish = Wish { zone, name: name.transpose()?, code: code? };
    let account = api
        .read(move |view| {
            view.zone_of(&caller, zone)?;
            view.account_of_zone(zone)
        })
        .await?;
    let given = (request.extensions().get::<Patience>().cloned(), request.extensions().get::<Stopping>().cloned());
    let place = api.begin_looking_on(account).ok_or_else(|| {
        Fault::LiveBusy.because(format!("{LOOKERS_OF_ACCOUNT_MAX} in zones of this account")).after(AGAIN)
    })?;
    let body = match is_dns {
        true => stream((api.tails().dns.listen(wish).map_err(crowded)?, place), given, query),
        false => stream((api.tails().http.listen(wish).map_err(crowded)?, place), given, request_of),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn code(is_dns: bool, catalogue: &Catalogue, text: &str) -> Result<Code, Error> {
    let read = |dimension: &str| {
        let number = catalogue.fact(dimension).and_then(|fact| (fact.read)(text))?;
        u16::try_from(number).ok()
    };
    let code = match is_dns {
        true => read("responseCode").map(Code::Is),
        false => read("status").map(Code::Is).or_else(|| read("statusClass").map(Code::Class)),
    };
    code.ok_or_else(|| Fault::BadQuery.because("code is none of this kind, as NXDOMAIN is of dns, 404 and 4xx of http"))
}

fn crowded(crowded: Crowded) -> Error {
    let reason = match crowded {
        Crowded::Edge => format!("{LISTENERS_MAX} at this edge"),
        Crowded::Zone => format!("{ZONE_LISTENERS_MAX} in this zone"),
    };
    Fault::LiveBusy.because(reason).after(AGAIN)
}

/// Where a stream is.
struct Progress<T> {
    listener: Listener<T>,
    _place: Place,
    stopping: Option<Stopping>,
    began: Instant,
    /// When something was said, if anything was.
    said: Option<Instant>,
}

fn stream<T: Send + 'static>(
    (listener, place): (Listener<T>, Place),
    (patience, stopping): (Option<Patience>, Option<Stopping>),
    event: fn(&T) -> LiveEvent,
) -> Body {
    let progress = Progress { listener, _place: place, stopping, began: Instant::now(), said: None };
    let pieces = futures_util::stream::try_unfold(progress, move |mut progress| {
        let patience = patience.clone();
        async move {
            if progress.said.is_none() {
                progress.said = Some(Instant::now());
                return Ok::<_, Error>(Some((Bytes::from_static(BEGIN.as_bytes()), progress)));
            }
            loop {
                if progress.began.elapsed() >= LASTS {
                    return Ok(None);
                }
                let over = async {
                    match &mut progress.stopping {
                        Some(stopping) => stopping.begun().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(TURN) => {}
                    () = over => return Ok(None),
                }
                let Taken { told, skipped } = progress.listener.take();
                let mut text = String::new();
                told.iter().for_each(|one| push(&mut text, None, &event(one)));
                if skipped > 0 {
                    push(&mut text, Some("skipped"), &LiveSkipped { skipped });
                }
                let is_quiet = progress.said.is_none_or(|said| said.elapsed() >= QUIET_MAX);
                if text.is_empty() && is_quiet {
                    text.push_str(NOTHING);
                }
                if !text.is_empty() {
                    progress.said = Some(Instant::now());
                    // Whoever takes what is said may go on.
                    patience.iter().for_each(Patience::renew);
                    return Ok(Some((Bytes::from(text), progress)));
                }
            }
        }
    });
    Body::from_stream(pieces)
}

/// An event, as the stream has it (HTML, 9.2).
fn push(text: &mut String, name: Option<&str>, event: &impl Serialize) {
    // What is of texts and numbers can be written, and on one line.
    let Ok(object) = serde_json::to_string(event) else { return };
    if let Some(name) = name {
        text.push_str("event: ");
        text.push_str(name);
        text.push('\n');
    }
    text.push_str("data: ");
    text.push_str(&object);
    text.push_str("\n\n");
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn query(seen: &DnsSeen) -> LiveEvent {
    let catalogue = Kind::Dns.catalogue();
    LiveEvent::Dns(LiveQuery {
        time: seen.at,
        name: (catalogue.name_text)(&seen.name),
        rtype: seen.rtype.to_string(),
        code: catalogue.fact("responseCode").map_or_else(String::new, |fact| (fact.text)(seen.code.into())),
        transport: seen.transport.to_owned(),
        client: seen.client,
        query_size: seen.query_len,
        answer_size: seen.reply_len,
        ms: millis(seen.nanos),
    })
}

fn request_of(seen: &HttpSeen) -> LiveEvent {
    LiveEvent::Http(LiveRequest {
        time: seen.at,
        host: seen.host.to_string(),
        method: seen.method.to_string(),
        path: seen.path.to_string(),
        status: seen.status,
        protocol: seen.protocol.to_owned(),
        client: seen.client,
        country: seen.country.map(|country| country.as_str().to_owned()),
        answered_by: seen.answered_by.to_owned(),
        received: seen.received,
        sent: seen.sent,
        ms: millis(seen.nanos),
        ray: seen.ray.as_ref().map(ToString::to_string),
    })
}
