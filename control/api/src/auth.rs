//! The guard in front of each route: whether whoever calls may call it, and the note of that in the document.

use std::net::IpAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::Extensions;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::UtoipaMethodRouter;

use crate::error::{Error, Fault};
use crate::extract::Peer;
use crate::openapi::{self, SCHEMES, operations};
use crate::permission::Permission;
use crate::state::Api;

/// Routes that need `permission`: the guard in front, and the note in the document.
pub(crate) fn needs(permission: Permission, api: &Api, routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let (schemas, mut paths, methods) = routes;
    let note = format!("Needs the permission \"{}\".", permission.group());
    let security = || {
        let [token, email, key] = SCHEMES;
        let none: [&str; 0] = [];
        vec![SecurityRequirement::new(token, none), SecurityRequirement::new(email, none).add(key, none)]
    };
    for operation in paths.paths.values_mut().flat_map(operations) {
        operation.security = Some(security());
        openapi::refuses(operation);
        let text = operation.description.take().map(|text| format!("{text}\n\n{note}")).unwrap_or(note.clone());
        operation.description = Some(text);
    }
    let guard = middleware::from_fn_with_state(api.clone(), move |state, request, next| {
        admit(permission, state, request, next)
    });
    (schemas, paths, methods.route_layer(guard))
}

/// Routes that anybody may call.
pub(crate) fn open(routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let (schemas, mut paths, methods) = routes;
    for operation in paths.paths.values_mut().flat_map(operations) {
        operation.security = Some(Vec::new());
        openapi::refuses(operation);
    }
    (schemas, paths, methods)
}

/// Where a request came from; none if it did not come over a socket.
pub(crate) fn peer_of(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(peer))| peer.ip())
}

async fn admit(permission: Permission, State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let peer = peer_of(request.extensions());
    match api.caller(request.headers(), peer).await {
        Ok(mut caller) if caller.may(permission) => {
            caller.client = peer.map(|peer| peer.to_canonical());
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(_) => Error::from(Fault::NotAllowed).into_response(),
        Err(error) => error.into_response(),
    }
}
