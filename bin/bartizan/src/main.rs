//! `bartizan`: the one binary. It ties the layers together; every decision is made below.

// A binary has no outside: `pub` means "used by other modules" here.
#![allow(unreachable_pub)]

mod account;
#[cfg(test)]
mod advice;
mod any_port;
mod api_names;
mod api_token;
mod app;
mod argv;
mod backup;
mod cert;
mod cli;
mod client;
mod clock;
mod connect;
mod credentials;
mod data_dir;
mod demo;
mod diff;
mod disk;
mod dns;
mod dnssec;
mod doctor;
mod edge_files;
mod failure;
mod fd_store;
mod firewall;
mod history;
mod holder;
mod host;
mod import;
mod listen;
mod octodns;
mod output;
mod people;
mod planes;
mod private_origins;
mod record;
mod remedies;
mod report;
mod rights;
mod runtime_dir;
mod settings;
mod status;
mod store_condition;
mod target;
mod token;
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
use crate::import::ImportSource;

fn main() -> ExitCode {
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
    let output = cli.global.output();
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
        Command::Login(login) => runtime()?.block_on(status::login(&login.edge, output)),
        Command::Status { edge } => runtime()?.block_on(status::run(&edge, output)),
        Command::Tunnel(tunnel) => tunnel::run(*tunnel, output),
        Command::App { action, edge } => {
            runtime()?.block_on(async { app::run(action, &credentials::find(&edge)?.running("app"), output).await })
        }
        Command::Dns { action, edge } => {
            runtime()?.block_on(async { dns::run(action, &credentials::find(&edge)?.running("record"), output).await })
        }
        Command::Firewall { action, edge } => runtime()?
            .block_on(async { firewall::run(action, &credentials::find(&edge)?.running("firewall"), output).await }),
        Command::Token { action, edge } => runtime()?
            .block_on(async { api_token::run(action, &credentials::find(&edge)?.running("token"), output).await }),
        Command::User { action, edge } => {
            runtime()?.block_on(async { people::run(action, &credentials::find(&edge)?.running("user"), output).await })
        }
        Command::Account { action, edge } => runtime()?
            .block_on(async { account::run(action, &credentials::find(&edge)?.running("account"), output).await }),
        Command::History { words, edge } => runtime()?
            .block_on(async { history::run(words, &credentials::find(&edge)?.running("history"), output).await }),
        Command::Undo { words, edge } => {
            runtime()?.block_on(async { undo::run(words, &credentials::find(&edge)?.running("undo"), output).await })
        }
        Command::Import { source: ImportSource::Cloudflare(words), edge } => {
            runtime()?.block_on(async { import::cloudflare(words, &credentials::find(&edge)?, output).await })
        }
        Command::Import { source: ImportSource::Octodns(words), edge } => runtime()?
            .block_on(async { import::octodns(words, &credentials::find(&edge)?.running("zone"), output).await }),
        Command::Zone { action, edge } => {
            runtime()?.block_on(async { zone::run(action, &credentials::find(&edge)?.running("zone"), output).await })
        }
        Command::Cert { action, edge } => {
            runtime()?.block_on(async { cert::run(action, &credentials::find(&edge)?.running("cert"), output).await })
        }
        Command::Trust(words) => trust::run(&words, output),
        Command::Dnssec { action, edge } => runtime()?
            .block_on(async { dnssec::run(action, &credentials::find(&edge)?.running("dnssec"), output).await }),
        Command::Record { action, edge } => runtime()?
            .block_on(async { record::run(action, &credentials::find(&edge)?.running("record"), output).await }),
    }
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
