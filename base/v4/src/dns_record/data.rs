//! The data of a record by field: an object whose fields are the type's to say.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

/// Fields by name, in the order in which they are sent. What a value must be is for the type to say: the flags of CAA are
/// a number, those of NAPTR a text. A request may have fields that the type does not know; they are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data(Vec<(String, Value)>);

impl Data {
    pub fn new(fields: impl IntoIterator<Item = (String, Value)>) -> Data {
        Data(fields.into_iter().collect())
    }

    /// A field that is there and not `null`; the last of its name, as readers of JSON do.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(field, _)| field == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// This data with a field changed, if it has that field.
    pub fn with(mut self, name: &str, value: Value) -> Data {
        if let Some((_, old)) = self.0.iter_mut().rev().find(|(field, _)| field == name) {
            *old = value;
        }
        self
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Data, D::Error> {
        from.deserialize_map(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Data(fields))
    }
}

macro_rules! fields {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ty),* $(,)?) => {
        /// What [`Data`] can have over all types: SRV, CAA, CERT, DNSKEY, DS, HTTPS, LOC, NAPTR, SMIMEA, SSHFP, SVCB, TLSA
        /// and URI. It is there for the API's document alone. Numbers may be sent as text.
        #[derive(ToSchema)]
        #[schema(as = RecordData)]
        pub struct DataFields {
            $($(#[doc = $doc])* pub $name: Option<$kind>,)*
        }
    };
}

fields! {
    /// SRV, HTTPS and SVCB.
    priority: u16,
    /// SRV and URI.
    weight: u16,
    port: u16,
    /// A host name; of URI, a URI.
    target: String,
    /// CAA: the property's value. HTTPS and SVCB: the parameters (RFC 9460 §2.1).
    value: String,
    tag: String,
    /// CAA and DNSKEY: a number. NAPTR: text.
    flags: serde_json::Value,
    /// CERT and SSHFP.
    r#type: u16,
    key_tag: u16,
    algorithm: u8,
    /// CERT: base64. SMIMEA and TLSA: hexadecimal.
    certificate: String,
    protocol: u8,
    public_key: String,
    digest_type: u8,
    digest: String,
    fingerprint: String,
    usage: u8,
    selector: u8,
    matching_type: u8,
    order: u16,
    preference: u16,
    regex: String,
    replacement: String,
    /// NAPTR. For SRV, `service`, `proto` and `name` are the old way to say the record's name.
    service: String,
    proto: String,
    name: String,
    lat_degrees: u8,
    lat_minutes: u8,
    lat_seconds: f64,
    lat_direction: String,
    long_degrees: u8,
    long_minutes: u8,
    long_seconds: f64,
    long_direction: String,
    /// Metres, as `size` and the precisions.
    altitude: f64,
    size: f64,
    precision_horz: f64,
    precision_vert: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order() {
        let text = r#"{"priority":1,"alpha":"x","none":null}"#;
        let data: Data = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&data).unwrap(), text);
        assert_eq!((data.text("alpha"), data.get("none"), data.get("beta")), (Some("x"), None, None));
        let data = data.with("priority", 2.into()).with("beta", 3.into());
        assert_eq!(serde_json::to_string(&data).unwrap(), r#"{"priority":2,"alpha":"x","none":null}"#);
        assert!(serde_json::from_str::<Data>("[]").is_err());
    }
}
