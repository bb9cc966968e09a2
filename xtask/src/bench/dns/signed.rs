//! Signed answers over UDP: our plane beside Knot's online signing, a bare echo, and the crypto library alone.
//!
//! An answer whose signature is kept is compared with the echo, as an unsigned one is. One whose signature is made for it
//! is compared with what that signature costs alone: a server can at best make as many answers as signatures. Over UDP it cannot
//! go below the kernel's part either, so denials are compared with both together too: the shorter a signature is, the more that is.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Measured, echo, wait_for};
use crate::bench::peer::{CLIENT_CORE, Peer, SERVER_CORE, found, free_apart, pinned};
use crate::bench::{Options, ZONE, edge, load, median};
use crate::debian::{self, Missing};
use crate::process;

/// An algorithm: its number, what we call it, and what Knot calls it.
struct Algorithm {
    number: u8,
    name: &'static str,
    knot: &'static str,
}

const ALGORITHMS: [Algorithm; 2] = [
    Algorithm { number: 13, name: "P-256", knot: "ecdsap256sha256" },
    Algorithm { number: 15, name: "Ed25519", knot: "ed25519" },
];

/// What a denial is long: nine times as long as its query, and the kernel takes more time for it.
const DENIAL_BYTES: usize = 375;

/// So many names that hardly one is asked for twice.
const UNIQUE: usize = 1 << 31;

/// More names than signatures are kept: asked for one after the other, each needs a new one.
const MANY: usize = 1_000_000;

/// Sizes of zones in which names are denied that are not there.
const SIZES: [usize; 3] = [1_000, 100_000, MANY];

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words, &["--seconds", "--rounds", "--names"])?;
    let (seconds, rounds, names) =
        (options.one("--seconds", 5)?, options.one("--rounds", 5)?, options.one("--names", 100_000)?);
    debian::need(debian::DNS_PEERS, Missing::Install)?;
    let binaries = edge::build(&["bartizan-bench"])?;
    let folder = process::target().join("bench").join(format!("dnssec-{names}"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(folder.join("zone"), load::zone_file(names)).context("cannot write the zone")?;

    let mut servers = vec![echo(&binaries, 0)?, echo(&binaries, DENIAL_BYTES)?];
    let mut rows = vec![
        Row::new("echo", &servers[0], names, &["--signed"]),
        Row::new(format!("echo, {DENIAL_BYTES} bytes back"), &servers[1], names, &["--signed"]),
    ];
    for size in SIZES {
        servers.push(plane(&binaries, size, None)?);
        let what = format!("NXDOMAIN, unsigned, {size} names");
        rows.push(Row::new(what, &servers[servers.len() - 1], UNIQUE, &["--missing"]));
    }
    for algorithm in &ALGORITHMS {
        let name = algorithm.name;
        let mut add = |server: Peer, of: &[(&str, usize, &[&str])]| {
            rows.extend(of.iter().map(|(what, names, words)| Row {
                alone: Some(name),
                ..Row::new(format!("{name} {what}"), &server, *names, words)
            }));
            servers.push(server);
        };
        let kept: (&str, usize, &[&str]) = ("positive, kept", names, &["--signed"]);
        let denied: (&str, usize, &[&str]) = ("denial, unique", UNIQUE, &["--signed", "--denied"]);
        add(plane(&binaries, names, Some(algorithm))?, &[kept, denied]);
        add(plane(&binaries, MANY, Some(algorithm))?, &[("positive, made", MANY, &["--signed", "--from", "0"])]);
        let knot = [("positive, Knot", names, kept.2), ("denial, unique, Knot", UNIQUE, denied.2)];
        add(knot_online(&folder, algorithm)?, &knot);
    }
    for server in &servers {
        wait_for(server.address, &load::owner(0)).with_context(|| format!("{} does not answer", server.name))?;
    }
    let mut alone: Vec<(&str, Vec<f64>)> = ALGORITHMS.iter().map(|algorithm| (algorithm.name, Vec::new())).collect();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}, {seconds} s each");
        for (algorithm, (_, micros)) in ALGORITHMS.iter().zip(&mut alone) {
            micros.push(sign(&binaries, algorithm, seconds)?);
        }
        for row in &mut rows {
            let words: Vec<&str> = row.words.iter().map(String::as_str).collect();
            if round == 1 && row.what.ends_with("kept") {
                // The first pass makes what is kept then.
                row.server.measure_with(&binaries.join("blast"), row.names, seconds, &words)?;
                row.server.forget();
            }
            row.server.measure_with(&binaries.join("blast"), row.names, seconds, &words)?;
        }
    }
    println!(
        "UDP, {rounds} rounds of {seconds} s, medians; {names} names where nothing else is said; server on core {SERVER_CORE}, load \
         on core {CLIENT_CORE}"
    );
    print!("{}", table(&rows, &alone));
    Ok(())
}

/// One load on one server.
struct Row {
    what: String,
    server: Measured,
    names: usize,
    words: Vec<String>,
    /// The algorithm whose signature each answer needs.
    alone: Option<&'static str>,
}

impl Row {
    fn new(what: impl Into<String>, server: &Peer, names: usize, words: &[&str]) -> Row {
        Row {
            what: what.into(),
            server: Measured::new(server.name, server.address, server.child.id()),
            names,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            alone: None,
        }
    }
}

/// "alone" is the signature by itself; "of alone" how many answers there are for each signature that could be made in the
/// same time, the next column the same without the kernel's part, and the last one, of denials, how many for each signature
/// and echo as long, which are all that no server does without.
fn table(rows: &[Row], alone: &[(&str, Vec<f64>)]) -> String {
    let cost = |row: &Row| median(row.server.cost.clone());
    let [echo, long_echo] = [0, 1].map(|at| rows.get(at).map_or(f64::NAN, cost));
    let mut text = format!(
        "{:<34} {:>9} {:>10} {:>11} {:>9} {:>9} {:>15} {:>8}\n",
        "", "q/s", "CPU µs/q", "above echo", "alone µs", "of alone", "of alone, above", "of both"
    );
    for row in rows {
        let own = cost(row);
        let alone = row.alone.and_then(|name| Some(median(alone.iter().find(|(known, _)| *known == name)?.1.clone())));
        let shown = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.2}"));
        let [micros, of, above] =
            [alone, alone.map(|alone| alone / own), alone.map(|alone| alone / (own - echo))].map(shown);
        let is_denial = row.words.iter().any(|word| word == "--denied");
        let both = shown(alone.filter(|_| is_denial).map(|alone| (alone + long_echo) / own));
        text.push_str(&format!(
            "{:<34} {:>9.0} {own:>10.3} {:>11.3} {micros:>9} {of:>9} {above:>15} {both:>8}\n",
            row.what,
            median(row.server.rate.clone()),
            own - echo,
        ));
    }
    text
}

/// What `sign` prints.
#[derive(Deserialize)]
struct Signed {
    micros: f64,
}

/// Microseconds of CPU for a signature of the library.
fn sign(binaries: &Path, algorithm: &Algorithm, seconds: u64) -> Result<f64> {
    let mut command = pinned(&binaries.join("sign"));
    let words = ["--algorithm", &algorithm.number.to_string(), "--seconds", &seconds.to_string()];
    let printed = process::read(command.args(words))?;
    let signed: Signed = serde_json::from_str(printed.trim()).with_context(|| format!("sign printed {printed}"))?;
    Ok(signed.micros)
}

fn plane(binaries: &Path, names: usize, algorithm: Option<&Algorithm>) -> Result<Peer> {
    let address = free_apart()?;
    let mut command = pinned(&binaries.join("serve"));
    command.args(["--listen", &address.to_string(), "--names", &names.to_string()]);
    if let Some(algorithm) = algorithm {
        command.args(["--sign", &algorithm.number.to_string()]);
    }
    Peer::start("plane", address, &mut command)
}

fn knot_online(folder: &Path, algorithm: &Algorithm) -> Result<Peer> {
    let address = free_apart()?;
    let here = folder.display();
    let run = folder.join(algorithm.knot);
    let text = format!(
        "server:\n  rundir: \"{}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{}\"\n\
         policy:\n  - id: online\n    algorithm: {}\n\
         mod-onlinesign:\n  - id: online\n    policy: online\n\
         template:\n  - id: default\n    storage: \"{here}\"\n    journal-content: none\n    zonefile-load: whole\n    \
         semantic-checks: off\n\
         zone:\n  - domain: {ZONE}\n    file: zone\n    module: mod-onlinesign/online\n",
        run.display(),
        address.ip(),
        address.port(),
        run.display(),
        algorithm.knot,
    );
    let path = folder.join(format!("{}.conf", algorithm.knot));
    fs::write(&path, text).context("cannot write Knot's configuration")?;
    fs::create_dir_all(&run).context("cannot make Knot's folder")?;
    Peer::start("Knot", address, pinned(&found("knotd")?).arg("-c").arg(&path))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    #[test]
    fn answers_are_compared_with_signatures() {
        let row = |what: &str, cost: f64, alone, words: &[&str]| {
            let server = Measured::new("plane", SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), 0);
            let server = Measured { rate: vec![1e6 / cost], cost: vec![cost], ..server };
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            Row { what: what.to_owned(), server, names: 1, words, alone }
        };
        let rows = [
            row("echo", 3.0, None, &[]),
            row("long", 4.0, None, &[]),
            row("denial", 25.0, Some("P-256"), &["--denied"]),
            row("made", 25.0, Some("P-256"), &[]),
        ];
        let text = table(&rows, &[("P-256", vec![20.0])]);
        for (what, both) in [("denial", "0.96"), ("made", "-")] {
            let line = text.lines().find(|line| line.starts_with(what)).unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[1..], ["40000", "25.000", "22.000", "20.00", "0.80", "0.91", both]);
        }
    }
}
