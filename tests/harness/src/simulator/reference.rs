//! A fold that is right, brute force: every record of the history in memory, ordered key by key.
//!
//! # Rules
//! - An origin is the table that the source block names, or the topic. Everything below is per origin.
//! - Two live changes of a key are ordered by the source: a row is locked until its transaction is
//!   committed, so that PostgreSQL's LSNs, too, ascend over the changes of one key. Equal places are one
//!   change that came twice. Without a comparable place: the offset in one partition, the later life of a
//!   topic, the source's clock.
//! - A change that came again stands where it stood the first time.
//! - A snapshot stands after every change that was committed when it was taken, and before all others
//!   ([`order::is_before`]). Rows of incremental snapshots likewise, at their opening watermark.
//! - A completed snapshot says that every key that it lacks was gone: of whatever came before, where
//!   snapshots are whole; else only the first completed one, of rows that an unfinished one left.
//! - A change that cannot be read leaves the row as it was, and in doubt until another one is told.
//! - A tombstone deletes the key of its message, unless the record of this key before it in its partition
//!   is a delete. The same change, coming after it again, brings the row back as it was.
//! - A value that was not sent is that of the change before; of a create with an old key, that of the old
//!   key before the create's place. What no record before has is unknown. Where the old key is not known, a
//!   row that a snapshot has of the new key may lend its value, but not to a further key.

mod decode;
mod order;

use std::collections::{BTreeMap, BTreeSet};

use super::Kind;
use super::history::{DOUBT, doubt};
use super::judge::{Cell, Rows};
use crate::bronze::Record;
use decode::{Act, Part, Row, event};
use order::{Item, Run, is_before, live_order};

/// A rule of the fold that is left out or wrong, so that tests can see that judges notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// What is read last wins.
    ReadingOrder,
    /// Offsets order changes, whatever their topic and partition.
    OffsetsAlone,
    /// The row's own place in the log orders everything, snapshots and live changes alike.
    PlacesAlone,
    /// Places of all servers are compared.
    AnyServer,
    /// Equal keys of two origins are one row.
    OneOrigin,
    /// Tombstones do nothing.
    NoTombstones,
    /// Truncates do nothing.
    NoTruncates,
    /// A truncate of one origin empties all.
    TruncatesAll,
    /// No snapshot says anything of rows that it lacks.
    NoSweep,
    /// Every completed snapshot deletes what it lacks.
    AlwaysSweeps,
    /// A completed snapshot deletes rows that are newer, too.
    SweepsNewer,
    /// A value that was not sent is null.
    NullForUnsent,
    /// The old key of a create is not read.
    NoOldKey,
    /// A lower place in a partition ends the reading of its table.
    HaltsOnLower,
    /// Rows of incremental snapshots are dropped.
    NoIncremental,
    /// Changes that cannot be read do nothing.
    NoDoubt,
    /// A row that was in doubt stays so.
    DoubtStays,
    /// Any change of a row that is read later ends its doubt, an older one too.
    OlderEndsDoubt,
    /// The source's clock orders everything.
    ClocksAlone,
    /// MongoDB's clock is read without the number within its second.
    SecondsAlone,
    /// A log never begins anew.
    OneTimeline,
    /// A column that an event does not have is null.
    NullForAbsent,
}

/// The rows after these records. `whole` says that every snapshot is.
pub fn fold(kind: Kind, whole: bool, records: &[Record], defect: Option<Defect>) -> Rows {
    let mut tables = collect(kind, records, defect);
    let mut rows = Rows::new();
    let truncates = all_truncates(&tables);
    for (origin, table) in &mut tables {
        if defect == Some(Defect::TruncatesAll) {
            table.truncates = truncates.clone();
        }
        let fold = Fold { table, kind, whole, defect };
        for key in table.keys.keys() {
            if let Some(held) = fold.rows_of(key, None).pop().and_then(|step| step.after) {
                let mut row = held.row;
                row.insert(DOUBT.into(), doubt(held.is_unread));
                rows.insert((origin.clone(), key.clone()), row);
            }
        }
    }
    rows
}

fn all_truncates(tables: &BTreeMap<String, Table>) -> Vec<Item> {
    tables.values().flat_map(|table| table.truncates.iter().cloned()).collect()
}

/// What is known of an origin.
#[derive(Debug, Default)]
struct Table {
    keys: BTreeMap<String, Vec<Item>>,
    truncates: Vec<Item>,
    runs: Vec<Run>,
    is_halted: bool,
}

/// What the reading of records needs to know of those before.
#[derive(Debug, Default)]
struct Reading {
    /// Lives of topics, in the order in which they were first read.
    lives: BTreeMap<String, Vec<String>>,
    /// By partition and message key: the row that the last record is of, and whether it is a delete.
    last: BTreeMap<(Part, Vec<u8>), (String, String, bool)>,
    number: i64,
}

fn collect(kind: Kind, records: &[Record], defect: Option<Defect>) -> BTreeMap<String, Table> {
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    let mut reading = Reading::default();
    for record in records {
        let lives = reading.lives.entry(record.topic.clone()).or_default();
        if !lives.contains(&record.incarnation) {
            lives.push(record.incarnation.clone());
        }
        let life = lives.iter().position(|life| *life == record.incarnation).unwrap_or(0);
        reading.number += 1;
        let part = (record.topic.clone(), life, record.partition);
        let (part_of, offset, read) = (part.clone(), record.offset, reading.number);
        let mut item = Item { part: part_of, offset, read, ..Item::default() };
        match defect {
            Some(Defect::ReadingOrder) => {
                (item.part, item.offset) = (Part::default(), reading.number);
            }
            Some(Defect::OffsetsAlone) => item.part = Part::default(),
            _ => {}
        }
        let message_key = (part, record.key.clone().unwrap_or_default());
        let Some(mut event) = event(kind, record) else {
            tombstone(&mut tables, &reading, &message_key, item, defect);
            continue;
        };
        if matches!(defect, Some(Defect::ReadingOrder | Defect::OffsetsAlone)) {
            event.place = None;
        }
        if defect == Some(Defect::OneOrigin) {
            event.origin = "one".into();
        }
        item.place = event.place;
        (item.ms, item.clock_ms) = (event.ms, event.clock_ms);
        if defect == Some(Defect::ClocksAlone) {
            item.ms = event.clock_ms;
        }
        if defect == Some(Defect::SecondsAlone) && kind == Kind::MongoDb {
            item.place =
                item.place.map(|place| decode::Place { commit: place.commit >> 32, ..place });
        }
        let is_delete = matches!(event.act, Act::Delete);
        reading.last.insert(message_key, (event.origin.clone(), event.key.clone(), is_delete));
        let table = tables.entry(event.origin.clone()).or_default();
        table.add(event, item, kind, defect);
    }
    if defect != Some(Defect::OneTimeline) {
        tables.values_mut().for_each(Table::tell_timelines);
    }
    if defect != Some(Defect::NullForAbsent) {
        tables.values_mut().for_each(Table::lose_amounts);
    }
    tables
}

fn tombstone(
    tables: &mut BTreeMap<String, Table>,
    reading: &Reading,
    message_key: &(Part, Vec<u8>),
    mut item: Item,
    defect: Option<Defect>,
) {
    let Some((origin, key, is_delete)) = reading.last.get(message_key) else { return };
    if *is_delete || defect == Some(Defect::NoTombstones) {
        return;
    }
    item.act = Act::Tombstone;
    if let Some(table) = tables.get_mut(origin) {
        table.keys.entry(key.clone()).or_default().push(item);
    }
}

impl Table {
    /// A row without an amount, behind the first of the table that has one, lost it.
    fn lose_amounts(&mut self) {
        let when = |item: &Item| (item.place.map(|place| place.timeline), item.ms, item.place);
        let has_amount = |item: &&Item| matches!(&item.act, Act::Upsert { row, .. } if row.contains_key("amount"));
        let Some(first) = self.keys.values().flatten().filter(has_amount).map(when).min() else {
            return;
        };
        for item in self.keys.values_mut().flatten().filter(|item| when(item) > first) {
            if let Act::Upsert { row, .. } = &mut item.act
                && !row.contains_key("amount")
            {
                row.insert("amount".into(), Cell::Unknown);
                item.lacks_amount = true;
            }
        }
    }

    /// A whole snapshot below what was there minutes before: the log began anew. What is of the new one a partition
    /// says that has rows of the snapshot, and elsewhere the source's clock. A snapshot of one row does not say when
    /// it was taken, and so is before nothing.
    fn tell_timelines(&mut self) {
        let Table { keys, truncates, runs, .. } = self;
        for item in keys.values_mut().flatten().filter(|item| item.clock_ms == 0) {
            let run = item.run.and_then(|run| runs.get(run));
            item.clock_ms = run.map_or(0, |run| run.clock_ms);
        }
        let all = || keys.values().flatten().chain(&*truncates);
        let is_back = |run: &&Run| {
            let is_below = |item: &Item| {
                let is_lower = item.place.zip(run.place).is_some_and(|(a, b)| a.commit > b.commit);
                let is_earlier = item.clock_ms != 0 && item.clock_ms + 60_000 < run.clock_ms;
                is_lower && is_earlier && !run.is_behind(item)
            };
            all().any(is_below)
        };
        let begun: Vec<Run> = runs.iter().filter(is_back).cloned().collect();
        for item in keys.values_mut().flatten().chain(truncates) {
            let timeline = begun.iter().filter(|run| run.is_behind(item)).count() as u64;
            item.place.iter_mut().for_each(|place| place.timeline = timeline);
        }
        for run in runs {
            let timeline = begun.iter().filter(|begun| begun.clock_ms <= run.clock_ms).count();
            run.place.iter_mut().for_each(|place| place.timeline = timeline as u64);
        }
    }

    fn add(&mut self, event: decode::Event, mut item: Item, kind: Kind, defect: Option<Defect>) {
        if defect == Some(Defect::HaltsOnLower) {
            let held = self.keys.values().flatten().filter(|held| held.part == item.part);
            let is_lower = held.into_iter().any(|held| live_order(kind, &item, held).is_lt());
            self.is_halted |= is_lower && event.marker == "false";
            if self.is_halted {
                return;
            }
        }
        let is_incremental = event.marker == "incremental";
        if is_incremental && defect == Some(Defect::NoIncremental) {
            return;
        }
        item.is_snapshot = event.place.is_some() && event.marker != "false";
        let is_run = item.is_snapshot && !is_incremental;
        if is_run {
            let is_its = |run: &Run| {
                let is_timed = run.clock_ms != 0 && item.clock_ms != 0;
                (run.place, run.ms) == (item.place, item.ms)
                    && !(is_timed && run.clock_ms != item.clock_ms)
            };
            let known = self.runs.iter().rposition(is_its);
            let at = known.unwrap_or_else(|| {
                let (place, ms, clock_ms) = (item.place, item.ms, item.clock_ms);
                self.runs.push(Run { place, ms, clock_ms, ..Run::default() });
                self.runs.len() - 1
            });
            if let Some(run) = self.runs.get_mut(at) {
                run.is_complete |= event.marker == "last";
                run.clock_ms = run.clock_ms.max(item.clock_ms);
                run.first.entry(item.part.clone()).or_insert(item.offset);
                item.run = Some(at);
            }
        }
        item.act = event.act;
        if matches!(item.act, Act::Truncate) {
            if defect != Some(Defect::NoTruncates) {
                self.truncates.push(item);
            }
            return;
        }
        self.keys.entry(event.key).or_default().push(item);
    }
}

/// A row as it is after a change.
#[derive(Debug, Clone)]
struct Held {
    row: Row,
    /// The snapshot that told of it.
    run: Option<usize>,
    /// Columns that a create did not send, and that are those of a row that was there: of a snapshot
    /// taken after the create, whose row may be another one by then.
    borrowed: BTreeSet<String>,
    /// A newer change could not be read.
    is_unread: bool,
}

/// A change of a key, and the row after it.
#[derive(Debug, Clone)]
struct Step {
    item: Item,
    after: Option<Held>,
}

struct Fold<'a> {
    table: &'a Table,
    kind: Kind,
    whole: bool,
    defect: Option<Defect>,
}

impl Fold<'_> {
    /// The changes of a key in their order, with the rows after them; those below a place, if one is
    /// given.
    fn rows_of(&self, key: &str, below: Option<&Item>) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for item in self.ordered(key) {
            if below.is_some_and(|below| !self.is_below(&item, below)) {
                continue;
            }
            let before = steps.last().and_then(|step| step.after.clone());
            let again = steps.iter().find(|step| {
                !item.is_snapshot
                    && item.place.is_some()
                    && step.item.place == item.place
                    && !step.item.is_snapshot
            });
            let after = match (&item.act, again) {
                (Act::Upsert { .. }, Some(again)) => again.after.clone(),
                (Act::Upsert { row, old_key }, None) => {
                    Some(self.filled(row, old_key.as_deref(), &item, before.as_ref()))
                }
                (Act::Unreadable, _) => {
                    before.map(|held| Held { is_unread: self.is_doubt(key, &item), ..held })
                }
                (Act::Missing, _) => before.filter(|held| !self.is_swept(&item, held.run)),
                _ => None,
            };
            steps.push(Step { item, after });
        }
        steps
    }

    /// Whether a change that cannot be read puts its row in doubt.
    fn is_doubt(&self, key: &str, unread: &Item) -> bool {
        let is_later =
            |item: &Item| item.read > unread.read && matches!(item.act, Act::Upsert { .. });
        match self.defect {
            Some(Defect::NoDoubt) => false,
            Some(Defect::OlderEndsDoubt) => {
                !self.table.keys.get(key).into_iter().flatten().any(is_later)
            }
            _ => true,
        }
    }

    /// Whether a completed snapshot that lacks a row says that it is gone. `told` is the snapshot that
    /// told of the row, if one did.
    fn is_swept(&self, missing: &Item, told: Option<usize>) -> bool {
        if self.whole || self.defect == Some(Defect::AlwaysSweeps) {
            return true;
        }
        let complete = self.table.runs.iter().enumerate().filter(|(_, run)| run.is_complete);
        let first = complete.min_by_key(|(_, run)| run.ms).map(|(at, _)| at);
        let told = told.and_then(|at| self.table.runs.get(at));
        first == missing.run && told.is_some_and(|run| !run.is_complete)
    }

    fn filled(&self, row: &Row, old_key: Option<&str>, item: &Item, before: Option<&Held>) -> Held {
        let stays = self.defect == Some(Defect::DoubtStays);
        let is_unread = stays && before.is_some_and(|before| before.is_unread);
        let (run, borrowed) = (item.run, BTreeSet::new());
        let mut held = Held { row: row.clone(), run, borrowed, is_unread };
        let unsent = held.row.iter_mut().filter(|(column, cell)| {
            **cell == Cell::Unknown && !(item.lacks_amount && *column == "amount")
        });
        if self.defect == Some(Defect::NullForUnsent) {
            unsent.for_each(|(_, cell)| *cell = Cell::Null);
            return held;
        }
        let old_key = old_key.filter(|_| self.defect != Some(Defect::NoOldKey));
        let moved = old_key.and_then(|key| self.row_before(key, item));
        for (column, cell) in unsent {
            // PostgreSQL leaves out no null: where one is held, a change in between was not seen.
            let is_value = |cell: &&Cell| match cell {
                Cell::Value(_) => true,
                Cell::Null => self.kind.leaves_out_nulls(),
                Cell::Unknown => false,
            };
            let known = |row: &Row| row.get(column).filter(is_value).cloned();
            if let Some(known) = moved.as_ref().and_then(known) {
                *cell = known;
            } else if let Some((before, known)) =
                before.and_then(|before| Some((before, known(&before.row)?)))
            {
                *cell = known;
                if old_key.is_some() || before.borrowed.contains(column) {
                    held.borrowed.insert(column.clone());
                }
            }
        }
        held
    }

    /// The last row of a key below the place of a change.
    fn row_before(&self, key: &str, item: &Item) -> Option<Row> {
        let steps = self.rows_of(key, Some(item));
        let Held { mut row, borrowed, .. } = steps.into_iter().rev().find_map(|step| step.after)?;
        for column in borrowed {
            row.insert(column, Cell::Unknown);
        }
        Some(row)
    }

    fn is_below(&self, item: &Item, live: &Item) -> bool {
        match item.is_snapshot {
            // A change that is streamed after a snapshot may be older than it: then the key's row there may
            // be another one.
            true => live.ms > item.ms && !is_before(self.kind, live, item, None, self.defect),
            false => live_order(self.kind, item, live).is_lt(),
        }
    }

    fn ordered(&self, key: &str) -> Vec<Item> {
        let own = self.table.keys.get(key).into_iter().flatten().chain(&self.table.truncates);
        let (mut live, mut snapshots, mut tombstones) = (Vec::new(), Vec::new(), Vec::new());
        for item in own {
            match item.act {
                Act::Tombstone => tombstones.push(item.clone()),
                _ if item.is_snapshot => snapshots.push(item.clone()),
                _ => live.push(item.clone()),
            }
        }
        if self.defect != Some(Defect::NoSweep) {
            let runs = self.table.runs.iter().enumerate().filter(|(_, run)| run.is_complete);
            snapshots.extend(runs.map(|(at, run)| run.missing(at)));
        }
        live.sort_by(|a, b| match self.defect {
            Some(Defect::AnyServer) => order::any_server(a, b),
            Some(Defect::ClocksAlone) => a.ms.cmp(&b.ms),
            _ => live_order(self.kind, a, b),
        });
        let timeline = |item: &Item| item.place.map(|place| place.timeline);
        snapshots.sort_by_key(|item| {
            (timeline(item), item.ms, item.place, item.part != Part::default())
        });
        let mut list = live;
        let mut least = 0;
        for snapshot in snapshots {
            let run = snapshot.run.and_then(|at| self.table.runs.get(at));
            let run = run.filter(|_| matches!(snapshot.act, Act::Missing));
            let precedes = |item: &Item| {
                !item.is_snapshot && is_before(self.kind, item, &snapshot, run, self.defect)
            };
            // A change that came again stands where it stood the first time.
            let is_known = |item: &Item| {
                let is_same = |other: &&Item| item.place.is_some() && item.place == other.place;
                !item.is_snapshot && list.iter().filter(is_same).any(precedes)
            };
            let sweeps_all = self.defect == Some(Defect::SweepsNewer) && run.is_some();
            let older = |item: &Item| sweeps_all || precedes(item) || is_known(item);
            let after = list.iter().rposition(older).map_or(0, |last| last + 1);
            least = after.max(least);
            list.insert(least, snapshot);
            least += 1;
        }
        tombstones.sort_by_key(|item| item.offset);
        for tombstone in tombstones {
            let earlier =
                |item: &Item| item.part == tombstone.part && item.offset < tombstone.offset;
            let after = list.iter().rposition(earlier).map_or(0, |last| last + 1);
            list.insert(after, tombstone);
        }
        list
    }
}
