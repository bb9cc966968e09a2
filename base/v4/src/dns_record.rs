//! DNS records.

use std::borrow::Cow;

use bartizan_names::{RecordId, Timestamp, ZoneId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Integer, Patch, patch};

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
    /// Of MX and SRV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    /// Of SRV and CAA: the data by field, exactly the fields of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    pub proxiable: bool,
    pub proxied: bool,
    /// Seconds; 1 is automatic.
    pub ttl: u32,
    pub settings: RecordSettings,
    pub meta: Meta,
    pub comment: Option<String>,
    pub tags: Vec<String>,
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
    #[serde(default)]
    pub data: Option<Data>,
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
            data: record.data.clone(),
            proxied: record.proxied,
            ttl: record.ttl,
            bartizan: record.bartizan,
        }
    }
}

/// The data of a record by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Data {
    Srv(SrvData),
    Caa(CaaData),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SrvData {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaaData {
    pub flags: u8,
    pub tag: String,
    pub value: String,
}

/// No setting of a single record is enforced yet, so none is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordSettings {}

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
    #[schema(value_type = Option<DataBody>)]
    pub data: Patch<DataBody>,
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
    #[schema(value_type = Option<Extension>)]
    pub bartizan: Patch<ExtensionBody>,
}

/// The fields of all types together; those that the record's type does not have are ignored. What a value must be is for
/// the type to say: the flags of CAA are a number, those of NAPTR a text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DataBody {
    /// `service`, `proto` and `name` are the old way to say the name of an SRV record.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub service: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub proto: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub name: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u16>)]
    pub priority: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u16>)]
    pub weight: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u16>)]
    pub port: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub target: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u8>)]
    pub flags: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub tag: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub value: Patch<Value>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExtensionBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u16>)]
    pub origin_port: Patch<Integer>,
}
