//! The form in which a file comes: multipart/form-data (RFC 7578), of which nothing is held but the piece at hand.

use std::time::{Duration, Instant};

use axum::extract::Request;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header;
use http_body::Body as _;
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::sync::mpsc::Sender;

use crate::error::{Error, Fault};
use crate::extract::Patience;

/// Bytes of a form. A million records are some 50 MB.
const FORM_MAX: u64 = 256 << 20;

/// How long the next piece may take to arrive, and all of them.
const PIECE_WAIT: Duration = Duration::from_secs(30);
const FORM_WAIT: Duration = Duration::from_secs(1_800);

/// Bytes a second that arrive at least, after the first half minute: as of other bodies.
const RATE_MIN: u64 = 32 << 10;

/// Bytes of the field `proxied`.
const WORD_MAX: usize = 64;

/// What a form hands on.
pub(super) enum Piece {
    Of(Bytes),
    /// The file came whole.
    End {
        /// Whether its records are proxied where they do not say it themselves.
        proxied: bool,
    },
}

/// Hands the file on as it comes.
pub(super) async fn receive(request: Request, to: Sender<Piece>) -> Result<(), Error> {
    let form = async {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = multer::parse_boundary(content_type.unwrap_or_default()).map_err(|_| Fault::ImportForm)?;
        // One that says so is refused before a byte of it is asked for (RFC 9110 §10.1.1).
        if request.body().size_hint().lower() > FORM_MAX {
            return Err(Fault::LargeBody.into());
        }
        let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(FORM_MAX));
        fields(Multipart::with_constraints(pieces(request), boundary, limits), to).await
    };
    tokio::time::timeout(FORM_WAIT, form).await.map_err(|_| Fault::SlowBody)?
}

async fn fields(mut form: Multipart<'_>, to: Sender<Piece>) -> Result<(), Error> {
    let (mut proxied, mut has_file) = (false, false);
    while let Some(mut field) = form.next_field().await.map_err(fault)? {
        match field.name() {
            Some("file") if !has_file => {
                has_file = true;
                while let Some(piece) = field.chunk().await.map_err(fault)? {
                    // Whoever reads it says why they read no more.
                    if to.send(Piece::Of(piece)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Some("proxied") => proxied = is_true(&mut field).await?,
            _ => while field.chunk().await.map_err(fault)?.is_some() {},
        }
    }
    if !has_file {
        return Err(Fault::ImportForm.into());
    }
    // As above.
    let _ = to.send(Piece::End { proxied }).await;
    Ok(())
}

async fn is_true(field: &mut Field<'_>) -> Result<bool, Error> {
    let mut word = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(fault)? {
        word.extend_from_slice(&piece[..piece.len().min(WORD_MAX)]);
        word.truncate(WORD_MAX);
    }
    match word.trim_ascii().to_ascii_lowercase().as_slice() {
        b"true" | b"1" => Ok(true),
        b"false" | b"0" | b"" => Ok(false),
        _ => Err(Fault::ImportForm.because("proxied is true or false").at("/proxied")),
    }
}

/// The body, each piece of it in time. Whoever sends on keeps the connection.
fn pieces(request: Request) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
    let patience = request.extensions().get::<Patience>().cloned();
    let body = request.into_body().into_data_stream();
    futures_util::stream::unfold(Some((body, patience, Pace::default())), |state| async {
        let (mut body, patience, mut pace) = state?;
        let asked = Instant::now();
        match tokio::time::timeout(pace.wait(), body.next()).await {
            Ok(Some(Ok(piece))) => {
                patience.iter().for_each(Patience::renew);
                pace.came(piece.len(), asked.elapsed());
                Some((Ok(piece), Some((body, patience, pace))))
            }
            Ok(Some(Err(_))) => Some((Err(Fault::ImportForm.into()), None)),
            Ok(None) => None,
            Err(_) => Some((Err(Fault::SlowBody.into()), None)),
        }
    })
}

/// How fast a form arrives. What the edge itself takes for it does not count.
#[derive(Default)]
struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    fn came(&mut self, bytes: usize, waited: Duration) {
        self.bytes += bytes as u64;
        self.waited += waited;
    }

    /// How long the next piece may take.
    fn wait(&self) -> Duration {
        let all = PIECE_WAIT + Duration::from_secs(self.bytes / RATE_MIN);
        all.saturating_sub(self.waited).min(PIECE_WAIT)
    }
}

fn fault(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => Fault::LargeBody.into(),
        multer::Error::StreamReadFailed(error) => {
            error.downcast::<Error>().map_or_else(|_| Fault::ImportForm.into(), |error| *error)
        }
        error => Fault::ImportForm.because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_a_least_rate() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(), PIECE_WAIT);
        // A byte now and then is no form.
        pace.came(1, Duration::from_secs(29));
        assert_eq!(pace.wait(), Duration::from_secs(1));
        pace.came(1, Duration::from_secs(1));
        assert_eq!(pace.wait(), Duration::ZERO);
        // What is fast enough may rest for a while, and never longer than that.
        pace.came(20 * RATE_MIN as usize, Duration::ZERO);
        assert_eq!(pace.wait(), Duration::from_secs(20));
        pace.came(2_000 * RATE_MIN as usize, Duration::from_secs(100));
        assert_eq!(pace.wait(), PIECE_WAIT);
    }
}
