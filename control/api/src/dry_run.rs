//! `?dry_run=true` at a call that would change something, an extra of ours: it is decided and judged as any other, on the newest
//! state, and nothing of it is done.
//!
//! ```text
//! guard: asked ─► Caller ─► Writes: what the change put together is noted, and let go of ─► reply, and what was noted
//! ```
//! The reply is what it would be, except that nothing in it is there: an id, a token, a key. Beside it stands what would be
//! committed, object by object. A refusal is the refusal. A call that does its work in another way than by a change of the
//! store asks [`Caller::only_tries`](crate::caller::Caller::only_tries) before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bartizan_names::{AccountId, ZoneId};
use bartizan_store::{Key, Op, Value};
use http::request::Parts;

use crate::error::{Error, Fault};
use crate::query;

/// Objects that are noted one by one, and the octets of their documents: a batch may have ten thousand.
const NOTED_MAX: usize = 1_000;
const NOTED_BYTES_MAX: usize = 4 << 20;

#[derive(serde::Deserialize)]
struct Params {
    dry_run: Option<bool>,
}

/// Whether a call is only to be tried. One that says so in words that nobody understands is none.
pub(crate) fn is_asked(uri: &http::Uri) -> Result<bool, Error> {
    Ok(query::read::<Params>(uri)?.dry_run == Some(true))
}

/// What a call would do that is only tried.
#[derive(Debug, Default)]
pub(crate) struct DryRun(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    steps: Vec<Step>,
    objects: u64,
    bytes: usize,
    /// The answer of its own says what the call would do.
    is_told: bool,
}

/// What would become of an object.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) key: Key,
    /// Whose zone it is in.
    pub(crate) account: Option<AccountId>,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl DryRun {
    /// For a call, if it asks for it.
    pub(crate) fn of(parts: &Parts) -> Result<Option<DryRun>, Error> {
        if parts.method.is_safe() { Ok(None) } else { Ok(is_asked(&parts.uri)?.then(DryRun::default)) }
    }

    /// Notes what a change would commit. `read` tells what is there now, and whose a zone is.
    pub(crate) fn note(
        &self,
        ops: &[Op],
        read: impl Fn(&Key) -> Result<Option<Value>, Error>,
        account_of: impl Fn(ZoneId) -> Result<Option<AccountId>, Error>,
    ) -> Result<(), Error> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The last step of an object is what becomes of it.
        let mut last: HashMap<&Key, &Op> = HashMap::new();
        let mut keys = Vec::new();
        for op in ops.iter().filter(|op| op.key().kind().is_audited()) {
            if last.insert(op.key(), op).is_none() {
                keys.push(op.key());
            }
        }
        for key in keys {
            let after = last.get(key).and_then(|op| if let Op::Put { value, .. } = op { Some(value) } else { None });
            let before = read(key)?;
            if before.as_ref() == after {
                continue;
            }
            noted.objects += 1;
            let bytes: usize = [before.as_ref(), after].into_iter().flatten().map(|value| value.json.len()).sum();
            if noted.steps.len() >= NOTED_MAX || noted.bytes + bytes > NOTED_BYTES_MAX {
                continue;
            }
            noted.bytes += bytes;
            let account = match key.zone_id() {
                Some(zone) => account_in(&last, zone).map_or_else(|| account_of(zone), |account| Ok(Some(account)))?,
                None => None,
            };
            noted.steps.push(Step { key: key.clone(), account, before, after: after.cloned() });
        }
        Ok(())
    }

    /// To be called where the answer of its own says what the call would do.
    pub(crate) fn is_told_by_the_answer(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_told = true;
    }

    /// What was noted, and of how many objects; none if the answer says it.
    pub(crate) fn take(&self) -> Option<(Vec<Step>, u64)> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (!noted.is_told).then_some((noted.steps, noted.objects))
    }
}

/// The account of a zone that comes with the change.
fn account_in(ops: &HashMap<&Key, &Op>, zone: ZoneId) -> Option<AccountId> {
    let Op::Put { value, .. } = ops.get(&Key::zone(zone))? else { return None };
    let document: serde_json::Value = serde_json::from_str(&value.json).ok()?;
    document.pointer("/account/id")?.as_str()?.parse().ok()
}

/// A call that lets somebody in is none that could be tried.
pub(crate) fn refuse(uri: &http::Uri) -> Result<(), Error> {
    match is_asked(uri)? {
        true => Err(Fault::BadQuery.because("dry_run: this call cannot be tried")),
        false => Ok(()),
    }
}
