//! Which partitions are read: topics that appear, grow, vanish, or are not the same any more.

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;
use schemas::Span;

use super::lane::Lane;
use super::native::{Described, Queue};
use super::{ANSWER, KafkaSource, failed, reread};
use crate::record::TopicPartition;
use crate::source::{LastRecord, LostRecords, Notice, SourceError, record_hash};

/// A complaint about one topic is repeated this often.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// How soon to ask again while something is missing.
const SOON: Duration = Duration::from_secs(1);

/// How soon to ask again when a partition's queue suggests that the topic changed.
const VERY_SOON: Duration = Duration::from_millis(100);

/// What is known of one configured topic.
#[derive(Debug, Default)]
pub(super) struct Topic {
    state: State,
    said: Option<Instant>,
    /// The present client has read it.
    opened: bool,
}

#[derive(Debug, Default)]
enum State {
    /// The brokers were not asked yet, or some partition could not be opened yet.
    #[default]
    Unknown,
    Missing,
    Reading(Arc<str>),
    /// Stopped by name; only a new life of the topic starts it again.
    Halted(Arc<str>),
}

/// Where a partition begins and ends at the broker.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    low: i64,
    high: i64,
}

impl Topic {
    pub(super) fn is_resolved(&self) -> bool {
        !matches!(self.state, State::Unknown)
    }

    fn may_say(&mut self) -> bool {
        let may = self.said.is_none_or(|at| at.elapsed() >= SAY_EVERY);
        if may {
            self.said = Some(Instant::now());
        }
        may
    }
}

impl KafkaSource {
    /// Takes in what the brokers say about the topics.
    pub(super) fn apply(&mut self, described: Vec<Described>) -> Result<(), SourceError> {
        for Described { topic, found } in described {
            let Some((name, _)) = self.topics.get_key_value(topic.as_str()) else { continue };
            let name = Arc::clone(name);
            match found {
                Ok((id, partitions)) => self.found(&name, id, &partitions)?,
                Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                    self.missing(&name)?;
                }
                Err(code) => self.trouble(&name, &code.to_string()),
            }
        }
        if self.renew { self.renew() } else { Ok(()) }
    }

    /// Goes on with a new client. librdkafka keeps what it knew of a topic that is gone, such as the
    /// epoch of a partition's leader, and would wait for ever for the new topic to catch up with it.
    fn renew(&mut self) -> Result<(), SourceError> {
        self.close_lanes(|_| true)?;
        self.topics.values_mut().for_each(|topic| topic.opened = false);
        self.connect()
    }

    /// Says something about a topic, but not too often.
    pub(super) fn trouble(&mut self, topic: &Arc<str>, reason: &str) {
        if self.topics.get_mut(topic).is_some_and(Topic::may_say) {
            let (topic, reason) = (Arc::clone(topic), reason.to_owned());
            self.notices.push(Notice::Trouble { topic, reason });
        }
    }

    /// Stops one topic; the others flow.
    pub(super) fn halt(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        (wanted, low, high): (i64, i64, i64),
        reason: String,
    ) -> Result<(), SourceError> {
        let lane = self.lanes.iter().find(|lane| lane.partition.topic == *topic);
        let incarnation = lane.map(|lane| Arc::clone(&lane.partition.incarnation));
        self.close(topic)?;
        if let Some(entry) = self.topics.get_mut(topic) {
            let known = match &entry.state {
                State::Reading(i) | State::Halted(i) => Arc::clone(i),
                State::Unknown | State::Missing => Arc::from(""),
            };
            entry.state = State::Halted(incarnation.unwrap_or(known));
        }
        let topic = Arc::clone(topic);
        self.notices.push(Notice::Halted { topic, partition, wanted, low, high, reason });
        Ok(())
    }

    pub(super) fn ask_soon(&mut self) -> Result<(), SourceError> {
        let link = self.link()?;
        link.ask_at = link.ask_at.min(Instant::now() + VERY_SOON);
        Ok(())
    }

    pub(super) fn ask_again_later(&mut self) -> Result<(), SourceError> {
        let waiting =
            self.topics.values().any(|t| matches!(t.state, State::Unknown | State::Missing));
        let usual = Duration::from_millis(self.config.refresh_ms).max(VERY_SOON);
        let link = self.link()?;
        let soon = waiting || link.down_since.is_some();
        link.ask_at = Instant::now() + if soon { SOON.min(usual) } else { usual };
        Ok(())
    }

    pub(super) fn unreachable(&self, action: &'static str, text: &str) -> SourceError {
        let link = self.link.as_ref();
        let reason = link.map_or(text.to_owned(), |link| link.client.context().explain(text).1);
        SourceError::Unreachable { name: self.config.name.clone(), action, reason }
    }

    fn missing(&mut self, topic: &Arc<str>) -> Result<(), SourceError> {
        self.close(topic)?;
        let Some(entry) = self.topics.get_mut(topic) else { return Ok(()) };
        if !matches!(entry.state, State::Missing) {
            entry.state = State::Missing;
            entry.said = None;
        }
        if entry.may_say() {
            self.notices.push(Notice::TopicMissing { topic: Arc::clone(topic) });
        }
        Ok(())
    }

    fn found(
        &mut self,
        topic: &Arc<str>,
        id: Option<String>,
        partitions: &[i32],
    ) -> Result<(), SourceError> {
        // A rebased topic is known by the name that its owner gave it, not by the broker's id.
        let id = id.filter(|_| self.rebase.is_none());
        let incarnation = match (self.topics.get(topic).map(|t| &t.state), id) {
            (Some(State::Reading(known)), Some(id)) if is_id(known) && **known != *id => {
                let (old, new) = (Arc::clone(known), Arc::from(id));
                self.recreated(topic, &old, &new)?;
                new
            }
            (Some(State::Reading(known)), _) => Arc::clone(known),
            (Some(State::Halted(known)), Some(id)) if is_id(known) && **known != *id => {
                let (old, new) = (Arc::clone(known), Arc::from(id));
                self.recreated(topic, &old, &new)?;
                new
            }
            (Some(State::Halted(_)), _) => return Ok(()),
            (_, id) => match self.first_incarnation(topic, id)? {
                Some(incarnation) => incarnation,
                None => return Ok(()),
            },
        };
        if self.renew {
            self.set_state(topic, State::Reading(incarnation));
            return Ok(());
        }
        let refused: Vec<i32> = self
            .lanes
            .iter()
            .filter(|lane| lane.refused && lane.partition.topic == *topic)
            .map(|lane| lane.partition.partition)
            .collect();
        self.close_lanes(|lane| lane.refused && lane.partition.topic == *topic)?;
        self.open(topic, &incarnation, partitions, &refused)
    }

    fn recreated(
        &mut self,
        topic: &Arc<str>,
        old: &Arc<str>,
        new: &Arc<str>,
    ) -> Result<(), SourceError> {
        self.close(topic)?;
        self.set_state(topic, State::Unknown);
        self.renew |= self.topics.get(topic).is_some_and(|t| t.opened);
        let (topic, old, new) = (Arc::clone(topic), Arc::clone(old), Arc::clone(new));
        self.notices.push(Notice::Recreated { topic, old, new });
        Ok(())
    }

    /// Which incarnation a topic continues that is not being read yet. `None`: it was halted.
    fn first_incarnation(
        &mut self,
        topic: &Arc<str>,
        id: Option<String>,
    ) -> Result<Option<Arc<str>>, SourceError> {
        if let Some(rebase) = &self.rebase {
            return Ok(Some(Arc::clone(&rebase.incarnation)));
        }
        let (source, known) = (&self.config.name, self.reached.keys());
        let mut known: Vec<Arc<str>> = known
            .filter(|k| *k.source == **source && k.topic == *topic)
            .map(|k| Arc::clone(&k.incarnation))
            .collect();
        known.dedup();
        let id: Option<Arc<str>> = id.map(Arc::from);
        if let Some(id) = &id
            && (known.is_empty() || known.contains(id))
        {
            return Ok(Some(Arc::clone(id)));
        }
        // Numbers stand in for ids where the broker has none.
        let number =
            known.iter().filter(|k| !is_id(k)).max_by_key(|k| k.parse::<u64>().unwrap_or(0));
        let old = match (number, known.last()) {
            (Some(number), _) if known.iter().all(|k| !is_id(k)) || id.is_none() => {
                let number = Arc::clone(number);
                if self.is_same(topic, &number)? {
                    return Ok(Some(number));
                }
                number
            }
            (_, Some(_)) if id.is_none() => {
                let reason = "the broker gives no topic ids, but this lake's progress was kept under \
                              one; read from brokers with topic ids (Kafka 2.8 or later)";
                self.halt(topic, -1, (-1, -1, -1), reason.to_owned())?;
                return Ok(None);
            }
            (_, Some(last)) => Arc::clone(last),
            (_, None) => return Ok(Some(id.unwrap_or_else(|| Arc::from("0")))),
        };
        let next = || Arc::from((old.parse::<u64>().unwrap_or(0) + 1).to_string());
        let new = id.unwrap_or_else(next);
        self.recreated(topic, &old, &new)?;
        Ok(Some(new))
    }

    /// Whether the last committed records of a topic without an id are still there, unchanged.
    fn is_same(&mut self, topic: &Arc<str>, incarnation: &Arc<str>) -> Result<bool, SourceError> {
        let lasts: Vec<(i32, LastRecord)> = self
            .reached
            .iter()
            .filter(|(k, _)| k.topic == *topic && k.incarnation == *incarnation)
            .filter_map(|(k, reached)| Some((k.partition, reached.last?)))
            .collect();
        for (partition, last) in lasts {
            let span = Span {
                source: self.config.name.clone(),
                topic: topic.to_string(),
                incarnation: incarnation.to_string(),
                partition,
                from: last.offset,
                to: last.offset.saturating_add(1),
            };
            match reread::read(&self.config, &[span], Instant::now() + ANSWER) {
                Ok(batches) => {
                    let found = batches.iter().flat_map(|b| b.iter()).next();
                    if found.is_some_and(|r| record_hash(&r) != last.hash) {
                        return Ok(false);
                    }
                }
                Err(SourceError::Lost { reason, .. }) => {
                    let reason = format!("its last committed record cannot be compared: {reason}");
                    self.trouble(topic, &reason);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(true)
    }

    /// Opens the partitions of a topic that are not read yet. `refused` ones were just refused by the
    /// broker at the offset where they stood.
    fn open(
        &mut self,
        topic: &Arc<str>,
        incarnation: &Arc<str>,
        partitions: &[i32],
        refused: &[i32],
    ) -> Result<(), SourceError> {
        let mut fresh = Vec::new();
        let mut assignment = TopicPartitionList::new();
        let mut complete = true;
        self.set_state(topic, State::Reading(Arc::clone(incarnation)));
        for &partition in partitions {
            if self
                .lanes
                .iter()
                .any(|l| l.partition.topic == *topic && l.partition.partition == partition)
            {
                continue;
            }
            let client = Arc::clone(&self.link()?.client);
            let (low, high) = match client.fetch_watermarks(topic, partition, ANSWER) {
                Ok(bounds) => bounds,
                Err(e) => {
                    self.trouble(topic, &format!("partition {partition}: {e}"));
                    complete = false;
                    continue;
                }
            };
            let bounds = Bounds { low, high };
            let key = self.key(topic, incarnation, partition);
            let confirmed = refused.contains(&partition);
            let Some(next) = self.first_offset(&key, bounds, confirmed)? else { return Ok(()) };
            let lane = self.lane(key, next)?;
            assignment
                .add_partition_offset(topic, partition, Offset::Offset(next - lane.shift))
                .map_err(|e| failed(&self.config.name, "assigning", e))?;
            fresh.push(lane);
        }
        self.assign(&assignment)?;
        for lane in &mut fresh {
            let (partition, from) = (Arc::clone(&lane.partition), lane.next);
            self.notices.push(Notice::Assigned { partition, from });
            if let Some(ends) = &self.ends {
                // One without an end appeared after the ends were fixed.
                lane.end = Some(ends.get(&*lane.partition).copied().unwrap_or(lane.next));
            }
        }
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.opened = true;
        }
        self.lanes.append(&mut fresh);
        if !complete {
            self.set_state(topic, State::Unknown);
        }
        Ok(())
    }

    fn set_state(&mut self, topic: &Arc<str>, state: State) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.state = state;
        }
    }

    fn key(&self, topic: &Arc<str>, incarnation: &Arc<str>, partition: i32) -> TopicPartition {
        TopicPartition {
            source: Arc::from(self.config.name.as_str()),
            topic: Arc::clone(topic),
            incarnation: Arc::clone(incarnation),
            partition,
        }
    }

    fn shift(&self, key: &TopicPartition) -> i64 {
        let base = self.rebase.as_ref().map(|r| &r.base);
        base.and_then(|b| b.get(&(key.topic.to_string(), key.partition))).copied().unwrap_or(0)
    }

    /// Where to read a partition from. `None`: its topic was halted.
    fn first_offset(
        &mut self,
        key: &TopicPartition,
        Bounds { low, high }: Bounds,
        confirmed: bool,
    ) -> Result<Option<i64>, SourceError> {
        let shift = self.shift(key);
        let (low, high) = (low.saturating_add(shift), high.saturating_add(shift));
        let Some(wanted) = self.reached.get(key).map(|r| r.next) else { return Ok(Some(low)) };
        let (topic, partition) = (Arc::clone(&key.topic), key.partition);
        if wanted < low {
            if self.config.lost_records == LostRecords::Skip {
                let (from, to) = (wanted, low);
                self.notices.push(Notice::Gap { topic, partition, from, to });
                return Ok(Some(low));
            }
            let reason = "the broker deleted records before they were read (retention); raise the \
                          topic's retention, and set `lost_records = \"skip\"` on the source to go \
                          on without them";
            self.halt(&topic, partition, (wanted, low, high), reason.to_owned())?;
            return Ok(None);
        }
        if confirmed && wanted > high {
            let reason = "the broker has fewer records than were read from it: it lost data or was \
                          restored from a backup; restore the topic, or use a new topic name";
            self.halt(&topic, partition, (wanted, low, high), reason.to_owned())?;
            return Ok(None);
        }
        Ok(Some(wanted))
    }

    fn lane(&mut self, key: TopicPartition, next: i64) -> Result<Lane, SourceError> {
        let name = self.config.name.clone();
        let shift = self.shift(&key);
        let native = CString::new(&*key.topic).map_err(|e| failed(&name, "assigning", e))?;
        let link = self.link()?;
        let queue = Queue::of_partition(&link.client, &key.topic, key.partition, &link.wake)
            .ok_or_else(|| failed(&name, "assigning", "the partition has no queue"))?;
        Ok(Lane::new(Arc::new(key), native, queue, (next, shift)))
    }

    fn assign(&mut self, assignment: &TopicPartitionList) -> Result<(), SourceError> {
        let name = self.config.name.clone();
        if assignment.count() == 0 {
            return Ok(());
        }
        let client = &self.link()?.client;
        client.incremental_assign(assignment).map_err(|e| failed(&name, "assigning", e))
    }

    fn close(&mut self, topic: &Arc<str>) -> Result<(), SourceError> {
        self.close_lanes(|lane| lane.partition.topic == *topic)
    }

    /// Stops reading some partitions; where they stood is remembered.
    fn close_lanes(&mut self, which: impl Fn(&Lane) -> bool) -> Result<(), SourceError> {
        let name = self.config.name.clone();
        let mut gone = TopicPartitionList::new();
        for lane in self.lanes.iter().filter(|lane| which(lane)) {
            gone.add_partition(&lane.partition.topic, lane.partition.partition);
            let key = TopicPartition::clone(&lane.partition);
            let reached = crate::source::Reached { next: lane.next, last: None };
            self.reached.insert(key, reached);
        }
        if gone.count() > 0 {
            let client = &self.link()?.client;
            client.incremental_unassign(&gone).map_err(|e| failed(&name, "unassigning", e))?;
            self.lanes.retain(|lane| !which(lane));
        }
        Ok(())
    }
}

/// Whether an incarnation is a topic id, and not a number that stands in for one.
fn is_id(incarnation: &str) -> bool {
    incarnation.parse::<u64>().is_err()
}
