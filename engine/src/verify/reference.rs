//! The reference fold: what silver must hold, by the rules alone and as plainly as possible.
//!
//! It shares decoding and the timing constants with the pipeline and nothing else: no slots, no index, no
//! saved state. It reads the whole history from the first record, where the pipeline goes on from
//! what it flushed.
//!
//! # Guarantees
//! - Memory grows with the number of rows, not of records.

mod admission;
mod doubt;
mod moved;
mod null;
mod order;
mod restart;
mod retry;
mod snapshot;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use pipeline::decode::{ChangeBatch, ChangeKind, ChangeRef, PreparedContract, SnapshotMarker};
use pipeline::silver::TOMBSTONE_RETENTION_US;
use schemas::{Micros, Place, Position, RowBuilder};

use admission::Admitted;
use doubt::is_newer;
use moved::Moves;
use order::{has_seen, is_again, is_behind, is_ordered, order, source_went_back};
use restart::Restart;
use snapshot::{ASIDE_US, Snapshot, note_snapshot};

/// Forgotten deletes are cleared away this often, on epoch clocks.
const CLEAR_US: i64 = 86_400_000_000;

/// What is known of one row.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Where its last change stands.
    pub(super) at: Position,
    /// What that change left.
    pub(super) state: State,
    /// By column that it left out, the change that sent the value.
    carried: BTreeMap<usize, Position>,
    /// Of a row, a newer change of it that could not be read.
    unread: Option<Position>,
    /// Whether the comparison met it.
    pub(super) seen: bool,
}

/// What a change left.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// A row, as of an epoch.
    Row { bytes: Box<[u8]>, epoch: u64 },
    /// Nothing, since this clock.
    Gone(Micros),
}

impl Known {
    /// Which incarnations its changes are of is told anew.
    fn tell(&mut self, tell: &impl Fn(&mut Position)) {
        tell(&mut self.at);
        self.carried.values_mut().chain(self.unread.as_mut()).for_each(tell);
    }

    /// The position as silver has it.
    pub(super) fn position(&self) -> String {
        let carried = self.carried.iter().map(|(column, at)| format!(";{column}={at}"));
        let unread = self.unread.iter().map(|at| format!(";unread={at}"));
        std::iter::once(self.at.to_string()).chain(carried).chain(unread).collect()
    }
}

/// What one origin is up to.
#[derive(Debug, Default)]
struct Origin {
    incarnation: u32,
    halted: Option<String>,
    /// The last truncate, and its clock.
    floor: Option<(Position, Micros)>,
    /// Those that pass, as they were seen first.
    snapshots: Vec<Snapshot>,
    /// The last that is over, and since when it has removed what it lacked, if it has.
    over: Option<(Snapshot, Option<Micros>)>,
    /// Whether it lacked rows that stay until somebody decides.
    is_asked: bool,
    /// The earliest that was seen to its end.
    first: Option<Snapshot>,
    /// Rows that an unfinished one before it left, by key, and since when they are not there.
    aside: BTreeMap<Vec<u8>, (Known, Micros)>,
    is_whole: bool,
    /// By column, the change that was the first seen to have it.
    sent: BTreeMap<usize, Position>,
    /// Columns that a change lacked.
    lacked: BTreeSet<usize>,
    /// Each time that its numbering began anew.
    restarts: Vec<Restart>,
    /// Whether a row of it was ever deleted.
    deletes: bool,
}

/// Origin and key of a row.
pub(super) type RowId = (String, Vec<u8>);

/// One table.
#[derive(Debug, Default)]
pub(super) struct Reference {
    pub(super) rows: HashMap<RowId, Known>,
    origins: BTreeMap<String, Origin>,
    /// Lives of topics, as they were seen first; and by which of them an origin came.
    topics: Vec<String>,
    ways: BTreeMap<u32, Vec<String>>,
    moves: Moves,
    /// Unreadable changes of keys without a row, the newest of each.
    unplaced: BTreeMap<RowId, Position>,
    /// By life of a topic and partition, the row whose delete was its last change.
    deleted: BTreeMap<(u32, i32), RowId>,
    cleared: Micros,
    /// Changes of rows that were looked at.
    pub(super) changes: u64,
    /// Records refused for what their row says.
    pub(super) refused: u64,
    /// By column, the values that rows may have, where the contract in force is strict.
    strict: BTreeMap<usize, Admitted>,
    builder: RowBuilder,
}

impl Reference {
    /// Why origins stand still.
    pub(super) fn halted(&self) -> impl Iterator<Item = &str> {
        self.origins.values().filter_map(|origin| origin.halted.as_deref())
    }

    /// Time passes to the clock of an epoch.
    pub(super) fn advance(&mut self, now: Micros) {
        let names: Vec<String> = self.origins.keys().cloned().collect();
        for name in names {
            while self.end_snapshot(&name, now) {}
            let Some(origin) = self.origins.get_mut(&name) else { continue };
            if let Some((_, since)) = &mut origin.over {
                since.take_if(|since| is_forgotten(*since, now));
            }
            origin.aside.retain(|_, (_, since)| since.plus(ASIDE_US) > now);
        }
        self.moves.advance(now);
        if now.0.saturating_sub(self.cleared.0) >= CLEAR_US {
            self.cleared = now;
            self.rows.retain(|_, row| match row.state {
                State::Row { .. } => true,
                State::Gone(since) => !is_forgotten(since, now),
            });
        }
    }

    fn bury(&mut self, id: RowId, at: Position, clock: Micros) {
        self.origins.entry(id.0.clone()).or_default().deletes = true;
        let (state, carried) = (State::Gone(clock), BTreeMap::new());
        self.rows.insert(id, Known { at, state, carried, unread: None, seen: false });
    }

    /// Takes a batch of an epoch.
    pub(super) fn take_batch(
        &mut self,
        contract: &PreparedContract,
        changes: &ChangeBatch,
        epoch: u64,
        clock: Micros,
    ) {
        let topic = self.arrive(changes);
        if let Some((partition, ..)) = changes.covers() {
            self.note_life(changes, (topic, partition));
        }
        for change in changes.iter() {
            self.take(contract, change, topic, epoch, clock);
        }
    }

    /// The life of a topic that changes came by, and the origins that did.
    fn arrive(&mut self, changes: &ChangeBatch) -> u32 {
        let label = changes.topic();
        let known = self.topics.iter().position(|topic| topic == label);
        let topic = known.unwrap_or_else(|| {
            self.topics.push(label.to_owned());
            self.topics.len() - 1
        });
        let topic = u32::try_from(topic).unwrap_or(u32::MAX);
        for origin in changes.origins() {
            self.origins.entry(origin.to_string()).or_default().is_whole = changes.is_whole();
            let ways = self.ways.entry(topic).or_default();
            if !ways.iter().any(|known| **known == **origin) {
                ways.push(origin.to_string());
            }
        }
        topic
    }

    fn take(
        &mut self,
        contract: &PreparedContract,
        change: ChangeRef<'_>,
        topic: u32,
        epoch: u64,
        clock: Micros,
    ) {
        let what = change.change;
        match what.kind {
            ChangeKind::Ignored => return,
            ChangeKind::Unreadable => {
                return self.unreadable(contract, change, topic, epoch, clock);
            }
            ChangeKind::Tombstone => {
                let at = Position { topic, ..what.position };
                return self.null(&at, change, clock);
            }
            _ => {}
        }
        if what.kind == ChangeKind::Upsert && self.is_refused(contract, change.row) {
            self.refused += 1;
            return self.unreadable(contract, change, topic, epoch, clock);
        }
        self.changes += 1;
        let lane = (topic, what.position.partition);
        if what.kind == ChangeKind::Delete {
            self.deleted.insert(lane, (change.origin.to_owned(), change.key.to_vec()));
        } else if self.deleted.get(&lane).is_some_and(|last| last.1 == change.key) {
            self.deleted.remove(&lane);
        }
        let id: RowId = (change.origin.to_owned(), change.key.to_vec());
        let full = what.position.snapshot && what.marker != SnapshotMarker::Incremental;
        let origin = self.origins.entry(id.0.clone()).or_default();
        let here = Position { topic, ..what.position };
        if full {
            origin.note_first(&here);
        }
        let mut at = Position { incarnation: origin.incarnation_at(&here, None), ..here };
        if origin.halted.is_some() {
            if !full {
                return;
            }
            at = self.begin_numbering(&id.0, None, at, epoch);
        }
        if what.kind == ChangeKind::Truncate {
            self.truncate(&id.0, at, clock);
            return;
        }
        let (row, lacks) = self.lacks(contract, &id.0, change, &at, epoch);
        let change = ChangeRef { row: &row, absent: &lacks, ..change };
        let is_back = self.take_back(&id);
        self.take_row(contract, &id, (change, at), (epoch, clock));
        if is_back || full {
            self.set_aside_again(&id, clock);
        }
    }

    /// A change of one row.
    fn take_row(
        &mut self,
        contract: &PreparedContract,
        id: &RowId,
        (change, mut at): (ChangeRef<'_>, Position),
        (epoch, clock): (u64, Micros),
    ) {
        let what = change.change;
        let full = what.position.snapshot && what.marker != SnapshotMarker::Incremental;
        let held = self.held(id, clock);
        let is_incremental = what.marker == SnapshotMarker::Incremental;
        let origin = self.origins.entry(id.0.clone()).or_default();
        let other = (id.0.clone(), change.other.to_vec());
        let other = self.rows.get(&other).filter(|row| matches!(row.state, State::Row { .. }));
        let shown = held.into_iter().chain(other.map(|row| row.at)).collect();
        let back = if is_incremental { None } else { origin.back_from(shown, &at, full) };
        let is_last = full && what.marker == SnapshotMarker::Last;
        let is_before =
            |(of, row): &(&RowId, &Known)| is_last && of.0 == id.0 && is_sent_before(row, &at);
        let sent = || self.rows.iter().filter(is_before).map(|(_, row)| row.at);
        if let Some(held) = back.or_else(|| sent().max_by_key(|before| before.source_ms)) {
            let begun = if full { Some(at) } else { origin.snapshot_between(&held, &at) };
            let Some(begun) = begun else {
                let key = String::from_utf8_lossy(change.key);
                origin.halted =
                    Some(format!("at row `{key}` the source went back from {held} to {at}"));
                return;
            };
            at.incarnation = self.begin_numbering(&id.0, Some(held), begun, epoch).incarnation;
        }
        let origin = self.origins.entry(id.0.clone()).or_default();
        if full {
            let over = origin.over.as_mut().map(|(run, _)| run);
            note_snapshot(&mut origin.snapshots, over, &at, what.marker, clock);
        }
        let is_row = matches!(self.rows.get(id), Some(Known { state: State::Row { .. }, .. }));
        let comes = is_row && what.kind == ChangeKind::Upsert && !change.other.is_empty();
        let is_late = |held: Position| {
            let is_overtaken = full && self.is_overtaken(id, &at, &held);
            is_overtaken || order(&at, &held) == Ordering::Less || comes && has_seen(&held, &at)
        };
        if self.is_swept(id, &at) || held.is_some_and(is_late) {
            return self.late(contract, id, change, &at, (epoch, clock));
        }
        let id = id.clone();
        let again = held.is_some_and(|held| is_again(&held, &at));
        if what.kind == ChangeKind::Delete {
            self.delete(contract, id, change.other, at, again, (epoch, clock));
        } else {
            self.upsert(contract, id, change, at, again, (epoch, clock));
        }
    }

    /// The position that a change of this row has to beat.
    fn held(&self, id: &RowId, clock: Micros) -> Option<Position> {
        let floor = self.origins.get(&id.0).and_then(|origin| origin.floor);
        let floor = floor.filter(|(_, since)| !is_forgotten(*since, clock)).map(|(at, _)| at);
        let own = match self.rows.get(id).map(|row| (&row.state, row.at)) {
            Some((State::Row { .. }, at)) => return Some(at),
            Some((State::Gone(since), at)) if !is_forgotten(*since, clock) => Some(at),
            _ => None,
        };
        match (own, floor) {
            (Some(own), Some(floor)) if order(&own, &floor) == Ordering::Less => Some(floor),
            (own, floor) => own.or(floor),
        }
    }

    fn upsert(
        &mut self,
        contract: &PreparedContract,
        id: RowId,
        change: ChangeRef<'_>,
        at: Position,
        again: bool,
        (epoch, clock): (u64, Micros),
    ) -> bool {
        self.come_from(contract, &id, change.other, at, (epoch, clock));
        let has_other = !change.other.is_empty();
        let waiting = self.moves.row_for(&id, &at).filter(|_| has_other).cloned();
        let is_awaited = waiting.is_some();
        let old_key = (id.0.clone(), change.other.to_vec());
        // Another row may have come to the old key since.
        let is_later =
            |row: &Known| !row.at.snapshot && at.source_ms != 0 && row.at.source_ms > at.source_ms;
        let is_other =
            |row: &Known| is_behind(&row.at, &at) || has_seen(&row.at, &at) || is_later(row);
        let is_its = |row: &&Known| has_other && !is_other(row);
        let under_old_key = self.rows.get(&old_key).filter(is_its).cloned();
        let before = waiting.or(under_old_key);
        let own = self.rows.get(&id).cloned();
        let mut bytes: Box<[u8]> = change.row.into();
        let (mut missing, mut carried) = (change.unavailable.to_vec(), BTreeMap::new());
        let is_required =
            |column: &usize| contract.columns().get(*column).is_some_and(|own| own.required);
        // A row that came from another key is not the one that the log has before it under its own.
        let is_other = |row: &Known| has_other && !again && is_behind(&at, &row.at);
        let other = own.as_ref().is_some_and(is_other);
        let sources = [(before, false), (own.clone(), other)];
        for (source, is_other) in sources.into_iter().filter_map(|(row, other)| Some((row?, other)))
        {
            let State::Row { bytes: from, .. } = &source.state else { continue };
            let mut unknown = source.unsent(contract, from);
            unknown.extend(missing.iter().filter(|column| is_other && !is_required(column)));
            let found: Vec<usize> =
                missing.iter().copied().filter(|column| !unknown.contains(column)).collect();
            for column in &found {
                carried.insert(*column, source.carried.get(column).copied().unwrap_or(source.at));
            }
            bytes = self.with(contract, (&bytes, &at), from, &found);
            missing.retain(|column| unknown.contains(column));
        }
        carried.extend(change.absent.iter().map(|column| (*column, at)));
        if missing.iter().any(is_required) {
            self.doubt(contract, id, at, epoch, clock);
            return false;
        }
        if is_awaited {
            self.moves.take(&id, &at);
        }
        let unread = self.unread(&id).filter(|unread| is_newer(unread, &at));
        if unread.is_some() {
            bytes = self.marked(contract, &bytes, true);
        }
        let is_same = own.is_some_and(|own| {
            let State::Row { bytes: held, .. } = &own.state else { return false };
            *held == bytes && own.carried == carried && own.unread == unread
        });
        if !(again && is_same) {
            let state = State::Row { bytes, epoch };
            self.unplaced.remove(&id);
            self.rows.insert(id, Known { at, state, carried, unread, seen: false });
        }
        true
    }

    /// The row of a change with these columns from another one. PostgreSQL's changes do not leave out a null: one that
    /// is there was another value by then.
    fn with(
        &mut self,
        contract: &PreparedContract,
        (row, at): (&[u8], &Position),
        other: &[u8],
        columns: &[usize],
    ) -> Box<[u8]> {
        if columns.is_empty() {
            return row.into();
        }
        let layout = contract.layout();
        let (own, other) = (layout.row(row), layout.row(other));
        let mut bytes = Vec::new();
        self.builder.reset(contract.columns().len());
        for index in 0..contract.columns().len() {
            let is_other = columns.contains(&index);
            self.builder.copy(index, if is_other { other } else { own });
            if is_other && matches!(at.place, Some(Place::Wal { .. })) && other.is_null(index) {
                self.builder.set_unknown(index);
            }
        }
        self.builder.set_outdated(own.is_outdated());
        self.builder.finish(layout, &mut bytes);
        bytes.into()
    }

    /// An older change may have values that the newest left out.
    fn fill(
        &mut self,
        contract: &PreparedContract,
        id: &RowId,
        row: &[u8],
        (unavailable, is_moved): (&[usize], bool),
        at: &Position,
        epoch: u64,
    ) {
        let Some(held) = self.rows.get(id).cloned() else { return };
        let State::Row { bytes, .. } = &held.state else { return };
        let unknown = held.unsent(contract, bytes).into_iter();
        // What a row had under its old key is older than all that it has under the new one.
        let is_older = |(_, from): &(&usize, &Position)| {
            (!is_moved || is_ordered(from, at)) && order(from, at) == Ordering::Less
        };
        let from_older = held.carried.iter().filter(is_older);
        let wanted = unknown.chain(from_older.map(|(column, _)| *column));
        let found: Vec<usize> = wanted.filter(|column| !unavailable.contains(column)).collect();
        if found.is_empty() {
            return;
        }
        let bytes = self.with(contract, (bytes, &held.at), row, &found);
        let mut carried = held.carried;
        carried.extend(found.into_iter().map(|column| (column, *at)));
        let state = State::Row { bytes, epoch };
        let (at, unread) = (held.at, held.unread);
        self.rows.insert(id.clone(), Known { at, state, carried, unread, seen: false });
    }

    fn delete(
        &mut self,
        contract: &PreparedContract,
        id: RowId,
        moved_to: &[u8],
        at: Position,
        again: bool,
        (epoch, clock): (u64, Micros),
    ) {
        let known = self.rows.get(&id);
        let gone = matches!(known, Some(Known { state: State::Gone(since), .. }) if !is_forgotten(*since, clock));
        if again && gone {
            return;
        }
        self.move_away(contract, &id, moved_to, at, (epoch, clock));
        let unread = self.unread(&id).filter(|unread| is_newer(unread, &at));
        self.keep_unplaced(id.clone(), unread);
        self.bury(id, at, clock);
    }

    /// Somebody decided that what is halted goes on.
    pub(super) fn resume(&mut self, epoch: u64) {
        let halted = self.origins.values_mut().filter(|origin| origin.halted.is_some());
        halted.for_each(|origin| origin.start_over(epoch));
    }

    /// The number of live rows.
    pub(super) fn live(&self) -> usize {
        self.rows.values().filter(|row| matches!(row.state, State::Row { .. })).count()
    }
}

/// Whether a row came before the last one of a snapshot in its partition, though the source's log has it behind that.
fn is_sent_before(row: &Known, last: &Position) -> bool {
    let is_before = (row.at.topic, row.at.partition) == (last.topic, last.partition)
        && row.at.offset < last.offset;
    matches!(row.state, State::Row { .. }) && is_before && source_went_back(&row.at, last)
}

fn is_forgotten(since: Micros, now: Micros) -> bool {
    since.plus(TOMBSTONE_RETENTION_US) <= now
}
