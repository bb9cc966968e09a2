//! Signed answers over UDP: our plane beside Knot's online signing, a bare echo, and the crypto library alone.
//!
//! An answer whose signature is kept is compared with the echo, as an unsigned one is. One whose signature is made for it
//! is compared with what that signature costs alone: a server can at best make as many answers as signatures. Over UDP it cannot
//! go below the kernel's part either, so denials are compared with both together too: the shorter a signature is, the more that is.
//!
//! What makes these figures fair:
//!
//! - The kernel takes more time for a longer datagram, so each row is compared with the echo whose datagrams are about as long.
//! - What is kept is made before it is measured: every name is asked for once, however long that takes.
//! - What is made must not be kept: each round asks for other names than the one before it, and for more than are kept.
//! - Who asks never sleeps (`blast`): a server that signs is slow enough that whoever waits for each answer would fall asleep before
//!   the next, and it would pay for waking it.

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

/// How long what goes back is: a query's length, an address with its signature, a denial.
const ECHO_BYTES: [usize; 3] = [0, 174, 375];

/// So many names that hardly one is asked for twice.
const UNIQUE: usize = 1 << 31;

/// More names than signatures are kept: asked for one after the other, each needs a new one.
const MANY: usize = 1_000_000;

/// From how many names on a round begins behind where the last one began.
const APART: u64 = 433_333;

/// What is made before it is measured is done by then.
const WARM_SECONDS_MAX: u64 = 120;

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

    let (mut servers, mut rows) = (Vec::new(), Vec::new());
    for bytes in ECHO_BYTES {
        let server = echo(&binaries, bytes)?;
        let what = if bytes == 0 { "echo".to_owned() } else { format!("echo, {bytes} bytes back") };
        rows.push(Row { load: Load::Echo, ..Row::new(what, &server, names, &["--signed"]) });
        servers.push(server);
    }
    for size in SIZES {
        servers.push(plane(&binaries, size, None)?);
        let what = format!("NXDOMAIN, unsigned, {size} names");
        rows.push(Row::new(what, &servers[servers.len() - 1], UNIQUE, &["--missing"]));
    }
    for algorithm in &ALGORITHMS {
        let name = algorithm.name;
        let mut add = |server: Peer, of: &[(&str, Load, usize, &[&str])]| {
            rows.extend(of.iter().map(|(what, load, names, words)| Row {
                alone: Some(name),
                load: *load,
                ..Row::new(format!("{name} {what}"), &server, *names, words)
            }));
            servers.push(server);
        };
        let (signed, denied): (&[&str], &[&str]) = (&["--signed"], &["--signed", "--denied"]);
        add(
            plane(&binaries, names, Some(algorithm))?,
            &[("positive, kept", Load::Kept, names, signed), ("denial, unique", Load::Denied, UNIQUE, denied)],
        );
        add(plane(&binaries, MANY, Some(algorithm))?, &[("positive, made", Load::Made, MANY, signed)]);
        let knot =
            [("positive, Knot", Load::Other, names, signed), ("denial, unique, Knot", Load::Denied, UNIQUE, denied)];
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
            let mut words: Vec<&str> = row.words.iter().map(String::as_str).collect();
            let blast = binaries.join("blast");
            if round == 1 && row.load == Load::Kept {
                let all = row.names.to_string();
                let warm = [&words[..], &["--from", "0", "--answers", &all]].concat();
                row.server.measure_with(&blast, row.names, WARM_SECONDS_MAX, &warm)?;
                row.server.forget();
            }
            let from = (round * APART % MANY as u64).to_string();
            if row.load == Load::Made {
                words.extend(["--from", &from]);
            }
            row.server.measure_with(&blast, row.names, seconds, &words)?;
        }
    }
    println!(
        "UDP, {rounds} rounds of {seconds} s, medians; {names} names where nothing else is said; server on core {SERVER_CORE}, load \
         on core {CLIENT_CORE}"
    );
    print!("{}", table(&rows, &alone));
    Ok(())
}

/// What is asked for, as far as it is asked for or shown in another way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Echo,
    Kept,
    Made,
    Denied,
    Other,
}

/// One load on one server.
struct Row {
    what: String,
    load: Load,
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
            load: Load::Other,
            server: Measured::new(server.name, server.address, server.child.id()),
            names,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            alone: None,
        }
    }
}

/// "above echo" is above the one that is as long; "alone" is the signature by itself; "of alone" how many answers there are for each
/// signature that could be made in the same time, the next column the same without the kernel's part, and the last one, of
/// denials, how many for each signature and echo, which are all that no server does without.
fn table(rows: &[Row], alone: &[(&str, Vec<f64>)]) -> String {
    let cost = |row: &Row| median(row.server.cost.clone());
    let bytes = |row: &Row| median(row.server.bytes.clone());
    let mut text = format!(
        "{:<34} {:>9} {:>6} {:>10} {:>11} {:>9} {:>9} {:>15} {:>8}\n",
        "", "q/s", "bytes", "CPU µs/q", "above echo", "alone µs", "of alone", "of alone, above", "of both"
    );
    for row in rows {
        let own = cost(row);
        let apart = |echo: &&Row| (bytes(echo) - bytes(row)).abs();
        let echoes = rows.iter().filter(|row| row.load == Load::Echo);
        let echo = echoes.min_by(|one, other| apart(one).total_cmp(&apart(other))).map_or(f64::NAN, cost);
        let alone = row.alone.and_then(|name| Some(median(alone.iter().find(|(known, _)| *known == name)?.1.clone())));
        let shown = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.2}"));
        let [micros, of, above] =
            [alone, alone.map(|alone| alone / own), alone.map(|alone| alone / (own - echo))].map(shown);
        let both = shown(alone.filter(|_| row.load == Load::Denied).map(|alone| (alone + echo) / own));
        text.push_str(&format!(
            "{:<34} {:>9.0} {:>6.0} {own:>10.3} {:>11.3} {micros:>9} {of:>9} {above:>15} {both:>8}\n",
            row.what,
            median(row.server.rate.clone()),
            bytes(row),
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
        let row = |what: &str, load, (bytes, cost): (f64, f64), alone| {
            let server = Measured::new("plane", SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), 0);
            let server = Measured { rate: vec![1e6 / cost], cost: vec![cost], bytes: vec![bytes], ..server };
            Row { what: what.to_owned(), load, server, names: 1, words: Vec::new(), alone }
        };
        let rows = [
            row("echo", Load::Echo, (50.0, 3.0), None),
            row("long", Load::Echo, (375.0, 4.0), None),
            row("denial", Load::Denied, (360.0, 25.0), Some("P-256")),
            row("made", Load::Made, (60.0, 25.0), Some("P-256")),
        ];
        let text = table(&rows, &[("P-256", vec![20.0])]);
        for (what, expect) in [
            ("denial", ["40000", "360", "25.000", "21.000", "20.00", "0.80", "0.95", "0.96"]),
            ("made", ["40000", "60", "25.000", "22.000", "20.00", "0.80", "0.91", "-"]),
        ] {
            let line = text.lines().find(|line| line.starts_with(what)).unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[1..], expect);
        }
    }
}
