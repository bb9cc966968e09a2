//! Habits of our `Cargo.toml` files.

use anyhow::{Context, Result};

use super::Finding;
use super::workspace::{Crate, Workspace};

/// Crates whose `[lints]` do not forbid `unsafe`: what they do instead is in `LINTS_WITH_UNSAFE`.
pub(super) const UNSAFE_ALLOWED: &[&str] = &["base/net", "planes/bpf"];

/// A `[workspace.dependencies]` line needs no reason if everybody knows what these are.
const OBVIOUS: &[&str] = &[
    "axum",
    "clap",
    "futures-util",
    "httparse",
    "serde_json",
    "tempfile",
    "tokio",
    "tokio-rustls",
    "toml",
    "tower",
    "tracing",
    "tracing-subscriber",
];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = root(&read(workspace, "Cargo.toml")?);
    for ours in &workspace.crates {
        let path = format!("{}/Cargo.toml", ours.folder);
        findings.extend(member(ours, &path, &read(workspace, &path)?));
    }
    Ok(findings)
}

fn read(workspace: &Workspace, path: &str) -> Result<String> {
    std::fs::read_to_string(workspace.root.join(path)).with_context(|| format!("cannot read {path}"))
}

/// Every third-party dependency has a reason in its line.
fn root(manifest: &str) -> Vec<Finding> {
    lines_of_tables(manifest, |table| table == "workspace.dependencies")
        .filter(|line| !line.contains("path = ") && !line.contains('#'))
        .filter(|line| !OBVIOUS.contains(&key(line)))
        .map(|line| {
            Finding::new(
                "Cargo.toml",
                format!("no reason beside the dependency {}", key(line)),
                "end its line with `# what we need it for`",
            )
        })
        .collect()
}

fn member(ours: &Crate, path: &str, manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |what: String, mend: &str| findings.push(Finding::new(path, what, mend));
    if !lints(&ours.folder, manifest) {
        match UNSAFE_ALLOWED.contains(&ours.folder.as_str()) {
            true => find(
                "does not deny undocumented unsafe blocks".to_owned(),
                "[lints.clippy] undocumented_unsafe_blocks = \"deny\"",
            ),
            false => {
                find("does not take the workspace's lints, which forbid unsafe".to_owned(), "[lints] workspace = true")
            }
        }
    }
    let is_inherited = |line: &str| line.replace(' ', "").contains("workspace=true");
    // Tests may want more of a library than the product, which is not to have it for that.
    let for_tests = lines_of_tables(manifest, |table| table.ends_with("dev-dependencies"));
    let shipped = |table: &str| table.ends_with("dependencies") && !table.ends_with("dev-dependencies");
    let with_features = lines_of_tables(manifest, shipped).filter(|line| line.contains("features"));
    let own = for_tests.chain(lines_of_tables(manifest, shipped)).filter(|line| !is_inherited(line));
    for line in own.chain(with_features.filter(|line| is_inherited(line))) {
        find(
            format!("the dependency {} has a version or features of its own", key(line)),
            "write `NAME.workspace = true`; versions and features of the product are set in the root Cargo.toml only",
        );
    }
    if let Some(feature) = ours.features.first() {
        find(
            format!("has the cargo feature {feature}"),
            "configuration changes behaviour, features do not: remove it, or make it a crate",
        );
    }
    if ours.doctests {
        find("runs doctests, one binary to link for each".to_owned(), "[lib] doctest = false");
    }
    match &ours.tests[..] {
        [] => {}
        [one] if one == "it" => {}
        _ => find(
            format!("has the integration-test binaries {}", ours.tests.join(", ")),
            "one binary: tests/it/main.rs, with a module for each topic",
        ),
    }
    findings
}

/// Whether the crate's lints are what its folder asks for.
fn lints(folder: &str, manifest: &str) -> bool {
    let has = |table: &str, setting: &str| {
        lines_of_tables(manifest, |name| name == table).any(|line| line.replace(' ', "").starts_with(setting))
    };
    has("lints", "workspace=true")
        || UNSAFE_ALLOWED.contains(&folder) && has("lints.clippy", "undocumented_unsafe_blocks=\"deny\"")
}

/// The lines that are settings, in all tables that `wanted` picks by name.
fn lines_of_tables(manifest: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().map(str::trim).filter(move |line| {
        if let Some(table) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = wanted(table);
            return false;
        }
        inside && line.contains('=') && !line.starts_with('#')
    })
}

fn key(line: &str) -> &str {
    line.split(['=', '.', ' ']).next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(folder: &str) -> Crate {
        Crate { folder: folder.to_owned(), needs: Vec::new(), tests: Vec::new(), features: Vec::new(), doctests: false }
    }

    #[test]
    fn members() {
        let good = "[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n";
        let net = "[lints.clippy]\nundocumented_unsafe_blocks = \"deny\"\n";
        for (crate_, manifest, expect) in [
            (ours("base/wire"), good, vec![]),
            (ours("base/net"), net, vec![]),
            (ours("base/wire"), net, vec!["does not take the workspace's lints, which forbid unsafe"]),
            (ours("base/net"), "", vec!["does not deny undocumented unsafe blocks"]),
            (
                ours("base/wire"),
                "[lints]\nworkspace = true\n[dev-dependencies]\nserde = \"1\"\n",
                vec!["the dependency serde has a version or features of its own"],
            ),
            (
                ours("base/wire"),
                "[lints]\nworkspace = true\n[dependencies]\ntokio = { workspace = true, features = [\"rt\"] }\n",
                vec!["the dependency tokio has a version or features of its own"],
            ),
            (
                ours("base/wire"),
                "[lints]\nworkspace = true\n[dev-dependencies]\ntokio = { workspace = true, features = [\"rt\"] }\n",
                vec![],
            ),
            (
                Crate { features: vec!["fast".to_owned()], ..ours("base/wire") },
                good,
                vec!["has the cargo feature fast"],
            ),
            (Crate { doctests: true, ..ours("base/wire") }, good, vec!["runs doctests, one binary to link for each"]),
            (Crate { tests: vec!["it".to_owned()], ..ours("base/wire") }, good, vec![]),
            (
                Crate { tests: vec!["a".to_owned(), "b".to_owned()], ..ours("base/wire") },
                good,
                vec!["has the integration-test binaries a, b"],
            ),
        ] {
            let found: Vec<String> = member(&crate_, "Cargo.toml", manifest).into_iter().map(|f| f.what).collect();
            assert_eq!(found, expect, "{manifest}");
        }
    }

    #[test]
    fn reasons() {
        let manifest = "[workspace.dependencies]\nours = { path = \"base/ours\" }\nserde_json = \"1\"\n\
                        quinn = \"0.11\" # QUIC\nleft-pad = \"1\"\n[profile.dev]\ndebug = 1\n";
        let found: Vec<String> = root(manifest).into_iter().map(|finding| finding.what).collect();
        assert_eq!(found, ["no reason beside the dependency left-pad"]);
    }
}
