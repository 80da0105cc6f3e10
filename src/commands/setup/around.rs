//! Which of the contracts that come with Weir are in force: those that a topic is of, or that the lake has.
//!
//! # Guarantees
//! - What no topic is of, and the lake has no table of, costs nothing: its KPIs and views rest.

use std::collections::BTreeSet;
use std::path::Path;

use engine::Topics;
use gold::Catalog;
use schemas::{Contract, DefinitionChange, DefinitionKind};

use super::topics;
use crate::config::Config;

/// What the configuration stands beside.
pub(crate) struct Around<'a> {
    /// The lake, whose tables stay.
    pub(crate) lake: &'a Path,
    /// The topics of a source that is not configured.
    pub(crate) topics: Option<&'a Topics>,
}

impl Around<'_> {
    /// The contracts in force.
    pub(super) fn in_force(&self, config: &Config, contracts: Vec<Contract>) -> Vec<Contract> {
        let configured = topics(config, &contracts);
        let more = self.topics.into_iter().flat_map(Topics::values);
        let named: BTreeSet<&str> =
            configured.values().chain(more).map(|is| is.contract.as_str()).collect();
        let is_used = |contract: &Contract| {
            named.contains(contract.name.as_str())
                || self.lake.join("silver").join(&contract.name).join("_delta_log").exists()
        };
        let offered = schemas::contract::offered();
        let offered = offered.iter().filter_map(|(_, text)| Contract::parse(text).ok());
        let offered: Vec<Contract> = offered.collect();
        let mut contracts = contracts;
        contracts.retain(|contract| !offered.contains(contract) || is_used(contract));
        contracts
    }
}

/// Whether a definition is not one of those that rest.
pub(super) fn is_wanted(own: &DefinitionChange, catalog: &Catalog) -> bool {
    match own.of {
        DefinitionKind::Contract => catalog.has_contract(&own.name),
        DefinitionKind::Kpi => catalog.get(&own.name).is_some(),
        DefinitionKind::View => true,
    }
}
