//! Any octets as the reply of a mail server.
//!
//! What is read is within what was given, is asked for again for each of its beginnings, and has nothing in it that could be
//! taken for more than it is.

#![no_main]

use bartizan_wire::smtp::{REPLY_MAX, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(Some((reply, length))) = read(input) else { return };
    assert!(length <= input.len().min(REPLY_MAX));
    assert_eq!(read(&input[..length]), Ok(Some((reply.clone(), length))));
    assert_eq!(read(&input[..length - 1]), Ok(None));
    assert!((200..600).contains(&reply.code));
    assert!(reply.lines.iter().all(|line| line.bytes().all(|byte| (b' '..=b'~').contains(&byte))));
});
