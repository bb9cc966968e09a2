//! A mail server that says what it is told to, and what becomes of a mail.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bartizan_names::{AccountId, OriginHost, PoolId, Timestamp};
use bartizan_notify::{Given, Secrecy, Settings, start};
use bartizan_observed::{Measured, NodeSeen, NodeTurn, PoolQuery, PoolSeen, PoolTurn};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Far more than anything takes.
const STUCK: Duration = Duration::from_secs(60);

struct Turns(Mutex<Vec<PoolTurn>>);

impl PoolQuery for Turns {
    fn pool(&self, _: PoolId) -> Option<PoolSeen> {
        None
    }

    fn take_turns(&self) -> (Vec<PoolTurn>, u64) {
        (std::mem::take(&mut *self.0.lock().unwrap()), 0)
    }
}

fn turn() -> PoolTurn {
    let at = Timestamp::from_unix_micros(1_800_000_000_000_000);
    let turn = NodeTurn { at, node: "one".to_owned(), healthy: false, reason: "the status is 500".to_owned() };
    PoolTurn { account: AccountId::from_bytes([1; 16]), pool: PoolId::from_bytes([2; 16]), turn, well: 1, nodes: 2 }
}

/// What a server answers to a command that begins like this; before all others to the connection itself. Nothing ends the
/// connection; so does what ends with `!`, once it is said.
type Script = &'static [(&'static str, &'static str)];

const GOOD: Script = &[
    ("", "220 here"),
    ("EHLO", "250-here\r\n250 SIZE"),
    ("MAIL", "250 ok"),
    ("RCPT", "250 ok"),
    ("DATA", "354 go on"),
    (".", "250 taken"),
    ("RSET", "250 ok"),
    ("QUIT", "221 bye"),
];

/// A server by `script`, and behind it by [`GOOD`]; gives its port and what it is told.
fn server(script: Script) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let told = Arc::<Mutex<Vec<String>>>::default();
    let tells = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let find = |line: &str| {
                let all = script.iter().chain(GOOD);
                all.into_iter()
                    .find(|(begin, _)| if begin.is_empty() { line.is_empty() } else { line.starts_with(begin) })
            };
            let say = |stream: &mut std::net::TcpStream, line: &str| match find(line) {
                Some((_, "")) | None => false,
                Some((_, answer)) if answer.ends_with('!') => {
                    drop(stream.write_all(format!("{answer}\r\n").as_bytes()));
                    false
                }
                Some((_, answer)) => stream.write_all(format!("{answer}\r\n").as_bytes()).is_ok(),
            };
            if !say(&mut stream, "") {
                continue;
            }
            let (mut in_data, lines) = (false, BufReader::new(stream.try_clone().unwrap()).lines());
            for line in lines.map_while(Result::ok) {
                tells.lock().unwrap().push(line.clone());
                if in_data && line != "." {
                    continue;
                }
                in_data = line == "DATA" && find("DATA").is_some_and(|(_, answer)| answer.starts_with('3'));
                if !say(&mut stream, &line) {
                    break;
                }
            }
        }
    });
    (port, told)
}

fn count(counters: &dyn Measured, outcome: &str) -> u64 {
    let metrics = counters.measure();
    let samples = metrics.iter().filter(|metric| metric.name == "bartizan_mails").flat_map(|metric| &metric.samples);
    samples.filter(|sample| sample.labels.iter().any(|(_, value)| value == outcome)).map(|sample| sample.value).sum()
}

fn settings(port: u16) -> Settings {
    Settings {
        host: OriginHost::Address([127, 0, 0, 1].into()),
        port,
        secrecy: Secrecy::None,
        from: "edge@example.com".to_owned(),
        credentials: None,
        roots: None,
    }
}

/// Sends one mail to a server; gives what it was told until the mail came to this.
fn sent(settings: Settings, told: &Mutex<Vec<String>>, outcome: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let who = |_, _| Some(("web".to_owned(), vec!["ops@example.com".to_owned()]));
        let counters = start(Given {
            settings,
            pools: Arc::new(Turns(Mutex::new(vec![turn()]))),
            who: Arc::new(who),
            dir: dir.path().join("mail"),
            place: "lhr".to_owned(),
            now: Arc::new(|| Timestamp::from_unix_micros(1_800_000_000_000_000)),
        })
        .unwrap();
        let began = Instant::now();
        while count(&*counters, outcome) == 0 {
            assert!(began.elapsed() < STUCK, "never {outcome}: {:?}", told.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let is_mail = |entry: &std::io::Result<std::fs::DirEntry>| {
            entry.as_ref().unwrap().path().extension() == Some("mail".as_ref())
        };
        let waits = std::fs::read_dir(dir.path().join("mail")).unwrap().filter(is_mail).count();
        assert_eq!(waits, usize::from(outcome == "later"), "{outcome}");
        std::mem::take(&mut *told.lock().unwrap())
    })
}

#[test]
fn a_mail_as_it_is_told() {
    let (port, told) = server(&[]);
    let lines = sent(settings(port), &told, "sent");
    assert_eq!(lines[..4], ["EHLO [127.0.0.1]", "MAIL FROM:<edge@example.com>", "RCPT TO:<ops@example.com>", "DATA"]);
    assert!(lines.contains(&"Subject: web: a server is down, 1 of 2 are well".to_owned()), "{lines:?}");
    assert!(lines.contains(&"Date: Fri, 15 Jan 2027 08:00:00 +0000".to_owned()), "{lines:?}");
    assert!(lines.iter().all(|line| line.len() <= 998 && line.is_ascii()));
}

/// One pool, whose servers turned so, and are so.
struct Seen(Mutex<Vec<PoolTurn>>, Vec<NodeSeen>);

impl PoolQuery for Seen {
    fn pool(&self, _: PoolId) -> Option<PoolSeen> {
        Some(PoolSeen { healthy: true, nodes: self.1.clone(), turns: Vec::new() })
    }

    fn take_turns(&self) -> (Vec<PoolTurn>, u64) {
        (std::mem::take(&mut *self.0.lock().unwrap()), 0)
    }
}

/// The text of a mail, from what came behind DATA.
fn text_of(lines: &[String]) -> String {
    let body = lines.iter().skip_while(|line| !line.is_empty()).take_while(|line| *line != ".");
    String::from_utf8(BASE64.decode(body.map(String::as_str).collect::<String>()).unwrap()).unwrap()
}

/// After a start nobody is told again of a server that is still down, and of one that came back meanwhile they are told.
#[test]
fn a_start_tells_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let down = |node: &str| PoolTurn { turn: NodeTurn { node: node.to_owned(), ..turn().turn }, ..turn() };
    let seen = |name: &str, healthy| NodeSeen {
        name: name.to_owned(),
        healthy,
        took: Some(Duration::from_millis(1)),
        ..NodeSeen::default()
    };
    let two = vec![seen("one", false), seen("two", false)];
    for (turns, nodes, expect) in [
        (vec![down("one")], two.clone(), "the server one is down"),
        (vec![down("one"), down("two")], two, "the server two is down"),
        (vec![down("two")], vec![seen("one", true), seen("two", false)], "the server one is well again"),
    ] {
        let (port, told) = server(&[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let counters = start(Given {
                settings: settings(port),
                pools: Arc::new(Seen(Mutex::new(turns), nodes)),
                who: Arc::new(|_, _| Some(("web".to_owned(), vec!["ops@example.com".to_owned()]))),
                dir: dir.path().join("mail"),
                place: "lhr".to_owned(),
                now: Arc::new(|| Timestamp::from_unix_micros(1_800_000_000_000_000)),
            })
            .unwrap();
            let began = Instant::now();
            while count(&*counters, "sent") == 0 {
                assert!(began.elapsed() < STUCK, "never: {expect}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // All of one look were put there at once, each as a mail.
            let text: String = told.lock().unwrap().split(|line| line == "DATA").skip(1).map(text_of).collect();
            assert!(text.matches("the server ").count() == 1 && text.contains(expect), "{text:?}, and not {expect}");
        });
    }
}

#[test]
fn what_a_mail_server_says_decides() {
    let cases: &[(Script, &str)] = &[
        (&[("RCPT", "550 nobody here")], "refused"),
        (&[("MAIL", "553 not you")], "refused"),
        (&[(".", "554 spam")], "refused"),
        (&[("RCPT", "450 busy")], "later"),
        (&[("DATA", "421 going down")], "later"),
        (&[("", "554 go away")], "later"),
        (&[("", "")], "later"),
        (&[("EHLO", "500 what")], "later"),
        (&[("EHLO", "HTTP/1.1 400 Bad Request")], "later"),
        (&[("MAIL", "")], "later"),
    ];
    std::thread::scope(|scope| {
        for (script, outcome) in cases {
            scope.spawn(move || {
                let (port, told) = server(script);
                sent(settings(port), &told, outcome);
            });
        }
    });
}

/// A server that ends the connection with whoever names somebody it does not know, as many do: the mail is refused, once, and
/// those to others arrive, of another account and without a rest.
#[test]
fn one_refusal_stops_no_other() {
    let (port, told) = server(&[("RCPT TO:<nobody", "550 nobody here!")]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let (greedy, other) = (AccountId::from_bytes([1; 16]), AccountId::from_bytes([3; 16]));
        let who = move |account, _| {
            let to = if account == greedy { "nobody@example.com" } else { "ops@example.com" };
            Some(("web".to_owned(), vec![to.to_owned()]))
        };
        let turns = vec![turn(), turn(), PoolTurn { account: other, ..turn() }];
        let began = Instant::now();
        let counters = start(Given {
            settings: settings(port),
            pools: Arc::new(Turns(Mutex::new(turns))),
            who: Arc::new(who),
            dir: dir.path().join("mail"),
            place: "lhr".to_owned(),
            now: Arc::new(|| Timestamp::from_unix_micros(1_800_000_000_000_000)),
        })
        .unwrap();
        while count(&*counters, "sent") + count(&*counters, "refused") < 3 {
            assert!(began.elapsed() < STUCK, "{:?}", told.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let all = ["sent", "refused", "later", "lost"].map(|outcome| count(&*counters, outcome));
        assert_eq!(all, [1, 2, 0, 0], "{:?}", told.lock().unwrap());
    });
}

/// What is to be secret is not said where it would not be.
#[test]
fn nothing_in_clear() {
    let mut hidden = settings(0);
    hidden.credentials = Some(("me".to_owned(), "secret".to_owned()));
    let cases: &[(Secrecy, Script)] = &[
        (Secrecy::StartTls, &[]),
        // What comes behind the answer in clear is not taken for what comes under TLS.
        (Secrecy::StartTls, &[("EHLO", "250-here\r\n250 STARTTLS"), ("STARTTLS", "220 go on\r\n250 AUTH PLAIN")]),
        (Secrecy::StartTls, &[("EHLO", "250-here\r\n250 STARTTLS"), ("STARTTLS", "454 not now")]),
        (Secrecy::Tls, &[]),
        (Secrecy::None, &[]),
    ];
    std::thread::scope(|scope| {
        for (secrecy, script) in cases {
            let hidden = hidden.clone();
            scope.spawn(move || {
                let (port, told) = server(script);
                let lines = sent(Settings { port, secrecy: *secrecy, ..hidden }, &told, "later");
                let is_told = |line: &String| line.starts_with("AUTH") || line.starts_with("MAIL");
                assert!(!lines.iter().any(is_told), "{secrecy:?}: {lines:?}");
            });
        }
    });
}
