//! `bartizan zone export`: a zone as a file.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::client::Api;
use crate::output::{Output, say};
use crate::target::Target;
use crate::url::segment;
use crate::zone::{self, shown, text};

#[derive(Args)]
pub struct ZoneExport {
    /// By name or id
    pub zone: String,
    /// Into this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// What it is written as
    #[arg(long, value_enum, default_value_t = ZoneFormat::Bind)]
    pub format: ZoneFormat,
}

/// `export`: the form first, as with `import`.
#[derive(Subcommand)]
pub enum ExportTarget {
    /// A master file, as BIND and its kin read it; the same as `zone export`
    Bind(ExportWords),
    /// The YAML that octoDNS's YamlProvider reads: `export octodns example.com --to config/example.com.yaml`
    Octodns(ExportWords),
}

#[derive(Args)]
pub struct ExportWords {
    /// The zone, by name or id
    pub zone: String,
    /// Into this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

impl From<ExportTarget> for ZoneExport {
    fn from(target: ExportTarget) -> ZoneExport {
        let (ExportWords { zone, to }, format) = match target {
            ExportTarget::Bind(words) => (words, ZoneFormat::Bind),
            ExportTarget::Octodns(words) => (words, ZoneFormat::Octodns),
        };
        ZoneExport { zone, to, format }
    }
}

/// How a zone is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ZoneFormat {
    /// A master file, as `zone import` reads it
    Bind,
    /// The YAML that octoDNS keeps zones in
    Octodns,
}

pub async fn export(words: ZoneExport, api: &Api, output: Output) -> anyhow::Result<()> {
    let zone = zone::by_name_or_id(api, &words.zone).await?;
    let mut target = Target::open(words.to.as_deref())?;
    let written = match words.format {
        ZoneFormat::Bind => bind(&zone, api, &mut target).await,
        ZoneFormat::Octodns => octodns(&zone, api, &mut target).await,
    };
    target.close(written)?;
    if let (Some(file), false) = (&words.to, output.quiet) {
        say(&format!("{} is in {}", shown(&zone, "name"), file.display()));
    }
    Ok(())
}

async fn bind(zone: &Value, api: &Api, target: &mut Target) -> anyhow::Result<()> {
    target.take(api.download(&format!("/zones/{}/dns_records/export", segment(text(zone, "id")))).await?).await
}

async fn octodns(zone: &Value, api: &Api, target: &mut Target) -> anyhow::Result<()> {
    let (file, left_out) = crate::octodns::file(api, zone).await?;
    left_out.iter().for_each(|record| say(&format!("left out, because octoDNS has no such type: {record}")));
    target.write(file.as_bytes())
}
