//! What `[sources.topics]` says about one topic: the contract's name, or a table with more.
//!
//! # Guarantees
//! - Written out, a mapping that says nothing but the contract is its name alone.

use std::fmt;

use schemas::nearest::nearest;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::decode::{ChangeBatch, Placeholder};

/// What the records of a topic are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    /// The contract of its rows.
    pub contract: String,
    /// What its connector says as `unavailable.value.placeholder`; `None` where it does not set it.
    pub placeholder: Option<String>,
    /// The origin that its source goes on with, as silver names it.
    pub continues: Option<String>,
    /// What its snapshots say of rows that they lack.
    pub snapshots: Snapshots,
}

/// What complete snapshots of a source say of rows that they lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Snapshots {
    /// They may have been taken with conditions: rows stay, and somebody is asked.
    #[default]
    Ask,
    /// They are never taken with conditions: rows go.
    Whole,
}

impl From<&str> for Mapping {
    fn from(contract: &str) -> Mapping {
        Mapping::from(contract.to_owned())
    }
}

impl From<String> for Mapping {
    fn from(contract: String) -> Mapping {
        Mapping { contract, ..Mapping::default() }
    }
}

impl fmt::Display for Mapping {
    /// As `weir check` names it: the contract, and what else is said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.contract)?;
        for (key, value) in self.extras() {
            write!(f, ", {key} `{value}`")?;
        }
        Ok(())
    }
}

impl Mapping {
    /// Tells decoded changes what the mapping says of all of them.
    pub fn apply(&self, changes: &mut ChangeBatch) {
        changes.promise_whole(self.snapshots == Snapshots::Whole);
        if let Some(origin) = &self.continues {
            changes.continue_as(origin);
        }
    }

    fn extras(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let is_whole = self.snapshots == Snapshots::Whole;
        let said = [
            ("placeholder", self.placeholder.as_deref()),
            ("continues", self.continues.as_deref()),
            ("snapshots", is_whole.then_some("whole")),
        ];
        said.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }
}

impl Serialize for Mapping {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.extras().next().is_none() {
            return to.serialize_str(&self.contract);
        }
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("contract", &self.contract)?;
        for (key, value) in self.extras() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Mapping, D::Error> {
        from.deserialize_any(Read)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Mapping;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a contract's name, or a table such as { contract = \"orders\", placeholder = \"__gone\" }")
    }

    fn visit_str<E: de::Error>(self, contract: &str) -> Result<Mapping, E> {
        Ok(Mapping::from(contract))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Mapping, A::Error> {
        const KEYS: [&str; 4] = ["contract", "placeholder", "continues", "snapshots"];
        let (mut contract, mut mapping) = (None, Mapping::default());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "contract" => contract = Some(map.next_value()?),
                "placeholder" => {
                    let text: String = map.next_value()?;
                    let refused = |e| de::Error::custom(format!("placeholder {e}"));
                    Placeholder::parse(&text).map_err(refused)?;
                    mapping.placeholder = Some(text);
                }
                "continues" => mapping.continues = Some(map.next_value()?),
                "snapshots" => mapping.snapshots = map.next_value()?,
                unknown => {
                    let hint = nearest(unknown, KEYS.into_iter());
                    let known = KEYS.join(", ");
                    let text =
                        format!("unknown key `{unknown}` of a topic{hint}; there are {known}");
                    return Err(de::Error::custom(text));
                }
            }
        }
        let missing = || de::Error::custom("a topic's table has no `contract`; name one");
        mapping.contract = contract.ok_or_else(missing)?;
        Ok(mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_a_table_is_read_and_written_as_it_was() {
        for text in [
            r#""orders""#,
            r#"{"contract":"orders","placeholder":"__gone"}"#,
            r#"{"contract":"orders","continues":"shop.public.orders"}"#,
            r#"{"contract":"orders","placeholder":"hex:ff","continues":"a.b"}"#,
            r#"{"contract":"orders","snapshots":"whole"}"#,
        ] {
            let read: Mapping = serde_json::from_str(text).unwrap();
            assert_eq!(read.contract, "orders");
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        let all = r#"{"placeholder":"__gone","continues":"a.b","contract":"orders"}"#;
        let all: Mapping = serde_json::from_str(all).unwrap();
        assert_eq!(all.to_string(), "orders, placeholder `__gone`, continues `a.b`");
    }

    #[test]
    fn what_is_not_known_is_refused_with_advice() {
        for (text, says) in [
            (r#"{"contract":"a","placholder":"x"}"#, "did you mean `placeholder`?"),
            (
                r#"{"contract":"a","colour":"x"}"#,
                "there are contract, placeholder, continues, snapshots",
            ),
            (r#"{"placeholder":"x"}"#, "no `contract`"),
            (r#"{"contract":"a","placeholder":""}"#, "`unavailable.value.placeholder`"),
            (r#"{"contract":"a","placeholder":5}"#, "expected a string"),
            ("5", "a contract's name, or a table"),
        ] {
            let refused = serde_json::from_str::<Mapping>(text).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
