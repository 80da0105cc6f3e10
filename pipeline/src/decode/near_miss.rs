//! What a value is that is not of its contract's format: other converters, envelopes and tools.
//!
//! # Guarantees
//! - A reason names what the value is, and the converter or setting that cures it.
//! - Messages without a change are told from rows by all that they hold, not by one of their fields.
//!
//! # Non-guarantees
//! - It parses the value again, into a tree: only records that are no changes come here.

use serde_json::{Map, Value};

use super::{DebeziumJson, DecodeError, Decoder, PreparedContract};
use crate::record::RawRecord;

/// The converter that Weir reads.
const JSON: &str = "set `value.converter` to org.apache.kafka.connect.json.JsonConverter";

/// The fields of a transaction marker, and those of time, which any message may have.
const MARKER: [&str; 4] = ["status", "id", "event_count", "data_collections"];
const TIME: [&str; 3] = ["ts_ms", "ts_us", "ts_ns"];

/// The error with another reason, where the value is something that is known.
pub(super) fn explain(
    contract: &PreparedContract,
    record: &RawRecord<'_>,
    value: &[u8],
    error: DecodeError,
) -> DecodeError {
    bytes(value)
        .or_else(|| in_headers(record))
        .or_else(|| json(contract, value))
        .map_or(error, |reason| DecodeError(format!("value is {reason}")))
}

/// Values that are no JSON.
fn bytes(value: &[u8]) -> Option<String> {
    if value.starts_with(b"Obj\x01") {
        return Some(format!("an Avro file; {JSON}"));
    }
    let header = value.strip_prefix(&[0])?;
    // A schema's id has four bytes, in older registries of Apicurio eight.
    let opens = |at: usize| matches!(header.get(at), Some(b'{' | b'['));
    let id = header.first_chunk().map(|id| u32::from_be_bytes(*id));
    let id = id.map_or_else(|| "a schema".to_owned(), |id| format!("schema {id}"));
    let body =
        if opens(4) || opens(8) { "JSON (JSON Schema converter)" } else { "Avro or Protobuf" };
    Some(format!("{body} behind the header of a schema registry (a zero byte and {id}); {JSON}"))
}

fn in_headers(record: &RawRecord<'_>) -> Option<String> {
    record.headers.iter().any(|header| header.key.starts_with("ce_")).then(cloud_event)
}

fn cloud_event() -> String {
    format!("a CloudEvents envelope (CloudEventsConverter); {JSON}")
}

/// Values that are JSON of another form.
fn json(contract: &PreparedContract, value: &[u8]) -> Option<String> {
    let event = match serde_json::from_slice(value).ok()? {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            return Some(format!("JSON within a JSON string: it was written twice; {JSON} once"));
        }
        Value::Object(event) => payload(event),
        _ => return None,
    };
    let has = |name: &str| event.contains_key(name);
    let is_text = |name: &str| event.get(name).is_some_and(Value::is_string);
    if has("specversion") || event.keys().any(|name| name.starts_with("iodebezium")) {
        return Some(cloud_event());
    }
    let connector = event.get("source").and_then(|source| source.get("connector"));
    let document = is_text("after") || is_text("before") || has("updateDescription");
    let is_row =
        [event.get("after"), event.get("before")].into_iter().flatten().any(Value::is_object);
    let is_mongodb = connector.and_then(Value::as_str) == Some("mongodb");
    if !is_row && (is_mongodb || (has("op") && document)) {
        return Some(mongodb(&event));
    }
    if let Some(reason) = other_envelope(contract, &event) {
        return Some(reason);
    }
    if has("op") || !is_text("type") || !is_text("database") || !is_text("table") {
        return None;
    }
    let cure =
        "weir reads change events of Debezium: use its connector for MySQL with JsonConverter";
    match event.get("data") {
        Some(Value::Object(_)) => Some(format!("an event of Maxwell; {cure}")),
        _ if has("isDdl") || has("mysqlType") || has("pkNames") => {
            Some(format!("a flat message of Canal; {cure} (in TiCDC: `protocol=debezium`)"))
        }
        _ => None,
    }
}

/// Why an event of MongoDB is none of rows, and what cures it.
fn mongodb(event: &Map<String, Value>) -> String {
    let (why, cure) = match event.get("after") {
        None | Some(Value::Null) if event.contains_key("updateDescription") => (
            "that says what changed and not the document",
            "set `capture.mode=change_streams_update_full` in the connector",
        ),
        _ => (
            "whose row is a document as text",
            "turn `after` into an object with a transform of the connector (such as ExpandJSON)",
        ),
    };
    format!("an event of MongoDB, {why}; {cure}, or take the topic out of [sources.topics]")
}

/// A change event where the contract says a row, or a row where it says a change event.
fn other_envelope(contract: &PreparedContract, event: &Map<String, Value>) -> Option<String> {
    let has = |name: &str| event.contains_key(name);
    let own = contract.contract();
    let name = &own.name;
    if own.format != DebeziumJson.name() {
        let is_event = has("op") && (has("before") || has("after")) && !names_key(contract, event);
        return is_event.then(|| {
            format!(
                "a change event in its envelope, and contract `{name}` says `{}`; say \
                 `format = \"debezium-json\"` there",
                own.format
            )
        });
    }
    let is_row = !has("op") && !has("before") && !has("after") && names_key(contract, event);
    is_row.then(|| {
        format!(
            "a row without the envelope of a change event; say `format = \"debezium-flat\"` in contract \
             `{name}` where a transform flattens them (ExtractNewRecordState), `rows` where they never had one"
        )
    })
}

/// The event, out of what carries its schema.
fn payload(mut event: Map<String, Value>) -> Map<String, Value> {
    match event.remove("payload") {
        Some(Value::Object(payload)) if event.keys().all(|name| name == "schema") => payload,
        Some(other) => {
            event.insert("payload".to_owned(), other);
            event
        }
        None => event,
    }
}

/// Whether a message without operation is a transaction marker: nothing but what such a marker has.
pub(super) fn is_marker(text: &str) -> bool {
    let Some(event) = parsed(text) else { return false };
    let known = |name: &str| MARKER.contains(&name) || TIME.contains(&name);
    event.contains_key("event_count")
        && matches!(event.get("status").and_then(Value::as_str), Some("BEGIN" | "END"))
        && event.get("id").is_some_and(Value::is_string)
        && event.keys().all(|name| known(name))
}

/// Whether a value is a marker of a transaction: BEGIN or END, as Debezium writes them to a topic of their own.
pub fn is_transaction_marker(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(is_marker)
}

/// Whether a message without operation names a key column of the contract: a row without its envelope.
pub(super) fn names_a_row(contract: &PreparedContract, text: &str) -> bool {
    parsed(text).is_some_and(|event| names_key(contract, &event))
}

fn names_key(contract: &PreparedContract, event: &Map<String, Value>) -> bool {
    let mut key = contract.contract().key.iter().filter_map(|&index| contract.columns().get(index));
    key.any(|column| event.contains_key(&*column.field))
}

fn parsed(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(event)) => Some(payload(event)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &[u8]) -> Option<String> {
        let record = RawRecord {
            offset: 0,
            prev_offset: 0,
            timestamp: None,
            key: None,
            value: Some(value),
            headers: &[],
        };
        let plain = DecodeError("as it was".to_owned());
        let (_, text) = schemas::contract::built_in().pop().unwrap();
        let contract = PreparedContract::new(schemas::Contract::parse(text).unwrap()).unwrap();
        let error = explain(&contract, &record, value, plain.clone());
        (error != plain).then_some(error.0)
    }

    #[test]
    fn each_near_miss_is_named_with_what_cures_it() {
        let mongo = r#"{"op":"c","after":"{\"_id\":1}","source":{"connector":"mongodb"}}"#;
        let canal =
            r#"{"data":[{"id":"1"}],"database":"s","table":"t","type":"INSERT","isDdl":false}"#;
        let maxwell = r#"{"database":"s","table":"t","type":"insert","ts":1,"data":{"id":1}}"#;
        let cloud = r#"{"id":"x","source":"/debezium","specversion":"1.0","data":{}}"#;
        for (value, names, cures) in [
            (&b"\0\0\0\0\x07{\"op\":\"c\"}"[..], "a zero byte and schema 7", "JsonConverter"),
            (b"\0\0\0\0\0\0\0\0\x07{\"op\":\"c\"}", "JSON Schema converter", "JsonConverter"),
            (b"\0\0\0\x01\x02\x02\x06abc", "Avro or Protobuf", "JsonConverter"),
            (b"\0", "schema registry", "JsonConverter"),
            (b"Obj\x01\x02", "an Avro file", "JsonConverter"),
            (cloud.as_bytes(), "CloudEvents", "JsonConverter"),
            (br#"{"iodebeziumop":"c","data":{}}"#, "CloudEvents", "JsonConverter"),
            (mongo.as_bytes(), "MongoDB", "ExpandJSON"),
            (br#"{"op":"u","before":null,"after":"{\"a\":1}"}"#, "MongoDB", "ExpandJSON"),
            (canal.as_bytes(), "Canal", "protocol=debezium"),
            (maxwell.as_bytes(), "Maxwell", "Debezium"),
            (br#""{\"op\":\"c\"}""#, "JSON within a JSON string", "JsonConverter"),
        ] {
            let said = said(value).unwrap_or_default();
            let shown = String::from_utf8_lossy(value);
            assert!(said.contains(names) && said.contains(cures), "{shown}: {said}");
        }
    }

    #[test]
    fn what_is_an_event_keeps_its_own_reason() {
        for value in [
            &br#"{"op":"c","after":{"order_id":1},"source":{"connector":"mysql"}}"#[..],
            br#"{"schema":null,"payload":{"op":"c","after":{"type":"x","data":{}}}}"#,
            br#"{"op":"c","after":null,"type":"x","database":"d","table":"t","data":{}}"#,
            br#"{"id":1,"type":"subscription","data":{"a":1}}"#,
            br#""a word""#,
            b"{\"op\":",
            b"[1,2]",
        ] {
            assert_eq!(said(value), None, "{}", String::from_utf8_lossy(value));
        }
    }
}
