//! The access log: a line for each request, in a file that is exchanged when it is full, or on stdout.
//!
//! One thread writes what the workers of the HTTP edge hand over (`planes/http/src/access_log.rs`). A disk that is slow or full
//! holds up nobody: lines are lost then, and counted, and it is a problem of the edge.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bartizan_names::Timestamp;
use bartizan_observed::{Lease, Measured, Metric, Problem, Problems, Reporter, Sample, What};
use bartizan_plane_http::{AccessLog, LineForm, Lines, Query};
use bartizan_quotas::Rarely;
use clap::Args;
use rustix::fs::OFlags;
use serde::Deserialize;

use crate::clock;
use crate::failure::{Cause, Failure};

/// Where the access log goes, and how it is written.
#[derive(Args, Clone, Debug, Default)]
pub struct AccessLogWords {
    /// A line for each request over HTTP, to this file; `-` is stdout [default: none]
    #[arg(long, value_name = "FILE", env = "BARTIZAN_ACCESS_LOG")]
    pub access_log: Option<PathBuf>,
    /// How its lines are written: json, or common, which most programs read and which has less in it [default: json]
    #[arg(long, value_enum, value_name = "FORM", env = "BARTIZAN_ACCESS_LOG_FORMAT")]
    pub access_log_format: Option<Format>,
    /// How large the file may become before it is exchanged: 500K, 100M, 1G [default: 100M]
    #[arg(long, value_name = "SIZE", env = "BARTIZAN_ACCESS_LOG_SIZE", value_parser = size)]
    pub access_log_size: Option<u64>,
    /// How many full ones stay beside it, as FILE.1, FILE.2 … [default: 7]
    #[arg(long, value_name = "N", env = "BARTIZAN_ACCESS_LOG_KEEP", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub access_log_keep: Option<u16>,
    /// With the query of each URL, which may have secrets in it
    #[arg(long, env = "BARTIZAN_ACCESS_LOG_QUERY")]
    pub access_log_query: bool,
}

/// `[access_log]`: as the flags.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogTable {
    file: Option<PathBuf>,
    format: Option<Format>,
    size: Option<String>,
    keep: Option<u16>,
    query: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Json,
    Common,
}

/// What the settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    to: To,
    format: Format,
    size: u64,
    keep: u16,
    query: Query,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    Stdout,
    File(PathBuf),
}

const SIZE_USUAL: u64 = 100 << 20;
const KEEP_USUAL: u16 = 7;

/// Less would be exchanged with each piece that is written.
const SIZE_MIN: u64 = 64 << 10;

/// How often it is looked whether somebody else has moved the file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long nobody tries again to exchange a file after that has failed.
const EXCHANGE_AGAIN: Duration = Duration::from_secs(60);

/// How long all must have gone well before its problem is over: a disk at its limit takes a line now and then, and whoever
/// looks in between would find nothing wrong.
const STEADY_AFTER: Duration = Duration::from_secs(15);

/// How long the last lines may take when the edge stops.
const FINISH_MAX: Duration = Duration::from_secs(5);

/// A size in bytes: 500K, 100M, 1G.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size like 500K, 100M or 1G");
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(wrong()),
    };
    let size = u64::from(count.parse::<u16>().map_err(|_| wrong())?) << shift;
    if size < SIZE_MIN {
        return Err(format!("{text} is less than the {}K that it takes at least", SIZE_MIN >> 10));
    }
    Ok(size)
}

/// The flags beat the file one by one. None where no log is kept.
pub fn plan(flags: AccessLogWords, table: AccessLogTable) -> anyhow::Result<Option<Plan>> {
    let wrong = |reason: String| Failure::new(Cause::Usage, format!("[access_log] is not right: {reason}"));
    let AccessLogWords { access_log, access_log_format, access_log_size, access_log_keep, access_log_query } = flags;
    let says_how =
        access_log_format.is_some() || access_log_size.is_some() || access_log_keep.is_some() || access_log_query;
    let is_set_up = table != AccessLogTable::default() || says_how;
    let to = match access_log.or(table.file) {
        Some(path) if path == Path::new("-") => To::Stdout,
        Some(path) => To::File(path),
        None if is_set_up => return Err(wrong("there is no file (--access-log)".to_owned()).into()),
        None => return Ok(None),
    };
    if table.keep.is_some_and(|keep| !(1..=1000).contains(&keep)) {
        return Err(wrong("keep is from 1 to 1000".to_owned()).into());
    }
    let of_table = table.size.map(|text| size(&text)).transpose().map_err(wrong)?;
    Ok(Some(Plan {
        to,
        format: access_log_format.or(table.format).unwrap_or(Format::Json),
        size: access_log_size.or(of_table).unwrap_or(SIZE_USUAL),
        keep: access_log_keep.or(table.keep).unwrap_or(KEEP_USUAL),
        query: if access_log_query || table.query { Query::Kept } else { Query::LeftOut },
    }))
}

/// A log that is written.
pub struct Writing {
    counts: Arc<Counts>,
    /// Over when all is written.
    ended: Receiver<()>,
}

#[derive(Default)]
struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
}

impl Plan {
    /// Opens the file, and writes to it what is handed over until nobody is left who does that.
    pub fn start(self, problems: &Problems) -> anyhow::Result<(AccessLog, Writing)> {
        let form = match self.format {
            Format::Json => LineForm::Json,
            Format::Common => LineForm::Common,
        };
        let (log, lines) = AccessLog::new(form, self.query);
        let mut trouble = Trouble::new(problems.clone(), STEADY_AFTER);
        let mut writer: Box<dyn LineWriter> = match self.to {
            To::Stdout => Box::new(Stdout),
            To::File(path) => {
                let shown = path.display().to_string();
                let mut file = Rotated { path, size: self.size, keep: self.keep, open: None, stuck: None };
                // The disk of a log may come later than the edge, or never: visitors are served meanwhile.
                if let Err(error) = file.open() {
                    trouble.fails(Failing::Open, &error);
                    tracing::error!(
                        %error,
                        "the access log {shown} cannot be written: name a file in a folder that the edge's user may write to \
                         (--access-log)"
                    );
                }
                Box::new(file)
            }
        };
        let (end, ended) = channel();
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            write_all(&lines, &mut *writer, trouble, &counted);
            drop(end);
        })?;
        Ok((log, Writing { counts, ended }))
    }
}

impl Writing {
    pub fn measured(&self) -> Arc<dyn Measured> {
        Arc::clone(&self.counts) as _
    }

    /// Waits until all is written, once the workers have ended. A disk that takes nothing more is not waited for.
    pub fn finish(self) {
        // What ends it is that the sender is gone.
        let _ = self.ended.recv_timeout(FINISH_MAX);
    }
}

impl Measured for Counts {
    fn measure(&self) -> Vec<Metric> {
        let outcomes = [("written", self.written.load(Relaxed)), ("failed", self.failed.load(Relaxed))];
        vec![Metric::counter(
            "bartizan_access_log_lines",
            "Lines of the access log that were written, and those that could not be",
            Sample::by("outcome", &outcomes),
        )]
    }
}

/// What cannot be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    /// The file cannot be opened.
    Open,
    /// It takes no lines.
    Write,
}

fn write_all(queue: &Receiver<Lines>, writer: &mut dyn LineWriter, mut trouble: Trouble, counts: &Counts) {
    static FAILED: Rarely = Rarely::new();
    let mut next_look = Instant::now() + LOOK_EVERY;
    loop {
        let lines = queue.recv_timeout(LOOK_EVERY);
        if Instant::now() >= next_look {
            match writer.look() {
                Ok(()) => trouble.goes_well(Failing::Open),
                Err(error) => trouble.fails(Failing::Open, &error),
            }
            next_look = Instant::now() + LOOK_EVERY;
        }
        trouble.ends();
        let lines = match lines {
            Ok(lines) => lines,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match writer.write(&lines.bytes) {
            Ok(()) => {
                trouble.goes_well(Failing::Write);
                counts.written.fetch_add(lines.count, Relaxed)
            }
            Err(error) => {
                if let Some(times) = FAILED.turn() {
                    tracing::error!(%error, times, "lines of the access log cannot be written and are lost");
                }
                trouble.fails(Failing::Write, &error);
                counts.failed.fetch_add(lines.count, Relaxed)
            }
        };
    }
}

/// What is wrong with the log, as it is told until it has gone well for some time.
struct Trouble {
    problems: Problems,
    steady_after: Duration,
    failing: Option<Fault>,
}

struct Fault {
    what: Failing,
    since: Timestamp,
    /// Since when nothing of it was seen any more.
    well_since: Option<Instant>,
}

impl Trouble {
    fn new(problems: Problems, steady_after: Duration) -> Trouble {
        Trouble { problems, steady_after, failing: None }
    }

    /// Told each time, since the reason may be another one.
    fn fails(&mut self, what: Failing, error: &io::Error) {
        let since = self.failing.as_ref().map_or_else(clock::now, |fault| fault.since);
        self.failing = Some(Fault { what, since, well_since: None });
        let problem = Problem {
            what: What::AccessLog,
            count: 1,
            reason: format!("its lines cannot be written and are lost: {error}"),
            since,
            remedy: "make room where it is, or make its folder again for the edge's user; it goes on by itself, and this is \
                     told until it has gone well for a while",
        };
        self.problems.report(Reporter::AccessLog, vec![problem], Lease::Held, Instant::now());
    }

    /// That a file is there says nothing of whether it takes lines.
    fn goes_well(&mut self, what: Failing) {
        if let Some(fault) = self.failing.as_mut().filter(|fault| what == Failing::Write || fault.what == what) {
            fault.well_since.get_or_insert_with(Instant::now);
        }
        self.ends();
    }

    fn ends(&mut self) {
        let well_since = self.failing.as_ref().and_then(|fault| fault.well_since);
        if well_since.is_some_and(|since| since.elapsed() >= self.steady_after) {
            self.failing = None;
            self.problems.clear(Reporter::AccessLog, Instant::now());
        }
    }
}

trait LineWriter: Send {
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;

    /// Called now and then, before something is written. Fails where nothing could be.
    fn look(&mut self) -> io::Result<()>;
}

struct Stdout;

impl LineWriter for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines)?;
        stdout.flush()
    }

    fn look(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that makes room when it is full, for itself and for what others do with it.
struct Rotated {
    path: PathBuf,
    size: u64,
    keep: u16,
    /// None after a failure: it is opened anew for what comes next.
    open: Option<Open>,
    /// When it is tried again to exchange a file that could not be: its folder may be another user's.
    stuck: Option<Instant>,
}

struct Open {
    file: File,
    length: u64,
    /// Device and number.
    identity: (u64, u64),
}

impl Rotated {
    fn open(&mut self) -> io::Result<&mut Open> {
        // Whoever opens a pipe that nobody reads would wait for ever.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        let mut options = OpenOptions::new();
        let options = options.append(true).create(true).mode(0o640).custom_flags(flags.try_into().unwrap_or_default());
        let file = options.open(&self.path)?;
        let known = file.metadata()?;
        if !known.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let identity = (known.dev(), known.ino());
        Ok(self.open.insert(Open { file, length: known.len(), identity }))
    }

    fn named(&self, number: u16) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// The full one becomes the first of those that stay, and the last of them goes.
    fn exchange(&self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            match std::fs::rename(self.named(number), self.named(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match std::fs::rename(&self.path, self.named(1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes room in the file that is open, which is full. Where it cannot be exchanged it is written on, as far as it and those
    /// that stay might be long together; then it begins anew, as the last of those would go.
    fn make_room(&mut self) -> io::Result<()> {
        if self.stuck.is_none_or(|again| Instant::now() >= again) {
            match self.exchange() {
                Ok(()) => {
                    (self.open, self.stuck) = (None, None);
                    return Ok(());
                }
                Err(error) => {
                    let path = self.path.display();
                    tracing::warn!(
                        %error,
                        %path,
                        "the access log cannot be exchanged, and is written on: its folder must be the edge's user's"
                    );
                    self.stuck = Some(Instant::now() + EXCHANGE_AGAIN);
                }
            }
        }
        let all = self.size.saturating_mul(u64::from(self.keep) + 1);
        if let Some(open) = self.open.as_mut().filter(|open| open.length >= all) {
            open.file.set_len(0)?;
            open.length = 0;
        }
        Ok(())
    }
}

impl LineWriter for Rotated {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let (size, more) = (self.size, lines.len() as u64);
        if self.open.is_none() {
            self.open()?;
        }
        if self.open.as_ref().is_some_and(|open| open.length > 0 && open.length + more > size) {
            self.make_room()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open()?,
        };
        match open.file.write_all(lines) {
            Ok(()) => open.length += more,
            Err(error) => {
                // A line may be cut. What comes next begins one of its own.
                let _ = open.file.write_all(b"\n");
                self.open = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether it is still the file of that name: programs that exchange logs move it away. Then it is made anew.
    fn look(&mut self) -> io::Result<()> {
        let there = std::fs::metadata(&self.path).ok().map(|known| (known.dev(), known.ino()));
        if self.open.as_ref().is_none_or(|open| Some(open.identity) != there) {
            self.open = None;
            self.open()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotated(path: &Path, size: u64, keep: u16) -> Rotated {
        Rotated { path: path.to_owned(), size, keep, open: None, stuck: None }
    }

    #[test]
    fn what_the_settings_say() {
        let table = |text: &str| toml::from_str::<AccessLogTable>(text).unwrap();
        let flags = |file: &str| AccessLogWords { access_log: Some(file.into()), ..AccessLogWords::default() };
        let usual = |to| Plan { to, format: Format::Json, size: 100 << 20, keep: 7, query: Query::LeftOut };
        assert_eq!(plan(AccessLogWords::default(), table("")).unwrap(), None);
        assert_eq!(plan(flags("-"), table("")).unwrap(), Some(usual(To::Stdout)));
        let whole = "file = \"a.log\"\nformat = \"common\"\nsize = \"64K\"\nkeep = 2\nquery = true\n";
        let of_table =
            Plan { to: To::File("a.log".into()), format: Format::Common, size: 64 << 10, keep: 2, query: Query::Kept };
        assert_eq!(plan(AccessLogWords::default(), table(whole)).unwrap(), Some(of_table.clone()));
        let beaten = AccessLogWords {
            access_log_format: Some(Format::Json),
            access_log_size: Some(1 << 30),
            access_log_keep: Some(1),
            ..flags("b.log")
        };
        let expect = Plan { to: To::File("b.log".into()), format: Format::Json, size: 1 << 30, keep: 1, ..of_table };
        assert_eq!(plan(beaten, table(whole)).unwrap(), Some(expect));
        // The file says where, the flags how.
        let how = AccessLogWords { access_log_query: true, ..AccessLogWords::default() };
        let expect = Plan { query: Query::Kept, ..usual(To::File("c.log".into())) };
        assert_eq!(plan(how.clone(), table("file = \"c.log\"\n")).unwrap(), Some(expect));
        assert!(plan(how, table("")).is_err());
        for wrong in [
            "keep = 3\n",
            "file = \"a\"\nkeep = 0\n",
            "file = \"a\"\nsize = \"63K\"\n",
            "file = \"a\"\nsize = \"1T\"\n",
        ] {
            assert!(plan(AccessLogWords::default(), table(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn full_files_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut log = rotated(&path, 10, 2);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        for (line, now, first, second) in [
            ("one\n", "one\n", "", ""),
            ("two\n", "one\ntwo\n", "", ""),
            ("three\n", "three\n", "one\ntwo\n", ""),
            ("a line that is longer\n", "a line that is longer\n", "three\n", "one\ntwo\n"),
            ("last\n", "last\n", "a line that is longer\n", "three\n"),
        ] {
            log.write(line.as_bytes()).unwrap();
            let files = ["access.log", "access.log.1", "access.log.2", "access.log.3"].map(read);
            assert_eq!(files, [now, first, second, ""].map(str::to_owned), "{line}");
        }
        // After a start it goes on where it was.
        let mut log = rotated(&path, 10, 2);
        log.write(b"4567\n").unwrap();
        assert_eq!(read("access.log"), "last\n4567\n");
        log.write(b"x\n").unwrap();
        assert_eq!((read("access.log").as_str(), read("access.log.1").as_str()), ("x\n", "last\n4567\n"));
        let mode = std::fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode & 0o027, 0, "{mode:o}");
    }

    /// Where the folder lets nobody move a file, no line is lost and there is an end to it all the same.
    #[test]
    fn a_file_that_cannot_be_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        // Nothing takes the place of a folder that is not empty.
        let in_the_way = folder.path().join("access.log.1");
        std::fs::create_dir_all(in_the_way.join("x")).unwrap();
        let mut log = rotated(&path, 10, 1);
        let read = || std::fs::read_to_string(&path).unwrap();
        for (line, expect) in [
            ("one two\n", "one two\n"),
            ("three\n", "one two\nthree\n"),
            ("four\n", "one two\nthree\nfour\n"),
            ("5\n", "one two\nthree\nfour\n5\n"),
            ("begins anew\n", "begins anew\n"),
        ] {
            log.write(line.as_bytes()).unwrap();
            assert_eq!(read(), expect);
        }
        std::fs::remove_dir_all(&in_the_way).unwrap();
        log.stuck = Some(Instant::now());
        log.write(b"moved\n").unwrap();
        assert_eq!(
            (read().as_str(), std::fs::read_to_string(&in_the_way).unwrap().as_str()),
            ("moved\n", "begins anew\n")
        );
    }

    #[test]
    fn a_file_that_others_move_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut log = rotated(&path, 1 << 20, 2);
        log.write(b"one\n").unwrap();
        log.look().unwrap();
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        log.write(b"two\n").unwrap();
        log.look().unwrap();
        log.write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("moved")).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }

    /// Nothing waits for a reader, and what cannot be written is counted; what can be after that is.
    #[test]
    fn what_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        assert!(rotated(Path::new("/dev/null"), 1, 1).open().is_err());
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert!(rotated(&pipe, 1, 1).open().is_err());
        let below = folder.path().join("below");
        let (counts, path) = (Counts::default(), below.join("access.log"));
        let problems = Problems::default();
        let told = || problems.all(Instant::now()).into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>();
        let send = |bytes: &str| {
            let (to, queue) = channel();
            to.send(Lines { bytes: bytes.into(), count: 1 }).unwrap();
            drop(to);
            let mut log = rotated(&path, 1 << 20, 1);
            write_all(&queue, &mut log, Trouble::new(problems.clone(), Duration::ZERO), &counts);
            (counts.written.load(Relaxed), counts.failed.load(Relaxed))
        };
        assert_eq!(send("lost\n"), (0, 1));
        assert!(
            told()[0].starts_with("the access log: its lines cannot be written and are lost: No such file"),
            "{:?}",
            told()
        );
        std::fs::create_dir(&below).unwrap();
        assert_eq!(send("kept\n"), (1, 1));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\n");
    }

    /// While nobody asks for anything too, a folder that is gone is told of, and that it is there again.
    #[test]
    fn a_folder_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let path = below.join("access.log");
        let (problems, counts) = (Problems::default(), Counts::default());
        let (lines, queue) = channel::<Lines>();
        let (trouble, mut log) = (Trouble::new(problems.clone(), Duration::ZERO), rotated(&path, 1 << 20, 1));
        log.open().unwrap();
        let writing = std::thread::spawn(move || write_all(&queue, &mut log, trouble, &counts));
        let wait_until = |is_told: bool| {
            let until = Instant::now() + Duration::from_secs(30);
            while problems.all(Instant::now()).is_empty() == is_told {
                assert!(Instant::now() < until, "{:?}", problems.all(Instant::now()));
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        std::fs::remove_dir_all(&below).unwrap();
        wait_until(true);
        std::fs::create_dir(&below).unwrap();
        wait_until(false);
        lines.send(Lines { bytes: "kept\n".into(), count: 1 }).unwrap();
        drop(lines);
        writing.join().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\n");
    }

    /// A disk that takes nothing is a problem until it takes something, for as long as it takes to believe it.
    #[test]
    fn a_full_disk() {
        /// Full at every other line. Notes what was told before each.
        struct Full(Problems, Vec<usize>);

        impl LineWriter for Full {
            fn write(&mut self, lines: &[u8]) -> io::Result<()> {
                self.1.push(self.0.all(Instant::now()).len());
                let is_full = self.1.len() % 2 == 1;
                if is_full { OpenOptions::new().write(true).open("/dev/full")?.write_all(lines) } else { Ok(()) }
            }

            fn look(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        for (steady_after, told, at_the_end) in
            [(Duration::ZERO, [0, 1, 0, 1], 0), (Duration::from_secs(3600), [0, 1, 1, 1], 1)]
        {
            let (problems, counts) = (Problems::default(), Counts::default());
            let (lines, queue) = channel();
            (0..4).for_each(|_| lines.send(Lines { bytes: "x\n".into(), count: 1 }).unwrap());
            drop(lines);
            let mut full = Full(problems.clone(), Vec::new());
            write_all(&queue, &mut full, Trouble::new(problems.clone(), steady_after), &counts);
            assert_eq!(full.1, told, "{steady_after:?}");
            assert_eq!(problems.all(Instant::now()).len(), at_the_end, "{steady_after:?}");
        }
    }

    /// What has gone well for long enough ends it without another line; that a file is there does not, where a line failed.
    #[test]
    fn when_a_problem_is_over() {
        let problems = Problems::default();
        let is_told = || !problems.all(Instant::now()).is_empty();
        let error = io::Error::other("full");
        let mut trouble = Trouble::new(problems.clone(), Duration::from_millis(20));
        trouble.fails(Failing::Write, &error);
        trouble.goes_well(Failing::Open);
        std::thread::sleep(Duration::from_millis(30));
        trouble.ends();
        assert!(is_told());
        trouble.goes_well(Failing::Write);
        std::thread::sleep(Duration::from_millis(30));
        trouble.ends();
        assert!(!is_told());
        trouble.fails(Failing::Open, &error);
        trouble.goes_well(Failing::Open);
        std::thread::sleep(Duration::from_millis(30));
        trouble.goes_well(Failing::Open);
        assert!(!is_told());
    }
}
