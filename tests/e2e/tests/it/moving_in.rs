//! From an account elsewhere: another edge, as the dialect is the same.

use std::time::Duration;

use bartizan_e2e::{Edge, Finished, Program, finish, wait};
use serde_json::{Value, json};

use crate::zone_files::{export, file};

/// Takes zones of one edge over into another.
fn take_over(there: &Edge, here: &Edge, token: &str, words: &[&str]) -> Finished {
    let token = file(there, "token", token);
    let all = ["import", "cloudflare", "--from", there.api_url(), "--token-file"];
    finish(here.command(all).arg(token).args(words))
}

/// What a run reports that does not take over all.
fn not_whole(run: Finished) -> String {
    assert_eq!(run.status.code(), Some(1), "{}\n{}", run.out, run.err);
    run.out
}

/// A token that may do this alone.
fn narrow(edge: &Edge, can: &[&str]) -> String {
    let words = can.iter().flat_map(|right| ["--can", right]);
    let name = format!("narrow {}", can.join(" "));
    finish(edge.command(["--quiet", "token", "create", &name]).args(words)).ok().trim().to_owned()
}

fn make_zone(edge: &Edge, name: &str) -> String {
    edge.post("/zones", &json!({"name": name}))["id"].as_str().unwrap().to_owned()
}

fn put_rule(edge: &Edge, scope: &str, mode: &str, value: &str) {
    let rule = json!({"mode": mode, "configuration": {"target": "ip", "value": value}, "notes": ""});
    edge.post(&format!("{scope}/firewall/access_rules/rules"), &rule);
}

/// The modes of the rules of a scope, and what they are for.
fn rules(edge: &Edge, scope: &str) -> Vec<String> {
    let rules = edge.get(&format!("{scope}/firewall/access_rules/rules"));
    let shown = |rule: &Value| format!("{} {}", rule["mode"], rule["configuration"]["value"]).replace('"', "");
    rules.as_array().unwrap().iter().map(shown).collect()
}

#[test]
fn an_account_elsewhere_is_taken_over() {
    let there = Edge::start_with(&["--domain", "there.test"]);
    let here = Edge::start_with(&["--domain", "here.test"]);
    let zone = there.post("/zones", &json!({"name": "moved.test"}));
    let zone = zone["id"].as_str().unwrap();
    for record in [
        json!({"type": "A", "name": "www", "content": "192.0.2.1", "proxied": true, "comment": "ours", "tags": ["a:b"]}),
        json!({"type": "MX", "name": "@", "content": "mail.moved.test", "priority": 10, "ttl": 600}),
        json!({"type": "TXT", "name": "t", "content": "v=1; x"}),
    ] {
        there.post(&format!("/zones/{zone}/dns_records"), &record);
    }
    there.ask("PATCH", &format!("/zones/{zone}/settings/ssl"), Some(&json!({"value": "strict"}))).result();
    let rule = json!({"mode": "block", "configuration": {"target": "ip", "value": "192.0.2.66"}, "notes": "n"});
    there.post(&format!("/zones/{zone}/firewall/access_rules/rules"), &rule);

    let run = |words: &[&str]| take_over(&there, &here, there.token(), &[&["--zone", "moved.test"], words].concat());
    let foretold = run(&["--dry-run"]).ok();
    assert!(foretold.contains("+ the zone") && foretold.contains("+ ssl = \"strict\""), "{foretold}");
    assert!(foretold.contains("+ www.moved.test. 1 IN A 192.0.2.1 ; ours cf_tags=a:b,cf-proxied:true"), "{foretold}");
    assert!(foretold.contains("3 of 6 records would come into moved.test"), "{foretold}");
    assert!(here.get("/zones?name=moved.test").as_array().unwrap().is_empty());
    let report = run(&[]).ok();
    assert!(report.contains("3 of 6 records are new") && report.contains("1 access rule is new"), "{report}");
    assert!(!report.contains(there.token()), "{report}");
    assert_eq!(export(&here, "moved.test"), export(&there, "moved.test"));
    let ours = here.get("/zones?name=moved.test")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(here.get(&format!("/zones/{ours}/settings/ssl"))["value"], "strict");
    let rules = here.get(&format!("/zones/{ours}/firewall/access_rules/rules"));
    assert_eq!((&rules[0]["mode"], &rules[0]["notes"]), (&json!("block"), &json!("n")));

    // Once more: all is there, and what is new comes.
    there.post(&format!("/zones/{zone}/dns_records"), &json!({"type": "A", "name": "late", "content": "192.0.2.9"}));
    let report = run(&[]).ok();
    assert!(report.contains("1 of 7 records are new") && !report.contains("access rule is new"), "{report}");
    assert_eq!(export(&here, "moved.test"), export(&there, "moved.test"));
    // A token that is none says so, and is not on the screen.
    let text = take_over(&there, &here, "0123456789012345678901234567890123456789", &[]).failed_with(5);
    assert!(text.contains("check the token") && !text.contains("01234567890"), "{text}");
}

/// What keeps visitors out there does so here before there is anything to visit.
#[test]
fn no_zone_is_taken_over_without_its_rules() {
    let there = Edge::start_with(&["--domain", "there.test"]);
    let here = Edge::start_with(&["--domain", "here.test"]);
    let zone = format!("/zones/{}", make_zone(&there, "moved.test"));
    there.post(&format!("{zone}/dns_records"), &json!({"type": "A", "name": "www", "content": "192.0.2.1"}));
    there.ask("PATCH", &zone, Some(&json!({"paused": true}))).result();
    put_rule(&there, &zone, "block", "192.0.2.66");
    put_rule(&there, &format!("/accounts/{}", there.account()), "block", "192.0.2.67");
    put_rule(&there, "/user", "block", "192.0.2.68");
    let moved = ["--zone", "moved.test"];

    // A name that is not there is an error, also beside one that is, and nothing is done.
    let words = ["--zone", "moved.test", "--zone", "nosuch.test"];
    let text = take_over(&there, &here, there.token(), &words).failed_with(3);
    assert!(text.contains("sees no zone nosuch.test") && !text.contains("moved.test"), "{text}");
    assert!(here.get("/zones?name=moved.test").as_array().unwrap().is_empty());
    // A token that may not see the rules takes over nothing unless that is meant.
    let half = narrow(&there, &["zone:read", "dns:read", "zone-settings:read"]);
    let text = not_whole(take_over(&there, &here, &half, &moved));
    assert!(text.contains("nothing is done here") && text.contains("--without-rules"), "{text}");
    // Nor one that sees those of the zone alone: there may be others.
    let most = narrow(&there, &["zone:read", "dns:read", "zone-settings:read", "firewall-services:read"]);
    let text = not_whole(take_over(&there, &here, &most, &moved));
    assert!(text.contains("those of the account cannot be read there") && text.contains("--zone-rules-only"), "{text}");
    assert!(here.get("/zones?name=moved.test").as_array().unwrap().is_empty());

    // Of each scope into the same; the zone is paused as it is there. What is foretold is what is done.
    put_rule(&here, "/user", "whitelist", "192.0.2.68");
    let foretold = not_whole(take_over(&there, &here, there.token(), &["--zone", "moved.test", "--dry-run"]));
    let text = not_whole(take_over(&there, &here, there.token(), &moved));
    for report in [&foretold, &text] {
        let fault = "access rule of the user block 192.0.2.68: it is whitelist here, and stays so";
        assert!(report.contains(fault) && report.contains("no record is put in"), "{report}");
    }
    let of_account = "+ access rule of the account: block 192.0.2.67";
    assert!(foretold.contains("+ paused") && foretold.contains(of_account), "{foretold}");
    let ours = here.get("/zones?name=moved.test")[0].clone();
    assert_eq!(ours["paused"], true, "{ours}");
    let ours = format!("/zones/{}", ours["id"].as_str().unwrap());
    assert_eq!(rules(&here, &ours), ["block 192.0.2.66"]);
    assert_eq!(rules(&here, &format!("/accounts/{}", here.account())), ["block 192.0.2.67"]);
    assert_eq!(rules(&here, "/user"), ["whitelist 192.0.2.68"]);
    assert!(here.get(&format!("{ours}/dns_records")).as_array().unwrap().is_empty());
    // Mended, it goes on.
    let id = here.get("/user/firewall/access_rules/rules")[0]["id"].as_str().unwrap().to_owned();
    here.delete(&format!("/user/firewall/access_rules/rules/{id}"));
    let text = take_over(&there, &here, there.token(), &moved).ok();
    assert!(text.contains("1 access rule of the user is new") && text.contains("1 of 4 records are new"), "{text}");
    assert_eq!(rules(&here, "/user"), ["block 192.0.2.68"]);

    // And without them, if it is meant.
    make_zone(&there, "open.test");
    let text = take_over(&there, &here, &half, &["--zone", "open.test", "--without-rules"]).ok();
    assert!(text.contains("0 of 3 records are new"), "{text}");
}

/// What does not come with a zone is told, by its name and not by a line of a file that nobody saw.
#[test]
fn what_stays_behind_is_told() {
    let there = Edge::start_with(&["--domain", "there.test"]);
    let here = Edge::start_with(&["--domain", "here.test"]);
    let zone = format!("/zones/{}", make_zone(&there, "moved.test"));
    let target = "07070707-0707-4707-8707-070707070707.cfargotunnel.com";
    let record = json!({"type": "CNAME", "name": "app", "content": target, "proxied": true});
    there.post(&format!("{zone}/dns_records"), &record);
    let most = narrow(&there, &["zone:read", "dns:read", "zone-settings:read", "firewall-services:read"]);
    let text = take_over(&there, &here, &most, &["--zone", "moved.test", "--zone-rules-only"]).ok();
    assert!(text.contains("1 name leads to a tunnel that is not here"), "{text}");
    assert!(text.contains("access rules of the account and of the user stay there"), "{text}");
    let left_out = "IN NS ns1.there.test.: left out: the name servers of the zone itself";
    assert!(text.contains(left_out) && !text.contains("line "), "{text}");
    // What stands here in the way.
    there.post(&format!("{zone}/dns_records"), &json!({"type": "CNAME", "name": "www", "content": "x.test"}));
    let ours = here.get("/zones?name=moved.test")[0]["id"].as_str().unwrap().to_owned();
    let record = json!({"type": "A", "name": "www", "content": "192.0.2.1"});
    here.post(&format!("/zones/{ours}/dns_records"), &record);
    let text = not_whole(take_over(&there, &here, there.token(), &["--zone", "moved.test"]));
    assert!(text.contains("www.moved.test. 1 IN CNAME x.test."), "{text}");
    assert!(!text.contains("line ") && !text.contains("the file"), "{text}");
}

/// Cut off in the middle, and started again: nothing is there twice, nothing is missing, and the report says what is new.
#[test]
fn a_move_that_was_cut_off_goes_on() {
    const RECORDS: u64 = 6_000;
    let there = Edge::start_with(&["--domain", "there.test"]);
    let here = Edge::start_with(&["--domain", "here.test"]);
    let zones = ["a.test", "b.test", "c.test"];
    for zone in zones {
        let id = make_zone(&there, zone);
        let lines = (0..RECORDS).map(|number| format!("n{number}.{zone}. 300 IN TXT \"{number}\"\n"));
        let path = file(&there, &format!("{zone}.txt"), &lines.collect::<String>());
        finish(there.command(["zone", "import"]).arg(path)).ok();
        put_rule(&there, &format!("/zones/{id}"), "block", "192.0.2.66");
    }
    put_rule(&there, "/user", "block", "192.0.2.68");
    let token = file(&there, "token", there.token());
    let words = ["import", "cloudflare", "--from", there.api_url(), "--token-file"];
    let selected = zones.iter().flat_map(|zone| ["--zone", zone]);
    let run = || {
        let mut command = here.command(words);
        command.arg(&token).args(selected.clone());
        command
    };
    let total = |zone: &str| {
        let zones = here.get(&format!("/zones?name={zone}"));
        let Some(id) = zones[0]["id"].as_str() else { return 0 };
        let page = here.ask("GET", &format!("/zones/{id}/dns_records?per_page=1"), None);
        page.json["result_info"]["total_count"].as_u64().unwrap_or(0)
    };
    // As far as the second zone, of which some has landed.
    let first = Program::start("import", &mut run());
    wait::until_by("some of the second zone is here", Duration::from_secs(120), || {
        (total("b.test") > 0 && total("b.test") < RECORDS).then_some(())
    });
    first.kill();
    let before = export(&here, "a.test");
    assert_eq!(before, export(&there, "a.test"), "the first zone was whole");
    assert_eq!(total("c.test"), 0);

    // What the edge had whole lands all the same, and until then another import into the zone is refused.
    let again = wait::until_by("it goes on", Duration::from_secs(120), || {
        let again = finish(&mut run());
        let is_busy = again.out.contains("has not begun");
        assert!(again.status.success() || is_busy, "{}{}", again.out, again.err);
        again.status.success().then_some(again.out)
    });
    for zone in zones {
        assert_eq!(export(&here, zone), export(&there, zone), "{zone}");
    }
    assert_eq!(rules(&here, "/user"), ["block 192.0.2.68"]);
    let new = |zone: &str| {
        let (_, report) = again.split_once(&format!("{zone}\n")).unwrap_or_else(|| panic!("{zone}: {again}"));
        let line = report.lines().find(|line| line.contains("records are new")).expect("a line of what is new");
        line.trim().split(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a number")
    };
    assert_eq!((new("a.test"), new("c.test")), (0, RECORDS), "{again}");
    assert!([0, RECORDS].contains(&new("b.test")), "all of it had landed, or nothing: {again}");
    let whole = finish(&mut run()).ok();
    assert_eq!(whole.matches("0 of 6003 records are new").count(), 3, "{whole}");
    assert!(!whole.contains("rule is new") && !whole.contains("the zone is new"), "{whole}");
}
