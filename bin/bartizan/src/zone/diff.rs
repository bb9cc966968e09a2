//! `bartizan zone diff`: a zone beside the same one at another server: all of it, if that gives a transfer, else what it answers,
//! name by name. For a move: before the parent is told, nothing should differ.

mod compare;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_dial::{NameServers, NotAnswered, NotTransferred, Questions, Transfer};
use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::Message;
use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::compare::{Difference, Here, Question, There};
use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bold, one_line};
use crate::up::name_server;
use crate::zone::{by_name_or_id, shown, text};

#[derive(Args)]
pub struct ZoneDiff {
    /// By name or id
    pub zone: String,
    /// A name server of the zone as it is elsewhere: an address or a host, with a port if it is not 53
    #[arg(long, value_name = "ADDRESS")]
    pub server: String,
    /// TTLs that differ count too
    #[arg(long)]
    pub ttl: bool,
}

/// Questions that are under way at a time: a server that is not ours is not to be flooded.
const AT_ONCE: usize = 16;

/// After so many questions without an answer, and none with one, no more are asked.
const FAILED_MAX: usize = 8;

/// How often it is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// The port of DNS (RFC 1035 §4.2).
const PORT: u16 = 53;

pub async fn run(words: ZoneDiff, api: &Api, output: Output) -> anyhow::Result<()> {
    let zone = by_name_or_id(api, &words.zone).await?;
    let server = address(&words.server).await?;
    let here = records(&zone, api).await?;
    let name = shown(&zone, "name").into_owned();
    let mut seen = match transferred(server, here.apex(), output).await {
        Ok(there) => Seen { differences: here.compare_all(&there, words.ttl), is_whole: true, ..Seen::default() },
        Err(reason) => {
            output.progress(format!("{server} gives no transfer of {name} ({reason}): asking name by name"));
            let compare = |question: &Question, message: &Message| here.compare(question, message, words.ttl);
            ask_all(here.questions(), server, output, compare).await?
        }
    };
    seen.doubtful.retain(|owner| !here.is_delegated(owner));
    let document = json!({
        "zone": text(&zone, "name"), "server": server.to_string(), "transferred": seen.is_whole, "questions": seen.asked,
        "differences": seen.differences, "unanswered": seen.unanswered, "authoritative": seen.doubtful.is_empty(),
    });
    output.result(&document, || {
        let lines: Vec<_> = seen.differences.iter().map(line).chain(seen.unanswered.iter().map(mute)).collect();
        lines.join("\n")
    })?;
    if !seen.doubtful.is_empty() {
        output.progress(format!("{server} is not authoritative for all of {name}: what it says may come from a cache"));
    }
    if !seen.is_whole {
        output.progress(
            "names that only the other server has are not found without a transfer, but for a few common ones",
        );
    }
    let outcome = match (seen.differences.len(), seen.unanswered.len()) {
        (0, 0) if seen.is_whole => {
            output.progress(format!("{name}: {server} has the same {} sets of records", here.count()));
            return Ok(());
        }
        (0, 0) => {
            output.progress(format!("{name}: {server} answers the same to {} questions", seen.asked));
            return Ok(());
        }
        (differ, _) if seen.is_whole => format!("{server} has {differ} sets of records otherwise"),
        (0, mute) => format!("{server} did not answer {mute} of {} questions", seen.asked),
        (differ, 0) => format!("{server} answers {differ} of {} questions otherwise", seen.asked),
        (differ, mute) => format!("{server} answers {differ} of {} questions otherwise, and {mute} not", seen.asked),
    };
    Err(Failure::new(Cause::Failed, outcome).into())
}

/// The whole zone as the server has it, if we may have it.
async fn transferred(server: SocketAddr, apex: &Name, output: Output) -> Result<There, NotTransferred> {
    let mut transfer = Transfer::begin(server, apex).await?;
    let (mut there, mut count, mut told) = (There::default(), 0, Instant::now());
    while let Some(records) = transfer.next().await? {
        count += records.len();
        records.iter().for_each(|record| there.put(record));
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            output.progress(format!("{count} records"));
        }
    }
    Ok(there)
}

/// An address with or without a port, or a host's name.
async fn address(server: &str) -> anyhow::Result<SocketAddr> {
    if let Ok(address) = name_server(server) {
        return Ok(address);
    }
    let (host, port) = match server.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some(given) => given,
        None => (server, PORT),
    };
    let found = tokio::net::lookup_host((host, port)).await;
    found.ok().and_then(|mut found| found.next()).ok_or_else(|| {
        Failure::new(Cause::Usage, format!("--server {server:?} has no address"))
            .remedy("an address such as 192.0.2.1, [2001:db8::1]:5353, or the name of a host")
            .into()
    })
}

/// The zone's records, as the API exports them.
async fn records(zone: &Value, api: &Api) -> anyhow::Result<Here> {
    let mut download = api.download(&format!("/zones/{}/dns_records/export", text(zone, "id"))).await?;
    let mut reading = compare::Reading::of(Name::parse(text(zone, "name"))?);
    while let Some(piece) = download.next().await? {
        reading.take(&piece);
    }
    Ok(reading.end())
}

/// What came of all questions.
#[derive(Default)]
struct Seen {
    asked: usize,
    differences: Vec<Difference>,
    unanswered: Vec<Value>,
    /// The server has given all that it has.
    is_whole: bool,
    /// Names for which the server does not speak with authority.
    doubtful: BTreeSet<Name>,
}

/// Asks everything, so many at a time, in order; what is answered is compared as it comes.
async fn ask_all(
    mut questions: VecDeque<Question>,
    server: SocketAddr,
    output: Output,
    compare: impl Fn(&Question, &Message) -> Option<Difference>,
) -> anyhow::Result<Seen> {
    let asker = Arc::new(Questions::to(NameServers::These(vec![server])));
    let all = questions.len();
    let mut seen = Seen::default();
    let mut told = Instant::now();
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < AT_ONCE
            && let Some(question) = questions.pop_front()
        {
            let asker = Arc::clone(&asker);
            under_way.spawn(async move {
                let answer = asker.ask_at(server, &question.owner, question.rtype).await;
                (question, answer)
            });
        }
        let Some(done) = under_way.join_next().await else { break };
        let (question, answer) = done?;
        seen.asked += 1;
        match answer {
            Ok(message) => {
                seen.differences.extend(compare(&question, &message));
                if !message.authoritative {
                    seen.doubtful.insert(question.owner);
                }
            }
            Err(error) => {
                seen.unanswered.push(unanswered(&question.owner, question.rtype, &error));
                if seen.unanswered.len() == seen.asked && seen.asked >= FAILED_MAX.min(all) {
                    return Err(silent(server, &error).into());
                }
            }
        }
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            output.progress(format!("{} of {all} questions, {} differ", seen.asked, seen.differences.len()));
        }
    }
    seen.differences.sort_by(|one, other| (&one.owner, one.rtype.0).cmp(&(&other.owner, other.rtype.0)));
    Ok(seen)
}

fn silent(server: SocketAddr, error: &NotAnswered) -> Failure {
    Failure::new(Cause::Failed, format!("{server} does not answer for this zone: {error}"))
        .remedy("--server ADDRESS[:PORT] is to be a name server of the zone as it is today")
}

fn unanswered(owner: &Name, rtype: RecordType, error: &NotAnswered) -> Value {
    json!({ "name": owner.to_string(), "type": rtype.to_string(), "reason": error.to_string() })
}

fn mute(question: &Value) -> String {
    format!(
        "{} {}: not answered: {}",
        shown(question, "name"),
        text(question, "type"),
        one_line(text(question, "reason"))
    )
}

fn line(difference: &Difference) -> String {
    let owner = bartizan_names::to_unicode(&difference.owner);
    let proxied = if difference.proxied { " (proxied here)" } else { "" };
    let mut lines = vec![format!("{} {}{proxied}", bold(&owner), difference.rtype)];
    lines.extend(difference.only_here.iter().map(|data| format!("  - only here   {}", one_line(data))));
    lines.extend(difference.only_there.iter().map(|data| format!("  + only there  {}", one_line(data))));
    lines.extend(difference.ttls.map(|(here, there)| format!("  ttl {here} here, {there} there")));
    lines.join("\n")
}
