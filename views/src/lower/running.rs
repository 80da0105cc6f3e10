//! Running sums over periods: what has come up to the end of each, which is alive from then on without an end.
//!
//! # Guarantees
//! - They are over periods without holes: a period in which nothing came has the sum of those before it.
//! - A SELECT of them that says something else is refused.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, Projection, WindowFrame, WindowFunctionDefinition, cast, lit,
};
use schemas::ColumnType;

use super::Lowering;
use super::over::period_of;
use crate::refusal::{Code, Refusal};
use crate::sql::invalid;

/// A SELECT of running sums over the periods of a group.
pub(super) struct Running<'a> {
    pub(super) aggregate: &'a Aggregate,
    /// What is selected, each running sum as the aggregate that it is of.
    pub(super) projection: Projection,
}

impl<'a> Running<'a> {
    /// Reads a SELECT of window functions over a group by periods; `None` when it is none.
    pub(super) fn of(planned: &'a LogicalPlan) -> Lowering<Option<Running<'a>>> {
        let LogicalPlan::Projection(outer) = planned else { return Ok(None) };
        let Some(aggregate) = group_below(&outer.input, false) else { return Ok(None) };
        if !aggregate.group_expr.iter().any(|key| period_of(key).is_some()) {
            return Ok(None);
        }
        let below = columns(&outer.input)?;
        let selected = outer.expr.iter().map(|planned| {
            let read = seen(planned, outer.input.schema(), &below)?;
            summed(read, aggregate)
        });
        let selected = selected.collect::<Lowering<Vec<Expr>>>()?;
        let input = Arc::new(LogicalPlan::Aggregate(aggregate.clone()));
        let projection =
            Projection::try_new_with_schema(selected, input, Arc::clone(&outer.schema));
        let projection = projection.map_err(|error| invalid(&error))?;
        Ok(Some(Running { aggregate, projection }))
    }

    /// The instant from which a row counts.
    pub(super) fn from(&self) -> Expr {
        let period = self.aggregate.group_expr.iter().find_map(period_of);
        period.cloned().unwrap_or_default()
    }

    /// The instant up to which it does: there is none.
    pub(super) fn until() -> Expr {
        cast(lit(ScalarValue::Null), rows::data_type(ColumnType::Timestamp))
    }
}

/// The group that a window function is over.
fn group_below(planned: &LogicalPlan, is_windowed: bool) -> Option<&Aggregate> {
    match planned {
        LogicalPlan::Window(window) => group_below(&window.input, true),
        LogicalPlan::SubqueryAlias(alias) => group_below(&alias.input, is_windowed),
        LogicalPlan::Projection(projection) => group_below(&projection.input, is_windowed),
        LogicalPlan::Aggregate(aggregate) if is_windowed => Some(aggregate),
        _ => None,
    }
}

/// What the columns of a plan are of the group's.
fn columns(planned: &LogicalPlan) -> Lowering<Vec<Expr>> {
    let read = |all: &[Expr], input: &LogicalPlan, below: &[Expr]| {
        let read = all.iter().map(|own| seen(own, input.schema(), below));
        read.collect::<Lowering<Vec<Expr>>>()
    };
    Ok(match planned {
        LogicalPlan::SubqueryAlias(alias) => columns(&alias.input)?,
        LogicalPlan::Projection(projection) => {
            read(&projection.expr, &projection.input, &columns(&projection.input)?)?
        }
        LogicalPlan::Window(window) => {
            let mut all = columns(&window.input)?;
            all.extend(read(&window.window_expr, &window.input, &all)?);
            all
        }
        group => group.schema().columns().into_iter().map(Expr::Column).collect(),
    })
}

/// An expression over what the columns that it reads are.
fn seen(planned: &Expr, schema: &DFSchema, below: &[Expr]) -> Lowering<Expr> {
    let read = planned.clone().unalias_nested().data.transform_up(|one| {
        let Expr::Column(column) = &one else { return Ok(Transformed::no(one)) };
        let at = schema.index_of_column(column)?;
        Ok(below.get(at).map_or(Transformed::no(one), |own| Transformed::yes(own.clone())))
    });
    read.data().map_err(|error| invalid(&error))
}

/// The expression with each running sum as the aggregate that it is of.
fn summed(read: Expr, aggregate: &Aggregate) -> Lowering<Expr> {
    let mut refusal = None;
    let read = read.transform_down(|one| {
        let changed = match &one {
            Expr::WindowFunction(call) => of_call(call, aggregate),
            Expr::Column(column) => match aggregate.schema.maybe_index_of_column(column) {
                Some(at) if at >= aggregate.group_expr.len() => Err(refused(
                    &one,
                    "stands beside a running sum over periods",
                    "have a view of its own for what happens in a period",
                )),
                _ => return Ok(Transformed::no(one)),
            },
            _ => return Ok(Transformed::no(one)),
        };
        Ok(match changed {
            Ok(changed) => Transformed::new(changed, true, TreeNodeRecursion::Jump),
            Err(problem) => {
                refusal.get_or_insert(problem);
                Transformed::new(one, false, TreeNodeRecursion::Stop)
            }
        })
    });
    match refusal {
        Some(refusal) => Err(refusal),
        None => read.data().map_err(|error| invalid(&error)),
    }
}

/// The aggregate that a running sum is of.
fn of_call(call: &WindowFunction, aggregate: &Aggregate) -> Lowering<Expr> {
    let shown = Expr::from(call.clone());
    let (keys, params) = (aggregate.group_expr.len(), &call.params);
    let place = |planned: &Expr| match planned {
        Expr::Column(column) => aggregate.schema.maybe_index_of_column(column),
        _ => None,
    };
    let is_sum = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => function.name() == "sum",
        WindowFunctionDefinition::WindowUDF(_) => false,
    };
    let is_plain = params.filter.is_none()
        && !params.distinct
        && params.null_treatment.is_none()
        && params.window_frame == WindowFrame::new(Some(false));
    let ([argument], true, true) = (params.args.as_slice(), is_sum, is_plain) else {
        let problem = "is no running sum: over periods there is SUM without a frame";
        let advice =
            "the value of the period before comes with each value: ask for `compare=previous`";
        return Err(refused(&shown, problem, advice));
    };
    if place(argument).is_none_or(|at| at < keys) {
        let advice = "sum an aggregate: SUM(SUM(x)) OVER (...)";
        return Err(refused(&shown, "does not sum an aggregate of the periods", advice));
    }
    let period = aggregate.group_expr.iter().position(|key| period_of(key).is_some());
    let is_by_period = match params.order_by.as_slice() {
        [sort] => sort.asc && place(&sort.expr) == period,
        _ => false,
    };
    let mut partition: Vec<Option<usize>> = params.partition_by.iter().map(place).collect();
    partition.sort_unstable();
    partition.dedup();
    let others = (0..keys).filter(|at| Some(*at) != period).map(Some);
    if !is_by_period || !others.eq(partition) {
        let problem = "does not run over the periods of each group";
        let advice = "write OVER (PARTITION BY all other groups ORDER BY period)";
        return Err(refused(&shown, problem, advice));
    }
    Ok(argument.clone())
}

fn refused(place: &Expr, problem: &str, advice: &str) -> Refusal {
    let place = place.human_display().to_string();
    let problem = format!("`{place}` {problem}");
    Refusal::new(Code::Window, place, problem, advice)
}
