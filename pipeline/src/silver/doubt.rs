//! Changes that could not be read, and the rows that they put in doubt.
//!
//! Such a change is newer than what is held of its row, or it is not, like any other. While it is the newest,
//! the row is in doubt: a bit of the row says so, and beside the row stands where the change is. Where there
//! is no row to mark (a create, or a record that does not say its key), the change is kept here.
//!
//! # Guarantees
//! - A later change of the row, its delete included, ends the doubt; one that is older does not, whenever
//!   it arrives.
//! - At most [`NAMED_MAX`] keys and as many records without one are kept; the others are counted.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use schemas::{Delta, EpochStamp, LetterAt, Position};
use serde::{Deserialize, Serialize};

use super::changed::note;
use super::fill::Filling;
use super::live::LiveRow;
use super::record::{Carried, Provenance};
use super::{TableFold, Which};
use crate::decode::{ChangeRef, DecodeError, NO_ORIGIN, PreparedContract};

/// Keys without a row whose newest change could not be read, and records without a key.
pub const NAMED_MAX: usize = 1_024;

/// How much of a reason is kept.
const REASON_MAX: usize = 300;

/// Unreadable changes that have no row to mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unplaced {
    /// By origin and key the newest of them.
    named: BTreeMap<(u32, Vec<u8>), Position>,
    /// Life of a topic, partition and offset of those that name no key.
    nameless: BTreeSet<(u32, i32, i64)>,
    /// Those beyond the bound.
    more: u64,
    /// Where the newest of all lies, and why it could not be read.
    newest: String,
}

/// Records of a contract that could not be read and have no row to mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The table.
    pub table: String,
    /// How many: keys, and records without one.
    pub count: u64,
    /// Where the newest lies, and why it could not be read.
    pub newest: String,
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unread { table, count, newest } = self;
        let records = if *count == 1 { "1 record" } else { &format!("{count} records") };
        write!(
            f,
            "table `{table}`: {records} could not be read and have no row that would be in doubt for it, the newest \
             {newest}. `weir dead-letters list` shows them, `weir dead-letters show ID` what can be done; \
             `weir dead-letters drop --contract {table} --yes` says that they will not be missed"
        )
    }
}

/// Whether an unreadable change is newer than what is known at `position`. A change at its own place is the
/// change itself, read after all.
pub(super) fn is_newer(unread: &Position, position: &Position) -> bool {
    unread.compare(position) == Ordering::Greater && !unread.is_again(position)
}

/// The unreadable change that puts a held row in doubt.
pub(super) fn of_row(contract: &PreparedContract, row: &LiveRow<'_>) -> Option<Position> {
    let is_outdated = contract.layout().row(row.row).is_outdated();
    if is_outdated { Carried::read(row.carried).outdated() } else { None }
}

impl Unplaced {
    fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    fn get(&self, origin: u32, key: &[u8]) -> Option<Position> {
        if self.is_empty() {
            return None;
        }
        self.named.get(&(origin, key.to_vec())).copied()
    }

    /// Tells anew which incarnation those of an origin are of.
    pub(super) fn settle(&mut self, origin: u32, settle: &dyn Fn(&mut Position) -> bool) {
        let own = self.named.range_mut((origin, Vec::new())..);
        own.take_while(|((of, _), _)| *of == origin).for_each(|(_, at)| {
            settle(at);
        });
    }

    fn remove(&mut self, origin: u32, key: &[u8]) {
        if !self.is_empty() {
            self.named.remove(&(origin, key.to_vec()));
        }
    }

    fn put(&mut self, origin: u32, key: &[u8], at: Position) {
        let id = (origin, key.to_vec());
        if self.named.len() < NAMED_MAX || self.named.contains_key(&id) {
            self.named.insert(id, at);
        } else {
            self.more += 1;
        }
    }

    fn put_nameless(&mut self, at: &Position) {
        if self.nameless.len() < NAMED_MAX {
            self.nameless.insert((at.topic, at.partition, at.offset));
        } else {
            self.more += 1;
        }
    }

    /// Forgets those that somebody has dropped; returns how many.
    fn drop(&mut self, is_dropped: impl Fn((u32, i32, i64)) -> bool, all: bool) -> u64 {
        let before = self.count();
        self.named.retain(|_, at| !is_dropped((at.topic, at.partition, at.offset)));
        self.nameless.retain(|at| !is_dropped(*at));
        if all {
            self.more = 0;
        }
        before - self.count()
    }

    /// Whether a record at this place is kept.
    pub(super) fn has(&self, place: (u32, i32, i64)) -> bool {
        let is_there = |at: &Position| (at.topic, at.partition, at.offset) == place;
        self.nameless.contains(&place) || self.named.values().any(is_there)
    }

    /// Forgets one of those beyond the bound.
    pub(super) fn forget_one(&mut self) {
        self.more = self.more.saturating_sub(1);
    }

    fn count(&self) -> u64 {
        (self.named.len() + self.nameless.len()) as u64 + self.more
    }

    /// Forgets those of an origin that are over.
    pub(super) fn forget(&mut self, origin: u32, is_over: impl Fn(&Position) -> bool) {
        self.named.retain(|(of, _), at| *of != origin || !is_over(at));
    }

    /// Forgets those of a key that its partition brought before a null value of it.
    pub(super) fn forget_before(&mut self, origin: u32, key: &[u8], null: &Position) {
        let held = self.get(origin, key);
        if held.is_some_and(|held| held.is_beside(null) && held.offset < null.offset) {
            self.remove(origin, key);
        }
    }
}

impl TableFold {
    /// Takes a record that could not be read.
    pub(super) fn take_unreadable(
        &mut self,
        change: ChangeRef<'_>,
        reason: Option<&DecodeError>,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        let what = change.change;
        if self.failure.is_some() {
            return;
        }
        let reason = reason.map_or("", |reason| &reason.0);
        if !change.key.is_empty() {
            self.note_delete(what, change.key);
        }
        let at = Position { topic: self.origins.topic(), ..what.position };
        let found = if what.origin == NO_ORIGIN {
            self.owner(&at, change.key)
        } else {
            Some((self.origins.of(what.origin), at))
        };
        let origin = found.and_then(|(origin, _)| self.origins.get(origin));
        if origin.is_some_and(|origin| origin.halt.is_some()) {
            self.counters.halted += 1;
            return;
        }
        let Some((number, at)) = found.filter(|_| !change.key.is_empty()) else {
            self.unplaced.put_nameless(&at);
            self.unplaced.newest = self.told(&at, reason);
            return;
        };
        let incarnation = origin.map_or(0, |origin| origin.incarnation_of(&at, None));
        let position = Position { incarnation, ..at };
        let slot = self.rows.find(change.key, number);
        let which = Which { origin: number, key: change.key, slot };
        self.put_in_doubt(which, position, reason, stamp, delta);
    }

    /// Whose a record is that names a key and no origin: that of the row that its partition brought last
    /// before it, behind which it stands in the partition; or the only origin of its topic.
    fn owner(&mut self, at: &Position, key: &[u8]) -> Option<(u32, Position)> {
        let origins: Vec<u32> = self.origins.of_topic().collect();
        let held = origins.iter().filter_map(|origin| {
            let row = self.rows.get(self.rows.find(key, *origin)?)?;
            let is_before = row.position.is_beside(at) && row.position.offset < at.offset;
            is_before.then_some((*origin, row.position))
        });
        let newest = held.max_by_key(|(_, held)| held.offset);
        let newest = newest
            .map(|(origin, held)| (origin, Position { place: None, offset: at.offset, ..held }));
        let only = if let [origin] = origins.as_slice() { Some((*origin, *at)) } else { None };
        newest.or(only)
    }

    /// A change of this row at `position` is not known: it puts the row in doubt if none is newer.
    pub(super) fn put_in_doubt(
        &mut self,
        which: Which<'_>,
        position: Position,
        reason: &str,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        let held = match self.held(which, &position) {
            Ok((held, _)) => held,
            Err(error) => {
                self.failure = Some(error.to_string());
                return;
            }
        };
        if held.is_some_and(|held| !is_newer(&position, &held)) || self.is_swept(which, &position) {
            self.counters.stale += 1;
            return;
        }
        let known = self.unread_of(which);
        if known.is_some_and(|known| !is_newer(&position, &known)) {
            return;
        }
        if which.slot.is_none() {
            self.unplaced.put(which.origin, which.key, position);
            self.unplaced.newest = self.told(&position, reason);
            return;
        }
        self.set_outdated(which, Some(position), stamp, delta);
    }

    /// The unreadable change that is newer than what is held of a row, or than its not being there.
    pub(super) fn unread_of(&self, which: Which<'_>) -> Option<Position> {
        self.unread_beside(which, which.slot.and_then(|slot| self.rows.get(slot)).as_ref())
    }

    /// The same, the row being known.
    pub(super) fn unread_beside(
        &self,
        which: Which<'_>,
        row: Option<&LiveRow<'_>>,
    ) -> Option<Position> {
        match row {
            Some(row) => of_row(&self.contract, row),
            None => self.unplaced.get(which.origin, which.key),
        }
    }

    /// The same, if it stays newer than a change at `position` of this row.
    pub(super) fn unread_after(&self, which: Which<'_>, position: &Position) -> Option<Position> {
        self.unread_of(which).filter(|unread| is_newer(unread, position))
    }

    /// A row goes, or comes: its unreadable change is kept apart, if it is still the newest of its key and
    /// there is no row to mark.
    pub(super) fn set_unplaced(&mut self, which: Which<'_>, unread: Option<Position>) {
        match unread {
            Some(at) => self.unplaced.put(which.origin, which.key, at),
            None => self.unplaced.remove(which.origin, which.key),
        }
    }

    /// Somebody says that a change that could not be read, or all of them, will not be missed: it puts
    /// nothing in doubt any more. Returns how many rows and records that ends it for.
    pub fn drop_unread(
        &mut self,
        letter: Option<&LetterAt>,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> u64 {
        let topic = letter.and_then(|letter| self.origins.topic_number(&letter.topic));
        let is_dropped = |at: (u32, i32, i64)| {
            letter.is_none_or(|own| Some(at) == topic.map(|t| (t, own.partition, own.offset)))
        };
        self.end_doubts(is_dropped, letter.is_none(), stamp, delta)
    }

    /// Ends the doubt that changes at these places caused; `all`: none is left. Returns for how many rows and
    /// records.
    pub(super) fn end_doubts(
        &mut self,
        is_over: impl Fn((u32, i32, i64)) -> bool,
        all: bool,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> u64 {
        let is_over_row = |row: &LiveRow<'_>| {
            of_row(&self.contract, row)
                .is_some_and(|at| is_over((at.topic, at.partition, at.offset)))
        };
        // Most often no row is in doubt any more, and none need be looked at.
        let looked_at = if self.rows.in_doubt() > 0 { usize::MAX } else { 0 };
        let rows = self.rows.iter().take(looked_at).filter(|(_, row)| is_over_row(row));
        let slots: Vec<(u32, u32)> = rows.map(|(slot, row)| (slot, row.origin)).collect();
        for (slot, origin) in &slots {
            let mut key = Vec::new();
            self.rows.key_of(*slot, &mut key);
            let which = Which { origin: *origin, key: &key, slot: Some(*slot) };
            self.set_outdated(which, None, stamp, delta);
        }
        let ended = self.unplaced.drop(is_over, all);
        slots.len() as u64 + ended
    }

    /// Says of a row that is held which newer change could not be read, if any.
    fn set_outdated(
        &mut self,
        which: Which<'_>,
        by: Option<Position>,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        let set = |filling: &mut Filling, contract: &PreparedContract, _: Position| {
            filling.set_outdated(contract, by);
        };
        self.put_changed(which, set, stamp, delta);
    }

    /// The newest change of a row is seen to lack a column that was sent before.
    pub(super) fn forget_column(
        &mut self,
        which: Which<'_>,
        column: usize,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        let set = |filling: &mut Filling, contract: &PreparedContract, at: Position| {
            filling.forget(contract, column, at);
        };
        self.put_changed(which, set, stamp, delta);
    }

    /// Columns were filled from changes that turn out to be of another row.
    pub(super) fn forget_values(
        &mut self,
        which: Which<'_>,
        columns: &[usize],
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        let empty = |filling: &mut Filling, contract: &PreparedContract, _: Position| {
            filling.empty(contract, columns);
        };
        self.put_changed(which, empty, stamp, delta);
    }

    /// Puts a row that stands where it stood in its slot, once it is changed.
    fn put_changed(
        &mut self,
        which: Which<'_>,
        change: impl FnOnce(&mut Filling, &PreparedContract, Position),
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        let Some(row) = which.slot.and_then(|slot| self.rows.get(slot)) else { return };
        let mut filling = std::mem::take(&mut self.filling);
        filling.resume(&self.contract, row);
        change(&mut filling, &self.contract, row.position);
        filling.finish();
        if filling.row() != row.row {
            delta.set_quiet(self.origins.is_quiet(row.origin));
            let layout = self.contract.layout();
            let old = Some((layout.row(row.row), row.epoch));
            note(layout.row(filling.row()), old, self.origins.len() == 1, stamp, delta);
        }
        let (position, origin, carried) = (row.position, row.origin, filling.carried());
        let from = Provenance { position, epoch: stamp.id, origin, carried };
        self.write(which, filling.row(), &from);
        self.filling = filling;
    }

    fn told(&self, at: &Position, reason: &str) -> String {
        let topic = self.origins.topic_name(at.topic).to_owned();
        let place = LetterAt { topic, partition: at.partition, offset: at.offset };
        let mut text = format!("{}: {reason}", place.id());
        if let Some((end, _)) = text.char_indices().nth(REASON_MAX) {
            text.truncate(end);
            text.push_str("...");
        }
        text
    }

    /// What could not be read and has no row to mark, if there is any.
    pub fn unread(&self) -> Option<Unread> {
        let count = self.unplaced.count();
        let table = || self.contract.contract().name.clone();
        let newest = || self.unplaced.newest.clone();
        (count > 0).then(|| Unread { table: table(), count, newest: newest() })
    }

    /// How many records could not be read and have no row to mark: keys, and records without one.
    pub fn unplaced_count(&self) -> u64 {
        self.unplaced.count()
    }

    /// The number of live rows in doubt.
    pub fn in_doubt(&self) -> usize {
        self.rows.in_doubt()
    }
}

#[cfg(test)]
mod tests;
