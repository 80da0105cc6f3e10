//! The `schema` block that events carry when the converter has schemas enabled.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::TimeUnit;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::decode::column::Encoding;
use crate::decode::{DecodeError, PreparedContract};

/// Schemas remembered per thread. A table has one; more appear only while it is being altered.
const REMEMBERED_MAX: usize = 64;

/// What the schema says about each column of the contract.
pub(in crate::decode) type Encodings = Arc<[Encoding]>;

/// Schemas seen, by hash of their text.
#[derive(Debug, Default)]
pub(in crate::decode) struct Schemas {
    seen: HashMap<u128, Encodings>,
}

impl Schemas {
    /// What the schema block `text` of an event says.
    pub(in crate::decode) fn of_event(
        &mut self,
        contract: &PreparedContract,
        text: &str,
    ) -> Result<Encodings, DecodeError> {
        self.get(contract, text, 0, parse_event)
    }

    /// What the schema block `text` of a message key says.
    pub(in crate::decode) fn of_key(
        &mut self,
        contract: &PreparedContract,
        text: &str,
    ) -> Result<Encodings, DecodeError> {
        self.get(contract, text, 1, parse_key)
    }

    /// What the schema block `text` of a row without an envelope says.
    pub(in crate::decode) fn of_row(
        &mut self,
        contract: &PreparedContract,
        text: &str,
    ) -> Result<Encodings, DecodeError> {
        self.get(contract, text, 2, |contract, root| columns(contract, &root.fields))
    }

    fn get(
        &mut self,
        contract: &PreparedContract,
        text: &str,
        role: u64,
        parse: fn(&PreparedContract, Node) -> Result<Encodings, DecodeError>,
    ) -> Result<Encodings, DecodeError> {
        let hash = xxh3_128_with_seed(text.as_bytes(), contract.fingerprint() ^ role);
        if let Some(known) = self.seen.get(&hash) {
            return Ok(Arc::clone(known));
        }
        let root: Option<Node> = serde_json::from_str(text)
            .map_err(|e| DecodeError(format!("`schema` is not a kafka connect schema: {e}")))?;
        let parsed = parse(contract, root.unwrap_or_default())?;
        if self.seen.len() >= REMEMBERED_MAX {
            self.seen.clear();
        }
        self.seen.insert(hash, Arc::clone(&parsed));
        Ok(parsed)
    }
}

#[derive(Default, Deserialize)]
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

fn parse_event(contract: &PreparedContract, root: Node) -> Result<Encodings, DecodeError> {
    let fields = root.fields;
    let row = ["after", "before"]
        .iter()
        .find_map(|name| fields.iter().find(|node| node.field.as_deref() == Some(name)));
    columns(contract, row.map_or(&[], |row| row.fields.as_slice()))
}

/// The fields of a key are its columns; a key that is no struct is the value of its only column.
fn parse_key(contract: &PreparedContract, root: Node) -> Result<Encodings, DecodeError> {
    if let ([column], []) = (contract.contract().key.as_slice(), root.fields.as_slice()) {
        let mut encodings = vec![Encoding::Plain; contract.cells()];
        if let Some(slot) = encodings.get_mut(*column) {
            *slot = encoding(&root)?;
        }
        return Ok(encodings.into());
    }
    columns(contract, &root.fields)
}

fn columns(contract: &PreparedContract, fields: &[Node]) -> Result<Encodings, DecodeError> {
    let mut encodings = vec![Encoding::Plain; contract.cells()];
    for (guess, node) in fields.iter().enumerate() {
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
        "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => TimeUnit::Days,
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => {
            TimeUnit::Millis
        }
        "io.debezium.time.MicroTimestamp" => TimeUnit::Micros,
        "io.debezium.time.NanoTimestamp" => TimeUnit::Nanos,
        _ => return Ok(Encoding::Named),
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
