//! Positions of deleted keys, so that a late change cannot bring a row back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use schemas::{Micros, Position};
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// How long a deleted key is remembered, on epoch clocks. At least as long as Kafka keeps records.
pub const TOMBSTONE_RETENTION_US: i64 = 7 * 86_400_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tombstone {
    pub(super) position: Position,
    /// The clock of the delete.
    pub(super) clock: Micros,
}

#[derive(Debug, Default)]
pub(super) struct Tombstones {
    held: HashMap<Arc<[u8]>, Tombstone, Xxh3DefaultBuilder>,
    /// By clock, which never decreases. An entry whose key was deleted again or came back is void.
    queue: VecDeque<(Micros, Arc<[u8]>)>,
}

impl Tombstones {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Tombstone> {
        self.held.get(key)
    }

    pub(super) fn put(&mut self, key: Arc<[u8]>, tombstone: Tombstone) {
        self.queue.push_back((tombstone.clock, Arc::clone(&key)));
        self.held.insert(key, tombstone);
        if self.queue.len() > 2 * self.held.len() + 1024 {
            self.drop_void();
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.held.remove(key);
    }

    /// When the oldest one ends.
    pub(super) fn due(&self) -> Option<Micros> {
        self.queue.front().map(|(clock, _)| clock.plus(TOMBSTONE_RETENTION_US))
    }

    /// Forgets those that end at `now` or before.
    pub(super) fn purge(&mut self, now: Micros) {
        while self.due().is_some_and(|due| due <= now) {
            let Some((clock, key)) = self.queue.pop_front() else { return };
            if self.held.get(&key).is_some_and(|held| held.clock == clock) {
                self.held.remove(&key);
            }
        }
    }

    /// Keeps the queue in proportion to what is held.
    fn drop_void(&mut self) {
        let held = &self.held;
        self.queue.retain(|(clock, key)| held.get(key).is_some_and(|held| held.clock == *clock));
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// All of them, oldest first, then by key.
    pub(super) fn sorted(&self) -> Vec<(&Arc<[u8]>, &Tombstone)> {
        let mut by_age: BTreeMap<(Micros, &Arc<[u8]>), &Tombstone> = BTreeMap::new();
        for (key, held) in &self.held {
            by_age.insert((held.clock, key), held);
        }
        by_age.into_iter().map(|((_, key), held)| (key, held)).collect()
    }
}
