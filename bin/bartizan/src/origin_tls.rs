//! `bartizan origin-ca` and `bartizan origin-cert`: thin clients of what a zone has of its own for TLS with its origins.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::Api;
use crate::consent::Consent;
use crate::output::{Output, bad, bold, faint, good, one_line, table};
use crate::text_file::read;
use crate::zone::{self, text};

/// Authorities that a zone trusts for the certificates of its origins.
#[derive(Subcommand)]
pub enum OriginCaAction {
    /// Those that a zone trusts, beside those of this machine
    List {
        /// The zone, by name or id
        zone: String,
    },
    /// Trust one more, from the next connection on
    Add {
        /// The zone, by name or id
        zone: String,
        /// PEM: certificates of authorities, one or several; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Trust one no more: no connection that it vouched for is used again
    Remove {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Certificates that origins are shown.
#[derive(Subcommand)]
pub enum OriginCertAction {
    /// Those of a zone, and whether they are shown
    List {
        /// The zone, by name or id
        zone: String,
    },
    /// Bring one: from the next connection on it is shown in the place of the last one
    Add {
        /// The zone, by name or id
        zone: String,
        /// PEM: the certificate and its chain, in whatever order
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// PEM: its private key, not encrypted; `-` is standard input
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Show it to the origins of this host alone, repeatable [default: of all hosts that have none of their own]
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Delete one: the one before it is shown again, if there is one
    Remove {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        consent: Consent,
    },
    /// Show the zone's certificate to its origins
    On {
        /// The zone, by name or id
        zone: String,
    },
    /// Show it no more; hosts that have one of their own go on
    Off {
        /// The zone, by name or id
        zone: String,
    },
    /// Let a host have none of its own any more, so that its origin is shown the zone's
    Release {
        /// The zone, by name or id
        zone: String,
        /// The host
        host: String,
    },
}

#[derive(Args)]
pub struct One {
    /// The zone, by name or id
    pub zone: String,
    /// Which one, by its id
    pub id: String,
}

pub async fn run_ca(action: OriginCaAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        OriginCaAction::List { zone } => {
            let all = api.list(&authorities(&id_of(api, &zone).await?)).await?;
            output.result(&Value::Array(all.clone()), || {
                let rows: Vec<_> = all.iter().map(authority).collect();
                table(&["issuer", "state", "until", "id"], &rows)
            })
        }
        OriginCaAction::Add { zone, file } => {
            let zone = id_of(api, &zone).await?;
            let added = api.post(&authorities(&zone), &json!({ "certificate": read(&file)? })).await?;
            output.result(&added, || format!("{}: trusted for origins under ssl strict", authority(&added).join("  ")))
        }
        OriginCaAction::Remove { one: One { zone, id }, consent } => {
            let zone = id_of(api, &zone).await?;
            consent.ask(&format!("trust the authority {id} no more?"), &id, output)?;
            let gone = api.delete(&format!("{}/{id}", authorities(&zone))).await?;
            output.result(&gone, || format!("{id} is trusted no more"))
        }
    }
}

pub async fn run_cert(action: OriginCertAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        OriginCertAction::List { zone } => {
            let zone = id_of(api, &zone).await?;
            let mut of_zone = api.list(&certificates(&zone)).await?;
            let mut of_hosts = api.list(&of_hosts(&zone)).await?;
            let switch = api.get(&format!("{}/settings", certificates(&zone))).await?;
            // The one that was brought last is the one that is shown.
            of_zone.sort_by(|one, other| text(other, "uploaded_on").cmp(text(one, "uploaded_on")));
            for certificate in &mut of_zone {
                certificate["for"] = "zone".into();
            }
            for certificate in &mut of_hosts {
                certificate["for"] = "hosts".into();
            }
            let all = [&of_zone[..], &of_hosts[..]].concat();
            let told = json!({ "enabled": switch["enabled"], "certificates": all });
            output.result(&told, || {
                let is_on = switch["enabled"] == true;
                let mut rows: Vec<_> = of_zone
                    .iter()
                    .enumerate()
                    .map(|(number, certificate)| {
                        row(certificate, if is_on && number == 0 { good("shown") } else { faint("kept") })
                    })
                    .collect();
                rows.extend(of_hosts.iter().map(|certificate| row(certificate, bold("of hosts"))));
                table(&["issuer", "serial", "until", "state", "id"], &rows)
            })
        }
        OriginCertAction::Add { zone, cert, key, hosts } => {
            let zone = id_of(api, &zone).await?;
            let body = json!({"certificate": read(&cert)?, "private_key": read(&key)?});
            if hosts.is_empty() {
                let added = api.post(&certificates(&zone), &body).await?;
                let switch = api.get(&format!("{}/settings", certificates(&zone))).await?;
                let more =
                    if switch["enabled"] == true { "" } else { "\nit is shown when `bartizan origin-cert on` says so" };
                return output.result(&added, || format!("{}{more}", row(&added, bold("brought")).join("  ")));
            }
            let added = api.post(&of_hosts(&zone), &body).await?;
            // What is only tried is nowhere.
            if !api.only_tries() {
                let id = text(&added, "id");
                let config: Vec<Value> =
                    hosts.iter().map(|host| json!({"hostname": host, "cert_id": id, "enabled": true})).collect();
                let put = api.put(&format!("{}/hostnames", certificates(&zone)), &json!({ "config": config })).await;
                if let Err(error) = put {
                    // It is for these hosts or for nobody.
                    let _ = api.delete(&format!("{}/{id}", of_hosts(&zone))).await;
                    return Err(error);
                }
            }
            output.result(&added, || row(&added, format!("for {}", hosts.join(" "))).join("  "))
        }
        OriginCertAction::Remove { one: One { zone, id }, consent } => {
            let zone = id_of(api, &zone).await?;
            let own = format!("{}/{id}", certificates(&zone));
            let path = match api.find(&own).await? {
                Some(_) => own,
                None => format!("{}/{id}", of_hosts(&zone)),
            };
            consent.ask(&format!("delete the certificate {id}?"), &id, output)?;
            let gone = api.delete(&path).await?;
            output.result(&gone, || format!("{id} is deleted"))
        }
        OriginCertAction::On { zone } => switch(&zone, true, api, output).await,
        OriginCertAction::Off { zone } => switch(&zone, false, api, output).await,
        OriginCertAction::Release { zone, host } => {
            let zone = id_of(api, &zone).await?;
            let body = json!({"config": [{"hostname": host, "enabled": null}]});
            let put = api.put(&format!("{}/hostnames", certificates(&zone)), &body).await?;
            output.result(&put, || format!("{host} has none of its own"))
        }
    }
}

async fn switch(zone: &str, enabled: bool, api: &Api, output: Output) -> anyhow::Result<()> {
    let zone = id_of(api, zone).await?;
    let put = api.put(&format!("{}/settings", certificates(&zone)), &json!({ "enabled": enabled })).await?;
    output.result(&put, || match enabled {
        true => "origins over TLS are shown the zone's certificate".to_owned(),
        false => "origins are not shown the zone's certificate".to_owned(),
    })
}

fn authority(root: &Value) -> Vec<String> {
    let state = match text(root, "status") {
        "active" => good("active"),
        status => bad(status),
    };
    vec![one_line(text(root, "issuer")), state, day(text(root, "expires_on")), text(root, "id").to_owned()]
}

fn row(certificate: &Value, state: String) -> Vec<String> {
    let serial = text(certificate, "serial_number").to_owned();
    let (until, id) = (day(text(certificate, "expires_on")), text(certificate, "id").to_owned());
    vec![one_line(text(certificate, "issuer")), serial, until, state, id]
}

fn day(time: &str) -> String {
    time.get(..10).unwrap_or(time).to_owned()
}

async fn id_of(api: &Api, zone: &str) -> anyhow::Result<String> {
    Ok(text(&zone::by_name_or_id(api, zone).await?, "id").to_owned())
}

fn authorities(zone: &str) -> String {
    format!("/zones/{zone}/acm/custom_trust_store")
}

fn certificates(zone: &str) -> String {
    format!("/zones/{zone}/origin_tls_client_auth")
}

fn of_hosts(zone: &str) -> String {
    format!("/zones/{zone}/origin_tls_client_auth/hostnames/certificates")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_how_it_is() {
        let root = json!({"id": "1", "issuer": "Some\nCA", "status": "expired", "expires_on": "2027-01-30T06:00:01Z"});
        assert_eq!(authority(&root), ["Some\\nCA", &bad("expired"), "2027-01-30", "1"]);
        let own = json!({"id": "2", "issuer": "CA", "serial_number": "0a", "expires_on": "2027-01-30T06:00:01Z"});
        assert_eq!(row(&own, good("shown")), ["CA", "0a", "2027-01-30", &good("shown"), "2"]);
    }
}
