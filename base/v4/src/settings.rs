//! The settings of a zone. Which there are, and what they may be, is in `base/model`.

use bartizan_names::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Patch;

/// A setting as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    pub id: String,
    /// Text for most, a number for those that count.
    pub value: Value,
    /// What `value` is, of the one setting that the dialect has so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub enabled: Option<bool>,
    pub editable: bool,
    /// `null` until it is changed for the first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_on: Option<Timestamp>,
}

/// What PATCH of one setting takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SettingBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Value>)]
    pub value: Patch<Value>,
    /// The other spelling of `value` for what is on or off.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
}

/// What PATCH of several settings takes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SettingsBody {
    pub items: Vec<SettingPatch>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SettingPatch {
    pub id: String,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Value>)]
    pub value: Patch<Value>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
}

/// The settings of one zone as stored: only those that were ever changed, so that defaults can get better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredSettings {
    pub items: Vec<StoredSetting>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredSetting {
    pub id: String,
    pub value: Value,
    pub modified_on: Timestamp,
}
