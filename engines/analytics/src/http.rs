//! What is told apart of a request over HTTP.

use crate::catalogue::{Bits, Catalogue, Dimension, Fact, Measure, Metric, What};

/// The protocol that a visitor spoke. The numbers are on disk, and places in [`PROTOCOLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http10 = 0,
    Http11 = 1,
    Http2 = 2,
    Http3 = 3,
}

/// How the visitor's connection was sealed. The numbers are on disk, and places in [`SEALS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    InClear = 0,
    Tls12 = 1,
    Tls13 = 2,
}

/// All that is told apart of a request, but its zone and its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpFacts<'m> {
    /// None if it was over before there was an answer.
    pub status: Option<u16>,
    pub method: &'m str,
    pub protocol: Protocol,
    pub sealed: Sealed,
    /// Who answered: one of [`ANSWERERS`]; whoever is none of them is the edge.
    pub by: &'m str,
    /// Whether the answer is a page, which a person may look at.
    pub is_page: bool,
    /// Two letters (ISO 3166-1), if it is known.
    pub country: Option<[u8; 2]>,
}

// On disk: none of them moves, nor gets wider. Those from 34 on are free.
const STATUS: Bits = Bits(0, 10);
const METHOD: Bits = Bits(10, 4);
const PROTOCOL: Bits = Bits(14, 2);
const SEALED: Bits = Bits(16, 2);
const BY: Bits = Bits(18, 5);
const COUNTRY: Bits = Bits(23, 10);
const PAGE: Bits = Bits(33, 1);

/// Methods that are told apart (RFC 9110 §9.3, RFC 5789), behind all others. What is on disk has their places: new ones go to
/// the end.
const METHODS: [&str; 10] = ["OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Who answers: an origin, a tunnel, the edge since neither gave an answer, or a stage of the edge by its name. What is on disk
/// has their places: new ones go to the end.
const ANSWERERS: [&str; 14] = [
    "edge",
    "origin",
    "tunnel",
    "unreached",
    FIREWALL,
    "version",
    "tls",
    "scheme",
    "client",
    "upgrade",
    "upload",
    "loop",
    "options",
    "early data",
];

/// The stage that lets visitors in or not.
const FIREWALL: &str = "firewall";

const _: () = assert!(ANSWERERS.len() <= 1 << 5 && METHODS.len() <= 1 << 4, "they have so many bits");

impl HttpFacts<'_> {
    /// Hot: once a request.
    #[inline]
    pub fn packed(&self) -> u64 {
        let method = METHODS.iter().skip(1).position(|known| *known == self.method).map_or(0, |at| at + 1);
        STATUS.put(self.status.unwrap_or(0).into())
            | METHOD.put(method as u64)
            | PROTOCOL.put(self.protocol as u64)
            | SEALED.put(self.sealed as u64)
            | BY.put(one_of(&ANSWERERS, self.by).unwrap_or(0))
            | PAGE.put(self.is_page.into())
            | COUNTRY.put(self.country.and_then(country_code).unwrap_or(0))
    }
}

/// 0 is no country.
fn country_code(letters: [u8; 2]) -> Option<u64> {
    let [one, other] = letters.map(|letter| letter.to_ascii_uppercase());
    let is_letter = |letter: u8| letter.is_ascii_uppercase();
    (is_letter(one) && is_letter(other)).then(|| u64::from(one - b'A') * 26 + u64::from(other - b'A') + 1)
}

/// What stays of facts where there are too many: all but method and country.
fn coarse(facts: u64) -> u64 {
    facts & !(METHOD.put(u64::MAX) | COUNTRY.put(u64::MAX))
}

fn one_of(texts: &'static [&'static str], text: &str) -> Option<u64> {
    texts.iter().position(|known| known.eq_ignore_ascii_case(text)).map(|at| at as u64)
}

/// Whether what was waited for was an origin, behind a tunnel or not.
fn is_of_origin(facts: u64) -> bool {
    matches!(ANSWERERS.get(BY.get(facts) as usize), Some(&("origin" | "tunnel")))
}

const PROTOCOLS: [&str; 4] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"];
const SEALS: [&str; 3] = ["none", "TLSv1.2", "TLSv1.3"];

fn text_of(texts: &[&str], code: u64) -> String {
    texts.get(code as usize).copied().unwrap_or_default().to_owned()
}

fn status_text(code: u64) -> String {
    if code == 0 { "none".to_owned() } else { code.to_string() }
}

fn status_of(text: &str) -> Option<u64> {
    if text.eq_ignore_ascii_case("none") { Some(0) } else { text.parse().ok().filter(|code| (1..1_000).contains(code)) }
}

fn class_text(code: u64) -> String {
    if code == 0 { "none".to_owned() } else { format!("{code}xx") }
}

fn class_of(text: &str) -> Option<u64> {
    if text.eq_ignore_ascii_case("none") {
        return Some(0);
    }
    text.to_ascii_lowercase().strip_suffix("xx")?.parse().ok().filter(|code| (1..=9).contains(code))
}

fn country_text(code: u64) -> String {
    let Some(code) = code.checked_sub(1) else { return "XX".to_owned() };
    [code / 26, code % 26].map(|at| char::from(b'A' + at as u8)).iter().collect() // both are below 26
}

fn country_of(text: &str) -> Option<u64> {
    if text.eq_ignore_ascii_case("XX") {
        return Some(0);
    }
    country_code(*text.as_bytes().as_array()?)
}

/// Questions to what was counted of HTTP.
pub static HTTP: Catalogue = Catalogue {
    dimensions: &[
        Dimension { name: "host", what: What::Name },
        Dimension {
            name: "status",
            what: What::Fact(Fact {
                of: |facts| STATUS.get(facts),
                text: status_text,
                read: status_of,
                is_ordered: true,
            }),
        },
        Dimension {
            name: "statusClass",
            what: What::Fact(Fact {
                of: |facts| STATUS.get(facts) / 100,
                text: class_text,
                read: class_of,
                is_ordered: true,
            }),
        },
        Dimension {
            name: "method",
            what: What::Fact(Fact {
                of: |facts| METHOD.get(facts),
                text: |code| text_of(&METHODS, code),
                read: |text| one_of(&METHODS, text),
                is_ordered: false,
            }),
        },
        Dimension {
            name: "protocol",
            what: What::Fact(Fact {
                of: |facts| PROTOCOL.get(facts),
                text: |code| text_of(&PROTOCOLS, code),
                read: |text| one_of(&PROTOCOLS, text),
                is_ordered: false,
            }),
        },
        Dimension {
            name: "tlsVersion",
            what: What::Fact(Fact {
                of: |facts| SEALED.get(facts),
                text: |code| text_of(&SEALS, code),
                read: |text| one_of(&SEALS, text),
                is_ordered: false,
            }),
        },
        Dimension {
            name: "answeredBy",
            what: What::Fact(Fact {
                of: |facts| BY.get(facts),
                text: |code| text_of(&ANSWERERS, code),
                read: |text| one_of(&ANSWERERS, text),
                is_ordered: false,
            }),
        },
        Dimension {
            name: "country",
            what: What::Fact(Fact {
                of: |facts| COUNTRY.get(facts),
                text: country_text,
                read: country_of,
                is_ordered: false,
            }),
        },
        Dimension {
            name: "page",
            what: What::Fact(Fact {
                of: |facts| PAGE.get(facts),
                text: |code| code.to_string(),
                read: |text| text.parse().ok().filter(|bit| *bit <= 1),
                is_ordered: true,
            }),
        },
        Dimension { name: "coloName", what: What::Pop },
        Dimension { name: "dayOfWeek", what: What::Day },
    ],
    metrics: &[
        Metric { name: "requestCount", measure: Measure::Events },
        Metric { name: "bytesSent", measure: Measure::Sent },
        Metric { name: "bytesReceived", measure: Measure::Received },
        Metric { name: "responseTimeAvg", measure: Measure::MillisAverage },
        Metric { name: "responseTimeMedian", measure: Measure::MillisQuantile(0.5) },
        Metric { name: "responseTime90th", measure: Measure::MillisQuantile(0.9) },
        Metric { name: "responseTime99th", measure: Measure::MillisQuantile(0.99) },
        Metric { name: "originTimeAvg", measure: Measure::MillisAverageApart },
    ],
    not_kept: &[
        ("path", "paths are in the access log"),
        ("userAgent", "programs of visitors are not kept"),
        ("clientIP", "addresses of visitors are in the access log"),
        ("cacheStatus", "this edge has no cache"),
    ],
    name_text: |name| String::from_utf8_lossy(name).into_owned(),
    name_of: |text| Some(text.trim_end_matches('.').to_ascii_lowercase().into_bytes().into()),
    coarse,
    is_apart: is_of_origin,
    only_apart: false,
    units_a_milli: 1e6,
};

#[cfg(test)]
mod tests {
    use super::*;

    /// As they are on disk. Whoever has to change a number here changes the form of segments.
    #[test]
    fn facts_have_their_bits() {
        let facts = HttpFacts {
            status: Some(404),
            method: "GET",
            protocol: Protocol::Http10,
            sealed: Sealed::InClear,
            by: "edge",
            is_page: false,
            country: None,
        };
        assert_eq!(facts.packed(), 0x0594);
        assert_eq!(HttpFacts { method: "PATCH", protocol: Protocol::Http3, ..facts }.packed(), 0xe594);
        assert_eq!(HttpFacts { protocol: Protocol::Http11, sealed: Sealed::Tls12, ..facts }.packed(), 0x1_4594);
        assert_eq!(HttpFacts { protocol: Protocol::Http2, sealed: Sealed::Tls13, ..facts }.packed(), 0x2_8594);
        let whole = HttpFacts { by: "options", is_page: true, country: Some(*b"DE"), ..facts };
        assert_eq!(whole.packed(), (1 << 33) | ((3 * 26 + 4 + 1) << 23) | (12 << 18) | 0x0594);
        let places =
            ["edge", "origin", "tunnel", "unreached", "firewall", "version", "tls", "scheme", "client", "upgrade"];
        let methods = ["OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        for (at, (by, method)) in places.into_iter().zip(methods).enumerate() {
            assert_eq!(HttpFacts { status: None, by, method, ..facts }.packed(), ((at << 18) | (at << 10)) as u64);
        }
    }

    #[test]
    fn facts_are_what_they_were() {
        let facts = HttpFacts {
            status: Some(404),
            method: "GET",
            protocol: Protocol::Http2,
            sealed: Sealed::Tls13,
            by: "tunnel",
            is_page: true,
            country: Some(*b"de"),
        };
        let none =
            HttpFacts { status: None, method: "PURGE", by: "some stage", is_page: false, country: None, ..facts };
        let shown = |facts: HttpFacts<'_>| {
            let of = |dimension: &Dimension| match &dimension.what {
                What::Fact(fact) => {
                    let code = (fact.of)(facts.packed());
                    assert_eq!((fact.read)(&(fact.text)(code)), Some(code), "{}", dimension.name);
                    Some((fact.text)(code))
                }
                _ => None,
            };
            HTTP.dimensions.iter().filter_map(of).collect::<Vec<_>>()
        };
        assert_eq!(shown(facts), ["404", "4xx", "GET", "HTTP/2", "TLSv1.3", "tunnel", "DE", "1"]);
        assert_eq!(shown(none), ["none", "none", "OTHER", "HTTP/2", "TLSv1.3", "edge", "XX", "0"]);
    }
}
