//! A line for each request that is over, for who keeps them. Who that is, and where, is not known here.
//!
//! ```text
//! end stage ─► Pen (a buffer of the worker) ─► queue ─► Receiver<Lines>
//! ```
//! No worker waits: lines leave by the buffer, when it is large enough and once in `expire_every`; what finds the queue full is
//! thrown away and counted. A line never has the fields of a request, and its query only where that is wanted: both may have
//! secrets.

use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_clock::Clock;
use bartizan_names::Timestamp;
use bartizan_routes::Scheme;
use http::Version;

use crate::counters::Counters;
use crate::limits::{LOG_BUFFER_BYTES, LOG_QUEUE_MAX};
use crate::page::Problem;
use crate::ray::Ray;
use crate::record::{Ended, RequestLine, SentTo};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineForm {
    /// An object each.
    Json,
    /// The common log format, which most programs read; with less in it.
    Common,
}

/// What becomes of the query of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    LeftOut,
    Kept,
}

/// Whole lines.
#[derive(Debug, Default)]
pub struct Lines {
    pub bytes: Vec<u8>,
    pub count: u64,
}

/// The workers' end of a log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    form: LineForm,
    query: Query,
    queue: SyncSender<Lines>,
}

impl AccessLog {
    /// And the other end: it is over when all workers have ended.
    pub fn new(form: LineForm, query: Query) -> (AccessLog, Receiver<Lines>) {
        let (queue, lines) = sync_channel(LOG_QUEUE_MAX);
        (AccessLog { form, query, queue }, lines)
    }
}

/// One worker's.
pub(crate) struct Pen {
    log: AccessLog,
    lines: RefCell<Lines>,
    time: RefCell<TimeText>,
    counters: Arc<Counters>,
    clock: Clock,
}

impl Pen {
    pub(crate) fn new(log: AccessLog, counters: Arc<Counters>, clock: Clock) -> Pen {
        Pen { log, lines: RefCell::default(), time: RefCell::default(), counters, clock }
    }

    // Hot: once a request, where a log is kept. No allocation but for a buffer now and then.
    pub(crate) fn write(&self, request: &Ended<'_>, client: IpAddr, scheme: Scheme) {
        let (mut lines, mut time) = (self.lines.borrow_mut(), self.time.borrow_mut());
        let at = time.of(self.log.form, self.clock.now());
        let entry = Entry { request, client, scheme, at };
        match self.log.form {
            LineForm::Json => entry.json(self.log.query, &mut lines.bytes),
            LineForm::Common => entry.common(self.log.query, &mut lines.bytes),
        }
        lines.count += 1;
        let is_full = lines.bytes.len() >= LOG_BUFFER_BYTES;
        drop(lines);
        if is_full {
            self.hand_over();
        }
    }

    /// Gives away what there is.
    pub(crate) fn hand_over(&self) {
        let mut lines = self.lines.borrow_mut();
        if lines.count == 0 {
            return;
        }
        let room = Vec::with_capacity(lines.bytes.len().clamp(LOG_BUFFER_BYTES / 4, 2 * LOG_BUFFER_BYTES));
        let full = std::mem::replace(&mut *lines, Lines { bytes: room, count: 0 });
        let count = full.count;
        // Nobody is there any more, or has too much to do.
        if self.log.queue.try_send(full).is_err() {
            self.counters.requests.unlogged.add(count);
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// A time as text, made once a second.
#[derive(Default)]
struct TimeText {
    second: Option<u64>,
    text: String,
}

/// The text of a second, and the milliseconds in it.
#[derive(Clone, Copy, Debug)]
struct At<'t> {
    second: &'t str,
    millis: u32,
}

impl TimeText {
    fn of(&mut self, form: LineForm, now: Timestamp) -> At<'_> {
        let second = now.unix_seconds();
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = match form {
                LineForm::Json => rfc3339(second),
                LineForm::Common => common_time(UNIX_EPOCH + Duration::from_secs(second)),
            };
        }
        At { second: &self.text, millis: (now.unix_micros() / 1_000 % 1_000) as u32 }
    }
}

/// Up to the second, without the zone, which is UTC.
fn rfc3339(seconds: u64) -> String {
    let text = Timestamp::from_unix_micros(seconds.saturating_mul(1_000_000)).to_string();
    text.split('.').next().unwrap_or_default().to_owned()
}

/// `30/Nov/2026:18:00:00`, of `Mon, 30 Nov 2026 18:00:00 GMT`.
fn common_time(at: SystemTime) -> String {
    let text = httpdate::fmt_http_date(at);
    let mut parts = text.split(' ').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (day, month, year, time) = (part(), part(), part(), part());
    format!("{day}/{month}/{year}:{time}")
}

/// What a line tells.
struct Entry<'e> {
    request: &'e Ended<'e>,
    client: IpAddr,
    scheme: Scheme,
    at: At<'e>,
}

impl Entry<'_> {
    fn json(&self, query: Query, out: &mut Vec<u8>) {
        let Entry { request, client, scheme, at } = self;
        let Ended { how, asked, ray, status, problem, zone, sent_to, stage, received, sent, first_byte, whole, .. } =
            request;
        let scheme = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        // Writing to memory does not fail.
        let _ = write!(out, r#"{{"time":"{}.{:03}Z""#, at.second, at.millis);
        let _ = write!(out, r#","ray":"{}","client":"{client}""#, ray.as_ref().map_or("", Ray::as_str));
        if let Some(zone) = zone {
            let _ = write!(out, r#","zone":"{zone}""#);
        }
        let _ = write!(out, r#","scheme":"{scheme}""#);
        if let Some(RequestLine { method, host, path, version }) = asked {
            let _ = write!(out, r#","version":"{}""#, version_text(*version));
            member(out, "method", method.as_str());
            member(out, "host", host);
            member(out, "path", path.path());
            if let (Query::Kept, Some(query)) = (query, path.query()) {
                member(out, "query", query);
            }
        }
        match status {
            Some(status) => write!(out, r#","status":{}"#, status.as_u16()),
            None => write!(out, r#","status":null"#),
        }
        .unwrap_or_default();
        let _ = write!(out, r#","ended":"{}","stage":"{stage}""#, how.as_str());
        if let Some(problem) = problem {
            let _ = write!(out, r#","problem":"{}""#, Problem::code(*problem));
        }
        if let Some(SentTo::Tunnel(tunnel)) = sent_to {
            let _ = write!(out, r#","tunnel":"{tunnel}""#);
        }
        let _ = write!(out, r#","received":{received},"sent":{sent}"#);
        if let Some(first_byte) = first_byte {
            let _ = write!(out, r#","first_byte_us":{}"#, first_byte.as_micros());
        }
        let _ = writeln!(out, ",\"time_us\":{}}}", whole.as_micros());
    }

    fn common(&self, query: Query, out: &mut Vec<u8>) {
        let Entry { request, client, at, .. } = self;
        let _ = write!(out, "{client} - - [{} +0000] \"", at.second);
        match request.asked {
            Some(RequestLine { method, path, version, .. }) => {
                plain(out, method.as_str());
                out.push(b' ');
                plain(out, path.path());
                if let (Query::Kept, Some(query)) = (query, path.query()) {
                    out.push(b'?');
                    plain(out, query);
                }
                let _ = write!(out, " {}", version_text(version));
            }
            None => out.push(b'-'),
        }
        let _ = match request.status {
            Some(status) => writeln!(out, "\" {} {}", status.as_u16(), request.sent),
            None => writeln!(out, "\" - {}", request.sent),
        };
    }
}

pub(crate) fn version_text(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// A member whose value was chosen by the visitor.
fn member(out: &mut Vec<u8>, name: &str, value: &str) {
    let _ = write!(out, r#","{name}":""#);
    for char in value.chars() {
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            // Terminals obey some of them.
            char if char.is_control() => drop(write!(out, "\\u{:04x}", u32::from(char))),
            char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Text that the visitor chose, in a line of words.
fn plain(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'!'..=b'~' => out.push(byte),
            byte => drop(write!(out, "\\x{byte:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::ZoneId;
    use http::uri::PathAndQuery;
    use http::{Method, StatusCode};

    use super::*;
    use crate::ray::Rays;
    use crate::record::End;

    fn ended<'r>(asked: Option<RequestLine<'r>>) -> Ended<'r> {
        Ended {
            how: End::Answered,
            asked,
            ray: Some(Rays::new(1, 0).draw("LAB")),
            status: Some(StatusCode::OK),
            is_page: false,
            problem: None,
            zone: Some(ZoneId::from_bytes([1; 16])),
            sent_to: Some(SentTo::Origin),
            stage: "origin",
            received: 3,
            sent: 5,
            first_byte: Some(Duration::from_micros(7)),
            whole: Duration::from_micros(9),
        }
    }

    fn lines(asked: Option<RequestLine<'_>>, query: Query) -> [String; 2] {
        let request = &ended(asked);
        let mut time = TimeText::default();
        let now = Timestamp::from_unix_micros(1_796_061_600_042_000);
        [LineForm::Json, LineForm::Common].map(|form| {
            let mut out = Vec::new();
            time.second = None;
            let at = time.of(form, now);
            let entry = Entry { request, client: "2001:db8::7".parse().unwrap(), scheme: Scheme::Https, at };
            match form {
                LineForm::Json => entry.json(query, &mut out),
                LineForm::Common => entry.common(query, &mut out),
            }
            String::from_utf8(out).unwrap()
        })
    }

    #[test]
    fn lines_of_both_forms() {
        let ray = Rays::new(1, 0).draw("LAB");
        let path = PathAndQuery::from_static("/a\"b?key=secret");
        let asked = RequestLine { method: &Method::GET, host: "a.test", path: &path, version: Version::HTTP_2 };
        let begin = format!(
            r#"{{"time":"2026-11-30T18:00:00.042Z","ray":"{}","client":"2001:db8::7","zone":"{}","scheme":"https","#,
            ray.as_str(),
            "01".repeat(16)
        );
        let end =
            r#""status":200,"ended":"answered","stage":"origin","received":3,"sent":5,"first_byte_us":7,"time_us":9}"#;
        for (query, in_json, in_common) in
            [(Query::LeftOut, "", ""), (Query::Kept, r#","query":"key=secret""#, "?key=secret")]
        {
            let [json, common] = lines(Some(asked), query);
            let middle = format!(r#""version":"HTTP/2","method":"GET","host":"a.test","path":"/a\"b"{in_json},"#);
            assert_eq!(json, format!("{begin}{middle}{end}\n"));
            assert_eq!(
                common,
                format!("2001:db8::7 - - [30/Nov/2026:18:00:00 +0000] \"GET /a\\\"b{in_common} HTTP/2\" 200 5\n")
            );
        }
        let [json, common] = lines(None, Query::Kept);
        assert_eq!(json, format!("{begin}{end}\n"));
        assert_eq!(common, "2001:db8::7 - - [30/Nov/2026:18:00:00 +0000] \"-\" 200 5\n");
    }

    /// Whatever a visitor sends: a line stays one, and of its form.
    #[test]
    fn visitors_write_no_lines() {
        let nasty = "\u{1b}[2J\"\\\n\r\u{9b}é\u{7f}";
        let mut out = Vec::new();
        member(&mut out, "path", nasty);
        assert_eq!(String::from_utf8(out).unwrap(), r#","path":"\u001b[2J\"\\\u000a\u000d\u009bé\u007f""#);
        let mut out = Vec::new();
        plain(&mut out, nasty);
        assert_eq!(String::from_utf8(out).unwrap(), r#"\x1b[2J\"\\\x0a\x0d\xc2\x9b\xc3\xa9\x7f"#);
    }

    /// What nobody takes is thrown away, and counted.
    #[test]
    fn a_full_queue_holds_up_nobody() {
        let (log, queue) = AccessLog::new(LineForm::Common, Query::LeftOut);
        let counters = Arc::<Counters>::default();
        let pen = Pen::new(log, Arc::clone(&counters), Clock::default());
        let write = |times: usize| {
            for _ in 0..times {
                pen.write(&ended(None), "192.0.2.1".parse().unwrap(), Scheme::Http);
                pen.hand_over();
            }
        };
        let lost = || {
            let mut totals = crate::Totals::default();
            counters.add_to(&mut totals);
            totals.requests.unlogged
        };
        write(LOG_QUEUE_MAX + 3);
        assert_eq!(lost(), 3);
        assert_eq!(queue.try_iter().map(|lines| lines.count).sum::<u64>(), LOG_QUEUE_MAX as u64);
        write(1);
        assert_eq!((lost(), queue.try_iter().count()), (3, 1));
        drop(queue);
        write(2);
        assert_eq!(lost(), 5);
    }
}
