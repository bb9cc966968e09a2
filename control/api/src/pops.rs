//! `/bartizan/pops`: the places where this edge runs, each an object of the store. What a PoP is called and which addresses
//! it has is decided there, so whoever gives an address away guards the PoP that has it.

use std::sync::Arc;

use bartizan_certs::Certs;
use bartizan_model::{Pop, PopError};
use bartizan_names::PopId;
use bartizan_store::{Key, Kind, Prefix, Scope, Store};
use bartizan_v4::PopBody;
use utoipa_axum::router::OpenApiRouter;

use crate::error::{Error, Fault};
use crate::permission::Permission;
use crate::reply::PageSizes;
use crate::resource::{self, All, Call, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, View, damaged};
use crate::writes::{By, Writes};

/// For the change log.
const INTERFACE: &str = "setup";

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::seen::<Pops>(api)
}

struct Pops;

impl Resource for Pops {
    const KIND: Kind = Kind::Pop;
    const PLACES: &'static [Place] = &[Place::seen(Owner::Edge, Permission::AccountSettingsRead)];
    const PATH: &'static str = "pops";
    const ID: &'static str = "pop_id";
    const ONE: &'static str = "a place where this edge runs";
    const MANY: &'static str = "Edge";
    const CALLS: &'static [Call] = &[Call::List, Call::Get];
    /// PoPs are few: all of them are on the first page.
    const SIZES: PageSizes = PageSizes { min: 1, default: 1_000, max: 1_000 };
    const UNKNOWN: Fault = Fault::PopUnknown;

    type Id = PopId;
    type Params = All;
    type Document = bartizan_v4::Pop;
    type Sent = bartizan_v4::Pop;

    fn sent(_: &Here<'_>, _: &View, pop: bartizan_v4::Pop) -> Result<bartizan_v4::Pop, Error> {
        Ok(pop)
    }
}

/// Sees to it that the PoP of this machine is in the store as its operator wants it, and gives it as it is there. Changes
/// nothing where nothing is new. Blocks.
pub fn declare_pop(store: &Store, certs: &Certs, body: &PopBody) -> Result<Pop, DeclareError> {
    let id = View(store.read().map_err(Error::from)?).own_pop_id()?;
    let id = id.unwrap_or_else(|| PopId::from_bytes(bartizan_seal::random()));
    let pop = Pop::parse_body(id, body)?;
    let writes = Writes::new(store.clone(), certs.clone(), Arc::default());
    writes.change(By::Edge(INTERFACE), |change| change.declare_pop(&pop))?;
    Ok(pop)
}

/// Why a PoP is not as its operator wants it.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    #[error(transparent)]
    Pop(#[from] PopError),
    #[error("the PoP cannot be put in the store: {0}")]
    Store(#[from] Error),
}

/// The PoP of this machine as it was declared last, if ever. Blocks.
pub fn declared_pop(store: &Store) -> Result<Option<Pop>, Error> {
    let view = View(store.read()?);
    view.own_pop_id()?.map(|id| parse(&view.pop_document(id)?)).transpose()
}

fn parse(document: &bartizan_v4::Pop) -> Result<Pop, Error> {
    Pop::parse(document).map_err(|error| damaged(&Key::pop(document.id), &error))
}

impl View {
    pub(crate) fn pop_document(&self, id: PopId) -> Result<bartizan_v4::Pop, Error> {
        self.find(&Key::pop(id))?.ok_or_else(|| Fault::Damaged.because(Key::pop(id)))
    }

    /// One machine is one PoP, so this is the only one, be it readable or not.
    fn own_pop_id(&self) -> Result<Option<PopId>, Error> {
        let keys = self.keys(&Prefix::of(Scope::Edge, Kind::Pop), None, 1)?;
        Ok(keys.first().and_then(Key::id_as))
    }
}

impl Change {
    fn declare_pop(&mut self, pop: &Pop) -> Result<(), Error> {
        // The flags say all of it, so one that cannot be read is written anew.
        let old = self.if_readable::<bartizan_v4::Pop>(&Key::pop(pop.id))?;
        if old.as_ref().is_some_and(|old| Pop::parse(old).as_ref() == Ok(pop)) {
            return Ok(());
        }
        let Pop { id, name, addresses, pools } = pop.clone();
        let document = bartizan_v4::Pop {
            id,
            name,
            addresses,
            pools,
            created_on: old.map_or(self.now(), |old| old.created_on),
            modified_on: self.now(),
        };
        self.put(Key::pop(id), &document)
    }

    /// The PoP as what is decided now goes by it: the change does not land if it becomes another one meanwhile.
    pub(crate) fn guarded_pop(&mut self, id: PopId) -> Result<Pop, Error> {
        self.guard(&Key::pop(id))?;
        parse(&self.pop_document(id)?)
    }
}
