//! A copy that takes over a whole state from elsewhere, and goes on with the changes behind it.

use bartizan_names::ZoneId;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::change::{Entry, Epoch, Rev};
use crate::error::{CommitError, ReadError};
use crate::rebuild;
use crate::state_hash::{self, Part, StateHash, Sums};
use crate::tables::{self, signed};

/// A whole state, or the part of it that a copy is for.
pub struct State {
    pub epoch: Epoch,
    pub head: Rev,
    /// The last change of each zone, what is gone by now included: their serials come from there.
    pub zones: Vec<(ZoneId, Rev)>,
    /// The hashes that the state must have.
    pub hashes: Vec<(Part, StateHash)>,
    pub entries: Box<dyn Iterator<Item = Result<Entry, ReadError>> + Send>,
}

/// Replaces everything by `state`, in one transaction. The epoch of the log comes with it: those who follow see by it that
/// they must read everything again. Its revision may be lower than the one before, so the revision alone does not say that.
/// The log is empty then. Which requests were made before is not known, so a copy applies what others decide until it has a
/// log of its own.
pub(crate) fn install(connection: &mut Connection, state: &mut State) -> Result<(), CommitError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    rebuild::drop_all(&transaction)?;
    transaction
        .execute_batch("DELETE FROM change; DELETE FROM object; DELETE FROM state_hash; DELETE FROM zone_change")?;
    // It tells of another log, in which a revision may be something else.
    transaction.execute_batch("DELETE FROM audit; DELETE FROM audit_share")?;
    let mut sums = Sums::default();
    for entry in &mut state.entries {
        let Entry { key, rev, value } = entry.map_err(CommitError::BrokeOff)?;
        tables::put(&transaction, &mut sums, rev, &key, &value)?;
    }
    sums.add_to_file(&transaction)?;
    for (part, announced) in &state.hashes {
        if state_hash::read(&transaction, *part)? != *announced {
            return Err(CommitError::Differs { part: *part });
        }
    }
    state.zones.iter().try_for_each(|(zone, rev)| tables::touch_zone(&transaction, *zone, *rev))?;
    transaction.execute("UPDATE log SET epoch = ?, head = ?", params![signed(state.epoch.0), signed(state.head.0)])?;
    rebuild::make(&transaction)?;
    Ok(transaction.commit()?)
}
