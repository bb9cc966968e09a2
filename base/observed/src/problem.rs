//! Something that is wrong, in words for the person who can mend it.

use std::fmt;
use std::net::SocketAddr;

use bartizan_names::{AppId, Protocol, Timestamp};

/// Problems of one kind that a reporter tells one by one. All are counted.
pub const NAMED_MAX: usize = 1_000;

/// One thing that is wrong now, or several that are not told one by one. The edge serves on, but not all that it was
/// asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub what: What,
    /// How many things this stands for.
    pub count: u64,
    /// Why, as a sentence without a full stop.
    pub reason: String,
    /// Since when it is so without a break.
    pub since: Timestamp,
    /// What a person can do about it.
    pub remedy: &'static str,
}

/// What a problem is about. Two problems about the same thing are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// An object of the store, by its key: it cannot be made into what is served, and what it was before stays in force.
    Unit(String),
    /// An object of the store, by its key: the API cannot read it. Planes that use it do.
    Document(String),
    /// The change log: it cannot be read, so that no change gets in force.
    ChangeLog,
    /// A port of an application that nobody listens on.
    Port { app: AppId, protocol: Protocol, address: SocketAddr },
    /// A default port of a service of the edge that an edge can be without: another process has it.
    Listener { service: &'static str, address: SocketAddr },
    /// The file system of the data directory: it takes no more.
    Disk,
    /// The data directory: it cannot be written to.
    ReadOnly,
    /// The renewal of certificates.
    Renewal,
    /// The care of the store: deletions in the background, and the cut of the change log.
    Housekeeping,
    /// The store's file: it is damaged and stays so.
    Store,
    /// Objects that were on damaged pages of the store's file.
    Lost,
    /// Changes that were acknowledged, and that the store does not have any more.
    Gone,
    /// Objects whose keys this version does not know.
    Strangers,
    /// The hello page of this edge.
    Demo,
    /// The administrator's credentials on this machine.
    Administrator,
    /// The local CA: its end is near, or past.
    Authority,
    /// Certificates that the public authority does not issue.
    PublicAuthority,
    /// Lists of revoked certificates of clients that cannot be fetched.
    Crls,
    /// Certificates that origins are shown, and authorities of origins: they run out soon, or have.
    OriginTls,
    /// Origins with private addresses, of an edge that is set not to dial them.
    PrivateOrigins,
    /// The backups that the edge is set to make.
    Backup,
    /// DNSSEC of a zone, by the zone's name: whoever validates cannot believe what it answers.
    Dnssec(String),
    /// The clock of this machine: it is not believed.
    Clock,
    /// Visitors of tunnels: what came for them and was not read took all memory that it may take.
    Readers,
    /// The access log: its lines are lost.
    AccessLog,
    /// The statistics: their file cannot be written, or was damaged.
    Statistics,
    /// More of a kind than are told one by one.
    Others(ProblemKind),
}

/// The kinds of [`What`], for labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    Unit,
    Document,
    ChangeLog,
    Port,
    Listener,
    Disk,
    ReadOnly,
    Renewal,
    Housekeeping,
    Store,
    Lost,
    Gone,
    Strangers,
    Demo,
    Administrator,
    Authority,
    PublicAuthority,
    Crls,
    OriginTls,
    PrivateOrigins,
    Backup,
    Dnssec,
    Clock,
    Readers,
    AccessLog,
    Statistics,
}

impl ProblemKind {
    pub const ALL: [ProblemKind; 26] = [
        ProblemKind::Unit,
        ProblemKind::Document,
        ProblemKind::ChangeLog,
        ProblemKind::Port,
        ProblemKind::Listener,
        ProblemKind::Disk,
        ProblemKind::ReadOnly,
        ProblemKind::Renewal,
        ProblemKind::Housekeeping,
        ProblemKind::Store,
        ProblemKind::Lost,
        ProblemKind::Gone,
        ProblemKind::Strangers,
        ProblemKind::Demo,
        ProblemKind::Administrator,
        ProblemKind::Authority,
        ProblemKind::PublicAuthority,
        ProblemKind::Crls,
        ProblemKind::OriginTls,
        ProblemKind::PrivateOrigins,
        ProblemKind::Backup,
        ProblemKind::Dnssec,
        ProblemKind::Clock,
        ProblemKind::Readers,
        ProblemKind::AccessLog,
        ProblemKind::Statistics,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            ProblemKind::Unit => "unit",
            ProblemKind::Document => "document",
            ProblemKind::ChangeLog => "change_log",
            ProblemKind::Port => "port",
            ProblemKind::Listener => "listener",
            ProblemKind::Disk => "disk",
            ProblemKind::ReadOnly => "read_only",
            ProblemKind::Renewal => "renewal",
            ProblemKind::Housekeeping => "housekeeping",
            ProblemKind::Store => "store",
            ProblemKind::Lost => "lost",
            ProblemKind::Gone => "gone",
            ProblemKind::Strangers => "strangers",
            ProblemKind::Demo => "demo",
            ProblemKind::Administrator => "administrator",
            ProblemKind::Authority => "authority",
            ProblemKind::PublicAuthority => "public_authority",
            ProblemKind::Crls => "crls",
            ProblemKind::OriginTls => "origin_tls",
            ProblemKind::PrivateOrigins => "private_origins",
            ProblemKind::Backup => "backup",
            ProblemKind::Dnssec => "dnssec",
            ProblemKind::Clock => "clock",
            ProblemKind::Readers => "readers",
            ProblemKind::AccessLog => "access_log",
            ProblemKind::Statistics => "statistics",
        }
    }
}

impl What {
    pub const fn kind(&self) -> ProblemKind {
        match self {
            What::Unit(_) => ProblemKind::Unit,
            What::Document(_) => ProblemKind::Document,
            What::ChangeLog => ProblemKind::ChangeLog,
            What::Port { .. } => ProblemKind::Port,
            What::Listener { .. } => ProblemKind::Listener,
            What::Disk => ProblemKind::Disk,
            What::ReadOnly => ProblemKind::ReadOnly,
            What::Renewal => ProblemKind::Renewal,
            What::Housekeeping => ProblemKind::Housekeeping,
            What::Store => ProblemKind::Store,
            What::Lost => ProblemKind::Lost,
            What::Gone => ProblemKind::Gone,
            What::Strangers => ProblemKind::Strangers,
            What::Demo => ProblemKind::Demo,
            What::Administrator => ProblemKind::Administrator,
            What::Authority => ProblemKind::Authority,
            What::PublicAuthority => ProblemKind::PublicAuthority,
            What::Crls => ProblemKind::Crls,
            What::OriginTls => ProblemKind::OriginTls,
            What::PrivateOrigins => ProblemKind::PrivateOrigins,
            What::Backup => ProblemKind::Backup,
            What::Dnssec(_) => ProblemKind::Dnssec,
            What::Clock => ProblemKind::Clock,
            What::Readers => ProblemKind::Readers,
            What::AccessLog => ProblemKind::AccessLog,
            What::Statistics => ProblemKind::Statistics,
            What::Others(kind) => *kind,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Unit(key) | What::Document(key) => f.write_str(key),
            What::ChangeLog => f.write_str("the change log"),
            What::Port { protocol, address, .. } => write!(f, "{protocol} {address}"),
            What::Listener { service, address } => write!(f, "{service} on {address}"),
            What::Disk => f.write_str("the disk"),
            What::ReadOnly => f.write_str("the data directory"),
            What::Renewal => f.write_str("the renewal of certificates"),
            What::Housekeeping => f.write_str("the care of the store"),
            What::Store => f.write_str("the store's file"),
            What::Lost => f.write_str("objects on damaged pages"),
            What::Gone => f.write_str("acknowledged changes"),
            What::Strangers => f.write_str("objects of another version"),
            What::Demo => f.write_str("the hello page"),
            What::Administrator => f.write_str("the administrator's file"),
            What::Authority => f.write_str("the local CA"),
            What::PublicAuthority => f.write_str("certificates of the public authority"),
            What::Crls => f.write_str("lists of revoked certificates of clients"),
            What::OriginTls => f.write_str("certificates and authorities for TLS with origins"),
            What::PrivateOrigins => f.write_str("names and applications with a private origin"),
            What::Backup => f.write_str("the backups"),
            What::Dnssec(zone) => write!(f, "DNSSEC of {zone}"),
            What::Clock => f.write_str("the clock"),
            What::Readers => f.write_str("slow readers behind tunnels"),
            What::AccessLog => f.write_str("the access log"),
            What::Statistics => f.write_str("the statistics"),
            What::Others(kind) => write!(f, "others of the kind {}", kind.as_str()),
        }
    }
}

impl Problem {
    /// What is wrong, in words.
    pub fn title(&self) -> String {
        if self.count == 1 { self.what.to_string() } else { format!("{} {}", self.count, self.what) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title(), self.reason)
    }
}
