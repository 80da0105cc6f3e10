//! How KPIs hang together: which one breaks which down, and what a ratio is a quotient of.

use std::sync::Arc;

use schemas::KpiPart;

use super::Catalog;
use crate::definition::{Definition, Formula, Term};

impl Catalog {
    /// The KPI with the most dimensions among those that say the same by fewer of them.
    pub(super) fn broken_down(&self, fine: &Definition) -> Option<Arc<str>> {
        let Formula::Flow { dims: fine_dims, .. } = &fine.formula else { return None };
        let coarser = self.definitions.iter().filter(|coarse| match &coarse.formula {
            Formula::Flow { dims, .. } => {
                let part = dims.iter().all(|dim| fine_dims.get_key_value(dim.0) == Some(dim));
                part && dims.len() < fine_dims.len() && same_sum(&coarse.formula, &fine.formula)
            }
            Formula::Ratio { .. } | Formula::OfView { .. } | Formula::Converted { .. } => false,
        });
        coarser.max_by_key(|coarse| self.dims(coarse).len()).map(|coarse| Arc::clone(&coarse.key))
    }

    /// The KPIs that a ratio is a quotient of, each once.
    pub(super) fn parts(&self, ratio: &Definition) -> Vec<KpiPart> {
        let mut parts: Vec<KpiPart> = Vec::new();
        let mut add = |kpi: Option<&str>, lowers: bool| {
            if let Some(kpi) = kpi
                && parts.iter().all(|part| *part.kpi != *kpi)
            {
                parts.push(KpiPart { kpi: kpi.into(), lowers });
            }
        };
        match &ratio.formula {
            Formula::Flow { .. }
            | Formula::OfView { below: None, .. }
            | Formula::Converted { .. } => {}
            Formula::Ratio { numerator, denominator } => {
                numerator.iter().for_each(|term| add(Some(&term.kpi), term.minus));
                add(Some(denominator), true);
            }
            Formula::OfView { view, above, below: Some(below), .. } => {
                let of = |column: &str| self.of_column(view, column).map(|own| &*own.key);
                above.iter().for_each(|term| add(of(&term.kpi), term.minus));
                add(of(below), true);
            }
        }
        parts
    }

    /// The KPI with the fewest dimensions that is this column of the view.
    fn of_column(&self, name: &str, column: &str) -> Option<&Definition> {
        let is_it = |own: &&Definition| match &own.formula {
            Formula::OfView { view, above, below: None, .. } => {
                let is_column = |term: &Term| !term.minus && term.kpi == column;
                view == name && above.len() == 1 && above.iter().all(is_column)
            }
            Formula::OfView { .. }
            | Formula::Flow { .. }
            | Formula::Ratio { .. }
            | Formula::Converted { .. } => false,
        };
        self.definitions.iter().filter(is_it).min_by_key(|own| self.dims(own).len())
    }
}

/// Whether two flows differ in nothing but their dimensions.
fn same_sum(one: &Formula, two: &Formula) -> bool {
    let without_dims = |formula: &Formula| match formula.clone() {
        Formula::Flow { contract, filter, time, aggregate, .. } => {
            Some((contract, filter, time, aggregate))
        }
        Formula::Ratio { .. } | Formula::OfView { .. } | Formula::Converted { .. } => None,
    };
    without_dims(one).is_some_and(|one| Some(one) == without_dims(two))
}
