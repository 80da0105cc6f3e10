//! What a view is made of: a tree of steps, each with the columns that it gives.
//!
//! # Guarantees
//! - No two columns of a step have one name, so that its steps can be written as SQL.
//!
//! # Non-guarantees
//! - A step says nothing of how rows are kept.

use expr::{Columns, Expression, Type};
use schemas::{Column, ColumnType, RowSchema};

use crate::operator::{Call, JoinKind, SortBy, WindowFunction};

/// A step with the steps below it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) node: Node,
    pub(crate) schema: RowSchema,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// The rows of a relation.
    Scan { relation: String },
    /// Rows of which a condition is true, as other columns.
    Map { input: Box<Plan>, condition: Option<Expression>, columns: Vec<Expression> },
    /// The rows of all inputs.
    Union { inputs: Vec<Plan> },
    /// Each row once.
    Distinct { input: Box<Plan> },
    /// Pairs of rows that are equal in columns.
    Join { left: Box<Plan>, right: Box<Plan>, on: Vec<(usize, usize)>, kind: JoinKind },
    /// A row for each group: its keys, then its calls.
    Group { input: Box<Plan>, keys: Vec<usize>, calls: Vec<Call> },
    /// The first rows of each partition, with their number where `rank` says so.
    TopN { input: Box<Plan>, partition: Vec<usize>, order: Vec<SortBy>, limit: u64, rank: bool },
    /// Rows with a column more, which others of their partition decide.
    Window { input: Box<Plan>, partition: Vec<usize>, order: Vec<SortBy>, function: WindowFunction },
}

impl Plan {
    /// Rows of a step of which a condition is true, as other columns. Steps that do nothing are left out.
    pub(crate) fn map(
        input: Plan,
        condition: Option<Expression>,
        columns: Vec<Expression>,
        schema: RowSchema,
    ) -> Plan {
        let (input, condition) = match input.node {
            // Filtering before projecting is one step.
            Node::Map { input: below, condition: own, columns: through }
                if is_identity(&through, below.schema.len())
                    && input.schema == below.schema
                    && (own.is_none() || condition.is_none()) =>
            {
                (*below, own.or(condition))
            }
            node => (Plan { node, schema: input.schema }, condition),
        };
        let does_nothing = condition.is_none()
            && is_identity(&columns, input.schema.len())
            && (input.schema == schema || !matches!(input.node, Node::Scan { .. }));
        if does_nothing {
            return Plan { node: input.node, schema };
        }
        let input = Box::new(input);
        Plan { node: Node::Map { input, condition, columns }, schema }
    }

    /// The same rows, the condition true of them.
    pub(crate) fn filter(input: Plan, condition: Expression) -> Plan {
        let (columns, schema) = (input.through(), input.schema.clone());
        Plan::map(input, Some(condition), columns, schema)
    }

    /// The first columns only.
    pub(crate) fn first(self, count: usize) -> Plan {
        if self.schema.len() == count {
            return self;
        }
        let columns = self.through().into_iter().take(count).collect();
        let schema = RowSchema::new(self.schema.iter().take(count).cloned().collect());
        Plan::map(self, None, columns, schema)
    }

    /// Every column as it is.
    pub(crate) fn through(&self) -> Vec<Expression> {
        let columns = columns(&self.schema);
        (0..self.schema.len()).filter_map(|at| Expression::column(&columns, at)).collect()
    }

    /// The same steps with a relation in the place of what the outermost group is over.
    pub(crate) fn over_relation(&self, relation: &str) -> Plan {
        let mut node = self.node.clone();
        match &mut node {
            Node::Group { input, .. } => {
                input.node = Node::Scan { relation: relation.to_owned() };
            }
            Node::Map { input, .. }
            | Node::Distinct { input }
            | Node::TopN { input, .. }
            | Node::Window { input, .. } => **input = input.over_relation(relation),
            Node::Scan { .. } | Node::Union { .. } | Node::Join { .. } => {}
        }
        Plan { node, schema: self.schema.clone() }
    }

    /// The steps right below.
    pub(crate) fn inputs(&self) -> Vec<&Plan> {
        match &self.node {
            Node::Scan { .. } => Vec::new(),
            Node::Map { input, .. }
            | Node::Distinct { input }
            | Node::Group { input, .. }
            | Node::TopN { input, .. }
            | Node::Window { input, .. } => vec![input],
            Node::Union { inputs } => inputs.iter().collect(),
            Node::Join { left, right, .. } => vec![left, right],
        }
    }
}

/// Whether these are the columns of an input of so many, in order.
fn is_identity(columns: &[Expression], of: usize) -> bool {
    let same = |(at, column): (usize, &Expression)| column.as_column() == Some(at);
    columns.len() == of && columns.iter().enumerate().all(same)
}

/// The columns of a step, for expressions over it.
pub(crate) fn columns(schema: &RowSchema) -> Columns {
    let columns = schema.iter().map(|c| (c.name.clone(), Type::of(c.kind)));
    Columns::new("it", columns.collect())
}

/// A column that may be null.
pub(crate) fn column(name: impl Into<String>, kind: ColumnType) -> Column {
    Column { name: name.into(), kind, required: false }
}

/// A schema of these columns; what has the name of one before it gets a number.
pub(crate) fn unique(columns: impl IntoIterator<Item = (String, ColumnType)>) -> RowSchema {
    let mut found: Vec<Column> = Vec::new();
    for (name, kind) in columns {
        let is_taken = |name: &str| found.iter().any(|other| other.name == name);
        let mut own = name.clone();
        let mut number = 2_usize;
        while is_taken(&own) {
            own = format!("{name}_{number}");
            number += 1;
        }
        found.push(column(own, kind));
    }
    RowSchema::new(found)
}
