//! Holding records back until their transactions are whole. Pure: time is what the caller says.
//!
//! Debezium writes the rows of a transaction to as many topics as it has tables, and what it consisted of
//! to a metadata topic. They are read side by side, so any part may come first.
//!
//! # Guarantees
//! - What [`Cut::cut`] gives ends each partition before the first transaction that is not whole, the metadata
//!   topic too: after a stop, all that is missing is read again.
//! - Records of a partition leave in their order, each once.
//! - Every wait is bounded. A transaction is cut, and counted, when it lacks something 1 s after its first
//!   record and nothing more is known to be there; when all that is there has been read up to 1 s beyond it;
//!   and when more than 20,000 records or 8 MiB of it are held. One that lacks its END alone leaves together, and
//!   counts only if that says more, or does not come within a minute.
//! - In a backlog, partitions that are ahead wait for those that are behind, by the time of their records.
//!
//! # Non-guarantees
//! - Transactions of other sources, or of another connector, are not waited for.

mod marks;
mod register;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::Micros;

pub(super) use self::marks::names_one;
use self::marks::{Mark, Marks};
use self::register::{Held, NEVER, NONE, Register, Transaction, WAIT_US};
use crate::record::{RawBatch, TopicPartition};

/// How long a transaction is waited for.
const WAIT: Duration = Duration::from_secs(1);
/// A partition that is behind and brings nothing for so long is not waited for.
const STUCK: Duration = Duration::from_secs(5);
/// Records and bytes of one transaction.
const RECORDS_MAX: usize = 20_000;
const BYTES_MAX: usize = 8 << 20;
/// Records of one poll: partitions that are read together do not get far apart.
pub(super) const POLL_MAX: usize = RECORDS_MAX / 2;

/// What the source knows of a partition beyond what it has handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outlook {
    pub(super) partition: Arc<TopicPartition>,
    /// More is known to be there.
    pub(super) is_behind: bool,
}

/// What is known of all partitions.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    /// The broker cannot be reached.
    pub(super) is_down: bool,
    /// Some partition is not read yet.
    pub(super) is_partial: bool,
    pub(super) partitions: Vec<Outlook>,
}

/// Whether changes name their transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocks {
    Unknown,
    Missing,
    Sent,
}

/// What came of a partition at once.
#[derive(Debug)]
struct Part {
    batch: RawBatch,
    /// The number of each record's transaction.
    numbers: Vec<u64>,
    came: Instant,
}

/// Records of a partition that have not left yet.
#[derive(Debug)]
struct Lane {
    partition: Arc<TopicPartition>,
    is_metadata: bool,
    parts: VecDeque<Part>,
    /// How many have left.
    left: usize,
    /// How many have come.
    came: usize,
    /// The newest timestamp.
    front: Micros,
    /// When it last brought something.
    brought: Instant,
    is_behind: bool,
    is_paused: bool,
}

impl Lane {
    /// Whether it may still bring what a transaction lacks.
    fn is_moving(&self, now: Instant) -> bool {
        self.is_behind && now.saturating_duration_since(self.brought) < STUCK
    }

    /// The transactions of the records from `from` to `to`.
    fn numbers(&self, from: usize, to: usize) -> impl Iterator<Item = u64> {
        let all = self.parts.iter().flat_map(|part| part.numbers.iter().copied());
        all.skip(from.saturating_sub(self.left)).take(to.saturating_sub(from))
    }

    /// Hands out the records before `to`, in one batch where nothing is between them.
    fn release(&mut self, to: usize, into: &mut Vec<RawBatch>) {
        let mut out: Option<RawBatch> = None;
        while self.left < to {
            let Some(Part { mut batch, mut numbers, came }) = self.parts.pop_front() else { break };
            if self.left + batch.len() > to {
                let rest = batch.split_off(to - self.left);
                let numbers = numbers.split_off(to - self.left);
                self.parts.push_front(Part { batch: rest, numbers, came });
            }
            self.left += batch.len();
            match &mut out {
                Some(own) if own.span().map(|s| s.1) == batch.span().map(|s| s.0) => {
                    batch.iter().for_each(|record| own.push_record(&record));
                }
                _ => into.extend(out.replace(batch)),
            }
        }
        into.extend(out);
    }
}

/// The stage between a source and its epochs.
#[derive(Debug)]
pub(super) struct Cut {
    marks: Marks,
    register: Register,
    lanes: Vec<Lane>,
    /// The place of each partition's lane.
    by_partition: BTreeMap<Arc<TopicPartition>, usize>,
    records: usize,
    bytes: usize,
    /// The metadata topic is there.
    waits: bool,
    /// When something was last known to be on its way.
    unsettled: Instant,
    /// Since when partitions are missing.
    partial: Option<Instant>,
    blocks: Blocks,
    /// Transactions that were cut, and have not been told of.
    split: u64,
}

impl Cut {
    /// A stage that holds nothing.
    pub(super) fn new<'a>(
        metadata: &str,
        topics: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> Cut {
        Cut {
            marks: Marks::new(metadata, topics),
            register: Register::default(),
            lanes: Vec::new(),
            by_partition: BTreeMap::new(),
            records: 0,
            bytes: 0,
            waits: true,
            unsettled: now,
            partial: None,
            blocks: Blocks::Unknown,
            split: 0,
        }
    }

    /// Says whether the metadata topic is there: without it nothing waits.
    pub(super) fn set_waits(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// Whether changes name their transactions, by what has come.
    pub(super) fn blocks(&self) -> Blocks {
        self.blocks
    }

    /// Transactions that were cut since this was last asked.
    pub(super) fn take_split(&mut self) -> u64 {
        std::mem::take(&mut self.split) + self.register.take_late()
    }

    /// Whether something has not left.
    pub(super) fn is_holding(&self) -> bool {
        self.records > 0
    }

    /// The first offset of a partition that has not left, if any.
    pub(super) fn first_held(&self, partition: &TopicPartition) -> Option<i64> {
        let lane = self.lanes.get(*self.by_partition.get(partition)?)?;
        Some(lane.parts.front()?.batch.span()?.0)
    }

    fn lane(&mut self, partition: &Arc<TopicPartition>, now: Instant) -> usize {
        let known = self.by_partition.get(partition).copied();
        known.unwrap_or_else(|| {
            self.by_partition.insert(Arc::clone(partition), self.lanes.len());
            self.lanes.push(Lane {
                partition: Arc::clone(partition),
                is_metadata: self.marks.is_metadata(&partition.topic),
                parts: VecDeque::new(),
                left: 0,
                came: 0,
                front: NEVER,
                brought: now,
                is_behind: false,
                is_paused: false,
            });
            self.lanes.len() - 1
        })
    }

    /// Takes what a partition brought.
    pub(super) fn take(&mut self, batch: RawBatch, now: Instant) {
        let lane = self.lane(batch.topic(), now);
        let Some(own) = self.lanes.get_mut(lane) else { return };
        let mut numbers = Vec::with_capacity(batch.len());
        for record in batch.iter() {
            let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
            let mark = self.marks.of(&batch.topic().topic, &record);
            match mark {
                Mark::Bare if self.blocks == Blocks::Unknown => self.blocks = Blocks::Missing,
                Mark::Row { .. } => self.blocks = Blocks::Sent,
                Mark::Bare | Mark::Free | Mark::Begin { .. } | Mark::End { .. } => {}
            }
            let held = Held { lane, at: own.came, timestamp: record.timestamp, bytes };
            numbers.push(self.register.note(mark, held, &self.marks, now));
            own.came += 1;
            own.front = own.front.max(record.timestamp.unwrap_or(own.front));
        }
        own.brought = now;
        self.records += batch.len();
        self.bytes += batch.bytes();
        own.parts.push_back(Part { batch, numbers, came: now });
    }

    /// Hands out all that may leave at `now`.
    pub(super) fn cut(&mut self, now: Instant, sight: &Sight, into: &mut Vec<RawBatch>) {
        self.look(now, sight);
        self.register.settle(Some(now));
        if !self.waits {
            self.forget();
        }
        self.split_overdue(now);
        let (mut stay, mut cuts) = self.blocked();
        while let Some(number) = self.too_much(&cuts) {
            self.split(number);
            (stay, cuts) = self.blocked();
        }
        if self.waits && self.only_markers(&cuts, now) {
            return;
        }
        self.release((&stay, &cuts), now, into);
    }

    /// Hands out what is left at an end that was fixed. Of a transaction without its END nothing leaves,
    /// unless that is known to be lost: it is read whole by the next run. Returns how many those are.
    pub(super) fn finish(&mut self, into: &mut Vec<RawBatch>) -> usize {
        let heard = self.lanes.iter().filter(|lane| lane.is_metadata).map(|lane| lane.front).min();
        let heard = heard.unwrap_or(NEVER);
        let is_lost = |own: &Transaction| own.is_ended() || own.is_passed(heard);
        let lost: Vec<u64> =
            self.register.lacking().filter(|(_, own)| is_lost(own)).map(|(n, _)| n).collect();
        lost.into_iter().for_each(|number| self.split(number));
        let (stay, cuts) = self.blocked();
        self.release((&stay, &cuts), Instant::now(), into);
        self.register.settle(None);
        self.register.lacking().count()
    }

    /// Which partitions are not to be read for now: while much is held, those that are ahead of what is lacked.
    pub(super) fn paused(&mut self, now: Instant) -> BTreeSet<Arc<TopicPartition>> {
        let is_crowded = self.records >= POLL_MAX || self.bytes >= BYTES_MAX / 2;
        let oldest = self.oldest().filter(|_| is_crowded).map(|(_, newest)| newest);
        let reads = |lane: &Lane, upto: Micros| lane.front <= upto;
        let mut upto = oldest;
        if let Some(newest) = oldest
            && !self.lanes.iter().any(|lane| lane.is_moving(now) && reads(lane, newest))
        {
            upto = Some(newest.plus(WAIT_US));
        }
        for lane in &mut self.lanes {
            let is_paused = upto.is_some_and(|upto| lane.front > upto);
            if lane.is_paused && !is_paused {
                lane.brought = now;
            }
            lane.is_paused = is_paused;
        }
        let paused = self.lanes.iter().filter(|lane| lane.is_paused);
        paused.map(|lane| Arc::clone(&lane.partition)).collect()
    }

    /// The transaction that lacks something and whose records are the oldest, and how new they are.
    fn oldest(&self) -> Option<(u64, Micros)> {
        let lacking = self.register.lacking().map(|(number, own)| (own.newest, number));
        lacking.min().map(|(newest, number)| (number, newest))
    }

    /// Notes what the source knows.
    fn look(&mut self, now: Instant, sight: &Sight) {
        let mut behind = BTreeSet::new();
        for Outlook { partition, is_behind } in &sight.partitions {
            let lane = self.lane(partition, now);
            behind.extend(is_behind.then_some(lane));
        }
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let is_behind = behind.contains(&at);
            if is_behind && !lane.is_behind {
                lane.brought = now;
            }
            lane.is_behind = is_behind;
        }
        let partial = self.partial.get_or_insert(now);
        let is_partial = sight.is_partial && now.saturating_duration_since(*partial) < STUCK;
        if !sight.is_partial {
            self.partial = None;
        }
        let is_moving = self.lanes.iter().any(|lane| !lane.is_paused && lane.is_moving(now));
        if sight.is_down || is_partial || is_moving {
            self.unsettled = now;
        }
    }

    /// Cuts the transactions that have been waited for long enough.
    fn split_overdue(&mut self, now: Instant) {
        let moving = self.lanes.iter().filter(|lane| lane.is_moving(now)).map(|lane| lane.front);
        let read = moving.min();
        let settled = self.unsettled;
        let is_overdue = |own: &Transaction| {
            let is_late = now.saturating_duration_since(own.since.max(settled)) >= WAIT;
            is_late || read.is_some_and(|read| own.is_passed(read))
        };
        let is_parted = |own: &Transaction| {
            let is_large = own.records > RECORDS_MAX || own.bytes > BYTES_MAX;
            is_large || (own.is_ended() && is_overdue(own))
        };
        let numbers = |is_it: &dyn Fn(&Transaction) -> bool| -> Vec<u64> {
            let found = self.register.lacking().filter(|(_, own)| is_it(own));
            found.map(|(number, _)| number).collect()
        };
        let (parted, overdue) = (numbers(&is_parted), numbers(&is_overdue));
        parted.into_iter().for_each(|number| self.split(number));
        overdue.into_iter().for_each(|number| self.register.give_up(number));
    }

    fn split(&mut self, number: u64) {
        self.split += u64::from(self.register.close(number));
    }

    /// Lets everything go.
    fn forget(&mut self) {
        let all: Vec<u64> = self.register.open().map(|(number, _)| number).collect();
        for number in all {
            self.register.close(number);
        }
    }

    /// Which transactions stay, and where each lane is cut for that: before the first record of one that is
    /// not whole, and of those that have a record behind such a cut.
    fn blocked(&self) -> (BTreeSet<u64>, Vec<usize>) {
        let mut cuts: Vec<usize> = self.lanes.iter().map(|lane| lane.came).collect();
        // The first come first: what they cut off needs no second look.
        let mut found: VecDeque<u64> = self.register.lacking().map(|(number, _)| number).collect();
        let mut stay: BTreeSet<u64> = found.iter().copied().collect();
        while let Some(number) = found.pop_front() {
            let Some(own) = self.register.get(number) else { continue };
            for &(lane, at) in &own.places {
                let (Some(lane), Some(cut)) = (self.lanes.get(lane), cuts.get_mut(lane)) else {
                    continue;
                };
                if at < *cut {
                    let behind = lane.numbers(at, *cut);
                    let open = behind.filter(|n| *n != NONE && self.register.get(*n).is_some());
                    found.extend(open.filter(|number| stay.insert(*number)));
                    *cut = at;
                }
            }
        }
        (stay, cuts)
    }

    /// A transaction to do without, where more would stay than may be held.
    fn too_much(&self, cuts: &[usize]) -> Option<u64> {
        let (records_max, bytes_max) = (2 * RECORDS_MAX, 2 * BYTES_MAX);
        if self.records <= records_max && self.bytes <= bytes_max {
            return None;
        }
        let (mut records, mut bytes) = (0_usize, 0_usize);
        for (lane, cut) in self.lanes.iter().zip(cuts) {
            let mut at = lane.left;
            for Part { batch, .. } in &lane.parts {
                let end = at + batch.len();
                let stays = end.saturating_sub(at.max(*cut));
                records += stays;
                bytes += batch.bytes() / batch.len().max(1) * stays;
                at = end;
            }
        }
        let is_more = records > records_max || bytes > bytes_max;
        self.oldest().filter(|_| is_more).map(|(number, _)| number)
    }

    /// Whether nothing but markers would leave that are new: they go with the next rows.
    fn only_markers(&self, cuts: &[usize], now: Instant) -> bool {
        let is_new = |lane: &Lane| {
            let since = lane.parts.front().map_or(now, |part| part.came);
            lane.is_metadata
                && now.saturating_duration_since(since) < WAIT
                && lane.came - lane.left < RECORDS_MAX / 4
        };
        let mut leaving = self.lanes.iter().zip(cuts).filter(|(lane, cut)| lane.left < **cut);
        leaving.all(|(lane, _)| is_new(lane))
    }

    fn release(
        &mut self,
        (stay, cuts): (&BTreeSet<u64>, &[usize]),
        now: Instant,
        into: &mut Vec<RawBatch>,
    ) {
        let first = into.len();
        for (lane, cut) in self.lanes.iter_mut().zip(cuts) {
            lane.release(*cut, into);
        }
        for batch in into.iter().skip(first) {
            self.records = self.records.saturating_sub(batch.len());
            self.bytes = self.bytes.saturating_sub(batch.bytes());
        }
        let gone: Vec<u64> =
            self.register.open().map(|(number, _)| number).filter(|n| !stay.contains(n)).collect();
        for number in gone {
            self.split += u64::from(self.register.leave(number, now));
        }
    }
}
