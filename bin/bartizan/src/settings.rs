//! The settings of `up`: flags, then the environment, then `bartizan.toml`, then defaults.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan_dial::Private;
use bartizan_names::{Name, Prefix};
use bartizan_plane_dns::RateLimits;
use bartizan_plane_http::PublicPorts;
use bartizan_signer::Validity;
use bartizan_stats::Retention;
use bartizan_store::AuditRetention;
use rustix::fs::OFlags;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::access_log::{self, AccessLogTable};
use crate::any_port::PortsMode;
use crate::backup::schedule::{self, Backups, Plan};
use crate::failure::{Cause, Failure};
use crate::mail::MailTable;
use crate::up::{AcmeWords, Up, name_server};
use crate::{api_names, mail, text_file, user};

/// The default ports, the same for every user (design §2.1).
const PORT_API: u16 = 8787;
const PORT_DNS: u16 = 5300;
const PORT_DNS_TLS: u16 = 8853;
const PORT_HTTP: u16 = 8080;
const PORT_HTTPS: u16 = 8443;
const PORT_TUNNEL: u16 = 7844;

/// `*.localhost` is this machine for browsers and curl, without any set-up.
const DOMAIN: &str = "bartizan.localhost";

/// What the PoP of a local edge is called.
const POP: &str = "LOC";

/// Loopback addresses that this machine has without any set-up.
fn default_pools() -> Vec<Prefix> {
    // The text is a constant, and the test below reads it.
    "127.77.0.0/16".parse().into_iter().collect()
}

/// `bartizan.toml`. An unknown key is an error: a typing mistake must not become a default.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    domain: Option<String>,
    pop: Option<String>,
    api_name: Vec<String>,
    address: Vec<IpAddr>,
    pool: Vec<Prefix>,
    ports: Option<PortsMode>,
    proxy: Vec<Prefix>,
    private_origins: Option<PrivateOrigins>,
    api_calls: Option<u32>,
    #[serde(deserialize_with = "resolvers")]
    resolver: Vec<SocketAddr>,
    dnssec_validity: Option<u32>,
    dns_rate_limit: Option<String>,
    dns_rate_exempt: Vec<Prefix>,
    geo: Vec<PathBuf>,
    workers: Option<u16>,
    demo: Option<bool>,
    user: Option<String>,
    public_http: Option<NonZeroU16>,
    public_https: Option<NonZeroU16>,
    listen: Listen,
    history: History,
    backup: BackupTable,
    acme: AcmeTable,
    access_log: AccessLogTable,
    statistics: StatisticsTable,
    mail: MailTable,
}

/// As the flags about the public authority.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AcmeTable {
    email: Option<String>,
    agree_terms: bool,
    directory: Option<String>,
    ca: Option<PathBuf>,
}

/// Who we are to the public authority that issues certificates.
#[derive(Debug)]
pub struct AcmeSettings {
    pub email: String,
    pub agrees: bool,
    pub directory: Option<String>,
    /// PEM.
    pub roots: Option<String>,
}

/// As `--resolver` has them.
fn resolvers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read = |text: &String| name_server(text).map_err(|error| D::Error::custom(format!("{text:?}: {error}")));
    texts.iter().map(read).collect()
}

/// `[history]`: as the flags for it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct History {
    days: Option<u32>,
    size: Option<String>,
}

/// `[statistics]`: for how long what was counted stays, by minutes, hours and days, and how much of it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StatisticsTable {
    minutes: Option<String>,
    hours: Option<String>,
    days: Option<String>,
    size: Option<String>,
}

fn statistics(file: StatisticsTable) -> anyhow::Result<Retention> {
    let wrong = |reason: String| Failure::new(Cause::Usage, format!("[statistics] is not right: {reason}"));
    let time = |text: Option<String>| text.map(|text| schedule::period(&text)).transpose().map_err(wrong);
    let usual = Retention::default();
    Ok(Retention {
        minutes: time(file.minutes)?.unwrap_or(usual.minutes),
        hours: time(file.hours)?.unwrap_or(usual.hours),
        days: time(file.days)?.unwrap_or(usual.days),
        bytes_max: file.size.map(|text| size(&text)).transpose().map_err(wrong)?.unwrap_or(usual.bytes_max),
    })
}

/// So many hours could be set once. What is less than signatures have to be valid for now is raised to that, so that
/// an edge that ran before does.
const VALIDITY_ONCE: u32 = 26;

/// For how many hours signatures are to be valid.
pub fn dnssec_validity(text: &str) -> Result<u32, String> {
    let (least, most) = (Validity::HOURS.start(), Validity::HOURS.end());
    let hours = text.parse().ok().filter(|hours| (VALIDITY_ONCE..=*most).contains(hours));
    hours.ok_or_else(|| format!("{text:?} is not a number of hours from {least} to {most}"))
}

fn validity(flag: Option<u32>, file: Option<u32>) -> anyhow::Result<Validity> {
    let hours = match (flag, file) {
        (Some(hours), _) => hours,
        (None, Some(hours)) => dnssec_validity(&hours.to_string())
            .map_err(|error| Failure::new(Cause::Usage, format!("dnssec_validity is not right: {error}")))?,
        (None, None) => return Ok(Validity::default()),
    };
    let least = *Validity::HOURS.start();
    if hours < least {
        tracing::warn!(
            "DNSSEC signatures are valid for {least} hours and not for {hours}, as who keeps an answer for its whole TTL would \
             have one that has run out: set --dnssec-validity or dnssec_validity to {least} at least"
        );
    }
    Ok(Validity::of_hours(hours.max(least)))
}

/// Less than this is no history: a change of the largest documents takes as much.
const HISTORY_SIZE_MIN: u64 = 16 << 20;

/// A size in bytes: 500M, 1G, 2T.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size like 500M, 1G or 2T");
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let shift = match unit {
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let size = u64::from(count.parse::<u16>().map_err(|_| wrong())?) << shift;
    if size < HISTORY_SIZE_MIN {
        return Err(format!("{text} is less than the {}M that it takes at least", HISTORY_SIZE_MIN >> 20));
    }
    Ok(size)
}

/// How much of the history stays.
fn history(days: Option<u32>, bytes: Option<u64>, file: History) -> anyhow::Result<AuditRetention> {
    let wrong = |reason: String| Failure::new(Cause::Usage, format!("[history] is not right: {reason}"));
    if file.days == Some(0) {
        return Err(wrong("days must be 1 at least".to_owned()).into());
    }
    let usual = AuditRetention::USUAL;
    let of_file = file.size.map(|text| size(&text)).transpose().map_err(wrong)?;
    Ok(AuditRetention {
        days: days.or(file.days).map_or(usual.days, u64::from),
        bytes: bytes.or(of_file).unwrap_or(usual.bytes),
    })
}

/// `[backup]`: as the flags for backups.
#[derive(Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BackupTable {
    dir: Option<PathBuf>,
    every: Option<String>,
    keep: Option<u16>,
    recipient: Vec<String>,
    passphrase_file: Option<PathBuf>,
}

/// When a running edge makes backups, and how many it keeps, if nothing is said.
const BACKUP_EVERY: Duration = Duration::from_secs(24 * 3600);
const BACKUP_KEEP: u16 = 7;

const PASSPHRASE_FILE: &str = "BARTIZAN_BACKUP_PASSPHRASE_FILE";

/// None without a folder to put them in. The flags beat the file one by one.
fn backups(flags: Backups, file: BackupTable) -> anyhow::Result<Option<Plan>> {
    // The variable is that of `bartizan backup` too, and says nothing of backups that are made by themselves.
    let passphrase_is_typed = flags.backup_passphrase_file.is_some() && std::env::var_os(PASSPHRASE_FILE).is_none();
    let is_set_up = !flags.backup_recipient.is_empty()
        || passphrase_is_typed
        || flags.backup_every.is_some()
        || flags.backup_keep.is_some()
        || file != BackupTable::default();
    let dir = match flags.backup_dir.or_else(|| file.dir.clone()) {
        Some(dir) => dir,
        None if is_set_up => {
            return Err(Failure::new(Cause::Usage, "backups are set up, and no folder is said to put them in")
                .remedy("--backup-dir DIR, or dir in [backup]; or leave the rest of it out")
                .into());
        }
        None => return Ok(None),
    };
    let wrong = |reason: String| Failure::new(Cause::Usage, format!("[backup] is not right: {reason}"));
    let every = file.every.map(|text| schedule::period(&text)).transpose().map_err(wrong)?;
    let read = |text: &String| text.parse().map_err(|error| wrong(format!("{text}: {error}")));
    let (recipients, passphrase_file) = match flags {
        Backups { backup_recipient, backup_passphrase_file, .. }
            if !backup_recipient.is_empty() || backup_passphrase_file.is_some() =>
        {
            (backup_recipient, backup_passphrase_file)
        }
        _ => (file.recipient.iter().map(read).collect::<Result<_, _>>()?, file.passphrase_file),
    };
    Ok(Some(Plan {
        dir,
        every: flags.backup_every.or(every).unwrap_or(BACKUP_EVERY),
        keep: flags.backup_keep.or(file.keep).unwrap_or(BACKUP_KEEP).max(1).into(),
        recipients,
        passphrase_file,
    }))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Listen {
    api: Vec<SocketAddr>,
    dns: Vec<SocketAddr>,
    dns_tls: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    tunnel: Vec<SocketAddr>,
}

/// What the operator says of origins with loopback and private addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum PrivateOrigins {
    /// For an edge whose zones are its operator's own.
    Allow,
    /// For one that carries the zones of others, who have no business in its operator's network.
    Refuse,
}

impl PrivateOrigins {
    /// An edge that nobody else can reach is somebody's own: not for visitors, nor for those who may make records.
    fn usual(listeners: [&Addresses; 6], pools: &[Prefix]) -> PrivateOrigins {
        let mut addresses = listeners.iter().flat_map(|addresses| addresses.all());
        let loopback = |address: IpAddr| address.is_loopback();
        if addresses.all(|address| loopback(address.ip())) && pools.iter().all(|pool| loopback(pool.network())) {
            PrivateOrigins::Allow
        } else {
            PrivateOrigins::Refuse
        }
    }
}

impl From<PrivateOrigins> for Private {
    fn from(origins: PrivateOrigins) -> Private {
        match origins {
            PrivateOrigins::Allow => Private::Allowed,
            PrivateOrigins::Refuse => Private::Refused,
        }
    }
}

/// Where one service listens. A default address that this machine does not have (no IPv6) is left out; an address that
/// was asked for must work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    Default(Vec<SocketAddr>),
    Asked(Vec<SocketAddr>),
}

impl Addresses {
    fn choose(flags: Vec<SocketAddr>, file: Vec<SocketAddr>, port: u16) -> Addresses {
        if !flags.is_empty() {
            Addresses::Asked(flags)
        } else if !file.is_empty() {
            Addresses::Asked(file)
        } else {
            Addresses::Default(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
        }
    }

    pub fn all(&self) -> &[SocketAddr] {
        match self {
            Addresses::Default(all) | Addresses::Asked(all) => all,
        }
    }
}

/// `up`, ready to be carried out.
#[derive(Debug)]
pub struct Settings {
    pub data: PathBuf,
    pub api: Addresses,
    /// What the API is called.
    pub api_names: Vec<Name>,
    pub dns: Addresses,
    pub dns_tls: Addresses,
    pub http: Addresses,
    pub https: Addresses,
    pub tunnel: Addresses,
    /// What this PoP is called.
    pub pop: String,
    pub address: Vec<IpAddr>,
    pub pools: Vec<Prefix>,
    /// How clients reach applications.
    pub ports: PortsMode,
    /// Peers that put a PROXY header in front of every connection.
    pub proxies: Vec<Prefix>,
    pub private_origins: PrivateOrigins,
    /// How many calls a caller of the API may make in five minutes.
    pub api_calls: u32,
    /// Who is asked what the parents of zones have, and for names outside that apexes stand for; the system's resolvers if
    /// nobody is named.
    pub resolvers: Vec<SocketAddr>,
    /// Of signatures of zones.
    pub dnssec_validity: Validity,
    /// All waits of DNSSEC are divided by it.
    pub dnssec_pace: u32,
    /// How many answers a network gets over UDP.
    pub dns_limits: RateLimits,
    /// MMDB files, the most trusted first.
    pub geo: Vec<PathBuf>,
    pub domain: String,
    pub workers: usize,
    pub demo: bool,
    /// Whom to serve as, if root starts it.
    pub user: Option<String>,
    /// How much of the history stays.
    pub history: AuditRetention,
    /// How much of the statistics stays.
    pub statistics: Retention,
    /// Backups that the edge makes by itself.
    pub backups: Option<Plan>,
    pub acme: Option<AcmeSettings>,
    /// A line for each request over HTTP.
    pub access_log: Option<access_log::Plan>,
    /// How people are told of servers of pools.
    pub mail: Option<bartizan_notify::Settings>,
    /// By which ports visitors come.
    pub public_ports: PublicPorts,
}

impl Settings {
    pub fn from(up: Up) -> anyhow::Result<Settings> {
        let data = up.data.map_or_else(default_data, Ok)?;
        let file = read_file(up.config.as_deref(), &data)?;
        let workers = up.workers.or(file.workers).map(usize::from);
        let address = if up.address.is_empty() { file.address } else { up.address };
        let pools = [up.pool, file.pool].into_iter().find(|pools| !pools.is_empty()).unwrap_or_else(default_pools);
        let api = Addresses::choose(up.api, file.listen.api, PORT_API);
        let dns = Addresses::choose(up.dns, file.listen.dns, PORT_DNS);
        let dns_tls = Addresses::choose(up.dns_tls, file.listen.dns_tls, PORT_DNS_TLS);
        let http = Addresses::choose(up.http, file.listen.http, PORT_HTTP);
        let https = Addresses::choose(up.https, file.listen.https, PORT_HTTPS);
        let tunnel = Addresses::choose(up.tunnel, file.listen.tunnel, PORT_TUNNEL);
        let usual = || PrivateOrigins::usual([&api, &dns, &dns_tls, &http, &https, &tunnel], &pools);
        let private_origins = up.private_origins.or(file.private_origins).unwrap_or_else(usual);
        let api_names = if up.api_name.is_empty() { file.api_name } else { up.api_name };
        Ok(Settings {
            data,
            api,
            api_names: api_names.iter().map(|name| api_name(name)).collect::<anyhow::Result<_>>()?,
            dns,
            dns_tls,
            private_origins,
            api_calls: up.api_calls.or(file.api_calls).unwrap_or(bartizan_api::CALLS_USUAL),
            resolvers: if up.resolver.is_empty() { file.resolver } else { up.resolver },
            dnssec_validity: validity(up.dnssec_validity, file.dnssec_validity)?,
            dnssec_pace: up.dnssec_pace.unwrap_or(1),
            dns_limits: dns_limits(up.dns_rate_limit, file.dns_rate_limit)?.exempt(if up.dns_rate_exempt.is_empty() {
                file.dns_rate_exempt
            } else {
                up.dns_rate_exempt
            }),
            http,
            https,
            tunnel,
            pop: up.pop.or(file.pop).unwrap_or_else(|| POP.to_owned()),
            address: if address.is_empty() {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            } else {
                address
            },
            pools,
            ports: up.ports.or(file.ports).unwrap_or_default(),
            proxies: if up.proxy.is_empty() { file.proxy } else { up.proxy },
            geo: if up.geo.is_empty() { file.geo } else { up.geo },
            domain: up.domain.or(file.domain).unwrap_or_else(|| DOMAIN.to_owned()),
            workers: workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            demo: !up.no_demo && file.demo.unwrap_or(true),
            user: up.user.or(file.user),
            history: history(up.history_days, up.history_size, file.history)?,
            statistics: statistics(file.statistics)?,
            backups: backups(up.backups, file.backup)?,
            acme: acme(up.acme, file.acme)?,
            access_log: access_log::plan(up.access_log, file.access_log)?,
            mail: mail::settings(file.mail)?,
            public_ports: PublicPorts {
                http: up.public_http.or(file.public_http.map(NonZeroU16::get)),
                https: up.public_https.or(file.public_https.map(NonZeroU16::get)),
            },
        })
    }
}

/// Each of the flags, else of the file.
fn acme(flags: AcmeWords, file: AcmeTable) -> anyhow::Result<Option<AcmeSettings>> {
    let (directory, ca) = (flags.acme_directory.or(file.directory), flags.acme_ca.or(file.ca));
    let agrees = flags.acme_agree_terms || file.agree_terms;
    let Some(email) = flags.acme_email.or(file.email) else {
        return match (directory, ca, flags.acme_agree_terms) {
            (None, None, false) => Ok(None),
            _ => Err(Failure::new(Cause::Usage, "[acme] has no email (--acme-email)").into()),
        };
    };
    let read = |file: PathBuf| {
        let failed = |error| Failure::new(Cause::Usage, format!("cannot read {} (--acme-ca): {error}", file.display()));
        text_file::read_at_most(&file, text_file::BYTES_MAX).map_err(failed)
    };
    Ok(Some(AcmeSettings { email, agrees, directory, roots: ca.map(read).transpose()? }))
}

/// Limits of the flag, else of the file, else the usual ones.
fn dns_limits(flag: Option<RateLimits>, file: Option<String>) -> anyhow::Result<RateLimits> {
    let Some(text) = file.filter(|_| flag.is_none()) else { return Ok(flag.unwrap_or_default()) };
    text.parse().map_err(|error| Failure::new(Cause::Usage, format!("dns_rate_limit is not right: {error}")).into())
}

fn api_name(text: &str) -> anyhow::Result<Name> {
    let name = Name::typed(text).ok().filter(api_names::can_be_in_a_certificate);
    name.ok_or_else(|| Failure::new(Cause::Usage, format!("{text:?} cannot be a name of the API (--api-name)")).into())
}

impl Settings {
    /// What is odd about proxied names: with addresses of one family, visitors that have the other one alone are lost.
    pub fn one_family(&self) -> Option<String> {
        let has = |is_ipv4: bool| self.address.iter().any(|address| address.is_ipv4() == is_ipv4);
        let missing = match (has(true), has(false)) {
            (true, false) => "IPv6",
            (false, true) => "IPv4",
            _ => return None,
        };
        Some(format!(
            "proxied names have no {missing} address, so visitors with {missing} alone do not get here; add one with --address"
        ))
    }
}

fn read_file(named: Option<&Path>, data: &Path) -> anyhow::Result<File> {
    let path = named.map_or_else(|| data.join("bartizan.toml"), Path::to_path_buf);
    let read = match named {
        Some(path) => text_file::read_at_most(path, text_file::BYTES_MAX),
        None => read_beside_data(&path),
    };
    let text = match read {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(File::default()),
        // Where the directory cannot be looked into, its own check says so better.
        Err(error)
            if named.is_none()
                && !matches!(error.kind(), ErrorKind::Other | ErrorKind::InvalidData | ErrorKind::FileTooLarge) =>
        {
            tracing::debug!(%error, "no settings from {}", path.display());
            return Ok(File::default());
        }
        Err(error) => {
            let failure = Failure::new(Cause::Usage, format!("cannot read {}: {error}", path.display()));
            return Err(match named {
                Some(_) => failure,
                None => failure.remedy(format!(
                    "name a settings file with --config FILE, or give this one to root: chown root {0}; chmod 644 {0}",
                    path.display()
                )),
            }
            .into());
        }
    };
    toml::from_str(&text)
        .map_err(|error| Failure::new(Cause::Usage, format!("{} is not right: {error}", path.display())).into())
}

/// Reads a settings file that nobody named. The data directory belongs to the user whom root becomes: what that user can
/// put there must not tell root what to do (`user = "root"`), lead it to files of its own or keep it waiting.
fn read_beside_data(path: &Path) -> std::io::Result<String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(std::io::Error::other("it is a link"));
        }
        opened => opened?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let others_may_write = found.mode() & 0o022 != 0;
    if user::is_root() && (found.uid() != 0 || found.nlink() != 1 || others_may_write) {
        return Err(std::io::Error::other("root takes no settings from a file that others can write"));
    }
    text_file::text_of(&mut file, text_file::BYTES_MAX)
}

/// The place of a local edge's data when nobody names one.
pub fn default_data() -> anyhow::Result<PathBuf> {
    if user::is_root() {
        return Ok("/var/lib/bartizan".into());
    }
    if let Some(base) = std::env::var_os("XDG_DATA_HOME").filter(|base| Path::new(base).is_absolute()) {
        return Ok(PathBuf::from(base).join("bartizan"));
    }
    match std::env::var_os("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".local/share/bartizan")),
        None => Err(Failure::new(Cause::Usage, "no place for data: neither HOME nor XDG_DATA_HOME is set")
            .remedy("name one with --data DIR")
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// As root, which CI is: others are told what to do by their own files.
    #[test]
    fn root_takes_no_settings_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let (file, secret) = (folder.join("bartizan.toml"), folder.join("secret"));
        std::fs::write(&secret, "secret of root").unwrap();
        let read = || match read_file(None, folder) {
            Ok(file) => file.user.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        assert_eq!(read(), "");
        std::fs::write(&file, "user = \"root\"").unwrap();
        assert_eq!(read(), "root");
        if user::is_root() {
            std::os::unix::fs::chown(&file, Some(60_787), Some(60_787)).unwrap();
            assert!(read().contains("root takes no settings from a file that others can write"), "{}", read());
            std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
            assert!(read().contains("that others can write"), "{}", read());
        }
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&secret, &file).unwrap();
        assert!(read().contains("it is a link") && !read().contains("secret of root"), "{}", read());
        std::fs::remove_file(&file).unwrap();
        // Opening a FIFO would wait for somebody who writes.
        let fifo = std::ffi::CString::new(file.to_str().unwrap()).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &*fifo, rustix::fs::Mode::RWXU).unwrap();
        assert!(read().contains("it is no file"), "{}", read());
    }

    #[test]
    fn addresses_of_one_family_are_told() {
        for (addresses, expect) in [
            ("127.0.0.1", Some("IPv6")),
            ("::1", Some("IPv4")),
            ("127.0.0.1 ::1", None),
            ("192.0.2.1 192.0.2.2", Some("IPv6")),
        ] {
            let address = addresses.split(' ').map(|address| address.parse().unwrap()).collect();
            let settings = Settings::from(Up { data: Some("/nowhere".into()), address, ..Up::default() }).unwrap();
            let told = settings.one_family();
            assert_eq!(told.is_some(), expect.is_some(), "{addresses}");
            assert!(told.unwrap_or_default().contains(expect.unwrap_or_default()), "{addresses}");
        }
    }

    #[test]
    fn private_origins_are_for_an_edge_of_ones_own() {
        use PrivateOrigins::{Allow, Refuse};
        for (http, https, asked, expect) in [
            ("", "", None, Allow),
            ("127.0.0.1:80", "[::1]:443", None, Allow),
            ("127.0.0.1:80", "0.0.0.0:443", None, Refuse),
            ("10.0.0.1:80", "", None, Refuse),
            ("10.0.0.1:80", "", Some(Allow), Allow),
            ("", "", Some(Refuse), Refuse),
        ] {
            let addresses = |text: &str| text.split_whitespace().map(|address| address.parse().unwrap()).collect();
            let (http, https, private_origins) = (addresses(http), addresses(https), asked);
            let up = Up { data: Some("/nowhere".into()), http, https, private_origins, ..Up::default() };
            assert_eq!(Settings::from(up.clone()).unwrap().private_origins, expect, "{:?} {:?}", up.http, up.https);
        }
        // Whoever reaches the API may have records, and a pool has visitors too.
        let others = vec!["192.0.2.1:9".parse().unwrap()];
        for up in [
            Up { api: others.clone(), ..Up::default() },
            Up { dns: others.clone(), ..Up::default() },
            Up { tunnel: others, ..Up::default() },
            Up { pool: vec!["192.0.2.0/24".parse().unwrap()], ..Up::default() },
        ] {
            let settings = Settings::from(Up { data: Some("/nowhere".into()), ..up }).unwrap();
            assert_eq!(settings.private_origins, Refuse, "{settings:?}");
        }
    }

    /// Each key is there, and all of it can be read as it stands.
    #[test]
    fn the_example_has_all_settings() {
        let text = include_str!("../../../contrib/bartizan.toml");
        let file: File = toml::from_str(text).unwrap();
        assert!(backups(Backups::default(), file.backup).unwrap().is_some_and(|plan| plan.lock().is_ok()));
        for table in ["", "[listen]\n", "[history]\n", "[backup]\n", "[access_log]\n", "[statistics]\n", "[mail]\n"] {
            // The reader's own list of what it knows.
            let told = toml::from_str::<File>(&format!("{table}none = 1")).err().unwrap().to_string();
            let (_, keys) = told.split_once("expected ").unwrap();
            for key in keys.split('`').skip(1).step_by(2) {
                let is_there = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
                assert!(text.lines().any(is_there) || text.contains(&format!("\n[{key}]\n")), "{key}");
            }
        }
    }

    #[test]
    fn resolvers_are_written_alike_in_the_file_and_as_flags() {
        for (text, expect) in [
            ("192.0.2.53", Some("192.0.2.53:53")),
            ("192.0.2.53:5353", Some("192.0.2.53:5353")),
            ("2001:db8::53", Some("[2001:db8::53]:53")),
            ("[2001:db8::53]", Some("[2001:db8::53]:53")),
            ("[2001:db8::53]:5353", Some("[2001:db8::53]:5353")),
            ("dns.example", None),
            ("", None),
        ] {
            let expect: Option<SocketAddr> = expect.map(|address| address.parse().unwrap());
            assert_eq!(name_server(text).ok(), expect, "{text}");
            let file = toml::from_str::<File>(&format!("resolver = [{text:?}]\n"));
            assert_eq!(file.ok().map(|file| file.resolver), expect.map(|address| vec![address]), "{text}");
        }
    }

    #[test]
    fn how_much_of_the_history_stays() {
        for (days, bytes, table, expect) in [
            (None, None, "", Some((365, 1 << 30))),
            (None, None, "[history]\ndays = 30\nsize = \"500M\"\n", Some((30, 500 << 20))),
            (Some(7), Some(2 << 30), "[history]\ndays = 30\nsize = \"500M\"\n", Some((7, 2 << 30))),
            (None, None, "[history]\ndays = 0\n", None),
            (None, None, "[history]\nsize = \"15M\"\n", None),
            (None, None, "[history]\nsize = \"lots\"\n", None),
            (None, None, "[history]\nsize = \"\"\n", None),
            (None, None, "[history]\nsize = \"1\"\n", None),
        ] {
            let file = toml::from_str::<File>(table).unwrap().history;
            let kept = history(days, bytes, file).ok().map(|kept| (kept.days, kept.bytes));
            assert_eq!(kept, expect, "{table}");
        }
    }

    #[test]
    fn how_long_signatures_are_valid() {
        let hours = |flag: Option<u32>, text: &str| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("bartizan.toml"), text).unwrap();
            let up = Up { data: Some(dir.path().to_owned()), dnssec_validity: flag, ..Up::default() };
            Settings::from(up).ok().map(|settings| settings.dnssec_validity.span / 3_600)
        };
        for (flag, text, expect) in [
            (None, "", Some(50)),
            (None, "dnssec_validity = 48\n", Some(48)),
            // What was right once is raised.
            (None, "dnssec_validity = 26\n", Some(48)),
            (Some(47), "", Some(48)),
            (Some(100), "dnssec_validity = 26\n", Some(100)),
            (None, "dnssec_validity = 25\n", None),
            (None, "dnssec_validity = 721\n", None),
        ] {
            assert_eq!(hours(flag, text), expect, "{flag:?} {text}");
        }
        for (text, is_right) in [("26", true), ("720", true), ("25", false), ("721", false), ("2d", false), ("", false)]
        {
            assert_eq!(dnssec_validity(text).is_ok(), is_right, "{text}");
        }
    }

    /// Who sets up backups believes that they are made.
    #[test]
    fn backups_without_a_folder_are_refused() {
        let table = |text: &str| toml::from_str::<File>(text).unwrap().backup;
        for text in ["[backup]\nkeep = 3\n", "[backup]\nrecipient = [\"age1x\"]\n", "[backup]\nevery = \"7d\"\n"] {
            let refused = backups(Backups::default(), table(text)).unwrap_err().to_string();
            assert!(refused.contains("--backup-dir"), "{text}: {refused}");
        }
        let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        for flags in [
            Backups { backup_recipient: vec![recipient.parse().unwrap()], ..Backups::default() },
            Backups { backup_keep: Some(2), ..Backups::default() },
            Backups { backup_passphrase_file: Some("secret".into()), ..Backups::default() },
        ] {
            assert!(backups(flags.clone(), table("")).is_err());
            let with_folder = Backups { backup_dir: Some("backups".into()), ..flags };
            assert!(backups(with_folder, table("")).unwrap().is_some());
        }
        assert!(backups(Backups::default(), table("[backup]\n")).unwrap().is_none());
    }

    #[test]
    fn flags_beat_the_file_and_the_file_beats_defaults() {
        let dir = std::env::temp_dir().join(format!("bartizan-settings-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(
            dir.join("bartizan.toml"),
            "domain = \"a.test\"\ndemo = false\n[listen]\napi = [\"127.0.0.1:1\"]\ndns = [\"127.0.0.1:2\"]\n",
        )
        .unwrap();
        let up = Up { data: Some(dir.clone()), api: vec!["127.0.0.1:9".parse().unwrap()], ..Up::default() };
        let settings = Settings::from(up).unwrap();
        assert_eq!(settings.api, Addresses::Asked(vec!["127.0.0.1:9".parse().unwrap()]));
        assert_eq!(settings.dns, Addresses::Asked(vec!["127.0.0.1:2".parse().unwrap()]));
        assert_eq!(settings.http.all().len(), 2);
        assert_eq!(settings.pools, ["127.77.0.0/16".parse().unwrap()]);
        assert_eq!((settings.domain.as_str(), settings.demo), ("a.test", false));

        std::fs::write(dir.join("bartizan.toml"), "domian = \"a.test\"\n").unwrap();
        let error = Settings::from(Up { data: Some(dir.clone()), ..Up::default() }).unwrap_err();
        assert!(error.to_string().contains("domian"), "{error}");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
