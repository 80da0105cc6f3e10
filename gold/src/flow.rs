//! Flows: what definitions come down to, and what the engine and the audit see of them.

use std::collections::BTreeMap;

use crate::definition::{Aggregate, Kind};

/// An aggregate over the rows of a relation, by period and dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) relation: String,
    /// A condition on its columns; none takes every row.
    pub(crate) filter: Option<String>,
    /// The column that says in which period a row is.
    pub(crate) time: String,
    /// The column with the instant up to which a row is alive, where what is at the end of a period counts.
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
        let is_sum = |flow: &Flow| matches!(flow.aggregate, Aggregate::Count | Aggregate::Sum(_));
        self.above.iter().all(|(_, flow)| is_sum(flow))
    }

    /// Whether it is of what is alive at the end of each period.
    pub(crate) fn is_stock(&self) -> bool {
        self.flows().any(|flow| flow.until.is_some())
    }

    /// How its values go together.
    pub(crate) fn kind(&self) -> Kind {
        let is_distinct =
            |(_, flow): &(bool, Flow)| matches!(flow.aggregate, Aggregate::Distinct(_));
        let is_percentile =
            |(_, flow): &(bool, Flow)| matches!(flow.aggregate, Aggregate::Percentile { .. });
        if self.below.is_some() {
            Kind::Ratio
        } else if self.is_stock() {
            Kind::Stock
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
