//! Which of our crates may use which. Folders are layers; arrows point down only.

use super::Finding;
use super::workspace::{Kind, Workspace};

/// Inside `base`: words first. A crate that has no row may use `names` and `live`.
/// The dialing kit asks name servers, sets up TLS and counts; what is unread of a stream is shared out by source.
const BASE: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("live", &["names"]),
    ("model", &["names", "live", "v4", "expr"]),
    ("dial", &["names", "live", "wire", "tls", "observed", "quotas"]),
    ("quic", &["quotas"]),
];

/// What a crate of `base` without a row in [`BASE`] may use.
const BASE_ORDINARY: &[&str] = &["names", "live"];

/// What an engine may use of `base`.
const ENGINES_USE_BASE: &[&str] = &["names", "model", "wire", "expr", "live"];

/// Inside `engines`. A zone's policy has a value of each engine that decides about requests, and nothing else in common
/// with them: so a feature that is a policy adds its engine here. Which name answers for a host is for `authority` alone
/// to say, so that DNS and HTTP cannot differ.
const ENGINES: &[(&str, &[&str])] = &[
    ("authority", &["signer"]),
    ("routes", &["authority"]),
    ("policy", &["access", "firewall", "http-cache", "page-rules", "steering"]),
];

/// Inside `control`. Certificates are objects of the store that travel in the bundle, so `publish` reads them too.
const CONTROL: &[(&str, &[&str])] = &[
    ("api", &["publish", "store", "stats", "certs", "registry", "dnssec", "dashboard"]),
    ("dnssec", &["publish", "store", "registry"]),
    ("publish", &["store", "certs"]),
    ("certs", &["store", "fetch"]),
    ("registry", &["store", "fetch"]),
];

/// What a plane must not see of `base`: a plane's configuration is a struct of engine values.
const HIDDEN_FROM_PLANES: &[&str] = &["v4", "model"];

/// The connector reads its ingress rules from the API's shapes; it has no publisher behind it.
const PLANE_EXCEPTIONS: &[(&str, &str)] = &[("connector", "v4")];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ours in &workspace.crates {
        for need in &ours.needs {
            let Some(to) = &need.folder else { continue };
            if let Some(why) = forbidden(&ours.folder, to, need.kind) {
                findings.push(Finding::new(
                    format!("{}/Cargo.toml", ours.folder),
                    format!("must not use {to}: {why}"),
                    "move what you need down to a crate that both may use, or let bin/bartizan hand it over as a value \
                     or a trait",
                ));
            }
        }
    }
    findings
}

/// Why the crate in folder `from` must not use the one in folder `to`, or `None` if it may.
fn forbidden(from: &str, to: &str, kind: Kind) -> Option<&'static str> {
    let (from_layer, from_name) = split(from);
    let (to_layer, to_name) = split(to);
    match (from_layer, to_layer) {
        (_, "tests") if to_name == "lab" && kind == Kind::Dev => None,
        (_, "tests" | "bench" | "xtask" | "fuzz") => Some("nothing uses tests, bench or xtask"),
        ("tests" | "bench" | "xtask" | "fuzz" | "bin", _) => None,
        (_, "bin") => Some("the binary stands above everything"),
        ("base", "base") => {
            let allowed = row(BASE, from_name).unwrap_or(BASE_ORDINARY).contains(&to_name);
            (!allowed).then_some("base is words and bytes, each crate on its own (names and live excepted)")
        }
        ("base", _) => Some("base knows nothing of the layers above"),
        ("engines", "base") => {
            (!ENGINES_USE_BASE.contains(&to_name)).then_some("engines decide, and cannot reach what does I/O")
        }
        ("engines", "engines") => (!in_row(ENGINES, from_name, to_name)).then_some("engines do not know each other"),
        ("engines", _) => Some("engines know nothing of the layers above"),
        ("planes", "base") => {
            let hidden = HIDDEN_FROM_PLANES.contains(&to_name) && !PLANE_EXCEPTIONS.contains(&(from_name, to_name));
            hidden.then_some("a plane's configuration is a struct of engine values, not of the API's shapes")
        }
        ("planes", "engines") => None,
        ("planes", "planes") => Some("planes do not know each other: take an Upstream or a Dialer, given by bin"),
        ("planes", "control") => Some("planes and control never see each other: bin hands each plane its Live<Config>"),
        ("control", "base" | "engines") => None,
        ("control", "control") => (!in_row(CONTROL, from_name, to_name)).then_some("not an arrow inside control"),
        ("control", "planes") => Some("planes and control never see each other"),
        _ => Some("this folder is no layer that the table knows"),
    }
}

fn split(folder: &str) -> (&str, &str) {
    folder.split_once('/').unwrap_or((folder, ""))
}

fn row<'t>(table: &[(&str, &'t [&'t str])], from: &str) -> Option<&'t [&'t str]> {
    table.iter().find(|(name, _)| *name == from).map(|(_, allowed)| *allowed)
}

fn in_row(table: &[(&str, &[&str])], from: &str, to: &str) -> bool {
    row(table, from).is_some_and(|allowed| allowed.contains(&to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows() {
        for (from, to, allowed) in [
            ("base/v4", "base/names", true),
            ("base/model", "base/v4", true),
            ("base/model", "base/names", true),
            ("base/v4", "base/model", false),
            ("base/names", "base/live", false),
            ("base/live", "base/names", true),
            ("base/live", "base/wire", false),
            ("base/tls", "base/live", true),
            ("base/tls", "base/net", false),
            ("base/quic", "base/quotas", true),
            ("base/quic", "base/net", false),
            ("base/wire", "engines/authority", false),
            ("engines/authority", "base/wire", true),
            ("engines/authority", "engines/signer", true),
            ("engines/signer", "engines/authority", false),
            ("engines/policy", "engines/page-rules", true),
            ("engines/page-rules", "engines/policy", false),
            ("engines/routes", "engines/policy", false),
            ("engines/routes", "base/net", false),
            ("engines/routes", "base/exchange", false),
            ("engines/routes", "base/v4", false),
            ("engines/routes", "control/store", false),
            ("planes/dns", "engines/authority", true),
            ("planes/dns", "base/net", true),
            ("planes/dns", "base/v4", false),
            ("planes/connector", "base/v4", true),
            ("planes/connector", "base/model", false),
            ("planes/http", "planes/tunnel", false),
            ("planes/http", "control/certs", false),
            ("control/api", "control/publish", true),
            ("control/publish", "control/api", false),
            ("control/dnssec", "control/registry", true),
            ("control/dnssec", "control/api", false),
            ("control/store", "control/publish", false),
            ("control/publish", "engines/routes", true),
            ("control/api", "planes/tunnel", false),
            ("bin/bartizan", "planes/http", true),
            ("bin/bartizan", "control/api", true),
            ("bin/bartizan", "xtask", false),
            ("control/api", "bin/bartizan", false),
            ("tests/tunnel", "planes/tunnel", true),
            ("bench", "engines/authority", true),
            ("planes/dns", "bench", false),
            ("attic/old", "base/names", false),
        ] {
            assert_eq!(forbidden(from, to, Kind::Normal).is_none(), allowed, "{from} -> {to}");
        }
    }

    #[test]
    fn only_the_lab_helps_other_crates_with_their_tests() {
        for (to, kind, allowed) in
            [("tests/lab", Kind::Dev, true), ("tests/lab", Kind::Normal, false), ("tests/e2e", Kind::Dev, false)]
        {
            assert_eq!(forbidden("planes/dns", to, kind).is_none(), allowed, "{to} {kind:?}");
        }
    }
}
