//! What a caller may do: the policies of a token as a value, and the one function that decides by them ([`Rights::may`]).
//!
//! A policy allows or denies permissions on resources. What one policy denies no other allows. A permission is held over a
//! user, an account or a zone ([`Permission::over`]), and a policy gives it only on resources of that kind: one that names
//! an account says nothing of the zones in it, unless it names them inside.
//!
//! Whatever policies say, nobody has more than those accounts give in which they are ([`Rights::within`]): "every account"
//! is every one of theirs.

use std::sync::Arc;

use bartizan_names::{AccountId, UserId, ZoneId};
use bartizan_store::VisibleZones;
use bartizan_v4::account::MembershipStatus;
use bartizan_v4::{ResourceGrant, Resources, StoredMembership, StoredPolicy};

use crate::error::Error;
use crate::permission::{Over, Permission};
use crate::roles::RoleRow;

/// Stands for all permissions in a stored policy, those to come included.
pub(crate) const ALL_PERMISSIONS: &str = "*";

const ALL: &str = "*";

/// What a policy is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    User(UserId),
    Account(AccountId),
    /// Every account of the user.
    Accounts,
    Zone(ZoneId),
    /// Every zone of an account, those to come included.
    ZonesOf(AccountId),
    /// Every zone of every account of the user.
    Zones,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    User(UserId),
    Account(AccountId),
    Accounts,
    /// Its account is none where there is no such zone, or it does not tell.
    Zone(ZoneId, Option<AccountId>),
    ZonesOf(AccountId),
    Zones,
}

impl Resource {
    fn covers(self, target: &Target) -> bool {
        match (self, target) {
            (Resource::User(one), Target::User(other)) => one == *other,
            (Resource::Account(one), Target::Account(other)) => one == *other,
            (Resource::Accounts, Target::Account(_) | Target::Accounts) => true,
            (Resource::Zone(one), Target::Zone(other, _)) => one == *other,
            (Resource::ZonesOf(one), Target::Zone(_, Some(other)) | Target::ZonesOf(other)) => one == *other,
            (Resource::Zones, Target::Zone(..) | Target::ZonesOf(_) | Target::Zones) => true,
            _ => false,
        }
    }

    pub(crate) const fn over(self) -> Over {
        match self {
            Resource::User(_) => Over::User,
            Resource::Account(_) | Resource::Accounts => Over::Account,
            Resource::Zone(_) | Resource::ZonesOf(_) | Resource::Zones => Over::Zone,
        }
    }

    const fn as_zone(self) -> Option<ZoneId> {
        if let Resource::Zone(zone) = self { Some(zone) } else { None }
    }

    /// The same in one account, whatever else it names; none if that is nothing of an account.
    fn in_account(self, account: AccountId) -> Option<Resource> {
        match self {
            Resource::User(_) => None,
            Resource::Account(one) | Resource::ZonesOf(one) if one != account => None,
            Resource::Account(_) | Resource::Accounts => Some(Resource::Account(account)),
            Resource::ZonesOf(_) | Resource::Zones => Some(Resource::ZonesOf(account)),
            Resource::Zone(_) => Some(self),
        }
    }

    /// What `resources` name, or the first of them that names nothing.
    pub(crate) fn read_all(resources: &Resources) -> Result<Vec<Resource>, String> {
        let mut all = Vec::new();
        for (name, grant) in resources {
            match grant {
                ResourceGrant::All(what) if what == ALL => all.push(Resource::read(name)?),
                ResourceGrant::All(_) => return Err(name.clone()),
                ResourceGrant::Inside(inside) => all.extend(Resource::read_inside(name, inside.iter())?),
            }
        }
        Ok(all)
    }

    fn read(name: &str) -> Result<Resource, String> {
        let unknown = || name.to_owned();
        let id_of = |over: Over| name.strip_prefix(over.scope()).and_then(|rest| rest.strip_prefix('.'));
        if let Some(zone) = id_of(Over::Zone) {
            return if zone == ALL {
                Ok(Resource::Zones)
            } else {
                zone.parse().map(Resource::Zone).map_err(|_| unknown())
            };
        }
        if let Some(account) = id_of(Over::Account) {
            let one = || account.parse().map(Resource::Account).map_err(|_| unknown());
            return if account == ALL { Ok(Resource::Accounts) } else { one() };
        }
        let user = id_of(Over::User).ok_or_else(unknown)?;
        user.parse().map(Resource::User).map_err(|_| unknown())
    }

    /// The zones that are named inside an account.
    fn read_inside<'n>(
        name: &str,
        inside: impl Iterator<Item = (&'n String, &'n String)>,
    ) -> Result<Vec<Resource>, String> {
        let outer = Resource::read(name)?;
        inside
            .map(|(inner, what)| match (outer, Resource::read(inner)?) {
                _ if what != ALL => Err(inner.clone()),
                (Resource::Account(account), Resource::Zones) => Ok(Resource::ZonesOf(account)),
                (Resource::Accounts, Resource::Zones) => Ok(Resource::Zones),
                (Resource::Account(_) | Resource::Accounts, zone @ Resource::Zone(_)) => Ok(zone),
                _ => Err(inner.clone()),
            })
            .collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Policy {
    permissions: Vec<Permission>,
    resources: Vec<Resource>,
}

impl Policy {
    fn covers(&self, target: &Target) -> bool {
        self.resources.iter().any(|resource| resource.covers(target))
    }
}

/// What a caller may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    allowed: Vec<Policy>,
    denied: Vec<Policy>,
    /// What they cannot be more than.
    within: Option<Arc<Rights>>,
}

/// The zones that somebody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZonesSeen {
    pub(crate) only: VisibleZones,
    pub(crate) except: Vec<ZoneId>,
}

impl Rights {
    /// Everything that a user has, whatever that is.
    pub(crate) fn of_user(user: UserId) -> Rights {
        let resources = vec![Resource::Accounts, Resource::Zones, Resource::User(user)];
        Rights { allowed: vec![Policy { permissions: Permission::ALL.to_vec(), resources }], ..Rights::default() }
    }

    /// Everything in an account.
    pub(crate) fn of_account(account: AccountId) -> Rights {
        let resources = vec![Resource::Account(account), Resource::ZonesOf(account)];
        Rights { allowed: vec![Policy { permissions: Permission::ALL.to_vec(), resources }], ..Rights::default() }
    }

    /// What a user has: what is their own, and what they are given in accounts. A membership of which nobody can read what
    /// it denies gives nothing.
    pub(crate) fn of_memberships(user: UserId, memberships: &[StoredMembership]) -> Rights {
        let own = Policy { permissions: Permission::ALL.to_vec(), resources: vec![Resource::User(user)] };
        let mut rights = Rights { allowed: vec![own], ..Rights::default() };
        for membership in memberships.iter().filter(|one| one.status == MembershipStatus::Accepted) {
            let Some(given) = Rights::of_membership(membership) else { continue };
            rights.allowed.extend(given.allowed);
            rights.denied.extend(given.denied);
        }
        rights
    }

    /// What a membership gives, or will give when it is accepted.
    pub(crate) fn of_membership(membership: &StoredMembership) -> Option<Rights> {
        let account = membership.account;
        let mut rights = Rights::read(&membership.policies)?.in_account(account);
        // A role that another version knows gives nothing here.
        for role in membership.roles.iter().filter_map(|id| RoleRow::by_id(id)) {
            let resources = vec![Resource::Account(account), Resource::ZonesOf(account)];
            rights.allowed.push(Policy { permissions: role.permissions().collect(), resources });
        }
        Some(rights)
    }

    /// As much of them as is about one account.
    pub(crate) fn in_account(mut self, account: AccountId) -> Rights {
        for policy in self.allowed.iter_mut().chain(&mut self.denied) {
            policy.resources = policy.resources.iter().filter_map(|one| one.in_account(account)).collect();
        }
        self
    }

    /// As much of them as `limit` has too.
    pub(crate) fn within(self, limit: Arc<Rights>) -> Rights {
        Rights { within: Some(limit), ..self }
    }

    /// What the policies of a token say; none if one of them cannot be read: then nobody knows what it may deny.
    pub(crate) fn read(policies: &[StoredPolicy]) -> Option<Rights> {
        let mut rights = Rights::default();
        for policy in policies {
            let resources = Resource::read_all(&policy.resources).ok()?;
            let (of, must_be_known) = match policy.effect.as_str() {
                "allow" => (&mut rights.allowed, false),
                "deny" => (&mut rights.denied, true),
                _ => return None,
            };
            let mut permissions = Vec::new();
            for name in &policy.permissions {
                match Permission::by_name(name) {
                    _ if name == ALL_PERMISSIONS => permissions.extend(Permission::ALL),
                    Some(permission) => permissions.push(permission),
                    // Another version knows it, and here there is nothing to be allowed by it.
                    None if !must_be_known => {}
                    None => return None,
                }
            }
            of.push(Policy { permissions, resources });
        }
        Some(rights)
    }

    /// Whether the caller holds `permission` over `target`: the one place where that is decided.
    pub(crate) fn may(&self, permission: Permission, target: &Target) -> bool {
        self.say(permission, target) && self.within.as_ref().is_none_or(|limit| limit.may(permission, target))
    }

    /// Whether the policies say so, whatever limits them.
    fn say(&self, permission: Permission, target: &Target) -> bool {
        let allowed = |policy: &Policy| policy.permissions.iter().any(|held| held.implies(permission));
        self.allowed.iter().any(|policy| allowed(policy) && policy.covers(target))
            && !self.denied.iter().any(|policy| denies(policy, permission) && policy.covers(target))
    }

    /// Whether they are all that a user has.
    pub(crate) fn are_all_of(&self, user: UserId) -> bool {
        let all = Rights::of_user(user);
        let target = |resource| match resource {
            Resource::User(user) => Target::User(user),
            Resource::Account(account) => Target::Account(account),
            Resource::Accounts => Target::Accounts,
            Resource::Zone(zone) => Target::Zone(zone, None),
            Resource::ZonesOf(account) => Target::ZonesOf(account),
            Resource::Zones => Target::Zones,
        };
        self.lack(&all, target).is_none()
    }

    /// Whether they are all that an account has.
    pub(crate) fn are_all_in(&self, account: AccountId) -> bool {
        let target = |resource| match resource {
            Resource::ZonesOf(_) => Target::ZonesOf(account),
            _ => Target::Account(account),
        };
        self.lack(&Rights::of_account(account), target).is_none()
    }

    /// The zones of these accounts over which the caller holds `permission`. `account_of` finds whose a zone is.
    pub(crate) fn zones(
        &self,
        permission: Permission,
        accounts: &[AccountId],
        account_of: impl Fn(ZoneId) -> Result<Option<AccountId>, Error>,
    ) -> Result<ZonesSeen, Error> {
        let levels = || std::iter::successors(Some(self), |rights| rights.within.as_deref());
        let except = levels().flat_map(|rights| &rights.denied).filter(|policy| denies(policy, permission));
        let except = except.flat_map(|policy| &policy.resources).filter_map(|one| one.as_zone()).collect();
        let is_seen = |account: &AccountId| self.may(permission, &Target::ZonesOf(*account));
        let mut only = VisibleZones { of: accounts.iter().copied().filter(is_seen).collect(), zones: Vec::new() };
        let named = levels().flat_map(|rights| &rights.allowed).flat_map(|policy| &policy.resources);
        let mut named: Vec<ZoneId> = named.filter_map(|one| one.as_zone()).collect();
        named.sort_unstable();
        named.dedup();
        for zone in named {
            // Where the whole account is seen, it is anyhow.
            if let Some(account) =
                account_of(zone)?.filter(|account| accounts.contains(account) && !only.of.contains(account))
                && self.may(permission, &Target::Zone(zone, Some(account)))
            {
                only.zones.push(zone);
            }
        }
        Ok(ZonesSeen { only, except })
    }

    /// The zones over which the caller holds `permission`, where it is not all of the account's: perhaps of others as well.
    pub(crate) fn zones_named(&self, permission: Permission, account: AccountId) -> Option<Vec<ZoneId>> {
        if self.may(permission, &Target::ZonesOf(account)) {
            return None;
        }
        let levels = std::iter::successors(Some(self), |rights| rights.within.as_deref());
        let named = levels.flat_map(|rights| &rights.allowed).flat_map(|policy| &policy.resources);
        let mut named: Vec<ZoneId> = named.filter_map(|one| one.as_zone()).collect();
        named.retain(|zone| self.may(permission, &Target::Zone(*zone, Some(account))));
        Some(named)
    }

    /// The zones that are allowed one by one.
    pub(crate) fn named_zones(&self) -> impl Iterator<Item = ZoneId> {
        self.allowed.iter().flat_map(|policy| &policy.resources).filter_map(|one| one.as_zone())
    }

    /// What the caller may do in a zone, in the old spelling.
    pub(crate) fn in_zone(&self, zone: ZoneId, account: AccountId) -> Vec<String> {
        let target = Target::Zone(zone, Some(account));
        let held = Permission::ALL.iter().filter(|permission| self.may(**permission, &target));
        held.filter_map(|permission| permission.of_zone()).map(str::to_owned).collect()
    }

    /// What the caller may do in all zones of an account, in the old spelling.
    pub(crate) fn in_account_spelled(&self, account: AccountId) -> Vec<String> {
        let held = Permission::ALL.iter().filter(|permission| self.may(**permission, &Target::ZonesOf(account)));
        held.filter_map(|permission| permission.of_zone()).map(str::to_owned).collect()
    }

    /// What of `other` these rights do not hold: nobody gives away what they have not. `target_of` finds what a resource
    /// is, for example whose zone it is.
    pub(crate) fn lack(&self, other: &Rights, target_of: impl Fn(Resource) -> Target) -> Option<Permission> {
        let pairs = other.allowed.iter().flat_map(|policy| {
            let permissions = policy.permissions.iter();
            permissions.flat_map(|permission| policy.resources.iter().map(|resource| (*permission, *resource)))
        });
        let mut pairs = pairs.filter(|(permission, resource)| permission.over() == resource.over());
        let lacks = |(permission, resource): &(Permission, Resource)| {
            let target = target_of(*resource);
            // Every account and zone means those of the user, so what limits these limits the others as well. A zone that
            // is nobody's is not there any more.
            let holds = match target {
                Target::Accounts | Target::Zones | Target::Zone(_, None) => self.say(*permission, &target),
                _ => self.may(*permission, &target),
            };
            // One that is denied somewhere is not held everywhere.
            let denies_some = |rights: &Rights| rights.denied.iter().any(|policy| denies(policy, *permission));
            let is_denied_in_part = match target {
                Target::Accounts | Target::Zones => denies_some(self),
                Target::ZonesOf(_) => denies_some(self) || self.within.as_deref().is_some_and(denies_some),
                Target::Zone(..) | Target::Account(_) | Target::User(_) => false,
            };
            !holds || is_denied_in_part
        };
        pairs.find(lacks).map(|(permission, _)| permission)
    }
}

/// Whoever may not read something may not write it either.
fn denies(policy: &Policy, permission: Permission) -> bool {
    policy.permissions.iter().any(|denied| permission.implies(*denied))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId::from_bytes([1; 16]);
    const OTHER: AccountId = AccountId::from_bytes([2; 16]);
    const ZONE: ZoneId = ZoneId::from_bytes([3; 16]);
    const SECOND: ZoneId = ZoneId::from_bytes([4; 16]);
    const USER: UserId = UserId::from_bytes([5; 16]);

    /// Of lines such as `allow DNS Write on zone.*`, where the resource is JSON or the end of a name.
    fn rights(lines: &[(&str, &str, &str)]) -> Option<Rights> {
        let policies: Vec<StoredPolicy> = lines
            .iter()
            .map(|(effect, permissions, resources)| StoredPolicy {
                id: String::new(),
                effect: (*effect).to_owned(),
                permissions: permissions.split(", ").map(str::to_owned).collect(),
                resources: serde_json::from_str(&resources.replace('@', "com.cloudflare.api")).unwrap(),
            })
            .collect();
        Rights::read(&policies)
    }

    fn zone(id: ZoneId) -> String {
        format!(r#"{{"@.account.zone.{id}":"*"}}"#)
    }

    #[test]
    fn who_may_what() {
        use Permission::{AccountSettingsRead, DnsRead, DnsWrite, UserDetailsRead, ZoneRead, ZoneWrite};
        let (here, second) = (Target::Zone(ZONE, Some(ACCOUNT)), Target::Zone(SECOND, Some(ACCOUNT)));
        let (elsewhere, lost) = (Target::Zone(ZONE, Some(OTHER)), Target::Zone(ZONE, None));
        let all = Target::ZonesOf(ACCOUNT);
        let inside = format!(r#"{{"@.account.{ACCOUNT}":{{"@.account.zone.*":"*"}}}}"#);
        let (every, one) = (r#"{"@.account.zone.*":"*"}"#, zone(ZONE));
        let account = format!(r#"{{"@.account.{ACCOUNT}":"*"}}"#);
        let user = format!(r#"{{"@.user.{USER}":"*"}}"#);
        for (policies, yes, no) in [
            (
                vec![("allow", "DNS Write", one.as_str())],
                vec![(DnsWrite, here), (DnsRead, here), (ZoneRead, here), (DnsWrite, lost)],
                vec![
                    (ZoneWrite, here),
                    (DnsWrite, second),
                    (DnsWrite, all),
                    (AccountSettingsRead, Target::Account(ACCOUNT)),
                ],
            ),
            (
                vec![("allow", "DNS Read, Zone Write", &inside)],
                vec![(DnsRead, here), (DnsRead, second), (ZoneWrite, all)],
                vec![(DnsWrite, here), (DnsRead, elsewhere), (DnsRead, lost), (ZoneWrite, Target::Zones)],
            ),
            (vec![("allow", "DNS Read", every)], vec![(DnsRead, elsewhere), (DnsRead, lost), (DnsRead, all)], vec![]),
            // An account is not its zones.
            (
                vec![("allow", "*", &account)],
                vec![(AccountSettingsRead, Target::Account(ACCOUNT))],
                vec![
                    (DnsRead, here),
                    (AccountSettingsRead, Target::Account(OTHER)),
                    (UserDetailsRead, Target::User(USER)),
                ],
            ),
            (vec![("allow", "User Details Read", &user)], vec![(UserDetailsRead, Target::User(USER))], vec![]),
            // What is denied is denied, whatever allows it; who may not read may not write.
            (
                vec![("allow", "*", every), ("deny", "DNS Read", &one)],
                vec![(DnsWrite, second), (ZoneWrite, here), (DnsWrite, all)],
                vec![(DnsRead, here), (DnsWrite, here)],
            ),
            (
                vec![("allow", "DNS Write", every), ("deny", "DNS Write", every)],
                vec![],
                vec![(DnsWrite, here), (DnsWrite, all)],
            ),
            (vec![("deny", "DNS Write", every)], vec![], vec![(DnsRead, here)]),
            // A permission of another version allows nothing.
            (vec![("allow", "Time Travel Write", every)], vec![], vec![(DnsRead, here), (ZoneRead, here)]),
        ] {
            let rights = rights(&policies).unwrap();
            for (permission, target) in yes {
                assert!(rights.may(permission, &target), "{policies:?}: {permission:?} {target:?}");
            }
            for (permission, target) in no {
                assert!(!rights.may(permission, &target), "{policies:?}: {permission:?} {target:?}");
            }
        }
        for unreadable in [
            ("deny", "Time Travel Write", every),
            ("perhaps", "DNS Write", every),
            ("allow", "DNS Write", r#"{"@.account.zone.x":"*"}"#),
            ("allow", "DNS Write", r#"{"@.account.zone.*":"some"}"#),
            ("allow", "DNS Write", r#"{"@.galaxy.*":"*"}"#),
            ("allow", "DNS Write", r#"{"@.account.zone.*":{"@.account.zone.*":"*"}}"#),
        ] {
            assert_eq!(rights(&[unreadable]), None, "{unreadable:?}");
        }
    }

    #[test]
    fn lists_show_what_may_be_seen() {
        let (every, one, second) = (r#"{"@.account.zone.*":"*"}"#, zone(ZONE), zone(SECOND));
        for (policies, only, except) in [
            (vec![("allow", "DNS Write", one.as_str())], Some(vec![ZONE]), vec![]),
            (vec![("allow", "DNS Write", every)], None, vec![]),
            (vec![("allow", "DNS Write", every), ("deny", "Zone Read", &one)], None, vec![ZONE]),
            (
                vec![("allow", "DNS Read", &one), ("allow", "Zone Read", &second), ("deny", "Zone Read", &one)],
                Some(vec![SECOND]),
                vec![ZONE],
            ),
            (vec![("allow", "DNS Write", every), ("deny", "Zone Read", every)], Some(vec![]), vec![]),
            (vec![("allow", "Account Settings Read", r#"{"@.account.*":"*"}"#)], Some(vec![]), vec![]),
        ] {
            let seen =
                rights(&policies).unwrap().zones(Permission::ZoneRead, &[ACCOUNT], |_| Ok(Some(ACCOUNT))).unwrap();
            let only = match only {
                Some(zones) => VisibleZones { of: Vec::new(), zones },
                None => VisibleZones { of: vec![ACCOUNT], zones: Vec::new() },
            };
            assert_eq!(seen, ZonesSeen { only, except }, "{policies:?}");
        }
    }

    /// A token of somebody who is in one account, with a role, and was given one zone of another.
    #[test]
    fn nobody_has_more_than_their_accounts_give() {
        use Permission::{AccountSettingsRead, DnsRead, DnsWrite, TunnelWrite, UserDetailsRead, ZoneRead, ZoneWrite};
        let membership = |account, roles: &[&str], policies| StoredMembership {
            id: String::new(),
            account,
            user: USER,
            status: MembershipStatus::Accepted,
            roles: roles.iter().map(|name| RoleRow::named(name).unwrap().id()).collect(),
            policies,
            created_on: bartizan_names::Timestamp::from_unix_micros(1),
            modified_on: bartizan_names::Timestamp::from_unix_micros(1),
        };
        let stored = |effect: &str, permission: &str, resources: &str| StoredPolicy {
            id: String::new(),
            effect: effect.to_owned(),
            permissions: vec![permission.to_owned()],
            resources: serde_json::from_str(&resources.replace('@', "com.cloudflare.api")).unwrap(),
        };
        let every = r#"{"@.account.zone.*":"*"}"#;
        let policies = vec![stored("allow", "DNS Write", every), stored("deny", "DNS Write", &zone(SECOND))];
        let pending = StoredMembership {
            status: MembershipStatus::Pending,
            ..membership(AccountId::from_bytes([9; 16]), &["Administrator"], Vec::new())
        };
        let all = [membership(ACCOUNT, &["DNS"], Vec::new()), membership(OTHER, &[], policies), pending];
        let user = Arc::new(Rights::of_memberships(USER, &all));
        let everything = Rights::of_user(USER).within(Arc::clone(&user));
        let token = rights(&[("allow", "*", every)]).unwrap().within(user);
        let (here, there) = (Target::Zone(ZONE, Some(ACCOUNT)), Target::Zone(ZONE, Some(OTHER)));
        let denied = Target::Zone(SECOND, Some(OTHER));
        let invited = Target::ZonesOf(AccountId::from_bytes([9; 16]));
        for (permission, target, expect) in [
            (DnsWrite, here, true),
            (DnsWrite, Target::ZonesOf(ACCOUNT), true),
            (ZoneWrite, here, false),
            (DnsWrite, there, true),
            (DnsRead, Target::ZonesOf(OTHER), true),
            (DnsWrite, denied, false),
            (ZoneRead, there, true),
            (ZoneWrite, there, false),
            (DnsRead, invited, false),
            (DnsRead, Target::Zone(ZONE, None), false),
            (TunnelWrite, Target::Account(ACCOUNT), false),
        ] {
            assert_eq!(everything.may(permission, &target), expect, "{permission:?} {target:?}");
            assert_eq!(token.may(permission, &target), expect, "{permission:?} {target:?}");
        }
        assert!(everything.may(AccountSettingsRead, &Target::Account(ACCOUNT)));
        assert!(!everything.may(AccountSettingsRead, &Target::Account(OTHER)));
        assert!(
            everything.may(UserDetailsRead, &Target::User(USER)) && !token.may(UserDetailsRead, &Target::User(USER))
        );
        assert_eq!(
            (everything.are_all_of(USER), token.are_all_of(USER), everything.are_all_in(ACCOUNT)),
            (true, false, false)
        );
        // What others have in an account, they do not give; what they have, they do.
        let target = |resource| match resource {
            Resource::ZonesOf(account) => Target::ZonesOf(account),
            Resource::Account(account) => Target::Account(account),
            _ => Target::Zones,
        };
        let in_one = Rights::of_memberships(USER, &all[..1]);
        let in_one = Rights::of_user(USER).within(Arc::new(in_one));
        for (role, lacks) in [("DNS", false), ("Administrator", true), ("Minimal Account Access", false)] {
            let given = Rights::of_membership(&membership(ACCOUNT, &[role], Vec::new())).unwrap();
            assert_eq!(in_one.lack(&given, target).is_some(), lacks, "{role}");
        }
        // One of which nobody can read what it denies.
        let odd = membership(ACCOUNT, &["Administrator"], vec![stored("deny", "Time Travel Write", every)]);
        assert!(!Rights::of_memberships(USER, &[odd]).may(DnsRead, &here));
        let seen = everything.zones(ZoneRead, &[ACCOUNT, OTHER], |_| Ok(Some(OTHER))).unwrap();
        assert_eq!(seen.only, VisibleZones { of: vec![ACCOUNT, OTHER], zones: Vec::new() });
    }

    #[test]
    fn nobody_gives_what_they_have_not() {
        let (every, one, second) = (r#"{"@.account.zone.*":"*"}"#, zone(ZONE), zone(SECOND));
        let inside = format!(r#"{{"@.account.{ACCOUNT}":{{"@.account.zone.*":"*"}}}}"#);
        let target = |resource| match resource {
            Resource::Zone(zone) => Target::Zone(zone, Some(ACCOUNT)),
            Resource::ZonesOf(account) => Target::ZonesOf(account),
            Resource::Zones => Target::Zones,
            Resource::Account(account) => Target::Account(account),
            Resource::Accounts => Target::Accounts,
            Resource::User(user) => Target::User(user),
        };
        for (mine, wanted, lacks) in [
            (vec![("allow", "DNS Write", every)], ("allow", "DNS Read", one.as_str()), false),
            (vec![("allow", "DNS Write", &inside)], ("allow", "DNS Write", &one), false),
            (vec![("allow", "DNS Write", &inside)], ("allow", "DNS Write", every), true),
            (vec![("allow", "DNS Write", &one)], ("allow", "DNS Write", &second), true),
            (vec![("allow", "DNS Read", every)], ("allow", "DNS Write", &one), true),
            (vec![("allow", "DNS Read", every)], ("deny", "DNS Write", every), false),
            (vec![("allow", "DNS Write", every), ("deny", "DNS Write", &one)], ("allow", "DNS Write", every), true),
            (vec![("allow", "DNS Write", every), ("deny", "DNS Write", &one)], ("allow", "DNS Write", &second), false),
        ] {
            let lack = rights(&mine).unwrap().lack(&rights(&[wanted]).unwrap(), target);
            assert_eq!(lack.is_some(), lacks, "{mine:?} {wanted:?}");
        }
    }
}
