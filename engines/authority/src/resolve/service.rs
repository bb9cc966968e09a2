//! The HTTPS record of a proxied name: that visitors need not try plain HTTP first, and with which protocols and at which
//! addresses the edge waits for them (RFC 9460 §9).

use crate::facts::Addresses;

/// Addresses of a family that are given as a hint. A client tries one or two of them.
const HINTS_MAX: usize = 8;

/// Parameters by their keys (RFC 9460 §14.3.2).
const ALPN: u16 = 1;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const IPV6HINT: u16 = 6;

/// HTTP/3, which is tried first, and HTTP/2. HTTP/1.1 is understood for `https` where nobody says otherwise (RFC 9460 §7.1.2 and §9).
const HTTP3: &[u8] = b"\x02h3";
const HTTP2: &[u8] = b"\x02h2";

/// Priority 1, the owner itself as target (RFC 9460 §2.2, §2.5.2).
const HERE: &[u8] = &[0, 1, 0];

const PARAM_HEADER: usize = 4;
const BYTES_MAX: usize = HERE.len()
    + 4 * PARAM_HEADER
    + HTTP3.len()
    + HTTP2.len()
    + size_of::<u16>()
    + HINTS_MAX * (size_of::<[u8; 4]>() + size_of::<[u8; 16]>());

/// The data of the record.
pub(super) struct Service {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl Service {
    pub(super) fn of(addresses: &Addresses, http2: bool, http3: bool) -> Service {
        let mut service = Service { bytes: [0; BYTES_MAX], len: 0 };
        service.push(HERE);
        let spoken = [(http3, HTTP3), (http2, HTTP2)].map(|(is_spoken, name)| if is_spoken { name } else { &[] });
        let length = spoken.iter().map(|name| name.len()).sum();
        if length > 0 {
            service.header(ALPN, length);
            spoken.iter().for_each(|name| service.push(name));
        }
        if let Some(port) = addresses.https_port {
            service.header(PORT, size_of::<u16>());
            service.push(&port.to_be_bytes());
        }
        let v4 = addresses.v4.iter().take(HINTS_MAX);
        if !addresses.v4.is_empty() {
            service.header(IPV4HINT, v4.len() * size_of::<[u8; 4]>());
            v4.for_each(|address| service.push(&address.octets()));
        }
        let v6 = addresses.v6.iter().take(HINTS_MAX);
        if !addresses.v6.is_empty() {
            service.header(IPV6HINT, v6.len() * size_of::<[u8; 16]>());
            v6.for_each(|address| service.push(&address.octets()));
        }
        service
    }

    fn header(&mut self, key: u16, length: usize) {
        self.push(&key.to_be_bytes());
        self.push(&(length as u16).to_be_bytes()); // at most BYTES_MAX
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl AsRef<[u8]> for Service {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
