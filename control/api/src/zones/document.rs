//! The document of a new zone: what of the dialect's zone object is not ours to choose has one value.

use bartizan_names::{AccountId, Name, Timestamp, ZoneId, ZoneName};
use bartizan_v4::AccountRef;
use bartizan_v4::zone::{Meta, Owner, Plan, Zone};

use crate::permission::Permission;

/// How often the one plan is paid for, which costs nothing.
pub(super) const FREQUENCY: &str = "monthly";

/// The document of a new zone.
pub(crate) fn document(id: ZoneId, name: &ZoneName, nameservers: &[Name], account: AccountRef, now: Timestamp) -> Zone {
    Zone {
        id,
        name: name.to_string(),
        status: "active".to_owned(),
        paused: false,
        kind: "full".to_owned(),
        development_mode: 0,
        name_servers: nameservers.iter().map(ToString::to_string).collect(),
        original_name_servers: None,
        original_registrar: None,
        original_dnshost: None,
        modified_on: now,
        created_on: now,
        activated_on: now,
        vanity_name_servers: Vec::new(),
        meta: Meta {
            step: 0,
            custom_certificate_quota: 0,
            page_rule_quota: 0,
            phishing_detected: false,
            phishing_strict: false,
            multiple_railguns_allowed: false,
            cdn_only: false,
            dns_only: false,
            foundation_dns: false,
        },
        owner: owner(account.id, &account.name),
        account,
        permissions: Permission::all_of_zone(),
        plan: Plan {
            id: "94f3b7b768b0458b56d2cac4fe5ec0f9".to_owned(),
            name: "Enterprise Website".to_owned(),
            price: 0,
            currency: "USD".to_owned(),
            frequency: FREQUENCY.to_owned(),
            is_subscribed: true,
            can_subscribe: false,
            legacy_id: "enterprise".to_owned(),
            legacy_discount: false,
            externally_managed: false,
        },
    }
}

fn owner(account: AccountId, name: &str) -> Owner {
    Owner { id: account.to_string(), name: name.to_owned(), kind: "organization".to_owned() }
}
