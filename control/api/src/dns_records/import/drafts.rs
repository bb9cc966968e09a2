//! What looking at the lines of a file came to, as it will be put: a second look, the one with which they land, has nothing
//! left to read or to check.
//!
//! A draft is right for as long as its names are as they were, and so each is guarded by the revision that it had. Drafts
//! lie in the working file behind the lines; where there is no room for one, or it is not right any more, the lines of its
//! piece are looked at again.
//!
//! ```text
//! count times: 0, id, text of the record's document
//!              1, revision of the name (0: it was not there), records at it from now on, text of the name
//!              2, text of a name that is proxied
//! texts: u32 length, bytes; numbers in big-endian
//! ```

use std::io;

use bartizan_model::Zone;
use bartizan_names::{Name, RecordId, RecordType, ZoneId};
use bartizan_store::{Key, Rev};
use bartizan_v4::StoredName;

use super::landing::Fitting;
use crate::error::Error;
use crate::spools::Spool;
use crate::transaction::Change;

const RECORD: u8 = 0;
const NAME: u8 = 1;
const PROXIED: u8 = 2;

/// Where the draft of a piece lies.
pub(super) struct Draft {
    at: u64,
    length: usize,
    pub(super) records: u64,
    /// Whether one of them leaves no room for others below it.
    pub(super) has_dname: bool,
}

impl Draft {
    /// None if there is no room for it.
    pub(super) fn of(fitting: &Fitting, spool: &mut Spool) -> Result<Option<Draft>, Error> {
        let mut bytes = Vec::new();
        for (record, document) in &fitting.new {
            bytes.push(RECORD);
            bytes.extend_from_slice(document.id.as_bytes());
            let json = serde_json::to_string(document).map_err(|error| Error::internal(&error))?;
            put_text(&mut bytes, &json);
            if record.proxied {
                bytes.push(PROXIED);
                put_text(&mut bytes, &record.owner.to_string());
            }
        }
        for (owner, seen, records) in fitting.names() {
            bytes.push(NAME);
            bytes.extend_from_slice(&seen.map_or(0, |rev| rev.0).to_be_bytes());
            bytes.extend_from_slice(&(records as u64).to_be_bytes());
            put_text(&mut bytes, &owner.to_string());
        }
        let pushed = spool.push(&bytes).and_then(|at| spool.flush().map(|()| at));
        let records = fitting.new.len() as u64;
        let has_dname = fitting.new.iter().any(|(record, _)| record.data.rtype() == RecordType::DNAME);
        Ok(pushed.ok().map(|at| Draft { at, length: bytes.len(), records, has_dname }))
    }

    /// Puts what the draft says, if all of its names are still as they were.
    pub(super) fn put(&self, change: &mut Change, zone: &Zone, spool: &Spool) -> Result<(), Error> {
        let bytes = spool.read(self.at, self.length)?;
        let mut rest = Cursor(&bytes);
        while !rest.0.is_empty() {
            rest.step(change, zone)?
                .ok_or_else(|| Error::internal(&io::Error::other("a draft of an import is not what was written")))?;
        }
        Ok(())
    }
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    // Documents and names are far below 4 GiB.
    to.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend_from_slice(text.as_bytes());
}

/// What is left to read.
struct Cursor<'b>(&'b [u8]);

impl Cursor<'_> {
    /// None for bytes that are no draft.
    fn step(&mut self, change: &mut Change, zone: &Zone) -> Result<Option<()>, Error> {
        let Some([kind]) = self.take() else { return Ok(None) };
        match kind {
            RECORD => {
                let (Some(id), Some(json)) = (self.take().map(RecordId::from_bytes), self.text()) else {
                    return Ok(None);
                };
                change.put_new_text(Key::record(zone.id, id), json);
            }
            NAME => {
                let (Some(rev), Some(records)) = (self.number(), self.number()) else { return Ok(None) };
                let Some(owner) = self.text().and_then(|text| Name::parse(text).ok()) else { return Ok(None) };
                put_name(change, zone.id, &owner, (rev > 0).then_some(Rev(rev)), records as usize)?;
            }
            PROXIED => {
                let Some(owner) = self.text().and_then(|text| Name::parse(text).ok()) else { return Ok(None) };
                change.put_certificate(zone, &owner)?;
            }
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Option<&str> {
        let length = usize::try_from(u32::from_be_bytes(self.take()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

/// Notes how many records stand at a name at which none leads to an application, if it is as it was when that was decided.
pub(super) fn put_name(
    change: &mut Change,
    zone: ZoneId,
    owner: &Name,
    seen: Option<Rev>,
    records: usize,
) -> Result<(), Error> {
    change.put_seen(Key::name(zone, owner), seen, &StoredName { records, apps: Vec::new() })
}
