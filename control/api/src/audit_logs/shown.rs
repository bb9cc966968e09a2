//! What an entry shows of documents that have secrets: their shapes as far as they may be seen.
//!
//! A document is read as a shape that names what is shown of it, however deep, and written again: a field that no shape
//! has, be it an older build's, a newer one's or a secret, is not in the log that people see.

use std::net::IpAddr;

use bartizan_names::{AccountId, CertificateId, ClientRootId, SessionId, Timestamp, TokenId, TunnelId, UserId};
use bartizan_v4::dnssec::{StoredDnssecKey, StoredParent};
use bartizan_v4::user::Person;
use bartizan_v4::{Condition, StoredPolicy, UserStatus};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(super) struct User {
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
pub(super) struct Session {
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
pub(super) struct Token {
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
pub(super) struct Tunnel {
    id: TunnelId,
    name: String,
    account_tag: AccountId,
    created_at: Timestamp,
    deleted_at: Option<Timestamp>,
    config_src: String,
}

/// Without the secret halves of the keys.
#[derive(Serialize, Deserialize)]
pub(super) struct Dnssec {
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

/// Without what it proves with who it is.
#[derive(Serialize, Deserialize)]
pub(super) struct AcmeAccount {
    directory: String,
    email: Option<String>,
    roots_pem: Option<String>,
    agreed_on: Timestamp,
    created_on: Timestamp,
    modified_on: Timestamp,
}

/// What people decide of one; how far it is follows, and is told where it is.
#[derive(Serialize, Deserialize)]
pub(super) struct AcmeCertificate {
    id: CertificateId,
    names: Vec<String>,
    method: String,
    #[serde(default)]
    is_ordered: bool,
    state: String,
    created_on: Timestamp,
    modified_on: Timestamp,
}

/// Without the key.
#[derive(Serialize, Deserialize)]
pub(super) struct ClientAuthority {
    id: ClientRootId,
    name: String,
    certificate: String,
    expires_on: Timestamp,
    created_on: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct CustomCertificate {
    id: CertificateId,
    hosts: Vec<String>,
    issuer: String,
    priority: u32,
    not_before: Timestamp,
    not_after: Timestamp,
    uploaded_on: Timestamp,
    modified_on: Timestamp,
}

/// Without the key.
#[derive(Serialize, Deserialize)]
pub(super) struct OriginClient {
    id: CertificateId,
    certificate: String,
    issuer: String,
    serial_number: String,
    expires_on: Timestamp,
    uploaded_on: Timestamp,
}
