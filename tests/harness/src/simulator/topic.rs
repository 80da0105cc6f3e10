//! Topics: partitions that keep their records in order, what a cleaner leaves of them, and their lives.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

/// A message as a connector sends it, with what only the simulator knows of it.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    /// The database and the row that it is of.
    pub(super) row: (u8, Option<i64>),
    /// The large values that it carries.
    pub(super) carries: Vec<String>,
    pub(super) is_delete: bool,
    /// The cleaner leaves it alone: what it proves of other rows would be lost with it.
    pub(super) is_kept: bool,
}

/// A message in its partition.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) offset: i64,
    /// The number of the message over all topics.
    pub(super) sent: i64,
    pub(super) message: Message,
}

/// One life of a topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) life: usize,
    pub(super) partitions: Vec<Vec<Stored>>,
    next: Vec<i64>,
}

/// All topics, and in which life which shard writes now.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) topics: Vec<Topic>,
    /// By database: the number of the topic.
    current: BTreeMap<u8, usize>,
    sent: i64,
}

impl Broker {
    /// Makes a topic, or the next life of one, that these databases write from here on.
    pub(super) fn create(&mut self, databases: &[u8], name: String, partitions: usize) {
        let life = self.topics.iter().filter(|topic| topic.name == name).count();
        let number = self.topics.len();
        let (lists, next) = (vec![Vec::new(); partitions], vec![0; partitions]);
        self.topics.push(Topic { name, life, partitions: lists, next });
        self.current.extend(databases.iter().map(|database| (*database, number)));
    }

    /// The topic that a database writes.
    pub(super) fn topic(&mut self, database: u8) -> Option<&mut Topic> {
        self.topics.get_mut(*self.current.get(&database)?)
    }

    /// Databases that write the topic of this one.
    pub(super) fn beside(&self, database: u8) -> Vec<u8> {
        let own = self.current.get(&database);
        self.current.iter().filter(|(_, at)| Some(*at) == own).map(|(other, _)| *other).collect()
    }

    pub(super) fn send(&mut self, message: Message) {
        self.sent += 1;
        let sent = self.sent;
        let Some(topic) = self.topic(message.row.0) else { return };
        let count = topic.partitions.len() as u64;
        let at = match &message.key {
            Some(key) => hash(key) % count,
            None => sent.unsigned_abs() % count,
        };
        let at = usize::try_from(at).unwrap_or(0);
        if let (Some(list), Some(next)) = (topic.partitions.get_mut(at), topic.next.get_mut(at)) {
            list.push(Stored { offset: *next, sent, message });
            *next += 1;
        }
    }

    /// The cleaner runs over a stretch of a partition: of each key in it the last record stays. A reader
    /// may have read what is before the stretch.
    pub(super) fn clean(&mut self, rng: &mut StdRng) {
        let topics = self.topics.iter().enumerate();
        let places =
            topics.flat_map(|(at, topic)| (0..topic.partitions.len()).map(move |p| (at, p)));
        let places: Vec<(usize, usize)> = places.collect();
        if places.is_empty() {
            return;
        }
        let (topic, partition) = places[rng.random_range(0..places.len())];
        let elsewhere: Vec<(u8, Option<i64>)> = places
            .iter()
            .filter(|place| **place != (topic, partition))
            .flat_map(|(topic, partition)| &self.topics[*topic].partitions[*partition])
            .map(|stored| stored.message.row)
            .collect();
        let list = &mut self.topics[topic].partitions[partition];
        let to = rng.random_range(0..=list.len());
        let from = rng.random_range(0..=to);
        let mut kept: Vec<Stored> = Vec::new();
        for (at, stored) in list.iter().enumerate() {
            let rest = list.get(at + 1..to).unwrap_or_default();
            let is_last = rest.iter().all(|later| later.message.key != stored.message.key);
            // A tombstone alone names no place in the source: it speaks for its own partition, and not
            // against a snapshot.
            let row = stored.message.row;
            let is_told =
                list.iter().any(|other| other.message.is_kept && other.message.row == row);
            let is_needed = stored.message.is_delete && (is_told || elsewhere.contains(&row));
            if at < from || at >= to || is_last || stored.message.is_kept || is_needed {
                kept.push(stored.clone());
            }
        }
        *list = kept;
    }
}

impl Topic {
    /// Gives it one partition more.
    pub(super) fn grow(&mut self) {
        self.partitions.push(Vec::new());
        self.next.push(0);
    }
}

fn hash(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    hash ^ hash >> 29
}
