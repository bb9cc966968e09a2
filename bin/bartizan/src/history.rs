//! `bartizan history`: a thin client of the audit log.

use serde_json::Value;

use crate::cli::HistoryWords;
use crate::client::Api;
use crate::output::{Output, say, table};
use crate::tunnel;
use crate::url::with_query;
use crate::zone::{shown, text};

pub async fn run(words: HistoryWords, api: &Api, output: Output) -> anyhow::Result<()> {
    let count = words.count.to_string();
    let mut parameters = vec![("per_page", count.as_str())];
    parameters.extend(words.zone.as_deref().map(|zone| ("zone.name", zone)));
    parameters.extend(words.since.as_deref().map(|since| ("since", since)));
    parameters.extend(words.before.as_deref().map(|before| match before.parse::<u64>() {
        Ok(_) => ("before_revision", before),
        Err(_) => ("before", before),
    }));
    let account = tunnel::account(api).await?;
    let path = with_query(&format!("/accounts/{account}/audit_logs"), &parameters);
    let (changes, messages) = api.get_with_messages(&path).await?;
    // Also with --json and --quiet: a history that is not whole must not look as if it were.
    messages.iter().for_each(|message| say(message));
    output.result(&changes, || {
        let rows: Vec<_> = changes.as_array().into_iter().flatten().map(row).collect();
        table(&["when", "who", "from", "did", "what", "id"], &rows)
    })
}

fn row(change: &Value) -> Vec<String> {
    let when = text(change, "when").split('.').next().unwrap_or_default().replace('T', " ");
    let token = text(&change["bartizan"], "token_name");
    let who = if token.is_empty() { text(&change["actor"], "email") } else { token };
    let value = &change["newValueJson"];
    let name = ["name", "mode"].into_iter().map(|member| shown(value, member)).find(|name| !name.is_empty());
    vec![
        when,
        who.to_owned(),
        text(&change["actor"], "ip").to_owned(),
        text(&change["action"], "type").to_owned(),
        format!("{} {}", text(&change["resource"], "type"), name.unwrap_or_default()).trim_end().to_owned(),
        text(&change["resource"], "id").to_owned(),
    ]
}
