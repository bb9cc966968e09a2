//! How DNSSEC of a zone is, in a word and in words for people.

use bartizan_model::Zone;
use bartizan_publish::{HeldKey, ZoneDnssec, seal_context};
use bartizan_seal as seal;
use bartizan_signer::rollover::{self, Delegation, Stage};
use bartizan_v4::dnssec::{DnssecState, DnssecStatus};

/// Whether all keys of a zone open.
pub(crate) fn all_open(zone: &Zone, dnssec: &ZoneDnssec, seal: &seal::Key) -> bool {
    let opens = |key: &HeldKey| seal.open(&seal_context(zone.id, &key.id), key.sealed()).is_ok();
    dnssec.keys.iter().all(opens)
}

/// How DNSSEC of a zone is.
pub fn status(zone: &Zone, dnssec: Option<&ZoneDnssec>, seal: &seal::Key) -> DnssecStatus {
    let Some(dnssec) = dnssec else { return DnssecStatus::Disabled };
    let apex = &zone.name;
    match dnssec.state {
        _ if dnssec.is_broken(apex) || !all_open(zone, dnssec, seal) => DnssecStatus::Error,
        DnssecState::Off => DnssecStatus::Disabled,
        DnssecState::Ending => DnssecStatus::PendingDisabled,
        DnssecState::On if dnssec.is_secure(apex) => DnssecStatus::Active,
        DnssecState::On => DnssecStatus::Pending,
    }
}

/// What is waited for, or to be done by a person.
pub fn next(zone: &Zone, dnssec: Option<&ZoneDnssec>, seal: &seal::Key) -> &'static str {
    const LEADS_NOWHERE: &str = "the parent zone has a DS record that leads to no key of this zone, so nobody who validates \
                                 finds it: have the registrar put the one in ds in its place, or remove it";
    let Some(dnssec) = dnssec else { return "the zone is not signed" };
    let apex = &zone.name;
    let parent = dnssec.delegation(apex);
    let lives = dnssec.lives();
    let stage = |stage| lives.iter().any(|life| life.stage == stage);
    match (dnssec.state, parent) {
        (DnssecState::Off, _) => {
            "the zone is not signed and the parent zone has a DS record, so nobody who validates finds it: have the \
             registrar remove that, or switch DNSSEC on again and have it replaced"
        }
        _ if dnssec.is_broken(apex) => LEADS_NOWHERE,
        _ if !all_open(zone, dnssec, seal) => {
            "a private key does not open, so nothing can be signed by it; `bartizan status` says what mends that"
        }
        (DnssecState::Ending, Delegation::Unknown) => {
            "it is not known yet what the parent zone has; the zone stays signed until its DS record is gone"
        }
        (DnssecState::Ending, Delegation::Signed { .. }) => {
            "have the registrar remove the DS record; the zone stays signed until it is gone, so that everybody finds it"
        }
        (DnssecState::Ending, Delegation::Unsigned { .. }) => {
            "the DS record is gone; the zone stays signed until nobody has it in memory any more"
        }
        (DnssecState::On, parent) if !rollover::is_delegated(&lives, &parent) => {
            if dnssec.is_secure(apex) {
                "a new key has come: have the registrar put the DS record in ds in the place of the old one"
            } else if !dnssec.parent.any.is_empty() {
                "the DS record is at the parent zone as far as is known, and it is waited until all of its servers are known to \
                 have it"
            } else {
                "give the DS record in ds to the registrar, who puts it into the parent zone; where that is on this edge, \
                 `bartizan dnssec ds ZONE --put` does"
            }
        }
        (DnssecState::On, _) if stage(Stage::Incoming) => "a new key is being made known, and takes over by itself",
        (DnssecState::On, _) if stage(Stage::Outgoing) => "an old key stays until nobody needs it any more",
        (DnssecState::On, _) => "nothing is to be done",
    }
}
