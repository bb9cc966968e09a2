//! testssl.sh, which tries what has ever been wrong with TLS.

use std::path::Path;
use std::process::Command;

use bartizan_e2e::{Edge, finish};
use serde_json::Value;

/// What it finds here, and why that is so.
const KNOWN: [&str; 3] = [
    // All suites are good ones, so each client has the one that it is fast at: phones are not at AES.
    "cipher_order",
    // Certificates of the edge's own authority last 90 days, and nobody else is asked about them.
    "cert_revocation",
    // Nobody issues for a domain of this machine.
    "DNS_CAArecord",
];

/// What has to be among what it looks at, and well.
const LOOKED_AT: [&str; 12] = [
    "SSLv2",
    "SSLv3",
    "TLS1_2",
    "TLS1_3",
    "cipherlist_NULL",
    "cipherlist_LOW",
    "cert_chain_of_trust",
    "heartbleed",
    "CCS",
    "secure_renego",
    "POODLE_SSL",
    "RC4",
];

#[test]
fn nothing_that_testssl_finds_is_news() {
    let edge = Edge::start();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let told = folder.path().join("told.json");
    let at = edge.https();
    let program = ["/usr/bin/testssl", "/usr/bin/testssl.sh"].into_iter().find(|path| Path::new(path).is_file());
    let mut testssl = Command::new(program.unwrap_or("testssl"));
    testssl.current_dir(folder.path()).args(["--quiet", "--color", "0", "--warnings", "batch", "--sneaky"]);
    // Protocols, suites, forward secrecy, preferences, the certificate, and all of its attacks.
    testssl.args(["-p", "-s", "-f", "-P", "-S", "-U", "--ip", &at.ip().to_string(), "--add-ca"]).arg(edge.ca());
    testssl.arg("--jsonfile").arg(&told).arg(format!("https://{}:{}/", edge.domain(), at.port()));
    // Its exit code counts what it does not like.
    let _ = finish(&mut testssl);
    let told: Vec<Value> = serde_json::from_slice(&std::fs::read(&told).expect("it has written")).expect("a list");
    let of = |finding: &Value, member: &str| finding[member].as_str().unwrap_or_default().to_owned();
    let news: Vec<&Value> = told
        .iter()
        .filter(|it| {
            !["OK", "INFO", "WARN"].contains(&of(it, "severity").as_str()) && !KNOWN.contains(&of(it, "id").as_str())
        })
        .collect();
    assert!(news.is_empty(), "{news:#?}");
    for id in LOOKED_AT {
        let severity = told.iter().find(|finding| of(finding, "id") == id).map(|finding| of(finding, "severity"));
        assert_eq!(severity.as_deref(), Some("OK"), "{id}: {told:#?}");
    }
}
