//! The document of this API, OpenAPI 3.1, made from the routes that serve and the types that they take and give.

use axum::response::{IntoResponse, Response};
use bartizan_v4::Failure;
use http::header;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder, Server};
use utoipa::{PartialSchema, ToSchema};

use crate::path::BASE;

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

/// Says that a call may fail, and how that looks.
pub(crate) fn refuses(operation: &mut Operation) {
    for (status, what) in [("4XX", "The call is refused; nothing has changed."), ("5XX", "The edge cannot do it now.")]
    {
        let content = Content::new(Some(Ref::from_schema_name(FAILURE)));
        let response = ResponseBuilder::new().description(what).content("application/json", content).build();
        operation.responses.responses.insert(status.to_owned(), response.into());
    }
}

/// Serves the text of the document.
pub(crate) fn response(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}
