//! The dashboard: the built files of `web/`, which are in the binary.
//!
//! ```text
//! web/src ─ cargo xtask web build ─► web/dist (committed) ─ files.rs ─► FILES ─► answer
//! ```
//! There is no folder behind it: a path is looked up in a table that the build of `web/` wrote, so there is nothing to step out
//! of. Names of assets say what is in them, so that they are kept for ever; the page itself is asked for each time and known
//! by its tag. What the page shows it gets from the API, as everybody does; nothing here is secret.
//!
//! Not here: who may see what (the API), and which requests get a page at all (`control/api/src/page.rs`).

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// Where the dashboard's own page is.
pub const PAGE: &str = "/";

/// Below this the names of files say what is in them.
pub const ASSETS: &str = "/assets/";

/// The licences of what others have made of it. Its name stays what it is.
pub const NOTICES: &str = "/assets/licenses.txt";

/// Nothing but our own files, nothing in line, no frame around the page and no form out of it. Text becomes markup in no place
/// but the templates of the page's own library.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types svelte-trusted-html";

/// A file of the dashboard, as it is and made smaller.
struct File {
    /// From the root on.
    path: &'static str,
    kind: &'static str,
    /// The first digits of its SHA-256.
    tag: &'static str,
    plain: &'static [u8],
    brotli: &'static [u8],
    gzip: &'static [u8],
}

// Written by the build of `web/`: `const FILES: &[File]`.
include!("../../../web/dist/files.rs");

/// The answer to a GET of one of the dashboard's files; none where `path` is none of them.
pub fn answer(path: &str, asked: &HeaderMap) -> Option<Response<&'static [u8]>> {
    let file = FILES.iter().find(|file| file.path == path)?;
    let tag = HeaderValue::from_str(&format!("\"{}\"", file.tag)).ok()?;
    let (body, coding) = file.coded(asked);
    let is_known = asked.get_all(header::IF_NONE_MATCH).iter().any(|known| names(known, file.tag));
    let mut response = Response::new(if is_known { &[] } else { body });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    let keep =
        if path.starts_with(ASSETS) && path != NOTICES { "public, max-age=31536000, immutable" } else { "no-cache" };
    for (name, value) in [
        (header::CONTENT_TYPE, file.kind),
        (header::CACHE_CONTROL, keep),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert(header::ETAG, tag);
    if let Some(coding) = coding.filter(|_| !is_known) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    Some(response)
}

impl File {
    /// The smallest form that whoever asks can read (RFC 9110 §12.5.3), and how it is called.
    fn coded(&self, asked: &HeaderMap) -> (&'static [u8], Option<&'static str>) {
        let takes = |coding: &str| {
            let all = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
            all.flat_map(|value| value.split(',')).any(|one| {
                let (name, weight) = one.split_once(';').unwrap_or((one, "q=1"));
                name.trim().eq_ignore_ascii_case(coding) && !is_zero(weight)
            })
        };
        if takes("br") {
            (self.brotli, Some("br"))
        } else if takes("gzip") {
            (self.gzip, Some("gzip"))
        } else {
            (self.plain, None)
        }
    }
}

/// Whether a weight says that something is not taken: `q=0`, `q=0.000`.
fn is_zero(weight: &str) -> bool {
    let number = weight.trim().trim_start_matches(['q', 'Q']).trim_start_matches([' ', '=']);
    number.parse::<f32>().is_ok_and(|number| number <= 0.0)
}

/// Whether `If-None-Match` names a tag (RFC 9110 §13.1.2; compared weakly).
fn names(known: &HeaderValue, tag: &str) -> bool {
    let text = known.to_str().unwrap_or_default();
    let is_it = |one: &str| one.trim().trim_start_matches("W/").trim_matches('"') == tag;
    text.trim() == "*" || text.split(',').any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn paths_are_files_or_nothing() {
        for path in [
            "",
            "/x",
            "/assets/",
            "/assets/..",
            "/../Cargo.toml",
            "//",
            "/assets/../files.rs",
            "/files.rs",
            "/index.html",
        ] {
            assert!(answer(path, &HeaderMap::new()).is_none(), "{path}");
        }
        let page = answer(PAGE, &HeaderMap::new()).unwrap();
        let text = std::str::from_utf8(page.body()).unwrap();
        assert!(text.starts_with("<!doctype html>"), "{text}");
        // What the page loads is there, and nothing stands in line, where the policy forbids it.
        for (at, _) in text.match_indices("/assets/") {
            let path: String = text[at..].chars().take_while(|c| *c != '"').collect();
            assert!(answer(&path, &HeaderMap::new()).is_some(), "{path}");
        }
        assert!(!text.contains("<style") && !text.contains("style=") && !text.contains("<script>"), "{text}");
    }

    #[test]
    fn the_smallest_form_that_is_read() {
        for (lines, expect) in [
            (&[][..], None),
            (&[("accept-encoding", "gzip, deflate, br")], Some("br")),
            (&[("accept-encoding", "gzip;q=1, BR;q=0")], Some("gzip")),
            (&[("accept-encoding", "br;q=0.000"), ("accept-encoding", "gzip")], Some("gzip")),
            (&[("accept-encoding", "identity")], None),
            (&[("accept-encoding", "brr, xgzip")], None),
        ] {
            let page = answer(PAGE, &asked(lines)).unwrap();
            let coding = page.headers().get(header::CONTENT_ENCODING).map(|coding| coding.to_str().unwrap());
            assert_eq!(coding, expect, "{lines:?}");
            assert_eq!(page.headers()[header::VARY], "accept-encoding");
        }
        for file in FILES {
            assert!(file.gzip.starts_with(&[0x1f, 0x8b]) && !file.brotli.is_empty(), "{}", file.path);
        }
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let page = answer(PAGE, &HeaderMap::new()).unwrap();
        assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
        let tag = page.headers()[header::ETAG].to_str().unwrap();
        for (known, expect) in [(tag, 304), (&format!("\"x\", W/{tag}"), 304), ("*", 304), ("\"x\"", 200), ("", 200)] {
            let again = answer(PAGE, &asked(&[("if-none-match", known), ("accept-encoding", "br")])).unwrap();
            assert_eq!(again.status(), expect, "{known}");
            assert_eq!(again.body().is_empty(), expect == 304);
            assert_eq!(again.headers().contains_key(header::CONTENT_ENCODING), expect == 200);
        }
        let asset = FILES.iter().find(|file| file.path.starts_with(ASSETS) && file.path != NOTICES).unwrap();
        let asset = answer(asset.path, &HeaderMap::new()).unwrap();
        assert!(asset.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }

    /// What a stranger's page or a name in a record could do in it.
    #[test]
    fn the_page_is_strict() {
        for file in FILES {
            let answer = answer(file.path, &HeaderMap::new()).unwrap();
            let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'"), "{policy}");
            assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }

    /// What others have made goes nowhere without their terms.
    #[test]
    fn licenses_are_there() {
        let notices = answer(NOTICES, &HeaderMap::new()).unwrap();
        assert_eq!(notices.headers()[header::CACHE_CONTROL], "no-cache");
        assert_eq!(notices.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let text = std::str::from_utf8(notices.body()).unwrap();
        for part in ["svelte 5.", "uplot 1.", "(MIT)", "Permission is hereby granted"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    /// Over a slow line the first page is there in a moment.
    #[test]
    fn the_first_page_is_small() {
        let bytes: usize = FILES.iter().map(|file| file.brotli.len()).sum();
        assert!(bytes <= 150_000, "{bytes} octets of brotli");
    }
}
