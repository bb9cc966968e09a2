//! Ours and PowerDNS with SQLite, which has the same zones and is as durable: WAL, each change synced.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::api::{Api, Door, Sent};
use super::super::peer::{Peer, found, free_apart};
use super::super::{ZONE, process_cpu};
use super::load::Server;
use super::world::{zone_file, zone_name};
use crate::debian::PDNS_SCHEMA;
use crate::process;

pub(super) const POWER_DNS: &str = "PowerDNS";

const KEY: &str = "bench";

/// How long it may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);

/// PowerDNS with a folder of its own.
pub(super) struct PowerDns {
    folder: PathBuf,
}

/// What filling it took.
pub(super) struct Filled {
    pub(super) elapsed: Duration,
    pub(super) cpu: Duration,
    /// What its file grew by.
    pub(super) bytes: u64,
}

impl PowerDns {
    pub(super) fn new(folder: PathBuf) -> PowerDns {
        PowerDns { folder }
    }

    fn database(&self) -> PathBuf {
        self.folder.join("pdns.sqlite")
    }

    /// Whether an earlier run filled it with as much.
    pub(super) fn is_full_of(&self, records: usize, zones: usize) -> bool {
        fs::read_to_string(self.folder.join("full")).is_ok_and(|text| text == format!("{records} {zones}"))
    }

    /// An empty one, and then the large zone by its own tool; what that took.
    pub(super) fn fill(&self, records: usize, zones: usize) -> Result<Filled> {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder)?;
        let schema = fs::read_to_string(PDNS_SCHEMA).with_context(|| format!("no {PDNS_SCHEMA}"))?;
        self.sql(&format!("PRAGMA journal_mode = WAL;\n{schema}"))?;
        self.configure(0, 0)?;
        let mut small = "BEGIN;\n".to_owned();
        for number in 0..zones {
            let name = zone_name(number);
            small.push_str(&format!(
                "INSERT INTO domains (name, type) VALUES ('{name}', 'NATIVE');
                 INSERT INTO records (domain_id, name, type, content, ttl, auth)
                 SELECT id, name, 'SOA', 'ns1.example. hostmaster.example. 1 10800 3600 604800 3600', 3600, 1
                 FROM domains WHERE name = '{name}';\n"
            ));
        }
        self.sql(&(small + "COMMIT;\n"))?;
        let file = self.folder.join("zone");
        fs::write(&file, zone_file(records))?;
        let before = self.bytes()?;
        let (begun, cpu) = (Instant::now(), process_cpu::cpu_time_of_ended()?);
        let mut load = process::command(found("pdnsutil")?);
        load.arg(self.config_dir()).args(["load-zone", ZONE]).arg(&file);
        process::read(&mut load)?;
        let filled = Filled {
            elapsed: begun.elapsed(),
            cpu: process_cpu::cpu_time_of_ended()?.saturating_sub(cpu),
            bytes: self.bytes()?.saturating_sub(before),
        };
        fs::write(self.folder.join("full"), format!("{records} {zones}"))?;
        Ok(filled)
    }

    pub(super) fn bytes(&self) -> Result<u64> {
        self.sql("PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(fs::metadata(self.database())?.len())
    }

    fn sql(&self, text: &str) -> Result<()> {
        let mut command = process::command("sqlite3");
        command.arg("-bail").arg(self.database()).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().context("cannot start sqlite3")?;
        child.stdin.take().context("no pipe to sqlite3")?.write_all(text.as_bytes())?;
        if !child.wait()?.success() {
            bail!("sqlite3 failed");
        }
        Ok(())
    }

    fn configure(&self, api: u16, dns: u16) -> Result<()> {
        let database = self.database();
        let (database, folder) = (database.display(), self.folder.display());
        let text = format!(
            "launch=gsqlite3\ngsqlite3-database={database}\ngsqlite3-pragma-synchronous=2\ngsqlite3-pragma-journal-mode=WAL\n\
             api=yes\napi-key={KEY}\nwebserver=yes\nwebserver-address=127.199.0.1\nwebserver-port={api}\n\
             webserver-allow-from=127.0.0.0/8\nwebserver-max-bodysize=64\nwebserver-loglevel=none\n\
             local-address=127.199.0.1\nlocal-port={dns}\nsocket-dir={folder}\ndaemon=no\nguardian=no\n\
             disable-syslog=yes\nloglevel=2\nlog-dns-queries=no\nsecurity-poll-suffix=\n"
        );
        fs::write(self.folder.join("pdns.conf"), text)?;
        Ok(())
    }

    fn config_dir(&self) -> String {
        format!("--config-dir={}", self.folder.display())
    }

    /// Starts it; how long it took until its API answers.
    pub(super) fn start(&self) -> Result<(Peer, Server, Duration)> {
        let (api, dns) = (free_apart()?, free_apart()?);
        self.configure(api.port(), dns.port())?;
        let begun = Instant::now();
        let mut command = process::command(found("pdns_server")?);
        let peer = Peer::start(POWER_DNS, api, command.arg(self.config_dir()))?;
        let door = Door::new(api, "/api/v1/servers/localhost", &format!("X-API-Key: {KEY}"));
        while Api::at(door.clone()).send("GET", "", &Sent::json("")).is_err() {
            if begun.elapsed() > START_MAX {
                bail!("{POWER_DNS} does not answer");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let server = Server { name: POWER_DNS, process: peer.child.id(), door };
        Ok((peer, server, begun.elapsed()))
    }
}

/// Bytes of the files of a folder.
pub(super) fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)?.flatten() {
        // One that goes meanwhile is none.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { folder_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
