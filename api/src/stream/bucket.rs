//! How many messages a client may send: a bucket of tokens. Pure.

use tokio::time::Instant;

/// Milliseconds in a second.
const SECOND_MS: u128 = 1_000;

/// Starts full, refills steadily.
#[derive(Debug)]
pub(crate) struct Bucket {
    most: u32,
    per_second: u32,
    left: u32,
    filled_at: Instant,
}

impl Bucket {
    pub(crate) fn new(most: u32, per_second: u32, now: Instant) -> Bucket {
        Bucket { most, per_second, left: most, filled_at: now }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.filled_at).as_millis();
        let more = waited * u128::from(self.per_second) / SECOND_MS;
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(self.most);
            self.filled_at = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn takes_a_burst_and_then_the_rate() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(3, 10, begin);
        let at = |ms| begin + Duration::from_millis(ms);
        let taken: Vec<bool> = (0..4).map(|_| bucket.take(at(0))).collect();
        assert_eq!(taken, [true, true, true, false]);
        assert!(!bucket.take(at(99)));
        assert!(bucket.take(at(100)));
        assert!(!bucket.take(at(101)));
        assert_eq!((0..9).filter(|_| bucket.take(at(60_000))).count(), 3);
    }
}
