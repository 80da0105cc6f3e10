//! Null values: all that a log cleaner has left of deletes.

use pipeline::decode::ChangeRef;
use schemas::{Micros, Position};

use super::doubt::is_newer;
use super::{Known, Reference, RowId, State};

impl Reference {
    /// A null value: the row of its key that this partition brought last before it is gone, unless a
    /// delete came last. Where its key names a table of the topic it is of that one.
    pub(super) fn null(&mut self, at: &Position, null: ChangeRef<'_>, clock: Micros) {
        let key = null.key;
        let mut origins = self.ways.get(&at.topic).cloned().unwrap_or_default();
        let table = std::str::from_utf8(null.other).unwrap_or_default();
        // Another naming than Debezium's says nothing, nor does any where the topic stands for the table.
        let label = self.topics.get(usize::try_from(at.topic).unwrap_or_default());
        let topic = label.and_then(|label| label.split_once('/')?.1.rsplit_once('/'));
        let is_topic = |origin: &String| topic.is_some_and(|(topic, _)| topic == origin);
        let server = |name: &str| topic_text(name).split('.').next().map(str::to_owned);
        if origins.iter().any(|origin| server(origin) == server(table))
            && !origins.iter().any(is_topic)
        {
            origins.retain(|origin| is_named(origin, table));
        }
        let last = self.deleted.get(&(at.topic, at.partition));
        if last.is_some_and(|(origin, last)| last == key && origins.contains(origin)) {
            return;
        }
        let is_before = |unread: &Position| {
            (unread.topic, unread.partition) == (at.topic, at.partition)
                && unread.offset < at.offset
        };
        let mut newest: Option<(i64, RowId, Position)> = None;
        for origin in origins {
            let id = (origin, key.to_vec());
            if self.unplaced.get(&id).is_some_and(is_before) {
                self.unplaced.remove(&id);
            }
            let Some(held) = self.held(&id, clock) else { continue };
            let here = (held.topic, held.partition) == (at.topic, at.partition);
            let is_newest = newest.as_ref().is_none_or(|(offset, ..)| *offset < held.offset);
            if here && held.offset < at.offset && is_newest {
                newest = Some((held.offset, id, held));
            }
        }
        let Some((_, id, held)) = newest.filter(|_| !key.is_empty()) else { return };
        let is_row = matches!(self.rows.get(&id), Some(Known { state: State::Row { .. }, .. }));
        let is_halted = self.origins.get(&id.0).is_some_and(|origin| origin.halted.is_some());
        if is_row && !is_halted {
            // It stands where the row did; without a place, where the null does.
            let offset = if held.place.is_none() { at.offset } else { held.offset };
            let gone = Position { offset, ..held };
            let unread = self.unread(&id);
            let unread = unread.filter(|unread| is_newer(unread, &gone) && !is_before(unread));
            self.keep_unplaced(id.clone(), unread);
            self.bury(id, gone, clock);
        }
    }
}

/// A name with `_` for what no topic may have.
fn topic_text(name: &str) -> String {
    let letters = name.chars();
    letters
        .map(|one| if one.is_ascii_alphanumeric() || "._-".contains(one) { one } else { '_' })
        .collect()
}

/// Whether an origin is of the table that a key names by its own topic: all parts of that name are parts of it, the first
/// and the last in their places.
fn is_named(origin: &str, table: &str) -> bool {
    let origin = topic_text(origin);
    let own: Vec<&str> = origin.split('.').collect();
    let parts: Vec<&str> = table.split('.').collect();
    let ends = (own.first() == parts.first(), own.last() == parts.last());
    ends == (true, true) && parts.iter().all(|part| own.contains(part))
}
