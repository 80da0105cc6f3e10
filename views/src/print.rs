//! A plan as SQL that DataFusion can run. What an order leaves open is in it.

use expr::Expression;
pub(crate) use expr::quoted;

use crate::lower::call_name;
use crate::operator::{Call, Function, JoinKind, SortBy, WindowFunction};
use crate::percentile::share;
use crate::plan::{Node, Plan};

/// What the input of a step is called in its SQL, and the two of a join. A column of a join may be called by what its
/// table is called, as `l.id`; none is by these.
pub(crate) const INPUT: &str = "\"weir input\"";
pub(crate) const LEFT: &str = "\"weir left\"";
pub(crate) const RIGHT: &str = "\"weir right\"";

/// The step as SQL. What an order leaves open is in it.
pub(crate) fn sql(plan: &Plan) -> String {
    let sources: Vec<String> = plan.inputs().into_iter().map(source).collect();
    step(plan, &sources, &[])
}

/// The same over these in the place of the steps below it, with `more` of each in its SELECT.
pub(crate) fn step(plan: &Plan, sources: &[String], more: &[String]) -> String {
    let own = |at: usize| quoted(plan.schema.get(at).map_or("", |column| &column.name));
    let of = |of: &Plan, at: usize| quoted(of.schema.get(at).map_or("", |column| &column.name));
    let text = |of: &[String], at: usize| of.get(at).cloned().unwrap_or_default();
    let (from, also) = (format!("{} AS {INPUT}", text(sources, 0)), text(more, 0));
    let renamed = |input: &Plan, count: usize| {
        let columns = (0..count).map(|at| format!("{} AS {}", of(input, at), own(at)));
        columns.collect::<Vec<_>>().join(", ")
    };
    match &plan.node {
        Node::Scan { relation } => {
            let columns: Vec<String> = (0..plan.schema.len()).map(own).collect();
            format!("SELECT {} FROM {}", columns.join(", "), quoted(relation))
        }
        Node::Map { condition, columns, .. } => {
            let condition = taken(condition.as_ref(), columns);
            let columns = columns.iter().enumerate();
            let columns = columns.map(|(at, column)| format!("{} AS {}", column.sql(), own(at)));
            let columns = columns.collect::<Vec<_>>().join(", ");
            format!("SELECT {columns}{also} FROM {from}{condition}")
        }
        Node::Union { inputs } => {
            let inputs = inputs.iter().enumerate().map(|(at, input)| {
                let (columns, also) = (renamed(input, plan.schema.len()), text(more, at));
                format!("SELECT {columns}{also} FROM {} AS {INPUT}", text(sources, at))
            });
            inputs.collect::<Vec<_>>().join(" UNION ALL ")
        }
        Node::Distinct { input } => {
            format!("SELECT DISTINCT {}{also} FROM {from}", renamed(input, plan.schema.len()))
        }
        Node::Join { left, right, on, kind } => {
            let columns =
                (0..plan.schema.len()).map(|at| match at.checked_sub(left.schema.len()) {
                    None => format!("{LEFT}.{} AS {}", of(left, at), own(at)),
                    Some(other) => format!("{RIGHT}.{} AS {}", of(right, other), own(at)),
                });
            let columns = columns.collect::<Vec<_>>().join(", ") + &more.concat();
            let on = on
                .iter()
                .map(|(a, b)| format!("{LEFT}.{} = {RIGHT}.{}", of(left, *a), of(right, *b)));
            let on = on.collect::<Vec<_>>().join(" AND ");
            let kind = if *kind == JoinKind::Left { "LEFT JOIN" } else { "JOIN" };
            let (left, right) = (text(sources, 0), text(sources, 1));
            format!("SELECT {columns} FROM {left} AS {LEFT} {kind} {right} AS {RIGHT} ON {on}")
        }
        Node::Group { input, keys, calls } => group_sql(plan, (input, &from), keys, calls),
        Node::TopN { input, partition, order, limit, rank } => {
            let columns = renamed(input, input.schema.len()) + &also;
            let (order, last) = (by(input, order), own(input.schema.len()));
            if !rank && partition.is_empty() {
                return format!("SELECT {columns} FROM {from} ORDER BY {order} LIMIT {limit}");
            }
            let number = format!("ROW_NUMBER() OVER ({}ORDER BY {order})", each(input, partition));
            let inner = format!("SELECT {columns}, CAST({number} AS BIGINT) AS {last} FROM {from}");
            format!("SELECT * FROM ({inner}) AS {INPUT} WHERE {last} <= {limit}")
        }
        Node::Window { input, partition, order, function } => {
            let columns = renamed(input, input.schema.len()) + &also;
            let (each, order) = (each(input, partition), by(input, order));
            let (function, last) = (window_sql(*function, input), own(input.schema.len()));
            format!(
                "SELECT {columns}, {function} OVER ({each}ORDER BY {order}) AS {last} FROM {from}"
            )
        }
    }
}

/// The WHERE of a step that selects and computes: rows on which something divides by zero are left out.
fn taken(condition: Option<&Expression>, columns: &[Expression]) -> String {
    let guards = condition.into_iter().chain(columns).flat_map(Expression::guards).cloned();
    // What the condition does not take is not divided.
    let condition = condition.map(|own| format!("({})", own.sql()));
    let all: Vec<String> = condition.into_iter().chain(guards).collect();
    if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) }
}

fn group_sql(plan: &Plan, (input, from): (&Plan, &str), keys: &[usize], calls: &[Call]) -> String {
    let name = |of: &Plan, at: usize| quoted(of.schema.get(at).map_or("", |column| &column.name));
    let columns = keys.iter().enumerate();
    let columns = columns.map(|(at, key)| format!("{} AS {}", name(input, *key), name(plan, at)));
    let results = calls
        .iter()
        .enumerate()
        .map(|(at, call)| format!("{} AS {}", call_sql(call, input), name(plan, keys.len() + at)));
    let columns = columns.chain(results).collect::<Vec<_>>().join(", ");
    let keys: Vec<String> = keys.iter().map(|key| name(input, *key)).collect();
    let by = if keys.is_empty() { "" } else { " GROUP BY " };
    format!("SELECT {columns} FROM {from}{by}{}", keys.join(", "))
}

/// The partition of an OVER.
fn each(input: &Plan, partition: &[usize]) -> String {
    let names = partition.iter().filter_map(|at| input.schema.get(*at));
    let names = names.map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
    if names.is_empty() { names } else { format!("PARTITION BY {names} ") }
}

/// A call of a window function, its window left out.
pub(crate) fn window_sql(function: WindowFunction, input: &Plan) -> String {
    let name = |at: usize| quoted(input.schema.get(at).map_or("", |column| &column.name));
    match function {
        WindowFunction::Lag { column, by } => format!("LAG({}, {by})", name(column)),
        WindowFunction::RunningSum { column } => format!("SUM({})", name(column)),
    }
}

fn call_sql(call: &Call, input: &Plan) -> String {
    let column = call.column.and_then(|at| input.schema.get(at));
    let column = column.map_or("*".to_owned(), |column| quoted(&column.name));
    match call.function {
        Function::CountDistinct => format!("COUNT(DISTINCT {column})"),
        Function::Percentile { millionths, .. } => {
            format!("{}({column}, {})", call_name(call.function), share(millionths))
        }
        function => format!("{}({column})", call_name(function)),
    }
}

fn by(input: &Plan, order: &[SortBy]) -> String {
    let order = order.iter().map(|by| {
        let name = quoted(input.schema.get(by.column).map_or("", |column| &column.name));
        let way = if by.descending { "DESC" } else { "ASC" };
        format!("{name} {way} NULLS {}", if by.nulls_first { "FIRST" } else { "LAST" })
    });
    order.collect::<Vec<_>>().join(", ")
}

/// A step as what FROM takes, without a name.
pub(crate) fn source(plan: &Plan) -> String {
    match &plan.node {
        Node::Scan { relation } => quoted(relation),
        _ => format!("({})", sql(plan)),
    }
}
