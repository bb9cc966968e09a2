//! Formats of documents: every older one is read as if it were written today.

use std::borrow::Cow;

use serde_json::{Value, json};

/// Makes a document of one format from the same document in the format before it.
type Upgrade = fn(&str) -> Result<String, String>;

/// The formats that the documents of a kind have had. Format 1 is the first.
pub(crate) struct Documents {
    /// The step at index `n` reads format `n + 1` and writes format `n + 2`. A published step never changes.
    upgrades: &'static [Upgrade],
}

impl Documents {
    /// There is one format so far.
    pub(crate) const FIRST: Documents = Documents { upgrades: &[] };

    /// In format 1 a token had every right, and no policies.
    pub(crate) const TOKENS: Documents = Documents { upgrades: &[with_every_right] };

    /// The format in which documents are written.
    pub(crate) fn current(&self) -> u16 {
        u16::try_from(self.upgrades.len() + 1).expect("a kind has few formats")
    }

    /// The document in the current format, or why there is none.
    pub(crate) fn upgrade<'d>(&self, format: u16, json: &'d str) -> Result<Cow<'d, str>, String> {
        if format == 0 || format > self.current() {
            return Err(format!("format {format}, where this version knows {} at most", self.current()));
        }
        let mut steps = self.upgrades.iter().skip(usize::from(format) - 1);
        steps.try_fold(Cow::Borrowed(json), |json, step| step(&json).map(Cow::Owned))
    }
}

fn with_every_right(json: &str) -> Result<String, String> {
    let mut token: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let user = token.get("user").and_then(Value::as_str).ok_or("it has no user")?.to_owned();
    let resources = json!({
        "com.cloudflare.api.account.*": "*",
        "com.cloudflare.api.account.zone.*": "*",
        (format!("com.cloudflare.api.user.{user}")): "*",
    });
    token["policies"] =
        json!([{"id": "0".repeat(32), "effect": "allow", "permissions": ["*"], "resources": resources}]);
    Ok(token.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_format_1_has_every_right() {
        let token = Documents::TOKENS.upgrade(1, r#"{"id":"a","user":"7"}"#).unwrap();
        let token: Value = serde_json::from_str(&token).unwrap();
        let policy = json!({
            "id": "0".repeat(32),
            "effect": "allow",
            "permissions": ["*"],
            "resources": {
                "com.cloudflare.api.account.*": "*",
                "com.cloudflare.api.account.zone.*": "*",
                "com.cloudflare.api.user.7": "*",
            },
        });
        assert_eq!(token, json!({"id": "a", "user": "7", "policies": [policy]}));
        assert!(Documents::TOKENS.upgrade(1, "{}").is_err());
        assert_eq!(Documents::TOKENS.upgrade(2, "{}").unwrap(), "{}");
    }

    #[test]
    fn documents_take_every_step_from_their_format_on() {
        let documents = Documents {
            upgrades: &[
                |json| Ok(format!("{json}2")),
                |json| if json == "bad2" { Err("no".to_owned()) } else { Ok(format!("{json}3")) },
            ],
        };
        for (format, json, expect) in [
            (1, "a", Ok("a23")),
            (2, "a", Ok("a3")),
            (3, "a", Ok("a")),
            (1, "bad", Err("no")),
            (4, "a", Err("format 4, where this version knows 3 at most")),
            (0, "a", Err("format 0, where this version knows 3 at most")),
        ] {
            let found = documents.upgrade(format, json);
            assert_eq!(found.as_deref().map_err(String::as_str), expect, "{format} {json}");
        }
    }
}
