//! The first days of somebody who owns an edge, from a token for one zone to a disk that is lost.

use std::fs;

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Connector, Edge, bartizan, finish, wait};
use serde_json::Value;

use crate::acme::certbot;
use crate::backups::{certificate, command, text};

const ZONE: &str = "days.example";
const NAME: &str = "www.days.example";

#[test]
fn from_a_token_to_a_lost_disk() {
    let edge = Edge::start();
    let say = |line: &str| finish(&mut edge.command(line.split(' '))).ok();
    say(&format!("zone create {ZONE}"));
    let token = say(&format!("token create certbot --can dns --zone {ZONE}"));
    certbot(&edge, ZONE, token.trim());
    let history = say(&format!("history --zone {ZONE}"));
    for did in ["add record _acme-challenge", "delete record _acme-challenge"] {
        let by_token = |line: &str| line.contains(did) && line.contains("certbot from 127.0.0.1");
        assert!(history.lines().any(by_token), "{did}: {history}");
    }

    // A mistake, and the way back.
    say(&format!("record create {NAME} A 192.0.2.1"));
    say(&format!("record update {NAME} --content 192.0.2.99"));
    wait::until_eq("the mistake", &vec!["A 192.0.2.99".to_owned()], || edge.dig(&[NAME, "A"]).answers());
    let newest: Value = serde_json::from_str(&say(&format!("history {NAME} --count 1 --json"))).expect("a list");
    let revision = newest[0]["bartizan"]["revision"].to_string();
    let foretold = say(&format!("undo {revision} --dry-run"));
    assert!(foretold.contains("content: 192.0.2.99 → 192.0.2.1"), "{foretold}");
    say(&format!("undo {revision} --yes"));
    wait::until_eq("it is undone", &vec!["A 192.0.2.1".to_owned()], || edge.dig(&[NAME, "A"]).answers());

    let origin = Origin::files();
    fs::write(origin.folder().join("index.html"), "<p>from behind</p>").expect("a temporary file");
    let host = format!("app.{ZONE}");
    let connector = Connector::start(&edge, &["--hostname", &host, &origin.url()]);
    wait::until_eq("the page is there", &200, || edge.try_https(&host, "/", &[]).map_or(0, |page| page.status));
    let (tunnel, shown) = (say(&format!("tunnel token {host}")), certificate(&edge, &host));

    let kept = tempfile::tempdir().expect("a folder");
    let file = kept.path().join("edge.backup");
    finish(&mut command(edge.folder(), &["backup", "--data", text(&edge.data()), text(&file)])).ok();
    // All that was on the disk goes with it.
    drop((edge, connector));

    let folder = tempfile::Builder::new().prefix("bartizan-e2e-").tempdir().expect("a folder");
    let data = folder.path().join("data");
    finish(&mut command(folder.path(), &["restore", text(&file), "--data-dir", text(&data)])).ok();
    let edge = Edge::start_on(folder);
    assert_eq!(edge.dig(&[NAME, "A"]).answers(), ["A 192.0.2.1"]);
    assert_eq!(certificate(&edge, &host), shown);
    let server = edge.tunnel().to_string();
    let words = ["tunnel", "run", "--token", tunnel.trim(), "--edge", &server, "--url", &origin.url()];
    let _connector = Connector::from({
        let mut command = bartizan(edge.folder());
        command.args(words);
        command
    });
    wait::until_eq("the page is there", &200, || edge.try_https(&host, "/", &[]).map_or(0, |page| page.status));
    assert_eq!(edge.https_get(&host, "/", &[]).text(), "<p>from behind</p>");
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let zones = edge.ask_as(&[&bearer], "GET", "/zones", None).result();
    assert_eq!((zones.as_array().map(Vec::len), &zones[0]["name"]), (Some(1), &ZONE.into()));
    // What was done is remembered, and can be undone, as before.
    let history = finish(&mut edge.command(["history", "--zone", ZONE])).ok();
    assert!(history.contains("add record _acme-challenge"), "{history}");
}
