//! How the numbering of an origin began anew, and what came behind that, by the rules alone.

use std::collections::BTreeMap;

use schemas::Position;

use super::order::source_went_back;
use super::snapshot::Snapshot;
use super::{Origin, Reference, RowId};

/// A numbering that began.
#[derive(Debug, Clone)]
pub(super) struct Restart {
    /// The first epoch that is behind it as a whole.
    epoch: u64,
    /// Nothing where somebody decided so.
    by: Option<Start>,
}

/// The snapshot by which a numbering began.
#[derive(Debug, Clone)]
struct Start {
    number: Option<u128>,
    /// Clocks of the source: of what it was seen to have gone back from, and of the snapshot's first row.
    from_ms: i64,
    first_ms: i64,
    /// By partition, its first row.
    first: BTreeMap<(u32, i32), i64>,
}

impl Start {
    fn has(&self, at: &Position) -> bool {
        let is_old = at.source_ms != 0 && at.source_ms <= self.from_ms;
        at.snapshot && !is_old && at.place.map(|place| place.number()) == self.number
    }

    /// Whether a change is of the numbering that began, or of one before; nothing where neither a partition nor a
    /// clock says it.
    fn is_of(&self, at: &Position) -> Option<bool> {
        match self.first.get(&(at.topic, at.partition)) {
            _ if self.has(at) => Some(true),
            // What a snapshot lacked is gone at no record's place.
            _ if at.partition < 0 => Some(false),
            Some(first) => Some(*first <= at.offset),
            None if at.source_ms == 0 || self.first_ms == 0 => None,
            None => Some(self.first_ms <= at.source_ms),
        }
    }
}

/// The incarnation of what is told by its position, among these restarts of an origin in the incarnation `last`.
fn told(restarts: &[Restart], last: u32, at: &Position) -> Option<u32> {
    let mut incarnation = last;
    for restart in restarts.iter().rev() {
        if restart.by.as_ref().and_then(|start| start.is_of(at)) == Some(true) {
            return Some(incarnation);
        }
        incarnation = incarnation.saturating_sub(1);
    }
    None
}

impl Origin {
    /// The incarnation of a change that came in an epoch, or that comes now.
    pub(super) fn incarnation_at(&self, at: &Position, epoch: Option<u64>) -> u32 {
        let mut incarnation = self.incarnation;
        for restart in self.restarts.iter().rev() {
            let known = restart.by.as_ref().and_then(|start| start.is_of(at));
            if known.unwrap_or(epoch.is_none_or(|epoch| epoch >= restart.epoch)) {
                break;
            }
            incarnation = incarnation.saturating_sub(1);
        }
        incarnation
    }

    /// A row of a full snapshot came: where its partition begins to bring one by which a numbering began.
    pub(super) fn note_first(&mut self, at: &Position) {
        for start in self.restarts.iter_mut().filter_map(|restart| restart.by.as_mut()) {
            if start.has(at) {
                start.first.entry((at.topic, at.partition)).or_insert(at.offset);
            }
        }
    }

    /// What shows that the source went back to this change: what is known of its row, and of what snapshots lacked.
    pub(super) fn back_from(
        &self,
        mut shown: Vec<Position>,
        at: &Position,
        is_full: bool,
    ) -> Option<Position> {
        if is_full {
            shown.extend(self.snapshots.iter().map(Snapshot::end));
            shown.extend(self.over.iter().map(|(over, _)| over.end()));
        }
        shown.into_iter().find(|held| source_went_back(held, at))
    }

    /// The latest full snapshot that lies between two changes, where no place in the log says that it does.
    pub(super) fn snapshot_between(&self, held: &Position, at: &Position) -> Option<Position> {
        let known = self.snapshots.iter().chain(self.over.iter().map(|(over, _)| over));
        let between = known.filter(|snapshot| snapshot.lies_between(held, at));
        between.max_by_key(|snapshot| snapshot.source_ms).map(Snapshot::end)
    }

    /// Somebody decided so.
    pub(super) fn start_over(&mut self, epoch: u64) {
        self.restarts.push(Restart { epoch, by: None });
        self.incarnation = self.incarnation.saturating_add(1);
        self.halted = None;
        self.snapshots.clear();
    }

    fn start_anew(&mut self, from: Option<Position>, at: &Position, epoch: u64) {
        let from_ms = from.map_or(0, |from| from.source_ms);
        let is_it = |run: &Snapshot| run.brought(at) && run.source_ms > from_ms;
        let mut own: Vec<Snapshot> = self.snapshots.drain(..).filter(|run| is_it(run)).collect();
        if let Some((over, _)) = self.over.take_if(|(over, _)| is_it(over)) {
            own.push(over);
        }
        self.first.take_if(|first| is_it(first));
        self.incarnation = self.incarnation.saturating_add(1);
        let (mut first, mut first_ms) = (BTreeMap::new(), at.source_ms);
        first.insert((at.topic, at.partition), at.offset);
        for run in &mut own {
            run.mark.0 = self.incarnation;
            first_ms = first_ms.min(run.source_ms);
            for (lane, offset) in &run.begins {
                let least = first.entry(*lane).or_insert(*offset);
                *least = (*least).min(*offset);
            }
        }
        self.snapshots = own;
        self.halted = None;
        let start =
            Start { number: at.place.map(|place| place.number()), from_ms, first_ms, first };
        self.restarts.push(Restart { epoch: epoch + 1, by: Some(start) });
    }
}

impl Reference {
    /// A numbering of an origin begins with this row of a snapshot. What is held is told anew.
    pub(super) fn begin_numbering(
        &mut self,
        name: &str,
        from: Option<Position>,
        at: Position,
        epoch: u64,
    ) -> Position {
        let Some(origin) = self.origins.get_mut(name) else { return at };
        origin.start_anew(from, &at, epoch);
        let (restarts, last) = (origin.restarts.clone(), origin.incarnation);
        let tell = |at: &mut Position| {
            at.incarnation = at.incarnation.max(told(&restarts, last, at).unwrap_or(0));
        };
        origin.floor.iter_mut().for_each(|(at, _)| tell(at));
        origin.sent.values_mut().for_each(tell);
        origin.aside.values_mut().for_each(|(row, _)| row.tell(&tell));
        let is_own = |id: &RowId| id.0 == name;
        let rows = self.rows.iter_mut().filter(|(id, _)| is_own(id));
        rows.for_each(|(_, row)| row.tell(&tell));
        let unplaced = self.unplaced.iter_mut().filter(|(id, _)| is_own(id));
        unplaced.for_each(|(_, at)| tell(at));
        self.moves.tell(&is_own, &tell);
        Position { incarnation: last, ..at }
    }
}
