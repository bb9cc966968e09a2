//! Where a file goes that a command gets: to a pipe, a screen or a file's place.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::client::Download;
use crate::failure::{Cause, Failure};
use crate::output;

/// Where a file goes.
pub enum Target {
    /// To another program, or into a file that the shell made.
    Pipe,
    /// A terminal obeys what people wrote into comments. Pieces end anywhere, lines do not: the rest of one.
    Screen(Vec<u8>),
    /// A file that takes the place of another when it is whole.
    File { to: BufWriter<File>, new: PathBuf, path: PathBuf },
}

impl Target {
    pub fn open(path: Option<&Path>) -> anyhow::Result<Target> {
        let Some(path) = path else {
            return Ok(if std::io::stdout().is_terminal() { Target::Screen(Vec::new()) } else { Target::Pipe });
        };
        let new = beside(path)?;
        let to = File::create(&new).map_err(|error| not_writable(path, &error))?;
        Ok(Target::File { to: BufWriter::new(to), new, path: path.to_owned() })
    }

    /// All that is on its way here.
    pub async fn take(&mut self, mut download: Download) -> anyhow::Result<()> {
        while let Some(piece) = download.next().await? {
            self.write(&piece)?;
        }
        Ok(())
    }

    pub fn write(&mut self, piece: &[u8]) -> anyhow::Result<()> {
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
    pub fn close(self, written: anyhow::Result<()>) -> anyhow::Result<()> {
        let Target::File { mut to, new, path } = self else { return written };
        let in_place = || format!("cannot write {}", path.display());
        let closed = written
            .and_then(|()| to.flush().with_context(in_place))
            .and_then(|()| std::fs::rename(&new, &path).with_context(in_place));
        closed.inspect_err(|_| drop(std::fs::remove_file(&new)))
    }
}

/// Why a file cannot be written, by the name that its user knows, and what to look at.
pub fn not_writable(path: &Path, error: &std::io::Error) -> Failure {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let what = format!("cannot write {}: {error}", path.display());
    Failure::new(Cause::Failed, what).remedy(match folder.is_dir() {
        true => "name a place that this user may write to and that has room".to_owned(),
        false => format!("the folder {} is not there: make it, or name another", folder.display()),
    })
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
    fn a_file_is_called_as_its_user_calls_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nowhere").join("x.csv");
        let told = Target::open(Some(&path)).err().unwrap().to_string();
        assert!(told.contains(&format!("cannot write {}: ", path.display())) && !told.contains(".new"), "{told}");
        assert!(told.contains("nowhere is not there"), "{told}");
        // Nobody writes a file in the place of a folder's name, not even root.
        let told = not_writable(&folder.path().join("x"), &std::io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(told.contains("may write to"), "{told}");
    }
}
