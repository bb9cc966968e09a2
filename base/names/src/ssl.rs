//! How the edge reaches the origins of a zone.

use crate::word::words;

words!(
    /// A zone's setting of that name.
    Ssl {
        /// Never encrypted: who comes over HTTPS is sent to plain HTTP.
        Off = "off",
        /// Encrypted up to the edge only.
        Flexible = "flexible",
        /// Encrypted to whoever answers.
        Full = "full",
        /// Encrypted to a server with a certificate for the host.
        Strict = "strict",
    }
);

words!(
    /// The newest version of HTTP that is offered to an origin.
    OriginHttp {
        Http1 = "1",
        Http2 = "2",
    }
);
