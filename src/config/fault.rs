//! Which key of a configuration is at fault, for refusals that people can act on.

use std::collections::BTreeMap;
use std::ops::Range;

use pipeline::source::SourceConfig;
use toml::{Table, Value};

use super::ConfigError;

/// A refusal of `tree` by the types, with the key at fault and where it was set.
pub(super) fn name(
    error: &toml::de::Error,
    tree: &Table,
    origins: &BTreeMap<String, String>,
) -> ConfigError {
    let (key, reason) = match source(tree) {
        Some(found) => found,
        None => (key_of(error), error.message().to_owned()),
    };
    let is_it = |known: &str| known == key || known.starts_with(&format!("{key}."));
    let origin = origins.iter().find(|(known, _)| is_it(known)).map(|(_, origin)| origin.as_str());
    let origin = match origin {
        Some(origin) if origin.starts_with("environment ") => origin.to_owned(),
        Some(origin) => format!("`{origin}`"),
        None => "the configuration".to_owned(),
    };
    ConfigError::Value { key, origin, reason }
}

/// The key that the library adds on a line of its own: "in `lake.uri`".
fn key_of(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let named = |line: &str| Some(line.strip_prefix("in `")?.strip_suffix('`')?.to_owned());
    text.lines().rev().find_map(named).unwrap_or_default()
}

/// The first source that is refused: its key, and why. The library knows no key there, because `kind`
/// decides what the others mean.
fn source(tree: &Table) -> Option<(String, String)> {
    let sources = tree.get("sources")?.as_array()?;
    sources.iter().enumerate().find_map(|(at, source)| {
        let reason = refusal(source)?;
        let place = format!("sources.{at}");
        Some((
            key_in(source, &reason).map_or(place.clone(), |key| format!("{place}.{key}")),
            reason,
        ))
    })
}

fn refusal(source: &Value) -> Option<String> {
    source.clone().try_into::<SourceConfig>().err().map(|error| error.message().to_owned())
}

/// The key without which the reason is another one; `kind` only when no other is.
fn key_in(source: &Value, reason: &str) -> Option<String> {
    let table = source.as_table().filter(|_| !reason.starts_with("missing field"))?;
    let is_at_fault = |key: &&String| {
        let mut rest = table.clone();
        rest.remove(*key);
        refusal(&Value::Table(rest)).is_none_or(|other| other != reason)
    };
    let others = table.keys().filter(|key| *key != "kind");
    others.chain(table.keys().filter(|key| *key == "kind")).find(is_at_fault).cloned()
}

/// Line and column of a fault in a text.
pub(super) fn place(text: &str, at: Option<Range<usize>>) -> String {
    let before = at.and_then(|at| text.get(..at.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}
