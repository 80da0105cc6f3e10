//! What a view is made of, in words: its steps with what a change costs them and what they keep.

use std::fmt;

use expr::Expression;

use crate::operator::{Call, Function, JoinKind, WindowFunction};
use crate::plan::{Node, Plan};
use crate::print::window_sql;

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
    /// What a plan is made of. Its group may be of what overlaps each period, or else is alive at its end.
    pub(crate) fn of(plan: &Plan, overlaps: Option<bool>) -> Explain {
        let mut explain = Explain { tier: "T1", nodes: Vec::new(), failures: Vec::new() };
        explain.add(plan, 0);
        let group = explain.nodes.iter_mut().find(|n| n.what.starts_with("group"));
        match (overlaps, group) {
            (Some(true), Some(group)) => {
                group.what.push_str(", of what overlaps each period");
                group.cost = "every period that the row overlaps";
                group.keeps = "each series and period, and from which day to which there are rows";
            }
            (Some(false), Some(group)) => {
                group.what.push_str(", of what is alive at the end of each period");
                group.cost = "every later period of its series";
                group.keeps = "each series and period, and the days on which rows came or went";
            }
            _ => {}
        }
        explain
    }

    fn add(&mut self, plan: &Plan, depth: usize) {
        let (cost, keeps) = costs(&plan.node);
        self.nodes.push(NodeCost { depth, what: what(plan), cost, keeps });
        if let Node::Map { condition, columns, .. } = &plan.node {
            let failures = condition.iter().chain(columns).flat_map(Expression::failures);
            self.failures.extend(failures.cloned());
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
        Node::Window { function: WindowFunction::Lag { .. }, .. } => {
            ("the rows that it is before", "all rows, in order")
        }
        Node::Window { .. } => ("the rows behind it", "all rows, in order"),
        Node::Group { calls, .. } => {
            let has = |wanted: &[Function]| calls.iter().any(|c| wanted.contains(&c.function));
            let is_percentile = |call: &Call| matches!(call.function, Function::Percentile { .. });
            if calls.iter().any(is_percentile) {
                ("the different values of the group", "each group, with its values in order")
            } else if has(&[Function::Min, Function::Max]) {
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
        Node::Window { input, partition, order, function } => {
            let order: Vec<usize> = order.iter().map(|by| by.column).collect();
            let (partition, order) = (names(input, partition), names(input, &order));
            let function = window_sql(*function, input);
            format!("{function} of each ({partition}) by {order}")
        }
    }
}
