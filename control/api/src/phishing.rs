//! `/bartizan/zones/{zone_id}/phishing`: what the operator of the edge found a zone to be. Of a zone that sends phishing mail
//! DNS says that its mail is to be rejected; its records stay as they are, and are shown so.
//!
//! The switch is the operator's, over zones of every account: it takes a permission over the edge's own.

use axum::extract::State;
use bartizan_names::{Phishing, ZoneId};
use bartizan_store::Key;
use bartizan_v4::phishing::{PhishingBody, PhishingState};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;
use crate::transaction::View;
use crate::zones;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::EdgeZonesWrite, api, routes!(get, change)))
}

/// Whether the operator found a zone to send phishing mail.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/phishing",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<PhishingState>))
)]
async fn get(State(api): State<Api>, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<PhishingState>, Error> {
    Ok(Reply::of(api.read(move |view| shown(&view.zone_of_any(id)?)).await?))
}

/// Says of a zone that it sends phishing mail, or that it does not.
///
/// `on`: DNS answers that mail of the zone is to be rejected (`_dmarc` has `v=DMARC1; p=reject`), and does not say who
/// sends or signs it. `strict`: and the zone's own name has no text at all. What is stored stays as it is.
#[utoipa::path(
    patch,
    path = "/bartizan/zones/{zone_id}/phishing",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    request_body = PhishingBody,
    responses((status = 200, body = bartizan_v4::Envelope<PhishingState>))
)]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Body(body): Body<PhishingBody>,
) -> Result<Reply<PhishingState>, Error> {
    let value = body.value.value().and_then(|text| text.parse::<Phishing>().ok());
    let value = value.ok_or_else(|| Fault::SettingValue.because("it must be on, strict or off").at("/value"))?;
    let state = api
        .change(&caller, move |change| {
            change.require(Key::zone(id));
            let mut zone = change.zone_of_any(id)?;
            if zones::parse(&zone)?.phishing != value {
                zone.meta.phishing_detected = value != Phishing::No;
                zone.meta.phishing_strict = value == Phishing::Strict;
                zone.modified_on = change.now();
                change.put(Key::zone(id), &zone)?;
            }
            shown(&zone)
        })
        .await?;
    Ok(Reply::of(state))
}

impl View {
    /// A zone of whatever account: who looks after an edge need not see what is in the account.
    fn zone_of_any(&self, id: ZoneId) -> Result<bartizan_v4::Zone, Error> {
        self.find(&Key::zone(id))?.ok_or_else(|| Fault::ZoneUnknown.into())
    }
}

fn shown(zone: &bartizan_v4::Zone) -> Result<PhishingState, Error> {
    let value = zones::parse(zone)?.phishing.as_str().to_owned();
    Ok(PhishingState { id: zone.id, name: zone.name.clone(), value, modified_on: zone.modified_on })
}
