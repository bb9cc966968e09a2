//! The fields that everybody knows (RFC 9204, appendix A).

/// Name and value; the first has the number 0.
pub(super) const STATIC: [(&str, &str); 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

/// Where the other values of `:status` are. All other fields with one name follow each other, but for
/// `access-control-allow-headers: *`, which is written with its value.
const MORE_STATUS: usize = 63;

/// For each [`slot`] one more than the number of the first field that has the name, or 0.
const SLOTS: [u8; 256] = slots();

const fn slots() -> [u8; 256] {
    let mut slots = [0; 256];
    let mut at = STATIC.len();
    // Backwards, so that of several fields with one name the first remains.
    while at > 0 {
        slots[slot(STATIC[at - 1].0.as_bytes())] = at as u8;
        at -= 1;
    }
    slots
}

/// Different for each name of the table; the factors were found by trying. No name is empty.
const fn slot(name: &[u8]) -> usize {
    let length = name.len();
    let (first, third_last, last) = (name[0], name[length.saturating_sub(3)], name[length - 1]);
    (44 * length + 31 * first as usize + 62 * last as usize + 15 * third_last as usize) % 256
}

/// The number of the first field with a name.
pub(super) fn find(name: &[u8]) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let at = usize::from(SLOTS[slot(name)]).checked_sub(1)?;
    (STATIC[at].0.as_bytes() == name).then_some(at)
}

/// The number of the field with a value, given that of the first with the name.
pub(super) fn with_value(first: usize, value: &[u8]) -> Option<usize> {
    let name = STATIC[first].0;
    let among = |start: usize| {
        let same_name = STATIC[start..].iter().take_while(|(other, _)| *other == name);
        same_name.zip(start..).find(|((_, known), _)| known.as_bytes() == value).map(|(_, number)| number)
    };
    among(first).or_else(|| if name == STATIC[MORE_STATUS].0 { among(MORE_STATUS) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By its name and value each field is found at its own number.
    #[test]
    fn each_is_found() {
        for (number, (name, value)) in STATIC.iter().enumerate() {
            let first = find(name.as_bytes()).unwrap();
            assert_eq!(STATIC.iter().position(|(other, _)| other == name), Some(first), "{name}");
            let is_found = (*name, *value) != ("access-control-allow-headers", "*");
            assert_eq!(with_value(first, value.as_bytes()), is_found.then_some(number), "{name}: {value}");
        }
        for other in ["", "x", "Cookie", ":statu", "content-lengti"] {
            assert_eq!(find(other.as_bytes()), None, "{other}");
        }
    }
}
