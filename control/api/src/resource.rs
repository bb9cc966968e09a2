//! Plain resources: what is listed, got, made, changed and deleted. Their handlers, routes and documentation are here
//! once; a resource says what it is called, where it is, and how a body becomes a document.
//!
//! ```text
//! GET    <place>/<path>        list      R::list (all of the scope, in the order of their keys, unless said otherwise)
//! POST   <place>/<path>        create    body ─ R::make ─► document ─ R::put ─► one revision
//! GET    <place>/<path>/<id>   get
//! PUT    <place>/<path>/<id>   replace   document, body ─ R::edit ─► document, if anything is new ─ R::put ─► one revision
//! PATCH  <place>/<path>/<id>   patch
//! DELETE <place>/<path>/<id>   delete    R::delete: by its key, also a document that cannot be read
//! ```
//! What must be unique, or is kept in more than one object, is put and deleted by the resource itself. Further calls have
//! handlers of their own, beside these.

mod calls;
mod openapi;
mod place;

use std::fmt::Display;
use std::str::FromStr;

use axum::routing::{MethodFilter, on};
use bartizan_model::Zone;
use bartizan_names::{AccountId, Timestamp, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

pub(crate) use bartizan_store::Owner;

pub(crate) use self::place::Place;
use crate::auth::{needs, needs_and_compares};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::reply::{Page, PageSizes};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};
use crate::zones;

/// What a resource is, and how it is shown.
pub(crate) trait Resource: Sized + 'static {
    /// Its kind in the store, where each is kept below its owner.
    const KIND: Kind;
    /// Whose it can be.
    const PLACES: &'static [Place];
    /// The path below its owner, without slashes around it.
    const PATH: &'static str;
    /// The name of the path's parameter for one of them.
    const ID: &'static str;
    /// For the document, with an article: `an access rule`.
    const ONE: &'static str;
    /// And as a heading: `IP access rules`.
    const MANY: &'static str;
    /// Which calls there are beside those that have handlers of their own.
    const CALLS: &'static [Call];
    const SIZES: PageSizes;
    const UNKNOWN: Fault;
    /// Whether one is shown as it is kept, and no more of it: then it has a tag for `If-Match`.
    const TAGGED: bool = true;

    type Id: FromStr + Display + Copy + Send + Sync;
    /// Filters and order of a list, without the page.
    type Params: DeserializeOwned + IntoParams + Send;
    type Document: Serialize + DeserializeOwned + Clone + PartialEq;
    /// A document as clients see it.
    type Sent: Serialize + ToSchema + Send;

    fn sent(here: &Here<'_>, view: &View, document: Self::Document) -> Result<Self::Sent, Error>;

    /// One that is asked for by itself, where that tells more than a list.
    fn shown(here: &Here<'_>, view: &View, document: Self::Document) -> Result<Self::Sent, Error> {
        Self::sent(here, view, document)
    }

    fn list(here: &Here<'_>, view: &View, params: Self::Params, page: Page) -> Result<Listed<Self::Document>, Error> {
        let _ = params;
        view.page(&Prefix::of(here.scope, Self::KIND), page)
    }
}

/// A resource that callers change.
pub(crate) trait Editable: Resource {
    type Body: DeserializeOwned + ToSchema + Send + Sync;

    /// A new one, as `body` asks for it. May run more than once, as all that is done to a [`Change`].
    fn make(here: &Here<'_>, change: &mut Change, body: &Self::Body) -> Result<Self::Document, Error>;

    /// `old` as `body` wants it.
    fn edit(
        here: &Here<'_>,
        change: &mut Change,
        old: &Self::Document,
        body: &Self::Body,
        edit: Edit,
    ) -> Result<Self::Document, Error>;

    fn id(document: &Self::Document) -> Self::Id;

    /// Notes when it was changed.
    fn stamp(document: &mut Self::Document, now: Timestamp);

    /// Puts `new` in place of `old`, with all that follows from it.
    fn put(
        here: &Here<'_>,
        change: &mut Change,
        old: Option<&Self::Document>,
        new: &Self::Document,
    ) -> Result<(), Error> {
        let _ = old;
        change.put(key::<Self>(here.scope, Self::id(new)), new)
    }

    /// Deletes one, with all that it holds.
    fn delete(here: &Here<'_>, change: &mut Change, id: Self::Id) -> Result<(), Error> {
        let key = key::<Self>(here.scope, id);
        if change.has(&key)? { change.delete(key) } else { Err(Self::UNKNOWN.into()) }
    }

    /// Whether its maker is told a secret that nobody is told again.
    const TELLS_ONCE: bool = false;

    /// A new one as only its maker sees it.
    fn made(here: &Here<'_>, view: &View, document: Self::Document) -> Result<Self::Sent, Error> {
        Self::sent(here, view, document)
    }

    /// What the caller should know although the call succeeded: a code and a text each.
    fn messages(here: &Here<'_>, body: &Self::Body, document: &Self::Document) -> Result<Vec<(u32, String)>, Error> {
        let _ = (here, body, document);
        Ok(Vec::new())
    }
}

/// Where a call is made, and by whom: the edge that it came to, and the owner that its path names.
pub(crate) struct Here<'c> {
    pub(crate) api: &'c Api,
    pub(crate) caller: &'c Caller,
    pub(crate) scope: Scope,
    /// The owner's document, if it is a zone.
    zone: Option<bartizan_v4::Zone>,
}

impl<'c> Here<'c> {
    /// For who deals with an object of whatever owner.
    pub(crate) fn of(api: &'c Api, caller: &'c Caller, scope: Scope, zone: Option<bartizan_v4::Zone>) -> Here<'c> {
        Here { api, caller, scope, zone }
    }
}

impl Here<'_> {
    pub(crate) fn account_id(&self) -> Result<AccountId, Error> {
        if let Scope::Account(account) = self.scope { Ok(account) } else { Err(Fault::Internal.into()) }
    }

    pub(crate) fn zone_id(&self) -> Result<ZoneId, Error> {
        if let Scope::Zone(zone) = self.scope { Ok(zone) } else { Err(Fault::Internal.into()) }
    }

    pub(crate) fn zone(&self) -> Result<Zone, Error> {
        self.zone.as_ref().map_or_else(|| Err(Fault::Internal.into()), zones::parse)
    }
}

/// One of the calls that a plain resource has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    List,
    Get,
    Create,
    Edit(Edit),
    Delete,
}

/// The two ways to change what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// PUT: what the body leaves out goes back to its default.
    Replace,
    /// PATCH: what the body leaves out stays.
    Patch,
}

/// No filters, and one order.
#[derive(serde::Deserialize, IntoParams)]
pub(crate) struct All {}

/// The routes by which a resource is seen, in all its places.
pub(crate) fn seen<R: Resource>(api: &Api) -> OpenApiRouter<Api> {
    let calls = || {
        let all = [
            (Call::List, on(MethodFilter::GET, calls::list::<R>)),
            (Call::Get, on(MethodFilter::GET, calls::get::<R>)),
        ];
        all.into_iter().filter(|(call, _)| R::CALLS.contains(call))
    };
    R::PLACES.iter().fold(OpenApiRouter::new(), |router, place| {
        debug_assert!(R::KIND.owners().contains(&place.owner), "{} is kept as {:?}", R::PATH, R::KIND);
        calls().fold(router, |router, (call, method)| {
            router.routes(needs(place.read, api, openapi::seen::<R>(place, call, method)))
        })
    })
}

/// All routes of a resource that callers change.
pub(crate) fn routes<R: Editable>(api: &Api) -> OpenApiRouter<Api> {
    let calls = || {
        let all = [
            (Call::Create, on(MethodFilter::POST, calls::create::<R>)),
            (Call::Edit(Edit::Replace), on(MethodFilter::PUT, calls::replace::<R>)),
            (Call::Edit(Edit::Patch), on(MethodFilter::PATCH, calls::patch::<R>)),
            (Call::Delete, on(MethodFilter::DELETE, calls::delete::<R>)),
        ];
        all.into_iter().filter(|(call, _)| R::CALLS.contains(call))
    };
    let places = R::PLACES.iter().filter_map(|place| Some((place, place.write?)));
    places.fold(seen::<R>(api), |router, (place, write)| {
        calls().fold(router, |router, (call, method)| {
            let guard = if call.is_of_one() { needs_and_compares } else { needs };
            router.routes(guard(write, api, openapi::edited::<R>(place, call, method)))
        })
    })
}

fn key<R: Resource>(scope: Scope, id: R::Id) -> Key {
    Key::new(scope, R::KIND, id)
}
