//! Certificates that a zone's own authority has issued to clients.

use bartizan_names::ZoneId;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::filter::Condition;
use super::{Listed, Page};
use crate::change::Entry;
use crate::error::ReadError;
use crate::listing::{Column, Listing, text, time};

pub(crate) const CLIENT_CERTIFICATES: Listing = Listing {
    table: "client_certificate",
    columns: &[
        Column::text("zone", |key, _| Some(key.zone_id()?.to_string().into())),
        Column::text("status", |_, certificate| Some(text(certificate, "/status")?.to_owned().into())),
        Column::number("issued_on", |_, certificate| time(certificate, "/issued_on").filter(|at| *at != Value::Null)),
    ],
    indexes: &[
        "client_certificate_issued ON client_certificate (zone, issued_on)",
        "client_certificate_status ON client_certificate (zone, status, issued_on)",
    ],
    added: None,
};

/// Which of them, and which page.
#[derive(Clone, Debug)]
pub struct ClientCertificateQuery {
    pub zone: ZoneId,
    /// `active` or `revoked`; none: all.
    pub status: Option<String>,
    /// From 1.
    pub page: u32,
    pub per_page: u32,
}

/// The newest first.
pub(crate) fn client_certificates(
    connection: &Connection,
    query: &ClientCertificateQuery,
) -> Result<Page<Entry>, ReadError> {
    let listed = listed(query);
    listed.page(connection, listed.total(connection)?)
}

pub(super) fn listed(query: &ClientCertificateQuery) -> Listed {
    let zone = query.zone.to_string();
    let condition = match &query.status {
        Some(status) => Condition::new("zone = ? AND status = ?", [zone.into(), status.clone().into()]),
        None => Condition::equal("zone", zone),
    };
    Listed {
        table: CLIENT_CERTIFICATES.table,
        condition,
        order: "issued_on DESC, id DESC".to_owned(),
        page: query.page,
        per_page: query.per_page,
    }
}
