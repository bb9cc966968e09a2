//! `bartizan zone import` and `zone export`: zones as master files.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use bartizan_names::Name;
use bartizan_wire::zone_file::{Entry, Reader, SyntaxError};
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::cli::{ZoneExport, ZoneFormat, ZoneImport};
use crate::client::{Api, Feed, Upload};
use crate::failure::{Cause, Failure};
use crate::output::{self, Output, one_line, say};
use crate::url::segment;
use crate::zone::{self, shown, text};

/// Bytes that are read of a file at once.
const PIECE: usize = 64 << 10;

/// Standard input in place of a file.
const STDIN: &str = "-";

/// How often it is told how far a long import is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

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
    let wish = Wish { zone: &zone, proxied: words.proxied, dry_run: words.dry_run };
    let envelope = send(&wish, api, output, |feed| whole(feed, file)).await?;
    output.result(&envelope["result"], || told(&envelope, &zone))
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
async fn whole(feed: Feed, mut file: impl AsyncRead + Unpin) {
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
}

/// Sends what `feeding` feeds; the envelope of what became of it.
pub async fn send<F: Future<Output = ()> + Send + 'static>(
    wish: &Wish<'_>,
    api: &Api,
    output: Output,
    feeding: impl FnOnce(Feed) -> F + Send + 'static,
) -> anyhow::Result<Value> {
    let records = format!("/zones/{}/dns_records", segment(text(wish.zone, "id")));
    let (feed, form) = Upload::with_feed();
    let (proxied, sent) = (wish.proxied, feed.taken());
    tokio::spawn(async move {
        if feed.begin(proxied).await {
            feeding(feed).await;
        }
    });
    let path = format!("{records}/import{}", if wish.dry_run { "?dry_run=true" } else { "" });
    let (_, envelope) = tokio::select! {
        answer = api.upload(&path, form) => answer?,
        () = tell(api, &records, &sent, output) => unreachable!("it is told for as long as it takes"),
    };
    if envelope["success"] == true {
        return Ok(envelope);
    }
    Err(refused(&envelope, wish.zone))
}

/// Tells how much is sent, and how many records are there.
async fn tell(api: &Api, records: &str, sent: &Arc<AtomicU64>, output: Output) {
    let mut last = None;
    loop {
        tokio::time::sleep(TOLD_EVERY).await;
        let bytes = sent.load(Ordering::Relaxed);
        if last != Some(bytes) {
            last = Some(bytes);
            output.progress(format!("{:.1} MB sent", bytes as f64 / 1e6));
        } else if let Ok(count) = api.count(records).await {
            output.progress(format!("{count} records in the zone"));
        }
    }
}

fn refused(envelope: &Value, zone: &Value) -> anyhow::Error {
    let errors: Vec<&Value> = envelope["errors"].as_array().into_iter().flatten().collect();
    let code = errors.first().and_then(|error| error["code"].as_u64()).unwrap_or(0);
    let lines: Vec<String> = errors.iter().map(|error| format!("  {}", one_line(text(error, "message")))).collect();
    let cause = if matches!(code, 81_053..=81_058) { Cause::Conflict } else { Cause::Failed };
    let message = format!("nothing of the file is in {}:\n{}", shown(zone, "name"), lines.join("\n"));
    Failure::new(cause, message).code(code).into()
}

/// What became of a file, in words.
pub fn told(envelope: &Value, zone: &Value) -> String {
    let result = &envelope["result"];
    let (added, parsed) =
        (result["recs_added"].as_u64().unwrap_or(0), result["total_records_parsed"].as_u64().unwrap_or(0));
    let mut lines: Vec<String> = envelope["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|message| one_line(text(message, "message")))
        .collect();
    let preview = &result["bartizan"];
    lines.extend(preview["changes"].as_array().into_iter().flatten().filter_map(Value::as_str).map(columns));
    if let Some(more @ 1..) = preview["changes_left_out"].as_u64() {
        lines.push(format!("+ and {more} more"));
    }
    let name = shown(zone, "name");
    lines.push(match preview["dry_run"] == true {
        true => format!("{added} of {parsed} records would come into {name}"),
        false => format!("{added} of {parsed} records are new in {name}"),
    });
    lines.join("\n")
}

/// A line of a master file as a person reads it.
fn columns(line: &str) -> String {
    one_line(&line.replace('\t', " "))
}

pub async fn export(words: ZoneExport, api: &Api, output: Output) -> anyhow::Result<()> {
    let zone = zone::by_name_or_id(api, &words.zone).await?;
    let mut target = Target::open(words.to.as_deref())?;
    let written = match words.format {
        ZoneFormat::Bind => bind(&zone, api, &mut target).await,
        ZoneFormat::Octodns => octodns(&zone, api, &mut target).await,
    };
    target.close(written)?;
    if let (Some(file), false) = (&words.to, output.quiet) {
        say(&format!("{} is in {}", shown(&zone, "name"), file.display()));
    }
    Ok(())
}

async fn bind(zone: &Value, api: &Api, target: &mut Target) -> anyhow::Result<()> {
    let mut download = api.download(&format!("/zones/{}/dns_records/export", segment(text(zone, "id")))).await?;
    while let Some(piece) = download.next().await? {
        target.write(&piece)?;
    }
    Ok(())
}

async fn octodns(zone: &Value, api: &Api, target: &mut Target) -> anyhow::Result<()> {
    let (file, left_out) = crate::octodns::file(api, zone).await?;
    left_out.iter().for_each(|record| say(&format!("left out, because octoDNS has no such type: {record}")));
    target.write(file.as_bytes())
}

/// Where a file goes.
enum Target {
    /// To another program, or into a file that the shell made.
    Pipe,
    /// A terminal obeys what people wrote into comments. Pieces end anywhere, lines do not: the rest of one.
    Screen(Vec<u8>),
    /// A file that takes the place of another when it is whole.
    File { to: BufWriter<File>, new: PathBuf, path: PathBuf },
}

impl Target {
    fn open(path: Option<&Path>) -> anyhow::Result<Target> {
        let Some(path) = path else {
            return Ok(if std::io::stdout().is_terminal() { Target::Screen(Vec::new()) } else { Target::Pipe });
        };
        let new = beside(path)?;
        let to = File::create(&new).with_context(|| format!("cannot write {}", new.display()))?;
        Ok(Target::File { to: BufWriter::new(to), new, path: path.to_owned() })
    }

    fn write(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        match self {
            Target::Pipe => output::pass_on(piece),
            Target::File { to, .. } => Ok(to.write_all(piece)?),
            Target::Screen(rest) => {
                rest.extend_from_slice(piece);
                let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
                let lines: Vec<u8> = rest.drain(..=end).collect();
                output::print_line(&String::from_utf8_lossy(&lines).replace('\t', " "))
            }
        }
    }

    /// What broke off takes the place of nothing.
    fn close(self, written: anyhow::Result<()>) -> anyhow::Result<()> {
        let Target::File { mut to, new, path } = self else { return written };
        let in_place = || format!("cannot write {}", path.display());
        let closed = written
            .and_then(|()| to.flush().with_context(in_place))
            .and_then(|()| std::fs::rename(&new, &path).with_context(in_place));
        closed.inspect_err(|_| drop(std::fs::remove_file(&new)))
    }
}

/// Where a file is written before it takes the place of another.
fn beside(file: &Path) -> anyhow::Result<PathBuf> {
    let name = file.file_name().ok_or_else(|| Failure::new(Cause::Usage, format!("{} is no file", file.display())))?;
    let mut new = name.to_os_string();
    new.push(format!(".{}.new", std::process::id()));
    Ok(file.with_file_name(new))
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

    #[test]
    fn what_became_of_a_file() {
        let zone = serde_json::json!({"name": "xn--bcher-kva.example"});
        let envelope = serde_json::json!({
            "result": {"recs_added": 7, "total_records_parsed": 9, "bartizan":
                {"dry_run": true, "changes": ["+ a.\t1\tIN\tTXT\t\"\u{202e}\""], "changes_left_out": 6}},
            "messages": [{"message": "line 1: left out"}],
        });
        let expect = "line 1: left out\n+ a. 1 IN TXT \"\\u{202e}\"\n+ and 6 more\n7 of 9 records would come into bücher.example";
        assert_eq!(told(&envelope, &zone), expect);
    }
}
