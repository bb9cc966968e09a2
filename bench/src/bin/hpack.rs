//! What a header block of HTTP/2 costs, in ns of CPU, and how many octets it has.

use std::hint::black_box;

use bartizan_bench::{cpu_nanos, median};
use bartizan_wire::http2::hpack::{Decoder, Encoder, Indexing, List, TABLE_BYTES};

const ROUNDS: u64 = 1 << 20;

/// What a request may have.
const LIST_BYTES_MAX: usize = 32 * 1024;

const LOAD: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "www.bench.example"),
    (":path", "/1k"),
    ("user-agent", "h2load nghttp2/1.52.0"),
];

const BROWSER: &[(&str, &str)] = &[
    (":method", "GET"),
    (":authority", "www.bench.example"),
    (":scheme", "https"),
    (":path", "/articles/2026/11/what-a-request-costs?from=front"),
    ("sec-ch-ua", "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
    ("cookie", "session=5f1c0a2e9b7d4c3386f2d1e0a9b8c7d6"),
];

fn write_request(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    encoder.begin(&mut block);
    for (name, value) in fields {
        encoder.field(name.as_bytes(), value.as_bytes(), Indexing::Table, &mut block);
    }
    block
}

fn write_answer(encoder: &mut Encoder, date: &str, out: &mut Vec<u8>) {
    encoder.begin(out);
    encoder.status(200, out);
    encoder.field(b"server", b"bartizan", Indexing::Table, out);
    encoder.field(b"date", date.as_bytes(), Indexing::Table, out);
    encoder.field(b"content-type", b"text/html; charset=utf-8", Indexing::Table, out);
    encoder.field(b"content-length", b"1024", Indexing::Literal, out);
    encoder.field(b"last-modified", b"Sat, 28 Nov 2026 10:00:00 GMT", Indexing::Table, out);
    encoder.field(b"etag", b"\"5f3a1c-400\"", Indexing::Literal, out);
    encoder.field(b"cf-ray", b"8f1c0a2e9b7d4c33-LAB", Indexing::Never, out);
}

fn read(decoder: &mut Decoder, block: &[u8]) {
    let list = decoder.decode(black_box(block), LIST_BYTES_MAX, |name, value| {
        black_box((name, value));
    });
    assert_eq!(list, Ok(List::Whole));
}

/// ns of one round.
fn each(rounds: u64, mut round: impl FnMut(u64)) -> f64 {
    let start = cpu_nanos();
    (0..rounds).for_each(&mut round);
    (cpu_nanos() - start) as f64 / rounds as f64
}

fn main() {
    for (what, fields) in [("a load generator's request", LOAD), ("a browser's request", BROWSER)] {
        let mut encoder = Encoder::new();
        let (first, next) = (write_request(&mut encoder, fields), write_request(&mut encoder, fields));
        // The first block fills the table, so that each round has a connection of its own.
        let new = median(|| each(ROUNDS / 8, |_| read(&mut Decoder::new(TABLE_BYTES), &first)));
        let kept = median(|| {
            let mut decoder = Decoder::new(TABLE_BYTES);
            read(&mut decoder, &first);
            each(ROUNDS, |_| read(&mut decoder, &next))
        });
        println!(
            "read {what}: the first ({} octets) {new:.1}, the next ({} octets) {kept:.1}",
            first.len(),
            next.len()
        );
    }
    // A second is as many answers as a busy connection has.
    let dates: Vec<String> = (0..60).map(|second| format!("Sun, 29 Nov 2026 10:00:{second:02} GMT")).collect();
    let write = median(|| {
        let (mut encoder, mut out) = (Encoder::new(), Vec::new());
        each(ROUNDS, |round| {
            out.clear();
            write_answer(&mut encoder, &dates[(round >> 10) as usize % dates.len()], &mut out);
            black_box(&out);
        })
    });
    let (mut encoder, mut first, mut next) = (Encoder::new(), Vec::new(), Vec::new());
    write_answer(&mut encoder, &dates[0], &mut first);
    write_answer(&mut encoder, &dates[0], &mut next);
    println!("write an answer (the first {} octets, the next {}) {write:.1}", first.len(), next.len());
}
