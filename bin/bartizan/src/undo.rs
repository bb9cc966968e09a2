//! `bartizan undo`: shows what a change would become, asks, and has it put back.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::client::Api;
use crate::diff::{self, objects};
use crate::dry_run;
use crate::output::{Output, agrees, say};

#[derive(Args)]
pub struct UndoWords {
    /// The revision of the change, as `history` shows it
    #[arg(value_parser = revision)]
    pub revision: u64,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Also put back what was changed again since
    #[arg(long)]
    pub force: bool,
}

/// How long it may take: an import of a million records goes in pieces.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

pub async fn run(words: UndoWords, api: &Api, output: Output) -> anyhow::Result<()> {
    let UndoWords { revision, yes, force } = words;
    let api = api.clone().waiting(WAIT_MAX);
    let ask = |dry_run| json!({ "revision": revision, "dry_run": dry_run, "force": force });
    let (would, warnings) = api.post_with_messages("/bartizan/undo", &ask(true)).await?;
    if output.is_dry_run() {
        warnings.iter().for_each(|warning| say(warning));
        output.result(&would, || plan(&would))?;
        output.progress(dry_run::NOTHING_CHANGED);
        return Ok(());
    }
    if !yes {
        output.progress(plan(&would));
        warnings.iter().for_each(|warning| say(warning));
        if !agrees(&format!("undo revision {revision}?"))? {
            say("nothing is changed");
            return Ok(());
        }
    }
    // What was changed between the question and the answer is refused there.
    let (done, warnings) = api.post_with_messages("/bartizan/undo", &ask(false)).await?;
    warnings.iter().for_each(|warning| say(warning));
    output.result(&done, || undone(revision, objects(&done)))
}

fn revision(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a revision is a number: the one in front of a change in `bartizan history`")
}

fn undone(revision: u64, count: u64) -> String {
    let objects = match count {
        0 => return format!("nothing is changed: what revision {revision} did is not there any more"),
        1 => "1 object is".to_owned(),
        count => format!("{count} objects are"),
    };
    format!("revision {revision} is undone: {objects} as before (`bartizan history` shows it)")
}

/// What is put back, as people read it.
fn plan(would: &Value) -> String {
    match diff::plan(would) {
        plan if plan.is_empty() => "all of it is as it was before".to_owned(),
        plan => plan,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{plan, undone};

    #[test]
    fn a_plan_is_what_becomes_what() {
        let one = json!({
            "action": {"type": "change"}, "resource": {"type": "record", "id": "7f"},
            "metadata": {"name": "www.example.com"},
            "oldValueJson": {"content": "192.0.2.2"}, "newValueJson": {"content": "192.0.2.1"},
        });
        let expect = "change record www.example.com (7f)\n    content: 192.0.2.2 → 192.0.2.1";
        assert_eq!(plan(&json!({ "changes": [one] })), expect);
        let many = plan(&json!({ "changes": vec![one; 60] }));
        assert!(many.ends_with("… and 10 objects more (--dry-run --json shows all)"), "{many}");
        assert_eq!(plan(&json!({ "changes": Value::Array(vec![]) })), "all of it is as it was before");
        assert!(undone(7, 0).starts_with("nothing is changed") && undone(7, 1).contains("1 object is as before"));
    }
}
