//! One series at one grain: what is remembered of it, and learning the buckets that are over.
//!
//! # Guarantees
//! - Buckets are learned one after the other, each once, from the cells as they stand at that moment.
//! - No history is kept: past values are read from the cells, so that corrections reach forecasts.

use std::sync::Arc;

use schemas::answer::Verdict;
use schemas::{
    Against, Calendar, CellKey, CellValue, Cells, Grain, KpiInfo, Micros, Periods, SeriesId,
    Status, Watching,
};
use serde::{Deserialize, Serialize};

use crate::lateness::Lateness;
use crate::model::Past;
use crate::outlook::{Learner, NOES_MOST, Outlook};
use crate::policy::Track;
use crate::regression::Trained;
use crate::replay::ReadPast;
use crate::rules::{REGISTRY, value_of};
use crate::shape::{Observed, Place, Shape, moved, step};

/// Closed buckets whose outlook is kept, so that a correction can be judged again; and the running one.
const OUTLOOKS: usize = 4;
/// Buckets learned when a series is caught up with: five weeks of hours, half a year of days.
const CATCH_UP_HOURS: i64 = 35 * 24;
const CATCH_UP_DAYS: i64 = 26 * 7;
/// With more buckets than this to learn, the past is read at once and not for each of them.
const READ_AHEAD_FROM: i64 = 24;
/// Buckets that are forecast ahead of what is learned.
const AHEAD: i64 = 80;
const HOUR_US: i64 = 3_600_000_000;
/// Buckets that a forecast looks back at most: four weeks of hours.
pub(crate) const LOOK_BACK: i64 = 4 * 168;

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
    pub(crate) late: Lateness,
    /// How long a bucket is waited for where that is set, in microseconds.
    set_wait: Option<i64>,
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
    /// What is from here on is not known.
    end: Micros,
}

impl Past for CellPast<'_> {
    fn value(&self, back: usize) -> Option<f64> {
        let back = i64::try_from(back).ok()?;
        let at = self.entry.later(self.of, back.saturating_neg());
        if at < self.entry.first || at >= self.end {
            return None;
        }
        Some(self.entry.lesson(at, self.cells)?.value)
    }

    fn moved(&self, back: usize) -> usize {
        match self.entry.name.grain {
            Grain::Hour => moved(&self.entry.periods, self.of, back),
            _ => back,
        }
    }
}

impl Entry {
    /// A series that nothing is known of but its first bucket; `None` where nobody watches its like, or it is said not
    /// to be watched.
    pub(crate) fn new(
        kpis: &[KpiInfo],
        calendar: &Calendar,
        name: Name,
        first: Micros,
    ) -> Option<Entry> {
        let place = kpis.iter().position(|kpi| kpi.key == name.kpi)?;
        let kpi = kpis.get(place).filter(|kpi| kpi.watching.enabled)?;
        let shape = Shape::of(kpi, name.grain)?;
        let mut watched = [false; RULES];
        for (is_watched, rule) in watched.iter_mut().zip(REGISTRY) {
            *is_watched = kpi.watching.has(rule.name()) && rule.watches(kpi, name.grain);
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
            late: Lateness::default(),
            set_wait: kpi.watching.lateness.map(|hours| hours.saturating_mul(HOUR_US)),
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

    /// The bucket that another one is compared with.
    pub(crate) fn before(&self, against: Against, start: Micros) -> Micros {
        match against {
            Against::WeekBefore => self.week_before(start),
            Against::DayBefore => self.later(start, -1),
            Against::Budget => start,
        }
    }

    /// What a bucket is compared with: another one unless that was not whole or not as usual itself.
    pub(crate) fn baseline(
        &self,
        against: Against,
        watching: &Watching,
        start: Micros,
        cells: &dyn Cells,
    ) -> Option<CellValue> {
        let before = self.before(against, start);
        if against == Against::Budget {
            let Name { tenant, dims, grain, .. } = &self.name;
            let series = cells.series(watching.budgets().next()?, tenant, dims)?;
            return cells.value(series, *grain, before);
        }
        let is_odd = self.learner.odd.has(self.periods.number(self.name.grain, before));
        let is_whole =
            before > self.first && (against == Against::WeekBefore || before < self.next);
        if is_odd || !is_whole || self.is_planned(before) { None } else { self.cell(before, cells) }
    }

    /// The least and the most of the six days beside the one that is compared with, the first bucket left out.
    pub(crate) fn beside(
        &self,
        against: Against,
        start: Micros,
        cells: &dyn Cells,
    ) -> Option<(i128, i128)> {
        let from = match against {
            Against::WeekBefore => 1,
            Against::DayBefore => 2,
            Against::Budget => return None,
        };
        let days = (from..from + 6).map(|back| self.later(start, -back));
        let days = days.filter(|at| *at > self.first && !self.is_planned(*at));
        let values = days.filter_map(|at| value_of(self.cell(at, cells)));
        let both = |held: Option<(i128, i128)>, value: i128| {
            Some(held.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        };
        values.fold(None, both)
    }

    fn place(&self, start: Micros) -> Place {
        Place::of(&self.periods, self.name.grain, start)
    }

    /// How many buckets lie from one start to another.
    fn count(&self, from: Micros, to: Micros) -> i64 {
        self.periods.number(self.name.grain, to) - self.periods.number(self.name.grain, from)
    }

    /// How long after its end a bucket is waited for: as it is set, or as it was learned.
    pub(crate) fn wait(&self) -> i64 {
        self.set_wait.unwrap_or(self.late.wait())
    }

    /// Whether it is known when a bucket is whole.
    pub(crate) fn is_wait_known(&self) -> bool {
        self.set_wait.is_some() || self.late.is_known(self.name.grain)
    }

    /// What a bucket says now.
    pub(crate) fn cell(&self, start: Micros, cells: &dyn Cells) -> Option<CellValue> {
        cells.value(self.id?, self.name.grain, start)
    }

    /// Whether a bucket has a value that is in doubt.
    pub(crate) fn is_in_doubt(&self, start: Micros, cells: &dyn Cells) -> bool {
        self.cell(start, cells).is_some_and(|cell| cell.status == Status::InDoubt)
    }

    fn observed(&self, start: Micros, cells: &dyn Cells) -> Option<Observed> {
        self.shape.observe(self.cell(start, cells))
    }

    /// Whether people have said that a bucket will be otherwise.
    pub(crate) fn is_planned(&self, start: Micros) -> bool {
        self.periods.planned(self.name.grain, start).is_some()
    }

    /// What a bucket teaches: nothing where it is planned.
    fn lesson(&self, start: Micros, cells: &dyn Cells) -> Option<Observed> {
        if self.is_planned(start) { None } else { self.observed(start, cells) }
    }

    /// What was expected of a bucket, while it is remembered.
    pub(crate) fn outlook(&self, start: Micros) -> Option<Outlook> {
        self.outlooks.iter().rev().find(|(of, _)| *of == start).map(|(_, outlook)| *outlook)
    }

    /// What is expected of a bucket behind the first that is not learned: bills that come late are over long
    /// before they are whole.
    pub(crate) fn outlook_ahead(&self, start: Micros, cells: &dyn Cells) -> Option<Outlook> {
        let is_ahead = self.wait() > 0 && !self.stale;
        is_ahead.then(|| self.outlook_far(start, cells)).flatten()
    }

    /// The same of any series.
    pub(crate) fn outlook_far(&self, start: Micros, cells: &dyn Cells) -> Option<Outlook> {
        if start <= self.next || self.is_far(start) {
            return None;
        }
        let past = CellPast { entry: self, cells, of: start, end: self.next };
        self.learner.outlook_ahead(self.shape, self.place(start), &past)
    }

    /// Whether a bucket is too far behind what is learned to be forecast.
    pub(crate) fn is_far(&self, start: Micros) -> bool {
        self.count(self.next, start) > AHEAD
    }

    /// The first bucket that is not to be learned at `at`: more of it may come.
    pub(crate) fn frontier(&self, at: Micros) -> Micros {
        self.start(at.plus(-self.wait()))
    }

    /// How much of a bucket has come: of a ratio its denominator.
    fn come(&self, start: Micros, cells: &dyn Cells) -> f64 {
        let observed = self.observed(start, cells);
        observed.map_or(0.0, |own| if self.shape.flow { own.value } else { own.weight })
    }

    /// A bucket has ended, and so much of it has come.
    pub(crate) fn end(&mut self, start: Micros, cells: &dyn Cells) {
        let grain = self.name.grain;
        let value = self.come(start, cells);
        let number = self.periods.number(grain, start);
        // What was learned of buckets that were not whole is to be forgotten.
        let is_later = self.late.end(grain, number, value);
        self.stale |= is_later && self.set_wait.is_none();
    }

    /// Whether an update of a bucket that is over, `after` its end, says how late the series is.
    pub(crate) fn is_late(&self, start: Micros, after: i64, cells: &dyn Cells) -> bool {
        let value = self.come(start, cells);
        self.late.arrives(self.periods.number(self.name.grain, start), value, after)
    }

    /// Notes it.
    pub(crate) fn note_late(&mut self, start: Micros, after: i64, cells: &dyn Cells) {
        let value = self.come(start, cells);
        self.late.note(self.periods.number(self.name.grain, start), value, after);
    }

    /// Whether no more of the bucket is waited for.
    pub(crate) fn is_closed(&self, start: Micros) -> bool {
        start < self.next
    }

    /// Puts another regression in force, or none. The forecast of the bucket that is next is made already.
    pub(crate) fn put_in_force(&mut self, trained: Option<Trained>) {
        let next = self.periods.number(self.name.grain, self.next);
        let trained = trained.map(|own| Arc::new(own.starting(next.saturating_add(1))));
        self.learner.put_in_force(trained);
    }

    /// Takes what people said of an alert whose newest bucket starts at `start`.
    pub(crate) fn heed(
        &mut self,
        start: Micros,
        before: Option<Verdict>,
        verdict: Verdict,
    ) -> bool {
        let number = self.periods.number(self.name.grain, start);
        let Learner { noes, odd, .. } = &mut self.learner;
        if before == Some(Verdict::No) {
            *noes = noes.saturating_sub(1);
        }
        match verdict {
            Verdict::No => *noes = noes.saturating_add(1).min(NOES_MOST),
            Verdict::Yes => *noes = noes.saturating_sub(1),
            // What was meant to be so is no ground for a forecast.
            Verdict::Planned if odd.is_kept(number) => odd.note(number, true),
            Verdict::Planned => {}
        }
        true
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
            self.learner = self.learner.anew();
            self.outlooks.clear();
            self.next = self.first;
        }
        self.next = self.next.max(horizon).max(self.first);
        if self.count(self.next, end) > READ_AHEAD_FROM {
            self.learn_ahead(end, cells);
        }
        while self.later(self.next, 1) <= end {
            let observed = self.lesson(self.next, cells);
            let of = self.later(self.next, 1);
            let mut learner = self.learner.clone();
            let past = CellPast { entry: self, cells, of, end: of };
            let places = (self.place(self.next), self.place(of));
            learner.learn(self.shape, observed, places, &past);
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
            values.push(self.lesson(at, cells));
            at = self.later(at, 1);
        }
        while self.later(self.next, 1) <= end {
            let place = usize::try_from(self.count(from, self.next)).unwrap_or(usize::MAX);
            let observed = values.get(place).copied().flatten();
            let of = (place.saturating_add(1), self.later(self.next, 1));
            let periods = Arc::clone(&self.periods);
            let past = ReadPast { values: &values, of, periods: &periods, grain: self.name.grain };
            let places = (self.place(self.next), self.place(of.1));
            self.learner.learn(self.shape, observed, places, &past);
            self.learned(end);
        }
    }

    /// The bucket `next` has been learned: keeps the outlook of the one after it, unless all before `end`
    /// are being learned and it would be forgotten at once.
    fn learned(&mut self, end: Micros) {
        self.next = self.later(self.next, 1);
        if self.later(self.next, OUTLOOKS as i64) > end {
            let outlook = self.learner.outlook(self.shape, self.place(self.next));
            self.outlooks.extend(outlook.map(|outlook| (self.next, outlook)));
        }
        let oldest = self.later(self.next, 1 - OUTLOOKS as i64);
        self.outlooks.retain(|(of, _)| *of >= oldest);
    }
}

/// Buckets that are learned when a series is caught up with.
pub(crate) fn catch_up(grain: Grain) -> i64 {
    if grain == Grain::Hour { CATCH_UP_HOURS } else { CATCH_UP_DAYS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_takes_four_kilobytes_at_most() {
        let outlooks = (OUTLOOKS + 1) * size_of::<(Micros, Outlook)>();
        let own = size_of::<Entry>() + outlooks + Lateness::MOST + crate::dates::MOST;
        assert!(own <= 4_096, "{own} bytes, of which {outlooks} are outlooks");
        // One that a regression was trained for takes more.
        let own = own + crate::regression::Trained::MOST;
        assert!(own <= 26_000, "{own} bytes with a regression");
    }
}
