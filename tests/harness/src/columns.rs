//! Typed access to the columns of a batch, whatever string or binary layout the reader chose.

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int64Array, RecordBatch, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit};

use crate::Error;

fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef, Error> {
    let found = batch.column_by_name(name).map(std::sync::Arc::clone);
    found.ok_or_else(|| Error::new(format!("no column `{name}`")))
}

fn as_type(batch: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef, Error> {
    cast(&column(batch, name)?, kind).map_err(Error::at(format!("column `{name}`")))
}

pub(crate) fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray, Error> {
    Ok(as_type(batch, name, &DataType::Utf8)?.as_string::<i32>().clone())
}

pub(crate) fn bytes(batch: &RecordBatch, name: &str) -> Result<BinaryArray, Error> {
    Ok(as_type(batch, name, &DataType::Binary)?.as_binary::<i32>().clone())
}

pub(crate) fn integers(batch: &RecordBatch, name: &str) -> Result<Int64Array, Error> {
    let array = column(batch, name)?;
    if !array.data_type().is_integer() {
        return Err(Error::new(format!(
            "column `{name}` is {}, not an integer",
            array.data_type()
        )));
    }
    Ok(as_type(batch, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

pub(crate) fn flags(batch: &RecordBatch, name: &str) -> Result<BooleanArray, Error> {
    let array = column(batch, name)?;
    let flags = array.as_boolean_opt().cloned();
    flags
        .ok_or_else(|| Error::new(format!("column `{name}` is {}, not boolean", array.data_type())))
}

pub(crate) fn doubles(batch: &RecordBatch, name: &str) -> Result<Float64Array, Error> {
    let array = column(batch, name)?;
    let doubles = array.as_primitive_opt::<Float64Type>().cloned();
    doubles
        .ok_or_else(|| Error::new(format!("column `{name}` is {}, not double", array.data_type())))
}

pub(crate) fn dates(batch: &RecordBatch, name: &str) -> Result<Date32Array, Error> {
    let array = column(batch, name)?;
    let dates = array.as_primitive_opt::<Date32Type>().cloned();
    dates.ok_or_else(|| Error::new(format!("column `{name}` is {}, not date", array.data_type())))
}

/// Microseconds of a UTC timestamp column.
pub(crate) fn times(batch: &RecordBatch, name: &str) -> Result<Int64Array, Error> {
    let array = column(batch, name)?;
    if !matches!(array.data_type(), DataType::Timestamp(TimeUnit::Microsecond, Some(_))) {
        let kind = array.data_type();
        return Err(Error::new(format!("column `{name}` is {kind}, not microseconds UTC")));
    }
    Ok(as_type(batch, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

pub(crate) fn decimals(
    batch: &RecordBatch,
    name: &str,
    precision: u8,
    scale: i8,
) -> Result<Decimal128Array, Error> {
    let array = column(batch, name)?;
    let wanted = DataType::Decimal128(precision, scale);
    if *array.data_type() != wanted {
        return Err(Error::new(format!("column `{name}` is {}, not {wanted}", array.data_type())));
    }
    Ok(array.as_primitive::<Decimal128Type>().clone())
}
