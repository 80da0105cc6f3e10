//! Flows: what definitions come down to, and what the engine and the audit see of them.

use std::collections::BTreeMap;

use crate::definition::{Aggregate, Kind};

/// In which periods a row counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Joined {
    /// In the one that its time is in.
    #[default]
    Point,
    /// In those at whose end it is alive.
    Alive,
    /// In those that hold any of its days.
    Overlap,
}

/// An aggregate over the rows of a relation, by period and dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) relation: String,
    /// A condition on its columns; none takes every row.
    pub(crate) filter: Option<String>,
    /// The column that says in which period a row is.
    pub(crate) time: String,
    pub(crate) joined: Joined,
    /// The column with the instant up to which a row counts, where that is longer than an instant.
    pub(crate) until: Option<String>,
    pub(crate) aggregate: Aggregate,
    /// Dimension name to column.
    pub(crate) dims: BTreeMap<String, String>,
}

/// Flows that are added up or taken away, divided by another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Computed {
    /// Whether it is taken away, and the flow.
    pub(crate) above: Vec<(bool, Flow)>,
    pub(crate) below: Option<Flow>,
    /// Another quotient, by which this one is divided.
    pub(crate) over: Option<Box<Computed>>,
}

impl Computed {
    /// The flows: those above the line, the one below it, then those of the quotient that it is divided by.
    pub(crate) fn flows(&self) -> std::vec::IntoIter<&Flow> {
        let own = self.above.iter().map(|(_, flow)| flow).chain(&self.below);
        let over = self.over.iter().flat_map(|over| over.flows());
        own.chain(over).collect::<Vec<_>>().into_iter()
    }

    /// Whether what stands above the line is made of sums and counts of rows.
    pub(crate) fn adds_up(&self) -> bool {
        let is_sum = |flow: &Flow| {
            matches!(flow.aggregate, Aggregate::Count | Aggregate::Sum(_) | Aggregate::Allocated(_))
        };
        self.above.iter().all(|(_, flow)| is_sum(flow))
    }

    /// In which periods its rows count.
    pub(crate) fn joined(&self) -> Joined {
        self.flows().map(|flow| flow.joined).next().unwrap_or_default()
    }

    /// Whether a row counts whole in each of some periods, so that a longer one is not the sum of its days.
    fn is_of_rows(&self) -> bool {
        let is_allocated = |flow: &Flow| matches!(flow.aggregate, Aggregate::Allocated(_));
        self.joined() == Joined::Overlap && !self.above.iter().all(|(_, flow)| is_allocated(flow))
    }

    /// How its values go together.
    pub(crate) fn kind(&self) -> Kind {
        let is_distinct =
            |(_, flow): &(bool, Flow)| matches!(flow.aggregate, Aggregate::Distinct(_));
        let is_percentile =
            |(_, flow): &(bool, Flow)| matches!(flow.aggregate, Aggregate::Percentile { .. });
        if self.below.is_some() {
            Kind::Ratio
        } else if self.joined() == Joined::Alive {
            Kind::Stock
        } else if self.is_of_rows() {
            Kind::Distinct
        } else if self.adds_up() {
            Kind::Flow
        } else if self.above.iter().any(is_distinct) {
            Kind::Distinct
        } else if self.above.iter().any(is_percentile) {
            Kind::Percentile
        } else {
            Kind::Extreme
        }
    }
}
