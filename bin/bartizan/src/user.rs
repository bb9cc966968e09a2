//! Whom an edge that root has started serves as, and what is handed over to that user.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use rustix::thread::CapabilitySet;

use crate::data_dir::not_writable;
use crate::failure::{Cause, Failure};
use crate::rights::{self, Numbers};

/// The user that is taken if this machine has one of this name.
const NAME: &str = "bartizan";

/// Else this number, which is nobody's: it lies where distributions and systemd give none (60706–61183). Not `nobody`,
/// who may be other services of this machine too, and they would read our keys.
const NUMBER: u32 = 60_787;

/// Files of an edge, by the beginnings of their names.
const FILES: [&str; 6] = ["lock", "seal.key", "ca.", "store.", "admin.json", "api-url"];

/// What an operator may have put into a directory in which no edge has run yet.
const PREPARED: [&str; 2] = ["bartizan.toml", "lost+found"];

/// Whom to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub numbers: Numbers,
}

/// What became of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// It is the user's, with all that is needed of it.
    Over,
    /// Files in it are root's, and its disk takes no change.
    Not,
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Whom to become, for root; none for others, and for root that is asked to stay so.
///
/// Whom the operator names, else the owner of the data directory, else `bartizan`, else a number of our own.
pub fn find(asked: Option<&str>, data: &Path) -> anyhow::Result<Option<User>> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if !is_root() {
        let own = geteuid().as_raw();
        return match asked.map(|asked| named(&users, asked)) {
            Some(user) if user.as_ref().is_none_or(|user| user.numbers.uid != own) => {
                let what = format!("only root can become another user, {}", asked.unwrap_or_default());
                Err(Failure::new(Cause::Usage, what).remedy("run as root, or without --user").into())
            }
            _ => Ok(None),
        };
    }
    let user = match (asked, fs::metadata(data).map(|data| data.uid())) {
        (Some(asked), _) => named(&users, asked).ok_or_else(|| {
            Failure::new(Cause::Usage, format!("there is no user {asked} on this machine"))
                .remedy(format!("useradd --system {asked}, or give --user a name or a number of /etc/passwd"))
        })?,
        (None, Ok(owner)) if owner != 0 => numbered(&users, owner),
        (None, _) => named(&users, NAME).unwrap_or_else(|| numbered(&users, NUMBER)),
    };
    Ok((user.numbers.uid != 0).then_some(user))
}

/// Does `work`, which opens files of a data directory. Root does it as the directory's owner, who can put links there that
/// would lead root elsewhere; unless it is `asked` to stay root, as its edge is.
pub fn as_owner<T: Send>(asked: Option<&str>, data: &Path, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    if !is_root() || asked == Some("root") {
        return Ok(work());
    }
    // The directory itself may be a link.
    let found = [fs::symlink_metadata(data), fs::metadata(data)];
    let of_others = found.into_iter().flatten().find(|found: &Metadata| found.uid() != 0);
    match of_others.map(|found| Numbers { uid: found.uid(), gid: found.gid() }) {
        Some(owner) => rights::apart(Some(owner), CapabilitySet::empty(), || Ok(work())),
        None => Ok(work()),
    }
}

/// By a name of `/etc/passwd`, or any number.
fn named(users: &str, asked: &str) -> Option<User> {
    if let Ok(number) = asked.parse() {
        return Some(numbered(users, number));
    }
    all(users).find(|user| user.name == asked)
}

fn numbered(users: &str, uid: u32) -> User {
    let nameless = || User { name: format!("user {uid}"), numbers: Numbers { uid, gid: uid } };
    all(users).find(|user| user.numbers.uid == uid).unwrap_or_else(nameless)
}

/// passwd(5).
fn all(users: &str) -> impl Iterator<Item = User> {
    users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(User { name, numbers: Numbers { uid, gid } })
    })
}

impl User {
    /// Makes the data directory if it is not there, and gives it and the files of an edge in it to this user, as far as
    /// they are root's. What is another's stays so.
    pub fn take_over(&self, data: &Path) -> anyhow::Result<Handed> {
        let failed = |error: io::Error| {
            Failure::new(Cause::Failed, format!("cannot give {} to {}: {error}", data.display(), self.name)).remedy(
                "give it to that user by hand (chown -R), name another directory with --data DIR, or stay root: --user root",
            )
        };
        fs::create_dir_all(data).map_err(|error| not_writable(data, &error))?;
        let folder = File::open(data).map_err(failed)?;
        if folder.metadata().map_err(failed)?.uid() == 0 {
            self.refuse_foreign(data)?;
        }
        // Before anything changes hands: a directory that the user does not get to stays root's.
        self.may(data, || fs::metadata(data).map(drop))?;
        match self.take_all(&folder) {
            Ok(()) => self.reach(data).map(|()| Handed::Over),
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => Ok(Handed::Not),
            Err(error) => Err(failed(error).into()),
        }
    }

    /// The directory comes last: from then on the user can put other things there.
    fn take_all(&self, folder: &File) -> io::Result<()> {
        // Whatever has its name by now.
        let itself = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        for entry in fs::read_dir(itself)?.flatten() {
            let name = entry.file_name();
            if FILES.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes())) {
                self.take_file(&entry.path())?;
            }
        }
        self.take(folder)
    }

    /// A directory that no edge has used, and that is not empty, was named by mistake: `/etc` must not change hands.
    fn refuse_foreign(&self, data: &Path) -> anyhow::Result<()> {
        if data.join(FILES[0]).exists() {
            return Ok(());
        }
        let foreign =
            fs::read_dir(data)?.flatten().find(|entry| !PREPARED.iter().any(|name| entry.file_name() == *name));
        match foreign {
            None => Ok(()),
            Some(entry) => Err(Failure::new(
                Cause::Failed,
                format!("{} holds other things than an edge's: {}", data.display(), entry.path().display()),
            )
            .remedy(format!("name an empty directory with --data DIR, or give it away: chown {} DIR", self.numbers.uid))
            .into()),
        }
    }

    /// No link is followed, and no file is taken that has a second name elsewhere.
    fn take_file(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        if !fs::symlink_metadata(path)?.is_file() {
            return Ok(());
        }
        let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
        let found = file.metadata()?;
        if found.is_file() && found.nlink() == 1 { self.take(&file) } else { Ok(()) }
    }

    fn take(&self, file: &File) -> io::Result<()> {
        if file.metadata()?.uid() != 0 {
            return Ok(());
        }
        fchown(file, Some(self.numbers.uid), Some(self.numbers.gid))
    }

    /// Whether the user gets there at all: folders above may be closed, as `/root` is.
    pub fn reach(&self, data: &Path) -> anyhow::Result<()> {
        self.may(data, || fs::read_dir(data).map(drop))
    }

    fn may(&self, data: &Path, look: impl FnOnce() -> io::Result<()> + Send) -> anyhow::Result<()> {
        rights::apart(Some(self.numbers), CapabilitySet::empty(), || Ok(look()?)).map_err(|error| {
            Failure::new(Cause::Failed, format!("{} cannot open {}: {error:#}", self.name, data.display()))
                .remedy(
                    "open the folders above it (chmod o+x), name another with --data DIR, or stay root: --user root",
                )
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nbartizan:x:990:991::/:/bin/false\nbroken\nedge:x:1001:100:::\n";

    #[test]
    fn users() {
        for (asked, expect) in [
            ("bartizan", Some(("bartizan", 990, 991))),
            ("1001", Some(("edge", 1001, 100))),
            ("60787", Some(("user 60787", 60787, 60787))),
            ("broken", None),
            ("", None),
            ("-1", None),
        ] {
            let found = named(USERS, asked);
            let found = found.as_ref().map(|user| (user.name.as_str(), user.numbers.uid, user.numbers.gid));
            assert_eq!(found, expect, "{asked}");
        }
    }

    /// As root, which CI is; others cannot give files away.
    #[test]
    fn what_is_handed_over() {
        if !is_root() {
            return;
        }
        let folder = std::env::temp_dir().join(format!("bartizan-user-{}", std::process::id()));
        let (data, secret) = (folder.join("data"), folder.join("secret"));
        fs::create_dir_all(&data).unwrap();
        fs::write(&secret, "root's").unwrap();
        let user = User { name: "edge".to_owned(), numbers: Numbers { uid: NUMBER, gid: NUMBER } };
        fs::write(data.join("notes"), "").unwrap();
        let refused = user.take_over(&data).unwrap_err().to_string();
        assert!(refused.contains("other things than an edge's"), "{refused}");
        for name in ["lock", "seal.key", "store.sqlite-wal"] {
            fs::write(data.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(&secret, data.join("admin.json")).unwrap();
        fs::hard_link(&secret, data.join("ca.pem")).unwrap();
        assert_eq!(user.take_over(&data).unwrap(), Handed::Over);
        let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        for (name, expect) in [
            ("", NUMBER),
            ("lock", NUMBER),
            ("seal.key", NUMBER),
            ("store.sqlite-wal", NUMBER),
            ("notes", 0),
            ("admin.json", 0),
            ("ca.pem", 0),
        ] {
            assert_eq!(owner(&data.join(name)), expect, "{name}");
        }
        assert_eq!(owner(&secret), 0);
        // What is done there later is done by its owner.
        let read = |name| fs::read_to_string(data.join(name)).map_err(|error| error.kind());
        fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        for (asked, expect) in [(None, Err(ErrorKind::PermissionDenied)), (Some("root"), Ok("root's".to_owned()))] {
            assert_eq!(as_owner(asked, &data, || read("admin.json")).unwrap(), expect, "{asked:?}");
            assert_eq!(as_owner(asked, &data, || read("lock")).unwrap(), Ok(String::new()));
        }
        // Closed above: nothing changes hands.
        let closed = folder.join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let data = closed.join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("lock"), "").unwrap();
        let refused = user.take_over(&data).unwrap_err().to_string();
        assert!(refused.contains("--user root"), "{refused}");
        assert_eq!((owner(&data), owner(&data.join("lock"))), (0, 0));
        fs::remove_dir_all(folder).unwrap();
    }

    /// The directory is owned by who has put the link to it.
    #[test]
    fn a_link_is_its_owners() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("data");
        std::os::unix::fs::symlink("/", &link).unwrap();
        let who = || as_owner(None, &link, || rights::Seen::of("thread-self").unwrap().uid).unwrap();
        assert_eq!(who(), 0);
        std::os::unix::fs::lchown(&link, Some(NUMBER), Some(NUMBER)).unwrap();
        assert_eq!(who(), NUMBER);
    }
}
