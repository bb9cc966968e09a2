//! What values a setting can have, and how they are written.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::word::Word;

/// 1,048,576 octets.
const MEGABYTE_BITS: u32 = 20;

/// A value of a setting as it is written: in the API's answers and in what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    Word(&'static str),
    Number(u64),
    Words(Vec<&'static str>),
    Flag(bool),
    /// Members in their order.
    Object(Vec<(&'static str, SettingValue)>),
}

impl fmt::Display for SettingValue {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingValue::Word(word) => f.write_str(word),
            SettingValue::Number(number) => number.fmt(f),
            SettingValue::Words(words) => write!(f, "[{}]", words.join(",")),
            SettingValue::Flag(flag) => Switch::write(flag).fmt(f),
            SettingValue::Object(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    write!(f, "{}{name}={value}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A set of values. Implemented by types of which no value is ever made.
pub(crate) trait Form {
    /// What a value means to who obeys it.
    type Meaning;

    /// Whether anybody can change it.
    const IS_EDITABLE: bool = true;

    /// None if the text is no value of this form.
    fn read(text: &str) -> Option<Self::Meaning>;

    /// The normal form: what it reads is written so.
    fn write(meaning: &Self::Meaning) -> SettingValue;

    /// Completes "the value must be …".
    fn description() -> String;
}

/// `on` or `off`.
pub(crate) struct Switch;

/// A whole number of seconds, from one to `MAX`.
pub(crate) struct Seconds<const MAX: u64>;

/// A whole number of megabytes, from one to `MAX`.
pub(crate) struct Megabytes<const MAX: u64>;

/// A word of a list.
pub(crate) struct OneOf<W>(PhantomData<W>);

/// The only value of a switch that cannot be turned. It takes `off` too, which many clients send for every zone that
/// they make, and stays on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlwaysOn;

impl Form for Switch {
    type Meaning = bool;

    fn read(text: &str) -> Option<bool> {
        match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        }
    }

    fn write(meaning: &bool) -> SettingValue {
        SettingValue::Word(if *meaning { "on" } else { "off" })
    }

    fn description() -> String {
        "on or off".to_owned()
    }
}

impl<const MAX: u64> Form for Seconds<MAX> {
    type Meaning = Duration;

    fn read(text: &str) -> Option<Duration> {
        let seconds = text.parse().ok().filter(|seconds| (1..=MAX).contains(seconds));
        seconds.map(Duration::from_secs)
    }

    fn write(meaning: &Duration) -> SettingValue {
        SettingValue::Number(meaning.as_secs())
    }

    fn description() -> String {
        format!("a whole number of seconds between 1 and {MAX}")
    }
}

impl<const MAX: u64> Form for Megabytes<MAX> {
    /// In octets.
    type Meaning = u64;

    fn read(text: &str) -> Option<u64> {
        let megabytes: Option<u64> = text.parse().ok().filter(|megabytes| (1..=MAX).contains(megabytes));
        megabytes.map(|megabytes| megabytes << MEGABYTE_BITS)
    }

    fn write(meaning: &u64) -> SettingValue {
        SettingValue::Number(meaning >> MEGABYTE_BITS)
    }

    fn description() -> String {
        format!("a whole number of megabytes between 1 and {MAX}")
    }
}

impl<W: Word> Form for OneOf<W> {
    type Meaning = W;

    fn read(text: &str) -> Option<W> {
        W::all().iter().copied().find(|word| word.text() == text)
    }

    fn write(meaning: &W) -> SettingValue {
        SettingValue::Word(meaning.text())
    }

    fn description() -> String {
        let words: Vec<&str> = W::all().iter().map(|word| word.text()).collect();
        match words.split_last() {
            Some((last, others)) => format!("one of {} and {last}", others.join(", ")),
            None => "nothing".to_owned(),
        }
    }
}

impl Form for AlwaysOn {
    type Meaning = AlwaysOn;
    const IS_EDITABLE: bool = false;

    fn read(text: &str) -> Option<AlwaysOn> {
        Switch::read(text).map(|_| AlwaysOn)
    }

    fn write(_: &AlwaysOn) -> SettingValue {
        Switch::write(&true)
    }

    fn description() -> String {
        Switch::description()
    }
}
