//! Debezium JSON events, read by the plain rules of the contracts.
//!
//! # Guarantees
//! - An event is a change with every column exact, or nothing to apply, or undecodable with a
//!   reason. There is no fourth outcome and no guess.
//!
//! # Non-guarantees
//! - Of source positions only PostgreSQL's `source.lsn` is known.
//! - JSON numbers with a point or an exponent and more than about 15 significant digits are not exact;
//!   text is, and so are whole numbers of 64 bits.

use std::rc::Rc;

use schemas::{Column, ColumnType, Contract, Micros};
use serde_json::Value;

use crate::numbers;

/// One column of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// No value.
    Null,
    /// In an event: its placeholder for a value that did not change. In a row: a value that was never
    /// sent.
    Unknown,
    /// Text or JSON.
    Text(String),
    /// Units at the column's scale.
    Decimal(i128),
    /// Microseconds since 1970.
    Time(i64),
    /// A whole number.
    Whole(i64),
    /// The bits of a double; of zero those of `0.0`, of all that are none those of one of them.
    Double(u64),
    /// True or false.
    Flag(bool),
    /// Days since 1970.
    Date(i32),
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
    /// PostgreSQL's places: of the last commit before the change, and of the change.
    pub place: Option<(Option<u64>, u64)>,
    /// Whether it is a row of an incremental snapshot.
    pub is_incremental: bool,
    /// Where the key was changed: of a delete the new key, else the old one.
    pub other: Option<String>,
    /// The source's clock in milliseconds, 0 when unknown.
    pub source_ms: i64,
    /// The row afterwards.
    pub row: Option<Row>,
    /// The table of the source that it is of; `None` when the event names none.
    pub origin: Option<String>,
}

/// What a record means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A change.
    Change(Change),
    /// Nothing to apply: a message.
    Nothing,
    /// A null value of this key.
    Null(String),
    /// Nonsense.
    Undecodable(String),
}

/// Decodes one record of a topic that carries `contract`.
pub fn decode(contract: &Contract, key: Option<&[u8]>, value: Option<&[u8]>) -> Decoded {
    let null = || message_key(contract, key).map_or(Decoded::Nothing, Decoded::Null);
    let Some(value) = value else { return null() };
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
    let place = place(source);
    let is_incremental = source.get("snapshot").and_then(Value::as_str) == Some("incremental");
    let source_ms = source.get("ts_ms").and_then(Value::as_i64).unwrap_or(0);
    let origin = origin(source);
    let (key_of, other) = (String::new(), None);
    let mut change =
        Change { op, key: key_of, place, is_incremental, other, source_ms, row: None, origin };
    if op == Op::Truncate {
        return Ok(Some(change));
    }
    let side = if op == Op::Delete { "before" } else { "after" };
    let fields = event.get(side).unwrap_or(&Value::Null);
    let rows = column_schema(schema, "after");
    if op != Op::Delete {
        let row = contract.columns.iter().map(|column| {
            let value = fields.get(&column.name).unwrap_or(&Value::Null);
            let cell = cell(column, value, column_schema(rows, &column.name));
            cell.map_err(|e| format!("column {}: {e}", column.name))
        });
        if !fields.is_object() {
            return Err("no `after`".into());
        }
        change.row = Some(Rc::new(row.collect::<Result<_, _>>()?));
    }
    let message_key = key.and_then(|key| serde_json::from_slice::<Value>(key).ok());
    let message_key = message_key.as_ref().and_then(|key| {
        let (own, key) = unwrap(key);
        key_text(contract, key, if own.is_null() { rows } else { own })
    });
    let found = message_key.or_else(|| key_text(contract, fields, rows));
    change.key = found.ok_or("no key")?;
    Ok(Some(change))
}

/// PostgreSQL's places in a source block.
fn place(source: &Value) -> Option<(Option<u64>, u64)> {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let both = source.get("sequence").and_then(Value::as_str);
    let both: Option<Vec<Value>> = both.and_then(|text| serde_json::from_str(text).ok());
    let part = |at: usize| both.as_ref().and_then(|both| both.get(at)).and_then(number);
    let lsn = source.get("lsn").and_then(number);
    Some((part(0), lsn.or_else(|| part(1))?))
}

/// The key in a message key.
fn message_key(contract: &Contract, key: Option<&[u8]>) -> Option<String> {
    let key = serde_json::from_slice::<Value>(key?).ok()?;
    let (schema, key) = unwrap(&key);
    key_text(contract, key, schema)
}

/// The other key that a header of Debezium names.
pub fn other_key(
    contract: &Contract,
    headers: &[(String, Option<Vec<u8>>)],
    op: Op,
) -> Option<String> {
    let name = if op == Op::Delete { "__debezium.newkey" } else { "__debezium.oldkey" };
    let header = headers.iter().find(|(header, _)| header == name)?;
    message_key(contract, header.1.as_deref())
}

/// Server, database, schema and table of a source block, those that there are.
fn origin(source: &Value) -> Option<String> {
    let part =
        |name: &str| source.get(name).and_then(Value::as_str).filter(|part| !part.is_empty());
    part("table")?;
    let mut text = String::new();
    for part in ["name", "db", "schema", "table"].into_iter().filter_map(part) {
        text += if text.is_empty() { "" } else { "." };
        if part.chars().any(|c| c == '.' || c == '"') {
            text += &format!("\"{}\"", part.replace('"', "\"\""));
        } else {
            text += part;
        }
    }
    Some(text)
}

/// Takes the envelope of the JSON converter with schemas apart.
fn unwrap(document: &Value) -> (&Value, &Value) {
    match (document.get("schema"), document.get("payload")) {
        (Some(schema), Some(payload)) => (schema, payload),
        _ => (&Value::Null, document),
    }
}

/// The schema of a column inside that of its struct.
fn column_schema<'a>(schema: &'a Value, column: &str) -> &'a Value {
    let fields = schema.get("fields").and_then(Value::as_array);
    let named = |f: &&Value| f.get("field").and_then(Value::as_str) == Some(column);
    fields.and_then(|fields| fields.iter().find(named)).unwrap_or(&Value::Null)
}

/// The key that the columns in `fields` make; `schema` is that of their struct.
fn key_text(contract: &Contract, fields: &Value, schema: &Value) -> Option<String> {
    let parts = contract.key.iter().map(|&index| {
        let column = &contract.columns[index];
        let value = fields.get(&column.name).filter(|value| !value.is_null())?;
        match column.kind {
            ColumnType::Text => text(value),
            _ => cell(column, value, column_schema(schema, &column.name))
                .ok()
                .map(|c| part(column, &c)),
        }
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join("\u{1f}"))
}

/// A cell as a part of a key.
pub fn part(column: &Column, cell: &Cell) -> String {
    match (cell, column.kind) {
        (Cell::Text(text), _) => text.clone(),
        (Cell::Whole(number), _) => number.to_string(),
        (Cell::Flag(flag), _) => flag.to_string(),
        (Cell::Date(days), _) => Micros(i64::from(*days) * 86_400_000_000).date(),
        (Cell::Time(at), _) => Micros(*at).to_string(),
        (Cell::Decimal(units), ColumnType::Decimal { scale, .. }) => {
            numbers::text(*units, u32::from(scale))
        }
        (other, _) => format!("{other:?}"),
    }
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
    const PLACEHOLDER: &str = "__debezium_unavailable_value";
    let is_text = matches!(column.kind, ColumnType::Text | ColumnType::Json);
    let is_list = column.kind == ColumnType::Json && *value == serde_json::json!([PLACEHOLDER]);
    if is_text && value.as_str() == Some(PLACEHOLDER) || is_list {
        return Ok(Cell::Unknown);
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
        ColumnType::Bigint => {
            decimal(value, schema, 38, 0).and_then(|units| units.try_into().ok()).map(Cell::Whole)
        }
        ColumnType::Double => double(value, schema).map(|number| Cell::Double(bits(number))),
        ColumnType::Boolean => flag(value).map(Cell::Flag),
        ColumnType::Date => date(value, schema).map(Cell::Date),
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

/// The bits by which doubles are compared.
pub fn bits(number: f64) -> u64 {
    match number {
        _ if number.is_nan() => f64::NAN.to_bits(),
        _ if number == 0.0 => 0,
        _ => number.to_bits(),
    }
}

fn double(value: &Value, schema: &Value) -> Option<f64> {
    if let Value::String(text) = value {
        let words = [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", -f64::INFINITY)];
        if let Some((_, number)) = words.iter().find(|(word, _)| word == text) {
            return Some(*number);
        }
        let connect = schema.get("name").and_then(Value::as_str);
        if connect == Some("org.apache.kafka.connect.data.Decimal") {
            let scale = schema.get("parameters")?.get("scale")?.as_str()?;
            let units = numbers::from_bytes(&numbers::from_base64(text)?)?;
            return format!("{units}e-{scale}").parse().ok();
        }
        return text.parse().ok().filter(|number: &f64| number.is_finite());
    }
    value.as_f64()
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        number => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    }
}

/// A number is one of days, unless the schema names another unit.
fn date(value: &Value, schema: &Value) -> Option<i32> {
    const DAY: i64 = 86_400_000_000;
    let name = schema.get("name").and_then(Value::as_str).unwrap_or_default();
    let is_days = name.is_empty() || name.ends_with(".Date");
    let micros = match value.as_i64().filter(|_| is_days) {
        Some(days) => days.checked_mul(DAY)?,
        None => match value.as_str() {
            Some(text) => {
                Micros::parse(text.strip_suffix('Z').filter(|d| d.len() == 10).unwrap_or(text))?.0
            }
            None => instant(value, schema)?,
        },
    };
    let years = -62_135_596_800_000_000..253_402_300_800_000_000;
    let is_date = micros.rem_euclid(DAY) == 0 && years.contains(&micros);
    is_date.then(|| (micros / DAY).try_into().ok())?
}

#[cfg(test)]
mod tests;
