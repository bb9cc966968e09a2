//! A line for each request, as the edge writes them for people and programs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Edge, wait};
use serde_json::Value;
use tempfile::TempDir;

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// One that the edge may write to, whoever it becomes.
fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("it is ours");
    folder
}

#[test]
fn a_file_of_objects() {
    let folder = open_folder();
    let path = folder.path().join("access.log");
    let mut edge = Edge::start_with(&["--access-log", &path.display().to_string()]);
    let origin = Origin::echo();
    let host = edge.proxied("seen", "A", "127.0.0.1", origin.port());
    let page = edge.https_get(&host, "/a?token=s3cret", &["--http2", "--data-binary", "abc"]);
    assert_eq!(page.status, 200);
    let nobody = format!("nobody.{host}");
    assert_eq!(edge.http_get(&nobody, "/b", &[]).status, 404);
    let seen = wait::until("both are written", || Some(lines(&path)).filter(|lines| lines.len() >= 2));
    assert!(!seen.concat().contains("s3cret"), "{seen:?}");
    let seen: Vec<Value> = seen.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of = |host: &str| seen.iter().find(|line| line["host"] == host).expect("it was asked for");
    let first = of(&host);
    for (member, expect) in [
        ("client", "127.0.0.1"),
        ("zone", edge.zone()),
        ("scheme", "https"),
        ("version", "HTTP/2"),
        ("method", "POST"),
        ("path", "/a"),
        ("ended", "answered"),
        ("stage", "origin"),
        ("ray", page.header("cf-ray")),
    ] {
        assert_eq!(first[member], expect, "{first}");
    }
    assert_eq!(
        (&first["status"], &first["received"], &first["sent"]),
        (&200.into(), &3.into(), &page.body.len().into())
    );
    assert_eq!((&of(&nobody)["stage"], &of(&nobody)["problem"]), (&"host".into(), &"unknown_host".into()));
    // What was asked for just before a stop is written too.
    assert_eq!(edge.http_get(&host, "/last", &[]).status, 200);
    edge.program().terminate();
    assert!(edge.program().ended().success());
    assert!(lines(&path).last().is_some_and(|line| line.contains("\"path\":\"/last\"")), "{:?}", lines(&path));
}

/// The form that most programs read, exchanged when it is full.
#[test]
fn files_of_words() {
    let folder = open_folder();
    let path = folder.path().join("access.log");
    let words = path.display().to_string();
    let words = [
        "--access-log",
        &words,
        "--access-log-format",
        "common",
        "--access-log-size",
        "64K",
        "--access-log-keep",
        "2",
        "--access-log-query",
        // Each has lines of its own to hand over, and they are in order among themselves.
        "--workers",
        "1",
    ];
    let edge = Edge::start_with(&words);
    let origin = Origin::nginx("127.0.0.1", "location / { return 200 x; }");
    let host = edge.proxied("many", "A", "127.0.0.1", origin.port());
    // Some 4 KB each.
    let query = "q".repeat(4_000);
    for number in 0..80 {
        assert_eq!(edge.http_get(&host, &format!("/{number}?{query}"), &[]).status, 200);
    }
    wait::until("the last one is written", || lines(&path).last().filter(|line| line.contains("GET /79?q")).cloned());
    let all: Vec<String> =
        [".2", ".1", ""].iter().flat_map(|end| lines(Path::new(&format!("{}{end}", path.display())))).collect();
    assert!(!Path::new(&format!("{}.3", path.display())).exists());
    let numbers: Vec<usize> = all
        .iter()
        .map(|line| {
            let rest = line
                .strip_prefix("127.0.0.1 - - [")
                .expect("the visitor")
                .split_once("] \"GET /")
                .expect("what was asked")
                .1;
            assert!(rest.ends_with("q HTTP/1.1\" 200 1"), "{rest}");
            rest.split('?').next().and_then(|number| number.parse().ok()).expect("a number")
        })
        .collect();
    assert!(numbers.len() > 20 && numbers.len() < 60, "{numbers:?}");
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "none is lost, and none is there twice: {numbers:?}"
    );
}

#[test]
fn lines_on_stdout() {
    let mut edge = Edge::start_with(&["--access-log", "-"]);
    let host = format!("nobody.{}", edge.domain());
    assert_eq!(edge.http_get(&host, "/on-stdout", &[]).status, 404);
    let line = edge.program().line("a line of the log", |line| line.contains("/on-stdout").then(|| line.to_owned()));
    let line: Value = serde_json::from_str(&line).expect("an object");
    assert_eq!((&line["status"], &line["host"]), (&404.into(), &host.into()));
}

/// A disk that is not there takes the log alone, and is told of; it may come later. Words that make no sense are none.
#[test]
fn a_log_that_cannot_be_kept() {
    let folder = open_folder();
    let below = folder.path().join("later");
    let path = below.join("access.log");
    let edge = Edge::start_with(&["--access-log", &path.display().to_string()]);
    let status = || bartizan_e2e::finish(&mut edge.command(["status"])).out;
    let told = status();
    assert!(told.contains("the access log") && told.contains("No such file"), "{told}");
    assert_eq!(edge.http_get(&format!("nobody.{}", edge.domain()), "/", &[]).status, 404);
    std::fs::create_dir(&below).expect("room");
    std::fs::set_permissions(&below, std::fs::Permissions::from_mode(0o777)).expect("a folder of ours");
    wait::until("the log is written", || (!status().contains("the access log")).then_some(()));

    let folder = tempfile::tempdir().expect("a folder");
    for (words, code, expect) in [
        (&["--access-log", "x", "--access-log-size", "1K"][..], 2, "64K"),
        (&["--access-log-keep", "3"], 2, "--access-log"),
    ] {
        let told = bartizan_e2e::finish(Edge::up(folder.path()).args(words)).failed_with(code);
        assert!(told.contains(expect), "{words:?}: {told}");
    }
}
