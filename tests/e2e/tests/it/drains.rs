//! What is under way when an edge is told to stop.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use bartizan_e2e::{binary, finish};

/// Written is not delivered: slow clients get the rest before the process ends, and its network with it.
#[test]
fn slow_downloads_are_whole_after_a_stop() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).expect("a folder of the test");
    let mut command = Command::new("unshare");
    command.args(["--net", "python3", "-c", include_str!("drain.py")]);
    let seen = finish(command.arg(binary()).arg(folder.path())).ok();
    let whole = r#"{"http1": 5, "tls": 5, "http2": 5, "tcp": 5}"#;
    assert_eq!(seen.trim(), format!(r#"{{"status": 0, "whole": {whole}}}"#));
}
