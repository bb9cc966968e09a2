//! A test of all that the sources tell users to type: the commands and flags exist.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use clap::{Command, CommandFactory};

use crate::cli::Cli;
use crate::{doctor, listen};

/// Which commands a source's advice is for, since a flag of another command is no help.
#[derive(Clone, Copy)]
enum Reader {
    /// Whoever runs one of these; the flag is one of that command or of one below it.
    Of(&'static [&'static str]),
    /// Whoever runs any client command: the flag is one of all of them.
    Client,
}

/// Commands that work through the API.
const CLIENTS: [&str; 11] =
    ["login", "tunnel", "zone", "record", "dnssec", "import", "app", "firewall", "token", "history", "status"];

/// Sources with advice. A new one that names a flag is told of by the test below.
const SOURCES: &[(&str, Reader)] = &[
    ("access_log.rs", Reader::Of(&["up"])),
    ("account.rs", Reader::Of(&["account"])),
    ("any_port.rs", Reader::Of(&["up"])),
    ("api_token.rs", Reader::Of(&["token"])),
    ("api_token/permissions.rs", Reader::Of(&["token"])),
    ("app.rs", Reader::Of(&["app"])),
    ("argv.rs", Reader::Of(&["tunnel", "zone"])),
    ("balancing.rs", Reader::Of(&["pool", "monitor", "lb"])),
    ("backup.rs", Reader::Of(&["backup", "restore", "up"])),
    ("backup/archive.rs", Reader::Of(&["backup", "restore"])),
    ("backup/keys.rs", Reader::Of(&["backup", "restore"])),
    ("backup/make.rs", Reader::Of(&["backup"])),
    ("backup/restore.rs", Reader::Of(&["restore"])),
    ("backup/schedule.rs", Reader::Of(&["up"])),
    ("cert.rs", Reader::Of(&["cert"])),
    ("client.rs", Reader::Of(&["token", "tunnel"])),
    ("connect.rs", Reader::Of(&["tunnel"])),
    ("credentials.rs", Reader::Client),
    ("data_dir.rs", Reader::Of(&["up"])),
    ("demo.rs", Reader::Of(&["up"])),
    ("diff.rs", Reader::Of(&["history"])),
    ("dry_run.rs", Reader::Client),
    ("dnssec.rs", Reader::Of(&["dnssec"])),
    ("dnssec/put.rs", Reader::Of(&["dnssec"])),
    ("doctor.rs", Reader::Of(&["doctor", "up"])),
    ("doctor/directory.rs", Reader::Of(&["up"])),
    ("fd_store.rs", Reader::Of(&["fd-store"])),
    ("firewall.rs", Reader::Of(&["firewall", "up"])),
    ("history.rs", Reader::Of(&["history"])),
    ("host.rs", Reader::Of(&["up"])),
    ("import.rs", Reader::Of(&["import"])),
    ("import/octodns.rs", Reader::Of(&["import"])),
    ("import/rules.rs", Reader::Of(&["import"])),
    ("listen.rs", Reader::Of(&["up"])),
    ("login.rs", Reader::Of(&["login", "tunnel"])),
    ("output.rs", Reader::Of(&["zone", "record", "tunnel", "token", "user", "account", "undo"])),
    ("private_origins.rs", Reader::Of(&["up"])),
    ("people.rs", Reader::Of(&["user"])),
    ("record.rs", Reader::Of(&["record"])),
    ("remedies.rs", Reader::Of(&["doctor", "restore", "up"])),
    ("report.rs", Reader::Of(&["tunnel", "up"])),
    ("settings.rs", Reader::Of(&["up"])),
    ("status.rs", Reader::Of(&["tunnel", "status"])),
    ("store_condition.rs", Reader::Of(&["doctor", "restore"])),
    ("traces.rs", Reader::Of(&["fd-store"])),
    ("trust.rs", Reader::Of(&["trust"])),
    ("tunnel.rs", Reader::Of(&["tunnel"])),
    ("tunnel/leading.rs", Reader::Of(&["tunnel"])),
    ("tunnel/pool.rs", Reader::Of(&["tunnel"])),
    ("tunnel/words.rs", Reader::Of(&["tunnel"])),
    ("undo.rs", Reader::Of(&["undo"])),
    ("up.rs", Reader::Of(&["up"])),
    ("up/words.rs", Reader::Of(&["up"])),
    ("user.rs", Reader::Of(&["up", "tunnel"])),
    ("zone.rs", Reader::Of(&["record", "zone"])),
    ("zone/diff.rs", Reader::Of(&["zone"])),
    ("zone_file.rs", Reader::Of(&["zone"])),
    ("zone_file/export.rs", Reader::Of(&["export"])),
];

/// Flags that are said of other programs.
const OTHERS: [&str; 4] = ["--cacert", "--fresh", "--reference", "--system"];

#[test]
fn advice_names_flags_that_exist() {
    let cli = command_line();
    for (file, text) in sources() {
        let reader = SOURCES.iter().find(|(name, _)| *name == file).map(|(_, reader)| *reader);
        for flag in flags(&text).filter(|flag| !OTHERS.contains(flag)) {
            let known = match reader {
                Some(Reader::Of(commands)) => commands.iter().any(|name| has_flag(below(&cli, name), flag)),
                Some(Reader::Client) => CLIENTS.iter().all(|name| has_flag(below(&cli, name), flag)),
                None => panic!("{file} names {flag}: say in SOURCES for which command"),
            };
            assert!(known, "{file} names {flag}, which its reader does not have");
        }
    }
}

/// What is put together from a listener's flag, for each that there is.
#[test]
fn advice_about_listeners_names_flags_of_up() {
    let cli = command_line();
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let taken = [tcp.local_addr().unwrap(), udp.local_addr().unwrap()];
    let told = doctor::of_listeners(&taken).into_iter().chain(listen::remedies().map(str::to_owned));
    let mut seen = BTreeSet::new();
    for text in told {
        let [flag] = flags(&text).collect::<Vec<_>>()[..] else { panic!("{text}: one flag") };
        assert!(has_flag(below(&cli, "up"), flag), "{text}: `up` has no {flag}");
        // As it is typed: what follows is no part of a flag.
        assert!(text.contains(&format!("{flag} ")), "{text}: {flag}");
        seen.insert(flag.to_owned());
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn advice_names_commands_that_exist() {
    let cli = command_line();
    // What the API and the log tell is typed in the same way.
    let others =
        ["control", "planes", "base"].map(|layer| Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(layer));
    let others: Vec<_> = others.iter().flat_map(|folder| sources_in(folder)).collect();
    assert!(others.iter().any(|(file, text)| file.ends_with("remedy.rs") && text.contains("`bartizan restore")));
    for (file, text) in sources().into_iter().chain(others) {
        let text = text.replace("\\\n", "\n").split_whitespace().collect::<Vec<_>>().join(" ");
        for words in text.split("`bartizan ").skip(1).filter_map(|rest| rest.split('`').next()) {
            let mut command = &cli;
            for word in words.split(' ').take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())) {
                let Some(next) = command.find_subcommand(word) else {
                    assert!(!command.has_subcommands(), "{file} says `bartizan {words}`, and there is no {word}");
                    break;
                };
                command = next;
            }
            for flag in flags(words) {
                assert!(has_flag(command, flag), "{file} says `bartizan {words}`, which has no {flag}");
            }
        }
    }
}

/// With global flags put where they apply.
fn command_line() -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli
}

fn below<'c>(cli: &'c Command, name: &str) -> &'c Command {
    cli.find_subcommand(name).unwrap_or_else(|| panic!("no command {name}"))
}

/// Whether the command or one below it has the flag.
fn has_flag(command: &Command, flag: &str) -> bool {
    let own = command.get_arguments().any(|argument| argument.get_long() == flag.strip_prefix("--"));
    own || command.get_subcommands().any(|below| has_flag(below, flag))
}

/// Our sources in front of their tests, without the declaration of the command line itself.
fn sources() -> Vec<(String, String)> {
    let sources = sources_in(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(sources.len() > SOURCES.len());
    sources
}

fn sources_in(folder: &Path) -> Vec<(String, String)> {
    let (mut sources, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(below) = folders.pop() {
        for entry in std::fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            let file = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if file.ends_with(".rs") && !["advice.rs", "cli.rs"].contains(&&*file) {
                let text = std::fs::read_to_string(path).unwrap();
                sources.push((file, text.split("#[cfg(test)]").next().unwrap().to_owned()));
            }
        }
    }
    sources
}

/// Everything in a text that looks like a flag.
fn flags(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("--").filter_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        let length = text[at + 2..].bytes().take_while(|byte| byte.is_ascii_lowercase() || *byte == b'-').count();
        let is_flag = length > 1 && before.is_none_or(|before| " `\"(\n".contains(before));
        is_flag.then(|| &text[at..at + 2 + length])
    })
}
