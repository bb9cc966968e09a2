//! `--name value` and `--name`, nothing more.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// The flags of a command line.
#[derive(Debug)]
pub struct Flags(HashMap<String, String>);

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub enum FlagError {
    Unknown(String),
    Missing(&'static str),
    Bad { name: &'static str, value: String },
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlagError::Unknown(text) => write!(f, "unknown argument {text}"),
            FlagError::Missing(name) => write!(f, "--{name} is needed"),
            FlagError::Bad { name, value } => write!(f, "--{name} does not take {value:?}"),
        }
    }
}

impl std::error::Error for FlagError {}

impl Flags {
    /// Reads the arguments of this process. `known` are the flags that it has.
    pub fn of_process(known: &[&str]) -> Result<Flags, FlagError> {
        Flags::parse(std::env::args().skip(1), known)
    }

    fn parse(arguments: impl Iterator<Item = String>, known: &[&str]) -> Result<Flags, FlagError> {
        let mut flags = HashMap::new();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--").filter(|name| known.contains(name)) {
                Some(name) => {
                    let value = arguments.next_if(|value| !value.starts_with("--")).unwrap_or_default();
                    flags.insert(name.to_owned(), value);
                }
                None => return Err(FlagError::Unknown(argument)),
            }
        }
        Ok(Flags(flags))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of a flag that must be there.
    pub fn need<T: FromStr>(&self, name: &'static str) -> Result<T, FlagError> {
        self.get(name)?.ok_or(FlagError::Missing(name))
    }

    /// The value of a flag that may be there.
    pub fn get<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, FlagError> {
        match self.0.get(name) {
            Some(value) => value.parse().map(Some).map_err(|_| FlagError::Bad { name, value: value.clone() }),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read() {
        let parse = |line: &str| Flags::parse(line.split_whitespace().map(str::to_owned), &["names", "json"]);
        let flags = parse("--names 7 --json").unwrap();
        assert_eq!((flags.need("names"), flags.has("json")), (Ok(7), true));
        assert_eq!(flags.need::<u32>("json"), Err(FlagError::Bad { name: "json", value: String::new() }));
        assert_eq!(parse("--json").unwrap().need::<u32>("names"), Err(FlagError::Missing("names")));
        assert_eq!(parse("7").unwrap_err(), FlagError::Unknown("7".to_owned()));
        assert_eq!(parse("--other").unwrap_err(), FlagError::Unknown("--other".to_owned()));
    }
}
