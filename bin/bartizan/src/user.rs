//! Whom an edge or a connector that root has started serves as, and what is handed over to that user.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use rustix::thread::CapabilitySet;

use crate::data_dir::not_writable;
use crate::edge_files;
use crate::failure::{Cause, Failure};
use crate::rights::{self, Numbers};

/// The user that is taken if this machine has one of this name.
const NAME: &str = "bartizan";

/// Else this number, which is nobody's: it lies where distributions and systemd give none (60706–61183). Not `nobody`,
/// who may be other services of this machine too, and they would read our keys.
const NUMBER: u32 = 60_787;

/// The same for a connector. It is another user than an edge: who has got into a connector does not have the edge's keys.
const CONNECTOR_NAME: &str = "bartizan-tunnel";
const CONNECTOR_NUMBER: u32 = 60_788;

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
    choose(asked, |users| match fs::metadata(data).map(|data| data.uid()) {
        Ok(owner) if owner != 0 => numbered(users, owner),
        _ => named(users, NAME).unwrap_or_else(|| numbered(users, NUMBER)),
    })
}

/// The same for a connector, which has no data.
pub fn find_for_connector(asked: Option<&str>) -> anyhow::Result<Option<User>> {
    choose(asked, |users| named(users, CONNECTOR_NAME).unwrap_or_else(|| numbered(users, CONNECTOR_NUMBER)))
}

fn choose(asked: Option<&str>, otherwise: impl FnOnce(&str) -> User) -> anyhow::Result<Option<User>> {
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
    let user = match asked {
        Some(asked) => named(&users, asked).ok_or_else(|| {
            Failure::new(Cause::Usage, format!("there is no user {asked} on this machine"))
                .remedy(format!("useradd --system {asked}, or give --user a name or a number of /etc/passwd"))
        })?,
        None => otherwise(&users),
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

/// Somebody with a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub numbers: Numbers,
    pub home: PathBuf,
}

/// Who made this process root by sudo, if somebody did: by the number that sudo gives, as names may be anybody's. None where
/// `/etc/passwd` does not know them.
pub fn behind_sudo() -> Option<Option<Person>> {
    let uid: u32 = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    (is_root() && uid != 0).then(|| person(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid))
}

fn person(users: &str, uid: u32) -> Option<Person> {
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()))?;
    let home = line.split(':').nth(5).filter(|home| !home.is_empty())?;
    let user = all(line).next()?;
    Some(Person { numbers: user.numbers, home: home.into() })
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
            self.refuse_foreign(data, &folder)?;
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
        for entry in fs::read_dir(edge_files::itself(folder))?.flatten() {
            if edge_files::is_one(&entry.file_name())
                && let Some(file) = edge_files::open(&entry.path())?
            {
                self.take(&file)?;
            }
        }
        self.take(folder)
    }

    /// A directory that no edge has used, and that is not empty, was named by mistake: `/var` must not change hands.
    fn refuse_foreign(&self, data: &Path, folder: &File) -> anyhow::Result<()> {
        let Some(foreign) = edge_files::foreign(folder, [0, self.numbers.uid])? else { return Ok(()) };
        let what = format!(
            "{} holds other things than an edge's, and no edge's key or store: {}",
            data.display(),
            data.join(foreign).display()
        );
        let remedy = format!(
            "name an empty directory with --data DIR; if nothing but an edge uses this one, give it away by hand: chown {} DIR",
            self.numbers.uid
        );
        Err(Failure::new(Cause::Failed, what).remedy(remedy).into())
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
        let users = format!("{USERS}sally:x:12345:100::/srv/sally:/bin/sh\n");
        let home = |uid| person(&users, uid).map(|person| (person.numbers.gid, person.home));
        assert_eq!(home(12_345), Some((100, PathBuf::from("/srv/sally"))));
        assert_eq!((home(1_001), home(5)), (None, None));
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
        for name in ["lock", "store.sqlite-wal", "store.txt"] {
            fs::write(data.join(name), "").unwrap();
        }
        fs::write(data.join("seal.key"), [1; 32]).unwrap();
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
            ("store.txt", 0),
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
        fs::write(data.join("seal.key"), [1; 32]).unwrap();
        let refused = user.take_over(&data).unwrap_err().to_string();
        assert!(refused.contains("--user root"), "{refused}");
        assert_eq!((owner(&data), owner(&data.join("seal.key"))), (0, 0));
        fs::remove_dir_all(folder).unwrap();
    }

    /// What has names like an edge's is no edge's: `/var` has a link `lock`, a spool a directory of that name.
    #[test]
    fn what_is_nobodys_to_give_stays() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("seal.key"), [1; 32]).unwrap();
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let user = User { name: "edge".to_owned(), numbers: Numbers { uid: NUMBER, gid: NUMBER } };
        let link = |to: &str, at: &Path| std::os::unix::fs::symlink(elsewhere.join(to), at).unwrap();
        type Put<'p> = &'p dyn Fn(&Path);
        let cases: [(&str, Put<'_>); 7] = [
            ("a directory", &|data| fs::create_dir(data.join("lock")).unwrap()),
            ("a link", &|data| link("", &data.join("lock"))),
            ("a lock of others", &|data| fs::write(data.join("lock"), "1234").unwrap()),
            ("a link to a key", &|data| link("seal.key", &data.join("seal.key"))),
            ("a second name", &|data| fs::hard_link(elsewhere.join("seal.key"), data.join("seal.key")).unwrap()),
            ("a store of others", &|data| fs::write(data.join("store.sqlite"), "SQLite format 3\0").unwrap()),
            ("a key of others", &|data| {
                fs::write(data.join("seal.key"), [1; 32]).unwrap();
                std::os::unix::fs::chown(data.join("seal.key"), Some(NUMBER + 1), None).unwrap();
            }),
        ];
        for (what, put) in cases {
            let data = folder.path().join(what.replace(' ', "-"));
            fs::create_dir(&data).unwrap();
            for name in ["lock.conf", "store.txt", "ca.key"] {
                fs::write(data.join(name), "").unwrap();
            }
            put(&data);
            let refused = user.take_over(&data).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(
                refused.contains("other things than an edge's") && refused.contains("--data DIR"),
                "{what}: {refused}"
            );
            for entry in fs::read_dir(&data).unwrap().flatten().filter(|_| what != "a key of others") {
                assert_eq!(entry.metadata().unwrap().uid(), 0, "{what}: {:?}", entry.file_name());
            }
            assert_eq!(fs::metadata(&data).unwrap().uid(), 0, "{what}");
        }
        assert_eq!(fs::metadata(elsewhere.join("seal.key")).unwrap().uid(), 0);
        // An edge whose key is gone has to be told that, which its own user does.
        let data = folder.path().join("without-key");
        fs::create_dir(&data).unwrap();
        let mut head = [0; 100];
        head[..16].copy_from_slice(b"SQLite format 3\0");
        head[68..72].copy_from_slice(b"Brtz");
        fs::write(data.join("store.sqlite"), head).unwrap();
        assert_eq!(user.take_over(&data).unwrap(), Handed::Over);
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
