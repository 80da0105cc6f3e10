//! Transactions of which something is held back, and those that are over with.
//!
//! # Guarantees
//! - A change that is sent again counts once, by its place in its transaction.
//! - What has been cut, whole or not, waits no more: its rows that come later, or again, are free.
//!
//! # Non-guarantees
//! - Only the newest that are over with are remembered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use schemas::Micros;

use super::marks::{Mark, Marks};

/// How much later than a transaction a record is that nothing of it follows, in microseconds.
pub(super) const WAIT_US: i64 = 1_000_000;

/// Transactions that are over with and remembered.
const PAST_MAX: usize = 16_384;

/// Before every timestamp.
pub(super) const NEVER: Micros = Micros(i64::MIN);

/// The number of no transaction.
pub(super) const NONE: u64 = 0;

/// One of which something is held back.
#[derive(Debug)]
pub(super) struct Transaction {
    id: Box<str>,
    orders: BTreeSet<u64>,
    /// Changes that do not say where they stand.
    unordered: u64,
    /// Changes of each collection, once its END has come.
    end: Option<Vec<(Box<str>, u64)>>,
    /// How many of those are of topics that are read.
    wanted: Option<u64>,
    /// When its first record came.
    pub(super) since: Instant,
    /// The newest timestamp of its records.
    pub(super) newest: Micros,
    /// Records of it that are held.
    pub(super) records: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    /// Its first place in each lane.
    pub(super) places: Vec<(usize, usize)>,
}

/// A record that is held: where it stands, and what it weighs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) lane: usize,
    pub(super) at: usize,
    pub(super) timestamp: Option<Micros>,
    pub(super) bytes: usize,
}

impl Transaction {
    fn new(id: &str, since: Instant) -> Transaction {
        Transaction {
            id: id.into(),
            orders: BTreeSet::new(),
            unordered: 0,
            end: None,
            wanted: None,
            since,
            newest: NEVER,
            records: 0,
            bytes: 0,
            places: Vec::new(),
        }
    }

    /// Whether all of it is here.
    pub(super) fn is_whole(&self) -> bool {
        let here = self.unordered.saturating_add(self.orders.len() as u64);
        self.wanted.is_some_and(|wanted| here >= wanted)
    }

    /// Whether its END has come.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether a partition that has been read up to `front` has nothing more of it.
    pub(super) fn is_passed(&self, front: Micros) -> bool {
        self.newest > NEVER && self.newest.plus(WAIT_US) < front
    }

    fn count(&mut self, marks: &Marks) {
        let read = |(name, rows): &(Box<str>, u64)| marks.is_read(name).then_some(*rows);
        self.wanted = self.end.as_ref().map(|end| end.iter().filter_map(read).sum());
    }

    fn hold(&mut self, held: Held) {
        self.records += 1;
        self.bytes = self.bytes.saturating_add(held.bytes);
        self.newest = self.newest.max(held.timestamp.unwrap_or(NEVER));
        if self.places.iter().all(|(lane, _)| *lane != held.lane) {
            self.places.push((held.lane, held.at));
        }
    }
}

/// How one is over with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Past {
    /// It was whole, or is said to have been cut.
    Told,
    /// Its rows have not come: they were read before it was asked for, or are lost, or late.
    Unseen,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Register {
    open: BTreeMap<u64, Transaction>,
    numbers: BTreeMap<Box<str>, u64>,
    last: u64,
    /// Those whose rows came when they were over with.
    late: u64,
    /// Those that are over with, and whether a part of them was handed out that is not told of.
    past: BTreeMap<Box<str>, Past>,
    past_order: VecDeque<Box<str>>,
    /// Tables that the marks had learnt when wanted changes were last counted.
    learnt: usize,
}

impl Register {
    /// Notes a record that will be held. The number of its transaction, [`NONE`] where it waits for none.
    pub(super) fn note(&mut self, mark: Mark, held: Held, marks: &Marks, now: Instant) -> u64 {
        if self.learnt != marks.learnt() {
            self.learnt = marks.learnt();
            self.open.values_mut().for_each(|own| own.count(marks));
        }
        let (Mark::Row { id, .. } | Mark::Begin { id } | Mark::End { id, .. }) = &mark else {
            return NONE;
        };
        if let Some(past) = self.past.get_mut(id) {
            let is_late = *past == Past::Unseen && matches!(mark, Mark::Row { .. });
            if is_late {
                *past = Past::Told;
                self.late += 1;
            }
            return NONE;
        }
        let number = match self.numbers.get(id) {
            Some(number) => *number,
            None => {
                self.last += 1;
                self.numbers.insert(id.clone(), self.last);
                self.last
            }
        };
        let own = self.open.entry(number).or_insert_with(|| Transaction::new(id, now));
        own.hold(held);
        match mark {
            Mark::Row { order: Some(order), .. } => drop(own.orders.insert(order)),
            Mark::Row { order: None, .. } => own.unordered += 1,
            Mark::End { rows, .. } => {
                own.end = Some(rows);
                own.count(marks);
            }
            Mark::Begin { .. } | Mark::Free | Mark::Bare => {}
        }
        number
    }

    /// Those of which something is held, by number.
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, &Transaction)> {
        self.open.iter().map(|(number, own)| (*number, own))
    }

    /// One of them.
    pub(super) fn get(&self, number: u64) -> Option<&Transaction> {
        self.open.get(&number)
    }

    /// Those that are not whole.
    pub(super) fn lacking(&self) -> impl Iterator<Item = (u64, &Transaction)> {
        self.open().filter(|(_, own)| !own.is_whole())
    }

    /// How many were seen in parts because their rows came late, since this was last asked.
    pub(super) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    /// One is over with: what is held of it, and what comes of it, waits no more. Whether this parts it: of one
    /// without a row nothing is seen.
    pub(super) fn close(&mut self, number: u64) -> bool {
        let Some(own) = self.open.remove(&number) else { return false };
        self.numbers.remove(&own.id);
        let (is_whole, has_rows) = (own.is_whole(), own.unordered > 0 || !own.orders.is_empty());
        let past = if is_whole || has_rows { Past::Told } else { Past::Unseen };
        if self.past.insert(own.id.clone(), past).is_none() {
            self.past_order.push_back(own.id);
        }
        if self.past_order.len() > PAST_MAX
            && let Some(oldest) = self.past_order.pop_front()
        {
            self.past.remove(&oldest);
        }
        !is_whole && has_rows
    }
}
