//! The ways by which DS records get into the zones above ours. A zone takes that of the nearest zone above it which has one set,
//! and that of a person if none has.

use bartizan_model::Zone;
use bartizan_names::Name;
use bartizan_registry::Dsu;
use bartizan_store::Key;
use bartizan_v4::registry::StoredRegistry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::Error;
use crate::transaction::{View, damaged};

/// How DS records get into a parent zone.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Somebody gives them to the registrar.
    Manual,
    /// The parent looks for CDS records (RFC 7344, RFC 8078).
    Cds,
    Dsu(Dsu),
}

/// A sealed password opens for its own registry only.
pub(crate) fn context(name: &str) -> Vec<u8> {
    format!("registry/{name}").into_bytes()
}

/// The way by which DS records of a zone get into its parent.
pub(crate) fn way_of(view: &View, zone: &Zone, seal: &bartizan_seal::Key) -> Result<Way, Error> {
    nearest(view, zone)?.map_or(Ok(Way::Manual), |(key, stored)| opened(&key, &stored, seal))
}

/// The word for it, and the name that says so.
pub(crate) fn way_set(view: &View, zone: &Zone) -> Result<(&'static str, Option<String>), Error> {
    let Some((_, stored)) = nearest(view, zone)? else { return Ok(("manual", None)) };
    let word = ["dsu", "cds"].into_iter().find(|word| *word == stored.way).unwrap_or("manual");
    Ok((word, Some(stored.name)))
}

/// One that cannot be read says nothing.
fn nearest(view: &View, zone: &Zone) -> Result<Option<(Key, StoredRegistry)>, Error> {
    let mut above: Option<Name> = zone.name.as_name().parent();
    while let Some(name) = above.filter(|name| !name.is_root()) {
        let key = Key::registry(&name);
        if let Some(stored) = view.if_readable(&key)? {
            return Ok(Some((key, stored)));
        }
        above = name.parent();
    }
    Ok(None)
}

fn opened(key: &Key, stored: &StoredRegistry, seal: &bartizan_seal::Key) -> Result<Way, Error> {
    match stored.way.as_str() {
        "manual" => Ok(Way::Manual),
        "cds" => Ok(Way::Cds),
        "dsu" => {
            let sealed = stored.sealed_password.as_ref().and_then(|sealed| BASE64.decode(sealed).ok());
            let password = sealed.and_then(|sealed| seal.open(&context(&stored.name), &sealed).ok());
            let password = password.and_then(|password| String::from_utf8(password).ok());
            let password = password.ok_or_else(|| damaged(key, &"its password does not open"))?;
            let (url, userid) = (stored.url.as_deref(), stored.userid.as_deref());
            let dsu = Dsu::at(url.unwrap_or_default(), userid.unwrap_or_default(), &password);
            dsu.map(Way::Dsu).map_err(|error| damaged(key, &error))
        }
        other => Err(damaged(key, &format!("nobody knows the way {other:?}"))),
    }
}
