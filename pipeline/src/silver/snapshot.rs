//! A snapshot of a table as it passes: what it must contain, and when it is over.
//!
//! A row that a finished full snapshot did not contain is gone from the source. Rows of one
//! snapshot carry its log position, so what stands before it was not in it.
//!
//! # Guarantees
//! - The answer does not depend on the order in which partitions deliver the snapshot's rows.
//!
//! # Non-guarantees
//! - Incremental snapshots are not followed: they run beside live changes and say nothing about
//!   rows that they do not contain. A snapshot restricted by conditions cannot be told from a full one.

use schemas::{Micros, Position};
use serde::{Deserialize, Serialize};

use crate::decode::SnapshotMarker;

/// A snapshot whose last row was seen is over when no further row of it came for so long: other
/// partitions may still deliver theirs.
pub const SNAPSHOT_SETTLE_US: i64 = 60_000_000;

/// Incarnation and source position, all that rows of one snapshot have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) incarnation: u32,
    pub(super) sequence: Option<u128>,
}

impl Mark {
    fn of(position: &Position) -> Mark {
        Mark { incarnation: position.incarnation, sequence: position.sequence }
    }
}

/// A snapshot that is passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotRun {
    /// The lowest mark of any row.
    lowest: Mark,
    /// The highest mark of a first row: a snapshot that was begun anew counts from there.
    first: Option<Mark>,
    /// The highest mark of a last row.
    last: Option<Mark>,
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
        let mark = Mark::of(position);
        let run = run.get_or_insert(SnapshotRun {
            lowest: mark,
            first: None,
            last: None,
            latest: clock.0,
        });
        run.latest = clock.0;
        run.lowest = run.lowest.min(mark);
        match marker {
            SnapshotMarker::First => run.first = run.first.max(Some(mark)),
            SnapshotMarker::Last => run.last = run.last.max(Some(mark)),
            _ => {}
        }
    }

    /// Where the snapshot stands.
    pub(super) fn start(&self) -> Mark {
        self.first.unwrap_or(self.lowest)
    }

    /// When it is over, if its last row was seen.
    pub(super) fn due(&self) -> Option<Micros> {
        let finished = self.last.is_some_and(|last| last >= self.start());
        finished.then(|| Micros(self.latest).plus(SNAPSHOT_SETTLE_US))
    }

    /// Whether a row at `position` was written before the snapshot, and so was not in it.
    pub(super) fn is_missing(&self, position: &Position) -> bool {
        let start = self.start();
        match (position.sequence, start.sequence) {
            _ if position.incarnation != start.incarnation => {
                position.incarnation < start.incarnation
            }
            (Some(held), Some(start)) => held < start,
            _ => false,
        }
    }

    /// Where a row that the snapshot did not contain was deleted: at the snapshot, by no record.
    pub(super) fn deleted_at(&self) -> Position {
        let Mark { incarnation, sequence } = self.start();
        Position { incarnation, sequence, snapshot: true, source_ms: 0, partition: -1, offset: -1 }
    }
}
