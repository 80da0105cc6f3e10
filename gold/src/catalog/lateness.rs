//! How late the periods of a KPI are: as its file says, else as the contracts say that it reads.
//!
//! # Guarantees
//! - Of several contracts the latest counts.

use schemas::Watching;

use super::Catalog;
use crate::definition::Definition;

impl Catalog {
    /// How a KPI is watched: as its file says, and as late as its contracts are.
    pub fn watching(&self, definition: &Definition) -> Watching {
        let mut watching = definition.watching.clone();
        if watching.lateness.is_none() {
            let contracts = self.contracts_of(&definition.key);
            let relations = contracts.into_iter().filter_map(|name| self.relation(name));
            watching.lateness = relations.filter_map(|own| own.lateness).max();
        }
        watching
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::Contract;

    use crate::Definition;
    use crate::catalog::with_built_in;

    #[test]
    fn a_file_says_it_before_its_contracts_and_of_those_the_latest() {
        let late = |name: &str, text: &str| match name {
            "costs.toml" => format!("lateness = '30h'\n{text}"),
            "orders.toml" => format!("lateness = '2h'\n{text}"),
            _ => text.to_owned(),
        };
        let contracts = schemas::contract::built_in().into_iter();
        let contracts: Vec<Contract> =
            contracts.map(|(name, text)| Contract::parse(&late(name, text)).unwrap()).collect();
        let text = "key='k'\ntitle='K'\nunit='count'\ngood='up'\ncontract='orders'\ntime='placed_at'\n\
                    aggregate='count(*)'\n[anomaly]\nlateness='5h'";
        let own = Definition::parse("k.toml", text).unwrap();
        let infos = with_built_in(vec![own], &contracts, Arc::from([])).unwrap().infos();
        let of = |key: &str| infos.iter().find(|own| *own.key == *key).unwrap().watching.lateness;
        assert_eq!(
            ["orders", "total_cost", "roi", "k"].map(of),
            [Some(2), Some(30), Some(30), Some(5)]
        );
    }
}
