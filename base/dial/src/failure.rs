//! Why there is no connection.

use std::io;

use bartizan_names::OriginFault;

use crate::Refusal;

/// Of several addresses the last one's; what is refused counts only where nothing else was left to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("its name has no address, or no name server answers")]
    Unresolved,
    #[error("it must not be dialled from here: {0}")]
    NotAllowed(Refusal),
    #[error("it refuses connections")]
    Refused,
    #[error("there is no way to it")]
    Unreachable,
    #[error("it does not answer in time")]
    TimedOut,
}

/// As planes and connectors tell it.
impl From<Failure> for OriginFault {
    fn from(failure: Failure) -> OriginFault {
        match failure {
            Failure::Unresolved => OriginFault::Unresolved,
            Failure::NotAllowed(_) => OriginFault::NotAllowed,
            Failure::Refused => OriginFault::Refused,
            Failure::Unreachable => OriginFault::Unreachable,
            Failure::TimedOut => OriginFault::ConnectTimedOut,
        }
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Failure::Refused,
            io::ErrorKind::TimedOut => Failure::TimedOut,
            _ => Failure::Unreachable,
        }
    }
}
