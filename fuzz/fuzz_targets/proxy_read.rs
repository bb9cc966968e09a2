//! Any octets as a header that a proxy puts in front of a stream or a datagram.
//!
//! What is read is within what was given, is asked for again for each of its beginnings, and is read the same after it
//! was written in each form.

#![no_main]

use bartizan_names::Protocol;
use bartizan_wire::proxy::{
    HEADER_MAX, Header, SIMPLE_LEN, read, read_datagram, read_simple, write_simple, write_v1, write_v2,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok((hop, length)) = read_simple(input) {
        assert_eq!(length, SIMPLE_LEN);
        assert_eq!(read_simple(&write_simple(&hop)), Ok((hop, SIMPLE_LEN)));
    }
    if let Ok(header) = read_datagram(input) {
        assert!(header.length <= input.len());
        assert_eq!(read_datagram(&input[..header.length]), Ok(header));
        assert!(read_datagram(&input[..header.length - 1]).is_err());
    }
    let Ok(Some(Header { hop, length })) = read(input) else { return };
    assert!(length <= input.len().min(HEADER_MAX));
    assert_eq!(read(&input[..length]), Ok(Some(Header { hop, length })));
    assert_eq!(read(&input[..length - 1]), Ok(None));
    let Some(hop) = hop else { return };
    for header in [write_v1(&hop), write_v2(&hop, Protocol::Tcp), write_v2(&hop, Protocol::Udp)] {
        assert_eq!(read(&header), Ok(Some(Header { hop: Some(hop), length: header.len() })));
    }
});
