//! What a person sees: colours, tables, lines of progress. Results go to stdout, progress to stderr.

use std::io::{BufRead, IsTerminal, Read, Write};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// Where results and progress of one command go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub form: Form,
    pub quiet: bool,
}

impl Output {
    /// One line of progress on stderr; silent with `--quiet` and `--json`.
    pub fn progress(self, line: impl AsRef<str>) {
        if !self.quiet && self.form == Form::Text {
            eprintln!("{}", line.as_ref());
        }
    }

    /// The result: the API's own document as JSON, or what `text` prints.
    pub fn result(self, document: &serde_json::Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let text = match self.form {
            Form::Json => serde_json::to_string(document)?,
            Form::Text => text(),
        };
        print_line(&text)
    }
}

/// A line on stdout. A reader that closed its end (`| head`) is not a failure worth a message.
pub fn print_line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Whether the person at the terminal says yes. Nobody is asked where there is none: a script means what it says.
pub fn agrees(question: &str) -> std::io::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    eprint!("{question} [y/N] ");
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

/// Columns under headings, as wide as their widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
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
    if on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
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
    use super::{quoted, table};

    #[test]
    fn tables_line_up() {
        let rows = [vec!["a".to_owned(), "long cell".to_owned()], vec!["bcd".to_owned(), String::new()]];
        assert_eq!(table(&["name", "x"], &rows), "name  x\na     long cell\nbcd");
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
