//! Rows of a silver table of orders, made from a slot and how often it has changed.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use lake::keyed::{FrozenRows, RowsError};

/// 2026-11-01T00:00:00Z.
const START: i64 = 1_793_491_200_000_000;

/// The columns.
pub fn schema() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("order_id", DataType::Utf8, true),
        Field::new("tenant_id", DataType::Utf8, true),
        Field::new("status", DataType::Utf8, true),
        Field::new("total", DataType::Decimal128(18, 4), true),
        Field::new("placed_at", utc, true),
        Field::new("_epoch", DataType::Int64, false),
        Field::new("_position", DataType::Utf8, false),
    ]))
}

/// One row a slot; a change gives it another status, total, epoch and position.
#[derive(Debug)]
pub struct Rows {
    changes: Vec<u32>,
}

impl Rows {
    /// `count` rows, none of which has changed.
    pub fn new(count: usize) -> Rows {
        Rows { changes: vec![0; count] }
    }

    /// The row in `slot` changes.
    pub fn change(&mut self, slot: u32) {
        if let Some(changes) = usize::try_from(slot).ok().and_then(|at| self.changes.get_mut(at)) {
            *changes += 1;
        }
    }

    fn changes(&self, slot: u32) -> u32 {
        usize::try_from(slot).ok().and_then(|at| self.changes.get(at)).copied().unwrap_or(0)
    }

    /// The rows of `slots`, in order.
    ///
    /// # Errors
    /// When Arrow refuses.
    pub fn of(&self, slots: &[u32]) -> Result<RecordBatch, ArrowError> {
        let rows = || slots.iter().map(|slot| (*slot, self.changes(*slot)));
        let status =
            |changes: u32| ["placed", "paid", "shipped", "returned"][(changes % 4) as usize];
        let mixed = |slot: u32, changes: u32| {
            i64::from(slot.wrapping_mul(2_654_435_761).wrapping_add(changes * 977) % 5_000_000)
        };
        let placed = rows().map(|(slot, _)| START + i64::from(slot) * 40_000);
        let totals = rows().map(|(slot, changes)| i128::from(mixed(slot, changes)));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows().map(|(slot, _)| format!("o-{slot:09}")))),
            Arc::new(StringArray::from_iter_values(
                rows().map(|(slot, _)| format!("tenant-{:02}", slot % 40)),
            )),
            Arc::new(StringArray::from_iter_values(rows().map(|(_, changes)| status(changes)))),
            Arc::new(Decimal128Array::from_iter_values(totals).with_precision_and_scale(18, 4)?),
            Arc::new(TimestampMicrosecondArray::from_iter_values(placed).with_timezone("UTC")),
            Arc::new(Int64Array::from_iter_values(rows().map(|(_, changes)| i64::from(changes)))),
            Arc::new(StringArray::from_iter_values(rows().map(|(slot, changes)| {
                format!("a1b2c3/{}/l/{}/{}/{slot}", mixed(slot, changes), START / 1_000, slot % 4)
            }))),
        ];
        RecordBatch::try_new(schema(), columns)
    }

    /// How many slots there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.changes.len()).unwrap_or(u32::MAX)
    }
}

impl FrozenRows for Rows {
    fn has_row(&self, slot: u32) -> bool {
        slot < self.count()
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        Box::new(0..self.count())
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        Ok(self.of(slots)?)
    }
}
