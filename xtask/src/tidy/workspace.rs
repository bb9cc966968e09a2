//! The workspace as `cargo metadata` tells it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// All our crates.
pub(super) struct Workspace {
    pub(super) root: PathBuf,
    pub(super) crates: Vec<Crate>,
}

/// One of our crates.
pub(super) struct Crate {
    /// Its folder below the root, as `base/names` or `xtask`: the folder is the layer.
    pub(super) folder: String,
    pub(super) needs: Vec<Need>,
    /// Names of its integration-test binaries, those excepted that only run when they are asked for.
    pub(super) tests: Vec<String>,
    pub(super) features: Vec<String>,
    pub(super) doctests: bool,
}

/// One line of a `[dependencies]` table.
#[derive(Clone)]
pub(super) struct Need {
    pub(super) name: String,
    /// The folder below the root if it is one of our crates.
    pub(super) folder: Option<String>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Normal,
    Build,
    Dev,
}

pub(super) fn read() -> Result<Workspace> {
    let json = process::read(process::cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    parse(&json)
}

fn parse(json: &str) -> Result<Workspace> {
    let metadata: Metadata = serde_json::from_str(json).context("cannot read what cargo metadata printed")?;
    let root = metadata.workspace_root;
    let below = |path: &Path| path.strip_prefix(&root).map(|p| p.to_string_lossy().into_owned()).ok();
    let crates = metadata
        .packages
        .iter()
        .filter_map(|package| {
            let libraries = package.targets.iter().filter(|target| target.kind.contains("lib"));
            Some(Crate {
                folder: below(package.manifest_path.parent()?)?,
                needs: package
                    .dependencies
                    .iter()
                    .map(|dependency| Need {
                        name: dependency.name.clone(),
                        folder: dependency.path.as_deref().and_then(below),
                        kind: match dependency.kind.as_deref() {
                            Some("dev") => Kind::Dev,
                            Some("build") => Kind::Build,
                            _ => Kind::Normal,
                        },
                    })
                    .collect(),
                tests: package
                    .targets
                    .iter()
                    .filter(|target| target.kind.contains("test") && target.test)
                    .map(|target| target.name.clone())
                    .collect(),
                features: package.features.keys().cloned().collect(),
                doctests: libraries.into_iter().any(|target| target.doctest),
            })
        })
        .collect();
    Ok(Workspace { root, crates })
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
    features: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: BTreeSet<String>,
    doctest: bool,
    /// Whether `cargo test` runs it without being asked.
    test: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_folders_kinds_and_targets() {
        let workspace = parse(
            r#"{"workspace_root": "/w", "packages": [{
                "name": "ours", "manifest_path": "/w/base/ours/Cargo.toml", "features": {"extra": []},
                "dependencies": [
                    {"name": "names", "kind": null, "path": "/w/base/names"},
                    {"name": "serde", "kind": "dev", "path": null}],
                "targets": [
                    {"name": "ours", "kind": ["lib"], "doctest": false, "test": true},
                    {"name": "it", "kind": ["test"], "doctest": false, "test": true},
                    {"name": "on-demand", "kind": ["test"], "doctest": false, "test": false}]}]}"#,
        )
        .expect("valid metadata");
        let ours = &workspace.crates[0];
        assert_eq!(ours.folder, "base/ours");
        assert_eq!(ours.needs[0].folder.as_deref(), Some("base/names"));
        assert_eq!((ours.needs[1].folder.clone(), ours.needs[1].kind), (None, Kind::Dev));
        assert_eq!((&ours.tests[..], &ours.features[..]), (&["it".to_owned()][..], &["extra".to_owned()][..]));
        assert!(!ours.doctests);
    }
}
