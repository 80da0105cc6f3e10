//! The band of one bucket, and what a value says against it.
//!
//! # Guarantees
//! - A value is anomalous exactly when it is outside of the band.
//! - As it is shown no end of a band is below zero where the series never was.

use serde::{Deserialize, Serialize};
use statrs::distribution::{DiscreteCDF, Poisson};

use crate::jumps::Jump;
use crate::number::whole;
use crate::records::Records;
use crate::shape::{Shape, Space};
use crate::tail::{ALERT, ALERT_P, Curve};

/// Counts above this are far from Poisson's skew.
pub(super) const COUNTS_MAX: f64 = 1000.0;
/// Halvings of an interval in which a limit is looked for.
const HALVINGS: u32 = 40;
/// The surprise up to which one is told from another, and how much more all others are told to be.
const TOLD: f64 = 7.4;
const TOLD_MORE: f64 = 0.6;
const TOLD_PACE: f64 = 5.0;

/// What is expected of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outlook {
    /// The space of the model.
    pub(crate) space: Space,
    /// The forecast and its spread, in that space.
    pub(crate) center: f64,
    pub(crate) spread: f64,
    /// The tails of its errors: below, above.
    pub(crate) curves: [Curve; 2],
    pub(crate) records: Records,
    pub(crate) jump: Jump,
    /// The surprise of an alert on each side: less is enough where the bucket before was surprising.
    pub(crate) needs: [f64; 2],
    /// Whether the band takes in more than what is expected.
    pub(crate) wide: bool,
    /// In values: what is expected, and the least and the most that are normal.
    pub(crate) expected: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    /// A ratio with a smaller denominator is not judged.
    pub(crate) weight: f64,
}

impl Outlook {
    /// Whether `value` is outside of the band.
    pub(crate) fn is_anomalous(&self, value: f64) -> bool {
        value > self.upper || value < self.lower
    }

    /// The least that is normal, what is expected, and the most, as they are shown: none is below zero unless the series
    /// ever was, before as the model knows it or at another time as its reader does.
    pub(crate) fn shown(&self, was_below: bool) -> [f64; 3] {
        let band = [self.lower, self.expected, self.upper];
        let least = if was_below || self.records.low < 0.0 { f64::NEG_INFINITY } else { 0.0 };
        band.map(|own| own.max(least))
    }

    /// The distance from what is expected, in spreads.
    pub(crate) fn z(&self, value: f64) -> f64 {
        (self.space.scaled(value) - self.center) / self.spread
    }

    /// How surprising a value is: its error, and that it is a record.
    pub(crate) fn surprise(&self, value: f64) -> f64 {
        let z = self.z(value);
        let [below, above] = self.curves;
        (if z < 0.0 { below } else { above }).surprise(z.abs()) + self.records.surprise(value)
    }

    /// The value on one side whose error alone is so surprising.
    pub(super) fn by_error(&self, side: usize, surprise: f64) -> f64 {
        let sign = if side == 0 { -1.0 } else { 1.0 };
        let reach = self.curves.get(side).map_or(f64::INFINITY, |curve| curve.reach(surprise));
        self.space.value(self.center + sign * reach * self.spread)
    }

    /// The value from which on, on one side (0: below, 1: above), the surprise is enough for an alert.
    pub(super) fn limit(&self, side: usize) -> f64 {
        let sign = if side == 0 { -1.0 } else { 1.0 };
        let Some(need) = self.needs.get(side) else { return sign * f64::INFINITY };
        let need = *need;
        let record = if side == 0 { self.records.low } else { self.records.high };
        let far = self.by_error(side, need);
        if sign * (far - record) <= 0.0 || !record.is_finite() {
            return far;
        }
        // From the record on less of an error is enough; and large enough, a record alone.
        let alone = self.records.alone(need);
        let alone = record + sign * alone * self.records.range();
        let (mut near, mut far) = match side {
            0 => (record.min(self.expected), far.max(alone)),
            _ => (record.max(self.expected), far.min(alone)),
        };
        if self.surprise(near + sign * f64::EPSILON * near.abs()) >= need {
            return near;
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(near, far);
            if self.surprise(middle) < need { near = middle } else { far = middle }
        }
        far
    }

    /// The band with that of another center.
    pub(super) fn with(&self, other: f64) -> (f64, f64) {
        let [low, high] = [0, 1].map(|side| {
            let sign = if side == 0 { -1.0 } else { 1.0 };
            let reach = self.curves.get(side).map_or(0.0, |curve| curve.reach(ALERT));
            self.space.value(self.space.scaled(other) + sign * reach * self.spread)
        });
        (self.lower.min(low), self.upper.max(high))
    }

    /// How likely chance is to give a value so far off.
    pub(crate) fn p(&self, shape: Shape, value: f64) -> f64 {
        let jump = if self.is_anomalous(value) { self.jump.surprise(value) } else { 0.0 };
        let by_errors = (2.0 * 10.0_f64.powf(-told(self.surprise(value)).max(jump))).min(1.0);
        let by_count = if shape.count { poisson(self.expected, value) } else { 0.0 };
        let p = by_errors.max(by_count);
        // The band and the p-value agree up to the approximation of the band.
        if self.is_anomalous(value) { p.min(ALERT_P) } else { p }
    }
}

/// A surprise as it is told: an error is extrapolated, and says no more from some size on.
fn told(surprise: f64) -> f64 {
    let more = surprise - TOLD;
    if more <= 0.0 { surprise } else { TOLD - TOLD_MORE * (-more / TOLD_PACE).exp_m1() }
}

/// The two-sided p-value of a count with this mean.
fn poisson(mean: f64, value: f64) -> f64 {
    if mean >= COUNTS_MAX || value < 0.0 {
        return 0.0;
    }
    let Ok(law) = Poisson::new(mean.max(1e-3)) else { return 0.0 };
    let count = whole(value);
    let tail = if value > mean { law.sf(count.saturating_sub(1)) } else { law.cdf(count) };
    (2.0 * tail).min(1.0)
}
