//! Zones, records, settings and tunnels as values that can be served: parsed from `base/v4`, never built from nonsense.
//!
//! What was sent is a `v4` shape; what is true is a value of this crate. Nobody checks it again. The stored document of a
//! record is made here too ([`Record::parse_body`]), because its normal form follows from what it means.
//! No I/O, no clock, no randomness: ids and times are brought by the caller. Which code an API client sees for an error
//! is the API's matter; errors here carry the facts and point at the field.

mod record;
mod record_data;
mod settings;
mod tunnel;
mod txt;
mod zone;

pub use record::{COMMENT_MAX, Record, RecordError, Stamp, TAGS_MAX, TTL_MAX, TTL_MIN, Ttl, merge};
pub use record_data::{DataError, RecordData};
pub use settings::{SettingError, SettingId, SettingNote, Settings, Ssl};
pub use tunnel::{INGRESS_MAX, TUNNEL_DOMAIN, Tunnel, TunnelConfig, TunnelError, tunnel_name};
pub use txt::TXT_MAX;
pub use zone::{Zone, ZoneError};
