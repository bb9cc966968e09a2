//! Which transport a port belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text is neither `tcp` nor `udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither tcp nor udp")]
pub struct ProtocolError;

/// A transport with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// As the dialect writes it in front of a port: `tcp/22`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = ProtocolError;

    /// In any case.
    fn from_str(text: &str) -> Result<Protocol, ProtocolError> {
        [Protocol::Tcp, Protocol::Udp]
            .into_iter()
            .find(|protocol| text.eq_ignore_ascii_case(protocol.as_str()))
            .ok_or(ProtocolError)
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Protocol, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_read_what_they_write() {
        for (text, expect) in [
            ("tcp", Ok(Protocol::Tcp)),
            ("UDP", Ok(Protocol::Udp)),
            ("", Err(ProtocolError)),
            ("tcp/22", Err(ProtocolError)),
            ("sctp", Err(ProtocolError)),
        ] {
            assert_eq!(text.parse(), expect, "{text}");
        }
        assert_eq!(format!("{}/53", Protocol::Udp), "udp/53");
    }
}
