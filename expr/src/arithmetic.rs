//! Arithmetic on bigint and decimal: the types of results, and exact results.
//!
//! # Guarantees
//! - Types are those of DataFusion: a sum has one digit more, a product the digits of both, a quotient four
//!   digits after the point more than its dividend; 38 digits at most.

use schemas::decimal::MANTISSA_MAX;

use crate::node::Arithmetic;
use crate::types::{DIGITS_MAX, Type};
use crate::value::EvalError;

/// Digits that a quotient has after the point beyond those of its dividend.
const QUOTIENT_DIGITS: u8 = 4;

/// The type of a result, and whether every exact result fits into it; `None` when there is no such type.
pub(crate) fn result(operator: Arithmetic, left: Type, right: Type) -> Option<(Type, bool)> {
    if (left, right) == (Type::Bigint, Type::Bigint) {
        return Some((Type::Bigint, false));
    }
    let ((p1, s1), (p2, s2)) = (left.digits()?, right.digits()?);
    let (w1, w2) = (p1.saturating_sub(s1), p2.saturating_sub(s2));
    let scale = s1.max(s2);
    let (digits, scale) = match operator {
        Arithmetic::Add | Arithmetic::Subtract => (w1.max(w2) + scale + 1, scale),
        Arithmetic::Multiply => (p1 + p2 + 1, s1 + s2),
        Arithmetic::Divide => {
            let scale = (s1 + QUOTIENT_DIGITS).min(DIGITS_MAX);
            (p1 + (scale - s1) + s2, scale)
        }
        Arithmetic::Remainder => (w1.min(w2) + scale, scale),
    };
    // Operands are brought to one scale first.
    let raised = operator != Arithmetic::Remainder || w1.max(w2) + scale.max(1) <= DIGITS_MAX;
    let precision = digits.min(DIGITS_MAX);
    (scale <= DIGITS_MAX)
        .then_some((Type::Decimal { precision, scale }, digits <= DIGITS_MAX && raised))
}

/// The result of two bigints.
pub(crate) fn bigints(operator: Arithmetic, left: i64, right: i64) -> Result<i64, EvalError> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Remainder);
    if divides && right == 0 {
        return Err(EvalError::DivisionByZero);
    }
    let result = match operator {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Remainder => left.checked_rem(right),
    };
    result.ok_or(EvalError::Overflow)
}

/// The result of two mantissas at their scales, as a mantissa at the scale of the result.
pub(crate) fn decimals(
    operator: Arithmetic,
    (left, left_scale): (i128, u8),
    (right, right_scale): (i128, u8),
    scale: u8,
) -> Result<i128, EvalError> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Remainder);
    if divides && right == 0 {
        return Err(EvalError::DivisionByZero);
    }
    let result = match operator {
        Arithmetic::Add => {
            raise(left, left_scale, scale)?.checked_add(raise(right, right_scale, scale)?)
        }
        Arithmetic::Subtract => {
            raise(left, left_scale, scale)?.checked_sub(raise(right, right_scale, scale)?)
        }
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => raise(left, left_scale, scale + right_scale)?.checked_div(right),
        Arithmetic::Remainder => {
            raise(left, left_scale, scale)?.checked_rem(raise(right, right_scale, scale)?)
        }
    };
    in_range(result)
}

/// A mantissa at a scale that is not smaller.
pub(crate) fn raise(mantissa: i128, from: u8, to: u8) -> Result<i128, EvalError> {
    let power = 10_i128.checked_pow(u32::from(to.saturating_sub(from)));
    power.and_then(|power| mantissa.checked_mul(power)).ok_or(EvalError::Overflow)
}

/// A mantissa that a decimal can have.
pub(crate) fn in_range(mantissa: Option<i128>) -> Result<i128, EvalError> {
    let fits = mantissa.filter(|n| n.unsigned_abs() <= MANTISSA_MAX.unsigned_abs());
    fits.ok_or(EvalError::Overflow)
}
