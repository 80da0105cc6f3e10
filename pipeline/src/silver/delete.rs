//! What removes one row: its delete, and a null value where the log cleaner has taken that.
//!
//! # Guarantees
//! - A null value is of the table that its key names, where several share a topic and are told apart so.
//! - A deleted row leaves a tombstone with the position of what deleted it; a null value has no place in the source,
//!   and leaves that of the row.

use schemas::{Delta, EpochStamp, Micros, Position};

use super::seen::TopicLife;
use super::tombstones::Tombstone;
use super::{TableFold, Which, dead_key};
use crate::decode::{Change, ChangeKind, ChangeRef};

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
    pub(super) fn bury(&mut self, null: ChangeRef<'_>, clock: Micros, delta: &mut Delta) {
        let ChangeRef { key, change, .. } = null;
        let at = Position { topic: self.origins.topic(), ..change.position };
        let origins = self.named(std::str::from_utf8(null.other).unwrap_or_default());
        let last = self.last_deletes.get(&(at.topic, at.partition));
        let is_told = |(origin, last): &(u32, Vec<u8>)| *last == key && origins.contains(origin);
        if key.is_empty() || last.is_some_and(is_told) {
            return;
        }
        let mut newest: Option<(Position, Which<'_>)> = None;
        for origin in origins {
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

    /// The origins that came by the topic and that a name of a table may be of: all of them, where it is none that
    /// their server gives, or where events do not say of which table they are.
    fn named(&self, table: &str) -> Vec<u32> {
        let all: Vec<u32> = self.origins.of_topic().collect();
        let name = |origin: u32| self.origins.name(origin);
        let topic = TopicLife::read(self.origins.topic_name(self.origins.topic())).topic;
        let is_same = |origin: &u32| first_part(name(*origin)) == first_part(table);
        if table.is_empty()
            || !all.iter().any(is_same)
            || all.iter().any(|origin| name(*origin) == topic)
        {
            return all;
        }
        all.into_iter().filter(|origin| is_table(name(*origin), table)).collect()
    }

    /// Remembers the key of a delete, whatever becomes of it, until another change of that key comes.
    pub(super) fn note_delete(&mut self, change: &Change, key: &[u8]) {
        let lane = (self.origins.topic(), change.position.partition);
        if change.kind == ChangeKind::Delete {
            let (origin, last) = self.last_deletes.entry(lane).or_default();
            *origin = self.origins.of(change.origin);
            key.clone_into(last);
        } else {
            let is_its = |(_, last): &(u32, Vec<u8>)| *last == key;
            if self.last_deletes.get(&lane).is_some_and(is_its) {
                self.last_deletes.remove(&lane);
            }
        }
    }
}

fn first_part(name: &str) -> Option<String> {
    name.split('.').next().map(in_topic)
}

/// As Debezium writes a name in that of a topic.
fn in_topic(name: &str) -> String {
    let is_kept = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    name.chars().map(|letter| if is_kept(letter) { letter } else { '_' }).collect()
}

/// Whether the name of a topic, which Debezium makes of server, database or schema, and table, may be that of an origin.
fn is_table(origin: &str, topic: &str) -> bool {
    let origin = in_topic(origin);
    let own: Vec<&str> = origin.split('.').collect();
    let parts: Vec<&str> = topic.split('.').collect();
    let is_within = parts.iter().all(|part| own.contains(part));
    is_within && own.first() == parts.first() && own.last() == parts.last()
}
