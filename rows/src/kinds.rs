//! Column types as Arrow types.

use arrow::datatypes::{DataType, Field, TimeUnit};
use schemas::{ColumnType, RowSchema};

/// The Arrow type of a column.
pub fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Text | ColumnType::Json => DataType::Utf8,
        ColumnType::Bigint => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => instant(),
        ColumnType::Decimal { precision, scale } => decimal(precision, scale),
    }
}

/// Microseconds in UTC, which is what every instant of the lake is.
pub fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Numbers with so many digits in all and after the point.
pub fn decimal(precision: u8, scale: u8) -> DataType {
    DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
}

/// A field that is never null, or one that may be.
pub fn field(name: &str, kind: DataType, nullable: bool) -> Field {
    Field::new(name, kind, nullable)
}

/// The fields of rows of a schema. Any of them may be null, also one that is required: that is checked
/// when a record is decoded, and a contract may be relaxed without rewriting its table.
pub fn fields(schema: &RowSchema) -> Vec<Field> {
    let columns = schema.iter();
    columns.map(|column| Field::new(&column.name, data_type(column.kind), true)).collect()
}
