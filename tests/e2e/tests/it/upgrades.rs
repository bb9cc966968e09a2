//! An upgrade under load: visitors notice nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bartizan_e2e::origin::{Origin, free};
use bartizan_e2e::{Connector, Edge, curl, wait};

/// How long a visitor waits: an edge of a build for tests takes a while to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request on a connection of its own, without a second try.
fn ask(address: SocketAddr, host: &str) -> Result<(), String> {
    let failed = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed("connect"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed("patience"))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").map_err(failed("write"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed("read"))?;
    if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello") { Ok(()) } else { Err(format!("{answer:?}")) }
}

#[test]
fn no_request_fails() {
    let [http, https] = [free(Ipv4Addr::LOCALHOST.into()), free(Ipv4Addr::LOCALHOST.into())];
    let edge = Edge::start_with(&["--http", &http.to_string(), "--https", &https.to_string()]);
    let origin = Origin::nginx("127.0.0.1", "location / { return 200 hello; }");
    let host = edge.proxied("going", "A", "127.0.0.1", origin.port());
    wait::until("it is served", || ask(http, &host).ok());
    let (over, begun) = (AtomicBool::new(false), Instant::now());
    let ca = edge.ca().to_owned();
    let url = format!("https://{host}/");
    let connect = format!("::{https}");
    let (mut edge, results) = std::thread::scope(|scope| {
        let (over, host, url, connect) = (&over, host.as_str(), url.as_str(), connect.as_str());
        let ca = ca.to_str().expect("a plain path");
        let plain = |_| {
            scope.spawn(move || {
                let mut results = Vec::new();
                while !over.load(Ordering::Relaxed) && begun.elapsed() < 3 * PATIENCE {
                    results.push(ask(http, host));
                }
                results
            })
        };
        let tls = |version: &'static str| {
            scope.spawn(move || {
                let mut results = Vec::new();
                while !over.load(Ordering::Relaxed) && begun.elapsed() < 3 * PATIENCE {
                    let page = curl::try_get(&[version, "--cacert", ca, "--connect-to", connect, url]);
                    results.push(match page {
                        Ok(page) if page.status == 200 && page.text() == "hello" => Ok(()),
                        Ok(page) => Err(format!("{version}: {} {}", page.status, page.text())),
                        Err(error) => Err(format!("{version}: {error}")),
                    });
                }
                results
            })
        };
        let clients: Vec<_> = (0..3).map(plain).chain(["--http1.1", "--http2"].map(tls)).collect();
        let edge = edge.upgraded().upgraded();
        over.store(true, Ordering::Relaxed);
        let results = clients.into_iter().flat_map(|client| client.join().expect("a client does not panic"));
        (edge, results.collect::<Vec<_>>())
    });
    let failed: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), results.len());
    assert!(results.len() > 100, "{} requests are no load", results.len());
    // After a clean stop nobody is left who listens.
    edge.program().terminate();
    assert!(edge.program().ended().success());
    assert!(TcpStream::connect(http).is_err() && TcpStream::connect(https).is_err());
}

/// Behind a tunnel too: what comes before the connector is back waits for it.
#[test]
fn no_request_behind_a_tunnel_fails() {
    let [http, tunnel] = [free(Ipv4Addr::LOCALHOST.into()), free(Ipv4Addr::LOCALHOST.into())];
    let edge = Edge::start_with(&["--http", &http.to_string(), "--tunnel", &tunnel.to_string()]);
    let origin = Origin::nginx("127.0.0.1", "location / { return 200 hello; }");
    let host = format!("behind.{}", edge.domain());
    let _connector = Connector::start(&edge, &["--hostname", &host, &origin.url()]);
    wait::until("it is served", || ask(http, &host).ok());
    let (over, asked, begun) = (AtomicBool::new(false), AtomicUsize::new(0), Instant::now());
    let results = std::thread::scope(|scope| {
        let (over, asked, host) = (&over, &asked, host.as_str());
        let visitor = |_| {
            scope.spawn(move || {
                let mut results = Vec::new();
                while !over.load(Ordering::Relaxed) && begun.elapsed() < 3 * PATIENCE {
                    results.push(ask(http, host));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                results
            })
        };
        let visitors: Vec<_> = (0..4).map(visitor).collect();
        let _edge = edge.upgraded();
        // Whoever came in first has an answer by now.
        ask(http, host).expect("the last request");
        wait::until("there was some load", || (asked.load(Ordering::Relaxed) > 20).then_some(()));
        over.store(true, Ordering::Relaxed);
        visitors.into_iter().flat_map(|visitor| visitor.join().expect("a visitor does not panic")).collect::<Vec<_>>()
    });
    let failed: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), results.len());
}

/// The tunnels' port over TCP refuses nobody either: who connects in between waits.
#[test]
fn no_connector_over_tcp_is_refused() {
    let tunnel = free(Ipv4Addr::LOCALHOST.into());
    let edge = Edge::start_with(&["--tunnel", &tunnel.to_string()]);
    let (over, begun) = (AtomicBool::new(false), Instant::now());
    let (mut edge, results) = std::thread::scope(|scope| {
        let over = &over;
        let connector = scope.spawn(move || {
            let mut results = Vec::new();
            while !over.load(Ordering::Relaxed) && begun.elapsed() < 3 * PATIENCE {
                results.push(TcpStream::connect(tunnel).map(drop).map_err(|error| error.to_string()));
                std::thread::sleep(Duration::from_millis(20));
            }
            results
        });
        let edge = edge.upgraded();
        over.store(true, Ordering::Relaxed);
        (edge, connector.join().expect("a connector does not panic"))
    });
    let refused: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(refused.is_empty() && !results.is_empty(), "{} of {}: {refused:?}", refused.len(), results.len());
    edge.program().terminate();
    assert!(edge.program().ended().success());
    assert!(TcpStream::connect(tunnel).is_err());
}

/// What the process before has left does not fit the next one, which starts all the same, at once.
#[test]
fn other_workers_and_addresses_are_an_upgrade_too() {
    let [http, https] = [free(Ipv4Addr::LOCALHOST.into()), free(Ipv4Addr::LOCALHOST.into())];
    let words = |workers: &'static str, http: SocketAddr| {
        let [http, https] = [http, https].map(|address| address.to_string());
        ["--workers", workers, "--http", &http, "--https", &https].map(str::to_owned)
    };
    let first = words("2", http);
    let mut edge = Edge::start_with(&first.each_ref().map(|word| &**word));
    let everywhere = SocketAddr::from(([0, 0, 0, 0], http.port()));
    for next in [words("3", http), words("3", everywhere), words("1", http)] {
        edge = edge.upgraded_with(&next.each_ref().map(|word| &**word));
        assert!(TcpStream::connect(http).is_ok() && TcpStream::connect(https).is_ok(), "{next:?}");
    }
}
