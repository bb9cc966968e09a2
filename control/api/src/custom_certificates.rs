//! `/zones/{zone_id}/custom_certificates`: certificates that owners of zones bring. They go before those of the public
//! authority and of the local one, for the names of theirs that lie in the zone, as long as they last.
//!
//! What cannot be served is refused with the reason, and nothing changes. The key is sealed, and shown to nobody.

use axum::extract::State;
use bartizan_certs::{At, Chain, ChainError, Kept, PRIORITY_MAX, Upload};
use bartizan_names::{CertificateId, Timestamp, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::certificate::{CustomCertificate, CustomCertificateBody, PrioritizeBody};
use bartizan_v4::{Integer, Patch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::resource::{self, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};

/// Certificates of a zone. Each may be for all its names.
const CERTIFICATES_MAX: u32 = 100;

/// Those that are read: a zone may have more, of before they were counted by turns.
const READ_MAX: u32 = 1_000;

const BUNDLE_METHODS: [&str; 3] = ["ubiquitous", "optimal", "force"];
const KINDS: [&str; 2] = ["legacy_custom", "sni_custom"];

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<CustomCertificates>(api).routes(needs(Permission::SslWrite, api, routes!(prioritize)))
}

struct CustomCertificates;

#[derive(Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub(crate) struct Params {
    /// `active`, `expired`, or `pending`: its life has not begun.
    status: Option<String>,
}

impl Resource for CustomCertificates {
    const KIND: Kind = Kind::CustomCertificate;
    const PLACES: &'static [Place] = &[Place::changed(Owner::Zone, Permission::SslRead, Permission::SslWrite)];
    const PATH: &'static str = "custom_certificates";
    const ID: &'static str = "custom_certificate_id";
    const ONE: &'static str = "a certificate of your own";
    const MANY: &'static str = "Custom certificates";
    const CALLS: &'static [Call] = &[Call::List, Call::Get, Call::Create, Call::Edit(Edit::Patch), Call::Delete];
    const SIZES: PageSizes = PageSizes { min: 1, default: 20, max: CERTIFICATES_MAX };
    const UNKNOWN: Fault = Fault::CertificateUnknown;

    type Id = CertificateId;
    type Params = Params;
    type Document = Upload;
    type Sent = CustomCertificate;

    fn sent(_: &Here<'_>, _: &View, upload: Upload) -> Result<CustomCertificate, Error> {
        Ok(sent(upload))
    }

    fn list(here: &Here<'_>, view: &View, params: Params, page: Page) -> Result<Listed<Upload>, Error> {
        let mut listed = view.uploads(here.zone_id()?)?;
        if let Some(status) = &params.status {
            listed.documents.retain(|upload| status == self::status(upload));
            listed.total = listed.documents.len() as u64 + listed.left_out;
        }
        let first = (page.number.saturating_sub(1) as usize).saturating_mul(page.size as usize);
        listed.documents = listed.documents.into_iter().skip(first).take(page.size as usize).collect();
        Ok(listed)
    }
}

impl Editable for CustomCertificates {
    type Body = CustomCertificateBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &CustomCertificateBody) -> Result<Upload, Error> {
        let zone = here.zone()?;
        if change.0.count(&prefix(zone.id))? >= u64::from(CERTIFICATES_MAX) {
            let why = format!("the zone has {CERTIFICATES_MAX} of them, which is the most; delete one");
            return Err(Fault::CertificateInvalid.because(why));
        }
        let certificate = body.certificate.value().ok_or(ChainError::Missing(At::Certificate))?;
        let key = body.private_key.value().ok_or(ChainError::Missing(At::Key))?;
        let chain = Chain::read(certificate, key, change.now())?;
        let kept = Kept {
            id: CertificateId::from_bytes(bartizan_seal::random()),
            zone: zone.id,
            bundle_method: word(&body.bundle_method, "bundle_method", &BUNDLE_METHODS, None)?,
            kind: word(&body.kind, "type", &KINDS, None)?,
            priority: 0,
            uploaded_on: change.now(),
        };
        change.count_certificate(&zone, kept.id)?;
        Ok(Upload::new(kept, &chain, &zone.name, here.api.seal(), change.now())?)
    }

    fn edit(
        here: &Here<'_>,
        change: &mut Change,
        old: &Upload,
        body: &CustomCertificateBody,
        _: Edit,
    ) -> Result<Upload, Error> {
        let bundle_method = word(&body.bundle_method, "bundle_method", &BUNDLE_METHODS, Some(&old.bundle_method))?;
        let kind = word(&body.kind, "type", &KINDS, Some(&old.kind))?;
        let chain = match (body.certificate.value(), body.private_key.value()) {
            (Some(certificate), Some(key)) => Chain::read(certificate, key, change.now())?,
            (Some(certificate), None) => {
                // A newer certificate for the same key.
                let key = old.key(here.api.seal())?;
                Chain::of_key(certificate, key, change.now()).map_err(|error| match error {
                    ChainError::Mismatch => Fault::CertificateInvalid
                        .because("it is not for the key of the one that is there: give its private_key")
                        .at("/private_key"),
                    error => error.into(),
                })?
            }
            (None, Some(_)) => return Err(ChainError::Missing(At::Certificate).into()),
            (None, None) => return Ok(Upload { bundle_method, kind, ..old.clone() }),
        };
        let Upload { id, zone_id: zone, priority, uploaded_on, .. } = *old;
        let kept = Kept { id, zone, bundle_method, kind, priority, uploaded_on };
        Ok(Upload::new(kept, &chain, &here.zone()?.name, here.api.seal(), change.now())?)
    }

    fn id(upload: &Upload) -> CertificateId {
        upload.id
    }

    fn stamp(upload: &mut Upload, now: Timestamp) {
        upload.modified_on = now;
    }
}

impl View {
    /// All that were brought for a zone, in the order in which they are used.
    pub(crate) fn uploads(&self, zone: ZoneId) -> Result<Listed<Upload>, Error> {
        let mut listed: Listed<Upload> = self.page(&prefix(zone), Page { number: 1, size: READ_MAX })?;
        listed.documents.sort_by_key(|upload| std::cmp::Reverse((upload.priority, upload.not_after, upload.id)));
        Ok(listed)
    }
}

/// Says in which order certificates of a zone are used: the one with the greatest number first.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/custom_certificates/prioritize",
    tag = "Custom certificates",
    params(("zone_id" = String, Path)),
    request_body = PrioritizeBody,
    responses((status = 200, body = bartizan_v4::Envelope<Vec<CustomCertificate>>))
)]
async fn prioritize(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<PrioritizeBody>,
) -> Result<Reply<Vec<CustomCertificate>>, Error> {
    if body.certificates.len() > CERTIFICATES_MAX as usize {
        let why = format!("there may be {CERTIFICATES_MAX} at most");
        return Err(Fault::CertificateInvalid.because(why).at("/certificates"));
    }
    let actor = caller.clone();
    let listed = api
        .change(&actor, move |change| {
            change.zone(&caller, zone)?;
            change.require(Key::zone(zone));
            let mut listed = change.uploads(zone)?;
            for (index, item) in body.certificates.iter().enumerate() {
                let at = |field: &str| format!("/certificates/{index}/{field}");
                let found = listed.documents.iter_mut().find(|upload| upload.id.to_string() == item.id);
                let upload = found.ok_or_else(|| Error::from(Fault::CertificateUnknown).at(at("id")))?;
                let priority = item.priority.value().and_then(|Integer(number)| u32::try_from(*number).ok());
                let priority = priority.filter(|priority| *priority <= PRIORITY_MAX).ok_or_else(|| {
                    Fault::CertificateInvalid.because(format!("0 to {PRIORITY_MAX}")).at(at("priority"))
                })?;
                if upload.priority != priority {
                    (upload.priority, upload.modified_on) = (priority, change.now());
                    change.put(upload.store_key(), upload)?;
                }
            }
            listed.documents.sort_by_key(|upload| std::cmp::Reverse(upload.priority));
            Ok(listed)
        })
        .await?;
    let page = Page { number: 1, size: CERTIFICATES_MAX };
    Ok(Reply::page(listed.documents.into_iter().map(sent).collect(), page, listed.total).without(listed.left_out))
}

fn prefix(zone: ZoneId) -> Prefix {
    Prefix::of(Scope::Zone(zone), Kind::CustomCertificate)
}

/// One of some words; the first where none is said and none was before.
fn word(said: &Patch<String>, field: &str, words: &[&str], before: Option<&String>) -> Result<String, Error> {
    let usual = || words[0].to_owned();
    match said {
        Patch::Value(word) if words.contains(&word.as_str()) => Ok(word.clone()),
        Patch::Value(_) => {
            let why = format!("{field} is one of {}", words.join(", "));
            Err(Fault::CertificateInvalid.because(why).at(format!("/{field}")))
        }
        Patch::Null => Ok(usual()),
        Patch::Absent => Ok(before.cloned().unwrap_or_else(usual)),
    }
}

fn status(upload: &Upload) -> &'static str {
    match (upload.has_ended(), upload.is_early) {
        (true, _) => "expired",
        (false, true) => "pending",
        (false, false) => "active",
    }
}

fn sent(upload: Upload) -> CustomCertificate {
    let status = status(&upload).to_owned();
    let Upload { id, zone_id, hosts, issuer, signature, bundle_method, kind, priority, .. } = upload;
    CustomCertificate {
        id,
        zone_id,
        hosts,
        issuer,
        signature,
        status,
        bundle_method,
        kind,
        priority,
        expires_on: upload.not_after,
        uploaded_on: upload.uploaded_on,
        modified_on: upload.modified_on,
    }
}
