//! The form of `gold/views/<view>`: the columns of a view, typed; of one with a period its grain and bounds.
//!
//! # Guarantees
//! - Columns stand in the order of the view's SELECT. In the place of `period` stand `grain`, `period_start` and
//!   `period_end`.
//!
//! # Non-guarantees
//! - A view that says what is alive at the end of each period, or overlaps it, has no table.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use schemas::{Column, ColumnType, RowSchema};
use views::View;

/// Where the tables of views are.
pub const FOLDER: &str = "gold/views/";

/// Of which views there are tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ViewTables {
    /// Of none.
    #[default]
    None,
    /// Of those that do not come with Weir.
    Own,
    /// Of all.
    All,
}

/// The columns that stand in the place of the period.
const PERIOD: [(&str, ColumnType); 3] = [
    ("grain", ColumnType::Text),
    ("period_start", ColumnType::Timestamp),
    ("period_end", ColumnType::Timestamp),
];

/// The name of a view's table.
pub fn name(view: &View) -> String {
    format!("{FOLDER}{}", view.name())
}

/// The columns of a view's table, or why it has none.
pub fn columns(view: &View) -> Result<RowSchema, &'static str> {
    let Some(period) = view.period() else { return Ok(view.schema()) };
    if view.until().is_some() {
        return Err(match view.overlaps() {
            true => "it is of what overlaps each period",
            false => "it is of what is alive at the end of each period",
        });
    }
    let is_taken = |column: &Column| PERIOD.iter().any(|(name, _)| *name == column.name);
    if view.schema().iter().any(is_taken) {
        return Err("a column of it is called `grain`, `period_start` or `period_end`");
    }
    let mut columns = Vec::new();
    for (at, column) in view.schema().iter().enumerate() {
        if at == period {
            let own = PERIOD.map(|(name, kind)| Column { name: name.into(), kind, required: true });
            columns.extend(own);
        } else {
            columns.push(column.clone());
        }
    }
    Ok(RowSchema::new(columns))
}

/// The same as Arrow knows them.
pub fn schema(columns: &RowSchema) -> SchemaRef {
    let field =
        |column: &Column| Field::new(&column.name, rows::data_type(column.kind), !column.required);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}
