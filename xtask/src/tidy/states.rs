//! The tables of what ends each state of a connection name limits, counters and tests: each name is one of the code.

use anyhow::{Context, Result};

use super::Finding;
use super::sources::files;
use super::workspace::Workspace;

/// Where the tables are.
const TABLES: &[&str] = &["planes/limits.md", "planes/http/README.md", "planes/tunnel/README.md"];
/// The first and the last column of such a table.
const HEADER: (&str, &str) = ("| state |", "| test");
/// For a row whose test is that of the row above.
const THE_SAME: &str = "the same";

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let files = files()?;
    let read = |path: &String| std::fs::read_to_string(workspace.root.join(path)).unwrap_or_default();
    let is_code = |path: &&String| path.ends_with(".rs") && !path.starts_with("xtask/");
    let code: Vec<String> = files.iter().filter(is_code).map(read).collect();
    let mut findings = Vec::new();
    for table in TABLES {
        let text =
            std::fs::read_to_string(workspace.root.join(table)).with_context(|| format!("cannot read {table}"))?;
        for row in rows(&text) {
            for what in missing(row, &files, &code) {
                let mend = "a test, a limit or a counter has another name now, or the row has none: mend the row";
                findings.push(Finding::new(*table, what, mend));
            }
        }
    }
    Ok(findings)
}

/// The rows of all tables of states.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let is_header = line.starts_with(HEADER.0) && line.contains(HEADER.1);
        inside = is_header || inside && line.starts_with('|');
        inside && !is_header && !line.starts_with("| ---")
    })
}

/// What a row names and the code does not have.
fn missing(row: &str, files: &[String], code: &[String]) -> Vec<String> {
    let Some((others, tests)) = row.trim_end().trim_end_matches('|').rsplit_once('|') else {
        return vec![format!("not a row: {row}")];
    };
    let has = |text: &str| code.iter().any(|file| file.contains(text));
    let is_there = |name: &str| files.iter().any(|path| path == name || path.ends_with(&format!("/{name}")));
    let is_folder = |name: &str| files.iter().any(|path| path.starts_with(&format!("{name}/")));
    let known = |name: &str| match name {
        name if name.contains('/') => is_folder(name) || is_there(name),
        name if name.ends_with(".rs") => is_there(name),
        name => has(name),
    };
    let mut missing = Vec::new();
    for name in spans(others).flat_map(pieces).filter(|name| !known(name)) {
        missing.push(format!("nothing is called `{name}`"));
    }
    let is_test = |name: &str| if name.contains(['/', '.']) { known(name) } else { has(&format!("fn {name}(")) };
    missing.extend(spans(tests).filter(|name| !is_test(name)).map(|name| format!("no test is called `{name}`")));
    if spans(tests).next().is_none() && tests.trim() != THE_SAME {
        missing.push(format!("a state without a test: {}", row.split('|').nth(1).unwrap_or_default().trim()));
    }
    missing
}

/// What is written as code.
fn spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The names in `metric{label="value"}`, or the one that there is.
fn pieces(span: &str) -> impl Iterator<Item = &str> {
    span.split(['{', '}', '=', '"', ',', '…']).filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_code_does_not_have_are_found() {
        let text =
            "# A\n\n| state | limit | test |\n| --- | --- | --- |\n| a | 5 s (`A_MAX`) | `it_ends` |\n\nno | row |\n";
        assert_eq!(rows(text).collect::<Vec<_>>(), ["| a | 5 s (`A_MAX`) | `it_ends` |"]);
        let files = ["planes/a/tests/it/limits.rs".to_owned()];
        let code = ["const A_MAX: u8 = 1;\n\"bartizan_a\"; \"reason\"; \"slow\";\nfn it_ends() {}".to_owned()];
        for (row, expect) in [
            ("| a | `A_MAX` | `bartizan_a{reason=\"slow\"}` | `it_ends` |", None),
            ("| a | 5 s | – | the same |", None),
            ("| a | 5 s | – | `limits.rs` of `planes/a` |", None),
            ("| a | `B_MAX` | – | `it_ends` |", Some("nothing is called `B_MAX`")),
            ("| a | 5 s | `bartizan_a{reason=\"fast\"}` | `it_ends` |", Some("nothing is called `fast`")),
            ("| a | 5 s | – | `it_end` |", Some("no test is called `it_end`")),
            ("| a | 5 s | – | `other.rs` |", Some("no test is called `other.rs`")),
            ("| a | 5 s | – | – |", Some("a state without a test: a")),
        ] {
            assert_eq!(missing(row, &files, &code).first().map(String::as_str), expect, "{row}");
        }
    }
}
