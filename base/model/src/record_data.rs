//! What a record says: its data by type, read from the API's two forms and written as wire bytes.
//!
//! RFC 1035 §3.3 and §3.4, RFC 3596 (AAAA), RFC 2782 (SRV), RFC 8659 (CAA).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_names::{Name, RecordType};
use bartizan_v4::dns_record::{CaaData, Data, DataBody, SrvData};
use bartizan_v4::{Integer, Patch};
use serde::Deserialize;
use serde_json::Value;

use crate::txt;

/// The length of a CAA tag (RFC 8659 §4.1 says "at least one"; the registered ones have at most 14).
const CAA_TAG_MAX: usize = 15;

/// A record's data. Names are lower case, so equal data is equal on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecordData {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(Name),
    Mx {
        preference: u16,
        exchange: Name,
    },
    Ns(Name),
    /// At least one string, each of at most 255 bytes.
    Txt(Vec<Vec<u8>>),
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: Name,
    },
    Caa {
        flags: u8,
        tag: String,
        value: Vec<u8>,
    },
}

/// Why the data of a record cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    #[error("records of type {0} are not served here; there are A, AAAA, CAA, CNAME, MX, NS, SRV and TXT")]
    Type(String),
    #[error("the content of an A record must be an IPv4 address")]
    A,
    #[error("the content of an AAAA record must be an IPv6 address")]
    Aaaa,
    #[error("the content of a {kind} record must be a host name")]
    Host { kind: &'static str },
    #[error("the content of an MX record must be a host name, beside a priority between 0 and 65535")]
    Mx,
    #[error("the content of a TXT record is not valid: {0}")]
    Txt(#[from] txt::TxtError),
    #[error("the content of a {kind} record must be {form}")]
    Content { kind: &'static str, form: &'static str },
    #[error("data.{field} is missing or not valid: it must be {form}")]
    Field { field: &'static str, form: &'static str },
    #[error("priority must be between 0 and 65535")]
    Priority,
}

impl DataError {
    /// The field at fault, as a JSON pointer.
    pub fn pointer(&self) -> String {
        match self {
            DataError::Type(_) => "/type".to_owned(),
            DataError::Field { field, .. } => format!("/data/{field}"),
            DataError::Priority => "/priority".to_owned(),
            _ => "/content".to_owned(),
        }
    }
}

/// The fields of a request that hold data, before they are understood.
pub(crate) struct Given<'b> {
    pub(crate) content: Option<&'b str>,
    pub(crate) data: Option<&'b DataBody>,
    pub(crate) priority: Option<i64>,
    /// What `@` stands for in a target.
    pub(crate) apex: &'b Name,
}

impl RecordData {
    pub(crate) fn parse(kind: &str, given: &Given<'_>) -> Result<RecordData, DataError> {
        let content = given.content.unwrap_or_default().trim();
        match kind.parse() {
            Ok(RecordType::A) => content.parse().map(RecordData::A).map_err(|_| DataError::A),
            Ok(RecordType::AAAA) => content.parse().map(RecordData::Aaaa).map_err(|_| DataError::Aaaa),
            Ok(RecordType::CNAME) => given.host(content, DataError::Host { kind: "CNAME" }).map(RecordData::Cname),
            Ok(RecordType::NS) => given.host(content, DataError::Host { kind: "NS" }).map(RecordData::Ns),
            Ok(RecordType::MX) => given.mx(content),
            Ok(RecordType::TXT) => Ok(RecordData::Txt(txt::parse(content)?)),
            Ok(RecordType::SRV) => given.srv(content),
            Ok(RecordType::CAA) => given.caa(content),
            _ => Err(DataError::Type(kind.to_owned())),
        }
    }

    pub fn rtype(&self) -> RecordType {
        match self {
            RecordData::A(_) => RecordType::A,
            RecordData::Aaaa(_) => RecordType::AAAA,
            RecordData::Cname(_) => RecordType::CNAME,
            RecordData::Mx { .. } => RecordType::MX,
            RecordData::Ns(_) => RecordType::NS,
            RecordData::Txt(_) => RecordType::TXT,
            RecordData::Srv { .. } => RecordType::SRV,
            RecordData::Caa { .. } => RecordType::CAA,
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
            RecordData::Cname(target) | RecordData::Ns(target) => target.as_wire().to_vec(),
            RecordData::Mx { preference, exchange } => numbers_and_name(&[*preference], exchange),
            RecordData::Srv { priority, weight, port, target } => {
                numbers_and_name(&[*priority, *weight, *port], target)
            }
            RecordData::Txt(strings) => strings.iter().flat_map(|string| length_and_bytes(string)).collect(),
            RecordData::Caa { flags, tag, value } => {
                let mut wire = vec![*flags];
                wire.extend(length_and_bytes(tag.as_bytes()));
                wire.extend(value);
                wire
            }
        }
    }

    /// The data as one line: one space between fields, targets without a final dot, strings quoted.
    pub fn content(&self) -> String {
        match self {
            RecordData::A(address) => address.to_string(),
            RecordData::Aaaa(address) => address.to_string(),
            RecordData::Cname(target) | RecordData::Ns(target) => target.to_string(),
            RecordData::Mx { exchange, .. } => exchange.to_string(),
            RecordData::Txt(strings) => strings.iter().map(|string| txt::quote(string)).collect::<Vec<_>>().join(" "),
            RecordData::Srv { priority, weight, port, target } => format!("{priority} {weight} {port} {target}"),
            RecordData::Caa { flags, tag, value } => format!("{flags} {tag} {}", txt::quote(value)),
        }
    }

    /// The data by field, for the types that have that form.
    pub(crate) fn fields(&self) -> Option<Data> {
        match self {
            RecordData::Srv { priority, weight, port, target } => Some(Data::Srv(SrvData {
                priority: *priority,
                weight: *weight,
                port: *port,
                target: target.to_string(),
            })),
            RecordData::Caa { flags, tag, value } => Some(Data::Caa(CaaData {
                flags: *flags,
                tag: tag.clone(),
                // Text where it is text; other bytes in escapes, which `caa_value` reads.
                value: caa_text(value),
            })),
            _ => None,
        }
    }

    /// What stands beside `content` as `priority`.
    pub(crate) fn priority(&self) -> Option<u16> {
        match self {
            RecordData::Mx { preference: priority, .. } | RecordData::Srv { priority, .. } => Some(*priority),
            _ => None,
        }
    }
}

fn numbers_and_name(numbers: &[u16], name: &Name) -> Vec<u8> {
    let mut wire: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    wire.extend(name.as_wire());
    wire
}

/// `bytes` has at most 255 bytes.
fn length_and_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(bytes.len() + 1);
    wire.push(bytes.len() as u8);
    wire.extend(bytes);
    wire
}

const SRV_FORM: &str = "\"priority weight port target\"";
const CAA_FORM: &str = "\"flags tag value\"";
const TARGET_FORM: &str = "a host name";
const U16_FORM: &str = "a whole number between 0 and 65535";
const U8_FORM: &str = "a whole number between 0 and 255";
const TAG_FORM: &str = "1 to 15 letters and digits";

impl Given<'_> {
    fn host(&self, text: &str, error: DataError) -> Result<Name, DataError> {
        match text {
            "" => Err(error),
            "@" => Ok(self.apex.clone()),
            text => Name::typed(text).map_err(|_| error),
        }
    }

    fn mx(&self, content: &str) -> Result<RecordData, DataError> {
        let exchange = self.host(content, DataError::Mx)?;
        let preference = u16::try_from(self.priority.ok_or(DataError::Priority)?).map_err(|_| DataError::Priority)?;
        Ok(RecordData::Mx { preference, exchange })
    }

    /// `data` wins over `content`; a missing `data.priority` may stand beside it.
    fn srv(&self, content: &str) -> Result<RecordData, DataError> {
        let Some(data) = self.data else { return self.srv_content(content) };
        let priority = match (data.priority.value(), self.priority) {
            (Some(_), _) | (None, None) => number_field(&data.priority, "priority", U16_FORM)?,
            (None, Some(beside)) => u16::try_from(beside).map_err(|_| DataError::Priority)?,
        };
        let target = text_field(&data.target, "target", TARGET_FORM)?;
        Ok(RecordData::Srv {
            priority,
            weight: number_field(&data.weight, "weight", U16_FORM)?,
            port: number_field(&data.port, "port", U16_FORM)?,
            target: self.host(target.trim(), DataError::Field { field: "target", form: TARGET_FORM })?,
        })
    }

    /// Four fields, or three with the priority beside them (the old form); a leading `SRV` is skipped.
    fn srv_content(&self, content: &str) -> Result<RecordData, DataError> {
        let error = || DataError::Content { kind: "SRV", form: SRV_FORM };
        let fields: Vec<&str> =
            content.split_whitespace().skip_while(|word| word.eq_ignore_ascii_case("SRV")).collect();
        let number = |text: &str| text.parse().map_err(|_| error());
        let (priority, rest) = match fields.as_slice() {
            [priority, rest @ ..] if rest.len() == 3 => (number(priority)?, rest),
            rest if rest.len() == 3 => {
                (u16::try_from(self.priority.ok_or_else(error)?).map_err(|_| DataError::Priority)?, rest)
            }
            _ => return Err(error()),
        };
        Ok(RecordData::Srv {
            priority,
            weight: number(rest[0])?,
            port: number(rest[1])?,
            target: self.host(rest[2], error())?,
        })
    }

    fn caa(&self, content: &str) -> Result<RecordData, DataError> {
        let Some(data) = self.data else { return caa_content(content) };
        let tag = text_field(&data.tag, "tag", TAG_FORM)?;
        Ok(RecordData::Caa {
            flags: number_field(&data.flags, "flags", U8_FORM)?,
            tag: caa_tag(tag).ok_or(DataError::Field { field: "tag", form: TAG_FORM })?,
            value: caa_value(text_field(&data.value, "value", "text")?)
                .ok_or(DataError::Field { field: "value", form: "text" })?,
        })
    }
}

fn caa_content(content: &str) -> Result<RecordData, DataError> {
    let error = || DataError::Content { kind: "CAA", form: CAA_FORM };
    let (flags, rest) = content.split_once(char::is_whitespace).ok_or_else(error)?;
    let (tag, value) = rest.trim_start().split_once(char::is_whitespace).ok_or_else(error)?;
    Ok(RecordData::Caa {
        flags: flags.parse().map_err(|_| error())?,
        tag: caa_tag(tag).ok_or_else(error)?,
        value: caa_value(value.trim()).ok_or_else(error)?,
    })
}

/// Tags are letters and digits, and compared without case (RFC 8659 §4.1).
fn caa_tag(text: &str) -> Option<String> {
    let valid = (1..=CAA_TAG_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    valid.then(|| text.to_ascii_lowercase())
}

/// Quoted, or the bytes as they are. At most as long as a TXT record may be.
fn caa_value(text: &str) -> Option<Vec<u8>> {
    let value = match txt::one_quoted(text) {
        Ok((value, "")) => value,
        Ok(_) => return None,
        Err(_) if text.starts_with('"') => return None,
        Err(_) => text.as_bytes().to_vec(),
    };
    (value.len() <= txt::TXT_MAX).then_some(value)
}

/// A CAA value for `data.value`: bare where that reads back, else quoted.
fn caa_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if text == text.trim() && !text.starts_with('"') => text.to_owned(),
        _ => txt::quote(value),
    }
}

fn number_field<T: TryFrom<i64>>(
    given: &Patch<Value>,
    field: &'static str,
    form: &'static str,
) -> Result<T, DataError> {
    let number = given.value().and_then(|value| Integer::deserialize(value).ok());
    number.and_then(|number| T::try_from(number.0).ok()).ok_or(DataError::Field { field, form })
}

fn text_field<'b>(given: &'b Patch<Value>, field: &'static str, form: &'static str) -> Result<&'b str, DataError> {
    given.value().and_then(Value::as_str).ok_or(DataError::Field { field, form })
}

/// The stored form as a request's form, so that there is one parser.
pub(crate) fn body_of(data: &Data) -> DataBody {
    match data {
        Data::Srv(srv) => DataBody {
            priority: Patch::Value(srv.priority.into()),
            weight: Patch::Value(srv.weight.into()),
            port: Patch::Value(srv.port.into()),
            target: Patch::Value(srv.target.as_str().into()),
            ..DataBody::default()
        },
        Data::Caa(caa) => DataBody {
            flags: Patch::Value(caa.flags.into()),
            tag: Patch::Value(caa.tag.as_str().into()),
            value: Patch::Value(caa.value.as_str().into()),
            ..DataBody::default()
        },
    }
}
