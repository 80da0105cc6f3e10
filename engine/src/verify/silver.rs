//! Silver against the reference fold of bronze, row by row and column by column.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use lake::{LakeError, Table};
use pipeline::bronze;
use pipeline::decode::{
    ChangeBatch, Decoder, PreparedContract, Scratch, decode_batch, is_transaction_marker, registry,
};
use pipeline::record::{RawBatch, RawRecord};
use pipeline::silver::{
    DOUBT_COLUMN, EPOCH_COLUMN, ORIGIN_COLUMN, POSITION_COLUMN, UNKNOWN_COLUMN, unknown_text,
};
use pipeline::source::{Mapping, is_control};
use rows::{ColumnError, RowReader, columns};
use schemas::contents::infinite_line;
use schemas::{Contract, ControlRecord, Datum, Decision, EpochStamp, Letter, RowRef};

use super::letters::Carried;
use super::pin::Pinned;
use super::quiet::QuietRows;
use super::reference::{Reference, RowId, State};
use super::report::Check;
use super::versions::Versions;
use crate::Topics;
use crate::census::Census;
use crate::core::decoding::batch_of;
use crate::tables::silver_name;

const ADVICE: &str = "bronze is the truth: stop weir, move the lake's folders `silver`, `gold` and \
                      `_weir/state` away, and start it again; they are built anew from bronze";

/// One contract with the reference fold of its table.
struct Folded {
    contract: Arc<PreparedContract>,
    /// What reads its records.
    read_by: ReadBy,
    decoder: &'static dyn Decoder,
    fold: Reference,
    undecodable: u64,
    /// By column, how often an infinity was taken as null.
    infinite: BTreeMap<usize, u64>,
    /// What is to be looked at in the rows that silver has.
    census: Census,
}

/// Source and topic to table, the versions of its contract and what else is said of the topic.
type Feeds<'a> = BTreeMap<(String, String), (usize, ReadBy, &'a Mapping)>;

/// The versions of a contract, each with the epoch from which on it reads records.
type ReadBy = Vec<(u64, Arc<PreparedContract>)>;

/// The version that reads the records of an epoch.
fn reader(all: &[(u64, Arc<PreparedContract>)], epoch: u64) -> Option<&PreparedContract> {
    let before = all.iter().rev().find(|(since, _)| *since <= epoch);
    before.or(all.first()).map(|(_, contract)| &**contract)
}

/// The reference folds of all tables.
pub(super) struct Folds {
    tables: Vec<Folded>,
    /// Records looked at, whatever became of them.
    pub(super) records: u64,
    /// Dead letters that decisions carry.
    pub(super) carried: Carried,
    /// What is wrong with the quiet bits of their rows.
    pub(super) quiet: Vec<String>,
    /// Source and topic of records that change no table and do not say where a transaction begins or ends.
    pub(super) unfed: BTreeMap<(String, String), u64>,
}

/// Folds the rows of bronze up to the pinned epoch.
///
/// # Errors
/// When a contract cannot be used, or a file not be read.
pub(super) fn fold(
    bronze: &Table,
    pinned: &Pinned,
    (contracts, versions): (&[Contract], &Versions),
    topics: &Topics,
) -> Result<Folds, LakeError> {
    let tables = contracts.iter().map(|contract| prepare(contract, versions));
    let mut tables = tables.collect::<Result<Vec<_>, _>>()?;
    let mut feeds = Feeds::new();
    for (topic, mapping) in topics {
        let at = contracts.iter().position(|contract| contract.name == mapping.contract);
        if let Some((at, table)) = at.and_then(|at| Some((at, tables.get(at)?))) {
            let name = || format!("silver/{}", mapping.contract);
            let refuse = |e| LakeError::Schema { table: name(), detail: format!("{e}") };
            let own = |(since, contract): &(u64, Arc<PreparedContract>)| {
                let contract = contract.for_placeholder(mapping.placeholder.as_deref());
                contract.map(|contract| (*since, contract)).map_err(&refuse)
            };
            let read_by = table.read_by.iter().map(own).collect::<Result<_, LakeError>>()?;
            feeds.insert(topic.clone(), (at, read_by, mapping));
        }
    }
    let (mut scratch, mut changes) = (Scratch::default(), ChangeBatch::default());
    let (mut records, mut carried, mut quiet) = (0, Carried::default(), QuietRows::default());
    let mut unfed = BTreeMap::new();
    let up_to = u64::try_from(pinned.epoch).unwrap_or(0);
    for epoch in bronze::replay(bronze, 0, up_to)? {
        let epoch = epoch?;
        tables.iter_mut().for_each(|table| table.fold.advance(epoch.stamp.clock));
        records += epoch.batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
        let control = epoch.batches.iter().filter(|batch| is_control(batch.topic()));
        let mut decisions: Vec<Decision> = control.flat_map(decided).collect();
        // Definitions come before all else that is decided.
        decisions.sort_by_key(|decision| !matches!(decision, Decision::Define(_)));
        for decided in decisions {
            if let Decision::RetryDeadLetters { letters, .. } = &decided {
                letters.iter().for_each(|letter| carried.note(letter));
            }
            for table in &mut tables {
                table.decide(&decided, epoch.stamp, &feeds, &mut scratch);
            }
        }
        let mut batches: Vec<_> = epoch.events().collect();
        batches.sort_by_key(|batch| batch.topic());
        for batch in batches {
            let of = (batch.topic().source.to_string(), batch.topic().topic.to_string());
            let Some((at, read_by, mapping)) = feeds.get(&of) else {
                let is_none =
                    |record: &RawRecord<'_>| !record.value.is_some_and(is_transaction_marker);
                let none = batch.iter().filter(is_none).count() as u64;
                if none > 0 {
                    *unfed.entry(of).or_default() += none;
                }
                continue;
            };
            let Some(table) = tables.get_mut(*at) else { continue };
            let Some(contract) = reader(read_by, epoch.stamp.id) else { continue };
            decode_batch(table.decoder, contract, batch, &mut scratch, &mut changes);
            mapping.apply(&mut changes);
            table.undecodable += changes.errors().len() as u64;
            for column in changes.iter().flat_map(|change| change.infinite) {
                *table.infinite.entry(*column).or_default() += 1;
            }
            let (id, clock) = (epoch.stamp.id, epoch.stamp.clock);
            quiet.see(id, batch, &changes);
            table.fold.take_batch(&table.contract, &changes, id, clock);
        }
    }
    tables.iter_mut().for_each(|table| table.fold.advance(pinned.clock));
    Ok(Folds { tables, records, carried, quiet: quiet.problems, unfed })
}

/// What a batch of control records decides, in order.
fn decided(batch: &RawBatch) -> Vec<Decision> {
    let decision = |record: RawRecord<'_>| Some(ControlRecord::parse(record.value?).ok()?.decision);
    batch.iter().filter_map(decision).collect()
}

fn prepare(contract: &Contract, versions: &Versions) -> Result<Folded, LakeError> {
    let refuse = |detail: String| LakeError::Schema { table: silver_name(contract), detail };
    let decoder = registry::find(&contract.format)
        .ok_or_else(|| refuse(format!("there is no decoder `{}`", contract.format)))?;
    let ready = |contract: &Contract| {
        PreparedContract::new(contract.clone()).map_err(|e| refuse(e.to_string()))
    };
    let prepared = ready(contract)?;
    let read = |(since, own): &(u64, Contract)| {
        ready(own).map(|own| (*since, Arc::new(own.to_rows_of(&prepared))))
    };
    let read_by = versions.of(contract).iter().map(read).collect::<Result<_, LakeError>>()?;
    let census = Census::new(prepared.contract());
    let (contract, fold) = (Arc::new(prepared), Reference::default());
    let infinite = BTreeMap::new();
    Ok(Folded { contract, read_by, decoder, fold, undecodable: 0, infinite, census })
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
    /// Takes a decision, if it is about this table.
    fn decide(
        &mut self,
        decision: &Decision,
        stamp: EpochStamp,
        feeds: &Feeds<'_>,
        scratch: &mut Scratch,
    ) {
        let contract = Arc::clone(&self.contract);
        let own = contract.contract().name.as_str();
        match decision {
            Decision::ResumeTable { table } if table == own => self.fold.resume(stamp.id),
            Decision::SweepTable { table } if table == own => self.fold.sweep_asked(stamp.clock),
            Decision::Define(changes) => {
                for change in changes.iter().filter(|change| change.name == own) {
                    self.fold.define(change, &contract);
                }
            }
            Decision::DropDeadLetters { table, letter } if table == own => {
                let one = letter.clone().map(|letter| BTreeSet::from([letter]));
                self.fold.drop_unread(&contract, one.as_ref(), stamp.id);
            }
            Decision::RetryDeadLetters { table, letters } if table == own => {
                self.retry(letters, stamp, feeds, scratch);
            }
            _ => {}
        }
    }

    /// Reads dead letters again; those that could be read put nothing in doubt any more.
    fn retry(
        &mut self,
        letters: &[Letter],
        stamp: EpochStamp,
        feeds: &Feeds<'_>,
        scratch: &mut Scratch,
    ) {
        let (mut changes, mut read) = (ChangeBatch::default(), BTreeSet::new());
        for letter in letters {
            let Some((_, read_by, mapping)) = feeds
                .get(&(letter.source.clone(), letter.topic.clone()))
                .filter(|(_, _, mapping)| mapping.contract == self.contract.contract().name)
            else {
                continue;
            };
            let batch = batch_of(letter);
            let Some(contract) = reader(read_by, stamp.id) else { continue };
            decode_batch(self.decoder, contract, &batch, scratch, &mut changes);
            mapping.apply(&mut changes);
            let (came, now) = ((letter.epoch, letter.came()), (stamp.id, stamp.clock));
            if self.fold.retry(&self.contract, &changes, came, now) {
                read.insert(letter.at());
            }
        }
        self.fold.drop_unread(&self.contract, Some(&read), stamp.id);
    }

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
                    check.problem(|| problem.to_string());
                    return Ok(check);
                }
            }
        }
        for (id, state) in &self.fold.rows {
            if state.seen || !matches!(state.state, State::Row { .. }) {
                continue;
            }
            check.problem(|| format!("row {} is missing: {} left it", shown(id), state.at));
        }
        check.count("rows", rows);
        check.count("rows by fold", self.fold.live());
        check.counts.push(("changes", self.fold.changes));
        if self.undecodable > 0 {
            check.counts.push(("undecodable records", self.undecodable));
        }
        if self.fold.refused > 0 {
            check.counts.push(("refused records", self.fold.refused));
        }
        check.notes.extend(self.census.contents().lines());
        for (column, times) in &self.infinite {
            let name = contract.contract().column_name(*column);
            check.notes.push(infinite_line(name, *times));
        }
        for halt in self.fold.halted() {
            check.notes.push(format!("the table stands still since then: {halt}"));
        }
        Ok(check)
    }

    fn row(&mut self, columns: &Columns, at: usize, check: &mut Check) {
        let contract = Arc::clone(&self.contract);
        self.census.add_texts(1, |column| match columns.values.datum(column, at) {
            Datum::Text(text) => Some(text),
            _ => None,
        });
        let id = (columns.origins.value(at).to_owned(), columns.key(contract.contract(), at));
        let Some(held) = self.fold.rows.get_mut(&id) else {
            check.problem(|| format!("row {} is there, but no change leads to it", shown(&id)));
            return;
        };
        let position = held.position();
        let State::Row { bytes, epoch } = &held.state else {
            let deleted = held.at;
            check.problem(|| format!("row {} is there, but {deleted} deleted it", shown(&id)));
            return;
        };
        if std::mem::replace(&mut held.seen, true) {
            check.problem(|| format!("row {} is there twice", shown(&id)));
            return;
        }
        let row = contract.layout().row(bytes);
        let epoch = i64::try_from(*epoch).unwrap_or(i64::MAX);
        let added = Added { position: &position, epoch };
        if let Some(difference) = columns.difference(contract.contract(), at, row, &added) {
            check.problem(|| format!("row {}: {difference} (by change {position})", shown(&id)));
        }
    }
}

/// The key in words.
fn shown((origin, key): &RowId) -> String {
    format!("`{}` of {origin}", String::from_utf8_lossy(key).replace('\u{1f}', " / "))
}

struct Columns {
    values: RowReader,
    epochs: Int64Array,
    positions: StringArray,
    origins: StringArray,
    unknown: StringArray,
    doubt: StringArray,
}

/// What a row is besides its columns.
struct Added<'a> {
    position: &'a str,
    epoch: i64,
}

impl Columns {
    fn new(contract: &Contract, batch: &RecordBatch) -> Result<Columns, ColumnError> {
        Ok(Columns {
            values: RowReader::exact(&contract.columns, batch)?,
            epochs: columns::bigint(batch, EPOCH_COLUMN)?,
            positions: columns::text(batch, POSITION_COLUMN)?,
            origins: columns::text(batch, ORIGIN_COLUMN)?,
            unknown: columns::text(batch, UNKNOWN_COLUMN)?,
            doubt: columns::text(batch, DOUBT_COLUMN)?,
        })
    }

    fn key(&self, contract: &Contract, at: usize) -> Vec<u8> {
        let part = |column: &usize| {
            let kind = contract.columns.get(*column)?.kind;
            Some(self.values.datum(*column, at).text(kind).to_string())
        };
        let parts: Vec<_> = contract.key.iter().filter_map(part).collect();
        parts.join("\u{1f}").into_bytes()
    }

    /// The first thing that differs, in words.
    fn difference(
        &self,
        contract: &Contract,
        at: usize,
        row: RowRef<'_>,
        added: &Added<'_>,
    ) -> Option<String> {
        for (index, column) in contract.columns.iter().enumerate() {
            let (is, should) = (self.values.datum(index, at), row.datum(index));
            if is != should {
                let shown = |datum: Datum<'_>| match datum {
                    Datum::Text(text) => format!("{text:?}"),
                    other => other.text(column.kind).to_string(),
                };
                let (name, is, should) = (&column.name, shown(is), shown(should));
                return Some(format!("`{name}` is {is}, should be {should}"));
            }
        }
        let unknown = unknown_text(row);
        let doubt = match (row.is_outdated(), &unknown) {
            (true, _) => Some("dead letter".to_owned()),
            (false, Some(_)) => Some("unknown".to_owned()),
            (false, None) => None,
        };
        let text = |of: &StringArray| of.is_valid(at).then(|| of.value(at).to_owned());
        let texts = [
            (POSITION_COLUMN, text(&self.positions), Some(added.position.to_owned())),
            (UNKNOWN_COLUMN, text(&self.unknown), unknown),
            (DOUBT_COLUMN, text(&self.doubt), doubt),
        ];
        for (name, is, should) in texts {
            if is != should {
                let shown = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
                return Some(format!("`{name}` is {}, should be {}", shown(is), shown(should)));
            }
        }
        let (is, epoch) = (self.epochs.value(at), added.epoch);
        (is != epoch).then(|| format!("`{EPOCH_COLUMN}` is {is}, should be {epoch}"))
    }
}
