//! `bartizan trust`: puts the CA of an edge into the stores of this machine and its browsers, or takes it out again.
//!
//! ```text
//! system    /usr/local/share/ca-certificates/bartizan-XXXXXXXX.crt, update-ca-certificates (Debian and its kin; by root)
//! browsers  NSS databases of the user: ~/.pki/nssdb, Firefox's profiles (certutil; by that user)
//! ```

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bartizan_certs::Anchor;
use clap::Args;
use rustix::thread::CapabilitySet;
use serde_json::json;

use crate::credentials::{self, Edge};
use crate::failure::{Cause, Failure};
use crate::output::{Output, bold};
use crate::rights;
use crate::user;

#[derive(Args)]
pub struct Trust {
    /// Take out again all that this command has put in, of whichever edge
    #[arg(long)]
    remove: bool,
    /// Leave the system's store alone: browsers only, for which nobody needs to be root
    #[arg(long)]
    browsers_only: bool,
    #[command(flatten)]
    edge: Edge,
}

/// Where Debian looks for certificates that its administrator adds.
const SYSTEM_FOLDER: &str = "/usr/local/share/ca-certificates";
const SYSTEM_UPDATE: &str = "update-ca-certificates";

/// What tells which databases of browsers there are, below a home.
const CHROME: &str = ".pki/nssdb";
const FIREFOX: [&str; 3] =
    [".mozilla/firefox", "snap/firefox/common/.mozilla/firefox", ".var/app/org.mozilla.firefox/.mozilla/firefox"];

/// Profiles of one browser that are looked at.
const PROFILES_MAX: usize = 100;

/// How the names begin under which the stores get a CA of ours, and what follows: the first digits of its fingerprint.
const NAME: &str = "bartizan-";
const NAME_DIGITS: usize = 8;

/// Certificates that a database has under one name of ours, at most: there is one, but for who puts others there.
const NAMESAKES_MAX: usize = 10;

/// The system's store.
struct System {
    folder: PathBuf,
    update: PathBuf,
}

/// The CA, under the name that the stores get it by.
struct Ca {
    pem: String,
    name: String,
    fingerprint: String,
}

/// What is to be done.
enum Work {
    Put(Ca),
    /// All that is ours, whichever edge it is from: one whose CA was exchanged has the old one no more.
    Remove,
}

/// What was done in one place.
#[derive(Debug)]
struct Done {
    /// Of the CA; none if there was none to take out.
    name: Option<String>,
    place: String,
    changed: bool,
}

pub fn run(words: &Trust, output: Output) -> anyhow::Result<()> {
    let work = if words.remove { Work::Remove } else { Work::Put(ca(words)?) };
    let mut done = browsers_of_caller(&work, output)?;
    let system = System { folder: SYSTEM_FOLDER.into(), update: SYSTEM_UPDATE.into() };
    let refused = match words.browsers_only {
        true => None,
        false => match system.change(&work) {
            Ok(changed) => {
                done.extend(changed);
                None
            }
            // Told when the browsers are: they are done.
            Err(refused) => Some(refused),
        },
    };
    if !done.is_empty() {
        let places: Vec<_> =
            done.iter().map(|done| json!({"name": done.name, "place": done.place, "changed": done.changed})).collect();
        let told = match &work {
            Work::Put(ca) => {
                json!({"name": ca.name, "fingerprint": ca.fingerprint, "removed": false, "places": places})
            }
            Work::Remove => json!({"removed": true, "places": places}),
        };
        output.result(&told, || lines(&work, &done))?;
    }
    match refused {
        Some(refused) => Err(refused.into()),
        None if done.is_empty() => {
            let message = "no browser of this user has a store of its own, and the system's was left alone";
            Err(Failure::new(Cause::NotFound, message).into())
        }
        None => Ok(()),
    }
}

fn ca(words: &Trust) -> anyhow::Result<Ca> {
    let pem = credentials::ca(&words.edge)?.ok_or_else(|| {
        Failure::new(Cause::NotFound, "no CA is known: there is no edge on this machine, and none was logged in to")
            .remedy("name its file: --cacert ca.pem, or its folder: --data DIR")
    })?;
    let Anchor { pem, fingerprint } =
        Anchor::read(&pem).map_err(|error| Failure::new(Cause::Usage, format!("the CA: {error}")))?;
    Ok(Ca { pem, name: format!("{NAME}{}", &fingerprint[..NAME_DIGITS]), fingerprint })
}

fn lines(work: &Work, done: &[Done]) -> String {
    let line = |done: &Done| match (&done.name, work, done.changed) {
        (Some(name), Work::Put(_), true) => format!("{} put into {}", bold(name), done.place),
        (Some(name), Work::Put(_), false) => format!("{} is already in {}", bold(name), done.place),
        (Some(name), Work::Remove, _) => format!("{} taken out of {}", bold(name), done.place),
        (None, ..) => format!("no CA of an edge was in {}", done.place),
    };
    let fingerprint = match work {
        Work::Put(ca) => Some(format!("SHA-256 of the CA: {}", ca.fingerprint)),
        Work::Remove => None,
    };
    done.iter().map(line).chain(fingerprint).collect::<Vec<_>>().join("\n")
}

/// Whether a store has this name for a CA of ours.
fn is_ours(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|digits| {
        digits.len() == NAME_DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

impl System {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    /// The names of those of ours that are there.
    fn ours(&self) -> Vec<String> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".crt")?.to_owned()));
        let mut names: Vec<String> = names.filter(|name| is_ours(name)).collect();
        names.sort();
        names
    }

    /// What was done. The system is made to read its store in any case: what is in the files may not be what it trusts.
    fn change(&self, work: &Work) -> Result<Vec<Done>, Failure> {
        let remove = matches!(work, Work::Remove);
        if !self.folder.is_dir() {
            return Err(Failure::new(
                Cause::Refused,
                format!("this system keeps its CAs in no way that we know ({} is not there)", self.folder.display()),
            )
            .remedy(by_hand(remove)));
        }
        let mut done = Vec::new();
        match work {
            Work::Put(ca) => {
                let file = self.file(&ca.name);
                let is_there = fs::symlink_metadata(&file).is_ok_and(|file| file.is_file())
                    && fs::read(&file).is_ok_and(|there| there == ca.pem.as_bytes());
                if !is_there {
                    put(&file, &ca.pem).map_err(|error| self.not_changed(&file, &error, remove))?;
                }
                done.push(Done { name: Some(ca.name.clone()), place: file.display().to_string(), changed: !is_there });
            }
            Work::Remove => {
                for name in self.ours() {
                    let file = self.file(&name);
                    fs::remove_file(&file).map_err(|error| self.not_changed(&file, &error, remove))?;
                    done.push(Done { name: Some(name), place: file.display().to_string(), changed: true });
                }
            }
        }
        self.read_anew(remove)?;
        if done.is_empty() {
            done.push(Done { name: None, place: self.folder.display().to_string(), changed: false });
        }
        Ok(done)
    }

    fn read_anew(&self, remove: bool) -> Result<(), Failure> {
        let mut update = Command::new(&self.update);
        if remove {
            // Else the link to what is gone stays.
            update.arg("--fresh");
        }
        let ran = update.output().map_err(|error| format!("cannot be run: {error}")).and_then(|out| {
            match out.status.success() {
                true => Ok(()),
                false => Err(format!("failed: {}", String::from_utf8_lossy(&out.stderr).trim())),
            }
        });
        ran.map_err(|why| {
            Failure::new(Cause::Failed, format!("{} {why}", self.update.display())).remedy(format!(
                "{} is as it should be, and is not in force: do the same again, as root",
                self.folder.display()
            ))
        })
    }

    fn not_changed(&self, file: &Path, error: &std::io::Error, remove: bool) -> Failure {
        let failure =
            Failure::new(Cause::Refused, format!("the system's store is root's: {}: {error}", file.display()));
        let remove = if remove { " --remove" } else { "" };
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => failure
                .remedy(format!("sudo bartizan trust{remove}, with --data or --cacert as here; or --browsers-only")),
            _ => failure,
        }
    }
}

/// What a person does where we do not know how.
fn by_hand(remove: bool) -> &'static str {
    if remove {
        "Fedora: rm /etc/pki/ca-trust/source/anchors/bartizan.pem && update-ca-trust; Arch: trust anchor --remove ca.pem; \
         macOS: security delete-certificate -c 'Bartizan local CA'; --browsers-only leaves the system's store alone"
    } else {
        "Fedora: cp ca.pem /etc/pki/ca-trust/source/anchors/bartizan.pem && update-ca-trust; Arch: trust anchor ca.pem; \
         macOS: security add-trusted-cert -r trustRoot -k /Library/Keychains/System.keychain ca.pem; --browsers-only leaves \
         the system's store alone"
    }
}

/// Readable by all, whatever the umask says. Others may put links there (on Debian a group may): none is followed.
fn put(file: &Path, pem: &str) -> std::io::Result<()> {
    let new = file.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
    written.write_all(pem.as_bytes())?;
    written.set_permissions(fs::Permissions::from_mode(0o644))?;
    written.sync_all()?;
    fs::rename(&new, file)
}

/// The browsers of this user, and with sudo those of who called it. Whatever lies below a home is its owner's, so root looks
/// there as that user and does nothing there itself.
fn browsers_of_caller(work: &Work, output: Output) -> anyhow::Result<Vec<Done>> {
    match user::behind_sudo() {
        Some(Some(person)) => rights::apart(Some(person.numbers), CapabilitySet::empty(), || {
            browsers(&person.home, person.numbers.uid, work, output)
        }),
        Some(None) => {
            output.progress("browser stores are left alone: /etc/passwd does not have who called sudo");
            Ok(Vec::new())
        }
        None => match std::env::var_os("HOME") {
            Some(home) => browsers(Path::new(&home), rustix::process::geteuid().as_raw(), work, output),
            None => Ok(Vec::new()),
        },
    }
}

/// Those below a home that are of this user.
fn browsers(home: &Path, uid: u32, work: &Work, output: Output) -> anyhow::Result<Vec<Done>> {
    let databases = databases(home, uid);
    if databases.is_empty() {
        return Ok(Vec::new());
    }
    if Command::new("certutil").arg("-H").output().is_err() {
        output.progress(format!(
            "{} browser stores are left alone: certutil is not there (Debian: apt install libnss3-tools)",
            databases.len()
        ));
        return Ok(Vec::new());
    }
    let mut done = Vec::new();
    for database in databases {
        done.extend(Database { folder: database, home: home.to_owned() }.change(work)?);
    }
    Ok(done)
}

/// The NSS databases below a home that are of this user: what is in one of another user's says which programs are loaded by
/// who looks at it.
fn databases(home: &Path, uid: u32) -> Vec<PathBuf> {
    let profiles =
        FIREFOX.iter().flat_map(|folder| fs::read_dir(home.join(folder)).into_iter().flatten().take(PROFILES_MAX));
    let profiles = profiles.filter_map(|entry| Some(entry.ok()?.path()));
    let is_own = |folder: &PathBuf| {
        let is_own = |path: &Path| fs::metadata(path).is_ok_and(|there| there.uid() == uid);
        is_own(folder) && is_own(&folder.join("cert9.db"))
    };
    std::iter::once(home.join(CHROME)).chain(profiles).filter(is_own).collect()
}

/// An NSS database.
struct Database {
    folder: PathBuf,
    home: PathBuf,
}

impl Database {
    fn change(&self, work: &Work) -> anyhow::Result<Vec<Done>> {
        let place = self.folder.display().to_string();
        let names = self.ours()?;
        match work {
            Work::Put(ca) => {
                // Also where it is: it may not be trusted.
                self.done(&["-A", "-t", "C,,", "-n", &ca.name], &ca.pem)?;
                Ok(vec![Done { changed: !names.contains(&ca.name), name: Some(ca.name.clone()), place }])
            }
            Work::Remove if names.is_empty() => Ok(vec![Done { name: None, place, changed: false }]),
            Work::Remove => {
                for name in &names {
                    self.done(&["-D", "-n", name], "")?;
                }
                let left = self.ours()?;
                if !left.is_empty() {
                    let message = format!("{place}: certutil has left {}", left.join(", "));
                    return Err(Failure::new(Cause::Failed, message).into());
                }
                let gone = names.into_iter();
                Ok(gone.map(|name| Done { name: Some(name), place: place.clone(), changed: true }).collect())
            }
        }
    }

    /// The names of those of ours that are there; one for each certificate.
    fn ours(&self) -> anyhow::Result<Vec<String>> {
        let listed = self.done(&["-L"], "")?;
        let names = listed.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| is_ours(name));
        Ok(names.take(NAMESAKES_MAX).map(str::to_owned).collect())
    }

    /// What certutil says when it does this.
    fn done(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut certutil = Command::new("certutil");
        certutil.args(arguments).arg("-d").arg(format!("sql:{}", self.folder.display())).env("HOME", &self.home);
        certutil.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = certutil.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have read nothing of it, and says why itself.
            stdin.write_all(input.as_bytes()).ok();
        }
        let out = child.wait_with_output()?;
        match out.status.success() {
            true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
            false => {
                let why = String::from_utf8_lossy(&out.stderr).trim().to_owned();
                Err(Failure::new(Cause::Failed, format!("{}: certutil: {why}", self.folder.display())).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: &str = "bartizan-01234567";

    fn work() -> Work {
        let ca = Ca { pem: "a certificate".to_owned(), name: NAMED.to_owned(), fingerprint: String::new() };
        Work::Put(ca)
    }

    fn script(file: &Path, script: &str) {
        fs::write(file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A store with a script in the place of what makes the system read it.
    fn system(folder: &Path, update: &str) -> System {
        let store = folder.join("store");
        fs::create_dir_all(&store).unwrap();
        script(&folder.join("update"), update);
        System { folder: store, update: folder.join("update") }
    }

    fn told(done: Vec<Done>) -> Vec<(Option<String>, bool)> {
        done.into_iter().map(|done| (done.name, done.changed)).collect()
    }

    #[test]
    fn what_is_put_in_is_taken_out_and_the_system_reads_it_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let system = system(folder.path(), &format!("echo ran $* >> {}", log.display()));
        let file = system.file(NAMED);
        let named = || Some(NAMED.to_owned());
        for (work, name, changed, there) in [
            (Work::Remove, None, false, false),
            (work(), named(), true, true),
            (work(), named(), false, true),
            (Work::Remove, named(), true, false),
            (Work::Remove, None, false, false),
        ] {
            assert_eq!(told(system.change(&work).unwrap()), [(name, changed)]);
            assert_eq!(file.exists(), there);
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "ran --fresh\nran\nran\nran --fresh\nran --fresh\n");
        // Another CA of the same name's file is replaced: nobody else writes there.
        fs::write(&file, "another").unwrap();
        assert_eq!(told(system.change(&work()).unwrap()), [(named(), true)]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a certificate");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        // That of an edge that is gone goes too, and nothing else.
        for name in ["bartizan-89abcdef.crt", "bartizan-mine.crt", "bartizan-89abcdef.pem", "other.crt"] {
            fs::write(system.folder.join(name), "").unwrap();
        }
        let names = ["bartizan-01234567", "bartizan-89abcdef"].map(|name| (Some(name.to_owned()), true));
        assert_eq!(told(system.change(&Work::Remove).unwrap()), names);
        assert_eq!(fs::read_dir(&system.folder).unwrap().count(), 3);
    }

    #[test]
    fn a_link_in_the_place_of_the_file_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let system = system(folder.path(), "exit 0");
        let secret = folder.path().join("secret");
        fs::write(&secret, "keep").unwrap();
        for name in ["bartizan-01234567.new", "bartizan-01234567.crt"] {
            std::os::unix::fs::symlink(&secret, system.folder.join(name)).unwrap();
        }
        system.change(&work()).unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "keep");
        assert!(fs::symlink_metadata(system.file(NAMED)).unwrap().is_file());
    }

    #[test]
    fn what_was_not_in_force_is_when_it_is_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let broken = system(folder.path(), "echo no >&2; exit 3");
        for work in [work(), Work::Remove] {
            let failure = broken.change(&work).unwrap_err();
            assert!(failure.message.contains("failed: no"), "{failure}");
            script(&broken.update, &format!("touch {}", folder.path().join("read").display()));
            broken.change(&work).unwrap();
            assert!(fs::remove_file(folder.path().join("read")).is_ok(), "it was read");
            script(&broken.update, "echo no >&2; exit 3");
        }
    }

    #[test]
    fn what_cannot_be_done_is_told_with_a_way() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = System { folder: folder.path().join("none"), update: folder.path().join("update") };
        for (work, way) in [(work(), "update-ca-trust"), (Work::Remove, "rm /etc/pki")] {
            let failure = elsewhere.change(&work).unwrap_err();
            assert!(failure.cause == Cause::Refused && failure.to_string().contains(way), "{failure}");
        }
    }

    #[test]
    fn databases_of_browsers_are_found_and_those_of_others_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        assert!(databases(home.path(), own).is_empty());
        for folder in [".pki/nssdb", ".mozilla/firefox/a.default", "snap/firefox/common/.mozilla/firefox/b"] {
            fs::create_dir_all(home.path().join(folder)).unwrap();
            fs::write(home.path().join(folder).join("cert9.db"), "").unwrap();
        }
        fs::create_dir_all(home.path().join(".mozilla/firefox/Crash Reports")).unwrap();
        assert_eq!(databases(home.path(), own).len(), 3);
        assert!(databases(home.path(), own + 1).is_empty(), "all of them are another user's");
    }
}
