//! Whether an expression can fail on some row, and what cures it.

use crate::arithmetic;
use crate::cast;
use crate::node::{Arithmetic, Function, Node, Typed};
use crate::print;
use crate::types::Type;
use crate::value::Value;

/// The parts that can fail, in words with advice; none when every row has a value.
pub(crate) fn all(tree: &Typed) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for own in tree.children().into_iter().flat_map(all).chain(own(tree)) {
        if !found.contains(&own) {
            found.push(own);
        }
    }
    found
}

fn own(tree: &Typed) -> Option<String> {
    let text = || print::text(tree);
    match &tree.node {
        Node::Arithmetic { operator, left, right } => {
            let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Remainder);
            if divides && !is_never_zero(right) {
                let (below, left) = (print::text(right), print::text(left));
                return Some(format!(
                    "`{}` fails when `{below}` is 0; write `{left} {} NULLIF({below}, 0)`",
                    text(),
                    operator.text()
                ));
            }
            let fits =
                arithmetic::result(*operator, left.ty, right.ty).is_some_and(|(_, fits)| fits);
            // But for the least bigint by -1, quotients are no larger than what is divided.
            let is_tame = divides
                && tree.ty == Type::Bigint
                && (left.as_literal().is_some_and(is_not_least)
                    || right.as_literal().is_some_and(is_not_minus_one));
            let fits = fits || is_tame;
            let whole = [left, right].into_iter().find(|side| is_whole_literal(side));
            let advice = match tree.ty {
                // A bigint counts with the digits of any bigint, a decimal with those it has.
                _ if whole.is_some() => "write the whole number as a decimal, such as `2.0`",
                Type::Bigint => "CAST a side to DECIMAL(20,0)",
                _ => "CAST a side to fewer digits",
            };
            (!fits).then(|| format!("`{}` can leave the range of its type; {advice}", text()))
        }
        Node::Shift { .. } => Some(format!(
            "`{}` can leave the range of timestamps; select it in a view, which leaves such rows out",
            text()
        )),
        Node::Negate(_) if tree.ty == Type::Bigint => {
            Some(format!("`{}` can leave the range of bigint; CAST it to DECIMAL(20,0)", text()))
        }
        Node::Cast { operand, or_null: false }
            if cast::can_fail(operand.ty, tree.ty) != Some(false) =>
        {
            Some(format!("`{}` fails when the value does not fit; use TRY_CAST", text()))
        }
        Node::Call { function: Function::Substr, args } => {
            let fails = args.iter().skip(1).any(|arg| !is_small(arg));
            fails.then(|| format!("`{}` fails when a position is negative; use literals", text()))
        }
        Node::Call { function: Function::Member | Function::MemberText, .. } => {
            Some(format!("`{}` fails when the text is no JSON", text()))
        }
        Node::Call { function: Function::Coalesce | Function::NullIf, args } => {
            widening(tree, args.iter())
        }
        Node::Case { branches, otherwise, .. } => {
            let values = branches.iter().map(|(_, then)| then).chain(otherwise.as_deref());
            widening(tree, values)
        }
        _ => None,
    }
}

/// The conditions under which no division that a row comes to is by zero: what is not evaluated divides nothing.
pub(crate) fn guards(tree: &Typed) -> Vec<String> {
    let mut found = match &tree.node {
        Node::And(all) => in_turn(all, "IS FALSE"),
        Node::Or(all) => in_turn(all, "IS TRUE"),
        Node::Call { function: Function::Coalesce, args } => in_turn(args, "IS NOT NULL"),
        Node::In { operand, list, .. } => {
            let mut found = guards(operand);
            let mut decided = vec![told(operand, "IS NULL")];
            for item in list {
                found.extend(unless(&decided, guards(item)));
                decided.push(told(operand, &format!("= ({})", print::sql(item))));
            }
            found
        }
        Node::Case { operand, branches, otherwise } => {
            of_case(operand.as_deref(), branches, otherwise.as_deref())
        }
        _ => tree.children().into_iter().flat_map(guards).collect(),
    };
    if let Node::Arithmetic { left, right, .. } = &tree.node
        && divides_by_zero(tree)
    {
        let (above, below) = (print::sql(left), print::sql(right));
        found.push(format!("(({above}) IS NULL OR ({below}) IS NULL OR ({below}) <> 0)"));
    }
    found
}

/// Whether it is a division whose divisor may be zero.
pub(crate) fn divides_by_zero(tree: &Typed) -> bool {
    match &tree.node {
        Node::Arithmetic {
            operator: Arithmetic::Divide | Arithmetic::Remainder, right, ..
        } => !is_never_zero(right),
        _ => false,
    }
}

/// Those of parts that are evaluated until one of them decides.
fn in_turn(parts: &[Typed], decides: &str) -> Vec<String> {
    let (mut found, mut decided) = (Vec::new(), Vec::new());
    for part in parts {
        found.extend(unless(&decided, guards(part)));
        decided.push(told(part, decides));
    }
    found
}

fn of_case(
    operand: Option<&Typed>,
    branches: &[(Typed, Typed)],
    otherwise: Option<&Typed>,
) -> Vec<String> {
    let mut found = operand.map(guards).unwrap_or_default();
    let mut taken = Vec::new();
    for (when, then) in branches {
        found.extend(unless(&taken, guards(when)));
        let is_it = match operand {
            Some(operand) => told(operand, &format!("= ({})", print::sql(when))),
            None => print::sql(when),
        };
        let mut decided = taken.clone();
        decided.push(format!("({is_it}) IS NOT TRUE"));
        found.extend(unless(&decided, guards(then)));
        taken.push(format!("({is_it}) IS TRUE"));
    }
    found.extend(unless(&taken, otherwise.map(guards).unwrap_or_default()));
    found
}

/// What a tree is, in SQL.
fn told(tree: &Typed, is: &str) -> String {
    format!("({}) {is}", print::sql(tree))
}

/// Conditions that are asked only where none of others holds.
fn unless(others: &[String], conditions: Vec<String>) -> Vec<String> {
    let others = others.join(" OR ");
    let one = |own: String| if others.is_empty() { own } else { format!("({others} OR {own})") };
    conditions.into_iter().map(one).collect()
}

/// Values that are brought to one type may not fit into it.
fn widening<'a>(tree: &Typed, mut values: impl Iterator<Item = &'a Typed>) -> Option<String> {
    let fails = values.any(|value| cast::can_fail(value.ty, tree.ty) != Some(false));
    let problem = || format!("`{}`: a value can have more digits than its type", print::text(tree));
    fails.then(|| problem() + "; CAST it to fewer digits")
}

fn is_not_least(value: &Value<'_>) -> bool {
    value.number().is_some_and(|number| number != i128::from(i64::MIN))
}

fn is_not_minus_one(value: &Value<'_>) -> bool {
    value.number().is_some_and(|number| number != -1)
}

/// A literal without a point.
fn is_whole_literal(tree: &Typed) -> bool {
    tree.ty == Type::Bigint && tree.as_literal().is_some()
}

/// A literal other than zero, or NULLIF with zero.
fn is_never_zero(tree: &Typed) -> bool {
    let is_zero = |value: &Value<'_>| value.number() == Some(0);
    match &tree.node {
        Node::Literal(value) => !is_zero(value),
        Node::Call { function: Function::NullIf, args } => {
            args.get(1).and_then(Typed::as_literal).is_some_and(is_zero)
        }
        Node::Cast { operand, .. } => {
            tree.ty.scale() >= operand.ty.scale() && is_never_zero(operand)
        }
        _ => false,
    }
}

/// A literal that no function takes amiss.
fn is_small(tree: &Typed) -> bool {
    match tree.as_literal() {
        Some(Value::Bigint(number)) => *number >= 0,
        Some(value) => value.is_null(),
        None => false,
    }
}
