//! Silver rows as Arrow batches, and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Builder, Int64Array, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use schemas::{ColumnType, Contract, EpochId, Micros, Position, RowBuilder};

use crate::decode::PreparedContract;

/// The column that says which epoch last changed a row.
pub const EPOCH_COLUMN: &str = "_epoch";
/// The column that says which change wrote a row.
pub const POSITION_COLUMN: &str = "_position";

/// One row of a silver table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilverRow {
    /// Its bytes.
    pub row: Arc<[u8]>,
    /// The position of the change that wrote it.
    pub position: Position,
    /// The epoch of that change.
    pub epoch: EpochId,
}

/// Why rows could not be turned into a batch or back.
#[derive(Debug, thiserror::Error)]
pub enum RowBatchError {
    /// Arrow refused.
    #[error("rows of silver table `{table}` do not fit its schema: {source}")]
    Arrow {
        /// The contract.
        table: String,
        /// What Arrow said.
        source: ArrowError,
    },
    /// A table read back lacks a column or holds what Weir did not write.
    #[error("silver table `{table}`, column `{column}`: {problem}; rebuild the table from bronze")]
    Column {
        /// The contract.
        table: String,
        /// The column.
        column: String,
        /// What is wrong.
        problem: String,
    },
}

/// The Arrow schema of a contract's silver table.
pub fn silver_schema(contract: &Contract) -> SchemaRef {
    let mut fields: Vec<Field> = contract
        .columns
        .iter()
        .map(|column| Field::new(&column.name, data_type(column.kind), true))
        .collect();
    fields.push(Field::new(EPOCH_COLUMN, DataType::Int64, false));
    fields.push(Field::new(POSITION_COLUMN, DataType::Utf8, false));
    Arc::new(Schema::new(fields))
}

fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Text | ColumnType::Json => DataType::Utf8,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Decimal { precision, scale } => {
            DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
        }
    }
}

/// The batch that holds `rows`, in order.
///
/// # Errors
/// When a row does not fit the contract, which decoding rules out.
pub fn row_batch(
    contract: &PreparedContract,
    rows: &[SilverRow],
) -> Result<RecordBatch, RowBatchError> {
    build(contract, rows).map_err(|source| arrow_error(contract, source))
}

fn arrow_error(contract: &PreparedContract, source: ArrowError) -> RowBatchError {
    RowBatchError::Arrow { table: contract.contract().name.clone(), source }
}

fn build(contract: &PreparedContract, rows: &[SilverRow]) -> Result<RecordBatch, ArrowError> {
    let columns = contract.contract().columns.iter().enumerate();
    let mut arrays: Vec<ArrayRef> = columns
        .map(|(index, column)| array(contract, rows, index, column.kind))
        .collect::<Result<_, _>>()?;
    let epochs = rows.iter().map(|row| i64::try_from(row.epoch).unwrap_or(i64::MAX));
    arrays.push(Arc::new(Int64Array::from_iter_values(epochs)));
    let mut positions = StringBuilder::with_capacity(rows.len(), rows.len() * 48);
    for row in rows {
        positions.append_value(row.position.to_string());
    }
    arrays.push(Arc::new(positions.finish()));
    RecordBatch::try_new(silver_schema(contract.contract()), arrays)
}

fn array(
    contract: &PreparedContract,
    rows: &[SilverRow],
    index: usize,
    kind: ColumnType,
) -> Result<ArrayRef, ArrowError> {
    let views = rows.iter().map(|row| contract.layout().row(&row.row));
    Ok(match kind {
        ColumnType::Text | ColumnType::Json => {
            let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
            views.for_each(|row| builder.append_option(row.text(index)));
            Arc::new(builder.finish())
        }
        ColumnType::Timestamp => {
            let builder = TimestampMicrosecondBuilder::with_capacity(rows.len());
            let mut builder = builder.with_data_type(data_type(kind));
            views.for_each(|row| builder.append_option(row.timestamp(index).map(|at| at.0)));
            Arc::new(builder.finish())
        }
        ColumnType::Decimal { .. } => {
            let builder = Decimal128Builder::with_capacity(rows.len());
            let mut builder = builder.with_data_type(data_type(kind));
            views.for_each(|row| builder.append_option(row.decimal(index)));
            Arc::new(builder.finish())
        }
    })
}

/// Reads back what [`row_batch`] built, in order.
///
/// # Errors
/// When a column is missing, of another type, or holds what was never written.
pub fn rows_from_batch(
    contract: &PreparedContract,
    batch: &RecordBatch,
) -> Result<Vec<SilverRow>, RowBatchError> {
    let schema = silver_schema(contract.contract());
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| column(contract, batch, field))
        .collect::<Result<_, _>>()?;
    let [values @ .., epochs, positions] = columns.as_slice() else { return Ok(Vec::new()) };
    let epochs = epochs.as_primitive::<Int64Type>();
    let positions = positions.as_string::<i32>();
    let mut builder = RowBuilder::default();
    let mut rows = Vec::with_capacity(batch.num_rows());
    for at in 0..batch.num_rows() {
        builder.reset(values.len());
        for (index, (array, column)) in values.iter().zip(contract.columns()).enumerate() {
            if array.is_null(at) {
                continue;
            }
            match column.kind {
                ColumnType::Text | ColumnType::Json => {
                    builder.set_text(index, array.as_string::<i32>().value(at));
                }
                ColumnType::Timestamp => {
                    let micros = array.as_primitive::<TimestampMicrosecondType>().value(at);
                    builder.set_timestamp(index, Micros(micros));
                }
                ColumnType::Decimal { .. } => {
                    builder.set_decimal(index, array.as_primitive::<Decimal128Type>().value(at));
                }
            }
        }
        let mut row = Vec::new();
        builder.finish(contract.layout(), &mut row);
        let text = positions.value(at);
        let position = Position::parse(text).ok_or_else(|| {
            damaged(contract, POSITION_COLUMN, format!("`{text}` is no position"))
        })?;
        let epoch = EpochId::try_from(epochs.value(at))
            .map_err(|_| damaged(contract, EPOCH_COLUMN, "a negative epoch".into()))?;
        rows.push(SilverRow { row: row.into(), position, epoch });
    }
    Ok(rows)
}

fn damaged(contract: &PreparedContract, column: &str, problem: String) -> RowBatchError {
    let table = contract.contract().name.clone();
    RowBatchError::Column { table, column: column.to_owned(), problem }
}

fn column(
    contract: &PreparedContract,
    batch: &RecordBatch,
    field: &Field,
) -> Result<ArrayRef, RowBatchError> {
    let name = field.name();
    let held =
        batch.column_by_name(name).ok_or_else(|| damaged(contract, name, "is missing".into()))?;
    let array = if held.data_type() == field.data_type() {
        Arc::clone(held)
    } else {
        let problem = || format!("is {} and not {}", held.data_type(), field.data_type());
        cast(held, field.data_type()).map_err(|_| damaged(contract, name, problem()))?
    };
    if !field.is_nullable() && array.null_count() > 0 {
        return Err(damaged(contract, name, "holds nulls".into()));
    }
    Ok(array)
}
