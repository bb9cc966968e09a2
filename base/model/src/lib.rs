//! Zones, records, settings, tunnels, access rules, applications and load balancers as values that can be served: parsed from `base/v4`,
//! never built from nonsense.
//!
//! What was sent is a `v4` shape; what is true is a value of this crate. Nobody checks it again. The stored documents of
//! records and applications are made here too ([`Record::parse_body`], [`Application::document`]), because their normal
//! form follows from what they mean.
//! No I/O, no clock, no randomness: ids and times are brought by the caller. Which code an API client sees for an error
//! is the API's matter; errors here carry the facts and point at the field.

mod access_rule;
mod app_error;
mod app_origin;
mod application;
mod balancing;
mod client_host;
mod fixed_settings;
mod pop;
mod record;
mod record_data;
mod settings;
mod tunnel;
mod txt;
mod user;
mod zone;

pub use access_rule::{
    AccessRule, AccessRuleError, NOTES_MAX, kind_of_target, parse_mode, parse_new_target, parse_target,
    target_configuration, target_of_kind,
};
pub use app_error::{AppError, OriginReason};
pub use app_origin::ORIGINS_MAX;
pub use application::{AppDnsType, Application, EDGE_IPS_MAX, EdgeIps};
pub use balancing::{
    Affinity, BalancingError, Codes, Cookie, LoadBalancer, Monitor, MonitorKind, NODES_MAX, NodeChoice, NodeTarget,
    Pool, PoolNode, SameSite, Steering,
};
pub use client_host::{ClientHost, ClientHostError};
pub use fixed_settings::FixedSetting;
pub use pop::{Pop, PopError};
pub use record::{COMMENT_MAX, Record, RecordError, Stamp, TAGS_MAX, TTL_MAX, TTL_MIN, Ttl, merge, of_the_edge};
pub use record_data::{Composite, DataError, Loc, RecordData};
pub use settings::{
    SettingError, SettingNote, SettingSkipped, change_setting, check_settings, parse_setting, read_settings,
    show_setting, strict_settings,
};
pub use tunnel::{INGRESS_MAX, TUNNEL_DOMAIN, Tunnel, TunnelConfig, TunnelError, tunnel_name};
pub use txt::{TXT_MAX, txt_spellings};
pub use user::{Email, EmailError, PASSWORD_MAX, PASSWORD_MIN, PasswordError, check_password};
pub use zone::{Zone, ZoneError};
