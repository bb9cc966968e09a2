//! The command line (design §2.1).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bartizan_names::Prefix;
use bartizan_plane_dns::RateLimits;
use bartizan_seal::age::Recipient;
use clap::{Args, Parser, Subcommand};

use crate::any_port::PortsMode;
use crate::output::{Form, Output};
use crate::settings::PrivateOrigins;
use crate::token::{Secret, Seen};

/// An edge network that you run yourself.
#[derive(Parser)]
#[command(name = "bartizan", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Start with `bartizan up`: it asks nothing and prints a link.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

/// What every command understands.
#[derive(Args)]
pub struct Global {
    /// Print results as JSON, for scripts.
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress on stderr, only results and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

impl Global {
    pub fn output(&self) -> Output {
        Output { form: if self.json { Form::Json } else { Form::Text }, quiet: self.quiet }
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// A whole edge on this machine: API, DNS, HTTP, tunnels, and a hello page behind a tunnel
    Up(Up),
    /// Store the credential of an edge, so that later commands find it
    Login(Login),
    /// Put a local service on the edge: no open port, no public address
    Tunnel(Box<Tunnel>),
    /// Zones: list, show, create, delete, import, export, check and diff
    Zone {
        #[command(subcommand)]
        action: ZoneAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// DNS records: list, create, update, delete
    Record {
        #[command(subcommand)]
        action: RecordAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// DNSSEC of zones: enable, disable, status, ds, roll, list, finish, registry
    Dnssec {
        #[command(subcommand)]
        action: DnssecAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// Take over what is elsewhere: an account of the vendor, zone files of octoDNS
    Import {
        #[command(subcommand)]
        source: ImportSource,
        #[command(flatten)]
        edge: Edge,
    },
    /// Applications: any TCP or UDP port behind the edge
    App {
        #[command(subcommand)]
        action: AppAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// How an answer of the DNS comes about: trace
    Dns {
        #[command(subcommand)]
        action: DnsAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// Who may come in: block, allow, list, remove, test
    Firewall {
        #[command(subcommand)]
        action: FirewallAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// API tokens that may do some things and no others: create, list, show, roll, delete
    Token {
        #[command(subcommand)]
        action: TokenAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// People who may log in to this edge: create, list, passwd, disable, enable, delete
    User {
        #[command(subcommand)]
        action: UserAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// Accounts that own zones and tunnels, and who belongs to them: list, create, rename, delete, member
    Account {
        #[command(subcommand)]
        action: AccountAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// Who changed what, by which token and from where, and what it was before; the newest first
    History {
        #[command(flatten)]
        words: HistoryWords,
        #[command(flatten)]
        edge: Edge,
    },
    /// Put back what a change did, as a change of its own: `undo 12`, where 12 is the number in front of it in `history`
    Undo {
        #[command(flatten)]
        words: UndoWords,
        #[command(flatten)]
        edge: Edge,
    },
    /// Look for what would keep `up` from starting: ports and who holds them, folders, permissions
    Doctor {
        /// Make the store's file anew from all that can be read of it, while no edge runs
        #[arg(long)]
        rebuild: bool,
        #[command(flatten)]
        up: Up,
    },
    /// What completes command lines in a shell: `bartizan completions bash > /etc/bash_completion.d/bartizan`
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// All that a new machine needs in one sealed file, while the edge runs: `backup FILE`, `backup verify FILE`
    Backup(Box<Backup>),
    /// Put a backup into a data directory in which no edge has run
    Restore(Restore),
    /// Started by `up`: holds its sockets while it is killed and started again
    #[command(name = crate::fd_store::COMMAND, hide = true)]
    FdStore(crate::fd_store::Task),
    /// What runs: the edge, its zones, its tunnels
    Status {
        #[command(flatten)]
        edge: Edge,
    },
}

/// Where to listen. Who gives a port alone has yet to say for whom.
fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.trim_start_matches(':').parse::<u16>() {
        Ok(port) => format!(
            "a port alone does not say for whom: 127.0.0.1:{port} is for this machine, 0.0.0.0:{port} and [::]:{port} are \
             for everybody"
        ),
        Err(_) => "it is an address and a port, such as 127.0.0.1:8080 or [::1]:8080; names are not looked up".to_owned(),
    })
}

/// A name server: its port is 53 if none is given.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|address| (address, 53).into());
    let what = "it is an address, perhaps with a port, such as 192.0.2.53 or [2001:db8::53]:5353";
    text.parse().or_else(|_| alone()).map_err(|_| what.to_owned())
}

/// `up`: each flag replaces the default; `bartizan.toml` and the environment give the same values more quietly.
#[derive(Args, Clone, Default)]
pub struct Up {
    /// Where everything is kept [default: /var/lib/bartizan for root, else ~/.local/share/bartizan]
    #[arg(long, value_name = "DIR", env = "BARTIZAN_DATA")]
    pub data: Option<PathBuf>,
    /// A file of these settings [default: bartizan.toml in the data directory, if there is one]
    #[arg(long, value_name = "FILE", env = "BARTIZAN_CONFIG")]
    pub config: Option<PathBuf>,
    /// The API and its page: by https, and on this machine also without [default: port 8787 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_API", value_delimiter = ',', value_parser = listener)]
    pub api: Vec<SocketAddr>,
    /// What the API is called, beside its addresses and this machine's name: its certificate is for it too
    #[arg(long, value_name = "NAME", env = "BARTIZAN_API_NAME", value_delimiter = ',')]
    pub api_name: Vec<String>,
    /// DNS over UDP and TCP [default: port 5300 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_DNS", value_delimiter = ',', value_parser = listener)]
    pub dns: Vec<SocketAddr>,
    /// DNS over TLS [default: port 8853 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_DNS_TLS", value_delimiter = ',', value_parser = listener)]
    pub dns_tls: Vec<SocketAddr>,
    /// HTTP [default: port 8080 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_HTTP", value_delimiter = ',', value_parser = listener)]
    pub http: Vec<SocketAddr>,
    /// HTTPS [default: port 8443 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_HTTPS", value_delimiter = ',', value_parser = listener)]
    pub https: Vec<SocketAddr>,
    /// Connectors, over QUIC [default: port 7844 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR:PORT", env = "BARTIZAN_LISTEN_TUNNEL", value_delimiter = ',', value_parser = listener)]
    pub tunnel: Vec<SocketAddr>,
    /// A short name for this place, letters and digits, as visitors see it in CF-Ray [default: LOC]
    #[arg(long, value_name = "NAME", env = "BARTIZAN_POP")]
    pub pop: Option<String>,
    /// What names behind this edge answer with, IPv4 and IPv6 [default: 127.0.0.1 and ::1]
    #[arg(long, value_name = "IP", env = "BARTIZAN_ADDRESS", value_delimiter = ',', num_args = 1..)]
    pub address: Vec<IpAddr>,
    /// The addresses for applications on TCP and UDP ports, as prefixes [default: 127.77.0.0/16]
    #[arg(long, value_name = "PREFIX", env = "BARTIZAN_POOL", value_delimiter = ',', num_args = 1..)]
    pub pool: Vec<Prefix>,
    /// How clients reach applications [default: the first that works; `bartizan doctor` tells what is missing]
    #[arg(long, value_enum, value_name = "WAY", env = "BARTIZAN_PORTS")]
    pub ports: Option<PortsMode>,
    /// Balancers in front of applications: what comes from them must begin with a PROXY header, which is believed
    #[arg(long, value_name = "PREFIX", env = "BARTIZAN_PROXY", value_delimiter = ',', num_args = 1..)]
    pub proxy: Vec<Prefix>,
    /// Whether records and applications may lead to loopback and private addresses [default: allow while all listeners
    /// and pools are on loopback]
    #[arg(long, value_enum, value_name = "WHETHER", env = "BARTIZAN_PRIVATE_ORIGINS")]
    pub private_origins: Option<PrivateOrigins>,
    /// How many calls a caller of the API may make in five minutes [default: 1000000]
    #[arg(long, value_name = "N", env = "BARTIZAN_API_CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    pub api_calls: Option<u32>,
    /// Recursive resolvers that are asked what the parents of zones with DNSSEC have, and for the addresses of names outside
    /// that an apex with a CNAME stands for; origins are always looked up by the system's [default: the system's]
    #[arg(long, value_name = "ADDR[:PORT]", env = "BARTIZAN_RESOLVER", value_parser = resolver, value_delimiter = ',', num_args = 1..)]
    pub resolver: Vec<SocketAddr>,
    /// Divides all waits of DNSSEC: for tests whose resolvers keep nothing for long
    #[arg(long, hide = true, value_name = "N", env = "BARTIZAN_DNSSEC_PACE", value_parser = clap::value_parser!(u32).range(1..))]
    pub dnssec_pace: Option<u32>,
    /// How many answers over UDP without a DNS cookie a network gets in a second, from each thread: `off`, or some of
    /// answers=N (for one name), wildcards=N and denials=N (for one zone), referrals=N (for one delegation), errors=N, bytes=N
    /// (beyond those of the queries), slip=N (of what is over a limit each Nth is answered in short); 0 is none [default:
    /// answers=200,wildcards=1000,denials=500,referrals=200,errors=200,bytes=4000000,slip=2]
    #[arg(long, value_name = "LIMITS", env = "BARTIZAN_DNS_RATE_LIMIT")]
    pub dns_rate_limit: Option<RateLimits>,
    /// Networks that these limits are not for [default: this machine]
    #[arg(long, value_name = "PREFIX", env = "BARTIZAN_DNS_RATE_EXEMPT", value_delimiter = ',', num_args = 1..)]
    pub dns_rate_exempt: Vec<Prefix>,
    /// MMDB files that tell countries and networks, before the built-in country data
    #[arg(long, value_name = "FILE", env = "BARTIZAN_GEO", value_delimiter = ',', num_args = 1..)]
    pub geo: Vec<PathBuf>,
    /// The zone that is made at the first start [default: bartizan.localhost]
    #[arg(long, value_name = "NAME", env = "BARTIZAN_DOMAIN")]
    pub domain: Option<String>,
    /// Threads for DNS over UDP and for HTTP, each [default: one a core]
    #[arg(long, value_name = "N", env = "BARTIZAN_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Whom to serve as when root starts it, with no more than the right to ports below 1024; `root` stays root [default:
    /// the data directory's owner if that is not root, else `bartizan`, else a user number of its own, 60787]
    #[arg(long, value_name = "USER", env = "BARTIZAN_USER")]
    pub user: Option<String>,
    /// No hello page
    #[arg(long)]
    pub no_demo: bool,
    /// For how many days the history stays; 10,000 of the newest entries do anyway [default: 365]
    #[arg(long, value_name = "N", env = "BARTIZAN_HISTORY_DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub history_days: Option<u32>,
    /// How much of it: 1G, 500M; accounts and tokens share it [default: 1G]
    #[arg(long, value_name = "SIZE", env = "BARTIZAN_HISTORY_SIZE", value_parser = crate::settings::size)]
    pub history_size: Option<u64>,
    #[command(flatten)]
    pub backups: Backups,
}

/// Backups that a running edge makes by itself.
#[derive(Args, Clone, Default)]
pub struct Backups {
    /// A folder for backups that the edge makes by itself; best on another disk, or taken away from there [default: none]
    #[arg(long, value_name = "DIR", env = "BARTIZAN_BACKUP_DIR")]
    pub backup_dir: Option<PathBuf>,
    /// How old the newest may become: 24h, 7d, 30m [default: 24h]
    #[arg(long, value_name = "TIME", env = "BARTIZAN_BACKUP_EVERY", value_parser = crate::backup::schedule::period)]
    pub backup_every: Option<std::time::Duration>,
    /// How many stay [default: 7]
    #[arg(long, value_name = "N", env = "BARTIZAN_BACKUP_KEEP", value_parser = clap::value_parser!(u16).range(1..))]
    pub backup_keep: Option<u16>,
    /// Who may open them: public keys as `age-keygen` makes them
    #[arg(long, value_name = "age1…", env = "BARTIZAN_BACKUP_RECIPIENT", value_delimiter = ',')]
    pub backup_recipient: Vec<Recipient>,
    /// Or a file with the passphrase that opens them
    #[arg(long, value_name = "FILE", env = "BARTIZAN_BACKUP_PASSPHRASE_FILE")]
    pub backup_passphrase_file: Option<PathBuf>,
}

/// `backup FILE` makes one, `backup verify FILE` reads one through.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Backup {
    #[command(subcommand)]
    pub action: Option<BackupAction>,
    /// The file to write; `-` is standard output
    #[arg(required = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The edge's data directory [default: /var/lib/bartizan for root, else ~/.local/share/bartizan]
    #[arg(long, value_name = "DIR", env = "BARTIZAN_DATA")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub seal: BackupSeal,
}

#[derive(Subcommand)]
pub enum BackupAction {
    /// Read a backup to its end: whether all of it is there, and what is in it
    Verify {
        /// The backup; `-` is standard input
        file: PathBuf,
        #[command(flatten)]
        open: BackupOpen,
    },
}

/// Who may open a backup: keys, else a passphrase of a file, of BARTIZAN_BACKUP_PASSPHRASE or typed.
#[derive(Args)]
pub struct BackupSeal {
    /// A public key as `age-keygen` makes it, repeatable; who has one of the secret keys opens the backup
    #[arg(long, value_name = "age1…", value_delimiter = ',')]
    pub recipient: Vec<Recipient>,
    /// A file with the passphrase; `-` is standard input [default: BARTIZAN_BACKUP_PASSPHRASE, else it is asked for]
    #[arg(long, value_name = "FILE", env = "BARTIZAN_BACKUP_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// What a backup is opened with.
#[derive(Args)]
pub struct BackupOpen {
    /// A file with a secret key, as `age-keygen` makes it; repeatable
    #[arg(long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
    /// A file with the passphrase; `-` is standard input [default: BARTIZAN_BACKUP_PASSPHRASE, else it is asked for]
    #[arg(long, value_name = "FILE", env = "BARTIZAN_BACKUP_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct Restore {
    /// The backup
    pub file: PathBuf,
    /// The new edge's data directory [default: /var/lib/bartizan for root, else ~/.local/share/bartizan]
    #[arg(long, visible_alias = "data-dir", value_name = "DIR", env = "BARTIZAN_DATA")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub open: BackupOpen,
}

/// How a command finds its edge: these flags, then the environment, then a local `up`, then what `login` stored.
#[derive(Args, Clone, Default)]
pub struct Edge {
    /// The API's URL, with /client/v4
    #[arg(long, global = true, value_name = "URL", env = "BARTIZAN_API")]
    pub api: Option<String>,
    #[command(flatten)]
    pub api_token: Seen<ApiToken>,
    /// A file with the API token
    #[arg(long = "api-token-file", global = true, value_name = "FILE", env = "BARTIZAN_API_TOKEN_FILE")]
    pub api_token_file: Option<PathBuf>,
    /// The CA that the edge's certificates are from [default: ca.pem of the data directory, or what `login` stored]
    #[arg(long, global = true, value_name = "FILE", env = "BARTIZAN_CACERT")]
    pub cacert: Option<PathBuf>,
    /// The data directory of a local `up`
    #[arg(long, global = true, value_name = "DIR", env = "BARTIZAN_DATA")]
    pub data: Option<PathBuf>,
}

/// The token of a command for an edge.
#[derive(Args, Clone, Default)]
pub struct ApiToken {
    /// An API token; `-` reads it from standard input. On the command line everybody on this machine sees it
    #[arg(long = "api-token", global = true, value_name = "TOKEN", env = "BARTIZAN_API_TOKEN", hide_env_values = true)]
    api_token: Option<String>,
}

/// The token of a connector.
#[derive(Args, Clone, Default)]
pub struct TunnelToken {
    /// The tunnel's token: all that a machine needs; `-` reads it from standard input. On the command line everybody on
    /// this machine sees it
    #[arg(long, value_name = "TOKEN", env = "TUNNEL_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Secret for ApiToken {
    const ID: &'static str = "api_token";

    fn text(&self) -> Option<&str> {
        self.api_token.as_deref()
    }
}

impl Secret for TunnelToken {
    const ID: &'static str = "token";

    fn text(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

#[derive(Args)]
pub struct Login {
    #[command(flatten)]
    pub edge: Edge,
}

/// `tunnel --hostname app.example.com http://localhost:8080` makes the tunnel, the name and the connection in one go.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Tunnel {
    #[command(subcommand)]
    pub action: Option<TunnelAction>,
    /// The name to serve; it need not exist yet
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// The public port of a tcp:// or udp:// service [default: the service's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Serve a built-in hello page instead of a URL
    #[arg(long)]
    pub hello_world: bool,
    /// The tunnel's name [default: the hostname]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The local service: http://HOST:PORT, https://HOST:PORT, tcp://HOST:PORT or udp://HOST:PORT
    #[arg(value_name = "URL", required_unless_present_any = ["hello_world", "url"])]
    pub service: Option<String>,
    #[command(flatten)]
    pub connector: Connector,
    #[command(flatten)]
    pub edge: Edge,
}

/// What a connector may be told.
#[derive(Args, Clone)]
pub struct Connector {
    /// The local service, as a flag
    #[arg(long, global = true, value_name = "URL", env = "TUNNEL_URL")]
    pub url: Option<String>,
    /// Do not verify the certificate of an https service
    #[arg(long, global = true)]
    pub no_tls_verify: bool,
    /// The name in the service's certificate, where it differs from the URL's host
    #[arg(long, global = true, value_name = "NAME")]
    pub origin_server_name: Option<String>,
    /// The edge's tunnel address, repeatable; else the API or the token says it
    #[arg(long = "edge", global = true, value_name = "HOST:PORT", env = "TUNNEL_EDGE", value_delimiter = ',')]
    pub edges: Vec<String>,
    /// That of the edge, which both its API and its tunnel address show.
    #[arg(skip)]
    pub cacert: Option<PathBuf>,
    /// Connections to keep
    #[arg(long, global = true, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub connections: u8,
    /// How long work in flight may go on after a stop, in seconds
    #[arg(long, global = true, value_name = "S", default_value_t = 30)]
    pub grace_period: u64,
}

#[derive(Subcommand)]
pub enum TunnelAction {
    /// Run an existing tunnel, by its name, or anywhere by its token
    Run {
        /// The tunnel's name or id
        #[arg(required_unless_present_any = ["token", "token_file"])]
        tunnel: Option<String>,
        #[command(flatten)]
        token: Seen<TunnelToken>,
        /// A file with the tunnel's token
        #[arg(long, value_name = "FILE", env = "TUNNEL_TOKEN_FILE")]
        token_file: Option<PathBuf>,
    },
    /// Make a tunnel
    Create {
        /// What it is called
        name: String,
    },
    /// All tunnels
    List,
    /// One tunnel and its connections
    Info {
        /// By name or id
        tunnel: String,
    },
    /// Delete a tunnel that nobody uses
    Delete {
        /// By name or id
        tunnel: String,
        /// Even with connections
        #[arg(long, short)]
        force: bool,
    },
    /// Drop a tunnel's connections
    Cleanup {
        /// By name or id
        tunnel: String,
    },
    /// The tunnel's token
    Token {
        /// By name or id
        tunnel: String,
    },
    /// Point a name at a tunnel
    Route {
        #[command(subcommand)]
        route: TunnelRoute,
    },
}

#[derive(Subcommand)]
pub enum TunnelRoute {
    /// Make or change the name's record
    Dns {
        /// The tunnel, by name or id
        tunnel: String,
        /// The name; its zone is found by itself
        hostname: String,
        /// Replace a record that points elsewhere
        #[arg(long, short = 'f')]
        overwrite_dns: bool,
    },
}

#[derive(Subcommand)]
pub enum ZoneAction {
    /// All zones
    List,
    /// One zone, by name or id
    Show {
        /// By name or id
        zone: String,
    },
    /// Serve a new zone
    Create {
        /// Its apex, such as example.com
        name: String,
    },
    /// Put the records of a master file (a BIND zone file) into a zone: all of them, or none
    Import(ZoneImport),
    /// The records of a zone as a file
    Export(ZoneExport),
    /// What another server answers otherwise: before a move, nothing should differ. Names that only it has are not found, but
    /// for a few common ones
    Diff(ZoneDiff),
    /// What a registrar, a validator or a mail server would complain of
    Check {
        /// By name or id
        zone: String,
    },
    /// Say of a zone that it sends phishing mail, or that it does not: DNS then tells receivers to reject its mail, and its
    /// records stay as they are. For who looks after the edge (permission "Edge Zones Write"), also over others' zones
    FlagPhishing {
        /// By name or id
        zone: String,
        /// `strict` leaves the zone's own name no text at all
        #[arg(value_enum)]
        value: Flag,
    },
    /// Delete a zone with everything in it
    Delete {
        /// By name or id
        zone: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum DnssecAction {
    /// Sign a zone, and print the DS record that its registrar is to put into the parent zone
    Enable {
        #[command(flatten)]
        zoned: Zoned,
        #[command(flatten)]
        options: DnssecOptions,
    },
    /// Let a zone go without signatures, as soon as nobody can miss them: when the parent zone's DS record is gone
    Disable {
        #[command(flatten)]
        zoned: Zoned,
        /// At once, whatever the parent zone has: who validates does not find the zone until the DS record is gone
        #[arg(long)]
        force: bool,
    },
    /// How far a zone is, its keys, what the parent zone has, and what to do next
    Status {
        #[command(flatten)]
        zoned: Zoned,
        /// Ask the servers of the parent zone first
        #[arg(long)]
        check: bool,
    },
    /// The DS records that the parent zone shall have, a line each
    Ds {
        #[command(flatten)]
        zoned: Zoned,
    },
    /// The zones with DNSSEC, and how far each is
    List {
        /// Only those that are so: pending, active, pending-disabled or error
        #[arg(long)]
        status: Option<String>,
    },
    /// Complete all zones that have begun and not ended: ask their parents, and send registries what they lack. Run it again
    /// to go on where it was stopped
    Finish {
        /// How many zones in a second at most
        #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
        rate: u32,
    },
    /// How DS records get into parent zones: list, set, remove
    Registry {
        #[command(subcommand)]
        action: RegistryAction,
    },
    /// Exchange a key; what can be done without the parent zone is done in the background
    Roll {
        #[command(flatten)]
        zoned: Zoned,
        /// Which, where the zone has a KSK and a ZSK
        #[arg(long, value_parser = ["csk", "ksk", "zsk"])]
        key: Option<String>,
    },
}

#[derive(Subcommand)]
pub enum RegistryAction {
    /// The parent zones for which a way is set
    List,
    /// How DS records get into a parent zone, such as dk
    Set {
        /// The parent zone
        parent: String,
        /// manual: a person gives them to the registrar; cds: the parent looks for CDS records; dsu: they are sent by DSU 1.0
        #[arg(long, value_parser = ["manual", "cds", "dsu"])]
        way: String,
        /// Where DSU is called
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Who we are there
        #[arg(long, value_name = "USER")]
        userid: Option<String>,
        /// A file with the password; `-` is standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Leave a parent zone to persons again
    Remove {
        /// The parent zone
        parent: String,
    },
}

#[derive(Args)]
pub struct Zoned {
    /// The zone, by name or id
    pub zone: String,
}

/// How a zone is signed.
#[derive(Args)]
pub struct DnssecOptions {
    /// 13 (ECDSA P-256) or 15 (Ed25519) [default: 13]
    #[arg(long, value_name = "NUMBER")]
    pub algorithm: Option<u8>,
    /// One key for all, or a KSK and a ZSK [default: csk]
    #[arg(long, value_parser = ["csk", "split"])]
    pub keys: Option<String>,
    /// How it is said that something is not there [default: compact]
    #[arg(long, value_parser = ["compact", "black-lies", "shotgun"])]
    pub denial: Option<String>,
    /// Exchange the key that the parent zone knows after so many days; 0 is never [default: 0]
    #[arg(long, value_name = "DAYS")]
    pub ksk_days: Option<u32>,
    /// Exchange the ZSK after so many days; 0 is never [default: 90]
    #[arg(long, value_name = "DAYS")]
    pub zsk_days: Option<u32>,
}

/// What a zone is found to be.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Flag {
    On,
    Strict,
    Off,
}

#[derive(Args)]
pub struct ZoneImport {
    /// The file; `-` is standard input
    pub file: PathBuf,
    /// The zone [default: the one that the file's SOA or first record lies in]
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Records that can be proxied are, where the file does not say it
    #[arg(long)]
    pub proxied: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct ZoneDiff {
    /// By name or id
    pub zone: String,
    /// A name server of the zone as it is elsewhere: an address or a host, with a port if it is not 53
    #[arg(long, value_name = "ADDRESS")]
    pub server: String,
    /// TTLs that differ count too
    #[arg(long)]
    pub ttl: bool,
}

#[derive(Args)]
pub struct ZoneExport {
    /// By name or id
    pub zone: String,
    /// Into this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// What it is written as
    #[arg(long, value_enum, default_value_t = ZoneFormat::Bind)]
    pub format: ZoneFormat,
}

/// How a zone is written.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ZoneFormat {
    /// A master file, as `zone import` reads it
    Bind,
    /// The YAML that octoDNS keeps zones in
    Octodns,
}

#[derive(Subcommand)]
pub enum ImportSource {
    /// Zones of an account of Cloudflare, or of any API of its dialect: records, settings, access rules. It reads there
    /// and writes here; started again, it goes on where it ended
    Cloudflare(CloudflareWords),
    /// Zone files of octoDNS (YAML) into the zones that they are called after: the records of each, all of them or none
    Octodns(OctodnsWords),
}

#[derive(Args)]
pub struct OctodnsWords {
    /// The files, such as config/example.com.yaml
    #[arg(required = true, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The zone of one that is called otherwise
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct CloudflareWords {
    #[command(flatten)]
    pub token: Seen<SourceToken>,
    /// A file with the account's token
    #[arg(long, value_name = "FILE", env = "CLOUDFLARE_API_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Only this zone, repeatable [default: all that the token sees]
    #[arg(long, value_name = "ZONE")]
    pub zone: Vec<String>,
    /// The API that is read, with /client/v4
    #[arg(long, value_name = "URL", default_value = "https://api.cloudflare.com/client/v4")]
    pub from: String,
    /// Leave the access rules there: what they block there comes in here
    #[arg(long)]
    pub without_rules: bool,
    /// Take the access rules that the zones show, and leave those of the account and of the user there
    #[arg(long, conflicts_with = "without_rules")]
    pub zone_rules_only: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The token of an account that is taken over.
#[derive(Args, Clone, Default)]
pub struct SourceToken {
    /// A token that may read zones, their records and their settings; `-` reads it from standard input. On the command line
    /// everybody on this machine sees it
    #[arg(
        id = "source_token",
        long = "token",
        value_name = "TOKEN",
        env = "CLOUDFLARE_API_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

impl Secret for SourceToken {
    const ID: &'static str = "source_token";

    fn text(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

#[derive(Subcommand)]
pub enum RecordAction {
    /// The records of a zone
    List {
        /// By name or id
        zone: String,
        /// Only this name
        #[arg(long)]
        name: Option<String>,
        /// Only this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
    /// Add a record: `record create www.example.com A 192.0.2.1`
    Create(RecordWords),
    /// Change a record: `record update www.example.com A --content 192.0.2.2`
    Update(RecordUpdate),
    /// Delete records: by name and type, or by `--id`
    Delete {
        /// The whole name; its zone is found by itself
        name: String,
        /// The type; needed where the name has several
        kind: Option<String>,
        /// Only the record with this id
        #[arg(long)]
        id: Option<String>,
    },
}

#[derive(Args)]
pub struct RecordUpdate {
    /// The whole name; or with `--zone` the record's id
    pub name: String,
    /// The type; needed where the name has several
    pub kind: Option<String>,
    /// Only the record with this id
    #[arg(long)]
    pub id: Option<String>,
    /// The zone of a record that is named by its id
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// What it says from now on
    #[arg(long)]
    pub content: Option<String>,
    /// Seconds; 1 means automatic
    #[arg(long)]
    pub ttl: Option<u32>,
    /// Whether to answer with the edge's addresses and carry HTTP on to the content
    #[arg(long, value_name = "true|false")]
    pub proxied: Option<bool>,
    /// A note for people; an empty one takes it away
    #[arg(long)]
    pub comment: Option<String>,
    /// A tag, repeatable: these take the place of all that it has
    #[arg(long, value_name = "NAME:VALUE")]
    pub tag: Vec<String>,
}

#[derive(Args)]
pub struct RecordWords {
    /// The whole name; its zone is found by itself
    pub name: String,
    /// A, AAAA, CNAME, MX, NS, TXT, SRV, CAA, HTTPS, TLSA, and all others that the API has
    pub kind: String,
    /// As in a zone file: `10 mail.example.com` for MX
    #[arg(required = true)]
    pub content: Vec<String>,
    /// Seconds; 1 means automatic
    #[arg(long, default_value_t = 1)]
    pub ttl: u32,
    /// Answer with the edge's addresses and carry HTTP on to the content
    #[arg(long)]
    pub proxied: bool,
    /// The port of a proxied record's origin
    #[arg(long, value_name = "PORT", requires = "proxied")]
    pub origin_port: Option<u16>,
    /// A note for people
    #[arg(long)]
    pub comment: Option<String>,
    /// A tag, repeatable: `owner:ann`
    #[arg(long, value_name = "NAME:VALUE")]
    pub tag: Vec<String>,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Subcommand)]
pub enum AppAction {
    /// Put a port behind the edge: `app create ssh.example.com tcp/22 tcp://192.0.2.1:22`
    Create(AppWords),
    /// The applications of all zones
    List,
    /// One application with its counters, by name or id
    Show {
        /// By name or id
        app: String,
    },
    /// Delete an application
    Delete {
        /// By name or id
        app: String,
    },
}

#[derive(Args)]
pub struct AppWords {
    /// The name that leads to it; its zone is found by itself
    pub name: String,
    /// tcp/22, udp/53, or a range: tcp/1000-2000
    pub protocol: String,
    /// tcp://ADDRESS:PORT, udp://ADDRESS:PORT, or a name and a port: db.example.com:5432
    pub origin: String,
    /// off, flexible (the edge ends TLS), full, strict
    #[arg(long, default_value = "off", value_name = "MODE")]
    pub tls: String,
    /// How the origin learns the client's address: off, v1 (TCP), v2, simple (UDP, in each datagram as v2 is)
    #[arg(long, default_value = "off", value_name = "VERSION")]
    pub proxy_protocol: String,
    /// Access rules are not in force here
    #[arg(long)]
    pub no_firewall: bool,
}

#[derive(Subcommand)]
pub enum DnsAction {
    /// What the edge decides on the way to an answer, what it sends, and which records that is about
    Trace(DnsQuestion),
}

#[derive(Args)]
pub struct DnsQuestion {
    /// Whose records are asked for
    pub name: String,
    /// The type of records
    #[arg(value_name = "TYPE", default_value = "A")]
    pub kind: String,
    /// With signatures, as validators ask
    #[arg(long)]
    pub dnssec: bool,
    /// As over TCP, where an answer has no need to be short
    #[arg(long)]
    pub tcp: bool,
}

#[derive(Subcommand)]
pub enum FirewallAction {
    /// Refuse a source: an address, a prefix, a network (AS64500) or a country (DK)
    Block {
        /// An address, a prefix, a network or a country
        source: String,
        #[command(flatten)]
        scope: Scope,
        /// Why
        #[arg(long, default_value = "")]
        notes: String,
    },
    /// Let a source in whatever else is blocked
    Allow {
        /// An address, a prefix, a network or a country
        source: String,
        #[command(flatten)]
        scope: Scope,
        /// Why
        #[arg(long, default_value = "")]
        notes: String,
    },
    /// The rules
    List {
        #[command(flatten)]
        scope: Scope,
    },
    /// Remove a rule, by its source or its id
    Remove {
        /// The source that the rule is for, or the rule's id
        source: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// Which rule decides for an address, and why
    Test {
        /// Of a client
        address: String,
        /// For this application
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
    },
}

#[derive(Subcommand)]
pub enum TokenAction {
    /// Make a token and print it: `token create certbot --can dns --zone example.com`
    Create(TokenWords),
    /// The tokens, with what each may do
    List {
        #[command(flatten)]
        whose: Whose,
    },
    /// One token, by name or id
    Show {
        /// By name or id
        token: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Give a token a new text; the old one ends
    Roll {
        /// By name or id
        token: String,
        /// One of this account's own instead of yours, by name or id
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// End a token
    Delete {
        /// By name or id
        token: String,
        #[command(flatten)]
        whose: Whose,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Whose tokens.
#[derive(Args)]
pub struct Whose {
    /// Of this user instead of yourself, by address or id; for those who look after users
    #[arg(long, value_name = "USER", conflicts_with = "account")]
    pub user: Option<String>,
    /// Of this account, which nobody's leaving ends, by name or id
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
}

#[derive(Args)]
pub struct TokenWords {
    /// What it is for
    pub name: String,
    /// What it may do, repeatable: all that a command does (zone, record, app, firewall, tunnel, token, history, undo,
    /// status), or one permission (dns, zone-settings …); with :read behind it to look only
    #[arg(long, value_name = "PERMISSION", required = true)]
    pub can: Vec<String>,
    /// Only in this zone, repeatable [default: in all zones]
    #[arg(long, value_name = "ZONE")]
    pub zone: Vec<String>,
    /// Only from these addresses, repeatable
    #[arg(long, value_name = "PREFIX")]
    pub from: Vec<String>,
    /// When it ends: 90d, 12h, 2030-01-31 [default: never]
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
}

#[derive(Subcommand)]
pub enum UserAction {
    /// Make a user: `user create ann@example.com --role DNS`; without a role they may do nothing yet
    Create {
        /// Their e-mail address, by which they log in
        email: String,
        /// What they are in the account, repeatable: DNS, Administrator …; `account member roles` shows them
        #[arg(long, value_name = "ROLE")]
        role: Vec<String>,
        /// The account, by name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT", requires = "role")]
        account: Option<String>,
        #[command(flatten)]
        password: PasswordWords,
    },
    /// The users
    List,
    /// Give a user another password; their other sessions end
    Passwd {
        /// By address or id
        user: String,
        #[command(flatten)]
        password: PasswordWords,
    },
    /// Let a user in no more, by whatever of theirs
    Disable {
        /// By address or id
        user: String,
    },
    /// Let a user in again
    Enable {
        /// By address or id
        user: String,
    },
    /// Delete a user with their tokens and sessions
    Delete {
        /// By address or id
        user: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum AccountAction {
    /// The accounts that you are in
    List,
    /// Make an account
    Create {
        /// What it is called
        name: String,
    },
    /// Give an account another name
    Rename {
        /// By name or id
        account: String,
        /// What it is called from now on
        name: String,
    },
    /// Delete an account in which there are no zones and no tunnels
    Delete {
        /// By name or id
        account: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Who belongs to an account: add, list, remove, roles
    Member {
        #[command(subcommand)]
        action: MemberAction,
    },
}

#[derive(Subcommand)]
pub enum MemberAction {
    /// Make a user a member, or invite them: `account member add ann@example.com --role DNS`
    Add {
        /// Their e-mail address
        email: String,
        /// What they are, repeatable
        #[arg(long, value_name = "ROLE", required = true)]
        role: Vec<String>,
        /// By name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// The members
    List {
        /// By name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Take a member out
    Remove {
        /// Their e-mail address
        email: String,
        /// By name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// The roles that there are
    Roles {
        /// By name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
}

#[derive(Args)]
pub struct PasswordWords {
    /// A file with the password, `-` for standard input [default: one that is made up, and shown once]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct UndoWords {
    /// The revision of the change, as `history` shows it
    pub revision: u64,
    /// Show what would become what, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Also put back what was changed again since
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct HistoryWords {
    /// Only of this: a name (www.example.com), an id, or what something is called
    pub object: Option<String>,
    /// Of this account, by name or id [default: the first of yours]
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// Only in this zone; it may be deleted
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Only since this time: 2030-01-31, 2030-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only before this time, or, as a number, before this revision
    #[arg(long, value_name = "WHEN")]
    pub before: Option<String>,
    /// Only what this person did
    #[arg(long, value_name = "EMAIL")]
    pub by: Option<String>,
    /// What one change did, by its revision
    #[arg(long, value_name = "N")]
    pub revision: Option<u64>,
    /// So many changes
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
    /// All of them as comma-separated values, with what was before and after
    #[arg(long, conflicts_with = "count")]
    pub csv: bool,
    /// The same into this file, which is there when it is whole
    #[arg(long, value_name = "FILE", conflicts_with = "count")]
    pub to: Option<PathBuf>,
}

#[derive(Args)]
pub struct Scope {
    /// Only in this zone; otherwise everywhere
    #[arg(long, value_name = "ZONE", conflicts_with = "account")]
    pub zone: Option<String>,
    /// In all zones of this account; those of the edge's own hold everywhere
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn listeners_as_people_type_them() {
        for (text, expect) in [
            ("127.0.0.1:8081", None),
            ("[::1]:8081", None),
            ("8081", Some("127.0.0.1:8081 is for this machine")),
            (":8081", Some("0.0.0.0:8081")),
            ("localhost:8081", Some("names are not looked up")),
            ("127.0.0.1", Some("an address and a port")),
            ("127.0.0.1:99999", Some("an address and a port")),
        ] {
            let refused = super::listener(text).err();
            assert_eq!(refused.is_some(), expect.is_some(), "{text}: {refused:?}");
            assert!(refused.is_none_or(|told| told.contains(expect.unwrap_or_default())), "{text}");
        }
    }

    /// Whoever reads `--help` of a command learns what each of its words is.
    #[test]
    fn every_argument_has_a_description() {
        fn walk(command: &clap::Command, path: &str, without: &mut Vec<String>) {
            let silent =
                command.get_arguments().filter(|argument| !argument.is_hide_set() && argument.get_help().is_none());
            without.extend(silent.map(|argument| format!("{path}: {}", argument.get_id())));
            for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
                walk(below, &format!("{path} {}", below.get_name()), without);
            }
        }
        let (mut cli, mut without) = (super::Cli::command(), Vec::new());
        cli.build();
        walk(&cli, "bartizan", &mut without);
        assert_eq!(without, Vec::<String>::new());
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
