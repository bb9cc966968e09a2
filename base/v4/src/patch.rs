//! A field of a request that was left out, was `null`, or has a value: the three things that PATCH tells apart.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Use it with `#[serde(default, skip_serializing_if = "Patch::is_absent")]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The body has no such field: PATCH keeps what is stored.
    #[default]
    Absent,
    /// The body has the field with `null`: back to the default.
    Null,
    Value(T),
}

impl<T> Patch<T> {
    pub const fn is_absent(&self) -> bool {
        matches!(self, Patch::Absent)
    }

    pub const fn value(&self) -> Option<&T> {
        match self {
            Patch::Value(value) => Some(value),
            Patch::Absent | Patch::Null => None,
        }
    }

    /// This field, or the stored value where the body has no such field.
    pub fn or_stored(self, stored: Option<T>) -> Patch<T> {
        match self {
            Patch::Absent => Patch::from(stored),
            given => given,
        }
    }
}

/// An object in which nothing is said is as good as none: clients in Go send those that nobody filled in as `{}`.
pub(crate) fn said<'de, T, D>(from: D) -> Result<Patch<T>, D::Error>
where
    T: Deserialize<'de> + Default + PartialEq,
    D: Deserializer<'de>,
{
    Ok(match Patch::deserialize(from)? {
        Patch::Value(value) if value == T::default() => Patch::Absent,
        given => given,
    })
}

impl<T> From<Option<T>> for Patch<T> {
    fn from(value: Option<T>) -> Patch<T> {
        value.map_or(Patch::Absent, Patch::Value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Patch<T>, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Patch::Null, Patch::Value))
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize, PartialEq)]
    struct Body {
        #[serde(default, skip_serializing_if = "Patch::is_absent")]
        comment: Patch<String>,
    }

    #[test]
    fn three_states_read_what_they_write() {
        for (text, comment) in [
            ("{}", Patch::Absent),
            (r#"{"comment":null}"#, Patch::Null),
            (r#"{"comment":"x"}"#, Patch::Value("x".to_owned())),
        ] {
            let body = Body { comment };
            assert_eq!(serde_json::from_str::<Body>(text).unwrap(), body);
            assert_eq!(serde_json::to_string(&body).unwrap(), text);
        }
    }
}
