//! What a visitor of HTTP/1.1 is told before its answer: to go on with its body, and interim answers of the origin
//! (RFC 9110 §15.2). A visitor of HTTP/1.0 must not be told, and one of HTTP/2 cannot: the library has no way.

use std::cell::{Cell, RefCell};

use bartizan_wire::http1::{Body, HeadWriter};
use bytes::BytesMut;
use http::StatusCode;

use crate::fields::Fields;
use crate::forward;
use crate::limits::INTERIM_BYTES_MAX;

/// Asks for the body (RFC 9110 §15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Of one request. Who composes the answer adds to it, and who writes to the visitor takes from it.
#[derive(Default)]
pub(crate) struct Interims {
    are_taken: Cell<bool>,
    /// What is to be written.
    pub(crate) out: RefCell<BytesMut>,
}

impl Interims {
    /// For another request, whose visitor takes none.
    pub(crate) fn reset(&self) {
        self.are_taken.set(false);
        if !self.out.borrow().is_empty() {
            self.out.take();
        }
    }

    /// The visitor takes them.
    pub(crate) fn take(&self) {
        self.are_taken.set(true);
    }

    pub(crate) fn ask_for_body(&self) {
        self.out.borrow_mut().extend_from_slice(CONTINUE);
    }

    /// Passes on what an origin said, if the visitor takes it. Not 100: nobody asked the origin for that, and the visitor
    /// gets its own.
    pub(crate) fn pass_on(&self, status: StatusCode, fields: &Fields) {
        if !self.are_taken.get() || status == StatusCode::CONTINUE {
            return;
        }
        let mut head = Vec::new();
        let writer = HeadWriter::response(&mut head, status.as_u16(), status.canonical_reason().unwrap_or_default());
        let writer = forward::interim_to_visitor(fields, writer);
        let mut out = self.out.borrow_mut();
        // It is of use for a moment, so what has no room is left out.
        if writer.body(Body::None).end().is_ok() && out.len() + head.len() <= INTERIM_BYTES_MAX {
            out.extend_from_slice(&head);
        }
    }
}
