//! What a zone says about TLS with its visitors.

use crate::setting_form::{Form, SettingValue};
use crate::word::words;

words! {
    /// The oldest version that visitors may speak. Nothing older than these is spoken at all.
    OldestTls {
        Tls12 = "1.2",
        Tls13 = "1.3",
    }
}

words! {
    /// Whether TLS 1.3 is spoken.
    Tls13 {
        Off = "off",
        On = "on",
        /// With early data ("zero round trip time").
        EarlyData = "zrt",
    }
}

words! {
    /// A suite of TLS 1.2 by the name that OpenSSL has for it. Those of TLS 1.3 are no matter of choice.
    Cipher {
        EcdsaAes128 = "ECDHE-ECDSA-AES128-GCM-SHA256",
        EcdsaAes256 = "ECDHE-ECDSA-AES256-GCM-SHA384",
        EcdsaChaCha = "ECDHE-ECDSA-CHACHA20-POLY1305",
        RsaAes128 = "ECDHE-RSA-AES128-GCM-SHA256",
        RsaAes256 = "ECDHE-RSA-AES256-GCM-SHA384",
        RsaChaCha = "ECDHE-RSA-CHACHA20-POLY1305",
    }
}

/// The suites of TLS 1.2 that visitors may use. Without a choice these are all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ciphers {
    /// A bit for each of [`Cipher::ALL`]; none: nobody chose.
    chosen: u8,
}

impl Ciphers {
    pub const ALL: Ciphers = Ciphers { chosen: 0 };

    /// A number below [`Ciphers::SETS`] that no other set has.
    pub fn number(self) -> usize {
        usize::from(self.chosen)
    }

    /// How many sets there are.
    pub const SETS: usize = 1 << Cipher::ALL.len();

    pub fn contains(self, cipher: Cipher) -> bool {
        self == Ciphers::ALL || self.chosen & bit(cipher) != 0
    }

    /// Whether a handshake of TLS 1.2 can come about with a certificate of ECDSA.
    pub fn has_ecdsa(self) -> bool {
        Cipher::ALL.iter().any(|cipher| cipher.is_for_ecdsa() && self.contains(*cipher))
    }

    fn chosen(self) -> impl Iterator<Item = Cipher> {
        Cipher::ALL.iter().copied().filter(move |cipher| self.chosen & bit(*cipher) != 0)
    }
}

impl Cipher {
    /// Whether a server can use it whose certificate has a key of ECDSA, as those have that the edge's own CA issues.
    pub const fn is_for_ecdsa(self) -> bool {
        matches!(self, Cipher::EcdsaAes128 | Cipher::EcdsaAes256 | Cipher::EcdsaChaCha)
    }
}

impl FromIterator<Cipher> for Ciphers {
    /// Without any: all.
    fn from_iter<I: IntoIterator<Item = Cipher>>(ciphers: I) -> Ciphers {
        Ciphers { chosen: ciphers.into_iter().fold(0, |chosen, cipher| chosen | bit(cipher)) }
    }
}

fn bit(cipher: Cipher) -> u8 {
    1 << cipher as u8
}

/// [`OldestTls`], where the older versions of the dialect stand for the oldest that is spoken: many clients send one of
/// them for every zone that they make.
pub(crate) struct Oldest;

impl Form for Oldest {
    type Meaning = OldestTls;

    fn read(text: &str) -> Option<OldestTls> {
        match text {
            "1.0" | "1.1" => Some(OldestTls::Tls12),
            _ => text.parse().ok(),
        }
    }

    fn write(meaning: &OldestTls) -> SettingValue {
        SettingValue::Word(meaning.as_str())
    }

    fn description() -> String {
        "1.2 or 1.3 (1.0 and 1.1 stand for 1.2)".to_owned()
    }
}

/// A list of [`Cipher`]s. Their order is no matter: the visitor's is followed.
pub(crate) struct CipherList;

impl Form for CipherList {
    type Meaning = Ciphers;

    fn read(text: &str) -> Option<Ciphers> {
        let names = text.strip_prefix('[')?.strip_suffix(']')?;
        if names.is_empty() {
            return Some(Ciphers::ALL);
        }
        names.split(',').map(|name| name.parse::<Cipher>().ok()).collect()
    }

    fn write(meaning: &Ciphers) -> SettingValue {
        SettingValue::Words(meaning.chosen().map(Cipher::as_str).collect())
    }

    fn description() -> String {
        let names: Vec<&str> = Cipher::ALL.iter().copied().map(Cipher::as_str).collect();
        format!("a list of some of these suites of TLS 1.2, or an empty one for all of them: {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_suites() {
        for (text, expect) in [
            ("[]", Some("[]")),
            ("[ECDHE-RSA-AES128-GCM-SHA256]", Some("[ECDHE-RSA-AES128-GCM-SHA256]")),
            (
                "[ECDHE-RSA-AES128-GCM-SHA256,ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-RSA-AES128-GCM-SHA256]",
                Some("[ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-RSA-AES128-GCM-SHA256]"),
            ),
            ("[AES128-SHA]", None),
            ("[ECDHE-RSA-AES128-GCM-SHA256,AES128-SHA]", None),
            ("ECDHE-RSA-AES128-GCM-SHA256", None),
            ("[,]", None),
            ("[ECDHE-RSA-AES128-GCM-SHA256,]", None),
            ("[,ECDHE-RSA-AES128-GCM-SHA256]", None),
            ("[ECDHE-RSA-AES128-GCM-SHA256", None),
            ("", None),
            ("on", None),
        ] {
            let read = CipherList::read(text);
            assert_eq!(read.map(|set| CipherList::write(&set).to_string()).as_deref(), expect, "{text}");
        }
        let one = Ciphers::from_iter([Cipher::RsaChaCha]);
        assert!(one.contains(Cipher::RsaChaCha) && !one.contains(Cipher::EcdsaAes128));
        assert!(Cipher::ALL.iter().all(|cipher| Ciphers::ALL.contains(*cipher)));
        assert!(!one.has_ecdsa() && Ciphers::ALL.has_ecdsa());
        assert!(Ciphers::from_iter([Cipher::RsaChaCha, Cipher::EcdsaChaCha]).has_ecdsa());
        assert!(one.number() < Ciphers::SETS && Ciphers::ALL.number() == 0);
    }
}
