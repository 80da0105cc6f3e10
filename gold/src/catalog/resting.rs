//! Definitions that rest: those over a contract that comes with Weir, and that no topic is of.
//!
//! # Guarantees
//! - A KPI or view that rests costs nothing, and is no error.
//!
//! # Non-guarantees
//! - Whether it would be accepted is not known here; [`super::problems`] of all contracts says it.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::Contract;
use views::View;

use crate::definition::{Definition, Formula};

/// A definition that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    /// The definition.
    pub definition: Definition,
    /// The contract that no topic is of.
    pub contract: String,
}

/// The views that are not at rest; definitions that are, are taken out of `definitions`, ordered by key.
pub(super) fn take(
    definitions: &mut Vec<Definition>,
    contracts: &[Contract],
    views: &[View],
) -> (Arc<[View]>, Vec<Resting>) {
    let has_contract = |name: &str| contracts.iter().any(|contract| contract.name == name);
    let offered = schemas::contract::offered();
    let offered = offered.iter().map(|(file, _)| file.trim_end_matches(".toml"));
    // By relation, the contract that it lacks.
    let mut lacking: BTreeMap<String, String> = offered
        .filter(|name| !has_contract(name))
        .map(|name| (name.to_owned(), name.to_owned()))
        .collect();
    // Who is given no views has none of those that come with Weir.
    for file in crate::view_file::built_in() {
        if views.iter().all(|view| view.name() != file.name) {
            lacking.insert(file.name.clone(), file.name);
        }
    }
    let mut kept: Vec<View> = Vec::new();
    for view in views {
        match view.inputs().iter().find_map(|input| lacking.get(input)).cloned() {
            Some(lacks) => drop(lacking.insert(view.name().to_owned(), lacks)),
            None => kept.push(view.clone()),
        }
    }
    let of_rows = |definition: &Definition| match &definition.formula {
        Formula::Flow { contract, .. } => lacking.get(contract).cloned(),
        Formula::OfView { view, .. } => lacking.get(view).cloned(),
        Formula::Ratio { .. } => None,
    };
    let parts: BTreeMap<String, String> =
        definitions.iter().filter_map(|own| Some((own.key.to_string(), of_rows(own)?))).collect();
    let lacks = |definition: &Definition| match &definition.formula {
        Formula::Ratio { numerator, denominator } => {
            let mut keys = numerator.iter().map(|term| &term.kpi).chain([denominator]);
            keys.find_map(|key| parts.get(key)).cloned()
        }
        Formula::Flow { .. } | Formula::OfView { .. } => of_rows(definition),
    };
    let mut resting = Vec::new();
    for definition in std::mem::take(definitions) {
        match lacks(&definition) {
            Some(contract) => resting.push(Resting { definition, contract }),
            None => definitions.push(definition),
        }
    }
    resting.sort_by(|a, b| a.definition.key.cmp(&b.definition.key));
    (kept.into(), resting)
}
