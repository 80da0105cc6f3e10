//! The least and the most that a series ever was, and what it means to go beyond them.
//!
//! # Guarantees
//! - What is farther beyond is never less surprising.
//!
//! # Non-guarantees
//! - A series that grows goes beyond all the time; that this is usual for it is not known here.

use serde::{Deserialize, Serialize};

use crate::number::narrow;

/// What a record adds to the surprise of its error: of the surprise that a record is by itself, one in as
/// many values as there were, only a part, because errors and records come together.
const SHARE: f64 = 0.05;
/// Values of which that is counted at most.
const COUNTED: u32 = 3000;
/// And so much for going beyond all that ever was by the whole of its range; and so much more once so many values are
/// known, of which the part that is known counts by its square: the range of few is no measure.
const SIZE: f64 = 8.0;
const GROWS: f64 = 56.0;
const SETTLED: f64 = 6000.0;
/// Hours and days after which a range is one.
const RANGED: f64 = 1000.0;
/// The part of the range below which going beyond it counts by its cube.
const LITTLE: f64 = 0.5;

/// The least and the most there ever was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Records {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// What beating them adds to the surprise, however little they are beaten by; and by the whole of their range.
    pub(crate) surprise: f32,
    pub(crate) size: f32,
    /// Whether going beyond them by less than half of the range says next to nothing: so it is of hours and days, of which
    /// there are few.
    pub(crate) calm: bool,
}

impl Records {
    /// The records of so many values.
    pub(crate) fn new((low, high): (f64, f64), seen: u32, calm: bool) -> Records {
        let settled = (f64::from(seen) / SETTLED).min(1.0);
        let known = if calm { (f64::from(seen) / RANGED).min(1.0) } else { 1.0 };
        Records {
            low,
            high,
            surprise: narrow(SHARE * f64::from(seen.min(COUNTED)).log10()),
            size: narrow(SIZE * known + GROWS * settled * settled),
            calm,
        }
    }

    /// How many ranges beyond them are enough by themselves.
    pub(crate) fn alone(&self, need: f64) -> f64 {
        let part = need / f64::from(self.size);
        if self.calm { part.max((LITTLE * LITTLE * part).cbrt()) } else { part }
    }

    /// The distance between them.
    pub(crate) fn range(&self) -> f64 {
        self.high - self.low
    }

    /// What `value` adds to the surprise by being beyond all there ever was.
    pub(crate) fn surprise(&self, value: f64) -> f64 {
        let beyond = (value - self.high).max(self.low - value);
        if beyond > 0.0 && beyond.is_finite() {
            let part = beyond / self.range().max(f64::MIN_POSITIVE);
            let counts = if self.calm { (part / LITTLE).min(1.0).powi(2) } else { 1.0 };
            f64::from(self.surprise) + f64::from(self.size) * counts * part
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_all_of_many_values_says_more_than_beyond_few() {
        let [few, many] = [100, 20_000].map(|seen| Records::new((10.0, 20.0), seen, false));
        for records in [few, many] {
            assert_eq!((records.surprise(10.0), records.surprise(20.0)), (0.0, 0.0));
            assert!(records.surprise(21.0) > records.surprise(20.1));
            assert!((records.surprise(9.0) - records.surprise(21.0)).abs() < 1e-9);
        }
        let calm = Records::new((10.0, 20.0), 1_000, true);
        assert!((calm.surprise(25.0) - f64::from(calm.surprise) - 4.0).abs() < 0.9, "{calm:?}");
        assert!(calm.surprise(21.0) - f64::from(calm.surprise) < 0.1, "{calm:?}");
        assert!((few.surprise(30.0) - 8.1).abs() < 0.02, "{few:?}");
        assert!(many.surprise(21.0) > 6.0 && many.surprise(30.0) > 64.0, "{many:?}");
    }
}
