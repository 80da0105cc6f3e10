//! Debezium JSON events, read by the plain rules of the contracts.
//!
//! # Guarantees
//! - An event is a change with every column exact, or nothing to apply, or undecodable with a
//!   reason. There is no fourth outcome and no guess.
//!
//! # Non-guarantees
//! - Of source positions only PostgreSQL's `source.lsn` is known.
//! - JSON numbers with more than about 15 significant digits are not exact; text is.

use std::rc::Rc;

use schemas::{Column, ColumnType, Contract, Micros};
use serde_json::Value;

use crate::numbers;

/// One column of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// No value.
    Null,
    /// Text or JSON.
    Text(String),
    /// Units at the column's scale.
    Decimal(i128),
    /// Microseconds since 1970.
    Time(i64),
}

/// A row: its cells in the order of the contract.
pub type Row = Rc<Vec<Cell>>;

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `c`, `u`: the row is now this.
    Upsert(char),
    /// `r`: the row was this when the snapshot was taken.
    Snapshot,
    /// `d`: the row is gone.
    Delete,
    /// `t`: all rows are gone.
    Truncate,
}

/// A change of one row, or of the table when it is a truncate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it does.
    pub op: Op,
    /// Key columns joined by U+001F; empty for a truncate.
    pub key: String,
    /// The source's position.
    pub sequence: Option<u128>,
    /// The source's clock in milliseconds, 0 when unknown.
    pub source_ms: i64,
    /// The row afterwards.
    pub row: Option<Row>,
}

/// What a record means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A change.
    Change(Change),
    /// Nothing to apply: a tombstone or a message.
    Nothing,
    /// Nonsense.
    Undecodable(String),
}

/// Decodes one record of a topic that carries `contract`.
pub fn decode(contract: &Contract, key: Option<&[u8]>, value: Option<&[u8]>) -> Decoded {
    let Some(value) = value else { return Decoded::Nothing };
    match read(contract, key, value) {
        Ok(Some(change)) => Decoded::Change(change),
        Ok(None) => Decoded::Nothing,
        Err(reason) => Decoded::Undecodable(reason),
    }
}

fn read(contract: &Contract, key: Option<&[u8]>, value: &[u8]) -> Result<Option<Change>, String> {
    let document: Value = serde_json::from_slice(value).map_err(|e| format!("not JSON: {e}"))?;
    let (schema, event) = unwrap(&document);
    if event.is_null() {
        return Ok(None);
    }
    let op = match event.get("op").and_then(Value::as_str) {
        Some("c") => Op::Upsert('c'),
        Some("u") => Op::Upsert('u'),
        Some("r") => Op::Snapshot,
        Some("d") => Op::Delete,
        Some("t") => Op::Truncate,
        Some("m") => return Ok(None),
        other => return Err(format!("unknown op {other:?}")),
    };
    let source = event.get("source").unwrap_or(&Value::Null);
    let sequence = source.get("lsn").and_then(|lsn| match lsn {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().map(u128::from),
    });
    let source_ms = source.get("ts_ms").and_then(Value::as_i64).unwrap_or(0);
    let mut change = Change { op, key: String::new(), sequence, source_ms, row: None };
    if op == Op::Truncate {
        return Ok(Some(change));
    }
    let side = if op == Op::Delete { "before" } else { "after" };
    let fields = event.get(side).unwrap_or(&Value::Null);
    if op != Op::Delete {
        let row = contract.columns.iter().map(|column| {
            let value = fields.get(&column.name).unwrap_or(&Value::Null);
            let cell = cell(column, value, field_schema(schema, &column.name));
            cell.map_err(|e| format!("column {}: {e}", column.name))
        });
        if !fields.is_object() {
            return Err("no `after`".into());
        }
        change.row = Some(Rc::new(row.collect::<Result<_, _>>()?));
    }
    let message_key = key.and_then(|key| serde_json::from_slice::<Value>(key).ok());
    let message_key = message_key.as_ref().and_then(|key| key_text(contract, unwrap(key).1));
    let found = message_key.or_else(|| key_text(contract, fields));
    change.key = found.ok_or("no key")?;
    Ok(Some(change))
}

/// Takes the envelope of the JSON converter with schemas apart.
fn unwrap(document: &Value) -> (&Value, &Value) {
    match (document.get("schema"), document.get("payload")) {
        (Some(schema), Some(payload)) => (schema, payload),
        _ => (&Value::Null, document),
    }
}

/// The schema of a column inside the schema of the envelope.
fn field_schema<'a>(schema: &'a Value, column: &str) -> &'a Value {
    let field = |schema: &'a Value, name: &str| -> Option<&'a Value> {
        let fields = schema.get("fields")?.as_array()?;
        fields.iter().find(|f| f.get("field").and_then(Value::as_str) == Some(name))
    };
    field(schema, "after").and_then(|after| field(after, column)).unwrap_or(&Value::Null)
}

fn key_text(contract: &Contract, fields: &Value) -> Option<String> {
    let parts = contract.key.iter().map(|&index| text(fields.get(&contract.columns[index].name)?));
    Some(parts.collect::<Option<Vec<_>>>()?.join("\u{1f}"))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

fn cell(column: &Column, value: &Value, schema: &Value) -> Result<Cell, String> {
    if value.is_null() {
        return if column.required { Err("is missing".into()) } else { Ok(Cell::Null) };
    }
    let cell = match column.kind {
        ColumnType::Text => text(value).map(Cell::Text),
        ColumnType::Json => Some(Cell::Text(match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })),
        ColumnType::Decimal { precision, scale } => {
            decimal(value, schema, precision.into(), scale.into()).map(Cell::Decimal)
        }
        ColumnType::Timestamp => instant(value, schema).map(Cell::Time),
    };
    cell.ok_or_else(|| format!("cannot be {value}"))
}

fn decimal(value: &Value, schema: &Value, precision: usize, scale: u32) -> Option<i128> {
    let connect = schema.get("name").and_then(Value::as_str);
    if connect == Some("org.apache.kafka.connect.data.Decimal") {
        let from = schema.get("parameters")?.get("scale")?.as_str()?.parse().ok()?;
        let units = numbers::from_bytes(&numbers::from_base64(value.as_str()?)?)?;
        let units = numbers::rescale(units, from, scale)?;
        return (units.unsigned_abs().to_string().len() <= precision).then_some(units);
    }
    match value {
        Value::String(text) => numbers::parse(text, precision, scale),
        Value::Number(number) => numbers::parse(&number.to_string(), precision, scale),
        _ => None,
    }
}

fn instant(value: &Value, schema: &Value) -> Option<i64> {
    if let Some(text) = value.as_str() {
        return Micros::parse(text).map(|at| at.0);
    }
    let number = value.as_i64()?;
    let name = schema.get("name").and_then(Value::as_str).unwrap_or_default();
    let micros = match name {
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => {
            number.checked_mul(1000)?
        }
        "io.debezium.time.NanoTimestamp" => number.div_euclid(1000),
        _ => number,
    };
    (-62_135_596_800_000_000..253_402_300_800_000_000).contains(&micros).then_some(micros)
}

#[cfg(test)]
mod tests;
