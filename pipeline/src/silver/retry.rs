//! Dead letters that are read again, because somebody decided so: changes that come late.
//!
//! # Guarantees
//! - What is read is folded by its own position, as it would have been had it come late: never as the newest.
//! - It ends the doubt that it caused, and no other. A record that still cannot be read ends none.
//! - Nothing that the order of a source means follows from it: no snapshot begins or ends, nothing halts, and
//!   how far was read stays as it was.
//!
//! # Non-guarantees
//! - Of what was kept without a name because there was too much of it, only the count is right, and only if
//!   every record of a key is read again.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use schemas::{Delta, EpochId, EpochStamp, Micros, Position};

use super::tombstones::TOMBSTONE_RETENTION_US;
use super::{TableFold, Which};
use crate::decode::{ChangeBatch, ChangeKind, ChangeRef};

/// Why a record is not read that may have been overtaken by a delete.
const TOO_OLD: &str = "it came over seven days ago, nothing is held of its row, and whether that was deleted since \
                       is not known any more: change the row at the source, or take an incremental snapshot of it";

/// Why a record is not read whose origin stands still.
const HALTED: &str =
    "its origin is halted: `weir tables resume`, or a full snapshot, lets it go on";

/// A dead letter as it is read now.
#[derive(Debug, Clone, Copy)]
pub struct Again<'a> {
    /// The change of the record, alone.
    pub changes: &'a ChangeBatch,
    /// The epoch that it came in.
    pub epoch: EpochId,
    /// That epoch's clock.
    pub clock: Micros,
}

impl TableFold {
    /// Why a record cannot be read, if it cannot, as far as it says so itself.
    pub fn unread_for(&self, changes: &ChangeBatch) -> Option<String> {
        let change = changes.iter().next()?;
        match change.change.kind {
            ChangeKind::Unreadable => {
                let reason = changes.error(change.change.record);
                Some(reason.map_or_else(String::new, |reason| reason.0.clone()))
            }
            ChangeKind::Upsert => self.refusal(change),
            _ => None,
        }
    }

    /// Reads dead letters again, after the timers due. Gives for each why it still cannot be read, if so.
    pub fn retry(
        &mut self,
        letters: &[Again<'_>],
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> Vec<Option<String>> {
        let (mut read, mut reasons) = (BTreeSet::new(), Vec::with_capacity(letters.len()));
        for letter in letters {
            let outcome = self.retry_one(letter, stamp, delta);
            reasons.push(match outcome {
                Ok(place) => {
                    read.extend(place);
                    None
                }
                Err(reason) => Some(reason),
            });
        }
        self.end_doubts(|place| read.contains(&place), false, stamp, delta);
        reasons
    }

    /// Folds one of them; gives its place.
    fn retry_one(
        &mut self,
        letter: &Again<'_>,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> Result<Option<(u32, i32, i64)>, String> {
        let changes = letter.changes;
        if let Some(reason) = self.unread_for(changes) {
            return Err(reason);
        }
        self.origins.begin(changes.topic(), changes.is_whole(), changes.origins());
        let Some(change) = changes.iter().next().filter(|_| self.failure.is_none()) else {
            return Ok(None);
        };
        let topic = self.origins.topic();
        let what = change.change;
        let place = (topic, what.position.partition, what.position.offset);
        match what.kind {
            ChangeKind::Ignored | ChangeKind::Unreadable => return Ok(Some(place)),
            ChangeKind::Tombstone => {
                self.bury(change, stamp.clock, delta);
                return Ok(Some(place));
            }
            ChangeKind::Upsert | ChangeKind::Delete | ChangeKind::Truncate => {}
        }
        let origin = self.origins.of(what.origin);
        let Some(own) = self.origins.get(origin) else { return Ok(None) };
        if own.halt.is_some() {
            return Err(HALTED.to_owned());
        }
        let slot = self.rows.find(change.key, origin);
        let which = Which { origin, key: change.key, slot };
        let (unread, has_deleted) = (self.unread_of(which), own.has_deleted);
        let is_it = |own: &Position| (own.topic, own.partition, own.offset) == place;
        let here = Position { topic, ..what.position };
        let came_in = || own.incarnation_of(&here, Some(letter.epoch));
        let incarnation = unread.filter(is_it).map_or_else(came_in, |own| own.incarnation);
        let position = Position { incarnation, ..here };
        if what.kind == ChangeKind::Truncate {
            self.truncate(origin, position, stamp.clock, delta);
            return Ok(Some(place));
        }
        let is_known = slot.is_some() || unread.is_some();
        let is_counted = !is_known && !self.unplaced.has(place);
        let mut lacking = std::mem::take(&mut self.lacking);
        if what.kind == ChangeKind::Upsert {
            self.note_sent(origin, change, &position, &mut lacking, (stamp, delta));
        }
        let is_old = letter.clock.plus(TOMBSTONE_RETENTION_US) <= stamp.clock;
        let may_be_gone = is_old && has_deleted && !is_known;
        let change_now = lacking.view(change);
        let outcome = self.retry_row(change_now, which, position, may_be_gone, (stamp, delta));
        self.lacking = lacking;
        outcome?;
        if is_counted && self.rows.find(change.key, origin).is_some() {
            self.unplaced.forget_one();
        }
        Ok(Some(place))
    }

    fn retry_row(
        &mut self,
        change: ChangeRef<'_>,
        which: Which<'_>,
        position: Position,
        may_be_gone: bool,
        (stamp, delta): (&EpochStamp, &mut Delta),
    ) -> Result<(), String> {
        let (held, is_dead) = match self.held(which, &position) {
            Ok(held) => held,
            Err(error) => {
                self.failure = Some(error.to_string());
                return Ok(());
            }
        };
        let is_late = held.is_some_and(|held| {
            position.compare(&held) == Ordering::Less || held.went_back_to(&position)
        });
        if is_late || self.is_swept(which, &position) {
            self.late(which, change, &position, stamp, delta);
            return Ok(());
        }
        if change.change.kind != ChangeKind::Delete && may_be_gone {
            return Err(TOO_OLD.to_owned());
        }
        self.refused.clear();
        self.take(which, change, position, (held, is_dead), (stamp, delta));
        self.refused.pop().map_or(Ok(()), |(_, reason)| Err(reason))
    }
}

#[cfg(test)]
mod tests;
