//! A registry on a thread that takes DS records by one HTTP call (DSU 1.0). Not a real one: none is there to be had.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

/// A registry that answers each call with the next of these, and hands out what it was sent.
pub fn start(answers: Vec<String>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/1.0", listener.local_addr().unwrap());
    let (sent, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut piece) = (Vec::new(), [0; 4_096]);
            loop {
                let len = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..len]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .to_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .map(|rest| rest.lines().next().unwrap().parse::<usize>().unwrap());
                if Some(body.len()) == length {
                    sent.send(format!("{}\n{body}", head.lines().next().unwrap())).unwrap();
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, seen)
}

/// An answer with a status line, and a code of the table if it is a fault.
pub fn answer(status: &str, fault: Option<u16>) -> String {
    let fault = fault.map(|fault| format!("X-DSU: {fault}\r\n")).unwrap_or_default();
    format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\n{fault}content-length: 3\r\n\r\nno\n")
}
