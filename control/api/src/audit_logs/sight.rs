//! Who sees an entry: whoever may read the object itself, by the permission that its own route needs.

use bartizan_names::{AccountId, ZoneId};
use bartizan_store::{Key, Kind, Scope};

use crate::caller::Caller;
use crate::error::Error;
use crate::permission::{Over, Permission};
use crate::rights::Target;
use crate::transaction::View;

/// What it takes to read an object of a kind where it is. None for what nobody changes by itself: it follows from the
/// rest.
fn permission(kind: Kind, scope: Scope) -> Option<Permission> {
    match (kind, scope) {
        (Kind::Account, _) => Some(Permission::AccountSettingsRead),
        (Kind::User | Kind::Session, _) => Some(Permission::UserDetailsRead),
        (Kind::Token, Scope::User(_)) => Some(Permission::ApiTokensRead),
        (Kind::Token, Scope::Account(_)) => Some(Permission::AccountApiTokensRead),
        (Kind::Token, Scope::Edge | Scope::Zone(_)) => None,
        (Kind::Zone, _) => Some(Permission::ZoneRead),
        (Kind::Settings | Kind::App, _) => Some(Permission::ZoneSettingsRead),
        (Kind::Record, _) => Some(Permission::DnsRead),
        (Kind::Tunnel | Kind::TunnelConfig, _) => Some(Permission::TunnelRead),
        (Kind::AccessRule, Scope::Zone(_)) => Some(Permission::FirewallRead),
        (Kind::AccessRule, _) => Some(Permission::AccountFirewallRead),
        (Kind::Meta | Kind::Pop | Kind::Name | Kind::Certificate | Kind::Unique | Kind::Deletion, _) => None,
    }
}

/// Whether entries are about objects of this kind at all.
pub(super) fn is_told(key: &Key) -> bool {
    permission(key.kind(), key.scope()).is_some()
}

/// What a caller sees. The account of the last zone is remembered: changes of one zone follow each other.
pub(super) struct Sight<'v> {
    view: &'v View,
    caller: &'v Caller,
    last: Option<(ZoneId, Option<AccountId>)>,
}

impl<'v> Sight<'v> {
    pub(super) fn new(view: &'v View, caller: &'v Caller) -> Sight<'v> {
        Sight { view, caller, last: None }
    }

    pub(super) fn covers(&mut self, key: &Key) -> Result<bool, Error> {
        let (caller, scope) = (self.caller, key.scope());
        let Some(permission) = permission(key.kind(), scope) else { return Ok(false) };
        let may = |target| caller.may(permission, &target);
        Ok(match scope {
            Scope::Edge => false,
            Scope::User(user) if permission.over() == Over::User => user == caller.user && may(Target::User(user)),
            Scope::User(user) => user == caller.user && may(Target::Account(caller.account)),
            Scope::Account(account) => account == caller.account && may(Target::Account(account)),
            Scope::Zone(zone) => match self.account_of(zone)? {
                Some(account) => account == caller.account && may(Target::Zone(zone, Some(account))),
                // It is gone, and so is whose it was. What is held over all zones of the account covers it, unless it is
                // denied by name.
                None => may(Target::ZonesOf(caller.account)) && may(Target::Zone(zone, Some(caller.account))),
            },
        })
    }

    fn account_of(&mut self, zone: ZoneId) -> Result<Option<AccountId>, Error> {
        match self.last {
            Some((last, account)) if last == zone => Ok(account),
            _ => {
                let account = self.view.account_of_zone(zone)?;
                self.last = Some((zone, account));
                Ok(account)
            }
        }
    }
}
