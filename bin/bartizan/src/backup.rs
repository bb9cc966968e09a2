//! `bartizan backup` and `bartizan restore`: all that a new machine needs, in one file that only its owner opens.
//!
//! ```text
//! DATA ─ copy of the store at one revision ─ looked through ─┐
//!      └ seal.key, CA, admin.json ───────────────────────────┴─ tar ─ age ─► FILE.partial ─ read back ─► FILE
//! FILE ─ read through to its end, nothing written ─► DATA/restore.partial ─ opened, looked through ─► DATA
//! ```
//! The edge goes on meanwhile, be it this process or another: the copy is a read of one moment. What is in a backup is said
//! by `manifest.json`, its first member. Whoever has the tools `age` and `tar` gets at everything without us.
//!
//! Not in it: `bartizan.toml`, which is of the machine and not of the edge, and the databases of `--geo`.

mod archive;
mod keys;
mod make;
mod restore;
pub mod schedule;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use self::archive::Manifest;
use self::keys::{BackupOpen, BackupSeal};
pub use self::make::sweep;
use crate::data_dir;
use crate::failure::{Cause, Failure};
use crate::output::{Form, Output, json as to_json, print_line, say};
use crate::target::not_writable;
use crate::{settings, user};

/// `backup FILE` makes one, `backup verify FILE` reads one through.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Backup {
    #[command(subcommand)]
    pub action: Option<BackupAction>,
    /// The file to write; `-` is standard output
    #[arg(required = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The edge's data directory [default: /var/lib/bartizan for root, else ~/.local/share/bartizan]
    #[arg(long, value_name = "DIR", env = "BARTIZAN_DATA")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub seal: BackupSeal,
}

#[derive(Subcommand)]
pub enum BackupAction {
    /// Read a backup to its end: whether all of it is there, and what is in it
    Verify {
        /// The backup; `-` is standard input
        file: PathBuf,
        #[command(flatten)]
        open: BackupOpen,
    },
}

#[derive(Args)]
pub struct Restore {
    /// The backup
    pub file: PathBuf,
    /// The new edge's data directory [default: /var/lib/bartizan for root, else ~/.local/share/bartizan]
    #[arg(long, visible_alias = "data-dir", value_name = "DIR", env = "BARTIZAN_DATA")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub open: BackupOpen,
}

/// Standard output in place of a file.
const STDOUT: &str = "-";

/// Where progress is told.
type Tell<'t> = dyn Fn(&str) + Sync + 't;

pub fn run(words: Backup, output: Output) -> anyhow::Result<()> {
    match words.action {
        Some(BackupAction::Verify { file, open }) => {
            let backup = File::open(&file).map_err(|error| not_readable(&file, &error))?;
            let unlock = keys::unlock(&open, &backup, &file)?;
            let (manifest, _) = archive::verify(&backup, &file, &unlock, &|line| output.progress(line))?;
            output.result(&json!({ "file": file, "manifest": manifest }), || {
                format!("{} is whole: {}", file.display(), described(&manifest))
            })
        }
        None => back_up(&words, output),
    }
}

fn back_up(words: &Backup, output: Output) -> anyhow::Result<()> {
    let file = words.file.as_deref().ok_or_else(|| Failure::new(Cause::Usage, "name the file to write"))?;
    let data = words.data.clone().map_or_else(settings::default_data, Ok)?;
    let tell = |line: &str| output.progress(line);
    if file == Path::new(STDOUT) {
        if io::stdout().is_terminal() {
            return Err(Failure::new(Cause::Usage, "a backup is no text for a terminal")
                .remedy("name a file, or send it on: `bartizan backup - | …`")
                .into());
        }
        let lock = keys::lock(&words.seal)?;
        let made = user::as_owner(None, &data, || make::write(&data, io::stdout(), &lock, &tell))??;
        output.progress(format!("written: {}", described(&made.manifest)));
        if output.form == Form::Json {
            say(&to_json(&json!({ "manifest": made.manifest, "bytes": made.bytes }))?);
        }
        return Ok(());
    }
    let new = NewFile::create(file)?;
    let lock = keys::lock(&words.seal)?;
    let made = user::as_owner(None, &data, || make::write(&data, &new.file, &lock, &tell))??;
    let manifest = new.keep(made, &tell)?;
    let bytes = fs::metadata(file)?.len();
    let document = json!({ "file": file, "bytes": bytes, "manifest": manifest });
    output.result(&document, || format!("{} ({} KiB): {}", file.display(), bytes.div_ceil(1024), described(&manifest)))
}

pub fn put_back(words: &Restore, output: Output) -> anyhow::Result<()> {
    let Restore { file, data, open } = words;
    let backup = File::open(file).map_err(|error| not_readable(file, &error))?;
    let data = data.clone().map_or_else(settings::default_data, Ok)?;
    data_dir::expect_folder(&data)?;
    // Before anybody is asked for a passphrase.
    user::as_owner(None, &data, || restore::expect_free(&data))??;
    let unlock = keys::unlock(open, &backup, file)?;
    let tell = |line: &str| output.progress(line);
    let restored = user::as_owner(None, &data, || restore::restore(&backup, file, &data, &unlock, &tell))??;
    output.result(&json!({ "data": data, "manifest": restored }), || {
        format!(
            "restored to {}: {}\nstart it: bartizan up --data {}   (never beside the edge that it was made of)",
            data.display(),
            described(&restored),
            crate::output::quoted(&data.display().to_string())
        )
    })?;
    print_hint(&data, output)
}

/// What a start with other settings is likely to miss.
fn print_hint(data: &Path, output: Output) -> anyhow::Result<()> {
    let settings = data.join("bartizan.toml");
    if output.form == Form::Text && !output.quiet && !settings.exists() {
        print_line(&format!(
            "flags and bartizan.toml are not in a backup: give it those of before ({})",
            settings.display()
        ))?;
    }
    Ok(())
}

fn described(manifest: &Manifest) -> String {
    let Manifest { revision, zones, objects, made, version, .. } = manifest;
    let zones = if *zones == 1 { "1 zone".to_owned() } else { format!("{zones} zones") };
    format!("revision {revision} of {made}, {zones}, {objects} objects, by version {version}")
}

fn not_readable(file: &Path, error: &io::Error) -> Failure {
    Failure::new(Cause::NotFound, format!("cannot read {}: {error}", file.display()))
        .remedy("name the file of a backup, and be a user who may read it")
}

/// A file that has its name only once it is whole.
struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    is_kept: bool,
}

impl NewFile {
    /// For this user alone.
    fn create(path: &Path) -> anyhow::Result<NewFile> {
        if fs::symlink_metadata(path).is_ok() {
            let what = format!("{} is already there", path.display());
            return Err(Failure::new(Cause::Conflict, what).remedy("name a new file").into());
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        let create = || {
            // What an attempt that was cut off left there.
            match fs::remove_file(&partial) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&partial)
        };
        let file = create().map_err(|error| not_writable(path, &error))?;
        Ok(NewFile { path: path.to_owned(), partial, file, is_kept: false })
    }

    /// Gives it its name, if what the disk has is what was written.
    fn keep(mut self, made: make::Made, tell: &Tell<'_>) -> anyhow::Result<Manifest> {
        self.file.sync_all().with_context(|| format!("cannot write {}", self.partial.display()))?;
        tell("reading it back");
        let unlock = bartizan_seal::age::Unlock::FileKey(made.key);
        let (read, _) = archive::verify(&self.file, &self.partial, &unlock, &|_| {})?;
        anyhow::ensure!(read == made.manifest, "{} has another content than was written", self.partial.display());
        fs::rename(&self.partial, &self.path)?;
        self.is_kept = true;
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()?;
        Ok(read)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // Why it is not kept is told already.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// What the name of a file ends in that is not whole yet.
const PARTIAL: &str = ".partial";
