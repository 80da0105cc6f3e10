//! Finding the rows of a table of a view in memory, whatever version of the table they are of.
//!
//! # Guarantees
//! - Each slot is given once at most, so that equal rows are told apart by how many there are.

use arrow::array::RecordBatch;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rows::{ColumnError, RowReader};
use schemas::RowBuilder;

use super::{Held, ViewTable};

/// Finds rows of a table.
#[derive(Debug)]
pub struct Locator<'a> {
    held: &'a Held,
    /// How many slots of equal rows were given, by the first of them.
    given: HashMap<u32, usize, FixedState>,
}

impl ViewTable {
    pub(in crate::engine) fn locator(&mut self) -> Locator<'_> {
        drop(self.held.changed.take());
        Locator { held: &self.held, given: HashMap::default() }
    }
}

impl Locator<'_> {
    /// For each row its slot; `None` for one that is not there, or not so often.
    ///
    /// # Errors
    /// When the batch is not of the table's columns.
    pub fn slots(&mut self, batch: &RecordBatch) -> Result<Vec<Option<u32>>, ColumnError> {
        let layout = &self.held.layout;
        let reader = RowReader::exact(layout.schema(), batch)?;
        let (mut builder, mut bytes) = (RowBuilder::default(), Vec::new());
        let mut slots = Vec::with_capacity(reader.len());
        for row in 0..reader.len() {
            reader.read(row, &mut builder);
            bytes.clear();
            builder.finish(layout, &mut bytes);
            let places = self.held.places.get(bytes.as_slice());
            slots.push(places.and_then(|places| {
                let given = self.given.entry(places.get(0)?).or_default();
                let slot = places.get(*given)?;
                *given += 1;
                Some(slot)
            }));
        }
        Ok(slots)
    }

    /// All slots with a row.
    pub fn live(&self) -> Vec<u32> {
        let slots = (0_u32..).zip(self.held.rows.iter());
        slots.filter(|(_, row)| row.is_some()).map(|(slot, _)| slot).collect()
    }
}
