//! How the numbering of an origin began anew, and which changes came behind that.
//!
//! A source that was restored, or went on elsewhere, numbers its log anew. A snapshot begins that, or somebody's
//! decision. What is of the new numbering is of the next incarnation and later than everything before it. Partitions
//! are read one beside the other: one may bring what is behind the snapshot before another shows by a row of
//! it that places went back, and one what was before it long after. So the snapshot says what is of it, and not when
//! it is read.
//!
//! # Guarantees
//! - A change is behind a snapshot if it is a row of it; or if its partition brings it behind the first such row;
//!   or, where its partition has none, if it is no older by the source's clock. What was read before the
//!   snapshot was seen to begin anew is told the same way, and moves to the incarnation that it is of.
//! - Rows of a snapshot of MySQL do not say which server's log they stand in. There a live change at a lower place shows
//!   that a snapshot between it and what is held began anew.
//!
//! # Non-guarantees
//! - What came behind somebody's decision is told by its epoch alone.
//! - Deleted keys that lie in a run by the time that a snapshot is seen to begin anew stay in the incarnation before.
//! - A live change that halts its origin is not taken in again when the snapshot of before it is read later, in
//!   another partition.

use std::collections::BTreeMap;

use schemas::{EpochId, EpochStamp, Position};
use serde::{Deserialize, Serialize};

use super::TableFold;
use super::origins::Origin;
use super::record::{Carried, Provenance};
use super::snapshot::SnapshotRun;

/// A time that an origin's numbering began anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Restart {
    /// The first epoch all of which came behind it.
    since: EpochId,
    /// The snapshot that began it, if one did.
    snapshot: Option<Beginning>,
}

/// A snapshot that began a new numbering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Beginning {
    /// Its place, as a number.
    place: Option<u128>,
    /// The source's clock at what it went back from; 0 when that is not known.
    after: i64,
    /// The lowest clock of its rows.
    source_ms: i64,
    /// Where each partition of a life of a topic began to deliver it.
    begins: BTreeMap<(u32, i32), i64>,
}

impl Beginning {
    /// Whether a change is a row of it.
    fn told(&self, position: &Position) -> bool {
        let is_later = position.source_ms == 0 || position.source_ms > self.after;
        position.snapshot && is_later && self.place == position.place.map(|place| place.number())
    }

    /// Whether a change came behind it, if that is known.
    fn is_behind(&self, position: &Position) -> Option<bool> {
        // Where a snapshot says that rows are gone no record lies: it is of that snapshot, or of one before.
        if self.told(position) || position.partition < 0 {
            return Some(self.told(position));
        }
        if let Some(begin) = self.begins.get(&(position.topic, position.partition)) {
            return Some(position.offset >= *begin);
        }
        let is_timed = self.source_ms > 0 && position.source_ms > 0;
        is_timed.then_some(position.source_ms >= self.source_ms)
    }
}

impl Restart {
    fn is_behind(&self, position: &Position) -> Option<bool> {
        self.snapshot.as_ref().and_then(|snapshot| snapshot.is_behind(position))
    }
}

impl Origin {
    /// Somebody decided that what comes from this epoch on is later than all that is held.
    pub(super) fn start_over(&mut self, since: EpochId) {
        self.begin_next(Restart { since, snapshot: None });
        self.snapshots.clear();
    }

    fn begin_next(&mut self, restart: Restart) {
        self.incarnation = self.incarnation.saturating_add(1);
        self.restarts.push(restart);
        self.halt = None;
    }

    /// From where the source is seen to have gone back to `position`: from what is held of the row under one of its
    /// keys, or, for a row of a full snapshot, from another snapshot.
    pub(super) fn back_from(
        &self,
        held: impl IntoIterator<Item = Position>,
        position: &Position,
        is_whole: bool,
    ) -> Option<Position> {
        let taken = self.runs().filter(|_| is_whole).map(SnapshotRun::deleted_at);
        held.into_iter().chain(taken).find(|held| held.went_back_to(position))
    }

    /// Where the last full snapshot was taken that what is held was written before, and behind which a live change
    /// came, if it does not say itself on which side of it they stand.
    pub(super) fn taken_between(&self, held: &Position, came: &Position) -> Option<Position> {
        let is_between = |run: &&SnapshotRun| run.is_unplaced_between(held, came);
        let last = self.runs().filter(is_between).max_by_key(|run| run.source_ms());
        last.map(SnapshotRun::deleted_at)
    }

    /// A row of a full snapshot at `position` is the first by which the source is seen to have gone back from `held`,
    /// or the first behind a halt.
    fn begin_anew(&mut self, held: Option<&Position>, position: &Position, stamp: &EpochStamp) {
        let after = held.map_or(0, |held| held.source_ms);
        let incarnation = self.incarnation.saturating_add(1);
        let mut runs = std::mem::take(&mut self.snapshots);
        let is_own = |run: &SnapshotRun| run.told(position) && run.is_later_than(after);
        // It may be over, or the first: then it says so again of what it is known to lack now.
        runs.extend(self.over.take_if(|over| is_own(&over.run)).map(|over| over.run));
        self.first.take_if(|first| is_own(first));
        runs.retain(is_own);
        let mut begins = BTreeMap::from([((position.topic, position.partition), position.offset)]);
        let mut source_ms = position.source_ms;
        for run in &mut runs {
            run.begin_anew(incarnation, &mut begins, &mut source_ms);
        }
        self.snapshots = runs;
        let place = position.place.map(|place| place.number());
        let snapshot = Beginning { place, after, source_ms, begins };
        let since = stamp.id.saturating_add(1);
        self.begin_next(Restart { since, snapshot: Some(snapshot) });
    }

    /// The incarnation of a change. `epoch` is the one that it came in, where that was before now.
    pub(super) fn incarnation_of(&self, position: &Position, epoch: Option<EpochId>) -> u32 {
        let came = |restart: &&Restart| {
            let is_since = || epoch.is_none_or(|epoch| restart.since <= epoch);
            !restart.is_behind(position).unwrap_or_else(is_since)
        };
        let later = self.restarts.iter().rev().take_while(came).count();
        self.incarnation.saturating_sub(u32::try_from(later).unwrap_or(u32::MAX))
    }

    /// Notes where a partition begins to deliver a snapshot that began a new numbering.
    pub(super) fn note_beginning(&mut self, position: &Position) {
        let snapshots = self.restarts.iter_mut().filter_map(|restart| restart.snapshot.as_mut());
        for snapshot in snapshots.filter(|snapshot| snapshot.told(position)) {
            let lane = (position.topic, position.partition);
            snapshot.begins.entry(lane).or_insert(position.offset);
        }
    }

    /// What was read before it was seen that the source had gone back may be behind that. Returns whether it is.
    pub(super) fn settle(&self, position: &mut Position) -> bool {
        let number = |restarts: usize| u32::try_from(restarts).unwrap_or(u32::MAX);
        let restarts = self.restarts.iter().rev().zip(0..);
        let mut behind = restarts.filter(|(restart, _)| restart.is_behind(position) == Some(true));
        let incarnation =
            behind.next().map(|(_, later)| self.incarnation.saturating_sub(number(later)));
        let is_moved = incarnation.is_some_and(|own| position.incarnation < own);
        if is_moved {
            position.incarnation = incarnation.unwrap_or(position.incarnation);
        }
        is_moved
    }
}

impl TableFold {
    /// A row of a full snapshot begins the next incarnation of its origin: everything that is held is told anew which
    /// one it is of. Gives the position in that incarnation.
    pub(super) fn begin_anew(
        &mut self,
        origin: u32,
        held: Option<&Position>,
        position: &Position,
        stamp: &EpochStamp,
    ) -> Position {
        let Some(own) = self.origins.get_mut(origin) else { return *position };
        own.begin_anew(held, position, stamp);
        let Origin { incarnation, ref restarts, .. } = *own;
        let told = Origin { incarnation, restarts: restarts.clone(), ..Origin::default() };
        let settle = |position: &mut Position| told.settle(position);
        own.floor.iter_mut().for_each(|floor| {
            settle(&mut floor.position);
        });
        own.withheld.settle(&settle);
        own.sent.settle(&settle);
        self.unplaced.settle(origin, &settle);
        self.moved.settle(origin, &settle);
        self.tombstones.settle(origin, &settle);
        self.settle_rows(origin, &settle);
        Position { incarnation, ..*position }
    }

    /// A row of an origin that was sent before the last one of a snapshot, by its partition, and from which the source
    /// has gone back to that: the last of them by the source's clock.
    pub(super) fn sent_before(&self, origin: u32, last: &Position) -> Option<Position> {
        let is_before = |held: &Position| held.is_beside(last) && held.offset < last.offset;
        let own = self.rows.iter().filter(|(_, row)| row.origin == origin);
        let before = own.map(|(_, row)| row.position).filter(is_before);
        before.filter(|held| held.went_back_to(last)).max_by_key(|held| held.source_ms)
    }

    fn settle_rows(&mut self, origin: u32, settle: &dyn Fn(&mut Position) -> bool) {
        let own = self.rows.iter().filter(|(_, row)| row.origin == origin);
        let moved = own.filter_map(|(slot, row)| {
            let (mut position, mut carried) = (row.position, Carried::read(row.carried));
            let is_moved = settle(&mut position) | carried.settle(settle);
            is_moved.then(|| (slot, row.row.to_vec(), position, carried, row.epoch))
        });
        for (slot, row, position, carried, epoch) in moved.collect::<Vec<_>>() {
            let mut bytes = Vec::new();
            carried.write(&mut bytes);
            self.rows.update(slot, &row, &Provenance { position, epoch, origin, carried: &bytes });
            self.rows.mark(slot);
        }
    }
}

#[cfg(test)]
mod tests;
