//! The first run, and every later one: an account, a user, a token with every permission, a default zone with its
//! certificate, and the certificate that connectors see.
//!
//! The store knows hashes only, so the clear text is kept in `DATA/admin.json` (mode 0600), where commands on this machine
//! find it. The store decides: once it is there, a start puts nothing into it that the file says, so that a token which was
//! given a new text or deleted does not come back. What the environment dictates is put there at every start, but for a
//! token that it has dictated before and that was ended since. If the file
//! is lost or empty, the next start makes new credentials and the old ones end: whoever owns the data directory has a way
//! in. The file is written last: whatever happens between, the next start finds no file.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use bartizan_certs::{Certs, CertsError};
use bartizan_names::{AccountId, Name, Span, Timestamp, TokenId, UserId, ZoneId, ZoneName};
use bartizan_seal as seal;
use bartizan_store::{Key, Kind, RECOVERY, Rev, Scope, Store};
use bartizan_v4::user::Person;
use bartizan_v4::{Account, StoredToken, StoredUser, UserStatus};

use crate::accounts::{self, account_ref};
use crate::admin_file::{
    AdminFileError, Administrator, DefaultZone, FILE, FILE_BACK, FILE_BACK_OR_AWAY, NEW_CREDENTIALS, Saved, read, save,
    told, wrong,
};
use crate::caller::{ACTIVE, ShownToken, TokenState, email_key, hash_key, in_old_place, token_of};
use crate::error::{Error, Fault};
use crate::rights::Rights;
use crate::tokens::{everything, new_token};
use crate::transaction::{Change, View};
use crate::users::new_key;
use crate::writes::{By, Writes};
use crate::zones;

/// The administrator's token among others.
const TOKEN_NAME: &str = "administrator";

/// Characters of a token or key that somebody sets by hand. If they are random, 128 bits even as hexadecimal digits.
const SECRET_MIN: usize = 32;

/// For the change log.
const INTERFACE: &str = "setup";

/// Credentials that the environment dictates; the rest is made here.
#[derive(Clone, Debug, Default)]
pub struct Preset {
    pub token: Option<String>,
    pub email: Option<String>,
    pub key: Option<String>,
    /// Whether the global key may be one that can be guessed: for an edge that nobody but its own machine reaches, and who wants
    /// to type printed calls as they are.
    pub weak_key: bool,
}

/// What a start finds: whose edge it is, and who is let in.
pub struct SetUp {
    pub account_id: AccountId,
    /// None when it was deleted.
    pub zone: Option<DefaultZone>,
    pub entry: Entry,
}

/// Whether the administrator's file lets commands of this machine in.
pub enum Entry {
    Open(Administrator),
    /// Its token does not work.
    Stale {
        administrator: Administrator,
        reason: &'static str,
    },
    /// It cannot be read, or is gone while nothing can be put in its place.
    Unknown {
        reason: String,
        remedy: &'static str,
    },
}

/// Why the first administrator could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(transparent)]
    File(#[from] AdminFileError),
    #[error(
        "the administrator's {what} has {length} characters and can be guessed: {SECRET_MIN} are needed. Put a longer one \
         in {variable}; or unset that and move {FILE} away, and new credentials are made"
    )]
    Weak { what: &'static str, length: usize, variable: &'static str },
    #[error("cannot set up the first administrator")]
    Store(#[from] Error),
}

/// Sees to it that the administrator, the zone `domain` and the certificate that connectors see are there. Does nothing where nothing is missing. Blocks.
pub fn bootstrap(
    store: &Store,
    certs: &Certs,
    data: &Path,
    preset: &Preset,
    domain: &ZoneName,
    nameservers: &[Name],
) -> Result<SetUp, BootstrapError> {
    let path = data.join(FILE);
    let is_first = store.read().map_err(Error::from)?.head() == Rev::ZERO;
    let (saved, damaged) = match read(&path) {
        Saved::Nothing => (None, None),
        Saved::Credentials(saved) => (Some(saved), None),
        // Without a store that knows them, nobody would ever be let in.
        Saved::Unreadable(error) if is_first => return Err(error.into()),
        Saved::Unreadable(error) => (None, Some(error)),
    };
    let preset = &without_ended(store, preset, certs.clock().span())?;
    let mut administrator = plan(store, saved.as_ref(), preset, domain)?;
    refuse_weak("token", &administrator.token, "BARTIZAN_API_TOKEN")?;
    if !preset.weak_key {
        refuse_weak("key", &administrator.key, "BARTIZAN_API_KEY")?;
    }
    let made = damaged.is_none() && (is_first || saved.is_none());
    let dictated = Dictated {
        email: made || preset.email.is_some(),
        key: made || preset.key.is_some(),
        token: made || preset.token.is_some(),
    };
    let writes = Writes::new(store.clone(), certs.clone(), Arc::default());
    // Somebody is let in who was not: the history shows it.
    let is_recovery = made && !is_first;
    let set_up = writes.change(By::Edge(if is_recovery { RECOVERY } else { INTERFACE }), |change| {
        let account = put_account(change, administrator.account_id)?;
        if damaged.is_none() {
            put_user(change, &administrator, dictated)?;
            put_token(change, &administrator, dictated)?;
            if preset.token.is_some() {
                remember_dictated(change, &administrator)?;
            }
        }
        let is_let_in = damaged.is_none() && dictated.any();
        change.put_memberships(&account, is_let_in.then_some(administrator.user_id))?;
        put_certificate_for_tunnels(change)?;
        put_zone(change, &account, domain, nameservers)
    });
    administrator.zone = match set_up {
        // What was set up before serves, and whoever was let in is.
        Err(error) if !is_first && matches!(error.fault, Fault::ReadOnly | Fault::DiskFull) => {
            let now = certs.clock().span();
            let zone = zone_there(store, domain);
            let account_id = administrator.account_id;
            let Some(saved) = saved else {
                let reason = damaged.as_ref().map_or_else(|| format!("{FILE} is gone"), wrong);
                let reason = format!("{reason}; no other credentials can be made: {error}");
                return Ok(SetUp { account_id, zone, entry: Entry::Unknown { reason, remedy: FILE_BACK } });
            };
            if saved != (Administrator { zone: saved.zone.clone(), ..administrator }) {
                // Written down they would be those that nobody is let in by.
                tracing::warn!(%error, "what the environment says of the administrator is not taken: it cannot be stored");
            }
            return Ok(SetUp { account_id, zone, entry: entry(store, saved, &path, now) });
        }
        set_up => set_up?,
    };
    let (account_id, zone) = (administrator.account_id, administrator.zone.clone());
    if let Some(error) = damaged {
        let remedy = if store.is_read_only().is_some() { FILE_BACK } else { FILE_BACK_OR_AWAY };
        let entry = Entry::Unknown { reason: wrong(&error), remedy };
        return Ok(SetUp { account_id, zone, entry });
    }
    match save(&path, saved.as_ref(), &administrator) {
        Err(error) if !dictated.any() => {
            tracing::warn!(error = told(&error), "the administrator's file stays as it was");
        }
        saved => saved?,
    }
    if is_recovery {
        tracing::warn!(
            "{} was not there, or empty: a new token and a new key of the administrator are in it, and the old ones have ended",
            path.display()
        );
    }
    let entry = entry(store, administrator, &path, certs.clock().span());
    Ok(SetUp { account_id, zone, entry })
}

/// Whether what the file says lets somebody in.
fn entry(store: &Store, administrator: Administrator, path: &Path, now: Span) -> Entry {
    match refused(store, &administrator.token, now) {
        None => Entry::Open(administrator),
        Some(reason) => {
            tracing::warn!(
                "the token in {} does not let commands of this machine in: {reason}; {NEW_CREDENTIALS}",
                path.display()
            );
            Entry::Stale { administrator, reason }
        }
    }
}

/// What is put into the store whatever it has: what the environment says, and what is new because there was no file.
#[derive(Clone, Copy)]
struct Dictated {
    email: bool,
    key: bool,
    token: bool,
}

impl Dictated {
    const fn any(self) -> bool {
        self.email || self.key || self.token
    }
}

/// Why a token lets nobody on this machine in.
fn refused(store: &Store, token: &str, now: Span) -> Option<&'static str> {
    const UNREADABLE: Option<&str> = Some("it cannot be read");
    let Ok(view) = store.read().map(View) else { return UNREADABLE };
    match token_of(&view, &seal::hash_token(token), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), now) {
        Ok(Some(ShownToken { token, standing: TokenState::Active, .. })) if Rights::read(&token.policies).is_some() => {
            None
        }
        Ok(Some(ShownToken { standing: TokenState::Active, .. })) | Err(_) => UNREADABLE,
        Ok(Some(ShownToken { standing, .. })) => standing.reason(),
        Ok(None) => Some("it was given a new text, or deleted"),
    }
}

/// The default zone where nothing can be changed.
fn zone_there(store: &Store, domain: &ZoneName) -> Option<DefaultZone> {
    let id = View(store.read().ok()?).zone_named(domain).ok()??;
    Some(DefaultZone { id, name: domain.to_string() })
}

/// Also one that an older version has accepted and saved.
fn refuse_weak(what: &'static str, secret: &str, variable: &'static str) -> Result<(), BootstrapError> {
    let length = secret.chars().count();
    if length < SECRET_MIN { Err(BootstrapError::Weak { what, length, variable }) } else { Ok(()) }
}

/// Where the hash of the token is that the environment has dictated.
fn dictated_key() -> Key {
    Key::meta("dictated-token")
}

#[derive(serde::Serialize, serde::Deserialize)]
struct DictatedToken {
    sha256: String,
}

/// What the environment says, without a token that it has said before and that was given a new text or deleted since: a
/// unit keeps its environment, and must not bring back what somebody has ended.
fn without_ended(store: &Store, preset: &Preset, now: Span) -> Result<Preset, Error> {
    let Some(token) = &preset.token else { return Ok(preset.clone()) };
    let (view, hash) = (View(store.read()?), seal::hash_token(token));
    let said = view.if_readable::<DictatedToken>(&dictated_key())?;
    let was_said = said.is_some_and(|said| said.sha256 == hash.to_string());
    if !was_said || token_of(&view, &hash, None, now)?.is_some() {
        return Ok(preset.clone());
    }
    tracing::warn!(
        "BARTIZAN_API_TOKEN has a text that was given before, and that token was given a new text or deleted since: it stays \
         so; put the new text there, or unset it"
    );
    Ok(Preset { token: None, ..preset.clone() })
}

fn remember_dictated(change: &mut Change, administrator: &Administrator) -> Result<(), Error> {
    let said = DictatedToken { sha256: seal::hash_token(&administrator.token).to_string() };
    if change.if_readable::<DictatedToken>(&dictated_key())?.is_some_and(|old| old.sha256 == said.sha256) {
        return Ok(());
    }
    change.put(dictated_key(), &said)
}

/// Who shall be the administrator: what is dictated, else what was saved, else something new. Ids of what is in the store
/// already win, those that were saved before others, be it readable or not.
fn plan(
    store: &Store,
    saved: Option<&Administrator>,
    preset: &Preset,
    domain: &ZoneName,
) -> Result<Administrator, Error> {
    let view = View(store.read()?);
    let (saved_account, saved_user) = (saved.map(|saved| saved.account_id), saved.map(|saved| saved.user_id));
    let account = match saved_account {
        Some(id) if view.has(&Key::account(id))? => Some(id),
        _ => oldest(view.all(Kind::Account)?, |one: &Account| (one.created_on, one.id)).or(saved_account),
    };
    let user = match saved_user {
        Some(id) if view.has(&Key::user(id))? => Some(id),
        _ => oldest(view.all(Kind::User)?, |one: &StoredUser| (one.created_on, one.id)).or(saved_user),
    };
    let text = |preset: &Option<String>, saved: Option<&String>, new: fn() -> String| {
        preset.clone().or(saved.cloned()).unwrap_or_else(new)
    };
    let email = preset.email.clone().or(saved.map(|saved| saved.email.clone()));
    Ok(Administrator {
        email: email.unwrap_or_else(|| format!("admin@{domain}")),
        key: text(&preset.key, saved.map(|saved| &saved.key), new_key),
        token: text(&preset.token, saved.map(|saved| &saved.token), new_token),
        account_id: account.unwrap_or_else(|| AccountId::from_bytes(seal::random())),
        user_id: user.unwrap_or_else(|| UserId::from_bytes(seal::random())),
        zone: saved.and_then(|saved| saved.zone.clone()),
    })
}

/// The id of the one that was there first.
fn oldest<T, I: Ord>(all: Vec<T>, made: impl Fn(&T) -> (Timestamp, I)) -> Option<I> {
    all.iter().map(made).min().map(|(_, id)| id)
}

/// The default zone. It is made once: one that was deleted since stays so.
fn put_zone(
    change: &mut Change,
    account: &Account,
    domain: &ZoneName,
    nameservers: &[Name],
) -> Result<Option<DefaultZone>, Error> {
    let was_made = Key::meta(&format!("default-zone/{domain}"));
    let knows = change.has(&was_made)?;
    let id = match change.zone_named(domain)? {
        Some(id) => id,
        None if knows => return Ok(None),
        // It has no certificate before there is another CA, and is made then.
        None if change.certs().ca_has_ended(change.now()) => return Ok(None),
        None => {
            let id = ZoneId::from_bytes(seal::random());
            change.put_new_zone(&zones::document(id, domain, nameservers, account_ref(account), change.now()))?;
            id
        }
    };
    if !knows {
        change.put(was_made, &serde_json::json!({}))?;
    }
    Ok(Some(DefaultZone { id, name: domain.to_string() }))
}

/// One that cannot be read stays as it is: another version may be able to.
fn put_account(change: &mut Change, id: AccountId) -> Result<Account, Error> {
    let key = Key::account(id);
    if let Some(account) = change.if_readable(&key)? {
        return Ok(account);
    }
    let account = accounts::document(id, "Main account", change.now());
    if !change.has(&key)? {
        change.put(key, &account)?;
    }
    Ok(account)
}

/// As an account, one that cannot be read stays as it is.
fn put_user(change: &mut Change, administrator: &Administrator, dictated: Dictated) -> Result<(), Error> {
    let key_sha256 = seal::hash_token(&administrator.key).to_string();
    let key = Key::user(administrator.user_id);
    let Some(old) = change.if_readable::<StoredUser>(&key)? else {
        if change.has(&key)? {
            tracing::error!(%key, "cannot be read, and stays as it is");
            return Ok(());
        }
        let now = change.now();
        let user = StoredUser {
            id: administrator.user_id,
            email: administrator.email.clone(),
            key_sha256,
            password: None,
            status: UserStatus::default(),
            person: Person::default(),
            created_on: now,
            modified_on: now,
        };
        put_email(change, None, &user)?;
        return change.put(key, &user);
    };
    let user = StoredUser {
        email: if dictated.email { administrator.email.clone() } else { old.email.clone() },
        key_sha256: if dictated.key { key_sha256 } else { old.key_sha256.clone() },
        // Who owns the data directory has a way in.
        status: if dictated.any() { UserStatus::Active } else { old.status },
        modified_on: change.now(),
        ..old.clone()
    };
    put_email(change, Some(&old), &user)?;
    if user == (StoredUser { modified_on: user.modified_on, ..old }) {
        return Ok(());
    }
    change.put(key, &user)
}

/// Lets the administrator's address lead to them; builds before this one did not, and damage may have taken it.
fn put_email(change: &mut Change, old: Option<&StoredUser>, user: &StoredUser) -> Result<(), Error> {
    let (key, id) = (email_key(&user.email), user.id.to_string());
    if let Some(had) = old.map(|old| email_key(&old.email)).filter(|had| *had != key) {
        change.delete(had)?;
    }
    let holder = match change.holder(&key) {
        Err(error) if error.fault == Fault::Damaged => None,
        found => found?,
    };
    if holder.as_ref() == Some(&id) { Ok(()) } else { change.claim_name(key, id) }
}

/// The administrator has one token. A dictated text replaces the old one, and may do everything again; the store decides
/// about any other. One that works stays as it is, whatever somebody has made of it.
fn put_token(change: &mut Change, administrator: &Administrator, dictated: Dictated) -> Result<(), Error> {
    let (scope, hash) = (Scope::User(administrator.user_id), seal::hash_token(&administrator.token));
    let id = token_id(administrator.user_id);
    let in_old_place = in_old_place(change)?.into_iter().find(|token| token.name == TOKEN_NAME);
    let key = Key::token(scope, id);
    let old = change.if_readable::<StoredToken>(&key)?;
    let found = match change.holder(&hash_key(&hash)) {
        Err(error) if error.fault == Fault::Damaged => None,
        found => found?,
    };
    if old.as_ref().is_some_and(|old| old.sha256 == hash.to_string()) {
        // Damage may have taken the way to it.
        let is_found = found.as_deref() == Some(key.as_str());
        return if is_found { Ok(()) } else { change.claim_name(hash_key(&hash), key.as_str()) };
    }
    if !dictated.token && in_old_place.is_none() {
        return Ok(());
    }
    if let Some(old) = &old {
        change.forget_hash(old)?;
    }
    if let Some(moved) = &in_old_place {
        change.delete(Key::token(Scope::Edge, moved.id))?;
    }
    let token = StoredToken {
        id,
        name: TOKEN_NAME.to_owned(),
        user: administrator.user_id,
        account: administrator.account_id,
        sha256: hash.to_string(),
        status: ACTIVE.to_owned(),
        policies: vec![everything(administrator.user_id)],
        condition: None,
        not_before: None,
        expires_on: None,
        issued_on: old.or(in_old_place).map_or(change.now(), |old| old.issued_on),
        modified_on: change.now(),
        value: None,
    };
    change.put_token(scope, None, &token)
}

/// The id of a user's first token: always the same, since others may have its name.
fn token_id(user: UserId) -> TokenId {
    let mut id = [0; 16];
    id.copy_from_slice(&seal::sha256(format!("administrator-token/{user}").as_bytes())[..16]);
    TokenId::from_bytes(id)
}

/// The certificate that connectors see. Renewal is not for the way to readiness ([`crate::renewals`]).
fn put_certificate_for_tunnels(change: &mut Change) -> Result<(), Error> {
    let ops = match change.certs().for_tunnels(change.now()) {
        // What is there serves. If it is not there, connectors wait for the new CA, and nobody else does.
        Err(CertsError::ExpiredCa) => return Ok(()),
        issued => issued?,
    };
    for op in ops {
        if !change.has(op.key())? {
            change.unguarded([op]);
        }
    }
    Ok(())
}
