//! What handlers share, and the two ways in which they use the store.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use bartizan_certs::Certs;
use bartizan_names::{AccountId, AppId, Name, Prefix as Pool, Timestamp, TunnelId, ZoneId, ZoneName};
use bartizan_routes::Pools;
use bartizan_seal::{self as seal, TokenHash};
use bartizan_store::{ChangeSet, CommitError, Meta, Op, Prefix, Store};
use bartizan_v4::StoredTunnel;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use tokio::sync::{mpsc, watch};

use crate::access::{Caller, Credentials};
use crate::error::{Error, Fault};
use crate::firewall::{FirewallAnswer, FirewallQuestion};
use crate::hex::hex;
use crate::objects::{Change, View, deletions};
use crate::placement::Addresses;
use crate::presence::{Command, Presence};
use crate::spectrum::AppCounters;

/// Tries of a change beside all others, before it asks for a turn of its own.
const TRIES_BESIDE_OTHERS: usize = 3;

/// Tries in its own turn. Nothing that goes through here can be in its way then: only the edge itself, seldom.
const TRIES_ALONE: usize = 5;

/// What is true about this edge for as long as it runs.
#[derive(Clone, Debug)]
pub struct Facts {
    pub version: String,
    /// What proxied names answer with.
    pub addresses: Vec<IpAddr>,
    /// The servers that zones made here name as their own.
    pub nameservers: Vec<Name>,
    /// The mailbox in the zones' SOA, as a name.
    pub operator: Name,
    /// Where connectors dial.
    pub tunnel_edges: Vec<SocketAddr>,
    pub dns: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub api: Vec<SocketAddr>,
    /// The addresses that applications get; without any there can be none.
    pub pools: Vec<Pool>,
    pub ports: Ports,
    /// Whether the edge can tell which network an address belongs to.
    pub knows_networks: bool,
    pub data: PathBuf,
    /// The default zone.
    pub domain: ZoneName,
    pub account: AccountId,
}

/// How clients reach applications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// `sk_lookup`, `tproxy` or `listeners`.
    pub tier: &'static str,
    /// How many addresses and ports can be listened on; none if all can.
    pub max: Option<usize>,
    /// Why it is not a better way.
    pub why: Option<String>,
}

/// What `bin` brings.
pub struct Dependencies {
    pub store: Store,
    pub certs: Certs,
    /// Seals the secrets of tunnels.
    pub seal: seal::Key,
    pub presence: watch::Receiver<Arc<Presence>>,
    pub commands: mpsc::Sender<Command>,
    /// OpenMetrics text of all planes.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What the firewall in force makes of an address.
    pub firewall: Arc<dyn Fn(FirewallQuestion) -> FirewallAnswer + Send + Sync>,
    /// What an application did since the edge started; none if it is not served here.
    pub app_counters: Arc<dyn Fn(AppId) -> Option<AppCounters> + Send + Sync>,
    /// Whether the first configuration is in force.
    pub ready: watch::Receiver<bool>,
    pub facts: Facts,
}

/// The state of the router.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

struct Shared {
    given: Dependencies,
    writes: Writes,
    pools: Pools,
    /// SHA-256 of the local authority's certificate, hexadecimal.
    ca_pin: String,
}

impl Api {
    pub(crate) fn new(given: Dependencies) -> Api {
        let ca_pin = ca_pin(given.certs.ca_pem());
        let pools = Pools::new(given.facts.pools.iter().copied());
        let writes = Writes::new(given.store.clone(), given.certs.clone());
        Api(Arc::new(Shared { given, writes, pools, ca_pin }))
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.0.given.facts
    }

    /// Where applications can be.
    pub(crate) fn addresses(&self) -> Addresses<'_> {
        Addresses::new(&self.0.given.facts, &self.0.pools)
    }

    pub(crate) fn app_counters(&self, app: AppId) -> Option<AppCounters> {
        (self.0.given.app_counters)(app)
    }

    pub(crate) fn ask_firewall(&self, question: FirewallQuestion) -> FirewallAnswer {
        (self.0.given.firewall)(question)
    }

    pub(crate) fn ca_pem(&self) -> &str {
        self.0.given.certs.ca_pem()
    }

    pub(crate) fn ca_pin(&self) -> &str {
        &self.0.ca_pin
    }

    pub(crate) fn presence(&self) -> Arc<Presence> {
        self.0.given.presence.borrow().clone()
    }

    /// Asks the tunnel plane. A full queue drops the command: connectors that should be cut off are refused when they
    /// come again, and the caller may ask again.
    pub(crate) fn command(&self, command: Command) {
        if let Err(error) = self.0.given.commands.try_send(command) {
            tracing::warn!(%error, "a command to the tunnels was dropped");
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.0.given.ready.borrow()
    }

    pub(crate) fn metrics(&self) -> String {
        (self.0.given.metrics)()
    }

    /// The secret of a tunnel as it is stored.
    pub(crate) fn seal(&self, tunnel: TunnelId, secret: &[u8]) -> String {
        BASE64.encode(self.0.given.seal.seal(&context(tunnel), secret))
    }

    /// The secret of a stored tunnel.
    pub(crate) fn unseal(&self, tunnel: &StoredTunnel) -> Result<Vec<u8>, Error> {
        let sealed = BASE64.decode(&tunnel.sealed_secret).map_err(|error| Error::internal(&error))?;
        self.0.given.seal.open(&context(tunnel.id), &sealed).map_err(|error| Error::internal(&error))
    }

    /// Reads one consistent state of the store, on a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.0.given.store.clone();
        blocking(move || read(&View(store.read()?))).await
    }

    /// Runs `plan` on the newest state and commits what it put together as one revision. When somebody else was faster,
    /// it runs again on the state that they left.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        caller: &Caller,
        plan: impl Fn(&mut Change) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (writes, actor) = (self.0.writes.clone(), caller.actor());
        blocking(move || writes.change(&actor, plan)).await
    }

    pub(crate) async fn delete_zone(&self, caller: Caller, id: ZoneId) -> Result<(), Error> {
        let writes = self.0.writes.clone();
        blocking(move || writes.delete_zone(&caller, id)).await
    }

    /// Who has the credentials of a request.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let credentials = Credentials::read(headers)?;
        let unknown = credentials.unknown();
        let (email, secret) = match credentials {
            Credentials::Token(token) => (None, token),
            Credentials::Key { email, key } => (Some(email.to_owned()), key),
        };
        let hash = seal::hash_token(secret);
        self.read(move |view| match email {
            None => by_token(view, &hash),
            Some(email) => by_key(view, &email, &hash),
        })
        .await?
        .ok_or_else(|| unknown.into())
    }
}

/// A sealed secret opens for its own tunnel only.
fn context(tunnel: TunnelId) -> Vec<u8> {
    format!("tunnel/{tunnel}").into_bytes()
}

fn by_token(view: &View, hash: &TokenHash) -> Result<Option<Caller>, Error> {
    let found = view.tokens()?.into_iter().find(|token| is(&token.sha256, hash));
    let Some(token) = found.filter(|token| token.status == "active") else { return Ok(None) };
    Ok(Some(Caller { user: token.user, account: token.account, token: Some(token.id) }))
}

fn by_key(view: &View, email: &str, hash: &TokenHash) -> Result<Option<Caller>, Error> {
    let found = view.users()?.into_iter().find(|user| is(&user.key_sha256, hash));
    let Some(user) = found.filter(|user| user.email.eq_ignore_ascii_case(email)) else { return Ok(None) };
    // A user has one account here, the first.
    let account = view.accounts()?.into_iter().next();
    Ok(account.map(|account| Caller { user: user.id, account: account.id, token: None }))
}

/// Compared in constant time.
fn is(stored: &str, hash: &TokenHash) -> bool {
    stored.parse().is_ok_and(|stored: TokenHash| stored == *hash)
}

/// The API's one way into the store. The edge's own housekeeping commits beside it.
#[derive(Clone)]
pub(crate) struct Writes {
    store: Store,
    certs: Certs,
    /// Shared by those who try beside each other, held alone by one who lost too many races.
    turns: Arc<RwLock<()>>,
}

impl Writes {
    pub(crate) fn new(store: Store, certs: Certs) -> Writes {
        Writes { store, certs, turns: Arc::default() }
    }

    /// See [`Api::change`]. Blocks.
    pub(crate) fn change<T>(&self, actor: &str, plan: impl Fn(&mut Change) -> Result<T, Error>) -> Result<T, Error> {
        for _ in 0..TRIES_BESIDE_OTHERS {
            let _turn = self.turns.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(result) = self.attempt(actor, &plan)? {
                return Ok(result);
            }
        }
        let _turn = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES_ALONE {
            if let Some(result) = self.attempt(actor, &plan)? {
                return Ok(result);
            }
        }
        Err(Fault::Busy.into())
    }

    /// None if somebody else was faster.
    fn attempt<T>(&self, actor: &str, plan: &impl Fn(&mut Change) -> Result<T, Error>) -> Result<Option<T>, Error> {
        let mut change = Change::new(View(self.store.read()?), now(), self.certs.clone());
        let result = plan(&mut change)?;
        let (guards, ops) = change.into_steps();
        if ops.is_empty() {
            return Ok(Some(result));
        }
        let meta = Meta { at: now(), actor: actor.to_owned(), request_id: seal::random() };
        match self.store.commit(ChangeSet { guards, ops, meta }) {
            Ok(_) => Ok(Some(result)),
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(CommitError::TooLarge { .. }) => Err(Fault::LargeBody.into()),
            Err(error) => Err(Error::internal(&error)),
        }
    }

    /// Deletes a zone with all that is in it: in one revision, or for a large zone the zone first, so that it is out of
    /// force at once, and then what is left of it. Blocks.
    fn delete_zone(&self, caller: &Caller, id: ZoneId) -> Result<(), Error> {
        let actor = caller.actor();
        match self.begin_deletion(&actor, caller.account, id)? {
            Piece::Last => Ok(()),
            Piece::OneOfMore => self.finish_deletion(&actor, id),
        }
    }

    /// Takes a zone out of force, with as much of it as goes in one revision.
    fn begin_deletion(&self, actor: &str, account: AccountId, id: ZoneId) -> Result<Piece, Error> {
        self.change(actor, |change| {
            let zone = change.zone(account, id)?;
            change.delete_zone(&zone)?;
            let piece = delete_piece(change, id)?;
            if piece == Piece::OneOfMore {
                change.begin_deletion(id)?;
            }
            Ok(piece)
        })
    }

    /// Deletes what is left of a zone. What is in a zone needs it to be there, so nothing is added any more: this ends.
    fn finish_deletion(&self, actor: &str, id: ZoneId) -> Result<(), Error> {
        loop {
            let piece = self.change(actor, |change| {
                let piece = delete_piece(change, id)?;
                if piece == Piece::Last {
                    change.end_deletion(id)?;
                }
                Ok(piece)
            })?;
            if piece == Piece::Last {
                return Ok(());
            }
        }
    }

    /// Finishes deletions that a process did not live to finish. Blocks.
    pub(crate) fn finish_deletions(&self, actor: &str) -> Result<(), Error> {
        let begun = View(self.store.read()?).keys(&deletions(), DELETIONS_MAX)?;
        let zones = begun.iter().filter_map(|key| key.as_str().rsplit('/').next()?.parse().ok());
        zones.into_iter().try_for_each(|zone| {
            tracing::info!(%zone, "deleting what is left of a zone");
            self.finish_deletion(actor, zone)
        })
    }
}

/// Whether there is more of a zone than one revision takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    OneOfMore,
    Last,
}

/// Deletes records, owner names, access rules and applications of a zone, of each kind as many as go in one revision.
fn delete_piece(change: &mut Change, zone: ZoneId) -> Result<Piece, Error> {
    let apps = change.delete_apps(zone, APPS_PIECE_MAX)?;
    let mut full = apps == APPS_PIECE_MAX;
    for keys in [
        change.keys(&Prefix::records(zone), PIECE_MAX as usize)?,
        change.keys(&Prefix::names(zone), PIECE_MAX as usize)?,
        change.access_rule_keys(zone, PIECE_MAX)?,
    ] {
        full |= keys.len() == PIECE_MAX as usize;
        change.ops.extend(keys.into_iter().map(|key| Op::Del { key }));
    }
    Ok(if full { Piece::OneOfMore } else { Piece::Last })
}

/// Deletions that are under way at once. More wait for the next start.
const DELETIONS_MAX: usize = 1_000;

/// Records, owner names, and access rules, that are deleted in one revision. Well below what the store takes, so that
/// others get their turn between.
const PIECE_MAX: u32 = 5_000;

/// And applications, each of which has several objects.
const APPS_PIECE_MAX: usize = 500;

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::internal(&error)))
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// The hash by which a connector knows our authority: over the certificate as DER. Empty if there is no certificate.
fn ca_pin(pem: &str) -> String {
    let body: String = pem
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .collect();
    match BASE64.decode(body) {
        Ok(der) if !der.is_empty() => hex(&seal::sha256(&der)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_certs::Ca;
    use bartizan_model::Zone;
    use bartizan_names::RecordId;
    use bartizan_store::{Filter, Key, Value};

    use super::*;
    use crate::{Preset, bootstrap};

    /// The process ends when a zone is out of force and most of it still there. The next one finishes.
    #[test]
    fn what_was_being_deleted_is_gone_after_a_start() {
        const RECORDS: u32 = 2 * PIECE_MAX + 1;
        let directory = tempfile::tempdir().unwrap();
        let domain = Zone::parse_name("large.example").unwrap();
        let start = |store: &Store| {
            let key = || seal::Key::load_or_create(&directory.path().join("seal.key")).unwrap();
            let certs = Certs::new(Ca::load_or_create(directory.path(), &key(), now()).unwrap(), key());
            let own = Zone::parse_name("bartizan.localhost").unwrap();
            let administrator = bootstrap(store, &certs, directory.path(), &Preset::default(), &own, &[]).unwrap();
            (Writes::new(store.clone(), certs), administrator)
        };
        let in_zone = |store: &Store, zone| {
            let mut keys = Vec::new();
            let snapshot = store.read().unwrap();
            snapshot.for_each(&Filter::Zone(zone), &mut |entry| keys.push(entry.key)).unwrap();
            keys.extend(View(snapshot).keys(&deletions(), 10).unwrap());
            keys
        };

        let store = Store::open(directory.path()).unwrap();
        let (writes, administrator) = start(&store);
        let id = ZoneId::from_bytes([7; 16]);
        writes
            .change("test", |change| {
                let account = crate::objects::account_ref(&change.account(administrator.account_id)?);
                change.create_zone(&crate::zones::document(id, &domain, &[], account, now()))?;
                for number in 0..RECORDS {
                    let key = Key::record(id, RecordId::from_bytes((u128::from(number) + 1).to_be_bytes()));
                    let json = r#"{"name":"a.large.example","type":"A","content":"192.0.2.1","proxied":false,"ttl":1}"#;
                    change.ops.push(Op::Put { key, value: Value { format: 1, json: json.into() } });
                }
                Ok(())
            })
            .unwrap();
        let piece = writes.begin_deletion("test", administrator.account_id, id).unwrap();
        assert_eq!(piece, Piece::OneOfMore);
        assert_eq!(in_zone(&store, id).len(), (RECORDS - PIECE_MAX) as usize + 1);
        drop((writes, store));

        let store = Store::open(directory.path()).unwrap();
        start(&store);
        assert_eq!(in_zone(&store, id), []);
    }
}
