//! A worker's own signatures: made when they are asked for, kept, and renewed before they run out.

use std::time::Duration;

use bartizan_names::RecordType;

use crate::budget::{Budget, Origin, Rations, Source};
use crate::cache::{Cache, LOADED_MAX};
use crate::canonical::Arranger;
use crate::fingerprint::Fingerprint;
use crate::key::SIGNATURE_BYTES;
use crate::zone_keys::{Validity, ZoneKey};

/// The fixed fields of an RRSIG record's data, in front of the signer's name (RFC 4034 §3.1).
const HEAD_BYTES: usize = 18;

/// What a worker may keep and make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Signatures kept of names that exist, about a hundred bytes each.
    pub lasting: usize,
    /// Signatures kept of names that only the question made.
    pub passing: usize,
    pub budget: Budget,
}

impl Default for Limits {
    /// At most some sixteen megabytes, which is taken as it is needed.
    fn default() -> Limits {
        Limits { lasting: 1 << 17, passing: 1 << 13, budget: Budget::default() }
    }
}

/// Whether a name has a place in its zone. Others are without number, and must not push out what is asked for often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    Yes,
    No,
}

/// The records of one type at one name, as they are answered.
#[derive(Clone, Copy, Debug)]
pub struct RecordSet<'s, D> {
    /// Wire bytes in lower case, written out.
    pub owner: &'s [u8],
    pub rtype: RecordType,
    /// Seconds; in the answer it may be less, never more.
    pub ttl: u32,
    /// Of each record, with names written out.
    pub data: D,
    pub lasting: Lasting,
}

/// A signature: the data of an RRSIG record but for the signer's name, which is the zone's and lies between both parts.
#[derive(Clone, Debug)]
pub struct Signature {
    pub head: [u8; HEAD_BYTES],
    pub signature: [u8; SIGNATURE_BYTES],
    /// Seconds since 1970.
    pub(crate) expires: u64,
}

/// A place where a signature may be kept, see [`Signer::load`].
#[derive(Clone, Copy, Debug)]
pub struct Expected(Fingerprint);

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// The key does not open, or does not sign.
    NoKey,
    /// Too many were asked for.
    OverBudget,
}

/// What a signer did since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub made: u64,
    pub kept: u64,
    /// Kept ones that were to be renewed and could not be.
    pub late: u64,
    pub no_key: u64,
    pub over_budget: u64,
}

/// The signatures of one worker.
#[derive(Debug)]
pub struct Signer {
    seed: u64,
    lasting: Cache,
    passing: Cache,
    rations: Rations,
    /// Seconds since 1970.
    now: u64,
    source: Source,
    arranger: Arranger,
    message: Vec<u8>,
    tally: Tally,
}

impl Signer {
    /// `seed` is a secret number.
    pub fn new(seed: u64, limits: Limits) -> Signer {
        Signer {
            seed,
            lasting: Cache::new(limits.lasting),
            passing: Cache::new(limits.passing),
            rations: Rations::new(limits.budget, seed),
            now: 0,
            source: Source::of(std::net::Ipv4Addr::UNSPECIFIED.into(), Origin::Claimed),
            arranger: Arranger::default(),
            message: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Says what time it is: seconds since 1970, as they are believed, and the time since any moment, which never goes back.
    /// Once a batch.
    pub fn set_time(&mut self, time: u64, now: Duration) {
        self.rations.advance(now);
        self.now = time;
    }

    /// Says for whom the next signatures are.
    pub fn set_source(&mut self, source: Source) {
        self.source = source;
    }

    /// Signatures that were made since [`Signer::take_tally`] was called last.
    pub fn made(&self) -> u64 {
        self.tally.made
    }

    /// What was counted since this was called last.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// The signature of a set by one key of the zone of `apex`.
    ///
    /// Hot: once a signed set. No allocation, unless the signature is made.
    pub fn signature<D>(
        &mut self,
        apex: &[u8],
        key: &ZoneKey,
        validity: Validity,
        set: &RecordSet<'_, D>,
    ) -> Result<&Signature, Unsigned>
    where
        D: Iterator<Item: AsRef<[u8]>> + Clone,
    {
        let print = self.fingerprint(key, set);
        let cache = if set.lasting == Lasting::Yes { &self.lasting } else { &self.passing };
        let kept = cache.find(print).map(|number| (number, cache.get(number).age(self.now, validity)));
        let number = match kept {
            Some((number, Age::Fresh)) => {
                self.tally.kept += 1;
                number
            }
            _ => match (self.make(apex, key, validity, set), kept) {
                (Ok(signature), _) => {
                    self.tally.made += 1;
                    self.cache_mut(set.lasting).put(print, signature)
                }
                // A flood must not spoil what is valid, nor a key that is gone.
                (Err(_), Some((number, Age::Late))) => {
                    self.tally.late += 1;
                    number
                }
                (Err(unsigned), _) => {
                    match unsigned {
                        Unsigned::NoKey => self.tally.no_key += 1,
                        Unsigned::OverBudget => self.tally.over_budget += 1,
                    }
                    return Err(unsigned);
                }
            },
        };
        Ok(self.cache_mut(set.lasting).get(number))
    }

    /// Where the signature of a lasting set by a key is, if it is kept.
    pub fn expect<D>(&self, key: &ZoneKey, set: &RecordSet<'_, D>) -> Expected
    where
        D: Iterator<Item: AsRef<[u8]>> + Clone,
    {
        Expected(self.fingerprint(key, set))
    }

    /// Loads signatures that are about to be asked for, as far as they are kept; of a batch all at once.
    ///
    /// Hot: once a batch. No allocation.
    pub fn load(&self, expected: impl Iterator<Item = Expected>) {
        let mut prints = [Fingerprint([0; 2]); LOADED_MAX];
        let mut count = 0;
        for (Expected(print), place) in expected.zip(&mut prints) {
            *place = print;
            count += 1;
        }
        self.lasting.load(&prints[..count]);
    }

    fn cache_mut(&mut self, lasting: Lasting) -> &mut Cache {
        match lasting {
            Lasting::Yes => &mut self.lasting,
            Lasting::No => &mut self.passing,
        }
    }

    fn fingerprint<D>(&self, key: &ZoneKey, set: &RecordSet<'_, D>) -> Fingerprint
    where
        D: Iterator<Item: AsRef<[u8]>> + Clone,
    {
        let kind = u64::from(set.rtype.0) << 32 | u64::from(set.ttl);
        let print = Fingerprint::begin(self.seed, key.public.mark()).number(kind).bytes(set.owner);
        set.data.clone().fold(print, |print, data| print.bytes(data.as_ref()))
    }

    fn make<D>(
        &mut self,
        apex: &[u8],
        key: &ZoneKey,
        validity: Validity,
        set: &RecordSet<'_, D>,
    ) -> Result<Signature, Unsigned>
    where
        D: Iterator<Item: AsRef<[u8]>> + Clone,
    {
        let pair = key.pair().ok_or(Unsigned::NoKey)?;
        if !self.rations.take(self.source, set.lasting) {
            return Err(Unsigned::OverBudget);
        }
        let begins = self.now.saturating_sub(validity.backdate.into());
        let expires = begins + u64::from(validity.span);
        let mut head = [0; HEAD_BYTES];
        head[..2].copy_from_slice(&set.rtype.0.to_be_bytes());
        head[2] = key.public.algorithm().number();
        head[3] = labels(set.owner);
        head[4..8].copy_from_slice(&set.ttl.to_be_bytes());
        // These two wrap, and are compared as serial numbers are (RFC 4034 §3.1.5).
        head[8..12].copy_from_slice(&(expires as u32).to_be_bytes());
        head[12..16].copy_from_slice(&(begins as u32).to_be_bytes());
        head[16..].copy_from_slice(&key.public.tag().to_be_bytes());
        self.message.clear();
        self.message.extend_from_slice(&head);
        self.message.extend_from_slice(apex);
        self.arranger.append(&mut self.message, set.owner, set.rtype, set.ttl, set.data.clone());
        let signature = pair.sign(&self.message).map_err(|_| Unsigned::NoKey)?;
        Ok(Signature { head, signature, expires })
    }
}

/// How a kept signature is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    /// Valid, and to be renewed.
    Late,
    /// Not valid, or not valid yet: what was believed was wrong for a while.
    Useless,
}

impl Signature {
    fn age(&self, now: u64, validity: Validity) -> Age {
        let left = self.expires.saturating_sub(now);
        if left == 0 || left > u64::from(validity.span) {
            Age::Useless
        } else if left < u64::from(validity.least_left()) {
            Age::Late
        } else {
            Age::Fresh
        }
    }

    #[cfg(test)]
    pub(crate) fn of_time(expires: u64) -> Signature {
        Signature { head: [0; HEAD_BYTES], signature: [0; SIGNATURE_BYTES], expires }
    }
}

/// The labels of a name that count: neither the root nor a `*` in front (RFC 4034 §3.1.3).
fn labels(owner: &[u8]) -> u8 {
    let (mut count, mut rest) = (0, owner);
    while let Some((&length @ 1.., tail)) = rest.split_first() {
        count += 1;
        rest = tail.get(usize::from(length)..).unwrap_or_default();
    }
    if owner.starts_with(b"\x01*") { count - 1 } else { count }
}
