//! Users, accounts and sessions, as people meet them.

use bartizan_e2e::{Edge, finish};
use serde_json::json;

/// What `curl` shows of an answer, with its head.
fn curl(edge: &Edge, words: &[&str], path: &str) -> String {
    let mut command = std::process::Command::new("curl");
    command
        .args(["-s", "-i", "--max-time", "30", "-H", "content-type: application/json"])
        .args(words)
        .arg(format!("{}{path}", edge.api_url()));
    finish(&mut command).ok()
}

#[test]
fn a_person_gets_in_and_does_what_they_may() {
    let edge = Edge::start();
    let file = edge.folder().join("password");
    std::fs::write(&file, "correct horse battery\n").expect("a file");
    let mut create = edge.command(["user", "create", "Ann@example.com", "--role", "DNS", "--password-file"]);
    let made = finish(create.arg(&file)).ok();
    assert_eq!(made.trim(), "ann@example.com may log in, as DNS");
    let made_up = finish(&mut edge.command(["user", "create", "bob@example.com"]));
    assert!(made_up.err.contains("has no role, and may do nothing here yet"), "{}", made_up.err);
    let made_up = made_up.ok();
    assert_eq!(made_up.trim().len(), 23, "the password alone is the result: {made_up}");
    let list = finish(&mut edge.command(["user", "list"])).ok();
    assert!(list.contains("ann@example.com") && list.contains("bob@example.com"), "{list}");
    let taken = finish(&mut edge.command(["user", "create", "bob@example.com"])).failed_with(4);
    assert!(taken.contains("There is a user with this e-mail address"), "{taken}");

    // Half of what was asked for would be in the way of asking again.
    for (words, code) in [("--role Banana", 2), ("--role DNS --account Nosuch", 3)] {
        finish(edge.command(["user", "create", "carol@example.com"]).args(words.split(' '))).failed_with(code);
    }
    let list = finish(&mut edge.command(["user", "list"])).ok();
    assert!(!list.contains("carol"), "{list}");

    // As a page would.
    let origin = edge.api_url().strip_suffix("/client/v4").expect("the API's base").to_owned();
    let origin = format!("origin: {origin}");
    let body = json!({"email": "ann@example.com", "password": "correct horse battery"}).to_string();
    let login = curl(&edge, &["-H", &origin, "-d", &body], "/bartizan/sessions");
    let cookie = login.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap_or_else(|| panic!("{login}"));
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = format!("cookie: {}", cookie.split(';').next().unwrap_or_default());
    let zones = curl(&edge, &["-H", &cookie], "/zones");
    assert!(zones.starts_with("HTTP/1.1 200") && zones.contains(edge.domain()), "{zones}");
    let records = format!("/zones/{}/dns_records", edge.zone());
    let record = r#"{"type":"A","name":"ann","content":"192.0.2.1"}"#;
    let foreign = curl(&edge, &["-H", &cookie, "-H", "origin: https://evil.example", "-d", record], &records);
    assert!(foreign.contains(r#""code":10403"#), "{foreign}");
    let own = curl(&edge, &["-H", &cookie, "-H", &origin, "-d", record], &records);
    assert!(own.starts_with("HTTP/1.1 200"), "{own}");
    let settings = curl(&edge, &["-H", &cookie, "-H", &origin, "-d", r#"{"name":"ann.example"}"#], "/zones");
    assert!(settings.contains(r#""code":9109"#), "{settings}");

    // What they do is seen by those who look after them, and their token can be ended.
    let policy =
        json!({"permission_groups": [{"name": "DNS Write"}], "resources": {"com.cloudflare.api.account.zone.*": "*"}});
    let token = json!({"name": "quiet", "policies": [policy]}).to_string();
    let made = curl(&edge, &["-H", &cookie, "-H", &origin, "-d", &token], "/user/tokens");
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    let run = |line: &str| finish(&mut edge.command(line.split(' '))).ok();
    let by_ann = run("history --by ann@example.com");
    assert!(by_ann.contains("add token quiet") && by_ann.contains("add record ann."), "{by_ann}");
    assert!(run("history bob@example.com").contains("add user bob@example.com"));
    assert!(!run("token list").contains("quiet") && run("token list --user ann@example.com").contains("quiet"));
    run("token delete quiet --user ann@example.com --yes");
    finish(&mut edge.command(["token", "show", "quiet", "--user", "ann@example.com"])).failed_with(3);

    // A session outlives a crash.
    let edge = edge.restart_after_kill();
    let seen = curl(&edge, &["-H", &cookie], "/user");
    assert!(seen.contains(r#""email":"ann@example.com""#), "{seen}");
    finish(&mut edge.command(["user", "disable", "ann@example.com"])).ok();
    let gone = curl(&edge, &["-H", &cookie], "/user");
    assert!(gone.contains(r#""code":9109"#), "{gone}");

    // Another account, with a member of its own.
    finish(&mut edge.command(["account", "create", "Customer"])).ok();
    let words = ["account", "member", "add", "bob@example.com", "--role", "Administrator", "--account", "Customer"];
    let added = finish(&mut edge.command(words)).ok();
    assert_eq!(added.trim(), "bob@example.com is a member: Administrator");
    let members = finish(&mut edge.command(["account", "member", "list", "--account", "Customer"])).ok();
    assert!(members.contains("bob@example.com") && !members.contains("ann@example.com"), "{members}");
    let several = finish(&mut edge.command(["account", "member", "list"])).failed_with(2);
    assert!(several.contains("--account ID"), "{several}");
    finish(&mut edge.command(["account", "member", "remove", "bob@example.com", "--account", "Customer"])).ok();
    let deleted = finish(&mut edge.command(["account", "delete", "Customer", "--yes"])).ok();
    assert!(deleted.contains("is deleted"), "{deleted}");
    finish(&mut edge.command(["user", "delete", "bob@example.com", "--yes"])).ok();
    let error = finish(&mut edge.command(["user", "passwd", "bob@example.com"])).failed_with(3);
    assert!(error.contains("no user bob@example.com here"), "{error}");
}
