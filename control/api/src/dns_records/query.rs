//! What a list of records can be asked for, and the spellings in which clients ask.

use bartizan_model::{RecordData, TAGS_MAX, Zone, txt_spellings};
use bartizan_names::Name;
use bartizan_store::{Match, Presence, RecordOrder, RecordQuery, TagFilter, Text};
use serde::Deserialize;

use crate::error::{Error, Fault};
use crate::reply::{Page, direction};

/// Filters and order of a list. Texts are compared without regard to case.
#[derive(Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub(super) struct Params {
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
    /// `name:value`. This and the other tests of tags may be given several times.
    tag: Vec<String>,
    #[serde(rename = "tag.exact")]
    tag_exact: Vec<String>,
    #[serde(rename = "tag.contains")]
    tag_contains: Vec<String>,
    #[serde(rename = "tag.startswith")]
    tag_startswith: Vec<String>,
    #[serde(rename = "tag.endswith")]
    tag_endswith: Vec<String>,
    /// A tag of this name, whatever its value.
    #[serde(rename = "tag.present")]
    tag_present: Vec<String>,
    #[serde(rename = "tag.absent")]
    tag_absent: Vec<String>,
    /// In the name, the content or the comment.
    search: Option<String>,
    /// `all` (the default) or `any`.
    #[serde(rename = "match")]
    combine: Option<String>,
    /// How the tests of tags combine: `all` (the default) or `any`.
    tag_match: Option<String>,
    /// `type` (the default), `name`, `content`, `ttl` or `proxied`.
    order: Option<String>,
    /// `asc` (the default) or `desc`.
    direction: Option<String>,
    pub(super) page: Option<u32>,
    pub(super) per_page: Option<u32>,
}

impl Params {
    /// Whether it looks into texts, of which no index tells.
    pub(super) fn is_search(&self) -> bool {
        let parts = [&self.search, &self.name_contains, &self.name_endswith, &self.content_contains];
        parts
            .into_iter()
            .chain([&self.content_endswith, &self.comment_contains, &self.comment_endswith])
            .any(Option::is_some)
    }

    pub(super) fn query(self, zone: &Zone, page: Page) -> Result<RecordQuery, Error> {
        // A name as whoever writes it by hand writes it: relative to the zone as well.
        let whole = |text: Option<String>| text.map(|text| whole_name(zone, &text));
        let exact = |text: Option<String>| text.map(Text::Exact);
        let spelled = |text: Option<String>| {
            text.map(|text| {
                let mut spellings = txt_spellings(&normal_content(&text));
                let contents = RecordData::contents_of(self.kind.as_deref(), &text, zone.name.as_name());
                let new: Vec<String> = contents.into_iter().filter(|content| !spellings.contains(content)).collect();
                spellings.extend(new);
                Text::OneOf(spellings)
            })
        };
        let tags: Vec<TagFilter> = [
            (self.tag_present, (|name| TagFilter::Present(name)) as fn(String) -> TagFilter),
            (self.tag_absent, |name| TagFilter::Absent(name)),
            (self.tag, |text| tag(text, Text::Exact)),
            (self.tag_exact, |text| tag(text, Text::Exact)),
            (self.tag_contains, |text| tag(text, Text::Contains)),
            (self.tag_startswith, |text| tag(text, Text::StartsWith)),
            (self.tag_endswith, |text| tag(text, Text::EndsWith)),
        ]
        .into_iter()
        .flat_map(|(texts, test)| texts.into_iter().filter(|text| !text.is_empty()).map(test))
        .collect();
        if tags.len() > TAGS_MAX {
            return Err(Fault::BadQuery.because(format!("tag: there may be {TAGS_MAX} tests of tags")));
        }
        let content = tests(
            [spelled(self.content), spelled(self.content_exact)],
            [self.content_contains, self.content_startswith, self.content_endswith],
        );
        Ok(RecordQuery {
            kind: self.kind,
            proxied: self.proxied,
            name: tests(
                [exact(whole(self.name)), exact(whole(self.name_exact))],
                [self.name_contains, self.name_startswith, self.name_endswith],
            ),
            content,
            comment: tests(
                [exact(self.comment), exact(self.comment_exact)],
                [self.comment_contains, self.comment_startswith, self.comment_endswith],
            ),
            commented: match (self.comment_present, self.comment_absent) {
                (Some(_), _) => Some(Presence::Present),
                (None, Some(_)) => Some(Presence::Absent),
                (None, None) => None,
            },
            tags,
            tag_match: matching(self.tag_match.as_deref()),
            matching: matching(self.combine.as_deref()),
            search: self.search,
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
        })
    }
}

fn tests(exact: [Option<Text>; 2], [contains, starts, ends]: [Option<String>; 3]) -> Vec<Text> {
    let parts = [contains.map(Text::Contains), starts.map(Text::StartsWith), ends.map(Text::EndsWith)];
    exact.into_iter().chain(parts).flatten().collect()
}

/// `name:value`, the test being for the value.
fn tag(text: String, test: fn(String) -> Text) -> TagFilter {
    match text.split_once(':') {
        Some((name, value)) => TagFilter::Value { name: name.to_owned(), value: test(value.to_owned()) },
        None => TagFilter::Present(text),
    }
}

fn matching(text: Option<&str>) -> Match {
    if text == Some("any") { Match::Any } else { Match::All }
}

fn whole_name(zone: &Zone, text: &str) -> String {
    let apex = zone.name.as_name();
    match Name::typed(text) {
        _ if text == "@" => apex.to_string(),
        Ok(name) if !name.is_at_or_below(apex) => format!("{name}.{apex}"),
        Ok(name) => name.to_string(),
        Err(_) => text.to_owned(),
    }
}

/// Addresses have one spelling in the store (RFC 5952 §4), host names no final dot.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_as_clients_ask_for_them() {
        for (text, normal) in [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("host.example.", "host.example"),
            (".", "."),
            ("\"v=1.\"", "\"v=1.\""),
        ] {
            assert_eq!(normal_content(text), normal, "{text}");
        }
    }
}
