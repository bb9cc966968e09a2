//! What is kept of an edge when its disk is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Connector, Edge, bartizan, finish, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery staple";

/// An edge's owner at the command line, with the passphrase in the environment.
pub(crate) fn command(home: &Path, words: &[&str]) -> Command {
    let mut command = bartizan(home);
    command.env("BARTIZAN_BACKUP_PASSPHRASE", PASSPHRASE).args(words);
    command
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("our folders have plain names")
}

fn back_up(edge: &Edge, file: &Path, words: &[&str]) -> Value {
    let data = edge.data();
    let mut command = command(edge.folder(), &["backup", "--json", "--data", text(&data), text(file)]);
    serde_json::from_str(&finish(command.args(words)).ok()).expect("one object")
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("our folder").file_name().into_string().expect("plain names")).collect();
    names.sort();
    names
}

pub(crate) fn certificate(edge: &Edge, host: &str) -> String {
    let shown =
        finish(Command::new("openssl").args(["s_client", "-connect", &edge.https().to_string(), "-servername", host]));
    let (_, rest) = shown.out.split_once("-----BEGIN CERTIFICATE-----").expect("a certificate");
    rest.split_once("-----END CERTIFICATE-----").expect("its end").0.to_owned()
}

/// Which log a store has.
fn epoch(data: &Path) -> String {
    const READ: &str = "import sqlite3, sys\n\
                        store = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)\n\
                        print(store.execute('SELECT epoch FROM log').fetchone()[0])";
    finish(Command::new("python3").args(["-c", READ]).arg(data.join("store.sqlite"))).ok()
}

/// Zones, a token, a tunnel and certificates, on another directory as if nothing had happened.
#[test]
fn a_lost_disk_is_no_lost_edge() {
    let edge = Edge::start();
    let kept = tempfile::tempdir().expect("a folder");
    let file = kept.path().join("edge.backup");
    let origin = Origin::files();
    fs::write(origin.folder().join("index.html"), "<p>from behind</p>").expect("a temporary file");
    let host = format!("app.{}", edge.domain());
    edge.post("/zones", &json!({ "name": "other.test" }));
    let other = edge.get("/zones?name=other.test")[0]["id"].as_str().expect("an id").to_owned();
    edge.post(
        &format!("/zones/{other}/dns_records"),
        &json!({ "type": "A", "name": "www", "content": "192.0.2.7", "ttl": 300 }),
    );
    let narrow =
        finish(&mut edge.command(["token", "create", "narrow", "--can", "dns:read", "--zone", "other.test"])).ok();
    let narrow = narrow.split_whitespace().find(|word| word.len() >= 40).expect("the token's text").to_owned();
    let connector = Connector::start(&edge, &["--hostname", &host, &origin.url()]);
    wait::until_eq("the page is there", &200, || edge.try_https(&host, "/", &[]).map_or(0, |page| page.status));
    let tunnel = finish(&mut edge.command(["tunnel", "token", &host])).ok().trim().to_owned();
    let shown = certificate(&edge, &host);

    // Somebody writes all the while.
    let stop = AtomicBool::new(false);
    let (made, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                edge.record(&json!({ "type": "TXT", "name": format!("t{written}"), "content": "\"x\"" }));
                written += 1;
            }
            written
        });
        wait::until("some are written", || {
            let found = edge.get(&format!("/zones/{}/dns_records?type=TXT", edge.zone()));
            (found.as_array().expect("a list").len() > 2).then_some(())
        });
        let made = back_up(&edge, &file, &[]);
        stop.store(true, Ordering::Relaxed);
        (made, writer.join().expect("it writes"))
    });
    assert!(written > 2, "changes go on meanwhile");
    assert_eq!(fs::metadata(&file).expect("a backup").permissions().mode() & 0o777, 0o600);
    assert_eq!(names(kept.path()), ["edge.backup"], "nothing else is left");
    assert!(!names(&edge.data()).iter().any(|name| name.contains("partial")), "{:?}", names(&edge.data()));
    let (token, ca) = (edge.token().to_owned(), fs::read(edge.ca()).expect("a CA"));
    let log = epoch(&edge.data());
    drop((edge, connector));

    let seen = finish(&mut command(kept.path(), &["backup", "verify", "--json", text(&file)])).ok();
    let seen: Value = serde_json::from_str(&seen).expect("one object");
    assert_eq!(seen["manifest"], made["manifest"]);
    let folder = tempfile::Builder::new().prefix("bartizan-e2e-").tempdir().expect("a folder");
    let data = folder.path().join("data");
    finish(&mut command(folder.path(), &["restore", text(&file), "--data-dir", text(&data)])).ok();
    assert_eq!(names(&data), ["admin.json", "ca.key.sealed", "ca.pem", "lock", "seal.key", "store.sqlite"]);
    assert_ne!(epoch(&data), log, "who followed the old edge's log reads everything anew");

    let edge = Edge::start_on(folder);
    assert_eq!((edge.token(), &fs::read(edge.ca()).expect("a CA")), (&*token, &ca));
    assert_eq!(edge.dig(&["www.other.test", "A"]).answers(), ["A 192.0.2.7"]);
    assert_eq!(edge.dig(&[&format!("t0.{}", edge.domain()), "TXT"]).answers(), ["TXT \"x\""]);
    let records = format!("/zones/{other}/dns_records");
    let bearer = format!("Authorization: Bearer {narrow}");
    let read = edge.ask_as(&[&bearer], "GET", &records, None).result();
    assert_eq!(read[0]["content"], "192.0.2.7", "the token reads");
    let refused = edge.ask_as(&[&bearer], "GET", &format!("/zones/{}/dns_records", edge.zone()), None);
    assert_ne!(refused.status, 200, "and has no more rights than before");
    assert_eq!(certificate(&edge, &host), shown);
    let server = edge.tunnel().to_string();
    let words = ["tunnel", "run", "--token", &tunnel, "--edge", &server, "--url", &origin.url()];
    let _connector = Connector::from({
        let mut command = bartizan(edge.folder());
        command.args(words);
        command
    });
    wait::until_eq("the page is there", &200, || edge.try_https(&host, "/", &[]).map_or(0, |page| page.status));
    assert_eq!(edge.https_get(&host, "/", &[]).text(), "<p>from behind</p>");
    // It goes on from there, and is well.
    edge.record(&json!({ "type": "A", "name": "new", "content": "192.0.2.8" }));
    wait::until("the edge is well", || (edge.get("/bartizan/status")["state"] == "ok").then_some(()));
}

/// By name, and before anything is written.
#[test]
fn what_is_no_whole_backup_is_refused() {
    let edge = Edge::start();
    let kept = tempfile::tempdir().expect("a folder");
    let place = |name: &str| kept.path().join(name);
    let (whole, worded) = (place("whole"), place("worded"));
    let (key, public) = key(kept.path());
    back_up(&edge, &whole, &["--recipient", &public]);
    back_up(&edge, &worded, &[]);
    let bytes = fs::read(&whole).expect("a backup");
    let write = |name: &str, bytes: &[u8]| fs::write(place(name), bytes).expect("a temporary file");
    write("cut", &bytes[..bytes.len() - 1]);
    write("cut-at-a-chunk", &bytes[..bytes.len() - bytes.len() % 65_552]);
    write("cut-early", &bytes[..100]);
    let mut altered = bytes.clone();
    altered[bytes.len() / 2] ^= 1;
    write("altered", &altered);
    write("longer", &[&bytes[..], b"x"].concat());
    write("foreign", b"PK\x03\x04 and so on");
    write("empty", b"");
    let data = kept.path().join("data");
    for (name, code, expect) in [
        ("cut", 1, "cut off"),
        ("cut-at-a-chunk", 1, "altered, or cut off"),
        ("cut-early", 1, "cut off within its head"),
        ("altered", 1, "altered"),
        ("longer", 1, "altered"),
        ("foreign", 1, "no file of the age format"),
        ("empty", 1, "no file of the age format"),
        ("absent", 3, "cannot read"),
    ] {
        let file = place(name);
        for words in [vec!["restore", text(&file), "--data", text(&data)], vec!["backup", "verify", text(&file)]] {
            let words = [words, vec!["--identity", text(&key)]].concat();
            let error = finish(&mut command(kept.path(), &words)).failed_with(code);
            assert!(error.contains(expect) && error.contains(name), "{words:?}: {error}");
        }
        assert!(!data.exists(), "{name}");
    }
    let mut wrong = command(kept.path(), &["restore", text(&worded), "--data", text(&data)]);
    let error = finish(wrong.env("BARTIZAN_BACKUP_PASSPHRASE", "correct horse")).failed_with(1);
    assert!(error.contains("the passphrase is another one") && !data.exists(), "{error}");

    // Nothing is ever replaced.
    let before = names(&edge.data());
    let error =
        finish(&mut command(kept.path(), &["restore", text(&whole), "--data", text(&edge.data())])).failed_with(4);
    assert!(error.contains("has an edge's data already"), "{error}");
    assert_eq!(names(&edge.data()), before);
    let used = place("used");
    fs::create_dir(&used).expect("a folder");
    fs::write(used.join("notes"), "mine").expect("a temporary file");
    let error = finish(&mut command(kept.path(), &["restore", text(&whole), "--data", text(&used)])).failed_with(4);
    assert!(error.contains("has other things already: notes"), "{error}");
    let error =
        finish(&mut command(kept.path(), &["backup", text(&whole), "--data", text(&edge.data())])).failed_with(4);
    assert!(error.contains("already there"), "{error}");
    let nowhere = place("nowhere");
    let error =
        finish(&mut command(kept.path(), &["backup", text(&place("x")), "--data", text(&nowhere)])).failed_with(3);
    assert!(error.contains("has no edge's data") && !nowhere.exists() && !place("x").exists(), "{error}");

    // One that was cut off keeps an edge from starting on a part of it; the next one begins anew.
    fs::create_dir_all(data.join("restore.partial")).expect("a folder");
    fs::write(data.join("seal.key"), "half").expect("a temporary file");
    let up = ["up", "--data", text(&data), "--no-demo", "--api", "127.0.0.1:0"];
    let error = finish(&mut command(kept.path(), &up)).failed_with(1);
    assert!(error.contains("a restore to") && error.contains("`bartizan restore`"), "{error}");
    finish(&mut command(kept.path(), &["restore", text(&worded), "--data", text(&data)])).ok();
    assert_eq!(fs::read(data.join("seal.key")).expect("a key"), fs::read(edge.data().join("seal.key")).expect("a key"));
    assert!(!data.join("restore.partial").exists());
}

fn key(folder: &Path) -> (PathBuf, String) {
    let file = folder.join("key.txt");
    finish(Command::new("age-keygen").arg("-o").arg(&file)).ok();
    let public = finish(Command::new("age-keygen").arg("-y").arg(&file)).ok();
    (file, public.trim().to_owned())
}

/// The tool `age` opens what we seal, and we open what it seals.
#[test]
fn a_backup_is_a_file_of_age() {
    let edge = Edge::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (key, public) = key(folder.path());
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    back_up(&edge, &ours, &["--recipient", &public]);
    let tar = folder.path().join("tar");
    finish(Command::new("age").arg("-d").arg("-i").arg(&key).arg("-o").arg(&tar).arg(&ours)).ok();
    let members = finish(Command::new("tar").arg("-tf").arg(&tar)).ok();
    assert_eq!(
        members.lines().collect::<Vec<_>>(),
        ["manifest.json", "seal.key", "ca.key.sealed", "ca.pem", "admin.json", "store.sqlite"]
    );
    finish(Command::new("age").args(["-r", &public, "-o"]).arg(&theirs).arg(&tar)).ok();
    for file in [&ours, &theirs] {
        let seen =
            finish(&mut command(folder.path(), &["backup", "verify", text(file), "--identity", text(&key)])).ok();
        assert!(seen.contains("is whole: revision"), "{seen}");
        // Asked for what it is sealed to, with the passphrase at hand.
        let error = finish(&mut command(folder.path(), &["backup", "verify", text(file)])).failed_with(2);
        assert!(error.contains("--identity FILE"), "{error}");
    }
    // Through a pipe, as to another machine.
    let mut piped = command(edge.folder(), &["backup", "-", "--recipient", &public, "--data", text(&edge.data())]);
    let Output { status, stdout, .. } = piped.stdin(Stdio::null()).output().expect("it starts");
    assert!(status.success());
    fs::write(&theirs, stdout).expect("a temporary file");
    finish(&mut command(folder.path(), &["backup", "verify", text(&theirs), "--identity", text(&key)])).ok();
}

fn folder_of_backups() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    // The edge does not write there as root.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("our folder");
    folder
}

/// Made by the edge itself: one at a time, as many as are to be kept, and a failure is seen.
#[test]
fn an_edge_makes_backups_by_itself() {
    let (folder, keys) = (folder_of_backups(), tempfile::tempdir().expect("a folder"));
    let (key, public) = key(keys.path());
    let words = |dir: &str| {
        ["--backup-dir", dir, "--backup-every", "1h", "--backup-keep", "2", "--backup-recipient", &public]
            .map(str::to_owned)
    };
    let start = words(text(folder.path()));
    let start: Vec<&str> = start.iter().map(String::as_str).collect();
    let edge = Edge::start_with(&start);
    let whole = || {
        let names = names(folder.path());
        names.into_iter().filter(|name| name.ends_with(".age")).collect::<Vec<_>>()
    };
    let first = wait::until("the first one", || whole().pop());
    let path = folder.path().join(&first);
    finish(&mut command(keys.path(), &["backup", "verify", text(&path), "--identity", text(&key)])).ok();

    // As if some days had gone by.
    let beginning = first.split_at(first.len() - "20300131T120000Z.age".len()).0.to_owned();
    for day in ["01", "02", "03"] {
        fs::copy(&path, folder.path().join(format!("{beginning}202601{day}T120000Z.age"))).expect("a temporary file");
    }
    fs::remove_file(&path).expect("a temporary file");
    let edge = edge.restart_after_kill();
    wait::until_eq("old ones are gone", &2, || whole().len());
    let kept = whole();
    assert_eq!(kept[0], format!("{beginning}20260103T120000Z.age"));
    assert!(kept[1] > kept[0], "{kept:?}");
    let api = edge.api_url().trim_end_matches("/client/v4").to_owned();
    let metrics = || bartizan_e2e::curl::get(&[&format!("{api}/metrics")]).text();
    wait::until("it is counted", || metrics().contains("bartizan_backups_total{outcome=\"made\"} 1").then_some(()));
    assert_eq!(edge.get("/bartizan/status")["problems"], json!([]));

    let gone = words(text(&folder.path().join("gone")));
    let edge = edge.restart_with(&gone.iter().map(String::as_str).collect::<Vec<_>>());
    let problem = wait::until("it is told", || {
        let status = edge.get("/bartizan/status");
        status["problems"].as_array()?.iter().find(|problem| problem["kind"] == "backup").cloned()
    });
    assert!(problem["reason"].as_str().is_some_and(|reason| reason.contains("gone")), "{problem}");
    let api = edge.api_url().trim_end_matches("/client/v4").to_owned();
    let ready = bartizan_e2e::curl::get(&[&format!("{api}/readyz")]).text();
    assert!(ready.contains("degraded") && ready.contains("backup: 1"), "{ready}");
    let metrics = bartizan_e2e::curl::get(&[&format!("{api}/metrics")]).text();
    assert!(metrics.contains("bartizan_backups_total{outcome=\"failed\"} 1"), "{metrics}");
}
