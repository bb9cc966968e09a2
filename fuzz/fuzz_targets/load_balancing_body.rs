//! Any object as a request for a pool, a monitor or a load balancer: what is taken is kept as a document, which reads back,
//! and from which the same request makes no other.

#![no_main]

use bartizan_model::{LoadBalancer, Monitor, Pool, Zone};
use bartizan_names::{LoadBalancerId, MonitorId, PoolId, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [kind, json @ ..] = input else { return };
    let at = Timestamp::from_unix_micros(0);
    match kind % 3 {
        0 => {
            let Ok(body) = serde_json::from_slice(json) else { return };
            let id = PoolId::from_bytes([1; 16]);
            let Ok(document) = Pool::document(id, None, &body, at) else { return };
            Pool::parse(&document).expect("what is kept can be read");
            assert_eq!(Pool::document(id, Some(&document), &body, at).as_ref(), Ok(&document));
        }
        1 => {
            let Ok(body) = serde_json::from_slice(json) else { return };
            let id = MonitorId::from_bytes([1; 16]);
            let Ok(document) = Monitor::document(id, None, &body, at) else { return };
            Monitor::parse(&document).expect("what is kept can be read");
            assert_eq!(Monitor::document(id, Some(&document), &body, at).as_ref(), Ok(&document));
        }
        _ => {
            let Ok(body) = serde_json::from_slice(json) else { return };
            let id = LoadBalancerId::from_bytes([1; 16]);
            let zone = Zone::parse_name("example.com").expect("a zone of ours");
            let Ok(document) = LoadBalancer::document((id, &zone), None, &body, at) else { return };
            LoadBalancer::parse(&document).expect("what is kept can be read");
            assert_eq!(LoadBalancer::document((id, &zone), Some(&document), &body, at).as_ref(), Ok(&document));
        }
    }
});
