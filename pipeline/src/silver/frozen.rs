//! A table of the fold as it was at one epoch, for writing it while the fold goes on.
//!
//! # Guarantees
//! - Freezing copies no row, and neither rows nor state change afterwards.

use std::sync::Arc;

use arrow::array::RecordBatch;
use lake::keyed::{FrozenRows, RowsError};
use schemas::Paged;

use super::TableFold;
use super::index::{Entry, live};
use super::state::Head;
use super::table::{SilverRow, row_batch};
use super::tombstones::{FrozenRuns, FrozenTombstones};
use crate::decode::PreparedContract;

/// The rows and the state of one table at one epoch.
#[derive(Debug)]
pub struct FrozenTable {
    contract: Arc<PreparedContract>,
    rows: Paged<Option<Entry>>,
    pub(super) head: Head,
    pub(super) tombstones: FrozenTombstones,
}

impl TableFold {
    /// The table as it is now.
    pub fn freeze(&mut self) -> FrozenTable {
        FrozenTable {
            contract: Arc::clone(&self.contract),
            rows: self.index.freeze(),
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
        let Entry { row, position, epoch, .. } = self.rows.get(slot as usize)?.as_ref()?;
        Some(SilverRow { row: Arc::clone(row), position: *position, epoch: *epoch })
    }
}

impl FrozenRows for FrozenTable {
    fn has_row(&self, slot: u32) -> bool {
        self.rows.get(slot as usize).is_some_and(Option::is_some)
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        Box::new(live(&self.rows).map(|(slot, _)| slot))
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        let rows: Vec<SilverRow> = slots.iter().filter_map(|&slot| self.silver_row(slot)).collect();
        Ok(row_batch(&self.contract, &rows)?)
    }
}
