//! A connection over HTTP/2 to an origin that many requests share: what one does to the others.

use std::io::{Read, Write};
use std::net::TcpStream as Blocking;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bartizan_plane_http::Limits;
use http::Request;
use hyper::body::Body;

use super::edge::{Edge, STUCK, origin_at, status};
use super::frames::{
    Client, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
    request,
};
use super::http2_origin::{Liar, Library, OK, Speaks, for_stream, full, h2c, head, hosts, said};
use super::origin::Origin;
use super::protocols::{Outgoing, dial_h2, read_body, run};

/// Many at once share one connection, also those that came before it was there; another host has its own.
#[test]
fn one_connection_for_many_requests() {
    let edge = Edge::start(&[]);
    let origin = Library::start(Speaks::Tls(hosts(&edge.ca), &[b"h2", b"http/1.1"]), |head, _| {
        said(head.split([' ', '\r']).nth(1).unwrap().to_owned())
    });
    let sites = ["a.test", "b.test"].map(|host| (host, origin_at(origin.address), full()));
    edge.publish(&sites);
    for (host, connections) in [("a.test", 1), ("a.test", 1), ("b.test", 2)] {
        run(async {
            let sender = dial_h2(&edge, host).await;
            let asking = (0..100).map(|number| {
                let mut sender = sender.clone();
                async move {
                    let uri = format!("https://{host}/{number}");
                    let request = Request::builder().uri(&uri).body(Outgoing::of(0)).unwrap();
                    let answer = sender.send_request(request).await.unwrap();
                    assert_eq!(read_body(answer.into_body()).await.unwrap(), uri.as_bytes());
                }
            });
            futures_util::future::join_all(asking).await;
        });
        assert_eq!(origin.connections(), connections, "{host}");
    }
}

/// Large bodies both ways, with no length said, and whole: on a connection each, for none waits for another's window.
#[test]
fn large_bodies() {
    let origin = Library::start(Speaks::H2c, |_, body| said(body));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let sender = dial_h2(&edge, "a.test").await;
        let asking = (0..4).map(|_| {
            let mut sender = sender.clone();
            async move {
                let request = Request::builder().method("POST").uri("https://a.test/").body(Outgoing::of(3_000_000));
                let answer = sender.send_request(request.unwrap()).await.unwrap();
                read_body(answer.into_body()).await.unwrap()
            }
        });
        for body in futures_util::future::join_all(asking).await {
            assert_eq!(body.len(), 3_000_000);
            let mut at = 0;
            while at < body.len() {
                let piece = super::origin::pattern_at(at as u64);
                let piece = &piece[..piece.len().min(body.len() - at)];
                assert_eq!(&body[at..at + piece.len()], piece);
                at += piece.len();
            }
        }
    });
    assert!((1..=4).contains(&origin.connections()));
}

/// Who takes nothing of its answers holds up nobody else on the same connection to the origin.
#[test]
fn who_takes_nothing_holds_up_nobody() {
    let origin = Library::start(Speaks::H2c, |_, _| said(vec![b'x'; 8_000_000]));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut slow = Client::begin(&edge, "a.test", &[]).await;
        let asked: Vec<u8> = (0..100).flat_map(|number| get(2 * number + 1, "a.test")).collect();
        slow.send(&asked).await;
        for _ in 0..100 {
            slow.next_of(&[HEADERS]).await.unwrap();
        }
        // More than the window of the connection to the origin waits for it now.
        let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
        let answer = dial_h2(&edge, "a.test").await.send_request(request).await.unwrap();
        assert_eq!(read_body(answer.into_body()).await.unwrap().len(), 8_000_000);
    });
    assert_eq!(origin.connections(), 1);
}

/// A crowd that comes to an origin which nobody knows: as many connections as its limit of streams asks for, and no more.
#[test]
fn a_crowd_of_first_requests() {
    const CROWD: usize = 40;
    for (streams, most) in [(None, 1), (Some(10_u32), 4), (Some(1), CROWD)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let origin = Origin::raw(move |mut stream| {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).unwrap();
            let settings = streams.map(|most| [&[0, 3], &most.to_be_bytes()[..]].concat()).unwrap_or_default();
            stream.write_all(&frame(SETTINGS, 0, 0, &settings)).unwrap();
            let mut liar = Liar { stream };
            let (mut open, mut held) = (0, Vec::new());
            while let Some(heard) = liar.next_of(HEADERS) {
                open += 1;
                assert!(open <= streams.unwrap_or(100));
                count.fetch_add(1, Ordering::SeqCst);
                held.extend(frame(HEADERS, END_HEADERS | END_STREAM, heard.stream, &block(&[OK])));
                // Nobody is answered before all have asked.
                let mut other = Liar { stream: liar.stream.try_clone().unwrap() };
                let (count, answer) = (Arc::clone(&count), std::mem::take(&mut held));
                std::thread::spawn(move || {
                    let start = std::time::Instant::now();
                    while count.load(Ordering::SeqCst) < CROWD && start.elapsed() < STUCK {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    other.send(&answer);
                });
            }
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
        run(async {
            let sender = dial_h2(&edge, "a.test").await;
            let asking = (0..CROWD).map(|_| {
                let mut sender = sender.clone();
                async move {
                    let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
                    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
                }
            });
            futures_util::future::join_all(asking).await;
        });
        assert_eq!(origin.connections(), most, "{streams:?}");
    }
}

/// An origin that nothing comes of keeps a crowd no longer than one request, and gets one connection.
#[test]
fn a_crowd_does_not_wait_for_long() {
    let origin = Origin::raw(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let limits = Limits { connect_time: std::time::Duration::from_secs(2), ..Limits::default() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), full())], limits);
    let start = std::time::Instant::now();
    run(async {
        let sender = dial_h2(&edge, "a.test").await;
        let asking = (0..20).map(|_| {
            let mut sender = sender.clone();
            async move {
                let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
                sender.send_request(request).await.unwrap().status().as_u16()
            }
        });
        let statuses = futures_util::future::join_all(asking).await;
        assert!(statuses.iter().all(|status| *status == 504), "{statuses:?}");
    });
    assert_eq!(origin.connections(), 1);
    assert!(start.elapsed() < STUCK);
}

/// What nobody reads of one body holds up no other: a large one has a connection for itself, and a small one is sent where all of it has
/// room.
#[test]
fn bodies_do_not_wait_for_each_other() {
    // Gives no window back, and answers what came whole.
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        while let Some(heard) = liar.next() {
            if (heard.kind == DATA || heard.kind == HEADERS) && heard.flags & END_STREAM != 0 {
                liar.send(&frame(HEADERS, END_HEADERS | END_STREAM, heard.stream, &block(&[OK])));
            }
        }
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let sender = dial_h2(&edge, "a.test").await;
        let ask = |body: u64, length: Option<u64>| {
            let mut sender = sender.clone();
            let request = Request::builder().method(if body > 0 { "POST" } else { "GET" }).uri("https://a.test/");
            let request = length.into_iter().fold(request, |request, length| request.header("content-length", length));
            let request = request.body(Outgoing::of(body)).unwrap();
            async move { sender.send_request(request).await.unwrap().status().as_u16() }
        };
        // Two that are stuck, and all that comes behind them.
        let stuck = [ask(200_000, None), ask(200_000, Some(200_000))].map(tokio::task::spawn_local);
        while origin.connections() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        for _ in 0..10 {
            assert_eq!(ask(20_000, Some(20_000)).await, 200);
            assert_eq!(ask(0, None).await, 200);
        }
        assert!(stuck.iter().all(|stuck| !stuck.is_finished()));
    });
    // Three of 20,000 use up the first window of a connection, of which none is given back.
    assert_eq!(origin.connections(), 2 + 4);
}

/// Streams of gRPC share a connection, and go on in both directions while one of them is not read.
#[test]
fn streams_of_grpc_share_a_connection() {
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        // The first is never read; each message of the others is answered by one.
        while let Some(heard) = liar.next() {
            match heard.kind {
                HEADERS => liar.send(&frame(HEADERS, END_HEADERS, heard.stream, &block(&[OK]))),
                DATA if heard.stream > 1 && !heard.payload.is_empty() => {
                    let more = u32::try_from(heard.payload.len()).unwrap().to_be_bytes();
                    liar.send(&frame(WINDOW_UPDATE, 0, 0, &more));
                    liar.send(&frame(WINDOW_UPDATE, 0, heard.stream, &more));
                    liar.send(&frame(DATA, 0, heard.stream, &heard.payload));
                }
                _ => {}
            }
        }
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        let call = block(&request("POST", "a.test", &[("content-type", "application/grpc"), ("te", "trailers")]));
        client.send(&frame(HEADERS, END_HEADERS, 1, &call)).await;
        client.next_of(&[HEADERS]).await.unwrap();
        client.send(&frame(DATA, 0, 1, &[b'x'; 10_000]).repeat(10)).await;
        for number in [3, 5, 7, 9] {
            client.send(&frame(HEADERS, END_HEADERS, number, &call)).await;
            client.next_of(&[HEADERS]).await.unwrap();
        }
        for round in 0..20 {
            for number in [3, 5, 7, 9] {
                client.send(&frame(DATA, 0, number, &[round; 500])).await;
                let mut said = 0;
                while said < 500 {
                    let heard = client.next_of(&[DATA, RST_STREAM]).await.unwrap();
                    assert_eq!((heard.kind, heard.stream), (DATA, number));
                    assert!(heard.payload.iter().all(|byte| *byte == round));
                    said += heard.payload.len();
                }
            }
        }
    });
    assert_eq!(origin.connections(), 1);
}

/// An origin that falls silent is noticed, and what may be repeated is asked of it by another connection; one that is there is waited for.
#[test]
fn origins_that_fall_silent() {
    let limits = Limits {
        origin_silence_time: std::time::Duration::from_secs(2),
        origin_ping_time: std::time::Duration::from_secs(5),
        ..Limits::default()
    };
    let first = std::sync::atomic::AtomicBool::new(true);
    let origin = Origin::raw(move |stream| {
        let is_first = first.swap(false, Ordering::SeqCst);
        let Some(mut liar) = Liar::begin(stream) else { return };
        let answer = |liar: &mut Liar, stream| {
            liar.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[OK])));
        };
        let Some(heard) = liar.next_of(HEADERS) else { return };
        if is_first {
            answer(&mut liar, heard.stream);
            // From now on it is gone, and its connection is not.
            return liar.until_end();
        }
        // It thinks, and says only that it is there.
        let ping = liar.next_of(PING).unwrap();
        liar.send(&frame(PING, 1, 0, &ping.payload));
        answer(&mut liar, heard.stream);
        liar.until_end();
    });
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), h2c())], limits);
    for connections in [1, 2] {
        assert_eq!(status(&edge.get("a.test", "/", "")), "200");
        assert_eq!(origin.connections(), connections);
    }
}

/// Who takes an answer as fast as it comes gets a wider window.
#[test]
fn windows_grow_for_who_takes_them() {
    const LEAST: u64 = 64 * 1024;
    let granted = Arc::new(Mutex::new((0_u64, 0_u64)));
    let note = Arc::clone(&granted);
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        let Some(asked) = liar.next_of(HEADERS) else { return };
        liar.send(&for_stream(asked.stream, &head(0, &[OK])));
        let (mut may, mut sent) = (LEAST, 0);
        loop {
            while sent < may {
                let bytes = (may - sent).min(16_384);
                liar.send(&frame(DATA, 0, asked.stream, &vec![b'x'; bytes as usize]));
                sent += bytes;
            }
            let Some(heard) = liar.next() else { return };
            if heard.kind == WINDOW_UPDATE && heard.stream == asked.stream {
                may += u64::from(u32::from_be_bytes(heard.payload.try_into().unwrap()));
            }
            *note.lock().unwrap() = (sent, may);
        }
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut sender = dial_h2(&edge, "a.test").await;
        let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
        let mut body = sender.send_request(request).await.unwrap().into_body();
        let start = std::time::Instant::now();
        let mut read = 0;
        // What is granted beyond what has been read is the window.
        while granted.lock().unwrap().1 < read + 16 * LEAST {
            assert!(start.elapsed() < STUCK, "{:?} of {read}", granted.lock().unwrap());
            let piece = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
            read += piece.into_data().unwrap().len() as u64;
        }
    });
}

/// However many readers stop after they were quick, each holds what it may and loses nothing, and others go on.
#[test]
fn readers_that_stop_are_within_the_memory() {
    const MEMORY: usize = 4 << 20;
    const WHOLE: usize = 4_000_000;
    let origin = Library::start(Speaks::H2c, |_, _| said(vec![b'x'; WHOLE]));
    let limits = Limits { memory: MEMORY, ..Limits::default() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), h2c())], limits);
    let ask = || {
        let mut client = edge.dial();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        client
    };
    let mut readers: Vec<(Blocking, usize)> = (0..10).map(|_| (ask(), 0)).collect();
    for (client, read) in &mut readers {
        let mut piece = [0; 16 * 1024];
        while *read < 400_000 {
            *read += client.read(&mut piece).unwrap();
        }
    }
    let held = || edge.gauge("bartizan_http_buffer_bytes") as usize;
    let mut all = Vec::new();
    ask().read_to_end(&mut all).unwrap();
    assert!(all.len() > WHOLE, "{} {} {:?}", all.len(), held(), edge.counters());
    assert!(held() <= MEMORY / 2, "{}", held());
    for (client, read) in &mut readers {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(*read + rest.len() > WHOLE, "{}", *read + rest.len());
    }
    assert_eq!(edge.counters().visitors.memory, 0);
    let start = std::time::Instant::now();
    while held() > 0 {
        assert!(start.elapsed() < STUCK, "it comes back");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// What is wrong on one stream ends that alone, and not the others.
#[test]
fn errors_of_streams_are_theirs_alone() {
    let (go, told) = std::sync::mpsc::channel();
    let told = Mutex::new(told);
    // With how often each is asked for: what nothing was done for, what may be repeated, and what has a head that was passed on.
    let faults = [
        ("reset", 2, frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])),
        ("refused", 3, frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])),
        ("data first", 2, frame(DATA, END_STREAM, 1, b"hi")),
        ("no status", 2, head(END_STREAM, &[("x-a", "1")])),
        ("connection fields", 2, head(END_STREAM, &[OK, ("connection", "close")])),
        ("longer than said", 1, [head(0, &[OK, ("content-length", "1")]), frame(DATA, 0, 1, b"hi")].concat()),
        ("shorter than said", 1, [head(0, &[OK, ("content-length", "9")]), frame(DATA, END_STREAM, 1, b"hi")].concat()),
        ("101", 2, head(END_STREAM, &[(":status", "101")])),
        ("interim answers", 2, head(0, &[(":status", "103")]).repeat(20)),
        ("a window that grows by nothing", 2, frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
        ("a window that is too large", 2, frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]).repeat(2)),
        ("trailers that do not end", 1, [head(0, &[OK]), head(0, &[("x-a", "1")])].concat()),
    ];
    let bytes = faults.clone().map(|(_, times, bytes)| (times, bytes));
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        let first = liar.next_of(HEADERS).unwrap();
        liar.send(&for_stream(first.stream, &[head(0, &[OK]), frame(DATA, 0, 1, b"a")].concat()));
        for fault in &bytes {
            for _ in 0..fault.0 {
                let Some(asked) = liar.next_of(HEADERS) else { return };
                liar.send(&for_stream(asked.stream, &fault.1));
            }
        }
        told.lock().unwrap().recv_timeout(STUCK).unwrap();
        liar.send(&for_stream(first.stream, &frame(DATA, END_STREAM, 1, b"b")));
        liar.until_end();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut sender = dial_h2(&edge, "a.test").await;
        let ask = || Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
        let whole = sender.send_request(ask()).await.unwrap();
        for (fault, ..) in &faults {
            let answer = sender.send_request(ask()).await;
            let is_whole = match answer {
                Ok(answer) if answer.status() == 200 => read_body(answer.into_body()).await.is_ok(),
                Ok(answer) => {
                    assert_eq!(answer.status(), 502, "{fault}");
                    false
                }
                Err(_) => false,
            };
            assert!(!is_whole, "{fault}");
        }
        go.send(()).unwrap();
        assert_eq!(read_body(whole.into_body()).await.unwrap(), b"ab");
    });
    assert_eq!(origin.connections(), 1);
}

/// A visitor that gives up is told of to the origin, on that stream alone.
#[test]
fn a_visitor_that_gives_up() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        while let Some(heard) = liar.next() {
            if matches!(heard.kind, HEADERS | RST_STREAM) {
                tell.lock().unwrap().send((heard.kind, heard.stream, heard.payload.len())).unwrap();
            }
            if heard.kind == HEADERS && heard.stream > 1 {
                liar.send(&frame(HEADERS, END_HEADERS | END_STREAM, heard.stream, &block(&[OK])));
            }
        }
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        client.send(&get(1, "a.test")).await;
        assert_eq!(told.recv_timeout(STUCK).map(|(kind, stream, _)| (kind, stream)), Ok((HEADERS, 1)));
        client.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
        assert_eq!(told.recv_timeout(STUCK), Ok((RST_STREAM, 1, 4)));
        client.send(&get(3, "a.test")).await;
        assert_eq!(client.next_of(&[HEADERS]).await.unwrap().payload[0], super::frames::OK);
        assert_eq!(told.recv_timeout(STUCK).map(|(kind, stream, _)| (kind, stream)), Ok((HEADERS, 3)));
    });
    assert_eq!(origin.connections(), 1);
}

/// Who sends without end on a stream that was given up is let go of.
#[test]
fn an_origin_that_does_not_stop() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        let Some(asked) = liar.next_of(HEADERS) else { return };
        liar.send(&for_stream(asked.stream, &head(0, &[OK])));
        let Some(given_up) = liar.next_of(RST_STREAM) else { return };
        let late = frame(DATA, 0, given_up.stream, b"x").repeat(1_000);
        let sent = (0..10_000).find(|_| liar.stream.write_all(&late).is_err());
        tell.lock().unwrap().send(sent.is_some()).unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        client.send(&get(1, "a.test")).await;
        client.next_of(&[HEADERS]).await.unwrap();
        client.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
    });
    assert_eq!(told.recv_timeout(STUCK), Ok(true), "it could send ten million frames");
}

/// What a connection on which nothing is asked would keep, it does not keep: it ends.
#[test]
fn an_origin_that_keeps_something_back() {
    let (whole, rest) = (frame(HEADERS, 0, 1, &block(&[("x-a", "1")])), [b'x'; 3_000]);
    let large = [&16_000_u32.to_be_bytes()[1..], &[DATA, 0, 0, 0, 0, 1], &rest].concat();
    let small = frame(PING, 0, 0, &[0; 8])[..12].to_vec();
    for (what, said, ends) in
        [("a block", whole, true), ("a large frame", large, true), ("a small frame", small, false)]
    {
        let (tell, told) = std::sync::mpsc::channel();
        let tell = Mutex::new(tell);
        let origin = Origin::raw(move |stream| {
            let Some(mut liar) = Liar::begin(stream) else { return };
            let Some(asked) = liar.next_of(HEADERS) else { return };
            // The block is of a stream that the edge gave up: nobody is to blame for what comes late.
            liar.send(&for_stream(asked.stream, &head(0, &[OK])));
            liar.next_of(RST_STREAM);
            liar.send(&for_stream(asked.stream, &said));
            liar.stream.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
            let ended = loop {
                let mut byte = [0];
                match liar.stream.read(&mut byte) {
                    Ok(0) => break true,
                    Ok(_) => {}
                    Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
                }
            };
            tell.lock().unwrap().send(ended).unwrap();
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            client.send(&get(1, "a.test")).await;
            client.next_of(&[HEADERS]).await.unwrap();
            client.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
        });
        assert_eq!(told.recv_timeout(STUCK), Ok(ends), "{what}");
    }
}
