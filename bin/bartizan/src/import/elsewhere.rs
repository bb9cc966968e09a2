//! What a zone there has that is not taken over: it is told, and so is what could not be looked for.

use std::collections::BTreeSet;

use bartizan_model::TUNNEL_DOMAIN;
use serde_json::Value;

use super::export::Export;
use super::{Report, Step};
use crate::failure::Failure;
use crate::output::one_line;
use crate::tunnel;
use crate::zone::text;

/// Lists of a zone that have no counterpart here yet, and what they are of.
const WITHOUT_COUNTERPART: [(&str, &str); 11] = [
    ("pagerules?status=active", "page rules"),
    ("load_balancers", "load balancers"),
    ("rate_limits", "rate limits"),
    ("healthchecks", "health checks"),
    ("custom_certificates", "custom certificates"),
    ("workers/routes", "workers"),
    ("firewall/rules", "firewall rules"),
    ("firewall/lockdowns", "zone lockdowns"),
    ("firewall/ua_rules", "user agent rules"),
    ("rulesets", "rulesets"),
    ("waiting_rooms", "waiting rooms"),
];

/// The API's code for a path that it does not know: there is nothing of the kind.
const NO_ROUTE: u64 = 7003;

pub async fn tell(step: &Step<'_>, report: &mut Report) {
    for (path, what) in WITHOUT_COUNTERPART {
        match step.there.get(&format!("/zones/{}/{path}", step.their_id())).await {
            Ok(Value::Array(found)) => {
                // Rulesets of the vendor's are in every zone.
                let own = found.iter().filter(|one| one["kind"] != "managed" && one["kind"] != "root").count();
                if own > 0 {
                    report.lines.push(format!("no counterpart: {own} {what}"));
                }
            }
            Ok(_) => {}
            Err(error) if code(&error) == Some(NO_ROUTE) => {}
            Err(error) => report.unseen(what, &error),
        }
    }
}

fn code(error: &anyhow::Error) -> Option<u64> {
    error.downcast_ref::<Failure>().and_then(|failure| failure.code)
}

/// Names that lead to tunnels: those stay where they are, and a name leads to one here only if it has the same id.
pub async fn tell_tunnels(step: &Step<'_>, export: &mut Export, report: &mut Report) -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    export.lines(|_, line| wanted.extend(tunnel_of(line)))?;
    if wanted.is_empty() {
        return Ok(());
    }
    let account = match &step.ours {
        Some(ours) => text(&ours["account"], "id").to_owned(),
        None => tunnel::account(step.here).await?,
    };
    let here = step.here.list(&format!("/accounts/{account}/cfd_tunnel?is_deleted=false")).await;
    let here = match here {
        Ok(here) => here.iter().map(|tunnel| text(tunnel, "id").to_owned()).collect::<BTreeSet<_>>(),
        Err(error) => {
            report.lines.push(format!("could not look for the tunnels here: {}", one_line(&error.to_string())));
            return Ok(());
        }
    };
    match wanted.iter().filter(|id| !here.contains(*id)).count() {
        0 => {}
        1 => report.lines.push("1 name leads to a tunnel that is not here".to_owned()),
        more => report.lines.push(format!("{more} names lead to tunnels that are not here")),
    }
    Ok(())
}

/// The tunnel that a line of a master file leads to.
fn tunnel_of(line: &str) -> Option<String> {
    let data = line.split(';').next()?;
    let target = data.split_ascii_whitespace().last()?.to_ascii_lowercase();
    let id = target.trim_end_matches('.').strip_suffix(TUNNEL_DOMAIN)?.strip_suffix('.')?;
    data.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("CNAME")).then(|| id.to_owned())
}
