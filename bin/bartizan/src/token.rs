//! How commands are given a token. Command lines are shown to everybody on a machine (`ps`), so there are other ways.

use std::io::Read;
use std::path::Path;

use crate::failure::{Cause, Failure};

/// Of a file or standard input; a token has some hundred octets.
const TOKEN_MAX: u64 = 65_536;

/// Standard input in place of a token.
const STDIN: &str = "-";

/// The token that `flag` or its variable gives, else the one in the file. One that was typed beats both.
pub fn given(flag: &str, token: Option<&str>, file: Option<&Path>) -> anyhow::Result<Option<String>> {
    match (token, file) {
        (Some(STDIN), _) => read(std::io::stdin().lock(), "standard input").map(Some),
        (Some(token), file) if file.is_none() || is_typed(token) => {
            if is_typed(token) {
                tracing::warn!(
                    "everybody on this machine can see the token after {flag}; give it by {flag}-file FILE, or {flag} -"
                );
            }
            Ok(Some(token.to_owned()))
        }
        (_, Some(path)) => {
            let failed = |error: std::io::Error| {
                Failure::new(Cause::Usage, format!("cannot read the token in {}: {error}", path.display()))
            };
            read(std::fs::File::open(path).map_err(failed)?, &path.display().to_string()).map(Some)
        }
        (_, None) => Ok(None),
    }
}

/// Whether it is on the command line, and not in the environment.
fn is_typed(token: &str) -> bool {
    !token.is_empty() && std::env::args().any(|word| word.ends_with(token))
}

fn read(from: impl Read, place: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(TOKEN_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Cause::Usage, format!("cannot read a token from {place}: {error}")))?;
    match text.trim() {
        "" => Err(Failure::new(Cause::Usage, format!("there is no token in {place}")).into()),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let path = std::env::temp_dir().join(format!("bartizan-token-{}", std::process::id()));
        std::fs::write(&path, "in-file\n").unwrap();
        for (token, file, expect) in [
            (None, None, None),
            (Some("in-environment"), None, Some("in-environment")),
            (None, Some(path.as_path()), Some("in-file")),
            // A flag beats a variable.
            (Some("in-environment"), Some(path.as_path()), Some("in-file")),
        ] {
            assert_eq!(given("--token", token, file).unwrap().as_deref(), expect, "{token:?} {file:?}");
        }
        assert_eq!(read(&b"  piped\n"[..], "here").unwrap(), "piped");
        assert!(read(&b"\n"[..], "here").unwrap_err().to_string().contains("no token in here"));
        std::fs::write(&path, "").unwrap();
        assert!(given("--token", None, Some(&path)).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
