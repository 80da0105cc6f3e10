//! How improbable a forecast error of some size is, by what the series' own errors were like.
//!
//! Errors are measured in *spreads*: 1.2533 mean absolute deviations, which is the standard deviation
//! when errors are normal. On each side the distance that 2 % of the errors exceed is followed, and how
//! far those go beyond it; behind it the curve is a generalised Pareto law with the moments of these. Of hours and days it
//! is one of the square of the distance, as Student's is: the normal law where errors show no more than that, and as many
//! degrees of freedom as they show where they go farther.
//!
//! # Guarantees
//! - A larger error is never less surprising, and of two tails the heavier one is less surprised far out.
//!
//! # Non-guarantees
//! - Far beyond what a series has shown, a p-value is an extrapolation: it ranks.

use serde::{Deserialize, Serialize};

use crate::number::narrow;

/// Mean absolute deviations of a normal distribution in one standard deviation.
pub(crate) const SPREAD_OF_MAD: f64 = 1.253_314_137_315_500_3;

/// The two-sided p-value at which an alert opens.
pub(crate) const ALERT_P: f64 = 1e-4;
/// The same as a surprise: minus the decimal logarithm of a p-value on one side.
pub(crate) const ALERT: f64 = 4.301_029_995_663_981;

/// The share of errors beyond the followed distance, on one side, and its surprise.
const BEYOND: f64 = 0.02;
const SURPRISE_BEYOND: f64 = 1.698_970_004_336_019;
/// The surprise of half of all errors: those on one side.
const SURPRISE_OF_HALF: f64 = std::f64::consts::LOG10_2;

/// What a series that has shown nothing yet is taken for: 2.05 spreads, exceeded by 16 % on average, as a normal
/// law is.
const FIRST_START: f64 = 0.719_824_735;
const FIRST_EXCESS: f64 = 0.16;
const FIRST_SQUARE: f64 = 0.048;
/// That counts as so many errors.
const FIRST_COUNT: f64 = 8.0;
/// Errors that are remembered.
const LAST_COUNT: f64 = 100.0;
/// Errors more surprising than this are anomalies, and teach no more than one that is as surprising as that.
const FAR: f64 = 4.0;
const TEACHES: f64 = 3.0;
/// The same of hours: what is wrong lasts for few of them, and makes few errors.
const HOURS_FAR: f64 = 7.0;
const HOURS_TEACH: f64 = 6.0;
/// How fast the distance follows, and the excess at which it gets faster.
const PACE: f64 = 0.05;
const USUAL_EXCESS: f64 = 0.25;
/// The least distance: one spread.
const LEAST_START: f64 = 0.0;
/// The lightest tail, for a series may always turn out to be worse than it was.
const LEAST_SHAPE: f64 = 0.01;
/// Errors at which an index is half believed.
const SHY: f64 = 10.0;
const LEAST_SCALE: f64 = 1e-3;
/// How fast the distance follows of hours and days.
const LONG_PACE: f64 = 0.01;
/// Errors of the other side that say how far those of one go.
const SHARED: f64 = 20.0;
/// The index of Student's law, and its scale in squares of starts, by how far errors go beyond the start and by the index.
const SHAPE_OF_EXCESS: f64 = 2.6;
const NORMAL_SCALE: f64 = 0.43;
const SCALE_OF_SHAPE: f64 = 0.78;
/// Degrees of freedom at most: hours of one series are not all alike, and there are many of them.
const FREEDOM_OF_HOURS: f64 = 28.0;
const FREEDOM_OF_DAYS: f64 = 100.0;

/// The law that errors are taken to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Law {
    /// That of buckets shorter than an hour: Pareto's.
    Minutes,
    /// Student's.
    Hours,
    /// Student's, of few.
    Days,
}

/// What is remembered of the errors on one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Side {
    /// The logarithm of the distance, in spreads, that few errors exceed.
    pub(crate) start: f64,
    /// How far those that do are beyond: the mean of the logarithm, and of its square.
    pub(crate) excess: f64,
    pub(crate) square: f64,
    /// How many of them there were.
    pub(crate) count: f64,
}

/// The tails of one series' forecast errors: of those below, and those above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tail {
    pub(crate) sides: [Side; 2],
}

/// The tail of one side as a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// Where the law begins, in spreads.
    pub(crate) start: f64,
    /// Its index (heavier when larger) and its scale in starts, or in their squares.
    pub(crate) shape: f32,
    pub(crate) scale: f32,
    /// Whether it is a law of the square of the distance.
    pub(crate) squared: bool,
}

impl Tail {
    /// The tails of a series that has shown nothing yet.
    pub(crate) fn new() -> Tail {
        let side = Side {
            start: FIRST_START,
            excess: FIRST_EXCESS,
            square: FIRST_SQUARE,
            count: FIRST_COUNT,
        };
        Tail { sides: [side; 2] }
    }

    /// Learns an error of `distance` spreads.
    pub(crate) fn learn(&mut self, distance: f64, law: Law) {
        let (far, teaches) = match law {
            Law::Hours => (HOURS_FAR, HOURS_TEACH),
            Law::Minutes | Law::Days => (FAR, TEACHES),
        };
        let pace = if law == Law::Minutes { PACE } else { LONG_PACE };
        let curves = self.curves(law, f64::INFINITY);
        let sides = self.sides.iter_mut().zip(curves);
        for ((side, curve), distance) in sides.zip([-distance, distance]) {
            // One that is beyond all is no measure of the next; what is heavy-tailed has many that are not.
            let is_far = distance > 0.0 && curve.surprise(distance) > far;
            side.learn(if is_far { curve.reach(teaches) } else { distance }, pace);
        }
    }

    /// The curves of both sides, spreads being made of so many errors. Of hours and days there are few errors far out:
    /// each side says something of the other.
    pub(crate) fn curves(self, law: Law, freedom: f64) -> [Curve; 2] {
        let [below, above] = self.sides;
        let most = match law {
            Law::Minutes => return self.sides.map(Side::curve),
            Law::Hours => FREEDOM_OF_HOURS,
            Law::Days => FREEDOM_OF_DAYS,
        };
        [below.along(above), above.along(below)].map(|own| own.student(freedom.min(most)))
    }
}

impl Side {
    /// The same start, with what the other side has shown beyond its own counted in part.
    fn along(self, other: Side) -> Side {
        let shared = other.count.min(SHARED);
        let both = self.count + shared;
        let mean = |own: f64, other_own: f64| (self.count * own + shared * other_own) / both;
        Side {
            start: self.start,
            excess: mean(self.excess, other.excess),
            square: mean(self.square, other.square),
            count: both,
        }
    }

    fn learn(&mut self, distance: f64, pace: f64) {
        let is_beyond = distance > self.start.exp();
        if is_beyond {
            let excess = distance.ln() - self.start;
            self.count = (self.count + 1.0).min(LAST_COUNT);
            self.excess += (excess - self.excess) / self.count;
            self.square += (excess * excess - self.square) / self.count;
        }
        let pace = pace * (self.excess / USUAL_EXCESS).max(1.0);
        self.start += pace * (f64::from(u8::from(is_beyond)) - BEYOND);
        self.start = self.start.max(LEAST_START);
    }

    /// Dekkers, Einmahl and de Haan's moment estimator of the tail index.
    fn curve(self) -> Curve {
        let evenness = (self.excess * self.excess / self.square).min(0.999);
        let bend = (1.0 - 0.5 / (1.0 - evenness)).min(0.0);
        // Few errors say next to nothing about the index.
        let heavier = (self.excess + bend - LEAST_SHAPE).max(0.0);
        let shape = LEAST_SHAPE + heavier * self.count / (self.count + SHY);
        let bend = (shape - self.excess).min(0.0);
        Curve {
            start: self.start.exp(),
            shape: narrow(shape),
            scale: narrow((self.excess * (1.0 - bend)).max(LEAST_SCALE)),
            squared: false,
        }
    }

    /// Student's law with so many degrees of freedom as errors go beyond the start, and `freedom` at most.
    fn student(self, freedom: f64) -> Curve {
        let shape = (SHAPE_OF_EXCESS * (self.excess - FIRST_EXCESS)).max(2.0 / freedom.max(1.0));
        Curve {
            start: self.start.exp(),
            shape: narrow(shape),
            scale: narrow(NORMAL_SCALE + SCALE_OF_SHAPE * shape),
            squared: true,
        }
    }
}

impl Curve {
    /// How surprising an error of `distance` spreads on this side is: minus the decimal logarithm of the
    /// share of errors that are at least as large.
    pub(crate) fn surprise(&self, distance: f64) -> f64 {
        let starts = distance.max(0.0) / self.start;
        if starts <= 1.0 {
            return SURPRISE_OF_HALF + (SURPRISE_BEYOND - SURPRISE_OF_HALF) * starts;
        }
        let beyond = if self.squared { starts * starts } else { starts } - 1.0;
        SURPRISE_BEYOND + (beyond / self.width()).ln_1p() / self.rate()
    }

    /// The distance with this surprise.
    pub(crate) fn reach(&self, surprise: f64) -> f64 {
        if surprise <= SURPRISE_BEYOND {
            let part = (surprise - SURPRISE_OF_HALF) / (SURPRISE_BEYOND - SURPRISE_OF_HALF);
            return self.start * part.max(0.0);
        }
        let beyond = ((surprise - SURPRISE_BEYOND) * self.rate()).exp_m1();
        let starts = 1.0 + self.width() * beyond;
        self.start * if self.squared { starts.sqrt() } else { starts }
    }

    fn width(&self) -> f64 {
        f64::from(self.scale) / f64::from(self.shape)
    }

    fn rate(&self) -> f64 {
        f64::from(self.shape) * std::f64::consts::LN_10
    }
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;

    /// Normal scores of an even grid in a fixed shuffled order.
    fn normal_scores() -> Vec<f64> {
        let normal = Normal::standard();
        let score = |i: u32| normal.inverse_cdf((f64::from(i * 1597 % 4001) + 0.5) / 4001.0);
        (0..4001).map(score).collect()
    }

    #[test]
    fn the_level_of_alerts_is_one_number() {
        assert!((2.0 * 10.0_f64.powf(-ALERT) - ALERT_P).abs() < 1e-12);
        assert!((10.0_f64.powf(-SURPRISE_BEYOND) - BEYOND).abs() < 1e-12);
        assert!((FIRST_START.exp() - 2.054).abs() < 1e-3);
    }

    #[test]
    fn reach_and_surprise_are_inverse_and_rise() {
        let mut tail = Tail::new();
        for curve in [tail.curves(Law::Minutes, 1e9)[0], {
            (1..400).for_each(|at| tail.learn(f64::from(at % 37).powi(2) / 100.0, Law::Minutes));
            tail.curves(Law::Minutes, 1e9)[1]
        }] {
            let mut before = 0.0;
            for step in 1..200 {
                let distance = f64::from(step) * 0.1;
                let surprise = curve.surprise(distance);
                assert!(surprise > before, "{distance}");
                assert!((curve.reach(surprise) - distance).abs() < 1e-9, "{distance}");
                before = surprise;
            }
            assert!((curve.surprise(0.0) - 0.301).abs() < 1e-3);
        }
    }

    #[test]
    fn normal_errors_get_their_own_quantiles() {
        let mut tail = Tail::new();
        normal_scores().into_iter().for_each(|score| tail.learn(score, Law::Minutes));
        for curve in tail.curves(Law::Minutes, 1e9) {
            // From a table of the normal law: 2 % beyond 2.05, 0.1 % beyond 3.09.
            assert!((curve.start - 2.05).abs() < 0.5, "{curve:?}");
            let surprise = curve.surprise(3.09);
            assert!((2.3..3.5).contains(&surprise), "{surprise}");
        }
    }

    #[test]
    fn the_heavy_side_is_told_from_the_light_one() {
        let mut tail = Tail::new();
        for score in normal_scores() {
            tail.learn(if score > 0.0 { score * score * score / 2.0 } else { score }, Law::Minutes);
        }
        let [below, above] = tail.curves(Law::Minutes, 1e9);
        assert!(above.shape > 2.0 * below.shape, "{below:?} {above:?}");
        assert!(above.reach(ALERT) > 3.0 * below.reach(ALERT));
    }

    #[test]
    fn normal_errors_of_hours_and_days_have_a_normal_tail() {
        for law in [Law::Hours, Law::Days] {
            let mut tail = Tail::new();
            normal_scores().into_iter().for_each(|score| tail.learn(score, law));
            for curve in tail.curves(law, f64::INFINITY) {
                // 5e-5 of the normal law are beyond 3.89.
                let reach = curve.reach(ALERT);
                assert!((3.7..4.7).contains(&reach), "{law:?}: {curve:?} {reach}");
                // A spread that is made of few errors is one of Student's law.
                assert!(tail.curves(law, 8.0)[0].reach(ALERT) > 1.3 * reach, "{law:?}");
            }
        }
    }

    #[test]
    fn heavy_errors_of_hours_are_known_on_both_sides() {
        let heavy = |score: f64| score * score.abs().exp() / 2.0;
        let mut tail = Tail::new();
        normal_scores().into_iter().for_each(|score| tail.learn(heavy(score), Law::Hours));
        for curve in tail.curves(Law::Hours, f64::INFINITY) {
            assert!(curve.shape > 0.2 && curve.reach(ALERT) > 10.0, "{curve:?}");
        }
    }

    #[test]
    fn one_error_far_out_makes_no_heavy_tail() {
        for law in [Law::Hours, Law::Days] {
            let reach = |far: f64| {
                let mut tail = Tail::new();
                for (at, score) in normal_scores().into_iter().take(400).enumerate() {
                    tail.learn(if at == 300 { far } else { score }, law);
                }
                tail.curves(law, f64::INFINITY)[1].reach(ALERT)
            };
            assert!(reach(30.0) < 1.2 * reach(1.0), "{law:?}: {} {}", reach(30.0), reach(1.0));
        }
    }
}
