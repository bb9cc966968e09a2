//! What is under way when an edge is told to stop.
//!
//! Written is not delivered: slow clients get the rest before the process ends, and its network with it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use bartizan_e2e::{binary, finish};

/// Five clients of each way, of which each has to get all.
#[track_caller]
fn all_is_delivered<const N: usize>(ways: [&str; N]) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).expect("a folder of the test");
    let mut command = Command::new("unshare");
    command.args(["--net", "python3", "-c", include_str!("drain.py")]);
    let seen = finish(command.arg(binary()).arg(folder.path()).args(ways)).ok();
    // One file at a time is put into a zone.
    let whole = ways.map(|way| format!("\"{way}\": {}", if way == "upload" { 1 } else { 5 }));
    assert_eq!(seen.trim(), format!(r#"{{"status": 0, "whole": {{{}}}}}"#, whole.join(", ")));
}

#[test]
fn slow_downloads_are_whole_after_a_stop() {
    all_is_delivered(["http1", "tls", "http2", "tcp", "tcp-tls"]);
}

#[test]
fn websockets_are_whole_after_a_stop() {
    all_is_delivered(["websocket"]);
}

#[test]
fn calls_of_the_api_are_answered_after_a_stop() {
    all_is_delivered(["export", "upload"]);
}

#[test]
fn answers_of_dns_arrive_after_a_stop() {
    all_is_delivered(["dns", "dns-tls"]);
}
