//! The calls of a plain resource as the document of this API has them.

use axum::routing::MethodRouter;
use bartizan_v4::{Deleted, Envelope};
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, HttpMethod, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::router::UtoipaMethodRouter;

use super::{Call, Edit, Editable, Place, Resource};
use crate::reply::Paging;
use crate::state::Api;

impl Call {
    const fn method(self) -> HttpMethod {
        match self {
            Call::List | Call::Get => HttpMethod::Get,
            Call::Create => HttpMethod::Post,
            Call::Edit(Edit::Replace) => HttpMethod::Put,
            Call::Edit(Edit::Patch) => HttpMethod::Patch,
            Call::Delete => HttpMethod::Delete,
        }
    }

    pub(super) const fn is_of_one(self) -> bool {
        matches!(self, Call::Get | Call::Edit(_) | Call::Delete)
    }

    fn takes_body(self) -> bool {
        matches!(self, Call::Create | Call::Edit(_))
    }

    fn summary<R: Resource>(self) -> String {
        match self {
            Call::List => format!("{}.", R::MANY),
            Call::Create => format!("Makes {}.", R::ONE),
            Call::Get => format!("Shows {}.", R::ONE),
            Call::Edit(Edit::Replace) => {
                format!("Replaces {}: what the body leaves out goes back to its default.", R::ONE)
            }
            Call::Edit(Edit::Patch) => format!("Changes {}: what the body leaves out stays.", R::ONE),
            Call::Delete => format!("Deletes {}.", R::ONE),
        }
    }
}

type Schemas = Vec<(String, RefOr<Schema>)>;

/// A call that changes nothing, with its path and its documentation.
pub(super) fn seen<R: Resource>(place: &Place, call: Call, method: MethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    described::<R>(place, call, method, None, Schemas::new())
}

/// A call that changes something.
pub(super) fn edited<R: Editable>(place: &Place, call: Call, method: MethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let mut schemas = Schemas::new();
    let body = call.takes_body().then(|| named::<R::Body>(&mut schemas));
    described::<R>(place, call, method, body, schemas)
}

fn described<R: Resource>(
    place: &Place,
    call: Call,
    method: MethodRouter<Api>,
    body: Option<Ref>,
    mut schemas: Schemas,
) -> UtoipaMethodRouter<Api> {
    let mut path = format!("{}/{}", place.path(), R::PATH);
    if call.is_of_one() {
        path += &format!("/{{{}}}", R::ID);
    }
    let mut paths = Paths::new();
    paths.add_path_operation(path, vec![call.method()], operation::<R>(place, call, body, &mut schemas));
    (schemas, paths, method)
}

fn operation<R: Resource>(place: &Place, call: Call, body: Option<Ref>, schemas: &mut Schemas) -> Operation {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let in_path = |name: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(text()))
            .build()
    };
    let mut parameters: Vec<Parameter> = place.parameter().map(in_path).into_iter().collect();
    if call.is_of_one() {
        parameters.push(in_path(R::ID));
    }
    if call == Call::List {
        parameters.extend(R::Params::into_params(|| Some(ParameterIn::Query)));
        parameters.extend(Paging::into_params(|| Some(ParameterIn::Query)));
    }
    let result = match call {
        Call::List => ArrayBuilder::new().items(named::<R::Sent>(schemas)).into(),
        Call::Delete => named::<Deleted>(schemas).into(),
        Call::Create | Call::Get | Call::Edit(_) => named::<R::Sent>(schemas).into(),
    };
    let result = envelope(result, schemas);
    let body = body.map(|body| {
        let content = Content::new(Some(body));
        RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True)).build()
    });
    OperationBuilder::new()
        .tag(R::MANY)
        .summary(Some(call.summary::<R>()))
        .parameters(Some(parameters))
        .request_body(body)
        .response("200", ResponseBuilder::new().content("application/json", Content::new(Some(result))).build())
        .build()
}

/// The schema of an envelope around a result; what it refers to goes into `schemas`.
fn envelope(result: RefOr<Schema>, schemas: &mut Schemas) -> RefOr<Schema> {
    Envelope::<Deleted>::schemas(schemas);
    let mut envelope = Envelope::<Deleted>::schema();
    if let RefOr::T(Schema::Object(object)) = &mut envelope {
        object.properties.insert("result".to_owned(), result);
    }
    envelope
}

/// A reference to the schema of a `T`, which goes into `schemas` with all that it refers to.
fn named<T: ToSchema>(schemas: &mut Schemas) -> Ref {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
    Ref::from_schema_name(T::name())
}
