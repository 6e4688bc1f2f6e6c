//! serde's data model over a JSON value, with faults that know their place.
//!
//! A well-kept crate does the same by wrapping any deserializer in another; in the filter that layer alone took a
//! quarter of the module, which Envoy compiles for every process. One plain deserializer costs a tenth of it, and hands
//! out unknown fields and wrong types as data instead of text.

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;
use std::fmt;

/// Reads a type from a value.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Fault> {
    T::deserialize(Reader(value)).map_err(|Error(mut fault)| {
        fault.path.reverse();
        *fault
    })
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// Why a value could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    UnknownField { field: String, known: &'static [&'static str] },
    UnknownValue { value: String, known: &'static [&'static str] },
    Type { found: String, expected: String },
    Other(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField { field, known } => {
                write!(f, "unknown field `{field}`; fields here: {}", known.join(", "))
            }
            Self::UnknownValue { value, known } => {
                write!(f, "unknown value `{value}`; write one of {}", known.join(", "))
            }
            Self::Type { found, expected } => write!(f, "this is {found}; write {expected}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

/// A fault and where it is, from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) path: Vec<Segment>,
    pub(crate) reason: Reason,
}

impl Fault {
    /// `.http[1].route`; empty for the value as a whole.
    pub(crate) fn rendered_path(&self) -> String {
        let segment = |segment: &Segment| match segment {
            Segment::Key(key) => format!(".{key}"),
            Segment::Index(index) => format!("[{index}]"),
        };
        self.path.iter().map(segment).collect()
    }
}

/// What serde passes up; one pointer, as it passes through every level. The path grows from the inside out.
#[derive(Debug)]
struct Error(Box<Fault>);

impl Error {
    fn new(reason: Reason) -> Self {
        Self(Box::new(Fault { path: Vec::new(), reason }))
    }

    fn inside(mut self, segment: Segment) -> Self {
        self.0.path.push(segment);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.reason.fmt(f)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Reason::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let expected = match found {
            // It is one, so what is wrong with it is its size.
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => range(&expected).unwrap_or_else(|| in_words(&expected)),
            _ => in_words(&expected),
        };
        let found = match found {
            Unexpected::Map => "a map".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            other => other.to_string(),
        };
        Self::new(Reason::Type { found, expected })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(Reason::UnknownField { field: field.to_owned(), known })
    }

    fn unknown_variant(value: &str, known: &'static [&'static str]) -> Self {
        Self::new(Reason::UnknownValue { value: value.to_owned(), known })
    }
}

struct Reader<'a>(&'a Value);

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Value::Object(fields) => visitor.visit_map(Fields { fields: fields.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(Word(self))
    }

    /// serde would take the elements of a list for the fields, in the order of their declaration.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => {
                Err(Error::new(Reason::Type { found: "a list".to_owned(), expected: "a map".to_owned() }))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, item)) = self.items.next() else { return Ok(None) };
        seed.deserialize(Reader(item)).map(Some).map_err(|error| error.inside(Segment::Index(index)))
    }

    /// Without it, a list of one would get room for four.
    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Fields<'a> {
    fields: serde_json::map::Iter<'a>,
    value: Option<(&'a String, &'a Value)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.value = self.fields.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        let key_reader: de::value::BorrowedStrDeserializer<'de, Error> = de::value::BorrowedStrDeserializer::new(key);
        seed.deserialize(key_reader).map(Some).map_err(|error| error.inside(Segment::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.value.take() {
            Some((key, value)) => {
                seed.deserialize(Reader(value)).map_err(|error| error.inside(Segment::Key(key.clone())))
            }
            None => Err(de::Error::custom("a value without a key")),
        }
    }
}

/// A variant without content, written as its name.
struct Word<'a>(Reader<'a>);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let Value::String(name) = self.0.0 else {
            let found = described(self.0.0);
            return Err(Error::new(Reason::Type { found, expected: "one of the names Istio has for it".to_owned() }));
        };
        let name: de::value::StrDeserializer<'_, Error> = name.as_str().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }
}

/// serde names Rust's types; these are words for them.
fn in_words(expected: &str) -> String {
    match expected {
        "i32" | "i64" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not below 0",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        name if name.starts_with("struct ") => "a map",
        other => other,
    }
    .to_owned()
}

/// Which whole numbers fit into one of Rust's types.
fn range(expected: &str) -> Option<String> {
    let (least, most) = match expected {
        "i32" => (i64::from(i32::MIN), u64::from(i32::MAX.unsigned_abs())),
        "i64" => (i64::MIN, i64::MAX.unsigned_abs()),
        "u8" => (0, u64::from(u8::MAX)),
        "u16" => (0, u64::from(u16::MAX)),
        "u32" => (0, u64::from(u32::MAX)),
        "u64" | "usize" => (0, u64::MAX),
        _ => return None,
    };
    Some(format!("a whole number from {least} to {most}"))
}

/// Says in words what a value is.
fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
        plain => format!("`{plain}`"),
    }
}
