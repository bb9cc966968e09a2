//! Closed lists of words of the dialect.

/// The text is none of the words that a value of this kind can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a word that is known here")]
pub struct WordError;

/// What all lists of words have, for what is written once for every list.
pub(crate) trait Word: Copy + 'static {
    fn all() -> &'static [Self];
    fn text(self) -> &'static str;
}

/// Makes an enum whose variants are words, read in the very spelling in which they are written.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// In the order in which they are listed.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::WordError;

            fn from_str(text: &str) -> Result<$name, $crate::WordError> {
                $name::ALL.iter().copied().find(|word| word.as_str() == text).ok_or($crate::WordError)
            }
        }

        impl $crate::word::Word for $name {
            fn all() -> &'static [$name] {
                $name::ALL
            }

            fn text(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use crate::{
        AccessMode, AppTls, Cipher, ClientField, ClientMode, Families, OldestTls, ProxyProtocol, RefusalForm, Ssl,
        Tls13, Unbelieved, WordError,
    };

    #[test]
    fn words_read_what_they_write() {
        fn check<T: Copy + PartialEq + std::fmt::Debug + std::str::FromStr<Err = WordError>>(
            all: &[T],
            as_str: fn(T) -> &'static str,
        ) {
            for word in all {
                let text = as_str(*word);
                assert_eq!(text.parse(), Ok(*word));
                for other in [text.to_ascii_uppercase(), text.to_ascii_lowercase()].iter().filter(|it| *it != text) {
                    assert_eq!(other.parse::<T>(), Err(WordError), "{word:?}");
                }
            }
            assert_eq!("".parse::<T>(), Err(WordError));
        }
        check(AccessMode::ALL, AccessMode::as_str);
        check(AppTls::ALL, AppTls::as_str);
        check(Families::ALL, Families::as_str);
        check(ProxyProtocol::ALL, ProxyProtocol::as_str);
        check(Ssl::ALL, Ssl::as_str);
        check(OldestTls::ALL, OldestTls::as_str);
        check(Tls13::ALL, Tls13::as_str);
        check(Cipher::ALL, Cipher::as_str);
        check(ClientMode::ALL, ClientMode::as_str);
        check(ClientField::ALL, ClientField::as_str);
        check(Unbelieved::ALL, Unbelieved::as_str);
        check(RefusalForm::ALL, RefusalForm::as_str);
    }
}
