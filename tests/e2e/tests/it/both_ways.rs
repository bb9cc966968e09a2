//! One origin, asked by its address and through a tunnel: neither it nor a visitor sees a difference.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bartizan_e2e::curl::Page;
use bartizan_e2e::{Connector, Edge, wait};

/// How it is asked, what it says, and what a visitor gets: status, stated length, and the body or the code of our page.
const ANSWERS: [(&str, &str, &str); 16] = [
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 2 ok"),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n", "200 - ok"),
    ("GET", "HTTP/1.0 200 OK\r\n\r\nok", "200 - ok"),
    ("GET", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 2 ok"),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "204 - "),
    ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "304 7 "),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "200 7 "),
    ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 - "),
    ("GET", "", "502 origin_broken"),
    ("GET", "SSH-2.0-OpenSSH\r\n", "502 origin_broken"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Le", "502 origin_broken"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "502 origin_broken"),
    ("GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "502 origin_broken"),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "502 origin_broken"),
    // The break may overtake what came before it, where nothing of it was passed on yet.
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "cut"),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "cut"),
];

/// An edge with one origin, the names that lead to it by its address and through a tunnel, and the tunnel's connector.
fn both_ways(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + 'static) -> (Edge, [String; 2], Connector) {
    let edge = Edge::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(serve(stream))));
    let address = edge.proxied("direct", "A", "127.0.0.1", port);
    let behind = format!("behind.{}", edge.domain());
    let connector = Connector::start(&edge, &["--hostname", &behind, &format!("http://127.0.0.1:{port}")]);
    wait::until_eq("the tunnel is there", &200, || edge.try_https(&behind, "/0", &[]).map_or(0, |page| page.status));
    (edge, [address, behind], connector)
}

#[test]
fn answers_are_the_same_by_address_and_through_a_tunnel() {
    let (edge, [address, behind], _connector) = both_ways(say);
    for (number, (method, said, expect)) in ANSWERS.iter().enumerate() {
        for host in [&address, &behind] {
            for version in ["--http1.1", "--http2"] {
                let mut words = vec![version, "--header", "Accept: application/json"];
                if *method == "HEAD" {
                    words.extend(["--head", "--output", "/dev/null"]);
                }
                let got = match edge.try_https(host, &format!("/{number}"), &words) {
                    Ok(page) => seen(&page),
                    Err(_) => "cut".to_owned(),
                };
                let is_cut = *expect == "cut" && got == "502 origin_broken";
                assert!(got == *expect || is_cut, "{said:?} {host} {version}: {got}");
            }
        }
    }
}

fn seen(page: &Page) -> String {
    if page.status == 502 {
        return format!("502 {}", page.json()["error"]["code"].as_str().unwrap_or_default());
    }
    let length = Some(page.header("content-length")).filter(|length| !length.is_empty()).unwrap_or("-");
    format!("{} {length} {}", page.status, page.text())
}

/// Which versions a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Both,
    Http1,
}

type Texts = &'static [&'static str];

/// What is asked by curl; lines that the origin has to see, in lower case, and names of which it must see none. `HOST` is the
/// name that is asked.
const REQUESTS: &[(&str, Over, Texts, Texts, Texts)] = &[
    (
        "RFC 9110 §7.6.1 fields of the connection",
        Over::Http1,
        &["Connection: X-A", "X-A: 1", "Keep-Alive: 5", "Proxy-Connection: x"],
        &["get /x http/1.1", "host: HOST"],
        &["x-a", "keep-alive", "proxy-connection"],
    ),
    ("§7.8 Upgrade", Over::Http1, &["Connection: Upgrade", "Upgrade: h2c"], &["get /x http/1.1"], &["upgrade"]),
    ("§10.1.4 TE", Over::Both, &["TE: trailers"], &["get /x http/1.1"], &["te"]),
    ("§11.7 Proxy-Authorization", Over::Both, &["Proxy-Authorization: Basic eA=="], &[], &["proxy-authorization"]),
    ("RFC 9113 §8.2.3 Cookie", Over::Both, &["Cookie: a=1", "Cookie: b=2"], &["cookie: a=1; b=2"], &[]),
    ("RFC 6265 §8.5 a session with the API", Over::Both, &["Cookie: bartizan=1; a=1"], &["cookie: a=1"], &[]),
    ("RFC 9110 §7.2 host", Over::Both, &["Host: HOST."], &["host: HOST", "x-forwarded-host: HOST"], &[]),
    ("§9.3.7 OPTIONS *", Over::Both, &["--request", "OPTIONS", "--request-target", "*"], &["options * http/1.1"], &[]),
    ("§7.6.2 Max-Forwards", Over::Both, &["--request", "OPTIONS", "Max-Forwards: 5"], &["max-forwards: 4"], &[]),
    ("RFC 8470 §5.1 Early-Data", Over::Both, &["Early-Data: 0"], &["early-data: 1"], &[]),
    ("RFC 8586 CDN-Loop", Over::Both, &["CDN-Loop: b"], &["cdn-loop: b, bartizan"], &[]),
    (
        "RFC 3875 §4.1.18 twins",
        Over::Both,
        &["Transfer_Encoding: chunked", "X_Forwarded_For: 6.6.6.6", "Early_Data: 1", "CDN_Loop: x", "Proxy: x"],
        &[],
        &["transfer_encoding", "x_forwarded_for", "early_data", "cdn_loop", "proxy"],
    ),
    (
        "fields of the edge",
        Over::Both,
        &["X-Forwarded-For: 6.6.6.6", "CF-Connecting-IP: 6.6.6.6", "X-Real-IP: 6.6.6.6", "X-Forwarded-Proto: http"],
        &["x-forwarded-for: 127.0.0.1", "cf-connecting-ip: 127.0.0.1", "x-forwarded-proto: https"],
        &["x-real-ip"],
    ),
    (
        "§8.6 a length",
        Over::Both,
        &["--data", "hello"],
        &["post /x http/1.1", "content-length: 5", "hello"],
        &["expect"],
    ),
    ("§8.6 a length of nothing", Over::Both, &["--request", "POST", "Content-Length: 0"], &["content-length: 0"], &[]),
    (
        "RFC 9112 §7.1 chunks",
        Over::Http1,
        &["Transfer-Encoding: chunked", "--data", "hello"],
        &["transfer-encoding: chunked", "hello"],
        &["content-length"],
    ),
    (
        "RFC 9110 §10.1.1 Expect",
        Over::Http1,
        &["Expect: 100-continue", "--data", "hello"],
        &["content-length: 5", "hello"],
        &["expect"],
    ),
];

/// And what the edge answers itself.
const ANSWERED: &[(&str, Texts, u16)] = &[
    ("RFC 9110 §9.3.8 TRACE", &["--request", "TRACE"], 405),
    ("§7.6.2 the last hop", &["--request", "OPTIONS", "Max-Forwards: 0"], 200),
    ("RFC 8586 a loop", &["CDN-Loop: bartizan, bartizan, bartizan, bartizan"], 508),
];

/// Words of curl, of which those with a colon are fields.
fn words<'w>(asked: &'w [String]) -> Vec<&'w str> {
    let word = |word: &'w String| match word.contains(": ") {
        true => vec!["--header", word],
        false => vec![word.as_str()],
    };
    asked.iter().flat_map(word).collect()
}

/// RFC 9110 §7 and RFC 9113 §8, as the origin sees it: with each version of the visitor, either way.
#[test]
fn requests_are_the_same_by_address_and_through_a_tunnel() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let (edge, hosts, _connector) = both_ways(move |stream| {
        count.fetch_add(1, Ordering::SeqCst);
        show(stream)
    });
    for (rule, over, asked, there, gone) in REQUESTS {
        for host in &hosts {
            let named = |text: &&str| text.replace("HOST", host);
            let asked: Vec<String> = asked.iter().map(named).collect();
            for version in ["--http1.1", "--http2"] {
                if *over == Over::Http1 && version != "--http1.1" {
                    continue;
                }
                let page = edge.try_https(host, "/x", &[&[version], &words(&asked)[..]].concat());
                let page = page.unwrap_or_else(|error| panic!("{rule} {host} {version}: {error}"));
                let lines = lines_of(&page.text().to_ascii_lowercase());
                for line in there.iter().map(named) {
                    assert!(lines.contains(&line), "{rule} {host} {version}: no {line} in {lines:#?}");
                }
                for name in *gone {
                    let is_there = lines.iter().any(|line| line.starts_with(&format!("{name}:")));
                    assert!(!is_there, "{rule} {host} {version}: {name} in {lines:#?}");
                }
            }
        }
    }
    let before = seen.load(Ordering::SeqCst);
    for (rule, asked, expect) in ANSWERED {
        let asked: Vec<String> = asked.iter().map(|word| (*word).to_owned()).collect();
        for (host, version) in hosts.iter().flat_map(|host| ["--http1.1", "--http2"].map(|version| (host, version))) {
            let page = edge.try_https(host, "/x", &[&[version], &words(&asked)[..]].concat());
            assert_eq!(page.map(|page| page.status), Ok(*expect), "{rule} {host} {version}");
        }
    }
    assert_eq!(seen.load(Ordering::SeqCst), before, "none of these goes on");
}

/// What the origin saw. Lines of `Cookie` are one, as a connector makes them (RFC 9110 §5.3 would have a comma).
fn lines_of(head: &str) -> Vec<String> {
    let (cookies, mut lines): (Vec<&str>, Vec<&str>) = head.lines().partition(|line| line.starts_with("cookie: "));
    let cookies: Vec<&str> = cookies.iter().filter_map(|line| line.split_once(": ")).map(|(_, value)| value).collect();
    let cookie = format!("cookie: {}", cookies.join("; "));
    lines.extend((!cookies.is_empty()).then_some(cookie.as_str()));
    lines.into_iter().map(str::to_owned).collect()
}

/// Says what it was asked, head and body, and ends.
fn show(mut stream: TcpStream) -> std::io::Result<()> {
    let mut asked = read_head(&mut stream)?;
    let head = String::from_utf8_lossy(&asked).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    match length {
        Some(length) => (&mut stream).take(length).read_to_end(&mut asked).map(drop)?,
        None if head.contains("transfer-encoding: chunked") => {
            while !asked.ends_with(b"0\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                asked.push(byte[0]);
            }
        }
        None => {}
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", asked.len())?;
    stream.write_all(&asked)
}

fn read_head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// Says what the path asks for, and ends.
fn say(mut stream: TcpStream) -> std::io::Result<()> {
    let head = read_head(&mut stream)?;
    let head = String::from_utf8_lossy(&head);
    let number = head.split(' ').nth(1).and_then(|path| path.trim_start_matches('/').parse::<usize>().ok());
    let answer = number.and_then(|number| ANSWERS.get(number));
    stream.write_all(answer.map_or("", |(_, said, _)| said).as_bytes())
}
