//! Arrays into rows.

use arrow::array::{
    Array, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use schemas::{Column, ColumnType, Date, Datum, Micros, RowBuilder, RowSchema, datum};

use crate::columns::{self, ColumnError};
use crate::kinds::data_type;

/// The columns of a batch that hold rows of a schema.
#[derive(Debug)]
pub struct RowReader {
    columns: Vec<Values>,
    rows: usize,
}

#[derive(Debug)]
enum Values {
    Text(StringArray),
    Bigint(Int64Array),
    Double(Float64Array),
    Boolean(BooleanArray),
    Date(Date32Array),
    Timestamp(TimestampMicrosecondArray),
    Decimal(Decimal128Array),
}

impl RowReader {
    /// The rows of `batch`. A column of another type is taken where each of its values can be.
    ///
    /// # Errors
    /// When a column of the schema is missing or of another kind.
    pub fn new(schema: &RowSchema, batch: &RecordBatch) -> Result<RowReader, ColumnError> {
        let columns = schema.iter().map(|column| Values::new(column, batch));
        Ok(RowReader { columns: columns.collect::<Result<_, _>>()?, rows: batch.num_rows() })
    }

    /// The same of a batch that has exactly the types that are written.
    ///
    /// # Errors
    /// When a column of the schema is missing or of another type.
    pub fn exact(schema: &RowSchema, batch: &RecordBatch) -> Result<RowReader, ColumnError> {
        for column in schema {
            let should = data_type(column.kind);
            let is = batch.column_by_name(&column.name).map(|array| array.data_type());
            if let Some(is) = is.filter(|is| **is != should) {
                let problem = format!("is of type {is}, should be {should}");
                return Err(ColumnError::new(&column.name, problem));
            }
        }
        RowReader::new(schema, batch)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// One value of a row.
    pub fn datum(&self, column: usize, row: usize) -> Datum<'_> {
        self.columns.get(column).map_or(Datum::Null, |values| values.datum(row))
    }

    /// Sets all columns of `builder` to those of a row.
    pub fn read(&self, row: usize, builder: &mut RowBuilder) {
        builder.reset(self.columns.len());
        for (index, values) in self.columns.iter().enumerate() {
            builder.set(index, values.datum(row));
        }
    }
}

impl Values {
    fn new(column: &Column, batch: &RecordBatch) -> Result<Values, ColumnError> {
        let name = &column.name;
        Ok(match column.kind {
            ColumnType::Text | ColumnType::Json => Values::Text(columns::text(batch, name)?),
            ColumnType::Bigint => Values::Bigint(columns::bigint(batch, name)?),
            ColumnType::Double => Values::Double(columns::double(batch, name)?),
            ColumnType::Boolean => Values::Boolean(columns::boolean(batch, name)?),
            ColumnType::Date => Values::Date(columns::date(batch, name)?),
            ColumnType::Timestamp => Values::Timestamp(columns::timestamp(batch, name)?),
            ColumnType::Decimal { precision, scale } => {
                Values::Decimal(columns::number(batch, name, (precision, scale))?)
            }
        })
    }

    fn datum(&self, row: usize) -> Datum<'_> {
        fn at<'a, T>(
            array: &impl Array,
            row: usize,
            value: impl FnOnce() -> T,
            datum: impl FnOnce(T) -> Datum<'a>,
        ) -> Datum<'a> {
            let is_there = row < array.len() && array.is_valid(row);
            if is_there { datum(value()) } else { Datum::Null }
        }
        match self {
            Values::Text(a) => at(a, row, || a.value(row), Datum::Text),
            Values::Bigint(a) => at(a, row, || a.value(row), Datum::Bigint),
            Values::Double(a) => {
                at(a, row, || a.value(row), |number| Datum::Double(datum::canonical(number)))
            }
            Values::Boolean(a) => at(a, row, || a.value(row), Datum::Boolean),
            Values::Date(a) => at(a, row, || a.value(row), |days| Datum::Date(Date(days))),
            Values::Timestamp(a) => at(a, row, || a.value(row), |at| Datum::Timestamp(Micros(at))),
            Values::Decimal(a) => at(a, row, || a.value(row), Datum::Decimal),
        }
    }
}
