//! Exit codes, and what a failure prints.

use std::process::ExitCode;

use crate::output;

/// Why a command failed, as its exit code tells a script (design §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    Refused = 5,
    /// By a signal, as shells have it for SIGINT.
    Stopped = 130,
}

/// A failure whose cause is known. Anything else that ends a command is [`Cause::Failed`].
#[derive(Debug)]
pub struct Failure {
    pub cause: Cause,
    /// What, where and why, in one sentence.
    pub message: String,
    /// The command or the deed that mends it.
    pub remedy: Option<String>,
    /// The API's, if it was the API that refused.
    pub code: Option<u64>,
}

impl Failure {
    pub fn new(cause: Cause, message: impl Into<String>) -> Failure {
        Failure { cause, message: message.into(), remedy: None, code: None }
    }

    pub fn code(self, code: u64) -> Failure {
        Failure { code: Some(code), ..self }
    }

    pub fn remedy(mut self, remedy: impl Into<String>) -> Failure {
        self.remedy = Some(remedy.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// Why a command failed, where that is known.
pub fn cause(error: &anyhow::Error) -> Option<Cause> {
    error.downcast_ref::<Failure>().map(|failure| failure.cause)
}

/// What to say in place of an error of the API that has this code; other errors stay.
pub fn instead_of(code: u64, error: anyhow::Error, say: impl FnOnce(Failure) -> Failure) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) if failure.code == Some(code) => say(failure).into(),
        Ok(failure) => failure.into(),
        Err(other) => other,
    }
}

/// Prints the error with its causes on stderr and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let mut causes = error.chain().map(ToString::to_string);
    let mut text = causes.next().unwrap_or_default();
    for cause in causes {
        // A library's error often ends in its source's words: say them once.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    output::say(&format!("{} {text}", output::error_word()));
    ExitCode::from(failure.map_or(Cause::Failed, |failure| failure.cause) as u8)
}
