//! `bartizan zone import` and `zone export`: zones as master files.

pub mod export;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::Name;
use bartizan_wire::zone_file::{Entry, Reader, SyntaxError};
use bytes::Bytes;
use clap::Args;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::client::{Api, Feed, Sent, Upload};
use crate::failure::{Cause, Failure};
use crate::output::{Output, one_line};
use crate::up;
use crate::url::segment;
use crate::zone::{self, shown, text};

#[derive(Args)]
pub struct ZoneImport {
    /// The file; `-` is standard input
    pub file: PathBuf,
    /// The zone [default: the one that the file's SOA or first record lies in]
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Records that can be proxied are, where the file does not say it
    #[arg(long)]
    pub proxied: bool,
}

pub use export::export;

/// Bytes that are read of a file at once.
const PIECE: usize = 64 << 10;

/// Standard input in place of a file.
const STDIN: &str = "-";

/// How often it is told how far a long import is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// How long it is waited for that what has landed is served, and how often it is looked.
const IN_FORCE_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// The API's code for too much at once.
const BUSY: u64 = 10_505;

pub async fn import(words: ZoneImport, api: &Api, output: Output) -> anyhow::Result<()> {
    let mut file = open(&words.file).await?;
    // The zone is in the first lines, mostly.
    let mut start = Vec::new();
    while start.len() < PIECE && (&mut file).take(PIECE as u64).read_buf(&mut start).await? > 0 {}
    let zone = match &words.zone {
        Some(zone) => zone::by_name_or_id(api, zone).await?,
        None => zone::of_name(api, &of_file(&start)?).await?,
    };
    let file = std::io::Cursor::new(start).chain(file);
    let wish = Wish { zone: &zone, proxied: words.proxied, dry_run: output.is_dry_run(), sent: Arc::default() };
    let stopped = up::signal();
    let envelope = tokio::select! {
        envelope = send(&wish, api, output, |feed| whole(feed, file)) => envelope?,
        signal = stopped => return Err(wish.stopped(signal).into()),
    };
    match texts(&envelope, "errors") {
        errors if errors.is_empty() => {
            let so_far = so_far(&envelope, api).await;
            output.result(&envelope["result"], || told(texts(&envelope, "messages"), &envelope, &zone, so_far))
        }
        errors => {
            let nothing = format!("nothing of the file is in {}", shown(&zone, "name"));
            Err(refused(&nothing, &errors, &envelope))
        }
    }
}

async fn open(path: &Path) -> anyhow::Result<Box<dyn AsyncRead + Unpin + Send>> {
    if path.as_os_str() == STDIN {
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        return Ok(Box::new(tokio::fs::File::from_std(input.into())));
    }
    let failed = |error| Failure::new(Cause::Usage, format!("cannot read {}: {error}", path.display()));
    Ok(Box::new(tokio::fs::File::open(path).await.map_err(failed)?))
}

/// A name in the zone that a file is of: that of its SOA, or of its first record.
fn of_file(start: &[u8]) -> anyhow::Result<String> {
    let (mut first, mut apex) = (None, None);
    let mut each = |line: Result<Entry, SyntaxError>| {
        let Ok(entry) = line else { return };
        // What is not said to be whole is one label here.
        if apex.is_none() && entry.kind == "SOA" {
            apex = Some(entry.owner.clone());
        }
        first.get_or_insert(entry.owner);
    };
    Reader::new(Name::root()).take(start, &mut each);
    match apex.or(first).filter(|name| !name.is_root()) {
        Some(name) => Ok(name.to_string()),
        None => Err(Failure::new(Cause::Usage, "the file does not say of which zone it is")
            .remedy("say it with --zone NAME")
            .into()),
    }
}

/// Feeds a file to its end.
pub async fn whole(feed: Feed, mut file: impl AsyncRead + Unpin) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        match file.read_buf(&mut piece).await {
            Ok(0) => return feed.end().await,
            Ok(_) if feed.put(Bytes::from(piece)).await => {}
            // The answer is there already.
            Ok(_) => return,
            Err(error) => return feed.fail(error).await,
        }
    }
}

/// What is to become of a file.
pub struct Wish<'w> {
    pub zone: &'w Value,
    pub proxied: bool,
    pub dry_run: bool,
    pub sent: Arc<Sent>,
}

impl Wish<'_> {
    /// What to say to whoever does not wait for the end.
    fn stopped(&self, signal: &str) -> Failure {
        let zone = shown(self.zone, "name");
        if !self.sent.is_handed_over() {
            let message = format!("{signal}: the file was not sent whole, and nothing of it comes into {zone}");
            return Failure::new(Cause::Stopped, message);
        }
        if self.dry_run {
            return Failure::new(Cause::Stopped, format!("{signal}: nothing is changed in {zone}"));
        }
        let message = format!(
            "{signal}: the edge may or may not have the whole file. If it has, it goes on with it; if not, nothing of it comes \
             into {zone}"
        );
        Failure::new(Cause::Stopped, message).remedy(format!(
            "`bartizan history --zone {0}` shows what lands; `bartizan zone export {0}`, whether all is in. As long as the edge \
             is at it, another import into {zone} is refused; where it is not, one does what this one was to do",
            text(self.zone, "name")
        ))
    }
}

/// Sends what `feeding` feeds; the envelope of what became of it, also if it was refused.
pub async fn send<F: Future<Output = ()> + Send + 'static>(
    wish: &Wish<'_>,
    api: &Api,
    output: Output,
    feeding: impl FnOnce(Feed) -> F + Send + 'static,
) -> anyhow::Result<Value> {
    let records = format!("/zones/{}/dns_records", segment(text(wish.zone, "id")));
    let (feed, form) = Upload::with_feed(Arc::clone(&wish.sent));
    let proxied = wish.proxied;
    tokio::spawn(async move {
        if feed.begin(proxied).await {
            feeding(feed).await;
        }
    });
    let path = format!("{records}/import{}", if wish.dry_run { "?dry_run=true" } else { "" });
    let answer = tokio::select! {
        answer = api.upload(&path, form) => answer,
        () = tell(api, &records, &wish.sent, output) => unreachable!("it is told for as long as it takes"),
    };
    answer.map_err(|error| match error.downcast_ref::<hyper::Error>() {
        Some(broken) if !broken.is_user() && wish.sent.is_handed_over() && !wish.dry_run => {
            broken_off(broken, wish.zone).into()
        }
        _ => error,
    })
}

/// The edge may have had the file, and no answer came.
fn broken_off(error: &hyper::Error, zone: &Value) -> Failure {
    let message = format!("the edge may or may not have the whole file, and did not say what became of it: {error}");
    Failure::new(Cause::Failed, message).remedy(format!(
        "an edge that ended meanwhile deletes what of the file had landed when it starts again; one that still runs goes on. \
         `bartizan zone export {}` shows what is in",
        text(zone, "name")
    ))
}

/// Tells how much is sent, and how many records are there.
async fn tell(api: &Api, records: &str, sent: &Sent, output: Output) {
    let mut last = None;
    loop {
        tokio::time::sleep(TOLD_EVERY).await;
        let bytes = sent.bytes();
        if last != Some(bytes) {
            last = Some(bytes);
            output.progress(format!("{:.1} MB sent", bytes as f64 / 1e6));
        } else if let Ok(count) = api.count(records).await {
            output.progress(format!("{count} records in the zone"));
        }
    }
}

/// Why `nothing` of a file is in a zone.
pub fn refused(nothing: &str, errors: &[String], envelope: &Value) -> anyhow::Error {
    let code = envelope["errors"][0]["code"].as_u64().unwrap_or(0);
    // Another import is at work, maybe of the same file: what is in the zone is for that one to say.
    if code == BUSY {
        return Failure::new(Cause::Failed, format!("this import has not begun: {}", errors.join("; ")))
            .code(code)
            .into();
    }
    let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
    let cause = if matches!(code, 81_053..=81_058) { Cause::Conflict } else { Cause::Failed };
    Failure::new(cause, format!("{nothing}:\n{}", lines.join("\n"))).code(code).into()
}

/// The texts of an envelope's `errors` or `messages`.
pub fn texts(envelope: &Value, member: &str) -> Vec<String> {
    envelope[member].as_array().into_iter().flatten().map(|one| one_line(text(one, "message"))).collect()
}

/// Waits until what has landed is served, as far as it can be seen; how it is said.
pub async fn so_far(envelope: &Value, api: &Api) -> &'static str {
    let result = &envelope["result"];
    if result["bartizan"]["dry_run"] == true || result["recs_added"].as_u64() == Some(0) {
        return "";
    }
    let waiting = async {
        let status = api.get("/bartizan/status").await?;
        let landed = status["revision"].as_u64();
        let mut applied = status["applied"].as_u64();
        while applied < landed {
            tokio::time::sleep(LOOK).await;
            applied = api.get("/bartizan/status").await?["applied"].as_u64();
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(IN_FORCE_MAX, waiting).await {
        Ok(Ok(())) => ", and in force",
        // Whoever may put records into a zone need not see how the edge is.
        Ok(Err(_)) | Err(_) => ", and in force in a moment",
    }
}

/// What became of a file, in words, behind what is said of its lines. `so_far` says whether it is served.
pub fn told(mut lines: Vec<String>, envelope: &Value, zone: &Value, so_far: &str) -> String {
    let result = &envelope["result"];
    let (added, parsed) =
        (result["recs_added"].as_u64().unwrap_or(0), result["total_records_parsed"].as_u64().unwrap_or(0));
    let preview = &result["bartizan"];
    lines.extend(preview["changes"].as_array().into_iter().flatten().filter_map(Value::as_str).map(columns));
    if let Some(more @ 1..) = preview["changes_left_out"].as_u64() {
        lines.push(format!("+ and {more} more"));
    }
    let name = shown(zone, "name");
    lines.push(match preview["dry_run"] == true {
        true => format!("{added} of {parsed} records would come into {name}"),
        false => format!("{added} of {parsed} records are new in {name}{so_far}"),
    });
    lines.join("\n")
}

/// A line of a master file as a person reads it.
fn columns(line: &str) -> String {
    one_line(&line.replace('\t', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_of_a_file() {
        for (file, expect) in [
            ("$ORIGIN example.com.\n@ SOA a b 1 2 3 4 5\n", Some("example.com")),
            ("www.example.com. A 192.0.2.1\nexample.com. SOA a. b. 1 2 3 4 5\n", Some("example.com")),
            (";; a comment\nwww.example.com. A 192.0.2.1\n", Some("www.example.com")),
            ("$TTL 5\n@ A 192.0.2.1\n", None),
            ("", None),
        ] {
            assert_eq!(of_file(file.as_bytes()).ok().as_deref(), expect, "{file}");
        }
    }

    /// An end that waits in a buffer is nothing that the other side has.
    #[tokio::test]
    async fn an_edge_that_does_not_read_is_not_said_to_have_the_file() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Api::new(&format!("http://{}/client/v4", listener.local_addr().unwrap()), "token", None);
        let zone = serde_json::json!({"name": "a.example", "id": "7f"});
        let wish = Wish { zone: &zone, proxied: false, dry_run: false, sent: Arc::default() };
        let output = Output { form: crate::output::Form::Text, quiet: true, dry_run: crate::output::DryRun::No };
        assert!(wish.stopped("SIGINT").message.contains("not sent whole"));
        let handed_over = async {
            while !wish.sent.is_handed_over() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            answer = send(&wish, &api, output, |feed| whole(feed, &b"www A 192.0.2.1\n"[..])) => panic!("{answer:?}"),
            done = tokio::time::timeout(IN_FORCE_MAX, handed_over) => done.unwrap(),
        }
        let told = wish.stopped("SIGINT").to_string();
        assert!(told.contains("may or may not have") && told.contains("bartizan zone export a.example"), "{told}");
        // Nobody has read a byte of it.
        drop(listener);
    }

    #[test]
    fn what_became_of_a_file() {
        let zone = serde_json::json!({"name": "xn--bcher-kva.example"});
        let envelope = serde_json::json!({
            "result": {"recs_added": 7, "total_records_parsed": 9, "bartizan":
                {"dry_run": true, "changes": ["+ a.\t1\tIN\tTXT\t\"\u{202e}\""], "changes_left_out": 6}},
            "messages": [{"message": "line 1: left out"}],
        });
        let expect = "line 1: left out\n+ a. 1 IN TXT \"\\u{202e}\"\n+ and 6 more\n7 of 9 records would come into bücher.example";
        assert_eq!(told(texts(&envelope, "messages"), &envelope, &zone, ", and in force"), expect);
    }
}
