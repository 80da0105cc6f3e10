//! Converted KPIs kept up to date: the days of what they convert, by currency, and the rates of those days.
//!
//! At the end of an epoch what it changed of a day of a currency changes the converted day at the rate of before; then
//! what it changed of rates changes the days whose rate is another one. Longer periods and windows follow from days as
//! those of every KPI.
//!
//! # Guarantees
//! - A converted day is the sum over currencies of exact sums and rates, whatever the order in which they came.
//! - A rate that comes, changes or goes is looked up for the days from its own to that of the next one, and costs
//!   nothing beyond those that have money in its currency.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::{Date, Grain, Micros, RowRef};

use super::Engine;
use super::fold::Mode;
use crate::converted::{Brought, Change, Rate, Rates};
use crate::cube::{Cube, Number};
use crate::plan::{Conversion, Plan};
use crate::series::without;
use crate::slabs::CellId;
use crate::sum::ExactSum;
use crate::value::Parts;

/// Rates, and what is known of the days of each converted KPI.
#[derive(Debug)]
pub(super) struct Converting {
    rates: Rates,
    /// Rows of rates that came or went in the epoch.
    pending: Vec<Change>,
    /// By converted KPI, in the order of the plan.
    all: Vec<Days>,
}

/// The days that one KPI converts.
#[derive(Debug, Default)]
struct Days {
    /// By series of what is converted, where it goes.
    series: Vec<Option<Arc<Series>>>,
    /// By currency, those that rates are for: day and cell of what is converted.
    by_currency: BTreeMap<Arc<str>, BTreeSet<(i64, u32)>>,
    /// By currency and day, how many have money and no rate.
    lacking: BTreeMap<Option<Arc<str>>, BTreeMap<i64, u64>>,
}

/// A series of what is converted.
#[derive(Debug)]
struct Series {
    tenant: Arc<str>,
    currency: Option<Arc<str>>,
    /// The one that it is part of.
    into: u32,
}

/// A day of a series of what is converted.
#[derive(Debug, Clone)]
struct Day {
    cell: u32,
    series: Arc<Series>,
    start: Micros,
    /// Counted from 1970-01-01, by the clocks of the tenant.
    number: i64,
}

/// Days of a currency that have money of a KPI and no rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconverted {
    /// The converted KPI.
    pub kpi: Arc<str>,
    /// The currency; `None`: rows say none.
    pub from: Option<Arc<str>>,
    /// The one that is converted to.
    pub to: Arc<str>,
    /// The first such day.
    pub first: Date,
}

impl Converting {
    pub(super) fn of(plan: &Plan) -> Option<Converting> {
        let conversions = plan.conversions.as_ref()?;
        let all = conversions.all.iter().map(|_| Days::default()).collect();
        Some(Converting { rates: Rates::default(), pending: Vec::new(), all })
    }

    /// The days whose rate a change may be of, by conversion and cell; and whether that is loud.
    fn touched_by(
        &self,
        change: &Change,
        conversions: &[Conversion],
        into: &mut BTreeMap<(usize, u32), (Day, bool)>,
        cubes: &[Cube],
    ) {
        let until = self.rates.next(&change.pair, change.day).unwrap_or(i64::MAX);
        for (number, (own, days)) in conversions.iter().zip(&self.all).enumerate() {
            let cells =
                days.by_currency.get(&change.pair.from).filter(|_| own.to == change.pair.to);
            let cells = cells.into_iter().flat_map(|all| all.range((change.day, 0)..(until, 0)));
            for (day, cell) in cells {
                let Some(found) = days.known(&cubes[own.from], *cell, *day) else { continue };
                if change.pair.tenant.as_ref().is_none_or(|own| *own == found.series.tenant) {
                    let held = into.entry((number, *cell)).or_insert((found, false));
                    held.1 |= change.is_loud;
                }
            }
        }
    }
}

impl Days {
    /// A day of a series that has been seen.
    fn known(&self, from: &Cube, cell: u32, number: i64) -> Option<Day> {
        let CellId { series, start, .. } = from.slabs.id(cell);
        let series = Arc::clone(self.series.get(series as usize)?.as_ref()?);
        Some(Day { cell, series, start, number })
    }

    /// The day of a cell of what is converted; `None` when it is none.
    fn day(&mut self, own: &Conversion, cubes: &mut [Cube], cell: u32) -> Option<Day> {
        let id = cubes[own.from].slabs.id(cell);
        if id.grain != Grain::Day {
            return None;
        }
        let at = id.series as usize;
        let (tenant, raw, periods) = {
            let series = cubes[own.from].slabs.series(id.series);
            (Arc::clone(&series.tenant), Arc::clone(&series.raw), Arc::clone(&series.periods))
        };
        if self.series.len() <= at {
            self.series.resize(at + 1, None);
        }
        if self.series[at].is_none() {
            let (rest, currency) = without(&raw, own.currency)?;
            let into = cubes[own.cube].intern(&rest)?;
            self.series[at] = Some(Arc::new(Series { tenant, currency, into }));
        }
        let series = Arc::clone(self.series[at].as_ref()?);
        Some(Day { cell, series, start: id.start, number: periods.day(id.start) })
    }

    /// Notes whether there is money on a day, and whether it has a rate.
    fn note(&mut self, own: &Conversion, day: &Day, (was, is): (bool, bool), lacks: (bool, bool)) {
        if let Some(currency) = day.series.currency.as_ref().filter(|currency| **currency != own.to)
            && was != is
        {
            let days = self.by_currency.entry(Arc::clone(currency)).or_default();
            match is {
                true => drop(days.insert((day.number, day.cell))),
                false => drop(days.remove(&(day.number, day.cell))),
            }
            self.by_currency.retain(|_, days| !days.is_empty());
        }
        if lacks.0 == lacks.1 {
            return;
        }
        let days = self.lacking.entry(day.series.currency.clone()).or_default();
        let count = days.entry(day.number).or_default();
        *count = if lacks.1 { *count + 1 } else { count.saturating_sub(1) };
        days.retain(|_, count| *count > 0);
        self.lacking.retain(|_, days| !days.is_empty());
    }
}

impl Engine {
    /// Takes a row of rates that came or went.
    pub(super) fn take_rates(
        &mut self,
        contract: usize,
        (old, new): (Option<RowRef<'_>>, Option<RowRef<'_>>),
        mode: Mode,
    ) {
        let Some(conversions) = self.plan.conversions.as_ref() else { return };
        let Some(converting) = self.converting.as_mut() else { return };
        if conversions.relation != contract {
            return;
        }
        for (row, comes) in [(old, false), (new, true)] {
            let change = row.and_then(|row| Change::of(row, &conversions.columns, comes));
            let is_used =
                |change: &Change| conversions.all.iter().any(|own| own.to == change.pair.to);
            let Some(change) = change.filter(is_used) else { continue };
            match mode {
                Mode::Rebuild => converting.rates.take(change),
                Mode::Epoch => converting.pending.push(change),
                Mode::Loud => converting.pending.push(Change { is_loud: true, ..change }),
            }
        }
    }

    /// Brings what the epoch changed of days of currencies, and of rates, into converted days.
    pub(super) fn convert(&mut self) {
        let Some(mut converting) = self.converting.take() else { return };
        let plan = Arc::clone(&self.plan);
        let conversions = plan.conversions.as_ref().map_or(&[][..], |own| &own.all);
        for (own, days) in conversions.iter().zip(&mut converting.all) {
            for at in 0..self.cubes[own.from].touched.len() {
                let cube = &self.cubes[own.from];
                let touched = cube.touched[at];
                if !cube.is_fed(touched, &own.selections) {
                    continue;
                }
                let before = cube.numbers_before(touched, &mut self.room);
                let before = Parts::of(&own.rule, before);
                let now = Parts::of(&own.rule, cube.slabs.numbers(touched.cell));
                if before == now {
                    continue;
                }
                let is_loud = cube.is_loud(touched.cell, &own.rule);
                let Some(day) = days.day(own, &mut self.cubes, touched.cell) else { continue };
                let rate = rate_of(&converting.rates, own, &day);
                let both = [Brought::of(before, rate), Brought::of(now, rate)];
                let lacks = (both[0].lacks(), both[1].lacks());
                days.note(own, &day, (before.is_some(), now.is_some()), lacks);
                bring(&mut self.cubes[own.cube], own, &day, both, Some(is_loud));
            }
        }
        self.change_rates(&mut converting, conversions);
        self.converting = Some(converting);
    }

    /// Brings what the epoch changed of rates into converted days.
    fn change_rates(&mut self, converting: &mut Converting, conversions: &[Conversion]) {
        let pending = std::mem::take(&mut converting.pending);
        let mut found = BTreeMap::new();
        for change in &pending {
            converting.touched_by(change, conversions, &mut found, &self.cubes);
        }
        let before = |((number, _), (day, _)): (&(usize, u32), &(Day, bool))| {
            rate_of(&converting.rates, &conversions[*number], day)
        };
        let before: Vec<Rate> = found.iter().map(before).collect();
        // What comes first: a row that is there twice is not forgotten in between.
        let (come, go): (Vec<Change>, Vec<Change>) =
            pending.into_iter().partition(|change| change.comes);
        come.into_iter().chain(go).for_each(|change| converting.rates.take(change));
        for (((number, cell), (day, is_loud)), before) in found.into_iter().zip(before) {
            let own = &conversions[number];
            let now = rate_of(&converting.rates, own, &day);
            if before == now {
                continue;
            }
            let parts = Parts::of(&own.rule, self.cubes[own.from].slabs.numbers(cell));
            let both = [Brought::of(parts, before), Brought::of(parts, now)];
            let lacks = (both[0].lacks(), both[1].lacks());
            converting.all[number].note(own, &day, (true, true), lacks);
            bring(&mut self.cubes[own.cube], own, &day, both, Some(is_loud));
        }
    }

    /// Makes converted days what the days of currencies and the rates say, however often.
    pub(super) fn convert_all(&mut self) {
        let Some(mut converting) = self.converting.take() else { return };
        let plan = Arc::clone(&self.plan);
        let conversions = plan.conversions.as_ref().map_or(&[][..], |own| &own.all);
        for (own, days) in conversions.iter().zip(&mut converting.all) {
            (days.by_currency, days.lacking) = (BTreeMap::new(), BTreeMap::new());
            for cell in days_of(&self.cubes[own.cube]) {
                let (counts, sums) = self.cubes[own.cube].slabs.numbers_mut(cell);
                counts[own.numbers.counts()].fill(0);
                own.numbers.sums().into_iter().for_each(|at| sums[at] = ExactSum::default());
            }
            for cell in days_of(&self.cubes[own.from]) {
                let parts = Parts::of(&own.rule, self.cubes[own.from].slabs.numbers(cell));
                if parts.is_none() {
                    continue;
                }
                let Some(day) = days.day(own, &mut self.cubes, cell) else { continue };
                let brought = Brought::of(parts, rate_of(&converting.rates, own, &day));
                days.note(own, &day, (false, true), (false, brought.lacks()));
                let both = [Brought::default(), brought];
                bring(&mut self.cubes[own.cube], own, &day, both, None);
            }
        }
        self.converting = Some(converting);
    }

    /// The currencies that rates are lacking for, by converted KPI.
    pub fn unconverted(&self) -> Vec<Unconverted> {
        let conversions = self.plan.conversions.iter().flat_map(|own| &own.all);
        let all = conversions.zip(self.converting.iter().flat_map(|own| &own.all));
        let one = |(own, days): (&Conversion, &Days)| {
            let kpi = &self.plan.kpis[own.kpi].key;
            let lacking = days.lacking.iter().filter_map(|(from, days)| {
                let (first, _) = days.first_key_value()?;
                Some(Unconverted {
                    kpi: Arc::clone(kpi),
                    from: from.clone(),
                    to: Arc::clone(&own.to),
                    first: Date(i32::try_from(*first).unwrap_or(i32::MAX)),
                })
            });
            lacking.collect::<Vec<_>>()
        };
        all.flat_map(one).collect()
    }
}

fn rate_of(rates: &Rates, own: &Conversion, day: &Day) -> Rate {
    rates.of(&day.series.tenant, day.series.currency.as_ref(), &own.to, day.number)
}

/// The cells of days, in the order of their numbers.
fn days_of(cube: &Cube) -> Vec<u32> {
    let cells = (0_u32..).zip(cube.slabs.cells.iter());
    let days = cells.filter(|(_, own)| own.is_live() && own.id().grain == Grain::Day);
    days.map(|(number, _)| number).collect()
}

/// Puts what a day brings in the place of what it brought; as part of an epoch it is told whether that is loud.
fn bring(
    cube: &mut Cube,
    own: &Conversion,
    day: &Day,
    [before, now]: [Brought; 2],
    is_loud: Option<bool>,
) {
    if before == now {
        return;
    }
    let id = CellId { series: day.series.into, grain: Grain::Day, start: day.start };
    let cell = cube.find_or_create(id);
    if is_loud.is_some() {
        own.numbers.selections().iter().for_each(|selection| cube.feed(cell, *selection));
    }
    if is_loud == Some(true) {
        cube.mark_loud(cell, Number::Count(own.numbers.all().count));
    }
    let (counts, sums) = cube.slabs.numbers_mut(cell);
    for (count, (before, now)) in
        counts[own.numbers.counts()].iter_mut().zip(before.counts.into_iter().zip(now.counts))
    {
        *count += now - before;
    }
    for (at, (before, now)) in
        own.numbers.sums().into_iter().zip(before.sums.into_iter().zip(now.sums))
    {
        sums[at].subtract(before);
        sums[at].add(now);
    }
}
