//! Any bytes as what is said over HTTP/2 beside the protocol: the fields of an answer, who has answered, a configuration, and what
//! became of it. Fields that can be read are read the same after they were written.

#![no_main]

use bartizan_rpc::over_http2::{Answerer, decode_fields, encode_fields, read_applied, read_configuration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|said: &[u8]| {
    let _ = Answerer::read(Some(said));
    let _ = read_applied(said);
    let _ = read_configuration(said);
    let Ok(fields) = decode_fields(said) else { return };
    let written = encode_fields(fields.iter().map(|(name, value)| (&**name, &**value)));
    assert_eq!(decode_fields(written.as_bytes()), Ok(fields));
});
