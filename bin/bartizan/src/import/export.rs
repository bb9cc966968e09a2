//! The records of a zone, as one file that nobody saw: fetched or made whole before anything is done with it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Context;

use super::of_their_token;
use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::output::one_line;

/// Bytes of a file. The edge takes no more in one import.
const EXPORT_MAX: u64 = 256 << 20;

/// Bytes of a line that are looked at, and characters that are shown of one.
const LINE_MAX: u64 = 1 << 20;
const SHOWN_MAX: usize = 100;

/// What is said if it cannot be kept.
const ROOM: &str = "no room for the records in the folder for short-lived files";

/// A file that is gone when it is closed.
pub struct Export {
    file: File,
}

impl Export {
    pub async fn fetch(there: &Api, path: &str) -> anyhow::Result<Export> {
        let mut export = Export { file: nameless().context(ROOM)? };
        let mut download = there.download(path).await.map_err(of_their_token)?;
        let mut length = 0;
        while let Some(piece) = download.next().await? {
            length += piece.len() as u64;
            if length > EXPORT_MAX {
                return Err(Failure::new(Cause::Failed, format!("the file has more than {EXPORT_MAX} bytes")).into());
            }
            export.file.write_all(&piece)?;
        }
        Ok(export)
    }

    pub fn of(text: &str) -> anyhow::Result<Export> {
        let mut export = Export { file: nameless().context(ROOM)? };
        export.file.write_all(text.as_bytes()).context(ROOM)?;
        Ok(export)
    }

    /// To be read from its beginning.
    pub fn reader(&mut self) -> anyhow::Result<tokio::fs::File> {
        self.file.rewind()?;
        Ok(tokio::fs::File::from_std(self.file.try_clone()?))
    }

    /// What it would come to in a zone that is not here yet: the envelope that a dry run has in one that is.
    pub async fn foretold(&mut self, zone: &str) -> anyhow::Result<serde_json::Value> {
        let (file, zone) = (self.reader()?.into_std().await, zone.to_owned());
        let foretold = move || bartizan_api::foretold(&zone, file, &std::env::temp_dir());
        Ok(serde_json::to_value(tokio::task::spawn_blocking(foretold).await??)?)
    }

    /// Hands on each line with its number.
    pub fn lines(&mut self, mut each: impl FnMut(u64, &str)) -> anyhow::Result<()> {
        self.file.rewind()?;
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            each(number, String::from_utf8_lossy(&line).trim_end());
        }
        Ok(())
    }

    /// Texts about lines, with the records that stand there in place of their numbers: nobody saw this file.
    pub fn by_record(&mut self, texts: Vec<String>) -> anyhow::Result<Vec<String>> {
        let split = |text: &str| {
            let (number, rest) = text.strip_prefix("line ")?.split_once(": ")?;
            Some((number.parse::<u64>().ok()?, rest.to_owned()))
        };
        let mut named: BTreeMap<u64, String> =
            texts.iter().filter_map(|text| split(text)).map(|(number, _)| (number, String::new())).collect();
        self.lines(|number, line| {
            if let Some(name) = named.get_mut(&number) {
                *name = shown(line);
            }
        })?;
        let named = |text: String| match split(&text) {
            Some((number, rest)) => format!("{}: {rest}", named[&number]),
            None => text,
        };
        Ok(texts.into_iter().map(named).collect())
    }
}

/// A record as a person reads it.
fn shown(line: &str) -> String {
    let line = line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => one_line(&format!("{} …", &line[..end])),
        None => one_line(&line),
    }
}

fn nameless() -> std::io::Result<File> {
    let path =
        std::env::temp_dir().join(format!("bartizan-import-{:032x}", u128::from_be_bytes(bartizan_seal::random())));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
