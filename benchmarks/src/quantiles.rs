//! Quantiles of measured times.

/// Measured milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Times {
    sorted: Vec<f64>,
}

impl Times {
    /// Of these, in any order.
    pub fn new(mut times: Vec<f64>) -> Times {
        times.sort_by(f64::total_cmp);
        Times { sorted: times }
    }

    /// The time below or at which this share of all is, by nearest rank; zero of nothing.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is below the number of times, which fits"
    )]
    pub fn at(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Median, 99 % and maximum, as cells of a Markdown table.
    pub fn cells(&self) -> String {
        format!("{:.1} | {:.1} | {:.1}", self.at(0.5), self.at(0.99), self.at(1.0))
    }
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
        let times = Times::new((1..=200).rev().map(f64::from).collect());
        assert_eq!(times.cells(), "100.0 | 198.0 | 200.0");
        assert_eq!(Times::default().cells(), "0.0 | 0.0 | 0.0");
    }
}
