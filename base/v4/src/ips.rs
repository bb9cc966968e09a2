//! The addresses of the edge.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What names behind this edge answer with: the addresses that an origin's own firewall should let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ips {
    pub ipv4_cidrs: Vec<String>,
    pub ipv6_cidrs: Vec<String>,
    /// Changes when the lists do.
    pub etag: String,
}
