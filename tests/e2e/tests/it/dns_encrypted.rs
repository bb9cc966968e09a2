//! DNS over TLS and over HTTPS, and cookies: by clients that others have made.

use std::process::Command;

use bartizan_e2e::dns::{dig, kdig};
use bartizan_e2e::{Edge, finish};

/// The options of kdig for a verified connection to a name server of the edge.
fn verified(edge: &Edge) -> [String; 2] {
    [format!("+tls-ca={}", edge.ca().display()), format!("+tls-hostname=ns1.{}", edge.domain())]
}

#[test]
fn kdig_asks_over_tls() {
    let edge = Edge::start();
    let server = edge.address("/dns_tls/0");
    let [ca, host] = verified(&edge);
    for words in [
        // Whoever asks for no name gets the certificate of the name servers.
        &["+tls"][..],
        &["+tls", &ca, &host],
        &[&ca, &host, "+padding"],
    ] {
        let text = kdig(server, &[words, &[edge.domain(), "SOA"]].concat());
        assert!(text.contains("status: NOERROR") && text.contains("TLS1.3"), "{words:?}: {text}");
        // Either pads its queries unless it is told not to.
        assert!(text.contains("Received 468 B"), "{words:?}: {text}");
    }
    let text = kdig(server, &[&ca, &host, "+nopadding", "nope.elsewhere", "A"]);
    assert!(text.contains("status: REFUSED") && !text.contains("Received 468 B"), "{text}");
}

#[test]
fn kdig_and_curl_ask_over_https() {
    let edge = Edge::start();
    let [ca, host] = verified(&edge);
    let url = format!("+https=ns1.{}/dns-query", edge.domain());
    for words in [&[&*url][..], &[&url, "+https-get"]] {
        let text = kdig(edge.https(), &[words, &[&ca, &host, edge.domain(), "SOA"]].concat());
        assert!(text.contains("status: NOERROR") && text.contains("HTTP/2"), "{words:?}: {text}");
        // It pads its queries here too, unless it is told not to (RFC 8467 §4.1).
        assert!(text.contains("Received 468 B"), "{words:?}: {text}");
        let text = kdig(edge.https(), &[words, &[&ca, &host, "+nopadding", edge.domain(), "SOA"]].concat());
        assert!(text.contains("status: NOERROR") && !text.contains("Received 468 B"), "{words:?}: {text}");
    }
    // Debian's dig names nobody in the handshake, and the address in the request.
    let text = dig(edge.https(), &["+https", edge.domain(), "SOA"]).text;
    assert!(text.contains("status: NOERROR") && text.contains("(HTTPS)"), "{text}");
    // The address of the default zone's name server, for HTTP/1.1 too.
    let name = format!("ns1.{}", edge.domain());
    let resolve = format!("{name}:{}:{}", edge.https().port(), edge.https().ip());
    let question = [&b"\0\0\x01\0\0\x01\0\0\0\0\0\0"[..], &wire(&name), b"\0\x01\0\x01"].concat();
    let file = edge.folder().join("question");
    std::fs::write(&file, question).expect("a temporary file");
    let data = format!("@{}", file.display());
    for version in ["--http1.1", "--http2"] {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", version, "--dump-header", "-", "--output", "/dev/null"]);
        curl.args(["--resolve", &resolve, "--cacert", &edge.ca().display().to_string()]);
        curl.args(["--header", "Content-Type: application/dns-message", "--data-binary", &data]);
        curl.arg(format!("https://{name}:{}/dns-query", edge.https().port()));
        let head = finish(&mut curl).ok().to_ascii_lowercase();
        for field in ["content-type: application/dns-message", "cache-control: max-age="] {
            assert!(head.contains(field), "{version}: {head}");
        }
        assert!(!head.contains("max-age=0"), "{version}: {head}");
    }
}

/// A name as it is in a message.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// What dig got is good, also after the edge was killed and started again.
#[test]
fn a_cookie_outlives_a_restart() {
    let cookie_of = |edge: &Edge, words: &[&str]| {
        let reply = dig(edge.dns(), &[words, &[edge.domain(), "SOA"]].concat());
        let line = reply.text.lines().find_map(|line| line.strip_prefix("; COOKIE: ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no cookie: {}", reply.text))
    };
    let edge = Edge::start();
    let given = cookie_of(&edge, &[]);
    let (cookie, told) = given.split_once(' ').expect("a cookie, and what dig says of it");
    assert_eq!((cookie.len(), told), (48, "(good)"));
    let edge = edge.restart_after_kill();
    let again = cookie_of(&edge, &[&format!("+cookie={cookie}")]);
    assert_eq!(again, given);
}
