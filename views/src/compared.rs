//! Texts that a view compares columns of relations with.

use expr::Expression;

use crate::plan::{Node, Plan};
use crate::view::View;

/// A column of a relation that is compared with a text, for equality.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Compared {
    /// The relation.
    pub relation: String,
    /// The column.
    pub column: String,
    /// The text.
    pub text: String,
}

impl View {
    /// The relation and the column of it that a column of what it holds is; `None` where it is computed.
    pub fn source(&self, column: &str) -> Option<(&str, &str)> {
        source(self.plan(), self.plan().schema.find(column)?)
    }

    /// What its conditions and expressions compare columns with that come from a relation as they are.
    pub fn compared(&self) -> Vec<Compared> {
        let mut found = Vec::new();
        note(self.plan(), &mut found);
        found.sort();
        found.dedup();
        found
    }
}

fn note(plan: &Plan, into: &mut Vec<Compared>) {
    if let Node::Map { input, condition, columns } = &plan.node {
        let all = condition.iter().chain(columns).flat_map(Expression::compared);
        into.extend(all.filter_map(|(at, text)| {
            let (relation, column) = source(input, at)?;
            Some(Compared { relation: relation.into(), column: column.into(), text: text.into() })
        }));
    }
    plan.inputs().into_iter().for_each(|input| note(input, into));
}

/// The relation and the column of it that a column of a step is.
fn source(plan: &Plan, at: usize) -> Option<(&str, &str)> {
    match &plan.node {
        Node::Scan { relation } => Some((relation, &plan.schema.get(at)?.name)),
        Node::Map { input, columns, .. } => source(input, columns.get(at)?.as_column()?),
        Node::Distinct { input } => source(input, at),
        Node::TopN { input, .. } | Node::Window { input, .. } => {
            source(input, Some(at).filter(|at| *at < input.schema.len())?)
        }
        Node::Group { input, keys, .. } => source(input, *keys.get(at)?),
        Node::Join { left, right, .. } => match at.checked_sub(left.schema.len()) {
            None => source(left, at),
            Some(at) => source(right, at),
        },
        // Where all are of one column.
        Node::Union { inputs } => {
            let mut all = inputs.iter().map(|input| source(input, at));
            let first = all.next()??;
            all.all(|own| own == Some(first)).then_some(first)
        }
    }
}
