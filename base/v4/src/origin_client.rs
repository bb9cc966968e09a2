//! Certificates by which the edge is known to origins (authenticated origin pulls), as they are sent.

use bartizan_names::{CertificateId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Patch;

/// One of them, without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OriginClient {
    #[schema(value_type = String)]
    pub id: CertificateId,
    pub certificate: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_on: Timestamp,
    pub issuer: String,
    pub serial_number: String,
    pub signature: String,
    /// `active`. One that has run out is shown too: whether it is taken is for the origin to say.
    pub status: String,
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_on: Timestamp,
}

/// What POST takes.
#[derive(Clone, Default, Deserialize, ToSchema)]
pub struct OriginClientBody {
    /// PEM: the certificate and its chain, in whatever order.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub certificate: Patch<String>,
    /// PEM, not encrypted.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub private_key: Patch<String>,
}

/// Whether origins of a zone are shown its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OriginClientSwitch {
    pub enabled: bool,
}

/// What is shown to the origin of a host, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOriginClientHost {
    pub hostname: String,
    pub cert_id: CertificateId,
    /// If not, nothing is shown to it.
    pub enabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The same as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OriginClientHost {
    pub hostname: String,
    #[schema(value_type = String)]
    pub cert_id: CertificateId,
    pub enabled: bool,
    /// `active`.
    pub status: String,
    /// `active`, or `deleted`.
    pub cert_status: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// This and what follows is of the certificate, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_on: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cert_uploaded_on: Option<Timestamp>,
}

/// What PUT takes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct OriginClientHostsBody {
    pub config: Vec<OriginClientHostBody>,
}

/// What one host is to show.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct OriginClientHostBody {
    #[serde(default)]
    pub hostname: String,
    /// Left out: the one that it has.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub cert_id: Patch<String>,
    /// `null` takes its own away, so that it shows what the zone does.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
}
