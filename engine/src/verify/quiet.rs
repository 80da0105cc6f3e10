//! Quiet bits of bronze: the rows of one epoch and origin have one. And the KPIs whose history waits for a backlog.
//!
//! # Non-guarantees
//! - Why an origin was quiet is not asked: that was decided by a clock that bronze does not have.

use std::collections::{BTreeMap, BTreeSet};

use gold::Catalog;
use gold::history::SETTLE_US;
use pipeline::decode::{ChangeBatch, ChangeKind, NO_ORIGIN};
use pipeline::record::RawBatch;
use schemas::Micros;

use crate::Topics;

/// How many problems are kept.
const PROBLEMS_MAX: usize = 100;

/// The KPIs that read a contract of which a quiet row came less than a second before `clock`: their history may wait.
pub(super) fn settling(
    last_quiet: &BTreeMap<(String, String), Micros>,
    clock: Micros,
    topics: &Topics,
    catalog: &Catalog,
) -> BTreeSet<String> {
    let recent = last_quiet.iter().filter(|(_, last)| clock < last.plus(SETTLE_US));
    let fed = recent.filter_map(|(topic, _)| topics.get(topic));
    let fed: BTreeSet<&str> = fed.map(|mapping| mapping.contract.as_str()).collect();
    let reads = |key: &str| catalog.contracts_of(key).iter().any(|own| fed.contains(own));
    let keys = catalog.definitions().iter().map(|definition| &*definition.key);
    keys.filter(|key| reads(key)).map(str::to_owned).collect()
}

/// The origins of the epoch that is being looked at, and what was wrong so far.
#[derive(Debug, Default)]
pub(super) struct QuietRows {
    epoch: u64,
    origins: BTreeMap<String, bool>,
    pub(super) problems: Vec<String>,
}

impl QuietRows {
    /// Looks at the rows of a batch.
    pub(super) fn see(&mut self, epoch: u64, batch: &RawBatch, changes: &ChangeBatch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.origins.clear();
        }
        let mut changes = changes.iter().peekable();
        for at in 0..batch.len() {
            let change = changes.next_if(|own| own.change.record == at);
            let named = change.filter(|own| {
                own.change.origin != NO_ORIGIN && own.change.kind != ChangeKind::Tombstone
            });
            let origin = named.map_or(&*batch.topic().topic, |own| own.origin);
            let is_quiet = batch.quiet().has(at);
            match self.origins.get(origin) {
                Some(others) if *others != is_quiet => self.differs(origin.to_owned()),
                Some(_) => {}
                None => drop(self.origins.insert(origin.to_owned(), is_quiet)),
            }
        }
    }

    fn differs(&mut self, origin: String) {
        if self.problems.len() < PROBLEMS_MAX {
            let epoch = self.epoch;
            self.problems.push(format!("epoch {epoch} has quiet and other rows of {origin}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::Contract;

    use super::*;

    #[test]
    fn a_backlog_is_a_matter_of_the_kpis_that_read_its_contract() {
        let contracts: Vec<Contract> = schemas::contract::built_in()
            .iter()
            .map(|(_, text)| Contract::parse(text).unwrap())
            .collect();
        let catalog =
            gold::catalog::with_built_in(Vec::new(), &contracts, std::sync::Arc::from([])).unwrap();
        let topic = |name: &str| ("kafka".to_owned(), name.to_owned());
        let topics: Topics = [(topic("o"), "orders".into()), (topic("c"), "costs".into())].into();
        let last = [(topic("o"), Micros(5_000_000)), (topic("c"), Micros(8_000_000))].into();
        let at = |clock: i64| settling(&last, Micros(clock), &topics, &catalog);
        let costs = at(8_999_999);
        // The ratio reads both.
        for (key, is_in) in [("total_cost", true), ("roi", true), ("orders", false)] {
            assert_eq!(costs.contains(key), is_in, "{key}");
        }
        assert!(at(5_999_999).contains("orders"));
        assert!(at(9_000_000).is_empty());
    }
}
