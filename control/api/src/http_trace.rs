//! `/bartizan/zones/Z/http_trace`: how an answer of the HTTP edge in force comes about.
//!
//! The request goes the way of those from the network, by the listeners of the edge; what it leads to at an origin is what a
//! visitor's would. It is as from the caller's own address, so that nobody gets further by it than by coming; as from another one
//! for who may change the access rules that ask for it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::extract::State;
use bartizan_names::{Host, Name, ZoneId};
use bartizan_observed::{HttpIdentity, HttpMethod, HttpQuestion, HttpStage, HttpTrace, HttpVersion, TracesBusy};
use bartizan_v4::http_trace::{HttpTraceBody, HttpTraceField, HttpTraceStep};
use http::Uri;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::permission::Permission;
use crate::reply::Reply;
use crate::rights::Target;
use crate::state::Api;

/// A longer one has no place in a head.
const URL_MAX: usize = 8 * 1024;

/// Octets of a certificate with its chain, and of a key, as PEM.
const PEM_MAX: usize = 64 * 1024;

/// How long one is waited for at most.
const OVER_WITHIN: Duration = Duration::from_secs(30);

/// What is not said to who may not know it.
const HIDDEN: &str = "these credentials may not see it";

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::DnsRead, api, routes!(trace, trace_with)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// Of a host in the zone. A port in it is sent as it is; the edge is asked where it listens.
    #[param(example = "https://www.example.com/path")]
    url: String,
    /// GET or HEAD.
    method: Option<String>,
    /// Of HTTP: 1.1, 2 or 3.
    #[param(example = "2")]
    version: Option<String>,
    /// As from this address, in place of the caller's: for who has "Firewall Services Write".
    #[param(example = "192.0.2.1")]
    from: Option<String>,
}

/// How an answer of the HTTP edge comes about: what is decided and done, in order, and what a visitor gets.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/http_trace",
    tag = "Zones",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::http_trace::HttpTrace>))
)]
async fn trace(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<bartizan_v4::http_trace::HttpTrace>, Error> {
    let asked = question(&params)?;
    traced(api, caller, zone, params.url, asked).await
}

/// The same by a visitor that shows a certificate where it is asked for one. The key is used for that, and not kept.
#[utoipa::path(
    post,
    path = "/bartizan/zones/{zone_id}/http_trace",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    request_body = HttpTraceBody,
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::http_trace::HttpTrace>))
)]
async fn trace_with(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<HttpTraceBody>,
) -> Result<Reply<bartizan_v4::http_trace::HttpTrace>, Error> {
    let HttpTraceBody { url, method, version, from, certificate, private_key } = body;
    let params = Params { url, method, version, from };
    let (mut asked, name) = question(&params)?;
    asked.shown = match (certificate, private_key) {
        (None, None) => None,
        (Some(chain), Some(key)) if chain.len().max(key.len()) <= PEM_MAX => Some(HttpIdentity { chain, key }),
        (Some(_), Some(_)) => {
            let why = format!("certificate and private_key have {PEM_MAX} octets at most");
            return Err(Fault::BadQuery.because(why));
        }
        _ => return Err(Fault::BadQuery.because("certificate and private_key go together".to_owned())),
    };
    traced(api, caller, zone, params.url, (asked, name)).await
}

async fn traced(
    api: Api,
    caller: Caller,
    zone: ZoneId,
    url: String,
    (mut question, name): (HttpQuestion, Name),
) -> Result<Reply<bartizan_v4::http_trace::HttpTrace>, Error> {
    let is_as_another = question.from.is_some();
    question.from = question.from.or(caller.client()).or(Some(Ipv4Addr::UNSPECIFIED.into()));
    let (sees, account) = api
        .read(move |view| {
            let apex = view.zone_of(&caller, zone)?.name;
            // The edge serves a name by its innermost zone, which may be somebody else's.
            if view.zone_around(&name)?.is_none_or(|(_, innermost)| innermost != zone) {
                return Err(Fault::BadQuery.because(format!("{name} is no name of the zone {apex}")));
            }
            let account = view.account_of_zone(zone)?;
            let of_zone = Target::Zone(zone, account);
            if is_as_another && !caller.may(Permission::FirewallWrite, &of_zone) {
                return Err(Fault::NotAllowed.into());
            }
            let of_account = |account| caller.may(Permission::AccountFirewallRead, &Target::Account(account));
            let sees = Sees {
                settings: caller.may(Permission::ZoneSettingsRead, &of_zone),
                certificates: caller.may(Permission::SslRead, &of_zone),
                rules: caller.may(Permission::FirewallRead, &of_zone) && account.is_some_and(of_account),
            };
            Ok((sees, account))
        })
        .await?;
    let (method, version) = (question.method.as_str().to_owned(), question.version.as_str().to_owned());
    let busy = |whose: &str| Fault::TracesBusy.because(format!("as many as may be, {whose}")).after(OVER_WITHIN);
    let _place = api.tracings().begin(account).ok_or_else(|| busy("for this account"))?;
    let traced = api.observed().http.trace(question).await;
    let HttpTrace { steps, answer } = traced.map_err(|TracesBusy| busy("for all accounts together"))?;
    let step = |step: bartizan_observed::HttpStep| HttpTraceStep {
        detail: if sees.may_know(step.step) { step.detail } else { HIDDEN.to_owned() },
        step: step.step.as_str().to_owned(),
    };
    let status = answer.as_ref().map(|answer| answer.status);
    let fields = answer.into_iter().flat_map(|answer| answer.fields);
    Ok(Reply::of(bartizan_v4::http_trace::HttpTrace {
        url,
        method,
        version,
        steps: steps.into_iter().map(step).collect(),
        status,
        fields: fields.map(|(name, value)| HttpTraceField { name, value }).collect(),
    }))
}

/// What the caller may see beside the records of the zone.
struct Sees {
    settings: bool,
    certificates: bool,
    rules: bool,
}

impl Sees {
    fn may_know(&self, step: HttpStage) -> bool {
        match step {
            // What a visitor could find out, and what the records say.
            HttpStage::Connection | HttpStage::Tls | HttpStage::Host | HttpStage::Stage(_) => true,
            HttpStage::Tunnel | HttpStage::End => true,
            // An origin is spoken to as `ssl` says.
            HttpStage::Settings | HttpStage::Promise | HttpStage::Origin => self.settings,
            // Whom its hosts believe.
            HttpStage::Certificate => self.certificates,
            HttpStage::Rule => self.rules,
        }
    }
}

/// What is asked, and the name of the host.
fn question(params: &Params) -> Result<(HttpQuestion, Name), Error> {
    let wrong = |reason: &str| Fault::BadQuery.because(reason.to_owned());
    if params.url.len() > URL_MAX {
        return Err(wrong("url is too long"));
    }
    let url: Uri = params.url.parse().map_err(|_| wrong("url is no URL"))?;
    let https = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(wrong("url begins with neither http:// nor https://")),
    };
    let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let host = Host::parse(authority).ok_or_else(|| wrong("url has no host that can be asked for"))?;
    let name = Name::parse(host.name()).map_err(|_| wrong("the host of url is no name"))?;
    let target = url.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let method = match params.method.as_deref() {
        None | Some("GET") => HttpMethod::Get,
        Some("HEAD") => HttpMethod::Head,
        Some(_) => return Err(wrong("method is neither GET nor HEAD")),
    };
    let version = match params.version.as_deref() {
        None | Some("1.1" | "1") => HttpVersion::Http1,
        Some("2") if https => HttpVersion::Http2,
        Some("3") if https => HttpVersion::Http3,
        Some("2" | "3") => return Err(wrong("by plain HTTP there is version 1.1 alone")),
        Some(_) => return Err(wrong("version is none of 1.1, 2 and 3")),
    };
    let from = params.from.as_deref().map(|text| text.trim().parse::<IpAddr>()).transpose();
    let from = from.map_err(|_| wrong("from is not an IP address"))?.map(|from| from.to_canonical());
    Ok((HttpQuestion { https, host, target, method, version, shown: None, from }, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_be_asked_for() {
        let asked = |url: &str| {
            let params = Params { url: url.to_owned(), method: None, version: None, from: None };
            question(&params).ok().map(|(question, name)| {
                format!("{} {} {} {name}", question.https, question.host.as_str(), question.target)
            })
        };
        for (url, expect) in [
            ("https://A.Example.com", Some("true a.example.com / a.example.com")),
            ("http://a.example.com:8080/x?y=z#f", Some("false a.example.com:8080 /x?y=z a.example.com")),
            ("https://a.example.com?q", Some("true a.example.com /?q a.example.com")),
            ("https://user:secret@a.example.com/", None),
            ("ftp://a.example.com/", None),
            ("a.example.com", None),
            ("/path", None),
            ("https:///path", None),
            ("https://a.example.com/\r\nX: y", None),
            ("https://a.example.com/a b", None),
            ("", None),
        ] {
            assert_eq!(asked(url).as_deref(), expect, "{url}");
        }
    }

    #[test]
    fn versions_that_can_be_asked_by() {
        let asked = |url: &str, version: &str| {
            let params = Params { url: url.to_owned(), method: None, version: Some(version.to_owned()), from: None };
            question(&params).ok().map(|(question, _)| question.version.as_str())
        };
        let (plain, tls) = ("http://a.example.com", "https://a.example.com");
        for (url, version, expect) in [
            (plain, "1.1", Some("1.1")),
            (plain, "2", None),
            (plain, "3", None),
            (tls, "1.1", Some("1.1")),
            (tls, "2", Some("2")),
            (tls, "3", Some("3")),
            (tls, "4", None),
            (tls, "", None),
        ] {
            assert_eq!(asked(url, version), expect, "{url} {version}");
        }
    }
}
