//! Positions of deleted keys, so that a late change cannot bring a row back.
//!
//! The newest are in memory. When there are [`LIMIT`] of them they are sealed: sorted into a run, which the
//! next barrier writes to disk.
//!
//! # Guarantees
//! - What is remembered of a key does not depend on where it lies, nor on when runs are sealed, written
//!   or merged.
//! - A tombstone that lies in a run costs 12 bits of memory.
//!
//! # Non-guarantees
//! - A run is in memory, whole, until a barrier has written it.

mod runs;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use lake::run::{Run, RunError};
use schemas::{Micros, Paged, Position};
use serde::{Deserialize, Serialize};

use super::index::{KeyIndex, Keyed};
pub(super) use runs::Runs;
pub use runs::{FrozenRuns, RunsError};
use runs::{Top, is_above, summary};

/// How long a deleted key is remembered, on epoch clocks. At least as long as Kafka keeps records.
pub const TOMBSTONE_RETENTION_US: i64 = 7 * 86_400_000_000;

/// Tombstones in memory.
pub(super) const LIMIT: usize = 8_192;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    pub(super) position: Position,
    /// The clock of the delete.
    pub(super) clock: Micros,
}

impl Tombstone {
    /// Whether a change at `position` is later by its place in the source alone.
    pub(super) fn is_below(&self, position: &Position) -> bool {
        is_above(position, Top::of(&self.position).as_ref())
    }

    fn is_over(&self, now: Micros) -> bool {
        self.clock.plus(TOMBSTONE_RETENTION_US) <= now
    }
}

/// What is remembered of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    Deleted(Tombstone),
    /// It came back at this clock: what older runs say of it is void.
    Back(Micros),
}

impl Fate {
    fn clock(&self) -> Micros {
        match self {
            Fate::Deleted(tombstone) => tombstone.clock,
            Fate::Back(clock) => *clock,
        }
    }

    /// The tombstone, unless it is over.
    fn tombstone(self, now: Micros) -> Option<Tombstone> {
        match self {
            Fate::Deleted(tombstone) => Some(tombstone).filter(|own| !own.is_over(now)),
            Fate::Back(_) => None,
        }
    }
}

/// A key that is no row, or was none.
#[derive(Debug, Clone)]
pub(super) struct Dead {
    pub(super) key: Arc<[u8]>,
    pub(super) fate: Fate,
}

impl Keyed for Dead {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

#[derive(Debug)]
pub(super) struct Tombstones {
    recent: KeyIndex<Dead>,
    /// By clock, which never decreases. An entry whose key was deleted again or came back is void.
    queue: VecDeque<(Micros, Arc<[u8]>)>,
    runs: Runs,
    now: Micros,
    /// Slots mean something else than at the freeze before.
    is_renumbered: bool,
    /// How many are sealed.
    pub(super) limit: usize,
}

/// What barriers write of them.
#[derive(Debug)]
pub(super) struct FrozenTombstones {
    pub(super) recent: Paged<Option<Dead>>,
    /// The slots that changed since the freeze before; `None` when all are numbered anew.
    pub(super) changed: Option<Vec<u32>>,
    pub(super) runs: FrozenRuns,
}

impl Tombstones {
    pub(super) fn new() -> Tombstones {
        Tombstones::restore(Vec::new(), Runs::default())
    }

    /// Tombstones as they were saved: those in memory by slot, and the runs, oldest first.
    pub(super) fn restore(dead: Vec<(u32, Dead)>, runs: Runs) -> Tombstones {
        let mut recent = KeyIndex::new();
        let mut queue: Vec<(Micros, Arc<[u8]>)> =
            dead.iter().map(|(_, dead)| (dead.fate.clock(), Arc::clone(&dead.key))).collect();
        queue.sort_unstable();
        dead.into_iter().for_each(|(slot, dead)| recent.restore(slot, dead));
        recent.finish_restore();
        let queue = queue.into();
        Tombstones { recent, queue, runs, now: Micros(0), is_renumbered: false, limit: LIMIT }
    }

    /// The tombstone of a key; where a position is given, only if a change there may be older.
    ///
    /// # Errors
    /// When a run cannot be read.
    pub(super) fn get(
        &self,
        key: &[u8],
        position: Option<&Position>,
    ) -> Result<Option<Tombstone>, RunError> {
        let recent = self.recent.find(key).and_then(|slot| self.recent.get(slot));
        let fate = match recent {
            Some(dead) => Some(dead.fate),
            None => self.runs.get(key, position)?,
        };
        Ok(fate.and_then(|fate| fate.tombstone(self.now)))
    }

    pub(super) fn put(&mut self, key: Arc<[u8]>, tombstone: Tombstone) {
        self.note(key, Fate::Deleted(tombstone));
    }

    fn note(&mut self, key: Arc<[u8]>, fate: Fate) {
        self.queue.push_back((fate.clock(), Arc::clone(&key)));
        let slot = match self.recent.find(&key) {
            Some(slot) => {
                self.recent.get_mut(slot).into_iter().for_each(|dead| dead.fate = fate);
                Some(slot)
            }
            None => self.recent.insert(Dead { key, fate }),
        };
        slot.into_iter().for_each(|slot| self.recent.mark(slot));
        if self.recent.len() >= self.limit {
            self.seal();
        } else if self.queue.len() > 2 * self.recent.len() + 1024 {
            self.drop_void();
        }
    }

    /// Forgets a key, which has a row now or had one until now. Where its position is given, runs that
    /// are below that need not be told.
    pub(super) fn remove(&mut self, key: &[u8], position: Option<&Position>) {
        if let Some(slot) = self.recent.find(key) {
            self.recent.remove(slot);
            self.recent.mark(slot);
        }
        if self.runs.may_have(key, position) {
            self.note(key.into(), Fate::Back(self.now));
        }
    }

    /// Tells anew which incarnation those of an origin in memory are of.
    pub(super) fn settle(&mut self, origin: u32, settle: &dyn Fn(&mut Position) -> bool) {
        for slot in 0..self.recent.end() {
            let Some(dead) = self.recent.get_mut(slot) else { continue };
            if let Fate::Deleted(tombstone) = &mut dead.fate
                && dead.key.ends_with(&origin.to_le_bytes())
                && settle(&mut tombstone.position)
            {
                self.recent.mark(slot);
            }
        }
    }

    /// When the oldest of those in memory ends.
    fn due(&self) -> Option<Micros> {
        self.queue.front().map(|(clock, _)| clock.plus(TOMBSTONE_RETENTION_US))
    }

    /// Forgets those that end at `now` or before.
    pub(super) fn purge(&mut self, now: Micros) {
        self.now = now;
        while self.due().is_some_and(|due| due <= now) {
            let Some((clock, key)) = self.queue.pop_front() else { return };
            if let Some(slot) = self.find(&key, clock) {
                self.recent.remove(slot);
                self.recent.mark(slot);
            }
        }
        self.runs.purge(now);
    }

    /// The slot of what was noted of a key at `clock`, if that is what is remembered of it.
    fn find(&self, key: &[u8], clock: Micros) -> Option<u32> {
        let slot = self.recent.find(key)?;
        self.recent.get(slot).filter(|held| held.fate.clock() == clock).map(|_| slot)
    }

    /// Keeps the queue in proportion to what is held.
    fn drop_void(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.retain(|(clock, key)| self.find(key, *clock).is_some());
        self.queue = queue;
    }

    /// Makes a run of those in memory.
    fn seal(&mut self) {
        let dead = || self.recent.iter();
        let record = |dead: &Dead| {
            let mut value = Vec::new();
            schemas::state::encode(&dead.fate, &mut value);
            value
        };
        let records = dead().map(|dead| (&*dead.key, record(dead))).collect();
        let summary = summary(dead().map(|dead| &dead.fate));
        // Memory refuses nothing: were it otherwise, they would stay where they are.
        if let Ok(run) = Run::of(records, summary.saved()) {
            self.runs.push(Arc::new(run), summary);
            self.recent = KeyIndex::new();
            self.queue.clear();
            self.is_renumbered = true;
        }
    }

    /// How many there are: of those in runs, also the ones that are over or void.
    pub(super) fn len(&self) -> usize {
        let runs = usize::try_from(self.runs.len()).unwrap_or(usize::MAX);
        self.recent.len().saturating_add(runs)
    }

    /// The runs as they are now.
    pub(super) fn runs(&mut self) -> FrozenRuns {
        self.runs.freeze(self.now)
    }

    /// All of them as they are now.
    pub(super) fn freeze(&mut self) -> FrozenTombstones {
        let changed = self.recent.take_changed();
        let changed = (!std::mem::take(&mut self.is_renumbered)).then_some(changed);
        let runs = self.runs.freeze(self.now);
        FrozenTombstones { recent: self.recent.freeze(), changed, runs }
    }
}
