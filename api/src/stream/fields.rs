//! The fields of a message, taken out one by one.
//!
//! # Guarantees
//! - A field that is there twice, that nobody asked for or that is of the wrong type is an error, which
//!   names it and says what belongs there.
//! - A field that is `null` counts as left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::query::shown;

/// What is left of an object. Its errors are for those who wrote it.
#[derive(Debug)]
pub(super) struct Fields {
    /// What the object is, for errors.
    of: &'static str,
    left: BTreeMap<String, Box<RawValue>>,
}

/// An object whose names differ.
struct Distinct(BTreeMap<String, Box<RawValue>>);

/// What the error of a repeated field begins with.
const TWICE: &str = "twice:";

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Distinct, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Distinct;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Distinct, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    let again = format!("{TWICE}{}:", shown(&name));
                    if fields.insert(name, value).is_some() {
                        return Err(A::Error::custom(again));
                    }
                }
                Ok(Distinct(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Fields {
    pub(super) fn parse(text: &str, of: &'static str) -> Result<Fields, String> {
        match serde_json::from_str(text) {
            Ok(Distinct(left)) => Ok(Fields { of, left }),
            Err(error) => {
                let error = error.to_string();
                let name = error.strip_prefix(TWICE).and_then(|rest| rest.rsplit_once(':'));
                Err(match name {
                    Some((name, _)) => format!("{of} has the field `{name}` twice"),
                    None => format!("{of} is no JSON object"),
                })
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether one of these fields is there.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.left.contains_key(*name))
    }

    fn take<T: for<'de> Deserialize<'de>>(
        &mut self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.left.remove(name) else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|_| format!("`{name}` must be {what}"))
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, String> {
        self.take(name, "a text")
    }

    /// A whole number from 0 on.
    pub(super) fn whole(&mut self, name: &'static str) -> Result<Option<u64>, String> {
        self.take(name, "a whole number from 0 on")
    }

    /// An object.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Fields>, String> {
        let Some(value) = self.left.remove(name) else { return Ok(None) };
        if value.get() == "null" {
            return Ok(None);
        }
        Fields::parse(value.get(), name).map(Some)
    }

    /// A name or a list of names, none of them empty.
    pub(super) fn names(
        &mut self,
        name: &'static str,
    ) -> Result<Option<BTreeSet<Arc<str>>>, String> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Names {
            One(String),
            Many(Vec<String>),
        }
        let names = match self.take(name, "a name or a list of names")? {
            None => return Ok(None),
            Some(Names::One(name)) => vec![name],
            Some(Names::Many(names)) => names,
        };
        if names.is_empty() {
            return Err(format!("`{name}` is an empty list; leave it out for all"));
        }
        if names.iter().any(String::is_empty) {
            return Err(format!("`{name}` has an empty name"));
        }
        Ok(Some(names.into_iter().map(Arc::from).collect()))
    }

    /// An object of texts, or of lists of texts, as its names with each of their texts. No list is empty.
    pub(super) fn texts(
        &mut self,
        name: &'static str,
    ) -> Result<Vec<(String, Option<String>)>, String> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Texts {
            One(Option<String>),
            Many(Vec<Option<String>>),
        }
        let fields = self.object(name)?.map(|fields| fields.left).unwrap_or_default();
        let own = |(name, value): (String, Box<RawValue>)| {
            let texts = match serde_json::from_str(value.get()) {
                Ok(Texts::One(text)) => vec![text],
                Ok(Texts::Many(texts)) if texts.is_empty() => {
                    return Err(format!(
                        "`{}` is an empty list; leave it out for all",
                        shown(&name)
                    ));
                }
                Ok(Texts::Many(texts)) => texts,
                Err(_) => {
                    let name = shown(&name);
                    return Err(format!("`{name}` must be a text, null or a list of them"));
                }
            };
            Ok(texts.into_iter().map(|text| (name.clone(), text)).collect::<Vec<_>>())
        };
        let texts: Result<Vec<_>, String> = fields.into_iter().map(own).collect();
        Ok(texts?.into_iter().flatten().collect())
    }

    /// A field that must be there, read by one of the above.
    pub(super) fn must<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields, &'static str) -> Result<Option<T>, String>,
    ) -> Result<T, String> {
        read(self, name)?.ok_or_else(|| format!("{} has no `{name}`", self.of))
    }

    /// Refuses what nobody asked for.
    pub(super) fn end(self) -> Result<(), String> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("{} has an unknown field `{}`", self.of, shown(name))),
        }
    }
}
