//! Values that an event left out because they did not change.
//!
//! # Guarantees
//! - Such a value is that of the newest change before it that sent one. When an older change arrives
//!   later, it fills what is missing, and what a still older one has filled.
//! - PostgreSQL never leaves out a null. Where one is held, a change in between is gone that no record tells of: the
//!   value is unknown, and no change before the null fills it in.

use std::cmp::Ordering;

use schemas::{Delta, EpochStamp, Place, Position, RowBuilder, RowRef};

use super::changed::note;
use super::live::LiveRow;
use super::record::{Carried, Provenance};
use super::{TableFold, Which};
use crate::decode::{ChangeKind, ChangeRef, PreparedContract};

/// An older change that may have what a row misses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    pub(super) position: Position,
    /// It is the row under its old key, which stands before all changes of the new one, whatever their
    /// clocks say.
    pub(super) is_moved: bool,
}

/// A row that is put together from several.
#[derive(Debug, Default)]
pub(super) struct Filling {
    builder: RowBuilder,
    row: Vec<u8>,
    /// Columns without a value yet, ascending.
    missing: Vec<usize>,
    carried: Carried,
    carried_bytes: Vec<u8>,
    /// Its change would have sent a null.
    sends_nulls: bool,
}

impl Filling {
    /// Begins with the row of a change. One that is taken as it is need not be copied.
    pub(super) fn begin(&mut self, change: ChangeRef<'_>, is_plain: bool) {
        if !is_plain {
            change.row.clone_into(&mut self.row);
        }
        self.missing.clear();
        self.missing.extend_from_slice(change.unavailable);
        self.carried = Carried::default();
        self.sends_nulls = sends_nulls(&change.change.position);
    }

    /// Begins with a row that is held.
    pub(super) fn resume(&mut self, contract: &PreparedContract, held: LiveRow<'_>) {
        held.row.clone_into(&mut self.row);
        self.missing.clear();
        self.missing.extend(unsent(contract, held));
        self.carried = Carried::read(held.carried);
        self.sends_nulls = sends_nulls(&held.position);
    }

    /// Fills what may not be missing from a row that is held, until what the row had is known.
    pub(super) fn fill_required(&mut self, contract: &PreparedContract, held: LiveRow<'_>) {
        let missing = std::mem::take(&mut self.missing);
        let (required, rest) =
            missing.into_iter().partition(|column| contract.is_required(*column));
        self.missing = required;
        self.fill(contract, held);
        self.missing.extend::<Vec<usize>>(rest);
        self.missing.sort_unstable();
    }

    /// Fills what is missing from a row that is held.
    pub(super) fn fill(&mut self, contract: &PreparedContract, held: LiveRow<'_>) {
        if self.missing.is_empty() {
            return;
        }
        let carried = Carried::read(held.carried);
        let unknown = unsent(contract, held);
        let missing = std::mem::take(&mut self.missing);
        let (still, found): (Vec<usize>, Vec<usize>) =
            missing.into_iter().partition(|column| unknown.contains(column));
        for &column in &found {
            self.carried.set(column, carried.get(column).unwrap_or(held.position));
        }
        self.copy(contract, held.row, &found);
        self.missing = still;
    }

    /// Fills what is missing, or was filled from an older change than it is of there, from what was held before.
    pub(super) fn fill_older(&mut self, contract: &PreparedContract, held: LiveRow<'_>) {
        let (carried, unknown) = (Carried::read(held.carried), unsent(contract, held));
        let of = |column: usize| carried.get(column).unwrap_or(held.position);
        let is_older = |column: &usize| {
            let own = self.carried.get(*column);
            own.is_some_and(|own| own.compare(&of(*column)).is_lt()) && !unknown.contains(column)
        };
        let older: Vec<usize> = self.carried.columns().filter(is_older).collect();
        older.iter().for_each(|column| self.carried.set(*column, of(*column)));
        self.copy(contract, held.row, &older);
        self.fill(contract, held);
    }

    /// Fills what is missing, or was filled from an older change, from a late one; returns whether
    /// there was any.
    fn fill_late(
        &mut self,
        contract: &PreparedContract,
        change: ChangeRef<'_>,
        late: Late,
    ) -> bool {
        let Late { position, is_moved } = late;
        let is_older = |column: &usize| {
            let from = self.carried.get(*column);
            from.is_some_and(|from| {
                let is_known = !is_moved || from.is_ordered_with(&position);
                is_known && from.compare(&position) == Ordering::Less
            })
        };
        let older: Vec<usize> = self.carried.columns().filter(is_older).collect();
        let wanted = self.missing.iter().copied().chain(older);
        let sent = wanted.filter(|column| !change.unavailable.contains(column));
        let sent: Vec<usize> = sent.collect();
        if sent.is_empty() {
            return false;
        }
        sent.iter().for_each(|column| self.carried.set(*column, position));
        self.missing.retain(|column| !sent.contains(column));
        self.copy(contract, change.row, &sent);
        true
    }

    /// Notes which columns a change at `position` lacks: they are unknown, as it left them.
    pub(super) fn lack(&mut self, columns: &[usize], position: Position) {
        columns.iter().for_each(|column| self.carried.set(*column, position));
    }

    /// A column is unknown, as a change at `position` left it.
    pub(super) fn forget(
        &mut self,
        contract: &PreparedContract,
        column: usize,
        position: Position,
    ) {
        self.lack(&[column], position);
        self.rebuild(contract, |_| None, &[column], None);
    }

    /// These columns have no value yet, after all.
    pub(super) fn empty(&mut self, contract: &PreparedContract, columns: &[usize]) {
        columns.iter().for_each(|column| self.carried.remove(*column));
        self.missing.extend(columns);
        self.missing.sort_unstable();
        self.rebuild(contract, |_| None, columns, None);
    }

    /// Takes these columns from another row. What is null there and would have been sent is unknown.
    fn copy(&mut self, contract: &PreparedContract, from: &[u8], columns: &[usize]) {
        if columns.is_empty() {
            return;
        }
        let from = contract.layout().row(from);
        let is_other = |index: usize| columns.contains(&index);
        let is_gone = |index: usize| is_other(index) && self.sends_nulls && from.is_null(index);
        let gone: Vec<usize> = columns.iter().copied().filter(|index| is_gone(*index)).collect();
        self.rebuild(contract, |index| is_other(index).then_some(from), &gone, None);
    }

    /// Says which newer change of the row could not be read, if any.
    pub(super) fn set_outdated(&mut self, contract: &PreparedContract, by: Option<Position>) {
        self.carried.set_outdated(by);
        if contract.layout().row(&self.row).is_outdated() != by.is_some() {
            self.rebuild(contract, |_| None, &[], Some(by.is_some()));
        }
    }

    /// Makes the row anew: columns from elsewhere, those that are unknown, and whether it is outdated, where that is
    /// said.
    fn rebuild<'a>(
        &mut self,
        contract: &PreparedContract,
        elsewhere: impl Fn(usize) -> Option<RowRef<'a>>,
        unknown: &[usize],
        is_outdated: Option<bool>,
    ) {
        let layout = contract.layout();
        let own = std::mem::take(&mut self.row);
        let held = layout.row(&own);
        self.builder.reset(contract.columns().len());
        for index in 0..contract.columns().len() {
            self.builder.copy(index, elsewhere(index).unwrap_or(held));
        }
        unknown.iter().for_each(|index| self.builder.set_unknown(*index));
        self.builder.set_outdated(is_outdated.unwrap_or(held.is_outdated()));
        self.builder.finish(layout, &mut self.row);
    }

    /// Ends it.
    pub(super) fn finish(&mut self) {
        self.carried_bytes.clear();
        self.carried.write(&mut self.carried_bytes);
    }

    /// The row, once it is finished.
    pub(super) fn row(&self) -> &[u8] {
        &self.row
    }

    /// Where the values came from that its change left out, once it is finished.
    pub(super) fn carried(&self) -> &[u8] {
        &self.carried_bytes
    }

    /// The first required column without a value.
    pub(super) fn first_missing(&self, contract: &PreparedContract) -> Option<usize> {
        self.missing.iter().find(|column| contract.is_required(**column)).copied()
    }
}

/// Whether a change sends every null, so that what it leaves out is none. Oracle, and MySQL without large values in its
/// row images, leave out nulls as well.
fn sends_nulls(position: &Position) -> bool {
    matches!(position.place, Some(Place::Wal { .. }))
}

/// The columns of a row whose value no change has sent. What a change lacked that it should have had is not
/// among them: that is known to be unknown.
pub(super) fn unsent(contract: &PreparedContract, row: LiveRow<'_>) -> Vec<usize> {
    let carried = Carried::read(row.carried);
    let unknown = contract.layout().row(row.row).unknown();
    unknown.filter(|column| carried.get(*column).is_none()).collect()
}

impl TableFold {
    /// A change that is older than what is held: it may have a value that the newer one left out, or one that went on
    /// under another key.
    pub(super) fn late(
        &mut self,
        which: Which<'_>,
        change: ChangeRef<'_>,
        position: &Position,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        let is_upsert = change.change.kind == ChangeKind::Upsert;
        let (mut left, mut is_filled) = (None, false);
        if is_upsert {
            self.note_arrival(which, change.other, *position, stamp, delta);
            is_filled = self.take_waiting(which, change.other, position, stamp, delta);
        }
        if is_upsert && let Some(followed) = self.follow(which, change, position, stamp, delta) {
            left = Some(followed.0);
            is_filled |= followed.1;
        } else if change.change.kind == ChangeKind::Delete {
            self.hand_over(which, change.other, *position, stamp, delta);
        }
        let held = which.slot.and_then(|slot| self.rows.get(slot));
        let is_whole = held.is_none_or(|held| {
            let is_another = left.is_some_and(|left| held.position.compare(&left).is_gt());
            let is_sent = held.carried.is_empty();
            is_another || is_sent && !self.contract.layout().row(held.row).has_unknown()
        });
        let is_former =
            |held: &LiveRow<'_>| self.moved.came_between(which, position, &held.position);
        if is_upsert && !is_whole && !held.as_ref().is_some_and(is_former) {
            let late = Late { position: *position, is_moved: false };
            is_filled |= self.fill_row(which, change, late, stamp, delta);
        }
        if !is_filled {
            self.counters.stale += 1;
        }
    }

    /// Fills a held row from an older change. Returns whether that had anything.
    pub(super) fn fill_row(
        &mut self,
        which: Which<'_>,
        change: ChangeRef<'_>,
        late: Late,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> bool {
        let Some(held) = which.slot.and_then(|slot| self.rows.get(slot)) else { return false };
        let mut filling = std::mem::take(&mut self.filling);
        filling.resume(&self.contract, held);
        let is_filled = filling.fill_late(&self.contract, change, late);
        if is_filled {
            self.counters.filled += 1;
            filling.finish();
            let layout = self.contract.layout();
            if held.row != filling.row() {
                delta.set_quiet(self.origins.is_quiet(held.origin));
                let old = Some((layout.row(held.row), held.epoch));
                let is_single = self.origins.len() == 1;
                note(layout.row(filling.row()), old, is_single, stamp, delta);
                self.origins.feed(&self.contract, held.origin, Some(held.row), filling.row());
            }
            let (position, origin) = (held.position, held.origin);
            let carried = filling.carried();
            let from = Provenance { position, epoch: stamp.id, origin, carried };
            self.write(which, filling.row(), &from);
        }
        self.filling = filling;
        is_filled
    }
}
