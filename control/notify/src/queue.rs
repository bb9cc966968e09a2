//! Mails that wait, on disk: each is a file until a server has taken it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bartizan_names::AccountId;
use serde::{Deserialize, Serialize};

/// Mails that wait at most.
const MAILS_MAX: usize = 1_000;

/// Octets of one: what is longer is none of ours.
const MAIL_MAX: u64 = 256 * 1024;

/// How long after a try that failed the next one comes: twice as long after each.
const FIRST_WAIT: Duration = Duration::from_secs(15);
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// So long a server has to take one.
pub(crate) const KEPT: Duration = Duration::from_secs(2 * 24 * 3_600);

const SUFFIX: &str = ".mail";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mail {
    /// Whose servers it is about; none in a file from before this was written.
    #[serde(default)]
    pub(crate) account: Option<AccountId>,
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    /// Seconds since 1970.
    pub(crate) made: u64,
}

/// Why a mail does not wait here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueError {
    #[error("{MAILS_MAX} mails wait already")]
    Full,
    #[error("it cannot be written: {0}")]
    Disk(#[from] io::Error),
}

pub(crate) struct Queue {
    dir: PathBuf,
    /// By their files, the oldest first.
    mails: BTreeMap<String, Waiting>,
    numbered: u64,
}

struct Waiting {
    mail: Mail,
    tries: u32,
    at: Instant,
}

impl Queue {
    /// With what is there from before.
    pub(crate) fn open(dir: &Path, now: Instant) -> io::Result<Queue> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let (mut mails, mut numbered) = (BTreeMap::new(), 0);
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let Some(number) = name.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok()) else {
                // Half of one that was being written.
                if name.ends_with(".new") {
                    fs::remove_file(entry.path())?;
                }
                continue;
            };
            numbered = numbered.max(number);
            match read(&entry.path()) {
                Ok(mail) if mails.len() < MAILS_MAX => drop(mails.insert(name, Waiting { mail, tries: 0, at: now })),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(file = %entry.path().display(), %error, "a mail that waited cannot be read")
                }
            }
        }
        Ok(Queue { dir: dir.to_owned(), mails, numbered })
    }

    /// On disk from here on. Where it is full, the newest mail of the account that has most gives way, and is given back.
    pub(crate) fn push(&mut self, mail: Mail, now: Instant) -> Result<Option<Mail>, QueueError> {
        let giving_way = match self.mails.len() >= MAILS_MAX {
            true => Some(self.newest_of_most(mail.account).ok_or(QueueError::Full)?),
            false => None,
        };
        self.numbered += 1;
        let name = format!("{:020}{SUFFIX}", self.numbered);
        let (path, partial) = (self.dir.join(&name), self.dir.join(format!("{:020}.new", self.numbered)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(&serde_json::to_vec(&mail).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        File::open(&self.dir)?.sync_all()?;
        self.mails.insert(name, Waiting { mail, tries: 0, at: now });
        Ok(giving_way.and_then(|name| self.remove(&name)))
    }

    /// None if no account has more than this one.
    fn newest_of_most(&self, own: Option<AccountId>) -> Option<String> {
        let mut counts: HashMap<Option<AccountId>, usize> = HashMap::new();
        for waiting in self.mails.values() {
            *counts.entry(waiting.mail.account).or_default() += 1;
        }
        let own = counts.get(&own).copied().unwrap_or(0);
        let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own)?;
        let newest = self.mails.iter().rev().find(|(_, waiting)| waiting.mail.account == most);
        newest.map(|(name, _)| name.clone())
    }

    /// Up to so many whose time has come: the oldest of each account, then the next of each.
    pub(crate) fn due(&self, now: Instant, max: usize) -> Vec<(String, Mail)> {
        let mut before: HashMap<Option<AccountId>, usize> = HashMap::new();
        let mut due = Vec::new();
        for (name, waiting) in self.mails.iter().filter(|(_, waiting)| waiting.at <= now) {
            let nth = before.entry(waiting.mail.account).or_default();
            due.push((*nth, name, waiting));
            *nth += 1;
        }
        due.sort_by_key(|(nth, ..)| *nth);
        due.into_iter().take(max).map(|(_, name, waiting)| (name.clone(), waiting.mail.clone())).collect()
    }

    /// It is done with.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Mail> {
        let removed = self.mails.remove(name)?;
        if let Err(error) = fs::remove_file(self.dir.join(name)) {
            tracing::warn!(name, %error, "a mail that is done with is sent again after a start");
        }
        Some(removed.mail)
    }

    /// It was not taken this time.
    pub(crate) fn put_off(&mut self, name: &str, now: Instant) {
        if let Some(waiting) = self.mails.get_mut(name) {
            waiting.at = now + FIRST_WAIT.saturating_mul(1 << waiting.tries.min(16)).min(WAIT_MAX);
            waiting.tries += 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.mails.len()
    }
}

fn read(path: &Path) -> io::Result<Mail> {
    let file = OpenOptions::new().read(true).open(path)?;
    if file.metadata()?.len() > MAIL_MAX {
        return Err(io::Error::other("it is too long"));
    }
    serde_json::from_reader(io::BufReader::new(file)).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(text: &str) -> Mail {
        mail_of(1, text)
    }

    fn mail_of(account: u8, text: &str) -> Mail {
        Mail {
            account: Some(AccountId::from_bytes([account; 16])),
            to: "a@example.com".to_owned(),
            subject: "one".to_owned(),
            text: text.to_owned(),
            made: 1,
        }
    }

    #[test]
    fn it_waits_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("mail");
        let now = Instant::now();
        let mut queue = Queue::open(&dir, now).unwrap();
        queue.push(mail("one"), now).unwrap();
        queue.push(mail("two"), now).unwrap();
        // What a crash leaves, and what is none of ours.
        fs::write(dir.join("00000000000000000009.new"), "{").unwrap();
        fs::write(dir.join("00000000000000000008.mail"), "{").unwrap();
        fs::write(dir.join("readme"), "").unwrap();
        let mut queue = Queue::open(&dir, now).unwrap();
        let due = queue.due(now, 9);
        assert_eq!(due.iter().map(|(_, mail)| mail.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert!(!dir.join("00000000000000000009.new").exists() && dir.join("readme").exists());
        queue.remove(&due[0].0);
        queue.push(mail("three"), now).unwrap();
        let again = Queue::open(&dir, now).unwrap();
        assert_eq!(again.due(now, 9).iter().map(|(_, mail)| mail.text.as_str()).collect::<Vec<_>>(), ["two", "three"]);
        assert_eq!(again.due(now, 1).len(), 1);
    }

    #[test]
    fn it_comes_again_later_and_later() {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut queue = Queue::open(dir.path(), now).unwrap();
        queue.push(mail("one"), now).unwrap();
        let (name, _) = queue.due(now, 1).remove(0);
        for wait in [15, 30, 60, 120] {
            queue.put_off(&name, now);
            let at = |seconds| queue.due(now + Duration::from_secs(seconds), 1).len();
            assert_eq!((at(wait - 1), at(wait)), (0, 1));
        }
        (0..60).for_each(|_| queue.put_off(&name, now));
        assert_eq!(queue.due(now + WAIT_MAX, 1).len(), 1);
    }

    #[test]
    fn it_holds_so_many() {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut queue = Queue::open(dir.path(), now).unwrap();
        for number in 0..MAILS_MAX {
            queue.mails.insert(number.to_string(), Waiting { mail: mail("x"), tries: 0, at: now });
        }
        assert!(matches!(queue.push(mail("one"), now), Err(QueueError::Full)));
        // Who has fewer finds room at the cost of who has most, and is not behind all of them.
        let gave_way = queue.push(mail_of(2, "two"), now).unwrap();
        assert_eq!(gave_way, Some(mail("x")));
        let texts = |due: Vec<(String, Mail)>| due.into_iter().map(|(_, mail)| mail.text).collect::<Vec<_>>();
        assert_eq!((queue.len(), texts(queue.due(now, 3))), (MAILS_MAX, vec!["x".into(), "two".into(), "x".into()]));
    }

    #[test]
    fn a_file_from_before() {
        let dir = tempfile::tempdir().unwrap();
        let old = r#"{"to":"a@example.com","subject":"one","text":"two","made":1}"#;
        fs::write(dir.path().join("00000000000000000001.mail"), old).unwrap();
        let queue = Queue::open(dir.path(), Instant::now()).unwrap();
        assert_eq!(queue.due(Instant::now(), 1)[0].1, Mail { account: None, ..mail("two") });
    }
}
