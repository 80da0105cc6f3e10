//! Positions of deleted keys, so that a late change cannot bring a row back.

use std::collections::VecDeque;
use std::sync::Arc;

use schemas::{Micros, Paged, Position};
use serde::{Deserialize, Serialize};

use super::index::{KeyIndex, Keyed};

/// How long a deleted key is remembered, on epoch clocks. At least as long as Kafka keeps records.
pub const TOMBSTONE_RETENTION_US: i64 = 7 * 86_400_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    pub(super) position: Position,
    /// The clock of the delete.
    pub(super) clock: Micros,
}

/// A deleted key.
#[derive(Debug, Clone)]
pub(super) struct Dead {
    pub(super) key: Arc<[u8]>,
    pub(super) tombstone: Tombstone,
}

impl Keyed for Dead {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

#[derive(Debug)]
pub(super) struct Tombstones {
    held: KeyIndex<Dead>,
    /// By clock, which never decreases. An entry whose key was deleted again or came back is void.
    queue: VecDeque<(Micros, Arc<[u8]>)>,
}

impl Tombstones {
    pub(super) fn new() -> Tombstones {
        Tombstones { held: KeyIndex::new(), queue: VecDeque::new() }
    }

    /// Tombstones as they were saved, by slot.
    pub(super) fn restore(dead: Vec<(u32, Dead)>) -> Tombstones {
        let mut held = KeyIndex::new();
        let mut queue: Vec<(Micros, Arc<[u8]>)> =
            dead.iter().map(|(_, dead)| (dead.tombstone.clock, Arc::clone(&dead.key))).collect();
        queue.sort_unstable();
        dead.into_iter().for_each(|(slot, dead)| held.restore(slot, dead));
        held.finish_restore();
        Tombstones { held, queue: queue.into() }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Tombstone> {
        Some(&self.held.get(self.held.find(key)?)?.tombstone)
    }

    pub(super) fn put(&mut self, key: Arc<[u8]>, tombstone: Tombstone) {
        self.queue.push_back((tombstone.clock, Arc::clone(&key)));
        let slot = match self.held.find(&key) {
            Some(slot) => {
                self.held.get_mut(slot).into_iter().for_each(|dead| dead.tombstone = tombstone);
                Some(slot)
            }
            // Slot numbers end at four billion keys, which memory does first.
            None => self.held.insert(Dead { key, tombstone }),
        };
        slot.into_iter().for_each(|slot| self.held.mark(slot));
        if self.queue.len() > 2 * self.held.len() + 1024 {
            self.drop_void();
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(slot) = self.held.find(key) {
            self.held.remove(slot);
            self.held.mark(slot);
        }
    }

    /// When the oldest one ends.
    pub(super) fn due(&self) -> Option<Micros> {
        self.queue.front().map(|(clock, _)| clock.plus(TOMBSTONE_RETENTION_US))
    }

    /// Forgets those that end at `now` or before.
    pub(super) fn purge(&mut self, now: Micros) {
        while self.due().is_some_and(|due| due <= now) {
            let Some((clock, key)) = self.queue.pop_front() else { return };
            if self.get(&key).is_some_and(|held| held.clock == clock) {
                self.remove(&key);
            }
        }
    }

    /// Keeps the queue in proportion to what is held.
    fn drop_void(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.retain(|(clock, key)| self.get(key).is_some_and(|held| held.clock == *clock));
        self.queue = queue;
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// All of them, by slot, as they are now, and the slots that changed since the freeze before.
    pub(super) fn freeze(&mut self) -> (Paged<Option<Dead>>, Vec<u32>) {
        (self.held.freeze(), self.held.take_changed())
    }
}
