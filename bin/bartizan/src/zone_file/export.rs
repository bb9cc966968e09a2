//! `bartizan zone export`: a zone as a file, to a pipe, a screen or a file's place.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::cli::{ZoneExport, ZoneFormat};
use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::output::{self, Output, say};
use crate::url::segment;
use crate::zone::{self, shown, text};

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
