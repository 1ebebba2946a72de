//! Lists that are read member by member.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::text::is_strict;

/// A list whose malformed members do not spoil the rest. `null` is an empty list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items<T> {
    /// Members that could be read, with their place in the list.
    pub good: Vec<(usize, T)>,
    pub bad: Vec<Malformed>,
}

/// A member that could not be read, or a list that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// `None` where the whole value is not a list.
    pub index: Option<usize>,
    pub error: String,
}

impl<T> Items<T> {
    /// The members that could be read.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.good.iter().map(|(_, item)| item)
    }

    /// Whether nothing in it could be read.
    pub fn is_empty(&self) -> bool {
        self.good.is_empty()
    }
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self {
            good: Vec::new(),
            bad: Vec::new(),
        }
    }
}

impl<T> FromIterator<T> for Items<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self {
            good: items.into_iter().enumerate().collect(),
            bad: Vec::new(),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if is_strict() {
            return deserializer.deserialize_any(Strictly(PhantomData));
        }
        let mut items = Self::default();
        match Value::deserialize(deserializer)? {
            Value::Null => {}
            Value::Array(values) => {
                for (index, value) in values.into_iter().enumerate() {
                    match serde_json::from_value(value) {
                        Ok(item) => items.good.push((index, item)),
                        Err(error) => items.bad.push(Malformed {
                            index: Some(index),
                            error: error.to_string(),
                        }),
                    }
                }
            }
            _ => items.bad.push(Malformed {
                index: None,
                error: "is not a list".to_owned(),
            }),
        }
        Ok(items)
    }
}

/// Reads a list without malformed members.
struct Strictly<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Strictly<T> {
    type Value = Items<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Items<T>, E> {
        Ok(Items::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Items<T>, A::Error> {
        let mut good = Vec::new();
        while let Some(item) = members.next_element()? {
            good.push((good.len(), item));
        }
        Ok(Items {
            good,
            bad: Vec::new(),
        })
    }
}

/// Only members that could be read are written.
impl<T: Serialize> Serialize for Items<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Items<u8> {
        serde_json::from_value(value).expect("reading a list never fails")
    }

    #[test]
    fn malformed_members_leave_the_rest() {
        let items = read(json!([1, "two", 3, 400]));
        assert_eq!(items.good, [(0, 1), (2, 3)]);
        let places: Vec<_> = items.bad.iter().map(|bad| bad.index).collect();
        assert_eq!(places, [Some(1), Some(3)]);
        assert_eq!(
            serde_json::to_value(&items).expect("plain numbers"),
            json!([1, 3])
        );
    }

    #[test]
    fn null_is_empty_and_others_are_named() {
        assert_eq!(read(Value::Null), Items::default());
        assert_eq!(read(json!({"a": 1})).bad[0].index, None);
    }
}
