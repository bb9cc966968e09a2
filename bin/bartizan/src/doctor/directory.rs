//! The data directory: whether it can be written and has room, and whether its secrets open.

use std::io::Write;
use std::path::Path;

use bartizan_certs::Ca;
use bartizan_seal::Key;

use crate::data_dir::{KEY_FILE, SEALED_FILES};
use crate::doctor::Finding;
use crate::up::now;

/// What is written to see that the disk takes it: a page of the store's file.
const PROBE_BYTES: usize = 4_096;

/// With less than this the disk is as good as full: mending the store's file needs room for copies of it.
const ROOM_MIN: u64 = 256 << 20;

pub(super) fn look(data: &Path, running: bool) -> Vec<Finding> {
    let mut findings = vec![writable(data, running)];
    findings.extend(room(data));
    findings.extend(secrets(data));
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
            None => return Finding::bad(what, "no part of the path exists; name another with --data DIR"),
        }
    }
    if !existing.is_dir() {
        return Finding::bad(what, format!("{} is not a directory; name another with --data DIR", existing.display()));
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
            format!(
                "{} cannot be written: {error}; make room, chown it, or name another with --data DIR",
                existing.display()
            ),
        ),
    }
}

/// What is free on its disk, for who is not root.
fn room(data: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(data).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let detail = format!("{} MiB are free", free >> 20);
    Some(if free < ROOM_MIN {
        Finding::bad(
            "room on its disk",
            format!("{detail}; make room: {} MiB are needed to mend a store", ROOM_MIN >> 20),
        )
    } else {
        Finding::good("room on its disk", detail)
    })
}

/// The key of the directory, and the CA that is sealed with it.
fn secrets(data: &Path) -> Vec<Finding> {
    let (what, path) = ("the directory's key", data.join(KEY_FILE));
    if !path.exists() {
        let sealed = SEALED_FILES.into_iter().find(|name| data.join(name).exists());
        let gone = |sealed| {
            Finding::bad(
                what,
                format!("{} is gone, and {sealed} is sealed with it; put it back from a backup", path.display()),
            )
        };
        return sealed.map(gone).into_iter().collect();
    }
    let key = match Key::load_or_create(&path) {
        Ok(key) => key,
        Err(error) => return vec![Finding::bad(what, error.to_string())],
    };
    let ca = match Ca::end_in(data, &key) {
        Ok(None) => None,
        Ok(Some(ends)) => Some(match bartizan_certs::ca_warning(ends, now()) {
            None => Finding::good("the local CA", format!("opens, and ends on {ends}")),
            Some(warning) => Finding::bad("the local CA", format!("{warning}; {}", bartizan_certs::CA_REMEDY)),
        }),
        Err(error) => Some(Finding::bad("the local CA", error.to_string())),
    };
    let opens = if ca.as_ref().is_some_and(|ca| ca.ok) { "opens what it sealed" } else { "is there" };
    [Finding::good(what, format!("{opens}; only its owner reads it"))].into_iter().chain(ca).collect()
}

/// A file without a byte opens as a store in which there is nothing.
fn store(data: &Path) -> Option<Finding> {
    let path = data.join("store.sqlite");
    let is_empty = std::fs::metadata(&path).is_ok_and(|file| file.len() == 0);
    is_empty.then(|| {
        let advice = "restore a backup; or delete it, to begin anew";
        Finding::bad("the store's file", format!("{} is empty; {advice}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The findings that are faults, as `what: detail`.
    fn faults(data: &Path) -> Vec<String> {
        let bad = look(data, false).into_iter().filter(|finding| !finding.ok);
        bad.map(|finding| format!("{}: {}", finding.what, finding.detail)).collect()
    }

    #[test]
    fn secrets_and_the_store_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let (key, ca) = (data.join(KEY_FILE), data.join("ca.key.sealed"));
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
        check("is gone, and ca.key.sealed is sealed with it; put it back");
        Key::load_or_create(&key).unwrap();
        check("from the same backup");
        std::fs::remove_file(&key).unwrap();
        std::fs::remove_file(&ca).unwrap();

        let seal = Key::load_or_create(&key).unwrap();
        let long_ago = bartizan_names::Timestamp::from_unix_micros(1);
        Ca::load_or_create(data, &seal, long_ago).unwrap();
        check("it ran out on 1980");
        std::fs::remove_file(&ca).unwrap();
        std::fs::write(data.join("store.sqlite"), "").unwrap();
        check("is empty; restore a backup");
    }
}
