//! One value of a row, and its canonical text.
//!
//! # Guarantees
//! - Values that are equal have equal texts, and values of one type that differ have texts that differ.
//! - [`canonical`] leaves one NaN and one zero: doubles are equal exactly when their bits are.

use std::fmt;

use crate::column::ColumnType;
use crate::decimal;
use crate::time::{Date, Micros};

/// A value. Doubles are [`canonical`].
#[derive(Debug, Clone, Copy, Default)]
pub enum Datum<'a> {
    /// No value.
    #[default]
    Null,
    /// Of a text or a JSON column.
    Text(&'a str),
    /// Of a bigint column.
    Bigint(i64),
    /// Of a double column.
    Double(f64),
    /// Of a boolean column.
    Boolean(bool),
    /// Of a date column.
    Date(Date),
    /// Of a timestamp column.
    Timestamp(Micros),
    /// Of a decimal column: the mantissa at the column's scale.
    Decimal(i128),
}

/// The double that stands for all that are equal to it: `-0.0` is `0.0`, and there is one NaN.
pub fn canonical(number: f64) -> f64 {
    if number.is_nan() {
        f64::NAN
    } else if number == 0.0 {
        0.0
    } else {
        number
    }
}

impl Datum<'_> {
    /// Whether it is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// The canonical text, with which keys are made and values shown. `kind` gives decimals their point.
    pub fn text(&self, kind: ColumnType) -> DatumText<'_> {
        DatumText { datum: *self, scale: kind.scale() }
    }
}

impl PartialEq for Datum<'_> {
    fn eq(&self, other: &Datum<'_>) -> bool {
        match (self, other) {
            (Datum::Null, Datum::Null) => true,
            (Datum::Text(a), Datum::Text(b)) => a == b,
            (Datum::Bigint(a), Datum::Bigint(b)) => a == b,
            (Datum::Double(a), Datum::Double(b)) => a.to_bits() == b.to_bits(),
            (Datum::Boolean(a), Datum::Boolean(b)) => a == b,
            (Datum::Date(a), Datum::Date(b)) => a == b,
            (Datum::Timestamp(a), Datum::Timestamp(b)) => a == b,
            (Datum::Decimal(a), Datum::Decimal(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Datum<'_> {}

/// A value as text: text as it is, dates and instants in ISO 8601, decimals without zeros at their end,
/// doubles with the fewest digits that read back, null as `null`.
#[derive(Debug, Clone, Copy)]
pub struct DatumText<'a> {
    datum: Datum<'a>,
    scale: u32,
}

impl fmt::Display for DatumText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.datum {
            Datum::Null => f.write_str("null"),
            Datum::Text(text) => f.write_str(text),
            Datum::Bigint(number) => write!(f, "{number}"),
            Datum::Double(number) if number.is_infinite() => {
                f.write_str(if number > 0.0 { "Infinity" } else { "-Infinity" })
            }
            // `{:?}` is the shortest text that reads back, with an exponent where that is shorter.
            Datum::Double(number) => write!(f, "{number:?}"),
            Datum::Boolean(flag) => write!(f, "{flag}"),
            Datum::Date(date) => write!(f, "{date}"),
            Datum::Timestamp(at) => write!(f, "{at}"),
            Datum::Decimal(mantissa) => f.write_str(&decimal::format(mantissa, self.scale)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_have_one_zero_and_one_nan() {
        assert_eq!(canonical(-0.0).to_bits(), 0.0_f64.to_bits());
        assert_eq!(canonical(-f64::NAN).to_bits(), f64::NAN.to_bits());
        assert_eq!(canonical(-1.5).to_bits(), (-1.5_f64).to_bits());
        assert_eq!(Datum::Double(f64::NAN), Datum::Double(f64::NAN));
        assert_ne!(Datum::Double(1.0), Datum::Bigint(1));
    }

    #[test]
    fn texts_are_those_of_the_type() {
        let kind = ColumnType::Decimal { precision: 10, scale: 2 };
        for (datum, text) in [
            (Datum::Bigint(i64::MIN), "-9223372036854775808"),
            (Datum::Double(0.1 + 0.2), "0.30000000000000004"),
            (Datum::Double(1e300), "1e300"),
            (Datum::Double(-f64::INFINITY), "-Infinity"),
            (Datum::Double(f64::NAN), "NaN"),
            (Datum::Boolean(true), "true"),
            (Datum::Date(Date(20_455)), "2026-01-02"),
            (Datum::Date(Date(-1)), "1969-12-31"),
            (Datum::Timestamp(Micros(1)), "1970-01-01T00:00:00.000001Z"),
            (Datum::Decimal(-5), "-0.05"),
            (Datum::Null, "null"),
        ] {
            assert_eq!(datum.text(kind).to_string(), text);
        }
    }
}
