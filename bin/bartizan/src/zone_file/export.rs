//! `bartizan zone export`: a zone as a file.

use serde_json::Value;

use crate::cli::{ZoneExport, ZoneFormat};
use crate::client::Api;
use crate::output::{Output, say};
use crate::target::Target;
use crate::url::segment;
use crate::zone::{self, shown, text};

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
