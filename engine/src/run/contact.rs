//! What a source thread knows of its source, for the probes: whether it is reached, and its lag.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pipeline::source::{Notice, Pulled};

use super::troubles::Troubles;

/// Lag is asked for this often.
const LAG: Duration = Duration::from_millis(500);
/// A source that has nothing to say is taken for reached after this many empty polls.
const SILENT_POLLS: u32 = 20;

/// One source's contact.
#[derive(Debug)]
pub(super) struct Contact<'a> {
    source: String,
    troubles: &'a Troubles,
    polls: u32,
    reached: bool,
    /// The broker was said to be away: only its answer changes that.
    lost: bool,
    lag_asked: Option<Instant>,
    /// Topics that the broker does not have.
    missing: BTreeSet<String>,
}

impl<'a> Contact<'a> {
    /// Until it is heard of, the source counts as out of reach.
    pub(super) fn new(source: &str, troubles: &'a Troubles) -> Contact<'a> {
        let contact = Contact {
            source: source.to_owned(),
            troubles,
            polls: 0,
            reached: false,
            lost: false,
            lag_asked: None,
            missing: BTreeSet::new(),
        };
        troubles.set(&contact.source, &format!("source `{source}` is not connected yet"));
        contact
    }

    /// Takes what a poll brought.
    pub(super) fn heard(&mut self, pulled: &Pulled) {
        self.polls = self.polls.saturating_add(1);
        for notice in &pulled.notices {
            match notice {
                Notice::Disconnected { reason, .. } => self.lose(reason),
                Notice::Reconnected { .. }
                | Notice::Assigned { .. }
                | Notice::Recreated { .. }
                | Notice::Replaced { .. } => {
                    self.reach();
                }
                Notice::Halted { topic, .. } => {
                    self.troubles.set(&self.topic(topic), &notice.to_string());
                }
                Notice::TopicMissing { topic } => {
                    self.reach();
                    self.missing.insert(topic.to_string());
                    self.troubles.set(&self.topic(topic), &notice.to_string());
                }
                Notice::NoMetadata { topic } => {
                    self.reach();
                    self.troubles.set_slight(&self.topic(topic), &notice.to_string());
                }
                Notice::NoTransactions { .. } => {
                    self.troubles.set_slight(&self.transactions(), &notice.to_string());
                }
                Notice::Transactions { .. } => self.troubles.clear(&self.transactions()),
                Notice::Gap { .. }
                | Notice::Unended { .. }
                | Notice::Split { .. }
                | Notice::Unfinished { .. }
                | Notice::Trouble { .. } => {}
            }
            if let Notice::Assigned { partition, .. } = notice {
                self.missing.remove(&*partition.topic);
                self.troubles.clear(&self.topic(&partition.topic));
            }
        }
        // A source without a broker says nothing before its first record.
        let is_silent = !self.lost && self.polls >= SILENT_POLLS;
        if !self.reached && (pulled.records > 0 || is_silent) {
            self.reach();
        }
    }

    /// The topics that are not there, in words.
    pub(super) fn missing(&self) -> impl Iterator<Item = String> {
        self.missing.iter().map(|topic| {
            format!(
                "topic `{topic}` of source `{}` does not exist: nothing was read of it; create it, or take it out \
                 of [sources.topics]",
                self.source
            )
        })
    }

    fn lose(&mut self, reason: &str) {
        (self.reached, self.lost) = (false, true);
        let source = &self.source;
        let trouble = format!("the broker of source `{source}` is unreachable: {reason}");
        self.troubles.set(source, &trouble);
    }

    fn reach(&mut self) {
        (self.reached, self.lost) = (true, false);
        self.troubles.clear(&self.source);
    }

    fn transactions(&self) -> String {
        format!("{} transactions", self.source)
    }

    fn topic(&self, topic: &str) -> String {
        format!("{} {topic}", self.source)
    }

    /// Whether to ask for the lag now.
    pub(super) fn is_lag_due(&mut self) -> bool {
        let due = self.lag_asked.is_none_or(|asked| asked.elapsed() >= LAG);
        if due {
            self.lag_asked = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pipeline::record::TopicPartition;

    use super::*;

    #[test]
    fn a_metadata_topic_that_is_not_there_degrades_and_takes_no_readiness_away() {
        let troubles = Troubles::default();
        let mut contact = Contact::new("shop", &troubles);
        let mut hear = |notice: Notice| {
            contact.heard(&Pulled { notices: vec![notice], ..Pulled::default() });
            let missing = contact.missing().count();
            (troubles.is_ready(), troubles.list().len(), missing)
        };
        let topic: Arc<str> = "shop.transaction".into();
        assert_eq!(hear(Notice::NoMetadata { topic: Arc::clone(&topic) }), (true, 1, 0));
        let (source, incarnation) = ("shop".into(), "i".into());
        let of = TopicPartition { source, topic: Arc::clone(&topic), incarnation, partition: 0 };
        let found = Notice::Assigned { partition: Arc::new(of), from: 0 };
        assert_eq!(hear(found), (true, 0, 0));
        assert_eq!(hear(Notice::NoTransactions { topic }), (true, 1, 0));
        // A topic of changes is another matter.
        assert_eq!(hear(Notice::TopicMissing { topic: "orders".into() }), (false, 2, 1));
    }
}
