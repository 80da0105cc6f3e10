//! What variables of the environment set.

use std::collections::BTreeMap;

use pipeline::source::Properties;
use toml::{Table, Value};

use super::{ConfigError, mark, merge, refuse_unknown};

/// How an origin that is the environment begins.
pub(super) const ORIGIN: &str = "environment";

/// The variable that sets a librdkafka property of a source.
pub(crate) fn variable_of(source: &str, property: &str) -> String {
    let word = |text: &str| {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        text.chars().map(letter).collect::<String>()
    };
    format!("WEIR__SOURCES__{}__LIBRDKAFKA__{}", word(source), word(property))
}

/// `WEIR__SECTION__KEY` sets `section.key`; two usual Kafka variables set every Kafka source.
pub(super) fn apply(
    tree: &mut Table,
    known: &Table,
    origins: &mut BTreeMap<String, String>,
    name: &str,
    value: &str,
) -> Result<(), ConfigError> {
    let kafka_key = match name {
        "KAFKA_BOOTSTRAP_SERVERS" => Some("brokers"),
        "KAFKA_CONSUMER_GROUP" => Some("group"),
        _ => None,
    };
    if let Some(key) = kafka_key {
        let sources = tree.get_mut("sources").and_then(Value::as_array_mut);
        for (index, source) in sources.into_iter().flatten().enumerate() {
            let Some(source) = source.as_table_mut() else { continue };
            if source.get("kind").and_then(Value::as_str) == Some("kafka") {
                source.insert(key.into(), Value::String(value.into()));
                origins.insert(format!("sources.{index}.{key}"), format!("{ORIGIN} {name}"));
            }
        }
        return Ok(());
    }
    let Some(path) = name.strip_prefix("WEIR__") else { return Ok(()) };
    let path = path.to_lowercase();
    let origin = format!("{ORIGIN} variable `{name}`");
    if let Some(path) = path.strip_prefix("sources__") {
        let Some(key) = set_property(tree, path, value) else {
            let hint = "; `WEIR__SOURCES__<NAME>__LIBRDKAFKA__<PROPERTY>` sets a property of the \
                        Kafka source of that name"
                .to_owned();
            return Err(ConfigError::UnknownKey { key: path.into(), origin, hint });
        };
        origins.insert(key, format!("{ORIGIN} {name}"));
        return Ok(());
    }
    let Some((section, key)) = path.split_once("__") else {
        let hint = "; use WEIR__SECTION__KEY".to_owned();
        return Err(ConfigError::UnknownKey { key: path, origin, hint });
    };
    let mut over = Table::new();
    let mut inner = Table::new();
    inner.insert(key.into(), typed_like(known, section, key, value));
    over.insert(section.into(), Value::Table(inner));
    refuse_unknown(&over, known, &origin)?;
    mark(&over, &format!("{ORIGIN} {name}"), origins);
    merge(tree, over);
    Ok(())
}

/// The texts of a list, which commas separate.
fn words(text: &str) -> Vec<Value> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| Value::String(word.to_owned())).collect()
}

/// The text of an environment variable as the type that the default has.
fn typed_like(known: &Table, section: &str, key: &str, text: &str) -> Value {
    let default = known.get(section).and_then(|section| section.get(key));
    let boolean = text.parse().ok().map(Value::Boolean);
    match (default, text.parse::<i64>(), boolean) {
        (Some(Value::Array(_)), ..) => Value::Array(words(text)),
        (Some(Value::Integer(_)), Ok(number), _) => Value::Integer(number),
        (Some(Value::Boolean(_)), _, Some(boolean)) => boolean,
        _ => Value::String(text.into()),
    }
}

/// Sets `<name>__librdkafka__<property>` of a Kafka source. Returns the key that is set, or `None` where
/// there is no such source.
fn set_property(tree: &mut Table, path: &str, value: &str) -> Option<String> {
    let sources = tree.get_mut("sources").and_then(Value::as_array_mut)?;
    for (index, source) in sources.iter_mut().enumerate() {
        let Some(source) = source.as_table_mut() else { continue };
        if source.get("kind").and_then(Value::as_str) != Some("kafka") {
            continue;
        }
        let name = source.get("name").and_then(Value::as_str).unwrap_or("kafka").to_owned();
        let variable = format!("WEIR__SOURCES__{path}").to_uppercase();
        let Some(word) = variable.strip_prefix(&variable_of(&name, "")) else { continue };
        let properties = source.entry("librdkafka").or_insert_with(|| Value::Table(Table::new()));
        let properties = properties.as_table_mut()?;
        let property = property(&word.to_lowercase());
        // Where the configuration file says another place of the same secret, the environment wins.
        match Properties::held_by_file(&property) {
            Some(held) => properties.remove(held),
            None => properties.remove(&format!("{property}_file")),
        };
        properties.insert(property.clone(), Value::String(value.into()));
        return Some(format!("sources.{index}.librdkafka.{property}"));
    }
    None
}

/// The property that a variable means: dots are underscores there, and `_file` stays.
fn property(word: &str) -> String {
    let dotted = word.replace('_', ".");
    let held = dotted.strip_suffix(".file").map(|held| format!("{held}_file"));
    held.filter(|property| Properties::held_by_file(property).is_some()).unwrap_or(dotted)
}
