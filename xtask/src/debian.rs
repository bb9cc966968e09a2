//! The Debian packages that tests and benchmarks run as clients, origins and peers.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// What to do about a program that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Install it if we may (as root), else say how and fail.
    Install,
    /// Say how and fail.
    Report,
}

/// A program and the package that brings it.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

const fn program(name: &'static str, package: &'static str) -> Program {
    Program { name, package }
}

/// What the end-to-end tests call.
pub(crate) const TESTS: &[Program] = &[
    program("age", "age"),
    program("curl", "curl"),
    program("dig", "bind9-dnsutils"),
    program("nsupdate", "bind9-dnsutils"),
    program("kdig", "knot-dnsutils"),
    program("nginx", "nginx-light"),
    program("openssl", "openssl"),
    program("testssl", "testssl.sh"),
    program("python3", "python3"),
    // Debian's python3 has no `venv` without it; this file is how we see that it is there.
    program("python3-venv", "python3-venv"),
    program("git", "git"),
    // Clients of the API; ddclient speaks TLS only with the second, which it recommends.
    program("ddclient", "ddclient"),
    program("/usr/share/perl5/IO/Socket/SSL.pm", "libio-socket-ssl-perl"),
    program("inadyn", "inadyn"),
    // Certificates by ACME, as certbot gets them.
    program("pebble", "pebble"),
    // An edge whose clock is wrong.
    program("faketime", "faketime"),
    // Signed zones: a chain of trust from a root of our own, and who validates it.
    program("unbound", "unbound"),
    program("knotd", "knot"),
    program("delv", "bind9-dnsutils"),
    program("ldns-signzone", "ldnsutils"),
    // It judges with the second, which it recommends.
    program("dnsviz", "dnsviz"),
    program("/usr/lib/python3/dist-packages/pygraphviz/__init__.py", "python3-pygraphviz"),
    // What servers that receive mail make of DNS.
    program("/usr/lib/python3/dist-packages/authheaders/__init__.py", "python3-authheaders"),
    program("/usr/lib/python3/dist-packages/spf.py", "python3-spf"),
    // Judges of which records answer a question.
    program("nsd", "nsd"),
    program("knotd", "knot"),
    // Who opens the dashboard.
    program("chromium", "chromium"),
    // Who reads `/metrics`, and what judges them.
    program("prometheus", "prometheus"),
    program("promtool", "prometheus"),
    // What browsers believe.
    program("certutil", "libnss3-tools"),
    // Tests of the kernel's part make network namespaces, and look into them.
    program("ip", "iproute2"),
    program("nft", "nftables"),
];

/// What `test-stock` calls: a network namespace with nothing but loopback.
pub(crate) const NAMESPACE: &[Program] = &[program("ip", "iproute2"), program("unshare", "util-linux")];

/// What makes the kernel programs. The headers are known by one of their files.
pub(crate) const EBPF: &[Program] = &[
    program("clang", "clang"),
    program("llvm-strip", "llvm"),
    program("/usr/include/bpf/bpf_helpers.h", "libbpf-dev"),
    program("/usr/include/linux/bpf.h", "linux-libc-dev"),
];

/// What `bench dns` runs: the peers, and what pins each server to its core.
pub(crate) const DNS_PEERS: &[Program] =
    &[program("nsd", "nsd"), program("knotd", "knot"), program("taskset", "util-linux")];

/// What `bench l4` runs.
pub(crate) const L4_PEERS: &[Program] = &[
    program("nginx", "nginx-light"),
    program(NGINX_STREAM, "libnginx-mod-stream"),
    program("haproxy", "haproxy"),
    program("taskset", "util-linux"),
];

/// What `bench http` runs: the peers, the load generator, and what holds connections open.
pub(crate) const HTTP_PEERS: &[Program] = &[
    program("nginx", "nginx-light"),
    program("haproxy", "haproxy"),
    program("h2load", "nghttp2-client"),
    program("openssl", "openssl"),
    program("python3", "python3"),
    program("taskset", "util-linux"),
];

/// What `bench api` runs: the peer with its database, and what fills that.
pub(crate) const API_PEERS: &[Program] = &[
    program("pdns_server", "pdns-server"),
    program(PDNS_SCHEMA, "pdns-backend-sqlite3"),
    program("sqlite3", "sqlite3"),
];

/// The tables of PowerDNS in SQLite.
pub(crate) const PDNS_SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

/// nginx's proxy of TCP and UDP, a file that its configuration names.
pub(crate) const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Makes sure that every program is there.
pub(crate) fn need(programs: &[Program], missing: Missing) -> Result<()> {
    let mut packages: Vec<&str> = programs.iter().filter(|program| !is_there(program)).map(|p| p.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let how = format!("apt-get update && apt-get install --no-install-recommends {}", packages.join(" "));
    if missing == Missing::Report || !is_root()? {
        bail!("these Debian packages are missing: {}\n  as root: {how}", packages.join(" "));
    }
    install(&packages).with_context(|| format!("cannot install what the tests need; by hand: {how}"))
}

fn is_there(program: &Program) -> bool {
    match program.name {
        "python3-venv" => {
            Command::new("python3").args(["-c", "import ensurepip"]).output().is_ok_and(|o| o.status.success())
        }
        file if file.starts_with('/') => Path::new(file).exists(),
        name => process::find(name).is_some(),
    }
}

pub(crate) fn is_root() -> Result<bool> {
    Ok(process::read(process::command("id").arg("-u"))?.trim() == "0")
}

fn install(packages: &[&str]) -> Result<()> {
    let _quiet = NoServices::begin()?;
    let apt = || {
        let mut command = process::command("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    process::run(apt().args(["update", "--quiet"]))?;
    process::run(apt().args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(packages))
}

/// While it lives, Debian's packages do not start their servers when they are installed: the tests start their own,
/// on free ports, and a test run must not leave a web server behind on port 80.
struct NoServices {
    ours: bool,
}

/// Debian's hook for that (`invoke-rc.d(8)`): exit code 101 forbids the start.
const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> Result<NoServices> {
        if Path::new(POLICY).exists() {
            return Ok(NoServices { ours: false });
        }
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
        process::run(process::command("chmod").args(["0755", POLICY]))?;
        Ok(NoServices { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(POLICY);
        }
    }
}
