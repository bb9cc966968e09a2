//! Renewal of certificates, in the background: what runs out is issued anew, some at a time, as changes like all others. So
//! is the secret of DNS cookies.
//!
//! What cannot be issued or read does not stop the rest. A certificate that has run out stays in force until the new one
//! is there: a visitor who is warned can still be served, one without any certificate cannot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_certs::{Certs, CertsError, Document};
use bartizan_clock::{Doubt, Reading, Why};
use bartizan_names::{Span, Timestamp};
use bartizan_seal::Key as SealKey;
use bartizan_store::{Key, Op, Scope};

use crate::background::Stop;
use crate::cookie_secrets;
use crate::error::Error;
use crate::numbers::Numbers;
use crate::transaction::Change;
use crate::writes::{By, Writes};

/// For the change log.
const INTERFACE: &str = "renewal";

/// Certificates that are renewed in one revision. A hundred take some 30 ms to issue, and others get their turn between.
const PIECE_MAX: usize = 200;

/// How often it is looked for certificates that run out, and for the end of the CA. A third of their 90 days is left then,
/// but after the clock was set they may all have run out, or not be valid yet. To look costs a few steps in an index.
const REST: Duration = Duration::from_secs(60);

/// The same after a long rest, when little of what is due is renewed.
const REST_AWAY: Duration = Duration::from_secs(3_600);

/// How often it is looked whether the clock was set, which changes what is due.
const LOOK: Duration = Duration::from_secs(1);

/// A smaller step of the clock changes nothing.
const STEP_MAX: u64 = 60_000_000; // microseconds

/// How long before its end people are told of what they have brought themselves.
const SOON: Duration = Duration::from_secs(30 * 86_400);

/// Such ones that are counted; there is no need to know of more.
const ENDING_MAX: usize = 1_000;

/// How long after a failure it is tried again: at first, and at most.
const RETRY_MIN: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(3_600);

/// The work of the thread.
pub(crate) struct Renewals {
    writes: Writes,
    certs: Certs,
    seal: SealKey,
    numbers: Arc<Numbers>,
    retry: Duration,
    /// When all was done last, by the clock and by another one that nobody sets.
    done: Option<(Timestamp, Instant)>,
}

/// By what is renewed.
#[derive(Clone, Copy)]
struct Time {
    used: Timestamp,
    known: Timestamp,
    is_believed: bool,
}

impl Time {
    /// By a clock that is wrong for a moment, all that is there would be issued anew, for another time. After a long rest what
    /// has ended is, as it is of no use as long as the clock is right; the rest waits until that is sure.
    fn of(reading: Reading) -> Option<Time> {
        match reading {
            Reading::Believed(at) => Some(Time { used: at, known: at, is_believed: true }),
            Reading::Doubted(Doubt { at, known, why: Why::Away, .. }) => {
                Some(Time { used: at, known, is_believed: false })
            }
            Reading::Doubted(_) => None,
        }
    }
}

/// What became of a piece.
#[derive(Clone, Copy, Default)]
struct Piece {
    renewed: u64,
    failed: u64,
}

impl Renewals {
    pub(crate) fn new(writes: Writes, certs: Certs, seal: SealKey, numbers: Arc<Numbers>) -> Renewals {
        Renewals { writes, certs, seal, numbers, retry: RETRY_MIN, done: None }
    }

    /// Renews all that is due; how long there is then nothing to do.
    pub(crate) fn run(&mut self, stop: &Stop) -> Duration {
        let Some(Time { used: now, is_believed, .. }) = Time::of(self.certs.clock().read()) else {
            self.done = None;
            return LOOK;
        };
        self.tell_what_ends(now);
        let rest = if is_believed { REST } else { REST_AWAY };
        if self.done.is_some_and(|done| is_resting(done, now, rest)) {
            return LOOK;
        }
        self.done = None;
        self.numbers.authority(self.certs.ca_warning(now));
        if let Err(error) = cookie_secrets::renew(&self.writes, By::Edge(INTERFACE), &self.seal) {
            tracing::debug!(%error, "the secret of DNS cookies stays as it is for now");
        }
        let failed = match self.work(stop, now) {
            Ok(0) => {
                self.retry = RETRY_MIN;
                self.numbers.renewal_works();
                self.done = Some((now, Instant::now()));
                return LOOK;
            }
            Ok(failed) => format!("{failed} certificates cannot be renewed"),
            Err(error) => format!("certificates cannot be renewed now: {error}"),
        };
        let wait = self.retry;
        tracing::debug!(?wait, "{failed}; trying again");
        self.numbers.renewal_fails(failed);
        self.retry = (self.retry * 2).min(RETRY_MAX);
        wait
    }

    /// What people have brought for TLS with origins is theirs to renew.
    fn tell_what_ends(&self, now: Timestamp) {
        let soon = Timestamp::from_unix_micros(now.unix_micros().saturating_add(SOON.as_micros() as u64));
        let ending = self.writes.view().and_then(|view| Ok((view.0.origin_tls_ending(soon, ENDING_MAX)?, view)));
        // What cannot be read is told of elsewhere.
        let Ok((keys, view)) = ending else { return };
        self.numbers.origin_tls_ending(keys.len() as u64, || {
            let zone = keys.first().and_then(Key::zone_id);
            let found = zone.and_then(|zone| view.find::<bartizan_v4::Zone>(&Key::zone(zone)).ok().flatten());
            let zone = found.map_or_else(|| "a zone".to_owned(), |zone| zone.name.to_string());
            format!(
                "they have run out, or will within {} days, in {zone} first; `bartizan origin-cert list {zone}` and `bartizan origin-ca list \
                 {zone}` say when",
                SOON.as_secs() / 86_400
            )
        });
    }

    /// How many could not be renewed.
    fn work(&self, stop: &Stop, now: Timestamp) -> Result<u64, Error> {
        let due = self.due(now)?;
        self.numbers.certificates_due(due.len());
        if !due.is_empty() {
            // Else each of them would be told of.
            if self.certs.ca_has_ended(now) {
                return Err(CertsError::ExpiredCa.into());
            }
            tracing::info!(certificates = due.len(), "renewing what is about to run out");
        }
        let (mut done, mut failed) = (0, 0);
        for keys in due.chunks(PIECE_MAX) {
            let time = Time::of(self.certs.clock().read());
            let Some(time) = time.filter(|_| !stop.is_set()) else { break };
            let piece = self.writes.change(By::Edge(INTERFACE), |change| self.renew(change, keys, time))?;
            failed += piece.failed;
            done += keys.len();
            self.numbers.certificates_renewed(piece.renewed, piece.failed, due.len() - done);
            tracing::info!(done, of = due.len(), failed, "certificates renewed");
        }
        Ok(failed)
    }

    /// The keys of those that are due by their listing, the one that connectors see first.
    fn due(&self, now: Timestamp) -> Result<Vec<Key>, Error> {
        // One that cannot be read is due as well: its failure is told and counted.
        let mut due = self.writes.view()?.0.certificates_due(self.certs.issuer(), now)?;
        due.sort_by_key(|key| key.scope() != Scope::Edge);
        Ok(due)
    }

    fn renew(&self, change: &mut Change, keys: &[Key], time: Time) -> Result<Piece, Error> {
        let mut piece = Piece::default();
        for key in keys {
            match self.renewed(change, key, time) {
                Ok(None) => {}
                Ok(Some(document)) => {
                    // Gone with its zone meanwhile, or new already: then this change runs again.
                    change.guard(key)?;
                    change.require_owner(key.scope());
                    let op = document.to_op();
                    if op.key() != key {
                        change.unguarded([Op::Del { key: key.clone() }]);
                    }
                    change.unguarded([op]);
                    piece.renewed += 1;
                }
                Err(reason) => {
                    tracing::warn!(%key, reason, "a certificate cannot be renewed");
                    piece.failed += 1;
                }
            }
        }
        Ok(piece)
    }

    /// None if there is nothing to renew any more.
    fn renewed(&self, change: &Change, key: &Key, time: Time) -> Result<Option<Document>, String> {
        let Some(entry) = change.0.get(key).map_err(|error| error.to_string())? else { return Ok(None) };
        let old = Document::from_entry(&entry).map_err(|error| error.to_string())?;
        let span = Span { earliest: time.known, latest: time.used };
        let is_due = match time.is_believed {
            true => self.certs.is_due(&old, time.used),
            false => span.has_ended(old.not_after),
        };
        if !is_due {
            return Ok(None);
        }
        self.certs.renewed(old, span).map(Some).map_err(|error| error.to_string())
    }
}

/// Whether what was done at a time is not long ago, and the clock was not set since.
fn is_resting((at, then): (Timestamp, Instant), now: Timestamp, rest: Duration) -> bool {
    let passed = then.elapsed();
    let expected = at.unix_micros().saturating_add(passed.as_micros() as u64);
    passed < rest && now.unix_micros().abs_diff(expected) <= STEP_MAX
}
