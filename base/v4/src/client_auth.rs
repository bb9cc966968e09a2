//! Clients that are known by a certificate: authorities, what hosts want, and certificates that the edge itself issues.

use bartizan_names::{ClientCertificateId, ClientRootId, Timestamp, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Integer, Patch};

/// An authority as stored: of a zone, or of an account for all its zones. Its certificates never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredClientRoot {
    pub id: ClientRootId,
    pub name: String,
    /// PEM, one or several.
    pub certificates: String,
    pub issuer: String,
    pub serial_number: String,
    pub signature: String,
    /// SHA-256, in hexadecimal digits.
    pub fingerprint: String,
    /// The first of them that runs out.
    pub expires_on: Timestamp,
    /// The hosts that believe it, which say so themselves too.
    pub associated_hostnames: Vec<String>,
    /// What it has revoked (RFC 5280 §5), in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<StoredCrl>,
    /// When that was issued: all that the audit has of a list, which may be long and come each hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_issued_on: Option<Timestamp>,
    /// Where newer lists are fetched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_url: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl StoredClientRoot {
    pub fn set_crl(&mut self, crl: Option<StoredCrl>) {
        self.crl_issued_on = crl.as_ref().map(|crl| crl.issued_on);
        self.crl = crl;
    }
}

/// A list of revoked certificates, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCrl {
    pub pem: String,
    pub count: u64,
    pub issued_on: Timestamp,
    pub next_on: Option<Timestamp>,
}

/// How far it is to fetch lists for an authority. Apart from that, so that it does not change whenever there is nothing new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCrlFetch {
    pub url: String,
    pub next_on: Timestamp,
    /// The last good one.
    pub fetched_on: Option<Timestamp>,
    /// One after the other, up to now.
    pub failures: u32,
    pub failing_since: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// An authority as `access/certificates` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessCertificate {
    #[schema(value_type = String)]
    pub id: ClientRootId,
    pub name: String,
    /// The hosts that believe it.
    pub associated_hostnames: Vec<String>,
    /// SHA-256, in hexadecimal digits.
    pub fingerprint: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    pub bartizan: AccessCertificateExtension,
}

/// What this edge adds to the dialect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessCertificateExtension {
    pub issuer: String,
    pub serial_number: String,
    /// None: there is no list of revoked certificates.
    pub crl: Option<Crl>,
    /// None: lists are not fetched.
    pub crl_source: Option<CrlSource>,
}

/// What is known of a list of revoked certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Crl {
    /// How many are on it.
    pub count: u64,
    #[schema(value_type = String, format = DateTime)]
    pub issued_on: Timestamp,
    /// When its authority said that there would be a newer one. It stays in force until that is here.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_on: Option<Timestamp>,
}

/// Where lists of revoked certificates are fetched from, and how that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CrlSource {
    pub url: String,
    /// `pending`, `ok` or `failing`. The last good list stays in force.
    pub state: String,
    /// When a good one was there last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub fetched_on: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try_on: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// What POST and PUT take.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct AccessCertificateBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// PEM: certificates of authorities. They do not change: for others, make another one.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub certificate: Patch<String>,
    /// Hosts in the zone, or in zones of the account. The first label may be `*`.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<String>>)]
    pub associated_hostnames: Patch<Vec<String>>,
    /// PEM: a list of what the authority has revoked, instead of the last one.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub crl: Patch<String>,
    /// Where newer lists are fetched from: `http://` or `https://`. Null: nowhere.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub crl_url: Patch<String>,
}

/// Which hosts send the certificate itself to their origins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessHostSettings {
    pub hostname: String,
    /// Always false: there is one network.
    #[serde(default)]
    pub china_network: bool,
    pub client_certificate_forwarding: bool,
}

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct AccessHostSettingsBody {
    #[serde(default)]
    pub settings: Vec<AccessHostSettings>,
}

/// An authority as `mtls_certificates` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MtlsCertificate {
    #[schema(value_type = String)]
    pub id: ClientRootId,
    pub name: String,
    /// Always true: certificates of authorities are kept here.
    pub ca: bool,
    pub certificates: String,
    pub issuer: String,
    pub serial_number: String,
    pub signature: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_on: Timestamp,
}

/// What POST takes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct MtlsCertificateBody {
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub ca: Patch<bool>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub certificates: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub private_key: Patch<String>,
}

/// Who uses an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MtlsAssociation {
    pub service: String,
    pub status: String,
}

/// Which hosts of a zone believe an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HostnameAssociations {
    pub hostnames: Vec<String>,
}

/// Without an id: the zone's own authority.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct HostnameAssociationsBody {
    /// All of them: who is not here believes it no more.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub hostnames: Patch<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub mtls_certificate_id: Patch<String>,
}

/// What a host wants to know of its clients, as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientHost {
    pub hostname: String,
    /// `off`, `report` or `enforce`.
    pub mode: String,
    /// The authorities that it believes: of the zone, or of its account.
    #[schema(value_type = Vec<String>)]
    pub authorities: Vec<ClientRootId>,
    /// Whether it believes the zone's own authority.
    pub managed: bool,
    /// What is answered to who is refused; null: a page of the edge.
    pub refusal: Option<ClientRefusal>,
    /// What the origin is told of the certificate, beside `Bartizan-Cert-Status`, `-Reason` and `-SKI`.
    pub headers: Vec<ToldHeader>,
    /// Whether the origin gets the certificate itself (RFC 9440).
    pub client_certificate_forwarding: bool,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientRefusal {
    /// `application/json` or `text/html`.
    #[serde(default)]
    pub content_type: String,
    #[serde(default)]
    pub body: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToldHeader {
    #[serde(default)]
    pub name: String,
    /// `status`, `reason`, `ski`, `serial`, `subject`, `issuer`, `common_name`, `organization`, `organizational_unit`,
    /// `country`, `san`, `not_before`, `not_after`, `fingerprint_sha256` or `pem`.
    #[serde(default)]
    pub value: String,
}

/// What PUT and PATCH take. Which authorities a host believes is said where these are.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct ClientHostBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub mode: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<ClientRefusal>)]
    pub refusal: Patch<ClientRefusal>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<ToldHeader>>)]
    pub headers: Patch<Vec<ToldHeader>>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub client_certificate_forwarding: Patch<bool>,
}

/// The authority of a zone that issues certificates to clients, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredClientAuthority {
    pub id: ClientRootId,
    pub name: String,
    pub certificate: String,
    /// Base64 of the sealed key, in PKCS#8.
    pub sealed_key: String,
    pub expires_on: Timestamp,
    pub created_on: Timestamp,
}

/// A certificate that was issued to a client, as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientCertificate {
    #[schema(value_type = String)]
    pub id: ClientCertificateId,
    pub certificate: String,
    pub certificate_authority: IssuedBy,
    pub common_name: String,
    pub organization: String,
    pub organizational_unit: String,
    pub country: String,
    pub state: String,
    pub location: String,
    pub csr: String,
    pub fingerprint_sha256: String,
    pub serial_number: String,
    pub signature: String,
    pub ski: String,
    /// `active` or `revoked`: a change is in force when it is answered.
    pub status: String,
    pub validity_days: u32,
    #[schema(value_type = String, format = DateTime)]
    pub issued_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub expires_on: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedBy {
    #[schema(value_type = String)]
    pub id: ClientRootId,
    pub name: String,
}

/// What POST takes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct ClientCertificateBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub csr: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub validity_days: Patch<Integer>,
}

/// That a certificate of the zone's own authority is revoked, by its number. Apart from the certificate, since a start reads
/// all of these and none of those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRevocation {
    pub zone_id: ZoneId,
    pub client_certificate: ClientCertificateId,
    pub revoked_on: Timestamp,
}
