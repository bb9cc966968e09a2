//! Why a request is refused before anybody else sees it.

use bartizan_wire::http1;

/// The message breaks a rule of HTTP, or its method is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Message(http1::Refusal),
    Method,
}

impl From<http1::Refusal> for Refusal {
    fn from(refusal: http1::Refusal) -> Refusal {
        Refusal::Message(refusal)
    }
}

impl Refusal {
    /// 400 for everything but sizes and methods (design §5). Finer statuses would only help those who probe for
    /// differences between servers.
    pub(crate) fn status(self) -> u16 {
        match self {
            Refusal::Method => 405,
            Refusal::Message(http1::Refusal::TargetTooLong) => 431,
            Refusal::Message(refusal) if refusal.status() == 431 => 431,
            // RFC 9220 §3.
            Refusal::Message(http1::Refusal::UnknownProtocol) => 501,
            Refusal::Message(_) => 400,
        }
    }

    /// For programs.
    pub(crate) fn code(self) -> &'static str {
        let Refusal::Message(refusal) = self else { return "method_not_allowed" };
        match refusal {
            http1::Refusal::Malformed | http1::Refusal::Version | http1::Refusal::Status => "malformed_request",
            http1::Refusal::BareLineFeed => "bare_line_feed",
            http1::Refusal::HeadTooLong | http1::Refusal::TargetTooLong => "head_too_long",
            http1::Refusal::TooManyFields | http1::Refusal::TooManyOptions => "too_many_fields",
            http1::Refusal::Target => "bad_target",
            http1::Refusal::NoHost => "no_host",
            http1::Refusal::SeveralHosts => "several_hosts",
            http1::Refusal::BadHost => "bad_host",
            http1::Refusal::HostDiffers => "host_differs",
            http1::Refusal::SeveralLengths => "several_lengths",
            http1::Refusal::BadLength => "bad_length",
            http1::Refusal::LengthAndCoding => "length_and_chunks",
            http1::Refusal::BadCoding | http1::Refusal::UnknownCoding => "bad_transfer_encoding",
            http1::Refusal::CodingInOldVersion => "chunks_in_old_version",
            http1::Refusal::BodyOnUpgrade => "body_on_upgrade",
            http1::Refusal::UnknownProtocol => "unknown_protocol",
            // Found after the head: whoever reads the body gets an error.
            http1::Refusal::BadChunk
            | http1::Refusal::ChunkLineTooLong
            | http1::Refusal::BadTrailers
            | http1::Refusal::TrailersTooLong
            | http1::Refusal::CutShort => "body_broken",
        }
    }

    /// For people.
    pub(crate) fn what(self) -> &'static str {
        let Refusal::Message(refusal) = self else {
            return "This method is not served: the edge is neither a proxy to elsewhere nor a mirror.";
        };
        match refusal {
            http1::Refusal::Malformed | http1::Refusal::Version | http1::Refusal::Status => {
                "The request is not HTTP as this edge speaks it."
            }
            http1::Refusal::BareLineFeed => "A line of the request ends in a line feed alone.",
            http1::Refusal::HeadTooLong | http1::Refusal::TargetTooLong => {
                "The request's address and fields (cookies, mostly) take more than 32 KB."
            }
            http1::Refusal::TooManyFields => "The request has more than 128 fields.",
            http1::Refusal::TooManyOptions => "The request names too many fields of its connection.",
            http1::Refusal::Target => "The request's target is no path.",
            http1::Refusal::NoHost => "The request names no host.",
            http1::Refusal::SeveralHosts => "The request names more than one host.",
            http1::Refusal::BadHost => "The host that the request names is not a host name.",
            http1::Refusal::HostDiffers => "The request names one host in its target and another in its fields.",
            http1::Refusal::SeveralLengths => "The request states its length more than once.",
            http1::Refusal::BadLength => "The request's length is not a number.",
            http1::Refusal::LengthAndCoding => "The request has a length and comes in chunks as well.",
            http1::Refusal::BadCoding | http1::Refusal::UnknownCoding => {
                "The request has a transfer coding other than one \"chunked\"."
            }
            http1::Refusal::CodingInOldVersion => {
                "The request comes in chunks, which its version of HTTP does not have."
            }
            http1::Refusal::BodyOnUpgrade => "A request for WebSocket has a body.",
            http1::Refusal::UnknownProtocol => "The request wants to connect by a protocol other than WebSocket.",
            http1::Refusal::BadChunk
            | http1::Refusal::ChunkLineTooLong
            | http1::Refusal::BadTrailers
            | http1::Refusal::TrailersTooLong
            | http1::Refusal::CutShort => "The body of the request broke off, or its framing was wrong.",
        }
    }
}

/// `CONNECT` would make a proxy of us; `TRACE` would show a visitor's scripts what the edge adds for the origin.
pub(crate) fn check_method(method: &[u8]) -> Result<(), Refusal> {
    match method {
        b"CONNECT" | b"TRACE" => Err(Refusal::Method),
        _ => Ok(()),
    }
}
