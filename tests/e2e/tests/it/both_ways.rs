//! One origin, asked by its address and through a tunnel: a visitor sees no difference.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

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

#[test]
fn answers_are_the_same_by_address_and_through_a_tunnel() {
    let edge = Edge::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(say(stream))));
    let address = edge.proxied("direct", "A", "127.0.0.1", port);
    let behind = format!("behind.{}", edge.domain());
    let _connector = Connector::start(&edge, &["--hostname", &behind, &format!("http://127.0.0.1:{port}")]);
    wait::until_eq("the tunnel is there", &200, || edge.try_https(&behind, "/0", &[]).map_or(0, |page| page.status));
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

/// Says what the path asks for, and ends.
fn say(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let number = head.split(' ').nth(1).and_then(|path| path.trim_start_matches('/').parse::<usize>().ok());
    let answer = number.and_then(|number| ANSWERS.get(number));
    stream.write_all(answer.map_or("", |(_, said, _)| said).as_bytes())
}
