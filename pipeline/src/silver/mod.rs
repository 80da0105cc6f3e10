//! The fold: changes in, the current row of every key and each epoch's changes of rows out. Pure, in memory, one table at a time.
//!
//! # Guarantees
//! - The rows after a set of records do not depend on how the records were cut into batches and
//!   epochs, nor on how often a range was delivered, as long as each partition keeps its order.
//! - Per key the highest [`Position`] wins; a deleted key does not come back by a late record.
//! - A source that starts over at lower positions halts its table by name; it is never taken for
//!   a row of late records.
//! - Timers run on epoch clocks only, and how often [`TableFold::fire`] is called makes no
//!   difference.
//!
//! # Non-guarantees
//! - Tombstones end after [`TOMBSTONE_RETENTION_US`]; a record that is later than that counts as new.

mod frozen;
mod index;
mod live;
mod origins;
mod record;
mod report;
mod snapshot;
mod state;
mod table;
mod tombstones;

use std::cmp::Ordering;
use std::sync::Arc;

use lake::run::RunError;
use schemas::{Delta, EpochStamp, Micros, Position, RowBuilder, RowRef};

use crate::decode::{ChangeBatch, ChangeKind, ChangeRef, PreparedContract, SnapshotMarker};

pub use frozen::FrozenTable;
pub use live::LiveRow;
pub use report::{Counters, Halt, LoadError};
pub use snapshot::SNAPSHOT_SETTLE_US;
pub use state::StateError;
pub use table::{
    EPOCH_COLUMN, ORIGIN_COLUMN, POSITION_COLUMN, RowBatchError, SilverRow, UNKNOWN_COLUMN,
    row_batch, rows_from_batch, silver_schema, unknown_text,
};
pub use tombstones::{FrozenRuns, RunsError, TOMBSTONE_RETENTION_US};

use live::LiveRows;
use origins::Origins;
use record::Provenance;
use snapshot::SnapshotRun;
use tombstones::{Tombstone, Tombstones};

/// Counts changes of what the fold makes of equal changes: with another one tables are built anew.
pub const FOLD_VERSION: u32 = 1;

/// The state of one silver table.
#[derive(Debug)]
pub struct TableFold {
    contract: Arc<PreparedContract>,
    rows: LiveRows,
    origins: Origins,
    tombstones: Tombstones,
    /// The last truncate: a tombstone for every key without a row.
    floor: Option<Tombstone>,
    incarnation: u32,
    halt: Option<Halt>,
    snapshot: Option<SnapshotRun>,
    /// Why a deleted key could not be looked up.
    failure: Option<String>,
    counters: Counters,
    builder: RowBuilder,
    filled: Vec<u8>,
}

impl TableFold {
    /// An empty table.
    pub fn new(contract: Arc<PreparedContract>) -> TableFold {
        let rows = LiveRows::new(Arc::clone(contract.layout()), contract.key().clone());
        TableFold {
            contract,
            rows,
            origins: Origins::default(),
            tombstones: Tombstones::new(),
            floor: None,
            incarnation: 0,
            halt: None,
            snapshot: None,
            failure: None,
            counters: Counters::default(),
            builder: RowBuilder::default(),
            filled: Vec::new(),
        }
    }

    /// The contract.
    pub fn contract(&self) -> &Arc<PreparedContract> {
        &self.contract
    }

    /// No changes of this table.
    pub fn no_changes(&self) -> Delta {
        Delta::new(Arc::clone(self.contract.layout()), self.contract.key().clone())
    }

    /// Applies one batch of an epoch and adds its changes of rows to `delta`, after firing the
    /// timers due at its clock. Every epoch has a delta of its own.
    pub fn apply(&mut self, changes: &ChangeBatch, stamp: &EpochStamp, delta: &mut Delta) {
        self.fire(stamp.clock, delta);
        self.origins.begin(changes.origins());
        for change in changes.iter() {
            self.apply_one(change, stamp, delta);
        }
    }

    fn apply_one(&mut self, change: ChangeRef<'_>, stamp: &EpochStamp, delta: &mut Delta) {
        let ChangeRef { change: what, key, .. } = change;
        let is_nothing = matches!(what.kind, ChangeKind::Tombstone | ChangeKind::Ignored);
        if is_nothing || self.failure.is_some() {
            return;
        }
        let in_full_snapshot = what.position.snapshot && what.marker != SnapshotMarker::Incremental;
        if self.halt.is_some() {
            if !in_full_snapshot {
                self.counters.halted += 1;
                return;
            }
            self.start_incarnation();
        }
        let mut position = Position { incarnation: self.incarnation, ..what.position };
        if what.kind == ChangeKind::Truncate {
            self.truncate(position, stamp.clock, delta);
            return;
        }
        let slot = self.rows.find(key);
        let (held, is_dead) = match self.held(slot, key, &position) {
            Ok(held) => held,
            Err(error) => {
                self.failure = Some(error.to_string());
                return;
            }
        };
        if let Some(held) = held
            && went_back(&held, &position)
        {
            if !in_full_snapshot {
                self.halt(key, &held, &position);
                return;
            }
            self.start_incarnation();
            position.incarnation = self.incarnation;
        }
        if in_full_snapshot {
            SnapshotRun::note(&mut self.snapshot, &position, what.marker, stamp.clock);
        }
        if held.is_some_and(|held| position.compare(&held) == Ordering::Less) {
            self.counters.stale += 1;
            return;
        }
        let again = held.is_some_and(|held| {
            held == position
                || (held.incarnation == position.incarnation
                    && held.sequence.is_some()
                    && held.sequence == position.sequence)
        });
        match what.kind {
            ChangeKind::Delete => {
                self.delete(slot, key, position, again && is_dead, stamp.clock, delta);
            }
            _ => {
                let origin = self.origins.of(what.origin);
                let from = Provenance { position, epoch: stamp.id, origin };
                self.upsert(slot, change, &from, again, delta);
            }
        }
    }

    /// The position that a change of this key at `came` has to beat, and whether it is that of a
    /// delete of this key, or later.
    fn held(
        &self,
        slot: Option<u32>,
        key: &[u8],
        came: &Position,
    ) -> Result<(Option<Position>, bool), RunError> {
        if let Some(row) = slot.and_then(|slot| self.rows.get(slot)) {
            return Ok((Some(row.position), false));
        }
        let floor = self.floor.map(|floor| floor.position);
        let own = self
            .tombstones
            .get(key, above_floor(self.floor, came))?
            .map(|tombstone| tombstone.position);
        let held = match (floor, own) {
            (Some(floor), Some(own)) if own.compare(&floor) == Ordering::Less => Some(floor),
            (floor, own) => own.or(floor),
        };
        Ok((held, own.is_some()))
    }

    fn upsert(
        &mut self,
        slot: Option<u32>,
        change: ChangeRef<'_>,
        from: &Provenance,
        again: bool,
        delta: &mut Delta,
    ) {
        let layout = self.contract.layout();
        let old = slot.and_then(|slot| self.rows.get(slot));
        let new: &[u8] = match old {
            Some(old) if !change.unavailable.is_empty() => {
                self.filled.clear();
                let rows = (layout.row(old.row), layout.row(change.row));
                fill(&self.contract, rows, change.unavailable, &mut self.builder, &mut self.filled);
                &self.filled
            }
            _ => change.row,
        };
        let unchanged = old.is_some_and(|old| old.row == new);
        if again && unchanged {
            self.counters.duplicate += 1;
            return;
        }
        self.counters.applied += 1;
        if !unchanged {
            let (before, after) = (old.map(|old| layout.row(old.row)), Some(layout.row(new)));
            // A row of an earlier epoch, and one that was not there, have not changed in this one.
            if old.is_none_or(|old| old.epoch != from.epoch) {
                delta.first_change(before, after);
            } else {
                delta.change(before, after);
            }
        }
        let written = match slot {
            Some(slot) => {
                self.rows.update(slot, new, from);
                Some(slot)
            }
            None => {
                self.tombstones.remove(change.key, above_floor(self.floor, &from.position));
                self.rows.insert(change.key, new, from)
            }
        };
        // Slot numbers end at four billion rows, which memory does first.
        if let Some(slot) = written {
            self.rows.mark(slot);
        }
    }

    fn delete(
        &mut self,
        slot: Option<u32>,
        key: &[u8],
        position: Position,
        is_known: bool,
        clock: Micros,
        delta: &mut Delta,
    ) {
        let Some(slot) = slot else {
            if is_known {
                self.counters.duplicate += 1;
                return;
            }
            self.counters.applied += 1;
            self.counters.unknown_deletes += 1;
            self.tombstones.put(key.into(), Tombstone { position, clock });
            return;
        };
        self.counters.applied += 1;
        self.remove(slot, key, delta);
        self.tombstones.put(key.into(), Tombstone { position, clock });
    }

    fn remove(&mut self, slot: u32, key: &[u8], delta: &mut Delta) {
        let Some(old) = self.rows.get(slot) else { return };
        delta.change(Some(self.contract.layout().row(old.row)), None);
        self.rows.remove(slot, key);
        self.rows.mark(slot);
    }

    /// Removes every row whose position `is_gone`, in key order.
    fn remove_all(
        &mut self,
        is_gone: impl Fn(&Position) -> bool,
        delta: &mut Delta,
    ) -> Vec<Arc<[u8]>> {
        let gone = self.rows.iter().filter(|(_, row)| is_gone(&row.position));
        let key_of = |slot| {
            let mut key = Vec::new();
            self.rows.key_of(slot, &mut key);
            key.into()
        };
        let mut gone: Vec<(Arc<[u8]>, u32)> = gone.map(|(slot, _)| (key_of(slot), slot)).collect();
        gone.sort_unstable();
        for (key, slot) in &gone {
            self.remove(*slot, key, delta);
        }
        gone.into_iter().map(|(key, _)| key).collect()
    }

    fn truncate(&mut self, position: Position, clock: Micros, delta: &mut Delta) {
        let repeats = self.floor.is_some_and(|floor| {
            let equal = floor.position.incarnation == position.incarnation
                && position.sequence.is_some()
                && floor.position.sequence == position.sequence;
            floor.position == position || equal
        });
        if repeats {
            self.counters.duplicate += 1;
            return;
        }
        self.counters.applied += 1;
        let is_below = |held: &Position| held.compare(&position) == Ordering::Less;
        for key in self.remove_all(is_below, delta) {
            self.tombstones.remove(&key, None);
        }
        if self.floor.is_none_or(|floor| floor.position.compare(&position) == Ordering::Less) {
            self.floor = Some(Tombstone { position, clock });
        }
    }

    fn halt(&mut self, key: &[u8], held: &Position, came: &Position) {
        self.counters.halted += 1;
        self.halt = Some(Halt {
            table: self.contract.contract().name.clone(),
            key: String::from_utf8_lossy(key).into_owned(),
            held: held.to_string(),
            came: came.to_string(),
        });
    }

    /// Why the table stands still, when it does.
    pub fn halted(&self) -> Option<&Halt> {
        self.halt.as_ref()
    }

    /// Why it stands still for good: a file that it needs cannot be read. What the change was that it
    /// was needed for is unknown, so nothing of the epoch may be published.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Takes what comes from here on as later than everything held: an operator's answer to a
    /// halt. A full snapshot does it by itself.
    pub fn start_incarnation(&mut self) {
        self.incarnation = self.incarnation.saturating_add(1);
        self.halt = None;
        self.snapshot = None;
    }

    /// When the next timer that may change rows is due. Old tombstones need none: they are dropped
    /// when the next epoch comes.
    pub fn due(&self) -> Option<Micros> {
        self.snapshot.and_then(|run| run.due())
    }

    fn floor_due(&self) -> Option<Micros> {
        self.floor.map(|floor| floor.clock.plus(TOMBSTONE_RETENTION_US))
    }

    /// Fires the timers due at `now` or before.
    pub fn fire(&mut self, now: Micros, delta: &mut Delta) {
        let sweep = self.snapshot.and_then(|run| Some((run, run.due().filter(|due| *due <= now)?)));
        if let Some((run, due)) = sweep {
            self.snapshot = None;
            let position = run.deleted_at();
            let gone = self.remove_all(|held| run.is_missing(held), delta);
            self.counters.swept += gone.len() as u64;
            for key in gone {
                self.tombstones.put(key, Tombstone { position, clock: due });
            }
        }
        self.tombstones.purge(now);
        if self.floor_due().is_some_and(|due| due <= now) {
            self.floor = None;
        }
    }

    /// What became of the changes so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The number of live rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// The number of deleted keys that are remembered.
    pub fn tombstones(&self) -> usize {
        self.tombstones.len()
    }

    /// The runs of deleted keys, to be written before there is a barrier.
    pub fn runs(&mut self) -> FrozenRuns {
        self.tombstones.runs()
    }

    /// Every live row with its slot, by slot.
    pub fn rows(&self) -> impl Iterator<Item = (u32, LiveRow<'_>)> {
        self.rows.iter()
    }

    /// The live row of a key.
    pub fn get(&self, key: &[u8]) -> Option<LiveRow<'_>> {
        self.rows.get(self.rows.find(key)?)
    }

    /// Takes the slots changed since the last call: each once, in no order. A slot without a row may
    /// never have been flushed.
    pub fn take_changed_slots(&mut self) -> Vec<u32> {
        self.rows.take_changed()
    }

    /// The slot of the live row with the key of `row`, and whether that is this row.
    pub fn locate(&self, row: &SilverRow) -> Option<(u32, bool)> {
        let mut key = Vec::new();
        self.contract.key_of(self.contract.layout().row(&row.row), &mut key);
        let slot = self.rows.find(&key)?;
        let held = self.rows.get(slot)?;
        let is_same = *held.row == *row.row
            && held.position == row.position
            && held.epoch == row.epoch
            && self.origins.name(held.origin) == &*row.origin;
        Some((slot, is_same))
    }

    /// Takes in a row read back from the silver table. Returns its slot, which counts as flushed.
    ///
    /// # Errors
    /// When the key is there already.
    pub fn load(&mut self, row: SilverRow) -> Result<u32, LoadError> {
        let mut key = Vec::new();
        self.contract.key_of(self.contract.layout().row(&row.row), &mut key);
        self.incarnation = self.incarnation.max(row.position.incarnation);
        let SilverRow { row, position, epoch, origin } = row;
        let origin = self.origins.intern(&origin);
        let free = self.rows.find(&key).is_none();
        let from = Provenance { position, epoch, origin };
        let slot = if free { self.rows.insert(&key, &row, &from) } else { None };
        slot.ok_or_else(|| LoadError {
            table: self.contract.contract().name.clone(),
            key: String::from_utf8_lossy(&key).into_owned(),
        })
    }
}

/// A position that is later than the last truncate by its place in the source: then tombstones below it
/// decide nothing.
fn above_floor(floor: Option<Tombstone>, position: &Position) -> Option<&Position> {
    floor.is_none_or(|floor| floor.is_below(position)).then_some(position)
}

/// Whether the source itself went back: a lower position at a later time of its own clock.
fn went_back(held: &Position, came: &Position) -> bool {
    let lower = match (held.sequence, came.sequence) {
        (Some(held), Some(came)) => came < held,
        _ => false,
    };
    lower
        && held.incarnation == came.incarnation
        && held.source_ms > 0
        && came.source_ms > held.source_ms
}

/// Builds the `new` row with the `unavailable` columns of the `old` one.
fn fill(
    contract: &PreparedContract,
    (old, new): (RowRef<'_>, RowRef<'_>),
    unavailable: &[usize],
    builder: &mut RowBuilder,
    out: &mut Vec<u8>,
) {
    builder.reset(contract.columns().len());
    for index in 0..contract.columns().len() {
        builder.copy(index, if unavailable.contains(&index) { old } else { new });
    }
    builder.finish(contract.layout(), out);
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
