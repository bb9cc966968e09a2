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
