//! What holds this repository together and what no compiler checks: the arrows between layers, where third-party
//! weight lives, licences, doubled crates, and habits of the source that can be read off the text.
//!
//! Each rule is a function from facts to findings; the tables are in the code beside it, so that a change of the
//! architecture is a change of one table and is reviewed as such. Each finding says how to mend it.

mod layers;
mod licences;
mod manifests;
mod sources;
mod states;
mod supply;
mod weight;
mod workspace;

use anyhow::{Result, bail};

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, or the crate.
    place: String,
    what: String,
    mend: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { place: place.into(), what: what.into(), mend: mend.into() }
    }
}

pub(crate) fn run() -> Result<()> {
    let workspace = workspace::read()?;
    let mut findings = layers::check(&workspace);
    findings.extend(weight::check(&workspace));
    findings.extend(manifests::check(&workspace)?);
    findings.extend(supply::check(&supply::read()?));
    findings.extend(sources::check(&workspace)?);
    findings.extend(states::check(&workspace)?);
    findings.sort();
    for finding in &findings {
        eprintln!("{}: {}\n  mend: {}", finding.place, finding.what, finding.mend);
    }
    match findings.len() {
        0 => {
            eprintln!("tidy: {} crates, nothing to mend", workspace.crates.len());
            Ok(())
        }
        1 => bail!("tidy: 1 finding"),
        many => bail!("tidy: {many} findings"),
    }
}
