//! The live rows of a table by key, each in a numbered slot.
//!
//! # Guarantees
//! - A slot keeps its number for as long as its row lives; numbers of freed slots are used again.
//! - [`KeyIndex::drain`] names each slot changed since the last call once, in ascending order.

use std::sync::Arc;

use hashbrown::HashTable;
use schemas::{EpochId, Position};
use xxhash_rust::xxh3::xxh3_64;

/// A live row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key text.
    pub key: Arc<[u8]>,
    /// Its bytes.
    pub row: Arc<[u8]>,
    /// The position of the change that wrote it.
    pub position: Position,
    /// The epoch of that change.
    pub epoch: EpochId,
}

/// What became of a slot since the last flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotEvent {
    /// It holds a row that is new or changed.
    Upsert(u32),
    /// It holds none any more.
    Delete(u32),
}

#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    slots: Vec<Slot>,
    free: Vec<u32>,
    table: HashTable<u32>,
    dirty: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    entry: Option<Entry>,
    dirty: bool,
}

fn at(slots: &[Slot], slot: u32) -> Option<&Entry> {
    slots.get(slot as usize)?.entry.as_ref()
}

impl KeyIndex {
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let is_key = |slot: &u32| at(&self.slots, *slot).is_some_and(|entry| *entry.key == *key);
        self.table.find(xxh3_64(key), is_key).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Entry> {
        at(&self.slots, slot)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.slots.get_mut(slot as usize)?.entry.as_mut()
    }

    /// Adds a row whose key is not there yet; `None` when every slot number is taken.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot::default());
                slot
            }
        };
        let hash = xxh3_64(&entry.key);
        if let Some(place) = self.slots.get_mut(slot as usize) {
            place.entry = Some(entry);
        }
        let rehash = |slot: &u32| at(&self.slots, *slot).map_or(0, |entry| xxh3_64(&entry.key));
        self.table.insert_unique(hash, slot, rehash);
        Some(slot)
    }

    /// Removes the row of `slot`.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.slots.get_mut(slot as usize)?.entry.take()?;
        if let Ok(found) = self.table.find_entry(xxh3_64(&entry.key), |held| *held == slot) {
            found.remove();
        }
        self.free.push(slot);
        Some(entry)
    }

    /// Notes that a slot has to be flushed.
    pub(super) fn mark(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(slot as usize)
            && !place.dirty
        {
            place.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Takes the slots marked since the last call.
    pub(super) fn drain(&mut self) -> Vec<SlotEvent> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        let mut event = |slot: u32| {
            let place = self.slots.get_mut(slot as usize)?;
            place.dirty = false;
            let live = place.entry.is_some();
            Some(if live { SlotEvent::Upsert(slot) } else { SlotEvent::Delete(slot) })
        };
        dirty.into_iter().filter_map(&mut event).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The live rows, by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0_u32..).zip(&self.slots).filter_map(|(slot, place)| Some((slot, place.entry.as_ref()?)))
    }
}
