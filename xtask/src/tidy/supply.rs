//! Every crate that is built: licences, crates that we do not take, and crates that are there twice.
//!
//! Read from `cargo tree` and not from `cargo metadata`: the latter does not know which features the resolver leaves
//! out, and names crates that nobody compiles.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{Finding, licences};
use crate::process;

/// The platform that we build for; crates for others are not looked at.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Crates that must not be in the build, at any depth. A name that ends in `-` means all that begin with it.
const BANNED: &[(&str, &str)] = &[
    ("ring", "aws-lc-rs is the one crypto library; switch off the defaults of the crate that brings ring"),
    ("openssl", "rustls is the one TLS library"),
    ("openssl-sys", "rustls is the one TLS library"),
    ("native-tls", "rustls is the one TLS library"),
    ("h2", "base/wire/http2 is our HTTP/2; another's judges it in tests (hyper's feature `http2`)"),
    ("hickory-", "base/wire and engines/authority are our DNS"),
    ("trust-dns-", "base/wire and engines/authority are our DNS"),
    ("bindgen", "it needs clang, and a build needs gcc alone: take the crate's prebuilt bindings"),
    ("async-std", "tokio is the one runtime"),
    ("smol", "tokio is the one runtime"),
    ("actix-", "axum is the API's framework and the edge has a server of its own"),
    ("chrono", "time is the one calendar"),
];

/// Of those, what tests alone may use: another implementation's opinion of ours.
const JUDGES: &[&str] = &["h2", "hickory-proto"];

/// Crates that are there in more than one incompatible version, and why we bear it.
const DOUBLED: &[(&str, &str)] = &[
    ("base64", "pem, below rcgen, took 0.23; axum and others are at 0.22"),
    ("getrandom", "rand 0.10, below quinn, took 0.4; our own calls move when tempfile and uuid have"),
    ("syn", "derive macros are half way from 2 to 3; not in the binary"),
    ("untrusted", "aws-lc-rs keeps 0.7; a hundred lines"),
    ("winnow", "toml 0.9 keeps 0.7 for its old interface"),
];

/// One crate of the build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Built {
    name: String,
    version: String,
    licence: String,
    /// Nothing that is shipped has it.
    for_tests: bool,
}

pub(super) fn read() -> Result<BTreeSet<Built>> {
    let shipped = tree("normal,build")?;
    let mut all = tree("normal,build,dev")?;
    all.retain(|one| !shipped.contains(one));
    let for_tests = all.into_iter().map(|one| Built { for_tests: true, ..one });
    Ok(for_tests.collect::<BTreeSet<_>>().union(&shipped).cloned().collect())
}

fn tree(edges: &str) -> Result<BTreeSet<Built>> {
    let mut command = process::cargo();
    command.args(["tree", "--workspace", "--target", PLATFORM, "--edges", edges]);
    let tree = process::read(command.args(["--prefix", "none", "--format", "{p}|{l}"]))?;
    Ok(tree.lines().filter_map(parse).collect())
}

/// `serde v1.0.0 (proc-macro)|MIT OR Apache-2.0 (*)`; our own crates (with a path) are left out.
fn parse(line: &str) -> Option<Built> {
    let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
    let mut words = package.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    if words.any(|word| word.starts_with("(/")) {
        return None;
    }
    let (name, version, licence) = (name.to_owned(), version.to_owned(), licence.trim().to_owned());
    Some(Built { name, version, licence, for_tests: false })
}

pub(super) fn check(built: &BTreeSet<Built>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in built {
        if !licences::allowed(&one.licence) {
            findings.push(Finding::new(
                &one.name,
                format!("version {} has the licence {:?}", one.version, one.licence),
                "find another crate, or add the licence to xtask/src/tidy/licences.rs with a reason",
            ));
        }
        let is_judge = one.for_tests && JUDGES.contains(&one.name.as_str());
        if let Some((_, instead)) = BANNED.iter().find(|(name, _)| !is_judge && matches(name, &one.name)) {
            findings.push(Finding::new(
                &one.name,
                "must not be in the build",
                format!("{instead} (cargo tree --workspace --invert {})", one.name),
            ));
        }
    }
    findings.extend(doubled(built));
    findings
}

fn matches(banned: &str, name: &str) -> bool {
    if banned.ends_with('-') { name.starts_with(banned) } else { name == banned }
}

fn doubled(built: &BTreeSet<Built>) -> Vec<Finding> {
    let mut series: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for one in built {
        series.entry(&one.name).or_default().insert(compatible(&one.version));
    }
    let twice = |name: &str| series.get(name).is_some_and(|versions| versions.len() > 1);
    let borne = |name: &str| DOUBLED.iter().any(|(known, _)| *known == name);
    let new = series.keys().filter(|name| twice(name) && !borne(name)).map(|name| {
        let versions: Vec<&str> = series[name].iter().copied().collect();
        Finding::new(
            *name,
            format!("is built in the versions {}", versions.join(" and ")),
            format!(
                "cargo tree --workspace --invert {name}@VERSION shows who wants which; move one, or add a reason in \
                 xtask/src/tidy/supply.rs"
            ),
        )
    });
    let old = DOUBLED.iter().filter(|(name, _)| series.contains_key(name) && !twice(name)).map(|(name, _)| {
        Finding::new(*name, "is no longer doubled", "remove its row from DOUBLED in xtask/src/tidy/supply.rs")
    });
    new.chain(old).collect()
}

/// The part of a version that cargo takes as incompatible when it differs: `1` of 1.2.3, `0.4` of 0.4.2.
fn compatible(version: &str) -> &str {
    let mut dots = version.match_indices('.').map(|(at, _)| at);
    let first = dots.next().unwrap_or(version.len());
    if &version[..first] != "0" {
        return &version[..first];
    }
    &version[..dots.next().unwrap_or(version.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(rows: &[(&str, &str, &str)]) -> BTreeSet<Built> {
        let one = |(name, version, licence): &(&str, &str, &str)| Built {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            licence: (*licence).to_owned(),
            for_tests: false,
        };
        rows.iter().map(one).collect()
    }

    #[test]
    fn judges_are_for_tests() {
        for (name, for_tests, expect) in
            [("hickory-proto", true, 0), ("hickory-proto", false, 1), ("hickory-resolver", true, 1), ("ring", true, 1)]
        {
            let of_row = |one: Built| Built { for_tests, ..one };
            let all = built(&[(name, "1.0.0", "MIT")]).into_iter().map(of_row).collect();
            assert_eq!(check(&all).len(), expect, "{name} {for_tests}");
        }
    }

    #[test]
    fn lines_of_cargo_tree() {
        for (line, expect) in [
            ("serde v1.0.2|MIT OR Apache-2.0", Some(("serde", "1.0.2", "MIT OR Apache-2.0"))),
            ("serde_derive v1.0.2 (proc-macro)|MIT (*)", Some(("serde_derive", "1.0.2", "MIT"))),
            ("bartizan-names v0.1.0 (/somewhere/base/names)|MIT", None),
            ("", None),
            ("odd v1.0.0|", Some(("odd", "1.0.0", ""))),
        ] {
            let found = parse(line);
            let found = found.as_ref().map(|b| (b.name.as_str(), b.version.as_str(), b.licence.as_str()));
            assert_eq!(found, expect, "{line}");
        }
    }

    #[test]
    fn supply() {
        for (rows, expect) in [
            (&[("serde", "1.0.2", "MIT"), ("serde", "1.9.0", "MIT")][..], vec![]),
            (&[("tool", "1.0.0", "GPL-3.0")][..], vec!["version 1.0.0 has the licence \"GPL-3.0\""]),
            (&[("hickory-proto", "0.25.0", "MIT")][..], vec!["must not be in the build"]),
            (&[("ring", "0.17.0", "ISC")][..], vec!["must not be in the build"]),
            (&[("ringbuf", "0.4.0", "MIT")][..], vec![]),
            (&[("http", "0.2.1", "MIT"), ("http", "1.1.0", "MIT")][..], vec!["is built in the versions 0.2 and 1"]),
            (&[("http", "0.2.1", "MIT"), ("http", "0.3.0", "MIT")][..], vec!["is built in the versions 0.2 and 0.3"]),
            (&[("syn", "2.0.1", "MIT"), ("syn", "3.0.0", "MIT")][..], vec![]),
            (&[("syn", "3.0.0", "MIT")][..], vec!["is no longer doubled"]),
        ] {
            let found: Vec<String> = check(&built(rows)).into_iter().map(|finding| finding.what).collect();
            assert_eq!(found, expect, "{rows:?}");
        }
    }
}
