//! What the operator of an edge found a zone to be.

use crate::word::words;

words!(
    /// Whether a zone sends phishing mail, and what it then says about its mail.
    Phishing {
        No = "off",
        /// Its mail is to be rejected: nobody sends it, nobody signs it, and its policy says so.
        Flagged = "on",
        /// As [`Phishing::Flagged`], and its own name has no text at all.
        Strict = "strict",
    }
);
