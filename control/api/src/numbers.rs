//! What the API counts of itself, for `/metrics`, and the problems that it notices.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_certs::{Paused, Warning};
use bartizan_clock::Clock;
use bartizan_observed::{Lease, Measured, Metric, Problem, Problems, Reporter, Sample, What};

/// How long a full disk is believed in after a change was refused for it. The next change that lands ends it sooner.
const FULL_BELIEVED: Duration = Duration::from_secs(3_600);

/// How often it is looked whether a disk that was full has room again, however many ask how the edge does.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// With less it is as good as full. Who looks at the disk from time to time has the same number (`disk.rs` of the binary).
const ROOM_MIN: u64 = 1 << 20;

/// What is written to see that a disk takes it: some pages of the store's journal.
const PROBE_BYTES: usize = 64 << 10;

/// Counted while the process runs.
#[derive(Default)]
pub(crate) struct Numbers {
    problems: Problems,
    clock: Clock,
    /// Whether the last change found no room, so that one that lands is news.
    is_full: AtomicBool,
    /// When it was looked last whether there is room again.
    looked: Mutex<Option<Instant>>,
    certificates_due: AtomicU64,
    certificates_renewed: AtomicU64,
    certificates_failed: AtomicU64,
    acme_issued: AtomicU64,
    acme_failed: AtomicU64,
    acme_failing: AtomicU64,
    acme_paused: Mutex<Option<Paused>>,
    crls_fetched: AtomicU64,
    crls_not_fetched: AtomicU64,
    crls_failing: AtomicU64,
    origin_tls_ending: AtomicU64,
    writes_without_room: AtomicU64,
    /// Calls with credentials that nobody has, and those of them that were told to wait.
    pub(crate) credentials_wrong: AtomicU64,
    pub(crate) credentials_throttled: AtomicU64,
}

impl Numbers {
    /// With the board on which problems are put up, and the clock by which they begin.
    pub(crate) fn telling(problems: Problems, clock: Clock) -> Numbers {
        Numbers { problems, clock, ..Numbers::default() }
    }

    /// So many certificates are to be renewed.
    pub(crate) fn certificates_due(&self, count: usize) {
        self.certificates_due.store(count as u64, Relaxed);
    }

    /// Some certificates were renewed, some could not be, and so many are left to be looked at.
    pub(crate) fn certificates_renewed(&self, renewed: u64, failed: u64, left: usize) {
        self.certificates_renewed.fetch_add(renewed, Relaxed);
        self.certificates_failed.fetch_add(failed, Relaxed);
        self.certificates_due.store(left as u64, Relaxed);
    }

    /// A change was refused because the disk is full.
    pub(crate) fn write_without_room(&self) {
        self.writes_without_room.fetch_add(1, Relaxed);
        self.is_full.store(true, Relaxed);
        let now = Instant::now();
        let full = Problem {
            what: What::Disk,
            count: 1,
            reason: "it has no room for changes, which are refused".to_owned(),
            since: self.clock.now(),
            remedy: "make room on the disk of the data directory; serving and reading go on meanwhile",
        };
        self.tell(Reporter::Writer, full, Lease::Until(now + FULL_BELIEVED), now);
    }

    /// A change landed, so there is room.
    pub(crate) fn write_landed(&self) {
        if self.is_full.swap(false, Relaxed) {
            self.problems.clear(Reporter::Writer, Instant::now());
        }
    }

    /// Whether a full disk is told of and it is time to look at it again.
    pub(crate) fn is_to_look_for_room(&self, now: Instant) -> bool {
        if !self.problems.may_have(&What::Disk, now) {
            return false;
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = looked.is_none_or(|last| now.duration_since(last) >= LOOK_AGAIN_AFTER);
        if is_time {
            *looked = Some(now);
        }
        is_time
    }

    /// Looks whether the disk of `data` takes something, and ends the problem if so. Blocks, for a sync of the disk.
    pub(crate) fn look_for_room(&self, data: &Path) {
        let has_room = bartizan_net::free_bytes(data).is_ok_and(|free| free >= ROOM_MIN);
        if has_room && probe(data).is_ok() {
            self.is_full.store(false, Relaxed);
            self.problems.clear(Reporter::Writer, Instant::now());
        }
    }

    /// Certificates that are due were not renewed.
    pub(crate) fn renewal_fails(&self, reason: String) {
        let failing = Problem {
            what: What::Renewal,
            count: 1,
            reason,
            since: self.clock.now(),
            remedy: "see the log for each of them; it is tried again by itself, and the old ones stay in force",
        };
        self.tell(Reporter::Renewal, failing, Lease::Held, Instant::now());
    }

    /// All that were due are renewed.
    pub(crate) fn renewal_works(&self) {
        self.problems.clear(Reporter::Renewal, Instant::now());
    }

    /// What the public authority issued since the start, tries that failed, and how many fail now.
    pub(crate) fn public_authority(&self, issued: u64, failed: u64, failing: u64, paused: Option<Paused>) {
        self.acme_issued.store(issued, Relaxed);
        self.acme_failed.store(failed, Relaxed);
        let before =
            std::mem::replace(&mut *self.acme_paused.lock().unwrap_or_else(PoisonError::into_inner), paused.clone());
        if self.acme_failing.swap(failing, Relaxed) == failing && before == paused {
            return;
        }
        let reason = match &paused {
            Some(Paused { until, reason }) => format!("nothing is asked of it before {until}: {reason}"),
            None if failing == 0 => return self.problems.clear(Reporter::PublicAuthority, Instant::now()),
            None => "the last try failed; `bartizan cert list --state failing` says why of each".to_owned(),
        };
        let problem = Problem {
            what: What::PublicAuthority,
            count: failing.max(1),
            reason,
            since: self.clock.now(),
            remedy: "it is tried again by itself, less and less often; `bartizan cert renew` tries as soon as the authority \
                     may be asked, and what is there stays in force",
        };
        self.tell(Reporter::PublicAuthority, problem, Lease::Held, Instant::now());
    }

    /// A list of revoked certificates was fetched, be it the one that is here or a newer one.
    pub(crate) fn crl_fetched(&self) {
        self.crls_fetched.fetch_add(1, Relaxed);
    }

    /// One could not be fetched.
    pub(crate) fn crl_not_fetched(&self) {
        self.crls_not_fetched.fetch_add(1, Relaxed);
    }

    /// So many could not be fetched for a day or longer.
    pub(crate) fn crls_failing(&self, failing: u64) {
        if self.crls_failing.swap(failing, Relaxed) == failing {
            return;
        }
        if failing == 0 {
            return self.problems.clear(Reporter::Crls, Instant::now());
        }
        let problem = Problem {
            what: What::Crls,
            count: failing,
            reason: "they could not be fetched for a day or longer; `bartizan client-cert authority list ZONE` says why of each"
                .to_owned(),
            since: self.clock.now(),
            remedy: "the last good ones stay in force, so who is revoked since is still let in: mend the server, name another \
                     place (`bartizan client-cert authority crl ZONE ID --url URL`), or bring the list as a file; it is tried \
                     again each hour",
        };
        self.tell(Reporter::Crls, problem, Lease::Held, Instant::now());
    }

    /// So much of what zones have for TLS with their origins has run out or will soon; with what is to be said of the first.
    pub(crate) fn origin_tls_ending(&self, ending: u64, reason: impl FnOnce() -> String) {
        if self.origin_tls_ending.swap(ending, Relaxed) == ending {
            return;
        }
        if ending == 0 {
            return self.problems.clear(Reporter::OriginTls, Instant::now());
        }
        let problem = Problem {
            what: What::OriginTls,
            count: ending,
            reason: reason(),
            since: self.clock.now(),
            remedy: "bring the next one (`bartizan origin-cert add ZONE`, `bartizan origin-ca add ZONE`) and remove the old one; what has                      run out is refused by origins, or makes theirs be refused, and then visitors get 502",
        };
        self.tell(Reporter::OriginTls, problem, Lease::Held, Instant::now());
    }

    /// Until when nothing is asked of the public authority, and why.
    pub(crate) fn acme_paused(&self) -> Option<Paused> {
        self.acme_paused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is to be said of the local CA, if anything is.
    pub(crate) fn authority(&self, warning: Option<Warning>) {
        let Some(Warning { reason, remedy }) = warning else {
            return self.problems.clear(Reporter::Authority, Instant::now());
        };
        let problem = Problem { what: What::Authority, count: 1, reason, since: self.clock.now(), remedy };
        self.tell(Reporter::Authority, problem, Lease::Held, Instant::now());
    }

    /// Something that is to be deleted is still there.
    pub(crate) fn deletion_fails(&self, reason: String) {
        let failing = Problem {
            what: What::Housekeeping,
            count: 1,
            reason,
            since: self.clock.now(),
            remedy: "it is tried again by itself, and nothing of it is served; `bartizan doctor` looks at the store",
        };
        self.tell(Reporter::Deletion, failing, Lease::Held, Instant::now());
    }

    /// All that is to be deleted is gone.
    pub(crate) fn deletion_works(&self) {
        self.problems.clear(Reporter::Deletion, Instant::now());
    }

    /// Shows a problem, and logs it if it is news.
    fn tell(&self, by: Reporter, problem: Problem, lease: Lease, now: Instant) {
        for problem in self.problems.report(by, vec![problem], lease, now) {
            tracing::error!(%problem, "degraded");
        }
    }
}

impl Measured for Numbers {
    fn measure(&self) -> Vec<Metric> {
        let one = |number: &AtomicU64| Sample::one(number.load(Relaxed));
        vec![
            Metric::gauge(
                "bartizan_certificates_due",
                "Certificates that are to be renewed",
                one(&self.certificates_due),
            ),
            Metric::counter("bartizan_certificates_renewed", "Certificates renewed", one(&self.certificates_renewed)),
            Metric::counter(
                "bartizan_certificates_not_renewed",
                "Tries to renew a certificate that failed",
                one(&self.certificates_failed),
            ),
            Metric::counter(
                "bartizan_acme_certificates_issued",
                "Certificates that the public authority issued",
                one(&self.acme_issued),
            ),
            Metric::counter(
                "bartizan_acme_tries_failed",
                "Tries to have the public authority issue a certificate that failed",
                one(&self.acme_failed),
            ),
            Metric::gauge(
                "bartizan_acme_certificates_failing",
                "Certificates of the public authority whose last try failed, up to 1,000",
                one(&self.acme_failing),
            ),
            Metric::counter(
                "bartizan_client_crls_fetched",
                "Lists of revoked certificates of clients that were fetched, new or not",
                one(&self.crls_fetched),
            ),
            Metric::counter(
                "bartizan_client_crls_not_fetched",
                "Tries to fetch a list of revoked certificates of clients that failed",
                one(&self.crls_not_fetched),
            ),
            Metric::gauge(
                "bartizan_client_crls_failing",
                "Lists of revoked certificates of clients that could not be fetched for a day or longer, up to 1,000",
                one(&self.crls_failing),
            ),
            Metric::gauge(
                "bartizan_origin_certificates_ending",
                "Certificates that origins are shown, and authorities of origins, that have run out or will within a month, up to 1,000",
                one(&self.origin_tls_ending),
            ),
            Metric::counter(
                "bartizan_writes_without_room",
                "Changes that were refused because the disk is full",
                one(&self.writes_without_room),
            ),
            Metric::counter(
                "bartizan_api_credentials_wrong",
                "Calls with credentials that nobody has",
                one(&self.credentials_wrong),
            ),
            Metric::counter(
                "bartizan_api_credentials_throttled",
                "Calls that were told to wait because too many had wrong credentials",
                one(&self.credentials_throttled),
            ),
        ]
    }
}

/// Quotas are not seen otherwise.
fn probe(data: &Path) -> io::Result<()> {
    let path = data.join(".room");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; PROBE_BYTES])?;
        file.sync_all()
    });
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_looked_at_again_when_somebody_asks() {
        let (dir, problems) = (tempfile::tempdir().unwrap(), Problems::default());
        let (numbers, now) = (Numbers::telling(problems.clone(), Clock::default()), Instant::now());
        assert!(!numbers.is_to_look_for_room(now), "nothing is told");
        numbers.write_without_room();
        let asks = [Duration::ZERO, LOOK_AGAIN_AFTER / 2, LOOK_AGAIN_AFTER];
        assert_eq!(asks.map(|after| numbers.is_to_look_for_room(now + after)), [true, false, true]);
        numbers.look_for_room(&dir.path().join("not/there"));
        assert_eq!(problems.all(Instant::now()).len(), 1);
        numbers.look_for_room(dir.path());
        assert_eq!(problems.all(Instant::now()), []);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_is_a_problem_until_a_change_lands() {
        let problems = Problems::default();
        let numbers = Numbers::telling(problems.clone(), Clock::default());
        let seen = |after: Duration| problems.all(Instant::now() + after).len();
        numbers.write_landed();
        assert_eq!(seen(Duration::ZERO), 0);
        numbers.write_without_room();
        numbers.write_without_room();
        assert_eq!((seen(Duration::ZERO), problems.all(Instant::now())[0].what.clone()), (1, What::Disk));
        assert_eq!(seen(FULL_BELIEVED), 0, "nobody has seen it for long");
        numbers.renewal_fails("2 certificates cannot be renewed".to_owned());
        numbers.write_landed();
        assert_eq!((seen(Duration::ZERO), problems.all(Instant::now())[0].what.clone()), (1, What::Renewal));
        numbers.renewal_works();
        assert_eq!(seen(Duration::ZERO), 0);
    }
}
