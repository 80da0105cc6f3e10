//! Arrow columns by name and type, and arrays made of plain values.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    Float64Array, Int64Array, PrimitiveArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field};
use arrow::error::ArrowError;
use schemas::Micros;

use crate::kinds::{decimal, instant};

/// A column that is missing or holds what was never written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` {problem}")]
pub struct ColumnError {
    /// Its name.
    pub column: String,
    /// What is wrong with it.
    pub problem: String,
}

impl ColumnError {
    /// A problem of a column.
    pub fn new(column: &str, problem: impl Into<String>) -> ColumnError {
        ColumnError { column: column.into(), problem: problem.into() }
    }
}

/// The column with this name, in this type.
///
/// # Errors
/// When there is none, or its values cannot be taken as such.
pub fn column(batch: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef, ColumnError> {
    let held = batch.column_by_name(name).ok_or_else(|| ColumnError::new(name, "is missing"))?;
    if held.data_type() == kind {
        return Ok(Arc::clone(held));
    }
    let problem = || ColumnError::new(name, format!("is {} and not {kind}", held.data_type()));
    // A value that cannot be taken is an error here, and not null.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(held, kind, &options).map_err(|_| problem())
}

/// The column of a field, as [`column`]; without nulls where the field has none.
///
/// # Errors
/// When there is none, or it does not fit the field.
pub fn of_field(batch: &RecordBatch, field: &Field) -> Result<ArrayRef, ColumnError> {
    let array = column(batch, field.name(), field.data_type())?;
    if !field.is_nullable() && array.null_count() > 0 {
        return Err(ColumnError::new(field.name(), "holds nulls"));
    }
    Ok(array)
}

fn primitive<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
    kind: &DataType,
) -> Result<PrimitiveArray<T>, ColumnError> {
    let array = column(batch, name, kind)?;
    let array = array.as_primitive_opt::<T>().cloned();
    array.ok_or_else(|| ColumnError::new(name, format!("is not {kind}")))
}

/// A column of texts.
///
/// # Errors
/// When there is none of this name and type.
pub fn text(batch: &RecordBatch, name: &str) -> Result<StringArray, ColumnError> {
    let array = column(batch, name, &DataType::Utf8)?;
    let array = array.as_string_opt::<i32>().cloned();
    array.ok_or_else(|| ColumnError::new(name, "is not Utf8"))
}

/// A column of whole numbers.
///
/// # Errors
/// When there is none of this name and type.
pub fn bigint(batch: &RecordBatch, name: &str) -> Result<Int64Array, ColumnError> {
    primitive(batch, name, &DataType::Int64)
}

/// A column of doubles.
///
/// # Errors
/// When there is none of this name and type.
pub fn double(batch: &RecordBatch, name: &str) -> Result<Float64Array, ColumnError> {
    primitive(batch, name, &DataType::Float64)
}

/// A column of booleans.
///
/// # Errors
/// When there is none of this name and type.
pub fn boolean(batch: &RecordBatch, name: &str) -> Result<BooleanArray, ColumnError> {
    let array = column(batch, name, &DataType::Boolean)?;
    array.as_boolean_opt().cloned().ok_or_else(|| ColumnError::new(name, "is not Boolean"))
}

/// A column of dates.
///
/// # Errors
/// When there is none of this name and type.
pub fn date(batch: &RecordBatch, name: &str) -> Result<Date32Array, ColumnError> {
    primitive(batch, name, &DataType::Date32)
}

/// A column of instants.
///
/// # Errors
/// When there is none of this name and type.
pub fn timestamp(
    batch: &RecordBatch,
    name: &str,
) -> Result<TimestampMicrosecondArray, ColumnError> {
    primitive(batch, name, &instant())
}

/// A column of decimals with so many digits.
///
/// # Errors
/// When there is none of this name and type.
pub fn number(
    batch: &RecordBatch,
    name: &str,
    (precision, scale): (u8, u8),
) -> Result<Decimal128Array, ColumnError> {
    primitive(batch, name, &decimal(precision, scale))
}

/// A column of decimals with up to 76 digits, so many of them after the point.
///
/// # Errors
/// When there is none of this name and type.
pub fn wide(batch: &RecordBatch, name: &str, scale: i8) -> Result<Decimal256Array, ColumnError> {
    primitive(batch, name, &DataType::Decimal256(76, scale))
}

/// An array of texts.
pub fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// An array of texts, some of them null.
pub fn some_texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// An array of instants.
pub fn timestamps(values: impl Iterator<Item = Option<Micros>>) -> ArrayRef {
    let array = values.map(|at| at.map(|at| at.0)).collect::<TimestampMicrosecondArray>();
    Arc::new(array.with_timezone("UTC"))
}

/// An array of epoch numbers.
pub fn epochs(values: impl Iterator<Item = u64>) -> ArrayRef {
    let values = values.map(|epoch| i64::try_from(epoch).unwrap_or(i64::MAX));
    Arc::new(Int64Array::from_iter_values(values))
}

/// An array of doubles.
pub fn doubles(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

/// An array of booleans.
pub fn booleans(values: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<BooleanArray>())
}

/// An array of decimals, as mantissas at `scale`.
///
/// # Errors
/// When there is no such decimal type.
pub fn numbers(
    values: impl Iterator<Item = Option<i128>>,
    (precision, scale): (u8, u8),
) -> Result<ArrayRef, ArrowError> {
    let array = values.collect::<Decimal128Array>();
    let scale = i8::try_from(scale).unwrap_or(i8::MAX);
    Ok(Arc::new(array.with_precision_and_scale(precision, scale)?))
}
