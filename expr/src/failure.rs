//! Whether an expression can fail on some row, and what cures it.

use crate::arithmetic;
use crate::cast;
use crate::node::{Arithmetic, Function, Node, Typed};
use crate::print;
use crate::types::Type;
use crate::value::Value;

/// The first part that can fail, in words with advice; `None` when every row has a value.
pub(crate) fn find(tree: &Typed) -> Option<String> {
    tree.children().into_iter().find_map(find).or_else(|| own(tree))
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

/// The conditions under which the divisions that every row comes to are not by zero, but for those of quotients that
/// may be by zero themselves.
pub(crate) fn guards(tree: &Typed) -> Vec<String> {
    let always = match &tree.node {
        Node::Case { operand, branches, .. } => {
            operand.as_deref().or(branches.first().map(|(when, _)| when)).into_iter().collect()
        }
        Node::And(all) | Node::Or(all) | Node::Call { function: Function::Coalesce, args: all } => {
            all.first().into_iter().collect()
        }
        Node::In { operand, .. } => vec![&**operand],
        _ => tree.children(),
    };
    let mut found: Vec<String> = always.into_iter().flat_map(guards).collect();
    if let Node::Arithmetic { operator: Arithmetic::Divide | Arithmetic::Remainder, left, right } =
        &tree.node
        && !is_never_zero(right)
        && !may_divide_by_zero(left)
        && !may_divide_by_zero(right)
    {
        let (above, below) = (print::sql(left), print::sql(right));
        found.push(format!("(({above}) IS NULL OR ({below}) IS NULL OR ({below}) <> 0)"));
    }
    found
}

fn may_divide_by_zero(tree: &Typed) -> bool {
    let is_one = match &tree.node {
        Node::Arithmetic {
            operator: Arithmetic::Divide | Arithmetic::Remainder, right, ..
        } => !is_never_zero(right),
        _ => false,
    };
    is_one || tree.children().into_iter().any(may_divide_by_zero)
}

/// Values that are brought to one type may not fit into it.
fn widening<'a>(tree: &Typed, mut values: impl Iterator<Item = &'a Typed>) -> Option<String> {
    let fails = values.any(|value| cast::can_fail(value.ty, tree.ty) != Some(false));
    let problem = || format!("`{}`: a value can have more digits than its type", print::text(tree));
    fails.then(|| problem() + "; CAST it to fewer digits")
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
