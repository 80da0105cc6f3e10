//! Records from topics of a Kafka cluster.
//!
//! Partitions are assigned by hand, each with a queue of its own that is read in turns. Which
//! partitions there are, and whether a topic is still the one that was read before, is asked of the
//! brokers again and again without stopping the flow (`topics`).
//!
//! # Guarantees
//! - Only committed records are read, from exactly the offset asked for: an offset that the broker
//!   does not have stops that topic by name, it is never jumped over.
//! - A topic that was deleted and created again is a new incarnation, read from its start.
//! - A broker that is away is waited for, without end.
//!
//! # Non-guarantees
//! - When a topic is replaced by one with the same name that already has *more* records than were
//!   read of the old one, records fetched before the next look at topic ids (`refresh_ms`) may be
//!   taken for records of the old one.

mod cause;
mod client;
mod lane;
mod native;
mod probe;
mod reread;
mod topics;
mod whole;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;
use schemas::Span;

pub use self::cause::Cause;
use self::client::Context;
use self::lane::{Complaint, Lane};
use self::native::{Queue, Wake};
pub use self::probe::{Cluster, Unanswered, names_transactions, probe};
use self::reread::Again;
use self::topics::Topic;
pub(in crate::source) use self::whole::WholeTransactions;
use super::transactions::{Outlook, Sight};
use super::{KafkaConfig, Lag, Limits, Notice, Progress, Pulled, Reread, Source, SourceError};
use crate::record::{RawBatch, TopicPartition};

/// The longest wait between two looks at librdkafka's events.
const EVENTS_EVERY: Duration = Duration::from_millis(100);

/// A partition that is further behind than this is worth waiting for, within `linger`.
const FAR_BEHIND: i64 = 256;

/// How long the brokers may take to say where partitions begin and end.
const ANSWER: Duration = Duration::from_secs(5);

/// Offsets of an embedded broker, which forgets: they begin again at 0 with each start.
#[derive(Debug)]
pub(super) struct Rebase {
    /// The incarnation of all its topics.
    pub(super) incarnation: Arc<str>,
    /// The logical offset of its offset 0.
    pub(super) base: BTreeMap<(String, i32), i64>,
}

/// Topics of one Kafka cluster.
pub struct KafkaSource {
    config: KafkaConfig,
    rebase: Option<Rebase>,
    reached: Progress,
    topics: BTreeMap<Arc<str>, Topic>,
    lanes: Vec<Lane>,
    turn: usize,
    link: Option<Link>,
    notices: Vec<Notice>,
    complaints: Vec<Complaint>,
    /// The fixed ends, once `stop_at_end` was called.
    ends: Option<BTreeMap<TopicPartition, i64>>,
    /// A topic was replaced: a new client is needed, without what librdkafka remembers of the old one.
    renew: bool,
}

/// The connection, once started. Queues are declared, and so dropped, before the client.
struct Link {
    answers: Queue,
    asked: Option<Instant>,
    ask_at: Instant,
    down_since: Option<Instant>,
    /// What is known of why, as it was said.
    down_cause: Option<Cause>,
    /// The brokers have said something about the topics.
    answered: bool,
    wake: Arc<Wake>,
    client: Arc<BaseConsumer<Context>>,
}

impl KafkaSource {
    /// A source that connects when it is started.
    ///
    /// # Errors
    /// When the configuration names no topic, or a property that would break exactness or that
    /// librdkafka does not take.
    pub fn new(config: KafkaConfig) -> Result<KafkaSource, SourceError> {
        client::check(&config)?;
        if config.topics.is_empty() {
            return Err(super::ConfigError::NoTopics { name: config.name }.into());
        }
        let names = config.topics.keys().chain(&config.transactions);
        let topics = names.map(|t| (Arc::from(t.as_str()), Topic::default())).collect();
        Ok(KafkaSource {
            config,
            rebase: None,
            reached: Progress::new(),
            topics,
            lanes: Vec::new(),
            turn: 0,
            link: None,
            notices: Vec::new(),
            complaints: Vec::new(),
            ends: None,
            renew: false,
        })
    }

    pub(super) fn set_rebase(&mut self, rebase: Rebase) {
        self.rebase = Some(rebase);
    }

    fn link(&mut self) -> Result<&mut Link, SourceError> {
        let name = &self.config.name;
        self.link.as_mut().ok_or_else(|| failed(name, "polling", "the source was not started"))
    }

    /// Serves librdkafka's events, and asks the brokers about topics when it is time.
    fn housekeep(&mut self) -> Result<(), SourceError> {
        let brokers = self.config.brokers.clone();
        let name = self.config.name.clone();
        let link = self.link()?;
        // Errors outside of partitions arrive here, by way of the client's context.
        for _ in 0..4 {
            if let Some(Ok(_)) = link.client.poll(Duration::ZERO) {
                let reason = "a record arrived outside of its partition's queue";
                return Err(failed(&name, "reading", reason));
            }
        }
        let mut down = link.client.context().take_down();
        if let Some(answer) = link.answers.described() {
            link.asked = None;
            match answer {
                Ok(described) => {
                    link.answered = true;
                    link.client.context().answered();
                    link.down_cause = None;
                    let away = link.down_since.take();
                    if let Some(since) = away {
                        let seconds = since.elapsed().as_secs();
                        self.notices
                            .push(Notice::Reconnected { brokers: brokers.clone(), seconds });
                    }
                    self.apply(described)?;
                    down = None;
                }
                Err(text) => down = Some(link.client.context().explain(&text)),
            }
            self.ask_again_later()?;
        }
        if let Some(down) = down {
            self.disconnected(&brokers, down)?;
        }
        self.ask_when_due()
    }

    /// Says that the brokers are away, and says so again when more is known of why.
    fn disconnected(
        &mut self,
        brokers: &str,
        (cause, reason): (Option<Cause>, String),
    ) -> Result<(), SourceError> {
        let link = self.link()?;
        let refusal = cause.filter(|cause| cause.is_refusal());
        if link.down_since.is_none() {
            link.down_since = Some(Instant::now());
            link.ask_at = Instant::now();
        } else if refusal.is_none() || refusal == link.down_cause {
            return Ok(());
        }
        link.down_cause = cause;
        self.notices.push(Notice::Disconnected { brokers: brokers.to_owned(), reason });
        Ok(())
    }

    fn ask_when_due(&mut self) -> Result<(), SourceError> {
        let names: Vec<Arc<str>> = self.topics.keys().map(Arc::clone).collect();
        let broker = self.config.ask_broker;
        let link = self.link()?;
        let now = Instant::now();
        if link.asked.is_none() && now >= link.ask_at {
            link.asked = Some(now);
            native::describe(&link.client, names.iter(), broker, &link.answers);
        }
        Ok(())
    }

    /// Takes slices from the partitions in turn until their queues are empty, a limit is reached, or
    /// the deadline. Returns whether they are empty.
    fn sweep(
        &mut self,
        limits: &Limits,
        deadline: Option<Instant>,
        into: &mut Vec<RawBatch>,
        pulled: &mut Pulled,
    ) -> bool {
        let lanes = self.lanes.len();
        let mut empty = 0;
        self.turn = self.turn.wrapping_add(1);
        while empty < lanes {
            for index in 0..lanes {
                let index = (self.turn + index) % lanes;
                let Some(lane) = self.lanes.get_mut(index) else { continue };
                let taken = lane.take(limits, into, pulled, &mut self.complaints);
                empty = if taken == 0 { empty + 1 } else { 0 };
                if empty >= lanes || !self.complaints.is_empty() {
                    break;
                }
                if pulled.records >= limits.records || pulled.bytes >= limits.bytes {
                    return false;
                }
            }
            let late = deadline.is_some_and(|d| Instant::now() >= d);
            if late || !self.complaints.is_empty() {
                break;
            }
        }
        empty >= lanes && !self.lanes.iter().any(|lane| lane.quota_used(limits))
    }

    /// Some partition has much more to give than has arrived yet.
    fn far_behind(&self) -> bool {
        let Some(link) = &self.link else { return false };
        self.lanes.iter().filter(|lane| !lane.at_end() && !lane.is_held).any(|lane| {
            let topic = &lane.native_topic;
            let end = native::cached_end(&link.client, topic, lane.partition.partition);
            end.is_some_and(|end| end + lane.shift > lane.next + FAR_BEHIND)
                && lane.eof.is_none_or(|eof| eof < lane.next)
        })
    }

    /// Leaves these partitions alone until this is said anew.
    pub(super) fn hold(&mut self, which: impl Fn(&TopicPartition) -> bool) {
        self.lanes.iter_mut().for_each(|lane| lane.is_held = which(&lane.partition));
    }

    /// What is known to be there beyond what was handed out.
    pub(super) fn sight(&self) -> Sight {
        let Some(link) = &self.link else { return Sight::default() };
        let is_behind = |lane: &Lane| {
            let topic = &lane.native_topic;
            let end = native::cached_end(&link.client, topic, lane.partition.partition);
            let is_read = end.is_some_and(|end| lane.next >= end.saturating_add(lane.shift));
            !(is_read || lane.at_end() || lane.eof.is_some_and(|eof| eof >= lane.next))
        };
        let outlook = |lane: &Lane| Outlook {
            partition: Arc::clone(&lane.partition),
            is_behind: is_behind(lane),
        };
        Sight {
            is_down: link.down_since.is_some(),
            is_partial: !self.resolved(),
            partitions: self.lanes.iter().map(outlook).collect(),
        }
    }

    fn resolved(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.answered)
            && self.topics.values().all(Topic::is_resolved)
    }

    fn at_end(&self) -> bool {
        self.ends.is_some() && self.resolved() && self.lanes.iter().all(Lane::at_end)
    }

    /// Connects with a new client, and asks about the topics at once.
    fn connect(&mut self) -> Result<(), SourceError> {
        // Partitions are not counted yet; four a topic is a usual number.
        let client = client::connect(&self.config, self.topics.len() * 4)?;
        let wake = Arc::new(Wake::default());
        let answers = Queue::for_answers(&client, &wake)
            .ok_or_else(|| failed(&self.config.name, "connecting", "no queue for answers"))?;
        self.lanes.clear();
        self.renew = false;
        self.link = Some(Link {
            answers,
            asked: None,
            ask_at: Instant::now(),
            down_since: None,
            down_cause: None,
            answered: false,
            wake,
            client,
        });
        self.ask_when_due()
    }

    /// Acts on errors of partitions. Returns whether there were any.
    fn heed_complaints(&mut self) -> Result<bool, SourceError> {
        let complaints = std::mem::take(&mut self.complaints);
        let any = !complaints.is_empty();
        for complaint in complaints {
            let topic: Arc<str> = Arc::clone(&complaint.partition.topic);
            let lane = self.lanes.iter().find(|l| l.partition == complaint.partition);
            let (stopped, refused) = lane.map_or((false, false), |l| (l.stopped, l.refused));
            if stopped && !refused {
                let offset = complaint.offset;
                let reason = format!(
                    "the record cannot be read: {}; reading on would lose it (see librdkafka's \
                     `receive.message.max.bytes`, or repair the partition), then restart",
                    complaint.text
                );
                self.halt(&topic, complaint.partition.partition, (offset, -1, -1), reason)?;
            } else {
                let code: RDKafkaErrorCode = complaint.code;
                tracing::debug!(%topic, ?code, "{}", complaint.text);
                self.trouble(&topic, &complaint.text);
                self.ask_soon()?;
            }
        }
        Ok(any)
    }
}

impl Source for KafkaSource {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn replayable(&self) -> bool {
        true
    }

    fn start(&mut self, progress: &Progress) -> Result<(), SourceError> {
        self.reached = progress.clone();
        self.ends = None;
        self.connect()
    }

    fn stop_at_end(&mut self) -> Result<(), SourceError> {
        let deadline = Instant::now() + ANSWER * 2;
        while !self.resolved() {
            self.housekeep()?;
            let refused = self.link()?.down_cause.is_some_and(Cause::is_refusal);
            if refused || Instant::now() >= deadline {
                let text = format!("no answer about the topics from {}", self.config.brokers);
                return Err(self.unreachable("looking up where topics end", &text));
            }
            self.link()?.wake.wait(Instant::now() + EVENTS_EVERY);
        }
        let client = Arc::clone(&self.link()?.client);
        let mut ends = BTreeMap::new();
        // The end of a transaction is written last: what is before this end is whole before the others.
        let metadata = self.config.transactions.as_deref();
        self.lanes.sort_by_key(|lane| metadata != Some(&*lane.partition.topic));
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get(index) else { break };
            let (topic, number) = (Arc::clone(&lane.partition.topic), lane.partition.partition);
            let (_, high) = client.fetch_watermarks(&topic, number, ANSWER).map_err(|e| {
                self.unreachable("looking up where topics end", &format!("{topic}: {e}"))
            })?;
            if let Some(lane) = self.lanes.get_mut(index) {
                let end = high.saturating_add(lane.shift);
                lane.end = Some(end);
                ends.insert(TopicPartition::clone(&lane.partition), end);
            }
        }
        self.ends = Some(ends);
        Ok(())
    }

    fn poll(
        &mut self,
        wait: Duration,
        linger: Duration,
        limits: &Limits,
        into: &mut Vec<RawBatch>,
    ) -> Result<Pulled, SourceError> {
        let until = Instant::now() + wait;
        let mut linger_until = None;
        let mut pulled = Pulled::default();
        self.lanes.iter_mut().for_each(Lane::begin);
        loop {
            self.housekeep()?;
            let wake = Arc::clone(&self.link()?.wake);
            let idle = self.sweep(limits, linger_until, into, &mut pulled);
            if self.heed_complaints()? {
                // Other queues may still hold records.
                continue;
            }
            pulled.idle = idle;
            let now = Instant::now();
            if pulled.records > 0 {
                let by = *linger_until.get_or_insert(now + linger);
                if !idle || now >= by || !self.far_behind() {
                    break;
                }
                wake.wait(by);
            } else {
                if now >= until || !self.notices.is_empty() || self.at_end() {
                    break;
                }
                wake.wait(until.min(now + EVENTS_EVERY));
            }
        }
        pulled.at_end = self.at_end();
        pulled.notices = std::mem::take(&mut self.notices);
        Ok(pulled)
    }

    fn reread<'a>(&'a mut self, spans: &'a [Span]) -> Result<Box<dyn Reread + 'a>, SourceError> {
        Ok(Box::new(Again::new(&self.config, spans)?))
    }

    fn lag(&self) -> Vec<Lag> {
        let Some(link) = &self.link else { return Vec::new() };
        let of = |lane: &Lane| {
            let topic = &lane.native_topic;
            let end = native::cached_end(&link.client, topic, lane.partition.partition);
            let end = end.map_or(lane.next, |end| end.saturating_add(lane.shift)).max(lane.next);
            // What follows the last record up to the end may be transaction markers only.
            let end = if lane.eof.is_some_and(|eof| eof >= end) { lane.next } else { end };
            Lag { partition: Arc::clone(&lane.partition), next: lane.next, end }
        };
        self.lanes.iter().map(of).collect()
    }

    fn commit_group_offsets(&mut self, progress: &[(Arc<TopicPartition>, i64)]) {
        let Some(link) = &self.link else { return };
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in progress {
            if self.lanes.iter().any(|lane| lane.partition == *partition) {
                let offset = Offset::Offset(*next);
                if offsets
                    .add_partition_offset(&partition.topic, partition.partition, offset)
                    .is_err()
                {
                    return;
                }
            }
        }
        if offsets.count() > 0
            && let Err(e) = link.client.commit(&offsets, CommitMode::Async)
        {
            tracing::debug!("group offsets not committed: {e}");
        }
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lanes: BTreeSet<_> = self
            .lanes
            .iter()
            .map(|l| (&l.partition.topic, l.partition.partition, l.next))
            .collect();
        f.debug_struct("KafkaSource").field("config", &self.config).field("lanes", &lanes).finish()
    }
}

fn failed(name: &str, action: &'static str, reason: impl fmt::Display) -> SourceError {
    SourceError::Kafka { name: name.to_owned(), action, reason: reason.to_string() }
}
