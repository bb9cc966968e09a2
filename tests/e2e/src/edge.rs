//! A whole edge: `bartizan up` in a temporary directory, on free ports.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::curl::{self, Page};
use crate::dns::{self, Reply};
use crate::program::{Program, bartizan, in_namespace, run_by};
use crate::wait;

/// Whether the hello page is there. Most tests do without: they start sooner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Demo {
    On,
    Off,
}

/// What it is started in.
#[derive(Clone, Debug)]
enum Within {
    Usual,
    FewFiles(u32),
    /// A mount namespace in which this script has run.
    Namespace(String),
    /// A clock of its own.
    Clock,
}

/// What gives a process a clock of its own, and the file in which the test says how wrong that is.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";
const CLOCK: &str = "clock.txt";

/// A running `bartizan up` and what its first line said.
pub struct Edge {
    program: Program,
    folder: TempDir,
    demo: Demo,
    within: Within,
    words: Vec<String>,
    ready: Value,
}

impl Edge {
    #[track_caller]
    pub fn start() -> Edge {
        Edge::start_in(folder(), Demo::Off, Within::Usual, Vec::new())
    }

    #[track_caller]
    pub fn start_with_demo() -> Edge {
        Edge::start_in(folder(), Demo::On, Within::Usual, Vec::new())
    }

    /// With more words on the command line: another listener, another domain.
    #[track_caller]
    pub fn start_with(words: &[&str]) -> Edge {
        Edge::start_in(folder(), Demo::Off, Within::Usual, owned(words))
    }

    /// With the hello page, and no more descriptors than this.
    #[track_caller]
    pub fn start_with_few_files(files: u32, words: &[&str]) -> Edge {
        Edge::start_in(folder(), Demo::On, Within::FewFiles(files), owned(words))
    }

    /// In a mount namespace of its own in which this script has run, as root.
    #[track_caller]
    pub fn start_in_namespace(script: &str, words: &[&str]) -> Edge {
        Edge::start_in(folder(), Demo::Off, Within::Namespace(script.to_owned()), owned(words))
    }

    /// By a clock that the test sets ([`Edge::set_clock`]); it is right at first.
    #[track_caller]
    pub fn start_by_clock() -> Edge {
        let folder = folder();
        set_clock(folder.path(), "+0");
        Edge::start_in(folder, Demo::Off, Within::Clock, Vec::new())
    }

    /// Sets the clock of an edge that has one of its own: `+3650d`, `-2h` or `+0` from the time that it is.
    pub fn set_clock(&self, wrong: &str) {
        set_clock(self.folder.path(), wrong);
    }

    /// With the data that is in `data` below this folder.
    #[track_caller]
    pub fn start_on(folder: TempDir) -> Edge {
        Edge::start_in(folder, Demo::Off, Within::Usual, Vec::new())
    }

    #[track_caller]
    fn start_in(folder: TempDir, demo: Demo, within: Within, words: Vec<String>) -> Edge {
        let mut command = Edge::up(folder.path());
        match &within {
            Within::Usual => {}
            Within::FewFiles(files) => command = with_files(&command, *files),
            Within::Namespace(script) => command = in_namespace(&command, script),
            Within::Clock => {
                command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", folder.path().join(CLOCK));
                // Time passes as it does, and a new word is heard within a second.
                command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_CACHE_DURATION", "1");
                command.env("NO_FAKE_STAT", "1");
            }
        }
        if demo == Demo::Off {
            command.arg("--no-demo");
        }
        let mut program = Program::start("up", command.args(&words));
        let line =
            program.line("the line that says that all is ready", |line| line.starts_with('{').then(|| line.to_owned()));
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in the first line: {line}"));
        Edge { program, folder, demo, within, words, ready }
    }

    /// `bartizan up` with its data in `folder`, on free ports.
    #[track_caller]
    pub fn up(folder: &Path) -> Command {
        let mut command = bartizan(folder);
        command.args(["up", "--json", "--data"]).arg(folder.join("data"));
        for listener in ["--api", "--dns", "--dns-tls", "--http", "--https", "--tunnel"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command
    }

    /// Ends it as a power cut does, and starts it again with the same data (and other ports).
    #[track_caller]
    pub fn restart_after_kill(self) -> Edge {
        let Edge { program, folder, demo, within, words, .. } = self;
        program.kill();
        Edge::start_in(folder, demo, within, words)
    }

    /// Ends it as an upgrade does, and starts it again with other words.
    #[track_caller]
    pub fn upgraded_with(mut self, words: &[&str]) -> Edge {
        self.words = owned(words);
        self.upgraded()
    }

    /// Ends it as an upgrade does, and starts it again with the same words.
    #[track_caller]
    pub fn upgraded(mut self) -> Edge {
        self.program.hand_over();
        let end = self.program.ended();
        assert!(end.success(), "{end}");
        let Edge { folder, demo, within, words, .. } = self;
        Edge::start_in(folder, demo, within, words)
    }

    /// The same, with other words on the command line.
    #[track_caller]
    pub fn restart_with(self, words: &[&str]) -> Edge {
        Edge { words: owned(words), ..self }.restart_after_kill()
    }

    /// The process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// The object of the first line.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    #[track_caller]
    fn text(&self, pointer: &str) -> &str {
        let value = self.ready.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no text at {pointer} of {}", self.ready))
    }

    /// An address of the first line, as `/https/1`.
    #[track_caller]
    pub fn address(&self, pointer: &str) -> SocketAddr {
        let text = self.text(pointer);
        text.parse().unwrap_or_else(|error| panic!("{error}: {text} at {pointer}"))
    }

    /// The API's URL, with `/client/v4`.
    pub fn api_url(&self) -> &str {
        self.text("/api")
    }

    pub fn token(&self) -> &str {
        self.text("/token")
    }

    pub fn account(&self) -> &str {
        self.text("/account_id")
    }

    /// Id of the zone that `up` made.
    pub fn zone(&self) -> &str {
        self.text("/zone/id")
    }

    /// Name of the zone that `up` made.
    pub fn domain(&self) -> &str {
        self.text("/zone/name")
    }

    pub fn ca(&self) -> &Path {
        Path::new(self.text("/ca"))
    }

    pub fn dns(&self) -> SocketAddr {
        self.address("/dns/0")
    }

    pub fn http(&self) -> SocketAddr {
        self.address("/http/0")
    }

    pub fn https(&self) -> SocketAddr {
        self.address("/https/0")
    }

    pub fn tunnel(&self) -> SocketAddr {
        self.address("/tunnel/0")
    }

    /// A folder that goes with the edge.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A client command of the binary, pointed at this edge through its environment.
    #[track_caller]
    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = bartizan(self.folder.path());
        command.env("BARTIZAN_API", self.api_url()).env("BARTIZAN_API_TOKEN", self.token()).args(words);
        command
    }

    /// Calls the API by curl, whatever it answers.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let bearer = format!("Authorization: Bearer {}", self.token());
        self.ask_as(&[&bearer], method, path, body)
    }

    /// The same with headers of the caller's instead of our token.
    #[track_caller]
    pub fn ask_as(&self, headers: &[&str], method: &str, path: &str, body: Option<&Value>) -> Answer {
        let url = format!("{}{path}", self.api_url());
        let body = body.map(Value::to_string);
        let mut words = vec!["--request", method, "--header", "Content-Type: application/json"];
        for header in headers {
            words.extend(["--header", header]);
        }
        if let Some(body) = &body {
            words.extend(["--data-binary", body]);
        }
        words.push(&url);
        let page = curl::get(&words);
        let json = serde_json::from_slice(&page.body)
            .unwrap_or_else(|error| panic!("{method} {path}: {} without JSON: {error}\n{}", page.status, page.text()));
        Answer { status: page.status, json, call: format!("{method} {path}") }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, None).result()
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, Some(body)).result()
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Value {
        self.ask("DELETE", path, None).result()
    }

    /// Makes a record in the zone that `up` made; gives its id.
    #[track_caller]
    pub fn record(&self, body: &Value) -> String {
        let record = self.post(&format!("/zones/{}/dns_records", self.zone()), body);
        record["id"].as_str().expect("a record has an id").to_owned()
    }

    /// Makes a proxied record and waits until the edge knows the host, which it gives.
    #[track_caller]
    pub fn proxied(&self, label: &str, kind: &str, content: &str, port: u16) -> String {
        self.record(&json!({
            "type": kind, "name": label, "content": content, "proxied": true, "bartizan": {"origin_port": port}
        }));
        let host = format!("{label}.{}", self.domain());
        // Names are announced last (design §2.3): when DNS has it, HTTP does.
        wait::until_eq("the name is announced", &vec!["AAAA ::1".to_owned()], || self.dig(&[&host, "AAAA"]).answers());
        host
    }

    /// Asks our DNS by dig: `edge.dig(&["www.example.test", "A"])`.
    #[track_caller]
    pub fn dig(&self, words: &[&str]) -> Reply {
        dns::dig(self.dns(), words)
    }

    /// Fetches `https://HOST/PATH` through the edge, trusting its CA only.
    #[track_caller]
    pub fn https_get(&self, host: &str, path: &str, words: &[&str]) -> Page {
        self.try_https(host, path, words).unwrap_or_else(|error| panic!("https://{host}{path}: {error}"))
    }

    /// The same, or what curl says about it.
    #[track_caller]
    pub fn try_https(&self, host: &str, path: &str, words: &[&str]) -> Result<Page, String> {
        let url = format!("https://{host}{path}");
        let ca = self.ca().to_string_lossy().into_owned();
        let connect = format!("::{}", self.https());
        let mut all = vec!["--cacert", &ca, "--connect-to", &connect];
        all.extend(words);
        all.push(&url);
        curl::try_get(&all)
    }

    /// Fetches `http://HOST/PATH` through the edge.
    #[track_caller]
    pub fn http_get(&self, host: &str, path: &str, words: &[&str]) -> Page {
        let url = format!("http://{host}{path}");
        let connect = format!("::{}", self.http());
        let mut all = vec!["--connect-to", &connect];
        all.extend(words);
        all.push(&url);
        curl::get(&all)
    }
}

/// The same command with so many descriptors, soft and hard.
fn with_files(command: &Command, files: u32) -> Command {
    let mut prlimit = Command::new("prlimit");
    prlimit.arg(format!("--nofile={files}:{files}"));
    run_by(prlimit, command)
}

fn set_clock(folder: &Path, wrong: &str) {
    let new = folder.join("clock.new");
    // In one go: who reads half of it takes it for the time of now.
    std::fs::write(&new, format!("{wrong}\n")).expect("a folder of the test");
    std::fs::rename(new, folder.join(CLOCK)).expect("a folder of the test");
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("bartizan-e2e-").tempdir().expect("a temporary directory")
}

/// What the API answered.
pub struct Answer {
    pub status: u16,
    pub json: Value,
    call: String,
}

impl Answer {
    /// Fails unless the call succeeded; gives `result`.
    #[track_caller]
    pub fn result(mut self) -> Value {
        assert!(self.status == 200 && self.json["success"] == true, "{}: {} {}", self.call, self.status, self.json);
        self.json["result"].take()
    }

    /// Status and code of the first error, as `400 1004`.
    #[track_caller]
    pub fn error(&self) -> String {
        assert_eq!(self.json["success"], false, "{}: {} {}", self.call, self.status, self.json);
        format!("{} {}", self.status, self.json["errors"][0]["code"])
    }
}
