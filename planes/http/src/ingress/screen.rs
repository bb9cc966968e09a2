//! Passes the bytes of an HTTP/1.1 connection on only after they were checked. No I/O.
//!
//! ```text
//! Head ──► Length ──┐
//!  ▲ └───► Chunks ──┤      a head is held back until it is whole and was checked; bodies pass as they come
//!  │ └───► Switching ─► Raw
//!  └────────────────┘
//! ```
//! The screen follows the framing so that it knows where the next head begins, on connections with many requests.

use super::chunks::{Chunks, Progress};
use super::head::{self, End, Follows, Refusal};
use crate::limits::HEAD_BYTES_MAX;

pub(crate) struct Screen {
    state: State,
    /// Heads that were let through.
    requests: u64,
}

/// Where in the stream of requests we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A head, of which so many bytes were searched for its end.
    Head {
        scanned: usize,
        blank: BlankLine,
    },
    Length(u64),
    Chunks(Chunks),
    /// A request for another protocol is not answered yet. Nothing passes until then.
    Switching,
    /// Not HTTP/1.1 any more, or never: all passes.
    Raw,
    /// The head that comes next breaks the rules. Nothing passes any more.
    Refused(Refusal),
    /// The body under way breaks the rules. Nothing passes any more.
    BadBody,
}

/// One empty line in front of a request is passed over, as RFC 9112 §2.2 asks; a stream of them is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlankLine {
    Allowed,
    Seen,
}

const NEXT_HEAD: State = State::Head { scanned: 0, blank: BlankLine::Allowed };

impl Screen {
    pub(crate) const fn new() -> Screen {
        Screen { state: NEXT_HEAD, requests: 0 }
    }

    /// A screen that lets everything pass, for protocols with a framing of their own.
    pub(crate) const fn open() -> Screen {
        Screen { state: State::Raw, requests: 0 }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// After `Switching`: the answer is known.
    pub(crate) fn switched(&mut self, upgraded: Upgraded) {
        self.state = match upgraded {
            Upgraded::Yes => State::Raw,
            Upgraded::No => NEXT_HEAD,
        };
    }

    /// How many of these bytes, from the front, may pass. The rest is to be shown again, with what comes behind it.
    // Hot: once a read. No allocation.
    pub(crate) fn admit(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        loop {
            let rest = &bytes[passed..];
            match self.step(rest) {
                Some(0) | None => return passed,
                Some(more) => passed += more,
            }
        }
    }

    /// One state's worth of bytes; none or 0 when nothing more can be said yet.
    fn step(&mut self, rest: &[u8]) -> Option<usize> {
        match self.state {
            State::Head { scanned, blank } => self.admit_head(rest, scanned, blank),
            State::Length(left) => {
                let here = left.min(rest.len() as u64);
                self.state = if here == left { NEXT_HEAD } else { State::Length(left - here) };
                Some(here as usize)
            }
            State::Chunks(mut chunks) => match chunks.follow(rest) {
                Ok(Progress::All) => {
                    self.state = State::Chunks(chunks);
                    Some(rest.len())
                }
                Ok(Progress::Ended(used)) => {
                    self.state = NEXT_HEAD;
                    Some(used)
                }
                Err(_) => {
                    self.state = State::BadBody;
                    None
                }
            },
            State::Raw => Some(rest.len()),
            State::Switching | State::Refused(_) | State::BadBody => None,
        }
    }

    fn admit_head(&mut self, rest: &[u8], scanned: usize, blank: BlankLine) -> Option<usize> {
        match rest {
            [] | b"\r" => return None,
            [b'\r', b'\n', ..] if blank == BlankLine::Allowed => {
                self.state = State::Head { scanned: 0, blank: BlankLine::Seen };
                return Some(2);
            }
            [b'\r', b'\n', ..] => {
                self.state = State::Refused(Refusal::Malformed);
                return None;
            }
            _ => {}
        }
        let checked = match head::find_end(rest, scanned) {
            End::At(length) => head::check(&rest[..length]).map(|follows| (length, follows)),
            End::BareLineFeed => Err(Refusal::BareLineFeed),
            End::NotYet if rest.len() > HEAD_BYTES_MAX => Err(Refusal::HeadTooLong),
            End::NotYet => {
                self.state = State::Head { scanned: rest.len(), blank };
                return None;
            }
        };
        match checked {
            Ok((length, follows)) => {
                self.requests += 1;
                self.state = match follows {
                    Follows::Nothing => NEXT_HEAD,
                    Follows::Length(length) => State::Length(length),
                    Follows::Chunks => State::Chunks(Chunks::START),
                    Follows::WebSocket => State::Switching,
                };
                Some(length)
            }
            Err(refusal) => {
                self.state = State::Refused(refusal);
                None
            }
        }
    }
}

/// What became of a request for another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgraded {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Shows `text` to a screen in pieces; gives what passed and where it stands.
    fn screen(text: &[u8], piece: usize) -> (usize, State, u64) {
        let mut screen = Screen::new();
        let mut held = Vec::new();
        let mut passed = 0;
        for bytes in text.chunks(piece) {
            held.extend_from_slice(bytes);
            let now = screen.admit(&held);
            held.drain(..now);
            passed += now;
        }
        (passed, screen.state(), screen.requests())
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// What stands in front of the first refused head passes, and nothing behind it.
    #[test]
    fn only_whole_and_checked_heads_pass() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let websocket = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        for (good, rest, state, requests) in [
            ("", "GET / HT", State::Head { scanned: 8, blank: BlankLine::Allowed }, 0),
            (GET, "", NEXT_HEAD, 1),
            (&format!("{GET}{GET}"), "GET", State::Head { scanned: 3, blank: BlankLine::Allowed }, 2),
            (&format!("\r\n{GET}\r\n"), "", State::Head { scanned: 0, blank: BlankLine::Seen }, 1),
            (&format!("{post}{GET}"), "", NEXT_HEAD, 2),
            (&format!("{chunked}{post}"), "", NEXT_HEAD, 2),
            (&post[..post.len() - 1], "", State::Length(1), 1),
            (post, "\0\r\n\r\n", State::Refused(Refusal::Malformed), 1),
            (post, "\n", State::Refused(Refusal::BareLineFeed), 1),
            (chunked, "0\r\n\r\n", State::Refused(Refusal::Malformed), 1),
            (websocket, "", State::Switching, 1),
            (websocket, GET, State::Switching, 1),
        ] {
            let text = format!("{good}{rest}");
            for piece in [1, 2, 5, 19, 100_000] {
                assert_eq!(screen(text.as_bytes(), piece), (good.len(), state, requests), "{text:?} by {piece}");
            }
        }
    }

    #[test]
    fn a_bad_body_stops_the_stream() {
        let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n";
        for piece in [1, 3, 100_000] {
            assert_eq!(screen(text.as_bytes(), piece).1, State::BadBody);
        }
    }

    #[test]
    fn the_answer_decides_a_switch() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        for (upgraded, passed) in [(Upgraded::Yes, 5), (Upgraded::No, 0)] {
            let mut screen = Screen::new();
            assert_eq!(screen.admit(text), text.len());
            assert_eq!(screen.admit(b"\x81\x03abc"), 0);
            screen.switched(upgraded);
            assert_eq!(screen.admit(b"\x81\x03abc"), passed);
        }
    }

    #[test]
    fn heads_have_limits() {
        let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
        let long = |bytes: usize| {
            let head = format!("{}x: \r\n\r\n", &GET[..GET.len() - 2]);
            head.replace("x: ", &format!("x: {}", "y".repeat(bytes - head.len())))
        };
        for (text, expect) in [
            (fields(128), NEXT_HEAD),
            (fields(129), State::Refused(Refusal::TooManyFields)),
            (long(HEAD_BYTES_MAX), NEXT_HEAD),
            (long(HEAD_BYTES_MAX + 1), State::Refused(Refusal::HeadTooLong)),
            ("x".repeat(HEAD_BYTES_MAX + 1), State::Refused(Refusal::HeadTooLong)),
        ] {
            for piece in [999, 100_000] {
                assert_eq!(screen(text.as_bytes(), piece).1, expect, "{} bytes by {piece}", text.len());
            }
        }
    }

    /// Pieces of requests, good and bad, in any order.
    fn fragment() -> impl Strategy<Value = Vec<u8>> {
        const PARTS: [&str; 18] = [
            GET,
            "GET / HTTP/1.1\r\n",
            "POST /x HTTP/1.1\r\n",
            "Host: a\r\n",
            "Content-Length: 3\r\n",
            "\r\n",
            "\n",
            "\r",
            "Transfer-Encoding: chunked\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            "abc",
            "3\r\nabc\r\n",
            "0\r\n\r\n",
            "0\r\n",
            "x: y\r\n",
            " ",
            "\0",
            "f;",
        ];
        prop_oneof![
            9 => (0..PARTS.len()).prop_map(|part| PARTS[part].as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..20),
        ]
    }

    proptest! {
        /// No bytes make it fail, and how they are cut into reads changes nothing.
        #[test]
        fn cuts_change_nothing(
            parts in proptest::collection::vec(fragment(), 0..30),
            piece in 1_usize..40,
        ) {
            let text = parts.concat();
            let (whole, cut) = (screen(&text, usize::MAX), screen(&text, piece));
            if whole.1 == State::BadBody {
                // At which byte a bad body is noticed depends on the cut. That it is noticed does not.
                prop_assert_eq!((cut.1, cut.2), (whole.1, whole.2));
            } else {
                prop_assert_eq!(cut, whole);
            }
        }
    }
}
