//! Where third-party weight lives: one place for each kind of library, so that it can be replaced there and is not
//! compiled everywhere. Tests may use what they like (`[dev-dependencies]` are not looked at).

use super::Finding;
use super::workspace::{Kind, Workspace};

/// A kind of library and the folders whose crates may name it (`planes/` is all of them).
struct Rule {
    what: &'static str,
    libraries: &'static [&'static str],
    folders: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        what: "the database",
        libraries: &["rusqlite", "libsqlite3-sys", "refinery", "rusqlite_migration", "async-nats", "redb", "sled"],
        folders: &["control/store", "control/stats"],
    },
    Rule {
        what: "the web framework of the API",
        libraries: &["axum", "axum-core", "axum-extra", "tower", "tower-http", "utoipa-axum", "rust-embed"],
        folders: &["control/api", "control/dashboard"],
    },
    Rule {
        what: "the API's document",
        libraries: &["utoipa"],
        folders: &["base/v4", "control/api", "control/dashboard"],
    },
    // Visitors and origins are spoken to by the codecs of `base/wire`.
    Rule {
        what: "HTTP stacks",
        libraries: &["hyper", "hyper-util", "h2", "reqwest", "ureq"],
        folders: &["control/api", "control/fetch", "bin/"],
    },
    Rule {
        what: "QUIC stacks",
        libraries: &["quinn", "quinn-proto", "h3", "h3-quinn"],
        folders: &["base/quic", "planes/http", "planes/tunnel", "planes/connector"],
    },
    // It reads bytes and opens nothing: the one codec of HTTP/1.1 is a byte format like the others.
    Rule { what: "the parser of HTTP/1.1 heads", libraries: &["httparse"], folders: &["base/wire"] },
    Rule {
        what: "the types of `http`",
        libraries: &["http", "http-body", "http-body-util"],
        folders: &["planes/", "control/", "bin/", "base/exchange"],
    },
    // The heads of tunnel streams hold values that go on into an exchange.
    Rule {
        what: "the type `bytes`",
        libraries: &["bytes"],
        folders: &["planes/", "control/", "bin/", "base/exchange", "base/rpc", "base/quic"],
    },
    Rule {
        what: "the TLS library and its crypto provider",
        libraries: &[
            "rustls",
            "tokio-rustls",
            "rustls-native-certs",
            "rustls-pki-types",
            "rustls-pemfile",
            "rustls-webpki",
            "webpki-roots",
            "aws-lc-rs",
            "rcgen",
            "x509-parser",
            "dimpl",
        ],
        folders: &["base/tls", "base/seal", "control/certs", "engines/signer", "engines/access"],
    },
    Rule { what: "Cap'n Proto", libraries: &["capnp", "capnp-rpc", "capnpc"], folders: &["base/rpc"] },
    Rule { what: "the eBPF loader", libraries: &["aya", "aya-obj", "libbpf-rs"], folders: &["planes/bpf"] },
    Rule { what: "the script engine", libraries: &["rquickjs", "boa_engine", "deno_core"], folders: &["control/amp"] },
    Rule {
        what: "the async runtime",
        libraries: &["tokio", "tokio-util", "tokio-stream", "futures", "futures-util", "futures-core", "async-trait"],
        folders: &[
            "planes/",
            "control/",
            "bin/",
            "base/net",
            "base/tls",
            "base/rpc",
            "base/quic",
            "base/live",
            "base/exchange",
            "base/dial",
        ],
    },
    Rule {
        what: "the argument parser, log output and anyhow",
        libraries: &["clap", "clap_complete", "tracing-subscriber", "anyhow", "miette", "color-eyre", "eyre"],
        folders: &["bin/"],
    },
    Rule {
        what: "system calls",
        libraries: &["libc", "nix", "rustix", "socket2"],
        folders: &["base/net", "planes/bpf", "bin/"],
    },
    // Engines and most of base are plain values: time and chance are handed in, what happened is returned.
    Rule {
        what: "logging",
        libraries: &["tracing", "log"],
        folders: &["planes/", "control/", "bin/", "base/net", "base/tls", "base/rpc", "base/dial"],
    },
    Rule {
        what: "randomness",
        libraries: &["getrandom", "rand", "rand_core", "fastrand"],
        folders: &["planes/", "control/", "bin/", "base/seal", "base/dial", "base/quic"],
    },
];

/// Folders that are not part of the product.
const FREE: &[&str] = &["tests/", "bench", "xtask", "fuzz"];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ours in &workspace.crates {
        for need in ours.needs.iter().filter(|need| need.folder.is_none() && need.kind != Kind::Dev) {
            if let Some(rule) = broken(&ours.folder, &need.name) {
                findings.push(Finding::new(
                    format!("{}/Cargo.toml", ours.folder),
                    format!("must not name {} ({})", need.name, rule.what),
                    format!("it belongs to {}; wrap there what is needed here", rule.folders.join(", ")),
                ));
            }
        }
    }
    findings
}

fn broken(folder: &str, library: &str) -> Option<&'static Rule> {
    if FREE.iter().any(|free| folder.starts_with(free)) {
        return None;
    }
    let rule = RULES.iter().find(|rule| rule.libraries.contains(&library))?;
    let allowed = rule.folders.iter().any(|home| match home.strip_suffix('/') {
        Some(_) => folder.starts_with(home),
        None => folder == *home,
    });
    (!allowed).then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_of_libraries() {
        for (folder, library, allowed) in [
            ("control/store", "rusqlite", true),
            ("control/api", "rusqlite", false),
            ("control/api", "axum", true),
            ("planes/http", "axum", false),
            ("base/v4", "utoipa", true),
            ("planes/http", "hyper", false),
            ("planes/connector", "hyper", false),
            ("planes/tunnel", "quinn", true),
            ("control/api", "quinn", false),
            ("control/api", "hyper", true),
            ("base/exchange", "http", true),
            ("base/exchange", "hyper", false),
            ("base/wire", "httparse", true),
            ("planes/http", "httparse", false),
            ("base/wire", "hyper", false),
            ("engines/routes", "http", false),
            ("base/tls", "rustls", true),
            ("planes/http", "rustls", false),
            ("base/rpc", "capnp", true),
            ("planes/tunnel", "capnp", false),
            ("base/net", "tokio", true),
            ("base/wire", "tokio", false),
            ("engines/authority", "tokio", false),
            ("engines/authority", "tracing", false),
            ("engines/authority", "getrandom", false),
            ("bin/bartizan", "anyhow", true),
            ("control/api", "anyhow", false),
            ("xtask", "anyhow", true),
            ("tests/e2e", "hyper", true),
            ("bench", "libc", true),
            ("planes/dns", "libc", false),
            ("base/names", "serde", true),
        ] {
            assert_eq!(broken(folder, library).is_none(), allowed, "{folder} names {library}");
        }
    }
}
