//! Abrupt changes: how far a bucket is from the one right before it, against how far apart two such usually are.
//!
//! People call a jump an anomaly when it is large for the jumps of the series and large for the series itself, which
//! is not the same as improbable: a calm series makes small changes improbable, and a restless one large ones usual.
//!
//! # Guarantees
//! - What is farther from the bucket before is never less of a jump.
//!
//! # Non-guarantees
//! - It looks at neither season nor trend: whoever asks has to.

use serde::{Deserialize, Serialize};

use crate::tail::ALERT;

/// The shares of the changes that are beyond the two distances that are followed.
const LARGE: f64 = 0.1;
const FEW: f64 = 0.02;
/// How fast those follow.
const PACE: f64 = 0.05;
/// The mean excess at which the farther one gets faster, and what it is taken for at first.
const USUAL_EXCESS: f64 = 0.25;
const FIRST_EXCESS: f64 = 0.3;
/// That counts as so many changes, and so many are remembered; none teaches more than this.
const FIRST_COUNT: u16 = 8;
const LAST_COUNT: u16 = 200;
const MOST_EXCESS: f64 = 3.0;

/// The size of a jump: the logarithms of the change in large changes and in usual levels, up to these.
const MOST_LARGE: f64 = 3.0;
const MOST_LEVELS: f64 = 1.386_294_361_119_890_6;
/// The size from which on it is worth an alert.
const SIZE: f64 = 3.3;
/// How surprising it is then: so much for each size above another one.
const SURPRISE_OF_SIZE: f64 = 4.0;
const SIZE_OF_ALERT: f64 = 2.5;

/// What is remembered of a series' changes from bucket to bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Jumps {
    /// The newest bucket's number, and its value.
    newest: i64,
    last: f64,
    /// The logarithms of what one change in ten exceeds, and one in fifty; NaN before there was one.
    large: f64,
    few: f64,
    /// How far those are beyond, in the mean of the logarithm, and how many that is made of.
    excess: f64,
    beyond: u16,
    /// Changes seen.
    seen: u32,
}

/// What would be a jump of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Jump {
    /// The bucket before.
    pub(crate) last: f64,
    /// How far from it a jump is.
    pub(crate) least: f64,
    /// What one change in ten exceeds, and the usual level.
    pub(crate) large: f64,
    pub(crate) level: f64,
}

impl Jumps {
    /// Nothing is known.
    pub(crate) fn new() -> Jumps {
        Jumps {
            newest: i64::MIN,
            last: f64::NAN,
            large: f64::NAN,
            few: f64::NAN,
            excess: FIRST_EXCESS,
            beyond: FIRST_COUNT,
            seen: 0,
        }
    }

    /// Learns the bucket with this number.
    pub(crate) fn learn(&mut self, number: i64, value: f64) {
        let is_next = self.is_before(number);
        let change = (value - self.last).abs();
        (self.newest, self.last) = (number, value);
        if !is_next || (self.large.is_nan() && change <= 0.0) {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        // Of what has not changed at all, the logarithm is below everything.
        let far = change.ln();
        if self.large.is_nan() {
            (self.large, self.few) = (far, far);
        }
        let pace = PACE.max(2.0 / f64::from(self.seen));
        let share = |held: f64| f64::from(u8::from(far > held));
        self.large += pace * (share(self.large) - LARGE);
        if far > self.few {
            self.beyond = self.beyond.saturating_add(1).min(LAST_COUNT);
            let excess = (far - self.few).min(MOST_EXCESS);
            self.excess += (excess - self.excess) / f64::from(self.beyond);
        }
        let pace = pace * (self.excess / USUAL_EXCESS).max(1.0);
        self.few = (self.few + pace * (share(self.few) - FEW)).max(self.large);
    }

    /// Whether the bucket with this number is the one after the newest.
    fn is_before(&self, number: i64) -> bool {
        self.newest.checked_add(1) == Some(number)
    }

    /// What would be a jump of the bucket with this number, of a series of this usual level, of which more than one
    /// in so many buckets is none; `sizes` is how many times as large as usual it must be.
    pub(crate) fn next(&self, number: i64, level: f64, rare: f64, sizes: f64) -> Option<Jump> {
        let size = SIZE * sizes;
        let is_known = self.is_before(number) && self.large.is_finite() && level > 0.0;
        if !is_known || size > MOST_LARGE + MOST_LEVELS {
            return None;
        }
        let large = self.large.exp();
        // Behind the distance that few exceed, changes are taken to follow Pareto's law.
        let beyond = (rare * FEW).max(1.0).ln() * self.excess;
        let least = (self.few + beyond)
            .max(f64::midpoint(self.large, level.ln()) + size / 2.0)
            .max(self.large + size - MOST_LEVELS)
            .max(level.ln() + size - MOST_LARGE);
        Some(Jump { last: self.last, least: least.exp(), large, level })
    }
}

impl Jump {
    /// What is no jump, however far.
    pub(crate) const NONE: Jump = Jump { last: 0.0, least: f64::INFINITY, large: 1.0, level: 1.0 };

    /// The values from which on, below and above, it is a jump.
    pub(crate) fn limits(&self) -> [f64; 2] {
        [self.last - self.least, self.last + self.least]
    }

    /// How surprising `value` is as a jump; 0 where it is none.
    pub(crate) fn surprise(&self, value: f64) -> f64 {
        let change = (value - self.last).abs();
        if change < self.least {
            return 0.0;
        }
        let size = (change / self.large).ln().min(MOST_LARGE)
            + (change / self.level).ln().min(MOST_LEVELS);
        ALERT + SURPRISE_OF_SIZE * (size - SIZE_OF_ALERT).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A series at 100 that goes up and down by up to 5.
    fn calm() -> Jumps {
        let mut jumps = Jumps::new();
        (0..800).for_each(|at| jumps.learn(at, 100.0 + ((at * 37) % 11) as f64 / 2.0));
        jumps
    }

    #[test]
    fn a_jump_is_large_for_the_series_and_for_its_changes() {
        let jump = calm().next(800, 100.0, 168.0, 1.0).unwrap();
        // Changes of next to all that there are do not matter: a jump is one of more than the level.
        assert!((jump.least - 100.0 * 0.3_f64.exp()).abs() < 1e-6, "{jump:?}");
        let [low, high] = jump.limits();
        assert!((high - low - 2.0 * jump.least).abs() < 1e-9);
        assert!(jump.surprise(high - 1e-6).abs() < 1e-12);
        assert!(jump.surprise(high + 1e-6) > ALERT);
        let mut before = 0.0;
        for step in 0..2000 {
            let surprise = jump.surprise(jump.last + f64::from(step));
            assert!(surprise >= before, "{step}");
            before = surprise;
        }
    }

    #[test]
    fn what_jumps_all_the_time_does_not_jump() {
        let mut jumps = Jumps::new();
        let value = |at: i64| if at % 40 == 0 { 1_000.0 } else { 10.0 + (at % 7) as f64 };
        (0..2000).for_each(|at| jumps.learn(at, value(at)));
        let rare = jumps.next(2000, 35.0, 168.0, 1.0).unwrap();
        assert!(rare.least > 800.0, "{rare:?}");
        // Were it not for how often that happens, it would be large enough.
        let often = jumps.next(2000, 35.0, 1.0, 1.0).unwrap();
        assert!(often.least < rare.least, "{often:?}");
    }

    #[test]
    fn nothing_is_a_jump_from_a_bucket_that_is_not_known() {
        let mut jumps = calm();
        assert_eq!(jumps.next(801, 100.0, 168.0, 1.0), None);
        jumps.learn(805, 900.0);
        assert_eq!(jumps.next(800, 100.0, 168.0, 1.0), None);
        // What came after a gap has taught nothing but where it was.
        assert_eq!(jumps.next(806, 100.0, 168.0, 1.0).map(|own| own.last), Some(900.0));
        assert_eq!(Jump { last: 0.0, ..calm().next(800, 100.0, 168.0, 1.0).unwrap() }, {
            Jump { last: 0.0, ..jumps.next(806, 100.0, 168.0, 1.0).unwrap() }
        });
        // A KPI that is watched with low sensitivity has none, and one that never changed neither.
        assert_eq!(calm().next(800, 100.0, 168.0, 1.5), None);
        let mut still = Jumps::new();
        (0..50).for_each(|at| still.learn(at, 7.0));
        assert_eq!(still.next(50, 7.0, 168.0, 1.0), None);
        assert!(Jump::NONE.surprise(1e300).abs() < 1e-12);
    }
}
