//! The fold: changes in, the current row of every key and each epoch's changes of rows out. Pure, in memory, one table at a time.
//!
//! The key of a row is its origin and its key columns: rows of two tables of sources that share one
//! contract are never one row.
//!
//! # Guarantees
//! - The rows after a set of records do not depend on how the records were cut into batches and
//!   epochs, on the order in which partitions were read, nor on how often a range was delivered, as long as
//!   each partition keeps its order.
//! - Per row the change with the highest [`Position`] wins; a deleted row does not come back by a late
//!   record.
//! - A value that the newest change left out is that of the newest older change that sent it, whenever it
//!   arrives; one that none has sent is unknown, and never invented.
//! - An origin that starts over at lower positions halts by name; it is never taken for late records.
//!   Other origins go on.
//! - Timers run on epoch clocks only, and how often [`TableFold::fire`] is called makes no
//!   difference.
//!
//! # Non-guarantees
//! - Tombstones end after [`TOMBSTONE_RETENTION_US`]; a record that is later than that counts as new.

mod absent;
mod admission;
mod arrival;
mod changed;
mod delete;
mod doubt;
mod fed;
mod fill;
mod frozen;
mod gap;
mod head;
mod index;
mod live;
mod moved;
mod origins;
mod record;
mod report;
mod restart;
mod retry;
mod seen;
mod snapshot;
mod state;
mod sweep;
mod table;
mod tombstones;
mod upsert;
mod widen;
mod withheld;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use lake::run::RunError;
use schemas::{Delta, EpochId, EpochStamp, Micros, Position};

use crate::decode::{Change, ChangeBatch, ChangeKind, ChangeRef, PreparedContract, SnapshotMarker};

pub use doubt::{NAMED_MAX, Unread};
pub use frozen::FrozenTable;
pub use gap::Gap;
pub use live::LiveRow;
pub use report::{Counters, Halt, LoadError};
pub use retry::Again;
pub use seen::{TopicLife, origins_in, topics_in};
pub use snapshot::{Lacking, SNAPSHOT_SETTLE_US};
pub use state::{StateError, infinite_in, lacking_in, never_sent_in};
pub use table::{
    DOUBT_COLUMN, EPOCH_COLUMN, ORIGIN_COLUMN, POSITION_COLUMN, RowBatchError, SilverRow,
    UNKNOWN_COLUMN, doubt_text, row_batch, rows_from_batch, silver_schema, unknown_text,
};
pub use tombstones::{FrozenRuns, RunsError, TOMBSTONE_RETENTION_US};

use admission::Admission;
use doubt::Unplaced;
use fill::Filling;
use live::LiveRows;
use moved::Moved;
use origins::{Origins, Seen};
use record::Provenance;
use snapshot::SnapshotRun;
use tombstones::Tombstones;

/// Counts changes of what the fold makes of equal changes: with another one tables are built anew.
pub const FOLD_VERSION: u32 = 4;

/// The state of one silver table.
#[derive(Debug)]
pub struct TableFold {
    contract: Arc<PreparedContract>,
    admission: Admission,
    rows: LiveRows,
    origins: Origins,
    tombstones: Tombstones,
    moved: Moved,
    unplaced: Unplaced,
    /// By partition of a life of a topic, the offset behind its last record.
    ends: BTreeMap<(u32, i32), i64>,
    /// By partition of a life of a topic, the row whose delete came last in it: what a null value of its
    /// key then says is known.
    last_deletes: BTreeMap<(u32, i32), (u32, Vec<u8>)>,
    /// Records of the batch that were refused, and why.
    refused: Vec<(usize, String)>,
    /// Why a deleted key could not be looked up.
    failure: Option<String>,
    counters: Counters,
    filling: Filling,
    lacking: absent::Lacking,
    dead_key: Vec<u8>,
}

/// The row that a change speaks of: its origin, and its key in both forms.
#[derive(Debug, Clone, Copy)]
struct Which<'a> {
    origin: u32,
    key: &'a [u8],
    slot: Option<u32>,
}

impl TableFold {
    /// An empty table.
    pub fn new(contract: Arc<PreparedContract>) -> TableFold {
        let rows = LiveRows::new(Arc::clone(contract.layout()), contract.key().clone());
        TableFold {
            contract,
            admission: Admission::default(),
            rows,
            origins: Origins::default(),
            tombstones: Tombstones::new(),
            moved: Moved::default(),
            unplaced: Unplaced::default(),
            ends: BTreeMap::new(),
            last_deletes: BTreeMap::new(),
            refused: Vec::new(),
            failure: None,
            counters: Counters::default(),
            filling: Filling::default(),
            lacking: absent::Lacking::default(),
            dead_key: Vec::new(),
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

    /// Says before an epoch with this clock is folded which origins of a batch are quiet in it.
    pub fn hush(&mut self, changes: &ChangeBatch, clock: Micros) {
        if changes.has_quiet() {
            for origin in changes.origins() {
                self.origins.intern(origin);
            }
            self.origins.hush(changes.quiet_origins(), clock);
        }
    }

    /// Applies one batch of an epoch and adds its changes of rows to `delta`, after firing the
    /// timers due at its clock. Every epoch has a delta of its own. Gives the records that were refused,
    /// and why, ascending.
    pub fn apply(
        &mut self,
        changes: &ChangeBatch,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> &[(usize, String)] {
        self.fire(stamp.clock, delta);
        self.refused.clear();
        self.origins.begin(changes.topic(), changes.is_whole(), changes.origins());
        if let Some((partition, ..)) = changes.covers() {
            self.origins.follow_lives(partition);
        }
        self.note_gap(changes, stamp.clock);
        for change in changes.iter() {
            if change.change.kind == ChangeKind::Unreadable {
                let reason = changes.error(change.change.record);
                self.take_unreadable(change, reason, stamp, delta);
            } else {
                self.apply_one(change, stamp, delta);
            }
        }
        &self.refused
    }

    fn apply_one(&mut self, change: ChangeRef<'_>, stamp: &EpochStamp, delta: &mut Delta) {
        let ChangeRef { change: what, key, .. } = change;
        if what.kind == ChangeKind::Ignored || self.failure.is_some() {
            return;
        }
        if what.kind == ChangeKind::Tombstone {
            self.bury(change, stamp.clock, delta);
            return;
        }
        if what.kind == ChangeKind::Upsert
            && let Some(reason) = self.refusal(change)
        {
            self.refuse(change, reason, stamp, delta);
            return;
        }
        self.note_delete(what, key);
        let origin = self.origins.of(what.origin);
        let is_whole = is_whole(what);
        let (topic, is_quiet) = (self.origins.topic(), self.origins.is_quiet(origin));
        let Some(own) = self.origins.get_mut(origin) else { return };
        let here = Position { topic, ..what.position };
        if is_whole {
            own.note_beginning(&here);
        }
        let here = Position { incarnation: own.incarnation_of(&here, None), ..here };
        own.seen = Some(Seen::new(here, stamp, is_quiet));
        let is_halted = own.halt.is_some();
        if is_halted && !is_whole {
            self.counters.halted += 1;
            return;
        }
        let position = if is_halted { self.begin_anew(origin, None, &here, stamp) } else { here };
        let Some(own) = self.origins.get_mut(origin) else { return };
        if what.kind == ChangeKind::Truncate {
            self.truncate(origin, position, stamp.clock, delta);
            return;
        }
        let mut lacking = std::mem::take(&mut self.lacking);
        if what.kind == ChangeKind::Upsert {
            for column in change.infinite {
                *own.infinite.entry(*column).or_default() += 1;
            }
            self.note_sent(origin, change, &position, &mut lacking, (stamp, delta));
        }
        let is_back = self.put_back(origin, key, delta);
        self.apply_row(lacking.view(change), origin, position, stamp, delta);
        if is_back || is_whole {
            self.withhold_unfinished(origin, key, stamp.clock, delta);
        }
        self.lacking = lacking;
    }

    /// A change of one row.
    fn apply_row(
        &mut self,
        change: ChangeRef<'_>,
        origin: u32,
        mut position: Position,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        let ChangeRef { change: what, key, .. } = change;
        let is_whole = is_whole(what);
        let which = Which { origin, key, slot: self.rows.find(key, origin) };
        let (held, is_dead) = match self.held(which, &position) {
            Ok(held) => held,
            Err(error) => {
                self.failure = Some(error.to_string());
                return;
            }
        };
        let is_incremental = what.marker == SnapshotMarker::Incremental;
        let own = self.origins.get(origin).filter(|_| !is_incremental);
        let other = Some(change.other).filter(|key| !key.is_empty());
        let beside = other.and_then(|key| self.rows.get(self.rows.find(key, origin)?));
        let beside = beside.map(|row| row.position);
        let known = held.into_iter().chain(beside);
        let back = own.and_then(|own| own.back_from(known, &position, is_whole));
        let back = match back {
            None if is_whole && what.marker == SnapshotMarker::Last => {
                self.sent_before(origin, &position)
            }
            back => back,
        };
        if let Some(held) = back {
            let between = || self.origins.get(origin)?.taken_between(&held, &position);
            let begun = if is_whole { Some(position) } else { between() };
            let Some(begun) = begun else {
                self.halt(which, &held, &position);
                return;
            };
            let Position { incarnation, .. } = self.begin_anew(origin, Some(&held), &begun, stamp);
            position.incarnation = incarnation;
        }
        if is_whole && let Some(own) = self.origins.get_mut(origin) {
            SnapshotRun::note(
                &mut own.snapshots,
                own.over.as_mut(),
                &position,
                what.marker,
                stamp.clock,
            );
        }
        let own = self.origins.get(origin).filter(|_| is_whole && which.slot.is_some());
        let is_overtaken =
            |held: &Position| own.is_some_and(|own| own.is_overtaken(&position, held));
        // A row that came from another key behind a snapshot would have had to follow a delete of the one that is held.
        let has_come =
            which.slot.is_some() && what.kind == ChangeKind::Upsert && !change.other.is_empty();
        let is_late = held.is_some_and(|held| {
            let is_before = position.compare(&held) == Ordering::Less;
            is_before || is_overtaken(&held) || has_come && held.has_seen(&position)
        });
        if is_late || self.is_swept(which, &position) {
            self.late(which, change, &position, stamp, delta);
            return;
        }
        self.take(which, change, position, (held, is_dead), (stamp, delta));
    }

    /// A change that counts as what is newest of its row.
    fn take(
        &mut self,
        which: Which<'_>,
        change: ChangeRef<'_>,
        position: Position,
        (held, is_dead): (Option<Position>, bool),
        (stamp, delta): (&EpochStamp, &mut Delta),
    ) {
        let again = held.is_some_and(|held| held.is_again(&position));
        match change.change.kind {
            ChangeKind::Delete => {
                let is_known = again && is_dead;
                self.delete(which, change.other, position, is_known, stamp, delta);
            }
            _ => self.upsert(which, change, position, again, stamp, delta),
        }
    }

    /// The position that a change of this key at `came` has to beat, and whether it is that of a
    /// delete of this key, or later.
    fn held(
        &mut self,
        which: Which<'_>,
        came: &Position,
    ) -> Result<(Option<Position>, bool), RunError> {
        if let Some(row) = which.slot.and_then(|slot| self.rows.get(slot)) {
            return Ok((Some(row.position), false));
        }
        let floor = self.origins.get(which.origin).and_then(|origin| origin.floor);
        let came = self.above_floor(which.origin, came);
        dead_key(which, &mut self.dead_key);
        let own =
            self.tombstones.get(&self.dead_key, came.as_ref())?.map(|tombstone| tombstone.position);
        let floor = floor.map(|floor| floor.position);
        let held = match (floor, own) {
            (Some(floor), Some(own)) if own.compare(&floor) == Ordering::Less => Some(floor),
            (floor, own) => own.or(floor),
        };
        Ok((held, own.is_some()))
    }

    /// A position that is later than the last truncate of an origin by its place in the source: then tombstones
    /// below it decide nothing.
    fn above_floor(&self, origin: u32, position: &Position) -> Option<Position> {
        let own = self.origins.get(origin)?;
        own.floor.is_none_or(|floor| floor.is_below(position)).then_some(*position)
    }

    /// Whether the row is not held and a snapshot that is over lacked it.
    fn is_swept(&self, which: Which<'_>, position: &Position) -> bool {
        let over = self.origins.get(which.origin).and_then(|own| own.over.as_ref());
        which.slot.is_none() && over.is_some_and(|over| over.covers(position))
    }

    fn halt(&mut self, which: Which<'_>, held: &Position, came: &Position) {
        self.counters.halted += 1;
        let halt = Halt {
            table: self.contract.contract().name.clone(),
            origin: self.origins.name(which.origin).to_owned(),
            key: String::from_utf8_lossy(which.key).into_owned(),
            held: held.to_string(),
            came: came.to_string(),
        };
        self.origins
            .get_mut(which.origin)
            .into_iter()
            .for_each(|own| own.halt = Some(halt.clone()));
    }

    /// Why origins of the table stand still, those that do.
    pub fn halts(&self) -> impl Iterator<Item = &Halt> {
        self.origins.iter().filter_map(|(_, origin)| origin.halt.as_ref())
    }

    /// What complete snapshots lacked and nobody has decided about.
    pub fn lacking(&self) -> impl Iterator<Item = &Lacking> {
        self.origins.iter().filter_map(|(_, origin)| origin.lacking.as_ref())
    }

    /// Why it stands still for good: a file that it needs cannot be read. What the change was that it
    /// was needed for is unknown, so nothing of the epoch may be published.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Takes what comes from this epoch on of halted origins as later than everything held: an operator's
    /// answer to a halt. A full snapshot does it by itself. Returns whether any was halted.
    pub fn resume(&mut self, epoch: EpochId) -> bool {
        let halted = self.origins.iter_mut().filter(|origin| origin.halt.is_some());
        halted.map(|origin| origin.start_over(epoch)).count() > 0
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

    /// The live row of a key of an origin.
    pub fn get(&self, origin: &str, key: &[u8]) -> Option<LiveRow<'_>> {
        self.rows.get(self.rows.find(key, self.origins.number(origin)?)?)
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
        let slot = self.rows.find(&key, self.origins.number(&row.origin)?)?;
        let held = self.rows.get(slot)?;
        let is_same = *held.row == *row.row
            && held.position == row.position
            && held.epoch == row.epoch
            && *held.carried == *row.carried;
        Some((slot, is_same))
    }

    /// Takes in a row read back from the silver table. Returns its slot, which counts as flushed.
    ///
    /// # Errors
    /// When the key is there already.
    pub fn load(&mut self, row: SilverRow) -> Result<u32, LoadError> {
        let mut key = Vec::new();
        self.contract.key_of(self.contract.layout().row(&row.row), &mut key);
        let SilverRow { row, position, carried, epoch, origin } = row;
        let origin = self.origins.intern(&origin);
        if let Some(own) = self.origins.get_mut(origin) {
            own.incarnation = own.incarnation.max(position.incarnation);
        }
        let free = self.rows.find(&key, origin).is_none();
        let from = Provenance { position, epoch, origin, carried: &carried };
        let slot = if free { self.rows.insert(&key, &row, &from) } else { None };
        slot.ok_or_else(|| LoadError {
            table: self.contract.contract().name.clone(),
            key: String::from_utf8_lossy(&key).into_owned(),
        })
    }
}

/// Whether a change is a row of a snapshot that is taken as a whole.
fn is_whole(change: &Change) -> bool {
    change.position.snapshot && change.marker != SnapshotMarker::Incremental
}

/// The key of a deleted row: that of the row, and its origin.
fn dead_key(which: Which<'_>, out: &mut Vec<u8>) {
    which.key.clone_into(out);
    out.extend_from_slice(&which.origin.to_le_bytes());
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
