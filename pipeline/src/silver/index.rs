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

/// Slots of one block.
const BLOCK: usize = 4096;

/// Slots in blocks that never move: a list that doubles would copy every row it holds, and for a
/// moment take three times its size.
#[derive(Debug, Default)]
struct Slots {
    blocks: Vec<Vec<Slot>>,
}

#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    slots: Slots,
    free: Vec<u32>,
    table: HashTable<u32>,
    dirty: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    entry: Option<Entry>,
    dirty: bool,
}

impl Slots {
    fn get(&self, slot: u32) -> Option<&Slot> {
        let at = slot as usize;
        self.blocks.get(at / BLOCK)?.get(at % BLOCK)
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        let at = slot as usize;
        self.blocks.get_mut(at / BLOCK)?.get_mut(at % BLOCK)
    }

    /// Adds a slot without a row; `None` when every number is taken.
    fn push(&mut self) -> Option<u32> {
        let full = self.blocks.len().saturating_sub(1) * BLOCK;
        let len = full + self.blocks.last().map_or(0, Vec::len);
        let slot = u32::try_from(len).ok()?;
        if len.is_multiple_of(BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        self.blocks.last_mut()?.push(Slot::default());
        Some(slot)
    }

    fn entry(&self, slot: u32) -> Option<&Entry> {
        self.get(slot)?.entry.as_ref()
    }
}

impl KeyIndex {
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let is_key = |slot: &u32| self.slots.entry(*slot).is_some_and(|entry| *entry.key == *key);
        self.table.find(xxh3_64(key), is_key).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Entry> {
        self.slots.entry(slot)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.slots.get_mut(slot)?.entry.as_mut()
    }

    /// Adds a row whose key is not there yet; `None` when every slot number is taken.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.slots.push()?,
        };
        let hash = xxh3_64(&entry.key);
        if let Some(place) = self.slots.get_mut(slot) {
            place.entry = Some(entry);
        }
        let rehash = |slot: &u32| self.slots.entry(*slot).map_or(0, |entry| xxh3_64(&entry.key));
        self.table.insert_unique(hash, slot, rehash);
        Some(slot)
    }

    /// Removes the row of `slot`.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.slots.get_mut(slot)?.entry.take()?;
        if let Ok(found) = self.table.find_entry(xxh3_64(&entry.key), |held| *held == slot) {
            found.remove();
        }
        self.free.push(slot);
        Some(entry)
    }

    /// Notes that a slot has to be flushed.
    pub(super) fn mark(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(slot)
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
            let place = self.slots.get_mut(slot)?;
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
        let slots = (0_u32..).zip(self.slots.blocks.iter().flatten());
        slots.filter_map(|(slot, place)| Some((slot, place.entry.as_ref()?)))
    }
}
