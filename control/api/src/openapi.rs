//! The document of this API, OpenAPI 3.1, made from the routes that serve and the types that they take and give.

use axum::response::{IntoResponse, Response};
use http::header;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, OpenApi, OpenApiBuilder, Server};

use crate::access::SCHEMES;
use crate::path::BASE;

/// The document before any route is in it.
pub(crate) fn empty(version: &str) -> OpenApi {
    let [token, email, key] = SCHEMES;
    let header = |name| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name)));
    let mut components = Components::new();
    components
        .add_security_scheme(token, SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()));
    components.add_security_scheme(email, header("X-Auth-Email"));
    components.add_security_scheme(key, header("X-Auth-Key"));
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Bartizan").version(version).description(Some(
            "The v4 dialect, as far as this edge serves it. Every reply is an envelope; lists carry `result_info`.",
        )))
        .servers(Some([Server::new(BASE)]))
        .components(Some(components))
        .build()
}

/// Serves the text of the document.
pub(crate) fn response(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}
