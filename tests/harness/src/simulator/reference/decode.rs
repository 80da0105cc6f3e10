//! Events as the reference fold reads them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::bronze::Record;
use crate::simulator::{Cell, Kind};

/// Values by column.
pub(super) type Row = BTreeMap<String, Cell>;

/// Topic, life of the topic, partition.
pub(super) type Part = (String, usize, i32);

/// A place in the source's log. `commit` orders what snapshots and transactions see, `row` the changes
/// within; of PostgreSQL `commit` is the commit before and `row` the LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// How often the log began anew before.
    pub(super) timeline: u64,
    pub(super) server: u64,
    pub(super) commit: u128,
    pub(super) row: u128,
}

/// What a record does.
#[derive(Debug, Clone, Default)]
pub(super) enum Act {
    Upsert {
        row: Row,
        /// The key that the row had before.
        old_key: Option<String>,
    },
    Delete,
    /// Nobody knows which.
    Unreadable,
    Truncate,
    /// A null value without its delete.
    Tombstone,
    /// A snapshot lacks the key.
    #[default]
    Missing,
}

/// A record that is no tombstone.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) origin: String,
    pub(super) key: String,
    pub(super) marker: String,
    /// When, by what tells it best: the place in a log of commits, or else the clock.
    pub(super) ms: i128,
    /// 0 where a row says only when it was read.
    pub(super) clock_ms: i128,
    pub(super) place: Option<Place>,
    pub(super) act: Act,
}

/// Reads a record; `None` is a tombstone.
pub(super) fn event(kind: Kind, record: &Record) -> Option<Event> {
    let value: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let source = &value["source"];
    let key = record.key.as_deref().and_then(|key| serde_json::from_slice::<Value>(key).ok());
    let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let key = key.map(|key| text(&key["id"])).unwrap_or_default();
    let act = match value["op"].as_str()? {
        "d" => Act::Delete,
        "t" => Act::Truncate,
        _ => {
            let after = value["after"].as_object()?;
            let is_read = after["quantity"].is_null() || after["quantity"].is_i64();
            let cells = after.iter().filter(|(column, _)| *column != "id");
            let row = cells.map(|(column, value)| (column.clone(), cell(column, value))).collect();
            if is_read { Act::Upsert { row, old_key: old_key(record) } } else { Act::Unreadable }
        }
    };
    let place = place(kind, source);
    let marker = source["snapshot"].as_str().unwrap_or("false").to_owned();
    let is_read_later = kind == Kind::Oracle && ["true", "last"].contains(&marker.as_str());
    let clock_ms = source["ts_ms"].as_i64().filter(|_| !is_read_later).map_or(0, i128::from);
    let is_told = matches!(kind, Kind::SqlServer | Kind::Oracle);
    let in_log = place.filter(|_| is_told).and_then(|place| i128::try_from(place.commit).ok());
    Some(Event {
        origin: origin(source).unwrap_or_else(|| record.topic.clone()),
        key,
        marker,
        ms: in_log.unwrap_or(clock_ms),
        clock_ms,
        place,
        act,
    })
}

fn cell(column: &str, value: &Value) -> Cell {
    match value {
        // Digits behind the fourth are zeros.
        Value::String(text) if column == "amount" => {
            let end = text.find('.').map_or(text.len(), |point| point + 5);
            Cell::Value(text.get(..end).unwrap_or(text).to_owned())
        }
        Value::Null => Cell::Null,
        Value::String(text) if text == "__debezium_unavailable_value" => Cell::Unknown,
        Value::String(text) => Cell::Value(text.clone()),
        other => Cell::Value(other.to_string()),
    }
}

fn old_key(record: &Record) -> Option<String> {
    let named = |(name, _): &&(String, Option<Vec<u8>>)| name == "__debezium.oldkey";
    let (_, key) = record.headers.iter().find(named)?;
    let key: Value = serde_json::from_slice(key.as_deref()?).ok()?;
    Some(key["id"].to_string())
}

fn origin(source: &Value) -> Option<String> {
    source["table"].as_str().or(source["collection"].as_str())?;
    let parts = ["name", "db", "schema", "table", "collection"].into_iter();
    Some(parts.filter_map(|part| source[part].as_str()).collect::<Vec<_>>().join("."))
}

fn place(kind: Kind, source: &Value) -> Option<Place> {
    let number = |value: &Value| value.as_u64().map_or(0, u128::from);
    let decimal = |value: &Value| value.as_str().and_then(|text| text.parse::<u128>().ok());
    let is_live = source["snapshot"] == "false";
    match kind {
        Kind::Postgres => {
            let sequence: Value = serde_json::from_str(source["sequence"].as_str()?).ok()?;
            let (before, lsn) = (decimal(&sequence[0]), decimal(&sequence[1])?);
            let is_chunk = source["snapshot"] == "incremental";
            let (commit, row) = match before {
                // Whatever was committed when the chunk was read had been streamed.
                Some(before) if is_chunk => (before, before),
                // A snapshot: what is committed before its place is in it.
                _ if !is_live => (lsn, lsn),
                // Nobody knows what was committed before the first.
                before => (before.unwrap_or(0), lsn),
            };
            Some(Place { timeline: 0, server: 0, commit, row })
        }
        Kind::MySql => {
            let file = source["file"].as_str()?.rsplit('.').next()?.parse::<u128>().ok()?;
            let commit = file << 64 | number(&source["pos"]);
            let server = source["server_id"].as_u64()?;
            Some(Place { timeline: 0, server, commit, row: number(&source["row"]) })
        }
        Kind::SqlServer => {
            let commit = hexadecimal(&source["commit_lsn"])?;
            let row = hexadecimal(&source["change_lsn"]).unwrap_or(commit);
            Some(Place { timeline: 0, server: 0, commit, row })
        }
        Kind::Oracle => {
            let scn = decimal(&source["scn"])?;
            let commit = decimal(&source["commit_scn"]).unwrap_or(scn);
            Some(Place { timeline: 0, server: 0, commit, row: scn << 16 | number(&source["ssn"]) })
        }
        Kind::MongoDb => {
            let commit = (number(&source["ts_ms"]) / 1000) << 32 | number(&source["ord"]);
            Some(Place { timeline: 0, server: 0, commit, row: 0 })
        }
        Kind::Plain => None,
    }
}

/// Three hexadecimal numbers with colons between.
fn hexadecimal(value: &Value) -> Option<u128> {
    let parts = value.as_str()?.split(':').map(|part| u128::from_str_radix(part, 16).ok());
    parts.into_iter().try_fold(0, |number, part| Some(number << 32 | part?))
}
