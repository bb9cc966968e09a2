//! The kinds of objects, each declared once.
//!
//! What the store must know of a kind stands in its entry of `kinds!`: whose it is, how its ids are written, which format its
//! documents have, whether more is let in without its objects, what the audit tells of them, and, if objects are found by more than their keys, the columns of
//! its listing. Everything else treats all kinds alike.

use std::fmt::Display;
use std::str::FromStr;

use bartizan_names::{
    AccountId, AppId, CertificateId, ClientCertificateId, ClientRootId, LoadBalancerId, MonitorId, Name, PoolId, PopId,
    RecordId, RuleId, SessionId, TokenId, TunnelId, ZoneId,
};

use crate::audit::Audited;
use crate::document::Documents;
use crate::key::Index;
use crate::listing::Listing;
use crate::query;

/// Declares the enum and its table in one. `code` is the number by which the tables of the file know the kind: never use
/// one again. The order is the one in which full states are streamed: what others refer to comes first.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal $text:literal $declaration:expr;)*) => {
        /// What kind of object a key names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// How keys spell it.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Kind::$kind => $text,)*
                }
            }

            pub(crate) const fn code(self) -> i64 {
                match self {
                    $(Kind::$kind => $code,)*
                }
            }

            pub(crate) const fn declaration(self) -> &'static Declaration {
                match self {
                    $(Kind::$kind => const { &$declaration },)*
                }
            }

            /// Whose objects of this kind can be.
            pub const fn owners(self) -> &'static [Owner] {
                self.declaration().owners
            }

            /// Whether a change of an object is a change of its zone as resolvers see it, and moves the zone's serial.
            pub const fn moves_serial(self) -> bool {
                self.declaration().served
            }

            /// Whether its objects keep something closed: then a start holds those that it knows to be lost.
            pub const fn guards(self) -> bool {
                self.declaration().guards
            }

            /// Whether the audit tells of each change of its objects.
            pub const fn is_audited(self) -> bool {
                self.declaration().audited.is_some()
            }

            /// What people call the object of a document, as the audit has it.
            pub fn name_in(self, json: &str) -> Option<String> {
                crate::audit::name_in(self, json)
            }

            /// The same for a sentence that people read; none if it is no text for that.
            pub fn called(self, json: &str) -> Option<String> {
                self.name_in(json).filter(|name| !name.is_empty() && !name.chars().any(char::is_control))
            }

            /// Whether its documents have members that no audit gets.
            pub fn has_secrets(self) -> bool {
                self.declaration().audited.as_ref().is_some_and(|audited| !audited.secrets.is_empty())
            }

            /// The secret members of a document that are not what they were before.
            pub fn replaced(self, before: &str, after: &str) -> Vec<&'static str> {
                crate::audit::replaced(self, before, after)
            }

            pub(crate) fn parse(text: &str) -> Option<Kind> {
                match text {
                    $($text => Some(Kind::$kind),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Facts about this installation.
    Meta = 1 "meta" Declaration::new(&[Owner::Edge], Ids::Many(is_text));
    /// A place where this edge runs: its name, addresses and pools.
    Pop = 16 "pop" Declaration::new(&[Owner::Edge], Ids::Many(is::<PopId>));
    Account = 2 "account" Declaration::new(&[Owner::Account], Ids::One).audited("/name", &[]);
    User = 3 "user" Declaration::new(&[Owner::User], Ids::One).audited("/email", &["key_sha256", "password"]);
    /// An API token: what it may do, and the hash of its text.
    Token = 4 "token"
        Declaration::new(&[Owner::Edge, Owner::User, Owner::Account], Ids::Many(is::<TokenId>))
            .documents(Documents::TOKENS)
            .audited("/name", &["sha256"]);
    /// Somebody who has logged in with their password, and the hash of what their browser shows.
    Session = 17 "session" Declaration::new(&[Owner::User], Ids::Many(is::<SessionId>)).audited("/ip", &["sha256"]);
    /// That a user belongs to an account: their roles in it.
    Membership = 18 "membership"
        Declaration::new(&[Owner::User], Ids::Many(is::<AccountId>)).audited("", &[]);
    Zone = 5 "zone"
        Declaration::new(&[Owner::Zone], Ids::One).served().guards().listed(&query::ZONES).audited("/name", &[]);
    /// The settings of a zone.
    Settings = 6 "settings" Declaration::new(&[Owner::Zone], Ids::One).served().guards().audited("", &[]);
    Record = 7 "record"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<RecordId>))
            .served()
            .listed(&query::RECORDS)
            .audited("/name", &[]);
    /// DNSSEC of a zone: its keys, and how far each is. Without it a zone that is signed would be served unsigned.
    Dnssec = 20 "dnssec"
        Declaration::new(&[Owner::Zone], Ids::One)
            .served()
            .guards()
            .listed(&query::DNSSEC)
            .audited("", &["sealed_keys"]);
    /// How DS records get into a zone above ours, by its name.
    Registry = 21 "registry" Declaration::new(&[Owner::Edge], Ids::Many(is::<Name>)).audited("/name", &["sealed_password"]);
    /// An owner name of a zone: the unit that is guarded and published.
    Name = 8 "name" Declaration::new(&[Owner::Zone], Ids::Many(is::<Name>)).served();
    Tunnel = 9 "tunnel"
        Declaration::new(&[Owner::Account], Ids::Many(is::<TunnelId>))
            .listed(&query::TUNNELS)
            .audited("/name", &["secret_sha256", "sealed_secret"]);
    TunnelConfig = 10 "tunnel_config"
        Declaration::new(&[Owner::Account], Ids::Many(is::<TunnelId>)).audited("", &[]);
    /// Of a zone, or of the edge itself: the one that connectors see.
    Certificate = 11 "certificate"
        Declaration::new(&[Owner::Edge, Owner::Zone], Ids::Many(is::<CertificateId>)).listed(&query::CERTIFICATES);
    /// Of a zone, issued by a public authority: what it is to be for, how far that is, and the newest that came of it.
    AcmeCertificate = 22 "acme_certificate"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<CertificateId>))
            .listed(&query::ACME_CERTIFICATES)
            .audited("/names/0", &["held"]);
    /// Of a zone, brought by its owner.
    CustomCertificate = 23 "custom_certificate"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<CertificateId>))
            .listed(&query::CUSTOM_CERTIFICATES)
            .audited("/hosts/0", &["sealed_key"]);
    /// Who we are to the public authority.
    AcmeAccount = 24 "acme_account"
        Declaration::new(&[Owner::Edge], Ids::One).audited("/directory", &["sealed_key"]);
    /// That somebody said that the clock is right, and what was believed before.
    ClockWord = 32 "clock_word" Declaration::new(&[Owner::Edge], Ids::One).audited("/believed", &[]);
    /// What is answered to a public authority that asks over HTTP whether a name is ours.
    AcmeToken = 25 "acme_token" Declaration::new(&[Owner::Edge], Ids::Many(is_text));
    /// An authority whose certificates clients of some hosts may show: of a zone, or of an account for its zones.
    ClientRoot = 26 "client_root"
        Declaration::new(&[Owner::Account, Owner::Zone], Ids::Many(is::<ClientRootId>)).audited("/name", &["crl"]);
    /// What a host wants to know of its clients. Without it all of them are let in.
    ClientHost = 27 "client_host"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<Name>)).guards().audited("/hostname", &[]);
    /// The authority of a zone that issues certificates to clients.
    ClientAuthority = 28 "client_authority"
        Declaration::new(&[Owner::Zone], Ids::One).audited("/name", &["sealed_key"]);
    /// A certificate that it issued.
    ClientCertificate = 29 "client_certificate"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<ClientCertificateId>))
            .listed(&query::CLIENT_CERTIFICATES)
            .audited("/common_name", &[]);
    /// That one of them is revoked, by its number in hexadecimal digits.
    ClientRevocation = 30 "client_revocation" Declaration::new(&[Owner::Zone], Ids::Many(is_serial)).guards();
    /// How far it is to fetch the list of what an authority has revoked, by the authority's id.
    ClientCrl = 31 "client_crl"
        Declaration::new(&[Owner::Account, Owner::Zone], Ids::Many(is::<ClientRootId>)).listed(&query::CLIENT_CRLS);
    /// An authority that origins of a zone may have their certificates from.
    OriginRoot = 33 "origin_root"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<CertificateId>))
            .listed(&query::ORIGIN_TLS)
            .audited("/issuer", &[]);
    /// A certificate that origins of a zone are shown.
    OriginClient = 34 "origin_client"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<CertificateId>))
            .listed(&query::ORIGIN_TLS)
            .audited("/issuer", &["sealed_key"]);
    /// One that origins of some of its hosts are shown.
    OriginHostClient = 35 "origin_host_client"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<CertificateId>))
            .listed(&query::ORIGIN_TLS)
            .audited("/issuer", &["sealed_key"]);
    /// Which of these the origin of a host is shown.
    OriginClientHost = 36 "origin_client_host"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<Name>)).audited("/hostname", &[]);
    AccessRule = 12 "access_rule"
        Declaration::new(&[Owner::User, Owner::Account, Owner::Zone], Ids::Many(is::<RuleId>))
            .guards()
            .listed(&query::ACCESS_RULES)
            .audited("/configuration/value", &[]);
    /// A Spectrum application.
    App = 13 "app"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<AppId>))
            .served()
            .listed(&query::POOL_USERS)
            .audited("/dns/name", &[]);
    /// How it is told whether servers of pools are well.
    Monitor = 40 "monitor"
        Declaration::new(&[Owner::Account], Ids::Many(is::<MonitorId>)).audited("/description", &[]);
    /// Servers that do the same.
    Pool = 41 "pool" Declaration::new(&[Owner::Account], Ids::Many(is::<PoolId>)).audited("/name", &[]);
    /// A name that leads to pools.
    LoadBalancer = 42 "load_balancer"
        Declaration::new(&[Owner::Zone], Ids::Many(is::<LoadBalancerId>))
            .served()
            .listed(&query::POOL_USERS)
            .audited("/name", &[]);
    /// Something that only one may have: two who take it at once meet at this key.
    Unique = 14 "unique" Declaration::new(&[Owner::Edge, Owner::Account], Ids::Many(is_unique));
    /// A zone that is out of service and not wholly deleted yet.
    Deletion = 15 "deletion" Declaration::new(&[Owner::Edge], Ids::Many(is::<ZoneId>));
    /// An import into a zone that has begun and is not done.
    Import = 19 "import" Declaration::new(&[Owner::Zone], Ids::One);
}

/// Whose an object can be: the kinds of [`Scope`](crate::Scope).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Edge,
    User,
    Account,
    Zone,
}

/// How the objects of a kind are told apart inside their scope.
#[derive(Clone, Copy)]
pub(crate) enum Ids {
    /// A scope has one at most.
    One,
    /// By an id in the one spelling that passes the test.
    Many(fn(&str) -> bool),
}

/// What the store knows of a kind.
pub(crate) struct Declaration {
    owners: &'static [Owner],
    pub(crate) ids: Ids,
    /// A zone is served with it: it moves the zone's serial.
    served: bool,
    /// Without one of its objects more is let in, or leads elsewhere, than with it.
    guards: bool,
    pub(crate) documents: Documents,
    pub(crate) listing: Option<&'static Listing>,
    /// People change its objects: the audit tells of each change.
    pub(crate) audited: Option<Audited>,
}

impl Declaration {
    /// A kind of documents in format 1.
    const fn new(owners: &'static [Owner], ids: Ids) -> Declaration {
        Declaration {
            owners,
            ids,
            served: false,
            guards: false,
            documents: Documents::FIRST,
            listing: None,
            audited: None,
        }
    }

    const fn documents(self, documents: Documents) -> Declaration {
        Declaration { documents, ..self }
    }

    const fn served(self) -> Declaration {
        Declaration { served: true, ..self }
    }

    const fn guards(self) -> Declaration {
        Declaration { guards: true, ..self }
    }

    /// `name` is where a document says what people call the object (RFC 6901), and `secrets` the members that no audit gets.
    const fn audited(self, name: &'static str, secrets: &'static [&'static str]) -> Declaration {
        Declaration { audited: Some(Audited { name, secrets }), ..self }
    }

    const fn listed(self, listing: &'static Listing) -> Declaration {
        Declaration { listing: Some(listing), ..self }
    }
}

/// Whether this is how a `T` is written. Ids in upper case and names with needless escapes (RFC 1035 §5.1) would be second
/// names of one object.
fn is<T: FromStr + Display>(text: &str) -> bool {
    text.parse::<T>().is_ok_and(|value| value.to_string() == text)
}

fn is_text(text: &str) -> bool {
    !text.is_empty()
}

/// At most 20 octets (RFC 5280 §4.1.2.2).
fn is_serial(text: &str) -> bool {
    let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    (2..=40).contains(&text.len()) && text.len().is_multiple_of(2) && text.bytes().all(is_digit)
}

fn is_unique(text: &str) -> bool {
    text.split_once('/').is_some_and(|(index, name)| Index::parse(index).is_some() && is_text(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_share_a_code_or_a_text() {
        for one in Kind::ALL {
            for other in Kind::ALL.iter().filter(|other| *other != one) {
                assert!(one.code() != other.code() && one.text() != other.text(), "{one:?} {other:?}");
            }
            assert_eq!(Kind::parse(one.text()), Some(*one));
        }
    }
}
