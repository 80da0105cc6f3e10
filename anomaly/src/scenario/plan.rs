//! What happens in one scenario: the values of each hour, when they arrive, and the truth about them.
//!
//! # Guarantees
//! - Hours are counted from the start; a day is that of the tenant's zone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use schemas::civil::Shape;
use schemas::planned::{Event, Mark};
use schemas::{Calendar, CalendarSettings, Micros, Periods, civil};

use crate::chance::Chance;

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const HOUR: i64 = 3_600 * SECOND;
/// History that is there at the start, as a snapshot brings it.
pub(super) const LEARNED_DAYS: usize = 35;
/// How much an order brings.
const ORDER: f64 = 40.0;
/// What an order's worth of traffic costs.
pub(super) const CHARGE: f64 = 25.0;

/// The values of one series.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) kpi: &'static str,
    pub(super) dims: Arc<str>,
    /// What each hour comes to.
    pub(super) hours: Vec<f64>,
    /// When all of an hour has arrived at once; `None` while it runs.
    pub(super) late: Option<fn(&Plan, usize) -> Micros>,
}

/// A change of an hour beside its usual arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) at: Micros,
    pub(super) line: usize,
    pub(super) hour: usize,
    pub(super) value: f64,
    pub(super) quiet: bool,
}

/// Something that happens, to what and when.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub(super) kpis: Vec<&'static str>,
    pub(super) hours: Range<usize>,
    /// Whether it must be found; else an alert is neither needed nor false.
    pub(super) must: bool,
}

/// One scenario of one tenant.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) start: Micros,
    pub(super) hours: usize,
    /// The first hour that is seen as it happens; what is before is a snapshot.
    pub(super) live: usize,
    pub(super) calendar: Arc<Calendar>,
    pub(super) lines: Vec<Line>,
    pub(super) changes: Vec<Change>,
    /// Hours whose usual arrival does not happen, for their lines.
    pub(super) withheld: Vec<(usize, Range<usize>)>,
    pub(super) causes: Vec<Cause>,
}

/// What a usual shop is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shop {
    /// Orders in a usual hour.
    pub(super) volume: f64,
    /// How much an hour, and a day as a whole, is off by itself.
    pub(super) restless: f64,
    pub(super) moody: f64,
    pub(super) zone: &'static str,
    /// The first day, and how many there are.
    pub(super) from: (i64, i64, i64),
    pub(super) days: usize,
    pub(super) learned: usize,
}

impl Shop {
    /// A shop in UTC of nine weeks more than it has learned from, with so many orders an hour.
    pub(super) fn of(volume: f64) -> Shop {
        Shop {
            volume,
            restless: 0.04,
            moody: 0.03,
            zone: "UTC",
            from: (2026, 1, 5),
            days: LEARNED_DAYS + 63,
            learned: LEARNED_DAYS,
        }
    }

    /// Its hours: orders, revenue, cost.
    pub(super) fn plan(self, chance: &mut Chance) -> Plan {
        self.plan_with(chance, |_, _| 1.0)
    }

    /// The same, each hour's level being `level` times as high, by its day and its hour on the clock.
    pub(super) fn plan_with(
        self,
        chance: &mut Chance,
        level: impl Fn(usize, usize) -> f64,
    ) -> Plan {
        let settings = CalendarSettings {
            zone: self.zone.to_owned(),
            zones: BTreeMap::new(),
            shape: Shape::default(),
        };
        let calendar = Arc::new(Calendar::new(&settings).unwrap_or_default());
        let periods = Arc::clone(calendar.of(""));
        let first = civil::day(self.from.0, self.from.1, self.from.2);
        let start = schemas::Grain::Hour.start(periods.midnight(first));
        let end = periods.midnight(first + int(self.days));
        let hours = usize::try_from((end.0 - start.0) / HOUR).unwrap_or(0);
        let mut plan = Plan::empty(start, hours, calendar);
        plan.live = plan.day(self.learned);
        let (mut orders, mut revenue, mut cost) = (Vec::new(), Vec::new(), Vec::new());
        let (mut day, mut moods) = (i64::MIN, [1.0; 2]);
        for hour in 0..hours {
            let at = plan.at(hour);
            if periods.day(at) != day {
                day = periods.day(at);
                moods = [self.moody, self.moody].map(|own| (own * chance.normal()).exp());
            }
            let clock = plan.clock(hour);
            let own = level(usize::try_from(day - first).unwrap_or(0), clock);
            let usual = self.volume * own * wave(day, clock);
            let mut off = || (self.restless * chance.normal()).exp();
            let (busy, dear) = (usual * moods[0] * off(), usual * CHARGE * moods[1] * off());
            let count = chance.poisson(busy);
            orders.push(count);
            let amounts = ORDER * count + 0.75 * ORDER * count.sqrt() * chance.normal();
            revenue.push(cents(amounts.max(0.0)));
            cost.push(cents(dear));
        }
        plan.line("orders", orders);
        plan.line("revenue_booked", revenue);
        plan.line("total_cost", cost);
        plan
    }
}

/// The level of an hour: a wave over the day, and quieter weekends.
pub(super) fn wave(day: i64, clock: usize) -> f64 {
    // 1970-01-01 was a Thursday.
    let weekend = if (day + 3).rem_euclid(7) >= 5 { 0.6 } else { 1.0 };
    let of_day = clock as f64 / 24.0 * std::f64::consts::TAU;
    (1.0 + 0.5 * (of_day - 2.0).sin()) * weekend
}

pub(super) fn cents(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn int(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Plan {
    pub(super) fn empty(start: Micros, hours: usize, calendar: Arc<Calendar>) -> Plan {
        Plan {
            start,
            hours,
            live: 0,
            calendar,
            lines: Vec::new(),
            changes: Vec::new(),
            withheld: Vec::new(),
            causes: Vec::new(),
        }
    }

    pub(super) fn line(&mut self, kpi: &'static str, hours: Vec<f64>) {
        let dims = r#"{"currency":"USD"}"#.into();
        self.lines.push(Line { kpi, dims, hours, late: None });
    }

    pub(super) fn periods(&self) -> &Periods {
        self.calendar.of("")
    }

    /// When an hour begins.
    pub(super) fn at(&self, hour: usize) -> Micros {
        self.start.plus(int(hour).saturating_mul(HOUR))
    }

    /// The hour that an instant is in.
    pub(super) fn hour(&self, at: Micros) -> usize {
        usize::try_from((at.0 - self.start.0).max(0) / HOUR).unwrap_or(0)
    }

    /// What the clocks of the tenant show when an hour begins.
    pub(super) fn clock(&self, hour: usize) -> usize {
        let at = self.at(hour);
        let local = at.0 + self.periods().offset(at);
        usize::try_from(local.div_euclid(HOUR).rem_euclid(24)).unwrap_or(0)
    }

    /// The first hour of a day, counted from the first.
    pub(super) fn day(&self, day: usize) -> usize {
        let first = self.periods().day(self.start);
        self.hour(self.periods().midnight(first + int(day)))
    }

    /// The first hour of a date, and the day's number.
    pub(super) fn date(&self, year: i64, month: i64, day: i64) -> (usize, usize) {
        let first = self.periods().day(self.start);
        let day = usize::try_from(civil::day(year, month, day) - first).unwrap_or(0);
        (self.day(day), day)
    }

    /// The hours of `days`.
    pub(super) fn days(&self, days: Range<usize>) -> Range<usize> {
        self.day(days.start)..self.day(days.end)
    }

    /// People have said that some days will be otherwise; nothing else is planned.
    pub(super) fn announce(&mut self, days: &[Range<usize>]) {
        let first = self.periods().day(self.start);
        let event = |own: &Range<usize>| Event {
            title: "planned".into(),
            from: Mark::Day(first + int(own.start)),
            to: Mark::Day(first + int(own.end)),
            again: None,
            except: BTreeSet::new(),
        };
        let events = vec![(vec!["*".to_owned()], days.iter().map(event).collect())];
        self.calendar = Arc::new(Calendar::clone(&self.calendar).with_planned(&events));
    }

    /// Changes what hours of KPIs come to, rounded as they are.
    pub(super) fn change(
        &mut self,
        kpis: &[&str],
        hours: Range<usize>,
        change: impl Fn(f64) -> f64,
    ) {
        for line in self.lines.iter_mut().filter(|line| kpis.contains(&line.kpi)) {
            let whole = line.kpi == "orders";
            let hours = hours.start.min(line.hours.len())..hours.end.min(line.hours.len());
            for value in line.hours.get_mut(hours).into_iter().flatten() {
                *value = if whole { change(*value).round() } else { cents(change(*value)) };
            }
        }
    }

    /// Multiplies them.
    pub(super) fn scale(&mut self, kpis: &[&str], hours: Range<usize>, factor: f64) {
        self.change(kpis, hours, |value| value * factor);
    }

    /// Something that must be found.
    pub(super) fn must(&mut self, kpis: &[&'static str], hours: Range<usize>) {
        self.cause(kpis, hours, true);
    }

    /// Something of which an alert is neither needed nor false.
    pub(super) fn may(&mut self, kpis: &[&'static str], hours: Range<usize>) {
        self.cause(kpis, hours, false);
    }

    fn cause(&mut self, kpis: &[&'static str], hours: Range<usize>, must: bool) {
        let mut kpis = kpis.to_vec();
        if kpis.contains(&"revenue_booked") || kpis.contains(&"total_cost") {
            kpis.push("roi");
        }
        self.causes.push(Cause { kpis, hours, must });
    }

    /// The places of the lines of KPIs.
    pub(super) fn places(&self, kpis: &[&str]) -> Vec<usize> {
        let places = self.lines.iter().enumerate();
        places.filter(|(_, line)| kpis.contains(&line.kpi)).map(|(place, _)| place).collect()
    }
}
