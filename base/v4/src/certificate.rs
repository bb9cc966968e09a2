//! Certificates of zones: those that their owners bring (`custom_certificates`), and those of the public authority.

use bartizan_names::{CertificateId, Timestamp, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Integer, Patch};

/// A certificate that somebody brought. Its key is shown to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CustomCertificate {
    #[schema(value_type = String)]
    pub id: CertificateId,
    #[schema(value_type = String)]
    pub zone_id: ZoneId,
    /// The names of it that lie in the zone.
    pub hosts: Vec<String>,
    pub issuer: String,
    pub signature: String,
    /// `active`, `expired`, or `pending` if its life has not begun.
    pub status: String,
    pub bundle_method: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// The greater one is used, where several are for a name.
    pub priority: u32,
    #[schema(value_type = String, format = DateTime)]
    pub expires_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

/// What POST and PATCH take.
#[derive(Clone, Default, Deserialize, ToSchema)]
pub struct CustomCertificateBody {
    /// PEM: the certificate and its chain, in whatever order.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub certificate: Patch<String>,
    /// PEM, not encrypted. A PATCH may leave it out where the new certificate is for the same key.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub private_key: Patch<String>,
    /// `ubiquitous` (the default), `optimal` or `force`. The chain is sent as it was brought, in the right order.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub bundle_method: Patch<String>,
    /// `legacy_custom` (the default) or `sni_custom`.
    #[serde(default, rename = "type")]
    #[schema(value_type = Option<String>)]
    pub kind: Patch<String>,
}

/// An authority that origins of a zone may have their certificates from. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOriginRoot {
    pub id: CertificateId,
    /// PEM, one or several.
    pub certificate: String,
    pub issuer: String,
    pub signature: String,
    /// The first of them that runs out.
    pub expires_on: Timestamp,
    pub uploaded_on: Timestamp,
    pub updated_at: Timestamp,
}

/// The same as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OriginRoot {
    #[schema(value_type = String)]
    pub id: CertificateId,
    pub certificate: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_on: Timestamp,
    pub issuer: String,
    pub signature: String,
    /// `active`, or `expired`.
    pub status: String,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_on: Timestamp,
}

/// What POST takes.
#[derive(Clone, Default, Deserialize, ToSchema)]
pub struct OriginRootBody {
    /// PEM: certificates of authorities, one or several.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub certificate: Patch<String>,
}

/// In which order certificates are used.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct PrioritizeBody {
    #[serde(default)]
    pub certificates: Vec<Prioritized>,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Prioritized {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    #[schema(value_type = u32)]
    pub priority: Patch<Integer>,
}

/// Whether a zone gets certificates from the public authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UniversalSettings {
    pub enabled: bool,
    /// Who issues; `none` where the edge knows no public authority.
    pub certificate_authority: String,
}

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct UniversalSettingsBody {
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
}

/// A certificate of the public authority. Behind the dialect's fields stand ours: how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CertificatePack {
    #[schema(value_type = String)]
    pub id: CertificateId,
    /// `universal`, or `advanced` if somebody asked for these names.
    #[serde(rename = "type")]
    pub kind: String,
    pub hosts: Vec<String>,
    /// `active`, `pending_validation`, `expired` or `deleted` (switched off).
    pub status: String,
    /// `txt` or `http`.
    pub validation_method: String,
    pub certificate_authority: String,
    pub certificates: Vec<PackCertificate>,
    #[schema(value_type = String)]
    pub zone_id: ZoneId,
    pub zone_name: String,
    /// `pending`, `active`, `failing` or `off`: what came of it so far.
    pub state: String,
    /// What is done for it now: `waiting` for its turn, `asking` the authority, `resting` until `next_try_on`, or `none`.
    pub stage: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub renew_on: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try_on: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_try_on: Option<Timestamp>,
    pub failures: u32,
    pub last_error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

/// What was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PackCertificate {
    #[schema(value_type = String)]
    pub id: CertificateId,
    pub hosts: Vec<String>,
    pub issuer: String,
    pub signature: String,
    pub status: String,
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub expires_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_on: Timestamp,
    /// PEM, of one that is asked for by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct OrderBody {
    /// Names in the zone. The first label may be `*`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// `txt` (the default) or `http`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub validation_method: Patch<String>,
}

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct VerificationBody {
    /// `txt` or `http`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub validation_method: Patch<String>,
}

/// How it is shown to the public authority that a name is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Verification {
    #[schema(value_type = String)]
    pub cert_pack_uuid: CertificateId,
    pub hostname: String,
    pub certificate_status: String,
    pub validation_method: String,
    pub verification_status: bool,
    pub verification_type: String,
    pub last_error: Option<String>,
}

/// How many can be asked for by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PackQuota {
    pub advanced: PackQuotaCount,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PackQuotaCount {
    pub allocated: u64,
    pub used: u64,
}

/// Who we are to the public authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AcmeAccount {
    pub directory: String,
    pub email: Option<String>,
    /// PEM: who the authority's own certificate is from, if this machine does not know it.
    pub roots: Option<String>,
    /// Whether the authority knows us yet.
    pub is_registered: bool,
    /// Whether all that zones need was asked for since.
    pub is_swept: bool,
    /// Before then nothing is asked of the authority, for nobody: it says so, or is not there.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub rests_until: Option<Timestamp>,
    /// Why it rests.
    pub rests_because: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub terms_of_service_agreed_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

/// What PUT takes: all of it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct AcmeAccountBody {
    /// The authority's directory; Let's Encrypt's if none is named.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub directory: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub email: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub roots: Patch<String>,
    /// That somebody has read the authority's terms, and agrees to them. Left out where the account is there already.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub terms_of_service_agreed: Patch<bool>,
}
