//! The CA of an edge in the stores of this machine and of its browsers (those of Chrome and Firefox, by NSS), and out again:
//! seen by curl and by NSS itself. Needs what CI has: root, `certutil` and `vfychain`.

use std::process::Command;

use bartizan_e2e::{Edge, finish, in_namespace};

const ROOT: &str = "root/.pki/nssdb root/.mozilla/firefox/a.default";
const VISITOR: &str = "visitor/.pki/nssdb visitor/.mozilla/firefox/a.default";

#[test]
fn stores_get_the_ca_and_give_it_back() {
    let edge = Edge::start();
    let program = edge.command([""; 0]).get_program().to_owned();
    let folder = edge.folder().join("stores");
    std::fs::create_dir(&folder).expect("a folder of the test");
    let mut script = Command::new("sh");
    script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/trust.sh"));
    script.arg(program).arg(edge.data()).arg(edge.https().to_string()).arg(edge.domain()).arg(&folder);
    let seen = finish(&mut in_namespace(&script, "exec \"$@\"")).ok();
    let lines: Vec<&str> = seen.lines().map(str::trim_end).collect();
    let [both, all] = [format!("curl {ROOT}"), format!("curl {ROOT} {VISITOR}")];
    let expect = [
        "before:".to_owned(),
        format!("root: {both}"),
        format!("sudo: {all}"),
        format!("again: {all}"),
        format!("removed:  {VISITOR}"),
        "gone:".to_owned(),
        format!("browsers:  {ROOT}"),
    ];
    assert_eq!(lines, expect);
}
