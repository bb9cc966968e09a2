//! What is told apart of a query to DNS.

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::Rcode;

use crate::catalogue::{Bits, Catalogue, Dimension, Fact, Measure, Metric, What};

/// How a query came. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp = 0,
    Tcp = 1,
    Tls = 2,
    Https = 3,
}

/// All that is told apart of a query, but its zone and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsFacts {
    pub rtype: RecordType,
    /// By meaning: a name that is not there is NXDOMAIN, however the proof of that says it. None if there was no answer.
    pub rcode: Option<Rcode>,
    pub transport: Transport,
    pub is_ipv6: bool,
    /// Octets.
    pub query_len: usize,
    /// Octets.
    pub reply_len: usize,
}

// On disk: none of them moves, nor gets wider. Those from 44 on are free, also for a fifth transport.
const REPLY: Bits = Bits(0, 9);
const QUERY: Bits = Bits(9, 8);
const FAMILY: Bits = Bits(17, 1);
const TRANSPORT: Bits = Bits(18, 2);
const TYPE: Bits = Bits(20, 16);
const CODE: Bits = Bits(36, 8);

/// In place of a response code.
const DROPPED: u64 = 0xff;
/// Types that are not told apart any more; no record has this one (RFC 6895 §3.1).
const OTHER_TYPES: u64 = 0;
/// Sizes that are not.
const ANY_QUERY: u64 = 0xff;
const ANY_REPLY: u64 = 0x1ff;

/// Octets of one class of sizes, and where classes get wider.
const CLASS: usize = 16;
const WIDE_FROM: usize = 4_096;
const WIDE_CLASS: usize = 1_024;

impl DnsFacts {
    /// The number of its response code, as [`DNS`] has them: of one that got no answer too.
    pub fn code(&self) -> u16 {
        self.rcode.map_or(DROPPED as u16, |rcode| rcode.0.into()) // it has 8 bits
    }

    /// Hot: once a query.
    #[inline]
    pub fn packed(&self) -> u64 {
        CODE.put(self.code().into())
            | TYPE.put(self.rtype.0.into())
            | TRANSPORT.put(self.transport as u64)
            | FAMILY.put(self.is_ipv6.into())
            | QUERY.put(((self.query_len / CLASS) as u64).min(ANY_QUERY - 1))
            | REPLY.put(reply_class(self.reply_len))
    }
}

fn reply_class(len: usize) -> u64 {
    let class = if len < WIDE_FROM { len / CLASS } else { WIDE_FROM / CLASS + (len - WIDE_FROM) / WIDE_CLASS };
    (class as u64).min(ANY_REPLY - 1)
}

/// What stays of facts where there are too many: the code, the transport and the family.
fn coarse(facts: u64) -> u64 {
    let kept = facts & !(TYPE.put(u64::MAX) | QUERY.put(u64::MAX) | REPLY.put(u64::MAX));
    kept | TYPE.put(OTHER_TYPES) | QUERY.put(ANY_QUERY) | REPLY.put(ANY_REPLY)
}

fn code_text(code: u64) -> String {
    match code {
        DROPPED => "DROPPED".to_owned(),
        code => format!("{:?}", Rcode(code as u8)), // it has 8 bits
    }
}

fn code_of(text: &str) -> Option<u64> {
    let text = text.to_ascii_uppercase();
    let known = (0..=DROPPED).find(|code| code_text(*code) == text);
    known.or_else(|| text.parse().ok().filter(|code| *code < DROPPED))
}

fn type_text(code: u64) -> String {
    match code {
        OTHER_TYPES => "OTHER".to_owned(),
        code => RecordType(code as u16).to_string(), // it has 16 bits
    }
}

fn type_of(text: &str) -> Option<u64> {
    if text.eq_ignore_ascii_case("OTHER") {
        return Some(OTHER_TYPES);
    }
    text.parse::<RecordType>().ok().map(|rtype| rtype.0.into())
}

fn query_text(class: u64) -> String {
    if class == ANY_QUERY { String::new() } else { class_text(class as usize * CLASS, CLASS) }
}

fn reply_text(class: u64) -> String {
    let wide = (WIDE_FROM / CLASS) as u64;
    match class {
        ANY_REPLY => String::new(),
        class if class < wide => class_text(class as usize * CLASS, CLASS),
        class => class_text(WIDE_FROM + (class - wide) as usize * WIDE_CLASS, WIDE_CLASS),
    }
}

fn class_text(from: usize, octets: usize) -> String {
    format!("{from}-{}", from + octets - 1)
}

/// The size that a class begins with, or one that is in it.
fn size_of(text: &str) -> Option<usize> {
    text.split('-').next()?.trim().parse().ok().filter(|size| *size <= usize::from(u16::MAX))
}

fn transport_text(code: u64) -> String {
    ["udp", "tcp", "tls", "https"].get(code as usize).copied().unwrap_or_default().to_owned()
}

fn transport_of(text: &str) -> Option<u64> {
    (0..4).find(|code| transport_text(*code) == text.to_ascii_lowercase())
}

fn bit_of(text: &str) -> Option<u64> {
    match text.to_ascii_lowercase().as_str() {
        "0" | "false" => Some(0),
        "1" | "true" => Some(1),
        _ => None,
    }
}

fn name_text(wire: &[u8]) -> String {
    match Name::from_wire(wire) {
        Ok(name) if name.is_root() => ".".to_owned(),
        Ok(name) => name.to_string(),
        Err(_) => String::new(),
    }
}

fn name_of(text: &str) -> Option<Box<[u8]>> {
    Name::typed(text).ok().map(|name| name.as_wire().to_ascii_lowercase().into())
}

/// Questions to what was counted of DNS.
pub static DNS: Catalogue = Catalogue {
    dimensions: &[
        Dimension { name: "queryName", what: What::Name },
        Dimension {
            name: "queryType",
            what: What::Fact(Fact { of: |facts| TYPE.get(facts), text: type_text, read: type_of, is_ordered: false }),
        },
        Dimension {
            name: "responseCode",
            what: What::Fact(Fact { of: |facts| CODE.get(facts), text: code_text, read: code_of, is_ordered: false }),
        },
        Dimension {
            name: "responseCached",
            what: What::Fact(Fact {
                of: |_| 0,
                text: |_| "Uncached".to_owned(),
                read: |text| match text.to_ascii_lowercase().as_str() {
                    "uncached" => Some(0),
                    "cached" => Some(1),
                    _ => None,
                },
                is_ordered: false,
            }),
        },
        Dimension { name: "coloName", what: What::Pop },
        Dimension { name: "dayOfWeek", what: What::Day },
        Dimension {
            name: "tcp",
            what: What::Fact(Fact {
                of: |facts| (TRANSPORT.get(facts) != Transport::Udp as u64).into(),
                text: |code| code.to_string(),
                read: bit_of,
                is_ordered: true,
            }),
        },
        Dimension {
            name: "transport",
            what: What::Fact(Fact {
                of: |facts| TRANSPORT.get(facts),
                text: transport_text,
                read: transport_of,
                is_ordered: false,
            }),
        },
        Dimension {
            name: "ipVersion",
            what: What::Fact(Fact {
                of: |facts| 4 + 2 * FAMILY.get(facts),
                text: |code| code.to_string(),
                read: |text| text.parse().ok().filter(|version| [4, 6].contains(version)),
                is_ordered: true,
            }),
        },
        Dimension {
            name: "querySizeBucket",
            what: What::Fact(Fact {
                of: |facts| QUERY.get(facts),
                text: query_text,
                read: |text| size_of(text).map(|size| ((size / CLASS) as u64).min(ANY_QUERY - 1)),
                is_ordered: true,
            }),
        },
        Dimension {
            name: "responseSizeBucket",
            what: What::Fact(Fact {
                of: |facts| REPLY.get(facts),
                text: reply_text,
                read: |text| size_of(text).map(reply_class),
                is_ordered: true,
            }),
        },
    ],
    metrics: &[
        Metric { name: "queryCount", measure: Measure::Events },
        // No answer comes from a cache of what others said.
        Metric { name: "uncachedCount", measure: Measure::Events },
        Metric { name: "staleCount", measure: Measure::Zero },
        Metric { name: "responseTimeAvg", measure: Measure::MillisAverage },
        Metric { name: "responseTimeMedian", measure: Measure::MillisQuantile(0.5) },
        Metric { name: "responseTime90th", measure: Measure::MillisQuantile(0.9) },
        Metric { name: "responseTime99th", measure: Measure::MillisQuantile(0.99) },
    ],
    not_kept: &[
        ("origin", "this edge answers from its own records, and asks no origin"),
        ("country", "from which countries queries come is not counted"),
        ("asn", "from which networks queries come is not counted"),
        ("clientIP", "addresses of clients are not kept"),
    ],
    name_text,
    name_of,
    coarse,
    is_apart: |_| false,
    only_apart: false,
    units_a_milli: 1e6,
};

#[cfg(test)]
mod tests {
    use super::*;

    /// As they are on disk. Whoever has to change a number here changes the form of segments.
    #[test]
    fn facts_have_their_bits() {
        let facts = DnsFacts {
            rtype: RecordType::AAAA,
            rcode: Some(Rcode::NXDOMAIN),
            transport: Transport::Udp,
            is_ipv6: false,
            query_len: 40,
            reply_len: 100,
        };
        let packed = |facts: DnsFacts| facts.packed();
        assert_eq!(packed(facts), 0x30_01c0_0406);
        assert_eq!(packed(DnsFacts { transport: Transport::Tcp, ..facts }), 0x30_01c4_0406);
        assert_eq!(packed(DnsFacts { transport: Transport::Tls, ..facts }), 0x30_01c8_0406);
        assert_eq!(packed(DnsFacts { transport: Transport::Https, is_ipv6: true, ..facts }), 0x30_01ce_0406);
        assert_eq!(packed(DnsFacts { rcode: None, reply_len: 5_000, ..facts }), 0xff0_01c0_0500);
        assert_eq!(coarse(packed(facts)), 0x30_0001_ffff);
    }

    #[test]
    fn facts_are_what_they_were() {
        let facts = DnsFacts {
            rtype: RecordType::AAAA,
            rcode: Some(Rcode::NXDOMAIN),
            transport: Transport::Tls,
            is_ipv6: true,
            query_len: 40,
            reply_len: 5_000,
        };
        let shown = |facts: DnsFacts| {
            let of = |dimension: &Dimension| match &dimension.what {
                What::Fact(fact) => Some((fact.text)((fact.of)(facts.packed()))),
                _ => None,
            };
            DNS.dimensions.iter().filter_map(of).collect::<Vec<_>>()
        };
        assert_eq!(shown(facts), ["AAAA", "NXDOMAIN", "Uncached", "1", "tls", "6", "32-47", "4096-5119"]);
        let dropped = DnsFacts { rcode: None, rtype: RecordType(65_535), is_ipv6: false, reply_len: 0, ..facts };
        assert_eq!(shown(dropped)[..2], ["TYPE65535", "DROPPED"]);
        assert_eq!(shown(dropped)[5..], ["4", "32-47", "0-15"]);
    }

    #[test]
    fn values_read_what_they_write() {
        for dimension in DNS.dimensions {
            let What::Fact(fact) = &dimension.what else { continue };
            let facts = DnsFacts {
                rtype: RecordType::TXT,
                rcode: Some(Rcode::BADCOOKIE),
                transport: Transport::Tcp,
                is_ipv6: true,
                query_len: 31,
                reply_len: 65_535,
            };
            for packed in [facts.packed(), DnsFacts { reply_len: 17, rcode: None, ..facts }.packed()] {
                let code = (fact.of)(packed);
                assert_eq!((fact.read)(&(fact.text)(code)), Some(code), "{}", dimension.name);
            }
        }
    }
}
