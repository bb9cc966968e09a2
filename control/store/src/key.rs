//! Keys: what an object is called, as ordered text.
//!
//! `<scope>/<kind>` where a scope has one object of the kind, else `<scope>/<kind>/<id>`; for example
//! `zone/<id>/settings`, `zone/<id>/record/<id>`, `account/<id>/tunnel/<id>` or `edge/token/<id>`. Everything of a zone
//! lies together, and in it everything of one kind: whatever is to be done to all of it is done to one range. Only the
//! last part may contain slashes.

use std::cmp::Ordering;
use std::fmt::{self, Display};
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use bartizan_names::{
    AccountId, AppId, CertificateId, ClientCertificateId, ClientRootId, LoadBalancerId, MonitorId, Name, PoolId, PopId,
    RecordId, RuleId, SessionId, TokenId, TunnelId, UserId, ZoneId,
};

use crate::kind::{Ids, Kind, Owner};

/// The text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key of the store")]
pub struct KeyError(pub String);

/// Whose an object is: the first part of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    Edge,
    User(UserId),
    Account(AccountId),
    Zone(ZoneId),
}

impl Scope {
    /// Of no user. What is a user's holds in all zones.
    pub(crate) const NOBODY: Scope = Scope::User(UserId::from_bytes([0; 16]));

    const fn owner(self) -> Owner {
        match self {
            Scope::Edge => Owner::Edge,
            Scope::User(_) => Owner::User,
            Scope::Account(_) => Owner::Account,
            Scope::Zone(_) => Owner::Zone,
        }
    }

    /// The scope that a key begins with, and what comes behind it and a slash.
    pub(crate) fn split(text: &str) -> Option<(Scope, &str)> {
        let (owner, rest) = text.split_once('/')?;
        if owner == "edge" {
            return Some((Scope::Edge, rest));
        }
        let (id, rest) = rest.split_once('/')?;
        let scope = match owner {
            "user" => Scope::User(id.parse().ok()?),
            "account" => Scope::Account(id.parse().ok()?),
            "zone" => Scope::Zone(id.parse().ok()?),
            _ => return None,
        };
        Some((scope, rest))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Edge => f.write_str("edge"),
            Scope::User(id) => write!(f, "user/{id}"),
            Scope::Account(id) => write!(f, "account/{id}"),
            Scope::Zone(id) => write!(f, "zone/{id}"),
        }
    }
}

/// What only one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// The apex of a zone, on the whole edge.
    ZoneName,
    /// The name of a tunnel, in its account.
    TunnelName,
    /// A slot of the address pools, on the whole edge.
    AppSlot,
    /// An address that applications asked for themselves, on the whole edge.
    AppAddress,
    /// The hash of a token, on the whole edge: by it a token is found.
    TokenHash,
    /// The token that an owner made last: those who make one at once meet here, so that their number can be bounded.
    LastToken,
    /// The certificate that was asked for or brought last in an account, for the same.
    LastCertificate,
    /// The address by which a user logs in, on the whole edge.
    UserEmail,
    /// The hash of what the browser of a session shows, on the whole edge: by it a session is found.
    SessionHash,
    /// A user who belongs to an account, or is invited to, in that account.
    Member,
}

impl Index {
    const ALL: [Index; 10] = [
        Index::ZoneName,
        Index::TunnelName,
        Index::AppSlot,
        Index::AppAddress,
        Index::TokenHash,
        Index::LastToken,
        Index::LastCertificate,
        Index::UserEmail,
        Index::SessionHash,
        Index::Member,
    ];

    const fn text(self) -> &'static str {
        match self {
            Index::ZoneName => "zone-name",
            Index::TunnelName => "tunnel-name",
            Index::AppSlot => "app-slot",
            Index::AppAddress => "app-address",
            Index::TokenHash => "token-hash",
            Index::LastToken => "last-token",
            Index::LastCertificate => "last-certificate",
            Index::UserEmail => "user-email",
            Index::SessionHash => "session-hash",
            Index::Member => "member",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Index> {
        Index::ALL.into_iter().find(|index| index.text() == text)
    }
}

/// The name of one object. Cheap to clone; ordered and compared by its text.
#[derive(Clone)]
pub struct Key {
    text: Arc<str>,
    scope: Scope,
    kind: Kind,
    /// Where the id begins in the text; the end of the text for an object that has no id.
    id_at: usize,
}

impl Key {
    /// One of the objects of a kind in a scope.
    pub fn new(scope: Scope, kind: Kind, id: impl Display) -> Key {
        let mut text = format!("{scope}/{}/", kind.text());
        let id_at = text.len();
        fmt::write(&mut text, format_args!("{id}")).expect("a String takes any text");
        Key::checked(text.into(), scope, kind, id_at)
    }

    /// The only object of its kind in a scope.
    pub fn one(scope: Scope, kind: Kind) -> Key {
        let text = format!("{scope}/{}", kind.text());
        let id_at = text.len();
        Key::checked(text.into(), scope, kind, id_at)
    }

    fn checked(text: Arc<str>, scope: Scope, kind: Kind, id_at: usize) -> Key {
        let key = Key { text, scope, kind, id_at };
        debug_assert!(key.is_declared(), "{key} does not fit its kind");
        key
    }

    /// Whether the kind may stand in this scope, and with such an id.
    fn is_declared(&self) -> bool {
        let declaration = self.kind.declaration();
        self.kind.owners().contains(&self.scope.owner())
            && match declaration.ids {
                Ids::One => self.id().is_empty() && !self.text.ends_with('/'),
                Ids::Many(is_id) => is_id(self.id()),
            }
    }

    pub fn zone(id: ZoneId) -> Key {
        Key::one(Scope::Zone(id), Kind::Zone)
    }

    pub fn settings(zone: ZoneId) -> Key {
        Key::one(Scope::Zone(zone), Kind::Settings)
    }

    pub fn dnssec(zone: ZoneId) -> Key {
        Key::one(Scope::Zone(zone), Kind::Dnssec)
    }

    /// By the name of the zone above.
    pub fn registry(parent: &Name) -> Key {
        Key::new(Scope::Edge, Kind::Registry, parent)
    }

    pub fn record(zone: ZoneId, id: RecordId) -> Key {
        Key::new(Scope::Zone(zone), Kind::Record, id)
    }

    pub fn name(zone: ZoneId, owner: &Name) -> Key {
        Key::new(Scope::Zone(zone), Kind::Name, owner)
    }

    pub fn app(zone: ZoneId, id: AppId) -> Key {
        Key::new(Scope::Zone(zone), Kind::App, id)
    }

    pub fn pool(account: AccountId, id: PoolId) -> Key {
        Key::new(Scope::Account(account), Kind::Pool, id)
    }

    pub fn monitor(account: AccountId, id: MonitorId) -> Key {
        Key::new(Scope::Account(account), Kind::Monitor, id)
    }

    pub fn load_balancer(zone: ZoneId, id: LoadBalancerId) -> Key {
        Key::new(Scope::Zone(zone), Kind::LoadBalancer, id)
    }

    /// The id that the load balancer of a name has: it follows from the name, so that two who make one at once meet.
    pub fn load_balancer_id(zone: ZoneId, name: &Name) -> LoadBalancerId {
        let hash = bartizan_seal::sha256(format!("load-balancer/{zone}/{name}").as_bytes());
        LoadBalancerId::from_bytes(hash.first_chunk().copied().unwrap_or_default())
    }

    pub fn account(id: AccountId) -> Key {
        Key::one(Scope::Account(id), Kind::Account)
    }

    pub fn user(id: UserId) -> Key {
        Key::one(Scope::User(id), Kind::User)
    }

    /// In the scope of the user or the account whose it is; builds before this one kept them in that of the edge.
    pub fn token(scope: Scope, id: TokenId) -> Key {
        Key::new(scope, Kind::Token, id)
    }

    pub fn session(user: UserId, id: SessionId) -> Key {
        Key::new(Scope::User(user), Kind::Session, id)
    }

    /// In the scope of the user.
    pub fn membership(user: UserId, account: AccountId) -> Key {
        Key::new(Scope::User(user), Kind::Membership, account)
    }

    /// A fact about this installation; `name` is not empty.
    pub fn meta(name: &str) -> Key {
        Key::new(Scope::Edge, Kind::Meta, name)
    }

    pub fn pop(id: PopId) -> Key {
        Key::new(Scope::Edge, Kind::Pop, id)
    }

    pub fn tunnel(account: AccountId, id: TunnelId) -> Key {
        Key::new(Scope::Account(account), Kind::Tunnel, id)
    }

    pub fn tunnel_config(account: AccountId, id: TunnelId) -> Key {
        Key::new(Scope::Account(account), Kind::TunnelConfig, id)
    }

    /// In the scope of its zone; the one that connectors see is the edge's.
    pub fn certificate(scope: Scope, id: CertificateId) -> Key {
        Key::new(scope, Kind::Certificate, id)
    }

    /// One that a public authority issues by ACME.
    pub fn acme_certificate(zone: ZoneId, id: CertificateId) -> Key {
        Key::new(Scope::Zone(zone), Kind::AcmeCertificate, id)
    }

    /// One that somebody brought.
    pub fn custom_certificate(zone: ZoneId, id: CertificateId) -> Key {
        Key::new(Scope::Zone(zone), Kind::CustomCertificate, id)
    }

    /// Who we are to the public authority.
    pub fn acme_account() -> Key {
        Key::one(Scope::Edge, Kind::AcmeAccount)
    }

    /// The last word that the clock is right.
    pub fn clock_word() -> Key {
        Key::one(Scope::Edge, Kind::ClockWord)
    }

    /// What is answered to a public authority over HTTP, by the token that it asks with (RFC 8555 §8.3).
    pub fn acme_token(token: &str) -> Key {
        Key::new(Scope::Edge, Kind::AcmeToken, token)
    }

    /// In the scope of a user, an account or a zone.
    pub fn access_rule(scope: Scope, id: RuleId) -> Key {
        Key::new(scope, Kind::AccessRule, id)
    }

    /// In the scope of a zone, or of an account.
    pub fn client_root(scope: Scope, id: ClientRootId) -> Key {
        Key::new(scope, Kind::ClientRoot, id)
    }

    /// Beside the authority with this id.
    pub fn client_crl(scope: Scope, root: ClientRootId) -> Key {
        Key::new(scope, Kind::ClientCrl, root)
    }

    /// By the host's name, of which the first label may be `*`.
    pub fn client_host(zone: ZoneId, host: &Name) -> Key {
        Key::new(Scope::Zone(zone), Kind::ClientHost, host)
    }

    pub fn origin_root(zone: ZoneId, id: CertificateId) -> Key {
        Key::new(Scope::Zone(zone), Kind::OriginRoot, id)
    }

    pub fn origin_client(zone: ZoneId, id: CertificateId) -> Key {
        Key::new(Scope::Zone(zone), Kind::OriginClient, id)
    }

    pub fn origin_host_client(zone: ZoneId, id: CertificateId) -> Key {
        Key::new(Scope::Zone(zone), Kind::OriginHostClient, id)
    }

    /// By the host's name.
    pub fn origin_client_host(zone: ZoneId, host: &Name) -> Key {
        Key::new(Scope::Zone(zone), Kind::OriginClientHost, host)
    }

    pub fn client_authority(zone: ZoneId) -> Key {
        Key::one(Scope::Zone(zone), Kind::ClientAuthority)
    }

    pub fn client_certificate(zone: ZoneId, id: ClientCertificateId) -> Key {
        Key::new(Scope::Zone(zone), Kind::ClientCertificate, id)
    }

    /// By the number of the certificate, in hexadecimal digits.
    pub fn client_revocation(zone: ZoneId, serial: &str) -> Key {
        Key::new(Scope::Zone(zone), Kind::ClientRevocation, serial)
    }

    /// Stands for objects of a kind in a scope whose own keys nobody knows: no object has its id, and no two scopes the same.
    /// None if there can be no such object.
    pub(crate) fn unnamed(scope: Scope, kind: Kind) -> Option<Key> {
        let whose = scope.to_string();
        let id = whose.rsplit_once('/').map_or("", |(_, id)| id);
        kind.owners().contains(&scope.owner()).then(|| match kind.declaration().ids {
            Ids::One => Key::one(scope, kind),
            Ids::Many(_) => Key::new(scope, kind, id),
        })
    }

    /// What only one in a scope may have; `name` is not empty.
    pub fn unique(scope: Scope, index: Index, name: impl Display) -> Key {
        Key::new(scope, Kind::Unique, format_args!("{}/{name}", index.text()))
    }

    /// Says that a zone is out of service and that the rest of it is still to be deleted.
    pub fn deletion(zone: ZoneId) -> Key {
        Key::new(Scope::Edge, Kind::Deletion, zone)
    }

    /// Says that an import into a zone has begun and is not done.
    pub fn import(zone: ZoneId) -> Key {
        Key::one(Scope::Zone(zone), Kind::Import)
    }

    /// Reads the one spelling in which a key is written.
    pub fn parse(text: &str) -> Result<Key, KeyError> {
        let refused = || KeyError(text.to_owned());
        let key = Key::stored(text)?;
        // An id in upper case would be a second name of the same object.
        let is_first = text.strip_prefix(&key.scope.to_string()).is_some_and(|rest| rest.starts_with('/'));
        if is_first && key.is_declared() { Ok(key) } else { Err(refused()) }
    }

    /// Reads a key that [`Key::as_str`] wrote. Does not check again that it is spelled in the only right way.
    pub(crate) fn stored(text: &str) -> Result<Key, KeyError> {
        let key = || {
            let (scope, rest) = Scope::split(text)?;
            let kind = rest.split_once('/').map_or(rest, |(kind, _)| kind);
            let behind = text.len() - rest.len() + kind.len();
            let id_at = if kind.len() == rest.len() { behind } else { behind + 1 };
            Some(Key { text: text.into(), scope, kind: Kind::parse(kind)?, id_at })
        };
        key().ok_or_else(|| KeyError(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn scope(&self) -> Scope {
        self.scope
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Empty where a scope has one object of the kind.
    pub fn id(&self) -> &str {
        &self.text[self.id_at..]
    }

    /// In which index the key is, if it is of something that only one may have.
    pub fn index(&self) -> Option<Index> {
        let of_unique = (self.kind == Kind::Unique).then(|| self.id().split_once('/'));
        Index::parse(of_unique.flatten()?.0)
    }

    pub fn id_as<T: FromStr>(&self) -> Option<T> {
        self.id().parse().ok()
    }

    /// The zone to which the object belongs by its key.
    pub fn zone_id(&self) -> Option<ZoneId> {
        match self.scope {
            Scope::Zone(zone) => Some(zone),
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
    /// Everything of a scope.
    pub fn scope(scope: Scope) -> Prefix {
        Prefix(format!("{scope}/"))
    }

    /// All objects of a kind in a scope that may have many of them.
    pub fn of(scope: Scope, kind: Kind) -> Prefix {
        Prefix(format!("{scope}/{}/", kind.text()))
    }

    /// Everything of a scope in an index of what only one may have.
    pub fn unique(scope: Scope, index: Index) -> Prefix {
        Prefix(format!("{scope}/{}/{}/", Kind::Unique.text(), index.text()))
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
    Scope(Scope),
}

impl Filter {
    pub(crate) fn passes(&self, key: &Key) -> bool {
        match self {
            Filter::Everything => true,
            Filter::Kinds(kinds) => kinds.contains(&key.kind()),
            Filter::Scope(scope) => key.scope() == *scope,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_what_they_write() {
        let zone = ZoneId::from_bytes([0xab; 16]);
        let account = AccountId::from_bytes([0xab; 16]);
        let (hex, ones) = ("ab".repeat(16), "01".repeat(16));
        let tunnel = TunnelId::from_random([7; 16]);
        let rule = RuleId::from_bytes([1; 16]);
        for (key, text, id) in [
            (Key::meta("admin"), "edge/meta/admin".to_owned(), "admin"),
            (Key::account(account), format!("account/{hex}/account"), ""),
            (Key::user(UserId::from_bytes([0xab; 16])), format!("user/{hex}/user"), ""),
            (Key::token(Scope::Edge, TokenId::from_bytes([1; 16])), format!("edge/token/{ones}"), &*ones),
            (
                Key::token(Scope::Account(account), TokenId::from_bytes([1; 16])),
                format!("account/{hex}/token/{ones}"),
                &*ones,
            ),
            (
                Key::session(UserId::from_bytes([0xab; 16]), SessionId::from_bytes([1; 16])),
                format!("user/{hex}/session/{ones}"),
                &*ones,
            ),
            (Key::pop(PopId::from_bytes([1; 16])), format!("edge/pop/{ones}"), &*ones),
            (Key::zone(zone), format!("zone/{hex}/zone"), ""),
            (Key::settings(zone), format!("zone/{hex}/settings"), ""),
            (Key::record(zone, RecordId::from_bytes([1; 16])), format!("zone/{hex}/record/{ones}"), &*ones),
            (Key::name(zone, &Name::parse("*.A.b").unwrap()), format!("zone/{hex}/name/*.a.b"), "*.a.b"),
            // RFC 2317 names have a slash in a label.
            (Key::name(zone, &Name::parse("0/25.a").unwrap()), format!("zone/{hex}/name/0/25.a"), "0/25.a"),
            (Key::tunnel(account, tunnel), format!("account/{hex}/tunnel/{tunnel}"), &*tunnel.to_string()),
            (
                Key::tunnel_config(account, tunnel),
                format!("account/{hex}/tunnel_config/{tunnel}"),
                &*tunnel.to_string(),
            ),
            (
                Key::certificate(Scope::Edge, CertificateId::from_bytes([1; 16])),
                format!("edge/certificate/{ones}"),
                &*ones,
            ),
            (Key::access_rule(Scope::Account(account), rule), format!("account/{hex}/access_rule/{ones}"), &*ones),
            (Key::app(zone, AppId::from_bytes([1; 16])), format!("zone/{hex}/app/{ones}"), &*ones),
            (
                Key::unique(Scope::Account(account), Index::TunnelName, "my/tunnel"),
                format!("account/{hex}/unique/tunnel-name/my/tunnel"),
                "tunnel-name/my/tunnel",
            ),
            (Key::deletion(zone), format!("edge/deletion/{hex}"), &*hex),
        ] {
            assert_eq!((key.as_str(), key.id()), (&*text, id));
            let again = Key::parse(&text).unwrap();
            assert_eq!((&again, again.scope(), again.kind(), again.id()), (&key, key.scope(), key.kind(), key.id()));
        }
    }

    #[test]
    fn other_text_is_refused() {
        let hex = "ab".repeat(16);
        for text in [
            "".to_owned(),
            "edge".to_owned(),
            "edge/meta".to_owned(),
            "edge/meta/".to_owned(),
            "edge/nonsense/1".to_owned(),
            format!("edge/zone/{hex}"),
            format!("zone/{hex}"),
            format!("zone/{hex}/"),
            format!("zone/{hex}/zone/"),
            format!("zone/{hex}/zone/{hex}"),
            format!("zone/{}/zone", hex.to_uppercase()),
            format!("zone/{hex}/record"),
            format!("zone/{hex}/record/{}", hex.to_uppercase()),
            format!("zone/{hex}/name/A.b"),
            format!("zone/{hex}/name/a..b"),
            format!("zone/{hex}/token/{hex}"),
            format!("nobody/{hex}/zone"),
            "edge/unique/nonsense/a".to_owned(),
            "edge/unique/zone-name".to_owned(),
            "edge/unique/zone-name/".to_owned(),
        ] {
            assert_eq!(Key::parse(&text), Err(KeyError(text.clone())), "{text}");
        }
    }

    #[test]
    fn what_stands_for_others_is_a_key_of_its_own() {
        let scopes = [1, 2].map(|byte| Scope::Zone(ZoneId::from_bytes([byte; 16])));
        let mut ids = Vec::new();
        for scope in scopes.into_iter().chain([Scope::NOBODY, Scope::Account(AccountId::from_bytes([3; 16]))]) {
            for kind in Kind::ALL.iter().filter(|kind| kind.guards()) {
                let Some(key) = Key::unnamed(scope, *kind) else { continue };
                assert_eq!(Key::parse(key.as_str()), Ok(key.clone()));
                ids.extend(Some(key.id().to_owned()).filter(|id| !id.is_empty()));
            }
        }
        // Of two kinds, whose keys differ by these.
        assert_eq!(ids.len(), 8);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), scopes.len() + 2);
    }

    #[test]
    fn prefixes_take_in_what_they_name_and_no_more() {
        let zone = Scope::Zone(ZoneId::from_bytes([0; 16]));
        let zeros = "00".repeat(16);
        for (prefix, inside, outside) in [
            (Prefix::scope(Scope::Edge), "edge/zzz", "edge0"),
            (Prefix::scope(zone), &*format!("zone/{zeros}/zone"), "zone/01/zone"),
            (
                Prefix::of(zone, Kind::TunnelConfig),
                &*format!("zone/{zeros}/tunnel_config/\u{10ffff}"),
                &*format!("zone/{zeros}/tunnel_configs"),
            ),
            (
                Prefix::unique(Scope::Edge, Index::AppSlot),
                "edge/unique/app-slot/0000000001",
                "edge/unique/app-slots/0000000001",
            ),
        ] {
            let end = prefix.end();
            let is_in = |text: &str| prefix.first() <= text && text < end.as_str();
            assert!(is_in(inside) && !is_in(outside), "{prefix:?}");
        }
    }
}
