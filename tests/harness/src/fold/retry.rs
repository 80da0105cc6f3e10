//! Dead letters that are read again: records that come late.

use std::collections::BTreeSet;

use super::{Delta, Fold, Position, Table, Verdict};
use crate::bronze::Record;
use crate::event::{self, Change, Decoded, Op};

/// How long a delete is remembered, in microseconds.
const REMEMBERED: i64 = 7 * 86_400_000_000;

impl Fold {
    /// Somebody decided that these records of a table are read again, in this epoch at this clock.
    pub fn retry(
        &mut self,
        name: &str,
        letters: &[Record],
        (epoch, clock): (i64, i64),
    ) -> Vec<Delta> {
        let (mut deltas, mut read) = (Vec::new(), BTreeSet::new());
        for letter in letters {
            if self.contract_of(&letter.topic).as_deref() != Some(name) {
                continue;
            }
            let Some(table) = self.tables.get_mut(name) else { continue };
            let topic = table.life(letter);
            let decoded =
                event::decode(&table.contract, letter.key.as_deref(), letter.value.as_deref());
            let outcome = match decoded {
                Decoded::Undecodable(_) => Err(Delta::default()),
                Decoded::Nothing => Ok(Delta::default()),
                Decoded::Null(key, of) => Ok(table.bury((&key, of.as_deref()), topic, letter)),
                Decoded::Change(mut change) => {
                    change.other = event::other_key(&table.contract, &letter.headers, change.op);
                    self.come_late(name, change, letter, (topic, epoch, clock))
                }
            };
            read.extend(outcome.is_ok().then_some((topic, letter.partition, letter.offset)));
            deltas.push(outcome.unwrap_or_else(|delta| delta));
        }
        if let Some(table) = self.tables.get_mut(name) {
            let is_over = |at: &Position| read.contains(&(at.topic, at.partition, at.offset));
            deltas.push(table.end_doubts(is_over, epoch));
        }
        deltas
    }

    /// A change by its own position; an error where it cannot be taken, with what that changes.
    fn come_late(
        &mut self,
        table_name: &str,
        mut change: Change,
        letter: &Record,
        (topic, epoch, clock): (usize, i64, i64),
    ) -> Result<Delta, Delta> {
        let Some(table) = self.tables.get_mut(table_name) else { return Err(Delta::default()) };
        let name = change.origin.clone().unwrap_or_else(|| letter.topic.clone());
        table.came_by(topic, &name);
        let origin = table.origins.entry(name.clone()).or_default();
        if origin.halted {
            return Err(Delta::default());
        }
        let later = origin.begun.iter().filter(|begun| **begun > letter.epoch).count();
        let (now, has_deleted) = (origin.incarnation, origin.has_deleted);
        let id = (name, change.key.clone());
        let unread = table.unread(&id);
        let place = |at: &Position| (at.topic, at.partition, at.offset);
        let own = unread.filter(|own| place(own) == (topic, letter.partition, letter.offset));
        let incarnation = now - u32::try_from(later).unwrap_or(0);
        let position = Position {
            incarnation: own.map_or(incarnation, |own| own.incarnation),
            place: change.place,
            snapshot: change.op == Op::Snapshot,
            source_ms: change.source_ms,
            topic,
            partition: letter.partition,
            offset: letter.offset,
        };
        if change.op == Op::Truncate {
            return Ok(table.truncate(&id.0, position));
        }
        let lost = table.lack(&id.0, &mut change, &position, epoch);
        if !matches!(table.judge(&id, &change, position), Verdict::Apply) {
            self.stale += 1;
            return Ok(lost.then(table.late(&id, &change, position, epoch)));
        }
        let is_held = table.keys.get(&id).is_some_and(|held| held.row.is_some());
        let is_old = letter.epoch_clock + REMEMBERED <= clock;
        if is_old && has_deleted && !is_held && unread.is_none() && change.op != Op::Delete {
            return Err(lost);
        }
        match self.settle(table_name, id, change, position, epoch) {
            Ok(delta) => Ok(lost.then(delta)),
            Err((delta, _)) => Err(lost.then(delta)),
        }
    }
}

impl Table {
    /// The number of the life of a topic that a record came by.
    pub(super) fn life(&mut self, record: &Record) -> usize {
        let life = (record.source.clone(), record.topic.clone(), record.incarnation.clone());
        let known = self.topics.iter().position(|known| *known == life);
        known.unwrap_or_else(|| {
            self.topics.push(life);
            self.topics.len() - 1
        })
    }
}
