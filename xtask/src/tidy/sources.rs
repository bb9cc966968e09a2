//! Habits that can be read off the text of a file. Plain strings on purpose: a rule that needs a parser belongs into
//! the compiler's lints.

use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use super::manifests::UNSAFE_ALLOWED;
use super::workspace::Workspace;
use crate::process;

/// A text that must not stand in some files.
struct Rule {
    texts: &'static [&'static str],
    applies: fn(&str) -> bool,
    /// Whether a file's unit tests (from `#[cfg(test)]` on) are looked at too.
    tests: Tests,
    mend: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tests {
    Included,
    Excepted,
}

/// The texts are put together from pieces, so that this file passes its own rules.
const RULES: &[Rule] = &[
    Rule {
        texts: &[
            concat!("/wo", "rk/"),
            concat!("/ho", "me/"),
            concat!("/ro", "ot/"),
            concat!("/t", "mp/"),
            concat!("/Us", "ers/"),
        ],
        applies: |_| true,
        tests: Tests::Included,
        mend: "a path of one machine: take it from an argument, the environment, or std::env::temp_dir()",
    },
    Rule {
        texts: &[
            concat!("tod", "o!("),
            concat!("unimple", "mented!("),
            concat!("db", "g!("),
            concat!("FIX", "ME"),
            concat!("XX", "X:"),
        ],
        applies: is_rust,
        tests: Tests::Included,
        mend: "leave no stub: finish it, or leave it out and open an issue",
    },
    Rule {
        texts: &[concat!("#[ig", "nore"), concat!("should_", "panic")],
        applies: is_rust,
        tests: Tests::Included,
        mend: "assert today's behaviour and say what is wrong with it",
    },
    Rule {
        texts: &[
            concat!("uns", "afe {"),
            concat!("uns", "afe fn"),
            concat!("uns", "afe impl"),
            concat!("uns", "afe extern"),
        ],
        applies: |path| is_rust(path) && !below_any(path, UNSAFE_ALLOWED) && !is_counting_allocator(path),
        tests: Tests::Included,
        mend: "unsafe lives in base/net and planes/bpf, behind a safe function",
    },
    Rule {
        texts: &[concat!("allow(uns", "afe_code")],
        applies: |path| is_rust(path) && !below_any(path, UNSAFE_ALLOWED) && !is_counting_allocator(path),
        tests: Tests::Included,
        mend: "unsafe lives in base/net and planes/bpf, behind a safe function",
    },
    Rule {
        texts: &[concat!("allow(clippy::undocumented_uns", "afe")],
        applies: is_rust,
        tests: Tests::Included,
        mend: "say in `// SAFETY:` which fact makes the block sound",
    },
    Rule {
        texts: &["Instant::now(", "SystemTime::now(", "Utc::now(", "now_utc(", "rand::"],
        applies: |path| is_rust(path) && path.starts_with("engines/"),
        tests: Tests::Included,
        mend: "an engine has no clock and no chance: take `now` or the draw as an argument",
    },
    Rule {
        texts: &[
            "SystemTime::now(",
            "UNIX_EPOCH.elapsed(",
            "Utc::now(",
            "Local::now(",
            "UnixTime::now(",
            "now_utc(",
            "now_local(",
            "ClockId::Realtime",
        ],
        applies: |path| is_rust(path) && is_ours(path) && !reads_the_wall_clock(path),
        tests: Tests::Excepted,
        mend: "what the machine's clock says is not believed: ask the Clock of base/clock that is handed in; a command, of which \
               nothing else is known, asks a Clock::default()",
    },
    Rule {
        // A check of what somebody brings asks nobody for the time.
        texts: &["client_config("],
        applies: |path| is_rust(path) && is_of_the_edge(path) && path != "control/certs/src/acme/account.rs",
        tests: Tests::Excepted,
        mend: "certificates are judged by the believed time: take `client_config_by` with the clock's `teller`",
    },
    Rule {
        texts: &[
            "async fn",
            "async move",
            ".await",
            "std::net::Udp",
            "std::net::Tcp",
            "Mutex<",
            "RwLock<",
            "println!(",
            "std::fs",
        ],
        applies: |path| is_rust(path) && path.starts_with("engines/"),
        tests: Tests::Excepted,
        mend: "an engine decides and does nothing: facts in, decision out; the plane around it does the rest",
    },
    Rule {
        texts: &["println!(", "std::process::exit("],
        applies: |path| is_rust(path) && ["base/", "planes/", "control/"].iter().any(|layer| path.starts_with(layer)),
        tests: Tests::Excepted,
        mend: "only the binary prints and exits; elsewhere return it, or log with tracing",
    },
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc", "shared"];

/// A file larger than this is data and not text to read.
const TEXT_BYTES_MAX: u64 = 1 << 20;

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in files()? {
        findings.extend(name(&path));
        let full = workspace.root.join(&path);
        let Ok(facts) = full.metadata() else { continue };
        if !facts.is_file() || facts.len() > TEXT_BYTES_MAX {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            findings.extend(contents(&path, text));
        }
    }
    Ok(findings)
}

/// What git keeps, or would.
pub(super) fn files() -> Result<Vec<String>> {
    let listed =
        process::read(process::command("git").args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]))?;
    Ok(listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn name(path: &str) -> Option<Finding> {
    let empty = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    (is_rust(path) && path.split('/').any(empty)).then(|| {
        Finding::new(
            path,
            "its name says nothing",
            "name the thing that is inside: base32.rs, backoff.rs, prefix_trie.rs",
        )
    })
}

fn contents(path: &str, text: &str) -> Vec<Finding> {
    let unit_tests = text.lines().position(|line| line.starts_with("#[cfg(test)]")).unwrap_or(usize::MAX);
    let is_test = is_test(path);
    let mut findings = Vec::new();
    for rule in RULES.iter().filter(|rule| (rule.applies)(path)) {
        for (at, line) in text.lines().enumerate() {
            let test = is_test || at >= unit_tests;
            if test && rule.tests == Tests::Excepted {
                break;
            }
            if let Some(found) = rule.texts.iter().find(|found| stands_in(line, found)) {
                findings.push(Finding::new(format!("{path}:{}", at + 1), format!("contains `{found}`"), rule.mend));
            }
        }
    }
    findings
}

/// Whether `text` stands in the line as a word of its own: `println!(` is not found in `eprintln!(`.
fn stands_in(line: &str, text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(text).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !(text.starts_with(word) && before.is_some_and(word))
    })
}

/// What ships, but for engines, which have no clock at all.
fn is_ours(path: &str) -> bool {
    below_any(path, &["base", "planes", "control", "bin"])
}

/// What runs within an edge, with its clock. A connector is a process of its own.
fn is_of_the_edge(path: &str) -> bool {
    below_any(path, &["base/dial", "planes", "control"]) && !below_any(path, &["planes/connector"])
}

/// Those who may ask what the machine's clock says.
fn reads_the_wall_clock(path: &str) -> bool {
    // It decides what is believed.
    path.starts_with("base/clock/")
        // By that clock the system dates the files whose age is asked for.
        || path == "base/dial/src/resolver/files.rs"
}

/// Rust that a person wrote: what a generator made (Cap'n Proto's) has habits of its own.
fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs") && !path.ends_with("_capnp.rs")
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "benches" || part == "examples")
}

fn below_any(path: &str, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}

/// A test that proves "no allocation on this path" needs an allocator that counts, and an allocator is unsafe.
fn is_counting_allocator(path: &str) -> bool {
    is_test(path) && path.ends_with("/counting_allocator.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        for (path, expect) in [
            ("base/wire/src/utils.rs", true),
            ("base/wire/src/helpers/mod.rs", true),
            ("base/wire/src/base32.rs", false),
            ("docs/common.md", false),
        ] {
            assert_eq!(name(path).is_some(), expect, "{path}");
        }
    }

    #[test]
    fn texts() {
        let tests = "#[cfg(test)]\nmod tests {";
        for (path, text, expect) in [
            ("base/wire/src/lib.rs", "fn fine() {}".to_owned(), vec![]),
            ("README.md", concat!("cd /wo", "rk/somewhere").to_owned(), vec!["README.md:1"]),
            ("base/wire/src/lib.rs", concat!("\nlet x = tod", "o!();").to_owned(), vec!["base/wire/src/lib.rs:2"]),
            ("docs/plan.md", concat!("tod", "o!() is not for us").to_owned(), vec![]),
            ("base/wire/src/lib.rs", concat!("#[ig", "nore]").to_owned(), vec!["base/wire/src/lib.rs:1"]),
            ("base/wire/src/lib.rs", concat!("uns", "afe { x }").to_owned(), vec!["base/wire/src/lib.rs:1"]),
            ("base/net/src/lib.rs", concat!("uns", "afe { x }").to_owned(), vec![]),
            ("base/net/src/lib.rs", concat!("#[allow(uns", "afe_code)]").to_owned(), vec![]),
            ("base/network/src/lib.rs", concat!("uns", "afe { x }").to_owned(), vec!["base/network/src/lib.rs:1"]),
            ("engines/authority/tests/it/counting_allocator.rs", concat!("uns", "afe impl").to_owned(), vec![]),
            ("engines/routes/src/lib.rs", "Instant::now()".to_owned(), vec!["engines/routes/src/lib.rs:1"]),
            ("planes/dns/src/lib.rs", "Instant::now()".to_owned(), vec![]),
            ("planes/dns/src/lib.rs", "SystemTime::now()".to_owned(), vec!["planes/dns/src/lib.rs:1"]),
            ("bin/bartizan/src/up.rs", "std::time::UNIX_EPOCH.elapsed()".to_owned(), vec!["bin/bartizan/src/up.rs:1"]),
            ("control/api/src/lib.rs", "OffsetDateTime::now_utc()".to_owned(), vec!["control/api/src/lib.rs:1"]),
            ("control/api/src/lib.rs", format!("{tests}\nSystemTime::now()"), vec![]),
            ("control/api/tests/it/main.rs", "SystemTime::now()".to_owned(), vec![]),
            ("base/clock/src/clock.rs", "SystemTime::now()".to_owned(), vec![]),
            ("base/dial/src/resolver/files.rs", "SystemTime::now()".to_owned(), vec![]),
            (
                "base/dial/src/resolver/queries.rs",
                "SystemTime::now()".to_owned(),
                vec!["base/dial/src/resolver/queries.rs:1"],
            ),
            ("xtask/src/bench.rs", "SystemTime::now()".to_owned(), vec![]),
            ("control/certs/src/crl.rs", "client_config(&roots)".to_owned(), vec!["control/certs/src/crl.rs:1"]),
            ("control/certs/src/crl.rs", "client_config_by(&now, &roots)".to_owned(), vec![]),
            ("planes/connector/src/rules.rs", "client_config(&roots)".to_owned(), vec![]),
            ("engines/routes/src/lib.rs", "x.await".to_owned(), vec!["engines/routes/src/lib.rs:1"]),
            ("engines/routes/src/lib.rs", format!("{tests}\nx.await"), vec![]),
            ("planes/dns/src/lib.rs", "println!(\"x\")".to_owned(), vec!["planes/dns/src/lib.rs:1"]),
            ("planes/dns/src/lib.rs", "eprintln!(\"x\")".to_owned(), vec![]),
            ("planes/dns/tests/it/main.rs", "println!(\"x\")".to_owned(), vec![]),
        ] {
            let found: Vec<String> = contents(path, &text).into_iter().map(|finding| finding.place).collect();
            assert_eq!(found, expect, "{path}: {text}");
        }
    }
}
