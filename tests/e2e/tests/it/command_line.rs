//! The binary as a person meets it: what it says when something is wrong, and what scripts can rely on.

use std::io::{Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use bartizan_e2e::{Connector, Edge, Finished, Program, bartizan, binary, dns, finish, wait};
use serde_json::{Value, json};

#[test]
fn exit_codes() {
    let edge = Edge::start();
    let www = format!("www.{}", edge.domain());
    for (line, code) in [
        ("status", 0),
        ("zone list", 0),
        ("zone show nowhere.example", 3),
        ("zone create new.example", 0),
        ("zone create new.example", 4),
        ("zone delete new.example", 2),
        ("zone delete new.example --yes", 0),
        ("record create WWW A 192.0.2.1", 0),
        ("record create WWW A 192.0.2.1", 4),
        ("record create WWW AAAA 192.0.2.1", 1),
        ("record delete WWW A", 2),
        ("record delete WWW A -y", 0),
        ("record delete WWW A -y", 3),
        ("record create WWW A 192.0.2.1 --comment why --tag owner:ann", 0),
        ("record update WWW A --content 192.0.2.2 --comment so", 0),
        ("record update WWW TXT --content x", 3),
        ("history WWW", 0),
        ("history WWW --since 2999-01-01", 0),
        ("history DOMAIN", 0),
        ("history --zone DOMAIN", 0),
        ("history nowhere.example", 3),
        ("history --zone nowhere.example", 3),
        ("history --by nobody@example.com", 3),
        ("user create bob@example.com", 0),
        ("token list --user bob@example.com", 0),
        ("token list --user nobody@example.com", 3),
        ("user delete bob@example.com", 2),
        ("user delete bob@example.com -y", 0),
        ("account create two", 0),
        ("account delete two", 2),
        ("account delete two -y", 0),
        ("tunnel create one", 0),
        ("tunnel create one", 4),
        ("tunnel info two", 3),
        ("tunnel delete one", 2),
        ("tunnel delete one --yes", 0),
        ("frobnicate", 2),
        ("zone", 2),
        ("up --dns nonsense", 2),
        ("--version", 0),
        ("help", 0),
    ] {
        let line = line.replace("WWW", &www).replace("DOMAIN", edge.domain());
        let finished = finish(&mut edge.command(line.split(' ')));
        assert_eq!(finished.status.code(), Some(code), "{line}\n{}\n{}", finished.out, finished.err);
        assert_eq!(code == 0, finished.err.is_empty() || !finished.err.contains("error"), "{line}\n{}", finished.err);
    }
    // Names that lead to a tunnel are told of when it goes, and go with it where that is asked for.
    let name = format!("led.{}", edge.domain());
    for (line, left) in [("tunnel delete led --yes", 1), ("tunnel delete led --routes --yes", 0)] {
        finish(&mut edge.command(["tunnel", "create", "led"])).ok();
        finish(&mut edge.command(["tunnel", "route", "dns", "--overwrite-dns", "led", &name])).ok();
        let done = finish(&mut edge.command(line.split(' ')));
        assert!(done.status.success() && done.err.contains(&name), "{line}\n{}\n{}", done.out, done.err);
        let found = edge.get(&format!("/zones/{}/dns_records?name={name}", edge.zone()));
        assert_eq!(found.as_array().map(Vec::len), Some(left), "{line}: {found}");
    }
    // What is said by `create` is said by `update` too, and half of it by neither.
    finish(&mut edge.command(["record", "create", &www, "MX", "10 mail.example.com"])).ok();
    let update = |content: &str| finish(&mut edge.command(["record", "update", &www, "MX", "--content", content]));
    assert!(update("20 other.example.com").ok().contains("20 other.example.com"));
    assert!(update("20").failed_with(2).contains("PREFERENCE EXCHANGE"));
}

/// Records and names are written by anybody; a terminal obeys some characters.
#[test]
fn what_others_wrote_is_shown_and_not_obeyed() {
    let edge = Edge::start();
    let www = format!("www.{}", edge.domain());
    let content = "\x1b]0;owned\x07\u{9b}2J\u{202e}\n";
    let made = finish(&mut edge.command(["record", "create", &www, "TXT", content])).ok();
    let name = "me\u{202e}\u{2028}too";
    finish(&mut edge.command(["tunnel", "create", name])).ok();
    finish(&mut edge.command(["token", "create", name, "--can", "dns"])).ok();
    let obeyed = |char: char| char != '\n' && (char.is_control() || ['\u{202e}', '\u{2028}'].contains(&char));
    for line in
        [&["record", "list", edge.domain()][..], &["tunnel", "list"], &["tunnel", "info", name], &["token", "list"]]
    {
        let shown = finish(&mut edge.command(line)).ok();
        assert!(!shown.contains(obeyed) && shown.contains(r"\u{202e}"), "{line:?}: {shown:?}");
        let json = finish(&mut edge.command(["--json"].iter().chain(line))).ok();
        assert!(!json.contains(obeyed) && json.to_lowercase().contains(r"\u202e"), "{line:?}: {json:?}");
        serde_json::from_str::<Value>(&json).expect("a document");
    }
    assert!(!made.contains(obeyed) && made.trim_end().lines().count() == 1, "{made:?}");
    let error = finish(&mut edge.command(["record", "delete", &www, content])).failed_with(3);
    assert!(!error.contains(obeyed), "{error:?}");
    let error = finish(&mut edge.command(["tunnel", "info", content])).failed_with(3);
    assert!(!error.contains(obeyed), "{error:?}");
}

/// Who chooses a name may choose another object's id.
#[test]
fn an_id_is_nobody_elses_name() {
    let edge = Edge::start();
    let id = |line: &str, name: &str| {
        let words = ["--json"].into_iter().chain(line.split(' ')).chain([name]);
        let made: Value = serde_json::from_str(&finish(&mut edge.command(words)).ok()).expect("a document");
        made["id"].as_str().expect("an id").to_owned()
    };
    let token = id("token create --can dns", "one");
    id("token create --can dns", &token);
    let shown = finish(&mut edge.command(["token", "show", &token])).ok();
    assert!(shown.starts_with("one"), "{shown}");
    finish(&mut edge.command(["token", "delete", &token, "--yes"])).ok();
    let shown = finish(&mut edge.command(["token", "show", &token])).ok();
    assert!(shown.starts_with(&token), "{shown}");
    // A name that looks like an id, and is none.
    let tunnel = id("tunnel create", "two");
    let like = "00000000-0000-4000-8000-000000000000";
    for (name, expect) in [(tunnel.as_str(), "two"), (like, like)] {
        id("tunnel create", name);
        let shown = finish(&mut edge.command(["tunnel", "info", name])).ok();
        assert!(shown.contains(expect), "{name}: {shown}");
    }
}

/// However a person spells whom it is for.
#[test]
fn a_rule_is_found_in_any_spelling() {
    let edge = Edge::start();
    for (made, removed) in [
        ("2001:db8::1", "2001:0DB8:0::1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:DB8::/32", "2001:db8:0::/32"),
        ("AS64500", "as64500"),
        ("dk", "DK"),
    ] {
        finish(&mut edge.command(["firewall", "block", "198.51.100.1"])).ok();
        finish(&mut edge.command(["firewall", "block", made])).ok();
        finish(&mut edge.command(["firewall", "remove", removed, "-y"])).ok();
        let left = finish(&mut edge.command(["firewall", "list"])).ok();
        assert!(
            !left.to_lowercase().contains(&made.to_lowercase()) && left.contains("198.51.100.1"),
            "{removed}\n{left}"
        );
        finish(&mut edge.command(["firewall", "remove", "198.51.100.1", "-y"])).ok();
    }
}

/// Where nobody can be asked a zone goes if that was said before, and what goes with it is told.
#[test]
fn a_zone_that_is_deleted_says_what_goes() {
    let edge = Edge::start();
    for (line, expect) in [
        ("zone create gone.example", "gone.example"),
        ("zone delete gone.example -y", "gone.example is deleted, with its settings and certificates\n"),
        ("zone create gone.example", "gone.example"),
        ("record create a.gone.example A 192.0.2.1", "192.0.2.1"),
        ("record create a.gone.example A 192.0.2.2", "192.0.2.2"),
        ("firewall block 192.0.2.3 --zone gone.example", "192.0.2.3"),
        (
            "zone delete gone.example --yes",
            "gone.example is deleted, with 2 records, 1 access rule and its settings and certificates\n",
        ),
    ] {
        let said = finish(&mut edge.command(line.split(' '))).ok();
        assert!(said.contains(expect), "{line}\n{said}");
    }
}

/// Runs a command at a terminal of its own, and answers its question.
fn asked(command: &Command, answer: &str) -> Finished {
    const TERMINAL: &str = "import os, pty, sys\n\
                            child, terminal = pty.fork()\n\
                            if child == 0: os.execv(sys.argv[2], sys.argv[2:])\n\
                            said = b''\n\
                            while b'[y/N] ' not in said: said += os.read(terminal, 1024)\n\
                            os.write(terminal, sys.argv[1].encode() + b'\\n')\n\
                            try:\n    \
                                while True: said += os.read(terminal, 1024)\n\
                            except OSError: pass\n\
                            print(said.decode())\n\
                            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n";
    let mut python = Command::new("python3");
    python.args(["-c", TERMINAL, answer]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        value.map(|value| python.env(name, value));
    }
    finish(&mut python)
}

/// At a terminal a person is asked first, and whatever is no yes is a no.
#[test]
fn a_person_is_asked_before_something_goes() {
    let edge = Edge::start();
    finish(&mut edge.command(["zone", "create", "gone.example"])).ok();
    finish(&mut edge.command(["record", "create", "a.gone.example", "A", "192.0.2.1"])).ok();
    finish(&mut edge.command(["token", "create", "other", "--can", "dns"])).ok();
    for (kind, name, question) in [
        ("zone", "gone.example", "delete gone.example, with 1 record and its settings"),
        ("token", "other", "end the token other?"),
        // The one by which this command works, so the last.
        ("token", "administrator", "end the token administrator, by which this command works itself?"),
    ] {
        for (answer, code) in [("", 1), ("n", 1), ("yes", 0)] {
            let said = asked(&edge.command([kind, "delete", name]), answer);
            assert_eq!(said.status.code(), Some(code), "{name} {answer:?}\n{}\n{}", said.out, said.err);
            assert!(said.out.contains(question), "{}", said.out);
            let list = finish(&mut edge.command([kind, "list"]));
            assert_eq!(list.out.contains(name), code == 1, "{answer:?}\n{}", list.out);
        }
    }
}

/// Something listens there and says nothing.
#[test]
fn a_mute_api_is_not_waited_for_in_silence() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let api = format!("http://{}/client/v4", listener.local_addr().expect("bound"));
    let home = tempfile::tempdir().expect("a folder");
    let mut command = bartizan(home.path());
    command.args(["zone", "list", "--api", &api]).env("BARTIZAN_API_TOKEN", "0".repeat(40));
    let expect = format!("waiting for {api}/zones");
    Program::start("zone list", &mut command).line("what it waits for", |line| line.contains(&expect).then_some(()));
}

/// A tunnel is healthy whatever stands behind it.
#[test]
fn a_service_where_nothing_listens_is_told() {
    let edge = Edge::start();
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    for (name, scheme) in [("app", "http"), ("port", "tcp")] {
        let (host, service) = (format!("{name}.{}", edge.domain()), format!("{scheme}://{free}"));
        let mut connector = Program::start("tunnel", &mut edge.command(["tunnel", "--hostname", &host, &service]));
        let expect = format!("nothing listens at {service}");
        connector.line("what is wrong", |line| line.contains(&expect).then_some(()));
        if service.starts_with("http") {
            wait::until_eq("an answer by the connector", &502, || {
                edge.try_https(&host, "/", &[]).map_or(0, |page| page.status)
            });
            for line in ["tunnel list", "status"] {
                let shown = finish(&mut edge.command(line.split(' '))).ok();
                assert!(shown.contains("its service does not answer (refused)"), "{line}\n{shown}");
            }
        }
    }
}

/// A token of the environment is on no command line, whatever else stands there.
#[test]
fn only_a_typed_token_is_warned_of() {
    let edge = Edge::start();
    let warned = |words: &[&str]| finish(&mut edge.command(words)).err.contains("everybody on this machine can see");
    assert!(!warned(&["zone", "show", edge.token()]));
    assert!(warned(&["zone", "list", "--api-token", edge.token()]));
}

/// What is refused names the flag that helps, and a typing error leaves nothing half made.
#[test]
fn refusals_name_what_to_type() {
    let edge = Edge::start();
    let tunnels = || edge.get(&format!("/accounts/{}/cfd_tunnel?is_deleted=false", edge.account()));
    let (host, new) = (format!("app.{}", edge.domain()), format!("new.{}", edge.domain()));
    let root = edge.api_url().trim_end_matches("/client/v4").to_owned();
    finish(&mut edge.command(["record", "create", &host, "A", "192.0.2.1"])).ok();
    finish(&mut edge.command(["tunnel", "create", "one"])).ok();
    for (line, expect) in [
        ("tunnel route dns one HOST", "--overwrite-dns replaces it"),
        ("tunnel --hostname HOST --hello-world", "`bartizan record delete HOST`"),
        ("tunnel --hostname NEW --hello-world --edge nowhere.invalid:7844", "nowhere.invalid:7844 cannot be found"),
        ("tunnel --hostname NEW --hello-world --cacert /nowhere/ca.pem", "cannot read /nowhere/ca.pem"),
        ("record update 12 --zone DOMAIN --ttl 60", "`bartizan record list DOMAIN`"),
        ("tunnel --hostname NEW http://localhost:99999", "is not one of http://"),
        ("zone list --api 127.0.0.1:8787", "--api http://127.0.0.1:8787/client/v4"),
        ("up --http 8081", "127.0.0.1:8081 is for this machine"),
        ("record list DOMAIN --type AX", "is no type of records"),
        ("firewall block UK", "the code of the United Kingdom is GB"),
    ] {
        let filled = |text: &str| text.replace("HOST", &host).replace("NEW", &new).replace("DOMAIN", edge.domain());
        let refused = finish(&mut edge.command(filled(line).split(' ')));
        assert!(!refused.status.success() && refused.err.contains(&filled(expect)), "{line}\n{}", refused.err);
        assert!(!refused.err.contains("overwrite_existing"), "{line}\n{}", refused.err);
        assert_eq!(tunnels().as_array().map(Vec::len), Some(1), "{line} leaves a tunnel: {}", tunnels());
    }
    finish(&mut edge.command(["zone", "list", "--api", &root])).ok();
    let ca = edge.ca().to_string_lossy().into_owned();
    let _connector = Connector::start(&edge, &["--hostname", &new, "--hello-world", "--cacert", &ca]);
    let is_up = |tunnel: &Value| tunnel["name"] == new.as_str() && tunnel["status"] == "healthy";
    wait::until_eq("the tunnel is up", &true, || tunnels().as_array().is_some_and(|all| all.iter().any(is_up)));
    let refused = finish(&mut edge.command(["tunnel", "delete", &new, "-y"])).failed_with(1);
    assert!(refused.contains("--force"), "{refused}");
    finish(&mut edge.command(["tunnel", "delete", &new, "--force", "-y"])).ok();
}

/// On a disk that can only be read it serves what is there, and says why nothing can be changed.
#[test]
fn a_read_only_disk_is_served_from() {
    let mut edge = Edge::start();
    let www = format!("www.{}", edge.domain());
    finish(&mut edge.command(["record", "create", &www, "A", "192.0.2.1"])).ok();
    edge.program().terminate();
    edge.program().ended();
    let up = Edge::up(edge.folder());
    let mut command = Command::new("unshare");
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    command
        .args(["--mount", "sh", "-c", mount])
        .arg(edge.data())
        .arg(up.get_program())
        .args(up.get_args())
        .arg("--no-demo");
    let mut program = Program::start("up on a read-only disk", &mut command);
    let ready = program.line("the line that says that all is ready", |line| {
        line.starts_with('{').then(|| serde_json::from_str::<Value>(line).expect("JSON"))
    });
    let text = |pointer: &str| ready.pointer(pointer).and_then(Value::as_str).expect("an address").to_owned();
    let (dns, api) = (text("/dns/0").parse().expect("an address"), text("/api"));
    assert_eq!(dns::dig(dns, &[&www, "A"]).answers(), ["A 192.0.2.1"]);
    let mut command = edge.command(["status"]);
    let seen = finish(command.env("BARTIZAN_API", &api));
    assert!(
        seen.out.contains("the data directory") && seen.out.contains("serves meanwhile"),
        "{}{}",
        seen.out,
        seen.err
    );
    let refused = finish(edge.command(["zone", "create", "new.example"]).env("BARTIZAN_API", &api)).failed_with(1);
    assert!(refused.contains("HTTP 503") || refused.contains("HTTP 507"), "{refused}");
}

#[test]
fn results_go_to_stdout_as_json_when_asked() {
    let edge = Edge::start();
    let www = format!("www.{}", edge.domain());
    for line in ["zone list --json", "status --json", "tunnel list --json", "record create WWW A 192.0.2.1 --json"] {
        let out = finish(&mut edge.command(line.replace("WWW", &www).split(' '))).ok();
        let json: Result<Value, _> = serde_json::from_str(&out);
        assert!(json.is_ok(), "{line}: {out}");
    }
    wait::until_eq("the record is served", &vec!["A 192.0.2.1".to_owned()], || edge.dig(&[&www, "A"]).answers());
}

#[test]
fn a_dry_run_changes_nothing() {
    let edge = Edge::start();
    let www = format!("www.{}", edge.domain());
    finish(&mut edge.command(["record", "create", &www, "A", "192.0.2.1", "--dry-run"])).ok();
    finish(&mut edge.command(["record", "delete", &www])).failed_with(3);
}

/// The data directory of a local `up` is enough: no token has to be copied anywhere.
#[test]
fn a_local_edge_is_found_by_its_data_directory() {
    let edge = Edge::start();
    let mut command = bartizan(edge.folder());
    command.arg("zone").arg("list").arg("--data").arg(edge.data());
    assert!(finish(&mut command).ok().contains(edge.domain()));
}

#[test]
fn login_is_remembered() {
    let edge = Edge::start();
    let home = tempfile::tempdir().expect("a temporary directory");
    let here = |words: &[&str]| {
        let mut command = bartizan(home.path());
        finish(command.args(words))
    };
    here(&["login", "--api", edge.api_url(), "--api-token", edge.token()]).ok();
    assert!(here(&["zone", "list"]).ok().contains(edge.domain()));
    let wrong = here(&["login", "--api", edge.api_url(), "--api-token", &"A".repeat(40)]);
    assert_ne!(wrong.status.code(), Some(0), "{}", wrong.out);
    assert!(here(&["zone", "list"]).ok().contains(edge.domain()), "a login that failed replaces nothing");
    // A directory that is named is that of the edge that is meant.
    let none = home.path().join("none");
    for command in ["zone list", "zone create example.com"] {
        let words: Vec<&str> = command.split(' ').chain(["--data", none.to_str().expect("a path")]).collect();
        let error = here(&words).failed_with(3);
        assert!(error.contains("none") && error.contains("bartizan up"), "{error}");
    }
    // And where there is an edge on this machine, what goes to it nevertheless is said.
    let other = Edge::start();
    let mut command = bartizan(home.path());
    command.args(["login", "--api", edge.api_url(), "--api-token", edge.token()]).env("BARTIZAN_DATA", other.data());
    let told = finish(&mut command).ok();
    assert!(told.contains(other.api_url()) && told.contains("BARTIZAN_API"), "{told}");
}

#[test]
fn no_edge_to_be_found_says_how_to_name_one() {
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let mut command = bartizan(nowhere.path());
    command.args(["zone", "list", "--data"]).arg(nowhere.path().join("none"));
    let error = finish(&mut command).failed_with(3);
    assert!(error.contains("bartizan up") && error.contains("bartizan login"), "{error}");
}

#[test]
fn a_taken_port_names_its_holder() {
    let mut edge = Edge::start();
    let id = edge.program().id().to_string();
    let api = edge.api_url().trim_start_matches("http://").trim_end_matches("/client/v4").to_owned();
    let taken = [
        ("--dns", edge.dns().to_string()),
        ("--http", edge.http().to_string()),
        ("--https", edge.https().to_string()),
        ("--tunnel", edge.tunnel().to_string()),
        ("--api", api),
    ];
    for (flag, address) in taken {
        let other = tempfile::tempdir().expect("a temporary directory");
        let mut command = bartizan(other.path());
        command.args(["up", "--json", "--no-demo", "--data"]).arg(other.path().join("data"));
        for listener in ["--api", "--dns", "--dns-tls", "--http", "--https", "--tunnel"] {
            command.args([listener, if listener == flag { &address } else { "127.0.0.1:0" }]);
        }
        let error = finish(&mut command).failed_with(1);
        assert!(error.contains(&address) && error.contains(&id), "{flag} {address} held by {id}:\n{error}");
    }
}

/// Of its default ports an edge does without that of DNS over TLS alone, and without UDP beside HTTPS whether or not that was
/// named. It says so, and offers no HTTP/3 that is not at all of its addresses.
#[test]
fn a_default_port_that_is_taken() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("unshare");
    command.args(["--net", "python3", "-c", include_str!("default_ports.py")]);
    let seen = finish(command.arg(binary()).arg(folder.path())).ok();
    let seen: Value = serde_json::from_str(seen.trim()).expect("what was seen");
    let service = "DNS over TLS on 127.0.0.1:8853";
    for (what, expect) in [
        ("dns_tls", json!(["[::1]:8853"])),
        ("status", json!([["listener", service]])),
        ("doctor", json!([service])),
        ("readyz", json!(true)),
        ("log", json!(true)),
        ("before a start", json!([true])),
        ("named", json!([true, 1])),
        ("8787", json!([true, 1])),
        ("5300", json!([true, 1])),
        ("8080", json!([true, 1])),
        ("8443", json!([true, 1])),
        ("udp before a start", json!([[true, "stop it, or give --https ADDR:PORT"]])),
        ("udp", json!([2, ["[::1]:8443"], [["listener", "HTTP/3 on 127.0.0.1:8443"]]])),
        ("udp offered", json!([false, false])),
        ("udp log", json!(true)),
        ("offered", json!([true, true])),
        ("free again", json!([2, []])),
    ] {
        assert_eq!(seen[what], expect, "{what}: {seen}");
    }
}

#[test]
fn a_data_directory_that_somebody_uses_is_refused() {
    let edge = Edge::start();
    let error = finish(&mut Edge::up(edge.folder())).failed_with(1);
    assert!(error.contains(&*edge.data().to_string_lossy()), "{error}");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_said_in_one_line() {
    // A file where a folder should be: not even root can write below it.
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(folder.path().join("data"), "").expect("a temporary file");
    let error = finish(&mut Edge::up(folder.path())).failed_with(1);
    assert!(error.contains(&*folder.path().join("data").to_string_lossy()), "{error}");
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let edge = Edge::start();
    let data = edge.data();
    // Marked as of a later version while no process uses it.
    let edge = {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let copy = folder.path().join("data");
        let mut edge = edge;
        edge.program().terminate();
        edge.program().ended();
        finish(Command::new("cp").arg("-r").arg(&data).arg(&copy)).ok();
        folder
    };
    let mark = "import pathlib, sqlite3, sys\n\
                found = [p for p in pathlib.Path(sys.argv[1]).rglob('*') if p.is_file() and p.open('rb').read(15) == b'SQLite format 3']\n\
                assert found, 'no store'\n\
                for p in found:\n    c = sqlite3.connect(p); c.execute('PRAGMA user_version = 9999'); c.commit(); c.close()\n";
    finish(Command::new("python3").args(["-c", mark]).arg(edge.path().join("data"))).ok();
    let error = finish(&mut Edge::up(edge.path())).failed_with(1);
    assert!(error.contains("newer"), "{error}");
}

#[test]
fn the_doctor_finds_nothing_on_free_ports_and_names_what_is_taken() {
    let edge = Edge::start();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let doctor = |dns: &str| {
        let mut command = bartizan(folder.path());
        command.args(["doctor", "--data"]).arg(folder.path().join("data"));
        for listener in ["--api", "--dns-tls", "--http", "--https", "--tunnel"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command.args(["--dns", dns]);
        finish(&mut command)
    };
    // The settings of this machine's kernel are its owner's business; what this edge needs for itself is not.
    let found = doctor("127.0.0.1:0");
    for line in found.out.lines().filter(|line| line.starts_with("fault")) {
        assert!(line.contains("SYN floods") || line.contains("bursts"), "{line}");
    }
    assert!(found.out.contains("ports of applications"), "{}", found.out);
    let taken = edge.dns().to_string();
    let found = doctor(&taken);
    assert_eq!(found.status.code(), Some(1), "{}\n{}", found.out, found.err);
    assert!(format!("{}{}", found.out, found.err).contains(&taken), "{}\n{}", found.out, found.err);
}

/// Only while no edge runs; what was on damaged pages is there afterwards, as the change log has it.
#[test]
fn the_doctor_mends_the_store() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let rebuild = |data: &Path| {
        let mut command = bartizan(folder.path());
        command.args(["doctor", "--rebuild", "--data"]).arg(data);
        finish(&mut command)
    };
    let nothing = rebuild(&folder.path().join("absent"));
    assert!(nothing.status.code() == Some(1) && nothing.err.contains("there is no store"), "{}", nothing.err);
    let edge = Edge::start();
    let running = rebuild(&edge.data());
    assert!(running.status.code() == Some(1) && running.err.contains("stop it first"), "{}", running.err);
    let data = tempfile::tempdir().expect("a temporary directory");
    let store = data.path().join("store.sqlite");
    std::fs::copy(edge.data().join("store.sqlite"), &store).expect("a copy");
    let pages = |sound: &str| {
        let mut command = bartizan(folder.path());
        let found = finish(command.args(["doctor", "--data"]).arg(data.path()));
        assert!(found.out.contains(sound), "{}{}", found.out, found.err);
    };
    pages("its pages are sound");
    let mut file = std::fs::OpenOptions::new().write(true).open(&store).expect("the store");
    file.seek(SeekFrom::Start(4 * 4096)).and_then(|_| file.write_all(&[0; 4 * 4096])).expect("four pages of zeros");
    drop(file);
    pages("its pages are damaged");
    let done = rebuild(data.path());
    assert!(done.status.success() && done.out.contains("made anew"), "{}{}", done.out, done.err);
    pages("its pages are sound");
}

/// The administrator's secrets cannot be read by other users of the machine.
#[test]
fn secrets_are_for_their_owner() {
    let edge = Edge::start();
    let list = "import os, pathlib, sys\n\
                for p in sorted(pathlib.Path(sys.argv[1]).rglob('*')):\n    \
                    text = p.read_bytes() if p.is_file() else b''\n    \
                    if any(s.encode() in text for s in sys.argv[2:]): print(oct(p.stat().st_mode & 0o777), p.name)\n";
    let key = edge.ready()["key"].as_str().expect("a key").to_owned();
    let found = finish(Command::new("python3").args(["-c", list]).arg(edge.data()).args([edge.token(), &key])).ok();
    assert!(found.lines().all(|line| line.starts_with("0o600 ")), "{found}");
    assert_eq!(found.lines().count(), 1, "in one file, and in no log and no database:\n{found}");
}

#[test]
fn shells_complete_our_command_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    for (shell, expect) in [("bash", "complete -F"), ("zsh", "#compdef bartizan"), ("fish", "complete -c bartizan")] {
        let script = finish(bartizan(folder.path()).args(["completions", shell])).ok();
        assert!(script.contains(expect) && script.contains("restore"), "{shell}");
    }
    let file = folder.path().join("bartizan.bash");
    std::fs::write(&file, finish(bartizan(folder.path()).args(["completions", "bash"])).ok()).expect("our folder");
    let ask = "source \"$1\" && COMP_WORDS=(bartizan resto) COMP_CWORD=1 && _bartizan bartizan resto bartizan && echo \"${COMPREPLY[@]}\"";
    assert_eq!(finish(Command::new("bash").args(["-c", ask, "bash"]).arg(&file)).ok().trim(), "restore");
}

/// A person sees who changed what, puts it back, and DNS answers as before; what was changed since is not overwritten.
#[test]
fn a_change_is_seen_and_undone() {
    let edge = Edge::start();
    let www = format!("www.{}", edge.domain());
    let run = |line: &str| finish(&mut edge.command(line.split(' ')));
    run(&format!("record create {www} A 192.0.2.1")).ok();
    run(&format!("record delete {www} A -y")).ok();
    let history = run(&format!("history {www}")).ok();
    let first = history.lines().next().unwrap_or_default();
    assert!(first.contains(&format!("delete record {www}")) && history.contains("- content: 192.0.2.1"), "{history}");
    let revision = first.split_whitespace().next().unwrap_or_default();
    let plan = run(&format!("undo {revision} --dry-run")).ok();
    assert!(plan.contains(&format!("add record {www}")) && plan.contains("+ content: 192.0.2.1"), "{plan}");
    assert!(edge.dig(&[&www, "A"]).answers().is_empty());
    // Where nobody can be asked nothing is changed.
    let unasked = run(&format!("undo {revision}")).failed_with(2);
    assert!(unasked.contains("--yes does it"), "{unasked}");
    assert!(edge.dig(&[&www, "A"]).answers().is_empty());
    run(&format!("undo {revision} --yes")).ok();
    wait::until_eq("the record is back", &vec!["A 192.0.2.1".to_owned()], || edge.dig(&[&www, "A"]).answers());
    let again = run(&format!("undo {revision} --yes"));
    assert!(!again.status.success() && again.err.contains("changed by revision"), "{}", again.err);
    let json: Value = serde_json::from_str(&run(&format!("--json history {www}")).ok()).expect("JSON");
    assert_eq!(json[0]["metadata"]["route"], "POST /bartizan/undo", "{json}");
    run("undo 999999").failed_with(3);
}
