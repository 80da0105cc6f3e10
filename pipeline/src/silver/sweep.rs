//! What removes many rows at once: a truncate, and the end of a snapshot.

use std::cmp::Ordering;
use std::sync::Arc;

use schemas::{Delta, Micros, Position};

use super::doubt::{self, is_newer};
use super::live::LiveRow;
use super::snapshot::{Lacking, Over, SnapshotRun};
use super::tombstones::{TOMBSTONE_RETENTION_US, Tombstone};
use super::{TableFold, Which};

impl TableFold {
    /// The keys of an origin's rows that are `gone`, in order, with their slots.
    fn rows_of(
        &self,
        origin: u32,
        is_gone: impl Fn(&LiveRow<'_>) -> bool,
    ) -> Vec<(Arc<[u8]>, u32)> {
        let gone = self.rows.iter().filter(|(_, row)| row.origin == origin && is_gone(row));
        let key_of = |slot| {
            let mut key = Vec::new();
            self.rows.key_of(slot, &mut key);
            key.into()
        };
        let mut gone: Vec<(Arc<[u8]>, u32)> = gone.map(|(slot, _)| (key_of(slot), slot)).collect();
        gone.sort_unstable();
        gone
    }

    pub(super) fn truncate(
        &mut self,
        origin: u32,
        position: Position,
        clock: Micros,
        delta: &mut Delta,
    ) {
        let floor = self.origins.get(origin).and_then(|own| own.floor);
        if floor.is_some_and(|floor| floor.position.is_again(&position)) {
            self.counters.duplicate += 1;
            return;
        }
        self.counters.applied += 1;
        if let Some(own) = self.origins.get_mut(origin) {
            own.has_deleted = true;
            own.withheld.truncate(&position);
        }
        let is_before = |held: &Position| {
            held.compare(&position) == Ordering::Less && !held.has_seen_truncate(&position)
        };
        let gone = self.rows_of(origin, |row| is_before(&row.position));
        self.unplaced.forget(origin, |unread| !is_newer(unread, &position));
        for (key, slot) in gone {
            let which = Which { origin, key: &key, slot: Some(slot) };
            let unread = self.unread_after(which, &position);
            self.set_unplaced(which, unread);
            self.remove(slot, &key, delta);
            super::dead_key(Which { origin, key: &key, slot: None }, &mut self.dead_key);
            self.tombstones.remove(&self.dead_key, None);
        }
        if floor.is_none_or(|floor| floor.position.compare(&position) == Ordering::Less)
            && let Some(own) = self.origins.get_mut(origin)
        {
            own.floor = Some(Tombstone { position, clock });
        }
    }

    /// When the next timer that may change rows is due. Old tombstones need none: they are dropped
    /// when the next epoch comes.
    pub fn due(&self) -> Option<Micros> {
        let runs = self.origins.iter().flat_map(|(_, origin)| &origin.snapshots);
        runs.filter_map(SnapshotRun::due).min()
    }

    /// Fires the timers due at `now` or before.
    pub fn fire(&mut self, now: Micros, delta: &mut Delta) {
        self.origins.begin_epoch(now);
        if self.due().is_some_and(|due| due <= now) {
            let origins = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
            (0..origins).for_each(|origin| self.end_snapshots(origin, now, delta));
        }
        self.tombstones.purge(now);
        self.moved.purge(now);
        for origin in self.origins.iter_mut() {
            let due = origin.floor.map(|floor| floor.clock.plus(TOMBSTONE_RETENTION_US));
            if due.is_some_and(|due| due <= now) {
                origin.floor = None;
            }
            origin.withheld.purge(now);
            if let Some(over) = &mut origin.over {
                over.swept.take_if(|since| since.plus(TOMBSTONE_RETENTION_US) <= now);
            }
        }
    }

    /// Ends the snapshots of an origin that are over by `now`, in their order.
    fn end_snapshots(&mut self, origin: u32, now: Micros, delta: &mut Delta) {
        loop {
            let runs = self.origins.get(origin).map(|own| own.snapshots.as_slice());
            let due = runs.unwrap_or_default().iter().enumerate();
            let due = due.filter(|(_, run)| run.due().is_some_and(|due| due <= now));
            let first = due.reduce(|a, b| if b.1.is_before(a.1) { b } else { a });
            let Some((due, at)) = first.and_then(|(at, run)| Some((run.due()?, at))) else {
                return;
            };
            self.end_snapshot(origin, (at, due), delta);
        }
    }

    fn end_snapshot(&mut self, origin: u32, (at, due): (usize, Micros), delta: &mut Delta) {
        let Some(own) = self.origins.get_mut(origin) else { return };
        let run = own.snapshots.remove(at);
        own.gap.take_if(|gap| run.is_after(gap.clock));
        let is_first = own.first.as_ref().is_none_or(|first| run.is_before(first));
        // A later one is over: it has said more of what this one lacked.
        if own.over.as_ref().is_some_and(|over| run.is_before(&over.run)) {
            if is_first {
                own.first = Some(run);
                self.release(origin, due, delta);
                self.ask(origin);
            }
            return;
        }
        let is_whole = own.is_whole;
        own.over = Some(Over { run: run.clone(), swept: is_whole.then_some(due) });
        if is_first {
            own.first = Some(run.clone());
        }
        let own = self.origins.get(origin);
        if is_whole {
            self.unplaced.forget(origin, |unread| run.is_missing(unread));
            let gone = self.lacking_rows(origin, &run);
            self.sweep(origin, &run, gone, due, delta);
        } else if is_first {
            // What an unfinished snapshot left goes with the first that is complete.
            let is_left =
                |row: &LiveRow<'_>| own.is_some_and(|own| own.is_unfinished(&row.position));
            let tombstone = Tombstone { position: run.deleted_at(), clock: due };
            for (key, slot) in self.rows_of(origin, is_left) {
                let which = Which { origin, key: &key, slot: Some(slot) };
                self.withhold(which, tombstone, delta);
            }
        }
        if let Some(own) = self.origins.get_mut(origin) {
            own.snapshots.retain(|other| !other.is_before(&run) || other.has_ended());
        }
        self.ask(origin);
    }

    /// Names what the last complete snapshot of an origin lacked and is still held.
    fn ask(&mut self, origin: u32) {
        let Some(own) = self.origins.get_mut(origin) else { return };
        own.lacking = None;
        let Some(run) = own.over.as_ref().map(|over| over.run.clone()) else { return };
        let rest = self.lacking_rows(origin, &run);
        if rest.is_empty() {
            return;
        }
        let keys: Vec<Arc<[u8]>> = rest.into_iter().map(|(key, _)| key).collect();
        let names = (self.contract.contract().name.as_str(), self.origins.name(origin));
        let lacking = Lacking::new(names, &keys);
        self.origins
            .get_mut(origin)
            .into_iter()
            .for_each(|own| own.lacking = Some(lacking.clone()));
    }

    /// The rows of an origin that a snapshot lacked, and every later one as far as it has passed. One with an
    /// unreadable change that is no older was in it.
    fn lacking_rows(&self, origin: u32, run: &SnapshotRun) -> Vec<(Arc<[u8]>, u32)> {
        let own = self.origins.get(origin).map(|own| own.snapshots.as_slice());
        let later = || own.unwrap_or_default().iter().filter(|later| !later.is_before(run));
        let is_missing =
            |at: &Position| run.is_missing(at) && later().all(|later| later.is_missing(at));
        let is_lacking = |row: &LiveRow<'_>| {
            let unread = || doubt::of_row(&self.contract, row);
            is_missing(&row.position) && unread().is_none_or(|unread| run.is_missing(&unread))
        };
        self.rows_of(origin, is_lacking)
    }

    fn sweep(
        &mut self,
        origin: u32,
        run: &SnapshotRun,
        gone: Vec<(Arc<[u8]>, u32)>,
        clock: Micros,
        delta: &mut Delta,
    ) {
        let position = run.deleted_at();
        self.counters.swept += gone.len() as u64;
        for (key, slot) in gone {
            self.remove(slot, &key, delta);
            self.put_tombstone(
                Which { origin, key: &key, slot: None },
                Tombstone { position, clock },
            );
        }
    }

    /// Deletes the rows that complete snapshots lacked: somebody says that they were taken without
    /// conditions. Rows that have changed since are not among them. Returns how many went.
    pub fn sweep_lacking(&mut self, clock: Micros, delta: &mut Delta) -> u64 {
        let before = self.counters.swept;
        for origin in 0..u32::try_from(self.origins.len()).unwrap_or(u32::MAX) {
            let Some(own) = self.origins.get_mut(origin) else { continue };
            let is_asked = own.lacking.take().is_some();
            let Some(over) = own.over.as_mut().filter(|_| is_asked) else { continue };
            over.swept = Some(clock);
            let run = over.run.clone();
            let gone = self.lacking_rows(origin, &run);
            self.unplaced.forget(origin, |unread| run.is_missing(unread));
            self.sweep(origin, &run, gone, clock, delta);
        }
        self.counters.swept - before
    }
}
