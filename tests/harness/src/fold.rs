//! Silver, folded again: for each key the change with the highest position wins.
//!
//! # Guarantees
//! - The rules are those of the architecture, one record at a time, nothing sharded or batched.
//!
//! # Non-guarantees
//! - The sweep after a repeated full snapshot (keys that it did not contain) is not modelled;
//!   [`Fold::snapshots_over_rows`] counts the snapshot rows that would make it matter.

mod doubt;
mod moved;
mod retry;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use schemas::Contract;

use crate::Error;
use crate::bronze::Record;
use crate::event::{self, Cell, Change, Decoded, Op, Row};
use moved::{Leave, Waiting};

/// Where a change came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    incarnation: u32,
    /// The last commit before it, and its place in the log.
    place: Option<(Option<u64>, u64)>,
    snapshot: bool,
    source_ms: i64,
    topic: usize,
    partition: i32,
    offset: i64,
}

impl Position {
    /// Incarnation, then what PostgreSQL's log says, then where the record lies.
    fn order(&self, other: &Position) -> Ordering {
        let incarnation = self.incarnation.cmp(&other.incarnation);
        let by_log = match (self.place, other.place) {
            (Some(own), Some(its)) => self.order_in_log(own, other, its),
            _ => Ordering::Equal,
        };
        incarnation.then(by_log).then_with(|| self.order_of_records(other))
    }

    fn order_in_log(
        &self,
        own: (Option<u64>, u64),
        other: &Position,
        its: (Option<u64>, u64),
    ) -> Ordering {
        // A change lies before its commit, which lies behind the one before.
        let reached = |place: (Option<u64>, u64)| place.1.max(place.0.unwrap_or(0));
        let lane = |at: &Position| (at.topic, at.partition);
        match (self.snapshot, other.snapshot) {
            (true, true) => reached(own).cmp(&reached(its)),
            (false, false) if own.0.is_some() && its.0.is_some() => own.cmp(&its),
            (false, false) => (self.source_ms, own.1).cmp(&(other.source_ms, its.1)),
            (true, false) => other.order_in_log(its, self, own).reverse(),
            (false, true) if reached(own) >= reached(its) => Ordering::Greater,
            (false, true) if lane(self) == lane(other) => self.offset.cmp(&other.offset),
            (false, true) if self.source_ms > other.source_ms && other.source_ms > 0 => {
                Ordering::Greater
            }
            (false, true) => Ordering::Less,
        }
    }

    /// Whether a log or a partition orders both.
    fn is_known_with(&self, other: &Position) -> bool {
        let lane = |at: &Position| (at.topic, at.partition);
        (self.place.is_some() && other.place.is_some()) || lane(self) == lane(other)
    }

    /// Whether a row is surely later than a change of a key: then it is another row that has the old key now.
    fn is_behind(&self, change: &Position) -> bool {
        self.is_known_with(change) && self.order(change) == Ordering::Greater
    }

    fn order_of_records(&self, other: &Position) -> Ordering {
        if (self.topic, self.partition) == (other.topic, other.partition) {
            return self.offset.cmp(&other.offset);
        }
        let has_clocks = self.source_ms != 0 && other.source_ms != 0;
        let clock = if has_clocks { self.source_ms.cmp(&other.source_ms) } else { Ordering::Equal };
        let by_topic = self.topic.cmp(&other.topic);
        let life = if has_clocks { Ordering::Equal } else { by_topic };
        let rank = |p: &Position| (!p.snapshot, p.topic, p.partition, p.offset);
        clock.then(life).then_with(|| rank(self).cmp(&rank(other)))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.map(|(commit, lsn)| {
            let commit = commit.map(|commit| commit.to_string()).unwrap_or_default();
            format!("{commit}+{lsn}")
        });
        let place = place.unwrap_or_default();
        let kind = if self.snapshot { "s" } else { "l" };
        let Position { incarnation, source_ms, topic, partition, offset, .. } = self;
        write!(f, "{incarnation}/{place}/{kind}/{source_ms}/{topic}/{partition}/{offset}")
    }
}

/// What is held of a key: its row, or that it was deleted.
#[derive(Debug, Clone)]
struct Held {
    position: Position,
    op: Op,
    row: Option<Row>,
    epoch: i64,
    /// By column that the newest change left out, the change that sent its value.
    carried: BTreeMap<usize, Position>,
    /// A newer change of the row that could not be read.
    unread: Option<Position>,
}

impl Held {
    fn position(&self) -> String {
        let carried = self.carried.iter().map(|(column, at)| format!(";{column}={at}"));
        let unread = self.unread.iter().map(|at| format!(";unread={at}"));
        std::iter::once(self.position.to_string()).chain(carried).chain(unread).collect()
    }
}

/// Origin and key.
pub type Id = (String, String);

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
    /// Rows before, each with its contract, and its origin and key.
    pub gone: Vec<(Rc<str>, Id, Row)>,
    /// Rows after.
    pub come: Vec<(Rc<str>, Id, Row)>,
    /// The contract of the record, if there is one.
    pub contract: Option<String>,
    /// The table of the source that the record names; its topic when it names none.
    pub origin: String,
}

impl Delta {
    /// And then another change of rows.
    fn then(mut self, later: Delta) -> Delta {
        self.gone.extend(later.gone);
        self.come.extend(later.come);
        self
    }
}

#[derive(Debug)]
struct Table {
    name: Rc<str>,
    contract: Contract,
    keys: BTreeMap<Id, Held>,
    origins: BTreeMap<String, Origin>,
    /// Lives of topics, as they were seen first.
    topics: Vec<(String, String, String)>,
    moved: Waiting,
    /// Rows that left their key, as it was told.
    left: Vec<Leave>,
    /// By life of a topic and partition, the row whose delete was its last change.
    deleted: BTreeMap<(usize, i32), Id>,
    /// Newest changes that could not be read, of keys without a row.
    unplaced: BTreeMap<Id, Position>,
    /// The origins that came by a life of a topic.
    ways: BTreeMap<usize, Vec<String>>,
}

#[derive(Debug, Default)]
struct Origin {
    truncated: Option<Position>,
    incarnation: u32,
    halted: bool,
    /// By column, the change that was the first seen to have it.
    sent: BTreeMap<usize, Position>,
    /// Columns that some change lacked.
    lacked: BTreeSet<usize>,
    /// By each time that it began anew, the first epoch all of which came behind that.
    begun: Vec<i64>,
    /// Whether any row of it was ever deleted.
    has_deleted: bool,
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
            let table = Table {
                name: name.as_str().into(),
                contract,
                keys: BTreeMap::new(),
                origins: BTreeMap::new(),
                topics: Vec::new(),
                moved: Waiting::new(),
                left: Vec::new(),
                deleted: BTreeMap::new(),
                unplaced: BTreeMap::new(),
                ways: BTreeMap::new(),
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

    /// The live rows of a table by [`row_id`].
    pub fn silver(&self, contract: &str) -> BTreeMap<String, SilverRow> {
        let held = self.tables.get(contract).into_iter().flat_map(|table| &table.keys);
        let row = |((origin, key), held): (&Id, &Held)| {
            let row = Rc::clone(held.row.as_ref()?);
            let (position, epoch, origin) = (held.position(), held.epoch, origin.clone());
            Some((row_id(key, &origin), SilverRow { row, epoch, position, origin }))
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
    pub fn resume(&mut self, table: &str, epoch: i64) {
        let origins = self.tables.get_mut(table).into_iter().flat_map(|t| t.origins.values_mut());
        for origin in origins.filter(|origin| origin.halted) {
            origin.halted = false;
            origin.incarnation += 1;
            origin.begun.push(epoch);
        }
    }

    /// Applies one record; records must come in the order of their epochs.
    pub fn apply(&mut self, record: &Record) -> Delta {
        let Some(contract) = self.contract_of(&record.topic) else {
            self.unknown_topics.insert(record.topic.clone());
            return Delta { origin: record.topic.clone(), ..Delta::default() };
        };
        let Some(table) = self.tables.get_mut(&contract) else { return Delta::default() };
        let topic = table.life(record);
        let decoded =
            event::decode(&table.contract, record.key.as_deref(), record.value.as_deref());
        let (mut problem, mut delta) = (None, Delta::default());
        let named = match &decoded {
            Decoded::Change(change) => change.origin.clone(),
            Decoded::Null(..) => None,
            _ => table.origin_of(record),
        };
        match decoded {
            Decoded::Change(mut change) => {
                change.other = event::other_key(&table.contract, &record.headers, change.op);
                match self.change(&contract, change, record, topic) {
                    Ok(changed) => delta = changed,
                    Err((changed, reason)) => (delta, problem) = (changed, Some(reason)),
                }
            }
            Decoded::Nothing => {}
            Decoded::Null(key, of) => delta = table.bury((&key, of.as_deref()), topic, record),
            Decoded::Undecodable(reason) => {
                delta = table.unreadable(record, topic);
                problem = Some(reason);
            }
        }
        if problem.is_some() != record.decode_error.is_some() {
            let said = record.decode_error.as_deref().unwrap_or("fine");
            let found = problem.as_deref().unwrap_or("fine");
            let place = record.place();
            self.decode_mismatches.push(format!("{place}: bronze says {said}, oracle {found}"));
        }
        self.undecodable += u64::from(problem.is_some());
        delta.origin = named.unwrap_or_else(|| record.topic.clone());
        delta.contract = Some(contract);
        delta
    }

    fn change(
        &mut self,
        contract: &str,
        mut change: Change,
        record: &Record,
        topic: usize,
    ) -> Result<Delta, (Delta, String)> {
        let Some(table) = self.tables.get_mut(contract) else { return Ok(Delta::default()) };
        let lane = (topic, record.partition);
        let name = change.origin.clone().unwrap_or_else(|| record.topic.clone());
        if change.op == Op::Delete {
            table.deleted.insert(lane, (name.clone(), change.key.clone()));
        } else if table.deleted.get(&lane).is_some_and(|(_, last)| *last == change.key) {
            table.deleted.remove(&lane);
        }
        table.came_by(topic, &name);
        let origin = table.origins.entry(name.clone()).or_default();
        let is_whole = change.op == Op::Snapshot && !change.is_incremental;
        if origin.halted {
            if !is_whole {
                self.halted += 1;
                return Ok(Delta::default());
            }
            origin.halted = false;
            origin.incarnation += 1;
            origin.begun.push(record.epoch + 1);
        }
        let position = Position {
            incarnation: origin.incarnation,
            place: change.place,
            snapshot: change.op == Op::Snapshot,
            source_ms: change.source_ms,
            topic,
            partition: record.partition,
            offset: record.offset,
        };
        if change.op == Op::Truncate {
            return Ok(table.truncate(&name, position));
        }
        let lost = table.lack(&name, &mut change, &position, record.epoch);
        match self.place(contract, (name, change.key.clone()), change, position, record) {
            Ok(delta) => Ok(lost.then(delta)),
            Err((delta, reason)) => Err((lost.then(delta), reason)),
        }
    }

    /// A change of one row, by what is held of it.
    fn place(
        &mut self,
        contract: &str,
        id: Id,
        change: Change,
        position: Position,
        record: &Record,
    ) -> Result<Delta, (Delta, String)> {
        let Some(table) = self.tables.get_mut(contract) else { return Ok(Delta::default()) };
        let verdict = table.judge(&id, &change, position);
        if let Verdict::Stale = verdict {
            self.stale += 1;
            return Ok(table.late(&id, &change, position, record.epoch));
        }
        if let Verdict::Regression = verdict {
            table.origins.entry(id.0).or_default().halted = true;
            self.halted += 1;
            return Ok(Delta::default());
        }
        self.settle(contract, id, change, position, record.epoch)
    }

    /// The newest change of a row: what it leaves.
    fn settle(
        &mut self,
        contract: &str,
        id: Id,
        mut change: Change,
        position: Position,
        epoch: i64,
    ) -> Result<Delta, (Delta, String)> {
        let Some(table) = self.tables.get_mut(contract) else { return Ok(Delta::default()) };
        let op = change.op;
        let carried = match table.complete(&id, &mut change, position) {
            Ok(carried) => carried,
            Err(reason) => return Err((table.doubt(&id, position, epoch), reason)),
        };
        let unread = table.mark(&id, &mut change, &position);
        let row = change.row.clone();
        let of_row = unread.filter(|_| row.is_some());
        let held = Held { position, op, row, epoch, carried, unread: of_row };
        if table.is_doubled(&id, &held) {
            self.duplicates += 1;
            return Ok(Delta::default());
        }
        table.keep_unplaced(&id, unread.filter(|_| held.row.is_none()));
        let before = table.keys.insert(id.clone(), held);
        let mut delta = Delta::default();
        if op == Op::Delete {
            table.origins.entry(id.0.clone()).or_default().has_deleted = true;
            if let Some(to) = &change.other {
                delta = table.hand_over(&id, to, position, before.as_ref(), epoch);
            }
        }
        let before = before.and_then(|held| held.row);
        self.snapshots_over_rows += u64::from(position.snapshot && before.is_some());
        let named = |row: Option<Row>| row.map(|row| (Rc::clone(&table.name), id.clone(), row));
        delta.gone.extend(named(before));
        delta.come.extend(named(change.row));
        Ok(delta)
    }
}

/// The key of a row together with the origin that it is of.
pub fn row_id(key: &str, origin: &str) -> String {
    format!("{key} of {origin}")
}

/// Whether a table of a source may write the topic of this name, before a router takes it elsewhere.
fn is_named(origin: &str, topic: &str) -> bool {
    let (own, parts): (Vec<&str>, Vec<&str>) =
        (origin.split('.').collect(), topic.split('.').collect());
    let is_within = parts.iter().all(|part| own.contains(part));
    is_within && own[0] == parts[0] && own[own.len() - 1] == parts[parts.len() - 1]
}

/// What a cell of before says of one that the change at a position left out. PostgreSQL sends nulls: another value
/// came in between.
fn lent(cell: &Cell, position: &Position) -> Cell {
    match cell {
        Cell::Null if position.place.is_some() => Cell::Unknown,
        cell => cell.clone(),
    }
}

enum Verdict {
    Apply,
    Stale,
    Regression,
}

impl Table {
    /// Where the event has a placeholder, the row keeps the value that is known, of its old key first;
    /// says which change sent it.
    fn complete(
        &mut self,
        id: &Id,
        change: &mut Change,
        position: Position,
    ) -> Result<BTreeMap<usize, Position>, String> {
        let mut carried = BTreeMap::new();
        let is_its = |row: &&Held| !row.position.is_behind(&position);
        let waiting = self.waiting_for(id, &position).filter(|_| change.other.is_some()).cloned();
        let Some(row) = &mut change.row else { return Ok(carried) };
        let old = change.other.as_ref().map(|old| (id.0.clone(), old.clone()));
        let under_old = old.and_then(|old| self.keys.get(&old)).filter(is_its);
        let mut cells = row.to_vec();
        let sources = [waiting.as_ref().or(under_old), self.keys.get(id)];
        for (held, known) in
            sources.into_iter().flatten().filter_map(|held| Some((held, held.row.as_ref()?)))
        {
            for (column, cell) in cells.iter_mut().enumerate().take(self.contract.columns.len()) {
                let is_left_out = *cell == Cell::Unknown && !carried.contains_key(&column);
                let is_absent = change.absent.contains(&column);
                let is_known = known[column] != Cell::Unknown || held.carried.contains_key(&column);
                if is_left_out && !is_absent && is_known {
                    *cell = lent(&known[column], &position);
                    carried.insert(column, *held.carried.get(&column).unwrap_or(&held.position));
                }
            }
        }
        let columns = self.contract.columns.iter().zip(&cells);
        if let Some((column, _)) =
            columns.into_iter().find(|(column, cell)| column.required && **cell == Cell::Unknown)
        {
            return Err(format!("column {} is required and was never sent", column.name));
        }
        *row = Rc::new(cells);
        if waiting.is_some() {
            self.came(id, &position);
        }
        carried.extend(change.absent.iter().map(|column| (*column, position)));
        Ok(carried)
    }

    /// An older change may have what the newest left out.
    fn fill(
        &mut self,
        id: &Id,
        (row, lacks): (Option<&Row>, &BTreeMap<usize, Position>),
        (at, is_moved): (Position, bool),
        epoch: i64,
    ) -> Delta {
        let mut delta = Delta::default();
        let (Some(held), Some(row)) = (self.keys.get_mut(id), row) else { return delta };
        let Some(old) = held.row.clone() else { return delta };
        let mut cells = old.to_vec();
        let mut is_filled = false;
        for (column, cell) in cells.iter_mut().enumerate().take(self.contract.columns.len()) {
            let is_older = held.carried.get(&column).map(|from| {
                (!is_moved || from.is_known_with(&at)) && from.order(&at) == Ordering::Less
            });
            let is_told = row[column] != Cell::Unknown || lacks.contains_key(&column);
            if is_told && is_older.unwrap_or(*cell == Cell::Unknown) {
                *cell = lent(&row[column], &held.position);
                held.carried.insert(column, at);
                is_filled = true;
            }
        }
        if is_filled {
            let new: Row = Rc::new(cells);
            (held.row, held.epoch) = (Some(Rc::clone(&new)), epoch);
            delta.gone.push((Rc::clone(&self.name), id.clone(), old));
            delta.come.push((Rc::clone(&self.name), id.clone(), new));
        }
        delta
    }

    /// A null value deletes what its partition brought last of that key, of the table that the key names beside.
    fn bury(&mut self, (key, of): (&str, Option<&str>), topic: usize, record: &Record) -> Delta {
        let lane = (topic, record.partition);
        let mut names = self.ways.get(&topic).cloned().unwrap_or_default();
        let server = |name: &str| name.split('.').next().map(str::to_owned);
        let is_topic = names.contains(&record.topic);
        let is_told = |of: &&str| names.iter().any(|name| server(name) == server(of));
        if let Some(of) = of.filter(is_told).filter(|_| !is_topic) {
            names.retain(|name| is_named(name, of));
        }
        if self.deleted.get(&lane).is_some_and(|(name, last)| last == key && names.contains(name)) {
            return Delta::default();
        }
        let here = |(id, held): &(&Id, &mut Held)| {
            let (at, is_of) = (held.position, names.contains(&id.0));
            is_of && id.1 == key && (at.topic, at.partition) == lane && at.offset < record.offset
        };
        let mut delta = Delta::default();
        self.forget_before(key, &names, lane, record.offset);
        let newest = self.keys.iter_mut().filter(here).max_by_key(|(_, held)| held.position.offset);
        let Some((id, held)) = newest else { return delta };
        if held.row.is_some() && !self.origins.get(&id.0).is_some_and(|origin| origin.halted) {
            let gone = held.row.take();
            delta.gone.extend(gone.map(|row| (Rc::clone(&self.name), id.clone(), row)));
            if held.position.place.is_none() {
                held.position.offset = record.offset;
            }
            held.op = Op::Delete;
            held.carried.clear();
            let at = held.position;
            let is_before =
                |own: &Position| (own.topic, own.partition) == lane && own.offset < record.offset;
            let unread = held.unread.take().filter(|own| own.is_newer(&at) && !is_before(own));
            let id = id.clone();
            self.origins.entry(id.0.clone()).or_default().has_deleted = true;
            self.keep_unplaced(&id, unread);
        }
        delta
    }

    /// Whether the same was said at the same place before.
    fn is_doubled(&self, id: &Id, came: &Held) -> bool {
        let Some(held) = self.keys.get(id) else { return false };
        let one = |held: &Held| (held.position.incarnation, held.position.place);
        let same_place = held.position.place.is_some() && one(held) == one(came);
        let same_kind = held.position.snapshot == came.position.snapshot;
        let same = held.row == came.row && held.carried == came.carried;
        let same = same && held.unread == came.unread;
        same_place && same_kind && same
    }

    fn judge(&self, id: &Id, change: &Change, position: Position) -> Verdict {
        let truncated = self.origins.get(&id.0).and_then(|origin| origin.truncated);
        let held = self.keys.get(id);
        if held.is_none_or(|held| held.row.is_none())
            && truncated.is_some_and(|at| position.order(&at) == Ordering::Less)
        {
            return Verdict::Stale;
        }
        let Some(held) = held else { return Verdict::Apply };
        let at = &held.position;
        let went_back = match (at.place, position.place) {
            (Some((Some(own), _)), Some((Some(came), _))) => came < own && !at.snapshot,
            _ => false,
        };
        let later = at.source_ms > 0 && position.source_ms > at.source_ms;
        let is_one_life = at.incarnation == position.incarnation;
        if went_back && later && is_one_life && !position.snapshot && !change.is_incremental {
            return Verdict::Regression;
        }
        let is_older = position.order(at) == Ordering::Less;
        if is_older { Verdict::Stale } else { Verdict::Apply }
    }

    fn truncate(&mut self, name: &str, position: Position) -> Delta {
        let mut delta = Delta::default();
        self.unplaced.retain(|id, unread| id.0 != name || unread.is_newer(&position));
        let mut left = Vec::new();
        for (id, held) in self.keys.iter_mut().filter(|(id, _)| id.0 == name) {
            if held.position.order(&position) == Ordering::Less {
                let gone = held.row.take();
                delta.gone.extend(gone.map(|row| (Rc::clone(&self.name), id.clone(), row)));
                held.position = position;
                held.op = Op::Delete;
                held.carried.clear();
                let unread = held.unread.take().filter(|unread| unread.is_newer(&position));
                left.extend(unread.map(|unread| (id.clone(), unread)));
            }
        }
        left.into_iter().for_each(|(id, unread)| self.keep_unplaced(&id, Some(unread)));
        let origin = self.origins.entry(name.to_owned()).or_default();
        origin.has_deleted = true;
        if origin.truncated.is_none_or(|at| at.order(&position) == Ordering::Less) {
            origin.truncated = Some(position);
        }
        delta
    }
}
