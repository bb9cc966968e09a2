//! What the HTTP edge answers to a public authority that asks whether a name is ours (RFC 8555 §8.3). Mostly nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_certs::{AcmeToken, Method};
use bartizan_live::Generation;
use bartizan_names::ZoneId;
use bartizan_routes::Challenges;
use bartizan_store::{Kind, ReadError};

use crate::part::{Edge, Part};
use crate::reading::{Found, Reading, Touched};

pub(super) struct ChallengesPart {
    pub(super) challenges: Generation<Arc<Challenges>>,
}

impl Part for ChallengesPart {
    const KINDS: &'static [Kind] = &[Kind::AcmeToken];

    /// By token: whose it is, the host, and the answer. None: it is over.
    type Patch = BTreeMap<String, Option<(ZoneId, String, String)>>;

    fn empty(_: &Edge) -> ChallengesPart {
        ChallengesPart { challenges: Generation { number: 0, value: Arc::default() } }
    }

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let mut patch = BTreeMap::new();
        for key in touched.of(Kind::AcmeToken) {
            let found = reading.get(key, |entry| Ok(AcmeToken::from_entry(entry)?))?;
            let answer = match found {
                Found::Value(AcmeToken { zone_id, host, method: Method::Http, answer, .. }) => {
                    Some((zone_id, host, answer))
                }
                // Others are records, and one that cannot be read is asked for anew.
                Found::Value(_) | Found::Nothing | Found::Bad => None,
            };
            patch.insert(key.id().to_owned(), answer);
        }
        Ok(patch)
    }

    fn apply(&mut self, patch: Self::Patch, at: u64) {
        let is_news = |(token, answer): (&String, &Option<_>)| answer.is_some() || self.challenges.value.has(token);
        if !patch.iter().any(is_news) {
            return;
        }
        let mut challenges = Challenges::clone(&self.challenges.value);
        for (token, answer) in patch {
            match answer {
                Some((zone, host, answer)) => challenges.put(token, zone, host, answer),
                None => challenges.remove(&token),
            }
        }
        self.challenges = Generation { number: at, value: Arc::new(challenges) };
    }
}
