//! Rows on their way from one key to another.
//!
//! A change of a key is a delete of the old row, which names the new key, and a create of the new row,
//! which names the old one and leaves out large values that did not change. What the old row had of them
//! waits here for the create, which may lie in another partition.
//!
//! # Guarantees
//! - A row that the log has behind a change of a key is another one that came to the old key, and gives nothing.
//! - At most [`LIMIT`] rows wait, each at most [`RETENTION_US`] on epoch clocks.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Delta, EpochStamp, Micros, Position};
use serde::{Deserialize, Serialize};

use super::fill::{Late, unsent};
use super::live::LiveRow;
use super::{TableFold, Which};
use crate::decode::{Change, ChangeKind, ChangeRef};

/// Rows that wait; the oldest go first.
const LIMIT: usize = 1_024;

/// How long they wait.
const RETENTION_US: i64 = 86_400_000_000;

/// A row that was deleted because its key changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MovedRow {
    row: Arc<[u8]>,
    position: Position,
    carried: Arc<[u8]>,
    clock: Micros,
}

impl MovedRow {
    /// As it was.
    pub(super) fn view(&self) -> LiveRow<'_> {
        LiveRow {
            row: &self.row,
            position: self.position,
            epoch: 0,
            origin: 0,
            carried: &self.carried,
        }
    }
}

/// By origin and new key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moved(BTreeMap<(u32, Vec<u8>), MovedRow>);

impl Moved {
    /// The row that became this one at `position`, if a delete has named it.
    pub(super) fn take(
        &mut self,
        which: Which<'_>,
        old_key: &[u8],
        position: &Position,
    ) -> Option<MovedRow> {
        if self.0.is_empty() || old_key.is_empty() {
            return None;
        }
        let place = (which.origin, which.key.to_vec());
        self.0.get(&place).filter(|moved| !is_behind(&moved.position, position))?;
        self.0.remove(&place)
    }

    fn put(&mut self, origin: u32, key: &[u8], row: MovedRow) {
        self.0.insert((origin, key.to_vec()), row);
        if self.0.len() > LIMIT
            && let Some(oldest) = self.0.iter().min_by_key(|(_, row)| row.clock)
        {
            let oldest = oldest.0.clone();
            self.0.remove(&oldest);
        }
    }

    /// Forgets those that have waited too long at `now`.
    pub(super) fn purge(&mut self, now: Micros) {
        if !self.0.is_empty() {
            self.0.retain(|_, row| row.clock.plus(RETENTION_US) > now);
        }
    }
}

/// Whether a row is known to be later than a change, which then does not speak of it.
pub(super) fn is_behind(row: &Position, change: &Position) -> bool {
    row.is_ordered_with(change) && row.compare(change) == Ordering::Greater
}

impl TableFold {
    /// The row of `slot` goes because its key becomes `moved_to`: what the new row misses of it is filled,
    /// now if the new row is there, else when it comes.
    pub(super) fn hand_over(
        &mut self,
        which: Which<'_>,
        slot: u32,
        moved_to: &[u8],
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        if moved_to.is_empty() || moved_to == which.key {
            return;
        }
        let Some(old) = self.rows.get(slot) else { return };
        let moved = MovedRow {
            row: old.row.into(),
            position: old.position,
            carried: old.carried.into(),
            clock: stamp.clock,
        };
        let slot = self.rows.find(moved_to, which.origin);
        let there = slot.and_then(|slot| self.rows.get(slot));
        if there.is_none_or(|new| is_behind(&moved.position, &new.position)) {
            self.moved.put(which.origin, moved_to, moved);
            return;
        }
        let unavailable = unsent(&self.contract, moved.view());
        let change = Change::new(ChangeKind::Upsert, 0);
        let change = ChangeRef {
            change: &change,
            key: moved_to,
            row: &moved.row,
            unavailable: &unavailable,
            absent: &[],
            infinite: &[],
            other: &[],
            origin: "",
        };
        let late = Late { position: moved.position, is_moved: true };
        self.fill_row(Which { key: moved_to, slot, ..which }, change, late, stamp, delta);
    }
}
