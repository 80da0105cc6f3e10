//! Percentiles of counted values: the least value that so many of them are not above, by nearest rank.
//!
//! # Guarantees
//! - `percentile_exact` is a value of the group. `approx_percentile_cont` is that value cut to its eight highest
//!   bits: nearer to 0 by less than 0.8 %, the same on every machine, and of few different values whatever is put in.
//!
//! # Non-guarantees
//! - The functions for DataFusion keep every value: they are for audits and tests.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

/// The whole, of which a share is so many parts.
pub(crate) const WHOLE: u32 = 1_000_000;

/// The names of the functions, and whether they cut values.
pub(crate) const NAMES: [(&str, bool); 2] =
    [("percentile_exact", false), ("approx_percentile_cont", true)];

/// The bits of a value that are kept.
const KEPT: u32 = 8;

/// The place of a percentile among so many values, from 0: the least that so many millionths are not above.
pub fn place(count: u64, millionths: u32) -> u64 {
    let parts = u128::from(count) * u128::from(millionths);
    let rank = parts.div_ceil(u128::from(WHOLE)).max(1);
    u64::try_from(rank - 1).unwrap_or(u64::MAX)
}

/// A value cut to its highest bits, towards 0.
pub fn cut(value: i128) -> i128 {
    let magnitude = value.unsigned_abs();
    let low = (u128::BITS - magnitude.leading_zeros()).saturating_sub(KEPT);
    let kept = i128::try_from(magnitude >> low << low).unwrap_or(i128::MAX);
    if value < 0 { -kept } else { kept }
}

/// A share as SQL writes it.
pub fn share(millionths: u32) -> String {
    let text = format!("{}.{:06}", millionths / WHOLE, millionths % WHOLE);
    let text = text.trim_end_matches('0');
    if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
}

/// The share that a literal is, from 0 to 1 with at most six digits.
pub(crate) fn millionths(share: &ScalarValue) -> Option<u32> {
    let wide = share.cast_to(&DataType::Decimal128(38, 12)).ok()?;
    let ScalarValue::Decimal128(Some(parts), ..) = wide else { return None };
    let (whole, rest) = (parts / 1_000_000, parts % 1_000_000);
    u32::try_from(whole).ok().filter(|found| rest == 0 && *found <= WHOLE)
}

/// The functions for DataFusion, which sort all values.
pub fn percentiles() -> [Arc<AggregateUDF>; 2] {
    NAMES.map(|(name, cuts)| {
        let signature = Signature::any(2, Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(Percentile { name, cuts, signature }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    name: &'static str,
    cuts: bool,
    signature: Signature,
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> datafusion::common::Result<DataType> {
        match arguments.first() {
            Some(kind @ (DataType::Int64 | DataType::Decimal128(..) | DataType::Null)) => {
                Ok(kind.clone())
            }
            _ => plan_err!("{} takes a bigint or a decimal, and a share such as 0.95", self.name),
        }
    }

    fn accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> datafusion::common::Result<Box<dyn Accumulator>> {
        let kind = arguments.return_field.data_type().clone();
        Ok(Box::new(Sorted { kind, cuts: self.cuts, share: None, values: Vec::new() }))
    }

    fn state_fields(
        &self,
        _arguments: StateFieldsArgs<'_>,
    ) -> datafusion::common::Result<Vec<FieldRef>> {
        let field = |name: &str| Arc::new(Field::new(name, DataType::Utf8, true));
        Ok(vec![field("share"), field("values")])
    }
}

/// All values, sorted at the end.
#[derive(Debug)]
struct Sorted {
    kind: DataType,
    cuts: bool,
    share: Option<i128>,
    values: Vec<i128>,
}

impl Accumulator for Sorted {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> datafusion::common::Result<()> {
        let [values, shares] = columns else { return exec_err!("two arguments are needed") };
        let shares = cast(shares, &DataType::Decimal128(38, 6))?;
        let shares = shares.as_primitive::<Decimal128Type>();
        self.share = self.share.or_else(|| shares.iter().flatten().next());
        match &self.kind {
            DataType::Int64 => {
                let values = values.as_primitive::<Int64Type>();
                self.values.extend(values.iter().flatten().map(i128::from));
            }
            DataType::Decimal128(..) => {
                self.values.extend(values.as_primitive::<Decimal128Type>().iter().flatten());
            }
            _ => {}
        }
        Ok(())
    }

    fn evaluate(&mut self) -> datafusion::common::Result<ScalarValue> {
        self.values.sort_unstable();
        let count = self.values.len();
        // The rank in whole numbers: the least that is not below the share of the count.
        let share = usize::try_from(self.share.unwrap_or_default()).unwrap_or_default();
        let rank = (1..=count).find(|rank| rank * 1_000_000 >= share * count);
        let found = rank.and_then(|rank| self.values.get(rank - 1)).copied();
        let found = found.map(|value| if self.cuts { halved(value) } else { value });
        Ok(match &self.kind {
            DataType::Int64 => ScalarValue::Int64(found.and_then(|value| value.try_into().ok())),
            DataType::Decimal128(precision, scale) => {
                ScalarValue::Decimal128(found, *precision, *scale)
            }
            _ => ScalarValue::Null,
        })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<i128>()
    }

    fn state(&mut self) -> datafusion::common::Result<Vec<ScalarValue>> {
        let values: Vec<String> = self.values.iter().map(i128::to_string).collect();
        let share = self.share.map(|share| share.to_string());
        Ok(vec![ScalarValue::Utf8(share), ScalarValue::Utf8(Some(values.join(" ")))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> datafusion::common::Result<()> {
        let [shares, values] = states else { return exec_err!("two columns are needed") };
        let shares = shares.as_string::<i32>().iter().flatten();
        self.share = self.share.or_else(|| shares.filter_map(|share| share.parse().ok()).next());
        let values = values.as_string::<i32>().iter().flatten();
        self.values
            .extend(values.flat_map(str::split_whitespace).filter_map(|v| v.parse::<i128>().ok()));
        Ok(())
    }
}

/// The same cut by dividing by two as often as it takes.
fn halved(value: i128) -> i128 {
    let (mut value, mut times) = (value, 0_u32);
    while !(-255..=255).contains(&value) {
        value /= 2;
        times += 1;
    }
    value * 2_i128.pow(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_a_list() {
        // The 95th of 100, of 20, and of few; the median of an even number is the lower one.
        let cases = [
            (100, 950_000, 94),
            (20, 950_000, 18),
            (3, 950_000, 2),
            (4, 500_000, 1),
            (9, 0, 0),
            (9, WHOLE, 8),
        ];
        for (count, millionths, at) in cases {
            assert_eq!(place(count, millionths), at, "{millionths} of {count}");
        }
    }

    #[test]
    fn cut_values_are_a_little_nearer_to_nothing() {
        for (value, kept) in [
            (0, 0),
            (255, 255),
            (257, 256),
            (1_000, 1_000),
            (1_003, 1_000),
            (-1_003, -1_000),
            (99_999, 99_840),
        ] {
            assert_eq!(cut(value), kept, "{value}");
        }
        for value in (1..3_000_000_i128).step_by(997).chain([i128::MAX, 1 << 90]) {
            let off = value - cut(value);
            assert!(off >= 0 && off < value / 127 + 1, "{value}");
            assert_eq!(cut(value), halved(value), "{value}");
            assert_eq!(cut(-value), halved(-value), "-{value}");
        }
    }

    #[test]
    fn shares_are_read_and_written() {
        let read = |value: f64| millionths(&ScalarValue::Float64(Some(value)));
        assert_eq!((read(0.95), read(1.0), read(0.0)), (Some(950_000), Some(WHOLE), Some(0)));
        assert_eq!((read(1.5), read(-0.1), read(0.123_456_7)), (None, None, None));
        assert_eq!(millionths(&ScalarValue::Decimal128(Some(95), 2, 2)), Some(950_000));
        assert_eq!(
            (share(950_000), share(WHOLE), share(1)),
            ("0.95".into(), "1.0".into(), "0.000001".into())
        );
    }
}
