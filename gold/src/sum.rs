//! Sums that never lose a digit: 192 bits, so that what leaves the range of a decimal can come back.

/// The exact sum of any number of `i128`, as long as fewer than 2^63 are added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ExactSum {
    /// The lower 128 bits in halves: whole they would be aligned to 16 bytes, which pads the sum to 32.
    low: [u64; 2],
    high: i64,
}

/// The counts and sums of one cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers<'a> {
    pub(crate) counts: &'a [i64],
    pub(crate) sums: &'a [ExactSum],
}

impl ExactSum {
    pub(crate) fn add(&mut self, number: i128) {
        let (low, carry) = self.low().overflowing_add(number.cast_unsigned());
        self.set_low(low);
        self.high = self.high.wrapping_add(i64::from(carry) - i64::from(number < 0));
    }

    pub(crate) fn subtract(&mut self, number: i128) {
        let (low, borrow) = self.low().overflowing_sub(number.cast_unsigned());
        self.set_low(low);
        self.high = self.high.wrapping_add(i64::from(number < 0) - i64::from(borrow));
    }

    /// Adds what another sum has gained since it was `before`.
    pub(crate) fn add_change(&mut self, before: ExactSum, now: ExactSum) {
        let (low, borrow) = now.low().overflowing_sub(before.low());
        let high = now.high.wrapping_sub(before.high).wrapping_sub(i64::from(borrow));
        let (low, carry) = self.low().overflowing_add(low);
        self.set_low(low);
        self.high = self.high.wrapping_add(high).wrapping_add(i64::from(carry));
    }

    /// The sum, or `None` while it is beyond an `i128`.
    pub(crate) fn get(self) -> Option<i128> {
        let low = self.low().cast_signed();
        (self.high == if low < 0 { -1 } else { 0 }).then_some(low)
    }

    fn low(self) -> u128 {
        u128::from(self.low[0]) | u128::from(self.low[1]) << 64
    }

    fn set_low(&mut self, low: u128) {
        let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
        self.low = [half(low), half(low >> 64)];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ExactSum;

    #[test]
    fn comes_back_after_leaving_the_range() {
        let mut sum = ExactSum::default();
        for number in [i128::MAX, i128::MAX, 7, i128::MIN] {
            sum.add(number);
        }
        assert_eq!(sum.get(), None);
        sum.subtract(i128::MAX);
        assert_eq!(sum.get(), Some(6));
        sum.subtract(6);
        assert_eq!(sum, ExactSum::default(), "zero has one form");
    }

    proptest! {
        #[test]
        fn a_change_is_what_came_and_went(own: [i128; 3], came: [i128; 4], went in prop::collection::vec(any::<i128>(), 0..3)) {
            let of = |numbers: &[i128]| {
                let mut sum = ExactSum::default();
                numbers.iter().for_each(|number| sum.add(*number));
                sum
            };
            let (before, mut now, mut total) = (of(&went), of(&came), of(&own));
            total.add_change(before, now);
            let mut expected = of(&[&own[..], &came[..]].concat());
            went.iter().for_each(|number| expected.subtract(*number));
            prop_assert_eq!(total, expected);
            now.add_change(now, now);
            prop_assert_eq!(now, of(&came));
        }

        #[test]
        fn subtracting_undoes_adding(numbers in prop::collection::vec(any::<i128>(), 0..20), extra: i128) {
            let mut sum = ExactSum::default();
            sum.add(extra);
            for number in &numbers { sum.add(*number); }
            for number in numbers.iter().rev() { sum.subtract(*number); }
            prop_assert_eq!(sum.get(), Some(extra));
        }
    }
}
