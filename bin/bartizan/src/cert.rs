//! `bartizan cert`: a thin client of certificates: those of the public authority, and those that people bring.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure, instead_of};
use crate::output::{Output, bad, bold, faint, good, one_line, quoted, table};
use crate::text_file::read;
use crate::url::with_query;
use crate::zone::{self, text};

#[derive(Subcommand)]
pub enum CertAction {
    /// The certificates of a zone, or all that the public authority issues: state, issuer, end, next try
    List {
        /// The zone, by name or id [default: all zones]
        zone: Option<String>,
        /// Only those of the public authority that are so
        #[arg(long, value_parser = ["pending", "active", "failing", "off"])]
        state: Option<String>,
    },
    /// One certificate, with why the last try failed and when the next one is
    Show {
        #[command(flatten)]
        one: One,
        /// Print its chain as PEM, and nothing else
        #[arg(long)]
        pem: bool,
    },
    /// Have the public authority issue for a zone: for its apex and all names one label below, or for the names given
    Issue {
        /// The zone, by name or id
        zone: String,
        /// Names in the zone; the first label may be `*`
        hosts: Vec<String>,
        /// Show by a page of the edge that the names are ours, for names whose DNS is elsewhere (HTTP-01)
        #[arg(long, requires = "hosts")]
        http: bool,
        /// Wait until it is there, or a try has failed
        #[arg(long)]
        wait: bool,
    },
    /// Have a certificate issued anew at once, or all that the public authority issues for a zone
    Renew {
        /// The zone, by name or id
        zone: String,
        /// Which one, by its id [default: all of the zone]
        id: Option<String>,
        /// Wait until it is there, or a try has failed
        #[arg(long)]
        wait: bool,
    },
    /// Have the public authority issue nothing for a zone any more, and serve what is our own
    Off {
        /// The zone, by name or id
        zone: String,
    },
    /// Bring a certificate: it goes before all others for those of its names that lie in the zone
    Upload {
        /// The zone, by name or id
        zone: String,
        /// PEM: the certificate and its chain, in whatever order
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// PEM: its private key, not encrypted; `-` is standard input. Left out: the key of the one that is replaced
        #[arg(long, value_name = "FILE", required_unless_present = "replace")]
        key: Option<PathBuf>,
        /// Put it in the place of this one, by its id
        #[arg(long, value_name = "ID")]
        replace: Option<String>,
    },
    /// Delete a certificate that was brought, or one that was asked for by name
    Delete {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        consent: Consent,
    },
    /// Who we are to the public authority: show, set, remove
    Account {
        #[command(subcommand)]
        action: AccountAction,
    },
}

#[derive(Args)]
pub struct One {
    /// The zone, by name or id
    pub zone: String,
    /// The certificate, by its id
    pub id: String,
}

#[derive(Subcommand)]
pub enum AccountAction {
    /// Which authority, and as whom
    Show,
    /// Have an authority issue for all zones whose names it issues for
    Set {
        /// Where the authority writes to about certificates that are about to run out
        #[arg(long, value_name = "ME@HOST")]
        email: Option<String>,
        /// Its directory [default: that of Let's Encrypt]
        #[arg(long, value_name = "URL")]
        directory: Option<String>,
        /// PEM: who the authority's own certificate is from, if this machine does not know it
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,
        /// You have read the terms of the authority and agree to them: <https://letsencrypt.org/repository/>
        #[arg(long)]
        agree_terms: bool,
    },
    /// Have it issue nothing any more; what it issued is served until its end
    Remove {
        #[command(flatten)]
        consent: Consent,
    },
}

/// How long it is waited for a certificate, and how often it is looked.
const WAIT_MAX: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(500);

/// How often it is said that it is waited, where nothing changes.
const STILL: Duration = Duration::from_secs(15);

/// The API's code for an account that cannot be like this.
const ACCOUNT_INVALID: u64 = 1162;

pub async fn run(action: CertAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        CertAction::List { zone, state } => list(zone, state, api, output).await,
        CertAction::Show { one: One { zone, id }, pem } => {
            let zone = id_of(api, &zone).await?;
            let certificate = match api.find(&pack_path(&zone, &id)).await? {
                Some(pack) => pack,
                None => api.get(&custom_path(&zone, &id)).await?,
            };
            if pem {
                let chain = certificate["certificates"][0]["certificate"].as_str().unwrap_or_default();
                if chain.is_empty() {
                    let message = "nothing was issued yet, or it was brought, and who brought it has it";
                    return Err(Failure::new(Cause::NotFound, message).into());
                }
                return crate::output::print_line(chain.trim_end());
            }
            output.result(&certificate, || described(&certificate))
        }
        CertAction::Issue { zone, hosts, http, wait } => {
            let zone = id_of(api, &zone).await?;
            let ids = if hosts.is_empty() {
                api.patch(&format!("/zones/{zone}/ssl/universal/settings"), &json!({"enabled": true})).await?;
                ids_of(api, &zone).await?
            } else {
                let method = if http { "http" } else { "txt" };
                let body = json!({"type": "advanced", "hosts": hosts, "validation_method": method});
                let pack = api.post(&format!("/zones/{zone}/ssl/certificate_packs/order"), &body).await?;
                vec![text(&pack, "id").to_owned()]
            };
            tell(api, &zone, &ids, wait.then_some(Until::There), output).await
        }
        CertAction::Renew { zone, id, wait } => {
            let zone = id_of(api, &zone).await?;
            let ids = match id {
                Some(id) => vec![id],
                None => ids_of(api, &zone).await?,
            };
            if ids.is_empty() {
                let word = quoted(&zone);
                return Err(Failure::new(Cause::NotFound, "the public authority issues nothing for this zone")
                    .remedy(format!("`bartizan cert issue {word}` has it issue"))
                    .into());
            }
            for id in &ids {
                api.patch(&pack_path(&zone, id), &json!({})).await?;
            }
            tell(api, &zone, &ids, wait.then_some(Until::Anew), output).await
        }
        CertAction::Off { zone } => {
            let zone = id_of(api, &zone).await?;
            let settings =
                api.patch(&format!("/zones/{zone}/ssl/universal/settings"), &json!({"enabled": false})).await?;
            let packs = api.list(&format!("/zones/{zone}/ssl/certificate_packs")).await?;
            let stay = packs.iter().filter(|pack| text(pack, "type") == "advanced").count();
            output.result(&settings, || match stay {
                0 => "the public authority issues nothing for this zone any more".to_owned(),
                stay => format!(
                    "the public authority issues nothing for this zone any more but what was asked for by name, of which \
                     there are {stay}: `bartizan cert list` has them, `bartizan cert delete` takes them away"
                ),
            })
        }
        CertAction::Upload { zone, cert, key, replace } => {
            let zone = id_of(api, &zone).await?;
            let mut body = json!({"certificate": read(&cert)?});
            if let (Some(key), Value::Object(members)) = (key, &mut body) {
                members.insert("private_key".to_owned(), read(&key)?.into());
            }
            let brought = match replace {
                Some(id) => api.patch(&custom_path(&zone, &id), &body).await?,
                None => api.post(&format!("/zones/{zone}/custom_certificates"), &body).await?,
            };
            output.result(&brought, || described(&brought))
        }
        CertAction::Delete { one: One { zone, id }, consent } => {
            let zone = id_of(api, &zone).await?;
            let is_brought = api.find(&custom_path(&zone, &id)).await?.is_some();
            let path = if is_brought { custom_path(&zone, &id) } else { pack_path(&zone, &id) };
            consent.ask(&format!("delete the certificate {id}?"), &id, output)?;
            let gone = api.delete(&path).await?;
            output.result(&gone, || format!("{id} is deleted"))
        }
        CertAction::Account { action } => account(action, api, output).await,
    }
}

async fn account(action: AccountAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        AccountAction::Show => {
            let account = api.get("/bartizan/acme").await?;
            output.result(&account, || about_account(&account))
        }
        AccountAction::Set { email, directory, ca_file, agree_terms } => {
            let roots = ca_file.map(|file| read(&file)).transpose()?;
            let mut body = json!({"email": email, "directory": directory, "roots": roots});
            if let (true, Value::Object(members)) = (agree_terms, &mut body) {
                members.insert("terms_of_service_agreed".to_owned(), true.into());
            }
            let account = api.put("/bartizan/acme", &body).await;
            let account = account.map_err(|error| instead_of(ACCOUNT_INVALID, error, in_words_of_flags))?;
            output.result(&account, || about_account(&account))
        }
        AccountAction::Remove { consent } => {
            let question = "have the public authority issue nothing any more?";
            consent.ask(question, "the account at the public authority", output)?;
            let gone = api.delete("/bartizan/acme").await?;
            output.result(&gone, || "the public authority issues nothing any more".to_owned())
        }
    }
}

/// What the API says about the terms, for whoever sets flags.
fn in_words_of_flags(refused: Failure) -> Failure {
    if refused.message.contains("terms_of_service_agreed") {
        refused.remedy("read them, and say with --agree-terms that you agree")
    } else {
        refused
    }
}

fn about_account(account: &Value) -> String {
    let known = if account["is_registered"] == true { "it knows us" } else { "it does not know us yet" };
    let email = account["email"].as_str().map_or_else(String::new, |email| format!(", as {email}"));
    let rests = match account["rests_until"].as_str() {
        Some(until) => format!(
            "; {}",
            bad(&format!("nothing is asked of it before {}: {}", day(until), one_line(text(account, "rests_because"))))
        ),
        None => String::new(),
    };
    format!("{}{email}: {known}{rests}", bold(text(account, "directory")))
}

async fn list(zone: Option<String>, state: Option<String>, api: &Api, output: Output) -> anyhow::Result<()> {
    let mut all = Vec::new();
    match &zone {
        Some(zone) => {
            let zone = id_of(api, zone).await?;
            all = api.list(&format!("/zones/{zone}/ssl/certificate_packs")).await?;
            if let Some(state) = &state {
                all.retain(|pack| text(pack, "state") == state);
            } else {
                all.extend(api.list(&format!("/zones/{zone}/custom_certificates")).await?);
            }
        }
        None => {
            let mut after = String::new();
            loop {
                let mut parameters = vec![("limit", "500")];
                parameters.extend(state.as_deref().map(|state| ("state", state)));
                if !after.is_empty() {
                    parameters.push(("after", after.as_str()));
                }
                let piece = api.get(&with_query("/bartizan/certificates", &parameters)).await?;
                let piece = piece.as_array().cloned().unwrap_or_default();
                let Some(last) = piece.last() else { break };
                after = format!("{}/{}", text(last, "zone_id"), text(last, "id"));
                all.extend(piece);
            }
        }
    }
    output.result(&Value::Array(all.clone()), || {
        let rows: Vec<_> = all.iter().map(row).collect();
        table(&["names", "state", "issuer", "until", "next try", "id"], &rows)
    })
}

/// When it is tried next, as far as that is not when its turn comes.
fn next_try(certificate: &Value) -> String {
    match text(certificate, "stage") {
        "waiting" => "at its turn".to_owned(),
        _ => certificate["next_try_on"].as_str().map(day).unwrap_or_default(),
    }
}

fn row(certificate: &Value) -> Vec<String> {
    let next = next_try(certificate);
    vec![
        names(certificate),
        state(certificate),
        issuer(certificate),
        until(certificate),
        next,
        text(certificate, "id").to_owned(),
    ]
}

fn names(certificate: &Value) -> String {
    let names: Vec<_> = certificate["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let first: Vec<_> = names.iter().take(3).map(|name| bartizan_names::to_unicode(name)).collect();
    let more = names.len().saturating_sub(3);
    let first = first.join(" ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

fn is_brought(certificate: &Value) -> bool {
    certificate["certificates"].is_null()
}

fn state(certificate: &Value) -> String {
    match (is_brought(certificate), text(certificate, "status"), text(certificate, "state")) {
        (true, "active", _) => good("brought"),
        (true, status, _) => bad(&format!("brought, {status}")),
        (false, "expired", _) => bad("expired"),
        (false, _, "active") => good("active"),
        (false, _, "failing") => bad("failing"),
        (false, _, state) => faint(state),
    }
}

fn issuer(certificate: &Value) -> String {
    let issued = &certificate["certificates"][0];
    let of = if is_brought(certificate) { certificate } else { issued };
    one_line(text(of, "issuer"))
}

fn until(certificate: &Value) -> String {
    let of = if is_brought(certificate) { certificate } else { &certificate["certificates"][0] };
    day(text(of, "expires_on"))
}

/// As people read it, to the minute.
fn day(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

fn described(certificate: &Value) -> String {
    let mut lines = vec![format!("{}: {}", bold(&names(certificate)), state(certificate))];
    let mut add = |what: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {what} {value}"));
        }
    };
    add("id", text(certificate, "id").to_owned());
    add("issued by", issuer(certificate));
    add("until", until(certificate));
    add("renewed on", certificate["renew_on"].as_str().map(day).unwrap_or_default());
    add("next try", next_try(certificate));
    add("last try", certificate["last_try_on"].as_str().map(day).unwrap_or_default());
    add("last error", one_line(text(certificate, "last_error")));
    lines.join("\n")
}

/// Why nothing is asked of the public authority now, as far as the caller may know.
async fn resting(api: &Api) -> Option<String> {
    let account = api.find("/bartizan/acme").await.ok().flatten()?;
    let until = account["rests_until"].as_str()?;
    let why = one_line(text(&account, "rests_because"));
    Some(format!("nothing is asked of the public authority before {}: {why}", day(until)))
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// One is there, or a try has failed.
    There,
    /// The try that was asked for is over.
    Anew,
}

/// Says how some are, at once or when something has come of each.
async fn tell(api: &Api, zone: &str, ids: &[String], wait: Option<Until>, output: Output) -> anyhow::Result<()> {
    // What was only tried is nowhere.
    if api.only_tries() {
        return Ok(());
    }
    if wait.is_some()
        && let Some(resting) = resting(api).await
    {
        let remedy =
            "it is asked then by itself, and what is there stays in force; `bartizan cert account show` tells this too";
        return Err(Failure::new(Cause::Failed, resting).remedy(remedy).into());
    }
    let (mut packs, mut said) = (Vec::new(), Said::new());
    let waiting = async {
        for id in ids {
            loop {
                let pack = api.get(&pack_path(zone, id)).await?;
                if wait.is_none_or(|until| is_over(&pack, until)) {
                    packs.push(pack);
                    break;
                }
                said.now(&how_far(&pack), output);
                tokio::time::sleep(LOOK).await;
            }
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(WAIT_MAX, waiting).await {
        Ok(told) => told?,
        Err(_) => {
            let message = format!("nothing has come of it in {} s; {}", WAIT_MAX.as_secs(), said.last);
            return Err(Failure::new(Cause::Failed, message).remedy("`bartizan cert list` says how far it is").into());
        }
    }
    if let Some(failed) = packs.iter().find(|pack| wait.is_some() && text(pack, "state") == "failing") {
        let message = format!("{}: {}", names(failed), one_line(text(failed, "last_error")));
        let next = day(text(failed, "next_try_on"));
        return Err(Failure::new(Cause::Failed, message)
            .remedy(format!("it is tried again by itself at {next}"))
            .into());
    }
    output.result(&Value::Array(packs.clone()), || packs.iter().map(described).collect::<Vec<_>>().join("\n"))
}

/// What was said last to whoever waits, and when.
struct Said {
    last: String,
    at: Instant,
    began: Instant,
}

impl Said {
    fn new() -> Said {
        Said { last: String::new(), at: Instant::now(), began: Instant::now() }
    }

    /// Says what is new, and what is not after a while.
    fn now(&mut self, how: &str, output: Output) {
        if self.last == how && self.at.elapsed() < STILL {
            return;
        }
        output.progress(format!("{how} ({} s)", self.began.elapsed().as_secs()));
        (self.last, self.at) = (how.to_owned(), Instant::now());
    }
}

/// How far one is that nothing has come of yet.
fn how_far(pack: &Value) -> String {
    let how = match text(pack, "stage") {
        "asking" => "the public authority is asked".to_owned(),
        "waiting" => "it waits for its turn".to_owned(),
        _ => format!("it is tried next at {}", day(text(pack, "next_try_on"))),
    };
    let why = one_line(text(pack, "last_error"));
    let why = if why.is_empty() { why } else { format!("; the last try: {why}") };
    format!("{}: {how}{why}", names(pack))
}

/// Whether something has come of what was asked for.
fn is_over(pack: &Value, until: Until) -> bool {
    let is_under_way = ["waiting", "asking"].contains(&text(pack, "stage"));
    text(pack, "state") != "pending" && (until == Until::There || !is_under_way)
}

async fn ids_of(api: &Api, zone: &str) -> anyhow::Result<Vec<String>> {
    let packs = api.list(&format!("/zones/{zone}/ssl/certificate_packs")).await?;
    let is_wanted = |pack: &&Value| text(pack, "state") != "off";
    Ok(packs.iter().filter(is_wanted).map(|pack| text(pack, "id").to_owned()).collect())
}

async fn id_of(api: &Api, zone: &str) -> anyhow::Result<String> {
    Ok(text(&zone::by_name_or_id(api, zone).await?, "id").to_owned())
}

fn pack_path(zone: &str, id: &str) -> String {
    format!("/zones/{zone}/ssl/certificate_packs/{id}")
}

fn custom_path(zone: &str, id: &str) -> String {
    format!("/zones/{zone}/custom_certificates/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_of_a_wish() {
        let pack = |state: &str, stage: &str| json!({"state": state, "stage": stage});
        for (state, stage, until, expect) in [
            ("pending", "asking", Until::There, false),
            ("pending", "resting", Until::There, false),
            ("active", "waiting", Until::There, true),
            ("failing", "resting", Until::There, true),
            ("active", "waiting", Until::Anew, false),
            ("active", "asking", Until::Anew, false),
            ("active", "resting", Until::Anew, true),
            ("failing", "resting", Until::Anew, true),
            ("off", "none", Until::Anew, true),
        ] {
            assert_eq!(is_over(&pack(state, stage), until), expect, "{state} {stage}");
        }
    }

    #[test]
    fn who_waits_hears_how_far_it_is() {
        let pack = |stage: &str, error: &str| {
            json!({
                "hosts": ["a.test"], "stage": stage, "next_try_on": "2026-11-30T06:15:00.000000Z", "last_error": error,
            })
        };
        for (pack, expect) in [
            (pack("waiting", ""), "a.test: it waits for its turn"),
            (pack("asking", ""), "a.test: the public authority is asked"),
            (pack("resting", "no\nTXT"), "a.test: it is tried next at 2026-11-30 06:15; the last try: no\\nTXT"),
        ] {
            assert_eq!(how_far(&pack), expect);
        }
    }

    #[test]
    fn what_the_terms_are_agreed_to_by() {
        let refused = |message: &str| in_words_of_flags(Failure::new(Cause::Failed, message)).to_string();
        assert!(refused("terms_of_service_agreed: nobody has").contains("--agree-terms"));
        assert_eq!(refused("email: none"), "email: none");
    }

    #[test]
    fn a_row_says_how_it_is() {
        let mut pack = json!({
            "id": "1", "hosts": ["a.test", "b.test", "c.test", "d.test"], "status": "active", "state": "failing",
            "stage": "resting",
            "next_try_on": "2026-11-30T06:00:01.000000Z", "last_error": "no TXT record",
            "certificates": [{"issuer": "Some CA", "expires_on": "2027-01-30T06:00:01.000000Z"}],
        });
        assert_eq!(
            row(&pack),
            [
                "a.test b.test c.test and 1 more",
                &bad("failing"),
                "Some CA",
                "2027-01-30 06:00",
                "2026-11-30 06:00",
                "1"
            ]
        );
        assert!(described(&pack).contains("last error no TXT record"));
        pack["stage"] = json!("waiting");
        assert_eq!(row(&pack)[4], "at its turn");
        let brought = json!({"id": "2", "hosts": ["a.test"], "status": "active", "issuer": "X", "expires_on": ""});
        assert_eq!(row(&brought), ["a.test", &good("brought"), "X", "", "", "2"]);
    }
}
