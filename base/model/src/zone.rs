//! Zones that can be served.

use bartizan_names::{AccountId, Name, Phishing, ZoneId, ZoneName};

/// A zone: an apex, who owns it, and which servers it names as its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    pub id: ZoneId,
    pub account: AccountId,
    pub name: ZoneName,
    pub nameservers: Vec<Name>,
    /// A paused zone answers with its records as they are, as if none were proxied.
    pub paused: bool,
    /// What the operator of the edge found it to be.
    pub phishing: Phishing,
}

/// Why a zone cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    #[error("{0} is not a name that a zone can have")]
    Name(String),
    #[error("{0} is not the name of a server")]
    Nameserver(String),
}

impl Zone {
    pub fn parse(document: &bartizan_v4::Zone) -> Result<Zone, ZoneError> {
        let server = |text: &String| Name::parse(text).map_err(|_| ZoneError::Nameserver(text.clone()));
        Ok(Zone {
            id: document.id,
            account: document.account.id,
            name: Zone::parse_name(&document.name)?,
            nameservers: document.name_servers.iter().map(server).collect::<Result<_, _>>()?,
            paused: document.paused,
            phishing: match (document.meta.phishing_detected, document.meta.phishing_strict) {
                (false, _) => Phishing::No,
                (true, false) => Phishing::Flagged,
                (true, true) => Phishing::Strict,
            },
        })
    }

    /// The apex of a zone: at least one label, made of what hosts are made of.
    pub fn parse_name(text: &str) -> Result<ZoneName, ZoneError> {
        Name::typed(text.trim())
            .ok()
            .filter(Name::is_host)
            .and_then(ZoneName::new)
            .ok_or_else(|| ZoneError::Name(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_zones() {
        for (text, expect) in [
            ("Example.COM", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("bartizan.localhost", Some("bartizan.localhost")),
            ("1.168.192.in-addr.arpa", Some("1.168.192.in-addr.arpa")),
            ("", None),
            (".", None),
            ("*.example.com", None),
            ("a..b", None),
            ("a b.com", None),
            ("http://example.com", None),
        ] {
            assert_eq!(Zone::parse_name(text).ok().map(|name| name.to_string()).as_deref(), expect, "{text}");
        }
    }
}
