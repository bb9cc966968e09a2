//! Spectrum applications as they are kept, one document each below its zone.

use bartizan_model::Application;
use bartizan_names::{AppId, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::StoredApp;

use crate::error::{Error, Fault};
use crate::transaction::{Change, Listed, View, document};

/// Applications that are listed: as many as the default pool has addresses. A list that is longer is cut.
const APPS_MAX: usize = 65_536;

impl View {
    /// The applications of every zone and account.
    pub(crate) fn all_apps(&self) -> Result<Vec<StoredApp>, Error> {
        let entries = self.0.list_kind(Kind::App, APPS_MAX)?;
        // Those that cannot be read are not served either.
        Ok(entries.iter().filter_map(|entry| document(entry).ok()).collect())
    }

    /// The applications of a zone.
    pub(crate) fn apps(&self, zone: ZoneId) -> Result<Listed<StoredApp>, Error> {
        self.list(&Prefix::of(Scope::Zone(zone), Kind::App), APPS_MAX)
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
    Application::parse(document).map_err(|error| Error::internal(&error))
}

/// How an application is called in messages.
pub(crate) fn called(app: &Application) -> String {
    format!("the application {} of {} ({})", app.edge_port(), app.name, app.id)
}
