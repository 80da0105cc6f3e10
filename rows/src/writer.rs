//! Rows into arrays.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringBuilder};
use arrow::error::ArrowError;
use schemas::{ColumnType, RowRef, RowSchema};

use crate::columns::{numbers, timestamps};

/// Bytes of text expected in a row's column.
const TEXT_EXPECTED: usize = 16;

/// The arrays of rows of a schema, one per column.
///
/// # Errors
/// When a decimal type is none of Arrow's, which no schema of a contract has.
pub fn arrays<'a>(
    schema: &RowSchema,
    rows: impl Iterator<Item = RowRef<'a>> + Clone,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let columns = schema.iter().enumerate();
    columns.map(|(index, column)| array(column.kind, index, rows.clone())).collect()
}

fn array<'a>(
    kind: ColumnType,
    index: usize,
    rows: impl Iterator<Item = RowRef<'a>>,
) -> Result<ArrayRef, ArrowError> {
    Ok(match kind {
        ColumnType::Text | ColumnType::Json => {
            let expected = rows.size_hint().0;
            let mut builder = StringBuilder::with_capacity(expected, expected * TEXT_EXPECTED);
            rows.for_each(|row| builder.append_option(row.text(index)));
            Arc::new(builder.finish())
        }
        ColumnType::Bigint => Arc::new(rows.map(|row| row.bigint(index)).collect::<Int64Array>()),
        ColumnType::Double => Arc::new(rows.map(|row| row.double(index)).collect::<Float64Array>()),
        ColumnType::Boolean => {
            Arc::new(rows.map(|row| row.boolean(index)).collect::<BooleanArray>())
        }
        ColumnType::Date => {
            let days = rows.map(|row| row.date(index).map(|date| date.0));
            Arc::new(days.collect::<Date32Array>())
        }
        ColumnType::Timestamp => timestamps(rows.map(|row| row.timestamp(index))),
        ColumnType::Decimal { precision, scale } => {
            numbers(rows.map(|row| row.decimal(index)), (precision, scale))?
        }
    })
}
