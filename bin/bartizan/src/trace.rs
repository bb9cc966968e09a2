//! `bartizan trace`: a thin client of `/bartizan/zones/Z/http_trace`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bold, one_line};
use crate::text_file::read;
use crate::url::with_query;
use crate::zone::{self, text};

#[derive(Args)]
pub struct HttpQuestion {
    /// Of a host behind the edge, with its scheme, as a browser has it
    pub url: String,
    /// Ask for the head alone, as HEAD does
    #[arg(long)]
    pub head: bool,
    /// By this version of HTTP: 1.1, 2 or 3
    #[arg(long, value_name = "VERSION", value_parser = ["1.1", "2", "3"], default_value = "1.1")]
    pub http: String,
    /// PEM: the certificate that is shown, where the host asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// PEM: its key, which is used for this request and not kept; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// As from this address, in place of your own; for who may change access rules
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
}

pub async fn run(question: HttpQuestion, api: &Api, output: Output) -> anyhow::Result<()> {
    let HttpQuestion { url, head, http, cert, key, from } = question;
    let host = host_of(&url).ok_or_else(|| {
        Failure::new(Cause::Usage, format!("{:?} is no URL of a host", one_line(&url)))
            .remedy("write it whole: https://www.example.com/path")
    })?;
    if cert.is_some() && !url.starts_with("https://") {
        return Err(Failure::new(Cause::Usage, "a certificate is shown over https:// alone").into());
    }
    let zone = zone::of_name(api, host).await?;
    let from = from.map(|from| from.to_string());
    let path = format!("/bartizan/zones/{}/http_trace", text(&zone, "id"));
    let traced = match (cert, key) {
        (Some(cert), Some(key)) => {
            let body = json!({
                "url": url, "method": head.then_some("HEAD"), "version": http, "from": from,
                "certificate": read(&cert)?, "private_key": read(&key)?,
            });
            api.post(&path, &body).await?
        }
        _ => {
            let mut parameters = vec![("url", url.as_str()), ("version", http.as_str())];
            parameters.extend(head.then_some(("method", "HEAD")));
            parameters.extend(from.as_deref().map(|from| ("from", from)));
            api.get(&with_query(&path, &parameters)).await?
        }
    };
    output.result(&traced, || told(&traced))?;
    match traced["status"].as_u64() {
        Some(_) => Ok(()),
        None => Err(Failure::new(Cause::Failed, "there was no answer; the last step says why").into()),
    }
}

/// The name in a URL. The edge judges the rest.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let name = authority.split(':').next()?;
    (!name.is_empty() && !authority.contains('@')).then_some(name)
}

fn told(traced: &Value) -> String {
    let mut lines = vec![format!("{} {}", text(traced, "method"), bold(&one_line(text(traced, "url"))))];
    let each = |member: &str| traced[member].as_array().into_iter().flatten();
    for step in each("steps") {
        lines.push(format!("  {:<11} {}", text(step, "step"), one_line(text(step, "detail"))));
    }
    lines.push(match traced["status"].as_u64() {
        Some(status) => bold(&status.to_string()),
        None => bold("no answer"),
    });
    for field in each("fields") {
        lines.push(format!("  {}: {}", one_line(text(field, "name")), one_line(text(field, "value"))));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn hosts_of_urls() {
        for (url, expect) in [
            ("https://www.example.com", Some("www.example.com")),
            ("http://www.example.com:8080/x?y", Some("www.example.com")),
            ("https://www.example.com?x", Some("www.example.com")),
            ("https://me:secret@www.example.com/", None),
            ("https:///x", None),
            ("www.example.com", None),
            ("ftp://www.example.com/", None),
        ] {
            assert_eq!(super::host_of(url), expect, "{url}");
        }
    }
}
