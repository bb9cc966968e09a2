//! Whether one start lets in more than another.

use std::collections::BTreeMap;

use bartizan_firewall::Source;
use bartizan_names::{Protocol, RecordType, ZoneId};
use bartizan_publish::Bundle;
use bartizan_routes::Target;
use bartizan_wire::dns::Rcode;

use crate::answers::{Questions, ask};

/// A type that nobody has records of (RFC 6895 §3.1), so that the answer is who says so.
const NOBODYS: RecordType = RecordType(65_280);

/// Checks that `spoilt`, the start with a fault, is nowhere more open than `sound`, the start without; `zones` are all
/// that there are, by their apexes.
pub(crate) fn check(spoilt: &Bundle, sound: &Bundle, questions: &Questions, zones: &BTreeMap<&str, ZoneId>) {
    for name in &questions.names {
        let mine = zones.iter().filter(|(apex, _)| is_at_or_below(name, apex)).max_by_key(|(apex, _)| apex.len());
        if let Some((apex, zone)) = mine {
            check_dns(spoilt, name, apex);
            check_host(spoilt, sound, name, apex, *zone);
        }
    }
    for address in &questions.sources {
        let source = Source { address: *address, country: None, asn: None };
        for zone in &questions.zones {
            let refused = |bundle: &Bundle| bundle.firewall.value.decide(*zone, &source).refused_by();
            assert!(refused(spoilt).is_some() || refused(sound).is_none(), "{address} comes into {zone}");
        }
    }
    for dialled in &questions.dialled {
        let apps = |bundle: &Bundle| -> Vec<_> {
            let found = bundle.apps.value.at(&bundle.pop.value.pools, Protocol::Tcp, *dialled);
            found.map(|app| format!("{app:?}")).collect()
        };
        let without = apps(sound);
        assert!(apps(spoilt).iter().all(|app| without.contains(app)), "{dialled} leads elsewhere");
    }
    for tunnel in &questions.tunnels {
        let secret = |bundle: &Bundle| bundle.tunnels.value.get(tunnel).map(|tunnel| tunnel.secret_sha256);
        assert!(secret(spoilt).is_none() || secret(spoilt) == secret(sound), "{tunnel} has another secret");
    }
}

/// The zone itself answers for its names, or nobody.
fn check_dns(spoilt: &Bundle, name: &str, apex: &str) {
    let message = ask(spoilt, name, NOBODYS);
    let answers = message.authority.iter().find(|record| record.rtype == RecordType::SOA);
    match answers {
        // A chain may end in another zone.
        Some(soa) if message.answers.is_empty() => assert_eq!(soa.owner.to_string(), apex, "{name} is answered"),
        _ if !message.authoritative && message.rcode == Rcode::NOERROR => {
            let cut = message.authority.first().expect("it leads to somebody").owner.to_string();
            assert!(is_at_or_below(&cut, apex), "{name} is led to {cut}");
        }
        _ => assert!(message.rcode == Rcode::SERVFAIL || !message.answers.is_empty(), "{name}: {message:?}"),
    }
}

/// A host of a zone that is held leads nowhere, and all others by settings that are no weaker.
fn check_host(spoilt: &Bundle, sound: &Bundle, name: &str, apex: &str, zone: ZoneId) {
    let Some(found) = spoilt.routes.value.find(&spoilt.zones.value, name) else { return };
    if ask(spoilt, apex, NOBODYS).rcode == Rcode::SERVFAIL {
        assert_eq!((found.site.zone, &found.route.target), (zone, &Target::Unknown), "{name} leads elsewhere");
    }
    if let Some(without) =
        sound.routes.value.find(&sound.zones.value, name).filter(|without| without.site.zone == found.site.zone)
    {
        let (has, had) = (&found.site.policy.settings, &without.site.policy.settings);
        let is_held = found.route.target == Target::Unknown;
        assert!(is_held || has.always_use_https || !had.always_use_https, "{name} is served without TLS");
    }
}

fn is_at_or_below(name: &str, apex: &str) -> bool {
    name.strip_suffix(apex).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
