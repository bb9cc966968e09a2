//! `--dry-run`: what a command would change, told and not done.
//!
//! The edge judges it as any other: the client puts `dry_run=true` behind each call that would change something
//! ([`Api::trying`]), and what the answers say would be committed is told at the end, in place of the command's own words.
//! Of each command it is said here what the flag means for it; one that could only pass over it refuses it by its name.

use serde_json::{Value, json};

use crate::account::{AccountAction, MemberAction};
use crate::api_token::TokenAction;
use crate::app::AppAction;
use crate::balancing::{BalancerAction, MonitorAction, PoolAction};
use crate::cert::{self, CertAction};
use crate::cli::Command;
use crate::client::Api;
use crate::client_cert::{AuthorityAction, ClientCertAction, HostAction};
use crate::clock::ClockAction;
use crate::diff;
use crate::dns::DnsAction;
use crate::dnssec::{DnssecAction, RegistryAction};
use crate::failure::{Cause, Failure};
use crate::firewall::FirewallAction;
use crate::origin_tls::{OriginCaAction, OriginCertAction};
use crate::output::{DryRun, Output};
use crate::people::UserAction;
use crate::record::RecordAction;
use crate::tunnel::TunnelAction;
use crate::zone::{ZoneAction, text};

/// What `--dry-run` means for a command.
enum Trial {
    /// Its calls are tried, and what they would do is told.
    Calls,
    /// It shows what it would do in its own words.
    Preview,
    /// It changes nothing anyway.
    Reads,
    /// It cannot be tried, and why.
    Cannot(&'static str),
}

/// How a command is carried out that is to be tried; a refusal where it cannot.
pub fn of(command: &Command) -> anyhow::Result<DryRun> {
    let (why, remedy) = match trial(command) {
        Trial::Calls => return Ok(DryRun::Calls),
        Trial::Preview => return Ok(DryRun::Preview),
        Trial::Reads => ("it changes nothing", "leave --dry-run out"),
        Trial::Cannot(why) => (why, "without --dry-run it is done"),
    };
    Err(Failure::new(Cause::Usage, format!("--dry-run is not for this command: {why}")).remedy(remedy).into())
}

/// Every command by its name: a new one is not compiled before it is said here what it does.
fn trial(command: &Command) -> Trial {
    use Trial::{Calls, Cannot, Preview, Reads};
    match command {
        Command::Up(_) => Cannot("it serves"),
        Command::Login(_) => Cannot("whoever is let in is let in"),
        Command::Logout => Cannot("a session is over or it is not"),
        Command::Dashboard { .. } => Cannot("a link is made or it is not"),
        Command::Tunnel(tunnel) => match &tunnel.action {
            None | Some(TunnelAction::Run { .. }) => Cannot("it runs a connector"),
            Some(TunnelAction::Cleanup { .. }) => Cannot("connections are nothing that is stored"),
            Some(TunnelAction::Create { .. } | TunnelAction::Delete { .. } | TunnelAction::Route { .. }) => Calls,
            Some(TunnelAction::List | TunnelAction::Info { .. } | TunnelAction::Token { .. }) => Reads,
        },
        Command::Zone { action, .. } => match action {
            ZoneAction::Create { .. } | ZoneAction::FlagPhishing { .. } | ZoneAction::Delete { .. } => Calls,
            ZoneAction::Import(_) => Preview,
            ZoneAction::List
            | ZoneAction::Show { .. }
            | ZoneAction::Export(_)
            | ZoneAction::Diff(_)
            | ZoneAction::Check { .. } => Reads,
        },
        Command::Record { action, .. } => match action {
            RecordAction::Create(_) | RecordAction::Update(_) | RecordAction::Delete(_) => Calls,
            RecordAction::List { .. } => Reads,
        },
        Command::Dnssec { action, .. } => match action {
            DnssecAction::Enable { .. }
            | DnssecAction::Disable { .. }
            | DnssecAction::Roll { .. }
            | DnssecAction::Ds { put: true, .. } => Calls,
            DnssecAction::Registry { action: RegistryAction::Set { .. } | RegistryAction::Remove { .. } } => Calls,
            DnssecAction::Finish { .. } => Cannot("what comes of it is for parent zones and registries to say"),
            DnssecAction::Status { .. }
            | DnssecAction::Ds { put: false, .. }
            | DnssecAction::List { .. }
            | DnssecAction::Registry { action: RegistryAction::List } => Reads,
        },
        Command::Cert { action, .. } => match action {
            CertAction::Issue { .. }
            | CertAction::Renew { .. }
            | CertAction::Off { .. }
            | CertAction::Upload { .. }
            | CertAction::Delete { .. } => Calls,
            CertAction::Account { action: cert::AccountAction::Set { .. } | cert::AccountAction::Remove { .. } } => {
                Calls
            }
            CertAction::List { .. }
            | CertAction::Show { .. }
            | CertAction::Account { action: cert::AccountAction::Show } => Reads,
        },
        Command::ClientCert { action, .. } => match action {
            ClientCertAction::Issue { .. } | ClientCertAction::Revoke { .. } | ClientCertAction::Reactivate { .. } => {
                Calls
            }
            ClientCertAction::Authority { action: AuthorityAction::List { .. } }
            | ClientCertAction::Host { action: HostAction::List { .. } }
            | ClientCertAction::List { .. } => Reads,
            ClientCertAction::Authority { .. } | ClientCertAction::Host { .. } => Calls,
        },
        Command::OriginCa { action, .. } => match action {
            OriginCaAction::Add { .. } | OriginCaAction::Remove { .. } => Calls,
            OriginCaAction::List { .. } => Reads,
        },
        Command::OriginCert { action, .. } => match action {
            OriginCertAction::Add { .. }
            | OriginCertAction::Remove { .. }
            | OriginCertAction::On { .. }
            | OriginCertAction::Off { .. }
            | OriginCertAction::Release { .. } => Calls,
            OriginCertAction::List { .. } => Reads,
        },
        Command::Import { .. } | Command::Undo { .. } => Preview,
        Command::App { action, .. } => match action {
            AppAction::Create(_) | AppAction::Delete { .. } => Calls,
            AppAction::List | AppAction::Show { .. } => Reads,
        },
        Command::Pool { action, .. } => match action {
            PoolAction::Create { .. }
            | PoolAction::Disable { .. }
            | PoolAction::Enable { .. }
            | PoolAction::Delete { .. } => Calls,
            PoolAction::List | PoolAction::Show { .. } | PoolAction::Health { .. } | PoolAction::Preview { .. } => {
                Reads
            }
        },
        Command::Monitor { action, .. } => match action {
            MonitorAction::Create(_) | MonitorAction::Delete { .. } => Calls,
            MonitorAction::List | MonitorAction::Show { .. } | MonitorAction::Preview { .. } => Reads,
        },
        Command::Lb { action, .. } => match action {
            BalancerAction::Create { .. } | BalancerAction::Delete { .. } => Calls,
            BalancerAction::List | BalancerAction::Show { .. } => Reads,
        },
        Command::Dns { action: DnsAction::Trace(_), .. } => Reads,
        Command::Firewall { action, .. } => match action {
            FirewallAction::Block { .. } | FirewallAction::Allow { .. } | FirewallAction::Remove { .. } => Calls,
            FirewallAction::List { .. } | FirewallAction::Test { .. } => Reads,
        },
        Command::Token { action, .. } => match action {
            TokenAction::Create(_) | TokenAction::Roll { .. } | TokenAction::Delete { .. } => Calls,
            TokenAction::List { .. } | TokenAction::Show { .. } => Reads,
        },
        Command::User { action, .. } => match action {
            UserAction::Create { .. }
            | UserAction::Passwd { .. }
            | UserAction::Disable { .. }
            | UserAction::Enable { .. }
            | UserAction::Delete { .. } => Calls,
            UserAction::List => Reads,
        },
        Command::Account { action, .. } => match action {
            AccountAction::Create { .. } | AccountAction::Rename { .. } | AccountAction::Delete { .. } => Calls,
            AccountAction::Member { action: MemberAction::Add { .. } | MemberAction::Remove { .. } } => Calls,
            AccountAction::List
            | AccountAction::Member { action: MemberAction::List { .. } | MemberAction::Roles { .. } } => Reads,
        },
        Command::Clock { action: ClockAction::Believe, .. } => Calls,
        Command::Clock { action: ClockAction::Show, .. } => Reads,
        Command::Trust(_) => Cannot("it is this machine's stores that it changes, and not the edge"),
        Command::Backup(_) => Cannot("a backup is made or it is not; `backup verify` looks at one"),
        Command::Restore(_) => {
            Cannot("`backup verify` says what a backup has, and a restore never writes over anything")
        }
        Command::Doctor { rebuild: true, .. } => Cannot("it makes the store's file anew"),
        Command::Doctor { rebuild: false, .. }
        | Command::Export { .. }
        | Command::History { .. }
        | Command::Analytics { .. }
        | Command::Tail { .. }
        | Command::Trace { .. }
        | Command::Completions { .. }
        | Command::Status { .. } => Reads,
        Command::FdStore(_) => Cannot("it holds sockets"),
    }
}

/// The last line of what is only tried.
pub const NOTHING_CHANGED: &str = "nothing is changed: this was a --dry-run";

/// Tells what the calls of a command would do that was only tried.
pub fn tell(api: &Api, output: Output) -> anyhow::Result<()> {
    if output.dry_run != DryRun::Calls {
        return Ok(());
    }
    let answer = joined(api.tried());
    let messages = answer["messages"].as_array().into_iter().flatten();
    messages.for_each(|message| output.progress(text(message, "message")));
    output.show(&answer, || match diff::plan(&without_ids(&answer["dry_run"])) {
        plan if plan.is_empty() => "nothing would become another".to_owned(),
        plan => plan,
    })?;
    output.progress(NOTHING_CHANGED);
    Ok(())
}

/// What is not there has no id yet: the one that was made up for it is nobody's.
fn without_ids(would: &Value) -> Value {
    let mut would = would.clone();
    for change in would["changes"].as_array_mut().into_iter().flatten() {
        if change["action"]["type"] == "add" {
            change["resource"]["id"] = "".into();
            if let Some(new) = change["newValueJson"].as_object_mut() {
                new.remove("id");
            }
        }
    }
    would
}

/// The answers of all calls as the one of a call that does all of it.
fn joined(answers: Vec<Value>) -> Value {
    let mut answers = answers.into_iter();
    let none = json!({"result": null, "success": true, "errors": [], "messages": [], "dry_run": {"changes": [], "objects": 0}});
    let mut all = answers.next().unwrap_or(none);
    for mut answer in answers {
        let objects = [&all, &answer].iter().filter_map(|one| one["dry_run"]["objects"].as_u64()).sum::<u64>();
        for list in ["/messages", "/dry_run/changes"] {
            let more = answer.pointer_mut(list).map(Value::take);
            if let (Some(Value::Array(list)), Some(Value::Array(more))) = (all.pointer_mut(list), more) {
                list.extend(more);
            }
        }
        all["dry_run"]["objects"] = objects.into();
        if !answer["result"].is_null() {
            all["result"] = answer["result"].take();
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn answers_become_one() {
        let answer = |id: &str| {
            json!({"result": {"id": id}, "success": true, "errors": [], "messages": [{"message": id}],
                   "dry_run": {"changes": [{"resource": {"id": id}}], "objects": 1}})
        };
        let all = joined(vec![answer("a"), answer("b")]);
        let changes = json!([{"resource": {"id": "a"}}, {"resource": {"id": "b"}}]);
        assert_eq!(all["dry_run"], json!({"changes": changes, "objects": 2}));
        assert_eq!(
            (&all["result"]["id"], &all["messages"]),
            (&json!("b"), &json!([{"message": "a"}, {"message": "b"}]))
        );
        assert_eq!(joined(Vec::new())["dry_run"]["objects"], 0);
    }

    /// Wherever it stands on the line.
    #[test]
    fn what_cannot_be_tried_refuses_it_by_name() {
        for (line, expect) in [
            ("record create a.example A 192.0.2.1 --dry-run", Some(DryRun::Calls)),
            ("--dry-run record create a.example A 192.0.2.1", Some(DryRun::Calls)),
            ("zone import file --dry-run", Some(DryRun::Preview)),
            ("zone list --dry-run", None),
            ("tunnel --hostname a.example --hello-world --dry-run", None),
            ("backup file --dry-run", None),
            ("login --dry-run", None),
            ("doctor --rebuild --dry-run", None),
        ] {
            let cli = Cli::try_parse_from(std::iter::once("bartizan").chain(line.split(' '))).ok().unwrap();
            let said = cli.output();
            let told = said.as_ref().err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(said.as_ref().ok().map(|output| output.dry_run), expect, "{line}: {told}");
            assert_eq!(told.contains("--dry-run is not for this command"), expect.is_none(), "{line}: {told}");
        }
    }
}
