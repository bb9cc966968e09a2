//! `/zones/{zone_id}/dns_records`: what DNS answers, and what the edge stands in front of.
//!
//! The unit of a change is the owner name: whether a record is identical to one that is there, and whether a CNAME stands
//! in its way, is decided on all records of that name in the state that the change lands on.

mod aliases;
mod batch;
mod dnames;
mod export;
mod import;
mod lines;
mod query;
mod rules;

use axum::extract::State;
use bartizan_model::{Stamp, Zone, merge};
use bartizan_names::{RecordId, Timestamp, ZoneId};
use bartizan_store::{Key, Kind, RecordQuery};
use bartizan_v4::{Integer, Patch, RecordBody};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::import::foretold;
pub(crate) use self::import::{Changed, Mode as ImportMode, TakenBack, read_import, take_back, undo_all, waited_for};
pub use self::lines::write as write_line;
use self::query::Params;
use self::rules::beside_others;
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::owner_names;
use crate::permission::Permission;
use crate::reply::{KeptPage, PageSizes};
use crate::resource::{self, All, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};

/// How many records a page may have. The dialect allows five million, which would take gigabytes; 10,000 are some 5 MB
/// of JSON. A client that asks for more sees in `result_info` how many it got, and a page of large records is refused.
const SIZES: PageSizes = PageSizes { min: 1, default: 100, max: 10_000 };

/// Seconds for which resolvers may keep what shows that a name is ours.
const CHALLENGE_TTL: i64 = 60;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<Records>(api)
        .routes(needs(Permission::DnsRead, api, routes!(list)))
        .routes(needs(Permission::DnsRead, api, routes!(export::export)))
        .routes(needs(Permission::DnsWrite, api, routes!(import::import)))
        .routes(needs(Permission::DnsWrite, api, routes!(batch::batch)))
}

struct Records;

impl Resource for Records {
    const KIND: Kind = Kind::Record;
    const PLACES: &'static [Place] = &[Place::changed(Owner::Zone, Permission::DnsRead, Permission::DnsWrite)];
    const PATH: &'static str = "dns_records";
    const ID: &'static str = "dns_record_id";
    const ONE: &'static str = "a record";
    const MANY: &'static str = "DNS records";
    const CALLS: &'static [Call] =
        &[Call::Get, Call::Create, Call::Edit(Edit::Replace), Call::Edit(Edit::Patch), Call::Delete];
    const SIZES: PageSizes = SIZES;
    const UNKNOWN: Fault = Fault::RecordUnknown;

    type Id = RecordId;
    type Params = All;
    type Document = bartizan_v4::Record;
    type Sent = bartizan_v4::Record;

    fn sent(_: &Here<'_>, _: &View, record: bartizan_v4::Record) -> Result<bartizan_v4::Record, Error> {
        Ok(record)
    }
}

impl Editable for Records {
    type Body = RecordBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &RecordBody) -> Result<bartizan_v4::Record, Error> {
        let id = owner_names::new_id(change.now());
        let stamp = Stamp { id, created_on: change.now(), modified_on: change.now() };
        beside_others(change, &here.zone()?, stamp, body)
    }

    fn edit(
        here: &Here<'_>,
        change: &mut Change,
        old: &bartizan_v4::Record,
        body: &RecordBody,
        edit: Edit,
    ) -> Result<bartizan_v4::Record, Error> {
        let document = match edit {
            Edit::Replace => beside_others(change, &here.zone()?, stamp_of(old), body),
            Edit::Patch => beside_others(change, &here.zone()?, stamp_of(old), &merge(old, body.clone())),
        };
        Ok(since(old, document?, change.now()))
    }

    fn id(record: &bartizan_v4::Record) -> RecordId {
        record.id
    }

    fn stamp(record: &mut bartizan_v4::Record, now: Timestamp) {
        record.modified_on = now;
    }

    fn put(
        here: &Here<'_>,
        change: &mut Change,
        old: Option<&bartizan_v4::Record>,
        new: &bartizan_v4::Record,
    ) -> Result<(), Error> {
        change.put_records(&here.zone()?, old.cloned().as_slice(), &[(owner_names::parse(new)?, new.clone())])
    }

    fn delete(here: &Here<'_>, change: &mut Change, id: RecordId) -> Result<(), Error> {
        let zone = here.zone()?;
        match change.record(zone.id, id).and_then(|stored| owner_names::owner(&stored).map(|_| stored)) {
            Ok(stored) => change.put_records(&zone, &[stored], &[]),
            Err(error) if error.fault == Fault::Damaged => change.delete_unread_records(zone.id, &[id]),
            Err(error) => Err(error),
        }
    }
}

/// A text at `_acme-challenge` below a host, for a public authority that looks for it (RFC 8555 §8.4).
pub(crate) fn put_challenge(change: &mut Change, zone: &Zone, host: &str, text: &str) -> Result<RecordId, Error> {
    let id = owner_names::new_id(change.now());
    let stamp = Stamp { id, created_on: change.now(), modified_on: change.now() };
    let body = RecordBody {
        kind: Patch::Value("TXT".to_owned()),
        name: Patch::Value(format!("_acme-challenge.{host}.")),
        content: Patch::Value(format!("\"{text}\"")),
        ttl: Patch::Value(Integer(CHALLENGE_TTL)),
        comment: Patch::Value("for a certificate, and soon gone".to_owned()),
        ..RecordBody::default()
    };
    let document = beside_others(change, zone, stamp, &body)?;
    change.put_records(zone, &[], &[(owner_names::parse(&document)?, document)])?;
    Ok(id)
}

fn stamp_of(old: &bartizan_v4::Record) -> Stamp {
    Stamp { id: old.id, created_on: old.created_on, modified_on: old.modified_on }
}

/// `new` in place of `old`, with the times since when its comment and its tags are as they are.
fn since(old: &bartizan_v4::Record, mut new: bartizan_v4::Record, now: Timestamp) -> bartizan_v4::Record {
    let time = |same: bool, old: Option<Timestamp>, is_said: bool| if same { old } else { is_said.then_some(now) };
    new.comment_modified_on = time(new.comment == old.comment, old.comment_modified_on, new.comment.is_some());
    new.tags_modified_on = time(new.tags == old.tags, old.tags_modified_on, !new.tags.is_empty());
    new
}

impl View {
    fn record(&self, zone: ZoneId, id: RecordId) -> Result<bartizan_v4::Record, Error> {
        self.find(&Key::record(zone, id))?.ok_or_else(|| Fault::RecordUnknown.into())
    }

    pub(crate) fn records(&self, query: &RecordQuery) -> Result<Listed<bartizan_v4::Record>, Error> {
        Listed::page(&self.0.records(query)?)
    }
}

/// The records of a zone.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dns_records",
    tag = "DNS records",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<bartizan_v4::Record>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<KeptPage, Error> {
    let page = SIZES.page(params.page, params.per_page);
    let is_search = params.is_search();
    let read = move |view: &View| {
        let query = params.query(&view.zone_of(&caller, zone)?, page)?;
        Listed::kept::<bartizan_v4::Record>(view.0.records(&query)?)
    };
    let records = if is_search { api.search(read).await? } else { api.read_list(read).await? };
    Ok(KeptPage::new(records.documents, page, records.total, records.left_out).looked_at(records.looked_at))
}
