//! The roles that members of an account can have. Each is a set of permissions, held over the account and all of its zones.

use bartizan_v4::account::{Grant, Grants, Role};

use crate::permission::{Over, Permission};

/// A role.
#[derive(Debug)]
pub(crate) struct RoleRow {
    /// What its id is made of: never another.
    key: &'static str,
    pub(crate) name: &'static str,
    description: &'static str,
    has: fn(Permission) -> bool,
}

/// Those who decide who belongs to an account.
pub(crate) const ADMINISTRATOR: &RoleRow = &ROLES[0];

const ROLES: [RoleRow; 6] = [
    RoleRow {
        key: "super-administrator",
        name: "Super Administrator - All Privileges",
        description: "May do everything in the account, and decides who belongs to it",
        has: |_| true,
    },
    RoleRow {
        key: "administrator",
        name: "Administrator",
        description: "May do everything in the account but decide who belongs to it and make its tokens",
        has: |permission| !decides(permission),
    },
    RoleRow {
        key: "administrator-read-only",
        name: "Administrator Read Only",
        description: "Sees everything in the account",
        has: |permission| permission.group().ends_with(" Read") && permission != Permission::EdgeUsersRead,
    },
    RoleRow {
        key: "dns",
        name: "DNS",
        description: "May change DNS records",
        has: |permission| {
            use Permission::{AccountSettingsRead, DnsRead, DnsWrite, ZoneRead};
            [AccountSettingsRead, DnsRead, DnsWrite, ZoneRead].contains(&permission)
        },
    },
    RoleRow {
        key: "firewall",
        name: "Firewall",
        description: "May change access rules",
        has: |permission| {
            use Permission::{AccountFirewallRead, AccountFirewallWrite, AccountSettingsRead};
            use Permission::{FirewallRead, FirewallWrite, ZoneRead};
            let all = [AccountFirewallRead, AccountFirewallWrite, FirewallRead, FirewallWrite];
            all.contains(&permission) || [AccountSettingsRead, ZoneRead].contains(&permission)
        },
    },
    RoleRow {
        key: "minimal-access",
        name: "Minimal Account Access",
        description: "Sees the account, and nothing that is in it",
        has: |permission| permission == Permission::AccountSettingsRead,
    },
];

/// Whether a permission is about who may do what.
fn decides(permission: Permission) -> bool {
    use Permission::{AccountApiTokensWrite, AccountSettingsWrite, EdgeAccountsWrite, EdgeUsersRead, EdgeUsersWrite};
    [AccountApiTokensWrite, AccountSettingsWrite, EdgeAccountsWrite, EdgeUsersRead, EdgeUsersWrite]
        .contains(&permission)
}

impl RoleRow {
    pub(crate) fn all() -> &'static [RoleRow] {
        &ROLES
    }

    pub(crate) fn by_id(id: &str) -> Option<&'static RoleRow> {
        ROLES.iter().find(|role| role.id() == id)
    }

    /// By its id, or its name in any case.
    pub(crate) fn named(text: &str) -> Option<&'static RoleRow> {
        RoleRow::by_id(text).or_else(|| ROLES.iter().find(|role| role.name.eq_ignore_ascii_case(text.trim())))
    }

    /// Always the same.
    pub(crate) fn id(&self) -> String {
        id_of(&format!("role/{}", self.key))
    }

    pub(crate) fn permissions(&self) -> impl Iterator<Item = Permission> {
        let all = Permission::ALL.iter().copied();
        all.filter(|permission| permission.over() != Over::User && (self.has)(*permission))
    }

    pub(crate) fn sent(&self) -> Role {
        Role {
            id: self.id(),
            name: self.name.to_owned(),
            description: self.description.to_owned(),
            permissions: grants(&[self]),
        }
    }
}

/// An id that follows from a text.
pub(crate) fn id_of(text: &str) -> String {
    hex::encode(&bartizan_seal::sha256(text.as_bytes())[..16])
}

/// What these roles give together, in the old words.
pub(crate) fn grants(roles: &[&RoleRow]) -> Grants {
    let held: Vec<Permission> = roles.iter().flat_map(|role| role.permissions()).collect();
    let has = |old: String| held.iter().any(|permission| permission.of_zone() == Some(old.as_str()));
    let may = |what: &str| Grant { read: has(format!("#{what}:read")), write: has(format!("#{what}:edit")) };
    Grants {
        dns_records: may("dns_records"),
        organization: Grant {
            read: held.contains(&Permission::AccountSettingsRead),
            write: held.contains(&Permission::AccountSettingsWrite),
        },
        waf: may("waf"),
        zone_settings: may("zone_settings"),
        zones: may("zone"),
        ..Grants::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_roles_may() {
        use Permission::{AccountSettingsWrite, DnsRead, DnsWrite, EdgeUsersWrite, TunnelWrite, ZoneWrite};
        for (name, yes, no) in [
            ("super administrator - all privileges", &[AccountSettingsWrite, EdgeUsersWrite][..], &[][..]),
            ("Administrator", &[DnsWrite, TunnelWrite, ZoneWrite], &[AccountSettingsWrite, EdgeUsersWrite]),
            ("Administrator Read Only", &[DnsRead], &[DnsWrite, Permission::EdgeUsersRead]),
            ("DNS", &[DnsWrite], &[ZoneWrite, TunnelWrite]),
            ("Firewall", &[Permission::FirewallWrite], &[DnsWrite, DnsRead]),
            ("Minimal Account Access", &[Permission::AccountSettingsRead], &[Permission::ZoneRead]),
        ] {
            let role = RoleRow::named(name).unwrap();
            assert_eq!(RoleRow::by_id(&role.id()).map(|role| role.key), Some(role.key));
            let held: Vec<Permission> = role.permissions().collect();
            assert!(yes.iter().all(|permission| held.contains(permission)), "{name}");
            assert!(!no.iter().any(|permission| held.contains(permission)), "{name}");
            assert!(held.iter().all(|permission| permission.over() != Over::User), "{name}");
        }
        assert!(RoleRow::named("").is_none());
        // What is stored rests on it.
        assert_eq!(ADMINISTRATOR.id(), id_of("role/super-administrator"));
    }
}
