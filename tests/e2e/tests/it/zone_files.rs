//! Zones as files: by the binary, over the network, through a crash.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bartizan_e2e::{Edge, Program, curl, finish, wait};
use serde_json::{Value, json};

pub(crate) fn file(edge: &Edge, name: &str, text: &str) -> PathBuf {
    let path = edge.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The lines of a file that are records of a zone and not the zone's own, without its name.
fn records(text: &str, domain: &str) -> Vec<String> {
    let of_zone = ["\t86400\tIN\tNS\tns", "\t86400\tIN\tSOA\t"];
    let is_record = |line: &&str| !line.starts_with(";;") && !of_zone.iter().any(|part| line.contains(part));
    let mut lines: Vec<String> = text
        .lines()
        .filter(is_record)
        .map(|line| line.replace(&format!("{domain}."), "@").replace('\t', " "))
        .collect();
    lines.sort();
    lines
}

pub(crate) fn export(edge: &Edge, zone: &str) -> Vec<String> {
    records(&finish(&mut edge.command(["zone", "export", zone])).ok(), zone)
}

fn total(edge: &Edge) -> u64 {
    let path = format!("/zones/{}/dns_records?per_page=1", edge.zone());
    edge.ask("GET", &path, None).json["result_info"]["total_count"].as_u64().unwrap()
}

#[test]
fn a_zone_goes_into_a_file_and_back() {
    let edge = Edge::start();
    let domain = edge.domain().to_owned();
    let text = format!(
        "$ORIGIN {domain}.\n$TTL 1h\n@ IN SOA ns.old.example. root.old.example. (1 2 3 4 5)\n@ NS ns.old.example.\n\
         www 300 A 192.0.2.1 ; by hand cf_tags=team:web\nmail MX 10 www\nt TXT \"a;b\" c\n"
    );
    let path = file(&edge, "zone.txt", &text);
    let import = |words: &[&str]| finish(edge.command(["zone", "import"]).arg(&path).args(words));
    let before = total(&edge);
    // What would be done is what is done. The SOA says which zone it is.
    let foretold = import(&["--dry-run"]).ok();
    assert!(foretold.contains(&format!("+ www.{domain}. 300 IN A 192.0.2.1 ; by hand cf_tags=team:web")), "{foretold}");
    assert!(foretold.contains(&format!("3 of 5 records would come into {domain}")), "{foretold}");
    assert_eq!(total(&edge), before);
    let done = import(&[]).ok();
    assert!(done.contains("line 3: left out: the SOA") && done.contains("3 of 5 records are new"), "{done}");
    wait::until_eq("it is served", &vec!["A 192.0.2.1".to_owned()], || {
        edge.dig(&[&format!("www.{domain}"), "A"]).answers()
    });
    // Out to a file, and by curl, which is the same.
    let out = edge.folder().join("out.txt");
    finish(edge.command(["zone", "export", &domain, "--to"]).arg(&out)).ok();
    let written = records(&std::fs::read_to_string(&out).unwrap(), &domain);
    let url = format!("{}/zones/{}/dns_records/export", edge.api_url(), edge.zone());
    let bearer = format!("Authorization: Bearer {}", edge.token());
    assert_eq!(records(&curl::get(&["--header", &bearer, &url]).text(), &domain), written);
    assert!(written.contains(&"t.@ 3600 IN TXT \"a;b\" \"c\"".to_owned()), "{written:?}");
    // A server loads it as it is: the SOA record is the one that is served.
    let soa = edge.dig(&[&domain, "SOA", "+norec"]).answers();
    let exported = std::fs::read_to_string(&out).unwrap();
    let line = exported.lines().find(|line| line.contains("\tSOA\t")).expect("a SOA record").replace('\t', " ");
    assert!(soa.len() == 1 && line.ends_with(&format!(" IN {}", soa[0])), "{soa:?}\n{line}");
    finish(Command::new("nsd-checkzone").arg(&domain).arg(&out)).ok();
    // Read by curl as the documents say, into a zone where all of it is there. The zone's own servers are left out.
    let form = format!("file=@{}", out.display());
    let url = format!("{}/zones/{}/dns_records/import", edge.api_url(), edge.zone());
    let answer = curl::get(&["--header", &bearer, "--form", &form, "--form", "proxied=true", &url]).json();
    assert_eq!(answer["result"]["recs_added"], 0, "{answer}");
    assert_eq!(answer["result"]["total_records_parsed"], written.len() + 3, "{answer}");
    // And by a script, from standard input: what is wrong, line by line, and an exit code.
    let bad = file(&edge, "bad.txt", "www CNAME x.example.\n\n$INCLUDE /etc/passwd\n");
    let command = edge.command(["zone", "import", "--zone", &domain, "-"]);
    let mut piped = Command::new("sh");
    piped.args(["-c", "exec \"$@\" < \"$0\""]).arg(bad).arg(command.get_program()).args(command.get_args());
    piped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let refused = finish(&mut piped);
    let text = refused.failed_with(1);
    assert!(text.contains("line 3") && text.contains("$INCLUDE is not allowed"), "{text}");
    let bad = file(&edge, "bad.txt", "www CNAME x.example.\n");
    let text = finish(edge.command(["zone", "import", "--zone", &domain]).arg(bad)).failed_with(4);
    assert!(text.contains("line 1") && text.contains("nothing of the file is in"), "{text}");
    let json = finish(edge.command(["--json", "zone", "import"]).arg(&path)).ok();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), json!({"recs_added": 0, "total_records_parsed": 5}));
}

/// An import that was not answered leaves nothing, however far it had come.
#[test]
fn a_crash_in_an_import_leaves_nothing_of_it() {
    let Cut { edge, domain, before, text, mut import } = Cut::begin();
    let edge = edge.restart_after_kill();
    assert!(!import.ended().success(), "{}", import.output());
    let told = import.output();
    assert!(told.contains("deletes what of the file had landed") && told.contains("bartizan zone export"), "{told}");
    wait::until_by("it is all gone", Duration::from_secs(120), || (total(&edge) == before.0).then_some(()));
    assert_eq!(export(&edge, &domain), before.1);
    assert!(edge.dig(&[&format!("n1.{domain}"), "TXT"]).answers().is_empty());
    // Nothing is in the way of a second try.
    let first: String = text.lines().take(8_000).map(|line| format!("{line}\n")).collect();
    let path = file(&edge, "first.txt", &first);
    let done = finish(edge.command(["zone", "import"]).arg(path)).ok();
    assert!(done.contains("8000 of 8000 records are new"), "{done}");
    assert_eq!(total(&edge), before.0 + 8_000);
}

/// A stop waits for it a while and no longer: all of it is there, and is said to be, or nothing of it.
#[test]
fn a_stop_in_an_import_leaves_all_of_it_or_nothing() {
    let Cut { mut edge, before, mut import, .. } = Cut::begin();
    edge.program().terminate();
    edge.program().ended();
    let edge = edge.restart_after_kill();
    let expect = before.0 + if import.ended().success() { LINES } else { 0 };
    wait::until_by("all or nothing", Duration::from_secs(120), || (total(&edge) == expect).then_some(()));
}

/// An import of which some has landed.
struct Cut {
    edge: Edge,
    domain: String,
    /// How many records there were, and which.
    before: (u64, Vec<String>),
    text: String,
    import: Program,
}

/// Records of it.
const LINES: u64 = 60_000;

impl Cut {
    fn begin() -> Cut {
        let edge = Edge::start();
        let domain = edge.domain().to_owned();
        let before = (total(&edge), export(&edge, &domain));
        let mut text = String::new();
        (0..LINES).for_each(|number| writeln!(text, "n{number}.{domain}. TXT {number}").unwrap());
        let path = file(&edge, "large.txt", &text);
        let import = Program::start("import", edge.command(["zone", "import"]).arg(&path));
        wait::until_by("some of it has landed", Duration::from_secs(120), || {
            (total(&edge) > before.0 + 2_000).then_some(())
        });
        Cut { edge, domain, before, text, import }
    }
}

/// Whoever does not wait for an import does not end it, and is told so.
#[test]
fn an_import_goes_on_without_whoever_began_it() {
    let edge = Edge::start();
    let domain = edge.domain().to_owned();
    let before = total(&edge);
    let mut text = String::new();
    (0..20_000).for_each(|number| writeln!(text, "n{number}.{domain}. TXT {number}").unwrap());
    let path = file(&edge, "large.txt", &text);
    let command = || {
        let mut command = edge.command(["zone", "import"]);
        command.arg(&path);
        command
    };
    let mut import = Program::start("import", &mut command());
    wait::until_by("some of it has landed", Duration::from_secs(120), || (total(&edge) > before).then_some(()));
    import.terminate();
    assert_eq!(import.ended().code(), Some(130), "{}", import.output());
    let told = import.output();
    assert!(told.contains("may or may not have the whole file") && told.contains("bartizan history --zone"), "{told}");
    // Meanwhile nothing is said of what is in the zone: that is for the first one to say.
    let second = finish(&mut command());
    assert!(second.status.success() || second.err.contains("this import has not begun"), "{}", second.err);
    assert!(!second.err.contains("nothing of the file is in"), "{}", second.err);
    wait::until_by("it is all there", Duration::from_secs(120), || (total(&edge) == before + 20_000).then_some(()));
}
