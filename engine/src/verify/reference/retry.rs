//! Dead letters that are read again, by the rules alone: as if they had come late.

use std::cmp::Ordering;

use pipeline::decode::{ChangeBatch, ChangeKind, ChangeRef, PreparedContract};
use schemas::{Micros, Position};

use super::order::{is_again, order, source_went_back};
use super::{Reference, RowId, State, is_forgotten};

impl Reference {
    /// Reads the record of a letter that came in an epoch of before. Whether it could be read.
    pub(in crate::verify) fn retry(
        &mut self,
        contract: &PreparedContract,
        changes: &ChangeBatch,
        came: (u64, Micros),
        (epoch, clock): (u64, Micros),
    ) -> bool {
        let Some(change) = changes.iter().next() else { return true };
        let what = change.change;
        let is_refused = what.kind == ChangeKind::Upsert && self.is_refused(contract, change.row);
        if what.kind == ChangeKind::Unreadable || is_refused {
            return false;
        }
        let topic = self.arrive(changes);
        let here = Position { topic, ..what.position };
        match what.kind {
            ChangeKind::Ignored => return true,
            ChangeKind::Tombstone => {
                self.null(&here, change, clock);
                return true;
            }
            _ => {}
        }
        let id: RowId = (change.origin.to_owned(), change.key.to_vec());
        let origin = self.origins.entry(id.0.clone()).or_default();
        if origin.halted.is_some() {
            return false;
        }
        let incarnation = origin.incarnation_at(&here, Some(came.0));
        let place = |at: &Position| (at.topic, at.partition, at.offset);
        let own = self.unread(&id).filter(|unread| place(unread) == place(&here));
        let incarnation = own.map_or(incarnation, |own| own.incarnation);
        let at = Position { incarnation, ..here };
        if what.kind == ChangeKind::Truncate {
            self.truncate(&id.0, at, clock);
            return true;
        }
        let (row, lacks) = self.lacks(contract, &id.0, change, &at, epoch);
        let change = ChangeRef { row: &row, absent: &lacks, ..change };
        self.take_late(contract, id, (change, at), came.1, (epoch, clock))
    }

    fn take_late(
        &mut self,
        contract: &PreparedContract,
        id: RowId,
        (change, at): (ChangeRef<'_>, Position),
        came: Micros,
        (epoch, clock): (u64, Micros),
    ) -> bool {
        let is_upsert = change.change.kind == ChangeKind::Upsert;
        let held = self.held(&id, clock);
        let is_behind =
            |held: Position| order(&at, &held) == Ordering::Less || source_went_back(&held, &at);
        if held.is_some_and(is_behind) || self.is_swept(&id, &at) {
            self.late(contract, &id, change, &at, (epoch, clock));
            return true;
        }
        let again = held.is_some_and(|held| is_again(&held, &at));
        if !is_upsert {
            self.delete(contract, id, change.other, at, again, (epoch, clock));
            return true;
        }
        let is_row = self.rows.get(&id).is_some_and(|row| matches!(row.state, State::Row { .. }));
        let deletes = self.origins.get(&id.0).is_some_and(|origin| origin.deletes);
        let is_known = is_row || self.unread(&id).is_some();
        if is_forgotten(came, clock) && deletes && !is_known {
            return false;
        }
        self.upsert(contract, id, change, at, again, (epoch, clock))
    }
}
