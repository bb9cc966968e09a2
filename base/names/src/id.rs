//! Ids as the v4 dialect prints them: 32 lower-case hexadecimal digits, or a UUID for tunnels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The text is not an id of the expected form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct IdError;

/// Makes an id type that is written as 32 lower-case hexadecimal digits.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// An id from 16 bytes, normally random ones.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Makes an id type that is written as a UUID.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A version 4 UUID from 16 random bytes (RFC 9562 §5.4).
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// The id that these 16 bytes are, as they come off the wire.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Only the hyphenated form: it is what the dialect's clients send.
            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.len() != 36 {
                    return Err(IdError);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| IdError)
            }
        }
    };
}

hex_id!(
    /// An account: the owner of zones and tunnels.
    AccountId
);
hex_id!(
    /// A person who may log in.
    UserId
);
hex_id!(
    /// An API token. Not the secret: that is only known as a hash.
    TokenId
);
hex_id!(
    /// A session of somebody who has logged in. Not the secret, as with tokens.
    SessionId
);
hex_id!(
    /// A zone that we serve.
    ZoneId
);
hex_id!(
    /// One DNS record of a zone.
    RecordId
);
hex_id!(
    /// A certificate that the edge presents.
    CertificateId
);
hex_id!(
    /// A certificate that was issued to a client, a device for example.
    ClientCertificateId
);
hex_id!(
    /// An application: ports of our own addresses, and the origin behind them.
    AppId
);
hex_id!(
    /// A rule of the firewall.
    RuleId
);
hex_id!(
    /// A pool: servers that do the same.
    PoolId
);
hex_id!(
    /// A monitor: how it is told whether a server is well.
    MonitorId
);
hex_id!(
    /// A load balancer: a name that leads to pools.
    LoadBalancerId
);
hex_id!(
    /// A place where this edge runs (a point of presence).
    PopId
);
uuid_id!(
    /// A tunnel: what connectors connect for.
    TunnelId
);
uuid_id!(
    /// An authority whose certificates clients may show.
    ClientRootId
);
uuid_id!(
    /// One connector process, for as long as it runs.
    ConnectorId
);

fn write_hex(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0; 32];
    // Two digits a byte fill it exactly, and are ASCII.
    hex::encode_to_slice(bytes, &mut digits).map_err(|_| fmt::Error)?;
    f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
}

fn parse_hex(text: &str) -> Result<[u8; 16], IdError> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_write() {
        let zone = ZoneId::from_bytes(*b"0123456789abcdef");
        assert_eq!(zone.to_string(), "30313233343536373839616263646566");
        assert_eq!(zone.to_string().parse(), Ok(zone));
        let tunnel = TunnelId::from_random([7; 16]);
        assert_eq!(tunnel.to_string().parse(), Ok(tunnel));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "30", "3031323334353637383961626364656g", "303132333435363738396162636465667"] {
            assert_eq!(text.parse::<ZoneId>(), Err(IdError), "{text}");
        }
        assert_eq!("07070707070747079707070707070707".parse::<TunnelId>(), Err(IdError));
    }
}
