//! The file: a tar (POSIX ustar) of few members in a fixed order, sealed whole.

use std::fs::File;
use std::io::{self, Read, Seek, Write, copy, sink};
use std::path::Path;

use bartizan_seal::age::{self, Broken, FileKey, Unlock};
use serde::{Deserialize, Serialize};

use super::Tell;
use crate::data_dir::{KEY_FILE, STORE_FILE};
use crate::failure::{Cause, Failure};

/// The form of what is within. A newer one is refused by its number.
pub const FORMAT: u32 = 1;

/// The first member, which says what the others are.
const MANIFEST: &str = "manifest.json";
const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// The small members, whose absence is a fault of the first one only: a store without its key opens nothing.
pub const SECRETS: [&str; 4] = [KEY_FILE, "ca.key.sealed", "ca.pem", bartizan_api::ADMIN_FILE];

/// All members behind the manifest, in their order.
const MEMBERS: [&str; 5] = [SECRETS[0], SECRETS[1], SECRETS[2], SECRETS[3], STORE_FILE];

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// That made it.
    pub version: String,
    /// When, RFC 3339.
    pub made: String,
    pub revision: u64,
    pub zones: u64,
    pub objects: u64,
    pub files: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub bytes: u64,
}

/// Writes the members, which come in the order of the manifest.
pub fn write<W: Write>(to: W, manifest: &Manifest, members: Vec<Box<dyn Read + '_>>, at: u64) -> io::Result<W> {
    let mut tar = tar::Builder::new(to);
    let text = serde_json::to_vec_pretty(manifest)?;
    append(&mut tar, MANIFEST, text.len() as u64, at, &*text)?;
    for (member, mut content) in manifest.files.iter().zip(members) {
        let mut content = (&mut *content).take(member.bytes);
        append(&mut tar, &member.name, member.bytes, at, &mut content)?;
        // One that shrank would shift all that follows.
        if content.limit() > 0 {
            return Err(io::Error::other(format!("{} became shorter while it was read", member.name)));
        }
    }
    tar.into_inner()
}

fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, bytes: u64, at: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(at);
    header.set_cksum();
    tar.append(&header, content)
}

/// Reads a whole backup from its beginning to its end, and keeps nothing of it.
pub fn verify(file: &File, path: &Path, unlock: &Unlock, tell: &Tell<'_>) -> anyhow::Result<(Manifest, FileKey)> {
    read(file, path, unlock, tell, &mut |_, _| Ok(()))
}

/// Reads a whole backup and hands over each member. That all of it is authentic is certain at the end only; what was handed
/// over by then is so.
pub fn read(
    mut file: &File,
    path: &Path,
    unlock: &Unlock,
    tell: &Tell<'_>,
    take: &mut dyn FnMut(&Member, &mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<(Manifest, FileKey)> {
    file.rewind()?;
    let all = file.metadata()?.len();
    let told = Told { from: file, done: 0, all, next: 1, what: "reading", tell };
    let (mut opener, key) = age::open(told, unlock).map_err(|error| refused(path, &error))?;
    let read = members(&mut opener, take);
    match (opener.broken(), read) {
        (Some(Broken::Truncated), _) => Err(refused(path, &Broken::Truncated)),
        (Some(Broken::Altered), _) => Err(refused(path, &Broken::Altered)),
        (None, Ok(manifest)) => Ok((manifest, key)),
        (None, Err(Stop::Taker(error))) => Err(error),
        (None, Err(Stop::Content(reason))) => Err(refused(path, &reason)),
    }
}

fn refused(path: &Path, reason: &dyn std::fmt::Display) -> anyhow::Error {
    let remedy =
        "give it the right file with the right passphrase or identity; take another backup if this one is spoilt";
    Failure::new(Cause::Failed, format!("{} is of no use: {reason}", path.display())).remedy(remedy).into()
}

/// Why reading ended.
enum Stop {
    /// It is no backup of ours, though sealed.
    Content(String),
    Taker(anyhow::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Content(format!("it is sealed, but no backup of an edge is in it ({error})"))
    }
}

fn members(
    from: &mut impl Read,
    take: &mut dyn FnMut(&Member, &mut dyn Read) -> anyhow::Result<()>,
) -> Result<Manifest, Stop> {
    let other = |what: String| Stop::Content(format!("it is sealed, but no backup of an edge is in it ({what})"));
    let mut tar = tar::Archive::new(&mut *from);
    let mut entries = tar.entries()?.raw(true);
    let mut text = Vec::new();
    let first = entries.next().ok_or_else(|| other("it is empty".to_owned()))??;
    if first.path_bytes() != MANIFEST.as_bytes() {
        return Err(other(format!("it does not begin with {MANIFEST}")));
    }
    first.take(MANIFEST_BYTES_MAX).read_to_end(&mut text)?;
    let manifest = manifest(&text).map_err(other)?;
    for member in &manifest.files {
        let mut entry = entries.next().ok_or_else(|| other(format!("{} is missing", member.name)))??;
        if entry.path_bytes() != member.name.as_bytes()
            || entry.size() != member.bytes
            || entry.header().entry_type() != tar::EntryType::Regular
        {
            return Err(other(format!("{} is not what {MANIFEST} says", member.name)));
        }
        take(member, &mut entry).map_err(Stop::Taker)?;
        copy(&mut entry, &mut sink())?;
    }
    if entries.next().is_some() {
        return Err(other(format!("it has more than {MANIFEST} says")));
    }
    // The end of the file is behind that of the tar.
    copy(from, &mut sink())?;
    Ok(manifest)
}

fn manifest(text: &[u8]) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    match serde_json::from_slice(text) {
        Ok(Format { format }) if format > FORMAT => {
            return Err(format!(
                "it has format {format}, and this version knows {FORMAT}; use the version that made it"
            ));
        }
        Ok(_) => {}
        Err(error) => return Err(error.to_string()),
    }
    let manifest: Manifest = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let names = |name: &str| manifest.files.iter().filter(|member| member.name == name).count();
    let places = manifest.files.iter().map(|member| MEMBERS.iter().position(|name| *name == member.name));
    let places: Option<Vec<usize>> = places.collect();
    if places.is_none_or(|places| !places.is_sorted_by(|one, next| one < next)) {
        return Err("its members are other ones".to_owned());
    }
    match [KEY_FILE, STORE_FILE].into_iter().find(|name| names(name) == 0) {
        Some(name) => Err(format!("it has no {name}")),
        None => Ok(manifest),
    }
}

/// Tells each tenth of what is read.
pub struct Told<'t, R> {
    pub from: R,
    pub done: u64,
    pub all: u64,
    pub next: u64,
    pub what: &'static str,
    pub tell: &'t Tell<'t>,
}

/// What is read in a moment is not told of in parts.
const TOLD_BYTES_MIN: u64 = 64 << 20;

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(to)?;
        self.done += length as u64;
        if self.all >= TOLD_BYTES_MIN && self.done >= self.all / 10 * self.next {
            (self.tell)(&format!("{}: {} of {} MiB", self.what, self.done >> 20, self.all >> 20));
            self.next = self.done / (self.all / 10) + 1;
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use bartizan_seal::age::{Identity, Lock, Unlock, seal};

    use super::*;

    fn file(write: impl FnOnce(&mut dyn Write), identity: &Identity) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let (mut sealer, _) = seal(&Lock::Recipients(vec![identity.recipient()]), &mut file).unwrap();
        write(&mut sealer);
        sealer.finish().unwrap();
        file.rewind().unwrap();
        file
    }

    fn of(names: &[(&str, &'static str)]) -> Manifest {
        let files = names.iter().map(|(name, text)| Member { name: (*name).to_owned(), bytes: text.len() as u64 });
        let (version, made) = ("0".to_owned(), "now".to_owned());
        Manifest { format: FORMAT, version, made, revision: 1, zones: 1, objects: 1, files: files.collect() }
    }

    fn contents(names: &[(&str, &'static str)]) -> Vec<Box<dyn Read>> {
        names.iter().map(|(_, text)| Box::new(text.as_bytes()) as Box<dyn Read>).collect()
    }

    fn whole_of(to: &mut dyn Write, manifest: &Manifest, members: Vec<Box<dyn Read>>) {
        write(to, manifest, members, 1).unwrap();
    }

    #[test]
    fn members_come_as_they_went() {
        let identity = Identity::generate();
        let unlock = Unlock::Identities(vec![identity.clone()]);
        let names = [(KEY_FILE, "key"), ("ca.pem", ""), (STORE_FILE, "a store")];
        let backup = file(|to| whole_of(to, &of(&names), contents(&names)), &identity);
        let mut seen = Vec::new();
        let mut take = |member: &Member, content: &mut dyn Read| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            seen.push((member.name.clone(), text));
            Ok(())
        };
        let (manifest, _) = read(&backup, Path::new("x"), &unlock, &|_| {}, &mut take).unwrap();
        assert_eq!(manifest, of(&names));
        let expect: Vec<_> = names.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(seen, expect);
    }

    #[test]
    fn what_is_sealed_and_no_backup_is_refused() {
        let identity = Identity::generate();
        let unlock = Unlock::Identities(vec![identity.clone()]);
        let whole = [(KEY_FILE, "key"), (STORE_FILE, "a store")];
        let newer = Manifest { format: FORMAT + 1, ..of(&whole) };
        let twice = [(KEY_FILE, "key"), (KEY_FILE, "key"), (STORE_FILE, "a store")];
        type Written<'w> = &'w dyn Fn(&mut dyn Write);
        let cases: [(&str, Written<'_>); 8] = [
            ("no backup of an edge", &|_| {}),
            ("no backup of an edge", &|to| to.write_all(&[7; 3_000]).unwrap()),
            ("knows 1; use the version", &|to| whole_of(to, &newer, contents(&whole))),
            ("no store.sqlite", &|to| whole_of(to, &of(&whole[..1]), contents(&whole[..1]))),
            ("no seal.key", &|to| whole_of(to, &of(&whole[1..]), contents(&whole[1..]))),
            ("other ones", &|to| whole_of(to, &of(&twice), contents(&twice))),
            ("other ones", &|to| {
                let names = [(KEY_FILE, "key"), ("../../etc/passwd", "root"), (STORE_FILE, "a store")];
                let text = serde_json::to_vec(&of(&names)).unwrap();
                let mut tar = tar::Builder::new(to);
                append(&mut tar, MANIFEST, text.len() as u64, 1, &*text).unwrap();
                tar.finish().unwrap();
            }),
            ("missing", &|to| {
                let text = serde_json::to_vec(&of(&whole)).unwrap();
                let mut tar = tar::Builder::new(to);
                append(&mut tar, MANIFEST, text.len() as u64, 1, &*text).unwrap();
                tar.finish().unwrap();
            }),
        ];
        for (expect, written) in cases {
            let backup = file(|to| written(to), &identity);
            let error = verify(&backup, Path::new("the-file"), &unlock, &|_| {}).unwrap_err().to_string();
            assert!(error.contains(expect) && error.contains("the-file is of no use"), "{expect}: {error}");
        }
    }
}
