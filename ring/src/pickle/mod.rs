//! The few words of Python's pickle format that a ring builder's file needs, and nothing that runs.
//!
//! A pickle is a program for a small stack machine that may call any function of any module. This reader knows numbers,
//! texts, lists, tuples, dictionaries and `array.array`; every other word is an error, so nothing is ever called. A file
//! may come from anywhere: each word adds at most one value, lengths are checked against what is there, values are
//! counted, and nothing recurses.
//!
//! See `Lib/pickletools.py` of Python for the words.

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::Writer;

use std::fmt;

/// Largest pickle. A builder of 2^24 partitions and 14 replicas fits.
pub const MAX_PICKLE_BYTES: usize = 1 << 30;

/// Values of all kinds in one pickle; each takes 16 bytes.
const MAX_VALUES: usize = 1 << 27;

/// Why bytes are not a pickle of plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PickleError {
    TooLarge,
    /// The bytes end before the value is whole.
    Truncated,
    /// A word that plain values do not need, with its place.
    Word {
        word: u8,
        at: usize,
    },
    /// A word that needs other values before it than there are.
    Stack,
    /// A function or class other than `array.array`.
    Name(String),
    Text,
}

impl fmt::Display for PickleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PickleError::TooLarge => f.write_str("it is too large"),
            PickleError::Truncated => f.write_str("it is cut short"),
            PickleError::Word { word, at } => write!(f, "the word {word:#04x} at byte {at} is not allowed"),
            PickleError::Stack => f.write_str("its words do not fit together"),
            PickleError::Name(name) => write!(f, "{name} is not allowed"),
            PickleError::Text => f.write_str("a text is not UTF-8"),
        }
    }
}

impl std::error::Error for PickleError {}

/// A value; what does not fit here is an object of the pickle, by index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Object(u32),
}

#[derive(Debug)]
pub(crate) enum Object {
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// An `array.array` of unsigned numbers.
    Array(Vec<u32>),
    /// The class `array.array` itself.
    ArrayClass,
    /// What newer pickles make arrays with.
    ArrayMaker,
}

/// A whole pickle that was read.
#[derive(Debug)]
pub(crate) struct Pickle {
    objects: Vec<Object>,
    pub root: Value,
}

impl Pickle {
    pub fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.objects.get(index as usize),
            _ => None,
        }
    }

    pub fn text(&self, value: Value) -> Option<&str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::List(list) | Object::Tuple(list) => Some(list),
            _ => None,
        }
    }

    pub fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.object(value)? {
            Object::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The last entry of a dictionary under a name, as Python keeps it.
    pub fn get(&self, dict: Value, name: &str) -> Option<Value> {
        let entries = self.dict(dict)?;
        let named = |(key, _): &&(Value, Value)| self.text(*key) == Some(name);
        entries.iter().rev().find(named).map(|(_, value)| *value)
    }

    /// Numbers of an array, or of a list of small numbers.
    pub fn numbers(&self, value: Value) -> Option<Vec<u32>> {
        match self.object(value)? {
            Object::Array(numbers) => Some(numbers.clone()),
            Object::List(list) => list.iter().map(|value| value.as_u32()).collect(),
            _ => None,
        }
    }
}

impl Value {
    pub fn as_u32(self) -> Option<u32> {
        u32::try_from(self.as_i64()?).ok()
    }

    pub fn as_i64(self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(number),
            Value::Bool(truth) => Some(truth.into()),
            _ => None,
        }
    }

    pub fn as_f64(self) -> Option<f64> {
        match self {
            Value::Float(number) => Some(number),
            other => other.as_i64().map(|number| number as f64),
        }
    }
}
