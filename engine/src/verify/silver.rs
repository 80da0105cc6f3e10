//! Silver against the reference fold of bronze, row by row and column by column.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use lake::{LakeError, Table};
use pipeline::bronze;
use pipeline::decode::{ChangeBatch, Decoder, PreparedContract, Scratch, decode_batch, registry};
use pipeline::silver::{EPOCH_COLUMN, POSITION_COLUMN};
use schemas::{Column, ColumnType, Contract, Micros, RowRef, decimal};

use super::pin::Pinned;
use super::reference::{Reference, State};
use super::report::Check;
use crate::Topics;
use crate::tables::silver_name;

const ADVICE: &str = "bronze is the truth: stop weir, move the lake's folders `silver`, `gold` and \
                      `_weir/state` away, and start it again; they are built anew from bronze";

/// Joins the parts of a key that has several columns.
const KEY_SEPARATOR: u8 = 0x1f;

/// One contract with the reference fold of its table.
struct Folded {
    contract: Arc<PreparedContract>,
    decoder: &'static dyn Decoder,
    fold: Reference,
    undecodable: u64,
}

/// The reference folds of all tables.
pub(super) struct Folds {
    tables: Vec<Folded>,
    /// Records looked at, whatever became of them.
    pub(super) records: u64,
}

/// Folds the rows of bronze up to the pinned epoch.
///
/// # Errors
/// When a contract cannot be used, or a file not be read.
pub(super) fn fold(
    bronze: &Table,
    pinned: &Pinned,
    contracts: &[Contract],
    topics: &Topics,
) -> Result<Folds, LakeError> {
    let mut tables = contracts.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
    let mut indexes = BTreeMap::new();
    for (topic, name) in topics {
        if let Some(at) = contracts.iter().position(|contract| contract.name == *name) {
            indexes.insert(topic.clone(), at);
        }
    }
    let (mut scratch, mut changes) = (Scratch::default(), ChangeBatch::default());
    let mut records = 0;
    let up_to = u64::try_from(pinned.epoch).unwrap_or(0);
    for epoch in bronze::replay(bronze, 0, up_to)? {
        let epoch = epoch?;
        tables.iter_mut().for_each(|table| table.fold.advance(epoch.stamp.clock));
        let mut batches: Vec<_> = epoch.batches.iter().collect();
        batches.sort_by_key(|batch| batch.topic());
        for batch in batches {
            records += batch.len() as u64;
            let of = (batch.topic().source.to_string(), batch.topic().topic.to_string());
            let Some(table) = indexes.get(&of).and_then(|at| tables.get_mut(*at)) else { continue };
            decode_batch(table.decoder, &table.contract, batch, &mut scratch, &mut changes);
            table.undecodable += changes.errors().len() as u64;
            for change in changes.iter() {
                table.fold.take(&table.contract, change, epoch.stamp.id, epoch.stamp.clock);
            }
        }
    }
    tables.iter_mut().for_each(|table| table.fold.advance(pinned.clock));
    Ok(Folds { tables, records })
}

fn prepare(contract: &Contract) -> Result<Folded, LakeError> {
    let refuse = |detail: String| LakeError::Schema { table: silver_name(contract), detail };
    let decoder = registry::find(&contract.format)
        .ok_or_else(|| refuse(format!("there is no decoder `{}`", contract.format)))?;
    let prepared = PreparedContract::new(contract.clone()).map_err(|e| refuse(e.to_string()))?;
    let (contract, fold) = (Arc::new(prepared), Reference::default());
    Ok(Folded { contract, decoder, fold, undecodable: 0 })
}

/// Compares every silver table with its fold.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn compare(folds: Folds, pinned: &Pinned) -> Result<Vec<Check>, LakeError> {
    let mut checks = Vec::new();
    for mut table in folds.tables {
        let name = silver_name(table.contract.contract());
        if let Some(silver) = pinned.tables.get(&name) {
            checks.push(table.compare(silver)?);
        }
    }
    Ok(checks)
}

impl Folded {
    fn compare(&mut self, silver: &Table) -> Result<Check, LakeError> {
        let mut check = Check::new("silver", silver.name(), ADVICE);
        let contract = Arc::clone(&self.contract);
        let mut rows = 0;
        let files: Vec<_> = silver.files().map(AsRef::as_ref).collect();
        for batch in silver.read(&files, None)? {
            let batch = batch?;
            rows += batch.num_rows();
            match Columns::new(contract.contract(), &batch) {
                Ok(columns) => {
                    (0..batch.num_rows()).for_each(|at| self.row(&columns, at, &mut check));
                }
                Err(problem) => {
                    check.problem(|| problem);
                    return Ok(check);
                }
            }
        }
        for (key, state) in &self.fold.keys {
            if state.seen || !matches!(state.state, State::Row { .. }) {
                continue;
            }
            check.problem(|| format!("row {} is missing: {} left it", shown(key), state.at));
        }
        check.count("rows", rows);
        check.count("rows by fold", self.fold.live());
        check.counts.push(("changes", self.fold.changes));
        if self.undecodable > 0 {
            check.counts.push(("undecodable records", self.undecodable));
        }
        if let Some(halt) = &self.fold.halted {
            check.notes.push(format!("the table stands still since then: {halt}"));
        }
        Ok(check)
    }

    fn row(&mut self, columns: &Columns, at: usize, check: &mut Check) {
        let contract = Arc::clone(&self.contract);
        let key = columns.key(contract.contract(), at);
        let Some(held) = self.fold.keys.get_mut(key.as_slice()) else {
            check.problem(|| format!("row {} is there, but no change leads to it", shown(&key)));
            return;
        };
        let State::Row { bytes, epoch } = &held.state else {
            let deleted = held.at;
            check.problem(|| format!("row {} is there, but {deleted} deleted it", shown(&key)));
            return;
        };
        if std::mem::replace(&mut held.seen, true) {
            check.problem(|| format!("row {} is there twice", shown(&key)));
            return;
        }
        let row = contract.layout().row(bytes);
        let (position, epoch) = (held.at.to_string(), i64::try_from(*epoch).unwrap_or(i64::MAX));
        if let Some(difference) = columns.difference(contract.contract(), at, row, &position, epoch)
        {
            check.problem(|| format!("row {}: {difference} (by change {position})", shown(&key)));
        }
    }
}

/// The key in words.
fn shown(key: &[u8]) -> String {
    format!("`{}`", String::from_utf8_lossy(key).replace('\u{1f}', " / "))
}

enum Values {
    Text(StringArray),
    Instant(TimestampMicrosecondArray),
    Number(Decimal128Array),
}

struct Columns {
    values: Vec<Values>,
    epochs: Int64Array,
    positions: StringArray,
}

impl Columns {
    fn new(contract: &Contract, batch: &RecordBatch) -> Result<Columns, String> {
        let find = |name: &str| {
            let column = batch.column_by_name(name);
            column.ok_or_else(|| format!("column `{name}` is missing"))
        };
        let values = contract.columns.iter().map(|column| values(column, find(&column.name)?));
        let values = values.collect::<Result<Vec<_>, String>>()?;
        let epochs = find(EPOCH_COLUMN)?.as_primitive_opt::<Int64Type>().cloned();
        let positions = find(POSITION_COLUMN)?.as_string_opt::<i32>().cloned();
        let wrong = |name: &str| format!("column `{name}` has another type than weir writes");
        Ok(Columns {
            values,
            epochs: epochs.ok_or_else(|| wrong(EPOCH_COLUMN))?,
            positions: positions.ok_or_else(|| wrong(POSITION_COLUMN))?,
        })
    }

    fn key(&self, contract: &Contract, at: usize) -> Vec<u8> {
        let mut key = Vec::new();
        for (part, column) in contract.key.iter().enumerate() {
            if part > 0 {
                key.push(KEY_SEPARATOR);
            }
            if let Some(Values::Text(texts)) = self.values.get(*column)
                && texts.is_valid(at)
            {
                key.extend_from_slice(texts.value(at).as_bytes());
            }
        }
        key
    }

    /// The first thing that differs, in words.
    fn difference(
        &self,
        contract: &Contract,
        at: usize,
        row: RowRef<'_>,
        position: &str,
        epoch: i64,
    ) -> Option<String> {
        for (index, (values, column)) in self.values.iter().zip(&contract.columns).enumerate() {
            if !values.is(at, row, index) {
                let (name, scale) = (&column.name, scale(column.kind));
                let is = values.shown(at, scale);
                let should = expected(row, index, column.kind);
                return Some(format!("`{name}` is {is}, should be {should}"));
            }
        }
        if self.positions.value(at) != position {
            let is = self.positions.value(at);
            return Some(format!("`{POSITION_COLUMN}` is {is}, should be {position}"));
        }
        let is = self.epochs.value(at);
        (is != epoch).then(|| format!("`{EPOCH_COLUMN}` is {is}, should be {epoch}"))
    }
}

fn values(column: &Column, array: &ArrayRef) -> Result<Values, String> {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let should = match column.kind {
        ColumnType::Text | ColumnType::Json => DataType::Utf8,
        ColumnType::Timestamp => utc,
        ColumnType::Decimal { precision, scale } => {
            DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
        }
    };
    let is = array.data_type();
    let wrong = || format!("column `{}` is of type {is}, should be {should}", column.name);
    if *is != should {
        return Err(wrong());
    }
    let values = match column.kind {
        ColumnType::Text | ColumnType::Json => array.as_string_opt().cloned().map(Values::Text),
        ColumnType::Timestamp => {
            array.as_primitive_opt::<TimestampMicrosecondType>().cloned().map(Values::Instant)
        }
        ColumnType::Decimal { .. } => {
            array.as_primitive_opt::<Decimal128Type>().cloned().map(Values::Number)
        }
    };
    values.ok_or_else(wrong)
}

impl Values {
    fn is(&self, at: usize, row: RowRef<'_>, index: usize) -> bool {
        match self {
            Values::Text(a) => a.is_valid(at).then(|| a.value(at)) == row.text(index),
            Values::Instant(a) => {
                a.is_valid(at).then(|| Micros(a.value(at))) == row.timestamp(index)
            }
            Values::Number(a) => a.is_valid(at).then(|| a.value(at)) == row.decimal(index),
        }
    }

    fn shown(&self, at: usize, scale: u32) -> String {
        let text = match self {
            Values::Text(a) => a.is_valid(at).then(|| format!("{:?}", a.value(at))),
            Values::Instant(a) => a.is_valid(at).then(|| Micros(a.value(at)).to_string()),
            Values::Number(a) => a.is_valid(at).then(|| decimal::format(a.value(at), scale)),
        };
        text.unwrap_or_else(|| "null".to_owned())
    }
}

fn expected(row: RowRef<'_>, index: usize, kind: ColumnType) -> String {
    let text = match kind {
        ColumnType::Text | ColumnType::Json => row.text(index).map(|text| format!("{text:?}")),
        ColumnType::Timestamp => row.timestamp(index).map(|at| at.to_string()),
        ColumnType::Decimal { .. } => {
            row.decimal(index).map(|number| decimal::format(number, scale(kind)))
        }
    };
    text.unwrap_or_else(|| "null".to_owned())
}

fn scale(kind: ColumnType) -> u32 {
    if let ColumnType::Decimal { scale, .. } = kind { u32::from(scale) } else { 0 }
}
