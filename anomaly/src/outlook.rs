//! What is expected of one bucket, and what a value says against it.
//!
//! # Guarantees
//! - A value is anomalous exactly when it is outside of the band, and the band is known before the
//!   bucket is.
//! - A deviation below a tenth of what is expected, or of the series' usual level, is never anomalous.
//!
//! # Non-guarantees
//! - The band is that of a whole bucket. A bucket that still runs can be too high, not too low.

use statrs::distribution::{DiscreteCDF, Poisson};

use crate::model::{Model, Past};
use crate::shape::{Observed, Shape};
use crate::tail::{self, ALERT_P};

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
/// A value is far beyond all that ever was by so much of the range, and so many spreads off.
const RECORD_MARGIN: f64 = 0.05;
const RECORD_SPREADS: f64 = 3.5;
/// Of that is spoken after so many times the buckets that are learned before any is judged.
const RECORD_WARM: u32 = 3;
/// Standard deviations of a normal law that chance exceeds with [`ALERT_P`].
const NORMAL_REACH: f64 = 3.480_756_404;
/// Counts above this are far from Poisson's skew.
const COUNTS_MAX: f64 = 1000.0;

/// A model, and what else is remembered of a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Learner {
    pub(crate) model: Model,
    /// The usual size of a value, of a denominator, and the share of buckets that are not 0.
    pub(crate) level: f64,
    pub(crate) weight: f64,
    pub(crate) active: f64,
    /// The least and the most there ever was, in the model's space.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// What is expected of one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outlook {
    /// The forecast and its spread, in the model's space.
    pub(crate) center: f64,
    pub(crate) spread: f64,
    /// The tails of its errors: below, above.
    pub(crate) curves: [u8; 2],
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
            model: Model::new(),
            level: 0.0,
            weight: 0.0,
            active: 1.0,
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
        if let Some(own) = observed {
            // Also what is too small to be learned moves what is usual, or nothing would ever again.
            let pace = LEVEL_PACE.max(1.0 / (f64::from(self.model.learned) + 1.0));
            self.weight += pace * (own.weight - self.weight);
        }
        if let Some(own) = counted {
            let pace = LEVEL_PACE.max(1.0 / (f64::from(self.model.learned) + 1.0));
            self.level += pace * (own.value.abs() - self.level);
            self.active += pace * (f64::from(u8::from(own.value.abs() > 0.0)) - self.active);
            let floor = floor(shape, self.model.center);
            self.model.learn(own.scaled, bin, floor);
            (self.low, self.high) = (self.low.min(own.scaled), self.high.max(own.scaled));
        }
        if self.model.learned > 0 {
            self.model.foresee(past, shape.seasons);
        }
    }

    /// What is expected of the next bucket, with the phase `bin`; `None` until enough was learned, and
    /// for a series that is 0 most of the time.
    pub(crate) fn outlook(&self, shape: Shape, bin: usize) -> Option<Outlook> {
        let model = &self.model;
        let sparse = shape.flow && self.active < LEAST_ACTIVE;
        if model.learned < shape.warm || sparse || !model.center.is_finite() {
            return None;
        }
        let center = model.center;
        let expected = shape.value(center);
        let mut spread = model.spread(bin).max(floor(shape, center));
        if shape.count {
            spread = spread.max((1.0 / (expected.max(0.0) + 1.0)).sqrt());
        }
        let curves = model.tail.curves();
        let [below, above] = curves.map(|curve| tail::reach(curve) * spread);
        // Far beyond all that ever was, a heavy tail is no excuse.
        let margin = RECORD_MARGIN * (self.high - self.low);
        let near = RECORD_SPREADS * spread;
        let (below, above) = if model.learned >= shape.warm.saturating_mul(RECORD_WARM) {
            let record_below = (center - self.low + margin).max(near);
            let record_above = (self.high + margin - center).max(near);
            (below.min(record_below), above.min(record_above))
        } else {
            (below, above)
        };
        let least = if shape.log {
            (LEAST_OF_EXPECTED * expected.abs()).max(LEAST_OF_LEVEL * self.level)
        } else {
            LEAST_POINTS.max(LEAST_OF_EXPECTED * expected.abs())
        };
        let mut lower = shape.value(center - below).min(expected - least);
        let mut upper = shape.value(center + above).max(expected + least);
        if shape.count && expected < COUNTS_MAX {
            // Cornish and Fisher's expansion: Poisson's law is skewed where counts are small.
            let mean = expected.max(0.0);
            let skew = (NORMAL_REACH * NORMAL_REACH - 1.0) / 6.0;
            lower = lower.min(mean - NORMAL_REACH * mean.sqrt() + skew);
            upper = upper.max(mean + NORMAL_REACH * mean.sqrt() + skew);
        }
        let weight = LEAST_WEIGHT * self.weight;
        Some(Outlook { center, spread, curves, expected, lower, upper, weight })
    }
}

fn floor(shape: Shape, center: f64) -> f64 {
    if shape.log { FLOOR_LOG } else { FLOOR_RATIO * center.abs().max(0.01) }
}

impl Outlook {
    /// Whether `value` is outside of the band.
    pub(crate) fn is_anomalous(&self, value: f64) -> bool {
        value > self.upper || value < self.lower
    }

    /// The distance from what is expected, in spreads.
    pub(crate) fn z(&self, shape: Shape, value: f64) -> f64 {
        (shape.scaled(value) - self.center) / self.spread
    }

    /// How likely chance is to give a value so far off.
    pub(crate) fn p(&self, shape: Shape, value: f64) -> f64 {
        let z = self.z(shape, value);
        let [below, above] = self.curves;
        let by_errors = tail::p_value(if z < 0.0 { below } else { above }, z);
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
