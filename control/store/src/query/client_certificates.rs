//! Certificates that a zone's own authority has issued to clients.

use bartizan_names::ZoneId;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::filter::Condition;
use super::{Listed, Page};
use crate::change::Entry;
use crate::error::ReadError;
use crate::listing::{Column, Listing, Row, text, time};

pub(crate) const CLIENT_CERTIFICATES: Listing = Listing {
    table: "client_certificate",
    columns: &[
        Column::text("zone", |key, _| Some(key.zone_id()?.to_string().into())),
        Column::text("status", |_, certificate| Some(text(certificate, "/status")?.to_owned().into())),
        Column::text("common_name", |_, certificate| {
            Some(text(certificate, "/common_name").unwrap_or_default().to_owned().into())
        }),
        Column::number("issued_on", |_, certificate| time(certificate, "/issued_on").filter(|at| *at != Value::Null)),
    ],
    indexes: &[
        "client_certificate_issued ON client_certificate (zone, issued_on)",
        "client_certificate_status ON client_certificate (zone, status, issued_on)",
        "client_certificate_name ON client_certificate (zone, common_name, issued_on)",
    ],
    added: Some(added),
};

/// Their numbers, by how they are, are kept beside them (`schema/listings.sql`): a page of a hundred thousand counts none.
fn added(connection: &Connection, row: &Row, _: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO client_certificate_count VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1";
    connection.prepare_cached(sql)?.execute((row.value("zone"), row.value("status"))).map(drop)
}

/// Which of them, and which page.
#[derive(Clone, Debug)]
pub struct ClientCertificateQuery {
    pub zone: ZoneId,
    /// `active` or `revoked`; none: all.
    pub status: Option<String>,
    /// Those that say this of whom they are for, letter by letter.
    pub common_name: Option<String>,
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
    let total = match query.common_name {
        // Of one name there are few.
        Some(_) => listed.total(connection)?,
        None => client_certificates_in(connection, query.zone, query.status.as_deref())?,
    };
    listed.page(connection, total)
}

/// How many there are in a zone, or of those with this status.
pub(crate) fn client_certificates_in(
    connection: &Connection,
    zone: ZoneId,
    status: Option<&str>,
) -> Result<u64, ReadError> {
    let sql =
        "SELECT coalesce(sum(count), 0) FROM client_certificate_count WHERE zone = ?1 AND (?2 IS NULL OR status = ?2)";
    let count: i64 = connection.prepare_cached(sql)?.query_row((zone.to_string(), status), |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

pub(super) fn listed(query: &ClientCertificateQuery) -> Listed {
    let zone = query.zone.to_string();
    let columns = [("status", &query.status), ("common_name", &query.common_name)];
    let wanted = columns.into_iter().filter_map(|(column, value)| Some(Condition::equal(column, value.clone()?)));
    let condition = wanted.fold(Condition::equal("zone", zone), Condition::and);
    Listed {
        table: CLIENT_CERTIFICATES.table,
        condition,
        order: "issued_on DESC, id DESC".to_owned(),
        page: query.page,
        per_page: query.per_page,
    }
}
