//! The built-in page: shows that the tunnel works, and what arrived through it. No script; the style is a second file,
//! so that the page's own policy can forbid everything inline.

use bartizan_rpc::ConnectRequest;

const PAGE: &str = include_str!("hello.html");
const STYLE: &str = include_str!("hello.css");
const STYLE_PATH: &str = "/bartizan-hello.css";
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What goes out.
pub(crate) struct Page {
    pub(crate) headers: [(&'static str, &'static str); 4],
    pub(crate) body: String,
}

/// Every path has the page, except that of its style.
pub(crate) fn page(request: &ConnectRequest, host: &str, path: &str) -> Page {
    let (media, body) = match path == STYLE_PATH {
        true => ("text/css; charset=utf-8", STYLE.to_owned()),
        false => ("text/html; charset=utf-8", fill(request, host, path)),
    };
    let headers = [
        ("Content-Type", media),
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ];
    Page { headers, body }
}

fn fill(request: &ConnectRequest, host: &str, path: &str) -> String {
    let field = |name: &str| {
        let of =
            |entry: &&bartizan_rpc::Metadata| entry.header_name().is_some_and(|key| key.eq_ignore_ascii_case(name));
        let value = request.metadata.iter().find(of).map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        value.unwrap_or_else(|| "not told".to_owned())
    };
    let own = beside(host.rsplit_once(':').map_or(host, |(name, _)| name));
    let (client, ray) = (field("CF-Connecting-IP"), field("CF-Ray"));
    // One pass, so that a value that looks like a place is not filled again.
    let mut out = String::with_capacity(PAGE.len() + 256);
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((place, after)) = after.split_once('}') else { break };
        out.push_str(before);
        escape(
            match place {
                "host" => host,
                "path" => path,
                "client" => &client,
                "ray" => &ray,
                _ => &own,
            },
            &mut out,
        );
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Text as HTML.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
}

/// A name beside this one, which is taken: of the same zone, as far as can be known here.
fn beside(name: &str) -> String {
    match name.split_once('.') {
        Some((first, rest)) if first.eq_ignore_ascii_case("app") => format!("my-app.{rest}"),
        Some((_, rest)) => format!("app.{rest}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_rpc::{ConnectKind, Metadata};

    use super::*;

    fn request() -> ConnectRequest {
        let metadata = vec![Metadata::header("cf-ray", b"<8f>{host}"), Metadata::header("CF-Connecting-IP", b"::1")];
        ConnectRequest { dest: String::new(), kind: ConnectKind::Http, metadata }
    }

    #[test]
    fn the_page_shows_what_arrived_and_nothing_of_it_is_markup() {
        let page = page(&request(), "hello.example:8443", "/<script>?a&b");
        for part in [
            "Hello from Bartizan",
            "<dd>hello.example:8443/&lt;script&gt;?a&amp;b</dd>",
            "<dd>::1</dd>",
            "<dd>&lt;8f&gt;{host}</dd>",
            "--hostname app.example http://localhost:9000",
        ] {
            assert!(page.body.contains(part), "{part}: {}", page.body);
        }
        assert!(!page.body.contains("<script"));
    }

    #[test]
    fn the_style_is_a_file_of_its_own() {
        let page = page(&request(), "hello.example", STYLE_PATH);
        assert_eq!((page.headers[0].1, &*page.body), ("text/css; charset=utf-8", STYLE));
    }
}
