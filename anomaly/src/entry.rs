//! One series at one grain: what is remembered of it, and learning the buckets that are over.
//!
//! # Guarantees
//! - Buckets are learned one after the other, each once, from the cells as they stand at that moment.
//! - No history is kept: past values are read from the cells, so that corrections reach forecasts.

use std::sync::Arc;

use schemas::{Calendar, CellKey, CellValue, Cells, Grain, KpiInfo, Micros, Periods, SeriesId};
use serde::{Deserialize, Serialize};

use crate::model::Past;
use crate::outlook::{Learner, Outlook};
use crate::policy::Track;
use crate::rules::REGISTRY;
use crate::shape::{Observed, Shape, phase, step};

/// Closed buckets whose outlook is kept, so that a correction can be judged again; and the running one.
const OUTLOOKS: usize = 4;
/// Buckets learned when a series is caught up with: five weeks of hours, half a year of days.
const CATCH_UP_HOURS: i64 = 35 * 24;
const CATCH_UP_DAYS: i64 = 26 * 7;
/// With more buckets than this to learn, the past is read at once and not for each of them.
const READ_AHEAD_FROM: i64 = 24;
/// Buckets that a forecast looks back at most: four weeks of hours.
const LOOK_BACK: i64 = 4 * 168;

/// The rules of [`REGISTRY`].
pub(crate) const RULES: usize = REGISTRY.len();

/// What names a series and grain, ordered as results are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) kpi: Arc<str>,
    pub(crate) tenant: Arc<str>,
    pub(crate) dims: Arc<str>,
    pub(crate) grain: Grain,
}

impl Name {
    /// The cell of the bucket that starts at `start`.
    pub(crate) fn cell(&self, start: Micros) -> CellKey {
        CellKey {
            kpi: Arc::clone(&self.kpi),
            tenant: Arc::clone(&self.tenant),
            dims: Arc::clone(&self.dims),
            grain: self.grain,
            period_start: start,
        }
    }
}

/// One series at one grain.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    /// The place of its KPI.
    pub(crate) kpi: usize,
    pub(crate) shape: Shape,
    /// The usual length of a period.
    pub(crate) step: i64,
    pub(crate) periods: Arc<Periods>,
    /// Which rules watch it, by place.
    pub(crate) watched: [bool; RULES],
    /// `None` after a restart while no cell is left of it.
    pub(crate) id: Option<SeriesId>,
    /// The first bucket that has ever had a value.
    pub(crate) first: Micros,
    /// The first bucket that is not learned.
    pub(crate) next: Micros,
    /// Whether a backlog changed learned buckets, so that all are to be learned again.
    pub(crate) stale: bool,
    pub(crate) learner: Learner,
    /// The newest outlooks, ascending.
    pub(crate) outlooks: Vec<(Micros, Outlook)>,
    pub(crate) tracks: [Track; RULES],
}

/// Past values, read from the cells one by one.
struct CellPast<'a> {
    entry: &'a Entry,
    cells: &'a dyn Cells,
    /// The bucket to be forecast.
    of: Micros,
}

impl Past for CellPast<'_> {
    fn value(&self, back: usize) -> Option<f64> {
        let back = i64::try_from(back).ok()?;
        let at = self.entry.later(self.of, back.saturating_neg());
        if at < self.entry.first {
            return None;
        }
        Some(self.entry.observed(at, self.cells)?.value)
    }
}

/// Past values that were read at once.
struct ReadPast<'a> {
    values: &'a [Option<Observed>],
    /// The place of the bucket to be forecast.
    of: usize,
}

impl Past for ReadPast<'_> {
    fn value(&self, back: usize) -> Option<f64> {
        Some((*self.values.get(self.of.checked_sub(back)?)?)?.value)
    }
}

impl Entry {
    /// A series that nothing is known of but its first bucket; `None` where nobody watches its like.
    pub(crate) fn new(
        kpis: &[KpiInfo],
        calendar: &Calendar,
        name: Name,
        first: Micros,
    ) -> Option<Entry> {
        let place = kpis.iter().position(|kpi| kpi.key == name.kpi)?;
        let kpi = kpis.get(place)?;
        let shape = Shape::of(kpi, name.grain)?;
        let mut watched = [false; RULES];
        for (is_watched, rule) in watched.iter_mut().zip(REGISTRY) {
            *is_watched = rule.watches(kpi, name.grain);
        }
        Some(Entry {
            kpi: place,
            shape,
            step: step(name.grain)?,
            periods: Arc::clone(calendar.of(&name.tenant)),
            watched,
            name,
            id: None,
            first,
            next: first,
            stale: false,
            learner: Learner::new(),
            outlooks: Vec::new(),
            tracks: std::array::from_fn(|_| Track::default()),
        })
    }

    /// The start of the bucket so many buckets later, or earlier.
    pub(crate) fn later(&self, start: Micros, count: i64) -> Micros {
        self.periods.later(self.name.grain, start, count)
    }

    /// The start of the bucket that contains an instant.
    pub(crate) fn start(&self, at: Micros) -> Micros {
        self.periods.start(self.name.grain, at)
    }

    /// The start of the bucket in the same place a week before.
    pub(crate) fn week_before(&self, start: Micros) -> Micros {
        self.later(start, if self.name.grain == Grain::Hour { -7 * 24 } else { -7 })
    }

    fn phase(&self, start: Micros) -> usize {
        phase(&self.periods, self.name.grain, start)
    }

    /// How many buckets lie from one start to another.
    fn count(&self, from: Micros, to: Micros) -> i64 {
        self.periods.number(self.name.grain, to) - self.periods.number(self.name.grain, from)
    }

    /// What a bucket says now.
    pub(crate) fn cell(&self, start: Micros, cells: &dyn Cells) -> Option<CellValue> {
        cells.value(self.id?, self.name.grain, start)
    }

    fn observed(&self, start: Micros, cells: &dyn Cells) -> Option<Observed> {
        self.shape.observe(self.cell(start, cells))
    }

    /// What was expected of a bucket, while it is remembered.
    pub(crate) fn outlook(&self, start: Micros) -> Option<Outlook> {
        self.outlooks.iter().rev().find(|(of, _)| *of == start).map(|(_, outlook)| *outlook)
    }

    /// Whether no more of the bucket is waited for.
    pub(crate) fn is_closed(&self, start: Micros) -> bool {
        start < self.next
    }

    /// Notes that a bucket has a value.
    pub(crate) fn note(&mut self, start: Micros) {
        self.first = self.first.min(start);
        if self.learner.seen == 0 {
            self.next = self.next.min(start);
        }
    }

    /// Whether [`Entry::note`] would change anything.
    pub(crate) fn is_noted(&self, start: Micros) -> bool {
        self.first <= start && (self.learner.seen > 0 || self.next <= start)
    }

    /// The oldest bucket that is worth learning.
    fn horizon(&self, end: Micros) -> Micros {
        self.later(end, -catch_up(self.name.grain))
    }

    /// Whether [`Entry::learn_before`] would change nothing.
    pub(crate) fn has_learned(&self, end: Micros) -> bool {
        let is_recent = self.next >= self.horizon(end) && self.next >= self.first;
        !self.stale && is_recent && self.later(self.next, 1) > end
    }

    /// Learns everything before `end`, at most as far back as makes sense.
    pub(crate) fn learn_before(&mut self, end: Micros, cells: &dyn Cells) {
        let horizon = self.horizon(end);
        if self.stale {
            self.stale = false;
            self.learner = Learner::new();
            self.outlooks.clear();
            self.next = self.first;
        }
        self.next = self.next.max(horizon).max(self.first);
        if self.count(self.next, end) > READ_AHEAD_FROM {
            self.learn_ahead(end, cells);
        }
        while self.later(self.next, 1) <= end {
            let observed = self.observed(self.next, cells);
            let of = self.later(self.next, 1);
            let mut learner = self.learner.clone();
            let past = CellPast { entry: self, cells, of };
            learner.learn(self.shape, observed, self.phase(self.next), &past);
            self.learner = learner;
            self.learned(end);
        }
    }

    /// The same, with the past read once.
    fn learn_ahead(&mut self, end: Micros, cells: &dyn Cells) {
        let from = self.later(self.next, -LOOK_BACK).max(self.first);
        let mut values = Vec::new();
        let mut at = from;
        while at < end {
            values.push(self.observed(at, cells));
            at = self.later(at, 1);
        }
        while self.later(self.next, 1) <= end {
            let place = usize::try_from(self.count(from, self.next)).unwrap_or(usize::MAX);
            let observed = values.get(place).copied().flatten();
            let past = ReadPast { values: &values, of: place.saturating_add(1) };
            let phase = self.phase(self.next);
            self.learner.learn(self.shape, observed, phase, &past);
            self.learned(end);
        }
    }

    /// The bucket `next` has been learned: keeps the outlook of the one after it, unless all before `end`
    /// are being learned and it would be forgotten at once.
    fn learned(&mut self, end: Micros) {
        self.next = self.later(self.next, 1);
        if self.later(self.next, OUTLOOKS as i64) > end {
            let phase = self.phase(self.next);
            let outlook = self.learner.outlook(self.shape, phase);
            self.outlooks.extend(outlook.map(|outlook| (self.next, outlook)));
        }
        let oldest = self.later(self.next, 1 - OUTLOOKS as i64);
        self.outlooks.retain(|(of, _)| *of >= oldest);
    }
}

/// What was expected of each of `wanted` (ascending), from the points of one series before it.
pub(crate) fn replay(
    shape: Shape,
    (periods, grain): (&Periods, Grain),
    points: &[(Micros, CellValue)],
    wanted: &[Micros],
) -> Vec<Option<Outlook>> {
    let mut out = vec![None; wanted.len()];
    let Some(&(first, _)) = points.first().filter(|_| step(grain).is_some()) else { return out };
    let phase = |at: Micros| phase(periods, grain, at);
    let (Some(earliest), Some(last)) = (wanted.first(), wanted.last()) else { return out };
    let from = periods.later(grain, *earliest, -catch_up(grain)).max(first);
    let read_from = periods.later(grain, from, -LOOK_BACK).max(first);
    let mut points = points.iter().skip_while(|(at, _)| *at < read_from).peekable();
    let mut wanted = wanted.iter().enumerate().peekable();
    let mut learner = Learner::new();
    let mut values: Vec<Option<Observed>> = Vec::new();
    let mut at = read_from;
    while at <= *last {
        while let Some((place, _)) = wanted.next_if(|(_, own)| **own <= at) {
            if let Some(slot) = out.get_mut(place) {
                *slot = learner.outlook(shape, phase(at));
            }
        }
        while points.next_if(|(own, _)| *own < at).is_some() {}
        let cell = points.next_if(|(own, _)| *own == at).map(|(_, cell)| *cell);
        values.push(shape.observe(cell));
        if at >= from {
            let past = ReadPast { values: &values, of: values.len() };
            let observed = values.last().copied().flatten();
            learner.learn(shape, observed, phase(at), &past);
        }
        at = periods.later(grain, at, 1);
    }
    out
}

fn catch_up(grain: Grain) -> i64 {
    if grain == Grain::Hour { CATCH_UP_HOURS } else { CATCH_UP_DAYS }
}
