//! How commands are given a token. Command lines are shown to everybody on a machine (`ps`), so there are other ways.

use std::io::Read;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::failure::{Cause, Failure};

/// Of a file or standard input; a token has some hundred octets.
const TOKEN_MAX: u64 = 65_536;

/// Standard input in place of a token.
const STDIN: &str = "-";

/// An argument that is a secret.
pub trait Secret: Args {
    /// What clap knows it by.
    const ID: &'static str;

    fn text(&self) -> Option<&str>;
}

/// A secret, and whether it stands on the command line or comes from the environment.
#[derive(Clone, Default)]
pub struct Seen<S> {
    secret: S,
    is_typed: bool,
}

impl<S> Seen<S> {
    /// Whether it stands on the command line.
    pub fn is_typed(&self) -> bool {
        self.is_typed
    }
}

impl<S: Secret> FromArgMatches for Seen<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Seen<S>, clap::Error> {
        let is_typed = matches.value_source(S::ID) == Some(ValueSource::CommandLine);
        Ok(Seen { secret: S::from_arg_matches(matches)?, is_typed })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Seen::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<S: Secret> Args for Seen<S> {
    fn augment_args(command: Command) -> Command {
        S::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        S::augment_args_for_update(command)
    }
}

/// The token that `flag` or its variable gives, else the one in the file. One that was typed beats both.
pub fn given<S: Secret>(flag: &str, token: &Seen<S>, file: Option<&Path>) -> anyhow::Result<Option<String>> {
    match (token.secret.text(), file) {
        (Some(STDIN), _) => read(std::io::stdin().lock(), "standard input").map(Some),
        (Some(text), file) if file.is_none() || token.is_typed => {
            if token.is_typed {
                tracing::warn!(
                    "everybody on this machine can see the token after {flag}; give it by {flag}-file FILE, or {flag} -"
                );
            }
            Ok(Some(text.to_owned()))
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
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;
    use crate::credentials::ApiToken;

    #[test]
    fn tokens() {
        let path = std::env::temp_dir().join(format!("bartizan-token-{}", std::process::id()));
        std::fs::write(&path, "in-file\n").unwrap();
        let seen = |text: Option<&str>, is_typed| {
            let words = std::iter::once("--api-token").chain(text).filter(|_| text.is_some());
            let command = ApiToken::augment_args(Command::new("test").no_binary_name(true));
            let secret = ApiToken::from_arg_matches(&command.get_matches_from(words)).unwrap();
            Seen { secret, is_typed }
        };
        for (text, is_typed, file, expect) in [
            (None, false, None, None),
            (Some("in-environment"), false, None, Some("in-environment")),
            (None, false, Some(path.as_path()), Some("in-file")),
            // A file beats a variable, and what is typed beats both.
            (Some("in-environment"), false, Some(path.as_path()), Some("in-file")),
            (Some("typed"), true, Some(path.as_path()), Some("typed")),
        ] {
            assert_eq!(given("--token", &seen(text, is_typed), file).unwrap().as_deref(), expect, "{text:?} {file:?}");
        }
        assert_eq!(read(&b"  piped\n"[..], "here").unwrap(), "piped");
        assert!(read(&b"\n"[..], "here").unwrap_err().to_string().contains("no token in here"));
        std::fs::write(&path, "").unwrap();
        assert!(given("--token", &seen(None, false), Some(&path)).is_err());
        std::fs::remove_file(path).unwrap();
    }

    /// Wherever on the line it stands, and however it is spelled.
    #[test]
    fn what_is_typed_is_told_from_the_environment() {
        for (line, expect) in
            [("zone list --api-token 0123", true), ("zone --api-token=0123 list", true), ("zone show 0123", false)]
        {
            let cli = Cli::try_parse_from(std::iter::once("bartizan").chain(line.split(' '))).ok().unwrap();
            let crate::cli::Command::Zone { edge, .. } = cli.command else { panic!("{line}") };
            assert_eq!(edge.api_token.is_typed, expect, "{line}");
        }
    }
}
