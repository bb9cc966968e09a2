//! Any bytes as the message at the head of an answer's stream. What can be read is read the same after it was written.

#![no_main]

use bartizan_rpc::ConnectResponse;
use libfuzzer_sys::fuzz_target;

/// Signature and version, which the message follows.
const PREAMBLE_BYTES: usize = 8;

fuzz_target!(|message: &[u8]| {
    let Ok(read) = ConnectResponse::decode(message.to_vec()) else { return };
    let mut written = read.encode();
    // Text that shared its place in the message may take more room when it is written.
    if let Ok(again) = ConnectResponse::decode(written.split_off(PREAMBLE_BYTES)) {
        assert_eq!(again, read);
    }
});
