//! The audit as a file of comma-separated values (RFC 4180), a piece at a time.
//!
//! Each piece is of the newest state, as a state that is looked at for as long as a slow client reads would keep the store's
//! journal growing; what came after the first one is left out. Whoever is not let in any more gets no further piece. A file
//! that broke off has no end of its transfer, so that it is not taken for the whole.

use axum::body::Body;
use axum::response::Response;
use bartizan_names::{AccountId, Span};
use bartizan_store::{AuditPlace, AuditRange};
use bartizan_v4::audit_log::AuditLog;
use http::{HeaderValue, header};

use super::look::{self, Budget};
use super::sight::Sight;
use super::{Wanted, Whose};
use crate::caller::Caller;
use crate::error::Error;
use crate::extract::Patience;
use crate::state::Api;
use crate::transaction::View;

/// How much is looked at for one piece. Of documents there may be twice what the longest entry has, so that each fits.
const PIECE: Budget = Budget { entries: 2_000, shown_bytes: 2 * ENTRY_BYTES_MAX };

/// Bytes of documents that one entry may show: two of the longest values, as text and as JSON.
const ENTRY_BYTES_MAX: usize = 4 << 20;

const HEAD: &str = "id,when,action,actor_email,actor_id,actor_ip,token_id,token_name,resource_type,resource_id,name,\
                    zone_id,zone_name,objects,interface,route,account_id,revision,request,old_value,new_value\r\n";

/// The entries that are wanted, all of them, as a file.
pub(super) async fn answer(
    api: Api,
    caller: Caller,
    params: super::Params,
    whose: Whose,
    patience: Option<Patience>,
) -> Result<Response, Error> {
    let by = whose.of(&caller);
    let begun = api
        .read_list(move |view| {
            let Some(wanted) = Wanted::read(view, params, by)? else { return Ok(None) };
            let mut range = look::range(view, &wanted)?;
            range.end = range.end.min(AuditPlace::first_of(view.0.head().next()));
            Ok(Some(Progress { wanted, caller, range }))
        })
        .await?;
    let pieces = futures_util::stream::try_unfold((Some(HEAD.to_owned()), begun), move |(head, left)| {
        let api = api.clone();
        patience.iter().for_each(Patience::renew);
        async move {
            if let Some(head) = head {
                return Ok::<_, Error>(Some((head, (None, left))));
            }
            let Some(progress) = left else { return Ok(None) };
            let (edge, now) = (api.facts().account, api.clock().span());
            let (text, left) = api.read_list(move |view| progress.piece(view, edge, now)).await?;
            Ok(Some((text, (None, left))))
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"audit-logs.csv\""));
    Ok(response)
}

/// What is left of an export.
struct Progress {
    wanted: Wanted,
    caller: Caller,
    range: AuditRange,
}

impl Progress {
    /// The next lines, and what is left then; none at the end.
    fn piece(self, view: &View, edge: AccountId, at: Span) -> Result<(String, Option<Progress>), Error> {
        self.caller.again(view, at)?;
        let sight = Sight::new(&self.caller, edge);
        let (entries, left) = look::piece(view, &sight, &self.wanted, self.range, PIECE, ENTRY_BYTES_MAX)?;
        let mut text = String::new();
        entries.into_iter().for_each(|entry| write_line(&mut text, entry));
        Ok((text, left.map(|range| Progress { range, ..self })))
    }
}

fn write_line(text: &mut String, entry: AuditLog) {
    let AuditLog {
        id, when, action, actor, metadata, resource, interface, old_text, new_text, owner, bartizan, ..
    } = entry;
    let cells = [
        id,
        when.to_string(),
        action.kind,
        actor.email.unwrap_or_default(),
        actor.id.unwrap_or_default(),
        actor.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        bartizan.token.unwrap_or_default(),
        bartizan.token_name.unwrap_or_default(),
        resource.kind,
        resource.id,
        metadata.name.unwrap_or_default(),
        metadata.zone_id.unwrap_or_default(),
        metadata.zone_name.unwrap_or_default(),
        metadata.objects.unwrap_or(1).to_string(),
        interface,
        metadata.route.unwrap_or_default(),
        owner.id,
        bartizan.revision.to_string(),
        bartizan.request,
        old_text.unwrap_or_default(),
        new_text.unwrap_or_default(),
    ];
    for (number, cell) in cells.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        write_cell(text, cell);
    }
    text.push_str("\r\n");
}

/// RFC 4180 §2. A spreadsheet computes what begins like a formula, and names are made by others: an apostrophe in front makes
/// it text.
fn write_cell(text: &mut String, cell: &str) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !is_formula && !cell.contains(['"', ',', '\r', '\n']) {
        return text.push_str(cell);
    }
    text.push('"');
    if is_formula {
        text.push('\'');
    }
    text.push_str(&cell.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::write_cell;

    #[test]
    fn cells() {
        for (cell, expect) in [
            ("", ""),
            ("www.example.com", "www.example.com"),
            ("a,b", r#""a,b""#),
            (r#"{"a":"b"}"#, r#""{""a"":""b""}""#),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", r#""'=1+1""#),
            ("-x", r#""'-x""#),
            ("@SUM(A1)", r#""'@SUM(A1)""#),
            ("a=b", "a=b"),
        ] {
            let mut text = String::new();
            write_cell(&mut text, cell);
            assert_eq!(text, expect, "{cell:?}");
        }
    }
}
