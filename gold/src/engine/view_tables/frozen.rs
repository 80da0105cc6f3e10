//! The table of a view as it was at one epoch, for writing it while the engine goes on.
//!
//! # Guarantees
//! - What is frozen does not change.
//! - Rows of running periods are kept apart from those of periods that are over.

use std::sync::Arc;

use arrow::array::RecordBatch;
use lake::keyed::{Cluster, FrozenRows, RowsError};
use schemas::{Micros, Paged, RowLayout, RowRef};

use super::{Bytes, ViewTable};
use crate::view_table;

/// The rows of a view at one epoch.
#[derive(Debug)]
pub struct FrozenView {
    /// The name of the table.
    pub table: String,
    /// The slots that changed since the last time: each once, in no order.
    pub changed: Vec<u32>,
    layout: Arc<RowLayout>,
    rows: Paged<Option<Bytes>>,
    /// The column that says when the period of a row ends.
    end: Option<usize>,
    clock: Micros,
}

impl ViewTable {
    pub(in crate::engine) fn freeze(&mut self, clock: Micros) -> FrozenView {
        let held = &mut self.held;
        FrozenView {
            table: self.name.clone(),
            changed: held.changed.take(),
            layout: Arc::clone(&held.layout),
            rows: held.rows.freeze(),
            end: self.by_period.as_ref().map(|by_period| by_period.own_period + 2),
            clock,
        }
    }
}

impl FrozenView {
    fn row(&self, slot: u32) -> Option<RowRef<'_>> {
        self.rows.get(slot as usize)?.as_deref().map(|bytes| self.layout.row(bytes))
    }
}

impl FrozenRows for FrozenView {
    fn has_row(&self, slot: u32) -> bool {
        self.rows.get(slot as usize).is_some_and(Option::is_some)
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        let slots = (0_u32..).zip(self.rows.iter());
        Box::new(slots.filter(|(_, row)| row.is_some()).map(|(slot, _)| slot))
    }

    /// Without a period any row may change again.
    fn cluster(&self, slot: u32) -> Cluster {
        let end = self.end.and_then(|column| self.row(slot)?.timestamp(column));
        if end.is_some_and(|end| end <= self.clock) { Cluster::Settled } else { Cluster::Running }
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        let columns = self.layout.schema();
        let rows = slots.iter().filter_map(|slot| self.row(*slot));
        let arrays = rows::arrays(columns, rows)?;
        Ok(RecordBatch::try_new(view_table::schema(columns), arrays)?)
    }
}
