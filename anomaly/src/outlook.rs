//! What is expected of one bucket, and what a value says against it.
//!
//! # Guarantees
//! - A value is anomalous exactly when it is outside of the band, and the band is known before the
//!   bucket is.
//! - A deviation below a tenth of what is expected, or of the series' usual level, is never anomalous.
//!
//! # Non-guarantees
//! - The band is that of a whole bucket. A bucket that still runs can be too high, not too low.

use serde::{Deserialize, Serialize};
use statrs::distribution::{DiscreteCDF, Poisson};

use crate::model::{Model, Past};
use crate::shape::{Observed, Shape, Space};
use crate::tail::{ALERT, ALERT_P, Curve};

/// The least spread: forecasts better than this are luck.
const FLOOR_LOG: f64 = 0.01;
/// The same for ratios, of the larger of the value and 1 %.
const FLOOR_RATIO: f64 = 0.01;
/// A deviation of less is not worth an alert: of the expected value, of the usual level.
const LEAST_OF_EXPECTED: f64 = 0.1;
const LEAST_OF_LEVEL: f64 = 0.1;
/// The same for ratios: in points.
const LEAST_POINTS: f64 = 0.02;
/// The share of buckets that are not 0, below which a series is too sparse to be judged.
const LEAST_ACTIVE: f64 = 0.25;
/// A denominator below this share of the usual one says nothing.
const LEAST_WEIGHT: f64 = 0.1;
/// Weight of the newest bucket in the usual level.
const LEVEL_PACE: f64 = 0.02;
/// What a record adds to the surprise of its error: of the surprise that a record is by itself, one in as
/// many values as there were, only a third, because errors and records come together.
const RECORD_SHARE: f64 = 1.0 / 3.0;
/// Values of which that is counted at most.
const RECORD_VALUES: u32 = 3000;
/// And so much for going beyond all that ever was by the whole of its range.
const RECORD_SIZE: f64 = 8.0;
/// Halvings of an interval in which a limit is looked for.
const HALVINGS: u32 = 40;
/// Standard deviations of a normal law that chance exceeds with [`ALERT_P`].
const NORMAL_REACH: f64 = 3.480_756_404;
/// Counts above this are far from Poisson's skew.
const COUNTS_MAX: f64 = 1000.0;

/// A model, and what else is remembered of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learner {
    /// Buckets seen, of which the first only teach how large the series is.
    pub(crate) seen: u32,
    pub(crate) model: Model,
    /// The usual size of a value, of a denominator, and the share of buckets that are not 0.
    pub(crate) level: f64,
    pub(crate) weight: f64,
    pub(crate) active: f64,
    /// The geometric mean of the values that were not 0 before the model began, as a logarithm, and how
    /// many there were: what its space is made with.
    pub(crate) size: f64,
    pub(crate) sized: u32,
    /// The least and the most there ever was.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The least and the most there ever was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Records {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// What beating them adds to the surprise, however little they are beaten by.
    pub(crate) surprise: f64,
}

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
    /// In values: what is expected, and the least and the most that are normal.
    pub(crate) expected: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    /// A ratio with a smaller denominator is not judged.
    pub(crate) weight: f64,
}

impl Learner {
    /// Nothing learned yet.
    pub(crate) fn new() -> Learner {
        Learner {
            seen: 0,
            model: Model::new(),
            level: 0.0,
            weight: 0.0,
            active: 1.0,
            size: 0.0,
            sized: 0,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
        }
    }

    /// Learns the bucket that is over, with the phase `bin`, and predicts the next one, before which
    /// `past` lies.
    pub(crate) fn learn(
        &mut self,
        shape: Shape,
        observed: Option<Observed>,
        bin: usize,
        past: &dyn Past,
    ) {
        let counted = observed.filter(|own| own.weight >= LEAST_WEIGHT * self.weight);
        let pace = LEVEL_PACE.max(1.0 / (f64::from(self.seen) + 1.0));
        if let Some(own) = observed {
            // Also what is too small to be learned moves what is usual, or nothing would ever again.
            self.weight += pace * (own.weight - self.weight);
        }
        if let Some(own) = counted {
            self.level += pace * (own.value.abs() - self.level);
            self.active += pace * (f64::from(u8::from(own.value.abs() > 0.0)) - self.active);
            // The first bucket is passed over: where a series or its history begins, it is seldom whole.
            if self.seen > 0 {
                (self.low, self.high) = (self.low.min(own.value), self.high.max(own.value));
            }
            self.seen = self.seen.saturating_add(1);
            if self.model.learned == 0 && own.value.abs() > 0.0 {
                self.sized += 1;
                self.size += (own.value.abs().ln() - self.size) / f64::from(self.sized);
            }
            if let Some(space) = self.space(shape) {
                let floor = floor(shape, space, self.model.center);
                self.model.learn(space.scaled(own.value), bin, floor);
            }
        }
        if let Some(space) = self.space(shape).filter(|_| self.model.learned > 0) {
            self.model.foresee(past, shape.seasons, space);
        }
    }

    /// The space of the model, once it has begun.
    fn space(&self, shape: Shape) -> Option<Space> {
        let is_known = !shape.log || self.sized > 0;
        (is_known && self.seen > shape.sized()).then(|| Space::of(shape, self.size.exp()))
    }

    /// What is expected of the next bucket, with the phase `bin`; `None` until enough was learned, and
    /// for a series that is 0 most of the time.
    pub(crate) fn outlook(&self, shape: Shape, bin: usize) -> Option<Outlook> {
        let model = &self.model;
        let sparse = shape.flow && self.active < LEAST_ACTIVE;
        if self.seen < shape.warm || sparse || !model.center.is_finite() {
            return None;
        }
        let (space, center) = (self.space(shape)?, model.center);
        let expected = space.value(center);
        let mut spread = model.spread(bin).max(floor(shape, space, center));
        if shape.count {
            spread = spread.max((expected.max(0.0) + 1.0).sqrt() * space.slope(expected));
        }
        let known = f64::from(self.seen.min(RECORD_VALUES));
        let records =
            Records { low: self.low, high: self.high, surprise: RECORD_SHARE * known.log10() };
        let curves = model.tail.curves();
        let weight = LEAST_WEIGHT * self.weight;
        let (lower, upper) = (f64::NEG_INFINITY, f64::INFINITY);
        let mut outlook =
            Outlook { space, center, spread, curves, records, expected, lower, upper, weight };
        let least = if shape.log {
            (LEAST_OF_EXPECTED * expected.abs()).max(LEAST_OF_LEVEL * self.level)
        } else {
            LEAST_POINTS.max(LEAST_OF_EXPECTED * expected.abs())
        };
        outlook.lower = outlook.limit(0).min(expected - least);
        outlook.upper = outlook.limit(1).max(expected + least);
        if shape.count && expected < COUNTS_MAX {
            // Cornish and Fisher's expansion: Poisson's law is skewed where counts are small.
            let mean = expected.max(0.0);
            let skew = (NORMAL_REACH * NORMAL_REACH - 1.0) / 6.0;
            outlook.lower = outlook.lower.min(mean - NORMAL_REACH * mean.sqrt() + skew);
            outlook.upper = outlook.upper.max(mean + NORMAL_REACH * mean.sqrt() + skew);
        }
        Some(outlook)
    }
}

fn floor(shape: Shape, space: Space, center: f64) -> f64 {
    if shape.log { FLOOR_LOG } else { FLOOR_RATIO * space.value(center).abs().max(0.01) }
}

impl Records {
    fn range(&self) -> f64 {
        self.high - self.low
    }

    /// What `value` adds to the surprise by being beyond all there ever was.
    fn surprise(&self, value: f64) -> f64 {
        let beyond = (value - self.high).max(self.low - value);
        if beyond > 0.0 && beyond.is_finite() {
            self.surprise + RECORD_SIZE * beyond / self.range().max(f64::MIN_POSITIVE)
        } else {
            0.0
        }
    }
}

impl Outlook {
    /// Whether `value` is outside of the band.
    pub(crate) fn is_anomalous(&self, value: f64) -> bool {
        value > self.upper || value < self.lower
    }

    /// The distance from what is expected, in spreads.
    pub(crate) fn z(&self, value: f64) -> f64 {
        (self.space.scaled(value) - self.center) / self.spread
    }

    /// How surprising a value is: its error, and that it is a record.
    fn surprise(&self, value: f64) -> f64 {
        let z = self.z(value);
        let [below, above] = self.curves;
        (if z < 0.0 { below } else { above }).surprise(z.abs()) + self.records.surprise(value)
    }

    /// The value from which on, on one side (0: below, 1: above), the surprise is that of an alert.
    fn limit(&self, side: usize) -> f64 {
        let sign = if side == 0 { -1.0 } else { 1.0 };
        let Some(curve) = self.curves.get(side) else { return sign * f64::INFINITY };
        let by_error = |surprise: f64| {
            self.space.value(self.center + sign * curve.reach(surprise) * self.spread)
        };
        let record = if side == 0 { self.records.low } else { self.records.high };
        let far = by_error(ALERT);
        if sign * (far - record) <= 0.0 || !record.is_finite() {
            return far;
        }
        // From the record on less of an error is enough; and large enough, a record alone.
        let alone = record + sign * ALERT / RECORD_SIZE * self.records.range();
        let (mut near, mut far) = match side {
            0 => (record.min(self.expected), far.max(alone)),
            _ => (record.max(self.expected), far.min(alone)),
        };
        if self.surprise(near + sign * f64::EPSILON * near.abs()) >= ALERT {
            return near;
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(near, far);
            if self.surprise(middle) < ALERT { near = middle } else { far = middle }
        }
        far
    }

    /// How likely chance is to give a value so far off.
    pub(crate) fn p(&self, shape: Shape, value: f64) -> f64 {
        let by_errors = (2.0 * 10.0_f64.powf(-self.surprise(value))).min(1.0);
        let by_count = if shape.count { poisson(self.expected, value) } else { 0.0 };
        let p = by_errors.max(by_count);
        // The band and the p-value agree up to the approximation of the band.
        if self.is_anomalous(value) { p.min(ALERT_P) } else { p }
    }
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests;
