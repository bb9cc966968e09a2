//! Streams come in from the edge: each is a request or a TCP connection, or carries a call: a new
//! configuration, or one about a UDP session.

use std::sync::Arc;

use bartizan_dial::OriginDialer;
use bartizan_live::{Generation, Live};
use bartizan_quic::IntakeError;
use bartizan_rpc::{
    Applied, ConnectKind, HeadError, Metadata, RpcThread, StreamKind, read_request, read_stream_kind, serve_connector,
};
use bartizan_tls::Now;
use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::limits::Limits;
use crate::link::LinkError;
use crate::untaken::{Arriving, Untaken};
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

/// Serves one stream to its end.
pub(crate) async fn serve(send: SendStream, mut receive: Arriving, shared: Shared, sessions: udp::Calls) {
    match timeout(shared.limits.head_time, read_stream_kind(&mut receive.stream)).await {
        Ok(Ok(StreamKind::Data)) => serve_data(send, receive, shared).await,
        Ok(Ok(StreamKind::Rpc)) => serve_call(send, receive.stream, shared, sessions).await,
        Ok(Err(error)) => tracing::debug!(%error, "a stream from the edge"),
        Err(_) => shared.mention(Event::StreamGivenUp { why: "it said nothing" }),
    }
}

async fn serve_data(mut send: SendStream, mut receive: Arriving, shared: Shared) {
    let served = match timeout(shared.limits.head_time, read_request(&mut receive.stream)).await {
        // A service is named by the host that it answers for.
        Ok(Ok(request)) if request.kind == ConnectKind::Tcp && request.text(Metadata::HOST).is_some() => {
            http2::serve(&request, &mut send, receive, &shared).await
        }
        Ok(Ok(request)) if request.kind == ConnectKind::Tcp => tcp::serve(&request, &mut send, receive, &shared).await,
        Ok(Ok(request)) => pipeline::serve(request, &mut send, receive, &shared).await,
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            shared.mention(Event::StreamGivenUp { why: "its head did not come" });
            Err(StreamError::Silent)
        }
    };
    match served {
        Ok(()) => {
            // It fails when the edge has lost interest.
            let _ = send.finish();
            // Written is not delivered: until the edge has all of it, the connection must not be closed.
            let _ = send.stopped().await;
        }
        Err(error) => {
            tracing::debug!(%error, "a request's stream broke off");
            // An answer that ends early must not look whole.
            let _ = send.reset(0_u32.into());
        }
    }
}

/// A request's stream broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("no head in time")]
    Silent,
    #[error("the edge takes no more of the answer: {0}")]
    Write(#[from] quinn::WriteError),
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

/// Puts a configuration in force, if it is newer and can be served. What is in force stays if not.
fn apply(rules: &Live<Ingress>, now: Option<&Now>, version: i32, json: &[u8]) -> (Applied, Option<Event>) {
    let in_force = || i32::try_from(rules.snapshot().number as i64 - 1).unwrap_or(i32::MAX);
    if version <= in_force() {
        return (Applied { version: in_force(), error: None }, None);
    }
    match Ingress::parse_pushed(now, json) {
        Ok(value) => {
            let unserved = value.unserved();
            // Versions above what is in force are not negative: -1 is the least that can be in force.
            let number = u64::try_from(i64::from(version) + 1).unwrap_or(0);
            rules.publish(Generation { number, value });
            let event = Event::ConfigurationApplied { version, unserved: unserved.clone() };
            (Applied { version: in_force(), error: unserved }, Some(event))
        }
        Err(error) => {
            let why = error.to_string();
            let event = Event::ConfigurationRejected { why: why.clone() };
            (Applied { version: in_force(), error: Some(why) }, Some(event))
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
