//! `/zones/{zone_id}/dns_records`: what DNS answers, and what the edge stands in front of.
//!
//! The unit of a change is the owner name: whether a record is identical to one that is there, and whether a CNAME stands
//! in its way, is decided on all records of that name in the state that the change lands on.

use axum::extract::State;
use bartizan_model::{Record, Stamp, Zone, merge};
use bartizan_names::{Name, RecordId, RecordType, ZoneId, ZoneName};
use bartizan_store::{Match, Presence, RecordOrder, RecordQuery, TagFilter, Text};
use bartizan_v4::{Deleted, RecordBody};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Api;
use crate::access::{Caller, needs};
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::objects::{Change, View};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply, direction};

/// How many records a page may have. The dialect allows five million, which nobody's memory likes; 100,000 are some
/// 60 MB of JSON.
const SIZES: PageSizes = PageSizes { min: 1, default: 100, max: 100_000 };

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::DnsRead, api, routes!(list)))
        .routes(needs(Permission::DnsWrite, api, routes!(create)))
        .routes(needs(Permission::DnsRead, api, routes!(get)))
        .routes(needs(Permission::DnsWrite, api, routes!(replace)))
        .routes(needs(Permission::DnsWrite, api, routes!(change)))
        .routes(needs(Permission::DnsWrite, api, routes!(delete)))
}

/// Filters and order of a list. Texts are compared without regard to case.
#[derive(Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
struct Params {
    #[serde(rename = "type")]
    kind: Option<String>,
    proxied: Option<bool>,
    name: Option<String>,
    #[serde(rename = "name.exact")]
    name_exact: Option<String>,
    #[serde(rename = "name.contains")]
    name_contains: Option<String>,
    #[serde(rename = "name.startswith")]
    name_startswith: Option<String>,
    #[serde(rename = "name.endswith")]
    name_endswith: Option<String>,
    content: Option<String>,
    #[serde(rename = "content.exact")]
    content_exact: Option<String>,
    #[serde(rename = "content.contains")]
    content_contains: Option<String>,
    #[serde(rename = "content.startswith")]
    content_startswith: Option<String>,
    #[serde(rename = "content.endswith")]
    content_endswith: Option<String>,
    comment: Option<String>,
    #[serde(rename = "comment.exact")]
    comment_exact: Option<String>,
    #[serde(rename = "comment.contains")]
    comment_contains: Option<String>,
    #[serde(rename = "comment.startswith")]
    comment_startswith: Option<String>,
    #[serde(rename = "comment.endswith")]
    comment_endswith: Option<String>,
    #[serde(rename = "comment.present")]
    comment_present: Option<String>,
    #[serde(rename = "comment.absent")]
    comment_absent: Option<String>,
    /// `name:value`.
    tag: Option<String>,
    #[serde(rename = "tag.exact")]
    tag_exact: Option<String>,
    #[serde(rename = "tag.contains")]
    tag_contains: Option<String>,
    #[serde(rename = "tag.startswith")]
    tag_startswith: Option<String>,
    #[serde(rename = "tag.endswith")]
    tag_endswith: Option<String>,
    /// A tag of this name, whatever its value.
    #[serde(rename = "tag.present")]
    tag_present: Option<String>,
    #[serde(rename = "tag.absent")]
    tag_absent: Option<String>,
    /// In the name, the content or the comment.
    search: Option<String>,
    /// `all` (the default) or `any`.
    #[serde(rename = "match")]
    combine: Option<String>,
    tag_match: Option<String>,
    /// `type` (the default), `name`, `content`, `ttl` or `proxied`.
    order: Option<String>,
    /// `asc` (the default) or `desc`.
    direction: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

impl Params {
    fn query(self, zone: &Zone, page: Page) -> RecordQuery {
        // A name as whoever writes it by hand writes it: relative to the zone as well.
        let whole = |text: Option<String>| text.map(|text| whole_name(zone, &text));
        let target = |text: Option<String>| text.map(|text| normal_content(&text));
        RecordQuery {
            kind: given(self.kind),
            proxied: self.proxied,
            name: tests(
                [whole(given(self.name)), whole(given(self.name_exact))],
                [self.name_contains, self.name_startswith, self.name_endswith],
            ),
            content: tests(
                [target(given(self.content)), target(given(self.content_exact))],
                [self.content_contains, self.content_startswith, self.content_endswith],
            ),
            comment: tests(
                [given(self.comment), given(self.comment_exact)],
                [self.comment_contains, self.comment_startswith, self.comment_endswith],
            ),
            commented: match (self.comment_present, self.comment_absent) {
                (Some(_), _) => Some(Presence::Present),
                (None, Some(_)) => Some(Presence::Absent),
                (None, None) => None,
            },
            tags: [
                given(self.tag_present).map(TagFilter::Present),
                given(self.tag_absent).map(TagFilter::Absent),
                tag(self.tag, Text::Exact),
                tag(self.tag_exact, Text::Exact),
                tag(self.tag_contains, Text::Contains),
                tag(self.tag_startswith, Text::StartsWith),
                tag(self.tag_endswith, Text::EndsWith),
            ]
            .into_iter()
            .flatten()
            .collect(),
            tag_match: matching(self.tag_match.as_deref()),
            matching: matching(self.combine.as_deref()),
            search: given(self.search),
            order: match self.order.as_deref() {
                Some("name") => RecordOrder::Name,
                Some("content") => RecordOrder::Content,
                Some("ttl") => RecordOrder::Ttl,
                Some("proxied") => RecordOrder::Proxied,
                _ => RecordOrder::Type,
            },
            direction: direction(self.direction.as_deref()),
            page: page.number,
            per_page: page.size,
            ..RecordQuery::all(zone.id)
        }
    }
}

/// A parameter without a value is no filter.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn tests(exact: [Option<String>; 2], [contains, starts, ends]: [Option<String>; 3]) -> Vec<Text> {
    let parts =
        [given(contains).map(Text::Contains), given(starts).map(Text::StartsWith), given(ends).map(Text::EndsWith)];
    exact.into_iter().map(|text| text.map(Text::Exact)).chain(parts).flatten().collect()
}

/// `name:value`, the test being for the value.
fn tag(text: Option<String>, test: fn(String) -> Text) -> Option<TagFilter> {
    given(text).map(|text| match text.split_once(':') {
        Some((name, value)) => TagFilter::Value { name: name.to_owned(), value: test(value.to_owned()) },
        None => TagFilter::Present(text),
    })
}

fn matching(text: Option<&str>) -> Match {
    if text == Some("any") { Match::Any } else { Match::All }
}

fn whole_name(zone: &Zone, text: &str) -> String {
    let apex = zone.name.as_name();
    match Name::parse(text) {
        _ if text == "@" => apex.to_string(),
        Ok(name) if !name.is_at_or_below(apex) => format!("{name}.{apex}"),
        _ => text.to_owned(),
    }
}

/// Addresses have one spelling in the store, host names no final dot.
fn normal_content(text: &str) -> String {
    let text = text.trim();
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return address.to_string();
    }
    match text.strip_suffix('.') {
        Some(host) if !host.is_empty() && !text.starts_with('"') => host.to_owned(),
        _ => text.to_owned(),
    }
}

/// The other spelling of a TXT record's text: quoted for bare, bare for quoted.
fn other_spelling(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(bare) => bare.to_owned(),
        None => format!("\"{text}\""),
    }
}

/// The query with the contents it asks for in their other spelling; none if it asks for no whole content.
fn respelled(query: &RecordQuery) -> Option<RecordQuery> {
    let whole = query.content.iter().any(|test| matches!(test, Text::Exact(_)));
    let may_be_text = query.kind.as_ref().is_none_or(|kind| kind.eq_ignore_ascii_case("TXT"));
    (whole && may_be_text).then(|| {
        let content = query.content.iter().map(|test| match test {
            Text::Exact(text) => Text::Exact(other_spelling(text)),
            other => other.clone(),
        });
        RecordQuery { content: content.collect(), ..query.clone() }
    })
}

/// The records of a zone.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dns_records",
    tag = "DNS records",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<bartizan_v4::Record>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<bartizan_v4::Record>>, Error> {
    let page = SIZES.page(params.page, params.per_page);
    let (records, total) = api
        .read(move |view| {
            let query = params.query(&zone_of(view, &caller, zone)?, page);
            match (view.records(&query)?, respelled(&query)) {
                ((_, 0), Some(respelled)) => view.records(&respelled),
                (found, _) => Ok(found),
            }
        })
        .await?;
    Ok(Reply::page(records, page, total))
}

/// Makes a record.
#[utoipa::path(
    post,
    path = "/zones/{zone_id}/dns_records",
    tag = "DNS records",
    params(("zone_id" = String, Path)),
    request_body = RecordBody,
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Record>))
)]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<RecordBody>,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    let id = RecordId::from_bytes(bartizan_seal::random());
    let actor = caller.clone();
    let record = api
        .change(&actor, move |change| {
            let zone = zone_of(change, &caller, zone)?;
            let stamp = Stamp { id, created_on: change.now(), modified_on: change.now() };
            put(change, &zone, None, stamp, &body)
        })
        .await?;
    Ok(Reply::of(record))
}

/// One record.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dns_records/{dns_record_id}",
    tag = "DNS records",
    params(("zone_id" = String, Path), ("dns_record_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Record>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, RecordId)>,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    let record = api
        .read(move |view| {
            view.zone(caller.account, zone)?;
            view.record(zone, id)
        })
        .await?;
    Ok(Reply::of(record))
}

/// Replaces a record: what the body leaves out goes back to its default.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/dns_records/{dns_record_id}",
    tag = "DNS records",
    params(("zone_id" = String, Path), ("dns_record_id" = String, Path)),
    request_body = RecordBody,
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Record>))
)]
async fn replace(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, RecordId)>,
    Body(body): Body<RecordBody>,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    rewrite(api, caller, zone, id, move |_| body.clone()).await
}

/// Changes a record: what the body leaves out stays.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/dns_records/{dns_record_id}",
    tag = "DNS records",
    params(("zone_id" = String, Path), ("dns_record_id" = String, Path)),
    request_body = RecordBody,
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Record>))
)]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, RecordId)>,
    Body(patch): Body<RecordBody>,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    rewrite(api, caller, zone, id, move |stored| merge(stored, patch.clone())).await
}

async fn rewrite(
    api: Api,
    caller: Caller,
    zone: ZoneId,
    id: RecordId,
    body: impl Fn(&bartizan_v4::Record) -> RecordBody + Send + 'static,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    let actor = caller.clone();
    let record = api
        .change(&actor, move |change| {
            let zone = zone_of(change, &caller, zone)?;
            let stored = change.record(zone.id, id)?;
            let stamp = Stamp { id, created_on: stored.created_on, modified_on: change.now() };
            let body = body(&stored);
            put(change, &zone, Some(stored), stamp, &body)
        })
        .await?;
    Ok(Reply::of(record))
}

/// Deletes a record.
#[utoipa::path(
    delete,
    path = "/zones/{zone_id}/dns_records/{dns_record_id}",
    tag = "DNS records",
    params(("zone_id" = String, Path), ("dns_record_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, RecordId)>,
) -> Result<Reply<Deleted>, Error> {
    let actor = caller.clone();
    api.change(&actor, move |change| {
        let zone = zone_of(change, &caller, zone)?;
        let stored = change.record(zone.id, id)?;
        change.put_records(&zone, &[stored], &[])
    })
    .await?;
    Ok(Reply::of(Deleted { id: id.to_string() }))
}

/// The zone as a value, if it is the caller's.
pub(crate) fn zone_of(view: &View, caller: &Caller, id: ZoneId) -> Result<Zone, Error> {
    Zone::parse(&view.zone(caller.account, id)?).map_err(|error| Error::internal(&error))
}

/// Puts the record that `body` asks for, in place of `stored` if that is given.
fn put(
    change: &mut Change,
    zone: &Zone,
    stored: Option<bartizan_v4::Record>,
    stamp: Stamp,
    body: &RecordBody,
) -> Result<bartizan_v4::Record, Error> {
    refuse_other_zone(change, zone, body)?;
    let (record, document) = Record::parse_body(zone, stamp, body)?;
    for other in change.records_at(zone.id, &record.owner)?.iter().filter(|other| other.id != stamp.id) {
        let other = Record::parse(other).map_err(|error| Error::internal(&error))?;
        if let Some(fault) = conflict(&record, &other, zone) {
            return Err(Error::from(fault).at("/name"));
        }
    }
    change.put_records(zone, stored.as_slice(), &[(record, document.clone())])?;
    Ok(document)
}

/// A name that ends in a dot and lies in another zone of ours was not meant to be relative to this one.
fn refuse_other_zone(view: &View, zone: &Zone, body: &RecordBody) -> Result<(), Error> {
    let Some(text) = body.name.value().map(|text| text.trim()).filter(|text| text.ends_with('.')) else {
        return Ok(());
    };
    let Ok(name) = Name::parse(text) else { return Ok(()) };
    if zone.name.contains(&name) {
        return Ok(());
    }
    let mut apex = Some(name.clone());
    while let Some(candidate) = apex {
        if let Some(other) = ZoneName::new(candidate.clone())
            && view.zone_named(&other)?.is_some()
        {
            let detail = format!("{name} lies in the zone {other}, not in {}", zone.name);
            return Err(Fault::RecordName.because(detail).at("/name"));
        }
        apex = candidate.parent();
    }
    Ok(())
}

/// Why `record` cannot stand beside `other`, as far as clients know the reason by a code of its own. The rest is refused
/// by `publish::check`.
fn conflict(record: &Record, other: &Record, zone: &Zone) -> Option<Fault> {
    let (new, old) = (record.data.rtype(), other.data.rtype());
    if record.data == other.data {
        return Some(Fault::RecordIdentical);
    }
    let address = |rtype| matches!(rtype, RecordType::A | RecordType::AAAA | RecordType::CNAME);
    // A proxied CNAME at the apex answers with addresses, so MX and TXT may stand beside it.
    let answers_with_addresses =
        |one: &Record| one.proxied && one.owner == *zone.name.as_name() && one.data.rtype() == RecordType::CNAME;
    match (new, old) {
        (RecordType::CNAME, old) if address(old) => Some(Fault::HostTaken),
        (new, RecordType::CNAME) if address(new) => Some(Fault::HostTaken),
        (RecordType::CNAME, RecordType::NS) => Some(Fault::NsExists),
        (_, RecordType::CNAME) if !answers_with_addresses(other) => Some(Fault::CnameExists),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_as_clients_ask_for_them() {
        for (text, normal, other) in [
            ("192.0.2.1", "192.0.2.1", "\"192.0.2.1\""),
            ("2001:DB8:0::1", "2001:db8::1", "\"2001:db8::1\""),
            ("host.example.", "host.example", "\"host.example\""),
            (".", ".", "\".\""),
            ("\"v=1.\"", "\"v=1.\"", "v=1."),
        ] {
            assert_eq!(normal_content(text), normal, "{text}");
            assert_eq!(other_spelling(&normal_content(text)), other, "{text}");
        }
    }
}
