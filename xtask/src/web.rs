//! `cargo xtask web`: the dashboard, from Svelte and TypeScript to the files that are committed in `web/dist` and built into the
//! binary.
//!
//! They are committed so that nobody needs Node to build Bartizan. `check`, a step of `test`, looks at the sources (types,
//! warnings, tests of what the pages know), builds them again and compares: the same sources give the same bytes with the pinned
//! Node and the pinned packages of `web/package-lock.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::Missing;
use crate::{clients, process};

/// Puts what the sources make into `web/dist`.
pub(crate) fn build() -> Result<()> {
    let node = Node::find(Missing::Report)?;
    node.install()?;
    node.build(&folder().join("dist"))
}

pub(crate) fn check() -> Result<()> {
    check_with(Missing::Report)
}

pub(crate) fn check_with(missing: Missing) -> Result<()> {
    let node = Node::find(missing)?;
    node.install()?;
    for script in ["check", "test"] {
        process::run(node.npm().args(["run", "--silent", script]))?;
    }
    let rebuilt = process::target().join("web");
    node.build(&rebuilt)?;
    let (is, wanted) = (files(&folder().join("dist"))?, files(&rebuilt)?);
    let other: Vec<&str> =
        wanted.keys().chain(is.keys()).filter(|path| is.get(*path) != wanted.get(*path)).map(String::as_str).collect();
    if !other.is_empty() {
        bail!("web/dist is not what web/src makes ({}): cargo xtask web build, and commit it", other.join(", "));
    }
    eprintln!("web/dist is what web/src makes");
    Ok(())
}

fn folder() -> PathBuf {
    process::root().join("web")
}

/// The Node.js of the tests, by the folder of its programs.
struct Node(PathBuf);

impl Node {
    fn find(missing: Missing) -> Result<Node> {
        let python = clients::python(missing)?;
        let programs = python.parent().context("a Python without a folder")?;
        Ok(Node(programs.to_owned()))
    }

    fn npm(&self) -> Command {
        let mut npm = process::command(self.0.join("npm"));
        // Its scripts look for `node` on the path.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.0.clone()).chain(std::env::split_paths(&path));
        // No folder of ours has a colon in its name.
        npm.current_dir(folder()).env("PATH", std::env::join_paths(all).unwrap_or(path));
        npm
    }

    /// The packages that the lock file names, if they are not there.
    fn install(&self) -> Result<()> {
        let wanted = std::fs::read(folder().join("package-lock.json")).context("cannot read web/package-lock.json")?;
        let installed = folder().join("node_modules/.installed-by-xtask");
        if std::fs::read(&installed).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        process::run(self.npm().args(["ci", "--silent", "--no-audit", "--no-fund"]))?;
        std::fs::write(&installed, &wanted).with_context(|| format!("cannot write {}", installed.display()))
    }

    fn build(&self, to: &Path) -> Result<()> {
        process::run(self.npm().args(["run", "--silent", "build", "--", "--emptyOutDir", "--outDir"]).arg(to))
    }
}

/// All files below a folder with what is in them.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = std::fs::read_dir(&next).with_context(|| format!("cannot list {}", next.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            found.insert(name, std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(found)
}
