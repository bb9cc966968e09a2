//! `POST /zones/{zone_id}/dns_records/import`: a master file becomes records of a zone, all of them or none.
//!
//! ```text
//! form ─ pieces ─► file: lines are read and checked ─► landing: one revision, or many that are undone together
//! ```
//! SOA, name servers of the zone itself and what signs it are left out, and so is what is there already; `messages` say so,
//! line by line. All else that cannot be kept refuses the file, with an error for each line.
//!
//! Files on their way in are bounded in number and octets (`crate::spools`). One that is there takes a turn, and an account
//! has one import at work, so that a slow upload holds up nobody.

mod drafts;
mod file;
mod foretold;
mod form;
mod landing;
mod take_back;
mod told;
mod undo;

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bartizan_clock::Clock;
use bartizan_names::{RecordId, Timestamp, ZoneId};
use bartizan_v4::dns_import::{Import, ImportEnvelope, ImportPreview, Timing};
use http::StatusCode;
use tokio::sync::mpsc;

use self::file::ZoneFile;
pub use self::foretold::foretold;
pub(crate) use self::landing::Mode;
use self::landing::{Outcome, land};
pub(crate) use self::take_back::{Changed, TakenBack, take_back};
use self::told::Told;
pub(crate) use self::undo::undo_all;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Patience, Query};
use crate::reply;
use crate::state::Api;
use crate::writes::blocking;

/// Pieces of a file that wait to be read: some hundred kilobytes.
const PIECES_MAX: usize = 16;

/// Imports at once, in all zones, beside one.
const OTHERS_MAX: usize = 1;

/// How often whoever waits for a long one is known to be waited for.
const RENEWED_EVERY: Duration = Duration::from_secs(10);

#[derive(serde::Deserialize, utoipa::IntoParams)]
pub(super) struct Params {
    /// An extra of ours: say what the file would change, and change nothing.
    dry_run: Option<bool>,
}

/// The form of an import.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "for the document")]
struct ImportForm {
    /// A master file (RFC 1035 §5).
    #[schema(format = Binary)]
    file: String,
    /// Whether records that can be proxied are, where the file does not say it: `true` or `false` (the default).
    proxied: Option<String>,
}

/// Puts the records of a master file into a zone: all of them, or none.
#[utoipa::path(
    post,
    path = "/zones/{zone_id}/dns_records/import",
    tag = "DNS records",
    params(("zone_id" = String, Path), Params),
    request_body(content = inline(ImportForm), content_type = "multipart/form-data"),
    responses((status = 200, body = ImportEnvelope))
)]
pub(super) async fn import(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone_id,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
    request: Request,
) -> Result<Response, Error> {
    let begun = Begun::by(api.clock());
    let mode = if params.dry_run == Some(true) { Mode::Preview } else { Mode::Land };
    if let Some(dry_run) = &caller.dry_run {
        dry_run.is_told_by_the_answer();
    }
    let patience = request.extensions().get::<Patience>().cloned();
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let work = {
        // Without the router's state, which is let go of when the process is to end.
        let writes = api.writes().clone();
        let (turns, spools) = (api.background().imports.clone(), api.background().spools.clone());
        // On its own: a caller who leaves does not end what has begun to land.
        tokio::spawn(blocking(move || {
            let mut told = Told::default();
            let zone = writes.view()?.zone_of(&caller, zone_id)?;
            let mut file = ZoneFile::read(pieces, &zone, &spools, &mut told)?;
            if told.is_faulty() {
                return Ok((told, file.parsed, Outcome::default()));
            }
            let is_over = || turns.is_over();
            // Whoever sends a file, however slowly, is in nobody's way; nor is who only looks.
            let turn = match mode {
                Mode::Preview => None,
                Mode::Land => Some(turns.take(zone_id, Some(zone.account), OTHERS_MAX).ok_or(Fault::ImportBusy)?),
            };
            if turn.is_some() {
                // What a process before this one left.
                undo::undo(&writes, zone_id, is_over)?;
            }
            let outcome = land(&writes, &caller, zone_id, is_over, &mut file, mode, &mut told)?;
            Ok((told, file.parsed, outcome))
        }))
    };
    let received = form::receive(request, sender).await;
    let landed = waited_for(work, patience).await;
    // Why a file broke off is known here, and that it did there.
    received?;
    let (told, parsed, outcome) = landed?;
    Ok(answer(&told, parsed, outcome, mode, begun))
}

/// When it was asked for.
#[derive(Clone, Copy)]
struct Begun {
    at: Timestamp,
    then: Instant,
}

impl Begun {
    fn by(clock: &Clock) -> Begun {
        Begun { at: clock.now(), then: Instant::now() }
    }
}

/// How the changes of an import that takes many say which import it is, behind their route: by what the ids of its records
/// begin with.
fn said(ids_from: RecordId) -> String {
    hex::encode(&ids_from.as_bytes()[..8])
}

/// In front of the ids of the records of an import, as its changes say it.
pub(crate) fn read_import(said: &str) -> Option<RecordId> {
    let half: [u8; 8] = hex::decode(said).ok()?.try_into().ok()?;
    [half, [0; 8]].concat().try_into().ok().map(RecordId::from_bytes)
}

/// The work's result, with the connection kept meanwhile.
pub(crate) async fn waited_for<T>(
    mut work: tokio::task::JoinHandle<Result<T, Error>>,
    patience: Option<Patience>,
) -> Result<T, Error> {
    loop {
        tokio::select! {
            done = &mut work => return done.unwrap_or_else(|error| Err(Error::internal(&error))),
            () = tokio::time::sleep(RENEWED_EVERY) => patience.iter().for_each(Patience::renew),
        }
    }
}

fn answer(told: &Told, parsed: u64, outcome: Outcome, mode: Mode, begun: Begun) -> Response {
    let envelope = envelope(told, parsed, outcome, mode, begun);
    let status = if envelope.success { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    reply::json(status, &envelope).into_response()
}

fn envelope(told: &Told, parsed: u64, outcome: Outcome, mode: Mode, begun: Begun) -> ImportEnvelope {
    if told.is_faulty() {
        let (errors, messages) = (told.problems(), told.messages());
        return ImportEnvelope { result: None, success: false, errors, messages, timing: None };
    }
    let changes_left_out = outcome.added - outcome.changes.len() as u64 * u64::from(mode == Mode::Preview);
    let preview = ImportPreview { dry_run: true, changes: outcome.changes, changes_left_out };
    let result = Import {
        recs_added: outcome.added,
        total_records_parsed: parsed,
        bartizan: (mode == Mode::Preview).then_some(preview),
    };
    let Begun { at: start_time, then } = begun;
    let took = then.elapsed();
    let end_time = Timestamp::from_unix_micros(start_time.unix_micros().saturating_add(took.as_micros() as u64)); // 584,000 years
    ImportEnvelope {
        result: Some(result),
        success: true,
        errors: Vec::new(),
        messages: told.messages(),
        timing: Some(Timing { start_time, end_time, process_time: took.as_secs_f64() }),
    }
}
