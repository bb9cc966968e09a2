//! What a zone that sends phishing mail says about mail: that receivers are to reject it (RFC 7489), and nothing by which
//! they could believe its sender. It is computed for each question; the records stay as they are.
//!
//! Who is asked by a CNAME or a delegation at a name of a site answers there as always.

use bartizan_names::RecordType;

use crate::entry::{Entry, Set};
use crate::zones::{First, Location, Node, Turn, Zones};

/// The type that SPF had beside TXT (RFC 7208 §3.1).
pub(crate) const SPF: RecordType = RecordType(99);

/// How long the policy may be kept, in seconds: as short as addresses, since a switch that was set by mistake is unset.
pub(crate) const REJECT_TTL: u32 = 300;

/// The policy: `v=DMARC1; p=reject`.
pub(crate) const REJECT: &[u8] = b"\x12v=DMARC1; p=reject";

/// The label in front of the name whose policy it is (RFC 7489 §6.1).
const DMARC: &[u8] = b"\x06_dmarc";

/// Labels at and below which senders are made believable: DKIM (RFC 6376 §3.6.2.1), BIMI, and the policy of MTA-STS
/// (RFC 8461 §3.1).
const BELIEVABLE: [&[u8]; 3] = [b"\x0a_domainkey", b"\x05_bimi", b"\x08_mta-sts"];

/// How texts begin that say which servers send mail (RFC 7208 §4.5, RFC 4406 §3.1).
const SENDERS: [&[u8]; 2] = [b"v=spf1", b"spf2.0/"];

/// What a name says about mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mail {
    /// What its records say.
    AsIs,
    /// All but who sends it.
    Unsigned,
    /// That it is to be rejected, and nothing else. The name has so many bytes.
    Reject { bytes: usize },
    /// Nothing. So many bytes has the name by which that is so, which is this one or above it.
    Gone { bytes: usize },
}

impl Mail {
    /// Notes at `location` what `name`, which lies there, says. A name of a policy is there wherever the name is that it is
    /// about.
    pub(crate) fn note(zones: &Zones, location: &mut Location<'_>, name: &[u8]) {
        if !zones.flagged.has(location.zone) {
            return;
        }
        location.mail = Mail::of_flagged(zones, location.zone, name);
        if matches!(location.mail, Mail::Reject { .. })
            && matches!(location.node, Node::Missing)
            && let Some(about) = name.get(DMARC.len()..)
            && let Some(Location { node, .. }) = zones.locate(zones.key(about), First::Unknown)
            && !matches!(node, Node::Missing)
        {
            location.node = Node::Implied;
        }
    }

    fn of_flagged(zones: &Zones, zone: u32, name: &[u8]) -> Mail {
        let apex_bytes = zones.zone(zone).map_or(0, |zone| zone.apex().as_wire().len());
        let (mut rest, mut gone) = (name, None);
        while rest.len() > apex_bytes {
            if BELIEVABLE.iter().any(|label| rest.starts_with(label)) {
                gone = Some(Mail::Gone { bytes: rest.len() });
            }
            let length = rest.first().map_or(0, |length| usize::from(*length));
            rest = rest.get(length + 1..).unwrap_or_default();
        }
        let is_policy = name.starts_with(DMARC) && name.len() > apex_bytes;
        gone.or(is_policy.then_some(Mail::Reject { bytes: name.len() })).unwrap_or(Mail::Unsigned)
    }

    /// Whether the name is led away from. What would speak for the mail of the zone in other words than its own does not:
    /// delegations of the names that do, and names that follow from elsewhere.
    pub(crate) fn obeys(self, turn: Turn<'_>) -> bool {
        match (self, turn) {
            (Mail::AsIs | Mail::Unsigned, _) => true,
            (Mail::Reject { bytes } | Mail::Gone { bytes }, Turn::Cut(cut)) => cut.name().len() < bytes,
            (Mail::Reject { .. } | Mail::Gone { .. }, Turn::Dname(..)) => false,
        }
    }
}

/// The texts of an entry, if any says something else than who sends mail.
pub(crate) fn other_text<'z>(entry: Entry<'z>, qtype: RecordType) -> Option<Set<'z>> {
    entry.set(qtype).filter(|set| qtype == RecordType::TXT && set.rdata().any(|text| !names_senders(text)))
}

/// Whether the data of a TXT record says who sends mail. Its strings are one text (RFC 7208 §3.3).
pub(crate) fn names_senders(rdata: &[u8]) -> bool {
    SENDERS.iter().any(|start| {
        let mut text = characters(rdata);
        let begins = start.iter().all(|byte| text.next().is_some_and(|octet| octet.eq_ignore_ascii_case(byte)));
        begins && (start.ends_with(b"/") || matches!(text.next(), None | Some(b' ')))
    })
}

fn characters(mut rdata: &[u8]) -> impl Iterator<Item = u8> {
    let mut left = 0;
    std::iter::from_fn(move || {
        while left == 0 {
            let (length, rest) = rdata.split_first()?;
            (left, rdata) = (*length, rest);
        }
        let (octet, rest) = rdata.split_first()?;
        (left, rdata) = (left - 1, rest);
        Some(*octet)
    })
}
