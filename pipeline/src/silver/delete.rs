//! What removes one row: its delete, and a null value where the log cleaner has taken that.
//!
//! # Guarantees
//! - A deleted row leaves a tombstone with the position of what deleted it; a null value has no place in the source,
//!   and leaves that of the row.

use schemas::{Delta, EpochStamp, Micros, Position};

use super::tombstones::Tombstone;
use super::{TableFold, Which, dead_key};
use crate::decode::{Change, ChangeKind};

impl TableFold {
    pub(super) fn delete(
        &mut self,
        which: Which<'_>,
        moved_to: &[u8],
        position: Position,
        is_known: bool,
        stamp: &EpochStamp,
        delta: &mut Delta,
    ) {
        if which.slot.is_none() && is_known {
            self.counters.duplicate += 1;
            return;
        }
        self.counters.applied += 1;
        let unread = self.unread_after(which, &position);
        self.set_unplaced(which, unread);
        self.hand_over(which, moved_to, position, stamp, delta);
        match which.slot {
            Some(slot) => self.remove(slot, which.key, delta),
            None => self.counters.unknown_deletes += 1,
        }
        self.put_tombstone(which, Tombstone { position, clock: stamp.clock });
    }

    pub(super) fn put_tombstone(&mut self, which: Which<'_>, tombstone: Tombstone) {
        self.origins.get_mut(which.origin).into_iter().for_each(|own| own.has_deleted = true);
        dead_key(which, &mut self.dead_key);
        self.tombstones.put(self.dead_key.as_slice().into(), tombstone);
    }

    pub(super) fn remove(&mut self, slot: u32, key: &[u8], delta: &mut Delta) {
        let Some(old) = self.rows.get(slot) else { return };
        delta.set_quiet(self.origins.is_quiet(old.origin));
        delta.change(Some(self.contract.layout().row(old.row)), None);
        self.rows.remove(slot, key);
        self.rows.mark(slot);
    }

    /// A null value names a key: for Kafka's log compaction it may be all that is left of a delete. It
    /// deletes the row of that key that the same partition brought before it. After its own delete, which
    /// most often was the record before, it changes nothing.
    pub(super) fn bury(&mut self, at: &Position, key: &[u8], clock: Micros, delta: &mut Delta) {
        let at = Position { topic: self.origins.topic(), ..*at };
        let last = self.last_deletes.get(&(at.topic, at.partition));
        if key.is_empty() || last.is_some_and(|last| last == key) {
            return;
        }
        let mut newest: Option<(Position, Which<'_>)> = None;
        for origin in self.origins.of_topic().collect::<Vec<_>>() {
            self.unplaced.forget_before(origin, key, &at);
            let which = Which { origin, key, slot: self.rows.find(key, origin) };
            let held = match self.held(which, &at) {
                Ok((held, _)) => held,
                Err(error) => {
                    self.failure = Some(error.to_string());
                    return;
                }
            };
            let held = held.filter(|held| held.is_beside(&at) && held.offset < at.offset);
            if let Some(held) = held
                && newest.is_none_or(|(newest, _)| newest.offset < held.offset)
            {
                newest = Some((held, which));
            }
        }
        let Some((held, which)) = newest else { return };
        let is_halted = self.origins.get(which.origin).is_some_and(|own| own.halt.is_some());
        if let Some(slot) = which.slot.filter(|_| !is_halted) {
            self.counters.applied += 1;
            // With a place of the row and an offset of its own it would pass, after a restore, for a change at that
            // place of the new numbering.
            let offset = if held.place.is_some() { held.offset } else { at.offset };
            let position = Position { offset, ..held };
            let is_before = |unread: &Position| unread.is_beside(&at) && unread.offset < at.offset;
            let unread = self.unread_after(which, &position).filter(|unread| !is_before(unread));
            self.set_unplaced(which, unread);
            self.remove(slot, key, delta);
            self.put_tombstone(which, Tombstone { position, clock });
        }
    }

    /// Remembers the key of a delete, whatever becomes of it, until another change of that key comes.
    pub(super) fn note_delete(&mut self, change: &Change, key: &[u8]) {
        let lane = (self.origins.topic(), change.position.partition);
        if change.kind == ChangeKind::Delete {
            key.clone_into(self.last_deletes.entry(lane).or_default());
        } else if let Some(last) = self.last_deletes.get_mut(&lane).filter(|last| **last == key) {
            last.clear();
        }
    }
}
