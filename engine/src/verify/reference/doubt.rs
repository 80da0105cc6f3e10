//! Changes that could not be read or lack columns, and the rows that they put in doubt.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use pipeline::decode::{ChangeKind, ChangeRef, NO_ORIGIN, PreparedContract};
use pipeline::silver::NAMED_MAX;
use schemas::{LetterAt, Micros, Position};

use super::order::{is_again, order};
use super::{Known, Origin, Reference, RowId, State};

/// Whether an unreadable change is newer than what is known at a place, and not that very change.
pub(super) fn is_newer(unread: &Position, at: &Position) -> bool {
    order(unread, at) == Ordering::Greater && !is_again(unread, at)
}

impl Known {
    /// Columns that no change has sent, and none has lacked that should have had them.
    pub(super) fn unsent(&self, contract: &PreparedContract, bytes: &[u8]) -> Vec<usize> {
        let unknown = contract.layout().row(bytes).unknown();
        unknown.filter(|column| !self.carried.contains_key(column)).collect()
    }
}

impl Reference {
    /// The row of a change, with those columns as unknown that it lacks, and that its schema names or its
    /// origin has sent before.
    pub(super) fn lacks(
        &mut self,
        contract: &PreparedContract,
        origin: &str,
        change: ChangeRef<'_>,
        at: &Position,
        epoch: u64,
    ) -> (Box<[u8]>, Vec<usize>) {
        let mut earlier: Vec<(usize, Option<Position>)> = Vec::new();
        let Origin { sent, lacked, .. } = self.origins.entry(origin.to_owned()).or_default();
        let mut lacks = Vec::new();
        if change.change.kind == ChangeKind::Upsert {
            let came = contract.layout().row(change.row);
            let is_before = |column: &usize| {
                let first = sent.get(column);
                came.is_unknown(*column)
                    || first.is_some_and(|first| order(first, at) == Ordering::Less)
            };
            lacks = change.absent.iter().copied().filter(is_before).collect();
            lacked.extend(change.absent);
            // Of a column that the contract did not have then the record says nothing.
            let read = 0..contract.columns().len().min(change.columns);
            for column in read.filter(|own| !change.absent.contains(own)) {
                let until = sent.get(&column).copied();
                if until.is_none_or(|until| order(at, &until) == Ordering::Less) {
                    sent.insert(column, *at);
                    // Nobody lost a column that every change has.
                    earlier.extend(lacked.contains(&column).then_some((column, until)));
                }
            }
        }
        for (column, until) in earlier {
            self.lost(contract, origin, (column, at, until), epoch);
        }
        if lacks.is_empty() {
            return (change.row.into(), lacks);
        }
        let layout = contract.layout();
        let own = layout.row(change.row);
        let mut bytes = Vec::new();
        self.builder.reset(contract.columns().len());
        for column in 0..contract.columns().len() {
            self.builder.copy(column, own);
        }
        lacks.iter().for_each(|column| self.builder.set_unknown(*column));
        self.builder.finish(layout, &mut bytes);
        (bytes.into(), lacks)
    }

    /// A change has a column, which is earlier than was known: rows between the two lost it.
    fn lost(
        &mut self,
        contract: &PreparedContract,
        origin: &str,
        (column, from, until): (usize, &Position, Option<Position>),
        epoch: u64,
    ) {
        let layout = contract.layout();
        for (_, known) in self.rows.iter_mut().filter(|(id, _)| id.0 == origin) {
            let State::Row { bytes, .. } = &known.state else { continue };
            let row = layout.row(bytes);
            let is_null = row.is_null(column) && !row.is_unknown(column);
            let is_behind = order(from, &known.at) == Ordering::Less;
            let is_before = until.is_none_or(|until| order(&known.at, &until) == Ordering::Less);
            if is_null && is_behind && is_before && !known.carried.contains_key(&column) {
                let mut bytes = Vec::new();
                self.builder.reset(contract.columns().len());
                (0..contract.columns().len()).for_each(|index| self.builder.copy(index, row));
                self.builder.set_unknown(column);
                self.builder.set_outdated(row.is_outdated());
                self.builder.finish(layout, &mut bytes);
                known.state = State::Row { bytes: bytes.into(), epoch };
                known.carried.insert(column, known.at);
                known.seen = false;
            }
        }
    }

    /// A record that could not be decoded.
    pub(super) fn unreadable(
        &mut self,
        contract: &PreparedContract,
        change: ChangeRef<'_>,
        topic: u32,
        epoch: u64,
        clock: Micros,
    ) {
        let at = Position { topic, ..change.change.position };
        let lane = (topic, at.partition);
        if change.key.is_empty() {
            return;
        }
        if self.deleted.get(&lane).is_some_and(|last| last.1 == change.key) {
            self.deleted.remove(&lane);
        }
        let found = match change.change.origin {
            NO_ORIGIN => self.row_before(&at, change.key),
            _ => Some((change.origin.to_owned(), at)),
        };
        let Some((name, at)) = found else { return };
        let origin = self.origins.entry(name.clone()).or_default();
        if origin.halted.is_some() {
            return;
        }
        let at = Position { incarnation: origin.incarnation_at(&at, None), ..at };
        self.doubt(contract, (name, change.key.to_vec()), at, epoch, clock);
    }

    /// The row of this key that came last by the partition, or the topic's only origin.
    fn row_before(&self, at: &Position, key: &[u8]) -> Option<(String, Position)> {
        let names = self.ways.get(&at.topic)?;
        let mut newest: Option<(String, Position)> = None;
        for name in names {
            let held = self.rows.get(&(name.clone(), key.to_vec()));
            let Some(Known { state: State::Row { .. }, at: held, .. }) = held else { continue };
            let is_here = (held.topic, held.partition) == (at.topic, at.partition);
            let is_newest = newest.as_ref().is_none_or(|(_, known)| known.offset < held.offset);
            if is_here && held.offset < at.offset && is_newest {
                newest = Some((name.clone(), *held));
            }
        }
        if let Some((name, held)) = newest {
            return Some((name, Position { place: None, offset: at.offset, ..held }));
        }
        if let [only] = names.as_slice() { Some((only.clone(), *at)) } else { None }
    }

    /// The row is in doubt if nothing newer is known of it.
    pub(super) fn doubt(
        &mut self,
        contract: &PreparedContract,
        id: RowId,
        at: Position,
        epoch: u64,
        clock: Micros,
    ) {
        let held = self.held(&id, clock);
        if held.is_some_and(|held| !is_newer(&at, &held)) || self.is_swept(&id, &at) {
            return;
        }
        if self.unread(&id).is_some_and(|known| !is_newer(&at, &known)) {
            return;
        }
        let row = self.rows.get(&id).cloned();
        let Some(Known { state: State::Row { bytes, .. }, at: held, carried, .. }) = row else {
            self.keep_unplaced(id, Some(at));
            return;
        };
        let bytes = self.marked(contract, &bytes, true);
        let state = State::Row { bytes, epoch };
        self.rows.insert(id, Known { at: held, state, carried, unread: Some(at), seen: false });
    }

    /// Whether the row is not there and a snapshot that is over lacked it.
    pub(super) fn is_swept(&self, id: &RowId, at: &Position) -> bool {
        let is_row = matches!(self.rows.get(id), Some(Known { state: State::Row { .. }, .. }));
        let over = self.origins.get(&id.0).and_then(|origin| origin.over.as_ref());
        !is_row && over.is_some_and(|(snapshot, since)| since.is_some() && snapshot.is_behind(at))
    }

    /// The unreadable change that is newer than what is known of a row.
    pub(super) fn unread(&self, id: &RowId) -> Option<Position> {
        match self.rows.get(id) {
            Some(Known { state: State::Row { .. }, unread, .. }) => *unread,
            _ => self.unplaced.get(id).copied(),
        }
    }

    /// Remembers the unreadable change of a key without a row, or that there is none.
    pub(super) fn keep_unplaced(&mut self, id: RowId, at: Option<Position>) {
        let Some(at) = at else {
            self.unplaced.remove(&id);
            return;
        };
        if self.unplaced.contains_key(&id) || self.unplaced.len() < NAMED_MAX {
            self.unplaced.insert(id, at);
        }
    }

    /// Somebody decided that these unreadable records, or all of them, will not be missed, or they were read.
    pub(in crate::verify) fn drop_unread(
        &mut self,
        contract: &PreparedContract,
        letters: Option<&BTreeSet<LetterAt>>,
        epoch: u64,
    ) {
        let topics = self.topics.clone();
        let is_dropped = |at: &Position| {
            let topic = usize::try_from(at.topic).ok().and_then(|topic| topics.get(topic));
            letters.is_none_or(|letters| {
                let (topic, Position { partition, offset, .. }) = (topic.cloned(), *at);
                let at = topic.map(|topic| LetterAt { topic, partition, offset });
                at.is_some_and(|at| letters.contains(&at))
            })
        };
        self.unplaced.retain(|_, at| !is_dropped(at));
        let rows = self.rows.iter().filter(|(_, row)| row.unread.as_ref().is_some_and(is_dropped));
        let ids: Vec<RowId> = rows.map(|(id, _)| id.clone()).collect();
        for id in ids {
            let Some(Known { state: State::Row { bytes, .. }, at, carried, .. }) =
                self.rows.remove(&id)
            else {
                continue;
            };
            let state = State::Row { bytes: self.marked(contract, &bytes, false), epoch };
            self.rows.insert(id, Known { at, state, carried, unread: None, seen: false });
        }
    }

    /// The row, marked as outdated or not.
    pub(super) fn marked(
        &mut self,
        contract: &PreparedContract,
        row: &[u8],
        is_outdated: bool,
    ) -> Box<[u8]> {
        let layout = contract.layout();
        let own = layout.row(row);
        let mut bytes = Vec::new();
        self.builder.reset(contract.columns().len());
        (0..contract.columns().len()).for_each(|index| self.builder.copy(index, own));
        self.builder.set_outdated(is_outdated);
        self.builder.finish(layout, &mut bytes);
        bytes.into()
    }
}
