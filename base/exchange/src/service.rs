//! Who answers a request without sending it anywhere.

use crate::{LocalBoxFuture, Request, Response};

/// Answers requests in this process: a page, a login, DNS over HTTPS.
///
/// It always has an answer: what goes wrong is a status too. The future and the bodies stay on the calling thread. A body
/// that it does not read is its caller's to get rid of.
pub trait Service {
    /// `request` is as its visitor sent it, without the fields of its connection and of framing; none were added.
    fn answer(&self, request: Request) -> LocalBoxFuture<'_, Response>;
}
