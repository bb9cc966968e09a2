//! What is said of an object that cannot be read: what is served meanwhile, and what a person can do.
//!
//! Each remedy is for one kind of fault, so that none of them is in vain: what the disk spoilt comes back from the change log,
//! what makes no sense does not.

use bartizan_store::{Blame, Kind};

/// What is in force in place of an object that cannot be put in force.
pub(crate) const fn meanwhile(kind: Kind) -> &'static str {
    match kind {
        Kind::Zone => {
            "the zone stays as it was in force, or, after a start, its names are answered SERVFAIL, and 503 over HTTP"
        }
        Kind::Settings => "they stay as they were in force, or, after a start, the strictest values hold",
        Kind::Record | Kind::Name => {
            "the records of its name stay as they were in force, or, after a start, are served without it"
        }
        Kind::Dnssec => {
            "the keys stay as they were in force, or, after a start, whoever asks for signatures gets SERVFAIL"
        }
        Kind::AccessRule => {
            "it stays as it was in force, or, after a start, keeps out whom it names, or all of its scope if nobody knows whom"
        }
        Kind::Certificate | Kind::AcmeCertificate | Kind::CustomCertificate => {
            "it stays as it was in force, or, after a start, the next best for its names is shown"
        }
        _ => "it stays as it was in force, or, after a start, it is not there",
    }
}

/// What can be done about what is not in force.
pub(crate) const fn for_unit(kind: Option<Kind>, blame: Blame) -> &'static str {
    match (blame, kind) {
        (Blame::Disk, Some(Kind::Zone)) => {
            "`bartizan doctor --rebuild`, while the edge is stopped, takes it from the change log if it is there; else restore \
             a backup to a new directory, or delete the zone by its id (DELETE /zones/{id}) and make it anew"
        }
        (Blame::Disk, _) => {
            "`bartizan doctor --rebuild`, while the edge is stopped, takes it from the change log if it is there; else write it \
             anew or delete it by the API, or restore a backup to a new directory"
        }
        (Blame::Damage, Some(Kind::Zone)) => {
            "restore a backup to a new directory, or delete the zone by its id (DELETE /zones/{id}), which works also for one that is lost, and \
             make it anew"
        }
        (Blame::Damage, _) => {
            "write it anew, or restore a backup to a new directory; `bartizan doctor --rebuild`, while the edge is stopped, ends this, and what \
             it may have kept out comes in"
        }
        (Blame::Version, _) => "run the version that wrote it, or change or delete the object by the API",
        (Blame::Document, Some(Kind::Zone)) => {
            "delete the zone by its id (DELETE /zones/{id}) and make it anew, or restore a backup to a new directory"
        }
        (Blame::Document, _) => "change or delete the object by the API",
        (Blame::Seal, _) => {
            "restore a backup to a new directory (`bartizan restore FILE --data DIR`), copy its seal.key here and start the \
             edge again; or write the object anew or delete it by the API"
        }
    }
}

/// What can be done about what the API cannot read.
pub(crate) const fn for_document(kind: Option<Kind>, blame: Blame) -> &'static str {
    // No call deletes these.
    let stays = matches!(kind, Some(Kind::Account | Kind::User | Kind::Name | Kind::Unique));
    match (blame, stays) {
        (Blame::Disk | Blame::Damage, true) => {
            "`bartizan doctor --rebuild`, while the edge is stopped, takes it from the change log if it is there; else restore \
             a backup to a new directory; until then nobody can use it"
        }
        (Blame::Disk | Blame::Damage, false) => {
            "`bartizan doctor --rebuild`, while the edge is stopped, takes it from the change log if it is there; else delete \
             the object by the API and make it anew, or restore a backup to a new directory"
        }
        (Blame::Version | Blame::Document | Blame::Seal, true) => {
            "run the version that wrote it, or restore a backup to a new directory; until then nobody can use it"
        }
        (Blame::Version | Blame::Document | Blame::Seal, false) => {
            "run the version that wrote it, or delete the object by the API and make it anew"
        }
    }
}
