//! `bartizan trust`: puts the CA of an edge into the stores of this machine and its browsers, or takes it out again.
//!
//! ```text
//! system    /usr/local/share/ca-certificates/bartizan-XXXXXXXX.crt, update-ca-certificates (Debian and its kin; by root)
//! browsers  NSS databases of the user: ~/.pki/nssdb, Firefox's profiles (certutil)
//! ```

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bartizan_tls::Pin;
use clap::Args;
use serde_json::json;

use crate::credentials::{self, Edge};
use crate::failure::{Cause, Failure};
use crate::output::{Output, bold};
use crate::user;

#[derive(Args)]
pub struct Trust {
    /// Take it out again
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

/// The system's store.
struct System {
    folder: PathBuf,
    update: PathBuf,
}

/// The CA, under the name that the stores get it by.
struct Ca {
    pem: String,
    name: String,
}

/// What was done in one place.
struct Done {
    place: String,
    changed: bool,
}

pub fn run(words: &Trust, output: Output) -> anyhow::Result<()> {
    let pem = credentials::ca(&words.edge)?.ok_or_else(|| {
        Failure::new(Cause::NotFound, "no CA is known: there is no edge on this machine, and none was logged in to")
            .remedy("name its file: --cacert ca.pem, or its folder: --data DIR")
    })?;
    let ca = Ca::of(&pem)?;
    let mut done = browsers(&homes(), &ca, words.remove, output)?;
    let system = System { folder: SYSTEM_FOLDER.into(), update: SYSTEM_UPDATE.into() };
    let refused = match words.browsers_only {
        true => None,
        false => match system.change(&ca, words.remove) {
            Ok(changed) => {
                done.push(Done { place: system.file(&ca).display().to_string(), changed });
                None
            }
            // Told when the browsers are: they are done.
            Err(refused) => Some(refused),
        },
    };
    let (verb, state) = if words.remove { ("taken out of", "was not in") } else { ("put into", "is already in") };
    let lines = || {
        let line =
            |done: &Done| format!("{} {} {}", bold(&ca.name), if done.changed { verb } else { state }, done.place);
        done.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    if !done.is_empty() {
        let places: Vec<_> = done.iter().map(|done| json!({"place": done.place, "changed": done.changed})).collect();
        output.result(&json!({"name": ca.name, "removed": words.remove, "places": places}), lines)?;
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

impl Ca {
    fn of(pem: &str) -> anyhow::Result<Ca> {
        let pin = Pin::of(pem).map_err(|error| Failure::new(Cause::Usage, format!("the CA: {error}")))?;
        Ok(Ca { pem: pem.to_owned(), name: format!("bartizan-{}", &pin.to_string()[..8]) })
    }
}

impl System {
    fn file(&self, ca: &Ca) -> PathBuf {
        self.folder.join(format!("{}.crt", ca.name))
    }

    /// Whether anything was to be done.
    fn change(&self, ca: &Ca, remove: bool) -> Result<bool, Failure> {
        let file = self.file(ca);
        if !self.folder.is_dir() {
            return Err(Failure::new(
                Cause::Refused,
                format!("this system keeps its CAs in no way that we know ({} is not there)", self.folder.display()),
            )
            .remedy(by_hand(remove)));
        }
        let is_there = fs::read(&file).is_ok_and(|there| there == ca.pem.as_bytes());
        if if remove { !file.exists() } else { is_there } {
            return Ok(false);
        }
        let changed = if remove { fs::remove_file(&file) } else { put(&file, &ca.pem) };
        changed.map_err(|error| self.not_changed(&file, &error, remove))?;
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
            Failure::new(Cause::Failed, format!("{} {why}", self.update.display()))
                .remedy(format!("{} is as it should be: run it again, as root", file.display()))
        })?;
        Ok(true)
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

/// Readable by all, whatever the umask says.
fn put(file: &Path, pem: &str) -> std::io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, pem)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
    fs::rename(&new, file)
}

/// The homes whose browsers are meant: that of this user, and with sudo that of who called it.
fn homes() -> Vec<PathBuf> {
    let own = std::env::var_os("HOME").map(PathBuf::from);
    let caller = std::env::var("SUDO_USER").ok().and_then(|name| user::home_of(&name));
    caller.or(own).into_iter().collect()
}

fn browsers(homes: &[PathBuf], ca: &Ca, remove: bool, output: Output) -> anyhow::Result<Vec<Done>> {
    let databases: Vec<PathBuf> = homes.iter().flat_map(|home| databases(home)).collect();
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
    databases
        .into_iter()
        .map(|database| {
            Ok(Done { changed: in_database(&database, ca, remove)?, place: database.display().to_string() })
        })
        .collect()
}

/// The NSS databases below a home.
fn databases(home: &Path) -> Vec<PathBuf> {
    let profiles =
        FIREFOX.iter().flat_map(|folder| fs::read_dir(home.join(folder)).into_iter().flatten().take(PROFILES_MAX));
    let profiles = profiles.filter_map(|entry| Some(entry.ok()?.path()));
    std::iter::once(home.join(CHROME)).chain(profiles).filter(|folder| folder.join("cert9.db").exists()).collect()
}

/// Whether anything was to be done in an NSS database.
fn in_database(database: &Path, ca: &Ca, remove: bool) -> anyhow::Result<bool> {
    let folder = format!("sql:{}", database.display());
    let certutil = |arguments: &[&str], input: &str| -> anyhow::Result<Result<(), String>> {
        use std::io::Write;
        let mut command = Command::new("certutil");
        command.args(arguments).args(["-d", &folder, "-n", &ca.name]);
        // The files stay their owner's when root does it.
        if let Some(owner) = fs::metadata(database).ok().filter(|owner| user::is_root() && owner.uid() != 0) {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have read nothing of it, and says why itself.
            stdin.write_all(input.as_bytes()).ok();
        }
        let out = child.wait_with_output()?;
        Ok(if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()) })
    };
    let has_it = certutil(&["-L"], "")?.is_ok();
    if has_it != remove {
        return Ok(false);
    }
    let done = if remove { certutil(&["-D"], "")? } else { certutil(&["-A", "-t", "C,,"], &ca.pem)? };
    done.map_err(|why| Failure::new(Cause::Failed, format!("{}: certutil: {why}", database.display())))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca() -> Ca {
        Ca { pem: "a certificate".to_owned(), name: "bartizan-01234567".to_owned() }
    }

    /// A store with a script in the place of what makes the system read it.
    fn system(folder: &Path, script: &str) -> System {
        let update = folder.join("update");
        fs::write(&update, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&update, fs::Permissions::from_mode(0o755)).unwrap();
        let store = folder.join("store");
        fs::create_dir_all(&store).unwrap();
        System { folder: store, update }
    }

    #[test]
    fn what_is_put_in_is_taken_out_and_nothing_is_done_twice() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let system = system(folder.path(), &format!("echo ran $* >> {}", log.display()));
        let file = system.file(&ca());
        for (remove, changed, there) in
            [(true, false, false), (false, true, true), (false, false, true), (true, true, false), (true, false, false)]
        {
            assert_eq!(system.change(&ca(), remove).unwrap(), changed, "{remove}");
            assert_eq!(file.exists(), there);
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "ran\nran --fresh\n");
        // Another CA of the same name's file is replaced: nobody else writes there.
        fs::write(&file, "another").unwrap();
        assert!(system.change(&ca(), false).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "a certificate");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn what_cannot_be_done_is_told_with_a_way() {
        let folder = tempfile::tempdir().unwrap();
        let broken = system(folder.path(), "echo no >&2; exit 3");
        let failure = broken.change(&ca(), false).unwrap_err();
        assert!(failure.message.contains("failed: no"), "{failure}");
        let elsewhere = System { folder: folder.path().join("none"), ..broken };
        for (remove, way) in [(false, "update-ca-trust"), (true, "rm /etc/pki")] {
            let failure = elsewhere.change(&ca(), remove).unwrap_err();
            assert!(failure.cause == Cause::Refused && failure.to_string().contains(way), "{failure}");
        }
    }

    #[test]
    fn databases_of_browsers_are_found() {
        let home = tempfile::tempdir().unwrap();
        assert!(databases(home.path()).is_empty());
        for folder in [".pki/nssdb", ".mozilla/firefox/a.default", "snap/firefox/common/.mozilla/firefox/b"] {
            fs::create_dir_all(home.path().join(folder)).unwrap();
            fs::write(home.path().join(folder).join("cert9.db"), "").unwrap();
        }
        fs::create_dir_all(home.path().join(".mozilla/firefox/Crash Reports")).unwrap();
        assert_eq!(databases(home.path()).len(), 3);
    }
}
