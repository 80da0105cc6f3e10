//! Snapshots as they pass, and what they say of rows that they lack; truncates.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use pipeline::decode::{ChangeBatch, SnapshotMarker};
use pipeline::silver::SNAPSHOT_SETTLE_US;
use schemas::{Micros, Place, Position};

use super::doubt::is_newer;
use super::order::{has_seen_truncate, is_again, order};
use super::{Known, Reference, RowId, State, is_forgotten};

/// Incarnation and source position: what the rows of one snapshot have in common.
type Mark = (u32, Option<u128>);

/// Rows of an origin that are set aside, and for how long.
const ASIDE_MAX: usize = 1_024;
pub(super) const ASIDE_US: i64 = 86_400_000_000;

/// A snapshot that passes, or is over.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) mark: Mark,
    ended: bool,
    place: Option<Place>,
    pub(super) source_ms: i64,
    pub(super) begins: BTreeMap<(u32, i32), i64>,
    latest: Micros,
}

impl Snapshot {
    /// When it is over: its last row was seen and then nothing of it for a while.
    pub(super) fn over(&self) -> Option<Micros> {
        self.ended.then(|| self.latest.plus(SNAPSHOT_SETTLE_US))
    }

    /// Whether it was taken no later than another one.
    pub(super) fn is_before(&self, other: &Snapshot) -> bool {
        match (self.place, other.place) {
            (Some(Place::Log { log: x, .. }), Some(Place::Log { log: y, .. }))
                if (x != y || x == Place::UNNAMED) && self.mark.0 == other.mark.0 =>
            {
                self.source_ms <= other.source_ms
            }
            _ => self.mark <= other.mark,
        }
    }

    /// Where a row is gone that it lacked.
    pub(super) fn end(&self) -> Position {
        let Snapshot { mark: (incarnation, _), place, source_ms, .. } = *self;
        Position { incarnation, place, snapshot: true, source_ms, ..Position::NOWHERE }
    }

    /// Whether a row stands where this snapshot read it.
    pub(super) fn brought(&self, at: &Position) -> bool {
        at.snapshot && (at.incarnation, at.place.map(|place| place.number())) == self.mark
    }

    /// Whether the source sent one change before it and another behind it, though its log does not order it with the
    /// first.
    pub(super) fn lies_between(&self, before: &Position, behind: &Position) -> bool {
        let is_one_log = match (before.place, self.place) {
            (Some(Place::Log { log: x, .. }), Some(Place::Log { log: y, .. })) => {
                x == y && x != Place::UNNAMED
            }
            (Some(Place::Wal { .. }), Some(Place::Wal { .. })) => true,
            _ => false,
        };
        let first = self.begins.get(&(behind.topic, behind.partition));
        let is_later = match first {
            Some(first) => behind.offset > *first,
            None => self.source_ms > 0 && behind.source_ms > self.source_ms,
        };
        !is_one_log && is_later && self.is_behind(before)
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
            (Some(true), None) => by_clock || matches!(self.place, Some(Place::Log { .. })),
            (None, None) => by_clock && at.source_ms > 0,
        }
    }
}

impl Reference {
    /// Records of a partition of this life of a topic come: all are behind snapshots that an earlier life brought.
    pub(super) fn note_life(&mut self, changes: &ChangeBatch, lane: (u32, i32)) {
        let name = |topic: &str| topic.rsplit_once('/').map(|(name, _)| name.to_owned());
        let own = name(changes.topic());
        let same = (0..).zip(&self.topics).filter(|(_, topic)| name(topic) == own);
        let earlier: Vec<u32> = same.map(|(life, _)| life).filter(|life| *life < lane.0).collect();
        for origin in changes.origins() {
            let Some(origin) = self.origins.get_mut(&**origin) else { continue };
            let over = origin.over.iter_mut().map(|(over, _)| over);
            for run in origin.snapshots.iter_mut().chain(over) {
                if run.begins.keys().any(|(life, _)| earlier.contains(life)) {
                    run.begins.entry(lane).or_insert(-1);
                }
            }
        }
    }

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
        let is_first = origin.first.as_ref().is_none_or(|first| snapshot.is_before(first));
        if is_first {
            origin.first = Some(snapshot.clone());
        }
        if origin.over.as_ref().is_some_and(|(over, _)| snapshot.is_before(over)) {
            if is_first {
                self.bring_back(name);
                self.note_asked(name);
            }
            return true;
        }
        let is_whole = origin.is_whole;
        origin.over = Some((snapshot.clone(), is_whole.then_some(over)));
        if is_whole {
            self.sweep(name, &snapshot, over);
        } else if is_first {
            let left = self.rows.iter().filter(|(id, _)| id.0 == name);
            let left = left.filter(|(id, row)| self.is_left(id, row));
            let mut ids: Vec<RowId> = left.map(|(id, _)| id.clone()).collect();
            ids.sort_unstable();
            ids.into_iter().for_each(|id| self.set_aside(id, &snapshot, over));
        }
        if let Some(origin) = self.origins.get_mut(name) {
            origin.snapshots.retain(|other| other.ended || !other.is_before(&snapshot));
        }
        self.note_asked(name);
        true
    }

    /// Whether rows that the last snapshot lacked wait for a decision.
    fn note_asked(&mut self, name: &str) {
        let over = self.origins.get(name).and_then(|origin| origin.over.clone());
        let Some((snapshot, _)) = over else { return };
        let lacks = self.behind(name, &snapshot).next().is_some();
        self.origins.entry(name.to_owned()).or_default().is_asked = lacks;
    }

    /// Whether a row is of a snapshot that began before the first complete one and has not ended.
    fn is_left(&self, id: &RowId, row: &Known) -> bool {
        let is_row = matches!(row.state, State::Row { .. });
        let Some(origin) = self.origins.get(&id.0).filter(|_| is_row) else { return false };
        let Some(first) = &origin.first else { return false };
        let own = origin.snapshots.iter().find(|own| own.brought(&row.at));
        own.is_some_and(|own| !own.ended && own.is_before(first) && own.mark != first.mark)
    }

    /// Whether such a row is not there yet: its snapshot has not ended, though it is not followed any more.
    fn stays_aside(&self, id: &RowId, row: &Known) -> bool {
        let Some(origin) = self.origins.get(&id.0) else { return false };
        let is_followed = origin.snapshots.iter().any(|own| own.brought(&row.at));
        let Some(first) = origin.first.as_ref().filter(|_| !is_followed) else {
            return self.is_left(id, row);
        };
        let (mark, place, source_ms) = (
            (row.at.incarnation, row.at.place.map(|place| place.number())),
            row.at.place,
            row.at.source_ms,
        );
        let (begins, latest) = (BTreeMap::new(), Micros(0));
        let own = Snapshot { mark, ended: false, place, source_ms, begins, latest };
        own.is_before(first) && own.mark != first.mark
    }

    /// Whether a later snapshot than that of a row, as far as it is known, does not lack what is held.
    pub(super) fn is_overtaken(&self, id: &RowId, at: &Position, held: &Position) -> bool {
        let is_row = matches!(self.rows.get(id), Some(Known { state: State::Row { .. }, .. }));
        let Some(origin) = self.origins.get(&id.0).filter(|_| is_row) else { return false };
        let mut known: Vec<&Snapshot> = origin.snapshots.iter().collect();
        known.extend(origin.over.as_ref().map(|(over, _)| over));
        let Some(own) = known.iter().find(|snapshot| snapshot.brought(at)) else { return false };
        known.iter().any(|later| !later.is_before(own) && !later.is_behind(held))
    }

    /// Such a row goes, and may come back.
    fn set_aside(&mut self, id: RowId, first: &Snapshot, clock: Micros) {
        let Some(row) = self.rows.get(&id).cloned() else { return };
        if let Some(origin) = self.origins.get_mut(&id.0)
            && origin.aside.len() < ASIDE_MAX
        {
            origin.aside.insert(id.1.clone(), (row, clock));
        }
        self.bury(id, first.end(), clock);
    }

    /// A change of this key came: if it left a row of an unfinished snapshot, that is set aside.
    pub(super) fn set_aside_again(&mut self, id: &RowId, clock: Micros) {
        let is_whole = self.origins.get(&id.0).is_some_and(|origin| origin.is_whole);
        let is_left = self.rows.get(id).is_some_and(|row| self.is_left(id, row));
        let first = self.origins.get(&id.0).and_then(|origin| origin.first.clone());
        if let Some(first) = first.filter(|_| is_left && !is_whole) {
            self.set_aside(id.clone(), &first, clock);
        }
    }

    /// The row of this key that was set aside is looked at again.
    pub(super) fn take_back(&mut self, id: &RowId) -> bool {
        let aside = self.origins.get_mut(&id.0).and_then(|origin| origin.aside.remove(&id.1));
        let is_row = matches!(self.rows.get(id), Some(Known { state: State::Row { .. }, .. }));
        let Some((row, _)) = aside.filter(|_| !is_row) else { return false };
        self.unplaced.remove(id);
        self.rows.insert(id.clone(), Known { seen: false, ..row });
        true
    }

    /// A snapshot before the first that was known is complete: what it brought is back.
    fn bring_back(&mut self, name: &str) {
        let Some(origin) = self.origins.get(name) else { return };
        let ids = origin.aside.iter().map(|(key, (row, _))| ((name.to_owned(), key.clone()), row));
        let told: Vec<RowId> =
            ids.filter(|(id, row)| !self.stays_aside(id, row)).map(|(id, _)| id).collect();
        for id in told {
            self.take_back(&id);
        }
    }

    /// Live rows that were in the source before a snapshot, and before every later one as far as it is known.
    pub(super) fn behind<'a>(
        &'a self,
        name: &'a str,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = &'a RowId> {
        let later = self.origins.get(name).map(|origin| origin.snapshots.as_slice());
        let later = later.unwrap_or_default();
        let is_behind = move |(id, row): &(&RowId, &Known)| {
            let mut later = later.iter().filter(|later| !later.is_before(snapshot));
            id.0 == name
                && matches!(row.state, State::Row { .. })
                && snapshot.is_behind(&row.at)
                && later.all(|later| later.is_behind(&row.at))
                && row.unread.is_none_or(|unread| snapshot.is_behind(&unread))
        };
        self.rows.iter().filter(is_behind).map(|(id, _)| id)
    }

    pub(super) fn sweep(&mut self, origin: &str, snapshot: &Snapshot, over: Micros) {
        self.unplaced.retain(|id, unread| id.0 != origin || !snapshot.is_behind(unread));
        let gone: Vec<RowId> = self.behind(origin, snapshot).cloned().collect();
        for id in gone {
            self.bury(id, snapshot.end(), over);
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
        origin.aside.retain(|_, (row, _)| order(&row.at, &at) != Ordering::Less);
        let is_gone = |id: &RowId, row: &Known| {
            let is_row = matches!(row.state, State::Row { .. });
            let is_before = order(&row.at, &at) == Ordering::Less;
            id.0 == name && is_row && is_before && !has_seen_truncate(&row.at, &at)
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
            self.sweep(&name, &snapshot, clock);
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
    let mark = (at.incarnation, at.place.map(|place| place.number()));
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
