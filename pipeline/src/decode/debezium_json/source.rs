//! The `source` block of an event: where in the source database the change stands.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::names::{NameSeed, Piece, piece};
use crate::decode::SnapshotMarker;

/// What `source` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Source {
    /// PostgreSQL's LSN.
    lsn: Option<u64>,
    /// The number in the name of MySQL's or MariaDB's binlog file.
    file: Option<u64>,
    pos: Option<u64>,
    row: Option<u64>,
    pub(super) source_ms: i64,
    pub(super) marker: SnapshotMarker,
    /// The logical name of the server, and where in it the row is.
    pub(super) name: Option<Piece>,
    pub(super) database: Option<Piece>,
    pub(super) schema: Option<Piece>,
    pub(super) table: Option<Piece>,
}

impl Source {
    /// The position as one number that grows along the source's log.
    pub(super) fn sequence(&self) -> Option<u128> {
        if let Some(lsn) = self.lsn {
            return Some(u128::from(lsn));
        }
        let pos = self.pos.unwrap_or(0).min((1 << 48) - 1);
        let row = self.row.unwrap_or(0).min((1 << 16) - 1);
        Some(u128::from(self.file?) << 64 | u128::from(pos) << 16 | u128::from(row))
    }
}

enum Field {
    Lsn,
    File,
    Pos,
    Row,
    Clock,
    Snapshot,
    Name,
    Database,
    Schema,
    Table,
    Other,
}

/// Reads the block inside the text that starts at `base`.
pub(super) struct SourceSeed {
    pub(super) base: usize,
}

impl<'de> DeserializeSeed<'de> for SourceSeed {
    type Value = Source;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Source, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SourceSeed {
    type Value = Source;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null in `source`")
    }

    fn visit_unit<E>(self) -> Result<Source, E> {
        Ok(Source::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Source, A::Error> {
        let mut source = Source::default();
        while let Some(field) = map.next_key_seed(NameSeed(field))? {
            if let Field::Other = field {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let raw: &'de RawValue = map.next_value()?;
            let raw = raw.get();
            match field {
                Field::Lsn => source.lsn = number(raw, "lsn")?,
                Field::File => source.file = file_number(raw)?,
                Field::Pos => source.pos = number(raw, "pos")?,
                Field::Row => source.row = number(raw, "row")?,
                Field::Clock => {
                    let millis: Option<i64> = number(raw, "ts_ms")?;
                    source.source_ms = millis.unwrap_or(0);
                }
                Field::Snapshot => source.marker = marker(raw),
                Field::Name => source.name = Some(piece(self.base, raw)),
                Field::Database => source.database = Some(piece(self.base, raw)),
                Field::Schema => source.schema = Some(piece(self.base, raw)),
                Field::Table => source.table = Some(piece(self.base, raw)),
                Field::Other => {}
            }
        }
        Ok(source)
    }
}

fn field(name: &str) -> Field {
    match name {
        "lsn" => Field::Lsn,
        "file" => Field::File,
        "pos" => Field::Pos,
        "row" => Field::Row,
        "ts_ms" => Field::Clock,
        "snapshot" => Field::Snapshot,
        "name" => Field::Name,
        "db" => Field::Database,
        "schema" => Field::Schema,
        "table" => Field::Table,
        _ => Field::Other,
    }
}

/// The text inside quotes, or the text itself.
fn unquoted(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw)
}

fn number<T: std::str::FromStr, E: Error>(raw: &str, field: &str) -> Result<Option<T>, E> {
    if raw == "null" {
        return Ok(None);
    }
    let parsed = unquoted(raw).parse();
    parsed.map(Some).map_err(|_| {
        let raw = crate::decode::column::shown(raw);
        E::custom(format_args!("`source.{field}` is {raw}, not an integer in its range"))
    })
}

/// The number at the end of a binlog file name: files are ordered by it, not by their text.
fn file_number<E: Error>(raw: &str) -> Result<Option<u64>, E> {
    let name = unquoted(raw);
    if raw == "null" || name.is_empty() {
        return Ok(None);
    }
    let digits = name.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().map(Some).map_err(|_| {
        let raw = crate::decode::column::shown(raw);
        E::custom(format_args!("`source.file` is {raw}, which does not end in a number"))
    })
}

fn marker(raw: &str) -> SnapshotMarker {
    match unquoted(raw) {
        "false" | "null" | "" => SnapshotMarker::Live,
        "first" | "first_in_data_collection" => SnapshotMarker::First,
        "last" | "last_in_data_collection" => SnapshotMarker::Last,
        "incremental" => SnapshotMarker::Incremental,
        _ => SnapshotMarker::Within,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Source, String> {
        let mut from = serde_json::Deserializer::from_str(json);
        SourceSeed { base: json.as_ptr().addr() }.deserialize(&mut from).map_err(|e| e.to_string())
    }

    #[test]
    fn positions_grow_along_the_log() {
        let postgres = read(r#"{"lsn":26391584,"ts_ms":5,"snapshot":"last","txId":7}"#).unwrap();
        assert_eq!((postgres.sequence(), postgres.source_ms), (Some(26_391_584), 5));
        assert_eq!(postgres.marker, SnapshotMarker::Last);
        let mysql = |file: &str, pos: u64, row: u64| {
            let json = format!(r#"{{"file":"{file}","pos":{pos},"row":{row},"snapshot":false}}"#);
            read(&json).unwrap().sequence().unwrap()
        };
        assert!(mysql("bin.999999", 9, 9) < mysql("bin.1000000", 4, 0));
        assert!(mysql("bin.000001", 4, 1) < mysql("bin.000001", 4, 2));
        assert!(mysql("bin.000001", 4, 99_999_999) < mysql("bin.000001", 5, 0));
        assert_eq!(mysql("bin.000002", 3, 1), 2 << 64 | 3 << 16 | 1);
        assert_eq!(read(r#"{"lsn":null,"file":""}"#).unwrap().sequence(), None);
    }

    #[test]
    fn refuses_what_is_no_position() {
        for (json, field) in [
            (r#"{"lsn":"x"}"#, "source.lsn"),
            (r#"{"lsn":-1}"#, "source.lsn"),
            (r#"{"file":"bin"}"#, "source.file"),
            (r#"{"ts_ms":1.5}"#, "source.ts_ms"),
            ("[]", "source"),
        ] {
            assert!(read(json).unwrap_err().contains(field), "{json}");
        }
    }
}
