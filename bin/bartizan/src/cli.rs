//! The command line (design §2.1): all commands. The words of each are declared in the file that carries it out.

use clap::{Args, Parser, Subcommand};

use crate::account::AccountAction;
use crate::analytics::AnalyticsAction;
use crate::api_token::TokenAction;
use crate::app::AppAction;
use crate::backup::{Backup, Restore};
use crate::balancing::{BalancerAction, MonitorAction, PoolAction};
use crate::cert::CertAction;
use crate::client_cert::ClientCertAction;
use crate::clock::ClockAction;
use crate::credentials::Edge;
use crate::dns::DnsAction;
use crate::dnssec::DnssecAction;
use crate::dry_run;
use crate::firewall::FirewallAction;
use crate::history::HistoryWords;
use crate::import::ImportSource;
use crate::login::Login;
use crate::origin_tls::{OriginCaAction, OriginCertAction};
use crate::output::{DryRun, Form, Output};
use crate::people::UserAction;
use crate::record::RecordAction;
use crate::tail::TailWords;
use crate::trace::HttpQuestion;
use crate::trust::Trust;
use crate::tunnel::Tunnel;
use crate::undo::UndoWords;
use crate::up::Up;
use crate::zone::ZoneAction;
use crate::zone_file::export::ExportTarget;

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

/// Over what every command understands, in its help.
const EVERYWHERE: &str = "With every command";

/// What every command understands.
#[derive(Args)]
pub struct Global {
    /// Print results as JSON, for scripts.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// No progress on stderr, only results and errors.
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,
    /// Say what the edge would change, and change nothing
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub dry_run: bool,
}

impl Cli {
    /// How the command is told; a refusal if it is to be tried and cannot be.
    pub fn output(&self) -> anyhow::Result<Output> {
        let dry_run = if self.global.dry_run { dry_run::of(&self.command)? } else { DryRun::No };
        Ok(Output { form: if self.global.json { Form::Json } else { Form::Text }, quiet: self.global.quiet, dry_run })
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// A whole edge on this machine: API, DNS, HTTP, tunnels, and a hello page behind a tunnel
    Up(Up),
    /// Store the credential of an edge, so that later commands find it: a token, or a session that a password begins
    Login(Login),
    /// Forget what `login` stored; a session ends
    Logout,
    /// A link to the dashboard that logs a browser in, once and within a quarter of an hour
    Dashboard {
        #[command(flatten)]
        edge: Edge,
    },
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
    /// Certificates: of the public authority by themselves, or your own: list, show, issue, renew, upload, account
    Cert {
        #[command(subcommand)]
        action: CertAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// Clients that are known by a certificate, devices for example: issue, revoke, authority, host
    ClientCert {
        #[command(subcommand)]
        action: ClientCertAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// Authorities that a zone trusts for the certificates of its origins: list, add, remove
    OriginCa {
        #[command(subcommand)]
        action: OriginCaAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// Certificates by which a zone's origins know this edge: list, add, remove, on, off, release
    OriginCert {
        #[command(subcommand)]
        action: OriginCertAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// Take over what is elsewhere: an account of the vendor, zone files of BIND and of octoDNS
    Import {
        #[command(subcommand)]
        source: ImportSource,
        #[command(flatten)]
        edge: Edge,
    },
    /// Take a zone out, as a file that other programs read: bind, octodns
    Export {
        #[command(subcommand)]
        target: ExportTarget,
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
    /// Pools of servers that do the same: create, list, show, health, disable, enable, delete
    Pool {
        #[command(subcommand)]
        action: PoolAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// How it is told whether a server of a pool is well: create, list, show, delete
    Monitor {
        #[command(subcommand)]
        action: MonitorAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// Load balancers, names that lead to pools: create, list, show, delete
    Lb {
        #[command(subcommand)]
        action: BalancerAction,
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
    /// What was counted of a zone: dns, http, apps
    Analytics {
        #[command(subcommand)]
        action: AnalyticsAction,
        #[command(flatten)]
        edge: Edge,
    },
    /// What happens in a zone, as it happens: queries and requests, a line each
    Tail {
        #[command(flatten)]
        words: TailWords,
        #[command(flatten)]
        edge: Edge,
    },
    /// How an answer over HTTP comes about: what the edge decides, in order, where it asks, and what a visitor gets
    Trace {
        #[command(flatten)]
        question: HttpQuestion,
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
    /// What time the edge believes, and your word that its clock is right: show, believe
    Clock {
        #[command(subcommand)]
        action: ClockAction,
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
    /// Put the CA of an edge into the stores of this machine and its browsers; `--remove` takes it out again
    Trust(Box<Trust>),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

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

    /// Whatever deletes something asks, and takes the same flag from whoever cannot be asked.
    #[test]
    fn every_deletion_is_asked_for() {
        fn walk(command: &clap::Command, path: &str, unasked: &mut Vec<String>, asked: &mut usize) {
            for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
                let path = format!("{path} {}", below.get_name());
                if ["delete", "remove"].contains(&below.get_name()) {
                    let yes = below.get_arguments().find(|argument| argument.get_long() == Some("yes"));
                    let told = yes.and_then(|yes| yes.get_help()).map(ToString::to_string).unwrap_or_default();
                    match yes.and_then(clap::Arg::get_short) == Some('y') && told.contains("where nobody can be asked")
                    {
                        true => *asked += 1,
                        false => unasked.push(path.clone()),
                    }
                }
                walk(below, &path, unasked, asked);
            }
        }
        let (mut unasked, mut asked) = (Vec::new(), 0);
        walk(&super::Cli::command(), "bartizan", &mut unasked, &mut asked);
        assert_eq!((unasked, asked), (Vec::<String>::new(), 19));
    }

    /// Whoever reads `--help` of a command sees first what is its own, and apart from it what it has in common with others.
    #[test]
    fn what_commands_have_in_common_stands_apart() {
        fn walk(command: &clap::Command, path: &str, mixed: &mut Vec<String>) {
            let is_mixed = |argument: &&clap::Arg| argument.is_global_set() != argument.get_help_heading().is_some();
            let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).filter(is_mixed);
            let own = ["help", "version"];
            let arguments = arguments.filter(|argument| !own.contains(&argument.get_id().as_str()));
            mixed.extend(arguments.map(|argument| format!("{path}: {}", argument.get_id())));
            for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
                walk(below, &format!("{path} {}", below.get_name()), mixed);
            }
        }
        let (mut cli, mut mixed) = (super::Cli::command(), Vec::new());
        cli.build();
        walk(&cli, "bartizan", &mut mixed);
        assert_eq!(mixed, Vec::<String>::new());
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
