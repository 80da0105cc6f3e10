//! Things by key, each in a numbered slot: the tombstones of a table.
//!
//! # Guarantees
//! - A slot keeps its number for as long as what it holds; numbers of freed slots are used again.
//! - [`KeyIndex::freeze`] copies nothing but what is written while the frozen slots are held.

use hashbrown::HashTable;
use schemas::{Marks, Paged};
use xxhash_rust::xxh3::xxh3_64;

/// What a slot can hold.
pub(super) trait Keyed: Clone {
    fn key(&self) -> &[u8];
}

#[derive(Debug)]
pub(super) struct KeyIndex<T> {
    slots: Paged<Option<T>>,
    free: Vec<u32>,
    table: HashTable<u32>,
    changed: Marks,
}

impl<T: Keyed> KeyIndex<T> {
    pub(super) fn new() -> KeyIndex<T> {
        KeyIndex {
            slots: Paged::new(1),
            free: Vec::new(),
            table: HashTable::new(),
            changed: Marks::default(),
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let is_key = |slot: &u32| self.get(*slot).is_some_and(|held| held.key() == key);
        self.table.find(xxh3_64(key), is_key).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Adds what has a key that is not there yet; `None` when every slot number is taken.
    pub(super) fn insert(&mut self, entry: T) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => u32::try_from(self.slots.push(None)).ok()?,
        };
        let hash = xxh3_64(entry.key());
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(entry);
        }
        let slots = &self.slots;
        let held = |slot: &u32| slots.get(*slot as usize).and_then(Option::as_ref);
        let rehash = |slot: &u32| held(slot).map_or(0, |held| xxh3_64(held.key()));
        self.table.insert_unique(hash, slot, rehash);
        Some(slot)
    }

    /// Puts what was saved of a slot back into it. [`KeyIndex::finish_restore`] follows.
    pub(super) fn restore(&mut self, slot: u32, entry: T) {
        while self.slots.len() <= slot as usize {
            self.slots.push(None);
        }
        let hash = xxh3_64(entry.key());
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(entry);
        }
        let slots = &self.slots;
        let held = |slot: &u32| slots.get(*slot as usize).and_then(Option::as_ref);
        let rehash = |slot: &u32| held(slot).map_or(0, |held| xxh3_64(held.key()));
        self.table.insert_unique(hash, slot, rehash);
    }

    /// Ends restoring: the slots between are free, the lowest to be taken first.
    pub(super) fn finish_restore(&mut self) {
        let slots = (0_u32..).zip(self.slots.iter()).filter(|(_, held)| held.is_none());
        self.free = slots.map(|(slot, _)| slot).collect();
        self.free.reverse();
    }

    /// Empties `slot`.
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?.take()?;
        if let Ok(found) = self.table.find_entry(xxh3_64(entry.key()), |held| *held == slot) {
            found.remove();
        }
        self.free.push(slot);
        Some(entry)
    }

    /// Notes that a slot has to be saved.
    pub(super) fn mark(&mut self, slot: u32) {
        self.changed.mark(slot);
    }

    /// Takes the slots marked since the last call, each once.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        self.changed.take()
    }

    /// The slot behind the last.
    pub(super) fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// What the slots hold, by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    /// The slots as they are now.
    pub(super) fn freeze(&mut self) -> Paged<Option<T>> {
        self.slots.freeze()
    }
}
