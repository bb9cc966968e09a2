//! Files to and from the API, of any size: a piece at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::Method;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::{Api, BODY_MAX, HEAD_MAX, check_envelope, mute, whole, within};

/// How long a file may take, sent and dealt with.
const UPLOAD_MAX: Duration = Duration::from_secs(3_600);

/// Pieces on their way.
const PIECES_MAX: usize = 4;

/// A form with a file, that is sent as it is fed.
pub struct Upload {
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    sent: Arc<Sent>,
}

/// How far a form is sent.
#[derive(Default)]
pub struct Sent {
    bytes: AtomicU64,
    is_handed_over: AtomicBool,
}

impl Sent {
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether its end is handed to the connection. Before that the edge cannot have it; from then on it may: what waits in
    /// buffers here is lost with this process, and the edge's answer alone says that it has come.
    pub fn is_handed_over(&self) -> bool {
        self.is_handed_over.load(Ordering::Relaxed)
    }
}

/// Feeds an [`Upload`].
pub struct Feed {
    pieces: mpsc::Sender<std::io::Result<Bytes>>,
}

/// What separates the fields of a form: chance enough that no file has it.
const BOUNDARY: &str = "bartizan-7d1f4c0a95e24b6d8a37c2";

impl Upload {
    pub fn with_feed(sent: Arc<Sent>) -> (Feed, Upload) {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        (Feed { pieces: sender }, Upload { pieces, sent })
    }
}

impl Feed {
    /// What stands in front of the file.
    pub async fn begin(&self, proxied: bool) -> bool {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"proxied\"\r\n\r\n{proxied}\r\n--{BOUNDARY}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"zone\"\r\nContent-Type: text/plain\r\n\r\n"
        );
        self.put(head.into()).await
    }

    /// False when nobody takes any more.
    pub async fn put(&self, piece: Bytes) -> bool {
        self.pieces.send(Ok(piece)).await.is_ok()
    }

    pub async fn end(&self) {
        self.put(format!("\r\n--{BOUNDARY}--\r\n").into()).await;
    }

    /// It breaks off: what was sent is no file.
    pub async fn fail(&self, error: std::io::Error) {
        // Whoever takes no more needs not be told.
        let _ = self.pieces.send(Err(error)).await;
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(Ok(piece)) => {
                self.sent.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(error)) => Some(Err(error)),
            None => {
                self.sent.is_handed_over.store(true, Ordering::Relaxed);
                None
            }
        })
    }
}

impl Api {
    /// Sends a form; the answer's envelope, whatever it says.
    pub async fn upload(&self, path: &str, form: Upload) -> anyhow::Result<serde_json::Value> {
        let url = format!("{}{path}", self.base);
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let response = self.ask(Method::POST, &url, Some(&content_type), form.boxed(), UPLOAD_MAX).await?;
        let (status, answer) = whole(&url, response).await?;
        match serde_json::from_slice::<serde_json::Value>(&answer) {
            Ok(envelope) if envelope["errors"].is_array() && !matches!(status.as_u16(), 401 | 403 | 404) => {
                Ok(envelope)
            }
            _ => check_envelope(&url, status, &answer, self.when_refused, self.command),
        }
    }

    /// An answer that is taken as it comes.
    pub async fn download(&self, path: &str) -> anyhow::Result<Download> {
        let url = format!("{}{path}", self.base);
        let empty = http_body_util::Empty::new().map_err(|never| match never {}).boxed();
        let response = self.ask(Method::GET, &url, None, empty, HEAD_MAX).await?;
        if response.status().is_success() {
            return Ok(Download { body: response.into_body(), url });
        }
        let (status, answer) = whole(&url, response).await?;
        let failed = check_envelope(&url, status, &answer, self.when_refused, self.command).err();
        Err(failed.unwrap_or_else(|| anyhow!("{url} answered {status}")))
    }
}

/// A file on its way here.
pub struct Download {
    body: Incoming,
    url: String,
}

impl Download {
    /// The next piece; none behind the last one.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            let frame = within(BODY_MAX, self.body.frame()).await.ok_or_else(|| mute(&self.url, BODY_MAX))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| anyhow!(error)).with_context(|| format!("{} broke off", self.url))?;
            // There is nothing for us in trailers.
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }
}
