//! A store in which not all can be read.

use std::process::Command;

use bartizan_e2e::{Edge, curl, finish, wait};

/// Also what no plane uses: where people and their monitoring look, the edge says that it is there, which one it is, and
/// what can be done.
#[test]
fn what_only_the_api_reads_is_told() {
    let edge = Edge::start();
    let spoil = "file.execute(\"UPDATE object SET json = '{}' WHERE key = ?\", [key]); print(key)";
    let key = python(&edge, spoil, "user/%/user").trim().to_owned();
    assert!(key.ends_with("/user"), "{key}");

    let mut edge = edge.restart_after_kill();
    let probe = |edge: &Edge, path: &str| {
        curl::get(&[&format!("{}{path}", edge.api_url().trim_end_matches("/client/v4"))]).text()
    };
    wait::until_eq("a start that says so", &"degraded\ndocument: 1\n".to_owned(), || probe(&edge, "/readyz"));
    assert!(probe(&edge, "/metrics").contains("bartizan_problems{kind=\"document\"} 1\n"));
    let problem = edge.get("/bartizan/status")["problems"][0].clone();
    assert_eq!(problem["what"], key);
    assert!(problem["reason"].as_str().is_some_and(|reason| reason.contains("missing field")), "{problem}");
    let remedy = "`bartizan doctor --rebuild`, while the edge is stopped";
    assert!(problem["remedy"].as_str().is_some_and(|text| text.contains(remedy)), "{problem}");

    edge.program().terminate();
    edge.program().ended();
    finish(edge.command(["doctor", "--rebuild", "--data"]).arg(edge.data())).ok();
    assert!(python(&edge, "print(json)", &key).contains("\"key_sha256\""), "it comes back from the change log");
}

/// Runs a line over an object of the store, with its `key` and `json`.
fn python(edge: &Edge, line: &str, pattern: &str) -> String {
    let script = format!(
        "import sqlite3, sys\n\
         file = sqlite3.connect(sys.argv[1])\n\
         key, json = file.execute('SELECT key, json FROM object WHERE key LIKE ?', [sys.argv[2]]).fetchone()\n\
         {line}\n\
         file.commit()\n"
    );
    finish(Command::new("python3").args(["-c", &script]).arg(edge.data().join("store.sqlite")).arg(pattern)).ok()
}
