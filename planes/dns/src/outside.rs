//! The addresses of names outside our zones, which apexes stand for: looked up beside the queries, which only read what was
//! found last.
//!
//! ```text
//! Live<Config> ── which names ──► Following ── name servers
//!                                     └──► Live<Outside> ──► pipeline (a pointer for each batch)
//! ```
//! A name is asked for when its answer runs out, whether or not anybody asks us: so no query waits. The last good answer
//! stays where no name server answers (RFC 8767), for as long as that takes.

mod turns;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bartizan_authority::{Outside, OutsideName, Ways};
use bartizan_dial::{Failure, PublicAddresses, PublicNames};
use bartizan_live::{Generation, Live};
use bartizan_names::Name;
use bartizan_observed::{Measured, Metric, Sample};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::Config;
use turns::{Chosen, Turn, Turns};

/// How often it is looked which names are due, and how many of them are asked for then: at most 80 a second, so that name
/// servers are not beset. 10,000 names with short lives are asked for every two minutes while answers take less than 0.8 s.
const TICK: Duration = Duration::from_millis(100);
const ASKED_A_TICK: usize = 8;

/// How often it is looked which names are needed while zones change. A look costs what has changed, and sorting the names
/// where others are needed than before: some milliseconds where they are too many.
const CHOSEN_EVERY: Duration = Duration::from_millis(250);

/// And how often at most, as so many times what the last look took: where a hundred thousand apexes stand for as many names,
/// and all of them change, no more than a twentieth of a processor.
const CHOSEN_REST: u32 = 20;

/// How long an answer is kept at least, whatever its TTL is: owners of names have no say in how often we ask.
const KEPT_MIN: Duration = Duration::from_secs(30);

/// How long it is kept at most: an address that was changed should not be told for a day.
const KEPT_MAX: Duration = Duration::from_secs(3_600);

/// Threads that read the system's list of name servers.
const BLOCKING_THREADS: usize = 1;

/// The thread that follows names outside. Ends when it is dropped.
#[derive(Debug)]
pub struct Following {
    counters: Arc<Counters>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Keeps the [`Outside`] of what is in force in `live` as `names` tell it.
pub fn follow_outside(live: &Live<Config>, names: PublicNames) -> io::Result<Following> {
    let (stop, stopped) = oneshot::channel();
    let counters = Arc::new(Counters::default());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let follower = Follower {
        live: live.clone(),
        outside: live.snapshot().value.outside.clone(),
        names: Arc::new(names),
        ways: Ways::default(),
        turns: Turns::default(),
        counters: Arc::clone(&counters),
    };
    let thread = thread::Builder::new().name("dns-outside".to_owned()).spawn(move || {
        runtime.block_on(follower.run(stopped));
        // A name server that does not answer holds nobody up.
        runtime.shutdown_background();
    })?;
    Ok(Following { counters, stop: Some(stop), thread: Some(thread) })
}

impl Following {
    /// What it counts.
    pub fn measured(&self) -> Arc<dyn Measured> {
        Arc::clone(&self.counters) as Arc<dyn Measured>
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that follows names outside had panicked");
        }
    }
}

/// What it does, in numbers. Relaxed: nothing else depends on a value.
#[derive(Debug, Default)]
struct Counters {
    /// Names that are followed, and those of them whose addresses are known.
    followed: AtomicU64,
    known: AtomicU64,
    /// Names that are too many.
    left_out: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Measured for Counters {
    fn measure(&self) -> Vec<Metric> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let names = [
            ("known", value(&self.known)),
            ("unknown", value(&self.followed).saturating_sub(value(&self.known))),
            ("left_out", value(&self.left_out)),
        ];
        let lookups = [("answered", value(&self.answered)), ("failed", value(&self.failed))];
        vec![
            Metric::gauge(
                "bartizan_dns_outside_names",
                "Names outside that apexes stand for, by what is known of them",
                Sample::by("state", &names),
            ),
            Metric::counter(
                "bartizan_dns_outside_lookups",
                "Questions for names outside, by what became of them",
                Sample::by("outcome", &lookups),
            ),
        ]
    }
}

/// A look-up under way, and what came of it.
type Lookup = BoxFuture<'static, (Turn, Result<PublicAddresses, Failure>)>;

struct Follower {
    live: Live<Config>,
    outside: Live<Outside>,
    names: Arc<PublicNames>,
    ways: Ways,
    turns: Turns,
    counters: Arc<Counters>,
}

impl Follower {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut changes = self.live.changes();
        let mut asking: FuturesUnordered<Lookup> = FuturesUnordered::new();
        let (mut is_changed, mut chosen, mut asked) = (true, None, None);
        let mut rest = CHOSEN_EVERY;
        let is_time = |last: Option<Instant>, pause| last.is_none_or(|at| at.elapsed() >= pause);
        loop {
            // Changes may come by the hundred.
            if is_changed && is_time(chosen, rest) {
                let began = Instant::now();
                self.choose();
                (is_changed, chosen) = (false, Some(Instant::now()));
                rest = CHOSEN_EVERY.max(began.elapsed() * CHOSEN_REST);
            }
            // And so may answers.
            if is_time(asked, TICK) {
                self.ask_due(&mut asking);
                asked = Some(Instant::now());
            }
            tokio::select! {
                _ = &mut stopped => return,
                changed = changes.changed(), if !is_changed => match changed {
                    Ok(()) => is_changed = true,
                    Err(_) => return,
                },
                Some((turn, found)) = asking.next() => self.learn(&turn, found),
                () = sleep(TICK), if is_changed || self.turns.len() > 0 => {}
            }
        }
    }

    /// Takes up the names that are needed now, and forgets the others.
    fn choose(&mut self) {
        if !self.ways.follow(&self.live.snapshot().value.zones) {
            return;
        }
        let wanted: HashSet<&[u8]> = self.ways.outside_names().collect();
        let Chosen { gone, left_out } = self.turns.choose(wanted, Instant::now());
        if !gone.is_empty() {
            let mut outside = self.outside.snapshot().value.clone();
            gone.iter().for_each(|name| outside.remove(name));
            self.publish(outside);
        }
        self.counters.known.store(self.turns.answered_count() as u64, Ordering::Relaxed);
        self.counters.followed.store(self.turns.len() as u64, Ordering::Relaxed);
        self.counters.left_out.store(left_out as u64, Ordering::Relaxed);
    }

    fn ask_due(&mut self, asking: &mut FuturesUnordered<Lookup>) {
        let now = Instant::now();
        for turn in (0..ASKED_A_TICK).map_while(|_| self.turns.next(now)) {
            let names = Arc::clone(&self.names);
            asking.push(Box::pin(async move {
                let found = match Name::from_wire(&turn.name) {
                    Ok(asked) => names.find(&asked).await,
                    Err(_) => Err(Failure::Unresolved),
                };
                (turn, found)
            }));
        }
    }

    fn learn(&mut self, turn: &Turn, found: Result<PublicAddresses, Failure>) {
        let (name, now) = (&*turn.name, Instant::now());
        match found {
            Ok(PublicAddresses { ips, ttl }) => {
                let kept = ttl.clamp(KEPT_MIN, KEPT_MAX);
                self.counters.answered.fetch_add(1, Ordering::Relaxed);
                let Some(is_first) = self.turns.answered(turn, kept, now) else { return };
                self.counters.known.fetch_add(u64::from(is_first), Ordering::Relaxed);
                let known = outside_name(&ips, kept);
                let mut outside = self.outside.snapshot().value.clone();
                if outside.get(name) != Some(&known) {
                    outside.put(name, known);
                    self.publish(outside);
                }
            }
            Err(failure) => {
                self.turns.failed(turn, now);
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(name = ?Name::from_wire(name), %failure, "a name outside is not resolved");
            }
        }
    }

    fn publish(&self, value: Outside) {
        let number = self.outside.snapshot().number + 1;
        self.outside.publish(Generation { number, value });
    }
}

fn outside_name(ips: &[IpAddr], kept: Duration) -> OutsideName {
    let mut known = OutsideName { ttl: u32::try_from(kept.as_secs()).unwrap_or(u32::MAX), ..OutsideName::default() };
    for ip in ips {
        match ip {
            IpAddr::V4(v4) => known.v4.push(*v4),
            IpAddr::V6(v6) => known.v6.push(*v6),
        }
    }
    // Name servers turn the order, which is no change.
    known.v4.sort_unstable();
    known.v6.sort_unstable();
    known
}

#[cfg(test)]
mod tests {
    use bartizan_authority::{NameContent, Proxied, RecordSet, ZoneFacts, Zones};
    use bartizan_dial::{Destinations, NameServers, Own, Private, Reach};
    use bartizan_names::{RecordType, ZoneName};

    use super::*;

    /// Long after it has run out, while nobody answers (RFC 8767); and no longer than somebody needs it.
    #[test]
    fn the_last_good_answer_stays() {
        let (apex, name) = (Name::parse("a.test").unwrap(), Name::parse("cdn.test").unwrap());
        let zone = ZoneName::new(apex.clone()).unwrap();
        let alias = RecordSet { rtype: RecordType::CNAME, ttl: 300, rdata: vec![name.as_wire().to_vec()] };
        let mut edit = Zones::empty().edit();
        edit.put_zone(ZoneFacts::new(zone.clone()));
        edit.put_name(&zone, &apex, NameContent { sets: vec![alias], proxied: Proxied::Never });
        let live = Live::new(Config { zones: edit.finish(), ..Config::default() });
        let reach = Reach::new(NameServers::These(Vec::new()), Destinations::new(Own::default(), Private::Refused));
        let mut follower = Follower {
            outside: live.snapshot().value.outside.clone(),
            live: live.clone(),
            names: Arc::new(PublicNames::new(NameServers::These(Vec::new()), &reach)),
            ways: Ways::default(),
            turns: Turns::default(),
            counters: Arc::default(),
        };
        let known = |follower: &Follower| follower.outside.snapshot().value.get(name.as_wire()).cloned();
        follower.choose();
        let begun = Instant::now();
        let turn = follower.turns.next(begun).expect("it is due");
        let good = PublicAddresses { ips: vec!["198.51.100.7".parse().unwrap()], ttl: Duration::from_secs(5) };
        follower.learn(&turn, Ok(good));
        let first = known(&follower).expect("an answer");
        assert!(follower.turns.next(begun + KEPT_MIN / 2).is_none(), "it is good for a while");
        for hours in 1..=3 {
            let turn = follower.turns.next(begun + KEPT_MAX * hours).expect("it is asked for again");
            follower.learn(&turn, Err(Failure::Unresolved));
            assert_eq!(known(&follower).as_ref(), Some(&first), "{hours}");
        }
        assert_eq!(follower.counters.failed.load(Ordering::Relaxed), 3);
        follower.choose();
        assert_eq!(known(&follower).as_ref(), Some(&first));
        // Nobody stands for it any more.
        let next = Generation { number: live.snapshot().number + 1, value: Config::default() };
        live.publish(next);
        follower.choose();
        assert_eq!((known(&follower), follower.turns.len()), (None, 0));
    }
}
