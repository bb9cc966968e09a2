//! The keys of zones that are signed.

use std::sync::Arc;

use bartizan_names::ZoneId;
use bartizan_signer::ZoneKeys;
use bartizan_store::{Key, ReadError};

use crate::dnssec::{Signing, ZoneDnssec};
use crate::reading::{Found, Reading, document};

/// The keys of a zone; none of one that is not signed. What cannot be read keeps its last value. Where there is none the
/// zone is held as to DNSSEC: whoever asks for signatures is answered nothing, since without them they would not believe
/// what they got, and the others are answered as before.
pub(super) fn read(
    reading: &mut Reading<'_>,
    zone: ZoneId,
    last: Option<&Arc<ZoneKeys>>,
    signing: &Signing,
) -> Result<Option<Arc<ZoneKeys>>, ReadError> {
    let key = Key::dnssec(zone);
    let found = reading.get(&key, |entry| {
        let dnssec = ZoneDnssec::parse(&document(entry)?)?;
        Ok(dnssec.zone_keys(zone, signing)?)
    })?;
    Ok(match found {
        Found::Nothing | Found::Value(None) => None,
        // What is open stays open.
        Found::Value(Some(keys)) => {
            Some(last.filter(|last| ***last == keys).map_or_else(|| Arc::new(keys), Arc::clone))
        }
        Found::Bad => Some(last.map_or_else(|| Arc::new(ZoneKeys::unreadable()), Arc::clone)),
    })
}
