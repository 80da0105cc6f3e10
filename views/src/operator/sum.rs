//! Sums and means, exact until they are read.
//!
//! # Guarantees
//! - What does not fit the type of the result is `None`, never another number; what is held stays whole.
//! - A mean of decimals is cut off behind its last digit, one of whole numbers is the double that is nearest
//!   to it.

use std::num::NonZeroU64;

use schemas::{ColumnType, Datum, ExactSum};

/// The sum of the values that are not null, and how many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) sum: ExactSum,
    pub(super) count: i64,
}

impl Sum {
    /// Adds a number so many times, or takes it back as often.
    pub(super) fn add(&mut self, value: Datum<'_>, times: i64) {
        let number = match value {
            Datum::Bigint(number) => number.into(),
            Datum::Decimal(mantissa) => mantissa,
            _ => return,
        };
        self.sum.add_times(number, times);
        self.count = self.count.wrapping_add(times);
    }

    /// The sum, of this type; null of no values, `None` where it does not fit.
    pub(super) fn total(&self, kind: ColumnType) -> Option<Datum<'static>> {
        if self.count <= 0 {
            return Some(Datum::Null);
        }
        let sum = self.sum.get()?;
        match kind {
            ColumnType::Decimal { precision, .. } => decimal(sum, precision),
            _ => i64::try_from(sum).ok().map(Datum::Bigint),
        }
    }

    /// The mean of values with `scale` digits behind the point, of this type.
    pub(super) fn mean(&self, scale: u32, kind: ColumnType) -> Option<Datum<'static>> {
        let Some(count) = u64::try_from(self.count).ok().and_then(NonZeroU64::new) else {
            return Some(Datum::Null);
        };
        let ColumnType::Decimal { precision, scale: wanted } = kind else {
            return self.sum.get().map(|sum| Datum::Double(nearest(sum, count)));
        };
        let shift = 10_i128.checked_pow(u32::from(wanted).checked_sub(scale)?)?;
        let (whole, rest) = self.sum.divided_by(count)?;
        let digits = rest.checked_mul(shift)? / i128::from(count.get());
        decimal(whole.checked_mul(shift)?.checked_add(digits)?, precision)
    }
}

fn decimal(mantissa: i128, precision: u8) -> Option<Datum<'static>> {
    let bound = 10_u128.checked_pow(precision.into())?;
    (mantissa.unsigned_abs() < bound).then_some(Datum::Decimal(mantissa))
}

/// The double nearest to `sum / count`, rounded once, half to even.
fn nearest(sum: i128, count: NonZeroU64) -> f64 {
    let above = sum.unsigned_abs();
    if above == 0 {
        return 0.0;
    }
    // The quotient has at least 64 digits, of which a double keeps 53; what was cut off counts by its last.
    let shift = above.leading_zeros();
    let (above, below) = (above << shift, u128::from(count.get()));
    let digits = (above / below) | u128::from(above % below != 0);
    let unit = f64::from_bits((1023 - u64::from(shift)) << 52);
    let quotient = digits as f64 * unit;
    if sum < 0 { -quotient } else { quotient }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[i128]) -> Sum {
        let mut sum = Sum::default();
        numbers.iter().for_each(|number| sum.add(Datum::Decimal(*number), 1));
        sum
    }

    fn kind(precision: u8, scale: u8) -> ColumnType {
        ColumnType::Decimal { precision, scale }
    }

    #[test]
    fn means_of_decimals_are_cut_off() {
        assert_eq!(of(&[200, 100, 100]).mean(2, kind(14, 6)), Some(Datum::Decimal(1_333_333)));
        assert_eq!(of(&[-200, -200, -100]).mean(2, kind(14, 6)), Some(Datum::Decimal(-1_666_666)));
        assert_eq!(of(&[]).mean(2, kind(14, 6)), Some(Datum::Null));
        let widest = 10_i128.pow(38) - 1;
        assert_eq!(
            of(&[widest, widest, widest]).mean(38, kind(38, 38)),
            Some(Datum::Decimal(widest))
        );
        assert_eq!(of(&[widest, widest]).mean(0, kind(38, 4)), None);
        assert_eq!(of(&[widest, 1 - widest]).mean(0, kind(38, 4)), Some(Datum::Decimal(5_000)));
    }

    #[test]
    fn what_does_not_fit_is_no_number() {
        let mut sum = Sum::default();
        sum.add(Datum::Bigint(i64::MAX), 2);
        assert_eq!(sum.total(ColumnType::Bigint), None);
        sum.add(Datum::Bigint(-1), 1);
        sum.add(Datum::Bigint(i64::MAX), -1);
        assert_eq!(sum.total(ColumnType::Bigint), Some(Datum::Bigint(i64::MAX - 1)));
        assert_eq!(of(&[99, 1]).total(kind(2, 0)), None);
        assert_eq!(of(&[99, -1]).total(kind(2, 0)), Some(Datum::Decimal(98)));
    }

    proptest! {
        /// A double is the nearest when twice the distance to it is no more than one to its neighbours: both
        /// distances in whole numbers.
        #[test]
        fn means_of_whole_numbers_are_the_nearest(sum in -(1_i128 << 90)..1 << 90, shift in 0..90_u32, count in 1..1_u64 << 30) {
            let sum = sum >> shift;
            let got = nearest(sum, NonZeroU64::new(count).unwrap());
            // got = mantissa * 2^exponent with |exponent| small enough for 128 bits: scaled by 2^60.
            let scaled = |number: f64| -> Option<i128> {
                let scaled = number * 2_f64.powi(60);
                (scaled.abs() < 2_f64.powi(96) && scaled.fract() == 0.0).then(|| {
                    let text = format!("{scaled:.0}");
                    text.parse().unwrap()
                })
            };
            let neighbours = [got.next_up(), got.next_down()];
            if let (Some(got), [Some(up), Some(down)]) = (scaled(got), neighbours.map(scaled))
                && sum.unsigned_abs() < 1 << 66
            {
                let distance = |number: i128| (number * i128::from(count) - (sum << 60)).unsigned_abs();
                prop_assert!(distance(got) <= distance(up) && distance(got) <= distance(down));
            }
        }

        #[test]
        fn small_means_are_those_of_doubles(sum in -(1_i64 << 53)..1 << 53, count in 1..1_u32 << 31) {
            let exact = nearest(sum.into(), NonZeroU64::new(count.into()).unwrap());
            // Both are exact as doubles, and a division is rounded once.
            let divided = sum.to_string().parse::<f64>().unwrap() / f64::from(count);
            prop_assert_eq!(exact.to_bits(), (divided + 0.0).to_bits());
        }
    }
}
