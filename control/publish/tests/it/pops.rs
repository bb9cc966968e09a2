//! What the PoP is, and what follows when it becomes another one.

use bartizan_names::{AppId, PopId};
use bartizan_store::Key;

use crate::answers::addresses;
use crate::lab::{Lab, POP, ZONE, add, app_document, pop_document, put, zone};

/// After each step a new start agrees.
#[test]
fn other_addresses_and_pools_are_in_force_at_once() {
    let mut lab = Lab::new();
    let app = AppId::from_bytes([7; 16]);
    let app = put(Key::app(ZONE, app), &app_document(ZONE, app, "ssh.example.com", 5, "off"));
    lab.commit([vec![zone(false), app], add(1, "www A 192.0.2.1 proxied")].concat());
    let mut follower = lab.publisher();
    let other = Key::pop(PopId::from_bytes([9; 16]));
    for (key, served, pools, www, ssh, problems) in [
        (Key::pop(POP), "203.0.113.2", "127.78.0.0/16", "203.0.113.2", "127.78.0.5", 0),
        (Key::pop(POP), "203.0.113.2", "", "203.0.113.2", "NXDOMAIN", 0),
        (Key::pop(POP), "2001:db8::2", "2001:db8:77::/48", "2001:db8::2", "2001:db8:77::5", 0),
        (other, "203.0.113.3", "127.79.0.0/16", "2001:db8::2", "2001:db8:77::5", 0),
        // No PoP is without an address: what was before stays.
        (Key::pop(POP), "", "127.80.0.0/16", "2001:db8::2", "2001:db8:77::5", 1),
        (Key::pop(POP), "203.0.113.4", "127.80.0.0/16", "203.0.113.4", "127.80.0.5", 0),
    ] {
        let last = follower.bundle().clone();
        lab.commit(vec![put(key, &pop_document(served, pools))]);
        let followed = follower.follow().unwrap().expect("something was committed").clone();
        assert_eq!(follower.problems().count(), problems);
        let fresh = lab.publisher();
        for bundle in [&followed, fresh.bundle()].into_iter().take(if problems == 0 { 2 } else { 1 }) {
            assert_eq!(addresses(bundle, "www.example.com"), www, "{served} {pools}");
            assert_eq!(addresses(bundle, "ssh.example.com"), ssh, "{served} {pools}");
        }
        // Applications keep their slots, and hosts have nothing to do with it.
        assert_eq!((followed.apps.number, followed.routes.number), (last.apps.number, last.routes.number));
        assert_eq!(followed.pop.number == last.pop.number, followed.pop.value == last.pop.value);
    }
}
