//! What a person sees: colours, tables, lines of progress. Results go to stdout, progress to stderr.
//!
//! Names, records and reasons are written by anybody, and a terminal obeys some characters. All that is printed goes
//! through [`print_line`] or [`say`], where only what this file has painted stays a command.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, IsTerminal, Read, Write};
use std::sync::LazyLock;

use bartizan_connector::is_plain;
use serde::Serialize;

use crate::failure::{Cause, Failure};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// Whether a command is only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    No,
    /// Its calls are, and what they would do is told in place of its own results.
    Calls,
    /// It tells itself what it would do.
    Preview,
}

/// Where results and progress of one command go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub form: Form,
    pub quiet: bool,
    pub dry_run: DryRun,
}

impl Output {
    /// One line of progress on stderr; silent with `--quiet` and `--json`.
    pub fn progress(self, line: impl AsRef<str>) {
        if !self.quiet && self.form == Form::Text {
            say(line.as_ref());
        }
    }

    pub fn is_dry_run(self) -> bool {
        self.dry_run != DryRun::No
    }

    /// The result: the API's own document as JSON, or what `text` prints. Nothing of a command whose calls were only tried.
    pub fn result(self, document: &serde_json::Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.dry_run == DryRun::Calls { Ok(()) } else { self.show(document, text) }
    }

    /// A result that is a secret and shown this once, behind what is said of it.
    pub fn secret(
        self,
        said: &str,
        document: &serde_json::Value,
        secret: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.dry_run != DryRun::Calls {
            self.progress(said);
        }
        self.result(document, secret)
    }

    pub fn show(self, document: &serde_json::Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let text = match self.form {
            Form::Json => json(document)?,
            Form::Text => text(),
        };
        print_line(&text)
    }
}

/// A line on stdout. A reader that closed its end (`| head`) is not a failure worth a message.
pub fn print_line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{}", harmless(text.trim_end())) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// What a shell is to read: ours to the last character.
pub fn print_script(write: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<()> {
    let mut text = Vec::new();
    write(&mut text);
    Ok(std::io::stdout().write_all(&text)?)
}

/// A file on its way to another program or file, as it is.
pub fn pass_on(piece: &[u8]) -> anyhow::Result<()> {
    match std::io::stdout().write_all(piece) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// A line on stderr.
pub fn say(text: &str) {
    eprintln!("{}", harmless(text));
}

/// A document on one line, spelled so that a terminal does not obey it either: JSON itself escapes no character above a
/// space (RFC 8259 §7).
pub fn json(document: &impl Serialize) -> serde_json::Result<String> {
    let units = |char: char| char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    Ok(escaped(&serde_json::to_string(document)?, is_plain, units))
}

/// A text of others that is a part of a line.
pub fn one_line(text: &str) -> String {
    escaped(text, is_plain, |char| char.escape_default().collect())
}

/// Stands for ESC in what is painted, until it is printed. New in each process: no text of others has it.
static PAINT: LazyLock<String> = LazyLock::new(|| format!("\x1b{:016x}", RandomState::new().hash_one(0)));

/// What a terminal may have of a text: the lines and colours are ours, all else is shown and not obeyed.
fn harmless(text: &str) -> String {
    let lines = |text| escaped(text, |char| char == '\n' || is_plain(char), |char| char.escape_default().collect());
    text.split(PAINT.as_str()).map(lines).collect::<Vec<_>>().join("\x1b")
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool, escape: impl Fn(char) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if is_kept(char) {
            shown.push(char);
        } else {
            shown.push_str(&escape(char));
        }
    }
    shown
}

/// Whether there is a person who can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Whether the person at the terminal says yes. Where there is none nobody does: a script says beforehand that it means it.
pub fn agrees(question: &str) -> anyhow::Result<bool> {
    if !can_ask() {
        return Err(Failure::new(Cause::Usage, format!("nobody can be asked here: {}", harmless(question)))
            .remedy("--yes does it without asking")
            .into());
    }
    eprint!("{} [y/N] ", harmless(question));
    let mut answer = String::new();
    std::io::stdin().lock().take(ANSWER_MAX).read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Octets of an answer to a question.
const ANSWER_MAX: u64 = 64;

/// A word of a command line as a shell takes it: for commands that are shown to be copied.
pub fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:@%+=,".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The widest cell that sets the width of its column. A longer one pushes the rest of its own row, and no other.
const CELL_MAX: usize = 60;

/// Columns under headings, as wide as their widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.filter(|width| *width <= CELL_MAX).max().unwrap_or(0)
    };
    let widths: Vec<usize> =
        headings.iter().enumerate().map(|(column, heading)| width(column).max(heading.len())).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![bold(&line(headings.to_vec()))];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// Colours only on a terminal, and never where the user has switched them off (no-color.org).
fn coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn paint(text: &str, code: &str, on: bool) -> String {
    if on { format!("{0}[{code}m{text}{0}[0m", *PAINT) } else { text.to_owned() }
}

pub fn bold(text: &str) -> String {
    paint(text, "1", coloured(&std::io::stdout()))
}

pub fn link(text: &str) -> String {
    paint(text, "1;36", coloured(&std::io::stdout()))
}

pub fn faint(text: &str) -> String {
    paint(text, "2", coloured(&std::io::stdout()))
}

pub fn good(text: &str) -> String {
    paint(text, "32", coloured(&std::io::stdout()))
}

pub fn bad(text: &str) -> String {
    paint(text, "31", coloured(&std::io::stdout()))
}

pub fn error_word() -> String {
    paint("error:", "1;31", coloured(&std::io::stderr()))
}

/// Whether progress on stderr may be coloured: for the log.
pub fn stderr_coloured() -> bool {
    coloured(&std::io::stderr())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{harmless, paint, quoted, table};

    #[test]
    fn tables_line_up() {
        let rows = [vec!["a".to_owned(), "long cell".to_owned()], vec!["bcd".to_owned(), String::new()]];
        assert_eq!(table(&["name", "x"], &rows), "name  x\na     long cell\nbcd");
        let key = "k".repeat(400);
        let rows = [vec![key.clone(), "1".to_owned()], vec!["short".to_owned(), "2".to_owned()]];
        assert_eq!(
            table(&["name", "x"], &rows),
            format!("name   x\n{key}  1\nshort  2"),
            "one wide cell pads no other row"
        );
    }

    #[test]
    fn a_terminal_obeys_nobody_else() {
        for (text, expect) in [
            ("grün, 日本, नमस्ते 🦀", "grün, 日本, नमस्ते 🦀"),
            ("two\nlines", "two\nlines"),
            ("\x1b[2Jgone\x07", r"\u{1b}[2Jgone\u{7}"),
            ("\x1b]8;;http://evil\x1b\\here", r"\u{1b}]8;;http://evil\u{1b}\here"),
            ("\x1b[31mred\x1b[0m", r"\u{1b}[31mred\u{1b}[0m"),
            ("\u{9b}2J\x7f", r"\u{9b}2J\u{7f}"),
            ("over\rwritten\tby", r"over\rwritten\tby"),
            ("\u{202e}txet\u{2028}\u{2029}\u{feff}\u{e0041}", r"\u{202e}txet\u{2028}\u{2029}\u{feff}\u{e0041}"),
        ] {
            assert_eq!(harmless(text), expect, "{text:?}");
            assert_eq!(harmless(&paint(text, "31", true)), format!("\x1b[31m{expect}\x1b[0m"), "{text:?}");
            let document = json!({ text: [text] });
            let printed = super::json(&document).unwrap();
            assert!(printed.chars().all(bartizan_connector::is_plain), "{printed:?}");
            assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), document);
        }
        let rows = [vec!["a\nb  A  192.0.2.1".to_owned(), "x".to_owned()]];
        let shown = table(&["name", "x"], &rows);
        assert_eq!(shown, "name                x\na\\nb  A  192.0.2.1  x", "one row is one line");
    }

    #[test]
    fn words_for_a_shell() {
        for (word, expect) in [
            ("laptop", "laptop"),
            ("my laptop", "'my laptop'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expect);
        }
    }
}
