//! What went wrong, as the peer is told (RFC 9113 §7).

/// The reason of a reset, or of the end of a connection. Codes that we neither send nor act on are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Code {
    /// Nothing went wrong.
    NoError = 0x0,
    Protocol = 0x1,
    Internal = 0x2,
    FlowControl = 0x3,
    StreamClosed = 0x5,
    FrameSize = 0x6,
    /// Nothing was done for the request, so it may be sent again.
    RefusedStream = 0x7,
    Cancel = 0x8,
    Compression = 0x9,
    EnhanceYourCalm = 0xb,
    /// What is asked for is to be asked for in HTTP/1.1.
    Http11Required = 0xd,
}

/// A connection error (RFC 9113 §5.4.1): nothing that follows can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    pub code: Code,
    pub what: &'static str,
}

impl Fault {
    pub(super) const fn new(code: Code, what: &'static str) -> Fault {
        Fault { code, what }
    }

    pub(super) const fn protocol(what: &'static str) -> Fault {
        Fault::new(Code::Protocol, what)
    }

    pub(super) const fn size(what: &'static str) -> Fault {
        Fault::new(Code::FrameSize, what)
    }
}
