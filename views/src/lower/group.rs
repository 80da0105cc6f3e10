//! GROUP BY: rows with keys and arguments first, then the aggregates over them.

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, Projection, cast, lit, when};
use expr::Expression;
use schemas::ColumnType;

use super::over::{period_of, unallocated};
use super::periods::Joined;
use super::{Lowered, Lowering, Over, Read, double, typed};
use crate::names::{ALLOCATE, ALLOCATED};
use crate::operator::{Call, Function};
use crate::percentile;
use crate::plan::{Node, Plan, unique};
use crate::refusal::{Code, Refusal};
use crate::sql::invalid;

/// The column that says whose a row is.
pub(crate) const TENANT: &str = "tenant_id";

/// A group of the outermost SELECT, over rows of tenant, period, other keys and arguments.
#[derive(Debug, Clone)]
pub(crate) struct Grouped {
    /// The key that is an instant whose period is meant.
    pub(crate) period: Option<usize>,
    /// The column of the rows up to which they count, where that is longer than an instant.
    pub(crate) until: Option<usize>,
    /// Whether they count in every period of which they have any time.
    pub(crate) overlaps: bool,
    pub(super) lowered: Lowered,
}

/// A key, where it stands in the GROUP BY.
struct Key {
    at: usize,
    name: String,
    read: Read,
    is_period: bool,
}

/// A group below the outermost SELECT.
pub(super) fn inner(aggregate: &Aggregate, input: &Lowered) -> Lowering<Lowered> {
    let over = Over::new(input);
    let mut keys = Vec::new();
    for (at, planned) in aggregate.group_expr.iter().enumerate() {
        let name = aggregate.schema.field(at).name().clone();
        keys.push(Key { at, name, read: over.key(planned)?, is_period: false });
    }
    Ok(group(aggregate, input, keys, None)?.lowered)
}

/// What a join with `periods` says of the rows that a group is of.
struct Spans<'a> {
    joined: &'a Joined<'a>,
    /// Up to when they count.
    until: Read,
}

/// The group that the outermost SELECT makes: `period()`, or the start of a period that rows are joined with, may
/// be one of its keys.
pub(super) fn root(
    aggregate: &Aggregate,
    projection: &Projection,
    input: &Lowered,
    joined: Option<&Joined<'_>>,
) -> Lowering<Grouped> {
    let over = Over::new(input);
    let mut keys: Vec<Key> = Vec::new();
    for (at, planned) in aggregate.group_expr.iter().enumerate() {
        let name = selected_as(aggregate, projection, at);
        let own = planned.clone().unalias();
        let of_join = joined.filter(|joined| joined.is_start(&own)).map(|joined| &joined.from);
        let period = period_of(planned).or(of_join);
        let read = over.key(period.unwrap_or(planned))?;
        let is_period = period.is_some();
        let problem = match read.kind {
            _ if !is_period => None,
            ColumnType::Timestamp if name == "period" => None,
            ColumnType::Timestamp => Some("must be selected AS period"),
            _ => Some("takes a timestamp; CAST it AS TIMESTAMP"),
        };
        let place = planned.human_display().to_string();
        if let Some(problem) = problem {
            let problem = format!("`{place}` {problem}");
            return Err(Refusal::new(Code::Period, place, problem, ""));
        }
        if is_period && keys.iter().any(|key| key.is_period) {
            let problem = format!("`{place}` is a second period");
            return Err(Refusal::new(Code::Period, place, problem, "a view has one"));
        }
        keys.push(Key { at, name, read, is_period });
    }
    keys.sort_by_key(|key| (key.name != TENANT, !key.is_period));
    let spans = joined.and_then(|joined| Some((joined, joined.until.as_ref()?)));
    let spans = spans.map(|(joined, until)| -> Lowering<Spans<'_>> {
        Ok(Spans { joined, until: ended(until, &over)? })
    });
    group(aggregate, input, keys, spans.transpose()?)
}

/// The instant up to which rows count.
fn ended(until: &Expr, over: &Over<'_>) -> Lowering<Read> {
    let read = over.key(until)?;
    if read.kind == ColumnType::Timestamp {
        return Ok(read);
    }
    let place = until.human_display().to_string();
    let problem = format!("`{place}` is {} and no instant", read.kind);
    Err(Refusal::new(Code::Period, place, problem, "CAST it AS TIMESTAMP"))
}

/// Of what is alive, or overlaps periods, there are sums and counts.
fn check_sums(calls: &[Call], overlaps: bool) -> Lowering<()> {
    let adds_up = |call: &&Call| {
        matches!(call.function, Function::Sum | Function::Count | Function::CountColumn)
    };
    let Some(other) = calls.iter().find(|call| !adds_up(call)) else { return Ok(()) };
    let what = if overlaps { "overlaps" } else { "is alive at the end of" };
    let problem = format!("`{}` of what {what} a period is not kept", other.text);
    let advice = "there are SUM and COUNT";
    Err(Refusal::new(Code::PeriodsUnbounded, &other.text, problem, advice))
}

/// The name of a key: what it is selected as, or what DataFusion calls it.
fn selected_as(aggregate: &Aggregate, projection: &Projection, at: usize) -> String {
    let (_, own) = aggregate.schema.qualified_field(at);
    let is_key = |planned: &Expr| match planned.clone().unalias() {
        Expr::Column(column) => aggregate.schema.maybe_index_of_column(&column) == Some(at),
        _ => false,
    };
    let selected = projection.expr.iter().position(is_key);
    let name = selected.map(|at| projection.schema.field(at).name().clone());
    name.unwrap_or_else(|| own.name().clone())
}

fn group(
    aggregate: &Aggregate,
    input: &Lowered,
    keys: Vec<Key>,
    spans: Option<Spans<'_>>,
) -> Lowering<Grouped> {
    let over = Over::new(input);
    let count = keys.len();
    let period = keys.iter().position(|key| key.is_period);
    let places: Vec<usize> = keys.iter().map(|key| key.at).collect();
    let mut rows: Vec<(String, Read)> = keys.into_iter().map(|key| (key.name, key.read)).collect();
    let joined = spans.as_ref().map(|spans| spans.joined);
    let until = spans.map(|spans| {
        rows.push(("until".to_owned(), spans.until));
        count
    });
    let overlaps = joined.is_some_and(|joined| joined.overlaps);
    let (mut calls, mut results) = (Vec::new(), Vec::new());
    for planned in &aggregate.aggr_expr {
        let (call, data) = call(planned, (&over, joined), &mut rows, count)?;
        calls.push(call);
        results.push(data);
    }
    if until.is_some() {
        check_sums(&calls, overlaps)?;
    }
    let kinds = rows.iter().map(|(name, read)| (name.clone(), read.kind));
    let schema = unique(kinds.collect::<Vec<_>>());
    let types: Vec<DataType> = rows.iter().map(|(_, read)| read.data.clone()).collect();
    let columns: Vec<Expression> = rows.into_iter().map(|(_, read)| read.expression).collect();
    let rows = Plan::map(input.plan.clone(), None, columns, schema);
    // As DataFusion names them, in the order that they have here.
    let theirs: Vec<_> = aggregate.schema.iter().collect();
    let names = places.iter().copied().chain(count..count + calls.len());
    let fields = names.filter_map(|at| {
        let (qualifier, field) = theirs.get(at)?;
        Some((qualifier.cloned(), std::sync::Arc::clone(field)))
    });
    let named =
        datafusion::common::DFSchema::new_with_metadata(fields.collect(), Default::default());
    let named = named.map_err(|error| invalid(&error))?;
    if theirs.len() != count + calls.len() || named.fields().len() != theirs.len() {
        let place = aggregate.group_expr.iter().map(|key| key.human_display().to_string());
        let place = place.collect::<Vec<_>>().join(", ");
        let problem = "two keys of a GROUP BY are the same";
        return Err(Refusal::new(Code::NotSupported, place, problem, "leave one out"));
    }
    let types: Vec<DataType> = types.into_iter().take(count).chain(results).collect();
    let kinds = calls.iter().zip(types.iter().skip(count)).map(|(call, data)| {
        let argument = call.column.and_then(|at| rows.schema.kind(at));
        Ok((call.text.clone(), result(call, argument, data)?))
    });
    let kinds = kinds.collect::<Result<Vec<_>, Refusal>>()?;
    let own = rows.schema.iter().take(count).map(|c| (c.name.clone(), c.kind)).chain(kinds);
    let own = unique(own.collect::<Vec<_>>());
    let node = Node::Group { input: Box::new(rows), keys: (0..count).collect(), calls };
    let lowered = Lowered { plan: Plan { node, schema: own }, schema: typed(&named, &types)? };
    Ok(Grouped { period, until, overlaps, lowered })
}

/// An aggregate, its argument added to `rows`, and its type to DataFusion.
fn call(
    planned: &Expr,
    (over, joined): (&Over<'_>, Option<&Joined<'_>>),
    rows: &mut Vec<(String, Read)>,
    keys: usize,
) -> Lowering<(Call, DataType)> {
    let own = planned.clone().unalias_nested().data;
    let place = own.human_display().to_string();
    let Expr::AggregateFunction(aggregate) = &own else {
        let problem = format!("`{place}` is no aggregate");
        return Err(Refusal::new(Code::Aggregate, place, problem, ""));
    };
    let (function, argument) = function(aggregate, &place)?;
    let data = over.data_type(&own)?;
    let allocated = argument.and_then(allocation);
    let allocates = allocated.is_some();
    let spread =
        allocated.map(|parts| spread(parts, function, (over, joined), &place)).transpose()?;
    let argument = spread.as_ref().or(argument);
    let filtered = match (argument, &aggregate.params.filter) {
        (None, None) => None,
        (Some(argument), None) => Some(argument.clone()),
        (argument, Some(filter)) => {
            let argument = argument.cloned().unwrap_or_else(|| lit(true));
            let case = when((**filter).clone(), argument).end();
            Some(case.map_err(|error| invalid(&error))?)
        }
    };
    let Some(argument) = filtered else {
        let text = "COUNT(*)".to_owned();
        return Ok((Call { function, column: None, filter: None, allocates, text }, data));
    };
    let read = over.read(&argument)?;
    let share = match function {
        Function::Percentile { millionths, .. } => format!(", {}", percentile::share(millionths)),
        _ => String::new(),
    };
    let text = match allocates {
        true => place.clone(),
        false => format!("{}({}{share})", name(function), read.expression.text()),
    };
    let found = rows.iter().position(|(_, other)| other.expression == read.expression);
    let column = match found {
        // A key of the same text is taken, too.
        Some(at) => at,
        None => {
            let name = match read.expression.as_column() {
                Some(_) => read.expression.text().trim_matches('"').to_owned(),
                None => format!("argument_{}", rows.len() - keys + 1),
            };
            rows.push((name, read));
            rows.len() - 1
        }
    };
    let function = if function == Function::Count { Function::CountColumn } else { function };
    Ok((Call { function, column: Some(column), filter: None, allocates, text }, data))
}

/// The arguments of a call of `allocate`.
fn allocation(planned: &Expr) -> Option<&[Expr]> {
    match planned {
        Expr::Alias(alias) => allocation(&alias.expr),
        Expr::ScalarFunction(call) if call.func.name() == ALLOCATE => Some(&call.args),
        _ => None,
    }
}

/// The number that a SUM spreads over the days of its rows.
fn spread(
    parts: &[Expr],
    function: Function,
    (over, joined): (&Over<'_>, Option<&Joined<'_>>),
    place: &str,
) -> Lowering<Expr> {
    let joined = joined.filter(|joined| joined.overlaps && function == Function::Sum);
    let (Some(joined), [amount, from, to]) = (joined, parts) else {
        return Err(unallocated(place));
    };
    if *from != joined.from || Some(to) != joined.until.as_ref() {
        let problem = format!("`{place}` is of other instants than the join with `periods`");
        let advice = format!(
            "write allocate(amount, {}, {})",
            joined.from.human_display(),
            joined.until.iter().map(|until| until.human_display().to_string()).collect::<String>()
        );
        return Err(Refusal::new(Code::PeriodsUnbounded, place, problem, advice));
    }
    match over.read(amount)?.kind {
        ColumnType::Decimal { scale, .. } if scale > 10 => {
            let problem =
                format!("`{place}` spreads a number of more than 10 digits after the point");
            Err(Refusal::new(Code::Aggregate, place, problem, "CAST it to fewer digits"))
        }
        _ => Ok(cast(amount.clone(), ALLOCATED)),
    }
}

/// What an aggregate does, and of what.
fn function<'a>(
    aggregate: &'a AggregateFunction,
    place: &str,
) -> Lowering<(Function, Option<&'a Expr>)> {
    let params = &aggregate.params;
    let refused =
        |problem: String, advice: &str| Err(Refusal::new(Code::Aggregate, place, problem, advice));
    if !params.order_by.is_empty() || params.null_treatment.is_some() {
        return refused(format!("`{place}` has an order"), "leave it out");
    }
    let named = percentile::NAMES.iter().find(|(name, _)| *name == aggregate.func.name());
    if let ([argument, share], Some((_, cuts))) = (params.args.as_slice(), named) {
        let millionths = match share {
            Expr::Literal(share, _) if !params.distinct => percentile::millionths(share),
            _ => None,
        };
        let Some(millionths) = millionths else {
            let problem = format!("the share of `{place}` is no number from 0 to 1");
            return refused(problem, "write it out, with at most six digits: 0.95");
        };
        return Ok((Function::Percentile { millionths, cuts: *cuts }, Some(argument)));
    }
    let [argument] = params.args.as_slice() else {
        return refused(format!("`{place}` takes one argument"), "join texts with ||");
    };
    let is_literal = matches!(argument, Expr::Literal(value, _) if !value.is_null());
    let function = match aggregate.func.name() {
        "count" if params.distinct => Function::CountDistinct,
        "count" if is_literal => return Ok((Function::Count, None)),
        "count" => Function::CountColumn,
        "min" => Function::Min,
        "max" => Function::Max,
        "bool_and" => Function::BoolAnd,
        "bool_or" => Function::BoolOr,
        "sum" if !params.distinct => Function::Sum,
        "avg" if !params.distinct => Function::Avg,
        _ => {
            let advice = "there are COUNT, COUNT(DISTINCT x), SUM, AVG, MIN, MAX, BOOL_AND, BOOL_OR, \
                 PERCENTILE_EXACT(x, 0.95), APPROX_PERCENTILE_CONT(x, 0.95)";
            return refused(format!("`{place}` is not supported"), advice);
        }
    };
    Ok((function, Some(argument)))
}

/// The name that a function is called by.
pub(crate) fn name(function: Function) -> &'static str {
    match function {
        Function::Count | Function::CountColumn => "COUNT",
        Function::CountDistinct => "COUNT DISTINCT",
        Function::Sum => "SUM",
        Function::Avg => "AVG",
        Function::Min => "MIN",
        Function::Max => "MAX",
        Function::BoolAnd => "BOOL_AND",
        Function::BoolOr => "BOOL_OR",
        Function::Percentile { cuts: false, .. } => "PERCENTILE_EXACT",
        Function::Percentile { cuts: true, .. } => "APPROX_PERCENTILE_CONT",
    }
}

/// The type of what an aggregate gives.
fn result(call: &Call, argument: Option<ColumnType>, data: &DataType) -> Lowering<ColumnType> {
    let text = &call.text;
    if argument == Some(ColumnType::Double) && call.function != Function::CountColumn {
        return Err(double(text));
    }
    let refused =
        |problem: String, advice: &str| Err(Refusal::new(Code::Aggregate, text, problem, advice));
    match (call.function, argument, data) {
        (Function::Count | Function::CountColumn | Function::CountDistinct, ..) => {
            Ok(ColumnType::Bigint)
        }
        (Function::Min | Function::Max, Some(ColumnType::Json), _) => {
            refused(format!("`{text}` is of JSON, which has no order"), "CAST it to text")
        }
        (Function::Min | Function::Max, Some(kind), _) => Ok(kind),
        (Function::BoolAnd | Function::BoolOr, Some(ColumnType::Boolean), _) => {
            Ok(ColumnType::Boolean)
        }
        (Function::Sum, Some(ColumnType::Bigint), DataType::Int64) => Ok(ColumnType::Bigint),
        (
            Function::Percentile { .. },
            Some(kind @ (ColumnType::Bigint | ColumnType::Decimal { .. })),
            _,
        ) => Ok(kind),
        (
            Function::Sum | Function::Avg,
            Some(ColumnType::Decimal { .. }),
            DataType::Decimal128(precision, scale),
        ) => {
            let scale = u8::try_from(*scale).unwrap_or_default();
            Ok(ColumnType::Decimal { precision: *precision, scale })
        }
        (Function::Avg, Some(ColumnType::Bigint), _) => {
            let problem = format!("`{text}` of whole numbers is a double, which is not exact");
            let advice = "write AVG(CAST(x AS DECIMAL(20,0)))";
            Err(Refusal::new(Code::Double, text, problem, advice))
        }
        _ => refused(format!("`{text}` takes another type"), "CAST its argument"),
    }
}
