//! `ETag` and `If-Match` (RFC 9110 §8.8.3, §13.1.1), an extra of ours: who changes an object as they saw it is told when
//! somebody else was faster.
//!
//! The tag of an object is the revision that wrote it. An object of which more is shown than is kept (counters,
//! connections) has none, and no `If-Match` fits it. So it is with all that is written by handlers of its own: the guard
//! ([`crate::auth`]) refuses a write that asks for a tag, unless its route says that the handler compares it.

use bartizan_store::Rev;
use http::HeaderMap;
use http::header::IF_MATCH;

use crate::error::{Error, Fault};

/// What a request wants the object to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// It does not say.
    Whatever,
    /// It is there.
    Any,
    One(Vec<String>),
}

impl IfMatch {
    pub(crate) fn read(headers: &HeaderMap) -> IfMatch {
        let mut values = headers.get_all(IF_MATCH).iter().peekable();
        if values.peek().is_none() {
            return IfMatch::Whatever;
        }
        let tags = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
        let tags: Vec<String> = tags.map(|tag| tag.trim().to_owned()).collect();
        if tags.iter().any(|tag| tag == "*") { IfMatch::Any } else { IfMatch::One(tags) }
    }

    /// `tag` is that of the object; a weak one in the request equals none (RFC 9110 §8.8.3.2).
    pub(crate) fn check(&self, tag: Option<&str>) -> Result<(), Error> {
        match self {
            IfMatch::Whatever | IfMatch::Any => Ok(()),
            IfMatch::One(tags) if tags.iter().any(|one| Some(one.as_str()) == tag) => Ok(()),
            IfMatch::One(_) => Err(Fault::ChangedSince.into()),
        }
    }
}

pub(crate) fn of(revision: Rev) -> String {
    format!("\"{}\"", revision.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared() {
        for (values, tag, expect) in [
            (vec![], Some("\"7\""), true),
            (vec![], None, true),
            (vec!["*"], None, true),
            (vec!["\"7\""], Some("\"7\""), true),
            (vec!["\"6\", \"7\""], Some("\"7\""), true),
            (vec!["\"6\"", "\"7\""], Some("\"7\""), true),
            (vec!["\"6\""], Some("\"7\""), false),
            (vec!["W/\"7\""], Some("\"7\""), false),
            (vec!["7"], Some("\"7\""), false),
            (vec![""], Some("\"7\""), false),
            (vec!["\"7\""], None, false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(IF_MATCH, value.parse().unwrap());
            }
            assert_eq!(IfMatch::read(&headers).check(tag).is_ok(), expect, "{values:?} {tag:?}");
        }
    }
}
