//! Keys: what an object is called, as ordered text.
//!
//! `kind/part/part`, for example `record/<zone id>/<record id>` or `name/<zone id>/www.example.com`. Everything of one
//! zone and one kind lies together, which is what listings and filtered snapshots rely on. A part other than the last
//! never contains a slash; an owner name may.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bartizan_names::{AccountId, AppId, CertificateId, Name, RecordId, RuleId, TokenId, TunnelId, UserId, ZoneId};

/// The text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key of the store")]
pub struct KeyError(pub String);

/// What kind of object a key names. The order is the one in which full states are streamed: what others refer to comes
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Facts about this installation.
    Meta,
    Account,
    User,
    Token,
    Zone,
    /// The settings of a zone.
    Settings,
    Record,
    /// An owner name of a zone: the unit that is guarded and published.
    Name,
    Tunnel,
    TunnelConfig,
    Certificate,
    AccessRule,
    /// A Spectrum application.
    App,
}

impl Kind {
    pub const ALL: [Kind; 13] = [
        Kind::Meta,
        Kind::Account,
        Kind::User,
        Kind::Token,
        Kind::Zone,
        Kind::Settings,
        Kind::Record,
        Kind::Name,
        Kind::Tunnel,
        Kind::TunnelConfig,
        Kind::Certificate,
        Kind::AccessRule,
        Kind::App,
    ];

    /// What keys of this kind begin with, without the slash.
    pub const fn text(self) -> &'static str {
        match self {
            Kind::Meta => "meta",
            Kind::Account => "account",
            Kind::User => "user",
            Kind::Token => "token",
            Kind::Zone => "zone",
            Kind::Settings => "settings",
            Kind::Record => "record",
            Kind::Name => "name",
            Kind::Tunnel => "tunnel",
            Kind::TunnelConfig => "tunnel_config",
            Kind::Certificate => "certificate",
            Kind::AccessRule => "access_rule",
            Kind::App => "app",
        }
    }

    /// The number by which the tables know the kind. Stored: never reuse one.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Kind::Meta => 1,
            Kind::Account => 2,
            Kind::User => 3,
            Kind::Token => 4,
            Kind::Zone => 5,
            Kind::Settings => 6,
            Kind::Record => 7,
            Kind::Name => 8,
            Kind::Tunnel => 9,
            Kind::TunnelConfig => 10,
            Kind::Certificate => 11,
            Kind::AccessRule => 12,
            Kind::App => 13,
        }
    }

    fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.text() == text)
    }
}

/// A key taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyParts {
    Meta(Arc<str>),
    Account(AccountId),
    User(UserId),
    Token(TokenId),
    Zone(ZoneId),
    Settings(ZoneId),
    Record(ZoneId, RecordId),
    Name(ZoneId, Name),
    Tunnel(TunnelId),
    TunnelConfig(TunnelId),
    Certificate(CertificateId),
    AccessRule(RuleId),
    App(ZoneId, AppId),
}

impl KeyParts {
    const fn kind(&self) -> Kind {
        match self {
            KeyParts::Meta(_) => Kind::Meta,
            KeyParts::Account(_) => Kind::Account,
            KeyParts::User(_) => Kind::User,
            KeyParts::Token(_) => Kind::Token,
            KeyParts::Zone(_) => Kind::Zone,
            KeyParts::Settings(_) => Kind::Settings,
            KeyParts::Record(..) => Kind::Record,
            KeyParts::Name(..) => Kind::Name,
            KeyParts::Tunnel(_) => Kind::Tunnel,
            KeyParts::TunnelConfig(_) => Kind::TunnelConfig,
            KeyParts::Certificate(_) => Kind::Certificate,
            KeyParts::AccessRule(_) => Kind::AccessRule,
            KeyParts::App(..) => Kind::App,
        }
    }

    fn parse(text: &str) -> Option<KeyParts> {
        let (kind, rest) = text.split_once('/')?;
        let in_zone = || rest.split_once('/').and_then(|(zone, part)| Some((zone.parse().ok()?, part)));
        Some(match Kind::parse(kind)? {
            Kind::Meta if !rest.is_empty() => KeyParts::Meta(rest.into()),
            Kind::Meta => return None,
            Kind::Account => KeyParts::Account(rest.parse().ok()?),
            Kind::User => KeyParts::User(rest.parse().ok()?),
            Kind::Token => KeyParts::Token(rest.parse().ok()?),
            Kind::Zone => KeyParts::Zone(rest.parse().ok()?),
            Kind::Settings => KeyParts::Settings(rest.parse().ok()?),
            Kind::Record => in_zone().and_then(|(zone, id)| Some(KeyParts::Record(zone, id.parse().ok()?)))?,
            Kind::Name => in_zone().and_then(|(zone, owner)| Some(KeyParts::Name(zone, Name::parse(owner).ok()?)))?,
            Kind::Tunnel => KeyParts::Tunnel(rest.parse().ok()?),
            Kind::TunnelConfig => KeyParts::TunnelConfig(rest.parse().ok()?),
            Kind::Certificate => KeyParts::Certificate(rest.parse().ok()?),
            Kind::AccessRule => KeyParts::AccessRule(rest.parse().ok()?),
            Kind::App => in_zone().and_then(|(zone, id)| Some(KeyParts::App(zone, id.parse().ok()?)))?,
        })
    }
}

impl fmt::Display for KeyParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.kind().text())?;
        match self {
            KeyParts::Meta(name) => f.write_str(name),
            KeyParts::Account(id) => id.fmt(f),
            KeyParts::User(id) => id.fmt(f),
            KeyParts::Token(id) => id.fmt(f),
            KeyParts::Zone(id) | KeyParts::Settings(id) => id.fmt(f),
            KeyParts::Record(zone, id) => write!(f, "{zone}/{id}"),
            KeyParts::Name(zone, owner) => write!(f, "{zone}/{owner}"),
            KeyParts::Tunnel(id) | KeyParts::TunnelConfig(id) => id.fmt(f),
            KeyParts::Certificate(id) => id.fmt(f),
            KeyParts::AccessRule(id) => id.fmt(f),
            KeyParts::App(zone, id) => write!(f, "{zone}/{id}"),
        }
    }
}

/// The name of one object. Cheap to clone; ordered and compared by its text.
#[derive(Clone)]
pub struct Key {
    text: Arc<str>,
    parts: KeyParts,
}

impl Key {
    fn new(parts: KeyParts) -> Key {
        Key { text: parts.to_string().into(), parts }
    }

    /// A fact about this installation; `name` is not empty.
    pub fn meta(name: &'static str) -> Key {
        Key::new(KeyParts::Meta(name.into()))
    }

    pub fn account(id: AccountId) -> Key {
        Key::new(KeyParts::Account(id))
    }

    pub fn user(id: UserId) -> Key {
        Key::new(KeyParts::User(id))
    }

    pub fn token(id: TokenId) -> Key {
        Key::new(KeyParts::Token(id))
    }

    pub fn zone(id: ZoneId) -> Key {
        Key::new(KeyParts::Zone(id))
    }

    pub fn settings(zone: ZoneId) -> Key {
        Key::new(KeyParts::Settings(zone))
    }

    pub fn record(zone: ZoneId, id: RecordId) -> Key {
        Key::new(KeyParts::Record(zone, id))
    }

    pub fn name(zone: ZoneId, owner: &Name) -> Key {
        Key::new(KeyParts::Name(zone, owner.clone()))
    }

    pub fn tunnel(id: TunnelId) -> Key {
        Key::new(KeyParts::Tunnel(id))
    }

    pub fn tunnel_config(id: TunnelId) -> Key {
        Key::new(KeyParts::TunnelConfig(id))
    }

    pub fn certificate(id: CertificateId) -> Key {
        Key::new(KeyParts::Certificate(id))
    }

    pub fn access_rule(id: RuleId) -> Key {
        Key::new(KeyParts::AccessRule(id))
    }

    pub fn app(zone: ZoneId, id: AppId) -> Key {
        Key::new(KeyParts::App(zone, id))
    }

    /// Reads the one spelling in which a key is written.
    pub fn parse(text: &str) -> Result<Key, KeyError> {
        let refused = || KeyError(text.to_owned());
        let key = Key::new(KeyParts::parse(text).ok_or_else(refused)?);
        // Ids in upper case and names with needless escapes would be second names of one object.
        if key.as_str() == text { Ok(key) } else { Err(refused()) }
    }

    /// Reads a key that [`Key::as_str`] wrote, without asking again whether it is the one spelling.
    pub(crate) fn stored(text: &str) -> Result<Key, KeyError> {
        let parts = KeyParts::parse(text).ok_or_else(|| KeyError(text.to_owned()))?;
        Ok(Key { text: text.into(), parts })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn kind(&self) -> Kind {
        self.parts.kind()
    }

    pub fn parts(&self) -> &KeyParts {
        &self.parts
    }

    /// The zone to which the object belongs by its key.
    pub fn zone_id(&self) -> Option<ZoneId> {
        match self.parts {
            KeyParts::Zone(zone)
            | KeyParts::Settings(zone)
            | KeyParts::Record(zone, _)
            | KeyParts::Name(zone, _)
            | KeyParts::App(zone, _) => Some(zone),
            _ => None,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.text == other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Keys that begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// All objects of a kind.
    pub fn kind(kind: Kind) -> Prefix {
        Prefix(format!("{}/", kind.text()))
    }

    /// All records of a zone.
    pub fn records(zone: ZoneId) -> Prefix {
        Prefix(format!("{}/{zone}/", Kind::Record.text()))
    }

    /// All owner names of a zone.
    pub fn names(zone: ZoneId) -> Prefix {
        Prefix(format!("{}/{zone}/", Kind::Name.text()))
    }

    /// All applications of a zone.
    pub fn apps(zone: ZoneId) -> Prefix {
        Prefix(format!("{}/{zone}/", Kind::App.text()))
    }

    /// All facts whose names begin with `name` and a slash.
    pub fn meta(name: &'static str) -> Prefix {
        Prefix(format!("{}/{name}/", Kind::Meta.text()))
    }

    pub(crate) fn first(&self) -> &str {
        &self.0
    }

    /// The first text behind all keys with this prefix: `0` follows `/`.
    pub(crate) fn end(&self) -> String {
        let mut end = self.0.clone();
        end.pop();
        end.push('0');
        end
    }
}

/// Which part of the state a reader wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    Everything,
    Kinds(Vec<Kind>),
    /// A zone, its settings, its records, its owner names and its applications.
    Zone(ZoneId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_what_they_write() {
        let zone = ZoneId::from_bytes([0xab; 16]);
        let hex = "ab".repeat(16);
        let tunnel = TunnelId::from_random([7; 16]);
        for (key, text) in [
            (Key::meta("admin"), "meta/admin".to_owned()),
            (Key::account(AccountId::from_bytes([0xab; 16])), format!("account/{hex}")),
            (Key::user(UserId::from_bytes([0xab; 16])), format!("user/{hex}")),
            (Key::token(TokenId::from_bytes([0xab; 16])), format!("token/{hex}")),
            (Key::zone(zone), format!("zone/{hex}")),
            (Key::settings(zone), format!("settings/{hex}")),
            (Key::record(zone, RecordId::from_bytes([1; 16])), format!("record/{hex}/{}", "01".repeat(16))),
            (Key::name(zone, &Name::parse("*.A.b").unwrap()), format!("name/{hex}/*.a.b")),
            // RFC 2317 names have a slash in a label.
            (Key::name(zone, &Name::parse("0/25.2.0.192").unwrap()), format!("name/{hex}/0/25.2.0.192")),
            (Key::tunnel(tunnel), format!("tunnel/{tunnel}")),
            (Key::tunnel_config(tunnel), format!("tunnel_config/{tunnel}")),
            (Key::certificate(CertificateId::from_bytes([0xab; 16])), format!("certificate/{hex}")),
            (Key::access_rule(RuleId::from_bytes([0xab; 16])), format!("access_rule/{hex}")),
            (Key::app(zone, AppId::from_bytes([1; 16])), format!("app/{hex}/{}", "01".repeat(16))),
        ] {
            assert_eq!(key.as_str(), text);
            let again = Key::parse(&text).unwrap();
            assert_eq!((&again, again.parts(), again.kind()), (&key, key.parts(), key.kind()));
        }
    }

    #[test]
    fn other_text_is_refused() {
        let hex = "ab".repeat(16);
        for text in [
            String::new(),
            "meta".to_owned(),
            "meta/".to_owned(),
            "zones/1".to_owned(),
            "zone/1".to_owned(),
            format!("zone/{}", hex.to_uppercase()),
            format!("zone/{hex}/"),
            format!("record/{hex}"),
            format!("app/{hex}"),
            format!("name/{hex}/A.b"),
            format!("name/{hex}/"),
            format!("name/{hex}/a."),
        ] {
            assert_eq!(Key::parse(&text), Err(KeyError(text.clone())), "{text}");
        }
    }

    #[test]
    fn a_prefix_ends_behind_its_keys() {
        for (prefix, inside, outside) in [
            (Prefix::kind(Kind::Tunnel), "tunnel/zzz", "tunnel_config/a"),
            (Prefix::kind(Kind::Zone), "zone/\u{10ffff}", "zone0"),
            (Prefix::meta("app-slot"), "meta/app-slot/0000000001", "meta/app-slots/1"),
            (Prefix::apps(ZoneId::from_bytes([0; 16])), "app/00000000000000000000000000000000/a", "app/01"),
            (Prefix::names(ZoneId::from_bytes([0; 16])), "name/00000000000000000000000000000000/a", "name/01"),
        ] {
            let end = prefix.end();
            let is_in = |text: &str| prefix.first() <= text && text < end.as_str();
            assert!(is_in(inside) && !is_in(outside), "{prefix:?}");
        }
    }
}
