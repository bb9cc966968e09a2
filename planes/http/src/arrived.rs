//! A request as a visitor sent it: checked, and without types of an HTTP library.

use bartizan_exchange::{Body, Request, Upgrade};
use bartizan_firewall::Source;
use bartizan_names::Host;
use bartizan_routes::Scheme;
use bartizan_wire::http1::Rewrite;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Version};

use crate::fields::{Fields, Sink};
use crate::limits::{ORIGIN_SHARED_FIELD_BYTES_MAX, ORIGIN_SHARED_HEAD_BYTES_MAX};
use crate::spare::Spare;
use crate::websocket::ByConnect;

/// Made by `ingress`, which keeps it until the answer has left.
pub(crate) struct Arrived {
    pub(crate) scheme: Scheme,
    pub(crate) source: Source,
    pub(crate) version: Version,
    pub(crate) method: Method,
    pub(crate) host: Host,
    pub(crate) path: PathAndQuery,
    /// All of them. Those that must not reach an origin are still among them.
    pub(crate) fields: Fields,
    /// Taken by who sends it on.
    pub(crate) body: Body,
    pub(crate) upgrade: Upgrade,
    /// None: if it is for a WebSocket, it is the connection that will be switched.
    pub(crate) by_connect: Option<ByConnect>,
}

impl Arrived {
    /// The request for who answers it in this process, with its body and without the fields of its connection.
    pub(crate) fn take_request(&mut self) -> Request {
        Request {
            visitor: self.source.address,
            method: self.method.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
            headers: HeaderMap::with_capacity(self.fields.count()).pass(&self.fields, |_, _| Rewrite::Keep),
            body: std::mem::replace(&mut self.body, Body::empty()),
            upgrade: self.upgrade,
        }
    }

    /// Whether it is one of gRPC, which is HTTP/2 and nothing else: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
    // Hot: once a request through a tunnel, or to an origin over TLS.
    pub(crate) fn is_grpc(&self) -> bool {
        self.upgrade == Upgrade::None && self.fields.values("content-type").any(is_grpc)
    }

    /// Whether servers may find its head too large.
    // Hot: once a request to an origin that may speak HTTP/2.
    pub(crate) fn is_large(&self) -> bool {
        let path = self.path.as_str().len();
        let whole = self.fields.bytes().max(path);
        let longest = || self.fields.longest().max(path);
        whole > ORIGIN_SHARED_HEAD_BYTES_MAX
            || (whole > ORIGIN_SHARED_FIELD_BYTES_MAX && longest() > ORIGIN_SHARED_FIELD_BYTES_MAX)
    }

    /// Gives its memory to the next head. What is left of the body is let go.
    pub(crate) fn let_go(&mut self, spare: &Spare) {
        self.body = Body::empty();
        let fields = std::mem::replace(&mut self.fields, Fields::Map(HeaderMap::new()));
        fields.into_room().into_iter().for_each(|room| spare.give_room(room));
    }
}

/// Not `application/grpc-web`, which is for HTTP/1.1 too.
fn is_grpc(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    let Some((name, rest)) = content_type.split_at_checked(NAME.len()) else { return false };
    name.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_by_its_content_type() {
        for (content_type, expect) in [
            ("application/grpc", true),
            ("Application/GRPC+proto", true),
            ("application/grpc ;x=y", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grp", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), expect, "{content_type}");
        }
    }
}
