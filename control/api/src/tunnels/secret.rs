//! The secret of a tunnel: sealed in the store, known to edges by its hash, and given to connectors inside a token.

use axum::extract::State;
use bartizan_names::TunnelId;
use bartizan_v4::StoredTunnel;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::Ids;
use crate::path::AccountScope;
use crate::reply::Reply;
use crate::state::Api;

/// Bytes of a secret: the least that is accepted, how many are made here, and the most.
pub(super) const SECRET_MIN: usize = 32;
const SECRET_MAX: usize = 1_024;

/// The token with which a connector runs.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/token",
    tag = "Tunnels",
    params(("account_id" = String, Path), ("tunnel_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<String>))
)]
pub(super) async fn token(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope, id)): Ids<(AccountScope, TunnelId)>,
) -> Result<Reply<String>, Error> {
    let account = scope.of(&caller)?;
    let stored = api.read(move |view| view.tunnel_in_force(account, id)).await?;
    Ok(Reply::of(token_of(&api, &stored)?))
}

pub(super) fn secret(text: &str) -> Result<Vec<u8>, Error> {
    // RFC 4648 §4, with padding.
    let secret = BASE64.decode(text.trim()).ok().filter(|secret| (SECRET_MIN..=SECRET_MAX).contains(&secret.len()));
    secret.ok_or_else(|| Error::from(Fault::TunnelSecret).at("/tunnel_secret"))
}

/// Seals the secret into the document, with the hash by which connectors are checked.
pub(super) fn keep_secret(api: &Api, stored: &mut StoredTunnel, secret: &[u8]) {
    stored.secret_sha256 = hex::encode(bartizan_seal::sha256(secret));
    stored.sealed_secret = BASE64.encode(api.seal().seal(&context(stored.id), secret));
}

/// What a token holds: the stock keys, and where the edge is and how its authority's certificate is known, so that our
/// connector needs nothing else.
#[derive(Serialize)]
struct Token<'t> {
    a: String,
    t: String,
    s: String,
    edge: Vec<String>,
    ca_pin: &'t str,
}

pub(super) fn token_of(api: &Api, stored: &StoredTunnel) -> Result<String, Error> {
    let secret = unseal(api, stored)?;
    let token = Token {
        a: stored.account_tag.to_string(),
        t: stored.id.to_string(),
        s: BASE64.encode(secret),
        edge: api.facts().tunnel_edges.iter().map(ToString::to_string).collect(),
        ca_pin: api.ca_pin(),
    };
    let json = serde_json::to_vec(&token).map_err(|error| Error::internal(&error))?;
    Ok(BASE64.encode(json))
}

fn unseal(api: &Api, tunnel: &StoredTunnel) -> Result<Vec<u8>, Error> {
    let sealed = BASE64.decode(&tunnel.sealed_secret).map_err(|error| Error::internal(&error))?;
    let opened = api.seal().open(&context(tunnel.id), &sealed);
    opened.map_err(|_| {
        Fault::Damaged
            .because("its secret does not open by this edge's seal.key; `bartizan doctor` says what mends that")
    })
}

/// A sealed secret opens for its own tunnel only.
fn context(tunnel: TunnelId) -> Vec<u8> {
    format!("tunnel/{tunnel}").into_bytes()
}
