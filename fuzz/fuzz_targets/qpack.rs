//! Any bytes as a block of fields of HTTP/3: what was read can be written and is read the same, and whoever allows less reads
//! less of the same.

#![no_main]

use bartizan_wire::http2::hpack::{List, field_bytes};
use bartizan_wire::http3::qpack::{Encoder, QpackError, Secrecy, decode};
use libfuzzer_sys::fuzz_target;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fuzz_target!(|block: &[u8]| {
    let Ok((List::Whole, fields)) = read(block, usize::MAX) else { return };
    let first = read(block, 100).unwrap().1;
    assert!(fields.starts_with(&first));
    assert!(first.iter().map(|(name, value)| field_bytes(name, value)).sum::<usize>() <= 100);
    let mut written = Vec::new();
    Encoder.begin(&mut written);
    for (at, (name, value)) in fields.iter().enumerate() {
        let secrecy = if at % 2 == 0 { Secrecy::Open } else { Secrecy::Secret };
        Encoder.field(name, value, secrecy, &mut written);
    }
    assert_eq!(read(&written, usize::MAX), Ok((List::Whole, fields)));
});

fn read(block: &[u8], list_bytes_max: usize) -> Result<(List, Fields), QpackError> {
    let (mut fields, mut unfolded) = (Fields::new(), Vec::new());
    let list =
        decode(block, list_bytes_max, &mut unfolded, |name, value| fields.push((name.to_vec(), value.to_vec())))?;
    Ok((list, fields))
}
