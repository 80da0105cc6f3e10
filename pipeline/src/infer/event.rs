//! What a record of a sample holds: its row, the schema of that, and its key.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Fields;
use super::sample::Record;

/// A record that has a row, or is the delete of one.
#[derive(Debug, Default)]
pub(super) struct Event {
    /// It is a change event in its envelope.
    pub(super) is_enveloped: bool,
    /// It has fields that only a transform of Debezium adds.
    pub(super) is_flattened: bool,
    pub(super) row: Fields,
    /// By field, its node of Kafka Connect's schema.
    pub(super) schema: BTreeMap<String, Value>,
    /// The fields of the message key; none where that is a plain value or there is no key.
    pub(super) key: Option<Vec<String>>,
}

/// Fields that `ExtractNewRecordState` adds.
const ADDED: [&str; 4] = ["__deleted", "__op", "__lsn", "__source_ts_ms"];

/// Reads a record; `None` where its value is no object.
pub(super) fn read(record: &Record) -> Option<Event> {
    let value = record.value.as_deref()?;
    let document: Value = serde_json::from_slice(value).ok()?;
    let object = document.as_object()?;
    let (schema, event) = unwrap(object);
    let names = ordered(value);
    let key = record.key.as_deref().and_then(key_fields);
    let is_enveloped =
        event.contains_key("op") && (event.contains_key("before") || event.contains_key("after"));
    if is_enveloped {
        let (side, row) = ["after", "before"]
            .into_iter()
            .find_map(|side| Some((side, event.get(side)?.as_object()?)))?;
        let schema = schema.and_then(|schema| member(schema, side));
        let row = in_order(row, &names);
        let schema = schema.map(nodes).unwrap_or_default();
        return Some(Event { is_enveloped, row, schema, key, ..Event::default() });
    }
    let is_flattened = ADDED.iter().any(|name| event.contains_key(*name));
    let mut row = in_order(event, &names);
    row.retain(|(name, _)| !name.starts_with("__"));
    let schema = schema.map(nodes).unwrap_or_default();
    Some(Event { is_flattened, row, schema, key, ..Event::default() })
}

/// The format that most of these events have.
pub(super) fn format(events: &[Event]) -> &'static str {
    let enveloped = events.iter().filter(|event| event.is_enveloped).count();
    if enveloped * 2 >= events.len() && enveloped > 0 {
        return "debezium-json";
    }
    let is_flattened = events.iter().any(|event| event.is_flattened);
    if is_flattened { "debezium-flat" } else { "rows" }
}

/// What carries its schema, apart.
fn unwrap(object: &Map<String, Value>) -> (Option<&Value>, &Map<String, Value>) {
    let is_wrapped = object.keys().all(|name| name == "schema" || name == "payload");
    match object.get("payload").and_then(Value::as_object) {
        Some(payload) if is_wrapped => (object.get("schema"), payload),
        _ => (None, object),
    }
}

/// The node of a field of a schema.
fn member<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = schema.get("fields")?.as_array()?;
    fields.iter().find(|field| field.get("field").and_then(Value::as_str) == Some(name))
}

fn nodes(schema: &Value) -> BTreeMap<String, Value> {
    let fields = schema.get("fields").and_then(Value::as_array).into_iter().flatten();
    let named = |node: &Value| Some((node.get("field")?.as_str()?.to_owned(), node.clone()));
    fields.filter_map(named).collect()
}

/// The fields of a message key that is an object.
fn key_fields(key: &[u8]) -> Option<Vec<String>> {
    let document: Value = serde_json::from_slice(key).ok()?;
    let (_, fields) = unwrap(document.as_object()?);
    Some(ordered(key).into_iter().filter(|name| fields.contains_key(name)).collect())
}

/// Where each name stands first in the text: a parsed object has them by the alphabet.
fn ordered(text: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    collect(text, &mut names, 0);
    names
}

fn collect(text: &[u8], names: &mut Vec<String>, depth: usize) {
    const DEPTH_MAX: usize = 3;
    let Ok(Members(members)) = serde_json::from_slice::<Members<'_>>(text) else { return };
    for (name, value) in members {
        if depth < DEPTH_MAX && matches!(name.as_str(), "payload" | "after" | "before") {
            collect(value.get().as_bytes(), names, depth + 1);
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

/// The members of an object in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Members<'a>, D::Error> {
        struct Read;
        impl<'de> serde::de::Visitor<'de> for Read {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        from.deserialize_map(Read).map(Members)
    }
}

fn in_order(row: &Map<String, Value>, names: &[String]) -> Fields {
    let mut fields = super::fields(row);
    let at = |name: &String| names.iter().position(|known| known == name);
    fields.sort_by_key(|(name, _)| at(name));
    fields
}
