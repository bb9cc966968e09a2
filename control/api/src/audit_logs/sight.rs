//! Who sees an entry: whoever may read the object itself, by the permission that its own route needs.

use bartizan_names::{AccountId, ZoneId};
use bartizan_store::{AuditEntry, Key, Kind, Scope};

use super::kinds;
use crate::caller::Caller;
use crate::permission::{Over, Permission};
use crate::rights::Target;

/// The permissions by which what is in a zone is read.
const IN_ZONES: [Permission; 5] = [
    Permission::ZoneRead,
    Permission::ZoneSettingsRead,
    Permission::DnsRead,
    Permission::FirewallRead,
    Permission::SslRead,
];

/// What a caller sees.
pub(super) struct Sight<'c> {
    caller: &'c Caller,
    /// The edge's own account: what its people do is in the log of that one.
    edge: AccountId,
}

impl<'c> Sight<'c> {
    pub(super) fn new(caller: &'c Caller, edge: AccountId) -> Sight<'c> {
        Sight { caller, edge }
    }

    pub(super) fn caller(&self) -> &'c Caller {
        self.caller
    }

    /// Whether they look at what is the edge's.
    pub(super) fn is_at_the_edge(&self) -> bool {
        self.caller.account == self.edge
    }

    /// Whether they look after the people of the edge, and look at what is the edge's.
    pub(super) fn has_people(&self) -> bool {
        self.is_at_the_edge() && self.caller.may(Permission::EdgeUsersRead, &Target::Account(self.edge))
    }

    /// Whether they change them.
    pub(super) fn changes_people(&self) -> bool {
        self.has_people() && self.caller.may(Permission::EdgeUsersWrite, &Target::Account(self.edge))
    }

    /// Whether there is nothing in the account that they see, but that it is there.
    pub(super) fn is_blind(&self) -> bool {
        let (caller, account) = (self.caller, self.caller.account);
        let of_account = [Permission::TunnelRead, Permission::AccountFirewallRead, Permission::AccountApiTokensRead];
        let own = [Permission::UserDetailsRead, Permission::ApiTokensRead, Permission::MembershipsRead];
        !of_account.iter().any(|permission| caller.may(*permission, &Target::Account(account)))
            && !own.iter().any(|permission| caller.may(*permission, &Target::User(caller.user)))
            && !self.has_people()
            && self.zones().is_some_and(|zones| zones.is_empty())
    }

    /// The account that the caller acts in.
    pub(super) fn account(&self) -> AccountId {
        self.caller.account
    }

    /// An entry says whose the object was, also when it is gone.
    pub(super) fn covers(&self, entry: &AuditEntry) -> bool {
        self.covers_in(&entry.key, entry.account)
    }

    /// Of what is in no zone the key says whose it is.
    pub(super) fn covers_key(&self, key: &Key) -> bool {
        self.covers_in(key, None)
    }

    /// `account` is that of the zone that the object is in.
    pub(super) fn covers_in(&self, key: &Key, account: Option<AccountId>) -> bool {
        if let (Kind::Membership, Some(account)) = (key.kind(), account) {
            // As its members are listed.
            let sees_members = || self.caller.may(Permission::AccountSettingsRead, &Target::Account(account));
            return self.has_people() || (account == self.caller.account && sees_members());
        }
        let Some(permission) = kinds::read_permission(key.kind(), key.scope()) else { return false };
        match key.scope() {
            // As `/bartizan/users` shows them, with their tokens.
            Scope::User(user) if user != self.caller.user => {
                let is_theirs = permission.over() == Over::User;
                self.has_people() && (is_theirs || self.caller.may(permission, &Target::Account(self.edge)))
            }
            _ => self.may(permission, key, account, false),
        }
    }

    /// Whether the caller holds a permission over an object; a new one needs it over all zones.
    pub(super) fn may(&self, permission: Permission, key: &Key, account: Option<AccountId>, is_new: bool) -> bool {
        let (caller, scope) = (self.caller, key.scope());
        let may = |target| caller.may(permission, &target);
        match scope {
            Scope::Edge => self.is_at_the_edge() && may(Target::Account(self.edge)),
            Scope::User(user) if permission.over() == Over::User => user == caller.user && may(Target::User(user)),
            Scope::User(user) => user == caller.user && may(Target::Account(caller.account)),
            Scope::Account(account) => account == caller.account && may(Target::Account(account)),
            Scope::Zone(_) if is_new => account == Some(caller.account) && may(Target::ZonesOf(caller.account)),
            Scope::Zone(zone) => account == Some(caller.account) && may(Target::Zone(zone, account)),
        }
    }

    /// The zones of which the caller sees something, if they are named one by one.
    pub(super) fn zones(&self) -> Option<Vec<ZoneId>> {
        let mut zones = Vec::new();
        for permission in IN_ZONES {
            zones.extend(self.caller.rights.zones_named(permission, self.caller.account)?);
        }
        zones.sort_unstable();
        zones.dedup();
        Some(zones)
    }
}
