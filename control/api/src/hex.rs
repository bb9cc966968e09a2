//! Lower-case hexadecimal digits, in which the dialect writes hashes.

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
