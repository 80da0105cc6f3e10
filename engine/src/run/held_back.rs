//! Which topics hold alerts back: a backlog or a snapshot of theirs is being read.
//!
//! # Guarantees
//! - A topic is named, with the table that it feeds, when origins that came by it have been quiet for [`SAID_AFTER_US`] of epoch clock without a pause, and no
//!   longer once it has paused for [`PAUSE_US`].
//!
//! # Non-guarantees
//! - What was so before a restart is forgotten: the minute begins anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::record::TopicPartition;
use schemas::{Micros, Reason};

use crate::core::decoding::Decoding;
use crate::core::epoch::Epoch;

/// A start and a short backlog are nothing to speak of.
const SAID_AFTER_US: i64 = 60_000_000;
/// A topic that brings a few records is one that goes on.
const PAUSE_US: i64 = 10_000_000;

/// Since when origins of a topic have been quiet, when they were last, and their table.
#[derive(Debug, Clone)]
struct Held {
    table: String,
    since: Micros,
    last: Micros,
}

/// What is known of topics that hold alerts back.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    topics: BTreeMap<String, Held>,
    reasons: Vec<Reason>,
}

impl HeldBack {
    /// Looks at an epoch that was cut.
    pub(super) fn see(&mut self, epoch: &Epoch, decoding: &Decoding) {
        let named = |of: &TopicPartition| {
            Some((of.topic.to_string(), decoding.contract_of(of)?.to_owned()))
        };
        let quiet_by: Vec<(String, String)> = epoch.quiet_by().filter_map(named).collect();
        self.look(&quiet_by, epoch.stamp.clock);
    }

    /// `quiet_by`: topics and their tables.
    fn look(&mut self, quiet_by: &[(String, String)], clock: Micros) {
        if quiet_by.is_empty() && self.topics.is_empty() {
            return;
        }
        self.topics.retain(|_, held| held.last.plus(PAUSE_US) > clock);
        for (topic, table) in quiet_by {
            let fresh = || Held { table: table.clone(), since: clock, last: clock };
            self.topics.entry(topic.clone()).or_insert_with(fresh).last = clock;
        }
        let is_long = |held: &Held| held.since.plus(SAID_AFTER_US) <= clock;
        let long = self.topics.iter().filter(|(_, held)| is_long(held));
        let reasons: Vec<Reason> = long.map(|(topic, held)| reason(topic, held)).collect();
        for reason in reasons.iter().filter(|reason| !self.reasons.contains(reason)) {
            tracing::warn!("{}", reason.text);
        }
        self.reasons = reasons;
    }

    /// When a tick is needed to say that a topic is named no longer.
    pub(super) fn due(&self) -> Option<Micros> {
        let named = self.topics.values().filter(|_| !self.reasons.is_empty());
        named.map(|held| held.last.plus(PAUSE_US)).min()
    }

    /// These reasons, and the others.
    pub(super) fn with(&self, others: Arc<[Reason]>) -> Arc<[Reason]> {
        match self.reasons.is_empty() {
            true => others,
            false => others.iter().chain(&self.reasons).cloned().collect(),
        }
    }
}

fn reason(topic: &str, held: &Held) -> Reason {
    let Held { table, since, .. } = held;
    let text = format!(
        "alerts are held back: topic `{topic}` brings a snapshot, records over a minute old, or records without a \
         time; they are those of KPIs that read `{table}`, for tenants that it has rows of"
    );
    Reason { text, since: *since }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_topic_is_named_after_a_minute_and_until_it_pauses() {
        let mut held = HeldBack::default();
        let mut look = |at: i64, quiet_by: &[&str]| {
            let named = |topic: &&str| ((*topic).to_owned(), format!("table {topic}"));
            let quiet_by: Vec<(String, String)> = quiet_by.iter().map(named).collect();
            held.look(&quiet_by, Micros(at));
            let named = |reason: &Reason| {
                let topic = reason.text.split('`').nth(1).unwrap();
                assert!(reason.text.contains(&format!("read `table {topic}`")), "{}", reason.text);
                format!("{topic} since {}", reason.since.0 / SECOND)
            };
            held.with(Arc::default()).iter().map(named).collect::<Vec<_>>().join(", ")
        };
        for tenth in 0..600 {
            let at = SECOND + tenth * SECOND / 10;
            assert_eq!(look(at, if tenth < 300 { &["a", "b"] } else { &["a"] }), "");
        }
        assert_eq!(look(61 * SECOND, &["a", "b"]), "a since 1");
        // Epochs of others say nothing of it, up to the pause.
        assert_eq!(look(71 * SECOND - 1, &["c"]), "a since 1");
        assert_eq!(look(71 * SECOND, &[]), "");
        assert_eq!(look(72 * SECOND, &["a"]), "", "the minute begins anew");
        assert_eq!(held.due(), None, "nobody is named");
        let other = Reason { text: "halted".to_owned(), since: Micros(0) };
        assert_eq!(held.with(Arc::from([other.clone()])).as_ref(), [other]);
    }
}
