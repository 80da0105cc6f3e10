//! Rows that wait beside a table, as rows of a contract with more columns.
//!
//! # Guarantees
//! - A column more is null in them, as it is in the rows of the table.

use std::sync::Arc;

use schemas::{RowBuilder, RowLayout};

use super::TableFold;

impl TableFold {
    /// Takes what was loaded for the rows of an earlier contract, which this one extends.
    pub fn widen(&mut self, from: &RowLayout) {
        let to = Arc::clone(self.contract.layout());
        if from.len() == to.len() {
            return;
        }
        let widened = |row: &[u8]| -> Arc<[u8]> {
            let (row, mut builder, mut bytes) = (from.row(row), RowBuilder::default(), Vec::new());
            builder.reset(to.len());
            (0..from.len()).for_each(|column| builder.copy(column, row));
            builder.set_outdated(row.is_outdated());
            builder.finish(&to, &mut bytes);
            bytes.into()
        };
        self.moved.rewrite(&widened);
        self.origins.iter_mut().for_each(|origin| origin.withheld.rewrite(&widened));
    }
}
