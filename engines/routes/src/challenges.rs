//! What is answered to a public authority that asks over HTTP whether a name is ours (RFC 8555 §8.3), by its token. As many as
//! there are certificates being issued: few, and mostly none.

use std::collections::BTreeMap;

use bartizan_names::ZoneId;

/// The path in front of a token.
const PATH: &str = "/.well-known/acme-challenge/";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenges(BTreeMap<String, Answer>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    /// Which asked for it: it is for names of that zone alone.
    zone: ZoneId,
    /// In lower case.
    host: String,
    text: String,
}

impl Challenges {
    pub fn put(&mut self, token: String, zone: ZoneId, host: String, text: String) {
        self.0.insert(token, Answer { zone, host: host.to_ascii_lowercase(), text });
    }

    pub fn remove(&mut self, token: &str) {
        self.0.remove(token);
    }

    pub fn has(&self, token: &str) -> bool {
        self.0.contains_key(token)
    }

    /// The answer to a request for `path` of `host`, which is in lower case; none if it is no such question, or one that another
    /// zone asked for than the one that the host lies in: a name may have become another zone's since.
    // Hot: once a request. A comparison while there are none.
    pub fn answer(&self, host: &str, path: &str, zone: impl FnOnce() -> Option<ZoneId>) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let answer = self.0.get(path.strip_prefix(PATH)?)?;
        (answer.host == host && zone() == Some(answer.zone)).then_some(answer.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_answered_at_its_host_alone_while_that_is_the_zones() {
        let (ours, other) = (ZoneId::from_bytes([1; 16]), ZoneId::from_bytes([2; 16]));
        let mut challenges = Challenges::default();
        assert_eq!(challenges.answer("www.example.com", "/.well-known/acme-challenge/a", || Some(ours)), None);
        challenges.put("a".to_owned(), ours, "WWW.example.com".to_owned(), "a.key".to_owned());
        for (host, path, zone, expect) in [
            ("www.example.com", "/.well-known/acme-challenge/a", Some(ours), Some("a.key")),
            ("www.example.com", "/.well-known/acme-challenge/a", Some(other), None),
            ("www.example.com", "/.well-known/acme-challenge/a", None, None),
            ("example.com", "/.well-known/acme-challenge/a", Some(ours), None),
            ("www.example.com", "/.well-known/acme-challenge/b", Some(ours), None),
            ("www.example.com", "/.well-known/acme-challenge/", Some(ours), None),
            ("www.example.com", "/.well-known/acme-challenge/a/", Some(ours), None),
            ("www.example.com", "/a", Some(ours), None),
        ] {
            assert_eq!(challenges.answer(host, path, || zone), expect, "{host}{path}");
        }
        assert!(challenges.has("a"));
        challenges.remove("a");
        assert_eq!(challenges, Challenges::default());
    }
}
