//! Silver, folded again: for each key the change with the highest position wins.
//!
//! # Guarantees
//! - The rules are those of the architecture, one record at a time, nothing sharded or batched.
//!
//! # Non-guarantees
//! - The sweep after a repeated full snapshot (keys that it did not contain) is not modelled;
//!   [`Fold::snapshots_over_rows`] counts the snapshot rows that would make it matter.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use schemas::Contract;

use crate::Error;
use crate::bronze::Record;
use crate::event::{self, Cell, Change, Decoded, Op, Row};

/// Where a change came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    incarnation: u32,
    sequence: Option<u128>,
    snapshot: bool,
    source_ms: i64,
    partition: i32,
    offset: i64,
}

impl Position {
    /// Incarnation, then source position, then offset; across partitions a live change is later
    /// than a snapshot row.
    fn order(&self, other: &Position) -> Ordering {
        if self.incarnation != other.incarnation {
            return self.incarnation.cmp(&other.incarnation);
        }
        if let (Some(mine), Some(theirs)) = (self.sequence, other.sequence)
            && mine != theirs
        {
            return mine.cmp(&theirs);
        }
        if self.partition == other.partition {
            return self.offset.cmp(&other.offset);
        }
        let rank = |p: &Position| (!p.snapshot, p.source_ms, p.partition);
        rank(self).cmp(&rank(other))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sequence = self.sequence.map(|s| s.to_string()).unwrap_or_default();
        let kind = if self.snapshot { "s" } else { "l" };
        let (ms, partition, offset) = (self.source_ms, self.partition, self.offset);
        write!(f, "{}/{sequence}/{kind}/{ms}/{partition}/{offset}", self.incarnation)
    }
}

/// What is held of a key: its row, or that it was deleted.
#[derive(Debug, Clone)]
struct Held {
    position: Position,
    op: Op,
    row: Option<Row>,
    epoch: i64,
    origin: String,
}

/// One row of silver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilverRow {
    /// Its cells.
    pub row: Row,
    /// The epoch that wrote it.
    pub epoch: i64,
    /// `_position`.
    pub position: String,
    /// `_origin`.
    pub origin: String,
}

/// What one record changed: the contract and each key's row before and after.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    /// Rows before.
    pub gone: Vec<(Rc<str>, Row)>,
    /// Rows after.
    pub come: Vec<(Rc<str>, Row)>,
}

#[derive(Debug)]
struct Table {
    name: Rc<str>,
    contract: Contract,
    keys: BTreeMap<String, Held>,
    truncated: Option<Position>,
    incarnation: u32,
    halted: bool,
}

/// Every table of a lake.
#[derive(Debug)]
pub struct Fold {
    tables: BTreeMap<String, Table>,
    topics: BTreeMap<String, String>,
    /// Records that cannot be decoded, with the reason.
    pub undecodable: u64,
    /// Records where bronze and the oracle disagree on whether they can be decoded.
    pub decode_mismatches: Vec<String>,
    /// Records older than what was held.
    pub stale: u64,
    /// Records that were already applied.
    pub duplicates: u64,
    /// Records of tables that stand still after a source regression.
    pub halted: u64,
    /// Snapshot rows of a table that already had rows.
    pub snapshots_over_rows: u64,
    /// Topics that carry no contract.
    pub unknown_topics: BTreeSet<String>,
}

impl Fold {
    /// An empty fold. `topics` names the contract of a topic; others carry the contract that the
    /// last part of their name is called.
    ///
    /// # Errors
    /// When a built-in contract does not parse.
    pub fn new(topics: BTreeMap<String, String>) -> Result<Fold, Error> {
        let mut tables = BTreeMap::new();
        for (file, text) in schemas::contract::built_in() {
            let contract = Contract::parse(text).map_err(Error::at(file))?;
            let name = contract.name.clone();
            let (keys, truncated) = (BTreeMap::new(), None);
            let table = Table {
                name: name.as_str().into(),
                contract,
                keys,
                truncated,
                incarnation: 0,
                halted: false,
            };
            tables.insert(name, table);
        }
        Ok(Fold {
            tables,
            topics,
            undecodable: 0,
            decode_mismatches: Vec::new(),
            stale: 0,
            duplicates: 0,
            halted: 0,
            snapshots_over_rows: 0,
            unknown_topics: BTreeSet::new(),
        })
    }

    /// The contracts by name.
    pub fn contracts(&self) -> impl Iterator<Item = (&str, &Contract)> {
        self.tables.iter().map(|(name, table)| (name.as_str(), &table.contract))
    }

    /// The live rows of a table by key.
    pub fn silver(&self, contract: &str) -> BTreeMap<String, SilverRow> {
        let held = self.tables.get(contract).into_iter().flat_map(|table| &table.keys);
        let row = |(key, held): (&String, &Held)| {
            let row = Rc::clone(held.row.as_ref()?);
            let position = held.position.to_string();
            let (epoch, origin) = (held.epoch, held.origin.clone());
            Some((key.clone(), SilverRow { row, epoch, position, origin }))
        };
        held.filter_map(row).collect()
    }

    fn contract_of(&self, topic: &str) -> Option<String> {
        if let Some(contract) = self.topics.get(topic) {
            return Some(contract.clone());
        }
        let stem = [".gz", ".ndjson", ".jsonl", ".json"]
            .into_iter()
            .fold(topic, |name, end| name.strip_suffix(end).unwrap_or(name));
        let last = stem.rsplit('.').next().unwrap_or(stem);
        self.tables.contains_key(last).then(|| last.to_owned())
    }

    /// Somebody decided that this table goes on, if it stands still.
    pub fn resume(&mut self, table: &str) {
        if let Some(table) = self.tables.get_mut(table).filter(|table| table.halted) {
            table.halted = false;
            table.incarnation += 1;
        }
    }

    /// Applies one record; records must come in the order of their epochs.
    pub fn apply(&mut self, record: &Record) -> Delta {
        let Some(contract) = self.contract_of(&record.topic) else {
            self.unknown_topics.insert(record.topic.clone());
            return Delta::default();
        };
        let Some(table) = self.tables.get_mut(&contract) else { return Delta::default() };
        let decoded =
            event::decode(&table.contract, record.key.as_deref(), record.value.as_deref());
        let undecodable = matches!(decoded, Decoded::Undecodable(_));
        if undecodable != record.decode_error.is_some() {
            let said = record.decode_error.as_deref().unwrap_or("fine");
            let found = if let Decoded::Undecodable(reason) = &decoded { reason } else { "fine" };
            let place = record.place();
            self.decode_mismatches.push(format!("{place}: bronze says {said}, oracle {found}"));
        }
        self.undecodable += u64::from(undecodable);
        match decoded {
            Decoded::Change(change) => self.change(&contract, change, record),
            Decoded::Nothing | Decoded::Undecodable(_) => Delta::default(),
        }
    }

    fn change(&mut self, contract: &str, mut change: Change, record: &Record) -> Delta {
        let Some(table) = self.tables.get_mut(contract) else { return Delta::default() };
        let snapshot = change.op == Op::Snapshot;
        if table.halted {
            if !snapshot {
                self.halted += 1;
                return Delta::default();
            }
            table.halted = false;
            table.incarnation += 1;
        }
        let position = Position {
            incarnation: table.incarnation,
            sequence: change.sequence,
            snapshot,
            source_ms: change.source_ms,
            partition: record.partition,
            offset: record.offset,
        };
        if change.op == Op::Truncate {
            return table.truncate(position);
        }
        table.complete(&mut change);
        match table.judge(&change, position) {
            Verdict::Apply => {}
            Verdict::Stale => {
                self.stale += 1;
                return Delta::default();
            }
            Verdict::Duplicate => {
                self.duplicates += 1;
                return Delta::default();
            }
            Verdict::Regression => {
                table.halted = true;
                self.halted += 1;
                return Delta::default();
            }
        }
        let origin = change.origin.unwrap_or_else(|| record.topic.clone());
        let (op, row) = (change.op, change.row.clone());
        let held = Held { position, op, row, epoch: record.epoch, origin };
        let before = table.keys.insert(change.key, held).and_then(|held| held.row);
        self.snapshots_over_rows += u64::from(snapshot && before.is_some());
        let named = |row: Option<Row>| row.map(|row| (Rc::clone(&table.name), row));
        Delta {
            gone: named(before).into_iter().collect(),
            come: named(change.row).into_iter().collect(),
        }
    }
}

enum Verdict {
    Apply,
    Stale,
    Duplicate,
    Regression,
}

impl Table {
    /// Where the event has a placeholder, the row keeps the value that is held.
    fn complete(&self, change: &mut Change) {
        let held = self.keys.get(&change.key).and_then(|held| held.row.as_ref());
        let (Some(row), Some(held)) = (&mut change.row, held) else { return };
        let cells = row.iter().zip(held.iter());
        let cells = cells.map(|(new, old)| if *new == Cell::Unknown { old } else { new }.clone());
        *row = Rc::new(cells.collect());
    }

    fn judge(&self, change: &Change, position: Position) -> Verdict {
        if self.truncated.is_some_and(|at| position.order(&at) == Ordering::Less) {
            return Verdict::Stale;
        }
        let Some(held) = self.keys.get(&change.key) else { return Verdict::Apply };
        let at = &held.position;
        let same_place = at.incarnation == position.incarnation
            && at.sequence.is_some()
            && at.sequence == position.sequence;
        if same_place && held.op == change.op && held.row == change.row {
            return Verdict::Duplicate;
        }
        if position.order(at) != Ordering::Less {
            return Verdict::Apply;
        }
        let went_back = position.sequence < at.sequence && at.sequence.is_some();
        let later = at.source_ms > 0 && position.source_ms > at.source_ms;
        let live = !position.snapshot && position.sequence.is_some();
        if went_back && later && live { Verdict::Regression } else { Verdict::Stale }
    }

    fn truncate(&mut self, position: Position) -> Delta {
        let mut delta = Delta::default();
        for held in self.keys.values_mut() {
            if held.position.order(&position) == Ordering::Less {
                let gone = held.row.take();
                delta.gone.extend(gone.map(|row| (Rc::clone(&self.name), row)));
                held.position = position;
                held.op = Op::Delete;
            }
        }
        if self.truncated.is_none_or(|at| at.order(&position) == Ordering::Less) {
            self.truncated = Some(position);
        }
        delta
    }
}
