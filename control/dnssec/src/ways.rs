//! The ways by which DS records get into the zones above ours. A zone takes that of the nearest zone above it which has one set,
//! and that of a person if none has.

use bartizan_model::Zone;
use bartizan_names::Name;
use bartizan_registry::Dsu;
use bartizan_store::{Key, ReadError, Snapshot};
use bartizan_v4::dnssec::DnssecWay;
use bartizan_v4::registry::StoredRegistry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::documents::if_readable;
use crate::error::KeepError;
use crate::keeping::Care;

/// A registry that takes DS records by a call.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    /// The zone above that it is of.
    pub(crate) name: String,
    pub(crate) dsu: Dsu,
}

/// A sealed password opens for its own registry only.
pub fn context(name: &str) -> Vec<u8> {
    format!("registry/{name}").into_bytes()
}

/// The way by which DS records of a zone get into its parent, and the name that says so.
pub fn way_set(snapshot: &Snapshot, zone: &Zone) -> Result<(DnssecWay, Option<String>), ReadError> {
    let stored = nearest(snapshot, zone)?;
    Ok(stored.map_or((DnssecWay::Manual, None), |(_, stored)| (stored.way, Some(stored.name))))
}

/// The registry that is called for a zone; none where that is not its way.
pub(crate) fn called(snapshot: &Snapshot, zone: &Zone, care: &Care) -> Result<Option<Called>, KeepError> {
    let Some((key, stored)) = nearest(snapshot, zone)?.filter(|(_, stored)| stored.way == DnssecWay::Dsu) else {
        return Ok(None);
    };
    let damaged = |reason: &dyn ToString| KeepError::Damaged { key: key.clone(), reason: reason.to_string() };
    let sealed = stored.sealed_password.as_ref().and_then(|sealed| BASE64.decode(sealed).ok());
    let password = sealed.and_then(|sealed| care.seal.open(&context(&stored.name), &sealed).ok());
    let password = password.and_then(|password| String::from_utf8(password).ok());
    let password = password.ok_or_else(|| damaged(&"its password does not open"))?;
    let (url, userid) = (stored.url.as_deref(), stored.userid.as_deref());
    let dsu = Dsu::at(url.unwrap_or_default(), userid.unwrap_or_default(), &password, &care.time.teller());
    let dsu = dsu.map_err(|error| damaged(&error))?;
    Ok(Some(Called { name: stored.name, dsu }))
}

/// One that cannot be read says nothing.
fn nearest(snapshot: &Snapshot, zone: &Zone) -> Result<Option<(Key, StoredRegistry)>, ReadError> {
    let mut above: Option<Name> = zone.name.as_name().parent();
    while let Some(name) = above.filter(|name| !name.is_root()) {
        let key = Key::registry(&name);
        if let Some(stored) = if_readable(snapshot, &key)? {
            return Ok(Some((key, stored)));
        }
        above = name.parent();
    }
    Ok(None)
}
