//! A request as a visitor sent it: checked, and without types of an HTTP library.

use bartizan_exchange::{Body, Upgrade};
use bartizan_firewall::Source;
use bartizan_routes::Scheme;
use bartizan_wire::http1::Authority;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Version};

/// Made by `ingress`, consumed by the pipeline.
pub(crate) struct Arrived {
    pub(crate) scheme: Scheme,
    pub(crate) source: Source,
    pub(crate) version: Version,
    pub(crate) method: Method,
    /// As received, a port included; one that [`Authority`] reads.
    pub(crate) host: String,
    pub(crate) path: PathAndQuery,
    /// All fields but `Host`. Those that must not reach an origin are still among them.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) upgrade: Upgrade,
}

impl Arrived {
    /// The host without its port.
    pub(crate) fn host_name(&self) -> &str {
        Authority::parse(&self.host).map_or("", |authority| authority.name)
    }
}
