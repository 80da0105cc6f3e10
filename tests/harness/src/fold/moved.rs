//! Rows that leave their key for another one, and what the row under the new key takes from them.
//!
//! # Non-guarantees
//! - Nothing is forgotten with time or for its number, as the product does after a day or 1,024 rows.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Delta, Held, Id, Position, Table, lent};
use crate::event::{Cell, Change, Op, Row};

/// Keys that a row is followed through.
const KEYS: usize = 8;

/// Changes of a row that left that are remembered.
const CHANGES: usize = 16;

/// A row that left its key.
#[derive(Debug, Clone)]
pub(super) struct Leave {
    from: Id,
    to: String,
    at: Position,
    /// The changes that what went along is of; whether something was missing.
    changes: Vec<Position>,
    lacks: bool,
}

/// Rows without a key, by the new one, each with the delete of its old key, as they came.
pub(super) type Waiting = BTreeMap<Id, Vec<(Held, Position)>>;

impl Position {
    /// Whether both are one change of the source.
    pub(super) fn is_same_change(&self, other: &Position) -> bool {
        let one = |at: &Position| (at.incarnation, at.place, at.snapshot);
        self == other || (self.place.is_some() && one(self) == one(other))
    }
}

impl Table {
    /// The row that waits for one that a change at a position makes.
    pub(super) fn waiting_for(&self, id: &Id, at: &Position) -> Option<&Held> {
        let waiting = self.moved.get(id)?;
        waiting.get(one_for(waiting, at)?).map(|(held, _)| held)
    }

    /// The row that waited for the one that a change at a position makes has come.
    pub(super) fn came(&mut self, id: &Id, at: &Position) {
        let waiting = self.moved.entry(id.clone()).or_default();
        if let Some(number) = one_for(waiting, at) {
            waiting.remove(number);
        }
    }

    /// How the row left that had a key at a position.
    fn leave(&self, from: &Id, behind: &Position) -> Option<usize> {
        let of_key = self.left.iter().enumerate().filter(|(_, leave)| leave.from == *from);
        let later = of_key.filter(|(_, leave)| behind.order(&leave.at) == Ordering::Less);
        later.min_by(|(_, a), (_, b)| a.at.order(&b.at)).map(|(number, _)| number)
    }

    /// A delete says which key the row has from here on; `held` is what was held before it.
    pub(super) fn hand_over(
        &mut self,
        id: &Id,
        to: &str,
        at: Position,
        held: Option<&Held>,
        epoch: i64,
    ) -> Delta {
        if to == id.1 {
            return Delta::default();
        }
        let is_earlier = |held: &&Held| held.position.order(&at) == Ordering::Less;
        let row = held.filter(|held| held.row.is_some()).filter(is_earlier);
        let told = |leave: &Leave| leave.from == *id && leave.at.is_same_change(&at);
        if !self.left.iter().any(told) {
            let mut changes: Vec<Position> = Vec::new();
            changes.extend(row.into_iter().flat_map(|row| row.carried.values().copied()));
            changes.extend(row.map(|row| row.position));
            let lacks = row.is_none_or(|row| self.lacks_any(row));
            self.left.push(Leave { from: id.clone(), to: to.to_owned(), at, changes, lacks });
        }
        let is_its = |(_, left): &&(Held, Position)| left.order(&at) == Ordering::Less;
        // Without a row, what waits for this key goes on.
        let waiting = || {
            let earlier = self.moved.get(id).into_iter().flatten().filter(is_its);
            earlier.max_by(|(_, a), (_, b)| a.order(b)).map(|(held, _)| held.clone())
        };
        let Some(row) = row.cloned().or_else(waiting) else { return Delta::default() };
        self.pass_on((id.0.clone(), to.to_owned()), row, at, epoch)
    }

    /// Whether a value of a row was never sent.
    fn lacks_any(&self, held: &Held) -> bool {
        let cells = held.row.iter().flat_map(|row| row.iter().enumerate());
        let mut cells = cells.take(self.contract.columns.len());
        cells.any(|(column, cell)| *cell == Cell::Unknown && !held.carried.contains_key(&column))
    }

    /// An older change of a key: of the row that is held there, or of one that left it.
    pub(super) fn late(&mut self, id: &Id, change: &Change, at: Position, epoch: i64) -> Delta {
        let held = self.keys.get(id).cloned();
        if change.op == Op::Delete {
            let Some(to) = change.other.clone() else { return Delta::default() };
            return self.hand_over(id, &to, at, held.as_ref(), epoch);
        }
        let mut delta = Delta::default();
        let lacks: BTreeMap<usize, Position> =
            change.absent.iter().map(|column| (*column, at)).collect();
        if let Some(number) = self.leave(id, &at)
            && let Some(row) = change.row.clone()
        {
            let columns = self.contract.columns.len();
            let leave = &mut self.left[number];
            let (left, to) = (leave.at, leave.to.clone());
            let is_newer = leave.changes.iter().any(|one| one.order(&at) == Ordering::Less);
            let is_known = leave.changes.iter().any(|one| one.is_same_change(&at));
            if leave.lacks || is_newer && !is_known {
                let is_unsent = |column: usize| !change.absent.contains(&column);
                let cells = row.iter().take(columns).enumerate();
                let mut unsent = cells.filter(|(_, cell)| **cell == Cell::Unknown);
                leave.lacks &= unsent.any(|(column, _)| is_unsent(column));
                if leave.changes.len() < CHANGES {
                    leave.changes.push(at);
                }
                let (row, carried) = (Some(row), lacks.clone());
                let moved = Held { position: at, op: change.op, row, epoch, carried, unread: None };
                delta = self.pass_on((id.0.clone(), to), moved, left, epoch);
            }
            if held.as_ref().is_some_and(|held| held.position.order(&left) == Ordering::Greater) {
                return delta;
            }
        }
        // The row that is held came from another key since.
        let came = |held: &Held, leave: &Leave| {
            let is_here = leave.from.0 == id.0 && leave.to == id.1;
            let (own, then) = (&held.position, &leave.at);
            is_here
                && at.order(then).is_lt()
                && (then.is_same_change(own) || then.order(own).is_lt())
        };
        if held.is_some_and(|held| self.left.iter().any(|leave| came(&held, leave))) {
            return delta;
        }
        let own = self.fill(id, (change.row.as_ref(), &lacks), (at, false), epoch);
        delta.gone.extend(own.gone);
        delta.come.extend(own.come);
        delta
    }

    /// The row under the new key takes what it misses, or finds it when it comes.
    fn pass_on(&mut self, mut id: Id, moved: Held, mut left: Position, epoch: i64) -> Delta {
        for _ in 0..KEYS {
            let next = self.leave(&id, &left).map(|number| self.left[number].clone());
            let is_its = |held: &&Held| {
                let has_left =
                    next.as_ref().is_some_and(|next| next.at.order(&held.position).is_lt());
                let is_earlier = left.is_behind(&held.position);
                let mut known = self.left.iter().filter(|known| known.from == id);
                let is_former = known.any(|known| {
                    held.position.order(&known.at).is_lt() && known.at.order(&left).is_lt()
                });
                held.row.is_some()
                    && !has_left
                    && !is_former
                    && (left.is_same_change(&held.position) || !is_earlier)
            };
            if let Some(there) = self.keys.get(&id).filter(is_its) {
                // What the very change left out that names the old key, is what the old row had.
                let is_moved = !left.is_same_change(&there.position);
                let late = (moved.row.as_ref(), &moved.carried);
                return self.fill(&id, late, (moved.position, is_moved), epoch);
            }
            self.wait(&id, moved.clone(), left);
            let Some(next) = next else { break };
            left = next.at;
            id = (id.0, next.to);
        }
        Delta::default()
    }

    /// A row waits, with what was read of it before.
    fn wait(&mut self, id: &Id, moved: Held, left: Position) {
        let waiting = self.moved.entry(id.clone()).or_default();
        let same = waiting.iter().position(|(_, known)| known.is_same_change(&left));
        let Some(same) = same else {
            waiting.push((moved, left));
            return;
        };
        let known = waiting[same].0.clone();
        let is_newer = moved.position.order(&known.position) == Ordering::Greater;
        let (mut newer, older) = if is_newer { (moved, known) } else { (known, moved) };
        let (Some(row), Some(from)) = (&newer.row, &older.row) else { return };
        let mut cells = row.to_vec();
        for column in 0..self.contract.columns.len() {
            let is_known = from[column] != Cell::Unknown || older.carried.contains_key(&column);
            let of = older.carried.get(&column).copied().unwrap_or(older.position);
            let told = newer.carried.get(&column);
            let is_wanted = match told {
                // It was carried from a change of before.
                Some(told) => told.order(&of) == Ordering::Less,
                None => cells[column] == Cell::Unknown,
            };
            if is_wanted && is_known {
                cells[column] = lent(&from[column], &newer.position);
                newer.carried.insert(column, of);
            }
        }
        newer.row = Some(Row::new(cells));
        self.moved.entry(id.clone()).or_default()[same] = (newer, left);
    }
}

/// The number of the row that waits for the one that a change at a position makes; of several the one that came last.
fn one_for(waiting: &[(Held, Position)], at: &Position) -> Option<usize> {
    waiting.iter().rposition(|(held, left)| {
        let is_placed = left.place.is_some() && at.place.is_some();
        if is_placed { left.is_same_change(at) } else { !held.position.is_behind(at) }
    })
}
