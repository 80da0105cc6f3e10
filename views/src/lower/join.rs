//! Joins: on equality, with what else an ON says as a filter.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, Operator};
use expr::Expression;
use schemas::{ColumnType, RowSchema};

use super::{Lower, Lowered, Lowering, Over, Read, typed};
use crate::operator::JoinKind;
use crate::plan::{Node, Plan, unique};
use crate::refusal::{Code, Refusal};

/// What the parts of an ON are.
#[derive(Default)]
struct Conditions<'a> {
    /// What is equal: of the left rows, of the right rows.
    equal: Vec<(&'a Expr, &'a Expr)>,
    /// What reads right rows only.
    right: Vec<&'a Expr>,
    /// Everything else.
    other: Vec<&'a Expr>,
}

impl Lower<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Lowering<Lowered> {
        let kind = kind(join)?;
        let (left, right) = (self.lower(&join.left, None)?, self.lower(&join.right, None)?);
        let parts = Conditions::of(join, &left.schema, &right.schema);
        check(kind, &parts)?;
        let right = match all(&parts.right) {
            // What only right rows decide, they may be asked before: also under LEFT JOIN.
            Some(condition) => {
                let condition = Over::new(&right).condition(&condition)?;
                Lowered { plan: Plan::filter(right.plan, condition), schema: right.schema }
            }
            None => right,
        };
        let keys = keys(&parts.equal, &left, &right)?;
        let types: Vec<DataType> = [left.types(), right.types()].concat();
        let schema = typed(&join.schema, &types)?;
        let names = names(&left, &right);
        let joined = Lowered { plan: joined(left.plan, right.plan, keys, kind, names), schema };
        match all(&parts.other) {
            None => Ok(joined),
            Some(condition) => {
                let condition = Over::new(&joined).condition(&condition)?;
                Ok(Lowered { plan: Plan::filter(joined.plan, condition), ..joined })
            }
        }
    }
}

fn kind(join: &Join) -> Lowering<JoinKind> {
    let kind = match join.join_type {
        JoinType::Inner => Some(JoinKind::Inner),
        JoinType::Left => Some(JoinKind::Left),
        _ => None,
    };
    let kind = kind.filter(|_| join.null_equality == NullEquality::NullEqualsNothing);
    kind.ok_or_else(|| {
        let what = match join.join_type {
            JoinType::Right => "RIGHT JOIN",
            JoinType::Full => "FULL JOIN",
            _ => "INTERSECT, EXCEPT, a semi or an anti join",
        };
        let problem = format!("{what} is not supported");
        let advice = match join.join_type {
            JoinType::Right => "write it as LEFT JOIN with its sides changed",
            JoinType::Full => "UNION ALL both sides, tagged, and GROUP BY what they share",
            _ => "write JOIN or LEFT JOIN, and WHERE ... IS NULL for what is missing",
        };
        Refusal::new(Code::JoinKind, join.join_type, problem, advice)
    })
}

fn check(kind: JoinKind, parts: &Conditions<'_>) -> Lowering<()> {
    if parts.equal.is_empty() {
        let problem = "a join needs a column of each side that are equal";
        let advice = "write JOIN ... ON a.x = b.x; for lists of tables too, not in WHERE";
        return Err(Refusal::new(Code::JoinCondition, "JOIN", problem, advice));
    }
    match parts.other.first() {
        Some(other) if kind == JoinKind::Left => {
            let place = other.human_display().to_string();
            let problem =
                format!("`{place}` in the ON of a LEFT JOIN is no equality of both sides");
            let advice =
                "ask it in WHERE, of left rows in a subquery before the join, or in a CASE";
            Err(Refusal::new(Code::JoinCondition, place, problem, advice))
        }
        _ => Ok(()),
    }
}

impl<'a> Conditions<'a> {
    fn of(join: &'a Join, left: &DFSchema, right: &DFSchema) -> Conditions<'a> {
        let mut found = Conditions::default();
        let reads = |planned: &Expr, side: &DFSchema| {
            let columns = planned.column_refs();
            let is_own = |column| side.maybe_index_of_column(column).is_some();
            !columns.is_empty() && columns.into_iter().all(is_own)
        };
        let mut equal = |one: &'a Expr, other: &'a Expr| {
            if reads(one, left) && reads(other, right) {
                found.equal.push((one, other));
            } else if reads(one, right) && reads(other, left) {
                found.equal.push((other, one));
            } else {
                return false;
            }
            true
        };
        join.on.iter().for_each(|(one, other)| {
            equal(one, other);
        });
        let filters = join.filter.iter().flat_map(|filter| split_conjunction(filter));
        let rest = filters.filter(|part| match part {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => !equal(left, right),
            _ => true,
        });
        let rest: Vec<&Expr> = rest.collect();
        for part in rest {
            let to = if reads(part, right) { &mut found.right } else { &mut found.other };
            to.push(part);
        }
        found
    }
}

fn all(parts: &[&Expr]) -> Option<Expr> {
    conjunction(parts.iter().map(|part| (*part).clone()))
}

/// What is equal on both sides, of one type each.
fn keys(
    equal: &[(&Expr, &Expr)],
    left: &Lowered,
    right: &Lowered,
) -> Lowering<(Vec<Read>, Vec<Read>)> {
    let (left, right) = (Over::new(left), Over::new(right));
    let mut keys = (Vec::new(), Vec::new());
    for (one, other) in equal {
        let (one, other) = (left.key(one)?, right.key(other)?);
        let is_same = match (one.kind, other.kind) {
            (ColumnType::Decimal { scale: own, .. }, ColumnType::Decimal { scale, .. }) => {
                own == scale
            }
            (ColumnType::Json, _) => false,
            (own, other) => own == other,
        };
        if !is_same {
            let (a, b) = (one.expression.text(), other.expression.text());
            let problem = format!("`{a}` is {} and `{b}` is {}", one.kind, other.kind);
            let advice = "what a join compares must be of one type; CAST one of them";
            let code = Code::Expression(expr::Code::TypeMismatch);
            return Err(Refusal::new(code, a, problem, advice));
        }
        keys.0.push(one);
        keys.1.push(other);
    }
    Ok(keys)
}

/// Names of the columns of both sides: of one that is taken, with the name of its relation.
fn names(left: &Lowered, right: &Lowered) -> RowSchema {
    let own = left.plan.schema.iter().map(|column| (column.name.clone(), column.kind));
    let others = right.schema.iter().zip(right.plan.schema.iter());
    let others = others.map(|((qualifier, _), column)| {
        let is_taken = left.plan.schema.find(&column.name).is_some();
        let name = match qualifier {
            Some(qualifier) if is_taken => format!("{qualifier}.{}", column.name),
            _ => column.name.clone(),
        };
        (name, column.kind)
    });
    unique(own.chain(others).collect::<Vec<_>>())
}

fn joined(
    left: Plan,
    right: Plan,
    keys: (Vec<Read>, Vec<Read>),
    kind: JoinKind,
    names: RowSchema,
) -> Plan {
    let (widths, (left, own)) = ((left.schema.len(), right.schema.len()), with(left, keys.0));
    let (right, others) = with(right, keys.1);
    let on = own.into_iter().zip(others).collect();
    let all = left.schema.len() + right.schema.len();
    if all == names.len() {
        let (left, right) = (Box::new(left), Box::new(right));
        return Plan { node: Node::Join { left, right, on, kind }, schema: names };
    }
    // Keys that had to be computed go again after the join.
    let (from, width) = (left.schema.len(), widths.0);
    let column = |at: usize| names.get(at).map(|column| (column.name.clone(), column.kind));
    let key = |at: usize| (format!("key_{at}"), ColumnType::Text);
    let wide = (0..all).map(|at| match at {
        _ if at < width => column(at).unwrap_or_else(|| key(at)),
        _ if at >= from && at < from + widths.1 => {
            column(at - from + width).unwrap_or_else(|| key(at))
        }
        _ => {
            let kind = left.schema.kind(at).or_else(|| right.schema.kind(at - from));
            (format!("key_{at}"), kind.unwrap_or(ColumnType::Text))
        }
    });
    let wide = unique(wide.collect::<Vec<_>>());
    let (left, right) = (Box::new(left), Box::new(right));
    let plan = Plan { node: Node::Join { left, right, on, kind }, schema: wide };
    let through = plan.through();
    let kept = (0..width).chain(from..from + widths.1).filter_map(|at| through.get(at).cloned());
    let kept: Vec<Expression> = kept.collect();
    Plan::map(plan, None, kept, names)
}

/// A step with what it does not have yet of these expressions, and where they stand.
pub(super) fn with(plan: Plan, wanted: Vec<Read>) -> (Plan, Vec<usize>) {
    let mut columns = plan.through();
    let mut schema: Vec<_> = plan.schema.iter().map(|c| (c.name.clone(), c.kind)).collect();
    let mut places = Vec::with_capacity(wanted.len());
    for read in wanted {
        let found = columns.iter().position(|column| *column == read.expression);
        places.push(found.unwrap_or(columns.len()));
        if found.is_none() {
            schema.push((read.expression.text().to_owned(), read.kind));
            columns.push(read.expression);
        }
    }
    let schema = unique(schema);
    (Plan::map(plan, None, columns, schema), places)
}
