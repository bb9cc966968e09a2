//! `bartizan`: the one binary. It ties the layers together; every decision is made below.

// A binary has no outside: `pub` means "used by other modules" here.
#![allow(unreachable_pub)]

mod access_log;
mod account;
#[cfg(test)]
mod advice;
mod analytics;
mod any_port;
mod api_names;
mod api_token;
mod app;
mod argv;
mod backup;
mod balancing;
mod cert;
mod cli;
mod client;
mod client_cert;
mod clock;
mod connect;
mod consent;
mod credentials;
mod dashboard;
mod data_dir;
mod demo;
mod diff;
mod disk;
mod dns;
mod dnssec;
mod doctor;
mod dry_run;
mod edge_files;
mod failure;
mod fd_store;
mod firewall;
mod hand_over;
mod history;
mod holder;
mod host;
mod import;
mod listen;
mod login;
mod mail;
mod memory;
mod octodns;
mod origin_tls;
mod output;
mod people;
mod planes;
mod private_origins;
mod readers;
mod record;
mod remedies;
mod report;
mod rights;
mod runtime_dir;
mod settings;
mod status;
mod store_condition;
mod tail;
mod target;
mod terminal;
mod text_file;
mod token;
mod trace;
mod traces;
mod trust;
mod tunnel;
mod undo;
mod up;
mod url;
mod user;
mod zone;
mod zone_file;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};
use crate::client::Api;
use crate::credentials::Edge;
use crate::import::ImportSource;
use crate::output::Output;

fn main() -> ExitCode {
    bartizan_net::keep_little_memory();
    let cli = Cli::parse_from(argv::rewrite(std::env::args_os()));
    start_log(&cli);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

/// The log goes to stderr, in one line an event. `BARTIZAN_LOG` takes the place of the default level. Libraries warn of
/// what a peer does wrong, in a line each time: strangers would write our log.
fn start_log(cli: &Cli) {
    let default = if cli.global.quiet { "error" } else { "error,bartizan=info" };
    let filter = EnvFilter::try_from_env("BARTIZAN_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::stderr_coloured())
        .with_target(false)
        .compact()
        .init();
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let output = cli.output()?;
    match cli.command {
        Command::FdStore(task) => fd_store::run(&task),
        Command::Doctor { rebuild: false, up } => doctor::run(up, output),
        Command::Doctor { rebuild: true, up } => doctor::rebuild(up, output),
        Command::Up(up) => {
            // Before there are threads: rights are given up for each alone.
            let opened = up::open(up, output)?;
            runtime()?.block_on(up::serve(opened, output))
        }
        Command::Completions { shell } => output::print_script(|to| {
            clap_complete::generate(shell, &mut <Cli as clap::CommandFactory>::command(), "bartizan", to);
        }),
        Command::Backup(words) => backup::run(*words, output),
        Command::Restore(words) => backup::put_back(&words, output),
        Command::Trust(words) => trust::run(&words, output),
        Command::Login(words) => runtime()?.block_on(login::login(words, output)),
        Command::Logout => runtime()?.block_on(login::logout(output)),
        Command::Status { edge } => runtime()?.block_on(status::run(&edge, output)),
        Command::Dashboard { edge } => {
            on_edge(&edge, "dashboard", output, async |api| dashboard::run(api, output).await)
        }
        Command::Tunnel(tunnel) => tunnel::run(*tunnel, output),
        Command::App { action, edge } => on_edge(&edge, "app", output, async |api| app::run(action, api, output).await),
        Command::Pool { action, edge } => {
            on_edge(&edge, "pool", output, async |api| balancing::pool(action, api, output).await)
        }
        Command::Monitor { action, edge } => {
            on_edge(&edge, "monitor", output, async |api| balancing::monitor(action, api, output).await)
        }
        Command::Lb { action, edge } => {
            on_edge(&edge, "lb", output, async |api| balancing::balancer(action, api, output).await)
        }
        Command::Dns { action, edge } => {
            on_edge(&edge, "record", output, async |api| dns::run(action, api, output).await)
        }
        Command::Analytics { action, edge } => {
            on_edge(&edge, "analytics", output, async |api| analytics::run(action, api, output).await)
        }
        Command::Tail { words, edge } => {
            on_edge(&edge, "tail", output, async |api| tail::run(words, api, output).await)
        }
        Command::Trace { question, edge } => {
            on_edge(&edge, "record", output, async |api| trace::run(question, api, output).await)
        }
        Command::Firewall { action, edge } => {
            on_edge(&edge, "firewall", output, async |api| firewall::run(action, api, output).await)
        }
        Command::Token { action, edge } => {
            on_edge(&edge, "token", output, async |api| api_token::run(action, api, output).await)
        }
        Command::User { action, edge } => {
            on_edge(&edge, "user", output, async |api| people::run(action, api, output).await)
        }
        Command::Account { action, edge } => {
            on_edge(&edge, "account", output, async |api| account::run(action, api, output).await)
        }
        Command::History { words, edge } => {
            on_edge(&edge, "history", output, async |api| history::run(words, api, output).await)
        }
        Command::Undo { words, edge } => {
            on_edge(&edge, "undo", output, async |api| undo::run(words, api, output).await)
        }
        Command::Import { source: ImportSource::Cloudflare(words), edge } => {
            on_edge(&edge, "", output, async |api| import::cloudflare(words, api, output).await)
        }
        Command::Import { source: ImportSource::Octodns(words), edge } => {
            on_edge(&edge, "zone", output, async |api| import::octodns(words, api, output).await)
        }
        Command::Import { source: ImportSource::Bind(words), edge } => {
            on_edge(&edge, "zone", output, async |api| zone_file::import(words, api, output).await)
        }
        Command::Export { target, edge } => {
            on_edge(&edge, "zone", output, async |api| zone_file::export(target.into(), api, output).await)
        }
        Command::Zone { action, edge } => {
            on_edge(&edge, "zone", output, async |api| zone::run(action, api, output).await)
        }
        Command::Cert { action, edge } => {
            on_edge(&edge, "cert", output, async |api| cert::run(action, api, output).await)
        }
        Command::Dnssec { action, edge } => {
            on_edge(&edge, "dnssec", output, async |api| dnssec::run(action, api, output).await)
        }
        Command::Record { action, edge } => {
            on_edge(&edge, "record", output, async |api| record::run(action, api, output).await)
        }
        Command::Clock { action, edge } => {
            on_edge(&edge, "clock", output, async |api| clock::run(action, api, output).await)
        }
        Command::OriginCa { action, edge } => {
            on_edge(&edge, "origin-ca", output, async |api| origin_tls::run_ca(action, api, output).await)
        }
        Command::OriginCert { action, edge } => {
            on_edge(&edge, "origin-cert", output, async |api| origin_tls::run_cert(action, api, output).await)
        }
        Command::ClientCert { action, edge } => {
            on_edge(&edge, "cert", output, async |api| client_cert::run(action, api, output).await)
        }
    }
}

/// A command that does what it does by calls of the API.
fn on_edge(
    edge: &Edge,
    command: &'static str,
    output: Output,
    run: impl AsyncFnOnce(&Api) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    runtime()?.block_on(with_edge(edge, command, output, run))
}

/// Runs a command through the API of its edge. With `--dry-run` nothing gets through that changes something.
async fn with_edge(
    edge: &Edge,
    command: &'static str,
    output: Output,
    run: impl AsyncFnOnce(&Api) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let api = credentials::find(edge)?.running(command);
    let api = if output.is_dry_run() { api.trying() } else { api };
    run(&api).await?;
    dry_run::tell(&api, output)
}

/// No more threads than there are processors: they would wake each other for every request.
fn connector_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?)
}

/// For the API and the commands. The planes of an edge bring threads of their own.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
