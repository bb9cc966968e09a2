//! Data that is a row of fields, as its [`Form`] has them.

use bartizan_names::{Name, RecordType};
use bartizan_v4::dns_record::Data;

use super::Given;
use super::error::DataError;
use super::field::{Kind, Value};
use super::form::{self, Form, Misfit, Priority, Shape};
use super::svc_params;
use super::text::{Names, Style, Words};

/// The data of a record that is a row of fields. Names are lower case, so equal data is equal on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Composite {
    rtype: RecordType,
    /// One for each field of the type.
    values: Vec<Value>,
}

impl Composite {
    pub fn rtype(&self) -> RecordType {
        self.rtype
    }

    /// The host at which the record points, if its type has one.
    pub fn target(&self) -> Option<&Name> {
        self.values.iter().find_map(|value| if let Value::Name(name) = value { Some(name) } else { None })
    }

    /// From a request. `data` wins over `content`.
    pub(super) fn read(form: &'static Form, given: &Given<'_>) -> Result<Composite, DataError> {
        let names = Names::Whole { apex: given.apex };
        let (values, by_field) = match given.data.filter(|_| form.shape == Shape::Data) {
            Some(data) => (by_field(form, data, given, names)?, true),
            None => (by_content(form, given, names)?, false),
        };
        checked(form, values, by_field)
    }

    /// All fields, as master files have them.
    pub(super) fn read_text(form: &'static Form, text: &str, names: Names<'_>) -> Result<Composite, DataError> {
        let mut words = Words::of(text);
        let values =
            form.fields.iter().map(|field| field.kind.read_text(&mut words, names)).collect::<Option<Vec<_>>>();
        match values.filter(|_| words.rest().is_empty()) {
            Some(values) => checked(form, values, false),
            None => Err(unreadable_text(form, text)),
        }
    }

    pub(super) fn read_wire(form: &'static Form, mut wire: &[u8]) -> Option<Composite> {
        let values = form.fields.iter().map(|field| field.kind.read_wire(&mut wire)).collect::<Option<Vec<_>>>()?;
        checked(form, values, false).ok().filter(|_| wire.is_empty())
    }

    pub(super) fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        self.fields().for_each(|(_, kind, value)| kind.push_wire(value, &mut wire));
        wire
    }

    /// All fields, as master files have them.
    pub(super) fn text(&self) -> String {
        joined(self.fields(), Style::Master)
    }

    /// The API's `content`.
    pub(super) fn content(&self) -> String {
        joined(self.shown(), Style::Content)
    }

    /// The API's `data`.
    pub(super) fn data(&self) -> Option<Data> {
        let form = form::of(self.rtype).filter(|form| form.shape == Shape::Data)?;
        debug_assert_eq!(form.fields.len(), self.values.len());
        Some(Data::new(self.shown().map(|(name, kind, value)| (name.to_owned(), kind.json(value)))))
    }

    /// What stands beside `content` and `data` as `priority`.
    pub(super) fn priority(&self) -> Option<u16> {
        let form = form::of(self.rtype).filter(|form| form.priority != Priority::Plain)?;
        debug_assert_eq!(form.fields[0].name, "priority");
        if let Some(Value::Number(number)) = self.values.first() { Some(*number) } else { None }
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, Kind, &Value)> {
        let fields = form::of(self.rtype).map_or(&[][..], |form| form.fields);
        fields.iter().zip(&self.values).map(|(field, value)| (field.name, field.kind, value))
    }

    /// The fields that the API has in `content` and `data`.
    fn shown(&self) -> impl Iterator<Item = (&'static str, Kind, &Value)> {
        let beside = form::of(self.rtype).is_some_and(|form| form.priority == Priority::Beside);
        self.fields().skip(usize::from(beside))
    }
}

fn joined<'v>(fields: impl Iterator<Item = (&'static str, Kind, &'v Value)>, style: Style) -> String {
    let words = fields.map(|(_, kind, value)| kind.text(value, style)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn by_field(form: &Form, data: &Data, given: &Given<'_>, names: Names<'_>) -> Result<Vec<Value>, DataError> {
    let read = |field: &'static super::field::Field| {
        let error = DataError::Field { field: field.name, form: field.kind.form() };
        let value = data.get(field.name);
        match (field.name, form.priority) {
            // It may stand beside `data` instead.
            ("priority", Priority::Beside | Priority::Both) if value.is_none() => match given.priority {
                Some(_) => beside(given),
                None if form.priority == Priority::Both => Err(error),
                None => Err(DataError::Priority),
            },
            ("priority", Priority::Beside) if given.priority.is_some() => beside(given),
            _ => match value {
                Some(value) => field.kind.read_json(value, names).ok_or(error),
                None => field.kind.default().ok_or(error),
            },
        }
    };
    form.fields.iter().map(read).collect()
}

/// The words of `content`, without the priority where it stands beside. Some clients put the class and the type in front.
fn by_content(form: &Form, given: &Given<'_>, names: Names<'_>) -> Result<Vec<Value>, DataError> {
    let mut words = Words::of(given.content.unwrap_or_default());
    if form.shape == Shape::Data {
        for name in ["IN", form.name] {
            let mut after = words;
            if after.next().is_some_and(|word| word.eq_ignore_ascii_case(name)) {
                words = after;
            }
        }
    }
    let lacks_priority = match form.priority {
        Priority::Plain => false,
        Priority::Beside | Priority::Both => form.shape == Shape::Content || words.count_left() < form.fields.len(),
    };
    let mut values = Vec::with_capacity(form.fields.len());
    let priority = lacks_priority.then(|| match given.priority {
        // The old form of SRV is only one with a priority beside it.
        None if form.priority == Priority::Both => Err(unreadable(form)),
        _ => beside(given),
    });
    for field in form.fields.iter().skip(usize::from(lacks_priority)) {
        let unreadable = || unreadable_text(form, given.content.unwrap_or_default());
        values.push(field.kind.read_text(&mut words, names).ok_or_else(unreadable)?);
    }
    if !words.rest().is_empty() {
        return Err(unreadable(form));
    }
    if let Some(priority) = priority {
        values.insert(0, priority?);
    }
    Ok(values)
}

fn beside(given: &Given<'_>) -> Result<Value, DataError> {
    let priority = given.priority.and_then(|priority| u16::try_from(priority).ok());
    priority.map(Value::Number).ok_or(DataError::Priority)
}

fn checked(form: &Form, values: Vec<Value>, by_field: bool) -> Result<Composite, DataError> {
    match (form.check)(&values) {
        Ok(()) => Ok(Composite { rtype: form.rtype, values }),
        Err(Misfit { field, must_be }) if by_field => Err(DataError::Field { field, form: must_be }),
        Err(Misfit { field, must_be }) => {
            Err(DataError::Content { kind: form.name, form: format!("{}, {field} being {must_be}", words_of(form)) })
        }
    }
}

/// The same of a text, in which more can be seen.
fn unreadable_text(form: &Form, text: &str) -> DataError {
    let has_params = form.fields.last().is_some_and(|field| matches!(field.kind, Kind::Params));
    let mut words = Words::of(text);
    // Behind the priority and the target.
    let params = std::iter::from_fn(|| words.next()).skip(form.fields.len() - 1);
    match svc_params::doubled(params).filter(|_| has_params) {
        Some(key) => DataError::Doubled { kind: form.name, key },
        None => unreadable(form),
    }
}

fn unreadable(form: &Form) -> DataError {
    match (form.rtype, form.shape) {
        (RecordType::MX, _) => DataError::Mx,
        (RecordType::NS | RecordType::PTR | RecordType::DNAME, _) => DataError::Host { kind: form.name },
        (_, Shape::Content) => DataError::Content { kind: form.name, form: form.fields[0].kind.form().to_owned() },
        (_, Shape::Data) => DataError::Content { kind: form.name, form: words_of(form) },
    }
}

fn words_of(form: &Form) -> String {
    let words: Vec<&str> = form.fields.iter().map(|field| field.name).collect();
    format!("\"{}\"", words.join(" "))
}
