//! The publisher: what is in force now, and how the next change gets there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, mpsc};
use std::thread;

use bartizan_authority::{Edit as ZonesEdit, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_certs::{Document as CertificateDocument, Purpose};
use bartizan_firewall::{Edit as FirewallEdit, Firewall};
use bartizan_model::{AccessRule, Application, Record, Settings, Tunnel, TunnelConfig, Zone};
use bartizan_names::{AccountId, AppId, CertificateId, Name, RecordType, RuleId, TunnelId, ZoneId};
use bartizan_routes::{
    AppEdit, Apps, Edit as RoutesEdit, Pools, Routes, Site, SiteNumber, Ssl, TunnelConfiguration, Tunnels, ZoneSettings,
};
use bartizan_seal::Key as SealKey;
use bartizan_store::{Entry, Filter, Key, Kind, Prefix, ReadError, Rev, Scope, Snapshot, Store, TailError};
use bartizan_tls::{Certificate, Certificates, CertificatesEdit, CertifiedKey};

use crate::bundle::Bundle;
use crate::directory::Directory;
use crate::{app, name};

/// What a zone's serial is counted from: the form of the hosted zones of old (`2020742566`, requirement DNS-5), to
/// which the revision of the zone's last change is added. Wraps as serials do (RFC 1982).
const SERIAL_BASE: u32 = 2_020_000_000;

/// Changes read from the log in one go. A step through more is taken in several, each a bundle of its own.
const CHANGES_MAX: usize = 4_096;

/// Owner names read from the store in one go.
const NAMES_PAGE: usize = 10_000;

/// Records that one thread hands to the next at a start, and how many such pieces may wait: some megabytes in all.
const PIECE_RECORDS: usize = 1_024;
const PIECES_MAX: usize = 8;

/// Who answers for the zones, in the SOA's second field: `dns.` and the domain of the first name server.
const RNAME_LABEL: &[u8] = b"dns";

/// Why no bundle could be built. What is in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the store cannot be read")]
    Read(#[from] ReadError),
    #[error("the change log cannot be read")]
    Tail(#[source] TailError),
}

/// Follows the store and builds bundles. One a process.
pub struct Publisher {
    store: Store,
    seal: SealKey,
    /// This PoP's, for the names of applications.
    pools: Pools,
    applied: Rev,
    zones: HashMap<ZoneId, ServedZone>,
    directory: Directory,
    /// For visitors.
    certificates: Certificates,
    /// For connectors. Of several the one with the greatest id is used.
    tunnel_certificates: BTreeMap<CertificateId, CertifiedKey>,
    tunnels: Tunnels,
    /// Which applications a name leads to.
    apps_of: BTreeMap<(ZoneId, Name), BTreeSet<AppId>>,
    authority: Zones,
    routes: Routes,
    apps: Apps,
    firewall: Firewall,
    bundle: Bundle,
}

/// The addresses of a name that come from no record.
enum GivenAddresses {
    None,
    /// Those of the applications at it, which stand beside no address record.
    Apps(Vec<RecordSet>),
    /// This edge's own, because zones name it as their server; unless users said where it is.
    Pop,
}

struct ServedZone {
    zone: Zone,
    settings: ZoneSettings,
    /// By which its hosts refer to it.
    site: SiteNumber,
}

/// Which units a run of changes touched.
#[derive(Default)]
struct Touched {
    zones: BTreeSet<ZoneId>,
    settings: BTreeSet<ZoneId>,
    names: BTreeSet<(ZoneId, Name)>,
    certificates: BTreeSet<(Scope, CertificateId)>,
    tunnels: BTreeSet<(AccountId, TunnelId)>,
    apps: BTreeSet<(ZoneId, AppId)>,
    rules: BTreeSet<(Scope, RuleId)>,
}

impl Touched {
    fn note(&mut self, key: &Key) {
        match (key.kind(), key.scope()) {
            (Kind::Zone, Scope::Zone(zone)) => drop(self.zones.insert(zone)),
            (Kind::Settings, Scope::Zone(zone)) => drop(self.settings.insert(zone)),
            (Kind::Name, Scope::Zone(zone)) => self.names.extend(key.id_as().map(|owner| (zone, owner))),
            (Kind::Certificate, scope) => self.certificates.extend(key.id_as().map(|id| (scope, id))),
            (Kind::Tunnel | Kind::TunnelConfig, Scope::Account(account)) => {
                self.tunnels.extend(key.id_as().map(|id| (account, id)));
            }
            (Kind::App, Scope::Zone(zone)) => self.apps.extend(key.id_as().map(|id| (zone, id))),
            (Kind::AccessRule, scope) => self.rules.extend(key.id_as().map(|id| (scope, id))),
            // A record is part of its owner's unit; the rest is not served.
            _ => {}
        }
    }
}

impl Publisher {
    /// Reads the whole state and builds the first bundle.
    pub fn load(store: Store, seal: SealKey, pools: Pools) -> Result<Publisher, PublishError> {
        let snapshot = store.read()?;
        let mut publisher = Publisher {
            store,
            seal,
            pools,
            applied: snapshot.head(),
            zones: HashMap::new(),
            directory: Directory::default(),
            certificates: Certificates::with_seed(secret_seed()),
            tunnel_certificates: BTreeMap::new(),
            tunnels: Tunnels::default(),
            authority: Zones::with_seed(secret_seed()),
            routes: Routes::with_seed(secret_seed()),
            apps_of: BTreeMap::new(),
            apps: Apps::with_seed(secret_seed()),
            firewall: Firewall::empty(),
            bundle: Bundle {
                number: 0,
                zones: Zones::empty(),
                routes: Routes::empty(),
                apps: Apps::empty(),
                firewall: Firewall::empty(),
                certificate_generation: 0,
                certificates: Certificates::default(),
                tunnel_certificate: None,
                tunnels: Tunnels::default(),
            },
        };
        let mut touched = Touched::default();
        let units = Filter::Kinds(vec![Kind::Zone, Kind::Certificate, Kind::Tunnel, Kind::App, Kind::AccessRule]);
        snapshot.for_each(&units, &mut |entry| touched.note(&entry.key))?;
        let (mut zones, mut routes) = (publisher.authority.edit(), publisher.routes.edit());
        publisher.apply_objects(&snapshot, &mut touched, &mut zones, &mut routes)?;
        publisher.load_records(&snapshot, zones, routes)?;
        publisher.seal_bundle(snapshot.head(), snapshot.head());
        Ok(publisher)
    }

    /// The bundle in force.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Applies what was committed since; none if nothing was. Called again until it says so.
    pub fn follow(&mut self) -> Result<Option<&Bundle>, PublishError> {
        let snapshot = self.store.read()?;
        if snapshot.head() <= self.applied {
            return Ok(None);
        }
        let changes = match snapshot.tail(self.applied, CHANGES_MAX) {
            Ok(changes) => changes,
            Err(TailError::Compacted { .. }) => {
                // We slept longer than the log reaches back: start from the state, as a new PoP does.
                *self = Publisher::load(self.store.clone(), self.seal.clone(), self.pools.clone())?;
                return Ok(Some(&self.bundle));
            }
            Err(error) => return Err(PublishError::Tail(error)),
        };
        let mut touched = Touched::default();
        for op in changes.iter().flat_map(|change| &change.ops) {
            touched.note(op.key());
        }
        let applied = changes.last().map_or(snapshot.head(), |change| change.rev);
        let certificates_at =
            if touched.certificates.is_empty() { Rev(self.bundle.certificate_generation) } else { applied };
        self.apply(&snapshot, touched)?;
        self.seal_bundle(applied, certificates_at);
        Ok(Some(&self.bundle))
    }

    /// Rebuilds every touched unit from the snapshot.
    fn apply(&mut self, snapshot: &Snapshot, mut touched: Touched) -> Result<(), PublishError> {
        let mut zones = self.authority.edit();
        let mut routes = self.routes.edit();
        for zone in self.apply_objects(snapshot, &mut touched, &mut zones, &mut routes)? {
            touched.names.extend(names_of(snapshot, zone)?);
        }
        let mut changed = touched.settings;
        let (mut names, left): (BTreeSet<_>, BTreeSet<_>) =
            touched.names.into_iter().partition(|(zone, _)| self.zones.contains_key(zone));
        for (_, owner) in &left {
            // The zone went, and its names with it; but another one may have the same name by now.
            names.extend(self.directory.units_of(owner));
        }
        for (zone, owner) in &names {
            changed.insert(*zone);
            if let Some(served) = self.zones.get(zone) {
                let records = records_at(snapshot, *zone, owner)?;
                served.put_name(owner, &records, self.addresses(*zone, owner), &mut zones, &mut routes);
            }
        }
        for zone in changed {
            if let Some(served) = self.zones.get(&zone) {
                zones.put_zone(served.facts(changed_at(snapshot, zone)?));
            }
        }
        self.authority = zones.finish();
        self.routes = routes.finish();
        Ok(())
    }

    /// Rebuilds what is not a name; gives the zones that were not served before.
    fn apply_objects(
        &mut self,
        snapshot: &Snapshot,
        touched: &mut Touched,
        zones: &mut ZonesEdit,
        routes: &mut RoutesEdit,
    ) -> Result<Vec<ZoneId>, PublishError> {
        let servers_before = self.directory.server_units();
        // Those that went come first: another zone may have got the name of one.
        let mut there = Vec::new();
        for id in &touched.zones {
            match zone_at(snapshot, *id)? {
                Some(zone) => there.push(zone),
                None => self.remove_zone(*id, zones, routes),
            }
        }
        let new = there.iter().map(|zone| zone.id).filter(|id| !self.zones.contains_key(id)).collect::<Vec<_>>();
        touched.settings.extend(&new);
        for zone in there {
            self.apply_zone(snapshot, zone, zones, routes)?;
        }
        touched.names.extend(servers_before.symmetric_difference(&self.directory.server_units()).cloned());
        for zone in &touched.settings {
            self.apply_settings(snapshot, *zone, routes)?;
        }
        let mut certificates = self.certificates.edit();
        for (scope, certificate) in &touched.certificates {
            self.apply_certificate(snapshot, *scope, *certificate, &mut certificates)?;
        }
        self.certificates = certificates.finish();
        for (account, tunnel) in &touched.tunnels {
            self.apply_tunnel(snapshot, *account, *tunnel)?;
        }
        let mut apps = self.apps.edit();
        for (zone, app) in &touched.apps {
            touched.names.extend(self.apply_app(snapshot, *zone, *app, &mut apps)?);
        }
        self.apps = apps.finish();
        if !touched.rules.is_empty() {
            let mut firewall = self.firewall.edit();
            for (scope, rule) in &touched.rules {
                apply_rule(snapshot, *scope, *rule, &mut firewall)?;
            }
            self.firewall = firewall.finish();
        }
        Ok(new)
    }

    /// Puts an application in force or takes it out; the names whose answers change with it.
    fn apply_app(
        &mut self,
        snapshot: &Snapshot,
        zone: ZoneId,
        id: AppId,
        apps: &mut AppEdit,
    ) -> Result<Vec<(ZoneId, Name)>, PublishError> {
        let before = self.apps.get(id).map(|app| (zone, app.name.clone()));
        if let Some(unit) = &before
            && let Some(others) = self.apps_of.get_mut(unit)
        {
            others.remove(&id);
            if others.is_empty() {
                self.apps_of.remove(unit);
            }
        }
        let now = snapshot
            .get(&Key::app(zone, id))?
            .and_then(|entry| parse(&entry, |document| Application::parse(&document)))
            .and_then(|application| app::served(&application));
        let after = now.as_ref().map(|app| (zone, app.name.clone()));
        match now {
            Some(app) => apps.put(app),
            None => apps.remove(id),
        }
        if let Some(unit) = &after {
            self.apps_of.entry(unit.clone()).or_default().insert(id);
        }
        Ok(before.into_iter().chain(after).collect())
    }

    /// The addresses that a name has without records.
    fn addresses(&self, zone: ZoneId, owner: &Name) -> GivenAddresses {
        if let Some(ids) = self.apps_of.get(&(zone, owner.clone())) {
            let apps = ids.iter().filter_map(|id| self.apps.get(*id)).map(|app| &**app);
            return GivenAddresses::Apps(app::address_sets(apps, &self.pools));
        }
        if self.directory.is_server(owner) { GivenAddresses::Pop } else { GivenAddresses::None }
    }

    fn apply_zone(
        &mut self,
        snapshot: &Snapshot,
        zone: Zone,
        zones: &mut ZonesEdit,
        routes: &mut RoutesEdit,
    ) -> Result<(), PublishError> {
        let id = zone.id;
        let known = self.zones.get(&id);
        if let Some(served) = known {
            self.directory.remove(&served.zone);
        }
        self.directory.add(&zone);
        let settings = known.map(|served| served.settings.clone()).unwrap_or_default();
        let site = site(&zone, &settings);
        let number = match known {
            Some(served) => {
                routes.put_site(served.site, site);
                served.site
            }
            None => routes.add_site(site),
        };
        let served = ServedZone { zone, settings, site: number };
        zones.put_zone(served.facts(changed_at(snapshot, id)?));
        self.zones.insert(id, served);
        Ok(())
    }

    fn remove_zone(&mut self, id: ZoneId, zones: &mut ZonesEdit, routes: &mut RoutesEdit) {
        if let Some(served) = self.zones.remove(&id) {
            self.directory.remove(&served.zone);
            zones.remove_zone(&served.zone.name);
            routes.remove_site(served.site);
        }
    }

    fn apply_settings(&mut self, snapshot: &Snapshot, id: ZoneId, routes: &mut RoutesEdit) -> Result<(), PublishError> {
        let settings = snapshot
            .get(&Key::settings(id))?
            .and_then(|entry| parse(&entry, |document| Settings::parse(&document)))
            .unwrap_or_default();
        if let Some(served) = self.zones.get_mut(&id) {
            served.settings = zone_settings(&settings);
            routes.put_site(served.site, site(&served.zone, &served.settings));
        }
        Ok(())
    }

    fn apply_certificate(
        &mut self,
        snapshot: &Snapshot,
        scope: Scope,
        id: CertificateId,
        certificates: &mut CertificatesEdit,
    ) -> Result<(), PublishError> {
        let found = snapshot.get(&Key::certificate(scope, id))?.and_then(|entry| self.certificate(&entry));
        certificates.remove(id);
        self.tunnel_certificates.remove(&id);
        match found {
            Some((Purpose::Tunnel, certificate)) => drop(self.tunnel_certificates.insert(id, certificate.key)),
            Some((Purpose::Zone | Purpose::Host, certificate)) => certificates.put(Certificate { id, ..certificate }),
            None => {}
        }
        Ok(())
    }

    fn certificate(&self, entry: &Entry) -> Option<(Purpose, Certificate)> {
        let document = log(&entry.key, CertificateDocument::from_entry(entry))?;
        let key = log(&entry.key, document.key(&self.seal))?;
        let key = log(&entry.key, CertifiedKey::from_checked_pem(&document.chain_pem, &key))?;
        let CertificateDocument { id, purpose, names, not_after, .. } = document;
        Some((purpose, Certificate { id, not_after, names, key }))
    }

    fn apply_tunnel(&mut self, snapshot: &Snapshot, account: AccountId, id: TunnelId) -> Result<(), PublishError> {
        let tunnel = snapshot
            .get(&Key::tunnel(account, id))?
            .and_then(|entry| parse(&entry, |document| Tunnel::parse(&document)))
            .filter(|tunnel| !tunnel.deleted);
        let Some(tunnel) = tunnel else {
            self.tunnels.remove(&id);
            return Ok(());
        };
        let configuration = snapshot
            .get(&Key::tunnel_config(account, id))?
            .and_then(|entry| parse(&entry, |document| TunnelConfig::parse(&document)))
            .map(|config| TunnelConfiguration { version: config.version, json: config.json.into() });
        let part = bartizan_routes::Tunnel {
            account: tunnel.account,
            secret_sha256: tunnel.secret_sha256,
            remotely_managed: tunnel.remotely_managed,
            configuration,
        };
        self.tunnels.insert(id, Arc::new(part));
        Ok(())
    }

    /// All records, grouped by their owner's unit: once at the start, in one pass.
    fn load_records(&mut self, snapshot: &Snapshot, zones: ZonesEdit, routes: RoutesEdit) -> Result<(), PublishError> {
        let (mut zones, mut routes) = self.load_units(snapshot, zones, routes)?;
        // An application's name has no records of its own, and a name server's need not have any.
        for (zone, owner) in self.apps_of.keys() {
            if let Some(served) = self.zones.get(zone) {
                served.put_name(owner, &[], self.addresses(*zone, owner), &mut zones, &mut routes);
            }
        }
        for (zone, owner) in &self.directory.server_units() {
            if let Some(served) = self.zones.get(zone) {
                let records = records_at(snapshot, *zone, owner)?;
                served.put_name(owner, &records, self.addresses(*zone, owner), &mut zones, &mut routes);
            }
        }
        self.authority = zones.finish();
        self.routes = routes.finish();
        Ok(())
    }

    /// Puts every owner name with records. Reading, parsing and placing take about as long, so each has a thread.
    fn load_units(
        &self,
        snapshot: &Snapshot,
        mut zones: ZonesEdit,
        mut routes: RoutesEdit,
    ) -> Result<(ZonesEdit, RoutesEdit), PublishError> {
        thread::scope(|scope| {
            let (to_parse, entries) = mpsc::sync_channel::<Vec<Entry>>(PIECES_MAX);
            let (to_place, records) = mpsc::sync_channel::<Vec<Record>>(PIECES_MAX);
            scope.spawn(move || {
                for piece in entries {
                    // Nobody places any more after a panic, which is passed on below.
                    if to_place.send(piece.iter().filter_map(parse_record).collect()).is_err() {
                        return;
                    }
                }
            });
            let placing = scope.spawn(move || {
                let mut unit: Vec<Record> = Vec::new();
                for record in records.into_iter().flatten() {
                    if unit.first().is_some_and(|first| (first.zone, &first.owner) != (record.zone, &record.owner)) {
                        self.put_unit(&unit, &mut zones, &mut routes);
                        unit.clear();
                    }
                    unit.push(record);
                }
                self.put_unit(&unit, &mut zones, &mut routes);
                (zones, routes)
            });
            let mut piece = Vec::with_capacity(PIECE_RECORDS);
            let read = snapshot.for_each_record(&mut |entry: Entry| {
                piece.push(entry);
                if piece.len() == PIECE_RECORDS {
                    to_parse.send(std::mem::replace(&mut piece, Vec::with_capacity(PIECE_RECORDS))).ok();
                }
            });
            to_parse.send(piece).ok();
            drop(to_parse);
            let placed = placing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            read?;
            Ok(placed)
        })
    }

    fn put_unit(&self, unit: &[Record], zones: &mut ZonesEdit, routes: &mut RoutesEdit) {
        if let Some(first) = unit.first()
            && let Some(served) = self.zones.get(&first.zone)
        {
            served.put_name(&first.owner, unit, GivenAddresses::None, zones, routes);
        }
    }

    fn seal_bundle(&mut self, applied: Rev, certificates_at: Rev) {
        self.applied = applied;
        self.bundle = Bundle {
            number: applied.0,
            zones: self.authority.clone(),
            routes: self.routes.clone(),
            apps: self.apps.clone(),
            firewall: self.firewall.clone(),
            certificate_generation: certificates_at.0,
            certificates: self.certificates.clone(),
            tunnel_certificate: self.tunnel_certificates.values().next_back().cloned(),
            tunnels: self.tunnels.clone(),
        };
    }
}

impl ServedZone {
    fn facts(&self, changed: Rev) -> ZoneFacts {
        let nameservers = self.zone.nameservers.clone();
        let operator = nameservers.first().and_then(Name::parent).unwrap_or_else(|| self.zone.name.as_name().clone());
        ZoneFacts {
            apex: self.zone.name.clone(),
            serial: SERIAL_BASE.wrapping_add(changed.0 as u32), // serial arithmetic wraps (RFC 1982)
            soa_rname: operator.child(RNAME_LABEL).unwrap_or(operator),
            nameservers,
            paused: self.zone.paused,
        }
    }

    fn put_name(
        &self,
        owner: &Name,
        records: &[Record],
        addresses: GivenAddresses,
        zones: &mut ZonesEdit,
        routes: &mut RoutesEdit,
    ) {
        let mut content = name::content(records);
        match addresses {
            GivenAddresses::Apps(sets) => content.sets.extend(sets),
            GivenAddresses::Pop if !records.iter().any(says_where) => content.proxied = Proxied::Always,
            GivenAddresses::Pop => {}
            GivenAddresses::None => {}
        }
        zones.put_name(&self.zone.name, owner, content);
        match name::target(records) {
            Some(target) => routes.put(self.site, owner, target),
            None => routes.remove(self.site, owner),
        }
    }
}

fn apply_rule(snapshot: &Snapshot, scope: Scope, id: RuleId, firewall: &mut FirewallEdit) -> Result<(), PublishError> {
    let entry = snapshot.get(&Key::access_rule(scope, id))?;
    match entry.and_then(|entry| parse(&entry, |document| AccessRule::parse(&document))) {
        Some(rule) => firewall.put(&app::rule(&rule)),
        None => firewall.remove(id),
    }
    Ok(())
}

fn site(zone: &Zone, settings: &ZoneSettings) -> Site {
    Site { zone: zone.id, apex: zone.name.clone(), paused: zone.paused, settings: settings.clone() }
}

/// Whether a record says where its owner is to be found.
fn says_where(record: &Record) -> bool {
    matches!(record.data.rtype(), RecordType::A | RecordType::AAAA | RecordType::CNAME)
}

/// The revision that a zone's serial is made of.
fn changed_at(snapshot: &Snapshot, zone: ZoneId) -> Result<Rev, PublishError> {
    Ok(snapshot.zone_changed(zone)?.unwrap_or(Rev::ZERO))
}

fn zone_at(snapshot: &Snapshot, id: ZoneId) -> Result<Option<Zone>, PublishError> {
    Ok(snapshot.get(&Key::zone(id))?.and_then(|entry| parse(&entry, |document| Zone::parse(&document))))
}

/// All owner names of a zone, page by page.
fn names_of(snapshot: &Snapshot, zone: ZoneId) -> Result<Vec<(ZoneId, Name)>, PublishError> {
    let mut names = Vec::new();
    let mut last: Option<Key> = None;
    loop {
        let page = snapshot.list(&Prefix::of(Scope::Zone(zone), Kind::Name), last.as_ref(), NAMES_PAGE)?;
        names.extend(page.iter().filter_map(|entry| Some((zone, entry.key.id_as()?))));
        match page.into_iter().last() {
            Some(entry) => last = Some(entry.key),
            None => return Ok(names),
        }
    }
}

fn records_at(snapshot: &Snapshot, zone: ZoneId, owner: &Name) -> Result<Vec<Record>, PublishError> {
    Ok(snapshot.records_at(zone, owner)?.iter().filter_map(parse_record).collect())
}

fn parse_record(entry: &Entry) -> Option<Record> {
    parse(entry, |document| Record::parse(&document))
}

/// Reads a document and makes the value that it stands for; what cannot be read is logged and passed over.
fn parse<D, T, E>(entry: &Entry, make: impl FnOnce(D) -> Result<T, E>) -> Option<T>
where
    D: serde::de::DeserializeOwned,
    E: std::error::Error,
{
    let document = log(&entry.key, serde_json::from_str(&entry.value.json))?;
    log(&entry.key, make(document))
}

fn log<T, E: std::error::Error>(key: &Key, result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(key = key.as_str(), %error, "left out of what is served");
            None
        }
    }
}

/// Who owns zones chooses names and addresses: where they are kept must not be theirs to guess.
fn secret_seed() -> u64 {
    u64::from_ne_bytes(bartizan_seal::random())
}

fn zone_settings(settings: &Settings) -> ZoneSettings {
    use bartizan_model::Ssl as Wish;
    ZoneSettings {
        ssl: match settings.ssl {
            Wish::Off => Ssl::Off,
            Wish::Flexible => Ssl::Flexible,
            Wish::Full => Ssl::Full,
            Wish::Strict => Ssl::Strict,
        },
        always_use_https: settings.always_use_https,
        websockets: settings.websockets,
        http2: settings.http2,
        read_timeout: settings.proxy_read_timeout,
    }
}
