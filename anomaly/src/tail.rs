//! How improbable a forecast error of some size is, by what the series' own errors were like.
//!
//! Errors are measured in *spreads*: 1.2533 mean absolute deviations, which is the standard deviation
//! when errors are normal. On each side the distance that 2 % of the errors exceed is followed, and how
//! far those go beyond it; behind it the curve is a generalised Pareto law with the moments of these.
//!
//! # Guarantees
//! - A larger error is never less surprising, and of two tails the heavier one is less surprised far out.
//!
//! # Non-guarantees
//! - Far beyond what a series has shown, a p-value is an extrapolation: it ranks.

use serde::{Deserialize, Serialize};

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

/// What a series that has shown nothing yet is taken for: 2.1 spreads, exceeded by 16 % on average, as a normal
/// law is.
const FIRST_START: f64 = 0.741_937_344_729_377_4;
const FIRST_EXCESS: f64 = 0.16;
const FIRST_SQUARE: f64 = 0.048;
/// That counts as so many errors.
const FIRST_COUNT: f64 = 8.0;
/// Errors that are remembered.
const LAST_COUNT: f64 = 100.0;
/// Errors more surprising than this are anomalies, and teach no more than one that is as surprising as that.
const FAR: f64 = 4.0;
const TEACHES: f64 = 3.0;
/// The same of hours and days: what is wrong lasts for few of them, and makes few errors.
const LONG_FAR: f64 = 5.0;
const LONG_TEACHES: f64 = 4.0;
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
    /// Its index (heavier when larger) and its scale in starts.
    pub(crate) shape: f64,
    pub(crate) scale: f64,
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

    /// Learns an error of `distance` spreads, of a `long` bucket or of one of minutes.
    pub(crate) fn learn(&mut self, distance: f64, long: bool) {
        let (far, teaches) = if long { (LONG_FAR, LONG_TEACHES) } else { (FAR, TEACHES) };
        for (side, distance) in self.sides.iter_mut().zip([-distance, distance]) {
            // One that is beyond all is no measure of the next; what is heavy-tailed has many that are not.
            let curve = side.curve();
            let taught = match distance > 0.0 && curve.surprise(distance) > far {
                true => curve.reach(teaches),
                false => distance,
            };
            side.learn(taught);
        }
    }

    /// The curves of both sides. Of hours and days there are few errors far out: both sides together say how far they
    /// go.
    pub(crate) fn curves(self, long: bool) -> [Curve; 2] {
        let [below, above] = self.sides;
        match long {
            true => [below.along(above), above.along(below)].map(Side::curve),
            false => self.sides.map(Side::curve),
        }
    }
}

impl Side {
    /// The same start, with what both sides have shown beyond theirs.
    fn along(self, other: Side) -> Side {
        let both = self.count + other.count;
        let mean = |own: f64, other_own: f64| (self.count * own + other.count * other_own) / both;
        Side {
            start: self.start,
            excess: mean(self.excess, other.excess),
            square: mean(self.square, other.square),
            // What is assumed before anything is known counts once.
            count: both - FIRST_COUNT,
        }
    }

    fn learn(&mut self, distance: f64) {
        let is_beyond = distance > self.start.exp();
        if is_beyond {
            let excess = distance.ln() - self.start;
            self.count = (self.count + 1.0).min(LAST_COUNT);
            self.excess += (excess - self.excess) / self.count;
            self.square += (excess * excess - self.square) / self.count;
        }
        let pace = PACE * (self.excess / USUAL_EXCESS).max(1.0);
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
            shape,
            scale: (self.excess * (1.0 - bend)).max(LEAST_SCALE),
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
        SURPRISE_BEYOND + (self.shape * (starts - 1.0) / self.scale).ln_1p() / self.rate()
    }

    /// The distance with this surprise.
    pub(crate) fn reach(&self, surprise: f64) -> f64 {
        if surprise <= SURPRISE_BEYOND {
            let part = (surprise - SURPRISE_OF_HALF) / (SURPRISE_BEYOND - SURPRISE_OF_HALF);
            return self.start * part.max(0.0);
        }
        let beyond = ((surprise - SURPRISE_BEYOND) * self.rate()).exp_m1();
        self.start * (1.0 + self.scale / self.shape * beyond)
    }

    fn rate(&self) -> f64 {
        self.shape * std::f64::consts::LN_10
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
        assert!((FIRST_START.exp() - 2.1).abs() < 1e-12);
    }

    #[test]
    fn reach_and_surprise_are_inverse_and_rise() {
        let mut tail = Tail::new();
        for curve in [tail.curves(false)[0], {
            (1..400).for_each(|at| tail.learn(f64::from(at % 37).powi(2) / 100.0, false));
            tail.curves(false)[1]
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
        normal_scores().into_iter().for_each(|score| tail.learn(score, false));
        for curve in tail.curves(false) {
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
            tail.learn(if score > 0.0 { score * score * score / 2.0 } else { score }, false);
        }
        let [below, above] = tail.curves(false);
        assert!(above.shape > 2.0 * below.shape, "{below:?} {above:?}");
        assert!(above.reach(ALERT) > 3.0 * below.reach(ALERT));
    }

    #[test]
    fn of_long_buckets_both_sides_say_how_heavy_the_tail_is() {
        let heavy = |score: f64| score * score.abs().exp() / 2.0;
        let mut tail = Tail::new();
        normal_scores().into_iter().for_each(|score| tail.learn(heavy(score), true));
        let ([below, above], alone) = (tail.curves(true), tail.curves(false));
        assert!((below.shape - above.shape).abs() < 1e-12 && below.start.is_finite());
        let between = alone.map(|own| own.shape);
        let (least, most) = (between[0].min(between[1]), between[0].max(between[1]));
        assert!(below.shape > 0.5 * least && below.shape < 1.5 * most, "{below:?} {alone:?}");
        // Where each begins is its own.
        assert_eq!(
            [below.start, above.start].map(f64::to_bits),
            alone.map(|own| own.start.to_bits())
        );
    }

    #[test]
    fn far_errors_of_long_buckets_teach_more() {
        let reach = |long: bool| {
            let mut tail = Tail::new();
            for (at, score) in normal_scores().into_iter().enumerate() {
                tail.learn(if at % 200 == 0 { 12.0 } else { score }, long);
            }
            tail.curves(false)[1].reach(ALERT)
        };
        assert!(reach(true) > reach(false), "{} {}", reach(true), reach(false));
    }
}
