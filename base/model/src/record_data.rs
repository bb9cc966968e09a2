//! What a record says: its data by type, in all the forms that it has.
//!
//! ```text
//! the API's content, data, priority ──► RecordData ──► content, data, priority
//! text of a master file             ──►            ──► text of a master file
//! octets of the wire                ──►            ──► octets of the wire
//! ```
//! Each type has one codec: most are a row in [`form`], made of the kinds of [`field`]. A type without one is kept as its
//! octets ([`generic`]). RFC 1035 §3.3 and §3.4, RFC 3596 (AAAA), RFC 3597 (text of any type).

mod composite;
mod error;
mod field;
mod form;
mod generic;
mod loc;
mod served;
mod svc_params;
#[cfg(test)]
mod tests;
mod text;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_names::{Name, RecordType};
use bartizan_v4::dns_record::Data;

pub use self::composite::Composite;
pub use self::error::DataError;
pub use self::loc::Loc;
use self::text::{Names, Style, Words};
use crate::txt;

/// A record's data. Names are lower case, so equal data is equal on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecordData {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(Name),
    /// At least one string, each of at most 255 bytes.
    Txt(Vec<Vec<u8>>),
    Loc(Loc),
    /// Of the other types that are known.
    Composite(Composite),
    /// Of a type that nobody here knows (RFC 3597).
    Octets(RecordType, Vec<u8>),
}

/// The fields of a request that hold data, before they are understood.
pub(crate) struct Given<'b> {
    pub(crate) content: Option<&'b str>,
    pub(crate) data: Option<&'b Data>,
    pub(crate) priority: Option<i64>,
    /// What `@` stands for in a target.
    pub(crate) apex: &'b Name,
}

impl RecordData {
    /// From a request, or from what is stored of one. `data` wins over `content`.
    pub(crate) fn parse(kind: &str, given: &Given<'_>) -> Result<RecordData, DataError> {
        let content = given.content.unwrap_or_default().trim();
        let names = Names::Whole { apex: given.apex };
        match kind.parse() {
            Ok(RecordType::TXT) => Ok(RecordData::Txt(txt::parse(content)?)),
            Ok(RecordType::LOC) => match given.data {
                Some(data) => Loc::read_data(data).map(RecordData::Loc),
                None => Loc::read_text(without_words(content, ["IN", "LOC"])).map(RecordData::Loc),
            },
            Ok(rtype) => match form::of(rtype) {
                Some(form) => Composite::read(form, given).map(RecordData::Composite),
                None => RecordData::plain(rtype, content, names),
            },
            Err(()) => Err(DataError::Type(kind.to_owned())),
        }
    }

    /// The contents that a text may mean, whatever is quoted in it, how its names end and how its numbers are written: as
    /// data of the type that is named, or of each type with more than one word. None where it is no data of that.
    pub fn contents_of(kind: Option<&str>, text: &str, apex: &Name) -> Vec<String> {
        let is_meant = |name: &str| kind.is_none_or(|kind| kind.eq_ignore_ascii_case(name));
        let of_forms = form::FORMS.iter().filter(|form| is_meant(form.name)).filter_map(|form| {
            // What stands beside the content is not in it.
            let priority = (form.priority == form::Priority::Beside).then_some(0);
            Composite::read(form, &Given { content: Some(text), data: None, priority, apex }).ok()
        });
        let loc = is_meant("LOC").then(|| Loc::read_text(without_words(text.trim(), ["IN", "LOC"])).ok()).flatten();
        of_forms.map(|data| data.content()).chain(loc.map(|loc| loc.text())).collect()
    }

    /// From the text that master files have behind the type: one line, without comments and parentheses. Names are below
    /// `origin` unless they end in a dot (RFC 1035 §5.1); `\# length hex` is read of every type (RFC 3597 §5).
    pub fn from_presentation(rtype: RecordType, text: &str, origin: &Name) -> Result<RecordData, DataError> {
        let names = Names::Relative { origin };
        // That its octets are none of a type that nobody knows helps nobody.
        let is_kept = RecordData::has_form(rtype);
        if let Some(rdata) = text.trim().strip_prefix(r"\#").filter(|_| is_kept) {
            let form =
                || DataError::Content { kind: "\\#", form: "its length and as many octets in hexadecimal".to_owned() };
            return generic::read(rdata).and_then(|wire| RecordData::from_wire(rtype, &wire)).ok_or_else(form);
        }
        match (rtype, form::of(rtype)) {
            (_, Some(form)) => Composite::read_text(form, text, names).map(RecordData::Composite),
            (RecordType::TXT, _) => Ok(RecordData::Txt(text::strings(text)?)),
            (RecordType::LOC, _) => Loc::read_text(text).map(RecordData::Loc),
            (rtype, None) => RecordData::plain(rtype, text.trim(), names),
        }
    }

    /// From the octets of the wire, names uncompressed.
    pub fn from_wire(rtype: RecordType, wire: &[u8]) -> Option<RecordData> {
        match rtype {
            RecordType::A => Some(RecordData::A(<[u8; 4]>::try_from(wire).ok()?.into())),
            RecordType::AAAA => Some(RecordData::Aaaa(<[u8; 16]>::try_from(wire).ok()?.into())),
            RecordType::CNAME => Name::from_wire(wire).ok().map(RecordData::Cname),
            RecordType::TXT => txt::from_wire(wire).map(RecordData::Txt),
            RecordType::LOC => Loc::read_wire(wire).map(RecordData::Loc),
            rtype => match form::of(rtype) {
                Some(form) => Composite::read_wire(form, wire).map(RecordData::Composite),
                None => generic::from_wire(rtype, wire).map(|octets| RecordData::Octets(rtype, octets)),
            },
        }
    }

    /// Octets of the wire as one line of a master file, also of types that are only served; in hexadecimal where the type has no
    /// form here, or they do not fit it (RFC 3597 §5).
    pub fn told(rtype: RecordType, wire: &[u8]) -> String {
        let kept = RecordData::from_wire(rtype, wire).map(|data| data.presentation());
        kept.or_else(|| served::told(rtype, wire)).unwrap_or_else(|| {
            let octets: Vec<String> = wire.iter().map(|octet| format!("{octet:02x}")).collect();
            format!("\\# {} {}", wire.len(), octets.concat())
        })
    }

    /// Whether records of this type are kept.
    fn has_form(rtype: RecordType) -> bool {
        matches!(rtype, RecordType::A | RecordType::AAAA | RecordType::CNAME | RecordType::TXT | RecordType::LOC)
            || form::of(rtype).is_some()
            || generic::is_kept(rtype)
    }

    /// The types of one word.
    fn plain(rtype: RecordType, text: &str, names: Names<'_>) -> Result<RecordData, DataError> {
        match rtype {
            RecordType::A => text.parse().map(RecordData::A).map_err(|_| DataError::A),
            RecordType::AAAA => text.parse().map(RecordData::Aaaa).map_err(|_| DataError::Aaaa),
            RecordType::CNAME => names.read(text).map(RecordData::Cname).ok_or(DataError::Host { kind: "CNAME" }),
            RecordType::SOA => Err(DataError::Soa),
            rtype if generic::is_kept(rtype) => {
                let octets = text.strip_prefix(r"\#").and_then(generic::read);
                let octets = octets.and_then(|octets| generic::from_wire(rtype, &octets));
                octets
                    .map(|octets| RecordData::Octets(rtype, octets))
                    .ok_or_else(|| DataError::Octets(rtype.to_string()))
            }
            rtype => Err(DataError::Type(rtype.to_string())),
        }
    }

    pub fn rtype(&self) -> RecordType {
        match self {
            RecordData::A(_) => RecordType::A,
            RecordData::Aaaa(_) => RecordType::AAAA,
            RecordData::Cname(_) => RecordType::CNAME,
            RecordData::Txt(_) => RecordType::TXT,
            RecordData::Loc(_) => RecordType::LOC,
            RecordData::Composite(composite) => composite.rtype(),
            RecordData::Octets(rtype, _) => *rtype,
        }
    }

    /// The address of an A or AAAA record.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            RecordData::A(address) => Some(IpAddr::V4(*address)),
            RecordData::Aaaa(address) => Some(IpAddr::V6(*address)),
            _ => None,
        }
    }

    /// Whether the edge can stand in front of what such a record points at.
    pub fn is_proxiable(&self) -> bool {
        matches!(self, RecordData::A(_) | RecordData::Aaaa(_) | RecordData::Cname(_))
    }

    /// The data as it goes on the wire, names uncompressed.
    pub fn rdata(&self) -> Vec<u8> {
        match self {
            RecordData::A(address) => address.octets().to_vec(),
            RecordData::Aaaa(address) => address.octets().to_vec(),
            RecordData::Cname(target) => target.as_wire().to_vec(),
            RecordData::Txt(strings) => strings.iter().flat_map(|string| txt::length_and_bytes(string)).collect(),
            RecordData::Loc(loc) => loc.wire().to_vec(),
            RecordData::Composite(composite) => composite.wire(),
            RecordData::Octets(_, octets) => octets.clone(),
        }
    }

    /// The data as one line of a master file, behind the type; names are whole and end in a dot.
    pub fn presentation(&self) -> String {
        match self {
            RecordData::Cname(target) => Style::Master.name(target),
            RecordData::Composite(composite) => composite.text(),
            data => data.content(),
        }
    }

    /// The API's `content`: one space between fields, targets without a final dot, strings quoted.
    pub fn content(&self) -> String {
        match self {
            RecordData::A(address) => address.to_string(),
            RecordData::Aaaa(address) => address.to_string(),
            RecordData::Cname(target) => Style::Content.name(target),
            RecordData::Txt(strings) => strings.iter().map(|string| txt::quote(string)).collect::<Vec<_>>().join(" "),
            RecordData::Loc(loc) => loc.text(),
            RecordData::Composite(composite) => composite.content(),
            RecordData::Octets(_, octets) => generic::text(octets),
        }
    }

    /// The API's `data`, for the types that have that form.
    pub(crate) fn fields(&self) -> Option<Data> {
        match self {
            RecordData::Loc(loc) => Some(loc.data()),
            RecordData::Composite(composite) => composite.data(),
            _ => None,
        }
    }

    /// What the API has beside `content` as `priority`.
    pub fn priority(&self) -> Option<u16> {
        if let RecordData::Composite(composite) = self { composite.priority() } else { None }
    }
}

/// `content` without the words in front that only repeat what it is.
fn without_words<'t>(content: &'t str, names: [&str; 2]) -> &'t str {
    names.into_iter().fold(content, |content, name| {
        let mut words = Words::of(content);
        if words.next().is_some_and(|word| word.eq_ignore_ascii_case(name)) { words.rest() } else { content }
    })
}
