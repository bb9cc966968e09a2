//! The first run and the later ones.

use std::os::unix::fs::PermissionsExt;

use bartizan_api::{
    ADMIN_FILE, AdminFileError, Administrator, BootstrapError, Entry, Preset, SetUp, bootstrap, declare_pop,
};
use bartizan_model::Zone;
use bartizan_names::{Timestamp, TokenId};
use bartizan_store::{ChangeSet, Index, Key, Kind, Meta, Op, Prefix, Scope, Store, Value};
use serde_json::json;

use crate::edge::{Edge, TOKEN, certs, pop};

fn commit(store: &Store, ops: Vec<Op>) {
    let request_id = bartizan_seal::random();
    let at = Timestamp::from_unix_micros(1);
    let meta = Meta { at, actor: "test".to_owned(), interface: "test".to_owned(), client: None, request_id };
    store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
}

/// The credentials that work.
fn opened(found: SetUp) -> Administrator {
    match found.entry {
        Entry::Open(administrator) => administrator,
        Entry::Stale { reason, .. } => panic!("{reason}"),
        Entry::Unknown { reason, .. } => panic!("{reason}"),
    }
}

/// What cannot be read, perhaps because a newer version wrote it, is not written over, nor made a second time.
#[test]
fn what_cannot_be_read_is_not_set_up_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (certs, _) = certs(directory.path());
    let domain = Zone::parse_name("bartizan.localhost").unwrap();
    let run = || opened(bootstrap(&store, &certs, directory.path(), &Preset::default(), &domain, &[]).unwrap());
    let first = run();
    let declared = declare_pop(&store, &certs, &pop(&["127.77.0.0/24"])).unwrap();
    let (account, user) = (Key::account(first.account_id), Key::user(first.user_id));
    let newer = json!({"of": "a newer version"}).to_string();
    let put = |key: &Key| Op::Put { key: key.clone(), value: Value { format: 1, json: newer.clone().into() } };
    commit(&store, vec![put(&account), put(&user), put(&Key::pop(declared.id))]);
    let before = store.read().unwrap().head();
    assert!(run() == first);
    assert_eq!(store.read().unwrap().head(), before, "nothing to do");
    for key in [&account, &user] {
        assert_eq!(*store.read().unwrap().get(key).unwrap().unwrap().value.json, *newer);
    }
    // The flags say all of it, so that it is written again, under its own id.
    let again = declare_pop(&store, &certs, &pop(&["127.77.0.0/24"])).unwrap();
    assert_eq!(again, declared);
}

/// Builds before this one had one token, in another place, by which it was not found; it had every right, and keeps it.
#[test]
fn the_token_of_an_older_build() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (certs, _) = certs(directory.path());
    let domain = Zone::parse_name("bartizan.localhost").unwrap();
    let run = || opened(bootstrap(&store, &certs, directory.path(), &Preset::default(), &domain, &[]).unwrap());
    let first = run();
    let (user, of_token) = (Scope::User(first.user_id), |scope| Prefix::of(scope, Kind::Token));
    let new = store.read().unwrap().keys(&of_token(user), None, 9).unwrap().remove(0);
    let document = store.read().unwrap().get(&new).unwrap().unwrap().value.json;
    let mut old: serde_json::Value = serde_json::from_str(&document).unwrap();
    let policies = old.as_object_mut().unwrap().remove("policies").unwrap();
    // It had an id of its own.
    let id = TokenId::from_bytes([7; 16]);
    old["id"] = json!(id);
    let hash = Key::unique(Scope::Edge, Index::TokenHash, old["sha256"].as_str().unwrap());
    commit(
        &store,
        vec![
            Op::Del { key: new.clone() },
            Op::Del { key: hash.clone() },
            Op::Put { key: Key::token(Scope::Edge, id), value: Value { format: 1, json: old.to_string().into() } },
        ],
    );
    assert!(run() == first);
    let snapshot = store.read().unwrap();
    assert_eq!(snapshot.keys(&of_token(Scope::Edge), None, 9).unwrap(), []);
    assert_eq!(snapshot.keys(&of_token(user), None, 9).unwrap(), std::slice::from_ref(&new));
    let document = snapshot.get(&new).unwrap().unwrap().value.json;
    let moved: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&moved["policies"], &moved["issued_on"]), (&policies, &old["issued_on"]));
    assert!(snapshot.get(&hash).unwrap().is_some());
    let head = snapshot.head();
    drop(snapshot);
    assert!(run() == first);
    assert_eq!(store.read().unwrap().head(), head, "nothing to do");
}

/// A key that is printed somewhere is taken if that is wanted, and only as long as it is; a token is not.
#[test]
fn a_weak_key_is_for_who_wants_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (certs, _) = certs(directory.path());
    let domain = Zone::parse_name("bartizan.localhost").unwrap();
    let run = |preset: &Preset| bootstrap(&store, &certs, directory.path(), preset, &domain, &[]).map(opened);
    let (weak, weak_key) = (Some("0000000000000000000".to_owned()), true);
    for preset in [
        Preset { key: weak.clone(), ..Preset::default() },
        Preset { token: weak.clone(), weak_key, ..Preset::default() },
    ] {
        assert!(run(&preset).is_err_and(|error| error.to_string().contains("32 are needed")));
    }
    let key = run(&Preset { key: weak.clone(), weak_key, ..Preset::default() }).unwrap().key;
    assert_eq!(Some(&key), weak.as_ref());
    assert!(run(&Preset { weak_key, ..Preset::default() }).unwrap().key == key);
    // Elsewhere, later, nobody is to find it by chance.
    assert!(run(&Preset::default()).is_err_and(|error| error.to_string().contains("can be guessed")));
}

#[test]
fn a_second_run_changes_nothing_and_a_lost_file_makes_new_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(ADMIN_FILE);
    let store = Store::open(directory.path()).unwrap();
    let (certs, _) = certs(directory.path());
    let domain = Zone::parse_name("bartizan.localhost").unwrap();
    let run = |preset: &Preset| bootstrap(&store, &certs, directory.path(), preset, &domain, &[]).map(opened);
    let head = || store.read().unwrap().head();

    let first = run(&Preset::default()).unwrap();
    assert_eq!(head().0, 1, "one revision");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let saved: Administrator = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(saved == first);
    assert_eq!((first.token.len(), first.key.len(), first.email.as_str()), (40, 37, "admin@bartizan.localhost"));
    let in_store = || {
        let mut all = String::new();
        let everything = bartizan_store::Filter::Everything;
        store.read().unwrap().for_each(&everything, &mut |entry| all += &entry.value.json).unwrap();
        all
    };
    assert!(!in_store().contains(&first.token) && !in_store().contains(&first.key), "only hashes");

    assert!(run(&Preset::default()).unwrap() == first);
    assert_eq!(head().0, 1, "nothing to do");

    const DICTATED: &str = "dictated-and-of-thirty-two-chars";
    for weak in ["x", &DICTATED[1..]] {
        for preset in [
            Preset { token: Some(weak.to_owned()), ..Preset::default() },
            Preset { key: Some(weak.to_owned()), ..Preset::default() },
        ] {
            let error = run(&preset).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("32 are needed") && error.contains("BARTIZAN_API_"), "{error}");
        }
    }
    assert_eq!(head().0, 1, "nothing was changed by what was refused");

    let preset = Preset { token: Some(DICTATED.to_owned()), ..Preset::default() };
    let second = run(&preset).unwrap();
    assert_eq!((second.token.as_str(), &second.key), (DICTATED, &first.key));
    assert_eq!(head().0, 2);
    assert!(run(&Preset::default()).unwrap() == second, "it stays");

    std::fs::remove_file(&path).unwrap();
    let third = run(&Preset::default()).unwrap();
    assert_eq!((third.account_id, third.user_id, &third.zone), (first.account_id, first.user_id, &first.zone));
    assert_ne!(third.token, second.token);

    // A zone that was deleted does not come back.
    let (zone, name) = (first.zone.unwrap().id, Key::unique(Scope::Edge, Index::ZoneName, &domain));
    commit(&store, vec![Op::Del { key: Key::zone(zone) }, Op::Del { key: name }]);
    let fourth = run(&Preset::default()).unwrap();
    assert!(fourth.zone.is_none());
    assert!(run(&Preset::default()).unwrap() == fourth);
    let kept: Administrator = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(kept == fourth);

    std::fs::write(&path, "\n").unwrap();
    let fifth = run(&Preset::default()).unwrap();
    assert!(fifth.account_id == fourth.account_id && fifth.token != fourth.token, "an empty file is a lost one");
}

fn bearer(edge: &Edge, token: &str, method: &str, path: &str) -> String {
    let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
    edge.send_as(&headers, method, &format!("/client/v4{path}"), "{}").verdict()
}

/// A second start over the same data, with nothing from the environment.
fn start_again(edge: &Edge) -> SetUp {
    let domain = Zone::parse_name("bartizan.localhost").unwrap();
    let (certs, _) = certs(edge.directory.path());
    bootstrap(&edge.store, &certs, edge.directory.path(), &Preset::default(), &domain, &[]).unwrap()
}

/// Once there is a store, it decides who is let in, and the file only says how.
#[test]
fn a_start_puts_no_token_back() {
    let edge = Edge::new();
    let file = edge.directory.path().join(ADMIN_FILE);
    let first = std::fs::read(&file).unwrap();
    let saved = || serde_json::from_slice::<Administrator>(&std::fs::read(&file).unwrap()).unwrap();
    let get = |token: &str| bearer(&edge, token, "GET", "/zones");
    let id = edge.get("/user/tokens/verify").result()["id"].as_str().unwrap().to_owned();

    let rolled = edge.call("PUT", &format!("/user/tokens/{id}/value"), "{}").result();
    let rolled = rolled.as_str().unwrap();
    assert_eq!(saved().token, rolled, "commands of this machine go on");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(start_again(&edge).entry, Entry::Open(found) if found.token == rolled));
    assert_eq!((get(TOKEN), get(rolled)), ("403 9109".to_owned(), "200".to_owned()));

    // A file of before, from a copy for example.
    std::fs::write(&file, &first).unwrap();
    let head = edge.revision();
    assert!(matches!(start_again(&edge).entry, Entry::Stale { .. }));
    assert_eq!((get(TOKEN), get(rolled)), ("403 9109".to_owned(), "200".to_owned()));

    assert_eq!(bearer(&edge, rolled, "DELETE", &format!("/user/tokens/{id}")), "200");
    let head_after = edge.revision();
    assert!(head_after > head);
    assert!(matches!(start_again(&edge).entry, Entry::Stale { .. }));
    assert_eq!((get(TOKEN), get(rolled)), ("403 9109".to_owned(), "403 9109".to_owned()));
    assert_eq!(edge.revision(), head_after, "nothing to do");

    // Who owns the data directory has a way back in.
    std::fs::remove_file(&file).unwrap();
    let Entry::Open(new) = start_again(&edge).entry else { panic!("new credentials") };
    assert_eq!((get(&new.token), get(TOKEN)), ("200".to_owned(), "403 9109".to_owned()));
}

/// A unit keeps its environment: a token that leaked from there and was rolled does not come back with a restart.
#[test]
fn a_token_of_the_environment_comes_back_only_with_a_new_text() {
    let edge = Edge::new();
    let domain = Zone::parse_name("bartizan.localhost").unwrap();
    let (certs, _) = certs(edge.directory.path());
    let dictating = |token: &str| {
        let preset = Preset { token: Some(token.to_owned()), ..Preset::default() };
        bootstrap(&edge.store, &certs, edge.directory.path(), &preset, &domain, &[]).unwrap().entry
    };
    let get = |token: &str| bearer(&edge, token, "GET", "/zones");
    // The edge was set up by this text.
    let id = edge.get("/user/tokens/verify").result()["id"].as_str().unwrap().to_owned();
    let rolled = edge.call("PUT", &format!("/user/tokens/{id}/value"), "{}").result();
    let rolled = rolled.as_str().unwrap();
    let head = edge.revision();
    assert!(matches!(dictating(TOKEN), Entry::Open(found) if found.token == rolled));
    assert_eq!((get(TOKEN), get(rolled), edge.revision()), ("403 9109".to_owned(), "200".to_owned(), head));
    let new = "a-new-text-of-more-than-thirty-two-characters";
    assert!(matches!(dictating(new), Entry::Open(found) if found.token == new));
    assert_eq!((get(new), get(rolled)), ("200".to_owned(), "403 9109".to_owned()));
    assert_eq!(bearer(&edge, new, "DELETE", &format!("/user/tokens/{id}")), "200");
    assert!(matches!(dictating(new), Entry::Stale { .. }));
    assert_eq!(get(new), "403 9109");
}

/// A file that says nothing keeps nothing from being served, and nobody is let in or out for it.
#[test]
fn a_damaged_file_is_told_and_changes_nothing() {
    let edge = Edge::new();
    let file = edge.directory.path().join(ADMIN_FILE);
    let head = edge.revision();
    std::fs::write(&file, "{").unwrap();
    let found = start_again(&edge);
    assert_eq!((found.account_id, &found.zone), (edge.administrator.account_id, &edge.administrator.zone));
    assert!(matches!(found.entry, Entry::Unknown { .. }));
    assert_eq!((edge.revision(), edge.get("/zones").verdict()), (head, "200".to_owned()));
    assert_eq!(std::fs::read(&file).unwrap(), b"{", "it is left to a person");
}

/// Without a store that knows them, nobody would ever be let in.
#[test]
fn a_damaged_file_stops_a_first_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(ADMIN_FILE), "{").unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (certs, _) = certs(directory.path());
    let domain = Zone::parse_name("bartizan.localhost").unwrap();
    let found = bootstrap(&store, &certs, directory.path(), &Preset::default(), &domain, &[]);
    assert!(matches!(found, Err(BootstrapError::File(AdminFileError::Damaged { .. }))));
}

/// Where nothing can be changed, what was set up serves, nobody gets in who was not let in before, and the file never says
/// what the store does not know.
#[test]
fn nobody_is_let_in_by_what_cannot_be_stored() {
    const NEW: &str = "a-new-text-of-more-than-thirty-two-characters";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(ADMIN_FILE);
    let (certs, _) = certs(directory.path());
    let domain = Zone::parse_name("bartizan.localhost").unwrap();
    let run = |store: &Store, token: Option<&str>| {
        let preset = Preset { token: token.map(str::to_owned), ..Preset::default() };
        bootstrap(store, &certs, directory.path(), &preset, &domain, &[]).unwrap()
    };
    let first = opened(run(&Store::open(directory.path()).unwrap(), None));
    let saved = std::fs::read(&path).unwrap();
    let shut = Store::open_for_reading(directory.path(), "its key is gone").unwrap();
    let found = run(&shut, Some(NEW));
    assert!(opened(found) == first, "those of before");
    assert_eq!(std::fs::read(&path).unwrap(), saved);
    for text in [None, Some(""), Some("{")] {
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        for token in [None, Some(NEW)] {
            let found = run(&shut, token);
            assert_eq!((found.account_id, &found.zone), (first.account_id, &first.zone), "{text:?}");
            let Entry::Unknown { reason, remedy } = found.entry else { panic!("{text:?} lets somebody in") };
            assert!(reason.contains("admin.json"), "{reason}");
            assert!(remedy.contains("mend first why nothing can be changed"), "{remedy}");
            assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), text, "{token:?}");
        }
    }
    drop(shut);
    std::fs::remove_file(&path).unwrap();
    let last = opened(run(&Store::open(directory.path()).unwrap(), Some(NEW)));
    assert_eq!((last.token.as_str(), last.user_id), (NEW, first.user_id), "as soon as it can be stored");
}
