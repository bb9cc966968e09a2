//! The cookie by which a browser shows its session.

use bartizan_names::{SESSION_COOKIE_PLAIN as PLAIN, SESSION_COOKIE_SECURE as SECURE};
use http::{HeaderMap, header};

/// The attributes of both: no script reads it, and no page of others sends it.
const ATTRIBUTES: &str = "Path=/; HttpOnly; SameSite=Strict";

/// Digits of the secret.
const DIGITS: usize = 64;

/// The secret of a session, if one is shown.
pub(crate) fn read(headers: &HeaderMap) -> Option<&str> {
    let named = |wanted: &'static str| {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let is_secret = |text: &str| text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        pairs.find(|(name, value)| *name == wanted && is_secret(value)).map(|(_, value)| value)
    };
    named(SECURE).or_else(|| named(PLAIN))
}

/// What `Set-Cookie` says of a new session, which lasts so many seconds.
pub(crate) fn set(secret: &str, secure: bool, seconds: u64) -> String {
    match secure {
        true => format!("{SECURE}={secret}; {ATTRIBUTES}; Secure; Max-Age={seconds}"),
        false => format!("{PLAIN}={secret}; {ATTRIBUTES}; Max-Age={seconds}"),
    }
}

/// What it says when a session has ended.
pub(crate) fn clear(secure: bool) -> String {
    set("", secure, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies() {
        let (one, other) = ("a1".repeat(32), "b2".repeat(32));
        for (cookies, expect) in [
            (vec![], None),
            (vec![format!("bartizan={one}")], Some(&one)),
            (vec![format!("theme=dark; bartizan={one}; x=")], Some(&one)),
            (vec!["theme=dark".to_owned(), format!("bartizan={one}")], Some(&one)),
            (vec![format!("bartizan={one}; __Host-bartizan={other}")], Some(&other)),
            (vec![format!("bartizan=; bartizan={one}")], Some(&one)),
            (vec![format!("bartizan={}", &one[1..])], None),
            (vec![format!("bartizan={}", "z".repeat(64))], None),
            (vec![format!("xbartizan={one}")], None),
        ] {
            let mut headers = HeaderMap::new();
            for cookie in &cookies {
                headers.append(header::COOKIE, cookie.parse().unwrap());
            }
            assert_eq!(read(&headers), expect.map(String::as_str), "{cookies:?}");
        }
        assert_eq!(clear(false), "bartizan=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
        assert!(set(&one, true, 9).ends_with("; Secure; Max-Age=9"));
    }
}
