//! By which time is signed: what the process believes, whatever its clock says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bartizan_clock::{Clock, EARLIEST, Known, Told};
use bartizan_names::{RecordType, Timestamp};
use bartizan_plane_dns::Transport;
use bartizan_wire::dns::Message;

use crate::pipeline::Pipeline;
use crate::rations::query;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// Any time, in seconds since 1970.
const NOW: u64 = EARLIEST.unix_seconds() + 500 * DAY;

/// What the clocks of the machine say, in seconds.
#[derive(Default)]
struct Clocks {
    wall: AtomicU64,
    steady: AtomicU64,
}

/// When the signature of an answer begins (RFC 4034 §3.1.5).
fn begins(pipeline: &mut Pipeline) -> u64 {
    let (_, reply) = pipeline.serve("192.0.2.9:53000", Transport::Udp, &query("www.signed", "A", b""));
    let message = Message::parse(&reply).unwrap();
    let signature = message.answers.iter().find(|record| record.rtype == RecordType::RRSIG).unwrap();
    u32::from_be_bytes(signature.rdata[12..16].try_into().unwrap()).into()
}

#[test]
fn all_workers_sign_by_the_time_that_is_believed() {
    let clocks = Arc::<Clocks>::default();
    let said = Arc::clone(&clocks);
    let tell = move || Told {
        wall: Timestamp::from_unix_micros(said.wall.load(Relaxed) * 1_000_000),
        steady: Duration::from_secs(said.steady.load(Relaxed)),
    };
    clocks.wall.store(NOW, Relaxed);
    let mut pipeline = Pipeline::new();
    pipeline.config.clock =
        Clock::given(tell, Known { least: Some(Timestamp::from_unix_micros(NOW * 1_000_000)), last: None });
    // What the clock says, when, and by which time a new worker signs, and one that was there.
    for (what, wall, steady, time, time_of_old) in [
        ("at the start", NOW, 0, NOW, NOW),
        ("ten years ahead", NOW + 3_660 * DAY, 60, NOW + 60, NOW),
        ("and back by one", NOW - DAY, 61, NOW + 61, NOW),
        ("right again", NOW + 62, 62, NOW + 62, NOW),
        ("settled", NOW + HOUR + 62, HOUR + 62, NOW + HOUR + 62, NOW),
        ("three days ahead", NOW + 3 * DAY + 2 * HOUR, 2 * HOUR, NOW + 2 * HOUR, NOW),
        ("for an hour", NOW + 3 * DAY + 3 * HOUR, 3 * HOUR, NOW + 3 * DAY + 3 * HOUR, NOW + 3 * DAY + 3 * HOUR),
        // What was signed by then is not valid yet.
        ("it was wrong", NOW + 3 * HOUR + 1, 3 * HOUR + 1, NOW + 3 * HOUR + 1, NOW + 3 * HOUR + 1),
    ] {
        clocks.wall.store(wall, Relaxed);
        clocks.steady.store(steady, Relaxed);
        assert_eq!(begins(&mut pipeline), time_of_old - HOUR, "{what}");
        let old = std::mem::take(&mut pipeline.worker);
        assert_eq!(begins(&mut pipeline), time - HOUR, "{what}: a new worker");
        pipeline.worker = old;
    }
}
