//! The only way queries become answers. Read it to learn the order of the steps.

use bartizan_authority::{Authority, Scratch, Transaction};

use crate::Config;

/// Answers a batch with one snapshot.
///
/// Hot: once a batch. No allocation, no lock, no log.
pub(crate) fn serve(transactions: &mut [Transaction<'_>], config: &Config, scratch: &mut Scratch) {
    let authority = Authority { zones: &config.zones, addresses: &config.addresses, identity: &config.identity };
    authority.answer(transactions, scratch);
}
