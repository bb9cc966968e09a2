//! Any octets as the data of a record of any type, on the wire and as text: what is read is written, and read the same.

#![no_main]

use bartizan_model::RecordData;
use bartizan_names::{Name, RecordType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((rtype, rest)) = input.split_first_chunk::<2>() else { return };
    let rtype = RecordType(u16::from_be_bytes(*rtype));
    let Ok(origin) = Name::parse("example.com") else { return };
    if let Some(data) = RecordData::from_wire(rtype, rest) {
        // In one case for names and tags, and with one way to write a size.
        assert_eq!(data.rdata().len(), rest.len());
        reads_back(&data, &origin);
    }
    if let Ok(text) = std::str::from_utf8(rest)
        && let Ok(data) = RecordData::from_presentation(rtype, text, &origin)
    {
        reads_back(&data, &origin);
    }
});

fn reads_back(data: &RecordData, origin: &Name) {
    assert_eq!(RecordData::from_wire(data.rtype(), &data.rdata()).as_ref(), Some(data));
    assert_eq!(RecordData::from_presentation(data.rtype(), &data.presentation(), origin).as_ref(), Ok(data));
}
