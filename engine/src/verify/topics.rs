//! Which topic feeds which table, also where nothing is configured.
//!
//! # Guarantees
//! - A wrong answer cannot hide anything: silver is compared both ways, so records that were left out
//!   show as rows without a change, and records too many as rows that are missing.

use std::collections::BTreeSet;

use lake::Lake;
use pipeline::source::Mapping;
use schemas::Contract;

use crate::Topics;
use crate::identities::{Identities, PART, mapping_of};

/// What was found out about a lake's topics.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// (source, topic) to what it is, for the topics in bronze.
    pub(super) topics: Topics,
    /// Topics whose records feed no table, as somebody decided.
    pub(super) unused: Vec<(String, String)>,
    /// Topics of which nothing is known.
    pub(super) unknown: Vec<String>,
    /// Silver was built under other contracts or topics than those in force.
    pub(super) is_other: bool,
}

/// Asks the saved state of `epoch`, then the configuration, then the names.
pub(super) fn find(
    lake: &Lake,
    epoch: i64,
    configured: &Topics,
    contracts: &[Contract],
    seen: &BTreeSet<(String, String)>,
) -> Found {
    let folder = lake.work_dir().join("state");
    let state = u64::try_from(epoch).ok().and_then(|epoch| lake::state::read(&folder, epoch).ok());
    let part = state.as_ref().and_then(|state| state.saved.head::<&str>(PART).ok());
    let saved = part.and_then(|text| Identities::parse(text.as_bytes()));
    let told = saved.as_ref().map(Identities::topics);
    let is_configured = |topic: &(String, String)| mapping_of(configured, topic).is_some();
    let is_other = saved.is_some_and(|saved| !saved.has_tables(contracts));
    let mut found = Found { is_other, ..Found::default() };
    let by_name = told.is_none() && !seen.iter().any(is_configured);
    let decided = told.as_ref().unwrap_or(configured);
    for topic in seen {
        let mapping = if by_name { guess(&topic.1, contracts) } else { mapping_of(decided, topic) };
        match mapping {
            Some(mapping) => {
                found.topics.insert(topic.clone(), mapping);
            }
            None if by_name => found.unknown.push(topic.1.clone()),
            None => found.unused.push(topic.clone()),
        }
    }
    found
}

/// `shop.public.orders` is most likely `orders`.
fn guess(topic: &str, contracts: &[Contract]) -> Option<Mapping> {
    let last = topic.rsplit('.').next()?;
    let contract = contracts.iter().find(|contract| contract.name == last)?;
    Some(Mapping::from(contract.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(source: &str, topic: &str) -> (String, String) {
        (source.to_owned(), topic.to_owned())
    }

    fn contracts() -> Vec<Contract> {
        let built_in = schemas::contract::built_in();
        built_in.iter().map(|(_, text)| Contract::parse(text).unwrap()).collect()
    }

    #[test]
    fn names_decide_only_where_nothing_is_configured() {
        assert_eq!(guess("demo.public.costs", &contracts()), Some(Mapping::from("costs")));
        assert_eq!(guess("orders", &contracts()), Some(Mapping::from("orders")));
        assert_eq!(guess("shop.public.customers", &contracts()), None);
        let folder = tempfile::tempdir().unwrap();
        let clock = std::sync::Arc::new(crate::verify::tests::shop::Still);
        let lake = Lake::open_writer(folder.path(), std::time::Duration::ZERO, clock).unwrap();
        let seen: BTreeSet<_> =
            ["a.orders", "b.people"].into_iter().map(|name| topic("kafka", name)).collect();
        let guessed = find(&lake, 1, &Topics::new(), &contracts(), &seen);
        assert_eq!(guessed.topics[&topic("kafka", "a.orders")], Mapping::from("orders"));
        assert_eq!((guessed.unknown.len(), guessed.unused.len()), (1, 0));
        let configured: Topics = [(topic("kafka", "b.people"), "costs".into())].into();
        let found = find(&lake, 1, &configured, &contracts(), &seen);
        assert_eq!(found.topics, configured);
        assert_eq!(found.unused, [topic("kafka", "a.orders")]);
        let saved =
            r#"{"tables":{},"kpis":{},"detectors":{},"topics":[["kafka","a.orders","costs"]]}"#;
        let mut state = lake::state::StateLog::new(&lake.state_dir().join("state"), None).unwrap();
        state.write(1, &[schemas::StatePart::head(PART, &saved)]).unwrap();
        let told = find(&lake, 1, &configured, &contracts(), &seen);
        assert_eq!(told.topics[&topic("kafka", "a.orders")], Mapping::from("costs"));
    }

    #[test]
    fn a_star_stands_for_every_other_topic() {
        let topics: Topics =
            [(topic("file", "*"), "orders".into()), (topic("file", "x"), "costs".into())].into();
        assert_eq!(mapping_of(&topics, &topic("file", "y")), Some(Mapping::from("orders")));
        assert_eq!(mapping_of(&topics, &topic("file", "x")), Some(Mapping::from("costs")));
        assert_eq!(mapping_of(&topics, &topic("other", "x")), None);
    }
}
