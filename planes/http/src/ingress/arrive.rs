//! A request of HTTP/2 or HTTP/3 in our types, if it has one meaning only (RFC 9113 §8.3.1, RFC 9114 §4.3.1).

use bartizan_exchange::{Body, Upgrade};
use bartizan_names::Host;
use bartizan_wire::http1;
use bartizan_wire::http2::{HeadRoom, RequestHead};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Version};

use super::connection::Connection;
use super::refusal::{Refusal, check_method};
use crate::arrived::Arrived;
use crate::fields::{Fields, Lines};
use crate::worker::Worker;

/// `text`: where the head lies.
pub(super) fn arrive(
    (head, version): (&RequestHead, Version),
    (text, heads): (Bytes, &mut HeadRoom),
    body: Body,
    connection: &Connection,
    worker: &Worker,
) -> Result<Arrived, Refusal> {
    check_method(head.method(&text))?;
    let method = Method::from_bytes(head.method(&text)).map_err(|_| http1::Refusal::Malformed)?;
    let path = match head.path(&text) {
        b"/" => Ok(PathAndQuery::from_static("/")),
        // Shares the memory of the head, as values do.
        path => PathAndQuery::from_maybe_shared(text.slice_ref(path)),
    };
    let host = Host::parse(head.host(&text)).ok_or(http1::Refusal::BadHost)?;
    Ok(Arrived {
        scheme: connection.scheme,
        source: connection.source,
        version,
        method,
        host,
        path: path.map_err(|_| http1::Refusal::Target)?,
        fields: Fields::Lines(Lines::new(text, heads.take_fields(worker.spare.room()))),
        body,
        upgrade: Upgrade::None,
    })
}
