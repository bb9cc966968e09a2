//! The settings of a zone that this edge enforces, one row each. Others cannot be changed: a setting that changes nothing
//! is a lie. What they are here is told by `base/model` (`fixed_settings`).
//!
//! ```text
//! id [as its text]: what it means in its form, what holds where nobody chose [, what holds where it cannot be read]
//! ```
//! All else follows from the row: what the API lists, takes and refuses (`base/model`), and the value that the planes
//! obey. A new setting is a row here and the line of the plane that obeys it.

use std::time::Duration;

use crate::Cipher;
use crate::setting_form::{AlwaysOn, Form, Megabytes, OneOf, Seconds, SettingValue, Switch};
use crate::tls::{CipherList, Oldest};
use crate::transport_security::SecurityHeader;
use crate::{Ciphers, OldestTls, OriginHttp, Ssl, Tls13, TransportSecurity, WordError};

macro_rules! settings {
    (@text $id:ident) => {
        stringify!($id)
    };
    (@text $id:ident $text:literal) => {
        $text
    };
    ($(
        $(#[$doc:meta])*
        $variant:ident $id:ident $(as $text:literal)?: $meaning:ty = $form:ty, default $default:expr $(, strict $strict:expr)?;
    )+) => {
        /// Which setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum SettingId {
            $($variant,)+
        }

        /// What holds for a zone: its settings, defaults filled in.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct ZoneSettings {
            $($(#[$doc])* pub $id: $meaning,)+
        }

        impl SettingId {
            /// In the order in which they are listed.
            pub const ALL: &'static [SettingId] = &[$(SettingId::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(SettingId::$variant => settings!(@text $id $($text)?),)+
                }
            }

            /// Whether anybody can change it.
            pub const fn is_editable(self) -> bool {
                match self {
                    $(SettingId::$variant => <$form as Form>::IS_EDITABLE,)+
                }
            }

            /// Completes "the value must be …".
            pub fn form(self) -> String {
                match self {
                    $(SettingId::$variant => <$form as Form>::description(),)+
                }
            }
        }

        impl Default for ZoneSettings {
            /// Reaches an origin that speaks HTTP on port 80, which is what a new user has.
            fn default() -> ZoneSettings {
                ZoneSettings { $($id: $default,)+ }
            }
        }

        impl ZoneSettings {
            /// What is taken for settings that cannot be read and of which no earlier value is known: of those that keep
            /// visitors safe the stricter value. So nobody is served in the clear who may have been promised otherwise.
            /// The others protect nobody and have their defaults.
            pub fn strict() -> ZoneSettings {
                ZoneSettings { $($($id: $strict,)?)+ ..ZoneSettings::default() }
            }

            /// A setting as it is written.
            pub fn get(&self, id: SettingId) -> SettingValue {
                match id {
                    $(SettingId::$variant => <$form as Form>::write(&self.$id),)+
                }
            }

            /// Changes nothing if the text is no value of the setting.
            pub fn set(&mut self, id: SettingId, text: &str) -> Result<(), WordError> {
                match id {
                    $(SettingId::$variant => self.$id = <$form as Form>::read(text).ok_or(WordError)?,)+
                }
                Ok(())
            }

            /// Takes one setting over from `other`.
            pub fn set_as_in(&mut self, id: SettingId, other: &ZoneSettings) {
                match id {
                    $(SettingId::$variant => self.$id.clone_from(&other.$id),)+
                }
            }
        }
    };
}

settings! {
    /// Visitors who come back may ask in their first flight (RFC 8446 §2.3). It can be repeated by others, so only what
    /// changes nothing is answered at once. Says nothing where TLS 1.3 is off.
    EarlyData early_data as "0rtt": bool = Switch, default false;
    /// Visitors over plain HTTP are sent to the same place over HTTPS.
    AlwaysUseHttps always_use_https: bool = Switch, default false, strict true;
    /// The suites of TLS 1.2 that visitors may use.
    Ciphers ciphers: Ciphers = CipherList, default Ciphers::ALL, strict Ciphers::from_iter([Cipher::EcdsaAes256]);
    /// Visitors may speak HTTP/2.
    Http2 http2: bool = Switch, default true;
    /// Visitors may speak HTTP/3.
    Http3 http3: bool = Switch, default true;
    /// Every proxied name has addresses of both families.
    Ipv6 ipv6: AlwaysOn = AlwaysOn, default AlwaysOn;
    /// Octets of a request's body. The default is the dialect's own.
    MaxUpload max_upload: u64 = Megabytes<100_000>, default 100 << 20;
    /// The oldest version of TLS that visitors may speak. Goes before `tls_1_3`, which leaves none together with 1.3 here.
    MinTlsVersion min_tls_version: OldestTls = Oldest, default OldestTls::Tls12, strict OldestTls::Tls13;
    /// Origins that are spoken to in the clear speak HTTP/2, and nothing else is tried (RFC 9113 §3.3): servers of gRPC.
    OriginH2c origin_h2c: bool = Switch, default false;
    /// The newest version of HTTP that origins are offered over TLS.
    OriginMaxHttpVersion origin_max_http_version: OriginHttp = OneOf<OriginHttp>, default OriginHttp::Http2;
    /// How long an origin may be silent: before its answer, and between two pieces of it. Default and limit are the
    /// dialect's own.
    ProxyReadTimeout proxy_read_timeout: Duration = Seconds<6_000>, default Duration::from_secs(100);
    /// What browsers are told to keep to. Where it cannot be read nothing is promised: what was promised before holds by itself.
    SecurityHeader security_header: TransportSecurity = SecurityHeader, default TransportSecurity::default();
    /// How the edge reaches origins.
    Ssl ssl: Ssl = OneOf<Ssl>, default Ssl::Flexible, strict Ssl::Strict;
    /// Whether TLS 1.3 is spoken. Whether with early data says `0rtt`, which is changed with it.
    Tls13 tls_1_3: Tls13 = OneOf<Tls13>, default Tls13::On;
    /// Origins over TLS are shown the certificate that the zone has for them. Where it cannot be read they are: an origin that
    /// wants one lets nobody in without it.
    TlsClientAuth tls_client_auth: bool = Switch, default false, strict true;
    /// WebSockets are let through.
    Websockets websockets: bool = Switch, default true;
}

/// What visitors may speak with the names of a zone. Plain HTTP is always answered, be it with where to go instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaks {
    /// Whether there is HTTPS: else who comes by it is sent to plain HTTP, and must not be told to come back.
    pub tls: bool,
    pub http2: bool,
    pub http3: bool,
}

impl ZoneSettings {
    /// One answer for all who tell visitors what to speak: DNS, TLS and each answer's fields.
    pub fn speaks(&self) -> Speaks {
        let tls = self.ssl != Ssl::Off;
        let has_tls13 = self.min_tls_version == OldestTls::Tls13 || self.tls_1_3 != Tls13::Off;
        // QUIC is made of TLS 1.3 (RFC 9001 §4.2).
        Speaks { tls, http2: tls && self.http2, http3: tls && self.http3 && has_tls13 }
    }
}

impl SettingId {
    /// The value in its normal form, if it is one that the setting can have.
    pub fn normal(self, text: &str) -> Result<SettingValue, WordError> {
        let mut settings = ZoneSettings::default();
        settings.set(self, text)?;
        Ok(settings.get(self))
    }
}

impl std::str::FromStr for SettingId {
    type Err = WordError;

    fn from_str(text: &str) -> Result<SettingId, WordError> {
        SettingId::ALL.iter().copied().find(|id| id.as_str() == text).ok_or(WordError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_settings_take() {
        use SettingValue::{Number, Word};
        for (id, text, expect) in [
            (SettingId::Ssl, "strict", Some(Word("strict"))),
            (SettingId::Ssl, "very", None),
            (SettingId::Ssl, "on", None),
            (SettingId::Http2, "off", Some(Word("off"))),
            (SettingId::Http2, "maybe", None),
            (SettingId::ProxyReadTimeout, "1", Some(Number(1))),
            (SettingId::ProxyReadTimeout, "6000", Some(Number(6_000))),
            (SettingId::ProxyReadTimeout, "0", None),
            (SettingId::ProxyReadTimeout, "6001", None),
            (SettingId::ProxyReadTimeout, "", None),
            (SettingId::MaxUpload, "1", Some(Number(1))),
            (SettingId::MaxUpload, "100000", Some(Number(100_000))),
            (SettingId::MaxUpload, "0", None),
            (SettingId::MaxUpload, "100001", None),
            (SettingId::OriginMaxHttpVersion, "2", Some(Word("2"))),
            (SettingId::OriginMaxHttpVersion, "1", Some(Word("1"))),
            (SettingId::OriginMaxHttpVersion, "3", None),
            (SettingId::OriginH2c, "on", Some(Word("on"))),
            (SettingId::TlsClientAuth, "on", Some(Word("on"))),
            (SettingId::Ipv6, "off", Some(Word("on"))),
            (SettingId::Ipv6, "no", None),
            (SettingId::MinTlsVersion, "1.0", Some(Word("1.2"))),
            (SettingId::MinTlsVersion, "1.1", Some(Word("1.2"))),
            (SettingId::MinTlsVersion, "1.3", Some(Word("1.3"))),
            (SettingId::MinTlsVersion, "1.4", None),
            (SettingId::Tls13, "zrt", Some(Word("zrt"))),
            (SettingId::Tls13, "0rtt", None),
            (SettingId::EarlyData, "on", Some(Word("on"))),
        ] {
            assert_eq!(id.normal(text).ok(), expect, "{id:?} {text}");
        }
    }

    /// Whatever a row says: it is found by its id, and what is written for it is read as the same.
    #[test]
    fn every_row_reads_what_it_writes() {
        for settings in [ZoneSettings::default(), ZoneSettings::strict()] {
            let mut read = ZoneSettings::default();
            for id in SettingId::ALL {
                assert_eq!(read.set(*id, &settings.get(*id).to_string()), Ok(()), "{id:?}");
                assert_eq!(id.as_str().parse(), Ok(*id));
            }
            assert_eq!(read, settings);
        }
        assert!(SettingId::ALL.is_sorted_by_key(|id| id.as_str()));
        assert_eq!("rocket_loader".parse::<SettingId>(), Err(WordError));
    }

    #[test]
    fn what_visitors_may_speak() {
        for (said, expect) in [
            (&[][..], (true, true, true)),
            (&[("http2", "off")], (true, false, true)),
            (&[("http3", "off")], (true, true, false)),
            (&[("tls_1_3", "off")], (true, true, false)),
            (&[("tls_1_3", "off"), ("min_tls_version", "1.3")], (true, true, true)),
            (&[("ssl", "off")], (false, false, false)),
            (&[("ssl", "strict")], (true, true, true)),
        ] {
            let mut settings = ZoneSettings::default();
            for (id, text) in said {
                let id = SettingId::ALL.iter().find(|known| known.as_str() == *id).unwrap();
                settings.set(*id, text).unwrap();
            }
            let Speaks { tls, http2, http3 } = settings.speaks();
            assert_eq!((tls, http2, http3), expect, "{said:?}");
        }
    }
}
