//! A broker inside this process, for the demo and for tests: librdkafka's mock cluster, with a
//! producer in front and the Kafka source behind it.
//!
//! # Guarantees
//! - Everything sent is handed out once, in order: the mock cluster silently forgets records beyond
//!   5 MiB or 100,000 a partition, so a sender waits while its partition has `OUTSTANDING_RECORDS`
//!   or `OUTSTANDING_BYTES` that were not handed out yet.
//! - Offsets are logical: the n-th record sent to a partition since the start has the offset at which
//!   progress stood, plus n.
//!
//! # Non-guarantees
//! - The broker keeps nothing beyond this process. Records are read again by making them again
//!   ([`Regenerate`]): what is sent must be a function of topic, partition and logical offset.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use schemas::Span;

use super::kafka::Rebase;
use super::{
    KafkaConfig, KafkaSource, Lag, Limits, Mapping, Progress, Pulled, Reread, Source, SourceError,
    Step, reread,
};
use crate::record::{RawBatch, TopicPartition};

/// Records of one partition that may be sent and not yet handed out.
const OUTSTANDING_RECORDS: usize = 8_000;

/// Bytes of one partition that may be sent and not yet handed out.
const OUTSTANDING_BYTES: usize = 3 << 20;

/// What the mock cluster keeps for a record besides key and value, generously.
const RECORD_OVERHEAD: usize = 64;

/// The incarnation of every topic of an embedded broker.
const INCARNATION: &str = "embedded";

/// A record made again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Regenerated {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The timestamp in milliseconds.
    pub timestamp: Option<i64>,
}

/// Makes any record again from its coordinates.
pub trait Regenerate: Send {
    /// The record at a logical offset, exactly as it was sent.
    fn record(&self, topic: &str, partition: i32, offset: i64) -> Regenerated;
}

/// A broker inside this process, and the sending side of it. Shared by senders and one source.
pub struct EmbeddedBroker {
    producer: ThreadedProducer<Deliveries>,
    brokers: String,
    topics: Vec<(String, i32)>,
    pace: Arc<Pace>,
}

/// The reading side of an [`EmbeddedBroker`].
pub struct EmbeddedSource {
    name: String,
    inner: KafkaSource,
    topics: Vec<(String, i32)>,
    pace: Arc<Pace>,
    regenerate: Box<dyn Regenerate>,
    // Keeps the cluster alive.
    _broker: Arc<EmbeddedBroker>,
}

/// What is sent and not yet handed out, by topic and partition.
#[derive(Debug, Default)]
struct Pace {
    state: Mutex<Outstanding>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Outstanding {
    partitions: BTreeMap<String, Vec<(usize, usize)>>,
    closed: Option<String>,
}

struct Deliveries(Arc<Pace>);

impl EmbeddedBroker {
    /// Starts a broker with these topics and their numbers of partitions.
    ///
    /// # Errors
    /// When librdkafka cannot start it.
    pub fn start(topics: &[(&str, i32)]) -> Result<Arc<EmbeddedBroker>, SourceError> {
        let refused = |e: KafkaError| SourceError::Kafka {
            name: INCARNATION.to_owned(),
            action: "starting the embedded broker",
            reason: e.to_string(),
        };
        let pace = Arc::new(Pace::default());
        let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set("bootstrap.servers", "embedded")
            .set("client.id", "weir-embedded")
            .set("queue.buffering.max.ms", "1")
            .set("queue.buffering.max.messages", "1000000")
            // Sent again after a lost answer, a record could be there twice: rather fail.
            .set("message.send.max.retries", "0")
            .set("log_level", "3")
            .create_with_context(Deliveries(Arc::clone(&pace)))
            .map_err(refused)?;
        let cluster = producer.client().mock_cluster().ok_or_else(|| SourceError::Closed {
            reason: "librdkafka made no mock cluster".to_owned(),
        })?;
        let mut outstanding = pace.lock();
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions, 1).map_err(refused)?;
            let count = usize::try_from(*partitions).unwrap_or(0);
            outstanding.partitions.insert((*topic).to_owned(), vec![(0, 0); count]);
        }
        drop(outstanding);
        let brokers = cluster.bootstrap_servers();
        drop(cluster);
        let topics = topics.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect();
        Ok(Arc::new(EmbeddedBroker { producer, brokers, topics, pace }))
    }

    /// Where Kafka clients reach it, such as the tests' own.
    pub fn bootstrap_servers(&self) -> &str {
        &self.brokers
    }

    /// Sends one record, first waiting until its partition has room.
    ///
    /// # Errors
    /// When the topic or partition is unknown, or the broker was closed.
    pub fn send(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: Option<i64>,
    ) -> Result<(), SourceError> {
        let size = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + RECORD_OVERHEAD;
        self.pace.enter(topic, partition, size)?;
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        record.key = key;
        record.payload = value;
        record.timestamp = timestamp;
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                self.pace.close(&error.to_string());
                return Err(SourceError::Closed { reason: error.to_string() });
            }
            record = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Whether senders fail by now.
    pub fn is_closed(&self) -> bool {
        self.pace.lock().closed.is_some()
    }

    /// Lets waiting and later senders fail. What was sent can still be read.
    pub fn close(&self) {
        self.pace.close("it was closed");
    }
}

impl EmbeddedSource {
    /// The reading side, under the name that progress is kept by.
    ///
    /// # Errors
    /// When the broker has no topic.
    pub fn new(
        name: &str,
        broker: &Arc<EmbeddedBroker>,
        regenerate: Box<dyn Regenerate>,
    ) -> Result<EmbeddedSource, SourceError> {
        let topics = broker.topics.iter().map(|(t, _)| (t.clone(), Mapping::default())).collect();
        let mut config = KafkaConfig::new(&broker.brokers, topics);
        name.clone_into(&mut config.name);
        config.ask_broker = Some(1);
        let inner = KafkaSource::new(config)?;
        Ok(EmbeddedSource {
            name: name.to_owned(),
            inner,
            topics: broker.topics.clone(),
            pace: Arc::clone(&broker.pace),
            regenerate,
            _broker: Arc::clone(broker),
        })
    }

    fn again(&self, span: &Span) -> RawBatch {
        let mut batch = RawBatch::new(Arc::new(span.into()));
        for offset in span.from..span.to {
            let record = self.regenerate.record(&span.topic, span.partition, offset);
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            batch.push(offset, record.timestamp, key, value, &[]);
        }
        batch
    }
}

impl Source for EmbeddedSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn replayable(&self) -> bool {
        true
    }

    fn start(&mut self, progress: &Progress) -> Result<(), SourceError> {
        let incarnation: Arc<str> = Arc::from(INCARNATION);
        let mut base = BTreeMap::new();
        for (topic, partitions) in &self.topics {
            for partition in 0..*partitions {
                let key = TopicPartition {
                    source: Arc::from(self.name.as_str()),
                    topic: Arc::from(topic.as_str()),
                    incarnation: Arc::clone(&incarnation),
                    partition,
                };
                let next = progress.get(&key).map_or(0, |reached| reached.next);
                base.insert((topic.clone(), partition), next);
            }
        }
        self.inner.set_rebase(Rebase { incarnation, base });
        // The broker is new: all of it is read.
        self.inner.start(&Progress::new())
    }

    fn stop_at_end(&mut self) -> Result<(), SourceError> {
        self.inner.stop_at_end()
    }

    fn poll(
        &mut self,
        wait: Duration,
        linger: Duration,
        limits: &Limits,
        into: &mut Vec<RawBatch>,
    ) -> Result<Pulled, SourceError> {
        let before = into.len();
        let pulled = self.inner.poll(wait, linger, limits, into)?;
        for batch in into.iter().skip(before) {
            self.pace.leave(batch);
        }
        Ok(pulled)
    }

    fn reread<'a>(&'a mut self, spans: &'a [Span]) -> Result<Box<dyn Reread + 'a>, SourceError> {
        Ok(Box::new(Again { source: self, left: spans, batches: Vec::new() }))
    }

    fn lag(&self) -> Vec<Lag> {
        self.inner.lag()
    }

    fn commit_group_offsets(&mut self, _: &[(Arc<TopicPartition>, i64)]) {}
}

/// Spans that are generated again, one after the other.
struct Again<'a> {
    source: &'a EmbeddedSource,
    left: &'a [Span],
    batches: Vec<RawBatch>,
}

impl Reread for Again<'_> {
    fn step(&mut self, until: Instant) -> Result<Step, SourceError> {
        while let Some((span, left)) = self.left.split_first() {
            self.batches.push(self.source.again(span));
            self.left = left;
            if Instant::now() >= until {
                return Ok(Step::Partly(reread::count(&self.batches)));
            }
        }
        Ok(Step::Whole(std::mem::take(&mut self.batches)))
    }
}

impl Drop for EmbeddedSource {
    fn drop(&mut self) {
        self.pace.close("its reader is gone");
    }
}

impl Pace {
    fn lock(&self) -> MutexGuard<'_, Outstanding> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, topic: &str, partition: i32, size: usize) -> Result<(), SourceError> {
        let mut state = self.lock();
        loop {
            if let Some(reason) = &state.closed {
                return Err(SourceError::Closed { reason: reason.clone() });
            }
            let (records, bytes) = state.partition(topic, partition).ok_or_else(|| {
                let reason = format!("it has no partition {partition} of topic `{topic}`");
                SourceError::Closed { reason }
            })?;
            let fits = *records == 0 || *bytes + size <= OUTSTANDING_BYTES;
            if *records < OUTSTANDING_RECORDS && fits {
                *records += 1;
                *bytes += size;
                return Ok(());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self, batch: &RawBatch) {
        let mut state = self.lock();
        let topic = batch.topic();
        if let Some((records, bytes)) = state.partition(&topic.topic, topic.partition) {
            let size: usize = batch
                .iter()
                .map(|r| r.key.map_or(0, <[u8]>::len) + r.value.map_or(0, <[u8]>::len))
                .sum();
            *records = records.saturating_sub(batch.len());
            *bytes = bytes.saturating_sub(size + batch.len() * RECORD_OVERHEAD);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn close(&self, reason: &str) {
        self.lock().closed.get_or_insert_with(|| reason.to_owned());
        self.changed.notify_all();
    }
}

impl Outstanding {
    fn partition(&mut self, topic: &str, partition: i32) -> Option<&mut (usize, usize)> {
        self.partitions.get_mut(topic)?.get_mut(usize::try_from(partition).ok()?)
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // Offsets behind a record that is not there would be wrong: nothing more is sent.
        if let Err((error, _)) = result {
            self.0.close(&format!("a record was not delivered: {error}"));
        }
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (brokers, topics) = (&self.brokers, &self.topics);
        f.debug_struct("EmbeddedBroker").field("brokers", brokers).field("topics", topics).finish()
    }
}

impl fmt::Debug for EmbeddedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedSource").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
