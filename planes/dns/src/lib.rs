//! DNS over UDP and TCP from the authority.
