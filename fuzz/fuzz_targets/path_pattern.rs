//! Any text as the path pattern of a tunnel's rule: it is written in the other form without a panic, and to no text that grows
//! beyond what escapes take.

#![no_main]

use bartizan_names::rust_pattern;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pattern: &str| {
    if let Ok(written) = rust_pattern(pattern) {
        assert!(written.len() <= 2 * pattern.len());
    }
});
