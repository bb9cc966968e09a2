//! What is said of an application: which addresses it has, who encrypts, how its origin learns of clients.

use std::net::IpAddr;

use crate::word::words;

words!(
    /// Which addresses an application has.
    Families {
        All = "all",
        Ipv4 = "ipv4",
        Ipv6 = "ipv6",
    }
);

words!(
    /// Who encrypts.
    AppTls {
        /// Whoever does: the edge hands bytes on.
        Off = "off",
        /// The edge towards clients, nobody towards the origin.
        Flexible = "flexible",
        /// The edge on both sides, to whoever answers.
        Full = "full",
        /// The edge on both sides, to an origin with a certificate for the application's name.
        Strict = "strict",
    }
);

words!(
    /// How an origin learns the client's address.
    ProxyProtocol {
        Off = "off",
        /// In front of a TCP connection, as text.
        V1 = "v1",
        /// In front of a TCP connection or of each datagram of a UDP flow, in binary form.
        V2 = "v2",
        /// In front of each datagram of a UDP flow.
        Simple = "simple",
    }
);

impl Families {
    pub fn include(self, address: IpAddr) -> bool {
        match self {
            Families::All => true,
            Families::Ipv4 => address.is_ipv4(),
            Families::Ipv6 => address.is_ipv6(),
        }
    }
}
