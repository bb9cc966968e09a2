//! DNS records: from a request or from the store to a value that can be served, and to the document that is kept.

use std::net::IpAddr;

use bartizan_names::{Name, RecordId, RecordType, Timestamp, TunnelId, ZoneId};
use bartizan_v4::dns_record::{Extension, ExtensionBody, Meta, RecordSettings, ServedRecord};
use bartizan_v4::{Integer, Patch, RecordBody};

use crate::record_data::Given;
use crate::{DataError, RecordData, Zone, tunnel};

/// The shortest time to live that can be asked for, in seconds; upstream allows its largest plan the same.
pub const TTL_MIN: u32 = 30;

/// The longest time to live, in seconds: a day.
pub const TTL_MAX: u32 = 86_400;

/// Characters of a comment.
pub const COMMENT_MAX: usize = 500;

/// Tags of one record.
pub const TAGS_MAX: usize = 20;

/// Characters of one tag, its value included.
const TAG_MAX: usize = 132;

/// What is served for "automatic", in seconds.
const AUTOMATIC: u32 = 300;

const BOTH_FAMILIES: &str = "a proxied name has addresses of both families";

/// A time to live in seconds; 1 is automatic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl(u32);

impl Ttl {
    pub const AUTOMATIC: Ttl = Ttl(1);

    pub fn new(seconds: i64) -> Option<Ttl> {
        let seconds = u32::try_from(seconds).ok()?;
        (seconds == 1 || (TTL_MIN..=TTL_MAX).contains(&seconds)).then_some(Ttl(seconds))
    }

    /// As the API shows it.
    pub fn get(self) -> u32 {
        self.0
    }

    /// As answers carry it.
    pub fn served(self) -> u32 {
        if self == Ttl::AUTOMATIC { AUTOMATIC } else { self.0 }
    }
}

/// A record that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: RecordId,
    pub zone: ZoneId,
    pub owner: Name,
    pub data: RecordData,
    pub ttl: Ttl,
    /// The edge answers with its own addresses and stands in front of what `data` points at.
    pub proxied: bool,
    /// The port on which the origin of a proxied record listens, if it is not the scheme's own.
    pub origin_port: Option<u16>,
}

/// What the caller of [`Record::parse_body`] knows: which record, and when.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub id: RecordId,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}

/// Why a record cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("name is missing")]
    NameMissing,
    #[error("the name {0:?} is not a valid DNS name in this zone")]
    Name(String),
    #[error("the name {0:?} cannot be proxied: it is not a host name")]
    NotAHost(String),
    #[error("type is missing")]
    TypeMissing,
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("a DS record says how to trust a zone that begins below this one; that of {0} itself is its parent's")]
    ApexDs(Name),
    #[error("{kind} records of the zone's own name are not kept: {reason}")]
    OfTheEdge { kind: RecordType, reason: &'static str },
    #[error("a DNAME at {0} would stand for names that a wildcard makes (RFC 6672 §3.3); put it at the name above")]
    WildcardDname(Name),
    #[error("the record points at itself")]
    Itself,
    /// With the field that has it.
    #[error("a {kind} record leads to a name, not to {target}")]
    Target { kind: RecordType, target: String, field: &'static str },
    #[error("ttl must be 1 (automatic) or between {TTL_MIN} and {TTL_MAX} seconds")]
    Ttl,
    #[error(
        "{0} is no server's address, so a proxied record cannot lead there; name the server, or switch proxied off"
    )]
    NoOrigin(IpAddr),
    #[error("records of type {0} cannot be proxied; A, AAAA and CNAME can")]
    NotProxiable(bartizan_names::RecordType),
    #[error("the comment is longer than {COMMENT_MAX} characters")]
    Comment,
    #[error("settings.{setting} cannot be on: {reason}")]
    Setting { setting: &'static str, reason: &'static str },
    #[error("there may be {TAGS_MAX} tags of the form name:value, each of 1 to {TAG_MAX} characters")]
    Tags,
    #[error("bartizan.origin_port must be between 1 and 65535, on a proxied A or AAAA or CNAME record")]
    OriginPort,
}

impl RecordError {
    /// The field at fault, as a JSON pointer.
    pub fn pointer(&self) -> String {
        match self {
            RecordError::Data(data) => return data.pointer(),
            RecordError::NameMissing
            | RecordError::Name(_)
            | RecordError::NotAHost(_)
            | RecordError::ApexDs(_)
            | RecordError::WildcardDname(_) => "/name",
            RecordError::TypeMissing | RecordError::OfTheEdge { .. } => "/type",
            RecordError::Target { field, .. } => field,
            RecordError::NotProxiable(_) => "/proxied",
            RecordError::Itself | RecordError::NoOrigin(_) => "/content",
            RecordError::Ttl => "/ttl",
            RecordError::Comment => "/comment",
            RecordError::Tags => "/tags",
            RecordError::Setting { setting, .. } => return format!("/settings/{setting}"),
            RecordError::OriginPort => "/bartizan/origin_port",
        }
        .to_owned()
    }
}

impl Record {
    /// Reads a stored document. It was made by [`Record::parse_body`]; an error means that it was not.
    pub fn parse(document: &bartizan_v4::Record) -> Result<Record, RecordError> {
        Record::parse_served(&ServedRecord::from(document))
    }

    /// As [`Record::parse`], from no more of the document than that takes.
    pub fn parse_served(document: &ServedRecord<'_>) -> Result<Record, RecordError> {
        let owner = Name::parse(&document.name).map_err(|_| RecordError::Name(document.name.to_string()))?;
        let given = Given {
            content: Some(&document.content),
            // The content has all of it.
            data: None,
            priority: document.priority.map(i64::from),
            apex: &owner,
        };
        Ok(Record {
            id: document.id,
            zone: document.zone_id,
            data: RecordData::parse(&document.kind, &given)?,
            ttl: Ttl::new(document.ttl.into()).ok_or(RecordError::Ttl)?,
            proxied: document.proxied,
            origin_port: document.bartizan.and_then(|ours| ours.origin_port),
            owner,
        })
    }

    /// Reads a request for a whole record (POST, PUT, or PATCH after [`merge`]): the record, and the document to store.
    ///
    /// Whether it goes together with the other records of the name is for the caller to decide.
    pub fn parse_body(
        zone: &Zone,
        stamp: Stamp,
        body: &RecordBody,
    ) -> Result<(Record, bartizan_v4::Record), RecordError> {
        let apex = zone.name.as_name();
        let owner = owner(apex, body)?;
        let kind = body.kind.value().ok_or(RecordError::TypeMissing)?.trim().to_ascii_uppercase();
        let given = Given {
            content: body.content.value().map(String::as_str),
            data: body.data.value(),
            priority: body.priority.value().map(|number| number.0),
            apex,
        };
        let data = RecordData::parse(&kind, &given)?;
        let proxied = body.proxied.value().copied().unwrap_or(false);
        check_use(apex, &owner, &data, proxied)?;
        let in_data = body.data.value().is_some() && data.rtype() == RecordType::SRV;
        check_target(&data, if in_data { "/data/target" } else { "/content" })?;
        let record = Record {
            id: stamp.id,
            zone: zone.id,
            ttl: ttl(body, proxied)?,
            origin_port: origin_port(body, proxied)?,
            owner,
            data,
            proxied,
        };
        let document = document(zone, stamp, body, &record)?;
        Ok((record, document))
    }

    /// Whether `other` may stand at the name of this CNAME, in a zone with this apex.
    ///
    /// A CNAME stands alone (RFC 1034 §3.6.2). A proxied one, and one at the apex, is never sent: it is answered with
    /// addresses, so all may stand beside it that may stand beside addresses. What it leaves no room for is another word on
    /// where its name is: addresses, a second CNAME, and below the apex, name servers.
    pub fn admits_beside(&self, other: &Record, apex: &Name) -> bool {
        let says_where = match other.data.rtype() {
            RecordType::A | RecordType::AAAA | RecordType::CNAME => true,
            RecordType::NS => self.owner != *apex,
            _ => false,
        };
        (self.proxied || self.owner == *apex) && !says_where
    }

    /// The tunnel that a proxied CNAME to `<tunnel id>.cfargotunnel.com` points at.
    pub fn tunnel_target(&self) -> Option<TunnelId> {
        match &self.data {
            RecordData::Cname(target) if self.proxied => tunnel::id_of(target),
            _ => None,
        }
    }
}

fn document(zone: &Zone, stamp: Stamp, body: &RecordBody, record: &Record) -> Result<bartizan_v4::Record, RecordError> {
    let content = match &record.data {
        // Kept as it was given: some clients compare the text, quotes included.
        RecordData::Txt(_) => body.content.value().map(|text| text.trim().to_owned()).unwrap_or_default(),
        data => data.content(),
    };
    let (comment, tags) = (comment(body)?, tags(body)?);
    Ok(bartizan_v4::Record {
        id: stamp.id,
        zone_id: zone.id,
        zone_name: zone.name.to_string(),
        name: record.owner.to_string(),
        kind: record.data.rtype().to_string(),
        content,
        priority: record.data.priority(),
        data: record.data.fields(),
        proxiable: record.data.is_proxiable(),
        proxied: record.proxied,
        ttl: record.ttl.get(),
        settings: settings(body)?,
        meta: Meta::default(),
        comment_modified_on: comment.is_some().then_some(stamp.modified_on),
        tags_modified_on: (!tags.is_empty()).then_some(stamp.modified_on),
        comment,
        tags,
        created_on: stamp.created_on,
        modified_on: stamp.modified_on,
        bartizan: record.origin_port.map(|port| Extension { origin_port: Some(port) }),
    })
}

/// The owner: `name`, or for SRV the old `data.service`, `data.proto` and `data.name`.
fn owner(apex: &Name, body: &RecordBody) -> Result<Name, RecordError> {
    if let Some(text) = body.name.value().filter(|text| !text.trim().is_empty()) {
        return absolute(apex, text.trim());
    }
    let data = body.data.value().ok_or(RecordError::NameMissing)?;
    match (data.text("service"), data.text("proto"), data.text("name")) {
        (Some(service), Some(proto), Some(name)) => {
            let below = absolute(apex, name.trim())?;
            let text = format!("{}.{}", service.trim(), proto.trim());
            let labels = Name::typed(&text).map_err(|_| RecordError::Name(text))?;
            join(&labels, &below)
        }
        _ => Err(RecordError::NameMissing),
    }
}

/// Names at or below the apex are whole already, all others are relative to it, a final dot or not: `_http._tcp.name.`
/// is sent like that by clients that mean a name in the zone.
fn absolute(apex: &Name, text: &str) -> Result<Name, RecordError> {
    if text == "@" {
        return Ok(apex.clone());
    }
    let name =
        Name::typed(text).ok().filter(|name| !name.is_root()).ok_or_else(|| RecordError::Name(text.to_owned()))?;
    if name.is_at_or_below(apex) { Ok(name) } else { join(&name, apex) }
}

fn join(labels: &Name, apex: &Name) -> Result<Name, RecordError> {
    let (_root, front) = labels.as_wire().split_last().ok_or_else(|| RecordError::Name(labels.to_string()))?;
    Name::from_wire(&[front, apex.as_wire()].concat()).map_err(|_| RecordError::Name(labels.to_string()))
}

fn check_use(apex: &Name, owner: &Name, data: &RecordData, proxied: bool) -> Result<(), RecordError> {
    if proxied && !data.is_proxiable() {
        return Err(RecordError::NotProxiable(data.rtype()));
    }
    if proxied && !owner.is_host() {
        return Err(RecordError::NotAHost(owner.to_string()));
    }
    if let (true, Some(address)) = (proxied, data.address().filter(|address| !is_origin(*address))) {
        return Err(RecordError::NoOrigin(address));
    }
    match data {
        RecordData::Cname(target) if target == owner => Err(RecordError::Itself),
        RecordData::Composite(composite) if composite.rtype() == RecordType::DNAME => {
            let leads_back = composite.target().is_some_and(|target| target.is_at_or_below(owner));
            match (leads_back, owner.is_wildcard()) {
                (true, _) => Err(RecordError::Itself),
                (false, true) => Err(RecordError::WildcardDname(owner.clone())),
                (false, false) => Ok(()),
            }
        }
        // RFC 4035 §2.4: it is found in the parent zone.
        data if data.rtype() == RecordType::DS && owner == apex => Err(RecordError::ApexDs(owner.clone())),
        data => match of_the_edge(&data.rtype().to_string(), owner == apex) {
            Some(reason) => Err(RecordError::OfTheEdge { kind: data.rtype(), reason }),
            None => Ok(()),
        },
    }
}

/// Why a record of the zone's own name, or one of a signature, is none that somebody keeps: the edge makes it, whether it
/// comes with a call or in a file.
pub fn of_the_edge(kind: &str, is_apex: bool) -> Option<&'static str> {
    match kind {
        "SOA" if is_apex => Some("the SOA is the edge's own"),
        "NS" if is_apex => Some("the name servers of the zone itself are the edge's own"),
        "DNSKEY" | "CDS" | "CDNSKEY" | "NSEC3PARAM" | "ZONEMD" if is_apex => {
            Some("keys and signatures are the edge's own")
        }
        "RRSIG" | "NSEC" | "NSEC3" => Some("keys and signatures are the edge's own"),
        _ => None,
    }
}

/// That what a record leads to can be a name. Nobody looks up an address as if it were one, and the root leads nowhere; with
/// MX (RFC 7505) and SRV (RFC 2782) it says that there is no such service.
fn check_target(data: &RecordData, field: &'static str) -> Result<(), RecordError> {
    let kind = data.rtype();
    let target = match data {
        RecordData::Cname(target) => target,
        RecordData::Composite(composite)
            if matches!(kind, RecordType::DNAME | RecordType::MX | RecordType::NS | RecordType::SRV) =>
        {
            match composite.target() {
                Some(target) => target,
                None => return Ok(()),
            }
        }
        _ => return Ok(()),
    };
    let text = target.to_string();
    let text = text.trim_end_matches('.');
    let is_nothing = text.is_empty() && matches!(kind, RecordType::CNAME | RecordType::DNAME | RecordType::NS);
    // Of one with colons too: it is no name of a host.
    let is_address = text.parse::<IpAddr>().is_ok();
    if is_nothing || is_address {
        let target = if is_nothing { "the root".to_owned() } else { format!("the address {text}") };
        return Err(RecordError::Target { kind, target, field });
    }
    Ok(())
}

/// Whether a server can have an address at all. What else the edge does not dial depends on where it runs, and is decided
/// when it is dialled.
pub(crate) fn is_origin(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || is_broadcast)
}

/// A proxied record's addresses are the edge's, so is their time to live.
fn ttl(body: &RecordBody, proxied: bool) -> Result<Ttl, RecordError> {
    let asked = body.ttl.value().map_or(Some(Ttl::AUTOMATIC), |seconds| Ttl::new(seconds.0)).ok_or(RecordError::Ttl)?;
    Ok(if proxied { Ttl::AUTOMATIC } else { asked })
}

fn origin_port(body: &RecordBody, proxied: bool) -> Result<Option<u16>, RecordError> {
    let Some(port) = body.bartizan.value().and_then(|ours| ours.origin_port.value()) else { return Ok(None) };
    let port = u16::try_from(port.0).ok().filter(|port| *port != 0 && proxied).ok_or(RecordError::OriginPort)?;
    Ok(Some(port))
}

fn comment(body: &RecordBody) -> Result<Option<String>, RecordError> {
    match body.comment.value() {
        Some(text) if text.chars().count() > COMMENT_MAX => Err(RecordError::Comment),
        Some(text) if text.is_empty() => Ok(None),
        text => Ok(text.cloned()),
    }
}

fn tags(body: &RecordBody) -> Result<Vec<String>, RecordError> {
    let tags = body.tags.value().cloned().unwrap_or_default();
    let valid = |tag: &String| (1..=TAG_MAX).contains(&tag.chars().count()) && !tag.starts_with(':');
    if tags.len() > TAGS_MAX || !tags.iter().all(valid) { Err(RecordError::Tags) } else { Ok(tags) }
}

/// What is off may be said; what would have to be done and is not is refused.
fn settings(body: &RecordBody) -> Result<RecordSettings, RecordError> {
    let settings = body.settings.value().copied().unwrap_or_default();
    let all = [
        ("ipv4_only", settings.ipv4_only, BOTH_FAMILIES),
        ("ipv6_only", settings.ipv6_only, BOTH_FAMILIES),
        ("flatten_cname", settings.flatten_cname, "a CNAME below the zone's own name is answered as it is"),
    ];
    match all.into_iter().find(|(_, value, _)| *value == Some(true)) {
        Some((setting, _, reason)) => Err(RecordError::Setting { setting, reason }),
        None => Ok(settings),
    }
}

/// The whole record that a PATCH of `stored` asks for: what the patch leaves out stays.
///
/// Of the three fields that hold data, those that are given decide: new `content` makes the stored `data` void, and a new
/// type makes all of them void.
pub fn merge(stored: &bartizan_v4::Record, patch: RecordBody) -> RecordBody {
    let other_type = patch.kind.value().is_some_and(|kind| !kind.trim().eq_ignore_ascii_case(&stored.kind));
    let same_type = (!other_type).then_some(());
    let by_content = patch.content.value().is_some() && patch.data.value().is_none();
    let data = match patch.data {
        Patch::Absent | Patch::Null if by_content || other_type => Patch::Absent,
        Patch::Absent | Patch::Null => {
            Patch::from(stored.data.clone().map(|data| match patch.priority {
                // A new priority beside a stored one inside the data: the new one counts. Only where there is one beside
                // it: that of SVCB is in the data alone.
                Patch::Value(priority) if stored.priority.is_some() => data.with("priority", priority.0.into()),
                _ => data,
            }))
        }
        given => given,
    };
    let priority = stored.priority.map(|priority| Integer(priority.into()));
    // Only a proxied record has a port of an origin, so it goes with the proxying.
    let extension = stored
        .bartizan
        .filter(|_| patch.proxied != Patch::Value(false))
        .map(|ours| ExtensionBody { origin_port: Patch::from(ours.origin_port.map(|port| Integer(port.into()))) });
    RecordBody {
        id: Patch::Absent,
        name: patch.name.or_stored(Some(stored.name.clone())),
        kind: patch.kind.or_stored(Some(stored.kind.clone())),
        content: patch.content.or_stored(same_type.map(|()| stored.content.clone())),
        data,
        priority: patch.priority.or_stored(same_type.and(priority)),
        ttl: patch.ttl.or_stored(Some(Integer(stored.ttl.into()))),
        proxied: patch.proxied.or_stored(Some(stored.proxied)),
        comment: patch.comment.or_stored(stored.comment.clone()),
        tags: patch.tags.or_stored(Some(stored.tags.clone())),
        settings: patch.settings.or_stored(Some(stored.settings)),
        bartizan: patch.bartizan.or_stored(extension),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::{AccountId, Phishing, ZoneName};

    use super::*;

    fn zone() -> Zone {
        Zone {
            id: ZoneId::from_bytes([1; 16]),
            account: AccountId::from_bytes([2; 16]),
            name: ZoneName::new(Name::parse("example.com").unwrap()).unwrap(),
            nameservers: Vec::new(),
            paused: false,
            phishing: Phishing::No,
        }
    }

    fn stamp() -> Stamp {
        let at = Timestamp::from_unix_micros(0);
        Stamp { id: RecordId::from_bytes([3; 16]), created_on: at, modified_on: at }
    }

    fn parse(body: &str) -> Result<(Record, bartizan_v4::Record), RecordError> {
        Record::parse_body(&zone(), stamp(), &serde_json::from_str(body).unwrap())
    }

    /// `name type content [priority] [data]`, then the data's wire bytes.
    fn shown(body: &str) -> Result<(String, String), String> {
        let (record, document) = parse(body).map_err(|error| error.pointer())?;
        assert_eq!(Record::parse(&document).as_ref(), Ok(&record), "the document reads back: {body}");
        let mut text = format!("{} {} {}", document.name, document.kind, document.content);
        if let Some(priority) = document.priority {
            text += &format!(" p={priority}");
        }
        if let Some(data) = &document.data {
            text += &format!(" {}", serde_json::to_string(data).unwrap());
        }
        Ok((text, hex::encode(record.data.rdata())))
    }

    #[test]
    fn bodies_become_records() {
        for (body, text, rdata) in [
            (r#"{"type":"A","name":"www","content":"192.0.2.1"}"#, "www.example.com A 192.0.2.1", "c0000201"),
            (
                r#"{"type":"a","name":"WWW.Example.com.","content":" 192.0.2.1 "}"#,
                "www.example.com A 192.0.2.1",
                "c0000201",
            ),
            (
                r#"{"type":"AAAA","name":"@","content":"2001:DB8:0:0:0:0:0:1"}"#,
                "example.com AAAA 2001:db8::1",
                "20010db8000000000000000000000001",
            ),
            (
                r#"{"type":"CNAME","name":"*","content":"Origin.Example.NET."}"#,
                "*.example.com CNAME origin.example.net",
                "066f726967696e076578616d706c65036e657400",
            ),
            (
                r#"{"type":"CNAME","name":"www","content":"@"}"#,
                "www.example.com CNAME example.com",
                "076578616d706c6503636f6d00",
            ),
            (r#"{"type":"NS","name":"sub","content":"ns.a"}"#, "sub.example.com NS ns.a", "026e73016100"),
            (
                r#"{"type":"MX","name":"@","content":"mx.a.","priority":"10"}"#,
                "example.com MX mx.a p=10",
                "000a026d78016100",
            ),
            (r#"{"type":"MX","name":"@","content":".","priority":0}"#, "example.com MX . p=0", "000000"),
            (r#"{"type":"TXT","name":"t","content":"v=1"}"#, "t.example.com TXT v=1", "03763d31"),
            (r#"{"type":"TXT","name":"t","content":"\"v=1\""}"#, "t.example.com TXT \"v=1\"", "03763d31"),
            // As printed in the post about service discovery; `data` wins, what a reply alone has is ignored.
            (
                r#"{"type":"SRV","data":{"service":"_http","proto":"_tcp","name":"name","priority":1,"weight":1,"port":80,"target":"staging.badtortilla.com"},"ttl":1,"zone_name":"badtortilla.com","name":"_http._tcp.name.","content":"SRV 1 1 80 staging.badtortilla.com.","proxied":false,"proxiable":false,"priority":1}"#,
                r#"_http._tcp.name.example.com SRV 1 1 80 staging.badtortilla.com p=1 {"priority":1,"weight":1,"port":80,"target":"staging.badtortilla.com"}"#,
                "0001000100500773746167696e670b626164746f7274696c6c6103636f6d00",
            ),
            // Without a name it is made from the data, here with numbers as text.
            (
                r#"{"type":"SRV","content":null,"data":{"service":"_sip","proto":"_udp","name":"example.com","priority":"1","weight":"2","port":"3","target":"."}}"#,
                r#"_sip._udp.example.com SRV 1 2 3 . p=1 {"priority":1,"weight":2,"port":3,"target":"."}"#,
                "00010002000300",
            ),
            (
                r#"{"type":"SRV","name":"_s._tcp","content":"SRV 1\t2 3 a.","data":null}"#,
                r#"_s._tcp.example.com SRV 1 2 3 a p=1 {"priority":1,"weight":2,"port":3,"target":"a"}"#,
                "000100020003016100",
            ),
            (
                r#"{"type":"SRV","name":"_s._tcp","content":"2 3 a","priority":1}"#,
                r#"_s._tcp.example.com SRV 1 2 3 a p=1 {"priority":1,"weight":2,"port":3,"target":"a"}"#,
                "000100020003016100",
            ),
            (
                r#"{"type":"CAA","name":"@","data":{"flags":"0","tag":"ISSUE","value":"ca.example"}}"#,
                r#"example.com CAA 0 issue "ca.example" {"flags":0,"tag":"issue","value":"ca.example"}"#,
                "0005697373756563612e6578616d706c65",
            ),
        ] {
            let expect = Ok((text.to_owned(), rdata.to_owned()));
            assert_eq!(shown(body), expect, "{body}");
        }
    }

    #[test]
    fn bodies_that_are_refused() {
        for (body, pointer) in [
            (r#"{"type":"A","content":"192.0.2.1"}"#, "/name"),
            (r#"{"type":"A","name":"","content":"192.0.2.1"}"#, "/name"),
            (r#"{"type":"A","name":"a..b","content":"192.0.2.1"}"#, "/name"),
            (r#"{"type":"A","name":"a b","content":"192.0.2.1"}"#, "/name"),
            (r#"{"type":"A","name":".","content":"192.0.2.1"}"#, "/name"),
            (r#"{"name":"a","content":"192.0.2.1"}"#, "/type"),
            (r#"{"type":"SOA","name":"a","content":"x"}"#, "/type"),
            (r#"{"type":"DNAME","name":"a","content":"x"}"#, "ok"),
            (r#"{"type":"DNAME","name":"@","content":"x"}"#, "ok"),
            (r#"{"type":"DNAME","name":"a","content":"."}"#, "/content"),
            (r#"{"type":"DNAME","name":"a","content":"b.a.example.com"}"#, "/content"),
            (r#"{"type":"DNAME","name":"*.a","content":"x"}"#, "/name"),
            (r#"{"type":"CDS","name":"@","content":"0 0 0 00"}"#, "/type"),
            (r#"{"type":"CDNSKEY","name":"a","content":"0 3 0 AA=="}"#, "ok"),
            (r#"{"type":"TYPE65535","name":"a","content":"\\# 0"}"#, "/type"),
            (r#"{"type":"TYPE65280","name":"a","content":"\\# 0"}"#, "ok"),
            (r#"{"type":"TYPE65280","name":"a","content":"x"}"#, "/content"),
            // The type says what the flags are.
            (
                r#"{"type":"NAPTR","name":"a","data":{"order":1,"preference":1,"flags":"S","service":"x","regex":"","replacement":"b"}}"#,
                "ok",
            ),
            (r#"{"type":"LOC","name":"a","data":{"port":{},"target":1}}"#, "/data/lat_direction"),
            (r#"{"type":"CAA","name":"a","data":{"flags":"S","tag":"issue","value":"x"}}"#, "/data/flags"),
            (r#"{"type":"CAA","name":"a","data":{"flags":0,"tag":7,"value":"x"}}"#, "/data/tag"),
            (r#"{"type":"SRV","name":"a","data":{"service":1,"proto":2,"name":3}}"#, "/data/priority"),
            (r#"{"type":"TYPE1","name":"a","content":"x"}"#, "/content"),
            (r#"{"type":"A","name":"a"}"#, "/content"),
            (r#"{"type":"A","name":"a","content":"2001:db8::1"}"#, "/content"),
            (r#"{"type":"A","name":"a","content":"192.0.2.256"}"#, "/content"),
            (r#"{"type":"AAAA","name":"a","content":"192.0.2.1"}"#, "/content"),
            (r#"{"type":"CNAME","name":"a","content":""}"#, "/content"),
            (r#"{"type":"CNAME","name":"a","content":"a"}"#, "ok"),
            (r#"{"type":"CNAME","name":"a","content":"."}"#, "/content"),
            (r#"{"type":"CNAME","name":"a","content":"192.0.2.1"}"#, "/content"),
            (r#"{"type":"CNAME","name":"a","content":"2001:db8::1"}"#, "/content"),
            (r#"{"type":"NS","name":"a","content":"192.0.2.1"}"#, "/content"),
            (r#"{"type":"NS","name":"a","content":"."}"#, "/content"),
            (r#"{"type":"NS","name":"@","content":"ns.a"}"#, "/type"),
            (r#"{"type":"DNSKEY","name":"@","content":"256 3 13 AAAA"}"#, "/type"),
            (r#"{"type":"DNSKEY","name":"a","content":"256 3 13 AAAA"}"#, "ok"),
            (r#"{"type":"MX","name":"a","content":"192.0.2.1","priority":1}"#, "/content"),
            (r#"{"type":"MX","name":"a","content":".","priority":0}"#, "ok"),
            (
                r#"{"type":"SRV","name":"a","data":{"priority":1,"weight":1,"port":1,"target":"192.0.2.1"}}"#,
                "/data/target",
            ),
            (r#"{"type":"SRV","name":"a","content":"1 1 1 192.0.2.1"}"#, "/content"),
            (r#"{"type":"SRV","name":"a","data":{"priority":0,"weight":0,"port":0,"target":"."}}"#, "ok"),
            (r#"{"type":"CNAME","name":"a","content":"a.example.com"}"#, "/content"),
            (r#"{"type":"CNAME","name":"@","content":"b.example.com"}"#, "ok"),
            (r#"{"type":"CNAME","name":"@","content":"b.example.com","proxied":true}"#, "ok"),
            (r#"{"type":"MX","name":"a","content":"mx.a"}"#, "/priority"),
            (r#"{"type":"MX","name":"a","content":"mx.a","priority":65536}"#, "/priority"),
            (r#"{"type":"TXT","name":"a","content":""}"#, "/content"),
            (r#"{"type":"TXT","name":"a","content":"x","proxied":true}"#, "/proxied"),
            (r#"{"type":"SRV","name":"a","content":"1 2 3"}"#, "/content"),
            (r#"{"type":"SRV","name":"a","data":{"priority":1,"weight":1,"port":65536,"target":"a"}}"#, "/data/port"),
            (r#"{"type":"SRV","name":"a","data":{"priority":1,"weight":1,"port":-1,"target":"a"}}"#, "/data/port"),
            (r#"{"type":"SRV","name":"a","data":{"weight":1,"port":1,"target":"a"}}"#, "/data/priority"),
            (r#"{"type":"SRV","name":"a","data":{"priority":1,"weight":1,"port":1}}"#, "/data/target"),
            (r#"{"type":"CAA","name":"a","data":{"flags":256,"tag":"issue","value":"x"}}"#, "/data/flags"),
            (r#"{"type":"CAA","name":"a","data":{"flags":0,"tag":"is-sue","value":"x"}}"#, "/data/tag"),
            (r#"{"type":"CAA","name":"a","content":"0 issue"}"#, "/content"),
            (r#"{"type":"DS","name":"@","content":"1 13 99 ab"}"#, "/name"),
            (r#"{"type":"DS","name":"a","content":"1 13 99 ab"}"#, "ok"),
            (r#"{"type":"A","name":"a","content":"192.0.2.1","ttl":2}"#, "/ttl"),
            (r#"{"type":"A","name":"a","content":"192.0.2.1","ttl":86401}"#, "/ttl"),
            (r#"{"type":"A","name":"a","content":"192.0.2.1","ttl":-300}"#, "/ttl"),
            (r#"{"type":"A","name":"a!","content":"192.0.2.1"}"#, "ok"),
            // No server is there; what DNS says is for the owner alone to know.
            (r#"{"type":"A","name":"a","content":"0.0.0.0","proxied":true}"#, "/content"),
            (r#"{"type":"A","name":"a","content":"0.0.0.0"}"#, "ok"),
            (r#"{"type":"A","name":"a","content":"224.0.0.1","proxied":true}"#, "/content"),
            (r#"{"type":"A","name":"a","content":"255.255.255.255","proxied":true}"#, "/content"),
            (r#"{"type":"AAAA","name":"a","content":"::","proxied":true}"#, "/content"),
            (r#"{"type":"AAAA","name":"a","content":"::ffff:0.0.0.0","proxied":true}"#, "/content"),
            (r#"{"type":"AAAA","name":"a","content":"ff02::1","proxied":true}"#, "/content"),
            (r#"{"type":"AAAA","name":"a","content":"ff02::1"}"#, "ok"),
            (r#"{"type":"A","name":"a","content":"127.0.0.1","proxied":true}"#, "ok"),
            (r#"{"type":"A","name":"a!","content":"192.0.2.1","proxied":true}"#, "/name"),
            (r#"{"type":"A","name":"a","content":"192.0.2.1","tags":[""]}"#, "/tags"),
            (r#"{"type":"A","name":"a","content":"192.0.2.1","bartizan":{"origin_port":80}}"#, "/bartizan/origin_port"),
            (
                r#"{"type":"A","name":"a","content":"192.0.2.1","proxied":true,"bartizan":{"origin_port":0}}"#,
                "/bartizan/origin_port",
            ),
            (r#"{"type":"A","name":"a","content":"192.0.2.1","proxied":true,"bartizan":{"origin_port":8000}}"#, "ok"),
        ] {
            assert_eq!(shown(body).map_or_else(|pointer| pointer, |_| "ok".to_owned()), pointer, "{body}");
        }
        let long = format!(r#"{{"type":"A","name":"a","content":"192.0.2.1","comment":"{}"}}"#, "x".repeat(501));
        assert_eq!(shown(&long), Err("/comment".to_owned()));
        let long = format!(r#"{{"type":"A","name":"{}","content":"192.0.2.1"}}"#, "x.".repeat(122));
        assert_eq!(shown(&long), Err("/name".to_owned()));
    }

    #[test]
    fn ttls() {
        for (body, shown, served) in [
            (r#"{"type":"A","name":"a","content":"192.0.2.1"}"#, 1, 300),
            (r#"{"type":"A","name":"a","content":"192.0.2.1","ttl":30}"#, 30, 30),
            (r#"{"type":"A","name":"a","content":"192.0.2.1","ttl":"86400"}"#, 86_400, 86_400),
            (r#"{"type":"A","name":"a","content":"192.0.2.1","ttl":120,"proxied":true}"#, 1, 300),
        ] {
            let (record, document) = parse(body).unwrap();
            assert_eq!((document.ttl, record.ttl.served()), (shown, served), "{body}");
        }
    }

    #[test]
    fn a_patch_keeps_what_it_leaves_out() {
        let srv = r#"{"type":"SRV","name":"s","content":"1 2 3 a","comment":"c","tags":["x:y"],"ttl":60}"#;
        let a = r#"{"type":"A","name":"a","content":"192.0.2.1","proxied":true,"bartizan":{"origin_port":81}}"#;
        for (stored, patch, expect) in [
            (srv, r#"{}"#, r#"s SRV "1 2 3 a" 60 c x:y"#),
            (srv, r#"{"content":"4 5 6 b"}"#, r#"s SRV "4 5 6 b" 60 c x:y"#),
            (srv, r#"{"priority":9}"#, r#"s SRV "9 2 3 a" 60 c x:y"#),
            (srv, r#"{"data":{"priority":4,"weight":5,"port":6,"target":"b"}}"#, r#"s SRV "4 5 6 b" 60 c x:y"#),
            (srv, r#"{"comment":null,"tags":null,"ttl":null}"#, r#"s SRV "1 2 3 a" 1 - "#),
            (srv, r#"{"type":"TXT","content":"t"}"#, r#"s TXT "t" 60 c x:y"#),
            (srv, r#"{"type":"TXT"}"#, "/content"),
            (srv, r#"{"name":"r.example.com"}"#, r#"r SRV "1 2 3 a" 60 c x:y"#),
            (a, r#"{"content":"192.0.2.2"}"#, r#"a A "192.0.2.2" 1 -  proxied:81"#),
            (a, r#"{"proxied":false}"#, r#"a A "192.0.2.1" 1 - "#),
            (a, r#"{"bartizan":null}"#, r#"a A "192.0.2.1" 1 -  proxied"#),
            (a, r#"{"type":"MX","content":"m","priority":1}"#, "/proxied"),
        ] {
            let (_, stored) = parse(stored).unwrap();
            let merged = merge(&stored, serde_json::from_str(patch).unwrap());
            let shown = match Record::parse_body(&zone(), stamp(), &merged) {
                Err(error) => error.pointer(),
                Ok((record, new)) => {
                    let name = new.name.trim_end_matches(".example.com");
                    let comment = new.comment.as_deref().unwrap_or("-");
                    let proxied = if new.proxied { " proxied" } else { "" };
                    let port = record.origin_port.map(|port| format!(":{port}")).unwrap_or_default();
                    format!(
                        "{name} {} {:?} {} {comment} {}{proxied}{port}",
                        new.kind,
                        new.content,
                        new.ttl,
                        new.tags.join(",")
                    )
                }
            };
            assert_eq!(shown, expect, "{patch}");
        }
    }

    #[test]
    fn only_a_proxied_cname_leads_to_a_tunnel() {
        let target = "07070707-0707-4707-8707-070707070707.cfargotunnel.com";
        for (kind, proxied, leads) in [("CNAME", true, true), ("CNAME", false, false), ("NS", false, false)] {
            let body = format!(r#"{{"type":"{kind}","name":"a","content":"{target}","proxied":{proxied}}}"#);
            assert_eq!(parse(&body).unwrap().0.tunnel_target().is_some(), leads, "{body}");
        }
    }

    proptest::proptest! {
        /// What is taken of any text is kept as a document that reads back as the same record.
        #[test]
        fn any_content_reads_back(kind in proptest::sample::select(&KINDS[..]), content in "[ -~]{0,40}", priority in 0..9) {
            let body = serde_json::json!({"type": kind, "name": "n", "content": content, "priority": priority});
            if let Ok((record, document)) = parse(&body.to_string()) {
                proptest::prop_assert_eq!(Record::parse(&document), Ok(record));
            }
        }
    }

    const KINDS: [&str; 25] = [
        "A",
        "AAAA",
        "CAA",
        "CDNSKEY",
        "CDS",
        "CERT",
        "CNAME",
        "DNAME",
        "DNSKEY",
        "DS",
        "HTTPS",
        "LOC",
        "MX",
        "NAPTR",
        "NS",
        "OPENPGPKEY",
        "PTR",
        "SMIMEA",
        "SRV",
        "SSHFP",
        "SVCB",
        "TLSA",
        "TXT",
        "URI",
        "TYPE65280",
    ];
}
