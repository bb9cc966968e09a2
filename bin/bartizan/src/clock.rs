//! `bartizan clock`: what time the edge believes, and the word that its clock is right; a thin client of `/bartizan/clock`.

mod watch;

use bartizan_v4::clock::ClockState;
use clap::Subcommand;

pub use self::watch::{FILE, by_last_change, keep, keep_for_all, known, now, start, watch};
use crate::client::Api;
use crate::output::Output;

#[derive(Subcommand)]
pub enum ClockAction {
    /// What time the edge believes, and why not what its clock says
    Show,
    /// Say that its clock is right, whatever was expected of it
    Believe,
}

pub async fn run(action: ClockAction, api: &Api, output: Output) -> anyhow::Result<()> {
    let answer = match action {
        ClockAction::Show => api.get("/bartizan/clock").await?,
        ClockAction::Believe => api.post("/bartizan/clock/believe", &serde_json::json!({})).await?,
    };
    let state: ClockState = serde_json::from_value(answer.clone())?;
    output.result(&answer, || told(&state))
}

fn told(state: &ClockState) -> String {
    match &state.reason {
        None => format!("{}, as the clock says", state.now),
        Some(reason) => format!(
            "{}\n{reason}\nset the clock of that machine right; if it is right, say so: bartizan clock believe",
            state.now
        ),
    }
}
