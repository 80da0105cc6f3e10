//! From the numbers of a cell to what a KPI says.
//!
//! # Guarantees
//! - Everything is exact but the quotient of a ratio, which is rounded half to even once.
//! - A number that does not fit makes the status `error`, never a wrong value.
//! - A value that a row in doubt feeds is what it would be without the doubt, and says so.

use arrow::datatypes::i256;
use schemas::{CellValue, Status, decimal};

use crate::converted::Exact;
use crate::plan::{Converted, Measure, Quotient, Rule};
use crate::sum::{ExactSum, Numbers};

/// One part of a KPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// No row feeds it.
    Absent,
    Exact(i128),
    /// Beyond `decimal(38, 10)`.
    Overflow,
}

impl Amount {
    fn number(self) -> Option<i128> {
        match self {
            Amount::Exact(number) => Some(number),
            Amount::Absent | Amount::Overflow => None,
        }
    }
}

/// What a KPI's value follows from: equal parts are equal values, and comparing them is cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    above: Amount,
    below: Amount,
    ratio: bool,
    /// Whether a row of any part is in doubt, or might be one of it.
    in_doubt: bool,
}

impl Parts {
    /// The parts of a KPI in a cell, or `None` when no row feeds it nor might.
    pub(crate) fn of(rule: &Rule, numbers: Numbers<'_>) -> Option<Parts> {
        match rule {
            Rule::Flow(measure) => {
                let (above, in_doubt) = (amount(*measure, numbers), in_doubt(measure, numbers));
                let exists = above != Amount::Absent || in_doubt;
                exists.then_some(Parts { above, below: Amount::Absent, ratio: false, in_doubt })
            }
            Rule::Sum(terms) => {
                let Total { above, exists, in_doubt } = Total::of(terms, numbers);
                let above = if exists { above } else { Amount::Absent };
                let below = Amount::Absent;
                (exists || in_doubt).then_some(Parts { above, below, ratio: false, in_doubt })
            }
            Rule::Ratio(terms, denominator) => {
                let below = amount(*denominator, numbers);
                let Total { above, exists, in_doubt: doubted } = Total::of(terms, numbers);
                let in_doubt = doubted || in_doubt(denominator, numbers);
                let exists = exists || below != Amount::Absent || in_doubt;
                exists.then_some(Parts { above, below, ratio: true, in_doubt })
            }
            Rule::Double(both) => double(both, numbers),
            Rule::Converted(own) => {
                let (above, in_doubt) = converted(*own, numbers);
                let exists = numbers.counts[own.counts().start] > 0 || in_doubt;
                exists.then_some(Parts { above, below: Amount::Absent, ratio: false, in_doubt })
            }
        }
    }

    /// What a flow says, and whether that is in doubt.
    pub(crate) fn flow(self) -> (Amount, bool) {
        (self.above, self.in_doubt)
    }

    /// The value.
    pub(crate) fn value(self) -> CellValue {
        let value = self.as_computed();
        match value.status {
            Status::Ok | Status::NoData if self.in_doubt => {
                CellValue { status: Status::InDoubt, ..value }
            }
            _ => value,
        }
    }

    /// The value as if no row were in doubt.
    fn as_computed(self) -> CellValue {
        if !self.ratio {
            let value = self.above.number();
            let status = match self.above {
                Amount::Absent => Status::NoData,
                Amount::Exact(_) => Status::Ok,
                Amount::Overflow => Status::Error,
            };
            return CellValue { value, numerator: None, denominator: None, status };
        }
        let (numerator, denominator) = (self.above.number(), self.below.number());
        let (value, status) = match (self.above, self.below) {
            (Amount::Overflow, _) | (_, Amount::Overflow) => (None, Status::Error),
            (_, Amount::Absent | Amount::Exact(0)) => (None, Status::NoData),
            (_, Amount::Exact(below)) => {
                match decimal::quotient(numerator.unwrap_or_default(), below) {
                    Some(value) => (Some(value), Status::Ok),
                    None => (None, Status::Error),
                }
            }
        };
        CellValue { value, numerator, denominator, status }
    }
}

/// A ratio divided by another one: what it says is its only part.
fn double(both: &[Quotient; 2], numbers: Numbers<'_>) -> Option<Parts> {
    let (mut exists, mut in_doubt) = (false, false);
    let [(above, below), (over, last)] = both.each_ref().map(|(terms, below)| {
        let (total, below_amount) = (Total::of(terms, numbers), amount(*below, numbers));
        in_doubt |= total.in_doubt || self::in_doubt(below, numbers);
        exists |= total.exists || below_amount != Amount::Absent;
        (total.above, below_amount)
    });
    let is_beyond = [above, below, over, last].contains(&Amount::Overflow);
    let nothing = |amount: Amount| amount.number().unwrap_or(0) == 0;
    let above = match (is_beyond, nothing(below) || nothing(over) || nothing(last)) {
        (true, _) => Amount::Overflow,
        (false, true) => Amount::Absent,
        (false, false) => {
            let [above, below, over, last] =
                [above, below, over, last].map(|amount| amount.number().unwrap_or(0));
            quotient_of_products([above, last], [below, over])
                .map_or(Amount::Overflow, Amount::Exact)
        }
    };
    let parts = Parts { above, below: Amount::Absent, ratio: false, in_doubt };
    (exists || in_doubt).then_some(parts)
}

/// The quotient of two products, rounded half to even at the scale of values; `None` when a number on the way does
/// not fit into 256 bits, or the quotient into 38 digits.
fn quotient_of_products(above: [i128; 2], below: [i128; 2]) -> Option<i128> {
    let product = |[a, b]: [i128; 2]| i256::from_i128(a).checked_mul(i256::from_i128(b));
    let one = i256::from_i128(10_i128.pow(decimal::VALUE_SCALE));
    let (above, below) = (product(above)?.checked_mul(one)?, product(below)?);
    let is_negative = (above < i256::ZERO) != (below < i256::ZERO);
    let (above, below) = (above.wrapping_abs(), below.wrapping_abs());
    let (whole, rest) = (above.checked_div(below)?, above.checked_rem(below)?);
    let left = below.checked_sub(rest)?;
    let is_odd = whole.checked_rem(i256::from_i128(2))? != i256::ZERO;
    let whole = whole.to_i128()? + i128::from(rest > left || (rest == left && is_odd));
    let fits = whole <= decimal::MANTISSA_MAX;
    fits.then_some(if is_negative { -whole } else { whole })
}

/// Terms added up.
struct Total {
    above: Amount,
    /// Whether a row feeds one of them.
    exists: bool,
    in_doubt: bool,
}

impl Total {
    fn of(terms: &[(bool, Measure)], numbers: Numbers<'_>) -> Total {
        // Exact whatever the order: terms may cancel out after leaving the range.
        let (mut above, mut fits) = (ExactSum::default(), true);
        let (mut exists, mut doubted) = (false, false);
        for (minus, measure) in terms {
            doubted |= in_doubt(measure, numbers);
            match amount(*measure, numbers) {
                Amount::Absent => continue,
                Amount::Exact(number) if *minus => above.subtract(number),
                Amount::Exact(number) => above.add(number),
                Amount::Overflow => fits = false,
            }
            exists = true;
        }
        let in_range = |n: &i128| fits && n.unsigned_abs() <= decimal::MANTISSA_MAX.unsigned_abs();
        let above = above.get().filter(in_range).map_or(Amount::Overflow, Amount::Exact);
        Total { above, exists, in_doubt: doubted }
    }
}

/// What a history row says of a cell that no row feeds.
pub(crate) const NOTHING: CellValue =
    CellValue { value: None, numerator: None, denominator: None, status: Status::NoData };

/// What is converted, rounded: nothing where a rate is lacking.
fn converted(own: Converted, numbers: Numbers<'_>) -> (Amount, bool) {
    let [sum, rest] = own.sums().map(|at| numbers.sums[at]);
    let counts = &numbers.counts[own.counts()];
    let above = match *counts {
        [exists, _, 0, beyond] if exists > 0 => match beyond {
            0 => Exact { sum, rest }.rounded().map_or(Amount::Overflow, Amount::Exact),
            _ => Amount::Overflow,
        },
        _ => Amount::Absent,
    };
    (above, counts.get(1).is_some_and(|doubted| *doubted > 0))
}

fn in_doubt(measure: &Measure, numbers: Numbers<'_>) -> bool {
    numbers.counts[measure.doubt()] > 0
}

fn amount(measure: Measure, numbers: Numbers<'_>) -> Amount {
    let count = numbers.counts[measure.count];
    let is_there = |present: usize| numbers.sums[present] != ExactSum::default();
    if count <= 0 || !measure.present.is_none_or(is_there) {
        return Amount::Absent;
    }
    let sum = match measure.sum {
        None => Some(i128::from(count)),
        Some(sum) => numbers.sums[sum].get(),
    };
    let value = sum.and_then(|sum| times(sum, measure.factor));
    let fits = value.filter(|n| n.unsigned_abs() <= decimal::MANTISSA_MAX.unsigned_abs());
    fits.map_or(Amount::Overflow, Amount::Exact)
}

/// `sum * factor` if that fits. Of two numbers of 64 bits it does: that is one instruction instead of a
/// routine, and nearly every case.
fn times(sum: i128, factor: i128) -> Option<i128> {
    match (i64::try_from(sum), i64::try_from(factor)) {
        (Ok(sum), Ok(factor)) => Some(i128::from(sum) * i128::from(factor)),
        _ => sum.checked_mul(factor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i128 = 10_000_000_000;

    fn ratio() -> Rule {
        let sum = |at: usize| Measure { count: 2 * at, sum: Some(at), present: None, factor: ONE };
        Rule::Ratio(vec![(false, sum(0)), (true, sum(1))], sum(1))
    }

    fn value(counts: [i64; 2], amounts: [i128; 2]) -> Option<CellValue> {
        value_with_doubt(counts, [0, 0], amounts)
    }

    fn value_with_doubt(
        [above, below]: [i64; 2],
        doubt: [i64; 2],
        amounts: [i128; 2],
    ) -> Option<CellValue> {
        let counts = [above, doubt[0], below, doubt[1]];
        let sums = amounts.map(|amount| {
            let mut sum = ExactSum::default();
            sum.add(amount);
            sum
        });
        Parts::of(&ratio(), Numbers { counts: &counts, sums: &sums }).map(Parts::value)
    }

    #[test]
    fn ratios_follow_the_rules() {
        assert_eq!(value([0, 0], [0, 0]), None);
        let cost_only = value([0, 1], [0, 4]).unwrap();
        assert_eq!((cost_only.value, cost_only.numerator), (Some(-ONE), Some(-4 * ONE)));
        let revenue_only = value([1, 0], [3, 0]).unwrap();
        assert_eq!(revenue_only.status, Status::NoData);
        assert_eq!((revenue_only.numerator, revenue_only.denominator), (Some(3 * ONE), None));
        let free = value([1, 1], [3, 0]).unwrap();
        assert_eq!((free.status, free.denominator), (Status::NoData, Some(0)));
        assert_eq!(value([1, 1], [3, 2]).unwrap().value, Some(ONE / 2));
        let huge = value([1, 1], [10_i128.pow(30), 1]).unwrap();
        assert_eq!((huge.status, huge.value, huge.denominator), (Status::Error, None, Some(ONE)));
    }

    #[test]
    fn a_ratio_is_in_doubt_when_either_part_is_and_keeps_its_value() {
        for doubt in [[1, 0], [0, 1], [2, 3]] {
            let value = value_with_doubt([1, 1], doubt, [3, 2]).unwrap();
            assert_eq!((value.status, value.value), (Status::InDoubt, Some(ONE / 2)));
            assert_eq!((value.numerator, value.denominator), (Some(ONE), Some(2 * ONE)));
            let none = value_with_doubt([1, 0], doubt, [3, 0]).unwrap();
            assert_eq!((none.status, none.value), (Status::InDoubt, None));
            let huge = value_with_doubt([1, 1], doubt, [10_i128.pow(30), 1]).unwrap();
            assert_eq!(huge.status, Status::Error, "what cannot be computed is no doubtful value");
        }
        assert_eq!(value_with_doubt([1, 1], [0, 0], [3, 2]).unwrap().status, Status::Ok);
    }

    #[test]
    fn what_no_row_feeds_but_one_might_is_in_doubt_and_has_no_value() {
        let flow = Rule::Flow(Measure { count: 0, sum: None, present: None, factor: ONE });
        let of = |counts: &[i64]| Parts::of(&flow, Numbers { counts, sums: &[] }).map(Parts::value);
        assert_eq!(of(&[0, 0]), None);
        assert_eq!(of(&[0, 1]), Some(CellValue { status: Status::InDoubt, ..NOTHING }));
        let none = value_with_doubt([0, 0], [0, 1], [0, 0]).unwrap();
        assert_eq!((none.status, none.value, none.denominator), (Status::InDoubt, None, None));
    }

    #[test]
    fn a_flow_beyond_the_range_is_an_error_and_not_a_number() {
        let rule = Rule::Flow(Measure { count: 0, sum: Some(0), present: None, factor: ONE });
        let mut sum = ExactSum::default();
        sum.add(10_i128.pow(28));
        let value = Parts::of(&rule, Numbers { counts: &[1, 0], sums: &[sum] }).unwrap().value();
        assert_eq!((value.status, value.value), (Status::Error, None));
    }

    #[test]
    fn a_quotient_of_quotients_is_rounded_once() {
        let of = |above, below| quotient_of_products(above, below);
        // (1 / 3) / (1 / 3) is 1, and (1 / 3) / (2 / 3) a half.
        assert_eq!(of([ONE, 3 * ONE], [3 * ONE, ONE]), Some(ONE));
        assert_eq!(of([ONE, 3 * ONE], [3 * ONE, 2 * ONE]), Some(ONE / 2));
        assert_eq!(of([-ONE, ONE], [3 * ONE, ONE]), Some(-3_333_333_333));
        assert_eq!(of([1, ONE], [2 * ONE, ONE]), Some(0), "half of the last digit, to even");
        assert_eq!(of([3, ONE], [2 * ONE, ONE]), Some(2));
        let most = decimal::MANTISSA_MAX;
        assert_eq!(of([most, ONE], [ONE, ONE]), Some(most));
        assert_eq!(of([most, 2 * ONE], [ONE, ONE]), None);
        assert_eq!(of([most, most], [most, most]), None, "more than 256 bits on the way");
    }

    #[test]
    fn products_of_64_bits_and_of_more_are_whole() {
        let edges =
            [0, 1, -1, ONE, i64::MAX.into(), i64::MIN.into(), 1 << 64, i128::MAX, i128::MIN];
        for (sum, factor) in edges.into_iter().flat_map(|a| edges.map(|b| (a, b))) {
            assert_eq!(times(sum, factor), sum.checked_mul(factor), "{sum} * {factor}");
        }
    }
}
