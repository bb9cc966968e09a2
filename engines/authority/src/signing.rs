//! What a worker signs with, and what it writes denials into.

use bartizan_names::RecordType;
use bartizan_signer::Signer;

/// The signatures of one worker, and memory that is used anew for each denial.
#[derive(Debug)]
pub struct Signing {
    pub signer: Signer,
    /// The types of the name that is denied.
    pub(crate) types: Vec<RecordType>,
    /// The data of the NSEC record.
    pub(crate) nsec: Vec<u8>,
}

impl Signing {
    pub fn new(signer: Signer) -> Signing {
        Signing { signer, types: Vec::new(), nsec: Vec::new() }
    }
}
