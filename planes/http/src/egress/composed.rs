//! A request as it goes to an origin: its head as bytes, in origin form, with a `Host` and with framing.

use std::rc::Rc;

use bartizan_exchange::{Body, Length, Upgrade};
use bartizan_wire::http1::{self, Asked, HeadWriter, Illegal};

use crate::arrived::Arrived;
use crate::clients::Told;
use crate::forward::{self, Provenance};

pub(crate) struct Composed {
    pub(super) head: Vec<u8>,
    pub(super) body: Body,
    pub(super) asked: Asked,
    /// Whether it may be sent again after all of it has left (RFC 9110 §9.2.2).
    pub(super) may_repeat: bool,
    /// Whose fields may not come behind the body either.
    pub(super) client: Option<Rc<Told>>,
}

impl Composed {
    /// Written to `head`, which is empty. Fails if a part of the request cannot be written, which its types do not allow.
    // Hot: once a request. No allocation but for a larger `head`.
    pub(crate) fn new(
        arrived: &Arrived,
        body: Body,
        provenance: &Provenance<'_>,
        mut head: Vec<u8>,
    ) -> Result<Composed, Illegal> {
        let Arrived { method, host, path, fields, upgrade, .. } = arrived;
        let mut writer = HeadWriter::request(&mut head, method.as_str(), [path.as_str(), ""]);
        writer = writer.field(b"Host", host.as_str().as_bytes());
        writer = forward::to_origin(method, fields, provenance, writer);
        if *upgrade == Upgrade::WebSocket {
            writer = writer.field(b"Connection", b"Upgrade").field(b"Upgrade", b"websocket");
        }
        let may_repeat = body.length().is_nothing() && method.is_idempotent();
        let framing = match body.length() {
            Length::Absent => http1::Body::None,
            Length::Known(length) => http1::Body::Length(length),
            Length::Unknown => http1::Body::Chunked,
        };
        writer.body(framing).end()?;
        let client = provenance.client.map(Rc::clone);
        Ok(Composed { head, body, asked: Asked::by(method.as_str()), may_repeat, client })
    }
}
