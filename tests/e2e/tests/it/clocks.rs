//! An edge whose clock is wrong: at a start, while it runs, and right again. The clock is that of the process alone
//! (libfaketime).

use bartizan_e2e::{Edge, finish, wait};
use serde_json::{Value, json};

use crate::public_certificates::shown;

const ZONE: &str = "clock.example";

fn told(edge: &Edge, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&finish(&mut edge.command(words)).ok()).unwrap()
}

/// Whether it says that its clock is doubted.
fn is_doubted(edge: &Edge) -> bool {
    let status = edge.get("/bartizan/status");
    status["problems"].as_array().unwrap().iter().any(|problem| problem["kind"] == "clock")
}

/// The serial number of what visitors are shown, if they believe it now.
fn serial(edge: &Edge) -> Option<String> {
    let shown = shown(edge, ZONE, edge.ca()).ok()?;
    shown.lines().find(|line| line.starts_with("serial=")).map(str::to_owned)
}

/// The year in which the signature of the zone's SOA record begins.
fn signed_in(edge: &Edge) -> String {
    let reply = edge.dig(&[ZONE, "SOA", "+dnssec"]);
    let answers = reply.answers();
    let signature = answers.iter().find(|line| line.contains("RRSIG")).unwrap_or_else(|| panic!("{answers:?}"));
    // The end stands in front of the beginning (RFC 4034 §3.2).
    let is_time = |word: &&str| word.len() == 14 && word.bytes().all(|octet| octet.is_ascii_digit());
    let begins = signature.split_whitespace().filter(is_time).nth(1);
    begins.unwrap_or_else(|| panic!("{signature}"))[..4].to_owned()
}

fn this_year() -> String {
    finish(std::process::Command::new("date").args(["-u", "-d", "1 hour ago", "+%Y"])).ok().trim().to_owned()
}

#[test]
fn a_clock_that_is_years_ahead_changes_nothing_that_lasts() {
    let edge = Edge::start_by_clock();
    edge.post("/zones", &json!({"name": ZONE}));
    finish(&mut edge.command(["dnssec", "enable", ZONE])).ok();
    let before = wait::until("a certificate", || serial(&edge));
    wait::until("signatures", || edge.dig(&[ZONE, "SOA", "+dnssec"]).answers().len().ge(&2).then_some(()));
    assert!(!is_doubted(&edge));

    // At a start, as of a machine whose clock is not set right before it has a network.
    edge.set_clock("+3660d");
    let edge = edge.restart_after_kill();
    wait::until("the doubt", || is_doubted(&edge).then_some(()));
    assert_eq!(serial(&edge).as_ref(), Some(&before), "what is served stays");
    assert_eq!(signed_in(&edge), this_year());
    let state = told(&edge, &["clock", "show"]);
    assert_eq!(state["state"], "doubted");
    let status = finish(&mut edge.command(["status"])).ok();
    assert!(status.contains("more than a year off") && status.contains("bartizan clock believe"), "{status}");
    let mut doctor = edge.command(["doctor", "--data"]);
    let found = finish(doctor.arg(edge.data()));
    assert!(found.out.contains("more than a year off"), "{}{}", found.out, found.err);

    // Set right behind its back.
    edge.set_clock("+0");
    wait::until("the end of the doubt", || (!is_doubted(&edge)).then_some(()));
    assert_eq!(serial(&edge).as_ref(), Some(&before));
    // And wrong again while it runs.
    edge.set_clock("+65d");
    wait::until("the doubt", || is_doubted(&edge).then_some(()));
    assert_eq!(serial(&edge), Some(before.clone()));
    edge.set_clock("+0");
    wait::until("the end of the doubt", || (!is_doubted(&edge)).then_some(()));
    assert_eq!(serial(&edge).as_ref(), Some(&before));
}

#[test]
fn what_was_made_in_a_wrong_time_is_made_anew_by_the_same_ca() {
    let edge = Edge::start_by_clock();
    edge.post("/zones", &json!({"name": ZONE}));
    let before = wait::until("a certificate", || serial(&edge));
    let ca = std::fs::read(edge.ca()).unwrap();
    edge.set_clock("+800d");
    wait::until("the doubt", || is_doubted(&edge).then_some(()));
    assert_eq!(told(&edge, &["clock", "believe"])["state"], "believed");
    // Who, and what was believed before.
    let history = finish(&mut edge.command(["history"])).ok();
    let said = |line: &str| line.contains("add clock_word") && line.contains("administrator");
    assert!(history.lines().any(said), "{history}");
    wait::until("one of that time, which nobody believes", || serial(&edge).is_none().then_some(()));
    edge.set_clock("+0");
    let after = wait::until("one of now", || serial(&edge));
    assert_ne!(after, before);
    assert_eq!(std::fs::read(edge.ca()).unwrap(), ca);
    assert!(!is_doubted(&edge));
    // The next start knows it too.
    let edge = edge.restart_after_kill();
    assert_eq!(serial(&edge), Some(after));
    assert!(!is_doubted(&edge));
}

/// A start that does not know which time was believed last: of data from a backup, or of an older version. The last change says
/// how late it may be.
#[test]
fn the_last_change_says_how_late_it_may_be() {
    let edge = Edge::start_by_clock();
    edge.post("/zones", &json!({"name": ZONE}));
    let before = wait::until("a certificate", || serial(&edge));
    // Two thirds of the certificate's life are over, and it is due. The time is used, and nothing of it lasts.
    let edge = start_without_time(edge, "+65d");
    wait::until("the doubt", || is_doubted(&edge).then_some(()));
    let status = finish(&mut edge.command(["status"])).ok();
    assert!(status.contains("more than a week later than was known"), "{status}");
    let www = format!("www.{ZONE}");
    let zone = edge.get(&format!("/zones?name={ZONE}"))[0]["id"].as_str().expect("an id").to_owned();
    let record = json!({"type": "A", "name": www, "content": "192.0.2.1"});
    edge.post(&format!("/zones/{zone}/dns_records"), &record);
    wait::until_eq("it serves", &vec!["A 192.0.2.1".to_owned()], || edge.dig(&[&www, "A"]).answers());
    assert_eq!(serial(&edge).as_ref(), Some(&before));
    edge.set_clock("+0");
    wait::until("the end of the doubt", || (!is_doubted(&edge)).then_some(()));
    assert_eq!(serial(&edge).as_ref(), Some(&before));
}

fn start_without_time(edge: Edge, wrong: &str) -> Edge {
    std::fs::remove_file(edge.data().join("clock")).expect("what is known of the time");
    edge.set_clock(wrong);
    edge.restart_after_kill()
}

/// Off for half a year: what has ended meanwhile is made anew, so that it is good whichever time is right.
#[test]
fn what_has_ended_while_an_edge_was_off_is_made_anew_at_once() {
    let edge = Edge::start_by_clock();
    edge.post("/zones", &json!({"name": ZONE}));
    let before = wait::until("a certificate", || serial(&edge));
    let edge = start_without_time(edge, "+180d");
    wait::until("a new one", || serial(&edge).filter(|serial| *serial != before));
    assert!(is_doubted(&edge));
    edge.set_clock("+0");
    wait::until("the end of the doubt", || (!is_doubted(&edge)).then_some(()));
    assert!(serial(&edge).is_some());
}
