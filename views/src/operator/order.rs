//! Values as numbers and bytes that are in order when the values are.
//!
//! Texts are in the order of their bytes, false before true, and doubles in that of all numbers with NaN
//! behind the last.

use std::cmp::Ordering;

use schemas::{ColumnType, Date, Datum, Micros, RowRef};

use super::SortBy;

const SIGN: u64 = 1 << 63;
const WIDE_SIGN: u128 = 1 << 127;

/// A value of up to 64 bits as a number in its order; `None` of what is longer, and of null.
pub(super) fn word(datum: Datum<'_>) -> Option<u64> {
    let of = |number: i64| number.cast_unsigned() ^ SIGN;
    Some(match datum {
        Datum::Bigint(number) => of(number),
        Datum::Timestamp(at) => of(at.0),
        Datum::Date(date) => of(date.0.into()),
        Datum::Boolean(flag) => flag.into(),
        Datum::Double(number) => {
            let bits = number.to_bits();
            if bits & SIGN == 0 { bits | SIGN } else { !bits }
        }
        Datum::Null | Datum::Text(_) | Datum::Decimal(_) => return None,
    })
}

/// The value of a number that [`word`] made of a value of this type.
pub(super) fn datum(word: u64, kind: ColumnType) -> Datum<'static> {
    let number = (word ^ SIGN).cast_signed();
    match kind {
        ColumnType::Bigint => Datum::Bigint(number),
        ColumnType::Timestamp => Datum::Timestamp(Micros(number)),
        ColumnType::Date => i32::try_from(number).map_or(Datum::Null, |day| Datum::Date(Date(day))),
        ColumnType::Boolean => Datum::Boolean(word != 0),
        ColumnType::Double => {
            let bits = if word & SIGN == 0 { !word } else { word ^ SIGN };
            Datum::Double(f64::from_bits(bits))
        }
        ColumnType::Text | ColumnType::Json | ColumnType::Decimal { .. } => Datum::Null,
    }
}

/// Appends what puts `row` in its place in an order. No such bytes begin with those of another place.
pub(super) fn write(row: RowRef<'_>, order: &[SortBy], out: &mut Vec<u8>) {
    for by in order {
        let datum = row.datum(by.column);
        out.push(match (datum.is_null(), by.nulls_first) {
            (true, true) => 0,
            (false, _) => 1,
            (true, false) => 2,
        });
        let from = out.len();
        match datum {
            Datum::Null => {}
            Datum::Text(text) => write_text(text.as_bytes(), out),
            Datum::Decimal(mantissa) => {
                out.extend_from_slice(&(mantissa.cast_unsigned() ^ WIDE_SIGN).to_be_bytes());
            }
            datum => out.extend_from_slice(&word(datum).unwrap_or_default().to_be_bytes()),
        }
        if by.descending {
            out.iter_mut().skip(from).for_each(|byte| *byte = !*byte);
        }
    }
}

/// A text that may have zeros in it, and the end of it, which comes before any byte.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        out.push(*byte);
        if *byte == 0 {
            out.push(u8::MAX);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// A row at its place in an order: what [`write`] makes of it, then the row itself, by which rows go that are
/// equal in the order.
#[derive(Debug, Clone)]
pub(super) struct Ranked {
    bytes: Box<[u8]>,
    row: u32,
}

impl Ranked {
    /// The row whose bytes stand in `bytes` from `row` on.
    pub(super) fn new(bytes: &[u8], row: usize) -> Ranked {
        Ranked { bytes: bytes.into(), row: u32::try_from(row).unwrap_or(u32::MAX) }
    }

    /// The place and the row.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The place alone, which rows share that are equal in the order.
    pub(super) fn place(&self) -> &[u8] {
        self.bytes.get(..self.row as usize).unwrap_or_default()
    }

    /// The row.
    pub(super) fn row(&self) -> &[u8] {
        self.bytes.get(self.row as usize..).unwrap_or_default()
    }
}

impl std::borrow::Borrow<[u8]> for Ranked {
    fn borrow(&self) -> &[u8] {
        &self.bytes
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_the_order_of_values_and_read_back() {
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX].map(Datum::Bigint);
        let doubles = [f64::NEG_INFINITY, -1.5, -1e-300, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN]
            .map(Datum::Double);
        let days = [i32::MIN, -1, 0, i32::MAX].map(|day| Datum::Date(Date(day)));
        let instants = [i64::MIN, 0, i64::MAX].map(|at| Datum::Timestamp(Micros(at)));
        let flags = [false, true].map(Datum::Boolean);
        let all: [(ColumnType, &[Datum<'_>]); 5] = [
            (ColumnType::Bigint, &numbers),
            (ColumnType::Double, &doubles),
            (ColumnType::Date, &days),
            (ColumnType::Timestamp, &instants),
            (ColumnType::Boolean, &flags),
        ];
        for (kind, values) in all {
            let words: Vec<u64> = values.iter().filter_map(|value| word(*value)).collect();
            assert!(words.is_sorted() && words.len() == values.len(), "{kind}");
            for (word, value) in words.into_iter().zip(values) {
                assert_eq!(datum(word, kind), *value);
            }
        }
    }
}
