//! Why an origin gives no answer, as edges and connectors tell each other.

use crate::word::words;

words!(
    /// What was seen of an origin by whoever dialled it: an edge, or a connector, which tells its edge in these words.
    OriginFault {
        Refused = "refused",
        Unreachable = "unreachable",
        /// Its name has no address, or no name server answers.
        Unresolved = "unresolved",
        /// Its address must not be dialled from there.
        NotAllowed = "not_allowed",
        ConnectTimedOut = "connect_timed_out",
        Tls = "tls",
        /// It closed the connection, or what it said is no answer.
        Broken = "broken",
        /// The connector tells nobody, or has another reason.
        Untold = "untold",
    }
);

impl OriginFault {
    /// Reads what a connector tells, if it does.
    pub fn read(told: Option<&str>) -> OriginFault {
        told.and_then(|told| told.parse().ok()).unwrap_or(OriginFault::Untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_told() {
        for fault in OriginFault::ALL {
            assert_eq!(OriginFault::read(Some(fault.as_str())), *fault);
        }
        for other in [None, Some(""), Some("Refused"), Some("moon")] {
            assert_eq!(OriginFault::read(other), OriginFault::Untold, "{other:?}");
        }
    }
}
