//! `…/access/certificates`, below zones and accounts, and `/accounts/{account_id}/mtls_certificates`: authorities whose
//! certificates clients may show. Their certificates never change; which hosts believe them does.
//!
//! An authority of an account may be believed by hosts of all its zones, and is one object by whichever path it came. It is kept
//! in it which hosts these are, and in each host whom that believes, by one change.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use bartizan_certs::{At, Authorities, ChainError, read_crl};
use bartizan_model::Zone;
use bartizan_names::{AccountId, ClientRootId, Name, Timestamp, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::client_auth::{
    AccessCertificate, AccessCertificateBody, AccessCertificateExtension, Crl, MtlsAssociation, MtlsCertificate,
    MtlsCertificateBody, StoredClientRoot,
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

    fn sent(_: &Here<'_>, _: &View, root: StoredClientRoot) -> Result<AccessCertificate, Error> {
        let crl = root.crl.map(|crl| Crl { count: crl.count, issued_on: crl.issued_on, next_on: crl.next_on });
        Ok(AccessCertificate {
            id: root.id,
            name: root.name,
            associated_hostnames: root.associated_hostnames,
            fingerprint: root.fingerprint,
            expires_on: root.expires_on,
            created_at: root.created_at,
            updated_at: root.updated_at,
            bartizan: AccessCertificateExtension { issuer: root.issuer, serial_number: root.serial_number, crl },
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
            root.crl = Some(read_crl(crl, &root.certificates)?);
        }
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
            Patch::Null => root.crl = None,
            Patch::Value(text) => root.crl = Some(newer_crl(old, text)?),
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
        let before = old.map(|old| old.associated_hostnames.as_slice()).unwrap_or_default();
        // Publishing looks at what lies in a zone.
        let is_elsewhere = matches!(here.scope, Scope::Account(_));
        let lists_others = is_elsewhere && old.is_some_and(|old| old.crl != new.crl);
        match (before != new.associated_hostnames, lists_others) {
            (false, false) => Ok(()),
            (true, false) => change.believe(here, new.id, before, &new.associated_hostnames),
            (false, true) => change.touch_hosts(here, before),
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
            change.believe(here, id, &root.associated_hostnames, &[])?;
        }
        change.delete(key)
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
        let root = change.if_readable::<StoredClientRoot>(&key)?;
        if let Some(host) = root.iter().flat_map(|root| &root.associated_hostnames).next() {
            return Err(Fault::ClientRootInUse.because(format!("{host} believes it")));
        }
        change.delete(key)
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

fn read(change: &Change, scope: Scope, name: String, text: &str) -> Result<StoredClientRoot, Error> {
    if change.0.count(&Prefix::of(scope, Kind::ClientRoot))? >= ROOTS_MAX {
        let why = format!("there are {ROOTS_MAX} of them, which is the most; delete one");
        return Err(Fault::CertificateInvalid.because(why));
    }
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
        created_at: change.now(),
        updated_at: change.now(),
    })
}

/// Not one that is older than what is there: whoever brings back an old list brings back who was revoked since.
fn newer_crl(old: &StoredClientRoot, text: &str) -> Result<bartizan_v4::client_auth::StoredCrl, Error> {
    let new = read_crl(text, &old.certificates)?;
    match &old.crl {
        Some(held) if held.issued_on > new.issued_on => {
            let why = format!("the list that is here is newer: it was issued on {}", held.issued_on);
            Err(Fault::CertificateInvalid.because(why).at("/crl"))
        }
        _ => Ok(new),
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

impl Change {
    fn in_zones(&mut self, here: &Here<'_>, texts: &[String]) -> Result<InZones, Error> {
        const AT: &str = "/associated_hostnames";
        if let Scope::Zone(_) = here.scope {
            let zone = here.zone()?;
            let hosts = hosts_in(texts, &zone, AT)?;
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

    /// Lets hosts believe an authority, and those of before no more.
    fn believe(&mut self, here: &Here<'_>, id: ClientRootId, before: &[String], after: &[String]) -> Result<(), Error> {
        let mut wanted = self.in_zones(here, after)?;
        for (zone, (parsed, _)) in self.in_living_zones(here, before)? {
            wanted.entry(zone).or_insert((parsed, BTreeSet::new()));
        }
        for (zone, hosts) in wanted.into_values() {
            self.associate(&zone, Believed::Root(id), &hosts)?;
        }
        Ok(())
    }

    /// The zones of hosts that were associated once, of those that are still there.
    fn in_living_zones(&mut self, here: &Here<'_>, texts: &[String]) -> Result<InZones, Error> {
        let mut in_zones = InZones::new();
        for text in texts {
            match self.in_zones(here, std::slice::from_ref(text)) {
                Ok(found) => in_zones.extend(found),
                Err(error) if error.fault == Fault::ClientHostInvalid => {}
                Err(error) => return Err(error),
            }
        }
        Ok(in_zones)
    }

    /// Has the hosts looked at again.
    fn touch_hosts(&mut self, here: &Here<'_>, texts: &[String]) -> Result<(), Error> {
        for (zone, _) in self.in_living_zones(here, texts)?.into_values() {
            let Some(mut host) = self.client_hosts(zone.id)?.into_iter().next() else { continue };
            let Ok(name) = Name::parse(&host.hostname) else { continue };
            host.modified_on = self.now();
            self.put(Key::client_host(zone.id, &name), &host)?;
        }
        Ok(())
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
        let lies_elsewhere = |text: &String| Name::parse(text).is_ok_and(|name| !zone.name.contains(&name));
        let others = root.associated_hostnames.iter().filter(|text| lies_elsewhere(text));
        let mut names: BTreeSet<String> = others.cloned().collect();
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
