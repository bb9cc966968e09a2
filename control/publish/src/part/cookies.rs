//! The secrets that DNS cookies are made with. Without them the edge answers as a server that knows no cookies.

use bartizan_dns_guard::Secrets;
use bartizan_live::Generation;
use bartizan_seal::Key as SealKey;
use bartizan_store::{Kind, ReadError};

use crate::cookie_secrets::CookieSecrets;
use crate::part::{Edge, Part};
use crate::reading::{Found, Reading, Touched, document};

pub(super) struct CookiesPart {
    pub(super) secrets: Generation<Option<Secrets>>,
    seal: SealKey,
}

impl Part for CookiesPart {
    const KINDS: &'static [Kind] = &[Kind::Meta];

    type Patch = Option<Option<Secrets>>;

    fn empty(edge: &Edge) -> CookiesPart {
        CookiesPart { secrets: Generation { number: 0, value: None }, seal: edge.seal.clone() }
    }

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let key = CookieSecrets::key();
        // Other facts are of this kind too.
        if !touched.contains(&key) {
            return Ok(None);
        }
        let found = reading.get(&key, |entry| Ok(document::<CookieSecrets>(entry)?.open(&self.seal)?))?;
        Ok(Some(match found {
            Found::Value(secrets) => Some(secrets),
            Found::Nothing => None,
            Found::Bad => self.secrets.value,
        }))
    }

    fn apply(&mut self, patch: Self::Patch, at: u64) {
        if let Some(secrets) = patch.filter(|secrets| *secrets != self.secrets.value) {
            self.secrets = Generation { number: at, value: secrets };
        }
    }
}
