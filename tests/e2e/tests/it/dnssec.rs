//! DNSSEC as resolvers see it that validate, from the first signature to the last.

use std::process::Command;

use bartizan_e2e::{Edge, binary, finish, wait};
use bartizan_lab::NameServer;
use serde_json::{Value, json};

/// A parent, a validator and the edge: nobody is ever told that the zone is forged.
#[test]
fn the_life_of_a_signed_zone() {
    // The key is exchanged once, and the parent is told of it.
    live("csk", json!([true]));
}

/// The same with a KSK and a ZSK, each exchanged in turn; of the second the parent need not know.
#[test]
fn the_life_of_a_zone_with_two_keys() {
    live("split", json!([false, true]));
}

/// `new` says of each exchange whether another DS record was wanted then.
fn live(keys: &str, new: Value) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("unshare");
    command.args(["--net", "python3", "-c", include_str!("dnssec.py")]);
    let seen = finish(command.arg(binary()).arg(folder.path()).arg(keys)).ok();
    let seen: Value = serde_json::from_str(seen.trim()).expect("what was seen");
    let answer = |secure: bool| json!({"status": "NOERROR", "secure": secure});
    let delete = (["00000"], ["030AA=="]);
    // It is delegated and looked after by the edge alone; the note of a signed zone is that its parent does not say so yet.
    let inside = json!([
        answer(false),
        [],
        "pending",
        ["dnssec"],
        // What is changed the first time, and the second.
        [[], ["NS", "NS", "DS"]],
        [[], []],
        answer(true),
        answer(true),
        [],
        [["DS"], []],
        answer(false),
        [],
    ]);
    for (what, expect) in [
        ("before", answer(false)),
        (
            "complaints",
            json!([
                ["delegation-differs"],
                ["delegation-differs", "glue-differs", "lame-server"],
                ["delegation-differs", "ds-of-unsigned"],
                ["not-delegated"],
            ]),
        ),
        ("enabled", json!("pending")),
        ("children", json!(["child-lame", "delegation-differs"])),
        ("cds", json!(true)),
        ("cdnskey", json!(true)),
        ("walks", json!([["black-lies", true, []], ["shotgun", true, []], ["compact", true, []]])),
        ("after", answer(true)),
        ("new", new),
        ("disabled", json!([0, "pending-disabled", delete.0, delete.1])),
        ("at the end", answer(false)),
        ("again", answer(true)),
        ("inside", inside),
        // Refused, with what does it all the same.
        ("kept", json!([5, true])),
        ("load", json!({"failed": [], "insecure": 0, "enough": true})),
        ("registry", json!([["REG-1", "example.test"], 0])),
    ] {
        assert_eq!(seen[what], expect, "{what}: {seen}");
    }
}

/// All zones that have begun and not ended, in one go: done is what their parent has done its part of, the others are told, and
/// once more is no harm.
#[test]
fn what_was_begun_is_finished() {
    // No server of the parent can be reached, so the resolver is believed.
    let parent = |ds: &[String]| format!("test 60 NS ns.test\nns.test 60 A 127.0.0.255\n{}", ds.join("\n"));
    let resolver = NameServer::start(&parent(&[]));
    let edge = Edge::start_with(&["--resolver", &resolver.address.to_string()]);
    let zones = ["one.test", "two.test", "three.test", "four.test", "plain.test"].map(|name| {
        let zone = edge.post("/zones", &json!({"name": name, "account": {"id": edge.account()}}));
        (name, zone["id"].as_str().expect("an id").to_owned())
    });
    let (plain, signed) = zones.split_last().expect("five");
    for (name, id) in signed {
        finish(&mut edge.command(["dnssec", "enable", name])).ok();
        // It looks again a minute later.
        let details = || edge.get(&format!("/bartizan/zones/{id}/dnssec"));
        wait::until("its parent was asked", || details()["parent"]["since"].as_str().map(str::to_owned));
    }
    let ds = |(name, id): &(&str, String)| {
        let line = edge.get(&format!("/zones/{id}/dnssec"))["ds"].as_str().expect("it is signed").to_owned();
        format!("{name} 300 DS {}", line.split_once(" DS ").expect("a DS record").1)
    };
    resolver.has(&parent(&[ds(&signed[0]), ds(&signed[1])]));
    let finished = || -> Value {
        let told = finish(&mut edge.command(["dnssec", "finish", "--rate", "100", "--json"])).ok();
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let mut waiting: Vec<_> =
            told["waiting"].as_array().expect("a list").iter().map(|one| &one["zone_name"]).collect();
        waiting.sort_by_key(|name| name.to_string());
        json!([told["begun"], told["done"], waiting, told["failed"]])
    };
    let left = json!(["four.test", "three.test"]);
    assert_eq!(finished(), json!([4, 2, left, []]));
    assert_eq!(finished(), json!([2, 0, left, []]), "what is done is passed over");
    let statuses: Vec<_> =
        zones.iter().map(|(_, id)| edge.get(&format!("/zones/{id}/dnssec"))["status"].clone()).collect();
    assert_eq!(statuses, ["active", "active", "pending", "pending", "disabled"], "{plain:?} is not signed");
}

/// A DS record comes into a zone of this edge only beside NS records that lead here; what stands there of keys that the zone does
/// not have goes only if that is said.
#[test]
fn a_ds_record_stands_beside_servers_of_ours_alone() {
    const OTHER: &str = "7 13 2 c4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17";
    let edge = Edge::start_with(&["--resolver", "127.0.0.1:9"]);
    let run = |line: &str| finish(&mut edge.command(line.split(' ')));
    for line in [
        "zone create outer.test",
        "zone create in.outer.test",
        "zone create bare.outer.test",
        "dnssec enable in.outer.test",
    ] {
        run(line).ok();
    }
    let outer = run("--json zone show outer.test").ok();
    let outer: Value = serde_json::from_str(&outer).expect("a document");
    let path = format!("/zones/{}/dns_records", outer["id"].as_str().expect("an id"));
    let add = |name: &str, kind: &str, content: &str| {
        edge.post(&path, &json!({"name": name, "type": kind, "content": content}));
    };
    let ds = |name: &str| -> Vec<String> {
        let found = edge.get(&format!("{path}?name={name}&type=DS"));
        let contents =
            found.as_array().expect("a list").iter().map(|one| one["content"].as_str().expect("text").to_lowercase());
        contents.collect()
    };
    add("in.outer.test", "NS", "ns.else.test");
    let refused = run("dnssec ds in.outer.test --put").failed_with(5);
    assert!(refused.contains("lead to ns.else.test, and not to this edge"), "{refused}");
    assert!(ds("in.outer.test").is_empty());

    for server in outer["name_servers"].as_array().expect("a list") {
        add("in.outer.test", "NS", server.as_str().expect("a name"));
    }
    add("in.outer.test", "DS", OTHER);
    let own = run("dnssec ds in.outer.test").ok();
    let own = own.lines().next().and_then(|line| line.split_once(" DS ")).expect("a DS record").1.to_lowercase();
    let kept = run("dnssec ds in.outer.test --put");
    assert!(kept.err.contains("ns.else.test too has to have the zone"), "{}", kept.err);
    assert!(kept.ok().contains("stays: it is of a key that this zone does not have, and --yes takes it out"));
    let both = [OTHER.to_owned(), own.clone()];
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    assert_eq!(sorted(ds("in.outer.test")), sorted(both.to_vec()));
    let tried = run("dnssec ds in.outer.test --put --dry-run").ok();
    assert!(tried.starts_with("delete record in.outer.test") && tried.contains(&OTHER[..8]), "{tried}");
    assert_eq!(ds("in.outer.test").len(), 2);
    run("dnssec ds in.outer.test --put --yes").ok();
    assert_eq!(ds("in.outer.test"), [own]);

    // Of a zone that is not signed here, and is somebody else's there: nothing goes by itself.
    add("bare.outer.test", "NS", "ns.else.test");
    add("bare.outer.test", "DS", OTHER);
    assert!(run("dnssec ds bare.outer.test --put").ok().contains("is as it was"));
    assert_eq!(ds("bare.outer.test"), [OTHER]);
}
