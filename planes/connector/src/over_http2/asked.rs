//! What an edge asks, from the head of its request: the same as it says on a stream of QUIC.

use bartizan_rpc::over_http2::{CONFIGURATION, CONTROL_STREAM, OWN_PREFIX, TCP_FIELD, UPGRADE_FIELD, WEBSOCKET};
use bartizan_rpc::{ConnectKind, ConnectRequest, Metadata};
use bartizan_wire::http1::{Class, Fields};
use bartizan_wire::http2::RequestHead;
use bytes::Bytes;

/// What a stream is for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The edge's calls to register and to leave, of which there is one.
    Control,
    Configuration,
    Request(ConnectRequest),
    /// None of it can be served, for this reason.
    Unfit(&'static str),
}

/// Whether a body follows, of a length that nobody says.
const CHUNKED: (&str, &[u8]) = ("Transfer-Encoding", b"chunked");

impl Asked {
    /// `ends`: no body follows.
    pub(super) fn read(head: RequestHead, text: &[u8], fields: Fields<'_>, ends: bool) -> Asked {
        let named = |name: &str| {
            let found = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
            found.map(|field| field.value)
        };
        let upgrade = named(UPGRADE_FIELD);
        let kind = match upgrade {
            Some(what) if what == CONTROL_STREAM.as_bytes() => return Asked::Control,
            Some(what) if what == CONFIGURATION.as_bytes() => return Asked::Configuration,
            _ if named(TCP_FIELD).is_some() => ConnectKind::Tcp,
            Some(what) if what == WEBSOCKET.as_bytes() => ConnectKind::WebSocket,
            Some(_) => return Asked::Unfit("the edge asks for something that this connector does not know"),
            None => ConnectKind::Http,
        };
        let host = head.host(text);
        if kind == ConnectKind::Tcp {
            let ours = [Metadata::CLIENT, Metadata::DIALLED, Metadata::HOST];
            let said = |name| Some(Metadata::new(name, Bytes::copy_from_slice(named(name)?)));
            let metadata = ours.into_iter().filter_map(said).collect();
            return Asked::Request(ConnectRequest { dest: host.to_owned(), kind, metadata });
        }
        let Ok(path) = str::from_utf8(head.path(text)) else { return Asked::Unfit("the path is no text") };
        let mut metadata = vec![
            Metadata::new(Metadata::METHOD, Bytes::copy_from_slice(head.method(text))),
            Metadata::new(Metadata::HOST, Bytes::copy_from_slice(host.as_bytes())),
        ];
        let goes_on =
            |name: &str| !name.get(..OWN_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_PREFIX));
        let end_to_end = fields.iter().filter(|field| field.class == Class::EndToEnd);
        metadata.extend(end_to_end.filter_map(|field| {
            let name = str::from_utf8(field.name).ok().filter(|name| goes_on(name))?;
            Some(Metadata::header(name, field.value))
        }));
        match head.length {
            Some(length) => metadata.push(Metadata::header("Content-Length", length.to_string().as_bytes())),
            None if ends || kind == ConnectKind::WebSocket => {}
            None => metadata.push(Metadata::header(CHUNKED.0, CHUNKED.1)),
        }
        Asked::Request(ConnectRequest { dest: format!("http://{host}{path}"), kind, metadata })
    }
}
