//! Whether those who search keep those waiting who write, or log in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use super::super::api::Sent;
use super::super::edge::Edge;
use super::cases::{Ask, Keep};
use super::load::{self, Numbers, Seen, Server};
use super::table::Table;
use super::world::World;

/// Who searches meanwhile.
const SEARCHERS: usize = 64;

const PASSWORD: &str = "a horse that nobody else has";

/// Somebody who logs in.
pub(super) struct Login {
    email: String,
}

impl Login {
    /// Gives the administrator a password, if they do not have it from an earlier run.
    pub(super) fn prepare(edge: &Edge) -> Result<Login> {
        let (login, mut api) = (Login { email: edge.email.clone() }, edge.connect()?);
        let Ask { method, path, body } = login.ask();
        if api.send(method, &path, &Sent::json(&body))?.status != 200 {
            api.call("PUT", "/bartizan/user/password", &json!({"password": PASSWORD}))?;
        }
        Ok(login)
    }

    fn ask(&self) -> Ask {
        let body = json!({"email": self.email, "password": PASSWORD}).to_string();
        Ask { method: "POST", path: "/bartizan/sessions".to_owned(), body }
    }
}

/// One who writes and one who logs in, alone and beside those who search.
pub(super) fn measure(
    table: &mut Table,
    server: &Server,
    (world, login): (&World, Option<&Login>),
    time: Duration,
    numbers: &Numbers,
) -> Result<()> {
    let is_ours = login.is_some();
    let write = |number: usize| -> Option<Ask> {
        if is_ours {
            return Some(world.other_change(number));
        }
        let set = world.new_record(number).set("REPLACE");
        let body = json!({"rrsets": [set]}).to_string();
        Some(Ask { method: "PATCH", path: format!("/zones/{}.", super::super::ZONE), body })
    };
    let search = |number: usize| -> Option<Ask> {
        // Few hits, many, and more than the index helps with.
        let text = match number % 3 {
            0 => format!("il{}", World::spread(number, world.records)),
            1 => "mail".to_owned(),
            _ => (number % 97).to_string(),
        };
        let path = match is_ours {
            true => format!("/zones/{}/dns_records?search={text}", world.zone),
            false => format!("/search-data?q=*{text}*&max=100&object_type=record"),
        };
        Some(Ask { method: "GET", path, body: String::new() })
    };
    let enter = |_: usize| login.map(Login::ask);
    let keep = if is_ours { Keep::Nothing } else { Keep::Records };
    for (searchers, titles) in
        [(0, ["write-alone", "login-alone", ""]), (SEARCHERS, ["write-beside", "login-beside", "search-beside"])]
    {
        let over = AtomicBool::new(false);
        let until_over = |number: usize| if over.load(Ordering::Relaxed) { None } else { search(number) };
        let (mut written, mut entered, mut searched) = (Ok(Seen::default()), Ok(Seen::default()), Ok(Seen::default()));
        let longer = time + Duration::from_secs(120);
        std::thread::scope(|scope| {
            let searching = scope.spawn(|| match searchers {
                0 => Ok(Seen::default()),
                some => load::run(server, some, longer, &until_over, (world, Keep::Nothing), numbers),
            });
            let entering = scope.spawn(|| load::run(server, 1, time, &enter, (world, Keep::Nothing), &Numbers::new(0)));
            written = load::run(server, 1, time, &write, (world, keep), numbers);
            entered = entering.join().unwrap_or_else(|_| bail!("a client panicked"));
            over.store(true, Ordering::Relaxed);
            searched = searching.join().unwrap_or_else(|_| bail!("a client panicked"));
        });
        for (title, seen) in titles.into_iter().zip([written, entered, searched]) {
            let seen = seen?;
            let is_none = seen.times.is_empty() && seen.refused == 0;
            if !is_none && !title.is_empty() {
                table.add(title, searchers.max(1), server.name, 1, Seen { cpu: Duration::ZERO, ..seen });
            }
        }
    }
    Ok(())
}
