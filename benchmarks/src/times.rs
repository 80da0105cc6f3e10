//! Measured times and their quantiles.
//!
//! # Guarantees
//! - A quantile is within a thousandth of the time of that rank.

use hdrhistogram::Histogram;

/// Significant digits that are kept.
const DIGITS: u8 = 4;

/// Measured times.
#[derive(Debug, Clone)]
pub struct Times {
    /// In microseconds; `None` when one of them has no room.
    micros: Option<Histogram<u64>>,
}

impl Times {
    /// These milliseconds, in any order.
    pub fn new(millis: impl IntoIterator<Item = f64>) -> Times {
        let mut micros = Histogram::new(DIGITS).ok();
        for time in millis {
            // A figure without one of its times would be wrong: better none.
            micros = micros.and_then(|mut own| own.record(whole_micros(time)).ok().map(|()| own));
        }
        Times { micros }
    }

    /// Milliseconds below or at which this share of all is, by nearest rank; zero of nothing.
    pub fn at(&self, share: f64) -> f64 {
        let micros = self.micros.as_ref().map_or(0, |micros| micros.value_at_quantile(share));
        millis(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Number of times.
    pub fn len(&self) -> usize {
        let len = self.micros.as_ref().map_or(0, Histogram::len);
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Median, 99 % and maximum, as cells of a Markdown table.
    pub fn cells(&self) -> String {
        format!("{:.1} | {:.1} | {:.1}", self.at(0.5), self.at(0.99), self.at(1.0))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time is positive, and years fit"
)]
fn whole_micros(millis: f64) -> u64 {
    (millis.max(0.0) * 1e3).round() as u64
}

/// Microseconds as milliseconds.
#[expect(clippy::cast_precision_loss, reason = "differences of minutes are exact in a float")]
pub fn millis(micros: i64) -> f64 {
    micros as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let times = Times::new((1..=200).rev().map(f64::from));
        assert_eq!(times.cells(), "100.0 | 198.0 | 200.0");
        assert_eq!(Times::new([]).cells(), "0.0 | 0.0 | 0.0");
    }

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let times = Times::new((1..=100_000).map(|n| f64::from(n) / 10.0));
        for (share, expected) in [(0.1, 1_000.0), (0.5, 5_000.0), (0.999, 9_990.0)] {
            let found = times.at(share);
            assert!((found - expected).abs() <= expected / 1e3, "{share}: {found}");
        }
    }
}
