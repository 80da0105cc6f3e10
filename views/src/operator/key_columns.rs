//! Some columns of a row as bytes that are equal exactly when the columns are.
//!
//! # Guarantees
//! - A null equals a null, and what is unknown equals what is unknown, but not a null.
//! - Whether the row is outdated makes no difference.

use schemas::{RowBuilder, RowLayout, RowRef, RowSchema};

/// Takes the same columns from one row after the other.
#[derive(Debug)]
pub(super) struct KeyColumns {
    columns: Vec<usize>,
    /// How the columns lie when they are a row of their own.
    layout: RowLayout,
    builder: RowBuilder,
    bytes: Vec<u8>,
}

impl KeyColumns {
    /// These columns, in this order.
    pub(super) fn new(input: &RowLayout, columns: Vec<usize>) -> KeyColumns {
        let kept = columns.iter().filter_map(|column| input.schema().get(*column).cloned());
        let layout = RowLayout::new(&RowSchema::new(kept.collect()));
        KeyColumns { columns, layout, builder: RowBuilder::default(), bytes: Vec::new() }
    }

    /// The columns.
    pub(super) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Those of `row`.
    pub(super) fn of(&mut self, row: RowRef<'_>) -> &[u8] {
        self.builder.reset(self.columns.len());
        for (at, column) in self.columns.iter().enumerate() {
            copy(&mut self.builder, at, row, *column);
        }
        self.bytes.clear();
        self.builder.finish(&self.layout, &mut self.bytes);
        &self.bytes
    }

    /// The columns again, from their bytes.
    pub(super) fn row<'a>(&'a self, bytes: &'a [u8]) -> RowRef<'a> {
        self.layout.row(bytes)
    }
}

/// Sets column `to` to what column `from` of `row` is, unknown ones too.
pub(super) fn copy(builder: &mut RowBuilder, to: usize, row: RowRef<'_>, from: usize) {
    if row.is_unknown(from) {
        builder.set_unknown(to);
    } else {
        builder.set(to, row.datum(from));
    }
}
