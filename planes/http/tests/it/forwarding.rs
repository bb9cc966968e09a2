//! What an origin gets and what a visitor gets back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::edge::{Edge, dial, field, origin_at, plain, read_answer, status, text, tunnel};
use super::origin::{Origin, ok};
use std::io::Write;

/// The edge's own fields, exactly once and as they should be, whatever the visitor sent under their names.
#[test]
fn forged_fields_never_reach_the_origin() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for forged in [
        "",
        "CF-Connecting-IP: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n",
        "cf_connecting_ip: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n",
        "Forwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: 6.6.6.6\r\n",
        "CF-Ray: 6.6.6.6\r\nCF-Visitor: 6.6.6.6\r\nCF-IPCountry: 6.6.6.6\r\n",
        "X-Real-IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\nClient-Cert: 6.6.6.6\r\n",
        "Bartizan-Cert-Status: 6.6.6.6\r\nCf-Access-Authenticated-User-Email: 6.6.6.6\r\n",
        "Connection: cf-connecting-ip, content-length, host, x-secret\r\nX-Secret: 6.6.6.6\r\n",
        "Transfer_Encoding: 6.6.6.6\r\nContent_Length: 6.6.6.6\r\nProxy: 6.6.6.6\r\n",
        "TE: trailers\r\nProxy-Connection: 6.6.6.6\r\nKeep-Alive: 6.6.6.6\r\nHTTP2-Settings: 6.6.6.6\r\n",
    ] {
        let request = format!(
            "POST /p?q=1 HTTP/1.1\r\nHost: A.test.:08080\r\nConnection: close\r\nContent-Length: 2\r\n{forged}X-Mine: kept\r\n\r\nhi"
        );
        let answer = edge.raw(request.as_bytes());
        assert_eq!(status(&answer), "200", "{forged}");
        let seen = origin.take_seen().remove(0);
        let ray = field(&answer, "cf-ray").unwrap();
        assert!(ray.len() == 20 && ray.ends_with("-LAB"), "{ray}");
        for (name, value) in [
            ("host", "a.test:8080"),
            ("content-length", "2"),
            ("x-mine", "kept"),
            ("x-forwarded-for", "127.0.0.1"),
            ("cf-connecting-ip", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.test:8080"),
            ("forwarded", r#"for=127.0.0.1;host="a.test:8080";proto=http"#),
            ("cf-visitor", r#"{"scheme":"http"}"#),
            ("cf-ipcountry", "XX"),
            ("cf-ray", ray),
            ("cdn-loop", "bartizan"),
        ] {
            let lines = seen.head.lines().filter(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
            assert_eq!((lines.count(), field(&seen.head, name)), (1, Some(value)), "{name} {forged}\n{}", seen.head);
        }
        assert!(!seen.head.contains("6.6.6.6"), "{}", seen.head);
        assert!(seen.head.starts_with("POST /p?q=1 HTTP/1.1\r\n") && seen.body == b"hi", "{seen:?}");
        for gone in ["connection", "te", "transfer-encoding", "expect"] {
            assert_eq!(field(&seen.head, gone), None, "{}", seen.head);
        }
    }
}

/// Bodies keep their framing: a length stays a length, chunks stay chunks, nothing stays nothing.
#[test]
fn framing_towards_the_origin() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (request, length, coding, body) in [
        ("GET", None, None, ""),
        ("DELETE", None, None, ""),
        ("POST\r\nContent-Length: 0", Some("0"), None, ""),
        ("POST\r\nContent-Length: 3", Some("3"), None, "abc"),
        ("GET\r\nContent-Length: 3", Some("3"), None, "abc"),
        ("PUT\r\nTransfer-Encoding: chunked", None, Some("chunked"), "abc"),
        ("PUT\r\nTransfer-Encoding: chunked", None, Some("chunked"), ""),
    ] {
        let (method, field_line) = request.split_once("\r\n").unwrap_or((request, "X: y"));
        let sent = match coding {
            Some(_) if body.is_empty() => "0\r\n\r\n".to_owned(),
            Some(_) => format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
            None => body.to_owned(),
        };
        let head = format!("{method} / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{field_line}\r\n\r\n");
        assert_eq!(status(&edge.raw(format!("{head}{sent}").as_bytes())), "200", "{request}");
        let seen = origin.take_seen().remove(0);
        assert_eq!(field(&seen.head, "content-length"), length, "{request}\n{}", seen.head);
        assert_eq!(field(&seen.head, "transfer-encoding"), coding, "{request}\n{}", seen.head);
        assert_eq!(seen.body, body.as_bytes(), "{request}");
    }
}

/// Whatever an origin answers, the connection to the visitor stays in step: a second request is answered right.
#[test]
fn framing_towards_the_visitor() {
    for (method, answer, expect_head, expect_body) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "Content-Length: 3", "abc"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "Content-Length: 0", ""),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "Content-Length: 3", ""),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "204 No Content", ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", "304 Not Modified", ""),
        ("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "Content-Length: 1", "x"),
        ("GET", "HTTP/1.1 404 Nope\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", "404 Not Found", "x"),
    ] {
        let origin = Origin::start(move |seen| match seen.head.contains(" /second ") {
            true => ok("second"),
            false => answer.as_bytes().to_vec(),
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        let requests = format!(
            "{method} /first HTTP/1.1\r\nHost: a.test\r\n\r\nGET /second HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
        );
        let both = edge.raw(requests.as_bytes());
        let at = both.rfind("HTTP/1.1 200 OK").unwrap_or_else(|| panic!("{answer:?} {both}"));
        let (first, second) = both.split_at(at);
        assert!(second.ends_with("\r\n\r\nsecond"), "{answer:?}\n{both}");
        let (head, body) = first.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(expect_head), "{answer:?}\n{head}");
        assert_eq!(body, expect_body, "{answer:?}");
        assert_eq!(field(first, "server"), Some("bartizan"));
    }
}

#[test]
fn a_head_from_the_edge_hides_the_origin() {
    let origin = Origin::start(|_| {
        let fields =
            "Server: secret/1.0\r\nAlt-Svc: h3=\":9\"\r\nConnection: X-Internal\r\nX-Internal: 10.0.0.1\r\nCF-Ray: x";
        format!("HTTP/1.1 200 OK\r\n{fields}\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let answer = edge.get("a.test", "/", "");
    for hidden in ["secret", "Alt-Svc", "alt-svc", "10.0.0.1", "127.0.0.1", "Cf-Ray: x"] {
        assert!(!answer.contains(hidden), "{hidden}\n{answer}");
    }
    assert_eq!(answer.matches("Set-Cookie: ").count(), 2, "{answer}");
}

/// V6-2: visitors of either family, origins of either family.
#[test]
fn families_meet() {
    let origins = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)]
        .map(|address| Origin::start_on((address, 0).into(), |_| ok("hello")));
    let edge = Edge::start(&[
        ("v4.test", origin_at(origins[0].address), plain()),
        ("v6.test", origin_at(origins[1].address), plain()),
    ]);
    for (address, visitor) in [(edge.http, "127.0.0.1"), (edge.http_v6, "::1")] {
        for (host, origin) in [("v4.test", &origins[0]), ("v6.test", &origins[1])] {
            let mut client = dial(address);
            write!(client, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
            assert_eq!(read_answer(&mut client).1, b"hello", "{visitor} {host}");
            assert_eq!(field(&origin.take_seen()[0].head, "cf-connecting-ip"), Some(visitor), "{host}");
        }
    }
}

/// An exchange with a tunnel has the same fields and the same ways out.
#[test]
fn tunnels_are_origins_too() {
    let edge = Edge::with_tunnels(&[("t.test", tunnel(), plain())], |request| {
        assert_eq!((request.method.as_str(), request.host.name()), ("POST", "t.test"));
        assert_eq!(request.headers["cf-connecting-ip"], "127.0.0.1");
        assert!(!request.headers.contains_key("content-length") && !request.headers.contains_key("host"));
        Ok(text(201, "made"))
    });
    let answer = edge.raw(b"POST / HTTP/1.1\r\nHost: t.test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n") && answer.ends_with("\r\n\r\nmade"), "{answer}");
}

/// A change is in force for the next request, also on a connection that is open.
#[test]
fn a_new_configuration_is_seen_at_once() {
    let origins = ["one", "two"].map(|name| Origin::start(move |_| ok(name)));
    let edge = Edge::start(&[("a.test", origin_at(origins[0].address), plain())]);
    let mut client = edge.dial();
    for (origin, expect) in [(Some(&origins[0]), "one"), (Some(&origins[1]), "two"), (None, "404")] {
        match origin {
            Some(origin) => edge.publish(&[("a.test", origin_at(origin.address), plain())]),
            None => edge.publish(&[]),
        }
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        let (head, body) = read_answer(&mut client);
        assert!(body == expect.as_bytes() || status(&head) == expect, "{head}");
    }
}
