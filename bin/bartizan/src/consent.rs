//! What every command asks that deletes something: one rule for all of them.

use clap::Args;

use crate::failure::{Cause, Failure};
use crate::output::{Output, agrees, can_ask};

#[derive(Args)]
pub struct Consent {
    /// Do not ask. Without it a person at a terminal is asked, and where nobody can be asked nothing is deleted
    #[arg(long, short)]
    pub yes: bool,
}

impl Consent {
    /// Ends the command unless it is meant. `what` stays otherwise.
    pub fn ask(&self, question: &str, what: &str, output: Output) -> anyhow::Result<()> {
        if self.yes || output.is_dry_run() || agrees(question)? {
            return Ok(());
        }
        Err(Failure::new(Cause::Failed, format!("{what} stays")).into())
    }

    /// Whether something is wanted that goes beyond the command: a person is asked who has not said that they are not to be.
    pub fn is_wanted(&self, question: &str, output: Output) -> anyhow::Result<bool> {
        Ok(!self.yes && !output.is_dry_run() && can_ask() && agrees(question)?)
    }

    /// Whether a part of what the command does is meant, without which the rest is done: where nobody can be asked it is not.
    pub fn is_given(&self, question: &str, output: Output) -> anyhow::Result<bool> {
        Ok(self.yes || output.is_dry_run() || (can_ask() && agrees(question)?))
    }
}
