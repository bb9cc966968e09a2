//! Labels of a connector. The protocol has no place for them, so they go as features that nobody else knows:
//! `tag:KEY=VALUE`. A stock connector can be told to name such (`--features`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Labels of one connector.
pub const TAGS_MAX: usize = 16;

/// Octets of a key, and of a value.
const PART_MAX: usize = 63;

const PREFIX: &str = "tag:";

/// A label: `release=canary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// It is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a label is KEY=VALUE or KEY:VALUE, each of 1 to {PART_MAX} letters, digits, dots, hyphens and underscores")]
pub struct NoTag;

impl FromStr for Tag {
    type Err = NoTag;

    fn from_str(text: &str) -> Result<Tag, NoTag> {
        let (key, value) = text.split_once(['=', ':']).ok_or(NoTag)?;
        let is_part = |part: &str| {
            let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            (1..=PART_MAX).contains(&part.len()) && part.bytes().all(is_fit)
        };
        match is_part(key) && is_part(value) {
            true => Ok(Tag { key: key.to_owned(), value: value.to_owned() }),
            false => Err(NoTag),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl Tag {
    /// The feature that says it.
    pub fn feature(&self) -> String {
        format!("{PREFIX}{self}")
    }

    fn of_feature(feature: &str) -> Option<Tag> {
        feature.strip_prefix(PREFIX)?.parse().ok()
    }
}

/// The labels among the features of a connector, which are features no more. Of one key the last counts; what is no label
/// stays what it is, and so do those beyond what a connector may have.
pub fn take_tags(features: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    features.retain(|feature| match Tag::of_feature(feature) {
        Some(Tag { key, value }) if tags.len() < TAGS_MAX || tags.contains_key(&key) => {
            tags.insert(key, value);
            false
        }
        _ => true,
    });
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_as_people_type_them() {
        let long = "x".repeat(PART_MAX);
        for (text, expect) in [
            ("release=canary", Some(("release", "canary"))),
            ("release:stable", Some(("release", "stable"))),
            ("a.b-c_d=1.2", Some(("a.b-c_d", "1.2"))),
            (&*format!("{long}={long}"), Some((&*long, &*long))),
            (&*format!("{long}x=1"), None),
            (&*format!("a={long}x"), None),
            ("release", None),
            ("=canary", None),
            ("release=", None),
            ("release==canary", None),
            ("release=a:b", None),
            ("release=a b", None),
            ("release=a,b", None),
            ("\u{e9}=x", None),
            ("", None),
        ] {
            let got = text.parse::<Tag>().ok();
            assert_eq!(got.as_ref().map(|tag| (&*tag.key, &*tag.value)), expect, "{text}");
        }
    }

    #[test]
    fn labels_among_features() {
        let mut features: Vec<String> =
            ["one", "tag:release=stable", "tag:", "tag:release=canary", "tag:a b=c"].map(str::to_owned).into();
        let tags = take_tags(&mut features);
        assert_eq!(tags, BTreeMap::from([("release".to_owned(), "canary".to_owned())]));
        assert_eq!(features, ["one", "tag:", "tag:a b=c"]);

        let mut many: Vec<String> =
            (0..=TAGS_MAX).map(|number| Tag { key: format!("k{number}"), value: "v".to_owned() }.feature()).collect();
        assert_eq!(take_tags(&mut many).len(), TAGS_MAX);
        assert_eq!(many, [format!("tag:k{TAGS_MAX}=v")]);
    }
}
