//! Why a message is not taken.

/// What is wrong with a message. The connection is to be closed: nobody can say where the next message begins.
///
/// [`Refusal::status`] is what a server answers. A gateway answers 502 for an origin's message, whatever is wrong with it
/// (RFC 9110 §15.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No head by the grammar: also folded lines (RFC 9112 §5.2), space in front of a colon (§5.1) or of the first field
    /// (§2.2), and control characters (RFC 9110 §5.5).
    #[error("the head breaks the grammar")]
    Malformed,
    /// A line feed without a carriage return. RFC 9112 §2.2 lets a reader take it for the end of a line, so readers
    /// differ.
    #[error("a line ends in a line feed alone")]
    BareLineFeed,
    /// A version other than 1.0 and 1.1 (RFC 9110 §15.6.6).
    #[error("a version other than 1.0 and 1.1")]
    Version,
    /// No end of the head within the limit (RFC 6585 §5).
    #[error("the head is too long")]
    HeadTooLong,
    /// Not even the end of the request line within the limit (RFC 9110 §15.5.15).
    #[error("the request line is too long")]
    TargetTooLong,
    /// RFC 6585 §5.
    #[error("too many fields")]
    TooManyFields,
    /// The target has none of the four forms, or not the one for its method (RFC 9112 §3.2).
    #[error("the target has no form that fits its method")]
    Target,
    /// RFC 9112 §3.2: also for 1.0, which did not know the field. A name cannot be guessed.
    #[error("no host")]
    NoHost,
    /// RFC 9112 §3.2.
    #[error("several hosts")]
    SeveralHosts,
    /// RFC 9110 §7.2, §4.2.3.
    #[error("the host is no host and port")]
    BadHost,
    /// The target names one host and the field another. RFC 9112 §3.2.2 makes the target win; not all servers know it.
    #[error("the target names another host")]
    HostDiffers,
    /// Also when they agree, in one line or in several (RFC 9110 §8.6 lets us refuse).
    #[error("several lengths")]
    SeveralLengths,
    /// RFC 9110 §8.6: digits only, and below 2^64.
    #[error("the length is no number")]
    BadLength,
    /// RFC 9112 §6.1: an attempt to smuggle, or a broken sender.
    #[error("a length and a transfer coding")]
    LengthAndCoding,
    /// The last coding is not "chunked", or it is there more than once (RFC 9112 §6.3, §7).
    #[error("a transfer coding that does not say where the body ends")]
    BadCoding,
    /// Codings in front of "chunked", which are not ours to take off (RFC 9112 §6.1).
    #[error("a transfer coding other than \"chunked\"")]
    UnknownCoding,
    /// RFC 9112 §6.1: the sender's framing is to be taken as faulty.
    #[error("a transfer coding in a version that has none")]
    CodingInOldVersion,
    /// `Connection` names more than [`CONNECTION_OPTIONS_MAX`](super::CONNECTION_OPTIONS_MAX) (RFC 9110 §7.6.1).
    #[error("too many connection options")]
    TooManyOptions,
    /// A request for another protocol has a body (RFC 9110 §7.8): where does the protocol begin?
    #[error("a request for another protocol has a body")]
    BodyOnUpgrade,
    /// Extended CONNECT for another protocol than WebSocket (RFC 9220 §3).
    #[error("CONNECT for a protocol that is not spoken")]
    UnknownProtocol,
    /// A status below 100 (RFC 9110 §15).
    #[error("the status is no status")]
    Status,
    /// RFC 9112 §7.1.
    #[error("the framing of a chunk is broken")]
    BadChunk,
    /// Mostly its extensions, which a reader has to limit (RFC 9112 §7.1.1).
    #[error("the line in front of a chunk is too long")]
    ChunkLineTooLong,
    /// RFC 9112 §7.1.2: trailer fields are fields.
    #[error("the trailer section breaks the grammar")]
    BadTrailers,
    /// RFC 6585 §5.
    #[error("the trailer section is too long")]
    TrailersTooLong,
    /// The connection ended inside the body (RFC 9112 §8).
    #[error("the body ended before its end")]
    CutShort,
}

impl Refusal {
    /// The status to answer a request with.
    pub const fn status(self) -> u16 {
        match self {
            Refusal::TargetTooLong => 414,
            Refusal::HeadTooLong | Refusal::TooManyFields | Refusal::TrailersTooLong => 431,
            Refusal::UnknownCoding | Refusal::UnknownProtocol => 501,
            Refusal::Version => 505,
            Refusal::Malformed
            | Refusal::BareLineFeed
            | Refusal::Target
            | Refusal::NoHost
            | Refusal::SeveralHosts
            | Refusal::BadHost
            | Refusal::HostDiffers
            | Refusal::SeveralLengths
            | Refusal::BadLength
            | Refusal::LengthAndCoding
            | Refusal::BadCoding
            | Refusal::CodingInOldVersion
            | Refusal::TooManyOptions
            | Refusal::BodyOnUpgrade
            | Refusal::Status
            | Refusal::BadChunk
            | Refusal::ChunkLineTooLong
            | Refusal::BadTrailers
            | Refusal::CutShort => 400,
        }
    }
}
