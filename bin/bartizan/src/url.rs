//! What a user types as a part of a URL of the API: a tunnel may be called `my laptop`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters (RFC 3986 §2.3) is encoded: what is left means itself wherever it stands.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value as one segment of a path (RFC 3986 §3.3).
pub fn segment(value: &str) -> String {
    utf8_percent_encode(value, &RESERVED).to_string()
}

/// A path with a query of these parameters. Names are ours and are not encoded.
pub fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_to_themselves() {
        for (value, expect) in [
            ("www.example.com", "/x?name=www.example.com"),
            ("my laptop", "/x?name=my%20laptop"),
            ("a&b=c", "/x?name=a%26b%3Dc"),
            ("50%+1#?", "/x?name=50%25%2B1%23%3F"),
            ("*.é", "/x?name=%2A.%C3%A9"),
            ("../zones", "/x?name=..%2Fzones"),
        ] {
            assert_eq!(with_query("/x", &[("name", value)]), expect, "{value}");
        }
        assert_eq!(with_query("/x", &[]), "/x");
        assert_eq!(with_query("/x", &[("a", "1"), ("b", "2")]), "/x?a=1&b=2");
    }
}
