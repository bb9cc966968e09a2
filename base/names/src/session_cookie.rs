//! The cookies by which browsers show a session with the API. Cookies know no ports (RFC 6265 §8.5): a browser sends them to
//! whatever is on the API's host, so that also who only passes requests on has to know them.

/// Only this host may set it, for all of it, and by https (RFC 6265bis §4.1.3.2).
pub const SESSION_COOKIE_SECURE: &str = "__Host-bartizan";

/// Where the API is reached without TLS, which is on its own machine: browsers would not take the other.
pub const SESSION_COOKIE_PLAIN: &str = "bartizan";

/// Whether `pair`, of a `Cookie` or in front of a `Set-Cookie`, is one of them.
pub fn is_session_cookie(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    [SESSION_COOKIE_SECURE, SESSION_COOKIE_PLAIN].iter().any(|cookie| cookie.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_cookies() {
        for (pair, expect) in [
            ("bartizan=1", true),
            (" __Host-bartizan=a=b", true),
            ("bartizan =", true),
            ("bartizan", true),
            ("bartizans=1", false),
            ("x=bartizan=1", false),
            ("", false),
        ] {
            assert_eq!(is_session_cookie(pair.as_bytes()), expect, "{pair}");
        }
    }
}
