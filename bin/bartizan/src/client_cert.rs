//! `bartizan client-cert`: a thin client of what hosts want to know of their clients by certificates.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bad, bold, faint, good, one_line, table};
use crate::text_file::{read, read_bytes};
use crate::url::with_query;
use crate::zone::{self, text};

#[derive(Subcommand)]
pub enum ClientCertAction {
    /// Issue a certificate to a client, by the zone's own authority: prints it as PEM
    Issue {
        /// The zone, by name or id
        zone: String,
        /// PEM: the client's request, made with its key (`openssl req -new`); `-` is standard input
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// How long it is valid
        #[arg(long, default_value_t = 365, value_name = "DAYS")]
        days: u32,
    },
    /// Certificates that were issued to clients of a zone, the newest first
    List {
        /// The zone, by name or id
        zone: String,
        /// Only those that are so
        #[arg(long, value_parser = ["active", "revoked"])]
        status: Option<String>,
    },
    /// Revoke one, or all of a client: they are let in no more, on connections that are open too
    Revoke {
        /// The zone, by name or id
        zone: String,
        /// The certificate, by its id, or whom it is for, by their common name
        certificate: String,
    },
    /// Take a revocation back
    Reactivate {
        /// The zone, by name or id
        zone: String,
        /// The certificate, by its id, or by its common name if there is one revoked of this name
        certificate: String,
    },
    /// Authorities whose certificates clients may show: add, list, crl, delete
    Authority {
        #[command(subcommand)]
        action: AuthorityAction,
    },
    /// What hosts want of their clients: list, set, remove
    Host {
        #[command(subcommand)]
        action: HostAction,
    },
}

#[derive(Args)]
pub struct One {
    /// The zone, by name or id
    pub zone: String,
    /// The authority, by its id
    pub id: String,
}

#[derive(Subcommand)]
pub enum AuthorityAction {
    /// Bring the certificates of an authority, and say which hosts believe it
    Add {
        /// The zone, by name or id
        zone: String,
        /// PEM: its certificate, or several
        file: PathBuf,
        /// What it is called [default: the file's name]
        #[arg(long)]
        name: Option<String>,
        /// A host of the zone that believes it; the first label may be `*`
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// Fetch lists of what it has revoked from there, http:// or https://
        #[arg(long, value_name = "URL")]
        crl_url: Option<String>,
    },
    /// Those of a zone, with what they have revoked, and why a list could not be fetched
    List {
        /// The zone, by name or id
        zone: String,
    },
    /// Bring a list of what one has revoked, or say where newer ones are fetched from
    Crl {
        #[command(flatten)]
        one: One,
        /// PEM or DER: the list, instead of the last one by the same key; several may be in one file
        #[arg(required_unless_present = "url")]
        file: Option<PathBuf>,
        /// Fetch newer lists from there, http:// or https://; `none`: not any more
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Delete one: no host believes it any more
    Delete {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Subcommand)]
pub enum HostAction {
    /// Those of a zone that ask their clients for a certificate, or may
    List {
        /// The zone, by name or id
        zone: String,
    },
    /// Say what a host wants; what is left out stays
    Set {
        /// The zone, by name or id
        zone: String,
        /// The host; the first label may be `*`
        host: String,
        /// `report`: all go on, and the origin is told; `enforce`: 403 for who is not known
        #[arg(long, value_parser = ["off", "report", "enforce"])]
        mode: Option<String>,
        /// Believe the zone's own authority, which `client-cert issue` issues by
        #[arg(long)]
        own: bool,
        /// Tell the origin something of the certificate: `X-Device=common_name`
        #[arg(long = "header", value_name = "NAME=VALUE")]
        headers: Vec<String>,
        /// Send the origin the certificate itself (RFC 9440)
        #[arg(long, value_name = "YES|NO", value_parser = ["yes", "no"])]
        forward: Option<String>,
        /// What is answered to who is refused: a file that ends in .json or .html
        #[arg(long, value_name = "FILE")]
        refusal: Option<PathBuf>,
    },
    /// Ask its clients for nothing any more
    Remove {
        /// The zone, by name or id
        zone: String,
        /// The host
        host: String,
        #[command(flatten)]
        consent: Consent,
    },
}

pub async fn run(action: ClientCertAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        ClientCertAction::Issue { zone, csr, days } => {
            let zone = id_of(api, &zone).await?;
            let body = json!({"csr": read(&csr)?, "validity_days": days});
            let made = api.post(&issued(&zone), &body).await?;
            output.result(&made, || text(&made, "certificate").trim_end().to_owned())
        }
        ClientCertAction::List { zone, status } => {
            let zone = id_of(api, &zone).await?;
            let parameters: Vec<_> = status.as_deref().map(|status| ("status", status)).into_iter().collect();
            let all = api.list(&with_query(&issued(&zone), &parameters)).await?;
            output.result(&Value::Array(all.clone()), || {
                let rows: Vec<_> = all.iter().map(row).collect();
                table(&["name", "status", "until", "number", "id"], &rows)
            })
        }
        ClientCertAction::Revoke { zone, certificate } => {
            let base = issued(&id_of(api, &zone).await?);
            let mut revoked = Vec::new();
            for one in named(api, &base, &certificate, "active").await? {
                revoked.push(api.delete(&format!("{base}/{}", text(&one, "id"))).await?);
            }
            let is_by_id = revoked.len() == 1 && text(&revoked[0], "id") == certificate;
            let result = if is_by_id { revoked[0].clone() } else { Value::Array(revoked.clone()) };
            output.result(&result, || told_of(&revoked, "revoked"))
        }
        ClientCertAction::Reactivate { zone, certificate } => {
            let base = issued(&id_of(api, &zone).await?);
            let found = named(api, &base, &certificate, "revoked").await?;
            let [one] = found.as_slice() else {
                let ids: Vec<_> = found.iter().map(|one| text(one, "id")).collect();
                let message = format!("{} revoked certificates are for {}", ids.len(), one_line(&certificate));
                let remedy = format!("say which one by its id: {}", ids.join(", "));
                return Err(Failure::new(Cause::Usage, message).remedy(remedy).into());
            };
            let active = api.patch(&format!("{base}/{}", text(one, "id")), &json!({})).await?;
            output.result(&active, || told_of(std::slice::from_ref(&active), "active"))
        }
        ClientCertAction::Authority { action } => authority(action, api, output).await,
        ClientCertAction::Host { action } => host(action, api, output).await,
    }
}

async fn authority(action: AuthorityAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        AuthorityAction::Add { zone, file, name, hosts, crl_url } => {
            let zone = id_of(api, &zone).await?;
            let usual = || file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let name = name.unwrap_or_else(usual);
            let mut body = json!({"name": name, "certificate": read(&file)?, "associated_hostnames": hosts});
            if let (Some(url), Value::Object(members)) = (crl_url, &mut body) {
                members.insert("crl_url".to_owned(), url.into());
            }
            let made = api.post(&roots(&zone), &body).await?;
            output.result(&made, || about_authority(&made).join("  "))
        }
        AuthorityAction::List { zone } => {
            let zone = id_of(api, &zone).await?;
            let all = api.list(&roots(&zone)).await?;
            output.result(&Value::Array(all.clone()), || {
                let rows: Vec<_> = all.iter().map(about_authority).collect();
                table(&["name", "until", "hosts", "revoked", "fetched", "id"], &rows)
            })
        }
        AuthorityAction::Crl { one, file, url } => {
            let zone = id_of(api, &one.zone).await?;
            let mut body = Map::new();
            body.extend(
                file.map(|file| Ok::<_, anyhow::Error>(("crl".to_owned(), read_list(&file)?.into()))).transpose()?,
            );
            let url = url.map(|url| if url == "none" { Value::Null } else { url.into() });
            body.extend(url.map(|url| ("crl_url".to_owned(), url)));
            let body = Value::Object(body);
            let changed = api.put(&format!("{}/{}", roots(&zone), one.id), &body).await?;
            output.result(&changed, || about_authority(&changed).join("  "))
        }
        AuthorityAction::Delete { one, consent } => {
            let zone = id_of(api, &one.zone).await?;
            consent.ask(&format!("delete the authority {}?", one.id), &one.id, output)?;
            let gone = api.delete(&format!("{}/{}", roots(&zone), one.id)).await?;
            output.result(&gone, || format!("{} is deleted", one.id))
        }
    }
}

async fn host(action: HostAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        HostAction::List { zone } => {
            let zone = id_of(api, &zone).await?;
            let all = api.list(&hosts(&zone)).await?;
            output.result(&Value::Array(all.clone()), || {
                let rows: Vec<_> = all.iter().map(about_host).collect();
                table(&["host", "mode", "believes", "tells"], &rows)
            })
        }
        HostAction::Set { zone, host, mode, own, headers, forward, refusal } => {
            let zone = id_of(api, &zone).await?;
            let mut body = Map::new();
            body.extend(mode.map(|mode| ("mode".to_owned(), mode.into())));
            if !headers.is_empty() {
                body.insert("headers".to_owned(), headers.iter().map(|header| told(header)).collect::<Result<_, _>>()?);
            }
            body.extend(forward.map(|word| ("client_certificate_forwarding".to_owned(), (word == "yes").into())));
            body.extend(
                refusal.map(|file| Ok::<_, anyhow::Error>(("refusal".to_owned(), words_of(&file)?))).transpose()?,
            );
            let path = format!("{}/{host}", hosts(&zone));
            if own {
                let associations = format!("/zones/{zone}/certificate_authorities/hostname_associations");
                let before = api.get(&associations).await?;
                let mut names: Vec<Value> = before["hostnames"].as_array().cloned().unwrap_or_default();
                names.push(host.clone().into());
                api.put(&associations, &json!({"hostnames": names})).await?;
            }
            let is_there = api.find(&path).await?.is_some();
            let body = Value::Object(body);
            let set = if is_there { api.patch(&path, &body).await? } else { api.put(&path, &body).await? };
            output.result(&set, || about_host(&set).join("  "))
        }
        HostAction::Remove { zone, host, consent } => {
            let zone = id_of(api, &zone).await?;
            consent.ask(&format!("ask clients of {host} for no certificate any more?"), &host, output)?;
            let gone = api.delete(&format!("{}/{host}", hosts(&zone))).await?;
            output.result(&gone, || format!("{host} asks its clients for nothing"))
        }
    }
}

fn row(certificate: &Value) -> Vec<String> {
    let status = match text(certificate, "status") {
        "active" => good("active"),
        status => bad(status),
    };
    vec![
        one_line(text(certificate, "common_name")),
        status,
        day(text(certificate, "expires_on")),
        text(certificate, "serial_number").to_owned(),
        text(certificate, "id").to_owned(),
    ]
}

fn about_authority(authority: &Value) -> Vec<String> {
    let crl = &authority["bartizan"]["crl"];
    vec![
        bold(&one_line(text(authority, "name"))),
        day(text(authority, "expires_on")),
        words(&authority["associated_hostnames"]),
        crl["count"].as_u64().map(|count| count.to_string()).unwrap_or_default(),
        fetched(&authority["bartizan"]["crl_source"]),
        text(authority, "id").to_owned(),
    ]
}

/// How it goes to fetch lists of revoked certificates.
fn fetched(source: &Value) -> String {
    match text(source, "state") {
        "failing" => bad(&format!(
            "failing since {}: {}",
            minute(text(source, "failing_since")),
            one_line(text(source, "last_error"))
        )),
        "ok" => good(&minute(text(source, "fetched_on"))),
        state => faint(state),
    }
}

/// As people read it.
fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

fn about_host(host: &Value) -> Vec<String> {
    let mode = match text(host, "mode") {
        "enforce" => good("enforce"),
        mode => faint(mode),
    };
    let own = if host["managed"] == true { "its own" } else { "" };
    let others = host["authorities"].as_array().map_or(0, Vec::len);
    let believes = match (own, others) {
        ("", 0) => bad("nobody"),
        (own, 0) => own.to_owned(),
        (own, others) => format!("{own} {others} more").trim().to_owned(),
    };
    let told = host["headers"].as_array().into_iter().flatten();
    let told: Vec<String> = told.map(|one| format!("{}={}", text(one, "name"), text(one, "value"))).collect();
    vec![bold(text(host, "hostname")), mode, believes, told.join(" ")]
}

fn words(list: &Value) -> String {
    let words: Vec<_> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.join(" ")
}

fn day(time: &str) -> String {
    time.get(..10).unwrap_or(time).to_owned()
}

/// `X-Device=common_name` as the API has it.
fn told(header: &str) -> Result<Value, Failure> {
    let (name, value) = header.split_once('=').ok_or_else(|| {
        Failure::new(Cause::Usage, format!("{header:?} is not NAME=VALUE, like X-Device=common_name"))
    })?;
    Ok(json!({"name": name, "value": value}))
}

fn words_of(file: &Path) -> anyhow::Result<Value> {
    let content_type = match file.extension().and_then(|ending| ending.to_str()) {
        Some("json") => "application/json",
        Some("html" | "htm") => "text/html",
        _ => return Err(Failure::new(Cause::Usage, "the file of a refusal ends in .json or .html").into()),
    };
    Ok(json!({"content_type": content_type, "body": read(file)?}))
}

async fn id_of(api: &Api, zone: &str) -> anyhow::Result<String> {
    Ok(text(&zone::by_name_or_id(api, zone).await?, "id").to_owned())
}

/// The certificates that a zone's own authority has issued.
fn issued(zone: &str) -> String {
    format!("/zones/{zone}/client_certificates")
}

/// The one with this id, or else those that are for this name and have this status: one at least.
async fn named(api: &Api, base: &str, asked: &str, status: &str) -> anyhow::Result<Vec<Value>> {
    // Of a script whose variable is not set: that is no name, and must not be that of all which have none.
    if asked.is_empty() {
        return Err(Failure::new(Cause::Usage, "which certificate is not said")
            .remedy("its id or its common name: `bartizan client-cert list ZONE` has them")
            .into());
    }
    let is_id = asked.len() == 32 && asked.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id && let Some(one) = api.find(&format!("{base}/{asked}")).await? {
        return Ok(vec![one]);
    }
    let found = api.list(&with_query(base, &[("common_name", asked), ("status", status)])).await?;
    if found.is_empty() {
        let message = format!("no {status} certificate has the id or the common name {}: not found", one_line(asked));
        return Err(Failure::new(Cause::NotFound, message)
            .remedy("`bartizan client-cert list ZONE` has all of them")
            .into());
    }
    Ok(found)
}

fn told_of(certificates: &[Value], how: &str) -> String {
    let line = |one: &Value| format!("{} ({}) is {how}", text(one, "id"), one_line(text(one, "common_name")));
    certificates.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn roots(zone: &str) -> String {
    format!("/zones/{zone}/access/certificates")
}

fn hosts(zone: &str) -> String {
    format!("/bartizan/zones/{zone}/client_hosts")
}

/// Authorities put lists in DER (RFC 2585 §3).
fn read_list(file: &Path) -> anyhow::Result<String> {
    Ok(bartizan_certs::crl_as_pem(&read_bytes(file)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_how_it_is() {
        let host = json!({
            "hostname": "iot.a.test", "mode": "enforce", "managed": true, "authorities": ["1", "2"],
            "headers": [{"name": "X-Device", "value": "common_name"}],
        });
        assert_eq!(
            about_host(&host),
            [&bold("iot.a.test"), &good("enforce"), "its own 2 more", "X-Device=common_name"]
        );
        let host = json!({"hostname": "b.test", "mode": "report", "managed": false, "authorities": [], "headers": []});
        assert_eq!(about_host(&host), [&bold("b.test"), &faint("report"), &bad("nobody"), ""]);
        let issued = json!({
            "id": "1", "common_name": "sensor 7", "status": "revoked", "serial_number": "4007",
            "expires_on": "2027-01-30T06:00:01.000000Z",
        });
        assert_eq!(row(&issued), ["sensor 7", &bad("revoked"), "2027-01-30", "4007", "1"]);
        assert!(told("X-Device").is_err());
    }
}
