//! What people are told to type when something of an edge's data is wrong: each command that is told is typed here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bartizan_e2e::{Edge, bartizan, curl, finish, wait};
use serde_json::{Value, json};

use crate::backups::{command, text};

/// Changes the content of an object to another that reads as well, as a disk does: nobody is told.
fn flip(data: &Path, like: &str, from: &str, to: &str) {
    let script = "import sqlite3, sys\n\
                  file = sqlite3.connect(sys.argv[1])\n\
                  done = file.execute('UPDATE object SET json = replace(json, ?3, ?4) WHERE key LIKE ?2 AND instr(json, ?3)', \
                  [sys.argv[1], *sys.argv[2:]])\n\
                  assert done.rowcount == 1, done.rowcount\n\
                  file.commit()\n";
    finish(Command::new("python3").args(["-c", script]).arg(data.join("store.sqlite")).args([like, from, to])).ok();
}

fn problems(edge: &Edge, kind: &str) -> Vec<Value> {
    let all = edge.get("/bartizan/status")["problems"].clone();
    all.as_array().expect("a list").iter().filter(|problem| problem["kind"] == kind).cloned().collect()
}

fn said<'p>(problem: &'p Value, what: &str) -> &'p str {
    problem[what].as_str().expect("a text")
}

/// The faults that `bartizan doctor` finds of the data, with what mends each.
fn faults(home: &Path, data: &Path) -> Vec<(String, String)> {
    let ports = ["--api", "--dns", "--dns-tls", "--http", "--https", "--tunnel"].map(|flag| [flag, "127.0.0.1:0"]);
    let words = ["--json", "doctor", "--no-demo", "--data", text(data)];
    let seen = finish(bartizan(home).args(words).args(ports.concat()));
    let findings: Vec<Value> = serde_json::from_str(&seen.out).unwrap_or_else(|error| panic!("{error}: {}", seen.err));
    let of = |finding: &Value, what: &str| finding[what].as_str().unwrap_or_default().to_owned();
    let told = findings.iter().filter(|finding| finding["ok"] == false);
    told.map(|finding| (format!("{}: {}", of(finding, "what"), of(finding, "detail")), of(finding, "remedy")))
        // What is of this machine, and not of the data.
        .filter(|(what, _)| {
            ["the directory", "the local CA", "the administrator", "the store", "the restore", "objects", "layout"]
                .iter()
                .any(|of| what.starts_with(of))
        })
        .collect()
}

/// What stands between backquotes.
fn typed(remedy: &str) -> Vec<&str> {
    remedy.split('`').skip(1).step_by(2).collect()
}

/// Types a command as a person does who reads it, with names of their own for those in capitals.
fn type_in(home: &Path, words: &str, file: &Path, new: &Path) {
    let words = words.replace("FILE", text(file)).replace("--data DIR", &format!("--data {}", text(new)));
    match words.strip_prefix("bartizan ") {
        Some(words) => {
            let mut all: Vec<&str> = words.split(' ').collect();
            let data = home.join("data");
            if !words.contains("--data") {
                all.extend(["--data", text(&data)]);
            }
            finish(&mut command(home, &all)).ok();
        }
        None => drop(finish(Command::new("sh").args(["-c", &words])).ok()),
    }
}

/// A content that was flipped and reads well is not served, at a start as little as by the API; it is named with the cause and
/// with what mends it, and that does. All other objects are served.
#[test]
fn what_the_disk_made_of_an_object_is_not_served() {
    let mut edge = Edge::start();
    edge.record(&json!({"type": "A", "name": "flipped", "content": "192.0.2.77"}));
    edge.record(&json!({"type": "A", "name": "other", "content": "192.0.2.1"}));
    let rule = json!({"mode": "block", "configuration": {"target": "ip", "value": "198.51.100.7"}});
    edge.post(&format!("/zones/{}/firewall/access_rules/rules", edge.zone()), &rule);
    flip(&edge.data(), "zone/%/record/%", "192.0.2.77", "192.0.2.99");
    flip(&edge.data(), "zone/%/access_rule/%", "198.51.100.7", "198.51.100.8");
    let names = ["flipped", "other"].map(|label| format!("{label}.{}", edge.domain()));
    // The running edge goes on with what it has.
    assert_eq!(edge.dig(&[&names[0], "A"]).answers(), ["A 192.0.2.77"]);
    edge = edge.restart_after_kill();
    assert_eq!(names.each_ref().map(|name| edge.dig(&[name, "A"]).answers()), [vec![], vec!["A 192.0.2.1".to_owned()]]);
    let told = problems(&edge, "unit");
    assert_eq!(told.len(), 2, "{told:?}");
    for (problem, name) in told.iter().zip(["198.51.100.8", &names[0]]) {
        let reason = said(problem, "reason");
        let spoilt = format!("{name} is not what was committed: the disk, or another program, changed it; ");
        assert!(reason.starts_with(&spoilt) && reason.contains("after a start"), "{problem}");
        assert_eq!(typed(said(problem, "remedy")), ["bartizan doctor --rebuild"]);
    }
    let ready = curl::get(&[&edge.api_url().replace("/client/v4", "/readyz")]).text();
    assert!(ready.contains("unit: 2"), "{ready}");
    edge.program().terminate();
    edge.program().ended();
    let [(what, remedy)] = &faults(edge.folder(), &edge.data())[..] else { panic!("one fault of the data") };
    assert!(what.contains("2 not what was committed: zone/") && what.contains("/record/"), "{what}");
    type_in(edge.folder(), typed(remedy)[0], Path::new("-"), Path::new("-"));
    assert_eq!(faults(edge.folder(), &edge.data()), []);
    edge = edge.restart_after_kill();
    assert_eq!(edge.dig(&[&names[0], "A"]).answers(), ["A 192.0.2.77"]);
    assert_eq!(problems(&edge, "unit"), Vec::<Value>::new());
}

/// What needs no key is served without it; what does is named, with what mends it; and nothing is written that the right key
/// would not open.
#[test]
fn an_edge_without_its_key_serves_what_needs_none() {
    let edge = Edge::start();
    edge.record(&json!({"type": "A", "name": "www", "content": "192.0.2.1"}));
    edge.post("/zones", &json!({"name": "signed.test"}));
    let signed = edge.get("/zones?name=signed.test")[0]["id"].as_str().expect("an id").to_owned();
    let switch = format!("/zones/{signed}/dnssec");
    edge.ask("PATCH", &switch, Some(&json!({"status": "active"}))).result();
    let file = edge.folder().join("edge.backup");
    let (data, www) = (edge.data(), format!("www.{}", edge.domain()));
    finish(&mut command(edge.folder(), &["backup", "--data", text(&data), text(&file)])).ok();
    let key = data.join("seal.key");
    let lose: [(&str, &dyn Fn()); 3] = [
        ("is gone, and ca.key.sealed is sealed with it", &|| fs::remove_file(&key).expect("the key")),
        ("cannot open the CA's key", &|| write_key(&key, &[7; 32])),
        ("does not have 32 bytes", &|| write_key(&key, &[7; 31])),
    ];
    let mut edge = Some(edge);
    for (number, (reason, lose)) in lose.into_iter().enumerate() {
        lose();
        let shut = edge.take().expect("it runs").restart_after_kill();
        assert_eq!(shut.dig(&[&www, "A"]).answers(), ["A 192.0.2.1"], "{reason}");
        assert!(shut.dig(&["signed.test", "SOA"]).answers()[0].starts_with("SOA "), "{reason}");
        assert_eq!(shut.dig(&["signed.test", "SOA", "+dnssec"]).answers(), Vec::<String>::new(), "{reason}");
        let told = problems(&shut, "read_only");
        assert!(told.len() == 1 && said(&told[0], "reason").contains(reason), "{reason}: {told:?}");
        // Nobody is told to change what cannot be changed.
        let all = shut.get("/bartizan/status")["problems"].clone();
        for problem in all.as_array().expect("a list") {
            let remedy = said(problem, "remedy");
            for write in ["by the API", "write it anew", "write the object anew", "--force", "--rebuild", "DELETE"] {
                assert!(!remedy.contains(write), "{reason}: {problem}");
            }
        }
        // By name.
        wait::until("the zone that cannot be signed", || {
            problems(&shut, "dnssec").iter().any(|problem| problem["what"] == "DNSSEC of signed.test").then_some(())
        });
        assert!(
            problems(&shut, "unit").iter().any(|problem| said(problem, "reason").contains("cannot open")),
            "{reason}"
        );
        let body = json!({"type": "A", "name": "new", "content": "192.0.2.2"});
        let refused = shut.ask("POST", &format!("/zones/{}/dns_records", shut.zone()), Some(&body));
        assert_eq!(refused.error(), "503 10509", "{reason}");
        let roll = shut.ask("POST", &format!("/bartizan/zones/{signed}/dnssec/roll"), Some(&json!({})));
        assert_eq!(roll.error(), "400 1154", "{reason}");
        // A backup that nobody could open later is not made.
        let useless = finish(&mut command(
            shut.folder(),
            &["backup", "--data", text(&data), text(&shut.folder().join("useless"))],
        ));
        assert!(useless.failed_with(1).contains("bartizan restore FILE --data DIR"), "{reason}");
        // What is told is done, and it is as before.
        let remedy = said(&told[0], "remedy");
        let new = shut.folder().join(format!("new-{number}"));
        typed(remedy).iter().for_each(|words| type_in(shut.folder(), words, &file, &new));
        for name in ["seal.key", "ca.key.sealed", "ca.pem"] {
            assert!(remedy.contains(name), "{remedy}");
            fs::copy(new.join(name), data.join(name)).expect("a file of the backup");
        }
        let whole = shut.restart_after_kill();
        assert!(!whole.dig(&["signed.test", "SOA", "+dnssec"]).answers().is_empty(), "{reason}");
        assert_eq!(problems(&whole, "read_only"), Vec::<Value>::new(), "{reason}");
        edge = Some(whole);
    }
}

/// Neither the key nor the administrator's credentials are there: what needs neither is served, nobody gets in who was not let
/// in before, and what is told brings it all back.
#[test]
fn an_edge_without_its_key_and_its_credentials_serves_what_needs_neither() {
    let mut edge = Edge::start();
    edge.record(&json!({"type": "A", "name": "www", "content": "192.0.2.1"}));
    let (data, www, token) = (edge.data(), format!("www.{}", edge.domain()), edge.token().to_owned());
    let records = format!("/zones/{}/dns_records", edge.zone());
    let file = edge.folder().join("edge.backup");
    finish(&mut command(edge.folder(), &["backup", "--data", text(&data), text(&file)])).ok();
    edge.program().terminate();
    edge.program().ended();
    let admin = data.join("admin.json");
    for path in [&data.join("seal.key"), &admin] {
        fs::remove_file(path).expect("a file of the edge");
    }
    let found = faults(edge.folder(), &data);
    let told = found.iter().find(|(fault, _)| fault.starts_with("the administrator's file"));
    let (_, remedy) = told.unwrap_or_else(|| panic!("{found:?}"));
    assert!(remedy.contains("admin.json") && remedy.contains("why nothing can be changed"), "{remedy}");

    let shut = edge.restart_after_kill();
    assert_eq!(shut.dig(&[&www, "A"]).answers(), ["A 192.0.2.1"]);
    assert!(!admin.exists(), "nobody is let in by what the store does not know");
    assert_eq!(shut.ready()["token"], Value::Null);
    let ready = curl::get(&[&shut.api_url().replace("/client/v4", "/readyz")]).text();
    assert!(ready.contains("read_only: 1") && ready.contains("administrator: 1"), "{ready}");
    // Who was let in is, by what they have themselves; and nobody else.
    let bearer = |token: &str| [format!("Authorization: Bearer {token}")];
    let ask = |edge: &Edge, token: &str, path: &str| {
        let bearer = bearer(token);
        edge.ask_as(&bearer.each_ref().map(String::as_str), "GET", path, None)
    };
    assert_eq!(ask(&shut, "a-token-of-nobody-that-is-long-enough-to-be-one", &records).error(), "403 9109");
    let status = ask(&shut, &token, "/bartizan/status").result();
    let problems = status["problems"].as_array().expect("a list");
    let told =
        |kind: &str| problems.iter().find(|problem| problem["kind"] == kind).unwrap_or_else(|| panic!("{status}"));
    assert!(said(told("administrator"), "reason").contains("admin.json is gone"), "{status}");
    assert!(said(told("administrator"), "remedy").contains("mend first why nothing can be changed"), "{status}");
    // It is mended, as it says, and new credentials come with the next start.
    let (remedy, new) = (said(told("read_only"), "remedy").to_owned(), shut.folder().join("new"));
    typed(&remedy).iter().for_each(|words| type_in(shut.folder(), words, &file, &new));
    for name in ["seal.key", "ca.key.sealed", "ca.pem"] {
        fs::copy(new.join(name), data.join(name)).expect("a file of the backup");
    }
    let whole = shut.restart_after_kill();
    assert_ne!(whole.token(), token);
    whole.record(&json!({"type": "A", "name": "new", "content": "192.0.2.2"}));
    assert_eq!(ask(&whole, &token, &records).error(), "403 9109", "the old ones have ended");
    assert_eq!(faults(whole.folder(), &data), []);
}

fn write_key(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the key");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the key");
}

/// Each fault of the data that `doctor` finds, and `up` where it does not start: what they say to type is typed, and ends it, by
/// itself or with what else they say.
#[test]
fn what_is_told_to_be_typed_mends() {
    let mut edge = Edge::start();
    edge.record(&json!({"type": "A", "name": "www", "content": "192.0.2.1"}));
    let file = edge.folder().join("edge.backup");
    let data = edge.data();
    finish(&mut command(edge.folder(), &["backup", "--data", text(&data), text(&file)])).ok();
    edge.program().terminate();
    edge.program().ended();
    let home = edge.folder().to_owned();
    let at = |name: &str| data.join(name);
    let whole = home.join("whole");
    copy(&data, &whole);
    type Spoil<'s> = &'s dyn Fn();
    let rows: [(&str, Spoil<'_>, &str); 7] = [
        ("a page", &|| zeros(&at("store.sqlite"), 3 * 4096), "its pages are damaged"),
        ("a content", &|| flip(&data, "zone/%/record/%", "192.0.2.1", "192.0.2.9"), "not what was committed"),
        ("no store", &|| fs::remove_file(at("store.sqlite")).expect("the store"), "is gone, and an edge has run here"),
        (
            "an empty store",
            &|| fs::write(at("store.sqlite"), "").expect("the store"),
            "is empty, and an edge has run here",
        ),
        (
            "no key",
            &|| fs::remove_file(at("seal.key")).expect("the key"),
            "is gone, and ca.key.sealed is sealed with it",
        ),
        ("an open key", &|| mode(&at("seal.key"), 0o644), "may be read by others"),
        ("a restore that was cut off", &|| fs::create_dir(at("restore.partial")).expect("a folder"), "was cut off"),
    ];
    for (number, (what, spoil, expect)) in rows.into_iter().enumerate() {
        fs::remove_dir_all(&data).expect("our folder");
        copy(&whole, &data);
        assert_eq!(faults(&home, &data), [], "{what}");
        spoil();
        let found = faults(&home, &data);
        let told: Vec<_> = found.iter().filter(|(fault, _)| fault.contains(expect)).collect();
        assert_eq!(told.len(), 1, "{what}: {found:?}");
        let (remedy, new) = (&told[0].1, home.join(format!("new-{number}")));
        let words = typed(remedy);
        assert!(!words.is_empty(), "{what}: {remedy}");
        match words[0] {
            // Into this directory, as it says.
            "bartizan restore" => {
                drop(finish(&mut command(&home, &["restore", text(&file), "--data", text(&data)])).ok())
            }
            words => type_in(&home, words, &file, &new),
        }
        let mended = if remedy.contains("start the edge with that one") { &new } else { &data };
        if remedy.contains("copy seal.key") {
            for name in ["seal.key", "ca.key.sealed", "ca.pem"] {
                fs::copy(new.join(name), at(name)).expect("a file of the backup");
            }
        }
        // What root has copied is root's, and whose it is to be is told in turn.
        for (_, remedy) in faults(&home, mended) {
            typed(&remedy).iter().for_each(|words| type_in(&home, words, &file, &new));
        }
        assert_eq!(faults(&home, mended), [], "{what}: {remedy}");
    }
}

fn copy(from: &Path, to: &Path) {
    finish(Command::new("cp").arg("-a").args([from, to])).ok();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our file");
}

fn zeros(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("the store");
    bytes[at..at + 4096].fill(0);
    fs::write(path, bytes).expect("the store");
}
