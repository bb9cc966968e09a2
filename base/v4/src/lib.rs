//! The API's shapes as they are sent and stored: the v4 dialect. One file a resource; nothing is checked here.
//!
//! The order of a struct's fields is the order on the wire. Clients that search the text of a reply rely on it: `id`
//! comes first and `name` second, so never answer from a map. What arrives ([`RecordBody`] and the other bodies) takes
//! numbers as numbers or as text, tells "left out" from `null` ([`Patch`]), and ignores fields that it does not know.
//!
//! Documents that are kept in the store are the ones that are sent, except where a secret is involved
//! ([`StoredTunnel`], [`StoredUser`], [`StoredToken`],
//! [`StoredSession`], [`StoredDnssec`]), for the settings of a zone ([`StoredSettings`]), and where a reply
//! has more in it than was asked for ([`StoredAccessRule`], [`StoredApp`]). What `stored.rs` has is never sent.

pub mod access_rule;
pub mod account;
pub mod analytics;
pub mod audit_log;
pub mod certificate;
pub mod client_auth;
pub mod clock;
pub mod delegation;
pub mod dns_import;
pub mod dns_record;
pub mod dns_trace;
pub mod dnssec;
mod edge;
mod envelope;
pub mod firewall;
pub mod http_trace;
mod integer;
mod ips;
pub mod live;
pub mod load_balancing;
pub mod origin_client;
mod page_rule;
mod patch;
pub mod phishing;
mod pop;
pub mod registry;
pub mod session;
pub mod settings;
pub mod spectrum;
mod status;
mod stored;
pub mod token;
pub mod tunnel;
pub mod user;
pub mod zone;
pub mod zone_facts;

pub use access_rule::{AccessRule, AccessRuleBody, StoredAccessRule, StoredRuleScope};
pub use account::{Account, AccountRef, AccountSettings, Membership, StoredMembership};
pub use dns_record::{Record, RecordBody};
pub use dnssec::{Dnssec, DnssecPatch, StoredDnssec, ZoneDnssec, ZoneDnssecPatch};
pub use edge::{Edge, EdgePorts, EdgeProcess};
pub use envelope::{Code, Deleted, Envelope, ErrorSource, Failure, Message, Problem, ResultInfo};
pub use firewall::FirewallTest;
pub use integer::Integer;
pub use ips::Ips;
pub use load_balancing::{LoadBalancer, LoadBalancerBody, Monitor, MonitorBody, Pool, PoolBody};
pub use page_rule::PageRule;
pub use patch::Patch;
pub use pop::{Pop, PopBody};
pub use session::{LoginCode, LoginCodeBody, LoginCodeOwner, Session, SessionBody, StoredSession};
pub use settings::{Setting, SettingBody, SettingPatch, SettingsBody, StoredSetting, StoredSettings};
pub use spectrum::{App, AppBody, StoredApp};
pub use status::{Status, StatusAudit, StatusProblem};
pub use stored::{StoredAddress, StoredAppRef, StoredHolder, StoredImport, StoredName, StoredSlot};
pub use token::{Condition, ResourceGrant, Resources, StoredPolicy, StoredToken, TokenBody, TokenVerification};
pub use tunnel::{
    Connection, Connector, RouteBody, RouteResult, StoredTunnel, Tunnel, TunnelBody, TunnelConfiguration,
    TunnelConfigurationBody,
};
pub use user::{Organization, StoredUser, User, UserStatus};
pub use zone::{Zone, ZoneBody, ZonePatch};
