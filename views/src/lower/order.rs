//! The first rows in an order: LIMIT, and ROW_NUMBER with a bound.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Dependency, ScalarValue};
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Filter, Limit, LogicalPlan, Operator, SkipType, Sort, Window,
    WindowFrame, WindowFunctionDefinition,
};
use schemas::{ColumnType, RowSchema};

use super::join::with;
use super::{Lower, Lowered, Lowering, Over, Read, double, project, typed};
use crate::operator::{SortBy, WindowFunction as Function};
use crate::plan::{Node, Plan, unique};
use crate::refusal::{Code, Refusal};
use crate::sql::invalid;

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
        let calls = window.window_expr.iter().map(|planned| {
            let place = planned.human_display().to_string();
            match planned.clone().unalias() {
                Expr::WindowFunction(call) => Ok((*call, place)),
                _ => Err(unknown(&place)),
            }
        });
        let calls = calls.collect::<Result<Vec<(WindowFunction, String)>, _>>()?;
        let is_rank = |(call, _): &(WindowFunction, String)| name(call) == "row_number";
        if let Some((_, place)) = calls.iter().find(|call| is_rank(call)) {
            if calls.len() > 1 {
                let problem = format!("`{place}` stands beside another window function");
                return Err(Refusal::new(Code::Window, place, problem, "use a subquery for each"));
            }
            if rank.is_none() {
                let problem = "ROW_NUMBER() without a bound numbers every row anew at each change";
                let advice = "select it in a subquery AS rn, and write WHERE rn <= 10 in the \
                              SELECT around it";
                return Err(Refusal::new(Code::Window, place, problem, advice));
            }
        }
        let mut input = self.lower(&window.input, None)?;
        let width = input.plan.schema.len();
        let mut types = input.types();
        for (at, (call, place)) in calls.iter().enumerate() {
            let data = match name(call) {
                "row_number" => DataType::UInt64,
                _ => Over::new(&input).data_type(&Expr::from(call.clone()))?,
            };
            let is_unique = is_unique(window.input.schema(), &call.params.order_by);
            let plan = over(input.clone(), call, place, (rank, is_unique))?;
            let last = plan.schema.len().saturating_sub(1);
            // What it was computed from goes again; the number stays.
            let mut columns = plan.through();
            let mut own = plan.schema.to_vec();
            columns.drain(width + at..last);
            own.drain(width + at..last);
            types.push(data);
            let names = first_of(&window.schema, types.len())?;
            let plan = Plan::map(plan, None, columns, RowSchema::new(own));
            input = Lowered { plan, schema: typed(&names, &types)? };
        }
        Ok(input)
    }
}

/// The first columns of a schema.
fn first_of(schema: &DFSchema, count: usize) -> Lowering<DFSchema> {
    let fields = schema.iter().take(count);
    let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
    let schema = DFSchema::new_with_metadata(fields.collect(), Default::default());
    schema.map_err(|error| invalid(&error))
}

fn name(call: &WindowFunction) -> &str {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => function.name(),
        WindowFunctionDefinition::AggregateUDF(function) => function.name(),
    }
}

fn unknown(place: &str) -> Refusal {
    let problem = format!("the window function `{place}` is not supported");
    let advice = "there are ROW_NUMBER() with a bound, LAG(x, n) and running sums, \
                  OVER (PARTITION BY ... ORDER BY ...)";
    Refusal::new(Code::Window, place, problem, advice)
}

/// Whether no two rows are equal in the order, as far as DataFusion knows: the only key of a group.
fn is_unique(schema: &DFSchema, order: &[SortExpr]) -> bool {
    let Some(Expr::Column(first)) = order.first().map(|sort| &sort.expr) else { return false };
    let Some(at) = schema.maybe_index_of_column(first) else { return false };
    let keys = schema.functional_dependencies();
    keys.iter().any(|key| key.source_indices == [at] && key.mode == Dependency::Single)
}

/// Rows with what a window function says of them.
fn over(
    input: Lowered,
    call: &WindowFunction,
    place: &str,
    (rank, is_unique): (Option<u64>, bool),
) -> Lowering<Plan> {
    let params = &call.params;
    if params.filter.is_some() || params.distinct || params.null_treatment.is_some() {
        return Err(unknown(place));
    }
    if params.order_by.is_empty() {
        let problem = format!("`{place}` has no order: rows come in any");
        return Err(Refusal::new(Code::Window, place, problem, "add ORDER BY"));
    }
    if let ("row_number", Some(limit)) = (name(call), rank) {
        return first(input, &params.partition_by, &params.order_by, limit, true);
    }
    // Up to the row and its peers, which is what there is without a frame.
    let is_plain = params.window_frame == WindowFrame::new(Some(false))
        || (is_unique && params.window_frame == WindowFrame::new(Some(true)));
    let (argument, by) = match (name(call), params.args.as_slice()) {
        ("sum", [argument]) if is_plain => (argument, None),
        ("lag", [argument]) => (argument, Some(1)),
        ("lag", [argument, Expr::Literal(ScalarValue::Int64(Some(by)), _)]) if *by > 0 => {
            (argument, Some(usize::try_from(*by).unwrap_or(usize::MAX)))
        }
        _ => return Err(unknown(place)),
    };
    let argument = Over::new(&input).read(argument)?;
    let kind = match (by, argument.kind) {
        (Some(_), kind) => kind,
        (None, ColumnType::Bigint) => ColumnType::Bigint,
        (None, ColumnType::Decimal { precision, scale }) => {
            ColumnType::Decimal { precision: precision.saturating_add(10).min(38), scale }
        }
        (None, ColumnType::Double) => return Err(double(place)),
        (None, _) => return Err(unknown(place)),
    };
    let (plan, partition, order, argument) =
        ordered(&input, &params.partition_by, &params.order_by, Some(argument), by.is_some())?;
    let column = argument.unwrap_or_default();
    let function = match by {
        Some(by) => Function::Lag { column, by },
        None => Function::RunningSum { column },
    };
    let mut schema: Vec<_> = plan.schema.iter().map(|c| (c.name.clone(), c.kind)).collect();
    schema.push((if by.is_some() { "lag" } else { "running_sum" }.to_owned(), kind));
    let node = Node::Window { input: Box::new(plan), partition, order, function };
    Ok(Plan { node, schema: unique(schema) })
}

/// The first rows of each partition. What the order leaves equal goes by the other columns.
fn first(
    input: Lowered,
    partition: &[Expr],
    order: &[SortExpr],
    limit: u64,
    rank: bool,
) -> Lowering<Plan> {
    let (plan, partition, order, _) = ordered(&input, partition, order, None, true)?;
    let mut schema: Vec<_> = plan.schema.iter().map(|c| (c.name.clone(), c.kind)).collect();
    if rank {
        schema.push(("row_number".to_owned(), ColumnType::Bigint));
    }
    let node = Node::TopN { input: Box::new(plan), partition, order, limit, rank };
    Ok(Plan { node, schema: unique(schema) })
}

/// A step with the columns of a partition and an order, and of an argument, and where they stand. With `all`
/// the order goes on with the other columns.
#[expect(clippy::type_complexity, reason = "named where it is taken apart")]
fn ordered(
    input: &Lowered,
    partition: &[Expr],
    order: &[SortExpr],
    argument: Option<Read>,
    all: bool,
) -> Lowering<(Plan, Vec<usize>, Vec<SortBy>, Option<usize>)> {
    let over = Over::new(input);
    let mut wanted = Vec::new();
    for planned in partition.iter().chain(order.iter().map(|sort| &sort.expr)) {
        wanted.push(over.key(planned)?);
    }
    let has_argument = argument.is_some();
    wanted.extend(argument);
    let (plan, mut places) = with(input.plan.clone(), wanted);
    let argument = if has_argument { places.pop() } else { None };
    let sorted = places.split_off(partition.len());
    let mut by: Vec<SortBy> = Vec::new();
    for (column, sort) in sorted.into_iter().zip(order) {
        by.push(SortBy { column, descending: !sort.asc, nulls_first: sort.nulls_first });
    }
    for (column, own) in plan.schema.iter().enumerate().filter(|_| all) {
        let is_taken = by.iter().any(|by| by.column == column) || places.contains(&column);
        if !is_taken && own.kind != ColumnType::Double {
            by.push(SortBy { column, descending: false, nulls_first: false });
        }
    }
    Ok((plan, places, by, argument))
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
