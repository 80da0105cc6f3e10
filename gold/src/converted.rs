//! Rates of currencies, and money converted by them.
//!
//! # Guarantees
//! - Products and their sums are exact; a value is rounded once, half to even.
//! - The rate of a day is the last one known on it or before: a tenant's own, if there is any, else nobody's. Of
//!   several of one day the greatest counts. A rate of null, 0 or less says that there is none from its day on.
//! - The currency that all is converted to is worth 1.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::i256;
use schemas::{RowRef, decimal};

use crate::catalog::RateColumns;
use crate::sum::ExactSum;
use crate::value::{Amount, Parts};

/// Sums of products are kept in two parts: how often this is in each product, and what is left.
const UNIT: i128 = 10_i128.pow(38);

/// The number 1 with the digits of rates, which are those of values.
const ONE: i128 = 10_i128.pow(decimal::VALUE_SCALE);

/// A sum of products of values and rates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exact {
    pub(crate) sum: ExactSum,
    pub(crate) rest: ExactSum,
}

impl Exact {
    /// The sum with the digits of values, rounded half to even; `None` where it is beyond their range.
    pub(crate) fn rounded(self) -> Option<i128> {
        let wide = i256::from_i128;
        let number = wide(self.sum.get()?).checked_mul(wide(UNIT))?;
        let number = number.checked_add(wide(self.rest.get()?))?;
        let (absolute, one) = (number.wrapping_abs(), wide(ONE));
        let (whole, rest) = (absolute.checked_div(one)?, absolute.checked_rem(one)?);
        let twice = rest.checked_add(rest)?;
        let whole = whole.to_i128()?;
        let is_up = twice > one || (twice == one && whole % 2 != 0);
        let whole = whole.checked_add(i128::from(is_up))?;
        let fits = whole <= decimal::MANTISSA_MAX;
        fits.then_some(if number < i256::ZERO { -whole } else { whole })
    }
}

/// What a currency is worth on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rate {
    /// With the digits of values; `None`: nobody knows.
    pub(crate) number: Option<i128>,
    pub(crate) in_doubt: bool,
}

impl Rate {
    const ONE: Rate = Rate { number: Some(ONE), in_doubt: false };
}

/// What a day of a currency brings into a converted cell: the counts of [`crate::plan::Converted::counts`], and the two
/// parts of its sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Brought {
    pub(crate) counts: [i64; 4],
    pub(crate) sums: [i128; 2],
}

impl Brought {
    /// What a cell of what is converted brings at a rate.
    pub(crate) fn of(parts: Option<Parts>, rate: Rate) -> Brought {
        let Some((amount, in_doubt)) = parts.map(Parts::flow) else { return Brought::default() };
        let (mut counts, mut sums) = ([0; 4], [0; 2]);
        counts[1] = i64::from(in_doubt);
        if amount == Amount::Absent {
            return Brought { counts, sums };
        }
        (counts[0], counts[1]) = (1, i64::from(in_doubt || rate.in_doubt));
        match (rate.number, amount) {
            (None, _) => counts[2] = 1,
            (Some(rate), Amount::Exact(value)) => match parts_of(value, rate) {
                Some(parts) => sums = parts,
                None => counts[3] = 1,
            },
            (Some(_), _) => counts[3] = 1,
        }
        Brought { counts, sums }
    }

    /// Whether a rate is lacking.
    pub(crate) fn lacks(&self) -> bool {
        self.counts[2] > 0
    }
}

/// The two parts of a product.
fn parts_of(value: i128, rate: i128) -> Option<[i128; 2]> {
    let product = i256::from_i128(value).checked_mul(i256::from_i128(rate))?;
    let unit = i256::from_i128(UNIT);
    Some([product.checked_div(unit)?.to_i128()?, product.checked_rem(unit)?.to_i128()?])
}

/// Whose a rate is, `None` of nobody, and the two currencies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) from: Arc<str>,
    pub(crate) to: Arc<str>,
}

/// Rows of one pair and day, each as often as there are.
type Rows = BTreeMap<Rate, u64>;

/// All rates, by pair and day.
#[derive(Debug, Default)]
pub(crate) struct Rates(BTreeMap<Pair, BTreeMap<i64, Rows>>);

/// A row of rates that came or went.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) pair: Pair,
    pub(crate) day: i64,
    pub(crate) rate: Rate,
    pub(crate) comes: bool,
    /// Whether its row is not quiet, in an epoch with rows that are.
    pub(crate) is_loud: bool,
}

impl Change {
    /// What a row says; `None` when it is for no pair and day.
    pub(crate) fn of(row: RowRef<'_>, columns: &RateColumns, comes: bool) -> Option<Change> {
        let tenant = row.text(columns.tenant).filter(|tenant| !tenant.is_empty()).map(Arc::from);
        let (from, to) = (row.text(columns.from)?, row.text(columns.to)?);
        let number = row.decimal(columns.rate).filter(|number| *number > 0);
        let scale = columns.scale;
        let number = number.and_then(|own| decimal::rescale(own, scale, decimal::VALUE_SCALE));
        Some(Change {
            pair: Pair { tenant, from: from.into(), to: to.into() },
            day: row.date(columns.day)?.0.into(),
            rate: Rate { number, in_doubt: row.is_in_doubt() },
            comes,
            is_loud: false,
        })
    }
}

impl Rates {
    /// Takes a change.
    pub(crate) fn take(&mut self, change: Change) {
        let Change { pair, day, rate, comes, .. } = change;
        if comes {
            let days = self.0.entry(pair).or_default();
            *days.entry(day).or_default().entry(rate).or_default() += 1;
            return;
        }
        let Some(days) = self.0.get_mut(&pair) else { return };
        let Some(rows) = days.get_mut(&day) else { return };
        if let Some(count) = rows.get_mut(&rate) {
            *count = count.saturating_sub(1);
        }
        rows.retain(|_, count| *count > 0);
        if rows.is_empty() {
            days.remove(&day);
        }
        if days.is_empty() {
            self.0.remove(&pair);
        }
    }

    /// What `from` is worth in `to` on a day, for a tenant.
    pub(crate) fn of(
        &self,
        tenant: &Arc<str>,
        from: Option<&Arc<str>>,
        to: &Arc<str>,
        day: i64,
    ) -> Rate {
        let Some(from) = from else { return Rate::default() };
        if from == to {
            return Rate::ONE;
        }
        let last = |tenant: Option<Arc<str>>| {
            let pair = Pair { tenant, from: Arc::clone(from), to: Arc::clone(to) };
            self.0.get(&pair)?.range(..=day).next_back().map(|(_, rows)| rows)
        };
        let rows = last(Some(Arc::clone(tenant))).or_else(|| last(None));
        let rows = rows.into_iter().flat_map(|rows| rows.keys());
        rows.fold(Rate::default(), |all, own| Rate {
            number: all.number.max(own.number),
            in_doubt: all.in_doubt || own.in_doubt,
        })
    }

    /// The next day after one on which there is a row of a pair.
    pub(crate) fn next(&self, pair: &Pair, day: i64) -> Option<i64> {
        let days = self.0.get(pair)?;
        days.range(day.saturating_add(1)..).next().map(|(day, _)| *day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(products: &[(i128, i128)]) -> Exact {
        let (mut sum, mut rest) = (ExactSum::default(), ExactSum::default());
        for (value, rate) in products {
            let [unit, left] = parts_of(*value, *rate).unwrap();
            sum.add(unit);
            rest.add(left);
        }
        Exact { sum, rest }
    }

    #[test]
    fn sums_are_rounded_once_and_half_to_even() {
        for (products, value) in [
            (&[(1, ONE)][..], Some(1)),
            (&[(1, ONE / 2)], Some(0)),
            (&[(3, ONE / 2)], Some(2)),
            (&[(-3, ONE / 2)], Some(-2)),
            (&[(1, ONE / 2), (1, ONE / 2)], Some(1)),
            (&[(1, ONE / 3); 3], Some(1)),
            (&[(-1, ONE / 2), (1, ONE / 2)], Some(0)),
            (&[(decimal::MANTISSA_MAX, ONE)], Some(decimal::MANTISSA_MAX)),
            (&[(decimal::MANTISSA_MAX, ONE), (1, ONE)], None),
            (&[(decimal::MANTISSA_MAX, 2 * ONE), (decimal::MANTISSA_MAX - 3, -ONE)], None),
            (&[(decimal::MANTISSA_MAX, decimal::MANTISSA_MAX)], None),
            (
                &[
                    (decimal::MANTISSA_MAX, decimal::MANTISSA_MAX),
                    (-decimal::MANTISSA_MAX, decimal::MANTISSA_MAX),
                    (7, ONE),
                ],
                Some(7),
            ),
        ] {
            assert_eq!(exact(products).rounded(), value, "{products:?}");
        }
    }
}
