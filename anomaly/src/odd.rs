//! Buckets that were not as usual, or not whole: what is forecast is not forecast from them.
//!
//! # Guarantees
//! - Of the newest [`KEPT`] buckets it is known which were odd. A bucket that is not kept is not odd.

use serde::{Deserialize, Serialize};

/// Words of 64 buckets: four weeks of hours, the farthest that a forecast looks back.
const WORDS: usize = 11;
/// Buckets that are kept.
const KEPT: i64 = WORDS as i64 * 64;

/// Which of the newest buckets were odd, by their numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Odd {
    bits: [u64; WORDS],
    /// The newest bucket that was noted.
    newest: i64,
}

fn place(number: i64) -> (usize, u64) {
    let at = usize::try_from(number.rem_euclid(KEPT)).unwrap_or(0);
    (at / 64, 1 << (at % 64))
}

impl Odd {
    /// Notes how the bucket with this number was; numbers that were passed over were not odd.
    pub(crate) fn note(&mut self, number: i64, is_odd: bool) {
        if number.saturating_sub(self.newest) >= KEPT {
            self.bits = [0; WORDS];
        } else {
            (self.newest.saturating_add(1)..number).for_each(|between| self.set(between, false));
        }
        self.set(number, is_odd);
        self.newest = self.newest.max(number);
    }

    /// Says otherwise of a bucket that was noted.
    pub(crate) fn excuse(&mut self, number: i64) {
        if self.is_kept(number) {
            self.set(number, false);
        }
    }

    fn set(&mut self, number: i64, is_odd: bool) {
        let (word, bit) = place(number);
        if let Some(bits) = self.bits.get_mut(word) {
            *bits = if is_odd { *bits | bit } else { *bits & !bit };
        }
    }

    /// Whether it is known of a bucket.
    pub(crate) fn is_kept(&self, number: i64) -> bool {
        number <= self.newest && self.newest.saturating_sub(number) < KEPT
    }

    /// Whether a bucket was odd.
    pub(crate) fn has(&self, number: i64) -> bool {
        let (word, bit) = place(number);
        self.is_kept(number) && self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_odd_is_known_until_it_is_far_back() {
        let mut odd = Odd::default();
        assert!(!odd.has(0) && !odd.has(-5));
        odd.note(500_000, true);
        odd.note(500_001, false);
        odd.note(500_064, true);
        assert!(odd.has(500_000) && !odd.has(500_001) && odd.has(500_064) && !odd.has(500_065));
        odd.excuse(500_064);
        assert!(!odd.has(500_064));
        odd.note(500_000 + KEPT - 1, false);
        assert!(odd.has(500_000));
        odd.note(500_000 + KEPT, false);
        assert!(!odd.has(500_000));
        odd.note(500_000 + KEPT * 9, true);
        assert!(!odd.has(500_000 + KEPT) && odd.has(500_000 + KEPT * 9));
    }
}
