//! A store in which not all can be read.

use std::process::Command;

use bartizan_e2e::{Edge, curl, finish, wait};
use serde_json::json;

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
    let spoilt = "it is not what was committed: the disk, or another program, changed it";
    assert_eq!(problem["reason"], spoilt);
    let remedy = "`bartizan doctor --rebuild`, while the edge is stopped";
    assert!(problem["remedy"].as_str().is_some_and(|text| text.contains(remedy)), "{problem}");

    edge.program().terminate();
    edge.program().ended();
    finish(edge.command(["doctor", "--rebuild", "--data"]).arg(edge.data())).ok();
    assert!(python(&edge, "print(json)", &key).contains("\"key_sha256\""), "it comes back from the change log");
}

/// What is there is served; who would change something is told why not, and not to ask again at once.
#[test]
fn a_full_disk_is_told_as_one() {
    let small = r#"mkdir "$HOME/data" && mount -t tmpfs -o size=8m,mode=755 none "$HOME/data" && exec "$@""#;
    let edge = Edge::start_in_namespace(small, &[]);
    let tunnel = edge.post(&format!("/accounts/{}/cfd_tunnel", edge.account()), &json!({"name": "large"}));
    let id = tunnel["id"].as_str().expect("an id");
    let path = format!("/accounts/{}/cfd_tunnel/{id}/configurations", edge.account());
    let put = |number: usize| {
        let hosts = (0..150).map(|rule| format!("{number}-{rule}.{}.example", "x".repeat(60)));
        let rules =
            hosts.map(|host| json!({"hostname": host, "path": "y".repeat(200), "service": "http://localhost:80"}));
        let all: Vec<_> = rules.chain([json!({"service": "http_status:404"})]).collect();
        edge.ask("PUT", &path, Some(&json!({"config": {"ingress": all}})))
    };
    let refused = (0..1_000).map(put).find(|answer| answer.status != 200).expect("the disk is full some time");
    assert_eq!(refused.error(), "507 10507");
    assert_eq!(edge.get(&path)["tunnel_id"], id);
    assert!(edge.dig(&[edge.domain(), "SOA"]).answers()[0].starts_with("SOA "));
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

/// Everything goes on, but whoever trusted the old one does not: nobody must have to find out by that.
#[test]
fn a_ca_of_which_nothing_is_left_is_told() {
    let edge = Edge::start();
    // A running edge has them in memory.
    for name in ["ca.key.sealed", "ca.pem"] {
        std::fs::remove_file(edge.data().join(name)).expect("a file of the edge");
    }
    let data = edge.data().to_string_lossy().into_owned();
    let seen = finish(&mut edge.command(["doctor", "--data", &data]));
    assert!(seen.out.contains("ca.key.sealed and ca.pem are gone"), "{}\n{}", seen.out, seen.err);
    let edge = edge.restart_after_kill();
    let problems = edge.get("/bartizan/status")["problems"].clone();
    let told = problems.as_array().expect("a list").iter().find(|problem| problem["kind"] == "authority");
    let told = told.unwrap_or_else(|| panic!("nothing of it in {problems}"));
    assert!(told["reason"].as_str().is_some_and(|reason| reason.contains("another one was made")), "{told}");
    let ready = curl::get(&[&edge.api_url().replace("/client/v4", "/readyz")]).text();
    assert!(ready.contains("degraded") && ready.contains("authority: 1"), "{ready}");
    // Until somebody says that they know.
    let is_told = |edge: &Edge| {
        let problems = edge.get("/bartizan/status")["problems"].clone();
        problems.as_array().expect("a list").iter().any(|problem| problem["kind"] == "authority")
    };
    let edge = edge.restart_after_kill();
    assert!(is_told(&edge));
    let data = edge.data().to_string_lossy().into_owned();
    let seen = finish(&mut edge.command(["doctor", "--data", &data]));
    assert!(seen.out.contains("took the place of one that was lost"), "{}\n{}", seen.out, seen.err);
    std::fs::remove_file(edge.data().join("ca.lost")).expect("the note of it");
    assert!(!is_told(&edge.restart_after_kill()));
}
