//! `/zones/{zone_id}/settings`: what of a zone can be switched, as far as this edge enforces it; and what cannot, with the
//! value that is true.

use axum::extract::State;
use bartizan_model::{
    FixedSetting, SettingNote, change_setting, check_settings, parse_setting, show_setting, strict_settings,
};
use bartizan_names::{SettingId, Timestamp, ZoneId};
use bartizan_store::Key;
use bartizan_v4::{Patch, Setting, SettingBody, SettingsBody, StoredSettings};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;
use crate::transaction::{Change, View};

/// The code of a message that says why a setting is not what was asked for.
const NOTE_MESSAGE: u32 = 1_003;

/// Settings changed by one call. There are fewer; a longer list repeats itself.
const ITEMS_MAX: usize = 100;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::ZoneSettingsRead, api, routes!(list)))
        .routes(needs(Permission::ZoneSettingsWrite, api, routes!(change_several)))
        .routes(needs(Permission::ZoneSettingsRead, api, routes!(get)))
        .routes(needs(Permission::ZoneSettingsWrite, api, routes!(change)))
}

impl View {
    pub(crate) fn settings(&self, zone: ZoneId) -> Result<StoredSettings, Error> {
        let key = Key::settings(zone);
        Ok(match self.find(&key)? {
            Some(stored) => stored,
            // As they are in force after a start. By a change of one the others would else become weaker.
            None if self.0.lost().may_have(&key) => {
                strict_settings(self.0.last_change().unwrap_or(Timestamp::from_unix_micros(0)))
            }
            None => StoredSettings::default(),
        })
    }
}

impl Change {
    pub(crate) fn put_settings(&mut self, zone: ZoneId, settings: &StoredSettings) -> Result<(), Error> {
        self.put(Key::settings(zone), settings)
    }
}

/// All settings of a zone.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/settings",
    tag = "Zone settings",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Setting>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
) -> Result<Reply<Vec<Setting>>, Error> {
    let stored = api
        .read(move |view| {
            view.zone(&caller, zone)?;
            view.settings(zone)
        })
        .await?;
    let enforced = SettingId::ALL.iter().map(|id| show_setting(*id, &stored));
    let mut settings: Vec<Setting> = enforced.chain(FixedSetting::all().map(FixedSetting::show)).collect();
    settings.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Reply::of(settings))
}

/// One setting of a zone.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/settings/{setting_id}",
    tag = "Zone settings",
    params(("zone_id" = String, Path), ("setting_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Setting>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, String)>,
) -> Result<Reply<Setting>, Error> {
    let setting = api
        .read(move |view| {
            view.zone(&caller, zone)?;
            Named::read(&id).and_then(|named| Ok(named.show(&view.settings(zone)?)))
        })
        .await?;
    Ok(Reply::of(setting))
}

/// Changes one setting of a zone.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/settings/{setting_id}",
    tag = "Zone settings",
    params(("zone_id" = String, Path), ("setting_id" = String, Path)),
    request_body = SettingBody,
    responses((status = 200, body = bartizan_v4::Envelope<Setting>))
)]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, String)>,
    Body(body): Body<SettingBody>,
) -> Result<Reply<Setting>, Error> {
    let actor = caller.clone();
    let (setting, note) = api
        .change(&actor, move |change| {
            change.zone(&caller, zone)?;
            let mut stored = change.settings(zone)?;
            let (named, note) = put(&mut stored, &id, &body.value, &body.enabled, change.now())?;
            if named.is_kept() {
                check_settings(&stored)?;
                change.put_settings(zone, &stored)?;
            }
            Ok((named.show(&stored), note))
        })
        .await?;
    Ok(noted(Reply::of(setting), note))
}

/// Changes several settings of a zone, all or none.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/settings",
    tag = "Zone settings",
    params(("zone_id" = String, Path)),
    request_body = SettingsBody,
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Setting>>))
)]
async fn change_several(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<SettingsBody>,
) -> Result<Reply<Vec<Setting>>, Error> {
    if body.items.len() > ITEMS_MAX {
        return Err(Fault::SettingValue.because(format!("there may be {ITEMS_MAX} items at most")).at("/items"));
    }
    let actor = caller.clone();
    let (settings, notes) = api
        .change(&actor, move |change| {
            change.zone(&caller, zone)?;
            let mut stored = change.settings(zone)?;
            let mut all = Vec::new();
            let mut notes = Vec::new();
            for (index, item) in body.items.iter().enumerate() {
                let (named, note) = put(&mut stored, &item.id, &item.value, &item.enabled, change.now())
                    .map_err(|error| error.inside(&format!("/items/{index}")))?;
                all.push(named);
                notes.extend(note);
            }
            if all.iter().any(Named::is_kept) {
                check_settings(&stored)?;
                change.put_settings(zone, &stored)?;
            }
            Ok((all.iter().map(|named| named.show(&stored)).collect::<Vec<_>>(), notes))
        })
        .await?;
    Ok(noted(Reply::of(settings), notes))
}

/// A setting by its id.
enum Named {
    /// One that the edge obeys.
    Enforced(SettingId),
    /// One that is as it is.
    Fixed(&'static FixedSetting),
}

impl Named {
    fn read(id: &str) -> Result<Named, Error> {
        match FixedSetting::of(id) {
            Some(fixed) => Ok(Named::Fixed(fixed)),
            None => Ok(Named::Enforced(parse_setting(id)?)),
        }
    }

    fn show(&self, stored: &StoredSettings) -> Setting {
        match self {
            Named::Enforced(id) => show_setting(*id, stored),
            Named::Fixed(fixed) => fixed.show(),
        }
    }

    fn is_kept(&self) -> bool {
        matches!(self, Named::Enforced(_))
    }
}

fn put(
    stored: &mut StoredSettings,
    id: &str,
    value: &Patch<Value>,
    enabled: &Patch<bool>,
    now: Timestamp,
) -> Result<(Named, Option<SettingNote>), Error> {
    let value = match (value, enabled) {
        (Patch::Value(value), _) => value.clone(),
        (_, Patch::Value(enabled)) => Value::Bool(*enabled),
        _ => Value::Null,
    };
    match Named::read(id)? {
        Named::Enforced(id) => Ok((Named::Enforced(id), change_setting(id, stored, &value, now)?)),
        Named::Fixed(fixed) if fixed.is(&value) => Ok((Named::Fixed(fixed), None)),
        Named::Fixed(fixed) => {
            let (id, is) = (fixed.id, fixed.show().value);
            Err(Fault::SettingFixed.because(format!("{id} is {is}, because {}", fixed.reason)).at("/value"))
        }
    }
}

fn noted<T>(reply: Reply<T>, notes: impl IntoIterator<Item = SettingNote>) -> Reply<T> {
    notes.into_iter().fold(reply, |reply, note| reply.with_message(NOTE_MESSAGE, note.text()))
}
