//! What all plain resources have in common.

use serde_json::json;

use crate::edge::Edge;

/// An edit after which everything is as it was is no revision: neither planes nor other nodes hear of it.
#[test]
fn an_edit_that_says_nothing_new_changes_nothing() {
    let edge = Edge::new();
    let (records, zone, account) = (edge.records(), edge.zone(), edge.account());
    let record = r#"{"type":"A","name":"www","content":"192.0.2.1","proxied":true}"#;
    let app = r#"{"protocol":"tcp/22","dns":{"type":"CNAME","name":"ssh"},"origin_direct":["tcp://192.0.2.1:22"]}"#;
    let rule = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"},"notes":"n"}"#;
    let tunnel = r#"{"name":"office"}"#;
    for (path, body, edits) in [
        (records, record, &[("PUT", record), ("PATCH", "{}"), ("PATCH", r#"{"content":" 192.0.2.1"}"#)] as &[_]),
        (format!("/zones/{zone}/spectrum/apps"), app, &[("PUT", app)]),
        (format!("/zones/{zone}/firewall/access_rules/rules"), rule, &[("PATCH", "{}"), ("PATCH", r#"{"notes":"n"}"#)]),
        (format!("/accounts/{account}/cfd_tunnel"), tunnel, &[("PATCH", "{}"), ("PATCH", tunnel)]),
    ] {
        let made = edge.post(&path, body).result();
        let one = format!("{path}/{}", made["id"].as_str().unwrap());
        let before = edge.revision();
        let shown = edge.get(&one).result();
        for (method, body) in edits {
            let answer = edge.call(method, &one, body).result();
            for field in ["id", "modified_on", "name", "content", "protocol", "notes"] {
                assert_eq!(answer[field], shown[field], "{method} {one} {body}");
            }
            assert_eq!(edge.revision(), before, "{method} {one} {body}");
        }
    }
}

#[test]
fn one_of_the_edge_itself() {
    let edge = Edge::new();
    let pop = edge.get("/bartizan/pops").result()[0].clone();
    let one = format!("/bartizan/pops/{}", pop["id"].as_str().unwrap());
    assert_eq!(edge.get(&one).result(), pop);
    assert_eq!(edge.get(&format!("/bartizan/pops/{}", "0".repeat(32))).verdict(), "404 10404");
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "405 10405");
    assert_eq!(edge.get("/bartizan/pops").json()["result_info"]["total_count"], json!(1));
}
