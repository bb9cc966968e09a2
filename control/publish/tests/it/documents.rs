//! What the API cannot read is told, also where no plane uses it.

use bartizan_names::{RecordId, Timestamp, TokenId, TunnelId, UserId, ZoneId};
use bartizan_observed::What;
use bartizan_publish::{Changes, Edge, Publisher, Review};
use bartizan_signer::Validity;
use bartizan_store::{Index, Key, Kind, Op, Scope, Store, Value};
use serde_json::{Value as Json, json};

use crate::answers::addresses;
use crate::lab::{
    ACCOUNT, AT, Lab, POP, USER, ZONE, add, name, put, record_document, settings_document, tunnel_document, zone,
    zone_called,
};

/// Keys of what the API cannot read, as far as it is known.
fn told(publisher: &Publisher) -> Vec<String> {
    let unreadable = publisher.unreadable().observed(Timestamp::from_unix_micros(1), Changes::Taken);
    unreadable.into_iter().map(|problem| if let What::Document(key) = problem.what { key } else { panic!() }).collect()
}

/// The same when all objects were looked at; and how many pieces that took.
fn review(publisher: &mut Publisher) -> (Vec<String>, usize) {
    let pieces = std::iter::from_fn(|| (publisher.review() == Review::More).then_some(())).count();
    (told(publisher), pieces)
}

fn token_document(token: TokenId) -> Json {
    json!({"id": token, "name": "ci", "user": USER, "account": ACCOUNT, "sha256": "", "status": "active",
           "issued_on": AT, "modified_on": AT})
}

fn without(mut document: Json, field: &str) -> Json {
    document.as_object_mut().unwrap().remove(field).unwrap();
    document
}

/// At a start and while it runs, until the object is written again or deleted; in another shape, of a newer version, and
/// damaged by the disk.
#[test]
fn each_kind_that_no_plane_reads_whole() {
    let (token, user) = (TokenId::from_bytes([5; 16]), UserId::from_bytes([5; 16]));
    let www = record_document(1, "www A 192.0.2.1");
    let account = json!({"id": ACCOUNT, "name": "Main", "type": "standard", "created_on": AT,
                         "settings": {"enforce_twofactor": false, "use_account_custom_ns_by_default": false}});
    let user_document =
        json!({"id": user, "email": "a@example.com", "key_sha256": "", "created_on": AT, "modified_on": AT});
    let settings = settings_document(&[("ssl", json!("full"))]);
    let mut odd_settings = settings.clone();
    odd_settings["items"][0]["modified_on"] = json!(0);
    for (key, sound, spoilt) in [
        (Key::account(ACCOUNT), account.clone(), without(account, "name")),
        (Key::user(user), user_document.clone(), without(user_document, "email")),
        (Key::token(Scope::Edge, token), token_document(token), without(token_document(token), "sha256")),
        // Served, and not shown.
        (Key::record(ZONE, RecordId::from_bytes([1; 16])), www.clone(), without(www, "meta")),
        (Key::settings(ZONE), settings, odd_settings),
        (Key::name(ZONE, &name("www.example.com")), json!({"records": 1}), json!({"records": "one"})),
        (Key::unique(Scope::Edge, Index::ZoneName, "example.com"), json!({"by": ZONE}), json!({"by": 1})),
    ] {
        let mut lab = Lab::new();
        lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1"), vec![put(key.clone(), &sound)]].concat());
        let mut follower = lab.publisher();
        assert_eq!(review(&mut follower).0, [""; 0], "{key}");
        let newer = Op::Put { key: key.clone(), value: Value { format: 9, json: sound.to_string().into() } };
        // The store takes no record that it cannot list.
        let newer = (key.kind() != Kind::Record).then_some(newer);
        for bad in [put(key.clone(), &spoilt)].into_iter().chain(newer) {
            for mended in [put(key.clone(), &sound), Op::Del { key: key.clone() }] {
                lab.commit(vec![bad.clone()]);
                follower.follow().unwrap().unwrap();
                // What is not in force for it is told as that, and once.
                let expect = if follower.problems().is_empty() { vec![key.to_string()] } else { vec![] };
                assert_eq!(told(&follower), expect, "{key}");
                let mut started = lab.publisher();
                assert_eq!(told(&started), [""; 0], "a start waits for no review");
                assert_eq!(review(&mut started).0, expect, "{key}");
                assert_eq!(addresses(started.bundle(), "www.example.com"), "192.0.2.1", "{key}");
                lab.commit(vec![mended]);
                for publisher in [&mut follower, &mut started] {
                    publisher.follow().unwrap().unwrap();
                    assert_eq!((told(publisher), publisher.problems().count()), (vec![], 0), "{key}");
                }
                lab.commit(vec![put(key.clone(), &sound)]);
                follower.follow().unwrap().unwrap();
            }
        }
        // The disk spoils it, and nobody is told.
        lab.damage(&key);
        assert_eq!(review(&mut follower).0, [""; 0], "{key}");
        follower.review_anew();
        assert_eq!(review(&mut follower).0, [key.to_string()]);
        let mut started = lab.publisher();
        let told = review(&mut started).0.len() + started.problems().count();
        assert_eq!(told, 1, "{key}: {:?}", started.problems());
    }
}

/// What cannot be put in force is told as that, and not a second time.
#[test]
fn nothing_is_told_twice() {
    let mut lab = Lab::new();
    let tunnel = TunnelId::from_bytes([4; 16]);
    lab.commit(vec![put(Key::tunnel(ACCOUNT, tunnel), &without(tunnel_document(tunnel, 1), "config_src"))]);
    let mut started = lab.publisher();
    assert_eq!((review(&mut started).0, started.problems().count()), (vec![], 1));
}

/// A piece at a time, with changes between; and a state that was read anew is looked at anew.
#[test]
fn a_large_store_is_looked_at_in_pieces() {
    const TOKENS: u16 = 2_500;
    let mut lab = Lab::new();
    let key = |number: u16| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Key::token(Scope::Edge, TokenId::from_bytes(id))
    };
    let bad = [1_u16, 2_100, 2_400, 2_499];
    let document =
        |number: u16| if bad.contains(&number) { json!({}) } else { token_document(key(number).id_as().unwrap()) };
    lab.commit((0..TOKENS).map(|number| put(key(number), &document(number))).collect());
    let mut follower = lab.publisher();
    assert_eq!(follower.review(), Review::More);
    assert_eq!(told(&follower), [key(1).to_string()]);
    // One goes before it is looked at, one behind, and one becomes bad behind.
    lab.commit(vec![Op::Del { key: key(1) }, Op::Del { key: key(2_100) }, put(key(2), &json!({}))]);
    follower.follow().unwrap().unwrap();
    let left = [2, 2_400, 2_499].map(|number| key(number).to_string());
    let (found, pieces) = review(&mut follower);
    assert_eq!((found.as_slice(), pieces), (left.as_slice(), 2));
    // One is lost with a damaged page, of which the log knows nothing.
    lab.lose(&key(2_400));
    lab.store.mend().unwrap();
    follower.follow().unwrap().unwrap();
    assert_eq!(told(&follower), left);
    assert_eq!(review(&mut follower).0, [&*left[0], &*left[2]]);
}

/// Whatever passes by, the pages that the engine keeps of it are let go of.
#[test]
fn what_was_looked_at_takes_no_memory() {
    const TOKENS: u16 = 20_000;
    if !bartizan_lab::flood::is_alone("documents::what_was_looked_at_takes_no_memory") {
        return;
    }
    let mut lab = Lab::new();
    let put_token = |number: u16| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let id = TokenId::from_bytes(id);
        put(Key::token(Scope::Edge, id), &token_document(id))
    };
    let all: Vec<Op> = (0..TOKENS).map(put_token).collect();
    for some in all.chunks(1_000) {
        lab.commit(some.to_vec());
    }
    drop(all);
    let used = || bartizan_net::held_memory().expect("the C library tells").used;
    let mut publisher = lab.publisher();
    let before = used();
    let (told, pieces) = review(&mut publisher);
    assert!(told.is_empty() && pieces >= usize::from(TOKENS / 1_000), "{told:?} {pieces}");
    // The objects alone are four times as much.
    assert!(used() < before + (2 << 20), "{before} {}", used());
}

/// Of many objects a start reads those that come next by another thread: all of them come, whatever is wrong with one.
#[test]
fn a_large_store_starts_whole() {
    const ZONES: u16 = 3_000;
    // With them it is large enough.
    const TOKENS: u16 = 14_000;
    let mut lab = Lab::new();
    let id = |number: u16| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        id
    };
    let name_of = |number: u16| format!("z{number}.example");
    let zones = (0..ZONES).map(|number| zone_called(ZoneId::from_bytes(id(number)), &name_of(number), &[], false));
    let tokens = (0..TOKENS).map(|number| {
        let id = TokenId::from_bytes(id(number));
        put(Key::token(Scope::Edge, id), &token_document(id))
    });
    let all: Vec<Op> = zones.chain(tokens).collect();
    for some in all.chunks(1_000) {
        lab.commit(some.to_vec());
    }
    let publisher = lab.publisher();
    assert_eq!((publisher.bundle().zones.value.zone_count(), publisher.problems().count()), (ZONES.into(), 0));
    let bad = Key::zone(ZoneId::from_bytes(id(1_111)));
    lab.damage(&bad);
    let publisher = lab.publisher();
    assert_eq!(
        (publisher.bundle().zones.value.zone_count(), publisher.problems().count()),
        (usize::from(ZONES) - 1, 1)
    );
    assert!(format!("{:?}", publisher.problems()).contains(bad.as_str()));
}

/// Also of what the first version wrote.
#[test]
fn a_store_of_version_0_1_0_can_be_read_whole() {
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/tests/fixtures/0.1.0");
    let dir = tempfile::tempdir().unwrap();
    for file in ["store.sqlite", "seal.key"] {
        bartizan_seal::write_private(&dir.path().join(file), &std::fs::read(from.join(file)).unwrap()).unwrap();
    }
    let seal = bartizan_seal::Key::load_or_create(&dir.path().join("seal.key")).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let edge = Edge { seal, pop: POP, account: ACCOUNT, validity: Validity::default() };
    let mut publisher = Publisher::load(store, edge).unwrap();
    let (unreadable, pieces) = review(&mut publisher);
    assert!(unreadable.is_empty() && publisher.problems().is_empty(), "{unreadable:?} {:?}", publisher.problems());
    assert!(pieces > 0 && publisher.bundle().zones.value.zone_count() > 0);
}
