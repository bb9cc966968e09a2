//! A request in our types, if it has one meaning only (RFC 9113 §8.3.1).

use std::rc::Rc;

use bartizan_exchange::Upgrade;
use bartizan_names::Host;
use bartizan_wire::http1;
use bartizan_wire::http2::{HeadRoom, RequestHead};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Version};

use super::session::Session;
use super::stream::{Arriving, Stream};
use crate::arrived::Arrived;
use crate::fields::{Fields, Lines};
use crate::ingress::refusal::{Refusal, check_method};
use crate::ingress::requests::UnderWay;

/// `text`: where the head lies.
pub(super) fn arrive(
    head: &RequestHead,
    (text, heads): (Bytes, &mut HeadRoom),
    session: &Rc<Session>,
    (stream, under_way): (&Rc<Stream>, &Rc<UnderWay>),
) -> Result<Arrived, Refusal> {
    check_method(head.method(&text))?;
    let method = Method::from_bytes(head.method(&text)).map_err(|_| http1::Refusal::Malformed)?;
    let path = match head.path(&text) {
        b"/" => Ok(PathAndQuery::from_static("/")),
        // Shares the memory of the head, as values do.
        path => PathAndQuery::from_maybe_shared(text.slice_ref(path)),
    };
    let host = Host::parse(head.host(&text)).ok_or(http1::Refusal::BadHost)?;
    let body = Arriving {
        session: Rc::clone(session),
        stream: Rc::clone(stream),
        under_way: Rc::clone(under_way),
        is_held_back: head.expects_continue,
        lent: 0,
    };
    let (connection, spare) = (&session.connection, &session.worker.spare);
    Ok(Arrived {
        scheme: connection.scheme,
        source: connection.source,
        version: Version::HTTP_2,
        method,
        host,
        path: path.map_err(|_| http1::Refusal::Target)?,
        fields: Fields::Lines(Lines::new(text, heads.take_fields(spare.room()))),
        body: body.into_body(head.length),
        upgrade: Upgrade::None,
    })
}
