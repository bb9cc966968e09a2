//! One process after another under one name. A test runs itself again as the process that is killed or replaced.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::{env, io, thread};

use bartizan_plane_bpf::{Setup, Steering, Workers};

use crate::lab::{Lab, PATIENCE, answer_tcp, claim, dial, in_namespace, prefixes};

/// In the environment of such a process: where it pins.
const PIN: &str = "BARTIZAN_TEST_PIN";

/// The application that everybody serves.
const APPLICATION: &str = "127.77.0.9:4242";

const READY: &str = "ready";

/// The process: steers the application to a socket until it is told to stop.
fn serve(pin: &str, listener: TcpListener, mut told: impl Read) {
    let workers = Workers { tcp: &[listener.try_clone().unwrap()], udp: &[] };
    let pools = prefixes(&["127.77.0.0/16"]);
    let setup = Setup { pin: pin.as_ref(), workers, pools: &pools, skip: &[] };
    let steering = Steering::attach(&setup, &[claim("127.77.0.9/32 tcp 4242")]).unwrap();
    answer_tcp("process", listener);
    println!("{READY}");
    // What the last connection is owed has been sent, as far as this test can tell: it waits for each answer.
    told.read_to_end(&mut Vec::new()).unwrap();
    println!("{:?}", steering.detach().unwrap());
}

/// Such a process, and what it prints.
type Process = (Child, BufReader<ChildStdout>);

fn start(lab: &Lab, test: &str, stdin: Stdio) -> Process {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PIN, lab.pin())
        .stdin(stdin)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut output, READY);
    (child, output)
}

fn wait_for(output: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the process ended before it said {text:?}");
    }
}

/// Connects again and again while `work` runs; gives what it was told instead of a connection, and the connections that
/// were answered in full.
fn connecting(work: impl FnOnce(&AtomicU32)) -> (Vec<io::Error>, u32) {
    let (over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let to: SocketAddr = APPLICATION.parse().unwrap();
    let refusals = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut refusals = Vec::new();
            while !over.load(Ordering::Relaxed) {
                match TcpStream::connect_timeout(&to, PATIENCE) {
                    Ok(mut stream) => {
                        stream.set_read_timeout(Some(PATIENCE)).unwrap();
                        let mut text = String::new();
                        // One that a killed process had accepted already ends without an answer.
                        let _ = stream.read_to_string(&mut text);
                        answered.fetch_add(u32::from(text == format!("process {to}")), Ordering::Relaxed);
                    }
                    Err(error) => refusals.push(error),
                }
            }
            refusals
        });
        // Also after a failed assertion, lest the client goes on for ever.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&answered)));
        over.store(true, Ordering::Relaxed);
        let refusals = client.join().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        refusals
    });
    (refusals, answered.into_inner())
}

fn wait_for_more(answered: &AtomicU32, more: u32) {
    let until = answered.load(Ordering::Relaxed) + more;
    while answered.load(Ordering::Relaxed) < until {
        thread::yield_now();
    }
}

/// The sockets are held by somebody who lives on, as a service manager does.
#[test]
fn a_killed_process_is_replaced_without_a_refusal() {
    const TEST: &str = "restart::a_killed_process_is_replaced_without_a_refusal";
    if let Ok(pin) = env::var(PIN) {
        let held = io::stdin().as_fd().try_clone_to_owned().unwrap();
        return serve(&pin, TcpListener::from(held), io::repeat(0).take(0).chain(Never));
    }
    in_namespace(|lab| {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let inherited = || Stdio::from(OwnedFd::from(held.try_clone().unwrap()));
        let (mut first, _output) = start(lab, TEST, inherited());
        let (refusals, answered) = connecting(|answered| {
            for _ in 0..3 {
                wait_for_more(answered, 100);
                first.kill().unwrap();
                first.wait().unwrap();
                assert!(lab.pin().exists(), "the pin is gone");
                let (next, _output) = start(lab, TEST, inherited());
                first = next;
            }
            wait_for_more(answered, 100);
        });
        assert!(refusals.is_empty() && answered >= 400, "{answered} answered, {} not: {refusals:?}", refusals.len());
        first.kill().unwrap();
        first.wait().unwrap();
        // Nobody serves, but nobody else gets what is claimed.
        let _everywhere = TcpListener::bind("0.0.0.0:4242").unwrap();
        drop(held);
        assert_eq!(dial(&format!("tcp {APPLICATION}")), "ConnectionRefused");
    });
}

/// Says nothing and never ends.
struct Never;

impl Read for Never {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        loop {
            thread::park();
        }
    }
}

/// Each process has a socket of its own; the next one starts before the last is told to go.
#[test]
fn an_upgrade_is_not_noticed() {
    const TEST: &str = "restart::an_upgrade_is_not_noticed";
    if let Ok(pin) = env::var(PIN) {
        return serve(&pin, TcpListener::bind("127.0.0.1:0").unwrap(), io::stdin());
    }
    in_namespace(|lab| {
        let mut process = start(lab, TEST, Stdio::piped());
        let (refusals, answered) = connecting(|answered| {
            for _ in 0..3 {
                wait_for_more(answered, 100);
                let next = start(lab, TEST, Stdio::piped());
                // All that the old one had accepted is answered by now: the client has one connection at a time.
                wait_for_more(answered, 2);
                stop(&mut process, "Superseded");
                assert!(lab.pin().exists(), "the old process took the new one's pin with it");
                process = next;
            }
            wait_for_more(answered, 100);
        });
        assert!(refusals.is_empty() && answered >= 400, "{answered} answered, {} not: {refusals:?}", refusals.len());
        stop(&mut process, "Gone");
        assert!(!lab.pin().exists());
        assert_eq!(dial(&format!("tcp {APPLICATION}")), "ConnectionRefused");
    });
}

/// The end of its input tells it to stop.
fn stop((process, output): &mut Process, expect: &str) {
    drop(process.stdin.take());
    wait_for(output, expect);
    output.read_to_end(&mut Vec::new()).unwrap();
    assert!(process.wait().unwrap().success());
}
