//! Values that KPIs and views compare columns with, and that no contract lists.

use gold::Catalog;
use schemas::Contract;

use super::{Finding, Level};

/// A warning for each.
pub(super) fn check(contracts: &[Contract], catalog: &Catalog) -> Vec<Finding> {
    let advice =
        "correct it, or add the value to `values` of the contract: no row is meant to have it";
    let warning =
        |own: gold::catalog::Misspelled| Finding::new(&own.of, Level::Warning, own.text, advice);
    catalog.misspelled(contracts).into_iter().map(warning).collect()
}
