//! Addresses that lead nowhere on the public internet, and tell others of the inside.

use std::net::IpAddr;

use super::{Finding, Severity};
use crate::zone::check::view::View;

pub fn look(zone: &View<'_>, findings: &mut Vec<Finding>) {
    for (_, records) in zone.owners() {
        // The edge itself may reach what nobody else does.
        for record in records.iter().filter(|record| !record.proxied) {
            let Some(what) = record.data.address().and_then(not_public) else { continue };
            let what = format!("the address is {what}: others do not reach it, and learn of it");
            let remedy = "name a public address, proxy it, or keep it in a zone for the inside".to_owned();
            findings.push(Finding::of(Severity::Warning, "not-public", record, what, remedy).source("RFC 6890"));
        }
    }
}

/// In words, if it is no address of the public internet.
fn not_public(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_unspecified() => Some("nobody's (0.0.0.0)"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("nobody's (::)"),
        address if address.is_loopback() => Some("each machine's own"),
        address if address.is_multicast() => Some("a group's"),
        IpAddr::V4(v4) if v4.is_private() => Some("private (RFC 1918)"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("of one link alone"),
        IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64 => {
            Some("shared by a carrier (RFC 6598)")
        }
        IpAddr::V6(v6) if v6.is_unique_local() => Some("private (RFC 4193)"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("of one link alone"),
        _ => None,
    }
}
