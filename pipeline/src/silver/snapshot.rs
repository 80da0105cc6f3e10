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
//! - What a topic that was made anew brings is behind every snapshot that began in its lives before.
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

/// Snapshots that may pass at a time: one that never ended is forgotten for a later one.
const RUNS_MAX: usize = 8;

/// A snapshot that is passing, or that is over and was not acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotRun {
    mark: Mark,
    has_last: bool,
    /// The place as its rows have it.
    place: Option<Place>,
    /// The lowest clock of the source in it.
    source_ms: i64,
    /// Where each partition of a life of a topic began to deliver it.
    begins: BTreeMap<(u32, i32), i64>,
    /// Clocks of the first and the latest epoch with a row of it, in microseconds.
    since: i64,
    latest: i64,
}

impl SnapshotRun {
    /// That of a row, as far as the row says it.
    pub(super) fn of(position: &Position, clock: Micros) -> SnapshotRun {
        SnapshotRun {
            mark: mark(position),
            has_last: false,
            place: position.place,
            source_ms: position.source_ms,
            begins: BTreeMap::new(),
            since: clock.0,
            latest: clock.0,
        }
    }

    /// Follows a row of a full snapshot.
    pub(super) fn note(
        runs: &mut Vec<SnapshotRun>,
        over: Option<&mut Over>,
        position: &Position,
        marker: SnapshotMarker,
        clock: Micros,
    ) {
        let mark = mark(position);
        let lane = (position.topic, position.partition);
        // A partition that was late delivers what is over already.
        if let Some(over) = over.filter(|over| over.run.mark == mark) {
            over.run.begins.entry(lane).or_insert(position.offset);
            return;
        }
        let known = runs.iter().position(|run| run.mark == mark);
        let at = known.unwrap_or_else(|| {
            if runs.len() >= RUNS_MAX {
                runs.remove(0);
            }
            runs.push(SnapshotRun::of(position, clock));
            runs.len() - 1
        });
        let Some(run) = runs.get_mut(at) else { return };
        run.latest = clock.0;
        run.has_last |= marker == SnapshotMarker::Last;
        if position.source_ms > 0 {
            run.source_ms = run.source_ms.min(position.source_ms);
        }
        let begin = run.begins.entry(lane).or_insert(position.offset);
        *begin = (*begin).min(position.offset);
    }

    /// Whether a partition is known to have begun to deliver it, or what is behind it.
    pub(super) fn has_begun(&self, lane: (u32, i32)) -> bool {
        self.begins.contains_key(&lane)
    }

    /// If it began in one of these lives of a topic, all that a partition of a later one brings is behind it.
    pub(super) fn follow(&mut self, lane: (u32, i32), lives: &[u32]) {
        if self.begins.keys().any(|(life, _)| lives.contains(life)) {
            self.begins.entry(lane).or_insert(-1);
        }
    }

    /// Whether all of it was read after the epoch with this clock began.
    pub(super) fn is_after(&self, clock: i64) -> bool {
        self.since >= clock
    }

    /// Whether all of it is later by the source's clock.
    pub(super) fn is_later_than(&self, source_ms: i64) -> bool {
        self.source_ms > source_ms
    }

    /// The lowest clock of the source in it.
    pub(super) fn source_ms(&self) -> i64 {
        self.source_ms
    }

    /// Whether what is held was written before it and a change came behind it, which its place does not say.
    pub(super) fn is_unplaced_between(&self, held: &Position, came: &Position) -> bool {
        let is_behind = match self.begins.get(&(came.topic, came.partition)) {
            Some(begin) => came.offset > *begin,
            None => self.source_ms > 0 && came.source_ms > self.source_ms,
        };
        self.side_of(held).is_none() && self.is_missing(held) && is_behind
    }

    /// It began this incarnation. Gives where partitions began to deliver it, and the lowest clock in it.
    pub(super) fn begin_anew(
        &mut self,
        incarnation: u32,
        begins: &mut BTreeMap<(u32, i32), i64>,
        source_ms: &mut i64,
    ) {
        self.mark.0 = incarnation;
        for (lane, offset) in &self.begins {
            let begin = begins.entry(*lane).or_insert(*offset);
            *begin = (*begin).min(*offset);
        }
        *source_ms = (*source_ms).min(self.source_ms);
    }

    /// When it is over, if its last row was seen.
    pub(super) fn due(&self) -> Option<Micros> {
        self.has_last.then(|| Micros(self.latest).plus(SNAPSHOT_SETTLE_US))
    }

    /// Whether it was taken before another one that is over: then it never ends.
    pub(super) fn is_before(&self, over: &SnapshotRun) -> bool {
        let is_one_log = match (self.place, over.place) {
            (Some(Place::Log { log, .. }), Some(Place::Log { log: its, .. })) => {
                log == its && log != Place::UNNAMED
            }
            _ => true,
        };
        if !is_one_log && self.mark.0 == over.mark.0 {
            return self.source_ms <= over.source_ms;
        }
        self.mark <= over.mark
    }

    /// Whether both are one snapshot.
    pub(super) fn is_same(&self, other: &SnapshotRun) -> bool {
        self.mark == other.mark
    }

    /// Whether a change is a row of it.
    pub(super) fn told(&self, position: &Position) -> bool {
        position.snapshot && mark(position) == self.mark
    }

    /// Whether its last row was seen.
    pub(super) fn has_ended(&self) -> bool {
        self.has_last
    }

    /// Whether a row at `position` was written before the snapshot, and so was not in it.
    pub(super) fn is_missing(&self, position: &Position) -> bool {
        let (incarnation, _) = self.mark;
        if position.incarnation != incarnation {
            return position.incarnation < incarnation;
        }
        if position.snapshot && mark(position) == self.mark {
            return false;
        }
        let begin = self.begins.get(&(position.topic, position.partition));
        let is_earlier =
            position.source_ms == 0 || self.source_ms == 0 || position.source_ms <= self.source_ms;
        match (self.side_of(position), begin) {
            (Some(Ordering::Less), _) if position.snapshot => true,
            // It may be of another server, or committed later than it was written.
            (Some(Ordering::Less), Some(begin)) => position.offset < *begin,
            // In a log that is written in the order of commits the place says all.
            (Some(Ordering::Less), None) => {
                is_earlier || matches!(self.place, Some(Place::Log { .. }))
            }
            (Some(_), _) => false,
            (None, Some(begin)) => position.offset < *begin,
            (None, None) => position.source_ms > 0 && is_earlier,
        }
    }

    /// On which side of the snapshot a position stands in the source's log, if that can be compared.
    fn side_of(&self, position: &Position) -> Option<Ordering> {
        match (position.place?, self.place?) {
            (Place::Log { log, at }, Place::Log { log: own, at: start }) => {
                (log == own && log != Place::UNNAMED).then(|| at.cmp(&start))
            }
            // What is known to be committed behind the snapshot was not in it.
            (Place::Wal { commit, lsn }, Place::Wal { lsn: start, .. }) => {
                Some(lsn.max(commit.unwrap_or(0)).cmp(&start))
            }
            _ => None,
        }
    }

    /// Where a row that the snapshot did not contain was deleted: at the snapshot, by no record.
    pub(super) fn deleted_at(&self) -> Position {
        let SnapshotRun { mark: (incarnation, _), place, source_ms, .. } = *self;
        Position { incarnation, place, snapshot: true, source_ms, ..Position::NOWHERE }
    }
}

/// The last snapshot that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Over {
    pub(super) run: SnapshotRun,
    /// Since when it has removed what it lacked, if it has: what is older and comes late was not in it either.
    pub(super) swept: Option<Micros>,
}

impl Over {
    /// Whether a row at `position`, which is not held, was removed by it.
    pub(super) fn covers(&self, position: &Position) -> bool {
        self.swept.is_some() && self.run.is_missing(position)
    }
}

/// Rows that a finished snapshot lacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
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
    pub(super) fn new((table, origin): (&str, &str), keys: &[std::sync::Arc<[u8]>]) -> Lacking {
        let text = |key: &std::sync::Arc<[u8]>| {
            String::from_utf8_lossy(key).replace(char::from(schemas::key::KEY_SEPARATOR), " / ")
        };
        Lacking {
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
        let counted =
            if *rows == 1 { "1 row that is".into() } else { format!("{rows} rows that are") };
        let (keys, more) = (keys.join(", "), if *rows > NAMED as u64 { ", ..." } else { "" });
        write!(
            f,
            "table `{table}`: a snapshot of {origin} is complete and lacks {counted} still held ({keys}{more}). \
             If it was taken without conditions they are gone from the source: `weir tables sweep {table} --yes` deletes \
             them, `--dry-run` counts them; `snapshots = \"whole\"` of the source says that every snapshot is whole. \
             A new snapshot without conditions asks again"
        )
    }
}
