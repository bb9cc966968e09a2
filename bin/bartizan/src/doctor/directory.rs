//! The data directory: whether it can be written and has room, and whether its secrets open.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bartizan_certs::{Ca, CertsError};
use bartizan_seal::{Key, KeyError};
use bartizan_store::Store;
use rustix::process::geteuid;

use crate::clock::now;
use crate::data_dir::{self, KEY_FILE, SEALED_FILES};
use crate::doctor::Finding;
use crate::failure::Failure;
use crate::output::quoted;
use crate::remedies::KEYS_BACK;

/// What is written to see that the disk takes it: a page of the store's file.
const PROBE_BYTES: usize = 4_096;

/// With less than this the disk is as good as full: the store's journal alone may have as much.
const ROOM_MIN: u64 = 256 << 20;

pub(super) fn look(data: &Path, running: bool) -> Vec<Finding> {
    let mut findings = vec![writable(data, running)];
    findings.extend(restored(data));
    findings.extend(room(data));
    findings.extend(secrets(data));
    findings.extend(administrator(data));
    findings.extend(store(data));
    findings
}

/// A probe is the one honest answer: mode bits know nothing of read-only mounts, access lists and quotas.
fn writable(data: &Path, running: bool) -> Finding {
    let what = format!("data directory {}", data.display());
    let mut existing = data;
    while !existing.exists() {
        match existing.parent() {
            Some(parent) => existing = parent,
            None => return Finding::bad(what, "no part of the path exists", "name another with --data DIR"),
        }
    }
    if !existing.is_dir() {
        let detail = format!("{} is not a directory", existing.display());
        return Finding::bad(what, detail, "name another with --data DIR");
    }
    let path = existing.join(format!(".bartizan-doctor-{}", std::process::id()));
    // New, so that it is nobody's link to a file of root's.
    let written = std::fs::File::create_new(&path).and_then(|mut file| {
        file.write_all(&[0; PROBE_BYTES])?;
        file.sync_all()
    });
    std::fs::remove_file(&path).ok();
    match written {
        Ok(()) if running => Finding::good(what, "a running edge uses it, and it can be written"),
        Ok(()) => Finding::good(what, if existing == data { "can be written" } else { "can be made" }),
        Err(error) => Finding::bad(
            what,
            format!("{} cannot be written: {error}", existing.display()),
            "make room, chown it, or name another with --data DIR",
        ),
    }
}

/// What is in a directory whose restore was cut off is a part of an edge.
fn restored(data: &Path) -> Option<Finding> {
    let error = data_dir::expect_restored(data).err()?;
    let failure = error.downcast_ref::<Failure>()?;
    Some(Finding::bad("the restore", failure.message.clone(), failure.remedy.clone().unwrap_or_default()))
}

/// What is free on its disk, for who is not root.
fn room(data: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(data).ok()?;
    Some(enough(disk.f_bavail.saturating_mul(disk.f_frsize), Store::room_to_mend(data)))
}

fn enough(free: u64, to_mend: u64) -> Finding {
    let what = "room on its disk";
    let detail = format!("{} MiB are free", free >> 20);
    if free >= to_mend.max(ROOM_MIN) {
        return Finding::good(what, detail);
    }
    let detail = match to_mend {
        0..ROOM_MIN => format!("{detail}: it is as good as full"),
        _ => format!("{detail}, and to mend the store may take {}", to_mend.div_ceil(1 << 20)),
    };
    Finding::bad(what, detail, "make room, or move the data directory to a larger disk")
}

/// The key of the directory, and the CA that is sealed with it.
fn secrets(data: &Path) -> Vec<Finding> {
    let (what, path) = ("the directory's key", data.join(KEY_FILE));
    if !path.exists() {
        let sealed = SEALED_FILES.into_iter().find(|name| data.join(name).exists());
        let gone = |sealed| {
            let detail = format!("{} is gone, and {sealed} is sealed with it", path.display());
            Finding::bad(what, detail, KEYS_BACK)
        };
        return sealed.map(gone).into_iter().collect();
    }
    let key = match Key::load_or_create(&path) {
        Ok(key) => key,
        Err(KeyError::File { path, source }) => {
            let detail = format!("{} cannot be opened: {source}", path.display());
            return vec![Finding::bad(what, detail, to_open(&path, source.kind()))];
        }
        Err(error) => return vec![Finding::error(what, error)],
    };
    let ca = match Ca::validity_in(data, &key) {
        Ok(None) if data_dir::has_lost_ca(data) => {
            let detail = "ca.key.sealed and ca.pem are gone: a start makes another one, which nobody trusts yet";
            Some(Finding::bad("the local CA", detail, KEYS_BACK))
        }
        Ok(None) => None,
        Ok(Some(_)) if is_another(data) => {
            let detail = "it took the place of one that was lost, and whoever trusted that does not trust it yet";
            let remedy = format!("{KEYS_BACK}; or give ca.pem to all who trusted the old one, and delete ca.lost");
            Some(Finding::bad("the local CA", detail, remedy))
        }
        Ok(Some(validity)) => Some(match validity.warning(now()) {
            None => Finding::good("the local CA", format!("opens, and ends on {}", validity.until)),
            Some(warning) => Finding::bad("the local CA", warning.reason, warning.remedy),
        }),
        Err(CertsError::File { path, source }) => {
            let detail = format!("{} cannot be opened: {source}", path.display());
            Some(Finding::bad("the local CA", detail, to_open(&path, source.kind())))
        }
        Err(error) => Some(Finding::error("the local CA", error)),
    };
    let opens = if ca.as_ref().is_some_and(|ca| ca.ok) { "opens what it sealed" } else { "is there" };
    [Finding::good(what, format!("{opens}; only its owner reads it"))].into_iter().chain(ca).collect()
}

/// The file by which commands of this machine are let in. Another user's is not looked into.
fn administrator(data: &Path) -> Option<Finding> {
    let file = data.join(bartizan_api::ADMIN_FILE);
    let is_gone = match std::fs::metadata(&file) {
        Ok(found) => found.len() == 0,
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if !is_gone || !data_dir::has_run(data) {
        return None;
    }
    let detail = "admin.json is gone: commands of this machine are not let in";
    let remedy = match data.join(KEY_FILE).exists() {
        true => "put it back from a copy; or start the edge again: it makes a new token and key, and the old ones end",
        false => bartizan_api::ADMIN_FILE_BACK,
    };
    Some(Finding::bad("the administrator's file", detail, remedy))
}

/// Whether the CA is the one that took the place of a lost one, and that was not noticed yet.
fn is_another(data: &Path) -> bool {
    let pem = std::fs::read(data.join("ca.pem")).unwrap_or_default();
    data_dir::noted_lost_ca(data).is_some_and(|noted| noted == hex::encode(bartizan_seal::sha256(&pem)))
}

/// A store that has gone is not one that was never there.
fn store(data: &Path) -> Option<Finding> {
    let error = data_dir::expect_store(data).err()?;
    let failure = error.downcast_ref::<Failure>()?;
    Some(Finding::bad("the store's file", failure.message.clone(), failure.remedy.clone().unwrap_or_default()))
}

/// What lets this user open a file of the directory.
pub(super) fn to_open(path: &Path, why: ErrorKind) -> String {
    if why != ErrorKind::PermissionDenied {
        return "see to the disk that it is on".to_owned();
    }
    let (file, folder) = (quoted(&path.display().to_string()), path.parent().unwrap_or(path));
    match std::fs::metadata(path) {
        Ok(found) if found.uid() == geteuid().as_raw() => format!("`chmod u+rw {file}`"),
        _ => format!(
            "run this as root or as the edge's user; if that is this one, as root `chown --reference={} {file}`",
            quoted(&folder.display().to_string())
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The findings that are faults, as `what: detail; remedy`.
    fn faults(data: &Path) -> Vec<String> {
        let bad = look(data, false).into_iter().filter(|finding| !finding.ok);
        bad.map(|finding| {
            assert!(finding.remedy.is_some(), "{}: {}", finding.what, finding.detail);
            format!("{}: {}; {}", finding.what, finding.detail, finding.remedy.unwrap_or_default())
        })
        .collect()
    }

    #[test]
    fn secrets_and_the_store_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let (key, ca, pem) = (data.join(KEY_FILE), data.join("ca.key.sealed"), data.join("ca.pem"));
        assert_eq!(faults(&data.join("not/there")), Vec::<String>::new());
        let seal = Key::load_or_create(&key).unwrap();
        Ca::load_or_create(data, &seal, now()).unwrap();
        assert_eq!(faults(data), Vec::<String>::new());

        let check = |expect: &str| {
            let found = faults(data);
            assert!(found.len() == 1 && found[0].contains(expect), "{expect}: {found:?}");
        };
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        check("chmod 600");
        std::fs::remove_file(&key).unwrap();
        check("is gone, and ca.key.sealed is sealed with it; restore a backup to a new directory");
        Key::load_or_create(&key).unwrap();
        check("from the same backup");
        std::fs::remove_file(&ca).unwrap();
        check("ca.key.sealed is gone, and the CA of ca.pem with it; put it back from a backup, or move ca.pem away");
        std::fs::remove_file(&key).unwrap();
        std::fs::remove_file(&pem).unwrap();

        let seal = Key::load_or_create(&key).unwrap();
        Ca::load_or_create(data, &seal, now()).unwrap();
        let note = data.join(data_dir::LOST_CA_FILE);
        std::fs::write(&note, hex::encode(bartizan_seal::sha256(&std::fs::read(&pem).unwrap()))).unwrap();
        check("took the place of one that was lost");
        std::fs::write(&note, "of another").unwrap();
        assert_eq!(faults(data), Vec::<String>::new());
        for file in [&ca, &pem, &note] {
            std::fs::remove_file(file).unwrap();
        }
        let long_ago = bartizan_names::Timestamp::from_unix_micros(1);
        Ca::load_or_create(data, &seal, long_ago).unwrap();
        check("it ran out on 1980");
        for file in [&ca, &pem] {
            std::fs::remove_file(file).unwrap();
        }
        let ahead = now().unix_micros() + 86_400_000_000;
        Ca::load_or_create(data, &seal, bartizan_names::Timestamp::from_unix_micros(ahead)).unwrap();
        check("the clock was ahead when it was made, or is behind now; set this machine's clock right");
        for file in [&ca, &pem] {
            std::fs::remove_file(file).unwrap();
        }
        Ca::load_or_create(data, &seal, now()).unwrap();
        std::fs::write(data.join("store.sqlite"), "").unwrap();
        std::fs::write(data.join("admin.json"), "{}").unwrap();
        check("is empty, and an edge has run here before; restore a backup to a new directory");
    }

    /// What mending takes depends on the store.
    #[test]
    fn a_large_store_needs_more_room() {
        for (free, to_mend, fault) in [
            (255 << 20, 0, Some("255 MiB are free: it is as good as full")),
            (256 << 20, 0, None),
            (2 << 30, 3 << 30, Some("2048 MiB are free, and to mend the store may take 3072")),
            (3 << 30, 3 << 30, None),
        ] {
            let finding = enough(free, to_mend);
            assert_eq!((!finding.ok).then_some(&*finding.detail), fault);
            assert_eq!(finding.ok, finding.remedy.is_none());
        }
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let bytes = std::fs::metadata(dir.path().join("store.sqlite")).unwrap().len();
        assert!(Store::room_to_mend(dir.path()) >= 3 * bytes && bytes > 0, "{bytes}");
        drop(store);
    }
}
