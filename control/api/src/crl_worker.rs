//! The thread that fetches lists of what authorities of clients have revoked, from where they put them.
//!
//! There is work by list whose time has come, and none by one that there is; so many are under way at once, and not all of one
//! account. What comes is taken by the rules by which an uploaded one is: signed by the authority, and not older than the one
//! that is here, which stays in force until then.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_certs::{CrlFetchError, CrlFetcher, ReadCrl, crl_fetched, crl_not_fetched, read_crl};
use bartizan_names::{AccountId, ClientRootId, Timestamp};
use bartizan_quotas::Rarely;
use bartizan_store::{Key, Scope, Store};
use bartizan_v4::client_auth::{StoredClientRoot, StoredCrlFetch};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use crate::background::Waiter;
use crate::crl_bounds::{AN_HOUR_BYTES, Taken, Unkept};
use crate::error::Error;
use crate::numbers::Numbers;
use crate::transaction::{Change, View};
use crate::writes::{By, Writes, blocking};

/// By which the change log names it.
const INTERFACE: &str = "crl";

/// How often it is looked what is due: a few steps in an index.
const ROUND: Duration = Duration::from_secs(2);

/// How long it rests when the store cannot be used.
const RETRY: Duration = Duration::from_secs(10);

/// Lists that are fetched at once, of all and of one account: a server may take its time.
const AT_ONCE_MAX: usize = 8;
const OF_ACCOUNT_MAX: usize = 4;

/// Lists that are due of which it is looked whose they are, in one round. All come into sight, however many there are of one
/// account.
const LOOKED_AT: usize = 200;

/// How long a list may not be had before people are told: most servers that are away are back by then.
const PATIENCE: Duration = Duration::from_secs(86_400);

/// Failing ones that are counted; there is no need to know of more.
const COUNTED_MAX: usize = 1_000;

/// Begins it. Dropping it ends what is under way.
pub(crate) fn start(store: Store, fetcher: CrlFetcher, writes: Writes, numbers: Arc<Numbers>) -> Waiter {
    Waiter::start(INTERFACE, move |woken| async move {
        let mut crls = Crls {
            store,
            fetcher,
            writes,
            numbers,
            going: FuturesUnordered::new(),
            at_work: HashSet::new(),
            unkept: Unkept::default(),
            taken: Taken::default(),
            behind: 0,
        };
        crls.run(&woken).await;
    })
}

struct Crls {
    store: Store,
    fetcher: CrlFetcher,
    writes: Writes,
    numbers: Arc<Numbers>,
    going: FuturesUnordered<LocalBoxFuture<'static, Done>>,
    /// With whose they are.
    at_work: HashSet<(Key, Whose)>,
    unkept: Unkept,
    taken: Taken,
    /// How many of the oldest that are due were looked at.
    behind: usize,
}

/// Whose a list is. What cannot be read is nobody's, and waits as one.
type Whose = Option<AccountId>;

/// A fetch is over.
struct Done {
    key: Key,
    whose: Whose,
    /// From there.
    url: String,
    fetched: Result<String, CrlFetchError>,
}

impl Crls {
    async fn run(&mut self, woken: &Notify) {
        loop {
            // Nothing is begun by a clock that is in doubt.
            let begun = self.writes.clock().read().believed().map_or(Ok(()), |now| self.begin(now));
            let rest = match begun {
                Ok(()) => ROUND,
                Err(error) => {
                    tracing::debug!(%error, "lists of revoked certificates cannot be looked after now");
                    RETRY
                }
            };
            tokio::select! {
                Some(done) = self.going.next(), if !self.going.is_empty() => self.keep(done).await,
                () = woken.notified() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Begins what is due and finds room.
    fn begin(&mut self, now: Timestamp) -> Result<(), Error> {
        let view = View(self.store.read()?);
        let long = Timestamp::from_unix_micros(now.unix_micros().saturating_sub(PATIENCE.as_micros() as u64));
        self.numbers.crls_failing(view.0.client_crls_failing(long, COUNTED_MAX)?.len() as u64);
        if self.going.len() >= AT_ONCE_MAX {
            return Ok(());
        }
        let due = view.0.client_crls_due(now, self.behind, LOOKED_AT)?;
        self.behind = if due.len() < LOOKED_AT { 0 } else { self.behind + LOOKED_AT };
        for key in due {
            if self.going.len() >= AT_ONCE_MAX {
                // The rest of these are looked at again.
                self.behind = 0;
                break;
            }
            if !self.unkept.may_begin(&key, Instant::now()) {
                continue;
            }
            let whose = account_of(&view, key.scope())?;
            let of_account = self.at_work.iter().filter(|(_, other)| *other == whose).count();
            if of_account >= OF_ACCOUNT_MAX || self.at_work.contains(&(key.clone(), whose)) {
                continue;
            }
            // One that cannot be read is told elsewhere, and is written anew by whoever says again where lists are.
            let Some(StoredCrlFetch { url, .. }) = view.if_readable(&key)? else { continue };
            self.at_work.insert((key.clone(), whose));
            let fetcher = self.fetcher.clone();
            self.going.push(Box::pin(async move {
                let fetched = fetcher.fetch(&url).await;
                Done { key, whose, url, fetched }
            }));
        }
        Ok(())
    }

    /// Keeps what came of a fetch.
    async fn keep(&mut self, Done { key, whose, url, fetched }: Done) {
        self.at_work.remove(&(key.clone(), whose));
        let (writes, named) = (self.writes.clone(), key.clone());
        let [chance] = bartizan_seal::random();
        let fetched = fetched.map_err(|error| error.to_string());
        let has_room = self.taken.has_room(whose, Instant::now());
        let kept = blocking(move || {
            let fetched = (url, fetched);
            writes.change(By::Edge(INTERFACE), move |change| change.keep_crl(&key, &fetched, has_room, chance))
        });
        let kept = kept.await.map(|(kept, bytes)| {
            self.unkept.kept(&named);
            if bytes > 0 {
                self.taken.take(whose, bytes, Instant::now());
            }
            kept
        });
        match kept {
            Ok(Kept::Failed(reason)) => {
                self.numbers.crl_not_fetched();
                tracing::warn!(list = %named, reason, "a list of revoked certificates was not fetched");
            }
            Ok(Kept::New(count)) => {
                self.numbers.crl_fetched();
                tracing::info!(list = %named, count, "a newer list of revoked certificates is in force");
            }
            Ok(Kept::Same) => self.numbers.crl_fetched(),
            Ok(Kept::Unwanted) => {}
            Err(error) => {
                static UNKEPT: Rarely = Rarely::new();
                if let Some(times) = UNKEPT.turn() {
                    tracing::warn!(
                        list = %named, %error, times,
                        "what came of fetching a list of revoked certificates cannot be kept; it is fetched again later"
                    );
                }
                self.unkept.failed(named, Instant::now());
                tokio::time::sleep(ROUND).await;
            }
        }
    }
}

/// What came of a fetch.
enum Kept {
    New(u64),
    Same,
    Failed(String),
    /// Nobody wants it any more, or from elsewhere.
    Unwanted,
}

impl Change {
    /// What was fetched from a URL, by whoever has room for a newer list or not. With the octets of a list that was taken.
    fn keep_crl(
        &mut self,
        key: &Key,
        (url, fetched): &(String, Result<String, String>),
        has_room: bool,
        chance: u8,
    ) -> Result<(Kept, u64), Error> {
        let (scope, now) = (key.scope(), self.now());
        let Some(state) = self.if_readable::<StoredCrlFetch>(key)?.filter(|state| state.url == *url) else {
            return Ok((Kept::Unwanted, 0));
        };
        let Some(id) = key.id_as::<ClientRootId>() else { return Ok((Kept::Unwanted, 0)) };
        let root_key = Key::client_root(scope, id);
        let Some(mut root) = self.if_readable::<StoredClientRoot>(&root_key)? else {
            self.delete(key.clone())?;
            return Ok((Kept::Unwanted, 0));
        };
        self.guard(&root_key)?;
        self.require_owner(scope);
        let judged = fetched.clone().and_then(|text| {
            let read = read_crl(&text, &root.certificates, root.crl.as_ref(), now);
            let read =
                read.map_err(|error| format!("what is there is no list of this authority that can be taken: {error}"))?;
            // What is here stays as it is if that is the same, unless it would seem old.
            let is_old = root.crl.as_ref().and_then(|held| held.next_on).is_some_and(|next_on| next_on <= now);
            let is_news = root.crl.as_ref() != Some(&read.all) && (read.says_more || is_old && has_room);
            if is_news && !has_room {
                return Err(format!(
                    "a newer list is there, but those of this account have brought all the {} MB an hour that they may: \
                     it is taken later",
                    AN_HOUR_BYTES >> 20
                ));
            }
            Ok((read, is_news))
        });
        let mut taken = 0;
        let (state, kept) = match judged {
            Err(reason) => (crl_not_fetched(state, reason.clone(), chance, now), Kept::Failed(reason)),
            Ok((ReadCrl { all: new, next_on, .. }, is_news)) => {
                let count = new.count;
                if is_news {
                    taken = new.pem.len() as u64;
                    self.touch_believers(scope, &root.associated_hostnames)?;
                    root.set_crl(Some(new));
                    root.updated_at = now;
                    self.put(root_key, &root)?;
                }
                match next_on.filter(|next_on| *next_on <= now) {
                    // Whoever is on the way may keep the newer ones from us.
                    Some(next_on) => {
                        let reason = format!("the list that is there is old: a newer one was to come by {next_on}");
                        (crl_not_fetched(state, reason.clone(), chance, now), Kept::Failed(reason))
                    }
                    None => {
                        let kept = if is_news { Kept::New(count) } else { Kept::Same };
                        (crl_fetched(state, next_on, chance, now), kept)
                    }
                }
            }
        };
        self.put(key.clone(), &state)?;
        Ok((kept, taken))
    }
}

fn account_of(view: &View, scope: Scope) -> Result<Whose, Error> {
    match scope {
        Scope::Account(account) => Ok(Some(account)),
        Scope::Zone(zone) => view.account_of_zone(zone),
        Scope::Edge | Scope::User(_) => Ok(None),
    }
}
