//! `…/access/certificates`, below zones and accounts, and `/accounts/{account_id}/mtls_certificates`: authorities whose
//! certificates clients may show. Their certificates never change; which hosts believe them does.
//!
//! An authority of an account may be believed by hosts of all its zones, and is one object by whichever path it came. It is kept
//! in it which hosts these are, and in each host whom that believes, by one change.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use bartizan_certs::{At, Authorities, ChainError, CrlUrl, crl_begun, read_crl};
use bartizan_model::Zone;
use bartizan_names::{AccountId, ClientRootId, Name, Timestamp, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::client_auth::{
    AccessCertificate, AccessCertificateBody, AccessCertificateExtension, ClientHost, Crl, CrlSource, MtlsAssociation,
    MtlsCertificate, MtlsCertificateBody, StoredClientRoot, StoredCrlFetch,
};
use bartizan_v4::{Envelope, Patch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::client_hosts::{Believed, hosts_in};
use crate::error::{Error, Fault};
use crate::extract::Ids;
use crate::path::AccountScope;
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::resource::{self, All, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::rights::Target;
use crate::state::Api;
use crate::transaction::{Change, View};
use crate::zones;

/// Authorities of a zone, and of an account.
const ROOTS_MAX: u64 = 100;

/// Octets of a name.
const NAME_MAX: usize = 255;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<AccessCertificates>(api).merge(resource::routes::<MtlsCertificates>(api)).routes(needs(
        Permission::MtlsRead,
        api,
        routes!(associations),
    ))
}

struct AccessCertificates;

impl Resource for AccessCertificates {
    const KIND: Kind = Kind::ClientRoot;
    const PLACES: &'static [Place] = &[
        Place::changed(Owner::Account, Permission::MtlsRead, Permission::MtlsWrite),
        Place::changed(Owner::Zone, Permission::SslRead, Permission::SslWrite),
    ];
    const PATH: &'static str = "access/certificates";
    const ID: &'static str = "certificate_id";
    const ONE: &'static str = "an authority of clients";
    const MANY: &'static str = "Authorities of clients";
    const CALLS: &'static [Call] = &[Call::List, Call::Get, Call::Create, Call::Edit(Edit::Replace), Call::Delete];
    const SIZES: PageSizes = PageSizes { min: 1, default: 25, max: 1_000 };
    const UNKNOWN: Fault = Fault::ClientRootUnknown;
    const TAGGED: bool = false;

    type Id = ClientRootId;
    type Params = All;
    type Document = StoredClientRoot;
    type Sent = AccessCertificate;

    fn sent(here: &Here<'_>, view: &View, root: StoredClientRoot) -> Result<AccessCertificate, Error> {
        let fetch = view.if_readable::<StoredCrlFetch>(&Key::client_crl(here.scope, root.id))?;
        let crl_source = root.crl_url.as_ref().map(|url| source(url, fetch));
        let crl = root.crl.map(|crl| Crl { count: crl.count, issued_on: crl.issued_on, next_on: crl.next_on });
        Ok(AccessCertificate {
            id: root.id,
            name: root.name,
            associated_hostnames: root.associated_hostnames,
            fingerprint: root.fingerprint,
            expires_on: root.expires_on,
            created_at: root.created_at,
            updated_at: root.updated_at,
            bartizan: AccessCertificateExtension {
                issuer: root.issuer,
                serial_number: root.serial_number,
                crl,
                crl_source,
            },
        })
    }
}

impl Editable for AccessCertificates {
    type Body = AccessCertificateBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &AccessCertificateBody) -> Result<StoredClientRoot, Error> {
        let text = body.certificate.value().ok_or(ChainError::Missing(At::Certificate))?;
        let name = name(body.name.value())?;
        let mut root = read(change, here.scope, name, text)?;
        root.associated_hostnames = hostnames(here, change, body.associated_hostnames.value())?;
        if let Some(crl) = body.crl.value() {
            root.set_crl(Some(read_crl(crl, &root.certificates, None, change.now())?.all));
        }
        root.crl_url = crl_url(body.crl_url.value())?;
        Ok(root)
    }

    fn edit(
        here: &Here<'_>,
        change: &mut Change,
        old: &StoredClientRoot,
        body: &AccessCertificateBody,
        _: Edit,
    ) -> Result<StoredClientRoot, Error> {
        if let Some(text) = body.certificate.value()
            && Authorities::read(text, change.now())?.pem != old.certificates
        {
            let why = "certificates of an authority do not change: make another one";
            return Err(Fault::CertificateInvalid.because(why).at("/certificate"));
        }
        let mut root = old.clone();
        if !body.name.is_absent() {
            root.name = name(body.name.value())?;
        }
        // The dialect demands it; who leaves it out means the others.
        if !body.associated_hostnames.is_absent() {
            root.associated_hostnames = hostnames(here, change, body.associated_hostnames.value())?;
        }
        match &body.crl {
            Patch::Absent => {}
            Patch::Null => root.set_crl(None),
            // Not one that is older than what is there: whoever brings back an old list brings back who was revoked since.
            Patch::Value(text) => {
                root.set_crl(Some(read_crl(text, &old.certificates, old.crl.as_ref(), change.now())?.all));
            }
        }
        if !body.crl_url.is_absent() {
            root.crl_url = crl_url(body.crl_url.value())?;
        }
        Ok(root)
    }

    fn id(root: &StoredClientRoot) -> ClientRootId {
        root.id
    }

    fn stamp(root: &mut StoredClientRoot, now: Timestamp) {
        root.updated_at = now;
    }

    fn put(
        here: &Here<'_>,
        change: &mut Change,
        old: Option<&StoredClientRoot>,
        new: &StoredClientRoot,
    ) -> Result<(), Error> {
        change.put(Key::client_root(here.scope, new.id), new)?;
        change.follow_crl(here.api, here.scope, old, new)?;
        let before = old.map(|old| old.associated_hostnames.as_slice()).unwrap_or_default();
        // Publishing looks at what lies in a zone.
        let is_elsewhere = matches!(here.scope, Scope::Account(_)) && !before.is_empty();
        let lists_others = is_elsewhere && old.is_some_and(|old| old.crl != new.crl);
        match (before != new.associated_hostnames, lists_others) {
            (false, false) => Ok(()),
            (true, false) => change.believe(here, new.id, before, &new.associated_hostnames),
            (false, true) => change.touch_believers(here.scope, before),
            (true, true) => {
                let why = "change associated_hostnames and crl one after the other";
                Err(Fault::CertificateInvalid.because(why).at("/crl"))
            }
        }
    }

    fn delete(here: &Here<'_>, change: &mut Change, id: ClientRootId) -> Result<(), Error> {
        let key = Key::client_root(here.scope, id);
        if !change.has(&key)? {
            return Err(Fault::ClientRootUnknown.into());
        }
        if let Some(root) = change.if_readable::<StoredClientRoot>(&key)? {
            change.disbelieve(here.scope, id, &root.associated_hostnames)?;
        }
        change.delete_root(here.scope, id)
    }
}

struct MtlsCertificates;

impl Resource for MtlsCertificates {
    const KIND: Kind = Kind::ClientRoot;
    const PLACES: &'static [Place] = &[Place::changed(Owner::Account, Permission::MtlsRead, Permission::MtlsWrite)];
    const PATH: &'static str = "mtls_certificates";
    const ID: &'static str = "mtls_certificate_id";
    const ONE: &'static str = "a certificate of an authority of clients";
    const MANY: &'static str = "Certificates of authorities of clients";
    const CALLS: &'static [Call] = &[Call::List, Call::Get, Call::Create, Call::Delete];
    const SIZES: PageSizes = PageSizes { min: 1, default: 50, max: 1_000 };
    const UNKNOWN: Fault = Fault::ClientRootUnknown;
    const TAGGED: bool = false;

    type Id = ClientRootId;
    type Params = All;
    type Document = StoredClientRoot;
    type Sent = MtlsCertificate;

    fn sent(_: &Here<'_>, _: &View, root: StoredClientRoot) -> Result<MtlsCertificate, Error> {
        let StoredClientRoot { id, name, certificates, issuer, serial_number, signature, .. } = root;
        let (expires_on, uploaded_on) = (root.expires_on, root.created_at);
        Ok(MtlsCertificate {
            id,
            name,
            ca: true,
            certificates,
            issuer,
            serial_number,
            signature,
            expires_on,
            uploaded_on,
        })
    }
}

impl Editable for MtlsCertificates {
    type Body = MtlsCertificateBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &MtlsCertificateBody) -> Result<StoredClientRoot, Error> {
        if body.ca.value() == Some(&false) || body.private_key.value().is_some() {
            let why = "only authorities are kept here, without their keys";
            return Err(Fault::CertificateInvalid.because(why).at("/ca"));
        }
        let text = body.certificates.value().ok_or(ChainError::Missing(At::Certificate));
        let at_text = |error: ChainError| Error::from(error).nowhere().at("/certificates");
        let name = match body.name.value() {
            Some(name) => self::name(Some(name))?,
            None => String::new(),
        };
        read(change, here.scope, name, text.map_err(at_text)?).map_err(|error| match error.fault {
            Fault::CertificateInvalid => error.nowhere().at("/certificates"),
            _ => error,
        })
    }

    fn edit(
        _: &Here<'_>,
        _: &mut Change,
        old: &StoredClientRoot,
        _: &MtlsCertificateBody,
        _: Edit,
    ) -> Result<StoredClientRoot, Error> {
        Ok(old.clone())
    }

    fn id(root: &StoredClientRoot) -> ClientRootId {
        root.id
    }

    fn stamp(root: &mut StoredClientRoot, now: Timestamp) {
        root.updated_at = now;
    }

    /// One that hosts believe stays: nobody who is let in now shall stand outside by a slip.
    fn delete(here: &Here<'_>, change: &mut Change, id: ClientRootId) -> Result<(), Error> {
        let key = Key::client_root(here.scope, id);
        if !change.has(&key)? {
            return Err(Fault::ClientRootUnknown.into());
        }
        if let Some(root) = change.if_readable::<StoredClientRoot>(&key)?
            && let Some(host) = change.believers(here.scope, &root)?.first()
        {
            return Err(Fault::ClientRootInUse.because(format!("{host} believes it")));
        }
        change.delete_root(here.scope, id)
    }
}

/// Who uses a certificate.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/mtls_certificates/{mtls_certificate_id}/associations",
    tag = "Client certificates",
    params(("account_id" = String, Path), ("mtls_certificate_id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<MtlsAssociation>>))
)]
async fn associations(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, ClientRootId)>,
) -> Result<Reply<Vec<MtlsAssociation>>, Error> {
    let scope = Scope::Account(account.of(&caller)?);
    let root: Option<StoredClientRoot> = api.read(move |view| view.find(&Key::client_root(scope, id))).await?;
    let hosts = root.ok_or(Fault::ClientRootUnknown)?.associated_hostnames;
    let used = |host: String| MtlsAssociation { service: host, status: "active".to_owned() };
    let (page, total) = (Page { number: 1, size: 1_000 }, hosts.len() as u64);
    Ok(Reply::page(hosts.into_iter().map(used).collect(), page, total))
}

fn name(given: Option<&String>) -> Result<String, Error> {
    match given.map(|name| name.trim()) {
        Some(name) if (1..=NAME_MAX).contains(&name.len()) => Ok(name.to_owned()),
        _ => Err(Fault::CertificateInvalid.because(format!("name has 1 to {NAME_MAX} octets")).at("/name")),
    }
}

pub(crate) fn refuse_many(view: &View, roots: &Prefix) -> Result<(), Error> {
    if view.0.count(roots)? >= ROOTS_MAX {
        let why = format!("there are {ROOTS_MAX} of them, which is the most; delete one");
        return Err(Fault::CertificateInvalid.because(why));
    }
    Ok(())
}

fn read(change: &Change, scope: Scope, name: String, text: &str) -> Result<StoredClientRoot, Error> {
    refuse_many(change, &Prefix::of(scope, Kind::ClientRoot))?;
    let authorities = Authorities::read(text, change.now())?;
    Ok(StoredClientRoot {
        id: ClientRootId::from_random(bartizan_seal::random()),
        name,
        certificates: authorities.pem,
        issuer: authorities.issuer,
        serial_number: authorities.serial_number,
        signature: authorities.signature,
        fingerprint: authorities.fingerprint,
        expires_on: authorities.expires_on,
        associated_hostnames: Vec::new(),
        crl: None,
        crl_issued_on: None,
        crl_url: None,
        created_at: change.now(),
        updated_at: change.now(),
    })
}

fn crl_url(given: Option<&String>) -> Result<Option<String>, Error> {
    let Some(text) = given.map(|text| text.trim()).filter(|text| !text.is_empty()) else { return Ok(None) };
    CrlUrl::parse(text).map_err(|why| Fault::CertificateInvalid.because(why).at("/crl_url"))?;
    Ok(Some(text.to_owned()))
}

fn source(url: &str, fetch: Option<StoredCrlFetch>) -> CrlSource {
    let fetch = fetch.filter(|fetch| fetch.url == url);
    let state = match &fetch {
        Some(fetch) if fetch.failures > 0 => "failing",
        Some(fetch) if fetch.fetched_on.is_some() => "ok",
        _ => "pending",
    };
    CrlSource {
        url: url.to_owned(),
        state: state.to_owned(),
        fetched_on: fetch.as_ref().and_then(|fetch| fetch.fetched_on),
        next_try_on: fetch.as_ref().map(|fetch| fetch.next_on),
        failing_since: fetch.as_ref().and_then(|fetch| fetch.failing_since),
        last_error: fetch.and_then(|fetch| fetch.last_error),
    }
}

/// Hosts as somebody lists them, in their normal form: all in the zone, or in zones of the account.
fn hostnames(here: &Here<'_>, change: &mut Change, texts: Option<&Vec<String>>) -> Result<Vec<String>, Error> {
    let texts = texts.map(Vec::as_slice).unwrap_or_default();
    let in_zones = change.in_zones(here, texts)?;
    let names: BTreeSet<Name> = in_zones.into_values().flat_map(|(_, names)| names).collect();
    Ok(names.iter().map(Name::to_string).collect())
}

/// Hosts by their zones.
type InZones = BTreeMap<ZoneId, (Zone, BTreeSet<Name>)>;

impl View {
    /// The innermost zone that a host lies in, whose policy is the one that holds for it.
    pub(crate) fn zone_of_host(&self, text: &str) -> Result<Option<(ZoneId, Name)>, Error> {
        let Ok(name) = Name::parse(text) else { return Ok(None) };
        let host = if name.is_wildcard() { name.parent() } else { Some(name.clone()) };
        let around = host.map(|host| self.zone_around(&host)).transpose()?.flatten();
        Ok(around.map(|(_, zone)| (zone, name)))
    }

    /// The hosts that believe an authority, of those that it has noted: some of them may have gone with their zone.
    pub(crate) fn believers(&self, scope: Scope, root: &StoredClientRoot) -> Result<Vec<String>, Error> {
        let mut believers = Vec::new();
        for text in &root.associated_hostnames {
            let Some((zone, name)) = self.zone_of_host(text)? else { continue };
            let is_here = match scope {
                Scope::Zone(here) => here == zone,
                Scope::Account(account) => self.account_of_zone(zone)? == Some(account),
                Scope::Edge | Scope::User(_) => false,
            };
            let key = Key::client_host(zone, &name);
            if is_here && self.has(&key)? {
                // One that cannot be read may believe it.
                let host = self.if_readable::<ClientHost>(&key)?;
                if host.is_none_or(|host| host.authorities.contains(&root.id)) {
                    believers.push(text.clone());
                }
            }
        }
        Ok(believers)
    }
}

impl Change {
    fn in_zones(&mut self, here: &Here<'_>, texts: &[String]) -> Result<InZones, Error> {
        const AT: &str = "/associated_hostnames";
        if let Scope::Zone(_) = here.scope {
            let zone = here.zone()?;
            let hosts = hosts_in(texts, &zone, AT)?;
            self.refuse_hosts_of_others(&zone, &hosts, AT)?;
            return Ok([(zone.id, (zone, hosts))].into());
        }
        let account = here.account_id()?;
        let mut in_zones = InZones::new();
        for (index, text) in texts.iter().enumerate() {
            let at = format!("{AT}/{index}");
            let zone = self.zone_for(here, account, text).map_err(|error| error.at(at.clone()))?;
            let hosts = hosts_in(std::slice::from_ref(text), &zone, AT).map_err(|error| error.nowhere().at(at))?;
            in_zones.entry(zone.id).or_insert_with(|| (zone, BTreeSet::new())).1.extend(hosts);
        }
        Ok(in_zones)
    }

    /// The zone of the account that a host lies in, if the caller may change what its hosts believe.
    fn zone_for(&mut self, here: &Here<'_>, account: AccountId, text: &str) -> Result<Zone, Error> {
        let elsewhere = || Fault::ClientHostInvalid.because(format!("{text:?} lies in no zone of this account"));
        let name = Name::typed(text.trim()).map_err(|_| elsewhere())?;
        let (_, id) = self.zone_around(&name)?.ok_or_else(elsewhere)?;
        let zone = self.find::<bartizan_v4::Zone>(&Key::zone(id))?.ok_or_else(elsewhere)?;
        let is_ours = zone.account.id == account
            && here.caller.may(Permission::SslWrite, &Target::Zone(id, Some(zone.account.id)));
        if !is_ours {
            return Err(elsewhere());
        }
        self.require(Key::zone(id));
        zones::parse(&zone)
    }

    /// Lets hosts believe an authority, and those of before no more: all of them, in zones where the caller may say so.
    fn believe(&mut self, here: &Here<'_>, id: ClientRootId, before: &[String], after: &[String]) -> Result<(), Error> {
        let mut wanted = self.in_zones(here, after)?;
        for (zone, parsed) in self.zones_of_believers(here.scope, before)? {
            if wanted.contains_key(&zone) {
                continue;
            }
            if !here.caller.may(Permission::SslWrite, &Target::Zone(zone, Some(parsed.account))) {
                let why = format!(
                    "hosts of the zone {} believe it, and you may not change these: that takes the permission {}",
                    parsed.name,
                    Permission::SslWrite.group()
                );
                return Err(Fault::NotAllowed.because(why));
            }
            wanted.insert(zone, (parsed, BTreeSet::new()));
        }
        for (zone, hosts) in wanted.into_values() {
            self.associate(&zone, Believed::Root(id), &hosts)?;
        }
        Ok(())
    }

    /// Lets no host believe an authority any more. Whoever may delete it may do so, in whichever zone they are.
    fn disbelieve(&mut self, scope: Scope, id: ClientRootId, before: &[String]) -> Result<(), Error> {
        for zone in self.zones_of_believers(scope, before)?.into_values() {
            self.associate(&zone, Believed::Root(id), &BTreeSet::new())?;
        }
        Ok(())
    }

    /// The zones of the hosts that an authority has noted, of those that are still there.
    fn zones_of_believers(&mut self, scope: Scope, texts: &[String]) -> Result<BTreeMap<ZoneId, Zone>, Error> {
        let mut zones = BTreeMap::new();
        if let Scope::Zone(zone) = scope {
            zones.extend(self.find::<bartizan_v4::Zone>(&Key::zone(zone))?.map(|zone| (zone.id, zone)));
        } else {
            for text in texts {
                let Some((id, _)) = self.zone_of_host(text)? else { continue };
                if zones.contains_key(&id) {
                    continue;
                }
                let zone = self.find::<bartizan_v4::Zone>(&Key::zone(id))?;
                zones.extend(zone.filter(|zone| scope == Scope::Account(zone.account.id)).map(|zone| (id, zone)));
            }
        }
        zones.keys().for_each(|id| self.require(Key::zone(*id)));
        zones.into_iter().map(|(id, zone)| Ok((id, zones::parse(&zone)?))).collect()
    }

    /// Has the zones looked at again whose hosts believe an authority of their account: publishing looks at what lies in a zone.
    /// Whoever may change the authority may change what it has revoked, in whichever zone that counts.
    pub(crate) fn touch_believers(&mut self, scope: Scope, hosts: &[String]) -> Result<(), Error> {
        let Scope::Account(account) = scope else { return Ok(()) };
        let mut seen = BTreeSet::new();
        for text in hosts {
            let Some((zone, name)) = self.zone_of_host(text)? else { continue };
            if seen.contains(&zone) || self.account_of_zone(zone)? != Some(account) {
                continue;
            }
            let key = Key::client_host(zone, &name);
            if let Some(mut host) = self.if_readable::<ClientHost>(&key)? {
                host.modified_on = self.now();
                self.put(key, &host)?;
                seen.insert(zone);
            }
        }
        Ok(())
    }

    /// Follows where lists of an authority are fetched from.
    pub(crate) fn follow_crl(
        &mut self,
        api: &Api,
        scope: Scope,
        old: Option<&StoredClientRoot>,
        new: &StoredClientRoot,
    ) -> Result<(), Error> {
        let key = Key::client_crl(scope, new.id);
        let Some(url) = &new.crl_url else {
            return if self.has(&key)? { self.delete(key) } else { Ok(()) };
        };
        let is_fetched = old.is_some_and(|old| old.crl_url.as_ref() == Some(url)) && self.has(&key)?;
        // Whoever takes a list away has it fetched anew.
        if is_fetched && (new.crl.is_some() || old.is_some_and(|old| old.crl.is_none())) {
            return Ok(());
        }
        let (begun, api) = (crl_begun(url, self.now()), api.clone());
        self.afterwards(move || api.background().crls.wake());
        self.put(key, &begun)
    }

    pub(crate) fn delete_root(&mut self, scope: Scope, id: ClientRootId) -> Result<(), Error> {
        let fetch = Key::client_crl(scope, id);
        if self.has(&fetch)? {
            self.delete(fetch)?;
        }
        self.delete(Key::client_root(scope, id))
    }

    /// An authority that a host of a zone may believe, and in whose scope it is.
    fn root_for(&self, zone: &Zone, id: ClientRootId) -> Result<Option<(Scope, StoredClientRoot)>, Error> {
        for scope in [Scope::Zone(zone.id), Scope::Account(zone.account)] {
            if let Some(root) = self.find(&Key::client_root(scope, id))? {
                return Ok(Some((scope, root)));
            }
        }
        Ok(None)
    }

    /// Notes in an authority which hosts of a zone believe it.
    pub(crate) fn keep_hosts(&mut self, zone: &Zone, id: ClientRootId, hosts: &BTreeSet<Name>) -> Result<(), Error> {
        let found = self.root_for(zone, id)?;
        let (scope, mut root) =
            found.ok_or_else(|| Error::from(Fault::ClientRootUnknown).at("/mtls_certificate_id"))?;
        let mut names = BTreeSet::new();
        for text in &root.associated_hostnames {
            // One below it may be another zone.
            if self.zone_of_host(text)?.is_some_and(|(around, _)| around != zone.id) {
                names.insert(text.clone());
            }
        }
        names.extend(hosts.iter().map(Name::to_string));
        root.associated_hostnames = names.into_iter().collect();
        root.updated_at = self.now();
        self.put(Key::client_root(scope, id), &root)
    }

    /// Forgets a host of an authority, if that can be read.
    pub(crate) fn forget_host(&mut self, zone: &Zone, id: ClientRootId, host: &Name) -> Result<(), Error> {
        if let Ok(Some((scope, mut root))) = self.root_for(zone, id) {
            root.associated_hostnames.retain(|text| *text != host.to_string());
            root.updated_at = self.now();
            self.put(Key::client_root(scope, id), &root)?;
        }
        Ok(())
    }
}
