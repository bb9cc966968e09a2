//! The clock of a process, for all of its threads.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bartizan_names::{Span, Timestamp};

use crate::belief::{Belief, Known, NotSet, Reading, STEP_MAX, Told};

/// What time a process believes that it is. Clones are the same.
///
/// It has to be looked at now and then ([`Clock::look`]), so that a doubt ends by itself when nobody asks.
#[derive(Clone)]
pub struct Clock(Arc<Shared>);

struct Shared {
    source: Source,
    belief: Mutex<Belief>,
    /// Whether the wall clock is believed as long as it goes on as the monotonic one does.
    is_believed: AtomicBool,
    /// By how many microseconds it is ahead of what has passed since `began`.
    lead: AtomicI64,
    began: Instant,
}

/// Where the time comes from.
enum Source {
    /// The wall clock, and a steady one that is handed in.
    System(fn() -> Duration),
    /// From whoever says what it is, as tests do.
    Given(Box<dyn Fn() -> Told + Send + Sync>),
}

impl Source {
    fn told(&self) -> Told {
        match self {
            Source::System(steady) => Told { wall: SystemTime::now().into(), steady: steady() },
            Source::Given(tell) => tell(),
        }
    }
}

impl Clock {
    /// The system's, which is believed what follows from what was [`known`](Clock::known) before. `steady` is the time since any
    /// moment, best one that counts while the machine sleeps.
    pub fn start(known: Known, steady: fn() -> Duration) -> Clock {
        Clock::of(Source::System(steady), known)
    }

    /// One that says what it is told.
    pub fn given(tell: impl Fn() -> Told + Send + Sync + 'static, known: Known) -> Clock {
        Clock::of(Source::Given(Box::new(tell)), known)
    }

    fn of(source: Source, known: Known) -> Clock {
        let belief = Mutex::new(Belief::begin(known, source.told()));
        let (is_believed, lead) = (AtomicBool::new(false), AtomicI64::new(0));
        let clock = Clock(Arc::new(Shared { source, belief, is_believed, lead, began: Instant::now() }));
        clock.look();
        clock
    }

    /// What time it is.
    pub fn read(&self) -> Reading {
        self.read_at(Instant::now())
    }

    /// The same by who knows the monotonic time already.
    ///
    /// Hot: once a batch of queries. No lock while the clock goes on as it should.
    pub fn read_at(&self, monotonic: Instant) -> Reading {
        let shared = &*self.0;
        let passed = monotonic.saturating_duration_since(shared.began).as_micros() as i64; // 292,000 years
        if matches!(shared.source, Source::System(_)) && shared.is_believed.load(Relaxed) {
            let wall = Timestamp::from(SystemTime::now());
            let lead = (wall.unix_micros() as i64).saturating_sub(passed); // before the year 10000
            if lead.abs_diff(shared.lead.load(Relaxed)) <= STEP_MAX {
                return Reading::Believed(wall);
            }
        }
        // Whoever else looks is waited for, which is some hundred nanoseconds: no other answer would be the same one.
        self.look()
    }

    /// What is used as the time, be it doubted or not.
    pub fn now(&self) -> Timestamp {
        self.read().at()
    }

    /// The same, for whoever asks again and again and need not know of clocks: TLS.
    pub fn teller(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }

    /// Between which times it is, for what lets somebody in for a while.
    pub fn span(&self) -> Span {
        self.read().span()
    }

    /// The same as [`Clock::read`], and never by what was found before: for who sees to it that somebody looks.
    pub fn look(&self) -> Reading {
        self.observe(self.belief())
    }

    /// Somebody says that the clock is right.
    pub fn believe(&self) -> Result<Timestamp, NotSet> {
        let mut belief = self.belief();
        belief.believe(self.0.source.told())?;
        Ok(self.observe(belief).at())
    }

    /// What the next start is to know.
    pub fn known(&self) -> Known {
        self.belief().known(self.0.source.told().steady)
    }

    fn belief(&self) -> MutexGuard<'_, Belief> {
        // Each reading leaves it whole.
        self.0.belief.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, mut belief: MutexGuard<'_, Belief>) -> Reading {
        let shared = &*self.0;
        let (told, passed) = (shared.source.told(), shared.began.elapsed().as_micros() as i64);
        let reading = belief.observe(told);
        shared.lead.store((reading.at().unix_micros() as i64).saturating_sub(passed), Relaxed);
        shared.is_believed.store(matches!(reading, Reading::Believed(_)), Relaxed);
        reading
    }
}

impl Default for Clock {
    /// The system's, of which nothing is known from before.
    fn default() -> Clock {
        Clock::start(Known::default(), since_start)
    }
}

/// The time since the first call.
fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Clock").field(&self.read()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::{EARLIEST, Why};

    #[test]
    fn the_system_s_clock_is_believed() {
        let clock = Clock::default();
        let (before, reading) = (Timestamp::from(SystemTime::now()), clock.read());
        assert!(before >= EARLIEST, "or this machine's clock is not set");
        assert!(reading.believed().is_some_and(|at| at >= before && at <= clock.now()), "{reading:?}");
        let span = clock.clone().span();
        assert!(span.earliest >= before && span.earliest == span.latest, "{span:?}");
    }

    #[test]
    fn clones_believe_the_same() {
        let wall = Arc::new(AtomicU64::new(EARLIEST.unix_micros()));
        let said = Arc::clone(&wall);
        let tell = move || Told { wall: Timestamp::from_unix_micros(said.load(Relaxed)), steady: Duration::ZERO };
        let (clock, ahead) =
            (Clock::given(tell, Known { least: Some(EARLIEST), last: None }), EARLIEST.unix_micros() * 2);
        let other = clock.clone();
        wall.store(ahead, Relaxed);
        assert_eq!(clock.now(), EARLIEST);
        assert_eq!(other.read().doubt().map(|doubt| doubt.why), Some(Why::Far));
        let span = other.span();
        assert_eq!((span.earliest, span.latest.unix_micros()), (EARLIEST, ahead));
        assert_eq!(clock.believe().map(Timestamp::unix_micros), Ok(ahead));
        assert_eq!(other.read().believed().map(Timestamp::unix_micros), Some(ahead));
        assert_eq!(other.known().least.map(Timestamp::unix_micros), Some(ahead));
    }

    /// Who is let in hangs on it.
    #[test]
    fn all_who_look_at_once_are_told_the_same_doubt() {
        let days = |days: u64| Timestamp::from_unix_micros(EARLIEST.unix_micros() + days * 86_400_000_000);
        // The machine was off for half a year; and its clock was never set.
        for (wall, least, why) in
            [(days(180), days(0), Why::Away), (Timestamp::from_unix_micros(0), days(180), Why::NotSet)]
        {
            let tell = move || Told { wall, steady: Duration::ZERO };
            let clock = Clock::given(tell, Known { least: Some(least), last: None });
            let expect = clock.span();
            let looks = || (0..20_000).filter(|_| clock.span() != expect).count();
            let others = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(looks)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
            });
            assert_eq!((others, clock.read().doubt().map(|doubt| doubt.why)), (0, Some(why)));
        }
    }
}
