//! Page rules, of which a zone has none here: what the document says of the list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PageRule {
    pub id: String,
}
