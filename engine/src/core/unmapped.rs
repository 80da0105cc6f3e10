//! Topics whose records became dead letters because no contract is named for them.
//!
//! # Guarantees
//! - Memory has a bound: so many topics are known by name.
//!
//! # Non-guarantees
//! - Records that came before the last start are not counted.

use std::collections::BTreeMap;

use pipeline::record::TopicPartition;
use schemas::LetterAt;

/// Topics that are known by name.
const TOPICS_MAX: usize = 100;

/// By source and topic, how many records nobody has dropped.
#[derive(Debug, Default)]
pub(super) struct Unmapped(BTreeMap<(String, String), u64>);

impl Unmapped {
    /// So many records of a topic are dead letters.
    pub(super) fn see(&mut self, of: &TopicPartition, letters: usize) {
        let topic = (of.source.to_string(), of.topic.to_string());
        if self.0.len() < TOPICS_MAX || self.0.contains_key(&topic) {
            *self.0.entry(topic).or_default() += letters as u64;
        }
    }

    /// Somebody has dropped one.
    pub(super) fn drop(&mut self, letter: &LetterAt) {
        let is_of = |(source, topic): &(String, String)| {
            let rest = letter.topic.strip_prefix(source).and_then(|rest| rest.strip_prefix('/'));
            let rest = rest.and_then(|rest| rest.strip_prefix(topic.as_str()));
            rest.is_some_and(|life| life.starts_with('/'))
        };
        self.0.retain(|topic, letters| {
            *letters = letters.saturating_sub(u64::from(is_of(topic)));
            *letters > 0
        });
    }

    /// Source and topic of those that are known by name.
    pub(super) fn topics(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_until_its_last_letter_is_dropped() {
        let mut unmapped = Unmapped::default();
        let of = |topic: &str| TopicPartition {
            source: "kafka".into(),
            topic: topic.into(),
            incarnation: "i".into(),
            partition: 0,
        };
        unmapped.see(&of("a"), 2);
        unmapped.see(&of("a.b"), 1);
        let at = |topic: &str| LetterAt { topic: topic.into(), partition: 0, offset: 0 };
        let names = |unmapped: &Unmapped| -> Vec<String> {
            unmapped.topics().map(|(_, topic)| topic.clone()).collect()
        };
        for (dropped, left) in [
            ("kafka/a/i", vec!["a", "a.b"]),
            ("other/a/i", vec!["a", "a.b"]),
            ("kafka/a.b/i", vec!["a"]),
            ("kafka/a/i", vec![]),
        ] {
            unmapped.drop(&at(dropped));
            assert_eq!(names(&unmapped), left, "{dropped}");
        }
        (0..200).for_each(|topic| unmapped.see(&of(&topic.to_string()), 1));
        assert_eq!(names(&unmapped).len(), TOPICS_MAX);
    }
}
