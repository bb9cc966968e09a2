//! Any bytes as the streams of a peer beside its requests: each begins with its length, as one octet.

#![no_main]

use bartizan_wire::http3::{Fault, PeerStream, PeerStreams};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    assert_eq!(story(input, usize::MAX), story(input, 1));
});

fn story(input: &[u8], piece: usize) -> Result<(), Fault> {
    let mut all = PeerStreams::default();
    let mut rest = input;
    while let Some((length, behind)) = rest.split_first() {
        let (stream, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let mut one = PeerStream::default();
        for piece in stream.chunks(piece) {
            one.take(piece, &mut all)?;
        }
        // What is needed does not end before the last one.
        if rest.is_empty() {
            one.finish()?;
        }
    }
    Ok(())
}
