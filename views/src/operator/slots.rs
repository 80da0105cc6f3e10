//! What is held by a key of bytes, each at a number that stays its own while it is there.
//!
//! # Guarantees
//! - Adding, reading and removing take constant time, and no hash but a fast one.
//!
//! # Non-guarantees
//! - The order of [`Slots::iter`] follows from the order of adding and removing: sort before it is seen.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Values by key.
#[derive(Debug)]
pub(super) struct Slots<T> {
    entries: Vec<Option<Entry<T>>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Entry<T> {
    key: Box<[u8]>,
    value: T,
}

impl<T> Slots<T> {
    /// Nothing yet.
    pub(super) fn new() -> Slots<T> {
        let hasher = FixedState::with_seed(0x51_07_50);
        Slots { entries: Vec::new(), free: Vec::new(), index: HashTable::new(), hasher }
    }

    /// The slot of a key, made with `value` where there is none.
    pub(super) fn intern(&mut self, key: &[u8], value: impl FnOnce() -> T) -> u32 {
        let hash = self.hasher.hash_one(key);
        let entries = &self.entries;
        let found = self.index.find(hash, |at| key_of(entries, *at) == Some(key));
        if let Some(found) = found {
            return *found;
        }
        let entry = Some(Entry { key: key.into(), value: value() });
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.entries.push(None);
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = self.entries.get_mut(at as usize) {
            *place = entry;
        }
        let (entries, hasher) = (&self.entries, &self.hasher);
        let rehash = |at: &u32| hasher.hash_one(key_of(entries, *at).unwrap_or_default());
        self.index.insert_unique(hash, at, rehash);
        at
    }

    /// What is in a slot.
    pub(super) fn get(&self, at: u32) -> Option<&T> {
        Some(&self.entries.get(at as usize)?.as_ref()?.value)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        Some(&mut self.entries.get_mut(at as usize)?.as_mut()?.value)
    }

    /// The key of a slot; of one that is free, none.
    pub(super) fn key(&self, at: u32) -> &[u8] {
        key_of(&self.entries, at).unwrap_or_default()
    }

    /// Empties a slot.
    pub(super) fn remove(&mut self, at: u32) {
        let Some(entry) = self.entries.get_mut(at as usize).and_then(Option::take) else { return };
        let hash = self.hasher.hash_one(&*entry.key);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == at) {
            found.remove();
        }
        self.free.push(at);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Every value with its key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.entries.iter().flatten().map(|entry| (&*entry.key, &entry.value))
    }
}

fn key_of<T>(entries: &[Option<Entry<T>>], at: u32) -> Option<&[u8]> {
    Some(&entries.get(at as usize)?.as_ref()?.key)
}
