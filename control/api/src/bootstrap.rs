//! The first run, and every later one: an account, a user, a token with every permission, a default zone with its
//! certificate, and the certificate that connectors see.
//!
//! The store knows hashes only, so the clear text is kept in `DATA/admin.json` (mode 0600), where commands on this machine
//! find it. The file is written before the store is changed: whatever happens between, the next start mends it. If the
//! file is lost or empty, the next start makes new credentials and the old ones end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bartizan_certs::{Certs, CertsError};
use bartizan_names::{AccountId, Name, TokenId, UserId, ZoneId, ZoneName};
use bartizan_seal as seal;
use bartizan_store::{Key, Kind, Scope, Store};
use bartizan_v4::{Account, AccountSettings, StoredToken, StoredUser};
use serde::{Deserialize, Serialize};

use crate::accounts::account_ref;
use crate::caller::{ACTIVE, hash_key, in_old_place};
use crate::error::{Error, Fault};
use crate::tokens::{everything, new_token};
use crate::transaction::{Change, View};
use crate::writes::{By, Writes};
use crate::zones;

/// The file with the administrator's credentials, in the data directory.
pub const FILE: &str = "admin.json";

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
}

/// The first administrator, in clear text. Not for logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Administrator {
    pub email: String,
    /// The global key.
    pub key: String,
    /// The API token.
    pub token: String,
    pub account_id: AccountId,
    pub user_id: UserId,
    /// None when it was deleted: it does not come back by itself.
    pub zone: Option<DefaultZone>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultZone {
    pub id: ZoneId,
    pub name: String,
}

/// Why the first administrator could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("cannot read or write {}; see that this user owns it", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is damaged; move it away, and new credentials are made", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
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
) -> Result<Administrator, BootstrapError> {
    let path = data.join(FILE);
    let saved = read(&path)?;
    let mut administrator = plan(store, saved.as_ref(), preset, domain)?;
    refuse_weak("token", &administrator.token, "BARTIZAN_API_TOKEN")?;
    refuse_weak("key", &administrator.key, "BARTIZAN_API_KEY")?;
    // Twice, because the zone's id is known for certain only when the change has landed; first, because a token that is
    // in the store alone is lost.
    save(&path, saved.as_ref(), &administrator)?;
    let writes = Writes::new(store.clone(), certs.clone(), Arc::default());
    let set_up = writes.change(By::Edge(INTERFACE), |change| put(change, &administrator, domain, nameservers));
    let zone = match (set_up, saved) {
        // Nothing can be changed, and what was set up before serves.
        (Err(error), Some(saved)) if matches!(error.fault, Fault::ReadOnly | Fault::DiskFull) => return Ok(saved),
        (set_up, _) => set_up?,
    };
    let before = administrator.clone();
    administrator.zone = zone;
    save(&path, Some(&before), &administrator)?;
    Ok(administrator)
}

/// Also one that an older version has accepted and saved.
fn refuse_weak(what: &'static str, secret: &str, variable: &'static str) -> Result<(), BootstrapError> {
    let length = secret.chars().count();
    if length < SECRET_MIN { Err(BootstrapError::Weak { what, length, variable }) } else { Ok(()) }
}

fn read(path: &Path) -> Result<Option<Administrator>, BootstrapError> {
    match std::fs::read(path) {
        // A crash or a full disk left it so: as good as none.
        Ok(text) if text.trim_ascii().is_empty() => Ok(None),
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| BootstrapError::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BootstrapError::File { path: path.to_owned(), source }),
    }
}

/// One field a line, so that a shell finds the token without a JSON parser.
fn save(path: &Path, old: Option<&Administrator>, new: &Administrator) -> Result<(), BootstrapError> {
    if old == Some(new) {
        return Ok(());
    }
    let failed = |source| BootstrapError::File { path: path.to_owned(), source };
    let mut text = serde_json::to_string_pretty(new).map_err(|error| failed(error.into()))?;
    text.push('\n');
    seal::write_private(path, text.as_bytes()).map_err(failed)
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
        _ => view.all::<Account>(Kind::Account)?.first().map(|account| account.id).or(saved_account),
    };
    let user = match saved_user {
        Some(id) if view.has(&Key::user(id))? => Some(id),
        _ => view.all::<StoredUser>(Kind::User)?.first().map(|user| user.id).or(saved_user),
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

/// 148 bits in 37 digits, as long as a global key is elsewhere.
fn new_key() -> String {
    hex::encode(seal::random::<20>())[..37].to_owned()
}

fn put(
    change: &mut Change,
    administrator: &Administrator,
    domain: &ZoneName,
    nameservers: &[Name],
) -> Result<Option<DefaultZone>, Error> {
    let account = put_account(change, administrator.account_id)?;
    put_user(change, administrator)?;
    put_token(change, administrator)?;
    put_certificate_for_tunnels(change)?;
    put_zone(change, &account, domain, nameservers)
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
            change.create_zone(&zones::document(id, domain, nameservers, account_ref(account), change.now()))?;
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
    let account = Account {
        id,
        name: "Main account".to_owned(),
        kind: "standard".to_owned(),
        settings: AccountSettings::default(),
        created_on: change.now(),
    };
    if !change.has(&key)? {
        change.put(key, &account)?;
    }
    Ok(account)
}

/// As an account, one that cannot be read stays as it is.
fn put_user(change: &mut Change, administrator: &Administrator) -> Result<(), Error> {
    let key_sha256 = seal::hash_token(&administrator.key).to_string();
    let key = Key::user(administrator.user_id);
    let old: Option<StoredUser> = change.if_readable(&key)?;
    if old.is_none() && change.has(&key)? {
        tracing::error!(%key, "cannot be read, and stays as it is");
        return Ok(());
    }
    if old.as_ref().is_some_and(|old| old.key_sha256 == key_sha256 && old.email == administrator.email) {
        return Ok(());
    }
    let user = StoredUser {
        id: administrator.user_id,
        email: administrator.email.clone(),
        key_sha256,
        created_on: old.map_or(change.now(), |old| old.created_on),
        modified_on: change.now(),
    };
    change.put(key, &user)
}

/// The administrator has one token; a new text replaces the old one, and it may do everything again. One that works stays
/// as it is, whatever somebody has made of it.
fn put_token(change: &mut Change, administrator: &Administrator) -> Result<(), Error> {
    let (scope, hash) = (Scope::User(administrator.user_id), seal::hash_token(&administrator.token));
    let id = token_id(administrator.user_id);
    let in_old_place = in_old_place(change)?.into_iter().find(|token| token.name == TOKEN_NAME);
    let key = Key::token(scope, id);
    let old = change.if_readable::<StoredToken>(&key)?;
    let found = match change.holder(&hash_key(&hash)) {
        Err(error) if error.fault == Fault::Damaged => None,
        found => found?,
    };
    if old.as_ref().is_some_and(|old| old.sha256 == hash.to_string()) && found.as_deref() == Some(key.as_str()) {
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
