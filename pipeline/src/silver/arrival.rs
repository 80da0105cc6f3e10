//! A row that comes to a key from another one: what was there before is another row.
//!
//! A delete that names the new key says so, and a create that names the old one. They may lie in two partitions, and
//! whichever is read first tells of both.
//!
//! # Guarantees
//! - What the log has under a key before a row came there fills nothing of that row. What it has filled until that
//!   was known is taken back.
//!
//! # Non-guarantees
//! - A required column keeps such a value until the row's own is read: it may not be unknown.

use schemas::{Delta, EpochStamp, Position};

use super::moved::{Id, is_behind};
use super::record::Carried;
use super::{TableFold, Which};

impl TableFold {
    /// A create names the key that its row had before: what was there under its own key is another row.
    pub(super) fn note_arrival(
        &mut self,
        which: Which<'_>,
        old_key: &[u8],
        at: Position,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        if old_key.is_empty() || old_key == which.key || at.place.is_none() {
            return;
        }
        let id = (which.origin, old_key.to_vec());
        self.note_way(id, (which.key, at), (Vec::new(), true), stamp, delta);
    }

    /// A row went on under another key. If that is news, the row there may have taken values of one that had the key
    /// before: they are not its own.
    pub(super) fn note_way(
        &mut self,
        id: Id,
        (to, left): (&[u8], Position),
        (known, is_open): (Vec<Position>, bool),
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        let (origin, _) = id;
        if !self.moved.note(id, (to, left), known, is_open, stamp.clock) {
            return;
        }
        let which = Which { origin, key: to, slot: self.rows.find(to, origin) };
        let Some(held) = which.slot.and_then(|slot| self.rows.get(slot)) else { return };
        let is_behind_it = held.position.compare(&left).is_gt() && !held.position.is_again(&left);
        if held.carried.is_empty() || !is_behind_it {
            return;
        }
        let carried = Carried::read(held.carried);
        let is_former = |column: usize| {
            let from = carried.get(column).filter(|_| !self.contract.is_required(column));
            from.is_some_and(|from| is_behind(&left, &from) && !from.has_seen(&left))
        };
        let former: Vec<usize> = carried.columns().filter(|column| is_former(*column)).collect();
        if !former.is_empty() {
            self.forget_values(which, &former, stamp, delta);
        }
    }

    /// A create that is read behind a later change of its key takes what waited for it. Returns whether something was
    /// filled.
    pub(super) fn take_waiting(
        &mut self,
        which: Which<'_>,
        old_key: &[u8],
        at: &Position,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) -> bool {
        let Some(moved) = self.moved.waiting(which, old_key, at) else { return false };
        self.moved.arrive(which, at);
        self.give(which.origin, which.key.to_vec(), moved, stamp, delta)
    }
}
