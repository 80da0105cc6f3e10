//! Sums that never lose a digit: 192 bits, so that what leaves the range of a decimal can come back.

use std::num::NonZeroU64;

/// The exact sum of any number of `i128`, as long as fewer than 2^63 are added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExactSum {
    /// The lower 128 bits in halves: whole they would be aligned to 16 bytes, which pads the sum to 32.
    low: [u64; 2],
    high: i64,
}

impl ExactSum {
    /// Adds a number.
    #[inline]
    pub fn add(&mut self, number: i128) {
        let (low, carry) = self.low().overflowing_add(number.cast_unsigned());
        self.set_low(low);
        self.high = self.high.wrapping_add(i64::from(carry) - i64::from(number < 0));
    }

    /// Takes a number back.
    #[inline]
    pub fn subtract(&mut self, number: i128) {
        let (low, borrow) = self.low().overflowing_sub(number.cast_unsigned());
        self.set_low(low);
        self.high = self.high.wrapping_add(i64::from(number < 0) - i64::from(borrow));
    }

    /// Adds a number so many times, or takes it back.
    #[inline]
    pub fn add_times(&mut self, number: i128, times: i64) {
        match (times, number.checked_mul(times.into())) {
            (1, _) => self.add(number),
            (-1, _) => self.subtract(number),
            (_, Some(product)) => self.add(product),
            (_, None) => self.add_product(number, times),
        }
    }

    /// The same of a product beyond an `i128`: the upper half of the number is added on its own.
    fn add_product(&mut self, number: i128, times: i64) {
        let (low, high) = halves(number.unsigned_abs());
        let times_abs = u128::from(times.unsigned_abs());
        let low = u128::from(low) * times_abs;
        let (low, carried) = halves(low);
        let high = u128::from(high) * times_abs + u128::from(carried);
        let (middle, high) = halves(high);
        let mut product = ExactSum { low: [low, middle], high: high.cast_signed() };
        if (number < 0) != (times < 0) {
            product = product.negated();
        }
        let (low, carry) = self.low().overflowing_add(product.low());
        self.set_low(low);
        self.high = self.high.wrapping_add(product.high).wrapping_add(i64::from(carry));
    }

    fn negated(self) -> ExactSum {
        let mut negated = self;
        let (low, carry) = (!self.low()).overflowing_add(1);
        negated.set_low(low);
        negated.high = (!self.high).wrapping_add(i64::from(carry));
        negated
    }

    /// The sum so many times.
    pub fn times(self, mut times: u64) -> ExactSum {
        let (mut doubled, mut product) = (self, ExactSum::default());
        while times > 0 {
            if times % 2 == 1 {
                product.add_change(ExactSum::default(), doubled);
            }
            doubled.add_change(ExactSum::default(), doubled);
            times /= 2;
        }
        product
    }

    /// Adds what another sum has gained since it was `before`.
    pub fn add_change(&mut self, before: ExactSum, now: ExactSum) {
        let (low, borrow) = now.low().overflowing_sub(before.low());
        let high = now.high.wrapping_sub(before.high).wrapping_sub(i64::from(borrow));
        let (low, carry) = self.low().overflowing_add(low);
        self.set_low(low);
        self.high = self.high.wrapping_add(high).wrapping_add(i64::from(carry));
    }

    /// The sum, or `None` while it is beyond an `i128`.
    #[inline]
    pub fn get(self) -> Option<i128> {
        let low = self.low().cast_signed();
        (self.high == if low < 0 { -1 } else { 0 }).then_some(low)
    }

    /// Quotient and rest, both cut towards zero; `None` while the quotient is beyond an `i128`.
    pub fn divided_by(self, by: NonZeroU64) -> Option<(i128, i128)> {
        let is_negative = self.high < 0;
        let sum = if is_negative { self.negated() } else { self };
        let (mut quotient, mut rest) = (0_u128, 0_u128);
        for digit in [sum.high.cast_unsigned(), sum.low[1], sum.low[0]] {
            if quotient >> 64 != 0 {
                return None;
            }
            let number = (rest << 64) | u128::from(digit);
            quotient = (quotient << 64) | (number / u128::from(by.get()));
            rest = number % u128::from(by.get());
        }
        let (quotient, rest) = (i128::try_from(quotient).ok()?, rest.cast_signed());
        Some(if is_negative { (-quotient, -rest) } else { (quotient, rest) })
    }

    /// Its lower 128 bits, and the rest, for keeping it.
    pub fn to_parts(self) -> (i128, i64) {
        (self.low().cast_signed(), self.high)
    }

    /// The sum that [`ExactSum::to_parts`] gave.
    pub fn of_parts((low, high): (i128, i64)) -> ExactSum {
        let mut sum = ExactSum { high, ..ExactSum::default() };
        sum.set_low(low.cast_unsigned());
        sum
    }

    #[inline]
    fn low(self) -> u128 {
        u128::from(self.low[0]) | (u128::from(self.low[1]) << 64)
    }

    #[inline]
    fn set_low(&mut self, low: u128) {
        let (low, high) = halves(low);
        self.low = [low, high];
    }
}

/// The lower and the upper 64 bits.
#[inline]
fn halves(number: u128) -> (u64, u64) {
    let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
    (half(number), half(number >> 64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    /// Numbers of every length.
    fn number() -> impl Strategy<Value = i128> {
        (any::<i128>(), 0..128_u32).prop_map(|(number, shift)| number >> shift)
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
        fn so_many_times_a_sum_is_the_sum_added_so_often(numbers: [i128; 3], times in 0..40_u64) {
            let (mut sum, mut added) = (ExactSum::default(), ExactSum::default());
            numbers.iter().for_each(|number| sum.add(*number));
            (0..times).for_each(|_| added.add_change(ExactSum::default(), sum));
            prop_assert_eq!(sum.times(times), added);
        }

        #[test]
        fn subtracting_undoes_adding(numbers in prop::collection::vec(any::<i128>(), 0..20), extra: i128) {
            let mut sum = ExactSum::default();
            sum.add(extra);
            for number in &numbers { sum.add(*number); }
            for number in numbers.iter().rev() { sum.subtract(*number); }
            prop_assert_eq!(sum.get(), Some(extra));
        }

        #[test]
        fn what_is_kept_is_read_back(numbers in prop::collection::vec(number(), 0..20)) {
            let mut sum = ExactSum::default();
            numbers.iter().for_each(|number| sum.add(*number));
            prop_assert_eq!(ExactSum::of_parts(sum.to_parts()), sum);
        }

        #[test]
        fn many_times_is_again_and_again(number in number(), times in -40..40_i64, before in number()) {
            let (mut once, mut again) = (ExactSum::default(), ExactSum::default());
            once.add(before);
            again.add(before);
            once.add_times(number, times);
            for _ in 0..times.unsigned_abs() {
                if times > 0 { again.add(number) } else { again.subtract(number) }
            }
            prop_assert_eq!(once, again);
        }

        #[test]
        fn quotient_and_rest_make_the_sum(
            number in number(), times in 0..i64::MAX, rest in any::<u64>(), by in 1..u64::MAX,
        ) {
            let by_whole = NonZeroU64::new(by).unwrap();
            let rest = i128::from(rest % by);
            // `number * by + rest`, in two steps as `by` may be beyond an `i64`.
            let mut sum = ExactSum::default();
            sum.add_times(number, i64::try_from(by / 2).unwrap());
            sum.add_times(number, i64::try_from(by - by / 2).unwrap());
            let rest = if number < 0 { -rest } else { rest };
            sum.add(rest);
            if number != 0 && number != i128::MIN {
                prop_assert_eq!(sum.divided_by(by_whole), Some((number, rest)));
            }
            let mut beyond = ExactSum::default();
            beyond.add_times(i128::MAX, times);
            let whole = beyond.divided_by(NonZeroU64::MIN);
            prop_assert_eq!(whole, (times < 2).then(|| (i128::MAX * i128::from(times), 0)));
        }
    }
}
