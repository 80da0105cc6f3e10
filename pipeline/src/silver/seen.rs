//! What there is to be seen of the origins of a table: how far each was read, and why one stands still.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use schemas::state::SavedError;
use schemas::{Micros, OriginState, Saved};

use super::TableFold;
use super::origins::{Infinite, Origin, Origins};
use super::state;

/// The origins of a contract's table as a barrier has saved them, all of them.
///
/// # Errors
/// When that is not what was saved.
pub fn origins_in(saved: &Saved, contract: &str) -> Result<Vec<OriginState>, SavedError> {
    Ok(states(&state::origins_in(saved, contract)?, usize::MAX))
}

/// The lives of topics that fed a contract's table, as a barrier has saved them, by their numbers in positions.
///
/// # Errors
/// When that is not what was saved.
pub fn topics_in(saved: &Saved, contract: &str) -> Result<Vec<TopicLife>, SavedError> {
    let origins = state::origins_in(saved, contract)?;
    Ok(origins.topics().map(TopicLife::read).collect())
}

/// A life of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicLife {
    /// The configured source.
    pub source: String,
    /// The topic, or file.
    pub topic: String,
    /// The incarnation.
    pub life: String,
}

impl TopicLife {
    /// Reads `source/topic/life`.
    pub(super) fn read(text: &str) -> TopicLife {
        let (source, rest) = text.split_once('/').unwrap_or_default();
        let (topic, life) = rest.rsplit_once('/').unwrap_or_default();
        let [source, topic, life] = [source, topic, life].map(str::to_owned);
        TopicLife { source, topic, life }
    }
}

impl TableFold {
    /// The origins, at most so many: first those that wait for somebody, then by name; and how many
    /// there are.
    pub fn origin_states(&self, most: usize) -> (Vec<OriginState>, u64) {
        (states(&self.origins, most), self.origins.len() as u64)
    }

    /// By column, how often an infinity came and was taken as null.
    pub fn infinite(&self) -> Infinite {
        let mut all = Infinite::new();
        for (column, times) in self.origins.iter().flat_map(|(_, own)| &own.infinite) {
            *all.entry(*column).or_default() += times;
        }
        all
    }
}

fn states(origins: &Origins, most: usize) -> Vec<OriginState> {
    let waits = |own: &Origin| own.halt.is_some() || own.lacking.is_some();
    let mut chosen: Vec<(u32, &Origin)> = origins.iter().collect();
    chosen.sort_by_key(|(number, own)| (Reverse(waits(own)), origins.name(*number)));
    chosen.truncate(most);
    let mut topics: BTreeMap<u32, Vec<(String, String)>> = BTreeMap::new();
    for (topic, origin) in origins.ways() {
        let named = topics.entry(origin).or_default();
        if let Some(topic) = split(topic).filter(|topic| !named.contains(topic)) {
            named.push(topic);
        }
    }
    let mut one = |(number, own): (u32, &Origin)| OriginState {
        origin: origins.name(number).to_owned(),
        topics: topics.remove(&number).unwrap_or_default(),
        position: own.seen.map(|seen| seen.position.to_string()),
        source_at: own
            .seen
            .filter(|seen| seen.position.source_ms > 0)
            .map(|seen| Micros(seen.position.source_ms.saturating_mul(1_000))),
        epoch: own.seen.map(|seen| seen.epoch),
        clock: own.seen.map(|seen| Micros(seen.clock)),
        is_quiet: own.seen.is_some_and(|seen| seen.is_quiet),
        has_snapshot: !own.snapshots.is_empty(),
        halted: own.halt.as_ref().map(ToString::to_string),
        lacking: own.lacking.as_ref().map_or(0, |lacking| lacking.rows),
        lacking_why: own.lacking.as_ref().map(ToString::to_string),
    };
    chosen.into_iter().map(&mut one).collect()
}

/// Source and topic of a life of a topic, which is `source/topic/life`.
fn split(life: &str) -> Option<(String, String)> {
    let (source, rest) = life.split_once('/')?;
    let (topic, _) = rest.rsplit_once('/')?;
    Some((source.to_owned(), topic.to_owned()))
}
