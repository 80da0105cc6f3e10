//! Definitions that rest: those over a contract that comes with Weir, and that no topic is of; and those that come with
//! Weir and do not fit a contract that the user wrote in the place of one of Weir's.
//!
//! # Guarantees
//! - A KPI or view that rests costs nothing, and is no error.
//!
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemas::Contract;
use views::View;

use super::Catalog;
use crate::definition::{Definition, DefinitionError, Formula};

/// A definition that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    /// The definition.
    pub definition: Definition,
    /// Why it is not.
    pub why: Why,
}

/// Why a definition is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// No topic is of this contract.
    NoTopic(String),
    /// It comes with Weir, and the contracts are the user's: what does not fit.
    Unfit(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoTopic(contract) => write!(
                f,
                "no topic is of contract `{contract}`; name one under `topics` of a source"
            ),
            Why::Unfit(problem) => write!(f, "it does not fit the contracts: {problem}"),
        }
    }
}

/// The views that are not at rest; definitions that are, are taken out of `definitions`, ordered by key.
///
/// # Errors
/// When a definition that comes with Weir does not parse.
pub(super) fn take(
    definitions: &mut Vec<Definition>,
    contracts: &[Contract],
    views: &[View],
) -> Result<(Arc<[View]>, Vec<Resting>), DefinitionError> {
    let has_contract = |name: &str| contracts.iter().any(|contract| contract.name == name);
    let offered = schemas::contract::offered();
    let offered = offered.iter().map(|(file, _)| file.trim_end_matches(".toml"));
    // By relation, the contract that it lacks.
    let mut lacking: BTreeMap<String, Why> = offered
        .filter(|name| !has_contract(name))
        .map(|name| (name.to_owned(), Why::NoTopic(name.to_owned())))
        .collect();
    // Who is given no views has none of those that come with Weir.
    for file in crate::view_file::built_in() {
        if views.iter().all(|view| view.name() != file.name) {
            let unfit = Why::Unfit(format!("the view `{}` reads what they do not have", file.name));
            lacking.insert(file.name, unfit);
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
        Formula::Ratio { .. } | Formula::Converted { .. } => None,
    };
    let parts: BTreeMap<String, Why> =
        definitions.iter().filter_map(|own| Some((own.key.to_string(), of_rows(own)?))).collect();
    let lacks = |definition: &Definition| match &definition.formula {
        Formula::Ratio { numerator, denominator } => {
            let mut keys = numerator.iter().map(|term| &term.kpi).chain([denominator]);
            keys.find_map(|key| parts.get(key)).cloned()
        }
        Formula::Converted { of, .. } => {
            parts.get(of).or_else(|| lacking.get(super::RATES)).cloned()
        }
        Formula::Flow { .. } | Formula::OfView { .. } => of_rows(definition),
    };
    let mut resting = Vec::new();
    for definition in std::mem::take(definitions) {
        match lacks(&definition) {
            Some(why) => resting.push(Resting { definition, why }),
            None => definitions.push(definition),
        }
    }
    let views: Arc<[View]> = kept.into();
    take_unfit(definitions, contracts, &views, &mut resting)?;
    resting.sort_by(|a, b| a.definition.key.cmp(&b.definition.key));
    Ok((views, resting))
}

/// Takes out those that come with Weir and are refused over these contracts, and those that need them.
fn take_unfit(
    definitions: &mut Vec<Definition>,
    contracts: &[Contract],
    views: &Arc<[View]>,
    resting: &mut Vec<Resting>,
) -> Result<(), DefinitionError> {
    let ours = crate::definition::built_in()?;
    loop {
        let catalog = Catalog::unchecked(definitions.clone(), contracts, Arc::clone(views));
        let before = definitions.len();
        for definition in std::mem::take(definitions) {
            // As the catalog completes it.
            let completed = catalog.get(&definition.key).filter(|_| ours.contains(&definition));
            match completed.and_then(|own| catalog.check(own).err()) {
                Some(error) => {
                    let why = Why::Unfit(error.to_string());
                    resting.push(Resting { definition, why });
                }
                None => definitions.push(definition),
            }
        }
        if definitions.len() == before {
            return Ok(());
        }
    }
}
