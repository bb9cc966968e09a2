//! A store in which not all can be read.

use std::process::Command;

use bartizan_e2e::{Edge, curl, finish, wait};

/// Also what no plane uses: where people and their monitoring look, the edge says that it is there, which one it is, and
/// what can be done.
#[test]
fn what_only_the_api_reads_is_told() {
    let edge = Edge::start();
    let spoil = "import sqlite3, sys\n\
                 file = sqlite3.connect(sys.argv[1])\n\
                 (key,) = file.execute(\"SELECT key FROM object WHERE key LIKE 'edge/token/%'\").fetchone()\n\
                 file.execute(\"UPDATE object SET json = '{}' WHERE key = ?\", [key])\n\
                 file.commit()\n\
                 print(key)\n";
    let store = edge.data().join("store.sqlite");
    let key = finish(Command::new("python3").args(["-c", spoil]).arg(store)).ok().trim().to_owned();
    assert!(key.starts_with("edge/token/"), "{key}");

    let edge = edge.restart_after_kill();
    let base = edge.api_url().trim_end_matches("/client/v4").to_owned();
    let probe = |path: &str| curl::get(&[&format!("{base}{path}")]).text();
    wait::until_eq("a start that says so", &"degraded\ndocument: 1\n".to_owned(), || probe("/readyz"));
    assert!(probe("/metrics").contains("bartizan_problems{kind=\"document\"} 1\n"));
    let problem = edge.get("/bartizan/status")["problems"][0].clone();
    assert_eq!(problem["what"], key);
    assert!(problem["reason"].as_str().is_some_and(|reason| reason.contains("missing field")), "{problem}");
    assert!(problem["remedy"].as_str().is_some_and(|remedy| remedy.contains("restore a backup")), "{problem}");
}
