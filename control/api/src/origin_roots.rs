//! `/zones/{zone_id}/acm/custom_trust_store`: authorities of a zone's own, that its origins may have their certificates from. With
//! `ssl` `strict` they count beside those that this machine trusts.

use bartizan_certs::{At, Authorities, ChainError};
use bartizan_names::{CertificateId, Timestamp, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::certificate::{OriginRoot, OriginRootBody, StoredOriginRoot};
use utoipa_axum::router::OpenApiRouter;

use crate::error::{Error, Fault};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes};
use crate::resource::{self, All, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, View};

/// Of a zone. Each new connection to an origin is judged by all of them.
const ROOTS_MAX: u64 = 20;

/// Of those, with one name. What an origin shows may be signed by any that is called what it says, so that each is a signature
/// to be checked: an authority has its next key beside the last, and some more.
const OF_ONE_NAME_MAX: usize = 4;

/// Octets of the certificate of one.
const BYTES_MAX: usize = 16 * 1024;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<OriginRoots>(api)
}

struct OriginRoots;

impl Resource for OriginRoots {
    const KIND: Kind = Kind::OriginRoot;
    const PLACES: &'static [Place] = &[Place::changed(Owner::Zone, Permission::SslRead, Permission::SslWrite)];
    const PATH: &'static str = "acm/custom_trust_store";
    const ID: &'static str = "custom_origin_trust_store_id";
    const ONE: &'static str = "an authority of origins";
    const MANY: &'static str = "Authorities of origins";
    const CALLS: &'static [Call] = &[Call::List, Call::Get, Call::Create, Call::Delete];
    const SIZES: PageSizes = PageSizes { min: 1, default: 20, max: 50 };
    const UNKNOWN: Fault = Fault::CertificateUnknown;
    const TAGGED: bool = false;

    type Id = CertificateId;
    type Params = All;
    type Document = StoredOriginRoot;
    type Sent = OriginRoot;

    fn sent(here: &Here<'_>, _: &View, root: StoredOriginRoot) -> Result<OriginRoot, Error> {
        let StoredOriginRoot { id, certificate, issuer, signature, expires_on, uploaded_on, updated_at } = root;
        let has_ended = expires_on <= here.api.clock().now();
        let status = if has_ended { "expired" } else { "active" }.to_owned();
        Ok(OriginRoot { id, certificate, expires_on, issuer, signature, status, updated_at, uploaded_on })
    }
}

impl Editable for OriginRoots {
    type Body = OriginRootBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &OriginRootBody) -> Result<StoredOriginRoot, Error> {
        let zone = here.zone_id()?;
        refuse_many(change, zone)?;
        let text = body.certificate.value().ok_or(ChainError::Missing(At::Certificate))?;
        if text.len() > BYTES_MAX {
            let why = format!("certificates have {BYTES_MAX} octets at most");
            return Err(Fault::CertificateInvalid.because(why).at("/certificate"));
        }
        let Authorities { pem, issuer, signature, expires_on, .. } = Authorities::read(text, change.now())?;
        refuse_namesakes(change, zone, &pem)?;
        Ok(StoredOriginRoot {
            id: CertificateId::from_bytes(bartizan_seal::random()),
            certificate: pem,
            issuer,
            signature,
            expires_on,
            uploaded_on: change.now(),
            updated_at: change.now(),
        })
    }

    fn edit(
        _: &Here<'_>,
        _: &mut Change,
        old: &StoredOriginRoot,
        _: &OriginRootBody,
        _: Edit,
    ) -> Result<StoredOriginRoot, Error> {
        Ok(old.clone())
    }

    fn id(root: &StoredOriginRoot) -> CertificateId {
        root.id
    }

    fn stamp(root: &mut StoredOriginRoot, now: Timestamp) {
        root.updated_at = now;
    }
}

impl Change {
    /// Puts one back.
    pub(crate) fn put_origin_root(&mut self, key: Key, root: &StoredOriginRoot) -> Result<(), Error> {
        if let Some(zone) = key.zone_id().filter(|_| !self.has(&key).unwrap_or(false)) {
            refuse_many(self, zone)?;
        }
        self.put(key, root)
    }
}

/// One certificate at a time: nobody needs the way to an authority that is trusted itself.
fn refuse_namesakes(change: &Change, zone: ZoneId, pem: &str) -> Result<(), Error> {
    let names = Authorities::names(pem)?;
    let [name] = names.as_slice() else {
        let why = format!("there are {} certificates in the text; each authority is brought by itself", names.len());
        return Err(Fault::CertificateInvalid.because(why).at("/certificate"));
    };
    let page = Page { number: 1, size: ROOTS_MAX as u32 };
    let listed = change.page::<StoredOriginRoot>(&Prefix::of(Scope::Zone(zone), Kind::OriginRoot), page)?;
    let is_called_so =
        |root: &&StoredOriginRoot| Authorities::names(&root.certificate).is_ok_and(|names| names.contains(name));
    if listed.documents.iter().filter(is_called_so).count() >= OF_ONE_NAME_MAX {
        let why = format!("the zone has {OF_ONE_NAME_MAX} of this name, which is the most; delete one");
        return Err(Fault::CertificateInvalid.because(why).at("/certificate"));
    }
    Ok(())
}

fn refuse_many(change: &Change, zone: ZoneId) -> Result<(), Error> {
    if change.0.count(&Prefix::of(Scope::Zone(zone), Kind::OriginRoot))? >= ROOTS_MAX {
        let why = format!("the zone has {ROOTS_MAX} of them, which is the most; delete one");
        return Err(Fault::CertificateInvalid.because(why));
    }
    Ok(())
}
