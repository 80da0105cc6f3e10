//! The Arrow form of `gold/kpi_current` and `gold/kpi_history`.
//!
//! # Guarantees
//! - Columns, their order and their types are those that analysts rely on; numbers are
//!   `decimal(38,10)`, instants are microseconds in UTC.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use schemas::{CellKey, CellValue, EpochId, Micros, decimal};

use crate::definition::Unit;
use crate::engine::{CellRow, HistoryRow};

const PRECISION: u8 = 38;
const SCALE: i8 = 10;
const _: () = assert!(SCALE as u32 == decimal::VALUE_SCALE);

/// The columns of `gold/kpi_current`.
pub fn current_schema() -> SchemaRef {
    Arc::new(Schema::new(fields()))
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
    let rows = rows.iter().map(|r| (&r.key, r.value, r.unit, r.epoch, r.as_of));
    RecordBatch::try_new(current_schema(), columns(rows)?)
}

/// Rows of `gold/kpi_history`, in the order given.
///
/// # Errors
/// When Arrow refuses the arrays, which would be a defect of this module.
pub fn history_batch(rows: &[HistoryRow]) -> Result<RecordBatch, ArrowError> {
    let mut columns = columns(rows.iter().map(|r| (&r.key, r.value, r.unit, r.epoch, r.as_of)))?;
    let flag = |of: fn(&HistoryRow) -> bool| -> ArrayRef {
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(of(row)))))
    };
    columns.push(flag(|row| row.closed));
    columns.push(flag(|row| row.restatement));
    RecordBatch::try_new(history_schema(), columns)
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn fields() -> Vec<Field> {
    let number = DataType::Decimal128(PRECISION, SCALE);
    vec![
        Field::new("kpi", DataType::Utf8, false),
        Field::new("tenant_id", DataType::Utf8, false),
        Field::new("dims", DataType::Utf8, false),
        Field::new("grain", DataType::Utf8, false),
        Field::new("period_start", timestamp(), false),
        Field::new("value", number.clone(), true),
        Field::new("numerator", number.clone(), true),
        Field::new("denominator", number, true),
        Field::new("unit", DataType::Utf8, false),
        Field::new("status", DataType::Utf8, false),
        Field::new("epoch", DataType::Int64, false),
        Field::new("as_of", timestamp(), false),
    ]
}

type Row<'a> = (&'a CellKey, CellValue, Unit, EpochId, Micros);

fn columns<'a>(rows: impl Iterator<Item = Row<'a>> + Clone) -> Result<Vec<ArrayRef>, ArrowError> {
    let text = |of: fn(Row<'a>) -> &'a str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.clone().map(of)))
    };
    let number = |of: fn(CellValue) -> Option<i128>| -> Result<ArrayRef, ArrowError> {
        let array = Decimal128Array::from_iter(rows.clone().map(|row| of(row.1)));
        Ok(Arc::new(array.with_precision_and_scale(PRECISION, SCALE)?))
    };
    let instant = |of: fn(Row<'a>) -> Micros| -> ArrayRef {
        let array = TimestampMicrosecondArray::from_iter_values(rows.clone().map(|row| of(row).0));
        Arc::new(array.with_timezone("UTC"))
    };
    let epochs = rows.clone().map(|row| i64::try_from(row.3).unwrap_or(i64::MAX));
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
        Arc::new(Int64Array::from_iter_values(epochs)),
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
        let batch = history_batch(&[row]).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 14));
        assert!(batch["value"].is_null(0) && batch["numerator"].is_valid(0));
        assert_eq!(current_batch(&[]).unwrap().num_rows(), 0);
    }
}
