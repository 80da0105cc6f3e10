//! What the numbers of a KPI are like, and the space in which they are forecast.
//!
//! # Guarantees
//! - A flow without a cell is 0; a ratio without one is unknown.
//! - The way into a forecast's space and back is monotone, so a band holds in both.

use schemas::watching::MILLION;
use schemas::{
    CellValue, Grain, KpiInfo, KpiKind, Micros, Periods, Sensitivity, Status, Unit, Watching,
};
use serde::{Deserialize, Serialize};

use crate::dates::Date;
use crate::number::float;
use crate::profile::Spot;
use crate::tail::Law;

/// Where a logarithm begins to bend, in usual sizes; and where that of a profile does, in which hours and days of the
/// week are factors.
const BENDS_AT: f64 = 0.25;
const SHARP_AT: f64 = 0.03;
/// The powers of money and of counts of which errors are as far above as below: between a share and a size, and of
/// Poisson's law.
const GENTLE: f64 = 0.5;
const EVEN: f64 = 2.0 / 3.0;
/// Anscombe's constant: with it the root of a count has the same spread wherever it is.
const ANSCOMBE: f64 = 0.375;
/// Counts of this usual size and more vary less by chance than by what moves all of them alike.
const COUNTS_MAX: f64 = 1000.0;
/// The least scale of errors: where next to nothing is expected.
const LEAST_SCALE: f64 = 0.1;
/// The space of a net ratio and one more.
const GROSS: Space = Space { bend: Bend::Gentle, unit: 1.0 };
const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// 1970-01-01 was a Thursday; weeks start on Monday.
const THURSDAY: i64 = 3;
const HOURS_OF_A_WEEK: usize = 168;

/// Buckets that are learned before any is judged.
const WARM_HOURS: u32 = 48;
const WARM_DAYS: u32 = 14;

/// The share of those after which the usual size of a series is known well enough.
const SIZED_AFTER: u32 = 4;

/// How many times as surprising a bucket must be where a KPI is watched with low sensitivity, and with high.
const LOW: f64 = 1.5;
const HIGH: f64 = 0.75;

/// Phases of a season that have a spread of their own.
pub(crate) const BINS: usize = 24;

/// Lengths of the seasons, in buckets; 0 where the grain has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seasons {
    pub(crate) day: usize,
    pub(crate) week: usize,
}

impl Seasons {
    /// Whether buckets are hours, or longer.
    pub(crate) fn is_long(self) -> bool {
        self.week <= HOURS_OF_A_WEEK
    }
}

/// What the numbers of a KPI and grain are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    pub(crate) seasons: Seasons,
    /// Whether deviations grow with the value: forecast on a scale that is bent.
    pub(crate) log: bool,
    /// Whether they count events, which vary by chance as Poisson's law says.
    pub(crate) count: bool,
    /// Whether no cell means 0.
    pub(crate) flow: bool,
    /// Buckets to learn before one is judged.
    pub(crate) warm: u32,
    /// Whether its buckets are those of a calendar, in which months come again.
    pub(crate) dated: bool,
    /// Whether little is said before its week is known.
    pub(crate) patient: bool,
    /// Whether it is a ratio of what is left to what it is left of.
    pub(crate) net: bool,
    pub(crate) tuning: Tuning,
}

/// What a KPI's file says of how much must be wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tuning {
    /// How many times as surprising as usually a bucket must be.
    pub(crate) need: f64,
    /// The least deviation: a share of what is expected, or points.
    pub(crate) least_change: Option<f64>,
    /// The same in the unit of the KPI.
    pub(crate) least_impact: f64,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { need: 1.0, least_change: None, least_impact: 0.0 }
    }
}

impl Tuning {
    fn of(watching: &Watching) -> Tuning {
        let need = match watching.sensitivity {
            Sensitivity::Low => LOW,
            Sensitivity::Normal => 1.0,
            Sensitivity::High => HIGH,
        };
        let least_change = watching.least_change.map(|own| f64::from(own) / f64::from(MILLION));
        Tuning { need, least_change, least_impact: watching.least_impact.map_or(0.0, float) }
    }
}

/// What a bucket says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Observed {
    pub(crate) value: f64,
    /// The size of a ratio's denominator; 1 for flows.
    pub(crate) weight: f64,
}

/// How the values of a space are bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bend {
    /// As they are.
    None,
    /// By their logarithm.
    Log,
    /// By their root, which chance moves alike of any count.
    Root,
    /// By a power of which the errors of money are even.
    Gentle,
    /// By one of which those of counts are.
    Even,
    /// As money, one more than it is: a return of 1 is twice what it cost.
    Net,
}

/// The space in which a series is forecast: values as they are, the roots of counts, or values bent like a logarithm
/// from a part of the series' usual size on. Below it steps count as they are, so that next to nothing is not
/// infinitely less than little.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Space {
    pub(crate) bend: Bend,
    /// The usual size.
    pub(crate) unit: f64,
}

impl Space {
    /// The space for numbers of this shape whose usual size is `unit`.
    pub(crate) fn of(shape: Shape, unit: f64) -> Space {
        let bend = match shape {
            Shape { log: false, .. } => Bend::None,
            Shape { count: true, .. } if unit < COUNTS_MAX => Bend::Root,
            _ => Bend::Log,
        };
        Space { bend, unit }
    }

    /// The space in which errors are measured: as far above as below they are alike improbable.
    pub(crate) fn gauge(self, shape: Shape) -> Space {
        let bend = match self.bend {
            Bend::Log if shape.patient => Bend::Gentle,
            Bend::Root if shape.patient => Bend::Even,
            Bend::None if shape.net => Bend::Net,
            own => own,
        };
        Space { bend, unit: self.unit }
    }

    /// Into the space.
    pub(crate) fn scaled(self, value: f64) -> f64 {
        let (size, bent) = (value.abs(), BENDS_AT * self.unit);
        let scaled = match self.bend {
            Bend::None => return value,
            Bend::Net => return GROSS.scaled(value + 1.0),
            Bend::Log => (size / bent).ln_1p(),
            Bend::Root => ((size + ANSCOMBE).sqrt() - ANSCOMBE.sqrt()) * 2.0 / self.unit.sqrt(),
            Bend::Gentle => (size / bent + 1.0).powf(GENTLE) - 1.0,
            Bend::Even => (size + ANSCOMBE).powf(EVEN) - ANSCOMBE.powf(EVEN),
        };
        value.signum() * scaled
    }

    /// Back from it.
    pub(crate) fn value(self, scaled: f64) -> f64 {
        let (size, bent) = (scaled.abs(), BENDS_AT * self.unit);
        let value = match self.bend {
            Bend::None => return scaled,
            Bend::Net => return GROSS.value(scaled) - 1.0,
            Bend::Log => size.exp_m1() * bent,
            Bend::Root => (size * self.unit.sqrt() / 2.0 + ANSCOMBE.sqrt()).powi(2) - ANSCOMBE,
            Bend::Gentle => ((size + 1.0).powf(1.0 / GENTLE) - 1.0) * bent,
            Bend::Even => (size + ANSCOMBE.powf(EVEN)).powf(1.0 / EVEN) - ANSCOMBE,
        };
        scaled.signum() * value
    }

    /// The size of errors where `value` is expected, but for what a series has of its own: what is larger is off by more.
    pub(crate) fn scale(self, value: f64) -> f64 {
        match self.bend {
            // Between that of what is off by its share, and that of a sum of many of one size.
            Bend::Log => (value.abs() * self.slope(value)).sqrt().max(LEAST_SCALE),
            _ => 1.0,
        }
    }

    /// The space of a profile.
    fn as_sharp(self) -> Space {
        let bend = if self.bend == Bend::None { Bend::None } else { Bend::Log };
        Space { bend, unit: SHARP_AT / BENDS_AT * self.unit }
    }

    /// From the space into that of a profile.
    pub(crate) fn sharp(self, scaled: f64) -> f64 {
        self.as_sharp().scaled(self.value(scaled))
    }

    /// Back from that.
    pub(crate) fn blunt(self, sharp: f64) -> f64 {
        self.scaled(self.as_sharp().value(sharp))
    }

    /// What a small step at `value` becomes.
    pub(crate) fn slope(self, value: f64) -> f64 {
        let (size, bent) = (value.abs(), BENDS_AT * self.unit);
        match self.bend {
            Bend::None => 1.0,
            Bend::Net => GROSS.slope(value + 1.0),
            Bend::Log => 1.0 / (size + bent),
            Bend::Root => 1.0 / ((size + ANSCOMBE) * self.unit).sqrt(),
            Bend::Gentle => GENTLE * (size / bent + 1.0).powf(GENTLE - 1.0) / bent,
            Bend::Even => EVEN * (size + ANSCOMBE).powf(EVEN - 1.0),
        }
    }
}

impl Shape {
    /// The shape of a KPI at a grain; what is longer than a day is not forecast.
    pub(crate) fn of(kpi: &KpiInfo, grain: Grain) -> Option<Shape> {
        let (seasons, warm) = match grain {
            Grain::Hour => (Seasons { day: 24, week: 168 }, WARM_HOURS),
            Grain::Day => (Seasons { day: 0, week: 7 }, WARM_DAYS),
            _ => return None,
        };
        Some(Shape {
            seasons,
            log: kpi.unit != Unit::Ratio,
            count: kpi.unit == Unit::Count && !kpi.is_ratio(),
            flow: kpi.kind == KpiKind::Flow,
            warm,
            dated: true,
            patient: true,
            net: kpi.is_net && kpi.is_ratio(),
            tuning: Tuning::of(&kpi.watching),
        })
    }

    /// Which law its errors are taken to follow.
    pub(crate) fn law(self) -> Law {
        match (self.patient, self.seasons.day) {
            (false, _) => Law::Minutes,
            (true, 0) => Law::Days,
            (true, _) => Law::Hours,
        }
    }

    /// What a cell says.
    pub(crate) fn observe(self, cell: Option<CellValue>) -> Option<Observed> {
        let Some(cell) = cell else {
            return self.flow.then_some(Observed { value: 0.0, weight: 1.0 });
        };
        if cell.status != Status::Ok {
            return None;
        }
        let value = float(cell.value?);
        let weight = if self.flow { 1.0 } else { cell.denominator.map_or(1.0, float).abs() };
        Some(Observed { value, weight })
    }

    /// Buckets after which the usual size of a series is known well enough to start.
    pub(crate) fn sized(self) -> u32 {
        self.warm / SIZED_AFTER
    }
}

/// The usual length of a period; `None` of those longer than a day.
pub(crate) fn step(grain: Grain) -> Option<i64> {
    match grain {
        Grain::Hour => Some(HOUR_US),
        Grain::Day => Some(DAY_US),
        _ => None,
    }
}

/// How many hours back the same hour of the clock is, `back` hours being whole days: more or less where
/// clocks change in between.
pub(crate) fn moved(periods: &Periods, of: Micros, back: usize) -> usize {
    if periods.is_utc() {
        return back;
    }
    let hours = i64::try_from(back).unwrap_or(0);
    let then = of.plus(-hours.saturating_mul(HOUR_US));
    let change = periods.offset(then) - periods.offset(of);
    back.saturating_add_signed(isize::try_from(change / HOUR_US).unwrap_or(0))
}

/// A place in time: the number of a bucket, its phase, and the local day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) number: i64,
    pub(crate) phase: usize,
    pub(crate) day: i64,
}

impl Place {
    /// The place of a period.
    pub(crate) fn of(periods: &Periods, grain: Grain, start: Micros) -> Place {
        Place {
            number: periods.number(grain, start),
            phase: phase(periods, grain, start),
            day: periods.day(start),
        }
    }

    /// Its place in day and week, by the seasons of its grain.
    pub(crate) fn spot(self, seasons: Seasons) -> Spot {
        let weekday = (self.day + THURSDAY).rem_euclid(7);
        Spot {
            clock: (seasons.day > 0).then_some(self.phase),
            weekday: usize::try_from(weekday).unwrap_or(0),
        }
    }

    /// The date of it, by the seasons of its grain.
    pub(crate) fn date(self, seasons: Seasons) -> Date {
        Date { day: self.day, clock: if seasons.day > 0 { self.phase } else { 0 } }
    }
}

/// The phase of a period: its hour of the day on the tenant's clocks, or its day of the week with Monday as 0.
pub(crate) fn phase(periods: &Periods, grain: Grain, start: Micros) -> usize {
    let number = match grain {
        Grain::Hour => (start.0 + periods.offset(start)).div_euclid(HOUR_US),
        _ => periods.number(grain, start),
    };
    let phase = match grain {
        Grain::Hour => number.rem_euclid(24),
        _ => (number + THURSDAY).rem_euclid(7),
    };
    usize::try_from(phase).map_or(0, |phase| phase.min(BINS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_hours_and_weekdays() {
        let at = Micros::parse("2026-11-20T14:00:00Z").unwrap();
        let utc = schemas::Calendar::default();
        let phase = |grain, at| phase(utc.of("t"), grain, at);
        assert_eq!(phase(Grain::Hour, at), 14);
        // 2026-11-20 is a Friday.
        assert_eq!(phase(Grain::Day, Grain::Day.start(at)), 4);
        assert_eq!(phase(Grain::Hour, Micros(-1)), 23);
    }

    #[test]
    fn spaces_are_inverse() {
        let shape = Shape {
            seasons: Seasons { day: 24, week: 168 },
            log: true,
            count: false,
            flow: true,
            warm: 48,
            dated: true,
            patient: true,
            net: false,
            tuning: Tuning::default(),
        };
        let money = [0.02, 1.0, 3e6].map(|unit| Space::of(shape, unit));
        let counts = [Bend::Root, Bend::Even].map(|bend| Space { bend, unit: 1.0 });
        let net = Space { bend: Bend::Net, unit: 1.0 };
        let gauges = money.map(|space| space.gauge(shape));
        for space in money.into_iter().chain(gauges).chain(counts).chain([net]) {
            let unit = space.unit;
            for value in [-1e9, -3.5, 0.0, 1e-6, 20.0, 7e12] {
                let back = space.value(space.scaled(value));
                assert!((back - value).abs() <= 1e-12 * (unit + value.abs()), "{value} {back}");
                let step = 1e-4 * (unit + value.abs());
                let rise = space.scaled(value + step) - space.scaled(value);
                assert!((rise / step / space.slope(value) - 1.0).abs() < 1e-3, "{value}");
            }
        }
    }
}
