//! `/zones/{zone_id}/client_certificates`: certificates that the edge itself issues to clients, devices for example, by an
//! authority that each zone has of its own. It comes into being with the first of them.
//!
//! A client keeps its key, and sends a request for a certificate (RFC 2986). One that is revoked is so when that is answered, on
//! connections that are open too, until it is reactivated.

use std::time::Duration;

use axum::extract::State;
use bartizan_certs::{CLIENT_VALIDITY_DAYS, ClientCa, ClientCaError, ClientSubject};
use bartizan_model::Zone;
use bartizan_names::{ClientCertificateId, ZoneId};
use bartizan_seal::Key as SealKey;
use bartizan_store::{ClientCertificateQuery, Key, Kind};
use bartizan_v4::client_auth::{
    ClientCertificate, ClientCertificateBody, IssuedBy, StoredClientAuthority, StoredRevocation,
};
use bartizan_v4::{Envelope, Integer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::resource::{self, Call, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};

/// Certificates of a zone: each is a few kilobytes in the store, and none in memory.
const CERTIFICATES_MAX: u64 = 1_000_000;

pub(crate) const ACTIVE: &str = "active";
pub(crate) const REVOKED: &str = "revoked";

/// The dialect's word for how our authorities sign.
const SIGNATURE: &str = "ECDSAWithSHA256";

const DAY: u64 = 86_400;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::seen::<ClientCertificates>(api)
        .routes(needs(Permission::SslWrite, api, routes!(issue)))
        .routes(needs(Permission::SslWrite, api, routes!(revoke)))
        .routes(needs(Permission::SslWrite, api, routes!(reactivate)))
}

struct ClientCertificates;

#[derive(Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub(crate) struct Params {
    /// `all` (the default), `active`, `revoked`, `pending_revocation` or `pending_reactivation`: nothing is ever pending here.
    status: Option<String>,
    /// An extra of ours: only those whose common name this is, letter by letter.
    common_name: Option<String>,
}

impl Resource for ClientCertificates {
    const KIND: Kind = Kind::ClientCertificate;
    const PLACES: &'static [Place] = &[Place::seen(Owner::Zone, Permission::SslRead)];
    const PATH: &'static str = "client_certificates";
    const ID: &'static str = "client_certificate_id";
    const ONE: &'static str = "a certificate of a client";
    const MANY: &'static str = "Client certificates";
    const CALLS: &'static [Call] = &[Call::List, Call::Get];
    const SIZES: PageSizes = PageSizes { min: 5, default: 20, max: 1_000 };
    const UNKNOWN: Fault = Fault::ClientCertificateUnknown;
    const TAGGED: bool = false;

    type Id = ClientCertificateId;
    type Params = Params;
    type Document = ClientCertificate;
    type Sent = ClientCertificate;

    fn sent(_: &Here<'_>, _: &View, certificate: ClientCertificate) -> Result<ClientCertificate, Error> {
        Ok(certificate)
    }

    fn list(here: &Here<'_>, view: &View, params: Params, page: Page) -> Result<Listed<ClientCertificate>, Error> {
        let query = ClientCertificateQuery {
            zone: here.zone_id()?,
            status: params.status.filter(|status| status != "all"),
            common_name: params.common_name,
            page: page.number,
            per_page: page.size,
        };
        Listed::page(&view.0.client_certificates(&query)?)
    }
}

/// Issues a certificate to a client.
#[utoipa::path(
    post,
    path = "/zones/{zone_id}/client_certificates",
    tag = "Client certificates",
    params(("zone_id" = String, Path)),
    request_body = ClientCertificateBody,
    responses((status = 200, body = Envelope<ClientCertificate>))
)]
async fn issue(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<ClientCertificateBody>,
) -> Result<Reply<ClientCertificate>, Error> {
    let refused = |field: &str, why: String| Fault::CertificateInvalid.because(why).at(format!("/{field}"));
    let csr = body.csr.value().cloned().ok_or_else(|| refused("csr", "there is none".to_owned()))?;
    let days = body.validity_days.value().and_then(|Integer(days)| u32::try_from(*days).ok());
    let days = days.filter(|days| CLIENT_VALIDITY_DAYS.contains(days)).ok_or_else(|| {
        let (least, most) = (CLIENT_VALIDITY_DAYS.start(), CLIENT_VALIDITY_DAYS.end());
        refused("validity_days", format!("{least} to {most}"))
    })?;
    let (actor, seal) = (caller.clone(), api.seal().clone());
    let certificate = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            if change.0.client_certificates_in(zone.id)? >= CERTIFICATES_MAX {
                let why = format!("the zone has {CERTIFICATES_MAX} of them, which is the most");
                return Err(Fault::CertificateInvalid.because(why));
            }
            let authority = change.client_authority(&zone, &seal)?;
            let ca = ClientCa::open(&authority, &seal)?;
            let issued = ca.issue(&csr, Duration::from_secs(u64::from(days) * DAY), change.now())?;
            let ClientSubject { common_name, organization, organizational_unit, country, state, location } =
                issued.subject;
            let certificate = ClientCertificate {
                id: ClientCertificateId::from_bytes(bartizan_seal::random()),
                certificate: issued.pem,
                certificate_authority: IssuedBy { id: authority.id, name: authority.name },
                common_name,
                organization,
                organizational_unit,
                country,
                state,
                location,
                csr: csr.clone(),
                fingerprint_sha256: issued.fingerprint,
                serial_number: issued.serial,
                signature: SIGNATURE.to_owned(),
                ski: issued.ski,
                status: ACTIVE.to_owned(),
                validity_days: days,
                issued_on: change.now(),
                expires_on: issued.not_after,
            };
            change.put_new(Key::client_certificate(zone.id, certificate.id), &certificate)?;
            Ok(certificate)
        })
        .await?;
    Ok(Reply::of(certificate))
}

/// Revokes a certificate of a client.
#[utoipa::path(
    delete,
    path = "/zones/{zone_id}/client_certificates/{client_certificate_id}",
    tag = "Client certificates",
    params(("zone_id" = String, Path), ("client_certificate_id" = String, Path)),
    responses((status = 200, body = Envelope<ClientCertificate>))
)]
async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, ClientCertificateId)>,
) -> Result<Reply<ClientCertificate>, Error> {
    turn(api, caller, zone, id, REVOKED).await
}

/// Takes the revocation of a certificate back.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/client_certificates/{client_certificate_id}",
    tag = "Client certificates",
    params(("zone_id" = String, Path), ("client_certificate_id" = String, Path)),
    responses((status = 200, body = Envelope<ClientCertificate>))
)]
async fn reactivate(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, ClientCertificateId)>,
) -> Result<Reply<ClientCertificate>, Error> {
    turn(api, caller, zone, id, ACTIVE).await
}

async fn turn(
    api: Api,
    caller: Caller,
    zone: ZoneId,
    id: ClientCertificateId,
    status: &'static str,
) -> Result<Reply<ClientCertificate>, Error> {
    let actor = caller.clone();
    let certificate = api
        .change(&actor, move |change| {
            change.zone(&caller, zone)?;
            let key = Key::client_certificate(zone, id);
            let found: Option<ClientCertificate> = change.find(&key)?;
            let mut certificate = found.ok_or(Fault::ClientCertificateUnknown)?;
            if certificate.status != status {
                certificate.status = status.to_owned();
                change.put(key, &certificate)?;
            }
            change.put_revocation(zone, &certificate)?;
            Ok(certificate)
        })
        .await?;
    Ok(Reply::of(certificate))
}

impl Change {
    /// What is read of a certificate by those who obey it: whether it is revoked.
    pub(crate) fn put_revocation(&mut self, zone: ZoneId, certificate: &ClientCertificate) -> Result<(), Error> {
        let key = Key::client_revocation(zone, &certificate.serial_number);
        match (self.has(&key)?, certificate.status == REVOKED) {
            (false, true) => {
                let (client_certificate, revoked_on) = (certificate.id, self.now());
                self.put(key, &StoredRevocation { zone_id: zone, client_certificate, revoked_on })
            }
            (true, false) => self.delete(key),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// The authority of a zone, made if there never was one.
    pub(crate) fn client_authority(&mut self, zone: &Zone, seal: &SealKey) -> Result<StoredClientAuthority, Error> {
        let key = Key::client_authority(zone.id);
        if let Some(authority) = self.find(&key)? {
            return Ok(authority);
        }
        let authority = ClientCa::create(&zone.name, seal, self.now())?;
        self.put(key, &authority)?;
        Ok(authority)
    }
}

impl From<ClientCaError> for Error {
    fn from(error: ClientCaError) -> Error {
        match error {
            ClientCaError::Long | ClientCaError::Request(_) => Fault::CertificateInvalid.because(error).at("/csr"),
            ClientCaError::Ended => Fault::AuthorityEnded.because("this zone's authority of clients has run out"),
            ClientCaError::Sealed | ClientCaError::Sign(_) => Error::internal(&error),
        }
    }
}
