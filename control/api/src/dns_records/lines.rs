//! Records as lines of a master file, there and back.

use bartizan_model::{COMMENT_MAX, Record, RecordData, RecordError, TTL_MAX, TTL_MIN, Ttl, Zone, of_the_edge};
use bartizan_names::RecordType;
use bartizan_v4::dns_record::ExtensionBody;
use bartizan_v4::{Integer, Patch, RecordBody};
use bartizan_wire::zone_file::{Attributes, Entry, write_entry};

use crate::error::{Error, Fault};

/// What a line asks for.
pub(super) enum Wanted {
    /// A record, and what of the line it does not follow.
    Record(Box<RecordBody>, Option<String>),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// What a line of a file asks for. Whether a record that does not say it is proxied is left open.
pub(super) fn wanted(zone: &Zone, entry: &Entry) -> Result<Wanted, Error> {
    let apex = zone.name.as_name();
    if !entry.owner.is_at_or_below(apex) {
        return Err(Fault::RecordName.because(format!("{} lies outside the zone {apex}", entry.owner)));
    }
    if let Some(reason) = of_the_edge(&entry.kind, entry.owner == *apex) {
        return Ok(Wanted::Nothing(reason));
    }
    let unknown = || bartizan_model::DataError::Type(entry.kind.clone());
    let kind: RecordType = entry.kind.parse().map_err(|()| RecordError::Data(unknown()))?;
    let data = RecordData::from_presentation(kind, &entry.data, &entry.origin).map_err(RecordError::Data)?;
    let told = Attributes::read(entry.comment.as_deref().unwrap_or_default());
    let (ttl, mut note) = match entry.ttl {
        None => (Ttl::AUTOMATIC.get(), None),
        Some(ttl) if Ttl::new(ttl.into()).is_some() => (ttl, None),
        Some(ttl) => {
            let kept = ttl.clamp(TTL_MIN, TTL_MAX);
            (kept, Some(format!("a time to live of {ttl} s is kept as {kept} s")))
        }
    };
    let comment = match told.comment.char_indices().nth(COMMENT_MAX) {
        Some((end, _)) => {
            note = Some(format!("the comment is cut to {COMMENT_MAX} characters"));
            told.comment[..end].to_owned()
        }
        None => told.comment,
    };
    let port = told.origin_port.filter(|_| told.proxied == Some(true));
    let extension = port.map(|port| ExtensionBody { origin_port: Patch::Value(Integer(port.into())) });
    let body = RecordBody {
        name: Patch::Value(entry.owner.to_string()),
        kind: Patch::Value(kind.to_string()),
        content: Patch::Value(data.content()),
        priority: data.priority().map_or(Patch::Absent, |priority| Patch::Value(Integer(priority.into()))),
        ttl: Patch::Value(Integer(ttl.into())),
        proxied: told.proxied.filter(|_| data.is_proxiable()).map_or(Patch::Absent, Patch::Value),
        comment: if comment.is_empty() { Patch::Absent } else { Patch::Value(comment) },
        tags: if told.tags.is_empty() { Patch::Absent } else { Patch::Value(told.tags) },
        bartizan: extension.map_or(Patch::Absent, Patch::Value),
        ..RecordBody::default()
    };
    Ok(Wanted::Record(Box::new(body), note))
}

/// Appends the line of a record.
pub fn write(to: &mut String, record: &Record, document: &bartizan_v4::Record) {
    let attributes = Attributes {
        comment: document.comment.clone().unwrap_or_default(),
        proxied: document.proxiable.then_some(document.proxied),
        flattens: false,
        origin_port: record.origin_port,
        tags: document.tags.clone(),
    };
    let (kind, data) = (record.data.rtype().to_string(), record.data.presentation());
    write_entry(to, &record.owner, record.ttl.get(), &kind, &data, &attributes.write());
}
