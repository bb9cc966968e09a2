//! Spectrum applications as they are kept, one document each below its zone.

use bartizan_model::Application;
use bartizan_names::{AppId, ZoneId};
use bartizan_store::{Key, Kind, Prefix};
use bartizan_v4::StoredApp;

use crate::error::{Error, Fault};
use crate::transaction::{Change, View};

/// Applications that are listed: as many as the default pool has addresses. A list that is longer is cut.
const APPS_MAX: usize = 65_536;

impl View {
    /// The applications of every zone and account.
    pub(crate) fn all_apps(&self) -> Result<Vec<StoredApp>, Error> {
        self.list(&Prefix::kind(Kind::App), APPS_MAX)
    }

    /// The applications of a zone.
    pub(crate) fn apps(&self, zone: ZoneId) -> Result<Vec<StoredApp>, Error> {
        self.some_apps(zone, APPS_MAX)
    }

    pub(crate) fn some_apps(&self, zone: ZoneId, limit: usize) -> Result<Vec<StoredApp>, Error> {
        self.list(&Prefix::apps(zone), limit)
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
        self.require(Key::zone(app.zone_id));
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
