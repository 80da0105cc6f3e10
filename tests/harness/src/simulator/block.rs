//! The `source` blocks of events, as each connector writes them.

use serde_json::{Value, json};

/// Which connector emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL: rows by the place where they were written, streamed in the order of commits.
    Postgres,
    /// MySQL and MariaDB: the binlog's file and place within one server.
    MySql,
    /// SQL Server: texts of three hexadecimal numbers.
    SqlServer,
    /// Oracle: system change numbers.
    Oracle,
    /// MongoDB: seconds of its clock, and a number within them.
    MongoDb,
    /// No source block at all.
    Plain,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Postgres, Kind::MySql, Kind::SqlServer, Kind::Oracle, Kind::MongoDb, Kind::Plain];

    /// Whether a large value that did not change is left out where it is null, too. Oracle's log does not say which it
    /// is, and Debezium takes every large null in it for a value that was not sent; nor do MySQL's row images
    /// without large values. PostgreSQL's nulls do not lie outside of their row.
    pub(super) fn leaves_out_nulls(self) -> bool {
        self != Kind::Postgres
    }

    /// The clock of a row of a snapshot that was taken at `now`. Oracle's are read as of its change number, and say when
    /// they were read.
    pub(super) fn read_at(self, index: usize, now: i64) -> i64 {
        if self == Kind::Oracle && index > 0 { now + 40_000 } else { now }
    }

    /// The origin of the rows of database `number`, whose events are in `topic`.
    pub(super) fn origin(self, number: u8, topic: &str) -> String {
        match self {
            Kind::Postgres => format!("shop.shop_{number}.public.items"),
            Kind::MySql | Kind::MongoDb => format!("shop.shop_{number}.items"),
            Kind::SqlServer => format!("shop.shop_{number}.dbo.items"),
            Kind::Oracle => format!("shop.ORCL.SHOP_{number}.ITEMS"),
            Kind::Plain => topic.to_owned(),
        }
    }
}

/// Where an event stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// A row of a transaction.
    Live {
        lsn: u64,
        commit: u64,
        /// The commit before, where the connector has seen one.
        before: Option<u64>,
        /// Its number in the transaction.
        number: u64,
        transaction: u64,
    },
    /// A row of a snapshot.
    Snapshot {
        at: u64,
        marker: &'static str,
        /// A connector that has not streamed yet knows no server.
        knows_server: bool,
    },
    /// A row of an incremental snapshot, whose closing watermark is at `lsn`.
    Incremental { lsn: u64, commit: u64, before: u64 },
}

impl Place {
    fn marker(self) -> &'static str {
        match self {
            Place::Live { .. } => "false",
            Place::Snapshot { marker, .. } => marker,
            Place::Incremental { .. } => "incremental",
        }
    }
}

/// The block of an event of database `number`, which runs on `server`.
pub(super) fn block(kind: Kind, number: u8, server: u64, place: Place, at_ms: i64) -> Value {
    let mut block = json!({"version": "3.0.0.Final", "name": "shop", "ts_ms": at_ms,
        "snapshot": place.marker(), "db": format!("shop_{number}"), "table": "items",
        "sequence": null});
    let own = match kind {
        Kind::Postgres => postgres(place),
        Kind::MySql => mysql(server, place),
        Kind::SqlServer => sql_server(place),
        Kind::Oracle => {
            let mut own = oracle(place);
            own["schema"] = format!("SHOP_{number}").into();
            own
        }
        Kind::MongoDb => mongodb(place),
        Kind::Plain => Value::Null,
    };
    if let (Some(block), Value::Object(own)) = (block.as_object_mut(), own) {
        if kind == Kind::MongoDb {
            block.remove("table");
        }
        block.extend(own);
    }
    block
}

fn postgres(place: Place) -> Value {
    let sequence = |before: Option<u64>, lsn: u64| {
        json!([before.map(|lsn| lsn.to_string()), lsn.to_string()]).to_string()
    };
    let (sequence, lsn, transaction) = match place {
        Place::Live { lsn, before, transaction, .. } => {
            (sequence(before, lsn), Some(lsn), Some(transaction))
        }
        Place::Snapshot { at, .. } => (sequence(None, at), Some(at), None),
        Place::Incremental { lsn, before, .. } => (sequence(Some(before), lsn), None, None),
    };
    json!({"connector": "postgresql", "schema": "public", "sequence": sequence, "lsn": lsn,
        "txId": transaction, "xmin": null})
}

/// How many changes there are a second.
const PACE: u64 = 256;

/// The cluster's clock ticks with its log.
fn mongodb(place: Place) -> Value {
    let (Place::Live { commit: at, .. }
    | Place::Snapshot { at, .. }
    | Place::Incremental { commit: at, .. }) = place;
    let seconds = 1_772_359_200 + at / PACE;
    json!({"connector": "mongodb", "collection": "items", "rs": "rs0", "lsid": null,
        "ts_ms": seconds * 1000, "ord": at % PACE + 1, "txnNumber": null})
}

/// Files of a later server have lower numbers: nothing but the server tells that they are newer.
fn mysql(server: u64, place: Place) -> Value {
    let (at, row, server_id) = match place {
        Place::Live { commit, number, .. } => (commit, number, server),
        Place::Snapshot { at, knows_server, .. } => (at, 0, if knows_server { server } else { 0 }),
        Place::Incremental { lsn, .. } => (lsn, 0, server),
    };
    let file = 1_000_000 / server - 9 + at / 300;
    let gtid = matches!(place, Place::Live { .. })
        .then(|| format!("3e11fa47-71ca-11e1-9e33-c80aa942956{server}:{at}"));
    json!({"connector": "mysql", "server_id": server_id, "gtid": gtid, "row": row,
        "file": format!("mysql-bin.{file:06}"), "pos": at % 300 + 4, "thread": null, "query": null})
}

fn sql_server(place: Place) -> Value {
    let text = |lsn: u64| format!("{:08x}:{:08x}:{:04x}", lsn >> 16, lsn & 0xffff, 2);
    let (commit, change, serial) = match place {
        Place::Live { lsn, commit, .. } => (commit, Some(text(lsn)), Some(1)),
        Place::Snapshot { at, .. } => (at, None, None),
        Place::Incremental { lsn, commit, .. } => (commit, Some(text(lsn)), Some(1)),
    };
    json!({"connector": "sqlserver", "schema": "dbo", "commit_lsn": text(commit),
        "change_lsn": change, "event_serial_no": serial})
}

fn oracle(place: Place) -> Value {
    let (scn, commit, ssn) = match place {
        Place::Live { lsn, commit, number, .. } => (lsn, Some(commit.to_string()), number),
        Place::Snapshot { at, .. } => (at, None, 0),
        Place::Incremental { lsn, commit, .. } => (lsn, Some(commit.to_string()), 0),
    };
    json!({"connector": "oracle", "db": "ORCL", "table": "ITEMS", "scn": scn.to_string(),
        "commit_scn": commit, "ssn": ssn, "lcr_position": null, "rs_id": null, "txId": null})
}
