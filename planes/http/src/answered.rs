//! An answer on its way to the visitor: an origin's, or our own.

use bartizan_exchange::{Body, Io, Response};
use bartizan_names::TransportSecurity;
use http::StatusCode;

use crate::egress::Sticky;
use crate::fields::Fields;
use crate::ray::Ray;

/// Made by `egress` or from a page, written by `ingress`.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    /// As they came. Those that must not reach a visitor are still among them.
    pub(crate) fields: Fields,
    pub(crate) body: Body,
    /// The connection behind a 101.
    pub(crate) upgraded: Option<Box<dyn Io>>,
    /// What the visitor's browser is told to keep to, beside what the fields say.
    pub(crate) promise: TransportSecurity,
    /// The request's number.
    pub(crate) ray: Ray,
    /// Where the same is spoken of over HTTP/3, if it is (RFC 7838).
    pub(crate) http3: Option<u16>,
    /// Whether the visitor is to stay with the server that answered.
    pub(crate) sticky: Option<Sticky>,
}

impl Answered {
    pub(crate) fn new(response: Response, ray: Ray) -> Answered {
        let Response { status, headers, body, upgraded } = response;
        let (fields, promise) = (Fields::Map(headers), TransportSecurity::default());
        Answered { status, fields, body, upgraded, promise, ray, http3: None, sticky: None }
    }
}
