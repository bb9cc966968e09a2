//! DNS records.

use std::borrow::Cow;

use bartizan_names::{RecordId, Timestamp, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Integer, Patch, patch};

mod data;

pub use data::{Data, DataFields};

/// A record as sent and stored, with every field in its normal form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    #[schema(value_type = String)]
    pub id: RecordId,
    #[schema(value_type = String)]
    pub zone_id: ZoneId,
    pub zone_name: String,
    /// The whole name, without a final dot.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// The data as text. Targets have no final dot; TXT is the text as it was given.
    pub content: String,
    /// Of MX, SRV and URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    /// The data by field, exactly the fields of the type. A, AAAA, CNAME, MX, NS, OPENPGPKEY, PTR and TXT have `content`
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DataFields>)]
    pub data: Option<Data>,
    pub proxiable: bool,
    pub proxied: bool,
    /// Seconds; 1 is automatic.
    pub ttl: u32,
    pub settings: RecordSettings,
    pub meta: Meta,
    pub comment: Option<String>,
    pub tags: Vec<String>,
    /// Since when the comment is as it is, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub comment_modified_on: Option<Timestamp>,
    /// Since when the tags are as they are, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub tags_modified_on: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bartizan: Option<Extension>,
}

/// What of a stored [`Record`] is served. A start reads a million of them, so nothing is read that nobody asks for, and
/// texts stay where they are.
#[derive(Clone, Debug, Deserialize)]
pub struct ServedRecord<'d> {
    pub id: RecordId,
    pub zone_id: ZoneId,
    #[serde(borrow)]
    pub name: Cow<'d, str>,
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'d, str>,
    #[serde(borrow)]
    pub content: Cow<'d, str>,
    #[serde(default)]
    pub priority: Option<u16>,
    pub proxied: bool,
    pub ttl: u32,
    #[serde(default)]
    pub bartizan: Option<Extension>,
}

impl<'d> From<&'d Record> for ServedRecord<'d> {
    fn from(record: &'d Record) -> ServedRecord<'d> {
        ServedRecord {
            id: record.id,
            zone_id: record.zone_id,
            name: Cow::Borrowed(&record.name),
            kind: Cow::Borrowed(&record.kind),
            content: Cow::Borrowed(&record.content),
            priority: record.priority,
            proxied: record.proxied,
            ttl: record.ttl,
            bartizan: record.bartizan,
        }
    }
}

/// Settings of a single record, as far as they were given. All are off here: none of them is enforced, so none is taken
/// that would have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordSettings {
    /// A proxied name has addresses of version 4 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_only: Option<bool>,
    /// A proxied name has addresses of version 6 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_only: Option<bool>,
    /// A CNAME is answered with what it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flatten_cname: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordMeta)]
pub struct Meta {
    pub auto_added: bool,
    pub managed_by_apps: bool,
    /// Whether a route to a tunnel made the record.
    pub managed_by_argo_tunnel: bool,
}

/// What this edge adds to the dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Extension {
    /// The port on which a proxied record's origin listens, instead of the scheme's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_port: Option<u16>,
}

/// What POST, PUT and PATCH take. Fields that only a reply has are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordBody {
    /// Of a patch or a put in a batch: which record. Elsewhere the path says it.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub id: Patch<serde_json::Value>,
    /// Whole or relative to the zone, with or without a final dot; `@` is the zone itself.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 255)]
    pub name: Patch<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub kind: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub content: Patch<String>,
    /// Wins over `content`.
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<DataFields>)]
    pub data: Patch<Data>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u16>)]
    pub priority: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub ttl: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub proxied: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub comment: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<String>>)]
    pub tags: Patch<Vec<String>>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<RecordSettings>)]
    pub settings: Patch<RecordSettings>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Extension>)]
    pub bartizan: Patch<ExtensionBody>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExtensionBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u16>)]
    pub origin_port: Patch<Integer>,
}

/// What POST `/zones/{zone_id}/dns_records/batch` takes: all of it in this order, or nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = RecordBatchBody)]
pub struct BatchBody {
    pub deletes: Option<Vec<BatchDelete>>,
    /// As PATCH takes them, each with the record's `id`.
    pub patches: Option<Vec<RecordBody>>,
    /// As PUT takes them, each with the record's `id`.
    pub puts: Option<Vec<RecordBody>>,
    pub posts: Option<Vec<RecordBody>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchDelete {
    #[schema(value_type = Option<String>)]
    pub id: Patch<serde_json::Value>,
}

/// The records that a batch deleted, as they were, and those that it changed and made, each list in the order of the body.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = RecordBatch)]
pub struct Batch {
    pub deletes: Vec<Record>,
    pub patches: Vec<Record>,
    pub puts: Vec<Record>,
    pub posts: Vec<Record>,
}
