//! Programs that run beside a test: their output is kept, and they end with the test.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::wait;

/// Lines of a program's output that a failing test shows.
const LINES_SHOWN: usize = 60;

/// A program that runs. Dropped, it is killed.
pub struct Program {
    name: String,
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Starts it. Both of its outputs are read to the end, so that it never waits for us.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command) -> Program {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(
                |error| panic!("cannot start {command:?}: {error} (run `cargo xtask test` once: it installs)"),
            );
        let output = Arc::new(Mutex::new(Vec::new()));
        keep(child.stdout.take().expect("piped above"), Arc::clone(&output));
        keep(child.stderr.take().expect("piped above"), Arc::clone(&output));
        Program { name: name.to_owned(), child, output }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has printed so far, on both outputs.
    pub fn output(&self) -> String {
        self.lines().join("\n")
    }

    fn lines(&self) -> Vec<String> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line of which `pick` makes something. Fails at once if the program ends before.
    #[track_caller]
    pub fn line<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let name = self.name.clone();
        wait::until(&format!("{name}: {what}"), || {
            let ended = self.child.try_wait().expect("our own child");
            let found = self.lines().iter().find_map(|line| pick(line));
            if let (None, Some(status)) = (&found, ended) {
                panic!("{name} ended ({status}) before this: {what}\n{}", self.output());
            }
            found
        })
    }

    /// The most memory that it ever had, in bytes.
    #[track_caller]
    pub fn memory_peak(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
        line.split_whitespace().next().and_then(|kb| kb.parse::<usize>().ok()).expect("a number") * 1024
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Asks it to end, as `systemctl stop` does.
    #[track_caller]
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Asks it to make room for the next process of its kind, as `systemctl reload` does.
    #[track_caller]
    pub fn hand_over(&self) {
        self.signal("USR2");
    }

    /// Ends it as a power cut does, if it has not ended.
    #[track_caller]
    pub fn kill(mut self) {
        if self.is_running() {
            self.signal("KILL");
        }
        self.child.wait().expect("our own child");
    }

    #[track_caller]
    fn signal(&self, signal: &str) {
        finish(Command::new("kill").args([&format!("-{signal}"), &self.id().to_string()])).ok();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        wait::until(&format!("the end of {name}"), || self.child.try_wait().expect("our own child"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.lines();
            let shown = lines.len().saturating_sub(LINES_SHOWN);
            eprintln!("--- the last lines of {}:\n{}\n---", self.name, lines[shown..].join("\n"));
        }
    }
}

fn keep(from: impl Read + Send + 'static, output: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            output.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}

/// The same command, run by `sh -c` in a mount namespace of its own: `"$@"` there.
pub fn in_namespace(command: &Command, script: &str) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script, "sh"]);
    run_by(unshare, command)
}

/// The same command as the last words of another one.
pub(crate) fn run_by(mut other: Command, command: &Command) -> Command {
    other.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other
}

/// What a program left that has ended.
pub struct Finished {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
    command: String,
}

impl Finished {
    /// Fails unless it said that all is well; gives its standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{}\n{}\n{}\n{}", self.command, self.status, self.out, self.err);
        self.out
    }

    /// Fails unless it ended with this code; gives its standard error.
    #[track_caller]
    pub fn failed_with(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{}\n{}\n{}", self.command, self.out, self.err);
        self.err
    }
}

/// Runs a program to its end.
#[track_caller]
pub fn finish(command: &mut Command) -> Finished {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error} (run `cargo xtask test` once: it installs)"));
    Finished {
        status: output.status,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        command: format!("{command:?}"),
    }
}

/// The binary under test.
#[track_caller]
pub fn binary() -> PathBuf {
    let binary = std::env::var_os("BARTIZAN_BIN").map_or_else(|| target().join("bartizan"), PathBuf::from);
    assert!(
        binary.is_file(),
        "no binary at {}: run `cargo build -p bartizan` first, or name one in BARTIZAN_BIN",
        binary.display()
    );
    binary
}

/// `target/debug`, where this test lies in `deps`.
fn target() -> PathBuf {
    let here = std::env::current_exe().expect("a test has a path");
    here.ancestors().nth(2).expect("target/PROFILE/deps/TEST").to_path_buf()
}

/// A Python that has the official SDK.
#[track_caller]
pub fn python_with_sdk() -> PathBuf {
    let beside = || target().parent().map(|target| target.join("python-sdk/bin/python"));
    let python = std::env::var_os("BARTIZAN_PYTHON").map(PathBuf::from).or_else(beside).unwrap_or_default();
    assert!(python.is_file(), "no Python with the SDK at {}: `cargo xtask test` makes it", python.display());
    python
}

/// The crate `cloudflare` as a program (`tests/rust-client`).
pub fn rust_client() -> PathBuf {
    let beside = target().parent().map(|target| target.join("rust-client/debug/bartizan-rust-client"));
    let client = beside.unwrap_or_default();
    assert!(client.is_file(), "no client in Rust at {}: `cargo xtask test` makes it", client.display());
    client
}

/// The binary with `home` as its home and nothing of ours in its environment: neither the settings of whoever runs
/// the tests nor what they once logged in to.
#[track_caller]
pub fn bartizan(home: &Path) -> Command {
    // An edge that root starts serves as another user, who has to get to its data; temporary folders are closed.
    std::fs::set_permissions(home, Permissions::from_mode(0o711)).expect("a folder of the test");
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if ["BARTIZAN_", "TUNNEL_", "CLOUDFLARE_"].iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME").env("NO_COLOR", "1");
    command
}
