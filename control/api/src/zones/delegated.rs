//! What a parent zone may have of a zone that is to go: its name could be served by others then, and nobody who validates would
//! find it.

use bartizan_dnssec::{KeepError, LookError};
use bartizan_names::ZoneId;
use bartizan_store::Key;

use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::state::Api;

/// Refuses to delete a zone that is signed, or may be, while its parent has a DS record of it, or when that cannot be told.
/// The look is bounded, as are all of them.
pub(super) async fn refuse_delegated(api: &Api, caller: &Caller, id: ZoneId) -> Result<(), Error> {
    let (caller, key) = (caller.clone(), Key::dnssec(id));
    let found = api.read(move |view| {
        let zone = match view.zone_of(&caller, id) {
            Ok(zone) => zone,
            // What is left of one is deleted too, by who may.
            Err(error) if matches!(error.fault, Fault::ZoneUnknown | Fault::Damaged) => return Ok(None),
            Err(error) => return Err(error),
        };
        let may_be_signed = view.has(&key)? || view.0.lost().may_have(&key);
        Ok(may_be_signed.then_some(zone))
    });
    let Some(zone) = found.await? else { return Ok(()) };
    match api.dnssec().look(&zone).await {
        Ok(seen) => match seen.any.first() {
            None => Ok(()),
            Some(ds) => Err(Fault::DnssecDelegated.because(format!(
                "{ds}; whoever serves the name next is not found by those who validate, until that is gone: PATCH status of \
                 its dnssec to disabled, and delete the zone when it is, or delete it with force"
            ))),
        },
        Err(busy @ LookError::Busy) => Err(KeepError::Look(busy).into()),
        Err(why) => Err(Fault::DnssecParent.because(format!("{why}; force deletes the zone all the same"))),
    }
}
