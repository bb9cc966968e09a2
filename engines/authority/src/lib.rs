//! DNS answers from record sets.
