//! What a field is by its name: of the message, of the connection, or of its framing (RFC 9110 §7.6.1).
//!
//! This is the one list of hop-by-hop fields. HTTP/2, which has none of them, and whoever has fields in a form of
//! its own asks it by [`is_end_to_end`].

/// Whose a field is, and so whether it goes on to the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The message's: it goes on.
    EndToEnd,
    /// Whom the message is for. It goes on, beside the fields.
    Host,
    /// Where the body ends: made anew on each hop.
    Framing,
    /// The connection's: it stays behind.
    HopByHop,
    /// Never goes on, for it says one thing here and another behind a gateway interface (RFC 3875 §4.1.18), which makes
    /// `HTTP_TRANSFER_ENCODING` of `Transfer_Encoding`, and of `Proxy` the proxy to be used.
    Misleading,
}

/// What the parser has to know of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Expect,
    OtherHopByHop,
    Misleading,
    Other,
}

/// All fields that mean something to a hop. The last four groups are only hop-by-hop.
const KNOWN: [(&str, Known); 14] = [
    ("host", Known::Host),
    ("content-length", Known::ContentLength),
    ("transfer-encoding", Known::TransferEncoding),
    ("connection", Known::Connection),
    ("upgrade", Known::Upgrade),
    ("expect", Known::Expect),
    // RFC 9110 §7.6.1, §10.1.4, §6.6.2; RFC 2068 §19.7.1.
    ("keep-alive", Known::OtherHopByHop),
    ("proxy-connection", Known::OtherHopByHop),
    ("te", Known::OtherHopByHop),
    ("trailer", Known::OtherHopByHop),
    // RFC 9110 §11.7: between a client and its own proxy.
    ("proxy-authenticate", Known::OtherHopByHop),
    ("proxy-authorization", Known::OtherHopByHop),
    // RFC 7540 §3.2.1.
    ("http2-settings", Known::OtherHopByHop),
    // No field of HTTP at all.
    ("proxy", Known::Misleading),
];

impl Known {
    // Hot: once a field. No allocation.
    pub(crate) fn of(name: &[u8]) -> Known {
        let same_length = KNOWN.iter().filter(|(text, _)| text.len() == name.len());
        for (text, known) in same_length {
            match spelling(name, text.as_bytes()) {
                Some(Spelling::Own) => return *known,
                Some(Spelling::Twin) => return Known::Misleading,
                None => {}
            }
        }
        Known::Other
    }

    pub(crate) fn class(self) -> Class {
        match self {
            Known::Host => Class::Host,
            Known::ContentLength | Known::TransferEncoding => Class::Framing,
            Known::Connection | Known::Upgrade | Known::OtherHopByHop => Class::HopByHop,
            Known::Misleading => Class::Misleading,
            Known::Expect | Known::Other => Class::EndToEnd,
        }
    }
}

/// The class of a field by its name alone, in any case. Fields that a `Connection` beside it names are hop-by-hop too.
pub(super) fn class_of(name: &[u8]) -> Class {
    Known::of(name).class()
}

/// Whether a field goes on to the next hop (RFC 9110 §7.6.1), for messages that are not read here: it does not if it belongs
/// to the connection, frames the body, or is named by one of the values of `Connection`. Naming can take nothing away from
/// a hop that sets its own fields after this.
pub fn is_end_to_end<'m>(name: &[u8], mut connection: impl Iterator<Item = &'m [u8]>) -> bool {
    let names_it = |value| tokens(value).any(|option| option.eq_ignore_ascii_case(name));
    class_of(name) == Class::EndToEnd && !connection.any(names_it)
}

/// Whether a field is this one (in lower case), in any case, or with another sign for a `-`, which is the same field behind
/// a gateway interface (RFC 3875 §4.1.18).
pub fn is_or_passes_for(name: &[u8], field: &str) -> bool {
    name.len() == field.len() && spelling(name, field.as_bytes()).is_some()
}

enum Spelling {
    Own,
    /// With another sign for a `-`: some gateways make `_` of all that is no letter or digit.
    Twin,
}

fn spelling(name: &[u8], known: &[u8]) -> Option<Spelling> {
    let mut spelling = Spelling::Own;
    for (byte, expect) in name.iter().zip(known) {
        match (byte.to_ascii_lowercase(), *expect) {
            (byte, expect) if byte == expect => {}
            (byte, b'-') if byte.is_ascii_punctuation() => spelling = Spelling::Twin,
            _ => return None,
        }
    }
    Some(spelling)
}

/// The items of a comma-separated list, without the space around them; empty ones are left out (RFC 9110 §5.6.1).
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// Whether a comma-separated list has a token, in any case.
pub fn has_token(value: &[u8], token: &str) -> bool {
    tokens(value).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (name, expect) in [
            ("Host", Class::Host),
            ("Content-Length", Class::Framing),
            ("TRANSFER-ENCODING", Class::Framing),
            ("connection", Class::HopByHop),
            ("Keep-Alive", Class::HopByHop),
            ("Proxy-Connection", Class::HopByHop),
            ("TE", Class::HopByHop),
            ("Trailer", Class::HopByHop),
            ("Upgrade", Class::HopByHop),
            ("Proxy-Authenticate", Class::HopByHop),
            ("Proxy-Authorization", Class::HopByHop),
            ("HTTP2-Settings", Class::HopByHop),
            ("Transfer_Encoding", Class::Misleading),
            ("content_length", Class::Misleading),
            ("Keep_Alive", Class::Misleading),
            ("Transfer.Encoding", Class::Misleading),
            ("content~length", Class::Misleading),
            ("Proxy_Authorization", Class::Misleading),
            ("Proxy", Class::Misleading),
            ("Expect", Class::EndToEnd),
            ("Cookie", Class::EndToEnd),
            ("Content-Lengths", Class::EndToEnd),
            ("Content Length", Class::EndToEnd),
            ("", Class::EndToEnd),
            ("x_y", Class::EndToEnd),
        ] {
            assert_eq!(class_of(name.as_bytes()), expect, "{name}");
        }
    }

    #[test]
    fn what_goes_on() {
        for (name, connection, expect) in [
            ("Cookie", &[][..], true),
            ("cookie", &["close"], true),
            ("X-Y", &["close, x-y"], false),
            ("x-y", &["close", "keep-alive,X-Y"], false),
            ("x-y", &["x-y-z"], true),
            ("Host", &[], false),
            ("Content-Length", &[], false),
            ("TE", &[], false),
            ("Keep_Alive", &[], false),
        ] {
            let values = connection.iter().map(|value| value.as_bytes());
            assert_eq!(is_end_to_end(name.as_bytes(), values), expect, "{name} {connection:?}");
        }
    }

    #[test]
    fn lists() {
        for (value, expect) in [
            ("", &[][..]),
            (" , ,", &[]),
            ("close", &["close"]),
            ("keep-alive ,\tX-Y,close", &["keep-alive", "X-Y", "close"]),
        ] {
            let found: Vec<&[u8]> = tokens(value.as_bytes()).collect();
            assert_eq!(found, expect.iter().map(|item| item.as_bytes()).collect::<Vec<_>>(), "{value:?}");
        }
        assert!(has_token(b"a, Close", "close") && !has_token(b"closed", "close"));
    }
}
