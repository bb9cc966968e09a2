//! `/bartizan/firewall/test`: what the firewall makes of an address. Ours, not the dialect's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::AccessRule;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirewallTest {
    /// `allow`, `challenge` or `block`.
    pub verdict: String,
    /// Why, in a sentence.
    pub reason: String,
    /// All rules that match, the one that decides first.
    pub rules: Vec<AccessRule>,
    /// Two letters; `null` if nobody knows.
    pub country: Option<String>,
    /// The network, as `AS64496`; `null` if nobody knows.
    pub asn: Option<String>,
}
