//! What a TLS client says first, for tests in which it says no more.

/// A whole ClientHello of TLS 1.3 as one record (RFC 8446 §4.1.2, §5.1), which a server answers and then waits for the
/// rest of.
pub fn client_hello(name: &str) -> Vec<u8> {
    let extensions = [
        extension(0, &listed(2, &[&[0][..], &listed(2, name.as_bytes())].concat())),
        // secp256r1 and x25519; ecdsa_secp256r1_sha256 and rsa_pss_rsae_sha256; TLS 1.3.
        extension(10, &listed(2, &[0, 0x17, 0, 0x1d])),
        extension(13, &listed(2, &[4, 3, 8, 4])),
        extension(43, &listed(1, &[3, 4])),
        // Any number of 32 octets is a key of x25519 (RFC 7748 §5).
        extension(51, &listed(2, &[&[0, 0x1d][..], &listed(2, &[9; 32])].concat())),
    ];
    // TLS_AES_128_GCM_SHA256; no compression.
    let body = [&[3, 3][..], &[7; 32], &listed(1, &[]), &listed(2, &[0x13, 1]), &listed(1, &[0])].concat();
    let body = [body, listed(2, &extensions.concat())].concat();
    let message = [&[1][..], &listed(3, &body)].concat();
    [&[0x16, 3, 1][..], &listed(2, &message)].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &listed(2, data)].concat()
}

/// With its length in front, of so many octets.
fn listed(octets: usize, data: &[u8]) -> Vec<u8> {
    [&data.len().to_be_bytes()[size_of::<usize>() - octets..], data].concat()
}
