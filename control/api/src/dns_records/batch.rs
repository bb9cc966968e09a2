//! `POST /zones/{zone_id}/dns_records/batch`: many records at once, in one revision or not at all.
//!
//! The steps are taken one after the other, each on what those before it left: deletes, patches, puts, posts. What may
//! stand at a name is checked at each step, as for a single call, and for the name as a whole at the end.

use std::collections::BTreeMap;

use axum::extract::State;
use bartizan_model::{Record, Stamp, Zone, merge};
use bartizan_names::{Name, RecordId, ZoneId};
use bartizan_store::Key;
use bartizan_v4::RecordBody;
use bartizan_v4::dns_record::{Batch, BatchBody};
use serde_json::Value;

use super::rules::{asked_for, stands_beside};
use super::{since, stamp_of};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, LargeBody};
use crate::owner_names;
use crate::reply::Reply;
use crate::resource::Edit;
use crate::state::Api;
use crate::transaction::Change;

/// Steps of a batch. One revision holds ten times as many, and a second goes by with so many.
const STEPS_MAX: usize = 10_000;

/// Deletes, changes and makes records, all of it or nothing.
#[utoipa::path(
    post,
    path = "/zones/{zone_id}/dns_records/batch",
    tag = "DNS records",
    params(("zone_id" = String, Path)),
    request_body = BatchBody,
    responses((status = 200, body = bartizan_v4::Envelope<Batch>))
)]
pub(super) async fn batch(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    LargeBody(body): LargeBody<BatchBody>,
) -> Result<Reply<Batch>, Error> {
    let steps = |list: &Option<Vec<RecordBody>>| list.as_ref().map_or(0, Vec::len);
    let deletes = body.deletes.as_ref().map_or(0, Vec::len);
    if deletes + steps(&body.patches) + steps(&body.puts) + steps(&body.posts) > STEPS_MAX {
        return Err(Fault::RecordInvalid.because(format!("a batch may have {STEPS_MAX} steps at most")));
    }
    let actor = caller.clone();
    let batch = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            Steps::new(change, &zone).take(&body)
        })
        .await?;
    Ok(Reply::of(batch))
}

/// A batch under way, in front of the change that it becomes.
struct Steps<'c> {
    change: &'c mut Change,
    zone: &'c Zone,
    /// The records that were touched, as they were stored and as they are now; none are not there.
    touched: BTreeMap<RecordId, Touched>,
    /// What stands at each name that was touched, and which step was the last to do so.
    names: BTreeMap<Name, Standing>,
}

struct Touched {
    stored: Option<bartizan_v4::Record>,
    now: Option<bartizan_v4::Record>,
}

struct Standing {
    records: Vec<Record>,
    last: String,
}

impl<'c> Steps<'c> {
    fn new(change: &'c mut Change, zone: &'c Zone) -> Steps<'c> {
        Steps { change, zone, touched: BTreeMap::new(), names: BTreeMap::new() }
    }

    fn take(mut self, body: &BatchBody) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        for (index, step) in body.deletes.iter().flatten().enumerate() {
            let at = format!("/deletes/{index}");
            batch.deletes.push(self.delete(step.id.value(), &at).map_err(|error| error.inside(&at))?);
        }
        for (list, steps, edit, done) in [
            ("patches", &body.patches, Edit::Patch, &mut batch.patches),
            ("puts", &body.puts, Edit::Replace, &mut batch.puts),
        ] {
            for (index, step) in steps.iter().flatten().enumerate() {
                let at = format!("/{list}/{index}");
                done.push(self.edit(step, edit, &at).map_err(|error| error.inside(&at))?);
            }
        }
        for (index, step) in body.posts.iter().flatten().enumerate() {
            let at = format!("/posts/{index}");
            batch.posts.push(self.create(step, &at).map_err(|error| error.inside(&at))?);
        }
        self.end()?;
        Ok(batch)
    }

    fn delete(&mut self, id: Option<&Value>, at: &str) -> Result<bartizan_v4::Record, Error> {
        let old = self.record(id)?;
        self.lift(&old, at)?;
        self.set(&old, None);
        Ok(old)
    }

    fn edit(&mut self, body: &RecordBody, edit: Edit, at: &str) -> Result<bartizan_v4::Record, Error> {
        let old = self.record(body.id.value())?;
        let merged = match edit {
            Edit::Replace => body.clone(),
            Edit::Patch => merge(&old, body.clone()),
        };
        self.lift(&old, at)?;
        let (record, new) = asked_for(self.change, self.zone, stamp_of(&old), &merged)?;
        let mut new = since(&old, new, self.change.now());
        if new != old {
            new.modified_on = self.change.now();
        }
        self.stand(record, at)?;
        self.set(&old, Some(new.clone()));
        Ok(new)
    }

    fn create(&mut self, body: &RecordBody, at: &str) -> Result<bartizan_v4::Record, Error> {
        let id = owner_names::new_id(self.change.now());
        let stamp = Stamp { id, created_on: self.change.now(), modified_on: self.change.now() };
        let (record, new) = asked_for(self.change, self.zone, stamp, body)?;
        self.stand(record, at)?;
        self.touched.insert(id, Touched { stored: None, now: Some(new.clone()) });
        Ok(new)
    }

    /// The record that a step names, as the steps before it left it.
    fn record(&self, id: Option<&Value>) -> Result<bartizan_v4::Record, Error> {
        let id = id.and_then(Value::as_str).and_then(|id| id.parse().ok());
        let id: RecordId = id.ok_or_else(|| Error::from(Fault::BadId).at("/id"))?;
        let unknown = || Error::from(Fault::RecordUnknown).at("/id");
        match self.touched.get(&id) {
            Some(touched) => touched.now.clone().ok_or_else(unknown),
            None => self.change.record(self.zone.id, id).map_err(|error| error.at("/id")),
        }
    }

    fn set(&mut self, old: &bartizan_v4::Record, now: Option<bartizan_v4::Record>) {
        let stored = || Touched { stored: Some(old.clone()), now: None };
        self.touched.entry(old.id).or_insert_with(stored).now = now;
    }

    /// Takes a record from its name.
    fn lift(&mut self, old: &bartizan_v4::Record, at: &str) -> Result<(), Error> {
        let owner = owner_names::owner(old)?;
        self.at(&owner, at)?.records.retain(|record| record.id != old.id);
        Ok(())
    }

    /// Puts a record beside those of its name.
    fn stand(&mut self, record: Record, at: &str) -> Result<(), Error> {
        let zone = self.zone;
        let standing = self.at(&record.owner, at)?;
        stands_beside(&record, &standing.records, zone)?;
        standing.records.push(record);
        Ok(())
    }

    fn at(&mut self, owner: &Name, at: &str) -> Result<&mut Standing, Error> {
        if !self.names.contains_key(owner) {
            let records = self.change.records_at(self.zone.id, owner)?;
            self.change.refuse_unfinished(self.zone.id, &records)?;
            let records = records.iter().map(owner_names::parse).collect::<Result<_, _>>()?;
            self.names.insert(owner.clone(), Standing { records, last: String::new() });
        }
        let standing = self.names.get_mut(owner).ok_or(Fault::Internal)?;
        at.clone_into(&mut standing.last);
        Ok(standing)
    }

    /// Puts all that is new into the change, if it can be served.
    fn end(self) -> Result<(), Error> {
        let Steps { change, zone, touched, names } = self;
        let mut new = Vec::new();
        for (id, Touched { stored, now }) in touched {
            let key = Key::record(zone.id, id);
            match (stored, now) {
                (Some(stored), Some(now)) if stored == now => {}
                (stored, Some(now)) => {
                    match stored {
                        Some(_) => change.put(key, &now)?,
                        None => change.put_new(key, &now)?,
                    }
                    new.push(owner_names::parse(&now)?);
                    if now.proxied {
                        change.put_certificate(zone, &owner_names::owner(&now)?)?;
                    }
                }
                (Some(_), None) => change.delete(key)?,
                (None, None) => {}
            }
        }
        for (owner, Standing { records, last }) in names {
            change.put_name_records(zone, &owner, &records).map_err(|error| error.inside(&last))?;
        }
        new.iter().try_for_each(|record| change.refuse_alias_loop(zone, record))?;
        change.refuse_by_dnames(zone, &new.iter().collect::<Vec<_>>())
    }
}
