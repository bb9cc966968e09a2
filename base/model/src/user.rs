//! What users log in with: an address of e-mail, and a password.

use std::fmt;

use bartizan_names::Name;

/// Octets of an address (RFC 5321 §4.5.3.1.3, without the angle brackets), and of the part in front of the `@` (§4.5.3.1.1).
const EMAIL_MAX: usize = 254;
const LOCAL_MAX: usize = 64;

/// Characters that a password has at least, and octets at most.
pub const PASSWORD_MIN: usize = 12;
pub const PASSWORD_MAX: usize = 1_024;

/// Different characters in a password.
const DIFFERENT_MIN: usize = 5;

/// The text is no address that a user can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no e-mail address such as name@example.com")]
pub struct EmailError(pub String);

/// An address of e-mail (RFC 5321 §4.1.2, `Dot-string` alone), in lower case: no two users differ by case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

impl Email {
    /// The name of the host may be in the letters of any script.
    pub fn parse(text: &str) -> Result<Email, EmailError> {
        let refused = || EmailError(text.chars().take(EMAIL_MAX).collect());
        let (local, domain) = text.trim().rsplit_once('@').ok_or_else(refused)?;
        let special = b"!#$%&'*+-/=?^_`{|}~";
        let is_atext = |byte: u8| byte.is_ascii_alphanumeric() || special.contains(&byte);
        let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atext);
        let host = Name::typed(domain).map_err(|_| refused())?.to_string();
        let is_host = host
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        let email = format!("{}@{host}", local.to_ascii_lowercase());
        let fits = local.len() <= LOCAL_MAX && email.len() <= EMAIL_MAX;
        if is_host && fits && local.split('.').all(is_atom) { Ok(Email(email)) } else { Err(refused()) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why something is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("it needs {PASSWORD_MIN} characters; a few words are easy to remember")]
    Short,
    #[error("it may have {PASSWORD_MAX} octets")]
    Long,
    #[error("it can be guessed: it repeats itself")]
    Same,
    #[error("it can be guessed: the e-mail address is in it")]
    Email,
}

/// Whether `email` may have this password. Its length counts, not which kinds of characters are in it (NIST SP 800-63B
/// §3.1.1).
pub fn check_password(password: &str, email: &str) -> Result<(), PasswordError> {
    if password.chars().count() < PASSWORD_MIN {
        return Err(PasswordError::Short);
    }
    if password.len() > PASSWORD_MAX {
        return Err(PasswordError::Long);
    }
    let mut characters: Vec<char> = password.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    if characters.len() < DIFFERENT_MIN {
        return Err(PasswordError::Same);
    }
    let has_email = !email.is_empty() && password.to_lowercase().contains(&email.to_lowercase());
    if has_email { Err(PasswordError::Email) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let long = format!("{}@example.com", "a".repeat(65));
        for (text, expect) in [
            ("user@example.com", Some("user@example.com")),
            (" User.Name+tag@Example.COM ", Some("user.name+tag@example.com")),
            ("admin@bartizan.localhost", Some("admin@bartizan.localhost")),
            ("me@bücher.example", Some("me@xn--bcher-kva.example")),
            ("me@localhost", Some("me@localhost")),
            ("", None),
            ("user", None),
            ("@example.com", None),
            ("user@", None),
            ("user@.", None),
            ("a@b@example.com", None),
            (".user@example.com", None),
            ("us er@example.com", None),
            ("user@exa mple.com", None),
            ("user@*.example.com", None),
            (&long, None),
        ] {
            assert_eq!(Email::parse(text).ok().as_ref().map(Email::as_str), expect, "{text:?}");
        }
    }

    #[test]
    fn passwords() {
        let long = "abcdefgh".repeat(129);
        for (password, expect) in [
            ("correct horse battery", Ok(())),
            ("ąęółżźćńśĄĘÓ", Ok(())),
            ("short", Err(PasswordError::Short)),
            ("ąęółżźćńś", Err(PasswordError::Short)),
            (&long, Err(PasswordError::Long)),
            ("aaaaaaaaaaaaaaaa", Err(PasswordError::Same)),
            ("121212121212", Err(PasswordError::Same)),
            ("User@example.com1", Err(PasswordError::Email)),
        ] {
            assert_eq!(check_password(password, "user@example.com"), expect, "{password}");
        }
    }
}
