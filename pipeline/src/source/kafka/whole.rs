//! A Kafka source whose epochs hold whole transactions.
//!
//! # Guarantees
//! - A transaction whose last part has come leaves with that poll.
//!
//! # Non-guarantees
//! - While the metadata topic is not there nothing is held back: that is said, and looked at again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::Span;

use super::KafkaSource;
use crate::record::{RawBatch, TopicPartition};
use crate::source::transactions::{Blocks, Cut, POLL_MAX};
use crate::source::{
    ConfigError, KafkaConfig, Lag, Limits, Notice, Progress, Pulled, Reread, Source, SourceError,
};

/// Cut transactions are told of this often.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Topics of one Kafka cluster, and the metadata topic of their connector.
#[derive(Debug)]
pub(in crate::source) struct WholeTransactions {
    kafka: KafkaSource,
    metadata: Arc<str>,
    cut: Cut,
    told: Blocks,
    /// Transactions that were cut and are not told of, and when that was done last.
    untold: u64,
    said: Option<Instant>,
}

impl WholeTransactions {
    /// The source that `config` describes, with `metadata` as its metadata topic.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub(in crate::source) fn new(
        config: KafkaConfig,
        metadata: &str,
    ) -> Result<WholeTransactions, SourceError> {
        let reason = match metadata {
            "" => Some("it is empty"),
            _ if config.topics.contains_key(metadata) => Some("it is under [sources.topics] too"),
            _ => None,
        };
        if let Some(reason) = reason {
            let (name, topic) = (config.name, metadata.to_owned());
            return Err(ConfigError::Transactions { name, topic, reason }.into());
        }
        let topics = config.topics.keys().map(String::as_str);
        let cut = Cut::new(metadata, topics, Instant::now());
        let kafka = KafkaSource::new(config)?;
        let metadata = Arc::from(metadata);
        Ok(WholeTransactions { kafka, metadata, cut, told: Blocks::Unknown, untold: 0, said: None })
    }

    /// Takes one look at the brokers. Returns what they said.
    fn turn(
        &mut self,
        (left, linger): (Duration, Duration),
        limits: &Limits,
        into: &mut Vec<RawBatch>,
    ) -> Result<Pulled, SourceError> {
        let paused = self.cut.paused(Instant::now());
        self.kafka.hold(|of| paused.contains(of));
        let mut batches = Vec::new();
        let mut taken = self.kafka.poll(left, linger, limits, &mut batches)?;
        for notice in &mut taken.notices {
            match notice {
                Notice::TopicMissing { topic } if *topic == self.metadata => {
                    self.cut.set_waits(false);
                    *notice = Notice::NoMetadata { topic: Arc::clone(topic) };
                }
                Notice::Halted { topic, .. } if *topic == self.metadata => {
                    self.cut.set_waits(false);
                }
                Notice::Assigned { partition, .. } if partition.topic == self.metadata => {
                    self.cut.set_waits(true);
                }
                _ => {}
            }
        }
        let now = Instant::now();
        batches.into_iter().for_each(|batch| self.cut.take(batch, now));
        self.cut.cut(now, &self.kafka.sight(), into);
        if taken.at_end {
            let unfinished = self.cut.finish(into);
            if unfinished > 0 {
                let topic = Arc::clone(&self.metadata);
                taken.notices.push(Notice::Unfinished { topic, unfinished });
            }
        }
        Ok(taken)
    }

    /// What there is to be said of transactions.
    fn tell(&mut self, pulled: &mut Pulled) {
        pulled.split = self.cut.take_split();
        pulled.is_holding = self.cut.is_holding();
        self.untold += pulled.split;
        let topic = || Arc::clone(&self.metadata);
        let is_due = self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY);
        if self.untold > 0 && (is_due || pulled.at_end) {
            self.said = Some(Instant::now());
            pulled.notices.push(Notice::Split { topic: topic(), split: self.untold });
            self.untold = 0;
        }
        let blocks = self.cut.blocks();
        match (self.told, blocks) {
            (Blocks::Unknown, Blocks::Missing) => {
                pulled.notices.push(Notice::NoTransactions { topic: topic() });
            }
            (Blocks::Missing, Blocks::Sent) => {
                pulled.notices.push(Notice::Transactions { topic: topic() });
            }
            _ => {}
        }
        self.told = blocks;
    }
}

impl Source for WholeTransactions {
    fn name(&self) -> &str {
        self.kafka.name()
    }

    fn replayable(&self) -> bool {
        self.kafka.replayable()
    }

    fn start(&mut self, progress: &Progress) -> Result<(), SourceError> {
        self.kafka.start(progress)
    }

    fn stop_at_end(&mut self) -> Result<(), SourceError> {
        self.kafka.stop_at_end()
    }

    fn poll(
        &mut self,
        wait: Duration,
        linger: Duration,
        limits: &Limits,
        into: &mut Vec<RawBatch>,
    ) -> Result<Pulled, SourceError> {
        let until = Instant::now() + wait;
        let limits = Limits {
            records: limits.records.min(POLL_MAX),
            partition_records: limits.partition_records.min(POLL_MAX),
            ..*limits
        };
        let first = into.len();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut pulled = self.turn((left, linger), &limits, into)?;
            self.tell(&mut pulled);
            let is_over = pulled.at_end || !pulled.notices.is_empty() || pulled.split > 0;
            if into.len() > first || is_over || Instant::now() >= until {
                let own = into.get(first..).unwrap_or_default();
                pulled.records = own.iter().map(RawBatch::len).sum();
                pulled.bytes = own.iter().map(RawBatch::bytes).sum();
                return Ok(pulled);
            }
        }
    }

    fn reread<'a>(&'a mut self, spans: &'a [Span]) -> Result<Box<dyn Reread + 'a>, SourceError> {
        self.kafka.reread(spans)
    }

    fn lag(&self) -> Vec<Lag> {
        let mut lags = self.kafka.lag();
        for lag in &mut lags {
            lag.next = self.cut.first_held(&lag.partition).unwrap_or(lag.next);
        }
        lags
    }

    fn commit_group_offsets(&mut self, progress: &[(Arc<TopicPartition>, i64)]) {
        self.kafka.commit_group_offsets(progress);
    }
}
