//! Which compared cells differ after some epochs: those that changed, those whose counterparts did, and those
//! that time has moved. Pure.
//!
//! # Guarantees
//! - A reader that had every compared cell as of the one epoch has, with these, every one as of the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::{Calendar, Grain, KpiInfo, Micros, Periods};

use super::{Compared, Comparison};
use crate::earlier::{self, Against, Earlier};
use crate::store::{CellChange, CellFilter, ComparedChanges, SeriesName};

/// A cell that differs, with its counterpart while it is there.
pub(crate) type ComparedChange = (CellChange, Option<Compared>);

/// What differs after these changes, of what a filter takes.
pub(crate) fn of(
    read: &ComparedChanges,
    filter: &CellFilter,
    against: Against,
    (kpis, calendar): (&[KpiInfo], &Calendar),
) -> Vec<ComparedChange> {
    let (mut told, mut wanted) = (Vec::new(), BTreeSet::new());
    for change in &read.changes {
        let periods = calendar.of(&change.series.tenant);
        let own = (change.grain, change.period_start);
        if change.grain.is_window() {
            // It brings its counterpart along, and is told when that changes.
            let value = change.value.and_then(|value| value.value);
            let window = change.window.as_deref();
            let compared = window.and_then(|window| Compared::of_window(window, against, value));
            told.push((change.clone(), compared));
            continue;
        }
        if change.value.is_some() {
            wanted.insert((Arc::clone(&change.series), own));
        } else if change.is_taken_by(filter) {
            told.push((change.clone(), None));
        }
        let others = held_against(periods, own, read.clock, against).into_iter();
        wanted.extend(others.map(|other| (Arc::clone(&change.series), other)));
    }
    if read.has_passed {
        for series in read.history.names() {
            let periods = calendar.of(&series.tenant);
            let moved = moved(periods, (read.before, read.clock), against);
            wanted.extend(moved.into_iter().map(|other| (Arc::clone(series), other)));
        }
    }
    let takes = |(_, (grain, start)): &(Arc<SeriesName>, (Grain, Micros))| {
        filter.takes_grain(*grain) && filter.takes_period(*start)
    };
    for (series, (grain, period_start)) in wanted.into_iter().filter(takes) {
        let Some(value) = read.history.value(&series, grain, period_start) else { continue };
        let kind = kpis.iter().find(|info| info.key == series.kpi).map(|info| info.kind);
        let (history, periods) = (&read.history, &**calendar.of(&series.tenant));
        let comparison = Comparison { against, history, periods, kind, as_of: read.clock };
        let compared = comparison.of(&series, (grain, period_start), value.value, None);
        let (value, window) = (Some(value), None);
        told.push((CellChange { series, grain, period_start, value, window }, compared));
    }
    told
}

/// The periods whose counterpart a period is, or is a part of.
fn held_against(
    periods: &Periods,
    (grain, start): (Grain, Micros),
    clock: Micros,
    against: Against,
) -> Vec<(Grain, Micros)> {
    const DAY_US: i64 = 24 * 3_600_000_000;
    let later = |count| periods.later(grain, start, count);
    let candidates = match (against, grain) {
        (Against::Previous, _) | (Against::Year, Grain::Year) => vec![later(1)],
        (Against::Year, Grain::Hour) => vec![start.plus(365 * DAY_US), start.plus(366 * DAY_US)],
        (Against::Year, Grain::Day) => vec![later(365), later(366)],
        (Against::Year, Grain::Week) => vec![later(earlier::WEEKS)],
        (Against::Year, Grain::Month) => vec![later(12)],
        (Against::Year, Grain::Quarter) => vec![later(4)],
        // Windows bring their counterparts.
        (Against::Year, _) => Vec::new(),
    };
    let of = |own| earlier::of(periods, own, clock, against);
    let whole = candidates.into_iter().map(|at| (grain, at));
    let whole = whole.filter(|own| of(*own).is_some_and(|earlier| earlier.start == start));
    let running = Grain::ALL.into_iter().filter(|longer| *longer > grain);
    let running = running.map(|longer| (longer, periods.start(longer, clock)));
    let is_part = |earlier: Earlier| {
        earlier.parts == Some(grain) && earlier.start <= start && start < earlier.whole_end
    };
    let running = running.filter(|own| of(*own).is_some_and(is_part));
    whole.chain(running).collect()
}

/// The periods whose counterpart is another one, or another part of it, because time has passed.
fn moved(
    periods: &Periods,
    (before, clock): (Micros, Micros),
    against: Against,
) -> Vec<(Grain, Micros)> {
    let both = |grain| [before, clock].map(|at| (grain, periods.start(grain, at)));
    let own = Grain::ALL.into_iter().flat_map(both);
    let differs = |own: &(Grain, Micros)| {
        earlier::of(periods, *own, before, against) != earlier::of(periods, *own, clock, against)
    };
    own.filter(differs).collect()
}
