//! DNSSEC of a zone: the dialect's one switch, and what this edge tells and keeps of it beside.

use std::collections::BTreeMap;
use std::str::FromStr;

use bartizan_names::{Timestamp, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Integer, Patch};

/// Makes closed choices, each with one spelling in requests, replies and what is stored.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:tt,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<$name, UnknownWord> {
                match word {
                    $($word => Ok($name::$variant),)*
                    _ => Err(UnknownWord),
                }
            }
        }
    )*};
}

/// A choice has no such word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord;

choices! {
    /// How DNSSEC of a zone is.
    DnssecStatus {
        Disabled = "disabled",
        /// Signed, and the parent has no DS record yet.
        Pending = "pending",
        Active = "active",
        /// Signed, until the parent's DS record is gone.
        PendingDisabled = "pending-disabled",
        /// The parent's DS records lead to no key of the zone, or a key does not open.
        Error = "error",
    }

    /// How far DNSSEC of a zone is.
    DnssecState {
        /// The zone is signed, and is to stay so.
        On = "on",
        /// It is signed, and the parent is asked to remove its DS records.
        Ending = "ending",
        /// It is not signed, although the parent has DS records: somebody wanted it so.
        Off = "off",
    }

    /// How it is said that something is not there.
    DnssecDenial {
        /// RFC 9824.
        Compact = "compact",
        BlackLies = "black-lies",
        Shotgun = "shotgun",
    }

    /// What a key signs.
    DnssecRole {
        Csk = "csk",
        Ksk = "ksk",
        Zsk = "zsk",
    }

    /// Where a key is in its life.
    DnssecStage {
        Incoming = "incoming",
        Active = "active",
        Outgoing = "outgoing",
    }

    /// How DS records get into a parent zone.
    DnssecWay {
        /// Somebody gives them to the registrar.
        Manual = "manual",
        /// The parent looks for CDS records (RFC 7344, RFC 8078).
        Cds = "cds",
        /// By a call of the registry (DSU 1.0).
        Dsu = "dsu",
    }
}

/// DNSSEC as the dialect has it. The facts of the key, and of the DS record that the parent needs, are null while the zone
/// is not signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dnssec {
    pub status: DnssecStatus,
    pub flags: Option<u16>,
    /// By its number, as text: `13` or `15`.
    pub algorithm: Option<String>,
    pub key_type: Option<String>,
    pub digest_type: Option<String>,
    pub digest_algorithm: Option<String>,
    pub digest: Option<String>,
    /// The whole DS record, for the registrar.
    pub ds: Option<String>,
    pub key_tag: Option<u16>,
    pub public_key: Option<String>,
    /// Always false, as the two below.
    pub dnssec_multi_signer: bool,
    pub dnssec_presigned: bool,
    pub dnssec_use_nsec3: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_on: Option<Timestamp>,
}

/// What PATCH takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub struct DnssecPatch {
    /// `active` or `disabled`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub status: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub dnssec_multi_signer: Patch<bool>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub dnssec_presigned: Patch<bool>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub dnssec_use_nsec3: Patch<bool>,
    /// Ours: turns DNSSEC off at once, whatever the parent has. Who validates does not find the zone then, until the
    /// parent's DS record is gone.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub force: Patch<bool>,
}

/// DNSSEC of a zone with all that this edge knows of it. Ours, not the dialect's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ZoneDnssec {
    #[schema(value_type = String)]
    pub zone_id: ZoneId,
    pub zone_name: String,
    pub status: DnssecStatus,
    /// What is waited for, or to be done, in words.
    pub next: String,
    /// When the next step is taken without anybody's help.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_on: Option<Timestamp>,
    /// How it is said that something is not there.
    pub denial: DnssecDenial,
    /// Days after which the keys are exchanged by themselves; 0 is never.
    pub ksk_days: u32,
    pub zsk_days: u32,
    pub keys: Vec<DnssecKey>,
    /// What the parent shall have, a line each: by SHA-256, as registrars ask for it first, and by SHA-384.
    pub ds: Vec<String>,
    pub parent: DnssecParent,
    /// How what is in `ds` gets there.
    pub registry: DnssecRegistry,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_on: Option<Timestamp>,
}

/// How the DS records of a zone get into its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnssecRegistry {
    /// The zone above whose way it is; null where none is set.
    pub name: Option<String>,
    pub way: DnssecWay,
    /// When they were sent last since this edge started, and why in vain.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_on: Option<Timestamp>,
    pub failure: Option<String>,
}

/// A key of a zone, without its secret half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnssecKey {
    pub key_tag: u16,
    pub role: DnssecRole,
    pub algorithm: u8,
    pub stage: DnssecStage,
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The whole DNSKEY record.
    pub dnskey: String,
}

/// What the servers of the parent zone said when they were asked last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnssecParent {
    /// Its DS records of the zone, as data: those that any of its servers has.
    pub ds: Vec<String>,
    /// Whether all its servers have the same; false as long as nobody was asked.
    pub agrees: bool,
    /// Since when it has been so.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it was asked last since this edge started, and what was wrong then.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_on: Option<Timestamp>,
    pub failure: Option<String>,
}

/// What this edge's own PATCH takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub struct ZoneDnssecPatch {
    /// `active` or `disabled`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub status: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub force: Patch<bool>,
    /// Of a zone that is not signed yet: 13 (the default) or 15.
    #[serde(default)]
    #[schema(value_type = Option<u8>)]
    pub algorithm: Patch<Integer>,
    /// Of a zone that is not signed yet: `csk` (the default: one key) or `split` (a KSK and a ZSK).
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub keys: Patch<String>,
    /// `compact` (the default), `black-lies` or `shotgun`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub denial: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub ksk_days: Patch<Integer>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub zsk_days: Patch<Integer>,
}

/// Which key is to be exchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub struct DnssecRollBody {
    /// `csk`, `ksk` or `zsk`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub key: Patch<String>,
}

/// DNSSEC of a zone as stored. There is none of a zone that is not signed, unless its parent has to be watched still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDnssec {
    pub state: DnssecState,
    pub denial: DnssecDenial,
    pub ksk_days: u32,
    pub zsk_days: u32,
    pub keys: Vec<StoredDnssecKey>,
    /// The secret halves, by the ids of the keys: sealed, and base64. The audit has none.
    #[serde(default)]
    pub sealed_keys: BTreeMap<String, String>,
    #[serde(default)]
    pub parent: StoredParent,
    /// When something is to be done to the keys; null if nothing is, or it is the parent's turn.
    #[serde(default)]
    pub due_on: Option<Timestamp>,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}

/// A key as stored. Its id is never used again in its zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDnssecKey {
    pub id: String,
    pub role: DnssecRole,
    pub algorithm: u8,
    /// As in the DNSKEY record: base64.
    pub public_key: String,
    pub stage: DnssecStage,
    pub since: Timestamp,
}

/// What the parent's servers were seen to have last. Written when that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredParent {
    /// The DS records that any of them has, and those that all have: as in a master file, the digest in one piece.
    #[serde(default)]
    pub any: Vec<String>,
    #[serde(default)]
    pub all: Vec<String>,
    /// Null: nobody was asked yet.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The longest TTL that a DS record was seen with, in seconds.
    #[serde(default)]
    pub ttl: u32,
    /// Whether a DS record was ever there.
    #[serde(default)]
    pub had_ds: bool,
}
