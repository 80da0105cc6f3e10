//! Rows that an unfinished snapshot left, taken away by the first that was seen to its end.
//!
//! Whether a snapshot ended is known once its last row is read, which may lie in a partition that is read late. So
//! these rows are kept aside: when an earlier snapshot turns out to have ended, they are back.
//!
//! # Guarantees
//! - At most [`LIMIT`] rows of an origin are kept, each for [`RETENTION_US`] on epoch clocks. Where more were needed,
//!   the table says so until a snapshot of the origin is complete that began later.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Delta, EpochId, Micros, Position};
use serde::{Deserialize, Serialize};

use super::gap::Gap;
use super::record::{Carried, Provenance};
use super::tombstones::Tombstone;
use super::{TableFold, Which};

/// Rows of an origin.
const LIMIT: usize = 1_024;

/// How long they are kept.
const RETENTION_US: i64 = 86_400_000_000;

/// A row as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    row: Arc<[u8]>,
    position: Position,
    carried: Arc<[u8]>,
    epoch: EpochId,
    clock: Micros,
}

/// By key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Withheld {
    rows: BTreeMap<Vec<u8>, Kept>,
    /// How many there was no room for.
    more: u64,
}

impl Withheld {
    fn put(&mut self, key: &[u8], kept: Kept) {
        if self.rows.len() < LIMIT {
            self.rows.insert(key.to_vec(), kept);
        } else {
            self.more += 1;
        }
    }

    /// Tells anew which incarnation they are of.
    pub(super) fn settle(&mut self, settle: &dyn Fn(&mut Position) -> bool) {
        for kept in self.rows.values_mut() {
            settle(&mut kept.position);
            kept.carried = Carried::settled(&kept.carried, settle);
        }
    }

    /// Makes others of their rows.
    pub(super) fn rewrite(&mut self, to: &dyn Fn(&[u8]) -> Arc<[u8]>) {
        self.rows.values_mut().for_each(|kept| kept.row = to(&kept.row));
    }

    /// Forgets those that stand before a truncate.
    pub(super) fn truncate(&mut self, at: &Position) {
        self.rows.retain(|_, kept| !kept.position.compare(at).is_lt());
    }

    /// Forgets those that were kept too long at `now`.
    pub(super) fn purge(&mut self, now: Micros) {
        if !self.rows.is_empty() {
            self.rows.retain(|_, kept| kept.clock.plus(RETENTION_US) > now);
        }
    }
}

impl TableFold {
    /// Takes a row away that the first complete snapshot lacked, and keeps it aside.
    pub(super) fn withhold(&mut self, which: Which<'_>, tombstone: Tombstone, delta: &mut Delta) {
        let Some(slot) = which.slot else { return };
        let Some(old) = self.rows.get(slot) else { return };
        let (row, carried) = (old.row.into(), old.carried.into());
        let (position, epoch, clock) = (old.position, old.epoch, tombstone.clock);
        let kept = Kept { row, position, carried, epoch, clock };
        let own = self.origins.get_mut(which.origin);
        own.into_iter().for_each(|own| own.withheld.put(which.key, kept.clone()));
        self.counters.swept += 1;
        self.remove(slot, which.key, delta);
        self.put_tombstone(Which { slot: None, ..which }, tombstone);
    }

    /// A row of an unfinished snapshot is not there once a later one is complete.
    pub(super) fn withhold_unfinished(
        &mut self,
        origin: u32,
        key: &[u8],
        clock: Micros,
        delta: &mut Delta,
    ) {
        let Some(slot) = self.rows.find(key, origin) else { return };
        let Some(row) = self.rows.get(slot) else { return };
        let own = self.origins.get(origin).filter(|own| !own.is_whole);
        let Some(first) = own.filter(|own| own.is_unfinished(&row.position)) else { return };
        let Some(position) = first.first.as_ref().map(|run| run.deleted_at()) else { return };
        let which = Which { origin, key, slot: Some(slot) };
        self.withhold(which, Tombstone { position, clock }, delta);
    }

    /// Puts a row back that was kept aside; whether there is one.
    pub(super) fn put_back(&mut self, origin: u32, key: &[u8], delta: &mut Delta) -> bool {
        let Some(own) = self.origins.get_mut(origin) else { return false };
        if own.withheld.rows.is_empty() {
            return false;
        }
        let Some(Kept { row, position, carried, epoch, .. }) = own.withheld.rows.remove(key) else {
            return false;
        };
        if self.rows.find(key, origin).is_some() {
            return false;
        }
        delta.set_quiet(self.origins.is_quiet(origin));
        delta.change(None, Some(self.contract.layout().row(&row)));
        let from = Provenance { position, epoch, origin, carried: &carried };
        self.write(Which { origin, key, slot: None }, &row, &from);
        true
    }

    /// An earlier snapshot than was known turned out to have ended: what was kept aside of it is back.
    pub(super) fn release(&mut self, origin: u32, clock: Micros, delta: &mut Delta) {
        let Some(own) = self.origins.get_mut(origin) else { return };
        let rows = own.withheld.rows.iter();
        let told = rows.filter(|(_, kept)| !own.stays_away(&kept.position));
        let keys: Vec<Vec<u8>> = told.map(|(key, _)| key.clone()).collect();
        let more = std::mem::take(&mut own.withheld.more);
        if more > 0 {
            let table = self.contract.contract().name.clone();
            let gap = Gap::removed(table, self.origins.name(origin), more, clock);
            self.origins.get_mut(origin).into_iter().for_each(|own| own.gap = Some(gap.clone()));
        }
        for key in keys {
            self.put_back(origin, &key, delta);
        }
    }
}

#[cfg(test)]
mod tests;
