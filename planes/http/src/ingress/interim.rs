//! What a visitor is told before its answer: to go on with its body, and interim answers of the origin (RFC 9110 §15.2).
//! A visitor of HTTP/1.0 must not be told.

use std::cell::{Cell, RefCell};

use bartizan_wire::http1::{Body, HeadWriter};
use bytes::BytesMut;
use http::{HeaderMap, StatusCode};

use crate::fields::Fields;
use crate::forward;
use crate::limits::INTERIM_BYTES_MAX;

/// Asks for the body (RFC 9110 §15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Of one request. Who composes the answer adds to it, and who writes to the visitor takes from it.
#[derive(Default)]
pub(crate) struct Interims {
    taken_as: Cell<Form>,
    /// So much of it is held of the memory of the visitor's connection: what an origin said.
    held: Cell<usize>,
    /// What is to be written.
    pub(crate) out: RefCell<BytesMut>,
    /// The same for who writes no lines.
    maps: RefCell<Vec<(StatusCode, HeaderMap)>>,
}

/// How the visitor takes them, if it does.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    #[default]
    None,
    Lines,
    Maps,
}

impl Interims {
    /// The request is over: what was not taken is forgotten, and no more is. Says how much of the connection's memory that held.
    // Hot: once a request.
    pub(crate) fn forget(&self) -> usize {
        if self.taken_as.replace(Form::None) != Form::None {
            if !self.out.borrow().is_empty() {
                self.out.take();
            }
            self.maps.borrow_mut().clear();
        }
        self.held.take()
    }

    /// So much of what was to be written has been. Says how much of the connection's memory that held.
    pub(crate) fn written(&self, bytes: usize) -> usize {
        let held = self.held.get();
        let left = held.saturating_sub(bytes);
        self.held.set(left);
        held - left
    }

    /// The visitor takes them, as HTTP/1.1 has them.
    pub(crate) fn take(&self) {
        self.taken_as.set(Form::Lines);
    }

    /// The visitor takes them, by [`Interims::give`].
    pub(crate) fn take_maps(&self) {
        self.taken_as.set(Form::Maps);
    }

    pub(crate) fn ask_for_body(&self) {
        self.out.borrow_mut().extend_from_slice(CONTINUE);
    }

    /// Passes on what an origin said, if the visitor takes it. Not 100: nobody asked the origin for that, and the visitor
    /// gets its own. It is of use for a moment, so what has no room is left out: here, or where `hold` finds no memory of the
    /// connection for so many octets.
    pub(crate) fn pass_on(&self, status: StatusCode, fields: &Fields, hold: impl FnOnce(usize) -> bool) {
        match self.taken_as.get() {
            _ if status == StatusCode::CONTINUE => {}
            Form::None => {}
            Form::Lines => self.write_lines(status, fields, hold),
            Form::Maps => {
                let hints = forward::interim_to_visitor(fields, HeaderMap::new());
                let bytes = bytes_of(&hints);
                if self.has_room_for(bytes, hold) {
                    self.maps.borrow_mut().push((status, hints));
                }
            }
        }
    }

    /// Hands over what is to be written. Says how much of the connection's memory it held.
    // Hot: some times a request.
    pub(crate) fn give(&self, mut write: impl FnMut(StatusCode, &HeaderMap)) -> usize {
        let mut maps = self.maps.borrow_mut();
        maps.drain(..).for_each(|(status, hints)| write(status, &hints));
        self.held.take()
    }

    fn write_lines(&self, status: StatusCode, fields: &Fields, hold: impl FnOnce(usize) -> bool) {
        let mut head = Vec::new();
        let writer = HeadWriter::response(&mut head, status.as_u16(), status.canonical_reason().unwrap_or_default());
        let writer = forward::interim_to_visitor(fields, writer);
        if writer.body(Body::None).end().is_ok() && self.has_room_for(head.len(), hold) {
            self.out.borrow_mut().extend_from_slice(&head);
        }
    }

    fn has_room_for(&self, bytes: usize, hold: impl FnOnce(usize) -> bool) -> bool {
        let held = self.held.get() + bytes;
        let has_room = held <= INTERIM_BYTES_MAX && hold(bytes);
        if has_room {
            self.held.set(held);
        }
        has_room
    }
}

fn bytes_of(hints: &HeaderMap) -> usize {
    hints.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
