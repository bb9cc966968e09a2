//! What an edge that root has started may do, and how secrets are handed to commands. Needs what CI has: root.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Connector, Edge, bartizan, finish, in_namespace, wait};

/// The user number of an edge on a machine without a user `bartizan`.
const OWN: &str = "60787";

/// And of a connector.
const OWN_OF_CONNECTOR: &str = "60788";

/// CAP_NET_BIND_SERVICE and CAP_NET_ADMIN, as `/proc` writes sets.
const BIND_ONLY: u64 = 1 << 10;
const ADMIN_ONLY: u64 = 1 << 12;

/// A field of each thread of a process, as `/proc` shows it.
fn of_threads(process: u32, field: &str) -> Vec<Vec<String>> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let read = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
        line.expect("a field").split_whitespace().map(str::to_owned).collect()
    };
    tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok()).map(read).collect()
}

fn serves_without_root(process: u32, uid: &str) {
    is_not_root(process, uid, BIND_ONLY);
}

fn is_not_root(process: u32, uid: &str, most: u64) {
    for field in ["Uid", "Gid"] {
        for numbers in of_threads(process, field) {
            assert_eq!(numbers, [uid; 4], "{field}: real, effective, saved, file system");
        }
    }
    has_no_more_than(process, most);
    assert!(of_threads(process, "Groups").iter().all(Vec::is_empty));
}

fn has_no_more_than(process: u32, most: u64) {
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        for set in of_threads(process, field) {
            let set = u64::from_str_radix(&set[0], 16).expect("a set");
            assert_eq!(set & !most, 0, "{field}: {set:x}");
        }
    }
    assert!(of_threads(process, "NoNewPrivs").iter().all(|value| value == &["1"]));
}

/// The processes that a process has started.
fn children_of(process: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("it is mounted").flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = |child: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok())
    };
    numbers.filter(|child| parent(child) == Some(process)).collect()
}

fn owners(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").uid()).collect()
}

#[test]
fn root_is_given_up_before_anybody_can_connect() {
    let mut edge = Edge::start_with(&["--pool", "127.89.0.0/16"]);
    serves_without_root(edge.program().id(), OWN);
    let status = finish(&mut edge.command(["status"])).ok();
    assert!(status.contains(&format!("process user {OWN}, CAP_NET_BIND_SERVICE, no way to more")), "{status}");
    let doctor = finish(edge.command(["doctor", "--data"]).arg(edge.data()));
    assert!(doctor.out.contains(&format!("rights of the process: user {OWN}, CAP_NET_BIND_SERVICE")), "{}", doctor.out);
    // The data of an edge that served as root: it is handed over, and all is there.
    let name = format!("www.{}", edge.domain());
    finish(&mut edge.command(["record", "create", &name, "A", "192.0.2.7"])).ok();
    finish(Command::new("chown").args(["--recursive", "0:0"]).arg(edge.data())).ok();
    let mut edge = edge.restart_after_kill();
    serves_without_root(edge.program().id(), OWN);
    assert!(owners(&edge.data()).iter().all(|owner| owner.to_string() == OWN));
    assert_eq!(edge.dig(&[&name, "A"]).answers(), ["A 192.0.2.7"]);
}

/// What keeps the sockets of an edge with all ports takes back what is in the kernel, and may do nothing else.
#[test]
fn one_process_keeps_one_right() {
    let mut edge = Edge::start_with(&["--pool", "127.85.0.0/16", "--ports", "sk_lookup"]);
    serves_without_root(edge.program().id(), OWN);
    let [fd_store] = children_of(edge.program().id())[..] else { panic!("an fd store, and nothing else") };
    has_no_more_than(fd_store, ADMIN_ONLY);
    edge.program().terminate();
    assert!(edge.program().ended().success());
    assert!(!edge.program().output().contains("WARN"), "{}", edge.program().output());
}

/// Whoever can put a socket in the place of the fd store's must not make the edge keep more rights, nor talk to him.
#[test]
fn a_folder_of_strangers_is_not_used() {
    let script = r#"mount -t tmpfs none /run && mkdir -m 777 /run/bartizan && exec "$@""#;
    let mut edge = Edge::start_in_namespace(script, &["--pool", "127.84.0.0/16", "--ports", "sk_lookup"]);
    serves_without_root(edge.program().id(), OWN);
    let [fd_store] = children_of(edge.program().id())[..] else { panic!("an fd store, and nothing else") };
    has_no_more_than(fd_store, ADMIN_ONLY);
    let folder = Path::new("/proc").join(fd_store.to_string()).join("root").join("run/bartizan");
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 0);
    assert!(edge.program().output().contains("others can write there"), "{}", edge.program().output());
    edge.program().terminate();
    assert!(edge.program().ended().success());
}

#[test]
fn the_user_is_who_was_named() {
    let mut edge = Edge::start_with(&["--user", "65534", "--ports", "listeners"]);
    serves_without_root(edge.program().id(), "65534");
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

/// Whoever owns the data puts links there, and root follows none.
#[test]
fn root_follows_no_link_in_the_data() {
    let mut edge = Edge::start();
    edge.program().terminate();
    edge.program().ended();
    let (store, secret) = (edge.data().join("store.sqlite"), edge.folder().join("secret"));
    std::fs::rename(&store, &secret).expect("a store");
    finish(Command::new("chown").arg("0:0").arg(&secret)).ok();
    std::os::unix::fs::symlink(&secret, &store).expect("a link");
    let before = (std::fs::read(&secret).expect("a file"), beside(&secret));
    for words in [&["doctor", "--data"][..], &["doctor", "--rebuild", "--data"]] {
        let mut doctor = bartizan(edge.folder());
        let seen = finish(doctor.args(words).arg(edge.data()));
        assert!(!seen.status.success() && !seen.out.contains("its pages are sound"), "{}{}", seen.out, seen.err);
        assert!((std::fs::read(&secret).expect("a file"), beside(&secret)) == before, "{words:?} changed it");
    }
}

/// What else there is whose name begins with that of a file.
fn beside(file: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(file.parent().expect("a folder")).expect("a folder");
    let begin = file.to_string_lossy().into_owned();
    entries.flatten().map(|entry| entry.path()).filter(|path| path.to_string_lossy().starts_with(&begin)).collect()
}

/// A disk on which nothing can be handed over: what is there is served, and not as root.
#[test]
fn roots_data_on_a_read_only_disk_is_served() {
    let mut edge = Edge::start_with(&["--user", "root"]);
    let www = format!("www.{}", edge.domain());
    finish(&mut edge.command(["record", "create", &www, "A", "192.0.2.1"])).ok();
    edge.program().terminate();
    edge.program().ended();
    finish(Command::new("chmod").args(["--recursive", "go="]).arg(edge.data())).ok();
    let mut up = Edge::up(edge.folder());
    up.arg("--no-demo").env("DATA", edge.data());
    let script = r#"mount --bind "$DATA" "$DATA" && mount -o remount,bind,ro "$DATA" && exec "$@""#;
    let mut program = bartizan_e2e::Program::start("up", &mut in_namespace(&up, script));
    let ready: serde_json::Value = program.line("it is ready", |line| serde_json::from_str(line).ok());
    serves_without_root(program.id(), OWN);
    assert!(program.output().contains("files in it are root's"), "{}", program.output());
    let dns = ready["dns"][0].as_str().and_then(|address| address.parse().ok()).expect("an address");
    assert_eq!(bartizan_e2e::dns::dig(dns, &[&www, "A"]).answers(), ["A 192.0.2.1"]);
    // By all connections to the store that there may be.
    let api = ready["api"].as_str().expect("a URL");
    for _ in 0..8 {
        let shown = finish(edge.command(["record", "list", edge.domain()]).env("BARTIZAN_API", api)).ok();
        assert!(shown.contains("192.0.2.1"), "{shown}");
    }
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
    // What is wrong with the flags is said before anything is made.
    let elsewhere = folder.path().join("elsewhere");
    let mut up = bartizan(folder.path());
    up.args(["up", "--pop", "not a name", "--data"]).arg(&elsewhere);
    let error = finish(&mut up).failed_with(2);
    assert!(error.contains("cannot be the name of a PoP") && error.contains("--pop"), "{error}");
    assert!(!elsewhere.exists());
    let mut up = bartizan(folder.path());
    let error = finish(up.args(["up", "--data"]).arg(data.join("letter"))).failed_with(1);
    assert!(error.contains("it is not a directory") && error.contains("--data DIR"), "{error}");
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

/// A connector needs no right, once it has read the file of its token.
#[test]
fn a_connector_of_root_is_not_root() {
    let (edge, home) = (Edge::start(), tempfile::tempdir().expect("a temporary directory"));
    let host = format!("office.{}", edge.domain());
    finish(&mut edge.command(["tunnel", "create", "office"])).ok();
    finish(&mut edge.command(["tunnel", "route", "dns", "office", &host])).ok();
    let token = home.path().join("token");
    std::fs::write(&token, finish(&mut edge.command(["tunnel", "token", "office"])).ok()).expect("a file");
    finish(Command::new("chmod").arg("600").arg(&token)).ok();
    let run = |words: &[&str]| {
        let mut run = bartizan(home.path());
        run.args(["tunnel", "run", "--url", "hello_world"]).args(words).arg("--token-file").arg(&token);
        run
    };
    for (words, uid) in [(&[][..], OWN_OF_CONNECTOR), (&["--user", "65534"], "65534")] {
        let mut connector = Connector::from(run(words));
        wait::until_eq("the page is there", &200, || edge.try_https(&host, "/", &[]).map_or(0, |page| page.status));
        is_not_root(connector.program.id(), uid, 0);
        assert!(connector.program.output().contains("no capability, no way to more"), "{}", connector.program.output());
        connector.program.terminate();
        assert!(connector.program.ended().success());
    }
    let mut connector = Connector::from(run(&["--user", "root"]));
    connector.program.line("that it stays root", |line| line.contains("stays root").then_some(()));
    let refused = finish(&mut run(&["--user", "nobody-of-this-name"])).failed_with(2);
    assert!(refused.contains("no user nobody-of-this-name"), "{refused}");
}
