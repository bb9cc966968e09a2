//! The words of `token create --can`: a token that was made with a command's word runs that command whole, and what it may
//! not do is told as that.

use bartizan_e2e::{Edge, Finished, finish};

/// Runs a client command with another token than the administrator's.
fn run(edge: &Edge, token: &str, line: &str) -> Finished {
    finish(edge.command(line.split(' ')).env("BARTIZAN_API_TOKEN", token))
}

#[track_caller]
fn make(edge: &Edge, words: &str) -> String {
    finish(&mut edge.command(format!("token create {words}").split(' '))).ok().trim().to_owned()
}

#[test]
fn a_word_is_enough_for_its_command() {
    let edge = Edge::start();
    let domain = edge.domain();
    finish(&mut edge.command(["zone", "create", "one.example"])).ok();
    let undone = format!("undone.{domain}");
    finish(&mut edge.command(["record", "create", &undone, "A", "192.0.2.9"])).ok();
    let history = finish(&mut edge.command(["--json", "history", &undone])).ok();
    let history: serde_json::Value = serde_json::from_str(&history).expect("a document");
    let revision = history[0]["bartizan"]["revision"].to_string();
    for (word, lines) in [
        ("zone", &["zone create two.example", "zone list", "zone show two.example", "zone delete two.example -y"][..]),
        ("record", &["record create www.DOMAIN A 192.0.2.1", "record list DOMAIN", "record delete www.DOMAIN A -y"]),
        (
            "app",
            &[
                "app create ssh.DOMAIN tcp/22 tcp://192.0.2.1:22",
                "app list",
                "app show ssh.DOMAIN",
                "app delete ssh.DOMAIN -y",
            ],
        ),
        (
            "firewall",
            &[
                "firewall block 192.0.2.1",
                "firewall allow 192.0.2.2 --zone one.example",
                "firewall list",
                "firewall list --zone one.example",
                "firewall test 192.0.2.1",
                "firewall remove 192.0.2.1 -y",
                "firewall remove 192.0.2.2 --zone one.example -y",
            ],
        ),
        (
            "tunnel",
            &[
                "tunnel create office",
                "tunnel list",
                "tunnel info office",
                "tunnel token office",
                "tunnel route dns office office.DOMAIN",
                "tunnel cleanup office",
                "tunnel delete office -y",
            ],
        ),
        (
            "token",
            &[
                "token create other --can token",
                "token list",
                "token show other",
                "token roll other",
                "token delete other -y",
            ],
        ),
        ("user:read", &["user list"]),
        ("history", &["history", "history undone.DOMAIN", "history --zone DOMAIN --count 2"]),
        ("undo", &["undo REVISION --dry-run", "undo REVISION --yes"]),
        ("status", &["status"]),
    ] {
        let token = make(&edge, &format!("with-{word} --can {word}"));
        for line in lines.iter().chain(&["login"]) {
            let line = line.replace("DOMAIN", domain).replace("REVISION", &revision);
            let finished = run(&edge, &token, &line);
            assert!(finished.status.success(), "--can {word}: {line}\n{}\n{}", finished.out, finished.err);
        }
    }
    // In one zone only: rules that hold in all zones are not for it.
    let token = make(&edge, "one --can firewall --can zone --zone one.example");
    run(&edge, &token, "firewall block 192.0.2.1 --zone one.example").ok();
    for line in ["firewall block 192.0.2.1", "firewall list"] {
        run(&edge, &token, line).failed_with(5);
    }
    run(&edge, &token, "zone delete one.example -y").ok();
}

#[test]
fn a_missing_right_is_no_bad_token() {
    let edge = Edge::start();
    let domain = edge.domain();
    let token = make(&edge, "reader --can dns:read --expires 1d");
    for (line, expect) in [
        ("record create www.DOMAIN A 192.0.2.1", "--can record`"),
        ("firewall list", "--can firewall:read`"),
        ("tunnel create one", "--can tunnel"),
        ("token list", "--can token:read`"),
        ("history", "--can history`"),
        ("undo 1 --dry-run", "--can undo`"),
    ] {
        let error = run(&edge, &token, &line.replace("DOMAIN", domain)).failed_with(5);
        assert!(error.contains("this token is good") && error.contains(expect), "{line}: {error}");
    }
    let error = run(&edge, &"0".repeat(40), "zone list").failed_with(5);
    assert!(error.contains("unset it") && !error.contains("this token is good"), "{error}");
}

#[test]
fn tokens_are_told_apart() {
    let edge = Edge::start();
    finish(&mut edge.command(["zone", "create", "one.example"])).ok();
    make(&edge, "ci --can dns --zone one.example");
    let second = finish(&mut edge.command(["token", "create", "ci", "--can", "zone"])).failed_with(4);
    assert!(second.contains("`bartizan token roll ci`"), "{second}");
    for line in ["token list", "token show ci"] {
        let shown = finish(&mut edge.command(line.split(' '))).ok();
        assert!(shown.contains("zone one.example") && !shown.contains("com.cloudflare"), "{line}\n{shown}");
    }
    let list = finish(&mut edge.command(["token", "list"])).ok();
    let own = list.lines().find(|line| line.starts_with("administrator")).expect("our own token");
    assert!(own.contains("everything on all accounts"), "{list}");
    let past = finish(&mut edge.command(["token", "create", "late", "--can", "dns", "--expires", "2001-01-01"]));
    assert!(past.failed_with(1).contains("in the past"));
}
