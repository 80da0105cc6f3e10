//! What a view is made of, in words: its steps with what a change costs them and what they keep; and the
//! same as SQL that DataFusion can run.

use std::fmt;

use expr::Expression;

use crate::lower::call_name;
use crate::operator::{Call, Function, JoinKind, SortBy};
use crate::plan::{Node, Plan};

/// What a view is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explain {
    /// How it is kept up to date: `T1`, by counted state. Nothing else is accepted.
    pub tier: &'static str,
    /// Its steps, the last one first, each before those that it reads.
    pub nodes: Vec<NodeCost>,
    /// Expressions that fail on some rows, which are left out then.
    pub failures: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCost {
    /// How many steps it is below the last one.
    pub depth: usize,
    /// What it does.
    pub what: String,
    /// What a changed row costs.
    pub cost: &'static str,
    /// What it keeps in memory.
    pub keeps: &'static str,
}

impl Explain {
    pub(crate) fn of(plan: &Plan) -> Explain {
        let mut explain = Explain { tier: "T1", nodes: Vec::new(), failures: Vec::new() };
        explain.add(plan, 0);
        explain
    }

    fn add(&mut self, plan: &Plan, depth: usize) {
        let (cost, keeps) = costs(&plan.node);
        self.nodes.push(NodeCost { depth, what: what(plan), cost, keeps });
        if let Node::Map { condition, columns, .. } = &plan.node {
            let failures = condition.iter().chain(columns).filter_map(Expression::failure);
            self.failures.extend(failures.map(str::to_owned));
        }
        plan.inputs().into_iter().for_each(|input| self.add(input, depth + 1));
    }
}

impl fmt::Display for Explain {
    /// A line for each step, as deep as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let NodeCost { depth, what, cost, keeps } = node;
            writeln!(f, "{}{what}  [{cost}; keeps {keeps}]", "  ".repeat(*depth))?;
        }
        self.failures.iter().try_for_each(|why| writeln!(f, "rows may be left out: {why}"))
    }
}

fn costs(node: &Node) -> (&'static str, &'static str) {
    match node {
        Node::Scan { .. } | Node::Map { .. } | Node::Union { .. } => ("constant", "nothing"),
        Node::Distinct { .. } => ("constant", "each row once"),
        Node::Join { .. } => ("its matches", "the rows of both sides"),
        Node::TopN { .. } => ("logarithm of the partition", "all rows, in order"),
        Node::Group { calls, .. } => {
            let has = |wanted: &[Function]| calls.iter().any(|c| wanted.contains(&c.function));
            if has(&[Function::Min, Function::Max]) {
                ("logarithm of the group", "each group, with its values in order")
            } else if has(&[Function::CountDistinct]) {
                ("constant", "each group, with its values")
            } else {
                ("constant", "each group")
            }
        }
    }
}

fn what(plan: &Plan) -> String {
    let name = |of: &Plan, at: usize| of.schema.get(at).map_or("?", |c| &*c.name).to_owned();
    let names = |of: &Plan, columns: &[usize]| {
        columns.iter().map(|at| name(of, *at)).collect::<Vec<_>>().join(", ")
    };
    match &plan.node {
        Node::Scan { relation } => format!("read {relation}"),
        Node::Map { condition, columns, .. } => {
            let columns = columns.iter().zip(plan.schema.iter()).map(|(expression, column)| {
                let text = expression.text();
                let is_named_so = text.trim_matches('"') == column.name;
                if is_named_so { text.to_owned() } else { format!("{text} AS {}", column.name) }
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            let condition = condition.iter().map(|c| format!(" where {c}")).collect::<String>();
            format!("select {columns}{condition}")
        }
        Node::Union { .. } => "union all".to_owned(),
        Node::Distinct { .. } => "distinct".to_owned(),
        Node::Join { left, right, on, kind } => {
            let on = on.iter().map(|(a, b)| format!("{} = {}", name(left, *a), name(right, *b)));
            let on = on.collect::<Vec<_>>().join(" and ");
            format!("{} on {on}", if *kind == JoinKind::Left { "left join" } else { "join" })
        }
        Node::Group { input, keys, calls } => {
            let calls = calls.iter().map(|call| call.text.clone()).collect::<Vec<_>>().join(", ");
            format!("group by {}: {calls}", names(input, keys))
        }
        Node::TopN { input, partition, order, limit, .. } => {
            let order: Vec<usize> = order.iter().map(|by| by.column).collect();
            let (partition, order) = (names(input, partition), names(input, &order));
            format!("first {limit} of each ({partition}) by {order}")
        }
    }
}

/// A name in double quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The step as SQL. What an order leaves open is in it.
pub(crate) fn sql(plan: &Plan) -> String {
    let own = |at: usize| quoted(plan.schema.get(at).map_or("", |column| &column.name));
    let of = |of: &Plan, at: usize| quoted(of.schema.get(at).map_or("", |column| &column.name));
    let renamed = |input: &Plan, count: usize| {
        let columns = (0..count).map(|at| format!("{} AS {}", of(input, at), own(at)));
        columns.collect::<Vec<_>>().join(", ")
    };
    match &plan.node {
        Node::Scan { relation } => {
            let columns: Vec<String> = (0..plan.schema.len()).map(own).collect();
            format!("SELECT {} FROM {}", columns.join(", "), quoted(relation))
        }
        Node::Map { input, condition, columns } => {
            let columns = columns.iter().enumerate();
            let columns = columns.map(|(at, column)| format!("{column} AS {}", own(at)));
            let columns = columns.collect::<Vec<_>>().join(", ");
            let condition = condition.iter().map(|c| format!(" WHERE {c}")).collect::<String>();
            format!("SELECT {columns} FROM {}{condition}", from(input))
        }
        Node::Union { inputs } => {
            let inputs = inputs.iter().map(|input| {
                format!("SELECT {} FROM {}", renamed(input, plan.schema.len()), from(input))
            });
            inputs.collect::<Vec<_>>().join(" UNION ALL ")
        }
        Node::Distinct { input } => {
            format!("SELECT DISTINCT {} FROM {}", renamed(input, plan.schema.len()), from(input))
        }
        Node::Join { left, right, on, kind } => {
            let width = left.schema.len();
            let columns = (0..plan.schema.len()).map(|at| match at.checked_sub(width) {
                None => format!("l.{} AS {}", of(left, at), own(at)),
                Some(other) => format!("r.{} AS {}", of(right, other), own(at)),
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            let on = on.iter().map(|(a, b)| format!("l.{} = r.{}", of(left, *a), of(right, *b)));
            let on = on.collect::<Vec<_>>().join(" AND ");
            let kind = if *kind == JoinKind::Left { "LEFT JOIN" } else { "JOIN" };
            let (left, right) = (source(left), source(right));
            format!("SELECT {columns} FROM {left} AS l {kind} {right} AS r ON {on}")
        }
        Node::Group { input, keys, calls } => {
            let columns = keys.iter().enumerate();
            let columns = columns.map(|(at, key)| format!("{} AS {}", of(input, *key), own(at)));
            let calls = calls
                .iter()
                .enumerate()
                .map(|(at, call)| format!("{} AS {}", call_sql(call, input), own(keys.len() + at)));
            let columns = columns.chain(calls).collect::<Vec<_>>().join(", ");
            let keys: Vec<String> = keys.iter().map(|key| of(input, *key)).collect();
            let by = if keys.is_empty() { "" } else { " GROUP BY " };
            format!("SELECT {columns} FROM {}{by}{}", from(input), keys.join(", "))
        }
        Node::TopN { input, partition, order, limit, rank } => {
            let columns = renamed(input, input.schema.len());
            let order = by(input, order);
            if !rank && partition.is_empty() {
                return format!(
                    "SELECT {columns} FROM {} ORDER BY {order} LIMIT {limit}",
                    from(input)
                );
            }
            let each = partition.iter().map(|at| of(input, *at)).collect::<Vec<_>>().join(", ");
            let each = if each.is_empty() { each } else { format!("PARTITION BY {each} ") };
            let (last, from) = (own(input.schema.len()), from(input));
            let number = format!("ROW_NUMBER() OVER ({each}ORDER BY {order})");
            let inner = format!("SELECT {columns}, CAST({number} AS BIGINT) AS {last} FROM {from}");
            format!("SELECT * FROM ({inner}) AS it WHERE {last} <= {limit}")
        }
    }
}

fn call_sql(call: &Call, input: &Plan) -> String {
    let column = call.column.and_then(|at| input.schema.get(at));
    let column = column.map_or("*".to_owned(), |column| quoted(&column.name));
    match call.function {
        Function::CountDistinct => format!("COUNT(DISTINCT {column})"),
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
fn source(plan: &Plan) -> String {
    match &plan.node {
        Node::Scan { relation } => quoted(relation),
        _ => format!("({})", sql(plan)),
    }
}

fn from(plan: &Plan) -> String {
    format!("{} AS it", source(plan))
}
