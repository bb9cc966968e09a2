//! DNSSEC as resolvers see it that validate, from the first signature to the last.

use std::process::Command;

use bartizan_e2e::{binary, finish};
use serde_json::{Value, json};

/// A parent, a validator and the edge: nobody is ever told that the zone is forged.
#[test]
fn the_life_of_a_signed_zone() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("unshare");
    command.args(["--net", "python3", "-c", include_str!("dnssec.py")]);
    let seen = finish(command.arg(binary()).arg(folder.path())).ok();
    let seen: Value = serde_json::from_str(seen.trim()).expect("what was seen");
    let answer = |secure: bool| json!({"status": "NOERROR", "secure": secure});
    let delete = (["00000"], ["030AA=="]);
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
        ("new", json!(true)),
        ("disabled", json!([0, "pending-disabled", delete.0, delete.1])),
        ("at the end", answer(false)),
        ("again", answer(true)),
        ("load", json!({"failed": [], "insecure": 0, "enough": true})),
        ("registry", json!([["REG-1", "example.test"], 0])),
    ] {
        assert_eq!(seen[what], expect, "{what}: {seen}");
    }
}
