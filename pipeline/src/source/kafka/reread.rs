//! Reading spans again, for the replay after a crash.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use schemas::Span;

use super::client::{self, Context};
use super::lane::{Complaint, Lane};
use super::native::{self, Queue, Wake};
use super::{ANSWER, failed};
use crate::record::{RawBatch, TopicPartition};
use crate::source::{KafkaConfig, Limits, Pulled, SourceError};

/// How long a log end below a span may last before it counts as lost: replicas that just took over
/// learn the end a moment later.
const END_MAY_GROW: Duration = Duration::from_secs(2);

/// Reads the spans one after the other, with a client of its own.
pub(super) fn reread(
    config: &KafkaConfig,
    spans: &[Span],
    deadline: Instant,
) -> Result<Vec<RawBatch>, SourceError> {
    let mut read = Vec::with_capacity(spans.len());
    if spans.is_empty() {
        return Ok(read);
    }
    let client = client::connect(config, 1)?;
    let again = Again { config, client, wake: Arc::new(Wake::default()), deadline };
    let ids = again.topic_ids(spans)?;
    for span in spans {
        if let Some(Some(id)) = ids.get(&span.topic)
            && span.incarnation.parse::<u64>().is_err()
            && *id != span.incarnation
        {
            let reason = format!(
                "the topic was deleted and created again: its id is {id}, was {}",
                span.incarnation
            );
            return Err(lost(span, reason));
        }
        again.check_bounds(span)?;
        read.push(again.read(span)?);
    }
    Ok(read)
}

struct Again<'a> {
    config: &'a KafkaConfig,
    client: Arc<BaseConsumer<Context>>,
    wake: Arc<Wake>,
    deadline: Instant,
}

impl Again<'_> {
    /// The ids of the topics; none for brokers that do not have them.
    fn topic_ids(&self, spans: &[Span]) -> Result<BTreeMap<String, Option<String>>, SourceError> {
        let mut answers = Queue::for_answers(&self.client, &self.wake)
            .ok_or_else(|| failed(&self.config.name, "reading again", "no queue for answers"))?;
        let mut topics: Vec<&str> = spans.iter().map(|s| s.topic.as_str()).collect();
        topics.dedup();
        let mut reason = String::new();
        while Instant::now() < self.deadline {
            native::describe(&self.client, topics.iter(), self.config.ask_broker, &answers);
            let answer = loop {
                if let Some(answer) = answers.described() {
                    break answer;
                }
                self.wake.wait(Instant::now() + Duration::from_millis(100));
            };
            match answer {
                Ok(described) => {
                    let id = |d: native::Described| (d.topic, d.found.ok().and_then(|f| f.0));
                    return Ok(described.into_iter().map(id).collect());
                }
                Err(text) => reason = text,
            }
        }
        Err(self.unreachable(&reason))
    }

    fn check_bounds(&self, span: &Span) -> Result<(), SourceError> {
        let started = Instant::now();
        let mut reason = String::new();
        while Instant::now() < self.deadline {
            match self.client.fetch_watermarks(&span.topic, span.partition, ANSWER) {
                Ok((low, _)) if low > span.from => {
                    let reason =
                        format!("the broker's first offset is {low}: retention deleted them");
                    return Err(lost(span, reason));
                }
                Ok((_, high)) if high >= span.to => return Ok(()),
                Ok((_, high)) if started.elapsed() >= END_MAY_GROW => {
                    return Err(lost(span, format!("the broker ends at {high}: it lost data")));
                }
                Ok(_) => {}
                Err(e) => reason = e.to_string(),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(self.unreachable(&reason))
    }

    fn read(&self, span: &Span) -> Result<RawBatch, SourceError> {
        let name = &self.config.name;
        let key = Arc::new(TopicPartition {
            source: Arc::from(span.source.as_str()),
            topic: Arc::from(span.topic.as_str()),
            incarnation: Arc::from(span.incarnation.as_str()),
            partition: span.partition,
        });
        if span.from >= span.to {
            return Ok(RawBatch::new(key));
        }
        let queue = Queue::of_partition(&self.client, &span.topic, span.partition, &self.wake)
            .ok_or_else(|| failed(name, "reading again", "the partition has no queue"))?;
        let native_topic =
            CString::new(span.topic.as_str()).map_err(|e| failed(name, "reading again", e))?;
        let mut lane = Lane::new(Arc::clone(&key), native_topic, queue, (span.from, 0));
        lane.end = Some(span.to);
        let mut one = TopicPartitionList::new();
        one.add_partition_offset(&span.topic, span.partition, Offset::Offset(span.from))
            .and_then(|()| self.client.incremental_assign(&one))
            .map_err(|e| failed(name, "reading again", e))?;
        let batch = self.drain(span, &mut lane)?;
        self.client.incremental_unassign(&one).map_err(|e| failed(name, "reading again", e))?;
        Ok(batch.unwrap_or_else(|| RawBatch::new(key)))
    }

    fn drain(&self, span: &Span, lane: &mut Lane) -> Result<Option<RawBatch>, SourceError> {
        let all = Limits {
            records: usize::MAX,
            bytes: usize::MAX,
            partition_records: usize::MAX,
            partition_bytes: usize::MAX,
        };
        let (mut into, mut pulled) = (Vec::with_capacity(1), Pulled::default());
        let mut complaints: Vec<Complaint> = Vec::new();
        lane.begin();
        while !lane.at_end() {
            let taken = lane.take(&all, &mut into, &mut pulled, &mut complaints);
            if let Some(complaint) = complaints.pop()
                && lane.stopped
            {
                return Err(lost(span, format!("offset {}: {}", complaint.offset, complaint.text)));
            }
            if taken == 0 {
                if Instant::now() >= self.deadline {
                    return Err(self.unreachable(&format!("stopped before offset {}", span.to)));
                }
                self.client.poll(Duration::ZERO);
                self.wake.wait(Instant::now() + Duration::from_millis(100));
            }
        }
        Ok(into.pop())
    }

    fn unreachable(&self, text: &str) -> SourceError {
        (0..16).for_each(|_| drop(self.client.poll(Duration::ZERO)));
        let (_, reason) = self.client.context().explain(text);
        let action = "reading records again";
        SourceError::Unreachable { name: self.config.name.clone(), action, reason }
    }
}

fn lost(span: &Span, reason: String) -> SourceError {
    SourceError::Lost { span: Box::new(span.clone()), reason }
}
