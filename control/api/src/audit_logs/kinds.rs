//! What becomes of objects of each kind in the history: who sees what was done to one, what of its documents they see, and who
//! may put it back. How that is done has an arm in `undo/back.rs`.

use bartizan_store::{Kind, Scope};
use bartizan_v4::certificate::StoredOriginRoot;
use bartizan_v4::client_auth::{ClientCertificate, ClientHost, StoredClientRoot};
use bartizan_v4::clock::ClockWord;
use bartizan_v4::origin_client::StoredOriginClientHost;
use bartizan_v4::{
    Account, LoadBalancer, Monitor, Pool, Record, StoredAccessRule, StoredApp, StoredMembership, StoredSettings,
    TunnelConfiguration, Zone, registry::Registry,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::shown::{
    AcmeAccount, AcmeCertificate, ClientAuthority, CustomCertificate, Dnssec, OriginClient, Session, Token, Tunnel,
    User,
};
use crate::permission::Permission;

/// One kind.
struct Declared {
    /// What it takes to read one where it is, in each scope.
    read: fn(Scope) -> Option<Permission>,
    /// What it takes to change one; none of what an undo leaves alone.
    write: fn(Scope) -> Option<Permission>,
    /// What is shown of a document; none of one that cannot be read: nobody knows what is in it.
    shown: fn(&str) -> Option<Value>,
}

/// None of what nobody changes by itself: it follows from the rest.
fn declared(kind: Kind) -> Option<Declared> {
    use Permission::*;
    Some(match kind {
        Kind::Account => Declared::of::<Account>(|_| Some(AccountSettingsRead)),
        Kind::User => Declared::of::<User>(|_| Some(UserDetailsRead)),
        Kind::Session => Declared::of::<Session>(|_| Some(UserDetailsRead)),
        Kind::Membership => Declared::of::<StoredMembership>(|_| Some(MembershipsRead)),
        Kind::Token => Declared::of::<Token>(|scope| match scope {
            Scope::User(_) => Some(ApiTokensRead),
            // Those of before there were users are the edge's.
            Scope::Account(_) | Scope::Edge => Some(AccountApiTokensRead),
            Scope::Zone(_) => None,
        })
        .put_back(|scope| match scope {
            Scope::User(_) => Some(ApiTokensWrite),
            Scope::Account(_) => Some(AccountApiTokensWrite),
            Scope::Edge | Scope::Zone(_) => None,
        }),
        Kind::Zone => Declared::of::<Zone>(|_| Some(ZoneRead)).put_back(|_| Some(ZoneWrite)),
        Kind::Settings => {
            Declared::of::<StoredSettings>(|_| Some(ZoneSettingsRead)).put_back(|_| Some(ZoneSettingsWrite))
        }
        Kind::Dnssec => Declared::of::<Dnssec>(|_| Some(ZoneSettingsRead)).put_back(|_| Some(ZoneSettingsWrite)),
        Kind::App => Declared::of::<StoredApp>(|_| Some(ZoneSettingsRead)).put_back(|_| Some(ZoneSettingsWrite)),
        Kind::Record => Declared::of::<Record>(|_| Some(DnsRead)).put_back(|_| Some(DnsWrite)),
        Kind::Tunnel => Declared::of::<Tunnel>(|_| Some(TunnelRead)).put_back(|_| Some(TunnelWrite)),
        Kind::TunnelConfig => Declared::of::<TunnelConfiguration>(|_| Some(TunnelRead)).put_back(|_| Some(TunnelWrite)),
        Kind::AccessRule => Declared::of::<StoredAccessRule>(|scope| match scope {
            Scope::Zone(_) => Some(FirewallRead),
            _ => Some(AccountFirewallRead),
        })
        .put_back(|scope| match scope {
            Scope::Zone(_) => Some(FirewallWrite),
            _ => Some(AccountFirewallWrite),
        }),
        Kind::Registry => Declared::of::<Registry>(|_| Some(AccountSettingsRead)),
        Kind::AcmeAccount => Declared::of::<AcmeAccount>(|_| Some(AccountSettingsRead)),
        // Who was mistaken sets the clock right.
        Kind::ClockWord => Declared::of::<ClockWord>(|_| Some(AccountSettingsRead)),
        // It comes back by an order alone.
        Kind::AcmeCertificate => Declared::of::<AcmeCertificate>(|_| Some(SslRead)),
        // It comes back by an upload alone: its key is not in the history.
        Kind::CustomCertificate => Declared::of::<CustomCertificate>(|_| Some(SslRead)),
        Kind::OriginRoot => Declared::of::<StoredOriginRoot>(|_| Some(SslRead)).put_back(|_| Some(SslWrite)),
        // As certificates of visitors: their keys are not in the history.
        Kind::OriginClient | Kind::OriginHostClient => Declared::of::<OriginClient>(|_| Some(SslRead)),
        Kind::OriginClientHost => {
            Declared::of::<StoredOriginClientHost>(|_| Some(SslRead)).put_back(|_| Some(SslWrite))
        }
        Kind::ClientRoot => Declared::of::<StoredClientRoot>(|scope| match scope {
            Scope::Zone(_) => Some(SslRead),
            _ => Some(MtlsRead),
        })
        .put_back(|scope| match scope {
            Scope::Zone(_) => Some(SslWrite),
            _ => Some(MtlsWrite),
        }),
        Kind::ClientHost => Declared::of::<ClientHost>(|_| Some(SslRead)).put_back(|_| Some(SslWrite)),
        Kind::ClientAuthority => Declared::of::<ClientAuthority>(|_| Some(SslRead)).put_back(|_| Some(SslWrite)),
        Kind::ClientCertificate => Declared::of::<ClientCertificate>(|_| Some(SslRead)).put_back(|_| Some(SslWrite)),
        Kind::Monitor => Declared::of::<Monitor>(|_| Some(BalancingRead)).put_back(|_| Some(BalancingWrite)),
        Kind::Pool => Declared::of::<Pool>(|_| Some(BalancingRead)).put_back(|_| Some(BalancingWrite)),
        Kind::LoadBalancer => {
            Declared::of::<LoadBalancer>(|_| Some(LoadBalancersRead)).put_back(|_| Some(LoadBalancersWrite))
        }
        Kind::ClientRevocation
        | Kind::ClientCrl
        | Kind::AcmeToken
        | Kind::Meta
        | Kind::Pop
        | Kind::Name
        | Kind::Certificate
        | Kind::Unique
        | Kind::Deletion
        | Kind::Import => return None,
    })
}

pub(super) fn read_permission(kind: Kind, scope: Scope) -> Option<Permission> {
    declared(kind).and_then(|declared| (declared.read)(scope))
}

pub(super) fn write_permission(kind: Kind, scope: Scope) -> Option<Permission> {
    declared(kind).and_then(|declared| (declared.write)(scope))
}

pub(super) fn shown(kind: Kind, json: &str) -> Option<Value> {
    let shown = declared(kind).and_then(|declared| (declared.shown)(json))?;
    #[derive(serde::Deserialize)]
    struct Behind {
        replaced: Vec<String>,
    }
    let behind = Some(json).filter(|_| kind.has_secrets()).and_then(|json| serde_json::from_str(json).ok());
    let replaced = behind.map_or(Vec::new(), |Behind { replaced }| replaced);
    Some(with_replaced(shown, replaced.iter().map(String::as_str)))
}

/// The same of a whole document in the place of another one.
pub(super) fn shown_behind(kind: Kind, before: Option<&str>, json: &str) -> Option<Value> {
    let shown = declared(kind).and_then(|declared| (declared.shown)(json))?;
    let replaced = before.map_or(Vec::new(), |before| kind.replaced(before, json));
    Some(with_replaced(shown, replaced.into_iter()))
}

/// With what of its secrets is another, in words: a new secret is a change that is told, as far as there is one.
fn with_replaced<'r>(mut shown: Value, replaced: impl Iterator<Item = &'r str>) -> Value {
    let mut words: Vec<&str> = Vec::new();
    for member in replaced {
        let word = match member {
            "sha256" => "text",
            "key_sha256" => "global key",
            "secret_sha256" | "sealed_secret" => "secret",
            "sealed_keys" => "private keys",
            "held" => "certificate and key",
            other => other.strip_prefix("sealed_").unwrap_or(other),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if let (Value::Object(members), false) = (&mut shown, words.is_empty()) {
        members.insert("replaced".to_owned(), words.into());
    }
    shown
}

impl Declared {
    /// One whose documents have this shape, of which all is shown that the shape names.
    fn of<T: Serialize + DeserializeOwned>(read: fn(Scope) -> Option<Permission>) -> Declared {
        Declared { read, write: |_| None, shown: known::<T> }
    }

    fn put_back(self, write: fn(Scope) -> Option<Permission>) -> Declared {
        Declared { write, ..self }
    }
}

fn known<T: Serialize + DeserializeOwned>(json: &str) -> Option<Value> {
    serde_json::from_str::<T>(json).ok().and_then(|document| serde_json::to_value(document).ok())
}

#[cfg(test)]
mod tests {
    use bartizan_names::{AccountId, UserId, ZoneId};
    use bartizan_store::Owner;

    use super::*;

    /// A change that is noted and that nobody can ever see would be none of an audit.
    #[test]
    fn what_is_noted_is_shown_to_those_who_may_read_it() {
        for kind in Kind::ALL {
            let is_read = |owner: &Owner| {
                let scope = match owner {
                    Owner::Edge => Scope::Edge,
                    Owner::User => Scope::User(UserId::from_bytes([1; 16])),
                    Owner::Account => Scope::Account(AccountId::from_bytes([2; 16])),
                    Owner::Zone => Scope::Zone(ZoneId::from_bytes([3; 16])),
                };
                read_permission(*kind, scope).is_some()
            };
            assert_eq!(declared(*kind).is_some(), kind.is_audited(), "{kind:?}");
            assert_eq!(kind.owners().iter().all(is_read), kind.is_audited(), "{kind:?}");
        }
    }
}
