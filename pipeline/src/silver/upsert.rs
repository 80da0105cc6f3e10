//! A change that gives its key a row.
//!
//! # Guarantees
//! - A change at the position already held, with the same row, changes nothing.

use schemas::{Delta, EpochStamp, Position};

use super::changed::note;
use super::doubt::is_newer;
use super::moved::{is_another, is_behind};
use super::record::Provenance;
use super::{TableFold, Which, dead_key};
use crate::decode::{ChangeRef, PreparedContract};

impl TableFold {
    pub(super) fn upsert(
        &mut self,
        which: Which<'_>,
        change: ChangeRef<'_>,
        position: Position,
        again: bool,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        self.note_arrival(which, change.other, position, stamp, delta);
        let layout = self.contract.layout();
        let old = which.slot.and_then(|slot| self.rows.get(slot));
        let mut filling = std::mem::take(&mut self.filling);
        let came_from = self.moved.waiting(which, change.other, &position);
        let moved_row = || {
            let slot = self.rows.find(change.other, which.origin)?;
            let row = self.rows.get(slot).filter(|_| !change.other.is_empty())?;
            (!is_another(&row.position, &position)).then_some(row)
        };
        let unread = self.unread_beside(which, old.as_ref()).filter(|own| is_newer(own, &position));
        // Most changes send every column: their rows are taken as they are.
        let is_sent = change.unavailable.is_empty() && change.absent.is_empty() && unread.is_none();
        filling.begin(change, is_sent);
        if !is_sent {
            if let Some(moved) = &came_from {
                filling.fill(&self.contract, moved.view());
            } else if let Some(row) = moved_row() {
                filling.fill(&self.contract, row);
            }
            if let Some(old) = old {
                // What the log has before a row came from another key is of another row.
                let came = !again && !change.other.is_empty();
                if came && is_behind(&position, &old.position) {
                    filling.fill_required(&self.contract, old);
                } else {
                    filling.fill(&self.contract, old);
                }
            }
        }
        filling.lack(change.absent, position);
        if unread.is_some() {
            filling.set_outdated(&self.contract, unread);
        }
        filling.finish();
        let new = if is_sent { change.row } else { filling.row() };
        let carried = filling.carried();
        if let Some(column) = filling.first_missing(&self.contract) {
            self.counters.refused += 1;
            let reason = refusal(&self.contract, column);
            self.filling = filling;
            self.put_in_doubt(which, position, &reason, stamp, delta);
            self.refused.push((change.change.record, reason));
            return;
        }
        if came_from.is_some() {
            self.moved.arrive(which, &position);
        }
        let unchanged = old.is_some_and(|old| old.row == new);
        if again && unchanged && old.is_some_and(|old| old.carried == carried) {
            self.counters.duplicate += 1;
            self.filling = filling;
            return;
        }
        self.counters.applied += 1;
        if !unchanged {
            delta.set_quiet(self.origins.is_quiet(which.origin));
            let is_single = self.origins.len() == 1;
            note(
                layout.row(new),
                old.map(|old| (layout.row(old.row), old.epoch)),
                is_single,
                stamp,
                delta,
            );
            self.origins.feed(&self.contract, which.origin, old.map(|old| old.row), new);
        }
        let from = Provenance { position, epoch: stamp.id, origin: which.origin, carried };
        self.write(which, new, &from);
        self.filling = filling;
    }

    /// Puts a row in its slot, or in a new one.
    pub(super) fn write(&mut self, which: Which<'_>, row: &[u8], from: &Provenance<'_>) {
        let written = match which.slot {
            Some(slot) => {
                self.rows.update(slot, row, from);
                Some(slot)
            }
            None => {
                self.set_unplaced(which, None);
                let above = self.above_floor(which.origin, &from.position);
                dead_key(which, &mut self.dead_key);
                self.tombstones.remove(&self.dead_key, above.as_ref());
                self.rows.insert(which.key, row, from)
            }
        };
        // Slot numbers end at four billion rows, which memory does first.
        if let Some(slot) = written {
            self.rows.mark(slot);
        }
    }
}

fn refusal(contract: &PreparedContract, column: usize) -> String {
    let name = contract.columns().get(column).map_or("", |column| &column.name);
    format!(
        "column `{name}` is required, and its value was never sent: the event leaves it out as unchanged, and no event \
         before it is known; take a snapshot of the row, set REPLICA IDENTITY FULL, or declare the column not required"
    )
}
