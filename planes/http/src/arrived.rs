//! A request as a visitor sent it: checked, and without types of an HTTP library.

use bartizan_exchange::{Body, Upgrade};
use bartizan_firewall::Source;
use bartizan_names::Host;
use bartizan_routes::Scheme;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Version};

/// Made by `ingress`, consumed by the pipeline.
pub(crate) struct Arrived {
    pub(crate) scheme: Scheme,
    pub(crate) source: Source,
    pub(crate) version: Version,
    pub(crate) method: Method,
    pub(crate) host: Host,
    pub(crate) path: PathAndQuery,
    /// All fields but `Host`. Those that must not reach an origin are still among them.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) upgrade: Upgrade,
}
