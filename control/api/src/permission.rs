//! What a call needs: one permission a route. The guard, the note in the document and the permission groups of tokens
//! come from this one table.

/// What a permission is held over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    User,
    Account,
    Zone,
}

impl Over {
    /// The dialect's word.
    pub const fn scope(self) -> &'static str {
        match self {
            Over::User => "com.cloudflare.api.user",
            Over::Account => "com.cloudflare.api.account",
            Over::Zone => "com.cloudflare.api.account.zone",
        }
    }
}

/// Makes the closed list of permissions from one table: what each is over, the public name of its group, the one that who
/// holds it holds as well, and the old spelling by which a zone object lists it.
macro_rules! permissions {
    ($($name:ident = $over:ident $group:literal $(with $lesser:ident)? $($of_zone:literal)?;)*) => {
        /// A permission: that of one permission group of the dialect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Permission {
            $($name,)*
        }

        impl Permission {
            pub const ALL: &[Permission] = &[$(Permission::$name),*];

            pub const fn over(self) -> Over {
                match self {
                    $(Permission::$name => Over::$over,)*
                }
            }

            /// The permission group's name.
            pub const fn group(self) -> &'static str {
                match self {
                    $(Permission::$name => $group,)*
                }
            }

            /// The old spelling, for the permissions that a zone object lists.
            pub const fn of_zone(self) -> Option<&'static str> {
                match self {
                    $(Permission::$name => permissions!(@option $($of_zone)?),)*
                }
            }

            /// Who may write something may read it.
            const fn lesser(self) -> Option<Permission> {
                match self {
                    $(Permission::$name => permissions!(@option $(Permission::$lesser)?),)*
                }
            }
        }
    };
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
}

permissions! {
    AccountApiTokensRead = Account "Account API Tokens Read";
    AccountApiTokensWrite = Account "Account API Tokens Write" with AccountApiTokensRead;
    AccountFirewallRead = Account "Account Firewall Access Rules Read";
    AccountFirewallWrite = Account "Account Firewall Access Rules Write" with AccountFirewallRead;
    AccountSettingsRead = Account "Account Settings Read";
    AccountSettingsWrite = Account "Account Settings Write" with AccountSettingsRead;
    AnalyticsRead = Zone "Analytics Read" "#analytics:read";
    ApiTokensRead = User "API Tokens Read";
    ApiTokensWrite = User "API Tokens Write" with ApiTokensRead;
    BalancingRead = Account "Load Balancing: Monitors and Pools Read";
    BalancingWrite = Account "Load Balancing: Monitors and Pools Write" with BalancingRead;
    DnsRead = Zone "DNS Read" "#dns_records:read";
    DnsWrite = Zone "DNS Write" with DnsRead "#dns_records:edit";
    EdgeAccountsWrite = Account "Edge Accounts Write";
    EdgeUsersRead = Account "Edge Users Read";
    EdgeUsersWrite = Account "Edge Users Write" with EdgeUsersRead;
    EdgeZonesWrite = Account "Edge Zones Write";
    FirewallRead = Zone "Firewall Services Read" "#waf:read";
    FirewallWrite = Zone "Firewall Services Write" with FirewallRead "#waf:edit";
    LoadBalancersRead = Zone "Load Balancers Read" "#lb:read";
    LoadBalancersWrite = Zone "Load Balancers Write" with LoadBalancersRead "#lb:edit";
    LogsRead = Zone "Logs Read" "#logs:read";
    MtlsRead = Account "Access: Mutual TLS Certificates Read";
    MtlsWrite = Account "Access: Mutual TLS Certificates Write" with MtlsRead;
    MembershipsRead = User "Memberships Read";
    MembershipsWrite = User "Memberships Write" with MembershipsRead;
    SslRead = Zone "SSL and Certificates Read" "#ssl:read";
    SslWrite = Zone "SSL and Certificates Write" with SslRead "#ssl:edit";
    TunnelRead = Account "Cloudflare Tunnel Read";
    TunnelWrite = Account "Cloudflare Tunnel Write" with TunnelRead;
    UserDetailsRead = User "User Details Read";
    UserDetailsWrite = User "User Details Write" with UserDetailsRead;
    ZoneRead = Zone "Zone Read" "#zone:read";
    ZoneWrite = Zone "Zone Write" with ZoneRead "#zone:edit";
    ZoneSettingsRead = Zone "Zone Settings Read" "#zone_settings:read";
    ZoneSettingsWrite = Zone "Zone Settings Write" with ZoneSettingsRead "#zone_settings:edit";
}

impl Permission {
    /// Whether who holds this one holds `other` as well: who may write something may read it, and who may do anything in
    /// a zone sees the zone. Clients look for the zone before they write a record of it.
    pub fn implies(self, other: Permission) -> bool {
        self == other || (other == Permission::ZoneRead && self.over() == Over::Zone) || self.lesser() == Some(other)
    }

    /// All that a zone object and an account of a user list, in the old spelling.
    pub(crate) fn all_of_zone() -> Vec<String> {
        Permission::ALL.iter().filter_map(|permission| permission.of_zone()).map(str::to_owned).collect()
    }

    /// The id of the group: always the same, and no other edge's.
    pub fn id(self) -> String {
        hex::encode(&bartizan_seal::sha256(format!("permission-group/{}", self.group()).as_bytes())[..16])
    }

    pub(crate) fn by_id(id: &str) -> Option<Permission> {
        Permission::ALL.iter().copied().find(|permission| permission.id() == id)
    }

    /// By the group's name in any case. "Edit" is another spelling of "Write".
    pub(crate) fn by_name(name: &str) -> Option<Permission> {
        let name = match name.len().checked_sub(" edit".len()).and_then(|at| name.split_at_checked(at)) {
            Some((what, edit)) if edit.eq_ignore_ascii_case(" edit") => format!("{what} Write"),
            _ => name.to_owned(),
        };
        Permission::ALL.iter().copied().find(|permission| permission.group().eq_ignore_ascii_case(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_implies_what() {
        for (one, other, expect) in [
            (Permission::DnsWrite, Permission::DnsWrite, true),
            (Permission::DnsWrite, Permission::DnsRead, true),
            (Permission::DnsWrite, Permission::ZoneRead, true),
            (Permission::DnsRead, Permission::DnsWrite, false),
            (Permission::DnsRead, Permission::ZoneRead, true),
            (Permission::ZoneRead, Permission::DnsRead, false),
            (Permission::ZoneWrite, Permission::DnsRead, false),
            (Permission::ZoneSettingsWrite, Permission::ZoneSettingsRead, true),
            (Permission::AccountApiTokensWrite, Permission::ApiTokensRead, false),
            (Permission::AccountFirewallWrite, Permission::FirewallRead, false),
            (Permission::TunnelWrite, Permission::ZoneRead, false),
        ] {
            assert_eq!(one.implies(other), expect, "{one:?} {other:?}");
        }
        // The names say the same, to people.
        for one in Permission::ALL {
            let read = one.group().strip_suffix(" Write").map(|what| format!("{what} Read"));
            // Who sees an account or a zone sees it by another.
            let is_alone = matches!(one, Permission::EdgeAccountsWrite | Permission::EdgeZonesWrite);
            let read = read.filter(|_| !is_alone);
            assert_eq!(one.lesser().map(Permission::group), read.as_deref(), "{one:?}");
            assert!(one.lesser().is_none_or(|lesser| lesser.over() == one.over()), "{one:?}");
        }
    }

    #[test]
    fn groups_are_found_by_id_and_by_name() {
        for permission in Permission::ALL {
            assert_eq!(Permission::by_id(&permission.id()), Some(*permission));
            assert_eq!(Permission::by_name(&permission.group().to_uppercase()), Some(*permission));
        }
        assert_eq!(Permission::by_name("DNS Edit"), Some(Permission::DnsWrite));
        assert_eq!(Permission::by_name("Edit"), None);
        assert_eq!(Permission::by_name(""), None);
        // What is stored and what clients carry rests on it.
        assert_eq!(Permission::DnsWrite.id().len(), 32);
    }
}
