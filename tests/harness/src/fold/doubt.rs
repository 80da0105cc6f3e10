//! Changes that could not be read, and the rows that are in doubt for them.

use std::cmp::Ordering;
use std::rc::Rc;

use super::{Delta, Fold, Id, Position, Table};
use crate::bronze::{LetterAt, Record};
use crate::event::{self, Cell, Change, Row};

impl Position {
    /// Whether a change that could not be read stands behind what is known, and is not that change.
    pub(super) fn is_newer(&self, known: &Position) -> bool {
        let one = |at: &Position| (at.incarnation, at.place, at.snapshot);
        let is_again = self == known || (self.place.is_some() && one(self) == one(known));
        self.order(known) == Ordering::Greater && !is_again
    }
}

impl Fold {
    /// Somebody decided that nobody waits for this record of a table, or for none before.
    pub fn drop_unread(&mut self, table: &str, letter: Option<&LetterAt>, epoch: i64) -> Delta {
        let Some(table) = self.tables.get_mut(table) else { return Delta::default() };
        let lives =
            table.topics.iter().map(|(source, topic, life)| format!("{source}/{topic}/{life}"));
        let lives: Vec<String> = lives.collect();
        let is_dropped = |at: &Position| {
            let own = (lives[at.topic].clone(), i64::from(at.partition), at.offset);
            letter.is_none_or(|letter| *letter == own)
        };
        table.end_doubts(is_dropped, epoch)
    }
}

impl Table {
    /// What was unreadable at these places puts nothing in doubt any more.
    pub(super) fn end_doubts(&mut self, is_over: impl Fn(&Position) -> bool, epoch: i64) -> Delta {
        let (mut delta, table) = (Delta::default(), self);
        table.unplaced.retain(|_, at| !is_over(at));
        let columns = table.contract.columns.len();
        for (id, held) in
            table.keys.iter_mut().filter(|(_, held)| held.unread.as_ref().is_some_and(&is_over))
        {
            held.unread = None;
            let Some(old) = held.row.take() else { continue };
            let new: Row = Rc::new(old.iter().take(columns).cloned().collect());
            (held.row, held.epoch) = (Some(Rc::clone(&new)), epoch);
            delta.gone.push((Rc::clone(&table.name), id.clone(), old));
            delta.come.push((Rc::clone(&table.name), id.clone(), new));
        }
        delta
    }

    /// An origin came by a life of a topic.
    pub(super) fn came_by(&mut self, topic: usize, origin: &str) {
        let ways = self.ways.entry(topic).or_default();
        if !ways.iter().any(|known| known == origin) {
            ways.push(origin.to_owned());
        }
    }

    /// What a change lacks, and its schema names or its origin has sent before, is unknown; nothing else is absent
    /// after this.
    /// Gives what that changes of rows that are held: a column may have been there before they lacked it.
    pub(super) fn lack(
        &mut self,
        origin: &str,
        change: &mut Change,
        at: &Position,
        epoch: i64,
    ) -> Delta {
        let Some(row) = change.row.take() else {
            change.absent.clear();
            return Delta::default();
        };
        let mut delta = Delta::default();
        let own = self.origins.entry(origin.to_owned()).or_default();
        let absent = std::mem::take(&mut change.absent);
        own.lacked.extend(&absent);
        let (sent, lacked) = (&mut own.sent, &own.lacked);
        for column in (0..self.contract.columns.len()).filter(|own| !absent.contains(own)) {
            let until = sent.get(&column).copied();
            if until.is_some_and(|until| at.order(&until).is_ge()) {
                continue;
            }
            sent.insert(column, *at);
            let of_origin = self.keys.iter_mut().filter(|(id, _)| id.0 == origin);
            let of_origin = of_origin.filter(|_| lacked.contains(&column));
            for (id, held) in of_origin {
                let own = held.position;
                let is_between =
                    at.order(&own).is_lt() && until.is_none_or(|u| own.order(&u).is_lt());
                let Some(old) = held.row.clone().filter(|_| is_between) else { continue };
                if old[column] != Cell::Null || held.carried.contains_key(&column) {
                    continue;
                }
                let mut cells = old.to_vec();
                cells[column] = Cell::Unknown;
                let new: Row = Rc::new(cells);
                (held.row, held.epoch) = (Some(Rc::clone(&new)), epoch);
                held.carried.insert(column, own);
                delta.gone.push((Rc::clone(&self.name), id.clone(), old));
                delta.come.push((Rc::clone(&self.name), id.clone(), new));
            }
        }
        let is_lost = |own: &usize| {
            row[*own] == Cell::Unknown || sent.get(own).is_some_and(|first| first.order(at).is_lt())
        };
        change.absent = absent.into_iter().filter(is_lost).collect();
        let mut cells = row.to_vec();
        change.absent.iter().for_each(|column| cells[*column] = Cell::Unknown);
        change.row = Some(Rc::new(cells));
        delta
    }

    /// The table that a record names which changes no row.
    pub(super) fn origin_of(&self, record: &Record) -> Option<String> {
        event::remains(&self.contract, record.key.as_deref(), record.value.as_deref()).origin
    }

    /// A record that cannot be decoded.
    pub(super) fn unreadable(&mut self, record: &Record, topic: usize) -> Delta {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let remains = event::remains(&self.contract, key, value);
        let lane = (topic, record.partition);
        if remains.is_event {
            let name = remains.origin.as_ref().unwrap_or(&record.topic).clone();
            self.came_by(topic, &name);
        }
        let Some(key) = remains.key else { return Delta::default() };
        if self.deleted.get(&lane).is_some_and(|(_, last)| *last == key) {
            self.deleted.remove(&lane);
        }
        let mut at = Position {
            incarnation: 0,
            place: remains.place,
            snapshot: remains.is_snapshot,
            source_ms: remains.source_ms,
            topic,
            partition: record.partition,
            offset: record.offset,
        };
        let name = if remains.is_event {
            remains.origin.unwrap_or_else(|| record.topic.clone())
        } else {
            let ways = self.ways.get(&topic).cloned().unwrap_or_default();
            let held = ways.iter().filter_map(|name| {
                let held = self.keys.get(&(name.clone(), key.clone()))?;
                let own = held.position;
                let is_here = (own.topic, own.partition) == lane && own.offset < record.offset;
                (is_here && held.row.is_some()).then_some((name.clone(), own))
            });
            match (held.max_by_key(|(_, own)| own.offset), ways.as_slice()) {
                (Some((name, own)), _) => {
                    at = Position { place: None, offset: record.offset, ..own };
                    name
                }
                (None, [only]) => only.clone(),
                (None, _) => return Delta::default(),
            }
        };
        let origin = self.origins.entry(name.clone()).or_default();
        if origin.halted {
            return Delta::default();
        }
        at.incarnation = origin.incarnation;
        self.doubt(&(name, key), at, record.epoch)
    }

    /// A change at this position is not known: the row is in doubt unless something newer is.
    pub(super) fn doubt(&mut self, id: &Id, at: Position, epoch: i64) -> Delta {
        let mut delta = Delta::default();
        let truncated = self.origins.get(&id.0).and_then(|origin| origin.truncated);
        let held = self.keys.get(id);
        let has_row = held.is_some_and(|held| held.row.is_some());
        let is_truncated = !has_row && truncated.is_some_and(|floor| !at.is_newer(&floor));
        let is_known = held.is_some_and(|held| !at.is_newer(&held.position));
        let is_told = self.unread(id).is_some_and(|unread| !at.is_newer(&unread));
        if is_truncated || is_known || is_told {
            return delta;
        }
        let Some(old) = held.and_then(|held| held.row.clone()) else {
            self.keep_unplaced(id, Some(at));
            return delta;
        };
        let new = self.marked(&old, true);
        if let Some(held) = self.keys.get_mut(id) {
            (held.row, held.epoch) = (Some(Rc::clone(&new)), epoch);
            held.unread = Some(at);
        }
        if new != old {
            delta.gone.push((Rc::clone(&self.name), id.clone(), old));
            delta.come.push((Rc::clone(&self.name), id.clone(), new));
        }
        delta
    }

    /// The newest change of a row, or of a key without one, if that could not be read.
    pub(super) fn unread(&self, id: &Id) -> Option<Position> {
        match self.keys.get(id).filter(|held| held.row.is_some()) {
            Some(held) => held.unread,
            None => self.unplaced.get(id).copied(),
        }
    }

    /// The same, if it is newer than a change at this position, the row of which is then marked.
    pub(super) fn mark(&self, id: &Id, change: &mut Change, at: &Position) -> Option<Position> {
        let unread = self.unread(id).filter(|unread| unread.is_newer(at))?;
        let row = change.row.take();
        change.row = row.map(|row| self.marked(&row, true));
        Some(unread)
    }

    pub(super) fn keep_unplaced(&mut self, id: &Id, unread: Option<Position>) {
        self.unplaced.remove(id);
        self.unplaced.extend(unread.map(|unread| (id.clone(), unread)));
    }

    /// A null value ends what its partition brought before it of its key.
    pub(super) fn forget_before(
        &mut self,
        key: &str,
        names: &[String],
        lane: (usize, i32),
        offset: i64,
    ) {
        self.unplaced.retain(|id, unread| {
            let is_here = (unread.topic, unread.partition) == lane && unread.offset < offset;
            id.1 != key || !names.contains(&id.0) || !is_here
        });
    }

    /// The row, with the mark that a newer change could not be read, or without.
    pub(super) fn marked(&self, row: &Row, is_outdated: bool) -> Row {
        let columns = self.contract.columns.len();
        let mut cells: Vec<Cell> = row.iter().take(columns).cloned().collect();
        cells.extend(is_outdated.then_some(Cell::Unknown));
        Rc::new(cells)
    }
}
