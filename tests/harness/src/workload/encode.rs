//! Rows as Debezium events, in the forms in which converters write them.

use serde_json::{Map, Value, json};

use super::shop::{Field, RowChange};
use crate::numbers;
use schemas::Micros;

/// How numbers and times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Decimals and times as text.
    Text,
    /// Decimals as JSON numbers where they are exact, times as text.
    Numbers,
    /// Envelope with a schema block: decimals as base64 bytes, times as microseconds.
    WithSchema,
}

/// One event to be written.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) change: &'a RowChange,
    pub(super) encoding: Encoding,
    pub(super) lsn: u64,
    pub(super) ts_ms: i64,
}

impl Event<'_> {
    /// The message key.
    pub(super) fn key(&self) -> Value {
        let name = self.change.columns().first().copied().unwrap_or_default();
        let mut key = Map::new();
        let value = self.change.row.first().map_or(Value::Null, |f| encode(f, Encoding::Text));
        key.insert(name.to_owned(), value);
        Value::Object(key)
    }

    /// The message value.
    pub(super) fn value(&self) -> Value {
        let columns = self.change.columns().iter().zip(&self.change.row);
        let row = columns.map(|(name, field)| ((*name).to_owned(), encode(field, self.encoding)));
        let row: Value = Value::Object(row.collect());
        let op = self.change.op;
        let (before, after) = if op == "d" { (row, Value::Null) } else { (Value::Null, row) };
        let snapshot = if op == "r" { "true" } else { "false" };
        let source = json!({"version": "3.6.0.Final", "connector": "postgresql", "name": "shop",
            "ts_ms": self.ts_ms, "snapshot": snapshot, "db": "shop", "schema": "public",
            "table": self.change.topic().rsplit('.').next(), "txId": self.lsn / 8, "lsn": self.lsn});
        let event = json!({"before": before, "after": after, "source": source, "op": op,
            "ts_ms": self.ts_ms + 3, "transaction": null});
        if self.encoding == Encoding::WithSchema {
            return json!({"schema": self.schema(), "payload": event});
        }
        event
    }

    fn schema(&self) -> Value {
        let columns = self.change.columns().iter().zip(&self.change.row);
        let fields: Vec<Value> = columns.map(|(name, field)| field_schema(name, field)).collect();
        let side = |name: &str| {
            json!({"type": "struct", "optional": true, "name": "shop.Value", "field": name,
                "fields": fields})
        };
        let plain = |name: &str, kind: &str| json!({"type": kind, "optional": true, "field": name});
        json!({"type": "struct", "optional": false, "name": "shop.Envelope", "version": 2,
            "fields": [side("before"), side("after"), plain("source", "struct"),
                plain("op", "string"), plain("ts_ms", "int64")]})
    }
}

fn field_schema(name: &str, field: &Field) -> Value {
    // A null says nothing of its type; the column's name does.
    let time = matches!(field, Field::Time(_)) || name == "recognized_at";
    match field {
        Field::Decimal(_, scale) => json!({"type": "bytes", "optional": false, "field": name,
            "name": "org.apache.kafka.connect.data.Decimal", "version": 1,
            "parameters": {"scale": scale.to_string()}}),
        _ if time => json!({"type": "int64", "optional": true, "field": name,
            "name": "io.debezium.time.MicroTimestamp", "version": 1}),
        _ => json!({"type": "string", "optional": true, "field": name}),
    }
}

fn encode(field: &Field, encoding: Encoding) -> Value {
    match (field, encoding) {
        (Field::Null, _) => Value::Null,
        (Field::Text(text) | Field::Json(text), _) => json!(text),
        (Field::Time(at), Encoding::WithSchema) => json!(at),
        (Field::Time(at), _) => json!(Micros(*at).to_string()),
        (Field::Decimal(units, _), Encoding::WithSchema) => {
            json!(numbers::to_base64(&shortest(*units)))
        }
        (Field::Decimal(units, scale), Encoding::Numbers) if units.abs() < 1_000_000_000_000 => {
            let text = numbers::text(*units, *scale);
            serde_json::from_str(&text).unwrap_or(Value::Null)
        }
        (Field::Decimal(units, scale), _) => json!(numbers::text(*units, *scale)),
    }
}

/// The two's complement bytes of a number without those that only repeat its sign.
fn shortest(units: i128) -> Vec<u8> {
    let bytes = units.to_be_bytes();
    let sign = if units < 0 { 0xff } else { 0x00 };
    let spare = |pair: &[u8]| pair[0] == sign && (pair[1] & 0x80) == (sign & 0x80);
    let skip = bytes.windows(2).take_while(|pair| spare(pair)).count();
    bytes.into_iter().skip(skip).collect()
}
