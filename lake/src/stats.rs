//! The statistics that a Delta log holds of a data file, for pruning.
//!
//! # Guarantees
//! - Bounds are true bounds: a text bound may be shortened, but then it is still below or above.
//! - `numRecords` and the null counts of flat columns are exact.
//!
//! # Non-guarantees
//! - Binary, boolean, floating and nested columns, decimals beyond 15 digits (readers go through a double)
//!   and times beyond the years 0 to 9999 have no bounds.

use std::cmp::Ordering;

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use schemas::Micros;
use serde_json::{Map, Value, json};

/// Decimals with more digits than this have no bounds.
const DECIMAL_LIMIT: i128 = 1_000_000_000_000_000;
const DAY_US: i64 = 86_400_000_000;

/// A bound of a column, ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bound {
    Number(i128),
    Text(Vec<u8>),
}

impl Bound {
    fn order(&self, other: &Bound) -> Ordering {
        match (self, other) {
            (Bound::Number(a), Bound::Number(b)) => a.cmp(b),
            (Bound::Text(a), Bound::Text(b)) => a.cmp(b),
            (Bound::Number(_), Bound::Text(_)) => Ordering::Less,
            (Bound::Text(_), Bound::Number(_)) => Ordering::Greater,
        }
    }
}

/// The Delta `stats` text of a file.
pub(crate) fn delta_stats(
    schema: &SchemaRef,
    metadata: &ParquetMetaData,
    rows: u64,
    null_counts: &[u64],
) -> String {
    let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
    for (field, count) in schema.fields().iter().zip(null_counts) {
        if field.data_type().is_nested() {
            continue;
        }
        nulls.insert(field.name().clone(), json!(count));
        if let Some((low, high)) = bounds(metadata, field) {
            min.insert(field.name().clone(), low);
            max.insert(field.name().clone(), high);
        }
    }
    json!({ "numRecords": rows, "minValues": min, "maxValues": max, "nullCount": nulls })
        .to_string()
}

fn bounds(metadata: &ParquetMetaData, field: &Field) -> Option<(Value, Value)> {
    let mut range: Option<(Bound, Bound)> = None;
    for group in metadata.row_groups() {
        let statistics = column_statistics(group, field.name())?;
        if i64::try_from(statistics.null_count_opt()?).ok()? == group.num_rows() {
            continue; // only nulls: no bounds, and none needed
        }
        let (low, high) = group_bounds(statistics, field.data_type())?;
        range = Some(match range {
            None => (low, high),
            Some((a, b)) => (
                if low.order(&a).is_lt() { low } else { a },
                if high.order(&b).is_gt() { high } else { b },
            ),
        });
    }
    let (low, high) = range?;
    Some((json_value(&low, field.data_type())?, json_value(&high, field.data_type())?))
}

fn column_statistics<'a>(group: &'a RowGroupMetaData, name: &str) -> Option<&'a Statistics> {
    let own = |path: &[String]| matches!(path, [only] if only == name);
    group.columns().iter().find(|column| own(column.column_path().parts()))?.statistics()
}

fn group_bounds(statistics: &Statistics, kind: &DataType) -> Option<(Bound, Bound)> {
    let number = |low: i128, high: i128| Some((Bound::Number(low), Bound::Number(high)));
    match (statistics, kind) {
        (Statistics::Int32(s), DataType::Int32 | DataType::Date32 | DataType::Decimal128(_, _)) => {
            number(i128::from(*s.min_opt()?), i128::from(*s.max_opt()?))
        }
        (
            Statistics::Int64(s),
            DataType::Int64
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Decimal128(_, _),
        ) => number(i128::from(*s.min_opt()?), i128::from(*s.max_opt()?)),
        (Statistics::FixedLenByteArray(s), DataType::Decimal128(_, _)) => {
            number(big_endian(s.min_opt()?.data())?, big_endian(s.max_opt()?.data())?)
        }
        (Statistics::ByteArray(s), DataType::Utf8) => Some((
            Bound::Text(s.min_opt()?.data().to_vec()),
            Bound::Text(s.max_opt()?.data().to_vec()),
        )),
        _ => None,
    }
}

/// A two's complement number of at most 16 bytes.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let mut value: i128 = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
    for byte in bytes {
        value = (value << 8) | i128::from(*byte);
    }
    (bytes.len() <= 16).then_some(value)
}

fn json_value(bound: &Bound, kind: &DataType) -> Option<Value> {
    match (bound, kind) {
        (Bound::Text(text), _) => Some(json!(std::str::from_utf8(text).ok()?)),
        (Bound::Number(number), DataType::Decimal128(_, scale)) => decimal(*number, *scale),
        (Bound::Number(number), kind) => {
            let number = i64::try_from(*number).ok()?;
            match kind {
                DataType::Date32 => year_of_four(Micros(number.checked_mul(DAY_US)?).date()),
                DataType::Timestamp(_, _) => year_of_four(Micros(number).to_string()),
                _ => Some(json!(number)),
            }
        }
    }
}

/// A date or an instant, unless its year has a sign: readers know years of four digits.
fn year_of_four(text: String) -> Option<Value> {
    (!text.starts_with(['+', '-'])).then(|| json!(text))
}

/// A decimal of at most 15 digits: its double prints as the same digits.
fn decimal(mantissa: i128, scale: i8) -> Option<Value> {
    if mantissa.abs() >= DECIMAL_LIMIT {
        return None;
    }
    let text = format!("{mantissa}e-{}", u8::try_from(scale).ok()?);
    serde_json::Number::from_f64(text.parse().ok()?).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_as_their_digits() {
        assert_eq!(decimal(-1_234, 2).unwrap().to_string(), "-12.34");
        assert_eq!(decimal(999_999_999_999_999, 10).unwrap().to_string(), "99999.9999999999");
        assert_eq!(decimal(DECIMAL_LIMIT, 2), None);
    }

    #[test]
    fn instants_have_bounds_in_years_of_four_digits() {
        let bound = |text: &str, past: i64| {
            let at = Micros::parse(text).unwrap().plus(past);
            let kind = DataType::Timestamp(TimeUnit::Microsecond, None);
            json_value(&Bound::Number(at.0.into()), &kind)
        };
        let last = "9999-12-31T23:59:59Z";
        assert_eq!(bound(last, 0), Some(json!(last)));
        assert_eq!(bound(last, 1_000_000), None);
        assert_eq!(bound("0001-01-01", -400 * DAY_US), None);
    }

    #[test]
    fn big_endian_numbers_keep_their_sign() {
        assert_eq!(big_endian(&[0xff, 0xfe]), Some(-2));
        assert_eq!(big_endian(&[0x00, 0x80]), Some(128));
        assert_eq!(big_endian(&[]), None);
    }
}
