//! What is counted is kept and told: over minutes, hours and days, over restarts, and over damage.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bartizan_analytics::{DNS, DnsFacts, Event, Query, Table, Transport, Wanted};
use bartizan_clock::{Clock, Known, Told};
use bartizan_live::{Filled, Tray, Trays};
use bartizan_names::{Name, RecordType, Timestamp, ZoneId};
use bartizan_observed::{Problems, What};
use bartizan_stats::{AHEAD, ASIDE, Answer, Collecting, FILE, Given, Kind, Retention, Stats, StatsError, Tier};
use bartizan_wire::dns::Rcode;

/// 2026-06-01T00:00:00Z.
const BEGIN: u64 = 1_780_272_000;

/// Nobody waits so long but where something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

const ZONE: ZoneId = ZoneId::from_bytes([7; 16]);
const OTHER_ZONE: ZoneId = ZoneId::from_bytes([8; 16]);

/// A collector, whose clock goes by hand.
struct Edge {
    passed: Arc<AtomicU64>,
    trays: Trays<Table>,
    tray: Tray<Table>,
    stats: Stats,
    clock: Clock,
    problems: Problems,
    _collecting: Collecting,
}

impl Edge {
    fn start(dir: &Path, at: u64) -> Edge {
        Edge::start_with(dir, at, Retention::default(), Known::default())
    }

    fn start_with(dir: &Path, at: u64, retention: Retention, known: Known) -> Edge {
        let passed = Arc::new(AtomicU64::new(at - BEGIN));
        let told = Arc::clone(&passed);
        let tell = move || {
            let steady = Duration::from_secs(told.load(Relaxed));
            Told { wall: Timestamp::from_unix_micros((BEGIN + steady.as_secs()) * 1_000_000), steady }
        };
        let (trays, problems) = (Trays::new(|| Table::new(1)), Problems::default());
        let clock = Clock::given(tell, known);
        let given = Given {
            dir: dir.to_owned(),
            dns: trays.clone(),
            http: Trays::new(|| Table::new(2)),
            l4: Trays::new(|| Table::new(3)),
            retention,
            pop: "fra".to_owned(),
            clock: clock.clone(),
            problems: problems.clone(),
            pace: Duration::from_millis(20),
        };
        let (stats, collecting) = bartizan_stats::start(given).unwrap();
        let tray = trays.tray();
        Edge { passed, trays, tray, stats, clock, problems, _collecting: collecting }
    }

    fn set_time(&self, at: u64) {
        self.passed.store(at - BEGIN, Relaxed);
    }

    /// Counts so many queries for a name.
    fn count(&self, zone: ZoneId, name: &str, rcode: Rcode, events: u64) {
        let name = Name::parse(name).unwrap();
        let facts = DnsFacts {
            rtype: RecordType::A,
            rcode: Some(rcode),
            transport: Transport::Udp,
            is_ipv6: false,
            query_len: 40,
            reply_len: 100,
        };
        let place = name
            .as_wire()
            .iter()
            .fold(7_u64, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3));
        let number = zone.as_bytes()[0].into();
        let event = Event {
            zone: number,
            place,
            name: name.as_wire(),
            facts: facts.packed(),
            sent: 100,
            received: 40,
            nanos: 9_000,
        };
        let fill = |table: &mut Table| {
            (0..events).for_each(|_| table.record(event, || Some(zone)));
            if table.is_crowded() { Filled::Full } else { Filled::Room }
        };
        while self.tray.fill(fill).is_none() {}
    }

    /// Waits until what was counted is in the minute that it is.
    fn is_counted(&self) {
        // When what came after it is taken, it has its place.
        for _ in 0..2 {
            self.count(OTHER_ZONE, "www.other", Rcode::NOERROR, 1);
            until("it is taken", || {
                let mut is_empty = false;
                self.tray.fill(|table| {
                    is_empty = table.is_empty();
                    Filled::Room
                });
                is_empty
            });
        }
    }

    fn ask(&self, zone: ZoneId, wanted: Wanted<'_>) -> Result<Answer, StatsError> {
        let query = Query::parse(wanted, &DNS, self.stats.now()).unwrap();
        self.stats.report(Kind::Dns, zone, &query)
    }

    /// All that is counted since then.
    fn all(&self, zone: ZoneId, since: u64) -> u64 {
        let answer = self.ask(zone, Wanted { since: Some(since), ..Wanted::default() });
        answer.map_or(0, |answer| answer.report.totals[0].unwrap() as u64)
    }

    /// Counts by the dimensions that are asked for.
    fn rows(&self, zone: ZoneId, wanted: Wanted<'_>) -> Vec<(String, u64)> {
        let report = self.ask(zone, wanted).unwrap().report;
        report.rows.iter().map(|row| (row.dimensions.join(" "), row.metrics[0][0].unwrap() as u64)).collect()
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn row(what: &str, count: u64) -> (String, u64) {
    (what.to_owned(), count)
}

#[test]
fn what_is_counted_is_told_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let by_name = Wanted { dimensions: "queryName,responseCode", ..Wanted::default() };
    {
        let edge = Edge::start(dir.path(), BEGIN + 100);
        edge.count(ZONE, "www.example", Rcode::NOERROR, 5);
        edge.count(ZONE, "gone.example", Rcode::NXDOMAIN, 3);
        edge.count(OTHER_ZONE, "www.example", Rcode::NOERROR, 1);
        until("all is counted", || edge.all(ZONE, BEGIN) == 8 && edge.all(OTHER_ZONE, BEGIN) == 1);
        assert_eq!(edge.rows(ZONE, by_name), [row("www.example NOERROR", 5), row("gone.example NXDOMAIN", 3)]);
        // What comes before the end is counted too.
        edge.count(ZONE, "www.example", Rcode::NOERROR, 2);
    }
    // In the same minute; and what a version before has left is gone on with.
    rusqlite_version(dir.path(), 1);
    let edge = Edge::start(dir.path(), BEGIN + 110);
    until("the file is there", || edge.all(ZONE, BEGIN) == 10);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
    until("it goes on", || edge.all(ZONE, BEGIN) == 11);
    assert_eq!(edge.rows(ZONE, by_name)[0], row("www.example NOERROR", 8));
    let answer = edge.ask(ZONE, Wanted::default()).unwrap();
    assert_eq!((answer.resolution, answer.report.is_estimate), (Tier::Minute, false));
    // Who else uses the machine does not see what was asked.
    let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A zone without queries has none, and is no error.
    assert_eq!(edge.rows(ZoneId::from_bytes([9; 16]), by_name), []);
}

/// Minutes become hours, and hours days; however a time is asked for, the sum is the same. Minutes that are gone are told by
/// hours.
#[test]
fn minutes_become_hours_and_days() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path(), BEGIN + 60);
    let mut all = 0;
    for (at, events) in
        [(60, 1), (3_000, 2), (3_660, 3), (86_400 + 60, 4), (2 * 86_400 + 7_260, 5), (4 * 86_400 + 60, 6)]
    {
        edge.set_time(BEGIN + at);
        edge.count(ZONE, "www.example", Rcode::NOERROR, events);
        edge.count(ZONE, "gone.example", Rcode::NXDOMAIN, 1);
        all += events + 1;
        until("it is counted", || edge.all(ZONE, BEGIN) == all);
    }
    let resolution = || edge.ask(ZONE, Wanted { since: Some(BEGIN), ..Wanted::default() }).unwrap().resolution;
    until("days are made", || resolution() == Tier::Day);
    assert_eq!(edge.all(ZONE, BEGIN), all);
    let by_code = Wanted { dimensions: "responseCode", since: Some(BEGIN), ..Wanted::default() };
    assert_eq!(edge.rows(ZONE, by_code), [row("NOERROR", 21), row("NXDOMAIN", 6)]);
    let by_name = Wanted { filters: "queryName==gone.example", ..by_code };
    assert_eq!(edge.rows(ZONE, by_name), [row("NXDOMAIN", 6)]);
    let by_time = |step| {
        let wanted = Wanted { since: Some(BEGIN), time_delta: Some(step), ..Wanted::default() };
        let report = edge.ask(ZONE, wanted).unwrap().report;
        let counts = report.rows[0].metrics[0].iter().map(|count| count.unwrap() as u64);
        counts.filter(|count| *count > 0).collect::<Vec<_>>()
    };
    assert_eq!(by_time("day"), [9, 5, 6, 7]);
    assert_eq!(by_time("hour"), [5, 4, 5, 6, 7]);
    assert_eq!(by_time("all"), [27]);
    // Two days later the minutes of the first ones are gone.
    let gone =
        Wanted { since: Some(BEGIN), until: Some(BEGIN + 7_200), time_delta: Some("minute"), ..Wanted::default() };
    until("minutes are forgotten", || edge.ask(ZONE, gone).unwrap().report.rows.is_empty());
    assert_eq!(by_time("hour"), [5, 4, 5, 6, 7]);
    // Hours of a process that was killed while it merged are not merged twice.
    drop(edge);
    let edge = Edge::start(dir.path(), BEGIN + 4 * 86_400 + 120);
    until("the file is there", || edge.all(ZONE, BEGIN) > 0);
    assert_eq!(edge.all(ZONE, BEGIN), all);
}

/// However many names are made up, what is kept of them is bounded; all are counted, and the real ones are told.
#[test]
fn a_flood_of_names_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path(), BEGIN + 60);
    let mut all = 0;
    for round in 0..30_u64 {
        for number in 0..3_000_u64 {
            edge.count(ZONE, &format!("x{round}-{number}.example"), Rcode::NXDOMAIN, 1);
        }
        edge.count(ZONE, "www.example", Rcode::NOERROR, 100);
        all += 3_100;
    }
    until("all is counted", || edge.all(ZONE, BEGIN) == all);
    let answer = edge.ask(ZONE, Wanted { dimensions: "queryName", ..Wanted::default() }).unwrap();
    assert!(answer.report.is_estimate && answer.report.unnamed > 0 && answer.report.rows.len() <= 2_001);
    let real = edge.rows(ZONE, Wanted { filters: "queryName==www.example", ..Wanted::default() });
    assert_eq!(real.len(), 1);
    let (told, missing) = (real[0].1, answer.report.unnamed);
    assert!(told <= 3_000 && told + missing >= 3_000, "{told} {missing}");
    assert_eq!(
        edge.rows(ZONE, Wanted { dimensions: "responseCode", ..Wanted::default() }),
        [row("NXDOMAIN", 90_000), row("NOERROR", 3_000)]
    );
    edge.set_time(BEGIN + 3_700);
    until("the hour is over", || {
        let answer = edge.ask(ZONE, Wanted { since: Some(BEGIN), until: Some(BEGIN + 3_600), ..Wanted::default() });
        answer.is_ok_and(|answer| answer.resolution == Tier::Hour)
    });
    assert_eq!(edge.all(ZONE, BEGIN), all);
    let size = std::fs::metadata(dir.path().join(FILE)).unwrap().len();
    assert!(size < 1 << 20, "{size}");
}

/// More zones than a worker's table holds: they are taken before the second is over.
#[test]
fn many_zones_are_counted_each() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path(), BEGIN + 60);
    let zone = |number: u32| {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        ZoneId::from_bytes(id)
    };
    let name = Name::parse("www.example").unwrap();
    for number in 0..60_000_u32 {
        let event =
            Event { zone: number.into(), place: 7, name: name.as_wire(), facts: 0, sent: 1, received: 1, nanos: 1 };
        let mut is_full = true;
        while is_full {
            let fill = |table: &mut Table| {
                is_full = table.is_crowded();
                if is_full {
                    return Filled::Full;
                }
                table.record(event, || Some(zone(number)));
                Filled::Room
            };
            edge.tray.fill(fill);
            if is_full {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    for number in [0, 1, 30_000, 59_999] {
        until("each is counted", || edge.all(zone(number), BEGIN) == 1);
    }
    drop(edge.trays);
}

#[test]
fn a_file_that_is_damaged_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), vec![b'x'; 10_000]).unwrap();
    let edge = Edge::start(dir.path(), BEGIN + 60);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
    until("it is counted", || edge.all(ZONE, BEGIN) == 1);
    assert_eq!(std::fs::read(dir.path().join(ASIDE)).unwrap(), vec![b'x'; 10_000]);
    let problems = edge.problems.all(Instant::now());
    assert_eq!(problems.iter().map(|problem| problem.what.clone()).collect::<Vec<_>>(), [What::Statistics]);
    // It ends when somebody has looked after it.
    edge.set_time(BEGIN + 120);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
    until("it is counted", || edge.all(ZONE, BEGIN) == 2);
    assert_eq!(edge.problems.all(Instant::now()).len(), 1);
    std::fs::remove_file(dir.path().join(ASIDE)).unwrap();
    edge.set_time(BEGIN + 180);
    until("it is well", || edge.problems.all(Instant::now()).is_empty());
    // The same for what is no damage, but of another version.
    drop(edge);
    rusqlite_version(dir.path(), 99);
    let edge = Edge::start(dir.path(), BEGIN + 180);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 2);
    until("it is counted", || edge.all(ZONE, BEGIN) == 2);
}

/// A clock that is ahead for a while, at a start or while it runs, costs nothing of what was counted before. What is counted by
/// it is there when its time has come, and once.
#[test]
fn a_clock_that_was_ahead_takes_nothing_away() {
    const HOUR: u64 = 3_600;
    let dir = tempfile::tempdir().unwrap();
    let day = |edge: &Edge, at: u64| {
        let wanted = Wanted { since: Some(at), until: Some(at + 86_400), ..Wanted::default() };
        edge.ask(ZONE, wanted).map(|answer| (answer.report.totals[0].unwrap_or_default() as u64, answer.resolution))
    };
    let count = |edge: &Edge, at: u64, events: u64, all: u64| {
        edge.set_time(at);
        edge.count(ZONE, "www.example", Rcode::NOERROR, events);
        until("it is counted", || edge.all(ZONE, BEGIN) == all);
    };
    {
        let edge = Edge::start(dir.path(), BEGIN + 10 * HOUR);
        count(&edge, BEGIN + 10 * HOUR, 3, 3);
        count(&edge, BEGIN + 12 * HOUR, 2, 5);
    }
    // Ahead at the start: by hours, and by days, so that hours and days are made of what was before.
    for (ahead, events) in [(9 * HOUR, 100), (60 * HOUR, 1_000)] {
        let edge = Edge::start(dir.path(), BEGIN + 12 * HOUR + ahead);
        edge.count(ZONE, "www.example", Rcode::NOERROR, events);
        let later = Wanted { since: Some(BEGIN + 12 * HOUR + ahead - 60), ..Wanted::default() };
        let counted = || edge.ask(ZONE, later).is_ok_and(|answer| answer.report.totals == [Some(events as f64)]);
        until("it is counted", counted);
        let hour =
            || edge.ask(ZONE, Wanted { since: Some(BEGIN + 12 * HOUR), until: Some(BEGIN + 13 * HOUR), ..later });
        until("the hour is made", || hour().is_ok_and(|answer| answer.resolution == Tier::Hour));
        edge.set_time(BEGIN + 12 * HOUR + 120);
        until("all of before is there", || edge.all(ZONE, BEGIN) == 5);
        assert_eq!(edge.problems.all(Instant::now()), [], "there is nothing to do");
    }
    // It goes on in the same hour and day, which were in longer ones already, also over a start.
    let edge = Edge::start(dir.path(), BEGIN + 12 * HOUR + 300);
    until("the file is there", || edge.all(ZONE, BEGIN) == 5);
    count(&edge, BEGIN + 12 * HOUR + 300, 4, 9);
    count(&edge, BEGIN + 13 * HOUR, 1, 10);
    // The time has come by which was counted.
    count(&edge, BEGIN + 21 * HOUR, 1, 111);
    count(&edge, BEGIN + 24 * HOUR, 1, 112);
    edge.set_time(BEGIN + 24 * HOUR + 60);
    until("the day is made", || day(&edge, BEGIN).is_ok_and(|told| told == (111, Tier::Day)));
    count(&edge, BEGIN + 72 * HOUR, 1, 1_113);
    count(&edge, BEGIN + 96 * HOUR, 1, 1_114);
    edge.set_time(BEGIN + 96 * HOUR + 60);
    until("the day is made", || day(&edge, BEGIN + 72 * HOUR).is_ok_and(|told| told == (1_001, Tier::Day)));
    assert_eq!(day(&edge, BEGIN).unwrap(), (111, Tier::Day));
    assert_eq!(edge.all(ZONE, BEGIN), 1_114);
    assert!(!dir.path().join(AHEAD).exists());
}

/// An hour that ends after the clock was put right by less than a day is whole, though it was merged with what was to come.
#[test]
fn an_hour_that_was_merged_ahead_of_time_is_made_anew() {
    const HOUR: u64 = 3_600;
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path(), BEGIN + 600);
    // All but the first are by a clock that is two hours ahead.
    for (at, all) in [(600, 1), (3 * HOUR, 2), (3 * HOUR + 600, 3), (4 * HOUR, 4), (5 * HOUR, 5), (6 * HOUR, 6)] {
        edge.set_time(BEGIN + at);
        edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
        until("it is counted", || edge.all(ZONE, BEGIN) == all);
    }
    edge.set_time(BEGIN + 3 * HOUR + 300);
    until("it has gone back", || edge.all(ZONE, BEGIN) == 2);
    for (at, all) in [(300, 3), (600, 5), (HOUR, 7)] {
        edge.set_time(BEGIN + 3 * HOUR + at);
        edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
        until("it is counted", || edge.all(ZONE, BEGIN) == all);
    }
    edge.set_time(BEGIN + 24 * HOUR);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
    let of = |since, until| {
        let answer =
            edge.ask(ZONE, Wanted { since: Some(BEGIN + since), until: Some(BEGIN + until), ..Wanted::default() });
        answer.map_or((0, Tier::Minute), |answer| (answer.report.totals[0].unwrap() as u64, answer.resolution))
    };
    edge.is_counted();
    edge.set_time(BEGIN + 24 * HOUR + 60);
    until("the day is made", || of(0, 24 * HOUR) == (9, Tier::Day));
    assert_eq!(of(3 * HOUR, 4 * HOUR), (4, Tier::Hour));
    assert_eq!(of(3 * HOUR, 3 * HOUR + 660), (4, Tier::Minute));
}

/// Nothing goes by its age while the time is not established: who is mistaken by days or months has an hour.
#[test]
fn a_clock_that_is_not_believed_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let resolution = |edge: &Edge| {
        let minute =
            Wanted { since: Some(BEGIN), until: Some(BEGIN + 120), time_delta: Some("minute"), ..Wanted::default() };
        edge.ask(ZONE, minute).map_or(0, |answer| answer.report.rows.len())
    };
    let known = {
        let edge = Edge::start(dir.path(), BEGIN + 60);
        edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
        until("it is counted", || edge.all(ZONE, BEGIN) == 1);
        edge.set_time(BEGIN + 7_200);
        until("it is established", || edge.clock.look().believed().is_some() && edge.clock.known().least.is_some());
        edge.clock.known()
    };
    // By as much as is doubted, and by as little as is not.
    for days in [200, 3] {
        let at = BEGIN + days * 86_400;
        let edge = Edge::start_with(dir.path(), at, Retention::default(), known);
        assert_eq!(edge.clock.read().believed().is_none(), days == 200);
        for minute in 0..3 {
            edge.set_time(at + minute * 60);
            edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
            let wanted = Wanted { since: Some(at), ..Wanted::default() };
            let counted = || edge.ask(ZONE, wanted).is_ok_and(|told| told.report.totals == [Some(minute as f64 + 1.0)]);
            until("it is counted", counted);
        }
        drop(edge);
        let edge = Edge::start_with(dir.path(), BEGIN + 7_260, Retention::default(), known);
        until("the minute is there", || resolution(&edge) == 1);
    }
    // It goes when the time is so for an hour.
    let edge = Edge::start_with(dir.path(), BEGIN + 3 * 86_400, Retention::default(), known);
    edge.set_time(BEGIN + 3 * 86_400 + 3_700);
    until("the minute is gone", || edge.all(ZONE, BEGIN) > 0 && resolution(&edge) == 0);
}

/// A minute that cannot be written is told as what it was: where there is no file, and where it takes nothing.
#[test]
fn minutes_that_wait_for_the_disk_keep_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("later");
    let edge = Edge::start(&folder, BEGIN + 60);
    let told = |until| {
        let wanted = Wanted { since: Some(BEGIN), until: Some(until), time_delta: Some("minute"), ..Wanted::default() };
        let report = edge.ask(ZONE, wanted).map(|answer| answer.report);
        report.map_or(Vec::new(), |report| report.rows.first().map_or(Vec::new(), |row| row.metrics[0].clone()))
    };
    let count = |minutes: std::ops::Range<u64>| {
        for minute in minutes {
            edge.set_time(BEGIN + minute * 60);
            edge.count(ZONE, "www.example", Rcode::NOERROR, minute);
            edge.is_counted();
        }
    };
    let expect = |minutes: u64| (0..minutes).map(|minute| Some(minute as f64)).collect::<Vec<_>>();
    count(1..5);
    std::fs::create_dir(&folder).unwrap();
    until("all of them are told", || told(BEGIN + 300) == expect(5));
    until("it is well", || edge.problems.all(Instant::now()).is_empty());
    let file = rusqlite::Connection::open(folder.join(FILE)).unwrap();
    file.execute_batch("CREATE TRIGGER no BEFORE INSERT ON segments BEGIN SELECT RAISE(FAIL, 'no room'); END").unwrap();
    count(5..8);
    until("it is told", || !edge.problems.all(Instant::now()).is_empty());
    count(8..130);
    file.execute_batch("DROP TRIGGER no").unwrap();
    until("all of them are told", || told(BEGIN + 130 * 60) == expect(130));
    until("it is well", || edge.problems.all(Instant::now()).is_empty());
    assert_eq!(edge.all(ZONE, BEGIN), (0..130).sum::<u64>());
    let hour = Wanted { since: Some(BEGIN), until: Some(BEGIN + 3_600), ..Wanted::default() };
    until("the hour is made", || edge.ask(ZONE, hour).is_ok_and(|answer| answer.resolution == Tier::Hour));
    assert_eq!(edge.ask(ZONE, hour).unwrap().report.totals, [Some((0..60).sum::<u64>() as f64)]);
}

/// What is in the way is told with what helps, and only once for as long as it is there.
#[test]
fn what_is_in_the_way_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(FILE)).unwrap();
    let edge = Edge::start(dir.path(), BEGIN + 60);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 4);
    until("it is told", || !edge.problems.all(Instant::now()).is_empty());
    assert!(edge.problems.all(Instant::now())[0].remedy.contains("move it elsewhere"));
    std::fs::remove_dir(dir.path().join(FILE)).unwrap();
    until("it is written", || edge.all(ZONE, BEGIN) == 4);
    until("it is well", || edge.problems.all(Instant::now()).is_empty());
}

/// A clock that went back a little over a start: what is counted then becomes part of its hour all the same.
#[test]
fn a_clock_that_goes_back_a_little_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path(), BEGIN + 1_800);
    for (at, all) in [(1_800, 1), (1_860, 2)] {
        edge.set_time(BEGIN + at);
        edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
        until("it is counted", || edge.all(ZONE, BEGIN) == all);
    }
    drop(edge);
    let edge = Edge::start(dir.path(), BEGIN + 60);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 4);
    drop(edge);
    let edge = Edge::start(dir.path(), BEGIN + 7_200);
    let hour = Wanted { since: Some(BEGIN), until: Some(BEGIN + 3_600), ..Wanted::default() };
    until("the hour is made", || edge.ask(ZONE, hour).is_ok_and(|answer| answer.resolution == Tier::Hour));
    assert_eq!(edge.ask(ZONE, hour).unwrap().report.totals, [Some(6.0)]);
}

fn rusqlite_version(dir: &Path, version: u32) {
    rusqlite::Connection::open(dir.join(FILE)).unwrap().pragma_update(None, "user_version", version).unwrap();
}

/// Where nothing can be written, nobody waits: what is asked says so, and when it can be written all is there.
#[test]
fn a_folder_that_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("later");
    let edge = Edge::start(&folder, BEGIN + 60);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 4);
    until("it is told", || !edge.problems.all(Instant::now()).is_empty());
    assert!(matches!(edge.ask(ZONE, Wanted::default()), Err(StatsError::Unavailable)));
    std::fs::create_dir(&folder).unwrap();
    until("it is written", || edge.all(ZONE, BEGIN) == 4);
    until("it is well", || edge.problems.all(Instant::now()).is_empty());
}

/// The file has a size: names of large minutes make room, then the oldest minutes. A flood of names in one zone takes nothing
/// from another.
#[test]
fn the_file_has_a_size() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path(), BEGIN + 60);
    for minute in 1..20_u64 {
        edge.set_time(BEGIN + minute * 60);
        for number in 0..500_u64 {
            // Names that look made up, so that they do not get much shorter on disk.
            let made_up = (minute * 1_000 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            edge.count(ZONE, &format!("{made_up:016x}{:016x}.example", made_up.rotate_left(17)), Rcode::NXDOMAIN, 1);
        }
        edge.count(OTHER_ZONE, "www.other", Rcode::NOERROR, 1);
        until("it is counted", || {
            edge.all(ZONE, BEGIN + minute * 60) == 500 && edge.all(OTHER_ZONE, BEGIN + minute * 60) == 1
        });
    }
    let early = |edge: &Edge, zone, dimensions| {
        let (since, until) = (Some(BEGIN), Some(BEGIN + 600));
        edge.ask(zone, Wanted { since, until, dimensions, time_delta: Some("minute"), ..Wanted::default() })
    };
    assert_eq!(early(&edge, ZONE, "queryName").unwrap().report.unnamed, 0);
    drop(edge);
    let at = BEGIN + 20 * 60;
    let small = |bytes_max| Retention { bytes_max, ..Retention::default() };
    let edge = Edge::start_with(dir.path(), at, small(100_000), Known::default());
    until("the names are gone", || {
        early(&edge, ZONE, "queryName")
            .is_ok_and(|answer| answer.report.unnamed == 500 * 9 && answer.report.rows.len() == 1)
    });
    assert_eq!((edge.all(ZONE, BEGIN), edge.all(OTHER_ZONE, BEGIN)), (500 * 19, 19), "counts stay");
    let names = early(&edge, OTHER_ZONE, "queryName").unwrap().report;
    assert_eq!((names.rows.len(), names.unnamed), (1, 0), "the other zone has all of its own");
    drop(edge);
    let edge = Edge::start_with(dir.path(), at, small(10_000), Known::default());
    until("the oldest are gone", || early(&edge, ZONE, "").is_ok_and(|answer| answer.report.rows.is_empty()));
}

#[test]
fn what_is_too_old_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path(), BEGIN + 60);
    let old = Wanted { since: Some(60), until: Some(3_600), ..Wanted::default() };
    let error = edge.ask(ZONE, old).unwrap_err();
    assert!(matches!(error, StatsError::TooOld { days: 1_098 }), "{error}");
}
