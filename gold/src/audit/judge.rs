//! What SQL and the table say of a cell, held against each other.
//!
//! # Guarantees
//! - Of a KPI over a view SQL takes a value that was never sent for null, and the engine for unknown. So where a table under
//!   the view has one, a cell in doubt is not compared, nor missed where SQL has one: a HAVING that is unknown takes no row.

use datafusion::prelude::SessionContext;

use super::compare::{self, Expected, Held, Problem};
use super::{AuditError, tables};
use crate::catalog::Catalog;
use crate::definition::{Definition, Unit};

/// What cells of a KPI are judged by.
#[derive(Debug)]
pub(super) struct Judge {
    is_ratio: bool,
    unit: Unit,
    /// Whether SQL knows of all values whether they were sent.
    is_sure: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Verdict {
    Right,
    /// SQL does not know.
    Doubted,
    Wrong(Problem),
}

impl Judge {
    /// That of a KPI, over the tables `silver_<contract>` of `context`.
    pub(super) async fn of(
        context: &SessionContext,
        catalog: &Catalog,
        definition: &Definition,
    ) -> Result<Judge, AuditError> {
        let (is_ratio, unit) = (catalog.kind(definition).is_ratio(), definition.unit);
        let computed = catalog.computed(definition).ok();
        let flows = computed.iter().flat_map(|computed| computed.flows());
        let relations = flows.filter_map(|flow| catalog.relation(&flow.relation));
        let views = relations.filter(|own| own.view.is_some());
        let mut contracts: Vec<usize> = views.flat_map(|own| own.contracts.clone()).collect();
        contracts.sort_unstable();
        contracts.dedup();
        let mut is_sure = true;
        for contract in contracts.iter().filter_map(|at| catalog.relations().get(*at)) {
            is_sure &= tables::unsent(context, &contract.name).await? == 0;
        }
        Ok(Judge { is_ratio, unit, is_sure })
    }

    /// Judges a cell, that SQL says this of and the table has these rows of.
    pub(super) fn judge(&self, expected: Option<&Expected>, rows: &[Held]) -> Verdict {
        let is_doubted = rows.first().map_or(expected.is_some(), Held::is_in_doubt);
        if !self.is_sure && is_doubted && rows.len() < 2 {
            return Verdict::Doubted;
        }
        let problem = match (expected, rows) {
            (Some(expected), [row]) => compare::check(self.is_ratio, self.unit, expected, row),
            (Some(_), []) => Some(Problem::new("no row, but rows feed it")),
            (None, _) => Some(Problem::new("a row, but no row feeds it")),
            (Some(_), _) => Some(Problem::new("more than one row")),
        };
        problem.map_or(Verdict::Right, Verdict::Wrong)
    }
}
