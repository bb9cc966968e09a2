//! Users, accounts and sessions, as people meet them.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use bartizan_e2e::{Edge, bartizan, finish};
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
    finish(&mut edge.command(["account", "member", "remove", "bob@example.com", "--account", "Customer", "-y"])).ok();
    let deleted = finish(&mut edge.command(["account", "delete", "Customer", "--yes"])).ok();
    assert!(deleted.contains("is deleted"), "{deleted}");
    finish(&mut edge.command(["user", "delete", "bob@example.com", "--yes"])).ok();
    let error = finish(&mut edge.command(["user", "passwd", "bob@example.com"])).failed_with(3);
    assert!(error.contains("no user bob@example.com here"), "{error}");
}

/// With a password at the command line: what is stored is a session, which `logout` ends.
#[test]
fn a_person_logs_in_at_the_command_line() {
    let edge = Edge::start();
    let file = edge.folder().join("password");
    std::fs::write(&file, "correct horse battery\n").expect("a file");
    finish(edge.command(["user", "create", "ann@example.com", "--role", "DNS", "--password-file"]).arg(&file)).ok();
    // Another machine, which knows nothing of the edge.
    let home = tempfile::tempdir().expect("a folder");
    let run = |words: &[&str]| finish(bartizan(home.path()).args(words));
    let url = edge.api_url().strip_suffix("/client/v4").expect("the API's base");
    let path = file.to_string_lossy();
    let log_in = |path: &str| run(&["login", url, "--user", "ann@example.com", "--password-file", path]);
    run(&["zone", "list"]).failed_with(3);
    let wrong = home.path().join("wrong");
    std::fs::write(&wrong, "incorrect horse battery\n").expect("a file");
    assert!(log_in(&wrong.to_string_lossy()).failed_with(5).contains("check the address and the password"));
    run(&["zone", "list"]).failed_with(3);
    assert!(log_in(&path).ok().starts_with("stored in "));
    // Nothing of the password is kept, and nobody else reads what is.
    let stored = home.path().join(".config/bartizan/credential.json");
    let kept = std::fs::read_to_string(&stored).expect("it is stored");
    assert!(kept.contains("session") && !kept.contains("horse") && !kept.contains("token"), "{kept}");
    assert_eq!(std::fs::metadata(&stored).expect("it is stored").permissions().mode() & 0o777, 0o600);
    let www = format!("www.{}", edge.domain());
    run(&["record", "create", &www, "A", "192.0.2.1"]).ok();
    let by_ann = finish(&mut edge.command(["history", "--by", "ann@example.com"])).ok();
    assert!(by_ann.contains(&format!("add record {www}")), "{by_ann}");
    run(&["tunnel", "create", "more"]).failed_with(5);
    // It is for this edge, and told to no other.
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let elsewhere = format!("http://{}/client/v4", other.local_addr().expect("bound"));
    assert!(run(&["zone", "list", "--api", &elsewhere]).failed_with(2).contains("no token is known"));
    let cookie = serde_json::from_str::<serde_json::Value>(&kept).expect("a document")["session"].clone();
    let cookie = format!("cookie: {}", cookie.as_str().expect("a cookie"));
    assert!(curl(&edge, &["-H", &cookie], "/user").starts_with("HTTP/1.1 200"));
    assert!(run(&["logout"]).ok().contains("has ended"));
    assert!(curl(&edge, &["-H", &cookie], "/user").starts_with("HTTP/1.1 403"), "the session, not the file alone");
    assert!(!stored.exists());
    run(&["zone", "list"]).failed_with(3);
    run(&["logout"]).failed_with(3);

    // One that the edge has ended says what to do; nobody is asked where there is no terminal.
    let in_clear_text = "http://192.0.2.1:8787";
    let refused = run(&["login", in_clear_text, "--user", "ann@example.com", "--password-file", &path]).failed_with(2);
    assert!(refused.contains("nothing was sent") && refused.contains("https://192.0.2.1:8787"), "{refused}");
    log_in(&path).ok();
    finish(edge.command(["user", "passwd", "ann@example.com", "--password-file"]).arg(&wrong)).ok();
    assert!(run(&["zone", "list"]).failed_with(5).contains("`bartizan login --user EMAIL`"));
    assert!(run(&["logout"]).ok().contains("has ended"));
    let mut unasked = std::process::Command::new("setsid");
    let login = bartizan(home.path());
    unasked.arg(login.get_program()).args(["login", url, "--user", "ann@example.com"]).env("HOME", home.path());
    assert!(finish(&mut unasked).failed_with(2).contains("--password-file"));

    // A token that is forgotten lets in whoever has it.
    let token = home.path().join("token");
    std::fs::write(&token, edge.token()).expect("a file");
    run(&["login", url, "--api-token-file", &token.to_string_lossy()]).ok();
    run(&["zone", "list"]).ok();
    // Nor is it told to another edge, and as little the token of an edge on this machine.
    let refused = run(&["zone", "list", "--api", &elsewhere]).failed_with(2);
    assert!(refused.contains("no token is known") && refused.contains(edge.api_url()), "{refused}");
    let data = edge.data().to_string_lossy().into_owned();
    let refused = run(&["login", &elsewhere, "--data", &data]).failed_with(2);
    assert!(refused.contains("no token is known") && refused.contains(edge.api_url()), "{refused}");
    assert!(run(&["logout"]).ok().contains("`bartizan token delete`"));
    finish(&mut edge.command(["zone", "list"])).ok();
}
