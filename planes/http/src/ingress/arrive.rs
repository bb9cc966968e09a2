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
use crate::websocket::ByConnect;
use crate::worker::Worker;

/// How what follows the head has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Not too slowly.
    Steady,
    /// The same, once it was asked for (RFC 9110 §10.1.1).
    HeldBack,
    /// As it likes: it is what is said by WebSocket.
    Free,
}

impl Pace {
    pub(super) fn of(head: &RequestHead) -> Pace {
        match head {
            RequestHead { to_websocket: true, .. } => Pace::Free,
            RequestHead { expects_continue: true, .. } => Pace::HeldBack,
            _ => Pace::Steady,
        }
    }

    /// Whether its sender waits to be asked for it. Once.
    pub(super) fn is_to_be_asked_for(&mut self) -> bool {
        let is_held_back = *self == Pace::HeldBack;
        if is_held_back {
            *self = Pace::Steady;
        }
        is_held_back
    }
}

/// `text`: where the head lies.
pub(super) fn arrive(
    (head, version): (&RequestHead, Version),
    (text, heads): (Bytes, &mut HeadRoom),
    mut body: Body,
    connection: &Connection,
    worker: &Worker,
) -> Result<Arrived, Refusal> {
    let method = if head.to_websocket {
        // As an origin is asked.
        Method::GET
    } else {
        check_method(head.method(&text))?;
        Method::from_bytes(head.method(&text)).map_err(|_| http1::Refusal::Malformed)?
    };
    let path = match head.path(&text) {
        b"/" => Ok(PathAndQuery::from_static("/")),
        // Shares the memory of the head, as values do.
        path => PathAndQuery::from_maybe_shared(text.slice_ref(path)),
    };
    let path = path.map_err(|_| http1::Refusal::Target)?;
    let host = Host::parse(head.host(&text)).ok_or(http1::Refusal::BadHost)?;
    let mut fields = Fields::Lines(Lines::new(text, heads.take_fields(worker.spare.room())));
    let (mut upgrade, mut by_connect) = (Upgrade::None, None);
    if head.to_websocket {
        upgrade = Upgrade::WebSocket;
        let said = std::mem::replace(&mut body, Body::empty());
        fields.edit(|fields| by_connect = Some(ByConnect::new(said, fields)));
    }
    Ok(Arrived {
        scheme: connection.scheme,
        source: connection.source,
        version,
        method,
        host,
        path,
        fields,
        body,
        upgrade,
        by_connect,
    })
}
