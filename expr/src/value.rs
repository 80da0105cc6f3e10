//! Values of expressions, and why there is none.

use std::borrow::Cow;
use std::cmp::Ordering;

use schemas::Micros;

use crate::types::Type;

/// A value. Its type is that of the expression, and so is the scale of a decimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Unknown.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Bigint(i64),
    /// The mantissa of a decimal.
    Decimal(i128),
    /// Text.
    Text(Cow<'a, str>),
    /// Days since 1970-01-01.
    Date(i32),
    /// An instant.
    Timestamp(Micros),
}

/// Why an expression has no value for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A number beyond what its type holds.
    #[error("a number leaves the range of its type")]
    Overflow,
    /// A division by zero.
    #[error("a division by zero")]
    DivisionByZero,
    /// A text that is no value of the type it is cast to.
    #[error("a text is no value of the type it is cast to")]
    BadCast,
    /// A text that should be JSON.
    #[error("a text is no JSON")]
    BadJson,
    /// An argument that a function does not take.
    #[error("an argument is beyond what the function takes")]
    BadArgument,
}

impl Value<'_> {
    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The mantissa of a number, at the scale of its type.
    pub fn number(&self) -> Option<i128> {
        match self {
            Value::Bigint(number) => Some(i128::from(*number)),
            Value::Decimal(mantissa) => Some(*mantissa),
            _ => None,
        }
    }

    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Boolean(value) => Value::Boolean(value),
            Value::Bigint(value) => Value::Bigint(value),
            Value::Decimal(value) => Value::Decimal(value),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Date(day) => Value::Date(day),
            Value::Timestamp(at) => Value::Timestamp(at),
        }
    }
}

/// How two values of comparable types compare; `None` when one of them is NULL.
pub(crate) fn order(left: (&Value<'_>, Type), right: (&Value<'_>, Type)) -> Option<Ordering> {
    match (left.0, right.0) {
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Boolean(left), Value::Boolean(right)) => Some(left.cmp(right)),
        (Value::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right)),
        (Value::Date(left), Value::Date(right)) => Some(left.cmp(right)),
        (one, other) => {
            Some(order_numbers(one.number()?, left.1.scale(), other.number()?, right.1.scale()))
        }
    }
}

/// How two mantissas of any scales compare, exactly.
pub(crate) fn order_numbers(left: i128, left_scale: u8, right: i128, right_scale: u8) -> Ordering {
    let raised = |number: i128, by: u8| {
        10_i128.checked_pow(u32::from(by)).and_then(|power| number.checked_mul(power))
    };
    // What does not fit when it is raised to the other's scale is beyond every number there.
    if left_scale < right_scale {
        let beyond = if left < 0 { Ordering::Less } else { Ordering::Greater };
        return raised(left, right_scale - left_scale).map_or(beyond, |left| left.cmp(&right));
    }
    let beyond = if right < 0 { Ordering::Greater } else { Ordering::Less };
    raised(right, left_scale - right_scale).map_or(beyond, |right| left.cmp(&right))
}
