//! `GET /zones/{zone_id}/dns_records/export`: the records of a zone as a master file, a piece at a time.
//!
//! Each piece is of the newest state: a state that is looked at for as long as a slow client reads would keep the store's
//! journal growing. If the zone changes meanwhile the file says so at its end.

use std::fmt::Write;

use axum::extract::{Request, State};
use axum::response::Response;
use bartizan_model::Zone;
use bartizan_names::{Name, Timestamp, ZoneId};
use bartizan_publish::{soa_rname, soa_serial, times};
use bartizan_store::{Key, Kind, Prefix, Rev, Scope};
use bartizan_wire::zone_file::{write_entry, write_name};
use http::{HeaderValue, header};

use super::lines;
use crate::caller::Caller;
use crate::error::Error;
use crate::extract::{Ids, Patience};
use crate::owner_names;
use crate::state::Api;
use crate::transaction::{View, document};

/// Names of one piece.
const NAMES: usize = 500;

/// How far an export has come.
struct Progress {
    zone: ZoneId,
    /// The last change of the zone when it began.
    changed: Option<Rev>,
    after: Option<Key>,
    records: u64,
    left_out: u64,
    is_over: bool,
}

/// The records of a zone as a master file.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dns_records/export",
    tag = "DNS records",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/plain"))
)]
pub(super) async fn export(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    request: Request,
) -> Result<Response, Error> {
    let patience = request.extensions().get::<Patience>().cloned();
    let now = api.clock().now();
    let (head, changed) = api
        .read(move |view| {
            let (zone, changed) = (view.zone_of(&caller, zone)?, view.0.zone_changed(zone)?);
            Ok((head(&zone, changed.unwrap_or(Rev::ZERO), now), changed))
        })
        .await?;
    let progress = Progress { zone, changed, after: None, records: 0, left_out: 0, is_over: false };
    let pieces = futures_util::stream::try_unfold((Some(head), progress), move |(head, mut progress)| {
        let api = api.clone();
        patience.iter().for_each(Patience::renew);
        async move {
            if head.is_some() || progress.is_over {
                return Ok::<_, Error>(head.map(|head| (head, (None, progress))));
            }
            let piece = api.read_list(move |view| progress.piece(view).map(|text| (text, progress))).await?;
            Ok(Some((piece.0, (None, piece.1))))
        }
    });
    let mut response = Response::new(axum::body::Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// What stands in front: what it is, its SOA record, without which no server loads a zone, and which servers have it.
fn head(zone: &Zone, changed: Rev, now: Timestamp) -> String {
    let apex = zone.name.as_name();
    let mut text = format!(";;\n;; Domain:     {apex}.\n;; Exported:   {now}\n;;\n");
    let primary = zone.nameservers.first().unwrap_or(apex);
    let mut data = String::new();
    [primary, &soa_rname(zone)].into_iter().for_each(|name| {
        write_name(&mut data, name);
        data.push(' ');
    });
    let numbers = [soa_serial(changed), times::REFRESH, times::RETRY, times::EXPIRE, times::MINIMUM];
    data += &numbers.map(|number| number.to_string()).join(" ");
    write_entry(&mut text, apex, times::SOA_TTL, "SOA", &data, "");
    for server in &zone.nameservers {
        let mut data = String::new();
        write_name(&mut data, server);
        write_entry(&mut text, apex, times::NS_TTL, "NS", &data, "");
    }
    text
}

impl Progress {
    /// The next names, or the end.
    fn piece(&mut self, view: &View) -> Result<String, Error> {
        let names = view.keys(&Prefix::of(Scope::Zone(self.zone), Kind::Name), self.after.as_ref(), NAMES)?;
        let mut text = String::new();
        for owner in names.iter().filter_map(Key::id_as::<Name>) {
            let mut lines = Vec::new();
            for entry in view.0.records_at(self.zone, &owner)? {
                let read = document(&entry)
                    .and_then(|document| owner_names::parse(&document).map(|record| (record, document)));
                let Ok((record, document)) = read else {
                    self.left_out += 1;
                    continue;
                };
                let mut line = String::new();
                lines::write(&mut line, &record, &document);
                lines.push((record.data.rtype(), line));
            }
            // Their ids say nothing: two files of one state are the same.
            lines.sort_unstable();
            self.records += lines.len() as u64;
            text.extend(lines.into_iter().map(|(_, line)| line));
        }
        self.is_over = names.len() < NAMES;
        self.after = names.into_iter().last().or(self.after.take());
        if self.is_over {
            // A String takes any text.
            let _ = writeln!(text, ";;\n;; Records:    {}", self.records);
            if self.left_out > 0 {
                let _ = writeln!(text, ";; Left out:   {}, which cannot be read", self.left_out);
            }
            if view.0.zone_changed(self.zone)? != self.changed {
                text += ";; The zone changed while this was written: export it again for one state of it.\n";
            }
        }
        Ok(text)
    }
}
