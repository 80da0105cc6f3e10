//! Budgets that rules compare a KPI with: another KPI of the same dimensions and unit.
//!
//! # Guarantees
//! - A cell of the budget stands beside each cell of the KPI that may be compared with it.

use schemas::Grain;
use schemas::nearest::nearest;

use super::Catalog;
use crate::definition::{Definition, DefinitionError, Kind};

const FIELD: &str = "anomaly.rule.budget";

/// Refuses a budget that a KPI cannot be compared with.
pub(super) fn check(catalog: &Catalog, definition: &Definition) -> Result<(), DefinitionError> {
    for key in definition.watching.budgets() {
        let refuse = |problem: String| Err(definition.refuse(FIELD, problem));
        let Some(budget) = catalog.get(key) else {
            let hint = nearest(key, catalog.definitions.iter().map(|own| &*own.key));
            return refuse(format!("there is no KPI `{key}`{hint}"));
        };
        if budget.key == definition.key {
            return refuse(format!(
                "`{key}` is the KPI itself; name the one that says how much there should be"
            ));
        }
        if catalog.kind(definition) == Kind::Ratio || budget.unit != definition.unit {
            return refuse(format!(
                "`{key}` has the unit {}, and a budget is compared with a KPI of its unit that is no ratio",
                budget.unit.name()
            ));
        }
        let (own, its) = (catalog.dims(definition), catalog.dims(budget));
        if own != its {
            return refuse(format!(
                "`{key}` has dimensions [{}] but this one has [{}]; they must be the same",
                its.join(", "),
                own.join(", "),
            ));
        }
        if !(budget.grains.has(Grain::Day) && definition.grains.has(Grain::Day)) {
            return refuse(format!("`{key}` and this KPI must both have the grain day"));
        }
    }
    Ok(())
}
