//! The Arrow form of `gold/kpi_current` and `gold/kpi_history`.
//!
//! # Guarantees
//! - Columns, their order and their types are those that analysts rely on; numbers are
//!   `decimal(38,10)`, instants are microseconds in UTC.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use rows::{columns, decimal, instant};
use schemas::decimal::VALUE_SCALE;
use schemas::{CellKey, CellValue, EpochId, Micros};

use crate::definition::Unit;
use crate::engine::{CellRow, HistoryRow};

/// Digits of a KPI's numbers, in all and after the point.
pub(crate) const NUMBER: (u8, u8) = (38, 10);
const _: () = assert!(NUMBER.1 as u32 == VALUE_SCALE);

/// The place of `period_start`, which of current values is that of the row: windows move.
const PERIOD_START: usize = 4;
/// The place of `period_end`, behind it: of current values only.
const PERIOD_END: usize = 5;

/// The columns of `gold/kpi_current`.
pub fn current_schema() -> SchemaRef {
    let mut fields = fields();
    fields.insert(PERIOD_END, Field::new("period_end", instant(), false));
    Arc::new(Schema::new(fields))
}

/// The columns of `gold/kpi_history`.
pub fn history_schema() -> SchemaRef {
    let mut fields = fields();
    fields.push(Field::new("closed", DataType::Boolean, false));
    fields.push(Field::new("restatement", DataType::Boolean, false));
    Arc::new(Schema::new(fields))
}

/// Rows of `gold/kpi_current`, in the order given.
///
/// # Errors
/// When Arrow refuses the arrays, which would be a defect of this module.
pub fn current_batch(rows: &[CellRow]) -> Result<RecordBatch, ArrowError> {
    let mut arrays = arrays(rows.iter().map(|r| (&r.key, r.value, r.unit, r.epoch, r.as_of)))?;
    arrays[PERIOD_START] = columns::timestamps(rows.iter().map(|row| Some(row.period_start)));
    let ends = columns::timestamps(rows.iter().map(|row| Some(row.period_end)));
    arrays.insert(PERIOD_END, ends);
    RecordBatch::try_new(current_schema(), arrays)
}

/// Rows of `gold/kpi_history`, in the order given.
///
/// # Errors
/// When Arrow refuses the arrays, which would be a defect of this module.
pub fn history_batch(rows: &[HistoryRow]) -> Result<RecordBatch, ArrowError> {
    let mut arrays = arrays(rows.iter().map(|r| (&r.key, r.value, r.unit, r.epoch, r.as_of)))?;
    arrays.push(columns::booleans(rows.iter().map(|row| row.closed)));
    arrays.push(columns::booleans(rows.iter().map(|row| row.restatement)));
    RecordBatch::try_new(history_schema(), arrays)
}

fn fields() -> Vec<Field> {
    let number = decimal(NUMBER.0, NUMBER.1);
    vec![
        Field::new("kpi", DataType::Utf8, false),
        Field::new("tenant_id", DataType::Utf8, false),
        Field::new("dims", DataType::Utf8, false),
        Field::new("grain", DataType::Utf8, false),
        Field::new("period_start", instant(), false),
        Field::new("value", number.clone(), true),
        Field::new("numerator", number.clone(), true),
        Field::new("denominator", number, true),
        Field::new("unit", DataType::Utf8, false),
        Field::new("status", DataType::Utf8, false),
        Field::new("epoch", DataType::Int64, false),
        Field::new("as_of", instant(), false),
    ]
}

type Row<'a> = (&'a CellKey, CellValue, Unit, EpochId, Micros);

fn arrays<'a>(rows: impl Iterator<Item = Row<'a>> + Clone) -> Result<Vec<ArrayRef>, ArrowError> {
    let text = |of: fn(Row<'a>) -> &'a str| columns::texts(rows.clone().map(of));
    let number = |of: fn(CellValue) -> Option<i128>| {
        columns::numbers(rows.clone().map(|row| of(row.1)), NUMBER)
    };
    let instant =
        |of: fn(Row<'a>) -> Micros| columns::timestamps(rows.clone().map(|row| Some(of(row))));
    Ok(vec![
        text(|row| &row.0.kpi),
        text(|row| &row.0.tenant),
        text(|row| &row.0.dims),
        text(|row| row.0.grain.name()),
        instant(|row| row.0.period_start),
        number(|value| value.value)?,
        number(|value| value.numerator)?,
        number(|value| value.denominator)?,
        text(|row| row.2.name()),
        text(|row| row.1.status.name()),
        columns::epochs(rows.clone().map(|row| row.3)),
        instant(|row| row.4),
    ])
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use schemas::{Grain, Status};

    use super::*;

    #[test]
    fn rows_become_columns() {
        let key = CellKey {
            kpi: "roi".into(),
            tenant: "t".into(),
            dims: r#"{"currency":"USD"}"#.into(),
            grain: Grain::Day,
            period_start: Micros(0),
        };
        let value = CellValue {
            value: None,
            numerator: Some(5),
            denominator: None,
            status: Status::NoData,
        };
        let (unit, epoch, as_of) = (Unit::Ratio, 7, Micros(9));
        let row = HistoryRow { key, value, unit, epoch, as_of, closed: true, restatement: false };
        let batch = history_batch(std::slice::from_ref(&row)).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 14));
        assert!(batch["value"].is_null(0) && batch["numerator"].is_valid(0));
        let (period_start, period_end) = (Micros(0), Micros(86_400_000_000));
        let row = CellRow { key: row.key, period_start, period_end, value, unit, epoch, as_of };
        let batch = current_batch(&[row]).unwrap();
        let at = ["period_start", "period_end"]
            .map(|name| columns::timestamp(&batch, name).unwrap().value(0));
        assert_eq!(at, [0, 86_400_000_000]);
        assert_eq!(current_batch(&[]).unwrap().num_rows(), 0);
    }
}
