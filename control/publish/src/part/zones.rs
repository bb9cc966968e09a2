//! What DNS answers: zones, names, and the addresses that names have without records.

use std::collections::BTreeMap;

use bartizan_authority::{NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_live::Generation;
use bartizan_model::Zone;
use bartizan_names::{Name, RecordType, ZoneId, ZoneName};
use bartizan_store::Rev;

use crate::part::apps::AppsPart;
use crate::part::balancers::BalancersPart;
use crate::part::secret_seed;
use crate::unit::{KnownZones, NameUnit, ServedZone, ZoneChange, ZoneChanges};

/// What a zone's serial is counted from: the form of the hosted zones of old (`2020742566`, requirement DNS-5), to
/// which the revision of the zone's last change is added. Wraps as serials do (RFC 1982 §3.1).
const SERIAL_BASE: u32 = 2_020_000_000;

/// The mailbox of the person responsible for a zone (RNAME, RFC 1035 §3.3.13): `dns.` and the domain of the first name
/// server.
const RNAME_LABEL: &[u8] = b"dns";

/// What gives names a meaning that no record gives.
#[derive(Clone, Copy)]
pub(super) struct Others<'p> {
    pub(super) known: &'p KnownZones,
    pub(super) apps: &'p AppsPart,
    pub(super) balancers: &'p BalancersPart,
}

pub(super) struct ZonesPart {
    pub(super) zones: Generation<Zones>,
}

impl ZonesPart {
    pub(super) fn empty() -> ZonesPart {
        ZonesPart { zones: Generation { number: 0, value: Zones::with_seed(secret_seed()) } }
    }

    /// Puts zones and names in force; `others` are what they are after the step, and `had` are addresses that
    /// names had by applications before it.
    pub(super) fn apply(
        &mut self,
        changes: &ZoneChanges,
        names: &[NameUnit],
        had: &BTreeMap<(ZoneId, Name), Vec<RecordSet>>,
        others: Others<'_>,
        at: u64,
    ) {
        let Others { known, apps, .. } = others;
        let ZoneChanges { by_id, serials, hold, release, .. } = changes;
        if by_id.is_empty() && serials.is_empty() && names.is_empty() && hold.is_empty() && release.is_empty() {
            return;
        }
        let mut edit = self.zones.value.edit();
        release.values().for_each(|apex| edit.remove_zone(apex));
        for before in by_id.values().filter(|change| change.goes()).filter_map(|change| change.before.as_ref()) {
            edit.remove_zone(&before.zone.name);
        }
        // A zone that cannot be read may have the name of one that goes.
        hold.values().for_each(|apex| edit.hold_zone(apex));
        for (id, serial) in serials {
            if let Some(served) = known.get(*id) {
                edit.put_zone(facts(served, *serial));
            }
        }
        for unit in names {
            let Some(served) = known.get(unit.zone) else { continue };
            let content = match &unit.records {
                Some(records) => records.content.clone(),
                None if by_id.get(&unit.zone).is_some_and(ZoneChange::is_new) => NameContent::default(),
                None => {
                    let had = had.get(&(unit.zone, unit.owner.clone())).cloned();
                    let had = had.or_else(|| apps.addresses_of(unit.zone, &unit.owner)).unwrap_or_default();
                    self.of_records(&served.zone.name, &unit.owner, &had)
                }
            };
            let content = with_addresses((unit.zone, &unit.owner), content, others);
            edit.put_name(&served.zone.name, &unit.owner, content);
        }
        self.zones = Generation { number: at, value: edit.finish() };
    }

    /// What the records of a name answer, without `had`, the addresses that it has without records.
    pub(super) fn of_records(&self, apex: &ZoneName, owner: &Name, had: &[RecordSet]) -> NameContent {
        let mut content = self.zones.value.content(apex, owner);
        for set in had {
            // Behind the records' own.
            if let Some(at) = content.sets.iter().rposition(|it| it == set) {
                content.sets.remove(at);
            }
        }
        if matches!(content.proxied, Proxied::Always | Proxied::Steered) {
            content.proxied = Proxied::Never;
        }
        content
    }
}

/// Adds the addresses that a name has without records.
pub(super) fn with_addresses(
    (zone, owner): (ZoneId, &Name),
    mut content: NameContent,
    Others { known, apps, balancers }: Others<'_>,
) -> NameContent {
    if let Some(proxied) = balancers.proxied(zone, owner) {
        content.proxied = proxied;
    } else if let Some(sets) = apps.addresses_of(zone, owner) {
        content.sets.extend(sets);
    } else if known.is_server(owner) && !says_where(&content) {
        content.proxied = Proxied::Always;
    }
    content
}

/// Whether the records say where their owner is to be found.
fn says_where(content: &NameContent) -> bool {
    content.sets.iter().any(|set| matches!(set.rtype, RecordType::A | RecordType::AAAA | RecordType::CNAME))
}

/// The mailbox of the person responsible for a zone, as a name.
pub fn soa_rname(zone: &Zone) -> Name {
    let operator = zone.nameservers.first().and_then(Name::parent).unwrap_or_else(|| zone.name.as_name().clone());
    operator.child(RNAME_LABEL).unwrap_or(operator)
}

/// The serial of a zone whose last change is this revision.
pub fn soa_serial(changed: Rev) -> u32 {
    SERIAL_BASE.wrapping_add(changed.0 as u32) // serial arithmetic wraps (RFC 1982)
}

fn facts(served: &ServedZone, changed: Rev) -> ZoneFacts {
    let ServedZone { zone, policy, keys, .. } = served;
    ZoneFacts {
        id: Some(zone.id),
        apex: zone.name.clone(),
        serial: soa_serial(changed),
        soa_rname: soa_rname(zone),
        nameservers: zone.nameservers.clone(),
        paused: zone.paused,
        speaks: policy.settings.speaks(),
        phishing: zone.phishing,
        dnssec: keys.clone(),
    }
}
