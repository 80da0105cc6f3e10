//! Silver rows as Arrow batches, and back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use rows::{ColumnError, RowReader, columns};
use schemas::{Contract, EpochId, Position, RowBuilder, RowRef};

use super::live::LiveRow;
use super::record::Carried;
use crate::decode::PreparedContract;

/// The column that says which epoch last changed a row.
pub const EPOCH_COLUMN: &str = "_epoch";
/// The column that says which change wrote a row.
pub const POSITION_COLUMN: &str = "_position";
/// The column that says which table of which database a row is of.
pub const ORIGIN_COLUMN: &str = "_origin";
/// The column that lists the columns whose value was never sent.
pub const UNKNOWN_COLUMN: &str = "_unknown";
/// The column that says why a row is in doubt.
pub const DOUBT_COLUMN: &str = "_doubt";
/// In doubt because its newest change could not be read.
const DEAD_LETTER: &str = "dead letter";
/// In doubt because a value was never sent.
const UNKNOWN: &str = "unknown";

/// One row of a silver table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilverRow {
    /// Its bytes.
    pub row: Arc<[u8]>,
    /// The position of the change that wrote it.
    pub position: Position,
    /// Where the values came from that this change left out.
    pub carried: Arc<[u8]>,
    /// The epoch that changed it last.
    pub epoch: EpochId,
    /// The table of the source that it is of.
    pub origin: Arc<str>,
}

impl SilverRow {
    fn live(&self) -> LiveRow<'_> {
        let SilverRow { row, position, carried, epoch, .. } = self;
        LiveRow { row, position: *position, epoch: *epoch, origin: 0, carried }
    }
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
    fields.push(Field::new(ORIGIN_COLUMN, DataType::Utf8, false));
    fields.push(Field::new(UNKNOWN_COLUMN, DataType::Utf8, true));
    fields.push(Field::new(DOUBT_COLUMN, DataType::Utf8, true));
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
    batch_of(contract, rows.iter().map(|row| (row.live(), &*row.origin)))
}

/// The same of rows that are borrowed, each with its origin.
pub(super) fn batch_of<'a>(
    contract: &PreparedContract,
    rows: impl Iterator<Item = (LiveRow<'a>, &'a str)> + Clone,
) -> Result<RecordBatch, RowBatchError> {
    let layout = contract.layout();
    let views = rows.clone().map(|row| layout.row(row.0.row));
    let arrays = rows::arrays(layout.schema(), views.clone());
    let mut arrays: Vec<ArrayRef> = arrays.map_err(|e| arrow_error(contract, e))?;
    arrays.push(columns::epochs(rows.clone().map(|row| row.0.epoch)));
    let mut positions = StringBuilder::new();
    rows.clone().for_each(|row| positions.append_value(position_text(&row.0)));
    arrays.push(Arc::new(positions.finish()));
    arrays.push(columns::texts(rows.map(|row| row.1)));
    let unknown: Vec<Option<String>> = views.clone().map(unknown_text).collect();
    arrays.push(columns::some_texts(unknown.iter().map(Option::as_deref)));
    arrays.push(columns::some_texts(views.map(doubt_text)));
    RecordBatch::try_new(silver_schema(contract.contract()), arrays)
        .map_err(|e| arrow_error(contract, e))
}

/// The position of the change that a row is of; then, of each value that this left out, `;column=position` of
/// the change that sent it; then `;unread=position` of a newer change that could not be read.
fn position_text(row: &LiveRow<'_>) -> String {
    let position = row.position.to_string();
    if row.carried.is_empty() { position } else { position + &Carried::read(row.carried).text() }
}

/// Reads what [`position_text`] wrote.
fn parse_position(text: &str) -> Option<(Position, Arc<[u8]>)> {
    let (position, carried) = text.split_once(';').unwrap_or((text, ""));
    let mut bytes = Vec::new();
    Carried::parse(carried)?.write(&mut bytes);
    Some((Position::parse(position)?, bytes.into()))
}

fn arrow_error(contract: &PreparedContract, source: ArrowError) -> RowBatchError {
    RowBatchError::Arrow { table: contract.contract().name.clone(), source }
}

/// Why a row is in doubt; `None` when it is not.
pub fn doubt_text(row: RowRef<'_>) -> Option<&'static str> {
    if !row.is_in_doubt() {
        return None;
    }
    Some(if row.is_outdated() { DEAD_LETTER } else { UNKNOWN })
}

/// The columns of a row whose value was never sent, as a JSON list; `None` when there are none.
pub fn unknown_text(row: RowRef<'_>) -> Option<String> {
    if !row.has_unknown() {
        return None;
    }
    let name = |column: usize| row.schema().get(column).map_or("", |column| column.name.as_str());
    let names: Vec<&str> = row.unknown().map(name).collect();
    Some(serde_json::json!(names).to_string())
}

/// Reads back what [`row_batch`] built, in order. Where the contract reads to rows of a later one, these are they.
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
    let values = RowReader::new(&contract.contract().columns, batch).map_err(damaged)?;
    let (epochs, positions) = (added(EPOCH_COLUMN)?, added(POSITION_COLUMN)?);
    let epochs = epochs.as_primitive::<Int64Type>();
    let positions = positions.as_string::<i32>();
    let (origins, unknown) = (added(ORIGIN_COLUMN)?, added(UNKNOWN_COLUMN)?);
    let (origins, unknown) = (origins.as_string::<i32>(), unknown.as_string::<i32>());
    let doubts = added(DOUBT_COLUMN)?;
    let doubts = doubts.as_string::<i32>();
    let mut origin: Arc<str> = "".into();
    let mut builder = RowBuilder::default();
    let mut rows = Vec::with_capacity(batch.num_rows());
    for at in 0..batch.num_rows() {
        values.read(at, &mut builder);
        if unknown.is_valid(at) {
            set_unknown(contract, unknown.value(at), &mut builder).map_err(damaged)?;
        }
        builder.set_outdated(doubts.is_valid(at) && doubts.value(at) == DEAD_LETTER);
        let mut row = Vec::new();
        builder.finish(contract.layout(), &mut row);
        let text = positions.value(at);
        let (position, carried) = parse_position(text).ok_or_else(|| {
            damaged(ColumnError::new(POSITION_COLUMN, format!("holds `{text}`, no position")))
        })?;
        let epoch = EpochId::try_from(epochs.value(at))
            .map_err(|_| damaged(ColumnError::new(EPOCH_COLUMN, "holds a negative epoch")))?;
        if *origin != *origins.value(at) {
            origin = origins.value(at).into();
        }
        let (row, origin) = (row.into(), Arc::clone(&origin));
        rows.push(SilverRow { row, position, carried, epoch, origin });
    }
    Ok(rows)
}

/// Sets the columns named in `text` to unknown.
fn set_unknown(
    contract: &PreparedContract,
    text: &str,
    builder: &mut RowBuilder,
) -> Result<(), ColumnError> {
    let wrong = || ColumnError::new(UNKNOWN_COLUMN, format!("holds `{text}`, no list of columns"));
    let names: Vec<String> = serde_json::from_str(text).map_err(|_| wrong())?;
    for name in names {
        let column = contract.layout().schema().find(&name);
        let column = column.filter(|column| builder.is_null(*column)).ok_or_else(wrong)?;
        builder.set_unknown(column);
    }
    Ok(())
}

fn damaged(contract: &PreparedContract, source: ColumnError) -> RowBatchError {
    RowBatchError::Column { table: contract.contract().name.clone(), source }
}
