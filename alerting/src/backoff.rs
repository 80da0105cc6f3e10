//! How long to wait after a failure.
//!
//! # Guarantees
//! - Waits double from one second to one minute, each between half and the whole of that, so that many who failed
//!   together do not come back together.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait after so many failures in a row; `chance` is between 0 and 1.
pub(crate) fn wait(failures: u32, chance: f64) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16)));
    doubled.min(LONGEST).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let most: Vec<u64> = (1..9).map(|failures| wait(failures, 1.0).as_secs()).collect();
        assert_eq!(most, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait(3, 0.0), Duration::from_secs(2));
        assert_eq!(wait(u32::MAX, 1.0), LONGEST);
    }
}
