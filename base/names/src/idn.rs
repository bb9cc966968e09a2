//! Names as people write them, in the letters of any script, and as DNS has them: U-labels and A-labels (RFC 5890 §2.3.2.1),
//! mapped and checked as browsers do it (UTS 46). What is ASCII already is taken as it is.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::NameError;

/// `bücher.example` as `xn--bcher-kva.example`.
pub fn to_ascii(text: &str) -> Result<Cow<'_, str>, NameError> {
    if text.is_ascii() {
        return Ok(Cow::Borrowed(text));
    }
    // Underscores and asterisks are for whoever reads the name to judge, and so is its length.
    Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| NameError::BadText)
}

/// `xn--bcher-kva.example` as `bücher.example`, to be shown to people: where that says the same name and nothing else.
pub fn to_unicode(name: &str) -> Cow<'_, str> {
    if !name.to_ascii_lowercase().contains("xn--") {
        return Cow::Borrowed(name);
    }
    let (shown, read) = Uts46::new().to_unicode(name.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow);
    match read {
        Ok(()) if to_ascii(&shown).is_ok_and(|again| again.eq_ignore_ascii_case(name)) => shown,
        _ => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_any_script() {
        for (typed, name, shown) in [
            ("bücher.example", "xn--bcher-kva.example", "bücher.example"),
            ("BÜCHER.example.", "xn--bcher-kva.example.", "bücher.example."),
            // The same letter in two pieces.
            ("bu\u{308}cher.example", "xn--bcher-kva.example", "bücher.example"),
            ("*.bücher.example", "*.xn--bcher-kva.example", "*.bücher.example"),
            (
                "_acme-challenge.straße.example",
                "_acme-challenge.xn--strae-oqa.example",
                "_acme-challenge.straße.example",
            ),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah", "例え.テスト"),
            ("www.example", "www.example", "www.example"),
            // Already as DNS has them, escapes and all.
            ("xn--bcher-kva.Example", "xn--bcher-kva.Example", "bücher.example"),
            (r"a\.b.example", r"a\.b.example", r"a\.b.example"),
            // No letters, or others than the name says, are shown as what they are.
            ("xn--a.example", "xn--a.example", "xn--a.example"),
            ("xn--80ak6aa92e.com", "xn--80ak6aa92e.com", "аррӏе.com"),
        ] {
            assert_eq!(to_ascii(typed).as_deref(), Ok(name), "{typed}");
            assert_eq!(to_unicode(name), shown, "{name}");
        }
        for typed in ["a\u{200b}..ü", "\u{202e}ü.example", "ü\u{0}.\u{e000}"] {
            let read = to_ascii(typed).and_then(|name| crate::Name::parse(&name));
            assert!(read.is_err(), "{typed:?}: {read:?}");
        }
    }
}
