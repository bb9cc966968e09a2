//! The fields that everybody knows (RFC 7541, appendix A).

/// Name and value; the first has the number 1. Fields with one name follow each other.
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// For each [`slot`] the number of the first field that has the name, or 0.
const SLOTS: [u8; 256] = slots();

const fn slots() -> [u8; 256] {
    let mut slots = [0; 256];
    // Backwards, so that of several fields with one name the first remains.
    let mut at = STATIC.len();
    while at > 0 {
        let name = STATIC[at - 1].0.as_bytes();
        let slot = &mut slots[slot(name.len(), name[0], name[name.len() - 1])];
        assert!(*slot == 0 || at < STATIC.len() && *slot as usize == at + 1, "two names with one slot");
        *slot = at as u8;
        at -= 1;
    }
    slots
}

/// Different for each name of the table; the factors were found by trying.
const fn slot(length: usize, first: u8, last: u8) -> usize {
    (9 * length + 21 * first as usize + last as usize) % 256
}

/// The number of the first field with a name.
pub(super) fn find(name: &[u8]) -> Option<usize> {
    let (first, last) = (name.first()?, name.last()?);
    let number = usize::from(SLOTS[slot(name.len(), *first, *last)]);
    let (found, _) = STATIC.get(number.checked_sub(1)?)?;
    (found.as_bytes() == name).then_some(number)
}

/// The number of the field with a value, given that of the first with the name.
pub(super) fn with_value(first: usize, value: &[u8]) -> Option<usize> {
    let fields = &STATIC[first - 1..];
    let same_name = fields.iter().take_while(|(name, _)| *name == fields[0].0);
    same_name.zip(first..).find(|((_, known), _)| known.as_bytes() == value).map(|(_, number)| number)
}
