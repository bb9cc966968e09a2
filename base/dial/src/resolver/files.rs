//! Files of this machine that say something about names: hosts(5), and the name servers of resolv.conf(5). They are looked
//! at for each look-up, so that a change in them counts, and read again when they have changed.

use std::fs::{File, Metadata};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_names::Name;

use crate::limits::{NAME_SERVERS_MAX, SYSTEM_FILE_BYTES_MAX};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// A file that changed less than this before it was read may have changed again since, within one tick of its clock.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// What all workers of a process share.
pub(crate) struct Files {
    pub(super) hosts: Cached<Hosts>,
    pub(super) servers: Cached<Vec<SocketAddr>>,
}

impl Default for Files {
    fn default() -> Files {
        Files { hosts: Cached::new(HOSTS, Hosts::parse), servers: Cached::new(RESOLV_CONF, servers_in) }
    }
}

/// A file, and what was in it when it was read last.
pub(super) struct Cached<T> {
    path: PathBuf,
    parse: fn(String) -> T,
    last: Mutex<Option<(Stamp, Arc<T>)>>,
}

/// By what a change shows. None where there is no file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<[i64; 7]>);

impl<T> Cached<T> {
    fn new(path: impl Into<PathBuf>, parse: fn(String) -> T) -> Cached<T> {
        Cached { path: path.into(), parse, last: Mutex::default() }
    }

    /// Blocks. One that is being read is waited for.
    pub(super) fn get(&self) -> Arc<T> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(std::fs::metadata(&self.path).ok());
        match &*last {
            Some((then, read)) if *then == stamp => return Arc::clone(read),
            _ => {}
        }
        let settled = stamp.is_settled(SystemTime::now());
        let read = Arc::new((self.parse)(self.read()));
        *last = settled.then(|| (stamp, Arc::clone(&read)));
        read
    }

    /// The first part of it, up to a limit. A file that is not there counts as empty.
    fn read(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(&self.path) {
            // After an error, what was read before it is used.
            let _ = file.take(SYSTEM_FILE_BYTES_MAX).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Stamp {
    fn of(file: Option<Metadata>) -> Stamp {
        Stamp(file.map(|file| {
            let [device, inode, size] = [file.dev(), file.ino(), file.size()].map(u64::cast_signed);
            [device, inode, size, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()]
        }))
    }

    fn is_settled(self, now: SystemTime) -> bool {
        let Some([.., changed, _]) = self.0 else { return true };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Of a clock that was set back: read each time, until it is past that moment.
        u64::try_from(changed).map_or(true, |changed| Duration::from_secs(changed + 1) + SETTLED_AFTER <= now)
    }
}

/// hosts(5), in the order of its names: some people block a million of them with it.
pub(super) struct Hosts {
    /// In lower case.
    text: String,
    /// Where a name is in the text, and its address. Of one name they stay in the order of the file.
    names: Vec<(u32, u32, IpAddr)>,
}

impl Hosts {
    fn parse(mut text: String) -> Hosts {
        text.make_ascii_lowercase();
        let start = text.as_ptr().addr();
        let mut names = Vec::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            for word in words.map(|word| word.strip_suffix('.').unwrap_or(word)) {
                // The limit of a file is far below 4 GiB.
                let at = (word.as_ptr().addr() - start) as u32;
                names.push((at, at + word.len() as u32, address));
            }
        }
        let mut hosts = Hosts { text, names };
        let mut names = std::mem::take(&mut hosts.names);
        names.sort_by(|one, other| hosts.name(one).cmp(hosts.name(other)));
        names.shrink_to_fit();
        Hosts { names, ..hosts }
    }

    fn name(&self, (start, end, _): &(u32, u32, IpAddr)) -> &str {
        &self.text[*start as usize..*end as usize]
    }

    pub(super) fn addresses(&self, name: &Name) -> Vec<IpAddr> {
        let name = name.to_string().to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let first = self.names.partition_point(|entry| self.name(entry) < name);
        self.names[first..].iter().take_while(|entry| self.name(entry) == name).map(|(.., address)| *address).collect()
    }
}

fn servers_in(text: String) -> Vec<SocketAddr> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        if words.next()? != "nameserver" {
            return None;
        }
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    };
    let servers: Vec<SocketAddr> = text.lines().filter_map(line).take(NAME_SERVERS_MAX).collect();
    // As the system's own resolver does.
    if servers.is_empty() { vec![(Ipv4Addr::LOCALHOST, DNS_PORT).into()] } else { servers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_hosts() {
        let text = "127.0.0.1 localhost one.test\n# 192.0.2.9 one.test\n::1\tlocalhost # two.test\n\
                    nonsense one.test\n192.0.2.7 db ONE.test. one.test\n192.0.2.8\n\n192.0.2.1 one.test.localhost";
        let hosts = Hosts::parse(text.to_owned());
        for (name, expect) in [
            ("localhost", "127.0.0.1 ::1"),
            ("one.test", "127.0.0.1 192.0.2.7 192.0.2.7"),
            ("One.Test.", "127.0.0.1 192.0.2.7 192.0.2.7"),
            ("two.test", ""),
            ("db", "192.0.2.7"),
            ("test", ""),
            (".", ""),
        ] {
            let found: Vec<String> =
                hosts.addresses(&Name::parse(name).unwrap()).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expect, "{name}");
        }
    }

    #[test]
    fn lists_of_name_servers() {
        for (text, expect) in [
            ("", "127.0.0.1:53"),
            ("search example.com\nnameserver nonsense\n", "127.0.0.1:53"),
            ("#nameserver 192.0.2.1\nnameserver 192.0.2.2 # first\n nameserver ::1\n", "192.0.2.2:53 [::1]:53"),
            (&"nameserver 192.0.2.1\n".repeat(9), "192.0.2.1:53 192.0.2.1:53 192.0.2.1:53"),
        ] {
            let servers: Vec<String> = servers_in(text.to_owned()).iter().map(ToString::to_string).collect();
            assert_eq!(servers.join(" "), expect, "{text:?}");
        }
    }

    /// A change counts at once, and what has not changed for long is not read again.
    #[test]
    fn a_file_is_read_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = Cached::new(&path, |text| text);
        let seen = || file.get().to_string();
        assert_eq!(seen(), "");
        for text in ["one", "two", "three"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(seen(), text);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(seen(), "");
        // One that is not there is not looked for again, and not parsed.
        assert!(Arc::ptr_eq(&file.get(), &file.get()));
        let moment = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let changed = |seconds| Stamp(Some([0, 0, 0, 0, 0, seconds, 999_999_999]));
        for (stamp, now, expect) in
            [(changed(10), 10, false), (changed(10), 11, false), (changed(10), 12, true), (changed(10), 5, false)]
        {
            assert_eq!(stamp.is_settled(moment(now)), expect, "{now}");
        }
    }
}
