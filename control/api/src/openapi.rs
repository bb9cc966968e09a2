//! The document of this API, OpenAPI 3.1, made from the routes that serve and the types that they take and give.

use axum::response::{IntoResponse, Response};
use bartizan_v4::Failure;
use http::header;
use serde_json::Value;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, Content, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder, Server, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::path::BASE;

/// The parameter of paths that is a name.
const SETTING_ID: &str = "setting_id";

/// The parameter of calls that are only tried.
const DRY_RUN: &str = "dry_run";

/// The schema of all replies to calls that failed.
const FAILURE: &str = "Failure";

/// The names of the ways to authenticate in it.
pub(crate) const SCHEMES: [&str; 4] = ["api_token", "api_email", "api_key", "session"];

/// The document before any route is in it.
pub(crate) fn empty(version: &str) -> OpenApi {
    let [token, email, key, session] = SCHEMES;
    let header = |name| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name)));
    let mut components = Components::new();
    components
        .add_security_scheme(token, SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()));
    components.add_security_scheme(email, header("X-Auth-Email"));
    components.add_security_scheme(key, header("X-Auth-Key"));
    let cookie = ApiKeyValue::with_description(
        "__Host-bartizan",
        "What `POST /bartizan/sessions` sets; `bartizan` where the API is reached without TLS. What it changes needs an \
         `Origin` header that is this API's.",
    );
    components.add_security_scheme(session, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components.schemas.insert(FAILURE.to_owned(), Failure::schema());
    let mut parts = Vec::new();
    Failure::schemas(&mut parts);
    components.schemas.extend(parts);
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Bartizan").version(version).description(Some(
            "The v4 dialect, as far as this edge serves it. Every reply is an envelope; lists carry `result_info`.",
        )))
        .servers(Some([Server::new(BASE)]))
        .components(Some(components))
        .build()
}

/// All operations of one path.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
        .into_iter()
        .filter_map(Option::as_mut)
}

/// Those of them that change something.
pub(crate) fn writes(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().filter_map(Option::as_mut)
}

/// Says that a call may be made to see what it would do.
pub(crate) fn can_be_tried(operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    if parameters.iter().any(|one| matches!(one, RefOr::T(parameter) if parameter.name == DRY_RUN)) {
        return;
    }
    let schema = ObjectBuilder::new().schema_type(Type::Boolean).build();
    let parameter = ParameterBuilder::new()
        .name(DRY_RUN)
        .parameter_in(ParameterIn::Query)
        .description(Some(
            "An extra of ours: the call is judged, and nothing is done; `dry_run` of the answer says what would be.",
        ))
        .schema(Some(schema));
    parameters.push(RefOr::T(parameter.build()));
}

/// Says that a call may fail, and how that looks.
pub(crate) fn refuses(operation: &mut Operation) {
    for (status, what) in [("4XX", "The call is refused; nothing has changed."), ("5XX", "The edge cannot do it now.")]
    {
        let content = Content::new(Some(Ref::from_schema_name(FAILURE)));
        let response = ResponseBuilder::new().description(what).content("application/json", content).build();
        operation.responses.responses.insert(status.to_owned(), response.into());
    }
}

/// The text of a document in which all routes are. What the types cannot say of themselves is said here: each operation has
/// an id of its own and describes its replies (OpenAPI 3.1 §4.8.17), ids in paths have their form, what is counted has no
/// width, and every envelope has a result.
pub(crate) fn finished(document: &OpenApi) -> serde_json::Result<String> {
    let mut document = serde_json::to_value(document)?;
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation["operationId"] = operation_id(method, path).into();
            if let Some(Value::Array(parameters)) = operation.get_mut("parameters") {
                parameters.iter_mut().for_each(parameter);
            }
            if let Some(Value::Object(responses)) = operation.get_mut("responses") {
                for response in responses.values_mut().filter_map(Value::as_object_mut) {
                    response.entry("description").or_insert("What was asked for.".into());
                }
            }
        }
    }
    schemas(&mut document);
    serde_json::to_string(&document)
}

/// `get-zones-zone_id-settings`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split('/').map(|part| part.trim_matches(['{', '}'])).filter(|part| !part.is_empty());
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("-")
}

fn parameter(parameter: &mut Value) {
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    let in_path = parameter["in"] == "path";
    let Some(schema) = parameter["schema"].as_object_mut() else { return };
    // Text of a URL is never null.
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_mut_slice() {
            let only = only.take();
            schema.insert("type".to_owned(), only);
        }
    }
    match name.as_str() {
        "parent" if in_path => drop(schema.insert("pattern".to_owned(), "^[A-Za-z0-9._-]{1,253}$".into())),
        "hostname" if in_path => drop(schema.insert("pattern".to_owned(), "^[A-Za-z0-9.*_-]{1,253}$".into())),
        "tunnel_id" | "certificate_id" | "mtls_certificate_id" if in_path => {
            drop(schema.insert("format".to_owned(), "uuid".into()))
        }
        name if in_path && name.ends_with("_id") && name != SETTING_ID => {
            schema.insert("pattern".to_owned(), "^[0-9a-f]{32}$".into());
        }
        _ => {}
    }
}

/// All schemas in `value`, as deep as they lie.
fn schemas(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // Widths of integers are ours: what is not negative may be larger than the signed number of that width.
            if fields.contains_key("format") && fields.get("minimum") == Some(&Value::from(0)) {
                fields.remove("format");
            }
            let is_envelope = fields.get("properties").is_some_and(|properties| properties["messages"].is_object());
            if let Some(Value::Array(required)) = fields.get_mut("required")
                && is_envelope
                && !required.contains(&Value::from("result"))
            {
                required.insert(0, "result".into());
            }
            fields.values_mut().for_each(schemas);
        }
        Value::Array(items) => items.iter_mut().for_each(schemas),
        _ => {}
    }
}

/// Serves the text of the document.
pub(crate) fn response(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}
