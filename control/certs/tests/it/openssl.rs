//! The `openssl` program (Debian package `openssl`).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bartizan_names::Timestamp;

pub(crate) struct Done(Output);

impl Done {
    /// What it printed; it must have succeeded.
    pub(crate) fn text(self) -> String {
        assert!(self.0.status.success(), "{}", String::from_utf8_lossy(&self.0.stderr));
        String::from_utf8(self.0.stdout).unwrap()
    }
}

pub(crate) fn openssl(arguments: &[&str]) -> Done {
    stdin(arguments, b"")
}

pub(crate) fn stdin(arguments: &[&str], input: &[u8]) -> Done {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("these tests need the Debian package openssl");
    // Inputs are a few kB and fit the pipe, so that writing before reading cannot lock up.
    child.stdin.take().unwrap().write_all(input).unwrap();
    Done(child.wait_with_output().unwrap())
}

/// Whether a client that trusts `ca` alone would trust `chain` at a time, for what the arguments ask.
pub(crate) fn verify(ca: &Path, chain: &str, at: Timestamp, asked: &[&str]) -> bool {
    let (ca, at) = (ca.to_str().unwrap(), at.unix_seconds().to_string());
    let base = ["verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", ca, "-attime", &at];
    stdin(&[&base, asked].concat(), chain.as_bytes()).0.status.success()
}
