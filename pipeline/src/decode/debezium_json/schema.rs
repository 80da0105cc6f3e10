//! The `schema` block that events carry when the converter has schemas enabled.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::decode::column::Encoding;
use crate::decode::timestamp::Unit;
use crate::decode::{DecodeError, PreparedContract};

/// Schemas remembered per thread. A table has one; more appear only while it is being altered.
const REMEMBERED_MAX: usize = 64;

/// What the schema says about each column of the contract.
pub(super) type Encodings = Arc<[Encoding]>;

/// Schemas seen, by hash of their text.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    seen: HashMap<u128, Encodings>,
}

impl Schemas {
    /// What the schema block `text` says.
    pub(super) fn get(
        &mut self,
        contract: &PreparedContract,
        text: &str,
    ) -> Result<Encodings, DecodeError> {
        let hash = xxh3_128_with_seed(text.as_bytes(), contract.fingerprint());
        if let Some(known) = self.seen.get(&hash) {
            return Ok(Arc::clone(known));
        }
        let parsed = parse(contract, text)?;
        if self.seen.len() >= REMEMBERED_MAX {
            self.seen.clear();
        }
        self.seen.insert(hash, Arc::clone(&parsed));
        Ok(parsed)
    }
}

#[derive(Deserialize)]
struct Node {
    field: Option<String>,
    name: Option<String>,
    #[serde(default)]
    fields: Vec<Node>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    scale: Option<Scale>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scale {
    Number(u32),
    Text(String),
}

fn parse(contract: &PreparedContract, text: &str) -> Result<Encodings, DecodeError> {
    let root: Option<Node> = serde_json::from_str(text)
        .map_err(|e| DecodeError(format!("`schema` is not a kafka connect schema: {e}")))?;
    let mut encodings = vec![Encoding::Plain; contract.columns().len()];
    let fields = root.map(|root| root.fields).unwrap_or_default();
    let row = ["after", "before"]
        .iter()
        .find_map(|name| fields.iter().find(|node| node.field.as_deref() == Some(name)));
    for (guess, node) in row.map(|row| row.fields.iter()).into_iter().flatten().enumerate() {
        let column = node.field.as_deref().and_then(|name| contract.find(name, guess));
        if let Some(slot) = column.and_then(|column| encodings.get_mut(column)) {
            *slot = encoding(node)?;
        }
    }
    Ok(encodings.into())
}

fn encoding(node: &Node) -> Result<Encoding, DecodeError> {
    let unit = match node.name.as_deref().unwrap_or_default() {
        "org.apache.kafka.connect.data.Decimal" => return decimal_scale(node),
        "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => Unit::Days,
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => Unit::Millis,
        "io.debezium.time.MicroTimestamp" => Unit::Micros,
        "io.debezium.time.NanoTimestamp" => Unit::Nanos,
        _ => return Ok(Encoding::Plain),
    };
    Ok(Encoding::Instant(unit))
}

fn decimal_scale(node: &Node) -> Result<Encoding, DecodeError> {
    let scale = match node.parameters.as_ref().and_then(|p| p.scale.as_ref()) {
        Some(Scale::Number(scale)) => Some(*scale),
        Some(Scale::Text(text)) => text.parse().ok(),
        None => None,
    };
    let field = node.field.as_deref().unwrap_or_default();
    scale.map(|scale| Encoding::Decimal { scale }).ok_or_else(|| {
        DecodeError(format!(
            "`schema` gives no usable scale for decimal column `{field}`; set `decimal.handling.mode=string`"
        ))
    })
}
