//! The `source` block of an event: where in the source database the change stands.

use std::fmt;

use schemas::Place;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::SnapshotMarker;
use super::names::{NameSeed, Piece, piece};

/// What `source` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Source {
    connector: Connector,
    /// PostgreSQL's place of the row, and of the last commit before its transaction.
    lsn: Option<u64>,
    sequence: Option<(Option<u64>, u64)>,
    /// The number in the name of MySQL's or MariaDB's binlog file.
    file: Option<u64>,
    pos: Option<u64>,
    row: Option<u64>,
    server: Option<u32>,
    /// SQL Server's and Db2's.
    commit_lsn: Option<u128>,
    change_lsn: Option<u128>,
    /// Oracle's.
    scn: Option<u64>,
    commit_scn: Option<u64>,
    /// MongoDB's, within the second of its clock.
    ordinal: Option<u32>,
    source_ms: i64,
    pub(super) marker: SnapshotMarker,
    /// The logical name of the server, and where in it the row is.
    pub(super) name: Option<Piece>,
    pub(super) database: Option<Piece>,
    pub(super) schema: Option<Piece>,
    pub(super) table: Option<Piece>,
}

/// Whose positions these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Connector {
    /// The event does not say; its fields do.
    #[default]
    Unnamed,
    Postgres,
    Binlog,
    SqlServer,
    Oracle,
    MongoDb,
    /// One whose positions are not known here.
    Other,
}

/// The bits of a change within its commit, in what SQL Server numbers.
const CHANGE_BITS: u32 = 48;

impl Source {
    /// Where the change stands in the source's log, if that can be compared.
    pub(super) fn place(&self, is_snapshot: bool) -> Option<Place> {
        match self.connector {
            Connector::Postgres => self.wal(),
            Connector::Binlog => self.binlog(is_snapshot),
            Connector::SqlServer => self.change(is_snapshot),
            Connector::Oracle => self.change_number(is_snapshot),
            Connector::MongoDb => self.cluster_time(),
            Connector::Unnamed => self.wal().or_else(|| self.binlog(is_snapshot)),
            Connector::Other => None,
        }
    }

    /// The source's clock at the change, in milliseconds; 0 when unknown. Oracle's snapshots are read as
    /// of an earlier change number: their clock says when, and not what of.
    pub(super) fn clock(&self) -> i64 {
        let is_read_back = self.connector == Connector::Oracle
            && !matches!(self.marker, SnapshotMarker::Live | SnapshotMarker::First);
        if is_read_back { 0 } else { self.source_ms }
    }

    /// Takes one field, given as JSON that lies in the text that starts at `base`.
    pub(super) fn set(&mut self, field: &Field, raw: &str, base: usize) {
        match field {
            Field::Connector => self.connector = connector(raw),
            Field::Lsn => self.lsn = number(raw),
            Field::Sequence => self.sequence = sequence(raw),
            Field::File => self.file = file_number(raw),
            Field::Pos => self.pos = number(raw),
            Field::Row => self.row = number(raw),
            Field::Server => self.server = number(raw),
            Field::CommitLsn => self.commit_lsn = log_number(raw),
            Field::ChangeLsn => self.change_lsn = log_number(raw),
            Field::Scn => self.scn = change_number(raw),
            Field::CommitScn => self.commit_scn = change_number(raw),
            Field::Ordinal => self.ordinal = number(raw),
            Field::Clock => self.source_ms = number(raw).unwrap_or(0),
            Field::Snapshot => self.marker = marker(raw),
            Field::Name => self.name = Some(piece(base, raw)),
            Field::Database => self.database = Some(piece(base, raw)),
            Field::Schema => self.schema = Some(piece(base, raw)),
            Field::Table => self.table = Some(piece(base, raw)),
            Field::Other => {}
        }
    }

    /// Makes the best of fields that were chosen one by one: no table without its server, no place without
    /// a clock to tell whether the source went back, none in a binlog of nobody knows which server.
    pub(super) fn settle(&mut self) {
        if self.name.is_none() {
            self.table = None;
        }
        if self.connector == Connector::Unnamed {
            self.connector = match self {
                Source { commit_lsn: Some(_), .. } => Connector::SqlServer,
                Source { scn: Some(_), .. } => Connector::Oracle,
                _ => Connector::Unnamed,
            };
        }
        let is_lost = self.file.is_some() && self.server.is_none();
        if self.source_ms == 0 || is_lost {
            self.connector = Connector::Other;
        }
    }

    fn wal(&self) -> Option<Place> {
        let (commit, lsn) = match self.sequence {
            Some((commit, lsn)) => (commit, self.lsn.unwrap_or(lsn)),
            None => (None, self.lsn?),
        };
        Some(Place::Wal { commit, lsn })
    }

    fn binlog(&self, is_snapshot: bool) -> Option<Place> {
        let file = u128::from(self.file?);
        let pos = u128::from(self.pos.unwrap_or(0).min((1 << 48) - 1));
        let row = u128::from(self.row.unwrap_or(0).min((1 << 16) - 1));
        let at = file << 64 | pos << 16 | row;
        let log = match self.server.unwrap_or(0) {
            0 if is_snapshot => Place::UNNAMED,
            server => server,
        };
        Some(Place::Log { log, at })
    }

    fn change(&self, is_snapshot: bool) -> Option<Place> {
        let low = (1_u128 << CHANGE_BITS) - 1;
        // A snapshot contains all of the commit that it was taken behind.
        let within = if is_snapshot { low } else { self.change_lsn.unwrap_or(0) & low };
        Some(Place::Log { log: 0, at: self.commit_lsn? << CHANGE_BITS | within })
    }

    /// MongoDB's cluster time: seconds, and a number within them. All changes of a transaction have one; those of
    /// one document follow each other in their partition.
    fn cluster_time(&self) -> Option<Place> {
        let seconds = u64::try_from(self.source_ms.div_euclid(1_000)).ok().filter(|at| *at > 0)?;
        let at = u128::from(seconds) << 32 | u128::from(self.ordinal?);
        Some(Place::Log { log: 0, at })
    }

    fn change_number(&self, is_snapshot: bool) -> Option<Place> {
        let scn = self.scn.or(self.commit_scn)?;
        let (commit, within) =
            if is_snapshot { (scn, u64::MAX) } else { (self.commit_scn.unwrap_or(scn), scn) };
        Some(Place::Log { log: 0, at: u128::from(commit) << 64 | u128::from(within) })
    }
}

/// A field of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Connector,
    Lsn,
    Sequence,
    File,
    Pos,
    Row,
    Server,
    CommitLsn,
    ChangeLsn,
    Scn,
    CommitScn,
    Ordinal,
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
            source.set(&field, raw.get(), self.base);
        }
        Ok(source)
    }
}

/// The field of this name.
pub(super) fn field(name: &str) -> Field {
    match name {
        "connector" => Field::Connector,
        "lsn" => Field::Lsn,
        "sequence" => Field::Sequence,
        "server_id" => Field::Server,
        "commit_lsn" => Field::CommitLsn,
        "change_lsn" => Field::ChangeLsn,
        "scn" => Field::Scn,
        "commit_scn" => Field::CommitScn,
        "ord" => Field::Ordinal,
        "file" => Field::File,
        "pos" => Field::Pos,
        "row" => Field::Row,
        "ts_ms" => Field::Clock,
        "snapshot" => Field::Snapshot,
        "name" => Field::Name,
        "db" => Field::Database,
        "schema" => Field::Schema,
        "table" | "collection" => Field::Table,
        _ => Field::Other,
    }
}

/// The text inside quotes, or the text itself.
fn unquoted(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw)
}

/// A number, also as text. A form that is not known here is no number.
fn number<T: std::str::FromStr>(raw: &str) -> Option<T> {
    unquoted(raw).parse().ok()
}

fn connector(raw: &str) -> Connector {
    match unquoted(raw) {
        "null" | "" => Connector::Unnamed,
        "postgresql" => Connector::Postgres,
        "mysql" | "mariadb" => Connector::Binlog,
        "sqlserver" | "db2" => Connector::SqlServer,
        "oracle" => Connector::Oracle,
        "mongodb" => Connector::MongoDb,
        _ => Connector::Other,
    }
}

/// PostgreSQL's two places, a list as text: the last commit, which may be null, and the row.
fn sequence(raw: &str) -> Option<(Option<u64>, u64)> {
    let (commit, lsn) = unquoted(raw).split_once(',')?;
    let part = |text: &'_ str| text.trim_matches(['[', ']', '"', '\\', ' ']).to_owned();
    let commit = match part(commit).as_str() {
        "null" => None,
        number => Some(number.parse().ok()?),
    };
    Some((commit, part(lsn).parse().ok()?))
}

/// The number at the end of a binlog file name: files are ordered by it, not by their text.
fn file_number(raw: &str) -> Option<u64> {
    let name = unquoted(raw);
    name.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().ok()
}

/// SQL Server's three hexadecimal numbers, as one.
fn log_number(raw: &str) -> Option<u128> {
    let mut number = 0;
    let mut parts = unquoted(raw).split(':');
    for (digits, bits) in [(8, 32), (8, 32), (4, 16)] {
        let part = parts.next().filter(|part| (1..=digits).contains(&part.len()))?;
        number = number << bits | u128::from(u32::from_str_radix(part, 16).ok()?);
    }
    parts.next().is_none().then_some(number)
}

/// Oracle's number, before what some versions append to it.
fn change_number(raw: &str) -> Option<u64> {
    unquoted(raw).split(':').next()?.parse().ok()
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

    fn place(json: &str) -> Option<Place> {
        let source = read(json).unwrap();
        source.place(source.marker != SnapshotMarker::Live)
    }

    #[test]
    fn binlog_positions_grow_along_the_log() {
        let mysql = |file: &str, pos: u64, row: u64| {
            let json = format!(r#"{{"file":"{file}","pos":{pos},"row":{row},"snapshot":false}}"#);
            place(&json).unwrap().number()
        };
        assert!(mysql("bin.999999", 9, 9) < mysql("bin.1000000", 4, 0));
        assert!(mysql("bin.000001", 4, 1) < mysql("bin.000001", 4, 2));
        assert!(mysql("bin.000001", 4, 99_999_999) < mysql("bin.000001", 5, 0));
        assert_eq!(mysql("bin.000002", 3, 1), 2 << 64 | 3 << 16 | 1);
        let named = place(r#"{"connector":"mariadb","server_id":7,"file":"b.1","pos":2}"#);
        assert_eq!(named, Some(Place::Log { log: 7, at: 1 << 64 | 2 << 16 }));
    }

    #[test]
    fn postgres_names_the_row_and_the_commit_before_it() {
        let of = |commit, lsn| Some(Place::Wal { commit, lsn });
        let postgres = read(r#"{"lsn":26391584,"ts_ms":5,"snapshot":"last","txId":7}"#).unwrap();
        assert_eq!((postgres.place(true), postgres.clock()), (of(None, 26_391_584), 5));
        assert_eq!(postgres.marker, SnapshotMarker::Last);
        let both = r#"{"connector":"postgresql","sequence":"[\"2050\", \"1900\"]","lsn":1900}"#;
        assert_eq!(place(both), of(Some(2050), 1900));
        assert_eq!(place(r#"{"sequence":"[null,\"19\"]","lsn":null}"#), of(None, 19));
        assert_eq!(place(r#"{"lsn":"5"}"#), of(None, 5));
    }

    #[test]
    fn commits_order_sql_server_and_oracle() {
        let sql = |change: &str, snapshot: &str| {
            let json = format!(
                r#"{{"connector":"sqlserver","commit_lsn":"00000025:00000d98:00a2","change_lsn":{change},"snapshot":"{snapshot}"}}"#
            );
            place(&json).unwrap().number()
        };
        let (first, second) = (r#""00000025:00000d98:0002""#, r#""00000025:00000d98:0003""#);
        assert!(sql(first, "false") < sql(second, "false"));
        assert!(sql(second, "false") < sql("null", "true"), "a snapshot contains the commit");
        let oracle = |json: &str| place(json).unwrap().number();
        let live = oracle(r#"{"connector":"oracle","scn":"901","commit_scn":"905"}"#);
        assert!(live > oracle(r#"{"connector":"oracle","scn":"904","snapshot":"true"}"#));
        assert!(live < oracle(r#"{"connector":"oracle","scn":"905","snapshot":"true"}"#));
        let late = read(r#"{"connector":"oracle","scn":"1","snapshot":"last","ts_ms":9}"#).unwrap();
        assert_eq!(late.clock(), 0);
    }

    #[test]
    fn a_position_of_another_form_is_none() {
        for json in [
            r#"{"lsn":null,"file":""}"#,
            r#"{"lsn":"x"}"#,
            r#"{"lsn":-1}"#,
            r#"{"file":"bin"}"#,
            r#"{"connector":"yugabytedb","lsn":"1:4::0:0","sequence":"[null,\"1:4::0:0\"]"}"#,
            r#"{"connector":"cassandra","file":"CommitLog-6-1.log","pos":5}"#,
            r#"{"connector":"sqlserver","commit_lsn":"1:2"}"#,
            r#"{"connector":"vitess","lsn":5}"#,
        ] {
            assert_eq!(place(json), None, "{json}");
        }
        assert_eq!(read(r#"{"ts_ms":1.5}"#).unwrap().clock(), 0);
        assert!(read("[]").unwrap_err().contains("source"));
    }
}
