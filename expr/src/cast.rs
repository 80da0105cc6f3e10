//! Casts: which there are, which of them can fail, and their results.

use std::borrow::Cow;

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast::parse_string_to_decimal_native;
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type};
use schemas::Micros;

use crate::arithmetic::{in_range, raise};
use crate::calendar;
use crate::types::{DIGITS_MAX, Type};
use crate::value::{EvalError, Value};

/// Whether a cast from one type to another can fail; `None` when there is no such cast.
pub(crate) fn can_fail(from: Type, to: Type) -> Option<bool> {
    if from == to || from == Type::Null {
        return Some(false);
    }
    match (from, to) {
        (Type::Bigint | Type::Decimal { .. }, Type::Decimal { precision, scale }) => {
            let (p1, s1) = from.digits()?;
            // Rounding may carry into one digit more.
            let carry = u8::from(s1 > scale);
            let whole = p1.saturating_sub(s1).saturating_add(carry);
            Some(whole > precision.saturating_sub(scale))
        }
        (Type::Decimal { precision, scale }, Type::Bigint) => {
            Some(precision.saturating_sub(scale) > 18)
        }
        (Type::Text, Type::Bigint | Type::Decimal { .. } | Type::Timestamp | Type::Date) => {
            Some(true)
        }
        (Type::Timestamp, Type::Date) | (Type::Date, Type::Timestamp) => Some(false),
        (Type::Bigint | Type::Decimal { .. } | Type::Boolean | Type::Json, Type::Text) => {
            Some(false)
        }
        _ => None,
    }
}

/// The value as one of another type.
pub(crate) fn cast<'a>(value: Value<'a>, from: Type, to: Type) -> Result<Value<'a>, EvalError> {
    if from == to || value.is_null() || from == Type::Json {
        return Ok(value);
    }
    match (value, to) {
        (Value::Text(text), _) => parse(&text, to).ok_or(EvalError::BadCast),
        (Value::Timestamp(at), Type::Date) => {
            calendar::date(at).map(Value::Date).ok_or(EvalError::Overflow)
        }
        (Value::Date(day), Type::Timestamp) => Ok(Value::Timestamp(calendar::midnight(day))),
        (Value::Boolean(value), Type::Text) => Ok(Value::Text(value.to_string().into())),
        (number, Type::Text) => Ok(Value::Text(Cow::Owned(number_text(&number, from.scale())))),
        (number, _) => number_to(number.number().ok_or(EvalError::BadCast)?, from.scale(), to),
    }
}

fn number_to(mantissa: i128, from: u8, to: Type) -> Result<Value<'static>, EvalError> {
    let Type::Decimal { precision, scale } = to else {
        let whole = mantissa / 10_i128.pow(u32::from(from.min(DIGITS_MAX)));
        return i64::try_from(whole).map(Value::Bigint).map_err(|_| EvalError::Overflow);
    };
    let moved =
        if scale >= from { raise(mantissa, from, scale)? } else { round(mantissa, from - scale) };
    let most = 10_u128.pow(u32::from(precision.min(DIGITS_MAX))) - 1;
    if moved.unsigned_abs() > most {
        return Err(EvalError::Overflow);
    }
    in_range(Some(moved)).map(Value::Decimal)
}

/// Takes away the last digits, rounding half away from zero.
fn round(mantissa: i128, digits: u8) -> i128 {
    let power = 10_i128.pow(u32::from(digits.min(DIGITS_MAX)));
    let (whole, rest) = (mantissa / power, mantissa % power);
    let up = rest.unsigned_abs() >= power.unsigned_abs() / 2;
    whole + if up { mantissa.signum() } else { 0 }
}

/// The value that a text names: by the rules of Arrow, which rounds digits beyond the scale half away
/// from zero.
fn parse(text: &str, to: Type) -> Option<Value<'static>> {
    match to {
        Type::Bigint => Int64Type::parse(text).map(Value::Bigint),
        Type::Decimal { precision, scale } => {
            let mantissa =
                parse_string_to_decimal_native::<Decimal128Type>(text, scale.into()).ok()?;
            let fits = mantissa.unsigned_abs() < 10_u128.pow(u32::from(precision.min(DIGITS_MAX)));
            fits.then_some(Value::Decimal(mantissa))
        }
        Type::Timestamp => {
            let at = string_to_datetime(&UTC.parse::<Tz>().ok()?, text).ok()?;
            Some(Value::Timestamp(Micros(at.timestamp_micros())))
        }
        Type::Date => Date32Type::parse(text).map(Value::Date),
        _ => None,
    }
}

const UTC: &str = "+00:00";

/// A number with all digits of its scale.
pub(crate) fn number_text(value: &Value<'_>, scale: u8) -> String {
    let mantissa = value.number().unwrap_or_default();
    let (digits, scale) = (mantissa.unsigned_abs().to_string(), usize::from(scale));
    let sign = if mantissa < 0 { "-" } else { "" };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}
