//! Slots: where each cell lies in the table of current values, and which changed since the last flush.
//!
//! # Guarantees
//! - A new cell takes the lowest free slot, so that slots stay dense and replay assigns the same ones.

use std::collections::BTreeSet;

use schemas::{Marks, Paged};

use super::timers::CellRef;

#[derive(Debug)]
pub(super) struct Slots {
    entries: Paged<Option<CellRef>>,
    free: BTreeSet<u32>,
    changed: Marks,
}

impl Slots {
    pub(super) fn new() -> Slots {
        Slots { entries: Paged::new(1), free: BTreeSet::new(), changed: Marks::default() }
    }

    /// The slot of a cell after a change: kept, taken or given back.
    pub(super) fn place(&mut self, held: Option<u32>, cell: Option<CellRef>) -> Option<u32> {
        let slot = match (held, cell) {
            (None, None) => return None,
            (Some(slot), Some(_)) => {
                self.changed.mark(slot);
                return held;
            }
            (Some(slot), None) => slot,
            (None, Some(_)) => self
                .free
                .pop_first()
                .unwrap_or_else(|| u32::try_from(self.entries.push(None)).unwrap_or(u32::MAX)),
        };
        self.set(slot, cell);
        if cell.is_none() {
            self.free.insert(slot);
        }
        self.changed.mark(slot);
        cell.map(|_| slot)
    }

    /// Restores the slot of a cell; `None` leaves it free and notes that a row may still be there.
    pub(super) fn restore(&mut self, slot: u32, cell: Option<CellRef>) {
        for fresh in self.entries.len()..=slot as usize {
            self.entries.push(None);
            self.free.extend(u32::try_from(fresh));
        }
        match cell {
            Some(cell) => {
                self.set(slot, Some(cell));
                self.free.remove(&slot);
            }
            None => self.changed.mark(slot),
        }
    }

    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        self.changed.take()
    }

    /// The slots as they are now.
    pub(super) fn freeze(&mut self) -> Paged<Option<CellRef>> {
        self.entries.freeze()
    }

    /// Sets a slot, unless it holds that already: writing copies what a frozen state holds.
    fn set(&mut self, slot: u32, cell: Option<CellRef>) {
        if self.entries.get(slot as usize).is_some_and(|held| *held == cell) {
            return;
        }
        if let Some(entry) = self.entries.get_mut(slot as usize) {
            *entry = cell;
        }
    }
}
