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
    problems: Problems,
    _collecting: Collecting,
}

impl Edge {
    fn start(dir: &Path, at: u64) -> Edge {
        Edge::start_with(dir, at, Retention::default())
    }

    fn start_with(dir: &Path, at: u64, retention: Retention) -> Edge {
        let passed = Arc::new(AtomicU64::new(at - BEGIN));
        let told = Arc::clone(&passed);
        let tell = move || {
            let steady = Duration::from_secs(told.load(Relaxed));
            Told { wall: Timestamp::from_unix_micros((BEGIN + steady.as_secs()) * 1_000_000), steady }
        };
        let (trays, problems) = (Trays::new(|| Table::new(1)), Problems::default());
        let given = Given {
            dir: dir.to_owned(),
            dns: trays.clone(),
            http: Trays::new(|| Table::new(2)),
            l4: Trays::new(|| Table::new(3)),
            retention,
            pop: "fra".to_owned(),
            clock: Clock::given(tell, Known::default()),
            problems: problems.clone(),
            pace: Duration::from_millis(20),
        };
        let (stats, collecting) = bartizan_stats::start(given).unwrap();
        let tray = trays.tray();
        Edge { passed, trays, tray, stats, problems, _collecting: collecting }
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
    // In the same minute.
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
    // The same for what is no damage, but of another version.
    drop(edge);
    rusqlite_version(dir.path(), 99);
    let edge = Edge::start(dir.path(), BEGIN + 120);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 2);
    until("it is counted", || edge.all(ZONE, BEGIN) == 2);
}

/// A clock that is wrong for a while, at a start or while it runs, costs nothing of what was counted before.
#[test]
fn statistics_of_a_time_to_come_are_set_aside() {
    const YEAR: u64 = 365 * 86_400;
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path(), BEGIN + YEAR);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 3);
    until("it is counted", || edge.all(ZONE, BEGIN + YEAR) == 3);
    drop(edge);
    let edge = Edge::start(dir.path(), BEGIN);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 1);
    until("it goes on", || edge.all(ZONE, BEGIN) == 1);
    let problems = edge.problems.all(Instant::now());
    assert!(problems.len() == 1 && problems[0].remedy.contains(AHEAD), "{problems:?}");
    // What is set aside is never replaced: the second time it waits until the clock is right.
    edge.set_time(BEGIN + YEAR);
    edge.count(ZONE, "www.example", Rcode::NOERROR, 4);
    until("it is counted", || edge.all(ZONE, BEGIN + YEAR) == 4);
    edge.set_time(BEGIN);
    until("it is told", || matches!(edge.ask(ZONE, Wanted::default()), Err(StatsError::Unavailable)));
    edge.count(ZONE, "www.example", Rcode::NOERROR, 2);
    edge.set_time(BEGIN + YEAR);
    until("it goes on", || edge.all(ZONE, BEGIN) == 7);
    until("it is well", || edge.problems.all(Instant::now()).is_empty());
    drop(edge);
    std::fs::rename(dir.path().join(AHEAD), dir.path().join(FILE)).unwrap();
    let edge = Edge::start(dir.path(), BEGIN + YEAR);
    until("the file is there", || edge.all(ZONE, BEGIN) == 3);
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
    let edge = Edge::start_with(dir.path(), at, small(100_000));
    until("the names are gone", || {
        early(&edge, ZONE, "queryName")
            .is_ok_and(|answer| answer.report.unnamed == 500 * 9 && answer.report.rows.len() == 1)
    });
    assert_eq!((edge.all(ZONE, BEGIN), edge.all(OTHER_ZONE, BEGIN)), (500 * 19, 19), "counts stay");
    let names = early(&edge, OTHER_ZONE, "queryName").unwrap().report;
    assert_eq!((names.rows.len(), names.unnamed), (1, 0), "the other zone has all of its own");
    drop(edge);
    let edge = Edge::start_with(dir.path(), at, small(10_000));
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
