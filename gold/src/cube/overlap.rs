//! What overlaps periods: a row counts in each that holds any of its days, whole, or with what it has on those days.
//!
//! # Guarantees
//! - A cell's numbers are those of all rows with a day in its period. What is spread over days is, of a longer period,
//!   the sum of its days.
//! - There are cells of periods that begin up to the end of the 24th month behind the running one; those of a further
//!   month begin to be there when a month begins.
//!
//! # Non-guarantees
//! - A row costs every period that it overlaps.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use schemas::{Grain, Micros, Periods};

use super::{Cube, Noted, Number, Step};
use crate::slabs::CellId;
use crate::sum::ExactSum;

/// How many months behind the running one begin periods that have cells, and that one.
const MONTHS: i64 = 25;

/// The days that rows of a series are of, from the first to the last one, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) series: u32,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Span {
    /// How many days there are.
    pub(crate) fn days(&self) -> i128 {
        i128::from(self.last) - i128::from(self.first) + 1
    }
}

/// What rows bring to the periods that hold their days.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// To each of them.
    pub(crate) whole: Step,
    /// By sum, for each day.
    pub(crate) daily: Box<[ExactSum]>,
    /// By sum, beside that for the last day.
    pub(crate) rests: Box<[ExactSum]>,
}

impl Share {
    fn add(&mut self, other: &Share) {
        self.whole.add(&other.whole);
        let sums = [(&mut self.daily, &other.daily), (&mut self.rests, &other.rests)];
        for (own, by) in sums.into_iter().flat_map(|(own, by)| own.iter_mut().zip(by.iter())) {
            own.add_change(ExactSum::default(), *by);
        }
    }

    fn is_nothing(&self) -> bool {
        self.whole.is_nothing() && self.spread().next().is_none()
    }

    /// The sums that are spread.
    fn spread(&self) -> impl Iterator<Item = usize> {
        let sums = self.daily.iter().zip(&self.rests).enumerate();
        let nothing = ExactSum::default();
        sums.filter(move |(_, (daily, rest))| **daily != nothing || **rest != nothing)
            .map(|(at, _)| at)
    }

    /// The numbers that it changes.
    fn numbers(&self) -> impl Iterator<Item = Number> {
        self.whole.numbers().chain(self.spread().map(Number::Sum))
    }
}

/// What an epoch changes of a span.
#[derive(Debug)]
struct Changed {
    share: Share,
    /// The numbers that rows change which are not quiet.
    loud: BTreeSet<Number>,
}

/// What all rows bring, by their days.
#[derive(Debug, Default)]
pub(super) struct Spans {
    held: BTreeMap<Span, Share>,
    changed: BTreeMap<Span, Changed>,
}

impl Spans {
    /// Those of a series.
    fn of(&self, series: u32) -> impl Iterator<Item = (&Span, &Share)> {
        let at = |day: i64| Span { series, first: day, last: day };
        self.held.range(at(i64::MIN)..=at(i64::MAX))
    }

    /// Whether rows of a series have days from this one on.
    fn reaches(&self, series: u32, day: i64) -> bool {
        self.of(series).any(|(span, _)| span.last >= day)
    }
}

/// A period that holds days of a span.
#[derive(Debug, Clone, Copy)]
struct Held {
    start: Micros,
    days: u64,
    /// Whether the last one is among them.
    has_last: bool,
}

impl Cube {
    /// Nothing that rows bring.
    pub(crate) fn no_share(&self) -> Share {
        let none = || vec![ExactSum::default(); self.sums_stride].into_boxed_slice();
        Share { whole: self.no_step(), daily: none(), rests: none() }
    }

    /// The days of a row of a series; none where it ends before its first one.
    pub(crate) fn span(&self, series: u32, from: Micros, until: Micros) -> Option<Span> {
        let periods = self.periods(series);
        let (first, last) = (periods.day(from), periods.day(until.plus(-1)));
        (first <= last).then_some(Span { series, first, last })
    }

    /// Whether a row of these days was counted.
    pub(crate) fn has_span(&self, span: Span, count: usize) -> bool {
        let share = self.spans.as_ref().and_then(|spans| spans.held.get(&span));
        share.and_then(|own| own.whole.counts.get(count)).is_some_and(|count| *count > 0)
    }

    /// Takes what rows of these days bring, or no longer do.
    pub(crate) fn take_share(&mut self, span: Span, share: &Share, noted: Noted) {
        let Some(spans) = &mut self.spans else { return };
        match spans.held.get_mut(&span) {
            Some(held) => held.add(share),
            None => drop(spans.held.insert(span, share.clone())),
        }
        if spans.held.get(&span).is_some_and(Share::is_nothing) {
            spans.held.remove(&span);
        }
        if noted == Noted::Not {
            return;
        }
        let changed = match spans.changed.entry(span) {
            Entry::Occupied(own) => {
                let changed = own.into_mut();
                changed.share.add(share);
                changed
            }
            Entry::Vacant(own) => {
                own.insert(Changed { share: share.clone(), loud: BTreeSet::new() })
            }
        };
        if noted == Noted::Loudly {
            changed.loud.extend(share.numbers());
        }
    }

    /// Brings what the epoch changed into the periods that hold its days. Returns the series that changed, when the
    /// next month of each begins, and whether that gives it cells.
    pub(crate) fn roll_up_overlaps(&mut self, now: Micros) -> Vec<(u32, Micros, bool)> {
        let changed = self.spans.as_mut().map(|spans| std::mem::take(&mut spans.changed));
        let mut next = BTreeMap::new();
        for (span, Changed { share, loud }) in changed.into_iter().flatten() {
            let periods = self.periods(span.series);
            let horizon = horizon(&periods, now);
            let spans = self.spans.as_ref();
            next.entry(span.series).or_insert_with(|| {
                let reaches = |spans: &Spans| spans.reaches(span.series, periods.day(horizon));
                (next_month(&periods, now), spans.is_some_and(reaches))
            });
            if share.is_nothing() {
                continue;
            }
            let bounds = (Micros(i64::MIN), horizon);
            for cell in self.add_to_periods(&periods, span, &share, bounds) {
                self.loud.extend(loud.iter().map(|number| (cell, *number)));
            }
        }
        next.into_iter().map(|(series, (next, reaches))| (series, next, reaches)).collect()
    }

    /// Makes all cells what the rows say. Returns when the next month of those series begins that it gives cells.
    pub(crate) fn rebuild_overlaps(&mut self, now: Micros) -> Vec<(u32, Micros)> {
        let Some(spans) = self.spans.take() else { return Vec::new() };
        self.clear_numbers();
        let mut next = BTreeMap::new();
        for (span, share) in &spans.held {
            let periods = self.periods(span.series);
            let horizon = horizon(&periods, now);
            self.rebuild_periods(&periods, *span, share, horizon);
            if span.last >= periods.day(horizon) {
                next.insert(span.series, next_month(&periods, now));
            }
        }
        self.spans = Some(spans);
        next.into_iter().collect()
    }

    /// A day or a month begins of a series: its periods that begin to be there get their cells. Returns when it goes on.
    pub(crate) fn begin(&mut self, series: u32, at: Micros) -> Option<Micros> {
        let Some(spans) = &self.spans else { return self.begin_day(series, at) };
        let periods = self.periods(series);
        let bounds = (horizon(&periods, at.plus(-1)), horizon(&periods, at));
        let from = periods.day(bounds.0);
        let reaching = spans.of(series).filter(|(span, _)| span.last >= from);
        let reaching: Vec<(Span, Share)> =
            reaching.map(|(span, share)| (*span, share.clone())).collect();
        for (span, share) in reaching {
            self.add_to_periods(&periods, span, &share, bounds);
        }
        let spans = self.spans.as_ref()?;
        spans.reaches(series, periods.day(bounds.1)).then(|| next_month(&periods, at))
    }

    /// Adds what rows bring to the cells of those of their periods that begin within these bounds, which it touches.
    fn add_to_periods(
        &mut self,
        periods: &Periods,
        span: Span,
        share: &Share,
        bounds: (Micros, Micros),
    ) -> Vec<u32> {
        let (mut cells, fed) = (Vec::new(), self.feeding(share.numbers()));
        for grain in self.stock_grains() {
            each_period(periods, grain, span, bounds, |held| {
                let id = CellId { series: span.series, grain, start: held.start };
                let cell = self.find_or_create(id);
                self.touch(cell);
                fed.iter().for_each(|selection| self.feed(cell, *selection));
                self.add_share(cell, share, held);
                cells.push(cell);
            });
        }
        cells
    }

    /// The same of all, as part of a rebuild.
    fn rebuild_periods(&mut self, periods: &Periods, span: Span, share: &Share, horizon: Micros) {
        for grain in self.stock_grains() {
            each_period(periods, grain, span, (Micros(i64::MIN), horizon), |held| {
                let id = CellId { series: span.series, grain, start: held.start };
                let cell = self.find_or_create(id);
                self.add_share(cell, share, held);
            });
        }
    }

    fn add_share(&mut self, cell: u32, share: &Share, held: Held) {
        self.add_step(cell, &share.whole);
        let (_, sums) = self.slabs.numbers_mut(cell);
        for at in share.spread() {
            let daily = share.daily[at].times(held.days);
            sums[at].add_change(ExactSum::default(), daily);
            if held.has_last {
                sums[at].add_change(ExactSum::default(), share.rests[at]);
            }
        }
    }
}

fn next_month(periods: &Periods, now: Micros) -> Micros {
    periods.end(Grain::Month, periods.start(Grain::Month, now))
}

/// From where on no period begins that has cells.
fn horizon(periods: &Periods, now: Micros) -> Micros {
    periods.later(Grain::Month, periods.start(Grain::Month, now), MONTHS)
}

/// The periods that hold days of a span, and begin within these bounds.
fn each_period(
    periods: &Periods,
    grain: Grain,
    span: Span,
    (from, to): (Micros, Micros),
    mut give: impl FnMut(Held),
) {
    let mut start = periods.start(grain, periods.midnight(span.first).max(from));
    if start < from {
        start = periods.end(grain, start);
    }
    while start < to {
        let end = periods.end(grain, start);
        let next = periods.day(end).min(span.last + 1);
        let Ok(days) = u64::try_from(next - periods.day(start).max(span.first)) else { break };
        if days == 0 {
            break;
        }
        give(Held { start, days, has_last: next > span.last });
        start = end;
    }
}
