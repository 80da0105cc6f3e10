//! Slots: where each cell lies in the table of current values, and which changed since the last flush.
//!
//! # Guarantees
//! - A new cell takes the lowest free slot, so that slots stay dense and replay assigns the same ones.

use std::collections::BTreeSet;

use super::timers::CellRef;

/// What a flush has to do with one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotEvent {
    /// The slot holds a row that is new or changed.
    Upsert(u32),
    /// The slot holds no row any more.
    Delete(u32),
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    entries: Vec<Option<CellRef>>,
    free: BTreeSet<u32>,
    changed: Vec<u32>,
    /// Per slot, whether it is in `changed`.
    noted: Vec<bool>,
}

impl Slots {
    pub(super) fn get(&self, slot: u32) -> Option<CellRef> {
        self.entries.get(slot as usize).copied().flatten()
    }

    /// The slot of a cell after a change: kept, taken or given back.
    pub(super) fn place(&mut self, held: Option<u32>, cell: Option<CellRef>) -> Option<u32> {
        let slot = match (held, cell) {
            (None, None) => return None,
            (Some(slot), _) => slot,
            (None, Some(_)) => self.free.pop_first().unwrap_or_else(|| {
                self.entries.push(None);
                self.noted.push(false);
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }),
        };
        self.entries[slot as usize] = cell;
        if cell.is_none() {
            self.free.insert(slot);
        }
        self.note(slot);
        cell.map(|_| slot)
    }

    /// Restores the slot of a cell; `None` leaves it free and notes that a row may still be there.
    pub(super) fn restore(&mut self, slot: u32, cell: Option<CellRef>) {
        for fresh in self.entries.len()..=slot as usize {
            self.entries.push(None);
            self.noted.push(false);
            self.free.extend(u32::try_from(fresh));
        }
        match cell {
            Some(cell) => {
                self.entries[slot as usize] = Some(cell);
                self.free.remove(&slot);
            }
            None => self.note(slot),
        }
    }

    pub(super) fn drain_changed(&mut self) -> Vec<SlotEvent> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        let events = changed.into_iter().map(|slot| {
            self.noted[slot as usize] = false;
            let live = self.entries[slot as usize].is_some();
            if live { SlotEvent::Upsert(slot) } else { SlotEvent::Delete(slot) }
        });
        events.collect()
    }

    pub(super) fn live(&self) -> Vec<u32> {
        let live = (0_u32..).zip(&self.entries).filter(|(_, entry)| entry.is_some());
        live.map(|(slot, _)| slot).collect()
    }

    fn note(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.noted[slot as usize], true) {
            self.changed.push(slot);
        }
    }
}
