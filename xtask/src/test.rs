//! Everything that CI runs, in the order in which it is cheapest to fail.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::debian::{self, Missing};
use crate::{clients, ebpf, process, tidy, web};

pub(crate) fn run(missing: Missing) -> Result<()> {
    let mut steps = Steps::default();
    let mut tools = Tools::default();
    steps.step("programs that the tests call", || {
        need_cargo_components()?;
        debian::need(debian::TESTS, missing)?;
        tools.python = clients::python(missing)?;
        Ok(())
    })?;
    steps.step("format", || process::run(process::cargo().args(["fmt", "--all", "--check"])))?;
    steps.step("tidy", tidy::run)?;
    steps.step("kernel programs", || ebpf::check_with(missing))?;
    steps.step("the dashboard's files", || web::check_with(missing))?;
    steps.step("lints", || {
        process::run(process::cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    })?;
    steps.step("documents", || {
        process::run(
            process::cargo()
                .args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"])
                .env("RUSTDOCFLAGS", "--deny warnings"),
        )
    })?;
    steps.step("the binary", || {
        process::run(process::cargo().args(["build", "--package", "bartizan"]))?;
        tools.binary = dev_binary()?;
        Ok(())
    })?;
    if process::root().join("fuzz/Cargo.toml").is_file() {
        steps.step("fuzz targets compile", || {
            process::run(process::cargo().args(["check", "--manifest-path", "fuzz/Cargo.toml"]))
        })?;
    }
    steps.step("a client in Rust", || {
        let mut build = process::cargo();
        build.args(["build", "--locked", "--manifest-path", "tests/rust-client/Cargo.toml", "--target-dir"]);
        process::run(build.arg(process::target().join("rust-client")))
    })?;
    let counts = steps.step("tests", || tests(&tools))?;
    eprintln!("\n{}\n{counts}", steps.table());
    Ok(())
}

/// What the steps before the tests found out for them.
#[derive(Default)]
struct Tools {
    binary: PathBuf,
    python: PathBuf,
}

/// Prints a headline before each step, and keeps the time that it took.
#[derive(Default)]
struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let result = work().with_context(|| format!("step \"{name}\""))?;
        let took = start.elapsed();
        eprintln!("== {name}: done in {:.1} s", took.as_secs_f64());
        self.done.push((name, took));
        Ok(result)
    }

    fn table(&self) -> String {
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        let rows = self.done.iter().map(|(name, took)| format!("{:>7.1} s  {name}", took.as_secs_f64()));
        let all = std::iter::once(format!("{:>7.1} s  together", total.as_secs_f64()));
        rows.chain(all).collect::<Vec<_>>().join("\n")
    }
}

fn need_cargo_components() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        process::read(process::cargo().args([subcommand, "--version"]))
            .with_context(|| format!("this toolchain has no {component}: rustup component add {component}"))?;
    }
    Ok(())
}

fn dev_binary() -> Result<PathBuf> {
    let binary = process::target().join("debug/bartizan");
    if !binary.is_file() {
        bail!("cargo build left no binary at {}", binary.display());
    }
    Ok(binary)
}

/// How many tests may fail once and pass when they are tried again. The tests drive real servers on a machine that
/// others may use too, so that one in a thousand may lose a race of its own; more than that is a fault of the code. Each
/// of them is named in the runner's last lines, and is to be mended like a failure.
const UNSTEADY_MAX: u64 = 2;

/// Runs all tests of the workspace: with nextest if it is there (a process a test, and a test that hangs is killed),
/// else with what cargo brings, which tries nothing twice.
fn tests(tools: &Tools) -> Result<Counts> {
    let nextest = process::read(process::cargo().args(["nextest", "--version"])).is_ok();
    let mut command = process::cargo();
    match nextest {
        true => command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--retries", "1"]),
        false => command.args(["test", "--workspace", "--no-fail-fast"]),
    };
    command.env("BARTIZAN_BIN", &tools.binary).env("BARTIZAN_PYTHON", &tools.python);
    let counts = watch(&mut command)?;
    if counts.left_out > 0 {
        bail!("{} tests were ignored or skipped: every test runs, or is not there", counts.left_out);
    }
    if counts.unsteady > UNSTEADY_MAX {
        bail!("{} tests passed at their second try only; {UNSTEADY_MAX} are let pass", counts.unsteady);
    }
    if counts.passed == 0 {
        bail!("no test ran: is the output of {} new?", process::line(&command));
    }
    Ok(counts)
}

/// What the closing lines of a test runner say.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    left_out: u64,
    /// Passed at the second try. They are among those that passed.
    unsteady: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "test result: ok. {} passed; 0 failed; {} ignored", self.passed, self.left_out)?;
        match self.unsteady {
            0 => Ok(()),
            some => write!(f, "; {some} at the second try only: mend them"),
        }
    }
}

impl Counts {
    /// Adds up one line; all but the closing lines say nothing.
    ///
    /// `cargo test`: `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`, one a binary.
    /// nextest: `Summary [ 1.2s] 34 tests run: 34 passed (1 slow, 1 flaky), 2 skipped`, once. It shows what a failed
    /// test printed, a line of the first form too, further in.
    fn read(&mut self, line: &str) {
        if !(line.starts_with("test result:") || line.trim_start().starts_with("Summary [")) {
            return;
        }
        let numbers = line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let words: Vec<&str> = numbers.collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "ignored" | "skipped" | "filtered" => self.left_out += number,
                "flaky" => self.unsteady += number,
                _ => {}
            }
        }
    }
}

/// Runs a test runner, passes its output on line by line, and counts.
fn watch(command: &mut Command) -> Result<Counts> {
    eprintln!("$ {}", process::line(command));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", process::line(command)))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("no pipe to {}", process::line(command));
    };
    let counts = std::thread::scope(|scope| {
        let err = scope.spawn(|| pass_on(err, std::io::stderr()));
        let out = pass_on(out, std::io::stdout());
        let err = err.join().unwrap_or_default();
        Counts {
            passed: out.passed + err.passed,
            left_out: out.left_out + err.left_out,
            unsteady: out.unsteady + err.unsteady,
        }
    });
    let status = child.wait()?;
    if !status.success() {
        bail!("{} failed: {status}", process::line(command));
    }
    Ok(counts)
}

fn pass_on(from: impl Read, mut to: impl Write) -> Counts {
    let mut counts = Counts::default();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let _ = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
        counts.read(&String::from_utf8_lossy(&line));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_test_runners() {
        for (line, passed, left_out, unsteady) in [
            ("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s", 3, 3, 0),
            ("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s", 0, 0, 0),
            ("     Summary [   0.512s] 34 tests run: 34 passed, 0 skipped", 34, 0, 0),
            ("     Summary [   9.512s] 34 tests run: 33 passed (1 slow), 1 failed, 2 skipped", 33, 2, 0),
            ("     Summary [   9.512s] 34 tests run: 34 passed (1 slow, 2 flaky), 0 skipped", 34, 0, 2),
            ("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 164 filtered out", 0, 0, 0),
            ("test wire::skipped ... ok", 0, 0, 0),
            ("        PASS [   0.004s] bartizan-wire 12 passed", 0, 0, 0),
        ] {
            let mut counts = Counts::default();
            counts.read(line);
            assert_eq!(counts, Counts { passed, left_out, unsteady }, "{line}");
        }
    }
}
