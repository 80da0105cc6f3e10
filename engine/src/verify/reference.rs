//! The reference fold: what silver must hold, by the rules alone and as plainly as possible.
//!
//! It shares decoding and the timing constants with the pipeline and nothing else: no slots, no index, no
//! saved state. It reads the whole history from the first record, where the pipeline goes on from
//! what it flushed.
//!
//! # Guarantees
//! - Memory grows with the number of keys, not of records.

use std::cmp::Ordering;
use std::collections::HashMap;

use pipeline::decode::{ChangeKind, ChangeRef, PreparedContract, SnapshotMarker};
use pipeline::silver::{SNAPSHOT_SETTLE_US, TOMBSTONE_RETENTION_US};
use schemas::{Micros, Position, RowBuilder};

/// Forgotten deletes are cleared away this often, on epoch clocks.
const CLEAR_US: i64 = 86_400_000_000;

/// What is known of one key.
#[derive(Debug)]
pub(super) struct Key {
    /// Where its last change stands.
    pub(super) at: Position,
    /// What that change left.
    pub(super) state: State,
    /// Whether the comparison met it.
    pub(super) seen: bool,
}

/// What a change left.
#[derive(Debug)]
pub(super) enum State {
    /// A row, as of an epoch, of an origin.
    Row { bytes: Box<[u8]>, epoch: u64, origin: Box<str> },
    /// Nothing, since this clock.
    Gone(Micros),
}

/// Incarnation and source position: what the rows of one snapshot have in common.
type Mark = (u32, Option<u128>);

#[derive(Debug)]
struct Snapshot {
    lowest: Mark,
    first: Option<Mark>,
    last: Option<Mark>,
    latest: Micros,
}

impl Snapshot {
    fn start(&self) -> Mark {
        self.first.unwrap_or(self.lowest)
    }

    /// When it is over: its last row was seen and then nothing of it for a while.
    fn over(&self) -> Option<Micros> {
        let ended = self.last.is_some_and(|last| last >= self.start());
        ended.then(|| self.latest.plus(SNAPSHOT_SETTLE_US))
    }
}

/// One table.
#[derive(Debug, Default)]
pub(super) struct Reference {
    pub(super) keys: HashMap<Box<[u8]>, Key>,
    incarnation: u32,
    /// Why the table stands still.
    pub(super) halted: Option<String>,
    /// The last truncate, and its clock.
    floor: Option<(Position, Micros)>,
    snapshot: Option<Snapshot>,
    cleared: Micros,
    /// Changes of rows that were looked at.
    pub(super) changes: u64,
    builder: RowBuilder,
}

impl Reference {
    /// Time passes to the clock of an epoch.
    pub(super) fn advance(&mut self, now: Micros) {
        let over = self.snapshot.as_ref().and_then(Snapshot::over);
        if let (Some(over), Some(snapshot)) = (over.filter(|over| *over <= now), &self.snapshot) {
            let (incarnation, sequence) = snapshot.start();
            self.snapshot = None;
            self.sweep(incarnation, sequence, over);
        }
        if now.0.saturating_sub(self.cleared.0) >= CLEAR_US {
            self.cleared = now;
            self.keys.retain(|_, key| match key.state {
                State::Row { .. } => true,
                State::Gone(since) => !is_forgotten(since, now),
            });
        }
    }

    /// A full snapshot is over: rows that stand before it were not in it.
    fn sweep(&mut self, incarnation: u32, sequence: Option<u128>, over: Micros) {
        let at = Position {
            incarnation,
            sequence,
            snapshot: true,
            source_ms: 0,
            partition: -1,
            offset: -1,
        };
        for key in self.keys.values_mut() {
            let before = match (key.at.incarnation.cmp(&incarnation), key.at.sequence, sequence) {
                (Ordering::Less, ..) => true,
                (Ordering::Equal, Some(held), Some(start)) => held < start,
                _ => false,
            };
            if before && matches!(key.state, State::Row { .. }) {
                (key.at, key.state) = (at, State::Gone(over));
            }
        }
    }

    /// Takes one change of an epoch.
    pub(super) fn take(
        &mut self,
        contract: &PreparedContract,
        change: ChangeRef<'_>,
        epoch: u64,
        clock: Micros,
    ) {
        let what = change.change;
        if matches!(what.kind, ChangeKind::Tombstone | ChangeKind::Ignored) {
            return;
        }
        self.changes += 1;
        let full = what.position.snapshot && what.marker != SnapshotMarker::Incremental;
        if self.halted.is_some() && !full {
            return;
        }
        if self.halted.is_some() {
            self.start_over();
        }
        let mut at = Position { incarnation: self.incarnation, ..what.position };
        if what.kind == ChangeKind::Truncate {
            self.truncate(at, clock);
            return;
        }
        let held = self.held(change.key, clock);
        if let Some(held) = held.filter(|held| source_went_back(held, &at)) {
            if !full {
                let key = String::from_utf8_lossy(change.key);
                self.halted =
                    Some(format!("at row `{key}` the source went back from {held} to {at}"));
                return;
            }
            self.start_over();
            at.incarnation = self.incarnation;
        }
        if full {
            self.note_snapshot(&at, what.marker, clock);
        }
        if held.is_some_and(|held| order(&at, &held) == Ordering::Less) {
            return;
        }
        let again = held.is_some_and(|held| {
            let same = held.sequence.is_some() && held.sequence == at.sequence;
            held == at || (held.incarnation == at.incarnation && same)
        });
        match what.kind {
            ChangeKind::Delete => self.delete(change.key, at, again, clock),
            _ => self.upsert(contract, change, at, again, epoch),
        }
    }

    /// The position that a change of this key has to beat.
    fn held(&self, key: &[u8], clock: Micros) -> Option<Position> {
        let floor = self.floor.filter(|(_, since)| !is_forgotten(*since, clock)).map(|(at, _)| at);
        let key = self.keys.get(key);
        let own = match key.map(|key| (&key.state, key.at)) {
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
        change: ChangeRef<'_>,
        at: Position,
        again: bool,
        epoch: u64,
    ) {
        let old = match self.keys.get(change.key).map(|key| &key.state) {
            Some(State::Row { bytes, .. }) => Some(bytes),
            _ => None,
        };
        let bytes: Box<[u8]> = match old {
            Some(old) if !change.unavailable.is_empty() => {
                let layout = contract.layout();
                let (old, new) = (layout.row(old), layout.row(change.row));
                let mut bytes = Vec::new();
                self.builder.reset(contract.columns().len());
                for index in 0..contract.columns().len() {
                    let from = if change.unavailable.contains(&index) { old } else { new };
                    self.builder.copy(index, from);
                }
                self.builder.finish(layout, &mut bytes);
                bytes.into()
            }
            _ => change.row.into(),
        };
        if again && old.is_some_and(|old| *old == bytes) {
            return;
        }
        let state = State::Row { bytes, epoch, origin: change.origin.into() };
        self.keys.insert(change.key.into(), Key { at, state, seen: false });
    }

    fn delete(&mut self, key: &[u8], at: Position, again: bool, clock: Micros) {
        let known = self.keys.get(key).map(|key| &key.state);
        let gone = matches!(known, Some(State::Gone(since)) if !is_forgotten(*since, clock));
        if again && gone {
            return;
        }
        self.keys.insert(key.into(), Key { at, state: State::Gone(clock), seen: false });
    }

    fn truncate(&mut self, at: Position, clock: Micros) {
        let floor = self.floor.filter(|(_, since)| !is_forgotten(*since, clock));
        let repeats = floor.is_some_and(|(floor, _)| {
            let same = at.sequence.is_some() && floor.sequence == at.sequence;
            floor == at || (floor.incarnation == at.incarnation && same)
        });
        if repeats {
            return;
        }
        self.keys.retain(|_, key| {
            matches!(key.state, State::Gone(_)) || order(&key.at, &at) != Ordering::Less
        });
        if floor.is_none_or(|(floor, _)| order(&floor, &at) == Ordering::Less) {
            self.floor = Some((at, clock));
        }
    }

    /// Somebody decided that a halted table goes on.
    pub(super) fn resume(&mut self) {
        if self.halted.is_some() {
            self.start_over();
        }
    }

    fn start_over(&mut self) {
        self.incarnation = self.incarnation.saturating_add(1);
        self.halted = None;
        self.snapshot = None;
    }

    fn note_snapshot(&mut self, at: &Position, marker: SnapshotMarker, clock: Micros) {
        let mark = (at.incarnation, at.sequence);
        let fresh = || Snapshot { lowest: mark, first: None, last: None, latest: clock };
        let snapshot = self.snapshot.get_or_insert_with(fresh);
        snapshot.latest = clock;
        snapshot.lowest = snapshot.lowest.min(mark);
        match marker {
            SnapshotMarker::First => snapshot.first = snapshot.first.max(Some(mark)),
            SnapshotMarker::Last => snapshot.last = snapshot.last.max(Some(mark)),
            _ => {}
        }
    }

    /// The number of keys with a row.
    pub(super) fn live(&self) -> usize {
        self.keys.values().filter(|key| matches!(key.state, State::Row { .. })).count()
    }
}

fn is_forgotten(since: Micros, now: Micros) -> bool {
    since.plus(TOMBSTONE_RETENTION_US) <= now
}

/// The later change of one key is the greater: by incarnation, source position, then offset within a
/// partition; across partitions live changes after snapshot rows, then the source's clock.
fn order(a: &Position, b: &Position) -> Ordering {
    if a.incarnation != b.incarnation {
        return a.incarnation.cmp(&b.incarnation);
    }
    if let (Some(a), Some(b)) = (a.sequence, b.sequence)
        && a != b
    {
        return a.cmp(&b);
    }
    if a.partition == b.partition {
        return a.offset.cmp(&b.offset);
    }
    (!a.snapshot, a.source_ms, a.partition).cmp(&(!b.snapshot, b.source_ms, b.partition))
}

/// A lower position at a later time of the source's own clock: failover or restore.
fn source_went_back(held: &Position, came: &Position) -> bool {
    let lower = matches!((held.sequence, came.sequence), (Some(held), Some(came)) if came < held);
    let later = held.source_ms > 0 && came.source_ms > held.source_ms;
    lower && later && held.incarnation == came.incarnation
}
