//! The query of a request, read as forgivingly as clients write it.
//!
//! A parameter without a value is none, except where its name alone asks (`comment.present`). Of one that is written
//! twice the last counts, unless a list takes several (`tag`). A dash in a name is an underscore (`tag-match`).

use std::collections::BTreeMap;

use axum::extract::Query as Pairs;
use bartizan_v4::Integer;
use http::Uri;
use serde::de::value::{Error as ValueError, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};

use crate::error::{Error, Fault};

/// The parameters of a request as a `T`. Those that it does not know are ignored.
pub(crate) fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, Error> {
    let Pairs(pairs) = Pairs::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| Fault::BadQuery)?;
    let mut given: BTreeMap<String, Given> = BTreeMap::new();
    for (name, value) in pairs.into_iter().filter(|(name, value)| !value.is_empty() || asks_by_name(name)) {
        given.entry(name.replace('-', "_")).or_default().0.push(value);
    }
    let given = MapDeserializer::<_, ValueError>::new(given.into_iter());
    serde_path_to_error::deserialize(given)
        .map_err(|error| Fault::BadQuery.because(format!("{}: {}", error.path(), error.inner())))
}

fn asks_by_name(name: &str) -> bool {
    name.ends_with(".present") || name.ends_with(".absent")
}

/// The values of one parameter, at least one.
#[derive(Default)]
struct Given(Vec<String>);

impl Given {
    fn last(mut self) -> String {
        self.0.pop().unwrap_or_default()
    }

    fn whole_number(self) -> Result<i64, ValueError> {
        let text = self.last();
        text.parse()
            .map(|Integer(number)| number)
            .map_err(|_| ValueError::custom(format!("{text:?} is no whole number")))
    }
}

impl IntoDeserializer<'_> for Given {
    type Deserializer = Given;

    fn into_deserializer(self) -> Given {
        self
    }
}

impl<'de> Deserializer<'de> for Given {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_string(self.last())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_seq(SeqDeserializer::new(self.0.into_iter()))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let text = self.last();
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            _ => Err(ValueError::custom(format!("{text:?} is neither true nor false"))),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_i64(self.whole_number()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_u32(visitor)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Params {
        name: Option<String>,
        #[serde(rename = "comment.present")]
        present: Option<String>,
        tag: Vec<String>,
        tag_match: Option<String>,
        proxied: Option<bool>,
        page: Option<u32>,
    }

    fn asked(query: &str) -> Result<Params, String> {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        read(&uri).map_err(|error| error.problem().message)
    }

    #[test]
    fn as_clients_write_it() {
        let text = |text: &str| Some(text.to_owned());
        for (query, expect) in [
            ("", Params::default()),
            ("&&=&name", Params::default()),
            ("name=&page=&proxied=", Params::default()),
            ("name=a&name=b", Params { name: text("b"), ..Params::default() }),
            ("name=a&name=", Params { name: text("a"), ..Params::default() }),
            ("name=a%20b+c", Params { name: text("a b c"), ..Params::default() }),
            ("comment.present", Params { present: text(""), ..Params::default() }),
            ("tag=a:b", Params { tag: vec!["a:b".to_owned()], ..Params::default() }),
            (
                "tag=a:b&tag=c:d&tag-match=any",
                Params { tag: vec!["a:b".to_owned(), "c:d".to_owned()], tag_match: text("any"), ..Params::default() },
            ),
            ("tag-match=any&tag_match=all", Params { tag_match: text("all"), ..Params::default() }),
            ("proxied=1", Params { proxied: Some(true), ..Params::default() }),
            ("proxied=False", Params { proxied: Some(false), ..Params::default() }),
            ("page=2", Params { page: Some(2), ..Params::default() }),
            ("page=2.0&unknown=x&unknown=y", Params { page: Some(2), ..Params::default() }),
        ] {
            assert_eq!(asked(query), Ok(expect), "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, expect) in [
            ("page=first", "page: \"first\" is no whole number"),
            ("page=1.5", "page: \"1.5\" is no whole number"),
            ("page=-1", "page: invalid value: integer `-1`, expected u32"),
            ("proxied=maybe", "proxied: \"maybe\" is neither true nor false"),
        ] {
            assert_eq!(asked(query), Err(format!("Malformed query parameter: {expect}")), "{query}");
        }
    }
}
