//! What an entry shows of an object: the document as far as it may be seen.
//!
//! A document is read as a shape that names what is shown of it, however deep, and written again: a field that no shape
//! has, be it an older build's, a newer one's or a secret, is not in the log that people see.

use std::net::IpAddr;

use bartizan_names::{AccountId, SessionId, Timestamp, TokenId, TunnelId, UserId};
use bartizan_store::Kind;
use bartizan_v4::dnssec::{StoredDnssecKey, StoredParent};
use bartizan_v4::user::Person;
use bartizan_v4::{Condition, StoredPolicy, UserStatus};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
struct User {
    id: UserId,
    email: String,
    #[serde(default)]
    status: UserStatus,
    #[serde(flatten)]
    person: Person,
    created_on: Timestamp,
    modified_on: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Session {
    id: SessionId,
    user: UserId,
    created_on: Timestamp,
    expires_on: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    id: TokenId,
    name: String,
    user: UserId,
    account: AccountId,
    status: String,
    policies: Vec<StoredPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_on: Option<Timestamp>,
    issued_on: Timestamp,
    modified_on: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Tunnel {
    id: TunnelId,
    name: String,
    account_tag: AccountId,
    created_at: Timestamp,
    deleted_at: Option<Timestamp>,
    config_src: String,
}

/// Without the secret halves of the keys.
#[derive(Serialize, Deserialize)]
struct Dnssec {
    state: String,
    denial: String,
    ksk_days: u32,
    zsk_days: u32,
    keys: Vec<StoredDnssecKey>,
    parent: StoredParent,
    #[serde(default)]
    due_on: Option<Timestamp>,
    created_on: Timestamp,
    modified_on: Timestamp,
}

/// What is shown of a document; none of one that cannot be read: nobody knows what is in it.
pub(super) fn document(kind: Kind, json: &str) -> Option<Value> {
    match kind {
        Kind::Account => known::<bartizan_v4::Account>(json),
        Kind::User => known::<User>(json),
        Kind::Session => known::<Session>(json),
        Kind::Membership => known::<bartizan_v4::StoredMembership>(json),
        Kind::Token => known::<Token>(json),
        Kind::Zone => known::<bartizan_v4::Zone>(json),
        Kind::Settings => known::<bartizan_v4::StoredSettings>(json),
        Kind::Dnssec => known::<Dnssec>(json),
        Kind::Record => known::<bartizan_v4::Record>(json),
        Kind::Tunnel => known::<Tunnel>(json),
        Kind::TunnelConfig => known::<bartizan_v4::TunnelConfiguration>(json),
        Kind::AccessRule => known::<bartizan_v4::StoredAccessRule>(json),
        Kind::App => known::<bartizan_v4::StoredApp>(json),
        Kind::Registry
        | Kind::Meta
        | Kind::Pop
        | Kind::Name
        | Kind::Certificate
        | Kind::Unique
        | Kind::Deletion
        | Kind::Import => None,
    }
}

fn known<T: Serialize + DeserializeOwned>(json: &str) -> Option<Value> {
    serde_json::from_str::<T>(json).ok().and_then(|document| serde_json::to_value(document).ok())
}
