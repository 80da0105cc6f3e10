//! Snapshots as they pass, and what they say of rows that they lack; truncates.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use pipeline::decode::SnapshotMarker;
use pipeline::silver::SNAPSHOT_SETTLE_US;
use schemas::{Micros, Place, Position};

use super::doubt::is_newer;
use super::order::{is_again, order};
use super::{Known, Reference, RowId, State, is_forgotten};

/// Incarnation and source position: what the rows of one snapshot have in common.
type Mark = (u32, Option<u128>);

/// A snapshot that passes, or is over.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    mark: Mark,
    ended: bool,
    place: Option<Place>,
    source_ms: i64,
    begins: BTreeMap<(u32, i32), i64>,
    latest: Micros,
}

impl Snapshot {
    /// When it is over: its last row was seen and then nothing of it for a while.
    pub(super) fn over(&self) -> Option<Micros> {
        self.ended.then(|| self.latest.plus(SNAPSHOT_SETTLE_US))
    }

    /// Whether it was taken no later than another one.
    pub(super) fn is_before(&self, other: &Snapshot) -> bool {
        match self.place {
            Some(Place::Log { log: Place::UNNAMED, .. }) if self.mark.0 == other.mark.0 => {
                self.source_ms <= other.source_ms
            }
            _ => self.mark <= other.mark,
        }
    }

    /// Whether a row that stands there was in the source before the snapshot.
    pub(super) fn is_behind(&self, at: &Position) -> bool {
        if at.incarnation != self.mark.0 {
            return at.incarnation < self.mark.0;
        }
        let number = at.place.map(|place| place.number());
        if at.snapshot && (at.incarnation, number) == self.mark {
            return false;
        }
        let in_log = match (at.place, self.place) {
            (Some(Place::Log { log: x, at }), Some(Place::Log { log: y, at: start }))
                if x == y && x != Place::UNNAMED =>
            {
                Some(at < start)
            }
            (Some(Place::Wal { commit, lsn }), Some(Place::Wal { lsn: start, .. })) => {
                Some(lsn.max(commit.unwrap_or(0)) < start)
            }
            _ => None,
        };
        let by_clock = at.source_ms == 0 || self.source_ms == 0 || at.source_ms <= self.source_ms;
        let begin = self.begins.get(&(at.topic, at.partition)).copied();
        match (in_log, begin) {
            (Some(false), _) => false,
            (Some(true), _) if at.snapshot => true,
            (_, Some(begin)) => at.offset < begin,
            (Some(true), None) => by_clock,
            (None, None) => by_clock && at.source_ms > 0,
        }
    }
}

impl Reference {
    /// Ends the snapshot of an origin that is over first, if one is.
    pub(super) fn end_snapshot(&mut self, name: &str, now: Micros) -> bool {
        let Some(origin) = self.origins.get_mut(name) else { return false };
        let over = |run: &Snapshot| run.over().filter(|over| *over <= now);
        let mut first: Option<(usize, Micros)> = None;
        for (at, run) in origin.snapshots.iter().enumerate() {
            let Some(over) = over(run) else { continue };
            let held = first.and_then(|(held, _)| origin.snapshots.get(held));
            if held.is_none_or(|held| run.is_before(held)) {
                first = Some((at, over));
            }
        }
        let Some((at, over)) = first else { return false };
        let snapshot = origin.snapshots.remove(at);
        origin.snapshots.retain(|other| !other.is_before(&snapshot));
        let is_first = !std::mem::replace(&mut origin.is_complete, true);
        let is_whole = origin.is_whole;
        origin.over = Some((snapshot.clone(), is_whole.then_some(over)));
        if is_whole || is_first {
            self.sweep(name, &snapshot, !is_whole, over);
        }
        let lacks = self.behind(name, &snapshot, false).next().is_some();
        self.origins.entry(name.to_owned()).or_default().is_asked = lacks;
        true
    }

    /// Live rows that were in the source before a snapshot; only those that a snapshot brought, if so asked.
    pub(super) fn behind<'a>(
        &'a self,
        origin: &'a str,
        snapshot: &'a Snapshot,
        only_of_snapshots: bool,
    ) -> impl Iterator<Item = &'a RowId> {
        let is_behind = move |(id, row): &(&RowId, &Known)| {
            id.0 == origin
                && matches!(row.state, State::Row { .. })
                && snapshot.is_behind(&row.at)
                && (row.at.snapshot || !only_of_snapshots)
                && row.unread.is_none_or(|unread| snapshot.is_behind(&unread))
        };
        self.rows.iter().filter(is_behind).map(|(id, _)| id)
    }

    pub(super) fn sweep(
        &mut self,
        origin: &str,
        snapshot: &Snapshot,
        only_of_snapshots: bool,
        over: Micros,
    ) {
        let Snapshot { mark: (incarnation, _), place, source_ms, .. } = *snapshot;
        let at = Position { incarnation, place, snapshot: true, source_ms, ..Position::NOWHERE };
        if !only_of_snapshots {
            self.unplaced.retain(|id, unread| id.0 != origin || !snapshot.is_behind(unread));
        }
        let gone: Vec<RowId> = self.behind(origin, snapshot, only_of_snapshots).cloned().collect();
        for id in gone {
            self.bury(id, at, over);
        }
    }

    /// Rows of an origin that stand before its truncate are gone.
    pub(super) fn truncate(&mut self, name: &str, at: Position, clock: Micros) {
        let Some(origin) = self.origins.get_mut(name) else { return };
        let floor = origin.floor.filter(|(_, since)| !is_forgotten(*since, clock));
        if floor.is_some_and(|(floor, _)| is_again(&floor, &at)) {
            return;
        }
        origin.deletes = true;
        let is_gone = |id: &RowId, row: &Known| {
            let is_row = matches!(row.state, State::Row { .. });
            id.0 == name && is_row && order(&row.at, &at) == Ordering::Less
        };
        self.unplaced.retain(|id, unread| id.0 != name || is_newer(unread, &at));
        let gone = self.rows.iter().filter(|(id, row)| is_gone(id, row));
        let gone: BTreeMap<RowId, Option<Position>> =
            gone.map(|(id, row)| (id.clone(), row.unread)).collect();
        for (id, unread) in gone {
            self.rows.remove(&id);
            self.keep_unplaced(id, unread.filter(|unread| is_newer(unread, &at)));
        }
        let Some(origin) = self.origins.get_mut(name) else { return };
        if floor.is_none_or(|(floor, _)| order(&floor, &at) == Ordering::Less) {
            origin.floor = Some((at, clock));
        }
    }

    /// Somebody decided that the snapshots that lacked rows were whole.
    pub(in crate::verify) fn sweep_asked(&mut self, clock: Micros) {
        let names: Vec<String> = self.origins.keys().cloned().collect();
        for name in names {
            let Some(origin) = self.origins.get_mut(&name) else { continue };
            if !std::mem::replace(&mut origin.is_asked, false) {
                continue;
            }
            let Some((snapshot, since)) = &mut origin.over else { continue };
            *since = Some(clock);
            let snapshot = snapshot.clone();
            self.sweep(&name, &snapshot, false, clock);
        }
    }
}

/// Snapshots that are followed at a time.
const SNAPSHOTS_MAX: usize = 8;

/// Follows a row of a full snapshot.
pub(super) fn note_snapshot(
    runs: &mut Vec<Snapshot>,
    over: Option<&mut Snapshot>,
    at: &Position,
    marker: SnapshotMarker,
    clock: Micros,
) {
    let number = at.place.map(|place| match place {
        Place::Log { at, .. } => at,
        Place::Wal { lsn, .. } => u128::from(lsn),
    });
    let mark = (at.incarnation, number);
    let lane = (at.topic, at.partition);
    // A partition that was late delivers what is over already.
    if let Some(over) = over.filter(|over| over.mark == mark) {
        over.begins.entry(lane).or_insert(at.offset);
        return;
    }
    if !runs.iter().any(|run| run.mark == mark) {
        let first = usize::from(runs.len() >= SNAPSHOTS_MAX);
        runs.drain(..first);
        let (place, source_ms) = (at.place, at.source_ms);
        let begins = BTreeMap::new();
        runs.push(Snapshot { mark, ended: false, place, source_ms, begins, latest: clock });
    }
    for run in runs.iter_mut().filter(|run| run.mark == mark) {
        run.latest = clock;
        run.ended |= marker == SnapshotMarker::Last;
        if at.source_ms > 0 {
            run.source_ms = run.source_ms.min(at.source_ms);
        }
        let begin = run.begins.entry(lane).or_insert(at.offset);
        *begin = (*begin).min(at.offset);
    }
}
