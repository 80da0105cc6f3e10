//! Literals.

use datafusion::common::ScalarValue;
use schemas::Micros;

use crate::cast;
use crate::node::{Span, Typed};
use crate::refusal::{Code, Refusal};
use crate::types::{BIGINT_DIGITS, Type};
use crate::value::Value;

/// A literal of a planned expression.
pub(super) fn literal(value: &ScalarValue) -> Result<Typed, Refusal> {
    if value.is_null() {
        let ty = Type::of_arrow(&value.data_type()).unwrap_or(Type::Null);
        return Ok(Typed::literal(Value::Null, ty));
    }
    let bigint = |number: i64| Typed::literal(Value::Bigint(number), Type::Bigint);
    let at = |micros: Option<i64>| {
        micros.map(|at| Typed::literal(Value::Timestamp(Micros(at)), Type::Timestamp))
    };
    let found = match value {
        ScalarValue::Boolean(Some(value)) => {
            Some(Typed::literal(Value::Boolean(*value), Type::Boolean))
        }
        ScalarValue::Int8(Some(number)) => Some(bigint(i64::from(*number))),
        ScalarValue::Int16(Some(number)) => Some(bigint(i64::from(*number))),
        ScalarValue::Int32(Some(number)) => Some(bigint(i64::from(*number))),
        ScalarValue::Int64(Some(number)) => Some(bigint(*number)),
        ScalarValue::UInt64(Some(number)) => {
            let ty = Type::Decimal { precision: BIGINT_DIGITS, scale: 0 };
            Some(Typed::literal(Value::Decimal(i128::from(*number)), ty))
        }
        ScalarValue::Decimal128(Some(mantissa), precision, scale) => {
            let scale = u8::try_from(*scale).ok();
            scale.map(|scale| {
                let ty = Type::Decimal { precision: *precision, scale };
                Typed::literal(Value::Decimal(*mantissa), ty)
            })
        }
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => {
            Some(Typed::literal(Value::Text(text.clone().into()), Type::Text))
        }
        ScalarValue::Date32(Some(day)) => Some(Typed::literal(Value::Date(*day), Type::Date)),
        ScalarValue::TimestampSecond(Some(second), _) => at(second.checked_mul(1_000_000)),
        ScalarValue::TimestampMillisecond(Some(milli), _) => at(milli.checked_mul(1_000)),
        ScalarValue::TimestampMicrosecond(Some(micro), _) => at(Some(*micro)),
        ScalarValue::TimestampNanosecond(Some(nano), _) => at(Some(nano.div_euclid(1_000))),
        _ => None,
    };
    found.ok_or_else(|| {
        let problem = format!("the literal {value} has a type that is not accepted; CAST a text");
        Refusal::new(Code::NotSupported, value, problem)
    })
}

/// The length of time that an INTERVAL says, or takes away; `None` where it is another literal.
pub(super) fn span(value: &ScalarValue, is_less: bool) -> Option<Result<Span, Refusal>> {
    let (months, days, nanos) = match value {
        ScalarValue::IntervalMonthDayNano(Some(own)) => (own.months, own.days, own.nanoseconds),
        ScalarValue::IntervalYearMonth(Some(months)) => (*months, 0, 0),
        ScalarValue::IntervalDayTime(Some(own)) => {
            (0, own.days, i64::from(own.milliseconds) * 1_000_000)
        }
        _ => return None,
    };
    let sign = if is_less { -1 } else { 1 };
    let parts = (
        months.checked_mul(sign),
        days.checked_mul(sign),
        (nanos % 1_000 == 0).then_some(nanos / 1_000 * i64::from(sign)),
    );
    let (Some(months), Some(days), Some(micros)) = parts else {
        let problem = format!("the interval {value} is not one of whole microseconds, or too long");
        return Some(Err(Refusal::new(Code::BadLiteral, value, problem)));
    };
    Some(Ok(Span { months, days, micros }))
}

/// A text literal beside an instant or a date as one of them; everything else as it is.
pub(super) fn as_instant(tree: Typed, beside: Type) -> Result<Typed, Refusal> {
    if !matches!(beside, Type::Timestamp | Type::Date) {
        return Ok(tree);
    }
    Ok(read(&tree, beside)?.unwrap_or(tree))
}

/// A text literal as a value of another type; `None` when it is no text literal.
pub(super) fn read(tree: &Typed, ty: Type) -> Result<Option<Typed>, Refusal> {
    let (Some(Value::Text(text)), Type::Text) = (tree.as_literal(), tree.ty) else {
        return Ok(None);
    };
    let value = match ty {
        // Every instant that a record may hold is read, in all years.
        Type::Timestamp => Micros::parse(text).map(Value::Timestamp).ok_or(()),
        _ => cast::cast(Value::Text(text.clone()), Type::Text, ty).map_err(|_| ()),
    };
    let value = value.map_err(|()| {
        let advice = match ty {
            Type::Timestamp => "no timestamp; write '2026-01-31T00:00:00Z'",
            Type::Date => "no date; write '2026-01-31'",
            _ => "no number of that type, or has more digits than it",
        };
        Refusal::new(Code::BadLiteral, format!("'{text}'"), format!("'{text}' is {advice}"))
    })?;
    Ok(Some(Typed::literal(value.into_owned(), ty)))
}
