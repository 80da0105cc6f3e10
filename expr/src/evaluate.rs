//! Evaluation of a tree on one row.

use std::borrow::Cow;
use std::cmp::Ordering;

use schemas::column::RowSchema;
use schemas::{RowLayout, RowRef};

use crate::arithmetic;
use crate::calendar;
use crate::cast::cast;
use crate::json;
use crate::node::{Arithmetic, Function, Is, Node, Typed};
use crate::text;
use crate::types::Type;
use crate::value::{EvalError, Value, order};

type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// The value of a tree for a row.
pub(crate) fn value<'a>(tree: &'a Typed, row: RowRef<'a>) -> Evaluated<'a> {
    Ok(match &tree.node {
        Node::Column { index, .. } => column(row, *index, tree.ty),
        Node::Literal(value) => borrowed(value),
        Node::Case { operand, branches, otherwise } => {
            return case(tree.ty, operand.as_deref(), branches, otherwise.as_deref(), row);
        }
        Node::Arithmetic { operator, left, right } => {
            return arithmetic_of(tree.ty, *operator, left, right, row);
        }
        Node::Negate(operand) => negate(value(operand, row)?)?,
        Node::Call { function, args } => return call(tree.ty, *function, args, row),
        Node::DateTrunc { unit, at } => match value(at, row)? {
            Value::Timestamp(at) => {
                Value::Timestamp(calendar::truncate(*unit, at).ok_or(EvalError::Overflow)?)
            }
            _ => Value::Null,
        },
        Node::Shift { at, by } => match value(at, row)? {
            Value::Timestamp(at) => {
                Value::Timestamp(calendar::shift(at, *by).ok_or(EvalError::Overflow)?)
            }
            _ => Value::Null,
        },
        Node::Extract { part, at } => match value(at, row)? {
            Value::Timestamp(at) => Value::Bigint(calendar::extract(*part, at)),
            Value::Date(day) => Value::Bigint(calendar::extract(*part, calendar::midnight(day))),
            _ => Value::Null,
        },
        Node::Cast { operand, or_null } => match cast(value(operand, row)?, operand.ty, tree.ty) {
            Err(_) if *or_null => Value::Null,
            cast => return cast,
        },
        _ => truth(tree, row)?.map_or(Value::Null, Value::Boolean),
    })
}

/// True, false, or `None` for unknown.
pub(crate) fn truth(tree: &Typed, row: RowRef<'_>) -> Result<Option<bool>, EvalError> {
    Ok(match &tree.node {
        Node::Compare { test, left, right } => {
            return Ok(compare(left, right, row)?.map(|order| test.holds(order)));
        }
        Node::And(all) => return connect(all, false, row),
        Node::Or(all) => return connect(all, true, row),
        Node::Not(operand) => truth(operand, row)?.map(|value| !value),
        Node::Is { what, operand, negated } => {
            let found = match (what, operand.as_column()) {
                (Is::Null, Some(column)) => row.is_null(column),
                (Is::Null, None) => value(operand, row)?.is_null(),
                (Is::True, _) => truth(operand, row)? == Some(true),
                (Is::False, _) => truth(operand, row)? == Some(false),
                (Is::Unknown, _) => truth(operand, row)?.is_none(),
            };
            Some(found != *negated)
        }
        Node::In { operand, list, negated } => return is_in(operand, list, *negated, row),
        Node::Between { operand, low, high, negated } => {
            let above = compare(operand, low, row)?.map(Ordering::is_ge);
            let below = compare(operand, high, row)?.map(Ordering::is_le);
            let inside = match (above, below) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            inside.map(|inside| inside != *negated)
        }
        Node::Like { operand, pattern, negated } => {
            match (value(operand, row)?, value(pattern, row)?) {
                (Value::Text(own), Value::Text(pattern)) => {
                    Some(text::is_like(&own, &pattern) != *negated)
                }
                _ => None,
            }
        }
        _ => match value(tree, row)? {
            Value::Boolean(value) => Some(value),
            _ => None,
        },
    })
}

/// Replaces every part without columns by its value, unless it fails.
pub(crate) fn folded(tree: Typed) -> Typed {
    fn is_constant(tree: &Typed) -> bool {
        tree.as_column().is_none() && tree.children().into_iter().all(is_constant)
    }
    let Typed { node, ty } = tree;
    let boxed = |one: Box<Typed>| Box::new(folded(*one));
    let all = |all: Vec<Typed>| all.into_iter().map(folded).collect::<Vec<_>>();
    let node = match node {
        Node::Compare { test, left, right } => {
            Node::Compare { test, left: boxed(left), right: boxed(right) }
        }
        Node::And(parts) => Node::And(all(parts)),
        Node::Or(parts) => Node::Or(all(parts)),
        Node::Not(one) => Node::Not(boxed(one)),
        Node::In { operand, list, negated } => {
            Node::In { operand: boxed(operand), list: all(list), negated }
        }
        Node::Between { operand, low, high, negated } => {
            Node::Between { operand: boxed(operand), low: boxed(low), high: boxed(high), negated }
        }
        Node::Arithmetic { operator, left, right } => {
            Node::Arithmetic { operator, left: boxed(left), right: boxed(right) }
        }
        other => other,
    };
    let tree = Typed { node, ty };
    if tree.as_literal().is_some() || !is_constant(&tree) {
        return tree;
    }
    let none = RowLayout::new(&RowSchema::default());
    let constant = value(&tree, none.row(&[])).map(Value::into_owned);
    match constant {
        Ok(value) => Typed::literal(value, ty),
        Err(_) => tree,
    }
}

fn column(row: RowRef<'_>, index: usize, ty: Type) -> Value<'_> {
    match ty {
        Type::Text | Type::Json => {
            row.text(index).map_or(Value::Null, |text| Value::Text(Cow::Borrowed(text)))
        }
        Type::Decimal { .. } => row.decimal(index).map_or(Value::Null, Value::Decimal),
        Type::Timestamp => row.timestamp(index).map_or(Value::Null, Value::Timestamp),
        Type::Bigint => row.bigint(index).map_or(Value::Null, Value::Bigint),
        Type::Boolean => row.boolean(index).map_or(Value::Null, Value::Boolean),
        Type::Date => row.date(index).map_or(Value::Null, |date| Value::Date(date.0)),
        // No expression takes the value of a double.
        Type::Null | Type::Double => Value::Null,
    }
}

fn borrowed<'a>(value: &'a Value<'static>) -> Value<'a> {
    match value {
        Value::Text(text) => Value::Text(Cow::Borrowed(text)),
        other => other.clone(),
    }
}

/// AND (decided by false) or OR (decided by true), from left to right.
fn connect(parts: &[Typed], decides: bool, row: RowRef<'_>) -> Result<Option<bool>, EvalError> {
    let mut known = true;
    for part in parts {
        match truth(part, row)? {
            Some(value) if value == decides => return Ok(Some(decides)),
            Some(_) => {}
            None => known = false,
        }
    }
    Ok(known.then_some(!decides))
}

fn compare(left: &Typed, right: &Typed, row: RowRef<'_>) -> Result<Option<Ordering>, EvalError> {
    // A column with a literal, which nearly every condition is made of, needs no values in between.
    if let (Some(index), Some(literal)) = (left.as_column(), right.as_literal()) {
        return Ok(match (literal, left.ty) {
            (Value::Text(literal), Type::Text) => row.text(index).map(|own| own.cmp(literal)),
            (Value::Timestamp(literal), Type::Timestamp) => {
                row.timestamp(index).map(|own| own.cmp(literal))
            }
            _ => order((&column(row, index, left.ty), left.ty), (literal, right.ty)),
        });
    }
    let (left_value, right_value) = (value(left, row)?, value(right, row)?);
    Ok(order((&left_value, left.ty), (&right_value, right.ty)))
}

fn is_in(
    operand: &Typed,
    list: &[Typed],
    negated: bool,
    row: RowRef<'_>,
) -> Result<Option<bool>, EvalError> {
    let wanted = value(operand, row)?;
    if wanted.is_null() {
        return Ok(None);
    }
    let mut known = true;
    for item in list {
        match order((&wanted, operand.ty), (&value(item, row)?, item.ty)) {
            Some(Ordering::Equal) => return Ok(Some(!negated)),
            Some(_) => {}
            None => known = false,
        }
    }
    Ok(known.then_some(negated))
}

fn case<'a>(
    ty: Type,
    operand: Option<&'a Typed>,
    branches: &'a [(Typed, Typed)],
    otherwise: Option<&'a Typed>,
    row: RowRef<'a>,
) -> Evaluated<'a> {
    for (when, then) in branches {
        let taken = match operand {
            Some(operand) => compare(operand, when, row)? == Some(Ordering::Equal),
            None => truth(when, row)? == Some(true),
        };
        if taken {
            return cast(value(then, row)?, then.ty, ty);
        }
    }
    match otherwise {
        Some(otherwise) => cast(value(otherwise, row)?, otherwise.ty, ty),
        None => Ok(Value::Null),
    }
}

fn arithmetic_of<'a>(
    ty: Type,
    operator: Arithmetic,
    left: &'a Typed,
    right: &'a Typed,
    row: RowRef<'a>,
) -> Evaluated<'a> {
    let (one, other) = (value(left, row)?, value(right, row)?);
    if let (Value::Bigint(one), Value::Bigint(other), Type::Bigint) = (&one, &other, ty) {
        return arithmetic::bigints(operator, *one, *other).map(Value::Bigint);
    }
    let (Some(one), Some(other)) = (one.number(), other.number()) else { return Ok(Value::Null) };
    let (left, right) = ((one, left.ty.scale()), (other, right.ty.scale()));
    arithmetic::decimals(operator, left, right, ty.scale()).map(Value::Decimal)
}

fn negate(value: Value<'_>) -> Evaluated<'_> {
    match value {
        Value::Bigint(number) => number.checked_neg().map(Value::Bigint).ok_or(EvalError::Overflow),
        Value::Decimal(mantissa) => Ok(Value::Decimal(-mantissa)),
        other => Ok(other),
    }
}

fn call<'a>(ty: Type, function: Function, args: &'a [Typed], row: RowRef<'a>) -> Evaluated<'a> {
    let arg = |at: usize| args.get(at).map_or(Ok(Value::Null), |arg| value(arg, row));
    match function {
        Function::Coalesce => {
            for arg in args {
                let value = value(arg, row)?;
                if !value.is_null() {
                    return cast(value, arg.ty, ty);
                }
            }
            Ok(Value::Null)
        }
        Function::NullIf => {
            let [own, unwanted] = args else { return Ok(Value::Null) };
            let value = value(own, row)?;
            let found = order((&value, own.ty), (&arg(1)?, unwanted.ty));
            if found == Some(Ordering::Equal) { Ok(Value::Null) } else { cast(value, own.ty, ty) }
        }
        Function::Concat | Function::Join => {
            let mut joined = String::new();
            for arg in args {
                match value(arg, row)? {
                    Value::Text(text) => joined.push_str(&text),
                    Value::Null if function == Function::Join => return Ok(Value::Null),
                    _ => {}
                }
            }
            Ok(Value::Text(Cow::Owned(joined)))
        }
        Function::Substr => {
            let Value::Text(text) = arg(0)? else { return Ok(Value::Null) };
            let (start, count) = (arg(1)?, arg(2)?);
            let (Value::Bigint(start), false) = (start, args.len() == 3 && count.is_null()) else {
                return Ok(Value::Null);
            };
            let count = if let Value::Bigint(count) = count { Some(count) } else { None };
            text::substr(text, start, count).map(Value::Text)
        }
        Function::Member | Function::MemberText => {
            let (Value::Text(json), Value::Text(name)) = (arg(0)?, arg(1)?) else {
                return Ok(Value::Null);
            };
            let Some(member) = json::member(&json, &name)? else { return Ok(Value::Null) };
            let text =
                if function == Function::Member { Some(member.into()) } else { json::text(member) };
            Ok(text.map_or(Value::Null, |text| Value::Text(Cow::Owned(text.into_owned()))))
        }
        Function::Lower
        | Function::Upper
        | Function::Trim
        | Function::TrimStart
        | Function::TrimEnd => {
            let Value::Text(own) = arg(0)? else { return Ok(Value::Null) };
            Ok(Value::Text(match function {
                Function::Lower => Cow::Owned(own.to_lowercase()),
                Function::Upper => Cow::Owned(own.to_uppercase()),
                Function::TrimStart => text::trim(own, true, false),
                Function::TrimEnd => text::trim(own, false, true),
                _ => text::trim(own, true, true),
            }))
        }
    }
}
