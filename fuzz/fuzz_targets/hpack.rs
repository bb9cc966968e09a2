//! Any bytes as header blocks of one connection: each begins with its length, as one octet.
//!
//! A list is never larger than was allowed, whoever allows less keeps the same table, and what was read can be written and is
//! read the same.

#![no_main]

use bartizan_wire::http2::hpack::{Decoder, Encoder, HpackError, Indexing, List, TABLE_BYTES, field_bytes};
use libfuzzer_sys::fuzz_target;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fuzz_target!(|input: &[u8]| {
    let (mut decoder, mut narrow) = (Decoder::new(TABLE_BYTES), Decoder::new(TABLE_BYTES));
    let (mut encoder, mut reader) = (Encoder::new(), Decoder::new(TABLE_BYTES));
    let mut rest = input;
    while let Some((length, behind)) = rest.split_first() {
        let (block, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let whole = decode(&mut decoder, block, usize::MAX);
        let part = decode(&mut narrow, block, 100);
        let (Ok((List::Whole, fields)), Ok((_, first))) = (&whole, &part) else {
            assert_eq!(whole.err(), part.err());
            return;
        };
        assert!(fields.starts_with(first));
        assert!(first.iter().map(|(name, value)| field_bytes(name, value)).sum::<usize>() <= 100);

        encoder.set_table_bytes_max(usize::from(*length) * 32);
        let mut written = Vec::new();
        encoder.begin(&mut written);
        for (at, (name, value)) in fields.iter().enumerate() {
            let indexing = [Indexing::Table, Indexing::Literal, Indexing::Never][at % 3];
            encoder.field(name, value, indexing, &mut written);
        }
        assert_eq!(decode(&mut reader, &written, usize::MAX).as_ref(), Ok(&(List::Whole, fields.clone())));
    }
});

fn decode(decoder: &mut Decoder, block: &[u8], list_bytes_max: usize) -> Result<(List, Fields), HpackError> {
    let mut fields = Fields::new();
    let list = decoder.decode(block, list_bytes_max, |name, value| fields.push((name.to_vec(), value.to_vec())))?;
    Ok((list, fields))
}
