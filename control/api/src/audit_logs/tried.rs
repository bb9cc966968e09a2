//! What a call that was only tried would commit, beside its answer.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bartizan_names::AccountId;
use bartizan_store::{AuditAction, Key, Kind, Scope};
use bartizan_v4::audit_log::{self, AuditMetadata, AuditResource, DryRun, UndoneChange};
use http::header;
use http_body_util::BodyExt;

use super::kinds;
use super::sight::Sight;
use crate::caller::Caller;
use crate::dry_run::Step;
use crate::error::Error;

/// The answer with what the call would do; one that refuses it as it is. `edge` is the edge's own account.
pub(crate) async fn with_dry_run(mut response: Response, caller: &Caller, edge: AccountId) -> Response {
    let noted = caller.dry_run.as_ref().and_then(|dry_run| dry_run.take());
    let Some((steps, objects)) = noted.filter(|_| response.status().is_success()) else { return response };
    let told = DryRun { changes: steps.into_iter().filter_map(|step| told(step, caller, edge)).collect(), objects };
    let body = match std::mem::take(response.body_mut()).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Error::internal(&error).into_response(),
    };
    let told = match serde_json::to_string(&told) {
        Ok(told) => told,
        Err(error) => return Error::internal(&error).into_response(),
    };
    // Every answer to a write is an object, and this is its last member.
    let answer = body.strip_suffix(b"}").unwrap_or(&body);
    let text = [answer, br#","dry_run":"#, told.as_bytes(), b"}"].concat();
    // A session that is not ended stays in the browser, and what was not made has no tag.
    for done in [header::CONTENT_LENGTH, header::SET_COOKIE, header::ETAG] {
        response.headers_mut().remove(done);
    }
    *response.body_mut() = Body::from(text);
    response
}

/// One object, if the caller may see it: what comes by the call itself they know.
fn told(step: Step, caller: &Caller, edge: AccountId) -> Option<UndoneChange> {
    let Step { key, account, before, after } = step;
    let account = match (key.kind(), key.scope()) {
        (Kind::Membership, _) => key.id_as(),
        (_, Scope::Account(account)) => Some(account),
        _ => account,
    };
    let acts_in = account.filter(|account| caller.accounts.contains(account)).unwrap_or(caller.account);
    let is_seen = before.is_none() || Sight::new(&caller.clone().acting_in(acts_in), edge).covers_in(&key, account);
    if !is_seen {
        return None;
    }
    let kind = match (&before, &after) {
        // Settings are there before anybody writes them down.
        (None, _) if key.kind() == Kind::Settings => AuditAction::Change,
        (None, _) => AuditAction::Add,
        (Some(_), None) => AuditAction::Delete,
        (Some(_), Some(_)) => AuditAction::Change,
    };
    let name = after.as_ref().or(before.as_ref()).and_then(|value| key.kind().name_in(&value.json));
    let old = before.as_ref().and_then(|value| kinds::shown(key.kind(), &value.json));
    let new = after
        .as_ref()
        .and_then(|after| kinds::shown_behind(key.kind(), before.as_ref().map(|before| &*before.json), &after.json));
    Some(UndoneChange {
        action: audit_log::AuditAction { result: true, kind: kind.to_string() },
        resource: AuditResource { id: id_of(&key), kind: key.kind().text().to_owned() },
        metadata: AuditMetadata {
            name,
            zone_id: key.zone_id().map(|zone| zone.to_string()),
            ..AuditMetadata::default()
        },
        old_value: old,
        new_value: new,
    })
}

/// As clients know it: where a scope has one of the kind, the scope's.
pub(super) fn id_of(key: &Key) -> String {
    match key.id() {
        "" => key.scope().to_string().rsplit('/').next().unwrap_or_default().to_owned(),
        id => id.to_owned(),
    }
}
