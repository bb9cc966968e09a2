//! Objects by more than their keys: pages of listings.

use bartizan_names::{AccountId, Name, PoolId, RecordId, RecordType, Timestamp, TunnelId, ZoneId, ZoneName};

use super::Snapshot;
use crate::change::Entry;
use crate::error::ReadError;
use crate::key::{Key, Scope};
use crate::kind::Kind;
use crate::query::{
    self, AccessRuleQuery, AcmeDue, AcmeQuery, ClientCertificateQuery, DnssecQuery, InZones, Page, RecordQuery,
    TunnelQuery, TunnelRecordQuery, ZoneQuery,
};

impl Snapshot {
    /// A page of the records of a zone.
    pub fn records(&self, query: &RecordQuery) -> Result<Page<Entry>, ReadError> {
        self.look(|connection| query::records(connection, &self.readers.anchors, query))
    }

    /// All records of one owner name, in the order of their ids.
    pub fn records_at(&self, zone: ZoneId, owner: &Name) -> Result<Vec<Entry>, ReadError> {
        self.look(|connection| query::records_at(connection, zone, owner))
    }

    /// The records of one type in a zone and their owner names, at most `max` of them.
    pub fn records_of_type(
        &self,
        zone: ZoneId,
        rtype: RecordType,
        max: u32,
    ) -> Result<Vec<(RecordId, Name)>, ReadError> {
        let owners = self.look(|connection| query::owners_of_type(connection, zone, &rtype.to_string(), max))?;
        Ok(owners.into_iter().filter_map(|(id, owner)| Some((id, Name::parse(&owner).ok()?))).collect())
    }

    /// The owner name of a record, also of one whose document cannot be read; none if it is not listed.
    pub fn record_owner(&self, zone: ZoneId, id: RecordId) -> Result<Option<Name>, ReadError> {
        let owner = self.look(|connection| query::owner_of(connection, &Key::record(zone, id)))?;
        Ok(owner.and_then(|owner| Name::parse(&owner).ok()))
    }

    /// A page of zones.
    pub fn zones(&self, query: &ZoneQuery) -> Result<Page<Entry>, ReadError> {
        self.look(|connection| query::zones(connection, query))
    }

    /// The name of a zone below `name` that is another account's than `account`, if there is any.
    pub fn zone_below(&self, name: &ZoneName, account: AccountId) -> Result<Option<String>, ReadError> {
        self.look(|connection| query::zone_below(connection, &name.to_string(), account))
    }

    /// A page of tunnels.
    pub fn tunnels(&self, query: &TunnelQuery) -> Result<Page<Entry>, ReadError> {
        self.look(|connection| query::tunnels(connection, query))
    }

    /// The keys of a piece of the records that lead to a tunnel, in all zones.
    pub fn tunnel_records(&self, query: &TunnelRecordQuery) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::tunnel_records(connection, query))
    }

    /// The keys of up to `limit` load balancers and applications that lead to a pool, of all zones.
    pub fn pool_users(&self, pool: PoolId, limit: usize) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::pool_users(connection, pool, limit))
    }

    /// Whether there is such a tunnel, in whichever account; deleted ones are there too. A look for each account.
    pub fn has_tunnel(&self, tunnel: TunnelId) -> Result<bool, ReadError> {
        self.look(|connection| {
            let mut accounts = connection.prepare_cached("SELECT key FROM object WHERE kind = ?")?;
            let mut one = connection.prepare_cached("SELECT 1 FROM object WHERE key = ?")?;
            let mut rows = accounts.query([Kind::Account.code()])?;
            while let Some(row) = rows.next()? {
                let Ok(Scope::Account(account)) =
                    Key::stored(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?).map(|key| key.scope())
                else {
                    continue;
                };
                if one.exists([Key::tunnel(account, tunnel).as_str()])? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// The keys of certificates that `issuer` did not issue, or that are to be renewed before `at`.
    pub fn certificates_due(&self, issuer: &str, at: Timestamp) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::due(connection, issuer, at))
    }

    /// The keys of up to `limit` certificates of ACME to which somebody has to look by then.
    pub fn acme_due(&self, which: AcmeDue, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::acme_due(connection, which, at, limit))
    }

    /// The keys of up to `limit` certificates of ACME whose end, by then, nobody has noted.
    pub fn acme_ended(&self, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::acme_ended(connection, at, limit))
    }

    /// How many certificates of ACME somebody asked for by name in a zone.
    pub fn acme_ordered(&self, zone: ZoneId) -> Result<u64, ReadError> {
        self.look(|connection| query::acme_ordered(connection, zone))
    }

    /// The same of certificates that people brought.
    pub fn custom_due(&self, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::custom_due(connection, at, limit))
    }

    /// The keys of a piece of the certificates of ACME, in the order of their zones and ids.
    pub fn acme_certificates(&self, query: &AcmeQuery) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::acme(connection, query))
    }

    /// The same of those in some zones, at the cost of what these have.
    pub fn acme_certificates_in(&self, query: &AcmeQuery, zones: &InZones) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::acme_in(connection, query, zones))
    }

    /// The keys of up to `limit` objects of zones whose DNSSEC has something to be done by then.
    pub fn dnssec_due(&self, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::dnssec_due(connection, at, limit))
    }

    /// The keys of a piece of the zones with DNSSEC, in the order of their ids.
    pub fn dnssec(&self, query: &DnssecQuery) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::dnssec(connection, query))
    }

    /// A page of the certificates that a zone's own authority has issued to clients.
    pub fn client_certificates(&self, query: &ClientCertificateQuery) -> Result<Page<Entry>, ReadError> {
        self.look(|connection| query::client_certificates(connection, query))
    }

    /// How many certificates there are of these.
    pub fn client_certificates_in(&self, zone: ZoneId) -> Result<u64, ReadError> {
        self.look(|connection| query::client_certificates_in(connection, zone, None))
    }

    /// The keys of up to `limit` lists of revoked certificates that are to be fetched by then, behind so many that are due
    /// for longer.
    pub fn client_crls_due(&self, at: Timestamp, behind: usize, limit: usize) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::client_crls_due(connection, at, behind, limit))
    }

    /// The keys of up to `limit` of those that could not be fetched since then, or for longer.
    pub fn client_crls_failing(&self, since: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::client_crls_failing(connection, since, limit))
    }

    /// The keys of up to `limit` of what zones have for TLS with their origins and what has run out by then: the first one first.
    pub fn origin_tls_ending(&self, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::origin_tls_ending(connection, at, limit))
    }

    /// A page of the access rules of a scope.
    pub fn access_rules(&self, query: &AccessRuleQuery) -> Result<Page<Entry>, ReadError> {
        self.look(|connection| query::access_rules(connection, query))
    }
}
