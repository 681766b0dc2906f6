//! The values templates work on: JSON that remembers the order of its fields.

use std::{cmp::Ordering, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::Number;

/// A JSON value with its fields in the order they came.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// `null`, and every field that is not there.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(Number),
    /// Text.
    Text(String),
    /// An array.
    List(Vec<Data>),
    /// An object.
    Object(Vec<(String, Data)>),
}

/// Fields of the API that are Go maps, not structs: they print as `map[key:value]`, sorted.
const MAPS: [&str; 12] = [
    "Labels",
    "Options",
    "DriverOpts",
    "Sysctls",
    "Containers",
    "Services",
    "Peers",
    "Attributes",
    "AuxiliaryAddresses",
    "LogOpts",
    "Annotations",
    "Networks",
];

impl Data {
    /// Parses JSON text.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Any serializable value.
    pub fn from_serialize(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).and_then(|text| Self::parse(&text))
    }

    /// The field `name` of an object; `Null` when there is none.
    pub fn field(&self, name: &str) -> Option<&Data> {
        match self {
            Self::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, v)| v),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// Go templates' truth: not zero, not empty.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(number) => number.as_f64() != Some(0.0),
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Object(fields) => !fields.is_empty(),
        }
    }

    /// How many items, fields or bytes; `None` for what has no length.
    pub fn len(&self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.len()),
            Self::List(items) => Some(items.len()),
            Self::Object(fields) => Some(fields.len()),
            Self::Null => Some(0),
            Self::Bool(_) | Self::Number(_) => None,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Orders numbers and texts; other kinds do not compare.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => (a == b).then_some(Ordering::Equal),
            _ => None,
        }
    }

    fn write(&self, out: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        match self {
            Self::Null => out.write_str("<nil>"),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Text(text) => out.write_str(text),
            Self::List(items) => {
                out.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    out.write_str(if index == 0 { "" } else { " " })?;
                    item.write(out, "")?;
                }
                out.write_str("]")
            }
            Self::Object(fields) if MAPS.contains(&name) => write_map(out, fields),
            Self::Object(fields) => {
                out.write_str("{")?;
                for (index, (key, value)) in fields.iter().enumerate() {
                    out.write_str(if index == 0 { "" } else { " " })?;
                    value.write(out, key)?;
                }
                out.write_str("}")
            }
        }
    }

    /// Prints the value of field `name`, which decides whether an object is a map.
    pub fn to_text(&self, name: &str) -> String {
        struct Named<'a>(&'a Data, &'a str);
        impl fmt::Display for Named<'_> {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(out, self.1)
            }
        }
        Named(self, name).to_string()
    }
}

fn write_map(out: &mut fmt::Formatter<'_>, fields: &[(String, Data)]) -> fmt::Result {
    let mut sorted: Vec<&(String, Data)> = fields.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    out.write_str("map[")?;
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        write!(out, "{}{key}:", if index == 0 { "" } else { " " })?;
        value.write(out, "")?;
    }
    out.write_str("]")
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<usize> for Data {
    fn from(number: usize) -> Self {
        Self::Number(number.into())
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;
        impl<'de> Visitor<'de> for Ordered {
            type Value = Data;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Data, E> {
                Ok(Data::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Data, E> {
                Ok(Data::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Data, E> {
                Ok(Data::Number(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Data, E> {
                Ok(Data::Number(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Data, E> {
                Ok(Number::from_f64(value).map_or(Data::Null, Data::Number))
            }
            fn visit_str<E>(self, value: &str) -> Result<Data, E> {
                Ok(Data::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Data, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Data::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Data, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    fields.push(entry);
                }
                Ok(Data::Object(fields))
            }
        }
        deserializer.deserialize_any(Ordered)
    }
}
