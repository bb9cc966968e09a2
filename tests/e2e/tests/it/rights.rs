//! What an edge that root has started may do, and how secrets are handed to commands. Needs what CI has: root.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Connector, Edge, bartizan, finish, wait};

/// The user number of an edge on a machine without a user `bartizan`.
const OWN: &str = "60787";

/// CAP_NET_BIND_SERVICE, as `/proc` writes sets.
const BIND_ONLY: u64 = 1 << 10;

/// A field of each thread of the edge, as `/proc` shows it.
fn of_threads(edge: &mut Edge, field: &str) -> Vec<Vec<String>> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", edge.program().id())).expect("it runs");
    let read = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
        line.expect("a field").split_whitespace().map(str::to_owned).collect()
    };
    tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok()).map(read).collect()
}

fn serves_without_root(edge: &mut Edge, uid: &str) {
    for field in ["Uid", "Gid"] {
        for numbers in of_threads(edge, field) {
            assert_eq!(numbers, [uid; 4], "{field}: real, effective, saved, file system");
        }
    }
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        for set in of_threads(edge, field) {
            let set = u64::from_str_radix(&set[0], 16).expect("a set");
            assert_eq!(set & !BIND_ONLY, 0, "{field}: {set:x}");
        }
    }
    assert!(of_threads(edge, "NoNewPrivs").iter().all(|value| value == &["1"]));
    assert!(of_threads(edge, "Groups").iter().all(Vec::is_empty));
}

fn owners(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").uid()).collect()
}

#[test]
fn root_is_given_up_before_anybody_can_connect() {
    let mut edge = Edge::start_with(&["--pool", "127.89.0.0/16"]);
    serves_without_root(&mut edge, OWN);
    let status = finish(&mut edge.command(["status"])).ok();
    assert!(status.contains(&format!("process user {OWN}, CAP_NET_BIND_SERVICE, no way to more")), "{status}");
    let doctor = finish(edge.command(["doctor", "--data"]).arg(edge.data()));
    assert!(doctor.out.contains(&format!("rights of the process: user {OWN}, CAP_NET_BIND_SERVICE")), "{}", doctor.out);
    // The data of an edge that served as root: it is handed over, and all is there.
    let name = format!("www.{}", edge.domain());
    finish(&mut edge.command(["record", "create", &name, "A", "192.0.2.7"])).ok();
    finish(Command::new("chown").args(["--recursive", "0:0"]).arg(edge.data())).ok();
    let mut edge = edge.restart_after_kill();
    serves_without_root(&mut edge, OWN);
    assert!(owners(&edge.data()).iter().all(|owner| owner.to_string() == OWN));
    assert_eq!(edge.dig(&[&name, "A"]).answers(), ["A 192.0.2.7"]);
}

#[test]
fn the_user_is_who_was_named() {
    let mut edge = Edge::start_with(&["--user", "65534", "--ports", "listeners"]);
    serves_without_root(&mut edge, "65534");
    // Without the flag it is the owner of the data.
    let folder = tempfile::tempdir().expect("a temporary directory");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    finish(Command::new("chown").arg("61000:61001").arg(&data)).ok();
    let mut up = Edge::up(folder.path());
    let mut program = bartizan_e2e::Program::start("up", up.arg("--no-demo"));
    program.line("it is ready", |line| line.starts_with('{').then_some(()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).expect("it runs");
    assert!(status.contains("Uid:\t61000\t61000\t61000\t61000"), "{status}");
}

#[test]
fn root_stays_root_only_when_asked() {
    let mut edge = Edge::start_with(&["--user", "root"]);
    assert!(edge.program().output().contains("stays root, as --user root asks"));
    let status = finish(&mut edge.command(["status"])).ok();
    assert!(status.contains("process user 0,"), "{status}");
}

#[test]
fn what_cannot_be_handed_over_is_said() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let start = |words: &[&str]| finish(Edge::up(folder.path()).args(words)).err;
    let unknown = start(&["--user", "nobody-of-this-name"]);
    assert!(unknown.contains("no user nobody-of-this-name") && unknown.contains("useradd"), "{unknown}");
    // A folder that is somebody else's, named by mistake.
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(data.join("letter"), "dear").expect("a file");
    let foreign = start(&[]);
    assert!(foreign.contains("holds other things than an edge's"), "{foreign}");
    assert_eq!((owners(&data), std::fs::metadata(&data).expect("a folder").uid()), (vec![0], 0));
    // A folder that its user cannot get to.
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).expect("a folder");
    finish(Command::new("chmod").arg("700").arg(&closed)).ok();
    let mut up = bartizan(folder.path());
    let error = finish(up.args(["up", "--no-demo", "--data"]).arg(closed.join("data"))).failed_with(1);
    assert!(error.contains("cannot open") && error.contains("--user root"), "{error}");
}

/// Command lines are shown to everybody on a machine.
#[test]
fn tokens_come_by_file_and_standard_input() {
    let edge = Edge::start();
    let home = tempfile::tempdir().expect("a temporary directory");
    let command = |words: &[&str]| {
        let mut command = bartizan(home.path());
        command.args(["zone", "list", "--api", edge.api_url()]).args(words);
        command
    };
    let file = home.path().join("token");
    std::fs::write(&file, format!("{}\n", edge.token())).expect("a file");
    let by_file = finish(command(&["--api-token-file"]).arg(&file));
    assert_eq!(by_file.err, "");
    assert!(by_file.ok().contains(edge.domain()));
    let by_variable = finish(command(&[]).env("BARTIZAN_API_TOKEN_FILE", &file)).ok();
    assert!(by_variable.contains(edge.domain()), "{by_variable}");
    let mut piped = command(&["--api-token", "-"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary");
    child.stdin.take().expect("piped above").write_all(edge.token().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("our own child");
    assert!(String::from_utf8_lossy(&output.stdout).contains(edge.domain()));
    let typed = finish(&mut command(&["--api-token", edge.token()]));
    assert!(typed.err.contains("everybody on this machine can see the token after --api-token"), "{}", typed.err);
    assert!(typed.ok().contains(edge.domain()));

    let origin = Origin::files();
    std::fs::write(origin.folder().join("index.html"), "by a file").expect("a temporary file");
    finish(&mut edge.command(["tunnel", "create", "office"])).ok();
    let token = finish(&mut edge.command(["tunnel", "token", "office"])).ok();
    let host = format!("office.{}", edge.domain());
    finish(&mut edge.command(["tunnel", "route", "dns", "office", &host])).ok();
    std::fs::write(&file, token).expect("a file");
    let mut run = bartizan(home.path());
    run.args(["tunnel", "run", "--url", &origin.url(), "--token-file"]).arg(&file);
    let _connector = Connector::from(run);
    wait::until_eq("the page is there", &200, || edge.try_https(&host, "/", &[]).map_or(0, |page| page.status));
}
