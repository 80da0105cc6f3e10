//! Reading spans again, for the replay after a crash and to recognise a topic.
//!
//! # Guarantees
//! - Many partitions are read at the same time, and never more than [`LANES`]: what one fetch may bring
//!   is bounded for all of them together, whatever follows a span in its partition.
//! - A span whose records are gone is [`SourceError::Lost`], never an empty batch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
use crate::record::RawBatch;
use crate::source::{KafkaConfig, Limits, Pulled, Reread, SourceError, Step, reread};

/// How long a log end below a span may last before it counts as lost: replicas that just took over
/// learn the end a moment later.
const END_MAY_GROW: Duration = Duration::from_secs(2);

/// Partitions that are read at the same time.
const LANES: usize = 128;

/// Between two looks at what librdkafka has to say besides records.
const LOOK: Duration = Duration::from_millis(100);

/// No bounds: a span has its own.
const ALL: Limits = Limits {
    records: usize::MAX,
    bytes: usize::MAX,
    partition_records: usize::MAX,
    partition_bytes: usize::MAX,
};

/// Spans that are read again, with a client of their own.
pub(super) struct Again<'a> {
    config: &'a KafkaConfig,
    spans: &'a [Span],
    client: Arc<BaseConsumer<Context>>,
    wake: Arc<Wake>,
    topics: Topics,
    batches: Vec<RawBatch>,
    /// Spans whose partitions are not assigned yet.
    waiting: VecDeque<usize>,
    open: Vec<Open>,
}

/// Whether the topics are those that the spans speak of.
enum Topics {
    Unasked,
    /// The answer comes here.
    Asked(Queue),
    Same,
}

/// A span that is being read.
struct Open {
    /// Which one.
    at: usize,
    lane: Lane,
    /// Its batch, once there is something.
    read: Vec<RawBatch>,
    pulled: Pulled,
    /// Since when its partition has been seen to end before the span does.
    short: Option<Instant>,
}

impl<'a> Again<'a> {
    pub(super) fn new(config: &'a KafkaConfig, spans: &'a [Span]) -> Result<Self, SourceError> {
        Ok(Again {
            config,
            spans,
            client: client::connect_to_reread(config, spans.len())?,
            wake: Arc::new(Wake::default()),
            topics: Topics::Unasked,
            batches: spans.iter().map(|span| RawBatch::new(Arc::new(span.into()))).collect(),
            waiting: (0..spans.len()).filter(|at| spans[*at].from < spans[*at].to).collect(),
            open: Vec::new(),
        })
    }

    /// Asks for the ids of the topics; brokers that have none say so.
    fn ask(&self) -> Result<Queue, SourceError> {
        let answers = Queue::for_answers(&self.client, &self.wake)
            .ok_or_else(|| failed(&self.config.name, "reading again", "no queue for answers"))?;
        let topics: BTreeSet<&str> = self.spans.iter().map(|s| s.topic.as_str()).collect();
        native::describe(&self.client, topics.iter(), self.config.ask_broker, &answers);
        Ok(answers)
    }

    /// Waits for the answer, and compares the topics with those that the spans were read of.
    fn compare(&mut self, until: Instant) -> Result<(), SourceError> {
        loop {
            let answers = match &mut self.topics {
                Topics::Same => return Ok(()),
                Topics::Unasked => {
                    self.topics = Topics::Asked(self.ask()?);
                    continue;
                }
                Topics::Asked(answers) => answers,
            };
            match answers.described() {
                Some(Ok(described)) => {
                    self.same(described)?;
                    self.topics = Topics::Same;
                }
                Some(Err(text)) => {
                    self.topics = Topics::Unasked;
                    return Err(self.unreachable(&text));
                }
                None if Instant::now() >= until => {
                    return Err(self.unreachable("the topics are not described"));
                }
                None => self.wake.wait(until.min(Instant::now() + LOOK)),
            }
        }
    }

    fn same(&self, described: Vec<native::Described>) -> Result<(), SourceError> {
        let id = |d: native::Described| (d.topic, d.found.ok().and_then(|found| found.0));
        let ids: BTreeMap<String, Option<String>> = described.into_iter().map(id).collect();
        for span in self.spans {
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
        }
        Ok(())
    }

    /// Assigns more partitions, as many as there is room for. Spans of one partition follow each other.
    fn open_more(&mut self) -> Result<(), SourceError> {
        let mut assignment = TopicPartitionList::new();
        let mut put_off = VecDeque::new();
        while self.open.len() < LANES
            && let Some(at) = self.waiting.pop_front()
        {
            let span = &self.spans[at];
            let is_same = |other: &Open| {
                let other = &self.spans[other.at];
                other.partition == span.partition && other.topic == span.topic
            };
            if self.open.iter().any(is_same) {
                put_off.push_back(at);
                continue;
            }
            let lane = self.lane(at)?;
            assignment
                .add_partition_offset(&span.topic, span.partition, Offset::Offset(span.from))
                .map_err(|e| failed(&self.config.name, "reading again", e))?;
            let (read, pulled) = (Vec::with_capacity(1), Pulled::default());
            self.open.push(Open { at, lane, read, pulled, short: None });
        }
        while let Some(at) = put_off.pop_back() {
            self.waiting.push_front(at);
        }
        if assignment.count() == 0 {
            return Ok(());
        }
        let assigned = self.client.incremental_assign(&assignment);
        assigned.map_err(|e| failed(&self.config.name, "reading again", e))
    }

    fn lane(&self, at: usize) -> Result<Lane, SourceError> {
        let (name, span) = (&self.config.name, &self.spans[at]);
        let queue = Queue::of_partition(&self.client, &span.topic, span.partition, &self.wake)
            .ok_or_else(|| failed(name, "reading again", "the partition has no queue"))?;
        let native_topic =
            CString::new(span.topic.as_str()).map_err(|e| failed(name, "reading again", e))?;
        let key = Arc::clone(self.batches[at].topic());
        let mut lane = Lane::new(key, native_topic, queue, (span.from, 0));
        lane.end = Some(span.to);
        lane.begin();
        Ok(lane)
    }

    /// Takes what has come for every open span. Returns how many things that were.
    fn take(&mut self) -> Result<usize, SourceError> {
        let mut taken = 0;
        let mut complaints: Vec<Complaint> = Vec::new();
        for open in &mut self.open {
            taken += open.drain(&mut complaints);
            let Open { at, lane, short, .. } = open;
            let span = &self.spans[*at];
            if let Some(complaint) = complaints.pop()
                && lane.stopped
            {
                return Err(stopped(&self.client, span, &complaint, lane.refused));
            }
            complaints.clear();
            match lane.eof.filter(|eof| *eof < span.to) {
                None => *short = None,
                Some(eof) if short.get_or_insert_with(Instant::now).elapsed() >= END_MAY_GROW => {
                    return Err(lost(span, format!("the broker ends at {eof}: it lost data")));
                }
                Some(_) => {}
            }
        }
        self.close_read()?;
        Ok(taken)
    }

    /// Gives up the partitions whose spans are whole.
    fn close_read(&mut self) -> Result<(), SourceError> {
        let mut done = TopicPartitionList::new();
        for open in self.open.extract_if(.., |open| open.lane.at_end()) {
            let span = &self.spans[open.at];
            done.add_partition(&span.topic, span.partition);
            if let Some(batch) = open.read.into_iter().next() {
                self.batches[open.at] = batch;
            }
        }
        if done.count() == 0 {
            return Ok(());
        }
        let closed = self.client.incremental_unassign(&done);
        closed.map_err(|e| failed(&self.config.name, "reading again", e))
    }

    /// Records read so far.
    fn count(&self) -> usize {
        let open: usize = self.open.iter().map(|open| reread::count(&open.read)).sum();
        open + reread::count(&self.batches)
    }

    fn unreachable(&self, text: &str) -> SourceError {
        (0..16).for_each(|_| drop(self.client.poll(Duration::ZERO)));
        let (_, reason) = self.client.context().explain(text);
        let action = "reading records again";
        SourceError::Unreachable { name: self.config.name.clone(), action, reason }
    }
}

impl Reread for Again<'_> {
    fn step(&mut self, until: Instant) -> Result<Step, SourceError> {
        if !self.spans.is_empty() {
            self.compare(until)?;
        }
        let before = self.count();
        loop {
            self.open_more()?;
            if self.open.is_empty() {
                return Ok(Step::Whole(std::mem::take(&mut self.batches)));
            }
            if self.take()? > 0 {
                continue;
            }
            let now = Instant::now();
            if now >= until {
                break;
            }
            self.client.poll(Duration::ZERO);
            self.wake.wait(until.min(now + LOOK));
        }
        let records = self.count();
        if records > before {
            return Ok(Step::Partly(records));
        }
        let owed = self.open.len() + self.waiting.len();
        Err(self.unreachable(&format!("{owed} partitions bring nothing")))
    }
}

impl Open {
    /// Takes what has come. Returns how many things that were.
    fn drain(&mut self, complaints: &mut Vec<Complaint>) -> usize {
        let mut taken = 0;
        while !self.lane.at_end() && complaints.is_empty() {
            match self.lane.take(&ALL, &mut self.read, &mut self.pulled, complaints) {
                0 => break,
                more => taken += more,
            }
        }
        taken
    }
}

/// Why a partition gives no more.
fn stopped(
    client: &BaseConsumer<Context>,
    span: &Span,
    complaint: &Complaint,
    refused: bool,
) -> SourceError {
    if refused && let Ok((low, high)) = client.fetch_watermarks(&span.topic, span.partition, ANSWER)
    {
        if low > span.from {
            let reason = format!("the broker's first offset is {low}: retention deleted them");
            return lost(span, reason);
        }
        if high < span.to {
            return lost(span, format!("the broker ends at {high}: it lost data"));
        }
    }
    lost(span, format!("offset {}: {}", complaint.offset, complaint.text))
}

/// Reads spans again before `deadline`.
pub(super) fn read(
    config: &KafkaConfig,
    spans: &[Span],
    deadline: Instant,
) -> Result<Vec<RawBatch>, SourceError> {
    reread::read_until(&mut Again::new(config, spans)?, &config.name, deadline)
}

fn lost(span: &Span, reason: String) -> SourceError {
    SourceError::Lost { span: Box::new(span.clone()), reason }
}
