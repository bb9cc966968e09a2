//! One HTTP/1.1 connection to an origin, on the codec of `base/wire`.
//!
//! ```text
//! Link ── ask: head out, head in ─► Answer ── next … ─► its end ─► Link, if another request may follow
//!                │    ▲               └─ 101 ─► into_io
//!                └ Upload ┘ the request's body goes out while the answer comes in
//! ```
//! An answer that is there counts, even if the upload failed before (RFC 9112 §9.5).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bartizan_tls::ClientStream;
use bartizan_wire::http1::{
    Asked, BodyReader, ChunkLine, Event, FieldRoom, HeadSearch, INTERIM_MAX, Leading, Limits, Persistence, Refusal,
    ResponseHead, write_last_chunk,
};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;

use crate::stream::{Intake, IntakeError, Shed};

/// Bytes that are read from an origin at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// A first read has room for a usual answer.
const FIRST_BYTES: usize = 8 * 1024;

/// A connection to an origin, over TLS or not.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl Io for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Io for ClientStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.io()
    }
}

/// Gives the writing half back at its end.
type Uploading = MaybeDone<BoxFuture<'static, Result<WriteHalf<Box<dyn Io>>, UploadError>>>;

/// A connection between two requests. Dropped, it closes. It holds no buffer.
pub(crate) struct Link {
    read: ReadHalf<Box<dyn Io>>,
    write: WriteHalf<Box<dyn Io>>,
}

/// A request as it goes out.
pub(crate) struct Asking {
    /// First line and fields.
    pub(crate) head: Bytes,
    pub(crate) asked: Asked,
    pub(crate) body: Upload,
}

impl Asking {
    /// A second one like it, if there is no body.
    pub(crate) fn copy(&self) -> Option<Asking> {
        let Asking { head, asked, body } = self;
        matches!(body, Upload::Nothing | Upload::Length(0, _)).then(|| Asking {
            head: head.clone(),
            asked: *asked,
            body: Upload::Nothing,
        })
    }
}

/// A request's body, off the edge's stream, and how it is framed.
pub(crate) enum Upload {
    Nothing,
    Length(u64, Intake),
    Chunked(Intake),
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it closed the connection")]
    Closed,
    #[error("its answer is not valid: {0}")]
    Answer(#[from] Refusal),
    #[error("it sent too many interim answers")]
    Interim,
    #[error("the request's body broke off")]
    Body,
    #[error("it takes the request's body too slowly, and others needed the memory")]
    Untaken,
}

/// Why a request's body did not go out whole.
#[derive(Debug)]
enum UploadError {
    /// It broke off at the edge, or has another length than its head says.
    Edge,
    /// The origin takes no more of it, which is allowed: it may have answered.
    Origin,
    /// The origin takes it too slowly, and others needed the memory.
    Shed,
}

/// No answer came.
pub(crate) struct Lost {
    /// The request, if nothing of it was sent.
    pub(crate) unsent: Option<Asking>,
    pub(crate) error: LinkError,
}

/// An answer whose head is there.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    /// What the head was read from.
    pub(crate) head_bytes: Bytes,
    body: BodyReader,
    read: ReadHalf<Box<dyn Io>>,
    unread: BytesMut,
    /// Bytes that the next read has room for: more if the last one had too little, so that what drips holds little.
    room: usize,
    upload: Uploading,
}

impl Link {
    pub(crate) fn new(io: Box<dyn Io>) -> Link {
        let (read, write) = tokio::io::split(io);
        Link { read, write }
    }

    /// Whether the origin has closed it, as far as we know, or has said something that nobody asked for.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        Pin::new(&mut self.read).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_ready()
    }

    /// Sends a request and waits for the head of its final answer.
    pub(crate) async fn ask(mut self, request: Asking) -> Result<Answer, Lost> {
        match self.write.write(&request.head).await {
            Ok(written) if written > 0 => {
                let Asking { head, asked, body } = request;
                let upload = match body {
                    // Nearly always.
                    Upload::Nothing if written == head.len() => match self.write.flush().await {
                        Ok(()) => MaybeDone::Done(Ok(self.write)),
                        Err(_) => MaybeDone::Done(Err(UploadError::Origin)),
                    },
                    body => maybe_done(upload(self.write, head.slice(written..), body).boxed()),
                };
                read_head(self.read, upload, asked).await.map_err(|error| Lost { unsent: None, error })
            }
            Ok(_) => Err(Lost { unsent: Some(request), error: LinkError::Closed }),
            Err(error) => Err(Lost { unsent: Some(request), error: error.into() }),
        }
    }
}

async fn read_head(mut read: ReadHalf<Box<dyn Io>>, mut upload: Uploading, asked: Asked) -> Result<Answer, LinkError> {
    let mut unread = BytesMut::new();
    for _ in 0..=INTERIM_MAX {
        let mut search = HeadSearch::new(Leading::Nothing);
        let end = loop {
            if let Some(found) = search.find(&unread, &Limits::RESPONSE)? {
                break found.end;
            }
            if receive(&mut read, &mut unread, FIRST_BYTES, &mut upload, Until::Head).await? == 0 {
                return Err(LinkError::Closed);
            }
        };
        let head_bytes = unread.split_to(end).freeze();
        let head = ResponseHead::parse(&head_bytes, asked, &Limits::RESPONSE, FieldRoom::default())?;
        if !head.is_interim() {
            let body = BodyReader::new(head.body);
            return Ok(Answer { head, head_bytes, body, read, unread, room: FIRST_BYTES, upload });
        }
    }
    Err(LinkError::Interim)
}

/// What is read of an answer.
#[derive(Clone, Copy)]
enum Until {
    Head,
    End,
}

/// Reads what comes, and lets the upload go on meanwhile.
async fn receive(
    read: &mut ReadHalf<Box<dyn Io>>,
    to: &mut BytesMut,
    room: usize,
    upload: &mut Uploading,
    until: Until,
) -> Result<usize, LinkError> {
    to.reserve(room);
    let reading = read.read_buf(to);
    tokio::pin!(reading);
    poll_fn(|cx| {
        if let MaybeDone::Future(_) = upload {
            let _ = upload.poll_unpin(cx);
        }
        match (&*upload, until) {
            (MaybeDone::Done(Err(UploadError::Edge)), _) => return Poll::Ready(Err(LinkError::Body)),
            // An answer that is there goes on: its origin wants no more of the request.
            (MaybeDone::Done(Err(UploadError::Shed)), Until::Head) => return Poll::Ready(Err(LinkError::Untaken)),
            _ => {}
        }
        reading.as_mut().poll(cx).map_err(LinkError::Io)
    })
    .await
}

impl Answer {
    /// The next piece of the body; none at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        loop {
            let step = self.body.next(&self.unread)?;
            let used = self.unread.split_to(step.used);
            match step.event {
                Event::Data(range) => return Ok(Some(used.freeze().slice(range))),
                Event::End => return Ok(None),
                Event::Hungry => {}
            }
            if self.unread.is_empty() {
                // What was handed out keeps its memory.
                self.unread = BytesMut::new();
            }
            match receive(&mut self.read, &mut self.unread, self.room, &mut self.upload, Until::End).await? {
                0 => self.body.end_of_input()?,
                read => self.room = if read < self.room { FIRST_BYTES } else { (2 * self.room).min(CHUNK_BYTES) },
            }
        }
    }

    /// The connection, if another request may follow. To be called after the end of the body.
    pub(crate) fn into_link(mut self) -> Option<Link> {
        let may_follow = self.head.persistence == Persistence::KeepAlive && self.unread.is_empty();
        let write = Pin::new(&mut self.upload).take_output()?.ok().filter(|_| may_follow)?;
        Some(Link { read: self.read, write })
    }

    /// What is behind a 101: bytes that came already, and the connection. None if the request did not go out.
    pub(crate) async fn into_io(mut self) -> Option<(Bytes, Box<dyn Io>)> {
        (&mut self.upload).await;
        let write = Pin::new(&mut self.upload).take_output()?.ok()?;
        Some((self.unread.freeze(), self.read.unsplit(write)))
    }
}

/// Sends the rest of the head and then the body, and gives the writing half back.
async fn upload(
    mut write: WriteHalf<Box<dyn Io>>,
    head: Bytes,
    body: Upload,
) -> Result<WriteHalf<Box<dyn Io>>, UploadError> {
    let origin = |_| UploadError::Origin;
    write.write_all(&head).await.map_err(origin)?;
    write.flush().await.map_err(origin)?;
    match body {
        Upload::Nothing => {}
        Upload::Length(mut left, mut receive) => {
            let mut shed = receive.shed();
            while let Some(chunk) = next(&mut receive).await? {
                left = left.checked_sub(chunk.len() as u64).ok_or(UploadError::Edge)?;
                put(&mut write, &chunk, &mut shed).await?;
            }
            if left > 0 {
                return Err(UploadError::Edge);
            }
        }
        Upload::Chunked(mut receive) => {
            let (mut out, mut shed) = (Vec::new(), receive.shed());
            while let Some(chunk) = next(&mut receive).await? {
                let Some(line) = ChunkLine::of(chunk.len()) else { continue };
                out.clear();
                [&*line, &chunk, ChunkLine::END].iter().for_each(|part| out.extend_from_slice(part));
                put(&mut write, &out, &mut shed).await?;
            }
            out.clear();
            write_last_chunk(None, &mut out);
            write.write_all(&out).await.map_err(origin)?;
        }
    }
    write.flush().await.map_err(origin)?;
    Ok(write)
}

async fn next(receive: &mut Intake) -> Result<Option<Bytes>, UploadError> {
    receive.chunk().await.map_err(|error| match error {
        IntakeError::Quic(_) | IntakeError::Http2(_) => UploadError::Edge,
        IntakeError::Shed => UploadError::Shed,
    })
}

/// Writes a piece, and sends it off: more may be long in coming.
async fn put(write: &mut WriteHalf<Box<dyn Io>>, piece: &[u8], shed: &mut Shed) -> Result<(), UploadError> {
    let put = async {
        write.write_all(piece).await?;
        write.flush().await
    };
    tokio::select! {
        biased;
        put = put => put.map_err(|_: io::Error| UploadError::Origin),
        () = shed => Err(UploadError::Shed),
    }
}
