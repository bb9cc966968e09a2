//! Any bytes as a stream of a request: how they are cut changes nothing, and a body is no longer than was stated.

#![no_main]

use bartizan_wire::http3::{Event, Fault, HeadRoom, Limits, RequestStream};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { list_bytes: 4 * 1024, fields: 16 };

fuzz_target!(|input: &[u8]| {
    let Some((first, stream)) = input.split_first() else { return };
    let whole = story(stream, usize::MAX);
    let pieces = story(stream, 1 + usize::from(*first));
    // What of a body came before a fault depends on the cuts; what it was does not.
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (whole, pieces) => assert_eq!(whole.as_ref().err(), pieces.as_ref().err()),
    }
});

type Told = (Option<Vec<u8>>, Vec<u8>, u32);

fn story(stream: &[u8], piece: usize) -> Result<Told, Fault> {
    let (mut request, mut heads) = (RequestStream::new(LIMITS), HeadRoom::default());
    let (mut head, mut body, mut idle, mut unread) = (None, Vec::new(), 0_u32, Vec::new());
    let mut length = None;
    for piece in stream.chunks(piece) {
        unread.extend_from_slice(piece);
        while !unread.is_empty() {
            let step = request.next(&unread, &mut heads)?;
            assert!(step.used > 0 && step.used <= unread.len());
            idle = idle.saturating_add(step.idle);
            match step.event {
                Event::Head(parsed) => {
                    assert!(head.is_none());
                    length = parsed.ok().and_then(|parsed| parsed.length);
                    head = Some(heads.text().to_vec());
                }
                Event::Data(at) => body.extend_from_slice(&unread[at]),
                Event::Trailers | Event::Hungry => {}
            }
            unread.drain(..step.used);
        }
    }
    assert!(length.is_none_or(|length| body.len() as u64 <= length));
    request.finish()?;
    Ok((head, body, idle))
}
