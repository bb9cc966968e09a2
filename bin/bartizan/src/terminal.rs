//! What is asked at the terminal and not shown there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Octets of what is typed.
const TYPED_MAX: u64 = 4_096;

/// Asks at the terminal, which does not show what is typed. An error where there is none.
pub fn ask_unseen(question: &str) -> io::Result<String> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    terminal.write_all(question.as_bytes())?;
    tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).take(TYPED_MAX).read_line(&mut line);
    // Whatever came of it, the terminal is left as it was.
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &before);
    terminal.write_all(b"\n")?;
    read?;
    restored?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
