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

use self::value::Place;
use crate::numbers;

mod value;

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

/// A row: its cells in the order of the contract. One more cell behind them is unknown: a newer change of
/// the row could not be read.
pub type Row = Rc<Vec<Cell>>;

/// Whether the source may say otherwise.
pub fn is_in_doubt(row: &Row) -> bool {
    row.contains(&Cell::Unknown)
}

/// What a record says that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remains {
    /// The key of its row, if it names one.
    pub key: Option<String>,
    /// Whether it is a change event, which is of some table.
    pub is_event: bool,
    /// The table that it names.
    pub origin: Option<String>,
    /// PostgreSQL's places.
    pub place: Option<(Option<u64>, u64)>,
    /// The source's clock in milliseconds, 0 when unknown.
    pub source_ms: i64,
    /// Whether it is a row of a snapshot.
    pub is_snapshot: bool,
}

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
    /// Columns that the event does not have: in the row they are unknown where its schema names them.
    pub absent: Vec<usize>,
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
    /// A null value of this key, and of this table where the key names one.
    Null(String, Option<String>),
    /// Nonsense.
    Undecodable(String),
}

/// Decodes one record of a topic that carries `contract`.
pub fn decode(contract: &Contract, key: Option<&[u8]>, value: Option<&[u8]>) -> Decoded {
    let null = || {
        let own = message_key(contract, key);
        own.map_or(Decoded::Nothing, |own| Decoded::Null(own, table_of(key)))
    };
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
    let in_log = in_log(source);
    let is_incremental = source.get("snapshot").and_then(Value::as_str) == Some("incremental");
    let source_ms = source.get("ts_ms").and_then(Value::as_i64).unwrap_or(0);
    let origin = origin(source);
    let (key_of, other) = (String::new(), None);
    let mut change = Change {
        op,
        key: key_of,
        place: in_log,
        is_incremental,
        other,
        source_ms,
        row: None,
        absent: Vec::new(),
        origin,
    };
    if op == Op::Truncate {
        return Ok(Some(change));
    }
    let side = if op == Op::Delete { "before" } else { "after" };
    let fields = event.get(side).unwrap_or(&Value::Null);
    let rows = column_schema(schema, "after");
    if op != Op::Delete {
        let row = contract.columns.iter().enumerate().map(|(index, column)| {
            let name = name_in_events(contract, index);
            let value = fields.get(name).unwrap_or(&Value::Null);
            let cell = place(contract, index, column_schema(rows, name)).cell(value);
            cell.map_err(|e| format!("column {}: {e}", column.name))
        });
        if !fields.is_object() {
            return Err("no `after`".into());
        }
        let mut row = row.collect::<Result<Vec<_>, _>>()?;
        if row.get(contract.tenant) == Some(&Cell::Text("*".into())) {
            return Err("the tenant `*` is none".into());
        }
        let is_absent = |index: &usize| fields.get(name_in_events(contract, *index)).is_none();
        change.absent = (0..contract.columns.len()).filter(is_absent).collect();
        for column in &change.absent {
            if !column_schema(rows, name_in_events(contract, *column)).is_null() {
                row[*column] = Cell::Unknown;
            }
        }
        change.row = Some(Rc::new(row));
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

/// What can be read of a record that cannot be decoded.
pub fn remains(contract: &Contract, key: Option<&[u8]>, value: Option<&[u8]>) -> Remains {
    let document: Value =
        value.and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default();
    let (schema, event) = unwrap(&document);
    let is_event = event.get("op").is_some() || event.get("source").is_some();
    let (event, source) = if is_event {
        (event, event.get("source").unwrap_or(&Value::Null))
    } else {
        (&Value::Null, &Value::Null)
    };
    let rows = column_schema(schema, "after");
    let message_key = key.and_then(|key| serde_json::from_slice::<Value>(key).ok());
    let message_key = message_key.as_ref().and_then(|key| {
        let (own, key) = unwrap(key);
        key_text(contract, key, if own.is_null() { rows } else { own })
    });
    let of_side = |side: &str| key_text(contract, event.get(side)?, rows);
    let marker = match source.get("snapshot") {
        Some(Value::String(text)) => !matches!(text.as_str(), "false" | ""),
        Some(other) => other == &Value::Bool(true),
        None => false,
    };
    Remains {
        key: message_key.or_else(|| of_side("after")).or_else(|| of_side("before")),
        is_event,
        origin: origin(source),
        place: in_log(source),
        source_ms: source.get("ts_ms").and_then(Value::as_i64).unwrap_or(0),
        is_snapshot: marker || event.get("op").and_then(Value::as_str) == Some("r"),
    }
}

/// PostgreSQL's places in a source block.
fn in_log(source: &Value) -> Option<(Option<u64>, u64)> {
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

/// The table that Debezium's router has put into a message key.
fn table_of(key: Option<&[u8]>) -> Option<String> {
    let key = serde_json::from_slice::<Value>(key?).ok()?;
    let (_, fields) = unwrap(&key);
    Some(fields.get("__dbz__physicalTableIdentifier")?.as_str()?.to_owned())
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

fn name_in_events(contract: &Contract, index: usize) -> &str {
    let field = contract.fields.get(index).and_then(|field| field.from.as_deref());
    field.unwrap_or(&contract.columns[index].name)
}

fn place<'a>(contract: &'a Contract, index: usize, schema: &'a Value) -> Place<'a> {
    Place { column: &contract.columns[index], field: contract.fields.get(index), schema }
}

/// The key that the columns in `fields` make; `schema` is that of their struct. What is no object is the
/// value of the only key column, and so is a number of scale and bytes.
fn key_text(contract: &Contract, fields: &Value, schema: &Value) -> Option<String> {
    let is_number = fields.as_object().is_some_and(|parts| {
        parts.len() == 2 && parts.contains_key("scale") && parts.contains_key("value")
    });
    let is_value = !fields.is_object() || is_number;
    let parts = contract.key.iter().map(|&index| {
        let name = name_in_events(contract, index);
        let (value, schema) = match contract.key.len() {
            1 if is_value && schema.get("name").is_some() => (Some(fields), schema),
            1 if is_value => (Some(fields), column_schema(schema, name)),
            _ => (fields.get(name), column_schema(schema, name)),
        };
        let value = value.filter(|value| !value.is_null())?;
        let place = place(contract, index, schema);
        match place.column.kind {
            ColumnType::Text => place.text(value),
            _ => {
                let cell = place.cell(value).ok().filter(|cell| *cell != Cell::Unknown)?;
                Some(part(place.column, &cell))
            }
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

/// The bits by which doubles are compared.
pub fn bits(number: f64) -> u64 {
    match number {
        _ if number.is_nan() => f64::NAN.to_bits(),
        _ if number == 0.0 => 0,
        _ => number.to_bits(),
    }
}

#[cfg(test)]
mod tests;
