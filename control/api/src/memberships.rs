//! Who belongs to which account: kept with the user, and found from the account by an index.
//!
//! What somebody may do in an account follows from here, with each call ([`crate::caller`]). Builds before this one had one
//! account, to which every user belonged; until a start has written that down, it is taken to be so.

use bartizan_names::{AccountId, UserId};
use bartizan_store::{Index, Key, Kind, Prefix, Scope};
use bartizan_v4::account::MembershipStatus;
use bartizan_v4::{Account, StoredMembership, StoredUser, UserStatus};

use crate::error::{Error, Fault};
use crate::roles::{ADMINISTRATOR, id_of};
use crate::transaction::{Change, View};

/// Accounts that one user belongs to or is invited to: they are read with each call.
pub(crate) const OF_USER_MAX: usize = 100;

/// Members of one account.
pub(crate) const OF_ACCOUNT_MAX: usize = 1_000;

/// Of a user in an account. The same as that of the user's membership.
pub(crate) fn member_id(account: AccountId, user: UserId) -> String {
    id_of(&format!("member/{account}/{user}"))
}

/// Says that memberships are written down.
pub(crate) fn marker() -> Key {
    Key::meta("memberships")
}

fn index(account: AccountId, user: UserId) -> Key {
    Key::unique(Scope::Account(account), Index::Member, user)
}

pub(crate) fn is_administrator(membership: &StoredMembership) -> bool {
    membership.status == MembershipStatus::Accepted && membership.roles.contains(&ADMINISTRATOR.id())
}

impl View {
    /// The accounts that a user belongs to or is invited to, the one first that was first. Of what cannot be read nobody
    /// knows what it gives, so it gives nothing.
    pub(crate) fn memberships(&self, user: UserId) -> Result<Vec<StoredMembership>, Error> {
        let keys = self.keys(&Prefix::of(Scope::User(user), Kind::Membership), None, OF_USER_MAX)?;
        let mut all = Vec::new();
        for key in &keys {
            all.extend(self.if_readable::<StoredMembership>(key)?);
        }
        if keys.is_empty() && !self.has(&marker())? {
            all.extend(self.oldest_account()?.map(|account| of_older_build(&account, user)));
        }
        all.sort_by_key(|membership| (membership.created_on, membership.account));
        Ok(all)
    }

    /// Who belongs to an account or is invited to it, as far as it can be read.
    pub(crate) fn members(&self, account: AccountId) -> Result<Vec<(StoredMembership, StoredUser)>, Error> {
        let mut members = Vec::new();
        if !self.has(&marker())? && self.oldest_account()?.is_some_and(|oldest| oldest.id == account) {
            for user in self.all::<StoredUser>(Kind::User)? {
                let own = self.memberships(user.id)?;
                members.extend(own.into_iter().map(|membership| (membership, user.clone())));
            }
            return Ok(members);
        }
        let index = Prefix::unique(Scope::Account(account), Index::Member);
        for key in self.keys(&index, None, OF_ACCOUNT_MAX)? {
            let Some(user) = key.id().rsplit_once('/').and_then(|(_, user)| user.parse::<UserId>().ok()) else {
                continue;
            };
            let membership = self.if_readable::<StoredMembership>(&Key::membership(user, account))?;
            let user = self.if_readable::<StoredUser>(&Key::user(user))?;
            members.extend(membership.zip(user));
        }
        Ok(members)
    }

    /// One of them by its id.
    pub(crate) fn member(&self, account: AccountId, id: &str) -> Result<(StoredMembership, StoredUser), Error> {
        let found = self.members(account)?.into_iter().find(|(membership, _)| membership.id == id);
        found.ok_or_else(|| Fault::MemberUnknown.into())
    }

    /// The one that was there first: the edge's own.
    pub(crate) fn oldest_account(&self) -> Result<Option<Account>, Error> {
        let all = self.all::<Account>(Kind::Account)?;
        Ok(all.into_iter().min_by_key(|account| (account.created_on, account.id)))
    }
}

fn of_older_build(account: &Account, user: UserId) -> StoredMembership {
    StoredMembership {
        id: member_id(account.id, user),
        account: account.id,
        user,
        status: MembershipStatus::Accepted,
        roles: vec![ADMINISTRATOR.id()],
        policies: Vec::new(),
        created_on: account.created_on,
        modified_on: account.created_on,
    }
}

impl Change {
    /// Puts a membership, while the account and the user are there.
    pub(crate) fn put_membership(&mut self, membership: &StoredMembership) -> Result<(), Error> {
        let StoredMembership { account, user, .. } = *membership;
        self.require(Key::account(account));
        self.require(Key::user(user));
        if !self.has(&index(account, user))? {
            self.claim_name(index(account, user), user)?;
        }
        self.put(Key::membership(user, account), membership)
    }

    pub(crate) fn delete_membership(&mut self, membership: &StoredMembership) -> Result<(), Error> {
        let StoredMembership { account, user, .. } = *membership;
        if self.has(&index(account, user))? {
            self.delete(index(account, user))?;
        }
        self.delete(Key::membership(user, account))
    }

    /// Refuses to let the last one go who may decide who belongs to an account: there must be another, who is let in.
    pub(crate) fn keep_an_administrator(&mut self, leaving: &StoredMembership) -> Result<(), Error> {
        if !is_administrator(leaving) {
            return Ok(());
        }
        let others = self.members(leaving.account)?.into_iter().filter(|(other, user)| {
            other.user != leaving.user && is_administrator(other) && user.status == UserStatus::Active
        });
        let other = others.map(|(other, _)| other).next().ok_or_else(|| {
            let detail = "the account would have no Super Administrator any more; make another one first";
            Fault::LastAdministrator.because(detail)
        })?;
        // Two who go at once would each count on the other.
        self.guard(&Key::membership(other.user, other.account))?;
        self.guard(&Key::user(other.user))
    }

    /// Writes down what older builds took for granted: every user belongs to the account. Once, as whoever was taken out
    /// since does not come back; but `administrator`, if there is one to be let in whatever the store has.
    pub(crate) fn put_memberships(&mut self, account: &Account, administrator: Option<UserId>) -> Result<(), Error> {
        let is_first = !self.has(&marker())?;
        if is_first {
            self.put(marker(), &serde_json::json!({}))?;
        }
        let users = if is_first { self.all::<StoredUser>(Kind::User)? } else { Vec::new() };
        let mut users: Vec<UserId> = users.into_iter().map(|user| user.id).collect();
        users.extend(administrator);
        users.sort_unstable();
        users.dedup();
        for user in users {
            let wanted = of_older_build(account, user);
            let is = self.if_readable::<StoredMembership>(&Key::membership(user, account.id))?;
            if !is.as_ref().is_some_and(is_administrator) {
                let made = is.map_or(self.now(), |is| is.created_on);
                self.put_membership(&StoredMembership { created_on: made, modified_on: self.now(), ..wanted })?;
            }
        }
        Ok(())
    }
}
