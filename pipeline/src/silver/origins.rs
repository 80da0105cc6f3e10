//! The origins of a table's rows, and what each of them is up to; the lives of the topics they came by.
//!
//! An origin is a table of a source database, or a topic where events do not say. Everything that a
//! source's order means is its own: where it began to number anew, what it truncated, the snapshot that
//! passes, why it stands still. Nothing of it speaks of another origin.
//!
//! # Guarantees
//! - Origins and lives of topics are numbered in the order in which they were first seen, and keep their
//!   numbers: rows and tombstones name them so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use schemas::{EpochStamp, Micros, Position};
use serde::{Deserialize, Serialize};

use super::absent::Sent;
use super::fed::{Fed, new_tenant};
use super::gap::Gap;
use super::report::Halt;
use super::restart::Restart;
use super::seen::TopicLife;
use super::snapshot::{Lacking, Over, SnapshotRun};
use super::tombstones::Tombstone;
use super::withheld::Withheld;
use crate::decode::PreparedContract;

/// By column, how often an infinity came and was taken as null.
pub(super) type Infinite = BTreeMap<usize, u64>;

/// The last change of an origin that was read, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) position: Position,
    pub(super) epoch: u64,
    pub(super) clock: i64,
    pub(super) is_quiet: bool,
}

impl Seen {
    /// A change at this position, in this epoch.
    pub(super) fn new(position: Position, stamp: &EpochStamp, is_quiet: bool) -> Seen {
        let EpochStamp { id: epoch, clock, .. } = *stamp;
        Seen { position, epoch, clock: clock.0, is_quiet }
    }
}

/// What one origin is up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// How often its numbering began anew.
    pub(super) incarnation: u32,
    pub(super) halt: Option<Halt>,
    /// The last truncate: a tombstone for every key of it without a row.
    pub(super) floor: Option<Tombstone>,
    /// Snapshots that are passing, as they were seen first.
    pub(super) snapshots: Vec<SnapshotRun>,
    /// The last snapshot that is over.
    pub(super) over: Option<Over>,
    /// Rows that the last snapshot lacked, and that were not deleted for it.
    pub(super) lacking: Option<Lacking>,
    /// The columns that it has sent.
    pub(super) sent: Sent,
    /// By column, how often an infinity came and was taken as null.
    pub(super) infinite: Infinite,
    /// Records that were gone before they were read, the last of them.
    pub(super) gap: Option<Gap>,
    /// The earliest snapshot that was seen to its end.
    pub(super) first: Option<SnapshotRun>,
    /// Rows that an unfinished one before it left.
    pub(super) withheld: Withheld,
    /// Whether its source promises that no snapshot is taken with conditions.
    pub(super) is_whole: bool,
    /// The last change of it that was read, whatever became of that.
    pub(super) seen: Option<Seen>,
    /// How its numbering began anew, each time.
    pub(super) restarts: Vec<Restart>,
    /// Whether any row of it was ever deleted.
    pub(super) has_deleted: bool,
    /// The clock of the last epoch in which it was quiet.
    pub(super) last_quiet: Option<Micros>,
    /// The tenants that it has ever fed a row of.
    pub(super) fed: Fed,
}

impl Origin {
    /// Whether a change is a row of a snapshot that was begun before the first complete one, and never ended.
    pub(super) fn is_unfinished(&self, position: &Position) -> bool {
        let own = self.snapshots.iter().find(|run| run.told(position));
        own.is_some_and(|run| self.is_before_first(run) && !run.has_ended())
    }

    /// Whether such a row stays away. Its snapshot is forgotten once a later one is over; had it ended, the row would
    /// have come back by then.
    pub(super) fn stays_away(&self, position: &Position) -> bool {
        let is_known = self.snapshots.iter().any(|run| run.told(position));
        let is_forgotten = || self.is_before_first(&SnapshotRun::of(position, Micros(0)));
        self.is_unfinished(position) || !is_known && is_forgotten()
    }

    fn is_before_first(&self, run: &SnapshotRun) -> bool {
        let first = self.first.as_ref();
        first.is_some_and(|first| run.is_before(first) && !run.is_same(first))
    }

    /// Whether a row of a snapshot is older than what is held: a later snapshot, as far as it has passed, has seen
    /// the row that is held, or knows it to be later.
    pub(super) fn is_overtaken(&self, row: &Position, held: &Position) -> bool {
        let own = self.runs().find(|run| run.told(row));
        own.is_some_and(|own| self.runs().any(|run| !run.is_before(own) && !run.is_missing(held)))
    }

    /// The snapshots that are known of: those that pass, and the last that is over.
    pub(super) fn runs(&self) -> impl Iterator<Item = &SnapshotRun> {
        self.snapshots.iter().chain(self.over.as_ref().map(|over| &over.run))
    }
}

/// Origins by number and by text.
#[derive(Debug, Default)]
pub(super) struct Origins {
    names: Arc<Vec<Arc<str>>>,
    numbers: HashMap<Arc<str>, u32>,
    all: Vec<Origin>,
    topics: Vec<Arc<str>>,
    /// Which origin came by which life of a topic.
    ways: BTreeSet<(u32, u32)>,
    /// The clock of the epoch that is being folded.
    now: Micros,
    /// Of the batch that is being applied: its own number of an origin to the table's, and its topic.
    batch: Vec<u32>,
    topic: u32,
}

/// Origins and topics as they are saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedOrigins {
    origins: Vec<(Arc<str>, Origin)>,
    topics: Vec<Arc<str>>,
    ways: BTreeSet<(u32, u32)>,
}

impl SavedOrigins {
    /// What complete snapshots lacked.
    pub(super) fn lacking(self) -> Vec<Lacking> {
        self.origins.into_iter().filter_map(|(_, origin)| origin.lacking).collect()
    }
}

fn number_of(index: usize) -> u32 {
    // A database with four billion tables has other problems.
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl Origins {
    /// A row of an origin comes, `old` being the one before it.
    pub(super) fn feed(
        &mut self,
        contract: &PreparedContract,
        origin: u32,
        old: Option<&[u8]>,
        new: &[u8],
    ) {
        let tenant = new_tenant(contract, old, new);
        if let (Some(tenant), Some(own)) = (tenant, self.get_mut(origin)) {
            own.fed.add(tenant);
        }
    }

    /// The number of an origin.
    pub(super) fn intern(&mut self, origin: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(origin) {
            return *number;
        }
        let number = number_of(self.names.len());
        Arc::make_mut(&mut self.names).push(Arc::clone(origin));
        self.numbers.insert(Arc::clone(origin), number);
        self.all.push(Origin::default());
        number
    }

    /// These origins are quiet in the epoch with this clock.
    pub(super) fn hush<'a>(&mut self, quiet: impl Iterator<Item = &'a Arc<str>>, clock: Micros) {
        for origin in quiet {
            let number = self.intern(origin);
            let own = self.get_mut(number);
            own.into_iter().for_each(|own| own.last_quiet = Some(clock));
        }
    }

    /// The epoch with this clock is being folded.
    pub(super) fn begin_epoch(&mut self, clock: Micros) {
        self.now = clock;
    }

    /// Whether an origin is quiet in the epoch that is being folded.
    pub(super) fn is_quiet(&self, number: u32) -> bool {
        self.get(number).is_some_and(|own| own.last_quiet == Some(self.now))
    }

    /// A batch of this life of a topic with these origins is applied next; `is_whole` says whether its
    /// source promises whole snapshots.
    pub(super) fn begin(&mut self, topic: &str, is_whole: bool, origins: &[Arc<str>]) {
        let known = self.topics.iter().position(|known| **known == *topic);
        self.topic = number_of(known.unwrap_or_else(|| {
            self.topics.push(topic.into());
            self.topics.len() - 1
        }));
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        batch.extend(origins.iter().map(|origin| self.intern(origin)));
        self.ways.extend(batch.iter().map(|origin| (self.topic, *origin)));
        for origin in &batch {
            self.get_mut(*origin).into_iter().for_each(|own| own.is_whole = is_whole);
        }
        self.batch = batch;
    }

    /// A partition of the life of a topic that the batch is of is read: what it brings was sent behind all that the lives
    /// of that topic before have brought, and so behind the snapshots that began there.
    pub(super) fn follow_lives(&mut self, partition: i32) {
        let (topic, lane) = (self.topic, (self.topic, partition));
        let is_open = |origin: &u32| {
            self.get(*origin).is_some_and(|own| own.runs().any(|run| !run.has_begun(lane)))
        };
        if topic == 0 || !self.batch.iter().any(is_open) {
            return;
        }
        let own = TopicLife::read(self.topic_name(topic));
        let is_one = |other: &TopicLife| (&other.source, &other.topic) == (&own.source, &own.topic);
        let lives = (0..topic).filter(|life| is_one(&TopicLife::read(self.topic_name(*life))));
        let lives: Vec<u32> = lives.collect();
        for origin in self.batch.clone() {
            let Some(own) = self.get_mut(origin) else { continue };
            let over = own.over.as_mut().map(|over| &mut over.run);
            own.snapshots.iter_mut().chain(over).for_each(|run| run.follow(lane, &lives));
        }
    }

    /// The number of an origin of the batch.
    pub(super) fn of(&self, in_batch: u32) -> u32 {
        self.batch.get(in_batch as usize).copied().unwrap_or(u32::MAX)
    }

    /// The life of a topic that the batch is of.
    pub(super) fn topic(&self) -> u32 {
        self.topic
    }

    /// The number of a life of a topic.
    pub(super) fn topic_number(&self, name: &str) -> Option<u32> {
        self.topics.iter().position(|known| **known == *name).map(number_of)
    }

    /// What a life of a topic is called.
    pub(super) fn topic_name(&self, topic: u32) -> &str {
        self.topics.get(topic as usize).map_or("", |name| name)
    }

    /// What the lives of topics are called, by number.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|name| &**name)
    }

    /// The origins that ever came by the topic of the batch.
    pub(super) fn of_topic(&self) -> impl Iterator<Item = u32> {
        self.ways.range((self.topic, 0)..=(self.topic, u32::MAX)).map(|(_, origin)| *origin)
    }

    /// The lives of topics by which origins ever came.
    pub(super) fn ways(&self) -> impl Iterator<Item = (&str, u32)> {
        let topic = |topic: u32| self.topics.get(topic as usize).map_or("", |topic| topic);
        self.ways.iter().map(move |(way, origin)| (topic(*way), *origin))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// What an origin is up to.
    pub(super) fn get(&self, number: u32) -> Option<&Origin> {
        self.all.get(number as usize)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Origin> {
        self.all.get_mut(number as usize)
    }

    /// All of them, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Origin)> {
        (0..).zip(&self.all)
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Origin> {
        self.all.iter_mut()
    }

    /// The number of a text.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The text of a number.
    pub(super) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", |name| name)
    }

    /// The texts, by number, as they are now.
    pub(super) fn names(&self) -> Arc<Vec<Arc<str>>> {
        Arc::clone(&self.names)
    }

    /// As they are saved.
    pub(super) fn saved(&self) -> SavedOrigins {
        let origins = self.names.iter().cloned().zip(self.all.iter().cloned()).collect();
        SavedOrigins { origins, topics: self.topics.clone(), ways: self.ways.clone() }
    }

    /// What was saved.
    pub(super) fn restore(saved: SavedOrigins) -> Origins {
        let SavedOrigins { origins, topics, ways } = saved;
        let mut restored = Origins { topics, ways, ..Origins::default() };
        for (name, origin) in origins {
            let number = restored.intern(&name);
            restored.get_mut(number).into_iter().for_each(|held| *held = origin.clone());
        }
        restored
    }
}
