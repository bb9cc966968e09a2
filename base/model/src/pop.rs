//! Places where an edge runs.

use std::net::IpAddr;

use bartizan_names::{PopId, Prefix};
use bartizan_v4::PopBody;

/// Characters of a PoP's name. It is in every `CF-Ray`.
const NAME_MAX: usize = 16;

/// A point of presence: what it is called, and which addresses it has. The same document says so to the API, to DNS and
/// to the planes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pop {
    pub id: PopId,
    pub name: String,
    /// Of proxied names.
    pub addresses: Vec<IpAddr>,
    /// Of applications; without any there can be none.
    pub pools: Vec<Prefix>,
}

/// Why there cannot be such a PoP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PopError {
    #[error("{0:?} cannot be the name of a PoP: it takes 1 to {NAME_MAX} letters and digits")]
    Name(String),
    #[error("a PoP needs an address that proxied names answer with")]
    NoAddress,
    #[error("the pools {0} and {1} overlap, so that one address would have two numbers")]
    Overlap(Prefix, Prefix),
}

impl Pop {
    pub fn parse(document: &bartizan_v4::Pop) -> Result<Pop, PopError> {
        let bartizan_v4::Pop { name, addresses, pools, .. } = document.clone();
        Pop::parse_body(document.id, &PopBody { name, addresses, pools })
    }

    pub fn parse_body(id: PopId, body: &PopBody) -> Result<Pop, PopError> {
        let PopBody { name, addresses, pools } = body.clone();
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(PopError::Name(name));
        }
        if addresses.is_empty() {
            return Err(PopError::NoAddress);
        }
        for (index, pool) in pools.iter().enumerate() {
            if let Some(other) = pools[..index].iter().find(|other| other.overlaps(pool)) {
                return Err(PopError::Overlap(*other, *pool));
            }
        }
        Ok(Pop { id, name, addresses, pools })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_pop() {
        for (name, addresses, pools, expect) in [
            ("LOC", "127.0.0.1 ::1", "127.77.0.0/16", None),
            ("fra01", "127.0.0.1", "", None),
            ("", "127.0.0.1", "", Some("\"\" cannot be the name")),
            ("frankfurt-1", "127.0.0.1", "", Some("\"frankfurt-1\" cannot be the name")),
            ("seventeen-letters", "127.0.0.1", "", Some("\"seventeen-letters\"")),
            ("LOC", "", "", Some("a PoP needs an address")),
            (
                "LOC",
                "::1",
                "192.0.2.0/24 198.51.100.0/24 192.0.2.128/25",
                Some("the pools 192.0.2.0/24 and 192.0.2.128/25"),
            ),
        ] {
            let body = PopBody {
                name: name.to_owned(),
                addresses: addresses.split_whitespace().map(|text| text.parse().unwrap()).collect(),
                pools: pools.split_whitespace().map(|text| text.parse().unwrap()).collect(),
            };
            let error = Pop::parse_body(PopId::from_bytes([1; 16]), &body).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), expect.is_some(), "{name} {addresses} {pools}: {error:?}");
            assert!(error.unwrap_or_default().starts_with(expect.unwrap_or_default()), "{name} {addresses} {pools}");
        }
    }
}
