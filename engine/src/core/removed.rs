//! Cells that went lately, so that a client that was away is told what is gone.
//!
//! # Guarantees
//! - They are remembered for [`REMOVED_FOR`] of epoch clock and at most [`REMOVED_MAX`] of them.
//! - Each has a number of a ring, so that a barrier writes those that came and went since the last.

use schemas::state::{FrozenSlots, SavedError, Slots};
use schemas::{CellKey, EpochId, Micros, Saved, StatePart};
use serde::{Deserialize, Serialize};

/// How long removed cells are remembered, in microseconds.
const REMOVED_FOR: i64 = 600_000_000;
/// How many of them at most.
const REMOVED_MAX: u64 = 20_000;
/// Numbers of the ring.
const RING: u64 = 32_768;

const HEAD: &str = "removed";
const CELLS: &str = "removed/cells";

/// The cells that went lately, oldest first.
#[derive(Debug, Default)]
pub(super) struct Removed {
    ring: Slots<Gone>,
    /// The first and the next of all that ever went.
    first: u64,
    next: u64,
    /// Removals up to this epoch are not known.
    after: EpochId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Gone {
    order: u64,
    key: CellKey,
    epoch: EpochId,
    clock: Micros,
}

/// The same at one epoch.
#[derive(Debug)]
pub(super) struct FrozenRemoved {
    ring: FrozenSlots<Gone>,
    after: EpochId,
}

fn number(order: u64) -> u32 {
    u32::try_from(order % RING).unwrap_or(u32::MAX)
}

impl Removed {
    /// A cell went.
    pub(super) fn push(&mut self, key: CellKey, epoch: EpochId, clock: Micros) {
        if self.next - self.first >= REMOVED_MAX {
            self.pop();
        }
        let order = self.next;
        self.next += 1;
        self.ring.set(number(order), Some(Gone { order, key, epoch, clock }));
    }

    /// Forgets what is too old at `clock`.
    pub(super) fn forget(&mut self, clock: Micros) {
        let before = clock.plus(-REMOVED_FOR);
        while self.ring.get(number(self.first)).is_some_and(|gone| gone.clock < before) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(gone) = self.ring.get(number(self.first)) {
            self.after = gone.epoch;
            self.ring.set(number(self.first), None);
            self.first += 1;
        }
    }

    /// All of them with their epochs, and the epoch after which they are all known.
    pub(super) fn all(&self) -> (Vec<(CellKey, EpochId)>, EpochId) {
        let gone = (self.first..self.next).filter_map(|order| self.ring.get(number(order)));
        (gone.map(|gone| (gone.key.clone(), gone.epoch)).collect(), self.after)
    }

    pub(super) fn freeze(&mut self) -> FrozenRemoved {
        FrozenRemoved { ring: self.ring.freeze(), after: self.after }
    }

    /// What was saved.
    pub(super) fn load(saved: &Saved) -> Result<Removed, SavedError> {
        let mut removed = Removed { after: saved.head(HEAD)?, ..Removed::default() };
        for gone in saved.values::<Gone>(CELLS) {
            let (at, gone) = gone?;
            let is_first = removed.next == 0 || gone.order < removed.first;
            removed.first = if is_first { gone.order } else { removed.first };
            removed.next = removed.next.max(gone.order + 1);
            removed.ring.restore(at, Some(gone));
        }
        Ok(removed)
    }
}

impl FrozenRemoved {
    pub(super) fn parts(&self) -> [StatePart<'_>; 2] {
        [StatePart::head(HEAD, &self.after), StatePart::new(CELLS, &self.ring)]
    }
}

#[cfg(test)]
mod tests {
    use schemas::Grain;

    use super::*;

    fn cell(at: i64) -> CellKey {
        let (kpi, tenant, dims) = ("k".into(), "t".into(), "{}".into());
        CellKey { kpi, tenant, dims, grain: Grain::Hour, period_start: Micros(at) }
    }

    fn starts(removed: &Removed) -> Vec<i64> {
        removed.all().0.iter().map(|(key, _)| key.period_start.0).collect()
    }

    #[test]
    fn removals_end_by_age_and_by_number_and_are_read_back() {
        let (mut removed, mut saved) = (Removed::default(), Saved::default());
        for at in 0..50_000_i64 {
            removed.push(cell(at), 1 + at.unsigned_abs(), Micros(at));
            if at % 7_001 == 0 {
                saved.update(&removed.freeze().parts());
            }
        }
        assert_eq!(starts(&removed), (30_000..50_000).collect::<Vec<_>>());
        assert_eq!(removed.all().1, 30_000);
        removed.forget(Micros(REMOVED_FOR + 49_000));
        assert_eq!(starts(&removed), (49_000..50_000).collect::<Vec<_>>());
        saved.update(&removed.freeze().parts());
        let mut again = Removed::load(&saved).unwrap();
        assert_eq!(again.all(), removed.all());
        again.push(cell(7), 9, Micros(REMOVED_FOR));
        assert_eq!(again.all().0.len(), 1_001);
        assert_eq!(saved, Saved::of(&removed.freeze().parts()));
    }
}
