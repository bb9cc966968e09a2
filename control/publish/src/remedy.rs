//! What is said of an object that cannot be read: what is served meanwhile, and what a person can do.
//!
//! Each remedy is for one kind of fault, so that none of them is in vain: what the disk spoilt comes back from the change log,
//! what makes no sense does not.

use bartizan_store::{Blame, Kind, Store};

/// Whether anything can be changed: if not, nothing is mended by the API, nor by what else writes to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    Taken,
    Refused,
}

impl Changes {
    pub fn of(store: &Store) -> Changes {
        if store.is_read_only().is_some() { Changes::Refused } else { Changes::Taken }
    }
}

/// Keys and the CA that belong to each other. One of them alone opens nothing.
pub const KEYS_BACK: &str = "restore a backup to a new directory (`bartizan restore FILE --data DIR`), copy seal.key, \
                             ca.key.sealed and ca.pem from there, and start the edge again";

/// Where nothing can be changed.
const CHANGES_FIRST: &str = "see first that changes are taken again (the problem of the data directory says how), and what mends \
                             this is told then; or restore a backup to a new directory (`bartizan restore FILE --data DIR`) and \
                             start the edge with that one";

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
        Kind::LoadBalancer => {
            "it stays as it was in force, or, after a start, its name is answered SERVFAIL if it has records, and nothing is carried there"
        }
        Kind::Monitor => {
            "it stays as it was in force, or, after a start, nobody looks at the servers of its pools, which are shown as not healthy"
        }
        _ => "it stays as it was in force, or, after a start, it is not there",
    }
}

/// What can be done about what is not in force.
pub(crate) const fn for_unit(kind: Option<Kind>, blame: Blame, changes: Changes) -> &'static str {
    match (blame, kind) {
        (Blame::Seal, _) if matches!(changes, Changes::Refused) => KEYS_BACK,
        _ if matches!(changes, Changes::Refused) => CHANGES_FIRST,
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
        // The key opens other things: another in its place would not.
        (Blame::Seal, _) => {
            "write the object anew or delete it by the API; or restore a backup to a new directory (`bartizan restore FILE --data DIR`) \
             and start the edge with that one"
        }
    }
}

/// What can be done about what the API cannot read.
pub(crate) const fn for_document(kind: Option<Kind>, blame: Blame, changes: Changes) -> &'static str {
    match (blame, changes) {
        (Blame::Seal, Changes::Refused) => return KEYS_BACK,
        (_, Changes::Refused) => return CHANGES_FIRST,
        (_, Changes::Taken) => {}
    }
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
        (Blame::Version | Blame::Document, true) => {
            "run the version that wrote it, or restore a backup to a new directory; until then nobody can use it"
        }
        (Blame::Version | Blame::Document, false) => {
            "run the version that wrote it, or delete the object by the API and make it anew"
        }
        (Blame::Seal, true) => {
            "restore a backup to a new directory and start the edge with that one; until then nobody can use it"
        }
        (Blame::Seal, false) => {
            "delete the object by the API and make it anew, or restore a backup to a new directory and start the edge with that one"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nothing can be changed, nobody is told to change something; and no key is put in place of one that opens the CA.
    #[test]
    fn what_is_told_can_be_done_then() {
        let blames = [Blame::Disk, Blame::Damage, Blame::Version, Blame::Document, Blame::Seal];
        let kinds = Kind::ALL.iter().map(|kind| Some(*kind)).chain([None]);
        for (kind, blame) in kinds.flat_map(|kind| blames.map(|blame| (kind, blame))) {
            let told = |changes| [for_unit(kind, blame, changes), for_document(kind, blame, changes)];
            for remedy in told(Changes::Refused) {
                for write in ["by the API", "write it anew", "DELETE", "make it anew", "--rebuild", "change or delete"]
                {
                    assert!(!remedy.contains(write), "{kind:?} {blame:?}: {remedy}");
                }
                assert!(remedy.contains("`bartizan restore FILE --data DIR`"), "{kind:?} {blame:?}: {remedy}");
            }
            for remedy in told(Changes::Taken) {
                assert!(!remedy.contains("seal.key"), "{kind:?} {blame:?}: {remedy}");
            }
        }
    }
}
