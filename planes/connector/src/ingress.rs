//! Streams come in from the edge: each is a request or a TCP connection, or carries a call: a new
//! configuration, or one about a UDP session.

use std::sync::Arc;

use bartizan_dial::OriginDialer;
use bartizan_live::{Generation, Live};
use bartizan_names::OriginFault;
use bartizan_rpc::over_http2::{encode_applied, read_configuration};
use bartizan_rpc::{
    Applied, CONFIGURATION_BYTES_MAX, ConnectKind, ConnectRequest, HeadError, Metadata, RpcThread, StreamKind,
    read_request, read_stream_kind, serve_connector,
};
use bartizan_tls::Now;
use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::limits::Limits;
use crate::link::LinkError;
use crate::over_http2::{Arrived, Asked, Closed, Reader, Writer};
use crate::pipeline::fail;
use crate::stream::{Arriving, IntakeError, Outlet, WriteError};
use crate::untaken::{Carried, Untaken};
use crate::{Event, Ingress, http2, pipeline, tcp, udp};

/// What all streams share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The generation is the version of the edge's configuration plus one; 0 are the rules that we started with.
    pub(crate) rules: Live<Ingress>,
    pub(crate) origins: Arc<OriginDialer>,
    pub(crate) now: Option<Now>,
    pub(crate) rpc: RpcThread,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) untaken: Untaken,
    pub(crate) limits: Limits,
}

impl Shared {
    /// Reports what may be lost when nobody reads.
    pub(crate) fn mention(&self, event: Event) {
        let _ = self.events.try_send(event);
    }
}

/// Serves one stream of QUIC to its end.
pub(crate) async fn serve(
    (send, mut receive): (SendStream, RecvStream),
    on: Arc<Carried>,
    shared: Shared,
    sessions: udp::Calls,
) {
    match timeout(shared.limits.head_time, read_stream_kind(&mut receive)).await {
        Ok(Ok(StreamKind::Data)) => serve_data(send, receive, on, shared).await,
        Ok(Ok(StreamKind::Rpc)) => serve_call(send, receive, shared, sessions).await,
        Ok(Err(error)) => tracing::debug!(%error, "a stream from the edge"),
        Err(_) => shared.mention(Event::StreamGivenUp { why: "it said nothing" }),
    }
}

async fn serve_data(send: SendStream, mut receive: RecvStream, on: Arc<Carried>, shared: Shared) {
    let mut send = Outlet::Quic(send);
    let served = match timeout(shared.limits.head_time, read_request(&mut receive)).await {
        Ok(Ok(request)) => serve_request(request, &mut send, Arriving::Quic(receive, on), &shared).await,
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            shared.mention(Event::StreamGivenUp { why: "its head did not come" });
            Err(StreamError::Silent)
        }
    };
    end(send, served).await;
}

/// Serves one stream of HTTP/2 to its end.
pub(crate) async fn serve_over_http2(arrived: Arrived, shared: Shared) {
    let Arrived { asked, reader, writer } = arrived;
    let asked = match asked {
        Asked::Configuration => return configure(reader, writer, &shared).await,
        asked => asked,
    };
    let mut send = Outlet::Http2(writer);
    let served = match asked {
        Asked::Request(request) => serve_request(request, &mut send, Arriving::Http2(reader), &shared).await,
        Asked::Unfit(why) => fail(&mut send, why.to_owned(), OriginFault::Untold).await,
        Asked::Control | Asked::Configuration => {
            fail(&mut send, "the connection has its control stream".to_owned(), OriginFault::Untold).await
        }
    };
    end(send, served).await;
}

async fn serve_request(
    request: ConnectRequest,
    send: &mut Outlet,
    receive: Arriving,
    shared: &Shared,
) -> Result<(), StreamError> {
    match request.kind {
        // A service is named by the host that it answers for.
        ConnectKind::Tcp if request.text(Metadata::HOST).is_some() => {
            http2::serve(&request, send, receive, shared).await
        }
        ConnectKind::Tcp => tcp::serve(&request, send, receive, shared).await,
        ConnectKind::Http | ConnectKind::WebSocket => pipeline::serve(request, send, receive, shared).await,
    }
}

async fn end(mut send: Outlet, served: Result<(), StreamError>) {
    match served {
        Ok(()) => send.deliver().await,
        Err(error) => {
            tracing::debug!(%error, "a request's stream broke off");
            // An answer that ends early must not look whole.
            send.reset();
        }
    }
}

/// Takes a configuration that came over HTTP/2.
async fn configure(mut reader: Reader, writer: Writer, shared: &Shared) {
    let mut send = Outlet::Http2(writer);
    let document = async {
        let mut all = Vec::new();
        while let Some(piece) = reader.chunk().await? {
            all.extend_from_slice(&piece);
            if all.len() > CONFIGURATION_BYTES_MAX {
                return Ok(None);
            }
        }
        Ok::<_, StreamError>(Some(all))
    };
    let read = match timeout(shared.limits.call_time, document).await {
        Ok(Ok(Some(document))) => read_configuration(&document).map_err(|error| error.to_string()),
        Ok(Ok(None)) => Err(format!("the configuration is larger than {CONFIGURATION_BYTES_MAX} bytes")),
        Ok(Err(error)) => return end(send, Err(error)).await,
        Err(_) => {
            shared.mention(Event::StreamGivenUp { why: "its configuration did not come" });
            return end(send, Err(StreamError::Silent)).await;
        }
    };
    let (applied, event) = match read {
        Ok((version, document)) => apply(&shared.rules, shared.now.as_ref(), version, &document),
        Err(why) => {
            let applied = Applied { version: in_force(&shared.rules), error: Some(why.clone()) };
            (applied, Some(Event::ConfigurationRejected { why }))
        }
    };
    event.into_iter().for_each(|event| shared.mention(event));
    let head = send.head("", std::iter::empty);
    let said = send.begin(head, encode_applied(&applied)).await;
    end(send, said.map_err(StreamError::from)).await;
}

/// A request's stream broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("no head in time")]
    Silent,
    #[error("the edge takes no more of the answer: {0}")]
    Write(#[from] WriteError),
    #[error("the edge gave the request up")]
    GivenUp,
    #[error("the origin broke off its answer: {0}")]
    Origin(#[from] LinkError),
    #[error("the upgraded connection broke: {0}")]
    Upgraded(#[source] std::io::Error),
    #[error("the connection to the origin broke: {0}")]
    Tcp(#[source] std::io::Error),
    #[error("its host has another service now")]
    Moved,
    #[error("the client's side broke off: {0}")]
    Read(#[from] IntakeError),
    #[error("the edge's side broke off: {0}")]
    Asked(#[from] Closed),
}

async fn serve_call(send: SendStream, receive: RecvStream, shared: Shared, sessions: udp::Calls) {
    let Shared { rules, rpc, events, limits, now, .. } = shared.clone();
    let apply = move |version, json: &[u8]| {
        let (applied, event) = apply(&rules, now.as_ref(), version, json);
        if let Some(event) = event {
            let _ = events.try_send(event);
        }
        applied
    };
    // The edge hangs up after its one call, and how it does so is no news.
    if timeout(limits.call_time, rpc.run(move || serve_connector(receive, send, apply, sessions))).await.is_err() {
        shared.mention(Event::StreamGivenUp { why: "its call did not end" });
    }
}

/// The version of the edge's configuration that is in force; -1 if none came.
fn in_force(rules: &Live<Ingress>) -> i32 {
    i32::try_from(rules.snapshot().number as i64 - 1).unwrap_or(i32::MAX)
}

/// Puts a configuration in force, if it is newer and can be served. What is in force stays if not.
fn apply(rules: &Live<Ingress>, now: Option<&Now>, version: i32, json: &[u8]) -> (Applied, Option<Event>) {
    if version <= in_force(rules) {
        return (Applied { version: in_force(rules), error: None }, None);
    }
    match Ingress::parse_pushed(now, json) {
        Ok(value) => {
            let unserved = value.unserved();
            // Versions above what is in force are not negative: -1 is the least that can be in force.
            let number = u64::try_from(i64::from(version) + 1).unwrap_or(0);
            rules.publish(Generation { number, value });
            let event = Event::ConfigurationApplied { version, unserved: unserved.clone() };
            (Applied { version: in_force(rules), error: unserved }, Some(event))
        }
        Err(error) => {
            let why = error.to_string();
            let event = Event::ConfigurationRejected { why: why.clone() };
            (Applied { version: in_force(rules), error: Some(why) }, Some(event))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OriginRequest;

    #[test]
    fn only_newer_configurations_that_can_be_served_are_taken() {
        let rules = Live::new(Ingress::single("hello_world", OriginRequest::default()).unwrap());
        let good = r#"{"ingress": [{"service": "http_status:200"}]}"#;
        let bad = r#"{"ingress": [{"hostname": "a", "service": "http_status:200"}]}"#;
        let part = r#"{"ingress": [{"hostname": "a", "service": "tcp://b"}, {"service": "http_status:200"}]}"#;
        for (version, json, in_force, outcome) in [
            (-1, good, -1, ""),
            (0, bad, -1, "the last ingress rule"),
            (0, good, 0, "applied"),
            (0, bad, 0, ""),
            (7, good, 7, "applied"),
            (6, good, 7, ""),
            (8, "", 7, "the configuration is not"),
            (9, part, 9, "in part: rule 1: service"),
            (i32::MAX, good, i32::MAX, "applied"),
        ] {
            let (applied, event) = apply(&rules, None, version, json.as_bytes());
            assert_eq!(applied.version, in_force, "{version} {json}");
            let text = match event {
                Some(Event::ConfigurationApplied { unserved: Some(why), .. }) => format!("in part: {why}"),
                Some(Event::ConfigurationApplied { unserved: None, .. }) => "applied".to_owned(),
                Some(Event::ConfigurationRejected { why }) => why,
                _ => String::new(),
            };
            assert!(text.starts_with(outcome) && text.is_empty() == outcome.is_empty(), "{version} {json}: {text}");
        }
    }
}
