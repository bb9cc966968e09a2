//! The end-to-end tests of a stock connector.
//!
//! A stock connector looks up names of its maker's network and reports errors there, whatever its flags say. So these
//! tests run in a network namespace that has nothing but loopback. That needs root or user namespaces, and a connector
//! that somebody brings along: a command of its own, no part of `cargo xtask test`.

use std::path::Path;

use anyhow::{Context, Result};

use crate::debian::{self, Missing};
use crate::process;

pub(crate) fn run(connector: &Path) -> Result<()> {
    let connector = connector.canonicalize().with_context(|| format!("no connector at {}", connector.display()))?;
    debian::need(debian::TESTS, Missing::Report)?;
    debian::need(debian::NAMESPACE, Missing::Report)?;
    process::run(process::cargo().args(["build", "--package", "bartizan"]))?;
    // Built outside, since cargo may want the registry; run inside.
    process::run(process::cargo().args(["test", "--package", "bartizan-e2e", "--test", "stock", "--no-run"]))?;
    let inside = "ip link set lo up && exec \"$@\"";
    // Root needs no user namespace for it, and in one the edge could not settle for a user of its own.
    let user: &[&str] = if debian::is_root()? { &[] } else { &["--map-root-user"] };
    process::run(
        process::command("unshare")
            .arg("--net")
            .args(user)
            .args(["sh", "-c", inside, "sh"])
            .arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["test", "--offline", "--package", "bartizan-e2e", "--test", "stock"])
            .env("BARTIZAN_STOCK_CONNECTOR", connector),
    )
}
