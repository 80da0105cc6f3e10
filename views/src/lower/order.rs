//! The first rows in an order: LIMIT, and ROW_NUMBER with a bound.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunctionDefinition};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Filter, Limit, LogicalPlan, Operator, SkipType, Sort, Window,
};
use schemas::ColumnType;

use super::join::with;
use super::{Lower, Lowered, Lowering, Over, project, typed};
use crate::operator::SortBy;
use crate::plan::{Node, Plan, unique};
use crate::refusal::{Code, Refusal};

impl Lower<'_> {
    pub(super) fn limit(&mut self, limit: &Limit) -> Lowering<Lowered> {
        let count = match (limit.get_skip_type(), limit.get_fetch_type()) {
            (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(Some(count)))) => Some(count),
            _ => None,
        };
        let count = count.and_then(|count| u64::try_from(count).ok()).filter(|count| *count > 0);
        let count = count.ok_or_else(|| {
            let problem = "a LIMIT takes a number above 0, and OFFSET is not supported";
            Refusal::new(Code::Limit, "LIMIT", problem, "write LIMIT 10")
        })?;
        match &*limit.input {
            LogicalPlan::Sort(sort) => self.sorted(sort, count),
            LogicalPlan::Projection(projection)
                if let LogicalPlan::Sort(sort) = &*projection.input =>
            {
                project(projection, &self.sorted(sort, count)?)
            }
            _ => {
                let problem = "LIMIT without ORDER BY keeps any rows";
                Err(Refusal::new(Code::Limit, "LIMIT", problem, "add ORDER BY"))
            }
        }
    }

    fn sorted(&mut self, sort: &Sort, limit: u64) -> Lowering<Lowered> {
        let input = self.lower(&sort.input, None)?;
        let (width, schema) = (input.plan.schema.len(), input.schema.clone());
        let plan = first(input, &[], &sort.expr, limit, false)?;
        Ok(Lowered { plan: plan.first(width), schema })
    }

    pub(super) fn window(&mut self, window: &Window, rank: Option<u64>) -> Lowering<Lowered> {
        let place = || window.window_expr.first().map(|w| w.human_display().to_string());
        let place = place().unwrap_or_default();
        let [call] = window.window_expr.as_slice() else {
            let problem = "several window functions in one SELECT are not supported";
            return Err(Refusal::new(Code::Window, place, problem, "use one"));
        };
        let call = match call.clone().unalias() {
            Expr::WindowFunction(call) => call,
            _ => return Err(not_a_rank(&place)),
        };
        let is_rank = match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) => function.name() == "row_number",
            WindowFunctionDefinition::AggregateUDF(_) => false,
        };
        if !is_rank || call.params.filter.is_some() || call.params.distinct {
            return Err(not_a_rank(&place));
        }
        if call.params.order_by.is_empty() {
            let problem = "ROW_NUMBER() without ORDER BY numbers rows in any order";
            return Err(Refusal::new(Code::Window, place, problem, "add ORDER BY"));
        }
        let Some(limit) = rank else {
            let problem = "ROW_NUMBER() without a bound numbers every row anew at each change";
            let advice =
                "select it in a subquery AS rn, and write WHERE rn <= 10 in the SELECT around it";
            return Err(Refusal::new(Code::Window, place, problem, advice));
        };
        let input = self.lower(&window.input, None)?;
        let (width, mut types) = (input.plan.schema.len(), input.types());
        types.push(DataType::UInt64);
        let schema = typed(&window.schema, &types)?;
        let plan = first(input, &call.params.partition_by, &call.params.order_by, limit, true)?;
        let last = plan.schema.len().saturating_sub(1);
        // What the order was computed from goes again; the number stays.
        let mut columns = plan.through();
        let mut own = plan.schema.to_vec();
        columns.drain(width..last);
        own.drain(width..last);
        let plan = Plan::map(plan, None, columns, schemas::RowSchema::new(own));
        Ok(Lowered { plan, schema })
    }
}

fn not_a_rank(place: &str) -> Refusal {
    let problem = format!("the window function `{place}` is not supported yet");
    let advice = "there is ROW_NUMBER() OVER (...) with its number bounded right above";
    Refusal::new(Code::Window, place, problem, advice)
}

/// The first rows of each partition. What the order leaves equal goes by the other columns.
fn first(
    input: Lowered,
    partition: &[Expr],
    order: &[SortExpr],
    limit: u64,
    rank: bool,
) -> Lowering<Plan> {
    let over = Over::new(&input);
    let mut keys = Vec::new();
    for planned in partition.iter().chain(order.iter().map(|sort| &sort.expr)) {
        keys.push(over.key(planned)?);
    }
    let (plan, mut places) = with(input.plan.clone(), keys);
    let sorted = places.split_off(partition.len());
    let mut by: Vec<SortBy> = Vec::new();
    for (column, sort) in sorted.into_iter().zip(order) {
        by.push(SortBy { column, descending: !sort.asc, nulls_first: sort.nulls_first });
    }
    for (column, own) in plan.schema.iter().enumerate() {
        let is_taken = by.iter().any(|by| by.column == column) || places.contains(&column);
        if !is_taken && own.kind != ColumnType::Double {
            by.push(SortBy { column, descending: false, nulls_first: false });
        }
    }
    let mut schema: Vec<_> = plan.schema.iter().map(|c| (c.name.clone(), c.kind)).collect();
    if rank {
        schema.push(("row_number".to_owned(), ColumnType::Bigint));
    }
    let node = Node::TopN { input: Box::new(plan), partition: places, order: by, limit, rank };
    Ok(Plan { node, schema: unique(schema) })
}

/// How many rows a filter looks at of the ROW_NUMBER right below, where it bounds it.
pub(super) fn bound(filter: &Filter) -> Lowering<Option<u64>> {
    let mut least = None;
    for part in split_conjunction(&filter.predicate) {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { continue };
        let (column, number, op) = match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(number, _)) => (column, number, Some(*op)),
            (Expr::Literal(number, _), Expr::Column(column)) => (column, number, op.swap()),
            _ => continue,
        };
        let ScalarValue::Int64(Some(number)) = number else { continue };
        let Some(at) = filter.input.schema().maybe_index_of_column(column) else { continue };
        if !is_rank(&filter.input, at) {
            continue;
        }
        let bound = match op {
            Some(Operator::Lt) => number.saturating_sub(1),
            Some(Operator::LtEq | Operator::Eq) => *number,
            _ => continue,
        };
        let bound = u64::try_from(bound).ok().filter(|bound| *bound > 0).ok_or_else(|| {
            let place = part.human_display().to_string();
            let problem = format!("`{place}` is true of no row: numbers begin at 1");
            Refusal::new(Code::Limit, place, problem, "raise the bound")
        })?;
        least = Some(least.map_or(bound, |least: u64| least.min(bound)));
    }
    Ok(least)
}

/// Whether a column is the number of a ROW_NUMBER, which nothing on the way looks at.
fn is_rank(planned: &LogicalPlan, at: usize) -> bool {
    match planned {
        LogicalPlan::SubqueryAlias(alias) => is_rank(&alias.input, at),
        LogicalPlan::Filter(filter) => is_rank(&filter.input, at),
        LogicalPlan::Window(window) => at >= window.input.schema().fields().len(),
        LogicalPlan::Projection(projection) => {
            let planned = projection.expr.get(at).map(|planned| planned.clone().unalias());
            let below = match planned {
                Some(Expr::Column(column)) => {
                    projection.input.schema().maybe_index_of_column(&column)
                }
                _ => None,
            };
            below.is_some_and(|at| is_rank(&projection.input, at))
        }
        _ => false,
    }
}
