//! What a call needs: one permission a route, from which the guard and the note in the document come.

/// A permission, under the public name of its group and in the old spelling of `zone.permissions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    AccountFirewallRead,
    AccountFirewallWrite,
    AccountSettingsRead,
    DnsRead,
    DnsWrite,
    FirewallRead,
    FirewallWrite,
    MembershipsRead,
    TunnelRead,
    TunnelWrite,
    UserDetailsRead,
    ZoneRead,
    ZoneWrite,
    ZoneSettingsRead,
    ZoneSettingsWrite,
}

impl Permission {
    pub const ALL: [Permission; 15] = [
        Permission::AccountFirewallRead,
        Permission::AccountFirewallWrite,
        Permission::AccountSettingsRead,
        Permission::DnsRead,
        Permission::DnsWrite,
        Permission::FirewallRead,
        Permission::FirewallWrite,
        Permission::MembershipsRead,
        Permission::TunnelRead,
        Permission::TunnelWrite,
        Permission::UserDetailsRead,
        Permission::ZoneRead,
        Permission::ZoneWrite,
        Permission::ZoneSettingsRead,
        Permission::ZoneSettingsWrite,
    ];

    /// The permission group's name.
    pub const fn group(self) -> &'static str {
        match self {
            Permission::AccountFirewallRead => "Account Firewall Access Rules Read",
            Permission::AccountFirewallWrite => "Account Firewall Access Rules Write",
            Permission::AccountSettingsRead => "Account Settings Read",
            Permission::DnsRead => "DNS Read",
            Permission::DnsWrite => "DNS Write",
            Permission::FirewallRead => "Firewall Services Read",
            Permission::FirewallWrite => "Firewall Services Write",
            Permission::MembershipsRead => "Memberships Read",
            Permission::TunnelRead => "Cloudflare Tunnel Read",
            Permission::TunnelWrite => "Cloudflare Tunnel Write",
            Permission::UserDetailsRead => "User Details Read",
            Permission::ZoneRead => "Zone Read",
            Permission::ZoneWrite => "Zone Write",
            Permission::ZoneSettingsRead => "Zone Settings Read",
            Permission::ZoneSettingsWrite => "Zone Settings Write",
        }
    }

    /// The old spelling, for the permissions that a zone object lists.
    pub const fn of_zone(self) -> Option<&'static str> {
        match self {
            Permission::DnsRead => Some("#dns_records:read"),
            Permission::DnsWrite => Some("#dns_records:edit"),
            Permission::FirewallRead => Some("#waf:read"),
            Permission::FirewallWrite => Some("#waf:edit"),
            Permission::ZoneRead => Some("#zone:read"),
            Permission::ZoneWrite => Some("#zone:edit"),
            Permission::ZoneSettingsRead => Some("#zone_settings:read"),
            Permission::ZoneSettingsWrite => Some("#zone_settings:edit"),
            _ => None,
        }
    }
}
