//! Silver rows as Arrow batches, and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use rows::{ColumnError, RowReader, columns};
use schemas::{Contract, EpochId, Position, RowBuilder};

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
    #[error("silver table `{table}`: {source}; rebuild the table from bronze")]
    Column {
        /// The contract.
        table: String,
        /// The column, and what is wrong.
        source: ColumnError,
    },
}

/// The Arrow schema of a contract's silver table.
pub fn silver_schema(contract: &Contract) -> SchemaRef {
    let mut fields: Vec<Field> = rows::fields(&contract.columns);
    fields.push(Field::new(EPOCH_COLUMN, DataType::Int64, false));
    fields.push(Field::new(POSITION_COLUMN, DataType::Utf8, false));
    Arc::new(Schema::new(fields))
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
    let views = rows.iter().map(|row| contract.layout().row(&row.row));
    let mut arrays: Vec<ArrayRef> = rows::arrays(contract.layout().schema(), views)?;
    arrays.push(columns::epochs(rows.iter().map(|row| row.epoch)));
    let mut positions = StringBuilder::with_capacity(rows.len(), rows.len() * 48);
    for row in rows {
        positions.append_value(row.position.to_string());
    }
    arrays.push(Arc::new(positions.finish()));
    RecordBatch::try_new(silver_schema(contract.contract()), arrays)
}

/// Reads back what [`row_batch`] built, in order.
///
/// # Errors
/// When a column is missing, of another type, or holds what was never written.
pub fn rows_from_batch(
    contract: &PreparedContract,
    batch: &RecordBatch,
) -> Result<Vec<SilverRow>, RowBatchError> {
    let damaged = |source| damaged(contract, source);
    let schema = silver_schema(contract.contract());
    let added = |name: &str| {
        let field = schema.field_with_name(name).map_err(|e| arrow_error(contract, e))?;
        columns::of_field(batch, field).map_err(damaged)
    };
    let values = RowReader::new(contract.layout().schema(), batch).map_err(damaged)?;
    let (epochs, positions) = (added(EPOCH_COLUMN)?, added(POSITION_COLUMN)?);
    let epochs = epochs.as_primitive::<Int64Type>();
    let positions = positions.as_string::<i32>();
    let mut builder = RowBuilder::default();
    let mut rows = Vec::with_capacity(batch.num_rows());
    for at in 0..batch.num_rows() {
        values.read(at, &mut builder);
        let mut row = Vec::new();
        builder.finish(contract.layout(), &mut row);
        let text = positions.value(at);
        let position = Position::parse(text).ok_or_else(|| {
            damaged(ColumnError::new(POSITION_COLUMN, format!("holds `{text}`, no position")))
        })?;
        let epoch = EpochId::try_from(epochs.value(at))
            .map_err(|_| damaged(ColumnError::new(EPOCH_COLUMN, "holds a negative epoch")))?;
        rows.push(SilverRow { row: row.into(), position, epoch });
    }
    Ok(rows)
}

fn damaged(contract: &PreparedContract, source: ColumnError) -> RowBatchError {
    RowBatchError::Column { table: contract.contract().name.clone(), source }
}
