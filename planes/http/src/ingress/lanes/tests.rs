use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bartizan_quic::Inboxes;
use quinn::{ConnectionId, Runtime};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::runtime::LocalOptions;
use tokio::task::spawn_local;

use super::super::http3::{Driving, in_turns};
use super::super::turn::{Waiting, looked};
use super::*;
use crate::limits::TURN_STEPS;

type Log = Rc<RefCell<Vec<usize>>>;

/// What the visitor that has little to do writes to the log.
const VISITOR: usize = usize::MAX;

fn from(source: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, source as u8])
}

/// Runs on a thread of its own, as a worker does.
fn run<F: Future<Output = ()>>(work: impl FnOnce(Rc<Lanes>, Log) -> F) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_unpark(looked)
        .build_local(LocalOptions::default())
        .unwrap();
    let (lanes, log) = (Rc::new(Lanes::default()), Log::default());
    runtime.block_on(async {
        spawn_local(ferry(Rc::clone(&lanes)));
        work(Rc::clone(&lanes), Rc::clone(&log)).await;
    });
    lanes.let_go();
    log.take()
}

/// So many steps, each noted, and each so long.
async fn busy(turn: Rc<Turn>, source: usize, steps: usize, long: Duration, log: Log) {
    let mut waiting = Waiting::default();
    for _ in 0..steps {
        poll_fn(|cx| {
            turn.poll(&mut waiting, cx, |_| {
                log.borrow_mut().push(source);
                let start = Instant::now();
                while start.elapsed() < long {}
                Poll::Ready(())
            })
        })
        .await;
        // Another task of its connection is ready too.
        others_in_the_queue().await;
    }
}

/// A visitor that waits so many times for something to come, which is there when it has waited.
async fn visit(turn: Rc<Turn>, times: usize, log: Log) {
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut near = UnixStream::from_std(near).unwrap();
    // Not filled by what comes, so that the next read waits for the system to say that there is more.
    let room = &mut [0; 8];
    let visiting = async {
        for _ in 0..times {
            far.write_all(b"x").unwrap();
            assert_eq!(near.read(room).await.unwrap(), 1);
            log.borrow_mut().push(VISITOR);
        }
    };
    turn.take(std::pin::pin!(visiting)).await;
}

/// How much was done between two entries of the visitor, the least first.
fn waits(log: &[usize]) -> Vec<usize> {
    let times = log.iter().filter(|entry| **entry == VISITOR).count();
    // What comes after its last one keeps it from nothing.
    let mut waits: Vec<usize> = log.split(|entry| *entry == VISITOR).take(times).map(<[usize]>::len).collect();
    waits.sort_unstable();
    waits
}

/// However many sources have however much to do on however many connections: a visitor waits with nearly each hop for the
/// turn of one of them, and with some for what each may do before it waits itself.
#[test]
fn who_has_little_to_do_waits_for_little() {
    const TIMES: usize = 50;
    const STEPS: usize = 5;
    let step = LANE_TURN_TIME / STEPS as u32;
    for (whose, sources, connections, tasks) in [
        ("visitors", 1, 1, 300),
        ("visitors", 1, 300, 1),
        ("visitors", 3, 60, 3),
        ("visitors", 10, 60, 1),
        ("origins", 1, 300, 1),
        ("origins", 3, 60, 1),
    ] {
        let log = run(async |lanes, log| {
            let turn_of = |number| match whose {
                "origins" => lanes.turn_to_origin(ZoneId::from_bytes([number as u8; 16])),
                _ => lanes.turn_of(from(number)),
            };
            let steps = 3_000 / (sources * connections * tasks) + 5;
            let visitor = lanes.turn_of(from(200));
            // It has come before, so that no source takes itself to be alone.
            visitor.take(std::pin::pin!(async {})).await;
            let another = lanes.turn_of(from(201));
            another.take(std::pin::pin!(async {})).await;
            let mut all = Vec::new();
            for number in 0..sources * connections {
                let (turn, source) = (turn_of(number % sources), number % sources);
                for _ in 0..tasks {
                    all.push(spawn_local(busy(Rc::clone(&turn), source, steps, step, Rc::clone(&log))));
                }
            }
            spawn_local(visit(visitor, TIMES, Rc::clone(&log))).await.unwrap();
            for task in all {
                task.await.unwrap();
            }
            assert_eq!(log.borrow().len(), sources * connections * tasks * steps + TIMES, "all is done");
        });
        let (waits, turn) = (waits(&log), STEPS + 1);
        let what = format!("{whose}: {sources} sources, {connections} connections, {tasks} tasks: {waits:?}");
        assert!(waits[TIMES * 9 / 10] <= 2 * turn, "{what}");
        assert!(waits[TIMES - 1] <= (3 * sources + 6) * turn, "{what}");
    }
}

/// Whoever waits for a look, it is one.
#[test]
fn a_look_is_counted_once() {
    const TIMES: u32 = 10;
    run(async |_, _| {
        let before = looks();
        let all: Vec<_> = (0..5)
            .map(|_| {
                spawn_local(async {
                    for _ in 0..TIMES {
                        look().await;
                    }
                })
            })
            .collect();
        for task in all {
            task.await.unwrap();
        }
        assert_eq!(looks().wrapping_sub(before), TIMES);
    });
}

/// While the answer to a request is likely to come, no turn of those that wait is begun, however long it took to send the
/// request on, and whoever else's request ends.
#[test]
fn an_answer_is_waited_for() {
    const TIMES: usize = 50;
    let log = run(async |lanes, log| {
        let mut all = Vec::new();
        for number in 0..60 {
            let (turn, source) = (lanes.turn_of(from(number % 3)), number % 3);
            all.push(spawn_local(busy(turn, source, 400, SOURCE_TIME, Rc::clone(&log))));
        }
        let (visitor, other) = (lanes.turn_of(from(200)), lanes.turn_of(from(0)));
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut near = UnixStream::from_std(near).unwrap();
        // Not filled by what comes, so that the next read waits for the system to say that there is more.
        let room = &mut [0; 8];
        let asking = async {
            for _ in 0..TIMES {
                // What came so far waits in the lanes.
                far.write_all(b"?").unwrap();
                assert_eq!(near.read(room).await.unwrap(), 1);
                visitor.begin_request();
                let start = Instant::now();
                while start.elapsed() < HOLD_TIME {}
                other.end_request();
                log.borrow_mut().push(VISITOR);
                far.write_all(b"!").unwrap();
                assert_eq!(near.read(room).await.unwrap(), 1);
                log.borrow_mut().push(VISITOR);
                visitor.end_request();
            }
        };
        visitor.take(std::pin::pin!(asking)).await;
        for task in all {
            task.abort();
        }
    });
    let times: Vec<usize> = log.iter().enumerate().filter(|(_, entry)| **entry == VISITOR).map(|(at, _)| at).collect();
    let undisturbed = times.chunks(2).filter(|pair| pair[0] + 1 == pair[1]).count();
    // The system may have run something else meanwhile.
    assert!(undisturbed > TIMES / 2, "{undisturbed} of {TIMES}");
}

/// A source that is alone is in nobody's way: its connections have turns of their own.
#[test]
fn a_connection_of_many_streams_does_not_hold_up_another() {
    let log = run(async |lanes, log| {
        let (one, other) = (lanes.turn_of(from(1)), lanes.turn_of(from(1)));
        let all: Vec<_> = (0..8 * TURN_STEPS)
            .map(|_| spawn_local(busy(Rc::clone(&one), 1, 2, Duration::from_micros(5), Rc::clone(&log))))
            .collect();
        spawn_local(visit(other, 3, Rc::clone(&log))).await.unwrap();
        for task in all {
            task.await.unwrap();
        }
    });
    let waits = waits(&log);
    assert!(waits.iter().all(|wait| *wait <= 3 * TURN_STEPS as usize), "{waits:?}");
}

/// Connections of a source take turns, and so do sources, however many connections one of them has.
#[test]
fn all_take_turns() {
    let log = run(async |lanes, log| {
        let mut all = Vec::new();
        for (source, connections) in [(1, 50), (2, 1)] {
            for _ in 0..connections {
                let (turn, log) = (lanes.turn_of(from(source)), Rc::clone(&log));
                all.push(spawn_local(busy(turn, source, 40, LANE_TURN_TIME, log)));
            }
        }
        for task in all {
            task.await.unwrap();
        }
    });
    let last_of_few = log.iter().rposition(|source| *source == 2).unwrap();
    let of_many = log[..last_of_few].iter().filter(|source| **source == 1).count();
    // A step is a turn: it would be one for one, if the system let this thread never wait, and without turns fifty.
    assert!(of_many <= 10 * 40, "{of_many}");
}

/// One source after the other is not two at a time: who comes when the last one has left is alone, and so is the first.
#[test]
fn who_comes_after_another_is_alone() {
    run(async |lanes, _| {
        for number in [1, 2, 2, 1] {
            lanes.turn_of(from(number)).take(std::pin::pin!(async {})).await;
            assert!(!lanes.is_shared(), "{number}");
        }
        let (one, _stays) = (lanes.turn_of(from(1)), lanes.turn_of(from(2)));
        one.take(std::pin::pin!(async {})).await;
        assert!(!lanes.is_shared(), "the other has done nothing");
        lanes.turn_of(from(3)).take(std::pin::pin!(async {})).await;
        assert!(lanes.is_shared());
    });
}

/// As many small steps of different connections as fit are one turn: the worker does not look what came after each.
#[test]
fn small_steps_share_a_turn() {
    const STEPS: usize = 100;
    run(async |lanes, log| {
        let all: Vec<_> = (0..60)
            .map(|number| {
                let turn = lanes.turn_of(from(number % 3));
                spawn_local(busy(turn, number % 3, STEPS, Duration::ZERO, Rc::clone(&log)))
            })
            .collect();
        for task in all {
            task.await.unwrap();
        }
        let (rounds, steps) = (lanes.rounds.get(), 60 * STEPS as u32);
        // Some go on without a turn.
        assert!(rounds > 0 && rounds < steps / 3, "{rounds} turns, {steps} steps");
    });
}

/// What takes as long as a turn has one, though there was time left in that of what came before it.
#[test]
fn a_long_step_has_a_turn_of_its_own() {
    let log = run(async |lanes, log| {
        let [short, long, other] = [1, 1, 2].map(|number| lanes.turn_of(from(number)));
        for turn in [&short, &other] {
            turn.take(std::pin::pin!(async {})).await;
        }
        let lane = lanes.by_source.borrow()[&SourceKey::widest(from(1))].upgrade().unwrap();
        lane.slow_down();
        let note = |log: &Log, lanes: &Lanes| log.borrow_mut().push(lanes.rounds.get() as usize);
        let (its_log, its_lanes) = (Rc::clone(&log), Rc::clone(&lanes));
        let first = spawn_local(async move { short.take(std::pin::pin!(async { note(&its_log, &its_lanes) })).await });
        let (its_log, its_lanes) = (Rc::clone(&log), Rc::clone(&lanes));
        let second = spawn_local(async move {
            let work = async {
                note(&its_log, &its_lanes);
                long.next().await;
                note(&its_log, &its_lanes);
            };
            long.take(std::pin::pin!(work)).await;
        });
        first.await.unwrap();
        second.await.unwrap();
    });
    assert!(log.len() == 3 && log[1] < log[2], "{log:?}");
}

/// Many sources that each do little keep who comes next from no more than one that does much: from some of that on they wait.
#[test]
fn many_sources_have_no_more_than_one() {
    run(async |lanes, log| {
        let turns: Vec<_> = (0..8).map(|number| lanes.turn_of(from(number))).collect();
        for turn in &turns[..2] {
            turn.take(std::pin::pin!(async {})).await;
        }
        let step = 2 * SOURCE_TIME_LEAST;
        let all: Vec<_> = (0..)
            .zip(&turns)
            .map(|(source, turn)| spawn_local(busy(Rc::clone(turn), source, 2, step, Rc::clone(&log))))
            .collect();
        for task in all {
            task.await.unwrap();
        }
        assert!(lanes.rounds.get() > 0, "none of them waited");
    });
}

/// What has ended while it waited is in nobody's way, and what is left behind of a source is forgotten.
#[test]
fn what_has_ended_does_not_wait() {
    run(async |lanes, log| {
        let turn = lanes.turn_of(from(1));
        let start = |steps| spawn_local(busy(Rc::clone(&turn), 1, steps, Duration::ZERO, Rc::clone(&log)));
        let ended: Vec<_> = (0..4 * TURN_STEPS).map(|_| start(1_000_000)).collect();
        let goes_on = start(3);
        tokio::task::yield_now().await;
        ended.iter().for_each(|task| task.abort());
        goes_on.await.unwrap();
        for task in ended {
            assert!(task.await.unwrap_err().is_cancelled());
        }
        drop(turn);
        while !lanes.waiting.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(lanes.by_source.borrow().is_empty());
    });
}

/// What work holds that is over before its end is let go in the time of its source.
#[test]
fn what_is_let_go_takes_time() {
    struct Heavy;
    impl Drop for Heavy {
        fn drop(&mut self) {
            let start = Instant::now();
            while start.elapsed() < SOURCE_TIME {}
        }
    }
    run(async |lanes, _| {
        let (one, other) = (lanes.turn_of(from(1)), lanes.turn_of(from(2)));
        // The clock is looked at while there are two.
        other.take(std::pin::pin!(async {})).await;
        let heavy = Heavy;
        let work = Box::pin(async move {
            let _heavy = heavy;
            std::future::pending().await
        });
        Rc::clone(&one).take_unless(work, |_| Poll::Ready(())).await;
        let used = lanes.by_source.borrow()[&SourceKey::widest(from(1))].upgrade().unwrap().used.time.get();
        assert!(used >= SOURCE_TIME / 2, "{used:?}");
    });
}

/// Does so many steps of so long, each when it is polled; counts all of them. As the library's drivers do, it calls itself.
async fn driver(steps: usize, long: Duration, all: Arc<AtomicUsize>) {
    for _ in 0..steps {
        let start = Instant::now();
        while start.elapsed() < long {}
        all.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

/// What the library does for a source with many connections keeps others from nothing, either.
#[test]
fn drivers_of_quic_take_turns() {
    const TIMES: usize = 50;
    const CONNECTIONS: usize = 300;
    const STEPS: usize = 5;
    let step = LANE_TURN_TIME / STEPS as u32;
    let all = Arc::new(AtomicUsize::new(0));
    let log = run(async |lanes, log| {
        let visitor = lanes.turn_of(from(200));
        visitor.take(std::pin::pin!(async {})).await;
        let inboxes = Inboxes::new(1_000, || ());
        let turns: Vec<_> = (0..CONNECTIONS).map(|_| lanes.turn_of(from(0))).collect();
        for turn in &turns {
            let work = Box::pin(driver(20, step, Arc::clone(&all)));
            inboxes.accept((from(0), 1).into(), ConnectionId::new(&[]), || in_turns(turn, || Driving.spawn(work)));
        }
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut near = UnixStream::from_std(near).unwrap();
        let room = &mut [0; 8];
        let visiting = async {
            for _ in 0..TIMES {
                let before = all.load(Ordering::Relaxed);
                far.write_all(b"x").unwrap();
                assert_eq!(near.read(room).await.unwrap(), 1);
                log.borrow_mut().push(all.load(Ordering::Relaxed) - before);
            }
        };
        visitor.take(std::pin::pin!(visiting)).await;
        assert!(all.load(Ordering::Relaxed) < CONNECTIONS * 20, "they were not done before");
        while all.load(Ordering::Relaxed) < CONNECTIONS * 20 {
            tokio::task::yield_now().await;
        }
    });
    let mut waits = log;
    waits.sort_unstable();
    let turn = STEPS + 1;
    assert!(waits[TIMES * 9 / 10] <= 2 * turn && waits[TIMES - 1] <= 9 * turn, "{waits:?}");
}
