//! Spectrum applications as they are kept, one document each below its zone.

use bartizan_model::Application;
use bartizan_names::{AppId, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::StoredApp;

use crate::error::{Error, Fault};
use crate::transaction::{Change, View, damaged, document};

/// Applications that are looked at where each port takes a listener: more than there are ports to listen on.
const APPS_MAX: usize = 65_536;

/// Keys that are read in one go.
const KEYS_PAGE: usize = 1_000;

impl View {
    /// The applications of every zone and account.
    pub(crate) fn all_apps(&self) -> Result<Vec<Application>, Error> {
        let entries = self.0.list_kind(Kind::App, APPS_MAX)?;
        // Those that cannot be read are not served either.
        Ok(entries.iter().filter_map(|entry| parse(&document(entry).ok()?).ok()).collect())
    }

    /// Hands every application of a zone to `f`, one at a time; how many cannot be read.
    pub(crate) fn each_app(&self, zone: ZoneId, mut f: impl FnMut(StoredApp)) -> Result<u64, Error> {
        let (prefix, mut after, mut unreadable) = (Prefix::of(Scope::Zone(zone), Kind::App), None, 0);
        loop {
            let keys = self.keys(&prefix, after.as_ref(), KEYS_PAGE)?;
            for key in &keys {
                match self.find(key).and_then(|app| app.map(readable).transpose()) {
                    Ok(app) => app.into_iter().for_each(&mut f),
                    Err(error) if error.fault == Fault::Damaged => unreadable += 1,
                    Err(error) => return Err(error),
                }
            }
            after = keys.into_iter().last();
            if after.is_none() {
                return Ok(unreadable);
            }
        }
    }

    pub(crate) fn app(&self, zone: ZoneId, id: AppId) -> Result<StoredApp, Error> {
        self.app_if_any(zone, id)?.ok_or_else(|| Fault::AppUnknown.into())
    }

    pub(crate) fn app_if_any(&self, zone: ZoneId, id: AppId) -> Result<Option<StoredApp>, Error> {
        self.find(&Key::app(zone, id))
    }
}

impl Change {
    pub(crate) fn put_app(&mut self, app: &StoredApp) -> Result<(), Error> {
        self.put(Key::app(app.zone_id, app.id), app)
    }

    pub(crate) fn delete_app(&mut self, zone: ZoneId, id: AppId) -> Result<(), Error> {
        self.delete(Key::app(zone, id))
    }
}

pub(crate) fn parse(document: &StoredApp) -> Result<Application, Error> {
    Application::parse(document).map_err(|error| damaged(&Key::app(document.zone_id, document.id), &error))
}

/// A document, if an application can be made of it.
fn readable(document: StoredApp) -> Result<StoredApp, Error> {
    parse(&document).map(|_| document)
}

/// How an application is called in messages.
pub(crate) fn called(app: &Application) -> String {
    format!("the application {} of {} ({})", app.edge_port(), app.name, app.id)
}
