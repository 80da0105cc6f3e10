//! A table of the fold as it was at one epoch, for writing it while the fold goes on.
//!
//! # Guarantees
//! - Freezing copies no row, and neither rows nor state change afterwards.

use std::sync::Arc;

use arrow::array::RecordBatch;
use lake::keyed::{FrozenRows, RowsError};

use super::TableFold;
use super::head::Head;
use super::live::{FrozenPages, LiveRow};
use super::table::{SilverRow, batch_of};
use super::tombstones::{FrozenRuns, FrozenTombstones};
use crate::decode::PreparedContract;

/// The rows and the state of one table at one epoch.
#[derive(Debug)]
pub struct FrozenTable {
    contract: Arc<PreparedContract>,
    rows: FrozenPages,
    /// Origins by number.
    origins: Arc<Vec<Arc<str>>>,
    pub(super) head: Head,
    pub(super) tombstones: FrozenTombstones,
}

impl TableFold {
    /// The table as it is now.
    pub fn freeze(&mut self) -> FrozenTable {
        FrozenTable {
            contract: Arc::clone(&self.contract),
            rows: self.rows.freeze(),
            origins: self.origins.names(),
            head: self.head(),
            tombstones: self.tombstones.freeze(),
        }
    }
}

impl FrozenTable {
    /// The contract.
    pub fn contract(&self) -> &PreparedContract {
        &self.contract
    }

    /// The runs of deleted keys that its state names: on disk before the state is.
    pub fn runs(&self) -> &FrozenRuns {
        &self.tombstones.runs
    }

    /// The row of a slot, as it is to be flushed.
    pub fn silver_row(&self, slot: u32) -> Option<SilverRow> {
        let live = self.rows.get(slot)?;
        let origin = self.origin(&live).into();
        let LiveRow { row, position, epoch, carried, .. } = live;
        Some(SilverRow { row: row.into(), position, carried: carried.into(), epoch, origin })
    }

    fn origin(&self, row: &LiveRow<'_>) -> &str {
        self.origins.get(row.origin as usize).map_or("", |origin| origin)
    }
}

impl FrozenRows for FrozenTable {
    fn has_row(&self, slot: u32) -> bool {
        self.rows.has(slot)
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        Box::new(self.rows.slots())
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        let rows: Vec<LiveRow<'_>> = slots.iter().filter_map(|slot| self.rows.get(*slot)).collect();
        let rows = rows.iter().map(|row| (*row, self.origin(row)));
        Ok(batch_of(&self.contract, rows)?)
    }
}
