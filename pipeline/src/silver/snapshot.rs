//! A snapshot of an origin as it passes: what it must contain, and when it is over.
//!
//! Rows of one snapshot carry its place in the log, so what stands before it and is alive was in it. Nothing in the
//! events tells a snapshot with conditions from a whole one. So a row that a finished snapshot lacked is
//! gone from the source only if somebody says that the snapshot was whole: the configuration of the
//! source, or a decision. Without that word it stays, and the table says which rows these are. Only
//! rows that an earlier, unfinished snapshot left, before any was seen to its end, go without it.
//!
//! # Guarantees
//! - The answer does not depend on the order in which partitions deliver the snapshot's rows.
//!
//! # Non-guarantees
//! - Incremental snapshots are not followed: they run beside live changes and say nothing about
//!   rows that they do not contain.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use schemas::{Micros, Place, Position};
use serde::{Deserialize, Serialize};

use crate::decode::SnapshotMarker;

/// A snapshot whose last row was seen is over when no further row of it came for so long: other
/// partitions may still deliver theirs.
pub const SNAPSHOT_SETTLE_US: i64 = 60_000_000;

/// Keys that are named of rows that a snapshot lacked.
const NAMED: usize = 3;

/// Incarnation and source position, all that rows of one snapshot have in common.
type Mark = (u32, Option<u128>);

fn mark(position: &Position) -> Mark {
    (position.incarnation, position.place.map(|place| place.number()))
}

/// A snapshot that is passing, or that is over and was not acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotRun {
    /// The lowest mark of any row.
    lowest: Mark,
    /// The highest mark of a first row: a snapshot that was begun anew counts from there.
    first: Option<Mark>,
    /// The highest mark of a last row.
    last: Option<Mark>,
    /// A place as its rows have them.
    place: Option<Place>,
    /// The lowest clock of the source in it.
    source_ms: i64,
    /// Where each partition of a life of a topic began to deliver it.
    begins: BTreeMap<(u32, i32), i64>,
    /// Clock of the latest epoch with a row of it, in microseconds.
    latest: i64,
}

impl SnapshotRun {
    /// Follows a row of a full snapshot.
    pub(super) fn note(
        run: &mut Option<SnapshotRun>,
        position: &Position,
        marker: SnapshotMarker,
        clock: Micros,
    ) {
        let mark = mark(position);
        let run = run.get_or_insert_with(|| SnapshotRun {
            lowest: mark,
            first: None,
            last: None,
            place: position.place,
            source_ms: position.source_ms,
            begins: BTreeMap::new(),
            latest: clock.0,
        });
        run.latest = clock.0;
        run.lowest = run.lowest.min(mark);
        if position.source_ms > 0 {
            run.source_ms = run.source_ms.min(position.source_ms);
        }
        let lane = (position.topic, position.partition);
        let begin = run.begins.entry(lane).or_insert(position.offset);
        *begin = (*begin).min(position.offset);
        match marker {
            SnapshotMarker::First => run.first = run.first.max(Some(mark)),
            SnapshotMarker::Last => run.last = run.last.max(Some(mark)),
            _ => {}
        }
    }

    /// Where the snapshot stands.
    fn start(&self) -> Mark {
        self.first.unwrap_or(self.lowest)
    }

    /// When it is over, if its last row was seen.
    pub(super) fn due(&self) -> Option<Micros> {
        let finished = self.last.is_some_and(|last| last >= self.start());
        finished.then(|| Micros(self.latest).plus(SNAPSHOT_SETTLE_US))
    }

    /// Whether a row at `position` was written before the snapshot, and so was not in it.
    pub(super) fn is_missing(&self, position: &Position) -> bool {
        let (incarnation, start) = self.start();
        if position.incarnation != incarnation {
            return position.incarnation < incarnation;
        }
        let begin = self.begins.get(&(position.topic, position.partition));
        let held = position.place.map(|place| match place {
            // What is known to be committed behind the snapshot was not in it.
            Place::Wal { commit, lsn } => u128::from(lsn.max(commit.unwrap_or(0))),
            Place::Log { at, .. } => at,
        });
        match (held.zip(start).map(|(held, start)| held.cmp(&start)), begin) {
            (Some(Ordering::Less), begin) => {
                position.snapshot || begin.is_none_or(|begin| position.offset < *begin)
            }
            (Some(_), _) => false,
            (None, Some(begin)) => position.offset < *begin,
            (None, None) => position.source_ms > 0 && position.source_ms < self.source_ms,
        }
    }

    /// Where a row that the snapshot did not contain was deleted: at the snapshot, by no record.
    pub(super) fn deleted_at(&self) -> Position {
        let (incarnation, start) = self.start();
        let place = self.place.zip(start).map(|(place, start)| match place {
            Place::Log { log, .. } => Place::Log { log, at: start },
            Place::Wal { .. } => {
                Place::Wal { commit: None, lsn: u64::try_from(start).unwrap_or(u64::MAX) }
            }
        });
        let source_ms = self.source_ms;
        Position { incarnation, place, snapshot: true, source_ms, ..Position::NOWHERE }
    }
}

/// Rows that a finished snapshot lacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    pub(super) run: SnapshotRun,
    /// The table.
    pub table: String,
    /// Of which origin.
    pub origin: String,
    /// How many.
    pub rows: u64,
    /// The first keys, as text.
    pub keys: Vec<String>,
}

impl Lacking {
    /// Rows with these keys, in their order.
    pub(super) fn new(
        (table, origin): (&str, &str),
        run: SnapshotRun,
        keys: &[std::sync::Arc<[u8]>],
    ) -> Lacking {
        let text = |key: &std::sync::Arc<[u8]>| {
            String::from_utf8_lossy(key).replace(char::from(schemas::key::KEY_SEPARATOR), " / ")
        };
        Lacking {
            run,
            table: table.to_owned(),
            origin: origin.to_owned(),
            rows: keys.len() as u64,
            keys: keys.iter().take(NAMED).map(text).collect(),
        }
    }
}

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Lacking { table, origin, rows, keys, .. } = self;
        let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        let (keys, more) = (keys.join(", "), if *rows > NAMED as u64 { ", ..." } else { "" });
        write!(
            f,
            "table `{table}`: a snapshot of {origin} is complete and lacks {rows} rows that are still held ({keys}{more}). \
             If it was taken without conditions they are gone from the source: `weir tables sweep {table} --yes` deletes \
             them, `--dry-run` counts them; `snapshots = \"whole\"` of the source says that every snapshot is whole. \
             A new snapshot without conditions asks again"
        )
    }
}
