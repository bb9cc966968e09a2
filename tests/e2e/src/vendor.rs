//! The edge's API where programs look for it that know one URL only: `https://api.cloudflare.com/client/v4`.
//!
//! A mount namespace says that the name is at an address of loopback, and that names are asked of the edge's own DNS; there
//! a program ends TLS and hands all bytes on as they are. The clients are not changed. It takes root.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::edge::Edge;
use crate::origin::here;
use crate::program::{Program, finish, in_namespace};

const NAME: &str = "api.cloudflare.com";

/// What runs in the namespace before the program: `$HOSTS` and `$RESOLVER` are in its environment.
const SCRIPT: &str = r#"mount --bind "$HOSTS" /etc/hosts && mount --bind "$RESOLVER" /etc/resolv.conf && exec "$@""#;

/// The vendor's name, for those that [`Vendor::lead`] leads to an edge.
pub struct Vendor {
    folder: PathBuf,
    _front: Program,
}

impl Vendor {
    /// `address` is one of loopback that no other test uses; the edge must answer DNS on port 53 of it.
    #[track_caller]
    pub fn start(edge: &Edge, address: &str) -> Vendor {
        let folder = edge.folder().to_path_buf();
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let (certificate, key) = (file("front.pem"), file("front.key"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        openssl.args(["-subj", &format!("/CN={NAME}"), "-addext", &format!("subjectAltName=DNS:{NAME}")]);
        finish(openssl.args(["-keyout", &key, "-out", &certificate])).ok();
        let api = edge.api_url().trim_start_matches("http://").trim_end_matches("/client/v4");
        let mut front = Command::new("python3");
        front.arg(here("clients/tls_front.py")).args([&format!("{address}:443"), &certificate, &key, api]);
        let mut front = Program::start("the front", &mut front);
        front.line("its first line", |line| (line == "ready").then_some(()));
        write(&folder.join("hosts"), &format!("127.0.0.1 localhost\n{address} {NAME}\n"));
        write(&folder.join("resolv.conf"), &format!("nameserver {address}\n"));
        Vendor { folder, _front: front }
    }

    /// The same program where the vendor's name leads here, and our certificate is trusted.
    pub fn lead(&self, command: &Command) -> Command {
        let mut led = in_namespace(command, SCRIPT);
        let certificate = self.certificate();
        led.env("HOSTS", self.folder.join("hosts")).env("RESOLVER", self.folder.join("resolv.conf"));
        for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
            led.env(name, &certificate);
        }
        led.env("HOME", &self.folder);
        led
    }

    /// What clients trust that are told by their own configuration.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("front.pem")
    }
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file of the test");
}
