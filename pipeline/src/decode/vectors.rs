//! The golden vectors in `schemas/vectors/`: events by format, some of them captured from real
//! connectors, and what each must become. `WEIR_BLESS=1` writes what they do become.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use schemas::{Contract, contract};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::*;
use crate::record::TopicPartition;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    /// The name of a built-in contract, or the text of one.
    contract: String,
    /// Of the connector, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    placeholder: Option<String>,
    events: Vec<Event>,
}

/// Key and value are the JSON itself, or in a string where they are no JSON.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Event {
    key: Box<RawValue>,
    value: Box<RawValue>,
    #[serde(default)]
    expect: Value,
}

fn bytes(part: &RawValue) -> Option<Vec<u8>> {
    let raw = part.get();
    match raw.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => Some(serde_json::from_str::<String>(raw).unwrap().into_bytes()),
        _ => Some(raw.as_bytes().to_vec()),
    }
}

fn prepared(named: &str) -> PreparedContract {
    let file = format!("{named}.toml");
    let built_in = contract::built_in().into_iter().find(|(name, _)| *name == file);
    let text = built_in.map_or(named, |(_, text)| text);
    PreparedContract::new(Contract::parse(text).unwrap()).unwrap()
}

/// What the only record of `out` became, in words.
fn describe(contract: &PreparedContract, out: &ChangeBatch) -> Value {
    assert_eq!(out.len(), 1);
    if let Some((_, error)) = out.errors().first() {
        let ChangeRef { change, key, row, origin, .. } = out.iter().next().unwrap();
        assert!(change.kind == ChangeKind::Unreadable && row.is_empty());
        let key = String::from_utf8_lossy(key);
        let position = change.position.to_string();
        let mut words = json!({ "error": error.0, "position": position });
        for (name, text) in [("key", &*key), ("origin", origin)] {
            if !text.is_empty() {
                words[name] = text.into();
            }
        }
        return words;
    }
    let found = out.iter().next().unwrap();
    let ChangeRef { change, key, row, unavailable, absent, infinite, origin, other, .. } = found;
    let mut words = Map::new();
    words.insert("kind".into(), format!("{:?}", change.kind).to_lowercase().into());
    if change.op != 0 {
        words.insert("op".into(), char::from(change.op).to_string().into());
    }
    if !key.is_empty() {
        words.insert("key".into(), String::from_utf8_lossy(key).into());
    }
    if !other.is_empty() {
        words.insert("other key".into(), String::from_utf8_lossy(other).into());
    }
    words.insert("position".into(), change.position.to_string().into());
    words.insert("snapshot".into(), format!("{:?}", change.marker).to_lowercase().into());
    if change.kind == ChangeKind::Upsert {
        words.insert("origin".into(), origin.into());
        let row = contract.layout().row(row);
        let columns = contract.columns().iter().enumerate();
        let columns = columns.map(|(index, column)| {
            let datum = row.datum(index);
            let text = (!datum.is_null()).then(|| datum.text(column.kind).to_string());
            (column.name.to_string(), text.map_or(Value::Null, Value::from))
        });
        words.insert("row".into(), Value::Object(columns.collect()));
    }
    if !unavailable.is_empty() {
        let unknown = contract.layout().row(row).unknown();
        let unknown: Vec<usize> = unknown.filter(|column| !absent.contains(column)).collect();
        assert_eq!(unknown, unavailable, "what is not sent is unknown until an old row has it");
        let names = unavailable.iter().map(|&index| contract.columns()[index].name.to_string());
        words.insert("unavailable".into(), names.collect());
    }
    if !absent.is_empty() {
        let names = absent.iter().map(|&index| contract.columns()[index].name.to_string());
        words.insert("absent".into(), names.collect());
        let unknown = contract.layout().row(row).unknown().filter(|index| absent.contains(index));
        let names = unknown.map(|index| contract.columns()[index].name.to_string());
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            words.insert("unknown".into(), names.into());
        }
    }
    if !infinite.is_empty() {
        let names = infinite.iter().map(|&index| contract.columns()[index].name.to_string());
        words.insert("infinite".into(), names.collect());
    }
    Value::Object(words)
}

fn check(path: &Path, bless: bool) {
    let mut file: File = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(!file.events.is_empty() && !file.about.is_empty(), "{}", path.display());
    let contract = Arc::new(prepared(&file.contract));
    let contract = contract.for_placeholder(file.placeholder.as_deref()).unwrap();
    let decoder = registry::find(&contract.contract().format).unwrap();
    let mut warm = Scratch::default();
    for (number, event) in file.events.iter_mut().enumerate() {
        let topic = TopicPartition {
            source: "s".into(),
            topic: "t".into(),
            incarnation: "i".into(),
            partition: 1,
        };
        let mut batch = RawBatch::new(topic.into());
        batch.push(7, None, bytes(&event.key).as_deref(), bytes(&event.value).as_deref(), &[]);
        for scratch in [&mut warm, &mut Scratch::default()] {
            let mut out = ChangeBatch::default();
            decode_batch(decoder, &contract, &batch, scratch, &mut out);
            let became = describe(&contract, &out);
            if bless {
                event.expect = became;
            } else {
                assert_eq!(became, event.expect, "{} event {number}", path.display());
            }
        }
    }
    if bless {
        fs::write(path, serde_json::to_string_pretty(&file).unwrap() + "\n").unwrap();
    }
}

#[test]
fn events_become_what_the_vectors_say() {
    let bless = std::env::var_os("WEIR_BLESS").is_some();
    for (format, least) in [("debezium-json", 8), ("debezium-flat", 2), ("rows", 1)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/vectors").join(format);
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() >= least, "{format}");
        for path in paths {
            check(&path, bless);
        }
    }
}
