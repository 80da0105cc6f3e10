//! Rows on their way from one key to another.
//!
//! A change of a key is a delete of the old row, which names the new key, and a create of the new row,
//! which names the old one and leaves out large values that did not change. What the old row had of them
//! waits here for the create, which may lie in another partition; and where the row went is remembered for changes
//! under the old key that lie in a third one and are read last.
//!
//! # Guarantees
//! - A row that the log has behind a change of a key is another one that came to the old key, and gives nothing.
//! - An older change under a key that a row has left since is of that row, and not of one that came after it.
//! - At most [`LIMIT`] rows wait and as many ways are known, each for at most [`RETENTION_US`] on epoch clocks.
//!
//! # Non-guarantees
//! - Of a row whose old key has another row already when its delete is read, nothing is known any more.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Delta, EpochStamp, Micros, Position};
use serde::{Deserialize, Serialize};

use super::fill::{Late, unsent};
use super::live::LiveRow;
use super::record::Carried;
use super::{TableFold, Which};
use crate::decode::{Change, ChangeKind, ChangeRef};

/// Rows that wait, and ways that are known; the oldest go first.
const LIMIT: usize = 1_024;

/// How many further keys a row is looked for under.
const HOPS: usize = 8;

/// Changes that are known to be of a row that has left, at most.
const KNOWN: usize = 16;

/// How long they wait.
const RETENTION_US: i64 = 86_400_000_000;

/// A row that was deleted because its key changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MovedRow {
    row: Arc<[u8]>,
    position: Position,
    carried: Arc<[u8]>,
    /// The delete that named the new key.
    left: Position,
    clock: Micros,
}

impl MovedRow {
    /// Whether it is what became the row that a change at `position` makes.
    fn is_of(&self, position: &Position) -> bool {
        match (self.left.place, position.place) {
            (Some(_), Some(_)) => self.left.is_again(position),
            _ => !is_behind(&self.position, position),
        }
    }

    /// As it was.
    pub(super) fn view(&self) -> LiveRow<'_> {
        LiveRow {
            row: &self.row,
            position: self.position,
            epoch: 0,
            origin: 0,
            carried: &self.carried,
        }
    }
}

/// A row that went on under another key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Way {
    to: Vec<u8>,
    /// The delete that named the new key.
    left: Position,
    /// The changes that what went with it is of.
    known: Vec<Position>,
    /// Whether it lacked a value that may be in an older change.
    is_open: bool,
    clock: Micros,
    number: u64,
}

impl Way {
    /// Whether a change under the old key may have what did not go with the row.
    fn leads(&self, position: &Position) -> bool {
        let is_new = || {
            let older = self.known.iter().any(|known| known.compare(position).is_lt());
            older && !self.known.iter().any(|known| known.is_again(position))
        };
        position.compare(&self.left).is_lt() && (self.is_open || is_new())
    }
}

/// Origin and key.
pub(super) type Id = (u32, Vec<u8>);

/// Rows on their way, and the ways that rows took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moved {
    /// By new key, as they came: a row may leave that key, and another one take it, before any of them is read there.
    rows: BTreeMap<Id, Vec<MovedRow>>,
    /// By old key.
    ways: BTreeMap<Id, Vec<Way>>,
    /// The old keys, as the ways were told.
    told: BTreeMap<u64, Id>,
    next: u64,
}

impl Moved {
    /// Makes others of the rows that wait.
    pub(super) fn rewrite(&mut self, to: &dyn Fn(&[u8]) -> Arc<[u8]>) {
        self.rows.values_mut().flatten().for_each(|waiting| waiting.row = to(&waiting.row));
    }

    /// The row that became this one at `position`, if a delete has named it. Both halves of a change of a key stand
    /// at one place of the log, where that is known.
    pub(super) fn waiting(
        &self,
        which: Which<'_>,
        old_key: &[u8],
        position: &Position,
    ) -> Option<MovedRow> {
        if self.rows.is_empty() || old_key.is_empty() {
            return None;
        }
        let rows = self.rows.get(&(which.origin, which.key.to_vec()))?;
        rows.iter().rev().find(|row| row.is_of(position)).cloned()
    }

    /// The row that waited for this one has come.
    pub(super) fn arrive(&mut self, which: Which<'_>, position: &Position) {
        let id = (which.origin, which.key.to_vec());
        let Some(rows) = self.rows.get_mut(&id) else { return };
        if let Some(at) = rows.iter().rposition(|row| row.is_of(position)) {
            rows.remove(at);
        }
        if rows.is_empty() {
            self.rows.remove(&id);
        }
    }

    fn put(&mut self, id: Id, row: MovedRow) {
        self.rows.entry(id).or_default().push(row);
        if self.rows.values().map(Vec::len).sum::<usize>() <= LIMIT {
            return;
        }
        let oldest = self.rows.values().flatten().map(|row| row.clock).min();
        let first = self.rows.iter().find_map(|(id, rows)| {
            let at = rows.iter().position(|row| Some(row.clock) == oldest)?;
            Some((id.clone(), at))
        });
        let Some((id, at)) = first else { return };
        if let Some(rows) = self.rows.get_mut(&id) {
            rows.remove(at);
        }
        self.rows.retain(|_, rows| !rows.is_empty());
    }

    /// Remembers that the row of a key went on under another one; `known` are the changes that what is held of it
    /// is of, `is_open` whether that is less than all of it. Returns whether that is news.
    pub(super) fn note(
        &mut self,
        id: Id,
        (to, left): (&[u8], Position),
        known: Vec<Position>,
        is_open: bool,
        clock: Micros,
    ) -> bool {
        let ways = self.ways.entry(id.clone()).or_default();
        if let Some(way) = ways.iter_mut().find(|way| way.left.is_again(&left)) {
            // The create under the new key has named it before the row under the old one was told.
            if !known.is_empty() {
                way.is_open = is_open;
                way.known.extend(known);
            }
            return false;
        }
        ways.push(Way { to: to.to_vec(), left, known, is_open, clock, number: self.next });
        self.told.insert(self.next, id);
        self.next += 1;
        if self.told.len() > LIMIT {
            self.forget_first();
        }
        true
    }

    fn forget_first(&mut self) {
        let Some((number, id)) = self.told.pop_first() else { return };
        let Some(ways) = self.ways.get_mut(&id) else { return };
        ways.retain(|way| way.number != number);
        if ways.is_empty() {
            self.ways.remove(&id);
        }
    }

    /// How the row went on that had this key at `position`.
    fn way(&mut self, origin: u32, key: &[u8], position: &Position) -> Option<&mut Way> {
        if self.ways.is_empty() {
            return None;
        }
        let ways = self.ways.get_mut(&(origin, key.to_vec()))?;
        let later = ways.iter_mut().filter(|way| position.compare(&way.left).is_lt());
        later.reduce(|a, b| if b.left.compare(&a.left).is_lt() { b } else { a })
    }

    /// Whether a row came to a key from another one behind a change of it and no later than `held`: then that change is of
    /// a row that was there before.
    pub(super) fn came_between(
        &self,
        which: Which<'_>,
        change: &Position,
        held: &Position,
    ) -> bool {
        let own = self.ways.iter().filter(|((origin, _), _)| *origin == which.origin);
        let mut to = own.flat_map(|(_, ways)| ways).filter(|way| way.to == which.key);
        let is_there =
            |left: &Position| left.is_again(held) || left.compare(held) == Ordering::Less;
        // The change by which it came is of the row itself.
        let is_before = |left: &Position| change.compare(left).is_lt() && !change.is_again(left);
        to.any(|way| is_before(&way.left) && is_there(&way.left))
    }

    /// Whether a row left a key before another one came there at `arrival`.
    fn has_left(&self, origin: u32, key: &[u8], row: &Position, arrival: &Position) -> bool {
        let ways = self.ways.get(&(origin, key.to_vec())).into_iter().flatten();
        ways.into_iter()
            .any(|way| row.compare(&way.left).is_lt() && way.left.compare(arrival).is_lt())
    }

    /// Tells anew which incarnation the rows and ways of an origin are of.
    pub(super) fn settle(&mut self, origin: u32, settle: &dyn Fn(&mut Position) -> bool) {
        let own = self.rows.iter_mut().filter(|((of, _), _)| *of == origin);
        for row in own.flat_map(|(_, rows)| rows) {
            settle(&mut row.position);
            settle(&mut row.left);
            row.carried = Carried::settled(&row.carried, settle);
        }
        for (_, ways) in self.ways.iter_mut().filter(|((of, _), _)| *of == origin) {
            for way in ways {
                settle(&mut way.left);
                way.known.iter_mut().for_each(|known| {
                    settle(known);
                });
            }
        }
    }

    /// Forgets what has waited too long at `now`.
    pub(super) fn purge(&mut self, now: Micros) {
        if !self.rows.is_empty() {
            self.rows.retain(|_, rows| {
                rows.retain(|row| row.clock.plus(RETENTION_US) > now);
                !rows.is_empty()
            });
        }
        while let Some((number, id)) = self.told.first_key_value() {
            let ways = self.ways.get(id).into_iter().flatten();
            let first = ways.into_iter().find(|way| way.number == *number);
            if first.is_some_and(|way| way.clock.plus(RETENTION_US) > now) {
                return;
            }
            self.forget_first();
        }
    }
}

/// Whether a row is known to be later than a change, which then does not speak of it.
pub(super) fn is_behind(row: &Position, change: &Position) -> bool {
    row.is_ordered_with(change) && row.compare(change) == Ordering::Greater
}

/// Whether the row that is held under its old key is another one than came from there at `position`: the log has it
/// behind that, or the source's clock where no log orders the two.
pub(super) fn is_another(row: &Position, position: &Position) -> bool {
    let is_later = position.source_ms > 0 && row.source_ms > position.source_ms;
    is_behind(row, position) || row.has_seen(position) || !row.snapshot && is_later
}

/// Whether a row may have left its key before another one came there at `left`, as no log and no partition orders both.
fn may_be_former(left: &Position, row: &Position) -> bool {
    let is_placed = left.place.is_some() && row.place.is_some();
    is_placed && !left.is_again(row) && !left.is_ordered_with(row)
}

impl TableFold {
    /// A delete says that the row of a key, as it is held, goes on under `moved_to`: what the new row misses of it is
    /// filled, now if the new row is there, else when it comes.
    pub(super) fn hand_over(
        &mut self,
        which: Which<'_>,
        moved_to: &[u8],
        left: Position,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        if moved_to.is_empty() || moved_to == which.key {
            return;
        }
        let id = (which.origin, which.key.to_vec());
        let held = which.slot.and_then(|slot| self.rows.get(slot));
        // Behind the delete another row has the key.
        let is_its = |held: &LiveRow<'_>| {
            held.position.compare(&left).is_lt() && !held.position.has_seen(&left)
        };
        let Some(old) = held.filter(is_its) else {
            self.note_way(id.clone(), (moved_to, left), (Vec::new(), true), stamp, delta);
            // What waits for this key is of the row that goes on.
            let waiting = self.moved.rows.get(&id).into_iter().flatten();
            let waiting = waiting.filter(|row| row.left.compare(&left).is_lt());
            let last = waiting.reduce(|a, b| if a.left.compare(&b.left).is_lt() { b } else { a });
            if let Some(waiting) = last.cloned() {
                let moved = MovedRow { left, ..waiting };
                self.give(which.origin, moved_to.to_vec(), moved, stamp, delta);
            }
            return;
        };
        let carried = Carried::read(old.carried);
        let of = carried.columns().filter_map(|column| carried.get(column));
        let known = of.chain([old.position]).collect();
        let is_open = !unsent(&self.contract, old).is_empty();
        let moved = MovedRow {
            row: old.row.into(),
            position: old.position,
            carried: old.carried.into(),
            left,
            clock: stamp.clock,
        };
        self.note_way(id, (moved_to, left), (known, is_open), stamp, delta);
        self.give(which.origin, moved_to.to_vec(), moved, stamp, delta);
    }

    /// An older change under a key that its row may have left since: then it is for the row under the new key. Gives
    /// when the row left, and whether something was filled.
    pub(super) fn follow(
        &mut self,
        which: Which<'_>,
        change: ChangeRef<'_>,
        position: &Position,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> Option<(Position, bool)> {
        let way = self.moved.way(which.origin, which.key, position)?;
        let (to, left) = (way.to.clone(), way.left);
        if !way.leads(position) {
            return Some((left, false));
        }
        way.is_open &= !change.unavailable.is_empty();
        if way.known.len() < KNOWN {
            way.known.push(*position);
        }
        let (mut carried, mut lacking) = (Vec::new(), Carried::default());
        change.absent.iter().for_each(|column| lacking.set(*column, *position));
        lacking.write(&mut carried);
        let (row, carried) = (change.row.into(), carried.into());
        let moved = MovedRow { row, position: *position, carried, left, clock: stamp.clock };
        Some((left, self.give(which.origin, to, moved, stamp, delta)))
    }

    /// What a row had under its old key goes to the row under the new one, or waits for it; where that has gone on,
    /// to the one after it too. Returns whether something was filled.
    pub(super) fn give(
        &mut self,
        origin: u32,
        to: Vec<u8>,
        mut moved: MovedRow,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> bool {
        let (mut next, mut is_filled) = (Some(to), false);
        for _ in 0..HOPS {
            let Some(to) = next else { break };
            let which = Which { origin, key: &to, slot: self.rows.find(&to, origin) };
            let there = which.slot.and_then(|slot| self.rows.get(slot)).map(|new| new.position);
            let way =
                self.moved.way(origin, &to, &moved.left).map(|way| (way.to.clone(), way.left));
            let is_there = |new: &Position| {
                let has_left = way.as_ref().is_some_and(|(_, left)| left.compare(new).is_lt());
                let is_former = self.moved.has_left(origin, &to, new, &moved.left);
                let is_its = moved.left.is_again(new) || !is_behind(&moved.left, new);
                !has_left && !is_former && is_its
            };
            if there.as_ref().is_some_and(is_there) {
                is_filled |= self.fill_moved(which, &moved, stamp, delta);
                if !there.is_some_and(|new| may_be_former(&moved.left, &new)) {
                    return is_filled;
                }
            }
            self.wait(which, moved.clone());
            // Without places nothing but a partition tells which of two rows left the key.
            let is_known = |left: &Position| {
                let is_placed = left.place.is_some() && moved.left.place.is_some();
                is_placed || left.is_ordered_with(&moved.left)
            };
            next = way.filter(|(_, left)| is_known(left)).map(|(to, left)| {
                moved.left = left;
                to
            });
        }
        is_filled
    }

    fn fill_moved(
        &mut self,
        which: Which<'_>,
        moved: &MovedRow,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> bool {
        let unavailable = unsent(&self.contract, moved.view());
        let change = Change::new(ChangeKind::Upsert, 0);
        let change = ChangeRef {
            change: &change,
            key: which.key,
            row: &moved.row,
            unavailable: &unavailable,
            absent: &[],
            infinite: &[],
            other: &[],
            origin: "",
            columns: usize::MAX,
        };
        // Of the very change that names the old key, all that it left out is that of the old row.
        let held = which.slot.and_then(|slot| self.rows.get(slot));
        let is_moved = !held.is_some_and(|held| moved.left.is_again(&held.position));
        let late = Late { position: moved.position, is_moved };
        self.fill_row(which, change, late, stamp, delta)
    }

    /// A row waits for the one under its new key, together with what was read of it before.
    fn wait(&mut self, which: Which<'_>, moved: MovedRow) {
        let id = (which.origin, which.key.to_vec());
        let rows = self.moved.rows.get(&id).map(Vec::as_slice).unwrap_or_default();
        let same = rows.iter().position(|held| held.left.is_again(&moved.left));
        let Some((at, held)) = same.and_then(|at| Some((at, rows.get(at)?.clone()))) else {
            self.moved.put(id, moved);
            return;
        };
        let is_newer = moved.position.compare(&held.position) == Ordering::Greater;
        let (newer, older) = if is_newer { (moved, held) } else { (held, moved) };
        let mut filling = std::mem::take(&mut self.filling);
        filling.resume(&self.contract, newer.view());
        filling.fill_older(&self.contract, older.view());
        filling.finish();
        let (row, carried): (Arc<[u8]>, Arc<[u8]>) =
            (filling.row().into(), filling.carried().into());
        self.filling = filling;
        let rows = self.moved.rows.get_mut(&id).and_then(|rows| rows.get_mut(at));
        rows.into_iter().for_each(|held| {
            *held =
                MovedRow { row: Arc::clone(&row), carried: Arc::clone(&carried), ..newer.clone() }
        });
    }
}

#[cfg(test)]
mod tests;
