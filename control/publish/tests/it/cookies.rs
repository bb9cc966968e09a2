//! The secrets of DNS cookies on their way from the store to the bundle.

use std::net::{IpAddr, Ipv4Addr};

use bartizan_dns_guard::{Proof, Secrets};
use bartizan_names::Timestamp;
use bartizan_publish::{Bundle, CookieSecrets};
use bartizan_store::{Key, Op};

use crate::lab::{Lab, put};

const CLIENT: [u8; 8] = *b"a client";
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn secrets(bundle: &Bundle) -> Secrets {
    bundle.cookies.value.expect("there are secrets")
}

fn stored(secrets: &CookieSecrets) -> Op {
    put(CookieSecrets::key(), &serde_json::to_value(secrets).unwrap())
}

#[test]
fn what_is_in_the_store_makes_cookies() {
    let mut lab = Lab::new();
    let mut follower = lab.publisher();
    assert!(follower.bundle().cookies.value.is_none());
    let at = Timestamp::from_unix_micros(1_700_000_000_000_000);
    let mut given = Vec::new();
    let mut last: Option<CookieSecrets> = None;
    for _ in 0..3 {
        let next = CookieSecrets::rolled(last.take(), &lab.seal, at);
        lab.commit(vec![stored(&next)]);
        let bundle = follower.follow().unwrap().unwrap().clone();
        given.push(secrets(&bundle).check(&CLIENT, &[], FROM, 7).server);
        // Those of the secret before are still good, and no older ones; a start agrees.
        for bundle in [&bundle, lab.publisher().bundle()] {
            let good =
                given.iter().map(|cookie| secrets(bundle).check(&CLIENT, cookie, FROM, 7).proof == Proof::Proven);
            let good: Vec<bool> = good.collect();
            let count = given.len();
            assert_eq!(good, (0..count).map(|made| made + 2 >= count).collect::<Vec<_>>());
        }
        last = Some(next);
    }
    // Other facts have nothing to do with it, and what cannot be read or opened changes nothing.
    let was = follower.bundle().cookies.clone();
    let foreign = CookieSecrets::rolled(None, &Lab::new().seal, at);
    for (op, problems) in [
        (put(Key::meta("other"), &serde_json::json!({})), 0),
        (put(CookieSecrets::key(), &serde_json::json!({"sealed_current": 1})), 1),
        (stored(&foreign), 1),
        (stored(last.as_ref().unwrap()), 0),
    ] {
        lab.commit(vec![op]);
        let cookies = follower.follow().unwrap().unwrap().cookies.clone();
        assert_eq!((cookies.number, cookies.value), (was.number, was.value));
        assert_eq!(follower.problems().count(), problems);
    }
}

#[test]
fn secrets_are_replaced_in_time() {
    const DAY: u64 = 86_400_000_000;
    let lab = Lab::new();
    let made = CookieSecrets::rolled(None, &lab.seal, Timestamp::from_unix_micros(100 * DAY));
    for (day, due) in [(100, false), (129, false), (130, true), (99, true)] {
        assert_eq!(made.is_due(Timestamp::from_unix_micros(day * DAY)), due, "{day}");
    }
}
